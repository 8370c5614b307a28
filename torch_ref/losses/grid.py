"""Labels and probabilities on the age grid, as the losses need them."""

import torch

# A label distribution narrower than this falls between two ages of the grid.
MIN_AGE_STD = 0.5


def check_columns(label: torch.Tensor, output: torch.Tensor) -> None:
    """Raise a ValueError unless label is (N,) and output (N, columns)."""
    if label.ndim != 1 or output.ndim != 2 or len(output) != len(label):
        raise ValueError(
            "A label of shape (N,) and an output of shape (N, columns) are needed. "
            f"Received: label {tuple(label.shape)}, output {tuple(output.shape)}"
        )


def replace_unknown(label: torch.Tensor, replacement: float) -> torch.Tensor:
    """The label (N,) with the replacement for NaN."""
    return torch.where(torch.isnan(label), torch.full_like(label, replacement), label)


def known_age(age: torch.Tensor, output: torch.Tensor, min_age: int) -> torch.Tensor:
    """The age (N,) in the output's dtype, min_age where unknown; not clipped."""
    return replace_unknown(age, min_age).to(output.dtype)


def age_on_grid(age: torch.Tensor, output: torch.Tensor, classes: int, min_age: int) -> torch.Tensor:
    """known_age clipped to the grid of the given number of classes."""
    return known_age(age, output, min_age).clamp(min_age, min_age + classes - 1)


def age_index(age: torch.Tensor, min_age: int) -> torch.Tensor:
    """Class index (N,) of ages on the grid."""
    return torch.floor(age + 0.5).long() - min_age


def grid_ages(output: torch.Tensor, min_age: int) -> torch.Tensor:
    """The ages (K,) of an output (N, K)."""
    return min_age + torch.arange(output.shape[1], dtype=output.dtype, device=output.device)


def expected_age(probabilities: torch.Tensor, min_age: int) -> torch.Tensor:
    """m = sum_k p_k a_k, (N, K) -> (N,)."""
    return (probabilities * grid_ages(probabilities, min_age)).sum(dim=1)


def age_variance(probabilities: torch.Tensor, mean: torch.Tensor, min_age: int) -> torch.Tensor:
    """v = sum_k p_k (a_k - m)^2, (N, K) and (N,) -> (N,)."""
    # E[a^2] - m^2 would lose every digit of a small variance around a large age.
    return (probabilities * (grid_ages(probabilities, min_age) - mean[:, None]).square()).sum(dim=1)


def label_std(age_std: torch.Tensor | None, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """Spread (N,) of each label in the dtype of like (N,): sigma where age_std is None or NaN; at least MIN_AGE_STD."""
    std = torch.full_like(like, sigma) if age_std is None else replace_unknown(age_std, sigma).to(like.dtype)
    return std.clamp(min=MIN_AGE_STD)
