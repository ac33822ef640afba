"""Elementwise primitives at special values, at kinks, over all dtypes, and with literals.

The generated tests cover smooth points; here are the points they must avoid. Expected numbers
are conventions of the documentation, exact values, or mpmath's.
"""

from __future__ import annotations

import math

import ml_dtypes
import mpmath
import numpy as np
import pytest

import wengert
from wengert import errors
from wengert.core.array import Array, ArrayType
from wengert.core.primitive import all_primitives
from wengert.primitives import cast, compare, elementwise, special, transcendental
from wengert.primitives.families import Numeric

INF, NAN = math.inf, math.nan
FLOATS = [np.dtype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
SIGNED = [np.int8, np.int16, np.int32, np.int64]
UNSIGNED = [np.uint8, np.uint16, np.uint32, np.uint64]
FAMILIES = (elementwise, transcendental, special)
BINARY_REAL = [
    p
    for p in all_primitives()
    if isinstance(p, Numeric)
    and type(p).__module__ in {m.__name__ for m in FAMILIES}
    and "f" in p.kinds
    and len(p.domains) == 2
    and p.name != "betaln"
]


def assert_same(actual, expected):
    """Equality, NaN included, which NumPy's own assertion does not know for bfloat16."""
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual.astype(np.float64), expected.astype(np.float64))


def run(primitive, *args, **params):
    """The NumPy value of a primitive on NumPy values; Python scalars stay literals."""
    operands = [Array(a) if hasattr(a, "dtype") else a for a in args]
    return np.asarray(primitive(*operands, **params))


def slope(primitive, *point, argnum=0, **params):
    """The derivative at a float64 point, by reverse mode; forward mode must agree."""
    args = [np.float64(p) for p in point]
    backward = wengert.grad(lambda *xs: primitive(*xs, **params), argnum)(*args)

    def one(x):
        return primitive(*args[:argnum], x, *args[argnum + 1 :], **params)

    args = [Array(a) for a in args]
    forward = wengert.jvp(one, (args[argnum],), (np.float64(1.0),))[1]
    np.testing.assert_array_equal(np.asarray(backward), np.asarray(forward))
    return float(backward)


def derivative(primitive, order, x, **params):
    """The derivative of an order at a float64 point."""
    f = lambda x: primitive(x, **params)
    for _ in range(order):
        f = wengert.grad(f)
    return float(f(np.float64(x)))


# -- dtypes and literals --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("function", BINARY_REAL, ids=lambda p: p.name)
def test_a_python_scalar_takes_the_dtype_of_the_other_operand(function, dtype):
    for shape in ((), (2,)):
        x = np.full(shape, 1.5, dtype)[()]
        for args in ((x, 2.0), (2.0, x), (x, 2), (2, x)):
            out = run(function, *args)
            whole = [x if a is x else dtype.type(a) for a in args]
            expected = run(function, *whole)
            assert out.dtype == expected.dtype
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gradients_keep_the_dtype_of_their_argument(dtype):
    x = np.array([0.5, 0.25], dtype)
    for f in (
        lambda x: elementwise.sqrt(transcendental.exp(elementwise.div(1.0, x))),
        lambda x: elementwise.maximum(x, 0.0),
        lambda x: compare.select(compare.gt(x, 0.3), x, 0.0),
        lambda x: transcendental.pow(2.0, x),
        lambda x: special.igamma(x, 2.0),
    ):
        out, pull = wengert.vjp(f, x)
        assert out.dtype == dtype
        assert pull(out)[0].dtype == dtype


def test_operands_of_two_dtypes_are_refused_when_traced():
    f32, f64 = ArrayType((2,), np.float32), ArrayType((2,), np.float64)
    for primitive in (elementwise.sub, compare.lt, transcendental.atan2):
        with pytest.raises(errors.DTypeError, match="one dtype"):
            primitive.type_rule(f32, f64)
    with pytest.raises(errors.DTypeError, match="one dtype"):
        compare.select.type_rule(ArrayType((), np.bool_), f32, f64)


