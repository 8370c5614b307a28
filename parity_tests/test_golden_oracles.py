"""Both stacks against packages that are not ours and against numbers that papers and their code print."""

import numpy as np
import pytest
import torch
from coral_pytorch.dataset import corn_label_from_logits, levels_from_labelbatch, proba_to_label
from coral_pytorch.layers import CoralLayer
from coral_pytorch.losses import coral_loss, corn_loss
from scipy.special import logsumexp, softmax
from scipy.stats import laplace, norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, mean_absolute_error
from sklearn.mixture import GaussianMixture

RNG = np.random.default_rng(5)
N, K = 16, 21
LOGITS = RNG.normal(0, 3, (N, K - 1))
LABELS = RNG.integers(0, K, N)
LABELS[:2] = 0, K - 1
PREDICTED, AGE = RNG.uniform(0, 100, (2, N))


class TestCoralPytorch:
    """Cao et al. 2020 and Shi et al. 2021 by their authors."""

    @pytest.mark.parametrize("weights", [None, RNG.uniform(0.1, 2, K - 1)])
    @pytest.mark.parametrize("loss", ["coral", "or_cnn"])
    def test_coral_loss(self, stack, loss, weights):
        expected = coral_loss(
            torch.tensor(LOGITS),
            levels_from_labelbatch(LABELS.tolist(), K, dtype=torch.float64),
            importance_weights=None if weights is None else torch.tensor(weights),
            reduction=None,
        )
        np.testing.assert_allclose(stack.loss(loss, LABELS, LOGITS, importance_weights=weights), expected, rtol=1e-12)

    def test_coral_docstring_example(self, stack):
        logits = [[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]]
        np.testing.assert_allclose(stack.loss("coral", [2, 1, 4], logits), [0.5370, 0.8951, 0.6441], atol=5e-5)

    def test_corn_loss(self, stack):
        expected = corn_loss(torch.tensor(LOGITS), torch.tensor(LABELS), K)
        assert stack.loss("corn", LABELS, LOGITS).mean() == pytest.approx(expected.item(), rel=1e-12)

    def test_corn_loss_of_the_known_part_of_a_batch(self, stack):
        known = np.arange(N) % 3 > 0
        expected = corn_loss(torch.tensor(LOGITS[known]), torch.tensor(LABELS[known]), K)
        values = stack.loss("corn", np.where(known, LABELS, np.nan), LOGITS)
        assert values[known].mean() == pytest.approx(expected.item(), rel=1e-12)

    def test_corn_documented_example(self, stack):
        torch.manual_seed(123)
        features, network = torch.rand(8, 99), torch.nn.Linear(99, 4)
        values = stack.loss("corn", [0, 1, 2, 2, 2, 3, 4, 4], network(features).detach().numpy())
        assert values.mean() == pytest.approx(0.7127, abs=5e-5)

    @pytest.mark.parametrize("bias", ["free", "ordered"])
    def test_layer(self, stack, bias):
        features = RNG.normal(0, 1, (N, 7)).astype("float32")
        layer = CoralLayer(7, K)
        head = stack.head("rank", 7, max_age=K - 1, bias=bias)
        stack.load(head, {"score/kernel": layer.coral_weights.weight.detach().numpy().T})
        expected = layer(torch.tensor(features)).detach().numpy()
        np.testing.assert_allclose(stack.output(head, features), expected, rtol=2e-6, atol=2e-6)

    def test_rank_decode(self, stack):
        for head in ("rank", "independent_rank"):
            actual = stack.decode(head, LOGITS, max_age=K - 1)
            np.testing.assert_array_equal(actual, proba_to_label(torch.sigmoid(torch.tensor(LOGITS))))

    def test_conditional_rank_decode(self, stack):
        logits = LOGITS + 4  # else the first factor decides
        expected = corn_label_from_logits(torch.tensor(logits)).numpy()
        assert len(set(expected)) > 5
        actual = stack.decode("conditional_rank", logits, min_age=30, max_age=30 + K - 1)
        np.testing.assert_array_equal(actual, 30 + expected)

    def test_conditional_rank_probabilities(self, stack):
        exceeds = torch.cumprod(torch.sigmoid(torch.tensor(LOGITS + 2)), dim=1).numpy()
        expected = -np.diff(exceeds, axis=1, prepend=1, append=0)
        head = {"max_age": K - 1, "decode": "expectation"}
        probabilities = stack.probabilities("conditional_rank", LOGITS + 2, **head)
        np.testing.assert_allclose(probabilities, expected, rtol=1e-10, atol=1e-14)
        decoded = stack.decode("conditional_rank", LOGITS + 2, **head)
        np.testing.assert_allclose(decoded, exceeds.sum(axis=1), rtol=1e-10)


