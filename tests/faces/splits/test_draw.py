"""Leak-free splits: persons and duplicated images stay in one part, whatever else the table holds."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.errors import UserError
from faces.labels import SPLITS
from faces.splits.draw import group_names, leak_report, split_table


def make_table(identities=None, hashes=None, given_split=None):
    columns = {"identity": identities, "sha256": hashes, "split": given_split}
    columns = {name: pd.Series(values, dtype=object) for name, values in columns.items() if values is not None}
    count = max(len(values) for values in columns.values())
    return pd.DataFrame({"img_path": [f"{index}.jpg" for index in range(count)], **columns})


def many_images(count=5000):
    return pd.DataFrame({"img_path": [f"{index}.jpg" for index in range(count)]})


KEYS = st.none() | st.sampled_from("abcdefgh")
TABLES = st.lists(st.tuples(KEYS, KEYS), min_size=1, max_size=30).map(lambda rows: make_table(*map(list, zip(*rows))))


@settings(deadline=None)
@given(TABLES, st.integers(0, 9))
def test_no_person_and_no_content_is_in_two_parts(table, seed):
    split = split_table(table, val_share=0.3, test_share=0.3, seed=seed)
    assert split.isin(SPLITS).all() and split.index.equals(table.index)
    report = leak_report(table, split)
    assert report["shared_identities"] == 0 and report["shared_hashes"] == 0
    assert sum(report["rows"].values()) == len(table)


def naive_groups(table):
    """Connected components by repeated merging, to compare with."""
    label = list(range(len(table)))
    for _ in range(len(table)):
        for column in ("identity", "sha256"):
            for key in table[column].dropna().unique():
                rows = np.flatnonzero(table[column] == key)
                smallest = min(label[row] for row in rows)
                for row in rows:
                    label[row] = smallest
    return label


@settings(deadline=None)
@given(TABLES)
def test_groups_are_the_connected_components(table):
    names, expected = group_names(table), naive_groups(table)
    for first in range(len(table)):
        for second in range(first):
            assert (names[first] == names[second]) == (expected[first] == expected[second])


def test_a_duplicate_ties_two_persons_together():
    table = make_table(["x", "x", "y", None, "z"], ["1", "2", "2", "3", "3"])
    assert group_names(table).tolist() == ["identity:x"] * 3 + ["identity:z"] * 2


def test_image_without_keys_is_a_group_of_its_own():
    assert group_names(many_images(2)).tolist() == ["img_path:0.jpg", "img_path:1.jpg"]
    assert group_names(make_table([None, "x"], [None, None])).tolist() == ["img_path:0.jpg", "identity:x"]


@settings(deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(table, random):
    order = list(range(len(table)))
    random.shuffle(order)
    split = split_table(table, val_share=0.3, test_share=0.3)
    shuffled = split_table(table.iloc[order], val_share=0.3, test_share=0.3)
    pd.testing.assert_series_equal(shuffled, split.iloc[order])


def test_other_rows_do_not_matter():
    table = many_images()
    pd.testing.assert_series_equal(split_table(table[100:200]), split_table(table)[100:200])
    table = make_table(["a", "b"] * 50, [str(index) for index in range(100)])
    pd.testing.assert_series_equal(split_table(table[:10]), split_table(table)[:10])


def test_split_never_changes_between_versions():
    # First 64 bits of sha256("0|img_path:<i>.jpg") over 2^64, computed with the command sha256sum.
    expected = ["test", "val", "test", "val", "train", "test", "train", "val", "test", "train", "test", "val"]
    assert split_table(many_images(12), val_share=0.3, test_share=0.3).tolist() == expected


def test_shares_are_met():
    share = split_table(many_images(), val_share=0.2, test_share=0.1).value_counts(normalize=True)
    # Standard error of a share of .2 of 5000: .006.
    assert abs(share["val"] - 0.2) < 0.02 and abs(share["test"] - 0.1) < 0.02


def test_share_may_be_zero():
    assert set(split_table(many_images(500), val_share=0, test_share=0)) == {"train"}
    assert set(split_table(many_images(500), val_share=0)) == {"train", "test"}
    assert set(split_table(many_images(500), test_share=0)) == {"train", "val"}


def test_seed_changes_the_split():
    assert not split_table(many_images(500)).equals(split_table(many_images(500), seed=1))


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (1.2, 0), (float("nan"), 0.1)])
def test_impossible_shares(val, test):
    with pytest.raises(UserError, match="sum below 1"):
        split_table(many_images(3), val_share=val, test_share=test)


def test_given_split_is_honoured():
    filled = ["test", "val", "train", None] * 25
    table = many_images(100).assign(split=filled)
    split = split_table(table)
    known = table["split"].notna()
    assert split[known].tolist() == table["split"][known].tolist()
    pd.testing.assert_series_equal(split[~known], split_table(many_images(100))[~known])


def test_unassigned_rows_follow_their_group(caplog):
    table = make_table(list("aaabbb"), given_split=["test", None, None, None, "val", None])
    assert split_table(table).tolist() == ["test"] * 3 + ["val"] * 3
    assert not caplog.records


def test_given_split_that_tears_a_person_apart_is_reported_and_kept(caplog):
    table = make_table(list("aaabb"), given_split=["test", "train", None, "val", "val"])
    split = split_table(table)
    assert split.tolist() == ["test", "train", "train", "val", "val"]
    assert "puts 1 persons or duplicated images into more than one part" in caplog.text
    assert leak_report(table, split)["shared_identities"] == 1


def test_unknown_given_split():
    with pytest.raises(UserError, match="Unknown split 'valid'"):
        split_table(many_images(2).assign(split=["valid", None]))


def test_leak_report_counts():
    table = make_table(["a", "a", "b", "b", None, None], ["1", "2", "3", "4", "5", "5"])
    report = leak_report(table, ["train", "test", "val", "val", "train", "val"])
    assert report == {
        "rows": {"train": 2, "val": 3, "test": 1},
        "groups": {"train": 2, "val": 2, "test": 1},
        "shared_identities": 1,
        "shared_hashes": 1,
    }


def test_empty_table():
    table = many_images(0)
    assert split_table(table).tolist() == []
    assert leak_report(table, [])["rows"] == {"train": 0, "val": 0, "test": 0}
