"""MATLAB files: read in another process, and one clear line for what cannot be read."""

import numpy as np
import pytest
from scipy.io import savemat

from faces.errors import UserError
from faces.label_files.matlab import read_mat


def test_variables_are_read(tmp_path):
    savemat(tmp_path / "a.mat", {"wiki": {"dob": np.arange(3.0)}, "other": 5})
    variables = read_mat(tmp_path / "a.mat", ("wiki",))
    assert variables["wiki"][0, 0]["dob"].ravel().tolist() == [0, 1, 2] and "other" not in variables


def test_missing_variable_is_named(tmp_path):
    savemat(tmp_path / "a.mat", {"other": 5})
    with pytest.raises(UserError, match=r"a\.mat: expected the variables other, wiki\. Received none of: wiki"):
        read_mat(tmp_path / "a.mat", ("other", "wiki"))


@pytest.mark.parametrize(
    "content", [b"", b"not MATLAB" * 50, b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"\xff" * 40]
)
def test_damaged_file(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mat: expected a MATLAB 5 file\. Received: ") as caught:
        read_mat(tmp_path / "a.mat", ("wiki",))
    assert "\n" not in str(caught.value)


def test_file_of_matlab_7_3(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\0" * 400)
    with pytest.raises(UserError, match=r"Received: HDF5 \(MATLAB 7\.3\), which is not read"):
        read_mat(tmp_path / "a.mat", ("wiki",))
