"""The data sets: one reader file each, all of them in the dict `DATASETS`.

A reader is `read(root, **options) -> (table, rejected)`. `table` has the columns of `faces.labels.TABLE_COLUMNS` that
the data set knows, `img_path` relative to `root`, and for whole pictures `x1, y1, x2, y2`, the face box in pixels;
`rejected` has `img_path` and `reason`, the kind of reason before a colon. Every image or row found is in exactly one of
the two. A reader module ends with its data card, a `DataSet`, by which it is found here: a new file is all it takes.
"""

from importlib import import_module
from pkgutil import iter_modules

from faces.datasets.card import DataSet
from faces.registry import Registry

__all__ = ["DATASETS", "DataSet"]


def _read_cards() -> dict[str, DataSet]:
    """The data cards of all modules of this folder, by name."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    cards = [value for module in modules for value in vars(module).values() if isinstance(value, DataSet)]
    return {card.name: card for card in sorted(cards, key=lambda card: card.name)}


DATASETS = Registry("data set", _read_cards())
