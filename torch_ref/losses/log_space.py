"""Sums of exponentials whose logarithms are large."""

import torch


def log_sum_exp(values: torch.Tensor) -> torch.Tensor:
    """log sum exp(values) over the last axis; at least one value is finite, others may be -inf."""
    # The gradient is exp(values - result): beside a result of 1e4 float32 would leave it four digits.
    peak = values.detach().amax(dim=-1, keepdim=True)
    return (values - peak).logsumexp(dim=-1) + peak.squeeze(-1)
