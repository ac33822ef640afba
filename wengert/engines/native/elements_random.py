"""Random bits as elements: the Threefry-2x32 hash, and floats from bits.

A hash gives two words at once. In expressions it is one node, whose value is a `Pair`, and the
nodes `first_word` and `second_word` take them out; so a hash that is needed for both is
computed once. Which counters belong to which element is a matter of `expansion`.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.engines.native.complexes import Pair
from wengert.engines.native.elements_memory import round_to_16_bits
from wengert.engines.native.expressions import Apply
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors

ir = lazy_module("llvmlite.ir")

Emit = Callable[..., Any]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_MANTISSAS = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}


def threefry(v: Vectors, k1: Any, k2: Any, x1: Any, x2: Any) -> tuple[Any, Any]:
    """The random blocks of counter blocks `(x1, x2)` under keys `(k1, k2)`: lanes of `i32`."""
    builder = v.builder
    third = builder.xor(builder.xor(k1, k2), v.constant(_PARITY, k1))
    keys = (k1, k2, third)
    x1, x2 = builder.add(x1, k1), builder.add(x2, k2)
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x1 = builder.add(x1, x2)
            turn = v.constant(rotation, x2)
            x2 = builder.xor(v.intrinsic("llvm.fshl", x2.type, x2, x2, turn), x1)
        x1 = builder.add(x1, keys[(group + 1) % 3])
        step = builder.add(keys[(group + 2) % 3], v.constant(group + 1, x2))
        x2 = builder.add(x2, step)
    return x1, x2


def joined_words(v: Vectors, high: Any, low: Any) -> Any:
    """64-bit integers from their words."""
    wide = v.vector_of(ir.IntType(64))
    upper = v.builder.shl(v.builder.zext(high, wide), v.constant(32, wide))
    return v.builder.or_(upper, v.builder.zext(low, wide))


def unit_floats(v: Vectors, bits: Any, dtype: DType) -> Any:
    """Floats in [0, 1): upper random bits as the mantissa of a float in [1, 2), minus 1."""
    builder = v.builder
    mantissa = _MANTISSAS[dtype.name]
    width = v.bits(bits)
    upper = builder.lshr(bits, v.constant(width - mantissa, bits))
    if dtype.itemsize == 2:  # such floats are held as float32, whose mantissa is longer
        wide = v.vector_of(ir.IntType(32))
        upper = builder.shl(builder.zext(upper, wide), v.constant(23 - mantissa, wide))
    one = 0x3FF << 52 if dtype.itemsize == 8 else 0x7F << 23
    number = v.as_float(builder.or_(upper, v.constant(one, upper)))
    return v.sub(number, v.constant(1.0, number))


# -- elements -----------------------------------------------


def _threefry(v: Vectors, node: Apply, *words: Any) -> Pair:
    return Pair(*threefry(v, *words))


def _joined_words(v: Vectors, node: Apply, words: Pair) -> Any:
    return joined_words(v, *words)


def _unit_interval(v: Vectors, node: Apply, bits: Any) -> Any:
    return unit_floats(v, bits, node.dtype)


def _normal_quantile(v: Vectors, node: Apply, u: Any) -> Any:
    out = FUNCTIONS["normal_quantile"](v, u)
    if node.dtype.itemsize > 2:
        return out
    half = round_to_16_bits(v, v.mul(out, v.constant(math.sqrt(0.5), u)), node.dtype)
    return v.mul(half, v.constant(float(node.dtype.type(math.sqrt(2.0))), u))


TABLE: dict[str, Emit] = {
    "threefry2x32": _threefry,
    "first_word": lambda v, node, words: words.real,
    "second_word": lambda v, node, words: words.imag,
    "joined_words": _joined_words,
    "unit_interval": _unit_interval,
    "normal_quantile": _normal_quantile,
}

#: The dtype of a hash node: its two words side by side.
WORDS = dtypes.as_dtype("uint64")
