"""Diagonals, triangles, and matrices made of them.

A diagonal of a flattened matrix is a strided slice, so that `diag` and `diagonal` are linear
operations whose derivatives cost no more than they do. Lists of indices (`tril_indices` ...)
are static: they depend on shapes only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.arrays import check_device
from wengert.numpy.axes import axis_of, shape_of
from wengert.numpy.promotion import Value, requested_dtype, to_dtype
from wengert.primitives.basis import add, filled, move_axis, mul, reshape
from wengert.primitives.basis import zeros_like as zeros_of
from wengert.primitives.compare import eq, ge, select
from wengert.primitives.shape import concatenate, iota, pad, slice_

# -- matrices of zeros and ones ----------------------------------------------------------------


def _rows_and_columns(rows: int, columns: int, k: int) -> tuple[Value, Value]:
    """The row numbers, raised by k, and the column numbers of a matrix; they broadcast."""
    row = iota(dtype=dtypes.INT32, shape=(rows, 1), dimension=0)
    column = iota(dtype=dtypes.INT32, shape=(1, columns), dimension=1)
    return add(row, k) if k else row, column


def eye(
    N: int, M: int | None = None, k: int = 0, dtype: DTypeLike = None, *, device: Any = None
) -> Value:
    """A matrix with ones on a diagonal and zeros elsewhere.

    Args:
      N: number of rows.
      M: number of columns, N by default.
      k: which diagonal; positive ones are above the main diagonal.
      dtype: float32 by default.
      device: None or "cpu".

    >>> eye(2, 3, k=1)
    Array([[0., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    check_device(device)
    (rows, columns), wanted = _matrix(N, M), requested_dtype(dtype, dtypes.FLOAT32)
    return to_dtype(eq(*_rows_and_columns(rows, columns, k.__index__())), wanted)


def _matrix(rows: Any, columns: Any) -> Shape:
    return shape_of((rows, rows if columns is None else columns))


def identity(n: int, dtype: DTypeLike = None) -> Value:
    """The square matrix with ones on its diagonal and zeros elsewhere.

    >>> identity(2)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: DTypeLike = None) -> Value:
    """A matrix with ones on and below a diagonal and zeros above.

    Args:
      N: number of rows.
      M: number of columns, N by default.
      k: which diagonal; positive ones are above the main diagonal.
      dtype: float32 by default.

    >>> tri(2, 3)
    Array([[1., 0., 0.],
           [1., 1., 0.]], dtype=float32)
    """
    (rows, columns), wanted = _matrix(N, M), requested_dtype(dtype, dtypes.FLOAT32)
    return to_dtype(ge(*_rows_and_columns(rows, columns, k.__index__())), wanted)


# -- triangles ---------------------------------------------------------------------------------


def tril(m: Any, k: int = 0) -> Value:
    """The lower triangles of matrices: zeros above a diagonal.

    Args:
      m: an array, whose last two dimensions are those of matrices.
      k: which diagonal; positive ones are above the main diagonal.

    >>> tril(np.ones((2, 3)))
    Array([[1., 0., 0.],
           [1., 1., 0.]], dtype=float64)
    """
    m = _matrices("tril", m)
    rows, columns = m.shape[-2:]
    return select(ge(*_rows_and_columns(rows, columns, k.__index__())), m, _zero(m))


def triu(m: Any, k: int = 0) -> Value:
    """The upper triangles of matrices: zeros below a diagonal.

    Args:
      m: an array, whose last two dimensions are those of matrices.
      k: which diagonal; positive ones are above the main diagonal.

    >>> triu(np.ones((2, 3)))
    Array([[1., 1., 1.],
           [0., 1., 1.]], dtype=float64)
    """
    m = _matrices("triu", m)
    rows, columns = m.shape[-2:]
    return select(ge(*_rows_and_columns(rows, columns, k.__index__() - 1)), _zero(m), m)


def _matrices(name: str, m: Any) -> Value:
    m = as_array(m)
    if len(m.shape) < 2:
        raise errors.ShapeError(
            f"{name} needs an array of at least two dimensions, got shape {m.shape}."
        )
    return m


def _zero(m: Value) -> Any:
    return False if m.dtype == dtypes.BOOL else 0


# -- diagonals ---------------------------------------------------------------------------------


def diag(v: Any, k: int = 0) -> Value:
    """The matrix with the given diagonal, or the diagonal of the given matrix.

    Args:
      v: a vector (a diagonal) or a matrix.
      k: which diagonal; positive ones are above the main diagonal.

    >>> diag(np.array([1, 2]))
    Array([[1, 0],
           [0, 2]], dtype=int64)
    >>> diag(np.array([[1, 2], [3, 4]]), 1)
    Array([2], dtype=int64)
    """
    v = as_array(v)
    if len(v.shape) == 2:
        return diagonal(v, k)
    if len(v.shape) != 1:
        raise errors.ShapeError(f"diag needs a vector or a matrix, got shape {v.shape}.")
    offset = k.__index__()
    (n,) = v.shape
    size = n + abs(offset)
    # in the flattened matrix the elements of a diagonal are `size` apart
    low = offset if offset >= 0 else -offset * size
    covered = n + (n - 1) * size if n else 0
    config = ((low, size * size - low - covered, size),)
    zero = filled(ArrayType((), v.dtype), 0)
    return reshape(pad(v, zero, padding_config=config), shape=(size, size))


def diagflat(v: Any, k: int = 0) -> Value:
    """The matrix with the elements of an array on its diagonal.

    >>> diagflat(np.array([[1, 2]]))
    Array([[1, 0],
           [0, 2]], dtype=int64)
    """
    v = as_array(v)
    return diag(reshape(v, shape=(v.size,)), k)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """The diagonals of matrices, along a new last dimension.

    Args:
      a: an array of at least two dimensions.
      offset: which diagonal; positive ones are above the main diagonal.
      axis1: the dimension of the rows.
      axis2: the dimension of the columns.

    >>> diagonal(np.arange(6).reshape(2, 3), 1)
    Array([1, 5], dtype=int64)
    """
    a = _matrices("diagonal", a)
    rank = len(a.shape)
    first, second = axis_of(axis1, rank), axis_of(axis2, rank)
    if first == second:
        raise errors.ShapeError(f"diagonal needs two different axes, got {axis1} and {axis2}.")
    a = move_axis(a, first, rank - 1)
    a = move_axis(a, second - (second > first), rank - 1)
    *lead, rows, columns = a.shape
    k = offset.__index__()
    length = max(0, min(rows, columns - k) if k >= 0 else min(rows + k, columns))
    start = min(k if k >= 0 else -k * columns, rows * columns)
    stop = start + (length - 1) * (columns + 1) + 1 if length else start
    return slice_(
        reshape(a, shape=(*lead, rows * columns)),
        start_indices=(*(0 for _ in lead), start),
        limit_indices=(*lead, stop),
        strides=(*(1 for _ in lead), columns + 1),
    )


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Value:
    """The Vandermonde matrix, whose columns are the powers of a vector.

    Args:
      x: a vector.
      N: number of columns, by default the length of the vector.
      increasing: whether the powers increase from left to right.

    >>> vander(np.array([1, 2, 3]))
    Array([[1, 1, 1],
           [4, 2, 1],
           [9, 3, 1]], dtype=int64)
    """
    x = as_array(x)
    if len(x.shape) != 1:
        raise errors.ShapeError(f"vander needs a vector, got shape {x.shape}.")
    x = to_dtype(x, dtypes.INT32) if x.dtype == dtypes.BOOL else x
    columns = x.shape[0] if N is None else N.__index__()
    if not columns:
        return filled(ArrayType((x.shape[0], 0), x.dtype), 0)
    powers = [add(zeros_of(x), 1)]
    for _ in range(columns - 1):
        powers.append(mul(powers[-1], x))
    if not increasing:
        powers.reverse()
    return concatenate(*(reshape(p, shape=(*p.shape, 1)) for p in powers), dimension=1)


# -- indices -----------------------------------------------------------------------------------


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Value, ...]:
    """Row and column numbers of the lower triangle of a matrix, as int32.

    Args:
      n: number of rows.
      k: the diagonal where the triangle ends; positive ones are above the main diagonal.
      m: number of columns, n by default.

    >>> tril_indices(2)
    (Array([0, 1, 1], dtype=int32), Array([0, 0, 1], dtype=int32))
    """
    rows, columns = _matrix(n, m)
    return _indices(np.tril_indices(rows, k.__index__(), columns))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Value, ...]:
    """Row and column numbers of the upper triangle of a matrix, as int32.

    Args:
      n: number of rows.
      k: the diagonal where the triangle begins; positive ones are above the main diagonal.
      m: number of columns, n by default.

    >>> triu_indices(2)
    (Array([0, 0, 1], dtype=int32), Array([0, 1, 1], dtype=int32))
    """
    rows, columns = _matrix(n, m)
    return _indices(np.triu_indices(rows, k.__index__(), columns))


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Value, ...]:
    """Row and column numbers of the lower triangle of a given matrix; see `tril_indices`.

    >>> tril_indices_from(np.zeros((1, 3)), 1)
    (Array([0, 0], dtype=int32), Array([0, 1], dtype=int32))
    """
    rows, columns = _square("tril_indices_from", arr)
    return tril_indices(rows, k, columns)


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Value, ...]:
    """Row and column numbers of the upper triangle of a given matrix; see `triu_indices`.

    >>> triu_indices_from(np.zeros((1, 3)), 1)
    (Array([0, 0], dtype=int32), Array([1, 2], dtype=int32))
    """
    rows, columns = _square("triu_indices_from", arr)
    return triu_indices(rows, k, columns)


def diag_indices(n: int, ndim: int = 2) -> tuple[Value, ...]:
    """The indices of the main diagonal of an array with equal sizes, as int32.

    Args:
      n: size of the dimensions.
      ndim: number of dimensions.

    >>> diag_indices(2)
    (Array([0, 1], dtype=int32), Array([0, 1], dtype=int32))
    """
    (size,) = shape_of(n)
    return tuple(iota(dtype=dtypes.INT32, shape=(size,), dimension=0) for _ in range(ndim))


def diag_indices_from(arr: Any) -> tuple[Value, ...]:
    """The indices of the main diagonal of a given array with equal sizes; see `diag_indices`.

    >>> diag_indices_from(np.zeros((2, 2)))
    (Array([0, 1], dtype=int32), Array([0, 1], dtype=int32))
    """
    sizes = as_array(arr).shape
    if len(sizes) < 2 or len(set(sizes)) != 1:
        raise errors.ShapeError(
            f"diag_indices_from needs two or more dimensions of one size, got shape {sizes}."
        )
    return diag_indices(sizes[0], len(sizes))


def mask_indices(n: int, mask_func: Callable[[Any, int], Any], k: int = 0) -> tuple[Value, ...]:
    """Row and column numbers of what a function such as `triu` leaves of a matrix of ones.

    Args:
      n: size of the matrix.
      mask_func: called with the matrix and `k`; it must not be traced.
      k: which diagonal.

    >>> mask_indices(2, triu)
    (Array([0, 0, 1], dtype=int32), Array([0, 1, 1], dtype=int32))
    """
    (size,) = shape_of(n)
    ones = filled(ArrayType((size, size), dtypes.INT32), 1)
    return _indices(np.nonzero(np.asarray(mask_func(ones, k))))


def _square(name: str, arr: Any) -> Shape:
    sizes: Shape = as_array(arr).shape
    if len(sizes) != 2:
        raise errors.ShapeError(f"{name} needs a matrix, got shape {sizes}.")
    return sizes


def _indices(positions: tuple[Any, ...]) -> tuple[Value, ...]:
    return tuple(Array(p.astype(np.int32)) for p in positions)
