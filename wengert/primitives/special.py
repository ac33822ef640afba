"""Special functions: error functions, gamma and beta functions, Bessel functions, entropies.

Values come from `scipy.special`, which is imported when the first of them is needed; 16-bit
dtypes are computed in float32. All operands are real unless said otherwise.

Every function has derivatives of every order in every operand, the shape parameters of `igamma`
and `betainc` and the exponent of `zeta` included. Only the order of `polygamma` is a whole
number: its derivative is an error, not zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Sample, Value
from wengert.primitives import incomplete
from wengert.primitives.basis import add, mul, neg, scale
from wengert.primitives.compare import eq, lt, select
from wengert.primitives.elementwise import abs, div, reciprocal, sign, square, sub
from wengert.primitives.families import (
    Domain,
    Numeric,
    Real,
    array_dtype,
    scalar,
    through_float32,
)
from wengert.primitives.transcendental import exp, log, log1p

special = lazy_module("scipy.special")

_UNIT = (0.3, 0.9)
_SIGNED = (-0.9, 0.9)
_POSITIVE = (0.7, 3.5)
_SQRT_PI = math.sqrt(math.pi)
_SQRT_TWO_PI = math.sqrt(2 * math.pi)


def _few_samples(domains: Sequence[Domain], **params: Any) -> Iterator[Sample]:
    """Samples for functions that take long: one of each kind of shape, and float32."""
    rng = np.random.default_rng(0)
    for shapes in (((), (), ()), ((2, 1), (3,), (1,)), ((0, 2), (2,), (1,))):
        args = [rng.uniform(*d, s) for d, s in zip(domains, shapes, strict=False)]
        yield Sample(*map(scalar, args), **params)
    single = [np.asarray(np.mean(d), np.float32) for d in domains]
    yield Sample(*map(scalar, single), differentiable=False, **params)


def _order_partial(*_: Any, **__: Any) -> Value:
    raise errors.MissingRuleError("polygamma", "derivative with respect to its order n")


def _typed(x: Value, like: Value) -> Value:
    """An operand as an array, where it may be a Python scalar."""
    return Array(like.dtype.type(x)) if type(x) in dtypes.SCALAR_TYPES else x


# -- error functions and the normal distribution ---------------------------------------------


def _gaussian(x: Value, factor: float) -> Value:
    return mul(exp(neg(square(x))), factor)


class Erf(Numeric):
    """Error function, of complex numbers too."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(lambda x: special.erf(x)))
    partials = (lambda out, x: _gaussian(x, 2 / _SQRT_PI),)


class Erfc(Numeric):
    """1 - erf(x), without the cancellation; of complex numbers too."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(lambda x: special.erfc(x)))
    partials = (lambda out, x: _gaussian(x, -2 / _SQRT_PI),)


class Erfcx(Real):
    """exp(x**2) * erfc(x), which neither overflows nor underflows for positive x."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(lambda x: special.erfcx(x)))
    partials = (lambda out, x: sub(mul(mul(x, 2), out), 2 / _SQRT_PI),)


class ErfInv(Real):
    """Inverse of the error function."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(lambda x: special.erfinv(x)))
    partials = (lambda out, x: mul(exp(square(out)), _SQRT_PI / 2),)


class Ndtr(Real):
    """Distribution function of the standard normal distribution."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(lambda x: special.ndtr(x)))
    partials = (lambda out, x: mul(exp(mul(square(x), -0.5)), 1 / _SQRT_TWO_PI),)


class Ndtri(Real):
    """Quantiles of the standard normal distribution, the inverse of `ndtr`."""

    domains = ((0.1, 0.9),)
    compute = staticmethod(through_float32(lambda x: special.ndtri(x)))
    partials = (lambda out, x: mul(exp(mul(square(out), 0.5)), _SQRT_TWO_PI),)


class LogNdtr(Real):
    """Logarithm of `ndtr`, accurate far out on the left."""

    domains = (_SIGNED,)
    compute = staticmethod(through_float32(lambda x: special.log_ndtr(x)))
    # density over distribution, both scaled by exp(x**2 / 2) so that they cannot underflow
    partials = (lambda out, x: div(math.sqrt(2 / math.pi), erfcx(mul(x, -math.sqrt(0.5)))),)


