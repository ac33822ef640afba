"""Norms of vectors and matrices, and what is measured with them: condition number, rank.

The Euclidean norm and its relatives have gradient 0 at 0, where they have no derivative, and no
NaN; equal maxima share a derivative. `linalg` holds the public names.
"""

from __future__ import annotations

import math
from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Shape, as_array
from wengert.numpy.axes import axes_of
from wengert.numpy.dtypes import finfo
from wengert.numpy.promotion import Value, promote_inexact_unary, to_dtype
from wengert.numpy.reductions import shaped
from wengert.primitives import elementwise as primitives
from wengert.primitives.basis import move_axis, mul, reduce_sum, reshape
from wengert.primitives.cast import conj, real
from wengert.primitives.compare import bitwise_and, bitwise_not, eq, gt, isnan, ne, select
from wengert.primitives.matrix_functions import inv
from wengert.primitives.reduce import reduce_max, reduce_min, reduce_or
from wengert.primitives.spectral import svd
from wengert.primitives.transcendental import pow

Axis = int | tuple[int, ...] | None


def _absolute(x: Value) -> Value:
    return primitives.complex_abs(x) if dtypes.is_complex(x.dtype) else primitives.abs(x)


def _root(total: Value, exponent: float) -> Value:
    """A power of a sum, with derivative 0 where the sum is 0."""
    vanishing = eq(total, 0)
    safe = select(vanishing, 1, total)
    if exponent == 0.5:
        return select(vanishing, 0, primitives.sqrt(safe))
    at_zero = 0 if exponent > 0 else math.inf
    return select(vanishing, at_zero, pow(safe, exponent))


def _euclidean(x: Value, axes: Shape) -> Value:
    squares = real(mul(x, conj(x))) if dtypes.is_complex(x.dtype) else primitives.square(x)
    return _root(reduce_sum(squares, axes=axes), 0.5)


def _extreme(x: Value, axes: Shape, greatest: bool) -> Value:
    """Maximum or minimum of numbers that are not negative; the maximum of none is 0."""
    if greatest and not all(x.shape[i] for i in axes):
        return reduce_sum(x, axes=axes)
    return reduce_max(x, axes=axes) if greatest else reduce_min(x, axes=axes)


def _vector(x: Value, order: Any, axes: Shape) -> Value:
    """The norm of the vectors along some axes; `x` is inexact."""
    if order is None or order == 2:
        return _euclidean(x, axes)
    if isinstance(order, str):
        raise ValueError(f"norm of vectors has no order {order!r}: give a number, or inf.")
    size = _absolute(x)
    if math.isinf(order):
        return _extreme(size, axes, order > 0)
    if order == 0:
        return reduce_sum(to_dtype(ne(x, 0), size.dtype), axes=axes)
    if order == 1:
        return reduce_sum(size, axes=axes)
    return _root(reduce_sum(pow(size, float(order)), axes=axes), 1 / order)


def singular_values(x: Value) -> Value:
    """The singular values, descending, with derivative 0 where they are 0."""
    (s,) = svd(x, full_matrices=False, compute_uv=False)
    return select(eq(s, 0), 0, s)


def _matrix(x: Value, order: Any, axes: tuple[int, int]) -> Value:
    """The norm of the matrices in two axes; `x` is inexact."""
    rows, columns = axes
    if order in (None, "f", "fro"):
        return _euclidean(x, axes)
    if order in (1, -1, math.inf, -math.inf):
        summed, kept = (rows, columns) if abs(order) == 1 else (columns, rows)
        sums = reduce_sum(_absolute(x), axes=(summed,))
        return _extreme(sums, (kept - (kept > summed),), order > 0)
    if order not in ("nuc", 2, -2):
        raise ValueError(
            f"norm of matrices has no order {order!r}: give None, 'fro', 'nuc', 1, -1, 2, -2, "
            "inf or -inf."
        )
    rank = len(x.shape)
    x = move_axis(move_axis(x, rows, rank - 1), columns - (columns > rows), rank - 1)
    s = singular_values(x)
    last = (rank - 2,)
    return reduce_sum(s, axes=last) if order == "nuc" else _extreme(s, last, order > 0)


