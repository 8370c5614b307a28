"""AgeDB: labels in file names."""

import os
import unicodedata

import pytest

from faces.datasets import agedb
from faces.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_published_names(tmp_path):
    touch(tmp_path, "0_MariaCallas_35_f.jpg", "1_MariaCallas_40_F.JPG", "AgeDB/16487_BoBarrett_7_m.jpg", "notes.txt")
    table, rejected = agedb.read(tmp_path)
    assert table.to_dict("records") == [
        {"img_path": "0_MariaCallas_35_f.jpg", "age": 35.0, "gender": "female", "identity": "MariaCallas"},
        {"img_path": "1_MariaCallas_40_F.JPG", "age": 40.0, "gender": "female", "identity": "MariaCallas"},
        {"img_path": "AgeDB/16487_BoBarrett_7_m.jpg", "age": 7.0, "gender": "male", "identity": "BoBarrett"},
    ]
    assert rejected.empty


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("0_MariaCallas_35.jpg", "expected number_Name_age_f or _m"),
        ("MariaCallas_35_f.jpg", "expected number"),
        ("0__35_f.jpg", "expected number"),
        ("0_MariaCallas_35_x.jpg", "expected number"),
        ("0_MariaCallas__f.jpg", "expected number"),
        ("0_MariaCallas_135_f.jpg", "age '135' is not a number of years"),
        ("0_MariaCallas_٣٥_f.jpg", "expected number"),
        ("0_MariaCallas_35_f_1.jpg", "expected number"),
    ],
)
def test_malformed_name(tmp_path, name, problem):
    touch(tmp_path, name)
    table, rejected = agedb.read(tmp_path)
    assert table.empty and rejected["img_path"].tolist() == [name]
    assert rejected["reason"].item().startswith("malformed name: ") and problem in rejected["reason"].item()


def test_accents_are_one_person_in_any_unicode_form(tmp_path):
    composed = "0_PenélopeCruz_30_f.jpg"
    decomposed = unicodedata.normalize("NFD", "1_PenélopeCruz_31_f.jpg")
    touch(tmp_path, composed, decomposed)
    table, _ = agedb.read(tmp_path)
    assert table["img_path"].tolist() == [composed, decomposed] and set(table["identity"]) == {"PenélopeCruz"}


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_name_that_is_not_utf8_is_rejected(tmp_path):
    touch(tmp_path, os.fsdecode(b"0_Ren\xe9e_30_f.jpg"), "1_Ann_30_f.jpg")
    table, rejected = agedb.read(tmp_path)
    assert table["identity"].tolist() == ["Ann"]
    assert rejected["reason"].tolist() == ["malformed name: it is not UTF-8; rename the file"]


def test_without_images(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        agedb.read(tmp_path / "missing")
    with pytest.raises(UserError, match="holds none"):
        agedb.read(tmp_path)
