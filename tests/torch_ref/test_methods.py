"""METHODS: every entry fits its loss and its head."""

import inspect
import math

import numpy as np
import pytest
import torch

from faces.errors import UserError
from torch_ref.heads import HEADS
from torch_ref.methods import METHODS

NEEDS = {"age_std", "age_low", "age_high", "progress"}
every_method = pytest.mark.parametrize("name", METHODS)


@every_method
def test_params_and_needs_are_the_arguments_of_the_loss(name):
    method = METHODS[name]
    signature = inspect.signature(method.loss).parameters
    keywords = {key: value.default for key, value in signature.items() if value.kind is value.KEYWORD_ONLY}
    assert list(signature)[:2] == ["age", "output"]
    assert set(method.needs) <= NEEDS
    assert keywords == {"min_age": 0, **method.params, **dict.fromkeys(method.needs)}


@every_method
def test_loss_fits_its_head_and_trains_it(name):
    method = METHODS[name]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 4, generator=generator)
    age = torch.tensor([20.0, 25.5, 33.0, 60.0, math.nan])
    head = HEADS[method.head](4, min_age=18, max_age=60, **method.head_params)
    output = head(features)
    values = method.loss(age, output, min_age=18, **method.params)
    values[:4].mean().backward()
    assert values.shape == head.decode(output).shape == (5,)
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


@every_method
def test_head_params_are_the_defaults_of_the_head(name):
    signature = inspect.signature(HEADS[METHODS[name].head]).parameters
    assert METHODS[name].head_params == {key: signature[key].default for key in METHODS[name].head_params}


@every_method
def test_params_and_head_params_share_no_name(name):
    """A fitted value goes to the loss or to the head by its name alone."""
    assert not set(METHODS[name].params) & set(inspect.signature(HEADS[METHODS[name].head]).parameters)


@every_method
def test_training_params_are_the_defaults_of_the_fit_alone(name):
    method = METHODS[name]
    signature = inspect.signature(method.fit).parameters if method.fit else {}
    assert method.training_params == {key: signature[key].default for key in method.training_params}
    head_arguments = inspect.signature(HEADS[method.head]).parameters
    assert not set(method.training_params) & {*method.params, *method.head_params, *head_arguments}


def test_methods_of_ranks_start_at_the_prior():
    started = {name: dict(method.training_params) for name, method in METHODS.items() if method.training_params}
    assert started == {name: {"start": "prior"} for name in ("coral", "corn", "or_cnn")}


@every_method
def test_batch_coupled_methods_are_marked(name):
    method = METHODS[name]
    age = torch.tensor([20.0, 25.5, 33.0, 60.0])
    output = HEADS[method.head](4, min_age=18, max_age=60)(
        torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    )
    apart = torch.cat([method.loss(age[row : row + 1], output[row : row + 1], min_age=18) for row in range(4)])
    together = method.loss(age, output, min_age=18)
    assert torch.allclose(together, apart, rtol=1e-5) != method.batch_coupled


def test_fit_gives_the_best_constant_of_the_known_ages():
    ages = np.array([1.0, 2.0, math.nan, 90.0])
    assert METHODS["l1"].fit(ages, 0, 100) == {"initial_bias": 2.0}
    assert METHODS["mse"].fit(ages, 0, 100) == {"initial_bias": 31.0}


@pytest.mark.parametrize("ages", [[], [math.nan, math.nan]])
def test_fit_without_a_known_age_is_refused(ages):
    with pytest.raises(UserError, match="known training age"):
        METHODS["l1"].fit(ages, 0, 100)


@pytest.mark.parametrize("name", ["l1", "mse"])
def test_fitted_arguments_are_what_the_head_predicts_at_first(name):
    params = METHODS[name].fit([18.0, 30.0, 31.0], 0, 100)
    head = HEADS[METHODS[name].head](3, **params)
    assert head(torch.zeros(1, 3)).item() == pytest.approx(params["initial_bias"])


@pytest.mark.parametrize(
    ("name", "arguments"), [("coral", {}), ("coral", {"bias": "ordered"}), ("or_cnn", {}), ("corn", {})]
)
@pytest.mark.parametrize("decode", ["rank", "expectation"])
def test_rank_heads_predict_the_middle_of_the_training_ages_at_first(name, arguments, decode):
    """The median for the rank decode, the mean for the expectation."""
    ages = np.random.default_rng(0).gamma(4, 9, 2001).round().clip(5, 90)
    assert abs(np.median(ages) - ages.mean()) > 2
    fitted = METHODS[name].fit(ages, 5, 90)
    head = HEADS[METHODS[name].head](3, min_age=5, max_age=90, decode=decode, **arguments, **fitted)
    first = head.decode(head(torch.zeros(1, 3))).item()
    if decode == "rank":
        assert abs(first - np.median(ages)) <= 1
    else:
        # One age more, spread over the grid: 1/2002 of the grid's middle.
        assert first == pytest.approx((ages.sum() + 47.5) / 2002, abs=0.05 if arguments else 1e-4)