# -- gamma and beta functions ---------------------------------------------------------------


class Gamma(Real):
    """Gamma function."""

    domains = (_POSITIVE,)
    compute = staticmethod(through_float32(lambda x: special.gamma(x)))
    partials = (lambda out, x: mul(out, digamma(x)),)


class Lgamma(Real):
    """Logarithm of the size of the gamma function."""

    domains = (_POSITIVE,)
    compute = staticmethod(through_float32(lambda x: special.gammaln(x)))
    partials = (lambda out, x: digamma(x),)


class Gammasgn(Real):
    """Sign of the gamma function."""

    domains = (_SIGNED,)
    nondifferentiable = True
    compute = staticmethod(through_float32(lambda x: special.gammasgn(x)))


class Digamma(Real):
    """Logarithmic derivative of the gamma function."""

    domains = (_POSITIVE,)
    compute = staticmethod(through_float32(lambda x: special.digamma(x)))
    partials = (lambda out, x: polygamma(1.0, x),)


class Polygamma(Real):
    """The n-th derivative of `digamma`, for whole n >= 0 (the first operand)."""

    domains = (_POSITIVE,)
    partials = (
        _order_partial,
        lambda out, n, x: polygamma(add(_typed(n, out), 1), x),
    )

    @staticmethod
    @through_float32
    def compute(n: Any, x: Any) -> Any:
        high = n + 1.0
        out = (-1.0) ** high * special.gamma(high) * special.zeta(high, x)
        return scalar(
            np.where(np.equal(n, 0), special.digamma(x), out).astype(array_dtype(n, x))
        )

    def samples(self) -> Iterator[Sample]:
        for sample in super().samples():
            (x,) = sample.args
            yield Sample(2.0, x, differentiable=sample.differentiable)
        yield Sample(np.arange(4.0), np.array([[0.5], [2.5]]), differentiable=False)


class Zeta(Real):
    """Hurwitz zeta function: the sum of (q + k)**-x over k = 0, 1, ...

    With `order` its derivative of that order with respect to x, for x > 1 and q > 0.
    """

    domains = ((2.1, 3.5), _POSITIVE)

    @staticmethod
    def compute(x: Any, q: Any, order: int = 0) -> Any:
        return _zeta_grad(x, q, order=order) if order else _zeta(x, q)

    @staticmethod
    def _slope(out: Value, x: Value, q: Value, order: int = 0) -> Value:
        """Of -x zeta(x + 1, q), which is the derivative in q, `order` times in x."""
        x = _typed(x, out)
        higher = add(x, 1)
        slope = mul(zeta(higher, q, order=order), x)
        if order:
            slope = add(slope, mul(zeta(higher, q, order=order - 1), order))
        return neg(slope)

    partials = (lambda out, x, q, order=0: zeta(x, q, order=order + 1), _slope)


_zeta = through_float32(lambda x, q: special.zeta(x, q))
_zeta_grad = incomplete.in_float64(incomplete.zeta_grad)


class Betaln(Real):
    """Logarithm of the beta function."""

    domains = (_POSITIVE, _POSITIVE)
    compute = staticmethod(through_float32(lambda a, b: special.betaln(a, b)))
    partials = (
        lambda out, a, b: sub(digamma(a), digamma(add(a, b))),
        lambda out, a, b: sub(digamma(b), digamma(add(a, b))),
    )


def _log_moment(cumulant: Callable[[int, int], Value], i: int, j: int) -> Value:
    """The derivative of order (i, j) of a function, over the function (1 is the int 1).

    Args:
      cumulant: derivatives of the logarithm of the function, by order.
    """
    if i == j == 0:
        return 1
    first = i > 0
    rest = (i - 1, j) if first else (i, j - 1)
    total: Value = None
    for p in range(rest[0] + 1):
        for q in range(rest[1] + 1):
            term = cumulant(p + first, q + (not first))
            inner = _log_moment(cumulant, rest[0] - p, rest[1] - q)
            term = scale(term, inner) if type(inner) is int else mul(term, inner)
            count = math.comb(rest[0], p) * math.comb(rest[1], q)
            term = mul(term, count) if count > 1 else term
            total = term if total is None else add(total, term)
    return total


