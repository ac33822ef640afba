"""The settings: at most six, each readable, settable, and a context manager.

>>> import wengert
>>> with wengert.config.debug_nans(True):
...     wengert.config.debug_nans.value
True
>>> wengert.config.debug_nans.value
False

A setting changed with `set` holds for the whole process from then on (`debug_nans` for the
thread that changed it and for threads that start later; a transformation that has begun ends as
it began). One changed by `with` holds for its thread until the block ends (`threads` for all
threads, which share one pool of workers).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Setting(Generic[T]):
    """One setting.

    Attributes:
      name: as in `wengert.config`.
      meaning: one sentence.
    """

    def __init__(self, name: str, value: T, meaning: str) -> None:
        self.name = name
        self.meaning = meaning
        self._value = value
        self._override = threading.local()  # its attribute `value` exists inside `with` blocks
        self._listeners: list[Callable[[], None]] = []

    @property
    def value(self) -> T:
        """What the setting is now, in this thread."""
        return getattr(self._override, "value", self._value)

    @property
    def process_value(self) -> T:
        """What the setting is where no `with` block changes it."""
        return self._value

    def set(self, value: T) -> None:
        """Change the setting until further notice."""
        self._value = value
        self._changed()

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the changing thread after every change."""
        self._listeners.append(listener)

    @contextmanager
    def __call__(self, value: T) -> Iterator[None]:
        """The setting with another value, inside a `with` block."""
        before = dict(self._override.__dict__)
        self._override.value = value
        self._changed()
        try:
            yield
        finally:
            self._override.__dict__.clear()
            self._override.__dict__.update(before)
            self._changed()

    def __repr__(self) -> str:
        return f"{self.name} = {self.value!r}  ({self.meaning})"


debug_nans = Setting("debug_nans", False, "raise an error at the first NaN, with its line")
debug_key_reuse = Setting("debug_key_reuse", False, "raise an error when a key is used twice")
memory_budget = Setting(
    "memory_budget", 1 << 30, "bytes that a chunk of a Jacobian may take with chunk_size='auto'"
)
threads = Setting("threads", 0, "how many threads a compiled loop may use; 0: all processors")
explain_misses = Setting(
    "explain_misses", False, "warn, once per cause, when a jitted function is compiled again"
)

SETTINGS: tuple[Setting[bool] | Setting[int], ...] = (
    debug_nans,
    debug_key_reuse,
    memory_budget,
    threads,
    explain_misses,
)
