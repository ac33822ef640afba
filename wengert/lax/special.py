"""Special functions, element by element: error, gamma, beta, Bessel and zeta functions.

Operands are floating, of one dtype and one shape (see `operands`); `wengert.scipy.special` has
these and more, with promotion and broadcasting.
"""

from __future__ import annotations

from typing import Any

from wengert.core.primitive import Value
from wengert.lax.operands import binary, nary, unary
from wengert.primitives import special

# -- error functions ---------------------------------------------------------------------------


def erf(x: Any) -> Value:
    """The error function.

    >>> erf(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(special.erf, x)


def erfc(x: Any) -> Value:
    """`1 - erf(x)`, accurate for large `x` too.

    >>> erfc(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return unary(special.erfc, x)


def erf_inv(x: Any) -> Value:
    """The inverse of the error function.

    >>> erf_inv(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(special.erf_inv, x)


# -- gamma functions ---------------------------------------------------------------------------


def lgamma(x: Any) -> Value:
    """The logarithm of the absolute value of the gamma function.

    >>> lgamma(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(special.lgamma, x)


def digamma(x: Any) -> Value:
    """The derivative of `lgamma`.

    >>> digamma(1.0)
    Array(-0.5772157, dtype=float32, weak_type=True)
    """
    return unary(special.digamma, x)


def polygamma(m: Any, x: Any) -> Value:
    """The derivative of `digamma` of order `m`, a whole number as a float.

    >>> polygamma(1.0, 1.0)
    Array(1.644934, dtype=float32, weak_type=True)
    """
    return binary(special.polygamma, m, x)


def igamma(a: Any, x: Any) -> Value:
    """The regularized lower incomplete gamma function P(a, x).

    >>> igamma(1.0, 0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return binary(special.igamma, a, x)


def igammac(a: Any, x: Any) -> Value:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x).

    >>> igammac(1.0, 0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return binary(special.igammac, a, x)


def igamma_grad_a(a: Any, x: Any) -> Value:
    """The derivative of `igamma(a, x)` with respect to `a`.

    >>> igamma_grad_a(1.0, 0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return binary(special.igamma_grad_a, a, x)


def random_gamma_grad(a: Any, x: Any) -> Value:
    """The derivative with respect to `a` of the sample `x` of a gamma distribution.

    >>> random_gamma_grad(1.0, 0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return binary(special.random_gamma_grad, a, x)


# -- beta, zeta and Bessel functions -----------------------------------------------------------


def betainc(a: Any, b: Any, x: Any) -> Value:
    """The regularized incomplete beta function I_x(a, b).

    >>> betainc(1.0, 1.0, 0.25)
    Array(0.25, dtype=float32, weak_type=True)
    """
    return nary(special.betainc, a, b, x)


def zeta(x: Any, q: Any) -> Value:
    """The Hurwitz zeta function: the sum of `(q + k) ** -x` over k = 0, 1, ...

    >>> zeta(2.0, 1.0)
    Array(1.644934, dtype=float32, weak_type=True)
    """
    return binary(special.zeta, x, q)


def bessel_i0e(x: Any) -> Value:
    """The modified Bessel function of order 0, times `exp(-abs(x))`.

    >>> bessel_i0e(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return unary(special.bessel_ie, x, order=0)


def bessel_i1e(x: Any) -> Value:
    """The modified Bessel function of order 1, times `exp(-abs(x))`.

    >>> bessel_i1e(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(special.bessel_ie, x, order=1)
