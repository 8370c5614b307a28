"""Layers in the form of Keras, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from torch_ref.layers import BatchNorm, Normalization, SameConv2d


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "expected"),
    [
        # How many pixels each window covers: the zeros are what is missing to the kernel's size.
        (4, 3, 2, [3, 2]),
        (5, 3, 2, [2, 3, 2]),
        (6, 5, 2, [4, 5, 3]),
        (7, 5, 2, [3, 5, 5, 3]),
        (4, 3, 1, [2, 3, 3, 2]),
        (5, 1, 2, [1, 1, 1]),
    ],
)
def test_same_padding_by_hand(size, kernel_size, stride, expected):
    convolution = SameConv2d(1, 1, kernel_size, stride=stride, bias=False)
    nn.init.ones_(convolution.weight)
    with torch.no_grad():
        counts = convolution(torch.ones(1, 1, size, size))[0, 0]
    np.testing.assert_array_equal(counts, np.outer(expected, expected))


def test_same_padding_puts_the_larger_half_last():
    convolution = SameConv2d(1, 1, (1, 3), stride=2, bias=False)
    convolution.weight.data.copy_(torch.tensor([100.0, 10.0, 1.0]))
    with torch.no_grad():
        outputs = convolution(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]))
    assert outputs.flatten().tolist() == [123, 340]


def test_batch_norm_moves_towards_the_biased_variance():
    norm = BatchNorm(1, epsilon=1e-3, momentum=0.75).double()
    x = torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64).reshape(2, 1, 2, 1)  # mean 4, biased variance 5
    outputs = norm(x)
    np.testing.assert_allclose(outputs.detach().flatten(), np.array([-3, -1, 1, 3]) / math.sqrt(5 + 1e-3), rtol=1e-12)
    assert norm.moving_mean.item() == pytest.approx(0.25 * 4, rel=1e-12)
    assert norm.moving_variance.item() == pytest.approx(0.75 * 1 + 0.25 * 5, rel=1e-12)


def test_batch_norm_evaluates_with_the_moving_statistics():
    norm = BatchNorm(1, epsilon=0.5).double().eval()
    for name, value in {"gamma": 3.0, "beta": -1.0, "moving_mean": 2.0, "moving_variance": 3.5}.items():
        getattr(norm, name).data.fill_(value)
    x = torch.tensor([2.0, 6.0], dtype=torch.float64).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(norm(x).detach().flatten(), [-1, 3 * (6 - 2) / 2 - 1], rtol=1e-12)
    assert norm.moving_mean.item() == 2


def test_normalization_by_hand():
    norm = Normalization(3)
    norm.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.variance.copy_(torch.tensor([4.0, 9.0, 16.0]))
    np.testing.assert_allclose(norm(torch.full((1, 3, 1, 1), 5.0)).flatten(), [2, 1, 0.5])
