"""Weighted means, covariances, correlations, and counts of numbers.

Covariances follow NumPy's conventions on degrees of freedom. `bincount` is
differentiable in its weights; how many numbers it tells apart must be known while tracing:
give `length=`. Histograms are in `histograms`.
"""

from __future__ import annotations

from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.arrays import as_operand, asarray
from wengert.numpy.axes import axes_of
from wengert.numpy.diagonals import diagonal
from wengert.numpy.elementwise import clip, imag, real
from wengert.numpy.promotion import (
    Value,
    promote,
    promote_inexact,
    to_dtype,
)
from wengert.numpy.reductions import count_of, mean, operand, shaped
from wengert.numpy.running import part
from wengert.primitives import cast, sort
from wengert.primitives.basis import (
    add,
    broadcast_to,
    filled,
    mul,
    reduce_sum,
    reshape,
    transpose,
)
from wengert.primitives.compare import ge, lt, select
from wengert.primitives.contract import dot_general
from wengert.primitives.elementwise import div, sqrt, sub
from wengert.primitives.index import scatter_add
from wengert.primitives.shape import concatenate, rev

Axis = Any


# -- weighted means and covariances ----------------------------------------------------------


def average(
    a: Any,
    axis: Axis = None,
    weights: Any = None,
    returned: bool = False,
    keepdims: bool = False,
) -> Any:
    """The weighted mean over some axes.

    Args:
      a: an array.
      axis: which axes; all by default.
      weights: of the shape of `a`, or of the axes; all equal by default.
      returned: whether to return the sum of the weights too.
      keepdims: whether the reduced axes stay, with size 1.

    >>> import wengert.numpy as wnp
    >>> wnp.average(wnp.array([1.0, 2.0, 3.0]), weights=wnp.array([3.0, 0.0, 1.0]))
    Array(1.5, dtype=float32)
    """
    if weights is None:
        out = mean(a, axis, keepdims=keepdims)
        a = as_array(a)
        count = count_of(a, axes_of(axis, len(a.shape)), None)
        return (out, add(mul(out, 0), count)) if returned else out
    a, weights = promote_inexact(as_operand(a), as_operand(weights))
    a = operand(a)
    axes = axes_of(axis, len(a.shape))
    weights = operand(_fitted(weights, a, axis, axes))
    total = reduce_sum(weights, axes=axes)
    out = shaped(div(reduce_sum(mul(a, weights), axes=axes), total), keepdims, a, axes)
    return (out, shaped(total, keepdims, a, axes)) if returned else out


