"""Calls of Python functions from machine code, as C calls them.

The code takes the interpreter lock and passes two integers. Whatever is raised, at whatever
point (a signal's handler may run before the function's first line), is the exception of the
thread from then on. The code hears of that, and must return to its caller, Python, without
running more of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime.routine import Routine, build, once, shared

ir = lazy_module("llvmlite.ir")

_PYTHON = ("PyGILState_Ensure", "PyGILState_Release", "PyObject_CallFunction", "Py_DecRef")


def _write(module: Any) -> None:
    target = shared(module, "target", ir.PointerType(), 8)
    word, pointer = ir.IntType(64), ir.PointerType()
    r = Routine(module, "set_target", ir.VoidType(), [pointer])
    r.store(r.args[0], target)
    r.give()
    r = Routine(module, "call", word, [word, word])
    lock = r.call("PyGILState_Ensure", ir.IntType(32))
    two_integers = r.variable(r.number(int.from_bytes(b"LL", "little")))
    given = r.load(target, type=pointer), two_integers, *r.args
    out = r.call("PyObject_CallFunction", pointer, *given, variadic=2)
    with r.builder.if_then(r.is_not_null(out)):
        r.call("Py_DecRef", ir.VoidType(), out)
    r.call("PyGILState_Release", ir.VoidType(), lock)
    r.give(r.builder.zext(r.is_null(out), word))


def entry(function: Callable[[int, int], None]) -> Callable[[], int]:
    """What makes, once, an `i64(i64, i64)` that calls a function: 1 if it raised.

    >>> seen = []
    >>> address = entry(lambda x, y: seen.append((x, y)))
    >>> call = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(address())
    >>> call(2, 3), seen
    (0, [(2, 3)])
    """

    @once
    def address() -> int:
        find = ctypes.pythonapi
        symbols = {name: machine.function_address(getattr(find, name)) for name in _PYTHON}
        code = build("python_calls", _write, symbols, ["call", "set_target"])
        set_target = code.function("set_target", ctypes.PYFUNCTYPE(None, ctypes.py_object))
        set_target(function)
        return code.address("call")

    return address
