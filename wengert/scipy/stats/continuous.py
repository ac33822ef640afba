"""Continuous distributions: standardized densities, distribution functions, quantiles.

Each class says in its first line which distribution it is, and for which standardized numbers;
location and scale are applied by `distributions`. Tails are computed where they are small,
never as one minus something close to one.
"""

from __future__ import annotations

import math

import wengert.numpy as wnp
from wengert.core.primitive import Value
from wengert.nn.functions import log1mexp, softplus
from wengert.scipy import special
from wengert.scipy.stats.distributions import Continuous, Density, Invertible

_LOG_SQRT_TWO_PI = math.log(2 * math.pi) / 2


class Norm(Invertible):
    """The normal distribution.

    >>> from wengert.scipy.stats import norm
    >>> norm.logpdf(1.0, loc=0.0, scale=2.0)
    Array(-1.7370857, dtype=float32, weak_type=True)
    """

    def _logpdf(self, y: Value) -> Value:
        return wnp.subtract(wnp.multiply(wnp.square(y), -0.5), _LOG_SQRT_TWO_PI)

    def _cdf(self, y: Value) -> Value:
        return special.ndtr(y)

    def _sf(self, y: Value) -> Value:
        return special.ndtr(wnp.negative(y))

    def _logcdf(self, y: Value) -> Value:
        return special.log_ndtr(y)

    def _logsf(self, y: Value) -> Value:
        return special.log_ndtr(wnp.negative(y))

    def _ppf(self, q: Value) -> Value:
        return special.ndtri(q)

    def _isf(self, q: Value) -> Value:
        return wnp.negative(special.ndtri(q))


def _log_mass(a: Value, b: Value) -> Value:
    """The logarithm of the probability of a standard normal number between a and b."""
    right = wnp.greater(a, 0)  # the tail in which logarithms are accurate is the left one
    low = special.log_ndtr(wnp.where(right, wnp.negative(b), a))
    high = special.log_ndtr(wnp.where(right, wnp.negative(a), b))
    return wnp.add(high, log1mexp(wnp.subtract(high, low)))


class Truncnorm(Continuous):
    """The normal distribution between a and b (standardized)."""

    shapes = ("a", "b")

    def _outside(self, y: Value, *shapes: Value) -> Value:
        a, b = shapes
        return wnp.logical_or(wnp.less(y, a), wnp.greater(y, b))

    def _logpdf(self, y: Value, a: Value, b: Value) -> Value:
        return wnp.subtract(norm._logpdf(y), _log_mass(a, b))

    def _logcdf(self, y: Value, a: Value, b: Value) -> Value:
        inside = wnp.clip(y, a, b)
        value = wnp.subtract(_log_mass(a, inside), _log_mass(a, b))
        return wnp.where(wnp.less_equal(y, a), -math.inf, value)

    def _logsf(self, y: Value, a: Value, b: Value) -> Value:
        inside = wnp.clip(y, a, b)
        value = wnp.subtract(_log_mass(inside, b), _log_mass(a, b))
        return wnp.where(wnp.greater_equal(y, b), -math.inf, value)

    def _sf(self, y: Value, a: Value, b: Value) -> Value:
        return wnp.exp(self._logsf(y, a, b))


class Uniform(Invertible):
    """The uniform distribution on [0, 1]."""

    support = (0.0, 1.0)

    def _logpdf(self, y: Value) -> Value:
        return wnp.multiply(y, 0)  # NaN stays

    def _cdf(self, y: Value) -> Value:
        return y

    def _ppf(self, q: Value) -> Value:
        return q


class Expon(Invertible):
    """The exponential distribution, on [0, inf)."""

    support = (0.0, math.inf)

    def _logpdf(self, y: Value) -> Value:
        return wnp.negative(y)

    def _cdf(self, y: Value) -> Value:
        return wnp.negative(wnp.expm1(wnp.negative(y)))

    def _sf(self, y: Value) -> Value:
        return wnp.exp(wnp.negative(y))

    def _logsf(self, y: Value) -> Value:
        return wnp.negative(y)

    def _ppf(self, q: Value) -> Value:
        return wnp.negative(wnp.log1p(wnp.negative(q)))

    def _isf(self, q: Value) -> Value:
        return wnp.negative(wnp.log(q))


class Gamma(Continuous):
    """The gamma distribution with shape a, on [0, inf)."""

    shapes = ("a",)
    support = (0.0, math.inf)

    def _logpdf(self, y: Value, a: Value) -> Value:
        powers = wnp.subtract(special.xlogy(wnp.subtract(a, 1), y), y)
        return wnp.subtract(powers, special.gammaln(a))

    def _cdf(self, y: Value, a: Value) -> Value:
        return special.gammainc(a, wnp.maximum(y, 0))

    def _sf(self, y: Value, a: Value) -> Value:
        return special.gammaincc(a, wnp.maximum(y, 0))


