"""Uploaded pictures, read from a request into memory; never into a file."""

import sys

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from keras_impl.web.refusals import Refused, too_large

FIELD = "file"  # the picture's name in a form


async def read_picture(request: Request, max_bytes: int) -> bytes:
    """The bytes of the picture that a request brings, as its body or as a file of a form.

    Args:
        request: whose body nobody has read.
        max_bytes: of the picture.

    Raises:
        Refused: larger (413), no picture by its type (415), or a form without it (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data = await _read_form(request)
    elif kind.startswith("image/"):
        data = await request.body()
    else:
        raise Refused(415, f"Expected a body of type image/..., or a form with a file named {FIELD}.")
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    return data


class _MemoryParser(MultiPartParser):
    spool_max_size = sys.maxsize  # the parser's files are buffers until they are larger than this


async def _read_form(request: Request) -> bytes:
    parser = _MemoryParser(request.headers, request.stream(), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(422, f"The form cannot be read: {error.message}") from None
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise Refused(422, f"Expected a form with a file named {FIELD}.")
        return await file.read()
    finally:
        await form.close()
