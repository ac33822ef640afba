"""Bookkeeping for `debug_key_reuse`: which keys have been used.

A key is known by its words, so that two views of one key are one key. Only concrete keys are
followed: what happens inside `jit` or `vmap` is not. Making a key anew (from its seed, by
splitting, by `clone`) declares it unused again; that is how a run may be repeated.

Every thread has a record of its own. It is emptied when the setting changes there, and holds
the latest `CAPACITY` uses.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from typing import Any

from wengert import config, errors
from wengert.core.array import Array
from wengert.core.interpreter import location

#: How many uses are remembered; the oldest are forgotten first.
CAPACITY = 1 << 16


class Record(threading.local):
    """What has been used in this thread.

    Attributes:
      used: (words, folded data or None) -> what used the key first, and where.
      entries: words -> the second parts of their entries in `used`.
    """

    def __init__(self) -> None:
        self.used: OrderedDict[tuple[bytes, int | None], str] = OrderedDict()
        self.entries: defaultdict[bytes, set[int | None]] = defaultdict(set)

    def add(self, words: bytes, folded: int | None, what: str) -> None:
        """Note a use; the oldest one gives way."""
        self.used[words, folded] = what
        self.entries[words].add(folded)
        if len(self.used) > CAPACITY:
            (oldest, part), _ = self.used.popitem(last=False)
            self.entries[oldest].discard(part)
            if not self.entries[oldest]:
                del self.entries[oldest]

    def drop(self, words: bytes) -> None:
        """Forget all uses of a key."""
        for folded in self.entries.pop(words, ()):
            del self.used[words, folded]

    def clear(self) -> None:
        """Forget everything."""
        self.used.clear()
        self.entries.clear()


record = Record()
config.debug_key_reuse.on_change(record.clear)


def consume(name: str, data: Any) -> None:
    """Note that a function used a single key up.

    Raises:
      KeyReuseError: when the key was used before.
    """
    if type(data) is Array:
        _use(name, data._value.tobytes(), None)


def fold(data: Any, word: Any) -> None:
    """Note that an integer was folded into a single key; each integer may be, once.

    Raises:
      KeyReuseError: when it was before.
    """
    if type(data) is Array and type(word) is Array:
        _use("fold_in", data._value.tobytes(), int(word._value))


def renew(data: Any) -> None:
    """Note that keys were made, one or many: they are unused, whatever their words."""
    if type(data) is Array:
        for row in data._value.reshape(-1, 2):
            record.drop(row.tobytes())


def _use(name: str, words: bytes, folded: int | None) -> None:
    where = location()
    use = f"{name} at {where}" if where is not None else name
    before = record.used.get((words, folded))
    if before is None:
        record.add(words, folded, use)
        return
    again = "" if folded is None else f" with the same data, {folded},"
    raise errors.KeyReuseError(
        f"a random key is used a second time{again} by {use}\n"
        f"  it was used before by {before}\n"
        "Both uses get the same random bits. Split the key first, key, subkey = split(key), "
        "and use each key once; random.clone(key) says that a repetition is meant."
    )
