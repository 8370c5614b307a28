"""An export is compared with Keras before it is kept."""

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.export.samples import FaceSource
from keras_impl.export.verified import BATCH_SIZE, export_checkpoint, predict


def test_first_face_is_predicted_alone_and_all_come_back_in_order():
    sizes = []

    def run(faces):
        sizes.append(len(faces))
        return {"age": faces[:, 0, 0, 0].astype(np.float32), "gender": faces[:, 0, 0, :2]}

    faces = np.random.default_rng(0).integers(0, 256, (2 * BATCH_SIZE + 3, 2, 2, 3), np.uint8)
    found = predict(run, faces)
    assert sizes == [1, BATCH_SIZE, BATCH_SIZE, 2]
    np.testing.assert_array_equal(found["age"], faces[:, 0, 0, 0])
    np.testing.assert_array_equal(found["gender"], faces[:, 0, 0, :2])


def test_8_bits_are_for_litert(tmp_path):
    with pytest.raises(UserError, match=r"--int8 is for the format litert\. Received: onnx"):
        export_checkpoint("gone.keras", tmp_path / "a.onnx", "onnx", FaceSource(), int8=True)
    assert list(tmp_path.iterdir()) == []
