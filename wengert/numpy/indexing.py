"""Elements by position: take, put, nonzero, and conversions between kinds of index.

`x[index]` itself is in `subscripts`, updates in `at`. Functions whose result has a size that
depends on values (`nonzero`, `compress`, ...) need concrete arrays, or `size=`, which fixes it:
the result is then cut, or filled up with `fill_value`. Functions that write in place in NumPy
return the updated array here and want to be told `inplace=False`, as in JAX.

Indices out of bounds raise; `mode="clip"`, `"wrap"` or `"fill"` allow them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.dtypes import DType, DTypeLike
from wengert.numpy.arrays import asarray, check_out
from wengert.numpy.at import Update, index_mode
from wengert.numpy.axes import axis_of, integers, shape_of
from wengert.numpy.layout import broadcast_arrays, ravel, reshape
from wengert.numpy.promotion import promote, to_dtype
from wengert.numpy.subscripts import getitem as getitem
from wengert.numpy.subscripts import read
from wengert.primitives import basis
from wengert.primitives.basis import add, broadcast_in_dim, mul
from wengert.primitives.cast import convert
from wengert.primitives.compare import lt, ne, select
from wengert.primitives.cumulative import cumsum
from wengert.primitives.elementwise import floor_divide, mod, sub
from wengert.primitives.index import gather, gather_along, scatter
from wengert.primitives.shape import concatenate, iota

Value = Any


def position_dtype(n: int) -> DType:
    """The dtype of positions below n: int32 where that suffices."""
    return dtypes.INT32 if n < 2**31 else np.dtype(np.int64)


def as_mask(a: Any) -> Value:
    """Which elements are not zero; of a concrete array it is concrete, also while tracing."""
    a = as_array(a)
    if a.dtype == dtypes.BOOL:
        return a
    return Array(a._value != 0) if type(a) is Array else ne(a, 0)


def flat_mask(a: Any) -> Value:
    """Which elements of the flattened array are not zero, concrete where possible."""
    mask = as_mask(a)
    return Array(mask._value.reshape(-1)) if type(mask) is Array else ravel(mask)


def as_indices(indices: Any, name: str) -> Value:
    """An array of integers, as an index."""
    indices = as_array(indices)
    if not dtypes.is_integer(indices.dtype):
        raise TypeError(f"{name} needs integer indices, got dtype {indices.dtype}.")
    return indices


# -- taking ----------------------------------------------------------------------------------


def take(
    a: Any,
    indices: Any,
    axis: int | None = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: Any = None,
) -> Value:
    """The elements at some positions along an axis.

    Args:
      a: an array.
      indices: integers of any shape, which replaces the axis in the result.
      axis: the axis; None flattens the array first.
      out: not supported.
      mode: out of bounds: None or "raise" raises IndexError, "clip", "wrap", or "fill".
      unique_indices: a promise; accepted.
      indices_are_sorted: a promise; accepted.
      fill_value: for mode "fill"; by default NaN, or the least integer.

    >>> import wengert.numpy as wnp
    >>> wnp.take(wnp.array([5, 6, 7]), wnp.array([2, 0]))
    Array([7, 5], dtype=int32)
    """
    del unique_indices, indices_are_sorted
    check_out("take", out)
    a, indices = as_array(a), as_indices(indices, "take")
    if axis is None:
        a, axis = ravel(a), 0
    index = (slice(None),) * axis_of(axis, len(a.shape)) + (indices,)
    chosen = index_mode(mode)
    if chosen == "error":
        return getitem(a, index)
    return read(a, index, "fill" if chosen == "drop" else chosen, fill_value)


def take_along_axis(
    arr: Any,
    indices: Any,
    axis: int | None = -1,
    mode: str | None = None,
    fill_value: Any = None,
) -> Value:
    """The elements whose position along one axis is given for each place of the result.

    Args:
      arr: an array.
      indices: integers; other axes than `axis` broadcast against those of `arr`.
      axis: the axis; None flattens the array first.
      mode: out of bounds, as in `take`.
      fill_value: for mode "fill".

    >>> import wengert.numpy as wnp
    >>> x = wnp.array([[3, 1, 2]])
    >>> wnp.take_along_axis(x, wnp.argsort(x), axis=1)
    Array([[1, 2, 3]], dtype=int32)
    """
    arr, indices = as_array(arr), as_indices(indices, "take_along_axis")
    if axis is None:
        arr, axis = ravel(arr), 0
    index, _ = _along(arr, indices, axis_of(axis, len(arr.shape)))
    chosen = index_mode(mode)
    return read(arr, index, "fill" if chosen == "drop" else chosen, fill_value)


def _along(arr: Value, indices: Value, axis: int) -> tuple[tuple[Any, ...], Shape]:
    """The index with positions along one axis and every row of the others; and its shape."""
    rank = len(arr.shape)
    if len(indices.shape) != rank:
        raise errors.ShapeError(
            f"indices along an axis need as many axes as the array: {rank}, got shape "
            f"{indices.shape}."
        )
    sizes = [*arr.shape]
    sizes[axis] = indices.shape[axis]
    shape = basis.broadcast_shape([tuple(sizes), indices.shape], "take_along_axis")
    parts: list[Any] = []
    for i, n in enumerate(arr.shape):
        if i == axis:
            parts.append(indices)
            continue
        count = shape[i] if n != 1 else 1
        rows = iota(dtype=position_dtype(n), shape=(count,), dimension=0)
        parts.append(basis.reshape(rows, shape=(count,) + (1,) * (rank - i - 1)))
    return tuple(parts), shape


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Value:
    """For each place the element of one of several arrays; `a` says of which.

    >>> import wengert.numpy as wnp
    >>> wnp.choose(wnp.array([1, 0]), [wnp.array([1, 2]), wnp.array([3, 4])])
    Array([3, 2], dtype=int32)
    """
    check_out("choose", out)
    a = as_indices(a, "choose")
    index, *arrays = broadcast_arrays(a, *promote(*choices))
    rows = [basis.reshape(c, shape=(1, *c.shape)) for c in arrays]
    places = basis.reshape(index, shape=(1, *index.shape))
    chosen = gather_along(concatenate(*rows, dimension=0), places, 0, index_mode(mode))
    return basis.reshape(chosen, shape=index.shape)


def compress(
    condition: Any,
    a: Any,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: Any = 0,
    out: None = None,
) -> Value:
    """The slices along an axis for which a condition holds.

    Args:
      condition: one value per position along the axis; missing ones count as false.
      a: an array.
      axis: the axis; None flattens the array first.
      size: the size of the axis in the result, needed when the condition is traced.
      fill_value: what fills the result up to `size`.
      out: not supported.

    >>> import wengert.numpy as wnp
    >>> wnp.compress(wnp.array([True, False, True]), wnp.array([4, 5, 6]))
    Array([4, 6], dtype=int32)
    """
    check_out("compress", out)
    mask, a = as_mask(asarray(condition)), as_array(a)
    if len(mask.shape) != 1:
        raise errors.ShapeError(f"compress needs a vector of conditions, got {mask.shape}.")
    if axis is None:
        a, axis = ravel(a), 0
    axis = axis_of(axis, len(a.shape))
    n = a.shape[axis]
    (places,) = positions(mask, "compress", size, n)
    index = (slice(None),) * axis + (places,)
    if size is None:
        return getitem(a, index)
    if mask.shape[0] > n:
        raise errors.ShapeError(
            f"compress with size= needs at most one condition for each of the {n} positions, "
            f"got {mask.shape[0]}."
        )
    return read(a, index, "fill", fill_value)


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Value:
    """The elements for which a condition holds, in one dimension.

    >>> import wengert.numpy as wnp
    >>> x = wnp.arange(5)
    >>> wnp.extract(x % 2 == 0, x)
    Array([0, 2, 4], dtype=int32)
    """
    return compress(flat_mask(asarray(condition)), ravel(arr), size=size, fill_value=fill_value)


# -- putting ---------------------------------------------------------------------------------


def _refuse_inplace(name: str, inplace: bool) -> None:
    if inplace:
        raise ValueError(
            f"{name} cannot write in place: arrays are immutable. Write x = {name}(x, ..., "
            "inplace=False)."
        )


def put_along_axis(
    arr: Any,
    indices: Any,
    values: Any,
    axis: int | None,
    inplace: bool = True,
    *,
    mode: str | None = None,
) -> Value:
    """The array with elements replaced whose position along one axis is given.

    Args:
      arr: an array.
      indices: integers; other axes than `axis` broadcast against those of `arr`.
      values: broadcast to the shape of the indices.
      axis: the axis; None flattens the array for the update.
      inplace: must be False.
      mode: out of bounds, as in `x.at[...]`.

    >>> import wengert.numpy as wnp
    >>> wnp.put_along_axis(wnp.zeros((1, 3)), wnp.array([[1]]), 9, axis=1, inplace=False)
    Array([[0., 9., 0.]], dtype=float32)
    """
    _refuse_inplace("put_along_axis", inplace)
    arr, indices = as_array(arr), as_indices(indices, "put_along_axis")
    if axis is None:
        flat = put_along_axis(ravel(arr), indices, values, 0, inplace=False, mode=mode)
        return reshape(flat, arr.shape)
    index, _ = _along(arr, indices, axis_of(axis, len(arr.shape)))
    return Update(arr, index).set(values, mode=mode)


def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = True) -> Value:
    """The array with elements at positions of the flattened array replaced.

    Args:
      a: an array.
      ind: integers.
      v: values, repeated as often as needed.
      mode: out of bounds, as in `x.at[...]`.
      inplace: must be False.

    >>> import wengert.numpy as wnp
    >>> wnp.put(wnp.zeros((2, 2)), wnp.array([0, 3]), 7, inplace=False)
    Array([[7., 0.],
           [0., 7.]], dtype=float32)
    """
    _refuse_inplace("put", inplace)
    a, places = as_array(a), ravel(as_indices(asarray(ind), "put"))
    values = _repeated(asarray(v), places.size)
    return reshape(Update(ravel(a), places).set(values, mode=mode), a.shape)


def _repeated(values: Value, count: int) -> Value:
    """The flattened values, repeated or cut to a length."""
    flat = ravel(values)
    if flat.size in (1, count):
        return flat
    if flat.size == 0:
        if count == 0:
            return flat
        raise ValueError("there are no values to put.")
    return getitem(flat, Array(np.arange(count) % flat.size))


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = True) -> Value:
    """The array with the elements where a mask holds replaced by values, one after the other.

    Args:
      arr: an array.
      mask: of the same size.
      vals: values, repeated as often as needed.
      inplace: must be False.

    >>> import wengert.numpy as wnp
    >>> x = wnp.arange(5)
    >>> wnp.place(x, x > 1, wnp.array([8, 9]), inplace=False)
    Array([0, 1, 8, 9, 8], dtype=int32)
    """
    _refuse_inplace("place", inplace)
    arr, mask = as_array(arr), flat_mask(asarray(mask))
    if mask.size != arr.size:
        raise errors.ShapeError(
            f"place needs a mask with one element per element of the array, got shapes "
            f"({mask.size},) and {arr.shape}."
        )
    (places,) = nonzero(mask, size=arr.size, fill_value=arr.size)
    values = _repeated(asarray(vals), arr.size)
    return reshape(Update(ravel(arr), places).set(values, mode="drop"), arr.shape)


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = True) -> Value:
    """The array with its main diagonal replaced.

    Args:
      a: an array with at least two axes; with more than two, all of one size.
      val: values, repeated as often as needed.
      wrap: in a tall matrix, start again below the end of the diagonal.
      inplace: must be False.

    >>> import wengert.numpy as wnp
    >>> wnp.fill_diagonal(wnp.zeros((2, 2)), 1, inplace=False)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    _refuse_inplace("fill_diagonal", inplace)
    a = as_array(a)
    if len(a.shape) < 2:
        raise errors.ShapeError(f"fill_diagonal needs at least two axes, got shape {a.shape}.")
    if len(a.shape) > 2 and len(set(a.shape)) > 1:
        raise errors.ShapeError(
            f"fill_diagonal of more than two axes needs equal sizes, got shape {a.shape}."
        )
    if len(a.shape) == 2:
        step = a.shape[1] + 1
        end = a.size if wrap else min(a.size, a.shape[1] * a.shape[1])
    else:
        step = sum(math.prod(a.shape[i + 1 :]) for i in range(len(a.shape)))
        end = a.size
    places = np.arange(0, end, step)
    return put(a, Array(places), val, inplace=False) if places.size else a


