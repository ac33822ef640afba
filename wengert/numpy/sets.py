"""Arrays as sets: unique elements, and operations between sets.

Everything rests on one sort: in the sorted array an element is new where it differs from the
one before it. The size of a result depends on values; under tracing `size=` fixes it, and
`fill_value` fills it up (by default with the least element found, or 0 where differences are
taken). NaN counts as equal to NaN unless `equal_nan=False`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core.array import as_array
from wengert.numpy.arrays import asarray
from wengert.numpy.axes import axis_of
from wengert.numpy.indexing import extract, getitem, position_dtype, positions
from wengert.numpy.joining import concatenate, unstack
from wengert.numpy.layout import broadcast_to, moveaxis, ravel
from wengert.numpy.promotion import promote, to_dtype
from wengert.numpy.sorting import searchsorted
from wengert.primitives import basis
from wengert.primitives import sort as sorting
from wengert.primitives.cast import convert
from wengert.primitives.compare import bitwise_and, bitwise_not, bitwise_or, eq, lt, ne, select
from wengert.primitives.cumulative import cumsum
from wengert.primitives.elementwise import minimum, sub
from wengert.primitives.index import gather, scatter
from wengert.primitives.shape import iota

Value = Any


class UniqueAll(NamedTuple):
    """Result of `unique_all`."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """Result of `unique_counts`."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """Result of `unique_inverse`."""

    values: Any
    inverse_indices: Any


# -- unique elements -------------------------------------------------------------------------


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: Any = None,
    sorted: bool = True,
) -> Any:
    """The different elements of an array, in rising order.

    Args:
      ar: an array.
      return_index: return also where each is found first.
      return_inverse: return also which of them stands at each place of the array.
      return_counts: return also how often each occurs.
      axis: look for different slices along this axis instead; None flattens the array.
      equal_nan: whether all NaN count as one element.
      size: how many elements to give, needed when the array is traced.
      fill_value: what fills up the elements to `size`; by default the least one. Counts are
        then 0, and indices those of the least one.
      sorted: accepted for NumPy's sake; the result is always sorted.

    Raises:
      ConcretizationError: for a traced array without `size`.

    >>> import wengert.numpy as wnp
    >>> wnp.unique(wnp.array([3, 1, 3]), return_counts=True)
    (Array([1, 3], dtype=int32), Array([1, 2], dtype=int32))
    """
    del sorted
    ar = as_array(ar)
    place = None if axis is None else axis_of(axis, len(ar.shape))
    rows = ravel(ar) if place is None else moveaxis(ar, place, 0)
    if not rows.shape[0] and size and fill_value is None:
        raise errors.ShapeError(
            f"unique of no elements with size={size} needs fill_value=: there is no least one."
        )
    found = _Runs(rows, equal_nan, size)
    values = found.values(fill_value)
    out = [values if place is None else moveaxis(values, 0, place)]
    if return_index:
        out.append(found.first_indices())
    if return_inverse:
        inverse = found.inverse()
        out.append(basis.reshape(inverse, shape=ar.shape) if place is None else inverse)
    if return_counts:
        out.append(found.counts())
    return out[0] if len(out) == 1 else tuple(out)


class _Runs:
    """The rows of an array in sorted order, with the beginnings of runs of equal ones.

    Attributes:
      order: the positions that sort the rows.
      new: where in the sorted order a row differs from the one before it.
      starts: the positions in the sorted order at which `new` holds; `count` fills them up.
    """

    def __init__(self, rows: Value, equal_nan: bool, size: int | None) -> None:
        self.rows = rows
        self.count = rows.shape[0]
        self.dtype = position_dtype(self.count)
        places = iota(dtype=self.dtype, shape=(self.count,), dimension=0)
        columns = _columns(rows)
        *ordered, self.order = sorting.sort(
            *columns, places, dimension=0, num_keys=max(1, len(columns)), is_stable=True
        )
        self.new = _differs(ordered, places, equal_nan)
        (self.starts,) = positions(self.new, "unique", size, self.count)
        self.found = lt(self.starts, self.count)

    def first_indices(self) -> Value:
        """The first position of each run in the array."""
        if not self.count:
            return self.starts
        return gather(self.order, self._filled_starts(), axes=(0,), mode="error")

    def _filled_starts(self) -> Value:
        return select(self.found, self.starts, 0)

    def values(self, fill_value: Any) -> Value:
        """One row of each run."""
        if not self.count:
            shape = (*self.starts.shape, *self.rows.shape[1:])
            fill = asarray(0 if fill_value is None else fill_value)
            return broadcast_to(to_dtype(fill, self.rows.dtype), shape)
        values = gather(self.rows, self.first_indices(), axes=(0,), mode="error")
        if fill_value is None:
            return values
        mask = basis.reshape(
            self.found, shape=(values.shape[0], *(1,) * (len(values.shape) - 1))
        )
        return select(mask, values, to_dtype(asarray(fill_value), values.dtype))

    def inverse(self) -> Value:
        """For each row of the array, the number of its run."""
        runs = sub(cumsum(convert(self.new, dtype=self.dtype), axis=0, reverse=False), 1)
        start = basis.full(shape=(self.count,), value=0, dtype=self.dtype)
        return scatter(start, runs, self.order, axes=(0,), mode="error")

    def counts(self) -> Value:
        """The lengths of the runs."""
        if not self.count:
            return self.starts
        (ends,) = positions(self.new, "unique", self.starts.shape[0] + 1, self.count)
        following = getitem(ends, slice(1, None))
        return select(self.found, sub(following, self.starts), 0)


def _columns(rows: Value) -> list[Value]:
    """The keys by which rows are compared."""
    if len(rows.shape) == 1:
        return [rows]
    flat = basis.reshape(rows, shape=(rows.shape[0], rows.size // max(1, rows.shape[0])))
    return list(unstack(flat, axis=1))


def _differs(columns: list[Value], places: Value, equal_nan: bool) -> Value:
    """Where sorted rows, given by their columns, differ from the row before."""
    differs = eq(places, 0)
    for column in columns:
        before = gather(column, select(lt(places, 1), 0, sub(places, 1)), axes=(0,))
        unequal = ne(column, before)
        if equal_nan:
            both_nan = bitwise_and(ne(column, column), ne(before, before))
            unequal = bitwise_and(unequal, bitwise_not(both_nan))
        differs = bitwise_or(differs, unequal)
    return differs


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAll:
    """The different elements, their first positions, their inverse, and their counts.

    >>> import wengert.numpy as wnp
    >>> wnp.unique_all(wnp.array([3, 1, 3])).counts
    Array([1, 2], dtype=int32)
    """
    return UniqueAll(
        *unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value)
    )


def unique_counts(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> UniqueCounts:
    """The different elements, and how often each occurs.

    >>> import wengert.numpy as wnp
    >>> wnp.unique_counts(wnp.array([3, 1, 3])).values
    Array([1, 3], dtype=int32)
    """
    return UniqueCounts(
        *unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value)
    )


def unique_inverse(
    x: Any, /, *, size: int | None = None, fill_value: Any = None
) -> UniqueInverse:
    """The different elements, and which of them stands at each place.

    >>> import wengert.numpy as wnp
    >>> wnp.unique_inverse(wnp.array([3, 1, 3])).inverse_indices
    Array([1, 0, 1], dtype=int32)
    """
    return UniqueInverse(
        *unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value)
    )


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The different elements.

    >>> import wengert.numpy as wnp
    >>> wnp.unique_values(wnp.array([3, 1, 3]))
    Array([1, 3], dtype=int32)
    """
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)


