"""Shapes: making, reshaping, permuting, joining and splitting arrays.

Nothing here looks at the numbers (but `full` takes one), so all of it is linear. Dimensions are
counted from 0, negative ones from the end. Sizes are never computed for the user: `reshape`
takes no -1, `broadcast_in_dim` says which dimension goes where.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.core.primitive import Value
from wengert.lax.operands import same
from wengert.numpy.axes import axes_of, axis_of, integers, shape_of
from wengert.primitives import basis, cast
from wengert.primitives import shape as structural

# -- new arrays --------------------------------------------------------------------------------


def full(
    shape: Sequence[int], fill_value: Any, dtype: DTypeLike = None, *, sharding: Any = None
) -> Value:
    """An array of one value.

    Args:
      shape: its dimensions.
      fill_value: a scalar.
      dtype: dtype of the result; by default that of `fill_value`.
      sharding: accepted and without effect: there is one device.

    >>> full((2,), 1.5)
    Array([1.5, 1.5], dtype=float32, weak_type=True)
    """
    sizes = shape_of(shape)
    target, weak = dtypes.dtype_of(fill_value)
    if dtype is not None:
        target, weak = dtypes.as_dtype(dtype), False
    if isinstance(fill_value, dtypes.SCALAR_TYPES):
        return basis.full(shape=sizes, value=fill_value, dtype=target, weak=weak)
    value = as_array(fill_value)
    if value.shape:
        raise errors.ShapeError(
            f"lax.full needs a scalar, got an array of shape {value.shape}."
        )
    if value.dtype != target:
        value = cast.convert(value, dtype=target)
    return basis.broadcast_to(value, sizes)


def full_like(
    x: Any,
    fill_value: Any,
    dtype: DTypeLike = None,
    shape: Sequence[int] | None = None,
    sharding: Any = None,
) -> Value:
    """An array of one value, with shape and dtype of `x` where no others are given.

    >>> full_like(full((2,), 1.5), 3)
    Array([3., 3.], dtype=float32, weak_type=True)
    """
    x = as_array(x)
    sizes = x.shape if shape is None else shape_of(shape)
    if dtype is None and x.weak_type and isinstance(fill_value, dtypes.SCALAR_TYPES):
        return basis.full(shape=sizes, value=fill_value, dtype=x.dtype, weak=True)
    return full(sizes, fill_value, x.dtype if dtype is None else dtype)


def empty(shape: Sequence[int], dtype: DTypeLike) -> Value:
    """An array of zeros: nothing here is left to chance.

    >>> empty((2,), "float32")
    Array([0., 0.], dtype=float32)
    """
    return full(shape, 0, dtype)


def iota(dtype: DTypeLike, size: int) -> Value:
    """The numbers 0, 1, ... size - 1.

    >>> iota("float32", 3)
    Array([0., 1., 2.], dtype=float32)
    """
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: DTypeLike, shape: Sequence[int], dimension: int) -> Value:
    """An array of the positions along one of its dimensions.

    >>> broadcasted_iota("int32", (2, 3), 1)
    Array([[0, 1, 2],
           [0, 1, 2]], dtype=int32)
    """
    sizes = shape_of(shape)
    axis = axis_of(dimension, len(sizes))
    return structural.iota(dtype=dtypes.as_dtype(dtype), shape=sizes, dimension=axis)


# -- broadcasting ------------------------------------------------------------------------------


def broadcast(operand: Any, sizes: Sequence[int]) -> Value:
    """The array repeated along new leading dimensions.

    >>> broadcast(iota("int32", 2), (3,)).shape
    (3, 2)
    """
    operand = as_array(operand)
    return basis.broadcast_to(operand, (*shape_of(sizes), *operand.shape))


def broadcast_in_dim(
    operand: Any, shape: Sequence[int], broadcast_dimensions: Sequence[int]
) -> Value:
    """The array repeated to a shape, its dimensions placed explicitly.

    Args:
      operand: an array.
      shape: the shape of the result.
      broadcast_dimensions: for each dimension of the operand, its place in the result, in
        increasing order. Sizes are equal, or 1 in the operand.

    >>> broadcast_in_dim(iota("int32", 2), (2, 3), (0,))
    Array([[0, 0, 0],
           [1, 1, 1]], dtype=int32)
    """
    sizes = shape_of(shape)
    places = axes_of(tuple(broadcast_dimensions), len(sizes))
    operand = as_array(operand)
    _check_broadcast(operand.shape, sizes, places)
    return basis.broadcast_in_dim(operand, shape=sizes, broadcast_dimensions=places)


def _check_broadcast(shape: Shape, sizes: Shape, places: Shape) -> None:
    fits = len(places) == len(shape) and list(places) == sorted(places)
    if not fits or any(n not in (1, sizes[d]) for n, d in zip(shape, places, strict=True)):
        raise errors.ShapeError(
            f"cannot broadcast shape {shape} into {sizes} along dimensions {places}: one place "
            "per dimension, in increasing order, and sizes equal or 1."
        )


def broadcast_shapes(*shapes: Sequence[int]) -> Shape:
    """The shape to which shapes broadcast by NumPy's rule.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return basis.broadcast_shape([shape_of(s) for s in shapes], "broadcast_shapes")


