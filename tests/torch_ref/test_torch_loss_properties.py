"""What holds for every age loss of METHODS, whatever the ages and logits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_ref.methods import METHODS

AGES = st.one_of(
    st.sampled_from([0.0, 100.0, 99.5, 0.5, math.nan, -3.0, 140.0]),
    st.floats(-20, 130, allow_nan=False, width=32),
)
SCALES = st.sampled_from([0.0, 1.0, 30.0, 1e4])
DTYPES = st.sampled_from([torch.float32, torch.float64])
WIDTHS = {"distribution": (101,), "rank": (100,), "regression": ()}

every_method = pytest.mark.parametrize("name", METHODS)
few_examples = settings(max_examples=25, deadline=None, derandomize=True)


def make_output(name, count, scale, seed, dtype):
    """Outputs for the method's head; scale 0 makes them all equal."""
    generator = torch.Generator().manual_seed(seed)
    output = scale * torch.randn(count, *WIDTHS[METHODS[name].head], generator=generator, dtype=torch.float64)
    return output.to(dtype).requires_grad_()


def make_needs(name, count, seed):
    generator = torch.Generator().manual_seed(seed)
    std = 6 * torch.rand(count, generator=generator)
    std[std < 1] = math.nan
    std[std > 5] = 0.0
    return {"age_std": std} if "age_std" in METHODS[name].needs else {}


def compute(name, age, output, **needs):
    return METHODS[name].loss(age, output, **METHODS[name].params, **needs)


@every_method
@given(ages=st.lists(AGES, min_size=1, max_size=6), scale=SCALES, seed=st.integers(0, 99), dtype=DTYPES)
@few_examples
def test_value_and_gradient_are_finite(name, ages, scale, seed, dtype):
    output = make_output(name, len(ages), scale, seed, dtype)
    values = compute(name, torch.tensor(ages), output, **make_needs(name, len(ages), seed))
    (gradient,) = torch.autograd.grad(values.sum(), output)
    assert values.shape == (len(ages),)
    assert values.dtype == dtype
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    # float32 may leave a zero divergence a rounding error below zero.
    assert (values >= -1e-4).all()


@every_method
@given(ages=st.lists(AGES, min_size=2, max_size=6), seed=st.integers(0, 99), dtype=DTYPES, data=st.data())
@few_examples
def test_value_belongs_to_its_own_row(name, ages, seed, dtype, data):
    """Permuted rows give permuted values, and a row alone the value it has in the batch."""
    order = torch.tensor(data.draw(st.permutations(range(len(ages)))))
    age = torch.tensor(ages)
    output = make_output(name, len(ages), 3.0, seed, dtype).detach()
    needs = make_needs(name, len(ages), seed)
    values = compute(name, age, output, **needs)
    permuted = compute(name, age[order], output[order], **{key: value[order] for key, value in needs.items()})
    alone = compute(name, age[:1], output[:1], **{key: value[:1] for key, value in needs.items()})
    torch.testing.assert_close(permuted, values[order])
    torch.testing.assert_close(alone, values[:1])


@every_method
@given(seed=st.integers(0, 99), unknown=st.lists(st.booleans(), min_size=5, max_size=5))
@few_examples
def test_unknown_age_leaves_the_other_rows_alone(name, seed, unknown):
    unknown = torch.tensor(unknown)
    age = torch.linspace(3, 90, 5, dtype=torch.float64)
    output = make_output(name, 5, 3.0, seed, torch.float64)
    values = compute(name, age, output)
    masked = compute(name, torch.where(unknown, math.nan, age), output)
    torch.testing.assert_close(masked[~unknown], values[~unknown], rtol=0, atol=0)
    (gradient,) = torch.autograd.grad((masked * ~unknown).sum(), output)
    assert (gradient[unknown] == 0).all()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.head != "regression"])
@given(age=st.floats(-50, 200, allow_nan=False, width=32), seed=st.integers(0, 99))
@few_examples
def test_age_outside_the_grid_counts_as_its_end(name, age, seed):
    output = make_output(name, 1, 3.0, seed, torch.float64)
    clipped = torch.tensor([min(max(age, 0.0), 100.0)])
    torch.testing.assert_close(compute(name, torch.tensor([age]), output), compute(name, clipped, output))


@every_method
@given(seed=st.integers(0, 99), scale=st.sampled_from([1.0, 30.0]))
@few_examples
def test_float32_follows_float64(name, seed, scale):
    age = torch.tensor([0.0, 100.0, 31.4, 67.5])
    output = make_output(name, 4, scale, seed, torch.float32)
    single, double = compute(name, age, output), compute(name, age.double(), output.double())
    torch.testing.assert_close(single.double(), double, rtol=5e-6, atol=1e-4)


@every_method
def test_gradient_equals_central_differences(name):
    age = torch.tensor([0.2, 3.4, 6.0], dtype=torch.float64)
    classes = tuple(6 for _ in WIDTHS[METHODS[name].head])
    output = torch.randn(3, *classes, dtype=torch.float64, generator=torch.Generator().manual_seed(8)).requires_grad_()
    assert torch.autograd.gradcheck(lambda output: compute(name, age, output), (output,))
