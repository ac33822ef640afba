"""Shape derivatives of incomplete gamma, incomplete beta and zeta functions, on NumPy values.

SciPy has the functions but not these derivatives. They come from the power series, the
continued fractions and the asymptotic sums of the functions, evaluated with jets for the
parameters, in float64; the loops run until no element changes any more. The number of terms
grows like the square root of the shape parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.primitives import jets
from wengert.primitives.families import array_dtype, scalar

special = lazy_module("scipy.special")

_EPS = 1e-17
_TERMS = 1_000_000


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of flat float64 arrays on operands that broadcast, rounded to their dtype."""

    def compute(*operands: Any, **params: Any) -> Any:
        wide = np.broadcast_arrays(*(np.asarray(o, np.float64) for o in operands))
        flat = function(*(w.ravel() for w in wide), **params)
        return scalar(flat.reshape(wide[0].shape).astype(array_dtype(*operands)))

    return compute


def polygamma(order: int, x: Any) -> Any:
    """The derivative of the given order of lgamma, order at least 1, for positive x."""
    if order == 1:
        return special.digamma(x)
    return (-1) ** order * math.factorial(order - 1) * special.zeta(order, x)


# -- gamma ----------------------------------------------------------------------------------


def igamma_grad_a(a: Any, x: Any, order: int = 1) -> Any:
    """The derivative of P(a, x) with respect to a, of the given order."""
    density = np.exp(special.xlogy(a - 1, x) - x - special.gammaln(a))
    out = density * _relative_slope(a, x, order)
    out = np.where((x == 0) | (x == np.inf), 0.0, out)
    return np.where((a > 0) & (x >= 0), out, np.nan)


def random_gamma_grad(a: Any, x: Any, order: int = 1) -> Any:
    """Minus the derivative of P(a, x) with respect to a, over the density at x."""
    out = np.where(x == 0, 0.0, -_relative_slope(a, x, order))
    return np.where((a > 0) & (x >= 0), out, np.nan)


def _relative_slope(a: Any, x: Any, order: int) -> Any:
    """The derivative over the density, which cannot underflow as these two can."""
    out = np.full(a.shape, np.nan)
    below = (a > 0) & (x > 0) & (x <= a + 1)
    above = (a > 0) & (x > a + 1) & (x < np.inf)
    for mask, function in ((below, _by_series), (above, _by_fraction)):
        if mask.any():
            out[mask] = math.factorial(order) * function(a[mask], x[mask], order + 1)
    return out


def _power(a: Any, x: Any, size: int) -> Any:
    """The jet in s of x**s Gamma(a+1) / Gamma(a+1+s)."""
    exponent = np.zeros((size, 1, *a.shape))
    for k in range(1, size):
        exponent[k, 0] = -polygamma(k, a + 1) / math.factorial(k)
    exponent[1, 0] += np.log(x)
    return jets.exp(exponent)


def _by_series(a: Any, x: Any, size: int) -> Any:
    """From P(a, x) = x**a exp(-x) / Gamma(a+1) * S, S the sum of x**n / ((a+1)...(a+n))."""
    term = jets.linear((size, 1), np.ones_like(x))
    total = term.copy()
    for n in range(1, _TERMS):
        factor = np.empty_like(term)
        factor[0, 0] = x / (a + n)
        for k in range(1, size):
            factor[k, 0] = -factor[k - 1, 0] / (a + n)
        term = jets.times(term, factor)
        total += term
        if not (np.abs(term) > _EPS * np.abs(total)).any():
            break
    return jets.times(total, _power(a, x, size))[-1, 0] * (x / a)


def _by_fraction(a: Any, x: Any, size: int) -> Any:
    """From Q(a, x) = x**a exp(-x) / Gamma(a) / K, K a continued fraction (Legendre)."""
    shape = (size, 1)

    def levels() -> Iterator[Any]:
        for i in range(1, _TERMS):
            yield (
                jets.linear(shape, -i * (i - a), float(i)),
                jets.linear(shape, x + 1 - a + 2 * i, -1.0),
            )

    fraction = jets.continued_fraction(jets.linear(shape, x + 1 - a, -1.0), levels())
    # 1 / Gamma(a) = a / Gamma(a+1): near 0 the left side would cancel
    top = jets.times(_power(a, x, size), jets.linear(shape, a, 1.0))
    return -jets.over(top, fraction)[-1, 0] * (x / a)


