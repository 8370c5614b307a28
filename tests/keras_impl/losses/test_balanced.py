"""Balanced MSE without what its fit computes."""

import numpy as np
import pytest

from tests.keras_impl.method_cases import value_and_gradient


@pytest.mark.parametrize("variant", ["gai", "bni"])
def test_balanced_mse_without_its_statistics(variant):
    age, output = np.array([30.0, 40.0]), np.array([[31.0, 2.0], [38.0, 2.0]])
    with pytest.raises(ValueError, match=r"mixture|bucket"):
        value_and_gradient("balanced_mse", age, output, variant=variant)
