"""The local web page and its HTTP endpoint; its packages (gradio, FastAPI, uvicorn) load only when it is asked for."""

from keras_impl.web.server import build_app, serve

__all__ = ["build_app", "serve"]
