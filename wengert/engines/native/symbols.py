"""Addresses of what machine code calls: BLAS, LAPACK, loops of ufuncs, the runtime, callbacks.

Code names a function by a *symbol*, `family.name`; `address` finds it in the running process.
Object code on disk therefore holds no address, and the same file serves every process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from wengert.core.lazy import lazy_extension
from wengert.engines.native import ufuncs
from wengert.engines.native.library import gemm
from wengert.engines.native.math import huge
from wengert.engines.native.runtime import (
    blas_threads,
    checkpoints,
    interrupt,
    memory,
    pool,
)

cython_blas = lazy_extension("scipy", "linalg.cython_blas")
cython_lapack = lazy_extension("scipy", "linalg.cython_lapack")

_get_name = ctypes.pythonapi.PyCapsule_GetName
_get_name.restype, _get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def capsule_address(capsule: Any) -> int:
    """The address that a capsule holds."""
    return int(_get_pointer(capsule, _get_name(capsule)))


#: family -> how to find a name of it; the runtime's modules add theirs with `provide`.
_FAMILIES: dict[str, Callable[[str], int]] = {
    "blas": lambda name: capsule_address(cython_blas.__pyx_capi__[name]),
    "lapack": lambda name: capsule_address(cython_lapack.__pyx_capi__[name]),
    "libc": lambda name: _process_address(name),
    "python": lambda name: _python_address(name),
    "pool": pool.address,
    "memory": memory.address,
    "checkpoints": checkpoints.address,
    "blas_threads": blas_threads.address,
    "interrupt": interrupt.address,
    "gemm": gemm.address,
    "ufunc": ufuncs.address,
    "math": huge.address,
}


def _process_address(name: str) -> int:
    return int(ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0)


def _python_address(name: str) -> int:
    return int(ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0)


def provide(family: str, find: Callable[[str], int]) -> None:
    """Say how the symbols of a family are found."""
    _FAMILIES[family] = find


@cache
def address(symbol: str) -> int:
    """The address of `family.name` in this process.

    >>> address("blas.sgemm") != 0
    True
    """
    family, _, name = symbol.partition(".")
    return _FAMILIES[family](name)
