"""The published age methods by their config word: which loss, on which head, with which parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch_ref import fits, losses


@dataclass(frozen=True)
class AgeMethod:
    """An age loss and the head it needs.

    Attributes:
        loss: fn(age, output, *, min_age, **params, **needs) -> (N,).
        head: key of torch_ref.heads.HEADS.
        params: the loss' parameters and their defaults.
        needs: what the loss wants beside age and output, any of "age_std", "age_low", "age_high", "progress".
        fit: fn(train_ages, min_age, max_age, **params, **head_params, **training_params) -> dict taken from the
            training labels, or None. A key that is in params is a parameter of the loss, any other an argument of the
            head.
        paper: where the method was published.
        head_params: the head's arguments that may be set, and their defaults.
        batch_coupled: whether a sample's loss depends on the other known ages of its batch.
        training_params: what only fit takes, and the defaults.
    """

    loss: Callable
    head: str
    params: Mapping = field(default_factory=dict)
    needs: tuple = ()
    fit: Callable | None = None
    paper: str = ""
    head_params: Mapping = field(default_factory=dict)
    batch_coupled: bool = False
    training_params: Mapping = field(default_factory=dict)


METHODS = {
    "cross_entropy": AgeMethod(
        losses.cross_entropy, "distribution", paper="Rothe et al., DEX: Deep EXpectation of Apparent Age, ICCVW 2015"
    ),
    "l1": AgeMethod(
        losses.l1,
        "regression",
        fit=fits.fit_median,
        paper="absolute error; no paper of its own",
        head_params={"scale": "years"},
    ),
    "mse": AgeMethod(
        losses.mse,
        "regression",
        fit=fits.fit_mean,
        paper="squared error; no paper of its own",
        head_params={"scale": "years"},
    ),
    "huber": AgeMethod(
        losses.huber,
        "regression",
        params={"beta": 1.0},
        fit=fits.fit_median,
        paper="Huber, Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 1964",
        head_params={"scale": "years"},
    ),
    "mean_variance": AgeMethod(
        losses.mean_variance,
        "distribution",
        params={"mean_weight": 0.2, "variance_weight": 0.05},
        paper="Pan et al., Mean-Variance Loss for Deep Age Estimation from a Face, CVPR 2018",
    ),
    "mean_residue": AgeMethod(
        losses.mean_residue,
        "distribution",
        params={"mean_weight": 0.2, "residue_weight": 0.25, "top_k": 6, "entropy": "paper"},
        paper="Zhao et al., Adaptive Mean-Residue Loss for Robust Facial Age Estimation, ICME 2022",
    ),
    "adaptive_mean_residue": AgeMethod(
        losses.adaptive_mean_residue,
        "distribution",
        params={"mean_weight": 0.2, "residue_weight": 0.25, "entropy": "paper"},
        paper="Zhao et al., Adaptive Mean-Residue Loss for Robust Facial Age Estimation, ICME 2022",
    ),
    "coral": AgeMethod(
        losses.coral,
        "rank",
        params={"importance_weights": None},
        fit=fits.fit_ranks,
        paper="Cao, Mirjalili and Raschka, Rank Consistent Ordinal Regression for Neural Networks, PRL 2020",
        head_params={"bias": "free"},
        training_params={"start": "prior"},
    ),
    "corn": AgeMethod(
        losses.corn,
        "conditional_rank",
        params={"normaliser": "examples"},
        fit=fits.fit_conditional_ranks,
        paper="Shi, Cao and Raschka, Rank-Consistent Ordinal Regression Based on Conditional Probabilities, PAA 2023",
        batch_coupled=True,
        training_params={"start": "prior"},
    ),
    "or_cnn": AgeMethod(
        losses.or_cnn,
        "independent_rank",
        params={"importance_weights": None},
        fit=fits.fit_ranks,
        paper="Niu et al., Ordinal Regression with Multiple Output CNN for Age Estimation, CVPR 2016",
        training_params={"start": "prior"},
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
    "sord": AgeMethod(
        losses.sord,
        "distribution",
        params={"metric": "absolute", "scale": 1.0},
        needs=("age_std",),
        paper="Diaz and Marathe, Soft Labels for Ordinal Regression, CVPR 2019",
    ),
    "unimodal": AgeMethod(
        losses.unimodal,
        "distribution",
        params={"unimodal_weight": 10.0, "variance_floor": 1 / 12},
        paper="Li et al., Unimodal-Concentrated Loss: Fully Adaptive Label Distribution Learning, CVPR 2022",
    ),
    "interval": AgeMethod(
        losses.interval,
        "distribution",
        needs=("age_low", "age_high"),
        paper="likelihood of interval-censored ages; no paper of its own",
    ),
    "epsilon_annealed": AgeMethod(
        losses.epsilon_annealed,
        "regression",
        params={"sigma": 3.0},
        needs=("age_std", "progress"),
        fit=fits.fit_mean,
        paper="Qin et al., SwinFace: A Multi-Task Transformer for Face Recognition and more, IEEE TCSVT 2023",
        head_params={"scale": "years"},
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
        fit=fits.fit_balanced_mse,
        paper="Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022",
        head_params={"scale": "years", "initial_noise": 10.0},
        batch_coupled=True,
    ),
    "deep_regression_forest": AgeMethod(
        losses.deep_regression_forest,
        "forest",
        params={"variant": "nll", "min_variance": 1 / 12},
        fit=fits.fit_leaves,
        paper="Shen et al., Deep Regression Forests for Age Estimation, CVPR 2018",
        head_params={"trees": 5, "depth": 6, "units": 128, "seed": 0},
    ),
    "soft_stagewise": AgeMethod(
        losses.soft_stagewise,
        "stagewise",
        paper="Yang et al., SSR-Net: A Compact Soft Stagewise Regression Network for Age Estimation, IJCAI 2018",
        head_params={"stage_activation": "softmax", "delta_scale": 0.99},
    ),
}
