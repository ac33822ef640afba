"""Inline functions against mpmath, against each other, and at special arguments.

float64 is compared with mpmath at random arguments of all sizes; float32 with float64, over
every 4093rd argument of all (`make accuracy` takes all). Both on this machine and on the least
one, which has neither fused products nor wide registers.
"""

from __future__ import annotations

import math
import sys

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import all_primitives
from wengert.core.tracing import trace
from wengert.engines.native.compile import compile_program
from wengert.engines.native.machine import Target
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.math.standalone import Comparison, Standalone

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
PRIMITIVES = {p.name: p for p in all_primitives()}
UNARY = [n for n, f in FUNCTIONS.items() if f.__code__.co_argcount == 2]
BINARY = [n for n, f in FUNCTIONS.items() if f.__code__.co_argcount == 3]
#: In float32 the other is a given approximation.
EXACT = [n for n in UNARY if n != "normal_quantile"]

#: Largest error in ulp.
LIMIT = 2.0
SPECIAL = np.array(
    [
        *(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0),
        *(1.5, -1.5, 100.0, -100.0, 1000.0, -1000.0, 1e30, -1e30, 1e-30, -1e-30),
    ]
)


def _edges(dtype):
    """Ends of the format, neighbours of 1, and the last odd and the first even numbers."""
    info = np.finfo(dtype)
    odd = 2.0 ** (info.nmant + 1) - 1
    sizes = [info.max, info.tiny, info.tiny / 2, info.smallest_subnormal, odd, odd + 1, odd / 2]
    sizes += [1 + info.eps, 1 - info.epsneg, info.max * 0.75, 1 / info.eps**2]
    sizes += [7.0, 2.0 ** (info.nmant + 7)]
    return np.array([*sizes, *(-size for size in sizes)], dtype)


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
    "lgamma": lambda x: mp.re(mp.loggamma(x)),
    "pow": mp.power,
    "xlogy": lambda x, y: x * mp.log(y),
    "xlog1py": lambda x, y: x * mp.log1p(y),
    "logaddexp": lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))),
    "logaddexp2": lambda x, y: max(x, y) + mp.log1p(mpf(2) ** -abs(x - y)) / mp.log(2),
}
COUNT = 150


#: Places where errors were found to be large, or where pieces of a function meet.
WORST = {
    "exp": [-4.5],
    "expm1": [0.36, -0.36],
    "logistic": [-2.75, -19.7],
    "sinh": [0.365, 0.417, 0.45],
    "tanh": [0.2214, 0.4996],
    "log10": [0.75],
    "acosh": [1.031],
    "atanh": [0.2235],
    "sin": [11.0, 23.643],
    "cos": [1e-6, 688.0068],
    "tan": [0.7854, 292.9157, 382117.4137],
    "sinc": [1.4997, 2.5468, 6.5294],
    "atan": [0.5, 2.0],
    "erf": [1.0, 1.0567],
    "erfc": [0.5, 0.75, 1.75],
    "erfcx": [-0.5, 0.75, 0.8, 28.0, 36.107],
    "entr": [0.75],
    "ndtr": [-1.0, -2.7596, -5.194],
    "log_ndtr": [-39.0, -1.0003, 1.0, 2.75],
    "erf_inv": [0.75, 0.84, 1.0],
    "ndtri": [0.125, 0.183, 0.875, 1e-9],
    "normal_quantile": [0.75, 0.8984, 3e-308],
    "lgamma": [0.75, 1.0, 1.84, 2.0, 2.25, 4.0, 11.34],
    "digamma": [1.0, 1.4616321449683622, 2.06, 2.11, 4.0, 9.75],
}


