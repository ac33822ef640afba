"""Exact arithmetic: neutral operands, signs, conversions that lose nothing.

IEEE 754 allows: `x * 1`, `x / 1`, `x - 0.0`, `x + -0.0` are `x`; signs move through products
and quotients, and turn sums into differences; division by a power of two is a product. It
forbids `x + 0.0` (which is 0.0 for -0.0), `0.0 - x` for `-x`, and `x * 0` for 0. Products of
complex numbers are left alone: they add zeros, which show in signs and beside infinities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.dtypes import DType
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Literal
from wengert.passes.literals import typed_literal
from wengert.passes.rewriting import Rewriter, Rule, Rules
from wengert.primitives.basis import add, masked_mul, mul, neg
from wengert.primitives.cast import (
    conj,
    convert,
    copy,
    imag,
    make_complex,
    optimization_barrier,
    real,
    stop_gradient,
)
from wengert.primitives.elementwise import (
    abs,
    div,
    integer_pow,
    maximum,
    minimum,
    reciprocal,
    sqrt,
    square,
    sub,
)
from wengert.primitives.marks import checkpoint_name
from wengert.primitives.shape import iota
from wengert.primitives.transcendental import pow

Inputs = Sequence[Any]
_SIGNED = "if"


def _kind(type_: ArrayType) -> str:
    return dtypes.kind(type_.dtype)


def _negative(atom: Any, type_: ArrayType) -> Any:
    """The negative of an atom where it costs nothing; None elsewhere."""
    value = atom.value
    if type(value) is Array:
        return Literal(Array(-value._value, value._weak))
    return Literal(-value) if value else None


def _without_sign(walk: Rewriter, atom: Any) -> Any:
    made = walk.made(atom, neg)
    return None if made is None else made.inputs[0]


# -- sums ------------------------------------------------------------------------------------


def _is_plus_zero(value: Any) -> bool:
    return bool(value == 0) and math.copysign(1.0, value.real) > 0


def _add(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, y = inputs
    kind = _kind(type_)
    for a, b in ((x, y), (y, x)):
        value = walk.number(b)
        if value is not None:
            if kind in "iu" and value == 0:
                return walk.fitted(a, type_)
            if kind == "f" and value == 0 and not _is_plus_zero(value):
                return walk.fitted(a, type_)
        elif kind in "ifc":
            positive = _without_sign(walk, b)
            if positive is not None:
                return walk.apply(sub, a, positive)
    return None


def _sub(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, y = inputs
    value = walk.number(y)
    if value is not None:
        if value == 0 and (
            _kind(type_) in "iu" or (_kind(type_) == "f" and _is_plus_zero(value))
        ):
            return walk.fitted(x, type_)
        return None
    positive = _without_sign(walk, y)
    return None if positive is None else walk.apply(add, x, positive)


def _neg(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    positive = _without_sign(walk, x)
    if positive is not None:
        return positive
    if _kind(type_) != "f":
        return None
    for primitive in (mul, div):
        made = walk.made(x, primitive)
        if made is not None:
            a, b = made.inputs
            if type(b) is Literal and (negative := _negative(b, type_)) is not None:
                return walk.apply(primitive, a, negative)
            if type(a) is Literal and (negative := _negative(a, type_)) is not None:
                return walk.apply(primitive, negative, b)
    return None


# -- products --------------------------------------------------------------------------------


def _mul(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    kind = _kind(type_)
    if kind not in "iuf":
        return None
    x, y = inputs
    for a, b in ((x, y), (y, x)):
        value = walk.number(b)
        if value is not None:
            return _scaled(walk, a, b, value, type_)
    return _both_negative(walk, mul, x, y) if kind == "f" else None


def _scaled(walk: Rewriter, x: Any, factor: Any, value: Any, type_: ArrayType) -> Atom | None:
    """A product with a number."""
    kind = _kind(type_)
    if value == 1:
        return walk.fitted(x, type_)
    if kind == "f":
        if value == -1:
            return walk.fitted(walk.apply(neg, x), type_) if _is_array(x) else None
        positive = _without_sign(walk, x)
        if positive is not None and type(factor) is Literal:
            negative = _negative(factor, type_)
            return None if negative is None else walk.apply(mul, positive, negative)
    elif value == 0:
        return walk.filled(0, type_)
    return None


def _is_array(atom: Any) -> bool:
    return type(atom.type) is ArrayType


def _both_negative(walk: Rewriter, primitive: Primitive, x: Any, y: Any) -> Atom | None:
    a, b = _without_sign(walk, x), _without_sign(walk, y)
    return None if a is None or b is None else walk.apply(primitive, a, b)


def _masked_mul(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    """A product where nothing can be masked: beside finite numbers, or numbers other than 0."""
    x, y = inputs
    left, right = walk.number(x), walk.number(y)
    harmless = (
        _kind(type_) in "iu"
        or (left is not None and left != 0)
        or (right is not None and bool(np.isfinite(right)))
    )
    return walk.apply(mul, x, y) if harmless else None


def _div(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, y = inputs
    kind = _kind(type_)
    value = walk.number(y)
    if value is None:
        if kind != "f":
            return None
        if walk.number(x) == 1:
            return walk.fitted(walk.apply(reciprocal, y), type_)
        return _both_negative(walk, div, x, y)
    if value == 1 and kind in "iuf":
        return walk.fitted(x, type_)
    if kind != "f" or not _is_array(x):
        return None
    if value == -1:
        return walk.fitted(walk.apply(neg, x), type_)
    if _is_small_power_of_two(value):
        return walk.fitted(walk.apply(mul, x, _inverse(y)), type_)
    return None


def _is_small_power_of_two(value: Any) -> bool:
    """Whether a number is plus or minus 2**n for an n so small that all is exact in float16."""
    mantissa, exponent = math.frexp(value)
    return mantissa in (0.5, -0.5) and -8 < exponent < 8


def _inverse(literal: Any) -> Literal:
    value = literal.value
    if type(value) is Array:
        return typed_literal(1 / float(value._value), value.dtype, value._weak)
    return Literal(1 / value)


# -- powers, sizes ---------------------------------------------------------------------------


def _even(primitive: Primitive) -> Rule:
    """The rule for squares and absolute values: the sign of the operand does not matter."""

    def rule(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
        (x,) = inputs
        if _kind(type_) == "f":
            for signed in (neg, abs):
                made = walk.made(x, signed)
                if made is not None:
                    return walk.apply(primitive, made.inputs[0])
        return None

    return rule


def _integer_pow(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    (x,) = inputs
    y = params["y"]
    if y == 1:
        return x
    if y == 2:
        return walk.apply(square, x)
    if y == -1 and _kind(type_) == "f":
        return walk.apply(reciprocal, x)
    return walk.filled(1, type_) if y == 0 and _kind(type_) in "iuf" else None


def _pow(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    """Powers with a Python number as exponent, for which NumPy does the same."""
    x, y = inputs
    if type(y) is not Literal or type(y.value) is Array or not _is_array(x):
        return None
    if _kind(type_) != "f" or not x.type.shape:
        return None
    if y.value == 1:
        return x
    primitive = _POWERS.get(y.value)
    return None if primitive is None else walk.apply(primitive, x)


_POWERS: dict[float, Primitive] = {2: square, -1: reciprocal, 0.5: sqrt}


def _same_operands(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    x, y = inputs
    return x if x is y else None


# -- conversions, identities -----------------------------------------------------------------


@lru_cache(maxsize=1024)
def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of one dtype is a value of another."""
    if dtypes.is_integer(narrow) and dtypes.is_inexact(wide) and narrow.itemsize == 8:
        return False  # NumPy calls it safe, and rounds
    return np.can_cast(narrow, wide, "safe")


