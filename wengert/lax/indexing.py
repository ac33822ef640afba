"""Gather and scatter with dimension numbers, as XLA defines them.

A gather copies windows of `slice_sizes` out of an array, each at a start position that is a
vector in the last dimension of `start_indices`; the dimension numbers say which dimension of
the array, of the indices and of the result belongs to which. A scatter writes windows back.
Both are translated into index arrays along the dimensions that are really indexed, for the
gather and scatter primitives; a dimension that is taken as a whole is not indexed.

Modes say what becomes of a window that does not lie within the array. Without a mode it is an
IndexError (JAX fills with NaN or drops the update), and negative positions count from the end;
in the other modes, as in XLA, they are out of bounds.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.primitive import Primitive, Value
from wengert.lax.operands import same
from wengert.lax.slicing import index_in_dim
from wengert.numpy.axes import shape_of
from wengert.primitives import index
from wengert.primitives import scatter as scatters
from wengert.primitives.basis import broadcast_to, full, neg, reshape, transpose
from wengert.primitives.cast import convert
from wengert.primitives.compare import bitwise_and, ge, le, lt, select
from wengert.primitives.dynamic import slice_positions
from wengert.primitives.elementwise import maximum
from wengert.primitives.shape import iota

Axes = tuple[int, ...]
_INT64 = np.dtype(np.int64)


class GatherScatterMode(enum.Enum):
    """What becomes of windows that do not lie within the array.

    Attributes:
      CLIP: they are moved to where they fit.
      FILL_OR_DROP: a gather gives `fill_value`, a scatter does not write.
      PROMISE_IN_BOUNDS: there are none; here it is verified, and they raise IndexError.
      ONE_HOT: as FILL_OR_DROP; a hint for accelerators.
    """

    CLIP = 1
    FILL_OR_DROP = 2
    PROMISE_IN_BOUNDS = 3
    ONE_HOT = 4

    @staticmethod
    def from_any(s: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode that a name stands for; None is PROMISE_IN_BOUNDS, which is verified."""
        if isinstance(s, GatherScatterMode):
            return s
        names = {
            None: GatherScatterMode.PROMISE_IN_BOUNDS,
            "error": GatherScatterMode.PROMISE_IN_BOUNDS,
            "promise_in_bounds": GatherScatterMode.PROMISE_IN_BOUNDS,
            "clip": GatherScatterMode.CLIP,
            "fill": GatherScatterMode.FILL_OR_DROP,
            "drop": GatherScatterMode.FILL_OR_DROP,
        }
        if s not in names:
            raise ValueError(
                f"unknown gather or scatter mode {s!r}: give 'clip', 'fill', 'drop', "
                "'promise_in_bounds', 'error' or a GatherScatterMode."
            )
        return names[s]


