"""What holds for every age loss of METHODS and its variants, whatever the ages and outputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_ref.forest import log_routes
from torch_ref.methods import METHODS

AGES = st.one_of(
    st.sampled_from([0.0, 100.0, 99.5, 0.5, math.nan, -3.0, 140.0]),
    st.floats(-20, 130, allow_nan=False, width=32),
)
SCALES = st.sampled_from([0.0, 1.0, 30.0, 1e4])
DTYPES = st.sampled_from([torch.float32, torch.float64])
# Columns of what a head's last layer gives; a forest's are the logits of the splits of five trees.
WIDTHS = {
    "distribution": (101,),
    "rank": (100,),
    "independent_rank": (100,),
    "conditional_rank": (100,),
    "regression": (),
    "noisy_regression": (2,),
    "forest": (5, 7),
    "stagewise": (),
}
CLIPPED = ("distribution", "rank", "independent_rank", "conditional_rank")
# Logarithms of a density, or of a share of other ages, have no floor at 0.
SIGNED = ("unimodal", "balanced_mse", "deep_regression_forest")

MIXTURE = {"mixture_weights": [0.4, 0.0, 0.6], "mixture_means": [20, 3, 50], "mixture_variances": [30, 1 / 12, 200]}
CASES = {name: (name, {}) for name in METHODS} | {
    "mean_residue monotone": ("mean_residue", {"entropy": "monotone", "top_k": 2}),
    "adaptive_mean_residue monotone": ("adaptive_mean_residue", {"entropy": "monotone"}),
    "corn tasks": ("corn", {"normaliser": "tasks"}),
    "or_cnn weighted": ("or_cnn", {"importance_weights": np.linspace(0, 1, 100)}),
    "dldl_v2 element": ("dldl_v2", {"kl_reduction": "element"}),
    "sord squared": ("sord", {"metric": "squared"}),
    "balanced_mse gai": ("balanced_mse", {"variant": "gai", **MIXTURE}),
    "balanced_mse bni": ("balanced_mse", {"variant": "bni", "bucket_weights": np.arange(101) % 7 / 297}),
    "deep_regression_forest l2": ("deep_regression_forest", {"variant": "l2"}),
}

every_case = pytest.mark.parametrize("case", CASES)
few_examples = settings(max_examples=20, deadline=None, derandomize=True)


def method_of(case):
    return METHODS[CASES[case][0]]


def make_raw(case, count, scale, seed, dtype, widths=WIDTHS):
    """Last layers' values for the method's head; scale 0 makes them all equal."""
    generator = torch.Generator().manual_seed(seed)
    raw = scale * torch.randn(count, *widths[method_of(case).head], generator=generator, dtype=torch.float64)
    return raw.to(dtype).requires_grad_()


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
    generator = torch.Generator().manual_seed(seed)
    std, low, high = 6 * torch.rand(3, count, generator=generator)
    std[std < 1] = math.nan
    std[std > 5] = 0.0
    low, high = 30 * low - 20, 10 + 20 * high
    low[low > 100] = high[high < 30] = math.nan
    needs = {"age_std": std, "age_low": low, "age_high": high, "progress": 0.3}
    return {name: needs[name] for name in method_of(case).needs}


def rows(needs, index):
    return {name: value if name == "progress" else value[index] for name, value in needs.items()}


def compute(case, age, raw, **needs):
    method = method_of(case)
    return method.loss(age, to_output(case, raw), **{**method.params, **CASES[case][1], **needs})


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
    torch.testing.assert_close(compute(case, age[order], raw[order], **rows(needs, order)), values[order])
    if not method_of(case).batch_coupled:
        torch.testing.assert_close(compute(case, age[:1], raw[:1], **rows(needs, slice(1))), values[:1])


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
    without = compute(case, age[~unknown], raw[~unknown], **rows(needs, ~unknown))
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
    atol = 1e-3 if case == "unimodal" else 1e-4
    torch.testing.assert_close(single.double(), double, rtol=5e-6, atol=atol)


@pytest.mark.parametrize("case", [case for case in CASES if method_of(case).head != "noisy_regression"])
def test_gradient_equals_central_differences(case):
    widths = {**WIDTHS, "distribution": (7,), "conditional_rank": (6,), "forest": (2, 3)}
    age, needs = torch.tensor([0.2, 3.4, 6.0], dtype=torch.float64), make_needs(case, 3, 1)
    raw = make_raw(case, 3, 1.0, 8, torch.float64, widths)
    assert torch.autograd.gradcheck(lambda raw: compute(case, age, raw, **needs), (raw,))