def broadcast_to_rank(x: Any, rank: int) -> Value:
    """The array with dimensions of size 1 put in front until there are `rank`.

    >>> broadcast_to_rank(iota("int32", 2), 3).shape
    (1, 1, 2)
    """
    x = as_array(x)
    if rank < len(x.shape):
        raise errors.ShapeError(
            f"broadcast_to_rank cannot bring shape {x.shape} to rank {rank}."
        )
    return basis.reshape(x, shape=(1,) * (rank - len(x.shape)) + x.shape)


def broadcast_like(arr: Any, like_arr: Any) -> Value:
    """The array broadcast to the shape of another one, by NumPy's rule.

    >>> broadcast_like(1.0, iota("int32", 2))
    Array([1., 1.], dtype=float32, weak_type=True)
    """
    return basis.broadcast_to(as_array(arr), as_array(like_arr).shape)


# -- other shapes of the same numbers ----------------------------------------------------------


def reshape(
    operand: Any, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None
) -> Value:
    """The same elements, in row-major order, in another shape.

    Args:
      operand: an array.
      new_sizes: the new shape; no size is left out.
      dimensions: a permutation of the dimensions that is done first.

    >>> reshape(iota("int32", 4), (2, 2))
    Array([[0, 1],
           [2, 3]], dtype=int32)
    """
    operand = as_array(operand)
    sizes = shape_of(new_sizes)
    if dimensions is not None:
        operand = transpose(operand, dimensions)
    if math.prod(sizes) != math.prod(operand.shape):
        raise errors.ShapeError(
            f"cannot reshape an array of shape {operand.shape} into {sizes}: the number of "
            "elements differs."
        )
    return basis.reshape(operand, shape=sizes)


def collapse(operand: Any, start_dimension: int, stop_dimension: int | None = None) -> Value:
    """The array with a range of its dimensions merged into one.

    >>> collapse(broadcast(1.0, (2, 3, 4)), 0, 2).shape
    (6, 4)
    """
    operand = as_array(operand)
    start, stop, _ = slice(start_dimension, stop_dimension).indices(len(operand.shape))
    if stop <= start:
        raise errors.ShapeError(
            f"collapse needs a range of dimensions, got {start_dimension} to {stop_dimension} "
            f"of shape {operand.shape}."
        )
    merged = math.prod(operand.shape[start:stop])
    return basis.reshape(operand, shape=(*operand.shape[:start], merged, *operand.shape[stop:]))


def expand_dims(array: Any, dimensions: Sequence[int]) -> Value:
    """The array with dimensions of size 1 at these places of the result.

    >>> expand_dims(iota("int32", 3), (0, -1)).shape
    (1, 3, 1)
    """
    array = as_array(array)
    places = axes_of(tuple(dimensions), len(array.shape) + len(tuple(dimensions)))
    rest = iter(array.shape)
    rank = len(array.shape) + len(places)
    sizes = tuple(1 if i in places else next(rest) for i in range(rank))
    return basis.reshape(array, shape=sizes)


def squeeze(array: Any, dimensions: Sequence[int]) -> Value:
    """The array without some of its dimensions, which have size 1.

    >>> squeeze(broadcast(1.0, (1, 3, 1)), (0,)).shape
    (3, 1)
    """
    array = as_array(array)
    places = axes_of(tuple(dimensions), len(array.shape))
    if any(array.shape[d] != 1 for d in places):
        raise errors.ShapeError(
            f"squeeze removes dimensions of size 1, got dimensions {tuple(dimensions)} of "
            f"shape {array.shape}."
        )
    return basis.reshape(
        array, shape=tuple(n for i, n in enumerate(array.shape) if i not in places)
    )


