"""train.py as a user runs it: what is on the screen, what is in the run folder, and what the other options add."""

import json
import os
import re

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from keras_impl.backbones import BACKBONES
from keras_impl.checkpoint import load_model
from keras_impl.predictor import Predictor
from tests.configurations import CONFIG

SHORT = ("model.img_size=32", "data.limit=60", "train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=8")


def test_nothing_but_the_run_folder_is_written(trained):
    assert sorted(path.name for path in trained.folder.iterdir()) == ["data", "keras", "meta", "runs", "shadow"]
    files = {path.relative_to(trained.run).as_posix() for path in trained.run.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("tensorboard/")}
    pictures = ("predicted_vs_true.png", "error_by_age.png")
    report = ("metrics.json", "predictions.csv", "groups.csv", "report.html", *pictures)
    assert files - events == {
        "checksums.sha256",
        "config.yaml",
        "history.csv",
        "leak_report.json",
        "learning_curves.png",
        "metrics.json",
        "model.keras",
        "run.json",
        "split.csv",
        *(f"{part}/{name}" for part in ("val", "test") for name in report),
    }
    assert trained.run.name.endswith("_sample_MobileNetV3Small_cross_entropy")


def test_start_without_a_download_says_so(trained):
    """model.weights=auto with no way out: the training starts from scratch, and screen and run folder tell."""
    sentence = "from scratch, the ImageNet weights cannot be had ("
    assert f"Weights: {sentence}" in trained.stdout
    assert json.loads((trained.run / "run.json").read_text())["weights"].startswith(sentence)


def test_progress_bar_shows_time_and_metrics(trained):
    screen = re.sub(r"\x1b\[\d+m|\x08", "", trained.stdout)
    assert "Epoch 1/2" in screen and "Epoch 2/2" in screen
    metrics = r"age_mae: \d+\.\d+ - gender_accuracy: [01]\.\d+ - loss: \d+\.\d+"
    time = r"[\d:]+(?:m?s)?"  # 140ms, 18s, and 1:02 where the first step waits for its graph on a busy machine
    # Behind the bar of an unfinished epoch stands the time it will still take.
    assert len(re.findall(rf"1/2 ━+ {time} {time}/step - {metrics}$", screen, re.MULTILINE)) == 2
    validation = r"val_age_mae: \d+\.\d+ - val_gender_accuracy: [01]\.\d+"
    assert len(re.findall(rf"2/2 ━+ {time} {time}/step - {metrics} - {validation}", screen)) == 2


def test_result_is_printed_with_intervals(trained):
    assert re.search(r"age MAE \(years\) +\d+\.\d+ +\d+\.\d+ to \d+\.\d+ +\d+ +\d+\.\d+", trained.stdout)
    assert trained.stdout.splitlines()[-1] == f"Checkpoint: runs/{trained.run.name}/model.keras"


def test_history_has_every_epoch(trained):
    history = pd.read_csv(trained.run / "history.csv")
    columns = {"age_mae", "gender_accuracy", "loss", "val_age_mae", "val_gender_accuracy", "val_loss", "learning_rate"}
    assert columns <= set(history.columns) and history["epoch"].tolist() == [1, 2]
    assert np.isfinite(history.to_numpy()).all()
    assert json.loads((trained.run / "run.json").read_text())["best_epoch"] == history["val_age_mae"].argmin() + 1


def test_pictures_are_pictures(trained):
    for name in ("learning_curves.png", "val/predicted_vs_true.png", "test/error_by_age.png"):
        picture = cv2.imread(str(trained.run / name))
        assert picture is not None and min(picture.shape[:2]) > 200 and picture.std() > 5


