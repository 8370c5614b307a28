"""Aligned crops: against a least-squares fit and an interpolation from elsewhere, and what must hold for every face."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from faces.alignment import (
    MAX_CROP_SIDE,
    TEMPLATE,
    CropGeometry,
    align_face,
    can_align,
    can_cut,
    cut_box,
    cut_face,
    fit_similarity,
)
from faces.detection import Face
from faces.errors import UserError
from faces.images import resize_rgb

ANGLES = st.floats(-np.pi, np.pi)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height, width, seed=0, cells=6):
    """A picture whose neighbouring pixels differ little, so that a 32nd of a pixel does not show."""
    coarse = np.random.default_rng(seed).integers(0, 256, (cells, cells, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def turned(side, angle=0.0, shift=(0.0, 0.0)):
    """The keypoints of a face of this side in pixels, turned about the corner of its square, then shifted."""
    cos, sin = np.cos(angle), np.sin(angle)
    return side * TEMPLATE @ np.array([[cos, sin], [-sin, cos]]) + shift


def solve_similarity(keypoints):
    """(a, b, x, y) of least squares: a template point (u, v) lies at (a u - b v + x, b u + a v + y)."""
    (u, v), zero, one = TEMPLATE.T, np.zeros(5), np.ones(5)
    rows = np.vstack([np.column_stack([u, -v, one, zero]), np.column_stack([v, u, zero, one])])
    return np.linalg.lstsq(rows, np.concatenate([keypoints[:, 0], keypoints[:, 1]]), rcond=None)[0]


def sample(image, keypoints, margin, side):
    """The crop by SciPy's interpolation, at the centre of each of its pixels."""
    a, b, x, y = solve_similarity(keypoints)
    v, u = ((np.mgrid[:side, :side] + 0.5) / side) * (1 + 2 * margin) - margin
    where = [b * u + a * v + y - 0.5, a * u - b * v + x - 0.5]
    channels = [
        map_coordinates(image[:, :, channel].astype(float), where, order=1, mode="nearest") for channel in range(3)
    ]
    return np.stack(channels, axis=-1)


# === The fit ===


@given(side=st.floats(3, 5000), angle=ANGLES, x=st.floats(-1e4, 1e4), y=st.floats(-1e4, 1e4))
def test_turn_scale_and_shift_are_recovered(side, angle, x, y):
    turn, origin = fit_similarity(turned(side, angle, (x, y)))
    np.testing.assert_allclose([turn, origin], [side * np.exp(1j * angle), x + 1j * y], rtol=1e-9, atol=1e-7)


@given(seed=st.integers(0, 10**6), angle=ANGLES, spread=st.floats(0, 0.1))
def test_fit_is_that_of_least_squares(seed, angle, spread):
    keypoints = turned(120, angle, (30, 50)) + np.random.default_rng(seed).normal(0, 120 * spread, (5, 2))
    try:
        turn, origin = fit_similarity(keypoints)
    except UserError:
        return
    np.testing.assert_allclose(
        [turn.real, turn.imag, origin.real, origin.imag], solve_similarity(keypoints), rtol=1e-9, atol=1e-9
    )


# === The crop ===


@pytest.mark.parametrize("side", [11, 96, 333])
def test_face_that_lies_as_in_the_template_is_the_picture_itself(side):
    image = noise(side, side)
    np.testing.assert_array_equal(align_face(image, TEMPLATE * side), image)


def is_tie(side, margin):
    """Whether rounding errors decide how many pixels the crop has."""
    return abs(side * (1 + 2 * margin) % 1 - 0.5) < 1e-6


@settings(max_examples=25, deadline=None)
@given(
    side=st.floats(20, 150),
    angle=ANGLES,
    x=st.floats(20, 180),
    y=st.floats(20, 130),
    margin=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
)
def test_crop_is_what_another_interpolation_gives(side, angle, x, y, margin):
    """Also where the crop leaves the picture: the border is repeated."""
    assume(not is_tie(side, margin))
    image, keypoints = smooth(150, 200), turned(side, angle)
    keypoints += (x, y) - keypoints.mean(axis=0)
    crop = align_face(image, keypoints, margin)
    assert crop.shape == (round(side * (1 + 2 * margin)),) * 2 + (3,)
    np.testing.assert_allclose(crop, sample(image, keypoints, margin, len(crop)), atol=2)


def test_margin_adds_the_share_of_the_side_on_each_side():
    image = noise(300, 300)
    keypoints = turned(100, shift=(100, 100))
    inner, outer = align_face(image, keypoints), align_face(image, keypoints, margin=0.5)
    assert inner.shape == (100, 100, 3) and outer.shape == (200, 200, 3)
    np.testing.assert_array_equal(outer, image[50:250, 50:250])
    np.testing.assert_array_equal(outer[50:150, 50:150], inner)


