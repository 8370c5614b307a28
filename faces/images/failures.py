"""Why a picture cannot be read, and the limits that all decoders share."""

from pathlib import Path

from faces.errors import UserError

MAX_PIXELS = 100_000_000


class ImageError(UserError):
    """An image that cannot be read: `path` says which, `reason` why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read image {self.path}: {self.reason}"


class Unreadable(Exception):
    """What a decoder raises: the reason alone, for it does not know the path."""


class NotDecodedHere(Exception):
    """A picture that this decoder has no means for; another one may."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Unreadable for a picture of more pixels than allowed."""
    if width * height > max_pixels:
        raise Unreadable(f"too large: {width} x {height} pixels, limit {max_pixels}")
