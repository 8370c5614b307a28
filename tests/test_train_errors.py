"""Bad input to train.py: one line that says what was expected and what came, exit code 2, and nothing left behind."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.label_files.label_table import read_table, write_table
from tests.configurations import changed_values

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("model.weights=null", "model.img_size=32", "train.epochs=1", "train.verbose=0")


@pytest.fixture
def refused():
    """fn(*overrides) -> the one line that a training says when it refuses src/config.yaml with these changes."""
    from keras_impl.experiment.run import run

    def refuse(*overrides):
        values, text = changed_values(*overrides)
        with pytest.raises(UserError) as stopped:
            run(values, config_text=text)
        line = str(stopped.value)
        assert line and "\n" not in line
        return line

    return refuse


def write_labels(folder, text):
    (folder / "labels.csv").write_text(text)
    return ("data.db=csv", "data.csv=labels.csv", *QUICK)


def left_behind(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.iterdir())


# === Refused before anything is read ===


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("model.model_name=EfficientNetB99", ["Unknown backbone 'EfficientNetB99'", "EfficientNetB3", "VGG16"]),
        ("method.name=sorcery", ["Unknown method 'sorcery'", "cross_entropy", "coral"]),
        ("data.db=lagenda", ["Unknown data set 'lagenda'", "sample", "utkface", "csv"]),
        ("train.optimizer_name=adagard", ["Unknown optimizer 'adagard'", "sgd, adam, adamw"]),
        ("train.schedule=saw", ["Unknown schedule 'saw'", "constant", "cosine"]),
        ("train.augment=lots", ["train.augment must be one of opencv, device, keras_cv, none", "lots"]),
        ("train.mixed_precision=float8", ["train.mixed_precision must be one of auto, on, off", "float8"]),
        ("model.img_size=-5", ["Image size for MobileNetV3Small", ">= 32 pixels", "-5"]),
        ("model.img_size=96.5", ["whole number", "96.5"]),
        ("model.img_size=large", ["whole number", "large"]),
        ("model.outputs=[height]", ["model.outputs", "age, gender", "height"]),
        ("model.outputs=[]", ["model.outputs", "[]"]),
        ("model.outputs=[gender] train.gender_weight=0", ["train.gender_weight must be above 0", "gender only"]),
        ("model.weights=vggface", ["model.weights must be auto, imagenet, null or a .keras file", "vggface"]),
        ("model.weights=gone.keras", ["gone.keras does not exist"]),
        ("model.dropout=2", ["model.dropout", "2"]),
        ("model.batch_norm_momentum=high", ["model.batch_norm_momentum", "high"]),
        ("model.min_age=50 model.max_age=20", ["50", "20"]),
        ("method.decode=guess", ["decode must be one of", "expectation", "guess"]),
        ("method.name=dldl method.params.sigmaa=3", ["Unknown parameter 'sigmaa' of method dldl", "sigma"]),
        ("method.name=dldl method.params.sigma=wide", ["sigma of method dldl must be a number", "wide"]),
        ("method.name=mean_residue method.params.top_k=2.5", ["top_k of method mean_residue must be a whole", "2.5"]),
        ("method.name=mean_residue method.params.entropy=chaos", ["entropy must be one of paper, monotone", "chaos"]),
        ("method.name=huber method.params.beta=0", ["beta must be positive", "0"]),
        ("method.name=coral method.params.start=anywhere", ["start must be one of prior, published", "anywhere"]),
        ("method.name=coral method.params.bias=sorted", ["bias must be one of free, ordered", "sorted"]),
        ("method.name=coral method.params.importance_weights=heavy", ["importance_weights", "coral, niu", "heavy"]),
        ("method.name=or_cnn method.params.importance_weights=[1,2]", ["importance_weights needs 100 numbers", "2"]),
        (
            "method.name=corn method.params.normaliser=tasks",
            ["normaliser must be one of examples, classes, task_means"],
        ),
        ("method.name=balanced_mse method.params.variant=gain", ["variant must be one of bmc, gai, bni", "gain"]),
        ("method.name=deep_regression_forest method.params.depth=9", ["at least 255 units", "128"]),
        ("method.name=deep_regression_forest method.params.leaf_update_steps=0", ["leaf_update_steps", ">= 1", "0"]),
        ("method.name=soft_stagewise method.params.stage_activation=elu", ["stage_activation", "softmax, relu", "elu"]),
        ("weighting.scheme=fair", ["Unknown weighting scheme 'fair'", "none, inverse, sqrt_inverse"]),
        ("weighting.kernel=box", ["Unknown LDS kernel 'box'", "gaussian, triangular, laplace"]),
        ("weighting.kernel_size=4", ["odd whole number", "4"]),
        ("weighting.kernel_sigma=0", ["weighting.kernel_sigma must be a number > 0", "0"]),
        ("weighting.lds=maybe", ["weighting.lds must be true or false", "maybe"]),
        ("train.age_weight=0", ["train.age_weight must be a number > 0", "0"]),
        ("train.gender_focal_gamma=-1", ["train.gender_focal_gamma", "-1"]),
        ("train.gender_label_smoothing=1", ["train.gender_label_smoothing", "1"]),
        ("train.epochs=0", ["train.epochs must be a whole number >= 1", "0"]),
        ("train.epochs=2.5", ["train.epochs", "2.5"]),
        ("train.batch_size=0", ["train.batch_size must be a whole number >= 1", "0"]),
        ("model.batch_size=many", ["batch_size must be a whole number >= 1", "many"]),
        ("train.steps_per_epoch=-1", ["train.steps_per_epoch", "-1"]),
        ("train.early_stopping=0", ["train.early_stopping", "0"]),
        ("train.freeze_epochs=-1", ["train.freeze_epochs", "-1"]),
        ("train.lr=-0.1", ["train.lr must be", "-0.1"]),
        ("train.lr=fast", ["train.lr must be", "fast"]),
        ("train.lr=nan", ["train.lr must be", "nan"]),
        ("train.weight_decay=-1", ["train.weight_decay must", "-1"]),
        ("train.weight_decay=little", ["train.weight_decay must", "little"]),
        ("train.ema=2", ["train.ema", "2"]),
        ("train.clip_norm=-1", ["train.clip_norm", "-1"]),
        ("train.warmup_epochs=-1", ["train.warmup_epochs", "-1"]),
        ("train.warmup_epochs=long", ["train.warmup_epochs", "long"]),
        ("train.gender_weight=heavy", ["train.gender_weight", "heavy"]),
        ("train.seed=lucky", ["train.seed", "lucky"]),
        ("train.seed=-1", ["train.seed", "-1"]),
        ("train.verbose=loud", ["train.verbose", "loud"]),
        ("train.resume=perhaps", ["train.resume", "perhaps"]),
        ("augment.flip=2", ["augment.flip must be a number from 0 to 1", "2"]),
        ("augment.rotate=far", ["augment.rotate", "far"]),
        ("data.cache=tape", ["data.cache must be one of memory, disk, none", "tape"]),
        ("data.age_label=guessed", ["data.age_label must be one of real, apparent", "guessed"]),
        ("data.db=[]", ["data.db must name a data set"]),
        ("data.db=[sample,sample]", ["names a data set twice", "sample, sample"]),
        ("data.db_weights=[0]", ["data.db_weights", "0"]),
        ("data.protocol=lopo", ["Unknown protocol 'lopo'", "fgnet_lopo"]),
        ("data.protocol=fgnet_lopo", ["fgnet_lopo is for fgnet", "sample"]),
        ("data.protocol=k_fold data.folds=1", ["data.folds must be a whole number >= 2", "1"]),
        ("data.protocol=k_fold data.fold=7", ["has no fold '7'", "0, 1, 2, 3, 4"]),
        ("data.split_csv=gone.csv", ["gone.csv does not exist"]),
        ("data.limit=0", ["data.limit must be a whole number >= 1", "0"]),
        ("data.limit=few", ["data.limit", "few"]),
        ("data.val_share=0.7 data.test_share=0.5", ["shares", "0.7", "0.5"]),
        ("data.val_share=some", ["data.val_share must be a number", "some"]),
        ("run.bootstrap=0", ["run.bootstrap must be a whole number >= 1", "0"]),
        # A value of another kind.
        ("run.dir=true", ["run.dir must be a path", "True"]),
        ("model.outputs=1e308", ["model.outputs must be a list, each item one of age, gender", "1e+308"]),
        ("model.outputs=[age,age]", ["model.outputs must name age, gender or both", "['age', 'age']"]),
        ("method.name=[]", ["method.name must be text", "[]"]),
        ("method.params=3", ["method.params must be a mapping", "3"]),
        ("model.img_size=99999999999999999999", ["model.img_size must be a whole number", "99999999999999999999"]),
        ("model.min_age=true", ["model.min_age must be a whole number from 0 to 200", "True"]),
        ("model.dropout=true", ["model.dropout must be a number >= 0 and < 1", "True"]),
        ("train.lr=1e308", ["train.lr must be a number > 0 and <= 1000", "1e+308"]),
        ("train.tensorboard=xyz", ["train.tensorboard must be true or false", "'xyz'"]),
        ("train.verbose=true", ["train.verbose must be auto or a whole number from 0 to 2", "True"]),
        ("train.seed=99999999999", ["train.seed must be a whole number from 0 to 4294967295", "99999999999"]),
        ("wandb.project=1e308", ["wandb.project must be text or null", "1e+308"]),
        ("data.split_seed={a:1}", ["data.split_seed must be a whole number", "{'a:1': None}"]),
        ("data.root=.nan", ["data.root must be a path or null", "nan"]),
        ("data.db=[1]", ["data.db must be text or a list, each item text", "[1]"]),
        ("data.fold=1.5", ["data.fold must be text or a whole number or null", "1.5"]),
        ("data.db_weights=[1,2]", ["data.db_weights must have one item for each of sample", "[1.0, 2.0]"]),
        ("data.split_csv={}", ["data.split_csv must be a path or a mapping or null", "{}"]),
        ("run.bootstrap=99999999999999999999", ["run.bootstrap must be a whole number from 1 to 1000000"]),
    ],
)
def test_bad_value(refused, in_face_folder, override, parts):
    before = left_behind(in_face_folder)
    line = refused(*override.split())
    for part in parts:
        assert part in line
    assert left_behind(in_face_folder) == before


# === Data that is not there or not usable ===


def test_missing_table_names_the_commands(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused("data.db=utkface")
    assert "meta/utkface.csv does not exist" in line
    assert "./download.sh utkface && python create_db.py --db utkface" in line
    assert left_behind(tmp_path) == []


def test_missing_images_name_the_download(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "imdb.csv").write_text("img_path,age\na.jpg,30\n")
    line = refused("data.db=imdb")
    assert "data/imdb_crop does not exist" in line and "./download.sh imdb" in line
    assert left_behind(tmp_path) == ["meta"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["labels.csv is empty"]),
        ("img_path,age\n", ["no row below its header"]),
        ("img_path,age,gender\na.jpg,,\n", ["no label in any row", "age", "gender"]),
        ("img_path,age\na.jpg,old\n", ["line 2", "expected age in years", "'old'"]),
        ("img_path,age\na.jpg,-3\n", ["line 2", "0..130", "-3"]),
        ("img_path,gender\na.jpg,x\n", ["line 2", "female or male", "'x'"]),
        ("file,age\na.jpg,3\n", ["expected a column img_path", "file, age"]),
        ("img_path,age\na.jpg\n", ["line 2", "expected 2 cells, got 1"]),
        ("img_path,age\na.jpg,30\n", ["None of the 1 images", "not found"]),
    ],
)
def test_bad_table_of_the_user(refused, tmp_path, monkeypatch, text, parts):
    monkeypatch.chdir(tmp_path)
    line = refused(*write_labels(tmp_path, text))
    for part in parts:
        assert part in line
    assert left_behind(tmp_path) == ["labels.csv"]


def test_table_without_the_label_that_the_model_needs(refused, in_face_folder):
    table = read_table("meta/sample.csv")
    write_table(table.drop(columns="gender"), "meta/sample.csv")
    assert "No training row has a usable gender" in refused(*QUICK)
    assert left_behind(in_face_folder) == ["data", "meta"]


def test_csv_needs_its_file(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "needs the file of labels" in refused("data.db=csv")
    for name in ("gone.csv", "gone (1), b#c=d.csv", "C:\\faces\\gone (1).csv"):
        assert f"{name} does not exist" in refused("data.db=csv", f"data.csv={name}")
    assert left_behind(tmp_path) == []


def test_broken_images_are_rejected_and_training_goes_on(in_face_folder, train_in_process, caplog):
    images = in_face_folder / "data" / "sample"
    table = pd.read_csv("meta/sample.csv")
    names = table["img_path"].tolist()
    (images / names[3]).unlink()
    (images / names[7]).write_bytes((images / names[7]).read_bytes()[:200])
    (images / names[11]).write_text("not an image")
    (images / names[13]).write_bytes(b"")
    table.drop(columns="sha256").to_csv(images / "labels.csv", index=False)
    folder = train_in_process("data.db=csv", f"data.csv={images / 'labels.csv'}")
    assert "4 images cannot be read" in caplog.text
    rejected = pd.read_csv(folder / "rejected.csv").set_index("img_path")["reason"]
    assert sorted(rejected.index) == sorted(names[index] for index in (3, 7, 11, 13))
    assert rejected[names[3]] == "file not found" and rejected[names[13]] == "empty file"
    assert rejected.notna().all()
    split = pd.read_csv(folder / "split.csv")
    assert len(split) == len(table) - 4 and not set(split["img_path"]) & set(rejected.index)


# === Checkpoints of other programs ===


def keras_model(path):
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)]).save(path)


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "a zip file, but no model")


def text(path):
    path.write_text("weights")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (keras_model, "it is a Keras model, but not a checkpoint of this program"),
        (archive, "is not a checkpoint that this version can load"),
        (text, "is not a .keras checkpoint of this program"),
    ],
)
def test_checkpoint_of_another_program(refused, in_face_folder, write, message):
    write(in_face_folder / "other.keras")
    line = refused("model.weights=other.keras")
    assert "other.keras" in line and message in line
    assert left_behind(in_face_folder) == ["data", "meta", "other.keras"]


# === The rest of the machine ===


def test_run_folder_that_cannot_be_made(refused, in_face_folder):
    (in_face_folder / "runs").write_text("a file where the folder should be")
    line = refused(*QUICK)
    assert "run folder" in line and "cannot be written" in line


FULL_DISK = """
import resource, sys
from pathlib import Path
import keras
from faces.startup import run_main
from keras_impl.checkpoint import load_model, save_model
from keras_impl.model import FaceModel
from keras_impl.heads import GenderHead
from keras_impl.training.recorder import RunRecorder

