"""download.sh where there is no archive to fetch: parts in a git repository, and folders that the user fills."""

import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "download.sh"
missing = [tool for tool in ("bash", "curl", "tar", "git", "xz") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def make_archive(name):
    """Bytes of a .tar.xz archive of one incompressible file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 200_000
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    return file.getvalue()


@pytest.fixture
def home(tmp_path):
    for name in ("download.sh", "faces/ingest/unpacking.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT.parent / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def download(home):
    """fn(name, base_url) -> finished process; by default nothing answers."""

    def run(name, base_url="http://127.0.0.1:9"):
        command = ["bash", str(home / "download.sh"), name]
        environment = {**os.environ, "FACES_BASE_URL": base_url, "no_proxy": "127.0.0.1"}
        return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=120)

    return run


def data_of(home):
    return sorted(path.name for path in (home / "data").iterdir())


@pytest.fixture
def afad_parts(tmp_path_factory):
    """Address of a git repository `tarball` that holds AFAD-Full.tar.xz in parts."""
    folder = tmp_path_factory.mktemp("publisher")
    repository = folder / "tarball"
    repository.mkdir()
    archive = make_archive("AFAD-Full/25/111/671487-0.jpg")
    for start, end in ((0, "aa"), (70_000, "ab"), (140_000, "ac")):
        (repository / f"AFAD-Full.tar.xz{end}").write_bytes(archive[start : start + 70_000 if end != "ac" else None])
    git = ["git", "-C", str(repository), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "parts"]):
        subprocess.run([*git, *words], check=True)
    return f"file://{folder}"


def test_archive_in_parts(home, download, afad_parts):
    done = download("afad", base_url=afad_parts)
    assert done.returncode == 0, done.stderr
    assert (home / "data/AFAD-Full/25/111/671487-0.jpg").exists()
    assert data_of(home) == ["AFAD-Full", "AFAD-Full.tar.xz", "afad.sha256"]
    done = download("afad", base_url="file:///nowhere")
    assert done.returncode == 0 and "already there" in done.stdout


def test_repository_that_is_gone_or_lacks_a_part(home, download, afad_parts):
    done = download("afad", base_url="file:///nowhere")
    assert done.returncode == 1 and "could not get the parts of AFAD-Full.tar.xz" in done.stderr
    assert "cat tarball/AFAD-Full.tar.xz?* >" in done.stderr and data_of(home) == []
    repository = Path(afad_parts.removeprefix("file://")) / "tarball"
    git = ["git", "-C", str(repository), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "rm", "--quiet", "AFAD-Full.tar.xzab"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "less"], check=True)
    done = download("afad", base_url=afad_parts)
    assert done.returncode == 1 and "AFAD-Full.tar.xz is damaged or no archive" in done.stderr
    assert data_of(home) == ["AFAD-Full.tar.xz.bad"]


# What the user places by hand, and one file of it whose absence must be noticed.
BY_HAND = {
    "imdb_clean": ("imdb_clean", ["imdb-clean-1024/38/nm1_rm1.jpg", "csvs/imdb_train_new_1024.csv"]),
    "utkface_wild": ("UTKFace_wild", [f"part{part}/26_0_0_20170116184028385.jpg" for part in (1, 2, 3)]),
    "cacd": ("CACD", ["celebrity2000_meta.mat", "CACD2000/53_Robin_Williams_0001.jpg"]),
    "clap2015": ("clap2015", ["train/image_1.jpg", "train_gt.csv"]),
    "clap2016": ("clap2016", ["test/000001.jpg", "test_gt.csv"]),
    "morph": ("morph", ["Album2/009055_1M54.JPG"]),
    "agedb": ("AgeDB", ["0_MariaCallas_35_f.jpg"]),
    "adience": ("adience", ["aligned/30601258@N03/landmark_aligned_face.1.jpg", "fold_0_data.txt"]),
    "fairface": ("fairface", ["train/1.jpg", "fairface_label_train.csv"]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_placed_by_hand_is_checked(home, download, name):
    folder, files = BY_HAND[name]
    done = download(name)
    assert done.returncode == 1 and f"error: data/{folder} is not there" in done.stderr
    steps = [int(line.split(".")[0]) for line in done.stderr.splitlines() if re.match(r"  \d\. ", line)]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= 2
    assert f"{home}/data/" in done.stderr and "http" in done.stderr
    assert done.stderr.splitlines()[-1] == f"Then run ./download.sh {name} again, which checks what is there."
    for file in files:
        (home / "data" / folder / file).parent.mkdir(parents=True, exist_ok=True)
        (home / "data" / folder / file).touch()
    done = download(name)
    assert done.returncode == 0 and f"already there. Next: python create_db.py --db {name}\n" in done.stdout
    for file in files:
        (home / "data" / folder / file).unlink()
        done = download(name)
        assert (
            done.returncode == 1
            and f"data/{folder} is there but holds no " in done.stderr
            and "By hand:" in done.stderr
        )
        (home / "data" / folder / file).touch()


def test_data_sets_placed_by_hand_are_all_tested(download):
    told = re.findall(r"^  (\w+) +by hand", download("--help").stdout, re.MULTILINE)
    assert set(told) == {*BY_HAND, "utkface"}
