"""Age methods: a loss, the head it trains and what it needs, under the config word `method.name`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from keras_impl import losses


@dataclass(frozen=True)
class AgeMethod:
    """One published way of estimating age.

    Attributes:
        loss: fn(age, output, *, min_age=0, **params) -> (N,), see `keras_impl.losses`.
        head: key of `keras_impl.heads.HEADS`.
        params: the loss's default parameters.
        needs: names of extra inputs of the loss, out of age_std, age_low, age_high (N,) and progress (scalar 0..1).
        fit: fn(train_ages, min_age, max_age) -> dict of head arguments computed from the training ages, or None.
        paper: where it was published.
    """

    loss: Callable
    head: str
    params: dict = field(default_factory=dict)
    needs: tuple = ()
    fit: Callable | None = None
    paper: str = ""


def _fit_median(train_ages, min_age, max_age):
    return {"initial_bias": _clipped(np.nanmedian, train_ages, min_age, max_age)}


def _fit_mean(train_ages, min_age, max_age):
    return {"initial_bias": _clipped(np.nanmean, train_ages, min_age, max_age)}


def _clipped(statistic, train_ages, min_age, max_age):
    return float(np.clip(statistic(np.asarray(train_ages, dtype=np.float64)), min_age, max_age))


METHODS = {
    "cross_entropy": AgeMethod(losses.cross_entropy, "distribution", paper="Rothe et al., IJCV 2018 (DEX)"),
    "l1": AgeMethod(losses.l1, "regression", fit=_fit_median, paper="least absolute deviations"),
    "mse": AgeMethod(losses.mse, "regression", fit=_fit_mean, paper="least squares"),
    "mean_variance": AgeMethod(
        losses.mean_variance,
        "distribution",
        params={"mean_weight": 0.2, "variance_weight": 0.05},
        paper="Pan et al., CVPR 2018",
    ),
    "dldl": AgeMethod(
        losses.dldl, "distribution", params={"sigma": 2.0}, needs=("age_std",), paper="Gao et al., IEEE TIP 2017"
    ),
    "dldl_v2": AgeMethod(
        losses.dldl_v2,
        "distribution",
        params={"sigma": 2.0, "l1_weight": 1.0, "kl_reduction": "sample"},
        needs=("age_std",),
        paper="Gao et al., IJCAI 2018",
    ),
    "coral": AgeMethod(
        losses.coral,
        "rank",
        params={"importance_weights": None},
        paper="Cao et al., Pattern Recognition Letters 2020",
    ),
}
