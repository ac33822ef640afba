"""Activation functions of neural networks.

All are composed of differentiable operations, elementwise, and promote integers to floating
numbers. Values and gradients are finite wherever the mathematics is, also for large arguments:
where a formula would overflow in a part that does not count, another one stands. At
kinks `relu`, `relu6` and what is built on them have derivative 0.

Normalisation over an axis (softmax and its kin) is in `normalization`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import wengert.numpy as wnp
from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.lax.parallel import axis_index
from wengert.numpy.promotion import promote_inexact_unary
from wengert.primitives import basis, compare, elementwise, special, transcendental

# -- rectifiers --------------------------------------------------------------------------------


def identity(x: Any) -> Value:
    """The argument itself.

    >>> identity(1.5)
    Array(1.5, dtype=float32, weak_type=True)
    """
    return as_array(x)


def relu(x: Any) -> Value:
    """max(x, 0), with derivative 0 at 0.

    >>> import wengert
    >>> relu(-1.0), wengert.grad(relu)(0.0)
    (Array(0., dtype=float32, weak_type=True), Array(0., dtype=float32, weak_type=True))
    """
    x = as_array(x)
    if x.dtype == dtypes.BOOL:
        return x
    return compare.select(compare.le(x, 0), 0, x)  # NaN passes through


def relu_squared(x: Any) -> Value:
    """relu(x) ** 2.

    >>> relu_squared(3.0)
    Array(9., dtype=float32, weak_type=True)
    """
    return elementwise.square(relu(x))


def relu6(x: Any) -> Value:
    """min(max(x, 0), 6), with derivative 0 at 0 and at 6.

    >>> relu6(7.0)
    Array(6., dtype=float32, weak_type=True)
    """
    x = as_array(x)
    return x if x.dtype == dtypes.BOOL else elementwise.clamp(0, x, 6)


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Value:
    """x where it is positive, a small multiple of it elsewhere.

    >>> leaky_relu(-2.0)
    Array(-0.02, dtype=float32, weak_type=True)
    """
    return wnp.where(wnp.greater_equal(x, 0), x, wnp.multiply(negative_slope, x))


def elu(x: Any, alpha: Any = 1.0) -> Value:
    """x where it is positive, alpha * (exp(x) - 1) elsewhere.

    >>> elu(-1.0)
    Array(-0.63212055, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    positive = compare.gt(x, 0)
    curved = transcendental.expm1(compare.select(positive, 0, x))
    return wnp.where(positive, x, wnp.multiply(alpha, curved))


def selu(x: Any) -> Value:
    """A scaled `elu` that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    >>> selu(1.0)
    Array(1.050701, dtype=float32, weak_type=True)
    """
    return wnp.multiply(1.0507009873554805, elu(x, 1.6732632423543772))


def celu(x: Any, alpha: Any = 1.0) -> Value:
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere.

    >>> celu(-1.0, 2.0)
    Array(-0.78693867, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    positive = compare.gt(x, 0)
    curved = wnp.expm1(wnp.divide(compare.select(positive, 0, x), alpha))
    return wnp.where(positive, x, wnp.multiply(alpha, curved))


# -- sigmoids ----------------------------------------------------------------------------------


def sigmoid(x: Any) -> Value:
    """1 / (1 + exp(-x)).

    >>> sigmoid(0.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    return transcendental.logistic(promote_inexact_unary(x))


def log_sigmoid(x: Any) -> Value:
    """log(sigmoid(x)), accurate for very negative x.

    >>> log_sigmoid(-100.0)
    Array(-100., dtype=float32, weak_type=True)
    """
    return basis.neg(softplus(basis.neg(promote_inexact_unary(x))))


def tanh(x: Any, /) -> Value:
    """The hyperbolic tangent.

    >>> tanh(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return transcendental.tanh(promote_inexact_unary(x))


def soft_sign(x: Any) -> Value:
    """x / (1 + abs(x)).

    >>> soft_sign(1.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    return wnp.divide(x, wnp.add(wnp.abs(x), 1))


def hard_tanh(x: Any) -> Value:
    """x between -1 and 1, these limits elsewhere.

    >>> hard_tanh(-3.0)
    Array(-1., dtype=float32, weak_type=True)
    """
    return wnp.where(wnp.greater(x, 1), 1, wnp.where(wnp.less(x, -1), -1, x))


def hard_sigmoid(x: Any) -> Value:
    """relu6(x + 3) / 6.

    >>> hard_sigmoid(0.0)
    Array(0.5, dtype=float32, weak_type=True)
    """
    return wnp.divide(relu6(wnp.add(x, 3.0)), 6.0)


def sparse_sigmoid(x: Any) -> Value:
    """0 up to -1, 1 from 1 on, linear between.

    >>> sparse_sigmoid(0.5)
    Array(0.75, dtype=float32, weak_type=True)
    """
    return wnp.multiply(0.5, wnp.clip(wnp.add(x, 1.0), 0.0, 2.0))


# -- gated linear units ------------------------------------------------------------------------


def silu(x: Any) -> Value:
    """x * sigmoid(x), also called swish.

    >>> silu(1.0)
    Array(0.7310586, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    return basis.mul(x, transcendental.logistic(x))


swish = silu


def hard_silu(x: Any) -> Value:
    """x * hard_sigmoid(x), also called hard swish.

    >>> hard_silu(3.0)
    Array(3., dtype=float32, weak_type=True)
    """
    return wnp.multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


def mish(x: Any) -> Value:
    """x * tanh(softplus(x)) (Misra, 2019).

    >>> mish(1.0)
    Array(0.8650984, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    return basis.mul(x, transcendental.tanh(softplus(x)))


#: Beyond this, the tanh in `gelu` is 1 to the last bit, while its argument may overflow.
_GELU_END = 10.0


def gelu(x: Any, approximate: bool = True) -> Value:
    """x times the normal distribution function (Hendrycks and Gimpel, 2016).

    Args:
      x: an array.
      approximate: use the approximation of the distribution function by a tanh.

    >>> gelu(1.0)
    Array(0.841192, dtype=float32, weak_type=True)
    >>> gelu(1.0, approximate=False)
    Array(0.8413447, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    if not approximate:
        half = basis.mul(x, 0.5)
        return basis.mul(half, special.erfc(basis.mul(x, -math.sqrt(0.5))))
    inner = elementwise.clamp(-_GELU_END, x, _GELU_END)
    cubic = basis.mul(basis.mul(elementwise.square(inner), inner), 0.044715)
    bend = transcendental.tanh(basis.mul(basis.add(inner, cubic), math.sqrt(2 / math.pi)))
    return basis.mul(x, basis.mul(basis.add(bend, 1), 0.5))


def glu(x: Any, axis: int = -1) -> Value:
    """The first half along an axis times the sigmoid of the second half.

    Raises:
      ShapeError: when the size of the axis is odd.

    >>> import numpy as np
    >>> glu(np.float32([3.0, 0.0]))
    Array([1.5], dtype=float32)
    """
    x = promote_inexact_unary(x)
    if x.shape[axis] % 2:
        raise errors.ShapeError(
            f"glu halves axis {axis}, whose size must be even; got shape {x.shape}."
        )
    first, second = wnp.split(x, 2, axis)
    return basis.mul(first, transcendental.logistic(second))


# -- smooth rectifiers -------------------------------------------------------------------------


def softplus(x: Any) -> Value:
    """log(1 + exp(x)).

    >>> softplus(0.0)
    Array(0.6931472, dtype=float32, weak_type=True)
    >>> softplus(1000.0)
    Array(1000., dtype=float32, weak_type=True)
    """
    return transcendental.logaddexp(promote_inexact_unary(x), 0)


def squareplus(x: Any, b: Any = 4) -> Value:
    """(x + sqrt(x ** 2 + b)) / 2.

    >>> squareplus(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    return wnp.multiply(wnp.add(x, wnp.hypot(x, wnp.sqrt(b))), 0.5)


def sparse_plus(x: Any) -> Value:
    """0 up to -1, x from 1 on, and the parabola (x + 1) ** 2 / 4 between.

    >>> sparse_plus(0.0)
    Array(0.25, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    between = wnp.square(wnp.add(wnp.clip(x, -1, 1), 1))
    return wnp.where(wnp.less(x, 1), wnp.multiply(between, 0.25), x)


def log1mexp(x: Any) -> Value:
    """log(1 - exp(-x)) for positive x, accurate for small and for large ones.

    Maechler, "Accurately computing log(1 - exp(-|a|))" (2012).

    >>> log1mexp(1e-10)
    Array(-23.02585, dtype=float32, weak_type=True)
    """
    x = promote_inexact_unary(x)
    small = compare.lt(x, math.log(2))
    near = wnp.log(wnp.negative(wnp.expm1(wnp.negative(compare.select(small, x, 1)))))
    far = wnp.log1p(wnp.negative(wnp.exp(wnp.negative(compare.select(small, 1, x)))))
    return wnp.where(small, near, far)


# -- one-hot -----------------------------------------------------------------------------------


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int | Hashable = -1) -> Value:
    """Numbers of classes as vectors: 1 at the class, 0 elsewhere.

    Args:
      x: integers. One that is no class gives zeros.
      num_classes: how many classes there are.
      dtype: dtype of the result; float32 by default.
      axis: where the new axis goes; or the name of a mapped axis of that size, of which every
        example keeps its own entry.

    >>> import numpy as np
    >>> one_hot(np.array([0, 2]), 3)
    Array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    x = as_array(x)
    count = int(num_classes)
    wanted = dtypes.FLOAT32 if dtype is None else dtypes.as_dtype(dtype)
    if not isinstance(axis, int):
        return wnp.equal(x, axis_index(axis)).astype(wanted)
    rank = len(x.shape) + 1
    place = axis + rank if axis < 0 else axis
    if not 0 <= place < rank:
        raise errors.ShapeError(f"one_hot cannot put axis {axis} into {rank} dimensions.")
    classes = wnp.arange(count, dtype=x.dtype)
    classes = wnp.reshape(classes, tuple(count if i == place else 1 for i in range(rank)))
    return wnp.equal(wnp.expand_dims(x, place), classes).astype(wanted)
