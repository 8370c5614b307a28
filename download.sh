#!/usr/bin/env bash
# Fetch, verify and unpack raw data sets, and the file of a face detector, into data/. Run `./download.sh --help`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly DATA="data"
readonly KNOWN="imdb wiki imdb_clean utkface utkface_wild cacd appa_real clap2015 clap2016 fgnet morph agedb afad \
adience fairface"
readonly MODELS="yunet"
readonly MAX_IDLE_TRIES=4
# A server must not forward to a file of this computer.
readonly HTTP_ONLY=(--proto "=http,https" --proto-redir "=http,https")

# What is known about one model, a single file: its folder, checksum, addresses, and publisher's page.
describe_model() {
    archive="" folder="" sha256="" urls=() page=""
    case "$1" in
        yunet)
            archive=face_detection_yunet_2023mar.onnx folder=yunet
            sha256=8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4
            page="https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
            # The second address is the store of large files that the first one forwards to.
            urls=("https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/$archive"
                "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/$archive")
            ;;
    esac
    if [[ -n "${FACES_BASE_URL:-}" ]]; then urls=("$FACES_BASE_URL/$archive"); fi
}

# What is known about one data set: the archive that is unpacked, the folder that it becomes, the files that prove the
# folder complete (patterns; "|" separates alternatives), where the archive comes from, and the publisher's page.
describe() {
    archive="" folder="" proofs=('*.jpg') urls=() repository="" page=""
    case "$1" in
        imdb | wiki)
            archive="$1_crop.tar" folder="$1_crop" proofs=("$1.mat")
            page="https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"
            urls=("${page}static/$archive")
            ;;
        imdb_clean)
            folder=imdb_clean page="https://github.com/yiminglin-ai/imdb-clean"
            proofs=('imdb_*_new_1024.csv|csvs/imdb_*_new_1024.csv|imdb-clean-1024/imdb_*_new_1024.csv'
                'imdb-clean-1024/*/*.jpg')
            ;;
        utkface) archive=UTKFace.tar.gz folder=UTKFace page="https://susanqq.github.io/UTKFace/" ;;
        utkface_wild)
            folder=UTKFace_wild page="https://susanqq.github.io/UTKFace/"
            proofs=('part1/*.jpg' 'part2/*.jpg' 'part3/*.jpg')
            ;;
        cacd)
            folder=CACD page="https://bcsiriuschen.github.io/CARC/"
            proofs=(celebrity2000_meta.mat 'CACD2000/*.jpg')
            ;;
        appa_real)
            archive=appa-real-release.zip folder=appa-real-release proofs=('gt_avg_*.csv' 'train/*_face.jpg')
            page="https://chalearnlap.cvc.uab.cat/dataset/26/description/"
            # The second address is the one of the paper; it often does not answer.
            urls=("https://data.chalearnlap.cvc.uab.cat/AppaRealAge/$archive"
                "http://158.109.8.102/AppaRealAge/$archive")
            ;;
        clap2015 | clap2016)
            folder="$1" proofs=('*_gt.csv' '*/*.jpg')
            page="https://chalearnlap.cvc.uab.cat/dataset/$([[ "$1" == clap2015 ]] && echo 18 || echo 19)/description/"
            ;;
        fgnet)
            archive=FGNET.zip folder=FGNET proofs=('images/*' 'points/*.pts')
            page="https://yanweifu.github.io/FG_NET_data/"
            urls=("$page$archive")
            ;;
        morph)
            folder=morph page="https://uncw.edu/oic/tech/morph.html"
            proofs=('*.[jJ][pP][gG]|*/*.[jJ][pP][gG]|*/*/*.[jJ][pP][gG]')
            ;;
        agedb) folder=AgeDB page="https://ibug.doc.ic.ac.uk/resources/agedb/" ;;
        afad)
            archive=AFAD-Full.tar.xz folder=AFAD-Full proofs=('*/11[12]/*.jpg') page="https://afad-dataset.github.io/"
            repository="https://github.com/afad-dataset/tarball"
            ;;
        adience)
            folder=adience proofs=('fold_[0-4]_data.txt' 'faces/*/*.jpg|aligned/*/*.jpg')
            page="https://talhassner.github.io/home/projects/Adience/Adience-data.html"
            ;;
        fairface)
            folder=fairface proofs=('fairface_label_*.csv' 'train/*.jpg|val/*.jpg')
            page="https://github.com/joojs/fairface"
            ;;
    esac
    # Another server, for mirrors and tests.
    if [[ -n "${FACES_BASE_URL:-}" ]]; then
        if ((${#urls[@]})); then urls=("$FACES_BASE_URL/$archive"); fi
        if [[ -n "$repository" ]]; then repository="$FACES_BASE_URL/${repository##*/}"; fi
    fi
}

# Numbered steps for what cannot be fetched, or could not.
by_hand() {
    echo "By hand:"
    case "$1" in
        imdb_clean) cat <<TEXT
  1. have 600 GB of space; git clone $page && cd imdb-clean
  2. pip install -r requirements.txt && bash run_all.sh, which fetches the IMDB pictures (270 GB)
  3. for part in train valid test; do python create_imdb_clean_1024.py \$part; done
  4. mkdir -p $PWD/$DATA/$folder && mv data/imdb-clean-1024 $PWD/$DATA/$folder/
  5. see that the files imdb_{train,valid,test}_new_1024.csv lie in it; if not, move them there
TEXT
            ;;
        utkface_wild) cat <<TEXT
  1. open $page and follow "In-the-wild Faces"
  2. save part1.tar.gz, part2.tar.gz and part3.tar.gz in $PWD/$DATA/$folder/ (make the folder)
  3. there: for part in part?.tar.gz; do tar -xzf \$part; done
TEXT
            ;;
        cacd) cat <<TEXT
  1. open $page and fetch CACD2000.tar.gz (images, 3.5 GB) and celebrity2000_meta.mat (labels)
  2. mkdir -p $PWD/$DATA/$folder and move both there (celebrity2000.mat, with features, cannot be read)
  3. there: tar -xzf CACD2000.tar.gz, which makes the folder CACD2000
