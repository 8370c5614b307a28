"""The one table of metrics: what each is called, how it is made, which values are better, and where it is shown.

To add a metric that is a mean of per-sample values, write its function in `keras_impl.metrics` and its twin in
`torch_ref.metrics`, and add one line to METRICS. The evaluation computes the column, and every place in `shown` has it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from faces.report import statistics

# Units. A share is 0..1 and shown in percent.
YEARS, SHARE, PLAIN = "years", "share", ""
# Which values are better; those of LEVEL are as good as they are near to what was promised.
LOW, HIGH, ZERO, LEVEL = "low", "high", "zero", "level"
# Places beside the console. TRAINING: curves, run.json, sweeps, and the line of a fold that is done.
CARDS, FOLDS, GROUPS, GROUP_PICTURES = "cards", "folds", "groups", "group pictures"
COMPARISON, TRAINING = "comparison", "training"

_TEMPLATES = {YEARS: "{:.2f}", SHARE: "{:.1%}", PLAIN: "{:.3f}"}


@dataclass(frozen=True)
class Inputs:
    """What a metric compares, and the summary's number of images for which both are known.

    Attributes:
        truth: of `keras_impl.evaluation.columns`, first argument of the function.
        prediction: the second one.
        count: key of the summary.
    """

    truth: str
    prediction: str
    count: str


AGE = Inputs("age", "predicted_age", "n_age")
REAL_AGE = Inputs("real_age", "predicted_age", "n_real")
APPARENT_AGE = Inputs("apparent_age", "predicted_age", "n_apparent")
VOTES = Inputs("voted_age", "predicted_age", "n_votes")
AGE_GROUP = Inputs("group_age", "predicted_age", "n_group")
DISTRIBUTION = Inputs("age", "age_distribution", "n_distribution")
INTERVAL_90 = Inputs("age", "interval_90", "n_distribution")
CONFORMAL = Inputs("age", "age_interval", "n_conformal")
GENDER = Inputs("gender", "gender_probabilities", "n_gender")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: key in metrics.json.
        label: what texts call it, without its unit.
        unit: YEARS, SHARE or PLAIN.
        better: LOW, HIGH, ZERO or LEVEL.
        function: its name in `keras_impl.metrics` and `torch_ref.metrics`.
        inputs: what the function compares; further arguments are found by their names.
        columns: per-sample columns. A mean is that of its only column, which the function gives.
        console: block and row of the printed table; those of the first block, "1a", "1b", ..., are in every summary.
        shown: further places.
        settings: arguments of the function that are always the same.
        statistic: of a metric that is no mean: fn(*columns, weight=None).
        influence: of the same: fn(value, *columns) -> (influence, size) of each sample, for the interval.
        note: why it has no interval.
        meaning: words that a picture adds to the label.
        caption: what a picture is of, where the label is too short.
    """

    name: str
    label: str
    unit: str
    better: str
    function: str
    inputs: Inputs
    columns: tuple[str, ...]
    console: str
    shown: tuple[str, ...] = ()
    settings: dict = field(default_factory=dict)
    statistic: Callable[..., np.ndarray] | None = None
    influence: Callable[..., tuple] | None = None
    note: str = ""
    meaning: str = ""
    caption: str = ""

    @property
    def count(self) -> str:
        """Key of the number of images."""
        return self.inputs.count

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean of a per-sample column."""
        return self.statistic is None

    @property
    def is_share(self) -> bool:
        """Whether it is a share of right answers."""
        return self.unit == SHARE

    @property
    def template(self) -> str:
        """How a value is shown; one that is best near 0 has a sign."""
        template = _TEMPLATES[self.unit]
        return template.replace("{:", "{:+") if self.better == ZERO else template

    @property
    def size_template(self) -> str:
        """How the size of a difference is shown."""
        return _TEMPLATES[self.unit]

    @property
    def signed_template(self) -> str:
        """How a difference is shown."""
        return _TEMPLATES[self.unit].replace("{:", "{:+")

    @property
    def titled(self) -> str:
        """The label with its unit, as in a table: "age MAE (years)"."""
        return f"{self.label} (years)" if self.unit == YEARS else self.label

    @property
    def heading(self) -> str:
        """The label as the heading of a card: "Age MAE"."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def suffix(self) -> str:
        """What follows a value in a text: " years"."""
        return " years" if self.unit == YEARS else ""

    @property
    def axis(self) -> str:
        """The label of an axis; values are drawn times `scale`."""
        unit = {YEARS: " (years)", SHARE: " (%)", PLAIN: ""}[self.unit]
        return (f"{self.label}, {self.meaning}" if self.meaning else self.label) + unit

    @property
    def scale(self) -> int:
        """What a value is multiplied with in a picture: shares are drawn in percent."""
        return 100 if self.is_share else 1

    @property
    def digits(self) -> int:
        """Digits after the point of a value times `scale`."""
        return {YEARS: 2, SHARE: 1, PLAIN: 3}[self.unit]


_BALANCED_NOTE = "no interval: a resampled set loses rare ages, so its values lie to one side"
_ECE_NOTE = "no interval: a resampled set is less well calibrated than the set it was drawn from"
_BROKEN_DOWN = (CARDS, FOLDS, GROUPS, COMPARISON)

