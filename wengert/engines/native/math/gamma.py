"""lgamma and digamma, in float64; float32 by way of it.

Between small and large arguments they are quotients, with their zeros taken out; for large ones
Stirling's series, for small ones the recurrence, for negative ones the reflection.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.logarithm import log
from wengert.engines.native.math.parts import (
    parts,
    polynomial,
    quotient,
    scaled,
    shifted,
    table,
    where,
)
from wengert.engines.native.vectors import Vectors


def _less_one(v: Vectors, x: Any) -> Any:
    """x - 1, or for x below 1, where the recurrence is used, x itself."""
    return where(v, "lt", x, 1.0, x, shifted(v, x, -1.0))


def _sine_over_pi(v: Vectors, r: Any) -> Any:
    """sin(pi r) / pi, for |r| up to 1/2."""
    return v.mul(r, polynomial(v, v.mul(r, r), table(v, r, "sinc")))


def lgamma(v: Vectors, x: Any) -> Any:
    """Logarithm of the size of the gamma function."""
    if not v.is_double(x):
        return v.narrow(lgamma(v, v.widen(x)))
    a = v.fabs(x)
    logarithm = log(v, a)
    d = _less_one(v, a)
    above, below = quotient(v, d, table(v, x, "lgamma"))
    near = v.div(v.mul(v.mul(d, shifted(v, d, -1.0)), above), below)
    near = v.sub(near, where(v, "lt", a, 1.0, logarithm, -0.0))
    y = where(v, "le", a, 4.0, near, _stirling(v, a, logarithm))
    r = v.sub(a, v.rint(a))
    reflected = v.sub(v.neg(log(v, v.fabs(v.mul(_sine_over_pi(v, r), a)))), y)
    reflected = where(v, "eq", r, 0.0, math.inf, reflected)
    reflected = where(v, "lt", a, 1e-20, v.neg(logarithm), reflected)  # the square underflows
    y = where(v, "lt", x, 0.0, reflected, y)
    return where(v, "eq", a, math.inf, x, y)


def _stirling(v: Vectors, x: Any, logarithm: Any) -> Any:
    """Stirling's series for the logarithm of the gamma function."""
    inverse = v.div(v.constant(1.0, x), x)
    series = polynomial(v, v.mul(inverse, inverse), table(v, x, "stirling"))
    rest = v.fma(inverse, series, v.constant(math.log(2 * math.pi) / 2 - 0.5, x))
    return v.fma(shifted(v, x, -0.5), shifted(v, logarithm, -1.0), rest)


def digamma(v: Vectors, x: Any) -> Any:
    """Logarithmic derivative of the gamma function."""
    if not v.is_double(x):
        return v.narrow(digamma(v, v.widen(x)))
    negative = v.compare("lt", x, v.constant(0.0, x))
    a = v.fabs(x)
    d = v.select(negative, a, _less_one(v, x))  # reflected to 1 + a
    above, below = quotient(v, d, table(v, x, "digamma"))
    high, low = parts(v, x, "digamma_root")
    near = v.div(v.mul(shifted(v, shifted(v, d, -high), -low), above), below)
    y = where(v, "le", d, 9.0, near, _digamma_far(v, shifted(v, d, 1.0)))
    inverse = v.div(v.constant(1.0, x), x)
    y = v.sub(y, where(v, "lt", a, 1.0, v.select(negative, v.constant(0.0, x), inverse), 0.0))
    r = v.sub(x, v.rint(x))
    cosine = _sine_over_pi(v, v.sub(v.constant(0.5, x), v.fabs(r)))
    cotangent = scaled(v, v.div(cosine, _sine_over_pi(v, r)), math.pi)
    reflected = where(v, "eq", r, 0.0, math.nan, v.sub(y, cotangent))
    return v.select(negative, reflected, y)


def _digamma_far(v: Vectors, x: Any) -> Any:
    """The asymptotic series of digamma."""
    inverse = v.div(v.constant(1.0, x), x)
    square = v.mul(inverse, inverse)
    series = v.mul(square, polynomial(v, square, table(v, x, "digamma_far")))
    return v.sub(log(v, x), v.fma(inverse, v.constant(0.5, x), series))
