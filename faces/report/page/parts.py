"""HTML of which report pages are made: escaped elements, tables, pictures, and numbers with their intervals."""

import base64
import html
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from faces.images import resize_rgb
from faces.report.groups import FEW
from faces.report.text import ends, shown

_VOID = {"br", "img"}
_THUMBNAIL = 112
_JPEG_QUALITY = 85


class Markup(str):
    """Text that is HTML already; any other text is escaped when it becomes part of an element."""

    __slots__ = ()


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """`<tag attribute="value">content</tag>`.

    Args:
        content: text, which is escaped, or Markup.
        attributes: text values, escaped; None leaves one out. `class_` is class, `aria_label` is aria-label.
    """
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    opening = f"<{tag}" + "".join(f' {name}="{html.escape(str(value))}"' for name, value in given.items()) + ">"
    return Markup(opening if tag in _VOID else f"{opening}{joined(content)}</{tag}>")


def joined(parts: Iterable[object]) -> Markup:
    """Parts one after the other; those that are no Markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(str(part)) for part in parts))


def anchor(title: str) -> str:
    """The id of the section under this heading."""
    return title.lower().replace(" ", "-")


def name(text: str) -> Markup:
    """A name that somebody else chose: it may be long, and run from right to left."""
    return element("bdi", text, class_="name")


def details(summary: str, *content: object) -> Markup:
    """Content that opens when its summary is clicked."""
    return element("details", element("summary", summary), *content)


# === Tables ===


def table(caption: str, header: Iterable[str], *bodies: Iterable[Markup]) -> Markup:
    """A table in a container of its own, which scrolls where the screen is narrower.

    Args:
        header: texts over the columns.
        bodies: lists of `table_row`s; each list is a block of the table.
    """
    head = element("tr", *(element("th", text, scope="col") for text in header))
    parts = [
        element("caption", element("span", caption)),
        element("thead", head),
        *(element("tbody", *rows) for rows in bodies),
    ]
    return element("div", element("table", *parts), class_="scroll", role="region", aria_label=caption, tabindex="0")


def block(title: str, width: int, rows: Iterable[Markup]) -> list[Markup]:
    """Rows of a table of `width` columns under a heading of their own."""
    return [element("tr", element("th", element("span", title), scope="rowgroup", colspan=width)), *rows]


def table_row(head: str, *cells: Markup) -> Markup:
    """A row named by its first cell; the others are `cell`s."""
    return element("tr", element("th", head, scope="row"), *cells)


def cell(content: object, few: bool = False) -> Markup:
    """One cell; few = made from so few images that it is shown muted."""
    return element("td", content, class_="few" if few else None)


def count(number: int, few: bool) -> str:
    """A number of images, with a word where they are few."""
    return joined([f"{number} ", element("abbr", "few", title=f"fewer than {FEW} images")]) if few else str(number)


# === Numbers ===


def with_interval(metric: Mapping[str, float], template: str) -> Markup:
    """A metric's value and below it its interval."""
    parts = [shown(metric["value"], template)]
    if np.isfinite(metric["low"]):
        parts.append(element("span", ends(metric, template), class_="interval"))
    return joined(parts)


# === Pictures ===


def picture(svg: str, caption: str) -> Markup:
    """An inline SVG with its caption."""
    return element("figure", Markup(svg), element("figcaption", caption))


def thumbnail(face: np.ndarray, text: str) -> Markup:
    """The middle square of a face, uint8 RGB (h, w, 3), as a JPEG inside the page, at most 112 pixels wide."""
    side = min(face.shape[:2])
    top, left = ((length - side) // 2 for length in face.shape[:2])
    small = resize_rgb(face[top : top + side, left : left + side], min(side, _THUMBNAIL))
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    source = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
    return element("img", src=source, alt=text, width=_THUMBNAIL, height=_THUMBNAIL)
