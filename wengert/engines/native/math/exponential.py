"""exp, exp2, expm1 and the functions made of them: hyperbolic ones and the sigmoid.

The argument is reduced to n ln 2 + r with |r| <= ln(2)/2, a polynomial gives exp(r), and the
power of two is put on in two steps, so that results that overflow or are denormal come out
rounded once (W. Cody and W. Waite, Software Manual for the Elementary Functions, 1980).
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.parts import (
    clamped,
    fast_two_sum,
    format_of,
    nearest,
    parts,
    polynomial,
    power_of_two,
    residual,
    scaled,
    shifted,
    table,
    times_power,
    tiny_as_is,
    where,
)
from wengert.engines.native.vectors import Vectors

_LOG2E = 1 / math.log(2)


def exp_range(v: Vectors, x: Any) -> tuple[float, float]:
    """Beyond these arguments exp is 0 or infinite."""
    return (-746.0, 710.0) if v.is_double(x) else (-104.0, 89.0)


def reduced(v: Vectors, x: Any, offset: float) -> tuple[Any, Any, Any]:
    """r, n and bits that end in n plus the offset, for x = n ln 2 + r."""
    n, bits = nearest(v, x, _LOG2E, offset)
    high, low = parts(v, x, "ln2")
    r = v.fma(n, v.constant(-high, x), x)
    return v.fma(n, v.constant(-low, x), r), n, bits


def exp(v: Vectors, x: Any) -> Any:
    """e to the power x."""
    x = clamped(v, x, *exp_range(v, x))
    r, n, bits = reduced(v, x, 2 * format_of(v, x).bias)
    return times_power(v, polynomial(v, r, table(v, x, "exp")), n, bits)


def late_exp(v: Vectors, x: Any) -> Any:
    """e to the power x within 0.65 ulp, for one product more: what is rounded is smaller."""
    y, n, bits = _expm1_parts(v, clamped(v, x, *exp_range(v, x)), 2 * format_of(v, x).bias)
    return times_power(v, shifted(v, y, 1.0), n, bits)


def exp_in_two(v: Vectors, x: Any) -> tuple[Any, Any]:
    """e to the power x, and what that lacks."""
    return _in_two(
        v, *_expm1_parts(v, clamped(v, x, *exp_range(v, x)), 2 * format_of(v, x).bias)
    )


def exp2_in_two(v: Vectors, x: Any) -> tuple[Any, Any]:
    """2 to the power x, and what that lacks."""
    x = clamped(v, x, *_exp2_range(v, x))
    n, bits = nearest(v, x, None, 2 * format_of(v, x).bias)
    r = v.sub(x, n)
    return _in_two(v, v.mul(r, polynomial(v, r, table(v, x, "exp2")[1:])), n, bits)


def _in_two(v: Vectors, y: Any, n: Any, bits: Any) -> tuple[Any, Any]:
    """(1 + y) 2**n, and what that lacks."""
    high, low = fast_two_sum(v, v.constant(1.0, y), y)
    return times_power(v, high, n, bits), times_power(v, low, n, bits)


def exp_times(v: Vectors, x: Any, error: Any, factor: Any) -> Any:
    """exp(x + error) times a factor, for errors that change the last digits only.

    Args:
      x, error: the exponent.
      factor: a pair of a number and its rest, or None for no rest.
    """
    x = clamped(v, x, *exp_range(v, x))
    n, bits = nearest(v, x, _LOG2E, 2 * format_of(v, x).bias)
    high, low = (v.constant(-part, x) for part in parts(v, x, "ln2"))
    r, rest = fast_two_sum(v, v.fma(n, high, x), v.fma(n, low, error))
    y = v.add(r, v.fma(v.mul(r, r), polynomial(v, r, table(v, x, "expm1")), rest))
    number, rest = factor
    if rest is None:
        y = v.fma(y, number, number)
    else:
        y = v.add(number, v.fma(y, number, v.fma(y, rest, rest)))
    return times_power(v, y, n, bits)


def _exp2_range(v: Vectors, x: Any) -> tuple[float, float]:
    return (-1080.0, 1025.0) if v.is_double(x) else (-152.0, 129.0)


def exp2(v: Vectors, x: Any) -> Any:
    """2 to the power x."""
    return exp2_with_error(v, x, None)


def exp2_with_error(v: Vectors, x: Any, error: Any) -> Any:
    """2 to the power x + error, for errors that change the last digits only."""
    x = clamped(v, x, *_exp2_range(v, x))
    n, bits = nearest(v, x, None, 2 * format_of(v, x).bias)
    r = v.sub(x, n) if error is None else v.add(v.sub(x, n), error)
    return times_power(v, polynomial(v, r, table(v, x, "exp2")), n, bits)


def _expm1_parts(v: Vectors, x: Any, offset: float) -> tuple[Any, Any, Any]:
    """exp(r) - 1, n, and bits, of the reduced argument."""
    r, n, bits = reduced(v, x, offset)
    q = polynomial(v, r, table(v, x, "expm1"))
    return v.fma(v.mul(r, r), q, r), n, bits


def expm1(v: Vectors, x: Any) -> Any:
    """exp(x) - 1, exact to the last digits near 0."""
    low, high = (-40.0, 710.0) if v.is_double(x) else (-20.0, 89.0)
    q, _, bits = _expm1_parts(v, clamped(v, x, low, high), format_of(v, x).bias - 1)
    half = power_of_two(v, x, bits)  # of 2**n, which may be too large
    y = v.fma(q, half, shifted(v, half, -0.5))
    return tiny_as_is(v, x, v.add(y, y))


def logistic(v: Vectors, x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    e = late_exp(v, v.neg(v.fabs(x)))
    total, error = fast_two_sum(v, v.constant(1.0, x), e)
    y = v.div(where(v, "lt", x, 0.0, e, 1.0), total)
    return v.fma(v.neg(error), y, y)  # of weight only for small e, where total is about 1


def tanh(v: Vectors, x: Any) -> Any:
    """Hyperbolic tangent: (1 - e) / (1 + e) for e = exp(-2 |x|), both rounded only once.

    In float64 that is not enough near 1/2, and what rounding took away is put back.
    """
    double = scaled(v, v.fabs(x), -2.0)
    low = -40.0 if v.is_double(x) else -20.0  # beyond, it rounds to 1
    y, _, bits = _expm1_parts(v, v.fmax(v.constant(low, x), double), format_of(v, x).bias)
    power, one = power_of_two(v, x, bits), v.constant(1.0, x)
    start = v.sub(one, power)
    above = v.fma(v.neg(y), power, start)
    below = v.fma(y, power, v.add(one, power))
    ratio = v.div(above, below)
    if v.is_double(x):
        # of above and below: both sums are exact but for this
        lost = v.sub(v.sub(start, above), v.mul(y, power))
        added = v.sub(v.sub(v.add(one, power), below), v.neg(v.mul(y, power)))
        rest = v.add(residual(v, ratio, below, above), v.fma(v.neg(ratio), added, lost))
        half = v.fma(ratio, v.constant(0.5, x), v.constant(0.5, x))  # 1 / below
        ratio = v.fma(rest, half, ratio)
    return v.copysign(ratio, x)


def _halves(v: Vectors, x: Any) -> tuple[Any, Any, Any, Any]:
    """cosh(r) - 1, sinh(r), and a quarter of 2**n and of 2**-n, for |x| = n ln 2 + r."""
    form = format_of(v, x)
    high = 710.6 if v.is_double(x) else 89.6  # beyond, 2**(n - 2) would be infinite
    r, _, bits = reduced(v, v.fmin(v.constant(high, x), v.fabs(x)), form.bias - 2)
    z = v.mul(r, r)
    even = v.mul(z, polynomial(v, z, table(v, x, "cosh")))
    odd = v.fma(v.mul(z, r), polynomial(v, z, table(v, x, "sinh")), r)
    up = v.builder.shl(bits, v.constant(form.mantissa, bits))
    down = v.builder.sub(v.constant((2 * form.bias - 4) << form.mantissa, up), up)
    zero = v.constant(0, up)
    down = v.select(v.compare("gt", down, zero), down, zero)
    return even, odd, v.as_float(up), v.as_float(down)


def sinh(v: Vectors, x: Any) -> Any:
    """Hyperbolic sine, without cancellation: sinh(n ln 2 + r) by the theorem of addition."""
    even, odd, up, down = _halves(v, x)
    difference = v.sub(up, down)
    rest = v.fma(odd, up, v.fma(odd, down, v.mul(even, difference)))
    y = v.add(difference, rest)
    return tiny_as_is(v, x, v.copysign(scaled(v, y, 2.0), x))


def cosh(v: Vectors, x: Any) -> Any:
    """Hyperbolic cosine."""
    even, odd, up, down = _halves(v, x)
    total = v.add(up, down)
    y = v.add(up, v.fma(odd, v.sub(up, down), v.fma(even, total, down)))
    return scaled(v, y, 2.0)
