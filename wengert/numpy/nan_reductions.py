"""Reductions that leave NaN out: sums, products, means, variances, extrema and positions.

They are the reductions of `reductions` with NaN masked, so they take the same arguments.
Elements that are NaN have derivative 0. Of slices that hold nothing but NaN, sums are 0,
products 1, means and extrema NaN, and positions -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy import reductions
from wengert.numpy.arrays import check_out
from wengert.numpy.axes import axes_of
from wengert.numpy.comparison import truth
from wengert.numpy.promotion import Value
from wengert.numpy.running import without_nan
from wengert.primitives import reduce
from wengert.primitives.compare import bitwise_and, bitwise_not, isnan, select

Axis = Any


def _present(a: Any, where: Any) -> Any:
    """The mask of elements to include: those of `where` that are not NaN."""
    a = as_array(a)
    if not dtypes.is_inexact(a.dtype):
        return where
    present = bitwise_not(isnan(a))
    return present if where is None else bitwise_and(present, truth(where))


def nansum(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """The sum of the elements that are not NaN; arguments as for `sum`.

    >>> nansum(np.array([1.0, np.nan, 2.0]))
    Array(3., dtype=float64)
    """
    return reductions.sum(without_nan(a, 0), axis, dtype, out, keepdims, initial, where)


def nanprod(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """The product of the elements that are not NaN; arguments as for `prod`.

    >>> nanprod(np.array([3.0, np.nan, 2.0]))
    Array(6., dtype=float64)
    """
    return reductions.prod(without_nan(a, 1), axis, dtype, out, keepdims, initial, where)


def nanmean(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    keepdims: bool = False,
    where: Any = None,
) -> Value:
    """The mean of the elements that are not NaN; arguments as for `mean`.

    >>> nanmean(np.array([1.0, np.nan, 2.0]))
    Array(1.5, dtype=float64)
    """
    mask = _present(a, where)
    return reductions.mean(a, axis, dtype, out, keepdims, where=mask)


def nanvar(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Value:
    """The variance of the elements that are not NaN; arguments as for `var`.

    >>> nanvar(np.array([1.0, np.nan, 3.0]))
    Array(1., dtype=float64)
    """
    mask = _present(a, where)
    return reductions.var(a, axis, dtype, out, ddof, keepdims, where=mask, mean=mean)


def nanstd(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Value:
    """The standard deviation of the elements that are not NaN; arguments as for `std`.

    >>> nanstd(np.array([1.0, np.nan, 3.0]))
    Array(1., dtype=float64)
    """
    mask = _present(a, where)
    return reductions.std(a, axis, dtype, out, ddof, keepdims, where=mask, mean=mean)


def _nan_extremum(
    reduction: Any, worst: float, a: Any, axis: Axis, keepdims: bool, initial: Any, where: Any
) -> Value:
    a = as_array(a)
    if not dtypes.is_inexact(a.dtype):
        return reduction(a, axis, None, keepdims, initial, where)
    missing = isnan(a)
    best = reduction(select(missing, worst, a), axis, None, keepdims, initial, where)
    if initial is not None:
        return best
    return select(reductions.all(missing, axis, keepdims=keepdims), np.nan, best)


def nanmax(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """The greatest element that is not NaN; arguments as for `max`.

    >>> nanmax(np.array([1.0, np.nan, 2.0]))
    Array(2., dtype=float64)
    """
    check_out("nanmax", out)
    return _nan_extremum(reductions.max, -np.inf, a, axis, keepdims, initial, where)


def nanmin(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """The least element that is not NaN; arguments as for `min`.

    >>> nanmin(np.array([1.0, np.nan, 2.0]))
    Array(1., dtype=float64)
    """
    check_out("nanmin", out)
    return _nan_extremum(reductions.min, np.inf, a, axis, keepdims, initial, where)


def _nan_position(
    reduction: Any, worst: float, a: Any, axis: int | None, keepdims: bool | None
) -> Value:
    a = as_array(a)
    if not dtypes.is_inexact(a.dtype):
        return reduction(a, axis, keepdims=keepdims)
    missing = isnan(a)
    found = reduction(select(missing, worst, a), axis, keepdims=keepdims)
    axes = axes_of(axis, len(a.shape))
    nothing = reduce.reduce_and(missing, axes=axes)
    return select(reductions.shaped(nothing, bool(keepdims), a, axes), -1, found)


def nanargmax(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Value:
    """The position of the greatest element that is not NaN; arguments as for `argmax`.

    >>> nanargmax(np.array([1.0, np.nan, 2.0]))
    Array(2, dtype=int32)
    """
    check_out("nanargmax", out)
    return _nan_position(reductions.argmax, -np.inf, a, axis, keepdims)


def nanargmin(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Value:
    """The position of the least element that is not NaN; arguments as for `argmin`.

    >>> nanargmin(np.array([3.0, np.nan, 2.0]))
    Array(2, dtype=int32)
    """
    check_out("nanargmin", out)
    return _nan_position(reductions.argmin, np.inf, a, axis, keepdims)
