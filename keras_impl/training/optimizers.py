"""Optimizers and learning-rate schedules by name."""

from typing import TypeAlias

import keras

from faces.registry import Registry

# The learning rate, or what gives it for a step.
Schedule: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


def make_schedule(name: str, lr: float, *, total_steps: int, warmup_steps: int = 0, first_step: int = 0) -> Schedule:
    """Learning rate as a function of the step.

    Args:
        name: "constant"; "steps": lr x 1, .2, .04, .008, changing at each quarter of the training; "cosine": linear
            warm-up to lr, then half a cosine down to 0.
        lr: the largest rate.
        total_steps: of the training.
        warmup_steps: of the cosine schedule.
        first_step: of the training at which the optimizer begins, which counts its own steps from 0.
    """
    schedule = SCHEDULES[name](lr, total_steps, warmup_steps)
    return schedule if isinstance(schedule, float) or not first_step else _LaterSchedule(schedule, first_step)


class _LaterSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the whole training for an optimizer that joins it later."""

    def __init__(self, schedule, first_step):
        super().__init__()
        self.schedule, self.first_step = schedule, first_step

    def __call__(self, step):
        return self.schedule(step + self.first_step)

    def get_config(self):
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "first_step": self.first_step}


def _constant(lr, total_steps, warmup_steps):
    return float(lr)  # Keras refuses a whole number


def _steps(lr, total_steps, warmup_steps):
    # Keras changes the rate after the boundary, not at it.
    boundaries = [max(0, total_steps * quarter // 4 - 1) for quarter in (1, 2, 3)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, [lr * 0.2**power for power in range(4)])


def _cosine(lr, total_steps, warmup_steps):
    warmup_steps = min(warmup_steps, total_steps - 1)
    if warmup_steps < 1:
        return keras.optimizers.schedules.CosineDecay(lr, total_steps)
    return keras.optimizers.schedules.CosineDecay(
        lr / warmup_steps, total_steps - warmup_steps, warmup_target=lr, warmup_steps=warmup_steps
    )


# Keras takes a pattern for a name to exclude. Besides biases, gamma and beta there are a noise's logarithm and
# ConvNeXt's layer scales.
_NO_KERNEL = "^(?!.*kernel)"
SCHEDULES = Registry("schedule", {"constant": _constant, "steps": _steps, "cosine": _cosine})
OPTIMIZERS = Registry(
    "optimizer",
    {
        "sgd": lambda **kwargs: keras.optimizers.SGD(momentum=0.9, nesterov=True, **kwargs),
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
    },
)


def make_optimizer(
    name: str,
    schedule: Schedule,
    *,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    ema: float | None = None,
) -> keras.optimizers.Optimizer:
    """An optimizer with decoupled weight decay on kernels only.

    Args:
        name: sgd (Nesterov momentum .9), adam or adamw, in any case.
        clip_norm: largest norm of the whole gradient, None for no clipping.
        ema: momentum of the exponential moving average of the weights, None for none.
    """
    make = OPTIMIZERS[name.lower()]
    average = {"use_ema": True, "ema_momentum": ema} if ema else {}
    # AdamW refuses None and the others skip a decay of None.
    decay = weight_decay if weight_decay or name.lower() == "adamw" else None
    optimizer = make(learning_rate=schedule, weight_decay=decay, global_clipnorm=clip_norm, **average)
    if decay is not None:
        optimizer.exclude_from_weight_decay(var_names=[_NO_KERNEL])
    return optimizer
