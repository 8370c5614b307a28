"""UTKFace as it was collected: the labels are those of the aligned set."""

from faces.datasets import utkface_wild


def test_utkface_wild_has_the_names_of_utkface(tmp_path):
    for name in ("part1/26_0_0_20170116184028385.jpg", "part2/53__0_20170116184028385.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    table, rejected = utkface_wild.DATA_SET.read(tmp_path)
    assert table["img_path"].tolist() == ["part1/26_0_0_20170116184028385.jpg"]
    assert rejected["reason"].tolist() == ["malformed name: gender '' is neither 0 nor 1"]
    assert utkface_wild.DATA_SET.detect and not utkface_wild.DATA_SET.aligned
