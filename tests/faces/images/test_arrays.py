"""The one resize: areas when shrinking, bilinear when growing."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.images import read_and_resize, resize_rgb

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def assert_is_image(image, shape):
    assert image.dtype == np.uint8 and image.shape == shape and image.flags.c_contiguous


def test_resize_to_the_same_size_is_the_identity():
    image = np.ascontiguousarray(PICTURE[:24, :24])
    np.testing.assert_array_equal(resize_rgb(image, 24), image)


def test_shrinking_averages_areas():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2, 0] = [[0, 40], [80, 120]]
    assert resize_rgb(image, 2)[:, :, 0].tolist() == [[60, 0], [0, 0]]


def test_shrinking_does_not_alias():
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    resized = resize_rgb(stripes, 32).astype(int)
    # Stripes of one pixel shrunk threefold: two or one bright pixel of three. Sampling would give 0 or 255.
    assert set(np.unique(resized)) == {85, 170}


def test_growing_is_bilinear():
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 200
    # Centres at -.25, .25, .75, 1.25 in source pixels: 0, 50, 150, 200 (computed by hand).
    assert resize_rgb(image, 4)[2, :, 0].tolist() == [0, 50, 150, 200]


def test_one_side_shrinks_while_the_other_grows():
    image = np.zeros((2, 300, 3), np.uint8)
    image[:, ::2] = 255
    resized = resize_rgb(image, 20)
    assert_is_image(resized, (20, 20, 3))
    assert np.abs(resized.astype(int) - 127).max() <= 10  # no stripe survives


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 70), st.integers(0, 255))
def test_resized_image_stays_in_range(height, width, size, level):
    flat = np.full((height, width, 3), level, np.uint8)
    resized = resize_rgb(flat, size)
    assert_is_image(resized, (size, size, 3))
    np.testing.assert_array_equal(resized, np.full((size, size, 3), level))


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((4, 4), np.uint8), 2),
        (np.zeros((4, 4, 4), np.uint8), 2),
        (np.zeros((4, 4, 3), np.float32), 2),
        (np.zeros((0, 4, 3), np.uint8), 2),
        (np.zeros((4, 4, 3), np.uint8), 0),
        (np.zeros((4, 4, 3), np.uint8), 2.5),
    ],
)
def test_resize_refuses_what_it_cannot_resize(image, size):
    with pytest.raises(ValueError, match="Expected"):
        resize_rgb(image, size)


def test_view_is_resized_to_a_contiguous_array():
    assert resize_rgb(PICTURE[:8, 7::-1], 8).flags.c_contiguous


def test_read_and_resize(tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(cv2.imencode(".png", PICTURE[:, :, ::-1])[1].tobytes())
    np.testing.assert_array_equal(read_and_resize(path, 16), resize_rgb(PICTURE, 16))