# -- membership ------------------------------------------------------------------------------


def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    method: str = "auto",
) -> Value:
    """For each element whether it is among the test elements.

    Args:
      element: an array.
      test_elements: an array.
      assume_unique: accepted for NumPy's sake.
      invert: whether it is not among them, instead.
      method: "auto", "compare_all", "binary_search" or "sort"; accepted for JAX's sake.

    >>> import wengert.numpy as wnp
    >>> wnp.isin(wnp.array([1, 2, 3]), wnp.array([3, 1]))
    Array([ True, False,  True], dtype=bool)
    """
    del assume_unique
    if method not in ("auto", "compare_all", "binary_search", "sort"):
        raise ValueError(f"isin has no method {method!r}.")
    x, tests = promote(element, test_elements)
    (ordered,) = sorting.sort(ravel(tests), dimension=0, num_keys=1, is_stable=False)
    found = _member(x, ordered)
    return bitwise_not(found) if invert else found


def _member(x: Value, ordered: Value) -> Value:
    """Whether elements are in a sorted vector."""
    n = ordered.shape[0]
    if n == 0:
        return basis.full(shape=x.shape, value=False, dtype=np.dtype(np.bool_))
    place = minimum(searchsorted(ordered, x), n - 1)
    return eq(gather(ordered, place, axes=(0,), mode="error"), x)


