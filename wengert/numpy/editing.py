"""Inserting and deleting elements, and trimming zeros.

The positions may be traced where the size of the result does not depend on their values: when
elements are inserted, and when one element, or elements promised to be different, are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, as_array
from wengert.numpy.arrays import asarray
from wengert.numpy.axes import axes_of, axis_of
from wengert.numpy.indexing import as_indices, getitem, position_dtype, positions
from wengert.numpy.layout import broadcast_to, moveaxis, ravel
from wengert.numpy.promotion import promote, to_dtype
from wengert.numpy.sorting import argsort, sort
from wengert.primitives import basis
from wengert.primitives.basis import add, reduce_sum
from wengert.primitives.cast import convert
from wengert.primitives.compare import ge, lt, ne, select
from wengert.primitives.elementwise import sub
from wengert.primitives.index import gather, scatter
from wengert.primitives.shape import iota

Value = Any


def _positions(obj: Any, n: int) -> Value:
    """What to insert at or delete, as an array of positions, negative ones counted."""
    if isinstance(obj, slice):
        return Array(np.arange(*obj.indices(n)))
    places = asarray(obj)
    if places.dtype == dtypes.BOOL:
        if places.shape != (n,):
            raise errors.ArrayIndexError(
                f"a mask along an axis of size {n} needs shape ({n},), got {places.shape}."
            )
        (places,) = positions(places, "a mask of positions")
    elif places.size == 0:
        places = to_dtype(places, dtypes.INT32)
    return as_indices(places, "the positions")


def _checked(places: Value, n: int, limit: int) -> Value:
    """Positions from 0; concrete ones stay so, and are checked to lie in [-n, limit)."""
    if type(places) is not Array:
        return select(lt(places, 0), add(places, n), places)
    values = np.asarray(places._value)
    bad = values[(values < -n) | (values >= limit)]
    if bad.size:
        raise errors.ArrayIndexError(
            f"index {bad[0]} is out of bounds for an axis with size {n}."
        )
    return Array(np.where(values < 0, values + n, values))


def _along(a: Value, places: Value, axis: int) -> Value:
    return getitem(a, (slice(None),) * axis + (places,))


def delete(
    arr: Any, obj: Any, axis: int | None = None, *, assume_unique_indices: bool = False
) -> Value:
    """The array without some slices along an axis.

    Args:
      arr: an array.
      obj: what to delete: an integer, integers, a slice or a mask.
      axis: the axis; None flattens the array first.
      assume_unique_indices: a promise that no position occurs twice; then several positions may
        be traced.

    >>> import wengert.numpy as wnp
    >>> wnp.delete(wnp.array([4, 5, 6]), 1)
    Array([4, 6], dtype=int32)
    """
    a = as_array(arr)
    if axis is None:
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    n = a.shape[axis]
    places = _checked(_positions(obj, n), n, n)
    if type(places) is Array:
        keep = np.ones(n, np.bool_)
        keep[places._value] = False
        return _along(a, Array(np.flatnonzero(keep)), axis)
    places, count = ravel(places), places.size
    if count != 1 and not assume_unique_indices:
        known = places.concrete("delete at several positions (give assume_unique_indices=True)")
        return delete(a, known, axis)
    # an element that stays is preceded by as many deleted ones as are passed on the way to it
    numbers = iota(dtype=position_dtype(n), shape=(count,), dimension=0)
    passed = sub(sort(to_dtype(places, numbers.dtype)), numbers)
    kept = iota(dtype=numbers.dtype, shape=(n - count, 1), dimension=0)
    skipped = reduce_sum(convert(ge(kept, passed), dtype=numbers.dtype), axes=(1,))
    return _along(a, add(basis.reshape(kept, shape=(n - count,)), skipped), axis)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Value:
    """The array with values inserted before given positions.

    Args:
      arr: an array.
      obj: before which positions of the array: an integer, integers, a slice or a mask.
      values: what to insert; it broadcasts. A single integer position takes slices as they are.
      axis: the axis; None flattens the array first.

    >>> import wengert.numpy as wnp
    >>> wnp.insert(wnp.array([1, 2, 3]), 1, 9)
    Array([1, 9, 2, 3], dtype=int32)
    """
    a, new = as_array(arr), asarray(values)
    if axis is None:
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    n = a.shape[axis]
    positions = _positions(obj, n)
    places = _checked(positions, n, n + 1)
    rank = len(a.shape)
    if len(new.shape) > rank:
        raise errors.ShapeError(
            f"cannot insert values of shape {new.shape} into shape {a.shape}."
        )
    new = basis.reshape(new, shape=(1,) * (rank - len(new.shape)) + new.shape)
    if (
        not places.shape
    ):  # one integer: values are slices, their first axis the one along `axis`
        new = moveaxis(new, 0, axis)
    count = new.shape[axis] if places.size == 1 else places.size
    places = broadcast_to(ravel(places), (count,))
    kept, new = promote(a, new)
    dtype = position_dtype(n + count)
    order = argsort(places)
    numbers = iota(dtype=dtype, shape=(count,), dimension=0)
    ordered = add(to_dtype(gather(places, order, axes=(0,)), dtype), numbers)
    targets = scatter(numbers, ordered, order, axes=(0,), mode="error")
    return _merged(kept, new, targets, axis)


def _merged(a: Value, new: Value, targets: Value, axis: int) -> Value:
    """An array with the slices of `new` at the positions `targets` of the result."""
    count, n = targets.size, a.shape[axis]
    total = n + count
    inserted = scatter(
        basis.full(shape=(total,), value=0, dtype=targets.dtype),
        basis.full(shape=(count,), value=1, dtype=targets.dtype),
        targets,
        axes=(0,),
        mode="error",
    )
    (others,) = positions(lt(inserted, 1), "insert", n)
    shape = (*a.shape[:axis], count, *a.shape[axis + 1 :])
    new = broadcast_to(new, shape)
    wide = (*a.shape[:axis], total, *a.shape[axis + 1 :])
    out = basis.full(shape=wide, value=0, dtype=a.dtype)
    for part, places in ((a, others), (new, targets)):
        updates = basis.move_axis(part, axis, 0)
        out = scatter(out, updates, places, axes=(axis,), mode="error")
    return out


def trim_zeros(filt: Any, trim: str = "fb", axis: int | Sequence[int] | None = None) -> Value:
    """The array without the zeros at its ends; it must be concrete.

    Args:
      filt: an array.
      trim: "f" for the front, "b" for the back, or both.
      axis: along which axes; None means all.

    >>> import wengert.numpy as wnp
    >>> wnp.trim_zeros(wnp.array([0, 0, 1, 0, 2, 0]))
    Array([1, 0, 2], dtype=int32)
    """
    a = asarray(filt)
    wanted = trim.lower()
    if wanted not in ("f", "b", "fb", "bf"):
        raise ValueError(f"trim must be 'f', 'b' or 'fb', got {trim!r}.")
    mask = ne(a, 0)
    if type(mask) is not Array:
        mask = mask.concrete("trim_zeros")
    found = np.nonzero(np.asarray(mask._value))
    index = [slice(None)] * len(a.shape)
    for i in axes_of(axis, len(a.shape)):
        places = found[i]
        if places.size == 0:
            index[i] = slice(0, 0)
            continue
        start = int(places.min()) if "f" in wanted else None
        stop = int(places.max()) + 1 if "b" in wanted else None
        index[i] = slice(start, stop)
    return getitem(a, tuple(index))
