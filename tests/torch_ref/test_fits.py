"""Statistics of the training ages: rank weights, mixture, buckets and leaves, against scikit-learn and by hand."""

import inspect
import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from faces.errors import UserError
from torch_ref.heads import HEADS
from torch_ref.methods import METHODS

VARIANTS = [
    *((name, {}) for name, method in METHODS.items() if method.fit),
    *((name, {"start": "published"}) for name in ("coral", "or_cnn", "corn")),
    *((name, {"importance_weights": word}) for name in ("coral", "or_cnn") for word in ("coral", "niu")),
    ("coral", {"bias": "ordered"}),
    ("or_cnn", {"importance_weights": "niu", "start": "published"}),
    ("balanced_mse", {"variant": "gai"}),
    ("balanced_mse", {"variant": "bni"}),
    ("deep_regression_forest", {"trees": 3, "depth": 4, "units": 20}),
]


@pytest.fixture
def ages():
    """Two groups, some ages outside the grid 18..60, some unknown."""
    random = np.random.default_rng(0)
    ages = np.concatenate([random.normal(25, 3, 300), random.normal(48, 8, 200)])
    ages[::50] = np.nan
    return ages


def fit(name, ages, min_age=18, max_age=60, **changes):
    """Fit with the method's settings, as a training does."""
    method = METHODS[name]
    defaults = {**method.params, **method.head_params, **method.training_params}
    return method.fit(ages, min_age, max_age, **{**defaults, **changes})


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_fitted_values_are_arguments_of_the_loss_or_the_head(ages, name, changes):
    method, fitted = METHODS[name], fit(name, ages, **changes)
    settings = {**method.params, **method.head_params, **changes, **fitted}
    head_arguments = inspect.signature(HEADS[method.head]).parameters
    assert set(fitted) <= set(method.params) | set(head_arguments)
    no_arguments = {*method.params, *method.training_params}
    arguments = {key: value for key, value in settings.items() if key not in no_arguments}
    head = HEADS[method.head](4, min_age=18, max_age=60, **arguments)
    output = head(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    params = {key: value for key, value in settings.items() if key in method.params}
    assert torch.isfinite(method.loss(torch.tensor([20.0, 33.3, math.nan]), output, min_age=18, **params)).all()


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_unknown_ages_are_ignored(ages, name, changes):
    assert fit(name, ages, **changes) == fit(name, ages[~np.isnan(ages)], **changes)
    assert fit(name, torch.from_numpy(ages), **changes) == fit(name, ages, **changes)


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
@pytest.mark.parametrize("ages", [[], [math.nan, math.nan]])
def test_no_known_age_is_refused(name, changes, ages):
    if changes == {"start": "published"}:
        assert fit(name, ages, **changes) == {}
        return
    with pytest.raises(UserError, match="known training age"):
        fit(name, ages, **changes)


def test_initial_bias_is_the_best_constant():
    ages = np.array([1.0, 2.0, math.nan, 90.0])
    assert fit("huber", ages) == {"initial_bias": 2.0}
    for name in ("epsilon_annealed", "balanced_mse"):
        assert fit(name, ages) == {"initial_bias": 31.0}


@pytest.mark.parametrize("name", ["coral", "or_cnn"])
def test_importance_weights_by_hand(name):
    # Ages 10..14 with 1, 2, 0, 4 and 2 samples, the ends beyond the grid among them.
    ages = [3.0, 11.0, 11.4, 12.5, 13, 13, 13.2, 13.6, 40]
    # Above and not above the ranks: 8 and 1, 6 and 3, 6 and 3, 2 and 7.
    fitted = fit(name, ages, 10, 14, importance_weights="coral")
    np.testing.assert_allclose(fitted["importance_weights"], np.sqrt([8, 6, 6, 7]) / np.sqrt(8), rtol=1e-14)
    fitted = fit(name, ages, 10, 14, importance_weights="niu")
    np.testing.assert_allclose(fitted["importance_weights"], np.sqrt([1, 2, 0, 4]) / (1 + 2**0.5 + 2), rtol=1e-14)


def test_coral_weights_equal_coral_cnn_s_where_every_age_occurs():
    """Its task_importance_weights in NumPy: max(above, not above), root, by the maximum; one task a distinct age."""
    random = np.random.default_rng(1)
    ages = np.concatenate([np.arange(101), random.integers(0, 101, 500)])
    larger = [max((ages > t).sum(), (ages <= t).sum()) for t in np.unique(ages)[:-1]]
    expected = np.sqrt(larger) / np.sqrt(larger).max()
    fitted = fit("coral", ages, 0, 100, importance_weights="coral")
    np.testing.assert_allclose(fitted["importance_weights"], expected, rtol=1e-14)


@pytest.mark.parametrize("given", [None, [0.5] * 42, np.ones(42)])
def test_given_importance_weights_are_kept(ages, given):
    assert fit("coral", ages, importance_weights=given, start="published") == {}
    assert set(fit("coral", ages, importance_weights=given)) == {"initial_bias"}


def test_unknown_importance_weights_list_the_known(ages):
    with pytest.raises(UserError, match=r"Unknown importance_weights 'focal'.*coral, niu"):
        fit("coral", ages, importance_weights="focal")


def test_niu_weights_without_an_age_below_the_last_are_refused():
    with pytest.raises(UserError, match=r"below the last one, 60"):
        fit("or_cnn", [60, 71], importance_weights="niu")


@pytest.mark.parametrize(
    ("name", "odds"),
    [
        ("coral", [8.8 / 1.2, 6.6 / 3.4, 6.4 / 3.6, 2.2 / 7.8]),
        ("or_cnn", [8.8 / 1.2, 6.6 / 3.4, 6.4 / 3.6, 2.2 / 7.8]),
        ("corn", [8.8 / 1.2, 6.6 / 2.2, 6.4 / 0.2, 2.2 / 4.2]),
    ],
)
def test_prior_biases_by_hand(name, odds):
    # Ages 10..14 with 1, 2, 0, 4 and 2 samples and a fifth of one more in each; 8, 6, 6 and 2 above the ranks.
    ages = [3.0, 11.0, 11.4, math.nan, 12.5, 13, 13, 13.2, 13.6, 40]
    fitted = fit(name, ages, 10, 14)
    assert set(fitted) == {"initial_bias"} and isinstance(fitted["initial_bias"], list)
    np.testing.assert_allclose(fitted["initial_bias"], np.log(odds), rtol=1e-14)


@pytest.mark.parametrize("name", ["coral", "or_cnn"])
def test_prior_probabilities_are_the_shares_of_the_ages_above_the_ranks(ages, name):
    index = np.floor(ages[~np.isnan(ages)].clip(18, 60) + 0.5) - 18
    # Each class once more, each sample 43 times: the one age spread over the 43 classes in whole numbers.
    samples = np.concatenate([np.repeat(index, 43), np.arange(43)])
    shares = [(samples > rank).mean() for rank in range(42)]
    fitted = torch.tensor(fit(name, ages)["initial_bias"], dtype=torch.float64)
    np.testing.assert_allclose(fitted.sigmoid(), shares, rtol=1e-12)


def test_prior_probabilities_of_corn_are_the_shares_among_those_who_reach_the_rank(ages):
    index = np.floor(ages[~np.isnan(ages)].clip(18, 60) + 0.5) - 18
    samples = np.concatenate([np.repeat(index, 43), np.arange(43)])
    shares = [(samples[samples >= rank] > rank).mean() for rank in range(42)]
    fitted = torch.tensor(fit("corn", ages)["initial_bias"], dtype=torch.float64)
    np.testing.assert_allclose(fitted.sigmoid(), shares, rtol=1e-12)


@pytest.mark.parametrize("name", ["coral", "or_cnn", "corn"])
def test_prior_biases_of_one_age_are_finite(name):
    for age in (0.0, 37.0, 100.0):
        fitted = fit(name, [age] * 100_000, 0, 100)["initial_bias"]
        assert len(fitted) == 100 and np.isfinite(fitted).all()


@pytest.mark.parametrize("name", ["coral", "or_cnn"])
def test_prior_biases_stand_beside_the_weights(ages, name):
    weights = fit(name, ages, importance_weights="niu", start="published")
    assert set(weights) == {"importance_weights"}
    assert fit(name, ages, importance_weights="niu") == weights | fit(name, ages)


@pytest.mark.parametrize("name", ["coral", "or_cnn", "corn"])
def test_unknown_start_lists_the_known(ages, name):
    with pytest.raises(UserError, match=r"Unknown start 'zero'.*prior, published"):
        fit(name, ages, start="zero")


def test_buckets_are_the_shares_of_the_rounded_ages():
    fitted = fit("balanced_mse", [3.0, 11.0, 11.4, 12.5, 13, math.nan, 40, 13.5], 10, 14, variant="bni")
    np.testing.assert_allclose(fitted["bucket_weights"], np.array([1, 2, 0, 2, 2]) / 7, rtol=1e-14)


def test_mixture_is_scikit_learn_s():
    """The same rounds from the same start; no component gets near the floor of the variance, which is ours."""
    random = np.random.default_rng(0)
    ages = np.concatenate([random.normal(25, 4, 300), random.normal(48, 9, 200)])
    mixture = GaussianMixture(
        8,
        covariance_type="spherical",
        reg_covar=0,
        tol=0,
        max_iter=200,
        means_init=np.quantile(ages, (np.arange(8) + 0.5) / 8)[:, None],
        precisions_init=np.full(8, 64 / ages.var()),
        weights_init=np.full(8, 1 / 8),
    )
    with pytest.warns(UserWarning, match="did not converge"):
        mixture.fit(ages[:, None])
    fitted = fit("balanced_mse", ages, 0, 100, variant="gai")
    np.testing.assert_allclose(fitted["mixture_weights"], mixture.weights_, rtol=1e-8)
    np.testing.assert_allclose(fitted["mixture_means"], mixture.means_[:, 0], rtol=1e-8)
    np.testing.assert_allclose(fitted["mixture_variances"], mixture.covariances_, rtol=1e-8)


@pytest.mark.parametrize("ages", [[30.0], [30.0] * 40, [20.0] * 9 + [60.0], np.repeat([18.0, 60.0], [3, 10_000])])
def test_mixture_of_few_distinct_ages_is_a_distribution(ages):
    fitted = fit("balanced_mse", ages, variant="gai")
    assert len(fitted["mixture_weights"]) == 8
    assert sum(fitted["mixture_weights"]) == pytest.approx(1, rel=1e-12)
    assert min(fitted["mixture_weights"]) >= 0
    assert min(fitted["mixture_variances"]) >= 1 / 12
    mean = np.dot(fitted["mixture_weights"], fitted["mixture_means"])
    assert mean == pytest.approx(np.mean(ages), abs=1e-6)
    output = torch.tensor([[30.0, 10.0], [1e4, 0.0]], requires_grad=True)
    values = METHODS["balanced_mse"].loss(torch.tensor([20.0, 60.0]), output, variant="gai", **_mixture(fitted))
    values.sum().backward()
    assert torch.isfinite(values).all() and torch.isfinite(output.grad).all()


def _mixture(fitted):
    return {key: value for key, value in fitted.items() if key.startswith("mixture")}


def test_unreached_component_keeps_its_mean_and_variance():
    # The quantiles fall on 20 five times, then between the ages, on 22.5, 37.5 and 52.5: none is near the middle one.
    fitted = fit("balanced_mse", [20.0, 20.0, 20.0, 60.0], variant="gai")
    assert (fitted["mixture_means"][6], fitted["mixture_variances"][6]) == (37.5, 300 / 64)
    assert fitted["mixture_weights"][6] == 0
    np.testing.assert_allclose(fitted["mixture_means"], [20] * 6 + [37.5, 60], rtol=1e-9)
    np.testing.assert_allclose(fitted["mixture_weights"][7], 0.25, rtol=1e-9)


def test_equal_ages_make_equal_components():
    fitted = fit("balanced_mse", [30.0] * 1000, variant="gai")
    assert fitted["mixture_means"] == [30.0] * 8
    assert fitted["mixture_variances"] == [1 / 12] * 8
    assert fitted["mixture_weights"] == [1 / 8] * 8


def test_leaves_are_quantiles_by_hand():
    ages = np.arange(18, 61, dtype=np.float64)  # quantile q is 18 + 42 q
    fitted = fit("deep_regression_forest", [*ages, math.nan], trees=2, depth=3)
    shares = np.array([[0.25, 1.25, 2.25, 3.25], [0.75, 1.75, 2.75, 3.75]]) / 4
    np.testing.assert_allclose(fitted["leaf_mean"], 18 + 42 * shares, rtol=1e-12)
    np.testing.assert_allclose(fitted["leaf_variance"], np.full((2, 4), ages.var() / 16), rtol=1e-12)


def test_leaves_stay_on_the_grid_and_wide_enough():
    fitted = fit("deep_regression_forest", [3.0, 3.0, 99.0, 99.0])
    assert np.shape(fitted["leaf_mean"]) == np.shape(fitted["leaf_variance"]) == (5, 32)
    assert (np.min(fitted["leaf_mean"]), np.max(fitted["leaf_mean"])) == (18, 60)
    np.testing.assert_allclose(fitted["leaf_variance"], 21**2 / 32**2)
    same = fit("deep_regression_forest", [30.0, 30.0])
    np.testing.assert_allclose(same["leaf_variance"], 1 / 12)
