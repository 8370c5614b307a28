"""Page, endpoint and gate put together."""

from contextlib import asynccontextmanager

import gradio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from keras_impl.web import api, page
from keras_impl.web.answer import ModelFacts
from keras_impl.web.gate import LOOPBACK, Gate
from keras_impl.web.index import TITLE, CleanIndex
from keras_impl.web.refusals import answer_invalid, answer_refusal
from keras_impl.web.uploads import Uploads
from keras_impl.web.worker import PhotoWorker


def assemble(photos, *, max_bytes, host):
    """fastapi.FastAPI of the page at / and the endpoint at /api.

    Args:
        photos: `keras_impl.photos.PhotoPredictor`. max_bytes: of one picture. host: address that the server listens at.
    """
    worker, uploads, facts = PhotoWorker(photos), Uploads(), ModelFacts.of(photos)

    @asynccontextmanager
    async def lifespan(_):
        yield
        worker.close()

    # FastAPI's pages of documentation would fetch their scripts from another site.
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_exception_handler(HTTPException, answer_refusal)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.include_router(api.make_router(worker, facts, max_bytes=max_bytes))
    app.include_router(page.make_upload_router(uploads, max_bytes=max_bytes))
    blocks = page.build_page(worker, uploads, facts, max_bytes=max_bytes, local=host in LOOPBACK)
    gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=page.make_theme(),
        head=page.make_head(),
    )
    app.add_middleware(CleanIndex)
    app.add_middleware(Gate, host=host, max_bytes=max_bytes)
    return app
