"""Reading with subscripts: `x[index]`, for every index that NumPy has.

An index is parsed into one entry per axis (a range, or positions) and per new axis. Ranges and
constant positions become a slice; arrays of positions become one gather, whose normal form puts
the axes of the positions first (see `primitives.index`); a transposition and a reshape
then give the result NumPy's arrangement.

Concrete arrays under the eager interpreter take a short way straight to NumPy. Indices out of
bounds raise; boolean masks must be concrete, because their values decide a shape.
"""

from __future__ import annotations

import operator
from functools import lru_cache
from types import EllipsisType, NoneType
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayLike, Shape, as_array
from wengert.core.interpreter import EAGER, state
from wengert.core.source import user_location
from wengert.numpy.joining import stack
from wengert.primitives import basis
from wengert.primitives.cast import convert
from wengert.primitives.index import gather
from wengert.primitives.shape import rev, slice_

Value = Any

_BASIC = frozenset({int, slice, NoneType, EllipsisType})
_CHECKED = ("error", "promise_in_bounds")


def getitem(x: Any, index: Any) -> Value:
    """`x[index]`: the elements that an index selects, as in NumPy.

    Args:
      x: an array or a tracer.
      index: integers, slices, None, Ellipsis, integer arrays, boolean masks, or a tuple of
        such.

    Raises:
      ArrayIndexError: when an index is out of bounds.
      ConcretizationError: for a traced mask: the number of elements depends on its values.
      TypeError: for a list as the whole index, as in JAX, and for anything else.

    >>> import wengert.numpy as wnp
    >>> getitem(wnp.arange(6), slice(1, None, 2))
    Array([1, 3, 5], dtype=int32)
    """
    if type(x) is Array and state.interpreter is EAGER:
        kind = type(index)
        if kind is int or kind is slice:
            try:
                return Array(x._value[index], x._weak)
            except (IndexError, TypeError):
                return read(x, index)
        if kind is tuple and _BASIC.issuperset(map(type, index)):
            try:
                out = x._value[index]
            except (IndexError, TypeError):
                return read(x, index)
            return Array(out if out.ndim else out[()], x._weak)
        plain = plain_index(index)
        if plain is not None:
            try:
                out = x._value[plain]
            except IndexError:
                return read(x, index)
            return Array(out if out.ndim else out[()], x._weak)
    return read(x, index)


_PLAIN = _BASIC | {np.ndarray, bool, np.bool_, np.int32, np.int64}


def plain_index(index: Any) -> Any:
    """An index without traced parts and lists as NumPy takes it; None for any other."""
    parts = index if type(index) is tuple else (index,)
    values = tuple([i._value if type(i) is Array else i for i in parts])
    if not _PLAIN.issuperset(map(type, values)):
        return None
    for value in values:
        if type(value) is np.ndarray and value.dtype.kind not in "iub":
            return None
    return values if type(index) is tuple else values[0]


# -- parsing ---------------------------------------------------------------------------------


class Entry(NamedTuple):
    """What an index says about one axis.

    Attributes:
      axis: an axis of the operand; -1 for a new axis.
      positions: a range, an integer, or an array of integers; None for a new axis.
    """

    axis: int
    positions: Any


class Subscript(NamedTuple):
    """An index, parsed for operands of one shape.

    Attributes:
      shape: the operand's shape, with an axis of size 1 for each scalar bool in the index.
      entries: in the order of the index.
      joint: the shape to which the arrays of positions broadcast.
      lead: how many dimensions of the result (new ones included) precede those of `joint`.
    """

    shape: Shape
    entries: tuple[Entry, ...]
    joint: Shape
    lead: int

    @property
    def arrays(self) -> list[Entry]:
        """The entries whose positions are arrays."""
        return [e for e in self.entries if isinstance(e.positions, ArrayLike)]

    @property
    def result_shape(self) -> Shape:
        """The shape of what the index selects."""
        sizes = [1 if e.axis < 0 else len(e.positions) for e in self.entries if not _fixed(e)]
        return (*sizes[: self.lead], *self.joint, *sizes[self.lead :])


def _fixed(entry: Entry) -> bool:
    """Whether an entry takes its axis out of the row of those that stay."""
    return type(entry.positions) is int or isinstance(entry.positions, ArrayLike)


def parse(shape: Shape, index: Any, mode: str = "error") -> Subscript:
    """The meaning of an index for operands of a shape.

    Args:
      shape: the operand's shape.
      index: as in `getitem`.
      mode: what happens out of bounds; in a mode that does not raise, integers are kept as
        arrays, so that the primitive applies it to them.
    """
    entries: list[Entry] = []
    sizes: list[int] = []
    axis, dots = 0, None
    for item in _expanded(shape, _items(index)):
        place = len(sizes)
        if item is Ellipsis:
            dots = len(entries)
            continue
        if item is None:
            entries.append(Entry(-1, None))
            continue
        if type(item) is bool:
            sizes.append(1)
            entries.append(Entry(place, Array(np.zeros(int(item), np.int32))))
            continue
        n = shape[axis]
        sizes.append(n)
        if type(item) is slice:
            entries.append(Entry(place, range(*_bounds(item).indices(n))))
        elif type(item) is int and mode in _CHECKED:
            entries.append(Entry(place, _checked(item, axis, n)))
        else:
            positions = Array(np.int64(item)) if type(item) is int else item
            if mode in _CHECKED and type(positions) is Array:
                _check_array(positions, axis, n)
            entries.append(Entry(place, positions))
        axis += 1
    joint = basis.broadcast_shape(
        [e.positions.shape for e in entries if isinstance(e.positions, ArrayLike)] or [()],
        "indexing",
    )
    return Subscript(tuple(sizes), tuple(entries), joint, _lead(entries, dots))


