"""Runs of several folds: every image tested once by a model that never saw its person, stopped and resumed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import keras_impl.experiment.folds as cross_validation
from faces.errors import UserError
from faces.label_files.checksums import write_checksums
from faces.splits.protocols import Fold
from keras_impl.checkpoint import load_model
from keras_impl.experiment.fold import READ_AGAIN, check_same_division
from keras_impl.experiment.run import run

FAST = ("train.epochs=1", "train.steps_per_epoch=1", "run.bootstrap=20", "train.verbose=0")


@pytest.fixture
def persons(in_face_folder):
    """Overrides of a CSV set of 24 faces of four persons."""
    table = pd.read_csv("meta/sample.csv").head(24).drop(columns="sha256")
    table.assign(identity=[f"{index % 4 + 1:03}" for index in range(24)]).to_csv("faces.csv", index=False)
    return ("data.db=csv", "data.csv=faces.csv", "data.root=data/sample", "data.protocol=fgnet_lopo", *FAST)


def fold_folders(folder):
    return sorted(path for path in folder.glob("fold_*"))


@pytest.mark.slow
def test_leave_one_person_out(train_in_process, persons):
    folder = train_in_process(*persons, "data.val_share=0.4", "run.pictures=true")
    folds = fold_folders(folder)
    assert [path.name for path in folds] == ["fold_001", "fold_002", "fold_003", "fold_004"]
    together = pd.read_csv(folder / "test" / "predictions.csv", dtype={"identity": str, "fold": str})
    assert len(together) == 24 and together["img_path"].is_unique
    assert (together["identity"] == together["fold"]).all()
    for path in folds:
        split = pd.read_csv(path / "split.csv").merge(pd.read_csv("faces.csv", dtype={"identity": str}), on="img_path")
        tested = split["split"] == "test"
        assert set(split["identity"][tested]) == {path.name.removeprefix("fold_")}
        assert json.loads((path / "leak_report.json").read_text())["shared_identities"] == 0
        assert load_model(path / "model.keras").provenance["fold"] == path.name.removeprefix("fold_")
    metrics = json.loads((folder / "metrics.json").read_text())
    error = (together["predicted_age"] - together["age"]).abs()
    assert metrics["test"]["age_mae"]["value"] == pytest.approx(error.mean(), rel=1e-5)
    each = error.groupby(together["fold"]).mean()
    over_folds = metrics["over_folds"]["test_age_mae"]
    assert over_folds["mean"] == pytest.approx(each.mean(), rel=1e-5)
    assert over_folds["std"] == pytest.approx(each.std(ddof=1), rel=1e-5) and over_folds["folds"] == 4
    assert (folder / "test" / "report.html").is_file() and (folder / "run.json").is_file()


@pytest.mark.slow
def test_a_stopped_run_goes_on_fold_by_fold(run_config, persons, monkeypatch):
    values, text = run_config(*persons)
    train = cross_validation.run_fold
    trained = []

    def stop_at_the_third(values, data, fold, *arguments, **options):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(fold.name)
        return train(values, data, fold, *arguments, **options)

    monkeypatch.setattr(cross_validation, "run_fold", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(values, config_text=text)
    monkeypatch.setattr(cross_validation, "run_fold", train)
    values["train"]["resume"] = True
    kept = {path: (path / "model.keras").stat().st_mtime_ns for path in fold_folders(next(Path("runs").iterdir()))[:2]}
    assert trained == ["001", "002"] and len(kept) == 2
    folder = run(values, config_text=text.replace("resume: false", "resume: true"))
    assert len(fold_folders(folder)) == 4 and {path.parent for path in kept} == {folder}
    for path, time in kept.items():
        assert (path / "model.keras").stat().st_mtime_ns == time
    assert len(pd.read_csv(folder / "test" / "predictions.csv")) == 24


def test_a_table_that_changed_is_not_resumed(run_config, persons, monkeypatch):
    values, text = run_config(*persons)
    train = cross_validation.run_fold

    def stop_after_it(*arguments, **options):
        train(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_validation, "run_fold", stop_after_it)
    with pytest.raises(KeyboardInterrupt):
        run(values, config_text=text)
    monkeypatch.setattr(cross_validation, "run_fold", train)
    table = pd.read_csv("faces.csv", dtype=str)
    table.loc[0, "identity"] = "004"
    table.to_csv("faces.csv", index=False)
    values["train"]["resume"] = True
    with pytest.raises(UserError, match="The data changed since"):
        run(values, config_text=text.replace("resume: false", "resume: true"))


@pytest.mark.parametrize("name", ["../../x", "a/b", "a b", "..", "é" * 300])
def test_folder_of_a_fold_stays_in_that_of_the_run(name, tmp_path):
    folder = tmp_path / cross_validation.folder_name(Fold(name, None))
    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()
    assert cross_validation.folder_name(Fold(name + "'", None)) != folder.name


def test_one_fold_only(train_in_process, persons):
    folder = train_in_process(*persons, "data.fold='003'")
    assert not fold_folders(folder) and (folder / "model.keras").is_file()
    tested = pd.read_csv(folder / "test" / "predictions.csv", dtype={"identity": str})
    assert set(tested["identity"]) == {"003"}


def test_a_wrong_value_leaves_no_folder(run_config, persons):
    values, text = run_config(*persons, "method.params.sigma=3")
    with pytest.raises(UserError, match="sigma"):
        run(values, config_text=text)
    values, text = run_config(*persons[:3], "data.protocol=cacd_celebrities")
    with pytest.raises(UserError, match="cacd_celebrities does not fit the table of csv"):
        run(values, config_text=text)
    assert not Path("runs").exists()


def test_two_sets_with_weights(train_in_process, persons):
    folder = train_in_process("data.db=[sample,csv]", *persons[1:3], *FAST, "data.db_weights=[1,0.5]", "data.limit=40")
    assert "sample+csv" in folder.name
    split = pd.read_csv(folder / "split.csv")
    assert len(split) == 64 and split["split"].isna().sum() > 0  # copies of tested faces are not trained on
    assert load_model(folder / "model.keras").provenance["db"] == ["sample", "csv"]


@pytest.mark.parametrize("name", ["metrics.json", "run.json", "test/predictions.csv", "split.csv"])
def test_damaged_result_of_a_fold_is_not_used(name, tmp_path):
    (tmp_path / "test").mkdir()
    for each in ("metrics.json", "run.json"):
        (tmp_path / each).write_text('{"seconds": 12.5}')
    for each in ("test/predictions.csv", "split.csv"):
        (tmp_path / each).write_text("img_path,split\na.jpg,test\n")
    write_checksums(tmp_path, READ_AGAIN)
    assert cross_validation._results(tmp_path) == ({"seconds": 12.5},) * 2
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"s", b"r", 1))
    with pytest.raises(UserError, match=rf"{name} was damaged, .* To train this fold again, delete {tmp_path} and"):
        cross_validation._results(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"img_path\na.jpg\n", b'img_path,split\n"a', b"img_path,split\na.jpg,train,x\n"]
)
def test_damaged_split_of_a_run_is_one_line(content, tmp_path):
    """Without a checksum, as an earlier version wrote it."""
    (tmp_path / "split.csv").write_bytes(content)
    data = SimpleNamespace(table=pd.DataFrame({"img_path": ["a.jpg"]}))
    fold = Fold("", pd.Series(["train"]))
    with pytest.raises(UserError, match=r"split\.csv|The data changed"):
        check_same_division(data, fold, tmp_path, True)
    (tmp_path / "split.csv").write_text("img_path,split\na.jpg,train\n")
    check_same_division(data, fold, tmp_path, True)
