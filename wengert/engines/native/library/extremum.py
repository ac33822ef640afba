"""The positions of the greatest or least elements along an axis: `argmax` and `argmin`.

Elements are compared by keys (see `sort`), in which NaN is beyond all others: the first NaN is
the extremum, as in NumPy. Lanes keep the best key so far and where it was; of equal ones the
first stays. Along the last dimension the lanes of a row are compared in the end; along others,
lanes are neighbouring results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import (
    INT64,
    cast,
    full_lanes,
    in_pieces,
    load,
    power_below,
    repeat,
    spread_rows,
    store,
)
from wengert.engines.native.library.sort import infinity_bits, key_dtype

ir = lazy_module("llvmlite.ir")

#: Elements that are worth splitting over threads.
_MANY = 1 << 16


def _keys(code: Code, pointer: Any, dtype: DType, lanes: int, least: bool) -> Any:
    """Keys of neighbouring elements: unsigned, greatest for what is sought; NaN above all."""
    builder, v = code.builder, code.vectors(lanes)
    bits = load(code, pointer, key_dtype(dtype), lanes)
    kind, width = dtypes.kind(dtype), 8 * dtype.itemsize
    top = v.constant(1 << (width - 1), bits)
    if kind != "f":
        keys = builder.xor(bits, top) if kind == "i" else bits
        return builder.not_(keys) if least else keys
    size = builder.and_(bits, v.constant((1 << (width - 1)) - 1, bits))
    negative = builder.icmp_signed("<", bits, v.constant(0, bits))
    ordered = v.select(negative, builder.sub(v.constant(0, bits), size), size)
    if least:
        ordered = builder.not_(ordered)
    nan = builder.icmp_unsigned(">", size, v.constant(infinity_bits(dtype), bits))
    return v.select(nan, v.constant(-1, bits), builder.xor(ordered, top))


def emit_extremum(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the positions of extrema."""
    (x,), (result,) = operands, results
    shape, axis = x.type.shape, equation.params["axis"]
    outer, size = math.prod(shape[:axis]), shape[axis]
    inner = math.prod(shape[axis + 1 :])
    if outer * inner == 0:
        return
    dtype, least = x.type.dtype, equation.primitive.name == "argmin"
    to = result.type.dtype

    def put(code: Code, places: Any, pointer: Any, lanes: int) -> None:
        store(code, cast(code, places, code.vectors(lanes).type(to), True), pointer, to)

    def row(code: Code, given: Sequence[Any], i: Any) -> None:
        source = code.offset(given[0], i, size * inner * dtype.itemsize)
        target = code.offset(given[1], i, inner * to.itemsize)
        if inner == 1:
            place = _along(code, source, size, dtype, least)
            put(code, place, target, 1)
            return

        def piece(start: Any, lanes: int) -> None:
            places = _across(
                code,
                code.offset(source, start, dtype.itemsize),
                size,
                inner,
                dtype,
                lanes,
                least,
            )
            put(code, places, code.offset(target, start, to.itemsize), lanes)

        in_pieces(code, inner, full_lanes(code, INT64), piece)

    pointers = [x.pointer, result.pointer]
    spread_rows(code, "extrema", outer, pointers, row, x.type.size >= _MANY)


def _better(
    code: Code, lanes: int, carried: Sequence[Any], keys: Any, places: Any
) -> list[Any]:
    """The best of what was and what comes, which loses where it is equal."""
    v = code.vectors(lanes)
    wins = code.builder.icmp_unsigned(">", keys, carried[0])
    return [v.select(wins, keys, carried[0]), v.select(wins, places, carried[1])]


def _across(
    code: Code, source: Any, size: int, inner: int, dtype: DType, lanes: int, least: bool
) -> Any:
    """Places of the extrema of neighbouring columns."""
    v = code.vectors(lanes)

    def body(i: Any, *carried: Any) -> list[Any]:
        keys = _keys(code, code.offset(source, i, inner * dtype.itemsize), dtype, lanes, least)
        return _better(code, lanes, carried, keys, v.splat(i))

    first = _keys(code, source, dtype, lanes, least)
    start = [first, v.constant(0, v.vector_of(ir.IntType(64)))]
    return repeat(code, size, start, body, start=1)[1]


def _along(code: Code, source: Any, size: int, dtype: DType, least: bool) -> Any:
    """The place of the extremum of a row."""
    builder = code.builder
    lanes = min(full_lanes(code, INT64), power_below(size))
    v = code.vectors(lanes)
    steps = v.integers(range(lanes), 64)

    def at(start: Any) -> tuple[Any, Any]:
        keys = _keys(code, code.offset(source, start, dtype.itemsize), dtype, lanes, least)
        places = builder.add(v.splat(start), steps) if lanes > 1 else start
        return keys, places

    def body(start: Any, *carried: Any) -> list[Any]:
        return _better(code, lanes, carried, *at(start))

    best = repeat(code, size // lanes * lanes, [*at(code.int64(0))], body, lanes, lanes)
    if size % lanes:  # some elements once more: they lose to themselves
        best = _better(code, lanes, best, *at(code.int64(size - lanes)))
    return _first_of_best(code, best[0], best[1], lanes)


def _first_of_best(code: Code, keys: Any, places: Any, lanes: int) -> Any:
    """The place of the lane with the greatest key; of equal ones the least place."""
    if lanes == 1:
        return places
    builder = code.builder

    def lane(value: Any, i: int) -> Any:
        return builder.extract_element(value, code.int32(i))

    best = [lane(keys, 0), lane(places, 0)]
    for i in range(1, lanes):
        key, place = lane(keys, i), lane(places, i)
        greater = builder.icmp_unsigned(">", key, best[0])
        equal = builder.icmp_signed("==", key, best[0])
        earlier = builder.and_(equal, builder.icmp_signed("<", place, best[1]))
        wins = builder.or_(greater, earlier)
        best = [builder.select(wins, key, best[0]), builder.select(wins, place, best[1])]
    return best[1]


def _is_real(equation: Equation) -> bool:
    return not dtypes.is_complex(equation.inputs[0].type.dtype) and dtypes.is_integer(
        equation.outputs[0].type.dtype
    )


OPERATIONS: dict[str, Callable[..., None]] = dict.fromkeys(("argmax", "argmin"), emit_extremum)
SUPPORTS = dict.fromkeys(OPERATIONS, _is_real)
