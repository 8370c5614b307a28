"""IMDB-WIKI: the .mat files are rebuilt here in the published layout, odd rows included."""

import datetime
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from faces.datasets import DATASETS
from faces.datasets.imdb_wiki import make_tables, read_imdb, read_wiki, taken_age
from faces.errors import UserError
from faces.ingest.tables import load_table
from faces.labels import GENDERS

META = Path(__file__).resolve().parents[3] / "meta"
TEST_DATA = os.environ.get("FACES_TEST_DATA")
NAN = float("nan")
GOOD = {
    "dob": 723671.0,
    "photo_taken": 2009,
    "full_path": "17/10000217_1981-05-05_2009.jpg",
    "gender": 1.0,
    "face_score": 4.3,
    "second_face_score": NAN,
    "celeb_id": 6488.0,
    "face_location": np.array([[111.3, 111.3, 252.7, 252.7]]),
}


def datenum(year, month, day):
    """MATLAB's serial day number, from its documentation: datenum(2000, 1, 1) = 730486."""
    return float((datetime.date(year, month, day) - datetime.date(2000, 1, 1)).days + 730486)


def cells(values, column=False):
    """A MATLAB cell array of values."""
    array = np.empty((len(values), 1) if column else (1, len(values)), dtype=object)
    array.ravel()[:] = values
    return array


def save(folder, rows, name="wiki", leave_out=()):
    """Write rows (dicts that override GOOD) as the publisher's 1x1 struct of 1xN fields."""
    rows = [GOOD | row for row in rows]
    column = {field: [row[field] for row in rows] for field in GOOD}
    struct = {
        "dob": np.array([column["dob"]], dtype=np.float64),
        "photo_taken": np.array([column["photo_taken"]], dtype=np.uint16),
        "full_path": cells([path if isinstance(path, str) else np.zeros((0, 0)) for path in column["full_path"]]),
        "gender": np.array([column["gender"]], dtype=np.float64),
        "name": cells(["Sami Jauhojärvi"] * len(rows)),
        "face_location": cells(column["face_location"]),
        "face_score": np.array([column["face_score"]], dtype=np.float64),
        "second_face_score": np.array([column["second_face_score"]], dtype=np.float64),
    }
    if name == "imdb":
        struct["celeb_names"] = cells(["Fred Astaire", "Lauren Bacall"])
        struct["celeb_id"] = np.array([column["celeb_id"]], dtype=np.float64)
    savemat(Path(folder) / f"{name}.mat", {name: {key: struct[key] for key in struct if key not in leave_out}})


def test_published_row(tmp_path):
    # First row of the published wiki.mat; 723671 = 1981-05-05, as its file name says.
    save(tmp_path, [{}])
    table, rejected = read_wiki(tmp_path)
    assert table.to_dict("records") == [
        {"img_path": "17/10000217_1981-05-05_2009.jpg", "age": 28.0, "gender": "male", "identity": "10000217"}
    ]
    assert rejected.empty and rejected.columns.tolist() == ["img_path", "reason"]


@pytest.mark.parametrize(
    ("birth", "photo", "age"),
    [
        ((1981, 5, 5), 2009, 28),
        ((1980, 6, 30), 2000, 20),
        ((1980, 7, 1), 2000, 19),
        ((1980, 12, 31), 2000, 19),
        ((1980, 2, 29), 1980, 0),
        ((1980, 7, 1), 1980, -1),
        ((1960, 1, 1), 1950, -10),
        ((1900, 1, 1), 2000, 100),
        ((1, 1, 1), 2000, 1999),
    ],
)
@pytest.mark.parametrize("fraction", [0, 0.999])
def test_age_at_mid_year(birth, photo, age, fraction):
    ages, reasons = taken_age(np.array([datenum(*birth) + fraction]), np.array([photo], np.uint16))
    assert ages.tolist() == [age] and reasons.tolist() == [""]


@pytest.mark.parametrize("dob", [0, 366, -5, NAN, float("inf"), 1e9, 1e300])
def test_impossible_date_of_birth(dob):
    ages, reasons = taken_age(np.array([dob]), np.array([2000], np.uint16))
    assert np.isnan(ages[0]) and reasons[0] == "no date of birth"


ODD_ROWS = {
    "age outside 0..100: -1": {"dob": datenum(1980, 7, 1), "photo_taken": 1980},
    "age outside 0..100: -31": {"dob": datenum(2031, 1, 1), "photo_taken": 2000},
    "age outside 0..100: 101": {"dob": datenum(1899, 1, 1), "photo_taken": 2000},
    "no date of birth": {"dob": 0},
    "no year of the photo": {"photo_taken": 0},
    "no face": {"face_score": -float("inf"), "second_face_score": 3.0},
    "face score below 1": {"face_score": 0.99},
    "second face": {"second_face_score": 0.01},
    "gender code: 2": {"gender": 2.0},
    "no path": {"full_path": None},
    "path leaves the data folder": {"full_path": "../../secret.jpg"},
}


