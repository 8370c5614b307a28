"""Logits for the losses."""

import pytest
import torch


@pytest.fixture
def random_logits():
    return torch.randn(6, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
