"""The only decode and the only resize: every face reaches every part of the toolkit through these functions.

`reading` chooses who decodes: `jpeg` and `png` in this process, `other_formats` (Pillow) here for a small WebP, and in
a process of its own with limits on time and memory (`isolation`) for everything that may take long.
"""

from faces.images.arrays import Faces, check_rgb, face_batches, resize_rgb
from faces.images.failures import MAX_PIXELS, ImageError
from faces.images.reading import decode_rgb, read_and_resize, read_file, read_rgb, takes_long
from faces.picture_names import SUFFIXES

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Faces",
    "ImageError",
    "check_rgb",
    "decode_rgb",
    "face_batches",
    "read_and_resize",
    "read_file",
    "read_rgb",
    "resize_rgb",
    "takes_long",
]
