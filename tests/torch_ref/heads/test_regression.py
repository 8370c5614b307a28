"""Heads of years: start, scale, noise and clipping."""

import numpy as np
import pytest
import torch

from faces.errors import UserError
from torch_ref.heads import (
    NoisyRegressionHead,
    RegressionHead,
)


@pytest.mark.parametrize("head", [RegressionHead, NoisyRegressionHead])
@pytest.mark.parametrize("scale", RegressionHead.SCALES)
@pytest.mark.parametrize(("initial_bias", "first"), [(None, 39.0), (31.5, 31.5)])
def test_regression_starts_at_its_initial_bias(head, scale, initial_bias, first):
    head = head(3, min_age=18, max_age=60, initial_bias=initial_bias, scale=scale)
    age = head.decode(head(torch.zeros(2, 3)))
    assert age.shape == (2,)
    np.testing.assert_allclose(age.detach(), [first, first], rtol=1e-6)


def test_noisy_regression_repeats_its_noise():
    head = NoisyRegressionHead(3, min_age=18, max_age=60, initial_noise=4.0)
    assert head.log_noise.shape == (1,)
    output = head(10 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (5, 2)
    assert len(set(output[:, 0].tolist())) == 5
    np.testing.assert_allclose(output[:, 1].detach(), np.full(5, 4), rtol=1e-6)
    output[:, 1].sum().backward()
    assert head.log_noise.grad.item() == pytest.approx(5 * 4, rel=1e-6)
    assert head.decode(torch.tensor([[-5.0, 2], [30, 2], [70, 2]])).tolist() == [18, 30, 60]


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan")])
def test_noise_must_be_above_zero(noise):
    with pytest.raises(UserError, match=f"above 0.*{noise}"):
        NoisyRegressionHead(3, initial_noise=noise)


def test_normalised_regression_moves_by_the_width_of_the_grid():
    heads = [RegressionHead(1, min_age=20, max_age=70, scale=scale) for scale in RegressionHead.SCALES]
    outputs = []
    for head in heads:
        torch.nn.init.ones_(head.value.weight)
        outputs.append(head(torch.tensor([[0.1]])).item())
    assert outputs == pytest.approx([45 + 0.1, 45 + 50 * 0.1])


def test_regression_decode_clips_to_the_grid():
    head = RegressionHead(3, min_age=18, max_age=60)
    assert head.decode(torch.tensor([-5.0, 18.25, 59.75, 70.0])).tolist() == [18, 18.25, 59.75, 60]
