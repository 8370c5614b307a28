"""CORN's three normalisers against the code that each is from, on the inputs of golden.json.

`examples`: coral_pytorch >= 1.3, called here. `classes`: `corn_loss` of coral_pytorch 1.2.0. `task_means`:
`loss_conditional` of github.com/Raschka-research-group/corn-ordinal-neuralnet, model-code/refactored-version/cnn-image/
helper_files/losses.py. The numbers of the last two were printed by those functions under torch 2.13 in float64.
"""

import numpy as np
import pytest
import torch
from coral_pytorch.losses import corn_loss

from parity_tests.test_golden import F, Y

K = 11
# Of the whole batch; of its first three faces, which leave the ranks from 7 on without a face.
VALUES = {
    "classes": (2.364022168771049, 1.5053468580409157),
    "task_means": (1.0675681994031667, 1.095121910075735),
}
# (4, 10), the gradient of the whole batch's loss.
GRADIENTS = {
    "classes": [
        [0.0454545455, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [-0.0044153102, -0.0159628869, -0.0839924861, 0.0227132114, 0, 0, 0, 0, 0, 0],
        [-0.0620718177, -0.0854389505, -0.0111168939, -0.0847762453, -0.0846331729, -0.0100736355, -0.0858897247,
         0.0226710052, 0, 0],
        [-0.085585882, -0.0634632526, -0.010942952, -0.0131609498, -0.0127127262, -0.0121072553, -0.0585585507,
         -0.0847688705, -0.0543040765, -0.0160231005],
    ],
    "task_means": [
        [0.0125, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [-0.0012142103, -0.0058530585, -0.0307972449, 0.0083281775, 0, 0, 0, 0, 0, 0],
        [-0.0170697499, -0.0313276152, -0.0040761944, -0.0310846233, -0.0465482451, -0.0055404995, -0.0472393486,
         0.0124690529, 0, 0],
        [-0.0235361176, -0.0232698593, -0.0040124157, -0.0048256816, -0.0069919994, -0.0066589904, -0.0322072029,
         -0.0466228788, -0.0597344842, -0.0176254105],
    ],
}  # fmt: skip
UNKNOWN = {"none": Y, "one, which leaves tasks without a face": np.where(Y == 10, np.nan, Y)}


def test_examples(stack):
    for age in UNKNOWN.values():
        known = ~np.isnan(age)
        logits = torch.tensor(F[known], requires_grad=True)
        expected = corn_loss(logits, torch.tensor(age[known]).long(), K)
        expected.backward()
        values, gradient = stack.loss_and_gradient("corn", age, F)
        assert values[known].mean() == pytest.approx(expected.item(), rel=1e-12)
        np.testing.assert_allclose(gradient[known] / known.sum(), logits.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("normaliser", VALUES)
def test_released_value_and_gradient(stack, normaliser):
    for age, expected in zip(UNKNOWN.values(), VALUES[normaliser], strict=True):
        known = ~np.isnan(age)
        values = stack.loss("corn", age, F, normaliser=normaliser)
        assert values[known].mean() == pytest.approx(expected, rel=1e-12)
    gradient = stack.gradient("corn", Y, F, normaliser=normaliser)
    np.testing.assert_allclose(gradient / len(Y), GRADIENTS[normaliser], rtol=0, atol=1e-10)


@pytest.mark.parametrize("normaliser", ["examples", *VALUES])
def test_nobody_known_is_finite(stack, normaliser):
    values, gradient = stack.loss_and_gradient("corn", np.full(4, np.nan), F, normaliser=normaliser)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_the_word_that_no_release_stood_behind_is_refused_with_the_new_ones(stack):
    with pytest.raises(ValueError, match=r"normaliser.*examples, classes, task_means.*'tasks'|'tasks'.*task_means"):
        stack.loss("corn", Y, F, normaliser="tasks")
