"""Logic, comparison and selection.

A comparison of floats has no opposite but for equality: with NaN both `x < y` and `x >= y` are
false.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom
from wengert.passes.literals import equal_atoms
from wengert.passes.rewriting import Rewriter, Rule, Rules, shape_of
from wengert.primitives.compare import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    eq,
    floor,
    ge,
    gt,
    isinf,
    le,
    lt,
    ne,
    round,
    select,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
    trunc,
)

Inputs = Sequence[Any]


# -- bits ------------------------------------------------------------------------------------


def _ones(value: Any, type_: ArrayType) -> bool:
    """Whether all bits of a number are set."""
    if type_.dtype == dtypes.BOOL:
        return bool(value)
    if dtypes.kind(type_.dtype) == "u":
        return bool(value == np.iinfo(type_.dtype).max)
    return bool(value == -1)


def _and_or(primitive: Primitive) -> Rule:
    """The rule for conjunctions (all bits set is neutral, none absorbs) or disjunctions."""

    def rule(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
        x, y = inputs
        if x is y:
            return x
        for a, b in ((x, y), (y, x)):
            value = walk.number(b)
            if value is None:
                continue
            ones = _ones(value, type_)
            if ones if primitive is bitwise_and else value == 0:
                return walk.fitted(a, type_)
            if value == 0 if primitive is bitwise_and else ones:
                return walk.filled(value, type_)
        return None

    return rule


def _infinite_and_finite(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    """No number is infinite and equal to a finite number."""
    for a, b in (inputs, inputs[::-1]):
        infinite, equal = walk.made(a, isinf), walk.made(b, eq)
        if infinite is None or equal is None:
            continue
        x = infinite.inputs[0]
        for one, other in (equal.inputs, equal.inputs[::-1]):
            value = walk.number(other)
            if one is x and value is not None and np.isfinite(value):
                return walk.filled(False, type_)
    return None


def _xor(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, y = inputs
    for a, b in ((x, y), (y, x)):
        value = walk.number(b)
        if value is not None:
            if value == 0:
                return walk.fitted(a, type_)
            if _ones(value, type_) and type(a.type) is ArrayType:
                return walk.fitted(walk.apply(bitwise_not, a), type_)
    return None


def _not(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    made = walk.made(x, bitwise_not)
    if made is not None:
        return made.inputs[0]
    if type_.dtype != dtypes.BOOL:
        return None
    for primitive, opposite, floats_too in _OPPOSITES:
        made = walk.made(x, primitive)
        if made is not None and (floats_too or not _inexact(made.inputs)):
            return walk.apply(opposite, *made.inputs)
    return None


_OPPOSITES = (
    (eq, ne, True),
    (ne, eq, True),
    (lt, ge, False),
    (ge, lt, False),
    (gt, le, False),
    (le, gt, False),
)


def _inexact(atoms: Inputs) -> bool:
    return any(type(a.type) is ArrayType and dtypes.is_inexact(a.type.dtype) for a in atoms)


def _shift(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, y = inputs
    return walk.fitted(x, type_) if walk.number(y) == 0 else None


def _whole(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    """Rounding leaves integers as they are."""
    return inputs[0] if dtypes.is_integer(type_.dtype) else None


# -- comparison ------------------------------------------------------------------------------


def _itself(value: bool) -> Rule:
    """The rule for the comparison of a number with itself; for floats NaN decides."""

    def rule(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
        x, y = inputs
        if x is y and (not value or not _inexact(inputs)):
            return walk.filled(value, type_)
        return None

    return rule


def _differs(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, y = inputs
    return walk.filled(False, type_) if x is y and not _inexact(inputs) else None


# -- selection -------------------------------------------------------------------------------


def _select(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    pred, on_true, on_false = inputs
    chosen = walk.number(pred)
    if chosen is not None:
        return walk.fitted(on_true if chosen else on_false, type_)
    if on_true is on_false or _equal_numbers(walk, on_true, on_false):
        return walk.fitted(on_true, type_)
    made = walk.made(pred, bitwise_not)
    if made is not None:
        return walk.apply(select, made.inputs[0], on_false, on_true)
    for position, side in ((1, on_true), (2, on_false)):
        made = walk.made(side, select)
        if made is not None and made.inputs[0] is pred:
            sides = [pred, on_true, on_false]
            sides[position] = made.inputs[position]
            if any(type(a.type) is ArrayType for a in sides[1:]):
                return walk.fitted(walk.apply(select, *sides), type_)
    return _bool_select(walk, inputs, type_)


def _equal_numbers(walk: Rewriter, x: Any, y: Any) -> bool:
    literals = [walk.literal(x), walk.literal(y)]
    return None not in literals and equal_atoms(literals)


def _bool_select(walk: Rewriter, inputs: Inputs, type_: ArrayType) -> Atom | None:
    """The predicate itself, or its opposite, where one of the two bools is chosen."""
    if type_.dtype != dtypes.BOOL:
        return None
    pred, on_true, on_false = inputs
    sides = walk.number(on_true), walk.number(on_false)
    if None in sides or shape_of(pred) != type_.shape:
        return None
    if sides[0]:
        return pred
    return walk.apply(bitwise_not, pred)


RULES: Rules = {
    bitwise_and: (_and_or(bitwise_and), _infinite_and_finite),
    bitwise_or: (_and_or(bitwise_or),),
    bitwise_xor: (_xor,),
    bitwise_not: (_not,),
    shift_left: (_shift,),
    shift_right_arithmetic: (_shift,),
    shift_right_logical: (_shift,),
    floor: (_whole,),
    ceil: (_whole,),
    trunc: (_whole,),
    round: (_whole,),
    eq: (_itself(True),),
    le: (_itself(True),),
    ge: (_itself(True),),
    ne: (_differs,),
    lt: (_itself(False),),
    gt: (_itself(False),),
    select: (_select,),
}
