"""What chooses the epoch: the words of train.monitor, what they refuse, and how the choice is told."""

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from keras_impl.input.augment import NO_AUGMENTATION
from keras_impl.input.labels import Labels
from keras_impl.input.parts import Part
from keras_impl.training.fit import fit
from keras_impl.training.monitor import choose_monitor, explain_choice
from tests.configurations import configured
from tests.keras_impl.small_models import NoiseImages, normalised_model

NAN = np.nan


def make_part(ages=(), groups=(), genders=None, weights=None):
    """Faces of known age, then of age groups (low, high)."""
    rows = [(age, NAN, NAN, NAN) for age in ages] + [(NAN, NAN, *group) for group in groups]
    pack = np.array(rows, np.float32).reshape(-1, 4)
    count = len(pack)
    gender = np.array(genders if genders is not None else np.arange(count) % 2, np.int32)
    weights = np.ones(count, np.float32) if weights is None else np.float32(weights)
    images = NoiseImages(count) if count else None
    return Part(pd.DataFrame({"img_path": range(count)}), Labels(pack, gender), weights, images)


GROUPS = [(20, 29), (30, 39), (70, NAN)]
EXACT, GROUPED = make_part([3.0, 40, 61]), make_part(groups=GROUPS)


def choose(value, part, method="interval", outputs=("age", "gender"), gender_weight=5.0):
    monitor = configured(f"train.monitor={value}").train.monitor
    return choose_monitor(monitor, part, method=method, outputs=outputs, gender_weight=gender_weight)


@pytest.mark.parametrize(
    ("value", "part", "settings", "expected"),
    [
        ("auto", EXACT, {}, {"val_age_mae": 1}),
        ("auto", GROUPED, {}, {"val_loss": 1}),
        ("auto", EXACT, {"outputs": ["gender"]}, {"val_gender_accuracy": -1}),
        ("auto", make_part(), {}, {"loss": 1}),
        ("val_gender_accuracy", GROUPED, {"gender_weight": 0.0}, {"val_gender_accuracy": -1}),
        ("val_age_interval_error", GROUPED, {}, {"val_age_interval_error": 1}),
        ("val_loss", EXACT, {"method": "l1"}, {"val_loss": 1}),
        ("{val_age_mae: 2, val_gender_accuracy: 20}", EXACT, {}, {"val_age_mae": 2, "val_gender_accuracy": -20}),
    ],
)
def test_what_chooses(value, part, settings, expected):
    assert choose(value, part, **settings) == expected


@pytest.mark.parametrize(
    ("value", "part", "settings", "message"),
    [
        ("val_age_mae", GROUPED, {}, r"val_age_mae: no age of the validation part is known exactly\. Use val_loss"),
        ("val_age_mae", EXACT, {"outputs": ["gender"]}, r"val_age_mae: model\.outputs has no age"),
        (
            "{val_age_mae: 1, val_gender_accuracy: 9}",
            EXACT,
            {"outputs": ["age"]},
            r"val_gender_accuracy: model\.outputs",
        ),
        ("val_age_interval_error", EXACT, {"method": "l1"}, "method l1 learns from no age groups"),
        ("val_gender_accuracy", make_part([3.0], genders=[-1]), {}, "the validation part has no known gender"),
        ("val_loss", make_part(), {}, r"val_loss: the validation part has no known label\. Use auto"),
        ("val_mae", EXACT, {}, "Unknown monitor 'val_mae'. Expected one of: val_age_mae, "),
        ("{val_mae: 1}", EXACT, {}, "Unknown monitor 'val_mae'"),
        ("{val_age_mae: -1}", EXACT, {}, r"the weight of val_age_mae must be a number > 0\. Received: -1"),
        ("{}", EXACT, {}, r"train\.monitor needs one of val_age_mae, "),
        ("[val_age_mae]", EXACT, {}, r"train\.monitor must be text or a mapping"),
        ("7", EXACT, {}, r"train\.monitor must be text or a mapping"),
    ],
)
def test_what_is_refused_in_one_line(value, part, settings, message):
    with pytest.raises(UserError, match=message) as refusal:
        choose(value, part, **settings)
    assert "\n" not in str(refusal.value)


