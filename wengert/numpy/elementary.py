"""Roots, exponentials, logarithms, trigonometric and hyperbolic functions, element by element.

Integers are computed in floating point: 64-bit ones in float64, others in float32. Real numbers
outside the domain of a function give NaN; complex ones follow NumPy's branch cuts. The names of
the array API standard (`acos`, `atan2`, `pow` ...) stand beside NumPy's older ones.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.numpy.elementwise import imag, inexact_pair, real
from wengert.numpy.promotion import Value, promote_inexact_unary
from wengert.primitives import basis, special
from wengert.primitives import elementwise as algebraic
from wengert.primitives import transcendental as primitives

_DEGREE = math.pi / 180

# -- roots and lengths -------------------------------------------------------------------------


def sqrt(x: Any, /) -> Value:
    """The square root; of negative real numbers NaN. The derivative at 0 is infinite.

    >>> round(float(sqrt(2.0)), 4)
    1.4142
    """
    return algebraic.sqrt(promote_inexact_unary(x))


def cbrt(x: Any, /) -> Value:
    """The cube root of real numbers, of negative ones too.

    >>> cbrt(-8)
    Array(-2., dtype=float32, weak_type=True)
    """
    return algebraic.cbrt(promote_inexact_unary(x))


def hypot(x1: Any, x2: Any, /) -> Value:
    """The length of a vector of two components; the derivative at the origin is taken as 0.

    >>> hypot(3, 4)
    Array(5., dtype=float32, weak_type=True)
    """
    x1, x2 = inexact_pair(x1, x2)
    return algebraic.hypot(x1, x2)


# -- exponentials and logarithms ---------------------------------------------------------------


def exp(x: Any, /) -> Value:
    """e to the power of each number.

    >>> round(float(exp(1.0)), 4)
    2.7183
    """
    return primitives.exp(promote_inexact_unary(x))


def exp2(x: Any, /) -> Value:
    """2 to the power of each number.

    >>> exp2(3)
    Array(8., dtype=float32, weak_type=True)
    """
    return primitives.exp2(promote_inexact_unary(x))


def expm1(x: Any, /) -> Value:
    """exp(x) - 1, exact to the last digits near 0.

    >>> expm1(1e-10)
    Array(1.e-10, dtype=float32, weak_type=True)
    """
    return primitives.expm1(promote_inexact_unary(x))


def log(x: Any, /) -> Value:
    """The natural logarithm; of negative real numbers NaN.

    >>> round(float(log(2.0)), 4)
    0.6931
    """
    return primitives.log(promote_inexact_unary(x))


def log2(x: Any, /) -> Value:
    """The logarithm to base 2.

    >>> log2(8)
    Array(3., dtype=float32, weak_type=True)
    """
    return primitives.log2(promote_inexact_unary(x))


def log10(x: Any, /) -> Value:
    """The logarithm to base 10.

    >>> round(float(log10(1000)), 4)
    3.0
    """
    return primitives.log10(promote_inexact_unary(x))


def log1p(x: Any, /) -> Value:
    """log(1 + x), exact to the last digits near 0.

    >>> log1p(1e-10)
    Array(1.e-10, dtype=float32, weak_type=True)
    """
    return primitives.log1p(promote_inexact_unary(x))


def logaddexp(x1: Any, x2: Any, /) -> Value:
    """log(exp(x1) + exp(x2)), without overflow.

    >>> round(float(logaddexp(1000.0, 1000.0)), 3)
    1000.693
    """
    x1, x2 = inexact_pair(x1, x2)
    return primitives.logaddexp(x1, x2)


def logaddexp2(x1: Any, x2: Any, /) -> Value:
    """log2(2**x1 + 2**x2), without overflow.

    >>> logaddexp2(1000.0, 1000.0)
    Array(1001., dtype=float32, weak_type=True)
    """
    x1, x2 = inexact_pair(x1, x2)
    return primitives.logaddexp2(x1, x2)


def i0(x: Any) -> Value:
    """The modified Bessel function of the first kind and order 0.

    >>> round(float(i0(1.0)), 4)
    1.2661
    """
    return special.bessel_i(promote_inexact_unary(x), order=0)


# -- trigonometric functions -------------------------------------------------------------------


def sin(x: Any, /) -> Value:
    """The sine of angles in radians.

    >>> round(float(sin(1.0)), 4)
    0.8415
    """
    return primitives.sin(promote_inexact_unary(x))


def cos(x: Any, /) -> Value:
    """The cosine of angles in radians.

    >>> round(float(cos(1.0)), 4)
    0.5403
    """
    return primitives.cos(promote_inexact_unary(x))


def tan(x: Any, /) -> Value:
    """The tangent of angles in radians.

    >>> round(float(tan(1.0)), 4)
    1.5574
    """
    return primitives.tan(promote_inexact_unary(x))


def arcsin(x: Any, /) -> Value:
    """The angle in [-pi/2, pi/2] whose sine is given.

    >>> round(float(arcsin(1.0)), 4)
    1.5708
    """
    return primitives.asin(promote_inexact_unary(x))


asin = arcsin


def arccos(x: Any, /) -> Value:
    """The angle in [0, pi] whose cosine is given.

    >>> round(float(arccos(-1.0)), 4)
    3.1416
    """
    return primitives.acos(promote_inexact_unary(x))


acos = arccos


def arctan(x: Any, /) -> Value:
    """The angle in (-pi/2, pi/2) whose tangent is given.

    >>> round(float(arctan(1.0)), 4)
    0.7854
    """
    return primitives.atan(promote_inexact_unary(x))


atan = arctan


def arctan2(x1: Any, x2: Any, /) -> Value:
    """The angle in [-pi, pi] of the point with ordinate `x1` and abscissa `x2`.

    >>> round(float(arctan2(1.0, -1.0)), 4)
    2.3562
    """
    x1, x2 = inexact_pair(x1, x2)
    return primitives.atan2(x1, x2)


atan2 = arctan2


def angle(z: Any, deg: bool = False) -> Value:
    """The angle of complex numbers in the plane, in (-pi, pi].

    Args:
      z: numbers; real ones have the angle 0 or pi.
      deg: whether the result is in degrees.

    >>> round(float(angle(1j)), 4)
    1.5708
    """
    z = promote_inexact_unary(z)
    out = primitives.atan2(imag(z), real(z))
    return rad2deg(out) if deg else out


def degrees(x: Any, /) -> Value:
    """Angles in radians, in degrees.

    >>> degrees(math.pi)
    Array(180., dtype=float32, weak_type=True)
    """
    return basis.mul(promote_inexact_unary(x), 1 / _DEGREE)


rad2deg = degrees


def radians(x: Any, /) -> Value:
    """Angles in degrees, in radians.

    >>> round(float(radians(180)), 4)
    3.1416
    """
    return basis.mul(promote_inexact_unary(x), _DEGREE)


deg2rad = radians


def sinc(x: Any, /) -> Value:
    """sin(pi x) / (pi x), and 1 at 0, with exact derivatives of every order there.

    >>> round(float(sinc(0.5)), 4)
    0.6366
    """
    return primitives.sinc(promote_inexact_unary(x))


# -- hyperbolic functions ----------------------------------------------------------------------


def sinh(x: Any, /) -> Value:
    """The hyperbolic sine.

    >>> round(float(sinh(1.0)), 4)
    1.1752
    """
    return primitives.sinh(promote_inexact_unary(x))


def cosh(x: Any, /) -> Value:
    """The hyperbolic cosine.

    >>> round(float(cosh(1.0)), 4)
    1.5431
    """
    return primitives.cosh(promote_inexact_unary(x))


def tanh(x: Any, /) -> Value:
    """The hyperbolic tangent.

    >>> round(float(tanh(1.0)), 4)
    0.7616
    """
    return primitives.tanh(promote_inexact_unary(x))


def arcsinh(x: Any, /) -> Value:
    """The inverse of the hyperbolic sine.

    >>> round(float(arcsinh(1.0)), 4)
    0.8814
    """
    return primitives.asinh(promote_inexact_unary(x))


asinh = arcsinh


def arccosh(x: Any, /) -> Value:
    """The inverse of the hyperbolic cosine, for numbers of at least 1.

    >>> round(float(arccosh(2.0)), 4)
    1.317
    """
    return primitives.acosh(promote_inexact_unary(x))


acosh = arccosh


def arctanh(x: Any, /) -> Value:
    """The inverse of the hyperbolic tangent, for numbers in [-1, 1].

    >>> round(float(arctanh(0.5)), 4)
    0.5493
    """
    return primitives.atanh(promote_inexact_unary(x))


atanh = arctanh
