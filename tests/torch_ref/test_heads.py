"""Heads: decodings, probabilities and initial values, against golden.json, coral_pytorch and by hand."""

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import corn_label_from_logits, proba_to_label
from coral_pytorch.layers import CoralLayer

from faces.errors import UserError
from torch_ref.heads import (
    HEADS,
    ConditionalRankHead,
    DistributionHead,
    ForestHead,
    GenderHead,
    IndependentRankHead,
    NoisyRegressionHead,
    RankHead,
    RegressionHead,
    StagewiseHead,
    stagewise_age,
)

HAVE_PROBABILITIES = ("distribution", "rank", "independent_rank", "conditional_rank")
rank_heads = pytest.mark.parametrize("rank_head", [RankHead, IndependentRankHead, ConditionalRankHead])
sigmoid_heads = pytest.mark.parametrize("sigmoid_head", [RankHead, IndependentRankHead])


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


@pytest.mark.parametrize("head", [RegressionHead, NoisyRegressionHead])
@pytest.mark.parametrize("scale", RegressionHead.SCALES)
@pytest.mark.parametrize(("initial_bias", "first"), [(None, 39.0), (31.5, 31.5)])
def test_regression_starts_at_its_initial_bias(head, scale, initial_bias, first):
    head = head(3, min_age=18, max_age=60, initial_bias=initial_bias, scale=scale)
    age = head.decode(head(torch.zeros(2, 3)))
    assert age.shape == (2,)
    np.testing.assert_allclose(age.detach(), [first, first], rtol=1e-6)


def test_noisy_regression_repeats_its_noise():
    head = NoisyRegressionHead(3, min_age=18, max_age=60, initial_noise=4.0)
    assert head.log_noise.shape == (1,)
    output = head(10 * torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert output.shape == (5, 2)
    assert len(set(output[:, 0].tolist())) == 5
    np.testing.assert_allclose(output[:, 1].detach(), np.full(5, 4), rtol=1e-6)
    output[:, 1].sum().backward()
    assert head.log_noise.grad.item() == pytest.approx(5 * 4, rel=1e-6)
    assert head.decode(torch.tensor([[-5.0, 2], [30, 2], [70, 2]])).tolist() == [18, 30, 60]


@pytest.mark.parametrize("noise", [0.0, -1.0, float("nan")])
def test_noise_must_be_above_zero(noise):
    with pytest.raises(UserError, match=f"above 0.*{noise}"):
        NoisyRegressionHead(3, initial_noise=noise)


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


def test_stagewise_age_golden(golden, inputs):
    logits, stages = inputs.logits, range(3)
    probabilities = torch.stack([logits[:, 3 * k : 3 * k + 3].abs() / 3 for k in stages], dim=1)
    shifts = torch.stack([logits[:, 1 + k : 4 + k].tanh() for k in stages], dim=1)
    years = stagewise_age(probabilities, shifts, (logits[:, 8:11] / 6).tanh(), width=101, delta_scale=1)
    np.testing.assert_allclose(years, golden["ssr"], rtol=1e-12)


def test_stagewise_age_without_shift_and_scale_is_a_number_of_base_three():
    digits = torch.eye(3, dtype=torch.float64)[torch.tensor([[2, 0, 1], [0, 1, 2]])]
    years = stagewise_age(digits, torch.zeros_like(digits), torch.zeros(2, 3).double(), width=27)
    np.testing.assert_allclose(years, [18 + 0 + 1, 0 + 3 + 2], rtol=1e-14)


@pytest.mark.parametrize("activation", StagewiseHead.ACTIVATIONS)
def test_stagewise_head_feeds_its_layers_to_stagewise_age(activation):
    head = StagewiseHead(4, min_age=20, max_age=70, stage_activation=activation, delta_scale=0.5).double()
    features = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layers = {name: layer(features) for name, layer in head.named_children()}
    assert set(layers) == {f"stage{k}_{part}" for k in (1, 2, 3) for part in ("bins", "shifts", "scale")}
    bins, shifts = (torch.stack([layers[f"stage{k}_{part}"] for k in (1, 2, 3)], 1) for part in ("bins", "shifts"))
    probabilities = bins.softmax(2) if activation == "softmax" else bins.relu()
    scales = torch.cat([layers[f"stage{k}_scale"] for k in (1, 2, 3)], dim=1).tanh()
    expected = 20 + stagewise_age(probabilities, shifts.tanh(), scales, width=51, delta_scale=0.5)
    torch.testing.assert_close(head(features), expected, rtol=1e-13, atol=0)


def test_saturated_stages_stay_finite():
    head = StagewiseHead(1)
    output = head(torch.tensor([[1e4], [-1e4]]))
    output.sum().backward()
    assert torch.isfinite(output).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in head.parameters())


def test_gender_probabilities_by_hand():
    probabilities = GenderHead(3).probabilities(torch.tensor([[0.0, np.log(3.0)]]))
    np.testing.assert_allclose(probabilities, [[0.25, 0.75]], rtol=1e-6)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shapes(name, dtype):
    head = HEADS[name](7, min_age=5, max_age=25).to(dtype)
    output = head(torch.randn(1, 7, dtype=dtype))
    shapes = {
        "distribution": (1, 21),
        "rank": (1, 20),
        "independent_rank": (1, 20),
        "conditional_rank": (1, 20),
        "regression": (1,),
        "noisy_regression": (1, 2),
        "forest": (1, 3, 5, 32),
        "stagewise": (1,),
    }
    assert output.shape == shapes[name]
    assert output.dtype == head.decode(output).dtype == dtype
    assert head.decode(output).shape == (1,)
    assert hasattr(head, "probabilities") == (name in HAVE_PROBABILITIES)
    if name in HAVE_PROBABILITIES:
        assert head.probabilities(output).shape == (1, 21)


@pytest.mark.parametrize(
    ("head", "decode"),
    [(DistributionHead, "rank"), (RankHead, "argmax"), (IndependentRankHead, "median"), (ConditionalRankHead, "mode")],
)
def test_unknown_decode_lists_the_known(head, decode):
    with pytest.raises(UserError, match=f"{decode!r}.*{', '.join(head.DECODES)}"):
        head(3, decode=decode)


@pytest.mark.parametrize("head", [RegressionHead, NoisyRegressionHead, StagewiseHead, ForestHead])
def test_head_of_years_has_no_decode_to_choose(head):
    assert not hasattr(head, "DECODES")


@pytest.mark.parametrize(
    ("head", "arguments", "message"),
    [
        (RegressionHead, {"scale": "months"}, r"scale 'months'.*years, normalised"),
        (NoisyRegressionHead, {"scale": "months"}, r"scale 'months'.*years, normalised"),
        (RankHead, {"bias": "sorted"}, r"bias 'sorted'.*free, ordered"),
        (StagewiseHead, {"stage_activation": "elu"}, r"stage_activation 'elu'.*softmax, relu"),
    ],
)
def test_unknown_word_lists_the_known(head, arguments, message):
    with pytest.raises(UserError, match=message):
        head(3, **arguments)
