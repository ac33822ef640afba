"""The settings: at most six, each readable, settable, and a context manager.

>>> import wengert
>>> with wengert.config.debug_nans(True):
...     wengert.config.debug_nans.value
True
>>> wengert.config.debug_nans.value
False

A setting changed with `set` holds for the whole process from then on (a thread that is already
inside a transformation finishes it as it began); one changed by `with` holds until the block
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Setting(Generic[T]):
    """One setting.

    Attributes:
      name: as in `wengert.config`.
      value: what it is now.
      meaning: one sentence.
    """

    def __init__(self, name: str, value: T, meaning: str) -> None:
        self.name = name
        self.value = value
        self.meaning = meaning
        self._listeners: list[Callable[[], None]] = []

    def set(self, value: T) -> None:
        """Change the setting until further notice."""
        self.value = value
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the changing thread after every change."""
        self._listeners.append(listener)

    @contextmanager
    def __call__(self, value: T) -> Iterator[None]:
        """The setting with another value, inside a `with` block."""
        before = self.value
        self.set(value)
        try:
            yield
        finally:
            self.set(before)

    def __repr__(self) -> str:
        return f"{self.name} = {self.value!r}  ({self.meaning})"


debug_nans = Setting("debug_nans", False, "raise an error at the first NaN, with its line")
debug_key_reuse = Setting("debug_key_reuse", False, "raise an error when a key is used twice")
memory_budget = Setting(
    "memory_budget", 1 << 30, "bytes that a chunk of a Jacobian may take with chunk_size='auto'"
)

SETTINGS: tuple[Setting[bool] | Setting[int], ...] = (
    debug_nans,
    debug_key_reuse,
    memory_budget,
)
