"""`train.py` without hydra: plain configuration values -> a finished run folder."""

import time
from pathlib import Path

from faces.errors import UserError
from faces.report import write_sweep_report
from keras_impl.backbones import check_backbone
from keras_impl.checks import require_number, require_one_of, require_whole
from keras_impl.devices import set_precision
from keras_impl.experiment.fold import run_fold
from keras_impl.experiment.folds import run_folds
from keras_impl.input import face_data as data_side
from keras_impl.input.augment import Augmentation
from keras_impl.input.images import CACHES
from keras_impl.model import check_names
from keras_impl.training.first_weights import check_weights
from keras_impl.training.recipe import Recipe


def run(values, *, config_text, folder=None, overrides=None):
    """Train and evaluate one model as the configuration says.

    Args:
        values: the keys of src/config.yaml as nested dicts.
        config_text: the same as YAML, for the run folder.
        folder: of the run in a sweep; None makes runs/<time>_<db>_<backbone>_<method>.
        overrides: what the command line changed, {key: value}, for the table of a sweep.

    Returns:
        Path of the run folder.

    Raises:
        UserError: bad input; nothing has been written then.
    """
    recipe = make_recipe(values)
    _check_values(values)
    check_names(values["method"]["name"], values["model"]["outputs"])
    check_backbone(values["model"]["model_name"], values["model"]["img_size"])
    set_precision(recipe.mixed_precision)
    section = values["data"]
    packed = {"pack_size": values["model"]["img_size"], "packed_dir": section["packed_dir"]}
    packed = packed if section["cache"] == "packed" else {}
    data = data_side.load_data(**{key: section[key] for key in ("db", "root", "csv", "meta_dir", "limit")}, **packed)
    folds = data_side.divide(data, **{key: section[key] for key in data_side.SPLIT_KEYS})

    def open_folder():
        return _open_run_folder(values, config_text, folder)

    train, what = (run_fold, folds[0]) if len(folds) == 1 else (run_folds, folds)
    run_folder = train(values, data, what, recipe, open_folder, overrides=overrides)
    if folder is not None:
        write_sweep_report(run_folder.parent)
    return run_folder


def make_recipe(values):
    """`train`, `augment` and `weighting` as a checked Recipe; `model.batch_size` stands for `train.batch_size`."""
    train = {key: value for key, value in values["train"].items() if key != "resume"}
    if values["model"]["batch_size"] is not None:
        train["batch_size"] = values["model"]["batch_size"]
    return Recipe(**train, augmentation=Augmentation(**values["augment"]), weighting=values["weighting"])


def _check_values(values):
    """UserError for what would otherwise come to light only after the data was read or the run folder made."""
    data, model = values["data"], values["model"]
    require_one_of("train.resume", values["train"]["resume"], (True, False))
    require_one_of("data.cache", data["cache"], (*CACHES, "packed"))
    data_side.check_data_values(data)
    for name in ("dropout", "batch_norm_momentum"):
        if name == "dropout" or model[name] is not None:
            require_number(f"model.{name}", model[name], ">= 0 and below 1", lambda value: 0 <= value < 1)
    require_whole("run.bootstrap", values["run"]["bootstrap"], least=1)
    check_weights(model["weights"])


# === Run folder ===


def _open_run_folder(values, config_text, folder):
    """(run folder with the configuration in it, whether it is resumed)."""
    runs = Path(values["run"]["dir"])
    if values["train"]["resume"]:
        unfinished = _unfinished_run(runs, config_text)
        if unfinished is not None:
            return unfinished, True
        print(f"No unfinished run of this configuration below {runs}: a new one starts. A finished one is not resumed.")
    if folder is None:
        db = "+".join(data_side.db_names(values["data"]["db"]))
        name = f"{time.strftime('%Y%m%d-%H%M%S')}_{db}_{values['model']['model_name']}"
        folder = runs / f"{name}_{values['method']['name']}"
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(config_text)
    except OSError as error:
        raise UserError(f"The run folder {folder} cannot be written: {error.strerror or error}") from error
    return folder, False


def _unfinished_run(runs, config_text):
    """The newest folder below `runs` without a result and with the same configuration but for train.resume."""
    wanted = _without_resume(config_text)
    for config in sorted(runs.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime, reverse=True):
        finished = config.with_name("metrics.json").exists()
        if not finished and _without_resume(config.read_text()) == wanted:
            return config.parent
    return None


def _without_resume(config_text):
    return [line for line in config_text.splitlines() if line.strip() not in ("resume: true", "resume: false")]
