"""Decodes of a distribution against golden.json and by hand."""

import numpy as np
import pytest
import torch

from torch_ref.heads import (
    DistributionHead,
)


@pytest.mark.parametrize("decode", ["expectation", "argmax", "median"])
def test_distribution_decode_golden(golden, inputs, decode):
    head = DistributionHead(3, max_age=10, decode=decode)
    np.testing.assert_allclose(head.decode(inputs.logits), golden[decode], rtol=1e-12)


def test_rounded_expectation_rounds_half_up():
    head = DistributionHead(3, min_age=20, max_age=23, decode="rounded_expectation")
    far = -1000.0
    output = torch.tensor([[0, 0, far, far], [far, 0, 0, far], [far, 0, far, far], [0, 0, 0, far]], dtype=torch.float64)
    # Expectations 20.5, 21.5, 21 and 21; rounding half to even would give 20 and 22 for the first two.
    assert head.decode(output).tolist() == [21, 22, 21, 21]


def test_median_is_the_first_age_that_reaches_one_half():
    head = DistributionHead(3, min_age=20, max_age=23, decode="median")
    probabilities = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.25, 0.125, 0.125, 0.5], [0.125, 0.125, 0.5, 0.25]])
    assert head.decode(probabilities.log()).tolist() == [20, 22, 22]


def test_median_minimises_the_expected_absolute_error():
    output = 3 * torch.randn(20, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    head = DistributionHead(3, decode="median")
    ages = torch.arange(101, dtype=torch.float64)
    cost = head.probabilities(output) @ (ages[:, None] - ages).abs()
    np.testing.assert_array_equal(head.decode(output), cost.argmin(1))
