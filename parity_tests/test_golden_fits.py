"""What methods take from the training ages, in both stacks, against other packages and by hand."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats.mstats import mquantiles

LOG = np.log
# Of ages 0, 1, 1, 3 on the grid 0..3 three are above 0, one above 1 and one above 2; one more face is spread evenly.
AGES = np.array([0.0, 1, 1, np.nan, 3])


def fitted(stack, method, ages=AGES, low=0, high=3, **settings):
    entry = stack.methods[method]
    return entry.fit(ages, low, high, **{**entry.settings, **settings})


def test_constants_of_least_error(stack):
    ages = np.array([2.0, 4, 90, np.nan])
    assert fitted(stack, "l1", ages, 0, 100) == fitted(stack, "huber", ages, 0, 100) == {"initial_bias": 4.0}
    for method in ("mse", "epsilon_annealed", "balanced_mse"):
        assert fitted(stack, method, ages, 0, 100) == {"initial_bias": 32.0}


def test_ranks_start_at_the_log_odds_of_the_training_faces(stack):
    expected = LOG([3.75 / 1.25, 1.5 / 3.5, 1.25 / 3.75])
    for method in ("coral", "or_cnn"):
        np.testing.assert_allclose(fitted(stack, method)["initial_bias"], expected, rtol=1e-12)
        assert fitted(stack, method, start="published") == {}
    expected = LOG([3.75 / 1.25, 1.5 / 2.25, 1.25 / 0.25])  # those above by those of the class itself, a quarter more
    np.testing.assert_allclose(fitted(stack, "corn")["initial_bias"], expected, rtol=1e-12)


def test_importance_weights(stack):
    """Cao et al. (coral-cnn, task_importance_weights): roots of the larger side by the largest root; Niu et al.: the
    root of each class by the sum of the roots."""
    settings = {"start": "published"}
    coral = fitted(stack, "coral", importance_weights="coral", **settings)["importance_weights"]
    np.testing.assert_allclose(coral, np.sqrt([3 / 3, 3 / 3, 3 / 3]), rtol=1e-12)
    many = np.repeat([0.0, 1, 2, 3], [7, 1, 1, 3])  # sides 7:5, 8:4, 9:3
    coral = fitted(stack, "coral", many, importance_weights="coral", **settings)["importance_weights"]
    np.testing.assert_allclose(coral, np.sqrt([7 / 9, 8 / 9, 9 / 9]), rtol=1e-12)
    niu = fitted(stack, "or_cnn", many, importance_weights="niu", **settings)["importance_weights"]
    np.testing.assert_allclose(niu, np.sqrt([7, 1, 1]) / (np.sqrt(7) + 2), rtol=1e-12)


def test_buckets_are_the_share_of_each_year(stack):
    ages = np.array([20.0, 20.4, 20.5, 25, 99, 3])
    weights = fitted(stack, "balanced_mse", ages, 20, 25, variant="bni")["bucket_weights"]
    shares = np.histogram(np.floor(ages.clip(20, 25) + 0.5), bins=np.arange(19.5, 26), density=True)[0]
    np.testing.assert_allclose(weights, shares, rtol=1e-12)


def test_leaves_start_at_quantiles(stack):
    ages = np.random.default_rng(3).normal(35, 15, 400).clip(0, 100)
    leaves = fitted(stack, "deep_regression_forest", ages, 0, 100, trees=2, depth=3)
    for tree, shift in enumerate((0.25, 0.75)):
        expected = mquantiles(ages, (np.arange(4) + shift) / 4, alphap=1, betap=1)
        np.testing.assert_allclose(np.asarray(leaves["leaf_mean"])[tree], expected, rtol=1e-12)
    np.testing.assert_allclose(leaves["leaf_variance"], np.var(ages) / 16, rtol=1e-12)
    same = fitted(stack, "deep_regression_forest", np.full(9, 30.0), 0, 100, trees=2, depth=3)
    np.testing.assert_allclose(same["leaf_variance"], 1 / 12, rtol=1e-12)


def em(ages, components, rounds, floor):
    """Expectation maximisation one component at a time; one whose share is below the floor keeps mean and variance."""
    means = mquantiles(ages, (np.arange(components) + 0.5) / components, alphap=1, betap=1)
    variances = np.full(components, max(np.var(ages) / components**2, 1 / 12))
    weights = np.full(components, 1 / components)
    for _ in range(rounds):
        with np.errstate(divide="ignore"):
            joint = LOG(weights) + norm.logpdf(ages[:, None], means, np.sqrt(variances))
        share = np.exp(joint - joint.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        for component in range(components):
            total = share[:, component].sum()
            weights[component] = total / len(ages)
            if total >= floor:
                means[component] = np.average(ages, weights=share[:, component])
                spread = np.average((ages - means[component]) ** 2, weights=share[:, component])
                variances[component] = max(spread, 1 / 12)
    return weights, means, variances


# Crowds with nobody between them: what starts there starves, with a share just above the floor and just below it.
STARVING = {"above": ([7.0, 22, 77], 5, 3e-7), "below": ([20.0, 40], 2, 1e-5)}


@pytest.mark.parametrize("case", STARVING)
def test_a_component_that_starves_keeps_its_place(stack, case):
    places, count, other_floor = STARVING[case]
    ages = np.repeat(places, count)
    expected = em(ages, 8, 2, 1e-6)
    assert np.abs(em(ages, 8, 2, other_floor)[1] - expected[1]).max() > 1  # so this does see the floor
    for actual, wanted in zip(stack.fits.fit_mixture(ages, rounds=2), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-7, atol=1e-9)
