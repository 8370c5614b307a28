"""Augmentation of training batches inside tf.data, with seeds computed from the place in the run.

A seed comes from (seed, epoch, step), not from a layer's state, so a resumed run sees the very images that the
uninterrupted one would have seen.
"""

import math
from dataclasses import dataclass, fields

import keras

from faces.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """Strength of each augmentation; 0 turns it off.

    Attributes:
        flip: 1 mirrors half of the faces, 0.5 a quarter.
        shift: largest shift, share of the image. scale: largest change of size, share. rotate: largest angle, degrees.
        brightness: largest change, share of the value range. contrast: largest change of the factor.
        erase: probability of erasing a rectangle of 2-20 % of the image (random erasing).
        mixup: alpha of the Beta distribution of the mixing share.
    """

    flip: float = 1.0
    shift: float = 0.0
    scale: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LIMITS[item.name]:
                limit = LIMITS[item.name]
                raise UserError(f"augment.{item.name} must be a number from 0 to {limit}. Received: {value}")


LIMITS = {
    "flip": 1,
    "shift": 0.5,
    "scale": 0.5,
    "rotate": 180,
    "brightness": 1,
    "contrast": 1,
    "erase": 1,
    "mixup": 10,
}
NO_AUGMENTATION = Augmentation(flip=0.0)


class _PlacedSeeds(keras.random.SeedGenerator):
    """Hands Keras' layers seeds derived from a tensor (seed, epoch, step) in place of a state variable."""

    def __init__(self, base):
        # The parent would create a variable, which tf.data's graph must not own.
        self._base, self._draws = base, 0

    def next(self, ordered=True):
        import tensorflow as tf

        self._draws += 1
        return tf.stack([self._base[0] + self._draws * 7919, self._base[1]])


def _colour_layers(strength):
    layers = keras.layers
    return [
        make()
        for on, make in (
            (strength.brightness, lambda: layers.RandomBrightness(strength.brightness)),
            (strength.contrast, lambda: layers.RandomContrast(strength.contrast)),
            # A constant grey: drawing noise for every pixel costs more than all the other augmentations together.
            (strength.erase, lambda: layers.RandomErasing((strength.erase,) * 2, scale=(0.02, 0.2), fill_value=127.0)),
        )
        if on
    ]


def affine_transforms(flip, shift, zoom, angle, size):
    """Rows (N, 8) of TensorFlow's projective transform, output pixel -> input pixel, about the middle of the image.

    Args:
        flip: (N,) -1 mirrors, 1 does not. shift: (N, 2) x and y in pixels. zoom: (N,) above 1 enlarges.
        angle: (N,) radians. size: S in pixels.
    """
    import tensorflow as tf

    middle = (size - 1) / 2
    cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    xx, xy, yx, yy = flip * cosine, -sine, flip * sine, cosine
    x0 = middle - shift[:, 0] - middle * (xx + xy)
    y0 = middle - shift[:, 1] - middle * (yx + yy)
    zeros = tf.zeros_like(xx)
    return tf.stack([xx, xy, x0, yx, yy, y0, zeros, zeros], axis=1)


def _move(strength, seeds, images):
    """Flip, shift, scale and rotate with one resampling, three times cheaper and sharper than one after the other."""
    import tensorflow as tf

    count, size = tf.shape(images)[0], images.shape[1]

    def uniform(shape, limit):
        return tf.random.stateless_uniform(shape, seeds.next(), -limit, limit)

    mirrored = tf.random.stateless_uniform((count,), seeds.next()) < 0.5 * strength.flip
    transforms = affine_transforms(
        tf.where(mirrored, -1.0, 1.0),
        uniform((count, 2), strength.shift * size),
        1.0 + uniform((count,), strength.scale),
        uniform((count,), strength.rotate * math.pi / 180),
        size,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def make_augmenter(strength, seed):
    """A function (epoch, step, images, labels, weights) -> (images, labels, weights) for `tf.data.Dataset.map`.

    Args:
        strength: Augmentation. seed: int, the run's seed.
        images (N, S, S, 3) uint8 or float; labels and weights: dicts of (N, ...) tensors. Under mixup the labels gain
        `<name>_partner` and `mix_weight`, and a sample counts only where both labels are known.
    """
    import tensorflow as tf

    layers = _colour_layers(strength)
    moves = strength.flip or strength.shift or strength.scale or strength.rotate
    mixup = keras.layers.MixUp(alpha=strength.mixup) if strength.mixup else None
    for layer in [*layers, *([mixup] if mixup else [])]:
        # tf.data runs TensorFlow whatever the backend that trains.
        layer.backend.set_backend("tensorflow")

    def augment(epoch, step, images, labels, weights):
        base = tf.random.experimental.stateless_fold_in(
            tf.random.experimental.stateless_fold_in(tf.constant([seed, 0x5EED], tf.int32), tf.cast(epoch, tf.int32)),
            tf.cast(step, tf.int32),
        )
        seeds = _PlacedSeeds(base)
        images = tf.cast(_move(strength, seeds, images) if moves else images, tf.float32)
        for layer in layers:
            images = layer.transform_images(images, layer.get_random_transformation(images, training=True, seed=seeds))
        if mixup is not None:
            images, labels, weights = _mix(mixup, seeds, images, labels, weights)
        return images, labels, weights

    return augment


def _mix(mixup, seeds, images, labels, weights):
    import tensorflow as tf

    transformation = mixup.get_random_transformation(images, seed=seeds)
    share = tf.cast(transformation["mix_weight"], tf.float32)
    # A pair and its mirror are equally likely, so the larger share may always go to the image's own label: the metrics
    # of training, which know one label an image, then mean something.
    share = tf.maximum(share, 1.0 - share)
    order = transformation["permutation_order"]
    images = mixup.transform_images(images, {"mix_weight": share, "permutation_order": order})
    partners = {f"{name}_partner": tf.gather(label, order) for name, label in labels.items()}
    weights = {name: weight * tf.cast(tf.gather(weight, order) > 0, weight.dtype) for name, weight in weights.items()}
    return images, {**labels, **partners, "mix_weight": share}, weights


def make_keras_cv_augmenter(magnitude=0.3):
    """keras-cv's RandAugment with the signature of `make_augmenter`'s result. Its random state is TensorFlow's own, so
    a resumed run sees other augmentations than an uninterrupted one."""
    import tensorflow as tf

    try:
        import keras_cv
    except ImportError as error:
        raise UserError(f"train.augment=keras_cv needs the package keras-cv: {error}") from error
    layer = keras_cv.layers.RandAugment(value_range=(0, 255), augmentations_per_image=2, magnitude=magnitude)

    def augment(epoch, step, images, labels, weights):
        return layer(tf.cast(images, tf.float32), training=True), labels, weights

    return augment
