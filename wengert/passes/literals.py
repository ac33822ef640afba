"""Literals: their values, their keys, and how they are made.

A literal in a program is a 0-d array, with a dtype and a weak flag, or a Python scalar that
takes the dtype of the other operands. Numbers that compare equal need not be the same: 1 and
1.0 have different types, 0.0 and -0.0 different signs, and NaN is unequal to itself. So passes
compare literals by keys, which are equal for the same type and the same bits only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import Params
from wengert.core.program import Atom, Literal


def number(literal: Any) -> Any:
    """The scalar in a literal."""
    value = literal.value
    return value._value if type(value) is Array else value


def typed_literal(value: Any, dtype: Any, weak: bool = False) -> Literal:
    """A literal of a given dtype."""
    return Literal(Array(dtype.type(value), weak))


def literal_key(literal: Any) -> Any:
    """The key of a literal: equal for the same type and the same bits."""
    value = literal.value
    kind = type(value)
    if kind is Array:
        scalar = value._value
        return scalar.dtype, scalar.tobytes(), value._weak
    if kind is float or kind is complex:
        return kind, repr(value)
    return kind, value


def atom_key(atom: Any) -> Any:
    """The key of an operand: a variable is its own."""
    return literal_key(atom) if type(atom) is Literal else atom


def equal_atoms(atoms: Sequence[Atom | None]) -> bool:
    """Whether all atoms are the same variable, or literals of the same bits."""
    first = atoms[0]
    if type(first) is not Literal:
        return all(a is first for a in atoms)
    key = literal_key(first)
    return all(type(a) is Literal and literal_key(a) == key for a in atoms)


def weak_params(type_: ArrayType) -> Params:
    """Parameters of a conversion to the weak flag of a type."""
    return {"dtype": type_.dtype, **({"weak": True} if type_.weak_type else {})}