# -- positions -------------------------------------------------------------------------------


def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Value, ...]:
    """The positions of the elements that are not zero: one array per axis.

    Args:
      a: an array with at least one axis.
      size: how many positions to give, needed when the array is traced.
      fill_value: what fills up the result, one number or one per axis; 0 by default.

    Raises:
      ConcretizationError: for a traced array without `size`.

    >>> import wengert.numpy as wnp
    >>> wnp.nonzero(wnp.array([0, 5, 7]))
    (Array([1, 2], dtype=int32),)
    """
    return positions(as_mask(a), "nonzero", size, fill_value)


def positions(
    mask: Value, name: str, size: int | None = None, fill_value: Any = None
) -> tuple[Value, ...]:
    """The positions at which a mask holds, as in `nonzero`, for the function of that name."""
    if not mask.shape:
        raise errors.ShapeError(f"{name} needs an array with at least one axis: atleast_1d(x).")
    if size is not None:
        return _first_positions(mask, operator.index(size), fill_value)
    if type(mask) is not Array:
        mask = mask.concrete(f"{name} (which takes size= to fix the size of its result)")
    dtype = position_dtype(mask.size)
    return tuple(Array(p.astype(dtype)) for p in np.nonzero(mask._value))


def _first_positions(mask: Value, size: int, fill_value: Any) -> tuple[Value, ...]:
    """The first `size` positions at which a mask holds, without looking at its values.

    Each true element is sent to the place that counting gives it; the others are dropped.
    """
    shape, dtype = mask.shape, position_dtype(mask.size)
    flat = convert(ravel(mask), dtype=dtype)
    count = basis.reduce_sum(flat, axes=(0,))
    targets = select(ne(flat, 0), sub(cumsum(flat, axis=0, reverse=False), 1), size)
    start = basis.full(shape=(size,), value=0, dtype=dtype)
    numbers = iota(dtype=dtype, shape=flat.shape, dimension=0)
    found = scatter(start, numbers, targets, axes=(0,), mode="drop")
    fills = fill_value if isinstance(fill_value, tuple) else (fill_value,) * len(shape)
    if len(fills) != len(shape):
        raise ValueError(f"nonzero needs one fill_value, or {len(shape)} of them; got {fills}.")
    valid = lt(iota(dtype=dtype, shape=(size,), dimension=0), count)
    places = _unravelled(found, shape)
    return tuple(
        select(valid, place, _fill_for(fill, dtype))
        for place, fill in zip(places, fills, strict=True)
    )


