"""The local web page and its HTTP endpoint; its packages (FastAPI, Jinja2, uvicorn) load only when it is asked for."""

from keras_impl.web.server import serve

__all__ = ["serve"]