def _items(index: Any) -> list[Any]:
    """The parts of an index: None, Ellipsis, slices, ints, bools, and arrays."""
    if isinstance(index, list):
        raise TypeError(
            f"a list is no index: x[{_shortened(index)}]. Write x[wengert.numpy.array(...)] to "
            "select several positions, or a tuple to index several axes."
        )
    return [_item(part) for part in (index if isinstance(index, tuple) else (index,))]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else text[:36] + " ..."


def _item(part: Any) -> Any:
    kind = type(part)
    if kind in _BASIC or kind is bool:
        return part
    if isinstance(part, list | tuple):
        part = _listed(part)
    if isinstance(part, str | float | complex) or part is NotImplemented:
        raise _no_index(part)
    array = part if isinstance(part, ArrayLike) else _array(part)
    if array.dtype == dtypes.BOOL:
        if type(array) is not Array:
            array = array.concrete("x[mask] with a boolean mask, whose values decide a shape,")
        return array if array.shape else bool(array)
    if not dtypes.is_integer(array.dtype):
        raise _no_index(part)
    return int(array._value) if type(array) is Array and not array.shape else array


def _listed(part: Any) -> Any:
    """A list inside an index as the array that it stands for."""
    if any(isinstance(p, ArrayLike) for p in part):
        return stack(part)
    array = np.asarray(part)
    return array if array.size else array.astype(np.int32)


def _array(part: Any) -> Value:
    try:
        return as_array(part)
    except TypeError:
        raise _no_index(part) from None


def _no_index(part: Any) -> TypeError:
    what = getattr(part, "type", None) or f"{_shortened(part)} of type {type(part).__name__}"
    return TypeError(
        f"{what} is no index. Indices are integers, slices, None, Ellipsis, and arrays of "
        "integers or bools."
    )


def _expanded(shape: Shape, items: list[Any]) -> list[Any]:
    """The parts with masks as positions, and one for each axis; Ellipsis stays as a mark."""
    used = sum(_axes_used(item) for item in items)
    if used > len(shape):
        raise errors.ArrayIndexError(
            f"too many indices: an array of shape {shape} has {len(shape)} axes, but {used} "
            f"were indexed{_where()}"
        )
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise errors.ArrayIndexError(f"an index can have one ellipsis ('...') only{_where()}")
    place = dots[0] if dots else len(items)
    full = [Ellipsis, *[slice(None)] * (len(shape) - used)]
    out: list[Any] = []
    axis = 0
    for item in [*items[:place], *full, *items[place + 1 :]]:
        if type(item) is Array and item.dtype == dtypes.BOOL:
            out += _mask_positions(item, shape, axis)
        else:
            out.append(item)
        axis += _axes_used(item)
    return out


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis or type(item) is bool:
        return 0
    if type(item) is Array and item.dtype == dtypes.BOOL:
        return item.ndim
    return 1


def _mask_positions(mask: Array, shape: Shape, axis: int) -> list[Array]:
    for i, n in enumerate(mask.shape):
        if shape[axis + i] != n:
            raise errors.ArrayIndexError(
                f"a boolean mask of shape {mask.shape} does not fit: axis {axis + i} of the "
                f"indexed array has size {shape[axis + i]}, that of the mask {n}{_where()}"
            )
    return [Array(positions) for positions in np.nonzero(mask._value)]


def _bounds(item: slice) -> slice:
    """A slice with Python integers; traced bounds are refused by their `__index__`."""
    parts = (item.start, item.stop, item.step)
    if all(p is None or type(p) is int for p in parts):
        return item
    return slice(*(None if p is None else _bound(p) for p in parts))


def _bound(part: Any) -> int:
    if isinstance(part, ArrayLike) and type(part) is not Array:
        part = part.concrete(
            "a slice (lax.dynamic_slice takes a traced start and a constant size)"
        )
    return operator.index(part)


def _where() -> str:
    location = user_location()
    return f".\n  at {location}" if location is not None else "."


def _out_of_bounds(index: int, axis: int, n: int) -> errors.ArrayIndexError:
    return errors.ArrayIndexError(
        f"index {index} is out of bounds for axis {axis} with size {n}{_where()}"
    )


def _checked(index: int, axis: int, n: int) -> int:
    if not -n <= index < n:
        raise _out_of_bounds(index, axis, n)
    return index + n if index < 0 else index


