"""The page: one template, its style and its script. A picture that is sent to it comes back with its faces."""

from functools import partial
from pathlib import Path

import jinja2
import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from faces.photos.estimates import FaceEstimate
from keras_impl.web.answer import ModelFacts
from keras_impl.web.refusals import Refused
from keras_impl.web.result import Result
from keras_impl.web.uploads import FIELD, read_picture
from keras_impl.web.worker import PhotoWorker

TITLE = "Age and gender of faces"
NO_FACE = "No face was found in this picture. Try one where a face is larger, upright and turned to the camera."

_FOLDER = Path(__file__).parent
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def make_router(worker: PhotoWorker, facts: ModelFacts, *, max_bytes: int, local: bool) -> APIRouter:
    """The routes of the page.

    Args:
        worker: looks at the pictures.
        facts: what is told of the model.
        max_bytes: of one picture.
        local: whether the server listens to this computer only.
    """
    router = APIRouter(include_in_schema=False)
    render = partial(render_page, facts, max_bytes=max_bytes, local=local)

    def show(image: np.ndarray, estimates: list[FaceEstimate]) -> str:
        return render(result=Result.of(image, estimates, facts)) if estimates else render(NO_FACE)

    @router.api_route("/", methods=["GET", "POST"])
    async def page(request: Request) -> Response:
        if request.method == "GET":
            return HTMLResponse(render())
        try:
            return HTMLResponse(await worker.run(show, await read_picture(request, max_bytes)))
        except Refused as refusal:
            return HTMLResponse(render(refusal.detail), refusal.status_code, refusal.headers)

    @router.get("/page.css")
    async def style() -> Response:
        return FileResponse(_FOLDER / "page.css", media_type="text/css")

    @router.get("/page.js")
    async def script() -> Response:
        return FileResponse(_FOLDER / "page.js", media_type="text/javascript")

    return router


def render_page(
    facts: ModelFacts, sentence: str = "", result: Result | None = None, *, max_bytes: int, local: bool
) -> str:
    """HTML of the page, which is well-formed XML too.

    Args:
        facts: what is told of the model.
        sentence: why there is no result, empty before a picture was sent.
        result: the faces of a picture, at least one.
        max_bytes: of one picture.
        local: whether the server listens to this computer only.
    """
    return _TEMPLATES.get_template("page.html").render(
        title=TITLE, field=FIELD, facts=facts, sentence=sentence, result=result, max_bytes=max_bytes, local=local
    )
