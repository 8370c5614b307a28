"""Requests that are refused: one sentence for whoever asked, as a status code and JSON."""

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette import exceptions

RETRY_SECONDS = 2
UNEXPECTED = "Something went wrong here. The program still runs: try again, or try another picture."


class Refused(HTTPException):
    """A request that gets no answer: an HTTP status, a sentence, and headers."""


def busy() -> Refused:
    """The refusal of a server that has enough to do."""
    return Refused(503, "Too many pictures at once. Try again in a few seconds.", {"Retry-After": str(RETRY_SECONDS)})


def too_large(max_bytes: int) -> Refused:
    """The refusal of a picture that takes too many bytes."""
    return Refused(413, f"The picture is too large: at most {max_bytes / 1e6:g} MB are taken.")


async def answer_refusal(_: Request, error: exceptions.HTTPException) -> JSONResponse:
    """FastAPI's handler of HTTPException, its own ones included."""
    if not isinstance(error, Refused):
        error = _in_a_sentence(error)
    return refusal_response(error)


async def answer_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """FastAPI's handler of RequestValidationError."""
    return refusal_response(Refused(422, f"The request cannot be understood: {error.errors()[0]['msg']}."))


def refusal_response(error: exceptions.HTTPException) -> JSONResponse:
    """The JSON answer to an HTTPException."""
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers=error.headers)


def _in_a_sentence(error: exceptions.HTTPException) -> exceptions.HTTPException:
    """What FastAPI refuses itself, in this program's words."""
    if error.status_code == 404:
        return Refused(404, "There is nothing at this address.")
    if error.status_code == 405:
        methods = sorted((error.headers or {})["Allow"].split(", "))
        return Refused(405, f"Expected the method {' or '.join(methods)}.", {"Allow": ", ".join(methods)})
    return error
