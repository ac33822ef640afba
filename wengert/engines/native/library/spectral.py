"""Singular values and eigenvalue problems by LAPACK, with the eager engine's routines.

Vectors come out with the same signs as there. A matrix for which LAPACK's iteration does not
end (one with NaN, mostly) fails the program; the eager engine then raises the error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import load, store
from wengert.engines.native.library.matrices import (
    Lapack,
    each_matrix,
    has_routines,
    to_columns,
    to_rows,
    work_size,
)

ir = lazy_module("llvmlite.ir")


def emit_svd(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append singular values, and vectors where wanted."""
    m, n = operands[0].type.shape[-2:]
    dtype = operands[0].type.dtype
    real = dtypes.real_dtype(dtype)
    k = min(m, n)
    if k == 0:
        return
    vectors = equation.params.get("compute_uv", True)
    full = equation.params.get("full_matrices", False)
    job = ("A" if full else "S") if vectors else "N"
    left, right = ((m, n) if full else (k, k)) if vectors else (1, 1)
    arguments = (job, m, n, None, m, None, None, m, None, right)
    (work,) = work_size("gesdd", dtype, arguments)
    sizes = [
        m * n * dtype.itemsize,
        m * left * dtype.itemsize,
        right * n * dtype.itemsize,
        work * dtype.itemsize,
        _real_work(m, n, vectors) * real.itemsize if dtypes.is_complex(dtype) else 0,
        8 * k * 4,
    ]

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix, u, vh, spare, reals, integers = memory
        to_columns(code, ins[0], matrix, m, n, dtype)
        values = outs[1] if vectors else outs[0]
        more = [reals, integers] if dtypes.is_complex(dtype) else [integers]
        Lapack(code, dtype)(
            "lapack.gesdd",
            *(job, m, n, matrix, m, values, u, m, vh, right, spare, work, *more),
            info=info,
        )
        if vectors:
            to_rows(code, u, outs[0], m, left, dtype)
            to_rows(code, vh, outs[2], right, n, dtype)

    each_matrix(code, operands, results, operands[0].type.ndim - 2, sizes, body)


def _real_work(m: int, n: int, vectors: bool) -> int:
    """What LAPACK's manual asks for as real work of the complex `gesdd`."""
    least, most = min(m, n), max(m, n)
    if not vectors:
        return 7 * least
    return max(5 * least * least + 5 * least, 2 * (most + least) * least + least)


def emit_eigh(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append eigenvalues, and vectors where wanted, of Hermitian matrices."""
    n, dtype = operands[0].type.shape[-1], operands[0].type.dtype
    if n == 0:
        return
    vectors = equation.params.get("vectors", True)
    triangle = "L" if equation.params.get("lower", True) else "U"
    job = "V" if vectors else "N"
    is_complex = dtypes.is_complex(dtype)
    name = "heevd" if is_complex else "syevd"
    works = work_size(name, dtype, (job, triangle, n, None, n, None), 3 if is_complex else 2)
    real = dtypes.real_dtype(dtype)
    widths = [dtype.itemsize, real.itemsize, 4] if is_complex else [dtype.itemsize, 4]
    sizes = [n * n * dtype.itemsize, *(w * b for w, b in zip(works, widths, strict=True))]

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix, *spare = memory
        to_columns(code, ins[0], matrix, n, n, dtype)
        more = [x for pair in zip(spare, works, strict=True) for x in pair]
        Lapack(code, dtype)(
            f"lapack.{name}", job, triangle, n, matrix, n, outs[0], *more, info=info
        )
        if vectors:
            to_rows(code, matrix, outs[1], n, n, dtype)

    each_matrix(code, operands, results, operands[0].type.ndim - 2, sizes, body)


def emit_eig(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append eigenvalues, and vectors where wanted, of general matrices."""
    n, dtype = operands[0].type.shape[-1], operands[0].type.dtype
    if n == 0:
        return
    vectors = equation.params.get("vectors", True)
    job = "V" if vectors else "N"
    is_complex = dtypes.is_complex(dtype)
    values: tuple[Any, ...] = (None,) if is_complex else (None, None)
    (work,) = work_size("geev", dtype, ("N", job, n, None, n, *values, None, 1, None, n))
    square, real = n * n * dtype.itemsize, dtypes.real_dtype(dtype)
    sizes = [square, n * real.itemsize, n * real.itemsize, 64, square]
    sizes += [work * dtype.itemsize, 2 * n * real.itemsize]

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix, reals, imaginaries, none, right, spare, more = memory
        to_columns(code, ins[0], matrix, n, n, dtype)
        found = [outs[0]] if is_complex else [reals, imaginaries]
        last = [more] if is_complex else []
        Lapack(code, dtype)(
            "lapack.geev",
            *("N", job, n, matrix, n, *found, none, 1, right, n, spare, work, *last),
            info=info,
        )
        if is_complex:
            if vectors:
                to_rows(code, right, outs[1], n, n, dtype)
            return
        with code.loop(n) as i:
            parts = [load(code, code.offset(p, i, real.itemsize), real) for p in found]
            _store_complex(code, parts, code.offset(outs[0], i, 2 * real.itemsize), real)
        if vectors:
            _complex_vectors(code, right, imaginaries, outs[1], n, real)

    each_matrix(code, operands, results, operands[0].type.ndim - 2, sizes, body)


def _store_complex(code: Code, parts: Any, pointer: Any, real: DType) -> None:
    for place, value in enumerate(parts):
        store(code, value, code.offset(pointer, place * real.itemsize), real)


def _complex_vectors(
    code: Code, packed: Any, imaginaries: Any, target: Any, n: int, real: DType
) -> None:
    """Eigenvectors from LAPACK's packing: conjugate ones as real and imaginary part."""
    builder, nbytes = code.builder, real.itemsize
    with code.loop(n) as j:
        turn = load(code, code.offset(imaginaries, j, nbytes), real)
        zero = ir.Constant(turn.type, 0.0)
        first = builder.fcmp_ordered(">", turn, zero)
        second = builder.fcmp_ordered("<", turn, zero)
        one, none = code.int64(1), code.int64(0)
        own = builder.sub(j, builder.select(second, one, none))
        other = builder.add(j, builder.select(first, one, none))
        sign = builder.select(first, ir.Constant(turn.type, 1.0), zero)
        sign = builder.select(second, ir.Constant(turn.type, -1.0), sign)
        with code.loop(n) as i:
            columns = [code.offset(packed, c, n * nbytes) for c in (own, other)]
            re, im = (load(code, code.offset(c, i, nbytes), real) for c in columns)
            row = code.offset(target, i, 2 * n * nbytes)
            parts = re, builder.fmul(sign, im)
            _store_complex(code, parts, code.offset(row, j, 2 * nbytes), real)


def _has_sizes(equation: Equation) -> bool:
    """LAPACK counts with 32 bits."""
    return has_routines(equation) and int(np.prod(equation.inputs[0].type.shape[-2:])) < 2**30


OPERATIONS = {"svd": emit_svd, "eigh": emit_eigh, "eig": emit_eig}
SUPPORTS = dict.fromkeys(OPERATIONS, _has_sizes)
ROUTINES = SUPPORTS
