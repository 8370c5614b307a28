"""Files of PyTorch give arrays, or one line."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch

from faces.errors import UserError, WeightsUnavailable
from keras_impl.published import read_torch


class Command:
    """What runs a command where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_tensors_are_read(tmp_path):
    torch.save({"a.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}, tmp_path / "net.pth")
    state = read_torch(tmp_path / "net.pth")
    np.testing.assert_array_equal(state["a.weight"], [[0, 1, 2], [3, 4, 5]])
    assert state["steps"] == 7 and set(state) == {"a.weight", "steps"}


def test_code_in_a_file_does_not_run(tmp_path):
    torch.save({"a": Command(tmp_path / "made")}, tmp_path / "torch.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Command(tmp_path / "made")))
    for name in ("torch.pth", "pickle.pth"):
        with pytest.raises(UserError, match=rf"{name} is no file of weights that PyTorch can read"):
            read_torch(tmp_path / name)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04 not a zip", b"text\n" * 99])
def test_no_file_of_weights(tmp_path, content):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"net\.pth is no file of weights") as error:
        read_torch(tmp_path / "net.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [torch.ones(2), {"state": {"a": torch.ones(2)}}])
def test_other_content(tmp_path, value):
    torch.save(value, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"net\.pth must hold tensors by name"):
        read_torch(tmp_path / "net.pth")


def test_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsUnavailable, match=r"^net\.pth is read with PyTorch, .* Run: pip install torch$"):
        read_torch(tmp_path / "net.pth")
