"""Medians, quantiles and percentiles, with and without NaN, by all of NumPy's methods.

A method says at which place, not always a whole one, a quantile lies in the sorted sample
(Hyndman and Fan, "Sample quantiles in statistical packages", 1996). Between two elements it is
interpolated, so that quantiles are differentiable in the sample and, where the method
is continuous, in `q`. Places are computed in double precision unless `q` is given in
another dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayLike, ArrayType, Shape
from wengert.numpy.arrays import asarray, check_out
from wengert.numpy.axes import axes_of
from wengert.numpy.promotion import Value, promote_inexact_unary, to_dtype
from wengert.numpy.reductions import kept_shape
from wengert.primitives import reduce
from wengert.primitives.basis import (
    add,
    broadcast_to,
    filled,
    masked_mul,
    mul,
    reduce_sum,
    reshape,
    transpose,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    ceil,
    eq,
    floor,
    isnan,
    lt,
    ne,
    select,
)
from wengert.primitives.compare import (
    round as nearest,
)
from wengert.primitives.cumulative import cumsum
from wengert.primitives.elementwise import clamp, div, maximum, mod, sub
from wengert.primitives.index import gather, gather_along
from wengert.primitives.sort import sort

Axis = Any
#: From (q, n) to the place in 0 ... n - 1.
Place = Callable[[Value, Any], Value]

_FLOAT64 = np.dtype(np.float64)
#: Beyond that many elements float32 does not tell neighbouring places apart well enough.
_MANY = 1 << 20


# -- places -----------------------------------------------------------------------------------


def _plotting(alpha: float, beta: float) -> Place:
    """The continuous methods, by their two parameters."""

    def place(q: Value, n: Any) -> Value:
        return sub(add(mul(q, n), add(mul(q, 1 - alpha - beta), alpha)), 1)

    return place


def _linear(q: Value, n: Any) -> Value:
    return mul(q, sub(n, 1) if isinstance(n, ArrayLike) else n - 1)


def _midpoint(q: Value, n: Any) -> Value:
    place = _linear(q, n)
    return mul(add(floor(place), ceil(place)), 0.5)


def _inverted_cdf(q: Value, n: Any) -> Value:
    return sub(ceil(mul(q, n)), 1)


def _averaged_inverted_cdf(q: Value, n: Any) -> Value:
    place = mul(q, n)
    return select(eq(place, floor(place)), sub(place, 0.5), floor(place))


def _closest_observation(q: Value, n: Any) -> Value:
    place = sub(mul(q, n), 1.5)
    low = floor(place)
    even = bitwise_and(eq(place, low), ne(mod(low, 2), 0))
    return select(even, low, add(low, 1))


_METHODS: dict[str, Place] = {
    "linear": _linear,
    "lower": lambda q, n: floor(_linear(q, n)),
    "higher": lambda q, n: ceil(_linear(q, n)),
    "midpoint": _midpoint,
    "nearest": lambda q, n: nearest(_linear(q, n)),
    "inverted_cdf": _inverted_cdf,
    "averaged_inverted_cdf": _averaged_inverted_cdf,
    "closest_observation": _closest_observation,
    "interpolated_inverted_cdf": _plotting(0.0, 1.0),
    "hazen": _plotting(0.5, 0.5),
    "weibull": _plotting(0.0, 0.0),
    "median_unbiased": _plotting(1 / 3, 1 / 3),
    "normal_unbiased": _plotting(3 / 8, 3 / 8),
}


# -- the sample -------------------------------------------------------------------------------


def _samples(a: Value, axes: Shape) -> Value:
    """The array with the reduced axes as one, the first."""
    kept = [i for i in range(len(a.shape)) if i not in axes]
    length = math.prod(a.shape[i] for i in axes)
    moved = transpose(a, permutation=(*axes, *kept))
    return reshape(moved, shape=(length, *(a.shape[i] for i in kept)))


def _fractions(q: Any, count: int) -> Value:
    """`q` as an array in the dtype in which places are computed."""
    if type(q) is float or isinstance(q, list | tuple):
        q = np.asarray(q, np.float64)
    q = asarray(q)
    if dtypes.is_complex(q.dtype):
        raise TypeError(f"quantiles need real q, got {q.dtype}.")
    if type(q) is Array:
        known = q._value
        if not ((known >= 0) & (known <= 1)).all():
            raise ValueError("quantiles need q between 0 and 1, percentiles between 0 and 100.")
    return q if q.dtype == dtypes.FLOAT32 and count <= _MANY else to_dtype(q, _FLOAT64)


def _quantile(
    a: Any, q: Any, axis: Axis, method: str, keepdims: bool, weights: Any, skip_nan: bool
) -> Value:
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}; got {method!r}.")
    if weights is not None and method != "inverted_cdf":
        raise ValueError(f"weights go with method='inverted_cdf' only, got {method!r}.")
    a = promote_inexact_unary(a)
    if dtypes.is_complex(a.dtype):
        raise ValueError("quantiles need real numbers: complex ones have no natural order.")
    axes = axes_of(axis, len(a.shape))
    sample = to_dtype(_samples(a, axes), a.dtype)
    q = _fractions(q, sample.shape[0])
    if not sample.shape[0]:
        out = filled(ArrayType((*q.shape, *sample.shape[1:]), a.dtype), np.nan)
    elif weights is not None:
        shares = _samples(_aligned_weights(weights, a, axes), axes)
        out = _weighted(sample, shares, q, skip_nan)
    else:
        out = _interpolated(sample, q, _METHODS[method], skip_nan)
    return reshape(out, shape=(*q.shape, *kept_shape(a, axes))) if keepdims else out


def _interpolated(sample: Value, q: Value, method: Place, skip_nan: bool) -> Value:
    """Quantiles of the columns of a sample; the dimensions of `q` come first."""
    (ordered,) = sort(sample, dimension=0)
    missing = isnan(sample)
    ones = (1,) * (len(sample.shape) - 1)
    q = reshape(q, shape=q.shape + ones) if ones else q
    count: Any = sample.shape[0]
    top: Any = count - 1.0
    if skip_nan:
        count = reduce_sum(convert(bitwise_not(missing), dtype=q.dtype), axes=(0,))
        top = maximum(sub(count, 1), 0)
    place = clamp(0.0, method(q, count), top)
    below = floor(place)
    weight = convert(sub(place, below), dtype=sample.dtype)
    lower, upper = (_at(ordered, p) for p in (below, ceil(place)))
    # a product in which the weight 0 wins over infinity
    out = add(masked_mul(sub(1, weight), lower), masked_mul(weight, upper))
    reduction = reduce.reduce_and if skip_nan else reduce.reduce_or
    return select(reduction(missing, axes=(0,)), np.nan, out)


def _at(ordered: Value, place: Value) -> Value:
    """The elements of the sample at whole places, which broadcast along its columns."""
    rank = len(ordered.shape) - 1
    shape = place.shape[: len(place.shape) - rank] + ordered.shape[1:]
    place = convert(place, dtype=dtypes.INT32)
    if all(n == 1 for n in place.shape[len(place.shape) - rank :]):  # the same for all columns
        rows = reshape(place, shape=place.shape[: len(place.shape) - rank])
        return gather(ordered, rows, axes=(0,))
    place = broadcast_to(place, shape)
    count = math.prod(shape[: len(shape) - rank])
    flat = reshape(place, shape=(count, *ordered.shape[1:]))
    return reshape(gather_along(ordered, flat, 0), shape=shape)


def _aligned_weights(weights: Any, a: Value, axes: Shape) -> Value:
    """Weights of the elements: given for each, or for each place along the one axis."""
    weights = promote_inexact_unary(asarray(weights))
    if weights.shape != a.shape:
        if len(axes) != 1 or weights.shape != (a.shape[axes[0]],):
            raise errors.ShapeError(
                f"weights of shape {weights.shape} fit neither an array of shape {a.shape} nor "
                f"its axes {axes}."
            )
        shape = tuple(n if i in axes else 1 for i, n in enumerate(a.shape))
        weights = broadcast_to(reshape(weights, shape=shape), a.shape)
    return weights


def _weighted(sample: Value, shares: Value, q: Value, skip_nan: bool) -> Value:
    """The least elements up to which the share of all weights is at least `q`."""
    missing = isnan(sample)
    if skip_nan:
        shares = select(missing, 0, shares)
    ordered, shares = sort(sample, shares, dimension=0, num_keys=1)
    running = to_dtype(cumsum(shares, axis=0), q.dtype)
    columns = sample.shape[1:]
    target = mul(
        reshape(q, shape=(q.size, *(1,) * len(columns))),
        reduce_sum(to_dtype(shares, q.dtype), axes=(0,)),
    )
    running = reshape(running, shape=(running.shape[0], 1, *columns))
    before = bitwise_or(lt(running, target), eq(running, 0))
    place = reduce_sum(convert(before, dtype=dtypes.INT32), axes=(0,))
    out = reshape(gather_along(ordered, place, 0, mode="clip"), shape=q.shape + columns)
    reduction = reduce.reduce_and if skip_nan else reduce.reduce_or
    return select(reduction(missing, axes=(0,)), np.nan, out)


# -- public -----------------------------------------------------------------------------------


def quantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Value:
    """The numbers below which a given share of the elements lie, over some axes.

    Args:
      a: real numbers; the result is NaN where one is.
      q: the share, a number or an array of numbers from 0 to 1; its dimensions come first in
        the result.
      axis: which axes; all by default.
      out: must be None.
      overwrite_input: accepted for NumPy's sake; arrays are immutable.
      method: "linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf",
        "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen",
        "weibull", "median_unbiased" or "normal_unbiased".
      keepdims: whether the reduced axes stay, with size 1.
      weights: how much each element counts, with the method "inverted_cdf".

    >>> import wengert.numpy as wnp
    >>> wnp.quantile(wnp.array([1.0, 2.0, 4.0, 8.0]), 0.25)
    Array(1.75, dtype=float32)
    """
    del overwrite_input
    check_out("quantile", out)
    return _quantile(a, q, axis, method, keepdims, weights, False)


def nanquantile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Value:
    """The quantiles of the elements that are not NaN; arguments as for `quantile`.

    >>> import wengert.numpy as wnp
    >>> wnp.nanquantile(wnp.array([1.0, wnp.nan, 3.0]), 0.5)
    Array(2., dtype=float32)
    """
    del overwrite_input
    check_out("nanquantile", out)
    return _quantile(a, q, axis, method, keepdims, weights, True)


def _hundredths(q: Any) -> Any:
    if type(q) in dtypes.SCALAR_TYPES:
        return q / 100
    q = asarray(q, np.float64) if isinstance(q, list | tuple) else asarray(q)
    return div(promote_inexact_unary(q), 100)


def percentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Value:
    """The quantiles for shares in percent; other arguments as for `quantile`.

    >>> import wengert.numpy as wnp
    >>> wnp.percentile(wnp.array([1.0, 2.0, 4.0, 8.0]), 25)
    Array(1.75, dtype=float32)
    """
    del overwrite_input
    check_out("percentile", out)
    return _quantile(a, _hundredths(q), axis, method, keepdims, weights, False)


def nanpercentile(
    a: Any,
    q: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
) -> Value:
    """The percentiles of the elements that are not NaN; arguments as for `percentile`.

    >>> import wengert.numpy as wnp
    >>> wnp.nanpercentile(wnp.array([1.0, wnp.nan, 3.0]), 50)
    Array(2., dtype=float32)
    """
    del overwrite_input
    check_out("nanpercentile", out)
    return _quantile(a, _hundredths(q), axis, method, keepdims, weights, True)


def median(
    a: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Value:
    """The number in the middle of the elements, the mean of two if their count is even.

    Args:
      a: real numbers; the result is NaN where one is.
      axis: which axes; all by default.
      out: must be None.
      overwrite_input: accepted for NumPy's sake; arrays are immutable.
      keepdims: whether the reduced axes stay, with size 1.

    >>> import wengert.numpy as wnp
    >>> wnp.median(wnp.array([9.0, 1.0, 4.0]))
    Array(4., dtype=float32)
    """
    del overwrite_input
    check_out("median", out)
    return _quantile(a, 0.5, axis, "linear", keepdims, None, False)


def nanmedian(
    a: Any,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Value:
    """The median of the elements that are not NaN; arguments as for `median`.

    >>> import wengert.numpy as wnp
    >>> wnp.nanmedian(wnp.array([9.0, wnp.nan, 4.0]))
    Array(6.5, dtype=float32)
    """
    del overwrite_input
    check_out("nanmedian", out)
    return _quantile(a, 0.5, axis, "linear", keepdims, None, True)