class TestScipy:
    @pytest.mark.parametrize("std", [0.5, 3.0, 40.0])
    def test_dldl_and_squared_sord_are_a_normal_target(self, stack, std):
        density = norm.pdf(np.arange(101), loc=37.4, scale=std)
        logits = RNG.normal(0, 2, (1, 101))
        expected = -(density / density.sum() * (logits - logsumexp(logits))).sum()
        known = {"age_std": np.array([std])}
        for values in (
            stack.loss("dldl", [37.4], logits, **known),
            stack.loss("dldl", [37.4], logits, sigma=std),
            stack.loss("sord", [37.4], logits, metric="squared", **known),
            stack.loss("sord", [37.4], logits, metric="squared", scale=0.5 / std**2),
        ):
            np.testing.assert_allclose(values, expected, rtol=1e-12)

    def test_absolute_sord_is_a_laplace_target(self, stack):
        density = laplace.pdf(np.arange(101), loc=37.4, scale=3.0)
        logits = RNG.normal(0, 2, (1, 101))
        expected = -(density / density.sum() * (logits - logsumexp(logits))).sum()
        for params in ({"age_std": np.array([3.0])}, {"scale": 1 / 3}):
            np.testing.assert_allclose(stack.loss("sord", [37.4], logits, **params), expected, rtol=1e-12)

    def test_forest_likelihood(self, stack):
        route = RNG.dirichlet(np.ones(8), (N, 5))
        mean, variance = RNG.uniform(0, 90, (5, 8)), RNG.uniform(1, 60, (5, 8))
        likelihood = (route * norm.pdf(AGE[:, None, None], mean, np.sqrt(variance))).sum(axis=-1)
        output = np.stack(np.broadcast_arrays(np.log(route), mean, variance), axis=1)
        actual = stack.loss("deep_regression_forest", AGE, output)
        np.testing.assert_allclose(actual, -np.log(likelihood).mean(axis=-1), rtol=1e-11)

    def test_balanced_mse_is_a_likelihood_ratio(self, stack):
        """2 s^2 (-log N(y; o, s) + log sum_j N(y_j; o, s)), Ren et al. 2022, equations 3 and 8."""
        noise = np.full(N, 3.0)
        density = norm.pdf(AGE[None], PREDICTED[:, None], 3.0)  # of sample i's prediction at label j
        expected = 2 * 9 * (np.log(density.sum(axis=1)) - np.log(density.diagonal()))
        output = np.stack([PREDICTED, noise], axis=1)
        np.testing.assert_allclose(stack.loss("balanced_mse", AGE, output), expected, rtol=1e-11)

    def test_balanced_mse_restores_the_gradient_of_the_squared_error(self, stack):
        """2 (o - y), less what the other labels pull; the factor 2 s^2 itself has no gradient in s."""
        noise = RNG.uniform(2, 6, N)
        gradient = stack.gradient("balanced_mse", AGE, np.stack([PREDICTED, noise], axis=1))
        error = PREDICTED[:, None] - AGE
        share = softmax(-(error**2) / (2 * noise[:, None] ** 2), axis=1)
        np.testing.assert_allclose(gradient[:, 0], 2 * (error.diagonal() - (share * error).sum(axis=1)), rtol=1e-9)
        # d/ds of d^2 / (2 s^2) is -d^2 / s^3.
        expected = 2 / noise * ((share * error**2).sum(axis=1) - error.diagonal() ** 2)
        np.testing.assert_allclose(gradient[:, 1], expected, rtol=1e-9)

    @pytest.mark.parametrize("variant", ["bmc", "gai", "bni"])
    def test_balanced_mse_holds_the_noise_above_its_floor(self, stack, variant):
        statistics = {
            "mixture_weights": [0.5, 0.5],
            "mixture_means": [20.0, 60.0],
            "mixture_variances": [9.0, 25.0],
            "bucket_weights": np.full(101, 1 / 101),
        }
        values = [
            stack.loss("balanced_mse", AGE, np.stack([PREDICTED, np.full(N, noise)], axis=1), variant=variant,
                      min_noise=0.5, **statistics)
            for noise in (0.0, 0.3, -0.45, 0.5, 0.6)
        ]  # fmt: skip
        for value in values[:3]:
            np.testing.assert_allclose(value, values[3], rtol=1e-12)
        assert np.abs(values[4] - values[3]).max() > 1e-3

    def test_forest_leaves_have_no_gradient(self, stack):
        route = np.log(RNG.dirichlet(np.ones(8), (N, 5)))
        leaves = RNG.uniform(1, 90, (2, 5, 8))
        output = np.stack(np.broadcast_arrays(route, *leaves), axis=1)
        for variant in ("nll", "l2"):
            gradient = stack.gradient("deep_regression_forest", AGE, output, variant=variant)
            assert np.abs(gradient[:, 0]).max() > 1e-2
            np.testing.assert_array_equal(gradient[:, 1:], 0)

    def test_epsilon_annealed_ends_at_the_epsilon_error(self, stack):
        std = RNG.uniform(0.5, 9, N)
        expected = 1 - norm.pdf(PREDICTED, AGE, std) / norm.pdf(0, 0, std)
        actual = stack.loss("epsilon_annealed", AGE, PREDICTED, progress=1.0, age_std=std)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


