"""Special functions with the names of `scipy.special`, differentiable, on arrays and tracers.

Operands broadcast and are promoted to a common floating dtype; integers and bools are computed
in float32 (64-bit integers in float64). Derivatives exist wherever they do mathematically; the
orders of `polygamma` and `expn` are whole numbers, and have none. Complex operands are taken
by `erf`, `erfc`, `expit`, `logsumexp`, `softmax` and `log_softmax`.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import wengert.numpy as wnp
from wengert.core.array import Array
from wengert.core.primitive import Primitive, Value
from wengert.nn.normalization import Axis
from wengert.nn.normalization import log_softmax as _log_softmax
from wengert.nn.normalization import logsumexp as logsumexp
from wengert.nn.normalization import softmax as _softmax
from wengert.numpy.promotion import promote_inexact, promote_inexact_unary
from wengert.primitives import special, transcendental
from wengert.primitives.cast import stop_gradient


def _apply(primitive: Primitive, *operands: Any, **params: Any) -> Value:
    return primitive(*promote_inexact(*operands), **params)


# -- error functions and the normal distribution -----------------------------------------------


def erf(z: Any) -> Value:
    """The error function.

    >>> erf(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.erf, z)


def erfc(z: Any) -> Value:
    """1 - erf(z), accurate for large z too.

    >>> erfc(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return _apply(special.erfc, z)


def erfcx(x: Any) -> Value:
    """exp(x**2) * erfc(x).

    >>> erfcx(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return _apply(special.erfcx, x)


def erfinv(x: Any) -> Value:
    """The inverse of the error function.

    >>> erfinv(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.erf_inv, x)


def ndtr(x: Any) -> Value:
    """The distribution function of the standard normal distribution.

    >>> ndtr(0.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    return _apply(special.ndtr, x)


def log_ndtr(x: Any, series_order: int = 3) -> Value:
    """The logarithm of `ndtr`, accurate for very negative x.

    Args:
      x: an array.
      series_order: accepted; the result is always accurate.

    >>> log_ndtr(-100.0)
    Array(-5005.5244, dtype=float32, weak_type=True)
    """
    return _apply(special.log_ndtr, x)


def ndtri(p: Any) -> Value:
    """The quantiles of the standard normal distribution, the inverse of `ndtr`.

    >>> ndtri(0.5)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.ndtri, p)


# -- gamma and beta functions ------------------------------------------------------------------


def gammaln(x: Any) -> Value:
    """The logarithm of the absolute value of the gamma function.

    >>> gammaln(3.0)
    Array(0.6931472, dtype=float32, weak_type=True)
    """
    return _apply(special.lgamma, x)


loggamma = gammaln


def gamma(x: Any) -> Value:
    """The gamma function.

    >>> gamma(5.0)
    Array(24., dtype=float32, weak_type=True)
    """
    return _apply(special.gamma, x)


def gammasgn(x: Any) -> Value:
    """The sign of the gamma function.

    >>> gammasgn(-0.5)
    Array(-1., dtype=float32, weak_type=True)
    """
    return _apply(special.gammasgn, x)


def digamma(x: Any) -> Value:
    """The derivative of `gammaln`.

    >>> digamma(1.0)
    Array(-0.5772157, dtype=float32, weak_type=True)
    """
    return _apply(special.digamma, x)


def polygamma(n: Any, x: Any) -> Value:
    """The derivative of `digamma` of order `n`.

    >>> polygamma(1, 1.0)
    Array(1.644934, dtype=float32, weak_type=True)
    """
    return _apply(special.polygamma, n, x)


def gammainc(a: Any, x: Any) -> Value:
    """The regularized lower incomplete gamma function P(a, x).

    >>> gammainc(1.0, 0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.igamma, a, x)


def gammaincc(a: Any, x: Any) -> Value:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x).

    >>> gammaincc(1.0, 0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return _apply(special.igammac, a, x)


def factorial(n: Any, exact: bool = False) -> Value:
    """n! as a floating number, with the gamma function between whole numbers; 0 for n < 0.

    Args:
      n: an array.
      exact: must be False: results are floating numbers.

    >>> factorial(5)
    Array(120., dtype=float32, weak_type=True)
    """
    if exact:
        raise ValueError("factorial computes floating numbers: exact must be False.")
    n = promote_inexact_unary(n)
    negative = wnp.less(n, 0)
    return wnp.where(negative, 0, special.gamma(wnp.add(wnp.where(negative, 0, n), 1)))


def poch(z: Any, m: Any) -> Value:
    """The rising factorial gamma(z + m) / gamma(z).

    >>> poch(2.0, 3.0)
    Array(24., dtype=float32, weak_type=True)
    """
    z, m = promote_inexact(z, m)
    end = wnp.add(z, m)
    sign = wnp.multiply(special.gammasgn(end), special.gammasgn(z))
    ratio = wnp.exp(wnp.subtract(special.lgamma(end), special.lgamma(z)))
    return wnp.where(wnp.equal(m, 0), 1, wnp.multiply(sign, ratio))


def multigammaln(a: Any, d: int) -> Value:
    """The logarithm of the gamma function of d dimensions.

    >>> multigammaln(2.0, 1)
    Array(0., dtype=float32)
    """
    a = promote_inexact_unary(a)
    dimension = operator.index(d)
    constant = dimension * (dimension - 1) / 4 * math.log(math.pi)
    halves = wnp.divide(wnp.arange(dimension, dtype=a.dtype), 2)
    terms = special.lgamma(wnp.subtract(wnp.expand_dims(a, -1), halves))
    return wnp.add(wnp.sum(terms, axis=-1), constant)


def betaln(a: Any, b: Any) -> Value:
    """The logarithm of the absolute value of the beta function.

    >>> betaln(1.0, 1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.betaln, a, b)


def beta(a: Any, b: Any) -> Value:
    """The beta function gamma(a) gamma(b) / gamma(a + b).

    >>> beta(1.0, 2.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    a, b = promote_inexact(a, b)
    sign = wnp.multiply(special.gammasgn(a), special.gammasgn(b))
    sign = wnp.multiply(sign, special.gammasgn(wnp.add(a, b)))
    return wnp.multiply(sign, wnp.exp(special.betaln(a, b)))


def betainc(a: Any, b: Any, x: Any) -> Value:
    """The regularized incomplete beta function I_x(a, b).

    >>> betainc(1.0, 1.0, 0.25)
    Array(0.25, dtype=float32, weak_type=True)
    """
    return _apply(special.betainc, a, b, x)


def comb(N: Any, k: Any, *, repetition: bool = False) -> Value:
    """How many ways there are to choose k of N things, as a floating number.

    Args:
      N: an array.
      k: an array.
      repetition: whether a thing may be chosen several times.

    >>> comb(5, 2)
    Array(10., dtype=float32, weak_type=True)
    """
    N, k = promote_inexact(N, k)
    if repetition:
        both_zero = wnp.logical_and(wnp.equal(N, 0), wnp.equal(k, 0))
        N = wnp.where(both_zero, 0, wnp.subtract(wnp.add(N, k), 1))
    possible = wnp.logical_and(wnp.greater_equal(k, 0), wnp.less_equal(k, N))
    N, k = wnp.where(possible, N, 1), wnp.where(possible, k, 0)
    rest = wnp.add(wnp.subtract(N, k), 1)
    logarithm = wnp.add(special.betaln(rest, wnp.add(k, 1)), wnp.log1p(N))
    ways = wnp.exp(wnp.negative(logarithm))
    whole = wnp.logical_and(wnp.equal(N, wnp.floor(N)), wnp.equal(k, wnp.floor(k)))
    nearest = wnp.add(ways, _rounding(ways))
    return wnp.where(possible, wnp.where(whole, nearest, ways), 0)


def _rounding(x: Value) -> Value:
    """The distance to the nearest whole number, as a constant."""
    x = stop_gradient(x)
    return wnp.subtract(wnp.round(x), x)


# -- Bessel, zeta and exponential integrals ----------------------------------------------------


def i0(x: Any) -> Value:
    """The modified Bessel function of order 0.

    >>> i0(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return _apply(special.bessel_i, x, order=0)


def i0e(x: Any) -> Value:
    """exp(-abs(x)) * i0(x).

    >>> i0e(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return _apply(special.bessel_ie, x, order=0)


def i1(x: Any) -> Value:
    """The modified Bessel function of order 1.

    >>> i1(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.bessel_i, x, order=1)


def i1e(x: Any) -> Value:
    """exp(-abs(x)) * i1(x).

    >>> i1e(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.bessel_ie, x, order=1)


def zeta(x: Any, q: Any = None) -> Value:
    """The Hurwitz zeta function, the sum of (q + k) ** -x; Riemann's for q = 1 or None.

    >>> zeta(2.0)
    Array(1.644934, dtype=float32, weak_type=True)
    """
    return _apply(special.zeta, x, 1 if q is None else q)


def exp1(x: Any) -> Value:
    """The exponential integral E_1.

    >>> exp1(1.0)
    Array(0.21938394, dtype=float32, weak_type=True)
    """
    return _apply(special.exp1, x)


def expi(x: Any) -> Value:
    """The exponential integral Ei.

    >>> expi(1.0)
    Array(1.8951178, dtype=float32, weak_type=True)
    """
    return _apply(special.expi, x)


def expn(n: Any, x: Any) -> Value:
    """The exponential integral E_n for a whole number n >= 0 known while tracing.

    >>> expn(2, 0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    number = operator.index(n) if type(n) is not Array else int(n)
    if number < 0:
        raise ValueError(f"expn needs an order of 0 or more, got {number}.")
    return _apply(special.expn, x, n=number)


def spence(x: Any) -> Value:
    """The dilogarithm of 1 - x.

    >>> spence(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.spence, x)


# -- logistic functions, entropies, powers -----------------------------------------------------


def expit(x: Any) -> Value:
    """The sigmoid 1 / (1 + exp(-x)).

    >>> expit(0.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    return _apply(transcendental.logistic, x)


def logit(x: Any) -> Value:
    """log(x / (1 - x)), the inverse of `expit`.

    >>> logit(0.5)
    Array(0., dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    return wnp.subtract(wnp.log(x), wnp.log1p(wnp.negative(x)))


def xlogy(x: Any, y: Any) -> Value:
    """x log(y), and 0 where x is 0.

    >>> xlogy(0.0, 0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.xlogy, x, y)


def xlog1py(x: Any, y: Any) -> Value:
    """x log(1 + y), and 0 where x is 0.

    >>> xlog1py(0.0, -1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.xlog1py, x, y)


def entr(x: Any) -> Value:
    """-x log(x), the entropy of a probability; 0 at 0, minus infinity below.

    >>> entr(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.entr, x)


def rel_entr(p: Any, q: Any) -> Value:
    """p log(p / q), the relative entropy of probabilities.

    >>> rel_entr(0.5, 0.5)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.rel_entr, p, q)


def kl_div(p: Any, q: Any) -> Value:
    """p log(p / q) - p + q, a term of the Kullback-Leibler divergence.

    >>> kl_div(0.5, 0.5)
    Array(0., dtype=float32, weak_type=True)
    """
    return _apply(special.kl_div, p, q)


def boxcox(x: Any, lmbda: Any) -> Value:
    """(x ** lmbda - 1) / lmbda, and log(x) for lmbda = 0.

    >>> boxcox(3.0, 1.0)
    Array(2., dtype=float32, weak_type=True)
    """
    x, power = promote_inexact(x, lmbda)
    return _power_over(wnp.log(x), power)


def boxcox1p(x: Any, lmbda: Any) -> Value:
    """((1 + x) ** lmbda - 1) / lmbda, and log(1 + x) for lmbda = 0.

    >>> boxcox1p(2.0, 1.0)
    Array(2., dtype=float32, weak_type=True)
    """
    x, power = promote_inexact(x, lmbda)
    return _power_over(wnp.log1p(x), power)


def _power_over(logarithm: Value, power: Value) -> Value:
    zero = wnp.equal(power, 0)
    safe = wnp.where(zero, 1, power)
    quotient = wnp.divide(wnp.expm1(wnp.multiply(safe, logarithm)), safe)
    return wnp.where(zero, logarithm, quotient)


def softmax(x: Any, /, *, axis: Axis = None) -> Value:
    """Exponentials, divided by their sum along axes (all by default).

    >>> import numpy as np
    >>> softmax(np.float32([1000.0, 1000.0]))
    Array([0.5, 0.5], dtype=float32)
    """
    return _softmax(x, axis=axis)


def log_softmax(x: Any, /, *, axis: Axis = None) -> Value:
    """The logarithm of `softmax`, accurate for small probabilities.

    >>> import numpy as np
    >>> log_softmax(np.float32([0.0, -1000.0]))
    Array([    0., -1000.], dtype=float32)
    """
    return _log_softmax(x, axis=axis)