def _everywhere(rng, name):
    """Numbers of all sizes, many in an interval, and many where it is hard."""
    low, high = DOMAINS[name]
    bits = rng.integers(0, 2**63, COUNT, dtype=np.int64).view(np.float64)
    signed = bits * rng.choice([-1.0, 1.0], COUNT)
    near = rng.normal(size=COUNT) * 10.0 ** rng.uniform(-12, 0, COUNT)
    worst = np.repeat(WORST.get(name, [1.0]), COUNT // 3)
    worst *= 1 + rng.normal(size=worst.size) * 10.0 ** rng.uniform(-16, -2, worst.size)
    return np.concatenate([signed, rng.uniform(low, high, COUNT), near, worst])


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


def _ulps(got, want, size=0.0):
    """How far a number is from the true one, in units in the last place of the true one.

    Or in those of a size that is larger. Infinity counts as the number after the largest.
    """
    rounded = float(want)
    if got == rounded:
        return 0.0
    got = math.copysign(2, got) * mpf(2) ** 1023 if math.isinf(got) else mpf(float(got))
    unit = math.ulp(min(max(abs(rounded), size), sys.float_info.max))
    return float(abs(got - want) / mpf(unit))


def _check(name, operands, sizes=None):
    """float64 results on all machines against mpmath; errors may be measured by sizes."""
    truth = MP_FUNCTIONS.get(name) or getattr(mpmath, name)
    sizes = np.zeros(len(operands[0])) if sizes is None else sizes
    with mp.workprec(160):
        wants = [truth(*map(mpf, map(float, a))) for a in zip(*operands, strict=True)]
        for target in TARGETS.values():
            got = Standalone(name, np.float64, target)(*operands)
            errors = [_ulps(*each) for each in zip(got, wants, sizes, strict=True)]
            worst = int(np.argmax(errors))
            details = [float(o[worst]) for o in operands], got[worst], float(wants[worst])
            assert errors[worst] <= LIMIT, (errors[worst], *details)


@pytest.mark.parametrize("name", UNARY)
def test_float64_against_mpmath(name):
    _check(name, [_defined(name, _everywhere(np.random.default_rng(0), name))])


def test_gamma_functions_of_negative_numbers():
    """Near zeros two terms cancel: errors are measured by the larger one."""
    rng = np.random.default_rng(0)
    x = -np.concatenate([rng.uniform(0, 12, 200), 10.0 ** rng.uniform(-300, 8, 200)])
    x = x[x != np.rint(x)]
    below = Standalone("lgamma", np.float64, Target.host())
    psi = Standalone("digamma", np.float64, Target.host())
    _check("lgamma", [x], np.maximum(1, abs(below(-x)) + abs(below(x))))
    _check("digamma", [x], abs(psi(1 - x)) + abs(psi(x)))


# -- two operands ------------------------------------------------------------------------------


def _pairs(name, dtype, count):
    """Pairs of any bits, ordinary ones, and ones that are hard for the function."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    width = 8 * np.dtype(dtype).itemsize
    bits = rng.integers(0, 2**width, (2, count), dtype=f"uint{width}").view(dtype)
    x, y = rng.normal(size=(2, count)) * 10
    near = 10.0 ** rng.uniform(math.log10(info.eps), 0, count) * rng.choice([-1, 1], count)
    size = 2.0 ** rng.uniform(info.minexp, info.maxexp - 1, count)
    exponent = rng.uniform(1.05 * info.minexp, 1.05 * info.maxexp, count)  # of a result
    hard = {
        "pow": [(abs(x), y), (1 + near / 2, exponent / np.log2(1 + near / 2))],
        "xlogy": [(x, 1 + near / 2), (size, abs(y))],
        "xlog1py": [(x, near / 2), (size, abs(y))],
        "atan2": [(x, x * (2 + near)), (size * near, size)],
        "hypot": [(x, x * (1 + near)), (size * near, size)],
    }.get(name, [(x, x + 10 * near), (-abs(near), np.log(-np.expm1(-abs(near)))), (0 * x, y)])
    if name == "pow":
        hard.append((size, exponent / np.log2(size)))
    with np.errstate(all="ignore"):
        pairs = np.concatenate([bits, [x, y], *hard], axis=1).astype(dtype)
    if name == "pow":
        pairs[0] = abs(pairs[0])
    if name in ("xlogy", "xlog1py"):
        pairs[1] = np.where(pairs[1] <= (-1 if name == "xlog1py" else 0), 0.5, pairs[1])
    defined = (pairs[0] != 0) if name == "pow" else True
    return pairs[:, np.isfinite(pairs).all(axis=0) & defined]


def _sizes(name, pairs):
    """By what errors are measured besides results: sums of logarithms may cancel."""
    return abs(pairs.max(axis=0)) if name.startswith("logaddexp") else np.zeros(len(pairs[0]))


@pytest.mark.parametrize("name", BINARY)
def test_float64_of_two_operands_against_mpmath(name):
    pairs = _pairs(name, np.float64, COUNT)
    _check(name, pairs, _sizes(name, pairs))


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", BINARY)
def test_float32_of_two_operands_against_float64(name, machine):
    pairs = _pairs(name, np.float32, 50_000)
    got = Standalone(name, np.float32, TARGETS[machine])(*pairs).astype(np.float64)
    want = Standalone(name, np.float64, Target.host())(*pairs)
    got, want = (np.clip(a, -(2.0**128), 2.0**128) for a in (got, want))
    size = np.maximum(abs(want), _sizes(name, pairs))
    size = np.minimum(size, float(np.nextafter(np.finfo(np.float32).max, np.float32(0))))
    errors = abs(got - want) / np.spacing(size.astype(np.float32))
    worst = int(np.argmax(errors))
    assert errors[worst] <= LIMIT, (pairs[:, worst], got[worst], want[worst])


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", EXACT)
def test_float32_against_float64(name, machine):
    stride = 4093
    error, place = Comparison(name, TARGETS[machine])(0, (2**32 // stride) & -16, stride)
    assert error <= LIMIT, place


#: What is wrong at one argument: too large by three units, no number, no size, no sign.
WRONG = {
    "three units": lambda v, y: v.as_float(
        v.builder.add(v.as_bits(y), v.constant(3, v.as_bits(y)))
    ),
    "NaN": lambda v, y: v.constant(math.nan, y),
    "infinity": lambda v, y: v.constant(math.inf, y),
    "zero": lambda v, y: v.constant(0.0, y),
    "sign": lambda v, y: v.neg(y),
}


@pytest.mark.parametrize(
    "how, argument", [*((how, 0.7) for how in WRONG), ("sign", -0.0), ("zero", -np.inf)]
)
def test_comparison_finds_one_wrong_argument(monkeypatch, how, argument):
    name = "sin" if argument == 0 else "exp2" if how == "sign" else "logistic"
    right, argument = FUNCTIONS[name], np.float32(argument)

    def wrong(v, x):
        y = right(v, x)
        if v.is_double(x):
            return y
        bits = v.as_bits(x)
        here = v.compare("eq", bits, v.constant(int(argument.view(np.int32)), bits))
        return v.select(here, WRONG[how](v, y), y)

    monkeypatch.setitem(FUNCTIONS, "wrong", wrong)
    start = int(argument.view(np.uint32)) & -(1 << 12)
    error, place = Comparison("wrong", Target.host())(start, start + (1 << 12))
    if (how, argument) == ("zero", -np.inf):  # which is right
        assert error <= LIMIT
    else:
        assert (error > LIMIT, place) == (True, argument)
    assert Comparison(name, Target.host())(start, start + (1 << 12))[0] <= LIMIT


# -- special values ----------------------------------------------------------------------------


def _eager(name, *operands):
    with np.errstate(all="ignore"):
        return PRIMITIVES[name].compute(*operands)


def _same_special(got, want):
    """NaN, infinities and signed zeros alike; numbers nearly."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    zero = (got == 0) & (want == 0)
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
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
    values = np.concatenate([SPECIAL.astype(dtype), _edges(dtype)])
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    want = _eager(name, x, y)
    for lanes in (0, 1):
        _same_special(Standalone(name, dtype, TARGETS[machine], lanes)(x, y), want)


def _order(x):
    """16-bit floats as whole numbers, neighbours one apart; both zeros are 0."""
    bits = x.view(np.int16).astype(np.int32)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", EXACT)
def test_all_16_bit_arguments(name, dtype):
    """By way of float32: special values as of float64, others at most a neighbour."""
    x = np.arange(1 << 16, dtype=np.uint16).view(dtypes.as_dtype(dtype))
    value = as_array(x)
    program = trace(lambda args: [PRIMITIVES[name](*args)], [value.type])
    (got,) = compile_program(program, Target.host())([value._value])
    with np.errstate(all="ignore"):
        want = Standalone(name, np.float64, Target.host())(x.astype(np.float64)).astype(x.dtype)
        nan = np.isnan(want.astype(np.float32))
    np.testing.assert_array_equal(np.isnan(got.astype(np.float32)), nan)
    far = ~nan & (abs(_order(got) - _order(want)) > 1)
    signs = ~nan & (np.signbit(got.astype(np.float32)) != np.signbit(want.astype(np.float32)))
    assert not (far | signs).any(), (x[far | signs][:5], got[far | signs][:5])


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
