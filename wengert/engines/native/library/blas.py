"""`dot_general`: small products inline, large ones by BLAS, none of them copied without need.

`layout.plan` turns a contraction into matrix products inside loops. Products that are small,
and those of integers and bools, are written out here; those of real matrices are done by our
own routines (`gemm`), the rest by the BLAS that SciPy carries (`blas_blocks`, `blas_calls`).
16-bit floats are multiplied in float32 and rounded once at the end, as the eager engine does.

Many small products are split over threads by number, large ones each in blocks. Blocks depend
on sizes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.blas_blocks import emit_divided, moved
from wengert.engines.native.library.blas_calls import emit_blas, single_threaded
from wengert.engines.native.library.common import (
    FLOAT32,
    convert,
    full_lanes,
    in_pieces,
    is_narrow,
    load,
    store,
)
from wengert.engines.native.library.gemm import emit_gemm, fits_blas, packed_bytes, suits
from wengert.engines.native.library.layout import Loop, Matrices, Product, plan
from wengert.engines.native.library.small_dot import Arithmetic, emit_small_dot, is_direct
from wengert.engines.native.library.transposed import copy_transposed
from wengert.engines.native.runtime import blas_threads

ir = lazy_module("llvmlite.ir")

#: Multiplications up to which a product of matrices is written out.
_INLINE_MATRIX = 1 << 15
#: Contracted sizes that leave BLAS little to do beside its copies.
_SHALLOW = 16
#: Elements up to which a product of a matrix and a vector is written out.
_INLINE_VECTOR = 1 << 14
#: Multiplications from which products are split over threads, and into how many blocks.
_SPLIT = 1 << 17
_BLOCKS = 8
#: Products from which each is left whole.
_FEW = 4
#: Multiplications of a product by our own routines that threads share.
_SHARED = 1 << 20


def work_dtype(equation: Equation) -> DType:
    """The dtype that a contraction is computed in."""
    dtype: DType = equation.inputs[0].type.dtype
    preferred = equation.params.get("preferred_element_type")
    if preferred is not None:
        dtype = np.promote_types(dtype, preferred)
    return FLOAT32 if is_narrow(dtype) else dtype


def _is_called(equation: Equation) -> bool:
    """Whether products are calls: not what is written out where it is used."""
    lhs, rhs = (operand.type.shape for operand in equation.inputs)
    if 0 in lhs or 0 in rhs:
        return False
    product = plan(lhs, rhs, equation.params["dimension_numbers"])
    return not _is_inline(product.matrices, work_dtype(equation))


def _supports(equation: Equation) -> bool:
    work = work_dtype(equation)
    given = equation.inputs[0].type.dtype
    result = equation.outputs[0].type.dtype
    if dtypes.is_complex(work):
        return bool(given == work == result) and _fits_blas(equation)
    return not dtypes.is_integer(result) or not dtypes.is_inexact(work)


def _fits_blas(equation: Equation) -> bool:
    """Whether BLAS can do what nothing else here does."""
    lhs, rhs = (operand.type.shape for operand in equation.inputs)
    if 0 in lhs or 0 in rhs:
        return True
    return fits_blas(plan(lhs, rhs, equation.params["dimension_numbers"]).matrices)


def emit_dot_general(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a contraction."""
    (result,) = results
    if result.type.size == 0:
        return
    lhs, rhs = (operand.type.shape for operand in operands)
    numbers = equation.params["dimension_numbers"]
    (contracted, _), _ = numbers
    if any(lhs[i] == 0 for i in contracted):
        code.fill_zero(result.pointer, result.type.nbytes)
        return
    work = work_dtype(equation)
    a, b = (_converted(code, operand, work) for operand in operands)
    direct = result.type.dtype == work
    c = result.pointer if direct else code.scratch(result.type.size * work.itemsize)
    emit_product(code, a, b, c, lhs, rhs, numbers, work)
    if not direct:
        convert(code, c, work, result.pointer, result.type.dtype, result.type.size)


def _converted(code: Code, operand: Buffer, work: DType) -> Any:
    dtype, size = operand.type.dtype, operand.type.size
    if dtype == work:
        return operand.pointer
    target = code.scratch(size * work.itemsize)
    convert(code, operand.pointer, dtype, target, work, size)
    return target


def emit_product(
    code: Code,
    a: Any,
    b: Any,
    c: Any,
    lhs: Sequence[int],
    rhs: Sequence[int],
    numbers: Any,
    dtype: DType,
) -> None:
    """Append the contraction of dense arrays of these shapes; none of them is empty."""
    product = plan(lhs, rhs, numbers)
    inline = _is_inline(product.matrices, dtype)
    if inline and product.loops and not is_direct(_as_row(product.matrices)):
        product = plan(lhs, rhs, numbers, copy_right=True)
    if product.a_order is not None:
        a = _copied(code, a, lhs, product.a_order, dtype)
    if product.b_order is not None:
        b = _copied(code, b, rhs, product.b_order, dtype)
    if tuple(product.matrices[:3]) == (1, 1, 1) and _is_elementwise(product, dtype):
        _emit_elementwise(code, a, b, c, product.loops[0].size, dtype)
    else:
        emit_products(code, product.loops, product.matrices, (a, b, c), dtype)


