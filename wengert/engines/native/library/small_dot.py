"""Small matrix products as inline code: registers hold a tile of the result while `k` runs.

Where the columns of `b` are adjacent, elements of `a` are spread over vectors and multiplied
with rows of `b`. A row (or a few) times columns whose *contracted* elements are adjacent
becomes dot products, whose partial sums of several columns are added up together. Every other
layout is first brought into the first form by copying `b`.

Ends are not masked: the last vector is moved back and computes some elements a second time.
The order of the sums depends on sizes and strides only, never on where or how often it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code
from wengert.engines.native.library.common import (
    each,
    full_lanes,
    load,
    power_below,
    repeat,
    shuffle_mask,
    store,
)
from wengert.engines.native.library.layout import Matrices
from wengert.engines.native.library.transposed import copy_matrix

ir = lazy_module("llvmlite.ir")

#: Products written out one after the other; more of them become a loop.
_UNROLLED = 32
_ROUND = 16
#: Sums that must run side by side to hide the time one multiply-add takes.
_CHAINS = 8
#: Rows up to which dot products beat a transposed copy of the right operand.
_FEW_ROWS = 3


class Arithmetic:
    """Multiply and add for one dtype: rings of numbers, and (and, or) for bools."""

    def __init__(self, code: Code, dtype: DType) -> None:
        self.code = code
        self.kind = dtypes.kind(dtype)

    def product(self, x: Any, y: Any) -> Any:
        """x * y."""
        builder = self.code.builder
        if self.kind == "f":
            return builder.fmul(x, y)
        return builder.and_(x, y) if self.kind == "b" else builder.mul(x, y)

    def sum(self, x: Any, y: Any) -> Any:
        """x + y."""
        builder = self.code.builder
        if self.kind == "f":
            return builder.fadd(x, y)
        return builder.or_(x, y) if self.kind == "b" else builder.add(x, y)

    def accumulate(self, x: Any, y: Any, total: Any) -> Any:
        """total + x * y; `total` None stands for nothing yet."""
        if total is None:
            return self.product(x, y)
        if self.kind == "f":
            lanes = total.type.count if isinstance(total.type, ir.VectorType) else 1
            return self.code.vectors(lanes).fma(x, y, total)
        return self.sum(total, self.product(x, y))

    def total(self, parts: Sequence[Any]) -> Any:
        """The sum of several values, in pairs."""
        parts = list(parts)
        while len(parts) > 1:
            paired = [self.sum(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
            parts = paired + parts[len(parts) & ~1 :]
        return parts[0]


def emit_small_dot(
    code: Code, a: Any, b: Any, c: Any, matrices: Matrices, dtype: DType
) -> None:
    """Append `c = a @ b`, all of it inline, for a real dtype that is not a 16-bit float.

    Args:
      a, b, c: pointers to the first elements.
      matrices: sizes and strides; `k` is at least 1.
    """
    shape = matrices
    if shape.n == 1 and shape.m > 1 and shape.c_row == 1:
        # a vector of dot products is one row, of the transposed product
        shape = Matrices(
            1, shape.m, shape.k, 0, shape.b_row, shape.a_column, shape.a_row, shape.m
        )
        a, b = b, a
    if is_direct(shape):
        dots = shape.b_row == shape.a_column == 1 and (shape.b_column != 1 or shape.n == 1)
        (_Dots if dots else _Rows)(code, a, b, c, shape, dtype).emit()
        return
    packed = code.scratch(shape.k * shape.n * dtype.itemsize)
    copy_matrix(code, b, packed, (shape.k, shape.n), (shape.b_row, shape.b_column), dtype)
    shape = shape._replace(b_row=shape.n, b_column=1)
    _Rows(code, a, packed, c, shape, dtype).emit()


def is_direct(shape: Matrices) -> bool:
    """Whether a product needs no copy of its right operand."""
    if shape.b_column == 1 or shape.n == 1:
        return True
    return shape.a_column == shape.b_row == 1 and shape.m <= _FEW_ROWS


class _Tile(NamedTuple):
    """The part of the result that is held in registers."""

    rows: int
    vectors: int


class _Rows:
    """Products with rows of `b`: elements of `a` spread, columns side by side in vectors."""

    def __init__(
        self, code: Code, a: Any, b: Any, c: Any, shape: Matrices, dtype: DType
    ) -> None:
        self.code, self.dtype, self.shape = code, dtype, shape
        self.a, self.b, self.c = a, b, c
        self.ring = Arithmetic(code, dtype)
        self.lanes = min(full_lanes(code, dtype), power_below(shape.n))
        self.tile = self._tile()

    def _tile(self) -> _Tile:
        registers = 24 if self.code.target.vector_bytes == 64 else 12
        columns = -(-self.shape.n // self.lanes)
        wide = min(columns, 4 if registers == 24 else 2)
        wide = -(-columns // -(-columns // wide))
        most = min(registers // wide, 16)
        tall = -(-self.shape.m // -(-self.shape.m // most))
        return _Tile(tall, wide)

    def emit(self) -> None:
        """Tile by tile."""
        width = self.tile.vectors * self.lanes
        whole = self.shape.n // width * width
        each(self.code, whole, width, lambda j, _: self._columns(j, self._even(width)))
        left = self.shape.n - whole
        if left:
            offsets = self._even(left - left % self.lanes)
            if left % self.lanes:
                offsets.append(left - self.lanes)
            self._columns(whole, offsets)

    def _even(self, width: int) -> list[int]:
        return list(range(0, width, self.lanes))

    def _columns(self, start: Any, offsets: list[int]) -> None:
        size = self.dtype.itemsize
        b = self.code.offset(self.b, start, size)
        c = self.code.offset(self.c, start, size)

        def rows(i: Any, count: int) -> None:
            a = self._step(self.a, i, self.shape.a_row)
            target = self._step(c, i, self.shape.c_row)
            sums = self._sums(a, b, count, offsets)
            for row in range(count):
                for offset, value in zip(offsets, sums[row], strict=True):
                    place = self.code.offset(target, row * self.shape.c_row + offset, size)
                    store(self.code, value, place, self.dtype)

        each(self.code, self.shape.m, self.tile.rows, rows)

    def _step(self, pointer: Any, count: Any, stride: int) -> Any:
        nbytes = stride * self.dtype.itemsize
        return self.code.offset(pointer, count, nbytes) if nbytes else pointer

    def _sums(self, a: Any, b: Any, rows: int, offsets: list[int]) -> list[list[Any]]:
        """The finished sums of a tile, by row and vector."""
        size = rows * len(offsets)
        chains = 1
        while chains * size < _CHAINS and 2 * chains <= self.shape.k:
            chains *= 2
        unrolled = self.shape.k * size <= _UNROLLED
        unroll = chains * max(1, _ROUND // (chains * size))
        if unrolled or self.shape.k < 2 * unroll:
            parts = self._rounds(a, b, rows, offsets, self.shape.k, [None] * (chains * size))
        else:
            parts = self._looped(a, b, rows, offsets, chains, unroll)
        width = len(offsets)
        return [
            [
                self.ring.total([p for p in parts[i * width + j :: size] if p is not None])
                for j in range(width)
            ]
            for i in range(rows)
        ]

    def _looped(
        self, a: Any, b: Any, rows: int, offsets: list[int], chains: int, unroll: int
    ) -> list[Any]:
        v = self.code.vectors(self.lanes)
        zeros = [v.constant(0, v.type(self.dtype))] * (chains * rows * len(offsets))
        whole = self.shape.k // unroll * unroll

        def body(k: Any, *carried: Any) -> list[Any]:
            a_k = self._step(a, k, self.shape.a_column)
            b_k = self._step(b, k, self.shape.b_row)
            return self._rounds(a_k, b_k, rows, offsets, unroll, list(carried))

        parts = repeat(self.code, whole, zeros, body, step=unroll)
        left = self.shape.k - whole
        if not left:
            return parts
        a_k = self.code.offset(a, whole * self.shape.a_column, self.dtype.itemsize)
        b_k = self.code.offset(b, whole * self.shape.b_row, self.dtype.itemsize)
        return self._rounds(a_k, b_k, rows, offsets, left, parts)

    def _rounds(
        self, a: Any, b: Any, rows: int, offsets: list[int], count: int, sums: list[Any]
    ) -> list[Any]:
        """Add `count` products to every sum; those of different chains take turns."""
        code, shape, size = self.code, self.shape, self.dtype.itemsize
        v = code.vectors(self.lanes)
        tile = rows * len(offsets)
        for k in range(count):
            right = [
                load(code, code.offset(b, k * shape.b_row + j, size), self.dtype, self.lanes)
                for j in offsets
            ]
            base = k * tile % len(sums)
            for i in range(rows):
                place = code.offset(a, i * shape.a_row + k * shape.a_column, size)
                left = v.splat(load(code, place, self.dtype))
                for j, value in enumerate(right):
                    slot = base + i * len(offsets) + j
                    sums[slot] = self.ring.accumulate(left, value, sums[slot])
        return sums


class _Dots:
    """Dot products: both operands are adjacent along the contracted dimension."""

    def __init__(
        self, code: Code, a: Any, b: Any, c: Any, shape: Matrices, dtype: DType
    ) -> None:
        self.code, self.dtype, self.shape = code, dtype, shape
        self.a, self.b, self.c = a, b, c
        self.ring = Arithmetic(code, dtype)
        self.lanes = min(full_lanes(code, dtype), power_below(shape.k))

    def emit(self) -> None:
        """Row by row, as many columns at a time as a vector has lanes."""
        size = self.dtype.itemsize
        for row in range(self.shape.m):
            a = self.code.offset(self.a, row * self.shape.a_row, size)
            c = self.code.offset(self.c, row * self.shape.c_row, size)
            each(self.code, self.shape.n, self.lanes, self._columns(a, c))

    def _columns(self, a: Any, c: Any) -> Callable[[Any, int], None]:
        size = self.dtype.itemsize

        def columns(j: Any, count: int) -> None:
            nbytes = self.shape.b_column * size
            b = self.code.offset(self.b, j, nbytes)
            target = self.code.offset(c, j, size)
            total = sum_together(self.code, self._sums(a, b, count), self.ring)
            store_first(self.code, total, target, count, self.dtype)

        return columns

    def _sums(self, a: Any, b: Any, columns: int) -> list[Any]:
        """A vector of partial sums for each column."""
        chains = 1
        while chains * columns < _CHAINS and 2 * chains * self.lanes <= self.shape.k:
            chains *= 2
        whole = self.shape.k // self.lanes
        count = chains * columns
        unroll = chains * max(1, _ROUND // count)
        if whole * columns <= _UNROLLED or whole < 2 * unroll:
            sums = self._rounds(a, b, columns, whole, [None] * count)
        else:
            sums = self._looped(a, b, columns, unroll, count)
        sums = [
            self.ring.total([p for p in sums[j::columns] if p is not None])
            for j in range(columns)
        ]
        return self._last(a, b, sums) if self.shape.k % self.lanes else sums

    def _looped(self, a: Any, b: Any, columns: int, unroll: int, count: int) -> list[Any]:
        whole = self.shape.k // self.lanes
        rounds = whole // unroll
        v = self.code.vectors(self.lanes)
        zeros = [v.constant(0, v.type(self.dtype))] * count
        nbytes = self.lanes * self.dtype.itemsize

        def body(k: Any, *carried: Any) -> list[Any]:
            a_k, b_k = (self.code.offset(p, k, nbytes) for p in (a, b))
            return self._rounds(a_k, b_k, columns, unroll, list(carried))

        sums = repeat(self.code, rounds * unroll, zeros, body, step=unroll)
        left = whole - rounds * unroll
        if not left:
            return sums
        a_k, b_k = (self.code.offset(p, rounds * unroll * nbytes) for p in (a, b))
        return self._rounds(a_k, b_k, columns, left, sums)

    def _rounds(self, a: Any, b: Any, columns: int, count: int, sums: list[Any]) -> list[Any]:
        code, size = self.code, self.dtype.itemsize
        for k in range(count):
            left = load(code, code.offset(a, k * self.lanes, size), self.dtype, self.lanes)
            base = k * columns % len(sums)
            for j in range(columns):
                place = code.offset(b, j * self.shape.b_column + k * self.lanes, size)
                right = load(code, place, self.dtype, self.lanes)
                sums[base + j] = self.ring.accumulate(left, right, sums[base + j])
        return sums

    def _last(self, a: Any, b: Any, sums: list[Any]) -> list[Any]:
        """Add the products of the end: of the last full vector, those not counted yet."""
        code, size, k = self.code, self.dtype.itemsize, self.shape.k
        left = k % self.lanes
        if self.lanes == 1:
            return sums
        v = code.vectors(self.lanes)
        fresh = v.integers([int(i >= self.lanes - left) for i in range(self.lanes)], 1)

        def end(pointer: Any) -> Any:
            value = load(
                code, code.offset(pointer, k - self.lanes, size), self.dtype, self.lanes
            )
            return v.select(fresh, value, v.constant(0, value))

        values = end(a)
        return [
            self.ring.accumulate(
                values, end(code.offset(b, j * self.shape.b_column, size)), total
            )
            for j, total in enumerate(sums)
        ]


def sum_together(code: Code, vectors: list[Any], ring: Arithmetic) -> Any:
    """The vector whose lane `i` is the sum of the lanes of `vectors[i]`.

    In step `b`, a pair of vectors becomes one: lanes whose index has bit `b` clear come from
    the first of them, the others from the second, each added to its partner across that bit.
    """
    first = vectors[0]
    if not isinstance(first.type, ir.VectorType):
        return first
    lanes = first.type.count
    rows: list[Any] = [*vectors, *[None] * (lanes - len(vectors))]
    for bit in (1 << s for s in range(lanes.bit_length() - 1)):
        rows = [
            _paired(code, rows[i], rows[i + 1], bit, lanes, ring)
            for i in range(0, len(rows), 2)
        ]
    return rows[0]


def _paired(code: Code, x: Any, y: Any, bit: int, lanes: int, ring: Arithmetic) -> Any:
    if x is None:
        return None
    other = x if y is None else y
    own = [i if not i & bit else lanes + i for i in range(lanes)]
    partner = [i ^ bit if not i & bit else lanes + (i ^ bit) for i in range(lanes)]
    kept, moved = (
        code.builder.shuffle_vector(x, other, shuffle_mask(mask)) for mask in (own, partner)
    )
    return ring.sum(kept, moved)


def store_first(code: Code, value: Any, pointer: Any, count: int, dtype: DType) -> None:
    """Store the first `count` lanes, in pieces of powers of two."""
    if not isinstance(value.type, ir.VectorType):
        store(code, value, pointer, dtype)
        return
    done = 0
    while done < count:
        lanes = power_below(min(count - done, value.type.count))
        if lanes == 1:
            part = code.builder.extract_element(value, code.int32(done))
        elif lanes == value.type.count:
            part = value
        else:
            mask = shuffle_mask(range(done, done + lanes))
            part = code.builder.shuffle_vector(value, value, mask)
        store(code, part, code.offset(pointer, done, dtype.itemsize), dtype)
        done += lanes
