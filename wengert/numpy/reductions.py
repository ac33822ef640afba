"""Reductions over axes: sums, products, means, variances, extrema, truth.

Dtypes are JAX's: sums and products of bools and narrow integers are int32 or uint32, other
integers keep their dtype; means of integers are floating; positions are int32. Sixteen-bit
floats are accumulated in float32. Results are never weakly typed.

All take `axis` (None for all, an integer, or a tuple, negative ones allowed), `keepdims`, and
where it makes sense `where`, a mask of elements to include, and `initial`, a value to start
from. `out` must be None. Running sums are in `running`, versions
that leave NaN out in `nan_reductions`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayLike, Shape, as_array
from wengert.core.dtypes import DType, DTypeLike
from wengert.numpy.arrays import check_out, in_dtype
from wengert.numpy.axes import axes_of, axis_of
from wengert.numpy.comparison import truth
from wengert.numpy.elementwise import imag, real
from wengert.numpy.elementwise import maximum as larger
from wengert.numpy.elementwise import minimum as smaller
from wengert.numpy.promotion import Value, to_dtype
from wengert.primitives import basis, reduce
from wengert.primitives.cast import convert
from wengert.primitives.compare import gt, select
from wengert.primitives.elementwise import div, sqrt, square, sub

Axis = Any


# -- operands ---------------------------------------------------------------------------------


def operand(a: Any, dtype: DType | None = None) -> Value:
    """The operand of a reduction: strongly typed, in `dtype` if one is given."""
    if not isinstance(a, ArrayLike):
        a = as_array(a)
    if (dtype is not None and a.dtype != dtype) or a.weak_type:
        return convert(a, dtype=dtype or a.dtype)
    return a


def sum_dtype(a: Any, dtype: DTypeLike, promote_integers: bool = True) -> DType:
    """The dtype in which `a` is summed: what is asked for, or at least 32 bits of integers."""
    if dtype is not None:
        return dtypes.as_dtype(dtype)
    own: DType = a.dtype
    if own.itemsize >= 4 or not promote_integers or dtypes.is_inexact(own):
        return own
    return dtypes.as_dtype("uint32") if own.kind == "u" else dtypes.INT32


def shaped(out: Value, keepdims: bool, a: Any, axes: Shape) -> Value:
    """The result of a reduction of `a`, with its reduced axes back as size 1 if asked for."""
    if not keepdims:
        return out
    return basis.reshape(out, shape=kept_shape(as_array(a), axes))


def kept_shape(a: Value, axes: Shape) -> Shape:
    """The shape of `a` with the axes reduced to size 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(a.shape))


def masked(a: Value, where: Any, neutral: Any) -> Value:
    """`a` with a neutral number where the mask is false."""
    if where is None:
        return a
    if a.dtype == dtypes.BOOL:
        neutral = bool(neutral)
    return select(truth(where), a, neutral)


def count_of(a: Value, axes: Shape, where: Any) -> Any:
    """How many elements a reduction combines: a Python integer, or an array for a mask."""
    if where is None:
        return math.prod(a.shape[i] for i in axes)
    mask = basis.broadcast_to(truth(where), a.shape)
    return basis.reduce_sum(convert(mask, dtype=dtypes.INT32), axes=axes)


def _scalar(initial: Any, dtype: DType) -> Value:
    initial = in_dtype(initial, dtype)
    if initial.shape:
        raise errors.ShapeError(f"initial must be a number, got shape {initial.shape}.")
    return initial


# -- sums and products ------------------------------------------------------------------------


