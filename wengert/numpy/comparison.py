"""Comparisons, logic and bits, element by element.

Operands broadcast and are promoted to a common dtype. Comparisons follow IEEE 754: NaN equals
nothing. Complex numbers are ordered by real part, then imaginary part, as in NumPy. Logic takes
every nonzero number for true. Results of both are bools; those of bit operations have the dtype
of their operands. None has a derivative.
"""

from __future__ import annotations

from typing import Any

from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.numpy.elementwise import absolute, numeric_pair
from wengert.numpy.promotion import Value, promote_pair
from wengert.primitives import cast, compare


def truth(x: Any) -> Value:
    """One operand as an array of bools: whether each number is nonzero."""
    x = as_array(x)
    return x if x.dtype == dtypes.BOOL else compare.ne(x, 0)


# -- comparisons -------------------------------------------------------------------------------


def equal(x: Any, y: Any, /) -> Value:
    """Whether two numbers are equal.

    >>> equal(2, 1)
    Array(False, dtype=bool)
    """
    x, y = promote_pair(x, y)
    return compare.eq(x, y)


def not_equal(x: Any, y: Any, /) -> Value:
    """Whether two numbers differ.

    >>> not_equal(2, 1)
    Array(True, dtype=bool)
    """
    x, y = promote_pair(x, y)
    return compare.ne(x, y)


def less(x: Any, y: Any, /) -> Value:
    """Whether the first number is less than the second.

    >>> less(2, 1)
    Array(False, dtype=bool)
    """
    x, y = promote_pair(x, y)
    return compare.lt(x, y)


def less_equal(x: Any, y: Any, /) -> Value:
    """Whether the first number is less than or equal to the second.

    >>> less_equal(2, 1)
    Array(False, dtype=bool)
    """
    x, y = promote_pair(x, y)
    return compare.le(x, y)


def greater(x: Any, y: Any, /) -> Value:
    """Whether the first number is greater than the second.

    >>> greater(2, 1)
    Array(True, dtype=bool)
    """
    x, y = promote_pair(x, y)
    return compare.gt(x, y)


def greater_equal(x: Any, y: Any, /) -> Value:
    """Whether the first number is greater than or equal to the second.

    >>> greater_equal(2, 1)
    Array(True, dtype=bool)
    """
    x, y = promote_pair(x, y)
    return compare.ge(x, y)


# -- logic and bits ----------------------------------------------------------------------------


def logical_and(x: Any, y: Any, /) -> Value:
    """Whether both numbers are nonzero.

    >>> logical_and(2, 1)
    Array(True, dtype=bool)
    """
    return compare.bitwise_and(truth(x), truth(y))


def logical_or(x: Any, y: Any, /) -> Value:
    """Whether one of two numbers, or both, are nonzero.

    >>> logical_or(2, 0)
    Array(True, dtype=bool)
    """
    return compare.bitwise_or(truth(x), truth(y))


def logical_xor(x: Any, y: Any, /) -> Value:
    """Whether exactly one of two numbers is nonzero.

    >>> logical_xor(2, 1)
    Array(False, dtype=bool)
    """
    return compare.bitwise_xor(truth(x), truth(y))


def logical_not(x: Any, /) -> Value:
    """Whether a number is zero.

    >>> logical_not(2)
    Array(False, dtype=bool)
    """
    x = as_array(x)
    return compare.bitwise_not(x) if x.dtype == dtypes.BOOL else compare.eq(x, 0)


def bitwise_and(x: Any, y: Any, /) -> Value:
    """And, bit by bit.

    >>> bitwise_and(12, 10)
    Array(8, dtype=int32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return compare.bitwise_and(x, y)


def bitwise_or(x: Any, y: Any, /) -> Value:
    """Or, bit by bit.

    >>> bitwise_or(12, 10)
    Array(14, dtype=int32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return compare.bitwise_or(x, y)


def bitwise_xor(x: Any, y: Any, /) -> Value:
    """Exclusive or, bit by bit.

    >>> bitwise_xor(12, 10)
    Array(6, dtype=int32, weak_type=True)
    """
    x, y = promote_pair(x, y)
    return compare.bitwise_xor(x, y)


def invert(x: Any, /) -> Value:
    """The complement, bit by bit; of bools the logical not.

    >>> invert(5)
    Array(-6, dtype=int32, weak_type=True)
    """
    return compare.bitwise_not(as_array(x))


bitwise_not = invert
bitwise_invert = invert


def left_shift(x: Any, y: Any, /) -> Value:
    """The bits moved to the left.

    >>> left_shift(5, 2)
    Array(20, dtype=int32, weak_type=True)
    """
    x, y = numeric_pair(x, y)
    return compare.shift_left(x, y)


bitwise_left_shift = left_shift


def right_shift(x: Any, y: Any, /) -> Value:
    """The bits moved to the right; the sign is kept.

    >>> right_shift(-20, 2)
    Array(-5, dtype=int32, weak_type=True)
    """
    x, y = numeric_pair(x, y)
    return compare.shift_right_arithmetic(x, y)


bitwise_right_shift = right_shift


def bitwise_count(x: Any, /) -> Value:
    """The number of bits that are set in the absolute value, as uint8.

    >>> bitwise_count(-5)
    Array(2, dtype=uint8)
    """
    x = as_array(x)
    if dtypes.is_inexact(x.dtype):
        raise TypeError(f"bitwise_count takes integers, got {x.dtype}.")
    bits = x if x.dtype == dtypes.BOOL else compare.population_count(absolute(x))
    return cast.convert(bits, dtype=dtypes.as_dtype("uint8"))
