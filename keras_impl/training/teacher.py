"""Distillation: a student learns what trained models say of the very faces that it sees."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import KerasTensor, ops

from faces.errors import UserError
from keras_impl import losses
from keras_impl.checkpoint import load_model
from keras_impl.methods import METHODS
from keras_impl.model import FaceModel

_log = logging.getLogger(__name__)

DISTRIBUTION = "distribution"  # the head that a distribution over the ages can teach


def teacher_files(value: Any) -> Any:
    """The value of train.teacher as a list of files, null as it is; UserError for one that is no checkpoint."""
    if value is None:
        return None
    files = [value] if isinstance(value, str) and Path(value).is_file() else value
    files = files.split(",") if isinstance(files, str) else files
    if not files:
        raise UserError("train.teacher must be a .keras file, a list of them or null. Received: []")
    for file in files:
        if not file.endswith(".keras"):
            raise UserError(f"train.teacher must be a .keras file, a list of them or null. Received: {file!r}")
        if not Path(file).is_file():
            raise UserError(f"The checkpoint {file} of train.teacher does not exist.")
    return files


class Teacher:
    """What one or more checkpoints say of a batch, as a loss beside that of the labels.

    It is computed inside the training step, of the batch as the student sees it: augmented, and mixed. A view never
    comes twice, so there is nothing to keep. Each image is resized to the size that its teacher knows.

    Args:
        models: trained models; their answers are averaged.
        names: of their files, for messages.
        student: who learns. Ages of a teacher beyond its grid count as its ends, as in the losses.
        temperature: of `keras_impl.losses.distillation`.
        weight: factor beside the loss of the labels; the factors of age and gender apply too.

    Attributes:
        facts: [{"file": name, "db": data sets of its training}] for the provenance of the student, which inherits them.

    Raises:
        UserError: a method that learns no distribution, or teachers that know nothing that the student wants.
    """

    def __init__(
        self,
        models: Sequence[FaceModel],
        names: Sequence[str],
        student: FaceModel,
        *,
        temperature: float,
        weight: float,
    ) -> None:
        _check(models, names, student)
        self._models, self._temperature, self._weight = models, temperature, weight
        self._outputs = student.output_keys
        self._grids = [_grid_matrix(model.age_head, student.age_head) for model in models]
        for model in models:
            model.trainable = False
        files = zip(names, models, strict=True)
        self.facts = [{"file": Path(name).name, "db": list(model.trained_on)} for name, model in files]

    def losses(self, images: KerasTensor, outputs: Mapping[str, KerasTensor]) -> dict[str, KerasTensor]:
        """{output: (N,) weighted values} of what a teacher knows.

        Args:
            images: (N, S, S, 3) RGB 0..255.
            outputs: raw outputs of the student.
        """
        values = {}
        for name, answers in self._answers(images).items():
            mean = sum(answers[1:], answers[0]) / len(answers)
            loss = losses.distillation(mean, outputs[name], temperature=self._temperature)
            values[name] = self._weight * loss
        return values

    def _answers(self, images):
        """{output: (N, K) probabilities of each teacher that has it}."""
        found: dict[str, list] = {}
        for model, grid in zip(self._models, self._grids, strict=True):
            outputs = model(_resized(images, model.image_size), training=False)
            if grid is not None and "age" in self._outputs:
                ages = model.age_head.probabilities(outputs["age"])
                found.setdefault("age", []).append(ops.matmul(ages, ops.convert_to_tensor(grid, dtype=ages.dtype)))
            if "gender" in outputs and "gender" in self._outputs:
                found.setdefault("gender", []).append(model.gender_head.probabilities(outputs["gender"]))
        return found


def load_teacher(
    files: Sequence[str] | None, student: FaceModel, *, temperature: float, weight: float
) -> Teacher | None:
    """The Teacher of the files of train.teacher, None for null; arguments and errors as of `Teacher`."""
    if files is None:
        return None
    models = [load_model(file) for file in files]
    for file, model in zip(files, models, strict=True):
        if model.crop != student.crop:
            _log.warning("%s learnt from crops %s, this training sees %s.", file, model.crop, student.crop)
    return Teacher(models, files, student, temperature=temperature, weight=weight)


def _check(models, names, student):
    if student.age_head is not None and METHODS[student.method].head != DISTRIBUTION:
        known = ", ".join(name for name, method in METHODS.items() if method.head == DISTRIBUTION)
        raise UserError(
            f"train.teacher needs a method with a distribution over the ages: {known}. Received: {student.method}"
        )
    for name, model in zip(names, models, strict=True):
        taught = [key for key in model.output_keys if key == "gender" or hasattr(model.age_head, "probabilities")]
        if not set(taught) & set(student.output_keys):
            raise UserError(
                f"The teacher {name} knows no {' and no '.join(student.output_keys)} distribution to teach."
            )


def _grid_matrix(teacher, student):
    """(K, L) float32 zeros and ones that turn probabilities of the teacher's K ages into ones of the student's L, None
    where one of them has no distribution over the ages."""
    if teacher is None or student is None or not hasattr(teacher, "probabilities"):
        return None
    ages = np.clip(np.arange(teacher.min_age, teacher.max_age + 1), student.min_age, student.max_age)
    return (ages[:, None] == np.arange(student.min_age, student.max_age + 1)).astype(np.float32)


def _resized(images, size):
    if images.shape[1] == size:
        return images
    images = ops.cast(images, "float32")
    return ops.image.resize(images, (size, size), interpolation="bilinear", antialias=True)
