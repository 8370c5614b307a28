"""Reads the files of PyTorch that hold weights and nothing else."""

import warnings
from pathlib import Path

import numpy as np

from faces.errors import UserError, WeightsUnavailable, first_line


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """{key: array in PyTorch's layout} of a state dict. No code that the file may hold is run.

    Raises:
        WeightsUnavailable: PyTorch is not installed.
        UserError: the file is damaged, or holds anything but tensors by name.
    """
    try:
        import torch
    except ImportError:
        raise WeightsUnavailable(
            f"{path.name} is read with PyTorch, which is missing. Run: pip install torch"
        ) from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of other kinds of pickle, which the error tells too
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many types for a damaged file; each means the same to a user
        raise UserError(f"{path} is no file of weights that PyTorch can read: {first_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path} must hold tensors by name and nothing else")
    return {str(key): tensor.numpy() for key, tensor in state.items()}
