"""The Keras stack against numbers from outside: golden.json, coral_pytorch, scipy, scikit-learn."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from bridge import keras_value_and_gradient, to_numpy
from coral_pytorch.losses import coral_loss
from scipy.stats import norm
from sklearn.metrics import accuracy_score, mean_absolute_error

from keras_impl import losses, metrics
from keras_impl.heads import DistributionHead, RankHead

# Its notes say how each value was fed.
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
Z = 3 * np.sin(1.7 * np.arange(4)[:, None] + 0.9 * np.arange(11)[None] ** 2)
F = Z[:, :10]
Y, MU, SD = (np.array(GOLDEN["inputs"][key], float) for key in ("Y", "MU", "SD"))
MEAN_VARIANCE = GOLDEN["mean_variance"]
LOSSES = [
    (losses.cross_entropy, Y, Z, {}, GOLDEN["ce"]),
    (losses.mean_variance, Y, Z, {}, sum(MEAN_VARIANCE.values())),
    (losses.mean_variance, Y, Z, {"mean_weight": 0}, MEAN_VARIANCE["ce"] + MEAN_VARIANCE["var"]),
    (losses.dldl, Y, Z, {"sigma": 2.0}, GOLDEN["dldl_soft_ce_sigma2"]),
    (losses.dldl_v2, MU, Z, {"age_std": SD}, GOLDEN["dldlv2_total"]),
    (losses.dldl_v2, MU, Z, {"age_std": SD, "l1_weight": 0}, GOLDEN["dldlv2_kl_per_sample"]),
    (losses.dldl_v2, MU, Z, {"age_std": SD, "kl_reduction": "element"}, GOLDEN["dldlv2_released_total"]),
    (losses.coral, Y, F, {}, GOLDEN["coral_mean"]),
]
GRADIENTS = [
    (losses.cross_entropy, Z, "ce"),
    (losses.mean_variance, Z, "mv_total"),
    (losses.dldl, Z, "dldl_sigma2"),
    (losses.coral, F, "coral"),
]


@pytest.mark.parametrize(("loss", "age", "output", "params", "expected"), LOSSES)
def test_loss(loss, age, output, params, expected):
    value, _ = keras_value_and_gradient(lambda tensor: loss(age, tensor, **params), output)
    assert value.mean() == pytest.approx(expected, rel=1e-11)


def test_coral_of_each_sample():
    value, _ = keras_value_and_gradient(lambda tensor: losses.coral(Y, tensor), F)
    np.testing.assert_allclose(value, GOLDEN["coral_each"], rtol=1e-12)


@pytest.mark.parametrize(("loss", "output", "key"), GRADIENTS)
def test_gradient(loss, output, key):
    _, gradient = keras_value_and_gradient(lambda tensor: loss(Y, tensor), output)
    # Nine decimals of a central difference of the mean loss.
    np.testing.assert_allclose(gradient / len(Y), GOLDEN["grad_wrt_logits"][key], atol=2e-9)


def test_coral_docstring_example_of_coral_pytorch():
    logits = np.array([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]])
    value = to_numpy(losses.coral(np.array([2.0, 1.0, 4.0]), keras.ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(value, [0.5370, 0.8951, 0.6441], atol=5e-5)
    levels = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1.0]])
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25])
    expected = coral_loss(torch.tensor(logits), levels, importance_weights=weights, reduction=None)
    weighted = losses.coral(
        np.array([2.0, 1.0, 4.0]), keras.ops.convert_to_tensor(logits), importance_weights=weights.numpy()
    )
    np.testing.assert_allclose(to_numpy(weighted), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("head", "output", "expected"),
    [
        (DistributionHead(max_age=10), Z, GOLDEN["expectation"]),
        (DistributionHead(max_age=10, decode="argmax"), Z, GOLDEN["argmax"]),
        (DistributionHead(max_age=10, decode="median"), Z, GOLDEN["median"]),
        (RankHead(max_age=10), F, GOLDEN["coral_decode"]),
    ],
)
def test_decode(head, output, expected):
    np.testing.assert_allclose(to_numpy(head.decode(keras.ops.convert_to_tensor(output))), expected, rtol=1e-11)


def test_dldl_target_is_the_normal_density():
    """With uniform logits of a wide grid the loss is ln K whatever the target; with peaked ones it is the density's."""
    density = norm.pdf(np.arange(101), loc=37.4, scale=3.0)
    logits = np.random.default_rng(0).normal(0, 2, (1, 101))
    log_probabilities = logits - np.log(np.exp(logits).sum())
    value = to_numpy(losses.dldl(np.array([37.4]), keras.ops.convert_to_tensor(logits), age_std=np.array([3.0])))
    np.testing.assert_allclose(value, -(density / density.sum() * log_probabilities).sum(), rtol=1e-12)


def test_epsilon_error():
    values = to_numpy(metrics.epsilon_error(MU, np.array(GOLDEN["inputs"]["O"]), age_std=SD))
    assert values.mean() == pytest.approx(GOLDEN["eps_error_plain"], rel=1e-12)


def test_epsilon_error_of_a_certain_label_and_of_a_missing_prediction():
    values = metrics.epsilon_error(
        np.array([30.0, 30.0, 30.0]), np.array([30.0, 30.1, np.nan]), age_std=np.array([0.0, 0.0, 2.0])
    )
    np.testing.assert_array_equal(to_numpy(values), [0, 1, 1])


def test_mae_and_gender_accuracy_equal_sklearn():
    rng = np.random.default_rng(1)
    age, predicted = rng.uniform(0, 100, (2, 50))
    assert to_numpy(metrics.mae(age, predicted)).mean() == pytest.approx(mean_absolute_error(age, predicted), rel=1e-12)
    gender, probabilities = rng.integers(0, 2, 50), rng.dirichlet([1, 1], 50)
    accuracy = to_numpy(metrics.gender_accuracy(gender, probabilities)).mean()
    assert accuracy == pytest.approx(accuracy_score(gender, probabilities.argmax(1)), rel=1e-12)
    weight = rng.integers(0, 4, 50).astype(float)
    weighted = to_numpy(metrics.mae(age, predicted, weight=weight)).mean()
    assert weighted == pytest.approx(mean_absolute_error(age, predicted, sample_weight=weight), rel=1e-12)
