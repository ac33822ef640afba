"""Error functions and the normal distribution.

Near 0 they are polynomials; far out exp(-x**2) times erfcx(x), a quotient (W. Cody, Rational
Chebyshev approximations for the error function, 1969). The square's rounding error goes into
the exponential, whose argument it would disturb by many units in the last place.

Quantiles are quotients near the middle, and in the tails functions of sqrt(-log(p)) (J. Blair,
C. Edwards and J. Johnson, Rational Chebyshev approximations for the inverse of the error
function, 1976).
"""

from __future__ import annotations

import math
from typing import Any

from wengert.engines.native.math.exponential import exp, exp_times
from wengert.engines.native.math.logarithm import log1p, log_in_two, natural_in_two, one_plus
from wengert.engines.native.math.parts import (
    decompose_normal,
    fast_two_sum,
    format_of,
    horner,
    nearest,
    polynomial,
    power_of_two,
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
from wengert.primitives import random_bits


def _erfcx(v: Vectors, x: Any, scale: float) -> tuple[Any, Any]:
    """exp(y**2) erfc(y) for y = sqrt(scale) x above 0.7, with scale 1 or 1/2.

    And what it lacks, as a part of it; None where that does not matter.
    """
    factor, factor_low = (1.0, 0.0) if scale == 1.0 else _SQRT_HALF
    if not v.is_double(x):  # by way of float64, for the last digit
        y = scaled(v, v.widen(x), factor)
        above, below = quotient(v, y, table(v, y, "erfcx_single"))
        return v.narrow(v.div(above, below)), None
    y, y_low = (x, None) if scale == 1.0 else two_product(v, x, v.constant(factor, x))
    # (75/128 + rest) / (y + 23/64), where the rest is some percents
    above, below = quotient(v, y, table(v, x, "erfcx_rest"))
    top, top_rest = fast_two_sum(v, v.constant(75 / 128, x), v.div(above, below))
    bottom, error = fast_two_sum(v, y, v.constant(23 / 64, x))
    if y_low is not None:
        error = v.add(error, v.fma(x, v.constant(factor_low, x), y_low))
    y = v.div(top, bottom)
    # what the quotient, top and bottom lack; the top is about 0.585
    lacking = v.add(residual(v, y, bottom, top), v.fma(v.neg(error), y, top_rest))
    return y, scaled(v, lacking, 1 / 0.585)


_SQRT_HALF = (0.7071067811865476, -4.833646656726457e-17)


def _inner(v: Vectors, x: Any) -> Any:
    """erf(x) / x - 1, for |x| up to 1."""
    return polynomial(v, v.mul(x, x), table(v, x, "erf_inner"))


def erf(v: Vectors, x: Any) -> Any:
    """Error function."""
    size = v.fabs(x)
    near = v.fma(x, _inner(v, x), x)
    outer = v.compare("gt", size, v.constant(1.0, x))
    far = _erf_double(v, size) if v.is_double(x) else _erf_single(v, size)
    return v.select(outer, v.copysign(far, x), near)


def _erf_single(v: Vectors, size: Any) -> Any:
    """erf for arguments above 1, by a polynomial for the logarithm of its complement."""
    size = v.fmin(v.constant(3.93, size), size)
    exponent = polynomial(v, size, table(v, size, "log_erfc"))
    n, bits = nearest(v, exponent, 1 / math.log(2), 127)
    r = v.fma(n, v.constant(-math.log(2), size), exponent)
    complement = polynomial(v, r, table(v, size, "exp"))
    return v.fma(v.neg(complement), power_of_two(v, size, bits), v.constant(1.0, size))


def _erf_double(v: Vectors, size: Any) -> Any:
    """erf for arguments above 1."""
    size = v.fmin(v.constant(6.0, size), size)
    above, below = quotient(v, size, table(v, size, "erf_tail"))
    gaussian = exp(v, v.neg(v.mul(size, size)))
    return v.fma(v.neg(gaussian), v.div(above, below), v.constant(1.0, size))


def _gaussian_tail(v: Vectors, x: Any, scale: float, factor: float) -> Any:
    """factor exp(-scale x**2) erfcx(sqrt(scale) x) for large positive x, NaN for NaN."""
    square, error = two_product(v, x, x)
    value, lacking = _erfcx(v, x, scale)
    value = scaled(v, value, factor)
    rest = lacking and v.mul(lacking, value)
    return exp_times(v, scaled(v, square, -scale), scaled(v, error, -scale), (value, rest))


def erfc(v: Vectors, x: Any) -> Any:
    """1 - erf(x), without the cancellation."""
    one = v.constant(1.0, x)
    size = v.fmin(v.constant(28.0, x), v.fabs(x))
    tail = _gaussian_tail(v, size, 1.0, 1.0)
    far = where(v, "lt", x, 0.0, v.sub(v.constant(2.0, x), tail), tail)
    near = v.sub(v.sub(one, x), v.mul(x, _inner(v, x)))
    return v.select(v.compare("gt", size, v.constant(0.75, x)), far, near)


def erfcx(v: Vectors, x: Any) -> Any:
    """exp(x**2) erfc(x); float32 by way of float64."""
    if not v.is_double(x):
        return v.narrow(erfcx(v, v.widen(x)))
    size = v.fabs(x)
    near, lacking = _erfcx(v, v.fmin(v.constant(28.0, x), size), 1.0)
    near = v.fma(lacking, near, near)
    inverse = v.div(v.constant(1.0, x), size)
    # the asymptotic series: 1 - 1/(2 x**2) + 3/(4 x**4) - ...
    terms = [1.0, -0.5, 0.75, -1.875, 6.5625, -29.53125, 162.421875]
    terms = [term / math.sqrt(math.pi) for term in terms]
    far = v.div(horner(v, v.mul(inverse, inverse), terms), size)
    tail = where(v, "gt", size, 28.0, far, near)
    outer = v.compare("gt", size, v.constant(0.75, x))
    inner, rest = fast_two_sum(v, v.constant(1.0, x), v.neg(x))
    inner, lacking = fast_two_sum(v, inner, v.neg(v.mul(x, _inner(v, x))))
    inner = v.select(outer, v.constant(2.0, x), inner)
    rest = v.select(outer, v.constant(0.0, x), v.add(rest, lacking))
    square, error = two_product(v, x, x)
    error = where(v, "lt", square, 1000.0, error, 0.0)
    grown = exp_times(v, square, error, (inner, rest))
    left = v.select(outer, v.sub(grown, tail), grown)
    return where(v, "gt", x, 0.75, tail, left)


def ndtr(v: Vectors, x: Any) -> Any:
    """Distribution function of the standard normal distribution."""
    size = v.fabs(x)
    tail = _normal_tail(v, size)
    far = where(v, "lt", x, 0.0, tail, v.sub(v.constant(1.0, x), tail))
    return where(v, "gt", size, 1.0, far, _normal_inner(v, x))


def _normal_tail(v: Vectors, size: Any) -> Any:
    """ndtr(-size) for sizes above 1."""
    return _gaussian_tail(v, v.fmin(v.constant(39.0, size), size), 0.5, 0.5)


def _normal_inner(v: Vectors, x: Any) -> Any:
    """ndtr(x) for |x| up to 1."""
    half = v.constant(0.5, x)
    return v.fma(x, _normal_rest(v, x), v.fma(x, half, half))


def _normal_rest(v: Vectors, x: Any) -> Any:
    """(ndtr(x) - 1/2) / x - 1/2, for |x| up to 1."""
    return polynomial(v, v.mul(x, x), table(v, x, "ndtr_inner"))


def _left_in_two(v: Vectors, size: Any) -> tuple[Any, Any]:
    """ndtr(-size) for sizes up to 1, and what it lacks."""
    half = v.constant(0.5, size)
    start, error = fast_two_sum(v, half, scaled(v, size, -0.5))
    product, low = two_product(v, v.neg(size), _normal_rest(v, size))
    total, rest = two_sum(v, start, product)
    return total, v.add(rest, v.add(low, error))


def log_ndtr(v: Vectors, x: Any) -> Any:
    """Logarithm of `ndtr`; on the left -x**2/2 + log(exp(x**2/2) ndtr(x)).

    float32 by way of float64.
    """
    if not v.is_double(x):
        return v.narrow(log_ndtr(v, v.widen(x)))
    size, one = v.fabs(x), v.constant(1.0, x)
    outer = v.compare("lt", x, v.neg(one))
    tail, tail_lacking = _scaled_tail(v, size)
    inner, inner_low = _left_in_two(v, v.fmin(one, size))
    inner_low = where(v, "le", size, 1.0, inner_low, 0.0)
    left = v.compare("lt", x, v.constant(0.0, x))
    # the logarithm of a number on the left, of 1 less one on the right
    number = v.select(outer, tail, inner)
    m, e = decompose_normal(v, number)
    less = where(v, "le", size, 1.0, inner, _normal_tail(v, size))
    f, e_right, _ = one_plus(v, v.neg(less))
    f, e = v.select(left, shifted(v, m, -1.0), f), v.select(left, e, e_right)
    high, low = natural_in_two(v, f, e)
    # what their arguments lack, as a part of them
    lacking = v.div(inner_low, v.select(left, inner, shifted(v, less, -1.0)))
    low = v.add(low, v.select(outer, tail_lacking, lacking))
    return v.neg(v.fabs(_less_half_square(v, x, outer, (high, low))))  # -0.0 on the right


def _less_half_square(v: Vectors, x: Any, outer: Any, y: tuple[Any, Any]) -> Any:
    """y - x**2 / 2 where wanted, for y in two parts; they do not matter if it is infinite."""
    zero = v.constant(0.0, x)
    square, error = two_product(v, scaled(v, x, -0.5), x)
    square, error = v.select(outer, square, zero), v.select(outer, error, zero)
    total, rest = two_sum(v, square, y[0])
    rest = v.add(rest, v.add(y[1], error))
    return v.add(total, where(v, "eq", square, -math.inf, 0.0, rest))


def _scaled_tail(v: Vectors, size: Any) -> tuple[Any, Any]:
    """exp(size**2 / 2) ndtr(-size) for any size above 1, in float64, and what it lacks."""
    limit = 39.0
    near, lacking = _erfcx(v, v.fmin(v.constant(limit, size), size), 0.5)
    inverse = v.div(v.constant(1.0, size), size)
    # the asymptotic series: 1 - 1/x**2 + 3/x**4 - ...
    series = polynomial(v, v.mul(inverse, inverse), [1.0, -1.0, 3.0, -15.0, 105.0, -945.0])
    far = v.mul(scaled(v, inverse, 1 / math.sqrt(2 * math.pi)), series)
    # a positive normal number, also where it would be too small
    far = v.fmax(far, v.constant(format_of(v, size).least, size))
    outer = v.compare("gt", size, v.constant(limit, size))
    return v.select(outer, far, scaled(v, near, 0.5)), v.select(
        outer, v.constant(0.0, size), lacking
    )


# -- quantiles ---------------------------------------------------------------------------------


def _central(v: Vectors, x: Any) -> Any:
    """erf_inv(x) / x - 1 for |x| up to 3/4, in float64."""
    above, below = quotient(v, v.fma(x, x, v.constant(-0.5625, x)), table(v, x, "erf_inv"))
    return v.div(above, below)


def _central_root(v: Vectors, x: Any) -> Any:
    """sqrt(2) erf_inv(x) for |x| up to 3/4, in float64."""
    tiny = v.compare("lt", v.fabs(x), v.constant(1e-290, x))
    if not v.has_fma:  # parts of tiny products would be rounded
        x = v.select(tiny, scaled(v, x, 2.0**60), x)
    root, rest = two_product(v, x, v.constant(2 * _SQRT_HALF[0], x))
    rest = v.fma(x, v.constant(2 * _SQRT_HALF[1], x), rest)
    y = v.add(root, v.fma(root, _central(v, x), rest))
    return y if v.has_fma else v.select(tiny, scaled(v, y, 2.0**-60), y)


def _upper_quantile(v: Vectors, q: Any, halved: bool) -> Any:
    """The x for which ndtr(-x) is q, up to 1/8, or sqrt(1/2) times that; in float64.

    With t = sqrt(-log(q)) it is nearly t where q is not small, and sqrt(2) t where it is.
    """
    high, low = (v.neg(part) for part in log_in_two(v, q))
    t = v.sqrt(v.add(high, low))
    near = v.compare("lt", t, v.constant(4.5, t))

    def chosen(a: float, b: float) -> Any:
        return v.select(near, v.constant(a, t), v.constant(b, t))

    half, half_low = _SQRT_HALF
    if halved:
        first, second = chosen(half, 1.0), chosen(half_low, 0.0)
    else:
        first, second = chosen(1.0, 2 * half), chosen(0.0, 2 * half_low)
    s, error = two_product(v, t, first)
    # half of what the square lacks over t is what t lacks; near, more than s grows by that
    lacking = v.div(v.add(residual(v, t, t, high), low), t)
    rest = v.fma(v.mul(lacking, chosen(0.75, 0.5)), first, v.fma(t, second, error))
    fits = (("near", -1.4375), ("far", -4.5))
    quotients = (quotient(v, shifted(v, t, c), table(v, t, f"quantile_{n}")) for n, c in fits)
    above, below = (v.select(near, a, b) for a, b in zip(*quotients, strict=True))
    y = v.add(s, v.fma(s, v.div(above, below), rest))
    y = where(v, "eq", q, 0.0, math.inf, y)
    return where(v, "ge", q, 0.0, y, math.nan)


def erf_inv(v: Vectors, x: Any) -> Any:
    """Inverse of the error function; float32 by way of float64."""
    if not v.is_double(x):
        return v.narrow(erf_inv(v, v.widen(x)))
    size = v.fabs(x)
    q = scaled(v, v.sub(v.constant(1.0, x), size), 0.5)
    far = v.copysign(_upper_quantile(v, q, halved=True), x)
    return where(v, "le", size, 0.75, v.fma(x, _central(v, x), x), far)


def ndtri(v: Vectors, p: Any) -> Any:
    """Quantiles of the standard normal distribution; float32 by way of float64."""
    if not v.is_double(p):
        return v.narrow(ndtri(v, v.widen(p)))
    middle = shifted(v, p, -0.5)
    near = _central_root(v, v.add(middle, middle))
    left = v.compare("lt", p, v.constant(0.5, p))
    far = _upper_quantile(v, v.select(left, p, v.sub(v.constant(1.0, p), p)), halved=False)
    far = v.select(left, v.neg(far), far)
    return where(v, "le", v.fabs(middle), 0.375, near, far)


def normal_quantile(v: Vectors, u: Any) -> Any:
    """sqrt(2) erf_inv(u); in float32 by the formula of the primitive, digit by digit."""
    if v.is_double(u):
        size = v.fabs(u)
        far = _upper_quantile(v, scaled(v, v.sub(v.constant(1.0, u), size), 0.5), halved=False)
        return where(v, "le", size, 0.75, _central_root(v, u), v.copysign(far, u))
    root = v.constant(math.sqrt(2.0), u)
    minus_w = log1p(v, v.mul(u, v.neg(u)))
    near = v.sub(v.constant(-2.5, u), minus_w)
    near = horner(v, near, [float(c) for c in reversed(random_bits.CENTRAL)])
    far = shifted(v, v.sqrt(v.neg(minus_w)), -3.0)
    far = horner(v, far, [float(c) for c in reversed(random_bits.TAIL)])
    far = where(v, "eq", v.fabs(u), 1.0, math.inf, far)
    return v.mul(v.mul(where(v, "le", minus_w, -5.0, far, near), u), root)
