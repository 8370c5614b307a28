"""MORPH II: names in the published format, with and without its CSV file."""

import pytest

from faces.datasets import morph
from faces.errors import UserError

HEADER = "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"


def make(root, names, rows=(), csv_file=morph.CSV_FILE, header=HEADER):
    (root / "Album2").mkdir(exist_ok=True)
    for name in names:
        (root / "Album2" / name).touch()
    if rows:
        (root / csv_file).write_text("\n".join([header, *rows]) + "\n")


NAMES = ["009055_1M54.JPG", "009055_2M54.JPG", "100002_0F19.JPG"]
ROWS = [
    "9055,1,1949-05-11,2003-10-02,B,M,,54,0,,Album2/009055_1M54.JPG",
    "009055,2,1949-05-11,2003-11-02,B,M,,54,0,,Album2/009055_2M54.JPG",
    "100002,0,1984-01-02,2003-06-02,W,F,,19,0,,Album2/100002_0F19.JPG",
]


def test_names_alone(tmp_path):
    make(tmp_path, [*NAMES, "read me.jpg"])
    table, rejected = morph.read(tmp_path)
    assert table.to_dict("records") == [
        {"img_path": "Album2/009055_1M54.JPG", "age": 54.0, "gender": "male", "identity": "009055"},
        {"img_path": "Album2/009055_2M54.JPG", "age": 54.0, "gender": "male", "identity": "009055"},
        {"img_path": "Album2/100002_0F19.JPG", "age": 19.0, "gender": "female", "identity": "100002"},
    ]
    assert rejected["img_path"].tolist() == ["Album2/read me.jpg"]
    assert rejected["reason"].item().startswith("malformed name: expected person_picture")


@pytest.mark.parametrize(
    "name", ["009055_1X54.JPG", "009055_1M.JPG", "9055M54.JPG", "_1M54.JPG", "009055_1M540.JPG", "009055_1M5 4.JPG"]
)
def test_malformed_name(tmp_path, name):
    make(tmp_path, [name])
    table, rejected = morph.read(tmp_path)
    assert table.empty and rejected["reason"].str.startswith("malformed name: ").tolist() == [True]


@pytest.mark.parametrize("csv_file", [morph.CSV_FILE, "my_copy.csv"])
def test_csv_adds_race(tmp_path, csv_file):
    make(tmp_path, NAMES, ROWS, csv_file)
    table, rejected = morph.read(tmp_path)
    assert rejected.empty and table["ethnicity"].tolist() == ["black", "black", "white"]
    assert table["age"].tolist() == [54, 54, 19] and table["fold"].isna().all()


def test_images_in_another_folder_and_other_case_are_found(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "100002_0f19.jpg").touch()
    make(tmp_path, [], [ROWS[2]])
    table, _ = morph.read(tmp_path)
    assert table["img_path"].tolist() == ["all/100002_0f19.jpg"] and table["ethnicity"].tolist() == ["white"]


def test_image_outside_the_csv_and_row_without_an_image(tmp_path):
    make(tmp_path, NAMES[:2], ROWS[1:])
    table, rejected = morph.read(tmp_path)
    assert table["img_path"].tolist() == [f"Album2/{name}" for name in NAMES]
    assert table["ethnicity"].fillna("").tolist() == ["", "black", "white"] and rejected.empty


@pytest.mark.parametrize("column", ["set", "fold"])
def test_published_sets_are_folds(tmp_path, column):
    header = f"{column},race,photo"
    rows = ["S1,B,a/009055_1M54.JPG", "S3,B,009055_2M54.JPG", ",,100002_0F19.JPG"]
    make(tmp_path, NAMES, rows, "sets.csv", header)
    table, rejected = morph.read(tmp_path)
    assert table["fold"].fillna("").tolist() == ["S1", "S3", ""] and rejected.empty
    make(tmp_path, NAMES, ["S4,B,009055_1M54.JPG"], "sets.csv", header)
    table, rejected = morph.read(tmp_path)
    assert len(table) == 2 and "fold 'S4' is not one of S1, S2, S3" in rejected["reason"].item()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("009055,1,,,B,F,,54,0,,Album2/009055_1M54.JPG", "gender is female in the CSV file, male in the name"),
        ("009055,1,,,B,M,,45,0,,Album2/009055_1M54.JPG", "age is 45.0 in the CSV file, 54.0 in the name"),
        ("009056,1,,,B,M,,54,0,,Album2/009055_1M54.JPG", "id_num is 9056 in the CSV file, 9055 in the name"),
        ("009055,1,,,X,M,,54,0,,Album2/009055_1M54.JPG", "race 'X' is not one of B, W, A, H, O"),
        ("009055,1,,,B,m?,,54,0,,Album2/009055_1M54.JPG", "gender 'm?'"),
        ("009055,1,,,B,M,,fifty,0,,Album2/009055_1M54.JPG", "age 'fifty'"),
    ],
)
def test_contradictions_reject_the_image(tmp_path, row, problem):
    make(tmp_path, NAMES, [row, *ROWS[1:]])
    table, rejected = morph.read(tmp_path)
    assert table["img_path"].tolist() == ["Album2/009055_2M54.JPG", "Album2/100002_0F19.JPG"]
    assert rejected["reason"].tolist() == [rejected["reason"].item()] and problem in rejected["reason"].item()


def test_two_rows_of_one_image_reject_it(tmp_path):
    make(tmp_path, NAMES, [ROWS[0].replace(",B,", ",W,"), *ROWS])
    table, rejected = morph.read(tmp_path)
    assert len(table) == 2 and rejected["reason"].tolist() == ["unclear label: 2 rows in the CSV file"]


def test_row_that_leaves_the_folder(tmp_path):
    make(tmp_path, NAMES, ["1,1,,,B,M,,54,0,,../../000001_1M54.JPG", "1,1,,,B,M,,54,0,,"])
    table, rejected = morph.read(tmp_path)
    assert len(table) == 3
    assert sorted(rejected["reason"].str[:14]) == ["malformed name", "path leaves th"]


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match="holds none"):
        morph.read(tmp_path)
    make(tmp_path, NAMES, ROWS, "a.csv")
    make(tmp_path, NAMES, ROWS, "b.csv")
    with pytest.raises(UserError, match=r"Expected morph_2008_nonCommercial\.csv or one CSV file.*a\.csv.*b\.csv"):
        morph.read(tmp_path)
    make(tmp_path, NAMES, ROWS)
    assert len(morph.read(tmp_path)[0]) == 3
    (tmp_path / morph.CSV_FILE).write_text("id_num,race\n1,B\n")
    with pytest.raises(UserError, match="expected the columns photo"):
        morph.read(tmp_path)
