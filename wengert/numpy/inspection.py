"""Questions about numbers and arrays: finite or not, close, equal, and how numbers are stored.

The predicates give bools; integers are finite and never NaN. `frexp`, `ldexp`, `nextafter`,
`spacing`, `signbit` and `copysign` look into floating numbers; `nan_to_num` replaces those that
are none.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayLike, as_array
from wengert.numpy.arrays import as_operand, asarray, check_out, in_dtype
from wengert.numpy.elementwise import imag, inexact_pair, numeric, real
from wengert.numpy.promotion import (
    Value,
    promote,
    promote_inexact_unary,
    to_dtype,
)
from wengert.primitives import basis, compare, reduce
from wengert.primitives import elementwise as primitives
from wengert.primitives.cast import make_complex

_FLOAT64 = np.dtype(np.float64)


# -- finite or not ----------------------------------------------------------------------------


def isfinite(x: Any, /) -> Value:
    """Whether a number is neither infinite nor NaN.

    >>> isfinite(np.inf)
    Array(False, dtype=bool)
    """
    return compare.is_finite(as_array(x))


def isinf(x: Any, /) -> Value:
    """Whether a number is infinite, in either part where it is complex.

    >>> isinf(-np.inf)
    Array(True, dtype=bool)
    """
    return compare.isinf(as_array(x))


def isnan(x: Any, /) -> Value:
    """Whether a number is NaN, in either part where it is complex.

    >>> isnan(np.nan)
    Array(True, dtype=bool)
    """
    return compare.isnan(as_array(x))


def _is_value(name: str, x: Any, value: float) -> Value:
    x = as_array(x)
    if dtypes.is_complex(x.dtype):
        raise ValueError(f"{name} takes real numbers; take the real or the imaginary part.")
    if dtypes.is_floating(x.dtype):
        return compare.eq(x, value)
    return basis.full(shape=x.shape, value=False, dtype=dtypes.BOOL)


def isposinf(x: Any, /, out: None = None) -> Value:
    """Whether a real number is positive infinity.

    >>> isposinf(-np.inf)
    Array(False, dtype=bool)
    """
    check_out("isposinf", out)
    return _is_value("isposinf", x, np.inf)


def isneginf(x: Any, /, out: None = None) -> Value:
    """Whether a real number is negative infinity.

    >>> isneginf(-np.inf)
    Array(True, dtype=bool)
    """
    check_out("isneginf", out)
    return _is_value("isneginf", x, -np.inf)


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Value:
    """The numbers, with others for NaN and infinities.

    The derivative with respect to a replaced number is 0.

    Args:
      x: numbers; of complex ones each part is treated alike.
      copy: accepted for NumPy's sake; arrays are immutable.
      nan: what replaces NaN.
      posinf: what replaces positive infinity; None means the largest finite number.
      neginf: what replaces negative infinity; None means the lowest finite number.

    >>> nan_to_num(np.array([1.0, np.nan, np.inf]), posinf=9)
    Array([1., 0., 9.], dtype=float64)
    """
    del copy
    x = as_array(x)
    if not dtypes.is_inexact(x.dtype):
        return x
    if dtypes.is_complex(x.dtype):
        parts = (real(x), imag(x))
        return make_complex(*(nan_to_num(p, True, nan, posinf, neginf) for p in parts))
    top = float(largest(x.dtype))
    for bad, good in (
        (compare.isnan(x), nan),
        (compare.eq(x, np.inf), top if posinf is None else posinf),
        (compare.eq(x, -np.inf), -top if neginf is None else neginf),
    ):
        x = compare.select(bad, in_dtype(good, x.dtype), x)
    return x


def largest(dtype: Any) -> Any:
    """The largest finite number of a floating dtype."""
    return (ml_dtypes.finfo if dtype == dtypes.bfloat16 else np.finfo)(dtype).max


# -- close, equal -----------------------------------------------------------------------------


def isclose(
    a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Value:
    """Whether two numbers differ by at most `atol + rtol * abs(b)`.

    Args:
      a: numbers.
      b: numbers that `rtol` refers to.
      rtol: relative tolerance.
      atol: absolute tolerance.
      equal_nan: whether NaN is close to NaN.

    >>> isclose(np.array([1.0, 2.0]), np.array([1.000001, 2.1]))
    Array([ True, False], dtype=bool)
    """
    a, b = promote(a, b)
    if not dtypes.is_inexact(a.dtype):  # 32-bit integers keep all their digits in float64
        a, b = to_dtype(a, _FLOAT64), to_dtype(b, _FLOAT64)
    size = primitives.complex_abs if dtypes.is_complex(a.dtype) else primitives.abs
    distance = size(primitives.sub(a, b))
    allowed = size(b)
    tolerances = [in_dtype(t, allowed.dtype) for t in (rtol, atol)]
    allowed = basis.add(tolerances[1], basis.mul(tolerances[0], allowed))
    finite = compare.bitwise_and(compare.is_finite(a), compare.is_finite(b))
    close = compare.bitwise_and(compare.le(distance, allowed), finite)
    close = compare.bitwise_or(close, compare.eq(a, b))
    if equal_nan:
        both = compare.bitwise_and(compare.isnan(a), compare.isnan(b))
        close = compare.bitwise_or(close, both)
    return close


def _all(x: Value) -> Value:
    return reduce.reduce_and(x, axes=tuple(range(len(x.shape))))


def allclose(
    a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Value:
    """Whether all numbers of two arrays are close; see `isclose`.

    >>> allclose(1.0, 1.000001)
    Array(True, dtype=bool)
    """
    return _all(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Value:
    """Whether two arrays have one shape and equal elements.

    Args:
      a1: an array, or nested lists.
      a2: another.
      equal_nan: whether NaN equals NaN.

    >>> array_equal([1, 2], [1, 2, 3])
    Array(False, dtype=bool)
    """
    a1, a2 = promote(as_operand(a1), as_operand(a2))
    if a1.shape != a2.shape:
        return as_array(False)
    same = compare.eq(a1, a2)
    if equal_nan:
        both = compare.bitwise_and(compare.isnan(a1), compare.isnan(a2))
        same = compare.bitwise_or(same, both)
    return _all(same)


def array_equiv(a1: Any, a2: Any) -> Value:
    """Whether two arrays broadcast to one shape and are equal there.

    >>> array_equiv([1, 1], 1)
    Array(True, dtype=bool)
    """
    a1, a2 = promote(as_operand(a1), as_operand(a2))
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return as_array(False)
    return _all(compare.eq(a1, a2))


# -- real or complex, scalar or not -----------------------------------------------------------


def isreal(x: Any) -> Value:
    """Whether a number has no imaginary part.

    >>> isreal(np.array([1 + 1j, 2]))
    Array([False,  True], dtype=bool)
    """
    return compare.eq(imag(x), 0)


def iscomplex(x: Any) -> Value:
    """Whether a number has an imaginary part.

    >>> iscomplex(np.array([1 + 1j, 2]))
    Array([ True, False], dtype=bool)
    """
    return compare.ne(imag(x), 0)


def isrealobj(x: Any) -> bool:
    """Whether the dtype of an array is not complex.

    >>> isrealobj(np.array([1 + 0j]))
    False
    """
    return not iscomplexobj(x)


def iscomplexobj(x: Any) -> bool:
    """Whether the dtype of an array is complex, even if no element has an imaginary part.

    >>> iscomplexobj(np.array([1 + 0j]))
    True
    """
    return dtypes.is_complex(asarray(x).dtype)


def isscalar(element: Any) -> bool:
    """Whether something is a number, or an array without dimensions.

    >>> isscalar(3.1), isscalar(np.array(3.1)), isscalar([3.1])
    (True, True, False)
    """
    if isinstance(element, ArrayLike | np.ndarray):
        return element.shape == ()
    return bool(np.isscalar(element))


# -- how floating numbers are stored ----------------------------------------------------------


def signbit(x: Any, /) -> Value:
    """Whether the sign bit is set: for negative numbers and for -0.0.

    >>> signbit(-0.0)
    Array(True, dtype=bool)
    """
    return compare.signbit(numeric(x))


def copysign(x1: Any, x2: Any, /) -> Value:
    """The size of the first with the sign of the second number.

    >>> copysign(2, -0.5)
    Array(-2., dtype=float32, weak_type=True)
    """
    x1, x2 = inexact_pair(x1, x2)
    return primitives.copysign(x1, x2)


def heaviside(x1: Any, x2: Any, /) -> Value:
    """0 where the first number is negative, 1 where positive, the second where it is 0.

    >>> heaviside(np.array([-1.0, 0.0, 2.0]), 0.5)
    Array([0. , 0.5, 1. ], dtype=float64)
    """
    x1, x2 = inexact_pair(x1, x2)
    return primitives.heaviside(x1, x2)


def nextafter(x: Any, y: Any, /) -> Value:
    """The next number that the dtype can hold, from `x` towards `y`.

    >>> float(nextafter(np.float64(1), 2))
    1.0000000000000002
    """
    x, y = inexact_pair(x, y)
    return primitives.nextafter(x, y)


def spacing(x: Any, /) -> Value:
    """The distance to the next number that the dtype can hold, away from 0.

    >>> spacing(1.0)
    Array(1.1920929e-07, dtype=float32, weak_type=True)
    """
    return primitives.spacing(promote_inexact_unary(x))


def frexp(x: Any, /) -> tuple[Value, Value]:
    """Mantissa of size in [1/2, 1) and exponent to base 2, whose `ldexp` is the number.

    >>> frexp(12.0)
    (Array(0.75, dtype=float32, weak_type=True), Array(4, dtype=int32))
    """
    x = promote_inexact_unary(x)
    return primitives.frexp_mantissa(x), primitives.frexp_exponent(x)


def ldexp(x1: Any, x2: Any, /) -> Value:
    """The first number times two to the power of the second, an integer.

    >>> ldexp(0.75, 4)
    Array(12., dtype=float32, weak_type=True)
    """
    exponent = numeric(x2)
    if not dtypes.is_integer(exponent.dtype):
        raise ValueError(
            f"ldexp needs integer exponents, got {exponent.dtype}; else write x1 * 2.0**x2."
        )
    return primitives.ldexp(promote_inexact_unary(x1), exponent)


def modf(x: Any, /, out: None = None) -> tuple[Value, Value]:
    """The fractional and the whole part of each number, both with its sign.

    >>> modf(-1.5)
    (Array(-0.5, dtype=float32, weak_type=True), Array(-1., dtype=float32, weak_type=True))
    """
    check_out("modf", out)
    x = promote_inexact_unary(x)
    whole = compare.trunc(x)
    return compare.select(compare.isinf(x), 0, primitives.sub(x, whole)), whole
