"""Collective operations over the named axis of a `vmap`: sums, exchange, positions.

Inside `vmap(f, axis_name="i")` a value is that of one example; these functions let the examples
see each other. They take trees of values, and where it makes sense a tuple of axis names.
Derivatives are those of all examples together: `vmap(grad(f), axis_name="i")` of an `f` that
contains a `psum` adds up what each example contributes to the results of all others.

A Python number is the same for all examples: its sum is the number times the size of the axis.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import as_array
from wengert.core.interpreter import state
from wengert.core.primitive import Primitive, Value
from wengert.lax.slicing import index_in_dim
from wengert.lax.structure import full
from wengert.numpy.axes import axis_of
from wengert.primitives import collective
from wengert.primitives.basis import add, mul, reshape
from wengert.primitives.cast import convert
from wengert.primitives.elementwise import div

AxisName = Hashable


def _names(axis_name: Any) -> tuple[Any, ...]:
    return tuple(axis_name) if isinstance(axis_name, tuple | list) else (axis_name,)


def _axis(axis_name: AxisName) -> dict[str, Any]:
    """The parameters of a collective primitive over one axis."""
    return {"axis_name": axis_name, "axis_size": state.interpreter.axis_size(axis_name)}


def _no_groups(name: str, axis_index_groups: Any) -> None:
    if axis_index_groups is not None:
        raise ValueError(
            f"lax.{name} works over the whole axis: axis_index_groups must be None. Reshape "
            "the axis into two and map over both."
        )


def axis_size(axis_name: AxisName) -> int:
    """The number of examples along a named axis, or the product for a tuple of names.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: x * axis_size("i"), axis_name="i")(np.ones(3, np.float32))
    Array([3., 3., 3.], dtype=float32)
    """
    return math.prod(state.interpreter.axis_size(name) for name in _names(axis_name))


def axis_index(axis_name: AxisName) -> Value:
    """The position of the example along a named axis; for several names, in row-major order.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: axis_index("i"), axis_name="i")(np.ones(3))
    Array([0, 1, 2], dtype=int32)
    """
    position: Value = None
    for name in _names(axis_name):
        axis = _axis(name)
        own = collective.axis_index(**axis)
        position = own if position is None else add(mul(position, axis["axis_size"]), own)
    return full((), 0, dtypes.INT32) if position is None else position


# -- reductions --------------------------------------------------------------------------------


def _reduce(primitive: Primitive, x: Any, axis_name: AxisName) -> Any:
    axes = [_axis(name) for name in _names(axis_name)]

    def reduce_leaf(leaf: Any) -> Value:
        out = as_array(leaf)
        for axis in axes:
            out = primitive(out, **axis)
        return out

    return tree.map(reduce_leaf, x)


def psum(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The sum over all examples.

    Args:
      x: an array, or a tree of arrays; bools are counted.
      axis_name: the name of a mapped axis, or a tuple of names.
      axis_index_groups: must be None.

    Raises:
      UnboundAxisError: when no `vmap` around here has that name.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: x / psum(x, "i"), axis_name="i")(np.float32([1, 3]))
    Array([0.25, 0.75], dtype=float32)
    """
    _no_groups("psum", axis_index_groups)
    size = axis_size(axis_name)

    def sum_leaf(leaf: Any) -> Any:
        if isinstance(leaf, dtypes.SCALAR_TYPES):
            return leaf * size
        leaf = as_array(leaf)
        if leaf.dtype == dtypes.BOOL:
            leaf = convert(leaf, dtype=dtypes.INT32)
        return _reduce(collective.psum, leaf, axis_name)

    return tree.map(sum_leaf, x)


def pmean(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The mean over all examples; of integers it is a floating number.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: pmean(x, "i"), axis_name="i")(np.float32([1, 3]))
    Array([2., 2.], dtype=float32)
    """
    _no_groups("pmean", axis_index_groups)
    size = axis_size(axis_name)

    def mean_leaf(leaf: Any) -> Value:
        total = as_array(psum(leaf, axis_name))
        if not dtypes.is_inexact(total.dtype):
            dtype = dtypes.inexact_dtype(total.dtype)
            total = convert(total, dtype=dtype, weak=total.weak_type)
        return div(total, size)

    return tree.map(mean_leaf, x)


def pmax(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The greatest value among all examples; equal ones share the derivative.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: pmax(x, "i"), axis_name="i")(np.float32([1, 3]))
    Array([3., 3.], dtype=float32)
    """
    _no_groups("pmax", axis_index_groups)
    return _reduce(collective.pmax, x, axis_name)


