"""What the primitives on matrices share: stacks, adjoints, triangles, float32 for half floats.

The last two dimensions are matrices, all dimensions before them a stack that is treated alike;
that is how NumPy has it, and so batching needs no rule per primitive. The functions here work
on arrays and tracers, and those that derivative rules apply to tangents are linear.

No primitive is defined here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape
from wengert.core.dtypes import DType
from wengert.core.primitive import Primitive, Value
from wengert.primitives.basis import (
    add,
    batched_first,
    broadcast_shape,
    broadcast_to,
    mul,
    reduce_sum,
    reshape,
)
from wengert.primitives.cast import conj, real
from wengert.primitives.contract import matrix_transpose


class Stacked(Primitive):
    """Primitives on matrices, whose operands all have the same stack of leading dimensions."""

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        operands = [batched_first(x, d, size) for x, d in zip(args, dims, strict=True)]
        out = self(*operands, **params)
        return out, [0] * len(out) if self.multiple_results else 0


def matrix_sizes(name: str, x: Any, square: bool = False) -> tuple[Shape, int, int]:
    """Stack, rows and columns of an operand's type.

    Raises:
      ShapeError, DTypeError: when it is no matrix, or not square, or not of floating dtype.
    """
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "a square matrix" if square else "a matrix"
        raise errors.ShapeError(f"{name} needs {kind} or a stack of such, got shape {x.shape}.")
    if not dtypes.is_inexact(x.dtype):
        raise errors.DTypeError(
            f"{name} needs a floating or complex dtype, got {x}. Convert with x.astype(dtype)."
        )
    return x.shape[:-2], x.shape[-2], x.shape[-1]


def through_single(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of matrices, which LAPACK has no 16-bit floats for, computed in float32."""

    @wraps(function)
    def compute(*operands: Any, **params: Any) -> Any:
        dtype = operands[0].dtype
        if dtype.itemsize != 2:
            return function(*operands, **params)
        wide = [x.astype(np.float32) if x.dtype == dtype else x for x in operands]
        out = function(*wide, **params)
        if isinstance(out, list):
            return [o.astype(dtype) if dtypes.is_floating(o.dtype) else o for o in out]
        return out.astype(dtype)

    return compute


def refused(hint: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: LAPACK's refusal of a matrix is an error that says what to do."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def compute(*operands: Any, **params: Any) -> Any:
            try:
                return function(*operands, **params)
            except np.linalg.LinAlgError as error:
                raise np.linalg.LinAlgError(f"{error}. {hint}") from None

        return compute

    return decorate


def each_matrix(function: Callable[..., Any], *operands: Any) -> Any:
    """`function` of single matrices, applied along a stack by a loop."""
    lead = operands[0].shape[:-2]
    if not lead:
        return function(*operands)
    count = math.prod(lead)
    rows = [x.reshape((count, *x.shape[len(lead) :])) for x in operands]
    results = [function(*parts) for parts in zip(*rows, strict=True)]
    if not results:  # an empty stack: the shapes come from matrices of zeros
        parts = function(*(np.ones(x.shape[1:], x.dtype) for x in rows))
        many = parts if isinstance(parts, list) else [parts]
        empty = [np.zeros((*lead, *p.shape), p.dtype) for p in many]
        return empty if isinstance(parts, list) else empty[0]
    if isinstance(results[0], list):
        return [np.stack(r).reshape((*lead, *r[0].shape)) for r in zip(*results, strict=True)]
    return np.stack(results).reshape((*lead, *results[0].shape))


# -- on arrays and tracers ------------------------------------------------------------------


def adjoint(x: Value) -> Value:
    """The conjugate transpose."""
    return matrix_transpose(conj(x) if dtypes.is_complex(x.dtype) else x)


def real_part(x: Value) -> Value:
    """The real part; of real numbers the numbers themselves."""
    return real(x) if dtypes.is_complex(x.dtype) else x


@lru_cache(maxsize=256)
def identity(n: int, dtype: DType) -> Array:
    """The identity matrix."""
    return Array(np.eye(n, dtype=dtype))


@lru_cache(maxsize=256)
def lower_mask(rows: int, columns: int, diagonal: float, dtype: DType) -> Array:
    """Ones strictly below the diagonal, `diagonal` on it, zeros above."""
    return Array((np.tri(rows, columns, -1) + diagonal * np.eye(rows, columns)).astype(dtype))


def lower_part(x: Value, diagonal: float = 1.0) -> Value:
    """The lower triangle, the diagonal multiplied with a factor."""
    return mul(x, lower_mask(x.shape[-2], x.shape[-1], diagonal, x.dtype))


def upper_part(x: Value, diagonal: float = 1.0) -> Value:
    """The upper triangle, the diagonal multiplied with a factor."""
    mask = lower_mask(x.shape[-1], x.shape[-2], diagonal, x.dtype)
    return mul(x, matrix_transpose(mask))


def hermitian(x: Value, lower: bool) -> Value:
    """The Hermitian matrix of which one triangle is given; the other is not looked at."""
    half = lower_part(x, 0.5) if lower else upper_part(x, 0.5)
    return add(half, adjoint(half))


def hermitian_part(x: Value) -> Value:
    """The mean of a matrix and its adjoint."""
    return mul(add(x, adjoint(x)), 0.5)


def same_stack(name: str, a: Value, b: Value) -> tuple[Value, Value]:
    """Two stacks of matrices, broadcast to one shape of stack.

    Raises:
      ShapeError: when they do not broadcast.
    """
    if a.shape[:-2] == b.shape[:-2]:
        return a, b
    lead = broadcast_shape([a.shape[:-2], b.shape[:-2]], f"{name} (stacks of matrices)")
    return broadcast_to(a, (*lead, *a.shape[-2:])), broadcast_to(b, (*lead, *b.shape[-2:]))


def diagonal(x: Value) -> Value:
    """The diagonals of square matrices."""
    masked = mul(x, identity(x.shape[-1], x.dtype))
    return reduce_sum(masked, axes=(len(x.shape) - 1,))


def as_row(x: Value) -> Value:
    """Vectors as matrices of one row: a factor for each column."""
    return reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def as_column(x: Value) -> Value:
    """Vectors as matrices of one column: a factor for each row."""
    return reshape(x, shape=(*x.shape, 1))


def as_scalar(x: Value) -> Value:
    """One number for each matrix of a stack, as a factor for the whole matrix."""
    return reshape(x, shape=(*x.shape, 1, 1))
