"""pow, cbrt, rsqrt, hypot.

x**y is 2**(y log2|x|). The logarithm must have more digits than its format, because exponents
multiply its error: float32 is computed in float64, and float64 with unevaluated sums of two
numbers (T. Dekker, 1971).
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.exponential import exp2_with_error
from wengert.engines.native.math.parts import (
    clamped,
    decompose,
    decomposes_specials,
    fast_two_sum,
    format_of,
    nearest,
    parts,
    polynomial,
    power_of_two,
    scaled,
    shifted,
    table,
    times_power,
    two_product,
    where,
)
from wengert.engines.native.vectors import Vectors


def pow(v: Vectors, x: Any, y: Any) -> Any:
    """x to the power y, with IEEE 754's special values."""
    size = v.fabs(x)
    magnitude = _pow_double(v, size, y) if v.is_double(x) else _pow_single(v, size, y)
    magnitude = where(v, "eq", size, 1.0, 1.0, magnitude)  # parts of a huge y overflow
    return _pow_special(v, x, y, magnitude)


def _pow_special(v: Vectors, x: Any, y: Any, magnitude: Any) -> Any:
    """The sign of a power, and the exceptions, from the power of |x|."""
    builder = v.builder
    half = scaled(v, y, 0.5)
    whole = v.compare("eq", v.trunc(y), y)
    odd = builder.and_(whole, v.compare("ne", v.trunc(half), half))
    signed = v.copysign(magnitude, v.select(odd, x, magnitude))
    zero, one, infinity = (v.constant(c, x) for c in (0.0, 1.0, math.inf))
    negative = builder.and_(v.compare("lt", x, zero), v.compare("gt", x, v.neg(infinity)))
    undefined = builder.and_(negative, builder.not_(whole))
    signed = v.select(undefined, v.constant(math.nan, x), signed)
    turning = builder.and_(
        v.compare("eq", v.fabs(x), one), v.compare("eq", v.fabs(y), infinity)
    )
    trivial = builder.or_(v.compare("eq", x, one), v.compare("eq", y, zero))
    return v.select(builder.or_(trivial, turning), one, signed)


def _log2_special(v: Vectors, x: Any, y: Any) -> Any:
    """log2 at 0 and infinity, and NaN for NaN."""
    return where(v, "eq", x, 0.0, -math.inf, where(v, "lt", x, math.inf, y, x))


def _pow_single(v: Vectors, x: Any, y: Any) -> Any:
    m, e = decompose(v, x)
    f = v.widen(shifted(v, m, -1.0))
    log2 = v.fma(f, polynomial(v, f, table(v, f, "pow_log2")), v.widen(e))
    if not decomposes_specials(v, x):
        log2 = _log2_special(v, v.widen(x), log2)
    exponent = v.mul(v.widen(y), log2)
    exponent = clamped(v, exponent, -152.0, 129.0)
    n, bits = nearest(v, exponent, None, 2 * format_of(v, x).bias)
    bits = v.builder.trunc(bits, v.as_bits(x).type)
    value = polynomial(v, v.sub(exponent, n), table(v, f, "pow_exp2"))
    return times_power(v, v.narrow(value), v.narrow(n), bits)


def _pow_double(v: Vectors, x: Any, y: Any) -> Any:
    high, low = log2_in_two(v, x)
    exponent, error = two_product(v, y, high)
    error = v.fma(y, low, error)
    # where the exact product is out of range, so is its error
    error = where(v, "lt", v.fabs(exponent), 1100.0, error, 0.0)
    return exp2_with_error(v, v.mul(y, _log2_special(v, x, high)), error)