def _check_array(positions: Array, axis: int, n: int) -> None:
    """Concrete positions are checked at once, also while tracing."""
    values = positions._value
    if values.size and not (-n <= values.min() and values.max() < n):
        bad = values[(values < -n) | (values >= n)]
        raise _out_of_bounds(bad.ravel()[0], axis, n)


def _lead(entries: list[Entry], dots: int | None) -> int:
    """Where the dimensions of the arrays of positions stand in the result.

    NumPy's rule: in place of the arrays if these, and integers among them, are neighbours in
    the index; at the front otherwise. An ellipsis parts them even where it stands for no axis.
    """
    taken = [i for i, entry in enumerate(entries) if _fixed(entry)]
    if not any(isinstance(entries[i].positions, ArrayLike) for i in taken):
        return 0
    first, last = taken[0], taken[-1]
    parted = dots is not None and first < dots <= last
    return 0 if parted or last - first >= len(taken) else first


# -- reading ---------------------------------------------------------------------------------


class _Slicing(NamedTuple):
    """The ranges and integers of an index as parameters of `slice` and `rev`, None if idle."""

    bounds: dict[str, Any] | None
    reversed: tuple[int, ...]


def _slicing(subscript: Subscript) -> _Slicing:
    count = len(subscript.shape)
    starts, limits, strides = [0] * count, list(subscript.shape), [1] * count
    backwards = []
    for axis, positions in subscript.entries:
        if axis < 0 or isinstance(positions, ArrayLike):
            continue
        if type(positions) is int:
            starts[axis], limits[axis] = positions, positions + 1
            continue
        if positions.step < 0:
            backwards.append(axis)
            positions = positions[::-1]
        starts[axis] = positions.start if len(positions) else 0
        limits[axis] = positions[-1] + 1 if len(positions) else 0
        strides[axis] = positions.step
    whole = not any(starts) and limits == list(subscript.shape)
    bounds = {
        "start_indices": tuple(starts),
        "limit_indices": tuple(limits),
        "strides": None if all(step == 1 for step in strides) else tuple(strides),
    }
    return _Slicing(None if whole and bounds["strides"] is None else bounds, tuple(backwards))


@lru_cache(maxsize=4096)
def _basic(shape: Shape, key: tuple[Any, ...]) -> tuple[_Slicing, Shape]:
    """What an index of integers, slices, None and Ellipsis means; slices come as tuples."""
    subscript = parse(shape, tuple(slice(*k) if type(k) is tuple else k for k in key))
    return _slicing(subscript), subscript.result_shape


def is_basic(index: Any) -> bool:
    """Whether an index consists of Python integers, slices, None and Ellipsis."""
    return _BASIC.issuperset(map(type, index if type(index) is tuple else (index,)))


def _basic_key(index: Any) -> tuple[Any, ...] | None:
    if not is_basic(index):
        return None
    parts = index if type(index) is tuple else (index,)
    return tuple(
        (b.start, b.stop, b.step) if type(b) is slice else b
        for b in (_bounds(p) if type(p) is slice else p for p in parts)
    )


def read(x: Value, index: Any, mode: str = "error", fill_value: Any = None) -> Value:
    """`x[index]` by primitives, for arrays and tracers; the modes are in `primitives.index`."""
    key = _basic_key(index) if mode in _CHECKED else None
    if key is not None:
        slicing, shape = _basic(x.shape, key)
        x = _sliced(x, slicing)
        return x if x.shape == shape else basis.reshape(x, shape=shape)
    subscript = parse(x.shape, index, mode)
    if subscript.shape != x.shape:
        x = basis.reshape(x, shape=subscript.shape)
    x = _sliced(x, _slicing(subscript))
    arrays = subscript.arrays
    if arrays:
        indices = as_weak([e.positions for e in arrays], x.weak_type)
        axes = tuple(e.axis for e in arrays)
        x = gather(x, *indices, axes=axes, mode=mode, fill_value=fill_value)
        x = _arranged(x, subscript)
    shape = subscript.result_shape
    return x if x.shape == shape else basis.reshape(x, shape=shape)


def _sliced(x: Value, slicing: _Slicing) -> Value:
    if slicing.bounds is not None:
        x = slice_(x, **slicing.bounds)
    return rev(x, dimensions=slicing.reversed) if slicing.reversed else x


def _arranged(x: Value, subscript: Subscript) -> Value:
    """A gathered array with the dimensions of the positions where NumPy puts them.

    Axes that an integer took out are still there, with size 1.
    """
    rank = len(subscript.joint)
    before = axes_before(subscript)
    if not before or not rank:
        return x
    rest = range(rank, len(x.shape))
    return basis.transpose(x, permutation=(*rest[:before], *range(rank), *rest[before:]))


def axes_before(subscript: Subscript) -> int:
    """How many of the operand's axes precede the dimensions of the positions in the result."""
    return sum(e.axis >= 0 for e in subscript.entries[: subscript.lead])


def as_weak(indices: list[Value], weak: bool) -> list[Value]:
    """Indices that are weakly typed if the array is: its weakness is not theirs to decide."""
    if not weak:
        return indices
    return [convert(i, dtype=i.dtype, weak=True) for i in indices]
