#!/usr/bin/env bash
# Fetch, verify and unpack raw data sets into data/. Run `./download.sh --help`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly IMDB_WIKI_URL="https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static"
readonly BASE_URL="${FACES_BASE_URL:-$IMDB_WIKI_URL}"
readonly DATA="data"
readonly KNOWN="imdb wiki utkface"
readonly MAX_IDLE_TRIES=4

usage() {
    cat <<'TEXT'
Usage: ./download.sh [imdb|wiki|utkface ...]

Fetches raw data sets into data/, without a name imdb and wiki. Running it again does nothing where a data set is
already there, and a broken download goes on where it stopped.

  imdb      IMDB face crops, about 7 GB         -> data/imdb_crop   (academic research only)
  wiki      Wikipedia face crops, about 1 GB    -> data/wiki_crop   (academic research only)
  utkface   UTKFace aligned and cropped faces   -> data/UTKFace     (non-commercial research only; by hand, see below)

UTKFace has no direct address: open https://susanqq.github.io/UTKFace/, follow "Aligned&Cropped Faces", save
UTKFace.tar.gz in data/ and run ./download.sh utkface, which checks and unpacks it.

The checksum of an archive is recorded in data/<name>.sha256 and holds for later runs. The archive itself is kept;
delete it when you need the space. FACES_BASE_URL replaces the address that imdb and wiki come from.
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
    { curl --silent --fail --location --head --max-time 60 "$1" || true; } |
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
        answer=$(curl "${quiet[@]}" --fail --location --connect-timeout 30 --speed-limit 1000 --speed-time 60 \
            --continue-at - --output "$file" --write-out '%{http_code}' "$url") || status=$?
        now=$(file_size "$file")
        if ((status == 0)) && { [[ -z "$size" ]] || ((now == size)); }; then return 0; fi
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

# Refuse an archive that is damaged or differs from the one seen before; it is kept aside as .bad.
verify() {
    local name="$1" file="$2" archive="$3" recorded="$DATA/$1.sha256" problem=""
    if ! tar -tf "$file" >/dev/null 2>&1; then
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
    local archive="$1" folder="$2" proof="$3" temporary="$DATA/.unpack_$2"
    rm -rf "$temporary"
    mkdir -p "$temporary"
    echo "unpacking $archive"
    if ! tar -xf "$DATA/$archive" --no-same-owner -C "$temporary"; then
        rm -rf "$temporary"
        fail "could not unpack $archive"
        return 1
    fi
    if ! holds "$temporary/$folder" "$proof"; then
        rm -rf "$temporary"
        fail "$archive holds no $folder/$proof: not the expected archive"
        return 1
    fi
    mv "$temporary/$folder" "$DATA/$folder"
    rm -rf "$temporary"
}

# Whether a folder holds a file that matches the pattern.
holds() {
    [[ -d "$1" ]] && [[ -n "$(find "$1" -maxdepth 1 -name "$2" -print -quit)" ]]
}

record() {
    local name="$1" archive="$2" recorded="$DATA/$1.sha256"
    [[ -f "$recorded" ]] || echo "$(sha256_of "$DATA/$archive")  $archive" >"$recorded"
}

by_hand() {
    cat >&2 <<TEXT
error: $DATA/UTKFace.tar.gz is not there, and its publisher offers no direct address. By hand:
  1. open https://susanqq.github.io/UTKFace/ and follow "Aligned&Cropped Faces"
  2. save UTKFace.tar.gz in $PWD/$DATA/
  3. run ./download.sh utkface again
TEXT
    return 1
}

download() {
    local url="$BASE_URL/$1" archive="$1" part="$DATA/$1.part" name="$2" size
    echo "fetching $url"
    size=$(announced_size "$url")
    if [[ -n "$size" ]]; then check_space "$size" "$(file_size "$part")" || return 1; fi
    fetch "$url" "$part" "$size" || return 1
    verify "$name" "$part" "$archive" || return 1
    mv "$part" "$DATA/$archive"
}

get() {
    local name="$1" archive folder proof
    case "$name" in
        imdb) archive=imdb_crop.tar folder=imdb_crop proof=imdb.mat ;;
        wiki) archive=wiki_crop.tar folder=wiki_crop proof=wiki.mat ;;
        utkface) archive=UTKFace.tar.gz folder=UTKFace proof='*.jpg' ;;
    esac
    if holds "$DATA/$folder" "$proof"; then
        echo "$name: $DATA/$folder is already there"
        return 0
    fi
    if [[ -e "$DATA/$folder" ]]; then
        fail "$DATA/$folder is there but holds no $proof. Move it away and run this again."
        return 1
    fi
    if [[ -f "$DATA/$archive" ]]; then
        verify "$name" "$DATA/$archive" "$archive" || return 1
    elif [[ "$name" == utkface ]]; then
        by_hand || return 1
    else
        download "$archive" "$name" || return 1
    fi
    unpack "$archive" "$folder" "$proof" || return 1
    record "$name" "$archive"
    echo "$name: done. Next: python create_db.py --db $name"
}

main() {
    local name failed=0
    for name in "$@"; do
        case "$name" in
            -h | --help)
                usage
                return 0
                ;;
            imdb | wiki | utkface) ;;
            *)
                echo "error: unknown data set '$name'. Expected any of: $KNOWN" >&2
                return 2
                ;;
        esac
    done
    (($# > 0)) || set -- imdb wiki
    if ! command -v curl >/dev/null; then
        fail "curl is missing"
        return 1
    fi
    mkdir -p "$DATA"
    for name in "$@"; do get "$name" || failed=1; done
    return "$failed"
}

main "$@"
