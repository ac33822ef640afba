"""Random keys and bits: the Threefry-2x32 hash on vector lanes, bit for bit the eager one.

The hash itself is an element (`elements_random`), and small draws are part of kernels. The
operations here lay counters out and words down as `primitives.threefry` describes for its two
layouts; both words of every hash are used. A word is computed where it is stored: nothing is
kept in between; large draws are split over threads.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.elements_random import joined_words, threefry
from wengert.engines.native.library.common import (
    dense_strides,
    load,
    shuffle_mask,
    spread_pieces,
    store,
)
from wengert.engines.native.vectors import Vectors
from wengert.primitives.threefry import ORIGINAL

ir = lazy_module("llvmlite.ir")

UINT32, UINT64 = np.dtype(np.uint32), np.dtype(np.uint64)

#: Blocks that are worth splitting over threads.
_MANY = 1 << 13


def _lanes(code: Code) -> int:
    return max(int(code.target.vector_bytes) // 4, 1)


def _counters(v: Vectors, start: Any) -> tuple[Any, Any]:
    """The high and low words of the counters `start, start + 1, ...`."""
    builder = v.builder
    wide = v.vector_of(ir.IntType(64))
    index = v.splat(start)
    if v.lanes > 1:
        index = builder.add(index, v.integers(range(v.lanes), 64))
    low = builder.trunc(index, v.vector_of(ir.IntType(32)))
    shifted = builder.lshr(index, v.constant(32, wide))
    return builder.trunc(shifted, low.type), low


def _key(code: Code, keys: Any, number: Any) -> tuple[Any, Any]:
    """The two words of a key, as scalars."""
    pointer = code.offset(keys, number, 8)
    return load(code, pointer, UINT32), load(code, code.offset(pointer, 4), UINT32)


#: `put(code, out, start, y1, y2)` stores the blocks from number `start` on.
Put = Callable[[Code, Any, Any, Any, Any], None]


def _emit_blocks(
    code: Code,
    keys: Any,
    out: Any,
    batch: int,
    blocks: int,
    stride: int,
    second: Callable[[Vectors, Any, Any], tuple[Any, Any]],
    put: Put,
) -> None:
    """Hash `blocks` counter blocks for each of `batch` keys.

    Args:
      stride: bytes from the results of a key to those of the next.
      second: the counter blocks at a number, given its high and low words.
    """

    def piece(code: Code, captured: Sequence[Any], start: Any, lanes: int) -> None:
        v = code.vectors(lanes)
        k1, k2, out = captured
        x1, x2 = second(v, *_counters(v, start))
        y1, y2 = threefry(v, v.splat(k1), v.splat(k2), x1, x2)
        put(code, out, start, y1, y2)

    if batch == 1:
        captured = [*_key(code, keys, 0), out]
        spread_pieces(code, "random", blocks, _lanes(code), captured, piece, _MANY)
        return
    with code.loop(batch) as number:
        captured = [*_key(code, keys, number), code.offset(out, number, stride)]
        spread_pieces(code, "random", blocks, _lanes(code), captured, piece, _MANY)


def _indexed(v: Vectors, high: Any, low: Any) -> tuple[Any, Any]:
    """The counter block of the partitionable layout: the index itself."""
    del v
    return high, low


def _halves(count: int) -> Callable[[Vectors, Any, Any], tuple[Any, Any]]:
    """The counter blocks of the original layout, for `count` words in two halves."""
    half = (count + 1) // 2

    def second(v: Vectors, high: Any, low: Any) -> tuple[Any, Any]:
        del high
        other = v.builder.add(low, v.constant(half, low))
        if count % 2:  # the last block has no second counter
            inside = v.builder.icmp_unsigned("<", other, v.constant(count, other))
            other = v.select(inside, other, v.constant(0, other))
        return low, other

    return second


def _put_pairs(code: Code, out: Any, start: Any, y1: Any, y2: Any) -> None:
    """Both words of each block beside each other."""
    pointer = code.offset(out, start, 8)
    if not isinstance(y1.type, ir.VectorType):
        store(code, y1, pointer, UINT32)
        store(code, y2, code.offset(pointer, 4), UINT32)
        return
    lanes = y1.type.count
    places = [i // 2 + (i % 2) * lanes for i in range(2 * lanes)]
    for part in (places[:lanes], places[lanes:]):
        mixed = code.builder.shuffle_vector(y1, y2, shuffle_mask(part))
        store(code, mixed, pointer, UINT32)
        pointer = code.offset(pointer, lanes * 4)


def _put_halves(count: int) -> Put:
    """First words before second words; the last block of an odd count has no second word."""
    half = (count + 1) // 2

    def put(code: Code, out: Any, start: Any, y1: Any, y2: Any) -> None:
        store(code, y1, code.offset(out, start, 4), UINT32)
        other = code.offset(code.offset(out, half * 4), start, 4)
        if count % 2 == 0:
            store(code, y2, other, UINT32)
            return
        # one word less: the lane that is left over goes where a first word is stored later
        _store_below(code, y2, other, start, count - half)

    return put


def _store_below(code: Code, value: Any, pointer: Any, start: Any, limit: int) -> None:
    """Store the lanes whose number is below `limit`, which all but the last one are."""
    builder = code.builder
    lanes = value.type.count if isinstance(value.type, ir.VectorType) else 1
    whole = builder.icmp_signed("<=", builder.add(start, code.int64(lanes)), code.int64(limit))
    with builder.if_else(whole, likely=True) as (then, otherwise):
        with then:
            store(code, value, pointer, UINT32)
        with otherwise:
            for lane in range(lanes - 1):
                word = builder.extract_element(value, code.int32(lane))
                store(code, word, code.offset(pointer, lane, 4), UINT32)


def _put_elements(width: int) -> Put:
    """One element of so many bits from each block."""
    nbytes = width // 8
    dtype = np.dtype(f"u{nbytes}")

    def put(code: Code, out: Any, start: Any, y1: Any, y2: Any) -> None:
        lanes = y1.type.count if isinstance(y1.type, ir.VectorType) else 1
        v = code.vectors(lanes)
        if width == 64:
            value = joined_words(v, y1, y2)
        else:
            value = code.builder.xor(y1, y2)
            if width < 32:
                value = code.builder.trunc(value, v.vector_of(ir.IntType(width)))
        store(code, value, code.offset(out, start, nbytes), dtype)

    return put


# -- operations ------------------------------------------------------------------------------


def _broadcast_strides(own: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    own = (1,) * (len(shape) - len(own)) + tuple(own)
    strides = dense_strides(own)
    return tuple(0 if n == 1 else s for n, s in zip(own, strides, strict=True))


def emit_seed(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append key data from integer seeds."""
    del equation
    dtype, size = operands[0].type.dtype, operands[0].type.size
    i32 = ir.IntType(32)

    def words(seed: Any) -> tuple[Any, Any]:
        builder = code.builder
        if dtype.itemsize == 8:
            return builder.trunc(builder.lshr(seed, code.int64(32)), i32), builder.trunc(
                seed, i32
            )
        if dtype.itemsize < 4:
            seed = (builder.sext if dtype.kind == "i" else builder.zext)(seed, i32)
        return ir.Constant(i32, 0), seed

    with code.loop(size) as i:
        seed = load(code, code.offset(operands[0].pointer, i, dtype.itemsize), dtype)
        _put_pairs(code, results[0].pointer, i, *words(seed))


