"""From a model and the parts of a division to the best checkpoint of a training."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_impl.devices import compiles_steps
from keras_impl.input.augment import Augmentation, make_augmenter, make_keras_cv_augmenter
from keras_impl.input.batches import FACE_WEIGHT, steps_per_epoch
from keras_impl.input.device_augment import make_device_augmenter
from keras_impl.input.labels import make_arrays, with_mean_one
from keras_impl.input.parts import Part
from keras_impl.input.pipeline import make_evaluation_input, make_training_input
from keras_impl.methods import METHODS
from keras_impl.model import FaceModel
from keras_impl.training.averaging import AveragedWeights
from keras_impl.training.lines import ProgressLines
from keras_impl.training.monitor import choose_monitor, judged_outputs
from keras_impl.training.optimizers import make_optimizer, make_schedule
from keras_impl.training.recipe import Recipe
from keras_impl.training.recorder import RunRecorder
from keras_impl.training.teacher import Teacher
from keras_impl.weighting import age_weights


def fit(
    model: FaceModel,
    parts: Mapping[str, Part],
    recipe: Recipe,
    folder: str | Path,
    *,
    augmentation: Augmentation,
    weighting: Mapping[str, Any],
    teacher: Teacher | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> RunRecorder:
    """Train a model on parts["train"]; the checkpoint of the epoch that is best on parts["val"] is in `folder`.

    Args:
        model: what is trained.
        parts: "train" and "val" of `keras_impl.input.parts.divide_table`, with images.
        recipe: the section `train` of the configuration; its `monitor` says what is best.
        folder: run folder, existing.
        augmentation: strengths of the augmentation.
        weighting: arguments of `keras_impl.weighting.age_weights`.
        teacher: whose answers the model learns beside the labels, or None.
        resume: continue from the state in `folder`.
        callbacks: further Keras callbacks.

    Returns:
        RunRecorder with the history.

    Raises:
        UserError: the training diverged, or its state cannot be read; see `RunRecorder`.
    """
    train, val = parts["train"], parts["val"]
    steps = steps_per_epoch(len(train.faces), recipe.batch_size, recipe.steps_per_epoch)
    average = AveragedWeights(train.faces, batch_size=recipe.batch_size, seed=recipe.seed) if recipe.ema else None
    monitor = choose_monitor(recipe.monitor, val, **_judgement(model, recipe))
    recorder = RunRecorder(
        folder,
        monitor=monitor,
        patience=recipe.early_stopping,
        average=average,
        keep_epochs=recipe.keep_epochs,
    )
    # The leaves of a forest move before the average and the recorder look at the model.
    callbacks = [*_method_callbacks(model, train, recipe), *([average] if average else []), recorder, *callbacks]
    if recipe.verbose == "auto" and not sys.stdout.isatty():
        callbacks.append(ProgressLines(recipe.epochs, steps))
    done = recorder.load() if resume else 0
    for frozen, start, stop in _phases(recipe):
        if done >= stop or recorder.exhausted():
            continue
        model.backbone.trainable = not frozen
        compile_model(model, recipe, steps, start, teacher=teacher)
        if done and recorder.pending:
            # At the start of a phase the uninterrupted run has a new optimizer too.
            recorder.restore(model, optimizer=done > start)
            print(f"Resuming after epoch {done} of {recipe.epochs}.")
        epochs = range(max(done, start), stop)
        _fit_phase(model, train, val, recipe, epochs, steps, augmentation, weighting, callbacks)
    return recorder


def _method_callbacks(model, train, recipe):
    method = METHODS[model.method]
    if method.callback is None or "age" not in model.output_keys:
        return []
    defaults = {**method.params, **method.callback_params}
    settings = {key: model.method_params.get(key, default) for key, default in defaults.items()}
    ages = train.labels.age[:, 0]
    return [method.callback(train.faces, ages, batch_size=recipe.batch_size, seed=recipe.seed, **settings)]


def _phases(recipe):
    """(backbone frozen, first epoch, end) of each phase of the training."""
    frozen = min(recipe.freeze_epochs, recipe.epochs)
    phases = [(True, 0, frozen), (False, frozen, recipe.epochs)]
    return [phase for phase in phases if phase[1] < phase[2]]


def compile_model(
    model: FaceModel, recipe: Recipe, steps: int, first_epoch: int, *, teacher: Teacher | None = None
) -> None:
    """Give a model the optimizer, its schedule and the losses of a recipe.

    Args:
        model: what is trained.
        recipe: the section `train` of the configuration.
        steps: of an epoch.
        first_epoch: where the schedule goes on, counted from 0.
        teacher: as in `fit`.
    """
    total = recipe.epochs * steps
    # The optimizer is new and counts from 0: by its count it corrects its moments and begins its average of the
    # weights, which both begin at 0 too.
    schedule = make_schedule(
        recipe.schedule,
        recipe.lr,
        total_steps=total,
        warmup_steps=round(recipe.warmup_epochs * steps),
        first_step=first_epoch * steps,
    )
    optimizer = make_optimizer(
        recipe.optimizer_name,
        schedule,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
        ema=recipe.ema,
    )
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer,
        age_weight=METHODS[model.method].loss_weight if recipe.age_weight is None else recipe.age_weight,
        gender_weight=recipe.gender_weight,
        gender_params={"label_smoothing": recipe.gender_label_smoothing, "focal_gamma": recipe.gender_focal_gamma},
        total_steps=total,
        teacher=teacher,
        jit_compile=compiles_steps(),
    )


def _judgement(model, recipe):
    """What `keras_impl.training.monitor` asks about a training."""
    return {"method": model.method, "outputs": model.output_keys, "gender_weight": recipe.gender_weight}


def _fit_phase(model, train, val, recipe, epochs, steps, augmentation, weighting, callbacks):
    age_weight = _age_weights(model, train.labels, weighting)
    labels, weights = make_arrays(
        train.labels,
        method=model.method,
        outputs=model.output_keys,
        age_weight=age_weight,
        sample_weight=train.weights,
    )
    batches = make_training_input(
        train.faces,
        (labels, with_mean_one(weights)),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        epochs=epochs,
        steps=steps,
        **_augmenters(model, recipe, augmentation, steps),
    )
    validation = None
    if judged_outputs(val, **_judgement(model, recipe)):
        validation = make_evaluation_input(val.faces, _validation_arrays(model, val), batch_size=recipe.batch_size)
    model.fit(
        batches,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        steps_per_epoch=steps,
        validation_data=validation,
        callbacks=callbacks,
        shuffle=False,  # the batches are in a random order already
        verbose=(1 if sys.stdout.isatty() else 2) if recipe.verbose == "auto" else recipe.verbose,
    )


def _validation_arrays(model, val):
    """Labels and weights: faces of several data sets count as in the training loss, else each the same."""
    labels, weights = make_arrays(val.labels, method=model.method, outputs=model.output_keys, sample_weight=val.weights)
    if np.ptp(val.weights):
        labels = {**labels, FACE_WEIGHT: val.weights.astype(np.float32)}
    return labels, with_mean_one(weights)


def _age_weights(model, labels, weighting):
    """(N,) imbalance weights; groups count where the method learns from them, an open end is the grid's."""
    age, _, low, high = labels.age.T
    groups: dict[str, Any] = {}
    if model.age_head is not None and METHODS[model.method].learns_groups:
        has_group = ~(np.isnan(low) & np.isnan(high))
        ends = ((low, model.age_head.min_age), (high, model.age_head.max_age))
        low, high = (np.where(has_group, np.where(np.isnan(end), limit, end), np.nan) for end, limit in ends)
        groups = {"age_low": low, "age_high": high}
    return age_weights(age, **groups, **weighting).astype(np.float32)


def _augmenters(model, recipe, augmentation, steps):
    """Arguments `augment` and `tensor_augment` of `make_training_input`."""
    makers = {"opencv": make_augmenter, "device": make_device_augmenter}
    augment = makers[recipe.augment](augmentation, recipe.seed) if recipe.augment in makers else None
    if "progress" in METHODS[model.method].needs:
        augment = _add_progress(augment, steps, recipe.epochs * steps)
    return {"augment": augment, "tensor_augment": make_keras_cv_augmenter() if recipe.augment == "keras_cv" else None}


def _add_progress(augment, steps, total):
    """The augmenter that also tells the batch which share of the training lies behind it: under jax a compiled step
    cannot read the optimizer's count."""

    def add(epoch, step, images, labels, weights):
        if augment is not None:
            images, labels, weights = augment(epoch, step, images, labels, weights)
        progress = np.full(len(images), (epoch * steps + step) / total, np.float32)
        return images, {**labels, "progress": progress}, weights

    return add
