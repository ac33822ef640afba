"""Arithmetic, powers, roots, extrema and rounding, element by element.

Operands have one dtype and one shape (see `operands`); `wengert.numpy` has the same
operations with promotion and broadcasting. Where a function is not smooth its derivative
follows one convention: `abs` has 0 at 0, equal operands of `max` and `min` share, `sqrt` and
`cbrt` have infinity at 0.
"""

from __future__ import annotations

import enum
import operator
from typing import Any

from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.lax.operands import binary, check_shapes, nary, same, unary
from wengert.primitives import basis, compare, elementwise, transcendental
from wengert.primitives.cast import convert


class RoundingMethod(enum.IntEnum):
    """What `round` does with halves: away from zero, or to the nearest even number."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


# -- field operations --------------------------------------------------------------------------


def add(x: Any, y: Any) -> Value:
    """The sum `x + y`.

    >>> add(1.5, 2.0)
    Array(3.5, dtype=float32, weak_type=True)
    """
    return binary(basis.add, x, y)


def sub(x: Any, y: Any) -> Value:
    """The difference `x - y`.

    >>> sub(1.5, 2.0)
    Array(-0.5, dtype=float32, weak_type=True)
    """
    return binary(elementwise.sub, x, y)


def mul(x: Any, y: Any) -> Value:
    """The product `x * y`.

    >>> mul(1.5, 2.0)
    Array(3., dtype=float32, weak_type=True)
    """
    return binary(basis.mul, x, y)


def div(x: Any, y: Any) -> Value:
    """The quotient `x / y`; of integers it is rounded towards zero, and -1 for `y = 0`.

    >>> div(-7, 2)
    Array(-3, dtype=int32, weak_type=True)
    """
    return binary(elementwise.div, x, y)


def rem(x: Any, y: Any) -> Value:
    """The remainder of `x / y`, with the sign of `x`.

    >>> rem(-7, 2)
    Array(-1, dtype=int32, weak_type=True)
    """
    return binary(elementwise.rem, x, y)


def neg(x: Any) -> Value:
    """The negative `-x`.

    >>> neg(2)
    Array(-2, dtype=int32, weak_type=True)
    """
    return unary(basis.neg, x)


def reciprocal(x: Any) -> Value:
    """One over `x`, for floating and complex numbers.

    >>> reciprocal(4.0)
    Array(0.25, dtype=float32, weak_type=True)
    """
    return unary(elementwise.reciprocal, x)


# -- powers and roots --------------------------------------------------------------------------


def square(x: Any) -> Value:
    """The square `x * x`.

    >>> square(3)
    Array(9, dtype=int32, weak_type=True)
    """
    return unary(elementwise.square, x)


def integer_pow(x: Any, y: int) -> Value:
    """`x` to the power of a whole number, known while tracing.

    >>> integer_pow(2.0, -2)
    Array(0.25, dtype=float32, weak_type=True)
    """
    return unary(elementwise.integer_pow, x, y=operator.index(y))


def pow(x: Any, y: Any) -> Value:
    """`x` to the power `y`, which may be of the same dtype or of an integer dtype.

    >>> pow(2.0, 0.5)
    Array(1.4142135, dtype=float32, weak_type=True)
    """
    if type(y) is int:
        return unary(elementwise.integer_pow, x, y=y)
    y = as_array(y)
    if dtypes.is_integer(y.dtype):
        x = as_array(x)
        y = convert(y, dtype=x.dtype)
    return binary(transcendental.pow, x, y)


def sqrt(x: Any) -> Value:
    """The square root; NaN for negative real numbers.

    >>> sqrt(9.0)
    Array(3., dtype=float32, weak_type=True)
    """
    return unary(elementwise.sqrt, x)


def rsqrt(x: Any) -> Value:
    """One over the square root.

    >>> rsqrt(4.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    return unary(elementwise.rsqrt, x)


def cbrt(x: Any) -> Value:
    """The cube root, of negative numbers too.

    >>> cbrt(-8.0)
    Array(-2., dtype=float32, weak_type=True)
    """
    return unary(elementwise.cbrt, x)


# -- size, sign, extrema -----------------------------------------------------------------------


def abs(x: Any) -> Value:
    """The absolute value, of complex numbers too.

    >>> abs(-2), abs(3 + 4j)
    (Array(2, dtype=int32, weak_type=True), Array(5., dtype=float32, weak_type=True))
    """
    x = as_array(x)
    kind = elementwise.complex_abs if dtypes.is_complex(x.dtype) else elementwise.abs
    return unary(kind, x)


def sign(x: Any) -> Value:
    """-1, 0 or 1; for complex numbers `x / abs(x)`, or 0.

    >>> sign(-2.5)
    Array(-1., dtype=float32, weak_type=True)
    """
    return unary(elementwise.sign, x)


def max(x: Any, y: Any) -> Value:
    """The greater of two numbers; NaN if one of them is.

    >>> max(1.0, 2.0)
    Array(2., dtype=float32, weak_type=True)
    """
    return binary(elementwise.maximum, x, y)


def min(x: Any, y: Any) -> Value:
    """The lesser of two numbers; NaN if one of them is.

    >>> min(1.0, 2.0)
    Array(1., dtype=float32, weak_type=True)
    """
    return binary(elementwise.minimum, x, y)


def clamp(min: Any, x: Any, max: Any) -> Value:
    """`x` kept between `min` and `max`, which have its shape or none.

    >>> clamp(0.0, 1.5, 1.0)
    Array(1., dtype=float32, weak_type=True)
    """
    operands = same("clamp", min, x, max)
    check_shapes("clamp", operands)
    return nary(elementwise.clamp, *operands)


# -- rounding and neighbours -------------------------------------------------------------------


def floor(x: Any) -> Value:
    """The largest whole number that is not greater.

    >>> floor(-1.5)
    Array(-2., dtype=float32, weak_type=True)
    """
    return unary(compare.floor, x)


def ceil(x: Any) -> Value:
    """The smallest whole number that is not less.

    >>> ceil(-1.5)
    Array(-1., dtype=float32, weak_type=True)
    """
    return unary(compare.ceil, x)


def round(x: Any, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Value:
    """The nearest whole number.

    Args:
      x: an array.
      rounding_method: what becomes of halves.

    >>> round(2.5), round(2.5, RoundingMethod.TO_NEAREST_EVEN)
    (Array(3., dtype=float32, weak_type=True), Array(2., dtype=float32, weak_type=True))
    """
    away = RoundingMethod(rounding_method) is RoundingMethod.AWAY_FROM_ZERO
    return unary(compare.round, x, away_from_zero=away)


def nextafter(x1: Any, x2: Any) -> Value:
    """The next representable number from `x1` towards `x2`.

    >>> sub(nextafter(1.0, 2.0), 1.0)
    Array(1.1920929e-07, dtype=float32, weak_type=True)
    """
    return binary(elementwise.nextafter, x1, x2)


def is_finite(x: Any) -> Value:
    """Whether a number is neither infinite nor NaN.

    >>> is_finite(float("inf"))
    Array(False, dtype=bool)
    """
    return unary(compare.is_finite, x)