# -- operations ------------------------------------------------------------------------------


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The different elements of two arrays together, sorted.

    >>> import wengert.numpy as wnp
    >>> wnp.union1d(wnp.array([1, 3]), wnp.array([2, 3]))
    Array([1, 2, 3], dtype=int32)
    """
    both = concatenate([ravel(as_array(ar1)), ravel(as_array(ar2))])
    return unique(both, size=size, fill_value=fill_value)


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements that two arrays have in common, sorted.

    Args:
      ar1: an array; it is flattened.
      ar2: an array; it is flattened.
      assume_unique: a promise; accepted.
      return_indices: return also where each is found first in the two arrays.
      size: how many elements to give, needed when the arrays are traced.
      fill_value: what fills them up; by default the least one. Indices are filled up with the
        sizes of the arrays.

    >>> import wengert.numpy as wnp
    >>> wnp.intersect1d(wnp.array([3, 1, 3]), wnp.array([2, 3]))
    Array([3], dtype=int32)
    """
    del assume_unique
    x, y = (ravel(a) for a in promote(ar1, ar2))
    (xs, x_order), (ys, y_order) = _sorted_with_order(x), _sorted_with_order(y)
    places = iota(dtype=position_dtype(x.size), shape=x.shape, dimension=0)
    common = bitwise_and(_differs([xs], places, True), _member(xs, ys))
    (starts,) = positions(common, "intersect1d", size, x.size)
    found = lt(starts, x.size)
    first = getitem(starts, slice(0, 1))
    least = _at(xs, first, 0)
    values = _at(xs, starts, 0)
    fill = _first_or_zero(least) if fill_value is None else asarray(fill_value)
    values = select(found, values, to_dtype(fill, values.dtype))
    if not return_indices:
        return values
    first_index = select(found, _at(x_order, starts, 0), x.size)
    partner = _at(y_order, searchsorted(ys, values), 0)
    return values, first_index, select(found, partner, y.size)


def _sorted_with_order(x: Value) -> list[Value]:
    places = iota(dtype=position_dtype(x.size), shape=x.shape, dimension=0)
    out: list[Value] = sorting.sort(x, places, dimension=0, num_keys=1, is_stable=True)
    return out


def _at(x: Value, places: Value, fill: Any) -> Value:
    """Elements at positions; `fill` beyond the end."""
    return gather(x, places, axes=(0,), mode="fill", fill_value=fill)


def _first_or_zero(x: Value) -> Value:
    if x.shape[0] == 0:
        return basis.full(shape=(), value=0, dtype=x.dtype)
    return basis.reshape(x, shape=())


def setdiff1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Value:
    """The different elements of one array that are not in another one, sorted.

    Args:
      ar1: an array; it is flattened.
      ar2: an array; it is flattened.
      assume_unique: a promise; the elements then keep their order.
      size: how many elements to give, needed when the arrays are traced.
      fill_value: what fills them up; by default 0.

    >>> import wengert.numpy as wnp
    >>> wnp.setdiff1d(wnp.array([3, 1, 3]), wnp.array([2, 3]))
    Array([1], dtype=int32)
    """
    x = ravel(as_array(ar1))
    fill = 0 if fill_value is None else fill_value
    if assume_unique:
        return extract(isin(x, ar2, invert=True), x, size=size, fill_value=fill)
    xs, _ = _sorted_with_order(x)
    places = iota(dtype=position_dtype(x.size), shape=x.shape, dimension=0)
    keep = bitwise_and(_differs([xs], places, True), isin(xs, ar2, invert=True))
    return extract(keep, xs, size=size, fill_value=fill)


def setxor1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Value:
    """The different elements that are in one of two arrays but not in both, sorted.

    Args:
      ar1: an array; it is flattened.
      ar2: an array; it is flattened.
      assume_unique: a promise; accepted.
      size: how many elements to give, needed when the arrays are traced.
      fill_value: what fills them up; by default the least one.

    >>> import wengert.numpy as wnp
    >>> wnp.setxor1d(wnp.array([3, 1, 3]), wnp.array([2, 3]))
    Array([1, 2], dtype=int32)
    """
    del assume_unique
    x, y = (ravel(a) for a in promote(ar1, ar2))
    both, _ = _sorted_with_order(concatenate([x, y]))
    places = iota(dtype=position_dtype(both.size), shape=both.shape, dimension=0)
    shared = bitwise_and(isin(both, x), isin(both, y))
    keep = bitwise_and(_differs([both], places, True), bitwise_not(shared))
    if size is None or fill_value is not None or both.size == 0:
        fill = 0 if fill_value is None else fill_value
        return extract(keep, both, size=size, fill_value=fill)
    (found,) = positions(keep, "setxor1d", size, both.size)
    least = _at(both, getitem(found, slice(0, 1)), 0)
    return select(lt(found, both.size), _at(both, found, 0), _first_or_zero(least))
