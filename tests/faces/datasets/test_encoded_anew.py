"""Every reader finds images that somebody encoded anew, under whatever suffix `read_rgb` reads."""

import pytest

from faces.datasets import DATASETS
from faces.picture_names import SUFFIXES, without_suffix
from tests.faces.datasets import test_cacd, test_fgnet, test_imdb_clean, test_imdb_wiki
from tests.faces.datasets.published_layouts import LAYOUTS, build


def make_named(root, *names):
    build(root, names, {})


def make_imdb_clean(root):
    test_imdb_clean.write(root, "train", test_imdb_clean.ROW)
    test_imdb_clean.add_images(root, test_imdb_clean.ROW.split(",")[0])


def make_imdb_wiki(root, name):
    test_imdb_wiki.save(root, [{}], name)
    make_named(root, "17/10000217_1981-05-05_2009.jpg")


def make_fgnet(root):
    (root / "images").mkdir()
    (root / "points").mkdir()
    test_fgnet.add(root, "001A05.JPG", test_fgnet.points_text(test_fgnet.POINTS))


def make_csv(root):
    (root / "labels.csv").write_text("img_path,age\nfaces/1.jpg,20\n")
    make_named(root, "faces/1.jpg")


def make_layout(root, name):
    _, file, text, images, _ = LAYOUTS[name]
    build(root, images, {file: text.encode()})


MAKERS = {
    "adience": lambda root: make_layout(root, "adience"),
    "afad": lambda root: make_named(root, "25/112/671487-0.jpg"),
    "agedb": lambda root: make_named(root, "0_MariaCallas_35_f.jpg"),
    "appa_real": lambda root: make_layout(root, "appa_real"),
    "cacd": lambda root: test_cacd.make(root, [test_cacd.image(1, 53), test_cacd.image(3, 30)]),
    "clap2015": lambda root: make_layout(root, "clap"),
    "clap2016": lambda root: make_layout(root, "clap"),
    "csv": make_csv,
    "fairface": lambda root: make_layout(root, "fairface"),
    "fgnet": make_fgnet,
    "imdb": lambda root: make_imdb_wiki(root, "imdb"),
    "imdb_clean": make_imdb_clean,
    "morph": lambda root: make_layout(root, "morph"),
    "utkface": lambda root: make_named(root, "1/26_1_2_20170116184024662.jpg.chip.jpg"),
    "utkface_wild": lambda root: make_named(root, "part1/26_1_2_20170116184024662.jpg"),
    "wiki": lambda root: make_imdb_wiki(root, "wiki"),
}


def read(name, root):
    options = {"csv": root / "labels.csv"} if name == "csv" else {}
    return DATASETS[name].read(root, **options)


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"sample"}))  # the sample is drawn
@pytest.mark.parametrize("suffix", [".webp", ".PNG", ".avif", ".jfif", ".jp2"])
def test_images_encoded_anew_are_found(tmp_path, name, suffix):
    MAKERS[name](tmp_path)
    expected, rejected_before = read(name, tmp_path)
    assert len(expected)
    there = {
        img_path
        for img_path in [*expected["img_path"], *rejected_before["img_path"]]
        if (tmp_path / img_path).is_file()
    }
    for img_path in there:
        (tmp_path / img_path).rename(tmp_path / (without_suffix(img_path) + suffix))
    table, rejected = read(name, tmp_path)
    for before, after in zip(expected["img_path"], table["img_path"], strict=True):
        assert after == (without_suffix(before) + suffix if before in there else before)
    assert table["img_path"].map(without_suffix).tolist() == expected["img_path"].map(without_suffix).tolist()
    labels = [column for column in expected if column != "img_path"]
    assert table[labels].equals(expected[labels])
    assert rejected["reason"].tolist() == rejected_before["reason"].tolist()


def test_every_data_set_is_here():
    assert set(MAKERS) == set(DATASETS.keys() - {"sample"})
    assert ".webp" in SUFFIXES
