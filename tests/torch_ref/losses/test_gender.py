"""The gender loss against torch and by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.torch_ref.losses.tensors import assert_values, column
from torch_ref import losses


def test_gender_cross_entropy_by_hand():
    output = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64)
    each = losses.gender_cross_entropy(torch.tensor([0, 1, -1], dtype=torch.int32), output)
    assert_values(each, [math.log(4), math.log(4 / 3), math.log(4)])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_gender_loss_is_torch_s(smoothing):
    output = 3 * torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    gender = torch.tensor([0, 1, 1, 0, 1, -1], dtype=torch.int32)
    expected = F.cross_entropy(output, gender.clamp(min=0).long(), reduction="none", label_smoothing=smoothing)
    values = losses.gender_cross_entropy(gender, output, label_smoothing=smoothing)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=0)


def test_focal_gender_loss_by_hand():
    # p = 1/4, 3/4.
    output = column(0, math.log(3))[None]
    value = losses.gender_cross_entropy(torch.tensor([1]), output, focal_gamma=2.0)
    assert value.item() == pytest.approx(0.25**2 * math.log(4 / 3), rel=1e-12)
    value = losses.gender_cross_entropy(torch.tensor([1]), output, focal_gamma=0.5, label_smoothing=0.2)
    expected = 0.9 * 0.25**0.5 * math.log(4 / 3) + 0.1 * 0.75**0.5 * math.log(4)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_saturated_gender_logits_are_finite(dtype, gamma, smoothing):
    output = torch.tensor([[1e4, -1e4], [1e4, -1e4], [0, 0]], dtype=dtype, requires_grad=True)
    gender = torch.tensor([0, 1, -1])
    values = losses.gender_cross_entropy(gender, output, focal_gamma=gamma, label_smoothing=smoothing)
    (gradient,) = torch.autograd.grad(values.sum(), output)
    assert torch.isfinite(values).all() and torch.isfinite(gradient).all()
    assert values[1] > 1e4 and abs(gradient[1, 0]) > 0.5
