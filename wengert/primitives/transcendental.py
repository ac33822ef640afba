"""Exponentials, logarithms, powers, trigonometric and hyperbolic functions.

Derivatives are taken from the result where that saves a function call (`exp`, `tanh`,
`logistic`) and never where it would lose digits that the argument still has (`expm1`). Complex
operands follow NumPy's branch cuts; all complex functions here are holomorphic.

`sinc` carries its order of differentiation as a parameter, so that every derivative is right at
0, where the formula sin(x)/x is not.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Value
from wengert.primitives.basis import add, mul, neg
from wengert.primitives.compare import bitwise_and, eq, isinf, select
from wengert.primitives.elementwise import (
    div,
    hypot,
    negative_power,
    reciprocal,
    rsqrt,
    square,
    sub,
)
from wengert.primitives.families import Numeric, Real, scalar, through_float32

special = lazy_module("scipy.special")

_UNIT = (0.3, 0.9)
_SIGNED = (-0.9, 0.9)
_LN2 = math.log(2.0)
_LN10 = math.log(10.0)


# -- exponentials and logarithms --------------------------------------------------------------


class Exp(Numeric):
    """e to the power x."""

    domains = (_SIGNED,)
    compute = staticmethod(np.exp)
    partials = (lambda out, x: out,)


class Exp2(Numeric):
    """2 to the power x."""

    domains = (_SIGNED,)
    compute = staticmethod(np.exp2)
    partials = (lambda out, x: mul(out, _LN2),)


class Expm1(Numeric):
    """exp(x) - 1, exact to the last digits near 0."""

    domains = (_SIGNED,)
    partials = (lambda out, x: exp(x),)

    @staticmethod
    def compute(x: Any) -> Any:
        return special.expm1(x) if x.dtype.kind == "c" else np.expm1(x)


class Log(Numeric):
    """Natural logarithm."""

    compute = staticmethod(np.log)
    partials = (lambda out, x: reciprocal(x),)


class Log2(Numeric):
    """Logarithm to base 2."""

    compute = staticmethod(np.log2)
    partials = (lambda out, x: div(1 / _LN2, x),)


class Log10(Numeric):
    """Logarithm to base 10."""

    compute = staticmethod(np.log10)
    partials = (lambda out, x: div(1 / _LN10, x),)


class Log1p(Numeric):
    """log(1 + x), exact to the last digits near 0."""

    domains = (_SIGNED,)
    partials = (lambda out, x: reciprocal(add(x, 1)),)

    @staticmethod
    def compute(x: Any) -> Any:
        return special.log1p(x) if x.dtype.kind == "c" else np.log1p(x)


def _logistic(x: Any) -> Any:
    if x.dtype.kind != "c":
        far = x < (-88.7 if x.dtype.itemsize == 4 else -709.7)
        out = 1 / (1 + np.exp(-x))
        # exp(-x) overflows there, but exp(x) is a denormal number
        return scalar(np.where(far, np.exp(x), out)) if far.any() else out
    # exp(z) of the sign that cannot overflow; its phase would turn infinity into NaN
    right = x.real >= 0
    small = np.exp(np.where(right, -x, x))
    return scalar(np.where(right, 1, small) / (1 + small))


class Logistic(Numeric):
    """1 / (1 + exp(-x)), the sigmoid."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(_logistic))
    partials = (lambda out, x: mul(out, sub(1, out)),)


def _gap(x: Value, y: Value) -> Value:
    """x - y, and 0 for two equal infinities."""
    same = bitwise_and(eq(x, y), isinf(x if hasattr(x, "dtype") else y))
    return select(same, 0, sub(x, y))


class Logaddexp(Real):
    """log(exp(x) + exp(y)), without overflow."""

    domains = (_SIGNED, _SIGNED)
    compute = staticmethod(through_float32(np.logaddexp))
    partials = (
        lambda out, x, y: logistic(_gap(x, y)),
        lambda out, x, y: logistic(_gap(y, x)),
    )


class Logaddexp2(Real):
    """log2(2**x + 2**y), without overflow."""

    domains = (_SIGNED, _SIGNED)
    compute = staticmethod(through_float32(np.logaddexp2))
    partials = (
        lambda out, x, y: logistic(mul(_gap(x, y), _LN2)),
        lambda out, x, y: logistic(mul(_gap(y, x), _LN2)),
    )


# -- powers ---------------------------------------------------------------------------------


def _pow_base_partial(out: Value, x: Value, y: Value) -> Value:
    if type(y) in dtypes.SCALAR_TYPES:
        return mul(pow(x, y - 1), y) if y else 0
    if type(x) not in dtypes.SCALAR_TYPES:
        # 0 * 0**-1 is NaN, where the derivative of x**0 is 0
        x = select(bitwise_and(eq(x, 0), eq(y, 0)), 1, x)
    return mul(y, pow(x, sub(y, 1)))


def _pow_exponent_partial(out: Value, x: Value, y: Value) -> Value:
    if type(x) in dtypes.SCALAR_TYPES:
        return mul(out, _log_of_scalar(x)) if x else 0
    return mul(out, log(select(eq(x, 0), 1, x)))


def _log_of_scalar(x: Any) -> Any:
    if isinstance(x, complex):
        return complex(np.log(x))
    return math.log(x) if x > 0 else math.nan


class Pow(Numeric):
    """x to the power y; at x = 0 the derivative with respect to y is taken as 0."""

    kinds = "iufc"
    domains = (_UNIT, _UNIT)
    partials = (_pow_base_partial, _pow_exponent_partial)

    @staticmethod
    def compute(x: Any, y: Any) -> Any:
        try:
            return x**y
        except ValueError as error:
            if "negative" in str(error):
                raise negative_power() from None
            raise


