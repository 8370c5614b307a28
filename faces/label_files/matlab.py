"""MATLAB files, read in a process of their own: a damaged one can bring down scipy's reader, and Python with it."""

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faces.errors import UserError

_READER = """
import pickle, sys
from scipy.io import loadmat
pickle.dump(loadmat(sys.argv[1], variable_names=sys.argv[2:]), sys.stdout.buffer)
"""


def read_mat(path: str | Path, names: Sequence[str]) -> dict[str, Any]:
    """The variables `names` of the MATLAB 5 file `path`: a dict of arrays as from `scipy.io.loadmat`.

    Raises:
        UserError: the file is damaged, of MATLAB 7.3 (which is HDF5), or lacks one of the variables.
    """
    # -P: no module of the working directory is taken for one of the reader's.
    reader = subprocess.run([sys.executable, "-P", "-c", _READER, str(path), *names], capture_output=True, check=False)
    if reader.returncode:
        lines = reader.stderr.decode(errors="replace").strip().splitlines()
        problem = lines[-1] if lines else f"the reader ended with {reader.returncode}"
        if problem.startswith("NotImplementedError"):
            problem = "HDF5 (MATLAB 7.3), which is not read"
        raise UserError(f"{path}: expected a MATLAB 5 file. Received: {problem}")
    variables = pickle.loads(reader.stdout)
    missing = [name for name in names if name not in variables]
    if missing:
        raise UserError(f"{path}: expected the variables {', '.join(names)}. Received none of: {', '.join(missing)}")
    return variables
