"""`pad`: borders around an array, in all of NumPy's modes.

Axes are padded one after the other, so that later ones see the borders of earlier ones, as in
NumPy. The modes that repeat elements ask NumPy which element stands where, by padding the
positions instead of the values, and gather those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayLike, as_array
from wengert.numpy.arrays import asarray
from wengert.numpy.axes import integers
from wengert.numpy.mapping import apply_along_axis
from wengert.numpy.promotion import to_dtype
from wengert.numpy.subscripts import getitem
from wengert.primitives import basis
from wengert.primitives import shape as primitives
from wengert.primitives.basis import add, mul, reduce_sum
from wengert.primitives.compare import floor, round
from wengert.primitives.elementwise import div, sub
from wengert.primitives.reduce import reduce_max, reduce_min
from wengert.primitives.sort import sort

Value = Any
Pair = tuple[Any, Any]

#: The keyword arguments of each mode.
_KEYWORDS: dict[str, tuple[str, ...]] = {
    "constant": ("constant_values",),
    "edge": (),
    "empty": (),
    "linear_ramp": ("end_values",),
    "maximum": ("stat_length",),
    "mean": ("stat_length",),
    "median": ("stat_length",),
    "minimum": ("stat_length",),
    "reflect": ("reflect_type",),
    "symmetric": ("reflect_type",),
    "wrap": (),
}


def pad(
    array: Any, pad_width: Any, mode: str | Callable[..., Any] = "constant", **kwargs: Any
) -> Value:
    """The array with a border.

    Args:
      array: an array.
      pad_width: the widths before and after each axis: an integer, a pair for all axes, a pair
        per axis, or a dictionary from axes to widths.
      mode: "constant" (with `constant_values`), "edge", "linear_ramp" (with `end_values`),
        "maximum", "mean", "median", "minimum" (with `stat_length`), "reflect", "symmetric"
        (with `reflect_type="even"` or `"odd"`), "wrap", "empty", or a function
        `f(vector, widths, axis, kwargs)` that returns each vector along an axis, padded with
        zeros, with its border filled in.
      **kwargs: those of the mode; values may be given for all, per side, or per axis and side.

    >>> import wengert.numpy as wnp
    >>> wnp.pad(wnp.array([1, 2, 3]), (2, 1), mode="reflect")
    Array([3, 2, 1, 2, 3, 2], dtype=int32)
    """
    a = as_array(array)
    widths = _widths(pad_width, len(a.shape))
    if callable(mode):
        return _by_function(a, widths, mode, kwargs)
    if mode not in _KEYWORDS:
        raise ValueError(f"pad has the modes {', '.join(_KEYWORDS)}; got {mode!r}.")
    unknown = [key for key in kwargs if key not in _KEYWORDS[mode]]
    if unknown:
        allowed = ", ".join(_KEYWORDS[mode]) or "no further arguments"
        raise TypeError(f"pad with mode={mode!r} takes {allowed}; got {', '.join(unknown)}.")
    if mode in ("constant", "empty"):
        return _constant(a, widths, kwargs.get("constant_values", 0))
    for axis, pair in enumerate(widths):
        if pair != (0, 0) and a.shape[axis] == 0:
            raise errors.ShapeError(
                f"pad with mode={mode!r} cannot extend axis {axis}, which is empty; only "
                "'constant' and 'empty' can."
            )
    if mode == "linear_ramp":
        return _linear_ramp(a, widths, kwargs.get("end_values", 0))
    if mode in _STATISTICS:
        return _statistic(a, widths, mode, kwargs.get("stat_length"))
    odd = _is_odd(kwargs.get("reflect_type", "even"))
    for axis, pair in enumerate(widths):
        if pair != (0, 0):
            a = _repeated(a, axis, pair, mode, odd)
    return a


# -- arguments -------------------------------------------------------------------------------


def _widths(pad_width: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(pad_width, dict):
        given = {axis % rank: width for axis, width in pad_width.items()}
        sides = [given.get(axis, 0) for axis in range(rank)]
        widths = [integers(side) * (1 if np.ndim(side) else 2) for side in sides]
    else:
        plain = np.asarray(pad_width)
        if plain.dtype.kind not in "iu" and plain.size:
            raise TypeError(f"pad_width holds integers, got {pad_width!r}.")
        try:
            widths = np.broadcast_to(plain, (rank, 2)).tolist()
        except ValueError:
            raise errors.ShapeError(
                f"pad_width is an integer, a pair, or a pair for each of {rank} axes; got "
                f"{pad_width!r}."
            ) from None
    if any(len(pair) != 2 or min(pair) < 0 for pair in widths):
        raise ValueError(
            f"pad_width holds pairs of widths that are not negative: {pad_width!r}."
        )
    return [(before, after) for before, after in widths]


def _pairs(values: Any, rank: int) -> list[Pair]:
    """Values for each axis and side, given for all, per side, or per axis and side."""
    if isinstance(values, ArrayLike):
        flat = basis.broadcast_to(values, (rank, 2))
        return [(getitem(flat, (i, 0)), getitem(flat, (i, 1))) for i in range(rank)]
    if not isinstance(values, Sequence | np.ndarray) or np.ndim(values) == 0:
        return [(values, values)] * rank
    rows = list(values)
    if len(rows) == 2 and not any(_is_row(row) for row in rows):
        return [(rows[0], rows[1])] * rank
    spread = [tuple(row) if _is_row(row) else (row,) for row in rows]
    spread = [row * 2 if len(row) == 1 else row for row in spread]
    if len(spread) == 1:
        spread = spread * rank
    if len(spread) != rank or any(len(row) != 2 for row in spread):
        raise errors.ShapeError(
            f"values for padding are one, a pair, or a pair for each of {rank} axes; got "
            f"{values!r}."
        )
    return [(row[0], row[1]) for row in spread]


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) or (hasattr(value, "shape") and len(value.shape) > 0)


def _is_odd(kind: Any) -> bool:
    if kind not in ("even", "odd"):
        raise ValueError(f"reflect_type must be 'even' or 'odd', got {kind!r}.")
    return bool(kind == "odd")


# -- modes -----------------------------------------------------------------------------------


def _constant(a: Value, widths: list[tuple[int, int]], values: Any) -> Value:
    rank = len(a.shape)
    pairs = _pairs(values, rank)
    if isinstance(values, int | float | complex) or not rank:
        config = tuple((before, after, 0) for before, after in widths)
        return primitives.pad(a, _scalar(values, a), padding_config=config) if rank else a
    for axis, (pair, sides) in enumerate(zip(widths, pairs, strict=True)):
        for side, (width, value) in enumerate(zip(pair, sides, strict=True)):
            border = [(0, 0, 0)] * rank
            border[axis] = (0, width, 0) if side else (width, 0, 0)
            if width:
                a = primitives.pad(a, _scalar(value, a), padding_config=tuple(border))
    return a


def _scalar(value: Any, a: Value) -> Value:
    value = to_dtype(asarray(value), a.dtype, a.weak_type)
    if value.size != 1:
        raise errors.ShapeError(f"a padding value is a scalar, got shape {value.shape}.")
    return basis.reshape(value, shape=()) if value.shape else value


def _repeated(a: Value, axis: int, pair: tuple[int, int], mode: Any, odd: bool) -> Value:
    """A border of elements of the array: edge, wrap, reflect, symmetric."""
    n = a.shape[axis]
    places = np.pad(np.arange(n), pair, mode=mode)
    out = _taken(a, places, axis)
    if not odd:
        return out
    # 2 edge - x, perhaps repeatedly: a combination of one element and the two at the ends
    first, last = (np.pad(_unit(n, i), pair, mode=mode, reflect_type="odd") for i in (0, n - 1))
    if n == 1:
        last = np.zeros_like(first)
    shape = [1] * len(a.shape)
    shape[axis] = places.size
    total: Value = mul(out, _factors(1 - first - last, shape, a))
    for factors, place in ((first, 0), (last, n - 1)):
        edge = _taken(a, np.array([place]), axis)
        total = add(total, mul(edge, _factors(factors, shape, a)))
    return total


def _unit(n: int, place: int) -> Any:
    unit = np.zeros(n, np.int64)
    unit[place] = 1
    return unit


def _factors(factors: Any, shape: list[int], a: Value) -> Array:
    return Array(factors.astype(a.dtype).reshape(shape))


def _taken(a: Value, places: Any, axis: int) -> Value:
    return getitem(a, (slice(None),) * axis + (Array(places),))


def _linear_ramp(a: Value, widths: list[tuple[int, int]], end_values: Any) -> Value:
    whole = not dtypes.is_inexact(a.dtype)
    ends = _pairs(end_values, len(a.shape))
    for axis, (pair, sides) in enumerate(zip(widths, ends, strict=True)):
        work = to_dtype(a, np.dtype(np.float64)) if whole else a
        borders = []
        for width, end, at_end in zip(pair, sides, (False, True), strict=True):
            shape = [1] * len(a.shape)
            shape[axis] = width
            steps = np.arange(width)  # from the end value towards the edge
            start = _scalar(end, work)
            edge = _taken(work, np.array([a.shape[axis] - 1 if at_end else 0]), axis)
            factors = _factors(steps[::-1] if at_end else steps, shape, work)
            ramp = add(start, mul(factors, div(sub(edge, start), max(1, width))))
            borders.append(to_dtype(floor(ramp), a.dtype) if whole else ramp)
        a = primitives.concatenate(borders[0], a, borders[1], dimension=axis)
    return a


def _mean(x: Value, axis: int) -> Value:
    total = reduce_sum(x, axes=(axis,))
    return mul(total, 1 / x.shape[axis])


def _median(x: Value, axis: int) -> Value:
    n = x.shape[axis]
    (ordered,) = sort(x, dimension=axis, num_keys=1, is_stable=False)
    return _mean(_taken(ordered, np.array([(n - 1) // 2, n // 2]), axis), axis)


_STATISTICS: dict[str, Callable[[Value, int], Value]] = {
    "maximum": lambda x, axis: reduce_max(x, axes=(axis,)),
    "minimum": lambda x, axis: reduce_min(x, axes=(axis,)),
    "mean": _mean,
    "median": _median,
}


def _statistic(a: Value, widths: list[tuple[int, int]], mode: str, stat_length: Any) -> Value:
    """A border of the maximum, mean ... of the elements next to it."""
    lengths = _pairs(stat_length, len(a.shape))
    for axis, (pair, sides) in enumerate(zip(widths, lengths, strict=True)):
        n = a.shape[axis]
        borders = []
        for width, length, at_end in zip(pair, sides, (False, True), strict=True):
            count = n if length is None else min(n, *integers(length))
            if count < 1:
                raise ValueError(f"stat_length must be 1 or more, got {stat_length!r}.")
            near = slice(n - count, n) if at_end else slice(0, count)
            part = getitem(a, (*(slice(None),) * axis, near))
            value = _of_dtype(part, mode, axis)
            shape = (*a.shape[:axis], width, *a.shape[axis + 1 :])
            kept = tuple(i for i in range(len(shape)) if i != axis)
            borders.append(
                basis.broadcast_in_dim(value, shape=shape, broadcast_dimensions=kept)
            )
        a = primitives.concatenate(borders[0], a, borders[1], dimension=axis)
    return a


def _of_dtype(x: Value, mode: str, axis: int) -> Value:
    """A statistic in the dtype of the array; means and medians of integers are rounded."""
    if mode in ("maximum", "minimum") or dtypes.is_inexact(x.dtype):
        return _STATISTICS[mode](x, axis)
    return to_dtype(round(_STATISTICS[mode](to_dtype(x, np.dtype(np.float64)), axis)), x.dtype)


def _by_function(
    a: Value, widths: list[tuple[int, int]], function: Callable[..., Any], kwargs: Any
) -> Value:
    a = _constant(a, widths, 0)
    for axis, pair in enumerate(widths):
        a = apply_along_axis(function, axis, a, pair, axis, kwargs)
    return a
