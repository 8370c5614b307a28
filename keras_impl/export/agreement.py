"""Whether an exported file says what Keras says, and how far an 8-bit one may be from it."""

from collections.abc import Mapping

import numpy as np

from faces.errors import UserError

# Largest difference of one value. Float32 arithmetic in another order moves ages by some 1e-5 years; a wrong
# preprocessing or decode moves them by years.
LIMITS = {"age": 1e-3, "age_interval": 1e-3, "gender": 1e-4, "age_distribution": 1e-4}
UNITS = {"age": "years", "age_interval": "years", "gender": "probability", "age_distribution": "probability"}


def require_agreement(
    expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], *, decode: str | None = None, min_age: int = 0
) -> tuple[dict[str, float], int]:
    """Compare two predictions of the same N faces, value by value.

    Args:
        expected: {name: array}, the prediction of Keras.
        found: likewise, that of the exported file.
        decode: name of the age head's decode. One in whole years jumps at a border, where rounding decides: there the
            distribution is compared, and the age is not.
        min_age: first age of the distribution.

    Returns:
        ({"years", "probability": largest difference of the values in this unit}, number of faces at a border).

    Raises:
        UserError: another name, shape or value.
    """
    _require_same_shapes(expected, found)
    border = at_border(expected, decode, min_age)
    largest = dict.fromkeys((UNITS[name] for name in expected), 0.0)
    for name, values in expected.items():
        rows = ~border if name in ("age", "age_interval") else slice(None)
        difference = float(np.max(np.abs(values[rows] - found[name][rows]), initial=0.0))
        if not difference <= LIMITS[name]:
            raise UserError(
                f"The export does not agree with Keras, so nothing was written: {name} differs by up to "
                f"{difference:.2g}, the limit is {LIMITS[name]:g}"
            )
        largest[UNITS[name]] = max(largest[UNITS[name]], difference)
    return largest, int(border.sum())


def _require_same_shapes(expected, found):
    shapes, others = ({name: np.shape(values) for name, values in part.items()} for part in (expected, found))
    if shapes != others:
        raise UserError(f"The export has other outputs than Keras, so nothing was written: {others} for {shapes}")


def at_border(prediction: Mapping[str, np.ndarray], decode: str | None, min_age: int = 0) -> np.ndarray:
    """(N,) bool: whether a decode in whole years is within rounding of another year.

    Args:
        prediction: of Keras, with an `age_distribution` (N, K) where the head has one.
        decode: name of the age head's decode, None without one.
    """
    count = len(next(iter(prediction.values())))
    distribution = prediction.get("age_distribution")
    if distribution is None:
        return np.zeros(count, bool)
    margin = LIMITS["age_distribution"]
    if decode in ("rank", "median"):  # both ask which side of 1/2 the cumulative probability of each year is
        return np.any(np.abs(np.cumsum(distribution, axis=1, dtype=np.float64) - 0.5) < margin, axis=1)
    if decode == "argmax":
        second, first = np.sort(distribution, axis=1)[:, -2:].T
        return first - second < margin
    if decode == "rounded_expectation":
        years = distribution @ (min_age + np.arange(distribution.shape[1]))
        return np.abs(years - np.floor(years) - 0.5) < LIMITS["age"]
    return np.zeros(count, bool)