def log2_in_two(v: Vectors, x: Any) -> tuple[Any, Any]:
    """log2 of positive numbers as the sum of two, to about 2**-66."""
    m, e = decompose(v, x)
    f = shifted(v, m, -1.0)
    s, s_low = _ratio_in_two(v, f, m)
    z, z_low = two_product(v, s, s)
    z_low = v.fma(v.add(s, s), s_low, z_low)
    # 2 atanh(s) / ln 2 = s (c0 + z (c1 + z rest))
    (c0, c0_low), (c1, c1_low) = parts(v, x, "two_log2e"), parts(v, x, "two_thirds_log2e")
    rest = v.mul(z, polynomial(v, z, table(v, x, "pow_rest")))
    w, w_low = fast_two_sum(v, v.constant(c1, x), rest)
    w_low = shifted(v, w_low, c1_low)
    u, u_low = two_product(v, z, w)
    u_low = v.add(u_low, v.fma(z, w_low, v.mul(z_low, w)))
    t, t_low = fast_two_sum(v, v.constant(c0, x), u)
    t_low = v.add(t_low, shifted(v, u_low, c0_low))
    high, low = two_product(v, s, t)
    low = v.add(low, v.fma(s, t_low, v.mul(s_low, t)))
    total, error = fast_two_sum(v, e, high)  # e is 0, or at least 1
    return fast_two_sum(v, total, v.add(error, low))


def _ratio_in_two(v: Vectors, f: Any, m: Any) -> tuple[Any, Any]:
    """f / (m + 1) as the sum of two numbers."""
    one = v.constant(1.0, f)
    below = v.add(m, one)
    below_low = v.sub(m, v.sub(below, one))
    s = v.div(f, below)
    product, error = two_product(v, s, below)
    rest = v.sub(v.sub(f, product), v.fma(s, below_low, error))
    # 1 / (m + 1) is (1 - s) / 2
    return s, v.mul(rest, v.fma(s, v.constant(-0.5, f), v.constant(0.5, f)))


def rsqrt(v: Vectors, x: Any) -> Any:
    """One over the square root."""
    return v.div(v.constant(1.0, x), v.sqrt(x))


def cbrt(v: Vectors, x: Any) -> Any:
    """Cube root: a polynomial for m**(-1/3), steps of Newton's, and a last one for the root."""
    m, e = decompose(v, v.fabs(x))
    third, bits = nearest(v, e, 1 / 3, format_of(v, x).bias)
    left = v.fma(third, v.constant(-3.0, x), e)  # -1, 0 or 1
    r = polynomial(v, m, table(v, x, "cbrt"))
    up, down = v.constant(2.0 ** (-1 / 3), x), v.constant(2.0 ** (1 / 3), x)
    one = v.constant(1.0, x)
    r = v.mul(r, where(v, "gt", left, 0.0, up, where(v, "lt", left, 0.0, down, one)))
    a = v.mul(m, where(v, "gt", left, 0.0, 2.0, where(v, "lt", left, 0.0, 0.5, 1.0)))
    for _ in range(2 if v.is_double(x) else 1):
        error = v.fma(v.mul(v.mul(r, r), r), v.neg(a), one)
        r = v.fma(v.mul(r, error), v.constant(1 / 3, x), r)
    square = v.mul(r, r)
    y = v.mul(a, square)
    error = v.fma(v.mul(y, y), v.neg(y), a)
    y = v.fma(v.mul(error, square), v.constant(1 / 3, x), y)
    y = v.copysign(v.mul(y, power_of_two(v, x, bits)), x)
    special = v.compare("eq", v.sub(x, x), v.constant(0.0, x))
    y = v.select(special, y, v.add(x, x))
    return where(v, "eq", x, 0.0, x, y)


def hypot(v: Vectors, x: Any, y: Any) -> Any:
    """Length of a vector of two components, which are scaled so that squares fit."""
    form = format_of(v, x)
    x, y = v.fabs(x), v.fabs(y)
    bits = v.as_bits(v.fmax(x, y))
    exponent = v.builder.and_(bits, v.constant(-1 << form.mantissa, bits))
    least = v.constant(3 << form.mantissa, bits)
    exponent = v.select(v.compare("gt", exponent, least), exponent, least)
    top = v.constant((2 * form.bias + 2) << form.mantissa, bits)
    scale = v.as_float(v.builder.sub(top, exponent))
    back = v.as_float(v.builder.sub(exponent, v.constant(2 << form.mantissa, bits)))
    a, b = v.mul(x, scale), v.mul(y, scale)
    length = v.mul(v.sqrt(v.fma(a, a, v.mul(b, b))), back)
    infinity = v.constant(math.inf, x)
    infinite = v.builder.or_(v.compare("eq", x, infinity), v.compare("eq", y, infinity))
    return v.select(infinite, infinity, length)
