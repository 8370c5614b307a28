"""How far the two stacks may differ, in one place, each with its reason."""

import numpy as np

# float64 proves the formula: what is left are sums taken in another order.
# float32 proves the practice: the authors' own torch modules differ by up to 8.3e-7 (loss) and 3.6e-6 (gradient)
# between float32 and float64; near-perfect inputs cancel, hence the absolute part.
LOSS = {"float64": {"rtol": 1e-12, "atol": 1e-11}, "float32": {"rtol": 5e-6, "atol": 1e-4}}
GRADIENT = {"float64": 1e-10, "float32": 1e-5}  # of the largest entry, absolute below 1
METRIC = {"rtol": 0.0, "atol": 1e-12}
HEAD = {"float64": 1e-10, "float32": 1e-5}  # of the largest entry, absolute below 1
BACKBONE = {"float64": 1e-9, "float32": 1e-5}  # of the largest feature
OWN_PRECISION = 1e-6  # float32 against float64 inside one stack, of the largest feature: wider inputs are chaotic
WHOLE_GRADIENT = 1e-8  # of the largest entry of the whole gradient, float64
TRAJECTORY = {"float64": 1e-10, "float32": 1e-3}  # of the loss
# The product's float32 against a twin in float64 after twelve steps, measured at 2e-6, 4e-4 and 3e-5. Adam moves an
# entry whose gradient is all but 0 by its rounding; the statistics sum over many.
TRAINING = {"loss": 2e-5, "weights": 5e-3, "statistics": 3e-4}  # of the loss, and of the largest change of a variable


def assert_close_to_largest(actual, expected, tolerance, *, floor=1.0):
    """The largest difference is at most `tolerance` times the largest magnitude of `expected`, or times `floor`."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    assert np.isfinite(actual).all() and np.isfinite(expected).all()
    scale = max(floor, np.abs(expected).max())
    assert np.abs(actual - expected).max() <= tolerance * scale, np.abs(actual - expected).max() / scale
