"""Along an axis: running sums and products, differences, integrals, slopes.

The running operations of NaN-free versions treat NaN as 0 or 1. Differences and slopes follow
NumPy's conventions at the ends. Everything is differentiable, also in the coordinates where
`trapezoid` and `gradient` take some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.arrays import as_operand, check_out, in_dtype
from wengert.numpy.axes import axes_of, axis_of
from wengert.numpy.promotion import Value, promote, promote_inexact, to_dtype
from wengert.numpy.reductions import operand, sum_dtype
from wengert.primitives import basis, cumulative
from wengert.primitives.basis import add, broadcast_to, mul, reshape
from wengert.primitives.compare import isnan, ne, select
from wengert.primitives.elementwise import div, sub
from wengert.primitives.shape import concatenate, slice_

# -- running sums and products -----------------------------------------------------------------


def cumsum(a: Any, axis: int | None = None, dtype: DTypeLike = None, out: None = None) -> Value:
    """The sums of the elements up to each, along an axis.

    Args:
      a: an array.
      axis: along which axis; None takes all elements in order.
      dtype: in which dtype to sum; that of `a` by default, int32 for bools.
      out: must be None.

    >>> import wengert.numpy as wnp
    >>> wnp.cumsum(wnp.array([1, 2, 3]))
    Array([1, 3, 6], dtype=int32)
    """
    check_out("cumsum", out)
    return running(cumulative.cumsum, a, axis, dtype)


def cumprod(
    a: Any, axis: int | None = None, dtype: DTypeLike = None, out: None = None
) -> Value:
    """The products of the elements up to each, along an axis.

    Args:
      a: an array.
      axis: along which axis; None takes all elements in order.
      dtype: in which dtype to multiply; that of `a` by default, int32 for bools.
      out: must be None.

    >>> import wengert.numpy as wnp
    >>> wnp.cumprod(wnp.array([1, 2, 3]))
    Array([1, 2, 6], dtype=int32)
    """
    check_out("cumprod", out)
    return running(cumulative.cumprod, a, axis, dtype)


def running(primitive: Any, a: Any, axis: int | None, dtype: DTypeLike) -> Value:
    """A running operation along an axis, or over all elements in order."""
    a = as_array(a)
    if dtype is None:
        wanted = dtypes.INT32 if a.dtype == dtypes.BOOL else a.dtype
    else:
        wanted = dtypes.as_dtype(dtype)
    a = operand(a, wanted)
    if axis is None:
        return primitive(basis.reshape(a, shape=(a.size,)), axis=0)
    return primitive(a, axis=axis_of(axis, len(a.shape)))


def cumulative_sum(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: DTypeLike = None,
    include_initial: bool = False,
) -> Value:
    """The sums of the elements up to each, along an axis; narrow integers in 32 bits.

    Args:
      x: an array.
      axis: along which axis; may be left out for one dimension.
      dtype: in which dtype to sum.
      include_initial: whether to begin with the sum of no elements, 0.

    >>> import wengert.numpy as wnp
    >>> wnp.cumulative_sum(wnp.array([1, 2, 3]), include_initial=True)
    Array([0, 1, 3, 6], dtype=int32)
    """
    return _cumulative(cumulative.cumsum, x, axis, dtype, 0 if include_initial else None)


def cumulative_prod(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: DTypeLike = None,
    include_initial: bool = False,
) -> Value:
    """The products of the elements up to each, along an axis; narrow integers in 32 bits.

    Args:
      x: an array.
      axis: along which axis; may be left out for one dimension.
      dtype: in which dtype to multiply.
      include_initial: whether to begin with the product of no elements, 1.

    >>> import wengert.numpy as wnp
    >>> wnp.cumulative_prod(wnp.array([1, 2, 3]), include_initial=True)
    Array([1, 1, 2, 6], dtype=int32)
    """
    return _cumulative(cumulative.cumprod, x, axis, dtype, 1 if include_initial else None)


def _cumulative(
    primitive: Any, x: Any, axis: int | None, dtype: DTypeLike, initial: int | None
) -> Value:
    x = as_array(x)
    if axis is None:
        if len(x.shape) != 1:
            raise errors.ShapeError(
                f"{primitive} of shape {x.shape} needs an axis; it may be left out for arrays "
                "of one dimension only."
            )
        axis = 0
    number = axis_of(axis, len(x.shape))
    out = running(primitive, x, number, sum_dtype(x, dtype))
    if initial is None:
        return out
    shape = (*out.shape[:number], 1, *out.shape[number + 1 :])
    first = basis.filled(ArrayType(shape, out.dtype), initial)
    return concatenate(first, out, dimension=number)


def nancumsum(
    a: Any, axis: int | None = None, dtype: DTypeLike = None, out: None = None
) -> Value:
    """The sums of the elements up to each, NaN counted as 0, along an axis.

    Args:
      a: an array.
      axis: along which axis; None takes all elements in order.
      dtype: in which dtype to sum; that of `a` by default, int32 for bools.
      out: must be None.

    >>> import wengert.numpy as wnp
    >>> wnp.nancumsum(wnp.array([1, wnp.nan, 3]))
    Array([1., 1., 4.], dtype=float32)
    """
    check_out("nancumsum", out)
    return running(cumulative.cumsum, without_nan(a, 0), axis, dtype)


def nancumprod(
    a: Any, axis: int | None = None, dtype: DTypeLike = None, out: None = None
) -> Value:
    """The products of the elements up to each, NaN counted as 1, along an axis.

    Args:
      a: an array.
      axis: along which axis; None takes all elements in order.
      dtype: in which dtype to multiply; that of `a` by default, int32 for bools.
      out: must be None.

    >>> import wengert.numpy as wnp
    >>> wnp.nancumprod(wnp.array([1, wnp.nan, 3]))
    Array([1., 1., 3.], dtype=float32)
    """
    check_out("nancumprod", out)
    return running(cumulative.cumprod, without_nan(a, 1), axis, dtype)


def without_nan(a: Any, replacement: Any) -> Value:
    """The array with a number in place of NaN; its derivative there is 0."""
    a = as_array(a)
    return select(isnan(a), replacement, a) if dtypes.is_inexact(a.dtype) else a


# -- differences -------------------------------------------------------------------------------


def part(x: Value, axis: int, start: int, stop: int) -> Value:
    """The elements from `start` to `stop` along an axis; negative ones count from the end."""
    size = x.shape[axis]
    start, stop, _ = slice(start, stop or size).indices(size)
    starts, limits = [0] * len(x.shape), list(x.shape)
    starts[axis], limits[axis] = start, max(start, stop)
    return slice_(x, start_indices=tuple(starts), limit_indices=tuple(limits), strides=None)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Value:
    """The differences of neighbouring elements along an axis; of bools whether they differ.

    Args:
      a: an array.
      n: how often to take differences.
      axis: along which axis.
      prepend: what to put before `a` first: a number, or an array.
      append: what to put after `a` first.

    >>> import wengert.numpy as wnp
    >>> wnp.diff(wnp.array([1, 4, 9, 16]))
    Array([3, 5, 7], dtype=int32)
    """
    a = as_array(a)
    if not a.shape:
        raise errors.ShapeError("diff needs at least one dimension, got a number.")
    if n < 0:
        raise ValueError(f"the order of a difference must not be negative, got {n}.")
    axis = axis_of(axis, len(a.shape))
    given = [values for values in (prepend, append) if values is not None]
    if given:
        a, *borders = promote(a, *map(as_operand, given))
        borders = [_border(values, a, axis) for values in borders]
        cut = 0 if prepend is None else 1
        a = concatenate(*borders[:cut], a, *borders[cut:], dimension=axis)
    for _ in range(n):
        a = _difference(a, axis)
    return a


def _border(values: Value, a: Value, axis: int) -> Value:
    if values.shape:
        return values
    return broadcast_to(values, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))


def _difference(a: Value, axis: int) -> Value:
    if a.shape[axis] < 2:
        return part(a, axis, 0, -1)
    operation = ne if a.dtype == dtypes.BOOL else sub
    return operation(part(a, axis, 1, 0), part(a, axis, 0, -1))


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Value:
    """The differences of neighbouring elements of an array, taken in order.

    Args:
      ary: an array of any shape.
      to_end: numbers to put after the differences.
      to_begin: numbers to put before them.

    >>> import wengert.numpy as wnp
    >>> wnp.ediff1d(wnp.array([1, 4, 9]), to_begin=0)
    Array([0, 3, 5], dtype=int32)
    """
    ary = as_array(ary)
    ary = reshape(ary, shape=(ary.size,))
    short = ary.size < 2
    pieces = [part(ary, 0, 0, -1) if short else sub(part(ary, 0, 1, 0), part(ary, 0, 0, -1))]
    for values, place in ((to_begin, 0), (to_end, 2)):
        if values is not None:
            values = as_array(values)
            pieces.insert(place, to_dtype(reshape(values, shape=(values.size,)), ary.dtype))
    return pieces[0] if len(pieces) == 1 else concatenate(*pieces, dimension=0)


# -- integrals and slopes ----------------------------------------------------------------------


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Value:
    """The integral of samples, taken as linear between them, along an axis.

    Args:
      y: the samples.
      x: where they were taken: a vector, or an array that broadcasts to `y`.
      dx: their distance, where `x` is None.
      axis: along which axis.

    >>> import wengert.numpy as wnp
    >>> wnp.trapezoid(wnp.array([1.0, 2.0, 3.0]))
    Array(4., dtype=float32)
    """
    if x is None:
        y, dx = promote_inexact(y, dx)
        axis = axis_of(axis, len(y.shape))
        steps = dx
        if dx.shape:
            raise errors.ShapeError("dx must be a number; give positions as x.")
    else:
        y, x = promote_inexact(y, x)
        axis = axis_of(axis, len(y.shape))
        along = 0 if len(x.shape) == 1 else axis
        steps = sub(part(x, along, 1, 0), part(x, along, 0, -1))
        if len(x.shape) == 1:
            steps = _aligned(steps, axis, len(y.shape))
    pairs = add(part(y, axis, 1, 0), part(y, axis, 0, -1))
    return mul(basis.reduce_sum(mul(pairs, steps), axes=(axis,)), 0.5)


def _aligned(vector: Value, axis: int, rank: int) -> Value:
    """A vector as an array of some rank whose only dimension of interest is `axis`."""
    return reshape(
        vector, shape=tuple(vector.shape[0] if i == axis else 1 for i in range(rank))
    )


def gradient(
    f: Any,
    *varargs: Any,
    axis: int | Sequence[int] | None = None,
    edge_order: int | None = None,
) -> Value | list[Value]:
    """The slopes of samples, by differences that are exact for parabolas inside.

    Args:
      f: the samples.
      *varargs: their distances: nothing for 1, one number for all axes, or for each axis a
        number or a vector of coordinates.
      axis: along which axes; all by default.
      edge_order: 1 or 2, the degree up to which the slopes at the ends are exact.

    Returns:
      the slopes along the axis, or a list of them if there are several.

    >>> import wengert.numpy as wnp
    >>> wnp.gradient(wnp.array([1.0, 4.0, 9.0, 16.0]))
    Array([3., 4., 6., 7.], dtype=float32)
    """
    order = 1 if edge_order is None else edge_order
    if order not in (1, 2):
        raise ValueError(f"edge_order must be 1 or 2, got {edge_order}.")
    (f,) = promote_inexact(f)
    axes = axes_of(axis, len(f.shape))
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient along {len(axes)} axes takes 0, 1 or {len(axes)} spacings.")
    slopes = [_slope(f, a, s, order) for a, s in zip(axes, spacings, strict=True)]
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(f: Value, axis: int, spacing: Any, order: int) -> Value:
    n = f.shape[axis]
    if n <= order:
        raise errors.ShapeError(
            f"gradient with edge_order={order} needs more than {order} samples along axis "
            f"{axis}, got shape {f.shape}."
        )
    spacing = in_dtype(spacing, f.dtype)
    if not spacing.shape:
        return div(_even_slope(f, axis, order), spacing)
    if spacing.shape != (n,):
        raise errors.ShapeError(
            f"coordinates along axis {axis} must have shape ({n},), got {spacing.shape}."
        )
    steps = sub(part(spacing, 0, 1, 0), part(spacing, 0, 0, -1))
    return _uneven_slope(f, axis, _aligned(steps, axis, len(f.shape)), order)


def _even_slope(f: Value, axis: int, order: int) -> Value:
    """The slopes of samples at distance 1."""
    inner = mul(sub(part(f, axis, 2, 0), part(f, axis, 0, -2)), 0.5)
    edges = []
    for first, second, third in ((0, 1, 2), (-1, -2, -3)):
        near, beside = part(f, axis, first, first + 1), part(f, axis, second, second + 1)
        rise = sub(beside, near)
        if order == 2:
            far = part(f, axis, third, third + 1)
            rise = sub(mul(beside, 2.0), add(mul(near, 1.5), mul(far, 0.5)))
        edges.append(rise if first == 0 else basis.neg(rise))
    return concatenate(edges[0], inner, edges[1], dimension=axis)


def _uneven_slope(f: Value, axis: int, steps: Value, order: int) -> Value:
    """The slopes of samples with the given steps between them."""

    def parabola(at: int, left: Value, right: Value, points: list[Value]) -> Value:
        """The slope of the parabola through three points, at one of them."""
        slopes = [div(sub(points[i + 1], points[i]), h) for i, h in enumerate((left, right))]
        bend = div(sub(slopes[1], slopes[0]), add(left, right))
        if at == 0:
            return sub(slopes[0], mul(bend, left))
        return add(slopes[at - 1], mul(bend, left if at == 1 else right))

    lower, upper = part(steps, axis, 0, -1), part(steps, axis, 1, 0)
    points = [part(f, axis, 0, -2), part(f, axis, 1, -1), part(f, axis, 2, 0)]
    pieces = [parabola(1, lower, upper, points)]
    if order == 1:
        slopes = div(sub(part(f, axis, 1, 0), part(f, axis, 0, -1)), steps)
        pieces = [part(slopes, axis, 0, 1), *pieces, part(slopes, axis, -1, 0)]
    else:
        first = [part(v, axis, 0, 1) for v in (lower, upper, *points)]
        last = [part(v, axis, -1, 0) for v in (lower, upper, *points)]
        pieces.insert(0, parabola(0, first[0], first[1], first[2:]))
        pieces.append(parabola(2, last[0], last[1], last[2:]))
    return concatenate(*pieces, dimension=axis)
