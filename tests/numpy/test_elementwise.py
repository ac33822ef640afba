"""Elementwise functions against NumPy: values, dtypes, gradients, errors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

UNARY = (
    "abs absolute positive negative sign rint floor ceil trunc square reciprocal sqrt cbrt "
    "fabs invert isfinite isnan isinf signbit isreal iscomplex real imag conj conjugate angle "
    "spacing sinc i0 deg2rad rad2deg degrees radians exp exp2 expm1 log log2 log10 log1p "
    "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh logical_not "
    "isposinf isneginf nan_to_num bitwise_count"
).split()
BINARY = (
    "add subtract multiply divide true_divide floor_divide remainder mod fmod power "
    "float_power maximum minimum fmax fmin hypot logaddexp logaddexp2 arctan2 copysign "
    "nextafter heaviside gcd lcm left_shift right_shift bitwise_and bitwise_or bitwise_xor "
    "logical_and logical_or logical_xor equal not_equal less less_equal greater "
    "greater_equal isclose"
).split()
#: Functions that NumPy defines differently on bools or integers.
REDEFINED = ("reciprocal", "square", "conj", "conjugate")
#: Functions that mean the same of bools as in NumPy.
OF_BOOLS = (
    "add multiply maximum minimum fmax fmin bitwise_and bitwise_or bitwise_xor logical_and "
    "logical_or logical_xor equal not_equal less less_equal greater greater_equal"
).split()
#: Operands of every kind, inside the domains of all functions but arccosh.
OPERANDS = {
    "bool": np.array([True, False]),
    "uint8": np.array([1, 3], np.uint8),
    "int32": np.array([[4], [2]], np.int32),
    "int64": np.array([3, 1]),
    "float32": np.array([0.25, 0.75], np.float32),
    "float64": np.array([[0.3, 0.9], [0.5, 0.1]]),
    "complex128": np.array([0.3 + 0.5j, -0.25j]),
    "empty": np.zeros((0, 2)),
    "scalar": np.float64(0.5),
}
ALIASES = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "pow": "power",
    "around": "round",
    "bitwise_invert": "invert",
    "bitwise_not": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}


def assert_same(got, expected, tolerance=1e-12):
    """Values and shapes equal, and kinds of dtype."""
    got = np.asarray(got)
    assert got.shape == np.shape(expected)
    assert got.dtype.kind == np.asarray(expected).dtype.kind
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def numpy_result(name, *operands):
    """What NumPy makes of the operands in double precision, or None if it refuses them."""
    wide = []
    for x in operands:
        x = np.asarray(x)
        wide.append(x.astype(np.float64) if x.dtype.kind == "f" else x)
    with np.errstate(all="ignore"):
        try:
            out = getattr(np, name)(*wide)
        except (TypeError, ValueError):
            return None
    # NumPy computes narrow integers in half precision
    return None if np.asarray(out).dtype == np.float16 else out


@pytest.mark.parametrize("kind", OPERANDS)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, kind):
    x = OPERANDS[kind]
    expected = numpy_result(name, x)
    if expected is None or (x.dtype.kind in "biu" and name in REDEFINED):
        return  # refused by NumPy, or defined on integers differently
    if name == "spacing" and x.dtype == np.float32:
        expected = np.spacing(x)
    tolerance = 1e-12 if x.dtype.itemsize >= 8 else 1e-5
    got = getattr(wnp, name)(x)
    if x.dtype.kind in "biu" and got.dtype == np.float32:
        tolerance = 1e-5
    assert_same(got, expected, tolerance)


@pytest.mark.parametrize(
    "pair",
    [
        ("float64", "float64"),
        ("int64", "float64"),
        ("int32", "int64"),
        ("bool", "bool"),
        ("uint8", "int32"),
        ("complex128", "float64"),
        ("empty", "float64"),
        ("float32", "float32"),
        ("scalar", "empty"),
    ],
)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, pair):
    x, y = (OPERANDS[kind] for kind in pair)
    if x.dtype.kind == y.dtype.kind == "b" and name not in OF_BOOLS:
        return
    expected = numpy_result(name, x, y)
    if expected is None or (name == "float_power" and x.dtype.kind == "c"):
        return
    got = getattr(wnp, name)(x, y)
    narrow = "float32" in pair or got.dtype == np.float32
    if name == "nextafter" and narrow:
        expected = np.nextafter(x, y)
    assert_same(got, expected, 1e-6 if narrow else 1e-12)


@pytest.mark.parametrize("name", ALIASES)
def test_aliases(name):
    assert getattr(wnp, name) is getattr(wnp, ALIASES[name])


@pytest.mark.parametrize(
    "name", "sin cos tanh exp log sqrt cbrt arctan sinc i0 square reciprocal log1p".split()
)
def test_unary_derivatives(name):
    x = np.array([[0.3, 0.7], [0.2, 0.9]])
    wengert.check_grads(getattr(wnp, name), (x,), order=2)


@pytest.mark.parametrize(
    "name", "add multiply divide power hypot arctan2 logaddexp maximum fmod float_power".split()
)
def test_binary_derivatives(name):
    x, y = np.array([[0.3], [0.8]]), np.array([0.55, 1.5, 0.45])
    wengert.check_grads(getattr(wnp, name), (x, y), order=2)


def test_dtypes_of_python_scalars():
    x = np.ones(2, np.float32)
    assert wnp.add(x, 2.5).dtype == np.float32
    assert wnp.add(np.ones(2, np.int8), 2).dtype == np.int8
    assert wnp.add(np.ones(2, np.int8), 2.5).dtype == np.float32
    assert wnp.add(1, 2).dtype == np.int32 and wnp.add(1, 2).weak_type
    assert wnp.divide(np.ones(2, np.int64), 2).dtype == np.float64
    assert wnp.add(True, True).dtype == np.bool_
    assert wnp.power(np.ones(2, np.int8), np.ones(2, np.int16)).dtype == np.int16


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision(dtype):
    x = np.array([0.5, -0.25], dtype)
    for name in ("sin", "exp", "square", "tanh", "floor", "abs"):
        out = getattr(wnp, name)(x)
        assert out.dtype == dtype
        expected = getattr(np, name)(x.astype(np.float64))
        np.testing.assert_allclose(np.asarray(out).astype(float), expected, rtol=1e-2)


class TestPower:
    def test_python_integers_are_exact(self):
        x = np.array([-2.0, 0.0, 3.0])
        np.testing.assert_array_equal(wnp.power(x, 3), x**3)
        np.testing.assert_array_equal(wnp.power(x, 0), [1, 1, 1])
        np.testing.assert_array_equal(
            wengert.grad(lambda v: wnp.sum(wnp.power(v, 2)))(x), 2 * x
        )

    def test_integer_to_a_negative_power_is_an_error(self):
        with pytest.raises(TypeError, match="negative power"):
            wnp.power(np.arange(1, 3), -1)

    def test_bools_are_numbers(self):
        assert wnp.power(np.array([True, False]), 2).dtype == np.int32


class TestRounding:
    @pytest.mark.parametrize("decimals", [-2, -1, 0, 1, 2])
    def test_round(self, decimals):
        x = np.array([-1250.5, -0.155, 0.25, 2.5, 1234.5678])
        np.testing.assert_allclose(wnp.round(x, decimals), np.round(x, decimals))
        n = np.array([-25, 15, 50, 149, 151, 250])
        out = wnp.round(n, decimals)
        assert out.dtype == n.dtype
        np.testing.assert_array_equal(out, np.round(n, decimals))

    def test_whole_numbers_keep_their_dtype(self):
        for name in ("floor", "ceil", "trunc", "round"):
            assert getattr(wnp, name)(np.arange(3, dtype=np.int8)).dtype == np.int8
        assert wnp.rint(np.arange(3, dtype=np.int8)).dtype == np.float32
        np.testing.assert_array_equal(wnp.fix(np.array([-1.5, 1.5])), [-1.0, 1.0])

    def test_zero_derivative(self):
        assert wengert.grad(lambda x: wnp.round(x) + wnp.floor(x))(1.3) == 0

    def test_out(self):
        with pytest.raises(TypeError, match="immutable"):
            wnp.round(np.ones(2), out=np.ones(2))


class TestClip:
    def test_bounds(self):
        x = np.arange(5.0)
        np.testing.assert_array_equal(wnp.clip(x, 1, 3), np.clip(x, 1, 3))
        np.testing.assert_array_equal(wnp.clip(x, min=2), np.maximum(x, 2))
        np.testing.assert_array_equal(wnp.clip(x, max=2), np.minimum(x, 2))
        np.testing.assert_array_equal(wnp.clip(x), x)

    def test_promotion(self):
        assert wnp.clip(np.arange(3, dtype=np.int32), 0.5).dtype == np.float32

    def test_derivative(self):
        x = np.array([-1.0, 0.5, 2.0])
        grad = wengert.grad(lambda v: wnp.sum(wnp.clip(v, 0, 1)))(x)
        np.testing.assert_array_equal(grad, [0, 1, 0])

    def test_complex(self):
        with pytest.raises(ValueError, match="real"):
            wnp.clip(1j, 0, 1)


class TestSpecialNumbers:
    x = np.array([1.0, np.nan, np.inf, -np.inf, -0.0])

    @pytest.mark.parametrize("name", "isfinite isnan isinf isposinf isneginf signbit".split())
    def test_predicates(self, name):
        np.testing.assert_array_equal(getattr(wnp, name)(self.x), getattr(np, name)(self.x))

    def test_nan_to_num(self):
        np.testing.assert_array_equal(wnp.nan_to_num(self.x), np.nan_to_num(self.x))
        kw = {"nan": 1.0, "posinf": 2.0, "neginf": 3.0}
        np.testing.assert_array_equal(wnp.nan_to_num(self.x, **kw), np.nan_to_num(self.x, **kw))
        z = np.empty(5, complex)
        z.real, z.imag = self.x, self.x[::-1]
        np.testing.assert_array_equal(wnp.nan_to_num(z), np.nan_to_num(z))
        grad = wengert.grad(lambda v: wnp.sum(wnp.nan_to_num(v) ** 2))(self.x)
        np.testing.assert_array_equal(grad, [2, 0, 0, 0, 0])

    def test_kinks(self):
        assert wengert.grad(wnp.abs)(0.0) == 0
        assert wengert.grad(wnp.maximum)(1.0, 1.0) == 0.5
        assert wengert.grad(wnp.hypot)(0.0, 0.0) == 0
        assert wengert.grad(wnp.sqrt)(0.0) == np.inf


class TestParts:
    def test_frexp_and_ldexp(self):
        x = np.array([12.0, -0.3, 0.0, 1e-3])
        mantissa, exponent = wnp.frexp(x)
        expected = np.frexp(x)
        np.testing.assert_array_equal(mantissa, expected[0])
        np.testing.assert_array_equal(exponent, expected[1])
        assert exponent.dtype == np.int32
        np.testing.assert_array_equal(wnp.ldexp(mantissa, exponent), x)
        with pytest.raises(ValueError, match="integer exponents"):
            wnp.ldexp(1.0, 2.0)

    def test_modf(self):
        x = np.array([1.5, -2.25, np.inf])
        for got, expected in zip(wnp.modf(x), np.modf(x), strict=True):
            np.testing.assert_array_equal(got, expected)

    def test_divmod(self):
        for got, expected in zip(wnp.divmod(-7, 3), divmod(-7, 3), strict=True):
            assert got == expected

    def test_real_and_imag_of_real_numbers(self):
        x = np.ones(2)
        np.testing.assert_array_equal(wnp.real(x), x)
        np.testing.assert_array_equal(wnp.imag(x), [0, 0])


class TestComparison:
    def test_isclose(self):
        a, b = (
            np.array([1.0, np.nan, np.inf, 1e10]),
            np.array([1.000001, np.nan, np.inf, 1.1e10]),
        )
        for equal_nan in (False, True):
            got = wnp.isclose(a, b, equal_nan=equal_nan)
            np.testing.assert_array_equal(got, np.isclose(a, b, equal_nan=equal_nan))
        assert not wnp.isclose(2**24 + 1, 2**24, rtol=0, atol=0.5)

    def test_equality_of_arrays(self):
        assert wnp.array_equal([1, 2], np.array([1, 2]))
        assert not wnp.array_equal([1, 2], [1, 2, 3])
        assert not wnp.array_equal([np.nan], [np.nan])
        assert wnp.array_equal([np.nan], [np.nan], equal_nan=True)
        assert wnp.array_equiv([1, 1], 1) and not wnp.array_equiv([1, 2], [1, 2, 3])
        assert wnp.allclose(np.ones(3), 1.0) and not wnp.allclose(np.ones(3), 1.1)

    def test_objects(self):
        assert wnp.isscalar(2.5) and wnp.isscalar(np.float32(1)) and wnp.isscalar(wnp.array(1))
        assert not wnp.isscalar([1]) and not wnp.isscalar(np.ones(1))
        assert wnp.iscomplexobj(1j) and wnp.isrealobj(np.ones(2))


class TestErrors:
    def test_shapes(self):
        with pytest.raises(errors.ShapeError, match="broadcast"):
            wnp.add(np.ones(2), np.ones(3))

    def test_lists_are_refused(self):
        with pytest.raises(TypeError, match=r"wengert.numpy.array\(value\)"):
            wnp.sin([1.0, 2.0])

    def test_keywords_are_refused(self):
        with pytest.raises(TypeError, match="where"):
            wnp.add(1, 2, where=True)

    def test_kinds(self):
        for name in ("invert", "bitwise_count"):
            with pytest.raises(TypeError):
                getattr(wnp, name)(1.5)
        with pytest.raises(TypeError, match="absolute"):
            wnp.fabs(1j)
        with pytest.raises(TypeError):
            wnp.subtract(True, False)


def test_traced_and_batched():
    def f(x, y):
        return wnp.sin(x) * y + wnp.clip(x, 0.2, 0.5) ** 2 - wnp.round(y, 1)

    x, y = np.linspace(0, 1, 4), np.linspace(1, 2, 4)
    expected = f(x, y)
    np.testing.assert_allclose(wengert.jit(f)(x, y), expected)
    np.testing.assert_allclose(wengert.vmap(f)(x, y), expected)
