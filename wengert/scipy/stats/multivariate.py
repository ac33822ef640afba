"""Distributions of vectors: multivariate normal, Dirichlet, multinomial.

The vector is the last dimension of the argument (the first one for `dirichlet`, as in SciPy);
all other dimensions are independent examples.
"""

from __future__ import annotations

import math
from typing import Any

import wengert.numpy as wnp
from wengert import errors
from wengert.core.primitive import Value
from wengert.numpy.promotion import promote_inexact
from wengert.primitives import linalg
from wengert.scipy import special
from wengert.scipy.stats.continuous import norm


class MultivariateNormal:
    """The normal distribution of vectors.

    >>> import numpy as np
    >>> from wengert.scipy.stats import multivariate_normal
    >>> multivariate_normal.logpdf(np.zeros(2, np.float32), 0.0, np.eye(2, dtype=np.float32))
    Array(-1.837877, dtype=float32)
    """

    def logpdf(self, x: Any, mean: Any, cov: Any, allow_singular: Any = None) -> Value:
        """The logarithm of the density at `x`.

        Args:
          x: vectors, along the last dimension.
          mean: a vector, or a number for all components.
          cov: positive definite matrices, along the last two dimensions; or a variance.
          allow_singular: must be None or False.

        Raises:
          numpy.linalg.LinAlgError: when a matrix is not positive definite.
        """
        if allow_singular:
            raise ValueError("multivariate_normal needs a positive definite covariance.")
        x, mean, cov = promote_inexact(x, mean, cov)
        if not mean.shape and not cov.shape:
            return norm.logpdf(x, mean, wnp.sqrt(cov))
        size = mean.shape[-1] if mean.shape else cov.shape[-1]
        if not cov.shape:
            cov = wnp.multiply(wnp.eye(size, dtype=cov.dtype), cov)
        if cov.shape[-2:] != (size, size) or x.shape[-1:] not in ((size,), ()):
            raise errors.ShapeError(
                f"multivariate_normal got x of shape {x.shape}, mean of shape {mean.shape}, "
                f"covariance of shape {cov.shape}: the last sizes must agree."
            )
        factor = linalg.cholesky(cov)
        centered = wnp.subtract(x, mean)
        lead = wnp.broadcast_shapes(centered.shape[:-1], cov.shape[:-2])
        column = wnp.broadcast_to(centered[..., None], (*lead, size, 1))
        factors = wnp.broadcast_to(factor, (*lead, size, size))
        white = linalg.triangular_solve(factors, column, left_side=True, lower=True)
        distance = wnp.sum(wnp.square(white[..., 0]), axis=-1)
        spread = wnp.sum(wnp.log(wnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
        constant = size / 2 * math.log(2 * math.pi)
        return wnp.subtract(wnp.multiply(distance, -0.5), wnp.add(spread, constant))

    def pdf(self, x: Any, mean: Any, cov: Any) -> Value:
        """The density at `x` (see `logpdf`)."""
        return wnp.exp(self.logpdf(x, mean, cov))


class Dirichlet:
    """The Dirichlet distribution of probability vectors.

    >>> import numpy as np
    >>> from wengert.scipy.stats import dirichlet
    >>> dirichlet.pdf(np.float32([0.25, 0.75]), np.float32([1, 1]))
    Array(1., dtype=float32)
    """

    def logpdf(self, x: Any, alpha: Any) -> Value:
        """The logarithm of the density at `x`.

        Args:
          x: probabilities along the first dimension, or all but the last of them.
          alpha: a vector of positive numbers.
        """
        x, alpha = promote_inexact(x, alpha)
        if len(alpha.shape) != 1 or x.shape[:1] not in (alpha.shape, (alpha.shape[0] - 1,)):
            raise errors.ShapeError(
                f"dirichlet got x of shape {x.shape} and alpha of shape {alpha.shape}: the "
                "first size of x must be that of alpha, or one less."
            )
        if x.shape[0] < alpha.shape[0]:
            last = wnp.subtract(1, wnp.sum(x, axis=0, keepdims=True))
            x = wnp.concatenate([x, last], axis=0)
        total = wnp.sum(x, axis=0)
        inside = wnp.logical_and(
            wnp.all(wnp.greater_equal(x, 0), axis=0),
            wnp.less(wnp.abs(wnp.subtract(total, 1)), 1e-6),
        )
        weights = wnp.reshape(alpha, (-1,) + (1,) * (len(x.shape) - 1))
        powers = wnp.sum(special.xlogy(wnp.subtract(weights, 1), x), axis=0)
        constant = wnp.subtract(
            wnp.sum(special.gammaln(alpha)), special.gammaln(wnp.sum(alpha))
        )
        return wnp.where(inside, wnp.subtract(powers, constant), -math.inf)

    def pdf(self, x: Any, alpha: Any) -> Value:
        """The density at `x` (see `logpdf`)."""
        return wnp.exp(self.logpdf(x, alpha))


class Multinomial:
    """Numbers of outcomes of each kind in n trials.

    >>> import numpy as np
    >>> from wengert.scipy.stats import multinomial
    >>> multinomial.pmf(np.array([1, 1]), 2, np.float32([0.5, 0.5]))
    Array(0.5, dtype=float32)
    """

    def logpmf(self, x: Any, n: Any, p: Any) -> Value:
        """The logarithm of the probability of `x`.

        Args:
          x: whole numbers, along the last dimension.
          n: the number of trials.
          p: probabilities of the kinds, along the last dimension.
        """
        p, x, n = promote_inexact(p, x, n)
        ways = wnp.subtract(
            special.gammaln(wnp.add(n, 1)), wnp.sum(special.gammaln(wnp.add(x, 1)), axis=-1)
        )
        value = wnp.add(ways, wnp.sum(special.xlogy(x, p), axis=-1))
        inside = wnp.logical_and(
            wnp.equal(wnp.sum(x, axis=-1), n), wnp.all(wnp.greater_equal(x, 0), axis=-1)
        )
        return wnp.where(inside, value, -math.inf)

    def pmf(self, x: Any, n: Any, p: Any) -> Value:
        """The probability of `x` (see `logpmf`)."""
        return wnp.exp(self.logpmf(x, n, p))


multivariate_normal = MultivariateNormal()
dirichlet = Dirichlet()
multinomial = Multinomial()
