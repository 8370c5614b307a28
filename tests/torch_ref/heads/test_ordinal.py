"""Rank heads: biases, decodes and probabilities against golden.json, coral_pytorch and by hand."""

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import corn_label_from_logits, proba_to_label
from coral_pytorch.layers import CoralLayer

from faces.errors import UserError
from torch_ref.heads import (
    ConditionalRankHead,
    IndependentRankHead,
    RankHead,
)

rank_heads = pytest.mark.parametrize("rank_head", [RankHead, IndependentRankHead, ConditionalRankHead])
sigmoid_heads = pytest.mark.parametrize("sigmoid_head", [RankHead, IndependentRankHead])


@sigmoid_heads
def test_rank_decode_golden(golden, inputs, sigmoid_head):
    head = sigmoid_head(3, max_age=10)
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


@rank_heads
@pytest.mark.parametrize("scale", [1, 30])
def test_rank_probabilities_agree_with_the_expectation_decode(rank_head, scale):
    """Out-of-order ranks too: the differences of the sorted probabilities telescope to the same sum."""
    head = rank_head(3, min_age=10, max_age=60, decode="expectation")
    output = scale * torch.randn(20, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    probabilities = head.probabilities(output)
    assert probabilities.shape == (20, 51)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(probabilities @ head.ages.double(), head.decode(output), rtol=1e-12)


@sigmoid_heads
def test_rank_probabilities_by_hand(sigmoid_head):
    # s = 0.9, 0.6, 0.1 in order, and the same out of order.
    survival = torch.tensor([[0.9, 0.6, 0.1], [0.6, 0.1, 0.9]], dtype=torch.float64)
    probabilities = sigmoid_head(3, max_age=3).probabilities(survival.logit())
    np.testing.assert_allclose(probabilities, [[0.1, 0.3, 0.5, 0.1]] * 2, rtol=1e-12)


@sigmoid_heads
def test_rank_expectation_by_hand(sigmoid_head):
    survival = torch.tensor([[0.9, 0.6, 0.1]], dtype=torch.float64)
    head = sigmoid_head(3, min_age=5, max_age=8, decode="expectation")
    np.testing.assert_allclose(head.decode(survival.logit()), [6.6], rtol=1e-12)


def test_ordered_biases_start_where_the_free_ones_do():
    free, ordered = RankHead(3, max_age=10), RankHead(3, max_age=10, bias="ordered")
    assert ordered.first_bias.shape == (1,) and ordered.bias_steps.shape == (9,)
    assert set(ordered.state_dict()) == {"score.weight", "first_bias", "bias_steps"}
    zero = torch.zeros(1, 3)
    np.testing.assert_allclose(ordered(zero).detach(), free(zero).detach(), atol=1e-6)


def test_ordered_biases_fall_by_the_softplus_of_the_steps():
    head = RankHead(3, max_age=4, bias="ordered").double()
    steps = torch.tensor([0.5, -3.0, 21.0], dtype=torch.float64)
    with torch.no_grad():
        head.first_bias.fill_(2)
        head.bias_steps.copy_(steps)
    falls = np.log1p(np.exp(steps.numpy())).cumsum()
    np.testing.assert_allclose(head(torch.zeros(1, 3).double()).detach(), [[2, *(2 - falls)]], rtol=1e-14)


def test_ordered_biases_of_two_ages_are_one_bias():
    head = RankHead(3, max_age=1, bias="ordered")
    assert head(torch.zeros(1, 3)).tolist() == [[1]]


@rank_heads
@pytest.mark.parametrize("as_given", [list, np.array, torch.tensor])
def test_ranks_start_at_the_initial_bias(rank_head, as_given):
    biases = [3.0, -1.25, 0.5, -8.0]  # out of order too
    head = rank_head(3, max_age=4, initial_bias=as_given(biases))
    assert head(torch.zeros(2, 3)).tolist() == [biases] * 2
    assert set(head.state_dict()) == set(rank_head(3, max_age=4).state_dict())
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in head.parameters())


@rank_heads
def test_initial_bias_leaves_the_weights_alone(rank_head):
    heads = []
    for initial_bias in (None, [0.0] * 4):
        torch.manual_seed(6)
        heads.append(rank_head(3, max_age=4, initial_bias=initial_bias))
    weights = [getattr(head, "score" if rank_head is RankHead else "logits").weight for head in heads]
    assert torch.equal(*weights)


@pytest.mark.parametrize("rank_head", [IndependentRankHead, ConditionalRankHead])
def test_logits_without_an_initial_bias_are_a_torch_layer(rank_head):
    torch.manual_seed(6)
    head = rank_head(3, max_age=4)
    torch.manual_seed(6)
    layer = torch.nn.Linear(3, 4)
    assert torch.equal(head.logits.weight, layer.weight) and torch.equal(head.logits.bias, layer.bias)


def test_ordered_biases_start_at_falling_initial_ones():
    biases = [9.5, 9.25, 2.0, -1.0, -1000.0]
    head = RankHead(3, max_age=5, bias="ordered", initial_bias=biases)
    np.testing.assert_allclose(head(torch.zeros(1, 3)).detach(), [biases], rtol=1e-6)


def test_ordered_biases_start_a_hundredth_apart_where_the_initial_ones_do_not_fall():
    head = RankHead(3, max_age=4, bias="ordered", initial_bias=[2.0, 2.0, 2.5, 2.495])
    np.testing.assert_allclose(head(torch.zeros(1, 3)).detach(), [[2, 1.99, 1.98, 1.97]], rtol=1e-6)


@rank_heads
@pytest.mark.parametrize("initial_bias", [[1.0] * 9, [1.0] * 11, 1.0, [[1.0] * 10], [[1.0]] * 10])
def test_initial_bias_of_another_shape_is_refused(rank_head, initial_bias):
    with pytest.raises(UserError, match=r"initial_bias.*\(10,\)\. Received: \("):
        rank_head(3, max_age=10, initial_bias=initial_bias)


def test_conditional_decode_golden(golden, inputs):
    head = ConditionalRankHead(3, max_age=10)
    np.testing.assert_array_equal(head.decode(inputs.rank_logits), golden["corn_decode"])


def test_conditional_decode_equals_coral_pytorch():
    output = 2 * torch.randn(200, 20, generator=torch.Generator().manual_seed(3)) + 1
    expected = corn_label_from_logits(output)
    assert len(set(expected.tolist())) > 3
    np.testing.assert_array_equal(ConditionalRankHead(3, min_age=30, max_age=50).decode(output), expected + 30)


def test_conditional_probabilities_by_hand():
    chances = torch.tensor([[0.5, 0.2, 0.9]], dtype=torch.float64)
    head = ConditionalRankHead(3, min_age=5, max_age=8, decode="expectation")
    np.testing.assert_allclose(head.probabilities(chances.logit()), [[0.5, 0.4, 0.01, 0.09]], rtol=1e-12)
    np.testing.assert_allclose(head.decode(chances.logit()), [5 + 0.5 + 0.1 + 0.09], rtol=1e-12)


def test_conditional_probabilities_do_not_cancel():
    """Differences of float32 survivals near 1 would be 0 or a multiple of 6e-8."""
    probabilities = ConditionalRankHead(3, max_age=3).probabilities(torch.tensor([[20.0, 20.0, -20.0]]))
    np.testing.assert_allclose(probabilities, [[np.exp(-20)] * 2 + [1, np.exp(-20)]], rtol=1e-6)