def _gamma_density(out: Value, a: Value, x: Value) -> Value:
    """x**(a-1) exp(-x) / Gamma(a)."""
    a, x = _typed(a, out), _typed(x, out)
    return exp(sub(sub(xlogy(sub(a, 1), x), x), lgamma(a)))


def _gamma_moment(a: Value, x: Value, order: int) -> Value:
    """The derivative in a, of the given order, of that density, over the density."""

    def cumulant(i: int, _: int) -> Value:
        return sub(log(x), digamma(a)) if i == 1 else neg(polygamma(i - 1.0, a))

    return _log_moment(cumulant, order, 0)


class Igamma(Real):
    """Regularized lower incomplete gamma function P(a, x)."""

    domains = (_POSITIVE, _POSITIVE)
    compute = staticmethod(through_float32(lambda a, x: special.gammainc(a, x)))
    partials = (lambda out, a, x: igamma_grad_a(a, x), _gamma_density)

    def samples(self) -> Iterator[Sample]:
        yield from _few_samples(self.domains)


class Igammac(Real):
    """Regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""

    domains = (_POSITIVE, _POSITIVE)
    compute = staticmethod(through_float32(lambda a, x: special.gammaincc(a, x)))
    partials = (
        lambda out, a, x: neg(igamma_grad_a(a, x)),
        lambda out, a, x: neg(_gamma_density(out, a, x)),
    )

    def samples(self) -> Iterator[Sample]:
        yield from _few_samples(self.domains)


class IgammaGradA(Real):
    """Derivative of `igamma` with respect to a, of the given order."""

    domains = (_POSITIVE, _POSITIVE)
    compute = staticmethod(incomplete.in_float64(incomplete.igamma_grad_a))

    @staticmethod
    def _slope(out: Value, a: Value, x: Value, order: int = 1) -> Value:
        a, x = _typed(a, out), _typed(x, out)
        return mul(_gamma_density(out, a, x), _gamma_moment(a, x, order))

    partials = (lambda out, a, x, order=1: igamma_grad_a(a, x, order=order + 1), _slope)

    def samples(self) -> Iterator[Sample]:
        yield from _few_samples(self.domains)


class RandomGammaGrad(Real):
    """Derivative of a gamma-distributed sample x with respect to its shape parameter a.

    The sample is the x at which P = `igamma(a, x)` has a fixed value, so the derivative is
    -P_a / p with the density p: implicit reparameterization (Figurnov, Mohamed and Mnih, 2018).
    With `order` it is minus the derivative of P of that order in a, over p.
    """

    domains = (_POSITIVE, _POSITIVE)
    compute = staticmethod(incomplete.in_float64(incomplete.random_gamma_grad))

    @staticmethod
    def _in_shape(out: Value, a: Value, x: Value, order: int = 1) -> Value:
        a, x = _typed(a, out), _typed(x, out)
        higher = random_gamma_grad(a, x, order=order + 1)
        return sub(higher, mul(out, _gamma_moment(a, x, 1)))

    @staticmethod
    def _in_sample(out: Value, a: Value, x: Value, order: int = 1) -> Value:
        a, x = _typed(a, out), _typed(x, out)
        log_slope = sub(div(sub(a, 1), x), 1)  # of the density
        return neg(add(_gamma_moment(a, x, order), mul(out, log_slope)))

    partials = (_in_shape, _in_sample)

    def samples(self) -> Iterator[Sample]:
        yield from _few_samples(self.domains)


def _beta_density(out: Value, a: Value, b: Value, x: Value) -> Value:
    """x**(a-1) (1-x)**(b-1) / B(a, b)."""
    a, b, x = (_typed(v, out) for v in (a, b, x))
    powers = add(xlogy(sub(a, 1), x), xlog1py(sub(b, 1), neg(x)))
    return exp(sub(powers, betaln(a, b)))


class Betainc(Real):
    """Regularized incomplete beta function I_x(a, b)."""

    domains = (_POSITIVE, _POSITIVE, _UNIT)
    compute = staticmethod(through_float32(lambda a, b, x: special.betainc(a, b, x)))
    partials = (
        lambda out, a, b, x: betainc_grad(a, b, x, order=(1, 0)),
        lambda out, a, b, x: betainc_grad(a, b, x, order=(0, 1)),
        _beta_density,
    )

    def samples(self) -> Iterator[Sample]:
        yield from _few_samples(self.domains)


class BetaincGrad(Real):
    """Derivative of `betainc` with respect to a and b, of the given orders."""

    domains = (_POSITIVE, _POSITIVE, _UNIT)
    compute = staticmethod(incomplete.in_float64(incomplete.betainc_grad))

    @staticmethod
    def _slope(out: Value, a: Value, b: Value, x: Value, order: tuple[int, int]) -> Value:
        a, b, x = (_typed(v, out) for v in (a, b, x))

        def cumulant(i: int, j: int) -> Value:
            common = polygamma(i + j - 1.0, add(a, b))
            if i and j:
                return common
            slope = sub(common, polygamma(i + j - 1.0, a if i else b))
            if i + j > 1:
                return slope
            return add(slope, log(x) if i else log1p(neg(x)))

        return mul(_beta_density(out, a, b, x), _log_moment(cumulant, *order))

    partials = (
        lambda out, a, b, x, order: betainc_grad(a, b, x, order=(order[0] + 1, order[1])),
        lambda out, a, b, x, order: betainc_grad(a, b, x, order=(order[0], order[1] + 1)),
        _slope,
    )

    def samples(self) -> Iterator[Sample]:
        yield from _few_samples(self.domains, order=(1, 0))
        for sample in _few_samples(self.domains, order=(1, 1)):
            if not sample.args[0].shape:
                yield sample


# -- Bessel functions and exponential integrals -----------------------------------------------


def _bessel_i_partial(out: Value, x: Value, order: int = 0) -> Value:
    if order == 0:
        return bessel_i(x, order=1)
    return mul(add(bessel_i(x, order=order - 1), bessel_i(x, order=order + 1)), 0.5)


class BesselI(Real):
    """Modified Bessel function of the first kind, of whole order."""

    domains = (_SIGNED,)
    partials = (_bessel_i_partial,)

    @staticmethod
    @through_float32
    def compute(x: Any, order: int = 0) -> Any:
        if order < 2:
            return special.i1(x) if order else special.i0(x)
        return special.iv(order, x)


def _bessel_ie_partial(out: Value, x: Value, order: int = 0) -> Value:
    if order == 0:
        slope = bessel_ie(x, order=1)
    else:
        both = add(bessel_ie(x, order=order - 1), bessel_ie(x, order=order + 1))
        slope = mul(both, 0.5)
    return sub(slope, mul(sign(x), out))


class BesselIe(Real):
    """exp(-abs(x)) times the modified Bessel function of the first kind, of whole order."""

    partials = (_bessel_ie_partial,)

    @staticmethod
    @through_float32
    def compute(x: Any, order: int = 0) -> Any:
        if order < 2:
            return special.i1e(x) if order else special.i0e(x)
        return special.ive(order, x)


class Exp1(Real):
    """Exponential integral E_1."""

    domains = (_POSITIVE,)
    compute = staticmethod(through_float32(lambda x: special.exp1(x)))
    partials = (lambda out, x: neg(div(exp(neg(x)), x)),)


class Expi(Real):
    """Exponential integral Ei."""

    domains = (_POSITIVE,)
    compute = staticmethod(through_float32(lambda x: special.expi(x)))
    partials = (lambda out, x: div(exp(x), x),)


class Expn(Real):
    """Exponential integral E_n for a fixed whole number n >= 0."""

    domains = (_POSITIVE,)

    @staticmethod
    @through_float32
    def compute(x: Any, n: int = 1) -> Any:
        return special.expn(n, x).astype(x.dtype)

    @staticmethod
    def _partial(out: Value, x: Value, n: int = 1) -> Value:
        if n == 0:
            return neg(mul(out, add(reciprocal(x), 1)))
        return neg(expn(x, n=n - 1))

    partials = (_partial,)


def _spence_partial(out: Value, x: Value) -> Value:
    """log(x) / (1 - x); near 1 its Taylor series, which has the right derivatives."""
    u = sub(x, 1)
    near = lt(abs(u), 1e-2)
    series = mul(u, 1 / 11)
    for k in range(10, 0, -1):
        term = sub(1 / k, series)
        series = mul(u, term) if k > 1 else term
    return neg(select(near, series, div(log(x), select(near, 1, u))))


class Spence(Real):
    """Dilogarithm of 1 - x."""

    domains = (_POSITIVE,)
    compute = staticmethod(through_float32(lambda x: special.spence(x)))
    partials = (_spence_partial,)


# -- entropies ------------------------------------------------------------------------------


def _ratio(x: Value, y: Value) -> Value:
    """x / y, and 0 where x is 0 whatever y is."""
    if type(x) in dtypes.SCALAR_TYPES:
        return div(x, y) if x else 0
    return select(eq(x, 0), 0, div(x, y))


class Xlogy(Real):
    """x log(y), and 0 where x is 0."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(through_float32(lambda x, y: special.xlogy(x, y)))
    partials = (lambda out, x, y: log(y), lambda out, x, y: _ratio(x, y))