def _fitted(weights: Value, a: Value, axis: Axis, axes: Shape) -> Value:
    """Weights in the shape of `a`, given in this shape or that of the reduced axes."""
    if weights.shape == a.shape:
        return weights
    if axis is None or weights.shape != tuple(a.shape[i] for i in axes):
        raise errors.ShapeError(
            f"weights of shape {weights.shape} must have the shape {a.shape} of the array, or "
            "that of the axes given as axis=."
        )
    order = sorted(range(len(axes)), key=axes.__getitem__)
    weights = transpose(weights, permutation=tuple(order))
    shape = tuple(n if i in axes else 1 for i, n in enumerate(a.shape))
    return broadcast_to(reshape(weights, shape=shape), a.shape)


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    dtype: DTypeLike = None,
) -> Value:
    """The covariance matrix of variables.

    Args:
      m: observations of variables, one in each row.
      y: more variables.
      rowvar: whether rows, rather than columns, are variables.
      bias: divide by the number of observations rather than by one less.
      ddof: divide by the number of observations less this.
      fweights: how often each observation was made, integers.
      aweights: how much each observation counts.
      dtype: dtype to compute in.

    >>> import wengert.numpy as wnp
    >>> wnp.cov(wnp.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    Array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    x = _variables(m, y, rowvar, dtype)
    freedom = (0 if bias else 1) if ddof is None else ddof
    weights, aweights = _observation_weights(x, fweights, aweights)
    if weights is None:
        count = x.shape[1]
        centred = sub(x, _column(div(reduce_sum(x, axes=(1,)), count)))
        weighted = centred
        divisor: Any = max(count - freedom, 0)
    else:
        total = reduce_sum(weights, axes=(0,))
        centre = div(reduce_sum(mul(x, weights), axes=(1,)), total)
        centred = sub(x, _column(centre))
        weighted = mul(centred, weights)
        lost: Any = freedom
        if aweights is not None and freedom:
            lost = mul(div(reduce_sum(mul(weights, aweights), axes=(0,)), total), freedom)
        divisor = sub(total, lost)
    other = cast.conj(weighted) if dtypes.is_complex(x.dtype) else weighted
    products = dot_general(centred, other, dimension_numbers=(((1,), (1,)), ((), ())))
    if x.shape[0] == 1:
        products = reshape(products, shape=())
    return div(products, divisor)


def _column(vector: Value) -> Value:
    return reshape(vector, shape=(*vector.shape, 1))


def _variables(m: Any, y: Any, rowvar: bool, dtype: DTypeLike) -> Value:
    """The matrix whose rows are the variables of `m` and `y`."""
    given = [as_array(m)] if y is None else [as_array(m), as_array(y)]
    if any(len(x.shape) > 2 for x in given):
        raise errors.ShapeError("covariances need matrices or vectors of observations.")
    given = promote_inexact(*given)
    rows = []
    for x in given:
        x = operand(x, None if dtype is None else dtypes.as_dtype(dtype))
        if len(x.shape) < 2:
            x = reshape(x, shape=(1, x.size))
        elif not rowvar:
            x = transpose(x, permutation=(1, 0))
        rows.append(x)
    return rows[0] if len(rows) == 1 else concatenate(*rows, dimension=0)


def _observation_weights(x: Value, fweights: Any, aweights: Any) -> tuple[Any, Any]:
    """The product of both kinds of weights, and those of the second kind; None if not given."""
    given: list[Any] = []
    for name, weights in (("fweights", fweights), ("aweights", aweights)):
        if weights is None:
            given.append(None)
            continue
        weights = asarray(weights)
        if weights.shape != (x.shape[1],):
            raise errors.ShapeError(
                f"{name} must have one element for each of the {x.shape[1]} observations, got "
                f"shape {weights.shape}."
            )
        if name == "fweights" and not dtypes.is_integer(weights.dtype):
            raise TypeError(f"fweights must be integers, got {weights.dtype}.")
        given.append(to_dtype(weights, x.dtype))
    counts, shares = given
    if counts is not None and shares is not None:
        return mul(counts, shares), shares
    return (counts if shares is None else shares), shares


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: DTypeLike = None) -> Value:
    """The matrix of correlation coefficients of variables.

    Args:
      x: observations of variables, one in each row.
      y: more variables.
      rowvar: whether rows, rather than columns, are variables.
      dtype: dtype to compute in.

    >>> import wengert.numpy as wnp
    >>> wnp.corrcoef(wnp.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    Array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.shape:
        return div(c, c)
    deviations = sqrt(real(diagonal(c)))
    deviations = to_dtype(deviations, c.dtype)
    c = div(div(c, _column(deviations)), reshape(deviations, shape=(1, c.shape[0])))
    if dtypes.is_complex(c.dtype):
        return cast.make_complex(clip(real(c), -1, 1), clip(imag(c), -1, 1))
    return clip(c, -1, 1)


# -- counts ----------------------------------------------------------------------------------


def bincount(
    x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None
) -> Value:
    """How often each number 0, 1, 2, ... occurs.

    Args:
      x: a vector of integers that are not negative.
      weights: what each element counts instead of 1; the result is differentiable in it.
      minlength: the least length of the result.
      length: the length of the result; greater numbers are not counted. Needed while tracing.

    Raises:
      ValueError: when a number is negative (while tracing it is not counted).

    >>> import wengert.numpy as wnp
    >>> wnp.bincount(wnp.array([0, 2, 2, 1, 2]))
    Array([1, 1, 3], dtype=int32)
    """
    x = asarray(x)
    if dtypes.is_inexact(x.dtype):
        raise TypeError(f"bincount counts integers, got {x.dtype}.")
    if len(x.shape) != 1:
        raise errors.ShapeError(f"bincount needs a vector, got shape {x.shape}.")
    x = to_dtype(x, dtypes.INT32) if x.dtype.kind in "bu" else x
    if type(x) is Array:
        if x.size and int(x._value.min()) < 0:
            raise ValueError("bincount counts numbers that are not negative.")
        greatest = int(x._value.max()) if x.size else -1
    elif length is None:
        x.concrete("bincount without length=")
    size = length if length is not None else max(minlength.__index__(), greatest + 1)
    return _counted(x, weights, max(size, minlength))


def _counted(places: Value, weights: Any, size: int) -> Value:
    """The sum of the weights (or the number) of the elements at each of `size` places."""
    if weights is None:
        amounts = filled(ArrayType(places.shape, dtypes.INT32), 1)
    else:
        amounts = operand(asarray(weights))
        if amounts.shape != places.shape:
            raise errors.ShapeError(
                f"weights of shape {amounts.shape} must have the shape {places.shape} of what "
                "is counted."
            )
    start = filled(ArrayType((size,), amounts.dtype), 0)
    places = select(lt(places, 0), size, places)
    return scatter_add(start, amounts, places, axes=(0,), mode="drop")


def digitize(x: Any, bins: Any, right: bool = False, *, method: str | None = None) -> Value:
    """The number of the bin in which each element lies, as int32.

    Args:
      x: numbers.
      bins: the edges, rising or falling.
      right: whether bins include their right rather than their left edge.
      method: accepted for JAX's sake; how to search is the engine's business.

    Returns:
      0 below the first edge, `i` from edge `i - 1` to edge `i`, `len(bins)` beyond the last.

    >>> import wengert.numpy as wnp
    >>> wnp.digitize(wnp.array([0.5, 1.0, 9.0]), wnp.array([0.0, 1.0, 2.0]))
    Array([1, 2, 3], dtype=int32)
    """
    del method
    x, bins = promote(as_operand(x), as_operand(bins))
    if len(bins.shape) != 1:
        raise errors.ShapeError(f"digitize needs a vector of edges, got shape {bins.shape}.")
    count = bins.shape[0]
    if count == 0:
        return filled(ArrayType(x.shape, dtypes.INT32), 0)
    side = "left" if right else "right"
    rising = sort.searchsorted(bins, x, side=side)
    if count == 1:
        return rising
    falling = sub(count, sort.searchsorted(rev(bins, dimensions=(0,)), x, side=side))
    ends = [reshape(e, shape=()) for e in (part(bins, 0, 0, 1), part(bins, 0, -1, 0))]
    return select(ge(ends[1], ends[0]), rising, falling)