class GatherDimensionNumbers(NamedTuple):
    """Which dimensions of a gather belong together.

    Attributes:
      offset_dims: dimensions of the result that run over a window, in increasing order.
      collapsed_slice_dims: dimensions of the operand whose window has size 1 and is dropped.
      start_index_map: for each component of a start index, its dimension of the operand.
      operand_batching_dims: dimensions of the operand that run along with the indices ...
      start_indices_batching_dims: ... and the dimensions of the indices they run along with.
    """

    offset_dims: Axes
    collapsed_slice_dims: Axes
    start_index_map: Axes
    operand_batching_dims: Axes = ()
    start_indices_batching_dims: Axes = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which dimensions of a scatter belong together.

    Attributes:
      update_window_dims: dimensions of the updates that run over a window.
      inserted_window_dims: dimensions of the operand that windows lack: their size there is 1.
      scatter_dims_to_operand_dims: for each component of an index, its operand dimension.
      operand_batching_dims: dimensions of the operand that run along with the indices ...
      scatter_indices_batching_dims: ... and the dimensions of the indices they run along with.
    """

    update_window_dims: Axes
    inserted_window_dims: Axes
    scatter_dims_to_operand_dims: Axes
    operand_batching_dims: Axes = ()
    scatter_indices_batching_dims: Axes = ()


class _Windows(NamedTuple):
    """Where the windows of a gather or scatter lie.

    Attributes:
      name: of the function, for messages.
      shape: of the operand.
      sizes: of a window in each dimension of the operand.
      mapped: for each component of a start index, its dimension of the operand.
      dropped: dimensions of the operand that windows lack.
      batching: pairs of dimensions, of the operand and of the indices, that run along.
    """

    name: str
    shape: Shape
    sizes: Shape
    mapped: Axes
    dropped: Axes
    batching: tuple[tuple[int, int], ...]

    @property
    def kept(self) -> Axes:
        """Dimensions of the operand that windows have."""
        gone = {*self.dropped, *(d for d, _ in self.batching)}
        return tuple(d for d in range(len(self.shape)) if d not in gone)

    @property
    def indexed(self) -> Axes:
        """Kept dimensions that are not taken as a whole (the first one if all others are)."""
        partial = tuple(
            d for d in self.kept if d in self.mapped or self.sizes[d] != self.shape[d]
        )
        return partial or (self.kept[:1] if not self.dropped and not self.batching else ())

    def check(self, starts: Value) -> None:
        """Raise unless sizes and dimension numbers fit operand and indices."""
        rank = len(self.shape)
        if not dtypes.is_integer(starts.dtype):
            raise errors.DTypeError(
                f"lax.{self.name} needs integer indices, got {starts.dtype}."
            )
        along = [d for d, _ in self.batching]
        gone = (*self.dropped, *along)
        checks = {
            "the operand needs dimensions": rank > 0,
            "the last dimension of the indices needs one entry per mapped dimension": (
                starts.shape and starts.shape[-1] == len(self.mapped)
            ),
            "a dimension number is not a dimension of the operand": all(
                0 <= d < rank for d in (*gone, *self.mapped)
            ),
            "a dimension is named twice": (
                len({*self.mapped, *along}) == len(self.mapped) + len(along)
                and len(set(gone)) == len(gone)
            ),
            "windows must not be larger than the operand": (
                len(self.sizes) == rank
                and all(0 <= k <= n for k, n in zip(self.sizes, self.shape, strict=True))
            ),
        }
        problem = next((text for text, fits in checks.items() if not fits), None)
        if problem is None and any(self.sizes[d] != 1 for d in gone):
            problem = "windows have size 1 in collapsed, inserted and batching dimensions"
        if problem is None and any(self.shape[d] != starts.shape[i] for d, i in self.batching):
            problem = "batching dimensions of operand and indices must have equal sizes"
        if problem:
            raise errors.ShapeError(
                f"lax.{self.name} of an operand of shape {self.shape}, indices of shape "
                f"{starts.shape}, windows of shape {self.sizes}: {problem}."
            )

    def positions(self, starts: Value, mode: GatherScatterMode) -> tuple[Axes, list[Value]]:
        """The indexed dimensions of the operand, and positions along each of them.

        The positions broadcast to the batch dimensions of the indices followed by the sizes of
        a window in `indexed`; the first ones have this shape.
        """
        batch = starts.shape[:-1]
        if starts.dtype not in (dtypes.INT32, _INT64):
            starts = convert(starts, dtype=_INT64)
        components = {
            d: index_in_dim(starts, i, len(batch), keepdims=False)
            for i, d in enumerate(self.mapped)
        }
        inside = self._inside(components) if mode is GatherScatterMode.FILL_OR_DROP else None
        axes = (*self.dropped, *self.indexed)
        places = []
        for d in axes:
            place = self._along(d, components.get(d), mode)
            if inside is not None and d == self.mapped[0]:  # out of all bounds, if any is
                place = select(reshape(inside, shape=(*batch, 1)), place, self.shape[d])
            lead = batch if d in components else (1,) * len(batch)
            places.append(reshape(place, shape=(*lead, *self._tail(d))))
        for d, i in self.batching:
            rows = iota(dtype=dtypes.INT32, shape=(self.shape[d],), dimension=0)
            lead = tuple(self.shape[d] if j == i else 1 for j in range(len(batch)))
            places.append(reshape(rows, shape=(*lead, *self._tail(d))))
        joint = (*batch, *(self.sizes[d] for d in self.indexed))
        places[0] = broadcast_to(places[0], joint)
        return (*axes, *(d for d, _ in self.batching)), places

    def _along(self, d: int, start: Value | None, mode: GatherScatterMode) -> Value:
        """Positions of windows along a dimension: (*batch, size), or (size,) from 0 on."""
        size = self.sizes[d]
        if start is None:
            return iota(dtype=_INT64, shape=(size,), dimension=0)
        checked = mode is GatherScatterMode.PROMISE_IN_BOUNDS
        if not checked:
            start = maximum(start, 0)  # only without a mode do negative ones count from the end
        kind = "error" if checked else "clip"
        return slice_positions(start, length=size, limit=self.shape[d], axis=d, mode=kind)

    def _inside(self, components: dict[int, Value]) -> Value | None:
        """Which windows lie within the operand; None where no position is computed."""
        inside = None
        for d, start in components.items():
            fits = bitwise_and(ge(start, 0), le(start, self.shape[d] - self.sizes[d]))
            inside = fits if inside is None else bitwise_and(inside, fits)
        return inside

    def _tail(self, d: int) -> Shape:
        return tuple(self.sizes[d] if e == d else 1 for e in self.indexed)


# -- gather ------------------------------------------------------------------------------------


def gather(
    operand: Any,
    start_indices: Any,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
) -> Value:
    """Windows copied out of an array.

    Args:
      operand: the array.
      start_indices: integers; the last dimension holds where a window starts, the others are
        the batch of windows.
      dimension_numbers: which dimensions belong together.
      slice_sizes: the shape of a window, one size per dimension of the operand.
      unique_indices: a promise that nothing is made of here.
      indices_are_sorted: a promise that nothing is made of here.
      mode: what becomes of windows that do not lie within the operand: None, "clip" or "fill".
      fill_value: what "fill" puts there; by default NaN, the least signed or the greatest
        unsigned integer, or True.

    Returns:
      the windows: dimensions `offset_dims` run over a window, the others over the batch.

    Raises:
      ArrayIndexError: without a mode, for a window that does not lie within the operand.

    >>> import numpy as np
    >>> from wengert import lax
    >>> numbers = GatherDimensionNumbers((1,), (), (0,))
    >>> gather(lax.iota("int32", 5), np.array([[0], [3]]), numbers, (2,))
    Array([[0, 1],
           [3, 4]], dtype=int32)
    """
    operand, starts = as_array(operand), as_array(start_indices)
    numbers = GatherDimensionNumbers(*map(tuple, dimension_numbers))
    parsed = _mode(mode)
    windows = _Windows(
        "gather",
        operand.shape,
        shape_of(tuple(slice_sizes)),
        numbers.start_index_map,
        numbers.collapsed_slice_dims,
        _pairs(numbers.operand_batching_dims, numbers.start_indices_batching_dims),
    )
    windows.check(starts)
    rank = len(starts.shape) - 1 + len(windows.kept)
    offsets = _window_dims("offset_dims", numbers.offset_dims, windows.kept, rank)
    axes, places = windows.positions(starts, parsed)
    filling = parsed is GatherScatterMode.FILL_OR_DROP
    keywords = {"mode": "fill", "fill_value": fill_value} if filling else {"mode": "error"}
    out = index.gather(operand, *places, axes=axes, **keywords)
    destinations = _places(windows, offsets, rank)
    return _permuted(out, sorted(range(rank), key=destinations.__getitem__))


def _mode(mode: str | GatherScatterMode | None) -> GatherScatterMode:
    parsed = GatherScatterMode.from_any(mode)
    hint = parsed is GatherScatterMode.ONE_HOT
    return GatherScatterMode.FILL_OR_DROP if hint else parsed


def _pairs(operand_dims: Axes, index_dims: Axes) -> tuple[tuple[int, int], ...]:
    if len(operand_dims) != len(index_dims):
        raise errors.ShapeError(
            f"batching dimensions come in pairs, got {operand_dims} and {index_dims}."
        )
    return tuple(zip(operand_dims, index_dims, strict=True))


def _window_dims(name: str, dims: Axes, kept: Axes, rank: int) -> Axes:
    fits = len(dims) == len(kept) and list(dims) == sorted(set(dims))
    if not fits or any(not 0 <= d < rank for d in dims):
        raise errors.ShapeError(
            f"{name}={dims} must be {len(kept)} increasing dimensions of {rank}, one for each "
            "that a window has."
        )
    return dims


def _places(windows: _Windows, window_dims: Axes, rank: int) -> list[int]:
    """Where the dimensions of the gather primitive's result are among the `rank` of the user's.

    The primitive has the batch dimensions first, then the indexed ones, then all others.
    """
    place = dict(zip(windows.kept, window_dims, strict=True))
    rest = [d for d in windows.kept if d not in windows.indexed]
    batch = [d for d in range(rank) if d not in window_dims]
    return [*batch, *(place[d] for d in (*windows.indexed, *rest))]


def _permuted(x: Value, order: Sequence[int]) -> Value:
    return x if list(order) == sorted(order) else transpose(x, permutation=tuple(order))


# -- scatter -----------------------------------------------------------------------------------


def _scatter(
    primitive: Primitive,
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    mode: str | GatherScatterMode | None,
) -> Value:
    """Combine windows into an array by one of the scatter primitives."""
    operand, updates = same(primitive.name, operand, updates)
    starts = as_array(scatter_indices)
    numbers = ScatterDimensionNumbers(*map(tuple, dimension_numbers))
    windows = _scatter_windows(primitive.name, operand, starts, updates.shape, numbers)
    axes, places = windows.positions(starts, _mode(mode))
    drop = _mode(mode) is GatherScatterMode.FILL_OR_DROP
    order = _places(windows, numbers.update_window_dims, len(updates.shape))
    updates = _permuted(updates, order)
    return primitive(operand, updates, *places, axes=axes, mode="drop" if drop else "error")


def _scatter_windows(
    name: str, operand: Value, starts: Value, updates: Shape, numbers: ScatterDimensionNumbers
) -> _Windows:
    along = _pairs(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims)
    dropped = numbers.inserted_window_dims
    gone = {*dropped, *numbers.operand_batching_dims}
    kept = tuple(d for d in range(len(operand.shape)) if d not in gone)
    dims = _window_dims("update_window_dims", numbers.update_window_dims, kept, len(updates))
    batch = tuple(n for d, n in enumerate(updates) if d not in dims)
    if batch != starts.shape[:-1]:
        raise errors.ShapeError(
            f"lax.{name}: the updates, of shape {updates}, have the batch dimensions {batch}, "
            f"the indices, of shape {starts.shape}, have {starts.shape[:-1]}."
        )
    size = dict(zip(kept, (updates[d] for d in dims), strict=True))
    sizes = tuple(size.get(d, 1) for d in range(len(operand.shape)))
    mapped = numbers.scatter_dims_to_operand_dims
    windows = _Windows(name, operand.shape, sizes, mapped, dropped, along)
    windows.check(starts)
    return windows


def scatter(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The array with windows replaced; where they overlap, the last one stays.

    Args:
      operand: the array.
      scatter_indices: integers; the last dimension holds where a window starts, the others are
        the batch of windows.
      updates: the windows, of the same dtype; dimensions `update_window_dims` run over a
        window, the others over the batch.
      dimension_numbers: which dimensions belong together.
      indices_are_sorted: a promise that nothing is made of here.
      unique_indices: a promise that nothing is made of here.
      mode: what becomes of windows that do not lie within the operand: None, "clip" or "drop".

    Raises:
      ArrayIndexError: without a mode, for a window that does not lie within the operand.

    >>> import numpy as np
    >>> from wengert import lax
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter(lax.iota("int32", 4), np.array([[2], [0]]), np.array([7, 8], "int32"), numbers)
    Array([8, 1, 7, 3], dtype=int32)
    """
    return _scatter(index.scatter, operand, scatter_indices, updates, dimension_numbers, mode)


