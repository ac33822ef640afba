"""Polynomials as vectors of coefficients, highest power first.

Sums and products have static lengths: leading zeros are trimmed only on request, because how
many there are depends on values. Everything is differentiable in the coefficients; `roots` and
`poly` of a matrix as far as eigenvalues are, `polyfit` where the fit is unique.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.numpy.arrays import as_operand, asarray
from wengert.numpy.contract import matmul, outer
from wengert.numpy.creation import zeros
from wengert.numpy.diagonals import diag, vander
from wengert.numpy.elementwise import real
from wengert.numpy.promotion import Value, promote, promote_inexact, to_dtype
from wengert.numpy.reductions import operand
from wengert.numpy.running import part
from wengert.numpy.sampling import convolve
from wengert.primitives.basis import (
    add,
    broadcast_shape,
    broadcast_to,
    filled,
    mul,
    neg,
    reduce_sum,
    reshape,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import gt, select
from wengert.primitives.elementwise import div, reciprocal, sqrt, square, sub
from wengert.primitives.matrices import adjoint
from wengert.primitives.shape import concatenate
from wengert.primitives.spectral import eig, svd


def _coefficients(name: str, *ps: Any) -> list[Value]:
    """Vectors of coefficients in their common dtype; numbers are constant polynomials."""
    vectors = [operand(p) for p in promote(*map(as_operand, ps))]
    vectors = [p if p.shape else reshape(p, shape=(1,)) for p in vectors]
    for p in vectors:
        if len(p.shape) != 1:
            raise errors.ShapeError(f"{name} needs vectors of coefficients, got {p.shape}.")
    return vectors


def _known(name: str, p: Value) -> Any:
    """The values of coefficients whose zeros decide about the shape of a result."""
    return np.asarray(p if type(p) is Array else p.concrete(f"{name} without leading zeros"))


def _trimmed(name: str, p: Value) -> Value:
    """The coefficients without leading zeros, which must be known."""
    nonzero = np.flatnonzero(_known(name, p))
    return part(p, 0, int(nonzero[0]) if nonzero.size else p.size - 1, 0) if p.size else p


def _padded(p: Value, size: int) -> Value:
    if p.size >= size:
        return p
    front = filled(ArrayType((size - p.size,), p.dtype), 0)
    return concatenate(front, p, dimension=0)


# -- evaluation -------------------------------------------------------------------------------


def polyval(p: Any, x: Any, *, unroll: int = 16) -> Value:
    """The values of a polynomial, by Horner's rule.

    Args:
      p: coefficients, highest power first, along the first dimension.
      x: where to evaluate; it broadcasts with the coefficients' other dimensions.
      unroll: accepted for JAX's sake; there is no loop to unroll.

    >>> import wengert.numpy as wnp
    >>> wnp.polyval(wnp.array([1.0, 2.0, 3.0]), 2.0)
    Array(11., dtype=float32)
    """
    del unroll
    p, x = promote(as_operand(p), as_operand(x))
    if not p.shape:
        raise errors.ShapeError("polyval needs a vector of coefficients, got a number.")
    shape = broadcast_shape([p.shape[1:], x.shape], "polyval")
    out = zeros(shape, p.dtype)
    for i in range(p.shape[0]):
        coefficient = reshape(part(p, 0, i, i + 1), shape=p.shape[1:])
        out = add(mul(out, x), coefficient) if i else broadcast_to(coefficient, shape)
    return out


# -- arithmetic -------------------------------------------------------------------------------


def polyadd(a1: Any, a2: Any) -> Value:
    """The sum of two polynomials.

    >>> import wengert.numpy as wnp
    >>> wnp.polyadd(wnp.array([1, 2]), wnp.array([5, 0, 1]))
    Array([5, 1, 3], dtype=int32)
    """
    p, q = _coefficients("polyadd", a1, a2)
    size = max(p.size, q.size)
    return add(_padded(p, size), _padded(q, size))


def polysub(a1: Any, a2: Any) -> Value:
    """The difference of two polynomials.

    >>> import wengert.numpy as wnp
    >>> wnp.polysub(wnp.array([1, 2]), wnp.array([5, 0, 1]))
    Array([-5,  1,  1], dtype=int32)
    """
    p, q = _coefficients("polysub", a1, a2)
    size = max(p.size, q.size)
    return sub(_padded(p, size), _padded(q, size))


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Value:
    """The product of two polynomials.

    Args:
      a1: coefficients.
      a2: coefficients.
      trim_leading_zeros: whether to leave out leading zeros of both first; not while tracing.

    >>> import wengert.numpy as wnp
    >>> wnp.polymul(wnp.array([1, 2]), wnp.array([1, -2]))
    Array([ 1,  0, -4], dtype=int32)
    """
    p, q = _coefficients("polymul", a1, a2)
    if trim_leading_zeros:
        p, q = _trimmed("polymul", p), _trimmed("polymul", q)
    return convolve(p, q)


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = False) -> tuple[Value, Value]:
    """The quotient and the remainder of two polynomials.

    Args:
      u: coefficients of the dividend.
      v: coefficients of the divisor; the first must not be 0.
      trim_leading_zeros: whether to leave out leading zeros of the remainder; not while
        tracing. The remainder is as long as the dividend otherwise.

    >>> import wengert.numpy as wnp
    >>> wnp.polydiv(wnp.array([1.0, 0.0, -4.0]), wnp.array([1.0, 2.0]))
    (Array([ 1., -2.], dtype=float32), Array([0., 0., 0.], dtype=float32))
    """
    u, v = promote_inexact(*_coefficients("polydiv", u, v))
    steps = u.size - v.size + 1
    rest, quotient = u, []
    lead = part(v, 0, 0, 1)
    for k in range(max(steps, 0)):
        digit = div(part(rest, 0, k, k + 1), lead)
        quotient.append(digit)
        shifted = [filled(ArrayType((k,), u.dtype), 0), mul(v, digit)]
        shifted.append(filled(ArrayType((steps - 1 - k,), u.dtype), 0))
        rest = sub(rest, concatenate(*shifted, dimension=0))
    quotient = quotient or [filled(ArrayType((1,), u.dtype), 0)]
    if trim_leading_zeros:
        rest = _trimmed("polydiv", rest)
    return concatenate(*quotient, dimension=0), rest


def polyder(p: Any, m: int = 1) -> Value:
    """The derivative of a polynomial.

    Args:
      p: coefficients.
      m: order of the derivative.

    >>> import wengert.numpy as wnp
    >>> wnp.polyder(wnp.array([1.0, 2.0, 3.0]))
    Array([2., 2.], dtype=float32)
    """
    (p,) = promote_inexact(*_coefficients("polyder", p))
    order = _order(m)
    if order == 0:
        return p
    kept = p.size - order
    if kept <= 0:
        return filled(ArrayType((0,), p.dtype), 0)
    powers = np.arange(p.size - 1, order - 1, -1)
    return mul(part(p, 0, 0, kept), Array(_falling(powers, order).astype(p.dtype)))


def _order(m: Any) -> int:
    order: int = m.__index__()
    if order < 0:
        raise ValueError(f"the order must not be negative, got {order}.")
    return order


def _falling(powers: Any, order: int) -> Any:
    """The products n (n - 1) ... of `order` factors, in double precision."""
    return np.prod([powers - i for i in range(order)], axis=0, dtype=np.float64)


def polyint(p: Any, m: int = 1, k: Any = None) -> Value:
    """An antiderivative of a polynomial.

    Args:
      p: coefficients.
      m: how often to integrate.
      k: the constants of integration, in this order; one number stands for all, None for 0.

    >>> import wengert.numpy as wnp
    >>> wnp.polyint(wnp.array([3.0, 2.0, 1.0]))
    Array([1., 1., 1., 0.], dtype=float32)
    """
    order = _order(m)
    p, constants = promote_inexact(*_coefficients("polyint", p, 0 if k is None else k))
    if constants.size == 1 and order != 1:
        constants = broadcast_to(constants, (order,))
    if constants.size != order:
        raise errors.ShapeError(f"polyint needs {order} constants, got {constants.size}.")
    if order == 0:
        return p
    whole = concatenate(p, constants, dimension=0)
    count = p.size
    rising = _falling(np.arange(count - 1 + order, order - 1, -1), order)
    # constant i is integrated m - 1 - i times more
    tail = [float(np.prod(np.arange(1, order - i), dtype=np.float64)) for i in range(order)]
    divisors = np.concatenate([rising, tail])
    return div(whole, Array(divisors.astype(p.dtype)))


# -- roots ------------------------------------------------------------------------------------


def poly(seq_of_zeros: Any) -> Value:
    """The polynomial with given roots, or the characteristic polynomial of a square matrix.

    Args:
      seq_of_zeros: a vector of roots, or a matrix.

    >>> import wengert.numpy as wnp
    >>> wnp.poly(wnp.array([1.0, 2.0]))
    Array([ 1., -3.,  2.], dtype=float32)
    """
    (values,) = promote_inexact(asarray(seq_of_zeros))
    values = operand(values)
    if len(values.shape) == 2:
        if values.shape[0] != values.shape[1]:
            raise errors.ShapeError(f"poly needs a square matrix, got shape {values.shape}.")
        matrix_dtype = values.dtype
        (values,) = eig(values, vectors=False)
        out = _from_roots(values)
        return out if dtypes.is_complex(matrix_dtype) else real(out)
    if len(values.shape) > 1:
        raise errors.ShapeError(f"poly needs a vector or a matrix, got shape {values.shape}.")
    return _from_roots(reshape(values, shape=(values.size,)))


def _from_roots(values: Value) -> Value:
    one = filled(ArrayType((1,), values.dtype), 1)
    out = one
    for i in range(values.size):
        out = convolve(out, concatenate(one, neg(part(values, 0, i, i + 1)), dimension=0))
    return out


def roots(p: Any, *, strip_zeros: bool = True) -> Value:
    """The complex roots of a polynomial: the eigenvalues of its companion matrix.

    Args:
      p: coefficients.
      strip_zeros: whether to leave out leading and trailing zeros first, which must be known:
        give False while tracing. A first coefficient of 0 is an error otherwise.

    >>> import wengert.numpy as wnp
    >>> wnp.roots(wnp.array([1.0, -3.0, 2.0]))
    Array([2.+0.j, 1.+0.j], dtype=complex64)
    """
    (p,) = promote_inexact(*_coefficients("roots", p))
    zeros_at_origin = 0
    if strip_zeros:
        p = _trimmed("roots", p)
        trailing = np.flatnonzero(_known("roots", p))
        zeros_at_origin = p.size - 1 - int(trailing[-1]) if trailing.size else 0
        p = part(p, 0, 0, p.size - zeros_at_origin)
    degree = p.size - 1
    origin = filled(ArrayType((zeros_at_origin,), dtypes.complex_dtype(p.dtype)), 0)
    if degree < 1:
        return origin
    first = neg(div(part(p, 0, 1, 0), part(p, 0, 0, 1)))
    ones = filled(ArrayType((degree - 1,), p.dtype), 1)
    below = part(diag(ones, -1), 0, 1, 0) if degree > 1 else zeros((0, 1), p.dtype)
    companion = concatenate(reshape(first, shape=(1, degree)), below, dimension=0)
    (values,) = eig(companion, vectors=False)
    return concatenate(values, origin, dimension=0)


# -- fitting ----------------------------------------------------------------------------------


def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Any = None,
    cov: bool | str = False,
) -> Any:
    """The polynomial that fits points best, in the sense of least squares.

    Args:
      x: coordinates, a vector.
      y: values, a vector or a matrix whose columns are fitted one by one.
      deg: degree of the polynomial.
      rcond: singular values below this share of the greatest count as 0.
      full: whether to return residuals, rank, singular values and rcond too.
      w: factors for the distances to the points.
      cov: whether to return the covariance matrix of the coefficients too, scaled by the
        residuals; "unscaled" leaves it as the weights say.

    Returns:
      the coefficients, highest power first, or a tuple with more.

    >>> import wengert.numpy as wnp
    >>> fit = wnp.polyfit(wnp.arange(4.0), wnp.array([1.0, 3.0, 5.0, 7.0]), 1)
    >>> wnp.round(fit, 4)
    Array([2., 1.], dtype=float32)
    """
    x, y = promote_inexact(as_operand(x), as_operand(y))
    lhs, rhs = _fit_system(operand(x), operand(y), _order(deg) + 1, w)
    if rcond is None:
        rcond = float(np.finfo(lhs.dtype).eps) * x.size
    lengths = sqrt(reduce_sum(square(lhs), axes=(0,)))  # scaled columns: a meaningful rank
    lhs = div(lhs, lengths)
    solution, s, kept, inverse_gram = _least_squares(lhs, rhs, rcond)
    coefficients = _for_points(div(solution, reshape(lengths, shape=(lengths.size, 1))), y)
    if not full and not cov:
        return coefficients
    residuals = reduce_sum(square(sub(matmul(lhs, solution), rhs)), axes=(0,))
    if full:
        rank = reduce_sum(convert(kept, dtype=dtypes.INT32), axes=(0,))
        return coefficients, residuals, rank, s, rcond
    covariance = div(inverse_gram, outer(lengths, lengths))
    return coefficients, _scaled_covariance(covariance, residuals, x.size, y, cov)


def _fit_system(x: Value, y: Value, order: int, w: Any) -> tuple[Value, Value]:
    """The matrix and the right-hand sides of a fit with `order` coefficients."""
    if len(x.shape) != 1 or not x.size or y.shape[:1] != x.shape or len(y.shape) > 2:
        raise errors.ShapeError(f"polyfit of points with shapes {x.shape} and {y.shape}.")
    lhs, rhs = vander(x, order), y if len(y.shape) == 2 else reshape(y, shape=(y.size, 1))
    if w is None:
        return lhs, rhs
    weights = to_dtype(asarray(w), x.dtype)
    if weights.shape != x.shape:
        raise errors.ShapeError(f"weights must have shape {x.shape}, got {weights.shape}.")
    column = reshape(weights, shape=(x.size, 1))
    return mul(lhs, column), mul(rhs, column)


def _for_points(results: Value, y: Value) -> Value:
    """Results whose last dimension runs over the columns of `y`, without it if there is one."""
    return results if len(y.shape) == 2 else reshape(results, shape=results.shape[:-1])


def _scaled_covariance(
    covariance: Value, residuals: Value, count: int, y: Value, cov: bool | str
) -> Value:
    """The covariance of the coefficients for each column of `y`."""
    order = covariance.shape[0]
    covariance = reshape(covariance, shape=(order, order, 1))
    if cov == "unscaled":
        return _for_points(covariance, y)
    if count <= order:
        raise ValueError("the covariance needs more points than coefficients.")
    return _for_points(mul(covariance, div(residuals, count - order)), y)


def _least_squares(lhs: Value, rhs: Value, rcond: float) -> tuple[Value, Value, Value, Value]:
    """Least-squares solution, singular values, which of them count, inverse Gram matrix."""
    u, s, vh = svd(lhs)
    kept = gt(s, mul(part(s, 0, 0, 1), rcond))
    inverse = select(kept, reciprocal(select(kept, s, 1)), 0)
    scaled = mul(adjoint(vh), inverse)
    solution = matmul(scaled, matmul(adjoint(u), rhs))
    return solution, s, kept, matmul(scaled, adjoint(scaled))
