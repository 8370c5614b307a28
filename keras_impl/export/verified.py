"""`export.py` without its command line: write, run, compare, and only then keep."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faces.errors import UserError, first_line
from faces.files import replacing_several, temporary
from faces.images import face_batches
from faces.keras_start import own_settings
from keras_impl.checkpoint import load_model
from keras_impl.export.agreement import require_agreement
from keras_impl.export.formats import FORMATS, REQUIREMENTS, require_packages, write_saved_model
from keras_impl.export.int8 import require_small_loss, write_int8
from keras_impl.export.output import check_output, size_of
from keras_impl.export.quiet import quiet
from keras_impl.export.samples import FaceSource, load_samples
from keras_impl.predictor import Predictor

BATCH_SIZE = 64


@dataclass(frozen=True)
class Exported:
    """What was written, in numbers.

    Attributes:
        size: bytes.
        faces: how many were compared.
        db: the data set that they are of.
        differences: of `require_agreement`; {} for 8 bits.
        at_border: faces whose age was not compared, see `require_agreement`.
        loss: what 8 bits cost, in words; "" in float32.
    """

    size: int
    faces: int
    db: str
    differences: dict
    at_border: int = 0
    loss: str = ""


@own_settings()
def export_checkpoint(
    checkpoint: str | Path, output: str | Path, name: str, source: FaceSource, *, int8: bool = False
) -> Exported:
    """Write the prediction of a checkpoint in another format, if what it says is what Keras says.

    Args:
        checkpoint: path of a `.keras` file.
        output: path; an earlier export there is replaced.
        name: key of FORMATS.
        source: the faces that both predict.
        int8: 8-bit weights and activations in the backbone, see `write_int8`; litert only.

    Returns:
        Exported.

    Raises:
        UserError: bad input, a missing package, a backend that cannot export, or predictions that differ. Nothing is
            written then, and what was at `output` stays.
    """
    if int8 and name != "litert":
        raise UserError(f"--int8 is for the format litert. Received: {name}")
    check_output(output, name)
    require_packages(name)
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"Export needs KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()}")
    with quiet():
        model = load_model(checkpoint)
    samples = load_samples(model, source, int8=int8)
    expected = Predictor(model).predict_batches(face_batches(samples.faces, BATCH_SIZE))
    with replacing_several(output, "The export") as path, temporary(path.with_suffix("")) as scratch:
        with _conversion(name):
            write_saved_model(model, scratch)
            if samples.calibration is not None:
                write_int8(scratch, path, samples.calibration, model.backbone.name)
            else:
                FORMATS[name].write(scratch, path)
            found = predict(FORMATS[name].load(path), samples.faces)
        facts: dict[str, Any] = {"size": size_of(path, name), "faces": len(samples.faces), "db": samples.db}
        if int8:
            return Exported(**facts, differences={}, loss=require_small_loss(expected, found, samples.labels))
        differences, at_border = require_agreement(expected, found, **_decode(model))
        return Exported(**facts, differences=differences, at_border=at_border)


def predict(run: Callable[[np.ndarray], dict[str, np.ndarray]], faces: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions of faces (N, S, S, 3) as {name: array}, the first on its own: a file that takes batches of one size
    only fails."""
    parts = [run(batch) for batch in (faces[:1], *face_batches(faces[1:], BATCH_SIZE))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _decode(model):
    head = model.age_head
    return {} if head is None else {"decode": head.decode_name, "min_age": head.min_age}


@contextmanager
def _conversion(name):
    """Any error of a converter or a runtime as one line, below what it wrote itself."""
    try:
        with quiet():
            yield
    except (UserError, OSError):
        raise
    except ImportError as error:
        raise UserError(
            f"The format {name} needs a package that cannot be imported ({error}): {REQUIREMENTS}"
        ) from error
    except Exception as error:  # each package raises its own types
        reason = first_line(error)
        raise UserError(f"The checkpoint cannot be exported to {name}, nothing was written: {reason}") from error
