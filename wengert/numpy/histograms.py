"""Histograms: how many elements, or how much weight, lies in each of some bins.

Bins are given by their number or their edges. They include their left edge, the last one both
edges; elements beyond the edges, and NaN, are not counted. Counts are floating, and int32 in
several dimensions, as in JAX; they are differentiable in the weights. Edges are differentiable
in the sample and the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.numpy.arrays import as_operand, asarray, in_dtype
from wengert.numpy.axes import axes_of
from wengert.numpy.creation import linspace
from wengert.numpy.joining import unstack
from wengert.numpy.promotion import Value, promote, promote_inexact, to_dtype
from wengert.numpy.reductions import operand
from wengert.numpy.running import part
from wengert.primitives import reduce, sort
from wengert.primitives.basis import add, filled, reduce_sum, reshape
from wengert.primitives.compare import bitwise_and, eq, ge, le, select
from wengert.primitives.elementwise import div, sub
from wengert.primitives.index import scatter_add
from wengert.primitives.shape import concatenate


def histogram_bin_edges(
    a: Any, bins: Any = 10, range: Any = None, weights: Any = None
) -> Value:
    """The edges of the bins of a histogram.

    Args:
      a: the sample.
      bins: how many bins, or their edges, or the name of one of NumPy's rules such as "auto"
        (which needs a known sample).
      range: the first and the last edge; by default those of the sample.
      weights: accepted for NumPy's sake.

    >>> import wengert.numpy as wnp
    >>> wnp.histogram_bin_edges(wnp.array([0.0, 1.0, 4.0]), bins=2)
    Array([0., 2., 4.], dtype=float32)
    """
    if isinstance(bins, str):
        if weights is not None:
            raise TypeError(f"the rule {bins!r} for bins does not take weights.")
        limits: Any = None if range is None else tuple(float(x) for x in range)
        sample = np.asarray(a)
        edges = np.histogram_bin_edges(sample, bins, limits)
        return to_dtype(Array(edges), dtypes.inexact_dtype(dtypes.dtype_of(a)[0]))
    a = asarray(a)
    dtype = dtypes.inexact_dtype(a.dtype)
    edges = asarray(bins)
    if edges.shape:
        if len(edges.shape) > 1:
            raise errors.ShapeError(f"edges of bins must be a vector, got shape {edges.shape}.")
        return to_dtype(edges, dtype)
    count = bins.__index__()
    if count < 1:
        raise ValueError(f"a histogram needs at least one bin, got {count}.")
    low, high = _range(a, range, dtype)
    return linspace(low, high, count + 1, dtype=dtype)


def _range(a: Value, range: Any, dtype: dtypes.DType) -> tuple[Value, Value]:
    """The first and the last edge; half a unit is added where they are equal."""
    if range is not None:
        low, high = (in_dtype(end, dtype) for end in range)
    elif not a.size:
        low, high = (filled(ArrayType((), dtype), end) for end in (0, 1))
    else:
        low, high = (
            to_dtype(reduction(a, axes=axes_of(None, len(a.shape))), dtype)
            for reduction in (reduce.reduce_min, reduce.reduce_max)
        )
    same = eq(low, high)
    return select(same, sub(low, 0.5), low), select(same, add(high, 0.5), high)


def _places(a: Value, edges: Value) -> Value:
    """The number of the bin of each element; that of elements beyond is not one of a bin."""
    a, edges = promote(a, edges)
    count = edges.shape[0] - 1
    last = reshape(part(edges, 0, -1, 0), shape=())
    place = sub(sort.searchsorted(edges, a, side="right"), 1)
    place = select(eq(a, last), count - 1, place)
    inside = bitwise_and(ge(place, 0), le(a, last))
    return select(inside, place, count)


def histogram(
    a: Any,
    bins: Any = 10,
    range: Any = None,
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Value, Value]:
    """How many elements lie in each of some bins.

    Args:
      a: the sample, of any shape.
      bins: how many bins, or their edges; see `histogram_bin_edges`.
      range: the first and the last edge; by default those of the sample.
      weights: what each element counts instead of 1.
      density: whether to divide by the total and by the widths of the bins.

    Returns:
      the counts, and the edges (one more).

    >>> import wengert.numpy as wnp
    >>> wnp.histogram(wnp.array([0.0, 1.0, 1.5, 4.0]), bins=2)
    (Array([3., 1.], dtype=float32), Array([0., 2., 4.], dtype=float32))
    """
    a = asarray(a)
    edges = histogram_bin_edges(a, bins, range, weights)
    amounts = _amounts(weights, a.shape, edges.dtype)
    places = _places(a, edges)
    counts = _gathered((places,), amounts, (edges.shape[0] - 1,))
    if density:
        widths = sub(part(edges, 0, 1, 0), part(edges, 0, 0, -1))
        counts = div(div(counts, to_dtype(widths, counts.dtype)), reduce_sum(counts, axes=(0,)))
    return counts, edges


def _amounts(weights: Any, shape: tuple[int, ...], dtype: dtypes.DType) -> Value:
    if weights is None:
        return filled(ArrayType(shape, dtype), 1)
    (amounts,) = promote_inexact(asarray(weights))
    if amounts.shape != shape:
        raise errors.ShapeError(
            f"weights of shape {amounts.shape} must have the shape {shape} of the sample."
        )
    return operand(amounts)


def _gathered(places: Sequence[Value], amounts: Value, sizes: tuple[int, ...]) -> Value:
    """The amounts summed by the bins that they are in, one coordinate per dimension."""
    flat = [reshape(p, shape=(p.size,)) for p in places]
    start = filled(ArrayType(sizes, amounts.dtype), 0)
    amounts = reshape(amounts, shape=(amounts.size,))
    return scatter_add(start, amounts, *flat, axes=axes_of(None, len(sizes)), mode="drop")


def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Any = None,
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Value, list[Value]]:
    """How many points lie in each box of a grid, in any number of dimensions.

    Args:
      sample: the points, one in each row.
      bins: how many bins in each dimension: one number, or a list of numbers and of edges.
      range: for each dimension the first and the last edge, or None; by default the sample's.
      weights: what each point counts instead of 1.
      density: whether to divide by the total and by the volumes of the boxes.

    Returns:
      the counts, and a list of the edges in each dimension.

    >>> import wengert.numpy as wnp
    >>> counts, edges = wnp.histogramdd(wnp.array([[0.0, 0.0], [1.0, 2.0]]), bins=2)
    >>> counts
    Array([[1, 0],
           [0, 1]], dtype=int32)
    """
    (sample,) = promote_inexact(asarray(sample))
    if len(sample.shape) != 2:
        raise errors.ShapeError(f"histogramdd needs points in rows, got shape {sample.shape}.")
    count, rank = sample.shape
    each = list(bins) if isinstance(bins, list | tuple) else [bins] * rank
    ranges = [None] * rank if range is None else list(range)
    if len(each) != rank or len(ranges) != rank:
        raise errors.ShapeError(f"bins and range must be given for each of {rank} dimensions.")
    columns = unstack(sample, axis=1)
    edges = [
        histogram_bin_edges(c, b, r) for c, b, r in zip(columns, each, ranges, strict=True)
    ]
    amounts = _amounts(weights, (count,), dtypes.INT32)
    places = [_places(c, e) for c, e in zip(columns, edges, strict=True)]
    counts = _gathered(places, amounts, tuple(e.shape[0] - 1 for e in edges))
    if density:
        counts = counts if weights is not None else to_dtype(counts, sample.dtype)
        total = reduce_sum(counts, axes=axes_of(None, rank))
        for i, e in enumerate(edges):
            widths = sub(part(e, 0, 1, 0), part(e, 0, 0, -1))
            shape = [1] * rank
            shape[i] = widths.shape[0]
            counts = div(counts, reshape(to_dtype(widths, counts.dtype), shape=tuple(shape)))
        counts = div(counts, total)
    return counts, edges


def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    weights: Any = None,
    density: bool | None = None,
) -> tuple[Value, Value, Value]:
    """How many points lie in each rectangle of a grid.

    Args:
      x: first coordinates of the points.
      y: their second coordinates.
      bins: how many bins in both dimensions, edges for both, or a pair of either.
      range: for each dimension the first and the last edge, or None; by default the sample's.
      weights: what each point counts instead of 1.
      density: whether to divide by the total and by the areas of the rectangles.

    Returns:
      the counts, the edges in the first and those in the second dimension.

    >>> import wengert.numpy as wnp
    >>> wnp.histogram2d(wnp.array([0.0, 1.0]), wnp.array([0.0, 2.0]), bins=2)[0]
    Array([[1, 0],
           [0, 1]], dtype=int32)
    """
    x, y = promote_inexact(as_operand(x), as_operand(y))
    if x.shape != y.shape or len(x.shape) != 1:
        raise errors.ShapeError(f"histogram2d needs two equal vectors: {x.shape}, {y.shape}.")
    columns = [reshape(v, shape=(v.size, 1)) for v in (x, y)]
    pair = isinstance(bins, list | tuple) and len(bins) == 2
    each = list(bins) if pair else [bins, bins]
    counts, edges = histogramdd(
        concatenate(*columns, dimension=1), each, range, weights, density
    )
    return counts, edges[0], edges[1]
