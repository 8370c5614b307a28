"""Damaged label files and names: an error of one line, a rejected row, or exactly what the file visibly says."""

import os
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from faces.datasets import afad, agedb, morph
from tests.faces.datasets.published_layouts import LAYOUTS, build, check_tables, damage, read_or_error, text_rows

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PIECES = [*b',;\t"\n\r\0 0123456789.-()fmFMBWx\xe9\xff', b"\xef\xbb\xbf", "é".encode(), b"\r\n", b"..", b"nan", b"1e3"]
BYTES = st.sampled_from([piece if isinstance(piece, bytes) else bytes([piece]) for piece in PIECES]) | st.binary(
    max_size=2
)
EDITS = st.lists(st.tuples(st.sampled_from(["insert", "replace", "cut", "swap"]), st.floats(0, 1), BYTES), max_size=3)
ENCODINGS = st.sampled_from(["utf-8"] * 8 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])


def label_rows(name, content):
    """The rows of a label file as dicts, by the standard library."""
    rows = text_rows(content)
    if name == "clap":  # its header may be missing
        return [dict(zip(("image", "mean", "stdv"), row)) for row in rows]
    return [dict(zip(rows[0], row)) for row in rows[1:]]


def check_answer(name, content):
    """Read a folder with this label file; every row of the table must be said by exactly one row of the file."""
    read, label_file, _, images, says = LAYOUTS[name]
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), images, {label_file: content})
        answer = read_or_error(read, folder)
    if answer is None:
        return None
    table, rejected = answer
    check_tables(table, rejected, images)
    for row in table.to_dict("records"):
        saying = [label for label in label_rows(name, content) if can_say(says, row, label)]
        # MORPH's labels are the names; its file may have lost any row.
        lost = name == "morph" and row.get("ethnicity") is None and row.get("fold") is None
        assert len(saying) == 1 or lost, (row, content)
    return table, rejected


def can_say(says, row, label):
    try:
        return says(row, label)
    except (KeyError, ValueError):  # a column is missing, or a cell is no number
        return False


@pytest.mark.parametrize("name", LAYOUTS)
def test_intact_layouts_are_read(name):
    _, _, text, _, _ = LAYOUTS[name]
    table, rejected = check_answer(name, text.encode())
    assert len(table) + len(rejected) == text.count("\n") - 1 and len(table) >= 2


@pytest.mark.parametrize("name", LAYOUTS)
@FEW
@given(edits=EDITS, kept=st.just(1.0) | st.floats(0, 1), encoding=ENCODINGS)
@example(edits=[], kept=1.0, encoding="utf-16")
def test_damaged_label_file(name, edits, kept, encoding):
    _, _, text, _, _ = LAYOUTS[name]
    check_answer(name, damage(text.encode(encoding), edits, kept))


CELLS = st.sampled_from(["", " ", "nan", "None", "-1", "+4", "1e9", "131", "4.5", "1_0", "٣", "²", "..", "/", "\0"])


@pytest.mark.parametrize("name", LAYOUTS)
@FEW
@given(data=st.data())
def test_damaged_cells(name, data):
    _, _, text, _, _ = LAYOUTS[name]
    delimiter = "\t" if name == "adience" else ","
    rows = [line.split(delimiter) for line in text.splitlines()]
    width = len(rows[0]) - 1
    for _ in range(data.draw(st.integers(1, 3))):
        row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, width))
        others = st.sampled_from([other[column] for other in rows]) | st.sampled_from(rows[row])
        edited = st.integers(0, 9).map(lambda digit, cell=rows[row][column]: f"{cell[:-1]}{digit}")
        accents = st.text(st.characters(codec="utf-8", exclude_characters=f'{delimiter}"\r\n'), max_size=4)
        rows[row][column] = data.draw(others | CELLS | edited | accents)
    content = "\n".join(delimiter.join(row) for row in rows).encode()
    answer = check_answer(name, content)
    if answer and name != "morph":
        assert len(answer[0]) + len(answer[1]) >= len(rows) - 1


# === Names ===

AGEDB = ["0_MariaCallas_35_f.jpg", "16487_BoBarrett_7_m.JPG"]
AFAD = ["15/111/292943-1.jpg", "40/112/671487-0.jpg"]
MORPH = ["Album2/009055_1M54.JPG", "100002_0F19.jpg"]
NAMES = {
    "agedb": (agedb.read, AGEDB),
    "afad": (afad.read, AFAD),
    "morph": (morph.read, MORPH),
}


def visible_fields(name, row):
    """What the parts of a path must be for the row of the table; the parts are found without the readers' patterns."""
    path = row["img_path"]
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    gender = row["gender"][0]
    if name == "agedb":
        number, rest = stem.split("_", 1)
        person, age, letter = rest.rsplit("_", 2)
        same_person = unicodedata.normalize("NFC", person) == unicodedata.normalize("NFC", row["identity"])
        return number.isdigit() and (int(age), letter.lower()) == (row["age"], gender) and same_person
    if name == "afad":
        age, code = path.split("/")[-3:-1]
        return (int(age), {"111": "m", "112": "f"}[code], stem.split("-")[0]) == (row["age"], gender, row["identity"])
    person, rest = stem.split("_")
    letter = "m" if "m" in rest.lower() else "f"
    return (person, letter, int(rest.lower().split(letter)[1])) == (row["identity"], gender, row["age"])


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_damaged_names(name, data):
    read, valid = NAMES[name]
    characters = st.sampled_from(list("_-./0123456789fmFMxA é")) | st.characters(exclude_characters="\0", codec="utf-8")
    images = {data.draw(st.sampled_from(valid)).encode()}
    for _ in range(3):
        text = data.draw(st.sampled_from(valid))
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(characters) + text[at + data.draw(st.integers(0, 2)) :]
        images.add(text.encode() if data.draw(st.integers(0, 9)) else text.encode("latin-1", "replace") + b"\xe9.jpg")
    with tempfile.TemporaryDirectory() as folder:
        made = set()
        for image in images:
            path = Path(os.fsdecode(os.path.join(os.fsencode(folder), image.lstrip(b"/"))))
            if ".." in path.parts or path.is_dir() or len(os.fsencode(path.name)) > 200:
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except (NotADirectoryError, FileExistsError):  # one of the names is a folder of another
                continue
            relative = path.relative_to(folder).as_posix()
            hidden = any(part.startswith(".") for part in relative.split("/")) or relative.startswith("crops/")
            if path.suffix.lower() in (".jpg", ".png", ".jpeg", ".bmp", ".webp") and not hidden:
                made.add(relative)
        answer = read_or_error(read, folder)
    assert answer is not None or not made
    if answer is not None:
        check_tables(*answer, made)
        assert len(answer[0]) + len(answer[1]) == len(made)
        assert all(visible_fields(name, row) for row in answer[0].to_dict("records"))
