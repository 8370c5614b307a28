"""The stagewise head against golden.json and by hand."""

import numpy as np
import pytest
import torch

from torch_ref.heads import (
    StagewiseHead,
    stagewise_age,
)


def test_stagewise_age_golden(golden, inputs):
    logits, stages = inputs.logits, range(3)
    probabilities = torch.stack([logits[:, 3 * k : 3 * k + 3].abs() / 3 for k in stages], dim=1)
    shifts = torch.stack([logits[:, 1 + k : 4 + k].tanh() for k in stages], dim=1)
    years = stagewise_age(probabilities, shifts, (logits[:, 8:11] / 6).tanh(), width=101, delta_scale=1)
    np.testing.assert_allclose(years, golden["ssr"], rtol=1e-12)


def test_stagewise_age_without_shift_and_scale_is_a_number_of_base_three():
    digits = torch.eye(3, dtype=torch.float64)[torch.tensor([[2, 0, 1], [0, 1, 2]])]
    years = stagewise_age(digits, torch.zeros_like(digits), torch.zeros(2, 3).double(), width=27)
    np.testing.assert_allclose(years, [18 + 0 + 1, 0 + 3 + 2], rtol=1e-14)


@pytest.mark.parametrize("activation", StagewiseHead.ACTIVATIONS)
def test_stagewise_head_feeds_its_layers_to_stagewise_age(activation):
    head = StagewiseHead(4, min_age=20, max_age=70, stage_activation=activation, delta_scale=0.5).double()
    features = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layers = {name: layer(features) for name, layer in head.named_children()}
    assert set(layers) == {f"stage{k}_{part}" for k in (1, 2, 3) for part in ("bins", "shifts", "scale")}
    bins, shifts = (torch.stack([layers[f"stage{k}_{part}"] for k in (1, 2, 3)], 1) for part in ("bins", "shifts"))
    probabilities = bins.softmax(2) if activation == "softmax" else bins.relu()
    scales = torch.cat([layers[f"stage{k}_scale"] for k in (1, 2, 3)], dim=1).tanh()
    expected = 20 + stagewise_age(probabilities, shifts.tanh(), scales, width=51, delta_scale=0.5)
    torch.testing.assert_close(head(features), expected, rtol=1e-13, atol=0)


def test_saturated_stages_stay_finite():
    head = StagewiseHead(1)
    output = head(torch.tensor([[1e4], [-1e4]]))
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())
