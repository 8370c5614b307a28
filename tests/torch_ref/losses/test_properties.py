"""What holds for every age loss of METHODS and its variants, whatever the ages and outputs."""

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.method_cases import K, case_id, extra_inputs, last_layer, loss_params, rows_of, switched, with_other_numbers
from torch_ref.forest import log_routes
from torch_ref.methods import METHODS

AGES = st.one_of(
    st.sampled_from([0.0, 100.0, 99.5, 0.5, math.nan, -3.0, 140.0]),
    st.floats(-20, 130, allow_nan=False, width=32),
)
SCALES = st.sampled_from([0.0, 1.0, 30.0, 1e4])
DTYPES = st.sampled_from([torch.float32, torch.float64])
CLIPPED = ("distribution", "rank", "independent_rank", "conditional_rank")
# Logarithms of a density, or of a share of other ages, have no floor at 0.
SIGNED = ("unimodal", "balanced_mse", "deep_regression_forest")

TRAIN_AGES = np.random.default_rng(11).gamma(4, 9, 500)  # of the fitted parameters
CASES = {case_id(*case): case for case in (*switched(head=False), *with_other_numbers())}

every_case = pytest.mark.parametrize("case", CASES)
few_examples = settings(max_examples=20, deadline=None, derandomize=True)


def method_of(case):
    return METHODS[CASES[case][0]]


def make_raw(case, count, scale, seed, dtype, **sizes):
    """Last layers' values for the method's head; scale 0 makes them all equal."""
    raw = last_layer(method_of(case).head, np.random.default_rng(seed), count, scale, **sizes)
    return torch.tensor(raw, dtype=dtype, requires_grad=True)


def to_output(case, raw):
    """The head's output; only a forest's is more than its last layer's values."""
    if method_of(case).head != "forest":
        return raw
    log_route = log_routes(raw)
    mean = torch.linspace(-2, 104, log_route[0].numel(), dtype=raw.dtype).reshape_as(log_route[0])
    # One leaf is narrower than the loss allows.
    leaves = (leaf.expand_as(log_route) for leaf in (mean, (mean / 10).square()))
    return torch.stack([log_route, *leaves], dim=1)


def make_needs(case, count, seed):
    extra = extra_inputs(method_of(case).needs, np.random.default_rng(seed), count, "float32")
    return {name: torch.tensor(value) if np.ndim(value) else value for name, value in extra.items()}


@functools.cache
def params_of(case, classes):
    return loss_params(method_of(case), CASES[case][1], TRAIN_AGES, classes=classes)


def compute(case, age, raw, *, classes=K, **needs):
    return method_of(case).loss(age, to_output(case, raw), **params_of(case, classes), **needs)


@every_case
@given(ages=st.lists(AGES, min_size=1, max_size=6), scale=SCALES, seed=st.integers(0, 99), dtype=DTYPES)
@few_examples
def test_value_and_gradient_are_finite(case, ages, scale, seed, dtype):
    raw, age = make_raw(case, len(ages), scale, seed, dtype), torch.tensor(ages)
    values = compute(case, age, raw, **make_needs(case, len(ages), seed))
    (gradient,) = torch.autograd.grad(values.sum(), raw)
    assert values.shape == (len(ages),)
    assert values.dtype == dtype
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    if CASES[case][0] not in SIGNED:
        # float32 may leave a zero divergence a rounding error below zero.
        assert (values >= -1e-4).all()


@every_case
@given(ages=st.lists(AGES, min_size=2, max_size=6), seed=st.integers(0, 99), dtype=DTYPES, data=st.data())
@few_examples
def test_value_belongs_to_its_own_row(case, ages, seed, dtype, data):
    """Permuted rows give permuted values, and a row alone the value it has in the batch unless they are coupled."""
    order = torch.tensor(data.draw(st.permutations(range(len(ages)))))
    age = torch.tensor(ages)
    raw = make_raw(case, len(ages), 3.0, seed, dtype).detach()
    needs = make_needs(case, len(ages), seed)
    values = compute(case, age, raw, **needs)
    torch.testing.assert_close(compute(case, age[order], raw[order], **rows_of(needs, order)), values[order])
    if not method_of(case).batch_coupled:
        torch.testing.assert_close(compute(case, age[:1], raw[:1], **rows_of(needs, slice(1))), values[:1])


@every_case
@given(
    seed=st.integers(0, 99), unknown=st.lists(st.booleans(), min_size=5, max_size=5).filter(lambda rows: not all(rows))
)
@few_examples
def test_unknown_age_leaves_the_other_rows_alone(case, seed, unknown):
    unknown = torch.tensor(unknown)
    age = torch.linspace(3, 90, 5, dtype=torch.float64)
    raw, needs = make_raw(case, 5, 3.0, seed, torch.float64), make_needs(case, 5, seed)
    masked = compute(case, torch.where(unknown, math.nan, age), raw, **needs)
    without = compute(case, age[~unknown], raw[~unknown], **rows_of(needs, ~unknown))
    torch.testing.assert_close(masked[~unknown], without, rtol=1e-13, atol=1e-12)
    (gradient,) = torch.autograd.grad((masked * ~unknown).sum(), raw)
    assert (gradient[unknown] == 0).all()


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_batch_without_a_known_age_is_finite(case, dtype, scale):
    raw = make_raw(case, 3, scale, 5, dtype)
    values = compute(case, torch.full((3,), math.nan), raw)
    (gradient,) = torch.autograd.grad(values.sum(), raw)
    assert torch.isfinite(values).all() and torch.isfinite(gradient).all()


@pytest.mark.parametrize("case", [case for case in CASES if method_of(case).head in CLIPPED])
@given(age=st.floats(-50, 200, allow_nan=False, width=32), seed=st.integers(0, 99))
@few_examples
def test_age_outside_the_grid_counts_as_its_end(case, age, seed):
    raw = make_raw(case, 1, 3.0, seed, torch.float64)
    clipped = torch.tensor([min(max(age, 0.0), 100.0)])
    torch.testing.assert_close(compute(case, torch.tensor([age]), raw), compute(case, clipped, raw))


@every_case
@given(seed=st.integers(0, 99), scale=st.sampled_from([1.0, 30.0]))
@few_examples
def test_float32_follows_float64(case, seed, scale):
    age, needs = torch.tensor([0.0, 100.0, 31.4, 67.5]), make_needs(case, 4, seed)
    raw = make_raw(case, 4, scale, seed, torch.float32)
    single, double = compute(case, age, raw, **needs), compute(case, age.double(), raw.double(), **needs)
    # The unimodal loss weighs its order term ten times.
    atol = 1e-3 if CASES[case][0] == "unimodal" else 1e-4
    torch.testing.assert_close(single.double(), double, rtol=5e-6, atol=atol)


@pytest.mark.parametrize("case", [case for case in CASES if method_of(case).head != "noisy_regression"])
def test_gradient_equals_central_differences(case):
    age, needs = torch.tensor([0.2, 3.4, 6.0], dtype=torch.float64), make_needs(case, 3, 1)
    raw = make_raw(case, 3, 1.0, 8, torch.float64, classes=7, depth=3)
    assert torch.autograd.gradcheck(lambda raw: compute(case, age, raw, classes=7, **needs), (raw,))
