"""The synthetic sample: drawn once, and again where it must be."""

import pandas as pd
import pytest

from faces.datasets import sample
from faces.errors import UserError
from faces.labels import GENDERS


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


def test_sample_is_drawn_once(tmp_path):
    table, rejected = sample.read(tmp_path, count=6, seed=3)
    assert len(table) == 6 and rejected.empty and set(table["gender"]) == set(GENDERS)
    drawn = snapshot(tmp_path)
    assert len(drawn) == 6
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again, _ = sample.read(tmp_path, count=6, seed=3)
    pd.testing.assert_frame_equal(again, table)
    fewer, _ = sample.read(tmp_path, count=4, seed=3)
    pd.testing.assert_frame_equal(fewer, table[:4])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_sample_is_drawn_again_for_another_seed_a_larger_count_or_a_lost_face(tmp_path):
    table, _ = sample.read(tmp_path, count=3, seed=0)
    drawn = snapshot(tmp_path)
    (tmp_path / table["img_path"][1]).unlink()
    sample.read(tmp_path, count=3, seed=0)
    assert snapshot(tmp_path) == drawn
    larger, _ = sample.read(tmp_path, count=5, seed=0)
    pd.testing.assert_frame_equal(larger[:3], table)
    other, _ = sample.read(tmp_path, count=5, seed=1)
    assert len(snapshot(tmp_path)) == 5 and snapshot(tmp_path)[table["img_path"][0]] != drawn[table["img_path"][0]]
    assert not other["age"].equals(larger["age"])


@pytest.mark.parametrize("name", ["000001.jpg", sample.LABELS, "checksums.sha256"])
def test_sample_is_drawn_again_where_a_file_of_it_is_another_one(name, tmp_path):
    table, _ = sample.read(tmp_path, count=3, seed=0)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changed in (drawn[name][:-3], drawn[name].replace(b"0", b"1"), drawn["000000.jpg"], b""):
        (tmp_path / name).write_bytes(changed)
        pd.testing.assert_frame_equal(sample.read(tmp_path, count=3, seed=0)[0], table)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == drawn


def test_interrupted_redraw_is_not_taken_for_the_old_sample(tmp_path, monkeypatch):
    sample.read(tmp_path, count=3, seed=0)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("faces.sample.make_sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sample.read(tmp_path, count=3, seed=1)
    assert not (tmp_path / sample.LABELS).exists()


def test_sample_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="count 0"):
        sample.read(tmp_path, count=0)


@pytest.mark.parametrize("content", [b"", b"img_path,age\na.jpg,3\n", b"\xff\xfe\0\0", b'"'])
def test_sample_is_drawn_where_another_file_has_the_name_of_its_labels(tmp_path, content):
    (tmp_path / sample.LABELS).write_bytes(content)
    assert len(sample.read(tmp_path, count=2)[0]) == 2


def test_sample_into_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Expected a folder that can be written\. Received: .*file"):
        sample.read(tmp_path / "file", count=2)
