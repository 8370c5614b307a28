"""Own files that are read again: whatever happens to them is noticed in one line, or changes nothing."""

import subprocess

import numpy as np
import pandas as pd
import pytest

from create_db import main as create_db
from faces.errors import UserError
from faces.files import write_csv, write_json
from faces.label_files import checksums
from faces.label_files.checksums import (
    FOOTER,
    SUMS,
    DamagedFile,
    accept,
    are_whole,
    beside,
    read_index,
    read_json,
    require_whole,
    write_checked,
    write_checksums,
    write_index,
)
from faces.label_files.label_table import read_table, write_table
from faces.splits.lists import read_split_list

COUNT = 60
GENERATOR = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "img_path": [f"{index}.jpg" for index in range(COUNT)],
        "age": GENERATOR.integers(0, 100, COUNT).astype(float),
        "gender": GENERATOR.choice(["female", "male"], COUNT),
        "sha256": [f"{index:064x}" for index in range(COUNT)],
        "bytes": GENERATOR.integers(1000, 9000, COUNT).astype(object),
        "mtime_ns": [10**18 + index for index in range(COUNT)],
    }
)


# === Every kind of file ===


def make_table(folder):
    write_table(TABLE, folder / "own.csv")
    return folder / "own.csv"


def make_split_list(folder):
    split = ["train", "val", "test"] * (COUNT // 3)
    write_csv(folder / "split.csv", TABLE[["img_path"]].assign(split=split))
    write_checksums(folder, ["config.yaml", "split.csv"])
    return folder / "split.csv"


def make_json(folder):
    write_json(
        folder / "run.json", {"run": "a", "val_age_mae": 5.25, "overrides": {"train.lr": "0.1"}, "seconds": None}
    )
    write_checksums(folder, ["run.json"])
    return folder / "run.json"


# Kind of file -> (fn(folder) -> the file, fn(file) -> what is read of it, as text)
KINDS = {
    "table": (make_table, lambda path: read_table(path).to_csv()),
    "split list": (make_split_list, lambda path: read_split_list(path, TABLE)[0].to_csv()),
    "result": (make_json, lambda path: repr(read_json(path))),
}


def damages(data):
    """What may become of a file: (what, its bytes) of 40 truncations, 160 flipped bits, and more."""
    yield from ((f"cut to {length}", data[:length]) for length in np.linspace(0, len(data) - 1, 40).astype(int))
    for place in np.linspace(0, len(data) - 1, 160).astype(int):
        flipped = bytes([data[place] ^ (1 << (place % 8))])
        yield f"bit {place % 8} of byte {place}", data[:place] + flipped + data[place + 1 :]
    lines = data.splitlines(keepends=True)
    yield "a row less", b"".join(lines[:-1])
    yield "a row twice", b"".join([*lines, lines[-1]])
    yield "rows in another order", b"".join(lines[::-1])
    yield "zeros", data[:20] + bytes(40) + data[60:]
    yield "more", data + b"\n7.jpg"


@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_a_file_or_of_its_checksum_is_noticed_or_changes_nothing(kind, tmp_path):
    make, read = KINDS[kind]
    path = make(tmp_path)
    expected, noticed = read(path), 0
    sums = next(each for each in (beside(path), tmp_path / SUMS) if each.is_file())
    for file in (path, sums):
        sound = file.read_bytes()
        for what, data in damages(sound):
            file.write_bytes(data)
            try:
                found = read(path)
            except UserError as error:
                assert str(path) in str(error) and "\n" not in str(error), what
                noticed += 1
            else:
                assert found == expected, f"{file.name}: {what}"
        file.write_bytes(sound)
    assert noticed >= 200 and read(path) == expected


def test_what_is_wrong_and_what_to_do_is_told(tmp_path):
    path = make_table(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError) as raised:
        read_table(path)
    assert str(raised.value) == (
        f"{path} was damaged, cut short or edited since it was written (60 rows were written). Make it again, or put "
        f"back what was there. If you edited it, run: python create_db.py --accept {path}"
    )


# === What is no damage ===


def test_the_checksum_is_that_of_sha256sum(tmp_path):
    make_table(tmp_path)
    make_split_list(tmp_path)
    for name in ("own.csv.sha256", SUMS):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", name], cwd=tmp_path, check=True)


def test_line_ends_of_windows_are_no_damage(tmp_path):
    path = make_table(tmp_path)
    expected = read_table(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_table(path), expected)


def test_table_without_a_checksum_and_one_that_was_renamed(tmp_path):
    path = make_table(tmp_path)
    expected = read_table(path)
    pd.read_csv(path, dtype=str).to_csv(tmp_path / "by hand.csv", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "by hand.csv"), expected)
    for old in (path, beside(path)):
        old.rename(tmp_path / old.name.replace("own", "other"))
    pd.testing.assert_frame_equal(read_table(tmp_path / "other.csv"), expected)
    beside(tmp_path / "other.csv").unlink()
    assert not require_whole(tmp_path / "other.csv")
    assert (
        not require_whole(tmp_path / ("x" * 300)) and not require_whole(tmp_path / "none\0") and not require_whole(".")
    )


