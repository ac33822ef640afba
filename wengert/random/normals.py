"""The normal distribution and what is made of normal numbers.

One uniform number gives one normal number, through the inverse of the error function in the
form that JAX has it (`normal_quantile`). Vectors, matrices and the distributions of functions
of normal numbers follow from these. Samples are differentiable in location, scale, covariance
and limits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape
from wengert.core.dtypes import DType
from wengert.core.primitive import Value
from wengert.numpy.contract import matvec
from wengert.numpy.promotion import promote_inexact
from wengert.primitives.basis import broadcast_to, reduce_sum
from wengert.primitives.basis import transpose as permute
from wengert.primitives.cast import make_complex, stop_gradient
from wengert.primitives.compare import le, select
from wengert.primitives.elementwise import clamp, nextafter, sign, sqrt, square
from wengert.primitives.linalg import cholesky, qr
from wengert.primitives.matrices import adjoint, as_row, diagonal
from wengert.primitives.random_bits import normal_quantile
from wengert.primitives.special import erf
from wengert.primitives.spectral import eigh, svd
from wengert.primitives.transcendental import exp
from wengert.random.arguments import (
    common_shape,
    float_dtype,
    parameter,
    shape_of,
)
from wengert.random.discrete import _rademacher
from wengert.random.keys import KeyArray, sub_keys, take_key
from wengert.random.uniforms import _uniform


def normal(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Standard normal numbers.

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating or complex dtype; by default float32. Complex numbers have independent
        parts of variance 1/2.

    >>> from wengert import random
    >>> random.normal(random.key(0), (3,))
    Array([ 1.8160863 , -0.48262316,  0.33988908], dtype=float32)
    """
    return _normal(
        take_key("normal", key), shape_of("normal", shape), _inexact("normal", dtype)
    )


def _inexact(name: str, dtype: Any) -> DType:
    if dtype is not None and dtypes.is_complex(dtypes.as_dtype(dtype)):
        return dtypes.as_dtype(dtype)
    return float_dtype(name, dtype)


def _normal(key: KeyArray, shape: Shape, dtype: DType) -> Any:
    if dtypes.is_complex(dtype):
        part = dtypes.real_dtype(dtype)
        real, imaginary = (_normal(k, shape, part) for k in sub_keys(key))
        return make_complex(real, imaginary) / 2.0**0.5
    low = float(np.nextafter(dtype.type(-1), dtype.type(0)))
    return normal_quantile(_uniform(key, shape, dtype, low))


def truncated_normal(
    key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None
) -> Array:
    """Normal numbers, given that they lie between `lower` and `upper`.

    Args:
      key: a random key.
      lower, upper: ends of the open interval.
      shape: of the result; by default that of `lower` and `upper`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.truncated_normal(random.key(0), -1.0, 1.0, (3,))
    Array([ 0.9065213 , -0.32263696,  0.22965004], dtype=float32)
    """
    dtype = float_dtype("truncated_normal", dtype)
    lower, upper = (parameter("truncated_normal", x, dtype) for x in (lower, upper))
    shape = common_shape("truncated_normal", shape, lower.shape, upper.shape)
    sqrt2 = float(dtype.type(2.0**0.5))
    u = _uniform(
        take_key("truncated_normal", key), shape, dtype, erf(lower / sqrt2), erf(upper / sqrt2)
    )
    low = nextafter(stop_gradient(lower), float("inf"))
    high = nextafter(stop_gradient(upper), float("-inf"))
    return clamp(low, normal_quantile(u), high)


def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = None) -> Array:
    """Numbers whose logarithms are normal, with mean 0 and standard deviation `sigma`.

    Args:
      key: a random key.
      sigma: the standard deviation of the logarithms.
      shape: of the result; by default that of `sigma`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.lognormal(random.key(0), 0.5, (2,))
    Array([0.6754454, 1.5345273], dtype=float32)
    """
    dtype = float_dtype("lognormal", dtype)
    sigma = parameter("lognormal", sigma, dtype)
    shape = common_shape("lognormal", shape, sigma.shape)
    return exp(_normal(take_key("lognormal", key), shape, dtype) * sigma)


def maxwell(key: Any, shape: Any = (), dtype: Any = None) -> Array:
    """Maxwell numbers: lengths of normal vectors in three dimensions.

    Args:
      key: a random key.
      shape: of the result.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.maxwell(random.key(0), (2,))
    Array([1.4505162, 1.2781664], dtype=float32)
    """
    shape, dtype = shape_of("maxwell", shape), float_dtype("maxwell", dtype)
    return _maxwell(take_key("maxwell", key), shape, dtype)


def _maxwell(key: KeyArray, shape: Shape, dtype: DType) -> Any:
    vectors = _normal(key, (*shape, 3), dtype)
    return sqrt(reduce_sum(square(vectors), axes=(len(shape),)))


