"""See faces with their ages and genders: live from a camera, in a folder of pictures, in a video, or on a web page.

python demo.py
python demo.py --image_dir DIR --output_dir OUT
python demo.py --video FILE --output_dir OUT
python demo.py --web
"""

import argparse
import logging
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from faces.alignment import MAX_MARGIN
from faces.detection import DETECTORS, try_detector
from faces.detectors.quarter_turns import ROTATE_HELP, ROTATIONS
from faces.errors import UserError
from faces.photos.folder import TABLE, annotate_folder, list_photos
from faces.picture_names import tell_skipped
from faces.startup import add_checkpoint_option, parse, require_checkpoint, run_main
from faces.video.annotation import annotate_video
from faces.video.frames import FrameSource
from faces.video.recording import VideoRecorder
from faces.video.webcam import Window, require_display, watch

_log = logging.getLogger(__name__)
# The defaults of options that one mode alone knows.
VIDEO = {"every": 1}
WEB = {"host": "127.0.0.1", "port": 7860, "max_upload_mb": 20, "open_browser": False, "trusted_proxy": None}


def main(arguments=None):
    """Run the demo; returns the path of what it wrote, None if it writes nothing."""
    options = _parse(arguments)
    mode = "image_dir" if options.image_dir else "video" if options.video else "web" if options.web else "camera"
    _check(options, mode)
    return MODES[mode](options)


def _parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    modes = parser.add_argument_group("what to look at (default: the first camera)").add_mutually_exclusive_group()
    modes.add_argument("--camera", type=int, default=None, metavar="N", help="camera number N, from 0; q or Esc ends")
    modes.add_argument(
        "--image_dir", type=Path, default=None, metavar="DIR", help="folder of pictures, with its subfolders"
    )
    modes.add_argument("--video", type=Path, default=None, metavar="FILE", help="video file; its sound is not kept")
    modes.add_argument("--web", action="store_true", default=False, help="serve a web page on this computer")
    parser.add_argument(
        "--output_dir", type=Path, default=None, help="default: runs/demo_<time>; records a camera only if you give it"
    )
    add_checkpoint_option(parser)
    parser.add_argument(
        "--detector", default="mtcnn", help=f"{', '.join(DETECTORS)}, or module:function or file.py:function"
    )
    parser.add_argument(
        "--margin", type=float, default=None, help="share of the box added on each side; default: the checkpoint's"
    )
    parser.add_argument(
        "--min_confidence", type=float, default=0.9, help="leave out less certain faces, 0 to 1; default: 0.9"
    )
    parser.add_argument("--rotate", default="none", choices=ROTATIONS, help=ROTATE_HELP)
    parser.add_argument("--every", type=int, metavar="N", help="for a video: look for faces only in every N-th frame")
    web = parser.add_argument_group("for the web page")
    web.add_argument("--host", help="address to listen on; default: 127.0.0.1, this computer only")
    web.add_argument("--port", type=int, help="default: 7860")
    web.add_argument("--max_upload_mb", type=float, help="refuse larger pictures; default: 20")
    web.add_argument(
        "--trusted_proxy", metavar="ADDRESS", help="take this proxy's word (X-Forwarded-For) for who sends a picture"
    )
    web.add_argument("--open_browser", action="store_true", help="open the page in a browser")
    return parse(parser, arguments)


def _check(options, mode):
    """Refuse what cannot work, before a framework loads for seconds."""
    _check_mode_options(options, "video", mode, VIDEO)
    _check_mode_options(options, "web", mode, WEB)
    if options.camera is not None and options.camera < 0:
        raise UserError(f"--camera must be 0 or more. Received: {options.camera}")
    output_dir = options.output_dir
    if output_dir and mode == "web":
        raise UserError("--output_dir does not go with --web, which keeps no picture.")
    if output_dir and output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"--output_dir must be a folder. Received: {output_dir}")
    if options.margin is not None and not 0 <= options.margin <= MAX_MARGIN:
        raise UserError(f"--margin must be 0 to {MAX_MARGIN}. Received: {options.margin}")
    if not 0 <= options.min_confidence <= 1:
        raise UserError(f"--min_confidence must be 0 to 1. Received: {options.min_confidence}")
    require_checkpoint(options.checkpoint)
    # mtcnn is a framework itself, and works wherever it is installed.
    if options.detector != "mtcnn":
        try_detector(options.detector)


