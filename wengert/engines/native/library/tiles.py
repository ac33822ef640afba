"""Tiles: a few rows times a few vectors of a contraction's result, held in registers.

`emit_contraction` wraps loops around such tiles. What is summed runs innermost; where that is
long, its outermost dimension is taken outside, so that what the inner loops read stays in the
cache, and the tiles are added to the result. Rounds of the outermost loops are split over
threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code
from wengert.engines.native.library.common import (
    each,
    full_lanes,
    load,
    power_below,
    repeat,
    store,
)
from wengert.engines.native.library.contraction import Choice, Contraction, Dim
from wengert.engines.native.library.small_dot import Arithmetic, store_first, sum_together

ir = lazy_module("llvmlite.ir")

#: Multiply-adds that are written out one after the other.
_UNROLLED = 64
#: Sums that must run side by side to hide the time one multiply-add takes.
_CHAINS = 8
#: Multiplications that are worth splitting over threads, and into how many blocks.
_SPLIT = 1 << 18
_BLOCKS = 16
#: Bytes of the first cache.
_CACHE = 1 << 15
_STREAM = 1 << 17
#: Products that a tile sums at least where the outermost summed dimension goes outside.
_LONG = 1 << 9


class Pointers(NamedTuple):
    """Where the operands and the result are."""

    left: Any
    right: Any
    out: Any


def moved(code: Code, pointers: Pointers, dim: Dim, index: Any, nbytes: int) -> Pointers:
    """The pointers at this index of a dimension."""
    return Pointers(
        *(
            code.offset(pointer, index, stride * nbytes) if stride else pointer
            for pointer, stride in zip(pointers, dim[1:], strict=True)
        )
    )


def emit_contraction(
    code: Code,
    contraction: Contraction,
    choice: Choice,
    pointers: Pointers,
    dtype: DType,
    threads: bool = True,
) -> None:
    """Append a contraction of real numbers.

    Args:
      pointers: the result is dense, in any order of dimensions.
      threads: whether it may be split; not in code that is part of a split already.
    """
    if choice.kind == "left":
        contraction, pointers = (
            contraction.swapped(),
            Pointers(pointers[1], pointers[0], pointers[2]),
        )
    kernel: Any = (_Dots if choice.kind == "summed" else _Spread)(
        code, contraction, choice, dtype
    )
    if kernel.outside is not None:
        code.fill_zero(pointers.out, contraction.outputs * dtype.itemsize)
    _Loops(code, kernel, dtype).emit(pointers, threads)


class _Loops:
    """The loops around tiles."""

    def __init__(self, code: Code, kernel: Any, dtype: DType) -> None:
        self.code, self.kernel, self.dtype = code, kernel, dtype

    def emit(self, pointers: Pointers, threads: bool) -> None:
        """All rounds, split over threads where that pays."""
        outer = self.kernel.outer
        # the smallest number of leading loops with enough rounds to share
        depth = next(
            (i for i in range(len(outer)) if math.prod(d.size for d in outer[:i]) >= _BLOCKS),
            len(outer),
        )
        split, inner = outer[:depth], outer[depth:]
        if self.kernel.products < _SPLIT or not split or not threads:
            self.rounds(self.code, pointers, split, inner)
            return
        total = math.prod(d.size for d in split)
        chunk = -(-total // _BLOCKS)

        def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
            first = code.builder.mul(block, code.int64(chunk))
            last = code.builder.add(first, code.int64(chunk))
            if total % chunk:
                size = code.int64(total)
                last = code.builder.select(
                    code.builder.icmp_signed("<", last, size), last, size
                )
            with code.loop(last, first) as index:
                inside = self.decoded(code, Pointers(*captured), split, index)
                self.rounds(code, inside, (), inner)

        self.code.parallel("contraction", -(-total // chunk), pointers, body)

    def decoded(
        self, code: Code, pointers: Pointers, dims: Sequence[Dim], index: Any
    ) -> Pointers:
        """The pointers at one number of a round of several loops."""
        for dim in reversed(dims):
            size = code.int64(dim.size)
            own = code.builder.urem(index, size)
            index = code.builder.udiv(index, size)
            pointers = moved(code, pointers, dim, own, self.dtype.itemsize)
        return pointers

    def rounds(
        self, code: Code, pointers: Pointers, split: Sequence[Dim], inner: Sequence[Dim]
    ) -> None:
        """The loops that one thread runs: what is summed outside goes around `inner`."""
        if split:
            with code.loop(split[0].size) as i:
                inside = moved(code, pointers, split[0], i, self.dtype.itemsize)
                self.rounds(code, inside, split[1:], inner)
            return
        dim = self.kernel.outside
        if dim is None:
            self.tiles(code, pointers, inner, False)
            return
        with code.loop(dim.size) as i:
            inside = moved(code, pointers, dim, i, self.dtype.itemsize)
            self.tiles(code, inside, inner, True)

    def tiles(self, code: Code, pointers: Pointers, inner: Sequence[Dim], add: bool) -> None:
        """The inner loops."""
        if inner:
            with code.loop(inner[0].size) as i:
                inside = moved(code, pointers, inner[0], i, self.dtype.itemsize)
                self.tiles(code, inside, inner[1:], add)
            return
        self.kernel.written_into(code).tiles(pointers, add)


class _Kernel:
    """What both kinds of tiles share."""

    def __init__(
        self, code: Code, contraction: Contraction, choice: Choice, dtype: DType
    ) -> None:
        self.code, self.dtype = code, dtype
        self.contraction, self.choice = contraction, choice
        self.size = dtype.itemsize
        self.products = contraction.products
        self.ring = Arithmetic(code, dtype)
        self.registers = 24 if code.target.vector_bytes == 64 else 12
        self.outer: tuple[Dim, ...] = ()
        self.outside: Dim | None = None
        self.summed: tuple[Dim, ...] = contraction.summed

    def written_into(self, code: Code) -> Any:
        """The same kernel, appending to another function."""
        return type(self)(code, self.contraction, self.choice, self.dtype)

    def take_outside(self, within: int) -> None:
        """Take the outermost summed dimension out of the tiles where they stay long enough.

        Args:
          within: the size of a summed dimension that is not in `summed`, or 1.
        """
        if self.summed and math.prod(d.size for d in self.summed[1:]) * within >= _LONG:
            self.outside, self.summed = self.summed[0], self.summed[1:]

    def sums(
        self, left: Any, right: Any, count: int, steps: Callable[..., list[Any]], zero: Any
    ) -> list[Any]:
        """The `count` sums of a tile over all summed dimensions.

        Args:
          steps: `steps(left, right, offsets, sums)` adds a product at each of the (left, right)
            offsets to the sums, in turn where there are several chains of them.
        """
        inner, offsets = self._unrolled(count)
        chains = 1
        while chains * count < _CHAINS and 2 * chains <= len(offsets):
            chains *= 2
        looped = self.summed[: len(self.summed) - inner]
        start = [zero if looped else None] * (chains * count)
        sums = self._nested(left, right, looped, offsets, start, steps)
        return [
            self.ring.total([s for s in sums[i::count] if s is not None]) for i in range(count)
        ]

    def _unrolled(self, count: int) -> tuple[int, list[tuple[int, int]]]:
        """How many inner summed dimensions are written out, and the offsets of their steps."""
        inner, size = 0, 1
        for dim in reversed(self.summed):
            if size * dim.size * count > _UNROLLED:
                break
            inner, size = inner + 1, size * dim.size
        offsets = [(0, 0)]
        for dim in self.summed[len(self.summed) - inner :]:
            offsets = [
                (x + i * dim.left, y + i * dim.right)
                for x, y in offsets
                for i in range(dim.size)
            ]
        return inner, offsets

    def _nested(
        self,
        left: Any,
        right: Any,
        dims: Sequence[Dim],
        offsets: list[tuple[int, int]],
        sums: list[Any],
        steps: Callable[..., list[Any]],
    ) -> list[Any]:
        if not dims:
            return steps(left, right, offsets, sums)
        dim = dims[0]

        def body(i: Any, *carried: Any) -> list[Any]:
            x = self.code.offset(left, i, dim.left * self.size) if dim.left else left
            y = self.code.offset(right, i, dim.right * self.size) if dim.right else right
            return self._nested(x, y, dims[1:], offsets, list(carried), steps)

        return repeat(self.code, dim.size, sums, body)

    def put(self, value: Any, pointer: Any, add: bool) -> None:
        """Write a vector to the result, or add it there."""
        if add:
            lanes = value.type.count if isinstance(value.type, ir.VectorType) else 1
            value = self.ring.sum(load(self.code, pointer, self.dtype, lanes), value)
        store(self.code, value, pointer, self.dtype)


_ONE = Dim(1, 0, 0, 0)


def _longest(dims: Sequence[Dim]) -> int | None:
    return max(range(len(dims)), key=lambda i: dims[i].size) if dims else None


def _nearest(dims: Sequence[Dim]) -> int | None:
    """The dimension whose elements lie nearest to each other, of those that are not short."""
    if not dims:
        return None
    enough = min(max(d.size for d in dims), 4)
    long = [i for i, d in enumerate(dims) if d.size >= enough]
    return min(long, key=lambda i: dims[i].left)


def _in_blocks(dim: Dim, size: int) -> tuple[Dim, Dim]:
    """A dimension as blocks of this size, or left whole where it is no multiple."""
    if dim.size % size:
        return _ONE, dim
    return Dim(dim.size // size, *(size * s for s in dim[1:])), Dim(size, *dim[1:])


def _around(dims: Sequence[Dim], block: Dim) -> tuple[Dim, ...]:
    """The loops of `dims`, with that over blocks just outside the last."""
    return (*dims[:-1], block, *dims[-1:])


class _Spread(_Kernel):
    """Vectors of the right operand times single elements of the left one."""

    def __init__(
        self, code: Code, contraction: Contraction, choice: Choice, dtype: DType
    ) -> None:
        super().__init__(code, contraction, choice, dtype)
        right, left = list(contraction.right), list(contraction.left)
        vector = right.pop(choice.dim)
        place = _nearest(left)
        row = left.pop(place) if place is not None else _ONE
        self.lanes = min(full_lanes(code, dtype), power_below(vector.size))
        columns = -(-vector.size // self.lanes)
        wide = min(columns, 2 if self.registers == 12 or columns % 4 else 4)
        self.wide = -(-columns // -(-columns // wide))
        most = min(self.registers // self.wide, 8)
        self.tall = -(-row.size // -(-row.size // most))
        if vector.size % self.lanes == 0:
            self.take_outside(1)
            self._keep_in_cache()
        # Blocks of the operands that the inner loops read again and again stay in the caches.
        columns_outside, self.vector = _in_blocks(vector, self.wide * self.lanes)
        rows_outside, self.row = _in_blocks(row, self.tall)
        self.outer = (
            *contraction.shared,
            columns_outside,
            *left,
            *_around(right, rows_outside),
        )

    def _keep_in_cache(self) -> None:
        """Sum over blocks of the outermost dimension where tiles read more than a cache has.

        Memory that is read from one end to the other comes ahead of time and may be more.
        """
        if self.outside is not None or len(self.summed) < 2:
            return
        dim, *inner = self.summed
        count, width = math.prod(d.size for d in inner), self.wide * self.lanes
        span = width + sum((d.size - 1) * d.right for d in inner)
        step = min(count * width, span) * self.size + 64 + self.tall * count * self.size
        straight = dim.right == inner[0].size * inner[0].right
        if step * dim.size <= (_STREAM if straight else _CACHE):
            return
        fits = [b for b in range(1, dim.size) if dim.size % b == 0 and b * step <= _CACHE // 2]
        if fits:
            self.outside, within = _in_blocks(dim, fits[-1])
            self.summed = (within, *inner)

    def tiles(self, pointers: Pointers, add: bool) -> None:
        """All tiles of the row and vector dimensions."""
        lanes, size = self.lanes, self.vector.size
        width = self.wide * lanes
        whole = size // width * width

        def columns(start: Any, offsets: list[int]) -> None:
            inside = moved(self.code, pointers, self.vector, start, self.size)
            each(
                self.code,
                self.row.size,
                self.tall,
                lambda i, n: self._tile(
                    moved(self.code, inside, self.row, i, self.size), n, offsets, add
                ),
            )

        each(self.code, whole, width, lambda j, _: columns(j, list(range(0, width, lanes))))
        left = size - whole
        if left:
            offsets = list(range(0, left - left % lanes, lanes))
            columns(whole, [*offsets, left - lanes] if left % lanes else offsets)

    def _tile(self, pointers: Pointers, rows: int, offsets: list[int], add: bool) -> None:
        code = self.code
        v = code.vectors(self.lanes)
        count = rows * len(offsets)

        def steps(left: Any, right: Any, places: Any, sums: list[Any]) -> list[Any]:
            for step, (x, y) in enumerate(places):
                values = [
                    load(code, code.offset(right, y + j, self.size), self.dtype, self.lanes)
                    for j in offsets
                ]
                base = step * count % len(sums)
                for i in range(rows):
                    place = code.offset(left, x + i * self.row.left, self.size)
                    spread = v.splat(load(code, place, self.dtype))
                    for j, value in enumerate(values):
                        slot = base + i * len(offsets) + j
                        sums[slot] = self.ring.accumulate(spread, value, sums[slot])
            return sums

        zero = v.constant(0, v.type(self.dtype))
        sums = self.sums(pointers.left, pointers.right, count, steps, zero)
        for i in range(rows):
            for j, offset in enumerate(offsets):
                place = code.offset(pointers.out, i * self.row.out + offset, self.size)
                self.put(sums[i * len(offsets) + j], place, add)


def split_rows(dim: Dim, tall: int) -> tuple[Dim, Dim]:
    """Blocks of whole tiles, to be shared among threads, and the rows in a block."""
    many = next(
        (
            n
            for n in range(_BLOCKS, 1, -1)
            if dim.size % (n * tall) == 0 and dim.size > n * tall
        ),
        1,
    )
    rows = dim.size // many
    return Dim(many, *(rows * s for s in dim[1:])), Dim(rows, *dim[1:])


class _Dots(_Kernel):
    """Dot products along a summed dimension, several rows by several columns at a time."""

    def __init__(
        self, code: Code, contraction: Contraction, choice: Choice, dtype: DType
    ) -> None:
        super().__init__(code, contraction, choice, dtype)
        summed = list(contraction.summed)
        self.along = summed.pop(choice.dim)
        self.lanes = min(full_lanes(code, dtype), power_below(self.along.size))
        self.summed = tuple(summed)
        self.take_outside(self.along.size)
        left, right = list(contraction.left), list(contraction.right)
        place = _longest(right)
        self.row = right.pop(place) if place is not None else _ONE
        most = 4 if self.registers == 24 else 2
        self.tall = -(-self.row.size // -(-self.row.size // most))
        self.columns, left = self._columns(left, self.registers // self.tall)
        blocks, self.row = split_rows(self.row, self.tall)
        self.outer = (*contraction.shared, blocks, *right, *left)

    @staticmethod
    def _columns(dims: list[Dim], most: int) -> tuple[list[tuple[Dim, int]], list[Dim]]:
        """Dimensions of the left operand, and how many of each a tile has."""
        columns: list[tuple[Dim, int]] = []
        for dim in sorted(dims, key=lambda d: d.size):
            exact = [n for n in range(2, most + 1) if dim.size % n == 0]
            if exact:
                columns.append((dim, exact[-1]))
                most //= exact[-1]
        taken = [dim for dim, _ in columns]
        return columns, [dim for dim in dims if dim not in taken]

    def tiles(self, pointers: Pointers, add: bool) -> None:
        """All tiles of rows and columns."""
        each(
            self.code,
            self.row.size,
            self.tall,
            lambda i, n: self._column_tiles(
                moved(self.code, pointers, self.row, i, self.size), n, self.columns, [], add
            ),
        )

    def _column_tiles(
        self,
        pointers: Pointers,
        rows: int,
        columns: Sequence[tuple[Dim, int]],
        chosen: list[tuple[Dim, int]],
        add: bool,
    ) -> None:
        if not columns:
            self._tile(pointers, rows, chosen, add)
            return
        dim, many = columns[0]
        each(
            self.code,
            dim.size,
            many,
            lambda j, n: self._column_tiles(
                moved(self.code, pointers, dim, j, self.size),
                rows,
                columns[1:],
                [*chosen, (dim, n)],
                add,
            ),
        )

    def _tile(
        self, pointers: Pointers, rows: int, columns: Sequence[tuple[Dim, int]], add: bool
    ) -> None:
        places = [(i * self.row.right, 0, i * self.row.out) for i in range(rows)]
        for dim, many in columns:
            places = [
                (r, x + j * dim.left, out + j * dim.out)
                for r, x, out in places
                for j in range(many)
            ]
        totals = self._totals(pointers, places)
        for start in range(0, len(totals), self.lanes):
            group = totals[start : start + self.lanes]
            total = sum_together(self.code, group, self.ring)
            self._scatter(
                total, [p[2] for p in places[start : start + self.lanes]], pointers, add
            )

    def _scatter(self, total: Any, places: list[int], pointers: Pointers, add: bool) -> None:
        code = self.code
        if not add and places == list(range(places[0], places[0] + len(places))):
            target = code.offset(pointers.out, places[0], self.size)
            store_first(code, total, target, len(places), self.dtype)
            return
        for lane, place in enumerate(places):
            value = total
            if isinstance(total.type, ir.VectorType):
                value = code.builder.extract_element(total, code.int32(lane))
            self.put(value, code.offset(pointers.out, place, self.size), add)

    def _totals(self, pointers: Pointers, places: list[tuple[int, int, int]]) -> list[Any]:
        """For each element of the tile a vector of partial sums."""
        code, lanes = self.code, self.lanes
        v = code.vectors(lanes)
        zero = v.constant(0, v.type(self.dtype))
        whole = self.along.size // lanes
        summed = (*self.summed, Dim(whole, lanes, lanes, 0))
        outer, self.summed = self.summed, tuple(d for d in summed if d.size > 1)
        sums = self.sums(
            pointers.left, pointers.right, len(places), self._steps(places, None), zero
        )
        self.summed = outer
        left = self.along.size % lanes
        if not left:
            return sums
        fresh = v.integers([int(i >= lanes - left) for i in range(lanes)], 1)
        start = self.along.size - lanes
        left_end, right_end = (code.offset(p, start, self.size) for p in pointers[:2])
        rest = self.sums(left_end, right_end, len(places), self._steps(places, fresh), zero)
        return [self.ring.sum(s, r) for s, r in zip(sums, rest, strict=True)]

    def _steps(
        self, places: list[tuple[int, int, int]], fresh: Any
    ) -> Callable[..., list[Any]]:
        """Add products; with `fresh`, a mask, of those lanes only."""
        code, count = self.code, len(places)
        v = code.vectors(self.lanes)

        def value(pointer: Any, offset: int) -> Any:
            loaded = load(code, code.offset(pointer, offset, self.size), self.dtype, self.lanes)
            return loaded if fresh is None else v.select(fresh, loaded, v.constant(0, loaded))

        def steps(left: Any, right: Any, offsets: Any, sums: list[Any]) -> list[Any]:
            for step, (x, y) in enumerate(offsets):
                columns = {p[1]: value(left, x + p[1]) for p in places}
                rows = {p[0]: value(right, y + p[0]) for p in places}
                base = step * count % len(sums)
                for i, (r, c, _) in enumerate(places):
                    sums[base + i] = self.ring.accumulate(rows[r], columns[c], sums[base + i])
            return sums

        return steps