class Xlog1py(Real):
    """x log(1 + y), and 0 where x is 0."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(through_float32(lambda x, y: special.xlog1py(x, y)))
    partials = (lambda out, x, y: log1p(y), lambda out, x, y: _ratio(x, add(_typed(y, out), 1)))


class Entr(Real):
    """-x log(x), the entropy of a probability; 0 at 0, minus infinity below."""

    compute = staticmethod(through_float32(lambda x: special.entr(x)))
    partials = (lambda out, x: neg(add(log(x), 1)),)


class RelEntr(Real):
    """x log(x / y), the relative entropy of probabilities."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(through_float32(lambda x, y: special.rel_entr(x, y)))
    partials = (
        lambda out, x, y: add(log(div(x, y)), 1),
        lambda out, x, y: neg(_ratio(x, y)),
    )


class KlDiv(Real):
    """x log(x / y) - x + y, a term of the Kullback-Leibler divergence."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(through_float32(lambda x, y: special.kl_div(x, y)))
    partials = (
        lambda out, x, y: log(div(x, y)),
        lambda out, x, y: sub(1, _ratio(x, y)),
    )


erf: Numeric = Erf()
erfc: Numeric = Erfc()
erfcx: Numeric = Erfcx()
erf_inv: Numeric = ErfInv()
ndtr: Numeric = Ndtr()
ndtri: Numeric = Ndtri()
log_ndtr: Numeric = LogNdtr()
gamma: Numeric = Gamma()
lgamma: Numeric = Lgamma()
gammasgn: Numeric = Gammasgn()
digamma: Numeric = Digamma()
polygamma: Numeric = Polygamma()
zeta: Numeric = Zeta()
betaln: Numeric = Betaln()
igamma: Numeric = Igamma()
igammac: Numeric = Igammac()
igamma_grad_a: Numeric = IgammaGradA()
random_gamma_grad: Numeric = RandomGammaGrad()
betainc: Numeric = Betainc()
betainc_grad: Numeric = BetaincGrad()
bessel_i: Numeric = BesselI()
bessel_ie: Numeric = BesselIe()
exp1: Numeric = Exp1()
expi: Numeric = Expi()
expn: Numeric = Expn()
spence: Numeric = Spence()
xlogy: Numeric = Xlogy()
xlog1py: Numeric = Xlog1py()
entr: Numeric = Entr()
rel_entr: Numeric = RelEntr()
kl_div: Numeric = KlDiv()
