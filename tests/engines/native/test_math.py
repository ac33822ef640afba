"""Inline functions against mpmath, against each other, and at special arguments.

float64 is compared with mpmath at random arguments of all sizes; float32 with float64, over
every 4093rd argument of all (`make accuracy` takes all). Both on this machine and on the least
one, which has neither fused products nor wide registers.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from wengert.core.primitive import all_primitives
from wengert.engines.native.machine import Target
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.math.standalone import Comparison, Standalone

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
PRIMITIVES = {p.name: p for p in all_primitives()}
UNARY = [n for n, f in FUNCTIONS.items() if f.__code__.co_argcount == 2]
BINARY = [n for n, f in FUNCTIONS.items() if f.__code__.co_argcount == 3]

#: Largest errors in ulp where they are not at most 2.
LIMITS = {"erf_inv": 4.0, "normal_quantile": 4.0, "digamma": 4.0}
SPECIAL = np.array(
    [
        *(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0),
        *(1.5, -1.5, 100.0, -100.0, 1000.0, -1000.0, 1e30, -1e30, 1e-30, -1e-30),
    ]
)
MP_FUNCTIONS = {
    "exp2": lambda x: mpf(2) ** x,
    "logistic": lambda x: 1 / (1 + mp.exp(-x)),
    "log2": lambda x: mp.log(x) / mp.log(2),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "sinc": lambda x: mp.sin(mp.pi * x) / (mp.pi * x),
    "erf_inv": mp.erfinv,
    "entr": lambda x: -x * mp.log(x),
    "erfcx": lambda x: mp.exp(x * x) * mp.erfc(x),
    "ndtr": mp.ncdf,
    "ndtri": lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1),
    "log_ndtr": lambda x: mp.log1p(-mp.ncdf(-x)) if x > 0 else mp.log(mp.ncdf(x)),
    "normal_quantile": lambda u: mp.sqrt(2) * mp.erfinv(u),
    "lgamma": mp.loggamma,
    "pow": mp.power,
    "xlogy": lambda x, y: x * mp.log(y),
    "xlog1py": lambda x, y: x * mp.log1p(y),
}
COUNT = 150


def _everywhere(rng, low, high):
    """Numbers of all sizes, and many in an interval."""
    bits = rng.integers(0, 2**63, COUNT, dtype=np.int64).view(np.float64)
    signed = bits * rng.choice([-1.0, 1.0], COUNT)
    near = rng.normal(size=COUNT) * 10.0 ** rng.uniform(-12, 0, COUNT)
    return np.concatenate([signed, rng.uniform(low, high, 2 * COUNT), near])


#: name -> interval with many arguments, and what the function is defined for.
DOMAINS = {
    "exp": (-745, 709.7),
    "exp2": (-1074, 1023.9),
    "expm1": (-40, 709.7),
    "logistic": (-745, 40),
    "sinh": (-710, 710),
    "cosh": (-710, 710),
    "tanh": (-20, 20),
    "log": (0, 4),
    "log2": (0, 4),
    "log10": (0, 4),
    "log1p": (-1, 4),
    "asinh": (-4, 4),
    "acosh": (1, 4),
    "atanh": (-1, 1),
    "cbrt": (-4, 4),
    "rsqrt": (0, 4),
    "sin": (-1000, 1000),
    "cos": (-1000, 1000),
    "tan": (-1000, 1000),
    "sinc": (-50, 50),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "atan": (-4, 4),
    "erf": (-6, 6),
    "erfc": (-6, 27),
    "erfcx": (-26, 60),
    "entr": (0, 4),
    "ndtr": (-38, 8),
    "log_ndtr": (-40, 10),
    "erf_inv": (-1, 1),
    "ndtri": (0.01, 1),
    "normal_quantile": (-1, 1),
    "lgamma": (0, 30),
    "digamma": (0, 30),
}


def _defined(name, x):
    """The arguments for which the truth is a finite real number that mpmath finds quickly."""
    low, high = DOMAINS[name]
    bounded = name in (
        "erf",
        "erfc",
        "erfcx",
        "ndtr",
        "log_ndtr",
        "lgamma",
        "digamma",
        "ndtri",
        "sinc",
    )
    if bounded or name in ("atanh", "asin", "acos", "erf_inv", "normal_quantile"):
        return x[(x > low) & (x < high)]
    if low in (0, 1) or name == "log1p":
        return x[x > low]
    if name in ("exp", "exp2", "expm1", "logistic", "sinh", "cosh", "tanh"):
        return x[(x >= low) & (x <= high)]
    return x


def _ulps(got, want):
    """How far a number is from the true one, in units in its last place."""
    rounded = float(want)
    if got == rounded:
        return 0.0
    return float(abs(mpf(float(got)) - want) / mpf(math.ulp(rounded)))


def _worst(name, operands, target):
    got = Standalone(name, np.float64, target)(*operands)
    truth = MP_FUNCTIONS.get(name) or getattr(mpmath, name)
    with mp.workprec(200):
        wants = [truth(*map(mpf, map(float, a))) for a in zip(*operands, strict=True)]
        errors = [_ulps(g, w) for g, w in zip(got, wants, strict=True)]
    worst = int(np.argmax(errors))
    return errors[worst], [o[worst] for o in operands], got[worst], wants[worst]


@pytest.mark.parametrize("name", UNARY)
def test_float64_against_mpmath(name):
    x = _defined(name, _everywhere(np.random.default_rng(0), *DOMAINS[name]))
    for target in TARGETS.values():
        error, *details = _worst(name, [x], target)
        assert error <= LIMITS.get(name, 2.0), details


@pytest.mark.parametrize("name", ["pow", "xlogy", "xlog1py", "atan2", "hypot"])
def test_float64_of_two_operands_against_mpmath(name):
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-100, 100, COUNT)
    x, y = rng.normal(size=(2, 2 * COUNT))
    if name == "pow":
        x = np.concatenate([size, abs(x)])
        y = np.concatenate([y[:COUNT] * 3, y * 30])
    elif name in ("xlogy", "xlog1py"):
        y = abs(y)
    else:
        x, y = np.concatenate([size, x]), np.concatenate([size * y[:COUNT] * 100, y])
    for target in TARGETS.values():
        error, *details = _worst(name, [x, y], target)
        assert error <= 2.0, details


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", [n for n in UNARY if n != "normal_quantile"])
def test_float32_against_float64(name, machine):
    stride = 4093
    error, place = Comparison(name, TARGETS[machine])(0, (2**32 // stride) & -16, stride)
    assert error <= 2.0, place


def _eager(name, *operands):
    with np.errstate(all="ignore"):
        return PRIMITIVES[name].compute(*operands)


def _same_special(got, want):
    """NaN, infinities and signed zeros alike; numbers nearly."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))
    eps = np.finfo(want.dtype).eps
    np.testing.assert_allclose(got[finite], want[finite], rtol=16 * eps, atol=4 * eps)


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_special_arguments(name, dtype, machine):
    info = np.finfo(dtype)
    edges = [info.max, -info.max, info.tiny, info.smallest_subnormal, -info.smallest_subnormal]
    if name == "sinc":
        edges = edges[2:]  # NumPy's product with pi is infinite
    if name == "lgamma":
        edges = edges[:3]  # SciPy's is infinite at the least numbers
    x = np.concatenate([SPECIAL.astype(dtype), np.array(edges, dtype)])
    want = _eager(name, x)
    for lanes in (0, 1):
        _same_special(Standalone(name, dtype, TARGETS[machine], lanes)(x), want)


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_special_pairs(name, dtype, machine):
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(SPECIAL, SPECIAL))
    want = _eager(name, x, y)
    for lanes in (0, 1):
        _same_special(Standalone(name, dtype, TARGETS[machine], lanes)(x, y), want)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lanes_agree(name):
    """A vector, several vectors and the scalar remainder of a loop give the same bits."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        one = Standalone(name, dtype, Target.host(), 1)
        operands = [rng.uniform(0.1, 0.9, 64).astype(dtype) for _ in range(one.arity)]
        want = one(*operands)
        for lanes in (4, 16, 32):
            got = Standalone(name, dtype, Target.host(), lanes)(*operands)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_one_huge_lane_changes_no_other(name):
    function = Standalone(name, np.float32, Target.host())
    x = np.linspace(-3, 3, 16, dtype=np.float32)
    want = function(x)
    mixed = x.copy()
    mixed[5] = 3e33
    got = function(mixed)
    np.testing.assert_array_equal(np.delete(got, 5), np.delete(want, 5))
    assert abs(got[5] - getattr(np, name)(float(mixed[5]))) < 1e-6


def test_sine_and_cosine_stay_within_one():
    rng = np.random.default_rng(0)
    offset = rng.normal(size=200_000) * 10.0 ** rng.uniform(-9, -1, 200_000)
    for dtype in (np.float32, np.float64):
        for target in TARGETS.values():
            assert Standalone("sin", dtype, target)(np.pi / 2 + offset).max() <= 1
            assert Standalone("cos", dtype, target)(offset).max() <= 1
