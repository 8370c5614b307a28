"""Losses of both stacks where golden.json has no value: ties and subgradients, integrals, other packages."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import entr, expit, logsumexp, softmax
from scipy.stats import norm, rv_discrete

RNG = np.random.default_rng(9)
N, K = 12, 21
LOGITS = RNG.normal(0, 2, (N, K))
AGE = RNG.integers(0, K, N).astype(float)


def torch_gradient(fn, output):
    variable = torch.tensor(np.asarray(output, "float64"), requires_grad=True)
    (gradient,) = torch.autograd.grad(fn(variable).sum(), variable)
    return gradient.numpy()


class TestYears:
    TRUTH = np.array([0.0, 3, 7, 10, 5, 5, 40])
    OUTPUT = np.array([1.25, 2.5, 9.0, 6.75, 5, 6, 37.5])  # the last three: exact, at the bend, beyond it

    @pytest.mark.parametrize(
        ("name", "reference"),
        [("l1", torch.nn.L1Loss), ("soft_stagewise", torch.nn.L1Loss), ("mse", torch.nn.MSELoss),
         ("huber", torch.nn.SmoothL1Loss)],
    )  # fmt: skip
    def test_value_and_gradient_of_torch(self, stack, name, reference):
        loss, truth = reference(reduction="none"), torch.tensor(self.TRUTH)
        values, gradient = stack.loss_and_gradient(name, self.TRUTH, self.OUTPUT)
        np.testing.assert_allclose(values, loss(torch.tensor(self.OUTPUT), truth), rtol=1e-12)
        np.testing.assert_allclose(gradient, torch_gradient(lambda o: loss(o, truth), self.OUTPUT), rtol=1e-12)

    @pytest.mark.parametrize(("beta", "expected"), [(1.0, [0.75, 0.125, 1.5, 2.75]), (2.5, [0.3125, 0.05, 0.8, 2.0])])
    def test_huber_of_the_released_regression(self, stack, beta, expected):
        """weighted_huber_loss of github.com/YyzHarry/imbalanced-regression (imdb-wiki-dir/loss.py), one face each."""
        np.testing.assert_allclose(
            stack.loss("huber", self.TRUTH[:4], self.OUTPUT[:4], beta=beta), expected, rtol=1e-12
        )

    @pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
    def test_annealed_epsilon_error_and_its_slope(self, stack, progress):
        """Qin et al.: dL/do = (1 - t) d + t d / s^2 exp(-d^2 / (2 s^2)); a spread below half a year counts as half."""
        std = np.array([0.5, 1, 2, 3.5, 4, 0.1, np.nan])
        known = np.array([0.5, 1, 2, 3.5, 4, 0.5, 3.0])
        error = self.OUTPUT - self.TRUTH
        bell = norm.pdf(error, scale=known) / norm.pdf(0, scale=known)
        values, gradient = stack.loss_and_gradient(
            "epsilon_annealed", self.TRUTH, self.OUTPUT, progress=progress, age_std=std
        )
        np.testing.assert_allclose(values, (1 - progress) * error**2 / 2 + progress * (1 - bell), rtol=1e-11)
        np.testing.assert_allclose(gradient, (1 - progress) * error + progress * error / known**2 * bell, rtol=1e-11)


class TestUnimodal:
    """Li et al.: relu of the differences of p with the sign of the side, by torch's own relu, whose slope at 0 is 0."""

    def published(self, index):
        def violations(logits):
            step = torch.softmax(logits, dim=1).diff(dim=1)
            sign = torch.where(torch.arange(step.shape[1]) < torch.tensor(index)[:, None], -1.0, 1.0)
            return torch.relu(sign * step).sum(dim=1)

        return violations

    @pytest.mark.parametrize(
        "logits", [LOGITS, np.zeros((N, K)), np.round(LOGITS), np.repeat(LOGITS[:, ::3], 3, axis=1)]
    )
    def test_violations_and_their_gradient_with_and_without_ties(self, stack, logits):
        both = [stack.loss_and_gradient("unimodal", AGE, logits, unimodal_weight=w) for w in (1000.0, 0.0)]
        values, gradient = (with_term - without for with_term, without in zip(*both, strict=True))
        violations = self.published(AGE.astype(int))
        np.testing.assert_allclose(values, 1000 * violations(torch.tensor(logits)), rtol=1e-9, atol=1e-9)
        expected = 1000 * torch_gradient(violations, logits)
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-9)

    def test_concentration(self, stack):
        rows = [rv_discrete(values=(np.arange(K), row)) for row in softmax(LOGITS, axis=1)]
        width = np.array([row.var() for row in rows]) + 1 / 12
        expected = np.log(width) / 2 + (np.array([row.mean() for row in rows]) - AGE) ** 2 / (2 * width)
        np.testing.assert_allclose(stack.loss("unimodal", AGE, LOGITS, unimodal_weight=0), expected, rtol=1e-10)


