"""A small evaluation for all tests of the report."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def columns():
    """Five images; the third has no age, the fifth no gender. Errors 2, 8, -, 5, 1 years."""
    return pd.DataFrame(
        {
            "img_path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"],
            "age": [20.0, 31.0, np.nan, 39.0, 60.0],
            "gender": ["female", "male", "male", "female", None],
            "identity": ["anna", "bob", "bob", None, None],
            "predicted_age": [22.0, 23.0, 50.0, 44.0, 61.0],
            "predicted_gender": ["female", "female", "male", "female", "male"],
            "absolute_error": [2.0, 8.0, np.nan, 5.0, 1.0],
            "within_5": [1.0, 0.0, np.nan, 1.0, 1.0],
            "gender_correct": [1.0, 0.0, 1.0, 1.0, np.nan],
        }
    )
