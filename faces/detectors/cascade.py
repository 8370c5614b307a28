"""The three nets of the package mtcnn, one after the other, in memory that a crowd does not exhaust.

The package compares all candidates with all others and has all their crops pass a net at once: 1,200 faces took 23 GB.
Here candidates are compared with their neighbours only, and the first layers of a net, which take nearly all of its
memory, see some crops at a time. Candidates, their order and their numbers are those of the package.

The nets: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
"""

from typing import Any, NamedTuple

import numpy as np

from faces.detectors.suppression import suppress

SMALLEST_FACE, FACTOR = 20, 0.709  # pixels; from one picture of the pyramid to the next
PROPOSED_SCORE, REFINED_SCORE, FINAL_SCORE = 0.6, 0.7, 0.8
OVERLAP_IN_SCALE, OVERLAP = 0.5, 0.7


class _Part(NamedTuple):
    """What a net has of layers, by their names in the package, and how many crops they see at a time.

    Attributes:
        side: of its crops in pixels.
        first: the layers that take most memory; on many crops their numbers do not depend on how many there are.
        crops: how many those see at a time.
        rest: the layers behind them.
        features: how many crops those see at a time; their last bits depend on it.
        heads: the layers that each see what comes out of the rest.
    """

    side: int
    first: tuple[str, ...]
    crops: int
    rest: tuple[str, ...]
    features: int
    heads: tuple[str, ...]


_FIRST = ("conv1", "prelu1", "maxpool1", "conv2", "prelu2", "maxpool2")
REFINING = _Part(
    24, _FIRST, 512, ("conv3", "prelu3", "permute", "flatten", "fc4", "prelu4"), 8192, heads=("fc5_1", "fc5_2")
)
FINAL = _Part(
    48,
    _FIRST,
    128,
    ("conv3", "prelu3", "maxpool3", "conv4", "prelu4", "permute", "flatten", "fc5", "prelu5"),
    2048,
    heads=("fc6_1", "fc6_2", "fc6_3"),
)


def load_cascade() -> Any:
    """The detector of the package, `mtcnn.MTCNN`, with its weights and the stages below.

    Raises:
        ImportError: the package is not installed.
    """
    from mtcnn import MTCNN
    from mtcnn.stages import StageONet, StagePNet, StageRNet

    nets = [stage().model for stage in (StagePNet, StageRNet, StageONet)]
    stages = [stage(net) for stage, net in zip((_propose, _refine, _finish), nets, strict=True)]
    return MTCNN(stages=stages, device="CPU:0")


def _propose(net):
    """The first stage: candidates, squares (N, 6) of picture, x1, y1, x2, y2, score."""
    from mtcnn.utils import bboxes, images

    def stage(images_normalized, images_oshapes, **_):
        height, width = images_oshapes[0][:2]
        found = [np.empty((0, 6))]
        for scale in images.build_scale_pyramid(width, height, min_face_size=SMALLEST_FACE, scale_factor=FACTOR):
            offsets, scores = net(images.scale_images(images_normalized, scale))
            boxes = bboxes.generate_bounding_box(offsets, scores, PROPOSED_SCORE)
            boxes = bboxes.upscale_bboxes(boxes, np.array([scale]))
            found.append(boxes[suppress(boxes[:, 1:5], OVERLAP_IN_SCALE)])
        return bboxes.resize_to_square(_best(np.concatenate(found), OVERLAP))

    return stage


def _refine(net):
    """The second stage: fewer candidates, corrected, squares (N, 6) as above."""
    from mtcnn.utils import bboxes

    def stage(images_normalized, bboxes_batch, **_):
        if not len(bboxes_batch):
            return bboxes_batch
        offsets, scores = _run(net, REFINING, images_normalized, bboxes_batch)
        boxes = _correct(bboxes_batch, offsets, scores)
        return bboxes.resize_to_square(_best(boxes[boxes[:, 5] > REFINED_SCORE], OVERLAP))

    return stage


def _finish(net):
    """The last stage: faces (N, 16) of picture, x1, y1, x2, y2, score, x of the five keypoints, their y."""

    def stage(images_normalized, bboxes_batch, **_):
        if not len(bboxes_batch):
            return np.empty((0, 16))
        offsets, keypoints, scores = _run(net, FINAL, images_normalized, bboxes_batch)
        origin = np.repeat(bboxes_batch[:, 1:3], 5, axis=1)
        places = np.repeat(_sides(bboxes_batch), 5, axis=1) * keypoints + origin - 1
        # Single precision, as the package has it.
        boxes = np.hstack([_correct(bboxes_batch, offsets, scores), places.astype(np.float32)])
        return _best(boxes[boxes[:, 5] > FINAL_SCORE], OVERLAP, "min")

    return stage


def _best(boxes, threshold, method="union"):
    from mtcnn.utils.bboxes import sort_by_scores

    boxes = sort_by_scores(boxes, boxes[:, 5], ascending=False)
    return boxes[suppress(boxes[:, 1:5], threshold, method)]


def _sides(boxes):
    """(N, 2) width, height; here the package counts the pixel at the end too."""
    return boxes[:, 3:5] - boxes[:, 1:3] + 1


def _correct(boxes, offsets, scores):
    """Boxes moved by what a net says, with its scores; in single precision, as the package has it."""
    corners = boxes[:, 1:5].astype(np.float32) + offsets * np.tile(_sides(boxes), 2).astype(np.float32)
    return np.hstack([boxes[:, :1], corners, scores[:, -1:]])


def _run(net, part, picture, boxes):
    """What the heads of a net say of the crops of N boxes: one array (N, ...) each."""
    from mtcnn.utils.images import extract_patches

    found = []
    for many in _portions(boxes, part.features):
        patches = (
            extract_patches(picture, some, expected_size=(part.side,) * 2) for some in _portions(many, part.crops)
        )
        features = np.concatenate([_pass(net, part.first, crops).numpy() for crops in patches])
        rest = _pass(net, part.rest, features)
        found.append([getattr(net, head)(rest).numpy() for head in part.heads])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _portions(rows, most):
    """The rows in portions of about the same length, at most `most`: of a few, some layers have other last bits."""
    return np.array_split(rows, -(-len(rows) // most))


def _pass(net, layers, values):
    for name in layers:
        values = getattr(net, name)(values)
    return values
