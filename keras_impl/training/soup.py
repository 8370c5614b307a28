"""A soup: the mean of the weights of several checkpoints that began from the same weights, which costs at prediction
what one of them costs.

Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time, ICML 2022. The greedy recipe: from the best checkpoint on, each is kept whose weights make the mean no
worse on the validation part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import UserError
from faces.images import face_batches
from faces.keras_start import own_settings
from faces.label_files.checksums import file_sha256
from keras_impl import metrics
from keras_impl.checkpoint import load_model, save_model
from keras_impl.input.face_data import SPLIT_KEYS, divide, load_data
from keras_impl.input.images import FaceImages
from keras_impl.input.parts import Part, divide_table
from keras_impl.model import FaceModel
from keras_impl.predictor import Predictor
from keras_impl.training.averaging import measure_statistics, statistics_rows

DIVISION = ("db", "csv", "age_label", *SPLIT_KEYS)
SEED = 0  # of the training faces that batch statistics are measured on


@dataclass(frozen=True)
class Tasted:
    """One checkpoint of a soup.

    Attributes:
        path: of its file.
        score: of the checkpoint alone on the validation part, less is better.
        with_it: score of the mean with it; that of the checkpoint alone for the first.
        kept: whether it is in the soup.
    """

    path: str
    score: float
    with_it: float
    kept: bool


@own_settings()
def create_soup(
    checkpoints: Sequence[str | Path],
    output: str | Path,
    *,
    root: str | Path | None = None,
    csv: str | Path | None = None,
    meta_dir: str | Path = "meta",
    batch_size: int = 64,
) -> str:
    """Write the greedy soup of some checkpoints, chosen on the validation part of their training.

    Args:
        checkpoints: two `.keras` files or more, of one architecture and one division of the same data.
        output: the `.keras` file to write; it has neither calibration nor correction, which were those of others.
        root: folder of the images, see `keras_impl.input.face_data.load_data`.
        csv: label file of the data set `csv`, where it is not where the training had it.
        meta_dir: folder of the label tables.
        batch_size: faces a step.

    Returns:
        What was tried and kept, as text.

    Raises:
        UserError: fewer than two checkpoints, one of another architecture or another training part, or no validation
            part with a known age or gender.
    """
    models = {str(path): load_model(path) for path in checkpoints}
    if len(models) < 2 or len(models) < len(checkpoints):
        raise UserError(f"A soup needs two different checkpoints or more. Received: {', '.join(map(str, checkpoints))}")
    require_alike(models)
    first = next(iter(models.values()))
    known = {key: first.provenance[key] for key in SPLIT_KEYS if key in first.provenance}
    own_csv = csv or first.provenance.get("csv")
    data = load_data(list(first.trained_on), root=root, csv=own_csv, meta_dir=meta_dir)
    folds = divide(data, **known)
    if len(folds) > 1:
        raise UserError("The checkpoints do not say which fold they learnt from: a soup cannot be tasted.")
    age_label = first.provenance.get("age_label", "real")
    parts = divide_table(data.table, folds[0].split, age_label=age_label)
    for name in ("train", "val"):
        paths = [data.root / path for path in parts[name].table["img_path"]]
        parts[name].images = FaceImages(paths, first.image_size, cache="memory" if name == "val" else "none")
    unit, score = make_score(parts["val"], first.output_keys, batch_size)
    rows = statistics_rows(len(parts["train"].faces), batch_size=batch_size, seed=SEED)
    soup, tasted = greedy_soup(models, score, [parts["train"].faces[each] for each in rows])
    soup.provenance = {**soup.provenance, "soup": _provenance(tasted)}
    save_model(soup, output)
    return _text(tasted, unit, len(parts["val"].table), output)


def require_alike(models: Mapping[str, FaceModel]) -> None:
    """UserError that names the first model {path: FaceModel} which is built, or whose faces were divided, otherwise
    than those of the first of all."""
    (first, model), *others = models.items()
    for path, other in others:
        if _built(other) != _built(model):
            raise UserError(f"Weights are averaged within one architecture. {path} has another one than {first}.")
        differing = [key for key in DIVISION if other.provenance.get(key) != model.provenance.get(key)]
        if differing or not model.trained_on:
            what = f"{', '.join(differing)} differ" if differing else "they do not say what they learnt from"
            raise UserError(f"{path} and {first} must have learnt from the same faces, but {what}.")


def _built(model: FaceModel) -> list[Any]:
    """What a model is made of, without the names of its parts, which count how many models a process has built."""
    heads = [head for head in (model.age_head, model.gender_head) if head is not None]
    configs = [(type(part).__name__, {**part.get_config(), "name": ""}) for part in (*model.backbone.layers, *heads)]
    for _, config in configs:
        config.pop("initial_bias", None)  # of a training's first step
    shapes = [tuple(weight.shape) for weight in model.weights]
    return [configs, shapes, model.method, dict(model.crop)]


def make_score(val: Part, outputs: Sequence[str], batch_size: int) -> tuple[str, Callable[[FaceModel], float]]:
    """(unit, function): the age MAE on a validation part in years, or the share of wrong genders; less is better.

    Args:
        val: the part, with images.
        outputs: of the models.
        batch_size: faces a step.

    Raises:
        UserError: neither is known there.
    """
    age, gender = val.labels.age[:, 0], val.labels.gender

    def predict(model: FaceModel) -> dict[str, np.ndarray]:
        return Predictor(model).predict_batches(face_batches(val.faces, batch_size))

    if "age" in outputs and not np.isnan(age).all():
        return "years", lambda model: float(np.nanmean(np.asarray(metrics.mae(age, predict(model)["age"]))))
    if "gender" in outputs and (gender >= 0).any():
        return (
            "wrong genders",
            lambda model: 1 - float(np.nanmean(np.asarray(metrics.gender_accuracy(gender, predict(model)["gender"])))),
        )
    raise UserError("There is no validation part with a known age or gender, so no soup can be chosen.")


def greedy_soup(
    models: Mapping[str, FaceModel], score: Callable[[FaceModel], float], batches: Sequence[np.ndarray]
) -> tuple[FaceModel, list[Tasted]]:
    """(soup, what was tried) of models {path: FaceModel} that are alike, see `require_alike`.

    Args:
        models: they are not changed.
        score: function of a model, less is better.
        batches: training faces, uint8 (B, S, S, 3) each, to measure the batch statistics of a mean on.
    """
    scores = {path: score(model) for path, model in models.items()}
    best, *others = sorted(models, key=lambda path: scores[path])
    soup = FaceModel.from_config({**models[best].get_config(), "calibration": {}, "correction": {}})
    soup.build()
    kept = [np.array(value, np.float64) for value in models[best].get_weights()]
    soup.set_weights(models[best].get_weights())
    tasted, members, reached = [Tasted(best, scores[best], scores[best], kept=True)], 1, scores[best]
    for path in others:
        total = [own + value for own, value in zip(kept, models[path].get_weights(), strict=True)]
        before = soup.get_weights()
        soup.set_weights([value / (members + 1) for value in total])
        measure_statistics(soup, batches)
        found = score(soup)
        tasted.append(Tasted(path, scores[path], found, kept=found <= reached))
        if found <= reached:
            kept, members, reached = total, members + 1, found
        else:
            soup.set_weights(before)
    return soup, tasted


def _provenance(tasted):
    members = [{"file": Path(each.path).name, "sha256": file_sha256(each.path)} for each in tasted if each.kept]
    return {"members": members, "tried": len(tasted), "best": tasted[0].score, "score": _reached(tasted)}


def _reached(tasted):
    return [each.with_it for each in tasted if each.kept][-1]


def _text(tasted, unit, count, output):
    lines = [
        f"{'kept' if each.kept else 'left'}  {each.score:.4f} alone, {each.with_it:.4f} in the soup  {each.path}"
        for each in tasted
    ]
    members = sum(each.kept for each in tasted)
    lines.append(
        f"wrote {output}: the mean of {members} of {len(tasted)} checkpoints, {tasted[0].score:.4f} -> "
        f"{_reached(tasted):.4f} {unit} on {count} validation faces"
        if members > 1
        else f"wrote {output}: {tasted[0].path} alone, which no other made better on {count} validation faces"
    )
    return "\n".join(lines)
