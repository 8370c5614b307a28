"""Routes, leaf updates and their callback against a loop over samples, trees and leaves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import norm

from keras_impl.forest import LeafUpdate, log_routes, update_leaves
from keras_impl.losses import deep_regression_forest
from keras_impl.model import build_model
from tests.method_cases import brute_log_routes

RNG = np.random.default_rng(6)
FLOOR = 1 / 12
SETTINGS = {"leaf_update_steps": 6, "leaf_update_faces": 40, "leaf_update_iterations": 20, "min_variance": FLOOR}


def brute_update(age, log_route, mean, variance, rounds, min_variance):
    """The fixed point of Shen et al. 2018, equations 11 and 12, one leaf after another."""
    mean, variance = np.array(mean, float), np.array(variance, float)
    known = ~np.isnan(age)
    for _ in range(rounds):
        for tree in range(mean.shape[0]):
            joint = np.exp(log_route[known, tree]) * norm.pdf(age[known, None], mean[tree], np.sqrt(variance[tree]))
            share = joint / joint.sum(axis=1, keepdims=True)
            for leaf in range(mean.shape[1]):
                if share[:, leaf].sum() >= 1e-12:
                    mean[tree, leaf] = np.average(age[known], weights=share[:, leaf])
                    around = np.average((age[known] - mean[tree, leaf]) ** 2, weights=share[:, leaf])
                    variance[tree, leaf] = max(around, min_variance)
    return mean, variance


class TestRoutes:
    @pytest.mark.parametrize("depth", [2, 3, 4, 6])
    @pytest.mark.parametrize("scale", [0, 2.0, 1e4])
    def test_against_a_walk_along_every_path(self, depth, scale):
        splits = (scale * RNG.standard_normal((7, 3, 2 ** (depth - 1) - 1))).clip(-1e4, 1e4)
        routes = np.asarray(log_routes(tf.constant(splits)))
        assert routes.shape == (7, 3, 2 ** (depth - 1)) and routes.dtype == np.float64
        np.testing.assert_allclose(routes, brute_log_routes(splits), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(np.exp(routes).sum(axis=-1), 1, rtol=1e-12)

    def test_left_is_sigmoid_and_leaves_run_from_left_to_right(self):
        """Depth 3: root to the left, its left child to the right."""
        routes = np.asarray(log_routes(tf.constant([[[50.0, -50.0, 0.0]]])))
        np.testing.assert_allclose(np.exp(routes), [[[0, 1, 0, 0]]], atol=1e-12)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_gradient_of_saturated_splits_is_finite(self, dtype):
        splits = tf.constant((1e4 * RNG.standard_normal((5, 2, 31))).clip(-1e4, 1e4), dtype)
        with tf.GradientTape() as tape:
            tape.watch(splits)
            routes = log_routes(splits)
            leaves = tf.constant(RNG.uniform(0, 90, routes.shape), dtype)
            output = tf.stack([routes, leaves, tf.ones_like(leaves)], axis=1)
            loss = deep_regression_forest(np.array([0, 30, 60, 100, np.nan], dtype), output)
        assert np.isfinite(loss.numpy()).all() and np.isfinite(tape.gradient(loss, splits).numpy()).all()


class TestLeafUpdate:
    AGES = np.concatenate([RNG.normal(12, 3, 60), RNG.normal(45, 8, 60)])
    ROUTE = np.log(RNG.dirichlet(np.ones(8), (120, 2)))
    MEAN, VARIANCE = np.sort(RNG.uniform(0, 80, (2, 8))), np.full((2, 8), 60.0)

    def update(self, age=AGES, route=ROUTE, mean=MEAN, variance=VARIANCE, **settings):
        return [np.asarray(part) for part in update_leaves(*map(tf.constant, (age, route, mean, variance)), **settings)]

    def likelihood(self, mean, variance):
        return logsumexp(self.ROUTE + norm.logpdf(self.AGES[:, None, None], mean, np.sqrt(variance)), axis=-1).mean()

    @pytest.mark.parametrize("rounds", [1, 3, 20])
    def test_against_a_loop_over_the_leaves(self, rounds):
        age = self.AGES.copy()
        age[[5, 70]] = np.nan
        expected = brute_update(age, self.ROUTE, self.MEAN, self.VARIANCE, rounds, FLOOR)
        for actual, wanted in zip(self.update(age, iterations=rounds), expected, strict=True):
            assert actual.dtype == np.float64
            np.testing.assert_allclose(actual, wanted, rtol=1e-9)

    def test_each_round_makes_the_ages_more_likely(self):
        rounds = [self.likelihood(*self.update(iterations=count)) for count in (0, 1, 2, 5, 20)]
        assert np.all(np.diff(rounds) > 0), rounds

    def test_unknown_ages_do_not_count(self):
        age = np.concatenate([self.AGES, np.full(7, np.nan)])
        route = np.concatenate([self.ROUTE, np.log(RNG.dirichlet(np.ones(8), (7, 2)))])
        for actual, expected in zip(self.update(age, route), self.update(), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-12)

    def test_leaf_that_nobody_reaches_keeps_its_values(self):
        route = self.ROUTE.copy()
        route[..., 3] = -1e4
        mean, variance = self.update(route=route)
        np.testing.assert_array_equal(mean[:, 3], self.MEAN[:, 3])
        np.testing.assert_array_equal(variance[:, 3], self.VARIANCE[:, 3])
        assert np.all(mean[:, 2] != self.MEAN[:, 2])

    def test_nothing_known_changes_nothing(self):
        mean, variance = self.update(np.full(120, np.nan))
        np.testing.assert_array_equal(mean, self.MEAN)
        np.testing.assert_array_equal(variance, self.VARIANCE)

    @pytest.mark.parametrize("floor", [FLOOR, 2.0])
    def test_leaf_of_one_face_keeps_some_variance(self, floor):
        route = np.full((2, 1, 2), -1e3)
        route[[0, 1], 0, [0, 1]] = 0
        age, leaves = np.array([20.0, 50.0]), np.array([[25.0, 45.0]])
        mean, variance = self.update(age, route, leaves, np.full((1, 2), 9.0), min_variance=floor)
        np.testing.assert_allclose(mean, [[20, 50]], rtol=1e-12)
        np.testing.assert_array_equal(variance, [[floor, floor]])


class TestCallback:
    """A forest on bright and dark images, of which the brightness is the age."""

    AGES = np.tile([5.0, 18, 33, 47, 62, 90], 8).astype("float32")
    IMAGES = np.broadcast_to((AGES * 2.5)[:, None, None, None], (48, 4, 4, 3)).astype("uint8")

    def model(self):
        keras.utils.set_random_seed(1)
        pixels = keras.Input((4, 4, 3))
        features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels))
        backbone = keras.Model(pixels, keras.layers.Dense(16, activation="tanh")(features))
        model = build_model(
            backbone, "deep_regression_forest", outputs=("age",), method_params={"trees": 2, "depth": 4, "units": 16}
        )
        model.compile(keras.optimizers.Adam(0.1))
        return model

    def fit(self, model, epochs, *callbacks):
        labels = {"age": np.stack([self.AGES, *np.full((3, 48), np.nan, np.float32)], axis=1)}
        weights = {"age": np.ones(48, np.float32)}
        model.fit(
            self.IMAGES.astype("float32"), labels, sample_weight=weights, batch_size=16, epochs=epochs, verbose=0,
            callbacks=list(callbacks),
        )  # fmt: skip

    def callback(self, seed=0, **settings):
        return LeafUpdate(self.IMAGES, self.AGES, batch_size=16, seed=seed, **{**SETTINGS, **settings})

    def test_leaves_change_only_at_their_step(self):
        model = self.model()
        start = np.asarray(model.age_head.leaf_mean)
        self.fit(model, 1, self.callback())  # three steps
        np.testing.assert_array_equal(model.age_head.leaf_mean, start)
        self.fit(model, 1, self.callback())  # the sixth is one of update
        assert np.abs(np.asarray(model.age_head.leaf_mean) - start).max() > 0.5

    def test_without_it_the_leaves_stay(self):
        model = self.model()
        start = [np.asarray(weight) for weight in (model.age_head.leaf_mean, model.age_head.leaf_variance)]
        self.fit(model, 3)
        np.testing.assert_array_equal(model.age_head.leaf_mean, start[0])
        np.testing.assert_array_equal(model.age_head.leaf_variance, start[1])

    def test_update_of_all_faces_is_update_leaves(self):
        """The last step of the training is one of update, so the routes are those of the finished model."""
        model = self.model()
        mean, variance = np.asarray(model.age_head.leaf_mean), np.asarray(model.age_head.leaf_variance)
        self.fit(model, 2, self.callback(leaf_update_faces=48, leaf_update_iterations=2))
        route = np.asarray(model(self.IMAGES.astype("float32"))["age"])[:, 0]
        expected = brute_update(self.AGES.astype(float), route.astype(float), mean, variance, 2, FLOOR)
        np.testing.assert_allclose(model.age_head.leaf_mean, expected[0], rtol=1e-3)
        np.testing.assert_allclose(model.age_head.leaf_variance, expected[1], rtol=1e-2)

    @pytest.mark.slow
    def test_beats_the_trivial_guess(self):
        model = self.model()
        self.fit(model, 30, self.callback())
        error = np.abs(np.asarray(model.predict_faces(self.IMAGES.astype("float32"))["age"]) - self.AGES).mean()
        trivial = np.abs(self.AGES - np.median(self.AGES)).mean()
        assert error < trivial / 4, (error, trivial)