def _convert(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    if x.type.dtype == type_.dtype:
        return x
    made = walk.made(x, convert)
    if made is not None:
        source = made.inputs[0]
        # floats outside an integer's range become its ends, integers wrap around
        wraps = dtypes.is_integer(type_.dtype) and dtypes.is_inexact(x.type.dtype)
        alike = not wraps or dtypes.is_inexact(source.type.dtype)
        if alike and _holds(x.type.dtype, source.type.dtype):
            return walk.apply(convert, source, **params)
    made = walk.made(x, iota)
    if made is not None and _holds(type_.dtype, x.type.dtype):
        return walk.apply(iota, **{**made.params, "dtype": type_.dtype})
    return None


def _identity(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    return inputs[0]


def _barrier(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    """Numbers that are known take no memory that a barrier could save."""
    return None if walk.literal(inputs[0]) is None else inputs[0]


def _conj(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    if _kind(type_) != "c":
        return x
    made = walk.made(x, conj)
    return None if made is None else made.inputs[0]


def _part(position: int) -> Rule:
    """The rule for the real or imaginary part of a number that was made of its parts."""

    def rule(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
        made = walk.made(inputs[0], make_complex)
        return None if made is None else walk.fitted(made.inputs[position], type_)

    return rule


RULES: Rules = {
    add: (_add,),
    sub: (_sub,),
    neg: (_neg,),
    mul: (_mul,),
    masked_mul: (_masked_mul,),
    div: (_div,),
    square: (_even(square),),
    abs: (_even(abs),),
    integer_pow: (_integer_pow,),
    pow: (_pow,),
    maximum: (_same_operands,),
    minimum: (_same_operands,),
    convert: (_convert,),
    copy: (_identity,),
    stop_gradient: (_identity,),
    checkpoint_name: (_identity,),
    optimization_barrier: (_barrier,),
    conj: (_conj,),
    real: (_part(0),),
    imag: (_part(1),),
}
