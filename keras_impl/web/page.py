"""The page: gradio's picture input in front of the prediction, with the picture kept in memory only."""

import json
from functools import partial
from pathlib import Path

import gradio as gr
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from faces.report.page.parts import element, joined
from keras_impl.web.index import TITLE
from keras_impl.web.refusals import Refused
from keras_impl.web.result import count_faces, paragraph, show_faces
from keras_impl.web.uploads import read_picture

NO_FACE = "No face was found in this picture. Try one where a face is larger, upright and turned to the camera."
GONE = "That picture was dropped in the meantime. Please choose it again."
LOOKING = "Looking for faces …"
EMPTY = element("p", "The faces and their ages appear here.", class_="note")
MIN_COLUMN = 320  # pixels; on a narrower screen the columns follow each other

_FOLDER = Path(__file__).parent
# Of the reader's machine; a name alone would be taken for one of Google's.
_FONTS = [gr.themes.Font(name) for name in ("system-ui", "sans-serif")]
_FONTS_OF_CODE = [gr.themes.Font(name) for name in ("ui-monospace", "monospace")]
# Stands for a moment where gradio would show the picture again.
_BLANK = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'


def build_page(worker, uploads, facts, *, max_bytes, local):
    """gradio Blocks of the page.

    Args:
        worker: PhotoWorker. uploads: Uploads. facts: ModelFacts. max_bytes: of one picture.
        local: whether the server listens to this computer only.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        _text(_header(max_bytes), "top")
        with gr.Row():
            with gr.Column(min_width=MIN_COLUMN):
                picture = _make_input(uploads)
                status = _text("", "status")
            with gr.Column(min_width=MIN_COLUMN):
                result = _text(EMPTY, "result")
        _text(_footer(facts, local), "about")
        hidden = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        looking = f"() => {json.dumps([paragraph(LOOKING), EMPTY])}"
        picture.input(None, None, [status, result], js=looking, **hidden)
        picture.input(
            partial(_answer, worker, uploads, facts),
            picture,
            [picture, status, result],
            trigger_mode="multiple",
            **hidden,
        )
    # A session keeps its last answer, and none is ever asked for again.
    blocks.state_session_capacity = 1
    return blocks


def _make_input(uploads):
    picture = gr.Image(
        sources=["upload", "webcam", "clipboard"],
        label="Picture",
        show_label=False,
        buttons=[],
        webcam_options=gr.WebcamOptions(mirror=False),
        placeholder="Drop a picture here\nor choose a file",
        elem_id="picture",
    )
    _keep_in_memory(picture, uploads)
    return picture


def _keep_in_memory(picture, uploads):
    """Let the value of a gr.Image be a token of `uploads`; gradio would copy or fetch whatever a client names.

    gradio writes a stub file next to the source of any class derived from a component, so the instance is changed.
    """

    async def accept(token):
        if token not in uploads:
            raise gr.Error(GONE, print_exception=False)
        return token

    picture.async_move_resource_to_block_cache = accept
    picture.preprocess = lambda payload: None if payload is None else payload.path
    # gradio's examples are pictures of another site.
    picture.example_payload = picture.example_value = lambda: None


def _text(content, elem_id):
    return gr.HTML(content, elem_id=elem_id, apply_default_css=False, js_on_load=None)


async def _answer(worker, uploads, facts, token):
    """(no picture, sentence, HTML of the faces) for the picture with this token."""
    if token is None:
        return None, "", EMPTY
    try:
        data = uploads.take(token)
        if data is None:
            return None, paragraph(GONE), EMPTY
        sentence, shown = await worker.run(partial(_show, facts), data)
    except Refused as refusal:
        sentence, shown = refusal.detail, ""
    return None, paragraph(sentence), shown or EMPTY


def _show(facts, image, estimates):
    return (f"{count_faces(estimates)}.", show_faces(image, estimates, facts)) if estimates else (NO_FACE, "")


# === What stands around the picture ===


def _header(max_bytes):
    return joined(
        [
            element("h1", TITLE),
            element(
                "p",
                f"Drop or paste a picture, choose a file of up to {max_bytes / 1e6:g} MB, or use the camera.",
                class_="lead",
            ),
            element("p", id="notice", role="alert", data_max_bytes=max_bytes),
        ]
    )


def _footer(facts, local):
    where = "on this computer" if local else "on the computer that runs this program"
    trained = f" trained on {' and '.join(facts.trained_on)}" if facts.trained_on else ""
    terms = f" Terms of its data: {'; '.join(facts.licences)}." if facts.licences else ""
    return joined(
        [
            element("h2", "About"),
            element(
                "p", f"Pictures stay {where}: they are held in memory until the answer is there, and never stored."
            ),
            element("p", f"The model is a {facts.name}{trained}.{terms}"),
            element("p", "It estimates from looks alone and is often wrong. It must not decide about people."),
            element(
                "p", "Programs send pictures to ", element("code", "POST /api/predict"), ", described by ", _link(), "."
            ),
        ]
    )


def _link():
    return element("a", "openapi.json", href="openapi.json")


def make_head():
    """Style and script of the page."""
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return f"<style>\n{style}</style>\n<script>\n{script}</script>"


def make_theme():
    """gradio's plainest theme, with no font to fetch."""
    return gr.themes.Base(primary_hue="blue", font=_FONTS, font_mono=_FONTS_OF_CODE)


# === Routes that take the place of gradio's ===


def make_upload_router(uploads, *, max_bytes):
    """Routes by which gradio's script uploads a picture, as gradio's own do, but to memory."""
    router = APIRouter(prefix="/gradio_api", include_in_schema=False)

    @router.post("/upload")
    async def upload(request: Request):
        return [uploads.put(await read_picture(request, max_bytes, field="files"))]

    @router.get("/upload_progress")
    async def upload_progress():
        return StreamingResponse(iter(['data: {"msg": "done"}\n\n']), media_type="text/event-stream")

    @router.get("/file={token}")
    async def file(token: str):
        if token not in uploads:
            raise Refused(404, "There is nothing at this address.")
        return Response(_BLANK, media_type="image/svg+xml")

    return router
