"""What a user reads while the program works, and where it goes.

- `print` tells what the command was asked for, and how far it is, on standard output. Where rows of a table go to
  standard output, `predict.py` tells it on standard error.
- A progress bar goes to standard error, and only to a terminal. Where none watches, what takes many minutes tells a
  line a minute on standard output: `progress_line`.
- `logging` tells, as a warning, what may be wrong while the work goes on: images that cannot be read, ages that the
  loss clips. In the server it also keeps the traceback of a request that failed.
- What ends the program is a `UserError`; `faces.startup.run_main` prints it.

Library code below `faces/` prints nothing else. `tests/test_structure.py` names the modules that print.
"""

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 60.0  # between two lines of what goes on


def progress_bar(
    items: Iterable[Any] | None = None, name: str = "", *, total: int | None = None, shown: bool | None = None
) -> tqdm:
    """A progress bar over items, or over `total` of them, which the caller counts with `update`.

    Args:
        items: what is iterated over.
        name: of the items, before the bar.
        total: their number, where `items` has no length.
        shown: True or False shows or hides the bar; None shows it on a terminal only.
    """
    return tqdm(items, name, total=total, disable=None if shown is None else not shown, unit="")


def progress_line(text: str) -> None:
    """A line on standard output that is seen at once, also where it is a file."""
    print(text, flush=True)


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
