"""Exponentials, logarithms, trigonometric and hyperbolic functions, element by element.

They take floating and complex numbers (`atan2` only real ones) and never promote integers:
`wengert.numpy` does. The keyword `accuracy`, which in JAX chooses among implementations on
accelerators, is accepted where JAX has it; results are always accurate to the last digits.
"""

from __future__ import annotations

from typing import Any

from wengert.core.primitive import Value
from wengert.lax.operands import binary, unary
from wengert.primitives import transcendental

# -- exponentials and logarithms ---------------------------------------------------------------


def exp(x: Any, *, accuracy: Any = None) -> Value:
    """The exponential function.

    >>> exp(1.0)
    Array(2.718282, dtype=float32, weak_type=True)
    """
    return unary(transcendental.exp, x)


def exp2(x: Any, *, accuracy: Any = None) -> Value:
    """Two to the power `x`.

    >>> exp2(3.0)
    Array(8., dtype=float32, weak_type=True)
    """
    return unary(transcendental.exp2, x)


def expm1(x: Any, *, accuracy: Any = None) -> Value:
    """`exp(x) - 1`, accurate for small `x` too.

    >>> expm1(1e-8)
    Array(1.e-08, dtype=float32, weak_type=True)
    """
    return unary(transcendental.expm1, x)


def log(x: Any, *, accuracy: Any = None) -> Value:
    """The natural logarithm.

    >>> log(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.log, x)


def log1p(x: Any, *, accuracy: Any = None) -> Value:
    """`log(1 + x)`, accurate for small `x` too.

    >>> log1p(1e-8)
    Array(1.e-08, dtype=float32, weak_type=True)
    """
    return unary(transcendental.log1p, x)


def logistic(x: Any, *, accuracy: Any = None) -> Value:
    """The sigmoid `1 / (1 + exp(-x))`.

    >>> logistic(0.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    return unary(transcendental.logistic, x)


# -- trigonometric functions -------------------------------------------------------------------


def sin(x: Any, *, accuracy: Any = None) -> Value:
    """The sine.

    >>> sin(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.sin, x)


def cos(x: Any, *, accuracy: Any = None) -> Value:
    """The cosine.

    >>> cos(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return unary(transcendental.cos, x)


def tan(x: Any, *, accuracy: Any = None) -> Value:
    """The tangent.

    >>> tan(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.tan, x)


def asin(x: Any) -> Value:
    """The inverse sine, between -pi/2 and pi/2.

    >>> asin(1.0)
    Array(1.5707964, dtype=float32, weak_type=True)
    """
    return unary(transcendental.asin, x)


def acos(x: Any) -> Value:
    """The inverse cosine, between 0 and pi.

    >>> acos(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.acos, x)


def atan(x: Any) -> Value:
    """The inverse tangent, between -pi/2 and pi/2.

    >>> atan(1.0)
    Array(0.7853982, dtype=float32, weak_type=True)
    """
    return unary(transcendental.atan, x)


def atan2(x: Any, y: Any) -> Value:
    """The angle of the point with ordinate `x` and abscissa `y`, between -pi and pi.

    >>> atan2(0.0, -1.0)
    Array(3.1415927, dtype=float32, weak_type=True)
    """
    return binary(transcendental.atan2, x, y)


# -- hyperbolic functions ----------------------------------------------------------------------


def sinh(x: Any) -> Value:
    """The hyperbolic sine.

    >>> sinh(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.sinh, x)


def cosh(x: Any) -> Value:
    """The hyperbolic cosine.

    >>> cosh(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return unary(transcendental.cosh, x)


def tanh(x: Any, *, accuracy: Any = None) -> Value:
    """The hyperbolic tangent.

    >>> tanh(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.tanh, x)


def asinh(x: Any) -> Value:
    """The inverse hyperbolic sine.

    >>> asinh(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.asinh, x)


def acosh(x: Any) -> Value:
    """The inverse hyperbolic cosine, of numbers from 1 on.

    >>> acosh(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.acosh, x)


def atanh(x: Any) -> Value:
    """The inverse hyperbolic tangent, of numbers between -1 and 1.

    >>> atanh(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return unary(transcendental.atanh, x)
