"""What the model's training step makes of known and unknown labels, and the resume state of a run."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from faces.errors import UserError
from keras_impl.input.labels import known_labels
from keras_impl.methods import METHODS
from keras_impl.model import build_model
from keras_impl.training.recorder import RunRecorder

SIZE = 8


def small_model(method="cross_entropy", **settings):
    """Without BatchNormalization, which would let every image of a batch touch the others."""
    images = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(4, 3, activation="tanh")(keras.layers.Rescaling(1 / 255)(images))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    model = build_model(backbone, method, **settings)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.3, weight.shape))
    model.compile("sgd", gender_weight=2.0, total_steps=10)
    return model


def batch(ages, genders, seed=1):
    """Images, labels and the weights that say which label is known."""
    images = np.random.default_rng(seed).uniform(0, 255, (len(ages), SIZE, SIZE, 3)).astype(np.float32)
    pack = np.full((len(ages), 4), np.nan, np.float32)
    pack[:, 0] = ages
    labels = {"age": pack, "gender": np.array(genders, np.int32)}
    weights = {"age": ~np.isnan(pack[:, 0]), "gender": labels["gender"] >= 0}
    return images, labels, {name: weight.astype(np.float32) for name, weight in weights.items()}


def loss_and_gradient(model, images, labels, weights):
    with tf.GradientTape() as tape:
        outputs = model(tf.constant(images), training=True)
        loss = model.compute_loss(images, labels, outputs, sample_weight=weights)
    gradient = tape.gradient(loss, model.trainable_variables)
    return float(loss), [
        np.zeros(v.shape) if g is None else np.asarray(g) for g, v in zip(gradient, model.trainable_variables)
    ]


def joined(first, second):
    return tf.nest.map_structure(lambda a, b: np.concatenate([a, b]), first, second)


@pytest.mark.parametrize("method", METHODS)
def test_unknown_labels_change_neither_loss_nor_gradient(method):
    model = small_model(method)
    known = batch([20, 41.5, 0, 100], [0, 1, 1, 0])
    unknown = batch([np.nan] * 3, [-1] * 3, seed=2)
    loss, gradient = loss_and_gradient(model, *known)
    assert loss > 0 and max(np.abs(part).max() for part in gradient) > 1e-3
    with_unknown, gradient_with_unknown = loss_and_gradient(model, *joined(known, unknown))
    assert with_unknown == pytest.approx(loss, rel=1e-5)
    for one, other in zip(gradient, gradient_with_unknown, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_known_is_no_loss_and_no_gradient(method):
    loss, gradient = loss_and_gradient(small_model(method), *batch([np.nan] * 3, [-1] * 3))
    assert loss == 0
    for part in gradient:
        np.testing.assert_array_equal(part, 0)


def test_each_output_counts_its_own_labels():
    """Age and gender of different rows: the loss is the sum of the two means, the gender's doubled."""
    model = small_model()
    images, labels, weights = batch([30, np.nan, 50, np.nan], [-1, 1, -1, 0])
    outputs = {name: np.asarray(value) for name, value in model(images).items()}
    log = {name: value - np.log(np.exp(value).sum(axis=1, keepdims=True)) for name, value in outputs.items()}
    expected = -(log["age"][0, 30] + log["age"][2, 50]) / 2 - 2.0 * (log["gender"][1, 1] + log["gender"][3, 0]) / 2
    assert loss_and_gradient(model, images, labels, weights)[0] == pytest.approx(expected, rel=1e-5)


def test_metrics_are_means_over_the_known():
    model = small_model()
    images, labels, weights = batch([30, np.nan, 50, 4], [1, -1, 0, -1])
    model.reset_metrics()
    result = model.test_on_batch(images, labels, sample_weight=weights, return_dict=True)
    prediction = {name: np.asarray(value) for name, value in model.predict_faces(images).items()}
    expected = np.abs(prediction["age"] - [30, np.nan, 50, 4])[[0, 2, 3]].mean()
    assert float(result["age_mae"]) == pytest.approx(expected, rel=1e-5)
    correct = prediction["gender"].argmax(axis=1)[[0, 2]] == [1, 0]
    assert float(result["gender_accuracy"]) == pytest.approx(correct.mean())


def test_mixup_weighs_the_losses_of_both_labels():
    model = small_model()
    images, labels, weights = batch([30, 60], [0, 1])
    one = loss_and_gradient(model, images, labels, weights)[0]
    swapped = {name: label[::-1] for name, label in labels.items()}
    other = loss_and_gradient(model, images, swapped, weights)[0]
    mixed = {
        **labels,
        **{f"{name}_partner": label for name, label in swapped.items()},
        "mix_weight": np.float32([0.7, 0.7]),
    }
    assert loss_and_gradient(model, images, mixed, weights)[0] == pytest.approx(0.7 * one + 0.3 * other, rel=1e-5)


