"""Elementwise functions of lax: values against NumPy and SciPy, strictness, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import wengert
import wengert.numpy as wnp
from wengert import errors, lax

RNG = np.random.default_rng(0)
UNIT = RNG.uniform(0.2, 0.8, (2, 3))
OTHER = RNG.uniform(0.2, 0.8, (2, 3))
ABOVE = RNG.uniform(1.2, 2.8, (2, 3))
WHOLE = np.array([[5, -7, 3], [2, 8, -1]], np.int32)
DISTANCE = np.array([[2, 3, 4], [1, 3, 5]], np.int32)

UNARY = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "bessel_i0e": scipy.special.i0e,
    "bessel_i1e": scipy.special.i1e,
    "cbrt": np.cbrt,
    "cos": np.cos,
    "cosh": np.cosh,
    "digamma": scipy.special.digamma,
    "erf": scipy.special.erf,
    "erf_inv": scipy.special.erfinv,
    "erfc": scipy.special.erfc,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "lgamma": scipy.special.gammaln,
    "log": np.log,
    "log1p": np.log1p,
    "logistic": scipy.special.expit,
    "neg": np.negative,
    "reciprocal": np.reciprocal,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}
BINARY = {
    "add": np.add,
    "atan2": np.arctan2,
    "div": np.divide,
    "igamma": scipy.special.gammainc,
    "igammac": scipy.special.gammaincc,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "pow": np.power,
    "rem": np.fmod,
    "sub": np.subtract,
}
COMPARISONS = {
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "ne": np.not_equal,
}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    x = ABOVE if name == "acosh" else UNIT
    function = getattr(lax, name)
    for value in (x, x[0, 0], x[:0], x.astype(np.float32)):
        out = function(value)
        assert out.dtype == value.dtype
        np.testing.assert_allclose(out, UNARY[name](value), rtol=3e-6)
    wengert.testing.check_grads(function, (x,), 1)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    function = getattr(lax, name)
    np.testing.assert_allclose(function(UNIT, OTHER), BINARY[name](UNIT, OTHER))
    wengert.testing.check_grads(function, (UNIT, OTHER), 1, atol=1e-5)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparison(name):
    y = np.where(OTHER > 0.5, UNIT, OTHER)
    out = getattr(lax, name)(UNIT, y)
    assert out.dtype == np.bool_
    np.testing.assert_array_equal(out, COMPARISONS[name](UNIT, y))


@pytest.mark.parametrize("name", ["add", "max", "eq"])
class TestStrictness:
    def test_equal_dtypes(self, name):
        with pytest.raises(TypeError, match="one dtype"):
            getattr(lax, name)(UNIT, OTHER.astype(np.float32))

    def test_no_int_among_floats(self, name):
        with pytest.raises(errors.DTypeError, match="Python int"):
            getattr(lax, name)(UNIT, 1)

    def test_python_scalars_of_two_kinds(self, name):
        with pytest.raises(errors.DTypeError, match="one dtype"):
            getattr(lax, name)(1, 1.0)

    def test_python_scalar_takes_the_dtype(self, name):
        out = getattr(lax, name)(UNIT, 0.1)
        assert out.dtype in (np.float64, np.bool_)
        np.testing.assert_array_equal(out, {**BINARY, **COMPARISONS}[name](UNIT, 0.1))

    def test_weak_array_takes_the_dtype(self, name):
        out = getattr(lax, name)(UNIT, lax.full((), 0.5))
        np.testing.assert_array_equal(out, {**BINARY, **COMPARISONS}[name](UNIT, 0.5))

    def test_no_rank_promotion(self, name):
        with pytest.raises(TypeError, match="equally many dimensions"):
            getattr(lax, name)(UNIT, OTHER[0])

    def test_sizes_of_one_broadcast(self, name):
        assert getattr(lax, name)(UNIT, OTHER[:1]).shape == (2, 3)

    def test_scalars_broadcast(self, name):
        assert getattr(lax, name)(UNIT, OTHER[0, 0]).shape == (2, 3)


@pytest.mark.parametrize("name", ["sin", "exp", "sqrt", "logistic", "erf", "tanh", "log1p"])
def test_integers_are_refused(name):
    with pytest.raises(TypeError, match="floating"):
        getattr(lax, name)(WHOLE)
    with pytest.raises(TypeError, match="floating"):
        wengert.jit(getattr(lax, name))(WHOLE)


def test_integer_division():
    x, y = np.array([7, -7, 7, -7, 3], np.int32), np.array([2, 2, -2, -2, 0], np.int32)
    np.testing.assert_array_equal(lax.div(x, y), [3, -3, -3, 3, -1])
    np.testing.assert_array_equal(lax.rem(x, y), [1, -1, 1, -1, 3])


def test_powers():
    np.testing.assert_allclose(lax.pow(UNIT, DISTANCE), UNIT**DISTANCE)
    np.testing.assert_allclose(lax.pow(UNIT, 3), UNIT**3)
    np.testing.assert_allclose(lax.integer_pow(UNIT, -2), UNIT**-2.0)
    with pytest.raises(errors.DTypeError):
        lax.integer_pow(WHOLE, -1)
    wengert.testing.check_grads(lambda x: lax.pow(x, DISTANCE), (UNIT,), 2)


def test_rounding():
    x = np.array([-2.5, -1.5, -0.4, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(lax.round(x), [-3, -2, 0, 1, 2, 3])
    even = lax.RoundingMethod.TO_NEAREST_EVEN
    np.testing.assert_array_equal(lax.round(x, even), [-2, -2, 0, 0, 2, 2])
    np.testing.assert_array_equal(lax.floor(x), np.floor(x))
    np.testing.assert_array_equal(lax.ceil(x), np.ceil(x))
    np.testing.assert_array_equal(lax.sign(x), np.sign(x))


def test_clamp():
    x = np.array([-1.0, 0.0, 0.3, 2.0])
    np.testing.assert_array_equal(lax.clamp(0.0, x, 1.0), np.clip(x, 0, 1))
    np.testing.assert_array_equal(lax.clamp(x - 1, -x, x + 1), np.clip(-x, x - 1, x + 1))
    with pytest.raises(errors.ShapeError):
        lax.clamp(np.zeros((1, 4)), x, 1.0)


def test_select():
    pred = UNIT > 0.5
    np.testing.assert_array_equal(lax.select(pred, UNIT, OTHER), np.where(pred, UNIT, OTHER))
    assert lax.select(True, UNIT, OTHER).shape == (2, 3)
    with pytest.raises(errors.ShapeError):
        lax.select(pred, UNIT, 1.0)
    with pytest.raises(errors.DTypeError):
        lax.select(WHOLE, UNIT, OTHER)
    with pytest.raises(errors.DTypeError):
        lax.select(pred, UNIT, OTHER.astype(np.float32))


def test_select_n():
    which = np.array([[0, 1, 2], [2, 1, 0]], np.int32)
    cases = (UNIT, OTHER, UNIT * OTHER)
    np.testing.assert_array_equal(lax.select_n(which, *cases), np.choose(which, cases))
    np.testing.assert_array_equal(
        lax.select_n(UNIT > 0.5, UNIT, OTHER), np.where(UNIT > 0.5, OTHER, UNIT)
    )
    wengert.testing.check_grads(lambda *c: lax.select_n(which, *c), cases, 1)
    with pytest.raises(errors.DTypeError):
        lax.select_n(UNIT > 0.5, *cases)


def test_bits():
    np.testing.assert_array_equal(lax.bitwise_and(WHOLE, DISTANCE), WHOLE & DISTANCE)
    np.testing.assert_array_equal(lax.bitwise_or(WHOLE, DISTANCE), WHOLE | DISTANCE)
    np.testing.assert_array_equal(lax.bitwise_xor(WHOLE, DISTANCE), WHOLE ^ DISTANCE)
    np.testing.assert_array_equal(lax.bitwise_not(WHOLE), ~WHOLE)
    np.testing.assert_array_equal(lax.shift_left(WHOLE, DISTANCE), WHOLE << DISTANCE)
    np.testing.assert_array_equal(
        lax.shift_right_arithmetic(WHOLE, DISTANCE), WHOLE >> DISTANCE
    )
    logical = (WHOLE.view(np.uint32) >> DISTANCE.view(np.uint32)).view(np.int32)
    np.testing.assert_array_equal(lax.shift_right_logical(WHOLE, DISTANCE), logical)
    counts = [[(n & 0xFFFFFFFF).bit_count() for n in row] for row in WHOLE.tolist()]
    np.testing.assert_array_equal(lax.population_count(WHOLE), counts)
    leading = lax.clz(np.array([0, 1, 255, 256], np.uint16))
    np.testing.assert_array_equal(leading, [16, 15, 8, 7])


def test_arithmetic_shift_repeats_the_highest_bit_of_unsigned_numbers():
    x = np.array([128, 64], np.uint8)
    out = lax.shift_right_arithmetic(x, np.uint8(2))
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, [224, 16])


def test_conversion():
    assert lax.convert_element_type(UNIT, "float32").dtype == np.float32
    assert lax.convert_element_type(2.75, int).dtype == np.int32
    with pytest.raises(ValueError, match="needs a dtype"):
        lax.convert_element_type(UNIT, None)
    bits = lax.bitcast_convert_type(np.float32(1.0), np.int32)
    assert int(bits) == np.float32(1.0).view(np.int32)
    assert lax.dtype(1.0) == np.float32


def test_complex_numbers():
    z = lax.complex(UNIT, OTHER)
    assert z.dtype == np.complex128
    np.testing.assert_array_equal(lax.real(z), UNIT)
    np.testing.assert_array_equal(lax.imag(z), OTHER)
    np.testing.assert_array_equal(lax.conj(z), UNIT - 1j * OTHER)
    np.testing.assert_allclose(lax.abs(z), np.hypot(UNIT, OTHER))
    assert lax.conj(UNIT).dtype == np.complex128
    for function in (lax.real, lax.imag):
        with pytest.raises(errors.DTypeError, match="complex"):
            function(UNIT)
    with pytest.raises(errors.DTypeError, match="real numbers"):
        lax.complex(WHOLE, WHOLE)


def test_special_functions_of_several_operands():
    np.testing.assert_allclose(
        lax.betainc(ABOVE, ABOVE[::-1], UNIT),
        scipy.special.betainc(ABOVE, ABOVE[::-1], UNIT),
    )
    np.testing.assert_allclose(lax.zeta(ABOVE, OTHER), scipy.special.zeta(ABOVE, OTHER))
    np.testing.assert_allclose(
        lax.polygamma(np.full((2, 3), 2.0), ABOVE), scipy.special.polygamma(2, ABOVE)
    )
    step = 1e-6
    slope = scipy.special.gammainc(ABOVE + step, UNIT) - scipy.special.gammainc(
        ABOVE - step, UNIT
    )
    np.testing.assert_allclose(lax.igamma_grad_a(ABOVE, UNIT), slope / 2 / step, rtol=1e-6)
    assert lax.random_gamma_grad(ABOVE, UNIT).shape == (2, 3)


def test_nextafter_and_is_finite():
    np.testing.assert_array_equal(lax.nextafter(UNIT, ABOVE), np.nextafter(UNIT, ABOVE))
    x = np.array([np.nan, np.inf, 1.0])
    np.testing.assert_array_equal(lax.is_finite(x), np.isfinite(x))


def test_stop_gradient_and_barrier_take_trees():
    tree = {"a": UNIT, "b": (WHOLE, 1.0)}
    for function in (lax.stop_gradient, lax.optimization_barrier):
        out = function(tree)
        np.testing.assert_array_equal(out["a"], UNIT)
        np.testing.assert_array_equal(out["b"][0], WHOLE)
    grad = wengert.grad(lambda x: lax.reduce_sum(lax.mul(x, lax.stop_gradient(x)), (0, 1)))
    np.testing.assert_array_equal(grad(UNIT), UNIT)


def test_functions_are_traced_and_batched():
    def f(x, y):
        return lax.add(lax.sin(x), lax.mul(y, 2.0))

    expected = np.sin(UNIT) + 2 * OTHER
    np.testing.assert_allclose(wengert.jit(f)(UNIT, OTHER), expected)
    np.testing.assert_allclose(wengert.vmap(f)(UNIT, OTHER), expected)
    np.testing.assert_allclose(
        wengert.vmap(f, in_axes=(0, None))(UNIT, OTHER[0]), np.sin(UNIT) + 2 * OTHER[0]
    )


#: exponent bits, mantissa bits, and a dtype of that format
@pytest.mark.parametrize(
    "exponent, mantissa, narrow",
    [(8, 7, wnp.bfloat16), (5, 10, np.float16), (8, 23, np.float32)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reduce_precision(exponent, mantissa, narrow, dtype):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=500) * 10.0 ** rng.integers(0, 4, 500)).astype(dtype)
    x = np.concatenate([x, np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype)])
    got = lax.reduce_precision(x, exponent, mantissa)
    assert got.dtype == dtype
    expected = np.asarray(wnp.asarray(x).astype(narrow).astype(dtype))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


def test_reduce_precision_limits_and_errors():
    x = np.array([1e30, -1e30, 1e-30, -1e-30, 65519.0, 65520.0], np.float32)
    got = np.asarray(lax.reduce_precision(x, 5, 10))
    np.testing.assert_array_equal(got, [np.inf, -np.inf, 0.0, -0.0, 65504.0, np.inf])
    np.testing.assert_array_equal(np.signbit(got), np.signbit(x))
    gradient = wengert.grad(lambda x: lax.reduce_precision(x, 8, 7) * x)(1.2345)
    np.testing.assert_allclose(gradient, 1.234375 + 1.234375, rtol=1e-3)
    for bits in ((0, 7), (8, -1)):
        with pytest.raises(ValueError, match="bits"):
            lax.reduce_precision(x, *bits)
    with pytest.raises(errors.DTypeError):
        lax.reduce_precision(np.arange(3), 5, 2)


def test_platform_dependent():
    assert lax.platform_dependent(2.0, cpu=lambda x: x + 1, cuda=lambda x: x) == 3.0
    assert lax.platform_dependent(2.0, tpu=lambda x: x, default=lambda x: x - 1) == 1.0
    with pytest.raises(NameError, match="no default"):
        lax.platform_dependent(2.0, cuda=lambda x: x)
