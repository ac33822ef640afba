"""Slices at known and at computed positions, and elements at computed positions along axes.

Known positions (Python integers) are checked while tracing. Computed ones are checked when the
program runs: a slice that does not fit raises IndexError, in contrast to JAX, which moves it to
where it fits; `mode="clip"` asks for that. Negative positions count from the end.
General gathers and scatters are in `indexing`.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.primitive import Value
from wengert.lax.operands import same
from wengert.lax.structure import expand_dims, squeeze
from wengert.numpy.axes import axes_of, axis_of, integers, shape_of
from wengert.primitives import dynamic, sort
from wengert.primitives.basis import move_axis, neg
from wengert.primitives.index import gather
from wengert.primitives.shape import slice_

# -- known positions ---------------------------------------------------------------------------


def slice(
    operand: Any,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> Value:
    """The elements from `start_indices` up to `limit_indices`, `strides` apart.

    Raises:
      ShapeError: when the slice does not lie within the operand.

    >>> from wengert import lax
    >>> slice(lax.iota("int32", 6), (1,), (6,), (2,))
    Array([1, 3, 5], dtype=int32)
    """
    steps = None if strides is None else integers(strides)
    return slice_(
        as_array(operand),
        start_indices=integers(start_indices),
        limit_indices=integers(limit_indices),
        strides=steps,
    )


def slice_in_dim(
    operand: Any,
    start_index: int | None,
    limit_index: int | None,
    stride: int = 1,
    axis: int = 0,
) -> Value:
    """The elements from `start_index` up to `limit_index` along one axis.

    Args:
      operand: an array.
      start_index: the first position; None for 0. Negative ones count from the end.
      limit_index: the position after the last one; None for the size of the axis.
      stride: distance between elements.
      axis: the axis.

    >>> from wengert import lax
    >>> slice_in_dim(lax.iota("int32", 6), -3, None)
    Array([3, 4, 5], dtype=int32)
    """
    operand = as_array(operand)
    place = axis_of(axis, len(operand.shape))
    n = operand.shape[place]
    start = 0 if start_index is None else operator.index(start_index)
    limit = n if limit_index is None else operator.index(limit_index)
    rank = len(operand.shape)
    starts, limits, strides = [0] * rank, list(operand.shape), [1] * rank
    starts[place] = start + n if start < 0 else start
    limits[place] = limit + n if limit < 0 else limit
    strides[place] = operator.index(stride)
    return slice(operand, starts, limits, strides)


def index_in_dim(operand: Any, index: int, axis: int = 0, keepdims: bool = True) -> Value:
    """The elements at one position along an axis.

    Raises:
      ArrayIndexError: when there is no such position.

    >>> from wengert import lax
    >>> index_in_dim(lax.iota("int32", 6), -1, keepdims=False)
    Array(5, dtype=int32)
    """
    operand = as_array(operand)
    place = axis_of(axis, len(operand.shape))
    n, number = operand.shape[place], operator.index(index)
    if not -n <= number < n:
        raise errors.ArrayIndexError(
            f"index {number} is out of bounds for axis {place} with size {n}"
        )
    number %= n
    part = slice_in_dim(operand, number, number + 1, axis=place)
    return part if keepdims else squeeze(part, (place,))


# -- computed positions ------------------------------------------------------------------------


def _scalars(name: str, starts: Any, rank: int) -> list[Value]:
    """Start indices, a sequence of scalars or one array, as integer scalars."""
    if isinstance(starts, list | tuple):
        scalars = [as_array(s) for s in starts]
    else:
        array = as_array(starts)
        count = array.shape[0] if array.shape else 0
        scalars = [index_in_dim(array, i, keepdims=False) for i in range(count)]
    if len(scalars) != rank or any(s.shape for s in scalars):
        raise errors.ShapeError(
            f"lax.{name} needs {rank} scalar start indices, one per dimension, got "
            f"{', '.join(str(s.type) for s in scalars) or 'none'}."
        )
    if not all(dtypes.is_integer(s.dtype) for s in scalars):
        raise errors.DTypeError(f"lax.{name} needs integer start indices.")
    return scalars


def _along(rank: int, place: int, position: Any) -> list[Any]:
    """Start indices that are 0 except along one axis."""
    starts: list[Any] = [Array(np.int32(0))] * rank
    starts[place] = position
    return starts


def dynamic_slice(
    operand: Any, start_indices: Any, slice_sizes: Sequence[int], *, mode: str = "error"
) -> Value:
    """A slice of known sizes at computed positions.

    Args:
      operand: an array.
      start_indices: an integer scalar per dimension, or one array of them; negative ones count
        from the end.
      slice_sizes: the shape of the slice.
      mode: "error", or "clip" to move a slice that does not fit (as JAX does).

    Raises:
      ArrayIndexError: when the slice does not fit.

    >>> from wengert import lax
    >>> dynamic_slice(lax.iota("int32", 6), (2,), (3,))
    Array([2, 3, 4], dtype=int32)
    >>> dynamic_slice(lax.iota("int32", 6), (5,), (3,), mode="clip")
    Array([3, 4, 5], dtype=int32)
    """
    operand = as_array(operand)
    sizes = shape_of(tuple(slice_sizes))
    starts = _scalars("dynamic_slice", start_indices, len(operand.shape))
    _check_sizes("dynamic_slice", operand.shape, sizes)
    return dynamic.dynamic_slice(operand, *starts, slice_sizes=sizes, mode=mode)


def _check_sizes(name: str, shape: Shape, sizes: Shape) -> None:
    if len(sizes) != len(shape) or any(k > n for k, n in zip(sizes, shape, strict=True)):
        raise errors.ShapeError(f"lax.{name}: shape {shape} has no slice of shape {sizes}.")


def dynamic_slice_in_dim(
    operand: Any, start_index: Any, slice_size: int, axis: int = 0, *, mode: str = "error"
) -> Value:
    """`slice_size` elements from a computed position along one axis (see `dynamic_slice`).

    >>> from wengert import lax
    >>> dynamic_slice_in_dim(lax.iota("int32", 6), 2, 3)
    Array([2, 3, 4], dtype=int32)
    """
    operand = as_array(operand)
    place = axis_of(axis, len(operand.shape))
    sizes = list(operand.shape)
    sizes[place] = operator.index(slice_size)
    starts = _along(len(sizes), place, start_index)
    return dynamic_slice(operand, starts, sizes, mode=mode)


def dynamic_index_in_dim(
    operand: Any, index: Any, axis: int = 0, keepdims: bool = True, *, mode: str = "error"
) -> Value:
    """The elements at a computed position along an axis (see `dynamic_slice`).

    >>> from wengert import lax
    >>> dynamic_index_in_dim(lax.iota("int32", 6), -1, keepdims=False)
    Array(5, dtype=int32)
    """
    operand = as_array(operand)
    part = dynamic_slice_in_dim(operand, index, 1, axis, mode=mode)
    return part if keepdims else squeeze(part, (axis,))


def dynamic_update_slice(
    operand: Any, update: Any, start_indices: Any, *, mode: str = "error"
) -> Value:
    """The array with a slice replaced that starts at computed positions.

    Args:
      operand: an array.
      update: the new slice, of the same dtype and rank.
      start_indices: as in `dynamic_slice`.
      mode: "error", or "clip" to move an update that does not fit (as JAX does).

    Raises:
      ArrayIndexError: when the update does not fit.

    >>> from wengert import lax
    >>> dynamic_update_slice(lax.iota("int32", 4), lax.full((2,), 7), (1,))
    Array([0, 7, 7, 3], dtype=int32)
    """
    operand, update = same("dynamic_update_slice", operand, update)
    starts = _scalars("dynamic_update_slice", start_indices, len(operand.shape))
    _check_sizes("dynamic_update_slice", operand.shape, update.shape)
    return dynamic.dynamic_update_slice(operand, update, *starts, mode=mode)


def dynamic_update_slice_in_dim(
    operand: Any, update: Any, start_index: Any, axis: int, *, mode: str = "error"
) -> Value:
    """The array with a slice replaced from a computed position along an axis on.

    >>> from wengert import lax
    >>> dynamic_update_slice_in_dim(lax.iota("int32", 4), lax.full((2,), 7), 1, axis=0)
    Array([0, 7, 7, 3], dtype=int32)
    """
    operand = as_array(operand)
    rank = len(operand.shape)
    starts = _along(rank, axis_of(axis, rank), start_index)
    return dynamic_update_slice(operand, update, starts, mode=mode)


def dynamic_update_index_in_dim(
    operand: Any, update: Any, index: Any, axis: int, *, mode: str = "error"
) -> Value:
    """The array with the elements at a computed position along an axis replaced.

    Args:
      operand: an array.
      update: the new elements, with that axis (of size 1) or without it.
      index: the position.
      axis: the axis.
      mode: as in `dynamic_update_slice`.

    >>> from wengert import lax
    >>> dynamic_update_index_in_dim(lax.iota("int32", 4), 7, 1, axis=0)
    Array([0, 7, 2, 3], dtype=int32)
    """
    operand, update = same("dynamic_update_index_in_dim", operand, update)
    place = axis_of(axis, len(operand.shape))
    if len(update.shape) != len(operand.shape):
        update = expand_dims(update, (place,))
    return dynamic_update_slice_in_dim(operand, update, index, place, mode=mode)


# -- elements along axes -----------------------------------------------------------------------


def index_take(src: Any, idxs: Sequence[Any], axes: Sequence[int]) -> Value:
    """The elements at positions along some axes; the other axes follow them in the result.

    Args:
      src: an array.
      idxs: for each of the axes a vector of positions, all of one length.
      axes: the axes.

    >>> from wengert import lax
    >>> import numpy as np
    >>> index_take(lax.iota("int32", 4), (np.array([2, 0]),), (0,))
    Array([2, 0], dtype=int32)
    """
    src = as_array(src)
    places = axes_of(tuple(axes), len(src.shape))
    return gather(src, *map(as_array, idxs), axes=places, mode="error")


def top_k(operand: Any, k: int, *, axis: int = -1) -> list[Value]:
    """The `k` greatest elements along an axis, in falling order, and their positions.

    Of equal elements the one that comes first is taken first.

    >>> import numpy as np
    >>> top_k(np.array([1.0, 3.0, 2.0]), 2)
    [Array([3., 2.], dtype=float64), Array([1, 2], dtype=int32)]
    """
    operand = as_array(operand)
    rank = len(operand.shape)
    place = axis_of(axis, rank)
    count = operator.index(k)
    if not 0 <= count <= operand.shape[place]:
        raise errors.ShapeError(
            f"top_k cannot take {count} elements along axis {place} of shape {operand.shape}."
        )
    moved = move_axis(operand, place, rank - 1)
    return [move_axis(out, rank - 1, place) for out in sort.top_k(moved, k=count)]


def approx_max_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> list[Value]:
    """The `k` greatest elements along a dimension, and their positions.

    The keywords allow JAX to miss some of them on accelerators; here all are found.

    >>> import numpy as np
    >>> approx_max_k(np.array([1.0, 3.0, 2.0]), 1)
    [Array([3.], dtype=float64), Array([1], dtype=int32)]
    """
    return top_k(operand, k, axis=reduction_dimension)


def approx_min_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> list[Value]:
    """The `k` least floating elements along a dimension, and their positions.

    The keywords allow JAX to miss some of them on accelerators; here all are found.

    >>> import numpy as np
    >>> approx_min_k(np.array([1.0, 3.0, 2.0]), 1)
    [Array([1.], dtype=float64), Array([0], dtype=int32)]
    """
    values, positions = top_k(neg(as_array(operand)), k, axis=reduction_dimension)
    return [neg(values), positions]
