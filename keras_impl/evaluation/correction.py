"""The correction of predicted ages by a table, fitted on faces that took no part in training."""

from collections.abc import Mapping
from typing import Any

from faces.errors import UserError
from faces.images import Faces, face_batches
from faces.report.correction import effect, fit_table, held_out, known_pairs
from keras_impl.input.labels import Labels
from keras_impl.model import FaceModel
from keras_impl.predictor import Predictor


def fit_correction(
    model: FaceModel,
    images: Faces,
    labels: Labels,
    *,
    batch_size: int = 64,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Set `model.correction` so that its ages are right on average wherever it says the same age.

    Args:
        model: FaceModel with an age head.
        images: faces of N rows that took no part in training.
        labels: Labels of the same rows.
        batch_size: images a step.
        source: plain facts about the rows, kept beside the result.

    Returns:
        The correction: {"said", "meant" (of `faces.report.correction.fit_table`), "n", ...source, "held_out": the
        `faces.report.correction.effect` on these faces, each corrected by a table that did not see it}.

    Raises:
        UserError: no age output, or too few rows of known age.
    """
    if "age" not in model.output_keys:
        raise UserError("Only a checkpoint that predicts ages can correct them.")
    model.correction = {}
    predicted = Predictor(model).predict_batches(face_batches(images, batch_size))["age"]
    predicted, age = known_pairs(predicted, labels.age[:, 0])
    found = effect(predicted, held_out(predicted, age), age)
    said, meant = fit_table(predicted, age)
    model.correction = {"said": said, "meant": meant, "n": len(age), **(source or {}), "held_out": found}
    return model.correction
