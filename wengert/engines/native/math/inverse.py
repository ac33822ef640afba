"""asin, acos, atan, atan2.

Arc sine and cosine are given by one polynomial on [0, 1/2], of x or, nearer to 1, of
sqrt((1 - |x|) / 2). The arc tangent is reduced by one division to [-1/2, 1/2], as
k pi/4 + atan(t) (Cody and Waite, 1980).
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.parts import (
    fast_two_sum,
    format_of,
    parts,
    polynomial,
    scaled,
    table,
    where,
)
from wengert.engines.native.vectors import Vectors


def _arc(v: Vectors, x: Any) -> tuple[Any, Any, Any]:
    """s, asin(s) - s and whether |x| is above 1/2, where s is sqrt((1 - |x|) / 2), not |x|."""
    size = v.fabs(x)
    outer = v.compare("gt", size, v.constant(0.5, x))
    rest = scaled(v, v.sub(v.constant(1.0, x), size), 0.5)
    z = v.select(outer, rest, v.mul(x, x))
    s = v.select(outer, v.sqrt(rest), size)
    return s, v.mul(v.mul(z, s), polynomial(v, z, table(v, x, "asin"))), outer


def asin(v: Vectors, x: Any) -> Any:
    """Inverse sine."""
    s, rest, outer = _arc(v, x)
    high, low = parts(v, x, "half_pi")
    start, error = fast_two_sum(v, v.constant(high, x), v.mul(s, v.constant(-2.0, x)))
    far = v.add(start, v.add(error, v.fma(rest, v.constant(-2.0, x), v.constant(low, x))))
    return v.copysign(v.select(outer, far, v.add(s, rest)), x)


def acos(v: Vectors, x: Any) -> Any:
    """Inverse cosine."""
    s, rest, outer = _arc(v, x)
    negative = v.compare("lt", x, v.constant(0.0, x))
    high, low = parts(v, x, "half_pi")
    # outer: 2 asin(s), or pi less that; inner: pi/2 less asin(x)
    factor = v.select(outer, v.constant(2.0, x), v.constant(-1.0, x))
    factor = v.select(negative, v.neg(factor), factor)
    turns = v.select(negative, v.constant(2.0, x), v.constant(0.0, x))
    turns = v.select(outer, turns, v.constant(1.0, x))
    near = v.fma(turns, v.constant(high, x), v.mul(factor, s))
    return v.add(near, v.fma(factor, rest, scaled(v, turns, low)))


def _combine(v: Vectors, quarters: Any, t: Any) -> Any:
    """quarters pi/4 + atan(t)."""
    z = v.mul(t, t)
    near = v.fma(v.mul(z, t), polynomial(v, z, table(v, t, "atan")), t)
    high, low = parts(v, t, "quarter_pi")
    return v.fma(quarters, v.constant(high, t), v.fma(quarters, v.constant(low, t), near))


def _reduced(v: Vectors, y: Any, x: Any) -> tuple[Any, Any]:
    """k and t with atan(y / x) = k pi/4 + atan(t), for y and x not negative."""
    small = v.compare("le", v.add(y, y), x)
    middle = v.compare("le", y, v.add(x, x))
    above = v.select(small, y, v.select(middle, v.sub(y, x), v.neg(x)))
    below = v.select(small, x, v.select(middle, v.add(y, x), y))
    zero, one, two = (v.constant(float(c), x) for c in range(3))
    return v.select(small, zero, v.select(middle, one, two)), v.div(above, below)


def atan(v: Vectors, x: Any) -> Any:
    """Inverse tangent."""
    quarters, t = _reduced(v, v.fabs(x), v.constant(1.0, x))
    return v.copysign(_combine(v, quarters, t), x)


def atan2(v: Vectors, y: Any, x: Any) -> Any:
    """Angle of the point with ordinate y and abscissa x."""
    a, b = v.fabs(y), v.fabs(x)
    both = v.add(a, b)
    # sums must be finite; and two zeros or two infinities have a direction too
    huge = format_of(v, x).largest / 2
    quarter = where(v, "gt", both, huge, 0.25, 1.0)
    a, b = v.mul(a, quarter), v.mul(b, quarter)
    b = where(v, "eq", both, 0.0, 1.0, b)
    infinite = v.builder.and_(
        v.compare("eq", a, v.constant(math.inf, x)), v.compare("eq", b, v.constant(math.inf, x))
    )
    one = v.constant(1.0, x)
    quarters, t = _reduced(v, v.select(infinite, one, a), v.select(infinite, one, b))
    bits = v.as_bits(x)
    left = v.compare("lt", bits, v.constant(0, bits))
    quarters = v.select(left, v.sub(v.constant(4.0, x), quarters), quarters)
    t = v.as_float(v.builder.xor(v.as_bits(t), v.builder.and_(bits, _sign_bit(v, x))))
    return v.copysign(_combine(v, quarters, t), y)


def _sign_bit(v: Vectors, x: Any) -> Any:
    return v.constant(1 << (format_of(v, x).width - 1), v.as_bits(x))
