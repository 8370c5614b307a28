"""Metrics, truth first: one value a sample (N,), NaN where the label is unknown; their nan-mean is the metric.

weight (N,) counts how often a bootstrap resample drew each sample. The values are then scaled by weight / mean(weight
over the known samples), so that the nan-mean becomes the weighted mean; it is NaN when no known sample was drawn.
A NaN prediction has no error in years, so mae stays NaN there; the other metrics count the sample as wrong.
"""

import torch

# Expected values of float32 probabilities that should be exactly theta years off miss it by less than this.
AGE_TOLERANCE = 1e-6


def mae(age, predicted, *, weight=None):
    """Absolute error |predicted - age| in years; age and predicted (N,)."""
    return _per_sample((predicted - age).abs(), ~torch.isnan(age), weight)


def cumulative_score(age, predicted, *, theta=5, weight=None):
    """1 where the absolute error is at most theta years, else 0: the mean is CS(theta); age and predicted (N,)."""
    hits = (predicted - age).abs() <= theta + AGE_TOLERANCE
    return _per_sample(hits.to(predicted.dtype), ~torch.isnan(age), weight)


def epsilon_error(age, predicted, *, age_std, weight=None):
    """1 - exp(-(predicted - age)^2 / (2 age_std^2)); age, predicted and age_std (N,).

    A label without spread is the limit of small ones: 0 for the exact age, 1 for any other. A NaN prediction scores 1.
    The value is NaN where age or age_std is.

    Escalera et al., ChaLearn Looking at People 2015: Apparent Age and Cultural Event Recognition, ICCV workshops 2015.
    """
    error = predicted - age
    no_spread = age_std == 0
    spread = torch.where(no_spread, torch.ones_like(age_std), age_std)
    smooth = 1 - torch.exp(-0.5 * (error / spread).square())
    values = torch.where(no_spread, (error != 0).to(smooth.dtype), smooth)
    values = torch.where(torch.isnan(predicted), torch.ones_like(values), values)
    return _per_sample(values, ~(torch.isnan(age) | torch.isnan(age_std)), weight)


def gender_accuracy(gender, probabilities, *, weight=None):
    """1 where the more probable gender is the true one, else 0; gender (N,) int, -1 unknown, probabilities (N, 2)."""
    hits = (probabilities.argmax(dim=1) == gender) & ~torch.isnan(probabilities).any(dim=1)
    return _per_sample(hits.to(probabilities.dtype), gender >= 0, weight)


METRICS = {
    "mae": mae,
    "cumulative_score": cumulative_score,
    "epsilon_error": epsilon_error,
    "gender_accuracy": gender_accuracy,
}


def _per_sample(values, known, weight):
    if values.ndim != 1 or values.shape != known.shape:
        raise ValueError(
            "Every label and prediction needs the shape (N,). "
            f"Received: labels {tuple(known.shape)}, values {tuple(values.shape)}"
        )
    if weight is not None:
        weight = weight.to(values.dtype)
        values = values * (weight / weight[known].mean())
    return torch.where(known, values, torch.full_like(values, torch.nan))
