"""Memory for results and scratch: aligned blocks that are used again.

Fresh pages cost 0.1 to 0.2 ms a megabyte, most of the time of a simple kernel; so freed blocks
wait here, in lists by size, for the next request. Blocks are aligned to 64 bytes, those of
4 MiB and more ask for huge pages, and at most a sixteenth of the machine's memory (1 GiB at
most) waits: beyond that, the blocks that have waited longest go back to the system.

Machine code calls `allocate(nbytes) -> ptr`, `release(ptr)` and `new_array`, which has the
signature of `PyArray_NewFromDescr` and returns an array that *owns* such a block through
NumPy's protocol for allocators (NEP 49, M. Picus, 2021): it is resized, copied, pickled and
freed like any other. Arrays below 4 KiB are NumPy's own. `allocate` and `release` need no
interpreter lock.

>>> import numpy as np
>>> array = empty((1000, 1000), np.float32)
>>> array.flags.owndata, array.ctypes.data % 64
(True, 0)
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime import memory_code
from wengert.engines.native.runtime.routine import once

_umath = lazy_module("numpy._core._multiarray_umath")

_CAPSULE_NAME = ctypes.c_char_p(b"mem_handler")
#: Fields of `PyArray_Descr` and `PyArrayObject` in the C interface of NumPy 2.
_NEW_FROM_DESCR, _ARRAY_TYPE = 94, 2
_SHARE, _MOST = 16, 1 << 30


class Statistics(NamedTuple):
    """What the allocator holds.

    Attributes:
      live_blocks: blocks in use.
      live_bytes: their bytes.
      waiting_bytes: bytes of freed blocks that wait for a request.
      fresh: how many blocks came from the system so far.
      reused: how many requests were met by a waiting block.
      dropped: how many blocks went back to the system.
    """

    live_blocks: int
    live_bytes: int
    waiting_bytes: int
    fresh: int
    reused: int
    dropped: int


def _numpy_function(index: int) -> int:
    """An entry of the table of NumPy's C interface."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(_umath._ARRAY_API, None)
    return int(ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))[index] or 0)


def _symbols() -> dict[str, int]:
    libc = ctypes.CDLL(None)
    found = {
        name: machine.function_address(getattr(libc, name))
        for name in memory_code.LIBC
        if hasattr(libc, name)
    }
    for name in memory_code.PYTHON:
        found[name] = machine.function_address(getattr(ctypes.pythonapi, name))
    found["numpy.new_from_descr"] = _numpy_function(_NEW_FROM_DESCR)
    return found


@once
def _code() -> machine.LoadedCode:
    """The allocator, started."""
    code = memory_code.build(_symbols())
    _function(code, "set_limit", None, ctypes.c_size_t)(default_limit())
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    handler = new(code.address("handler"), _CAPSULE_NAME, None)
    # Arrays hold references too; this one is never given back.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handler))
    _function(code, "set_capsule", None, ctypes.py_object)(handler)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_function(code, "after_fork", None))
    return code


@cache
def _function(code: machine.LoadedCode, name: str, result: Any, *params: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *params)(code.address(name))


def default_limit() -> int:
    """How many bytes of freed blocks may wait."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(pages // _SHARE, _MOST) if pages > 0 else _MOST


def address(name: str) -> int:
    """Where machine code finds a routine.

    Args:
      name: `allocate` (`ptr(i64 nbytes)`, null if there is no memory), `release` (`void(ptr)`),
        `new_array` (as `PyArray_NewFromDescr`; needs the interpreter lock) or
        `capsule_release` (a destructor for capsules whose pointer is such a block).

    >>> address("allocate") != address("release")
    True
    """
    return _code().address(name)


def allocate(nbytes: int) -> int:
    """The address of a block, aligned to 64 bytes; 0 if there is none."""
    return int(_function(_code(), "allocate", ctypes.c_void_p, ctypes.c_size_t)(nbytes) or 0)


def release(block: int) -> None:
    """Give a block back; 0 is no block."""
    _function(_code(), "release", None, ctypes.c_void_p)(block)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised array as compiled programs return them.

    >>> empty((), float).shape
    ()
    """
    py_object, pointer = ctypes.py_object, ctypes.c_void_p
    new = _function(
        _code(), "new_array", py_object, py_object, py_object, ctypes.c_int, pointer, pointer,
        pointer, ctypes.c_int, pointer,
    )  # fmt: skip
    descriptor = np.dtype(dtype)
    ctypes.pythonapi.Py_IncRef(py_object(descriptor))  # the call takes it
    dimensions = (ctypes.c_ssize_t * max(len(shape), 1))(*shape)
    return new(np.ndarray, descriptor, len(shape), dimensions, None, None, 0, None)


def stats() -> Statistics:
    """What the allocator holds now.

    >>> stats().waiting_bytes <= default_limit()
    True
    """
    words = (ctypes.c_int64 * len(Statistics._fields))()
    _function(_code(), "statistics", None, ctypes.c_void_p)(words)
    return Statistics(*words)


def set_limit(nbytes: int) -> None:
    """Let at most so many bytes of freed blocks wait, from now on."""
    _function(_code(), "set_limit", None, ctypes.c_size_t)(nbytes)


def drop_waiting() -> None:
    """Give all blocks that wait back to the system.

    >>> drop_waiting()
    >>> stats().waiting_bytes
    0
    """
    _function(_code(), "drop_waiting", None)()
