"""How each competitor of benchmarks/training.py gets its batches; frameworks load only in the functions.

All of them mirror, move and recolour each face as strongly as src/config.yaml does by default.
"""

import os
from dataclasses import replace

import cv2
import numpy as np

from benchmarks.training_nets import AGES
from faces.images import read_and_resize

STRENGTH = {"flip": 1.0, "shift": 0.06, "scale": 0.1, "rotate": 8.0, "brightness": 0.1, "contrast": 0.2}
SEED = 0
EPOCHS = 10_000  # more than any run here takes


def draw_labels(count):
    """Whole ages (N,) float32 and genders (N,) int32: which ones they are changes no speed."""
    random = np.random.default_rng(SEED)
    return random.integers(AGES, size=count).astype(np.float32), random.integers(2, size=count).astype(np.int32)


def our_labels(count):
    """The same labels as `keras_impl.input.labels.make_arrays` gives them to a training."""
    import pandas as pd

    from keras_impl.input.labels import make_arrays, make_labels

    age, gender = draw_labels(count)
    table = pd.DataFrame({"age": age, "gender": np.where(gender == 1, "male", "female")})
    return make_arrays(make_labels(table), method="cross_entropy", outputs=("age", "gender"))


# === Ours ===


def our_batches(images, batch, *, on_device=False):
    """What `train.py` feeds to `fit` with its default augmentation, under any backend.

    Args:
        images: FaceImages, or what has its interface. batch: faces a batch. on_device: augment inside the step.
    """
    from keras_impl.input.augment import NO_AUGMENTATION, make_augmenter
    from keras_impl.input.batches import steps_per_epoch
    from keras_impl.input.device_augment import make_device_augmenter
    from keras_impl.input.pipeline import make_training_input

    make = make_device_augmenter if on_device else make_augmenter
    return make_training_input(
        images,
        our_labels(len(images)),
        batch_size=batch,
        seed=SEED,
        epochs=range(EPOCHS),
        steps=steps_per_epoch(len(images), batch),
        augment=make(replace(NO_AUGMENTATION, **STRENGTH), SEED),
    )


def one_batch(batches):
    """Endless data for `fit` of the first batch of other data, kept in memory; under jax in that of the device."""
    import keras

    batch = next(iter(batches))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors(batch).repeat()
    if keras.backend.backend() == "jax":
        batch = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)

    class Constant(keras.utils.PyDataset):
        num_batches = None  # endless

        def __getitem__(self, index):
            return batch

    return Constant()


# === Plain Keras ===


def plain_dataset(paths, net):
    """tf.data with TensorFlow's decoder and Keras' augmentation layers, as Keras' guides write it."""
    import keras
    import tensorflow as tf

    age, gender = draw_labels(len(paths))
    augment = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(STRENGTH["shift"], STRENGTH["shift"], fill_mode="nearest"),
            keras.layers.RandomZoom(STRENGTH["scale"], fill_mode="nearest"),
            keras.layers.RandomRotation(STRENGTH["rotate"] / 360, fill_mode="nearest"),
            keras.layers.RandomBrightness(STRENGTH["brightness"]),
            keras.layers.RandomContrast(STRENGTH["contrast"]),
        ]
    )

    def read(path, labels):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (net.size, net.size)), labels

    dataset = tf.data.Dataset.from_tensor_slices((list(paths), {"age": age, "gender": gender}))
    dataset = dataset.shuffle(len(paths), seed=SEED).repeat()
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(net.batch, drop_remainder=True)
    dataset = dataset.map(
        lambda images, labels: (augment(images, training=True), labels), num_parallel_calls=tf.data.AUTOTUNE
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


# === albumentations ===


def albumentations_batches(paths, net, workers):
    """A `keras.utils.PyDataset` of batches for `our_model`: read with OpenCV, augmented face by face with
    albumentations, stacked to float32."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else the import asks a server for a newer version
    import albumentations as A
    import keras

    augment = A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(  # what ShiftScaleRotate tells to use in its place; it is also faster
                translate_percent=(-STRENGTH["shift"], STRENGTH["shift"]),
                scale=(1 - STRENGTH["scale"], 1 + STRENGTH["scale"]),
                rotate=(-STRENGTH["rotate"], STRENGTH["rotate"]),
                border_mode=cv2.BORDER_REPLICATE,
                p=1.0,
            ),
            A.RandomBrightnessContrast(STRENGTH["brightness"], STRENGTH["contrast"], p=1.0),
        ],
        seed=SEED,
    )
    labels, weights = our_labels(len(paths))

    class Batches(keras.utils.PyDataset):
        num_batches = None  # endless

        def __getitem__(self, index):
            rows = np.random.default_rng((SEED, index)).choice(len(paths), net.batch, replace=False)
            faces = []
            for row in rows:
                image = cv2.cvtColor(cv2.imread(paths[row]), cv2.COLOR_BGR2RGB)
                faces.append(augment(image=cv2.resize(image, (net.size, net.size)))["image"])
            of_rows = ({name: values[rows] for name, values in group.items()} for group in (labels, weights))
            return np.stack(faces).astype(np.float32), *of_rows

    return Batches(workers=workers)


# === PyTorch ===


class TorchFaces:
    """What a DataLoader reads: (face uint8 (S, S, 3), age, gender) of a row, read and augmented with OpenCV."""

    def __init__(self, paths, size):
        self._paths, self._size = paths, size
        self._age, self._gender = draw_labels(len(paths))

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, row):
        face = augment_face(read_and_resize(self._paths[row], self._size), np.random.default_rng())
        return face, int(self._age[row]), int(self._gender[row])


def torch_loader(paths, net, workers):
    """A DataLoader of (images uint8 (N, S, S, 3), age, gender), read and augmented in worker processes."""
    from torch.utils import data

    faces = TorchFaces(paths, net.size)
    return data.DataLoader(
        faces,
        net.batch,
        # Endless, so that no turn meets the start of an epoch.
        sampler=data.RandomSampler(faces, replacement=True, num_samples=EPOCHS * len(faces)),
        num_workers=workers,
        worker_init_fn=_one_opencv_thread,
        # A forked process inherits OpenCV's threads as locks that nobody releases, and waits for ever.
        multiprocessing_context="spawn" if workers else None,
    )


def _one_opencv_thread(_):
    cv2.setNumThreads(1)


def augment_face(face, random):
    """One uint8 face (S, S, 3) mirrored or not, moved by one resampling and recoloured."""
    size = len(face)
    middle = (size - 1) / 2
    angle = random.uniform(-STRENGTH["rotate"], STRENGTH["rotate"])
    zoom = 1 + random.uniform(-STRENGTH["scale"], STRENGTH["scale"])
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, zoom)
    matrix[:, 2] += random.uniform(-STRENGTH["shift"], STRENGTH["shift"], 2) * size
    if random.random() < 0.5 * STRENGTH["flip"]:
        matrix[0] = (0, 0, size - 1) - matrix[0]
    face = cv2.warpAffine(face, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    contrast = 1 + random.uniform(-STRENGTH["contrast"], STRENGTH["contrast"])
    added = 255 * random.uniform(-STRENGTH["brightness"], STRENGTH["brightness"]) + (1 - contrast) * face.mean()
    levels = np.arange(256) * contrast + added
    return cv2.LUT(face, np.clip(np.rint(levels), 0, 255).astype(np.uint8))