class Chi2(Continuous):
    """The chi-squared distribution with df degrees of freedom, on [0, inf)."""

    shapes = ("df",)
    support = (0.0, math.inf)

    def _logpdf(self, y: Value, df: Value) -> Value:
        half = gamma._logpdf(wnp.multiply(y, 0.5), wnp.multiply(df, 0.5))
        return wnp.subtract(half, math.log(2))

    def _cdf(self, y: Value, df: Value) -> Value:
        return gamma._cdf(wnp.multiply(y, 0.5), wnp.multiply(df, 0.5))

    def _sf(self, y: Value, df: Value) -> Value:
        return gamma._sf(wnp.multiply(y, 0.5), wnp.multiply(df, 0.5))


class Beta(Continuous):
    """The beta distribution with shapes a and b, on [0, 1]."""

    shapes = ("a", "b")
    support = (0.0, 1.0)

    def _logpdf(self, y: Value, a: Value, b: Value) -> Value:
        left = special.xlogy(wnp.subtract(a, 1), y)
        right = special.xlog1py(wnp.subtract(b, 1), wnp.negative(y))
        return wnp.subtract(wnp.add(left, right), special.betaln(a, b))

    def _cdf(self, y: Value, a: Value, b: Value) -> Value:
        return special.betainc(a, b, wnp.clip(y, 0, 1))

    def _sf(self, y: Value, a: Value, b: Value) -> Value:
        return special.betainc(b, a, wnp.subtract(1, wnp.clip(y, 0, 1)))


class T(Continuous):
    """Student's t distribution with df degrees of freedom."""

    shapes = ("df",)

    def _logpdf(self, y: Value, df: Value) -> Value:
        half = wnp.multiply(wnp.add(df, 1), 0.5)
        constant = wnp.subtract(special.gammaln(half), special.gammaln(wnp.multiply(df, 0.5)))
        constant = wnp.subtract(constant, wnp.multiply(wnp.log(wnp.multiply(df, math.pi)), 0.5))
        spread = wnp.log1p(wnp.divide(wnp.square(y), df))
        return wnp.subtract(constant, wnp.multiply(half, spread))

    def _cdf(self, y: Value, df: Value) -> Value:
        square = wnp.square(y)
        # half of the probability of numbers that are further from 0 than y
        share = wnp.divide(df, wnp.add(df, square))
        tail = wnp.multiply(special.betainc(wnp.multiply(df, 0.5), 0.5, share), 0.5)
        return wnp.where(wnp.less(y, 0), tail, wnp.subtract(1, tail))

    def _sf(self, y: Value, df: Value) -> Value:
        return self._cdf(wnp.negative(y), df)


class Cauchy(Invertible):
    """The Cauchy distribution."""

    def _logpdf(self, y: Value) -> Value:
        return wnp.subtract(-math.log(math.pi), wnp.log1p(wnp.square(y)))

    def _cdf(self, y: Value) -> Value:
        return wnp.divide(wnp.arctan2(1, wnp.negative(y)), math.pi)

    def _sf(self, y: Value) -> Value:
        return wnp.divide(wnp.arctan2(1, y), math.pi)

    def _ppf(self, q: Value) -> Value:
        return wnp.tan(wnp.multiply(wnp.subtract(q, 0.5), math.pi))

    def _isf(self, q: Value) -> Value:
        return wnp.negative(self._ppf(q))


class Laplace(Invertible):
    """The Laplace distribution."""

    def _logpdf(self, y: Value) -> Value:
        return wnp.subtract(-math.log(2), wnp.abs(y))

    def _cdf(self, y: Value) -> Value:
        tail = wnp.multiply(wnp.exp(wnp.negative(wnp.abs(y))), 0.5)
        return wnp.where(wnp.less(y, 0), tail, wnp.subtract(1, tail))

    def _sf(self, y: Value) -> Value:
        return self._cdf(wnp.negative(y))

    def _ppf(self, q: Value) -> Value:
        low = wnp.less(q, 0.5)
        tail = wnp.log(wnp.multiply(wnp.where(low, q, wnp.subtract(1, q)), 2))
        return wnp.where(low, tail, wnp.negative(tail))

    def _isf(self, q: Value) -> Value:
        return wnp.negative(self._ppf(q))


class Logistic(Invertible):
    """The logistic distribution."""

    def _logpdf(self, y: Value) -> Value:
        return wnp.subtract(wnp.negative(y), wnp.multiply(softplus(wnp.negative(y)), 2))

    def _cdf(self, y: Value) -> Value:
        return special.expit(y)

    def _sf(self, y: Value) -> Value:
        return special.expit(wnp.negative(y))

    def _logcdf(self, y: Value) -> Value:
        return wnp.negative(softplus(wnp.negative(y)))

    def _logsf(self, y: Value) -> Value:
        return wnp.negative(softplus(y))

    def _ppf(self, q: Value) -> Value:
        return special.logit(q)

    def _isf(self, q: Value) -> Value:
        return wnp.negative(special.logit(q))


