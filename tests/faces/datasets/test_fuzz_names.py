"""Damaged names, label files and images: an error of one line, a rejected row, or exactly what is visibly written."""

import io
import os
import re
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from faces.datasets import fgnet, imdb_clean, imdb_wiki, utkface
from faces.ingest.tables import ingest
from tests.faces.datasets.published_layouts import build, damage, read_or_error, text_rows

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(max_examples=400, deadline=None)

CHARACTERS = st.sampled_from(
    [*"0123456789_-+. aAbBnm/\\,;'\"%\n\0é", "٣", "²", "１", "\udce9", "__", "..", ".jpg", "_rm"]
)
EDITS = st.lists(st.tuples(st.sampled_from(["insert", "replace", "cut"]), st.floats(0, 1), CHARACTERS), max_size=4)
BYTES = st.binary(max_size=3) | st.sampled_from([b",", b"\n", b'"', b"\xef\xbb\xbf", b"nan", b"1e9", b"M", b"F", b"}"])
BYTE_EDITS = st.lists(st.tuples(st.sampled_from(["insert", "replace", "cut"]), st.floats(0, 1), BYTES), max_size=3)
KEPT = st.just(1.0) | st.floats(0, 1)
ENCODINGS = st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])


def edit(name, edits):
    for kind, where, piece in edits:
        at = int(where * len(name))
        after = {"insert": at, "replace": at + 1, "cut": at + 1}[kind]
        name = name[:at] + ("" if kind == "cut" else piece) + name[after:]
    return name


# === Names ===

UTKFACE_NAMES = st.builds(
    lambda age, gender, race, date, end: "_".join([str(age), gender, *race, f"{date:017d}"]) + end,
    st.integers(0, 116),
    st.sampled_from("01"),
    st.lists(st.sampled_from("01234"), max_size=1),
    st.integers(10**16, 10**17 - 1),
    st.sampled_from([".jpg", ".jpg.chip.jpg", " .jpg.chip.jpg", "jpg.chip.jpg", ".JPG"]),
)


def check_utkface(name, labels):
    """Every label must be readable in the name by hand."""
    age, gender, ethnicity = labels
    fields = name.split("_")
    assert re.fullmatch("[0-9]+", fields[0], re.ASCII) and float(fields[0]) == age <= 130
    assert fields[1] == {"male": "0", "female": "1"}[gender]
    if ethnicity is None:
        assert len(fields) == 3
    else:
        assert len(fields) == 4 and fields[2] == str(["white", "black", "asian", "indian", "others"].index(ethnicity))
    assert fields[-1][:14].isdigit()


@MANY
@given(UTKFACE_NAMES)
def test_valid_utkface_names_are_read(name):
    check_utkface(name, utkface.parse_name(name))


@MANY
@given(UTKFACE_NAMES, EDITS)
def test_damaged_utkface_names(name, edits):
    name = edit(name, edits)
    try:
        labels = utkface.parse_name(name)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        check_utkface(name, labels)


FGNET_NAMES = st.builds(
    lambda person, age, letter, end, a: f"{person:03d}{a}{age:02d}{letter}{end}",
    st.integers(0, 999),
    st.integers(0, 99),
    st.sampled_from(["", "", "a", "b", "C"]),
    st.sampled_from([".JPG", ".jpg"]),
    st.sampled_from("Aa"),
)


def check_fgnet(name, labels):
    identity, age = labels
    assert name[:3] == identity and identity.isascii() and identity.isdigit()
    assert name[3] in "Aa" and name[4:6].isascii() and int(name[4:6]) == age
    rest = name[6:].lower()
    assert rest == ".jpg" or (rest[1:] == ".jpg" and "a" <= rest[0] <= "z")


@MANY
@given(FGNET_NAMES, EDITS)
def test_damaged_fgnet_names(name, edits):
    check_fgnet(name, fgnet.parse_name(name))
    name = edit(name, edits)
    try:
        labels = fgnet.parse_name(name)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        check_fgnet(name, labels)


