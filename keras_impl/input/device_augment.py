"""The augmentation of `keras_impl.input.augment` as operations of Keras, on the device and inside the training step.

What happens to a face is drawn beforehand with NumPy, from the same numbers as there, and travels with the labels: a
few numbers a face, the same under every backend and in a resumed run. So the step needs no random state, and nothing
of this is part of the model or its checkpoint.
"""

from typing import Any

import numpy as np
from keras import KerasTensor, ops

from faces.errors import UserError
from keras_impl.input.augment import (
    GREY,
    Augmentation,
    Draws,
    affine_matrices,
    draw,
    draw_apart,
    draw_mix,
    mix_labels,
)
from keras_impl.input.batches import Arrays, Augmenter
from keras_impl.input.wear import Wear, colour_matrices

KEY = "augmentation"  # of the labels, until the step takes it out
ELSEWHERE = ("rescale", "blur", "noise", "jpeg")  # what OpenCV alone does


def require_on_device(strength: Augmentation) -> None:
    """UserError that names the strengths above 0 which have no form here."""
    if found := [f"augment.{name}" for name in ELSEWHERE if getattr(strength, name)]:
        raise UserError(f"train.augment=device has no {', '.join(found)}. Use opencv, or set them to 0.")


def make_device_augmenter(strength: Augmentation, seed: int) -> Augmenter:
    """A function (epoch, step, images, labels, weights) -> (images, labels, weights) on NumPy arrays, as
    `keras_impl.input.augment.make_augmenter` makes one. The images stay as they are and labels["augmentation"] says
    what `augment_batch` shall do to them.

    Args:
        strength: of each augmentation.
        seed: the run's seed.

    Raises:
        UserError: see `require_on_device`.
    """
    require_on_device(strength)

    def augment(epoch, step, images, labels, weights):
        random = np.random.default_rng((seed, epoch, step))
        draws = draw(strength, random, len(images))
        _, wear = draw_apart(strength, (seed, epoch, step), len(images))
        plan = make_plan(strength, draws, wear, images.shape[1])
        if strength.mixup:
            share, partner = draw_mix(strength.mixup, random, len(images))
            plan |= {"share": share, "partner": partner.astype(np.int32)}
            labels, weights = mix_labels(share, partner, labels, weights)
        return images, {**labels, KEY: plan}, weights

    return augment


def make_plan(strength: Augmentation, draws: Draws, wear: Wear, size: int) -> Arrays:
    """{name: (N, ...) array} of what a strength above 0 calls for.

    Args:
        strength: of each augmentation.
        draws: what happens to each image.
        wear: likewise.
        size: S in pixels.

    Returns:
        "place" (N, 2, 3) float32, matrices from the output's pixels to the input's; "colour" (N, 3, 3) float32,
        matrices from RGB to RGB; "contrast", "brightness" (N,) float32, factor and levels; "erased" (N, 4) int32
        pixels: left, top, right, bottom.
    """
    plan = {}
    if strength.moves:
        boxes = wear.box if strength.crop else None
        plan["place"] = _inverse(affine_matrices(draws, size, boxes)).astype(np.float32)
    if strength.colours:
        plan["colour"] = colour_matrices(wear).astype(np.float32)
    if strength.brightness or strength.contrast:
        plan["contrast"] = draws.contrast.astype(np.float32)
        plan["brightness"] = (255 * draws.brightness).astype(np.float32)
    if strength.erase:
        left, top, width, height = np.rint(draws.erased * size).astype(np.int32).T
        plan["erased"] = np.stack([left, top, left + width, top + height], axis=1)
    return plan


def _inverse(matrices):
    linear = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([linear, -linear @ matrices[:, :, 2:]], axis=2)


# === On the device ===


