"""The faces that an export is compared on."""

import pandas as pd
import pytest

from faces.errors import UserError
from faces.images import read_and_resize
from keras_impl.export import samples
from keras_impl.export.samples import FaceSource, load_samples
from tests.keras_impl.small_models import SIZE, normalised_model


def test_faces_and_labels_of_the_sample_set(in_face_folder):
    found = load_samples(normalised_model(), FaceSource(limit=7))
    table = pd.read_csv("meta/sample.csv")
    assert (found.db, found.calibration, found.faces.shape) == ("sample", None, (7, SIZE, SIZE, 3))
    rows = table[["img_path", "age"]].to_numpy()
    known = {(age, read_and_resize(f"data/sample/{path}", SIZE).tobytes()) for path, age in rows}
    assert {(age, face.tobytes()) for face, age in zip(found.faces, found.labels.age[:, 0])} <= known


def test_calibration_faces_were_trained_on_and_the_others_not(in_face_folder, monkeypatch):
    shares = {"val_share": 0.2, "test_share": 0.3}
    model = normalised_model(provenance={"db": "sample", "protocol": "default", **shares})
    with pytest.raises(UserError, match=r"--int8 measures its loss on 300 or more faces .* Received: \d+"):
        load_samples(model, FaceSource(), int8=True)
    monkeypatch.setattr(samples, "LEAST_FACES", 20)
    found = load_samples(model, FaceSource(), int8=True)
    trained, compared = ({face.tobytes() for face in faces} for faces in (found.calibration, found.faces))
    assert len(trained) + len(compared) == 96 and not trained & compared and len(found.labels.age) == len(found.faces)


def test_checkpoint_of_several_sets_needs_a_choice(in_face_folder):
    model = normalised_model(provenance={"db": ["sample", "utkface"]})
    with pytest.raises(UserError, match="The checkpoint was trained on sample, utkface: choose one with --db"):
        load_samples(model, FaceSource(), int8=True)