# -- trigonometric functions ------------------------------------------------------------------


class Sin(Numeric):
    """Sine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.sin)
    partials = (lambda out, x: cos(x),)


class Cos(Numeric):
    """Cosine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.cos)
    partials = (lambda out, x: neg(sin(x)),)


class Tan(Numeric):
    """Tangent."""

    domains = (_SIGNED,)
    compute = staticmethod(np.tan)
    partials = (lambda out, x: add(square(out), 1),)


def _asin_partial(out: Value, x: Value) -> Value:
    return mul(rsqrt(sub(1, x)), rsqrt(add(x, 1)))  # 1 - x * x loses digits near 1


class Asin(Numeric):
    """Inverse sine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.arcsin)
    partials = (_asin_partial,)


class Acos(Numeric):
    """Inverse cosine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.arccos)
    partials = (lambda out, x: neg(_asin_partial(out, x)),)


class Atan(Numeric):
    """Inverse tangent."""

    domains = (_SIGNED,)
    compute = staticmethod(np.arctan)
    partials = (lambda out, x: reciprocal(add(square(x), 1)),)


class Atan2(Real):
    """Angle of the point with ordinate (first) and abscissa (second operand)."""

    domains = (_SIGNED, _UNIT)
    compute = staticmethod(np.arctan2)
    partials = (
        lambda out, y, x: _over_square(x, hypot(x, y)),
        lambda out, y, x: neg(_over_square(y, hypot(x, y))),
    )


def _over_square(component: Value, length: Value) -> Value:
    return div(div(component, length), length)  # the square itself may overflow


class Sinc(Numeric):
    """sin(pi x) / (pi x), or its derivative of the given order."""

    domains = (_SIGNED,)
    partials = (lambda out, x, order=0: sinc(x, order=order + 1),)

    @staticmethod
    def compute(x: Any, order: int = 0) -> Any:
        wide = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
        out = np.pi**order * _sinc_derivative(np.pi * np.asarray(wide), order)
        return scalar(out.astype(x.dtype))


def _sinc_derivative(z: Any, order: int) -> Any:
    """The derivative of sin(z)/z.

    The derivatives s_k satisfy z s_k + k s_(k-1) = sin(z + k pi/2). Solved for s_k this loses
    digits where |z| < k; there s_k is the mean of t^k cos(zt + k pi/2) over t in [0, 1].
    """
    near = abs(z) < order + 1
    nodes, weights = _unit_quadrature(order + 24)
    inner = np.where(near, z, 0)
    close = np.zeros_like(z)
    if near.any():
        for node, weight in zip(nodes, weights, strict=True):
            close += weight * node**order * _shifted_sine(inner * node, order + 1)
    outer = np.where(near, order + 1, z)
    far = np.sin(outer) / outer
    for k in range(1, order + 1):
        far = (_shifted_sine(outer, k) - k * far) / outer
    return np.where(near, close, far)


def _shifted_sine(z: Any, quarters: int) -> Any:
    """sin(z + quarters pi/2), exactly for whole quarters."""
    function = np.cos if quarters % 2 else np.sin
    return function(z) if quarters % 4 < 2 else -function(z)


@lru_cache(maxsize=32)
def _unit_quadrature(count: int) -> tuple[Any, Any]:
    """Nodes and weights of Gauss-Legendre quadrature over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


# -- hyperbolic functions -------------------------------------------------------------------


class Sinh(Numeric):
    """Hyperbolic sine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.sinh)
    partials = (lambda out, x: cosh(x),)


class Cosh(Numeric):
    """Hyperbolic cosine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.cosh)
    partials = (lambda out, x: sinh(x),)


class Tanh(Numeric):
    """Hyperbolic tangent."""

    domains = (_SIGNED,)
    compute = staticmethod(np.tanh)
    partials = (lambda out, x: sub(1, square(out)),)


class Asinh(Numeric):
    """Inverse hyperbolic sine."""

    domains = (_SIGNED,)
    compute = staticmethod(np.arcsinh)
    partials = (lambda out, x: rsqrt(add(square(x), 1)),)


class Acosh(Numeric):
    """Inverse hyperbolic cosine."""

    domains = ((1.2, 3.0),)
    compute = staticmethod(np.arccosh)
    partials = (lambda out, x: mul(rsqrt(sub(x, 1)), rsqrt(add(x, 1))),)


class Atanh(Numeric):
    """Inverse hyperbolic tangent."""

    domains = (_SIGNED,)
    compute = staticmethod(np.arctanh)
    partials = (lambda out, x: reciprocal(mul(sub(1, x), add(x, 1))),)


exp: Numeric = Exp()
exp2: Numeric = Exp2()
expm1: Numeric = Expm1()
log: Numeric = Log()
log2: Numeric = Log2()
log10: Numeric = Log10()
log1p: Numeric = Log1p()
logistic: Numeric = Logistic()
logaddexp: Numeric = Logaddexp()
logaddexp2: Numeric = Logaddexp2()
pow: Numeric = Pow()
sin: Numeric = Sin()
cos: Numeric = Cos()
tan: Numeric = Tan()
asin: Numeric = Asin()
acos: Numeric = Acos()
atan: Numeric = Atan()
atan2: Numeric = Atan2()
sinc: Numeric = Sinc()
sinh: Numeric = Sinh()
cosh: Numeric = Cosh()
tanh: Numeric = Tanh()
asinh: Numeric = Asinh()
acosh: Numeric = Acosh()
atanh: Numeric = Atanh()
