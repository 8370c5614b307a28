"""The published age methods: all that is true of one whatever framework computes it.

Both stacks read `DESCRIPTIONS` and add their code (`make_methods`): the loss is the function of the method's name in
their `losses`, the fit is named here. A new method is one loss in each stack and one entry here, nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from faces.registry import Registry

# The known words of each switch, the default first.
BALANCED_VARIANTS = ("bmc", "gai", "bni")
CORN_NORMALISERS = ("examples", "classes", "task_means")
FOREST_VARIANTS = ("nll", "l2")
IMPORTANCE_SCHEMES = ("coral", "niu")
KL_REDUCTIONS = ("sample", "element")
RANK_BIASES = ("free", "ordered")
RANK_STARTS = ("prior", "published")
REGRESSION_SCALES = ("years", "normalised")
RESIDUE_ENTROPIES = ("paper", "monotone")
SORD_METRICS = ("absolute", "squared")
STAGE_ACTIVATIONS = ("softmax", "relu")


@dataclass(frozen=True)
class AgeMethod:
    """One published way of estimating age, in one stack.

    Attributes:
        loss: fn(age, output, *, min_age=0, **params) -> (N,), of the stack's `losses`.
        head: key of the stack's `heads.HEADS`.
        params: the loss's parameters that a user may set, with their defaults.
        needs: names of extra inputs of the loss, out of age_std, age_low, age_high (N,) and progress (scalar 0..1).
        fit: fn(train_ages, min_age, max_age, **settings) -> dict of parameters computed from the training ages, of the
            loss where `params` has the key, else of the head; or None.
        paper: where it was published.
        head_params: the head's arguments that a user may set, with their defaults.
        batch_coupled: whether a sample's loss depends on the other samples of the batch.
        callback: fn(images, ages, *, batch_size, seed, **settings) -> callback that training needs, or None; only of
            the stack that trains.
        training_params: settings of the fit alone, with their defaults.
        callback_params: settings of the callback alone, with their defaults.
        loss_weight: factor of the age loss in training where train.age_weight names none. It balances age and gender,
            and is 1 but where the published normalisation leaves next to nothing.
        switches: {parameter: known words} of the parameters that choose between variants, the default first.
    """

    loss: Callable
    head: str
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    fit: Callable[..., dict] | None = None
    paper: str = ""
    head_params: Mapping[str, Any] = field(default_factory=dict)
    batch_coupled: bool = False
    callback: Callable | None = None
    training_params: Mapping[str, Any] = field(default_factory=dict)
    callback_params: Mapping[str, Any] = field(default_factory=dict)
    loss_weight: float = 1.0
    switches: Mapping[str, tuple] = field(default_factory=dict)

    @property
    def learns_groups(self) -> bool:
        """Whether a face whose age is known as a group alone counts in the loss."""
        return "age_low" in self.needs

    @property
    def settings(self) -> dict[str, Any]:
        """All parameters a user may set, with their defaults."""
        return {**self.params, **self.head_params, **self.training_params, **self.callback_params}


_REGRESSION = {"head": "regression", "head_params": {"scale": "years"}, "switches": {"scale": REGRESSION_SCALES}}

# Config word -> the fields of its AgeMethod, of which `fit` is the name of a function in the stack's `fits`; no loss.
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"head": "distribution", "paper": "Rothe et al., IJCV 2018 (DEX)"},
    "l1": {**_REGRESSION, "fit": "fit_median", "paper": "least absolute deviations"},
    "mse": {**_REGRESSION, "fit": "fit_mean", "paper": "least squares"},
    "huber": {
        **_REGRESSION,
        "params": {"beta": 1.0},
        "fit": "fit_median",
        "paper": "Huber, Annals of Mathematical Statistics 1964",
    },
    "mean_variance": {
        "head": "distribution",
        "params": {"mean_weight": 0.2, "variance_weight": 0.05},
        "paper": "Pan et al., CVPR 2018",
    },
    "mean_residue": {
        "head": "distribution",
        "params": {"mean_weight": 0.2, "residue_weight": 0.25, "top_k": 6, "entropy": "paper"},
        "paper": "Zhao et al., ICME 2022",
        "switches": {"entropy": RESIDUE_ENTROPIES},
    },
    "adaptive_mean_residue": {
        "head": "distribution",
        "params": {"mean_weight": 0.2, "residue_weight": 0.25, "entropy": "paper"},
        "paper": "Zhao et al., ICME 2022 (AMR)",
        "switches": {"entropy": RESIDUE_ENTROPIES},
    },
    "coral": {
        "head": "rank",
        "params": {"importance_weights": None},
        "fit": "fit_ranks",
        "paper": "Cao et al., Pattern Recognition Letters 2020",
        "head_params": {"bias": "free"},
        "training_params": {"start": "prior"},
        "switches": {"importance_weights": (None, *IMPORTANCE_SCHEMES), "start": RANK_STARTS, "bias": RANK_BIASES},
    },
    "corn": {
        "head": "conditional_rank",
        "params": {"normaliser": "examples"},
        "fit": "fit_conditional_ranks",
        "paper": "Shi et al., Pattern Analysis and Applications 2023",
        "batch_coupled": True,
        "training_params": {"start": "prior"},
        # A mean over some thirty tasks of each face: times thirty it is the face's likelihood, as in cross-entropy.
        "loss_weight": 30.0,
        "switches": {"normaliser": CORN_NORMALISERS, "start": RANK_STARTS},
    },
    "or_cnn": {
        "head": "independent_rank",
        "params": {"importance_weights": None},
        "fit": "fit_ranks",
        "paper": "Niu et al., CVPR 2016",
        "training_params": {"start": "prior"},
        "switches": {"importance_weights": (None, *IMPORTANCE_SCHEMES), "start": RANK_STARTS},
    },
    "dldl": {
        "head": "distribution",
        "params": {"sigma": 2.0},
        "needs": ("age_std",),
        "paper": "Gao et al., IEEE TIP 2017",
    },
    "dldl_v2": {
        "head": "distribution",
        "params": {"sigma": 2.0, "l1_weight": 1.0, "kl_reduction": "sample"},
        "needs": ("age_std",),
        "paper": "Gao et al., IJCAI 2018",
        "switches": {"kl_reduction": KL_REDUCTIONS},
    },
    "sord": {
        "head": "distribution",
        "params": {"metric": "absolute", "scale": 1.0},
        "needs": ("age_std",),
        "paper": "Diaz and Marathe, CVPR 2019",
        "switches": {"metric": SORD_METRICS},
    },
    "unimodal": {
        "head": "distribution",
        "params": {"unimodal_weight": 10.0, "variance_floor": 1 / 12},
        "paper": "Li et al., CVPR 2022",
    },
    "interval": {
        "head": "distribution",
        "needs": ("age_low", "age_high"),
        "paper": "this project: likelihood of an age interval",
    },
    "interval_dldl_v2": {
        "head": "distribution",
        "params": {"sigma": 2.0, "l1_weight": 1.0, "kl_reduction": "sample"},
        "needs": ("age_std", "age_low", "age_high"),
        "paper": "Gao et al., IJCAI 2018; this project: likelihood of an age interval",
        "switches": {"kl_reduction": KL_REDUCTIONS},
    },
    "epsilon_annealed": {
        **_REGRESSION,
        "params": {"sigma": 3.0},
        "needs": ("age_std", "progress"),
        "fit": "fit_mean",
        "paper": "Qin et al., IEEE TCSVT 2024 (SwinFace)",
    },
    "balanced_mse": {
        "head": "noisy_regression",
        "params": {
            "variant": "bmc",
            "mixture_weights": None,
            "mixture_means": None,
            "mixture_variances": None,
            "bucket_weights": None,
            "min_noise": 0.1,
        },
        "fit": "fit_balanced_mse",
        "paper": "Ren et al., CVPR 2022",
        "head_params": {"scale": "years", "initial_noise": 10.0},
        "batch_coupled": True,
        "switches": {"variant": BALANCED_VARIANTS, "scale": REGRESSION_SCALES},
    },
    "deep_regression_forest": {
        "head": "forest",
        "params": {"variant": "nll", "min_variance": 1 / 12},
        "fit": "fit_leaves",
        "paper": "Shen et al., CVPR 2018",
        "head_params": {"trees": 5, "depth": 6, "units": 128, "seed": 0},
        "callback_params": {"leaf_update_steps": 50, "leaf_update_faces": 1024, "leaf_update_iterations": 20},
        "switches": {"variant": FOREST_VARIANTS},
    },
    "soft_stagewise": {
        "head": "stagewise",
        "paper": "Yang et al., IJCAI 2018 (SSR-Net)",
        "head_params": {"stage_activation": "softmax", "delta_scale": 0.99},
        "switches": {"stage_activation": STAGE_ACTIVATIONS},
    },
}


def make_methods(
    losses: ModuleType, fits: ModuleType, callbacks: Mapping[str, Callable] | None = None
) -> Registry[AgeMethod]:
    """The methods of one stack by their config word.

    Args:
        losses: module in which the loss of each method has the method's name.
        fits: module with the fits that the descriptions name.
        callbacks: {method: its callback}, for those whose training needs one.

    Raises:
        AttributeError: a described method has no loss, or its fit is not there.
    """
    callbacks = callbacks or {}
    methods: Registry[AgeMethod] = Registry("method", {})
    for name, description in DESCRIPTIONS.items():
        fit = getattr(fits, description["fit"]) if "fit" in description else None
        code = {"loss": getattr(losses, name), "fit": fit, "callback": callbacks.get(name)}
        methods[name] = AgeMethod(**{**description, **code})
    return methods
