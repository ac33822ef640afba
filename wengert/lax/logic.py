"""Comparison, selection and bits, element by element.

Results of comparisons are bool and have no derivative. `select` and `select_n` pass on the
derivative of the case that is taken and exact zeros to the others, so that infinities and
NaNs of cases not taken do no harm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.lax.operands import binary, same, unary
from wengert.primitives import cast, compare

# -- comparison --------------------------------------------------------------------------------


def eq(x: Any, y: Any) -> Value:
    """Whether two numbers are equal.

    >>> eq(1, 1)
    Array(True, dtype=bool)
    """
    return binary(compare.eq, x, y)


def ne(x: Any, y: Any) -> Value:
    """Whether two numbers differ.

    >>> ne(1, 1)
    Array(False, dtype=bool)
    """
    return binary(compare.ne, x, y)


def lt(x: Any, y: Any) -> Value:
    """Whether `x < y`.

    >>> lt(1, 2)
    Array(True, dtype=bool)
    """
    return binary(compare.lt, x, y)


def le(x: Any, y: Any) -> Value:
    """Whether `x <= y`.

    >>> le(1, 2)
    Array(True, dtype=bool)
    """
    return binary(compare.le, x, y)


def gt(x: Any, y: Any) -> Value:
    """Whether `x > y`.

    >>> gt(1, 2)
    Array(False, dtype=bool)
    """
    return binary(compare.gt, x, y)


def ge(x: Any, y: Any) -> Value:
    """Whether `x >= y`.

    >>> ge(1, 2)
    Array(False, dtype=bool)
    """
    return binary(compare.ge, x, y)


# -- selection ---------------------------------------------------------------------------------


def select(pred: Any, on_true: Any, on_false: Any) -> Value:
    """`on_true` where `pred` is true, `on_false` elsewhere.

    Args:
      pred: bools, of the shape of the cases or a scalar.
      on_true: an array.
      on_false: an array of the same shape and dtype.

    >>> select(True, 1.0, 2.0)
    Array(1., dtype=float32, weak_type=True)
    """
    pred = as_array(pred)
    if pred.dtype != dtypes.BOOL:
        raise errors.DTypeError(f"lax.select chooses by a bool operand, got {pred.dtype}.")
    on_true, on_false = same("select", on_true, on_false)
    _check_cases("select", pred, [on_true, on_false])
    return compare.select(pred, on_true, on_false)


def select_n(which: Any, *cases: Any) -> Value:
    """The case with the number `which`, element by element.

    Args:
      which: numbers of cases (int32), or bools for two cases (true takes the second); of the
        shape of the cases or a scalar. Numbers beyond the ends take the first or last case.
      *cases: arrays of one shape and dtype.

    >>> import wengert.numpy as wnp
    >>> select_n(wnp.array([0, 2]), wnp.zeros(2), wnp.ones(2), wnp.array([5.0, 6.0]))
    Array([0., 6.], dtype=float32)
    """
    which = as_array(which)
    if not cases:
        raise TypeError("lax.select_n needs at least one case.")
    operands = same("select_n", *cases)
    _check_cases("select_n", which, operands)
    if which.dtype == dtypes.BOOL:
        if len(cases) > 2:
            raise errors.DTypeError(
                f"lax.select_n with a bool operand chooses between two cases, got {len(cases)}."
            )
        return compare.select(which, *reversed(operands)) if len(cases) == 2 else operands[0]
    if not dtypes.is_integer(which.dtype):
        raise errors.DTypeError(f"lax.select_n chooses by int32 or bool, got {which.dtype}.")
    out = operands[-1]
    for number in range(len(operands) - 2, -1, -1):
        out = compare.select(compare.le(which, number), operands[number], out)
    return out


def _check_cases(name: str, which: Value, cases: list[Value]) -> None:
    shapes = {case.shape for case in cases}
    if len(shapes) > 1 or which.shape not in ((), *shapes):
        raise errors.ShapeError(
            f"lax.{name} needs cases of one shape and a choice of that shape or none, got "
            f"cases of shapes {', '.join(str(c.shape) for c in cases)}, choice {which.shape}. "
            "wengert.numpy.where broadcasts."
        )


# -- bits --------------------------------------------------------------------------------------


def bitwise_and(x: Any, y: Any) -> Value:
    """And, bit by bit; of bools the logical and.

    >>> bitwise_and(6, 3)
    Array(2, dtype=int32, weak_type=True)
    """
    return binary(compare.bitwise_and, x, y)


def bitwise_or(x: Any, y: Any) -> Value:
    """Or, bit by bit; of bools the logical or.

    >>> bitwise_or(6, 3)
    Array(7, dtype=int32, weak_type=True)
    """
    return binary(compare.bitwise_or, x, y)


def bitwise_xor(x: Any, y: Any) -> Value:
    """Exclusive or, bit by bit.

    >>> bitwise_xor(6, 3)
    Array(5, dtype=int32, weak_type=True)
    """
    return binary(compare.bitwise_xor, x, y)


def bitwise_not(x: Any) -> Value:
    """Complement, bit by bit; of bools the logical not.

    >>> bitwise_not(True), bitwise_not(6)
    (Array(False, dtype=bool), Array(-7, dtype=int32, weak_type=True))
    """
    return unary(compare.bitwise_not, x)


def shift_left(x: Any, y: Any) -> Value:
    """`x` shifted to the left by `y` bits.

    >>> shift_left(3, 2)
    Array(12, dtype=int32, weak_type=True)
    """
    return binary(compare.shift_left, x, y)


def shift_right_arithmetic(x: Any, y: Any) -> Value:
    """`x` shifted to the right by `y` bits, the highest bit repeated, of unsigned ones too.

    >>> shift_right_arithmetic(-8, 2)
    Array(-2, dtype=int32, weak_type=True)
    """
    x, y = same("shift_right_arithmetic", x, y)
    if dtypes.kind(x.dtype) != "u":
        return binary(compare.shift_right_arithmetic, x, y)
    signed = np.dtype(f"i{x.dtype.itemsize}")
    bits = (cast.bitcast_convert(v, dtype=signed) for v in (x, y))
    return cast.bitcast_convert(binary(compare.shift_right_arithmetic, *bits), dtype=x.dtype)


def shift_right_logical(x: Any, y: Any) -> Value:
    """`x` shifted to the right by `y` bits, zeros filled in.

    >>> shift_right_logical(-8, 28)
    Array(15, dtype=int32, weak_type=True)
    """
    return binary(compare.shift_right_logical, x, y)


def population_count(x: Any) -> Value:
    """The number of bits that are set.

    >>> population_count(7)
    Array(3, dtype=int32, weak_type=True)
    """
    return unary(compare.population_count, x)


def clz(x: Any) -> Value:
    """The number of leading bits that are zero.

    >>> clz(1)
    Array(31, dtype=int32, weak_type=True)
    """
    return unary(compare.clz, x)
