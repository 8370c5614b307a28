"""Label tables: what is read, and the one clear line for everything that is wrong."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faces.errors import UserError
from faces.label_files.label_table import read_table, write_table
from faces.labels import TABLE_COLUMNS


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "labels.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def test_all_columns(write):
    path = write(
        "gender,img_path,age,identity,ethnicity,age_low,age_high,apparent_age,apparent_age_std,split,fold,sha256,bytes,mtime_ns\n"
        "Female,a.jpg,31.5,007,asian,30,39,29.25,4.5,Train,S1,00ff,2048,1700000000123456789\n"
        "m,b/c d.jpg,,,,,,,,,,,,\n"
    )
    table = read_table(path)
    assert table.columns.tolist() == list(TABLE_COLUMNS)
    first, second = table.to_dict("records")
    assert first == {
        "img_path": "a.jpg",
        "age": 31.5,
        "gender": "female",
        "identity": "007",
        "ethnicity": "asian",
        "age_low": 30.0,
        "age_high": 39.0,
        "apparent_age": 29.25,
        "apparent_age_std": 4.5,
        "split": "train",
        "fold": "S1",
        "sha256": "00ff",
        "bytes": 2048,
        "mtime_ns": 1700000000123456789,
    }
    assert (second.pop("img_path"), second.pop("gender")) == ("b/c d.jpg", "male")
    assert all(pd.isna(value) for value in second.values())


def test_byte_order_mark_quotes_blank_lines_and_line_ends(write):
    table = read_table(write('img_path,age\r\n"a,b.jpg", 4 \r\n\r\né.jpg,NaN\r\n', "utf-8-sig"))
    assert table["img_path"].tolist() == ["a,b.jpg", "é.jpg"]
    assert table["age"][0] == 4 and np.isnan(table["age"][1])


@pytest.mark.parametrize(
    "text",
    [
        "img_path,age,gender\na b.jpg,23.5,male\n",
        "img_path;age;gender\na b.jpg;23,5;male\n",
        "img_path\tage\tgender\na b.jpg\t23,5\tmale\n",
        'img_path,age,gender\na b.jpg,"23,5",male\n',
        " img_path , age ,gender ,, \na b.jpg,23.5,male,,\n,,,,\n",
        "img_path,age,gender\ra b.jpg,23.5,male\r",
        "img_path,age,gender\r\na b.jpg,23.5,male,,,\r\n",
        "img_path,,age,gender\na b.jpg,,23.5,male\n",
        "sep=;\nimg_path;age;gender\na b.jpg;23,5;male\n",
        "Img_Path,AGE,Gender\na b.jpg,23.5,Male\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_forms_that_spreadsheets_save(write, text, encoding):
    (row,) = read_table(write(text, encoding)).to_dict("records")
    assert row == {"img_path": "a b.jpg", "age": 23.5, "gender": "male"}


def test_unknown_columns_are_left_out_with_a_warning(write, caplog):
    table = read_table(write("img_path,age,camera\na.jpg,4,X100\n"))
    assert table.columns.tolist() == ["img_path", "age"]
    assert "left out the columns camera" in caplog.text


def test_one_column_in_two_cases(write):
    with pytest.raises(UserError, match="age"):
        read_table(write("img_path,age,Age\na.jpg,4,5\n"))


def test_words_for_unknown_are_no_person(write):
    table = read_table(write("img_path,age,identity\na.jpg,4,nan\nb.jpg,5,None\nc.jpg,6,Nan Goldin\n"))
    assert table["identity"].isna().tolist() == [True, True, False] and table["identity"][2] == "Nan Goldin"


@pytest.mark.parametrize("label", ["age", "age_low", "age_high", "apparent_age"])
def test_one_kind_of_label_is_enough(write, label):
    assert read_table(write(f"img_path,{label}\na.jpg,40\nb.jpg,\n"))[label].tolist()[0] == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty|img_path"),
        ("img_path,age\n", "no row below its header"),
        ("path,age\na.jpg,4\n", "expected a column img_path.*Received: path, age"),
        ("img_path|age\na.jpg|4\n", r"expected a column img_path\. Received: img_path\|age"),
        ("img_path,age,\na.jpg,4,x\n", "line 2: 'x' is in a column without a name"),
        ("img_path,age,age\na.jpg,4,5\n", "column age is there twice"),
        ("img_path\na.jpg\n", "no label in any row"),
        ("img_path,age,gender\na.jpg,,\n", "no label in any row"),
        ("img_path,identity\na.jpg,3\n", "no label in any row"),
        ("img_path,age\na.jpg,4\nb.jpg,forty\n", r"labels.csv line 3: expected age in years. Received: 'forty'"),
        ("img_path,age\na.jpg,-1\n", r"line 2: expected age in 0..130 years. Received: -1"),
        ("img_path,age\na.jpg,1984\n", r"line 2: expected age in 0..130 years. Received: 1984"),
        ("img_path,age\na.jpg,inf\n", "line 2: expected age in years. Received: 'inf'"),
        ("img_path,age\na.jpg,2_5\n", "line 2: expected age in years. Received: '2_5'"),
        ("img_path,age,age_high\na.jpg,30,20\n", "line 2: expected age <= age_high. Received: 30 > 20"),
        ("img_path,age,age_low\na.jpg,30,50\n", "line 2: expected age_low <= age. Received: 50 > 30"),
        ("img_path,age,apparent_age_std\na.jpg,4,-2\n", "line 2: expected apparent_age_std"),
        ("img_path,age,bytes\na.jpg,4,12 KB\n", "line 2: expected bytes as a whole number. Received: '12 KB'"),
        ("img_path,age,mtime_ns\na.jpg,4,1e9\n", "line 2: expected mtime_ns as a whole number. Received: '1e9'"),
        ("img_path,gender\na.jpg,woman\n", "line 2: expected gender .*female.*Received: 'woman'"),
        ("img_path,gender\na.jpg,0\n", "line 2: expected gender .*male.*Received: '0'"),
        ("img_path,age,split\na.jpg,4,valid\n", "line 2: expected split train or val or test. Received: 'valid'"),
        ("img_path,age_low,age_high\na.jpg,4,6\nb.jpg,9,8\n", "line 3: expected age_low <= age_high.*9 > 8"),
        ("img_path,age\na.jpg,4\nb.jpg,5,6\n", "line 3: expected 2 cells, got 3"),
        ("img_path,age\na.jpg\n", "line 2: expected 2 cells, got 1"),
        ("img_path,age\n,4\n", "line 2: img_path is empty"),
        ('img_path,age\n"a.jpg,4\n', "expected a CSV file"),
        ("img_path,age\né.jpg,4\n".encode("latin-1"), "UTF-8"),
        ("img_path,age\na.jpg,4\n".encode("utf-16-le"), "line 1: a NUL byte"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "UTF-8"),
    ],
)
def test_wrong_file_is_one_clear_line(write, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read_table(write(text))
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"missing\.csv does not exist"):
        read_table(tmp_path / "missing.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet='img_path,age\ngenr."4xé\r\0;', max_size=60) | st.binary(max_size=60))
def test_any_text_is_a_table_or_a_user_error(write, text):
    path = write(b"img_path,age,gender\n" + (text if isinstance(text, bytes) else text.encode()))
    try:
        table = read_table(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert len(table) and table["img_path"].notna().all()


def test_what_is_written_is_read_again_and_empty_columns_are_left_out(tmp_path):
    table = pd.DataFrame({"img_path": ["a.jpg", "b, c.jpg"], "age": [26.0, 1 / 3], "gender": ["male", None]})
    write_table(table.assign(identity=None, own=1), tmp_path / "meta" / "table.csv")
    assert (tmp_path / "meta" / "table.csv").read_text() == (
        'img_path,age,gender\na.jpg,26,male\n"b, c.jpg",0.3333333333333333,\n'
    )
    pd.testing.assert_frame_equal(read_table(tmp_path / "meta" / "table.csv"), table, check_dtype=False)


def test_names_of_strangers_come_back_and_are_no_formulas(tmp_path):
    names = ["=1+1.jpg", "-cmd|' /C calc'!A0.jpg", "@a.jpg", " blank.jpg", "'=a.jpg", "cr\rlf.jpg", "a;=b.jpg"]
    write_table(pd.DataFrame({"img_path": names, "age": 5.0, "identity": names}), tmp_path / "table.csv")
    cells = (tmp_path / "table.csv").read_bytes().decode().replace(";", "\n").splitlines()
    assert not [cell for line in cells for cell in line.split(",") if cell[:1] in "=-@" and cell]
    read = read_table(tmp_path / "table.csv")
    assert read["img_path"].tolist() == read["identity"].tolist() == names
