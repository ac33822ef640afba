"""Many updates added to an array, on all threads: what `scatter_add` does with long lists.

Rows of updates are split by columns: every thread reads all positions and adds to its own part
of each row, in the eager engine's order. Single updates are split by position in the list: each
block of them is added up in a table of its own, in a few streams that do not wait for each
other, and the tables are added in the end. How often blocks are cut depends on sizes alone, so
sums do not depend on the number of threads.

A position that is out of bounds cannot end the program from another thread: it leaves a mark,
and the program fails after all blocks are done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import (
    INT32,
    cast,
    full_lanes,
    in_pieces,
    load,
    repeat,
    store,
)

ir = lazy_module("llvmlite.ir")

#: Updates from which it pays, blocks that they are split into, and streams within a block.
_MANY = 1 << 15
_BLOCKS = 8
_STREAMS = 4
#: Elements of a row that are worth a block of their own.
_COLUMNS = 128


class Updates:
    """Updates at positions along the leading axis of an array.

    Attributes:
      index: positions, a dense list of integers.
      updates: a row of dense elements for each.
      size: rows of the array.
      row: elements of a row.
      mode: beyond the bounds: an error, the update is dropped, or "valid": there is none such.
    """

    def __init__(self, index: Buffer, updates: Buffer, size: int, row: int, mode: str) -> None:
        self.index, self.updates = index, updates
        self.size, self.row, self.mode = size, row, mode
        self.count = index.type.size

    @staticmethod
    def of(
        x: Any, updates: Buffer, indices: Sequence[Buffer], axes: Sequence[int], mode: str
    ) -> Updates | None:
        """The updates of a scatter, where they are many and of this kind."""
        if len(indices) != 1 or axes != (0,) or mode in ("clip", "wrap"):
            return None
        size, row = x.type.shape[0], math.prod(x.type.shape[1:])
        found = Updates(indices[0], updates, size, row, mode)
        columns = row >= 2 * _COLUMNS
        tables = row == 1 and found.count >= 4 * _BLOCKS * size
        worthwhile = found.count * row >= _MANY and size > 0
        return found if worthwhile and (columns or tables) else None

    def position(self, code: Code, indices: Any, number: Any) -> tuple[Any, Any]:
        """A position, and whether it is out of bounds: it is one beyond the last then."""
        builder, dtype = code.builder, self.index.type.dtype
        value = load(code, code.offset(indices, number, dtype.itemsize), dtype)
        place = cast(code, value, ir.IntType(64), dtypes.kind(dtype) == "i")
        below = builder.icmp_signed("<", place, code.int64(0))
        place = builder.select(below, builder.add(place, code.int64(self.size)), place)
        outside = builder.icmp_unsigned(">=", place, code.int64(self.size))
        return builder.select(outside, code.int64(self.size), place), outside


Combine = Callable[..., Any]


def emit_updates(
    code: Code, updates: Updates, target: Any, dtype: DType, combine: Combine
) -> None:
    """Append sums of updates (of real numbers) to `target`."""
    marks = code.scratch(4 * _BLOCKS)
    code.fill_zero(marks, 4 * _BLOCKS)
    emit = _by_columns if updates.row > 1 else _by_tables
    emit(code, updates, target, marks, dtype, combine)
    if updates.mode in ("drop", "valid"):
        return
    for block in range(_BLOCKS):
        mark = load(code, code.offset(marks, block, 4), INT32)
        bad = code.builder.icmp_unsigned("!=", mark, ir.Constant(mark.type, 0))
        code.fail_if(bad, lambda: IndexError("an index is out of bounds"))


def _mark(code: Code, marks: Any, block: Any, outside: Any) -> None:
    with code.builder.if_then(outside, likely=False):
        one = ir.Constant(ir.IntType(32), 1)
        store(code, one, code.offset(marks, block, 4), INT32)


def _by_columns(
    code: Code, updates: Updates, target: Any, marks: Any, dtype: DType, combine: Combine
) -> None:
    row, own = updates.row, updates.updates.type.dtype
    width = -(-row // min(_BLOCKS, row // _COLUMNS))
    width = -(-width // _COLUMNS) * _COLUMNS
    blocks, last = -(-row // width), row % width or width

    def body(code: Code, block: Any, given: Sequence[Any]) -> None:
        first = code.builder.mul(block, code.int64(width))
        is_last = code.builder.icmp_signed("==", block, code.int64(blocks - 1))
        if last == width:
            columns(code, block, first, width, given)
            return
        with code.builder.if_else(is_last) as (then, otherwise):
            with then:
                columns(code, block, first, last, given)
            with otherwise:
                columns(code, block, first, width, given)

    def columns(code: Code, block: Any, first: Any, count: int, given: Sequence[Any]) -> None:
        indices, source, to, marks = given
        with code.loop(updates.count) as i:
            place, outside = updates.position(code, indices, i)
            _mark(code, marks, block, outside)
            with code.builder.if_then(code.builder.not_(outside)):
                start = code.offset(
                    code.offset(source, i, row * own.itemsize), first, own.itemsize
                )
                end = code.offset(
                    code.offset(to, place, row * dtype.itemsize), first, dtype.itemsize
                )
                _add_run(code, start, end, count, own, dtype, combine)

    pointers = [updates.index.pointer, updates.updates.pointer, target, marks]
    code.parallel("columns", blocks, pointers, body)


def _add_run(
    code: Code, source: Any, target: Any, count: int, own: DType, dtype: DType, combine: Combine
) -> None:
    """Add `count` elements to as many, each once."""
    lanes = full_lanes(code, dtype)
    whole = count - count % lanes

    def piece(start: Any, lanes: int) -> None:
        to = code.offset(target, start, dtype.itemsize)
        new = load(code, code.offset(source, start, own.itemsize), own, lanes)
        store(code, combine(code, load(code, to, dtype, lanes), new, dtype), to, dtype)

    with code.loop(whole, step=lanes) as i:
        piece(i, lanes)
    with code.loop(count, whole) as i:
        piece(i, 1)


def _by_tables(
    code: Code, updates: Updates, target: Any, marks: Any, dtype: DType, combine: Combine
) -> None:
    size, own = updates.size, updates.updates.type.dtype
    # one more place, for what is out of bounds
    table = -(-(size + 1) * dtype.itemsize // 64) * 64
    tables = code.scratch(table * _BLOCKS)
    chunk = -(-updates.count // _BLOCKS)

    def body(code: Code, block: Any, given: Sequence[Any]) -> None:
        indices, source, tables, marks = given
        builder = code.builder
        mine = code.offset(tables, block, table)
        code.fill_zero(mine, table)
        first = builder.mul(block, code.int64(chunk))
        left, full = builder.sub(code.int64(updates.count), first), code.int64(chunk)
        count = builder.select(builder.icmp_signed("<", left, full), left, full)
        stream = builder.udiv(count, code.int64(_STREAMS))
        starts = [
            builder.add(first, builder.mul(stream, code.int64(number)))
            for number in range(_STREAMS)
        ]

        def add(number: Any, bad: Any) -> Any:
            place, outside = updates.position(code, indices, number)
            new = load(code, code.offset(source, number, own.itemsize), own)
            to = code.offset(mine, place, dtype.itemsize)
            store(code, combine(code, load(code, to, dtype), new, dtype), to, dtype)
            return builder.or_(bad, outside)

        def together(i: Any, bad: Any) -> list[Any]:
            for start in starts:
                bad = add(builder.add(start, i), bad)
            return [bad]

        def alone(i: Any, bad: Any) -> list[Any]:
            return [add(builder.add(first, i), bad)]

        (bad,) = repeat(code, stream, [ir.Constant(ir.IntType(1), 0)], together)
        done = builder.mul(stream, code.int64(_STREAMS))
        (bad,) = repeat(code, count, [bad], alone, start=done)
        _mark(code, marks, block, bad)

    pointers = [updates.index.pointer, updates.updates.pointer, tables, marks]
    code.parallel("tables", _BLOCKS, pointers, body)
    _add_tables(code, tables, table, target, size, dtype, combine)


def _add_tables(
    code: Code,
    tables: Any,
    table: int,
    target: Any,
    size: int,
    dtype: DType,
    combine: Combine,
) -> None:
    def piece(start: Any, lanes: int) -> None:
        to = code.offset(target, start, dtype.itemsize)
        values = [
            load(
                code,
                code.offset(code.offset(tables, b * table), start, dtype.itemsize),
                dtype,
                lanes,
            )
            for b in range(_BLOCKS)
        ]
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [combine(code, x, y, dtype) for x, y in pairs]
        out = code.offset(sums, start, dtype.itemsize)
        store(code, combine(code, load(code, to, dtype, lanes), values[0], dtype), out, dtype)

    # pieces may overlap: the sums are written apart from what they are made of
    sums = code.scratch(size * dtype.itemsize)
    in_pieces(code, size, full_lanes(code, dtype), piece)
    code.copy(target, sums, size * dtype.itemsize)
