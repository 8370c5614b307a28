"""`train.py` without hydra: plain configuration values -> a finished run folder."""

import shutil
import time
from pathlib import Path

import keras

from faces.datasets import get_dataset
from faces.errors import UserError
from faces.ingest import write_csv
from faces.report import write_sweep_report
from faces.report.files import write_json
from faces.splits import leak_report
from keras_impl import data as data_side
from keras_impl import training
from keras_impl.augment import Augmentation
from keras_impl.backbones import check_backbone
from keras_impl.checks import require_number, require_one_of, require_whole
from keras_impl.input import CACHES
from keras_impl.methods import fitted_settings, split_settings
from keras_impl.model import check_names
from keras_impl.recorder import CHECKPOINT_NAME, STATE_NAME
from keras_impl.start import check_weights, make_model


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
    started = time.monotonic()
    recipe = make_recipe(values)
    _check_values(values)
    data = values["data"]
    check_names(values["method"]["name"], values["model"]["outputs"])
    check_backbone(values["model"]["model_name"], values["model"]["img_size"])
    training.set_precision(recipe.mixed_precision)
    keras.utils.set_random_seed(recipe.seed)
    table, rejected = data_side.load_faces(**{key: data[key] for key in ("db", "root", "csv", "meta_dir", "limit")})
    split = data_side.split_faces(table, **{key: data[key] for key in ("val_share", "test_share", "split_seed")})
    parts = training.make_parts(table, split, age_label=data["age_label"])
    data_side.require_labels(parts["train"].labels, values["method"]["name"], values["model"]["outputs"])

    with training.make_strategy():
        model, first_weights = _make_model(values, parts["train"].labels)
        run_folder, resume = _open_run_folder(values, config_text, folder)
        callbacks = _callbacks(values, run_folder, resume)
        print(f"Run folder: {run_folder}\nWeights: {first_weights}")
        _write_data_facts(run_folder, table, split, rejected)
        _report_clipped(parts, model)
        root = data_side.image_root(data["db"], root=data["root"], csv=data["csv"])
        training.load_images(parts, root, model.image_size, cache=data["cache"], cache_folder=data["cache_dir"])
        recorder = training.fit(model, parts, recipe, run_folder, resume=resume, callbacks=callbacks)

    training.write_history_picture(recorder, run_folder)
    summaries = training.evaluate_run(
        run_folder,
        parts,
        batch_size=recipe.batch_size,
        resamples=values["run"]["bootstrap"],
        trivial=training.trivial_predictions(parts["train"].labels),
    )
    _finish(run_folder, recorder, recipe, summaries, first_weights, overrides, started)
    if folder is not None:
        write_sweep_report(run_folder.parent)
    return run_folder


def make_recipe(values):
    """`train`, `augment` and `weighting` as a checked Recipe; `model.batch_size` stands for `train.batch_size`."""
    train = {key: value for key, value in values["train"].items() if key != "resume"}
    if values["model"]["batch_size"] is not None:
        train["batch_size"] = values["model"]["batch_size"]
    return training.Recipe(**train, augmentation=Augmentation(**values["augment"]), weighting=values["weighting"])


def _check_values(values):
    """UserError for what would otherwise come to light only after the data was read or the run folder made."""
    data, model = values["data"], values["model"]
    require_one_of("train.resume", values["train"]["resume"], (True, False))
    require_one_of("data.cache", data["cache"], CACHES)
    if data["limit"] is not None:
        require_whole("data.limit", data["limit"], least=1)
    for name in ("val_share", "test_share"):
        require_number(f"data.{name}", data[name], ">= 0 and below 1", lambda value: 0 <= value < 1)
    for name in ("dropout", "batch_norm_momentum"):
        if name == "dropout" or model[name] is not None:
            require_number(f"model.{name}", model[name], ">= 0 and below 1", lambda value: 0 <= value < 1)
    require_whole("run.bootstrap", values["run"]["bootstrap"], least=1)
    check_weights(model["weights"])


