"""Our own matrix products: calls of routines that are made once per machine.

The routines are in `gemm_code`. They take sizes and strides as arguments, so a program that
calls them has little code of its own for a product; object code of the routines is kept on
disk. They are for real numbers and matrices of some rows and columns; the rest is BLAS's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native import cache as disk
from wengert.engines.native import machine
from wengert.engines.native.code import Code
from wengert.engines.native.context import Context
from wengert.engines.native.library.gemm_code import Layout, Writer
from wengert.engines.native.library.layout import Matrices
from wengert.engines.native.runtime import pool

ir = lazy_module("llvmlite.ir")

#: Routines by dtype.
NAMES = {"float32": "s", "float64": "d"}
#: Rows and columns that a product has at least; narrower ones are read once, by BLAS.
_LEAST_ROWS, _LEAST_COLUMNS = 6, 16
#: Sizes and strides from which BLAS, which takes them as 32-bit integers, cannot multiply.
_LARGE = 1 << 31


def suits(shape: Matrices, dtype: DType) -> bool:
    """Whether a product is one for these routines."""
    real = dtypes.is_floating(dtype) and dtype.name in NAMES
    wide = shape.m >= _LEAST_ROWS and shape.n >= _LEAST_COLUMNS
    return real and (wide or not fits_blas(shape))


def fits_blas(shape: Matrices) -> bool:
    """Whether BLAS can take the sizes and strides of a product."""
    return max(shape) < _LARGE


def packed_bytes(shape: Matrices, dtype: DType) -> int:
    """Memory that a product needs beside its operands."""
    return Layout(machine.Target.host(), dtype).packed_bytes(shape.n, shape.k)


def emit_gemm(
    code: Code,
    pointers: tuple[Any, Any, Any],
    packed: Any,
    shape: Matrices,
    dtype: DType,
    threads: bool,
    adds: Any = None,
) -> None:
    """Append `c = a @ b`.

    Args:
      pointers: to a, b and c.
      packed: to `packed_bytes` bytes.
      threads: whether it may be shared; not in code that is part of a split already.
      adds: a 64-bit LLVM value: not 0 where the product is added to `c`; by default it is not.
    """
    strides = (shape.a_row, shape.a_column, shape.b_row, shape.b_column, shape.c_row)
    numbers = [shape.m, shape.n, shape.k, *(dtype.itemsize * s for s in strides)]
    adds = code.int64(0) if adds is None else adds
    name = f"gemm.{NAMES[dtype.name]}{'_threads' if threads else ''}"
    code.call(name, ir.VoidType(), [*pointers, packed, *map(code.int64, numbers), adds])


@cache
def _routines(dtype: str) -> machine.LoadedCode:
    target, name = machine.Target.host(), NAMES[dtype]
    key = disk.key("gemm", dtype, target)
    code = disk.lookup(key)
    if code is None:
        module = ir.Module("gemm")
        Writer(Context(module, target), np.dtype(dtype), name)
        code = machine.optimise_and_emit(module, target, level=1)
        disk.store(key, code)
    symbols = {"pool.parallel_for": pool.address("parallel_for")}
    loaded = machine.load(code, symbols, [name, f"{name}_threads"])
    loaded.keep_for_ever()
    return loaded


def address(name: str) -> int:
    """Where machine code finds a routine.

    >>> address("s") != 0
    True
    """
    dtype = next(dtype for dtype, letter in NAMES.items() if letter == name[0])
    return _routines(dtype).address(name)