def _fill_for(fill: Any, dtype: DType) -> Value:
    return 0 if fill is None else to_dtype(asarray(fill), dtype)


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The positions of the elements that are not zero, in the flattened array.

    >>> import wengert.numpy as wnp
    >>> wnp.flatnonzero(wnp.array([[0, 5], [7, 0]]))
    Array([1, 2], dtype=int32)
    """
    return positions(flat_mask(a), "flatnonzero", size, fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The positions of the elements that are not zero, one row for each.

    >>> import wengert.numpy as wnp
    >>> wnp.argwhere(wnp.array([[0, 5], [7, 0]]))
    Array([[0, 1],
           [1, 0]], dtype=int32)
    """
    mask = as_mask(a)
    if not mask.shape:
        (rows,) = positions(flat_mask(mask), "argwhere", size)
        return basis.full(shape=(rows.size, 0), value=0, dtype=dtypes.INT32)
    columns = [
        basis.reshape(p, shape=(p.size, 1))
        for p in positions(mask, "argwhere", size, fill_value)
    ]
    return concatenate(*columns, dimension=1)


def ix_(*args: Any) -> tuple[Value, ...]:
    """Vectors of positions, one per axis, shaped so that together they index a whole grid.

    >>> import wengert.numpy as wnp
    >>> [a.shape for a in wnp.ix_(wnp.array([0, 2]), wnp.array([1, 2, 3]))]
    [(2, 1), (1, 3)]
    """
    out = []
    for i, arg in enumerate(args):
        a = asarray(arg)
        if len(a.shape) != 1:
            raise errors.ShapeError(f"ix_ takes vectors, got an array of shape {a.shape}.")
        if a.dtype == dtypes.BOOL:
            (a,) = nonzero(a)
        elif a.size == 0:
            a = to_dtype(a, dtypes.INT32)
        out.append(basis.reshape(a, shape=(1,) * i + a.shape + (1,) * (len(args) - i - 1)))
    return tuple(out)