def emit_split(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append new keys from each key."""
    count = math.prod(equation.params["shape"])
    batch = operands[0].type.size // 2
    if equation.params["layout"] == ORIGINAL:
        second, put = _halves(2 * count), _put_halves(2 * count)
    else:
        second, put = _indexed, _put_pairs
    if batch and count:
        pointers = operands[0].pointer, results[0].pointer
        _emit_blocks(code, *pointers, batch, count, 8 * count, second, put)


def emit_fold_in(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append keys from keys and words of data."""
    del equation
    keys, data = operands
    shape = results[0].type.shape[:-1]
    key_steps = _broadcast_strides(keys.type.shape[:-1], shape)
    data_steps = _broadcast_strides(data.type.shape, shape)
    rows = dense_strides(shape)

    def loops(axis: int, key: Any, word: Any, out: Any) -> None:
        if axis == len(shape):
            v = code.vectors(1)
            zero = ir.Constant(ir.IntType(32), 0)
            words = threefry(v, *_key(code, key, 0), zero, load(code, word, UINT32))
            _put_pairs(code, out, 0, *words)
            return
        with code.loop(shape[axis]) as i:
            loops(
                axis + 1,
                code.offset(key, i, 8 * key_steps[axis]),
                code.offset(word, i, 4 * data_steps[axis]),
                code.offset(out, i, 8 * rows[axis]),
            )

    loops(0, keys.pointer, data.pointer, results[0].pointer)


def emit_bits(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append random unsigned integers from each key."""
    params = equation.params
    width, size = params["width"], math.prod(params["shape"])
    batch = operands[0].type.size // 2
    if size == 0 or batch == 0:
        return
    keys, out = operands[0].pointer, results[0].pointer
    row = size * width // 8
    if params["layout"] != ORIGINAL:
        _emit_blocks(code, keys, out, batch, size, row, _indexed, _put_elements(width))
        return
    count = -(-width * size // 32)
    half = (count + 1) // 2
    if width == 64:
        _emit_blocks(code, keys, out, batch, half, row, _halves(count), _put_elements(64))
    elif 4 * count == row:
        _emit_blocks(code, keys, out, batch, half, row, _halves(count), _put_halves(count))
    else:  # bytes of words that the last element does not fill
        words = code.scratch(4 * count)
        with code.loop(batch) as number:
            key = code.offset(keys, number, 8)
            _emit_blocks(code, key, words, 1, half, 0, _halves(count), _put_halves(count))
            code.copy(code.offset(out, number, row), words, row)


OPERATIONS = {
    "random_seed": emit_seed,
    "random_split": emit_split,
    "random_fold_in": emit_fold_in,
    "random_bits": emit_bits,
}

#: Words that the 32-bit counters of the original layout suffice for.
_MOST = 2**32 - 1


def _fits(equation: Equation) -> bool:
    """Whether the counters suffice; if not, the eager engine says so."""
    words = 2 * math.prod(equation.params["shape"])
    return words * equation.params.get("width", 32) // 32 <= _MOST


SUPPORTS = {"random_split": _fits, "random_bits": _fits}
