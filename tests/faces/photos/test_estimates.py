"""What is known of a face: rows and labels."""

import pytest

from faces.detection import Face
from faces.photos.estimates import ROW_COLUMNS, FaceEstimate, estimate_row, label_text, picture_rows


@pytest.mark.parametrize(
    ("known", "label"),
    [
        ({"age": 34.5, "gender": "female", "gender_probability": 0.974}, "35 y, female 97 %"),
        ({"age": 34.49}, "34 y"),
        ({"gender": "male", "gender_probability": 0.5}, "male 50 %"),
        ({}, ""),
    ],
)
def test_label(known, label):
    assert label_text(FaceEstimate(**known)) == label


def test_row_is_rounded_and_empty_where_nothing_is_known():
    face = Face((1.26, -2, 30.04, 4), 0.98765)
    row = estimate_row("a.jpg", 2, FaceEstimate(face, 31.234567, (20, 40.506), "female", 0.7512345))
    assert tuple(row) == ROW_COLUMNS
    values = ["a.jpg", 2, 1.3, -2.0, 30.0, 4.0, 0.9877, 31.23, 20.0, 40.51, "female", 0.7512, None]
    assert list(row.values()) == values
    assert set(list(estimate_row("a.jpg", 0, FaceEstimate()).values())[2:]) == {None}


def test_picture_has_a_row_per_face_or_one_with_the_error():
    assert [row["face"] for row in picture_rows("a.jpg", [FaceEstimate()] * 3)] == [0, 1, 2]
    (row,) = picture_rows("a.jpg", [], "no face found")
    assert (row["img_path"], row["face"], row["error"]) == ("a.jpg", None, "no face found")
