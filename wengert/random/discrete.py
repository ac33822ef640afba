"""Distributions of integers, of signs, and of truth values.

Bernoulli, Rademacher, geometric and categorical samples are formulas of uniform numbers;
Poisson and binomial ones come out of rejection loops, each a primitive of its own
(`wengert.primitives.random_counts`). None of them has a derivative: the gradient with respect
to their parameters is zero, which is not the gradient of their means.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.dtypes import DType
from wengert.numpy.promotion import promote_inexact, to_dtype
from wengert.primitives.basis import broadcast_to, reshape, transpose
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq, floor, lt, select
from wengert.primitives.cumulative import cumsum
from wengert.primitives.elementwise import clamp
from wengert.primitives.random_counts import random_binomial, random_poisson
from wengert.primitives.reduce import argmax
from wengert.primitives.shape import concatenate
from wengert.primitives.sort import top_k
from wengert.primitives.transcendental import log, log1p
from wengert.random.arguments import (
    common_shape,
    float_dtype,
    float_info,
    floating_parameter,
    integer_dtype,
    parameter,
    shape_of,
)
from wengert.random.inversion import _gumbel, check_mode
from wengert.random.keys import KeyArray, rows, sub_keys, take_key
from wengert.random.uniforms import _uniform


def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low") -> Array:
    """Truth values that are true with probability `p`.

    Args:
      key: a random key.
      p: floating; of float32 only what exceeds 1e-7 makes a difference in mode `"low"`.
      shape: of the result; by default that of `p`.
      mode: `"high"` takes two uniform numbers per value, for very small `p`.

    >>> from wengert import random
    >>> random.bernoulli(random.key(0), 0.3, (4,))
    Array([False,  True, False,  True], dtype=bool)
    """
    if mode not in ("low", "high"):
        raise ValueError(f"bernoulli has the modes 'low' and 'high', got {mode!r}.")
    p = as_array(p)
    if not dtypes.is_floating(p.dtype):
        raise errors.DTypeError(
            f"bernoulli needs a floating probability, got {p.type}. Write 1.0 instead of 1."
        )
    p = to_dtype(p, p.dtype)
    shape = common_shape("bernoulli", shape, p.shape)
    return _bernoulli(take_key("bernoulli", key), p, shape, mode)


def _bernoulli(key: KeyArray, p: Any, shape: Shape, mode: str = "low") -> Any:
    if mode == "low":
        return lt(_uniform(key, shape, p.dtype), p)
    first, second = rows(_uniform(key, (2, *shape), p.dtype))
    return lt(second * 2.0 ** -float_info(p.dtype).nmant, p - first)


def rademacher(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Random signs: -1 and 1 with equal probability.

    Args:
      key: a random key.
      shape: of the result.
      dtype: any signed dtype; by default int32.

    >>> from wengert import random
    >>> random.rademacher(random.key(0), (4,))
    Array([-1,  1, -1,  1], dtype=int32)
    """
    dtype = dtypes.INT32 if dtype is None else dtypes.as_dtype(dtype)
    if dtype.kind in "bu":
        raise errors.DTypeError(f"rademacher needs a signed dtype, got {dtype.name}.")
    return _rademacher(take_key("rademacher", key), shape_of("rademacher", shape), dtype)


def _rademacher(key: KeyArray, shape: Shape, dtype: DType) -> Any:
    heads = convert(_bernoulli(key, Array(np.float32(0.5)), shape), dtype=dtype)
    return heads * 2 - 1


def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Numbers of trials up to the first success: 1, 2, 3, ...

    Args:
      key: a random key.
      p: the probability of success of a trial.
      shape: of the result; by default that of `p`.
      dtype: an integer dtype; by default int32.

    >>> from wengert import random
    >>> random.geometric(random.key(0), 0.2, (4,))
    Array([1, 7, 3, 6], dtype=int32)
    """
    dtype = integer_dtype("geometric", dtype)
    p = floating_parameter("geometric", p)
    shape = common_shape("geometric", shape, p.shape)
    u = _uniform(take_key("geometric", key), shape, p.dtype)
    u = select(eq(u, 0.0), 1.0, u)
    return convert(floor(log(u) / log1p(-p)) + 1.0, dtype=dtype)


def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Poisson numbers.

    Args:
      key: a random key.
      lam: the mean, used in float32. Where it is negative, infinite or NaN the result is -1.
      shape: of the result; by default that of `lam`.
      dtype: an integer dtype; by default int32.

    >>> from wengert import random
    >>> random.poisson(random.key(0), 3.0, (4,))
    Array([2, 2, 3, 4], dtype=int32)
    """
    dtype = integer_dtype("poisson", dtype)
    lam = parameter("poisson", lam, dtypes.FLOAT32)
    shape = common_shape("poisson", shape, lam.shape)
    taken = take_key("poisson", key)
    return random_poisson(taken._data, broadcast_to(lam, shape), layout=taken.impl, dtype=dtype)