def test_own_table_in_a_folder_that_has_checksums(tmp_path):
    path = make_table(tmp_path)
    beside(path).unlink()
    write_checksums(tmp_path, ["own.csv"])
    path.write_text("img_path,age\na.jpg,4\n")
    assert len(read_table(path)) == 1


@pytest.mark.parametrize("name", ["own.csv", "my tables/a b.csv"])
def test_an_edit_is_accepted_by_one_command(name, tmp_path, capsys):
    path = tmp_path / name
    write_table(TABLE, path)
    edited = path.read_text().replace("female", "male")
    path.write_text(edited)
    with pytest.raises(UserError, match="--accept"):
        read_table(path)
    create_db(["--accept", str(path)])
    assert f"wrote {path}.sha256" in capsys.readouterr().out
    assert set(read_table(path)["gender"]) == {"male"} and path.read_text() == edited
    path.write_text(edited[:-30])
    with pytest.raises(UserError, match="60 rows were written"):
        read_table(path)


def test_an_edit_in_a_run_folder_is_accepted(tmp_path):
    path = make_split_list(tmp_path)
    (tmp_path / "config.yaml").write_text("a: 1\n")
    write_checksums(tmp_path, ["config.yaml", "split.csv"])
    path.write_text(path.read_text().replace("val", "train"))
    assert accept(path, rows=COUNT) == tmp_path / SUMS
    assert require_whole(path) and require_whole(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text("a: 2\n")
    with pytest.raises(UserError, match=r"config\.yaml was damaged"):
        require_whole(tmp_path / "config.yaml")


def test_accepting_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        create_db(["--accept", str(tmp_path / "none.csv")])


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_table_that_is_written_again_fits_its_checksum_at_any_moment(tmp_path, monkeypatch, stop):
    path = make_table(tmp_path)
    written = []

    def killed(function):
        def write(*arguments):
            if len(written) == stop - 1:
                raise KeyboardInterrupt
            written.append(arguments[0])
            function(*arguments)

        return write

    for name in ("write_text", "write_bytes"):
        monkeypatch.setattr(checksums, name, killed(getattr(checksums, name)))
    with pytest.raises(KeyboardInterrupt):
        write_table(TABLE.head(7), path)
    assert len(written) == stop - 1 and len(read_table(path)) == (7 if stop == 3 else COUNT)
    monkeypatch.undo()
    write_table(TABLE.head(9), path)
    assert len(read_table(path)) == 9 and len(beside(path).read_text().splitlines()) == 2


# === JSON and folders ===


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 1', b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_json_that_is_no_object(content, tmp_path):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json: expected (a )?JSON.* Train again$"):
        read_json(tmp_path / "run.json", remedy="Train again")
    with pytest.raises(UserError, match=r"none\.json does not exist"):
        read_json(tmp_path / "none.json")


def test_files_of_a_folder(tmp_path):
    for name in ("a.csv", "test/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_checked(tmp_path / name, b"x\n", rows=0)
    write_checksums(tmp_path, ["a.csv", "test/b.csv", "missing.csv"])
    assert are_whole(tmp_path, ["a.csv", "test/b.csv"]) and not are_whole(tmp_path, ["a.csv", "missing.csv"])
    assert require_whole(tmp_path / "test" / "b.csv", folder=tmp_path)
    (tmp_path / "test" / "b.csv").write_bytes(b"y\n")
    assert not are_whole(tmp_path, ["a.csv", "test/b.csv"])
    with pytest.raises(UserError, match=r"b\.csv was damaged.*Do this$"):
        require_whole(tmp_path / "test" / "b.csv", folder=tmp_path, remedy="Do this")
    assert not are_whole(tmp_path / "a.csv", ["x"])


# === Index of a file of faces ===


def test_index_of_another_length_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.write(b"faces")
        write_index(file, b"index", "pack", 3)
    with open(path, "rb") as file:
        assert read_index(file, "pack", 3, most=5) == (b"index", 5)
        for kind, version, most in (("pack", 3, 4), ("pack", 2, 5), ("cache", 3, 5)):
            with pytest.raises(DamagedFile):
                read_index(file, kind, version, most=most)
    data = path.read_bytes()
    checksum, _, version, magic = FOOTER.unpack(data[-FOOTER.size :])
    for length in (0, 4, 6, 10, 11, 2**63, 2**64 - 1):
        path.write_bytes(data[: -FOOTER.size] + FOOTER.pack(checksum, length, version, magic))
        with open(path, "rb") as file, pytest.raises(DamagedFile, match="damaged index"):
            read_index(file, "pack", 3, most=2**64)
