"""Factorisations and linear systems by LAPACK: Cholesky, LU, QR, solves, inverse, determinant.

The same routines on the same layouts as the eager engine's, so results agree to the last
digits. A row-major triangle is the other triangle of the transposed matrix that LAPACK sees:
Cholesky factors and triangular solves need no copies into columns.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import INT32, load, repeat, store
from wengert.engines.native.library.matrices import (
    Lapack,
    accept,
    each_matrix,
    has_routines,
    is_real,
    refuse,
    set_triangle,
    to_columns,
    to_rows,
    work_size,
)
from wengert.engines.native.math import FUNCTIONS

ir = lazy_module("llvmlite.ir")


def _sizes(buffer: Buffer) -> tuple[int, int, int, DType]:
    """Rank of the stack, rows, columns, and dtype."""
    shape = buffer.type.shape
    return len(shape) - 2, shape[-2], shape[-1], buffer.type.dtype


def emit_cholesky(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the lower Cholesky factor."""
    del equation
    rank, n, _, dtype = _sizes(operands[0])
    if n == 0:
        return

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        del memory
        code.copy(outs[0], ins[0], n * n * dtype.itemsize)
        Lapack(code, dtype)("lapack.potrf", "U", n, outs[0], n, info=info)
        set_triangle(code, outs[0], n, n, True, dtype)

    each_matrix(code, operands, results, rank, (), body)


# -- triangular systems ----------------------------------------------------------------------


