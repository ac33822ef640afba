"""New arrays: filled, counting, evenly spaced, of a function of their indices.

Default dtypes are float32 and int32. Numbers that depend on static arguments only are computed
by NumPy in double precision and rounded once; `linspace`, `logspace` and `geomspace` also take
traced ends and are differentiable in them. `array`, `asarray` and other conversions are in
`arrays` and re-exported here; matrices are in `diagonals`, grids in `grids`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayLike, Shape
from wengert.core.dtypes import DType, DTypeLike
from wengert.core.interpreter import Tracer, quiet
from wengert.numpy.arrays import array as array
from wengert.numpy.arrays import asarray as asarray
from wengert.numpy.arrays import astype as astype
from wengert.numpy.arrays import check_device
from wengert.numpy.arrays import copy as copy
from wengert.numpy.arrays import view as view
from wengert.numpy.axes import axis_of, shape_of
from wengert.numpy.promotion import Value, promote_inexact, requested_dtype, to_dtype
from wengert.primitives.basis import (
    add,
    broadcast_to,
    move_axis,
    mul,
)
from wengert.primitives.basis import (
    full as full_primitive,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import floor
from wengert.primitives.elementwise import div, sub
from wengert.primitives.shape import iota
from wengert.primitives.transcendental import exp, log, pow
from wengert.transforms.vmap import vmap

# -- filled ------------------------------------------------------------------------------------


def zeros(shape: Any, dtype: DTypeLike = None, *, device: Any = None) -> Value:
    """An array of zeros.

    Args:
      shape: an integer or a sequence of them.
      dtype: float32 by default.
      device: None or "cpu".

    >>> zeros((2, 3))
    Array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    check_device(device)
    return full_primitive(
        shape=shape_of(shape), value=0, dtype=requested_dtype(dtype, dtypes.FLOAT32)
    )


def ones(shape: Any, dtype: DTypeLike = None, *, device: Any = None) -> Value:
    """An array of ones.

    Args:
      shape: an integer or a sequence of them.
      dtype: float32 by default.
      device: None or "cpu".

    >>> ones(3, dtype=int)
    Array([1, 1, 1], dtype=int32)
    """
    check_device(device)
    return full_primitive(
        shape=shape_of(shape), value=1, dtype=requested_dtype(dtype, dtypes.FLOAT32)
    )


def empty(shape: Any, dtype: DTypeLike = None, *, device: Any = None) -> Value:
    """An array of zeros: arrays are immutable, so an uninitialised one would be of no use.

    >>> empty((2, 0)).shape
    (2, 0)
    """
    return zeros(shape, dtype, device=device)


def full(shape: Any, fill_value: Any, dtype: DTypeLike = None, *, device: Any = None) -> Value:
    """An array of one value.

    Args:
      shape: an integer or a sequence of them.
      fill_value: a number, or an array that broadcasts to the shape.
      dtype: that of the value by default.
      device: None or "cpu".

    >>> full((2, 2), 7.5)
    Array([[7.5, 7.5],
           [7.5, 7.5]], dtype=float32, weak_type=True)
    """
    check_device(device)
    sizes = shape_of(shape)
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    return _filled(sizes, fill_value, wanted, weak=False)


