"""What a checkpoint says besides its net is checked key by key before a net is built."""

import copy
import json
import zipfile

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint.archive import CONFIG, read_config
from keras_impl.checkpoint.files import load_model, save_model
from tests.keras_impl.small_models import assert_same, normalised_model, predict

REMOVED = object()
CALIBRATION = {"level": 0.9, "quantile": 1.5, "n": 100}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Path of a calibrated checkpoint."""
    path = tmp_path_factory.mktemp("sound") / "sound.keras"
    model = normalised_model(crop={"margin": 0.2, "aligned": False}, provenance={"db": "utkface"})
    model.calibration = dict(CALIBRATION)
    save_model(model, path)
    return path


@pytest.fixture
def changed(sound, tmp_path):
    """fn({"place.in.the.configuration": value}) -> path of a checkpoint that differs there only."""

    def change(changes):
        with zipfile.ZipFile(sound) as whole, zipfile.ZipFile(tmp_path / "changed.keras", "w") as other:
            for name in whole.namelist():
                content = whole.read(name)
                if name == CONFIG:
                    config = json.loads(content)
                    for place, value in changes.items():
                        put(config, place.split("."), value)
                    content = json.dumps(config)
                other.writestr(name, content)
        return tmp_path / "changed.keras"

    return change


def put(config, keys, value):
    for key in keys[:-1]:
        config = config[int(key) if key.isdigit() else key]
    if value is REMOVED:
        del config[keys[-1]]
    else:
        config[keys[-1]] = copy.deepcopy(value)


WRONG = {
    "config.calibration": ["no", [1], {"level": 0.9}, {"quantile": 1.0}],
    "config.calibration.level": [2, "0.9", None, float("nan")],
    "config.calibration.quantile": [float("nan"), float("inf"), 1e30, -1, "a"],
    "config.calibration.n": ["many", 0, 1.5],
    "config.calibration.division": ["default", {"unknown": 1}],
    "config.crop": [None, [], {"margin": 0.2, "aligned": False, "newer": 1}],
    "config.crop.margin": [-1, 1e9, float("nan"), "wide", True],
    "config.crop.aligned": ["yes", 2],
    "config.provenance": [[1, 2], "utkface", 3],
    "config.provenance.db": [7, [], [1]],
    "config.provenance.age_label": ["guessed", 3],
    "config.provenance.trivial": [5, {"trivial_age": "old"}],
    "config.method": ["newer_method", 3, ["l1"], None],
    "config.method_params": [[], {"newer": 1}],
    "config.dropout": [1.5, "half", float("nan")],
    "config.genders": [["male", "female"], "female", None, REMOVED],
    "config.backbone": [None, "EfficientNetB0", REMOVED],
    "config.newer": [1],
    "config.age_head": ["rank", {}, REMOVED],
    "config.age_head.registered_name": ["faces>NewerHead", "keras>Lambda", None],
    "config.age_head.config.min_age": [100, -1, 1.5, "zero", float("nan"), REMOVED],
    "config.age_head.config.max_age": [0, 10**9, None],
    "config.age_head.config.decode": ["newer", 3],
    "config.age_head.config.units": [10**12],
    "config": [None, [], "FaceModel"],
    "registered_name": ["faces>NewerModel", None, []],
}


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, values in WRONG.items() for value in values])
def test_wrong_value_is_one_line_that_names_the_file(changed, place, value):
    path = changed({place: value})
    with pytest.raises(UserError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a checkpoint that this version can load: ")
    assert "\n" not in message and len(message) < len(str(path)) + 500
    words = place.split(".")[-1].removesuffix("_head").removesuffix("_age").removesuffix("_name")
    assert words.replace("_params", "").rstrip("s") in message or "checkpoint of this program" in message, message


LAYER = "config.backbone.config.layers.2"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({f"{LAYER}.config.filters": 10**9}, "needs more than the"),
        ({f"{LAYER}.config.filters": 7}, "needs more than|incompatible"),
        ({f"{LAYER}.config.filters": 5}, "could not be loaded|shape"),
        ({f"{LAYER}.class_name": "Lambda", f"{LAYER}.config": {"function": "os.system"}}, ""),
        ({f"{LAYER}.class_name": "system", f"{LAYER}.module": "os", f"{LAYER}.registered_name": "os>system"}, "system"),
        ({f"{LAYER}.class_name": "NewerLayer"}, "NewerLayer"),
        ({"config.backbone.config.layers": []}, ""),
        ({"config.backbone.config.layers.0.config.batch_shape": [None, 16, 17, 3]}, "square|input|shape"),
        ({"config.backbone.config.layers.0.config.batch_shape": [None, None, None, 3]}, "None pixels wide"),
        ({"config.backbone.config.layers.0.config.batch_shape": [None, 10**5, 10**5, 3]}, "at most 4096"),
    ],
    ids=["memory", "wider", "narrower", "lambda", "foreign", "newer", "empty", "oblong", "any_size", "huge_size"],
)
def test_net_that_does_not_fit_is_one_line(changed, changes, reason):
    path = changed(changes)
    with pytest.raises(
        UserError, match=f"changed.keras is not a checkpoint that this version can load: .*(?:{reason})"
    ) as error:
        load_model(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"config.provenance": {}},
        {"config.provenance": REMOVED, "config.crop": REMOVED, "config.calibration": REMOVED},
        {"config.provenance.newer": {"anything": [1, None]}, "config.calibration.newer": "told only"},
        {"config.provenance.db": ["utkface", "a_newer_set"], "config.provenance.protocol": ["default", "newer"]},
        {"config.method_params": REMOVED, "config.dropout": REMOVED},
    ],
    ids=["nothing", "oldest", "newer", "newer_set", "older"],
)
def test_older_and_newer_facts_of_the_training_are_taken(sound, changed, changes):
    wanted, found = (predict(load_model(path)) for path in (sound, changed(changes)))
    wanted = {name: value for name, value in wanted.items() if name in found}
    assert_same(found, wanted, rtol=0)
    assert np.isfinite(found["age"]).all()


def test_every_reader_names_the_file(changed, tmp_path):
    """Each script that takes a checkpoint ends in the same line."""
    import demo
    import evaluate
    import export
    import predict as predict_script
    from keras_impl.training.first_weights import make_model
    from keras_impl.web import serve

    path = str(changed({"config.calibration": "no"}))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    readers = {
        "predict": lambda: predict_script.main([str(tmp_path / "in"), "--crops", "--checkpoint", path]),
        "evaluate": lambda: evaluate.main(["--checkpoint", path, "--output_dir", str(tmp_path / "out")]),
        "export": lambda: export.main(
            ["--checkpoint", path, "--format", "saved_model", "--output", str(tmp_path / "out")]
        ),
        "demo": lambda: demo.main(["--image_dir", str(tmp_path / "in"), "--checkpoint", path]),
        "train": lambda: make_model("EfficientNetB0", "l1", weights=path, image_size=32),
        "web": lambda: serve(path, port=0),
    }
    for name, read in readers.items():
        with pytest.raises(UserError, match=r"changed\.keras is not a checkpoint .*: calibration: ") as error:
            read()
        assert "\n" not in str(error.value), name
    assert not (tmp_path / "out").exists()


def test_configuration_is_read_as_it_was_written(sound):
    config, numbers = read_config(sound)
    assert config["config"]["calibration"] == CALIBRATION and numbers > 1000