# In the order of groups, comparisons and pictures; `console` orders the printed table.
# fmt: off
METRICS = {
    metric.name: metric
    for metric in (
        Metric("age_mae", "age MAE", YEARS, LOW, "mae", AGE, ("absolute_error",), "1a",
               (*_BROKEN_DOWN, GROUP_PICTURES, TRAINING), caption="Mean absolute error of age"),
        Metric("age_bias", "age bias", YEARS, ZERO, "bias", AGE, ("signed_error",), "2c", (GROUPS, COMPARISON),
               meaning="predicted - true"),
        Metric("age_rmse", "age RMSE", YEARS, LOW, "rmse", AGE, ("absolute_error",), "2b", (COMPARISON,),
               statistic=statistics.root_mean_square, influence=statistics.root_mean_square_influence),
        Metric("age_median_error", "age median error", YEARS, LOW, "median_error", AGE, ("absolute_error",), "2a",
               statistic=statistics.median, influence=statistics.median_influence),
        Metric("age_balanced_mae", "age balanced MAE", YEARS, LOW, "balanced_mae", AGE, ("absolute_error", "age"),
               "2d", statistic=statistics.balanced_error, note=_BALANCED_NOTE),
        Metric("age_cs5", "age CS@5", SHARE, HIGH, "cumulative_score", AGE, ("within_5",), "1b", _BROKEN_DOWN,
               settings={"theta": 5}),
        Metric("age_mae_real", "age MAE to the real age", YEARS, LOW, "mae", REAL_AGE, ("absolute_error_real",), "2e"),
        Metric("age_mae_apparent", "age MAE to the apparent age", YEARS, LOW, "mae", APPARENT_AGE,
               ("absolute_error_apparent",), "2f"),
        Metric("age_epsilon_error", "age epsilon-error", PLAIN, LOW, "epsilon_error", VOTES, ("epsilon_error",), "2g"),
        Metric("age_group_accuracy", "age group accuracy", SHARE, HIGH, "group_accuracy", AGE_GROUP,
               ("group_correct",), "3a", (*_BROKEN_DOWN, GROUP_PICTURES), caption="Accuracy of the age group"),
        Metric("age_one_off_group_accuracy", "age group accuracy, 1-off", SHARE, HIGH, "one_off_group_accuracy",
               AGE_GROUP, ("one_off_group_correct",), "3b"),
        Metric("gender_accuracy", "gender accuracy", SHARE, HIGH, "gender_accuracy", GENDER, ("gender_correct",), "1c",
               (*_BROKEN_DOWN, GROUP_PICTURES, TRAINING)),
        Metric("gender_balanced_accuracy", "gender balanced accuracy", SHARE, HIGH, "gender_balanced_accuracy", GENDER,
               ("gender_correct", "gender"), "3c", statistic=statistics.mean_over_classes,
               influence=statistics.mean_over_classes_influence),
        Metric("age_nll", "age NLL", PLAIN, LOW, "nll", DISTRIBUTION, ("nll",), "4a", (COMPARISON,)),
        Metric("age_crps", "age CRPS", YEARS, LOW, "crps", DISTRIBUTION, ("crps",), "4b", (COMPARISON,)),
        Metric("age_ece", "age ECE", PLAIN, LOW, "expected_calibration_error", DISTRIBUTION,
               ("age_confidence", "age_correct"), "4c", statistic=statistics.calibration_error, note=_ECE_NOTE),
        Metric("age_coverage_90", "age 90 % interval coverage", SHARE, LEVEL, "interval_coverage", INTERVAL_90,
               ("in_interval_90",), "4d"),
        Metric("age_width_90", "age 90 % interval width", YEARS, LOW, "interval_width", INTERVAL_90,
               ("interval_width_90",), "4e"),
        Metric("age_conformal_width", "age conformal interval width", YEARS, LOW, "interval_width", CONFORMAL,
               ("conformal_width",), "5b"),
        Metric("age_conformal_coverage", "age conformal interval coverage", SHARE, LEVEL, "interval_coverage",
               CONFORMAL, ("in_conformal",), "5a"),
    )
}
# fmt: on


def function_names() -> list[str]:
    """Names of the functions of all metrics, each once."""
    return list(dict.fromkeys(metric.function for metric in METRICS.values()))


def metrics_in(place: str) -> list[Metric]:
    """The metrics that are shown in a place, in its order."""
    return [metric for metric in METRICS.values() if place in metric.shown]


def printed_blocks() -> list[list[Metric]]:
    """The metrics as they are printed: the blocks of the table, each with its rows."""
    rows = sorted(METRICS.values(), key=lambda metric: metric.console)
    return [
        [metric for metric in rows if metric.console[0] == block] for block in sorted({row.console[0] for row in rows})
    ]


def headlines() -> list[Metric]:
    """The metrics that every summary has, known or not, beside those of a trivial predictor."""
    return printed_blocks()[0]


def counted_columns() -> dict[str, str]:
    """{number of images: the column that is known for them}, of the first printed metric with that number."""
    columns: dict[str, str] = {}
    for metric in (metric for block in printed_blocks() for metric in block if metric.is_mean):
        columns.setdefault(metric.count, metric.columns[0])
    return columns
