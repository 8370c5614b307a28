"""Augmentation of uint8 training batches with NumPy and OpenCV, whatever the backend that trains.

What happens to a batch is a function of (seed, epoch, step), not of a state, so a resumed run sees the very images
that the uninterrupted one would have seen.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from faces.errors import UserError
from keras_impl.input.batches import Arrays, Augmenter
from keras_impl.input.wear import STRENGTHS, Wear, box_matrices, degrade, draw_wear
from keras_impl.input.wear import recolour as recolour_worn
from keras_impl.settings import STRICT, Upto1


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Augmentation:
    """Section `augment`: the strength of each augmentation; 0 turns it off.

    Attributes:
        flip: 1 mirrors half of the faces, 0.5 a quarter.
        shift: largest shift, share of the image.
        scale: largest change of size, share.
        rotate: largest angle, degrees.
        brightness: largest change, share of the value range.
        contrast: largest change of the factor.
        erase: probability of painting a rectangle of 2-20 % of the image grey (Zhong et al., Random Erasing Data
            Augmentation, AAAI 2020).
        mixup: alpha of the Beta distribution of the mixing share (Zhang et al., mixup: Beyond Empirical Risk
            Minimization, ICLR 2018).
        crop: probability of cutting a face as the box of a detector does, see `keras_impl.input.wear.BOXES`.
        grayscale: probability of taking the colour away.
        colour_cast: largest change of the factor of each channel.
        rescale: probability of shrinking and enlarging, see `keras_impl.input.wear.LEFT_RESOLUTION`.
        blur: probability of a Gaussian blur, see `keras_impl.input.wear.BLUR_SIGMA`.
        noise: largest standard deviation, share of the value range.
        jpeg: probability of going through a JPEG, see `keras_impl.input.wear.JPEG_QUALITY`.
    """

    flip: Upto1
    shift: Annotated[float, Field(ge=0, le=0.5)]
    scale: Annotated[float, Field(ge=0, le=0.5)]
    rotate: Annotated[float, Field(ge=0, le=180)]
    brightness: Upto1
    contrast: Upto1
    erase: Upto1
    mixup: Annotated[float, Field(ge=0, le=10)]
    crop: Upto1
    grayscale: Upto1
    colour_cast: Upto1
    rescale: Upto1
    blur: Upto1
    noise: Upto1
    jpeg: Upto1

    @property
    def moves(self) -> bool:
        """Whether images are resampled at other places."""
        return max(self.flip, self.shift, self.scale, self.rotate, self.crop) > 0

    @property
    def colours(self) -> bool:
        """Whether colours change by themselves, not with the brightness."""
        return self.grayscale > 0 or self.colour_cast > 0

    @property
    def degrades(self) -> bool:
        """Whether images lose what they show."""
        return max(self.rescale, self.blur, self.noise, self.jpeg) > 0


NO_AUGMENTATION = Augmentation(**{each.name: 0 for each in fields(Augmentation)})
ERASED_SHARE = (0.02, 0.2)  # of the image
ERASED_ASPECT = (0.3, 1 / 0.3)  # height by width
GREY = 127


@dataclass(frozen=True)
class Draws:
    """What happens to each image of a batch of N.

    Attributes:
        mirror: (N,) bool.
        shift: (N, 2) x and y, share of the image.
        zoom: (N,) above 1 enlarges.
        angle: (N,) degrees, counter-clockwise.
        brightness: (N,) added, share of the value range.
        contrast: (N,) factor.
        erased: (N, 4) left, top, width and height, shares of the image; nothing where the width is 0.
    """

    mirror: np.ndarray
    shift: np.ndarray
    zoom: np.ndarray
    angle: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    erased: np.ndarray


def draw(strength: Augmentation, random: np.random.Generator, count: int) -> Draws:
    """Draws of an Augmentation for `count` images from a `numpy.random.Generator`."""
    return Draws(
        mirror=random.random(count) < 0.5 * strength.flip,
        shift=random.uniform(-strength.shift, strength.shift, (count, 2)),
        zoom=1.0 + random.uniform(-strength.scale, strength.scale, count),
        angle=random.uniform(-strength.rotate, strength.rotate, count),
        brightness=random.uniform(-strength.brightness, strength.brightness, count),
        contrast=1.0 + random.uniform(-strength.contrast, strength.contrast, count),
        erased=_draw_rectangles(random, count, strength.erase),
    )


def draw_apart(strength: Augmentation, place: tuple[int, int, int], count: int) -> tuple[np.random.Generator, Wear]:
    """The draws of `keras_impl.input.wear` for `count` images, and the generator that they come from.

    Args:
        strength: of each augmentation.
        place: (seed, epoch, step). The generator is another one than that of `draw`, so the draws there stay the same
            whatever is on here.
    """
    random = np.random.default_rng((*place, 1))
    return random, draw_wear(random, count, {name: getattr(strength, name) for name in STRENGTHS})


def _draw_rectangles(random, count, probability):
    area = random.uniform(*ERASED_SHARE, count)
    aspect = np.exp(random.uniform(*np.log(ERASED_ASPECT), count))
    height, width = np.sqrt(area * aspect), np.sqrt(area / aspect)
    left, top = random.random(count) * (1 - width), random.random(count) * (1 - height)
    rectangles = np.stack([left, top, width, height], axis=1)
    return rectangles * (random.random(count) < probability)[:, None]


# === Applying ===


def affine_matrices(draws: Draws, size: int, boxes: np.ndarray | None = None) -> np.ndarray:
    """Matrices (N, 2, 3) from the input's pixels to the output's, about the middle of the image: cut, then shift, then
    turn and zoom, then mirror.

    Args:
        draws: what happens to each image.
        size: S in pixels.
        boxes: (N, 5) of `Wear.box`, None where nothing is cut.
    """
    middle = (size - 1) / 2
    angle = np.deg2rad(draws.angle)
    cosine, sine = draws.zoom * np.cos(angle), draws.zoom * np.sin(angle)
    linear = np.stack([np.stack([cosine, sine], axis=-1), np.stack([-sine, cosine], axis=-1)], axis=1)
    linear[:, 0] *= np.where(draws.mirror, -1.0, 1.0)[:, None]
    offset = middle + np.einsum("nij,nj->ni", linear, draws.shift * size - middle)
    matrices = np.concatenate([linear, offset[:, :, None]], axis=2)
    return matrices if boxes is None else matrices @ box_matrices(boxes, size)


def colour_tables(draws: Draws, means: np.ndarray) -> np.ndarray:
    """Lookup tables (N, 256, 3) uint8: contrast about the mean of each channel, then brightness.

    Args:
        draws: what happens to each image.
        means: (N, 3) mean of each image's channels.
    """
    levels = np.arange(256, dtype=np.float32)[None, :, None]
    means = means[:, None, :].astype(np.float32)
    contrast = draws.contrast[:, None, None].astype(np.float32)
    table = (levels - means) * contrast + means + 255 * draws.brightness[:, None, None].astype(np.float32)
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)


def _move(draws, boxes, images):
    """One resampling for cut, flip, shift, scale and rotation, cheaper and sharper than one after the other."""
    size = images.shape[1]
    moved = np.empty_like(images)
    for image, matrix, target in zip(images, affine_matrices(draws, size, boxes), moved, strict=True):
        cv2.warpAffine(image, matrix, (size, size), dst=target, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved


def _recolour(draws, images):
    means = np.array([cv2.mean(image)[:3] for image in images])
    recoloured = np.empty_like(images)
    for image, table, target in zip(images, colour_tables(draws, means), recoloured, strict=True):
        cv2.LUT(image, table[None], dst=target)
    return recoloured


def _erase(draws, images):
    size = images.shape[1]
    erased = images.copy()
    for image, rectangle in zip(erased, np.rint(draws.erased * size).astype(int), strict=True):
        left, top, width, height = rectangle
        image[top : top + height, left : left + width] = GREY
    return erased


def make_augmenter(strength: Augmentation, seed: int) -> Augmenter:
    """A function (epoch, step, images, labels, weights) -> (images, labels, weights) on NumPy arrays.

    Images are (N, S, S, 3) uint8; labels and weights are dicts of (N, ...) arrays. Under mixup the labels gain
    `<name>_partner`, `<name>_partner_weight` (what the partner's label weighs beside the own one, which weighs 1) and
    `mix_weight`, and a sample counts only where both labels are known.

    Args:
        strength: of each augmentation.
        seed: the run's seed.
    """

    def augment(epoch, step, images, labels, weights):
        random = np.random.default_rng((seed, epoch, step))
        draws = draw(strength, random, len(images))
        own_random, wear = draw_apart(strength, (seed, epoch, step), len(images))
        images = _move(draws, wear.box if strength.crop else None, images) if strength.moves else images
        images = recolour_worn(wear, images) if strength.colours else images
        images = _recolour(draws, images) if strength.brightness or strength.contrast else images
        images = degrade(wear, own_random, images) if strength.degrades else images
        images = _erase(draws, images) if strength.erase else images
        if strength.mixup:
            share, partner = draw_mix(strength.mixup, random, len(images))
            return _mix(share, partner, images), *mix_labels(share, partner, labels, weights)
        return images, labels, weights

    return augment


# === Mixing ===


def draw_mix(alpha: float, random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(share, partner), each (count,): how much each image keeps, float32 from 0.5 to 1, and whose image fills up."""
    share = random.beta(alpha, alpha, count).astype(np.float32)
    # A pair and its mirror are equally likely, so the larger share may always go to the image's own label: the metrics
    # of training, which know one label per image, then mean something.
    return np.maximum(share, 1 - share), random.permutation(count)


def mix_labels(share: np.ndarray, partner: np.ndarray, labels: Arrays, weights: Arrays) -> tuple[Arrays, Arrays]:
    """(labels, weights) of images mixed by `draw_mix`, see `make_augmenter`."""
    partners = {f"{name}_partner": label[partner] for name, label in labels.items()}
    for name, weight in weights.items():
        ratio = np.divide(weight[partner], weight, out=np.zeros_like(weight), where=weight > 0)
        partners[f"{name}_partner_weight"] = ratio
    weights = {name: weight * (weight[partner] > 0).astype(weight.dtype) for name, weight in weights.items()}
    return {**labels, **partners, "mix_weight": share}, weights


def _mix(share, partner, images):
    mixed = np.empty_like(images)
    for row, other in enumerate(partner):
        cv2.addWeighted(images[row], float(share[row]), images[other], float(1 - share[row]), 0, dst=mixed[row])
    return mixed


def make_keras_cv_augmenter(magnitude: float = 0.3) -> Callable[[Any, Any, Any], tuple[Any, Any, Any]]:
    """keras-cv's RandAugment as a function of TensorFlow tensors (images, labels, weights). Its random state is
    TensorFlow's own, so a resumed run sees other augmentations than an uninterrupted one."""
    import tensorflow as tf

    try:
        import keras_cv
    except ImportError as error:
        raise UserError(f"train.augment=keras_cv needs the package keras-cv: {error}") from error
    layer = keras_cv.layers.RandAugment(value_range=(0, 255), augmentations_per_image=2, magnitude=magnitude)

    def augment(images, labels, weights):
        return layer(tf.cast(images, tf.float32), training=True), labels, weights

    return augment
