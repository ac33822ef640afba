"""Random orders and random choices among the elements of an array.

Orders come from sorting by random words, several times where two of these might be equal.
Choices without replacement are the beginning of a random order, or with probabilities the
greatest of perturbed logarithms (Gumbel's trick). The chosen elements carry derivatives to
the array they are from.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.primitive import Value
from wengert.numpy.promotion import promote_inexact
from wengert.primitives.basis import full, reshape
from wengert.primitives.cast import convert
from wengert.primitives.cumulative import cumsum
from wengert.primitives.shape import iota
from wengert.primitives.sort import searchsorted, sort, top_k
from wengert.primitives.transcendental import log
from wengert.random.arguments import shape_of
from wengert.random.inversion import _gumbel, check_mode
from wengert.random.keys import KeyArray, sub_keys, take_key
from wengert.random.uniforms import _bits, _randint, _uniform


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Array:
    """The elements of an array, or the integers below a number, in random order.

    Args:
      key: a random key.
      x: an array, or an integer n for `arange(n)`.
      axis: the axis that is shuffled.
      independent: shuffle each vector along the axis by itself, rather than whole slices.

    >>> from wengert import random
    >>> random.permutation(random.key(0), 5)
    Array([1, 0, 4, 3, 2], dtype=int32)
    """
    x = as_array(x)
    if not x.shape and not dtypes.is_integer(x.dtype):
        raise TypeError(f"permutation needs an array or an integer, got {x.type}.")
    rank = len(x.shape) or 1
    if not -rank <= axis < rank:
        raise errors.ShapeError(f"permutation: {x.type} has no axis {axis}.")
    return _permutation(take_key("permutation", key), x, axis % rank, independent)


def _permutation(key: KeyArray, x: Value, axis: int, independent: bool) -> Any:
    if not x.shape:
        return _shuffled(key, _positions(operator.index(x)), 0)
    if independent or len(x.shape) == 1:
        return _shuffled(key, x, axis)
    order = _shuffled(key, _positions(x.shape[axis]), 0)
    return _take(x, order, axis)


def _positions(count: int) -> Value:
    return iota(dtype=dtypes.INT32, shape=(count,), dimension=0)


def _take(x: Value, indices: Value, axis: int) -> Value:
    return x[(*(slice(None),) * axis, indices)]


def _shuffled(key: KeyArray, x: Value, axis: int) -> Value:
    """Sort by random words, so often that two elements hardly ever share all of theirs."""
    rounds = math.ceil(3 * math.log(max(1, x.size)) / math.log(2**32 - 1))
    for _ in range(rounds):
        key, subkey = sub_keys(key)
        _, x = sort(_bits(subkey, 32, x.shape), x, dimension=axis)
    return x


def choice(
    key: Any,
    a: Any,
    shape: Any = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    mode: str | None = None,
) -> Array:
    """Randomly chosen elements.

    Args:
      key: a random key.
      a: an array, or an integer n for `arange(n)`.
      shape: how many; a tuple.
      replace: whether an element may be chosen more than once.
      p: the probability of each element along `axis`; by default all are equal. It need not add
        up to 1. Without replacement, as many as are drawn must be positive.
      axis: from which slices of `a` are chosen.
      mode: `"low"` or `"high"`, as in `gumbel`; for `p` without replacement.

    Returns:
      an array in whose shape `shape` has replaced the dimension `axis` of `a`.

    >>> from wengert import random
    >>> random.choice(random.key(0), 5, (3,), replace=False)
    Array([1, 0, 4], dtype=int32)
    """
    if not isinstance(shape, tuple | list):
        raise TypeError(f"choice needs a tuple for its shape, got {shape!r}.")
    shape = shape_of("choice", shape)
    check_mode("choice", mode)
    a = as_array(a)
    if a.shape and not -len(a.shape) <= axis < len(a.shape):
        raise errors.ShapeError(f"choice: {a.type} has no axis {axis}.")
    axis = axis % len(a.shape) if a.shape else 0
    total = a.shape[axis] if a.shape else operator.index(a)
    draws = math.prod(shape)
    _check_choice(total, draws, replace)
    taken = take_key("choice", key)
    if not draws:
        return full(shape=_chosen_shape(a, shape, axis), value=0, dtype=a.dtype)
    if p is None and not replace:
        order = _permutation(taken, a, axis, independent=False)
        chosen = order[(*(slice(None),) * axis, slice(draws))]
    else:
        indices = _indices(taken, total, shape, replace, p, mode)
        chosen = _take(a, reshape(indices, shape=(draws,)), axis) if a.shape else indices
    return reshape(chosen, shape=_chosen_shape(a, shape, axis))


def _chosen_shape(a: Value, shape: Shape, axis: int) -> Shape:
    return (*a.shape[:axis], *shape, *a.shape[axis + 1 :])


def _check_choice(total: int, draws: int, replace: bool) -> None:
    if draws and total <= 0:
        raise ValueError("choice has nothing to choose from: a is empty.")
    if not replace and draws > total:
        raise ValueError(
            f"choice cannot draw {draws} different elements from {total}; replace=True allows "
            "repetitions."
        )


def _indices(
    key: KeyArray, total: int, shape: Shape, replace: bool, p: Any, mode: str | None
) -> Value:
    if p is None:
        return _randint(key, shape, 0, total, dtypes.INT32)
    (p,) = promote_inexact(np.asarray(p, np.float32) if isinstance(p, list | tuple) else p)
    if p.shape != (total,):
        raise errors.ShapeError(
            f"choice among {total} elements needs probabilities of shape ({total},), got "
            f"{p.shape}."
        )
    if replace:
        cumulative = cumsum(p, axis=0)
        u = _uniform(key, shape, p.dtype)
        return searchsorted(cumulative, cumulative[-1] * (1.0 - u))
    scores = _gumbel(key, (total,), p.dtype, mode) + log(p)
    return convert(top_k(scores, k=math.prod(shape))[1], dtype=dtypes.INT32)
