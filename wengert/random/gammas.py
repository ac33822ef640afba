"""The gamma distribution and what is made of gamma numbers.

Samples are differentiable in the parameters of the distribution (implicit reparameterization:
see `wengert.primitives.random_gamma`).
"""

from __future__ import annotations

from typing import Any

from wengert import errors
from wengert.core.array import Array, Shape
from wengert.core.dtypes import DType
from wengert.primitives.basis import broadcast_to, reduce_sum, reshape
from wengert.primitives.cast import stop_gradient
from wengert.primitives.elementwise import abs, maximum, sqrt
from wengert.primitives.random_gamma import random_gamma
from wengert.primitives.reduce import reduce_max
from wengert.primitives.transcendental import exp, pow
from wengert.random.arguments import common_shape, float_dtype, parameter, shape_of
from wengert.random.discrete import _rademacher
from wengert.random.inversion import _exponential
from wengert.random.keys import KeyArray, sub_keys, take_key
from wengert.random.normals import _normal


def gamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Gamma numbers: density proportional to x**(a - 1) exp(-x), x >= 0.

    Args:
      key: a random key.
      a: the shape parameter, positive.
      shape: of the result; by default that of `a`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.gamma(random.key(0), 2.0, (2,))
    Array([2.5435853, 2.4191644], dtype=float32)
    """
    dtype = float_dtype("gamma", dtype)
    a = parameter("gamma", a, dtype)
    shape = common_shape("gamma", shape, a.shape)
    return _gamma(take_key("gamma", key), a, shape, log_space=False)


def loggamma(key: Any, a: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Logarithms of gamma numbers, also where these are too small for a float.

    Args:
      key: a random key.
      a: the shape parameter, positive.
      shape: of the result; by default that of `a`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.loggamma(random.key(0), 0.01, (2,))
    Array([ -32.423977, -229.23515 ], dtype=float32)
    """
    dtype = float_dtype("loggamma", dtype)
    a = parameter("loggamma", a, dtype)
    shape = common_shape("loggamma", shape, a.shape)
    return _gamma(take_key("loggamma", key), a, shape, log_space=True)


def _gamma(key: KeyArray, a: Any, shape: Shape, log_space: bool) -> Any:
    a = broadcast_to(a, shape)
    return random_gamma(key._data, a, log_space=log_space, layout=key.impl)