FILE_NAMES = st.lists(st.tuples(UTKFACE_NAMES | FGNET_NAMES, EDITS), min_size=1, max_size=8)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
@pytest.mark.parametrize("reader", [utkface, fgnet])
@FEW
@given(files=FILE_NAMES)
def test_every_file_of_a_folder_is_in_one_table(reader, files):
    names = {edit(name, edits).replace("/", "").replace("\0", "")[:80] for name, edits in files}
    names = {name for name in names if name not in ("", ".", "..")} | {"30_0_0_20170116184028385.jpg"}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).touch()
        table, rejected = reader.read(folder)
    images = {name for name in names if re.search(r"\.(jpe?g|png|bmp|webp)\Z", name, re.I) and name[0] != "."}
    assert sorted([*table["img_path"], *rejected["img_path"]]) == sorted(images)
    for row in table.to_dict("records"):
        check_utkface(row["img_path"], (row["age"], row["gender"], row["ethnicity"]))
        row["img_path"].encode("utf-8")


# === Label files ===

POINTS = [(20.5 + index % 9 * 10, 30 + index % 7 * 15.25) for index in range(68)]
POINTS_FILE = "version: 1\nn_points: 68\n{\n" + "\n".join(f"{x} {y}" for x, y in POINTS) + "\n}\n"


@FEW
@given(BYTE_EDITS, KEPT, ENCODINGS)
def test_damaged_landmarks(edits, kept, encoding):
    content = damage(POINTS_FILE.encode(encoding), edits, kept)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "points").mkdir()
        build(Path(folder), ["images/001A05.JPG"], {"points/001a05.pts": content})
        table, rejected = fgnet.read(folder)
    assert len(table) + len(rejected) == 1
    for row in table.to_dict("records"):
        numbers = [float(cell) for cell in content.decode("latin-1").split("{")[1].split("}")[0].split()]
        x, y = numbers[0::2], numbers[1::2]
        assert len(x) == len(y) == 68 and np.isfinite(numbers).all()
        assert (row["x1"], row["x2"], row["y2"]) == (min(x), max(x), max(y)) and row["y1"] < min(y)


IMDB_IMAGES = [
    "38/nm2679438_rm3695806976_1989-8-15_2009.jpg",
    "13/nm0000313_rm1851819008_1949-12-4_2010.jpg",
    "02/nm0000002_rm2_1924-9-16_1974.jpg",
]
IMDB_CSV = (
    "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch\n"
    f"{IMDB_IMAGES[0]},20,M,31,39,61,77,7.78,1.79,2.22\n"
    f"{IMDB_IMAGES[1]},61,M,10.5,20,40,55.25,0.1,-3.5,0\n"
    f"{IMDB_IMAGES[2]},50,F,100,120,220,260,0.1,-3.5,0\n"
)


def says_imdb(row, cells):
    """Whether a row of the label file says just what the table says."""
    box = [float(cells[name]) for name in ("x_min", "y_min", "x_max", "y_max")]
    return (
        row["img_path"] == f"imdb-clean-1024/{cells['filename']}"
        and cells["filename"].split("/")[-1].startswith(f"{row['identity']}_rm")
        and float(cells["age"]) == row["age"]
        and cells["gender"] == {"male": "M", "female": "F"}.get(row["gender"], "")
        and box == [row["x1"], row["y1"], row["x2"], row["y2"]]
    )


@FEW
@given(BYTE_EDITS, KEPT, ENCODINGS)
def test_damaged_imdb_clean_labels(edits, kept, encoding):
    content = damage(IMDB_CSV.encode(encoding), edits, kept)
    with tempfile.TemporaryDirectory() as folder:
        images = [f"imdb-clean-1024/{name}" for name in IMDB_IMAGES]
        build(Path(folder), images, {"imdb_train_new_1024.csv": content})
        answer = read_or_error(imdb_clean.read, folder)
    if answer is None:
        return
    table, rejected = answer
    assert set(images) <= {*table["img_path"], *rejected["img_path"]}
    assert table["img_path"].is_unique and not set(table["img_path"]) & set(rejected["img_path"])
    rows = text_rows(content)
    said = [dict(zip(rows[0], row)) for row in rows[1:]]
    for row in table.to_dict("records"):
        assert [cells["filename"] for cells in said].count(row["img_path"].removeprefix("imdb-clean-1024/")) == 1
        assert any(says_imdb(row, cells) for cells in said if f"imdb-clean-1024/{cells['filename']}" == row["img_path"])


