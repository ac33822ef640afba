"""`dot_general`: small products inline, large ones by BLAS, none of them copied without need.

`layout.plan` turns a contraction into matrix products inside loops. Products that are small,
and those of integers and bools, are written out here; those of real matrices are done by our
own routines (`gemm`); others call `?gemm` and `?gemv` of the BLAS that SciPy carries, by
reference and column-major as Fortran has it: a row-major product `a @ b` is the column-major
product `b @ a`. 16-bit floats are multiplied in float32 and rounded once at the end, as the
eager engine does.

BLAS runs in the thread that calls it (see `runtime.blas_threads`): products are split over our
threads, many small ones by number, large ones by rows or columns. Blocks depend on sizes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import (
    FLOAT32,
    convert,
    full_lanes,
    in_pieces,
    is_narrow,
    load,
    store,
)
from wengert.engines.native.library.gemm import emit_gemm, packed_bytes, suits
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
#: Rows or columns of a product that one block has at least.
_LEAST_ROWS = 32
#: Multiplications of a product that is cut into blocks, and of one block of a large product.
_LEAST_WORK = 1 << 21
_BLOCK_WORK = 1 << 28
_MOST_BLOCKS = 64
#: Products from which each is left whole.
_FEW = 4

_LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


def work_dtype(equation: Equation) -> DType:
    """The dtype that a contraction is computed in."""
    dtype: DType = equation.inputs[0].type.dtype
    preferred = equation.params.get("preferred_element_type")
    if preferred is not None:
        dtype = np.promote_types(dtype, preferred)
    return FLOAT32 if is_narrow(dtype) else dtype


def _is_called(equation: Equation) -> bool:
    """Whether products are calls: not what is written out where it is used."""
    shapes = [operand.type.shape for operand in equation.inputs]
    if any(0 in shape for shape in shapes):
        return False
    numbers = equation.params["dimension_numbers"]
    return not _is_inline(plan(*shapes, numbers).matrices, work_dtype(equation))


def _supports(equation: Equation) -> bool:
    work = work_dtype(equation)
    given = equation.inputs[0].type.dtype
    result = equation.outputs[0].type.dtype
    if dtypes.is_complex(work):
        return bool(given == work == result)
    return not dtypes.is_integer(result) or not dtypes.is_inexact(work)


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
        code.fill_zero(result.pointer, result.type.size * result.type.dtype.itemsize)
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
    threads = math.prod(matrices[:3]) >= _LEAST_WORK

    def shared(code: Code, a: Any, b: Any, c: Any) -> None:
        emit_gemm(code, (a, b, c), packed, matrices, dtype, threads)

    _looped(code, loops, pointers, dtype, shared)


@contextmanager
def single_threaded(code: Code, needed: bool = True) -> Iterator[None]:
    """BLAS runs in the threads that call it, in the code inside."""
    needed = needed and blas_threads.available()
    if needed:
        code.call("blas_threads.enter", ir.VoidType(), [])
    yield
    if needed:
        code.call("blas_threads.leave", ir.VoidType(), [])


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
        moved = _moved(code, loops[0], i, pointers, dtype)
        _looped(code, loops[1:], moved, dtype, inner)


def _moved(
    code: Code, loop: Loop, index: Any, pointers: Sequence[Any], dtype: DType
) -> list[Any]:
    return [
        code.offset(pointer, index, stride * dtype.itemsize) if stride else pointer
        for pointer, stride in zip(pointers, loop[1:], strict=True)
    ]


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
            moved = _moved(code, longest, i, captured[:3], dtype)
            _looped(code, others, moved, dtype, one)

    captured = [*pointers, code.scratch(memory * blocks)]
    code.parallel("products", blocks, captured, body, (kind, tuple(loops), dtype))


def emit_divided(code: Code, a: Any, b: Any, c: Any, shape: Matrices, dtype: DType) -> None:
    """Append `c = a @ b` as calls of BLAS, for a grid of blocks of the result, on all threads.

    BLAS copies the rows and columns that it multiplies: so blocks are few, and near to square.
    """
    down, across = _grid(shape)
    blocks = down * across
    if blocks == 1:
        emit_blas(code, a, b, c, shape, dtype)
        return
    rows, columns = _chunk(shape.m, down), _chunk(shape.n, across)

    def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
        builder = code.builder
        row = builder.udiv(block, code.int64(across))
        column = builder.urem(block, code.int64(across))
        first, left = (
            builder.mul(row, code.int64(rows)),
            builder.mul(column, code.int64(columns)),
        )
        moved = _moved(code, Loop(0, shape.a_row, 0, shape.c_row), first, captured, dtype)
        moved = _moved(code, Loop(0, 0, shape.b_column, 1), left, moved, dtype)
        m = _count(code, row, down, rows, shape.m)
        n = _count(code, column, across, columns, shape.n)
        at, bt, ct = moved
        emit_blas(code, at, bt, ct, shape, dtype, m, n)

    code.parallel("product", blocks, [a, b, c], body, ("product", shape, dtype))


def _grid(shape: Matrices) -> tuple[int, int]:
    """How many blocks a product is cut into, from top to bottom and from left to right."""
    work = shape.m * shape.n * shape.k
    wanted = min(_MOST_BLOCKS, max(2, work // _BLOCK_WORK)) if work >= _LEAST_WORK else 1
    down = across = 1
    while down * across < wanted:
        if shape.m * across >= shape.n * down:
            down *= 2
        else:
            across *= 2
    return _fitting(shape.m, down), _fitting(shape.n, across)


def _fitting(size: int, blocks: int) -> int:
    """So many blocks, or fewer where they would be too narrow."""
    blocks = max(1, min(blocks, size // _LEAST_ROWS))
    return -(-size // _chunk(size, blocks))


def _chunk(size: int, blocks: int) -> int:
    """Rows or columns of all blocks but the last."""
    return size if blocks == 1 else -(-size // blocks // 16) * 16


def _count(code: Code, index: Any, blocks: int, chunk: int, size: int) -> Any:
    """Rows or columns of a block, as BLAS takes them; None for all there are."""
    if blocks == 1:
        return None
    last = code.builder.icmp_signed("==", index, code.int64(blocks - 1))
    rest = code.int32(size - (blocks - 1) * chunk)
    return code.builder.select(last, rest, code.int32(chunk))


# -- calls -----------------------------------------------------------------------------------


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
    m: Any = None,
    n: Any = None,
) -> None:
    """Append `c = a @ b` as a call of BLAS; `m` or `n` rows or columns of it, if given."""
    letter = _LETTERS[dtype.name]
    by = Arguments(code, dtype)
    m, n = shape.m if m is None else m, shape.n if n is None else n
    if shape.n == 1:
        matrix = m, shape.k, shape.a_row, shape.a_column
        _emit_gemv(code, by, letter, (a, b, c), matrix, shape.b_row, shape.c_row)
        return
    if shape.m == 1:
        matrix = n, shape.k, shape.b_column, shape.b_row
        _emit_gemv(code, by, letter, (b, a, c), matrix, shape.a_column, 1)
        return
    flip_a, lead_a = _leading(shape.m, shape.k, shape.a_row, shape.a_column)
    flip_b, lead_b = _leading(shape.k, shape.n, shape.b_row, shape.b_column)
    sizes = [by.integer(size) for size in (n, m, shape.k)]
    code.call(
        f"blas.{letter}gemm",
        ir.VoidType(),
        [
            *(by.letter("T" if flip else "N") for flip in (flip_b, flip_a)),
            *sizes,
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
    matrix: tuple[Any, int, int, int],
    step: int,
    result_step: int,
) -> None:
    """`c[i] = sum over k of matrix[i, k] * vector[k]`, at any strides of the vectors."""
    a, x, c = pointers
    rows, columns, row, column = matrix
    known = rows if isinstance(rows, int) else 2
    transposed, lead = _leading(known, columns, row, column)
    # in Fortran's eyes a row-major matrix is the transposed one
    sizes = (rows, columns) if transposed else (columns, rows)
    code.call(
        f"blas.{letter}gemv",
        ir.VoidType(),
        [
            *(by.letter("N" if transposed else "T"), *map(by.integer, sizes)),
            *(by.number(1.0), a, by.integer(lead), x, by.integer(max(step, 1))),
            *(by.number(0.0), c, by.integer(max(result_step, 1))),
        ],
    )


OPERATIONS = {"dot_general": emit_dot_general}
SUPPORTS = {"dot_general": _supports}
ROUTINES = {"dot_general": _is_called}