class TestDistribution:
    def test_cross_entropy_and_mean_variance(self, stack):
        rows = [rv_discrete(values=(np.arange(K), row)) for row in softmax(LOGITS, axis=1)]
        likelihood = np.array([row.pmf(age) for row, age in zip(rows, AGE, strict=True)])
        np.testing.assert_allclose(stack.loss("cross_entropy", AGE, LOGITS), -np.log(likelihood), rtol=1e-10)
        error = np.array([row.mean() for row in rows]) - AGE
        expected = -np.log(likelihood) + 0.2 * error**2 / 2 + 0.05 * np.array([row.var() for row in rows])
        np.testing.assert_allclose(stack.loss("mean_variance", AGE, LOGITS), expected, rtol=1e-10)

    def test_interval_is_a_difference_of_cumulated_shares(self, stack):
        low, high = np.array([2.0, 0, 5, np.nan] * 3), np.array([9.0, 20, 5, 7] * 3)
        rows = [rv_discrete(values=(np.arange(K), row)) for row in softmax(LOGITS, axis=1)]
        shares = [
            row.cdf(last) - row.cdf(first - 1) for row, first, last in zip(rows, np.nan_to_num(low), high, strict=True)
        ]
        unknown = np.full(N, np.nan)
        values, gradient = stack.loss_and_gradient("interval", unknown, LOGITS, age_low=low, age_high=high)
        np.testing.assert_allclose(values, -np.log(shares), rtol=1e-9, atol=1e-12)
        inside = (np.nan_to_num(low)[:, None] <= np.arange(K)) & (np.arange(K) <= high[:, None])
        part = np.where(inside, LOGITS, -np.inf)
        np.testing.assert_allclose(gradient, softmax(LOGITS, axis=1) - softmax(part, axis=1), rtol=1e-9, atol=1e-12)
        exact = stack.loss("interval", AGE, LOGITS, age_low=low, age_high=high)  # an age goes before an interval
        np.testing.assert_allclose(exact, logsumexp(LOGITS, axis=1) - LOGITS[np.arange(N), AGE.astype(int)], rtol=1e-10)

    def test_no_pull_of_the_mean_where_it_is_right(self, stack):
        """|m - y| of DLDL-v2 has the slope sign(0) = 0 there, though ages 1 and 3 share the mass evenly."""
        logits = np.array([[-1e9, 0.0, -1e9, 0.0, -1e9]])
        pull = stack.gradient("dldl_v2", [2], logits) - stack.gradient("dldl_v2", [2], logits, l1_weight=0)
        np.testing.assert_allclose(pull, 0, atol=1e-12)

    def test_element_reduction_divides_the_divergence_alone(self, stack):
        target = norm.pdf(np.arange(K), AGE[:, None], 2.0)
        target /= target.sum(axis=1, keepdims=True)
        share = softmax(LOGITS, axis=1)
        divergence = (-entr(target) - target * np.log(share)).sum(axis=1)
        error = np.abs(share @ np.arange(K) - AGE)
        np.testing.assert_allclose(stack.loss("dldl_v2", AGE, LOGITS), divergence + error, rtol=1e-9)
        element = stack.loss("dldl_v2", AGE, LOGITS, kl_reduction="element", l1_weight=0.5)
        np.testing.assert_allclose(element, divergence / K + 0.5 * error, rtol=1e-9)

    def test_interval_dldl_v2_of_ages_and_groups_in_one_batch(self, stack):
        """The target of an age by integration of the normal curve's logarithm and shares as sums over the years; the
        mean of the batch is over the faces that are known in either way."""
        age = np.where(np.arange(N) % 3 == 0, np.nan, AGE)
        low, high = np.array([2.0, 0, 5, np.nan] * 3), np.array([9.0, 20, 5, 7] * 3)
        std = np.array([3.0, np.nan, 0.2] * 4)
        inputs = {"age_std": std, "age_low": low, "age_high": high}
        values, gradient = stack.loss_and_gradient("interval_dldl_v2", age, LOGITS, l1_weight=0.5, **inputs)
        for row, share in enumerate(softmax(LOGITS, axis=1)):
            if np.isnan(age[row]):
                first, last = int(np.nan_to_num(low[row])), int(high[row])
                inside = np.where((first <= np.arange(K)) & (np.arange(K) <= last), share, 0)
                expected, slope = -np.log(inside.sum()), share - inside / inside.sum()
            else:
                spread = np.nan_to_num(max(std[row], 0.5), nan=2.0)
                logs = [quad(lambda t, y, s: (y - t) / s**2, age[row], k, (age[row], spread))[0] for k in range(K)]
                target = np.exp(logs) / np.exp(logs).sum()
                error = share @ np.arange(K) - age[row]
                expected = (-entr(target) - target * np.log(share)).sum() + 0.5 * abs(error)
                pull = share * (np.arange(K) - share @ np.arange(K))
                slope = share - target + 0.5 * np.sign(error) * pull
            np.testing.assert_allclose(values[row], expected, rtol=1e-9)
            np.testing.assert_allclose(gradient[row], slope, rtol=1e-8, atol=1e-11)


