"""lgamma and digamma, in float64; float32 by way of it.

Between small and large arguments they are their zeros over a divisor that is nearly linear; for
large ones Stirling's series, for small ones the recurrence, for negative ones the reflection.
Its two terms nearly cancel near the zeros between the poles, where the error is small against
the terms, not against the result.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.logarithm import log, log_in_two
from wengert.engines.native.math.parts import (
    fast_two_sum,
    parts,
    polynomial,
    quotient,
    residual,
    scaled,
    shifted,
    table,
    two_product,
    two_sum,
    where,
)
from wengert.engines.native.vectors import Vectors


def _less_one(v: Vectors, x: Any) -> Any:
    """x - 1, or for x below 1, where the recurrence is used, x itself."""
    return where(v, "lt", x, 1.0, x, shifted(v, x, -1.0))


def _divided(v: Vectors, top: tuple[Any, Any], d: Any, name: str, start: float) -> Any:
    """A number and its rest, over start + d/2 + a quotient, which is small: rounded once."""
    first, error = fast_two_sum(v, v.constant(start, d), scaled(v, d, 0.5))
    above, below = quotient(v, d, table(v, d, name))
    bottom, rest = fast_two_sum(v, first, v.div(above, below))
    inverse = v.div(v.constant(1.0, d), bottom)
    y = v.mul(top[0], inverse)
    lacking = v.fma(v.neg(y), v.add(rest, error), top[1])
    return v.fma(v.add(residual(v, y, bottom, top[0]), lacking), inverse, y)


def lgamma(v: Vectors, x: Any) -> Any:
    """Logarithm of the size of the gamma function."""
    if not v.is_double(x):
        return v.narrow(lgamma(v, v.widen(x)))
    a = v.fabs(x)
    high, low = log_in_two(v, a)
    d = _less_one(v, a)
    near = _divided(v, two_product(v, d, shifted(v, d, -1.0)), d, "lgamma", 29 / 16)
    for part in (low, high):
        near = v.sub(near, where(v, "lt", a, 1.0, part, -0.0))
    y = where(v, "le", a, 4.0, near, _stirling(v, a, high, low))
    y = where(v, "lt", x, 0.0, _reflected(v, a, y), y)
    y = where(v, "eq", a, 0.0, math.inf, y)
    return where(v, "lt", a, math.inf, y, x)


def _reflected(v: Vectors, a: Any, y: Any) -> Any:
    """lgamma(-a) for a positive a, where lgamma(a) is y: -log(a sin(pi a) / pi) - y."""
    r = v.sub(a, v.rint(a))
    sine, error = _sine_over_angle(v, r)
    area, area_low = two_product(v, v.fabs(r), a)
    product, low = two_product(v, area, sine)
    low = v.add(low, v.fma(area_low, sine, v.mul(area, error)))
    high, rest = log_in_two(v, product)
    total, lost = two_sum(v, high, y)
    total = v.neg(v.add(total, v.add(lost, v.add(rest, v.div(low, product)))))
    total = where(v, "eq", r, 0.0, math.inf, total)
    return where(v, "lt", a, 1e-20, y, total)  # the square underflows


def _sine_over_angle(v: Vectors, r: Any) -> tuple[Any, Any]:
    """sin(pi r) / (pi r) for |r| up to 1/2, and what it lacks."""
    z = v.mul(r, r)
    rest = v.mul(z, polynomial(v, z, table(v, r, "sinc")[1:]))
    return fast_two_sum(v, v.constant(1.0, r), rest)


def _stirling(v: Vectors, x: Any, high: Any, low: Any) -> Any:
    """Stirling's series for the logarithm of the gamma function, by log(x) in two parts."""
    inverse = v.div(v.constant(1.0, x), x)
    series = polynomial(v, v.mul(inverse, inverse), table(v, x, "stirling"))
    rest = v.fma(inverse, series, v.constant(math.log(2 * math.pi) / 2 - 0.5, x))
    factor = shifted(v, x, -0.5)
    high, error = fast_two_sum(v, high, v.constant(-1.0, x))
    return v.fma(factor, high, v.fma(factor, v.add(low, error), rest))


def digamma(v: Vectors, x: Any) -> Any:
    """Logarithmic derivative of the gamma function."""
    if not v.is_double(x):
        return v.narrow(digamma(v, v.widen(x)))
    negative = v.compare("lt", x, v.constant(0.0, x))
    a = v.fabs(x)
    d = v.select(negative, a, _less_one(v, x))  # reflected to 1 + a
    high, low = parts(v, x, "digamma_root")
    distance, rest = two_sum(v, d, v.constant(-high, x))
    distance = fast_two_sum(v, distance, shifted(v, rest, -low))
    near = _divided(v, distance, d, "digamma", 0.75)
    y = where(v, "le", d, 3.0, near, _digamma_far(v, shifted(v, d, 0.5)))
    inverse = v.div(v.constant(1.0, x), x)
    lacking = v.mul(residual(v, inverse, x, v.constant(1.0, x)), inverse)
    for part in (where(v, "gt", x, 1e-9, lacking, 0.0), inverse):
        y = v.sub(y, where(v, "lt", a, 1.0, v.select(negative, v.constant(0.0, x), part), 0.0))
    r = v.sub(x, v.rint(x))
    reflected = where(v, "eq", r, 0.0, math.nan, v.sub(y, _cotangent(v, r)))
    return v.select(negative, reflected, y)


def _digamma_far(v: Vectors, x: Any) -> Any:
    """digamma(x + 1/2): the logarithm of x and a series of even powers of 1/x."""
    inverse = v.div(v.constant(1.0, x), x)
    square = v.mul(inverse, inverse)
    return v.fma(square, polynomial(v, square, table(v, x, "digamma_far")), log(v, x))


def _cotangent(v: Vectors, r: Any) -> Any:
    """pi / tan(pi r) for |r| up to 1/2.

    It is t / |r| with t near 1 up to 1/4; and beyond, pi**2 w / t for w = 1/2 - |r|.
    """
    size = v.fabs(r)
    inner = v.compare("le", size, v.constant(0.25, r))
    w = v.select(inner, size, v.sub(v.constant(0.5, r), size))
    z = v.mul(w, w)
    t, error = fast_two_sum(
        v, v.constant(1.0, r), v.mul(z, polynomial(v, z, table(v, r, "cotangent")))
    )
    high, low = parts(v, r, "pi_squared")
    # less by what t lacks; 1/t is from 1 to 1.3
    rest = v.fma(error, v.constant(-1.1 * high, r), v.constant(low, r))
    turned = v.fma(w, v.constant(high, r), v.mul(w, rest))
    y = v.div(v.select(inner, t, turned), v.select(inner, w, t))
    return v.copysign(y, r)
