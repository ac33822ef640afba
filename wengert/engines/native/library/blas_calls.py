"""Calls of BLAS: `?gemm` and `?gemv` of the library that SciPy carries.

Fortran's routines take all arguments by reference and matrices column by column: a row-major
product `a @ b` is the column-major product `b @ a`. BLAS runs in the thread that calls it
(see `runtime.blas_threads`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code
from wengert.engines.native.library.layout import Matrices
from wengert.engines.native.runtime import blas_threads

ir = lazy_module("llvmlite.ir")

_LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


@contextmanager
def single_threaded(code: Code, needed: bool = True) -> Iterator[None]:
    """BLAS runs in the threads that call it, in the code inside."""
    needed = needed and blas_threads.available()
    if needed:
        code.call("blas_threads.enter", ir.VoidType(), [])
    yield
    if needed:
        code.call("blas_threads.leave", ir.VoidType(), [])


class Arguments:
    """Arguments by reference, as Fortran takes them."""

    def __init__(self, code: Code, dtype: DType) -> None:
        self.code = code
        self.dtype = dtype

    def letter(self, letter: str) -> Any:
        """A pointer to a character."""
        i8 = ir.IntType(8)
        return self.code.stack(i8, ir.Constant(i8, ord(letter)))

    def integer(self, number: Any) -> Any:
        """A pointer to a 32-bit integer, given as an int or as an LLVM value."""
        value = self.code.int32(number) if isinstance(number, int) else number
        return self.code.stack(value.type, value)

    def number(self, number: float) -> Any:
        """A pointer to a real number of the dtype, with imaginary part zero if complex."""
        double = dtypes.real_dtype(self.dtype).itemsize == 8
        real = ir.DoubleType() if double else ir.FloatType()
        if not dtypes.is_complex(self.dtype):
            return self.code.stack(real, ir.Constant(real, number))
        pair = ir.ArrayType(real, 2)
        parts = [ir.Constant(real, number), ir.Constant(real, 0.0)]
        return self.code.stack(pair, ir.Constant(pair, parts))


def emit_blas(
    code: Code,
    a: Any,
    b: Any,
    c: Any,
    shape: Matrices,
    dtype: DType,
    sizes: Sequence[Any] = (None, None, None),
) -> None:
    """Append `c = a @ b` as a call of BLAS.

    Args:
      sizes: 32-bit LLVM values for m, n and k where a part is multiplied, or None for all.
    """
    letter = _LETTERS[dtype.name]
    by = Arguments(code, dtype)
    m, n, k = (
        by.integer(whole if part is None else part)
        for whole, part in zip(shape[:3], sizes, strict=True)
    )
    if shape.n == 1:
        lying = _leading(shape.m, shape.k, shape.a_row, shape.a_column)
        _emit_gemv(code, by, letter, (a, b, c), (m, k), lying, (shape.b_row, shape.c_row))
        return
    if shape.m == 1:
        lying = _leading(shape.n, shape.k, shape.b_column, shape.b_row)
        _emit_gemv(code, by, letter, (b, a, c), (n, k), lying, (shape.a_column, 1))
        return
    flip_a, lead_a = _leading(shape.m, shape.k, shape.a_row, shape.a_column)
    flip_b, lead_b = _leading(shape.k, shape.n, shape.b_row, shape.b_column)
    code.call(
        f"blas.{letter}gemm",
        ir.VoidType(),
        [
            *(by.letter("T" if flip else "N") for flip in (flip_b, flip_a)),
            *(n, m, k),
            *(by.number(1.0), b, by.integer(lead_b), a, by.integer(lead_a)),
            *(by.number(0.0), c, by.integer(max(shape.c_row, shape.n))),
        ],
    )


def _leading(rows: int, columns: int, row: int, column: int) -> tuple[bool, int]:
    """Whether a matrix lies transposed in memory, and its leading dimension."""
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return False, max(row, columns)
    return True, max(column, rows)


def _emit_gemv(
    code: Code,
    by: Arguments,
    letter: str,
    pointers: tuple[Any, Any, Any],
    sizes: tuple[Any, Any],
    lying: tuple[bool, int],
    steps: tuple[int, int],
) -> None:
    """`c[i] = sum over k of matrix[i, k] * vector[k]`, at any strides of the vectors."""
    a, x, c = pointers
    transposed, lead = lying
    # in Fortran's eyes a row-major matrix is the transposed one
    ordered = sizes if transposed else sizes[::-1]
    step, result_step = (by.integer(max(s, 1)) for s in steps)
    code.call(
        f"blas.{letter}gemv",
        ir.VoidType(),
        [
            *(by.letter("N" if transposed else "T"), *ordered),
            *(by.number(1.0), a, by.integer(lead), x, step),
            *(by.number(0.0), c, result_step),
        ],
    )
