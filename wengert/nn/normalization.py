"""Normalisation over axes: softmax, logsumexp and their kin, standardization.

Maxima are subtracted before exponentials are taken, and count as constants for derivatives,
which they drop out of. With `where`, elements that are not selected take no part: they get
probability 0 and no gradient, whatever they hold.
"""

from __future__ import annotations

import math
from typing import Any

import wengert.numpy as wnp
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import Primitive, Value
from wengert.numpy.axes import axes_of
from wengert.numpy.promotion import promote_inexact, promote_inexact_unary
from wengert.primitives import cast
from wengert.primitives.basis import reduce_sum, reshape
from wengert.primitives.compare import is_finite, select
from wengert.primitives.elementwise import div, sub
from wengert.primitives.reduce import reduce_max
from wengert.primitives.transcendental import exp, log

Axis = int | tuple[int, ...] | None


def _kept(primitive: Primitive, x: Value, axes: tuple[int, ...]) -> Value:
    """A reduction that keeps the axes as dimensions of size 1."""
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return reshape(primitive(x, axes=axes), shape=shape)


def _largest(x: Value, axes: tuple[int, ...]) -> Value:
    """The maximum along axes, kept as dimensions of size 1, as a constant."""
    if 0 in x.shape:
        return wnp.max(x, axis=axes, keepdims=True, initial=-math.inf)
    return cast.stop_gradient(_kept(reduce_max, x, axes))


def _shifted(x: Value, axes: tuple[int, ...], where: Any) -> tuple[Value, Value]:
    """x minus its maximum, and exponentials of that; 0 where not selected."""
    if where is None:
        shifted = sub(x, _largest(x, axes))
        return shifted, exp(shifted)
    largest = _largest(wnp.where(where, x, -math.inf), axes)
    shifted = sub(wnp.where(where, x, largest), largest)
    return shifted, wnp.where(where, exp(shifted), 0)


def softmax(x: Any, axis: Axis = -1, where: Any = None) -> Value:
    """Exponentials, divided by their sum along axes.

    Args:
      x: an array.
      axis: one axis or several; None for all.
      where: bools that broadcast to `x`: which elements take part; the others get 0.

    >>> import numpy as np
    >>> softmax(np.float32([1000.0, 1000.0]))
    Array([0.5, 0.5], dtype=float32)
    """
    x = promote_inexact_unary(x)
    axes = axes_of(axis, len(x.shape))
    _, powers = _shifted(x, axes, where)
    out = div(powers, _kept(reduce_sum, powers, axes))
    return out if where is None else wnp.where(where, out, 0)


def log_softmax(x: Any, axis: Axis = -1, where: Any = None) -> Value:
    """The logarithm of `softmax`, accurate for small probabilities.

    Args:
      x: an array.
      axis: one axis or several; None for all.
      where: bools that broadcast to `x`: which elements take part; the others get -inf.

    >>> import numpy as np
    >>> log_softmax(np.float32([0.0, -1000.0]))
    Array([    0., -1000.], dtype=float32)
    """
    x = promote_inexact_unary(x)
    axes = axes_of(axis, len(x.shape))
    shifted, powers = _shifted(x, axes, where)
    out = sub(shifted, log(_kept(reduce_sum, powers, axes)))
    return out if where is None else wnp.where(where, out, -math.inf)


def logsumexp(
    a: Any,
    axis: Axis = None,
    b: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: Any = None,
) -> Any:
    """The logarithm of a sum of exponentials, `log(sum(b * exp(a)))`.

    Args:
      a: an array.
      axis: one axis or several; None for all.
      b: factors, which broadcast with `a`.
      keepdims: keep the summed axes, with size 1.
      return_sign: return `(log of the absolute value, sign)`; without it a negative sum gives
        NaN.
      where: bools that broadcast to `a`: which elements take part.

    >>> import numpy as np
    >>> logsumexp(np.float32([1000.0, 1000.0]))
    Array(1000.6932, dtype=float32)
    """
    if b is None:
        a = promote_inexact_unary(a)
    else:
        a, b = promote_inexact(a, b)
        a = wnp.where(wnp.not_equal(b, 0), a, -math.inf)
    axes = axes_of(axis, len(a.shape))
    seen = wnp.real(a)
    largest = _largest(seen if where is None else wnp.where(where, seen, -math.inf), axes)
    largest = select(is_finite(largest), largest, 0)
    powers = exp(wnp.subtract(a, largest))
    if b is not None:
        powers = wnp.multiply(b, powers)
    if where is not None:
        powers = wnp.where(where, powers, 0)
    total = _kept(reduce_sum, powers, axes) if keepdims else reduce_sum(powers, axes=axes)
    largest = reshape(largest, shape=total.shape)
    if not return_sign:
        return wnp.add(log(total), largest)
    return wnp.add(wnp.log(wnp.abs(total)), largest), wnp.sign(total)


def logmeanexp(a: Any, axis: Axis = None, where: Any = None, keepdims: bool = False) -> Value:
    """The logarithm of a mean of exponentials.

    >>> import numpy as np
    >>> logmeanexp(np.float32([1000.0, 1000.0]))
    Array(1000., dtype=float32)
    """
    a = promote_inexact_unary(a)
    total = logsumexp(a, axis=axis, where=where, keepdims=keepdims)
    if where is None:
        count: Any = math.prod(a.shape[i] for i in axes_of(axis, len(a.shape)))
        return wnp.subtract(total, math.log(count) if count else -math.inf)
    selected = wnp.broadcast_to(where, a.shape)
    count = wnp.sum(selected.astype(total.dtype), axis=axis, keepdims=keepdims)
    return wnp.subtract(total, wnp.log(count))


def standardize(
    x: Any,
    axis: Axis = -1,
    mean: Any = None,
    variance: Any = None,
    epsilon: Any = 1e-5,
    where: Any = None,
    *,
    algorithm: str = "stable",
) -> Value:
    """x with mean 0 and variance 1 along axes: (x - mean) / sqrt(variance + epsilon).

    Args:
      x: an array.
      axis: one axis or several; None for all.
      mean: the mean, if it is known.
      variance: the variance, if it is known.
      epsilon: added to the variance.
      where: bools that broadcast to `x`: which elements mean and variance are taken of.
      algorithm: "stable" takes the variance of differences from the mean; "fast" is accepted
        and does the same.

    >>> import numpy as np
    >>> standardize(np.float32([1.0, 3.0]), epsilon=0.0)
    Array([-1.,  1.], dtype=float32)
    """
    if algorithm not in ("fast", "stable"):
        raise ValueError(
            f"standardize knows the algorithms fast and stable, not {algorithm!r}."
        )
    x = promote_inexact_unary(x)
    selected = {} if where is None else {"where": where}
    if mean is None:
        mean = wnp.mean(x, axis=axis, keepdims=True, **selected)
    centered = wnp.subtract(x, mean)
    if variance is None:
        variance = wnp.mean(_size_squared(centered), axis=axis, keepdims=True, **selected)
    scale = wnp.sqrt(wnp.add(variance, epsilon))
    return wnp.divide(centered, scale)


def _size_squared(x: Value) -> Value:
    x = as_array(x)
    if dtypes.is_complex(x.dtype):
        return wnp.add(wnp.square(wnp.real(x)), wnp.square(wnp.imag(x)))
    return wnp.square(x)
