"""Contraction: the product of two arrays summed over pairs of dimensions.

One primitive, `dot_general`, is behind `dot`, `matmul`, `tensordot`, `einsum` and all the rest:
some pairs of dimensions are contracted, some run along together (batch dimensions), the others
are free. The result has the batch dimensions first, then the free ones of the left operand,
then those of the right.

How a contraction becomes BLAS calls depends on the ranks and dimension numbers alone; the plan
is made once for each and kept. Operands have one dtype; 16-bit floats accumulate in float32.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Sample, Value
from wengert.primitives.basis import Linear, transpose
from wengert.primitives.cast import convert

Axes = tuple[int, ...]
#: `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`
DimensionNumbers = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]

_NARROW = frozenset({np.dtype(np.float16).char, dtypes.bfloat16.char})
_PLANS = 4096


def free_axes(rank: int, *taken: Axes) -> Axes:
    """The dimensions of an operand that are in none of the given tuples, in order."""
    used = set().union(*taken)
    return tuple(i for i in range(rank) if i not in used)


def _mismatch(lhs: Shape, rhs: Shape, numbers: DimensionNumbers) -> errors.ShapeError:
    (lc, rc), (lb, rb) = numbers
    for what, left, right in (("contracts", lc, rc), ("runs along", lb, rb)):
        for i, j in zip(left, right, strict=True):
            if lhs[i] != rhs[j]:
                return errors.ShapeError(
                    f"dot_general {what} dimension {i} of the left operand, shape {lhs}, with "
                    f"dimension {j} of the right one, shape {rhs}: their sizes {lhs[i]} and "
                    f"{rhs[j]} must be equal."
                )
    return errors.ShapeError(f"dot_general cannot contract shapes {lhs} and {rhs}.")


def _check_numbers(lhs: int, rhs: int, numbers: DimensionNumbers) -> None:
    """Dimension numbers in range, without repetition, and in pairs."""
    (lc, rc), (lb, rb) = numbers
    paired = len(lc) == len(rc) and len(lb) == len(rb)
    for rank, axes in ((lhs, (*lc, *lb)), (rhs, (*rc, *rb))):
        if not paired or len(set(axes)) != len(axes) or not all(0 <= i < rank for i in axes):
            raise errors.ShapeError(
                f"dimension_numbers={numbers} do not fit operands with {lhs} and {rhs} "
                "dimensions: they are ((lhs_contracting, rhs_contracting), (lhs_batch, "
                "rhs_batch)), each dimension named at most once, both sides equally many."
            )


# -- eager plans --------------------------------------------------------------------------


@lru_cache(maxsize=_PLANS)
def _plan(numbers: DimensionNumbers, lhs: int, rhs: int) -> Callable[[Any, Any], Any]:
    """The function that computes a contraction of NumPy operands of these ranks."""
    _check_numbers(lhs, rhs, numbers)
    (lc, rc), (lb, _) = numbers
    if not lc and not lb and not (lhs and rhs):
        return operator.mul
    if not lc:
        return _outer_plan(numbers, lhs, rhs)
    if lb or len(lc) > 1 or lhs > 2 or rhs > 2:
        return _matmul_plan(numbers, lhs, rhs)
    flip_lhs, flip_rhs = lhs == 2 and lc == (0,), rhs == 2 and rc == (1,)
    if flip_lhs:
        return _flipped_both if flip_rhs else _flipped_lhs
    return _flipped_rhs if flip_rhs else _plain


def for_blas(x: Any) -> Any:
    """Matrices in a layout that BLAS reads; `np.matmul` is slow on others, say broadcast ones.

    Transposed matrices are read without a copy.
    """
    rows, columns = x.strides[-2:]
    size = x.itemsize
    if columns == size and rows >= size * x.shape[-1]:
        return x
    if rows == size and columns >= size * x.shape[-2]:
        return x
    return np.ascontiguousarray(x)


# np.dot looks after the layout itself.
def _plain(x: Any, y: Any) -> Any:
    return x.dot(y)


def _flipped_lhs(x: Any, y: Any) -> Any:
    return x.T.dot(y)


def _flipped_rhs(x: Any, y: Any) -> Any:
    return x.dot(y.T)


def _flipped_both(x: Any, y: Any) -> Any:
    return x.T.dot(y.T)


def _outer_plan(numbers: DimensionNumbers, lhs: int, rhs: int) -> Callable[[Any, Any], Any]:
    """Nothing is contracted: an elementwise product, broadcast."""
    _, (lb, rb) = numbers
    lhs_order, rhs_order = (*lb, *free_axes(lhs, lb)), (*rb, *free_axes(rhs, rb))
    batch, lhs_free, rhs_free = len(lb), lhs - len(lb), rhs - len(lb)

    def outer(x: Any, y: Any) -> Any:
        x, y = x.transpose(lhs_order), y.transpose(rhs_order)
        if x.shape[:batch] != y.shape[:batch]:
            shared = tuple(range(batch))
            raise _mismatch(x.shape, y.shape, (((), ()), (shared, shared)))
        x = x.reshape((*x.shape, *(1,) * rhs_free))
        y = y.reshape((*y.shape[:batch], *(1,) * lhs_free, *y.shape[batch:]))
        return x * y

    return outer


def _matmul_plan(numbers: DimensionNumbers, lhs: int, rhs: int) -> Callable[[Any, Any], Any]:
    """The general case: permute and merge dimensions until it is a product of matrices."""
    (lc, rc), (lb, rb) = numbers
    lhs_order = (*lb, *free_axes(lhs, lb, lc), *lc)
    rhs_order = (*rb, *rc, *free_axes(rhs, rb, rc))
    batch, contracted = len(lb), len(lc)
    lhs_split, rhs_split = lhs - contracted, batch + contracted

    def contract(x: Any, y: Any) -> Any:
        x, y = x.transpose(lhs_order), y.transpose(rhs_order)
        rows, columns = x.shape[batch:lhs_split], y.shape[rhs_split:]
        lead, inner = x.shape[:batch], x.shape[lhs_split:]
        if inner != y.shape[batch:rhs_split] or lead != y.shape[:batch]:
            order = tuple(range(batch)), tuple(range(lhs_split, lhs))
            pairs = (order[1], tuple(range(batch, rhs_split))), (order[0], order[0])
            raise _mismatch(x.shape, y.shape, pairs)
        k = math.prod(inner)
        x = x.reshape((*lead, math.prod(rows), k))
        y = y.reshape((*lead, k, math.prod(columns)))
        out = np.matmul(for_blas(x), for_blas(y)) if batch else np.dot(x, y)
        out = out.reshape((*lead, *rows, *columns))
        return out if out.ndim else out[()]

    return contract


# -- derivative and batching, as dimension numbers --------------------------------------------


class _Pullback(NamedTuple):
    """How a cotangent is contracted with the other operand.

    Attributes:
      cotangent_first: the order of the two operands.
      numbers: dimension numbers of the contraction.
      permutation: of its result, to the dimensions of the operand; None when in place.
    """

    cotangent_first: bool
    numbers: DimensionNumbers
    permutation: Axes | None


@lru_cache(maxsize=_PLANS)
def _pullback(numbers: DimensionNumbers, lhs: int, rhs: int, position: int) -> _Pullback:
    """Of the two orders of the operands, one that needs no permutation if there is one."""
    options = [_ordered_pullback(numbers, lhs, rhs, position, first) for first in (True, False)]
    return next((o for o in options if o.permutation is None), options[0])


def _ordered_pullback(
    numbers: DimensionNumbers, lhs: int, rhs: int, position: int, first: bool
) -> _Pullback:
    (lc, rc), (lb, rb) = numbers
    if position == 0:
        rank, own_c, own_b, other, other_c, other_b = lhs, lc, lb, rhs, rc, rb
    else:
        rank, own_c, own_b, other, other_c, other_b = rhs, rc, rb, lhs, lc, lb
    batch = tuple(range(len(lb)))
    own_free, other_free = free_axes(rank, own_c, own_b), free_axes(other, other_c, other_b)
    lhs_free = len(own_free) if position == 0 else len(other_free)
    start = len(lb) + (lhs_free if position == 0 else 0)
    summed = tuple(range(start, start + len(other_free)))
    # what remains of the other operand: its contracted dimensions, in increasing order
    paired = [own for _, own in sorted(zip(other_c, own_c, strict=True))]
    if first:
        result = ((summed, other_free), (batch, other_b))
        layout = [*own_b, *own_free, *paired]
    else:
        result = ((other_free, summed), (other_b, batch))
        layout = [*own_b, *paired, *own_free]
    permutation = tuple(layout.index(i) for i in range(rank))
    in_place = permutation == tuple(range(rank))
    return _Pullback(first, result, None if in_place else permutation)


@lru_cache(maxsize=_PLANS)
def _batched(
    numbers: DimensionNumbers, lhs: int, rhs: int, lhs_dim: int | None, rhs_dim: int | None
) -> tuple[DimensionNumbers, int]:
    """Dimension numbers with a batch dimension at these places, and its place in the result.

    `lhs` and `rhs` are the ranks with the batch dimension counted in.
    """

    def shifted(axes: Axes, dim: int | None) -> Axes:
        return axes if dim is None else tuple(i + (i >= dim) for i in axes)

    (lc, rc), (lb, rb) = numbers
    lc, lb, rc, rb = (
        shifted(a, d) for a, d in ((lc, lhs_dim), (lb, lhs_dim), (rc, rhs_dim), (rb, rhs_dim))
    )
    if lhs_dim is not None and rhs_dim is not None:
        return ((lc, rc), ((lhs_dim, *lb), (rhs_dim, *rb))), 0
    lhs_free, rhs_free = free_axes(lhs, lc, lb), free_axes(rhs, rc, rb)
    if lhs_dim is not None:
        place = len(lb) + lhs_free.index(lhs_dim)
    else:
        place = len(lb) + len(lhs_free) + rhs_free.index(rhs_dim or 0)
    return ((lc, rc), (lb, rb)), place


class DotGeneral(Linear):
    """Product of two arrays, summed over pairs of contracted dimensions."""

    linear = (0, 1)
    multilinear = True

    @staticmethod
    def compute(
        lhs: Any,
        rhs: Any,
        dimension_numbers: DimensionNumbers,
        preferred_element_type: Any = None,
    ) -> Any:
        product = _plan(dimension_numbers, lhs.ndim, rhs.ndim)
        dtype = lhs.dtype
        if preferred_element_type is None:
            if dtype.char not in _NARROW:
                return product(lhs, rhs)
            work, preferred_element_type = np.dtype(np.float32), dtype
        else:
            work = np.promote_types(dtype, preferred_element_type)
            if work.char in _NARROW:
                work = np.dtype(np.float32)
        out = product(lhs.astype(work), rhs.astype(work))
        return out.astype(preferred_element_type)

    def type_rule(
        self,
        lhs: Any,
        rhs: Any,
        dimension_numbers: DimensionNumbers,
        preferred_element_type: Any = None,
    ) -> Any:
        (lc, rc), (lb, rb) = dimension_numbers
        _check_numbers(lhs.ndim, rhs.ndim, dimension_numbers)
        if lhs.dtype != rhs.dtype:
            raise errors.DTypeError(
                f"dot_general needs operands of one dtype, got {lhs.dtype} and {rhs.dtype}. "
                "The functions of wengert.numpy promote; primitives do not: convert with "
                "x.astype(dtype)."
            )
        pairs = zip((*lc, *lb), (*rc, *rb), strict=True)
        if any(lhs.shape[i] != rhs.shape[j] for i, j in pairs):
            raise _mismatch(lhs.shape, rhs.shape, dimension_numbers)
        left = (*lb, *free_axes(lhs.ndim, lb, lc))
        shape = (
            *(lhs.shape[i] for i in left),
            *(rhs.shape[i] for i in free_axes(rhs.ndim, rb, rc)),
        )
        dtype = lhs.dtype if preferred_element_type is None else preferred_element_type
        return ArrayType(shape, dtype, lhs.weak_type and rhs.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        lhs, rhs = operands
        other = operands[1 - position]
        plan = _pullback(params["dimension_numbers"], len(lhs.shape), len(rhs.shape), position)
        narrow = operands[position].dtype
        if cotangent.dtype != narrow:  # a preferred element type: contract in the wider dtype
            work = np.promote_types(cotangent.dtype, narrow)
            cotangent, other = convert(cotangent, dtype=work), convert(other, dtype=work)
        pair = (cotangent, other) if plan.cotangent_first else (other, cotangent)
        out = dot_general(*pair, dimension_numbers=plan.numbers)
        if plan.permutation is not None:
            out = transpose(out, permutation=plan.permutation)
        return out if out.dtype == narrow else convert(out, dtype=narrow)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        lhs, rhs = args
        numbers, place = _batched(
            params["dimension_numbers"], len(lhs.shape), len(rhs.shape), *dims
        )
        return dot_general(lhs, rhs, **{**params, "dimension_numbers": numbers}), place

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        numbers: list[tuple[Shape, Shape, DimensionNumbers]] = [
            ((), (), (((), ()), ((), ()))),
            ((3,), (3,), (((0,), (0,)), ((), ()))),
            ((2, 3), (3,), (((1,), (0,)), ((), ()))),
            ((2, 3), (3, 4), (((1,), (0,)), ((), ()))),
            ((3, 2), (4, 3), (((0,), (1,)), ((), ()))),
            ((2,), (3, 1), (((), ()), ((), ()))),
            ((2, 3, 4), (4, 2, 5), (((2,), (0,)), ((0,), (1,)))),
            ((2, 3), (2, 4), (((), ()), ((0,), (0,)))),
            ((2, 3, 4), (4, 3), (((1, 2), (1, 0)), ((), ()))),
            ((4, 2, 3, 2), (3, 2, 1), (((2,), (0,)), ((1,), (1,)))),
            ((2, 0), (0, 3), (((1,), (0,)), ((), ()))),
            ((2, 3), (2, 3), (((), ()), ((0, 1), (0, 1)))),
        ]
        for lhs, rhs, n in numbers:
            yield Sample(rng.normal(size=lhs), rng.normal(size=rhs), dimension_numbers=n)
        matrix: DimensionNumbers = (((1,), (0,)), ((), ()))
        x, y = rng.normal(size=(2, 3)), rng.normal(size=(3, 2))
        yield Sample(x + 1j * x[::-1], y - 2j * y, dimension_numbers=matrix)
        yield Sample(x.astype(np.float32), y.astype(np.float32), dimension_numbers=matrix)
        integers = np.arange(6, dtype=np.int8)
        yield Sample(
            integers.reshape(2, 3),
            integers.reshape(3, 2),
            differentiable=False,
            dimension_numbers=matrix,
            preferred_element_type=np.dtype(np.int32),
        )


dot_general = DotGeneral()


# -- products of stacks of matrices, for rules of other primitives ---------------------------


@lru_cache(maxsize=64)
def stacked_numbers(rank: int) -> DimensionNumbers:
    """Dimension numbers of the matrix product of two stacks of matrices of this rank."""
    stack = tuple(range(rank - 2))
    return ((rank - 1,), (rank - 2,)), (stack, stack)


def matrix_product(x: Value, y: Value) -> Value:
    """The matrix product along the last two dimensions; the leading ones are equal."""
    return dot_general(x, y, dimension_numbers=stacked_numbers(len(x.shape)))


def matrix_transpose(x: Value) -> Value:
    """The last two dimensions exchanged."""
    rank = len(x.shape)
    return transpose(x, permutation=(*range(rank - 2), rank - 1, rank - 2))
