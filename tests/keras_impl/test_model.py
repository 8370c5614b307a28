"""What the model's training step makes of known and unknown labels."""

import numpy as np
import pytest
import tensorflow as tf

from faces.errors import UserError
from keras_impl.input.augment import mix_labels
from keras_impl.methods import METHODS
from tests.keras_impl.small_models import compiled_model, labelled_batch


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
    model = compiled_model(method)
    known = labelled_batch([20, 41.5, 0, 100], [0, 1, 1, 0])
    unknown = labelled_batch([np.nan] * 3, [-1] * 3, seed=2)
    loss, gradient = loss_and_gradient(model, *known)
    assert loss > 0 and max(np.abs(part).max() for part in gradient) > 1e-3
    with_unknown, gradient_with_unknown = loss_and_gradient(model, *joined(known, unknown))
    assert with_unknown == pytest.approx(loss, rel=1e-5)
    for one, other in zip(gradient, gradient_with_unknown, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_known_is_no_loss_and_no_gradient(method):
    loss, gradient = loss_and_gradient(compiled_model(method), *labelled_batch([np.nan] * 3, [-1] * 3))
    assert loss == 0
    for part in gradient:
        np.testing.assert_array_equal(part, 0)


def test_each_output_counts_its_own_labels():
    """Age and gender of different rows: the loss is the sum of the two means, the gender's doubled."""
    model = compiled_model()
    images, labels, weights = labelled_batch([30, np.nan, 50, np.nan], [-1, 1, -1, 0])
    outputs = {name: np.asarray(value) for name, value in model(images).items()}
    log = {name: value - np.log(np.exp(value).sum(axis=1, keepdims=True)) for name, value in outputs.items()}
    expected = -(log["age"][0, 30] + log["age"][2, 50]) / 2 - 2.0 * (log["gender"][1, 1] + log["gender"][3, 0]) / 2
    assert loss_and_gradient(model, images, labels, weights)[0] == pytest.approx(expected, rel=1e-5)


def test_metrics_are_means_over_the_known():
    model = compiled_model()
    images, labels, weights = labelled_batch([30, np.nan, 50, 4], [1, -1, 0, -1])
    model.reset_metrics()
    result = model.test_on_batch(images, labels, sample_weight=weights, return_dict=True)
    prediction = {name: np.asarray(value) for name, value in model.predict_faces(images).items()}
    expected = np.abs(prediction["age"] - [30, np.nan, 50, 4])[[0, 2, 3]].mean()
    assert float(result["age_mae"]) == pytest.approx(expected, rel=1e-5)
    correct = prediction["gender"].argmax(axis=1)[[0, 2]] == [1, 0]
    assert float(result["gender_accuracy"]) == pytest.approx(correct.mean())


@pytest.mark.parametrize("size", [32, 64, 256])
def test_a_weighted_face_counts_the_same_in_a_batch_of_any_size(size):
    """The gradient of its output, in units of an unweighted face's share of the batch, is its weight."""
    model = compiled_model("l1")
    images, labels, weights = labelled_batch(np.linspace(1, 90, size), [0, 1] * (size // 2))
    labels["age"][-4:] = np.nan  # they count nowhere
    weights["age"][:] = [32.3, *[0.5] * (size - 5), 0, 0, 0, 0]
    outputs = {name: tf.constant(value) for name, value in model(images).items()}
    with tf.GradientTape() as tape:
        tape.watch(outputs["age"])
        loss = model.compute_loss(images, labels, outputs, sample_weight=weights)
    effective = (size - 4) * np.abs(tape.gradient(loss, outputs["age"]))
    np.testing.assert_allclose(effective, weights["age"], rtol=1e-5)


def test_mixup_weighs_the_losses_of_both_labels():
    model = compiled_model()
    images, labels, weights = labelled_batch([30, 60], [0, 1])
    one = loss_and_gradient(model, images, labels, weights)[0]
    swapped = {name: label[::-1] for name, label in labels.items()}
    other = loss_and_gradient(model, images, swapped, weights)[0]
    mixed = {
        **labels,
        **{f"{name}_partner": label for name, label in swapped.items()},
        "mix_weight": np.float32([0.7, 0.7]),
    }
    assert loss_and_gradient(model, images, mixed, weights)[0] == pytest.approx(0.7 * one + 0.3 * other, rel=1e-5)


def test_mixup_keeps_the_weight_of_each_label():
    """Over a pair that mixes with each other each label has its own weight once, whoever holds the larger share."""
    model = compiled_model("l1", outputs=("age",))
    images, labels, _ = labelled_batch([30, 60], [0, 1])
    weights = {"age": np.float32([0.5, 8])}
    outputs = {"age": np.float32([50, 50])}
    labels, weights = mix_labels(np.float32([0.7, 0.7]), np.array([1, 0]), {"age": labels["age"]}, weights)
    loss = model.compute_loss(images, labels, outputs, sample_weight=weights)
    assert float(loss) == pytest.approx((0.5 * 20 + 8 * 10) / 2, rel=1e-6)


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
        compiled_model(**{"method": "cross_entropy", **settings})


# === Metrics over nothing, and predictions that are no numbers ===


def measured(model, ages, genders, images=None):
    batch, labels, weights = labelled_batch(ages, genders)
    model.reset_metrics()
    return model.test_on_batch(batch if images is None else images, labels, sample_weight=weights, return_dict=True)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_metric_over_no_known_label_is_nan_not_the_best(jit_compile):
    model = compiled_model()
    model.jit_compile = jit_compile
    nothing = measured(model, [np.nan, np.nan], [-1, -1])
    assert np.isnan(nothing["age_mae"]) and np.isnan(nothing["gender_accuracy"])
    known = measured(model, [30, np.nan], [-1, 1])
    assert np.isfinite([known["age_mae"], known["gender_accuracy"]]).all()


def test_prediction_that_is_no_number_is_never_left_out():
    model = compiled_model()
    images, _, _ = labelled_batch([20] * 12, [0] * 12)
    images[3] = np.nan
    result = measured(model, [20.0] * 12, [0] * 12, images)
    assert result["age_mae"] == np.inf and not np.isfinite(result["loss"])
    assert np.isfinite(measured(model, [20.0] * 12, [0] * 12)["age_mae"])
