"""Initial values of parameters: functions that make an initializer, `init(key, shape, dtype)`.

The variance-scaling family draws with variance `scale / fan`, where a fan is the number of
inputs or outputs of a unit: the sizes of `in_axis` and `out_axis` times the size of the
receptive field, the axes that are neither (nor batch axes). Draws are those of
`jax.nn.initializers` for the same key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import wengert.numpy as wnp
from wengert import errors, random
from wengert.core import dtypes
from wengert.core.array import Shape
from wengert.core.primitive import Value
from wengert.numpy.axes import axes_of, axis_of, shape_of

#: `init(key, shape, dtype=...)` returns an array.
Initializer = Callable[..., Value]
Axes = int | Sequence[int]

#: Standard deviation of the standard normal distribution between -2 and 2.
_TRUNCATED_DEVIATION = 0.87962566103423978


def _dtype(dtype: Any) -> Any:
    return dtypes.FLOAT32 if dtype is None else dtypes.as_dtype(dtype)


# -- constants ---------------------------------------------------------------------------------


def zeros(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Value:
    """Zeros; an initializer itself.

    >>> zeros(None, (2,))
    Array([0., 0.], dtype=float32)
    """
    return wnp.zeros(shape, _dtype(dtype))


def ones(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Value:
    """Ones; an initializer itself.

    >>> ones(None, (2,))
    Array([1., 1.], dtype=float32)
    """
    return wnp.ones(shape, _dtype(dtype))


def constant(value: Any, dtype: Any = None) -> Initializer:
    """An initializer of one value.

    >>> constant(7.0)(None, (2,))
    Array([7., 7.], dtype=float32)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        return wnp.full(shape, value, dtype=_dtype(dtype))

    return init


# -- plain distributions -----------------------------------------------------------------------


def uniform(scale: Any = 1e-2, dtype: Any = None) -> Initializer:
    """An initializer with the uniform distribution on [0, scale).

    >>> from wengert import random
    >>> uniform(1.0)(random.key(0), (2, 3)).shape
    (2, 3)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        return wnp.multiply(random.uniform(key, shape, _dtype(dtype)), scale)

    return init


def normal(stddev: Any = 1e-2, dtype: Any = None) -> Initializer:
    """An initializer with a normal distribution of mean 0.

    >>> from wengert import random
    >>> normal(1.0)(random.key(0), (2, 3)).shape
    (2, 3)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        return wnp.multiply(random.normal(key, shape, _dtype(dtype)), stddev)

    return init


def truncated_normal(
    stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0
) -> Initializer:
    """An initializer with a normal distribution between `lower` and `upper`, times `stddev`.

    >>> from wengert import random
    >>> truncated_normal(1.0)(random.key(0), (2, 3)).shape
    (2, 3)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        draws = random.truncated_normal(key, lower, upper, shape, _dtype(dtype))
        return wnp.multiply(draws, stddev)

    return init


# -- variance scaling --------------------------------------------------------------------------


class Fans(NamedTuple):
    """How many inputs and outputs a unit has."""

    inputs: float
    outputs: float


def fans(shape: Shape, in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()) -> Fans:
    """Numbers of inputs and outputs of a unit whose parameters have this shape.

    Raises:
      ShapeError: for a shape without two dimensions.

    >>> fans((3, 3, 8, 16))
    Fans(inputs=72.0, outputs=144.0)
    """
    if len(shape) < 2:
        raise errors.ShapeError(
            f"numbers of inputs and outputs need at least two dimensions, got shape {shape}."
        )
    given = in_axis, out_axis, batch_axis
    sizes = [math.prod(shape[a] for a in axes_of(axes, len(shape))) for axes in given]
    field = math.prod(shape) / max(math.prod(sizes), 1)
    return Fans(sizes[0] * field, sizes[1] * field)


def variance_scaling(
    scale: Any,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> Initializer:
    """An initializer whose variance is `scale` over the number of inputs, outputs, or both.

    Args:
      scale: a positive number.
      mode: "fan_in", "fan_out", "fan_avg" (their mean) or "fan_geo_avg" (geometric mean).
      distribution: "truncated_normal", "normal" or "uniform", all with mean 0.
      in_axis: the axis, or axes, of the inputs.
      out_axis: the axis, or axes, of the outputs.
      batch_axis: axes that do not count.
      dtype: dtype of the result; float32 by default.

    >>> from wengert import random
    >>> variance_scaling(1.0, "fan_in", "normal")(random.key(0), (4, 2)).shape
    (4, 2)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        sizes, wanted = shape_of(shape), _dtype(dtype)
        count = _count(mode, fans(sizes, in_axis, out_axis, batch_axis))
        variance = wanted.type(scale / count)
        if distribution == "normal":
            return wnp.multiply(random.normal(key, sizes, wanted), np.sqrt(variance))
        if distribution == "uniform":
            draws = random.uniform(key, sizes, wanted, -1)
            return wnp.multiply(draws, np.sqrt(wanted.type(3) * variance))
        if distribution != "truncated_normal":
            raise ValueError(f"variance_scaling has no distribution {distribution!r}.")
        deviation = np.sqrt(variance) / wanted.type(_TRUNCATED_DEVIATION)
        return wnp.multiply(random.truncated_normal(key, -2, 2, sizes, wanted), deviation)

    return init


