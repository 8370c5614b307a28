"""Protocols: each fold is what the paper says, the same on every machine, and refuses a table that does not fit."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.errors import UserError
from faces.labels import SPLITS
from faces.splits.draw import leak_report, split_table
from faces.splits.protocols import PROTOCOLS, SplitOptions, make_folds


def make_table(count=600, persons=60, seed=0):
    """A table that fits every protocol: persons of about ten photos each, published parts and folds by person."""
    rng = np.random.default_rng(seed)
    person = rng.integers(persons, size=count)
    return pd.DataFrame(
        {
            "img_path": [f"{index}.jpg" for index in range(count)],
            "age": rng.integers(0, 90, count).astype(float),
            "identity": [f"p{number:02}" for number in person],
            "split": np.take(SPLITS, np.where(person < 6, 2, np.where(person < 12, 1, 0))),
            "fold": [str(number % 5) for number in person],
            "sha256": [f"{index:064x}" for index in range(count)],
        }
    )


def database(name):
    return next(iter(PROTOCOLS[name].data_sets), "csv")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_gives_parts_of_all_three_kinds(name):
    table = make_table()
    folds = make_folds(name, table, db=database(name))
    assert len({fold.name for fold in folds}) == len(folds)
    for fold in folds:
        assert fold.split.index.equals(table.index)
        assert set(fold.split.dropna()) == set(SPLITS)
    assert PROTOCOLS[name].about.endswith(".") and len(PROTOCOLS[name].about) > 60


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_order_of_the_rows_does_not_matter(name):
    table = make_table(200, 40)
    shuffled = table.sample(frac=1, random_state=1)
    for fold, again in zip(make_folds(name, table), make_folds(name, shuffled), strict=True):
        assert fold.name == again.name
        pd.testing.assert_series_equal(fold.split, again.split.reindex(table.index), check_names=False)


@pytest.mark.parametrize("name", sorted(set(PROTOCOLS) - {"morph_random"}))
def test_no_person_is_in_two_parts(name):
    table = make_table()
    if name in ("coral_utkface", "multi_scale_utkface"):
        table = table.drop(columns="identity")  # UTKFace has none
    for fold in make_folds(name, table):
        report = leak_report(table, fold.split)
        assert report["shared_identities"] == 0 and report["shared_hashes"] == 0


def test_random_morph_shares_persons_but_not_copies():
    table = make_table()
    table["sha256"] = [f"{index // 2:064x}" for index in range(len(table))]
    (fold,) = make_folds("morph_random", table, db="morph")
    report = leak_report(table, fold.split)
    assert report["shared_identities"] > 20 and report["shared_hashes"] == 0
    assert 0.15 < (fold.split == "test").mean() < 0.25


def test_default_is_the_split_of_the_table():
    table = make_table().drop(columns="split")
    (fold,) = make_folds("default", table, SplitOptions(val_share=0.2, test_share=0.3, seed=4))
    pd.testing.assert_series_equal(fold.split, split_table(table, val_share=0.2, test_share=0.3, seed=4))


@pytest.mark.parametrize(("name", "test_share"), [("coral_utkface", 3287 / 16433), ("multi_scale_utkface", 0.2349)])
def test_utkface_protocols_take_ages_21_to_60(name, test_share):
    table = make_table(6000).drop(columns=["identity", "split", "fold"])
    (fold,) = make_folds(name, table, db="utkface")
    used = fold.split.notna()
    assert used.equals(table["age"].between(21, 60))
    assert (fold.split[used] == "test").mean() == pytest.approx(test_share, abs=0.025)  # 2 sigma of 2,700 rows: .016
    train = (fold.split[used] == "train").mean()
    expected = {"coral_utkface": 0.8 * 0.9, "multi_scale_utkface": 9593 / 13931}[name]
    assert train == pytest.approx(expected, abs=0.025)


def test_lopo_tests_each_person_once_and_never_selects_on_them():
    table = make_table(200, 20)
    folds = make_folds("fgnet_lopo", table, db="fgnet")
    assert [fold.name for fold in folds] == sorted(table["identity"].unique())
    tested = pd.concat([fold.split == "test" for fold in folds], axis=1).sum(axis=1)
    assert (tested == 1).all()
    for fold in folds:
        assert set(table["identity"][fold.split == "test"]) == {fold.name}
        assert fold.name not in set(table["identity"][fold.split == "val"])


def test_published_folds_rotate():
    table = make_table()
    folds = make_folds("adience_folds", table, db="adience")
    assert [fold.name for fold in folds] == list("01234")
    for fold in folds:
        assert ((fold.split == "test") == (table["fold"] == fold.name)).all()


def test_k_fold_tests_each_row_once_in_folds_of_about_equal_size():
    table = make_table(3000, 400)
    folds = make_folds("k_fold", table, SplitOptions(folds=4))
    assert [fold.name for fold in folds] == list("0123")
    tested = pd.concat([fold.split == "test" for fold in folds], axis=1)
    assert (tested.sum(axis=1) == 1).all()
    assert (tested.mean() - 0.25).abs().max() < 0.06  # 2.5 standard deviations of a share of 400 persons: .054
    other = make_folds("k_fold", table, SplitOptions(folds=4, seed=1))
    assert not other[0].split.equals(folds[0].split)


@pytest.mark.parametrize("name", ["default", "k_fold", "fgnet_lopo", "coral_utkface", "morph_subject_exclusive"])
def test_a_smaller_table_keeps_the_parts_of_its_rows(name):
    """A checkpoint trained on a part of a set (data.limit) must find the same test part in all of it."""
    table = make_table(600, 60)
    kept = table[~table["identity"].isin(["p07", "p08"])]
    folds = {fold.name: fold.split for fold in make_folds(name, table)}
    for fold in make_folds(name, kept):
        pd.testing.assert_series_equal(fold.split, folds[fold.name][kept.index], check_names=False)


def test_a_copy_of_a_tested_image_under_another_name_is_not_trained_on():
    table = make_table(200, 20)
    table.loc[[3, 100], "sha256"] = "same"
    table.loc[[3, 100], "identity"] = ["p01", "p02"]
    for fold in make_folds("fgnet_lopo", table):
        report = leak_report(table, fold.split)
        if fold.name in ("p01", "p02"):
            assert report["shared_hashes"] == 0 and fold.split[[3, 100]].isna().sum() == 1
        else:
            assert fold.split.notna().all()


def test_fairface_tests_its_published_validation_part():
    table = make_table()
    table["split"] = table["split"].replace("test", "train")
    (fold,) = make_folds("fairface", table, db="fairface")
    assert ((fold.split == "test") == (table["split"] == "val")).all()
    assert 0.01 < (fold.split == "val").mean() < 0.2  # a tenth of 54 persons


def test_published_parts_stay_what_they_are():
    table = make_table()
    for name in ("appa_real", "clap2015", "clap2016", "cacd_celebrities"):
        (fold,) = make_folds(name, table)
        assert fold.split.tolist() == table["split"].tolist()


def refused(name, table, options=None, **arguments):
    with pytest.raises(UserError) as error:
        make_folds(name, table, options, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_protocol():
    assert "Unknown protocol 'lopo'" in refused("lopo", make_table()) and "fgnet_lopo" in refused("lopo", make_table())


def test_protocol_of_another_data_set():
    assert "is for cacd" in refused("cacd_celebrities", make_table(), db="morph")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fgnet_lopo", {"identity": None}, "needs the column identity"),
        ("morph_subject_exclusive", {"identity": ["a"] + [None] * 599}, "identity in every row, 599 of 600 have none"),
        ("adience_folds", {"fold": None}, "needs the column fold"),
        ("fgnet_lopo", {"identity": ["a"] * 600}, "2 or more folds"),
        ("appa_real", {"split": ["train"] * 600}, "val is missing"),
        ("appa_real", {"split": None}, "train is missing, held: none"),
        ("fairface", {"split": ["val"] * 600}, "train is missing"),
        ("clap2015", {"split": ["dev", "train", "val", "test"] * 150}, "unknown part 'dev'"),
        ("coral_utkface", {"age": [5.0] * 600}, "no row has an age in 21..60"),
        ("coral_utkface", {"age": None}, "needs the column age"),
        ("k_fold", {"identity": ["a", "b"] * 300, "sha256": None}, "2 persons or images fill"),
        ("adience_folds", {"fold": ["0", "1"] * 300}, "needs the folds 0, 1, 2, 3, 4, held: 0, 1"),
    ],
)
def test_a_table_that_does_not_fit(name, change, message):
    table = make_table().assign(**{column: pd.Series(values, dtype=object) for column, values in change.items()})
    assert message in refused(name, table)


def test_a_celebrity_in_two_parts():
    table = make_table()
    table.loc[table.index[table["split"] == "test"][0], "split"] = "train"
    assert "is in more than one part" in refused("cacd_celebrities", table, db="cacd")


@pytest.mark.parametrize("folds", [1, 0, -3, 2.5, True])
def test_impossible_number_of_folds(folds):
    assert "data.folds" in refused("k_fold", make_table(), SplitOptions(folds=folds))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12)), min_size=12, max_size=60),
    st.sampled_from(["fgnet_lopo", "k_fold", "morph_subject_exclusive", "default"]),
    st.integers(0, 3),
)
def test_folds_never_leak(rows, name, seed):
    table = pd.DataFrame(rows, columns=["identity", "content"])
    table["img_path"] = [f"{index}.jpg" for index in range(len(table))]
    if table["identity"].nunique() < 2:
        return
    try:
        folds = make_folds(name, table, SplitOptions(val_share=0.3, seed=seed, folds=2))
    except UserError as error:
        assert "fill 1 of 2 folds" in str(error)  # few persons may all fall into one fold
        return
    for fold in folds:
        assert leak_report(table, fold.split)["shared_identities"] == 0
        assert fold.split.isin(SPLITS).all()


@pytest.fixture(scope="module")
def fgnet(tmp_path_factory):
    if "FACES_TEST_DATA" not in os.environ:
        pytest.skip("FACES_TEST_DATA names no folder of real faces")
    from faces.datasets import DATASETS

    folder = tmp_path_factory.mktemp("fgnet")
    with tarfile.open(Path(os.environ["FACES_TEST_DATA"]) / "fgnet_sample.tar") as archive:
        archive.extractall(folder, filter="data")
    table, rejected = DATASETS["fgnet"].read(folder / "FGNET")
    return table, rejected


def test_real_fgnet_has_one_fold_for_each_of_its_subjects(fgnet):
    table, rejected = fgnet
    assert len(table) + len(rejected) == 191
    folds = make_folds("fgnet_lopo", table, db="fgnet")
    assert [fold.name for fold in folds] == [f"{number:03}" for number in range(1, 16)]
    for fold in folds:
        tested = [Path(path).name[:3] for path in table["img_path"][fold.split == "test"]]
        assert set(tested) == {fold.name} and len(tested) >= 6
        others = {Path(path).name[:3] for path in table["img_path"][fold.split.isin(["train", "val"])]}
        assert fold.name not in others and len(others) == 14
    sizes = [int((fold.split == "test").sum()) for fold in folds]
    assert sum(sizes) == len(table)
