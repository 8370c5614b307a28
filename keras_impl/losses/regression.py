"""Losses on one number per face, the age in years; the age is not clipped to the grid."""

from keras import KerasTensor, ops

from keras_impl.losses.grid import known_age, label_std, require_positive

__all__ = ["epsilon_annealed", "huber", "l1", "mse", "soft_stagewise"]


def l1(age: KerasTensor, output: KerasTensor, *, min_age: int = 0) -> KerasTensor:
    """Absolute error |output - age| of a regression head, in years; `output` (N,)."""
    return ops.abs(_error(age, output, min_age))


def mse(age: KerasTensor, output: KerasTensor, *, min_age: int = 0) -> KerasTensor:
    """Squared error (output - age)^2 of a regression head, in years squared; `output` (N,)."""
    return ops.square(_error(age, output, min_age))


def huber(age: KerasTensor, output: KerasTensor, *, min_age: int = 0, beta: float = 1.0) -> KerasTensor:
    """Huber's loss in the smooth-L1 form: d^2 / (2 beta) below `beta` years of error, |d| - beta / 2 above; (N,)."""
    require_positive("beta", beta)
    error = ops.abs(_error(age, output, min_age))
    return ops.where(error < beta, 0.5 * ops.square(error) / beta, error - 0.5 * beta)


def soft_stagewise(age: KerasTensor, output: KerasTensor, *, min_age: int = 0) -> KerasTensor:
    """SSR-Net's loss (Yang et al., IJCAI 2018): the absolute error of the age that its stages compose; (N,) years."""
    return l1(age, output, min_age=min_age)


def epsilon_annealed(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    age_std: KerasTensor | None = None,
    progress: float | KerasTensor,
    sigma: float = 3.0,
) -> KerasTensor:
    """SwinFace's age loss (Qin et al., IEEE TCSVT 2024): half the squared error turns into the epsilon-error.

    With t the share of the training done, (1 - t) d^2 / 2 + t (1 - exp(-d^2 / (2 s^2))).

    Args:
        age: (N,) years.
        output: (N,) years.
        age_std: (N,) spread s of each label in years, at least half a year; NaN where unknown (then `sigma`), or None.
        progress: t, a scalar from 0 to 1.
    """
    error = _error(age, output, min_age)
    squared = ops.square(error)
    std = label_std(age_std, sigma, error)
    progress = ops.cast(progress, error.dtype)
    return 0.5 * (1.0 - progress) * squared + progress * (1.0 - ops.exp(-squared / (2.0 * ops.square(std))))


def _error(age, output, min_age):
    output = ops.convert_to_tensor(output)
    if len(output.shape) != 1:
        raise ValueError(f"A regression loss expects output of shape (N,). Received: {tuple(output.shape)}")
    return output - known_age(age, output, min_age)
