"""8-bit LiteRT files: the backbone in integers, the heads and the decode in float32, and what that costs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from faces.errors import UserError
from faces.labels import UNKNOWN_GENDER
from faces.report.metrics import METRICS
from keras_impl.input.labels import Labels

CALIBRATION_FACES = 300  # more change the ranges of the activations little
# How much worse than Keras the file may be on faces with labels. A quarter of a year, or a point of gender accuracy, is
# half of the 95 % interval of a test part of 2,000 faces: an evaluation would hardly notice.
WORSE = {"age": 0.25, "gender": 0.01}
# How far apart they may be on average, labels or not: years, share of the genders. Errors cancel, so even a file
# calibrated on faces of another kind may not be worse; the net that ships is 0.6 years and 1.6 % apart.
APART = {"age": 1.0, "gender": 0.03}


def write_int8(saved_model: str | Path, path: str | Path, faces: np.ndarray, backbone: str) -> None:
    """Write a LiteRT file whose backbone has 8-bit weights and activations.

    The decode stays in float32: an expected age is a sum over all ages, and with steps of 1 / 256 for a probability it
    is off by years. The heads go with it; they are small.

    Args:
        saved_model: folder.
        path: of the LiteRT file.
        faces: (N, S, S, 3) uint8 that the ranges of the activations are measured on.
        backbone: name of the layer that becomes integers.
    """
    import tensorflow as tf

    def converter():
        made = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = measured
        return made

    def measured():
        return ({"images": face[None]} for face in faces)

    debug = tf.lite.experimental
    options = debug.QuantizationDebugOptions(denylisted_nodes=_names_outside(saved_model, backbone))
    quantizer = debug.QuantizationDebugger(converter=converter(), debug_dataset=measured, debug_options=options)
    Path(path).write_bytes(quantizer.get_nondebug_quantized_model())


def _names_outside(saved_model, backbone):
    """Names of the tensors of the float32 file that lie outside the backbone."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    content = tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert()
    names = [tensor["name"] for tensor in Interpreter(model_content=content).get_tensor_details()]
    outside = [name for name in names if f"/{backbone}" not in name]
    if len(outside) == len(names):
        raise ValueError(f"no tensor of the backbone {backbone!r} among {names[:5]}...")
    return outside


def require_small_loss(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], labels: Labels) -> str:
    """What the 8-bit file loses against Keras on the same N faces, in words.

    Args:
        expected: {name: array}, the prediction of Keras.
        found: likewise, that of the 8-bit file.
        labels: Labels of the faces.

    Raises:
        UserError: further than APART, or where labels are known, worse by more than WORSE.
    """
    texts = []
    if "age" in expected:
        texts.append(_age_loss(expected["age"], found["age"], labels.age[:, 0]))
    if "gender" in expected:
        texts.append(_gender_loss(expected["gender"], found["gender"], labels.gender))
    return "8-bit: " + "; ".join(texts)


def _age_loss(expected, found, age):
    apart = np.abs(expected - found)
    text = f"ages differ by {apart.mean():.2f} years on average, at most {apart.max():.2f}"
    _require(text, apart.mean(), f"{APART['age']:g} years on average", APART["age"])
    known = ~np.isnan(age)
    if not known.any():
        return text
    before, after = (float(np.mean(np.abs(years - age)[known])) for years in (expected, found))
    text = f"{_instead('age_mae', before, after)}; {text}"
    return _require(text, after - before, f"{WORSE['age']:g} years of MAE", WORSE["age"])


def _gender_loss(expected, found, gender):
    expected, found = expected.argmax(axis=1), found.argmax(axis=1)
    changed = float(np.mean(expected != found))
    text = f"{changed:.1%} of the genders differ"
    _require(text, changed, f"{APART['gender']:.0%} of the genders", APART["gender"])
    known = gender != UNKNOWN_GENDER
    if not known.any():
        return text
    before, after = (float(np.mean((one == gender)[known])) for one in (expected, found))
    text = f"{_instead('gender_accuracy', before, after)}; {text}"
    return _require(text, before - after, f"{WORSE['gender']:.0%} of gender accuracy", WORSE["gender"])


def _instead(name, before, after):
    metric = METRICS[name]
    before, after = (metric.template.format(value) for value in (before, after))
    return f"{metric.label} {after}{metric.suffix} instead of {before}"


def _require(text, loss, limit_text, limit):
    """The text; UserError where the loss is beyond the limit, or no number."""
    if not loss <= limit:
        raise UserError(f"The 8-bit export is too far from Keras, so nothing was written: {text}. Limit: {limit_text}")
    return text
