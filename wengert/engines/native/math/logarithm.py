"""log, log2, log10, log1p and functions made of them.

x = m 2**e with m in [3/4, 3/2), so that e is 0 for all arguments near 1. In float32 a
polynomial gives log(m) from f = m - 1; in float64 a shorter one of s = f / (2 + f), with
log(m) = f - (f**2/2 - s (f**2/2 + R(s**2))) (P. Tang, Table-driven implementation of the
logarithm function, 1990, and Sun's fdlibm).
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.exponential import exp2_in_two, exp_in_two
from wengert.engines.native.math.parts import (
    decompose,
    decompose_normal,
    decomposes_specials,
    fast_two_sum,
    format_of,
    parts,
    polynomial,
    scaled,
    shifted,
    table,
    tiny_as_is,
    two_product,
    two_sum,
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
    if decomposes_specials(v, x):
        return y
    y = where(v, "lt", x, math.inf, y, x)
    y = where(v, "lt", x, 0.0, math.nan, y)
    return where(v, "eq", x, 0.0, -math.inf, y)


def log(v: Vectors, x: Any) -> Any:
    """Natural logarithm."""
    m, e = decompose(v, x)
    return _special(v, x, natural(v, shifted(v, m, -1.0), e))


def natural(v: Vectors, f: Any, e: Any, rest: Any = None) -> Any:
    """log((1 + f) 2**e), and near enough log((1 + f + rest) 2**e) for a small rest."""
    high, low = parts(v, f, "ln2")
    drop = v.fma(e, v.constant(-low, f), _drop(v, f))
    drop = drop if rest is None else v.sub(drop, rest)
    return v.fma(e, v.constant(high, f), v.sub(f, drop))


def log_in_two(v: Vectors, x: Any) -> tuple[Any, Any]:
    """The natural logarithm of positive numbers, and what it lacks."""
    m, e = decompose(v, x)
    return natural_in_two(v, shifted(v, m, -1.0), e)


def natural_in_two(v: Vectors, f: Any, e: Any) -> tuple[Any, Any]:
    """log((1 + f) 2**e), and what it lacks."""
    step, step_low = parts(v, f, "ln2")
    high, rest = fast_two_sum(v, scaled(v, e, step), f)  # e is 0, or at least 1
    return high, v.sub(rest, v.fma(e, v.constant(-step_low, f), _drop(v, f)))


def log2(v: Vectors, x: Any) -> Any:
    """Logarithm to base 2."""
    m, e = decompose(v, x)
    high, low = _times(v, shifted(v, m, -1.0), "log2")
    return _special(v, x, v.add(v.add(e, high), low))


def log10(v: Vectors, x: Any) -> Any:
    """Logarithm to base 10."""
    m, e = decompose(v, x)
    high, low = _times(v, shifted(v, m, -1.0), "log10")
    step, step_low = parts(v, x, "log10_2")
    low = v.fma(e, v.constant(step_low, x), low)
    return _special(v, x, v.fma(e, v.constant(step, x), v.add(high, low)))


def _times(v: Vectors, f: Any, name: str) -> tuple[Any, Any]:
    """The logarithm of 1 + f to another base, as a rounded number and what it lacks."""
    if not v.is_double(f):
        factor, factor_low = parts(v, f, name)
        product, error = two_product(v, f, v.constant(factor, f))
        rest = v.fma(f, polynomial(v, f, table(v, f, name)), v.constant(factor_low, f))
        return product, v.fma(f, rest, error)
    return _times_natural(v, f, name)


def _times_natural(v: Vectors, f: Any, name: str) -> tuple[Any, Any]:
    """The same by way of the natural logarithm."""
    factor, factor_low = parts(v, f, name)
    drop = _drop(v, f)
    high = v.sub(f, drop)
    low = v.sub(v.sub(f, high), drop)
    product, error = two_product(v, high, v.constant(factor, f))
    error = v.fma(low, v.constant(factor, f), error)
    return product, v.fma(high, v.constant(factor_low, f), error)


def log1p(v: Vectors, x: Any) -> Any:
    """log(1 + x), exact to the last digits near 0."""
    return _log1p(v, x, None)


def _log1p(v: Vectors, x: Any, rest: Any) -> Any:
    """log(1 + x + rest) for a small rest."""
    f, e, inverse = one_plus(v, x)
    if rest is not None:
        rest = where(v, "lt", x, math.inf, v.mul(rest, inverse), 0.0)
    y = natural(v, f, e, rest)
    if not decomposes_specials(v, x):
        y = where(v, "lt", x, math.inf, y, x)
        y = where(v, "lt", x, -1.0, math.nan, y)
        y = where(v, "eq", x, -1.0, -math.inf, y)
    return v.copysign(y, x)  # of -0.0, too


def one_plus(v: Vectors, x: Any) -> tuple[Any, Any, Any]:
    """f, e and 2**-e with 1 + x = (1 + f) 2**e, f not rounded twice."""
    form = format_of(v, x)
    u = shifted(v, x, 1.0)
    m, e = decompose_normal(v, u)
    # 2**-e, from the bits of u and m: beyond 2**mantissa the 1 is lost anyhow
    power = v.builder.sub(v.as_bits(m), v.as_bits(u))
    inverse = v.as_float(v.builder.add(power, v.constant(form.bias << form.mantissa, power)))
    f = v.fma(x, inverse, shifted(v, inverse, -1.0))
    f = where(v, "ge", x, 2.0 ** (form.mantissa + 2), shifted(v, m, -1.0), f)
    return f, e, inverse


def _log_of_sum(v: Vectors, u: Any, rest: Any, x: Any) -> Any:
    """log(1 + u + rest) for a small rest; where x is large, log(2 x), which it then is."""
    large = 2.0 ** (format_of(v, x).mantissa + 3)
    f, e, inverse = one_plus(v, where(v, "lt", x, large, u, x))
    rest = where(v, "lt", x, large, v.mul(rest, inverse), 0.0)
    y = natural(v, f, v.add(e, where(v, "lt", x, large, 0.0, 1.0)), rest)
    return where(v, "lt", x, math.inf, y, x)


def asinh(v: Vectors, x: Any) -> Any:
    """Inverse hyperbolic sine."""
    size = v.fabs(x)
    square = v.mul(x, x)
    root = v.sqrt(shifted(v, square, 1.0))
    u, rest = fast_two_sum(v, size, v.div(square, shifted(v, root, 1.0)))
    return tiny_as_is(v, x, v.copysign(_log_of_sum(v, u, rest, size), x))


def acosh(v: Vectors, x: Any) -> Any:
    """Inverse hyperbolic cosine."""
    t = shifted(v, x, -1.0)
    u, rest = fast_two_sum(v, v.sqrt(v.fma(t, t, v.add(t, t))), t)
    return where(v, "lt", x, 1.0, math.nan, _log_of_sum(v, u, rest, x))


def atanh(v: Vectors, x: Any) -> Any:
    """Inverse hyperbolic tangent."""
    size = v.fabs(x)
    one, double = v.constant(1.0, x), v.add(size, size)
    below, error = fast_two_sum(v, one, v.neg(size))
    # what the quotient lacks for the error below; near 1 there is none
    y = _log1p(v, v.div(double, below), v.mul(v.neg(double), error))
    y = v.copysign(scaled(v, y, 0.5), x)
    return tiny_as_is(v, x, y)


def logaddexp(v: Vectors, x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)), without overflow."""
    larger, gap, error = _larger_and_gap(v, x, y)
    ratio, lacking = exp_in_two(v, gap)
    f, e, _ = one_plus(v, ratio)
    high, low = natural_in_two(v, f, e)
    rest = _grown(v, ratio, v.fma(ratio, error, lacking))
    return _unless_nan(v, x, y, _raised(v, larger, high, v.add(low, rest)))