def test_tensorboard_has_the_curves(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = set()
    for folder in ("train", "validation"):
        events = EventAccumulator(str(trained.run / "tensorboard" / folder))
        events.Reload()
        tags |= {f"{folder}/{tag}" for tag in events.Tags()["tensors"]}
    assert {"train/epoch_age_mae", "validation/epoch_age_mae", "validation/epoch_gender_accuracy"} <= tags


def test_configuration_is_kept_whole(trained):
    config = yaml.safe_load((trained.run / "config.yaml").read_text())
    assert "hydra" not in config and config["train"]["steps_per_epoch"] == 2
    assert (config["model"]["model_name"], config["data"]["db"], config["train"]["seed"]) == (
        "MobileNetV3Small",
        "sample",
        0,
    )
    facts = json.loads((trained.run / "run.json").read_text())
    assert facts["overrides"]["train.epochs"] == "2" and facts["seed"] == 0 and facts["versions"]["keras"]


def test_checkpoint_predicts(trained):
    report = pd.read_csv(trained.run / "test" / "predictions.csv")
    files = [trained.folder / "data" / "sample" / name for name in report["img_path"]]
    prediction = Predictor.load(trained.run / "model.keras")(files)
    np.testing.assert_allclose(prediction["age"], report["predicted_age"], rtol=1e-4)
    np.testing.assert_allclose(prediction["gender"][:, 1], report["male_probability"], rtol=1e-4)


# === Slow ===


def start_offline(start, folder, *arguments, **environment):
    """train.py on the faces of `folder` without a way to the internet; the only run folder it made."""
    dead_end = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {"KERAS_HOME": str(folder / "keras"), **dead_end, **environment}
    done = start("train.py", *arguments, *SHORT, folder=folder, **environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (run,) = (folder / "runs").iterdir()
    return done, run


@pytest.mark.slow
@pytest.mark.backbone
def test_efficientnet_b3_by_one_word(start, tmp_path):
    """On a fresh clone: the faces are drawn and nothing is downloaded."""
    done, run = start_offline(start, tmp_path, "model.model_name=EfficientNetB3")
    assert "Drawing the synthetic sample set into data/sample" in done.stdout
    assert load_model(run / "model.keras").provenance["backbone"] == "EfficientNetB3"
    assert len(list((tmp_path / "data" / "sample").glob("*.jpg"))) == 2000


@pytest.mark.slow
@pytest.mark.backbone
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_trains_a_step(name):
    import keras

    from keras_impl.model import build_model

    model = build_model(name, image_size=64)
    # Without a graph: tracing these nets takes minutes, a step on four faces seconds.
    model.compile(keras.optimizers.SGD(0.001, global_clipnorm=1.0), run_eagerly=True)
    faces = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.float32)
    labels = {"age": np.full((4, 4), 30, np.float32), "gender": np.zeros(4, np.int32)}
    before = [np.array(variable) for variable in model.backbone.trainable_variables]
    result = model.train_on_batch(
        faces, labels, sample_weight={"age": np.ones(4), "gender": np.ones(4)}, return_dict=True
    )
    assert np.isfinite(list(result.values())).all()
    moved = [np.abs(np.subtract(a, b)).max() > 0 for a, b in zip(before, model.backbone.trainable_variables)]
    assert np.mean(moved) > 0.5
    assert np.isfinite(model.predict_faces(faces)["age"]).all()


@pytest.mark.slow
def test_wandb_gets_the_curves(start, in_face_folder):
    _, run = start_offline(
        start, in_face_folder, "wandb.project=faces", "wandb.name=first", WANDB_MODE="offline", WANDB_SILENT="true"
    )
    (record,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    assert b"val_age_mae" in content and b"gender_accuracy" in content and b"first" in content
    assert not (in_face_folder / "wandb").exists()


@pytest.mark.slow
def test_wandb_without_a_login(start, in_face_folder):
    away = {"HOME": str(in_face_folder), "WANDB_API_KEY": "", "WANDB_MODE": "online"}
    away |= dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = start("train.py", *SHORT, "model.weights=null", "wandb.project=faces", folder=in_face_folder, **away)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "error: wandb.project is set, but wandb cannot start:" in done.stderr and "WANDB_MODE=offline" in done.stderr
    assert list((in_face_folder / "runs").iterdir()) == []


@pytest.mark.slow
def test_keras_cv_augments(start, in_face_folder):
    _, run = start_offline(start, in_face_folder, "train.augment=keras_cv")
    assert np.isfinite(pd.read_csv(run / "history.csv").to_numpy()).all()


@pytest.mark.slow
def test_grid_leaves_one_table_and_picture_beside_its_runs(start, in_face_folder):
    _, sweep = start_offline(
        start, in_face_folder, "-m", "train.lr=0.005,0.001", "train.weight_decay=1e-5,0", "model.weights=null"
    )
    assert re.fullmatch(r"sweep_\d{8}-\d{6}", sweep.name)
    runs = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert runs == ["0", "1", "2", "3"] and all((sweep / run / "model.keras").is_file() for run in runs)
    table = pd.read_csv(sweep / "sweep.csv")
    swept = set(map(tuple, table[["train.lr", "train.weight_decay"]].to_numpy()))
    assert swept == {(0.005, 1e-5), (0.005, 0), (0.001, 1e-5), (0.001, 0)}
    assert table["val_age_mae"].is_monotonic_increasing and len(table) == 4
    for row in table.itertuples():
        assert json.loads((sweep / str(row.run) / "run.json").read_text())["val_age_mae"] == row.val_age_mae
    assert cv2.imread(str(sweep / "sweep.png")).std() > 5
    others = {"data", "meta", "runs"} | {name for name in os.listdir(in_face_folder) if name == "keras"}
    assert set(os.listdir(in_face_folder)) == others


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_explains_every_key(start, tmp_path, word):
    done = start("train.py", word, folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage: python train.py [key=value ...]")
    assert CONFIG.read_text(encoding="utf-8") in done.stdout
    assert list(tmp_path.iterdir()) == []
