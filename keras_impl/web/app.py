"""Page, endpoint and gate put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from keras_impl.photos import PhotoPredictor
from keras_impl.web import api, page
from keras_impl.web.answer import ModelFacts
from keras_impl.web.gate import LOOPBACK, Gate
from keras_impl.web.refusals import answer_invalid, answer_refusal
from keras_impl.web.worker import PhotoWorker


def build_app(photos: PhotoPredictor, *, max_upload_mb: float, host: str = "127.0.0.1") -> FastAPI:
    """The application of the page at / and the endpoint at /api.

    Args:
        photos: what finds faces and estimates their ages.
        max_upload_mb: megabytes (10^6 bytes) that a picture may have.
        host: address that the server listens at.
    """
    worker, facts, max_bytes = PhotoWorker(photos), ModelFacts.of(photos), round(max_upload_mb * 1e6)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    # FastAPI's pages of documentation would fetch their scripts from another site.
    app = FastAPI(title=page.TITLE, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    app.exception_handler(HTTPException)(answer_refusal)
    app.exception_handler(RequestValidationError)(answer_invalid)
    app.include_router(api.make_router(worker, facts, max_bytes=max_bytes))
    app.include_router(page.make_router(worker, facts, max_bytes=max_bytes, local=host in LOOPBACK))
    app.add_middleware(Gate, host=host, max_bytes=max_bytes)
    return app
