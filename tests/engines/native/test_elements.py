"""Elements at special values, against the eager engine, on two machines.

Every elementwise primitive runs over all pairs (triples) of a list of values per dtype: zeros
of both signs, denormals, neighbours of powers, huge ones, infinities and NaN. What is exact
must have equal bits, NaNs aside; transcendental functions may differ by a few units.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from engines.native.test_primitives import ULPS, parts

import wengert
import wengert.numpy as wnp
from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.interpreter import quiet
from wengert.core.primitive import all_primitives
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.engines.native.compile import compile_program
from wengert.engines.native.kernels import classify, group
from wengert.engines.native.machine import Target
from wengert.engines.native.steps import LoopKernel
from wengert.passes.pipeline import optimise
from wengert.primitives import elementwise, reduce, shape, special, transcendental
from wengert.primitives.basis import Elementwise, reduce_sum
from wengert.primitives.cast import Unary, bitcast_convert, optimization_barrier
from wengert.primitives.compare import select
from wengert.primitives.families import ElementwiseLinear
from wengert.primitives.marks import checkpoint_name
from wengert.primitives.random_bits import (
    bits_for,
    normal_quantile,
    threefry2x32,
    unit_interval,
)
from wengert.primitives.threefry import LAYOUTS

REAL = ("float32", "float64", "float16", "bfloat16")
WHOLE = ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
COMPLEX = ("complex64", "complex128")


def floats(dtype):
    """Values where something special happens, in one real dtype."""
    dtype = dtypes.as_dtype(dtype)
    wide = np.float64 if dtype.itemsize == 8 else np.float32
    limits = {"float16": (65504.0, 6.1e-5, 6e-8), "bfloat16": (3.39e38, 1.18e-38, 9.2e-41)}
    info = np.finfo(wide)
    largest, least, denormal = limits.get(
        dtype.name, (info.max, info.tiny, info.smallest_subnormal)
    )
    sizes = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.25, 100.5, 2.0**14, 0.1, 0.75, np.inf, np.nan]
    sizes += [largest, least, denormal, 3 * denormal, largest / 3, 1 + 2.0**-7]
    values = np.array([*sizes, *(-s for s in sizes)], wide)
    with np.errstate(all="ignore"):
        return values.astype(dtype)


def wholes(dtype):
    """The ends of an integer dtype, and some between."""
    info = np.iinfo(dtype)
    numbers = [0, 1, 2, 3, 6, 35, 64, 100, info.max, info.max - 1, info.min, info.min + 1]
    numbers += [-1, -2, -3, -12] if info.min < 0 else []
    return np.array(numbers, dtype)


def complexes(dtype):
    """Pairs of special parts."""
    parts = np.array([0.0, -0.0, 1.0, -1.5, 0.3, np.inf, -np.inf, np.nan, 1e12, 1e-12])
    real, imag = np.meshgrid(parts, parts)
    out = np.empty(real.shape, dtype)
    out.real, out.imag = real, imag
    return out.ravel()


def values_of(dtype):
    kind = dtypes.kind(dtypes.as_dtype(dtype))
    if kind == "b":
        return np.array([False, True])
    return {"f": floats, "c": complexes}.get(kind, wholes)(dtype)


def grid(values, count):
    """`count` flat operands that together have every combination."""
    return [np.ascontiguousarray(g.ravel()) for g in np.meshgrid(*[values] * count)]


def both(primitive, operands, target, **params):
    """What the eager and the native engine give; None where the equation is not an element."""

    places = [i for i, o in enumerate(operands) if hasattr(o, "dtype")]

    def call(values):
        args = list(operands)
        for place, value in zip(places, values, strict=True):
            args[place] = value
        out = primitive(*args, **params)
        return out if primitive.multiple_results else [out]

    values = [as_array(operands[i]) for i in places]
    program = trace(call, [v.type for v in values])
    kinds = {classify(e) for e in program.equations}
    if kinds != {"element"}:
        return None
    raw = [v._value for v in values]
    return quiet().run(run_program, program, raw), compile_program(program, target)(raw)


def assert_equal(got, wanted, ulps, what, operands, coarse=False):
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), what
    if dtypes.kind(wanted.dtype) in "biu":
        bad = np.flatnonzero(got != wanted)
        shown = [[np.ravel(o)[i % np.size(o)] for o in operands] for i in bad[:5]]
        assert not len(bad), f"{what} at {shown}: {got[bad[:5]]} for {wanted[bad[:5]]}"
        return
    (x, spacing), (y, _) = parts(got), parts(wanted)
    with np.errstate(all="ignore"):
        same = (np.isnan(x) & np.isnan(y)) | ((x == y) & (np.signbit(x) == np.signbit(y)))
        least = 2.0**-24 if wanted.dtype == np.float16 else 2.0**-149
        least = 5e-324 if wanted.dtype.itemsize == 8 and wanted.dtype.kind == "f" else least
        least = spacing / 4 if coarse else least
        scale = np.maximum(np.abs(y) * spacing, least)
        if wanted.dtype.kind == "c":
            size = np.repeat(np.abs(np.atleast_1d(wanted)).ravel(), 2).reshape(y.shape)
            scale = np.maximum(size * spacing, least)
        close = np.abs(x - y) <= ulps * scale if ulps else np.zeros(x.shape, bool)
    bad = np.flatnonzero(~(same | close))
    step = max(len(x) // max(got.size, 1), 1)
    shown = [[np.ravel(o)[i // step % np.size(o)] for o in operands] for i in bad[:5]]
    assert not len(bad), f"{what} at {shown}: {x[bad[:5]]} for {y[bad[:5]]}"


#: Elements with more than one operand: how many.
ARITY = {
    **dict.fromkeys("add sub mul masked_mul div floor_divide rem mod pow hypot".split(), 2),
    **dict.fromkeys("copysign heaviside share maximum minimum fmax fmin".split(), 2),
    **dict.fromkeys("nextafter gcd lcm atan2 logaddexp logaddexp2 xlogy xlog1py".split(), 2),
    **dict.fromkeys("eq ne lt le gt ge bitwise_and bitwise_or bitwise_xor".split(), 2),
    **dict.fromkeys("shift_left shift_right_arithmetic shift_right_logical".split(), 2),
    **dict.fromkeys("rel_entr kl_div betaln zeta igamma igammac".split(), 2),
    **dict.fromkeys(["clamp", "betainc"], 3),
}
#: Parameters that an element needs, in several versions.
PARAMETERS = {
    "integer_pow": [{"y": y} for y in (-9, -3, -1, 0, 1, 2, 3, 4, 5, 8, 11)],
    "share": [{}, {"lesser": True}, {"ignore_nan": True}],
    "round": [{}, {"away_from_zero": True}],
    "reduce_precision": [
        {"exponent_bits": e, "mantissa_bits": m} for e, m in ((8, 7), (5, 10), (4, 3), (2, 0))
    ],
    "bessel_i": [{"order": n} for n in (0, 1, 3)],
    "bessel_ie": [{"order": n} for n in (0, 1, 3)],
    "expn": [{"n": n} for n in (0, 1, 3)],
    "checkpoint_name": [{"name": "a"}],
}
#: What is tested by itself, below, or has operands of several dtypes.
APART = frozenset(
    "select ldexp convert bitcast_convert unit_interval threefry2x32 complex polygamma "
    "igamma_grad_a random_gamma_grad betainc_grad".split()
)


#: What the eager engine rounds more often than we do: units by which it is off itself.
ROUGH = {
    "integer_pow": 4.0,
    "complex_abs": 2.0,
    **dict.fromkeys(("ndtr", "log_ndtr", "erfc", "logaddexp", "logaddexp2"), 256.0),
    **dict.fromkeys(("lgamma", "digamma"), 64.0),
}
#: Where it has results near zero that are nothing but rounding.
COARSE = frozenset(["logistic", "sinc", "logaddexp", "logaddexp2", "digamma", "lgamma"])


#: Functions of complex numbers that are not NumPy's own loops.
ANALYTIC = frozenset(
    "sign logistic mul masked_mul square integer_pow exp log log2 log10 sqrt rsqrt sinh cosh "
    "tanh sin cos tan".split()
)


def tolerance(name, dtype):
    """Units in the last place of the result, of complex ones in that of its size."""
    kind = dtypes.kind(dtypes.as_dtype(dtype))
    if kind == "c" and name != "complex_abs":
        return 8.0 if name in ANALYTIC else 0.0
    return 0.0 if kind in "biu" else ROUGH.get(name, ULPS.get(name, 0.0))


def is_elementwise(primitive):
    return isinstance(primitive, (Elementwise, ElementwiseLinear, Unary))


@pytest.mark.parametrize("target", ["host", "baseline"])
def test_special_values(primitive, target):
    name = primitive.name
    if not is_elementwise(primitive) or name in APART:
        return
    machine = getattr(Target, target)()
    for dtype in ("bool", *REAL, *WHOLE, *COMPLEX):
        values = values_of(dtype)
        if (name, dtype) == ("sinc", "float64"):  # pi times the largest overflows
            values = values[~(np.abs(values) > 1e307)]
        operands = grid(values, ARITY.get(name, 1))
        for params in PARAMETERS.get(name, [{}]):
            what = f"{name}({dtype}) {params} on {target}"
            try:
                found = both(primitive, operands, machine, **params)
            except (errors.DTypeError, TypeError):
                continue
            if found is None:
                continue
            for wanted, got in zip(*found, strict=True):
                ulps = tolerance(name, dtype)
                assert_equal(got, wanted, ulps, what, operands, name in COARSE)


# -- operands of several dtypes -----------------------------------------------


TARGETS = pytest.mark.parametrize(
    "target", [Target.host(), Target.baseline()], ids=["host", "baseline"]
)


def check(primitive, operands, target, **params):
    found = both(primitive, operands, target, **params)
    assert found is not None, f"{primitive} is no element"
    for wanted, got in zip(*found, strict=True):
        assert_equal(got, wanted, 0.0, f"{primitive.name} {params}", operands)


@TARGETS
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("whole", ["int32", "int64", "int8", "uint8", "uint32"])
def test_powers_of_two(dtype, whole, target):
    info = np.iinfo(whole)
    exponents = [0, 1, 5, 24, 53, 64, 100, 127, info.max, info.min]
    exponents += [-1, -2, -24, -53, -100, -127, -info.max] if info.min < 0 else []
    exponents += [1000, -1000, 1075, -1074, 2100, -2100, -149] if info.min < -1000 else []
    x, n = floats(dtype), np.array(exponents, whole)
    x, n = np.repeat(x, len(n)), np.tile(n, len(x))
    check(elementwise.ldexp, [x, n], target)


@TARGETS
@pytest.mark.parametrize("dtype", [*REAL, *WHOLE, "bool"])
def test_bits_of_another_dtype(dtype, target):
    x = values_of(dtype)
    for other in (*REAL, *WHOLE):
        if dtypes.as_dtype(other).itemsize == x.dtype.itemsize:
            check(bitcast_convert, [x], target, dtype=dtypes.as_dtype(other))


@TARGETS
@pytest.mark.parametrize("dtype", REAL)
def test_select(dtype, target):
    x, y = grid(floats(dtype), 2)
    check(select, [np.arange(len(x)) % 3 == 0, x, y], target)


@TARGETS
@pytest.mark.parametrize("dtype", REAL)
def test_floats_of_random_bits(dtype, target):
    dtype = dtypes.as_dtype(dtype)
    width = bits_for(dtype)
    bits = np.random.default_rng(20).integers(0, 2**width, 503, dtype=f"u{width // 8}")
    check(unit_interval, [bits], target, dtype=dtype)


@TARGETS
def test_hashes(target):
    words = np.random.default_rng(3).integers(0, 2**32, (4, 3, 21), dtype=np.uint32)
    check(threefry2x32, list(words), target)
    check(threefry2x32, [words[0, :, :1], words[1, :1], words[2, 0], words[3, 0, 0]], target)


@TARGETS
@pytest.mark.parametrize("dtype", REAL)
def test_orders_of_polygamma(dtype, target):
    x = floats(dtype)
    for n in (0.0, 1.0, 2.0, 5.0, 0.5, -1.0):
        check(special.polygamma, [n, x], target)
        check(special.polygamma, [np.full(len(x), n, x.dtype), x], target)


@TARGETS
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_remainders_of_long_divisions(dtype, target):
    rng, dtype = np.random.default_rng(7), dtypes.as_dtype(dtype)
    reach = {2: 8, 4: 60, 8: 500}[dtype.itemsize]
    with np.errstate(all="ignore"):
        x, y = (
            (rng.standard_normal(4001) * 2.0 ** rng.integers(-reach, reach, 4001)).astype(dtype)
            for _ in range(2)
        )
    for primitive in (elementwise.rem, elementwise.mod, elementwise.floor_divide):
        check(primitive, [x, y], target)


@TARGETS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers(dtype, target):
    dtype = np.dtype(dtype)
    inside = np.linspace(-1, 1, 3001, dtype=dtype)
    near = 1 - dtype.type(2) ** -np.arange(1, 25, dtype=dtype)
    u = np.concatenate([inside, near, -near, np.array([0.0, -0.0, 1.5, np.nan], dtype)])
    (wanted,), (got,) = both(normal_quantile, [u], target)
    np.testing.assert_allclose(got, wanted, rtol=3e-7 if dtype.itemsize == 4 else 1e-14)


# -- reductions and views -----------------------------------------------


def program_of(function, *values):
    values = [as_array(v) for v in values]
    program = trace(lambda xs: [function(*xs)], [v.type for v in values])
    return program, [v._value for v in values]


def compare(function, *values, target, kinds):
    program, raw = program_of(function, *values)
    assert {classify(e) for e in program.equations} <= kinds
    (got,), (wanted,) = (
        compile_program(program, target)(raw),
        quiet().run(run_program, program, raw),
    )
    assert_equal(got, wanted, 4.0, str(program), values)


REDUCTIONS = [reduce.reduce_prod, reduce.reduce_max, reduce.reduce_min, reduce_sum]


@TARGETS
@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_reductions_of_complex_numbers(reduction, axes, target):
    rng = np.random.default_rng(0)
    for size in ((3, 2), (40, 33), (2, 300)):
        z = rng.standard_normal(size) + 1j * rng.standard_normal(size)
        z = z / np.abs(z)
        for dtype in COMPLEX:
            x = z.astype(dtype)
            call = functools.partial(reduction, axes=axes)
            if reduction.name in ("reduce_max", "reduce_min"):
                compare(call, x, target=target, kinds={"reduction"})
                x[size[0] // 2, 1] = np.nan
                compare(call, x, target=target, kinds={"reduction"})
            else:
                program, raw = program_of(call, x)
                (got,) = compile_program(program, target)(raw)
                wanted = quiet().run(run_program, program, raw)[0]
                np.testing.assert_allclose(got, wanted, rtol=0, atol=size[0] * 2e-6)


@TARGETS
def test_reductions_of_nothing(target):
    for primitive in (reduce.reduce_and, reduce.reduce_or, reduce.reduce_xor):
        for dtype in ("bool", "int8", "uint16", "int64"):
            call = functools.partial(primitive, axes=(0,))
            compare(call, np.zeros((0, 3), dtype), target=target, kinds={"reduction"})
    for primitive in (reduce.reduce_prod, reduce_sum):
        for dtype in ("float32", "float16", "complex64", "int32"):
            for axes in ((0,), (0, 1)):
                call = functools.partial(primitive, axes=axes)
                compare(call, np.zeros((0, 3), dtype), target=target, kinds={"reduction"})


@TARGETS
def test_padding_between_elements(target):
    x = np.arange(1.0, 31.0, dtype=np.float32).reshape(5, 6)
    for config in itertools.product([(0, 0, 1), (2, -1, 2), (-3, 4, 3), (1, 1, 0)], repeat=2):
        call = functools.partial(shape.pad, padding_config=config)
        compare(call, x, np.float32(-1), target=target, kinds={"view"})
        compare(call, x[:1], np.float32(-1), target=target, kinds={"view"})
        compare(call, x[:, :0], np.float32(-1), target=target, kinds={"view"})


@pytest.mark.parametrize("rename", [checkpoint_name, optimization_barrier], ids=str)
def test_names_of_arrays_in_memory_are_no_copies(rename):
    params = {"name": "x"} if rename is checkpoint_name else {}
    x = np.random.default_rng(0).standard_normal((40, 40))
    program, raw = program_of(lambda x: wnp.sort(rename(x, **params), axis=0), x)
    assert len(group(program).steps) == 1
    np.testing.assert_array_equal(compile_program(program)(raw)[0], np.sort(x, axis=0))


@TARGETS
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
def test_powers_of_integers(dtype, target):
    x = wholes(dtype)
    for y in (0, 1, 2, 3, 7, 62, 63, 65, 100):
        check(transcendental.pow, [x, np.array(y, dtype)], target)
        check(transcendental.pow, [x, y], target)
    check(transcendental.pow, [np.arange(-3, 4)[:, None], np.arange(9)], target)
    check(transcendental.pow, [2, np.arange(70)], target)


@TARGETS
def test_integers_to_negative_powers(target):
    program, raw = program_of(transcendental.pow, np.arange(40), np.arange(40) - 1)
    with pytest.raises(errors.DTypeError, match="negative power"):
        compile_program(program, target)(raw)
    raw[1][0] = 5
    (got,) = compile_program(program, target)(raw)
    np.testing.assert_array_equal(got, raw[0] ** raw[1])


@TARGETS
@pytest.mark.parametrize(
    "name", sorted(ANALYTIC - {"sign", "masked_mul", "integer_pow", "mul"})
)
def test_complex_functions_at_all_scales(name, target):
    rng = np.random.default_rng(0)
    primitive = next(p for p in all_primitives() if p.name == name)
    directions = np.exp(1j * rng.uniform(-np.pi, np.pi, 300))
    scales = [*10.0 ** rng.uniform(-8, 1.2, 200), *(1 + 1e-6 * rng.standard_normal(100))]
    z = np.concatenate([directions * scales, 1 + 1e-5 * directions])
    for dtype in COMPLEX:
        x = z.astype(dtype)
        (wanted,), (got,) = both(primitive, [x], target)
        error = np.abs(got.astype(np.complex128) - wanted) / np.abs(wanted)
        assert error.max() <= 8 * np.finfo(dtype).eps


@TARGETS
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_derivatives_in_shape_parameters(dtype, target):
    sizes = [0.0, 0.1, 0.5, 1.0, 2.5, 11.0, 60.0, np.inf, np.nan, -0.0, -1.0]
    values = np.array(sizes, np.float32).astype(dtypes.as_dtype(dtype))
    a, x = grid(values, 2)
    cases = [(special.igamma_grad_a, [a, x], {"order": n}) for n in (1, 2)]
    cases += [(special.random_gamma_grad, [a, x], {"order": n}) for n in (1, 2)]
    cases += [(special.zeta, [a, x], {"order": n}) for n in (1, 3)]
    a, b = grid(values, 2)
    for p in (0.0, 0.2, 0.875, 1.5):
        p = np.full(a.shape, p, np.float32).astype(a.dtype)
        cases += [(special.betainc_grad, [a, b, p], {"order": n}) for n in ((1, 0), (1, 2))]
    for primitive, operands, params in cases:
        (wanted,), (got,) = both(primitive, operands, target, **params)
        if a.dtype == np.float64:
            np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-15)
        else:
            what = f"{primitive.name} {params}"
            assert_equal(got, wanted, 1.0, what, operands, coarse=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_random_numbers_in_a_loop_are_part_of_its_kernels(layout, dtype):
    key = wengert.random.key(7, impl=layout)

    def walk(x, n):
        z = wengert.random.normal(wengert.random.fold_in(key, n), (33,), dtype)
        return x + z, z

    def run(x):
        return wengert.lax.scan(walk, x, wnp.arange(5))

    x = wnp.zeros(33, dtype)
    program = wengert.make_program(run)(x)
    (scan,) = (e for e in optimise(program).equations if e.primitive.name == "scan")
    assert all(isinstance(step, LoopKernel) for step in group(scan.params["body"]).steps)
    for got, wanted in zip(wengert.jit(run)(x), run(x), strict=True):
        np.testing.assert_allclose(
            np.asarray(got, np.float64), np.asarray(wanted, np.float64), rtol=0, atol=1e-2
        )
