"""Loss values and gradients against numbers from outside: golden.json, coral_pytorch, scipy, scikit-learn, by hand."""

import math

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import levels_from_labelbatch
from coral_pytorch.losses import coral_loss
from scipy.stats import norm
from sklearn.metrics import log_loss

from torch_ref import losses


def gradient_of_mean(loss, age, output, **params):
    output = output.clone().requires_grad_()
    loss(age, output, **params).mean().backward()
    return output.grad


def assert_values(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=rtol, atol=1e-12)


@pytest.fixture
def random_logits():
    return torch.randn(6, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_cross_entropy_golden(golden, inputs):
    assert_values(losses.cross_entropy(inputs.age, inputs.logits).mean(), golden["ce"])


def test_cross_entropy_of_uniform_logits_is_log_k():
    assert_values(losses.cross_entropy(torch.tensor([30.0]), torch.zeros(1, 101, dtype=torch.float64)), [math.log(101)])


def test_cross_entropy_equals_sklearn_log_loss(random_logits):
    age = torch.tensor([0.0, 100.0, 37.0, 5.0, 64.0, 18.0])
    expected = log_loss(age.long(), random_logits.softmax(1), labels=range(101))
    assert_values(losses.cross_entropy(age, random_logits).mean(), expected)


def test_mean_variance_golden_parts(golden, inputs):
    parts = golden["mean_variance"]
    age, logits = inputs.age, inputs.logits
    without_terms = losses.mean_variance(age, logits, mean_weight=0, variance_weight=0)
    mean_term = losses.mean_variance(age, logits, variance_weight=0) - without_terms
    variance_term = losses.mean_variance(age, logits, mean_weight=0) - without_terms
    assert_values(without_terms.mean(), parts["ce"])
    assert_values(mean_term.mean(), parts["mean"])
    assert_values(variance_term.mean(), parts["var"])
    assert_values(losses.mean_variance(age, logits).mean(), sum(parts.values()))


def test_mean_variance_of_uniform_logits():
    # v = (101^2 - 1) / 12 = 850 and m = 50: 0.2 * 20^2 / 2 = 40 and 0.05 * 850 = 42.5 beside log 101.
    logits = torch.zeros(1, 101, dtype=torch.float64)
    assert_values(losses.mean_variance(torch.tensor([30.0]), logits), [math.log(101) + 40 + 42.5])


def test_mean_variance_compares_the_fractional_age():
    # Half on 30 and half on 31 years: m = 30.5 exactly, v = 1/4.
    logits = torch.full((1, 101), -1000.0, dtype=torch.float64)
    logits[0, 30:32] = 0
    age = torch.tensor([30.5], dtype=torch.float64)
    assert_values(losses.mean_variance(age, logits), [math.log(2) + 0.05 / 4])


def test_dldl_golden(golden, inputs):
    assert_values(losses.dldl(inputs.age, inputs.logits).mean(), golden["dldl_soft_ce_sigma2"])


def test_dldl_v2_golden(golden, inputs):
    age, logits, std = inputs.apparent_age, inputs.logits, inputs.std
    divergence = losses.dldl_v2(age, logits, age_std=std, l1_weight=0)
    assert_values(divergence.mean(), golden["dldlv2_kl_per_sample"])
    total = losses.dldl_v2(age, logits, age_std=std)
    assert_values((total - divergence).mean(), golden["dldlv2_l1"])
    assert_values(total.mean(), golden["dldlv2_total"])
    released = losses.dldl_v2(age, logits, age_std=std, kl_reduction="element")
    assert_values(released.mean(), golden["dldlv2_released_total"])


def label_distribution(age, std, classes=101):
    """The target t, read off the gradient p - t at uniform logits."""
    output = torch.zeros(1, classes, dtype=torch.float64)
    age, std = (torch.tensor([value], dtype=torch.float64) for value in (age, std))
    return (1 / classes - gradient_of_mean(losses.dldl, age, output, age_std=std))[0].numpy()


@pytest.mark.parametrize(("age", "std"), [(37.4, 2.0), (0.0, 3.5), (99.6, 1.0), (50.0, 0.5)])
def test_label_distribution_is_the_normal_density_on_the_grid(age, std):
    density = norm.pdf(np.arange(101), loc=age, scale=std)
    np.testing.assert_allclose(label_distribution(age, std), density / density.sum(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("age", "std", "mean"), [(0, 2, 1.30), (1, 2, 1.78), (1, 4, 3.31), (100, 2, 98.70)])
def test_label_distribution_cut_at_the_ends_is_shifted(age, std, mean):
    # Means of normal distributions cut to 0..100, computed apart and rounded to two digits.
    assert label_distribution(float(age), float(std)) @ np.arange(101) == pytest.approx(mean, abs=0.005)


@pytest.mark.parametrize("std", [0.0, 1e-10, 0.3])
def test_narrow_label_distribution_is_widened_to_half_a_year(std):
    np.testing.assert_array_equal(label_distribution(30.4, std), label_distribution(30.4, 0.5))


@pytest.mark.parametrize("loss", [losses.dldl, losses.dldl_v2])
def test_unknown_age_std_uses_sigma(loss, inputs):
    std = torch.tensor([math.nan, 1.0, math.nan, 3.0], dtype=torch.float64)
    mixed = loss(inputs.age, inputs.logits, age_std=std, sigma=1.5)
    all_sigma = loss(inputs.age, inputs.logits, sigma=1.5)
    own = [loss(inputs.age, inputs.logits, sigma=value) for value in (1.0, 3.0)]
    assert_values(mixed, [all_sigma[0], own[0][1], all_sigma[2], own[1][3]])


def test_dldl_v2_is_zero_where_the_prediction_is_the_target():
    age = torch.tensor([50.0], dtype=torch.float64)
    logits = -0.5 * ((torch.arange(101, dtype=torch.float64) - 50) / 2).square()[None]
    assert_values(losses.dldl_v2(age, logits), [0.0])


def test_coral_golden(golden, inputs):
    each = losses.coral(inputs.age, inputs.rank_logits)
    assert_values(each, golden["coral_each"])
    assert_values(each.mean(), golden["coral_mean"])


def test_coral_docstring_example_of_the_authors():
    # The coral_loss docstring prints 0.6920 for the mean.
    logits = torch.tensor([[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]], dtype=torch.float64)
    each = losses.coral(torch.tensor([2.0, 1.0, 4.0]), logits)
    np.testing.assert_allclose(each, [0.5370, 0.8951, 0.6441], atol=5e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_coral_equals_coral_pytorch(random_logits, weighted):
    labels = [0, 100, 37, 5, 64, 18]
    rank_logits = 5 * random_logits[:, :100]
    weights = torch.linspace(0.1, 2, 100, dtype=torch.float64) if weighted else None
    levels = levels_from_labelbatch(labels, num_classes=101, dtype=torch.float64)
    expected = coral_loss(rank_logits, levels, importance_weights=weights, reduction=None)
    actual = losses.coral(torch.tensor(labels), rank_logits, importance_weights=weights)
    assert_values(actual, expected.numpy())


@pytest.mark.parametrize(
    ("key", "loss"),
    [
        ("ce", losses.cross_entropy),
        ("mv_total", losses.mean_variance),
        ("dldl_sigma2", losses.dldl),
        ("dldlv2", losses.dldl_v2),
        ("sord_abs", losses.sord),
        ("coral", losses.coral),
        ("coral", losses.or_cnn),
        ("corn", losses.corn),
    ],
)
def test_gradient_golden(golden, inputs, key, loss):
    output = inputs.rank_logits if key in ("coral", "corn") else inputs.logits
    age, params = (inputs.apparent_age, {"age_std": inputs.std}) if key == "dldlv2" else (inputs.age, {})
    gradient = gradient_of_mean(loss, age, output, **params)
    # golden.json keeps nine decimals of central differences.
    np.testing.assert_allclose(gradient, golden["grad_wrt_logits"][key], rtol=0, atol=3e-9)


def test_regression_losses_by_hand():
    age = torch.tensor([10.0, 70.5, 120.0])
    output = torch.tensor([12.5, 70.0, -1.0])
    np.testing.assert_allclose(losses.l1(age, output), [2.5, 0.5, 121.0])
    np.testing.assert_allclose(losses.mse(age, output), [6.25, 0.25, 14641.0])


def test_gender_cross_entropy_by_hand():
    output = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64)
    each = losses.gender_cross_entropy(torch.tensor([0, 1, -1], dtype=torch.int32), output)
    assert_values(each, [math.log(4), math.log(4 / 3), math.log(4)])


@pytest.mark.parametrize(("age", "index"), [(-7, 0), (20, 0), (22.49, 2), (22.5, 3), (23.5, 4), (30, 10), (250, 10)])
def test_class_index_counts_from_min_age_and_rounds_half_up(age, index):
    logits = torch.arange(11, dtype=torch.float64)[None]
    expected = torch.logsumexp(logits[0], 0) - logits[0, index]
    assert_values(losses.cross_entropy(torch.tensor([age]), logits, min_age=20), [expected])
    rank_logits = torch.arange(1, 11, dtype=torch.float64)[None]
    # Each rank above the index costs log(1 + e^f), each below log(1 + e^-f).
    signs = np.where(np.arange(10) < index, -1, 1)
    expected = np.log1p(np.exp(signs * rank_logits[0].numpy())).sum()
    assert_values(losses.coral(torch.tensor([age]), rank_logits, min_age=20), [expected])


@pytest.mark.parametrize(
    "loss",
    [
        losses.adaptive_mean_residue,
        losses.dldl,
        losses.dldl_v2,
        losses.mean_residue,
        losses.mean_variance,
        losses.sord,
        losses.unimodal,
    ],
)
def test_shifting_the_grid_and_the_age_changes_nothing(loss, inputs):
    assert_values(loss(inputs.age + 20, inputs.logits, min_age=20), loss(inputs.age, inputs.logits))


def test_unknown_kl_reduction_lists_the_known(inputs):
    with pytest.raises(ValueError, match="sample, element"):
        losses.dldl_v2(inputs.age, inputs.logits, kl_reduction="batch")


def test_importance_weights_of_another_length_are_refused(inputs):
    with pytest.raises(ValueError, match=r"\(10,\).*\(11,\)"):
        losses.coral(inputs.age, inputs.rank_logits, importance_weights=np.ones(11))


@pytest.mark.parametrize("loss", [losses.l1, losses.mse, losses.huber, losses.epsilon_annealed, losses.soft_stagewise])
def test_regression_output_of_shape_n_1_is_refused(loss):
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 1\)"):
        loss(torch.zeros(3), torch.zeros(3, 1))


@pytest.mark.parametrize(
    "loss",
    [
        losses.adaptive_mean_residue,
        losses.coral,
        losses.corn,
        losses.cross_entropy,
        losses.dldl,
        losses.dldl_v2,
        losses.interval,
        losses.mean_residue,
        losses.mean_variance,
        losses.or_cnn,
        losses.sord,
        losses.unimodal,
    ],
)
@pytest.mark.parametrize(("age", "output"), [((3, 1), (3, 101)), ((3,), (2, 101)), ((3,), (3,))])
def test_wrong_shapes_are_refused(loss, age, output):
    with pytest.raises(ValueError, match="shape"):
        loss(torch.zeros(age), torch.zeros(output))
