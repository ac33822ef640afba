"""Uniform bits, floats and integers: what all other samplers are made of.

The functions with a leading underscore take a key that has been checked and counted as used;
the samplers of the other modules call them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.dtypes import DType
from wengert.core.primitive import Value
from wengert.primitives.cast import bitcast_convert, convert
from wengert.primitives.compare import bitwise_and, gt, select
from wengert.primitives.elementwise import clamp, maximum, rem
from wengert.primitives.random_bits import UINT32, bits_for, random_bits, unit_interval
from wengert.random.arguments import (
    common_shape,
    float_dtype,
    integer_dtype,
    parameter,
    shape_of,
)
from wengert.random.keys import KeyArray, sub_keys, take_key

_INTEGER_TYPES = (int, bool, np.integer)


def bits(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Random bits, as unsigned integers.

    Args:
      key: a random key.
      shape: of the result.
      dtype: an unsigned integer dtype; by default uint32.

    >>> from wengert import random
    >>> random.bits(random.key(0), (3,), "uint8")
    Array([89,  1, 32], dtype=uint8)
    """
    shape = shape_of("bits", shape)
    dtype = UINT32 if dtype is None else dtypes.as_dtype(dtype)
    if dtype.kind != "u":
        raise errors.DTypeError(f"bits needs an unsigned integer dtype, got {dtype.name}.")
    return _bits(take_key("bits", key), 8 * dtype.itemsize, shape)


def _bits(key: KeyArray, width: int, shape: Shape) -> Any:
    return random_bits(key._data, width=width, shape=shape, layout=key.impl)


def uniform(
    key: Any, shape: Any = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0
) -> Array:
    """Uniform floats in [minval, maxval).

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.
      minval, maxval: the ends of the interval; numbers or arrays that broadcast to `shape`.

    Raises:
      ValueError: when `minval` exceeds `maxval`.

    >>> from wengert import random
    >>> random.uniform(random.key(0), (2,), minval=-1.0)
    Array([-0.5674093 ,  0.60824823], dtype=float32)
    """
    shape, dtype = shape_of("uniform", shape), float_dtype("uniform", dtype)
    low, high = minval, maxval
    if type(low) is not float or type(high) is not float:
        low, high = (parameter("uniform", x, dtype) for x in (minval, maxval))
        common_shape("uniform", shape, low.shape, high.shape)
        wrong = _known(low, high) and (low._value > high._value).any()
    else:
        wrong = low > high
    if wrong:
        raise ValueError(f"uniform got minval={minval} above maxval={maxval}.")
    return _uniform(take_key("uniform", key), shape, dtype, low, high)


def _known(*values: Value) -> bool:
    return all(type(v) is Array for v in values)


def _uniform(
    key: KeyArray, shape: Shape, dtype: DType, minval: Any = 0.0, maxval: Any = 1.0
) -> Any:
    """Uniform floats; the ends are arrays of the dtype, or Python floats."""
    unit = unit_interval(_bits(key, bits_for(dtype), shape), dtype=dtype)
    if _known(minval, maxval) and minval.ndim == maxval.ndim == 0:
        minval, maxval = minval.item(), maxval.item()
    if type(minval) is float and type(maxval) is float:
        low = dtype.type(minval)
        span = dtype.type(maxval) - low
        if low == 0 and span == 1:
            return unit
        if span >= 0:  # rounding is monotone: nothing comes out below `low`
            return unit * float(span) + float(low)
    return maximum(minval, unit * (maxval - minval) + minval)


def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = None) -> Array:
    """Uniform integers in [minval, maxval).

    Args:
      key: a random key.
      shape: of the result.
      minval, maxval: the ends of the range; integers, or integer arrays that broadcast to
        `shape`. `maxval` may be one more than the dtype holds.
      dtype: an integer dtype; by default int32.

    Raises:
      ValueError: when the range is empty or exceeds the dtype.

    >>> from wengert import random
    >>> random.randint(random.key(0), (4,), 0, 10)
    Array([8, 1, 7, 0], dtype=int32)
    """
    shape, dtype = shape_of("randint", shape), integer_dtype("randint", dtype)
    low, high = (_integer(x) for x in (minval, maxval))
    common_shape("randint", shape, *(() if type(x) is int else x.shape for x in (low, high)))
    return _randint(take_key("randint", key), shape, low, high, dtype)


