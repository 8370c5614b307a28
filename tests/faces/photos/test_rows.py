"""Tables of rows a face: what is written, and that a stop at any byte loses nothing and doubles nothing."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faces.cells import disarmed
from faces.detection import Face
from faces.errors import UserError
from faces.photos.estimates import ROW_COLUMNS, FaceEstimate, error_row, estimate_row
from faces.photos.rows import RowStream, check_output, choose_format, open_rows

ROOT = Path(__file__).resolve().parents[3]
FORMATS = ("csv", "jsonl", "parquet")
ODD_NAMES = (
    'a,b "c".jpg',
    "line\nbreak\r\n.jpg",
    "",
    "a.jpg",
    "a.jpg",
    "cr\r.jpg",
    'ü\u2028" \\xe9\t.jpg',
    '"',
    "=1+1",
)


def face_rows(name, count):
    face = Face((1.26, -2, 30.04, 4), 0.98765)
    estimate = FaceEstimate(face, 31.234567, (20, 40.5), "female", 0.75)
    return [estimate_row(name, number, estimate) for number in range(count)]


def picture_rows():
    """Rows of pictures with odd names, one after the other: of several faces, one face, or an error."""
    kinds = itertools.cycle([2, 1, 0, 3])
    return [face_rows(name, n) if (n := next(kinds)) else [error_row(name, 'no "face"\n')] for name in ODD_NAMES]


def write(path, row_format, pictures, **options):
    with open_rows(path, row_format, **options) as table:
        for rows in pictures:
            table.write(rows)
        table.finish()
    return path


def file_of(path, row_format):
    """The file that grows."""
    return path.with_name(f"{path.name}.part") if row_format == "parquet" else path


def read(path, row_format):
    if row_format == "parquet":
        return pd.read_parquet(path).astype(object).where(lambda table: table.notna(), None).to_dict("records")
    return path.read_bytes()


@pytest.fixture
def no_journal_is_dropped(monkeypatch):
    """A stop right after the Parquet file appeared: its journal is still there."""
    monkeypatch.setattr(Path, "unlink", lambda path: None)


# === What is written ===


def test_csv_is_read_back_by_pandas(tmp_path):
    pictures = picture_rows()
    write(tmp_path / "x.csv", "csv", pictures)
    # pandas makes one of \r\n of a \n, so lines are compared by their words.
    table = pd.read_csv(tmp_path / "x.csv", keep_default_na=False)
    expected = [disarmed(row["img_path"]) for rows in pictures for row in rows]
    assert tuple(table) == ROW_COLUMNS
    assert [name.split() for name in table["img_path"]] == [name.split() for name in expected]
    first = ["0", "1.3", "-2.0", "30.0", "4.0", "0.9877", "31.23", "20.0", "40.5", "female", "0.75", ""]
    assert table.loc[0].tolist()[1:] == first
    assert table["error"].tolist().count('no "face"\n') == 2


def test_json_lines_hold_null_where_nothing_is_known(tmp_path):
    write(tmp_path / "x.jsonl", "jsonl", picture_rows())
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().split("\n")[:-1]]
    assert rows == [row for picture in picture_rows() for row in picture]
    assert rows[3] == {**dict.fromkeys(ROW_COLUMNS), "img_path": "", "error": 'no "face"\n'}


def test_parquet_has_typed_columns(tmp_path):
    write(tmp_path / "x.parquet", "parquet", picture_rows())
    assert read(tmp_path / "x.parquet", "parquet") == [row for picture in picture_rows() for row in picture]
    types = pd.read_parquet(tmp_path / "x.parquet", dtype_backend="numpy_nullable").dtypes.astype(str)
    assert types["face"] == "Int32" and types["error"] == "string"
    assert set(types.drop(["face", "img_path", "error", "gender"])) == {"Float64"}
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("row_format", FORMATS)
def test_no_pictures_give_an_empty_table(tmp_path, row_format):
    path = write(tmp_path / "x", row_format, [])
    assert (
        read(path, row_format)
        == {"csv": f"{','.join(ROW_COLUMNS)}\n".encode(), "jsonl": b"", "parquet": []}[row_format]
    )
    if row_format == "parquet":
        assert tuple(pd.read_parquet(path)) == ROW_COLUMNS


def test_parquet_of_several_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("faces.photos.row_formats.ROW_GROUP", 4)
    write(tmp_path / "x.parquet", "parquet", picture_rows())
    assert read(tmp_path / "x.parquet", "parquet") == [row for picture in picture_rows() for row in picture]


def test_rows_are_out_when_written(tmp_path):
    with open_rows(tmp_path / "x.csv", "csv") as table:
        table.write(face_rows("a.jpg", 1))
        assert (tmp_path / "x.csv").read_text().count("\n") == 2


def test_stream(tmp_path):
    stream = io.BytesIO()
    with RowStream(stream, "csv") as table:
        for rows in picture_rows():
            table.write(rows)
        table.finish()
    assert stream.getvalue() == write(tmp_path / "x.csv", "csv", picture_rows()).read_bytes()
    assert list(table.done()) == [] and table.done_count == 0


def test_number_that_is_none_is_not_written(tmp_path):
    with open_rows(tmp_path / "x.jsonl", "jsonl") as table, pytest.raises(ValueError, match="Out of range float"):
        table.write([error_row("a", "b") | {"age": np.nan}])


# === Going on after a stop ===


def resume(path, row_format):
    """Go on as predict.py does; returns how many pictures were there."""
    with open_rows(path, row_format, resume=True) as table:
        done = list(table.done())
        assert table.done_count == len(done) and done == list(ODD_NAMES[: len(done)])
        for rows in picture_rows()[len(done) :]:
            table.write(rows)
        table.finish()
    return len(done)


@pytest.mark.parametrize("row_format", ["csv", pytest.param("jsonl", marks=pytest.mark.slow)])
def test_stop_at_any_byte(tmp_path, row_format):
    whole = write(tmp_path / "whole", row_format, picture_rows()).read_bytes()
    kept = []
    for size in range(len(whole) + 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        kept.append(resume(tmp_path / "cut", row_format))
        assert (tmp_path / "cut").read_bytes() == whole, size
    # Nothing more than the picture that was being written, and the one before, is done again.
    assert kept == sorted(kept) and kept[0] == 0 and kept[-1] == len(ODD_NAMES) - 1
    assert set(kept) == set(range(len(ODD_NAMES)))


def test_stop_at_any_byte_of_the_journal(tmp_path):
    expected = read(write(tmp_path / "x.parquet", "parquet", picture_rows()), "parquet")
    whole = write(tmp_path / "whole", "jsonl", picture_rows()).read_bytes()
    for size in range(0, len(whole) + 1, 97):
        (tmp_path / "x.parquet.part").write_bytes(whole[:size])
        (tmp_path / "x.parquet").unlink(missing_ok=True)
        resume(tmp_path / "x.parquet", "parquet")
        assert read(tmp_path / "x.parquet", "parquet") == expected
        assert not (tmp_path / "x.parquet.part").exists()


@pytest.mark.parametrize("row_format", FORMATS)
def test_finished_table_is_resumed(tmp_path, row_format):
    path = write(tmp_path / "x", row_format, picture_rows())
    before = read(path, row_format)
    assert resume(path, row_format) == len(ODD_NAMES) - 1
    assert read(path, row_format) == before


@pytest.mark.usefixtures("no_journal_is_dropped")
def test_stop_before_the_journal_is_dropped(tmp_path):
    path = write(tmp_path / "x", "parquet", picture_rows())
    assert file_of(path, "parquet").exists()
    assert resume(path, "parquet") == len(ODD_NAMES) - 1
    assert read(path, "parquet") == [row for picture in picture_rows() for row in picture]


@pytest.mark.parametrize("row_format", FORMATS)
def test_nothing_to_resume_is_a_start(tmp_path, row_format):
    path = write(tmp_path / "x", row_format, picture_rows(), resume=True)
    assert read(path, row_format) == read(write(tmp_path / "y", row_format, picture_rows()), row_format)


@pytest.mark.parametrize("row_format", FORMATS)
def test_without_resume_what_is_there_is_replaced(tmp_path, row_format):
    path = write(tmp_path / "x", row_format, picture_rows())
    write(path, row_format, [face_rows("new.jpg", 1)])
    assert read(path, row_format) == read(write(tmp_path / "y", row_format, [face_rows("new.jpg", 1)]), row_format)


WRITER = """
import sys
from tests.faces.photos.test_rows import face_rows
from faces.photos.rows import open_rows