images = keras.Input((16, 16, 3))
backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(64, 5)(images)))
model = FaceModel(backbone, gender_head=GenderHead())
model.build()
model.compile("adamw")
recorder = RunRecorder(Path("."), monitor={"loss": 1.0})
recorder.set_model(model)
recorder.history = [{"epoch": 1, "loss": 1.0}]
save_checkpoint = lambda: recorder._save_checkpoint(Path("model.keras"))
save_checkpoint()
recorder._save_state(recorder._variables())
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
save_state = lambda: recorder._save_state(recorder._variables())
run_main(save_checkpoint if sys.argv[1] == "checkpoint" else save_state)
"""


@pytest.mark.parametrize(
    ("what", "name"), [("checkpoint", "model.keras"), pytest.param("state", "resume.npz", marks=pytest.mark.slow)]
)
def test_full_disk_leaves_the_file_that_was_there(tmp_path, what, name):
    """A limit on the size of files stands for a full disk: the kernel refuses the write in the middle."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", FULL_DISK, what]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr[-2000:]
    assert len(errors) == 1 and "cannot be written" in errors[0] and "Traceback" not in done.stderr
    assert left_behind(tmp_path) == ["model.keras", "resume.npz"]
    assert (tmp_path / name).stat().st_size > 4096
    if what == "checkpoint":
        from keras_impl.checkpoint import load_model

        assert np.isfinite(load_model(tmp_path / name).backbone.get_weights()[0]).all()
    else:
        with np.load(tmp_path / name) as state:
            assert int(state["model_count"]) > 0


# === As a user starts it ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.lrr=0.1"], "Unknown key 'train.lrr'. Expected one of: train.epochs, train.batch_size,"),
        (["learning_rate=0.1"], "Unknown key 'learning_rate'. Expected one of: data, model, method, train,"),
        (["model.backbone.name=x"], "Unknown key 'model.backbone.name'. Expected one of: "),
        (["train.lr"], "'train.lr'"),
        (["model.outputs=age,gender"], "model.outputs"),
        pytest.param(
            ["data=3"], "data must be a section of keys, as in src/config.yaml. Received: 3", marks=pytest.mark.slow
        ),
        pytest.param(["~train.lr"], "train.lr: ", marks=pytest.mark.slow),
        (["model.model_name=ResNet51"], "Unknown backbone 'ResNet51'. Expected one of: EfficientNetB0,"),
    ],
)
def test_mistake_is_one_line_and_exit_2(start, tmp_path, arguments, message):
    done = start("train.py", *arguments, folder=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stdout == ""
    assert "Error executing job" not in done.stderr
    # TensorFlow greets on stderr when it is imported; the last line is ours.
    assert len(lines) == 1 and done.stderr.splitlines()[-1] == lines[0]
    assert message in lines[0]
    assert left_behind(tmp_path) == []