def augment_batch(images: KerasTensor, labels: dict[str, Any]) -> tuple[KerasTensor, dict[str, Any]]:
    """Take the plan out of a batch's labels and apply it to its images.

    Args:
        images: (N, S, S, 3) uint8.
        labels: dict of (N, ...) tensors.

    Returns:
        (images, labels): float32 0..255, and the labels alone; both as they came where there is no plan.
    """
    if KEY not in labels:
        return images, labels
    images = ops.convert_to_tensor(images)
    plan = {name: ops.convert_to_tensor(values) for name, values in labels[KEY].items()}
    images = move(images, plan["place"]) if "place" in plan else ops.cast(images, "float32")
    if "colour" in plan:
        images = change_colours(images, plan["colour"])
    if "contrast" in plan:
        images = recolour(images, plan["contrast"], plan["brightness"])
    if "erased" in plan:
        images = erase(images, plan["erased"])
    if "partner" in plan:
        share = plan["share"][:, None, None, None]
        images = share * images + (1.0 - share) * ops.take(images, plan["partner"], axis=0)
    return images, {name: values for name, values in labels.items() if name != KEY}


def move(images: KerasTensor, place: KerasTensor) -> KerasTensor:
    """Resample images once, bilinearly, the border repeated; (N, S, S, 3) float32.

    Keras' own `ops.image.affine_transform` also interpolates between channels under jax and torch, and has no XLA
    kernel under TensorFlow.

    Args:
        images: (N, S, S, 3).
        place: (N, 2, 3) matrices from the output's pixels to the input's.
    """
    size = images.shape[1]
    pixels = ops.reshape(images, (-1, size * size, 3))
    y, x = (ops.convert_to_tensor(axis) for axis in np.mgrid[:size, :size].reshape(2, -1).astype(np.float32))
    # No product of matrices: accelerators may round its factors to 11 bits, a tenth of a pixel.
    at = place[:, :, :1] * x + place[:, :, 1:2] * y + place[:, :, 2:]  # (N, 2, S * S), x and y
    at = ops.clip(at, 0.0, size - 1.0)
    low = ops.floor(at)
    right, down = ops.split(ops.transpose(at - low, (0, 2, 1)), 2, axis=-1)  # each (N, S * S, 1)
    left, top = (ops.cast(low[:, axis], "int32") for axis in (0, 1))

    def corner(x_step, y_step):
        x, y = ops.minimum(left + x_step, size - 1), ops.minimum(top + y_step, size - 1)
        return ops.cast(ops.take_along_axis(pixels, (y * size + x)[:, :, None], axis=1), "float32")

    upper = (1.0 - right) * corner(0, 0) + right * corner(1, 0)
    lower = (1.0 - right) * corner(0, 1) + right * corner(1, 1)
    return ops.reshape((1.0 - down) * upper + down * lower, (-1, size, size, 3))


def change_colours(images: KerasTensor, colour: KerasTensor) -> KerasTensor:
    """Colours by matrices (N, 3, 3) from RGB to RGB; (N, S, S, 3) within 0..255."""
    # No product of matrices, as in `move`.
    channels = [ops.sum(images * colour[:, None, None, channel], axis=-1) for channel in range(3)]
    return ops.clip(ops.stack(channels, axis=-1), 0.0, 255.0)


def recolour(images: KerasTensor, contrast: KerasTensor, brightness: KerasTensor) -> KerasTensor:
    """Contrast (N,) about the mean of each channel, then brightness (N,) in levels; (N, S, S, 3) within 0..255."""
    means = ops.mean(images, axis=(1, 2), keepdims=True)
    contrast, brightness = (values[:, None, None, None] for values in (contrast, brightness))
    return ops.clip((images - means) * contrast + means + brightness, 0.0, 255.0)


def erase(images: KerasTensor, erased: KerasTensor) -> KerasTensor:
    """Paint one rectangle of each image grey; erased: (N, 4) int32 left, top, right, bottom, the last two outside."""
    place = ops.arange(images.shape[1], dtype="int32")[None]
    left, top, right, bottom = (erased[:, side][:, None] for side in range(4))
    columns = ops.logical_and(place >= left, place < right)  # (N, S)
    rows = ops.logical_and(place >= top, place < bottom)
    inside = ops.logical_and(rows[:, :, None], columns[:, None, :])[..., None]
    return ops.where(inside, ops.full_like(images, GREY), images)