@pytest.mark.parametrize("name", ["imdb", "wiki"])
def test_odd_rows_are_rejected_with_the_reason(tmp_path, name):
    rows = [{}, *({"full_path": f"{index:02d}/{index}_x.jpg"} | row for index, row in enumerate(ODD_ROWS.values()))]
    save(tmp_path, rows, name)
    table, rejected = (read_imdb if name == "imdb" else read_wiki)(tmp_path)
    assert table["img_path"].tolist() == [GOOD["full_path"]]
    assert rejected["reason"].tolist() == list(ODD_ROWS)


def test_edges_are_kept(tmp_path):
    rows = [
        {"face_score": 1.0},
        {"second_face_score": 0.0},
        {"second_face_score": -float("inf")},
        {"dob": datenum(1900, 1, 1), "photo_taken": 2000},
        {"dob": datenum(2000, 6, 30), "photo_taken": 2000},
    ]
    save(tmp_path, rows)
    assert len(read_wiki(tmp_path)[0]) == len(rows)


def test_min_score(tmp_path):
    save(tmp_path, [{"face_score": 2.9}, {"face_score": 3.0}])
    table, rejected = read_wiki(tmp_path, min_score=3)
    assert len(table) == 1 and rejected["reason"].tolist() == ["face score below 3"]
    assert len(read_wiki(tmp_path, min_score=0)[0]) == 2


def test_unknown_gender_is_kept_unless_required(tmp_path):
    save(tmp_path, [{"gender": NAN}, {"gender": 0.0}])
    table, rejected = read_wiki(tmp_path)
    assert rejected.empty and table["gender"].isna().tolist() == [True, False] and table["gender"][1] == "female"
    table, rejected = read_wiki(tmp_path, require_gender=True)
    assert table["gender"].tolist() == ["female"] and rejected["reason"].tolist() == ["unknown gender"]


def test_identities(tmp_path):
    save(tmp_path, [{}, {"celeb_id": 12.0}, {"celeb_id": NAN}], "imdb")
    identities = read_imdb(tmp_path)[0]["identity"]
    assert identities[:2].tolist() == ["6488", "12"] and identities.isna()[2]
    save(tmp_path, [{}, {"full_path": "48/18702648_1923-08-20_2011.jpg"}, {"full_path": "48/nobody.jpg"}])
    identities = read_wiki(tmp_path)[0]["identity"]
    assert identities[:2].tolist() == ["10000217", "18702648"] and identities.isna()[2]


@pytest.mark.parametrize("name", ["imdb", "wiki"])
def test_whole_pictures_bring_their_face_boxes(tmp_path, name):
    # MATLAB counts pixels from 1 and means both ends: pixel 1 to 2 is the whole of a picture of 2 pixels.
    boxes = [[1.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0], np.array([[1, 2, 30, 40]], np.uint16), "none"]
    names = [f"{index:02d}/{index}_1981-05-05_2009.jpg" for index in range(5)]
    rows = [{"full_path": path, "face_location": box} for path, box in zip(names, boxes)]
    save(tmp_path, [{"full_path": names[4]}, *rows, {"full_path": "05/5_x.jpg", "second_face_score": 3.0}], name)
    table, rejected = DATASETS[name].read_whole(tmp_path)
    assert table["img_path"].tolist() == [names[4], *names[:4]] and rejected["reason"].tolist() == ["second face"]
    np.testing.assert_array_equal(
        table[["x1", "y1", "x2", "y2"]],
        [[110.3, 110.3, 252.7, 252.7], [0, 0, 2, 3], [NAN] * 4, [0, 1, 30, 40], [NAN] * 4],
    )
    assert not {"x1", "y1"} & set(DATASETS[name].read(tmp_path)[0])


def test_archive_of_whole_pictures_without_labels_or_boxes(tmp_path):
    with pytest.raises(UserError, match=r"wiki\.mat, which does not exist\. The archives of whole pictures hold it"):
        DATASETS["wiki"].read_whole(tmp_path)
    save(tmp_path, [{}], leave_out=["face_location"])
    with pytest.raises(UserError, match="face_location"):
        DATASETS["wiki"].read_whole(tmp_path)
    assert len(read_wiki(tmp_path)[0]) == 1


@pytest.mark.parametrize("field", ["dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score"])
def test_missing_field_is_named(tmp_path, field):
    save(tmp_path, [{}], leave_out=[field])
    with pytest.raises(UserError, match=field):
        read_wiki(tmp_path)


def test_fields_of_unequal_length(tmp_path):
    savemat(
        tmp_path / "wiki.mat",
        {
            "wiki": {field: np.ones((1, 2 if field == "dob" else 3)) for field in GOOD if field != "full_path"}
            | {"full_path": cells(["a.jpg"] * 3)}
        },
    )
    with pytest.raises(UserError, match=r"equal length.*'dob': 2"):
        read_wiki(tmp_path)


