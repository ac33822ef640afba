"""Products of matrices by BLAS, in blocks that threads share.

Large products are cut into blocks of the result. Products with vectors and narrow matrices
take as long as reading them does: they are cut by what is read, and where the contracted
dimension is the long one, along that; the blocks' sums are added in order. Blocks depend on
sizes only, so results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.engines.native.code import Code
from wengert.engines.native.library.blas_calls import emit_blas
from wengert.engines.native.library.common import full_lanes, in_pieces, load, store
from wengert.engines.native.library.layout import Loop, Matrices

#: Rows or columns of a product that one block has at least.
_LEAST_ROWS = 32
#: Multiplications of a product that is cut into blocks, and of one block of a large product.
_LEAST_WORK = 1 << 21
_BLOCK_WORK = 1 << 28
_MOST_BLOCKS = 64
#: Rows or columns below which a product is narrow.
_NARROW = 16
#: Elements that one block of a narrow product reads at least, and the most blocks.
_READ = 1 << 16
_MOST_PARTS = 16


def moved(
    code: Code, loop: Loop, index: Any, pointers: Sequence[Any], dtype: DType
) -> list[Any]:
    """The pointers at this round of a loop."""
    return [
        code.offset(pointer, index, stride * dtype.itemsize) if stride else pointer
        for pointer, stride in zip(pointers, loop[1:], strict=True)
    ]


def emit_divided(code: Code, a: Any, b: Any, c: Any, shape: Matrices, dtype: DType) -> None:
    """Append `c = a @ b` as calls of BLAS, for a grid of blocks of the result, on all threads.

    BLAS copies the rows and columns that it multiplies: so blocks are few, and near to square.
    """
    blocks = _summed_blocks(shape)
    if blocks > 1:
        _emit_summed(code, a, b, c, shape, dtype, blocks)
        return
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
        down_to = moved(code, Loop(0, shape.a_row, 0, shape.c_row), first, captured, dtype)
        at, bt, ct = moved(code, Loop(0, 0, shape.b_column, 1), left, down_to, dtype)
        m = _count(code, row, down, rows, shape.m)
        n = _count(code, column, across, columns, shape.n)
        emit_blas(code, at, bt, ct, shape, dtype, (m, n, None))

    code.parallel("product", blocks, [a, b, c], body, ("product", shape, dtype))


def _grid(shape: Matrices) -> tuple[int, int]:
    """How many blocks a product is cut into, from top to bottom and from left to right."""
    work = shape.m * shape.n * shape.k
    wanted = min(_MOST_BLOCKS, max(2, work // _BLOCK_WORK)) if work >= _LEAST_WORK else 1
    if _is_narrow(shape):
        wanted = _reading_blocks(shape)
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


# -- narrow products: reading takes longer than multiplying ------------------------------------


def _is_narrow(shape: Matrices) -> bool:
    return min(shape.m, shape.n) < _NARROW


def _reading_blocks(shape: Matrices) -> int:
    """Into how many blocks a product is cut by what it reads."""
    read = shape.k * (shape.m + shape.n)
    return max(1, min(_MOST_PARTS, read // _READ))


def _summed_blocks(shape: Matrices) -> int:
    """Into how many blocks the contracted dimension is cut: of long products, small results."""
    wanted = _reading_blocks(shape) if _is_narrow(shape) else 1
    if max(shape.m, shape.n) >= wanted * _LEAST_ROWS * 2 or shape.k < shape.m + shape.n:
        return 1
    return _fitting(shape.k, wanted)


def _emit_summed(
    code: Code, a: Any, b: Any, c: Any, shape: Matrices, dtype: DType, blocks: int
) -> None:
    """Append `c = a @ b` as a sum of the products of blocks, which threads share."""
    chunk, nbytes = _chunk(shape.k, blocks), shape.m * shape.n * dtype.itemsize
    parts = code.scratch(blocks * nbytes)
    part = shape._replace(c_row=shape.n)

    def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
        first = code.builder.mul(block, code.int64(chunk))
        along = Loop(0, shape.a_column, shape.b_row, 0)
        at, bt, _ = moved(code, along, first, captured, dtype)
        own = code.offset(captured[2], block, nbytes)
        k = _count(code, block, blocks, chunk, shape.k)
        emit_blas(code, at, bt, own, part, dtype, (None, None, k))

    key = "summed product", shape, dtype
    code.parallel("product", blocks, [a, b, parts], body, key)
    with code.loop(shape.m) as i:
        row = code.offset(c, i, shape.c_row * dtype.itemsize)
        _add_up(
            code, code.offset(parts, i, shape.n * dtype.itemsize), row, shape, dtype, blocks
        )


def _add_up(
    code: Code, parts: Any, row: Any, shape: Matrices, dtype: DType, blocks: int
) -> None:
    """One row of the result: the sum of those of all blocks, in order."""
    real, words = dtypes.real_dtype(dtype), 2 if dtypes.is_complex(dtype) else 1
    size = real.itemsize

    def piece(start: Any, lanes: int) -> None:
        total = None
        for block in range(blocks):
            place = code.offset(parts, block * shape.m * shape.n * words * size)
            value = load(code, code.offset(place, start, size), real, lanes)
            total = value if total is None else code.builder.fadd(total, value)
        store(code, total, code.offset(row, start, size), real)

    in_pieces(code, shape.n * words, full_lanes(code, real), piece)