with open_rows(sys.argv[1], sys.argv[2], resume=True) as table:
    for number in range(table.done_count, int(sys.argv[3])):
        table.write(face_rows(f"{number}.jpg", 1 + number % 3))
    table.finish()
"""


@pytest.mark.parametrize(
    "row_format", [name if name == "csv" else pytest.param(name, marks=pytest.mark.slow) for name in FORMATS]
)
def test_kill_at_any_moment(tmp_path, row_format):
    """Killed over and over while it writes (or makes the Parquet file), it ends up with the same table."""
    count, kills, rng = 20_000, 0, np.random.default_rng(0)
    path = tmp_path / "x"
    command = [sys.executable, "-c", WRITER, str(path), row_format, str(count)]
    while True:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": ""})
        while process.poll() is None and not file_of(path, row_format).exists():
            time.sleep(0.005)
        try:
            code = process.wait(rng.uniform(0.02, 0.3) if kills < 4 else None)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert code == 0 and kills > 0
    expected = write(tmp_path / "y", row_format, (face_rows(f"{n}.jpg", 1 + n % 3) for n in range(count)))
    assert read(path, row_format) == read(expected, row_format)


# === What is refused ===


@pytest.mark.parametrize(
    ("path", "word", "chosen"),
    [
        (None, None, "csv"),
        (None, "jsonl", "jsonl"),
        ("x.CSV", None, "csv"),
        ("x.jsonl", "jsonl", "jsonl"),
        ("x.txt", "parquet", "parquet"),
    ],
)
def test_format_is_chosen(path, word, chosen):
    assert choose_format(path, word) == chosen


@pytest.mark.parametrize(
    ("path", "word", "message"),
    [
        (None, "parquet", r"Expected --output FILE\.parquet"),
        ("x.json", None, r"must end in \.csv, \.jsonl or \.parquet, or --format tells\. Received: x\.json"),
        ("x.csv", "jsonl", r"--format jsonl contradicts the name of --output x\.csv"),
    ],
)
def test_format_is_refused(path, word, message):
    with pytest.raises(UserError, match=message):
        choose_format(path, word)


@pytest.mark.parametrize("row_format", FORMATS)
def test_file_that_is_there_needs_a_word(tmp_path, row_format):
    path = write(tmp_path / "x", row_format, picture_rows())
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"x exists already\. To continue it: --resume\. To replace it: --overwrite"):
        check_output(path, row_format)
    check_output(path, row_format, resume=True)
    check_output(path, row_format, overwrite=True)
    with pytest.raises(UserError, match="Expected one of them"):
        check_output(path, row_format, resume=True, overwrite=True)
    assert path.read_bytes() == before


def test_journal_that_is_there_needs_a_word(tmp_path):
    (tmp_path / "x.parquet.part").touch()
    with pytest.raises(UserError, match=r"x\.parquet\.part exists already"):
        check_output(tmp_path / "x.parquet", "parquet")
    check_output(tmp_path / "x.parquet", "parquet", resume=True)


@pytest.mark.parametrize("row_format", FORMATS)
@pytest.mark.parametrize("content", ["img_path,age\na.jpg,3\n", '{"name": 3}\n', "some notes", "PAR1"])
def test_file_with_other_columns_is_not_resumed(tmp_path, row_format, content):
    path = tmp_path / "x"
    path.write_text(content)
    with pytest.raises(UserError, match=r"other columns|expected a Parquet file"):
        check_output(path, row_format, resume=True)
    with pytest.raises(UserError, match=r"other columns|expected a Parquet file"):
        open_rows(path, row_format, resume=True)
    assert path.read_text() == content and len(list(tmp_path.iterdir())) == 1


def test_parquet_with_other_columns_is_not_resumed(tmp_path):
    pd.DataFrame({"img_path": ["a.jpg"]}).to_parquet(tmp_path / "x")
    with pytest.raises(UserError, match="other columns"):
        check_output(tmp_path / "x", "parquet", resume=True)


@pytest.mark.parametrize("row_format", ["csv", "jsonl"])
@pytest.mark.parametrize("foreign", [b"a,b\n", b"\xff\xfe\n", b'{"img_path": "a", "face": 0}\n', b'"a"b,c\n', b"\n"])
def test_foreign_line_is_not_resumed(tmp_path, row_format, foreign):
    path = write(tmp_path / "x", row_format, picture_rows())
    content = path.read_bytes() + foreign
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be continued: .* is no row of a prediction"):
        open_rows(path, row_format, resume=True)
    assert path.read_bytes() == content


def test_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--output must be a file\. Received the folder"):
        check_output(tmp_path, "csv")
    with pytest.raises(UserError, match="--output needs a folder that can be written"):
        check_output(tmp_path / "gone" / "x.csv", "csv")
    with pytest.raises(UserError, match=r"x\.csv cannot be written: No such file"):
        open_rows(tmp_path / "gone" / "x.csv", "csv")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_full_disk_is_an_error_of_the_user():
    with pytest.raises(UserError, match="/dev/full cannot be written: No space left on device"):
        write(Path("/dev/full"), "csv", [])


def test_full_standard_output_is_an_error_of_the_user():
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(UserError, match="No space left on device"):
        RowStream(file, "csv")


@pytest.mark.parametrize("row_format", FORMATS)
def test_two_runs_do_not_write_one_file(tmp_path, row_format):
    path = tmp_path / "x"
    with open_rows(path, row_format) as table:
        table.write(face_rows("a.jpg", 1))
        with pytest.raises(UserError, match=rf"is being written by another run(, process {os.getpid()}\.|\.)"):
            open_rows(path, row_format, resume=True)
        table.write(face_rows("b.jpg", 1))
        table.finish()
    if row_format != "parquet":
        with open_rows(path, row_format, resume=True) as table:
            assert list(table.done()) == ["a.jpg"]
