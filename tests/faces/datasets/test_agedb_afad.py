"""AgeDB and AFAD: labels in file names and in folders."""

import os
import unicodedata

import pytest
from PIL import Image

from faces.datasets import afad, agedb
from faces.errors import UserError
from faces.ingest.tables import ingest


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_agedb_published_names(tmp_path):
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
def test_agedb_malformed_name(tmp_path, name, problem):
    touch(tmp_path, name)
    table, rejected = agedb.read(tmp_path)
    assert table.empty and rejected["img_path"].tolist() == [name]
    assert rejected["reason"].item().startswith("malformed name: ") and problem in rejected["reason"].item()


def test_agedb_accents_are_one_person_in_any_unicode_form(tmp_path):
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


def test_afad_published_paths(tmp_path):
    names = ["15/111/292943-1.jpg", "15/112/671487-0.jpg", "75/111/292943-2.jpg"]
    touch(tmp_path, *names, "AFAD-Full.txt", "15/111/Thumbs.db")
    table, rejected = afad.read(tmp_path)
    assert table["img_path"].tolist() == names and table["age"].tolist() == [15, 15, 75]
    assert table["gender"].tolist() == ["male", "female", "male"]
    assert table["identity"].tolist() == ["292943", "671487", "292943"]
    assert set(table["ethnicity"]) == {"asian"} and rejected.empty


def test_afad_inside_another_folder(tmp_path):
    touch(tmp_path, "AFAD-Lite/20/112/660728-0.jpg")
    assert afad.read(tmp_path)[0]["age"].tolist() == [20]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("15/113/292943-1.jpg", "gender folder '113' is neither 111 nor 112"),
        ("x15/111/292943-1.jpg", "age 'x15'"),
        ("999/111/292943-1.jpg", "age '999'"),
        ("15/111/292943.jpg", "expected age/gender/person-number"),
        ("15/292943-1.jpg", "expected age/gender/person-number"),
        ("292943-1.jpg", "expected age/gender/person-number"),
    ],
)
def test_afad_malformed_path(tmp_path, name, problem):
    touch(tmp_path, name)
    table, rejected = afad.read(tmp_path)
    assert table.empty and problem in rejected["reason"].item()


@pytest.mark.parametrize("read", [agedb.read, afad.read])
def test_without_images(tmp_path, read):
    with pytest.raises(UserError, match="does not exist"):
        read(tmp_path / "missing")
    with pytest.raises(UserError, match="holds none"):
        read(tmp_path)


def test_afad_through_ingest(tmp_path):
    for shade, name in enumerate(["15/111/1-0.jpg", "16/112/2-0.jpg"]):
        touch(tmp_path, name)
        Image.new("L", (8, 8), 80 * shade).save(tmp_path / name)
    touch(tmp_path, "17/112/3-0.jpg")  # empty, so no image
    table, rejected = ingest("afad", tmp_path, progress=False)
    assert table["age"].tolist() == [15, 16] and rejected["img_path"].tolist() == ["17/112/3-0.jpg"]
