"""What comes next, read by threads while what came before is used."""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

MAX_AHEAD = 256  # items read and not yet used
MAX_AHEAD_BYTES = 256 * 2**20


class ReadAhead:
    """Items with what `read(item)` gives for each, in order; threads read the next ones while these are used.

    Args:
        items: iterable; it may block.
        read: fn(item) -> (array or None, anything), which raises nothing.
        workers: number of threads, by default one a processor.
        max_items: how many may be read and not yet taken.
        max_bytes: the same of their arrays; each thread may hold one array more.
    """

    END, LATE = object(), object()

    def __init__(
        self,
        items: Iterable[Any],
        read: Callable[[Any], tuple[np.ndarray | None, Any]],
        *,
        workers: int | None = None,
        max_items: int = MAX_AHEAD,
        max_bytes: int = MAX_AHEAD_BYTES,
    ) -> None:
        self._items, self._read = iter(items), read
        self._max_items, self._max_bytes = max_items, max_bytes
        self._asking = threading.Lock()  # held while the next item is awaited
        self._changed = threading.Condition()
        self._results: dict[int, tuple[Any, Any]] = {}  # number of the item -> (item, result of read)
        self._asked = self._taken = self._bytes = 0
        self._over = False
        self._failure: Exception | None = None
        for _ in range(workers or os.cpu_count() or 1):
            # A thread that waits for an item which never comes must not keep the program from ending.
            threading.Thread(target=self._work, daemon=True).start()

    def take(self, timeout: float | None = None) -> Any:
        """(item, result) of the next item; LATE if there is none after `timeout` seconds, END after the last."""
        with self._changed:
            if not self._changed.wait_for(self._can_answer, timeout):
                return self.LATE
            if self._taken not in self._results:
                return self.END
            item, result = self._results.pop(self._taken)
            self._taken += 1
            self._bytes -= _size(result)
            self._changed.notify_all()
        return item, result

    def check(self) -> None:
        """Raise what iterating over the items raised, if anything; to be asked at the END."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Read no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _can_answer(self):
        return self._taken in self._results or (self._over and self._taken == self._asked)

    def _has_room(self):
        return self._over or (self._asked - self._taken < self._max_items and self._bytes < self._max_bytes)

    def _work(self):
        while (task := self._ask()) is not None:
            number, item = task
            result = self._read(item)
            with self._changed:
                self._results[number] = item, result
                self._bytes += _size(result)
                self._changed.notify_all()

    def _ask(self):
        """(number, item) of the next item, None after the last."""
        with self._asking:
            with self._changed:
                self._changed.wait_for(self._has_room)
                if self._over:
                    return None
            try:
                item = next(self._items)
            except Exception as error:
                self._failure = None if isinstance(error, StopIteration) else error
                self.close()
                return None
            self._asked += 1
            return self._asked - 1, item


def _size(result):
    return 0 if result[0] is None else result[0].nbytes
