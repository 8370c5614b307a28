"""Films for tests: drawn faces that move over a grey wall, a detector that finds them, and files changed by hand."""

import struct
from itertools import pairwise

import cv2
import numpy as np

from faces.alignment import TEMPLATE
from faces.sample import draw_face
from faces.video.frames import quiet_opencv

# FFmpeg asks only once how much it may print, and films are written before any is read.
quiet_opencv()

WALL = 128
SIDE = 96
FPS = 12.5


def portrait(seed=0, age=30, side=SIDE):
    """A drawn face, RGB uint8 (side, side, 3), without the grey of the wall."""
    image = draw_face(age, "female", np.random.default_rng(seed), side)
    # Colours near the wall's would be holes to the detector.
    return np.where(np.abs(image.astype(int) - WALL) < 40, image // 2, image).astype(np.uint8)


def draw_frame(places, size=(480, 360)):
    """A wall of (width, height) with portraits: `places` is a list of (portrait, (x, y) of its left upper corner)."""
    frame = np.full((size[1], size[0], 3), WALL, np.uint8)
    for picture, (x, y) in places:
        x, y = round(x), round(y)
        left, top = max(0, -x), max(0, -y)
        shown = picture[top : max(0, size[1] - y), left : max(0, size[0] - x)]
        frame[y + top : y + top + shown.shape[0], x + left : x + left + shown.shape[1]] = shown
    return frame


def moving_film(count=20, size=(480, 360), step=(6, 2)):
    """Frames of one face that moves by `step` pixels a frame, from (40, 40)."""
    face = portrait()
    return [draw_frame([(face, (40 + i * step[0], 40 + i * step[1]))], size) for i in range(count)]


def write_film(path, frames, fps=FPS, codec="mp4v"):
    """Write RGB frames with OpenCV; returns the path."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path


def write_jpegs(path, frames):
    """JPEG files one behind the other, as network cameras send them: any size, and no timestamps; returns the path."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame[:, :, ::-1])[1].tobytes() for frame in frames))
    return path


def read_film(path):
    """(frames, RGB; frames a second) of a video file, read by OpenCV alone."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        readable, frame = capture.read()
        if not readable:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame[:, :, ::-1])


def find_portraits(image):
    """A detector of what differs from the wall: rows of box, keypoints and score, as OpenCV's detectors give them."""
    boxes = find_boxes(image)
    corners, sides = boxes[:, None, :2], boxes[:, None, 2:4]
    keypoints = (corners + TEMPLATE * sides).reshape(-1, 10)
    return np.hstack([boxes[:, :4], keypoints, boxes[:, 4:]])


def find_boxes(image):
    """The same without keypoints."""
    differs = np.abs(image.astype(int) - WALL).max(axis=2) > 20
    mask = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    _, _, rows, _ = cv2.connectedComponentsWithStats(mask)
    rows = np.array([row for row in rows[1:] if row[4] > 300], dtype=float).reshape(-1, 5)
    # The last column is the area, up to here.
    rows[:, 4] = 0.95
    return rows


# === MP4 files changed by hand ===


def rotate_film(path, degrees):
    """Have the header of an MP4 file say that its pictures are to be turned by 90, 180 or 270 degrees clockwise."""
    data = bytearray(path.read_bytes())
    # Version 0 of the track header: the matrix of nine numbers lies 44 bytes behind the name of the box.
    place = data.index(b"tkhd") + 44
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    one = 1 << 16
    data[place : place + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def retime_film(path, ticks):
    """Give each frame of an MP4 file its own duration, in ticks of the file's clock."""
    # The edit list would end the film where it used to end.
    data = path.read_bytes().replace(b"edts", b"free")
    # Each box within the one before; OpenCV writes them behind the pictures, whose offsets stay the same.
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    places = [data.index(name) - 4 for name in names]
    assert all(outer < inner for outer, inner in pairwise(places)) and data.index(b"mdat") < places[0]
    start, old = places[-1], int.from_bytes(data[places[-1] : places[-1] + 4], "big")
    table = struct.pack(">I4sII", 16 + 8 * len(ticks), b"stts", 0, len(ticks))
    table += b"".join(struct.pack(">II", 1, tick) for tick in ticks)
    changed = bytearray(data[:start] + table + data[start + old :])
    for place in places[:-1]:
        size = int.from_bytes(data[place : place + 4], "big") + len(table) - old
        changed[place : place + 4] = size.to_bytes(4, "big")
    path.write_bytes(changed)
    return path


def film_clock(path):
    """Ticks a second of the clock of an MP4 file's pictures."""
    data = path.read_bytes()
    place = data.index(b"mdhd") + 16
    return int.from_bytes(data[place : place + 4], "big")
