"""Heads: decodings, probabilities and initial values, against golden.json, coral_pytorch and by hand."""

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import proba_to_label
from coral_pytorch.layers import CoralLayer

from faces.errors import UserError
from torch_ref.heads import HEADS, DistributionHead, GenderHead, RankHead, RegressionHead


@pytest.mark.parametrize("decode", ["expectation", "argmax", "median"])
def test_distribution_decode_golden(golden, inputs, decode):
    head = DistributionHead(3, max_age=10, decode=decode)
    np.testing.assert_allclose(head.decode(inputs.logits), golden[decode], rtol=1e-12)


def test_rounded_expectation_rounds_half_up():
    head = DistributionHead(3, min_age=20, max_age=23, decode="rounded_expectation")
    far = -1000.0
    output = torch.tensor([[0, 0, far, far], [far, 0, 0, far], [far, 0, far, far], [0, 0, 0, far]], dtype=torch.float64)
    # Expectations 20.5, 21.5, 21 and 21; rounding half to even would give 20 and 22 for the first two.
    assert head.decode(output).tolist() == [21, 22, 21, 21]


def test_median_is_the_first_age_that_reaches_one_half():
    head = DistributionHead(3, min_age=20, max_age=23, decode="median")
    probabilities = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.25, 0.125, 0.125, 0.5], [0.125, 0.125, 0.5, 0.25]])
    assert head.decode(probabilities.log()).tolist() == [20, 22, 22]


def test_median_minimises_the_expected_absolute_error():
    output = 3 * torch.randn(20, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    head = DistributionHead(3, decode="median")
    ages = torch.arange(101, dtype=torch.float64)
    cost = head.probabilities(output) @ (ages[:, None] - ages).abs()
    np.testing.assert_array_equal(head.decode(output), cost.argmin(1))


def test_rank_decode_golden(golden, inputs):
    head = RankHead(3, max_age=10)
    np.testing.assert_array_equal(head.decode(inputs.rank_logits), golden["coral_decode"])


def test_rank_decode_equals_coral_pytorch():
    output = torch.randn(20, 100, generator=torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(RankHead(3).decode(output), proba_to_label(output.sigmoid()))
    np.testing.assert_array_equal(RankHead(3, min_age=20, max_age=120).decode(output), RankHead(3).decode(output) + 20)


def test_rank_head_is_the_coral_layer():
    theirs, ours = CoralLayer(4, 101), RankHead(4)
    np.testing.assert_allclose(ours.rank_bias.detach(), theirs.coral_bias.detach(), rtol=1e-7)
    with torch.no_grad():
        ours.score.weight.copy_(theirs.coral_weights.weight)
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(ours(features), theirs(features))


@pytest.mark.parametrize("scale", [1, 30])
def test_rank_probabilities_agree_with_the_expectation_decode(scale):
    """Out-of-order ranks too: the differences of the sorted probabilities telescope to the same sum."""
    head = RankHead(3, min_age=10, max_age=60, decode="expectation")
    output = scale * torch.randn(20, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    probabilities = head.probabilities(output)
    assert probabilities.shape == (20, 51)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(probabilities @ head.ages.double(), head.decode(output), rtol=1e-12)


def test_rank_probabilities_by_hand():
    # s = 0.9, 0.6, 0.1 in order, and the same out of order.
    survival = torch.tensor([[0.9, 0.6, 0.1], [0.6, 0.1, 0.9]], dtype=torch.float64)
    probabilities = RankHead(3, max_age=3).probabilities(survival.logit())
    np.testing.assert_allclose(probabilities, [[0.1, 0.3, 0.5, 0.1]] * 2, rtol=1e-12)


def test_rank_expectation_by_hand():
    survival = torch.tensor([[0.9, 0.6, 0.1]], dtype=torch.float64)
    head = RankHead(3, min_age=5, max_age=8, decode="expectation")
    np.testing.assert_allclose(head.decode(survival.logit()), [6.6], rtol=1e-12)


@pytest.mark.parametrize("scale", RegressionHead.SCALES)
@pytest.mark.parametrize(("initial_bias", "first"), [(None, 39.0), (31.5, 31.5)])
def test_regression_starts_at_its_initial_bias(scale, initial_bias, first):
    head = RegressionHead(3, min_age=18, max_age=60, initial_bias=initial_bias, scale=scale)
    output = head(torch.zeros(2, 3))
    assert output.shape == (2,)
    np.testing.assert_allclose(output.detach(), [first, first], rtol=1e-6)


def test_normalised_regression_moves_by_the_width_of_the_grid():
    heads = [RegressionHead(1, min_age=20, max_age=70, scale=scale) for scale in RegressionHead.SCALES]
    outputs = []
    for head in heads:
        torch.nn.init.ones_(head.value.weight)
        outputs.append(head(torch.tensor([[0.1]])).item())
    assert outputs == pytest.approx([45 + 0.1, 45 + 50 * 0.1])


def test_regression_decode_clips_to_the_grid():
    head = RegressionHead(3, min_age=18, max_age=60)
    assert head.decode(torch.tensor([-5.0, 18.25, 59.75, 70.0])).tolist() == [18, 18.25, 59.75, 60]


def test_regression_head_has_no_distribution():
    assert not hasattr(RegressionHead(3), "probabilities")


def test_gender_probabilities_by_hand():
    probabilities = GenderHead(3).probabilities(torch.tensor([[0.0, np.log(3.0)]]))
    np.testing.assert_allclose(probabilities, [[0.25, 0.75]], rtol=1e-6)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shapes(name, dtype):
    head = HEADS[name](7, min_age=5, max_age=25).to(dtype)
    output = head(torch.randn(1, 7, dtype=dtype))
    assert output.dtype == head.decode(output).dtype == dtype
    assert output.shape == {"distribution": (1, 21), "rank": (1, 20), "regression": (1,)}[name]
    if name != "regression":
        assert head.probabilities(output).shape == (1, 21)


@pytest.mark.parametrize(("head", "decode"), [(DistributionHead, "rank"), (RankHead, "argmax")])
def test_unknown_decode_lists_the_known(head, decode):
    with pytest.raises(UserError, match=f"{decode!r}.*{', '.join(head.DECODES)}"):
        head(3, decode=decode)


def test_unknown_scale_lists_the_known():
    with pytest.raises(UserError, match=r"'months'.*years, normalised"):
        RegressionHead(3, scale="months")
