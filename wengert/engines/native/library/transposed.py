"""Copies of arrays into another order of dimensions.

Squares of elements are transposed in registers: rows are loaded as vectors, exchanged in
`log2(lanes)` steps of shuffles, and stored as vectors. Ends are moved back to be whole squares.
Elements are moved as integers of their size, so one code serves all dtypes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.dtypes import DType
from wengert.engines.native.code import Code
from wengert.engines.native.library.common import (
    dense_strides,
    in_pieces,
    load,
    power_below,
    shuffle_mask,
    spread_rows,
    store,
)
from wengert.engines.native.library.layout import Axes, Dimension, merged


def copy_transposed(
    code: Code, source: Any, target: Any, shape: Sequence[int], order: Axes, dtype: DType
) -> None:
    """Copy a dense array of this shape, its dimensions in this order, to dense memory."""
    strides = dense_strides(shape)
    copy_strided(code, source, target, [(shape[i], strides[i]) for i in order], dtype)


def copy_matrix(
    code: Code,
    source: Any,
    target: Any,
    shape: tuple[int, int],
    strides: tuple[int, int],
    dtype: DType,
) -> None:
    """Copy a strided matrix to dense, row-major memory; strides count elements."""
    copy_strided(code, source, target, list(zip(shape, strides, strict=True)), dtype)


def copy_small_matrix(
    code: Code,
    source: Any,
    target: Any,
    shape: tuple[int, int],
    strides: tuple[int, int],
    dtype: DType,
) -> None:
    """The same in few instructions: element by element."""
    rows, columns = shape
    dims = (rows, strides[0], columns), (columns, strides[1], 1)
    _Copy(code, dtype).loops(source, target, dims)


def copy_strided(
    code: Code, source: Any, target: Any, dimensions: Sequence[Dimension], dtype: DType
) -> None:
    """Copy elements at these (size, stride) dimensions to dense memory."""
    dimensions = merged(dimensions) or [(1, 1)]
    sizes, strides = zip(*dimensions, strict=True)
    copy_between(
        code,
        source,
        target,
        list(zip(sizes, strides, dense_strides(sizes), strict=True)),
        dtype,
    )


def copy_between(
    code: Code,
    source: Any,
    target: Any,
    dimensions: Sequence[tuple[int, int, int]],
    dtype: DType,
) -> None:
    """Copy elements at dimensions (size, stride in the source, stride in the target)."""
    if all(size > 0 for size, _, _ in dimensions):
        _Copy(code, dtype).emit(source, target, list(dimensions))


def spread_copy(
    code: Code,
    source: Any,
    target: Any,
    dimensions: Sequence[tuple[int, int, int]],
    dtype: DType,
) -> None:
    """`copy_between` on all threads, where it is large: in rounds of the first dimension."""
    first, *rest = dimensions
    sizes = [size for size, _, _ in dimensions]

    def row(code: Code, given: Sequence[Any], i: Any) -> None:
        source = code.offset(given[0], i, first[1] * dtype.itemsize)
        target = code.offset(given[1], i, first[2] * dtype.itemsize)
        copy_between(code, source, target, rest or [(1, 1, 1)], dtype)

    if math.prod(sizes) < _LARGE or first[0] < 2:
        copy_between(code, source, target, dimensions, dtype)
    else:
        spread_rows(code, "copy", first[0], [source, target], row, True)


#: Elements from which a copy is made on several threads.
_LARGE = 1 << 17


class _Copy:
    def __init__(self, code: Code, dtype: DType) -> None:
        self.code = code
        self.size = dtype.itemsize
        # a complex128 element is moved as two words
        self.words = 2 if self.size == 16 else 1
        self.dtype = np.dtype(f"u{self.size // self.words}")

    def emit(self, source: Any, target: Any, dims: list[tuple[int, int, int]]) -> None:
        """dims: (size, source stride, target stride), in the order of the target."""
        inner = len(dims) - 1
        dense = next((i for i, d in enumerate(dims) if d[1] == 1), inner)
        if dims[inner][2] != 1:
            dense = inner
        outer = [d for i, d in enumerate(dims) if i not in (inner, dense)]
        self._around(source, target, outer, dims[inner], dims[dense])

    def loops(self, source: Any, target: Any, dims: Sequence[tuple[int, int, int]]) -> None:
        """Element by element."""
        if not dims:
            self._element(source, target)
            return
        size, from_stride, to_stride = dims[0]
        with self.code.loop(size) as i:
            inside = self.code.offset(source, i, from_stride * self.size)
            self.loops(inside, self.code.offset(target, i, to_stride * self.size), dims[1:])

    def _around(
        self,
        source: Any,
        target: Any,
        outer: list[tuple[int, int, int]],
        inner: tuple[int, int, int],
        dense: tuple[int, int, int],
    ) -> None:
        if outer:
            size, from_stride, to_stride = outer[0]
            with self.code.loop(size) as i:
                source = self.code.offset(source, i, from_stride * self.size)
                target = self.code.offset(target, i, to_stride * self.size)
                self._around(source, target, outer[1:], inner, dense)
        elif inner == dense:
            self._run(source, target, *inner)
        else:
            self._square(source, target, inner, dense)

    def _run(self, source: Any, target: Any, count: int, stride: int, to_stride: int) -> None:
        """Elements along one dimension."""
        code, words = self.code, self.words
        if stride == to_stride == 1:
            lanes = max(code.target.vector_bytes // self.dtype.itemsize, 1)
            nbytes = self.dtype.itemsize

            def piece(start: Any, lanes: int) -> None:
                value = load(code, code.offset(source, start, nbytes), self.dtype, lanes)
                store(code, value, code.offset(target, start, nbytes), self.dtype)

            in_pieces(code, count * words, lanes, piece)
            return
        self.loops(source, target, ((count, stride, to_stride),))

    def _element(self, source: Any, target: Any) -> None:
        value = load(self.code, source, self.dtype, self.words)
        store(self.code, value, target, self.dtype)

    def _square(
        self,
        source: Any,
        target: Any,
        inner: tuple[int, int, int],
        dense: tuple[int, int, int],
    ) -> None:
        """A transposed matrix: `inner` is adjacent in the target, `dense` in the source."""
        code, size = self.code, self.size
        columns, from_stride, _ = inner
        rows, _, to_stride = dense
        side = min(power_below(columns), power_below(rows), self._side())

        def at(pointer: Any, i: Any, stride: int) -> Any:
            return code.offset(pointer, i, stride * size)

        if side < 2 or self.words > 1:
            self.loops(source, target, ((rows, 1, to_stride), (columns, from_stride, 1)))
            return

        def tile(i: Any, j: Any) -> None:
            start = at(at(source, i, 1), j, from_stride)
            end = at(at(target, i, to_stride), j, 1)
            loaded = [
                load(code, at(start, r, from_stride), self.dtype, side) for r in range(side)
            ]
            for r, value in enumerate(transpose_square(code, loaded)):
                store(code, value, at(end, r, to_stride), self.dtype)

        in_pieces(
            code,
            rows,
            side,
            lambda i, _: in_pieces(code, columns, side, lambda j, _: tile(i, j)),
        )

    def _side(self) -> int:
        """Rows held at a time; larger squares are hardly faster and long to compile."""
        return max(min(int(self.code.target.vector_bytes) // self.dtype.itemsize, 8), 1)


def transpose_square(code: Code, rows: list[Any]) -> list[Any]:
    """As many vectors as they have lanes, transposed."""
    lanes = len(rows)
    rows = list(rows)
    bit = 1
    while bit < lanes:
        for i in range(lanes):
            if i & bit:
                continue
            x, y = rows[i], rows[i | bit]
            low = [k if not k & bit else lanes + (k ^ bit) for k in range(lanes)]
            high = [k | bit if not k & bit else lanes + k for k in range(lanes)]
            rows[i], rows[i | bit] = (
                code.builder.shuffle_vector(x, y, shuffle_mask(mask)) for mask in (low, high)
            )
        bit *= 2
    return rows