def logaddexp2(v: Vectors, x: Any, y: Any) -> Any:
    """log2(2**x + 2**y), without overflow."""
    larger, gap, error = _larger_and_gap(v, x, y)
    ratio, lacking = exp2_in_two(v, gap)
    f, e, _ = one_plus(v, ratio)
    high, low = _times_natural(v, f, "log2")
    high, rest = fast_two_sum(v, e, high)  # e is 0, or 1
    lacking = v.fma(ratio, error, scaled(v, lacking, 1 / math.log(2)))
    rest = v.add(rest, _grown(v, ratio, lacking))
    return _unless_nan(v, x, y, _raised(v, larger, high, v.add(low, rest)))


def _grown(v: Vectors, ratio: Any, rest: Any) -> Any:
    """By what log(1 + ratio) grows with a rest of the ratio: nearly rest / (1 + ratio)."""
    return v.fma(v.mul(ratio, rest), v.constant(-0.5, ratio), rest)


def _larger_and_gap(v: Vectors, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The larger number, minus its distance to the other, and what that lacks."""
    larger, lesser = v.fmax(x, y), v.fmin(x, y)
    gap, error = two_sum(v, lesser, v.neg(larger))
    error = where(v, "gt", gap, -1100.0, error, 0.0)  # beyond, nothing counts
    return larger, v.select(v.compare("eq", x, y), v.constant(0.0, x), gap), error


def _raised(v: Vectors, x: Any, high: Any, low: Any) -> Any:
    """x + high + low for two parts of a logarithm, which x may nearly cancel."""
    total, rest = two_sum(v, x, high)
    rest = v.add(rest, low)
    return v.add(total, where(v, "lt", v.fabs(total), math.inf, rest, 0.0))


def _unless_nan(v: Vectors, x: Any, y: Any, value: Any) -> Any:
    total = v.add(x, y)
    infinities = v.compare("eq", x, v.neg(y))  # whose sum is NaN, too
    defined = v.builder.or_(v.builder.not_(v.is_nan(total)), infinities)
    return v.select(defined, value, total)


def xlogy(v: Vectors, x: Any, y: Any) -> Any:
    """x log(y), and 0 where x is 0."""
    return _times_log(v, x, y, log(v, y))


def xlog1py(v: Vectors, x: Any, y: Any) -> Any:
    """x log(1 + y), and 0 where x is 0."""
    return _times_log(v, x, y, log1p(v, y))


def _times_log(v: Vectors, x: Any, y: Any, logarithm: Any) -> Any:
    zero = v.constant(0.0, x)
    none = v.builder.and_(v.compare("eq", x, zero), v.builder.not_(v.is_nan(y)))
    return v.select(none, zero, v.mul(x, logarithm))


def entr(v: Vectors, x: Any) -> Any:
    """-x log(x), 0 at 0 and minus infinity below."""
    y = where(v, "eq", x, 0.0, 0.0, v.mul(v.neg(x), log(v, x)))
    return where(v, "lt", x, 0.0, -math.inf, y)