def pmin(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The least value among all examples; equal ones share the derivative.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: pmin(x, "i"), axis_name="i")(np.float32([1, 3]))
    Array([1., 1.], dtype=float32)
    """
    _no_groups("pmin", axis_index_groups)
    return _reduce(collective.pmin, x, axis_name)


# -- exchange ----------------------------------------------------------------------------------


def all_gather(
    x: Any,
    axis_name: AxisName,
    *,
    axis_index_groups: Any = None,
    axis: int = 0,
    tiled: bool = False,
) -> Any:
    """The values of all examples.

    Args:
      x: an array, or a tree of arrays.
      axis_name: the name of a mapped axis, or a tuple of names (row-major order).
      axis_index_groups: must be None.
      axis: where the new dimension goes; with `tiled`, the dimension that grows.
      tiled: concatenate along `axis` instead of stacking.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: all_gather(x, "i"), axis_name="i")(np.float32([1, 3]))
    Array([[1., 3.],
           [1., 3.]], dtype=float32)
    """
    _no_groups("all_gather", axis_index_groups)
    axes = [_axis(name) for name in _names(axis_name)]
    size = math.prod(a["axis_size"] for a in axes)

    def gather_leaf(leaf: Any) -> Value:
        out = as_array(leaf)
        place = axis_of(axis, len(out.shape) + (not tiled))
        shape = out.shape
        for params in reversed(axes):
            out = collective.all_gather(out, **params, axis=place)
        if tiled:
            return reshape(
                out, shape=(*shape[:place], size * shape[place], *shape[place + 1 :])
            )
        return (
            out
            if len(axes) == 1
            else reshape(out, shape=(*shape[:place], size, *shape[place:]))
        )

    return tree.map(gather_leaf, x)


def psum_scatter(
    x: Any,
    axis_name: AxisName,
    *,
    scatter_dimension: int = 0,
    axis_index_groups: Any = None,
    tiled: bool = False,
) -> Any:
    """The sum over all examples, of which each example keeps its own part.

    Args:
      x: an array, or a tree of arrays.
      axis_name: the name of a mapped axis.
      scatter_dimension: the dimension along which the sum is divided.
      axis_index_groups: must be None.
      tiled: whether the dimension stays, divided by the size of the axis, instead of having
        that size and disappearing.

    >>> import wengert, numpy as np
    >>> x = np.float32([[1, 2], [3, 4]])
    >>> wengert.vmap(lambda x: psum_scatter(x, "i"), axis_name="i")(x)
    Array([4., 6.], dtype=float32)
    """
    _no_groups("psum_scatter", axis_index_groups)
    params = _axis(axis_name)
    size = params["axis_size"]

    def scatter_leaf(leaf: Any) -> Value:
        leaf = as_array(leaf)
        place = axis_of(scatter_dimension, len(leaf.shape))
        if tiled:
            leaf = _divided("psum_scatter", leaf, place, size)
        _check_part("psum_scatter", leaf, place, size)
        return collective.psum_scatter(leaf, **params, scatter_dimension=place)

    return tree.map(scatter_leaf, x)


def _divided(name: str, x: Value, dim: int, size: int) -> Value:
    """Dimension `dim` of size `size * n` as two dimensions (size, n)."""
    if x.shape[dim] % size:
        raise errors.ShapeError(
            f"lax.{name} cannot divide dimension {dim} of shape {x.shape} among {size} "
            "examples."
        )
    return reshape(x, shape=(*x.shape[:dim], size, x.shape[dim] // size, *x.shape[dim + 1 :]))


def _check_part(name: str, x: Value, dim: int, size: int) -> None:
    if x.shape[dim] != size:
        raise errors.ShapeError(
            f"lax.{name} needs as many parts along dimension {dim} as there are examples, "
            f"{size}; got shape {x.shape}. tiled=True divides a longer dimension."
        )


def all_to_all(
    x: Any,
    axis_name: AxisName,
    split_axis: int,
    concat_axis: int,
    *,
    axis_index_groups: Any = None,
    tiled: bool = False,
) -> Any:
    """Every example sends part `i` to example `i`, which joins what it receives.

    Args:
      x: an array, or a tree of arrays.
      axis_name: the name of a mapped axis.
      split_axis: the dimension along which values are divided.
      concat_axis: the dimension of the result along which parts are joined.
      axis_index_groups: must be None.
      tiled: whether both dimensions stay (divided, and grown), instead of one disappearing and
        one being new, both of the size of the axis.

    >>> import wengert, numpy as np
    >>> x = np.float32([[1, 2], [3, 4]])
    >>> wengert.vmap(lambda x: all_to_all(x, "i", 0, 0), axis_name="i")(x)
    Array([[1., 3.],
           [2., 4.]], dtype=float32)
    """
    _no_groups("all_to_all", axis_index_groups)
    params = _axis(axis_name)
    size = params["axis_size"]

    def exchange_leaf(leaf: Any) -> Value:
        leaf = as_array(leaf)
        rank = len(leaf.shape)
        split, concat = axis_of(split_axis, rank), axis_of(concat_axis, rank)
        if tiled:
            leaf = _divided("all_to_all", leaf, split, size)
        _check_part("all_to_all", leaf, split, size)
        out = collective.all_to_all(leaf, **params, split_axis=split, concat_axis=concat)
        if not tiled:
            return out
        joined = size * out.shape[concat + 1]
        return reshape(out, shape=(*out.shape[:concat], joined, *out.shape[concat + 2 :]))

    return tree.map(exchange_leaf, x)


def pswapaxes(x: Any, axis_name: AxisName, axis: int, *, axis_index_groups: Any = None) -> Any:
    """The mapped axis exchanged with a dimension of the same size.

    >>> import wengert, numpy as np
    >>> x = np.float32([[1, 2], [3, 4]])
    >>> wengert.vmap(lambda x: pswapaxes(x, "i", 0), axis_name="i")(x)
    Array([[1., 3.],
           [2., 4.]], dtype=float32)
    """
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)


def ppermute(x: Any, axis_name: AxisName, perm: Sequence[tuple[int, int]]) -> Any:
    """Values sent from example to example.

    Args:
      x: an array, or a tree of arrays.
      axis_name: the name of a mapped axis.
      perm: pairs (source, destination); no source and no destination occurs twice. Who receives
        nothing gets zeros.

    >>> import wengert, numpy as np
    >>> f = wengert.vmap(lambda x: ppermute(x, "i", [(0, 1), (1, 2)]), axis_name="i")
    >>> f(np.float32([1, 3, 5]))
    Array([0., 1., 3.], dtype=float32)
    """
    params = _axis(axis_name)
    size = params["axis_size"]
    pairs = tuple((int(source), int(target)) for source, target in perm)
    sources, targets = [s for s, _ in pairs], [t for _, t in pairs]
    distinct = len(set(sources)) == len(set(targets)) == len(pairs)
    if not distinct or any(not 0 <= i < size for i in (*sources, *targets)):
        raise ValueError(
            f"ppermute needs distinct sources and distinct destinations from 0 to {size - 1}, "
            f"got {list(pairs)}."
        )
    return tree.map(lambda v: collective.ppermute(as_array(v), **params, perm=pairs), x)


def pshuffle(x: Any, axis_name: AxisName, perm: Sequence[int]) -> Any:
    """Example `i` gets the value of example `perm[i]`.

    >>> import wengert, numpy as np
    >>> f = wengert.vmap(lambda x: pshuffle(x, "i", [2, 0, 1]), axis_name="i")
    >>> f(np.float32([1, 3, 5]))
    Array([5., 1., 3.], dtype=float32)
    """
    sources = [int(source) for source in perm]
    size = axis_size(axis_name)
    if sorted(sources) != list(range(size)):
        raise ValueError(f"pshuffle needs a permutation of 0 to {size - 1}, got {sources}.")
    return ppermute(x, axis_name, list(zip(sources, range(size), strict=True)))


def pbroadcast(x: Any, axis_name: AxisName, source: int) -> Any:
    """The value of one example, for all of them.

    >>> import wengert, numpy as np
    >>> wengert.vmap(lambda x: pbroadcast(x, "i", 1), axis_name="i")(np.float32([1, 3, 5]))
    Array([3., 3., 3.], dtype=float32)
    """
    number = axis_of(source, axis_size(axis_name))

    def pick(leaf: Any) -> Value:
        gathered = all_gather(leaf, axis_name)
        return index_in_dim(gathered, number, keepdims=False)

    return tree.map(pick, x)
