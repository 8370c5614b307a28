"""Damaged MATLAB files of CACD: an error of one line, rejected rows, or exactly what the file says."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from faces.datasets import cacd
from faces.errors import UserError
from tests.faces.datasets.published_layouts import build, check_tables, damage, read_or_error

# Each example starts a process that reads the file.
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CELEBRITIES = {1: (1, 1951), 2: (3, 1951), 3: (6, 1974)}
CACD_IMAGES = ["53_Robin_Williams_0001.jpg", "60_Kurt_Russell_0001.jpg", "30_Penélope_Cruz_0001.jpg"]


def cacd_structs():
    def columns(**fields):
        return {name: np.array(values, dtype=np.float64).reshape(-1, 1) for name, values in fields.items()}

    identities, ranks, births = zip(*((identity, *rest) for identity, rest in CELEBRITIES.items()))
    names = np.empty((3, 1), dtype=object)
    names[:, 0] = CACD_IMAGES
    images = columns(age=[53, 60, 30], identity=identities, rank=ranks, birth=births) | {"name": names}
    return {"celebrityImageData": images, "celebrityData": columns(identity=identities, rank=ranks, birth=births)}


def check_cacd(folder):
    answer = read_or_error(cacd.read, folder)
    if answer is None:
        return
    check_tables(*answer, CACD_IMAGES)
    # Safe here: the reader's process has survived this file.
    mat = loadmat(Path(folder) / cacd.LABEL_FILE, variable_names=["celebrityImageData"])["celebrityImageData"][0, 0]
    told = [mat[name].ravel().tolist() for name in ("age", "identity", "rank")]
    names = [str(cell.ravel()[0]) if cell.size else "" for cell in mat["name"].ravel()]
    told = {(f"{age:g}", f"{identity:g}", rank) for age, identity, rank in zip(*told)}
    for row in answer[0].to_dict("records"):
        assert row["img_path"] in [*CACD_IMAGES, *(f"CACD2000/{name.strip()}" for name in names)]
        rank = {"val": (1, 2), "test": (3, 5), "train": (6, 50)}[row["split"]]
        age = row["img_path"].removeprefix("CACD2000/").split("_")[0]
        assert any(
            (str(int(age)), row["identity"]) == each[:2] and rank[0] <= each[2] <= rank[1] and int(age) == row["age"]
            for each in told
        )


@FEW
@given(
    edits=st.lists(st.tuples(st.sampled_from(["insert", "replace", "cut"]), st.floats(0, 1), st.binary(max_size=4))),
    kept=st.just(1.0) | st.floats(0, 1),
)
def test_damaged_mat_file(edits, kept):
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), CACD_IMAGES, {})
        path = Path(folder) / cacd.LABEL_FILE
        savemat(path, cacd_structs())
        path.write_bytes(damage(path.read_bytes(), edits, kept))
        check_cacd(folder)


NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 2.5, -1.0, 53.0, 1951.0, float("nan"), float("inf"), 1e300])
WRONG = st.one_of(
    NUMBERS,
    st.lists(NUMBERS, max_size=4).map(lambda values: np.array(values).reshape(-1, 1)),
    st.lists(NUMBERS, min_size=3, max_size=3).map(lambda values: np.array(values).reshape(1, 3)),
    st.lists(st.integers(0, 255), min_size=3, max_size=3).map(lambda values: np.array(values, np.uint8).reshape(3, 1)),
    st.text("53_RobinWlams01.jpg/\\é ", max_size=30),
    st.sampled_from(["CACD", {"a": 1.0}, np.array([[1j], [2j], [3j]]), np.array([[True], [False], [True]])]),
    st.lists(st.sampled_from(CACD_IMAGES) | st.text("53_R01.jpg/é", max_size=20), min_size=3, max_size=3).map(
        lambda texts: np.array([[text] for text in texts], dtype=object)
    ),
)


@FEW
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(["celebrityImageData", "celebrityData"]), st.sampled_from(cacd.IMAGE_FIELDS), WRONG),
        max_size=2,
    )
)
def test_mat_fields_of_wrong_type_or_length(changes):
    structs = cacd_structs()
    for struct, field, value in changes:
        structs[struct][field] = value
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), CACD_IMAGES, {})
        savemat(Path(folder) / cacd.LABEL_FILE, structs)
        check_cacd(folder)


# Single bytes (place, value) of the intact file that end scipy 1.17 by a segmentation fault.
@pytest.mark.parametrize("edit", [(393, 122), (849, 147), (1044, 109)])
def test_file_that_brings_down_the_reader(tmp_path, edit):
    build(tmp_path, CACD_IMAGES, {})
    path = tmp_path / cacd.LABEL_FILE
    savemat(path, cacd_structs())
    content = bytearray(path.read_bytes())
    content[edit[0]] = edit[1]
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"expected a MATLAB 5 file\. Received: .+"):
        cacd.read(tmp_path)


def test_intact_mat_file(tmp_path):
    build(tmp_path, CACD_IMAGES, {})
    savemat(tmp_path / cacd.LABEL_FILE, cacd_structs())
    check_cacd(tmp_path)
    assert cacd.read(tmp_path)[0]["split"].tolist() == ["val", "test", "train"]
