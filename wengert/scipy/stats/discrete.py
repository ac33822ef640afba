"""Discrete distributions: probabilities of whole numbers, distribution functions where simple.

Arguments may be integers or floating; what is not a whole number has probability 0.
"""

from __future__ import annotations

import math
from typing import Any

import wengert.numpy as wnp
from wengert.core.primitive import Value
from wengert.numpy.promotion import promote_inexact
from wengert.scipy import special
from wengert.scipy.stats.distributions import Discrete


def _log_choose(n: Value, k: Value) -> Value:
    """The logarithm of the number of ways to choose k of n things."""
    rest = wnp.subtract(n, k)
    ways = wnp.add(special.betaln(wnp.add(rest, 1), wnp.add(k, 1)), wnp.log1p(n))
    return wnp.negative(ways)


class Bernoulli(Discrete):
    """One with probability p, zero otherwise.

    >>> from wengert.scipy.stats import bernoulli
    >>> bernoulli.pmf(1, 0.25)
    Array(0.25, dtype=float32, weak_type=True)
    """

    shapes = ("p",)
    support = (0.0, 1.0)

    def _logpmf(self, k: Value, p: Value) -> Value:
        zeros = special.xlog1py(wnp.subtract(1, k), wnp.negative(p))
        return wnp.add(special.xlogy(k, p), zeros)

    def cdf(self, k: Any, *args: Any, **keywords: Any) -> Value:
        """The probability of numbers up to `k`."""
        y, _, (p,) = self._standard(k, args, keywords)
        below = wnp.where(wnp.less(y, 1), wnp.subtract(1, p), 1)
        return wnp.where(wnp.less(y, 0), 0, below)

    def ppf(self, q: Any, *args: Any, **keywords: Any) -> Value:
        """The least number up to which the probability is `q` or more."""
        q, p, loc = promote_inexact(q, *self._parameters(args, keywords))
        value = wnp.add(wnp.where(wnp.less_equal(q, wnp.subtract(1, p)), 0, 1), loc)
        inside = wnp.logical_and(wnp.greater_equal(q, 0), wnp.less_equal(q, 1))
        return wnp.where(inside, value, math.nan)


class Successes(Discrete):
    """Numbers of successes in n trials, n being the first shape."""

    def _outside(self, y: Value, *shapes: Value) -> Value:
        beyond = wnp.logical_or(wnp.less(y, 0), wnp.greater(y, shapes[0]))
        return wnp.logical_or(super()._outside(y), beyond)


class Binom(Successes):
    """The number of successes in n trials with probability p."""

    shapes = ("n", "p")

    def _logpmf(self, k: Value, n: Value, p: Value) -> Value:
        failures = special.xlog1py(wnp.subtract(n, k), wnp.negative(p))
        return wnp.add(_log_choose(n, k), wnp.add(special.xlogy(k, p), failures))


class Betabinom(Successes):
    """The number of successes in n trials whose probability has a beta distribution."""

    shapes = ("n", "a", "b")

    def _logpmf(self, k: Value, n: Value, a: Value, b: Value) -> Value:
        failures = wnp.subtract(n, k)
        ratio = wnp.subtract(
            special.betaln(wnp.add(k, a), wnp.add(failures, b)), special.betaln(a, b)
        )
        return wnp.add(_log_choose(n, k), ratio)


class Geom(Discrete):
    """The number of trials up to the first success with probability p: 1, 2, ..."""

    shapes = ("p",)
    support = (1.0, math.inf)

    def _logpmf(self, k: Value, p: Value) -> Value:
        failures = special.xlog1py(wnp.subtract(k, 1), wnp.negative(p))
        return wnp.add(failures, wnp.log(p))


class Nbinom(Discrete):
    """The number of failures before the n-th success with probability p."""

    shapes = ("n", "p")
    support = (0.0, math.inf)

    def _logpmf(self, k: Value, n: Value, p: Value) -> Value:
        ways = wnp.subtract(special.gammaln(wnp.add(k, n)), special.gammaln(n))
        ways = wnp.subtract(ways, special.gammaln(wnp.add(k, 1)))
        powers = wnp.add(wnp.multiply(n, wnp.log(p)), special.xlog1py(k, wnp.negative(p)))
        return wnp.add(ways, powers)


class Poisson(Discrete):
    """The number of rare events of which mu are expected."""

    shapes = ("mu",)
    support = (0.0, math.inf)

    def _logpmf(self, k: Value, mu: Value) -> Value:
        powers = wnp.subtract(special.xlogy(k, mu), special.gammaln(wnp.add(k, 1)))
        return wnp.subtract(powers, mu)

    def cdf(self, k: Any, *args: Any, **keywords: Any) -> Value:
        """The probability of numbers up to `k`."""
        y, _, (mu,) = self._standard(k, args, keywords)
        count = wnp.add(wnp.floor(wnp.maximum(y, 0)), 1)
        return wnp.where(wnp.less(y, 0), 0, special.gammaincc(count, mu))


bernoulli = Bernoulli()
binom = Binom()
betabinom = Betabinom()
geom = Geom()
nbinom = Nbinom()
poisson = Poisson()