def test_border_is_repeated():
    image = noise(60, 80)
    padded = cv2.copyMakeBorder(image, 50, 50, 50, 50, cv2.BORDER_REPLICATE)
    crop = align_face(image, turned(50, shift=(55, -20)))
    np.testing.assert_array_equal(crop, padded[30:80, 105:155])


@settings(max_examples=20, deadline=None)
@given(quarter=st.integers(1, 3), angle=ANGLES, side=st.floats(15, 90), margin=st.sampled_from([0.0, 0.4]))
def test_turned_picture_gives_the_same_crop(quarter, angle, side, margin):
    assume(not is_tie(side, margin))
    image, keypoints = smooth(120, 160), turned(side, angle)
    keypoints += (80, 60) - keypoints.mean(axis=0)
    crop = align_face(image, keypoints, margin)
    for _ in range(quarter):  # counter-clockwise
        keypoints = np.column_stack([keypoints[:, 1], image.shape[1] - keypoints[:, 0]])
        image = np.rot90(image)
    again = align_face(np.ascontiguousarray(image), keypoints, margin)
    assert np.abs(crop.astype(int) - again).max() <= 2


@given(angle=ANGLES)
def test_eyes_of_the_crop_are_level_and_above_the_mouth(angle):
    """Every face comes upright, also one that stands on its head."""
    keypoints = turned(60, angle)
    keypoints += (70, 70) - keypoints.mean(axis=0)
    middles = np.rint(np.stack([keypoints[:2].mean(axis=0), keypoints[3:].mean(axis=0)]) - 0.5).astype(int)
    dots = [cv2.circle(np.zeros((140, 140), np.uint8), middle, 3, 255, -1) for middle in middles]
    crop = align_face(np.dstack([*dots, dots[0]]), keypoints)
    eyes, mouth = (np.argwhere(crop[:, :, channel] > 128).mean(axis=0) for channel in range(2))
    expected = TEMPLATE[:2].mean(axis=0)[::-1] * 60 - 0.5, TEMPLATE[3:].mean(axis=0)[::-1] * 60 - 0.5
    np.testing.assert_allclose([eyes, mouth], expected, atol=1)


# === Sizes ===


def test_tiny_face():
    image = noise(30, 40)
    assert align_face(image, turned(10, shift=(15, 10)), margin=0.4).shape == (18, 18, 3)
    assert cut_face(image, Face((0, 0, 1, 1), 1, turned(1.2, shift=(15, 10))), CropGeometry(0, True), 96).shape == (
        (96, 96, 3)
    )


@pytest.mark.parametrize("aligned", [True, False])
def test_huge_face_is_cut_from_a_smaller_picture(aligned):
    small = smooth(210, 200)
    image = cv2.resize(small, None, fx=40, fy=40, interpolation=cv2.INTER_LINEAR)
    face, small_face = (Face((0, 0, 200 * factor, 210 * factor), 1.0, turned(200 * factor, 0.1)) for factor in (40, 1))
    geometry = CropGeometry(0.2, aligned)
    crop = cut_face(image, face, geometry)
    assert MAX_CROP_SIDE - 3 <= max(crop.shape) <= MAX_CROP_SIDE
    expected = resize_rgb(cut_face(small, small_face, geometry), 64)
    assert np.abs(resize_rgb(crop, 64).astype(int) - expected).max() <= 6


@pytest.mark.parametrize("shape", [(3, 5), (1, 4000), (40_000, 2)])
@pytest.mark.parametrize("geometry", [CropGeometry(10.0, True), CropGeometry(10.0)])
def test_crop_of_an_odd_picture_is_bounded(shape, geometry):
    """A detector may answer anything: the crop fits into memory, or one line says why there is none."""
    height, width = shape
    centre = np.array([width, height]) / 2
    for side in (2, 300, 50_000, 1e7):
        keypoints = turned(side) + centre - turned(side).mean(axis=0)
        box = (*(centre - side / 2), *(centre + side / 2))
        try:
            crop = cut_face(noise(*shape), Face(box, 1.0, keypoints), geometry)
        except UserError as error:
            assert "too large for a picture" in str(error) and side >= 300
        else:
            assert max(crop.shape) <= 2 * MAX_CROP_SIDE + 1


# === What is refused ===

MIRRORED = TEMPLATE * (-100, 100) + (150, 50)


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (np.full((5, 2), 7.0), "not all in one place"),
        (TEMPLATE * 0.9 + 50, "not all in one place"),
        (np.where(np.eye(5, 2), np.nan, TEMPLATE * 100), "five finite"),
        (np.where(np.eye(5, 2), np.inf, TEMPLATE * 100), "five finite"),
        (TEMPLATE * 1e300, "five finite"),
        (TEMPLATE[:4] * 100, "five finite"),
        (None, "five finite"),
        (MIRRORED, "Expected left eye, right eye"),
        (TEMPLATE[[0, 3, 2, 1, 4]] * 100, "Expected left eye, right eye"),
    ],
)
def test_what_are_no_keypoints_of_a_face(keypoints, message):
    assert not can_align(keypoints, (200, 200, 3))
    with pytest.raises(UserError, match=message) as caught:
        align_face(noise(200, 200), keypoints)
    assert "\n" not in str(caught.value)


