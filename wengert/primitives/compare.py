"""Comparison, logic, bits, rounding and selection.

All but `select` are piecewise constant: their results have no tangent. Comparisons follow
IEEE 754 (NaN is unequal to everything and neither less nor greater); complex numbers are
ordered by real part, then imaginary part, as in NumPy. `select` passes tangents of the side it
takes, and its cotangents are exactly zero on the other, however wild the function there.

Operands have one dtype; promotion is done by `wengert.numpy`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Sample, Value
from wengert.primitives.families import (
    ElementwiseLinear,
    Integral,
    Numeric,
    Predicate,
    all_weak,
    array_dtype,
    operand_shape,
    same_dtype,
    sample_shapes,
    scalar,
    with_weak,
)

_UNIT = (0.3, 0.9)
_SIGNED = (-2.7, 2.6)


# -- comparisons ----------------------------------------------------------------------------


class Eq(Predicate):
    """Whether two numbers are equal."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.eq)


class Ne(Predicate):
    """Whether two numbers differ."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.ne)


class Lt(Predicate):
    """Less than."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.lt)


class Le(Predicate):
    """Less than or equal."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.le)


class Gt(Predicate):
    """Greater than."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.gt)


class Ge(Predicate):
    """Greater than or equal."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.ge)


# -- floating-point inspection --------------------------------------------------------------


class IsFinite(Predicate):
    """Whether a number is neither infinite nor NaN."""

    compute = staticmethod(np.isfinite)


class Isnan(Predicate):
    """Whether a number is NaN."""

    @staticmethod
    def compute(x: Any) -> Any:
        return x != x  # noqa: PLR0124 (the same as np.isnan, and much cheaper for scalars)


class Isinf(Predicate):
    """Whether a number is infinite."""

    compute = staticmethod(np.isinf)


class Signbit(Predicate):
    """Whether the sign bit is set: true for negative numbers and for -0.0."""

    kinds = "iuf"

    @staticmethod
    def compute(x: Any) -> Any:
        return x < 0 if x.dtype.kind in "iu" else np.signbit(x)


# -- logic and bits -------------------------------------------------------------------------


class BitwiseAnd(Integral):
    """And, bit by bit; of bools the logical and."""

    kinds = "biu"
    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.and_)


class BitwiseOr(Integral):
    """Or, bit by bit; of bools the logical or."""

    kinds = "biu"
    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.or_)


class BitwiseXor(Integral):
    """Exclusive or, bit by bit; of bools the logical one."""

    kinds = "biu"
    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.xor)


class BitwiseNot(Integral):
    """Complement, bit by bit; of bools the logical not."""

    kinds = "biu"
    compute = staticmethod(operator.invert)


class ShiftLeft(Integral):
    """Shift to the left; a distance outside [0, bits) gives 0."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.lshift)