TEXT
            ;;
        clap2015 | clap2016) cat <<TEXT
  1. register at https://chalearnlap.cvc.uab.cat/ and open $page
  2. fetch images and labels of all three parts
  3. put the images into $PWD/$DATA/$folder/{train,valid,test}/
  4. put the labels (image,mean,stdv) beside them as train_gt.csv, valid_gt.csv and test_gt.csv
TEXT
            ;;
        morph) cat <<TEXT
  1. open $page and buy the academic edition
  2. put its images, sub-folders or not, and its .csv file into $PWD/$DATA/$folder/
TEXT
            ;;
        agedb) cat <<TEXT
  1. open $page and ask for the password by mail from an address of your university
  2. fetch AgeDB.zip and unpack it with the password: unzip AgeDB.zip -d $PWD/$DATA/
TEXT
            ;;
        afad) cat <<TEXT
  1. git clone https://github.com/John-niu-07/tarball (the publisher's own copy)
  2. cat tarball/$archive?* >$PWD/$DATA/$archive
TEXT
            ;;
        adience) cat <<TEXT
  1. open $page and register; name and password come by mail
  2. fetch faces.tar.gz (or aligned.tar.gz) and fold_0_data.txt to fold_4_data.txt
  3. mkdir -p $PWD/$DATA/$folder, move them there and unpack: tar -xzf faces.tar.gz
TEXT
            ;;
        fairface) cat <<TEXT
  1. open $page and fetch the images of padding 0.25 and both label files (Google Drive)
  2. unpack the images to $PWD/$DATA/$folder/train and $PWD/$DATA/$folder/val
  3. put fairface_label_train.csv and fairface_label_val.csv into $PWD/$DATA/$folder/
TEXT
            ;;
        yunet) cat <<TEXT
  1. open $page and download $archive
  2. mkdir -p $PWD/$DATA/$folder and save it there
TEXT
            ;;
        *) cat <<TEXT
  1. open $page and find $archive there
  2. save $archive in $PWD/$DATA/
TEXT
            ;;
    esac
    echo "Then run ./download.sh $1 again, which checks what is there."
}