def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Value:
    """The norm of vectors or matrices.

    Args:
      x: an array.
      ord: of vectors: 2 by default; any number, inf, -inf, 0 (how many are not zero). Of
        matrices: "fro" by default; "nuc", 1, -1, 2, -2, inf, -inf.
      axis: one axis for vectors, two for matrices; by default all of them, and with `ord=None`
        an array of any rank is one vector.
      keepdims: whether the reduced axes stay, with size 1.

    Raises:
      ValueError: for an order or a number of axes that means no norm.

    >>> import wengert, wengert.numpy as wnp
    >>> wnp.linalg.norm(wnp.array([3.0, 4.0]))
    Array(5., dtype=float32)
    >>> wengert.grad(wnp.linalg.norm)(wnp.zeros(2))
    Array([0., 0.], dtype=float32)
    """
    x = promote_inexact_unary(x)
    axes = axes_of(axis, len(x.shape))
    if len(axes) == 1 or (ord is None and axis is None):
        out = _vector(x, ord, axes)
    elif len(axes) == 2:
        out = _matrix(x, ord, (axes[0], axes[1]))
    else:
        raise ValueError(
            f"norm with ord={ord!r} needs one axis (vectors) or two (matrices); there are "
            f"{len(axes)}. Name them: norm(x, ord, axis=(-2, -1))."
        )
    return shaped(out, keepdims, x, axes)


def vector_norm(
    x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float | str = 2
) -> Value:
    """The norm of the vectors along one or several axes, by default of all elements.

    Args:
      x: an array.
      axis: along which the components lie.
      keepdims: whether the reduced axes stay, with size 1.
      ord: any number, inf, -inf, or 0 (how many are not zero).

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.vector_norm(wnp.array([[3.0, 4.0], [1.0, 0.0]]), axis=1)
    Array([5., 1.], dtype=float32)
    """
    x = promote_inexact_unary(x)
    axes = axes_of(axis, len(x.shape))
    return shaped(_vector(x, ord, axes), keepdims, x, axes)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: float | str = "fro") -> Value:
    """The norm of the matrices in the last two dimensions; `ord` as in `norm`.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.matrix_norm(wnp.array([[3.0, 0.0], [0.0, 4.0]]), ord=2)
    Array(4., dtype=float32)
    """
    return norm(x, ord, (-2, -1), keepdims)


def cond(x: Any, p: Any = None) -> Value:
    """The condition number `norm(x, p) * norm(inv(x), p)` of matrices.

    Args:
      x: a matrix or a stack of matrices; square unless `p` is None, 2 or -2.
      p: the norm, as in `norm`; None and 2 give the ratio of the largest to the smallest
        singular value, which is infinite for a singular matrix.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.cond(wnp.array([[4.0, 0.0], [0.0, 2.0]]))
    Array(2., dtype=float32)
    """
    x = promote_inexact_unary(x)
    rank = len(x.shape)
    if rank < 2 or 0 in x.shape[-2:]:
        raise errors.ShapeError(f"cond needs matrices that are not empty, got shape {x.shape}.")
    if p in (None, 2, -2):
        (s,) = svd(x, full_matrices=False, compute_uv=False)
        largest, smallest = (_extreme(s, (rank - 2,), greatest) for greatest in (True, False))
        ratio = (smallest, largest) if p == -2 else (largest, smallest)
        out = primitives.div(*ratio)
    else:
        out = mul(matrix_norm(x, ord=p), matrix_norm(inv(x), ord=p))
    given = reduce_or(isnan(x), axes=(rank - 2, rank - 1))
    undefined = bitwise_and(isnan(out), bitwise_not(given))
    return select(undefined, math.inf, out)


def matrix_rank(M: Any, rtol: Any = None, *, hermitian: bool = False, tol: Any = None) -> Value:
    """The rank of matrices: how many singular values count as different from zero.

    Args:
      M: a matrix or a stack of matrices; the rank of a vector is 0 or 1.
      rtol: singular values up to `rtol` times the largest one count as zero; by default the
        larger dimension times the precision of the dtype. One number, or one for each matrix.
      hermitian: promises a Hermitian matrix; changes nothing.
      tol: the bound itself, as NumPy has it. Only one of `tol` and `rtol` may be given.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.matrix_rank(wnp.array([[1.0, 2.0], [2.0, 4.0]]))
    Array(1, dtype=int32)
    """
    if rtol is not None and tol is not None:
        raise ValueError("matrix_rank takes only one of rtol and tol.")
    x = promote_inexact_unary(M)
    if len(x.shape) < 2:
        axes = tuple(range(len(x.shape)))
        return to_dtype(reduce_or(ne(x, 0), axes=axes), dtypes.INT32)
    (s,) = svd(x, full_matrices=False, compute_uv=False)
    last = len(s.shape) - 1
    if tol is None:
        default = max(x.shape[-2:]) * float(finfo(s.dtype).eps)
        relative = to_dtype(as_array(default if rtol is None else rtol), s.dtype)
        bound = mul(_extreme(s, (last,), True), relative)
    else:
        bound = to_dtype(as_array(tol), s.dtype)
    counted = gt(s, reshape(bound, shape=(*bound.shape, 1)))
    return reduce_sum(to_dtype(counted, dtypes.INT32), axes=(last,))
