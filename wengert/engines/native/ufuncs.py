"""The inner loops of NumPy's and SciPy's ufuncs, as C functions of the process.

A ufunc holds, for every combination of dtypes it knows, a C function that computes a run of
elements and a pointer that goes with it: `void loop(char **args, npy_intp *sizes, npy_intp
*strides, void *data)`. They need no interpreter lock. Machine code calls the very loops that
the eager engine uses, so that both agree to the last bit.

Names are `module.ufunc.characters`, the dtype characters of operands and result, or with
`.data` appended the pointer: `special.gammaln.dd`, `numpy.exp.DD.data`. Offsets are those of
`PyUFuncObject` in NumPy's public header `ufuncobject.h`.

>>> address("numpy.exp.DD") != 0
True
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module

special = lazy_module("scipy.special")
private = lazy_module("scipy.special._ufuncs")

_MODULES: dict[str, Any] = {"numpy": np, "special": special}

#: After the head of an object: four ints, two tables of pointers, and the number of loops.
_HEAD = object.__basicsize__
_FUNCTIONS, _DATA, _COUNT = _HEAD + 16, _HEAD + 24, _HEAD + 32


def _ufunc(module: str, name: str) -> Any:
    if (module, name) == ("special", "zeta"):  # whose public name is a Python function
        return private._zeta
    return getattr(_MODULES[module], name)


def _entry(ufunc: Any, offset: int, row: int) -> int:
    table = ctypes.c_void_p.from_address(id(ufunc) + offset).value
    return ctypes.c_void_p.from_address(table + 8 * row).value or 0 if table else 0


def address(name: str) -> int:
    """The address of a loop, or of what goes with it."""
    module, ufunc_name, characters, *data = name.split(".")
    ufunc = _ufunc(module, ufunc_name)
    count = ctypes.c_int.from_address(id(ufunc) + _COUNT).value
    known = [types.replace("->", "") for types in ufunc.types[:count]]
    return _entry(ufunc, _DATA if data else _FUNCTIONS, known.index(characters))