class TestScikitLearn:
    AGES = np.concatenate([RNG.normal(8, 3, 150), RNG.normal(30, 5, 300), RNG.normal(65, 9, 150)]).clip(0, 100)

    def log_likelihood(self, weights, means, variances):
        points = self.AGES[:, None]
        # A component may die: its weight is then 0.
        with np.errstate(divide="ignore"):
            return logsumexp(np.log(weights) + norm.logpdf(points, means, np.sqrt(variances)), axis=1).mean()

    def test_mixture_equals_sklearn_from_the_same_start(self, stack):
        start = np.quantile(self.AGES, (np.arange(8) + 0.5) / 8)
        reference = GaussianMixture(
            8,
            covariance_type="diag",
            tol=0,
            reg_covar=0,
            max_iter=200,
            weights_init=np.full(8, 1 / 8),
            means_init=start[:, None],
            precisions_init=np.full((8, 1), 64 / self.AGES.var()),
        )
        with pytest.warns(ConvergenceWarning):
            reference.fit(self.AGES[:, None])
        assert reference.covariances_.min() > 1 / 12  # our floor is not reached
        weights, means, variances = stack.fits.fit_mixture(self.AGES)
        np.testing.assert_allclose(weights, reference.weights_, rtol=1e-7)
        np.testing.assert_allclose(means, reference.means_[:, 0], rtol=1e-7)
        np.testing.assert_allclose(variances, reference.covariances_[:, 0], rtol=1e-6)

    def test_each_round_makes_the_ages_more_likely(self, stack):
        rounds = [self.log_likelihood(*stack.fits.fit_mixture(self.AGES, rounds=count)) for count in (1, 2, 5, 20, 200)]
        assert np.all(np.diff(rounds) > 0), rounds
        one = norm.logpdf(self.AGES, self.AGES.mean(), self.AGES.std()).mean()
        assert rounds[-1] > one + 0.1

    def test_mixture_of_few_distinct_ages(self, stack):
        """Components starve and collapse: a floor and a rule hold them."""
        for ages in (np.full(20, 31.0), np.array([5.0, 5.0, 5.0, 90.0]), np.array([44.0])):
            weights, means, variances = stack.fits.fit_mixture(ages)
            assert weights.sum() == pytest.approx(1, abs=1e-9) and np.all(weights >= 0)
            assert np.isfinite(means).all() and np.all(variances >= 1 / 12)
            assert (weights * means).sum() == pytest.approx(ages.mean(), abs=1e-6)

    def test_mae_and_gender_accuracy(self, stack):
        assert stack.metric("mae", AGE, PREDICTED).mean() == pytest.approx(
            mean_absolute_error(AGE, PREDICTED), rel=1e-12
        )
        weight = RNG.integers(0, 4, N).astype(float)
        weighted = stack.metric("mae", AGE, PREDICTED, weight=weight).mean()
        assert weighted == pytest.approx(mean_absolute_error(AGE, PREDICTED, sample_weight=weight), rel=1e-12)
        gender, probabilities = RNG.integers(0, 2, N), RNG.dirichlet([1, 1], N)
        accuracy = stack.metric("gender_accuracy", gender, probabilities).mean()
        assert accuracy == pytest.approx(accuracy_score(gender, probabilities.argmax(1)), rel=1e-12)