def unravel_index(indices: Any, shape: Any) -> tuple[Value, ...]:
    """Positions in the flattened array as positions along each axis.

    Raises:
      ArrayIndexError: for positions out of bounds.

    >>> unravel_index(5, (2, 3))
    (Array(1, dtype=int32), Array(2, dtype=int32))
    """
    sizes = shape_of(shape)
    flat = _signed(as_indices(asarray(indices), "unravel_index"))
    count = math.prod(sizes)
    flat = _in_bounds(flat, count)
    return tuple(_unravelled(select(lt(flat, 0), add(flat, count), flat), sizes))


def _signed(indices: Value) -> Value:
    """Indices in int32, or in int64 where that may not hold them."""
    wide = indices.dtype.itemsize == 8 or indices.dtype == np.uint32
    return to_dtype(indices, np.dtype(np.int64) if wide else dtypes.INT32)


def _unravelled(flat: Value, sizes: Shape) -> list[Value]:
    out = []
    for i, n in enumerate(sizes):
        stride = math.prod(sizes[i + 1 :])
        place = floor_divide(flat, stride) if stride > 1 else flat
        out.append(mod(place, n) if i and n > 0 else place)
    return out


def _in_bounds(indices: Value, n: int) -> Value:
    """The same indices; out of bounds they raise, also when they are traced."""
    zeros = broadcast_in_dim(Array(indices.dtype.type(0)), shape=(n,), broadcast_dimensions=())
    return add(indices, gather(zeros, indices, axes=(0,), mode="error"))


