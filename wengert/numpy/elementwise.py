"""Arithmetic and rounding, element by element.

Operands broadcast and are promoted to a common dtype; Python scalars take that of the others.
Where NumPy computes integers in floating point (`divide`), 64-bit integers are computed in
float64 and others in float32. Bools count as int32 where a number is needed. Integer division
by zero gives -1 or 0, as the primitives say; nothing raises.

Comparisons, logic and bits are in `comparison`, exponentials and trigonometry in `elementary`,
questions about numbers (`isnan`, `isclose`, `frexp`) in `inspection`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.numpy.arrays import check_out
from wengert.numpy.promotion import (
    Value,
    promote_inexact,
    promote_inexact_unary,
    promote_pair,
    to_dtype,
)
from wengert.primitives import basis, cast, compare, transcendental
from wengert.primitives import elementwise as primitives

_SCALARS = frozenset(dtypes.SCALAR_TYPES)


# -- operands ----------------------------------------------------------------------------------


def dtype_of_pair(x: Value, y: Value) -> dtypes.DType:
    """The common dtype of two promoted operands, one of which may be a Python scalar."""
    return y.dtype if type(x) in _SCALARS else x.dtype


def inexact_pair(x: Any, y: Any) -> tuple[Value, Value]:
    """Two operands in their common floating or complex dtype."""
    x, y = promote_pair(x, y)
    if dtypes.is_inexact(dtype_of_pair(x, y)):
        return x, y
    x, y = promote_inexact(x, y)
    return x, y


def numeric_pair(x: Any, y: Any) -> tuple[Value, Value]:
    """Two operands in their common dtype, bools as int32."""
    x, y = promote_pair(x, y)
    if dtype_of_pair(x, y) != dtypes.BOOL:
        return x, y
    return numeric(x), numeric(y)


def numeric(x: Any) -> Value:
    """One operand as an array, bools as int32."""
    x = as_array(x)
    return to_dtype(x, dtypes.INT32) if x.dtype == dtypes.BOOL else x


# -- arithmetic --------------------------------------------------------------------------------


def add(x: Any, y: Any, /) -> Value:
    """The sum; of bools the logical or.

    >>> add(1.5, 2)
    Array(3.5, dtype=float32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return basis.add(x, y)


def subtract(x: Any, y: Any, /) -> Value:
    """The difference.

    >>> subtract(1.5, 2)
    Array(-0.5, dtype=float32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return primitives.sub(x, y)


def multiply(x: Any, y: Any, /) -> Value:
    """The product; of bools the logical and.

    >>> multiply(1.5, 2)
    Array(3., dtype=float32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return basis.mul(x, y)


def divide(x: Any, y: Any, /) -> Value:
    """The quotient, of integers too a floating number.

    >>> divide(3, 2)
    Array(1.5, dtype=float32, weak_type=True)
    """
    x, y = inexact_pair(x, y)
    return primitives.div(x, y)


true_divide = divide


def floor_divide(x: Any, y: Any, /) -> Value:
    """The quotient rounded down.

    >>> floor_divide(-7, 2)
    Array(-4, dtype=int32, weak_type=True)
    """
    x, y = numeric_pair(x, y)
    return primitives.floor_divide(x, y)


def remainder(x: Any, y: Any, /) -> Value:
    """What floored division leaves; it has the sign of the divisor, as in Python.

    >>> remainder(-7, 3)
    Array(2, dtype=int32, weak_type=True)
    """
    x, y = numeric_pair(x, y)
    return primitives.mod(x, y)


mod = remainder


def fmod(x: Any, y: Any, /) -> Value:
    """What division rounded towards zero leaves; it has the sign of the dividend, as in C.

    >>> fmod(-7, 3)
    Array(-1, dtype=int32, weak_type=True)
    """
    x, y = numeric_pair(x, y)
    return primitives.rem(x, y)


def divmod(x: Any, y: Any, /) -> tuple[Value, Value]:
    """The quotient rounded down, and what it leaves.

    >>> divmod(-7, 3)
    (Array(-3, dtype=int32, weak_type=True), Array(2, dtype=int32, weak_type=True))
    """
    x, y = numeric_pair(x, y)
    return primitives.floor_divide(x, y), primitives.mod(x, y)


def power(x: Any, y: Any, /) -> Value:
    """The first operand to the power of the second.

    Whole powers given as Python integers are products, with exact derivatives everywhere.

    Raises:
      DTypeError: for an integer to a negative power, which is no integer.

    >>> power(2.0, 3)
    Array(8., dtype=float32, weak_type=True)
    >>> power(np.arange(3), 2)
    Array([0, 1, 4], dtype=int64)
    """
    if type(y) is int:
        x = numeric(x)
        return primitives.square(x) if y == 2 else primitives.integer_pow(x, y=y)
    x, y = numeric_pair(x, y)
    return transcendental.pow(x, y)


pow = power


def float_power(x: Any, y: Any, /) -> Value:
    """The first operand to the power of the second, in floating point.

    >>> float_power(2, -1)
    Array(0.5, dtype=float32, weak_type=True)
    """
    x, y = inexact_pair(x, y)
    return transcendental.pow(x, y)


def square(x: Any, /) -> Value:
    """The product of each number with itself.

    >>> square(-1.5)
    Array(2.25, dtype=float32, weak_type=True)
    """
    return primitives.square(numeric(x))


def reciprocal(x: Any, /) -> Value:
    """One over each number, of integers too a floating number.

    >>> reciprocal(4)
    Array(0.25, dtype=float32, weak_type=True)
    """
    return primitives.reciprocal(promote_inexact_unary(x))


def positive(x: Any, /) -> Value:
    """The operand itself, as an array.

    >>> positive(-1.5)
    Array(-1.5, dtype=float32, weak_type=True)
    """
    return as_array(x)


def negative(x: Any, /) -> Value:
    """The numbers with the other sign.

    >>> negative(1.5)
    Array(-1.5, dtype=float32, weak_type=True)
    """
    return basis.neg(as_array(x))


def absolute(x: Any, /) -> Value:
    """The size of each number; the derivative at 0 is taken as 0.

    >>> absolute(-1.5)
    Array(1.5, dtype=float32, weak_type=True)
    >>> absolute(3 + 4j)
    Array(5., dtype=float32, weak_type=True)
    """
    x = as_array(x)
    dtype = x.dtype
    if dtypes.is_complex(dtype):
        return primitives.complex_abs(x)
    return x if dtypes.kind(dtype) in "bu" else primitives.abs(x)


abs = absolute


def fabs(x: Any, /) -> Value:
    """The size of each real number, in floating point.

    >>> fabs(-2)
    Array(2., dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    if dtypes.is_complex(x.dtype):
        raise TypeError("fabs takes real numbers; absolute takes complex ones too.")
    return primitives.abs(x)


def sign(x: Any, /) -> Value:
    """-1, 0 or 1; of complex numbers their direction z / abs(z).

    >>> sign(np.array([-2.0, 0.0, 0.5]))
    Array([-1.,  0.,  1.], dtype=float64)
    """
    return primitives.sign(as_array(x))


def maximum(x: Any, y: Any, /) -> Value:
    """The greater of two numbers, NaN if one is; equal ones share the derivative.

    >>> maximum(1.5, 2)
    Array(2., dtype=float32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return primitives.maximum(x, y)


def minimum(x: Any, y: Any, /) -> Value:
    """The lesser of two numbers, NaN if one is; equal ones share the derivative.

    >>> minimum(1.5, 2)
    Array(1.5, dtype=float32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return primitives.minimum(x, y)


def fmax(x1: Any, x2: Any) -> Value:
    """The greater of two numbers; a number rather than NaN.

    >>> fmax(1.5, float("nan"))
    Array(1.5, dtype=float32, weak_type=True)
    """
    x1, x2 = promote_pair(x1, x2)
    return primitives.fmax(x1, x2)


def fmin(x1: Any, x2: Any) -> Value:
    """The lesser of two numbers; a number rather than NaN.

    >>> fmin(1.5, float("nan"))
    Array(1.5, dtype=float32, weak_type=True)
    """
    x1, x2 = promote_pair(x1, x2)
    return primitives.fmin(x1, x2)


def clip(arr: Any, /, min: Any = None, max: Any = None) -> Value:
    """The numbers, those below `min` or above `max` replaced by these.

    Args:
      arr: real numbers.
      min: the least value that stays, or None.
      max: the greatest value that stays, or None; it wins where `max < min`.

    >>> clip(np.arange(5), 1, 3)
    Array([1, 1, 2, 3, 3], dtype=int64)
    """
    out = as_array(arr)
    for bound in (out, min, max):
        if bound is not None and dtypes.is_complex(dtypes.dtype_of(bound)[0]):
            raise ValueError(
                "clip takes real numbers: complex ones have no order. Clip the real and the "
                "imaginary parts, or scale by the absolute value."
            )
    if min is not None:
        out = maximum(min, out)
    return out if max is None else minimum(max, out)


def gcd(x1: Any, x2: Any) -> Value:
    """The greatest common divisor of integers.

    >>> gcd(12, 18)
    Array(6, dtype=int32, weak_type=True)
    """
    x1, x2 = promote_pair(x1, x2)
    return primitives.gcd(x1, x2)


def lcm(x1: Any, x2: Any) -> Value:
    """The least common multiple of integers.

    >>> lcm(4, 6)
    Array(12, dtype=int32, weak_type=True)
    """
    x1, x2 = promote_pair(x1, x2)
    return primitives.lcm(x1, x2)


# -- rounding ----------------------------------------------------------------------------------


def floor(x: Any, /) -> Value:
    """The largest whole number that is not greater.

    >>> floor(-1.5)
    Array(-2., dtype=float32, weak_type=True)
    """
    x = as_array(x)
    return x if x.dtype == dtypes.BOOL else compare.floor(x)


def ceil(x: Any, /) -> Value:
    """The smallest whole number that is not less.

    >>> ceil(-1.5)
    Array(-1., dtype=float32, weak_type=True)
    """
    x = as_array(x)
    return x if x.dtype == dtypes.BOOL else compare.ceil(x)


def trunc(x: Any) -> Value:
    """The whole part: rounding towards zero.

    >>> trunc(-1.5)
    Array(-1., dtype=float32, weak_type=True)
    """
    x = as_array(x)
    return x if x.dtype == dtypes.BOOL else compare.trunc(x)


def fix(x: Any, out: None = None) -> Value:
    """The whole part: rounding towards zero.

    >>> fix(1.5)
    Array(1., dtype=float32, weak_type=True)
    """
    check_out("fix", out)
    return trunc(x)


def rint(x: Any, /) -> Value:
    """The nearest whole number, halves to the even one, in floating point.

    >>> rint(2.5)
    Array(2., dtype=float32, weak_type=True)
    """
    return compare.round(promote_inexact_unary(x))


def round(a: Any, decimals: int = 0, out: None = None) -> Value:
    """The nearest number with so many decimal places, halves to the even one.

    Args:
      a: numbers.
      decimals: places after the point; negative ones round to tens, hundreds, ...
      out: must be None.

    >>> round(2.675, 1)
    Array(2.7, dtype=float32, weak_type=True)
    >>> round(np.array([1251, 1350]), -2)
    Array([1300, 1400], dtype=int64)
    """
    check_out("round", out)
    a = as_array(a)
    places = decimals.__index__()
    if not dtypes.is_inexact(a.dtype):
        return _rounded_integers(numeric(a), places) if places < 0 else a
    if places == 0:
        return compare.round(a)
    wide = to_dtype(a, dtypes.FLOAT32) if a.dtype.itemsize == 2 else a
    factor = 10.0 ** (places if places > 0 else -places)
    if places > 0:
        out = primitives.div(compare.round(basis.mul(wide, factor)), factor)
    else:
        out = basis.mul(compare.round(primitives.div(wide, factor)), factor)
    return to_dtype(out, a.dtype, a.weak_type)


around = round


def _rounded_integers(a: Value, places: int) -> Value:
    step = 10**-places
    if step > np.iinfo(a.dtype).max:
        return basis.mul(a, 0)
    whole = primitives.floor_divide(a, step)
    rest = primitives.mod(a, step)
    odd = compare.eq(compare.bitwise_and(whole, 1), 1)
    half = step // 2
    tie = compare.bitwise_and(compare.eq(rest, half), odd)
    up = compare.bitwise_or(compare.gt(rest, half), tie)
    return basis.mul(basis.add(whole, cast.convert(up, dtype=a.dtype)), step)


# -- complex numbers ---------------------------------------------------------------------------


def real(val: Any, /) -> Value:
    """The real part; of real numbers the numbers themselves.

    >>> real(1 + 2j)
    Array(1., dtype=float32, weak_type=True)
    """
    val = as_array(val)
    return cast.real(val) if dtypes.is_complex(val.dtype) else val


def imag(val: Any, /) -> Value:
    """The imaginary part; of real numbers zeros.

    >>> imag(1 + 2j)
    Array(2., dtype=float32, weak_type=True)
    """
    val = as_array(val)
    return cast.imag(val) if dtypes.is_complex(val.dtype) else basis.zeros_like(val)


def conjugate(x: Any, /) -> Value:
    """The complex conjugate; of real numbers the numbers themselves.

    >>> conjugate(1 + 2j)
    Array(1.-2.j, dtype=complex64, weak_type=True)
    """
    x = as_array(x)
    return cast.conj(x) if dtypes.is_complex(x.dtype) else x


conj = conjugate
