"""Sorting by one or several keys, the greatest elements, and positions in sorted arrays.

Keys become unsigned integers whose order is that of the elements: NaN last and all of them
equal, both zeros equal. Short rows are sorted by insertion, longer ones byte by byte from the
lowest (radix sort), skipping bytes that are the same everywhere; both are stable. What moves is
the key and the position; the operands are gathered at the end. Later keys are sorted first.

D. Knuth, "The Art of Computer Programming", volume 3, 5.2.1 and 5.2.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import (
    INT32,
    INT64,
    load,
    memory_type,
    spread_rows,
    store,
)
from wengert.engines.native.library.scatter import Positions

ir = lazy_module("llvmlite.ir")

UINT32, UINT64 = np.dtype(np.uint32), np.dtype(np.uint64)

#: Rows up to this long are sorted by insertion.
_SHORT = 24
#: Greatest elements that are kept in order while a row is read.
_FEW = 32
#: Elements that are worth splitting over threads, and into how many blocks.
_MANY = 1 << 14
_BLOCKS = 8
_DIGITS = 256


# -- keys ------------------------------------------------------------------------------------


def key_dtype(dtype: DType) -> DType:
    """The unsigned dtype of the keys of a dtype."""
    return np.dtype(f"u{dtype.itemsize}")


def key_of(code: Code, pointer: Any, dtype: DType) -> Any:
    """The key of an element in memory."""
    builder, width = code.builder, 8 * dtype.itemsize
    type_ = ir.IntType(width)
    bits = builder.load(pointer, align=dtype.itemsize, typ=type_)
    kind = dtypes.kind(dtype)
    if kind in "bu":
        return bits
    top = ir.Constant(type_, -(1 << (width - 1)))
    if kind == "i":
        return builder.xor(bits, top)
    size = builder.and_(bits, ir.Constant(type_, (1 << (width - 1)) - 1))
    infinite = ir.Constant(type_, infinity_bits(dtype))
    negative = builder.icmp_signed("<", bits, ir.Constant(type_, 0))
    # two's complement of the size keeps both zeros equal
    ordered = builder.select(negative, builder.neg(size), size)
    nan = builder.icmp_unsigned(">", size, infinite)
    key = builder.xor(ordered, top)
    return builder.select(nan, ir.Constant(type_, -1), key)


def infinity_bits(dtype: DType) -> int:
    """The bits of infinity: those of NaN without its sign are greater."""
    infinity = np.array([math.inf]).astype(dtype)
    return int(infinity.view(key_dtype(dtype))[0])


# -- sorting ---------------------------------------------------------------------------------


class Sorter:
    """Sorts positions by keys, both in memory of its own.

    Args:
      memory: where `nbytes` of it are for one row at a time.
      size: elements of a row.
      key: the dtype of keys.
    """

    def __init__(self, code: Code, memory: Any, size: int, key: DType) -> None:
        self.code, self.size, self.key = code, size, key
        keys, places = _rounded(size * 8), _rounded(size * 4)
        # (keys, positions): where they are, and where they may be moved to
        self._here, self._there = (
            [
                code.stack(code.pointer_type, code.offset(memory, i * keys)),
                code.stack(code.pointer_type, code.offset(memory, 2 * keys + i * places)),
            ]
            for i in range(2)
        )
        self.counts = code.offset(memory, 2 * (keys + places))

    @staticmethod
    def nbytes(size: int) -> int:
        """How much memory a sorter needs."""
        return 2 * (_rounded(size * 8) + _rounded(size * 4)) + 8 * _DIGITS * 4

    def _pointers(self, slots: Sequence[Any]) -> tuple[Any, Any]:
        builder = self.code.builder
        keys, places = (builder.load(slot, typ=self.code.pointer_type) for slot in slots)
        return keys, places

    def start(self) -> None:
        """Positions in order."""
        _, places = self._pointers(self._here)
        with self.code.loop(self.size) as i:
            place = self.code.builder.trunc(i, ir.IntType(32))
            store(self.code, place, self.code.offset(places, i, 4), UINT32)

    def place(self, i: Any) -> Any:
        """The i-th position, as an index."""
        _, places = self._pointers(self._here)
        value = load(self.code, self.code.offset(places, i, 4), UINT32)
        return self.code.builder.zext(value, ir.IntType(64))

    def sort(self, key_at: Callable[[Any], Any], key: DType) -> None:
        """Sort the positions by the keys `key_at(position)`, equal ones staying in order."""
        self.key = key
        keys, _ = self._pointers(self._here)
        with self.code.loop(self.size) as i:
            store(self.code, key_at(self.place(i)), self._key(keys, i), key)
        if self.size <= _SHORT:
            with self.code.loop(self.size, 1) as i:
                keys, places = self._pointers(self._here)
                place = load(self.code, self.code.offset(places, i, 4), UINT32)
                self.sink(i, load(self.code, self._key(keys, i), key), place)
        else:
            self._count()
            for digit in range(key.itemsize):
                self._pass(digit)

    def key_value(self, i: Any) -> Any:
        """The i-th key, after sorting."""
        keys, _ = self._pointers(self._here)
        return load(self.code, self._key(keys, i), self.key)

    def _key(self, keys: Any, i: Any) -> Any:
        return self.code.offset(keys, i, self.key.itemsize)

    def sink(self, i: Any, key: Any, place: Any) -> None:
        """Insert what belongs among the sorted ones before `i`, overwriting the i-th."""
        code, builder = self.code, self.code.builder
        keys, places = self._pointers(self._here)
        zero, one = code.int64(0), code.int64(1)
        before = builder.block
        check, shift, done = (
            builder.append_basic_block(name) for name in ("check", "shift", "done")
        )
        builder.branch(check)
        builder.position_at_end(check)
        j = builder.phi(ir.IntType(64))
        j.add_incoming(i, before)
        ahead, inside = builder.sub(j, one), builder.icmp_signed(">", j, zero)
        # at the front it is compared with the first, whatever that says
        other = load(code, self._key(keys, builder.select(inside, ahead, zero)), self.key)
        builder.cbranch(
            builder.and_(inside, builder.icmp_unsigned(">", other, key)), shift, done
        )
        builder.position_at_end(shift)
        store(code, other, self._key(keys, j), self.key)
        moved = load(code, code.offset(places, ahead, 4), UINT32)
        store(code, moved, code.offset(places, j, 4), UINT32)
        j.add_incoming(ahead, builder.block)
        builder.branch(check)
        builder.position_at_end(done)
        store(code, key, self._key(keys, j), self.key)
        store(code, place, code.offset(places, j, 4), UINT32)

    def _digit(self, key: Any, digit: int) -> Any:
        builder = self.code.builder
        if digit:
            key = builder.lshr(key, ir.Constant(key.type, 8 * digit))
        wide = ir.IntType(64)
        if key.type.width < 64:
            key = builder.zext(key, wide)
        return builder.and_(key, ir.Constant(wide, _DIGITS - 1))

    def _counter(self, digit: int, value: Any) -> Any:
        row = self.code.offset(self.counts, digit * _DIGITS, 4)
        return self.code.offset(row, value, 4)

    def _count(self) -> None:
        """How often every value of every digit occurs."""
        code, builder = self.code, self.code.builder
        code.fill_zero(self.counts, self.key.itemsize * _DIGITS * 4)
        one = ir.Constant(ir.IntType(32), 1)
        keys, _ = self._pointers(self._here)
        with code.loop(self.size) as i:
            key = load(code, self._key(keys, i), self.key)
            for digit in range(self.key.itemsize):
                counter = self._counter(digit, self._digit(key, digit))
                store(code, builder.add(load(code, counter, UINT32), one), counter, UINT32)

    def _pass(self, digit: int) -> None:
        """Move everything to its place by one digit, unless that is the same for all."""
        code, builder = self.code, self.code.builder
        first = self.key_value(0)
        count = load(code, self._counter(digit, self._digit(first, digit)), UINT32)
        differ = builder.icmp_unsigned("!=", count, ir.Constant(ir.IntType(32), self.size))
        with builder.if_then(differ):
            self._add_up(digit)
            self._move(digit)
            here, there = self._pointers(self._here), self._pointers(self._there)
            for slot, pointer in zip((*self._here, *self._there), (*there, *here), strict=True):
                builder.store(pointer, slot)

    def _add_up(self, digit: int) -> None:
        """Counts into the places where the elements with a digit begin."""
        code, builder = self.code, self.code.builder
        total = code.stack(ir.IntType(32))
        builder.store(ir.Constant(ir.IntType(32), 0), total)
        with code.loop(_DIGITS) as value:
            counter = self._counter(digit, value)
            count, so_far = load(code, counter, UINT32), load(code, total, UINT32)
            store(code, so_far, counter, UINT32)
            store(code, builder.add(so_far, count), total, UINT32)

    def _move(self, digit: int) -> None:
        code, builder = self.code, self.code.builder
        one = ir.Constant(ir.IntType(32), 1)
        (keys, places), (to_keys, to_places) = map(self._pointers, (self._here, self._there))
        with code.loop(self.size) as i:
            key = load(code, self._key(keys, i), self.key)
            place = load(code, code.offset(places, i, 4), UINT32)
            counter = self._counter(digit, self._digit(key, digit))
            position = load(code, counter, UINT32)
            store(code, builder.add(position, one), counter, UINT32)
            to = builder.zext(position, ir.IntType(64))
            store(code, key, self._key(to_keys, to), self.key)
            store(code, place, code.offset(to_places, to, 4), UINT32)


def _rounded(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def each_row(
    code: Code,
    rows: int,
    size: int,
    captured: Sequence[Any],
    body: Callable[[Code, Sequence[Any], Any, Any], None],
    nbytes: int,
) -> None:
    """`body(code, captured, row, memory)` for every row, each thread with memory of its own."""
    blocks = min(rows, _BLOCKS) if rows * size >= _MANY else 1
    memory = code.scratch(nbytes * blocks)
    chunk = -(-rows // blocks)

    def block(code: Code, given: Sequence[Any], number: Any) -> None:
        own = code.offset(given[-1], number, nbytes)
        first = code.builder.mul(number, code.int64(chunk))
        last = code.builder.add(first, code.int64(chunk))
        end = code.int64(rows)
        last = code.builder.select(code.builder.icmp_signed("<", last, end), last, end)
        with code.loop(last, first) as row:
            body(code, given[:-1], row, own)

    spread_rows(code, "rows", -(-rows // chunk), [*captured, memory], block, blocks > 1)


def move_element(code: Code, source: Any, target: Any, dtype: DType) -> None:
    """Copy one element of any dtype."""
    words = 2 if dtype.itemsize == 16 else 1
    type_ = memory_type(np.dtype(f"u{dtype.itemsize // words}"), words)
    align = dtype.itemsize // words
    value = code.builder.load(source, align=align, typ=type_)
    code.builder.store(value, target, align=align)


# -- operations ------------------------------------------------------------------------------


def emit_sort(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a sort of operands by the first of them."""
    shape, axis = operands[0].type.shape, equation.params["dimension"]
    size, inner = shape[axis], math.prod(shape[axis + 1 :])
    rows = math.prod(shape[:axis]) * inner
    kinds = [operand.type.dtype for operand in operands]
    keys = kinds[: equation.params.get("num_keys", 1)]
    if rows * size == 0:
        return

    def body(code: Code, given: Sequence[Any], row: Any, memory: Any) -> None:
        start = _row_start(code, row, size, inner)
        sources, targets = given[: len(kinds)], given[len(kinds) :]

        def at(pointers: Sequence[Any], number: int, i: Any) -> Any:
            first = code.offset(pointers[number], start, kinds[number].itemsize)
            return code.offset(first, i, inner * kinds[number].itemsize)

        sorter = Sorter(code, memory, size, key_dtype(keys[0]))
        sorter.start()
        for number in reversed(range(len(keys))):
            dtype = keys[number]

            def key_at(i: Any, number: int = number, dtype: DType = dtype) -> Any:
                return key_of(code, at(sources, number, i), dtype)

            sorter.sort(key_at, key_dtype(dtype))
        with code.loop(size) as i:
            place = sorter.place(i)
            for number, dtype in enumerate(kinds):
                move_element(code, at(sources, number, place), at(targets, number, i), dtype)

    pointers = [buffer.pointer for buffer in (*operands, *results)]
    each_row(code, rows, size, pointers, body, Sorter.nbytes(size))


