"""What the emitters of library operations share: elements in memory, and loops with carries.

Elements are held in registers as `vectors.Vectors` says: bools as `i1`, 16-bit floats as
float32. `load` and `store` convert on the way; complex numbers are pairs of real elements, and
whoever handles them does so by parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code
from wengert.engines.native.vectors import element_type

ir = lazy_module("llvmlite.ir")

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)


def full_lanes(code: Code, dtype: DType) -> int:
    """How many elements of a dtype, as held in registers, fill a vector register."""
    held = 4 if is_narrow(dtype) else dtype.itemsize
    return max(int(code.target.vector_bytes) // held, 1)


def is_narrow(dtype: DType) -> bool:
    """Whether a dtype is a 16-bit float."""
    return dtypes.is_floating(dtype) and dtype.itemsize == 2


def power_below(n: int) -> int:
    """The largest power of two that is not greater than `n`."""
    return 1 << (n.bit_length() - 1)


def memory_type(dtype: DType, lanes: int) -> Any:
    """The type of so many elements as they lie in memory."""
    if dtypes.kind(dtype) == "b" or is_narrow(dtype):
        element = ir.IntType(8 * dtype.itemsize)
    else:
        element = element_type(dtype)
    return element if lanes == 1 else ir.VectorType(element, lanes)


def load(code: Code, pointer: Any, dtype: DType, lanes: int = 1, align: int = 0) -> Any:
    """Elements from memory into registers."""
    builder = code.builder
    stored = memory_type(dtype, lanes)
    value = builder.load(pointer, align=align or dtype.itemsize, typ=stored)
    if dtypes.kind(dtype) == "b":
        return builder.icmp_unsigned("!=", value, ir.Constant(stored, None))
    return widened(code, value, dtype, lanes) if is_narrow(dtype) else value


def store(code: Code, value: Any, pointer: Any, dtype: DType, align: int = 0) -> None:
    """Elements from registers into memory."""
    builder = code.builder
    lanes = value.type.count if isinstance(value.type, ir.VectorType) else 1
    if dtypes.kind(dtype) == "b":
        value = builder.zext(value, memory_type(dtype, lanes))
    elif is_narrow(dtype):
        value = narrowed(code, value, dtype, lanes)
    builder.store(value, pointer, align=align or dtype.itemsize)


def widened(code: Code, bits: Any, dtype: DType, lanes: int) -> Any:
    """The 16 bits of floats as float32."""
    builder, v = code.builder, code.vectors(lanes)
    if dtype == dtypes.bfloat16:
        wide = builder.zext(bits, v.vector_of(ir.IntType(32)))
        return v.as_float(builder.shl(wide, v.constant(16, wide)))
    half = builder.bitcast(bits, v.vector_of(ir.HalfType()))
    return builder.fpext(half, v.vector_of(ir.FloatType()))


def narrowed(code: Code, value: Any, dtype: DType, lanes: int) -> Any:
    """float32 rounded to 16 bits, to the nearest, ties to even; NaN stays NaN."""
    builder, v = code.builder, code.vectors(lanes)
    short = v.vector_of(ir.IntType(16))
    if dtype != dtypes.bfloat16:
        half = builder.fptrunc(value, v.vector_of(ir.HalfType()))
        return builder.bitcast(half, short)
    bits = v.as_bits(value)
    upper = builder.lshr(bits, v.constant(16, bits))
    odd = builder.and_(upper, v.constant(1, bits))
    rounded = builder.add(bits, builder.add(odd, v.constant(0x7FFF, bits)))
    rounded = builder.lshr(rounded, v.constant(16, bits))
    sign = builder.and_(upper, v.constant(0x8000, bits))
    nan = builder.or_(sign, v.constant(0x7FC0, bits))
    return builder.trunc(v.select(v.is_nan(value), nan, rounded), short)


def repeat(
    code: Code,
    count: Any,
    carries: Sequence[Any],
    body: Callable[..., Sequence[Any]],
    start: Any = 0,
    step: int = 1,
) -> list[Any]:
    """A loop over `start <= i < count` that hands values on from one round to the next.

    Args:
      carries: the values at the start.
      body: `body(i, *carries)` appends one round and returns the next carries.

    Returns:
      the carries after the last round.
    """
    builder = code.builder
    before = builder.block
    loop = code.loop(count, start, step)
    with loop as index:
        phis = [builder.phi(value.type) for value in carries]
        for phi, value in zip(phis, carries, strict=True):
            phi.add_incoming(value, before)
        following = list(body(index, *phis))
        for phi, value in zip(phis, following, strict=True):
            phi.add_incoming(value, builder.block)
        last = builder.block
    results = []
    for value, after in zip(carries, following, strict=True):
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(after, last)
        results.append(phi)
    return results


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a row-major array, in elements."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def convert(
    code: Code, source: Any, source_dtype: DType, target: Any, dtype: DType, size: int
) -> None:
    """Copy dense elements into another real dtype, by vectors."""
    signed = dtypes.kind(source_dtype) == "i"

    def piece(start: Any, lanes: int) -> None:
        v = code.vectors(lanes)
        pointer = code.offset(source, start, source_dtype.itemsize)
        value = load(code, pointer, source_dtype, lanes)
        value = cast(code, value, v.type(dtype), signed)
        store(code, value, code.offset(target, start, dtype.itemsize), dtype)

    in_pieces(code, size, min(full_lanes(code, dtype), full_lanes(code, source_dtype)), piece)


def cast(code: Code, value: Any, target: Any, signed: bool) -> Any:
    """A value in registers as another (real) type."""
    builder = code.builder
    if value.type == target:
        return value
    have, want = (getattr(t, "element", t) for t in (value.type, target))
    if isinstance(have, ir.IntType):
        if isinstance(want, ir.IntType):
            if want.width < have.width:
                return builder.trunc(value, target)
            return (builder.sext if signed else builder.zext)(value, target)
        return (builder.sitofp if signed else builder.uitofp)(value, target)
    if isinstance(want, ir.IntType):
        return builder.fptosi(value, target)
    wider = isinstance(want, ir.DoubleType)
    return builder.fpext(value, target) if wider else builder.fptrunc(value, target)


def in_pieces(code: Code, size: int, lanes: int, piece: Callable[[Any, int], None]) -> None:
    """Call `piece(start, lanes)` so that the pieces cover `0 .. size-1`.

    Pieces may overlap: the last is moved back rather than made shorter. So it must not matter
    that an element is computed twice.
    """
    if size <= 0:
        return
    lanes = min(lanes, power_below(size))
    whole = size - size % lanes
    if whole == lanes:
        piece(code.int64(0), lanes)
    else:
        with code.loop(whole, step=lanes) as start:
            piece(start, lanes)
    if whole < size:
        piece(code.int64(size - lanes), lanes)


def each(code: Code, size: int, step: int, body: Callable[[Any, int], None]) -> None:
    """`body(start, extent)` over `0 .. size-1` in steps, with what is left at the end."""
    whole = size // step * step
    if whole == step:
        body(0, step)
    elif whole:
        with code.loop(whole, step=step) as start:
            body(start, step)
    if whole < size:
        body(whole, size - whole)


def spread_pieces(
    code: Code,
    name: str,
    size: int,
    lanes: int,
    captured: Sequence[Any],
    piece: Callable[[Code, Sequence[Any], Any, int], None],
    least: int,
) -> None:
    """`in_pieces` on all threads, for sizes of at least `least`.

    Args:
      captured: LLVM values that `piece(code, captured, start, lanes)` needs.
    """
    blocks = min(size // max(least // 2, lanes), _BLOCKS)
    if size < least or blocks < 2:
        in_pieces(code, size, lanes, lambda start, n: piece(code, captured, start, n))
        return
    chunk = -(-size // blocks // lanes) * lanes
    blocks, last = -(-size // chunk), size % chunk or chunk

    def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
        first = code.builder.mul(block, code.int64(chunk))
        limit = code.int64(chunk - chunk % lanes)
        if last != chunk:
            is_last = code.builder.icmp_signed("==", block, code.int64(blocks - 1))
            limit = code.builder.select(is_last, code.int64(last - last % lanes), limit)
        with code.loop(limit, step=lanes) as i:
            piece(code, captured, code.builder.add(first, i), lanes)

    code.parallel(name, blocks, captured, body)
    if last % lanes:
        piece(code, captured, code.int64(size - lanes), lanes)


#: Blocks of work that are handed to threads.
_BLOCKS = 16


def shuffle_mask(places: Sequence[int]) -> Any:
    """The constant that tells a shuffle where its lanes come from."""
    i32 = ir.IntType(32)
    return ir.Constant(ir.VectorType(i32, len(places)), [ir.Constant(i32, p) for p in places])


def spread_rows(
    code: Code,
    name: str,
    count: int,
    captured: Sequence[Any],
    row: Callable[[Code, Sequence[Any], Any], None],
    worthwhile: bool,
) -> None:
    """`row(code, captured, i)` for `0 <= i < count`; on all threads where worthwhile."""
    if not worthwhile or count < 2:
        with code.loop(count) as i:
            row(code, captured, i)
        return
    chunk = -(-count // min(count, _BLOCKS))

    def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
        first = code.builder.mul(block, code.int64(chunk))
        last = code.builder.add(first, code.int64(chunk))
        if count % chunk:
            end = code.int64(count)
            last = code.builder.select(code.builder.icmp_signed("<", last, end), last, end)
        with code.loop(last, first) as i:
            row(code, captured, i)

    code.parallel(name, -(-count // chunk), captured, body)