def ravel_multi_index(
    multi_index: Sequence[Any],
    dims: Sequence[int],
    mode: Any = "raise",
    order: str = "C",
    *,
    dtype: DTypeLike = None,
) -> Value:
    """Positions along each axis as positions in the flattened array.

    Args:
      multi_index: one array of integers per axis.
      dims: the shape of the array.
      mode: out of bounds: "raise", "clip" or "wrap"; one for all axes, or one for each.
      order: "C" or "F".
      dtype: the dtype of the result.

    >>> import wengert.numpy as wnp
    >>> wnp.ravel_multi_index((wnp.array([1, 0]), wnp.array([2, 1])), (2, 3))
    Array([5, 1], dtype=int32)
    """
    sizes = integers(dims)
    modes = mode if isinstance(mode, tuple) else (mode,) * len(sizes)
    indices = [_signed(as_indices(asarray(i), "ravel_multi_index")) for i in multi_index]
    if len(indices) != len(sizes) or len(modes) != len(sizes):
        raise ValueError(
            f"ravel_multi_index needs one array of positions (and one mode) for each of the "
            f"{len(sizes)} sizes in dims, got {len(indices)} (and {len(modes)})."
        )
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', got {order!r}.")
    wanted = position_dtype(math.prod(sizes)) if dtype is None else dtypes.as_dtype(dtype)
    total: Value = to_dtype(asarray(0), wanted)
    axes = range(len(sizes)) if order == "C" else range(len(sizes))[::-1]
    for axis in axes:
        place = to_dtype(_placed(indices[axis], sizes[axis], modes[axis]), wanted)
        total = add(mul(total, sizes[axis]), place)
    return total


def _placed(index: Value, n: int, mode: str) -> Value:
    if mode == "raise":
        return _in_bounds(select(lt(index, 0), n, index), n)
    if mode == "wrap":
        return mod(index, n)
    if mode == "clip":
        low = select(lt(index, 0), 0, index)
        return select(lt(low, n), low, n - 1)
    raise ValueError(f"mode must be 'raise', 'wrap' or 'clip', got {mode!r}.")


__all__ = [
    "argwhere",
    "choose",
    "compress",
    "extract",
    "fill_diagonal",
    "flatnonzero",
    "getitem",
    "ix_",
    "nonzero",
    "place",
    "put",
    "put_along_axis",
    "ravel_multi_index",
    "take",
    "take_along_axis",
    "unravel_index",
]
