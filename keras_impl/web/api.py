"""The HTTP endpoint for programs: `POST /api/predict`, `GET /api/health`, described by `/openapi.json`."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from keras_impl.web.answer import ModelFacts, describe_picture
from keras_impl.web.uploads import FIELD, read_picture
from keras_impl.web.worker import PhotoWorker

_BYTES = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "image/jpeg": {"schema": _BYTES},
        "image/png": {"schema": _BYTES},
        "image/*": {"schema": _BYTES},
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BYTES}},
        },
    },
}
_REFUSALS = {
    400: "The body is no picture that can be read.",
    403: "The Host or Origin header names another site.",
    408: "The body took too long to arrive.",
    413: "The picture takes too many bytes or has too many pixels.",
    415: "The body is neither an image nor a form.",
    422: "The form holds no file named `file`, or cannot be read.",
    500: "The prediction failed; the server still runs.",
    503: "Too many pictures at once; Retry-After says when to try again.",
}


class FaceAnswer(BaseModel):
    """One face; what the model does not tell is missing."""

    box: list[float] = Field(min_length=4, max_length=4, description="x1, y1, x2, y2 in pixels of the upright picture")
    confidence: float = Field(ge=0, le=1, description="of the detector")
    age: float | None = Field(None, description="years")
    age_interval: list[float] | None = Field(None, min_length=2, max_length=2, description="low and high in years")
    gender: str | None = Field(None, description="female or male")
    gender_probability: float | None = Field(None, ge=0, le=1)
    age_distribution: list[float] | None = Field(
        None, description="probabilities of ages one year apart, from min_age of the model on"
    )


class ModelAnswer(BaseModel):
    """The model that answered."""

    name: str
    trained_on: list[str] = Field(description="titles of its data sets")
    min_age: int | None = Field(None, description="years of the first entry of an age_distribution")


class PictureAnswer(BaseModel):
    """The faces of one picture, the most confident first."""

    faces: list[FaceAnswer]
    width: int = Field(description="pixels of the upright picture")
    height: int = Field(description="pixels of the upright picture")
    interval: str | None = Field(None, description="what an age_interval is")
    model: ModelAnswer


class HealthAnswer(BaseModel):
    """The server runs."""

    status: str
    waiting: int = Field(description="pictures that wait for their prediction")


class RefusalAnswer(BaseModel):
    """Why there is no answer, in a sentence."""

    error: str


def make_router(worker: PhotoWorker, facts: ModelFacts, *, max_bytes: int) -> APIRouter:
    """The routes under /api.

    Args:
        worker: looks at the pictures.
        facts: what is told of the model.
        max_bytes: of one picture.
    """
    router = APIRouter(prefix="/api")
    describe = partial(describe_picture, facts=facts)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": RefusalAnswer, "description": text} for status, text in _REFUSALS.items()
    }

    @router.post(
        "/predict",
        response_model=PictureAnswer,
        response_model_exclude_unset=True,
        responses=refusals,
        openapi_extra={"requestBody": _BODY},
        summary="Find the faces of a picture and estimate their ages and genders",
    )
    async def predict(request: Request) -> dict[str, Any]:
        return await worker.run(describe, await read_picture(request, max_bytes))

    @router.get("/health", responses={403: refusals[403]}, summary="Whether the server runs, and how busy it is")
    async def health() -> HealthAnswer:
        return HealthAnswer(status="ok", waiting=worker.waiting)

    return router
