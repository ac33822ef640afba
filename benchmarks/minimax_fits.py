"""What `benchmarks.minimax` fits: functions, intervals and degrees, by name.

`z` stands for the square of an argument `x`. Functions like (sin(x) - x) / x**3 leave to the
fit only what the first terms of a series, which have exact coefficients, do not give.
"""

from __future__ import annotations

from typing import Any

from mpmath import mp, mpf

from benchmarks.minimax import Fit

_HALF_LN2 = mp.log(2) / 2 * mpf("1.001")
_TINY = mpf(10) ** -9


def _odd(function: Any) -> Any:
    """f(x) / x of z."""
    return lambda z: function(mp.sqrt(z)) / mp.sqrt(z)


def _odd_rest(function: Any) -> Any:
    """(f(x) - x) / x**3 of z."""
    return lambda z: (function(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3


def _odd_weight(function: Any) -> Any:
    """The weight that makes errors of `_odd_rest` relative to the function."""
    return lambda z: mp.sqrt(z) ** 3 / function(mp.sqrt(z))


def _odd_fit(function: Any, high: Any, degrees: tuple[Any, Any]) -> Fit:
    return Fit(
        _odd_rest(function), _TINY, mpf(high) ** 2, degrees, weight=_odd_weight(function)
    )


def _logarithm(divisor: Any, degree: int) -> Fit:
    """(log(1 + f) - f) / f**2 over a number, for float32."""
    return Fit(
        lambda f: (mp.log1p(f) - f) / f**2 / divisor,
        -0.2501,
        0.5001,
        (degree, None),
        weight=lambda f: divisor * f**2 / mp.log1p(f),
    )


def _atanh_rest(z: Any) -> Any:
    """(atanh(s) - s - s**3 / 3) / s**5 of z = s**2."""
    s = mp.sqrt(z)
    return (mp.atanh(s) - s - s**3 / 3) / s**5


def _erfcx(x: Any) -> Any:
    return mp.exp(x * x) * mp.erfc(x)


def _quantile(s: Any) -> Any:
    """The x for which ndtr(-x) is exp(-s**2), by Newton's method on the logarithm."""
    x = mp.sqrt(2) * s
    x = x - mp.log(x * mp.sqrt(2 * mp.pi) + 1) / x if s > 1.7 else mpf("1.2")
    for _ in range(60):
        tail = mp.erfc(x / mp.sqrt(2)) / 2
        step = (mp.log(tail) + s * s) * tail / mp.npdf(x)
        x += step
        if abs(step) < mpf(10) ** -50:
            break
    return x


def _quantile_rest(s: Any) -> Any:
    """The ratio of `_quantile` to s, less 1."""
    return _quantile(s) / s - 1


_DIGAMMA_ROOT = mp.findroot(lambda x: mp.psi(0, x), 1.4616)


def _lgamma_rest(d: Any) -> Any:
    """d (d - 1) over log(gamma(1 + d)), less d/2 + 29/16 to which it is near."""
    ratio = d * (d - 1) / mp.loggamma(1 + d) if abs(d - 1) > 1e-12 else 1 / (1 - mp.euler)
    return ratio - d / 2 - mpf(29) / 16


def _digamma_rest(d: Any) -> Any:
    """The distance of 1 + d from the root over digamma(1 + d), less d/2 + 3/4."""
    return (d + 1 - _DIGAMMA_ROOT) / mp.psi(0, d + 1) - d / 2 - mpf(3) / 4


def _stirling_rest(x: Any) -> Any:
    """log(gamma(x)) less (x - 1/2) log(x) - x + log(2 pi)/2."""
    return mp.loggamma(x) - (x - mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2


def _sine_rest(z: Any, lower: float) -> Any:
    """(sin(x) - x) / x**3, with a sine that at pi/2 is lower by that.

    So that rounding errors cannot make it larger than 1.
    """
    return _odd_rest(mp.sin)(z) - lower * (2 / mp.pi) ** 11 * z**4


FITS: dict[str, Fit] = {
    "exp": Fit(mp.exp, -_HALF_LN2, _HALF_LN2, (6, 11), fixed=(1.0, 1.0)),
    "exp2": Fit(lambda r: mpf(2) ** r, -0.5005, 0.5005, (6, 11), fixed=(1.0,)),
    "expm1": Fit(
        lambda r: (mp.expm1(r) - r) / r**2,
        -_HALF_LN2,
        _HALF_LN2,
        (5, 10),
        weight=lambda r: r**2 / mp.expm1(r),
    ),
    "log_single": Fit(
        lambda f: (mp.log1p(f) - f + f * f / 2) / f**3,
        -0.2501,
        0.5001,
        (7, None),
        weight=lambda f: f**3 / mp.log1p(f),
    ),
    "log_double": Fit(
        lambda z: 2 * (mp.atanh(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) / z,
        _TINY,
        mpf("0.2001") ** 2,
        (None, 7),
        weight=lambda z: z,
    ),
    "log2": _logarithm(mp.log(2), 9),
    "log10": _logarithm(mp.log(10), 9),
    "sin": Fit(
        (lambda z: _sine_rest(z, 2.0**-26.4), _odd_rest(mp.sin)),
        _TINY,
        (mp.pi / 2 * mpf("1.01")) ** 2,
        (4, 8),
        weight=_odd_weight(mp.sin),
    ),
    "pow_log2": Fit(lambda f: mp.log1p(f) / mp.log(2) / f, -0.2501, 0.5001, (None, 12)),
    "pow_exp2": Fit(lambda r: mpf(2) ** r, -0.5005, 0.5005, (None, 6), fixed=(1.0,)),
    "pow_rest": Fit(
        lambda z: 2 / mp.log(2) * _atanh_rest(z),
        _TINY,
        mpf("0.2001") ** 2,
        (None, 7),
        weight=lambda z: z * z,
    ),
    "tan_single": _odd_fit(mp.tan, mp.pi / 4 * mpf("1.01"), (6, None)),
    "tan_double": Fit(
        _odd(mp.tan), _TINY, (mp.pi / 4 * mpf("1.01")) ** 2, (None, (3, 4)), fixed=(1.0,)
    ),
    "sinc": Fit(lambda z: mp.sinc(mp.pi * mp.sqrt(z)), 0, mpf("0.2501"), (5, 10), fixed=(1.0,)),
    "asin": _odd_fit(mp.asin, "0.5001", (4, 11)),
    "atan": _odd_fit(mp.atan, "0.5001", (4, 11)),
    "sinh": _odd_fit(mp.sinh, _HALF_LN2, (2, 5)),
    "cosh": Fit(
        lambda z: (mp.cosh(mp.sqrt(z)) - 1) / z,
        _TINY,
        _HALF_LN2**2,
        (2, 5),
        weight=lambda z: z / mp.cosh(mp.sqrt(z)),
    ),
    "cbrt": Fit(lambda m: m ** (-mpf(1) / 3), 0.7499, 1.5001, (4, 5)),
    "erf_inner": Fit(
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        _TINY,
        1,
        (6, 11),
        weight=lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
    ),
    "log_erfc": Fit(
        lambda x: mp.log(mp.erfc(x)), 0.99, 3.935, (6, None), weight=lambda x: mp.erfc(x)
    ),
    "erf_tail": Fit(_erfcx, 0.99, 6.01, (None, (5, 5)), weight=lambda x: mp.exp(-x * x)),
    "erfcx_single": Fit(_erfcx, 0.7, 10.3, (None, (4, 5)), crowding=2),
    "erfcx_rest": Fit(
        lambda x: _erfcx(x) * (x + mpf(23) / 64) - mpf(75) / 128,
        0.7,
        28,
        (None, (10, 10)),
        weight=lambda x: 1,
        crowding=3,
    ),
    # the ratio to x, or to s, less 1: what is added to 1 needs fewer digits
    "erf_inv": Fit(
        lambda u: _odd(mp.erfinv)(u + mpf("0.5625")) - 1,
        -mpf("0.5625") + _TINY,
        1e-4,
        (None, (8, 8)),
        weight=lambda u: 1,
    ),
    # from the lower end, where terms have no unlike signs
    "quantile_near": Fit(
        lambda u: _quantile_rest(u + mpf("1.4375")),
        0.001,
        mpf("3.075"),
        (None, (7, 8)),
        weight=lambda u: 1,
    ),
    "quantile_far": Fit(
        lambda u: (_quantile_rest(u + mpf("4.5")) + 1) / mp.sqrt(2) - 1,
        -0.01,
        23,
        (None, (9, 9)),
        weight=lambda u: 1,
        crowding=2,
    ),
    "lgamma": Fit(_lgamma_rest, 1e-7, 3.01, (None, (8, 8)), weight=lambda d: 1 / (d + 2)),
    "digamma": Fit(_digamma_rest, _TINY, 3.01, (None, (8, 8)), weight=lambda d: 1 / (d + 1)),
    "cotangent": Fit(
        lambda z: (mp.pi * mp.sqrt(z) * mp.cot(mp.pi * mp.sqrt(z)) - 1) / z,
        _TINY,
        mpf("0.0626"),
        (None, 8),
        weight=lambda z: z,
    ),
    "stirling": Fit(
        lambda w: _stirling_rest(1 / mp.sqrt(w)) / mp.sqrt(w),
        1e-12,
        mpf("0.0626"),
        (None, 8),
        weight=lambda w: mp.sqrt(w),
    ),
    "digamma_far": Fit(
        lambda w: (mp.psi(0, 1 / mp.sqrt(w) + mpf(1) / 2) + mp.log(w) / 2) / w,
        1e-9,
        mpf("0.0818"),
        (None, 10),
        weight=lambda w: w,
    ),
    "ndtr_inner": Fit(
        lambda z: (mp.ncdf(mp.sqrt(z)) - mpf(1) / 2) / mp.sqrt(z) - mpf(1) / 2,
        _TINY,
        1,
        (5, 10),
        weight=lambda z: mp.sqrt(z) / mp.ncdf(-mp.sqrt(z)),
    ),
}

#: name -> number, bits of its parts for float32, and for float64.
SPLITS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "ln2": (mp.log(2), (16, 24), (42, 53)),
    "pi": (mp.pi, (24, 24, 24), (53, 53, 53)),
    "pi_without_fma": (mp.pi, (24,), (33, 33, 53)),
    "pi_squared": (mp.pi**2, (24, 24), (53, 53)),
    "half_pi": (mp.pi / 2, (24, 24), (53, 53)),
    "quarter_pi": (mp.pi / 4, (24, 24), (53, 53)),
    "log2": (1 / mp.log(2), (24, 24), (53, 53)),
    "two_log2e": (2 / mp.log(2), (24, 24), (53, 53)),
    "two_thirds_log2e": (2 / mp.log(8), (24, 24), (53, 53)),
    "digamma_root": (_DIGAMMA_ROOT - 1, (24, 24), (53, 53)),
    "log10": (1 / mp.log(10), (24, 24), (53, 53)),
    "log10_2": (mp.log(2, 10), (16, 24), (42, 53)),
}