def _integer(x: Any) -> Any:
    """An end of a range: a Python int, or an integer array."""
    if isinstance(x, float) and x.is_integer():
        return int(x)
    if isinstance(x, _INTEGER_TYPES):
        return int(x)
    x = as_array(x)
    if not dtypes.is_integer(x.dtype):
        raise errors.DTypeError(f"randint needs integers for minval and maxval, got {x.type}.")
    return int(x._value) if _known(x) and x.ndim == 0 else x


def _randint(key: KeyArray, shape: Shape, low: Any, high: Any, dtype: DType) -> Any:
    """Two words per number, taken as one number of twice the width, modulo the span.

    What is left of the modulus' bias is of the order span / 2**width. Dtypes below 32 bits are
    sampled in 32 bits.
    """
    info = np.iinfo(dtype)
    _check_range(low, high, info)
    wide = dtype if info.bits >= 32 else dtypes.INT32
    unsigned = np.dtype(f"u{wide.itemsize}")
    width = 8 * wide.itemsize
    if type(low) is int and type(high) is int:
        span: Any = high - low
        multiplier = (2 ** (width // 2) % span) ** 2 % 2**width % span
    else:
        low, span = _span(low, high, wide, unsigned)
        multiplier = rem(Array(unsigned.type(2 ** (width // 2))), span)
        multiplier = rem(multiplier * multiplier, span)
    upper_key, lower_key = sub_keys(key)
    offset = _bits(lower_key, width, shape)
    if type(span) is not int or span != 2**width:
        offset = rem(offset, span)
        if type(multiplier) is not int or multiplier:
            upper = rem(_bits(upper_key, width, shape), span)
            offset = rem(upper * multiplier + offset, span)
    return convert(bitcast_convert(offset, dtype=wide) + low, dtype=dtype)


def _span(low: Any, high: Any, wide: DType, unsigned: DType) -> tuple[Value, Value]:
    """Lower end and number of integers, as arrays; 0 stands for all that the dtype has."""
    info = np.iinfo(wide)
    top = _clipped(high, info, wide)
    bottom = _clipped(low, info, wide)
    span = bitcast_convert(top - bottom, dtype=unsigned)
    nonempty = gt(top, bottom)
    one = Array(unsigned.type(1))
    span = select(nonempty, span, one)
    if type(high) is not int and np.iinfo(high.dtype).max > info.max:
        beyond = bitwise_and(gt(high, int(info.max)), nonempty)
        span = span + convert(beyond, dtype=unsigned)
    elif type(high) is int and high > info.max:
        span = span + convert(nonempty, dtype=unsigned)
    return bottom, span


def _clipped(end: Any, info: Any, wide: DType) -> Value:
    if type(end) is int:
        return Array(wide.type(min(end, int(info.max))))
    own = np.iinfo(end.dtype)
    if own.min < info.min or own.max > info.max:
        limits = max(int(own.min), int(info.min)), min(int(own.max), int(info.max))
        end = clamp(limits[0], end, limits[1])
    return convert(end, dtype=wide)


def _check_range(low: Any, high: Any, info: Any) -> None:
    """Refuse ranges that are known to be empty or to exceed the dtype."""
    lows, highs = (
        v if type(v) is int else v._value if _known(v) else None for v in (low, high)
    )
    if lows is not None and np.any(np.less(lows, int(info.min))):
        raise ValueError(f"randint got minval={low}, which {info.dtype.name} cannot hold.")
    if highs is not None and np.any(np.greater(highs, int(info.max) + 1)):
        raise ValueError(f"randint got maxval={high}, more than one above {info.dtype.name}.")
    if lows is not None and highs is not None and np.any(np.greater_equal(lows, highs)):
        raise ValueError(
            f"randint got the empty range minval={low}, maxval={high}; maxval is exclusive."
        )
