"""Published split lists read from CSV: matched by path or name, and refused where they are ambiguous."""

import pandas as pd
import pytest

from faces.errors import UserError
from faces.splits.lists import read_split_list


@pytest.fixture
def table():
    paths = [f"part{index % 2}/{index}.jpg" for index in range(40)]
    return pd.DataFrame({"img_path": paths, "identity": [f"p{index // 4}" for index in range(40)]})


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_and_words(tmp_path, table):
    source = write(
        tmp_path / "list.csv",
        "img_path,split\npart0/0.jpg,train\npart1\\1.jpg,Valid\npart0/2.jpg, test \ngone.jpg,train\n",
    )
    split, report = read_split_list(source, table)
    assert split[:3].tolist() == ["train", "val", "test"] and split[3:].isna().all()
    assert report == {"listed": 4, "found": 3, "not_in_table": 1, "not_listed": 37}


def test_file_names_are_enough_where_they_are_unique(tmp_path, table):
    source = write(tmp_path / "list.csv", "file,split\n0.jpg,train\nelsewhere/5.jpg,val\n")
    split, _ = read_split_list(source, table)
    assert (split[0], split[5]) == ("train", "val")


def test_one_file_a_part_and_a_validation_part_from_train(tmp_path, table):
    train = "file\n" + "".join(f"{index}.jpg\n" for index in range(32))
    test = "file\n" + "".join(f"{index}.jpg\n" for index in range(32, 40))
    source = {"train": write(tmp_path / "a.csv", train), "test": write(tmp_path / "b.csv", test)}
    split, report = read_split_list(source, table, val_share=0.4)
    assert (split[32:] == "test").all() and report["not_listed"] == 0
    assert set(split[:32]) == {"train", "val"}
    parts = split[:32].groupby(table["identity"][:32]).nunique()
    assert (parts == 1).all()
    again, _ = read_split_list(source, table, val_share=0.4)
    assert again.equals(split)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("img_path,part\n0.jpg,train\n", "expected the columns one of img_path"),
        ("img_path,split\n0.jpg,dev\n", "unknown split 'dev'"),
        ("img_path,split\n,train\n", "an empty img_path"),
        ("img_path,split\n0.jpg\n", "line 2: expected 2 cells, got 1"),
        ("img_path,split\na/0.jpg,train\nb/0.jpg,test\n", "a/0.jpg and b/0.jpg fit one row of the table"),
        ("img_path,split\n0.jpg,\n", "lists no image"),
        ("img_path,split\n0.jpg,train\n0.jpg,test\n", "0.jpg is listed as train and as test"),
        ("img_path,split\n", "lists no image"),
        ("", "Received: none"),
        ("img_path,split\nx.jpg,train\n", "none of its 1 names is in the table"),
        ('img_path,split\n"0.jpg,train\n', "line 2: expected a CSV file"),
    ],
)
def test_bad_list(tmp_path, table, text, message):
    with pytest.raises(UserError) as error:
        read_split_list(write(tmp_path / "list.csv", text), table)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_name_that_fits_several_rows(tmp_path):
    table = pd.DataFrame({"img_path": ["a/0.jpg", "b/0.jpg"]})
    with pytest.raises(UserError, match="fits several rows"):
        read_split_list(write(tmp_path / "list.csv", "file,split\n0.jpg,train\n"), table)
    split, _ = read_split_list(write(tmp_path / "list.csv", "file,split\nb/0.jpg,train\na/0.jpg,val\n"), table)
    assert split.tolist() == ["val", "train"]


def test_layouts_of_published_lists(tmp_path):
    """CORAL's: a nameless first column (MORPH), a file name beside a path (AFAD); and pictures cropped at ingest."""
    table = pd.DataFrame({"img_path": ["15/111/1-0.jpg", "15/112/1-0.jpg", "crops/images/2.jpg"]})
    nameless = write(tmp_path / "morph.csv", ",age,split\n15/111/1-0.jpg,3,train\n15/112/1-0.jpg,4,val\n")
    both = write(tmp_path / "afad.csv", "file,path,split\n1-0.jpg,15/111/1-0.jpg,train\n1-0.jpg,15/112/1-0.jpg,val\n")
    for source in (nameless, both):
        assert read_split_list(source, table)[0].tolist()[:2] == ["train", "val"]
    cropped = write(tmp_path / "cropped.csv", "file,split\nimages/2.jpg,val\n15/111/1-0.jpg,\n")
    split, report = read_split_list(cropped, table)
    assert split[2] == "val" and report["listed"] == 1


def test_missing_file_other_encoding_and_unknown_part(tmp_path, table):
    with pytest.raises(UserError, match="does not exist"):
        read_split_list(tmp_path / "gone.csv", table)
    (tmp_path / "list.csv").write_bytes("img_path,split\nbjörk.jpg,train\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_split_list(tmp_path / "list.csv", table)
    with pytest.raises(UserError, match="unknown part 'dev'"):
        read_split_list({"dev": tmp_path / "list.csv"}, table)