def wiki_struct(**changes):
    paths = np.empty((1, 3), dtype=object)
    paths[0] = ["00/1_1981-05-05_2009.jpg", "00/2_1970-01-05_2000.jpg", "00/3_1950-12-05_1999.jpg"]
    fields = {
        "dob": np.array([[723671.0, 719535.0, 712563.0]]),
        "photo_taken": np.array([[2009, 2000, 1999]], np.uint16),
        "full_path": paths,
        "gender": np.array([[1.0, 0.0, np.nan]]),
        "face_score": np.array([[4.0, 3.0, 2.0]]),
        "second_face_score": np.full((1, 3), np.nan),
    }
    return {"wiki": fields | changes}


def check_wiki(variable, table, rejected):
    """Every row of the table must be said by the file; no row without a reason."""
    assert (rejected["reason"] != "").all() and table["age"].between(0, 100).all()
    if table.empty:
        return
    struct = variable[0, 0]
    said = set(zip(*(map(tell, struct[name].ravel()) for name in ("full_path", "gender", "photo_taken"))))
    for row in table.to_dict("records"):
        gender = {"female": 0.0, "male": 1.0}.get(row["gender"], "nan")
        assert any((row["img_path"], gender, row["age"] + birth) in said for birth in range(1, 3000))


def tell(value):
    """A cell of the file as a text or a number; NaN, which equals nothing, as its name."""
    value = np.ravel(value)
    value = value[0] if value.size else ""
    return value.strip() if isinstance(value, str) else "nan" if np.isnan(value) else float(value)


# The reader starts a process for each file, which takes a third of a second.
@settings(FEW, max_examples=8)
@given(BYTE_EDITS, KEPT)
def test_damaged_wiki_mat_file(edits, kept):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wiki.mat"
        savemat(path, wiki_struct())
        path.write_bytes(damage(path.read_bytes(), edits, kept))
        answer = read_or_error(imdb_wiki.read_wiki, folder)
        if answer is not None:
            # Safe here: the reader's process has survived this file.
            check_wiki(loadmat(path, variable_names=["wiki"])["wiki"], *answer)


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 723671.0, 2009.0, float("nan"), float("inf"), 1e300])
WRONG_FIELDS = st.one_of(
    NUMBERS,
    st.lists(NUMBERS, max_size=4).map(lambda values: np.array([values])),
    st.lists(NUMBERS, min_size=3, max_size=3).map(lambda values: np.array(values).reshape(3, 1)),
    st.text("0123456789/_.jpg\\é ", max_size=20),
    st.lists(st.text("01/_.jpg\\é:", max_size=12), min_size=3, max_size=3).map(
        lambda texts: np.array([texts], dtype=object)
    ),
    st.sampled_from([{"a": 1.0}, np.array([[1j, 2j, 3j]]), np.array([[True, False, True]]), np.zeros((0, 0))]),
)


@FEW
@given(st.sampled_from([*imdb_wiki.FIELDS, "celeb_id"]), WRONG_FIELDS, st.sampled_from(["imdb", "wiki"]))
def test_wiki_field_of_a_wrong_kind(field, value, name):
    file = io.BytesIO()
    savemat(file, wiki_struct(**{field: value}))
    variable = loadmat(file)["wiki"]
    try:
        tables = imdb_wiki.make_tables(variable, name)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        check_wiki(variable, *tables)


# === Images ===


@settings(FEW, max_examples=40)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([".jpg", ".png", ".bmp", ".webp"]),
    BYTE_EDITS,
    KEPT,
)
def test_damaged_images(size, suffix, edits, kept):
    content = cv2.imencode(suffix, np.full((*size, 3), 90, np.uint8))[1].tobytes()
    damaged = damage(content, edits, kept)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"30_1_2_20170116184028385{suffix}").write_bytes(damaged)
        (Path(folder) / "31_0_0_20170116184028385.png").write_bytes(cv2.imencode(".png", np.zeros((3, 3)))[1].tobytes())
        table, rejected = ingest("utkface", folder, workers=1, progress=False)
    assert len(table) + len(rejected) == 2 and 31 in table["age"].tolist()
    if damaged == content:
        assert rejected.empty
    elif len(table) == 2:
        assert table.sort_values("age")[["age", "gender"]].to_numpy().tolist() == [[30, "female"], [31, "male"]]
