"""CACD: the MATLAB file is rebuilt here in the published layout; file names with accents in every state."""

import os
import unicodedata

import numpy as np
import pytest
from scipy.io import savemat

from faces.datasets import cacd
from faces.errors import UserError

# identity, rank, birth, name
CELEBRITIES = {
    1: (1, 1951, "Robin Williams"),
    2: (3, 1951, "Kurt Russell"),
    3: (6, 1974, "Penélope Cruz"),
    4: (50, 1974, "Åsa Ñandú"),
    5: (2, 1974, "Zoë Bell"),
    6: (5, 1990, "Emma Watson"),
}


def column(values, dtype):
    return np.array(values, dtype=dtype).reshape(-1, 1)


def cell_array(texts):
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells


def image(identity, age, number=1, **changes):
    rank, birth, name = CELEBRITIES[identity]
    file_name = f"{age}_{name.replace(' ', '_')}_{number:04d}.jpg"
    row = {"age": age, "identity": identity, "year": birth + age, "rank": rank, "lfw": 0, "birth": birth}
    return row | {"name": file_name} | changes


def save(root, rows, changes=(), file_name=cacd.LABEL_FILE):
    """Write the two structs with the fields in the published order; `changes` = (struct, field, value) to overwrite."""
    celebrities = [dict(zip(("rank", "birth", "name"), CELEBRITIES[key]), identity=key, lfw=0) for key in CELEBRITIES]
    fields = {
        "celebrityImageData": ("age", "identity", "year", "feature", "rank", "lfw", "birth", "name"),
        "celebrityData": ("name", "identity", "birth", "rank", "lfw"),
    }
    structs = {}
    for struct, source in (("celebrityImageData", rows), ("celebrityData", celebrities)):
        structs[struct] = {}
        for field in fields[struct]:
            values = [row.get(field, 0) for row in source]
            structs[struct][field] = cell_array(values) if field == "name" else column(values, np.float64)
    for struct, field, value in changes:
        structs[struct][field] = value
    savemat(root / file_name, structs)


def touch(root, *names, folder="CACD2000"):
    (root / folder).mkdir(exist_ok=True)
    for name in names:
        (root / folder / name).touch()


def make(root, rows, **options):
    touch(root, *(row["name"] for row in rows))
    save(root, rows, **options)


def test_published_rows(tmp_path):
    make(
        tmp_path, [image(1, 53), image(1, 53, 2), image(2, 60), image(3, 30), image(4, 39), image(5, 35), image(6, 23)]
    )
    touch(tmp_path, "14_Nobody_0001.jpg")
    table, rejected = cacd.read(tmp_path)
    assert table.to_numpy().tolist() == [
        ["CACD2000/53_Robin_Williams_0001.jpg", 53.0, "1", "val"],
        ["CACD2000/53_Robin_Williams_0002.jpg", 53.0, "1", "val"],
        ["CACD2000/60_Kurt_Russell_0001.jpg", 60.0, "2", "test"],
        ["CACD2000/30_Penélope_Cruz_0001.jpg", 30.0, "3", "train"],
        ["CACD2000/39_Åsa_Ñandú_0001.jpg", 39.0, "4", "train"],
        ["CACD2000/35_Zoë_Bell_0001.jpg", 35.0, "5", "val"],
        ["CACD2000/23_Emma_Watson_0001.jpg", 23.0, "6", "test"],
    ]
    assert table.columns.tolist() == ["img_path", "age", "identity", "split"]
    assert rejected.to_numpy().tolist() == [["CACD2000/14_Nobody_0001.jpg", "no label"]]


def test_image_that_is_not_there_is_left_to_the_check_of_the_images(tmp_path):
    make(tmp_path, [image(1, 53)])
    save(tmp_path, [image(1, 53), image(1, 54)])
    table, rejected = cacd.read(tmp_path)
    assert table["img_path"].tolist() == ["CACD2000/53_Robin_Williams_0001.jpg", "CACD2000/54_Robin_Williams_0001.jpg"]
    assert rejected.empty