@pytest.mark.parametrize(
    "function", [transcendental.sin, elementwise.sqrt, special.erf], ids=lambda p: p.name
)
def test_functions_of_floats_refuse_integers_when_traced(function):
    with pytest.raises(errors.DTypeError, match="takes operands of these kinds: floating"):
        function.type_rule(ArrayType((2,), np.int32))


def test_weak_types_of_selections_and_conversions():
    pred, weak, strong = Array(np.bool_(True)), Array(np.float32(1), True), Array(np.float32(2))
    assert compare.select(pred, weak, weak).weak_type
    assert compare.select(pred, weak, 0.0).weak_type
    assert not compare.select(pred, weak, strong).weak_type
    assert cast.convert(strong, dtype=np.dtype(np.float32), weak=True).weak_type
    assert not cast.convert(weak, dtype=np.dtype(np.float32)).weak_type
    assert not compare.eq(weak, weak).weak_type


# -- integers -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", SIGNED)
def test_signed_division_by_zero_and_overflow_are_defined(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.array([7, -7, 7, -7, 5, -5, low, high], dtype)
    y = np.array([2, 2, -2, -2, 0, 0, -1, -1], dtype)
    quotient = run(elementwise.div, x, y)
    np.testing.assert_array_equal(quotient, [3, -3, -3, 3, -1, -1, low, -high])
    np.testing.assert_array_equal(run(elementwise.rem, x, y), [1, -1, 1, -1, 5, -5, 0, 0])
    np.testing.assert_array_equal(run(elementwise.mod, x, y), [1, 1, -1, -1, 0, 0, 0, 0])
    down = run(elementwise.floor_divide, x, y)
    np.testing.assert_array_equal(down, [3, -4, -4, 3, 0, 0, low, -high])
    assert {out.dtype for out in (quotient, down)} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_division_by_zero_is_defined(dtype):
    x, y = np.array([7, 5], dtype), np.array([2, 0], dtype)
    np.testing.assert_array_equal(run(elementwise.div, x, y), [3, np.iinfo(dtype).max])
    np.testing.assert_array_equal(run(elementwise.rem, x, y), [1, 5])


def test_large_integers_divide_exactly():
    x = np.int64(2**62 + 1)
    assert run(elementwise.div, x, np.int64(1)) == x
    assert run(elementwise.div, x, -1) == -x


@pytest.mark.parametrize(
    "call",
    [
        lambda: run(transcendental.pow, np.int32(2), np.int32(-1)),
        lambda: run(elementwise.integer_pow, np.arange(3), y=-2),
    ],
)
def test_an_integer_to_a_negative_power_is_refused(call):
    with pytest.raises(errors.DTypeError, match="negative power"):
        call()


@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED)
def test_bits_are_counted_in_twos_complement(dtype):
    size = 8 * np.dtype(dtype).itemsize
    x = np.array([0, 1, 8, 127], dtype)
    np.testing.assert_array_equal(run(compare.population_count, x), [0, 1, 1, 7])
    np.testing.assert_array_equal(run(compare.clz, x), [size, size - 1, size - 4, size - 7])
    ones = np.array(-1).astype(dtype)[()]
    assert run(compare.population_count, ones) == size
    assert run(compare.clz, ones) == 0
    assert run(compare.clz, ones).dtype == dtype


@pytest.mark.parametrize("dtype", SIGNED)
def test_shifts_by_too_much_leave_zero_or_the_sign(dtype):
    size = 8 * np.dtype(dtype).itemsize
    x = np.full(4, -5, dtype)
    y = np.array([1, size - 1, size, -1], dtype)
    np.testing.assert_array_equal(
        run(compare.shift_left, x, y), [-10, np.iinfo(dtype).min, 0, 0]
    )
    np.testing.assert_array_equal(run(compare.shift_right_arithmetic, x, y), [-3, -1, -1, -1])
    logical = run(compare.shift_right_logical, x, y)
    np.testing.assert_array_equal(logical, [np.iinfo(dtype).max - 2, 1, 0, 0])


