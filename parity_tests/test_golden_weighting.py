"""Imbalance weights and what a batch makes of them, against the released code of Yang et al., ICML 2021.

The numbers were printed by `_prepare_weights` (imdb-wiki-dir/datasets.py), `get_lds_kernel_window` (utils.py) and
`weighted_l1_loss`, `weighted_mse_loss` (loss.py) of github.com/YyzHarry/imbalanced-regression, in float64.
"""

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from parity_tests.test_golden import OUTPUT, Y

# Nobody is older than 118, and the filter reaches the empty years up to 120.
COUNTS = {0: 9, 1: 3, 2: 1, 26: 30, 27: 12, 60: 7, 117: 2, 118: 1}
AGES = np.repeat(list(COUNTS), list(COUNTS.values())).astype(float)
FIRST = np.searchsorted(AGES, list(COUNTS))
GAUSSIAN = {"lds": True, "kernel": "gaussian", "kernel_size": 5, "kernel_sigma": 2.0}
WEIGHTS = [
    ({"scheme": "sqrt_inverse"},
     [1.097972442282, 1.901744055342, 3.293917326845, 0.601384274157, 0.950872027671, 1.244983726577, 2.32915127848,
      3.293917326845]),
    ({"scheme": "inverse"},
     [1.337448559671, 2.407407407407, 2.407407407407, 0.401234567901, 1.003086419753, 1.719576719577, 2.407407407407,
      2.407407407407]),
    ({"scheme": "sqrt_inverse", **GAUSSIAN},
     [1.06447345486, 1.060834482921, 1.122347756399, 0.668392395123, 0.67682446399, 2.211426878471, 2.479145505862,
      2.502943118494]),
    ({"scheme": "sqrt_inverse", **GAUSSIAN, "kernel_size": 9, "kernel_sigma": 1.0},
     [1.178236771046, 1.186086752338, 2.007676993545, 0.650798769217, 0.726761583159, 1.864103560338, 2.440662397952,
      2.654780017337]),
    ({"scheme": "sqrt_inverse", **GAUSSIAN, "kernel": "triangular"},
     [1.143529425525, 1.166748904679, 1.626841829397, 0.65910425972, 0.721261646894, 1.939788812952, 2.466359535466,
      2.641638310926]),
    ({"scheme": "sqrt_inverse", **GAUSSIAN, "kernel": "laplace"},
     [1.133704643561, 1.204659901216, 1.58810988216, 0.660989745894, 0.7381420754, 1.893293898128, 2.478881175784,
      2.69635170204]),
    # The released filter gets whole numbers here and cuts its result to whole numbers; this is without that cut.
    ({"scheme": "inverse", **GAUSSIAN},
     [1.947168232302, 1.557229393367, 1.325402771582, 0.64192895248, 0.653588171772, 1.401257538298, 1.522888517951,
      1.522888517951]),
]  # fmt: skip
# The same case as released, cut.
CUT = [1.93393954498, 1.582314173166, 1.338881223448, 0.644646514993, 0.656809656786, 1.392436472386, 1.513517904767,
       1.513517904767]  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), WEIGHTS)
def test_age_weights(stack, settings, expected):
    weights = np.asarray(stack.weighting.age_weights(AGES, **settings))
    np.testing.assert_allclose(weights[FIRST], expected, rtol=0, atol=1e-11)


def test_released_inverse_counts_are_cut_to_whole_numbers(stack):
    counts = np.bincount(AGES.astype(int), minlength=121).clip(5, 1000)
    kernel = np.asarray(stack.weighting.lds_kernel("gaussian", 5, 2.0))
    cut = 1 / convolve1d(counts, kernel, mode="constant")[AGES.astype(int)]
    np.testing.assert_allclose((cut / cut.mean())[FIRST], CUT, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("loss", "expected"), [("l1", 0.90625), ("mse", 1.4453125)])
def test_loss_of_a_batch(stack, loss, expected):
    """weighted_l1_loss and weighted_mse_loss: the mean of w l; unknown labels count nowhere."""
    values, weight = stack.loss(loss, Y, OUTPUT), np.array([0.25, 3.0, 0.5, 0.25])
    assert batch_loss(stack, values, weight) == pytest.approx(expected, rel=1e-12)
    assert batch_loss(stack, np.append(values, 1e3), np.append(weight, 0)) == pytest.approx(expected, rel=1e-12)
    assert batch_loss(stack, values, 0 * weight) == 0


@pytest.mark.parametrize("size", [1, 32, 64, 256])
def test_the_weight_of_a_rare_face_does_not_depend_on_the_size_of_its_batch(stack, size):
    """It is what `age_weights` says, in units of an average face: the batch's share of one face, times its size."""
    weight = np.full(size, 0.7)
    weight[0] = 32.3
    values = np.ones(size)
    _, gradient = stack.value_and_gradient(
        lambda variable: stack.losses.known_mean(variable, stack.tensor(weight))[None], values
    )
    np.testing.assert_allclose(size * gradient, weight, rtol=1e-12)


def batch_loss(stack, values, weight):
    return stack.array(stack.losses.known_mean(stack.tensor(values), stack.tensor(weight))).item()
