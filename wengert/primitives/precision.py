"""Rounding to a narrower floating format, without leaving the dtype.

`reduce_precision` keeps so many bits of exponent and mantissa as a narrower format would, by
operations on the bits. Its derivative is taken for that of the identity, rounded likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.primitive import Sample, Value
from wengert.primitives.cast import Unary

#: name of a dtype -> the unsigned dtype of its bits, bits of exponent, bits of mantissa
FORMATS = {
    "float64": (np.uint64, 11, 52),
    "float32": (np.uint32, 8, 23),
    "float16": (np.uint16, 5, 10),
    "bfloat16": (np.uint16, 8, 7),
}


class ReducePrecision(Unary):
    """The nearest number of a format with fewer bits; ties to even.

    What is too large becomes infinite, what is too small zero: there are no denormals.
    """

    @staticmethod
    def compute(x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
        unsigned, exponent, mantissa = FORMATS[x.dtype.name]
        value = np.asarray(x)
        bits = value.view(unsigned)
        if mantissa_bits < mantissa:
            bits = _round(bits, mantissa - mantissa_bits)
        if exponent_bits < exponent:
            bits = _limit(bits, exponent, mantissa, exponent_bits)
        return np.where(np.isnan(value), value, bits.view(x.dtype))[()]

    def type_rule(self, x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
        if not dtypes.is_floating(x.dtype):
            raise errors.DTypeError(f"reduce_precision takes floating numbers, got {x.dtype}.")
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return self(cotangent, **params)

    def samples(self) -> Iterator[Sample]:
        for shape in ((), (3,), (0, 2)):
            exact = np.full(shape, 0.5)[()]
            yield Sample(exact, exponent_bits=11, mantissa_bits=52)
        x = np.array([1.2345, -0.0, 1e30, -1e-30, np.inf, np.nan, 65519.0])
        for e, m in ((8, 7), (5, 10), (5, 2), (2, 0)):
            sample = x.astype(np.float32)
            yield Sample(sample, exponent_bits=e, mantissa_bits=m, differentiable=False)


def _round(bits: Any, dropped: int) -> Any:
    """Bits whose last `dropped` ones are rounded away; a carry goes on into the exponent."""
    one, shift = bits.dtype.type(1), bits.dtype.type(dropped)
    half = (one << (shift - one)) - one
    odd = (bits >> shift) & one
    return (bits + half + odd) >> shift << shift


def _limit(bits: Any, exponent: int, mantissa: int, exponent_bits: int) -> Any:
    """Bits whose exponent fits into fewer: zero below that range, infinite above it."""
    word = bits.dtype.type
    sign = bits & word(1 << (exponent + mantissa))
    mask = word(((1 << exponent) - 1) << mantissa)
    bias, reduced = (1 << (exponent - 1)) - 1, (1 << (exponent_bits - 1)) - 1
    size = bits & mask
    bits = np.where(size > word((bias + reduced) << mantissa), sign | mask, bits)
    return np.where(size <= word((bias - reduced) << mantissa), sign, bits)


reduce_precision = ReducePrecision()
