"""From a raw data set to a checked table: unreadable images, contradicting duplicates, the table file."""

import hashlib
import os
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.alignment import CropGeometry
from faces.datasets import DATASETS
from faces.errors import UserError
from faces.ingest.crops import read_geometry
from faces.ingest.tables import check_images, drop_conflicting_duplicates, ingest, load_table
from faces.label_files.label_table import read_table, write_table
from faces.labels import GENDERS, SPLITS, TABLE_COLUMNS
from faces.splits import draw as splits

TEST_DATA = os.environ.get("FACES_TEST_DATA")
DATE = "20170116184028385.jpg"


def write_image(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((16, 16, 3), level, np.uint8)
    path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


@pytest.fixture
def folder(tmp_path):
    """Images a and b, an exact copy of a, and four files that cannot be read."""
    write_image(tmp_path / "a.jpg", 10)
    write_image(tmp_path / "deep" / "b.jpg", 200)
    (tmp_path / "copy of a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    return tmp_path


NAMES = ["text.jpg", "a.jpg", "gone.jpg", "deep/b.jpg", "cut.jpg", "copy of a.jpg", "empty.jpg"]


@pytest.mark.parametrize("workers", [1, 4, None])
def test_unreadable_images_are_rejected_with_the_reason(folder, workers):
    table = pd.DataFrame({"img_path": NAMES, "age": np.arange(7.0)}, index=range(5, 12))
    checked, rejected = check_images(table, folder, workers=workers, progress=False)
    assert checked["img_path"].tolist() == ["a.jpg", "deep/b.jpg", "copy of a.jpg"]
    assert checked["age"].tolist() == [1, 3, 5]
    assert dict(zip(rejected["img_path"], rejected["reason"])) == {
        "text.jpg": "not an image, or of an unknown format",
        "gone.jpg": "file not found",
        "cut.jpg": "truncated: no end-of-image marker",
        "empty.jpg": "empty file",
    }
    for name, digest in zip(checked["img_path"], checked["sha256"]):
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    files = [(folder / name).stat() for name in checked["img_path"]]
    assert checked["bytes"].tolist() == [file.st_size for file in files]
    assert checked["mtime_ns"].tolist() == [file.st_mtime_ns for file in files]
    assert "sha256" not in table


def test_absolute_paths_are_allowed(folder, tmp_path_factory):
    table = pd.DataFrame({"img_path": [str(folder / "a.jpg")]})
    checked, _ = check_images(table, tmp_path_factory.mktemp("elsewhere"))
    assert len(checked) == 1


def test_empty_table_has_nothing_to_check(tmp_path):
    checked, rejected = check_images(pd.DataFrame({"img_path": []}), tmp_path)
    assert checked.empty and rejected.empty and "sha256" in checked


def test_progress_bar_on_request_only(folder, capsys):
    table = pd.DataFrame({"img_path": ["a.jpg"]})
    check_images(table, folder)
    assert capsys.readouterr().err == ""
    check_images(table, folder, progress=True)
    assert "1/1" in capsys.readouterr().err


def duplicates(ages, genders=None, hashes=None):
    count = len(ages)
    return pd.DataFrame(
        {
            "img_path": [f"{index}.jpg" for index in range(count)],
            "age": np.array(ages, dtype=float),
            "gender": ["male"] * count if genders is None else genders,
            "sha256": ["x"] * count if hashes is None else hashes,
        }
    )


@pytest.mark.parametrize(
    ("table", "kept"),
    [
        (duplicates([30, 35]), 2),
        (duplicates([30, 35.01]), 0),
        (duplicates([30, 30, 36]), 0),
        (duplicates([30, 33, 36]), 0),
        (duplicates([30, np.nan, 31]), 3),
        (duplicates([30, 30], ["male", "female"]), 0),
        (duplicates([30, 30], ["male", None]), 2),
        (duplicates([1, 99, 30, 31], hashes=["x", "y", "z", "z"]), 4),
        (duplicates([1, 99], hashes=[None, None]), 2),
        (duplicates([1, 99, 4, 5], hashes=["x", "x", "y", "y"]), 2),
    ],
)
def test_conflicting_duplicates(table, kept):
    good, rejected = drop_conflicting_duplicates(table)
    assert len(good) == kept and len(good) + len(rejected) == len(table)
    assert rejected["reason"].str.startswith("exact duplicates differ").all()
    assert set(good["img_path"]).isdisjoint(rejected["img_path"])


def test_allowed_age_gap_of_duplicates():
    assert len(drop_conflicting_duplicates(duplicates([30, 40]), max_age_gap=10)[0]) == 2
    assert len(drop_conflicting_duplicates(duplicates([30, 40]), max_age_gap=9)[0]) == 0


def test_duplicates_of_tables_without_those_columns():
    for column in ("age", "gender", "sha256"):
        table = duplicates([30, 31]).drop(columns=column)
        pd.testing.assert_frame_equal(drop_conflicting_duplicates(table)[0], table)


def test_ingest_accounts_for_every_image(tmp_path):
    write_image(tmp_path / f"26_0_0_{DATE}", 10)
    for index, name in enumerate((f"30_1_2_{DATE}", f"80_1_2_{DATE}")):
        write_image(tmp_path / name, 90 + 0 * index)  # the same picture with two ages
    write_image(tmp_path / "holiday.jpg", 50)
    (tmp_path / f"40_0_0_{DATE}").write_bytes(b"")
    table, rejected = ingest("utkface", tmp_path, progress=False)
    assert table["img_path"].tolist() == [f"26_0_0_{DATE}"]
    assert dict(zip(rejected["img_path"], rejected["reason"].str.split(":").str[0])) == {
        "holiday.jpg": "malformed name",
        f"40_0_0_{DATE}": "empty file",
        f"30_1_2_{DATE}": "exact duplicates differ by more than 5 years",
        f"80_1_2_{DATE}": "exact duplicates differ by more than 5 years",
    }


def test_paths_that_windows_wrote_are_found_and_a_backslash_in_a_name_stays(tmp_path):
    write_image(tmp_path / "train" / "1.jpg", 10)
    write_image(tmp_path / "odd\\name.jpg", 90)
    (tmp_path / "own.csv").write_text("img_path,age\ntrain\\1.jpg,5\nodd\\name.jpg,6\ngone\\2.jpg,7\n")
    table, rejected = ingest("csv", csv=tmp_path / "own.csv", progress=False)  # the folder is that of the file
    assert table["img_path"].tolist() == ["train/1.jpg", "odd\\name.jpg"]
    assert rejected.to_numpy().tolist() == [["gone\\2.jpg", "file not found"]]


def test_ingest_of_an_unknown_data_set(tmp_path):
    with pytest.raises(UserError, match="Unknown data set 'morph2'"):
        ingest("morph2", tmp_path)


def test_margin_of_published_crops_is_refused(tmp_path):
    write_image(tmp_path / f"26_0_0_{DATE}", 10)
    with pytest.raises(UserError, match=r"images of utkface are crops already; a margin of 0\.2"):
        ingest("utkface", tmp_path, margin=0.2)
    assert not (tmp_path / "crops").exists()


UNKNOWN_OR = {
    "age": st.floats(0, 130),
    "gender": st.sampled_from(GENDERS),
    "identity": st.sampled_from(["007", "7", "1e3", "NA!", "Zoë", "a,b", 'say "x"', "3.0"]),
    "apparent_age": st.floats(0, 100, width=32),
    "split": st.sampled_from(SPLITS),
    "fold": st.sampled_from(["0", "4", "S1", "1e1"]),
    "sha256": st.sampled_from(["00", "0123456789", "12e4567", "ff"]),
}
TABLES = st.lists(
    st.fixed_dictionaries({column: st.none() | values for column, values in UNKNOWN_OR.items()}), min_size=1, max_size=5
)


@settings(deadline=None)
@given(TABLES)
def test_written_table_is_read_back_exactly(rows):
    rows[0]["age"] = 3.0
    table = pd.DataFrame([{"img_path": f"{index}.jpg"} | row for index, row in enumerate(rows)])
    table = table.astype({"age": float, "apparent_age": float})
    with tempfile.TemporaryDirectory() as folder:
        write_table(table, Path(folder) / "table.csv")
        again = read_table(Path(folder) / "table.csv")
    known = [name for name in TABLE_COLUMNS if name in table and table[name].notna().any()]
    assert again.columns.tolist() == known
    for name in known:
        ours, theirs = table[name], again[name]
        assert ours.isna().tolist() == theirs.isna().tolist()
        assert ours.dropna().tolist() == theirs.dropna().tolist()


def test_table_file_looks_as_it_should(tmp_path):
    table = pd.DataFrame(
        {
            "sha256": ["00e1"],
            "note": ["x"],
            "age": [26.0],
            "img_path": ["a.jpg"],
            "gender": ["male"],
            "identity": [None],
        }
    )
    write_table(table, tmp_path / "meta" / "own.csv")
    assert (tmp_path / "meta" / "own.csv").read_text() == "img_path,age,gender,sha256\na.jpg,26,male,00e1\n"
    assert sorted(os.listdir(tmp_path / "meta")) == ["own.csv", "own.csv.sha256"]


def test_table_that_breaks_the_rules_is_refused_on_reading(tmp_path):
    path = tmp_path / "utkface.csv"
    path.write_text("img_path,age\na.jpg,old\n")
    with pytest.raises(UserError, match="line 2: expected age in years"):
        load_table("utkface", meta_dir=tmp_path)


def test_load_table(tmp_path):
    path = tmp_path / "utkface.csv"
    path.write_text("img_path,age\na.jpg,4\n")
    assert load_table("utkface", meta_dir=tmp_path)["age"].tolist() == [4]
    assert load_table("csv", csv=path)["age"].tolist() == [4]


@pytest.mark.parametrize(
    ("db", "commands"),
    [
        ("imdb", r"run: \./download\.sh imdb && python create_db\.py --db imdb$"),
        ("utkface", r"run: \./download\.sh utkface && python create_db\.py --db utkface$"),
        ("sample", r"run: python create_db\.py --db sample$"),
    ],
)
def test_missing_table_names_the_commands_that_make_it(tmp_path, monkeypatch, db, commands):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=commands):
        load_table(db)


def test_missing_table_in_another_folder(tmp_path):
    with pytest.raises(UserError, match="--db sample --meta_dir"):
        load_table("sample", meta_dir=tmp_path)


def test_load_table_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match=r"Unknown data set 'utk'.*utkface"):
        load_table("utk")
    with pytest.raises(UserError, match="needs the file of labels"):
        load_table("csv")


@pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")
@pytest.mark.slow
def test_utkface_as_published(tmp_path):
    groups = {}
    with tarfile.open(Path(TEST_DATA) / "utkface_dev.tar") as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member).read()
                (tmp_path / Path(member.name).name).write_bytes(content)
                groups.setdefault(hashlib.md5(content).digest(), []).append(Path(member.name).name)
    table, rejected = ingest("utkface", tmp_path)
    assert len(table) + len(rejected) == 21_424
    # Every file can be read; what is rejected are duplicates that contradict each other.
    assert set(rejected["reason"]) == {
        "exact duplicates differ by more than 5 years",
        "exact duplicates differ in gender",
    }
    conflicting = set()
    for names in groups.values():
        ages, genders = zip(*((int(name.split("_")[0]), name.split("_")[1]) for name in names))
        if max(ages) - min(ages) > 5 or len(set(genders)) > 1:
            conflicting.update(names)
    assert set(rejected["img_path"]) == conflicting and len(conflicting) > 100
    split = splits.split_table(table)
    report = splits.leak_report(table, split)
    assert report["shared_hashes"] == 0 and sum(report["rows"].values()) == len(table)
    assert table["sha256"].nunique() < len(table)
    assert all(abs(report["rows"][part] / len(table) - 0.1) < 0.01 for part in ("val", "test"))


@pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")
@pytest.mark.parametrize("margin", [None, 0.5])
def test_fgnet_as_published(tmp_path, margin):
    with tarfile.open(Path(TEST_DATA) / "fgnet_sample.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "FGNET"
    table, rejected = ingest("fgnet", root, margin=margin, progress=False)
    assert len(table) == 191 and rejected.empty and "x1" not in table
    assert table["img_path"].str.startswith("crops/images/").all()
    wanted = DATASETS["fgnet"].margin if margin is None else margin
    assert {read_geometry(root / path) for path in table["img_path"]} == {CropGeometry(wanted)}
    times = file_times(root)
    again, _ = ingest("fgnet", root, margin=margin, progress=False)
    pd.testing.assert_frame_equal(again, table)
    assert file_times(root) == times


def file_times(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")
@pytest.mark.parametrize(("name", "count"), [("fgnet_sample", 191), ("fairface_sample", 1500)])
def test_published_photos_can_be_read(tmp_path, name, count):
    with tarfile.open(Path(TEST_DATA) / f"{name}.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    paths = [path for path in tmp_path.rglob("*") if path.suffix.lower() == ".jpg"]
    table, rejected = check_images(pd.DataFrame({"img_path": [str(path) for path in paths]}), tmp_path)
    assert len(table) == count and rejected.empty


@pytest.mark.parametrize(
    ("column", "values", "kept"),
    [
        ("age_low", [20.0, 30.0], 0),
        ("age_high", [29.0, 39.0], 0),
        ("age_high", [29.0, 29.0], 2),
        ("apparent_age", [20.0, 25.5], 0),
        ("apparent_age", [20.0, 25.0], 2),
        ("apparent_age", [20.0, None], 2),
    ],
)
def test_duplicates_that_contradict_in_groups_or_votes(column, values, kept):
    table = pd.DataFrame({"img_path": ["a.jpg", "b.jpg"], "sha256": ["0", "0"], column: values})
    table, rejected = drop_conflicting_duplicates(table)
    assert (len(table), len(rejected)) == (kept, 2 - kept)