def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Numbers of successes in `n` trials.

    Args:
      key: a random key.
      n: the number of trials. Where it is negative or NaN the result is NaN.
      p: the probability of success of a trial; where it is NaN or outside [0, 1] the result is
        NaN.
      shape: of the result; by default that of the parameters.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.binomial(random.key(0), 10, 0.3, (4,))
    Array([7., 4., 2., 5.], dtype=float32)
    """
    dtype = float_dtype("binomial", dtype)
    p = floating_parameter("binomial", p)
    n = parameter("binomial", n, p.dtype)
    shape = common_shape("binomial", shape, n.shape, p.shape)
    return _binomial(take_key("binomial", key), n, p, shape, dtype)


def _binomial(key: KeyArray, n: Any, p: Any, shape: Shape, dtype: DType) -> Any:
    if p.dtype.itemsize == 2:  # counts need more digits
        n, p = (convert(x, dtype=dtypes.FLOAT32) for x in (n, p))
    operands = broadcast_to(n, shape), broadcast_to(p, shape)
    return random_binomial(key._data, *operands, layout=key.impl, dtype=dtype)


def multinomial(key: Any, n: Any, p: Any, *, shape: Any = None, dtype: Any = None) -> Array:
    """How often each of the categories came in `n` trials.

    Args:
      key: a random key.
      n: the number of trials; broadcasts with the dimensions of `p` before the last.
      p: `(..., k)`, the probabilities of the categories.
      shape: of the result, categories included; by default that of `p`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.multinomial(random.key(0), 10, [0.2, 0.3, 0.5])
    Array([2., 3., 5.], dtype=float32)
    """
    dtype = float_dtype("multinomial", dtype)
    n, p = promote_inexact(as_array(n), np.asarray(p, np.float32) if isinstance(p, list) else p)
    if not p.shape:
        raise errors.ShapeError("multinomial needs probabilities of shape (..., k), got ().")
    shape = common_shape("multinomial", p.shape if shape is None else shape, p.shape)
    common_shape("multinomial", shape[:-1], n.shape)
    p, remaining = broadcast_to(p, shape), broadcast_to(n, shape[:-1])
    last = len(shape) - 1
    p = transpose(p, permutation=(last, *range(last)))
    left = cumsum(p, axis=0, reverse=True)
    ratios = rows(clamp(0.0, p / select(eq(left, 0.0), 1.0, left), 1.0))
    counts = []
    for subkey, ratio in zip(
        sub_keys(take_key("multinomial", key), shape[-1]), ratios, strict=True
    ):
        counts.append(_binomial(subkey, remaining, ratio, shape[:-1], n.dtype))
        remaining = remaining - counts[-1]
    stacked = concatenate(*(reshape(c, shape=(*c.shape, 1)) for c in counts), dimension=last)
    return convert(stacked, dtype=dtype)


def categorical(
    key: Any,
    logits: Any,
    axis: int = -1,
    shape: Any = None,
    replace: bool = True,
    mode: str | None = None,
) -> Array:
    """Categories with probabilities softmax(logits), as int32 positions.

    Args:
      key: a random key.
      logits: floating; unnormalized logarithms of probabilities along `axis`.
      axis: along which the categories lie.
      shape: of the result: ends in the shape of `logits` without `axis`, which is the default.
      replace: with False the samples along the leading dimensions of `shape` are distinct.
      mode: `"low"` or `"high"`, as in `gumbel`.

    E. Gumbel, "Statistical theory of extreme values" (1954); W. Kool, H. van Hoof, M. Welling,
    "Stochastic beams and where to find them" (2019).

    >>> import wengert.numpy as wnp
    >>> from wengert import random
    >>> random.categorical(random.key(0), wnp.log(wnp.array([0.1, 0.2, 0.7])), shape=(5,))
    Array([1, 0, 2, 2, 2], dtype=int32)
    """
    logits = as_array(logits)
    check_mode("categorical", mode)
    if not dtypes.is_floating(logits.dtype) or not logits.shape:
        raise errors.DTypeError(
            "categorical needs floating logits with a dimension of categories, got "
            f"{logits.type}."
        )
    rank = len(logits.shape)
    if not -rank <= axis < rank:
        raise errors.ShapeError(f"categorical: logits {logits.type} have no axis {axis}.")
    axis %= rank
    batch = logits.shape[:axis] + logits.shape[axis + 1 :]
    shape = common_shape("categorical", shape, batch)
    taken = take_key("categorical", key)
    if replace:
        return _with_replacement(taken, logits, axis, shape, mode)
    return _without_replacement(taken, logits, axis, shape, mode)


def _with_replacement(key: KeyArray, logits: Any, axis: int, shape: Shape, mode: Any) -> Any:
    extra = len(shape) - (len(logits.shape) - 1)
    drawn = (*shape[: extra + axis], logits.shape[axis], *shape[extra + axis :])
    noise = _gumbel(key, drawn, logits.dtype, mode)
    return argmax(noise + logits, axis=extra + axis)


def _without_replacement(key: KeyArray, logits: Any, axis: int, shape: Shape, mode: Any) -> Any:
    rank = len(logits.shape)
    extra = len(shape) - (rank - 1)
    count = 1
    for n in shape[:extra]:
        count *= n
    if count > logits.shape[axis]:
        raise ValueError(
            f"categorical cannot draw {count} distinct samples from {logits.shape[axis]} "
            "categories; replace=True allows repetitions."
        )
    perturbed = logits + _gumbel(key, logits.shape, logits.dtype, mode)
    others = [i for i in range(rank) if i != axis]
    _, chosen = top_k(transpose(perturbed, permutation=(*others, axis)), k=count)
    leading = transpose(chosen, permutation=(rank - 1, *range(rank - 1)))
    return reshape(leading, shape=shape)
