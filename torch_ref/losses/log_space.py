"""Sums of exponentials whose logarithms are large."""


def log_sum_exp(values, dim):
    """log sum exp(values) over dim; at least one value is finite, others may be -inf."""
    # The gradient is exp(values - result): beside a result of 1e4 float32 would leave it four digits.
    peak = values.detach().amax(dim=dim, keepdim=True)
    return (values - peak).logsumexp(dim=dim) + peak.squeeze(dim)
