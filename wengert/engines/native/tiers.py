"""Quick code first, better code for what is called again.

LLVM takes three times as long for good machine code as for plain one, and much of what is
compiled runs once. So a program is compiled quickly at first. Its entry point counts; when the
second call begins it asks, through `tiers.ask`, for better code, which a thread makes in the
background. Callers find the entry point through a cell of memory, into which the better one is
written. Both give the same results bit by bit: nothing that LLVM does here changes arithmetic.

What takes long to run, such as loops over many iterations, is compiled well at once.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from typing import Any, Protocol

from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code
from wengert.engines.native.context import RAISED
from wengert.engines.native.runtime.python_calls import entry
from wengert.engines.native.symbols import provide

ir = lazy_module("llvmlite.ir")

#: The name of the counter that quick code exports.
COUNTER = "calls"


class Improvable(Protocol):
    """A program that can be compiled better."""

    def improve(self) -> None:
        """Compile it again, and let callers find that."""


def count_calls(code: Code) -> None:
    """Append, at an entry point's beginning, what asks for better code at the second call.

    A signal's handler may raise something while Python is asked; the program ends then.
    """
    builder = code.builder
    counter = ir.GlobalVariable(code.module, code.i64, COUNTER)
    counter.initializer = code.int64(0)
    counter.type = code.pointer_type
    calls = builder.load(counter, typ=code.i64)
    builder.store(builder.add(calls, code.int64(1)), counter)
    again = builder.icmp_signed("==", calls, code.int64(1))
    with builder.if_then(again, likely=False):
        given = [builder.ptrtoint(counter, code.i64), code.int64(0)]
        status = code.call("tiers.ask", code.i64, given)
        raised = builder.icmp_signed("!=", status, code.int64(0))
        code.context.leave_if(code, raised, RAISED)


_watched: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_makers: set[threading.Thread] = set()


def watch(counter: int, program: Improvable) -> None:
    """Improve a program when the code whose counter lies at an address asks for it."""
    _watched[counter] = program


def _ask(counter: int, _: int) -> None:
    program = _watched.pop(counter, None)
    if program is None:
        return
    # no daemon: LLVM must not be running when the process ends
    maker = threading.Thread(target=_improve, args=[program], name="wengert compiler")
    with suppress(RuntimeError):  # no new threads while the process ends
        _makers.add(maker)
        maker.start()


def _improve(program: Improvable) -> None:
    try:
        program.improve()
    finally:
        _makers.discard(threading.current_thread())


def wait() -> None:
    """Return when all better code that has been asked for is in use."""
    for maker in list(_makers):
        maker.join()


_entry = entry(_ask)
provide("tiers", lambda name: _entry())