class Pareto(Invertible):
    """The Pareto distribution with shape b, on [1, inf)."""

    shapes = ("b",)
    support = (1.0, math.inf)

    def _logpdf(self, y: Value, b: Value) -> Value:
        return wnp.subtract(wnp.log(b), wnp.multiply(wnp.add(b, 1), wnp.log(y)))

    def _cdf(self, y: Value, b: Value) -> Value:
        return wnp.negative(wnp.expm1(self._logsf(y, b)))

    def _sf(self, y: Value, b: Value) -> Value:
        return wnp.exp(self._logsf(y, b))

    def _logsf(self, y: Value, b: Value) -> Value:
        return wnp.negative(wnp.multiply(b, wnp.log(y)))

    def _ppf(self, q: Value, b: Value) -> Value:
        return wnp.exp(wnp.negative(wnp.divide(wnp.log1p(wnp.negative(q)), b)))

    def _isf(self, q: Value, b: Value) -> Value:
        return wnp.exp(wnp.negative(wnp.divide(wnp.log(q), b)))


class Gumbel_R(Invertible):
    """The Gumbel distribution of maxima, with its long tail on the right."""

    def _logpdf(self, y: Value) -> Value:
        return wnp.negative(wnp.add(y, wnp.exp(wnp.negative(y))))

    def _logcdf(self, y: Value) -> Value:
        return wnp.negative(wnp.exp(wnp.negative(y)))

    def _sf(self, y: Value) -> Value:
        return wnp.negative(wnp.expm1(self._logcdf(y)))

    def _ppf(self, q: Value) -> Value:
        return wnp.negative(wnp.log(wnp.negative(wnp.log(q))))

    def _isf(self, q: Value) -> Value:
        return wnp.negative(wnp.log(wnp.negative(wnp.log1p(wnp.negative(q)))))


class Gumbel_L(Invertible):
    """The Gumbel distribution of minima, with its long tail on the left."""

    def _logpdf(self, y: Value) -> Value:
        return gumbel_r._logpdf(wnp.negative(y))

    def _cdf(self, y: Value) -> Value:
        return gumbel_r._sf(wnp.negative(y))

    def _sf(self, y: Value) -> Value:
        return gumbel_r._cdf(wnp.negative(y))

    def _logsf(self, y: Value) -> Value:
        return gumbel_r._logcdf(wnp.negative(y))

    def _ppf(self, q: Value) -> Value:
        return wnp.negative(gumbel_r._isf(q))

    def _isf(self, q: Value) -> Value:
        return wnp.negative(gumbel_r._ppf(q))


class Gennorm(Continuous):
    """The generalized normal distribution with exponent beta."""

    shapes = ("beta",)

    def _logpdf(self, y: Value, beta: Value) -> Value:
        constant = wnp.subtract(
            wnp.log(wnp.multiply(beta, 0.5)), special.gammaln(wnp.divide(1, beta))
        )
        return wnp.subtract(constant, wnp.power(wnp.abs(y), beta))

    def _cdf(self, y: Value, beta: Value) -> Value:
        power = wnp.power(wnp.abs(y), beta)
        tail = wnp.multiply(special.gammaincc(wnp.divide(1, beta), power), 0.5)
        return wnp.where(wnp.less(y, 0), tail, wnp.subtract(1, tail))

    def _sf(self, y: Value, beta: Value) -> Value:
        return self._cdf(wnp.negative(y), beta)


class Vonmises(Density):
    """The von Mises distribution of angles, with concentration kappa."""

    shapes = ("kappa",)

    def _logpdf(self, y: Value, kappa: Value) -> Value:
        bend = wnp.multiply(kappa, wnp.subtract(wnp.cos(y), 1))
        return wnp.subtract(bend, wnp.log(wnp.multiply(special.i0e(kappa), 2 * math.pi)))


class Wrapcauchy(Density):
    """The wrapped Cauchy distribution of angles in [0, 2 pi], with shape c."""

    shapes = ("c",)
    support = (0.0, 2 * math.pi)

    def _logpdf(self, y: Value, c: Value) -> Value:
        square = wnp.square(c)
        spread = wnp.subtract(wnp.add(square, 1), wnp.multiply(wnp.multiply(c, 2), wnp.cos(y)))
        constant = wnp.subtract(wnp.log1p(wnp.negative(square)), math.log(2 * math.pi))
        return wnp.subtract(constant, wnp.log(spread))


norm = Norm()
truncnorm = Truncnorm()
uniform = Uniform()
expon = Expon()
gamma = Gamma()
chi2 = Chi2()
beta = Beta()
t = T()
cauchy = Cauchy()
laplace = Laplace()
logistic = Logistic()
pareto = Pareto()
gumbel_r = Gumbel_R()
gumbel_l = Gumbel_L()
gennorm = Gennorm()
vonmises = Vonmises()
wrapcauchy = Wrapcauchy()
