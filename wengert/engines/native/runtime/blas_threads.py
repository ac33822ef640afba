"""One thread at a time for BLAS: the engine splits products over its own threads.

OpenBLAS has threads of its own, which wait for work by spinning. Two pools on the same
processors keep each other from working; on a busy machine a product can take a hundred times
longer. So machine code calls `enter` before calls of BLAS and `leave` after them. While any
program is in between, the library of SciPy runs in the thread that calls it; afterwards it has
as many threads as before: in a forked process at once, since the calls of other threads do not
end there. Where the library is not OpenBLAS both do nothing.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from wengert.core.lazy import lazy_extension, lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime.routine import Routine, build, once, shared

ir = lazy_module("llvmlite.ir")
cython_blas = lazy_extension("scipy", "linalg.cython_blas")

_PREFIXES = ("scipy_openblas", "openblas")


@cache
def _library() -> tuple[int, int] | None:
    """Addresses of the functions that read and set the number of threads, if there are any."""
    package = Path(cython_blas.__file__).parents[2]
    folders = [package / "scipy.libs", package / "scipy" / ".dylibs"]
    for file in (f for folder in folders for f in sorted(folder.glob("*openblas*"))):
        library = ctypes.CDLL(str(file))  # it is loaded already: this finds it
        for prefix in _PREFIXES:
            names = [f"{prefix}_{verb}_num_threads" for verb in ("get", "set")]
            if all(hasattr(library, name) for name in names):
                get, put = (machine.function_address(getattr(library, n)) for n in names)
                return get, put
    return None


def available() -> bool:
    """Whether BLAS can be told to use one thread."""
    return _library() is not None


def _write(module: Any) -> None:
    word, integer = ir.IntType(64), ir.IntType(32)
    lock, count, before = (shared(module, name, word) for name in ("lock", "count", "before"))
    for name, step in (("enter", 1), ("leave", -1)):
        r = Routine(module, name, ir.VoidType(), [])
        _acquire(r, lock)
        inside = r.load(count)
        r.store(r.builder.add(inside, r.number(step)), count)
        alone = r.compare("==", inside, 0 if step > 0 else 1)
        with r.builder.if_then(alone):
            if step > 0:
                r.store(r.builder.zext(r.call("get_num_threads", integer), word), before)
                r.call("set_num_threads", ir.VoidType(), r.number(1, 32))
            else:
                _restore(r, before)
        r.release(0, lock)
        r.give()
    r = Routine(module, "after_fork", ir.VoidType(), [])
    with r.builder.if_then(r.compare("!=", r.load(count), 0)):
        _restore(r, before)
    r.store(0, count)
    r.release(0, lock)
    r.give()


def _restore(r: Routine, before: Any) -> None:
    many = r.builder.trunc(r.load(before), ir.IntType(32))
    r.call("set_num_threads", ir.VoidType(), many)


def _acquire(r: Routine, lock: Any) -> None:
    """Wait until nobody else has the lock; it is held for some instructions only."""
    again, held = r.builder.append_basic_block("wait"), r.builder.append_basic_block("held")
    r.builder.branch(again)
    r.builder.position_at_end(again)
    r.builder.cbranch(r.exchange(lock, 0, 1), held, again)
    r.builder.position_at_end(held)


@once
def _code() -> machine.LoadedCode:
    found = _library()
    assert found is not None
    symbols = dict(zip(("get_num_threads", "set_num_threads"), found, strict=True))
    code = build("blas threads", _write, symbols, ["enter", "leave", "after_fork"])
    if hasattr(os, "register_at_fork"):
        after_fork = code.function("after_fork", ctypes.PYFUNCTYPE(None))
        os.register_at_fork(after_in_child=after_fork)
    return code


def address(name: str) -> int:
    """Where machine code finds `enter` and `leave` (`void()`)."""
    return _code().address(name)
