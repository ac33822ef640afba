"""Distributions whose quantile function is a formula: one uniform number gives one sample.

All of them are differentiable in their parameters, by way of that formula. The uniform numbers
are kept away from the ends of [0, 1) at which a formula would give an infinity, as far as JAX
does so: not in `rayleigh`, say, which is infinite once in 2**23 float32 samples.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.core.array import Array, Shape
from wengert.core.dtypes import DType
from wengert.primitives.basis import broadcast_to
from wengert.primitives.compare import ge, lt, select
from wengert.primitives.elementwise import abs, sign, sqrt
from wengert.primitives.transcendental import exp, log, log1p, pow, tan
from wengert.random.arguments import (
    common_shape,
    float_dtype,
    float_info,
    parameter,
    shape_of,
)
from wengert.random.keys import KeyArray, take_key
from wengert.random.uniforms import _uniform


def exponential(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Exponential numbers of mean 1: density exp(-x), x >= 0.

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.exponential(random.key(0), (2,))
    Array([0.24372306, 1.630274  ], dtype=float32)
    """
    shape, dtype = shape_of("exponential", shape), float_dtype("exponential", dtype)
    return _exponential(take_key("exponential", key), shape, dtype)


def _exponential(key: KeyArray, shape: Shape, dtype: DType) -> Any:
    return -log1p(-_uniform(key, shape, dtype))


def gumbel(key: Any, shape: Any = (), dtype: Any = None, mode: str | None = None) -> Array:
    """Standard Gumbel numbers: distribution function exp(-exp(-x)).

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.
      mode: `"low"` (the default) takes one uniform number per sample, and the greatest float32
        sample is about 16; `"high"` takes two, and the greatest is about 32.

    >>> from wengert import random
    >>> random.gumbel(random.key(0), (2,))
    Array([-0.42599323,  1.5232526 ], dtype=float32)
    """
    shape, dtype = shape_of("gumbel", shape), float_dtype("gumbel", dtype)
    check_mode("gumbel", mode)
    return _gumbel(take_key("gumbel", key), shape, dtype, mode)


def check_mode(name: str, mode: Any) -> None:
    """Refuse a precision mode that does not exist."""
    if mode not in (None, "low", "high"):
        raise ValueError(f"{name} has the modes 'low' and 'high', got {mode!r}.")


def _gumbel(key: KeyArray, shape: Shape, dtype: DType, mode: str | None) -> Any:
    info = float_info(dtype)
    tiny = float(info.tiny)
    if mode != "high":
        return -log(-log(_uniform(key, shape, dtype, tiny)))
    both = _uniform(key, (2, *shape), dtype)
    high, low = both[0], both[1]
    finer = high + (low * 2.0**-info.nmant + tiny)
    return -log(-log1p(-select(ge(high, 0.5), high, finer)))


def laplace(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Laplace numbers: density exp(-|x|) / 2.

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.laplace(random.key(0), (2,))
    Array([ 0.8379631 , -0.93712705], dtype=float32)
    """
    shape, dtype = shape_of("laplace", shape), float_dtype("laplace", dtype)
    low = -1.0 + float(float_info(dtype).epsneg)
    u = _uniform(take_key("laplace", key), shape, dtype, low)
    return sign(u) * log1p(-abs(u))


def logistic(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Logistic numbers: distribution function 1 / (1 + exp(-x)).

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.logistic(random.key(0), (2,))
    Array([-1.2873874,  1.4122725], dtype=float32)
    """
    shape, dtype = shape_of("logistic", shape), float_dtype("logistic", dtype)
    u = _uniform(take_key("logistic", key), shape, dtype, float(float_info(dtype).tiny))
    return log(u) - log1p(-u)


def cauchy(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Cauchy numbers: density 1 / (pi (1 + x**2)).

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.cauchy(random.key(0), (2,))
    Array([-1.2378461,  1.4145662], dtype=float32)
    """
    shape, dtype = shape_of("cauchy", shape), float_dtype("cauchy", dtype)
    u = _uniform(take_key("cauchy", key), shape, dtype, float(float_info(dtype).eps))
    return tan((u - 0.5) * math.pi)


def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Pareto numbers: density b / x**(b + 1), x >= 1.

    Args:
      key: a random key.
      b: the exponent, positive.
      shape: of the result; by default that of `b`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.pareto(random.key(0), 3.0, (2,))
    Array([1.0846323, 1.7218938], dtype=float32)
    """
    dtype = float_dtype("pareto", dtype)
    b = parameter("pareto", b, dtype)
    shape = common_shape("pareto", shape, b.shape)
    return exp(_exponential(take_key("pareto", key), shape, dtype) / b)


def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Rayleigh numbers: density x / scale**2 exp(-x**2 / (2 scale**2)), x >= 0.

    Args:
      key: a random key.
      scale: positive.
      shape: of the result; by default that of `scale`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.rayleigh(random.key(0), 2.0, (2,))
    Array([3.4998405, 1.3206109], dtype=float32)
    """
    dtype = float_dtype("rayleigh", dtype)
    scale = parameter("rayleigh", scale, dtype)
    shape = common_shape("rayleigh", shape, scale.shape)
    u = _uniform(take_key("rayleigh", key), shape, dtype)
    return scale * sqrt(log(u) * -2.0)


def weibull_min(
    key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = None
) -> Array:
    """Weibull numbers: distribution function 1 - exp(-(x / scale)**concentration), x >= 0.

    Args:
      key: a random key.
      scale, concentration: positive.
      shape: of the uniform numbers; the parameters broadcast against it.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.weibull_min(random.key(0), 1.0, 2.0, (2,))
    Array([0.49368316, 1.2768219 ], dtype=float32)
    """
    dtype, shape = float_dtype("weibull_min", dtype), shape_of("weibull_min", shape)
    scale, concentration = (parameter("weibull_min", x, dtype) for x in (scale, concentration))
    e = _exponential(take_key("weibull_min", key), shape, dtype)
    return pow(e, 1.0 / concentration) * scale


def triangular(
    key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = None
) -> Array:
    """Numbers with a triangular density, from `left` to `right` with its top at `mode`.

    Args:
      key: a random key.
      left, mode, right: with left <= mode <= right and left < right.
      shape: of the result; by default that of the parameters.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.triangular(random.key(0), -1.0, 0.0, 1.0, (2,))
    Array([-0.34228373,  0.37409925], dtype=float32)
    """
    dtype = float_dtype("triangular", dtype)
    left, mode, right = (parameter("triangular", x, dtype) for x in (left, mode, right))
    shape = common_shape("triangular", shape, left.shape, mode.shape, right.shape)
    left, mode, right = (broadcast_to(x, shape) for x in (left, mode, right))
    u = _uniform(take_key("triangular", key), shape, dtype)
    width = right - left
    rising = left + sqrt(u * width * (mode - left))
    falling = right - sqrt((1.0 - u) * width * (right - mode))
    return select(lt(u, (mode - left) / width), rising, falling)