def test_extrema_and_signs_of_integers_and_bools():
    x, y = np.array([3, -4, 0], np.int8), np.array([3, 5, -1], np.int8)
    np.testing.assert_array_equal(run(elementwise.maximum, x, y), [3, 5, 0])
    np.testing.assert_array_equal(run(elementwise.sign, x), [1, -1, 0])
    np.testing.assert_array_equal(
        run(elementwise.abs, np.array([-128, -3], np.int8)), [-128, 3]
    )
    t, f = np.array([True, False]), np.array([False, False])
    np.testing.assert_array_equal(run(elementwise.maximum, t, f), [True, False])
    np.testing.assert_array_equal(run(compare.bitwise_not, t), [False, True])
    np.testing.assert_array_equal(run(compare.signbit, x), [False, True, False])


# -- NaN, infinities, signed zeros, denormals -----------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_comparisons_with_nan(dtype):
    nan, one = dtype.type(NAN), dtype.type(1.0)
    for primitive in (compare.eq, compare.lt, compare.le, compare.gt, compare.ge):
        assert not run(primitive, nan, one)
        assert not run(primitive, nan, nan)
    assert run(compare.ne, nan, nan)
    assert run(compare.isnan, nan)
    assert not run(compare.isnan, one)
    assert run(compare.isinf, dtype.type(-INF))
    assert not run(compare.is_finite, nan)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_extrema_propagate_nan_and_fmax_avoids_it(dtype):
    x = np.array([NAN, 1.0, NAN, 2.0], dtype)
    y = np.array([1.0, NAN, NAN, 3.0], dtype)
    assert_same(run(elementwise.maximum, x, y), np.array([NAN] * 3 + [3], dtype))
    assert_same(run(elementwise.minimum, x, y), np.array([NAN] * 3 + [2], dtype))
    assert_same(run(elementwise.fmax, x, y), np.array([1, 1, NAN, 3], dtype))
    assert_same(run(elementwise.fmin, x, y), np.array([1, 1, NAN, 2], dtype))
    clamped = run(elementwise.clamp, dtype.type(0.0), x, dtype.type(0.5))
    assert_same(clamped, np.array([NAN, 0.5, NAN, 0.5], dtype))


