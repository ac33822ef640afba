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
    clamped,
    fast_two_sum,
    format_of,
    nearest,
    parts,
    polynomial,
    residual,
    scaled,
    shifted,
    table,
    tiny_as_is,
    where,
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
    if v.is_double(r):  # the float32 coefficients see to it
        y = clamped(v, y, -1.0, 1.0)
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
    reduced = (_subtract(v, x, n), v.constant(0.0, x), bits)
    r, _, odd = reduce_huge(v, x, reduced, _limit(v, x), doubled=0, half=0)
    return _sine(v, r, odd)


def cos(v: Vectors, x: Any) -> Any:
    """Cosine: at (n + 1/2) pi + r it is sin(r) for odd n, and -sin(r) for even n."""
    if _needs_float64(v, x):
        return v.narrow(cos(v, v.widen(x)))
    half = v.constant(0.5, x)
    n, bits = nearest(v, v.fma(x, v.constant(1 / math.pi, x), v.neg(half)), None)
    reduced = (_subtract(v, x, v.add(n, half)), v.constant(0.0, x), bits)
    r, _, odd = reduce_huge(v, x, reduced, _limit(v, x), doubled=0, half=1)
    return _sine(v, r, v.builder.add(odd, v.constant(1, odd)))


def tan(v: Vectors, x: Any) -> Any:
    """Tangent."""
    if _needs_float64(v, x):
        return v.narrow(tan(v, v.widen(x)))
    n, bits = nearest(v, x, 2 / math.pi)
    reduced = (*_subtract_in_two(v, x, scaled(v, n, 0.5)), bits)
    r, rest, odd = reduce_huge(v, x, reduced, _limit(v, x) / 2, doubled=1, half=0)
    odd = v.builder.trunc(odd, v.mask_type)
    near = _tangent_double if v.is_double(x) else _tangent_single
    return tiny_as_is(v, x, near(v, r, rest, odd))


def _tangent_single(v: Vectors, r: Any, rest: Any, odd: Any) -> Any:
    """tan(r + rest), or where odd -1 over that, on [-pi/4, pi/4]: by a polynomial."""
    z, one = v.mul(r, r), v.constant(1.0, r)
    more = v.fma(v.mul(z, r), polynomial(v, z, table(v, r, "tan_single")), rest)
    y, lost = fast_two_sum(v, r, more)
    quotient = v.div(v.neg(one), y)
    lacking = v.fma(quotient, lost, v.fma(quotient, y, one))
    infinite = v.compare("eq", y, v.constant(0.0, r))
    inverse = v.select(infinite, quotient, v.fma(quotient, lacking, quotient))
    return v.select(odd, inverse, y)


def _tangent_double(v: Vectors, r: Any, rest: Any, odd: Any) -> Any:
    """The same by a quotient; its numerator makes up for the denominator's error."""
    above, below = table(v, r, "tan_double")  # both begin with 1
    if not v.has_fma:  # the rest may be some units in the last place
        r, rest = fast_two_sum(v, r, rest)
    z, one = v.mul(r, r), v.constant(1.0, r)
    bottom, error = fast_two_sum(v, one, v.mul(z, polynomial(v, z, below[1:])))
    rest = v.fma(scaled(v, rest, 0.72), z, rest)  # times tan'(r) bottom, to some percents
    rest = v.fma(scaled(v, r, -1.25), error, rest)  # 1/bottom is from 1 to 1.4
    top = v.add(r, v.fma(v.mul(z, r), polynomial(v, z, above[1:]), rest))
    return v.div(v.select(odd, v.neg(bottom), top), v.select(odd, top, bottom))


def _subtract_in_two(v: Vectors, x: Any, n: Any) -> tuple[Any, Any]:
    """x - n pi, as a rounded number and its rest."""
    name = "pi" if v.has_fma else "pi_without_fma"
    first, second, third = (v.constant(-part, x) for part in parts(v, x, name))
    start = v.fma(n, first, x)
    product = v.mul(n, second)
    r, rest = fast_two_sum(v, start, product)
    if v.has_fma:  # elsewhere this product is exact
        rest = v.add(rest, v.fma(n, second, v.neg(product)))
    return r, v.fma(n, third, rest)


def sinc(v: Vectors, x: Any) -> Any:
    """sin(pi x) / (pi x): r S(r**2) / x, for the distance r to the nearest whole number."""
    if _needs_float64(v, x):
        return v.narrow(sinc(v, v.widen(x)))
    whole = v.rint(x)
    r = v.sub(x, whole)
    z, coefficients = v.mul(r, r), table(v, x, "sinc")
    s = v.mul(z, polynomial(v, z, coefficients[1:]))
    half = scaled(v, whole, 0.5)
    odd = v.compare("ne", v.trunc(half), half)
    top, rest = fast_two_sum(v, r, v.mul(r, s))
    inverse = v.div(v.constant(1.0, x), x)
    far = v.mul(top, inverse)
    lacking = v.mul(v.add(residual(v, far, x, top), rest), inverse)
    far = v.add(far, where(v, "eq", r, 0.0, 0.0, lacking))
    far = v.select(odd, v.neg(far), far)
    inner = v.compare("eq", whole, v.constant(0.0, x))
    return v.select(inner, shifted(v, s, 1.0), far)
