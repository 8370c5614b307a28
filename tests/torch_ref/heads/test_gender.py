"""The gender head by hand."""

import numpy as np
import torch

from torch_ref.heads import (
    GenderHead,
)


def test_gender_probabilities_by_hand():
    probabilities = GenderHead(3).probabilities(torch.tensor([[0.0, np.log(3.0)]]))
    np.testing.assert_allclose(probabilities, [[0.25, 0.75]], rtol=1e-6)
