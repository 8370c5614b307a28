"""What is written appears whole or not at all, whatever ends the writer."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faces import files
from faces.errors import UserError
from faces.files import (
    make_folder,
    remove_leftovers,
    replacing,
    temporary,
    write_bytes,
    write_csv,
    write_figure,
    write_json,
    write_text,
)

ROOT = Path(__file__).resolve().parents[2]
SIZE = 2_000_000
# Writes new content again and again, at the speed of the disk, until it is killed.
WRITE_FOR_EVER = f"""
import itertools, sys
from faces.files import replacing
for letter in itertools.cycle(b"nm"):
    with replacing(sys.argv[1]) as part, open(part, "wb") as file:
        for _ in range(20):
            file.write(bytes([letter]) * {SIZE // 20})
            file.flush()
            print(flush=True)
"""
FULL_DISK = """
import resource, sys
from faces.startup import run_main
from faces.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
run_main(lambda: write_bytes(sys.argv[1], bytes(100_000)))
"""


def run_python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def leftover(tmp_path):
    """fn(pid, host) -> half a file of that writer."""

    def make(pid, host=None):
        with temporary(tmp_path / "table.csv") as part:
            name = part.name.replace(f"-{os.getpid()}-", f"-{pid}-")
        left = tmp_path / (name if host is None else name.replace(files._HOST, host))
        left.write_text("half")
        return left

    return make


# === Ends of a writer ===


@pytest.mark.parametrize("writes", [1, 7, 19, 20, 21, 35])
def test_killed_writer_leaves_the_old_or_the_new_file(tmp_path, writes):
    path = tmp_path / "file.bin"
    path.write_bytes(b"o" * SIZE)
    with run_python(WRITE_FOR_EVER, path) as process:
        for _ in range(writes):
            process.stdout.readline()
        process.kill()
    content = path.read_bytes()
    assert len(content) == SIZE and len(set(content)) == 1
    write_text(path, "next")  # which finds what the killed one left
    assert names(tmp_path) == ["file.bin"]


def test_full_disk_is_one_line_and_the_old_file_stays(tmp_path):
    path = tmp_path / "file.bin"
    path.write_text("old")
    with run_python(FULL_DISK, path) as process:
        _, errors = process.communicate()
    assert (process.returncode, errors) == (2, f"error: The file {path} cannot be written: File too large\n")
    assert path.read_text() == "old" and names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_error_in_the_block_keeps_the_old_file(tmp_path, failure):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(failure), replacing(path) as part:
        part.write_text("half")
        raise failure
    assert path.read_text() == "old" and names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("place", ["os.replace", "os.fsync"])
def test_error_of_the_disk_keeps_the_old_file(tmp_path, monkeypatch, place):
    def full(*_):
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "a", "old")
    monkeypatch.setattr(place, full)
    with pytest.raises(UserError, match=r"^The table .*a cannot be written: No space left on device$"):
        write_bytes(tmp_path / "a", b"new", "The table")
    assert (tmp_path / "a").read_text() == "old" and names(tmp_path) == ["a"]


def test_content_reaches_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, call=call: (order.append(name), call(*args)))
    write_text(tmp_path / "a", "new")
    write_bytes(tmp_path / "b", b"new", durable=False)
    assert order == ["fsync", "replace", "replace"]


# === Places ===


def test_folder_or_file_in_the_way(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder cannot be written: Is a directory"):
        write_text(tmp_path / "folder", "new")
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError, match=r"file/below cannot be written: (File exists|Not a directory)"):
        write_text(tmp_path / "file" / "below", "new")
    with pytest.raises(UserError, match=r"Expected a folder that can be written\. Received: .*file/below"):
        make_folder(tmp_path / "file" / "below")
    assert names(tmp_path) == ["file", "folder"] and names(tmp_path / "folder") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"locked/a cannot be written: Permission denied"):
        write_text(tmp_path / "locked" / "a", "new")


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_folder_is_an_error_unless_it_is_made(tmp_path):
    with pytest.raises(UserError, match=r"new/folder/a cannot be written: No such file or directory"):
        write_text(tmp_path / "new" / "folder" / "a", "new")
    assert make_folder(tmp_path / "new" / "folder") == make_folder(str(tmp_path / "new" / "folder"))
    write_text(tmp_path / "new" / "folder" / "a", "new")
    assert names(tmp_path / "new" / "folder") == ["a"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "a")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "a").read_text() == "new"


@pytest.mark.parametrize("name", ["x" * 251 + ".jpg", "ü" * 127, "a." + "y" * 200, ".hidden", "line\nbreak.csv"])
def test_any_name_can_be_written(tmp_path, name):
    write_text(tmp_path / name, "new")
    assert names(tmp_path) == [name]


def test_hidden_name_keeps_the_suffix(tmp_path):
    with replacing(tmp_path / "model.keras") as part:
        assert part.name.startswith(".") and part.suffix == ".keras" and part.parent == tmp_path
        part.touch()


def test_reader_of_the_old_file_sees_it_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_threads_write_one_file_without_harm(tmp_path):
    def write(letter):
        for _ in range(20):
            write_text(tmp_path / "a", letter * 10_000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = (tmp_path / "a").read_text()
    assert len(content) == 10_000 and len(set(content)) == 1 and names(tmp_path) == ["a"]


# === What killed writers left ===


def test_leftover_of_a_dead_writer_is_removed(tmp_path, leftover, dead_pid):
    left = leftover(dead_pid)
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_leftover_of_an_earlier_process_of_this_number_is_removed(tmp_path, leftover):
    left = leftover(os.getpid())
    with replacing(tmp_path / "mine") as part:
        part.write_text("in work")
        remove_leftovers(tmp_path)
        assert names(tmp_path) == [part.name] and not left.exists()


def test_half_file_of_a_living_writer_is_kept(tmp_path, leftover):
    with run_python("input()", stdin=subprocess.PIPE) as process:
        left = leftover(process.pid)
        os.utime(left, (0, 0))
        remove_leftovers(tmp_path)
        assert left.exists()
        process.communicate("\n")
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_half_file_of_another_host_is_kept_while_it_grows(tmp_path, leftover, dead_pid):
    left = leftover(dead_pid, host="elsewhere")
    remove_leftovers(tmp_path)
    assert left.exists()
    os.utime(left, (0, left.stat().st_mtime - 2 * files.FOREIGN_SECONDS))
    remove_leftovers(tmp_path)
    assert not left.exists()


def test_other_hidden_files_are_left_alone(tmp_path, dead_pid):
    host = socket.gethostname()
    kept = [".part", ".a.part", f".a.{dead_pid}.part", f"a.{host}-{dead_pid}-0.part", f".a.{host}-{dead_pid}.part"]
    for name in kept:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "gone")
    assert names(tmp_path) == sorted(kept)


def test_leftover_is_removed_at_the_next_write_of_the_same_process(tmp_path, leftover, dead_pid):
    write_text(tmp_path / "a", "first")
    left = leftover(dead_pid)
    write_text(tmp_path / "a", "second")
    assert not left.exists() and names(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell when a process began")
@pytest.mark.parametrize("named", ["as now", "as before"])
def test_number_that_another_process_has_by_now_is_no_writer(tmp_path, monkeypatch, named):
    """The part is older than the process of that number."""
    monkeypatch.setattr(files, "START_MARGIN", 1)
    start = ".s7" if named == "as now" else ""
    with run_python("input()", stdin=subprocess.PIPE) as earlier:
        left = tmp_path / f".a.{files._HOST}-{earlier.pid}-0{start}.part.csv"
        left.write_text("half")
        remove_leftovers(tmp_path)
        assert left.exists()  # written after that process began, maybe by it
        # Stands for a part that lay there for long before the process began.
        boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        monkeypatch.setattr(time, "clock_gettime", lambda clock: boot - 60)
        remove_leftovers(tmp_path)
        assert not left.exists()
        earlier.communicate("\n")


# === Kinds of content ===


def test_json_is_plain(tmp_path):
    write_json(tmp_path / "a.json", {1: np.float32(0.5), "b": (np.arange(2), float("nan"), None, True)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"1": 0.5, "b": [[0, 1], None, None, True]}


def test_two_ways_to_write_numbers(tmp_path):
    table = pd.DataFrame({"img_path": list("abcd"), "age": [26.0, 0.1, 1 / 3, np.nan], "count": [1, 2, 3, 4]})
    write_csv(tmp_path / "pandas.csv", table)
    write_csv(tmp_path / "short.csv", table, short_numbers=True)
    assert (tmp_path / "pandas.csv").read_text() == (
        "img_path,age,count\na,26.0,1\nb,0.1,2\nc,0.3333333333333333,3\nd,,4\n"
    )
    assert (tmp_path / "short.csv").read_text() == "img_path,age,count\na,26,1\nb,0.1,2\nc,0.3333333333333333,3\nd,,4\n"


@pytest.mark.parametrize("short_numbers", [False, True])
def test_name_that_is_not_unicode_is_written_with_backslashes(tmp_path, short_numbers):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"img_path": ["\udcff.jpg"]}, dtype=object), short_numbers=short_numbers)
    assert (tmp_path / "a.csv").read_bytes() == b"img_path\n\\udcff.jpg\n"


def test_figure_is_a_png(tmp_path):
    from matplotlib.figure import Figure

    write_figure(tmp_path / "a.png", Figure())
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