def _make_model(values, train_labels):
    data, model, method = values["data"], values["model"], values["method"]
    loss_params, head_params = {}, {}
    if "age" in model["outputs"]:
        loss_params, head_params = _fit_method(method, train_labels, model["min_age"], model["max_age"])
    data_set = get_dataset(data["db"])
    return make_model(
        model["model_name"],
        method["name"],
        weights=model["weights"],
        image_size=model["img_size"],
        outputs=model["outputs"],
        min_age=model["min_age"],
        max_age=model["max_age"],
        decode=method["decode"],
        method_params={**method["params"], **loss_params},
        head_params=head_params,
        dropout=model["dropout"],
        batch_norm_momentum=model["batch_norm_momentum"],
        crop={"margin": data_set.margin, "aligned": data_set.aligned},
        provenance={
            "db": data["db"],
            "backbone": model["model_name"],
            **{key: data[key] for key in ("age_label", "val_share", "test_share", "split_seed")},
            "seed": values["train"]["seed"],
            "versions": training.environment(),
            "trivial": training.trivial_predictions(train_labels),
        },
    )


def _fit_method(method, train_labels, min_age, max_age):
    split_settings(method["name"], method["params"])  # unknown parameters end here
    try:
        return fitted_settings(method["name"], method["params"], train_labels.age[:, 0], min_age, max_age)
    except (TypeError, ValueError) as error:
        raise UserError(f"A parameter of method {method['name']} is wrong: {error}") from error


# === Run folder ===


def _open_run_folder(values, config_text, folder):
    """(run folder with the configuration in it, whether it is resumed)."""
    runs = Path(values["run"]["dir"])
    if values["train"]["resume"]:
        unfinished = _unfinished_run(runs, config_text)
        if unfinished is not None:
            return unfinished, True
        print(f"No unfinished run of this configuration below {runs}: a new one starts.")
    if folder is None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}_{values['data']['db']}_{values['model']['model_name']}"
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


def _write_data_facts(run_folder, table, split, rejected):
    write_csv(table[["img_path"]].assign(split=split), run_folder / "split.csv")
    write_json(run_folder / "leak_report.json", leak_report(table, split))
    if len(rejected):
        print(f"{len(rejected)} images cannot be read, see {run_folder / 'rejected.csv'}")
        write_csv(rejected, run_folder / "rejected.csv")


def _report_clipped(parts, model):
    if model.age_head is None:
        return
    head = model.age_head
    for name, part in parts.items():
        clipped = part.labels.clipped(head.min_age, head.max_age)
        if clipped:
            print(f"{name}: {clipped} ages lie outside {head.min_age}..{head.max_age}; the loss clips them.")


def _callbacks(values, run_folder, resume):
    callbacks = []
    if values["wandb"]["project"] is not None:
        name = values["wandb"]["name"] or run_folder.name
        try:
            logger = training.wandb_callback(values["wandb"]["project"], name=name, config=values, folder=run_folder)
        except UserError:
            if not resume:
                shutil.rmtree(run_folder)
            raise
        callbacks.append(logger)
    if values["train"]["tensorboard"]:
        callbacks.append(training.tensorboard_callback(run_folder))
    return callbacks


def _finish(run_folder, recorder, recipe, summaries, first_weights, overrides, started):
    """Write run.json and metrics.json; a run with metrics.json is finished, so its resume state goes."""
    val = summaries.get("val", {})
    facts = {
        "run": run_folder.name,
        "overrides": overrides or {},
        "val_age_mae": val.get("age_mae", {}).get("value"),
        "val_gender_accuracy": val.get("gender_accuracy", {}).get("value"),
        "best_epoch": recorder.best_epoch(),
        "epochs": len(recorder.history),
        "seconds": round(time.monotonic() - started, 1),
        "weights": first_weights,
        "seed": recipe.seed,
        "versions": training.environment(),
    }
    write_json(run_folder / "run.json", facts)
    write_json(run_folder / "metrics.json", summaries)
    (run_folder / STATE_NAME).unlink(missing_ok=True)
    print(f"\nCheckpoint: {run_folder / CHECKPOINT_NAME}")