# What unpacking programs make of an accent.
SPOILT = {
    "as published": lambda name: name,
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "latin-1": lambda name: name.encode().decode("latin-1"),
    "decomposed latin-1": lambda name: unicodedata.normalize("NFD", name.encode().decode("latin-1")),
    "cp1252": lambda name: name.encode().decode("cp1252"),
    "gbk": lambda name: name.encode().decode("gbk"),
    "cp437": lambda name: name.encode().decode("cp437"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize(
    "name", ["39_Åsa_Ñandú_0001.jpg", "35_Zoë_Bell_0001.jpg", "18_Björk_0012.jpg", "53_Al_Pacino_0001.jpg"]
)
def test_mended_name(name, spoil):
    assert cacd.plain_name(spoil(name)) == name


@pytest.mark.parametrize("spoilt_in_file", [False, True])
def test_accents_are_matched_and_the_path_is_that_on_disk(tmp_path, spoilt_in_file):
    rows = [image(4, 39, number) for number in range(len(SPOILT))]
    spoilt = [spoil(row["name"]) for row, spoil in zip(rows, SPOILT.values())]
    on_disk = [row["name"] for row in rows] if spoilt_in_file else spoilt
    touch(tmp_path, *on_disk, folder="unpacked")
    save(tmp_path, [row | {"name": name} for row, name in zip(rows, spoilt)] if spoilt_in_file else rows)
    table, rejected = cacd.read(tmp_path)
    assert table["img_path"].tolist() == [f"unpacked/{name}" for name in on_disk] and rejected.empty
    assert set(table["identity"]) == {"4"} and set(table["split"]) == {"train"}


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_name_that_is_not_utf8_is_rejected_once(tmp_path):
    rows = [image(5, 35), image(1, 53)]
    touch(tmp_path, os.fsdecode(rows[0]["name"].encode("latin-1")), rows[1]["name"])
    save(tmp_path, rows)
    table, rejected = cacd.read(tmp_path)
    assert table["identity"].tolist() == ["1"]
    assert rejected["reason"].tolist() == ["unclear label: it is not UTF-8; rename the file"]


def test_two_files_for_one_name(tmp_path):
    name = image(5, 35)["name"]
    touch(tmp_path, name, SPOILT["latin-1"](name))
    save(tmp_path, [image(5, 35)])
    table, rejected = cacd.read(tmp_path)
    assert table.empty and len(rejected) == 2
    assert rejected["reason"].str.contains("the name fits 2 files|no label").all()


UNCLEAR = [
    ({"age": 54}, "age is 54 in celebrity2000_meta.mat, 53 in the name"),
    ({"age": np.nan}, "age is nan in celebrity2000_meta.mat, 53 in the name"),
    ({"rank": 2}, "rank 2 and birth 1951 are not those of the celebrity"),
    ({"birth": 1952}, "rank 1 and birth 1952 are not those of the celebrity"),
    ({"identity": 2}, "rank 1 and birth 1951 are not those of the celebrity"),
    ({"identity": 7}, "rank 1 and birth 1951 are not those of the celebrity"),
    ({"identity": np.nan}, "rank 1 and birth 1951 are not those of the celebrity"),
    ({"name": "53_Robin_Williams.jpg"}, "name '53_Robin_Williams.jpg' is not age_Name_Surname_number.jpg"),
    ({"name": "../53_Al_0001.jpg"}, "name '../53_Al_0001.jpg' is not age_Name_Surname_number.jpg"),
    ({"name": "153_Robin_Williams_0001.jpg"}, "age '153' is not a number of years"),
    ({"name": np.zeros((0, 0))}, "name '' is not age_Name_Surname_number.jpg"),
]


def test_unclear_rows_are_rejected(tmp_path):
    make(tmp_path, [image(2, 60)])
    rows = [image(1, 53, number) | changes for number, (changes, _) in enumerate(UNCLEAR)]
    save(tmp_path, [image(2, 60), *rows])
    table, rejected = cacd.read(tmp_path)
    assert table["identity"].tolist() == ["2"]
    assert rejected["reason"].tolist() == [f"unclear label: {problem}" for _, problem in UNCLEAR]


def test_rank_outside_the_protocol(tmp_path):
    # The celebrities have these ranks, too, so only the protocol can object.
    ranks = [0, 51, 2.5, -1, np.inf, 5]
    rows = [image(identity, 23, rank=rank) for identity, rank in zip(CELEBRITIES, ranks)]
    make(tmp_path, rows, changes=[("celebrityData", "rank", column(ranks, np.float64))])
    table, rejected = cacd.read(tmp_path)
    assert table["split"].tolist() == ["test"]
    assert rejected["reason"].tolist() == [f"unclear label: rank {rank:g} is not one of 1 to 50" for rank in ranks[:5]]


def test_celebrity_with_two_ranks_has_none(tmp_path):
    twice = column([1, 1, 3, 4, 5, 6], np.float64)
    make(tmp_path, [image(1, 53), image(3, 30)], changes=[("celebrityData", "identity", twice)])
    table, rejected = cacd.read(tmp_path)
    assert table["identity"].tolist() == ["3"] and len(rejected) == 1


def test_labels_are_missing_or_of_matlab_7(tmp_path):
    touch(tmp_path, "53_Robin_Williams_0001.jpg")
    with pytest.raises(UserError, match=r"celebrity2000_meta\.mat, which does not exist\. .*\./download\.sh cacd"):
        cacd.read(tmp_path)
    (tmp_path / "celebrity2000.mat").touch()
    with pytest.raises(UserError, match=r"celebrity2000\.mat is HDF5, MATLAB 7\.3, and not read"):
        cacd.read(tmp_path)
    # The header of MATLAB 7.3: 116 bytes of text, 8 of offset, version 0x0200, byte order.
    header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
    (tmp_path / cacd.LABEL_FILE).write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(400))
    with pytest.raises(UserError, match=r"expected a MATLAB 5 file\. Received: HDF5 \(MATLAB 7\.3\)"):
        cacd.read(tmp_path)


@pytest.mark.parametrize(
    ("struct", "field", "value", "problem"),
    [
        ("celebrityImageData", "age", column([1, 2, 3], np.float64), "unequal length.*'age': 3"),
        ("celebrityImageData", "age", cell_array(["53"]), "age holds no numbers"),
        ("celebrityImageData", "rank", column([1 + 2j], np.complex128), "rank holds no numbers"),
        ("celebrityData", "birth", "1951", "unequal length|birth holds no numbers"),
        ("celebrityData", "identity", column([1], np.float64), "unequal length.*'identity': 1"),
    ],
)
def test_damaged_fields_are_named(tmp_path, struct, field, value, problem):
    make(tmp_path, [image(1, 53)], changes=[(struct, field, value)])
    with pytest.raises(UserError, match=problem):
        cacd.read(tmp_path)


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"celebrityImageData": {"age": 53}}, "expected the variables celebrityImageData, celebrityData"),
        (
            {"celebrityImageData": {"age": 53}, "celebrityData": 1},
            "expected MATLAB structs .* age, identity, rank, birth",
        ),
        ({"celebrityImageData": "none", "celebrityData": 1}, "expected MATLAB structs .* age, identity, rank, birth"),
    ],
)
def test_other_variables(tmp_path, variables, problem):
    touch(tmp_path, "53_Robin_Williams_0001.jpg")
    savemat(tmp_path / cacd.LABEL_FILE, variables)
    with pytest.raises(UserError, match=problem):
        cacd.read(tmp_path)


def test_no_images(tmp_path):
    save(tmp_path, [image(1, 53)])
    with pytest.raises(UserError, match="holds none"):
        cacd.read(tmp_path)