def test_signed_zeros():
    zeros = np.array([0.0, -0.0])
    np.testing.assert_array_equal(run(compare.signbit, zeros), [False, True])
    np.testing.assert_array_equal(run(elementwise.div, 1.0, zeros), [INF, -INF])
    np.testing.assert_array_equal(run(elementwise.copysign, 2.0, zeros), [2.0, -2.0])
    for primitive in (
        transcendental.sin,
        transcendental.expm1,
        transcendental.log1p,
        transcendental.atan,
        elementwise.sqrt,
        compare.floor,
        compare.round,
    ):
        np.testing.assert_array_equal(np.signbit(run(primitive, zeros)), [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_denormals_are_not_flushed(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    assert run(elementwise.sub, 2 * tiny, tiny) == tiny
    assert run(elementwise.sqrt, tiny) > 0
    assert run(elementwise.sign, tiny) == 1
    assert run(elementwise.nextafter, dtype(0), dtype(1)) == tiny
    assert run(elementwise.ldexp, dtype(1), np.int32(np.log2(tiny))) == tiny
    assert run(elementwise.frexp_exponent, tiny) == round(np.log2(tiny)) + 1


def test_scalars_stay_numpy_scalars_of_their_dtype():
    for x in (np.float32(0.5), np.float64(0.5)):
        for primitive in (
            elementwise.abs,
            elementwise.rsqrt,
            transcendental.logistic,
            transcendental.sinc,
            special.erf,
            compare.round,
        ):
            assert type(primitive(Array(x))._value) is type(x)


# -- rounding and conversion ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_halves_round_to_even_or_away_from_zero(dtype):
    x = np.array([0.5, 1.5, 2.5, -0.5, -2.5, 2.25, INF, NAN], dtype)
    even = np.array([0, 2, 2, -0.0, -2, 2, INF, NAN], dtype)
    away = np.array([1, 2, 3, -1, -3, 2, INF, NAN], dtype)
    assert_same(run(compare.round, x), even)
    assert_same(run(compare.round, x, away_from_zero=True), away)
    below = np.nextafter(np.float64(0.5), 0)
    assert run(compare.round, below, away_from_zero=True) == 0


@pytest.mark.parametrize("source", FLOATS, ids=str)
@pytest.mark.parametrize("target", SIGNED + UNSIGNED)
def test_conversion_to_integers_truncates_and_saturates(source, target):
    info = np.iinfo(target)
    x = np.array([1.75, -0.75, INF, -INF, NAN, 100.5], source)
    out = run(cast.convert, x, dtype=np.dtype(target))
    np.testing.assert_array_equal(out, [1, 0, info.max, info.min, 0, 100])
    assert run(cast.convert, x[2], dtype=np.dtype(target)) == info.max
    if info.max + 1 <= float(ml_dtypes.finfo(source).max):
        top = source.type(float(info.max + 1))
        assert run(cast.convert, top, dtype=np.dtype(target)) == info.max


def test_conversion_from_complex_takes_the_real_part_without_a_warning():
    z = np.array([1.5 + 2j, 0 + 1j, 0j])
    np.testing.assert_array_equal(run(cast.convert, z, dtype=np.dtype(np.float32)), [1.5, 0, 0])
    np.testing.assert_array_equal(
        run(cast.convert, z, dtype=np.dtype(np.bool_)), [True, True, False]
    )
    gradient = wengert.grad(lambda z: cast.convert(z, dtype=np.dtype(np.float64)))(z[0])
    assert np.asarray(gradient) == 1 + 0j


def test_conversion_to_integers_has_no_derivative():
    f = lambda x: cast.convert(cast.convert(x, dtype=np.dtype(np.int32)), dtype=x.dtype)
    assert slope(f, 2.5) == 0.0
    assert float(wengert.grad(lambda x: elementwise.sub(x, f(x)))(np.float64(2.5))) == 1.0


def test_bits_read_as_wider_and_narrower_dtypes():
    x = np.array([[1.0, -2.0]], np.float32)
    narrow = run(cast.bitcast_convert, x, dtype=np.dtype(np.uint8))
    assert narrow.shape == (1, 2, 4)
    np.testing.assert_array_equal(
        run(cast.bitcast_convert, narrow, dtype=np.dtype(np.float32)), x
    )
    with pytest.raises(errors.ShapeError, match="last dimension of size 4"):
        cast.bitcast_convert.type_rule(ArrayType((3,), np.uint8), np.dtype(np.float32))


def test_complex_numbers_are_built_without_arithmetic():
    out = run(cast.make_complex, np.array([INF, -0.0]), np.array([NAN, INF]))
    np.testing.assert_array_equal(out.real, [INF, -0.0])
    np.testing.assert_array_equal(out.imag, [NAN, INF])
    assert run(cast.make_complex, np.float32(1), 2.0).dtype == np.complex64


# -- derivatives at kinks ---------------------------------------------------------------------

KINKS = [
    (elementwise.abs, (0.0,), 0, 0.0),
    (elementwise.sqrt, (0.0,), 0, INF),
    (elementwise.cbrt, (0.0,), 0, INF),
    (elementwise.hypot, (0.0, 0.0), 0, 0.0),
    (elementwise.hypot, (0.0, 0.0), 1, 0.0),
    (elementwise.hypot, (1e300, 1e300), 0, math.sqrt(0.5)),
    (elementwise.maximum, (1.0, 1.0), 0, 0.5),
    (elementwise.maximum, (0.0, -0.0), 1, 0.5),
    (elementwise.minimum, (1.0, 1.0), 1, 0.5),
    (elementwise.minimum, (1.0, 2.0), 0, 1.0),
    (elementwise.maximum, (NAN, 2.0), 0, 0.0),
    (elementwise.fmax, (NAN, 2.0), 0, 0.0),
    (elementwise.fmax, (NAN, 2.0), 1, 1.0),
    (elementwise.fmin, (2.0, NAN), 0, 1.0),
    (elementwise.fmin, (2.0, 2.0), 0, 0.5),
    (elementwise.clamp, (0.0, 0.0, 1.0), 1, 0.0),
    (elementwise.clamp, (0.0, 2.0, 1.0), 1, 0.0),
    (elementwise.clamp, (0.0, 2.0, 1.0), 2, 1.0),
    (elementwise.clamp, (0.0, 0.5, 1.0), 1, 1.0),
    (elementwise.copysign, (0.0, -1.0), 0, -1.0),
    (elementwise.heaviside, (0.0, 0.5), 1, 1.0),
    (elementwise.rem, (5.3, 2.0), 1, -2.0),
    (elementwise.rem, (-5.3, 2.0), 1, 2.0),
    (elementwise.mod, (-5.3, 2.0), 1, 3.0),
    (elementwise.integer_pow, (0.0,), 0, 0.0),
    (transcendental.pow, (0.0, 0.0), 0, 0.0),
    (transcendental.pow, (0.0, 0.0), 1, 0.0),
    (transcendental.pow, (0.0, 1.0), 0, 1.0),
    (transcendental.pow, (0.0, 2.0), 1, 0.0),
    (transcendental.pow, (0.0, -1.0), 0, -INF),
    (transcendental.pow, (INF, 0.0), 0, 0.0),
    (transcendental.logaddexp, (INF, INF), 0, 0.5),
    (transcendental.logaddexp, (-INF, -INF), 1, 0.5),
    (transcendental.logaddexp, (INF, 1.0), 1, 0.0),
    (transcendental.logaddexp2, (-INF, -INF), 0, 0.5),
    (transcendental.atan2, (1e-200, 1e-200), 0, 0.5e200),
    (special.xlogy, (0.0, 0.0), 1, 0.0),
    (special.xlog1py, (0.0, -1.0), 1, 0.0),
    (special.bessel_ie, (0.0,), 0, 0.0),
]


@pytest.mark.parametrize(("function", "point", "argnum", "expected"), KINKS)
def test_derivatives_at_kinks(function, point, argnum, expected):
    params = {"y": 2} if function is elementwise.integer_pow else {}
    assert slope(function, *point, argnum=argnum, **params) == pytest.approx(expected)


@pytest.mark.parametrize("y", [0, 1, 2, 3])
def test_whole_powers_at_zero_have_all_derivatives(y):
    for order in range(5):
        expected = math.factorial(y) if order == y else 0.0
        assert derivative(elementwise.integer_pow, order, 0.0, y=y) == expected


def test_the_mixed_derivative_of_a_power_at_exponent_zero():
    inner = wengert.grad(transcendental.pow, 0)
    mixed = wengert.grad(lambda x, y: inner(x, y), 1)(np.float64(4.0), np.float64(0.0))
    assert float(mixed) == pytest.approx(0.25)


def test_the_derivative_of_abs_of_a_complex_number_is_refused_and_complex_abs_has_one():
    with pytest.raises(errors.DTypeError, match="complex_abs"):
        wengert.grad(lambda z: cast.real(elementwise.abs(z)))(np.complex128(3 + 4j))
    gradient = wengert.grad(elementwise.complex_abs)
    assert np.asarray(gradient(np.complex128(3 + 4j))) == pytest.approx(0.6 - 0.8j)
    assert np.asarray(gradient(np.complex128(0))) == 0


def test_selection_hides_the_side_not_taken():
    def safe(x):
        return compare.select(compare.gt(x, 0.0), elementwise.sqrt(x), 0.0)

    assert slope(safe, 0.0) == 0.0
    assert slope(safe, 4.0) == 0.25

    def sinc(x):
        return compare.select(
            compare.ne(x, 0.0), elementwise.div(transcendental.sin(x), x), 1.0
        )

    assert float(wengert.grad(sinc)(np.float64(0.0))) == 0.0


def test_selection_broadcasts_and_its_gradients_do_not():
    pred = Array(np.array([[True], [False]]))
    x, y = np.arange(3.0), np.float64(2.0)
    out, pull = wengert.vjp(lambda x, y: compare.select(pred, x, y), x, y)
    assert out.shape == (2, 3)
    dx, dy = pull(np.ones((2, 3)))
    np.testing.assert_array_equal(np.asarray(dx), np.ones(3))
    assert float(dy) == 3.0
    tangent = wengert.jvp(lambda y: compare.select(pred, Array(x), y), (y,), (y,))[1]
    np.testing.assert_array_equal(np.asarray(tangent), [[0.0] * 3, [2.0] * 3])
    pushed = wengert.linearize(lambda y: compare.select(pred, 7.0, y), y)[1](y)
    np.testing.assert_array_equal(np.asarray(pushed), [[0.0], [2.0]])


def test_stop_gradient_stops_only_the_gradient():
    f = lambda x: elementwise.sub(elementwise.square(x), cast.stop_gradient(x))
    assert slope(f, 3.0) == 6.0
    assert float(f(Array(np.float64(3.0)))) == 6.0


# -- accuracy where formulas cancel ---------------------------------------------------------


@pytest.mark.parametrize("order", range(8))
@pytest.mark.parametrize("x", [0.0, 1e-9, 0.1, 0.7, 2.3, 11.0])
def test_all_derivatives_of_sinc(order, x):
    with mpmath.workdps(60):
        size = mpmath.mpf(10) ** -6
        z = mpmath.mpf(x)
        expected = (
            mpmath.diff(mpmath.sincpi, z, order, h=size**2) if order else mpmath.sincpi(z)
        )
    scale = math.pi**order
    assert derivative(transcendental.sinc, order, x) == pytest.approx(
        float(expected), rel=1e-12, abs=1e-14 * scale
    )


def test_bessel_functions_have_the_right_derivatives_at_zero():
    values = [derivative(special.bessel_i, order, 0.0) for order in range(5)]
    np.testing.assert_allclose(values, [1, 0, 1 / 2, 0, 3 / 8])
    first = lambda x: special.bessel_i(x, order=1)
    values = [derivative(first, order, 0.0) for order in range(4)]
    np.testing.assert_allclose(values, [0, 1 / 2, 0, 3 / 8])


def test_dilogarithm_at_one():
    values = [derivative(special.spence, order, 1.0) for order in range(4)]
    np.testing.assert_allclose(values, [0, -1, 1 / 2, -2 / 3])


def test_tails_keep_their_relative_accuracy():
    with mpmath.workdps(40):
        ratio = mpmath.npdf(-30) / mpmath.ncdf(-30)
        edge = 1 / mpmath.sqrt(1 - mpmath.mpf(1 - 2.0**-40) ** 2)
    assert slope(special.log_ndtr, -30.0) == pytest.approx(float(ratio), rel=1e-14)
    assert slope(special.log_ndtr, INF) == 0.0
    assert slope(transcendental.asin, 1 - 2.0**-40) == pytest.approx(float(edge), rel=1e-14)
    assert slope(transcendental.expm1, -40.0) == pytest.approx(math.exp(-40), rel=1e-14)
    assert slope(transcendental.logaddexp, 1000.0, 1010.0) == pytest.approx(
        1 / (1 + math.exp(10)), rel=1e-14
    )


def test_the_logistic_function_does_not_overflow():
    x = np.array([-INF, -800.0, 0.0, 800.0, INF])
    np.testing.assert_array_equal(run(transcendental.logistic, x), [0, 0, 0.5, 1, 1])
    z = np.array([800 + 1j, -800 + 1j, 0j])
    np.testing.assert_allclose(run(transcendental.logistic, z), [1, 0, 0.5], atol=1e-300)
    small = np.float64(-30.0)
    assert float(run(transcendental.logistic, small)) == pytest.approx(math.exp(-30), rel=1e-12)


def test_complex_logarithms_near_one():
    z = np.complex128(1e-12 + 1e-13j)
    assert complex(run(transcendental.log1p, z)) == pytest.approx(z - z * z / 2, rel=1e-14)
    assert complex(run(transcendental.expm1, z)) == pytest.approx(z + z * z / 2, rel=1e-14)


# -- shape parameters -------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.01, 0.7, 3.0, 40.0])
@pytest.mark.parametrize("ratio", [0.05, 0.9, 1.5, 4.0])
def test_derivatives_of_igamma_in_its_shape(a, ratio):
    x = a * ratio
    with mpmath.workdps(50):
        cdf = lambda s: mpmath.gammainc(s, 0, mpmath.mpf(x), regularized=True)
        first, second = (
            float(mpmath.diff(cdf, mpmath.mpf(a), n, h=mpmath.mpf(10) ** -12)) for n in (1, 2)
        )
        density = float(mpmath.mpf(x) ** (mpmath.mpf(a) - 1) * mpmath.exp(-x) / mpmath.gamma(a))
    assert slope(special.igamma, a, x) == pytest.approx(first, rel=1e-11)
    assert slope(special.igammac, a, x) == pytest.approx(-first, rel=1e-11)
    assert slope(special.igamma_grad_a, a, x) == pytest.approx(second, rel=1e-9, abs=1e-13)
    sample = float(run(special.random_gamma_grad, np.float64(a), np.float64(x)))
    assert sample == pytest.approx(-first / density, rel=1e-11)


@pytest.mark.parametrize("point", [(0.5, 0.5, 0.1), (3.0, 5.0, 0.3), (20.0, 4.0, 0.95)])
def test_derivatives_of_betainc_in_its_shapes(point):
    a, b, x = point
    with mpmath.workdps(50):
        cdf = lambda s, t: mpmath.betainc(s, t, 0, mpmath.mpf(x), regularized=True)
        expected = {
            order: float(mpmath.diff(cdf, (a, b), order, h=mpmath.mpf(10) ** -12))
            for order in ((1, 0), (0, 1), (1, 1))
        }
    assert slope(special.betainc, a, b, x) == pytest.approx(expected[1, 0], rel=1e-11)
    assert slope(special.betainc, a, b, x, argnum=1) == pytest.approx(expected[0, 1], rel=1e-11)
    mixed = slope(special.betainc_grad, a, b, x, argnum=1, order=(1, 0))
    assert mixed == pytest.approx(expected[1, 1], rel=1e-10)


def test_shape_derivatives_at_the_ends_and_outside():
    a, x = np.array([2.0, 2.0, 0.5, -1.0, 2.0]), np.array([0.0, INF, 0.0, 1.0, NAN])
    np.testing.assert_array_equal(run(special.igamma_grad_a, a, x), [0, 0, 0, NAN, NAN])
    x = np.array([0.0, 1.0, NAN, 1.5])
    out = run(special.betainc_grad, np.full(4, 2.0), np.full(4, 3.0), x, order=(1, 0))
    np.testing.assert_array_equal(out, [0, 0, NAN, NAN])


@pytest.mark.parametrize(("s", "q"), [(1.01, 1.0), (2.0, 0.5), (2.5, 7.0), (30.0, 1.0)])
def test_derivatives_of_zeta_in_its_exponent(s, q):
    with mpmath.workdps(40):
        hurwitz = lambda s: mpmath.zeta(s, mpmath.mpf(q))
        expected = float(mpmath.diff(hurwitz, mpmath.mpf(s), h=mpmath.mpf(10) ** -12))
    assert slope(special.zeta, s, q) == pytest.approx(expected, rel=1e-12)


def test_the_order_of_polygamma_has_no_derivative_and_says_so():
    with pytest.raises(errors.MissingRuleError, match="its order n"):
        wengert.grad(special.polygamma)(np.float64(1.0), np.float64(2.0))
    assert slope(special.digamma, -0.3) == pytest.approx(float(mpmath.psi(1, -0.3)), rel=1e-12)
