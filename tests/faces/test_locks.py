"""One writer at a time: who is refused, who is not, and what a killed writer leaves."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from faces import locks
from faces.errors import UserError
from faces.locks import LOCK_NAME, locked

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from faces.locks import locked
with locked(sys.argv[1], "The run folder"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder():
    """fn(path) -> a process that holds the lock of a path until it is ended."""
    begun = []

    def hold(path):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in begun:
        process.kill()
        process.communicate()


def without_kernel_locks(monkeypatch):
    """As on a file system that knows none: the lock file alone decides."""
    monkeypatch.setattr(locks, "_lock", lambda descriptor: (True, False))


def written(folder, **owner):
    known = {"host": socket.gethostname(), "pid": os.getpid(), "start": locks._start(os.getpid())}
    (folder / LOCK_NAME).write_text(json.dumps({**known, **owner}))


def test_folder_of_a_living_writer_is_refused_and_left_as_it_is(tmp_path, holder):
    process = holder(tmp_path)
    before = (tmp_path / LOCK_NAME).read_bytes()
    with pytest.raises(UserError) as refused, locked(tmp_path, "The run folder"):
        pytest.fail("two writers at once")
    line = str(refused.value)
    assert line.startswith(f"The run folder {tmp_path} is being written by process {process.pid} on")
    assert socket.gethostname() in line and "\n" not in line
    assert (tmp_path / LOCK_NAME).read_bytes() == before


def test_nothing_is_left_and_the_next_writer_goes_on(tmp_path):
    for _ in range(2):
        with locked(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_two_threads_are_two_writers(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match=f"written by process {os.getpid()} on"), locked(tmp_path):
        pytest.fail("two writers at once")


def test_lock_of_a_killed_writer_is_taken_over(tmp_path, holder):
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK_NAME).is_file()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()


def test_files_of_one_folder_have_a_lock_each(tmp_path, holder):
    holder(tmp_path / "a.csv")
    with locked(tmp_path / "b.csv"):
        pass
    with pytest.raises(UserError, match=r"a\.csv is being written by process"), locked(tmp_path / "a.csv"):
        pytest.fail("two writers at once")


def test_link_and_folder_share_a_lock(tmp_path, holder):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    holder(folder)
    with pytest.raises(UserError, match="is being written"), locked(tmp_path / "link"):
        pytest.fail("two writers at once")


def test_waiting_takes_turns(tmp_path, caplog):
    order = []

    def second():
        with locked(tmp_path, wait=True):
            order.append("second")

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"] and caplog.text.count("is being written") == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b'{"host": 3}', b'{"host": "x", "pid": "y"}'])
def test_lock_file_that_names_nobody_holds_nothing(tmp_path, content):
    (tmp_path / LOCK_NAME).write_bytes(content)
    with locked(tmp_path):
        pass


def test_writer_of_another_host_is_believed(tmp_path):
    written(tmp_path, host="elsewhere", pid=1)
    expected = rf"process 1 on elsewhere.*if it is gone, delete .*{LOCK_NAME}$"
    with pytest.raises(UserError, match=expected), locked(tmp_path):
        pytest.fail("two writers at once")
    (tmp_path / LOCK_NAME).unlink()
    with locked(tmp_path):
        pass


def test_without_kernel_locks_the_named_process_decides(tmp_path, monkeypatch):
    without_kernel_locks(monkeypatch)
    written(tmp_path)
    with pytest.raises(UserError, match="is being written by process"), locked(tmp_path):
        pytest.fail("two writers at once")
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    written(tmp_path, pid=int(done.stdout))
    with locked(tmp_path):
        pass


def test_reused_number_is_no_living_writer(tmp_path, monkeypatch):
    without_kernel_locks(monkeypatch)
    written(tmp_path, start="an earlier boot/1")
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["start"] == locks._start(os.getpid())


def race(folder, results):
    try:
        with locked(folder):
            place = Path(folder) / "inside"
            place.touch(exist_ok=False)
            time.sleep(0.02)
            place.unlink()
        results.put("held")
    except UserError:
        results.put("refused")


def test_many_at_once_never_write_together(tmp_path):
    """A stale lock, and processes that all see it at once."""
    written(tmp_path, pid=2**22 - 1, start="gone")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=race, args=(str(tmp_path), results)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    found = [results.get(timeout=5) for _ in processes]
    assert [process.exitcode for process in processes] == [0] * 4 and "held" in found
    assert list(tmp_path.iterdir()) == []


def test_start_tells_processes_apart():
    assert locks._start(os.getpid()) == locks._start(os.getpid()) != locks._start(1)
    assert locks._start(2**22 - 1) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"The lock .* cannot be written: Permission denied"), locked(tmp_path):
        pytest.fail("no lock")
