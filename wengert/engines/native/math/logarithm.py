"""log, log2, log10, log1p and functions made of them.

x = m 2**e with m in [3/4, 3/2), so that e is 0 for all arguments near 1. In float32 a polynomial
gives log(m) from f = m - 1; in float64 a shorter one of s = f / (2 + f), with
log(m) = f - (f**2/2 - s (f**2/2 + R(s**2))) (P. Tang, Table-driven implementation of the
logarithm function, 1990, and Sun's fdlibm).
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.parts import (
    decompose,
    decompose_normal,
    fast_two_sum,
    format_of,
    parts,
    polynomial,
    scaled,
    shifted,
    table,
    tiny_as_is,
    two_product,
    where,
)
from wengert.engines.native.vectors import Vectors


def _drop(v: Vectors, f: Any) -> Any:
    """f - log(1 + f)."""
    if v.is_double(f):
        half_square = scaled(v, v.mul(f, f), 0.5)
        s = v.div(f, shifted(v, f, 2.0))
        z = v.mul(s, s)
        rest = v.mul(z, polynomial(v, z, table(v, f, "log_double")))
        return v.fma(v.neg(s), v.add(half_square, rest), half_square)
    square = v.mul(f, f)
    cubic = v.mul(v.mul(square, f), polynomial(v, f, table(v, f, "log_single")))
    return v.fma(square, v.constant(0.5, f), v.neg(cubic))


def _special(v: Vectors, x: Any, y: Any) -> Any:
    """A logarithm `y`, and what logarithms are at 0, below, at infinity and NaN."""
    y = where(v, "lt", x, math.inf, y, x)
    y = where(v, "lt", x, 0.0, math.nan, y)
    return where(v, "eq", x, 0.0, -math.inf, y)


def log(v: Vectors, x: Any) -> Any:
    """Natural logarithm."""
    m, e = decompose(v, x)
    return _special(v, x, _natural(v, shifted(v, m, -1.0), e))


def _natural(v: Vectors, f: Any, e: Any) -> Any:
    """log((1 + f) 2**e)."""
    high, low = parts(v, f, "ln2")
    drop = v.fma(e, v.constant(-low, f), _drop(v, f))
    return v.fma(e, v.constant(high, f), v.sub(f, drop))


def log2(v: Vectors, x: Any) -> Any:
    """Logarithm to base 2."""
    m, e = decompose(v, x)
    high, low = _times(v, shifted(v, m, -1.0), "log2e")
    total, error = fast_two_sum(v, e, high)
    exact = v.select(v.compare("eq", e, v.constant(0.0, e)), high, total)
    error = v.select(v.compare("eq", e, v.constant(0.0, e)), v.constant(0.0, e), error)
    return _special(v, x, v.add(exact, v.add(low, error)))


def log10(v: Vectors, x: Any) -> Any:
    """Logarithm to base 10."""
    m, e = decompose(v, x)
    high, low = _times(v, shifted(v, m, -1.0), "log10e")
    step, step_low = parts(v, x, "log10_2")
    low = v.fma(e, v.constant(step_low, x), low)
    return _special(v, x, v.fma(e, v.constant(step, x), v.add(high, low)))


def _times(v: Vectors, f: Any, name: str) -> tuple[Any, Any]:
    """log(1 + f) times a number, as a rounded product and what it lacks."""
    factor, factor_low = parts(v, f, name)
    drop = _drop(v, f)
    high = v.sub(f, drop)
    low = v.sub(v.sub(f, high), drop)
    product, error = two_product(v, high, v.constant(factor, f))
    error = v.fma(low, v.constant(factor, f), error)
    return product, v.fma(high, v.constant(factor_low, f), error)


def log1p(v: Vectors, x: Any) -> Any:
    """log(1 + x), exact to the last digits near 0."""
    f, e, u = one_plus(v, x)
    y = _natural(v, f, e)
    y = where(v, "lt", u, math.inf, y, x)
    y = where(v, "lt", u, 0.0, math.nan, y)
    return tiny_as_is(v, x, where(v, "eq", u, 0.0, -math.inf, y))


def one_plus(v: Vectors, x: Any) -> tuple[Any, Any, Any]:
    """f and e with 1 + x = (1 + f) 2**e, f not rounded twice; and 1 + x, rounded."""
    form = format_of(v, x)
    u = shifted(v, x, 1.0)
    m, e = decompose_normal(v, u)
    # 2**-e, from the bits of u and m: beyond 2**mantissa the 1 is lost anyhow
    power = v.builder.sub(v.as_bits(m), v.as_bits(u))
    inverse = v.as_float(v.builder.add(power, v.constant(form.bias << form.mantissa, power)))
    f = v.fma(x, inverse, shifted(v, inverse, -1.0))
    return where(v, "lt", x, 2.0 ** (form.mantissa + 2), f, shifted(v, m, -1.0)), e, u
