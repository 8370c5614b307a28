"""The published age methods by their config word: which loss, on which head, with which parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from faces.errors import UserError
from torch_ref import losses


@dataclass(frozen=True)
class AgeMethod:
    """An age loss and the head it needs.

    Attributes:
        loss: fn(age, output, *, min_age, **params, **needs) -> (N,).
        head: key of torch_ref.heads.HEADS.
        params: the loss' parameters and their defaults.
        needs: what the loss wants beside age and output, any of "age_std", "age_low", "age_high", "progress".
        fit: fn(train_ages, min_age, max_age) -> dict of head arguments taken from the training labels, or None.
        paper: where the method was published.
    """

    loss: Callable
    head: str
    params: Mapping = field(default_factory=dict)
    needs: tuple = ()
    fit: Callable | None = None
    paper: str = ""


def _fit_median(train_ages, min_age, max_age):
    return {"initial_bias": float(np.median(_known(train_ages)))}


def _fit_mean(train_ages, min_age, max_age):
    return {"initial_bias": float(np.mean(_known(train_ages)))}


def _known(train_ages):
    ages = np.asarray(train_ages, dtype=np.float64)
    ages = ages[~np.isnan(ages)]
    if len(ages) == 0:
        raise UserError("At least one known training age is needed. Received none.")
    return ages


METHODS = {
    "cross_entropy": AgeMethod(
        losses.cross_entropy, "distribution", paper="Rothe et al., DEX: Deep EXpectation of Apparent Age, ICCVW 2015"
    ),
    "l1": AgeMethod(losses.l1, "regression", fit=_fit_median, paper="absolute error; no paper of its own"),
    "mse": AgeMethod(losses.mse, "regression", fit=_fit_mean, paper="squared error; no paper of its own"),
    "mean_variance": AgeMethod(
        losses.mean_variance,
        "distribution",
        params={"mean_weight": 0.2, "variance_weight": 0.05},
        paper="Pan et al., Mean-Variance Loss for Deep Age Estimation from a Face, CVPR 2018",
    ),
    "dldl": AgeMethod(
        losses.dldl,
        "distribution",
        params={"sigma": 2.0},
        needs=("age_std",),
        paper="Gao et al., Deep Label Distribution Learning with Label Ambiguity, IEEE TIP 2017",
    ),
    "dldl_v2": AgeMethod(
        losses.dldl_v2,
        "distribution",
        params={"sigma": 2.0, "l1_weight": 1.0, "kl_reduction": "sample"},
        needs=("age_std",),
        paper="Gao et al., Age Estimation Using Expectation of Label Distribution Learning, IJCAI 2018",
    ),
    "coral": AgeMethod(
        losses.coral,
        "rank",
        params={"importance_weights": None},
        paper="Cao, Mirjalili and Raschka, Rank Consistent Ordinal Regression for Neural Networks, PRL 2020",
    ),
}
