"""Bookkeeping for `debug_key_reuse`: which keys have been used.

A key is known by its words, so that two views of one key are one key. Only concrete keys are
followed: what happens inside `jit` or `vmap` is not. Making a key anew (from its seed, by
splitting, by `clone`) declares it unused again; that is how a run may be repeated.

The record is emptied when the setting changes, and holds the latest `CAPACITY` keys.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from typing import Any

from wengert import config, errors
from wengert.core.array import Array
from wengert.core.interpreter import location

#: How many used keys are remembered; the oldest are forgotten first.
CAPACITY = 1 << 16

_LOCK = threading.Lock()
#: (words, folded data or None) -> what used the key first, and where.
_USED: OrderedDict[tuple[bytes, int | None], str] = OrderedDict()
#: words -> the second parts of their entries above.
_ENTRIES: defaultdict[bytes, set[int | None]] = defaultdict(set)


def _forget() -> None:
    with _LOCK:
        _USED.clear()
        _ENTRIES.clear()


config.debug_key_reuse.on_change(_forget)


def consume(name: str, data: Any) -> None:
    """Note that a function used a single key up.

    Raises:
      KeyReuseError: when the key was used before.
    """
    if type(data) is Array:
        _use(name, data._value.tobytes(), None)


def fold(data: Any, word: Any) -> None:
    """Note that an integer was folded into a single key; each integer may be, once."""
    if type(data) is Array and type(word) is Array:
        _use("fold_in", data._value.tobytes(), int(word._value))


def renew(data: Any) -> None:
    """Note that keys were made, one or many: they are unused, whatever their words."""
    if type(data) is Array:
        with _LOCK:
            for row in data._value.reshape(-1, 2):
                words = row.tobytes()
                for folded in _ENTRIES.pop(words, ()):
                    del _USED[words, folded]


def _use(name: str, words: bytes, folded: int | None) -> None:
    where = location()
    with _LOCK:
        before = _USED.get((words, folded))
        if before is None:
            _USED[words, folded] = f"{name}{_at(where)}"
            _ENTRIES[words].add(folded)
            if len(_USED) > CAPACITY:
                _drop_oldest()
            return
    again = "" if folded is None else f" with the same data, {folded},"
    raise errors.KeyReuseError(
        f"a random key is used a second time{again} by {name}{_at(where)}\n"
        f"  it was used before by {before}\n"
        "Both uses get the same random bits. Split the key first, key, subkey = split(key), and "
        "use each key once; random.clone(key) says that a repetition is meant."
    )


def _drop_oldest() -> None:
    (words, folded), _ = _USED.popitem(last=False)
    _ENTRIES[words].discard(folded)
    if not _ENTRIES[words]:
        del _ENTRIES[words]


def _at(where: Any) -> str:
    return f" at {where}" if where is not None else ""
