"""Heads, their starts and their decodes in both stacks against other packages and published definitions."""

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import corn_label_from_logits, proba_to_label
from coral_pytorch.layers import CoralLayer
from scipy.special import expit, softmax
from scipy.stats import rv_discrete

RNG = np.random.default_rng(8)
N, FEATURES, MIN_AGE, MAX_AGE = 6, 7, 15, 40
K = MAX_AGE - MIN_AGE + 1
GRID = {"min_age": MIN_AGE, "max_age": MAX_AGE}
AGES = np.arange(MIN_AGE, MAX_AGE + 1)
X = RNG.normal(0, 1, (N, FEATURES))
LOGITS = RNG.normal(0, 2, (N, K))
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # under other backends than TensorFlow Keras multiplies matrices in float32


class TestLayers:
    @pytest.mark.parametrize(
        ("name", "layer", "columns"),
        [("distribution", "logits", K), ("independent_rank", "logits", K - 1), ("conditional_rank", "logits", K - 1),
         ("gender", "logits", 2)],
    )  # fmt: skip
    def test_logits_are_those_of_a_linear_layer(self, stack, name, layer, columns):
        head = stack.head(name, FEATURES, **({} if name == "gender" else GRID))
        reference = torch.nn.Linear(FEATURES, columns).double()
        stack.load(head, {f"{layer}/kernel": reference.weight.detach().numpy().T,
                          f"{layer}/bias": reference.bias.detach().numpy()})  # fmt: skip
        np.testing.assert_allclose(stack.output(head, X), reference(torch.tensor(X)).detach(), **CLOSE)

    def test_coral_starts_as_the_layer_of_its_authors(self, stack):
        expected = CoralLayer(FEATURES, K).coral_bias.detach()
        head = stack.head("rank", FEATURES, **GRID)
        np.testing.assert_allclose(stack.weights(head)["rank_bias"], expected, **CLOSE)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("distribution", (FEATURES + 1) * K),
            ("rank", sum(parameter.numel() for parameter in CoralLayer(FEATURES, K).parameters())),
            ("independent_rank", (FEATURES + 1) * (K - 1)),
            ("conditional_rank", (FEATURES + 1) * (K - 1)),
            ("regression", FEATURES + 1),
            ("noisy_regression", FEATURES + 1 + 1),  # Ren et al.: one noise for all faces is learnt too
            ("forest", (FEATURES + 1) * 128),  # Shen et al.: the leaves are updated apart from the optimizer
            ("stagewise", (FEATURES + 1) * 3 * (3 + 3 + 1)),  # Yang et al.: three stages of bins, shifts and a scale
        ],
    )
    def test_an_optimizer_changes_what_the_paper_trains(self, stack, name, expected):
        trained = stack.weights(stack.head(name, FEATURES, **GRID), trainable=True)
        assert sum(value.size for value in trained.values()) == expected, trained.keys()


class TestYears:
    """MiVOLO (model/mi_volo.py): age = output (max - min) + avg, avg = (max + min) / 2."""

    @pytest.mark.parametrize(("low", "high", "start"), [(0, 100, 31.0), (15, 60, 31.0), (0, 116, None)])
    def test_normalised_start_and_scale(self, stack, low, high, start):
        average = (high + low) / 2
        first = average if start is None else start
        head = stack.head("regression", FEATURES, min_age=low, max_age=high, initial_bias=start, scale="normalised")
        bias = (first - average) / (high - low)
        np.testing.assert_allclose(stack.weights(head)["value/bias"], [bias], atol=1e-8)
        kernel = RNG.normal(0, 0.1, (FEATURES, 1))
        stack.load(head, {"value/kernel": kernel})
        expected = ((X @ kernel)[:, 0] + bias) * (high - low) + average
        np.testing.assert_allclose(stack.output(head, X), expected, rtol=1e-5)

    @pytest.mark.parametrize(("start", "expected"), [(31.0, 31.0), (None, 27.5)])
    def test_start_in_years(self, stack, start, expected):
        head = stack.head("regression", FEATURES, **GRID, initial_bias=start)
        np.testing.assert_allclose(stack.weights(head)["value/bias"], [expected])
        np.testing.assert_allclose(stack.output(head, np.zeros((2, FEATURES))), [expected, expected])

    @pytest.mark.parametrize("scale", ["years", "normalised"])
    def test_noise(self, stack, scale):
        """Ren et al. start it at 10 years (balanced-mse, init_noise_sigma)."""
        for arguments, noise in (({}, 10.0), ({"initial_noise": 4.0}, 4.0)):
            head = stack.head("noisy_regression", FEATURES, **GRID, initial_bias=31.0, scale=scale, **arguments)
            output = stack.output(head, np.zeros((2, FEATURES)))
            np.testing.assert_allclose(output, [[31.0, noise]] * 2, rtol=1e-6)

    def test_decodes_clip_to_the_grid(self, stack):
        years = np.array([-3.0, 15.0, 27.25, 40.0, 41.0])
        expected = np.clip(years, MIN_AGE, MAX_AGE)
        for name in ("regression", "stagewise"):
            np.testing.assert_array_equal(stack.decode(name, years, **GRID), expected)
        noisy = np.stack([years, np.full(5, 99.0)], axis=1)
        np.testing.assert_array_equal(stack.decode("noisy_regression", noisy, **GRID), expected)