def _check_mode_options(options, owner, mode, defaults):
    """Fill in the defaults of a mode's own options; another mode must not have them."""
    given = [name for name in defaults if name in options]
    if given and mode != owner:
        raise UserError(f"--{given[0]} goes with --{owner} only.")
    for name, default in defaults.items():
        setattr(options, name, getattr(options, name, default))
    if owner == "video" and options.every < 1:
        raise UserError(f"--every must be 1 or more. Received: {options.every}")
    if owner == "web" and not 0 <= options.port <= 65535:
        raise UserError(f"--port must be 0 to 65535. Received: {options.port}")
    if owner == "web" and not 0 < options.max_upload_mb < np.inf:
        raise UserError(f"--max_upload_mb must be above 0. Received: {options.max_upload_mb}")


def _annotate_folder(options):
    if not options.image_dir.is_dir():
        raise UserError(f"--image_dir must be a folder. Received: {options.image_dir}")
    output_dir = _output_dir(options)
    if output_dir.resolve() == options.image_dir.resolve():
        raise UserError("--output_dir must differ from --image_dir: the pictures would be overwritten.")
    skipped: Counter[str] = Counter()
    names = list_photos(options.image_dir, output_dir, skipped=skipped)
    found = annotate_folder(options.image_dir, names, output_dir, _load_predictor(options))
    print(
        f"{len(names)} pictures: {found['faces']} faces, {found['without a face']} pictures without a face, "
        f"{found['unreadable']} unreadable. See {output_dir / TABLE}"
    )
    if skipped:
        print(f"{skipped.total()} files {tell_skipped(skipped)}")
    return output_dir / TABLE


def _annotate_video(options):
    video, folder = options.video, _output_dir(options)
    with (
        FrameSource(video) as source,
        VideoRecorder(folder, video.stem, source.size, source.fps, source=video) as recorder,
    ):
        predictor = _load_predictor(options)
        try:
            tracker = annotate_video(source, recorder, predictor, every=options.every)
        except KeyboardInterrupt:
            print(f"Stopped after {recorder.frames} frames. See {recorder.path}")
            raise
    print(f"{recorder.frames} frames, faces followed: {tracker.count}. See {recorder.path} and {recorder.table}")
    if source.lost_frames:
        lost = f"{source.lost_frames} of the {source.count} frames that {video} should have could not be read"
        _log.warning("%s: it is damaged, cut off or trimmed", lost)
    return recorder.path


def _watch_camera(options):
    number = options.camera or 0
    require_display()
    with FrameSource(number) as source, ExitStack() as stack:
        recorder = None
        if options.output_dir:
            recorder = VideoRecorder(options.output_dir, f"camera{number}", source.size, source.fps)
            stack.enter_context(recorder)
        predictor = _load_predictor(options)
        with Window(f"camera {number}: q or Esc ends") as window, suppress(KeyboardInterrupt):
            watch(source, predictor, window, recorder)
    if recorder is None or not recorder.frames:
        return None
    print(f"{recorder.frames} frames recorded. See {recorder.path} and {recorder.table}")
    return recorder.path


def _serve(options: argparse.Namespace) -> None:
    from keras_impl.web import serve

    own = {name: getattr(options, name) for name in WEB}
    common = {name: getattr(options, name) for name in ("detector", "margin", "min_confidence", "rotate")}
    serve(options.checkpoint, **own, **common)


def _output_dir(options):
    return options.output_dir or Path("runs") / time.strftime("demo_%Y%m%d_%H%M%S")


def _load_predictor(options):
    from keras_impl.photos import PhotoPredictor

    return PhotoPredictor.load(
        options.checkpoint,
        detector=options.detector,
        margin=options.margin,
        min_confidence=options.min_confidence,
        rotate=options.rotate,
    )


MODES = {"camera": _watch_camera, "image_dir": _annotate_folder, "video": _annotate_video, "web": _serve}

if __name__ == "__main__":
    run_main(main)
