"""Training out of packs: the same run as with the image files, which need not be there, and packs that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.ingest.packed import pack_path
from faces.ingest.packing import pack_faces
from faces.ingest.tables import ingest
from faces.label_files.label_table import write_table
from keras_impl.input.face_data import crop_geometry, load_data
from tests.results import read_history

SIZE = 16  # of run_config


@pytest.fixture
def make_pack(in_face_folder):
    """fn(db, root) that makes meta/<db>.csv of an existing table, or of sample's, and the pack of it."""

    def make(db, root, table):
        write_table(table, f"meta/{db}.csv")
        pack_faces(table, root, SIZE, pack_path(db, SIZE), db=db, progress=False)

    return make


@pytest.fixture
def packed_sample(make_pack):
    """Table of the sample, whose faces are packed."""
    table, _ = ingest("sample", Path("data/sample"), count=96)
    make_pack("sample", "data/sample", table)
    return table


@pytest.fixture
def packed_own(make_pack, in_face_folder):
    """Table of 40 own faces of 10 persons, packed."""
    names = pd.read_csv("meta/sample.csv")["img_path"][:40]
    Path("photos").mkdir()
    rows = []
    for index, name in enumerate(names):
        data = Path("data/sample", name).read_bytes() + b"\0"  # the same picture, other content
        Path(f"photos/{index}.jpg").write_bytes(data)
        rows.append(f"{index}.jpg,{index + 10},{index // 4}")
    Path("photos/labels.csv").write_text("\n".join(["img_path,age,identity", *rows]))
    table, _ = ingest("csv", "photos", csv="photos/labels.csv")
    make_pack("csv", "photos", table)
    return table


@pytest.mark.parametrize(
    "more", [("run.pictures=true",), pytest.param(("data.protocol=k_fold", "data.folds=2"), marks=pytest.mark.slow)]
)
def test_same_run_without_the_image_files(packed_sample, train_in_process, more):
    with_files = train_in_process("run.dir=files", "data.cache=memory", *more)
    shutil.rmtree("data/sample")
    with_pack = train_in_process("run.dir=packs", "data.cache=packed", *more)
    folds = [Path(), *(path.name for path in with_files.glob("fold_*"))]
    for fold in folds[-1:]:
        pd.testing.assert_frame_equal(
            read_history(with_files / fold), read_history(with_pack / fold), rtol=1e-4, atol=1e-5
        )
    one, other = (pd.read_csv(run / "test" / "predictions.csv") for run in (with_files, with_pack))
    pd.testing.assert_frame_equal(one, other, rtol=1e-3, atol=1e-3)
    assert "folds" in str(more) or "data:image" in (with_pack / "test" / "report.html").read_text()
    assert json.loads((with_pack / "run.json").read_text())["overrides"] == {}


def test_several_packs_are_read_as_the_files_are(packed_sample, packed_own):
    files = load_data(["sample", "csv"], root="photos")
    packs = load_data(["sample", "csv"], root="photos", pack_size=SIZE)
    pd.testing.assert_frame_equal(packs.table, files.table)
    assert (packs.root, len(packs.rejected), crop_geometry(packs)) == (files.root, 0, crop_geometry(files))
    chosen = files.table["img_path"].iloc[[100, 3, 95, 96, 0]]
    expected = files.read_faces(chosen, SIZE)
    found = packs.packed_faces(chosen)[np.arange(5)]
    np.testing.assert_array_equal(found, np.stack([expected[path] for path in chosen]))
    for path, face in packs.read_faces(chosen, SIZE).items():
        np.testing.assert_array_equal(face, expected[path])
    assert packs.read_faces(chosen, 112)[chosen.iloc[0]].shape == (112, 112, 3)


def test_limit_takes_the_rows_that_it_takes_of_files(packed_sample):
    files, packs = load_data("sample", limit=20), load_data("sample", limit=20, pack_size=SIZE)
    pd.testing.assert_frame_equal(packs.table, files.table)
    expected = files.read_faces(files.table["img_path"], SIZE)
    np.testing.assert_array_equal(packs.packed[:], np.stack(list(expected.values())))


def test_packs_that_do_not_fit_are_refused(packed_sample, packed_own, train_in_process):
    def refusal(*overrides):
        with pytest.raises(UserError) as refused:
            train_in_process("data.cache=packed", *overrides)
        assert not Path("runs").exists() and "\n" not in str(refused.value)
        return str(refused.value)

    assert refusal("model.img_size=24").endswith("run: python create_db.py --db sample --pack 24")
    assert "--packed_dir elsewhere" in refusal("data.packed_dir=elsewhere")
    assert "data.packed_dir must be a path" in refusal("data.packed_dir=null")
    own = refusal("data.db=csv", "data.csv=photos/labels.csv")
    assert "does not tell the sha256 of each image" in own and own.endswith("not with photos/labels.csv")
    other = packed_sample["sha256"].where(packed_sample.index != 3, "0" * 64)
    write_table(packed_sample.assign(sha256=other), "meta/sample.csv")
    assert "was made of other files for 1 of 96 images of the table" in refusal()
    Path("meta/sample.csv").unlink()
    assert "The table meta/sample.csv does not exist" in refusal()