class ShiftRightArithmetic(Integral):
    """Shift to the right that repeats the sign bit; a distance outside [0, bits) leaves it."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.rshift)


class ShiftRightLogical(Integral):
    """Shift to the right that fills in zeros; a distance outside [0, bits) gives 0."""

    domains = (_UNIT, _UNIT)

    @staticmethod
    def compute(x: Any, y: Any) -> Any:
        dtype = array_dtype(x, y)
        bits = [np.asarray(v, dtype).view(_unsigned(dtype)) for v in (x, y)]
        return scalar((bits[0] >> bits[1]).view(dtype))


def _unsigned(dtype: Any) -> Any:
    return np.dtype(f"u{dtype.itemsize}")


class PopulationCount(Integral):
    """Number of bits that are set (in two's complement for signed integers)."""

    @staticmethod
    def compute(x: Any) -> Any:
        return np.bitwise_count(x.view(_unsigned(x.dtype))).astype(x.dtype)


class Clz(Integral):
    """Number of leading bits that are zero."""

    @staticmethod
    def compute(x: Any) -> Any:
        bits = x.view(_unsigned(x.dtype))
        size = 8 * x.dtype.itemsize
        shift = 1
        while shift < size:  # set every bit below the highest one
            bits = bits | (bits >> shift)
            shift *= 2
        return (size - np.bitwise_count(bits)).astype(x.dtype)


# -- rounding -------------------------------------------------------------------------------


class Rounding(Numeric):
    """Roundings to whole numbers; integers stay as they are."""

    kinds = "iuf"
    domains = (_SIGNED,)
    nondifferentiable = True


class Floor(Rounding):
    """The largest whole number that is not greater."""

    compute = staticmethod(np.floor)


class Ceil(Rounding):
    """The smallest whole number that is not less."""

    compute = staticmethod(np.ceil)


class Trunc(Rounding):
    """The whole part, rounding towards zero."""

    compute = staticmethod(np.trunc)


class Round(Rounding):
    """The nearest whole number; halves to the even one, or away from zero."""

    kinds = "iufc"

    @staticmethod
    def compute(x: Any, away_from_zero: bool = False) -> Any:
        if x.dtype.kind in "iu":
            return x
        if not away_from_zero:
            return np.rint(x)
        whole = np.trunc(x)
        half = np.greater_equal(abs(x - whole), 0.5).astype(x.dtype)
        return whole + np.copysign(half, x)

    def samples(self) -> Iterator[Sample]:
        yield from super().samples()
        x = np.array([-2.5, -0.5, 0.0, 0.5, 1.5, 2.2])
        yield Sample(x, differentiable=False)
        yield Sample(x, differentiable=False, away_from_zero=True)


# -- selection ------------------------------------------------------------------------------


class Select(ElementwiseLinear):
    """Elements of the second operand where the first is true, of the third elsewhere."""

    linear = (1, 2)
    masks = True

    @staticmethod
    def compute(pred: Any, on_true: Any, on_false: Any) -> Any:
        if isinstance(pred, np.generic):
            chosen, other = (on_true, on_false) if pred else (on_false, on_true)
            if not isinstance(other, np.ndarray):
                if isinstance(chosen, np.generic):
                    return chosen
                if isinstance(other, np.generic) and type(chosen) in dtypes.SCALAR_TYPES:
                    return type(other)(chosen)
        dtype = array_dtype(on_true, on_false)
        if dtype == dtypes.bfloat16:  # NumPy does not let Python scalars follow this dtype
            on_true, on_false = (np.asarray(v, dtype) for v in (on_true, on_false))
        return scalar(np.where(pred, on_true, on_false))

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        out = super().evaluate(args, params)  # not weak, because the bool operand is not
        return with_weak(out, True) if all_weak(args[1:]) else out

    def type_rule(self, pred: Any, *types: Any) -> Any:
        if pred.dtype != dtypes.BOOL:
            raise errors.DTypeError(
                f"select chooses by a bool operand, got {pred}. Compare first: x != 0."
            )
        shape = operand_shape(self.name, (pred, *types))
        return ArrayType(shape, same_dtype(self.name, types), all_weak(types))

    def pullback(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        sides = (cotangent, 0) if position == 1 else (0, cotangent)
        return select(operands[0], *sides)

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for shapes in sample_shapes(3):
            pred, *sides = (rng.uniform(-1, 1, shape) for shape in shapes)
            yield Sample(scalar(np.asarray(pred > 0)), *map(scalar, sides))
        pred = np.array([[True], [False]])
        yield Sample(pred, np.array([1 + 2j, 3 - 1j]), np.array([0.5j, 2 + 0j]))
        yield Sample(pred, np.arange(3), np.arange(3) - 7, differentiable=False)
        half = np.array([0.5, 2.0], dtypes.bfloat16)
        yield Sample(pred, half, half[::-1], differentiable=False)


eq = Eq()
ne = Ne()
lt = Lt()
le = Le()
gt = Gt()
ge = Ge()
is_finite = IsFinite()
isnan = Isnan()
isinf = Isinf()
signbit = Signbit()
bitwise_and = BitwiseAnd()
bitwise_or = BitwiseOr()
bitwise_xor = BitwiseXor()
bitwise_not = BitwiseNot()
shift_left = ShiftLeft()
shift_right_arithmetic = ShiftRightArithmetic()
shift_right_logical = ShiftRightLogical()
population_count = PopulationCount()
clz = Clz()
floor = Floor()
ceil = Ceil()
trunc = Trunc()
round = Round()
select = Select()