# -- beta -----------------------------------------------------------------------------------


def betainc_grad(a: Any, b: Any, x: Any, order: tuple[int, int]) -> Any:
    """The derivative of I_x(a, b), of order[0] in a and order[1] in b, not both 0."""
    valid = (a > 0) & (b > 0)
    out = np.where(valid & ((x == 0) | (x == 1)), 0.0, np.nan)
    inside = valid & (x > 0) & (x < 1)
    left = inside & (x < (a + 1) / (a + b + 2))
    right = inside & ~left
    if left.any():
        out[left] = _beta_slope(a[left], b[left], x[left], order)
    if right.any():  # I_x(a, b) = 1 - I_(1-x)(b, a)
        out[right] = -_beta_slope(b[right], a[right], 1 - x[right], order[::-1])
    return out


def _beta_slope(a: Any, b: Any, x: Any, order: tuple[int, int]) -> Any:
    """From I_x(a, b) = x**a (1-x)**b / (a B(a, b)) / K, K a continued fraction."""
    shape = (order[0] + 1, order[1] + 1)

    def linear(value: Any, s: float = 0.0, t: float = 0.0) -> Any:
        return jets.linear(shape, value, s, t)

    def levels() -> Iterator[Any]:
        one = linear(np.ones_like(x))
        for m in range(_TERMS):
            middle = linear(a + 2 * m, 1.0)
            if m:
                bottom = jets.times(linear(a + 2 * m - 1, 1.0), middle)
                yield m * x * jets.over(linear(b - m, 0.0, 1.0), bottom), one
            bottom = jets.times(middle, linear(a + 2 * m + 1, 1.0))
            top = jets.times(linear(a + m, 1.0), linear(a + b + m, 1.0, 1.0))
            yield -x * jets.over(top, bottom), one

    fraction = jets.continued_fraction(linear(np.ones_like(x)), levels())
    fraction = jets.times(fraction, linear(a, 1.0))
    exponent = linear(a * np.log(x) + b * np.log1p(-x) - special.betaln(a, b))
    for i in range(shape[0]):
        for j in range(shape[1]):
            if i + j:
                slope = polygamma(i + j, a + b)
                if not (i and j):
                    own, power = (a, np.log(x)) if i else (b, np.log1p(-x))
                    slope = slope - polygamma(i + j, own) + (power if i + j == 1 else 0)
                exponent[i, j] = slope / (math.factorial(i) * math.factorial(j))
    coefficient = jets.over(jets.exp(exponent), fraction)[-1, -1]
    return math.factorial(order[0]) * math.factorial(order[1]) * coefficient


# -- zeta -----------------------------------------------------------------------------------

#: B_2j / (2j)! for j = 1, 2, ...
BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
)


def zeta_grad(s: Any, q: Any, order: int) -> Any:
    """The derivative of zeta(s, q) with respect to s > 1, of the given order, for q > 0.

    The sum formula of Euler and Maclaurin, term by term.
    """
    valid = (s > 1) & (s < np.inf) & (q > 0)
    out = np.full(s.shape, np.nan)
    if valid.any():
        out[valid] = math.factorial(order) * _zeta_jet(s[valid], q[valid], order + 1)[-1, 0]
    return out


def _zeta_jet(s: Any, q: Any, size: int) -> Any:
    shape = (size, 1)

    def power(base: Any) -> Any:  # base**-s
        return jets.exp(jets.linear(shape, -s * np.log(base), -np.log(base)))

    count = 16 + int(np.max(s))
    total = sum((power(q + k) for k in range(count)), np.zeros((*shape, *s.shape)))
    end = q + count
    last = power(end)
    total += jets.over(last * end, jets.linear(shape, s - 1, 1.0)) + last / 2
    rising = jets.times(last / end, jets.linear(shape, s, 1.0))
    for j, weight in enumerate(BERNOULLI, 1):
        total += weight * rising
        for k in (2 * j - 1, 2 * j):
            rising = jets.times(rising, jets.linear(shape, s + k, 1.0)) / end
    return total
