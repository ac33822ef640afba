"""What the functions of `lax` have in common: strict operands.

Nothing is promoted or broadcast here in silence, as `wengert.numpy` does. Operands have one
dtype. A Python scalar, and an array whose weak dtype came from one, takes the dtype of the
others where that is of its own kind: a float among float64 arrays, an int among uint8 arrays,
but no int among floats. Shapes are equal up to dimensions of size 1, or an operand has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayLike, as_array
from wengert.core.dtypes import DType
from wengert.core.primitive import Value
from wengert.primitives.basis import Elementwise
from wengert.primitives.cast import convert

_SCALARS = frozenset(dtypes.SCALAR_TYPES)
#: The kinds of dtype that a Python scalar or weak array of some kind takes.
_TAKES = {"b": "b", "i": "iu", "u": "iu", "f": "f", "c": "c"}
_KIND_OF_SCALAR = {bool: "b", int: "i", float: "f", complex: "c"}


@lru_cache(maxsize=4096)
def _check_dtypes(primitive: Elementwise, *dtypes: DType) -> None:
    """Raise unless a primitive takes operands of these dtypes: eager ones do not look."""
    primitive.result_dtype(*dtypes)


def unary(primitive: Elementwise, x: Any, **params: Any) -> Value:
    """Apply an elementwise primitive to one operand."""
    x = as_array(x)
    _check_dtypes(primitive, x.dtype)
    return primitive(x, **params)


def binary(primitive: Elementwise, x: Any, y: Any) -> Value:
    """Apply an elementwise primitive to two operands that fit strictly."""
    arrays = isinstance(x, ArrayLike) and isinstance(y, ArrayLike)
    if (
        arrays and x.dtype == y.dtype and x.shape == y.shape
    ):  # what is left to find out is little
        _check_dtypes(primitive, x.dtype)
        return primitive(x, y)
    return nary(primitive, x, y)


def nary(primitive: Elementwise, *xs: Any) -> Value:
    """Apply an elementwise primitive to operands that fit strictly."""
    operands = matched(primitive.name, xs)
    _check_dtypes(primitive, *(x.dtype for x in operands if type(x) not in _SCALARS))
    check_shapes(primitive.name, operands)
    return primitive(*operands)


def matched(name: str, xs: Sequence[Any]) -> list[Value]:
    """Operands of one dtype: arrays, and Python scalars that take it (at least one array).

    Raises:
      DTypeError: when their dtypes differ, and not only by weakness.
    """
    operands = [x if type(x) in _SCALARS else as_array(x) for x in xs]
    arrays = [x for x in operands if type(x) not in _SCALARS]
    if not arrays:
        arrays = operands = [as_array(x) for x in operands]
    dtype = next((x.dtype for x in arrays if not x.weak_type), arrays[0].dtype)
    kind = dtypes.kind(dtype)
    out = []
    for x in operands:
        if type(x) in _SCALARS:
            fits = kind in _TAKES[_KIND_OF_SCALAR[type(x)]]
        elif x.dtype == dtype:
            fits = True
        else:
            fits = x.weak_type and kind in _TAKES[dtypes.kind(x.dtype)]
            x = convert(x, dtype=dtype) if fits else x
        if not fits:
            raise _mismatch(name, operands)
        out.append(x)
    return out


def same(name: str, *xs: Any) -> list[Value]:
    """Operands as arrays of one dtype."""
    operands = matched(name, xs)
    dtype = next(x.dtype for x in operands if type(x) not in _SCALARS)
    return [convert(as_array(x), dtype=dtype) if type(x) in _SCALARS else x for x in operands]


def _mismatch(name: str, operands: Sequence[Any]) -> errors.DTypeError:
    words = ", ".join(
        f"Python {type(x).__name__}" if type(x) in _SCALARS else x.dtype.name for x in operands
    )
    return errors.DTypeError(
        f"lax.{name} needs operands of one dtype, got {words}. The functions of wengert.numpy "
        "promote; those of lax do not: convert with x.astype(dtype)."
    )


def check_shapes(name: str, operands: Sequence[Any]) -> None:
    """Raise unless the shapes are equal up to sizes of 1; scalars fit everything.

    Raises:
      ShapeError: for shapes that only NumPy's rule would broadcast, or nothing.
    """
    shapes = [x.shape for x in operands if type(x) not in _SCALARS and x.shape]
    first = shapes[0] if shapes else ()
    for shape in shapes:
        if shape == first:
            continue
        fits = len(shape) == len(first) and all(
            1 in (n, m) or n == m for n, m in zip(shape, first, strict=True)
        )
        if not fits:
            raise errors.ShapeError(
                f"lax.{name} got operands of shapes {' and '.join(map(str, shapes))}. "
                "They must have equally many dimensions, of equal sizes or 1: lax does not add "
                "dimensions; wengert.numpy and lax.broadcast_in_dim do."
            )
