"""Requests that are refused: one sentence for whoever asked, as a status code and JSON."""

from fastapi import HTTPException
from fastapi.responses import JSONResponse

RETRY_SECONDS = 2
UNEXPECTED = "Something went wrong here. The program still runs: try again, or try another picture."


class Refused(HTTPException):
    """A request that gets no answer: an HTTP status, a sentence, and headers."""


def busy():
    """The refusal of a server that has enough to do."""
    return Refused(503, "Too many pictures at once. Try again in a few seconds.", {"Retry-After": str(RETRY_SECONDS)})


def too_large(max_bytes):
    """The refusal of a picture that takes too many bytes."""
    return Refused(413, f"The picture is too large: at most {max_bytes / 1e6:g} MB are taken.")


async def answer_refusal(_, error):
    """FastAPI's handler of HTTPException."""
    return refusal_response(error)


async def answer_invalid(_, error):
    """FastAPI's handler of RequestValidationError."""
    return refusal_response(Refused(422, f"The request cannot be understood: {error.errors()[0]['msg']}."))


def refusal_response(error):
    """The JSON answer to an HTTPException."""
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)