class TestGender:
    LOGITS, GENDER = RNG.normal(0, 3, (N, 2)), RNG.integers(0, 2, N)

    @pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
    def test_label_smoothing_of_torch(self, stack, smoothing):
        expected = torch.nn.functional.cross_entropy(
            torch.tensor(self.LOGITS), torch.tensor(self.GENDER), reduction="none", label_smoothing=smoothing
        )
        actual = stack.loss("gender_cross_entropy", self.GENDER, self.LOGITS, label_smoothing=smoothing)
        np.testing.assert_allclose(actual, expected, rtol=1e-11)

    @pytest.mark.parametrize("gamma", [0.5, 2.0])
    def test_focal_factor(self, stack, gamma):
        """Lin et al. 2017, equation 4."""
        probability = softmax(self.LOGITS, axis=1)[np.arange(N), self.GENDER]
        actual = stack.loss("gender_cross_entropy", self.GENDER, self.LOGITS, focal_gamma=gamma)
        np.testing.assert_allclose(actual, -((1 - probability) ** gamma) * np.log(probability), rtol=1e-9)

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 5.0])
    def test_finite_where_certain_and_where_unknown(self, stack, gamma):
        logits = np.array([[1e4, -1e4], [-1e4, 1e4], [0, 0], [1e4, 1e4]]).repeat(3, axis=0)
        gender = np.tile([0, 1, -1], 4)
        settings = {"focal_gamma": gamma, "label_smoothing": 0.1}
        values, gradient = stack.loss_and_gradient("gender_cross_entropy", gender, logits, **settings)
        assert np.isfinite(values).all() and np.isfinite(gradient).all()


