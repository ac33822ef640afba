"""Joining arrays, and splitting them: concatenate, stack, block, split and their relatives.

Operands are promoted to a common dtype, as everywhere in the NumPy interface. The positions at
which an array is split are concrete numbers: they decide shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayLike, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.axes import axis_of, integers
from wengert.numpy.layout import atleast_1d, atleast_2d, atleast_3d, ravel
from wengert.numpy.promotion import promote, to_dtype
from wengert.primitives import basis
from wengert.primitives import shape as primitives

Value = Any


# -- joining ---------------------------------------------------------------------------------


def _operands(name: str, arrays: Any, dtype: DTypeLike) -> list[Value]:
    """The arrays of a sequence, or the rows of an array, in one dtype."""
    if isinstance(arrays, ArrayLike | np.ndarray):
        arrays = unstack(arrays)
    elif not isinstance(arrays, Sequence):
        raise TypeError(
            f"{name} takes a sequence of arrays, got {type(arrays).__name__}. Write "
            f"{name}([a, b]), or {name}(list(...)) of an iterator."
        )
    if len(arrays) == 0:
        raise ValueError(f"{name} needs at least one array.")
    if dtype is not None:
        target = dtypes.as_dtype(dtype)
        return [to_dtype(as_array(a), target) for a in arrays]
    return promote(*arrays)


def concatenate(arrays: Any, axis: int | None = 0, dtype: DTypeLike = None) -> Value:
    """Arrays one after the other along an axis they have.

    Args:
      arrays: a sequence of arrays whose shapes agree in all other axes.
      axis: the axis; None flattens the arrays first.
      dtype: the dtype of the result; by default that of the promotion.

    Raises:
      ShapeError: when the shapes do not fit.

    >>> import wengert.numpy as wnp
    >>> wnp.concatenate([wnp.array([1, 2]), wnp.array([3])])
    Array([1, 2, 3], dtype=int32)
    """
    operands = _operands("concatenate", arrays, dtype)
    if axis is None:
        operands = [ravel(a) for a in operands]
    if any(len(a.shape) == 0 for a in operands):
        raise errors.ShapeError(
            "concatenate needs arrays with at least one axis; use stack for scalars."
        )
    dimension = axis_of(0 if axis is None else axis, len(operands[0].shape))
    if len(operands) == 1:
        return operands[0]
    return primitives.concatenate(*operands, dimension=dimension)


def concat(arrays: Any, /, *, axis: int | None = 0) -> Value:
    """Arrays one after the other along an axis: the array API's name for `concatenate`.

    >>> concat([np.zeros(2), np.ones(1)]).shape
    (3,)
    """
    return concatenate(arrays, axis=axis)


def append(arr: Any, values: Any, axis: int | None = None) -> Value:
    """`values` after `arr` along an axis; both are flattened when `axis` is None.

    >>> import wengert.numpy as wnp
    >>> wnp.append(wnp.array([1, 2]), 3)
    Array([1, 2, 3], dtype=int32)
    """
    if axis is None:
        return concatenate([ravel(arr), ravel(values)])
    return concatenate([arr, values], axis=axis)


def stack(arrays: Any, axis: int = 0, out: None = None, dtype: DTypeLike = None) -> Value:
    """Arrays of one shape side by side along a new axis.

    Args:
      arrays: a sequence of arrays.
      axis: the position of the new axis in the result.
      out: not supported.
      dtype: the dtype of the result; by default that of the promotion.

    >>> import wengert.numpy as wnp
    >>> wnp.stack([wnp.array([1, 2]), wnp.array([3, 4])], axis=1)
    Array([[1, 3],
           [2, 4]], dtype=int32)
    """
    refuse_out("stack", out)
    operands = _operands("stack", arrays, dtype)
    shape = operands[0].shape
    if any(a.shape != shape for a in operands):
        raise errors.ShapeError(
            "stack needs arrays of one shape, got "
            f"{', '.join(str(a.shape) for a in operands)}. Use concatenate along an axis that "
            "differs."
        )
    dimension = axis_of(axis, len(shape) + 1)
    new = (*shape[:dimension], 1, *shape[dimension:])
    columns = [basis.reshape(a, shape=new) for a in operands]
    return (
        columns[0]
        if len(columns) == 1
        else primitives.concatenate(*columns, dimension=dimension)
    )


def refuse_out(name: str, out: Any) -> None:
    """Raise where NumPy's `out=` is given: arrays are immutable."""
    if out is not None:
        raise TypeError(f"{name} has no out=: arrays are immutable. Use its result instead.")


def hstack(tup: Any, dtype: DTypeLike = None) -> Value:
    """Arrays side by side: along axis 1, vectors along axis 0.

    >>> hstack([np.zeros((2, 1)), np.zeros((2, 3))]).shape
    (2, 4)
    """
    arrays = [atleast_1d(a) for a in _sequence("hstack", tup)]
    axis = 0 if arrays and len(arrays[0].shape) == 1 else 1
    return concatenate(arrays, axis=axis, dtype=dtype)


def vstack(tup: Any, dtype: DTypeLike = None) -> Value:
    """Arrays on top of each other: along axis 0; vectors become rows.

    >>> vstack([np.zeros(3), np.zeros((2, 3))]).shape
    (3, 3)
    """
    return concatenate([atleast_2d(a) for a in _sequence("vstack", tup)], dtype=dtype)


def dstack(tup: Any, dtype: DTypeLike = None) -> Value:
    """Arrays behind each other: along axis 2, which is added where it is missing.

    >>> dstack([np.zeros((2, 3)), np.zeros((2, 3))]).shape
    (2, 3, 2)
    """
    arrays = [atleast_3d(a) for a in _sequence("dstack", tup)]
    return concatenate(arrays, axis=2, dtype=dtype)


