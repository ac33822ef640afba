"""Reductions, running reductions and sorting along dimensions.

The result has the dtype of the operand: nothing is widened or promoted. `reduce` takes any
associative function of two scalars; where tracing it shows a single sum, product, maximum,
minimum, and, or, exclusive or, the reduction of that name does the work, otherwise elements are
combined in pairs, then pairs of pairs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, Shape, as_array
from wengert.core.dtypes import DType, DTypeLike
from wengert.core.primitive import Primitive, Value
from wengert.core.tracing import trace
from wengert.lax.operands import same
from wengert.lax.structure import full
from wengert.numpy.axes import axes_of, axis_of
from wengert.primitives import basis, compare, cumulative, elementwise
from wengert.primitives import reduce as primitives
from wengert.primitives import sort as sorting
from wengert.primitives.basis import broadcast_to, reshape, transpose
from wengert.primitives.shape import concatenate, slice_
from wengert.transforms.vmap import vmap

Axes = tuple[int, ...]
Computation = Callable[[Any, Any], Any]

#: For each operation that has a reduction of its own: the reduction.
REDUCTIONS: dict[Primitive, Primitive] = {
    basis.add: basis.reduce_sum,
    basis.mul: primitives.reduce_prod,
    elementwise.maximum: primitives.reduce_max,
    elementwise.minimum: primitives.reduce_min,
    compare.bitwise_and: primitives.reduce_and,
    compare.bitwise_or: primitives.reduce_or,
    compare.bitwise_xor: primitives.reduce_xor,
}


def _lowest(dtype: DType) -> Any:
    if dtypes.is_floating(dtype):
        return -math.inf
    return False if dtype == dtypes.BOOL else int(np.iinfo(dtype).min)


def _highest(dtype: DType) -> Any:
    if dtypes.is_floating(dtype):
        return math.inf
    return True if dtype == dtypes.BOOL else int(np.iinfo(dtype).max)


#: What leaves every value as it is, by operation.
_NEUTRAL: dict[Primitive, Callable[[DType], Any]] = {
    basis.add: lambda dtype: 0,
    basis.mul: lambda dtype: 1,
    elementwise.maximum: _lowest,
    elementwise.minimum: _highest,
    compare.bitwise_and: lambda dtype: ~dtype.type(0),
    compare.bitwise_or: lambda dtype: 0,
    compare.bitwise_xor: lambda dtype: 0,
}


def is_neutral(primitive: Primitive, start: Value) -> bool:
    """Whether a scalar is known, and known to change nothing."""
    if type(start) is not Array or dtypes.is_complex(start.dtype):
        return False
    return bool(np.asarray(start) == _NEUTRAL[primitive](start.dtype))


# -- named reductions --------------------------------------------------------------------------


def _reduced(primitive: Primitive, operand: Any, axes: Sequence[int]) -> Value:
    operand = as_array(operand)
    places = axes_of(tuple(axes), len(operand.shape))
    kept = tuple(n for i, n in enumerate(operand.shape) if i not in places)
    if 0 in operand.shape and 0 not in kept:  # nothing to take an extremum of
        if primitive is primitives.reduce_max:
            return full(kept, _lowest(operand.dtype), operand.dtype)
        if primitive is primitives.reduce_min:
            return full(kept, _highest(operand.dtype), operand.dtype)
    return primitive(operand, axes=places)


def reduce_sum(operand: Any, axes: Sequence[int]) -> Value:
    """Sums over some dimensions.

    >>> import numpy as np
    >>> reduce_sum(np.ones((2, 3), np.int32), (1,))
    Array([3, 3], dtype=int32)
    """
    return _reduced(basis.reduce_sum, operand, axes)


def reduce_prod(operand: Any, axes: Sequence[int]) -> Value:
    """Products over some dimensions.

    >>> import numpy as np
    >>> reduce_prod(np.array([2, 3, 4], np.int32), (0,))
    Array(24, dtype=int32)
    """
    return _reduced(primitives.reduce_prod, operand, axes)


def reduce_max(operand: Any, axes: Sequence[int]) -> Value:
    """Greatest elements over some dimensions; of none, the least value of the dtype.

    >>> import numpy as np
    >>> reduce_max(np.array([2, 5, 4], np.int32), (0,))
    Array(5, dtype=int32)
    """
    return _reduced(primitives.reduce_max, operand, axes)


def reduce_min(operand: Any, axes: Sequence[int]) -> Value:
    """Least elements over some dimensions; of none, the greatest value of the dtype.

    >>> import numpy as np
    >>> reduce_min(np.array([2, 5, 4], np.int32), (0,))
    Array(2, dtype=int32)
    """
    return _reduced(primitives.reduce_min, operand, axes)


def reduce_and(operand: Any, axes: Sequence[int]) -> Value:
    """And over some dimensions, logical or bit by bit.

    >>> import numpy as np
    >>> reduce_and(np.array([True, False]), (0,))
    Array(False, dtype=bool)
    """
    return _reduced(primitives.reduce_and, operand, axes)


def reduce_or(operand: Any, axes: Sequence[int]) -> Value:
    """Or over some dimensions, logical or bit by bit.

    >>> import numpy as np
    >>> reduce_or(np.array([True, False]), (0,))
    Array(True, dtype=bool)
    """
    return _reduced(primitives.reduce_or, operand, axes)


def reduce_xor(operand: Any, axes: Sequence[int]) -> Value:
    """Exclusive or over some dimensions, logical or bit by bit.

    >>> import numpy as np
    >>> reduce_xor(np.array([True, True]), (0,))
    Array(False, dtype=bool)
    """
    return _reduced(primitives.reduce_xor, operand, axes)


def argmax(operand: Any, axis: int, index_dtype: DTypeLike) -> Value:
    """The position of the greatest element along an axis: the first of equal ones, or a NaN.

    >>> import numpy as np
    >>> argmax(np.array([2, 5, 4]), 0, "int32")
    Array(1, dtype=int32)
    """
    return _extremum(primitives.argmax, operand, axis, index_dtype)


def argmin(operand: Any, axis: int, index_dtype: DTypeLike) -> Value:
    """The position of the least element along an axis: the first of equal ones, or a NaN.

    >>> import numpy as np
    >>> argmin(np.array([2, 5, 4]), 0, "int32")
    Array(0, dtype=int32)
    """
    return _extremum(primitives.argmin, operand, axis, index_dtype)


def _extremum(primitive: Primitive, operand: Any, axis: int, index_dtype: DTypeLike) -> Value:
    operand = as_array(operand)
    place = axis_of(axis, len(operand.shape))
    return primitive(operand, axis=place, index_dtype=dtypes.as_dtype(index_dtype))


# -- any reduction -----------------------------------------------------------------------------


def recognized(computation: Computation, dtype: Any) -> Primitive | None:
    """The primitive that a function of two scalars consists of, if it has a reduction."""
    scalar = ArrayType((), dtype)
    program = trace(lambda pair: [as_array(computation(*pair))], [scalar, scalar])
    if len(program.equations) != 1 or program.constants:
        return None
    (equation,) = program.equations
    commuted = set(equation.inputs) == set(program.inputs)
    plain = (
        commuted and program.outputs == equation.outputs and equation.primitive in REDUCTIONS
    )
    return equation.primitive if plain else None


def reduce(
    operands: Any, init_values: Any, computation: Computation, dimensions: Sequence[int]
) -> Any:
    """Reduce over dimensions by any associative function.

    Args:
      operands: an array, or a tree of arrays of one shape.
      init_values: a scalar for each of them, with which the reduction starts.
      computation: an associative function of two scalars, or of two trees of scalars.
      dimensions: over which dimensions to reduce.

    Returns:
      the reduction, or the tree of them.

    >>> import numpy as np
    >>> from wengert import lax
    >>> reduce(np.array([1.0, 2.0, 4.0]), 0.0, lax.add, (0,))
    Array(7., dtype=float64)
    >>> reduce(np.array([1.0, 2.0, 4.0]), 1.0, lambda x, y: x * y + 0 * x, (0,))
    Array(8., dtype=float64)
    """
    leaves, treedef = tree.flatten(operands)
    inits, init_tree = tree.flatten(init_values)
    if treedef != init_tree:
        raise errors.TreeError("the operands", treedef, "init_values", init_tree)
    arrays, starts = _with_inits(leaves, inits)
    places = axes_of(tuple(dimensions), len(arrays[0].shape))
    if len(arrays) == 1 and tree.structure(0) == treedef:
        primitive = recognized(computation, arrays[0].dtype)
        if primitive is not None:
            out = _reduced(REDUCTIONS[primitive], arrays[0], places)
            return out if is_neutral(primitive, starts[0]) else primitive(out, starts[0])

    def combine(xs: list[Value], ys: list[Value]) -> list[Value]:
        pair = tree.unflatten(treedef, xs), tree.unflatten(treedef, ys)
        return [as_array(leaf) for leaf in tree.leaves(computation(*pair))]

    return tree.unflatten(treedef, fold(combine, arrays, starts, places))


def _with_inits(leaves: list[Any], inits: list[Any]) -> tuple[list[Value], list[Value]]:
    """Operands and their start values, in pairs of one dtype."""
    pairs = [same("reduce", leaf, init) for leaf, init in zip(leaves, inits, strict=True)]
    arrays, starts = [p[0] for p in pairs], [p[1] for p in pairs]
    if not arrays or len({a.shape for a in arrays}) > 1 or any(s.shape for s in starts):
        raise errors.ShapeError(
            "lax.reduce needs operands of one shape and scalars to start with, got operands of "
            f"shapes {', '.join(str(a.shape) for a in arrays)}, init_values of shapes "
            f"{', '.join(str(s.shape) for s in starts)}."
        )
    return arrays, starts


def fold(
    combine: Callable[[list[Value], list[Value]], list[Value]],
    arrays: list[Value],
    starts: list[Value],
    axes: Axes,
) -> list[Value]:
    """Reduce arrays together, in order, by an associative function of lists of scalars."""
    shape = arrays[0].shape
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    rest: Shape = tuple(shape[i] for i in kept)
    many = vmap(lambda *xy: tuple(combine(list(xy[: len(arrays)]), list(xy[len(arrays) :]))))

    def pairwise(xs: list[Value], ys: list[Value]) -> list[Value]:
        flat = [reshape(v, shape=(v.size,)) for v in (*xs, *ys)]
        if not flat[0].size:
            return xs
        return [reshape(o, shape=x.shape) for o, x in zip(many(*flat), xs, strict=True)]

    count = 1
    for a in axes:
        count *= shape[a]
    order = (*axes, *kept)
    rows = [reshape(transpose(a, permutation=order), shape=(count, *rest)) for a in arrays]
    while count > 1:
        even, odd = count - count % 2, count % 2
        firsts = [_every_second(r, 0, even) for r in rows]
        seconds = [_every_second(r, 1, even) for r in rows]
        joined = pairwise(firsts, seconds)
        if odd:
            last = [_every_second(r, even, count) for r in rows]
            joined = [concatenate(j, x, dimension=0) for j, x in zip(joined, last, strict=True)]
        rows, count = joined, even // 2 + odd
    out = [broadcast_to(s, rest) for s in starts]
    return pairwise(out, [reshape(r, shape=rest) for r in rows]) if count else out


def _every_second(x: Value, start: int, limit: int) -> Value:
    zeros, ones = (0,) * (len(x.shape) - 1), (1,) * (len(x.shape) - 1)
    return slice_(
        x,
        start_indices=(min(start, limit), *zeros),
        limit_indices=(limit, *x.shape[1:]),
        strides=(2, *ones),
    )


# -- running reductions ------------------------------------------------------------------------


def _running(primitive: Primitive, operand: Any, axis: int, reverse: bool) -> Value:
    operand = as_array(operand)
    return primitive(operand, axis=axis_of(axis, len(operand.shape)), reverse=bool(reverse))


def cumsum(operand: Any, axis: int = 0, reverse: bool = False) -> Value:
    """Running sums along an axis, from the end with `reverse`.

    >>> import numpy as np
    >>> cumsum(np.array([1, 2, 3], np.int32))
    Array([1, 3, 6], dtype=int32)
    """
    return _running(cumulative.cumsum, operand, axis, reverse)


def cumprod(operand: Any, axis: int = 0, reverse: bool = False) -> Value:
    """Running products along an axis, from the end with `reverse`.

    >>> import numpy as np
    >>> cumprod(np.array([1, 2, 3], np.int32))
    Array([1, 2, 6], dtype=int32)
    """
    return _running(cumulative.cumprod, operand, axis, reverse)


def cummax(operand: Any, axis: int = 0, reverse: bool = False) -> Value:
    """Running maxima along an axis, from the end with `reverse`.

    >>> import numpy as np
    >>> cummax(np.array([1, 3, 2], np.int32))
    Array([1, 3, 3], dtype=int32)
    """
    return _running(cumulative.cummax, operand, axis, reverse)


def cummin(operand: Any, axis: int = 0, reverse: bool = False) -> Value:
    """Running minima along an axis, from the end with `reverse`.

    >>> import numpy as np
    >>> cummin(np.array([3, 1, 2], np.int32))
    Array([3, 1, 1], dtype=int32)
    """
    return _running(cumulative.cummin, operand, axis, reverse)


def cumlogsumexp(operand: Any, axis: int = 0, reverse: bool = False) -> Value:
    """Running log-sum-exps along an axis, from the end with `reverse`.

    >>> import numpy as np
    >>> cumlogsumexp(np.array([0.0, 0.0], np.float32))
    Array([0.       , 0.6931472], dtype=float32)
    """
    return _running(cumulative.cumlogsumexp, operand, axis, reverse)


# -- sorting -----------------------------------------------------------------------------------


def sort(operand: Any, dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """Sort along a dimension; NaN comes last.

    Args:
      operand: an array, or a sequence of arrays of one shape that are sorted together.
      dimension: the dimension.
      is_stable: whether equal elements stay in order.
      num_keys: how many of the arrays, from the first on, decide.

    Returns:
      the sorted array, or a tuple of them.

    >>> import numpy as np
    >>> sort(np.array([3, 1, 2]))
    Array([1, 2, 3], dtype=int64)
    """
    several = isinstance(operand, list | tuple)
    arrays = [as_array(x) for x in (operand if several else [operand])]
    if not 1 <= operator.index(num_keys) <= len(arrays) or len({a.shape for a in arrays}) > 1:
        raise errors.ShapeError(
            f"lax.sort needs arrays of one shape and 1 to {len(arrays)} keys, got shapes "
            f"{', '.join(str(a.shape) for a in arrays)}, num_keys={num_keys}."
        )
    place = axis_of(dimension, len(arrays[0].shape))
    out = sorting.sort(*arrays, dimension=place, num_keys=num_keys, is_stable=bool(is_stable))
    return tuple(out) if several else out[0]


def sort_key_val(
    keys: Any, values: Any, dimension: int = -1, is_stable: bool = True
) -> tuple[Value, Value]:
    """Sort keys along a dimension, and values with them.

    >>> import numpy as np
    >>> sort_key_val(np.array([3, 1, 2]), np.array([30, 10, 20]))[1]
    Array([10, 20, 30], dtype=int64)
    """
    first, second = sort((keys, values), dimension, is_stable)
    return first, second
