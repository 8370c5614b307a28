"""One data set or several: tables, folds that agree with each set alone, weights, and what is refused."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest

from faces.alignment import CropGeometry
from faces.datasets import DATASETS
from faces.errors import UserError
from faces.ingest.crops import cut_crops
from faces.ingest.tables import ingest
from faces.label_files.label_table import write_table
from keras_impl.input.face_data import crop_geometry, divide, group_edges, load_data, sample_weights
from keras_impl.input.labels import make_labels, require_labels


@pytest.fixture
def own_csv(in_face_folder):
    """A CSV set of 40 faces with persons, of which 10 are copies of faces of the sample."""
    photos = in_face_folder / "photos"
    photos.mkdir()
    names = pd.read_csv("meta/sample.csv")["img_path"]
    for index in range(40):
        target = photos / f"{index}.jpg"
        shutil.copy(in_face_folder / "data" / "sample" / names[index], target)
        if index >= 10:
            target.write_bytes(target.read_bytes() + b"\0" * (index + 1))  # the same picture, other content
    table = pd.DataFrame(
        {
            "img_path": [f"{index}.jpg" for index in range(40)],
            "age": np.arange(40.0),
            "identity": [f"{index // 4}" for index in range(40)],
        }
    )
    table.to_csv(photos / "labels.csv", index=False)
    return photos / "labels.csv"


def test_one_set_is_what_it_was(in_face_folder):
    data = load_data("sample")
    assert data.names == ("sample",) and "db" not in data.table and str(data.root) == "data/sample"
    assert load_data(["sample"]).table.equals(data.table)


def test_several_sets_together(own_csv):
    data = load_data(["sample", "csv"], csv=str(own_csv))
    assert data.table["db"].tolist() == ["sample"] * 96 + ["csv"] * 40
    assert all((data.root / path).is_file() for path in data.table["img_path"])
    assert data.table["identity"].isna()[:96].all()
    assert data.table["identity"][96:].tolist() == [f"csv:{index // 4}" for index in range(40)]


def test_each_set_is_divided_as_when_alone_and_nothing_tested_is_trained_on(own_csv):
    both = load_data(["sample", "csv"], csv=str(own_csv))
    shares = {"val_share": 0.2, "test_share": 0.3}
    (fold,) = divide(both, **shares)
    (sample,) = divide(load_data("sample"), **shares)
    (own,) = divide(load_data("csv", csv=str(own_csv)), **shares)
    alone = pd.concat([sample.split, own.split], ignore_index=True)
    kept = fold.split.notna()
    assert fold.split[kept].equals(alone[kept]) and 0 < (~kept).sum() <= 10
    for held, others in (("test", ["train", "val"]), ("val", ["train"])):
        hashes = set(both.table["sha256"][fold.split == held])
        assert not hashes & set(both.table["sha256"][fold.split.isin(others)])
    assert (fold.split == "test").equals(alone == "test")


def test_a_protocol_for_each_set(own_csv):
    both = load_data(["sample", "csv"], csv=str(own_csv))
    (fold,) = divide(both, protocol=["default", "morph_subject_exclusive"])
    (own,) = divide(load_data("csv", csv=str(own_csv)), protocol="morph_subject_exclusive")
    assert ((fold.split[96:] == "test").to_numpy() == (own.split == "test").to_numpy()).all()
    with pytest.raises(UserError, match="one word or one for each of sample, csv"):
        divide(both, protocol=["default"])
    with pytest.raises(UserError, match="Received: sample 1, csv 10"):
        divide(both, protocol=["default", "fgnet_lopo"])


def test_one_fold_of_several(own_csv):
    data = load_data("csv", csv=str(own_csv))
    folds = divide(data, protocol="k_fold", folds=3)
    (one,) = divide(data, protocol="k_fold", folds=3, fold="2")
    assert one.split.equals(folds[2].split)
    assert divide(data, protocol="k_fold", folds=3, fold=2)[0].split.equals(
        one.split
    )  # 2 on a command line is a number
    with pytest.raises(UserError, match="Expected one of: 0, 1, 2"):
        divide(data, protocol="k_fold", folds=3, fold="7")
    with pytest.raises(UserError, match="none, it has one"):
        divide(data, fold="0")


def test_split_list(own_csv, tmp_path, capsys):
    data = load_data("csv", csv=str(own_csv))
    lines = ["img_path,split"] + [f"{index}.jpg,{'test' if index < 8 else 'train'}" for index in range(30)]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    (fold,) = divide(data, split_csv=str(tmp_path / "list.csv"), val_share=0.3)
    assert (fold.split[:8] == "test").all() and fold.split[30:].isna().all() and (fold.split == "val").any()
    assert "30 listed, 30 found, 0 not in table, 10 not listed" in capsys.readouterr().out
    with pytest.raises(UserError, match="Received: k_fold"):
        divide(data, split_csv=str(tmp_path / "list.csv"), protocol="k_fold")


def test_weights_of_the_sets(own_csv):
    data = load_data(["sample", "csv"], csv=str(own_csv))
    assert sample_weights(data, None).tolist() == [1.0] * 136
    assert sample_weights(data, [1, 0.25]).tolist() == [1.0] * 96 + [0.25] * 40


def test_own_table_is_checked_like_any_other(own_csv):
    """Copies that contradict each other are left out, and images that are gone are an error before anything starts."""
    table = pd.read_csv(own_csv)
    pd.concat([table, table.head(3).assign(age=99.0)]).to_csv(own_csv, index=False)
    data = load_data("csv", csv=str(own_csv))
    assert len(data.table) == 37 and len(data.rejected) == 6
    assert set(data.rejected["reason"]) == {"exact duplicates differ by more than 5 years"}
    data.table.to_csv(own_csv, index=False)
    (own_csv.parent / "20.jpg").unlink()
    with pytest.raises(UserError, match="1 of 37 images of the table are not in "):
        load_data("csv", csv=str(own_csv))


@pytest.mark.parametrize("sets", [["sample"], ["sample", "csv"]])
def test_images_that_were_replaced_are_refused(own_csv, sets):
    """As many bytes and the same time are noticed by content, where that is asked for."""
    own = str(own_csv) if "csv" in sets else None
    table = load_data(sets, csv=own).table
    assert not {"bytes", "mtime_ns"} & set(table) and table["sha256"].notna().all()
    first, second = (f"data/sample/{name}" for name in pd.read_csv("meta/sample.csv")["img_path"][:2])
    before = os.stat(first)
    shutil.copyfile(second, first)
    with pytest.raises(UserError, match=r"1 of 96 images in data/sample changed since meta/sample.csv .*--db sample$"):
        load_data(sets, csv=own)
    data = bytearray(before.st_size)
    with open(first, "wb") as file:
        file.write(data)
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    load_data(sets, csv=own)
    with pytest.raises(UserError, match="1 of 96 images in data/sample changed"):
        load_data(sets, csv=own, verify=True)


def test_own_table_that_knows_its_files_is_compared_with_them(own_csv):
    table, _ = ingest("csv", own_csv.parent, csv=own_csv, progress=False)
    table[["img_path", "age", "sha256"]].assign(sha256=[*table["sha256"][:-1], None]).to_csv(own_csv, index=False)
    load_data("csv", csv=str(own_csv))
    shutil.copyfile(own_csv.parent / "1.jpg", own_csv.parent / "30.jpg")
    with pytest.raises(UserError, match=r"1 of 40 images in .* 30\.jpg"):
        load_data("csv", csv=str(own_csv))


def test_each_set_must_bring_a_label(own_csv, caplog):
    data = load_data(["sample", "csv"], csv=str(own_csv))
    names, labels = data.table["db"], make_labels(data.table)
    require_labels(labels, "l1", ("age", "gender"), names)
    assert "csv has no usable gender: it trains the other output only." in caplog.text
    with pytest.raises(UserError, match="No training row of csv has a usable gender"):
        require_labels(labels, "l1", ("gender",), names)
    with pytest.raises(UserError, match="No training row has a usable gender"):
        require_labels(make_labels(data.tables["csv"]), "l1", ("age", "gender"))


def test_sets_that_cannot_be_loaded(own_csv):
    with pytest.raises(UserError, match="show the same pictures"):
        load_data(["utkface", "sample", "utkface_wild"])
    with pytest.raises(UserError, match="belongs to the data set csv"):
        load_data("sample", csv=str(own_csv))
    for db, message in (
        (["sample", "sample"], "names a data set twice"),
        ([], "must name a data set"),
        (["sample", "utk"], "Unknown data set 'utk'"),
    ):
        with pytest.raises(UserError, match=message):
            load_data(db)
    with pytest.raises(UserError, match="belongs to one data set"):
        load_data(["sample", "utkface"], root="photos")


def test_crops_of_one_set_and_of_several(own_csv, caplog):
    assert crop_geometry(load_data("sample")) == {"margin": 0.0, "aligned": True}
    assert not caplog.records
    assert crop_geometry(load_data(["sample", "csv"], csv=str(own_csv))) == {"margin": 0.0, "aligned": True}
    assert "sample, csv differ in margin or alignment" in caplog.text


def test_margin_is_that_of_the_crop_not_of_the_card(in_face_folder):
    """FG-NET's crops are cut at ingest, with whatever margin the user asks for."""
    root = in_face_folder / "data" / "FGNET"
    for folder in ("images", "points"):
        (root / folder).mkdir(parents=True)
    for index, name in enumerate(sorted((in_face_folder / "data" / "sample").glob("*.jpg"))[:3]):
        shutil.copy(name, root / "images" / f"00{index + 1}A30.JPG")
        points = "\n".join(f"{40 + 20 * (i % 5)} {50 + 15 * (i % 7)}" for i in range(68))
        text = f"version: 1\nn_points: 68\n{{\n{points}\n}}\n"
        (root / "points" / f"00{index + 1}a30.pts").write_text(text)
    for margin in (None, 0.3):
        table, rejected = ingest("fgnet", root, margin=margin, progress=False)
        assert len(table) == 3 and not len(rejected)
        write_table(table, in_face_folder / "meta" / "fgnet.csv")
        expected = DATASETS["fgnet"].margin if margin is None else margin
        assert crop_geometry(load_data("fgnet")) == {"margin": expected, "aligned": False}
    (in_face_folder / "fixed.py").write_text(
        "import numpy as np\nfrom faces.alignment import TEMPLATE\nfrom faces.detection import Face\n"
        "def detect(image):\n    return [Face((30, 40, 130, 150), 1.0, 100 * TEMPLATE + (30, 40))]\n"
    )
    other = {"geometry": CropGeometry(0.5, aligned=True), "detector": "fixed.py:detect"}
    table, rejected = ingest("fgnet", root, crop=True, margin=0.1, detector="fixed.py:detect", progress=False)
    assert len(table) == 3, rejected
    write_table(table, in_face_folder / "meta" / "fgnet.csv")
    assert crop_geometry(load_data("fgnet")) == {"margin": 0.1, "aligned": True}
    # The user's own list of such crops is understood too.
    own = pd.read_csv(in_face_folder / "meta" / "fgnet.csv")[["img_path", "age"]]
    own.to_csv(root / "own.csv", index=False)
    assert crop_geometry(load_data("csv", csv=str(root / "own.csv"))) == {"margin": 0.1, "aligned": True}
    # As if a later run had been stopped after its first crop.
    data = load_data("fgnet")
    cut_crops(table.head(1).assign(img_path="images/001A30.JPG"), root, **other, progress=False)
    with pytest.raises(UserError, match="1 of 3 images in data/FGNET changed since meta/fgnet"):
        load_data("fgnet")
    with pytest.raises(UserError, match=r"cut in different ways \(margin 0.1, aligned; margin 0.5, aligned\)"):
        crop_geometry(data)


def test_groups_that_accuracy_is_measured_by():
    fairface, adience = group_edges(("fairface",)), group_edges(("adience",))
    assert fairface == (0, 3, 10, 20, 30, 40, 50, 60, 70) and adience == (0, 4, 7, 14, 24, 36, 46, 57)
    assert group_edges(("utkface", "fairface")) == adience