def column_stack(tup: Any) -> Value:
    """Vectors as the columns of a matrix; matrices are put side by side.

    >>> column_stack([np.zeros(3), np.zeros((3, 2))]).shape
    (3, 3)
    """
    arrays = [as_array(a) for a in _sequence("column_stack", tup)]
    columns = [a if len(a.shape) >= 2 else basis.reshape(a, shape=(a.size, 1)) for a in arrays]
    return concatenate(columns, axis=1)


def _sequence(name: str, arrays: Any) -> Sequence[Any]:
    if isinstance(arrays, ArrayLike | np.ndarray):
        return unstack(arrays)
    if not isinstance(arrays, Sequence):
        raise TypeError(f"{name} takes a sequence of arrays, got {type(arrays).__name__}.")
    return arrays


def block(arrays: Any) -> Value:
    """An array put together from nested lists of blocks.

    The innermost lists are joined along the last axis, the next along the second to last, and
    so on.

    >>> import wengert.numpy as wnp
    >>> wnp.block([[wnp.ones((1, 2)), wnp.zeros((1, 1))], [wnp.zeros((1, 3))]])
    Array([[1., 1., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    depth = _depth(arrays, "arrays")
    rank = max(depth, *(len(as_array(a).shape) for a in _blocks(arrays)))
    return _joined(arrays, depth, rank)


def _blocks(arrays: Any) -> list[Any]:
    if not isinstance(arrays, list):
        return [arrays]
    return [leaf for item in arrays for leaf in _blocks(item)]


def _depth(arrays: Any, path: str) -> int:
    """How deeply lists are nested, the same everywhere."""
    if isinstance(arrays, tuple):
        raise TypeError(f"block takes nested lists, not tuples: {path} is a tuple.")
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError(f"block got an empty list: {path}.")
    depths = [_depth(item, f"{path}[{i}]") for i, item in enumerate(arrays)]
    if len(set(depths)) > 1:
        raise ValueError(f"block needs lists nested to one depth; {path} mixes {set(depths)}.")
    return 1 + depths[0]


def _joined(arrays: Any, depth: int, rank: int) -> Value:
    if depth == 0:
        a = as_array(arrays)
        return basis.reshape(a, shape=(1,) * (rank - len(a.shape)) + a.shape)
    return concatenate([_joined(item, depth - 1, rank) for item in arrays], axis=rank - depth)


# -- splitting -------------------------------------------------------------------------------


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Value, ...]:
    """The slices of an array along an axis, without that axis.

    >>> import wengert.numpy as wnp
    >>> wnp.unstack(wnp.array([[1, 2], [3, 4]]), axis=1)
    (Array([1, 3], dtype=int32), Array([2, 4], dtype=int32))
    """
    x = as_array(x)
    if not x.shape:
        raise errors.ShapeError("unstack needs an array with at least one axis.")
    axis = axis_of(axis, len(x.shape))
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return tuple(
        basis.reshape(_between(x, i, i + 1, axis), shape=shape) for i in range(x.shape[axis])
    )


def _between(x: Value, start: int, limit: int, axis: int) -> Value:
    starts, limits = [0] * len(x.shape), list(x.shape)
    starts[axis], limits[axis] = start, limit
    return primitives.slice_(
        x, start_indices=tuple(starts), limit_indices=tuple(limits), strides=None
    )


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """An array in parts: in so many equal ones, or cut at the given positions.

    Raises:
      ShapeError: when equal parts are not possible; `array_split` makes unequal ones.

    >>> import wengert.numpy as wnp
    >>> wnp.split(wnp.arange(4), 2)
    [Array([0, 1], dtype=int32), Array([2, 3], dtype=int32)]
    """
    return _split("split", ary, indices_or_sections, axis, even=True)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """An array in parts: in so many, the first ones larger by one where needed, or cut at the
    given positions.

    >>> [part.shape for part in array_split(np.zeros(5), 3)]
    [(2,), (2,), (1,)]
    """
    return _split("array_split", ary, indices_or_sections, axis, even=False)


def _split(name: str, ary: Any, cuts: Any, axis: int, even: bool) -> list[Value]:
    a = as_array(ary)
    axis = axis_of(axis, len(a.shape))
    n = a.shape[axis]
    if np.ndim(cuts) == 0:
        (parts,) = integers(cuts)
        if parts <= 0:
            raise ValueError(f"{name} makes 1 part or more, got {parts}.")
        small, larger = divmod(n, parts)
        if even and larger:
            raise errors.ShapeError(
                f"{name} cannot divide axis {axis} of size {n} into {parts} equal parts; "
                "array_split makes unequal ones."
            )
        bounds = [i * small + min(i, larger) for i in range(parts + 1)]
    else:
        bounds = [0, *integers(cuts), n]
    ranges = [slice(*pair).indices(n) for pair in pairwise(bounds)]
    return [_between(a, first, max(first, last), axis) for first, last, _ in ranges]


def hsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """An array in parts along axis 1; a vector along axis 0.

    >>> [part.shape for part in hsplit(np.zeros((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    a = as_array(ary)
    return _split("hsplit", a, indices_or_sections, 0 if len(a.shape) == 1 else 1, even=True)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """An array in parts along axis 0.

    >>> [part.shape for part in vsplit(np.zeros((4, 2)), [1])]
    [(1, 2), (3, 2)]
    """
    return _split("vsplit", ary, indices_or_sections, 0, even=True)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """An array in parts along axis 2.

    >>> [part.shape for part in dsplit(np.zeros((1, 2, 4)), 2)]
    [(1, 2, 2), (1, 2, 2)]
    """
    return _split("dsplit", ary, indices_or_sections, 2, even=True)
