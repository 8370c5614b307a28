"""Rows as bytes and back: what is complete is read with its place, what is torn is left."""

import io

import pytest

from faces.detection import Face
from faces.photos.estimates import FaceEstimate, error_row, picture_rows
from faces.photos.row_formats import LINES

NAMES = ["a.jpg", 'b,\n"c".jpg', "d\re.jpg", "f\r\n.jpg"]


def content(row_format):
    """(bytes of two rows per picture, where each picture begins)."""
    lines, starts = LINES[row_format], []
    data = lines.header
    for name in NAMES:
        starts.append(len(data))
        data += lines.encode(picture_rows(name, [FaceEstimate(Face((1, 2, 3, 4), 0.5), 30)] * 2))
    return data, starts


@pytest.mark.parametrize("row_format", LINES)
def test_rows_are_read_with_their_places(row_format):
    data, starts = content(row_format)
    rows = list(LINES[row_format].read(io.BytesIO(data)))
    assert [(name, face) for _, name, face in rows] == [(name, face) for name in NAMES for face in (0, 1)]
    assert [position for position, _, face in rows if not face] == starts


@pytest.mark.parametrize("row_format", LINES)
def test_torn_row_is_left_wherever_it_ends(row_format):
    data, _ = content(row_format)
    ends = [*(position for position, *_ in LINES[row_format].read(io.BytesIO(data))), len(data)][1:]
    for size in range(len(LINES[row_format].header), len(data) + 1):
        assert len(list(LINES[row_format].read(io.BytesIO(data[:size])))) == sum(end <= size for end in ends)


@pytest.mark.parametrize("row_format", LINES)
@pytest.mark.parametrize("foreign", [b"a,b\n", b"\xff\xfe\n", b"\n", b'"a"b,c\n'])
def test_foreign_row_is_shown(row_format, foreign):
    lines = LINES[row_format]
    data = lines.header + lines.encode([error_row("a.jpg", "damaged")]) + foreign
    with pytest.raises(ValueError, match="is no row of a prediction"):
        list(lines.read(io.BytesIO(data)))
