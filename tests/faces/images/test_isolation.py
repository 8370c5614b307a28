"""A picture made to last, or to fill the memory, ends a process of its own and nothing else."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faces.images import ImageError, read_rgb
from faces.images.failures import Unreadable
from faces.images.isolation import Decoders, decode_apart
from tests.faces.images.hostile_pictures import AVIF, JPEG_2000, blank, encode, many_scans

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 50_000_000
SMALL = blank("AVIF", 64)


@pytest.fixture
def decoders():
    made = Decoders(1, seconds=1)
    yield made
    made.close()


@pytest.fixture
def longest_stall():
    """fn() -> seconds for which another thread of this process could not go on."""
    stalls, over = [0.0], threading.Event()

    def look():
        last = time.monotonic()
        while not over.wait(0.005):
            stalls[0], last = max(stalls[0], time.monotonic() - last), time.monotonic()

    thread = threading.Thread(target=look)
    thread.start()
    yield lambda: stalls[0]
    over.set()
    thread.join()


LASTING = {
    "JPEG 2000": JPEG_2000,
    "AVIF": AVIF,
    "JPEG of 99 scans": many_scans(7000, 99),
}


@pytest.mark.parametrize("kind", LASTING)
def test_lasting_picture_holds_up_nothing(kind, decoders, longest_stall):
    data = LASTING[kind]
    assert len(data) < 150_000
    if kind != "JPEG 2000":  # about as long as the limit: on a fast machine they are decoded in time
        with suppress(Unreadable):
            decoders.decode(data, LIMIT, False)
    else:
        with pytest.raises(Unreadable, match="took more than 1 seconds"):
            decoders.decode(data, LIMIT, False)
    assert longest_stall() < 1
    assert decoders.decode(SMALL, LIMIT, False).shape == (64, 64, 3)


@pytest.mark.skipif(not Path("/proc").exists(), reason="the limits of a process are read from /proc")
def test_memory_and_time_are_limited_for_each_picture(decoders):
    for number, max_pixels in enumerate((10**6, LIMIT), 1):
        decoders.decode(SMALL, max_pixels, False)
        limits = Path(f"/proc/{decoders._idle[0]._process.pid}/limits").read_text()
        assert re.search(rf"Max address space +{2**30 + 40 * max_pixels} ", limits)
        assert int(re.search(r"Max cpu time +([0-9]+) ", limits)[1]) <= 4 + number


def test_process_that_ends_is_replaced(decoders):
    decoders.decode(SMALL, LIMIT, False)
    os.kill(decoders._idle[0]._process.pid, signal.SIGKILL)
    decoders._idle[0]._process.wait()
    assert decoders.decode(SMALL, LIMIT, False).shape == (64, 64, 3)
    assert len(decoders._idle) == 1


def test_process_serves_one_picture_after_the_other(decoders):
    numbers = set()
    for data in (SMALL, b"no picture", blank("GIF", 8), blank("TIFF", 8)):
        try:
            decoders.decode(data, LIMIT, False)
        except Unreadable as error:
            assert "not an image" in str(error)
        numbers.add(decoders._idle[0]._process.pid)
    assert len(numbers) == 1


def test_no_process_outlives_the_program():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from faces.images import isolation\n"
        f"isolation.decode_apart({SMALL!r}, 10**6)\n"
        "print(isolation._decoders(isolation.os.getpid())._idle[0]._process.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    number = int(run.stdout)
    for _ in range(100):
        if not Path(f"/proc/{number}").exists() or "\nState:\tZ" in Path(f"/proc/{number}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"process {number} is still there")


def test_interrupt_is_for_the_program_alone(decoders):
    decoders.decode(SMALL, LIMIT, False)
    os.kill(decoders._idle[0]._process.pid, signal.SIGINT)
    time.sleep(0.1)
    assert decoders._idle[0].is_alive


def test_pixels_are_the_same_there():
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for image_format in ("JPEG", "PNG", "WEBP"):
        data = encode(Image.fromarray(noise), image_format)
        np.testing.assert_array_equal(decode_apart(data, 10**6), read_rgb(data))


def test_damage_and_limits_are_told_from_there():
    data = encode(Image.fromarray(np.arange(30000, dtype=np.uint8).reshape(100, 100, 3)), "TIFF")
    with pytest.raises(ImageError, match="damaged or truncated"):
        read_rgb(data[:-500])
    with pytest.raises(ImageError, match="too large: 100 x 100 pixels, limit 9999"):
        read_rgb(data, max_pixels=9999)


def test_a_folder_of_strangers_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    made = Decoders(1)
    assert made.decode(SMALL, LIMIT, False).shape == (64, 64, 3)
    made.close()
