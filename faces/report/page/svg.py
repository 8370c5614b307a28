"""Figures as SVG inside an HTML page: text stays text, and the colours are those of the page, light or dark."""

import html
import io
import re
import warnings
from typing import Any

from faces.report.pictures.evaluation import BLUE, GREY, ORANGE

_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def _on_white(percent):
    """BLUE mixed into white as #rrggbb."""
    parts = (int(BLUE[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * percent / 100):02x}" for part in parts)


# Shades of a density, from few to many.
_TINTS = {
    _on_white(percent): f"color-mix(in srgb, var(--blue) {percent}%, var(--page))" for percent in range(12, 101, 11)
}
# Colour of a figure -> the page's.
_COLOURS = _TINTS | {
    "#000000": "currentColor",
    "#ffffff": "var(--page)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREY: "var(--muted)",
    "#b0b0b0": "var(--line)",
    "#cccccc": "var(--line)",
}


def inline_svg(figure: Any, *, name: str, label: str) -> str:
    """A matplotlib figure as an `<svg>` element that fills the width it is given.

    Args:
        figure: drawn with the colours of `faces.report.pictures.evaluation`.
        name: a word that no other figure of the page has; the element's ids begin with it.
        label: what a reader who cannot see the picture is told.

    Returns:
        str, HTML. Colours are the page's CSS variables --page, --line, --muted, --blue and --orange.
    """
    head, body = re.split(r"<svg ([^>]*)>", _svg(figure, name), maxsplit=1)[1:]
    view = re.findall(r'viewBox="[^"]*"', head)[0]
    body = re.sub(r"<style.*?</style>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<[^>]*>", lambda tag: _of_page(tag[0], name), body)
    return f'<svg class="plot" role="img" aria-label="{html.escape(label)}" {view}>{body}'


def shade(cells: Any) -> None:
    """Let a density be shown in shades of the page's blue, which stand out from a light and from a dark page."""
    from matplotlib.colors import ListedColormap

    cells.set_cmap(ListedColormap(list(_TINTS)))


def _of_page(tag, name):
    """A tag whose ids are no other picture's and whose colours are the page's."""
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", tag.replace("xlink:href", "href"))
    return re.sub("#[0-9a-f]{6}", lambda colour: _COLOURS.get(colour[0], colour[0]), tag)


def _svg(figure, name):
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # A letter that the fonts here lack is drawn by the reader's browser.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(text, format="svg", transparent=True, metadata=_METADATA)
    return text.getvalue()
