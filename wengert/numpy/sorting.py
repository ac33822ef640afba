"""Sorting, and searching in what is sorted.

NaN comes last, as in NumPy; complex numbers are ordered by real part, then imaginary part. All
sorts are stable unless told otherwise. What is sorted is differentiable; positions are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayLike, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.axes import axis_of
from wengert.numpy.indexing import as_indices, getitem, position_dtype
from wengert.numpy.joining import unstack
from wengert.numpy.layout import ravel
from wengert.numpy.promotion import promote, to_dtype
from wengert.primitives import sort as primitives
from wengert.primitives.shape import iota, rev

Value = Any


def _unsupported(name: str, kind: Any, order: Any) -> None:
    if kind is not None:
        raise TypeError(f"{name} has no kind=; stable=True or stable=False says what matters.")
    if order is not None:
        raise TypeError(f"{name} has no order=: arrays have no named fields.")


def _axis(a: Value, axis: int | None) -> tuple[Value, int]:
    """The array and the axis to sort; None flattens the array."""
    if axis is None:
        return ravel(a), 0
    return a, axis_of(axis, len(a.shape))


def sort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Value:
    """The array with its elements in rising order along an axis.

    Args:
      a: an array.
      axis: the axis; None flattens the array first.
      kind: not supported.
      order: not supported.
      stable: whether equal elements keep their order.
      descending: falling order instead (NaN then comes first).

    >>> import wengert.numpy as wnp
    >>> wnp.sort(wnp.array([3, 1, 2]))
    Array([1, 2, 3], dtype=int32)
    """
    _unsupported("sort", kind, order)
    a, dimension = _axis(as_array(a), axis)
    (out,) = primitives.sort(a, dimension=dimension, num_keys=1, is_stable=stable)
    return rev(out, dimensions=(dimension,)) if descending else out


def argsort(
    a: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    dtype: DTypeLike = None,
) -> Value:
    """The positions that sort an array along an axis.

    Args:
      a: an array.
      axis: the axis; None flattens the array first.
      kind: not supported.
      order: not supported.
      stable: whether equal elements keep their order, also in falling order.
      descending: falling order instead.
      dtype: the dtype of the positions, by default int32.

    >>> import wengert.numpy as wnp
    >>> wnp.argsort(wnp.array([3, 1, 2]))
    Array([1, 2, 0], dtype=int32)
    """
    _unsupported("argsort", kind, order)
    a, dimension = _axis(as_array(a), axis)
    wanted = position_dtype(a.shape[dimension]) if dtype is None else dtypes.as_dtype(dtype)
    places = iota(dtype=wanted, shape=a.shape, dimension=dimension)
    if descending:  # equal elements are turned around twice
        a, places = (rev(v, dimensions=(dimension,)) for v in (a, places))
    _, out = primitives.sort(a, places, dimension=dimension, num_keys=1, is_stable=stable)
    return rev(out, dimensions=(dimension,)) if descending else out


def lexsort(keys: Any, axis: int = -1) -> Value:
    """The positions that sort by several keys; the last key counts most.

    >>> import wengert.numpy as wnp
    >>> wnp.lexsort([wnp.array([2, 1, 0]), wnp.array([0, 1, 0])])
    Array([2, 0, 1], dtype=int32)
    """
    rows = unstack(keys) if isinstance(keys, ArrayLike | np.ndarray) else keys
    arrays = [as_array(key) for key in rows]
    if not arrays:
        raise TypeError("lexsort needs at least one key.")
    shape = arrays[0].shape
    if any(key.shape != shape for key in arrays):
        raise errors.ShapeError(
            f"lexsort needs keys of one shape, got {', '.join(str(k.shape) for k in arrays)}."
        )
    if not shape:
        raise errors.ShapeError("lexsort needs keys with at least one axis.")
    dimension = axis_of(axis, len(shape))
    places = iota(dtype=position_dtype(shape[dimension]), shape=shape, dimension=dimension)
    operands = (*arrays[::-1], places)
    count = len(arrays)
    return primitives.sort(*operands, dimension=dimension, num_keys=count, is_stable=True)[-1]


def _check_kth(a: Value, kth: Any, dimension: int) -> None:
    n = a.shape[dimension]
    for k in kth if isinstance(kth, Sequence) else (kth,):
        axis_of(k, n)


def partition(a: Any, kth: int, axis: int | None = -1) -> Value:
    """The array reordered along an axis, with element `kth` where sorting would put it.

    No element before it is greater, and none after it is less. (The axis is sorted as a whole.)

    >>> import wengert.numpy as wnp
    >>> wnp.partition(wnp.array([3, 1, 2]), 1)[1]
    Array(2, dtype=int32)
    """
    a, dimension = _axis(as_array(a), axis)
    _check_kth(a, kth, dimension)
    return sort(a, dimension)


def argpartition(a: Any, kth: int, axis: int | None = -1) -> Value:
    """The positions that partition an array along an axis.

    >>> import wengert.numpy as wnp
    >>> wnp.argpartition(wnp.array([3, 1, 2]), 1)[1]
    Array(2, dtype=int32)
    """
    a, dimension = _axis(as_array(a), axis)
    _check_kth(a, kth, dimension)
    return argsort(a, dimension)


def sort_complex(a: Any) -> Value:
    """The array sorted along its last axis, as complex numbers.

    >>> import wengert.numpy as wnp
    >>> wnp.sort_complex(wnp.array([2.0, 1.0]))
    Array([1.+0.j, 2.+0.j], dtype=complex64)
    """
    a = as_array(a)
    return sort(to_dtype(a, dtypes.complex_dtype(a.dtype)))


_SEARCH_METHODS = ("scan", "scan_unrolled", "sort", "compare_all", "default")


def searchsorted(
    a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "scan"
) -> Value:
    """Where elements would have to be inserted into a sorted vector to keep it sorted.

    Args:
      a: a sorted vector.
      v: what to insert, of any shape.
      side: "left" or "right" of elements that are equal.
      sorter: positions that sort `a`, if it is not sorted.
      method: accepted for JAX's sake; bisection is used.

    >>> import wengert.numpy as wnp
    >>> wnp.searchsorted(wnp.array([1, 3, 5]), 3)
    Array(1, dtype=int32)
    """
    if method not in _SEARCH_METHODS:
        raise ValueError(f"method must be one of {', '.join(_SEARCH_METHODS)}; got {method!r}.")
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}.")
    a, v = promote(a, v)
    if len(a.shape) != 1:
        raise errors.ShapeError(f"searchsorted needs a sorted vector, got shape {a.shape}.")
    if sorter is not None:
        a = getitem(a, as_indices(sorter, "searchsorted"))
    return primitives.searchsorted(a, v, side=side)