def test_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"wiki\.mat, which does not exist.*\./download\.sh wiki"):
        read_wiki(tmp_path)
    for content in (b"", b"junk" * 100, b"MATLAB 5.0 MAT-file" + bytes(200)):
        (tmp_path / "wiki.mat").write_bytes(content)
        with pytest.raises(UserError, match=r"wiki\.mat: expected a MATLAB 5 file"):
            read_wiki(tmp_path)
    save(tmp_path, [{}], "imdb")
    (tmp_path / "imdb.mat").rename(tmp_path / "wiki.mat")
    with pytest.raises(UserError, match=r"wiki\.mat: expected the variables wiki"):
        read_wiki(tmp_path)
    for variable in (np.ones((1, 1)), "wiki", np.zeros((0, 0)), {"dob": 1.0}):
        savemat(tmp_path / "wiki.mat", {"wiki": variable})
        with pytest.raises(UserError, match=r"wiki\.mat: expected a MATLAB struct wiki"):
            read_wiki(tmp_path)


NUMBERS = st.floats(-10, 10) | st.sampled_from([NAN, float("inf"), -float("inf"), 0.0, 1e300])
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "dob": st.floats(0, 800_000) | NUMBERS,
        "photo_taken": st.integers(0, 65535),
        "full_path": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
        "gender": st.sampled_from([0.0, 1.0, NAN]) | NUMBERS,
        "face_score": NUMBERS,
        "second_face_score": NUMBERS,
        "celeb_id": NUMBERS,
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=6), st.booleans(), st.sampled_from(["imdb", "wiki"]))
def test_any_rows_are_read_or_rejected(rows, require_gender, name):
    with tempfile.TemporaryDirectory() as folder:
        save(folder, rows, name)
        variable = loadmat(Path(folder) / f"{name}.mat")[name]
    table, rejected = make_tables(variable, name, require_gender=require_gender)
    assert len(table) + len(rejected) == len(rows)
    assert table["age"].between(0, 100).all()
    assert table["gender"].dropna().isin(["female", "male"]).all()
    assert (rejected["reason"] != "").all()
    if require_gender:
        assert table["gender"].notna().all()


def test_shipped_wiki_table():
    table = load_table("wiki", meta_dir=META)
    assert table.columns.tolist() == ["img_path", "age", "gender", "identity"]
    assert len(table) == 38_138 and table.notna().all(axis=None) and table["img_path"].is_unique
    # Counts known from earlier tools that filter WIKI by the same rules.
    assert (table["gender"] == "male").sum() == 28_601 and (table["gender"] == "female").sum() == 9_537
    assert round(table["age"].mean(), 1) == 38.1 and table["age"].between(0, 100).all()
    assert [path.split("/")[1].split("_")[0] for path in table["img_path"]] == table["identity"].tolist()


def wiki_rows():
    """The shipped rows as the .mat file has them: the file names carry both dates, `id_1981-05-05_2009.jpg`."""
    for row in load_table("wiki", meta_dir=META).to_dict("records"):
        date = re.search(r"_(\d{4})-(\d{1,2})-(\d{1,2})_(\d{4})\.jpg$", row["img_path"])
        try:
            year, month, day, photo = map(int, date.groups())
            dob = datenum(year, month, day)
        except (AttributeError, ValueError):
            continue  # seven names hold no real date
        yield row, {"full_path": row["img_path"], "dob": dob, "photo_taken": photo}


def test_ages_of_the_shipped_wiki_table():
    rows, source = zip(*wiki_rows())
    ages, reasons = taken_age(
        [row["dob"] for row in source], np.array([row["photo_taken"] for row in source], np.uint16)
    )
    assert len(ages) == 38_131 and set(reasons) == {""}
    assert ages.tolist() == [row["age"] for row in rows]


def test_reader_reproduces_shipped_wiki_rows(tmp_path):
    rows, source = zip(*list(wiki_rows())[::40])
    save(tmp_path, [item | {"gender": float(GENDERS.index(row["gender"]))} for row, item in zip(rows, source)])
    table, rejected = read_wiki(tmp_path, require_gender=True)
    assert rejected.empty and table.to_dict("records") == list(rows) and len(rows) > 900


@pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")
def test_shipped_wiki_table_equals_its_source():
    source = pd.read_csv(Path(TEST_DATA) / "wiki.csv")
    table = load_table("wiki", meta_dir=META)
    assert table["img_path"].tolist() == source["img_paths"].tolist()
    assert table["age"].tolist() == source["ages"].tolist()
    # The source says 1 = male, 0 = female.
    assert (table["gender"] == "male").tolist() == (source["genders"] == 1).tolist()
