"""What every age loss promises, whatever its formula; driven by METHODS, so a new method is tested once it is there."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, norm

from keras_impl.methods import METHODS
from tests.keras_impl.method_cases import CASES, LOSS_CASES, loss_params, value_and_gradient
from tests.method_cases import DEPTH, TREES, K, extra_inputs, head_output, rows_of

AGES = np.array([0.0, 100, 37.25, 37, 0.5, 99.5, 116, -3, 1e4, -1e4, np.nan])


def extreme_outputs(head, rng):
    """Raw outputs from flat to saturated, up to 1e4 in magnitude."""
    scaled = [head_output(head, rng, 2, scale) for scale in (0, 1, 30, 1e3, 1e4)]
    if head == "forest":
        return np.concatenate(scaled)
    shape = scaled[0].shape[1:]
    constant = [np.full((1, *shape), value) for value in (1e4, -1e4, 1e-3)]
    if head in ("regression", "stagewise", "noisy_regression"):
        return np.concatenate([*scaled, *constant])
    width = shape[0]
    spikes = [np.where(np.arange(width) == peak, 1e4, -1e4)[None] for peak in (0, 37, width - 1)]
    step = np.where(np.arange(width) < 37, 1e4, -1e4)[None]
    ramp = np.linspace(-1e4, 1e4, width)[None]
    return np.concatenate([*scaled, *constant, *spikes, step, -step, ramp, ramp[:, ::-1]])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "values"), LOSS_CASES)
def test_finite_for_any_output_and_any_age(name, values, dtype):
    rng = np.random.default_rng(0)
    shapes = extreme_outputs(METHODS[name].head, rng)
    output = np.repeat(shapes, len(AGES), axis=0)
    age = np.tile(AGES, len(shapes))
    extra = extra_inputs(METHODS[name].needs, rng, len(age), dtype)
    for progress in (0.0, 0.4, 1.0) if "progress" in extra else (None,):
        extra |= {} if progress is None else {"progress": progress}
        value, gradient = value_and_gradient(name, age, output, dtype=dtype, **loss_params(name, values), **extra)
        assert value.shape == age.shape and gradient.shape == output.shape
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[~np.isnan(age)]).max() > 1e-3


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    case=st.sampled_from([case.values for case in LOSS_CASES]),
    dtype=st.sampled_from(["float32", "float64"]),
    ages=st.lists(st.floats(-1e4, 1e4) | st.integers(0, 100) | st.just(np.nan), min_size=1, max_size=6),
    scale=st.sampled_from([0, 1e-3, 1, 30, 1e4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_finite_for_any_batch(case, dtype, ages, scale, seed):
    name, values = case
    rng = np.random.default_rng(seed)
    output = head_output(METHODS[name].head, rng, len(ages), scale)
    extra = extra_inputs(METHODS[name].needs, rng, len(ages), dtype)
    value, gradient = value_and_gradient(name, ages, output, dtype=dtype, **loss_params(name, values), **extra)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()


def batch(name, rng, count=24):
    """Ages (some unknown), moderate outputs and extra inputs."""
    age = rng.uniform(-5, 110, count)
    age[[2, 9, 10]] = np.nan
    return age, head_output(METHODS[name].head, rng, count, 3.0), extra_inputs(METHODS[name].needs, rng, count)


@pytest.mark.parametrize(("name", "values"), LOSS_CASES)
def test_sample_order_does_not_matter(name, values):
    rng = np.random.default_rng(1)
    age, output, extra = batch(name, rng)
    params = loss_params(name, values)
    order = rng.permutation(len(age))
    value, gradient = value_and_gradient(name, age, output, **params, **extra)
    again, gradient_again = value_and_gradient(name, age[order], output[order], **params, **rows_of(extra, order))
    np.testing.assert_allclose(again, value[order], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(gradient_again, gradient[order], rtol=1e-9, atol=1e-11)
    assert np.ptp(value) > 1e-2


@pytest.mark.parametrize(("name", "values"), LOSS_CASES)
def test_unknown_labels_change_nothing(name, values):
    """The mean over the known ages and its gradient, with and without the unknown rows.

    Without a known age the method `interval` may still learn from an interval; here such rows are masked like others.
    """
    age, output, extra = batch(name, np.random.default_rng(2))
    params = loss_params(name, values)
    known = np.flatnonzero(~np.isnan(age))
    value, gradient = known_mean_and_gradient(name, age, output, {**params, **extra})
    alone, gradient_alone = known_mean_and_gradient(
        name, age[known], output[known], {**params, **rows_of(extra, known)}
    )
    assert value == pytest.approx(alone, rel=1e-11)
    np.testing.assert_allclose(gradient[known], gradient_alone, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.delete(gradient, known, axis=0), 0)


def known_mean_and_gradient(name, age, output, params):
    known = ~np.isnan(age)
    variable = tf.constant(output)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = tf.reduce_sum(METHODS[name].loss(age, variable, **params) * known) / known.sum()
    return loss.numpy(), tf.convert_to_tensor(tape.gradient(loss, variable)).numpy()


@pytest.mark.parametrize(("name", "values"), LOSS_CASES)
def test_only_batch_coupled_losses_look_at_other_samples(name, values):
    age, output, extra = batch(name, np.random.default_rng(3))
    params = loss_params(name, values)
    value, _ = value_and_gradient(name, age, output, **params, **extra)
    first, _ = value_and_gradient(name, age[:6], output[:6], **params, **rows_of(extra, slice(6)))
    independent = np.allclose(first, value[:6], rtol=1e-9)
    # The balanced MSE's fitted variants know the training ages from elsewhere.
    assert independent != (METHODS[name].batch_coupled and values.get("variant") not in ("gai", "bni"))


def one_hot(age):
    return 1e4 * np.eye(K)[age] - 5e3


def exceeds(age):
    return np.where(np.arange(K - 1) < np.array(age)[:, None], 1e4, -1e4)


def log_target(age, density):
    logs = density(np.arange(K), np.array(age)[:, None])
    return logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))


def certain_forest(age):
    """Two trees whose leaves all hold the age; a batch of equal ages."""
    leaves = (len(age), TREES, 2 ** (DEPTH - 1))
    routes = np.full(leaves, -np.log(leaves[-1]))
    return np.stack([routes, np.full(leaves, age[0]), np.zeros(leaves)], axis=1)


def gaussian(ages, age):
    return norm.logpdf(ages, age, 2.0)


def laplace(ages, age):
    return -np.abs(ages - age)


# Head -> the output that says "this age, certainly".
CERTAIN = {
    "distribution": one_hot,
    "rank": exceeds,
    "independent_rank": exceeds,
    "conditional_rank": exceeds,
    "regression": lambda age: np.array(age, float),
    "stagewise": lambda age: np.array(age, float),
    "noisy_regression": lambda age: np.stack([np.array(age, float), np.full(len(age), 2.0)], axis=1),
    "forest": certain_forest,
}
# Method -> its best output where that is not the certain one: soft targets want themselves.
BEST = {
    "dldl": lambda age: log_target(age, gaussian),
    "dldl_v2": lambda age: log_target(age, gaussian),
    "interval_dldl_v2": lambda age: log_target(age, gaussian),
    "sord": lambda age: log_target(age, laplace),
}
RESIDUE_CONSTANT = 0.25 * K * -(1e-3 * np.log(1e-3))  # each class adds this much as published, whatever the output
# Method -> its value there, 0 unless here.
FLOOR = {
    "mean_residue": RESIDUE_CONSTANT,
    "adaptive_mean_residue": RESIDUE_CONSTANT,
    "dldl": lambda age: entropy(np.exp(log_target(age, gaussian)), axis=1),
    "sord": lambda age: entropy(np.exp(log_target(age, laplace)), axis=1),
    "unimodal": np.log(1 / 12) / 2,
    "deep_regression_forest": np.log(2 * np.pi / 12) / 2,
}


def perfect(name, values, age):
    """(best output, its value) of ages of which the balanced MSE sees but one at a time."""
    floor = 0 if values.get("entropy") == "monotone" or values.get("variant") == "l2" else FLOOR.get(name, 0)
    output = BEST.get(name, CERTAIN[METHODS[name].head])(age)
    return output, floor(age) if callable(floor) else np.full(len(age), floor)


# Without a closed form: the fitted balanced MSE adds the density of the training ages. Squared SORD equals DLDL.
SCORED = [
    case
    for case in LOSS_CASES
    if case.values[1].get("variant") not in ("gai", "bni") and case.values[1].get("metric") is None
]


@pytest.mark.parametrize(("name", "values"), SCORED)
def test_perfect_prediction_scores_its_floor(name, values):
    for age in ([18], [50], [77]):
        output, floor = perfect(name, values, age)
        extra = {"progress": 0.4} if "progress" in METHODS[name].needs else {}
        value, gradient = value_and_gradient(name, age, output, **loss_params(name, values), **extra)
        # The Gaussian of the label distribution is cut at 0 and 100: nine spreads away at 18.
        np.testing.assert_allclose(value, floor, rtol=1e-12, atol=1e-12)
        # The routes of a forest are not free of each other; DLDL-v2 has the kink of |m - y| here.
        if name not in ("deep_regression_forest", "dldl_v2", "interval_dldl_v2"):
            np.testing.assert_allclose(gradient, 0, atol=1e-9)


@pytest.mark.parametrize(("name", "values"), SCORED)
def test_nothing_scores_below_the_floor(name, values):
    rng = np.random.default_rng(4)
    extra = {"progress": 0.4} if "progress" in METHODS[name].needs else {}
    if METHODS[name].batch_coupled:
        counts, ages = 1, [[age] for age in (18, 50, 77)]
    else:
        counts, ages = 30, [[age] * 30 for age in (18, 50, 77)]
    for age, scale in zip(ages, (0.3, 3.0, 30.0)):
        _, floor = perfect(name, values, age)
        output = head_output(METHODS[name].head, rng, counts, scale)
        value, _ = value_and_gradient(name, age, output, **loss_params(name, values), **extra)
        assert np.all(value >= floor - 1e-9)
        if name != "balanced_mse":  # alone in its batch it has nothing to tell apart
            assert value.max() > floor.max() + 1e-2


class TestMinAge:
    """A grid that starts elsewhere is the same problem shifted, except where leaves or predictions are in years."""

    @pytest.mark.parametrize(("name", "values"), LOSS_CASES)
    def test_shifted_grid(self, name, values):
        head = METHODS[name].head
        age, output, extra = batch(name, np.random.default_rng(5))
        params = loss_params(name, values)
        value, _ = value_and_gradient(name, age, output, **params, **extra)
        shifted_output, shift = output.copy(), 15
        if head in ("regression", "stagewise"):
            shifted_output += shift
        elif head == "noisy_regression":
            shifted_output[:, 0] += shift
        elif head == "forest":
            shifted_output[:, 1] += shift
        moved = {key: item + shift if key in ("age_low", "age_high") else item for key, item in extra.items()}
        if params.get("mixture_means") is not None:
            params["mixture_means"] = [mean + shift for mean in params["mixture_means"]]
        again, _ = value_and_gradient(name, age + shift, shifted_output, min_age=shift, **params, **moved)
        known = ~np.isnan(age)
        np.testing.assert_allclose(again[known], value[known], rtol=1e-9, atol=1e-10)


# Their age enters through its class alone; all the others use the fraction too.
BY_CLASS = {"cross_entropy", "interval", "coral", "or_cnn", "corn"}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("low", "high"), [(36.5, 37.49), (37.5, 38.49), (-0.4, 0.49), (99.5, 101.0)])
def test_half_years_round_up(name, low, high):
    """Ages of one class and, where only it counts, one value; the next lower age is of another class."""
    rng = np.random.default_rng(9)
    output = np.repeat(head_output(METHODS[name].head, rng, 1, 3.0), 3, axis=0)
    extra = {"progress": 0.5} if "progress" in METHODS[name].needs else {}
    params = {**loss_params(name, {}), **extra}
    value, _ = value_and_gradient(name, [low, high, low], output, **params)
    if name in BY_CLASS:
        np.testing.assert_allclose(value, value[0], rtol=1e-12)
        before, _ = value_and_gradient(name, [low - 0.01, high, low], output, **params)
        assert low < 0 or abs(before[0] - value[0]) > 1e-3
    elif METHODS[name].head in ("regression", "stagewise", "noisy_regression", "forest") or 0 < low < 99:
        # Only losses over the grid clip the age to it.
        assert abs(value[1] - value[0]) > 1e-4


@pytest.mark.parametrize("name", [name for name in METHODS if "age_std" in METHODS[name].needs])
class TestSpread:
    AGE = np.array([20.0, 37.4, 60])

    def value(self, name, **params):
        output = head_output(METHODS[name].head, np.random.default_rng(8), 3, 3.0)
        if METHODS[name].head == "regression":
            output = self.AGE + np.array([-2.0, 0.7, 0.3])
        if "progress" in METHODS[name].needs:
            params["progress"] = 0.9
        return value_and_gradient(name, self.AGE, output, **params)[0]

    def test_unknown_spread_is_the_default_one(self, name):
        default = self.value(name)
        np.testing.assert_array_equal(self.value(name, age_std=np.full(3, np.nan)), default)
        mixed = self.value(name, age_std=np.array([5.0, np.nan, 5.0]))
        np.testing.assert_allclose(mixed[1], default[1], rtol=1e-12)
        assert np.all(np.abs(mixed - default)[[0, 2]] > 1e-3)

    def test_spread_of_its_own_label(self, name):
        separate = [self.value(name, age_std=np.full(3, std))[row] for row, std in enumerate((1.0, 4.0, 9.0))]
        np.testing.assert_allclose(self.value(name, age_std=np.array([1.0, 4.0, 9.0])), separate, rtol=1e-12)

    def test_half_a_year_is_the_least(self, name):
        half = self.value(name, age_std=np.full(3, 0.5))
        for std in (0.0, 1e-10, 0.49):
            np.testing.assert_array_equal(self.value(name, age_std=np.full(3, std)), half)
        assert np.abs(self.value(name, age_std=np.full(3, 0.51)) - half).max() > 1e-4


def test_the_cases_are_all_methods():
    assert {case.values[0] for case in CASES} == METHODS.keys()


SWITCHES = [(name, key) for name in METHODS for key in METHODS[name].switches if key in METHODS[name].params]


@pytest.mark.parametrize(("name", "key"), [pair for pair in SWITCHES if pair[1] != "importance_weights"])
def test_unknown_switch_names_the_known_ones(name, key):
    """Importance weights are numbers by the time the loss sees them."""
    age, output, extra = batch(name, np.random.default_rng(6))
    params = {**loss_params(name, {}), key: "nonsense"}
    with pytest.raises(ValueError, match=key) as refusal:
        value_and_gradient(name, age, output, **params, **extra)
    assert all(word in str(refusal.value) for word in [*METHODS[name].switches[key], "nonsense"])