def transpose(operand: Any, permutation: Sequence[int]) -> Value:
    """The array with its dimensions in another order.

    >>> transpose(broadcast(1.0, (2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    operand = as_array(operand)
    order = integers(permutation)
    if len(order) != len(operand.shape):
        raise errors.ShapeError(
            f"{order} is not a permutation of the dimensions of shape {operand.shape}."
        )
    return basis.transpose(operand, permutation=axes_of(order, len(order)))


def rev(operand: Any, dimensions: Sequence[int]) -> Value:
    """The array read backwards along some dimensions.

    >>> rev(iota("int32", 3), (0,))
    Array([2, 1, 0], dtype=int32)
    """
    operand = as_array(operand)
    return structural.rev(operand, dimensions=axes_of(tuple(dimensions), len(operand.shape)))


# -- joining, splitting, repeating, padding ----------------------------------------------------


def concatenate(operands: Sequence[Any], dimension: int) -> Value:
    """Arrays of one dtype, one after the other along a dimension.

    >>> concatenate([iota("int32", 2), iota("int32", 3)], 0)
    Array([0, 1, 0, 1, 2], dtype=int32)
    """
    arrays = same("concatenate", *operands)
    axis = axis_of(dimension, len(arrays[0].shape))
    rests = {a.shape[:axis] + a.shape[axis + 1 :] for a in arrays}
    if len(rests) > 1 or len({len(a.shape) for a in arrays}) > 1:
        raise errors.ShapeError(
            f"concatenate along dimension {axis} needs shapes that are equal in all other "
            f"dimensions, got {', '.join(str(a.shape) for a in arrays)}."
        )
    return arrays[0] if len(arrays) == 1 else structural.concatenate(*arrays, dimension=axis)


def stack(operands: Sequence[Any], axis: int = 0) -> Value:
    """Arrays of one shape and dtype, stacked along a new dimension.

    >>> stack([iota("int32", 2), iota("int32", 2)], axis=1)
    Array([[0, 0],
           [1, 1]], dtype=int32)
    """
    arrays = same("stack", *operands)
    place = axis_of(axis, len(arrays[0].shape) + 1)
    return concatenate([expand_dims(a, (place,)) for a in arrays], place)


def unstack(x: Any, axis: int = 0) -> tuple[Value, ...]:
    """The slices of an array along a dimension, without that dimension.

    >>> unstack(iota("int32", 2))
    (Array(0, dtype=int32), Array(1, dtype=int32))
    """
    x = as_array(x)
    place = axis_of(axis, len(x.shape))
    parts = split(x, (1,) * x.shape[place], place)
    return tuple(squeeze(part, (place,)) for part in parts)


def split(operand: Any, sizes: Sequence[int], axis: int = 0) -> list[Value]:
    """The array cut into parts of given sizes along a dimension.

    >>> split(iota("int32", 5), (2, 3))
    [Array([0, 1], dtype=int32), Array([2, 3, 4], dtype=int32)]
    """
    operand = as_array(operand)
    place = axis_of(axis, len(operand.shape))
    lengths = shape_of(tuple(sizes))
    if sum(lengths) != operand.shape[place]:
        raise errors.ShapeError(
            f"split needs sizes that sum to {operand.shape[place]}, the size of dimension "
            f"{place}; got {lengths}."
        )
    starts, limits = [0] * len(operand.shape), list(operand.shape)
    parts = []
    for end in itertools.accumulate(lengths):
        limits[place] = end
        parts.append(
            structural.slice_(operand, start_indices=tuple(starts), limit_indices=tuple(limits))
        )
        starts[place] = end
    return parts


def tile(operand: Any, reps: Sequence[int]) -> Value:
    """The array repeated as a whole along each dimension.

    >>> tile(iota("int32", 2), (2,))
    Array([0, 1, 0, 1], dtype=int32)
    """
    operand = as_array(operand)
    counts = shape_of(tuple(reps))
    if len(counts) != len(operand.shape):
        raise errors.ShapeError(
            f"tile needs one count per dimension of shape {operand.shape}, got {counts}."
        )
    pairs = [x for pair in zip(counts, operand.shape, strict=True) for x in pair]
    places = tuple(range(1, len(pairs), 2))
    spread = basis.broadcast_in_dim(operand, shape=tuple(pairs), broadcast_dimensions=places)
    sizes = np.multiply(counts, operand.shape).tolist()
    return basis.reshape(spread, shape=tuple(sizes))


def pad(
    operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]
) -> Value:
    """The array with a value around it and between its elements.

    Args:
      operand: an array.
      padding_value: a scalar of the same dtype.
      padding_config: for each dimension how many elements are added before, after, and between
        neighbours. The first two may be negative, which removes elements.

    >>> pad(iota("int32", 3), 7, [(1, 0, 1)])
    Array([7, 0, 7, 1, 7, 2], dtype=int32)
    """
    operand, value = same("pad", operand, padding_value)
    config = tuple(tuple(integers(triple)) for triple in padding_config)
    if value.shape or any(len(triple) != 3 for triple in config):
        raise errors.ShapeError(
            "pad needs a scalar padding value and (low, high, interior) for each dimension, "
            f"got shape {value.shape} and {config}."
        )
    return structural.pad(operand, value, padding_config=config)