def double_sided_maxwell(
    key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None
) -> Array:
    """Maxwell numbers with random signs, times `scale`, plus `loc`.

    Args:
      key: a random key.
      loc, scale: location and scale.
      shape: put before the common shape of `loc` and `scale`; where it is empty, that common
        shape is put twice, as JAX does.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.double_sided_maxwell(random.key(0), 0.0, 1.0, (2,))
    Array([-0.91782945,  1.7049214 ], dtype=float32)
    """
    name = "double_sided_maxwell"
    dtype, shape = float_dtype(name, dtype), shape_of(name, shape)
    loc, scale = (parameter(name, x, dtype) for x in (loc, scale))
    common = common_shape(name, None, loc.shape, scale.shape)
    shape = (shape or common) + common
    size_key, sign_key = sub_keys(take_key(name, key))
    size = _maxwell(size_key, shape, dtype)
    return _rademacher(sign_key, shape, dtype) * size * scale + loc


def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = None) -> Array:
    """Wald (inverse Gaussian) numbers of the given mean and of scale 1.

    Args:
      key: a random key.
      mean: positive.
      shape: of the result; by default that of `mean`.
      dtype: a floating dtype; by default float32.

    >>> from wengert import random
    >>> random.wald(random.key(0), 2.0, (2,))
    Array([2.1449945 , 0.75963616], dtype=float32)
    """
    dtype = float_dtype("wald", dtype)
    mean = parameter("wald", mean, dtype)
    shape = common_shape("wald", shape, mean.shape)
    mean = broadcast_to(mean, shape)
    normal_key, uniform_key = sub_keys(take_key("wald", key))
    y = square(_normal(normal_key, shape, dtype))
    z = _uniform(uniform_key, shape, dtype)
    mean2 = square(mean)
    root = sqrt(mean * 4.0 * y + mean2 * square(y))
    x = mean + mean2 * y / 2.0 - mean / 2.0 * root
    return select(le(z, mean / (mean + x)), x, mean2 / x)


def multivariate_normal(
    key: Any,
    mean: Any,
    cov: Any,
    shape: Any = None,
    dtype: Any = None,
    method: str = "cholesky",
) -> Array:
    """Normal vectors with a mean and a covariance matrix.

    Args:
      key: a random key.
      mean: `(..., n)`.
      cov: `(..., n, n)`, positive definite; leading dimensions broadcast with those of `mean`.
      shape: of the result without its last dimension; by default what broadcasting gives.
      dtype: a floating dtype; by default that of `mean` and `cov`.
      method: how `cov` is factored: `"cholesky"`, or `"eigh"` or `"svd"` for singular matrices.

    >>> import wengert.numpy as wnp
    >>> from wengert import random
    >>> cov = wnp.array([[2.0, 0.5], [0.5, 1.0]])
    >>> random.multivariate_normal(random.key(0), wnp.zeros(2), cov)
    Array([-1.1098267 ,  0.52367413], dtype=float32)
    """
    name = "multivariate_normal"
    mean, cov = promote_inexact(mean, cov)
    dtype = float_dtype(name, mean.dtype if dtype is None else dtype)
    if method not in ("cholesky", "eigh", "svd"):
        raise ValueError(
            f"{name} has the methods 'cholesky', 'eigh' and 'svd', not {method!r}."
        )
    n = mean.shape[-1] if mean.shape else None
    if n is None or cov.shape[-2:] != (n, n):
        raise errors.ShapeError(
            f"{name} needs a mean of shape (..., n) and a covariance of shape (..., n, n), got "
            f"{mean.shape} and {cov.shape}."
        )
    shape = common_shape(name, shape, mean.shape[:-1], cov.shape[:-2])
    noise = _normal(take_key(name, key), (*shape, n), dtype)
    return mean + matvec(_factor(cov, method), noise)


def _factor(cov: Value, method: str) -> Value:
    """A matrix F with F F' = cov."""
    cov = (cov + adjoint(cov)) * 0.5  # so that both triangles share the derivative
    if method == "cholesky":
        return cholesky(cov)
    if method == "eigh":
        values, vectors = eigh(cov)
    else:
        vectors, values, _ = svd(cov)
    return vectors * as_row(sqrt(values))


def orthogonal(
    key: Any, n: int, shape: Any = (), dtype: Any = None, m: int | None = None
) -> Array:
    """Matrices drawn uniformly from the orthogonal group; unitary ones for complex dtypes.

    Args:
      key: a random key.
      n: the number of rows.
      shape: dimensions before those of the matrices.
      dtype: a floating or complex dtype; by default float32.
      m: the number of columns; by default `n`. With m > n the rows are orthonormal, with m < n
        the columns.

    >>> from wengert import random
    >>> q = random.orthogonal(random.key(0), 3)
    >>> q.shape
    (3, 3)
    """
    dtype = _inexact("orthogonal", dtype)
    n, m = shape_of("orthogonal", (n, n if m is None else m))
    shape = shape_of("orthogonal", shape)
    tall = _normal(take_key("orthogonal", key), (*shape, max(n, m), min(n, m)), dtype)
    q, r = qr(tall)
    out = q * as_row(sign(diagonal(r)))
    rank = len(shape)
    transposed = (*range(rank), rank + 1, rank)
    return out if n >= m else permute(out, permutation=transposed)