class TestPapers:
    def test_or_cnn_has_no_clamp(self, stack):
        """On probabilities the first task stops at 100; on logits it is worth 200 and keeps its gradient."""
        value = stack.loss("or_cnn", [1], [[-200.0, 0.0]])
        assert value[0] == pytest.approx(200 + np.log(2), rel=1e-12)
        np.testing.assert_allclose(stack.gradient("or_cnn", [1], [[-200.0, 0.0]]), [[-1, 0.5]], rtol=1e-12)

    def residue_gradient(self, stack, logits, entropy):
        """Of the residue alone, at class 2."""
        parameters = {"mean_weight": 0, "residue_weight": 1.0, "entropy": entropy}
        total = stack.gradient("adaptive_mean_residue", [2], logits, **parameters)
        return total - stack.gradient("cross_entropy", [2], logits)

    def test_the_published_residue_lifts_a_strong_wrong_age(self, stack):
        """Seen with the released module of AMR: the wrong class 1 is pushed up, more than the true class 2."""
        gradient = self.residue_gradient(stack, [[0.0, 1.0, 1.2, -30.0]], "paper")
        np.testing.assert_allclose(gradient, [[0.118, -0.064, -0.054, 0]], atol=5e-4)

    def test_the_monotone_residue_never_lifts_a_less_probable_age_over_the_true_one(self, stack):
        """A step downhill moves no residue class up against the true class."""
        logits = np.concatenate([[[0.0, 1.0, 1.2, -30.0]], RNG.normal(0, 2, (500, 4))])
        falls = self.logit_rise_over_truth(stack, logits, "paper")
        assert falls.max() > 5e-3  # the inputs do reach the published slip
        assert self.logit_rise_over_truth(stack, logits, "monotone").max() <= 1e-12

    def logit_rise_over_truth(self, stack, logits, entropy):
        parameters = {"mean_weight": 0, "residue_weight": 1.0, "entropy": entropy}
        age = np.full(len(logits), 2.0)
        gradient = stack.gradient("adaptive_mean_residue", age, logits, **parameters)
        gradient -= stack.gradient("cross_entropy", age, logits)
        return (gradient[:, 2:3] - gradient)[logits < logits[:, 2:3]]

    @pytest.mark.parametrize("classes", [11, 101])
    def test_of_equally_probable_ages_the_younger_ones_are_no_residue(self, stack, classes):
        """Only the residue tells classes apart here: what is in it has the larger gradient."""
        logits = np.zeros((2, classes))
        logits[1, 7:] = 1.0
        parameters = {"mean_weight": 0, "residue_weight": 1.0, "top_k": 3}
        gradient = stack.gradient("mean_residue", [5, 5], logits, **parameters)
        gradient -= stack.gradient("cross_entropy", [5, 5], logits)
        assert np.all(gradient[0, :3] < gradient[0, 3:].min() - 1e-3)
        assert np.all(gradient[1, 7:10] < gradient[1, 10:].min() - 1e-3)

    def test_unimodal_collapses_only_as_published(self, stack):
        """Certain and right: half the log of the floor. Certain and wrong: beyond 1e10 as published."""
        certain = [[200.0, 0.0, -200.0]]
        published = {"unimodal_weight": 0, "variance_floor": 1e-10}
        assert stack.loss("unimodal", [0], certain, **published)[0] == pytest.approx(-11.51, abs=0.005)
        assert stack.loss("unimodal", [2], certain, **published)[0] > 1e10
        ours = {"unimodal_weight": 0}
        assert stack.loss("unimodal", [0], certain, **ours)[0] == pytest.approx(np.log(1 / 12) / 2, rel=1e-12)
        assert stack.loss("unimodal", [2], certain, **ours)[0] == pytest.approx(np.log(1 / 12) / 2 + 24, rel=1e-12)

    def test_stagewise_denominator(self, stack):
        """SSR-Net issue 17: a saturated scale divides by nothing unless it is damped."""
        inputs = (np.full((1, 3, 3), 1 / 3), np.zeros((1, 3, 3)), [[-1.0, -1.0, -1.0]])
        damped = stack.array(stack.heads.stagewise_age(*map(stack.tensor, inputs), width=101))
        divisor = 3 * (1 - 0.99)
        assert damped[0] == pytest.approx(101 * (1 / divisor + 1 / divisor**2 + 1 / divisor**3), rel=1e-10)

    def test_stagewise_is_base_three_without_shift_and_scale(self, stack):
        """One-hot bins are the digits of the age in units of a 27th of the grid."""
        digits = np.eye(3)[[[2, 0, 1], [0, 1, 2]]]
        parts = (digits, np.zeros((2, 3, 3)), np.zeros((2, 3)))
        ages = stack.array(stack.heads.stagewise_age(*map(stack.tensor, parts), width=27))
        np.testing.assert_allclose(ages, [2 * 9 + 1, 3 + 2], rtol=1e-12)

    def test_mean_variance_at_the_start(self, stack):
        """Uniform over 0..100: cross-entropy ln 101, mean term 40 at age 30, variance term 42.5."""
        value = stack.loss("mean_variance", [30], np.zeros((1, 101)))
        assert value[0] == pytest.approx(np.log(101) + 40 + 42.5, rel=1e-12)
