"""The program of a process that decodes for another one: `faces.images.isolation` starts it and speaks to it by pipes.

It asks and answers in turn, until its standard input ends. A request is REQUEST and the file; an answer is ANSWER and
the pixels, or the reason for which there are none.
"""

import os
import signal
import struct
import sys
import tempfile
import time
import warnings
from typing import BinaryIO

import cv2
import numpy as np

from faces.images import png
from faces.images.failures import NotDecodedHere, Unreadable, check_size
from faces.images.jpeg import START, JpegHeader, decode_jpeg, is_harmless, read_header
from faces.images.orientation import exif_orientation, turn_upright
from faces.images.other_formats import decode_with_pillow

REQUEST = struct.Struct("<QQ?d")  # bytes of the file, most pixels, whether damage is tolerated, seconds of a processor
ANSWER = struct.Struct("<BII")  # kind, height, width; or kind, bytes of the reason, 0
PICTURE, FAILED = 0, 1

# Bytes that a picture may take, beside those of the process. JPEG 2000 takes the most for a pixel: three numbers of
# four bytes, twice, and the picture in three layouts.
MEMORY, MEMORY_A_PIXEL = 2**30, 40


def main() -> None:
    """Answer requests until there are no more."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while len(request := requests.read(REQUEST.size)) == REQUEST.size:
        length, max_pixels, tolerate_damage, seconds = REQUEST.unpack(request)
        data = requests.read(length)
        _limit(seconds, max_pixels)
        _answer(answers, data, max_pixels, tolerate_damage)
    sys.exit()


def _answer(answers: BinaryIO, data: bytes, max_pixels: int, tolerate_damage: bool) -> None:
    try:
        image = decode(data, max_pixels, tolerate_damage)
    except (Unreadable, MemoryError) as error:
        reason = str(error) if isinstance(error, Unreadable) else "its decoder needs too much memory"
        text = reason.encode("utf-8", "backslashreplace")
        answers.write(ANSWER.pack(FAILED, len(text), 0) + text)
    else:
        answers.write(ANSWER.pack(PICTURE, *image.shape[:2]))
        answers.write(image.data)
    answers.flush()


def _limit(seconds: float, max_pixels: int) -> None:
    """Let the system end this process where a picture takes more, also when nobody waits for it any longer."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(time.process_time() + seconds) + 1,
        resource.RLIMIT_AS: MEMORY + MEMORY_A_PIXEL * max_pixels,
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        try:
            resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        except (OSError, ValueError):  # a system without this limit
            continue


def decode(data: bytes, max_pixels: int, tolerate_damage: bool) -> np.ndarray:
    """RGB picture of a file of any format, uint8 (H, W, 3), upright.

    Args:
        data: the file.
        max_pixels: larger images are refused by their header.
        tolerate_damage: see `faces.images.read_rgb`.

    Raises:
        Unreadable: damaged, too large, or no picture.
    """
    if data.startswith(START):
        header = read_header(data, max_pixels)
        try:
            return decode_jpeg(data, header, tolerate_damage=tolerate_damage)
        except NotDecodedHere:
            return _decode_with_opencv(data, header, tolerate_damage)
    if size := png.read_size(data):
        check_size(*size, max_pixels)
        data = png.plain_png(data)
    return decode_with_pillow(data, max_pixels)


def _decode_with_opencv(data: bytes, header: JpegHeader, tolerate_damage: bool) -> np.ndarray:
    """A JPEG of unusual sampling. OpenCV prints what is wrong with it, and no thread beside prints here."""
    with tempfile.TemporaryFile() as printed:
        before = os.dup(2)
        os.dup2(printed.fileno(), 2)
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise Unreadable(f"damaged JPEG: {error.err}") from None
        finally:
            os.dup2(before, 2)
            os.close(before)
        printed.seek(0)
        warning = printed.read().decode("utf-8", "replace").strip()
    if image is None:
        raise Unreadable("damaged JPEG")
    if warning and not tolerate_damage and not is_harmless(warning):
        raise Unreadable(f"damaged JPEG: {warning.splitlines()[0].removeprefix('Corrupt JPEG data: ')}")
    return turn_upright(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), exif_orientation(header.exif))
