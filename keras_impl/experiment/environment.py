"""What a result depends on besides code and data: versions of Python and of packages."""

import contextlib
import platform
from importlib.metadata import PackageNotFoundError, version

import keras

PACKAGES = ("keras", "numpy", "pandas", "opencv-python", "hydra-core")


def environment():
    """Versions of Python and the packages that a result depends on."""
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in (*PACKAGES, keras.backend.backend()):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
