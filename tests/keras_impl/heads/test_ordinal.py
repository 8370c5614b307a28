"""Ordered ranks: what the rank heads promise."""

import numpy as np
import pytest
from scipy.special import expit

from keras_impl.heads import HEADS
from tests.method_cases import K

RNG = np.random.default_rng(8)


def built_head(name, features=6, scale=1.0, **arguments):
    """A head whose every weight is random."""
    head = HEADS[name](**arguments)
    head.build((None, features))
    for weight in head.weights:
        weight.assign(RNG.normal(0, scale, weight.shape))
    return head


class TestRanks:
    @pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
    def test_ordered_biases_give_falling_logits_for_any_weights(self, scale):
        head = built_head("rank", scale=scale, bias="ordered")
        logits = np.asarray(head(RNG.normal(0, 1, (20, 6)).astype("float32")))
        assert np.all(np.diff(logits, axis=1) <= 0)
        assert np.ptp(logits, axis=1).min() > 1

    def test_free_biases_promise_nothing(self):
        logits = np.asarray(built_head("rank")(np.zeros((1, 6), "float32")))
        assert np.any(np.diff(logits) > 0)

    @pytest.mark.parametrize("bias", ["free", "ordered"])
    def test_start(self, bias):
        """1, ..., 1 / (K - 1), as coral_pytorch starts."""
        head = HEADS["rank"](bias=bias)
        head.build((None, 6))
        logits = np.asarray(head(np.zeros((1, 6), "float32")))[0]
        np.testing.assert_allclose(logits, np.arange(K - 1, 0, -1) / (K - 1), atol=1e-6)

    def test_given_start(self):
        """Equal neighbours leave an ordered bias a step that can still learn."""
        start = np.linspace(3, -3, K - 1)
        start[50] = start[49]
        for name, bias, expected in (
            ("rank", {"bias": "free"}, start),
            ("rank", {"bias": "ordered"}, start[0] - np.append(0, np.maximum(-np.diff(start), 0.01).cumsum())),
            ("independent_rank", {}, start),
            ("conditional_rank", {}, start),
        ):
            head = HEADS[name](initial_bias=start.tolist(), **bias)
            head.build((None, 6))
            np.testing.assert_allclose(np.asarray(head(np.zeros((1, 6), "float32")))[0], expected, atol=1e-5)

    @pytest.mark.parametrize("name", ["rank", "independent_rank", "conditional_rank"])
    def test_start_of_another_grid(self, name):
        with pytest.raises(ValueError, match=r"100.*60"):
            HEADS[name](initial_bias=[0.0] * 60)

    def test_ordered_biases_by_the_definition(self):
        """b_0 = first, then each falls by softplus(step)."""
        head = built_head("rank", bias="ordered")
        weights = {weight.name: np.asarray(weight, float) for weight in head.weights}
        falls = np.logaddexp(0, weights["bias_steps"])
        expected = weights["first_bias"] - np.concatenate([[0], np.cumsum(falls)])
        np.testing.assert_allclose(np.asarray(head(np.zeros((1, 6), "float32")))[0], expected, rtol=1e-5)

    @pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
    def test_conditional_ranks_never_rise(self, scale):
        head = HEADS["conditional_rank"]()
        output = RNG.normal(0, scale, (30, K - 1)).clip(-1e4, 1e4)
        probabilities = np.asarray(head.probabilities(output))
        assert np.all(probabilities >= 0)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        exceeds = np.cumprod(expit(output), axis=1)
        np.testing.assert_allclose(1 - np.cumsum(probabilities, axis=1)[:, :-1], exceeds, atol=1e-5)

    @pytest.mark.parametrize("name", ["rank", "independent_rank"])
    def test_sorting_makes_a_distribution_with_the_same_mean(self, name):
        head = HEADS[name](min_age=10, max_age=10 + K - 1)
        expectation = HEADS[name](min_age=10, max_age=10 + K - 1, decode="expectation")
        output = RNG.normal(0, 3, (30, K - 1))
        probabilities = np.asarray(head.probabilities(output), float)
        assert np.all(probabilities >= 0)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        ages = np.arange(10, 10 + K)
        np.testing.assert_allclose(probabilities @ ages, 10 + expit(output).sum(axis=1), rtol=1e-6)
        np.testing.assert_allclose(np.asarray(expectation.decode(output)), 10 + expit(output).sum(axis=1), rtol=1e-6)