def emit_triangular_solve(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the solution of `op(A) X = B` or `X op(A) = B`."""
    params = equation.params
    a, b = operands
    rank, n, _, dtype = _sizes(a)
    _, rows, columns, _ = _sizes(b)
    conjugate = params.get("conjugate_a", False) and dtypes.is_complex(dtype)
    transposed = params.get("transpose_a", False)
    unit = params.get("unit_diagonal", False)
    side = "R" if params.get("left_side", False) else "L"
    part = "U" if params.get("lower", False) else "L"
    # BLAS has no product with a conjugate that is not transposed: it gets a copy
    copied = conjugate and not transposed
    operation = ("C" if conjugate else "T") if transposed else "N"

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix = ins[0]
        if not unit:
            _refuse_zeros(code, matrix, n, dtype, info)
        if rows * columns == 0:
            return
        if copied:
            matrix = memory[0]
            _conjugate(code, ins[0], matrix, n * n, dtype)
        code.copy(outs[0], ins[1], rows * columns * dtype.itemsize)
        call = Lapack(code, dtype)
        diagonal = "U" if unit else "N"
        one = call.number(1.0)
        call(
            "blas.trsm",
            *(side, part, operation, diagonal, columns, rows, one),
            *(matrix, max(n, 1), outs[0], columns),
        )

    sizes = [n * n * dtype.itemsize] if copied else []
    each_matrix(code, operands, results, rank, sizes, body)


def _refuse_zeros(code: Code, matrix: Any, n: int, dtype: DType, info: Any) -> None:
    """Mark a matrix with a zero on its diagonal."""
    builder, real = code.builder, dtypes.real_dtype(dtype)
    with code.loop(n) as i:
        place = code.offset(matrix, i, (n + 1) * dtype.itemsize)
        value = load(code, place, real)
        zero = ir.Constant(value.type, 0.0)
        is_zero = builder.fcmp_ordered("==", value, zero)
        if dtypes.is_complex(dtype):
            other = load(code, code.offset(place, real.itemsize), real)
            is_zero = builder.and_(is_zero, builder.fcmp_ordered("==", other, zero))
        with builder.if_then(is_zero, likely=False):
            refuse(code, info)


def _conjugate(code: Code, source: Any, target: Any, count: int, dtype: DType) -> None:
    real = dtypes.real_dtype(dtype)
    with code.loop(count) as i:
        start, end = (code.offset(p, i, dtype.itemsize) for p in (source, target))
        store(code, load(code, start, real), end, real)
        imaginary = load(code, code.offset(start, real.itemsize), real)
        store(code, code.builder.fneg(imaginary), code.offset(end, real.itemsize), real)


# -- LU --------------------------------------------------------------------------------------


def emit_lu(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append packed LU factors, pivots, and the permutation."""
    del equation
    rank, m, n, dtype = _sizes(operands[0])
    k = min(m, n)

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        factors, pivots, order = outs
        if k:
            to_columns(code, ins[0], memory[0], m, n, dtype)
            Lapack(code, dtype)("lapack.getrf", m, n, memory[0], m, pivots, info=info)
            accept(code, info)  # a zero pivot is for those to refuse that divide by it
            to_rows(code, memory[0], factors, m, n, dtype)
        _count_from_zero(code, pivots, pivots, k, -1)
        _permute(code, pivots, order, k, m)

    each_matrix(code, operands, results, rank, [m * n * dtype.itemsize], body)


def _count_from_zero(code: Code, source: Any, target: Any, count: int, step: int) -> None:
    """Pivots, which LAPACK counts from 1."""
    with code.loop(count) as i:
        value = load(code, code.offset(source, i, 4), INT32)
        value = code.builder.add(value, ir.Constant(value.type, step))
        store(code, value, code.offset(target, i, 4), INT32)


def _permute(code: Code, pivots: Any, order: Any, count: int, rows: int) -> None:
    """The order of the rows after all exchanges."""
    with code.loop(rows) as i:
        store(code, code.builder.trunc(i, ir.IntType(32)), code.offset(order, i, 4), INT32)
    with code.loop(count) as i:
        pivot = load(code, code.offset(pivots, i, 4), INT32)
        pivot = code.builder.sext(pivot, ir.IntType(64))
        here, there = code.offset(order, i, 4), code.offset(order, pivot, 4)
        own, other = load(code, here, INT32), load(code, there, INT32)
        store(code, other, here, INT32)
        store(code, own, there, INT32)


def emit_permutation(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the order in which row exchanges leave the rows."""
    size, count = equation.params["permutation_size"], operands[0].type.shape[-1]
    with code.loop(math.prod(operands[0].type.shape[:-1])) as i:
        pivots = code.offset(operands[0].pointer, i, 4 * count)
        _permute(code, pivots, code.offset(results[0].pointer, i, 4 * size), count, size)


def _counts_rows(equation: Equation) -> bool:
    return equation.inputs[0].type.dtype == INT32


def emit_factored_solve(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the solution of a system whose matrix is factored."""
    rank, n, _, dtype = _sizes(operands[0])
    columns = operands[3].type.shape[-1]
    operation = "T" if equation.params.get("transpose_a", False) else "N"

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        _, factors, pivots, b = ins
        _refuse_zeros(code, factors, n, dtype, info)
        if n * columns == 0:
            return
        matrix, right, counted, ignored = memory
        to_columns(code, factors, matrix, n, n, dtype)
        to_columns(code, b, right, n, columns, dtype)
        _count_from_zero(code, pivots, counted, n, 1)
        Lapack(code, dtype)(
            "lapack.getrs", operation, n, columns, matrix, n, counted, right, n, info=ignored
        )
        to_rows(code, right, outs[0], n, columns, dtype)

    sizes = [n * n * dtype.itemsize, n * columns * dtype.itemsize, 4 * n, 4]
    each_matrix(code, operands, results, rank, sizes, body)


def emit_solve(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the solution of a general system."""
    del equation
    rank, n, _, dtype = _sizes(operands[0])
    columns = operands[1].type.shape[-1]
    if n * columns == 0:
        return

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix, right, pivots = memory
        to_columns(code, ins[0], matrix, n, n, dtype)
        to_columns(code, ins[1], right, n, columns, dtype)
        call = Lapack(code, dtype)
        call("lapack.gesv", n, columns, matrix, n, pivots, right, n, info=info)
        to_rows(code, right, outs[0], n, columns, dtype)

    sizes = [n * n * dtype.itemsize, n * columns * dtype.itemsize, 4 * n]
    each_matrix(code, operands, results, rank, sizes, body)


def emit_inv(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the inverse."""
    del equation
    rank, n, _, dtype = _sizes(operands[0])
    if n == 0:
        return
    real = dtypes.real_dtype(dtype)

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix, right, pivots = memory
        to_columns(code, ins[0], matrix, n, n, dtype)
        code.fill_zero(right, n * n * dtype.itemsize)
        one = code.vectors(1).constant(1, code.vectors(1).type(real))
        with code.loop(n) as i:
            store(code, one, code.offset(right, i, (n + 1) * dtype.itemsize), real)
        Lapack(code, dtype)("lapack.gesv", n, n, matrix, n, pivots, right, n, info=info)
        to_rows(code, right, outs[0], n, n, dtype)

    sizes = [n * n * dtype.itemsize, n * n * dtype.itemsize, 4 * n]
    each_matrix(code, operands, results, rank, sizes, body)


# -- determinants ----------------------------------------------------------------------------


def _factored_diagonal(
    code: Code, source: Any, memory: list[Any], n: int, dtype: DType, info: Any
) -> Any:
    """Factor a matrix into `memory`; returns the sign (a float) of its permutation."""
    matrix, pivots = memory
    to_columns(code, source, matrix, n, n, dtype)
    Lapack(code, dtype)("lapack.getrf", n, n, matrix, n, pivots, info=info)
    accept(code, info)
    builder, v = code.builder, code.vectors(1)

    def body(i: Any, sign: Any) -> list[Any]:
        pivot = load(code, code.offset(pivots, i, 4), INT32)
        own = builder.add(builder.trunc(i, ir.IntType(32)), ir.Constant(ir.IntType(32), 1))
        exchanged = builder.icmp_signed("!=", pivot, own)
        return [builder.select(exchanged, builder.fneg(sign), sign)]

    return repeat(code, n, [v.constant(1.0, v.type(dtype))], body)[0]


def emit_det(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append determinants of real matrices."""
    del equation
    rank, n, _, dtype = _sizes(operands[0])

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        sign = code.vectors(1).constant(1.0, code.vectors(1).type(dtype))
        if n:
            sign = _factored_diagonal(code, ins[0], memory, n, dtype, info)

        def multiply(i: Any, product: Any) -> list[Any]:
            place = code.offset(memory[0], i, (n + 1) * dtype.itemsize)
            return [code.builder.fmul(product, load(code, place, dtype))]

        store(code, repeat(code, n, [sign], multiply)[0], outs[0], dtype)

    sizes = [n * n * dtype.itemsize, 4 * n]
    each_matrix(code, operands, results, rank, sizes, body)


def emit_slogdet(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append signs and logarithms of determinants of real matrices."""
    del equation
    rank, n, _, dtype = _sizes(operands[0])

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        builder, v = code.builder, code.vectors(1)
        zero, one = (v.constant(c, v.type(dtype)) for c in (0.0, 1.0))
        sign = _factored_diagonal(code, ins[0], memory, n, dtype, info) if n else one

        def add(i: Any, sign: Any, total: Any) -> list[Any]:
            value = load(code, code.offset(memory[0], i, (n + 1) * dtype.itemsize), dtype)
            negative = builder.fcmp_ordered("<", value, zero)
            sign = builder.select(negative, builder.fneg(sign), sign)
            is_zero = builder.fcmp_ordered("==", value, zero)
            sign = builder.select(is_zero, zero, sign)
            v = code.vectors(1)
            return [sign, builder.fadd(total, FUNCTIONS["log"](v, v.fabs(value)))]

        sign, total = repeat(code, n, [sign, zero], add)
        store(code, sign, outs[0], dtype)
        store(code, total, outs[1], dtype)

    sizes = [n * n * dtype.itemsize, 4 * n]
    each_matrix(code, operands, results, rank, sizes, body)


# -- QR --------------------------------------------------------------------------------------


def emit_qr(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the QR factorisation."""
    rank, m, n, dtype = _sizes(operands[0])
    least = min(m, n)
    k = m if equation.params.get("full_matrices", False) else least
    name = "ungqr" if dtypes.is_complex(dtype) else "orgqr"
    wide = max(n, k)
    works = [1]
    if least:
        works += work_size("geqrf", dtype, (m, n, None, m, None))
    if k:
        works += work_size(name, dtype, (m, k, least, None, m, None))
    work = max(works)

    def body(code: Code, ins: list[Any], outs: list[Any], memory: list[Any], info: Any) -> None:
        matrix, factors, spare = memory
        call = Lapack(code, dtype)
        to_columns(code, ins[0], matrix, m, n, dtype)
        if least:
            call("lapack.geqrf", m, n, matrix, m, factors, spare, work, info=info)
        if k * n:
            _upper_rows(code, matrix, outs[1], m, k, n, dtype)
        if k * m:
            call(f"lapack.{name}", m, k, least, matrix, m, factors, spare, work, info=info)
            to_rows(code, matrix, outs[0], m, k, dtype)

    size = dtype.itemsize
    each_matrix(
        code, operands, results, rank, [m * wide * size, least * size, work * size], body
    )


def _upper_rows(
    code: Code, matrix: Any, target: Any, m: int, k: int, n: int, dtype: DType
) -> None:
    """The first `k` rows of a column-major matrix as a row-major one, upper triangular."""
    with code.loop(k) as i:
        row = code.offset(target, i, n * dtype.itemsize)
        source = code.offset(matrix, i, dtype.itemsize)
        _strided_row(code, source, row, n, m, dtype)
    set_triangle(code, target, k, n, False, dtype)


def _strided_row(code: Code, source: Any, target: Any, n: int, step: int, dtype: DType) -> None:
    real = dtypes.real_dtype(dtype)
    count = dtype.itemsize // real.itemsize
    with code.loop(n) as j:
        start = code.offset(source, j, step * dtype.itemsize)
        end = code.offset(target, j, dtype.itemsize)
        for part in range(count):
            value = load(code, code.offset(start, part * real.itemsize), real)
            store(code, value, code.offset(end, part * real.itemsize), real)


OPERATIONS = {
    "cholesky": emit_cholesky,
    "triangular_solve": emit_triangular_solve,
    "lu": emit_lu,
    "pivots_to_permutation": emit_permutation,
    "factored_solve": emit_factored_solve,
    "solve": emit_solve,
    "inv": emit_inv,
    "det": emit_det,
    "slogdet": emit_slogdet,
    "qr": emit_qr,
}
SUPPORTS = {
    **dict.fromkeys(OPERATIONS, has_routines),
    "pivots_to_permutation": _counts_rows,
    "det": is_real,
    "slogdet": is_real,
}
ROUTINES = dict.fromkeys(OPERATIONS, has_routines)