def scatter_add(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The array with windows added to it (see `scatter`).

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_add(np.zeros(3), np.array([[1], [1]]), np.array([2.0, 3.0]), numbers)
    Array([0., 5., 0.], dtype=float64)
    """
    return _scatter(
        index.scatter_add, operand, scatter_indices, updates, dimension_numbers, mode
    )


def scatter_sub(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The array with windows subtracted from it (see `scatter`).

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_sub(np.zeros(3), np.array([[1], [1]]), np.array([2.0, 3.0]), numbers)
    Array([ 0., -5.,  0.], dtype=float64)
    """
    operand, updates = same("scatter_sub", operand, updates)
    return _scatter(
        index.scatter_add, operand, scatter_indices, neg(updates), dimension_numbers, mode
    )


def scatter_mul(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The array multiplied by windows (see `scatter`).

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_mul(np.ones(3), np.array([[1], [1]]), np.array([2.0, 3.0]), numbers)
    Array([1., 6., 1.], dtype=float64)
    """
    return _scatter(
        scatters.scatter_mul, operand, scatter_indices, updates, dimension_numbers, mode
    )


def scatter_min(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The lesser of the array and windows (see `scatter`).

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_min(np.ones(3), np.array([[1], [1]]), np.array([2.0, -3.0]), numbers)
    Array([ 1., -3.,  1.], dtype=float64)
    """
    return _scatter(
        scatters.scatter_min, operand, scatter_indices, updates, dimension_numbers, mode
    )


def scatter_max(
    operand: Any,
    scatter_indices: Any,
    updates: Any,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The greater of the array and windows (see `scatter`).

    >>> import numpy as np
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> scatter_max(np.ones(3), np.array([[1], [1]]), np.array([2.0, -3.0]), numbers)
    Array([1., 2., 1.], dtype=float64)
    """
    return _scatter(
        scatters.scatter_max, operand, scatter_indices, updates, dimension_numbers, mode
    )


def scatter_apply(
    operand: Any,
    scatter_indices: Any,
    func: Callable[[Any], Any],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Sequence[int] = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:
    """The array with a function applied to the elements of windows.

    To an element that lies in several windows it is applied as often. Where the indices are
    traced, that takes as many applications as there are windows, unless the caller promises
    `unique_indices`.

    Args:
      operand: the array.
      scatter_indices: as in `scatter`.
      func: an elementwise function of arrays of the operand's dtype.
      dimension_numbers: which dimensions belong together.
      update_shape: the shape that updates would have.
      indices_are_sorted: a promise that nothing is made of here.
      unique_indices: a promise that windows do not overlap.
      mode: as in `scatter`.

    >>> import numpy as np
    >>> from wengert import lax
    >>> numbers = ScatterDimensionNumbers((), (0,), (0,))
    >>> x, i = np.array([1.0, 4.0, 9.0]), np.array([[1], [2]])
    >>> scatter_apply(x, i, lax.sqrt, numbers, update_shape=(2,))
    Array([1., 2., 3.], dtype=float64)
    """
    operand, sizes = as_array(operand), shape_of(tuple(update_shape))
    zeros = full(shape=operand.shape, value=0, dtype=dtypes.INT32)
    ones = full(shape=sizes, value=1, dtype=dtypes.INT32)
    counts = scatter_add(zeros, scatter_indices, ones, dimension_numbers, mode=mode)
    if unique_indices:
        rounds = 1
    elif type(counts) is Array:
        rounds = int(np.max(np.asarray(counts), initial=0))
    else:
        rounds = math.prod(as_array(scatter_indices).shape[:-1])
    for applied in range(rounds):
        operand = select(lt(applied, counts), func(operand), operand)
    return operand