def test_mirrored_face_in_the_right_order_is_a_face():
    assert can_align(MIRRORED[[1, 0, 2, 4, 3]], (200, 200, 3))


@pytest.mark.parametrize(("shift", "inside"), [((0, 0), True), ((60, 0), True), ((161, 0), False), ((0, -51), False)])
def test_face_outside_the_picture_cannot_be_aligned(shift, inside):
    keypoints = turned(100, shift=shift)
    assert can_align(keypoints, (200, 210, 3)) == inside
    with pytest.raises(UserError, match="outside the picture"):
        align_face(noise(200, 210), keypoints + 1000)


def test_geometry_decides_whether_a_face_can_be_cut():
    lost = Face((0, 0, 9, 9), 1.0, np.full((5, 2), 7.0))
    assert can_cut(lost, CropGeometry(), (50, 50, 3)) and not can_cut(lost, CropGeometry(0, True), (50, 50, 3))
    blind = Face((0, 0, 9, 9), 1.0)
    assert can_cut(blind, CropGeometry(0, True), (50, 50, 3))
    with pytest.raises(UserError, match="which this detector does not give"):
        cut_face(noise(50, 50), blind, CropGeometry(0, True))


@pytest.mark.parametrize("margin", [-0.01, 10.1, float("nan"), float("inf")])
def test_impossible_margin(margin):
    with pytest.raises(UserError, match="must be 0 to 10"):
        CropGeometry(margin)


# === cut_box ===


@pytest.mark.parametrize(
    ("box", "margin"),
    [
        ((10, 12, 30, 40), 0.0),
        ((10, 12, 30, 40), 0.4),
        ((-15, -3, 20, 25), 0.4),
        ((40, 30, 75, 60), 1.0),
        ((-50, -50, 200, 200), 0.0),
        ((10.2, 12.7, 29.9, 40.4), 0.25),
    ],
)
def test_crop_equals_the_picture_with_a_replicated_border(box, margin):
    image = noise(50, 60)
    pad = 400
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    x1, y1, x2, y2 = box
    add_x, add_y = margin * (x2 - x1), margin * (y2 - y1)
    left, top, right, bottom = np.rint([x1 - add_x, y1 - add_y, x2 + add_x, y2 + add_y]).astype(int) + pad
    np.testing.assert_array_equal(cut_box(image, box, margin), padded[top:bottom, left:right])


def test_crop_has_the_margin_on_each_side():
    assert cut_box(noise(500, 500), (200, 100, 300, 150), 0.4).shape == (90, 180, 3)


def test_crop_does_not_share_memory():
    image = noise(50, 60)
    assert not np.shares_memory(image, cut_box(image, (5, 5, 20, 20), 0))


def test_thinnest_box_gives_a_pixel():
    assert cut_box(noise(50, 60), (5.1, 5.1, 5.2, 5.2), 0).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("box", "margin", "message"),
    [
        ((5, 5, 5, 10), 0.4, "x1 < x2"),
        ((5, 10, 8, 5), 0.4, "y1 < y2"),
        ((5, 5, np.nan, 10), 0.4, "finite"),
        ((5, 5, 9, np.inf), 0.4, "finite"),
        ((5, 5, 9, 9), -0.1, "margin"),
        ((5, 5, 9, 9), np.nan, "margin"),
        ((61, 5, 70, 9), 0.0, "outside"),
        ((5, -20, 9, -2), 0.0, "outside"),
    ],
)
def test_bad_box_is_refused(box, margin, message):
    with pytest.raises(UserError, match=message):
        cut_box(noise(50, 60), box, margin)


@pytest.mark.parametrize("image", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3)), np.zeros((40, 0, 3), np.uint8)])
def test_what_is_no_picture_is_not_cut(image):
    with pytest.raises(UserError, match="uint8"):
        cut_box(image, (0, 0, 1, 1), 0)


# === cut_face ===


@pytest.mark.parametrize("size", [None, 24])
def test_both_geometries(size):
    image = noise(120, 100)
    face = Face((20.2, 10, 70, 80), 1.0, turned(60, 0.2, (20, 20)))
    expected = cut_box(image, face.box, 0.3), align_face(image, face.keypoints, 0.3)
    for aligned, crop in zip((False, True), expected):
        found = cut_face(image, face, CropGeometry(0.3, aligned), size)
        np.testing.assert_array_equal(found, crop if size is None else resize_rgb(crop, size))


def test_geometry_says_what_it_is():
    assert str(CropGeometry(0.25)) == "margin 0.25, not aligned" and str(CropGeometry(0.0, True)) == "margin 0, aligned"