def test_intervals_count_as_known_only_where_the_method_uses_them():
    pack = np.array([[30, np.nan, np.nan, np.nan], [np.nan, np.nan, 20, 29], [np.nan] * 4], np.float32)
    for name, method in METHODS.items():
        known = known_labels(name, pack, np.array([0, -1, 1]))
        assert known["age"].tolist() == [True, "age_low" in method.needs, False]
        assert known["gender"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sorcery"}, "Unknown method 'sorcery'. Expected one of: cross_entropy"),
        ({"outputs": ["height"]}, "model.outputs must name one or both of age, gender"),
        ({"method": "dldl", "method_params": {"sigmaa": 1}}, "Unknown parameter 'sigmaa' of method dldl.*: sigma"),
        ({"method": "cross_entropy", "method_params": {"sigma": 1}}, r"\(it has none\)"),
        ({"decode": "guess"}, "decode must be one of .*expectation.* Received: 'guess'"),
    ],
)
def test_names_that_nobody_knows(settings, message):
    with pytest.raises(UserError, match=message):
        small_model(**{"method": "cross_entropy", **settings})


# === The record of a run ===


def recorded(folder, rows, **settings):
    """A recorder that saw epochs with these values, on a real model."""
    recorder = RunRecorder(folder, **{"monitor": "val_age_mae", **settings})
    recorder.set_model(small_model())
    for epoch, row in enumerate(rows):
        recorder.on_epoch_begin(epoch)
        recorder.on_epoch_end(epoch, {"loss": 1.0, **row})
    return recorder


def test_best_epoch_is_the_first_of_the_least(tmp_path):
    recorder = recorded(tmp_path, [{"val_age_mae": value} for value in (5, 3, float("nan"), 3, 4)], patience=3)
    assert recorder.best_epoch() == 2 and recorder.exhausted() and recorder.model.stop_training
    assert not recorded(tmp_path, [{"val_age_mae": value} for value in (5, 3, 4, 4)], patience=3).exhausted()


def test_more_is_better_and_the_loss_stands_in(tmp_path):
    rows = [{"val_gender_accuracy": value} for value in (0.5, 0.9, 0.7)]
    assert recorded(tmp_path, rows, monitor="val_gender_accuracy", maximize=True).best_epoch() == 2
    assert recorded(tmp_path, [{"loss": 3.0}, {"loss": 2.0}, {"loss": 4.0}], maximize=True).best_epoch() == 2


def test_checkpoint_changes_with_the_best_epoch_only(tmp_path):
    recorder = recorded(tmp_path, [{"val_age_mae": 5}])
    first = (tmp_path / "model.keras").stat().st_mtime_ns
    recorder.on_epoch_begin(1)
    recorder.on_epoch_end(1, {"loss": 0.1, "val_age_mae": 6})
    assert (tmp_path / "model.keras").stat().st_mtime_ns == first
    recorder.on_epoch_begin(2)
    recorder.on_epoch_end(2, {"loss": 0.1, "val_age_mae": 4})
    assert (tmp_path / "model.keras").stat().st_mtime_ns > first


def test_state_brings_back_weights_optimizer_and_history(tmp_path):
    recorder = recorded(tmp_path, [])
    model = recorder.model
    images, labels, weights = batch([30, 60], [0, 1])
    model.train_on_batch(images, labels, sample_weight=weights)
    recorder.on_epoch_begin(0)
    recorder.on_epoch_end(0, {"loss": 2.0, "val_age_mae": 3.0})
    again, other = RunRecorder(tmp_path, monitor="val_age_mae"), small_model()
    assert again.load() == 1 and again.pending and again.history == recorder.history
    again.restore(other)
    assert not again.pending and int(other.optimizer.iterations) == 1
    for one, two in zip(model.variables + model.optimizer.variables, other.variables + other.optimizer.variables):
        np.testing.assert_array_equal(one, two)


def test_what_a_killed_run_left_is_put_right(tmp_path):
    recorded(tmp_path, [{"val_age_mae": 2}, {"val_age_mae": 1}])
    lines = (tmp_path / "history.csv").read_text().splitlines()
    (tmp_path / "history.csv").write_text("\n".join(lines[:2]))
    for name in (".model.123.part.keras", ".resume.npz.part"):
        (tmp_path / name).write_text("half")
    RunRecorder(tmp_path, monitor="val_age_mae").load()
    assert (tmp_path / "history.csv").read_text().splitlines() == lines
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.csv", "model.keras", "resume.npz"]


def test_state_of_another_model_is_refused(tmp_path):
    recorded(tmp_path, [{"val_age_mae": 1}])
    recorder = RunRecorder(tmp_path, monitor="val_age_mae")
    recorder.load()
    with pytest.raises(UserError, match="belongs to another model or optimizer"):
        recorder.restore(small_model("l1"))


def test_no_state_is_a_new_run(tmp_path):
    recorder = RunRecorder(tmp_path, monitor="val_age_mae")
    assert recorder.load() == 0 and not recorder.pending


def test_loss_that_is_no_number_stops_the_run(tmp_path):
    with pytest.raises(UserError, match=r"The training loss became nan in epoch 2\. Try a lower train\.lr"):
        recorded(tmp_path, [{"val_age_mae": 1}, {"loss": float("nan")}])
    # The good epoch is still there.
    assert RunRecorder(tmp_path, monitor="val_age_mae").load() == 1
