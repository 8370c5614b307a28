"""What some methods promise beyond what all do: ordered ranks, intervals beside exact ages, fitted parameters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, logsumexp

from keras_impl.heads import HEADS
from keras_impl.methods import METHODS
from tests.keras_impl.method_cases import value_and_gradient
from tests.method_cases import K

RNG = np.random.default_rng(8)
NAN = np.nan


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


def interval_loss(age, low, high, logits, **arguments):
    inputs = {"age_low": np.array(low, float), "age_high": np.array(high, float)}
    return value_and_gradient("interval", np.array(age, float), logits, **inputs, **arguments)


def minus_log_mass(logits, first, last):
    return -logsumexp(log_softmax(logits)[first : last + 1])


class TestInterval:
    LOGITS = RNG.normal(0, 3, (1, K))

    @pytest.mark.parametrize("known", [NAN, 3.0])
    def test_exact_ages_are_cross_entropy(self, known):
        """Whatever interval stands beside an exact age."""
        age = np.array([0, 100, 37.25, 37.5, 0.4, 120, -3, 62])
        logits = RNG.normal(0, 3, (len(age), K))
        beside = np.full(len(age), known)
        value, gradient = interval_loss(age, beside, beside, logits)
        expected, expected_gradient = value_and_gradient("cross_entropy", age, logits)
        np.testing.assert_allclose(value, expected, rtol=1e-11)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-13)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(low=st.integers(0, K - 1), length=st.integers(0, K - 1), scale=st.sampled_from([1.0, 30.0]))
    def test_group_is_the_mass_between_its_ends(self, low, length, scale):
        high = min(low + length, K - 1)
        value, gradient = interval_loss([NAN], [low], [high], scale * self.LOGITS)
        logits = scale * self.LOGITS[0]
        np.testing.assert_allclose(value, minus_log_mass(logits, low, high), rtol=1e-10, atol=1e-12)
        inside = np.exp(log_softmax(logits[low : high + 1]))
        expected = np.exp(log_softmax(logits)) - np.pad(inside, (low, K - 1 - high))
        np.testing.assert_allclose(gradient[0], expected, atol=1e-12)

    @pytest.mark.parametrize(
        ("low", "high", "first", "last"),
        [
            (60, NAN, 60, 100),
            (NAN, 2, 0, 2),
            (60, 130, 60, 100),
            (-4, 2, 0, 2),
            (24.5, 32.4, 25, 32),
            (110, 130, 100, 100),
            (NAN, -5, 0, 0),
            (40, 30, 40, 40),  # ends the wrong way round are the first one
            (NAN, NAN, 0, 0),  # nothing known: finite, to be masked
        ],
    )
    def test_ends(self, low, high, first, last):
        value, gradient = interval_loss([NAN], [low], [high], self.LOGITS)
        assert value[0] == pytest.approx(minus_log_mass(self.LOGITS[0], first, last), rel=1e-11)
        assert np.isfinite(gradient).all()

    def test_whole_grid_tells_nothing(self):
        value, gradient = interval_loss([NAN], [0], [100], self.LOGITS)
        np.testing.assert_allclose(value, 0, atol=1e-12)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)

    def test_grid_that_starts_later(self):
        value, _ = interval_loss([NAN, 40], [20, NAN], [29, NAN], np.repeat(self.LOGITS, 2, axis=0), min_age=15)
        expected = [minus_log_mass(self.LOGITS[0], 5, 14), minus_log_mass(self.LOGITS[0], 25, 25)]
        np.testing.assert_allclose(value, expected, rtol=1e-11)

    def test_saturated_logits_lose_no_gradient(self):
        logits = np.full((1, K), -1e4)
        logits[0, 80] = 1e4
        value, gradient = interval_loss([NAN], [20], [29], logits, dtype="float32")
        np.testing.assert_allclose(value, 2e4, rtol=1e-3)
        np.testing.assert_allclose(gradient[0, [80, 25, 50]], [1, -0.1, 0], atol=1e-6)

    def test_without_intervals_at_all(self):
        value, _ = value_and_gradient("interval", [37.0], self.LOGITS)
        assert value[0] == pytest.approx(minus_log_mass(self.LOGITS[0], 37, 37), rel=1e-11)

    def test_exact_ages_and_groups_train_together(self):
        """Each row has its own label only."""
        logits = RNG.normal(0, 3, (3, K))
        value, _ = interval_loss([NAN, 44, NAN], [8, NAN, 60], [12, NAN, NAN], logits)
        spans = [(8, 12), (44, 44), (60, 100)]
        expected = [minus_log_mass(row, *span) for row, span in zip(logits, spans)]
        np.testing.assert_allclose(value, expected, rtol=1e-11)


class TestFit:
    """Parameters from the training ages against their definition, one age after another."""

    AGES = np.concatenate([RNG.gamma(4, 9, 400), [-3.0, 0.4, 10.5, 104, 131, NAN, NAN]])
    KNOWN = AGES[~np.isnan(AGES)]
    # On a grid 10 ... 70.
    CLASSES = tuple(int(np.floor(min(max(age, 10), 70) + 0.5)) for age in KNOWN)

    def fitted(self, name, **settings):
        method = METHODS[name]
        return method.fit(self.AGES, 10, 70, **{**method.settings, **settings})

    @pytest.mark.parametrize("name", ["l1", "huber"])
    def test_median(self, name):
        assert self.fitted(name) == {"initial_bias": pytest.approx(np.median(self.KNOWN), rel=1e-12)}

    @pytest.mark.parametrize("name", ["mse", "epsilon_annealed", "balanced_mse"])
    def test_mean(self, name):
        assert self.fitted(name) == {"initial_bias": pytest.approx(np.mean(self.KNOWN), rel=1e-12)}

    @pytest.mark.parametrize("name", ["coral", "or_cnn"])
    def test_importance_weights_of_coral(self, name):
        sides = []
        for task in range(10, 70):
            above = sum(age > task for age in self.CLASSES)
            sides.append(max(above, len(self.CLASSES) - above) ** 0.5)
        weights = self.fitted(name, importance_weights="coral")["importance_weights"]
        np.testing.assert_allclose(weights, np.array(sides) / max(sides), rtol=1e-12)

    @pytest.mark.parametrize("name", ["coral", "or_cnn"])
    def test_importance_weights_of_niu(self, name):
        roots = np.array([self.CLASSES.count(age) ** 0.5 for age in range(10, 70)])
        weights = self.fitted(name, importance_weights="niu")["importance_weights"]
        np.testing.assert_allclose(weights, roots / roots.sum(), rtol=1e-12)

    @pytest.mark.parametrize("given", [None, [1.0] * 60])
    def test_given_importance_weights_stay(self, given):
        assert "importance_weights" not in self.fitted("coral", importance_weights=given)

    @pytest.mark.parametrize(("key", "known"), [("importance_weights", ("coral", "niu")), ("start", ("prior",))])
    def test_unknown_word(self, key, known):
        with pytest.raises(ValueError, match=key) as refusal:
            self.fitted("coral", **{key: "square"})
        assert all(word in str(refusal.value) for word in [*known, "square"])

    def share(self, age):
        """Of one more face, spread evenly over the 61 classes, above this age."""
        return (70 - age) / 61

    @pytest.mark.parametrize("name", ["coral", "or_cnn"])
    def test_tasks_start_at_their_log_odds(self, name):
        expected = []
        for task in range(10, 70):
            above = sum(age > task for age in self.CLASSES) + self.share(task)
            expected.append(np.log(above / (len(self.CLASSES) + 1 - above)))
        np.testing.assert_allclose(self.fitted(name)["initial_bias"], expected, rtol=1e-11)

    def test_conditional_tasks_start_at_their_log_odds(self):
        expected = []
        for task in range(10, 70):
            above = sum(age > task for age in self.CLASSES) + self.share(task)
            expected.append(np.log(above / (self.CLASSES.count(task) + 1 / 61)))
        np.testing.assert_allclose(self.fitted("corn")["initial_bias"], expected, rtol=1e-11)

    @pytest.mark.parametrize("name", ["coral", "or_cnn", "corn"])
    @pytest.mark.parametrize("bias", ["free", "ordered"])
    def test_a_head_started_so_predicts_the_median(self, name, bias):
        """Features of 0, so the biases alone decide."""
        arguments = {"bias": bias} if name == "coral" else {}
        head = HEADS[METHODS[name].head](min_age=10, max_age=70, **arguments, **self.fitted(name))
        head.build((None, 6))
        age = np.asarray(head.decode(head(np.zeros((1, 6), "float32"))))
        assert abs(age[0] - np.median(self.CLASSES)) <= 1

    @pytest.mark.parametrize("name", ["coral", "or_cnn", "corn"])
    def test_published_start(self, name):
        assert self.fitted(name, start="published") == {}

    def test_bucket_weights(self):
        shares = [self.CLASSES.count(age) / len(self.CLASSES) for age in range(10, 71)]
        np.testing.assert_allclose(self.fitted("balanced_mse", variant="bni")["bucket_weights"], shares, rtol=1e-12)

    def test_mixture_of_the_ages_on_the_grid(self):
        fitted = self.fitted("balanced_mse", variant="gai")
        weights, means, variances = (np.array(fitted[f"mixture_{part}"]) for part in ("weights", "means", "variances"))
        assert weights.shape == means.shape == variances.shape == (8,)
        clipped = self.KNOWN.clip(10, 70)
        # Each round of EM keeps the mean of the ages, and their variance but for the floor.
        assert weights @ means == pytest.approx(clipped.mean(), rel=1e-9)
        assert weights @ (variances + means**2) - clipped.mean() ** 2 == pytest.approx(clipped.var(), rel=1e-2)
