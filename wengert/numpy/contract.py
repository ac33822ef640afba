"""Products of vectors, matrices and tensors: `dot`, `matmul`, `tensordot`, `kron`, `cross` ...

All promote their operands and become one `dot_general` each, with permutations and reshapes
around it where NumPy's order of dimensions asks for them; `einsum` has a file of its own.
Products are always taken in full precision: the argument `precision`, which JAX has for
hardware with reduced precision, is accepted and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayLike, Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy import reductions
from wengert.numpy.arrays import check_out
from wengert.numpy.axes import axes_of, axis_of
from wengert.numpy.diagonals import diagonal
from wengert.numpy.promotion import Value, promote
from wengert.primitives.basis import (
    broadcast_to,
    move_axis,
    mul,
    reshape,
    transpose,
)
from wengert.primitives.cast import conj
from wengert.primitives.contract import DimensionNumbers, dot_general
from wengert.primitives.elementwise import sub
from wengert.primitives.shape import concatenate, slice_

_VECTORS: DimensionNumbers = ((0,), (0,)), ((), ())


def operands(a: Any, b: Any) -> tuple[Value, Value]:
    """Two operands as arrays of their common dtype."""
    a = a if isinstance(a, ArrayLike) else as_array(a)
    b = b if isinstance(b, ArrayLike) else as_array(b)
    if a.dtype != b.dtype:
        a, b = promote(a, b)
    return a, b


def _contract(a: Value, b: Value, numbers: DimensionNumbers, preferred: DTypeLike) -> Value:
    if preferred is None:
        return dot_general(a, b, dimension_numbers=numbers)
    dtype = dtypes.as_dtype(preferred)
    return dot_general(a, b, dimension_numbers=numbers, preferred_element_type=dtype)


@lru_cache(maxsize=256)
def _dot_numbers(lhs: int, rhs: int) -> DimensionNumbers:
    """The last dimension of the left operand with the last but one of the right."""
    return ((lhs - 1,), (max(rhs - 2, 0),)), ((), ())


def _scaled(a: Value, b: Value, preferred: DTypeLike) -> Value:
    """The product with a scalar."""
    return _contract(a, b, (((), ()), ((), ())), preferred)


def dot(
    a: Any, b: Any, *, precision: Any = None, preferred_element_type: DTypeLike = None
) -> Value:
    """The dot product: inner product of vectors, product of matrices, scaling by a scalar.

    Args:
      a: a scalar or an array; its last dimension is contracted.
      b: a scalar or an array; its last dimension but one is contracted (its only one if
        it is a vector).
      precision: changes nothing, see the module.
      preferred_element_type: dtype in which to accumulate and return the result.

    Raises:
      ShapeError: when the contracted dimensions have different sizes.

    >>> import wengert.numpy as wnp
    >>> wnp.dot(wnp.array([1.0, 2.0]), wnp.array([3.0, 4.0]))
    Array(11., dtype=float32)
    """
    a, b = operands(a, b)
    ranks = len(a.shape), len(b.shape)
    if 0 in ranks:
        return _scaled(a, b, preferred_element_type)
    numbers = _dot_numbers(*ranks)
    if preferred_element_type is None:  # the short way: this is the most used function of all
        return dot_general(a, b, dimension_numbers=numbers)
    return _contract(a, b, numbers, preferred_element_type)


def vdot(
    a: Any, b: Any, *, precision: Any = None, preferred_element_type: DTypeLike = None
) -> Value:
    """The inner product of two arrays read as vectors, the first one conjugated.

    >>> import wengert.numpy as wnp
    >>> wnp.vdot(wnp.array([1.0 + 1.0j]), wnp.array([1.0j]))
    Array(1.+1.j, dtype=complex64)
    """
    a, b = operands(a, b)
    if dtypes.is_complex(a.dtype):
        a = conj(a)
    a, b = reshape(a, shape=(math.prod(a.shape),)), reshape(b, shape=(math.prod(b.shape),))
    return _contract(a, b, _VECTORS, preferred_element_type)


def inner(
    a: Any, b: Any, *, precision: Any = None, preferred_element_type: DTypeLike = None
) -> Value:
    """The contraction of the last dimensions of two arrays; scaling by a scalar.

    >>> import wengert.numpy as wnp
    >>> wnp.inner(wnp.array([[1.0, 2.0], [0.0, 1.0]]), wnp.array([3.0, 4.0]))
    Array([11.,  4.], dtype=float32)
    """
    a, b = operands(a, b)
    if not a.shape or not b.shape:
        return _scaled(a, b, preferred_element_type)
    numbers = ((len(a.shape) - 1,), (len(b.shape) - 1,)), ((), ())
    return _contract(a, b, numbers, preferred_element_type)


def outer(a: Any, b: Any, out: None = None) -> Value:
    """All products of an element of `a` and an element of `b`, both read as vectors.

    >>> import wengert.numpy as wnp
    >>> wnp.outer(wnp.array([1.0, 2.0]), wnp.array([3.0, 4.0]))
    Array([[3., 4.],
           [6., 8.]], dtype=float32)
    """
    check_out("outer", out)
    a, b = operands(a, b)
    a, b = reshape(a, shape=(math.prod(a.shape),)), reshape(b, shape=(math.prod(b.shape),))
    return _scaled(a, b, None)


# -- matrix products of stacks --------------------------------------------------------------


class _Stacks(NamedTuple):
    """How two stacks of matrices are multiplied.

    Attributes:
      lhs, rhs: shapes without the dimensions of size 1 that are broadcast.
      numbers: dimension numbers of the contraction.
      permutation: of its result; None when it is in place.
      shape: of the result.
    """

    lhs: Shape
    rhs: Shape
    numbers: DimensionNumbers
    permutation: Shape | None
    shape: Shape


@lru_cache(maxsize=1024)
def _stacks(lhs: Shape, rhs: Shape) -> _Stacks:
    """A dimension that only one stack has is a free dimension of the contraction."""
    batch = _broadcast(lhs[:-2], rhs[:-2], lhs, rhs)
    offsets = len(batch) - len(lhs) + 2, len(batch) - len(rhs) + 2
    kept: tuple[list[int], list[int]] = ([], [])
    for i, n in enumerate(batch):
        sizes = [s[i - o] if i >= o else 1 for s, o in zip((lhs, rhs), offsets, strict=True)]
        for own, size in zip(kept, sizes, strict=True):
            if size == n and (size != 1 or own is kept[0]):
                own.append(i)
    shared = [i for i in kept[0] if i in kept[1]]
    left, right = len(kept[0]), len(kept[1])
    numbers = (
        ((left + 1,), (right,)),
        (tuple(map(kept[0].index, shared)), tuple(map(kept[1].index, shared))),
    )
    m, n = len(batch), len(batch) + 1  # rows and columns of the result
    free = [[i for i in k if i not in shared] for k in kept]
    layout = [*shared, *free[0], m, *free[1], n]
    permutation = tuple(layout.index(i) for i in range(len(batch) + 2))
    return _Stacks(
        (*(batch[i] for i in kept[0]), *lhs[-2:]),
        (*(batch[i] for i in kept[1]), *rhs[-2:]),
        numbers,
        None if permutation == tuple(range(len(layout))) else permutation,
        (*batch, lhs[-2], rhs[-1]),
    )


def _broadcast(lhs_batch: Shape, rhs_batch: Shape, lhs: Shape, rhs: Shape) -> Shape:
    try:
        return np.broadcast_shapes(lhs_batch, rhs_batch)
    except ValueError:
        raise errors.ShapeError(
            f"matmul got stacks of matrices of shapes {lhs} and {rhs}: their leading "
            f"dimensions {lhs_batch} and {rhs_batch} do not broadcast."
        ) from None


def matmul(
    a: Any, b: Any, *, precision: Any = None, preferred_element_type: DTypeLike = None
) -> Value:
    """The matrix product `a @ b`; leading dimensions are stacks, which broadcast.

    Args:
      a: a vector, a matrix, or a stack of matrices.
      b: likewise.
      precision: changes nothing, see the module.
      preferred_element_type: dtype in which to accumulate and return the result.

    Raises:
      ShapeError: when the shapes do not fit, or an operand is a scalar.

    >>> import wengert.numpy as wnp
    >>> wnp.matmul(wnp.ones((5, 2, 3)), wnp.ones((3, 4))).shape
    (5, 2, 4)
    """
    a, b = operands(a, b)
    lhs, rhs = len(a.shape), len(b.shape)
    if not lhs or not rhs:
        raise errors.ShapeError(
            f"matmul needs operands with at least one dimension, got shapes {a.shape} and "
            f"{b.shape}. Multiply by a scalar with *."
        )
    if rhs <= 2:
        return _contract(a, b, _dot_numbers(lhs, rhs), preferred_element_type)
    if lhs == 1:  # a free dimension of b stands behind its stack already
        return _contract(a, b, (((0,), (rhs - 2,)), ((), ())), preferred_element_type)
    plan = _stacks(a.shape, b.shape)
    if plan.lhs != a.shape:
        a = reshape(a, shape=plan.lhs)
    if plan.rhs != b.shape:
        b = reshape(b, shape=plan.rhs)
    out = _contract(a, b, plan.numbers, preferred_element_type)
    if plan.permutation is not None:
        out = transpose(out, permutation=plan.permutation)
    return out if out.shape == plan.shape else reshape(out, shape=plan.shape)


def vecdot(
    x1: Any,
    x2: Any,
    /,
    *,
    axis: int = -1,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """Inner products of the vectors along one axis of two arrays, the first ones conjugated.

    >>> import wengert.numpy as wnp
    >>> wnp.vecdot(wnp.array([[1.0, 2.0], [3.0, 4.0]]), wnp.array([1.0, 1.0]))
    Array([3., 7.], dtype=float32)
    """
    a, b = operands(x1, x2)
    a = move_axis(a, axis_of(axis, len(a.shape)), len(a.shape) - 1)
    b = move_axis(b, axis_of(axis, len(b.shape)), len(b.shape) - 1)
    if dtypes.is_complex(a.dtype):
        a = conj(a)
    out = matmul(
        reshape(a, shape=(*a.shape[:-1], 1, a.shape[-1])),
        reshape(b, shape=(*b.shape, 1)),
        preferred_element_type=preferred_element_type,
    )
    return reshape(out, shape=out.shape[:-2])


def _check_matrix(name: str, x: Value) -> None:
    if len(x.shape) < 2:
        raise errors.ShapeError(
            f"{name} needs a matrix or a stack of matrices, got an array of shape {x.shape}."
        )


def matvec(x1: Any, x2: Any, /) -> Value:
    """Products of matrices and vectors; leading dimensions broadcast.

    >>> import wengert.numpy as wnp
    >>> wnp.matvec(wnp.ones((2, 3)), wnp.ones((5, 3))).shape
    (5, 2)
    """
    a, b = operands(x1, x2)
    _check_matrix("matvec", a)
    if len(b.shape) == 1:
        return matmul(a, b)
    out = matmul(a, reshape(b, shape=(*b.shape, 1)))
    return reshape(out, shape=out.shape[:-1])


def vecmat(x1: Any, x2: Any, /) -> Value:
    """Products of conjugated vectors and matrices; leading dimensions broadcast.

    >>> import wengert.numpy as wnp
    >>> wnp.vecmat(wnp.ones((5, 3)), wnp.ones((3, 2))).shape
    (5, 2)
    """
    a, b = operands(x1, x2)
    _check_matrix("vecmat", b)
    if dtypes.is_complex(a.dtype):
        a = conj(a)
    if len(a.shape) == 1:
        return matmul(a, b)
    out = matmul(reshape(a, shape=(*a.shape[:-1], 1, a.shape[-1])), b)
    return reshape(out, shape=(*out.shape[:-2], out.shape[-1]))


# -- tensors ----------------------------------------------------------------------------------


def _tensor_axes(lhs: int, rhs: int, axes: Any) -> tuple[Shape, Shape]:
    """The contracted dimensions that the argument `axes` of `tensordot` means."""
    if isinstance(axes, int | np.integer):
        if not 0 <= axes <= min(lhs, rhs):
            raise errors.ShapeError(
                f"tensordot with axes={axes} needs operands with that many dimensions; they "
                f"have {lhs} and {rhs}."
            )
        return tuple(range(lhs - int(axes), lhs)), tuple(range(int(axes)))
    if not isinstance(axes, Sequence) or len(axes) != 2:
        raise TypeError(
            f"axes of tensordot must be an int or a pair (axes of a, axes of b), got {axes!r}."
        )
    left, right = axes_of(axes[0], lhs), axes_of(axes[1], rhs)
    if len(left) != len(right):
        raise errors.ShapeError(
            f"tensordot contracts dimensions in pairs, but axes={axes!r} names {len(left)} of "
            f"a and {len(right)} of b."
        )
    return left, right


def tensordot(
    a: Any,
    b: Any,
    axes: int | Sequence[Any] = 2,
    *,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """The contraction of several pairs of dimensions.

    Args:
      a: an array.
      b: an array.
      axes: how many of the last dimensions of `a` are contracted with the first ones of `b`; or
        a pair of axes or of sequences of axes, those of `a` and those of `b`.
      precision: changes nothing, see the module.
      preferred_element_type: dtype in which to accumulate and return the result.

    >>> import wengert.numpy as wnp
    >>> wnp.tensordot(wnp.ones((2, 3, 4)), wnp.ones((4, 3, 5)), ((1, 2), (1, 0))).shape
    (2, 5)
    """
    a, b = operands(a, b)
    numbers = _tensor_axes(len(a.shape), len(b.shape), axes), ((), ())
    return _contract(a, b, numbers, preferred_element_type)


def kron(a: Any, b: Any) -> Value:
    """The Kronecker product: `a` with each element replaced by that element times `b`.

    >>> import wengert.numpy as wnp
    >>> wnp.kron(wnp.array([1.0, 2.0]), wnp.array([1.0, 10.0]))
    Array([ 1., 10.,  2., 20.], dtype=float32)
    """
    a, b = operands(a, b)
    rank = max(len(a.shape), len(b.shape))
    lhs = (*(1,) * (rank - len(a.shape)), *a.shape)
    rhs = (*(1,) * (rank - len(b.shape)), *b.shape)
    a = reshape(a, shape=tuple(n for size in lhs for n in (size, 1)))
    b = reshape(b, shape=tuple(n for size in rhs for n in (1, size)))
    return reshape(mul(a, b), shape=tuple(m * n for m, n in zip(lhs, rhs, strict=True)))


def _cyclic(x: Value, shift: int) -> Value:
    """The components of 3-vectors (the last dimension) shifted to the left."""
    lead, starts = x.shape[:-1], (0,) * (len(x.shape) - 1)
    head = slice_(x, start_indices=(*starts, 0), limit_indices=(*lead, shift))
    tail = slice_(x, start_indices=(*starts, shift), limit_indices=(*lead, 3))
    return concatenate(tail, head, dimension=len(lead))


def _component(x: Value, i: int) -> Value:
    """One component of vectors (the last dimension)."""
    lead = x.shape[:-1]
    starts = (*(0,) * len(lead), i)
    return reshape(slice_(x, start_indices=starts, limit_indices=(*lead, i + 1)), shape=lead)


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Value:
    """The cross product of vectors with 3 components (or with 2, which lie in a plane).

    Args:
      a: vectors along the axis `axisa`.
      b: vectors along the axis `axisb`.
      axisa: which axis of `a` holds the components.
      axisb: likewise for `b`.
      axisc: where the components of the result go. Two vectors with 2 components give the third
        component alone, without an axis for it.
      axis: all three of these at once.

    Raises:
      ShapeError: when the vectors have neither 2 nor 3 components.

    >>> import wengert.numpy as wnp
    >>> wnp.cross(wnp.array([1.0, 0.0, 0.0]), wnp.array([0.0, 1.0, 0.0]))
    Array([0., 0., 1.], dtype=float32)
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = operands(a, b)
    a = move_axis(a, axis_of(axisa, len(a.shape)), len(a.shape) - 1)
    b = move_axis(b, axis_of(axisb, len(b.shape)), len(b.shape) - 1)
    sizes = a.shape[-1], b.shape[-1]
    if not set(sizes) <= {2, 3}:
        raise errors.ShapeError(
            f"cross needs vectors with 2 or 3 components, got {sizes[0]} and {sizes[1]}."
        )
    lead = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    a, b = broadcast_to(a, (*lead, sizes[0])), broadcast_to(b, (*lead, sizes[1]))
    if sizes == (2, 2):
        return sub(
            mul(_component(a, 0), _component(b, 1)), mul(_component(a, 1), _component(b, 0))
        )
    a, b = (_in_space(x) for x in (a, b))
    out = sub(mul(_cyclic(a, 1), _cyclic(b, 2)), mul(_cyclic(a, 2), _cyclic(b, 1)))
    return move_axis(out, len(lead), axis_of(axisc, len(lead) + 1))


def _in_space(x: Value) -> Value:
    """Vectors with 2 components as vectors with 3, the last one zero."""
    if x.shape[-1] == 3:
        return x
    third = slice_(x, start_indices=(0,) * len(x.shape), limit_indices=(*x.shape[:-1], 1))
    return concatenate(x, sub(third, third), dimension=len(x.shape) - 1)


def trace(
    a: Any,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: DTypeLike = None,
    out: None = None,
) -> Value:
    """The sum along a diagonal.

    Args:
      a: an array with at least two dimensions.
      offset: which diagonal: above the main one if positive.
      axis1: the rows.
      axis2: the columns.
      dtype: of the sum; by default that of `a`, narrow integers and booleans in 32 bits.
      out: not supported.

    >>> import wengert.numpy as wnp
    >>> wnp.trace(wnp.array([[1.0, 2.0], [3.0, 4.0]]))
    Array(5., dtype=float32)
    """
    check_out("trace", out)
    return reductions.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)