def sum(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Value:
    """The sum of the elements over some axes.

    Args:
      a: an array.
      axis: which axes; all by default.
      dtype: in which dtype to sum.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      initial: a number to start from.
      where: a mask of the elements to include.
      promote_integers: whether narrow integers are summed in 32 bits.

    >>> sum(np.ones((2, 3)), axis=1)
    Array([3., 3.], dtype=float64)
    """
    if out is not None:
        check_out("sum", out)
    if not isinstance(a, ArrayLike):
        a = as_array(a)
    a = operand(a, sum_dtype(a, dtype, promote_integers))
    axes = axes_of(axis, len(a.shape))
    result = basis.reduce_sum(a if where is None else masked(a, where, 0), axes=axes)
    if initial is not None:
        result = basis.add(result, _scalar(initial, a.dtype))
    return shaped(result, keepdims, a, axes)


def prod(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
    promote_integers: bool = True,
) -> Value:
    """The product of the elements over some axes; its derivatives are right at zeros too.

    Args:
      a: an array.
      axis: which axes; all by default.
      dtype: in which dtype to multiply.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      initial: a number to start from.
      where: a mask of the elements to include.
      promote_integers: whether narrow integers are multiplied in 32 bits.

    >>> prod(np.array([2, 3, 4]))
    Array(24, dtype=int64)
    """
    check_out("prod", out)
    a = as_array(a)
    a = operand(a, sum_dtype(a, dtype, promote_integers))
    axes = axes_of(axis, len(a.shape))
    result = reduce.reduce_prod(masked(a, where, 1), axes=axes)
    if initial is not None:
        result = basis.mul(result, _scalar(initial, a.dtype))
    return shaped(result, keepdims, a, axes)


# -- means and variances ----------------------------------------------------------------------


def mean_dtypes(a: Value, dtype: DTypeLike) -> tuple[DType, DType]:
    """The dtypes in which a mean is computed and returned."""
    result = dtypes.inexact_dtype(a.dtype) if dtype is None else dtypes.as_dtype(dtype)
    if not dtypes.is_inexact(result):
        return dtypes.inexact_dtype(a.dtype), result
    return (dtypes.FLOAT32 if result.itemsize == 2 else result), result


def mean(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = None,
) -> Value:
    """The mean of the elements over some axes; NaN of none.

    Args:
      a: an array.
      axis: which axes; all by default.
      dtype: dtype of the result; floating by default.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      where: a mask of the elements to include.

    >>> mean(np.array([[1, 2], [3, 5]]), axis=0)
    Array([2. , 3.5], dtype=float64)
    """
    if out is not None:
        check_out("mean", out)
    a = as_array(a)
    work, result = mean_dtypes(a, dtype)
    a = operand(a, work)
    axes = axes_of(axis, len(a.shape))
    count = count_of(a, axes, where)
    total = basis.reduce_sum(masked(a, where, 0), axes=axes)
    total = div(total, count if where is None else to_dtype(count, work))
    return shaped(to_dtype(total, result), keepdims, a, axes)


def var(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Value:
    """The mean squared distance of the elements from their mean, over some axes.

    Args:
      a: an array; of complex numbers the squared absolute values are taken.
      axis: which axes; all by default.
      dtype: dtype of the result; floating by default.
      out: must be None.
      ddof: the divisor is the number of elements less this; NaN where it is not positive.
      keepdims: whether the reduced axes stay, with size 1.
      where: a mask of the elements to include.
      mean: the mean, if it is known; with the reduced axes as size 1.
      correction: another name of `ddof`.

    >>> var(np.array([1.0, 2.0, 3.0, 4.0]), ddof=1)
    Array(1.66666667, dtype=float64)
    """
    check_out("var", out)
    ddof = _correction("var", ddof, correction)
    variance, result, axes = _variance(a, axis, dtype, ddof, where, mean)
    return shaped(to_dtype(variance, result), keepdims, a, axes)


def std(
    a: Any,
    axis: Axis = None,
    dtype: DTypeLike = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = None,
    mean: Any = None,
    correction: float | None = None,
) -> Value:
    """The square root of the variance, over some axes.

    It has no derivative where all elements are equal: the gradient is NaN there.

    Args:
      a: an array; of complex numbers the squared absolute values are taken.
      axis: which axes; all by default.
      dtype: dtype of the result; floating by default.
      out: must be None.
      ddof: the divisor is the number of elements less this; NaN where it is not positive.
      keepdims: whether the reduced axes stay, with size 1.
      where: a mask of the elements to include.
      mean: the mean, if it is known; with the reduced axes as size 1.
      correction: another name of `ddof`.

    >>> std(np.array([1.0, 3.0]))
    Array(1., dtype=float64)
    """
    check_out("std", out)
    ddof = _correction("std", ddof, correction)
    variance, result, axes = _variance(a, axis, dtype, ddof, where, mean)
    return shaped(to_dtype(sqrt(variance), result), keepdims, a, axes)


def _correction(name: str, ddof: float, correction: float | None) -> float:
    if correction is None:
        return ddof
    if ddof != 0:
        raise ValueError(f"{name} takes ddof or correction, not both: they mean the same.")
    return correction


def _variance(
    a: Any, axis: Axis, dtype: DTypeLike, ddof: float, where: Any, mean: Any
) -> tuple[Value, DType, Shape]:
    """The variance, the dtype that it should be returned in, and the reduced axes."""
    a = as_array(a)
    work, result = mean_dtypes(a, dtype)
    if dtypes.is_complex(a.dtype) and not dtypes.is_complex(work):
        work = dtypes.complex_dtype(work)
    a = operand(a, work)
    axes = axes_of(axis, len(a.shape))
    count = count_of(a, axes, where)
    if mean is None:
        total = basis.reduce_sum(masked(a, where, 0), axes=axes)
        mean = div(total, count if where is None else to_dtype(count, work))
        mean = basis.reshape(mean, shape=kept_shape(a, axes))
    distances = sub(a, in_dtype(mean, work))
    if dtypes.is_complex(work):
        squares = basis.add(square(real(distances)), square(imag(distances)))
        result = dtypes.real_dtype(result)
    else:
        squares = square(distances)
    total = basis.reduce_sum(masked(squares, where, 0), axes=axes)
    return _over_freedom(total, count, ddof), result, axes


def _over_freedom(total: Value, count: Any, ddof: float) -> Value:
    """A sum of squares over its degrees of freedom; NaN where there are none."""
    if type(count) is int:
        return div(total, count - ddof if count > ddof else np.nan)
    freedom = sub(to_dtype(count, total.dtype), ddof)
    return div(total, select(gt(freedom, 0), freedom, np.nan))


# -- extrema ----------------------------------------------------------------------------------


def max(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """The greatest element over some axes; NaN if there is one. Equal ones share derivatives.

    Args:
      a: an array.
      axis: which axes; all by default.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      initial: the least value of the result; needed for no elements, and with a mask.
      where: a mask of the elements to include.

    >>> max(np.array([[1, 4], [3, 2]]), axis=1)
    Array([4, 3], dtype=int64)
    """
    if out is not None:
        check_out("max", out)
    return _extremum(reduce.reduce_max, larger, a, axis, keepdims, initial, where)


def min(
    a: Any,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """The least element over some axes; NaN if there is one. Equal ones share derivatives.

    Args:
      a: an array.
      axis: which axes; all by default.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      initial: the greatest value of the result; needed for no elements, and with a mask.
      where: a mask of the elements to include.

    >>> min(np.array([[1, 4], [3, 2]]), axis=1)
    Array([1, 2], dtype=int64)
    """
    if out is not None:
        check_out("min", out)
    return _extremum(reduce.reduce_min, smaller, a, axis, keepdims, initial, where)


amax = max
amin = min


def _extremum(
    primitive: Any,
    combine: Any,
    a: Any,
    axis: Axis,
    keepdims: bool,
    initial: Any,
    where: Any,
) -> Value:
    a = operand(a)
    axes = axes_of(axis, len(a.shape))
    if initial is None:
        if where is not None:
            raise ValueError(
                f"{primitive} has no neutral element; give where= together with initial=."
            )
        return shaped(primitive(a, axes=axes), keepdims, a, axes)
    start = _scalar(initial, a.dtype)
    if where is not None:
        a = select(truth(where), a, start)
    if not math.prod(a.shape[i] for i in axes):
        shape = tuple(n for i, n in enumerate(a.shape) if i not in axes)
        result = basis.broadcast_to(start, shape)
    else:
        result = combine(primitive(a, axes=axes), start)
    return shaped(result, keepdims, a, axes)


def ptp(a: Any, axis: Axis = None, out: None = None, keepdims: bool = False) -> Value:
    """The greatest less the least element ("peak to peak"), over some axes.

    Args:
      a: an array.
      axis: which axes; all by default.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.

    >>> ptp(np.array([3, 9, 4]))
    Array(6, dtype=int64)
    """
    check_out("ptp", out)
    return sub(max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


def argmax(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Value:
    """The position of the first greatest element, or of the first NaN, as int32.

    Args:
      a: an array.
      axis: along which axis; None looks at all elements in order.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.

    >>> argmax(np.array([1, 7, 7, 2]))
    Array(1, dtype=int32)
    """
    check_out("argmax", out)
    return _position(reduce.argmax, a, axis, keepdims)


def argmin(
    a: Any, axis: int | None = None, out: None = None, keepdims: bool | None = None
) -> Value:
    """The position of the first least element, or of the first NaN, as int32.

    Args:
      a: an array.
      axis: along which axis; None looks at all elements in order.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.

    >>> argmin(np.array([4, 1, 1, 2]))
    Array(1, dtype=int32)
    """
    check_out("argmin", out)
    return _position(reduce.argmin, a, axis, keepdims)


def _position(primitive: Any, a: Any, axis: int | None, keepdims: bool | None) -> Value:
    a = as_array(a)
    if axis is None:
        axes = tuple(range(len(a.shape)))
        found = primitive(basis.reshape(a, shape=(a.size,)), axis=0)
    else:
        axes = (axis_of(axis, len(a.shape)),)
        found = primitive(a, axis=axes[0])
    return shaped(found, bool(keepdims), a, axes)


# -- truth ------------------------------------------------------------------------------------


def any(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Value:
    """Whether some element is nonzero, over some axes.

    Args:
      a: an array.
      axis: which axes; all by default.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      where: a mask of the elements to include.

    >>> any(np.array([0, 3]))
    Array(True, dtype=bool)
    """
    check_out("any", out)
    a = truth(a)
    axes = axes_of(axis, len(a.shape))
    return shaped(reduce.reduce_or(masked(a, where, False), axes=axes), keepdims, a, axes)


def all(
    a: Any, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Any = None
) -> Value:
    """Whether all elements are nonzero, over some axes.

    Args:
      a: an array.
      axis: which axes; all by default.
      out: must be None.
      keepdims: whether the reduced axes stay, with size 1.
      where: a mask of the elements to include.

    >>> all(np.array([0, 3]))
    Array(False, dtype=bool)
    """
    check_out("all", out)
    a = truth(a)
    axes = axes_of(axis, len(a.shape))
    return shaped(reduce.reduce_and(masked(a, where, True), axes=axes), keepdims, a, axes)


def count_nonzero(a: Any, axis: Axis = None, keepdims: bool = False) -> Value:
    """The number of nonzero elements over some axes, as int32.

    Args:
      a: an array.
      axis: which axes; all by default.
      keepdims: whether the reduced axes stay, with size 1.

    >>> count_nonzero(np.array([0, 3, 5]))
    Array(2, dtype=int32)
    """
    return sum(truth(a), axis, keepdims=keepdims)
