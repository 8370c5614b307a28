"""Age methods: a loss, the head it trains and what it needs, under the config word `method.name`."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from faces.errors import UserError
from keras_impl import fits, losses
from keras_impl.checks import require_number, require_whole
from keras_impl.forest import LeafUpdate, leaf_quantiles

_RESIDUE = {"mean_weight": 0.2, "residue_weight": 0.25}
_YEARS = {"scale": "years"}
_SCALES = {"scale": ("years", "normalised")}
_ENTROPIES = {"entropy": ("paper", "monotone")}
_IMPORTANCE = {"importance_weights": (None, "coral", "niu")}
_PRIOR = {"start": "prior"}
_STARTS = {"start": ("prior", "published")}


@dataclass(frozen=True)
class AgeMethod:
    """One published way of estimating age.

    Attributes:
        loss: fn(age, output, *, min_age=0, **params) -> (N,), see `keras_impl.losses`.
        head: key of `keras_impl.heads.HEADS`.
        params: the loss's default parameters.
        needs: names of extra inputs of the loss, out of age_std, age_low, age_high (N,) and progress (scalar 0..1).
        fit: fn(train_ages, min_age, max_age, **settings) -> dict of parameters computed from the training ages, of the
            loss where `params` has the key, else of the head; or None.
        paper: where it was published.
        head_params: the head's arguments that a user may set, with their defaults.
        batch_coupled: whether a sample's loss depends on the other samples of the batch.
        callback: fn(images, ages, *, batch_size, seed, **settings) -> Keras callback that training needs, or None.
        training_params: settings of fit and callback alone that a user may set, with their defaults.
        loss_weight: factor of the age loss in training where train.age_weight names none. It balances age and gender,
            and is 1 but where the published normalisation leaves next to nothing.
        switches: {parameter: known words} of the parameters that choose between variants, the default first.
    """

    loss: Callable
    head: str
    params: dict = field(default_factory=dict)
    needs: tuple = ()
    fit: Callable | None = None
    paper: str = ""
    head_params: dict = field(default_factory=dict)
    batch_coupled: bool = False
    callback: Callable | None = None
    training_params: dict = field(default_factory=dict)
    loss_weight: float = 1.0
    switches: dict = field(default_factory=dict)

    @property
    def settings(self):
        """All parameters a user may set, with their defaults."""
        return {**self.params, **self.head_params, **self.training_params}


def split_settings(name, values):
    """Values of a method's parameters -> (those of loss, fit and callback, those of the head).

    Raises:
        UserError: a parameter that the method does not have, listing those it has, or not the number it has to be.
    """
    method = METHODS[name]
    unknown = sorted(set(values) - set(method.settings))
    if unknown:
        known = ", ".join(method.settings) or "(it has none)"
        raise UserError(f"Unknown parameter {unknown[0]!r} of method {name}. Expected one of: {known}")
    for key, value in values.items():
        _check_number(f"Parameter {key} of method {name}", value, method.settings[key])
    head = {key: value for key, value in values.items() if key in method.head_params}
    return {key: value for key, value in values.items() if key not in head}, head


def _check_number(label, value, default):
    """UserError unless a parameter whose default is a number is one of the same kind, at least 0."""
    if isinstance(default, int):
        require_whole(label, value, least=0)
    elif isinstance(default, float):
        require_number(label, value, ">= 0", lambda number: number >= 0)


def fitted_settings(name, values, train_ages, min_age, max_age):
    """What the method's fit computes from the training ages: (parameters of the loss, arguments of the head).

    Args:
        values: parameters that differ from the method's defaults.
        train_ages: (N,) years, NaN unknown.
    """
    method = METHODS[name]
    if method.fit is None or np.isnan(train_ages).all():
        return {}, {}
    fitted = method.fit(train_ages, min_age, max_age, **{**method.settings, **values})
    loss = {key: value for key, value in fitted.items() if key in method.params}
    return loss, {key: value for key, value in fitted.items() if key not in loss}


METHODS = {
    "cross_entropy": AgeMethod(losses.cross_entropy, "distribution", paper="Rothe et al., IJCV 2018 (DEX)"),
    "l1": AgeMethod(
        losses.l1,
        "regression",
        fit=fits.median,
        paper="least absolute deviations",
        head_params=_YEARS,
        switches=_SCALES,
    ),
    "mse": AgeMethod(
        losses.mse, "regression", fit=fits.mean, paper="least squares", head_params=_YEARS, switches=_SCALES
    ),
    "huber": AgeMethod(
        losses.huber,
        "regression",
        params={"beta": 1.0},
        fit=fits.median,
        paper="Huber, Annals of Mathematical Statistics 1964",
        head_params=_YEARS,
        switches=_SCALES,
    ),
    "mean_variance": AgeMethod(
        losses.mean_variance,
        "distribution",
        params={"mean_weight": 0.2, "variance_weight": 0.05},
        paper="Pan et al., CVPR 2018",
    ),
    "mean_residue": AgeMethod(
        losses.mean_residue,
        "distribution",
        params={**_RESIDUE, "top_k": 6, "entropy": "paper"},
        paper="Zhao et al., ICME 2022",
        switches=_ENTROPIES,
    ),
    "adaptive_mean_residue": AgeMethod(
        losses.adaptive_mean_residue,
        "distribution",
        params={**_RESIDUE, "entropy": "paper"},
        paper="Zhao et al., ICME 2022 (AMR)",
        switches=_ENTROPIES,
    ),
    "coral": AgeMethod(
        losses.coral,
        "rank",
        params={"importance_weights": None},
        fit=fits.rank,
        paper="Cao et al., Pattern Recognition Letters 2020",
        head_params={"bias": "free"},
        training_params=_PRIOR,
        switches={**_IMPORTANCE, **_STARTS, "bias": ("free", "ordered")},
    ),
    "corn": AgeMethod(
        losses.corn,
        "conditional_rank",
        params={"normaliser": "examples"},
        fit=fits.conditional_rank,
        paper="Shi et al., Pattern Analysis and Applications 2023",
        batch_coupled=True,
        training_params=_PRIOR,
        # A mean over some thirty tasks of each face: times thirty it is the face's likelihood, as in cross-entropy.
        loss_weight=30.0,
        switches={"normaliser": ("examples", "tasks"), **_STARTS},
    ),
    "or_cnn": AgeMethod(
        losses.or_cnn,
        "independent_rank",
        params={"importance_weights": None},
        fit=fits.rank,
        paper="Niu et al., CVPR 2016",
        training_params=_PRIOR,
        switches={**_IMPORTANCE, **_STARTS},
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
        switches={"kl_reduction": ("sample", "element")},
    ),
    "sord": AgeMethod(
        losses.sord,
        "distribution",
        params={"metric": "absolute", "scale": 1.0},
        needs=("age_std",),
        paper="Diaz and Marathe, CVPR 2019",
        switches={"metric": ("absolute", "squared")},
    ),
    "unimodal": AgeMethod(
        losses.unimodal,
        "distribution",
        params={"unimodal_weight": 10.0, "variance_floor": 1 / 12},
        paper="Li et al., CVPR 2022",
    ),
    "interval": AgeMethod(
        losses.interval,
        "distribution",
        needs=("age_low", "age_high"),
        paper="this project: likelihood of an age interval",
    ),
    "epsilon_annealed": AgeMethod(
        losses.epsilon_annealed,
        "regression",
        params={"sigma": 3.0},
        needs=("age_std", "progress"),
        fit=fits.mean,
        paper="Qin et al., IEEE TCSVT 2024 (SwinFace)",
        head_params=_YEARS,
        switches=_SCALES,
    ),
    "balanced_mse": AgeMethod(
        losses.balanced_mse,
        "noisy_regression",
        params={
            "variant": "bmc",
            "mixture_weights": None,
            "mixture_means": None,
            "mixture_variances": None,
            "bucket_weights": None,
            "min_noise": 0.1,
        },
        fit=fits.balanced_mse,
        paper="Ren et al., CVPR 2022",
        head_params={**_YEARS, "initial_noise": 10.0},
        batch_coupled=True,
        switches={"variant": ("bmc", "gai", "bni"), **_SCALES},
    ),
    "deep_regression_forest": AgeMethod(
        losses.deep_regression_forest,
        "forest",
        params={"variant": "nll", "min_variance": 1 / 12},
        fit=leaf_quantiles,
        paper="Shen et al., CVPR 2018",
        head_params={"trees": 5, "depth": 6, "units": 128, "seed": 0},
        callback=LeafUpdate,
        training_params={"leaf_update_steps": 50, "leaf_update_faces": 1024, "leaf_update_iterations": 20},
        switches={"variant": ("nll", "l2")},
    ),
    "soft_stagewise": AgeMethod(
        losses.soft_stagewise,
        "stagewise",
        paper="Yang et al., IJCAI 2018 (SSR-Net)",
        head_params={"stage_activation": "softmax", "delta_scale": 0.99},
        switches={"stage_activation": ("softmax", "relu")},
    ),
}