def emit_products(
    code: Code,
    loops: Sequence[Loop],
    matrices: Matrices,
    pointers: tuple[Any, Any, Any],
    dtype: DType,
) -> None:
    """Append matrix products inside loops, inline, by tiles or by BLAS, on all threads."""
    inline = _is_inline(matrices, dtype)
    rounds, work = math.prod(loop.size for loop in loops), math.prod(matrices[:3])
    many = rounds >= _FEW and rounds * work >= _SPLIT
    if not inline and suits(matrices, dtype):
        _emit_gemms(code, loops, matrices, pointers, dtype, many)
        return
    alone = inline or blas_threads.available()
    emit = emit_small_dot if inline else emit_blas

    def inner(code: Code, a: Any, b: Any, c: Any, *_: Any) -> None:
        emit(code, a, b, c, matrices, dtype)

    def divided(code: Code, a: Any, b: Any, c: Any) -> None:
        emit_divided(code, a, b, c, matrices, dtype)

    with single_threaded(code, needed=not inline):
        if many and alone:
            _split(code, loops, pointers, dtype, inner, ("products", matrices))
        else:
            _looped(code, loops, pointers, dtype, inner if inline or not alone else divided)


def _emit_gemms(
    code: Code,
    loops: Sequence[Loop],
    matrices: Matrices,
    pointers: tuple[Any, Any, Any],
    dtype: DType,
    many: bool,
) -> None:
    """Append products by our own routines: many side by side, or each on all threads."""
    memory = packed_bytes(matrices, dtype)

    def one(code: Code, a: Any, b: Any, c: Any, packed: Any, _: Any) -> None:
        emit_gemm(code, (a, b, c), packed, matrices, dtype, threads=False)

    if many:
        _split(code, loops, pointers, dtype, one, ("gemm", matrices), memory)
        return
    packed = code.scratch(memory)
    threads = math.prod(matrices[:3]) >= _SHARED

    def shared(code: Code, a: Any, b: Any, c: Any) -> None:
        emit_gemm(code, (a, b, c), packed, matrices, dtype, threads)

    _looped(code, loops, pointers, dtype, shared)


def _as_row(shape: Matrices) -> Matrices:
    """The product as `emit_small_dot` sees it: a column is computed as a row."""
    if shape.n == 1 and shape.m > 1 and shape.c_row == 1:
        return shape._replace(
            m=1, n=shape.m, a_column=shape.b_row, b_row=shape.a_column, b_column=shape.a_row
        )
    return shape


def _is_inline(shape: Matrices, dtype: DType) -> bool:
    if dtypes.is_complex(dtype):
        return False
    if not dtypes.is_inexact(dtype) or shape.k == 1 or shape.m == shape.n == 1:
        return True
    if not fits_blas(shape):
        return is_direct(_as_row(shape))
    if 1 in (shape.m, shape.n):
        return shape.m * shape.n * shape.k <= _INLINE_VECTOR
    return shape.m * shape.n * shape.k <= _INLINE_MATRIX * (16 if shape.k <= _SHALLOW else 1)


def _copied(code: Code, source: Any, shape: Sequence[int], order: Any, dtype: DType) -> Any:
    target = code.scratch(math.prod(shape) * dtype.itemsize)
    copy_transposed(code, source, target, shape, order, dtype)
    return target


# -- loops -----------------------------------------------------------------------------------


def _is_elementwise(product: Product, dtype: DType) -> bool:
    together = len(product.loops) == 1 and product.loops[0][1:] == (1, 1, 1)
    return together and not dtypes.is_complex(dtype)


def _emit_elementwise(code: Code, a: Any, b: Any, c: Any, size: int, dtype: DType) -> None:
    ring, nbytes = Arithmetic(code, dtype), dtype.itemsize

    def piece(start: Any, lanes: int) -> None:
        x, y = (load(code, code.offset(p, start, nbytes), dtype, lanes) for p in (a, b))
        store(code, ring.product(x, y), code.offset(c, start, nbytes), dtype)

    in_pieces(code, size, full_lanes(code, dtype), piece)


def _looped(
    code: Code,
    loops: Sequence[Loop],
    pointers: Sequence[Any],
    dtype: DType,
    inner: Callable[..., None],
) -> None:
    """`inner(code, a, b, c)` for every combination of the loops' indices."""
    if not loops:
        inner(code, *pointers)
        return
    with code.loop(loops[0].size) as i:
        here = moved(code, loops[0], i, pointers, dtype)
        _looped(code, loops[1:], here, dtype, inner)


def _split(
    code: Code,
    loops: Sequence[Loop],
    pointers: Sequence[Any],
    dtype: DType,
    inner: Callable[..., None],
    kind: Hashable,
    memory: int = 0,
) -> None:
    """The same, with the rounds of the longest loop in blocks for all threads.

    Args:
      inner: gets also a pointer to `memory` bytes of its block, and the dtype.
      kind: what `inner` does.
    """
    place = max(range(len(loops)), key=lambda i: loops[i].size)
    longest, others = loops[place], [*loops[:place], *loops[place + 1 :]]
    chunk = -(-longest.size // _BLOCKS)
    blocks = -(-longest.size // chunk)
    memory = -(-memory // 64) * 64

    def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
        first = code.builder.mul(block, code.int64(chunk))
        last = code.builder.add(first, code.int64(chunk))
        own = code.offset(captured[3], block, memory)
        if longest.size % chunk:
            size = code.int64(longest.size)
            short = code.builder.icmp_signed("<", last, size)
            last = code.builder.select(short, last, size)

        def one(code: Code, a: Any, b: Any, c: Any) -> None:
            inner(code, a, b, c, own, dtype)

        with code.loop(last, first) as i:
            here = moved(code, longest, i, captured[:3], dtype)
            _looped(code, others, here, dtype, one)

    captured = [*pointers, code.scratch(memory * blocks)]
    code.parallel("products", blocks, captured, body, (kind, tuple(loops), dtype))


OPERATIONS = {"dot_general": emit_dot_general}
SUPPORTS = {"dot_general": _supports}
ROUTINES = {"dot_general": _is_called}
