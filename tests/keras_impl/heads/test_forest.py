"""The head of a forest beside a forest computed path by path."""

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.heads import ForestHead
from keras_impl.model import build_model
from tests.method_cases import brute_log_routes

RNG = np.random.default_rng(6)


class TestHead:
    def built(self, **arguments):
        head = ForestHead(**arguments)
        head.build((None, 6))
        for weight in head.trainable_weights:
            weight.assign(RNG.normal(0, 1, weight.shape))
        return head

    def test_output(self):
        """The units of each tree's splits are drawn as the documentation says."""
        head = self.built(trees=3, depth=4, units=20, seed=5)
        features = RNG.normal(0, 1, (8, 6)).astype("float32")
        kernel, bias = (np.asarray(weight) for weight in head.trainable_weights)
        draws = np.random.default_rng(5)
        units = np.stack([draws.permutation(20)[:7] for _ in range(3)])
        expected = brute_log_routes((features @ kernel + bias)[:, units].astype(float))
        output = np.asarray(head(features))
        assert output.shape == (8, 3, 3, 8) and output.dtype == np.float32
        np.testing.assert_allclose(output[:, 0], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(output[:, 1], np.broadcast_to(head.leaf_mean, (8, 3, 8)))
        np.testing.assert_array_equal(output[:, 2], np.broadcast_to(head.leaf_variance, (8, 3, 8)))
        expected_age = (np.exp(expected) * np.asarray(head.leaf_mean)).sum(axis=-1).mean(axis=-1)
        np.testing.assert_allclose(head.decode(output), expected_age, rtol=1e-4)

    def test_leaves_are_spread_over_the_grid_by_default(self):
        head = self.built(trees=4, depth=3, units=9, min_age=10, max_age=70)
        tree, leaf = np.mgrid[:4, :4]
        np.testing.assert_allclose(head.leaf_mean, 10 + 60 * (leaf + (tree + 0.5) / 4) / 4, rtol=1e-6)
        np.testing.assert_allclose(head.leaf_variance, np.full((4, 4), 60**2 / 12 / 16), rtol=1e-6)

    def test_given_leaves(self):
        mean, variance = RNG.uniform(0, 90, (2, 2, 4))
        head = self.built(trees=2, depth=3, units=9, leaf_mean=mean.tolist(), leaf_variance=variance.tolist())
        np.testing.assert_allclose(head.leaf_mean, mean, rtol=1e-6)
        np.testing.assert_allclose(head.leaf_variance, variance, rtol=1e-6)

    def test_leaves_are_not_the_optimizers(self):
        head = self.built()
        assert {weight.shape for weight in head.non_trainable_weights} == {(5, 32)}
        assert {weight.shape for weight in head.trainable_weights} == {(6, 128), (128,)}

    def test_decode_stays_on_the_grid(self):
        head = self.built(trees=1, depth=2, units=2, leaf_mean=[[-30.0, 400.0]], leaf_variance=[[1.0, 1.0]])
        splits = np.log([[[0.999], [1e-9]], [[1e-9], [0.999]]])
        routes = np.stack([splits[0].T, splits[1].T])  # (2, 1, 2)
        leaves = np.broadcast_to(head.leaf_mean, routes.shape)
        ages = head.decode(np.stack([routes, leaves, leaves], axis=1))
        np.testing.assert_array_equal(ages, [0, 100])

    def test_too_few_units(self):
        with pytest.raises(ValueError, match=r"31.*30|30.*31"):
            self.built(depth=6, units=30)
        self.built(depth=6, units=31)
        with pytest.raises(UserError, match=r"31.*30|30.*31"):
            build_model(keras.Sequential([keras.Input((2,))]), "deep_regression_forest", method_params={"units": 30})