def _row_start(code: Code, row: Any, size: int, inner: int) -> Any:
    """The element that a row along an axis starts with."""
    builder = code.builder
    if inner == 1:
        return builder.mul(row, code.int64(size))
    outer = builder.udiv(row, code.int64(inner))
    rest = builder.urem(row, code.int64(inner))
    return builder.add(builder.mul(outer, code.int64(size * inner)), rest)


def emit_top_k(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the k greatest elements of each row, in falling order."""
    (x,), k = operands, equation.params["k"]
    dtype, size = x.type.dtype, x.type.shape[-1]
    rows = math.prod(x.type.shape[:-1])
    if rows * k == 0:
        return
    key = key_dtype(dtype)

    def body(code: Code, given: Sequence[Any], row: Any, memory: Any) -> None:
        source = code.offset(given[0], row, size * dtype.itemsize)
        values = code.offset(given[1], row, k * dtype.itemsize)
        places = code.offset(given[2], row, 4 * k)

        def falling(i: Any) -> Any:
            return code.builder.not_(
                key_of(code, code.offset(source, i, dtype.itemsize), dtype)
            )

        if k <= _FEW and size > _SHORT:
            place = _keep_best(code, memory, size, k, falling, key)
        else:
            sorter = Sorter(code, memory, size, key)
            sorter.start()
            sorter.sort(falling, key)
            place = sorter.place
        with code.loop(k) as i:
            at = place(i)
            move_element(
                code,
                code.offset(source, at, dtype.itemsize),
                code.offset(values, i, dtype.itemsize),
                dtype,
            )
            number = code.builder.trunc(at, ir.IntType(32))
            store(code, number, code.offset(places, i, 4), INT32)

    pointers = [x.pointer, *(result.pointer for result in results)]
    each_row(code, rows, size, pointers, body, Sorter.nbytes(size))


def _keep_best(
    code: Code, memory: Any, size: int, k: int, key_at: Callable[[Any], Any], key: DType
) -> Callable[[Any], Any]:
    """Keep the k least keys in order while reading a row; returns how to get positions."""
    best = Sorter(code, memory, k, key)
    best.start()
    best.sort(key_at, key)
    last = code.int64(k - 1)
    with code.loop(size, k) as i:
        fresh = key_at(i)
        better = code.builder.icmp_unsigned("<", fresh, best.key_value(last))
        with code.builder.if_then(better, likely=False):
            best.sink(last, fresh, code.builder.trunc(i, ir.IntType(32)))
    return best.place


def _real_keys(equation: Equation) -> bool:
    """Whether the keys have an order here; positions must fit 32 bits."""
    count = equation.params.get("num_keys", 1)
    axis = equation.params["dimension"]
    types = [atom.type for atom in equation.inputs]
    real = all(not dtypes.is_complex(t.dtype) for t in types[:count])
    return real and types[0].shape[axis] < 2**31


def _real_operand(equation: Equation) -> bool:
    type_ = equation.inputs[0].type
    return not dtypes.is_complex(type_.dtype) and type_.shape[-1] < 2**31


# -- positions in sorted arrays --------------------------------------------------------------


def emit_searchsorted(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append where elements would be inserted, by binary search."""
    ordered, query = operands
    dtype, size = ordered.type.dtype, ordered.type.shape[-1]
    rows = math.prod(ordered.type.shape[:-1])
    if query.type.size == 0:
        return
    count = query.type.size // rows
    left = equation.params.get("side", "left") == "left"

    def search(code: Code, given: Sequence[Any], number: Any) -> None:
        haystack, queries, out = given
        if rows > 1:
            row = code.builder.udiv(number, code.int64(count))
            haystack = code.offset(haystack, row, size * dtype.itemsize)
        key = key_of(code, code.offset(queries, number, dtype.itemsize), dtype)
        place = _bisected(code, haystack, size, key, dtype, left)
        place = code.builder.trunc(place, ir.IntType(32))
        store(code, place, code.offset(out, number, 4), INT32)

    pointers = [ordered.pointer, query.pointer, results[0].pointer]
    many = query.type.size * max(size.bit_length(), 1) >= _MANY
    spread_rows(code, "searches", query.type.size, pointers, search, many)


def _bisected(code: Code, haystack: Any, size: int, key: Any, dtype: DType, left: bool) -> Any:
    """How many elements of a sorted row come before a key; all steps, without branches."""
    builder = code.builder
    low: Any = code.int64(0)
    length = size
    symbol = "<" if left else "<="
    while length > 0:
        half = (length + 1) // 2
        middle = builder.add(low, code.int64(half - 1))
        pivot = key_of(code, code.offset(haystack, middle, dtype.itemsize), dtype)
        beyond = builder.icmp_unsigned(symbol, pivot, key)
        low = builder.select(beyond, builder.add(low, code.int64(half)), low)
        length -= half
    return low


def _ordered(equation: Equation) -> bool:
    return not dtypes.is_complex(equation.inputs[0].type.dtype)


# -- which updates meet ----------------------------------------------------------------------


def emit_order(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the order of a scatter's updates by place, its inverse, and where places begin."""
    sizes, mode = equation.params["sizes"], equation.params["mode"]
    order, inverse, begins = results
    rows, size = math.prod(order.type.shape[:-1]), order.type.shape[-1]
    if rows * size == 0:
        return
    array = ArrayType(tuple(sizes), UINT64)
    positions = Positions(Buffer(None, array), operands, range(len(sizes)), mode)
    places = code.scratch(8 * rows * size)
    with code.loop(rows * size) as i:  # what is dropped comes after all places
        store(code, code.int64(math.prod(sizes)), code.offset(places, i, 8), INT64)
    positions.each(code, lambda i, at: store(code, at, code.offset(places, i, 8), INT64))

    def body(code: Code, given: Sequence[Any], row: Any, memory: Any) -> None:
        keys, to, back, marks = (
            code.offset(p, row, size * width)
            for p, width in zip(given, (8, 8, 8, 1), strict=True)
        )
        sorter = Sorter(code, memory, size, UINT64)
        sorter.start()
        sorter.sort(lambda i: load(code, code.offset(keys, i, 8), UINT64), UINT64)
        zero, one = code.int64(0), code.int64(1)
        with code.loop(size) as i:
            place = sorter.place(i)
            store(code, place, code.offset(to, i, 8), INT64)
            store(code, i, code.offset(back, place, 8), INT64)
            first = code.builder.icmp_signed("==", i, zero)
            ahead = code.builder.select(first, zero, code.builder.sub(i, one))
            differs = code.builder.icmp_signed(
                "!=", sorter.key_value(i), sorter.key_value(ahead)
            )
            store(code, code.builder.or_(first, differs), code.offset(marks, i), dtypes.BOOL)

    pointers = [places, order.pointer, inverse.pointer, begins.pointer]
    each_row(code, rows, size, pointers, body, Sorter.nbytes(size))


OPERATIONS = {
    "sort": emit_sort,
    "top_k": emit_top_k,
    "searchsorted": emit_searchsorted,
    "scatter_order": emit_order,
}
SUPPORTS = {"sort": _real_keys, "top_k": _real_operand, "searchsorted": _ordered}
