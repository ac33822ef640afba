"""The gate: whether a compiled call may be answered without asking Python.

Machine code that answers calls of jitted functions looks at one number in memory. It is zero,
and the gate open, unless something needs to see every call: a program is being traced (a call
becomes an equation of it), or a debug setting is on. While it is closed such calls take the
long way through Python, which knows what to do; so closing it too often costs time only.
"""

from __future__ import annotations

import ctypes
import os
import threading

from wengert import config


class Gate:
    """Counts the reasons for which it is closed; a context manager that closes it."""

    def __init__(self) -> None:
        self._count = ctypes.c_int64(0)
        self._lock = threading.Lock()
        #: Where the count lies.
        self.address = ctypes.addressof(self._count)

    @property
    def closed(self) -> bool:
        """Whether every call must be seen by Python."""
        return self._count.value != 0

    def add(self, reasons: int) -> None:
        """Note more (or, if negative, fewer) reasons to be closed."""
        with self._lock:
            self._count.value += reasons

    def __enter__(self) -> None:
        self.add(1)

    def __exit__(self, *error: object) -> None:
        self.add(-1)

    def after_fork(self) -> None:
        """A thread that held the lock does not exist in a child process."""
        self._lock = threading.Lock()


gate = Gate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gate.after_fork)


class _Reasons:
    """How many settings close the gate: those of the process, or those of one thread."""

    def __init__(self) -> None:
        self.count = 0

    def become(self, count: int) -> None:
        """Change their number."""
        gate.add(count - self.count)
        self.count = count


class _ThreadReasons(threading.local, _Reasons):
    """Settings that are on in a thread only, by `with`."""


_everywhere, _here = _Reasons(), _ThreadReasons()
_SETTINGS = (config.debug_nans, config.debug_key_reuse)


def _update() -> None:
    """Follow a change of a setting."""
    _everywhere.become(sum(s.process_value for s in _SETTINGS))
    _here.become(sum(s.value and not s.process_value for s in _SETTINGS))


for _setting in _SETTINGS:
    _setting.on_change(_update)