class TestResidue:
    """Zhao et al., entropies by `scipy.special.entr`."""

    def residue(self, in_residue, entropy):
        shifted = np.where(in_residue, softmax(LOGITS, axis=1), 0) + 1e-3
        if entropy == "paper":
            return entr(shifted).sum(axis=1)
        return (entr(np.minimum(shifted, np.exp(-1))) - entr(1e-3)).sum(axis=1)

    @pytest.mark.parametrize("entropy", ["paper", "monotone"])
    def test_residue(self, stack, entropy):
        share = softmax(LOGITS, axis=1)
        rest = -np.log(share[np.arange(N), AGE.astype(int)]) + 0.2 * (share @ np.arange(K) - AGE) ** 2 / 2
        adaptive = share < share[np.arange(N), AGE.astype(int)][:, None]
        expected = rest + 0.25 * self.residue(adaptive, entropy)
        np.testing.assert_allclose(
            stack.loss("adaptive_mean_residue", AGE, LOGITS, entropy=entropy), expected, rtol=1e-9
        )
        outside = np.argsort(np.argsort(-share, axis=1), axis=1) >= 6
        expected = rest + 0.25 * self.residue(outside, entropy)
        np.testing.assert_allclose(stack.loss("mean_residue", AGE, LOGITS, entropy=entropy), expected, rtol=1e-9)

    def test_an_age_as_probable_as_the_true_one_is_no_residue(self, stack):
        """101 equal ages leave 101 times -e ln e = 0.0069078 of the released code, without a gradient."""
        parameters = {"mean_weight": 0.0, "residue_weight": 1.0}
        values, gradient = stack.loss_and_gradient("adaptive_mean_residue", [30], np.zeros((1, 101)), **parameters)
        assert values[0] == pytest.approx(np.log(101) + 101 * entr(1e-3), rel=1e-12)
        expected = np.full((1, 101), 1 / 101)
        expected[0, 30] -= 1
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


class TestBalanced:
    """2 s^2 (-log N(y; o, s) + log of the integral of N(y'; o, s) over the training ages), Ren et al., equation 3."""

    LABEL, PREDICTED, NOISE = np.array([3.0, 30, 61]), np.array([9.0, 28, 66]), np.array([2.0, 5, 8])
    OUTPUT = np.stack([PREDICTED, NOISE], axis=1)

    def expected(self, integral):
        return 2 * self.NOISE**2 * (np.log(integral) - norm.logpdf(self.LABEL, self.PREDICTED, self.NOISE))

    def test_mixture_by_numerical_integration(self, stack):
        weights, means, variances = [0.2, 0.5, 0.3], [8.0, 30, 60], [9.0, 49, 100]
        integral = [
            quad(
                lambda age: (
                    norm.pdf(age, o, s) * np.dot(weights, norm.pdf(age, means, np.sqrt(variances)))  # noqa: B023
                ),
                -60, 160, limit=400, epsabs=0, epsrel=1e-11, points=[o, *means],
            )[0]
            for o, s in self.OUTPUT
        ]  # fmt: skip
        mixture = {"mixture_weights": weights, "mixture_means": means, "mixture_variances": variances}
        values = stack.loss("balanced_mse", self.LABEL, self.OUTPUT, variant="gai", **mixture)
        np.testing.assert_allclose(values, self.expected(integral), rtol=1e-8)

    def test_buckets_from_another_first_age(self, stack):
        shares = RNG.dirichlet(np.ones(70))
        integral = (shares * norm.pdf(np.arange(5, 75), self.PREDICTED[:, None], self.NOISE[:, None])).sum(axis=1)
        buckets = {"variant": "bni", "bucket_weights": shares, "min_age": 5}
        values = stack.loss("balanced_mse", self.LABEL, self.OUTPUT, **buckets)
        np.testing.assert_allclose(values, self.expected(integral), rtol=1e-9)


def test_forest_gradient_of_the_paper(stack):
    """Shen et al., equation 7 of one split: -(share of the left leaf - sigmoid(f)), for nll; (g - y) dg/df for l2."""
    split, age = np.array([0.7, -1.2]), np.array([20.0, 44.0])
    mean, std = np.array([18.0, 40.0]), np.array([5.0, 9.0])

    def output(logits):
        route = torch.stack([torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)], dim=1)
        return route[:, None]

    route = np.stack([expit(split), expit(-split)], axis=1)
    density = route * norm.pdf(age[:, None], mean, std)
    posterior = density / density.sum(axis=1, keepdims=True)
    answer = route @ mean
    slopes = {"nll": expit(split) - posterior[:, 0], "l2": (answer - age) * route[:, 0] * route[:, 1] * -np.diff(mean)}
    forest = np.stack(np.broadcast_arrays(output(torch.tensor(split)).numpy(), mean, std**2), axis=1)
    for variant, slope in slopes.items():
        gradient = stack.gradient("deep_regression_forest", age, forest, variant=variant)[:, 0, 0]
        # d log route / d f: 1 - s on the left, -s on the right.
        chained = gradient[:, 0] * expit(-split) - gradient[:, 1] * expit(split)
        np.testing.assert_allclose(chained, slope, rtol=1e-9)
