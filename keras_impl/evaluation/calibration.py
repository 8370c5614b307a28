"""Split-conformal calibration: how far from its prediction a checkpoint has to reach to hold the truth.

Lei et al., Distribution-Free Predictive Inference for Regression (JASA 2018), with errors measured in units of the
model's own uncertainty (their section 5.2).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from faces.conformal import conformal_quantile, interval_scores
from faces.errors import UserError
from faces.images import Faces, face_batches
from keras_impl.input.labels import Labels
from keras_impl.model import FaceModel
from keras_impl.predictor import Predictor


def calibrate(
    model: FaceModel,
    images: Faces,
    labels: Labels,
    *,
    level: float = 0.9,
    batch_size: int = 64,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Set `model.calibration` so that its age intervals hold the truth of a share `level` of new faces.

    The guarantee is for faces like those of the calibration: of the same data, and not seen in training.

    Args:
        model: FaceModel with an age head.
        images: faces of N rows that took no part in training.
        labels: Labels of the same rows.
        level: wanted coverage, between 0 and 1.
        source: plain facts about the rows, kept beside the result.

    Returns:
        The calibration: {"level", "quantile" (in units of `FaceModel.age_spread`), "n", ...source}.

    Raises:
        UserError: no age output, a level out of range, or too few rows of known age for it.
    """
    if "age" not in model.output_keys:
        raise UserError("Only a checkpoint that predicts ages can be calibrated.")
    model.calibration = {}
    prediction = Predictor(model).predict_batches(face_batches(images, batch_size))
    spread = np.asarray(model.age_spread(prediction))
    scores = interval_scores(labels.age[:, 0], prediction["age"], spread)
    scores = scores[~np.isnan(scores)]
    quantile = conformal_quantile(scores, level)
    model.calibration = {"level": level, "quantile": float(quantile), "n": len(scores), **(source or {})}
    return model.calibration
