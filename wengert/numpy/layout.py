"""Shapes: reordering, adding, removing, repeating and reversing dimensions.

Nothing here looks at the numbers, so everything is linear, differentiable and works alike on
arrays and tracers. Joining and splitting are in `joining`, padding in `padding`, insertion and
deletion in `editing`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core.array import Array, ArrayLike, Shape, as_array
from wengert.numpy.axes import axes_of, axis_of, integers, shape_of
from wengert.primitives import basis
from wengert.primitives.basis import broadcast_in_dim
from wengert.primitives.cast import convert
from wengert.primitives.cumulative import cumsum
from wengert.primitives.elementwise import sub
from wengert.primitives.index import gather, scatter_add
from wengert.primitives.shape import concatenate, iota, rev, slice_

Value = Any


# -- what there is ---------------------------------------------------------------------------


def ndim(a: Any) -> int:
    """The number of dimensions.

    >>> ndim(np.zeros((2, 3)))
    2
    """
    return len(shape(a))


def shape(a: Any) -> Shape:
    """The dimensions.

    >>> shape(np.zeros((2, 3)))
    (2, 3)
    """
    return a.shape if hasattr(a, "shape") else as_array(a).shape


def size(a: Any, axis: int | Sequence[int] | None = None) -> int:
    """The number of elements, or the product of the sizes of some axes.

    >>> size(np.zeros((2, 3))), size(np.zeros((2, 3)), 1)
    (6, 3)
    """
    sizes = shape(a)
    return math.prod(sizes[i] for i in axes_of(axis, len(sizes)))


# -- reshaping -------------------------------------------------------------------------------


def reshape(a: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Value:
    """The same elements in another shape.

    Args:
      a: an array.
      shape: an integer or a sequence of them; one of them may be -1 and is then computed.
      order: "C" reads and writes the last axis fastest, "F" the first.
      copy: accepted for NumPy's sake; arrays are immutable, so it makes no difference.

    Raises:
      ShapeError: when the number of elements would change.

    >>> import wengert.numpy as wnp
    >>> wnp.reshape(wnp.arange(6), (2, -1))
    Array([[0, 1, 2],
           [3, 4, 5]], dtype=int32)
    """
    del copy
    a = as_array(a)
    sizes = _completed(integers(shape), a)
    if order == "C":
        return a if sizes == a.shape else basis.reshape(a, shape=sizes)
    if order != "F":
        raise ValueError(f"order must be 'C' or 'F', got {order!r}.")
    return transpose(basis.reshape(transpose(a), shape=sizes[::-1]))


def _completed(sizes: Shape, a: Value) -> Shape:
    """The shape with its -1 replaced by what is left."""
    unknown = sizes.count(-1)
    known = math.prod(n for n in sizes if n != -1)
    if unknown > 1 or any(n < -1 for n in sizes):
        raise errors.ShapeError(f"a shape may hold one -1 and no other negative, got {sizes}.")
    count = a.size
    if unknown and known and count % known == 0:
        return tuple(count // known if n == -1 else n for n in sizes)
    if unknown or known != count:
        raise errors.ShapeError(
            f"cannot reshape an array of shape {a.shape} and size {count} into shape {sizes}."
        )
    return sizes


def ravel(a: Any, order: str = "C") -> Value:
    """The elements in one dimension.

    >>> import wengert.numpy as wnp
    >>> wnp.ravel(wnp.array([[1, 2], [3, 4]]), order="F")
    Array([1, 3, 2, 4], dtype=int32)
    """
    a = as_array(a)
    return reshape(a, (a.size,), order=order)


def expand_dims(a: Any, axis: int | Sequence[int]) -> Value:
    """The array with new dimensions of size 1 at the given positions of the result.

    >>> expand_dims(np.zeros((2, 3)), (0, -1)).shape
    (1, 2, 3, 1)
    """
    a = as_array(a)
    positions = integers(axis)
    new = axes_of(positions, len(a.shape) + len(positions))
    sizes = list(a.shape)
    for position in sorted(new):
        sizes.insert(position, 1)
    return basis.reshape(a, shape=tuple(sizes))


def squeeze(a: Any, axis: int | Sequence[int] | None = None) -> Value:
    """The array without dimensions of size 1: all of them, or those that `axis` names.

    Raises:
      ShapeError: when a named axis has another size.

    >>> squeeze(np.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    a = as_array(a)
    if axis is None:
        removed = tuple(i for i, n in enumerate(a.shape) if n == 1)
    else:
        removed = axes_of(axis, len(a.shape))
    for i in removed:
        if a.shape[i] != 1:
            raise errors.ShapeError(
                f"squeeze removes axes of size 1; axis {i} of shape {a.shape} has size "
                f"{a.shape[i]}."
            )
    if not removed:
        return a
    return basis.reshape(a, shape=tuple(n for i, n in enumerate(a.shape) if i not in removed))


# -- reordering ------------------------------------------------------------------------------


def transpose(a: Any, axes: Sequence[int] | None = None) -> Value:
    """The array with its axes reversed, or in the given order.

    >>> transpose(np.zeros((2, 3, 4)), (1, 0, 2)).shape
    (3, 2, 4)
    """
    a = as_array(a)
    rank = len(a.shape)
    order = tuple(range(rank))[::-1] if axes is None else axes_of(axes, rank)
    if len(order) != rank:
        raise errors.ShapeError(
            f"transpose needs every axis of shape {a.shape} once, got axes={axes!r}."
        )
    return a if order == tuple(range(rank)) else basis.transpose(a, permutation=order)


def permute_dims(a: Any, /, axes: Sequence[int]) -> Value:
    """The array with its axes in the given order.

    >>> permute_dims(np.zeros((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return transpose(a, axes)


def matrix_transpose(x: Any, /) -> Value:
    """The array with its last two axes swapped.

    >>> matrix_transpose(np.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """
    x = as_array(x)
    if len(x.shape) < 2:
        raise errors.ShapeError(f"matrix_transpose needs at least 2 axes, got shape {x.shape}.")
    return swapaxes(x, -1, -2)


def moveaxis(a: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Value:
    """The array with axes moved to other positions; the others keep their order.

    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    a = as_array(a)
    rank = len(a.shape)
    sources, targets = axes_of(integers(source), rank), axes_of(integers(destination), rank)
    if len(sources) != len(targets):
        raise errors.ShapeError(
            f"moveaxis needs as many destinations as sources, got {source} and {destination}."
        )
    order = [i for i in range(rank) if i not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return transpose(a, order)


def swapaxes(a: Any, axis1: int, axis2: int) -> Value:
    """The array with two axes exchanged.

    >>> swapaxes(np.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    a = as_array(a)
    order = list(range(len(a.shape)))
    i, j = axis_of(axis1, len(order)), axis_of(axis2, len(order))
    order[i], order[j] = j, i
    return transpose(a, order)


def rollaxis(a: Any, axis: int, start: int = 0) -> Value:
    """The array with an axis moved to just before position `start`.

    >>> rollaxis(np.zeros((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    a = as_array(a)
    rank = len(a.shape)
    source = axis_of(axis, rank)
    if not -rank <= start <= rank:
        raise errors.ShapeError(f"rollaxis takes start from {-rank} to {rank}, got {start}.")
    target = start + rank if start < 0 else start
    return moveaxis(a, source, target - (source < target))


# -- broadcasting ----------------------------------------------------------------------------


def broadcast_to(array: Any, shape: Any) -> Value:
    """The array repeated along new axes and axes of size 1, to the given shape.

    Raises:
      ShapeError: when it does not broadcast to that shape.

    >>> import wengert.numpy as wnp
    >>> wnp.broadcast_to(wnp.arange(2), (2, 2))
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    array, sizes = as_array(array), shape_of(shape)
    own = array.shape
    tail = sizes[len(sizes) - len(own) :] if len(own) <= len(sizes) else None
    if tail is None or any(n not in (1, m) for n, m in zip(own, tail, strict=True)):
        raise errors.ShapeError(
            f"cannot broadcast shape {own} to {sizes}: read from the right, sizes must be "
            "equal or 1."
        )
    return basis.broadcast_to(array, sizes)


def broadcast_shapes(*shapes: Any) -> Shape:
    """The shape that arrays of these shapes broadcast to.

    >>> broadcast_shapes((3, 1), (4,), 1)
    (3, 4)
    """
    if not shapes:
        return ()
    return basis.broadcast_shape([shape_of(s) for s in shapes], "broadcast_shapes")


def broadcast_arrays(*args: Any) -> list[Value]:
    """The arrays, each broadcast to the shape that all of them broadcast to.

    >>> [a.shape for a in broadcast_arrays(np.zeros((3, 1)), np.zeros(4))]
    [(3, 4), (3, 4)]
    """
    arrays = [as_array(a) for a in args]
    if not arrays:
        return []
    sizes = basis.broadcast_shape([a.shape for a in arrays], "broadcast_arrays")
    return [basis.broadcast_to(a, sizes) for a in arrays]


def _at_least(rank: int, arrays: tuple[Any, ...]) -> Any:
    """NumPy's rule: a matrix gets its third axis last, a vector stands in the middle."""
    if len(arrays) != 1:
        return [_at_least(rank, (a,)) for a in arrays]
    a = as_array(arrays[0])
    missing = rank - len(a.shape)
    if missing <= 0:
        return a
    after = rank == 3 and len(a.shape) > 0
    leading = missing - after
    return basis.reshape(a, shape=(1,) * leading + a.shape + (1,) * after)


def atleast_1d(*arys: Any) -> Any:
    """The arrays (or the one array) with at least one dimension.

    >>> atleast_1d(1.0)
    Array([1.], dtype=float32, weak_type=True)
    """
    return _at_least(1, arys)


def atleast_2d(*arys: Any) -> Any:
    """The arrays (or the one array) with at least two dimensions.

    >>> atleast_2d(np.zeros(3)).shape
    (1, 3)
    """
    return _at_least(2, arys)


def atleast_3d(*arys: Any) -> Any:
    """The arrays (or the one array) with at least three dimensions.

    >>> atleast_3d(np.zeros(3)).shape
    (1, 3, 1)
    """
    return _at_least(3, arys)


# -- repetition ------------------------------------------------------------------------------


def tile(A: Any, reps: int | Sequence[int]) -> Value:
    """The array repeated as a whole, `reps` times along each axis.

    >>> import wengert.numpy as wnp
    >>> wnp.tile(wnp.array([1, 2]), (2, 2))
    Array([[1, 2, 1, 2],
           [1, 2, 1, 2]], dtype=int32)
    """
    a, counts = as_array(A), shape_of(reps)
    rank = max(len(a.shape), len(counts))
    sizes = (1,) * (rank - len(a.shape)) + a.shape
    counts = (1,) * (rank - len(counts)) + counts
    if all(n == 1 for n in counts):
        return a if sizes == a.shape else basis.reshape(a, shape=sizes)
    pairs = list(zip(counts, sizes, strict=True))
    dims = tuple(range(1 + 2 * (rank - len(a.shape)), 2 * rank, 2))
    spread = broadcast_in_dim(
        a, shape=tuple(n for pair in pairs for n in pair), broadcast_dimensions=dims
    )
    return basis.reshape(spread, shape=tuple(count * n for count, n in pairs))


def repeat(
    a: Any, repeats: Any, axis: int | None = None, *, total_repeat_length: int | None = None
) -> Value:
    """Each element repeated, in place.

    Args:
      a: an array.
      repeats: how often: an integer, or one per position along the axis. Traced values need
        `total_repeat_length`.
      axis: along which axis; None flattens the array first.
      total_repeat_length: the size of the axis in the result. If it is larger than the sum of
        `repeats`, the last element fills up; if smaller, the end is cut off.

    >>> import wengert.numpy as wnp
    >>> wnp.repeat(wnp.array([1, 2, 3]), wnp.array([0, 1, 3]))
    Array([2, 3, 3, 3], dtype=int32)
    """
    a = as_array(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    count = a.shape[axis]
    if isinstance(repeats, ArrayLike) and type(repeats) is not Array:
        return _repeat_traced(a, repeats, axis, total_repeat_length)
    times = np.asarray(repeats)
    if times.dtype.kind not in "iu" and times.size:
        raise TypeError(f"repeats must be integers, got dtype {times.dtype}.")
    times = times.astype(np.int64)
    if (times < 0).any():
        raise ValueError("repeats must be 0 or more.")
    if times.ndim > 1 or times.size not in (1, count):
        raise errors.ShapeError(
            f"repeat along an axis of size {count} needs one count or {count} of them, got an "
            f"array of shape {times.shape}."
        )
    if times.size == 1 and total_repeat_length is None:
        return _repeat_evenly(a, int(times.reshape(())), axis)
    index = np.repeat(np.arange(count), times if times.ndim else times[None].repeat(count))
    if total_repeat_length is not None:
        index = _to_length(index, count, operator.index(total_repeat_length))
    return _taken(a, Array(index), axis)


def _repeat_evenly(a: Value, times: int, axis: int) -> Value:
    sizes = (*a.shape[: axis + 1], times, *a.shape[axis + 1 :])
    dims = tuple(i + (i > axis) for i in range(len(a.shape)))
    spread = broadcast_in_dim(a, shape=sizes, broadcast_dimensions=dims)
    new = (*a.shape[:axis], a.shape[axis] * times, *a.shape[axis + 1 :])
    return basis.reshape(spread, shape=new)


def _to_length(index: Any, count: int, length: int) -> Any:
    """Positions cut to a length, or filled up to it with the last position."""
    if length > index.size and count == 0:
        raise errors.ShapeError("repeat cannot fill up an axis that has no elements.")
    filling = np.full(max(0, length - index.size), count - 1)
    return np.concatenate([index[:length], filling])


def _repeat_traced(a: Value, repeats: Value, axis: int, length: int | None) -> Value:
    """Each element marks where its copies begin; counting the marks gives positions."""
    if length is None:
        known = repeats.concrete(
            "repeat (give total_repeat_length, the size of the result, or concrete repeats)"
        )
        return repeat(a, known, axis)
    length = operator.index(length)
    count = a.shape[axis]
    times = basis.broadcast_to(repeats, (count,))
    begins = sub(cumsum(times, axis=0, reverse=False), times)
    marks = scatter_add(
        basis.full(shape=(length,), value=0, dtype=times.dtype),
        basis.full(shape=(count,), value=1, dtype=times.dtype),
        begins,
        axes=(0,),
        mode="drop",
    )
    return _taken(a, sub(cumsum(marks, axis=0, reverse=False), 1), axis)


def _taken(a: Value, index: Value, axis: int, mode: str = "error") -> Value:
    return basis.move_axis(gather(a, index, axes=(axis,), mode=mode), 0, axis)


def resize(a: Any, new_shape: Any) -> Value:
    """The elements, repeated as often as needed, in a new shape of any size.

    >>> import wengert.numpy as wnp
    >>> wnp.resize(wnp.array([1, 2, 3]), (2, 2))
    Array([[1, 2],
           [3, 1]], dtype=int32)
    """
    flat, sizes = ravel(a), shape_of(new_shape)
    count = math.prod(sizes)
    if flat.size == 0:
        return basis.full(shape=sizes, value=0, dtype=flat.dtype)
    copies = tile(flat, -(-count // flat.size))
    return reshape(
        slice_(copies, start_indices=(0,), limit_indices=(count,), strides=None), sizes
    )


# -- reversal and rotation -------------------------------------------------------------------


def flip(m: Any, axis: int | Sequence[int] | None = None) -> Value:
    """The array read backwards along all axes, or along those that `axis` names.

    >>> import wengert.numpy as wnp
    >>> wnp.flip(wnp.arange(3))
    Array([2, 1, 0], dtype=int32)
    """
    m = as_array(m)
    return rev(m, dimensions=axes_of(axis, len(m.shape)))


def fliplr(m: Any) -> Value:
    """The array read backwards along axis 1.

    >>> import wengert.numpy as wnp
    >>> wnp.fliplr(wnp.array([[1, 2]]))
    Array([[2, 1]], dtype=int32)
    """
    return flip(m, 1)


def flipud(m: Any) -> Value:
    """The array read backwards along axis 0.

    >>> import wengert.numpy as wnp
    >>> wnp.flipud(wnp.array([1, 2]))
    Array([2, 1], dtype=int32)
    """
    return flip(m, 0)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Value:
    """The array rotated by `k` quarter turns, from the first of `axes` towards the second.

    >>> import wengert.numpy as wnp
    >>> wnp.rot90(wnp.array([[1, 2], [3, 4]]))
    Array([[2, 4],
           [1, 3]], dtype=int32)
    """
    m = as_array(m)
    pair = axes_of(axes, len(m.shape))
    if len(pair) != 2:
        raise errors.ShapeError(f"rot90 needs two axes, got axes={axes!r}.")
    first, second = pair
    turns = k % 4
    if turns == 0:
        return m
    if turns == 2:
        return flip(m, pair)
    if turns == 1:
        return swapaxes(flip(m, second), first, second)
    return flip(swapaxes(m, first, second), second)


def roll(a: Any, shift: Any, axis: int | Sequence[int] | None = None) -> Value:
    """The elements shifted along axes; what leaves at one end enters at the other.

    Args:
      a: an array.
      shift: by how much; an integer, or one per axis. It may be traced.
      axis: along which axes; None shifts the flattened array.

    >>> import wengert.numpy as wnp
    >>> wnp.roll(wnp.arange(4), 1)
    Array([3, 0, 1, 2], dtype=int32)
    """
    a = as_array(a)
    if axis is None:
        return basis.reshape(roll(ravel(a), shift, 0), shape=a.shape)
    axes = tuple(axis_of(i, len(a.shape)) for i in integers(axis))
    shifts = _shifts(shift, len(axes))
    if len(shifts) > len(axes):
        axes = axes * len(shifts)
    for i, amount in zip(axes, shifts, strict=True):
        a = _rolled(a, amount, i)
    return a


def _shifts(shift: Any, count: int) -> list[Any]:
    """One shift for each of `count` axes; or, for a single axis, all that are given."""
    if isinstance(shift, ArrayLike) and type(shift) is not Array:
        if shift.shape:
            rows = [
                slice_(shift, start_indices=(i,), limit_indices=(i + 1,), strides=None)
                for i in range(shift.shape[0])
            ]
            shifts = [basis.reshape(row, shape=()) for row in rows]
        else:
            shifts = [shift]
    elif isinstance(shift, tuple | list) and any(isinstance(s, ArrayLike) for s in shift):
        shifts = list(shift)
    else:
        shifts = list(integers(shift))
    if len(shifts) == 1:
        return shifts * count
    if count not in (1, len(shifts)):
        raise errors.ShapeError(f"roll got {len(shifts)} shifts for {count} axes.")
    return shifts


def _rolled(a: Value, shift: Any, axis: int) -> Value:
    n = a.shape[axis]
    if isinstance(shift, ArrayLike):
        places = iota(dtype=np.dtype(np.int64), shape=(n,), dimension=0)
        shift = convert(shift, dtype=places.dtype)
        return _taken(a, sub(places, shift), axis, mode="wrap")
    start = -shift % n if n else 0
    if start == 0:
        return a
    starts, limits = [0] * len(a.shape), list(a.shape)
    starts[axis] = limits[axis] = start
    head = slice_(
        a, start_indices=(0,) * len(starts), limit_indices=tuple(limits), strides=None
    )
    tail = slice_(a, start_indices=tuple(starts), limit_indices=a.shape, strides=None)
    return concatenate(tail, head, dimension=axis)
