"""What scans, prints and phones do to a picture: each strength does what it says, and nothing else."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from faces.alignment import TEMPLATE, align_face, cut_box
from faces.images import resize_rgb
from keras_impl.input.augment import NO_AUGMENTATION, affine_matrices, draw, make_augmenter
from keras_impl.input.wear import BOXES, STRENGTHS, draw_wear

SIZE = 96
FULL = {name: 0.3 if name in ("colour_cast", "noise") else 1.0 for name in STRENGTHS}
OFF = dict.fromkeys(STRENGTHS, 0.0)


def faces(count=24):
    """Smooth coloured images with some fine detail."""
    noise = np.random.default_rng(0).uniform(0, 255, (count, SIZE, SIZE, 3)).astype(np.float32)
    images = [0.8 * cv2.GaussianBlur(image, (0, 0), 2) + 0.2 * image for image in noise]
    return np.clip(1.5 * np.stack(images) - 60, 0, 255).astype(np.uint8)


def worn(images=None, *, place=(0, 0), **strengths):
    images = faces() if images is None else images
    before = images.copy()
    result = make_augmenter(replace(NO_AUGMENTATION, **strengths), 0)(*place, images, {}, {})[0]
    np.testing.assert_array_equal(images, before)  # the cache is not written to
    assert result.dtype == np.uint8 and result.shape == images.shape
    return result


def detail(images):
    """(N,) mean difference of neighbouring pixels."""
    return np.abs(np.diff(images.astype(float), axis=2)).mean(axis=(1, 2, 3))


def colour(images):
    """(N,) mean range of the channels of a pixel."""
    return np.ptp(images.astype(float), axis=3).mean(axis=(1, 2))


@pytest.mark.parametrize("name", STRENGTHS)
def test_place_in_the_run_decides(name):
    strength = {name: FULL[name]}
    images, here = faces(), worn(**strength)
    np.testing.assert_array_equal(here, worn(**strength))
    assert (here != images).any(axis=(1, 2, 3)).mean() > 0.9
    assert (here != worn(place=(0, 1), **strength)).any(axis=(1, 2, 3)).mean() > 0.9 or name == "grayscale"


@pytest.mark.parametrize("name", ["crop", "grayscale", "rescale", "blur", "jpeg"])
def test_probability_is_the_share_that_changes(name):
    images = faces(128)
    changed = (worn(images, **{name: 0.3}) != images).any(axis=(1, 2, 3))
    assert 0.18 < changed.mean() < 0.42


def test_what_is_drawn_here_moves_nothing_else():
    """With all of it on, the face is where it was: the same images go through, then lose their colour."""
    usual = {"flip": 1, "shift": 0.1, "scale": 0.1, "rotate": 10, "erase": 0.5}
    grey = worn(faces(), grayscale=1.0, **usual)
    plain = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in worn(faces(), **usual)])
    np.testing.assert_allclose(grey, np.repeat(plain[..., None], 3, axis=-1), atol=1)


def test_grayscale_is_opencvs():
    expected = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in faces()])
    np.testing.assert_allclose(worn(grayscale=1.0), np.repeat(expected[..., None], 3, axis=-1), atol=1)


def test_cast_multiplies_channels():
    grey = np.full((64, SIZE, SIZE, 3), 100, np.uint8)
    factors = worn(grey, colour_cast=0.3)[:, 0, 0] / 100
    assert (worn(grey, colour_cast=0.3) == worn(grey, colour_cast=0.3)[:, :1, :1]).all()
    assert factors.min() >= 0.695 and factors.max() <= 1.305 and np.ptp(factors, axis=0).min() > 0.4
    assert np.ptp(factors, axis=1).max() > 0.2  # the channels differ
    white = np.full((8, SIZE, SIZE, 3), 250, np.uint8)
    assert worn(white, colour_cast=1.0).max() == 255  # cut, not wrapped


def test_rescale_and_blur_take_detail_and_keep_brightness():
    images = faces()
    for name in ("rescale", "blur"):
        result = worn(images, **{name: 1.0})
        ratio = detail(result) / detail(images)
        assert ratio.max() < 1 and np.ptp(ratio) > 0.1, name
        np.testing.assert_allclose(result.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=2.5)
        assert result.min() >= images.min() and result.max() <= images.max()


def test_noise_has_the_deviation_that_was_drawn():
    grey = np.full((32, SIZE, SIZE, 3), 128, np.uint8)
    drawn = draw_wear(np.random.default_rng((0, 0, 0, 1)), 32, {**OFF, "noise": 0.1}).noise
    result = worn(grey, noise=0.1).astype(float) - 128
    np.testing.assert_allclose(result.std(axis=(1, 2, 3)), 255 * drawn, rtol=0.06, atol=0.3)
    assert drawn.max() <= 0.1 and drawn.max() > 0.09 and np.abs(result.mean(axis=(1, 2, 3))).max() < 1.5
    first, second = (result[row].ravel() for row in np.argsort(drawn)[-2:])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1  # no two images have the same noise
    assert worn(np.full((8, SIZE, SIZE, 3), 250, np.uint8), noise=1.0).max() == 255  # cut, not wrapped


def test_jpeg_is_opencvs_at_the_quality_that_was_drawn():
    images = faces(4)
    drawn = draw_wear(np.random.default_rng((0, 0, 0, 1)), 4, {**OFF, "jpeg": 1.0}).quality
    for image, quality, result in zip(images, drawn, worn(images, jpeg=1.0), strict=True):
        data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
        np.testing.assert_array_equal(result, cv2.cvtColor(cv2.imdecode(data, 1), cv2.COLOR_BGR2RGB))
    assert drawn.min() >= 15 and drawn.max() <= 80


def test_crop_is_what_the_box_would_have_cut():
    """From the aligned crop it makes what `cut_box` cuts out of the picture itself, whose face leans."""
    picture = cv2.GaussianBlur(np.random.default_rng(3).uniform(0, 255, (500, 500, 3)), (0, 0), 12)
    picture = cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    side, roll = 240, np.deg2rad(9)
    turn = side * np.exp(1j * roll)
    points = turn * (TEMPLATE @ [1, 1j] - (0.5 + 0.5j)) + (250 + 240j)
    aligned = resize_rgb(align_face(picture, np.column_stack([points.real, points.imag])), 96)
    x, y, width, height = 268.0, 232.0, 130.0, 170.0  # a box well inside the crop, whose pixels it then has
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    centre = (complex(x, y) - (250 + 240j)) / turn
    drawn = np.array([[centre.real, centre.imag, width / side, height / side, 9]])
    draws = draw(NO_AUGMENTATION, np.random.default_rng(0), 1)
    matrix = affine_matrices(replace(draws, mirror=np.array([False])), 96, drawn)[0]
    result = cv2.warpAffine(aligned, matrix, (96, 96), borderMode=cv2.BORDER_REPLICATE)
    expected = resize_rgb(cut_box(picture, box, margin=0), 96)
    assert np.abs(result.astype(float) - expected).max() < 6 < np.abs(expected.astype(float) - aligned).mean()


def test_boxes_are_drawn_as_measured():
    x, y, width, height, roll = draw_wear(np.random.default_rng(0), 40_000, {**OFF, "crop": 1.0}).box.T
    columns = {"x": x, "y": y, "size": np.log(width * height) / 2, "aspect": np.log(width / height), "roll": roll}
    for name, drawn in columns.items():
        means, deviations = np.array([getattr(box, name) for box in BOXES]).T
        spread = np.sqrt(np.mean(deviations**2) + np.var(means))
        assert drawn.mean() == pytest.approx(means.mean(), abs=0.03 * spread), name
        assert drawn.std() == pytest.approx(spread, rel=0.03), name
