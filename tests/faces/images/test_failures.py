"""The error of a picture that cannot be read."""

import pytest

from faces.errors import UserError
from faces.images.failures import ImageError, Unreadable, check_size


def test_error_tells_path_and_reason():
    error = ImageError("a.jpg", "empty file")
    assert isinstance(error, UserError) and str(error) == "cannot read image a.jpg: empty file"
    assert (error.path, error.reason) == ("a.jpg", "empty file")


def test_limit_of_pixels():
    check_size(4, 5, 20)
    with pytest.raises(Unreadable, match="too large: 4 x 5 pixels, limit 19"):
        check_size(4, 5, 19)