def _count(mode: str, number: Fans) -> float:
    counts = {
        "fan_in": number.inputs,
        "fan_out": number.outputs,
        "fan_avg": (number.inputs + number.outputs) / 2,
        "fan_geo_avg": math.sqrt(number.inputs * number.outputs),
    }
    if mode not in counts:
        raise ValueError(f"variance_scaling has the modes {', '.join(counts)}, not {mode!r}.")
    return max(counts[mode], 1.0)


def glorot_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> Initializer:
    """Uniform, variance 2 / (inputs + outputs) (Glorot and Bengio, 2010).

    >>> from wengert import random
    >>> glorot_uniform()(random.key(0), (4, 2)).shape
    (4, 2)
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> Initializer:
    """Truncated normal, variance 2 / (inputs + outputs) (Glorot and Bengio, 2010).

    >>> from wengert import random
    >>> glorot_normal()(random.key(0), (4, 2)).shape
    (4, 2)
    """
    return variance_scaling(
        1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype
    )


def lecun_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> Initializer:
    """Uniform, variance 1 / inputs (LeCun et al., 1998).

    >>> from wengert import random
    >>> lecun_uniform()(random.key(0), (4, 2)).shape
    (4, 2)
    """
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> Initializer:
    """Truncated normal, variance 1 / inputs (LeCun et al., 1998).

    >>> from wengert import random
    >>> lecun_normal()(random.key(0), (4, 2)).shape
    (4, 2)
    """
    return variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype
    )


def he_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> Initializer:
    """Uniform, variance 2 / inputs (He et al., 2015).

    >>> from wengert import random
    >>> he_uniform()(random.key(0), (4, 2)).shape
    (4, 2)
    """
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None
) -> Initializer:
    """Truncated normal, variance 2 / inputs (He et al., 2015).

    >>> from wengert import random
    >>> he_normal()(random.key(0), (4, 2)).shape
    (4, 2)
    """
    return variance_scaling(
        2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype
    )


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


# -- orthogonal matrices -----------------------------------------------------------------------


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An initializer with orthonormal columns (or rows, if there are fewer), uniformly drawn.

    Args:
      scale: a factor.
      column_axis: the axis of the columns; the others together are the rows.
      dtype: dtype of the result; float32 by default.

    >>> from wengert import random
    >>> q = orthogonal()(random.key(0), (3, 3))
    >>> wnp.allclose(q @ q.T, wnp.eye(3), atol=1e-6)
    Array(True, dtype=bool)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        sizes = shape_of(shape)
        if len(sizes) < 2:
            raise errors.ShapeError(
                f"an orthogonal initializer needs two dimensions, got shape {sizes}."
            )
        axis = axis_of(column_axis, len(sizes))
        columns = sizes[axis]
        rows = math.prod(sizes[:axis]) * math.prod(sizes[axis + 1 :])
        if not rows * columns:
            return wnp.zeros(sizes, _dtype(dtype))
        matrix = random.orthogonal(key, rows, (), _dtype(dtype), columns)
        rest = (*sizes[:axis], *sizes[axis + 1 :], columns)
        return wnp.multiply(wnp.moveaxis(wnp.reshape(matrix, rest), -1, axis), scale)

    return init


def delta_orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An initializer for convolution kernels: orthonormal at the centre, zero around it.

    For shapes (*space, inputs, outputs) with one to three spatial dimensions and no more inputs
    than outputs (Xiao et al., 2018).

    >>> from wengert import random
    >>> delta_orthogonal()(random.key(0), (3, 3, 2, 4)).shape
    (3, 3, 2, 4)
    """

    def init(key: Any, shape: Any, dtype: Any = dtype, out_sharding: Any = None) -> Value:
        sizes, wanted = shape_of(shape), _dtype(dtype)
        if len(sizes) not in (3, 4, 5) or sizes[-1] < sizes[-2]:
            raise errors.ShapeError(
                "a delta-orthogonal initializer needs a shape (*space, inputs, outputs) with 1 "
                f"to 3 spatial dimensions and inputs <= outputs; got {sizes}."
            )
        matrix = orthogonal(scale, column_axis, wanted)(key, sizes[-2:])
        centre = tuple((n - 1) // 2 for n in sizes[:-2])
        return wnp.zeros(sizes, wanted).at[centre].set(matrix)

    return init