class TestDistribution:
    """`scipy.stats.rv_discrete` has a mean, and as quantile the smallest age whose cumulated share reaches it."""

    def discrete(self, logits):
        return [rv_discrete(values=(AGES, softmax(row))) for row in logits]

    def test_expectation_and_median(self, stack):
        decoded = stack.decode("distribution", LOGITS, **GRID, decode="expectation")
        np.testing.assert_allclose(decoded, [row.mean() for row in self.discrete(LOGITS)], rtol=1e-10)
        decoded = stack.decode("distribution", LOGITS, **GRID, decode="median")
        np.testing.assert_array_equal(decoded, [row.ppf(0.5) for row in self.discrete(LOGITS)])

    def test_argmax_takes_the_younger_of_equals(self, stack):
        logits = np.concatenate([LOGITS, np.zeros((1, K))])
        decoded = stack.decode("distribution", logits, **GRID, decode="argmax")
        np.testing.assert_array_equal(decoded, MIN_AGE + softmax(logits, axis=1).argmax(axis=1))

    def test_probabilities(self, stack):
        np.testing.assert_allclose(
            stack.probabilities("distribution", LOGITS, **GRID), softmax(LOGITS, axis=1), rtol=1e-10
        )
        np.testing.assert_allclose(
            stack.probabilities("gender", LOGITS[:, :2]), softmax(LOGITS[:, :2], axis=1), rtol=1e-10
        )

    @pytest.mark.parametrize(
        ("ages", "shares", "expected"),
        [((20, 21), (1, 1), 21), ((21, 22), (1, 1), 22), ((20, 21), (3, 1), 20), ((20, 21), (1, 3), 21)],
    )
    def test_rounded_expectation_rounds_halves_up(self, stack, ages, shares, expected):
        """20.5 and 21.5 both go up, where Python and NumPy go to the even neighbour; 20.25 and 20.75 to the nearest."""
        logits = np.full((1, K), -1e9)
        logits[0, np.array(ages) - MIN_AGE] = np.log(shares)
        assert stack.decode("distribution", logits, **GRID, decode="rounded_expectation") == [expected]

    def test_rounded_expectation_of_any_distribution(self, stack):
        decoded = stack.decode("distribution", LOGITS, **GRID, decode="rounded_expectation")
        means = np.array([row.mean() for row in self.discrete(LOGITS)])
        assert np.abs(decoded - means).max() <= 0.5
        np.testing.assert_array_equal(decoded, np.rint(means))  # none of them is a half

    def test_median_of_an_exact_half_is_the_younger(self, stack):
        logits = np.full((1, K), -1e9)
        logits[0, [3, 9]] = 0
        assert stack.decode("distribution", logits, **GRID, decode="median") == [MIN_AGE + 3]


class TestRanks:
    FALLING = np.sort(RNG.normal(0, 3, (N, K - 1)), axis=1)[:, ::-1].copy()

    @pytest.mark.parametrize("name", ["rank", "independent_rank"])
    def test_probabilities_and_expectation(self, stack, name):
        """Cao et al.: P(k) = s_(k-1) - s_k, and the expected index is the sum of all s."""
        exceeds = expit(self.FALLING)
        expected = -np.diff(exceeds, axis=1, prepend=1, append=0)
        for logits in (self.FALLING, RNG.permuted(self.FALLING, axis=1)):  # out of order they are sorted first
            np.testing.assert_allclose(stack.probabilities(name, logits, **GRID), expected, rtol=1e-9, atol=1e-13)
            decoded = stack.decode(name, logits, **GRID, decode="expectation")
            np.testing.assert_allclose(decoded, MIN_AGE + exceeds.sum(axis=1), rtol=1e-10)

    def test_a_task_at_one_half_is_not_passed(self, stack):
        """As in the authors' proba_to_label and corn_label_from_logits."""
        logits = np.array([[3.0, 0.0, -2.0], [0.0, 4.0, 4.0], [0.0, 0.0, 0.0]])
        for name in ("rank", "independent_rank"):
            expected = proba_to_label(torch.sigmoid(torch.tensor(logits)))
            np.testing.assert_array_equal(stack.decode(name, logits, max_age=3), expected)
        expected = corn_label_from_logits(torch.tensor(logits))
        np.testing.assert_array_equal(stack.decode("conditional_rank", logits, max_age=3), expected)


LEAVES = np.array([[10.0, 20, 30, 40], [50, 60, 70, 200]])


def test_forest_answers_with_the_mean_of_its_trees(stack):
    """Shen et al.: the mean over the trees of sum_l route_l mean_l."""
    size = {"max_age": 100, "trees": 2, "depth": 3, "units": 3}
    head = stack.head("forest", 3, **size, leaf_mean=LEAVES, leaf_variance=np.full((2, 4), 9.0))
    stack.load(head, {"splits/kernel": np.eye(3), "splits/bias": np.zeros(3)})
    output = stack.output(head, RNG.normal(0, 1, (N, 3)))
    route = np.exp(output[:, 0])
    np.testing.assert_allclose(route.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(output[:, 1], np.broadcast_to(LEAVES, (N, 2, 4)))
    np.testing.assert_allclose(output[:, 2], 9.0)
    answers = (route * LEAVES).sum(axis=-1).mean(axis=-1)
    np.testing.assert_allclose(stack.decode("forest", output, **size), answers.clip(0, 100), rtol=1e-9)
