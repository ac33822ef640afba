"""Ctrl-C in long programs, and the interpreter lock as machine code sees it.

A long program runs without the interpreter lock, so Python's signal handlers wait for its end.
`check` is what its outer loops call instead, as often as they like: it looks at a clock, and
about twenty times a second it takes the lock and lets Python run its handlers. The answer is 1
if an exception is pending then (`KeyboardInterrupt`); the program ends, and its caller returns
to Python, which raises it.

Handlers run in the main thread only; in any other, `check` costs a comparison. It must not be
called by a thread of the worker pool: these know no interpreter.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime.routine import Routine, build, once, shared

ir = lazy_module("llvmlite.ir")

_LIBC = ("clock_gettime", "pthread_self")
_PYTHON = ("PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals", "PyErr_Occurred")
#: Linux's coarse clock is read in 5 ns; its steps are milliseconds.
_CLOCK = 6 if sys.platform == "linux" else getattr(time, "CLOCK_MONOTONIC", 1)
_INTERVAL = 50_000_000


def _write(module: Any) -> None:
    word = ir.IntType(64)
    main, last = shared(module, "main", word, 8), shared(module, "last", word, 8)
    r = Routine(module, "set_main", ir.VoidType(), [word])
    r.store(r.args[0], main)
    r.give()
    r = Routine(module, "check", word, [])
    r.return_if(r.compare("!=", r.call("pthread_self", word), r.load(main)), 0)
    now = r.clock(_CLOCK)
    r.return_if(r.compare("<", r.builder.sub(now, r.load(last)), _INTERVAL), 0)
    r.store(now, last)
    integer = ir.IntType(32)
    lock = r.call("PyGILState_Ensure", integer)
    r.call("PyErr_CheckSignals", integer)
    pending = r.is_not_null(r.call("PyErr_Occurred", r.pointer))
    r.call("PyGILState_Release", ir.VoidType(), lock)
    r.give(r.builder.zext(pending, word))


@once
def _code() -> machine.LoadedCode:
    libc = ctypes.CDLL(None)
    symbols = {name: machine.function_address(getattr(libc, name)) for name in _LIBC}
    for name in _PYTHON:
        symbols[name] = machine.function_address(getattr(ctypes.pythonapi, name))
    code = build("interrupt", _write, symbols, ["check", "set_main"])
    set_main = code.function("set_main", ctypes.PYFUNCTYPE(None, ctypes.c_size_t))
    set_main(threading.main_thread().ident)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: set_main(threading.get_ident()))
    return code


def address(name: str) -> int:
    """Where machine code finds a routine: `check` (`i64()`, 1 if an exception is pending).

    >>> check = ctypes.CFUNCTYPE(ctypes.c_int64)(address("check"))
    >>> check()
    0
    """
    return _code().address(name)
