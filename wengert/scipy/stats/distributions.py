"""What distributions have in common: parameters by position or name, densities, tails.

A distribution is an object with methods, as in `scipy.stats`: `norm.logpdf(x, loc, scale)`. The
families of `continuous` and `discrete` give the logarithm of a standardized density, and
distribution function and quantiles where they are known; here are location and scale, the
support, and all that follows from them. Parameters and arguments are promoted to one floating
dtype and broadcast.

Parameters are not checked: an impossible one gives NaN or nonsense, never an error, because it
may be traced.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import wengert.numpy as wnp
from wengert.core.primitive import Value
from wengert.numpy.promotion import promote_inexact

_DEFAULTS = {"loc": 0, "scale": 1}


class Distribution:
    """A family of distributions of numbers.

    Attributes:
      shapes: the names of the parameters that come before location and scale.
      places: the names of those two (or of the first, or none).
      support: the least and the greatest standardized number, where they are constant.
    """

    shapes: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[tuple[str, ...]] = ("loc", "scale")
    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def __repr__(self) -> str:
        return f"<distribution {type(self).__name__.lower()}>"

    def _parameters(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> list[Any]:
        """The shapes, then the places, from positional and keyword arguments."""
        names = (*self.shapes, *self.places)
        given = dict(zip(names, args, strict=False))
        unknown = (keywords.keys() - set(names)) | (keywords.keys() & given.keys())
        given.update(keywords)
        missing = [name for name in self.shapes if name not in given]
        if len(args) > len(names) or unknown or missing:
            raise TypeError(
                f"{type(self).__name__.lower()} takes the parameters {', '.join(names)} "
                f"(loc and scale may be left out), each once; got {len(args)} by position and "
                f"{', '.join(keywords) or 'none'} by name."
            )
        return [given[n] if n in given else _DEFAULTS[n] for n in names]

    def _standard(self, x: Any, args: Any, keywords: Any) -> tuple[Value, Value, list[Value]]:
        """The standardized argument, the scale, and the shapes."""
        x, *parameters = promote_inexact(x, *self._parameters(args, keywords))
        shapes = parameters[: len(self.shapes)]
        places = dict(zip(self.places, parameters[len(shapes) :], strict=True))
        if "loc" in places:
            x = wnp.subtract(x, places["loc"])
        scale = places.get("scale")
        return (x if scale is None else wnp.divide(x, scale)), scale, shapes

    def _outside(self, y: Value, *shapes: Value) -> Value:
        """Where a standardized number has no probability; not for NaN."""
        lower, upper = self.support
        return wnp.logical_or(wnp.less(y, lower), wnp.greater(y, upper))


class Density(Distribution):
    """Continuous distributions with a known density."""

    def _logpdf(self, y: Value, *shapes: Value) -> Value:
        """The logarithm of the standardized density, within the support."""
        raise NotImplementedError(type(self).__name__)

    def logpdf(self, x: Any, *args: Any, **keywords: Any) -> Value:
        """The logarithm of the density at `x`; -inf outside of the support."""
        y, scale, shapes = self._standard(x, args, keywords)
        value = wnp.subtract(self._logpdf(y, *shapes), wnp.log(scale))
        return wnp.where(self._outside(y, *shapes), -math.inf, value)

    def pdf(self, x: Any, *args: Any, **keywords: Any) -> Value:
        """The density at `x`."""
        return wnp.exp(self.logpdf(x, *args, **keywords))


class Continuous(Density):
    """Continuous distributions with a known distribution function."""

    def _cdf(self, y: Value, *shapes: Value) -> Value:
        """The standardized distribution function, within the support."""
        return wnp.exp(self._logcdf(y, *shapes))

    def _sf(self, y: Value, *shapes: Value) -> Value:
        """One minus that."""
        return wnp.subtract(1, self._cdf(y, *shapes))

    def _logcdf(self, y: Value, *shapes: Value) -> Value:
        return _log_of(self._cdf(y, *shapes), self._sf(y, *shapes))

    def _logsf(self, y: Value, *shapes: Value) -> Value:
        return _log_of(self._sf(y, *shapes), self._cdf(y, *shapes))

    def _tail(self, function: Any, low: float, high: float, x: Any, a: Any, k: Any) -> Value:
        """A function of the standardized argument, with constants beyond the support."""
        y, _, shapes = self._standard(x, a, k)
        lower, upper = self.support
        out = function(y, *shapes)
        if math.isfinite(lower):
            out = wnp.where(wnp.less_equal(y, lower), low, out)
        if math.isfinite(upper):
            out = wnp.where(wnp.greater_equal(y, upper), high, out)
        return out

    def cdf(self, x: Any, *args: Any, **keywords: Any) -> Value:
        """The probability of numbers up to `x`."""
        return self._tail(self._cdf, 0, 1, x, args, keywords)

    def sf(self, x: Any, *args: Any, **keywords: Any) -> Value:
        """The probability of numbers greater than `x`, accurate where it is small."""
        return self._tail(self._sf, 1, 0, x, args, keywords)

    def logcdf(self, x: Any, *args: Any, **keywords: Any) -> Value:
        """The logarithm of `cdf`."""
        return self._tail(self._logcdf, -math.inf, 0, x, args, keywords)

    def logsf(self, x: Any, *args: Any, **keywords: Any) -> Value:
        """The logarithm of `sf`."""
        return self._tail(self._logsf, 0, -math.inf, x, args, keywords)


def _log_of(p: Value, complement: Value) -> Value:
    """The logarithm of a probability, from its complement where that is the smaller one."""
    small = wnp.less(p, complement)
    near_one = wnp.log1p(wnp.negative(complement))
    return wnp.where(small, wnp.log(p), near_one)


class Invertible(Continuous):
    """Continuous distributions with known quantiles."""

    def _ppf(self, q: Value, *shapes: Value) -> Value:
        """The standardized quantile of a probability."""
        raise NotImplementedError(type(self).__name__)

    def _isf(self, q: Value, *shapes: Value) -> Value:
        """The standardized quantile of one minus a probability."""
        return self._ppf(wnp.subtract(1, q), *shapes)

    def _quantile(self, function: Any, q: Any, args: Any, keywords: Any) -> Value:
        q, *parameters = promote_inexact(q, *self._parameters(args, keywords))
        *shapes, loc, scale = parameters
        inside = wnp.logical_and(wnp.greater_equal(q, 0), wnp.less_equal(q, 1))
        value = wnp.add(wnp.multiply(function(q, *shapes), scale), loc)
        return wnp.where(inside, value, math.nan)

    def ppf(self, q: Any, *args: Any, **keywords: Any) -> Value:
        """The number up to which the probability is `q`: the inverse of `cdf`."""
        return self._quantile(self._ppf, q, args, keywords)

    def isf(self, q: Any, *args: Any, **keywords: Any) -> Value:
        """The number beyond which the probability is `q`: the inverse of `sf`."""
        return self._quantile(self._isf, q, args, keywords)


class Discrete(Distribution):
    """Distributions of whole numbers."""

    places = ("loc",)

    def _logpmf(self, k: Value, *shapes: Value) -> Value:
        """The logarithm of the probability of a standardized number in the support."""
        raise NotImplementedError(type(self).__name__)

    def _outside(self, y: Value, *shapes: Value) -> Value:
        fraction = wnp.logical_and(wnp.isfinite(y), wnp.not_equal(y, wnp.floor(y)))
        return wnp.logical_or(super()._outside(y, *shapes), fraction)

    def logpmf(self, k: Any, *args: Any, **keywords: Any) -> Value:
        """The logarithm of the probability of `k`; -inf outside of the support."""
        y, _, shapes = self._standard(k, args, keywords)
        value = self._logpmf(y, *shapes)
        return wnp.where(self._outside(y, *shapes), -math.inf, value)

    def pmf(self, k: Any, *args: Any, **keywords: Any) -> Value:
        """The probability of `k`."""
        return wnp.exp(self.logpmf(k, *args, **keywords))
