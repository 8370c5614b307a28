"""SSR-Net's soft stage-wise regression on the features of any backbone."""

from typing import Any

import keras
from keras import KerasTensor, ops

from faces.methods import STAGE_ACTIVATIONS
from keras_impl.heads.base import AgeHead

STAGES = BINS = 3


def stagewise_age(
    probabilities: KerasTensor, shifts: KerasTensor, scales: KerasTensor, *, width: int, delta_scale: float = 0.99
) -> KerasTensor:
    """Compose the age above the grid's start from stages of growing resolution (SSR-Net, Yang et al., IJCAI 2018).

    width * sum_k [ sum_i (i + shift_ki) p_ki ] / prod_(j <= k) 3 (1 + delta_scale * scale_j).

    Args:
        probabilities: (N, stages, bins) weight of each bin.
        shifts: (N, stages, bins) relative shift of each bin.
        scales: (N, stages) relative change of each stage's number of bins, -1..1.
        width: years that the first stage divides.
        delta_scale: below 1, so that no denominator is 0; the released code has 1.

    Returns:
        (N,) years.
    """
    bins = probabilities.shape[2]
    expected = ops.sum((ops.arange(bins, dtype=probabilities.dtype) + shifts) * probabilities, axis=-1)  # (N, stages)
    factors = bins * (1.0 + delta_scale * scales)
    years, divisor = 0.0, 1.0
    for stage in range(probabilities.shape[1]):
        divisor = divisor * factors[:, stage]
        years = years + expected[:, stage] / divisor
    return width * years


@keras.saving.register_keras_serializable("faces")
class StagewiseHead(AgeHead):
    """The age in years, output (N,), composed by `stagewise_age` of three stages of three bins.

    Args:
        stage_activation: "softmax", the paper's distribution over bins, or "relu", the released code's, which can die.
        delta_scale: of `stagewise_age`.
    """

    ACTIVATIONS = STAGE_ACTIVATIONS

    def __init__(self, *, stage_activation: str = "softmax", delta_scale: float = 0.99, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if stage_activation not in self.ACTIVATIONS:
            raise ValueError(
                f"stage_activation must be one of {', '.join(self.ACTIVATIONS)}. Received: {stage_activation!r}"
            )
        if not 0 <= delta_scale <= 1:
            raise ValueError(f"delta_scale must be between 0 and 1. Received: {delta_scale!r}")
        self.stage_activation, self.delta_scale = stage_activation, delta_scale
        for stage in range(1, STAGES + 1):
            for part, units in (("bins", BINS), ("shifts", BINS), ("scale", 1)):
                setattr(self, f"stage{stage}_{part}", self.dense(units, f"stage{stage}_{part}"))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for stage in range(1, STAGES + 1):
            for part in ("bins", "shifts", "scale"):
                getattr(self, f"stage{stage}_{part}").build(input_shape)
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        features = ops.cast(features, self.compute_dtype)
        bins, shifts, scales = (self._stages(part, features) for part in ("bins", "shifts", "scale"))
        weights = ops.softmax(bins, axis=-1) if self.stage_activation == "softmax" else ops.relu(bins)
        width = self.max_age - self.min_age + 1
        return self.min_age + stagewise_age(
            weights, ops.tanh(shifts), ops.tanh(scales[..., 0]), width=width, delta_scale=self.delta_scale
        )

    def _stages(self, part, features):
        return ops.stack([getattr(self, f"stage{k}_{part}")(features) for k in range(1, STAGES + 1)], axis=1)

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years, clipped to the grid."""
        return ops.clip(output, self.min_age, self.max_age)

    def get_config(self) -> dict[str, Any]:
        own = {"stage_activation": self.stage_activation, "delta_scale": self.delta_scale}
        return {**super().get_config(), **own}
