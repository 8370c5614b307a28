"""Uploaded pictures: read from a request, and kept in memory until they are looked at; never in a file."""

import asyncio
import secrets
import sys

from starlette.formparsers import MultiPartException, MultiPartParser

from keras_impl.web.refusals import Refused, busy, too_large

KEPT_SECONDS = 60
MAX_KEPT = 8  # pictures between their upload and their prediction


class Uploads:
    """Pictures between the page's upload and the page's question about it, known by a random token."""

    def __init__(self):
        self._kept = {}

    def put(self, data):
        """Keep the bytes of a picture for KEPT_SECONDS, where there are not too many already; returns its token."""
        full = sum(isinstance(kept, bytes) for kept in self._kept.values()) >= MAX_KEPT
        token = secrets.token_hex(16)
        # The page can tell why there is no answer only after the upload.
        self._kept[token] = busy() if full else data
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._kept.pop, token, None)
        return token

    def take(self, token):
        """The bytes of a picture, forgotten here; None for an unknown token. Refused where it was not kept."""
        data = self._kept.get(token)
        if data is not None:
            self._kept[token] = None
        if isinstance(data, Refused):
            raise data
        return data

    def __contains__(self, token):
        """Whether the token was given out lately, taken or not."""
        return token in self._kept


async def read_picture(request, max_bytes, *, field):
    """The bytes of the picture that a request brings, as its body or as a file of a form.

    Args:
        request: starlette.requests.Request. max_bytes: of the picture. field: its name in the form.

    Raises:
        Refused: larger (413), no picture by its type (415), or a form without it (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data = await _read_form(request, field)
    elif kind.startswith("image/"):
        data = await request.body()
    else:
        raise Refused(415, f"Expected a body of type image/..., or a form with a file named {field}.")
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    return data


class _MemoryParser(MultiPartParser):
    spool_max_size = sys.maxsize  # the parser's files are buffers until they are larger than this


async def _read_form(request, field):
    parser = _MemoryParser(request.headers, request.stream(), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(422, f"The form cannot be read: {error.message}") from None
    try:
        file = form.get(field)
        if not hasattr(file, "read"):
            raise Refused(422, f"Expected a form with a file named {field}.")
        return await file.read()
    finally:
        await form.close()
