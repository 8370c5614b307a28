"""Parameters from the training ages against their definition."""

import numpy as np
import pytest

from keras_impl.fits import fit_leaves
from keras_impl.heads import HEADS
from keras_impl.methods import METHODS

RNG = np.random.default_rng(8)
NAN = np.nan
FLOOR = 1 / 12


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


class TestQuantiles:
    def test_leaves_are_quantiles_shifted_from_tree_to_tree(self):
        ages = np.concatenate([RNG.uniform(-5, 120, 200), [np.nan] * 5])
        fitted = fit_leaves(ages, 0, 100, trees=3, depth=4, units=64, seed=0)
        known = ages[:200].clip(0, 100)
        expected = [[np.quantile(known, (leaf + (tree + 0.5) / 3) / 8) for leaf in range(8)] for tree in range(3)]
        np.testing.assert_allclose(fitted["leaf_mean"], expected, rtol=1e-12)
        np.testing.assert_allclose(fitted["leaf_variance"], np.full((3, 8), known.var() / 64), rtol=1e-12)

    def test_equal_ages_keep_some_variance(self):
        fitted = fit_leaves(np.full(9, 40.0), 0, 100, trees=2, depth=3)
        np.testing.assert_array_equal(fitted["leaf_mean"], np.full((2, 4), 40.0))
        np.testing.assert_allclose(fitted["leaf_variance"], np.full((2, 4), FLOOR), rtol=1e-12)
