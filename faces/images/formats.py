"""Which formats are read, and the names that their files bear."""

# As Pillow calls them. Pillow would also run Ghostscript on EPS, and take nearly any bytes for TGA, which has no
# signature.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000")

# Ends of file names, in lower case; a name in any case counts. The only list: folders, patterns and the readers of data
# sets all go by it.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".png", ".apng"),
    *(".webp", ".avif", ".avifs"),
    *(".bmp", ".dib"),
    *(".tif", ".tiff"),
    ".gif",
    *(".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


def without_suffix(name: str) -> str:
    """A file name or path without the end that says its format: `a/1.JPG` and `a/1.webp` are both `a/1`."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in SUFFIXES else name
