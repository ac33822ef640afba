"""Operands for primitives: conversion to arrays and promotion to a common dtype.

Python scalars stay Python scalars where an array operand decides the dtype: primitives read
them as literals of that dtype.
"""

from __future__ import annotations

from typing import Any

from wengert.core import dtypes
from wengert.core.array import Array, ArrayLike, as_array
from wengert.core.dtypes import DType, DTypeLike
from wengert.primitives.cast import convert

Value = Any

#: Python scalar types that a dtype of this kind absorbs without changing.
_ABSORBS: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "u": frozenset({bool, int}),
    "i": frozenset({bool, int}),
    "f": frozenset({bool, int, float}),
    "c": frozenset({bool, int, float, complex}),
}


def to_dtype(x: Value, dtype: DType, weak: bool = False) -> Value:
    """An operand converted to a dtype, if it has another one."""
    if type(x) in dtypes.SCALAR_TYPES:
        return Array(dtype.type(x), weak)
    if x.dtype == dtype and x.weak_type == weak:
        return x
    return convert(x, dtype=dtype, weak=weak)


def promote_pair(x: Value, y: Value) -> tuple[Value, Value]:
    """Two operands in their common dtype; one may stay a Python scalar literal."""
    if not isinstance(x, ArrayLike):
        if type(x) in dtypes.SCALAR_TYPES and type(y) not in dtypes.SCALAR_TYPES:
            y = as_array(y)
            if type(x) in _ABSORBS[dtypes.kind(y.dtype)]:
                return _literal(x, y.dtype), y
        x = as_array(x)
    if not isinstance(y, ArrayLike):
        if type(y) in _ABSORBS[dtypes.kind(x.dtype)]:
            return x, _literal(y, x.dtype)
        y = as_array(y)
    x_dtype, y_dtype = x.dtype, y.dtype
    if x_dtype is y_dtype or x_dtype == y_dtype:
        return x, y
    dtype, weak = dtypes.lattice_join(((x_dtype, x.weak_type), (y_dtype, y.weak_type)))
    return to_dtype(x, dtype, weak), to_dtype(y, dtype, weak)


def _literal(value: Any, dtype: DType) -> Any:
    # np.bool is no number for NumPy's weak promotion: a bool literal becomes 0 or 1
    if type(value) is bool and dtype != dtypes.BOOL:
        return int(value)
    return value


def _converted(operands: list[Any], dtype: DType, weak: bool) -> list[Value]:
    """Operands in a dtype; Python scalars are rounded to it once, not to float32 before."""
    scalars = dtypes.SCALAR_TYPES
    return [
        to_dtype(x, dtype, weak) if type(x) in scalars or x.dtype != dtype else x
        for x in operands
    ]


def _operands(xs: tuple[Any, ...]) -> list[Any]:
    return [x if type(x) in dtypes.SCALAR_TYPES else as_array(x) for x in xs]


def promote(*xs: Any) -> list[Value]:
    """Operands as arrays of their common dtype."""
    operands = _operands(xs)
    return _converted(operands, *dtypes.join(operands))


def promote_inexact(*xs: Any) -> list[Value]:
    """Operands as arrays of a common floating or complex dtype."""
    operands = _operands(xs)
    dtype, weak = dtypes.join(operands)
    return _converted(operands, dtypes.inexact_dtype(dtype), weak)


def promote_inexact_unary(x: Any) -> Value:
    """One operand as an array of floating or complex dtype."""
    if not isinstance(x, ArrayLike):
        x = as_array(x)
    dtype = x.dtype
    if dtypes.is_inexact(dtype):
        return x
    return to_dtype(x, dtypes.inexact_dtype(dtype), x.weak_type)


def result_type(*args: Any) -> DType:
    """The dtype that arrays, Python scalars and dtypes promote to.

    >>> result_type(1.0, "int8")
    dtype('float32')
    """
    return dtypes.join(args)[0]


def requested_dtype(dtype: DTypeLike, default: DType) -> DType:
    """The dtype that a keyword `dtype=` asks for, or the default when it is None."""
    return default if dtype is None else dtypes.as_dtype(dtype)