usage() {
    local name way
    cat <<'TEXT'
Usage: ./download.sh [NAME ...]
       ./download.sh yunet

Fetches raw data sets into data/; without a name, imdb and wiki. Run it again at any time: it skips a data set that is
already there and continues a broken download. If the publisher wants a registration or offers no direct address, it
tells you what to do by hand and later checks the result. The data sets sample and csv need no download.
For more about each, licences too, run: python create_db.py --list

TEXT
    for name in $KNOWN; do
        describe "$name"
        way="by hand"
        if ((${#urls[@]})) || [[ -n "$repository" ]]; then way="directly"; fi
        printf '  %-13s %-9s %s\n' "$name" "$way" "$DATA/$folder"
    done
    cat <<'TEXT'

yunet is a face detector, one file of 227 KiB for data/yunet. Use it with --detector yunet instead of the default. The
script checks it against a known checksum.

The checksum of an archive is recorded in data/<name>.sha256 and holds for later runs. The archive itself stays; delete
it if you need the space. If you put an archive into data/ yourself, the script verifies and unpacks it the same way.
FACES_BASE_URL replaces the address that everything comes from. You need curl, tar and python3; git and xz for afad. Of
an archive, only files and folders inside its own folder are unpacked; a run waits for another one on the same data set.
Afterwards run: python create_db.py --db <name>
Exit codes: 0 done, 1 not done, 2 wrong usage.
TEXT
}

fail() {
    echo "error: $*" >&2
    return 1
}

file_size() {
    if [[ -f "$1" ]]; then wc -c <"$1" | tr -d ' '; else echo 0; fi
}

sha256_of() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# The size that the server announces, empty where it announces none.
announced_size() {
    { curl "${HTTP_ONLY[@]}" --silent --fail --location --head --max-time 30 "$1" || true; } |
        tr -d '\r' | awk 'tolower($1) == "content-length:" && $2 ~ /^[0-9]+$/ { size = $2 } END { print size }'
}

# Archive and unpacked faces lie side by side for a while.
check_space() {
    local bytes="$1" have="$2" free
    free=$(df -Pk "$DATA" | awk 'NR == 2 { print $4 }')
    local need=$(((2 * bytes - have) / 1024))
    if ((free < need)); then
        fail "not enough space in $DATA/: $((need / 1024)) MiB needed, $((free / 1024)) MiB free"
    fi
}

# Fetch url into file, going on where an earlier try stopped; gives up after some tries that brought nothing new.
fetch() {
    local url="$1" file="$2" size="$3" best=0 idle=0 status answer now
    local -a quiet=(--progress-bar)
    [[ -t 2 ]] || quiet=(--silent --show-error)
    while true; do
        if [[ -n "$size" ]] && (($(file_size "$file") == size)); then return 0; fi
        status=0
        answer=$(curl "${quiet[@]}" "${HTTP_ONLY[@]}" --fail --location --connect-timeout 15 --speed-limit 1000 \
            --speed-time 60 --continue-at - --output "$file" --write-out '%{http_code}' "$url") || status=$?
        now=$(file_size "$file")
        if ((status == 0)) && { [[ -z "$size" ]] || ((now == size)); }; then return 0; fi
        if ((status == 1)); then
            fail "$url is forwarded to $(forwarded "$url"), which is no web address: refused"
            return 1
        fi
        # 33 and 416: the server cannot go on from here, or we hold more than it has. Start over.
        if ((status == 33)) || [[ "$answer" == 416 ]] || { [[ -n "$size" ]] && ((now > size)); }; then
            rm -f "$file"
        elif [[ "$answer" == 4* ]]; then
            fail "the server answered $answer for $url"
            return 1
        fi
        if ((now > best)); then
            best=$now idle=0
        else
            idle=$((idle + 1))
        fi
        if ((idle >= MAX_IDLE_TRIES)); then
            fail "could not fetch $url (curl exit $status). Run the same command again to go on from $now bytes."
            return 1
        fi
        sleep "$idle"
    done
}

# Where a server forwards an address to.
forwarded() {
    curl "${HTTP_ONLY[@]}" --silent --output /dev/null --max-time 30 --write-out '%{redirect_url}' "$1" || true
}

# === One run at a time for each data set ===

held=""

# Whether the owner of a lock has ended: a process of this computer that is gone, or one that died before it wrote its
# name.
is_stale() {
    if [[ -z "$2" ]]; then
        [[ -n "$(find "$1" -maxdepth 0 -mmin +1 2>/dev/null)" ]]
    else
        [[ "${2#* }" == "$(hostname)" ]] && ! ps -p "${2%% *}" >/dev/null 2>&1
    fi
}

# Wait until no other run works on a data set; the lock is a folder that names the process, free once that has ended.
lock() {
    local place="$DATA/.lock_$1" owner told=""
    unlock
    while ! mkdir "$place" 2>/dev/null; do
        owner=$(cat "$place/owner" 2>/dev/null || true)
        if is_stale "$place" "$owner"; then
            # Only one of those who wait moves it away.
            if mv "$place" "$place.$$" 2>/dev/null; then rm -rf "$place.$$"; fi
            continue
        fi
        [[ -n "$told" ]] || echo "$1: waiting for process ${owner:-of another run}, which works on it" >&2
        told=yes
        sleep 0.5
    done
    held="$place"
    echo "$$ $(hostname)" >"$place/owner"
}

unlock() {
    [[ -z "$held" ]] || rm -rf "$held"
    held=""
}

trap unlock EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Whether an archive is whole; whoever may have packed it.
is_whole() {
    case "$1" in
        *.zip*) python3 -c 'import sys, zipfile; sys.exit(zipfile.ZipFile(sys.argv[1]).testzip() is not None)' "$1" ;;
        *) tar -tf "$1" ;;
    esac >/dev/null 2>&1
}

# Refuse an archive that is damaged or differs from the one seen before; it is kept aside as .bad.
verify() {
    local name="$1" file="$2" recorded="$DATA/$1.sha256" problem=""
    if ! is_whole "$file"; then
        problem="is damaged or no archive"
    elif [[ -f "$recorded" ]] && [[ "$(cut -d ' ' -f 1 "$recorded")" != "$(sha256_of "$file")" ]]; then
        problem="differs from the one recorded in $recorded (delete that file if a new edition is expected)"
    fi
    if [[ -n "$problem" ]]; then
        mv "$file" "$DATA/$archive.bad"
        fail "$archive $problem; kept as $DATA/$archive.bad"
    fi
}

# Unpack beside the target and move the whole folder at the end, so that a folder in data/ is always complete.
unpack() {
    local temporary="$DATA/.unpack_$folder" lack status=0
    rm -rf "$temporary"
    mkdir -p "$temporary"
    echo "unpacking $archive"
    python3 -I faces/ingest/unpacking.py "$DATA/$archive" "$temporary" || status=$?
    if ((status)); then
        rm -rf "$temporary"
        fail "could not unpack $archive"
        return 1
    fi
    lack=$(lacking "$temporary/$folder")
    if [[ -n "$lack" ]]; then
        rm -rf "$temporary"
        fail "$archive holds no $folder/$lack: not the expected archive"
        return 1
    fi
    mv "$temporary/$folder" "$DATA/$folder"
    rm -rf "$temporary"
}

# The first of `proofs` that a folder holds no file for; nothing where it is complete.
lacking() {
    local proof pattern held
    local -a patterns
    for proof in "${proofs[@]}"; do
        held=""
        IFS='|' read -ra patterns <<<"$proof"
        for pattern in "${patterns[@]}"; do
            if compgen -G "$1/$pattern" >/dev/null; then held=yes; fi
        done
        if [[ -z "$held" ]]; then
            echo "${proof//|/ or }"
            return
        fi
    done
}

record() {
    local name="$1" recorded="$DATA/$1.sha256"
    [[ ! -f "$recorded" ]] || return 0
    echo "$(sha256_of "$DATA/$archive")  $archive" >"$recorded"
    echo "$archive: nobody publishes its checksum, so this first copy was trusted. Recorded in $recorded for later runs."
}

# Fetch the archive from the first of `urls` that has it.
download() {
    local name="$1" part="$DATA/$archive.part" url size
    for url in "${urls[@]}"; do
        echo "fetching $url"
        size=$(announced_size "$url")
        if [[ -n "$size" ]]; then check_space "$size" "$(file_size "$part")" || return 1; fi
        if fetch "$url" "$part" "$size"; then
            verify "$name" "$part" || return 1
            mv "$part" "$DATA/$archive"
            return 0
        fi
    done
    return 1
}

# Put the archive together from its parts, which a git repository holds.
clone() {
    local name="$1" temporary="$DATA/.clone_$folder" part="$DATA/$archive.part"
    echo "cloning $repository"
    rm -rf "$temporary"
    if ! git clone --quiet --depth 1 "$repository" "$temporary" || ! cat "$temporary/$archive"?* >"$part"; then
        rm -rf "$temporary" "$part"
        fail "could not get the parts of $archive from $repository"
        return 1
    fi
    rm -rf "$temporary"
    verify "$name" "$part" || return 1
    mv "$part" "$DATA/$archive"
}

# Make sure that the archive is in data/.
obtain() {
    local name="$1"
    if [[ -n "$archive" && -f "$DATA/$archive" ]]; then
        verify "$name" "$DATA/$archive"
    elif [[ -n "$repository" ]]; then
        needs git && clone "$name"
    elif ((${#urls[@]})); then
        needs curl && download "$name"
    else
        fail "$DATA/${archive:-$folder} is not there, and its publisher offers no direct address."
    fi
}

# Fetch the file of a model from the first of `urls` that has it, and refuse any other.
get_model() {
    local name="$1" file="$DATA/$folder/$archive" url
    if [[ -f "$file" ]]; then
        check_model "$file" || return 1
        echo "$name: $file is already there. Next: python predict.py --detector $name PATH"
        return 0
    fi
    needs curl || return 1
    mkdir -p "$DATA/$folder"
    lock "$name"
    if [[ -f "$file" ]] && check_model "$file"; then
        echo "$name: $file is already there. Next: python predict.py --detector $name PATH"
        return 0
    fi
    for url in "${urls[@]}"; do
        echo "fetching $url"
        rm -f "$file.part"
        if fetch "$url" "$file.part" "" && check_model "$file.part"; then
            mv "$file.part" "$file"
            echo "$name: done. Next: python predict.py --detector $name PATH"
            return 0
        fi
    done
    by_hand "$name" >&2
    return 1
}

check_model() {
    if [[ "$(sha256_of "$1")" != "$sha256" ]]; then
        mv "$1" "$DATA/$folder/$archive.bad"
        fail "$archive is damaged or another edition; kept as $DATA/$folder/$archive.bad"
    fi
}

needs() {
    command -v "$1" >/dev/null || fail "$1 is missing"
}

get() {
    local name="$1" lack
    if [[ -d "$DATA/$folder" ]]; then
        lack=$(lacking "$DATA/$folder")
        if [[ -z "$lack" ]]; then
            echo "$name: $DATA/$folder is already there. Next: python create_db.py --db $name"
            return 0
        fi
        fail "$DATA/$folder is there but holds no $lack.${archive:+ Move it away and run this again.}" || true
        if [[ -z "$archive" ]]; then by_hand "$name" >&2; fi
        return 1
    fi
    needs python3 || return 1
    if [[ "$archive" == *.xz ]]; then needs xz || return 1; fi
    lock "$name"
    # Another run may have fetched it meanwhile.
    if [[ -d "$DATA/$folder" && -z "$(lacking "$DATA/$folder")" ]]; then
        echo "$name: $DATA/$folder is already there. Next: python create_db.py --db $name"
        return 0
    fi
    if ! obtain "$name"; then
        by_hand "$name" >&2
        return 1
    fi
    unpack && record "$name" && echo "$name: done. Next: python create_db.py --db $name"
}

main() {
    local name failed=0
    local archive folder repository page sha256
    local -a proofs urls
    for name in "$@"; do
        if [[ "$name" == -h || "$name" == --help ]]; then
            usage
            return 0
        fi
        if [[ " $KNOWN $MODELS " != *" $name "* ]]; then
            echo "error: unknown data set '$name'. Expected any of: $KNOWN $MODELS" >&2
            return 2
        fi
    done
    (($# > 0)) || set -- imdb wiki
    mkdir -p "$DATA"
    for name in "$@"; do
        if [[ " $MODELS " == *" $name "* ]]; then
            describe_model "$name"
            get_model "$name" || failed=1
        else
            describe "$name"
            get "$name" || failed=1
        fi
        unlock
    done
    return "$failed"
}

main "$@"
