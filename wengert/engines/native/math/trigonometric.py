"""sin, cos, tan.

x = n pi + r, with n a whole number for the sine and half of an odd one for the cosine, so that
one polynomial on [-pi/2, pi/2] serves both. pi is subtracted in parts (Cody and Waite, 1980).
Arguments beyond the range of that are reduced in a function apart, one by one, with as many
bits of 1/pi as they need (M. Payne and R. Hanek, Radian reduction for trigonometric functions,
1983). It is called only when a lane needs it.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.huge import reduce_huge
from wengert.engines.native.math.parts import (
    format_of,
    nearest,
    parts,
    polynomial,
    table,
)
from wengert.engines.native.vectors import Vectors


def _limit(v: Vectors, x: Any) -> float:
    """Up to here arguments are reduced by parts of pi."""
    if not v.is_double(x):
        return 2.0**15
    return 2.0**24 if v.has_fma else 2.0**20


def _subtract(v: Vectors, x: Any, n: Any) -> Any:
    """x - n pi."""
    for part in parts(v, x, "pi" if v.has_fma else "pi_without_fma"):
        x = v.fma(n, v.constant(-part, x), x)
    return x


def _sine(v: Vectors, r: Any, odd: Any) -> Any:
    """sin(r), with the other sign where the lowest bit is set."""
    z = v.mul(r, r)
    y = v.fma(v.mul(z, r), polynomial(v, z, table(v, r, "sin")), r)
    flip = v.builder.shl(odd, v.constant(format_of(v, r).width - 1, odd))
    return v.copysign(y, v.as_float(v.builder.xor(v.as_bits(r), flip)))  # -0.0 stays


def _needs_float64(v: Vectors, x: Any) -> bool:
    """Without fma the parts of pi would be too short for float32."""
    return not v.has_fma and not v.is_double(x)


def sin(v: Vectors, x: Any) -> Any:
    """Sine."""
    if _needs_float64(v, x):
        return v.narrow(sin(v, v.widen(x)))
    n, bits = nearest(v, x, 1 / math.pi)
    reduced = (_subtract(v, x, n), bits)
    return _sine(v, *reduce_huge(v, x, reduced, _limit(v, x), doubled=0, half=0))


def cos(v: Vectors, x: Any) -> Any:
    """Cosine: at (n + 1/2) pi + r it is sin(r) for odd n, and -sin(r) for even n."""
    if _needs_float64(v, x):
        return v.narrow(cos(v, v.widen(x)))
    half = v.constant(0.5, x)
    n, bits = nearest(v, v.fma(x, v.constant(1 / math.pi, x), v.neg(half)), None)
    reduced = (_subtract(v, x, v.add(n, half)), bits)
    r, odd = reduce_huge(v, x, reduced, _limit(v, x), doubled=0, half=1)
    return _sine(v, r, v.builder.add(odd, v.constant(1, odd)))
