"""How lanes are in memory: bools as bytes, 16-bit floats in 16 bits.

In registers bools are truths and 16-bit floats are float32 that have been rounded to 16 bits;
everything else is in memory as it is in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.lazy import lazy_module
from wengert.engines.native.vectors import Vectors

ir = lazy_module("llvmlite.ir")


def round_to_16_bits(v: Vectors, x: Any, dtype: Any) -> Any:
    """float32 lanes rounded to the numbers of float16 or bfloat16, to the nearest."""
    return from_memory(v, to_memory(v, x, dtype), dtype)


def memory_type(v: Vectors, dtype: Any) -> Any:
    """The type in which lanes of a dtype are in memory."""
    kind, size = dtypes.kind(dtype), dtype.itemsize
    if kind == "f" and size == 2:
        return v.vector_of(ir.HalfType() if dtype == np.float16 else ir.IntType(16))
    return v.vector_of(ir.IntType(8)) if kind == "b" else v.type(dtype)


def to_memory(v: Vectors, x: Any, dtype: Any) -> Any:
    """Lanes as they are stored: bools as bytes, 16-bit floats in 16 bits."""
    type_ = memory_type(v, dtype)
    if dtypes.kind(dtype) == "b":
        return v.builder.zext(x, type_)
    if dtype == np.float16:
        return v.builder.fptrunc(x, type_)
    if dtype == dtypes.bfloat16:
        bits = v.as_bits(x)
        last = v.builder.and_(v.builder.lshr(bits, v.constant(16, bits)), v.constant(1, bits))
        rounded = v.builder.add(v.builder.add(bits, v.constant(0x7FFF, bits)), last)
        quiet = v.builder.or_(bits, v.constant(1 << 22, bits))
        kept = v.select(v.is_nan(x), quiet, rounded)
        return v.builder.trunc(v.builder.lshr(kept, v.constant(16, bits)), type_)
    return x


def from_memory(v: Vectors, x: Any, dtype: Any) -> Any:
    """Lanes as operations take them, from how they are stored."""
    if dtypes.kind(dtype) == "b":
        return v.compare("ne", x, v.constant(0, x))
    if dtype == np.float16:
        return v.builder.fpext(x, v.vector_of(ir.FloatType()))
    if dtype == dtypes.bfloat16:
        wide = v.builder.zext(x, v.vector_of(ir.IntType(32)))
        return v.as_float(v.builder.shl(wide, v.constant(16, wide)))
    return x


def narrowed(v: Vectors, x: Any, target: Any) -> Any:
    """float64 lanes as float32, or as lanes of 16 bits before these are rounded.

    NumPy rounds to float16 once, and to bfloat16 by way of float32.
    """
    return v.narrow(_rounded_to_odd(v, x) if target == np.float16 else x)


def _rounded_to_odd(v: Vectors, x: Any) -> Any:
    """float64 lanes with the bits that float32 lacks folded into its last one.

    Rounding such a float32 to 16 bits gives what rounding the float64 at once would (Boldo and
    Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    bits = v.as_bits(x)
    low = v.builder.and_(bits, v.constant((1 << 29) - 1, bits))
    sticky = v.compare("ne", low, v.constant(0, bits))
    kept = v.builder.and_(bits, v.constant(-(1 << 29), bits))
    odd = v.builder.or_(kept, v.constant(1 << 29, bits))
    return v.as_float(v.select(sticky, odd, kept))