def beta(key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Beta numbers: density proportional to x**(a - 1) (1 - x)**(b - 1), 0 <= x <= 1.

    Args:
      key: a random key.
      a, b: positive.
      shape: of the result; by default that of the parameters.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.beta(random.key(0), 2.0, 3.0, (2,))
    Array([0.16225049, 0.79173154], dtype=float32)
    """
    dtype = float_dtype("beta", dtype)
    a, b = (parameter("beta", x, dtype) for x in (a, b))
    shape = common_shape("beta", shape, a.shape, b.shape)
    key_a, key_b = sub_keys(take_key("beta", key))
    log_a = _gamma(key_a, a, shape, log_space=True)
    log_b = _gamma(key_b, b, shape, log_space=True)
    top = stop_gradient(maximum(log_a, log_b))
    gamma_a, gamma_b = exp(log_a - top), exp(log_b - top)
    return gamma_a / (gamma_a + gamma_b)


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Dirichlet vectors: positive components that add up to 1.

    Args:
      key: a random key.
      alpha: `(..., n)`, the concentrations.
      shape: of the result without its last dimension; by default that of `alpha` without it.
      dtype: a floating dtype; by default float32.

    >>> import wengert.numpy as wnp
    >>> from wengert import random
    >>> random.dirichlet(random.key(0), wnp.array([1.0, 2.0, 3.0]))
    Array([0.04963464, 0.3936033 , 0.55676204], dtype=float32)
    """
    dtype = float_dtype("dirichlet", dtype)
    alpha = parameter("dirichlet", alpha, dtype)
    if not alpha.shape:
        raise errors.ShapeError("dirichlet needs concentrations of shape (..., n), got ().")
    shape = common_shape("dirichlet", shape, alpha.shape[:-1]) + alpha.shape[-1:]
    logs = _gamma(take_key("dirichlet", key), alpha, shape, log_space=True)
    last = len(shape) - 1
    kept = (*shape[:-1], 1)
    top = stop_gradient(reshape(reduce_max(logs, axes=(last,)), shape=kept))
    parts = exp(logs - top)
    return parts / reshape(reduce_sum(parts, axes=(last,)), shape=kept)


def chisquare(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Chi-square numbers: sums of `df` squared normal numbers.

    Args:
      key: a random key.
      df: degrees of freedom, positive.
      shape: of the result; by default that of `df`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.chisquare(random.key(0), 3.0, (2,))
    Array([3.8422465, 3.6238317], dtype=float32)
    """
    dtype = float_dtype("chisquare", dtype)
    df = parameter("chisquare", df, dtype)
    shape = common_shape("chisquare", shape, df.shape)
    return _chisquare(take_key("chisquare", key), df, shape)


def _chisquare(key: KeyArray, df: Any, shape: Shape) -> Any:
    return exp(_gamma(key, df / 2.0, shape, log_space=True)) * 2.0


def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = None) -> Array:
    """F numbers: quotients of chi-square numbers, each over its degrees of freedom.

    Args:
      key: a random key.
      dfnum, dfden: degrees of freedom above and below, positive.
      shape: of the result; by default that of the parameters.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.f(random.key(0), 3.0, 5.0, (2,))
    Array([3.981699  , 0.06423818], dtype=float32)
    """
    dtype = float_dtype("f", dtype)
    dfnum, dfden = (parameter("f", x, dtype) for x in (dfnum, dfden))
    shape = common_shape("f", shape, dfnum.shape, dfden.shape)
    key_den, key_num = sub_keys(take_key("f", key))
    numerator = _chisquare(key_num, dfnum, shape) / dfnum
    return numerator / (_chisquare(key_den, dfden, shape) / dfden)


def t(key: Any, df: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Student's t numbers.

    Args:
      key: a random key.
      df: degrees of freedom, positive.
      shape: of the result; by default that of `df`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.t(random.key(0), 3.0, (2,))
    Array([-0.03056995, -2.3325908 ], dtype=float32)
    """
    dtype = float_dtype("t", dtype)
    df = parameter("t", df, dtype)
    shape = common_shape("t", shape, df.shape)
    key_normal, key_gamma = sub_keys(take_key("t", key))
    half = df / 2.0
    g = _gamma(key_gamma, half, shape, log_space=False)
    return _normal(key_normal, shape, dtype) * sqrt(half / g)


def generalized_normal(key: Any, p: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Numbers with density proportional to exp(-|x|**p).

    Args:
      key: a random key.
      p: the exponent, positive.
      shape: of the result.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.generalized_normal(random.key(0), 1.5, (2,))
    Array([-0.29960674,  1.0520556 ], dtype=float32)
    """
    shape, dtype = (
        shape_of("generalized_normal", shape),
        float_dtype("generalized_normal", dtype),
    )
    p = parameter("generalized_normal", p, dtype)
    return _generalized_normal(take_key("generalized_normal", key), p, shape, dtype)


def _generalized_normal(key: KeyArray, p: Any, shape: Shape, dtype: DType) -> Any:
    key_gamma, key_sign = sub_keys(key)
    g = _gamma(key_gamma, 1.0 / p, shape, log_space=False)
    return _rademacher(key_sign, shape, dtype) * pow(g, 1.0 / p)


def ball(key: Any, d: int, p: Any = 2.0, shape: Any = (), dtype: Any = None) -> Array:
    """Points drawn uniformly from the unit ball of the p-norm.

    Args:
      key: a random key.
      d: the dimension of the space.
      p: of the norm: a positive number.
      shape: of the result without its last dimension, which is `d`.
      dtype: a floating dtype; by default float32.

    F. Barthe, O. Guédon, S. Mendelson, A. Naor, "A probabilistic approach to the geometry of
    the l_p^n-ball" (2005).

    >>> from wengert import random
    >>> random.ball(random.key(0), 2, shape=(2,))
    Array([[ 0.29154798, -0.7957645 ],
           [-0.36523607,  0.8038861 ]], dtype=float32)
    """
    dtype, shape = float_dtype("ball", dtype), shape_of("ball", shape)
    (d,) = shape_of("ball", d)
    p = parameter("ball", p, dtype)
    key_direction, key_radius = sub_keys(take_key("ball", key))
    g = _generalized_normal(key_direction, p, (*shape, d), dtype)
    norms = reduce_sum(pow(abs(g), p), axes=(len(shape),))
    size = pow(norms + _exponential(key_radius, shape, dtype), 1.0 / p)
    return g / reshape(size, shape=(*shape, 1))