def test_the_choice_and_its_runner_up_are_told():
    rows = [(5.0, 0.9), (4.74, 0.93), (4.739, 0.92), (6.0, 0.99)]
    history = [{"loss": 1.0, "val_age_mae": mae, "val_gender_accuracy": right} for mae, right in rows]
    told = explain_choice({"val_age_mae": 1.0, "val_gender_accuracy": -20.0}, history)
    assert [told[which]["epoch"] for which in ("best", "runner_up")] == [2, 4]
    assert told["best"]["values"] == {"val_age_mae": 4.74, "val_gender_accuracy": 0.93}
    assert told["best"]["score"] == pytest.approx(4.74 - 20 * 0.93) and told["runner_up"]["score"] == pytest.approx(
        -13.8
    )
    assert told["reason"].startswith(
        "Epoch 2 of 4 has the best 1 val_age_mae - 20 val_gender_accuracy: val_age_mae 4.74,"
    )
    assert explain_choice({"val_age_mae": 1.0}, history)["best"]["epoch"] == 3
    assert explain_choice({"val_age_mae": 1.0}, history[:1])["runner_up"] is None


def history_of(tmp_path, val, *overrides):
    given = ("train.epochs=2", "train.batch_size=8", "train.verbose=0", *overrides)
    model = normalised_model("interval")
    parts = {"train": make_part(np.linspace(0, 90, 16)), "val": val}
    settings = {"augmentation": NO_AUGMENTATION, "weighting": {"scheme": "none"}}
    return fit(model, parts, configured(*given).train, tmp_path, **settings), model


def test_groups_and_weights_of_data_sets_count_in_the_validation(tmp_path):
    """Metrics and loss of the validation are means over what is known, each face with the weight of its data set."""
    weights = np.float32([1, 1, 1, 0.25, 0.25, 0.25])
    val = make_part([3.0, 40, 61], GROUPS, weights=weights)
    recorder, model = history_of(tmp_path, val, "train.epochs=1", "train.monitor=val_age_interval_error")
    predicted = np.asarray(model.predict_faces(val.images[:])["age"])
    low, high = np.array([3, 40, 61, 20, 30, 70]), np.array([3, 40, 61, 29, 39, np.inf])
    error = np.maximum(np.maximum(low - predicted, predicted - high), 0)
    row = recorder.history[0]
    assert row["val_age_interval_error"] == pytest.approx(np.average(error, weights=weights), rel=1e-4)
    assert row["val_age_mae"] == pytest.approx(error[:3].mean(), rel=1e-4)
    right = np.asarray(model.predict_faces(val.images[:])["gender"]).argmax(axis=1) == val.labels.gender
    assert row["val_gender_accuracy"] == pytest.approx(np.average(right, weights=weights), rel=1e-4)
    assert recorder.monitor == {"val_age_interval_error": 1.0}


@pytest.mark.slow
def test_early_stopping_follows_the_monitor(tmp_path):
    """The sum is the accuracy alone where the weight of the age is next to nothing."""
    pair = "train.monitor={val_age_mae: 1e-9, val_gender_accuracy: 1}"
    val = make_part([3.0, 40, 61, 8, 30])
    recorder, _ = history_of(tmp_path, val, pair, "train.epochs=9", "train.early_stopping=2", "train.lr=0.05")
    accuracies = np.array([row["val_gender_accuracy"] - 1e-9 * row["val_age_mae"] for row in recorder.history])
    assert recorder.best_epoch() == accuracies.argmax() + 1
    assert len(recorder.history) == min(9, recorder.best_epoch() + 2)