def _filled(shape: Shape, value: Any, dtype: DType | None, weak: bool) -> Value:
    if type(value) in dtypes.SCALAR_TYPES and dtype is not None:
        return full_primitive(shape=shape, value=value, dtype=dtype, weak=weak)
    fill = asarray(value)
    if dtype is not None:
        fill = to_dtype(fill, dtype, weak)
    if type(fill) is Array and not fill.shape:
        return full_primitive(
            shape=shape, value=fill.item(), dtype=fill.dtype, weak=fill.weak_type
        )
    try:
        fits = np.broadcast_shapes(fill.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise errors.ShapeError(
            f"a fill value of shape {fill.shape} does not broadcast to shape {shape}."
        )
    return broadcast_to(fill, shape)


def _prototype(a: Any, dtype: DTypeLike, shape: Any) -> tuple[Shape, DType, bool]:
    """Shape, dtype and weakness of an array like `a`, with those that are given replaced."""
    if not (hasattr(a, "shape") and hasattr(a, "dtype")):
        a = asarray(a)
    sizes = tuple(a.shape) if shape is None else shape_of(shape)
    if dtype is None:
        return sizes, dtypes.as_dtype(a.dtype), bool(getattr(a, "weak_type", False))
    return sizes, dtypes.as_dtype(dtype), False


def zeros_like(
    a: Any, dtype: DTypeLike = None, shape: Any = None, *, device: Any = None
) -> Value:
    """Zeros in the shape and dtype of an array, unless others are given.

    >>> zeros_like(np.ones((2, 2)), dtype="int8")
    Array([[0, 0],
           [0, 0]], dtype=int8)
    """
    check_device(device)
    sizes, wanted, weak = _prototype(a, dtype, shape)
    return full_primitive(shape=sizes, value=0, dtype=wanted, weak=weak)


def ones_like(
    a: Any, dtype: DTypeLike = None, shape: Any = None, *, device: Any = None
) -> Value:
    """Ones in the shape and dtype of an array, unless others are given.

    >>> ones_like(np.zeros(2))
    Array([1., 1.], dtype=float64)
    """
    check_device(device)
    sizes, wanted, weak = _prototype(a, dtype, shape)
    return full_primitive(shape=sizes, value=1, dtype=wanted, weak=weak)


def empty_like(
    prototype: Any, dtype: DTypeLike = None, shape: Any = None, *, device: Any = None
) -> Value:
    """Zeros in the shape and dtype of an array, unless others are given; see `empty`.

    >>> empty_like(np.ones((2, 0))).shape
    (2, 0)
    """
    return zeros_like(prototype, dtype, shape, device=device)


def full_like(
    a: Any, fill_value: Any, dtype: DTypeLike = None, shape: Any = None, *, device: Any = None
) -> Value:
    """One value in the shape and dtype of an array, unless others are given.

    >>> full_like(np.zeros(2), 3)
    Array([3., 3.], dtype=float64)
    """
    check_device(device)
    sizes, wanted, weak = _prototype(a, dtype, shape)
    return _filled(sizes, fill_value, wanted, weak)


# -- counting and evenly spaced ----------------------------------------------------------------


def arange(
    start: Any,
    stop: Any = None,
    step: Any = None,
    dtype: DTypeLike = None,
    *,
    device: Any = None,
) -> Value:
    """The numbers from `start` up to, but without, `stop`, `step` apart.

    Args:
      start: first number; with one argument only, the end of a range that begins at 0.
      stop: where to end.
      step: 1 by default.
      dtype: the promotion of the arguments' dtypes by default.
      device: None or "cpu".

    Raises:
      OverflowError: when the numbers do not fit an integer dtype.

    >>> arange(3)
    Array([0, 1, 2], dtype=int32)
    >>> arange(1, 2, 0.25)
    Array([1.  , 1.25, 1.5 , 1.75], dtype=float32)
    """
    check_device(device)
    if stop is None:
        if type(start) is int and step is None and dtype is None:
            _check_range(dtypes.INT32, start - 1)
            return iota(dtype=dtypes.INT32, shape=(max(start, 0),), dimension=0)
        start, stop = 0, start
    given = [start, stop] if step is None else [start, stop, step]
    numbers = [_static_number("arange", number) for number in given]
    wanted = dtypes.join(given)[0] if dtype is None else dtypes.as_dtype(dtype)
    if numbers[0] == 0 and step is None and wanted.kind in "iu" and type(numbers[1]) is int:
        _check_range(wanted, numbers[1] - 1)
        return iota(dtype=wanted, shape=(max(numbers[1], 0),), dimension=0)
    values = np.arange(*numbers)
    if wanted.kind in "iu" and values.size:
        _check_range(wanted, values[0], values[-1])
    return Array(quiet().run(values.astype, wanted))


def _static_number(name: str, number: Any) -> Any:
    """A Python scalar from a scalar argument that must be known."""
    if isinstance(number, ArrayLike | np.ndarray | np.generic):
        if isinstance(number, Tracer):
            float(number)  # an error that says so: the length would depend on it
        if number.shape:
            raise errors.ShapeError(f"{name} takes numbers, got an array of {number.shape}.")
        return number.item()
    return number


def _check_range(dtype: DType, *numbers: Any) -> None:
    limits = np.iinfo(dtype)
    for number in numbers:
        if number > limits.max or number < min(limits.min, -1):
            raise OverflowError(
                f"{number} does not fit {dtype}; say which dtype is meant: dtype='int64'."
            )


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """Evenly spaced numbers from `start` to `stop`.

    Args:
      start: first number, or an array of them.
      stop: last number, or an array of them.
      num: how many numbers.
      endpoint: whether `stop` is one of them.
      retstep: whether to return the distance too.
      dtype: the floating promotion of the ends by default; integers are rounded down.
      axis: where the new dimension goes if the ends are arrays.
      device: None or "cpu".

    Returns:
      the numbers, or with `retstep` a pair of numbers and distance.

    >>> linspace(0, 1, 5)
    Array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    check_device(device)
    start, stop = promote_inexact(start, stop)
    count, wanted = _count(num), requested_dtype(dtype, start.dtype)
    steps = count - 1 if endpoint else count
    if type(start) is Array and type(stop) is Array:
        out = _by_numpy(np.linspace, start, stop, count, endpoint, wanted, axis)
    else:
        weights = _weights(start, stop, count, endpoint)
        out = add(mul(start, sub(1, weights)), mul(stop, weights))
        out = _finished(out, wanted, axis)
    if not retstep:
        return out
    distance = to_dtype(sub(stop, start), start.dtype)
    return out, div(distance, steps) if steps > 0 else mul(distance, math.nan)


def _count(num: Any) -> int:
    count: int = num.__index__()
    if count < 0:
        raise ValueError(f"the number of samples must not be negative, got {count}.")
    return count


def _by_numpy(
    function: Callable[..., Any],
    start: Any,
    stop: Any,
    count: int,
    endpoint: bool,
    dtype: DType,
    axis: int,
    **params: Any,
) -> Array:
    """What NumPy's function gives in double precision, converted."""
    wide = np.complex128 if dtypes.is_complex(start.dtype) else np.float64
    ends = [end._value.astype(wide) for end in (start, stop)]
    out = quiet().run(function, *ends, count, endpoint, axis=axis, **params)
    if dtypes.is_integer(dtype):
        out = np.floor(out)
    return Array(quiet().run(convert.compute, out, dtype=dtype))


def _weights(start: Value, stop: Value, count: int, endpoint: bool) -> Array:
    """How far along each of the evenly spaced numbers is, on a new first dimension."""
    steps = max(count - 1 if endpoint else count, 1)
    rank = max(len(start.shape), len(stop.shape))
    weights = (np.arange(count) / steps).astype(start.dtype)
    return Array(weights.reshape(count, *(1,) * rank))


def _finished(out: Value, dtype: DType, axis: int) -> Value:
    if dtypes.is_integer(dtype):
        out = floor(out)
    return to_dtype(move_axis(out, 0, axis_of(axis, len(out.shape))), dtype)


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: DTypeLike = None,
    axis: int = 0,
) -> Value:
    """Powers of `base` with evenly spaced exponents.

    Args:
      start: first exponent, or an array of them.
      stop: last exponent, or an array of them.
      num: how many numbers.
      endpoint: whether the power with exponent `stop` is one of them.
      base: what is raised to the powers.
      dtype: the floating promotion of the arguments by default; integers are rounded down.
      axis: where the new dimension goes if the ends are arrays.

    >>> logspace(0, 2, 3)
    Array([  1.,  10., 100.], dtype=float32)
    """
    start, stop, base = promote_inexact(start, stop, base)
    count, wanted = _count(num), requested_dtype(dtype, start.dtype)
    if all(type(x) is Array and not x.shape for x in (start, stop, base)):
        factor = base._value.item()
        return _by_numpy(np.logspace, start, stop, count, endpoint, wanted, axis, base=factor)
    exponents = linspace(start, stop, count, endpoint)
    return _finished(pow(base, exponents), wanted, axis)


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike = None,
    axis: int = 0,
) -> Value:
    """Numbers from `start` to `stop`, each the same multiple of the one before.

    Args:
      start: first number, or an array of them.
      stop: last number, or an array of them, of the same sign.
      num: how many numbers.
      endpoint: whether `stop` is one of them.
      dtype: the floating promotion of the ends by default; integers are rounded down.
      axis: where the new dimension goes if the ends are arrays.

    >>> geomspace(1, 1000, 4)
    Array([   1.,   10.,  100., 1000.], dtype=float32)
    """
    start, stop = promote_inexact(start, stop)
    count, wanted = _count(num), requested_dtype(dtype, start.dtype)
    if type(start) is Array and type(stop) is Array:
        return _by_numpy(np.geomspace, start, stop, count, endpoint, wanted, axis)
    weights = _weights(start, stop, count, endpoint)
    ratio = exp(mul(weights, log(div(stop, start))))
    return _finished(mul(start, ratio), wanted, axis)


def fromfunction(
    function: Callable[..., Any], shape: Any, *, dtype: DTypeLike = float, **kwargs: Any
) -> Any:
    """The array of what a function gives for each index.

    The function is called once, under `vmap`, with one index for each dimension.

    Args:
      function: from indices to a number, an array or a tree of them.
      shape: an integer or a sequence of them.
      dtype: dtype of the indices.
      **kwargs: handed to the function.

    >>> fromfunction(lambda i, j: 10 * i + j, (2, 3), dtype=int)
    Array([[ 0,  1,  2],
           [10, 11, 12]], dtype=int32)
    """
    sizes = shape_of(shape)
    mapped: Callable[..., Any] = functools.partial(function, **kwargs)
    for position in reversed(range(len(sizes))):
        in_axes = [0 if i == position else None for i in range(len(sizes))]
        mapped = vmap(mapped, in_axes=tuple(in_axes))
    return mapped(*(arange(n, dtype=dtype) for n in sizes))
