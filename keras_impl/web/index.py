"""The HTML that gradio sends for the page, without what names other sites and with a title and an icon of its own."""

import html
import re

from starlette.datastructures import MutableHeaders

TITLE = "Age and gender of faces"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' "
    "fill='%232166ac'/%3E%3Cpath d='M5 6h1M10 6h1M5 10q3 3 6 0' stroke='white' fill='none'/%3E%3C/svg%3E"
)
_ADDED = (
    f"<title>{html.escape(TITLE)}</title>\n"
    f'<link rel="icon" href="{_ICON}">\n'
    "<noscript>This page needs JavaScript; POST /api/predict does not.</noscript>\n"
)
# Cards for social networks, and the description of an app to install, with gradio's pictures.
_REMOVED = re.compile(r'\s*<meta\s+(?:property|name)="(?:og|twitter):[^>]*>|\s*<link rel="manifest"[^>]*>')


def clean_index(text):
    """The HTML of the page from gradio's."""
    return _REMOVED.sub("", text).replace("<head>", f"<head>\n{_ADDED}", 1)


class CleanIndex:
    """ASGI middleware that sends `clean_index` of the page at /."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Hand on every other request as it is."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        plain = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, _rewritten(send))


def _rewritten(send):
    start, parts = None, []

    async def collect(message):
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        elif message["type"] != "http.response.body":
            await send(message)
        else:
            parts.append(message.get("body", b""))
            await end(message)

    async def end(message):
        if not message.get("more_body"):
            content = clean_index(b"".join(parts).decode()).encode()
            MutableHeaders(scope=start)["Content-Length"] = str(len(content))
            await send(start)
            await send({"type": "http.response.body", "body": content})

    return collect
