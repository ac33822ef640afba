"""`grad` and `value_and_grad`: arguments, trees, dtypes, errors, selections, memory."""

from __future__ import annotations

import dataclasses
import gc
import tracemalloc
from collections import OrderedDict, namedtuple

import ml_dtypes
import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, tree_util

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)
Point = namedtuple("Point", "u v")


@tree_util.register_dataclass
@dataclasses.dataclass
class Scaled:
    a: object
    b: object
    power: int = dataclasses.field(default=2, metadata={"static": True})


def product(x, y):
    return wnp.sum(x * y)


def cubes(x):
    return wnp.sum(x**3)


# -- which arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [
        (0, Y),
        (1, X),
        (-1, X),
        (np.int64(1), X),
        ((1, 0), (X, Y)),
        ([1], (X,)),
        ((-1, 0), (X, Y)),
    ],
)
def test_argnums(argnums, expected):
    got = wg.grad(product, argnums)(X, Y)
    assert isinstance(got, tuple) == isinstance(expected, tuple)
    np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize("argnums", [2, -3, "x", None, 1.0, True, (0, 0), (0, -2), (0, "y")])
def test_wrong_argnums(argnums):
    with pytest.raises(errors.ArgnumsError):
        wg.grad(product, argnums)(X, Y)


def test_keyword_arguments_are_handed_through():
    np.testing.assert_array_equal(wg.grad(product)(X, y=Y), Y)
    with pytest.raises(errors.ArgnumsError, match="by position"):
        wg.grad(product)(x=X, y=Y)


def test_has_aux():
    def f(x):
        return wnp.sum(x**2), {"x": x, "sin": [wnp.sin(x), None, "text", 3]}

    gradient, aux = wg.grad(f, has_aux=True)(X)
    (value, same), again = wg.value_and_grad(f, has_aux=True)(X)
    np.testing.assert_array_equal(gradient, 2 * X)
    np.testing.assert_array_equal(again, gradient)
    assert value == np.sum(X**2)
    assert type(aux["x"]) is type(same["x"]) is type(wnp.zeros(3))
    assert aux["sin"][2:] == ["text", 3]
    for bad in (lambda x: x, lambda x: (x, 1, 2)):
        with pytest.raises(TypeError, match="pair"):
            wg.grad(bad, has_aux=True)(1.0)


def test_trees():
    tree = {"a": X, "b": (Y, None), "c": [OrderedDict(z=2.0, a=Point(1.0, 3.0))]}

    def f(t):
        inner = t["c"][0]
        return wnp.sum(t["a"] * t["b"][0]) * inner["z"] + inner["a"].u * inner["a"].v

    got = wg.grad(f)(tree)
    assert tree_util.tree_structure(got) == tree_util.tree_structure(tree)
    np.testing.assert_array_equal(got["a"], 2 * Y)
    assert got["c"][0]["a"] == Point(3.0, 1.0)


def test_dataclass():
    got = wg.grad(lambda s: wnp.sum(s.a**s.power) * s.b)(Scaled(X, 2.0, 3))
    np.testing.assert_allclose(got.a, 6 * X**2)
    np.testing.assert_allclose(got.b, np.sum(X**3))
    assert got.power == 3


def test_arguments_without_leaves():
    assert wg.grad(lambda t: wnp.float32(1.0) * 1.0)({}) == {}
    assert wg.grad(lambda t: wnp.float32(1.0) * 1.0)(None) is None


# -- what is differentiated -------------------------------------------------------------------


@pytest.mark.parametrize("result", [X, [1.0], (1.0, 2.0), {"a": 1.0}, None, 3, True, 1j])
def test_result_must_be_a_real_scalar(result):
    with pytest.raises(errors.NonScalarError):
        wg.grad(lambda x: result)(1.0)


@pytest.mark.parametrize("n", [3, True, np.arange(3)])
def test_integer_inputs(n):
    with pytest.raises(errors.IntegerGradientError):
        wg.grad(lambda n: wnp.sum(n * 2.0))(n)
    got = wg.grad(lambda n: wnp.sum(n * 2.0), allow_int=True)(n)
    assert got.dtype == wg.float0
    assert got.shape == np.shape(n)


def test_allow_int_in_trees_and_under_vmap():
    got = wg.grad(lambda p: p["x"] * p["n"], allow_int=True)({"n": 3, "x": 2.0})
    assert got["n"].dtype == wg.float0
    assert got["x"] == 3.0
    counts = np.arange(3, dtype=np.int32)
    np.testing.assert_array_equal(wg.vmap(wg.grad(lambda x, n: x * n))(X, counts), counts)


def test_complex():
    z = np.complex64(1 + 2j)
    assert wg.grad(lambda z: z**3, holomorphic=True)(z) == 3 * z**2
    # without the promise: for a real function of z = a + ib, df/da - i df/db
    assert wg.grad(lambda z: wnp.real(z) ** 2 + 3 * wnp.imag(z))(z) == 2 - 3j
    np.testing.assert_allclose(
        wg.grad(lambda x: wnp.real(wnp.exp(1j * x)))(1.0), -np.sin(1.0), rtol=1e-6
    )
    with pytest.raises(errors.HolomorphicError, match="input"):
        wg.grad(lambda z: z, holomorphic=True)(1.0)
    with pytest.raises(errors.HolomorphicError, match="output"):
        wg.grad(wnp.real, holomorphic=True)(z)
    with pytest.raises(errors.NonScalarError, match="complex"):
        wg.grad(lambda z: z)(z)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_dtype_of_a_gradient_is_that_of_its_input(dtype):
    x = X.astype(dtype)
    got = wg.grad(lambda x, y: wnp.sum(wnp.sin(x) * y))(x, Y)
    assert got.dtype == dtype
    expected = (np.cos(X) * Y).astype(np.float64)
    np.testing.assert_allclose(np.asarray(got).astype(np.float64), expected, rtol=2e-2)


def test_gradients_are_as_weak_as_their_inputs():
    assert wg.grad(lambda x: x**2)(3.0).weak_type
    assert wg.grad(lambda x: x * np.float32(2))(3.0).weak_type
    weak, strong = wg.grad(lambda x, y: x * y, (0, 1))(3.0, np.float32(2))
    assert weak.weak_type
    assert not strong.weak_type
    assert wg.grad(lambda p: wnp.sum(p["a"] * p["s"]))({"a": X, "s": 2.0})["s"].weak_type


def test_control_flow_on_values():
    def f(x):
        while x < 10:
            x = x * x
        return x if x > 50 else -x

    assert wg.grad(f)(3.0) == 4 * 3.0**3
    assert wg.grad(lambda x: sum(v if v > 0 else 2 * v for v in x))(X).tolist() == [1, 2, 1]


def test_higher_orders():
    f = lambda x: wnp.sin(x) * x
    for _ in range(4):
        f = wg.grad(f)
    np.testing.assert_allclose(f(0.7), 0.7 * np.sin(0.7) - 4 * np.cos(0.7), rtol=1e-5)


# -- NumPy arrays -----------------------------------------------------------------------------


def test_numpy_float64_stays():
    assert wg.grad(cubes)(X.astype(np.float64)).dtype == np.float64
    assert wg.grad(cubes)(X.astype(">f8")).dtype == np.float64


def test_matrix_subclass_is_taken_elementwise():
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]]).view(np.matrix)
    np.testing.assert_array_equal(
        wg.grad(lambda m: wnp.sum(m * m))(matrix), 2 * np.asarray(matrix)
    )


def test_masked_array_is_refused():
    with pytest.raises(TypeError, match="mask"):
        wg.grad(cubes)(np.ma.masked_array([1.0, 2.0], [True, False]))


# -- selections -------------------------------------------------------------------------------

#: name -> (function, points, first derivatives, second derivatives)
SELECTIONS = {
    "sqrt": (
        lambda x: wnp.where(x > 0, wnp.sqrt(x), 0.0),
        [0, -1, 4],
        [0, 0, 0.25],
        [0, 0, -1 / 32],
    ),
    "sinc": (
        lambda x: wnp.where(x != 0, wnp.sin(x) / x, 1.0),
        [0.0, 1.0],
        [0, np.cos(1) - np.sin(1)],
        [0, np.sin(1) - 2 * np.cos(1)],
    ),
    "nested": (
        lambda x: wnp.where(
            x > 0,
            wnp.where(x > 1, wnp.sqrt(x - 1), x),
            wnp.where(x < -1, 1 / (x + 1), 0.0),
        ),
        [-1, 0, 1, 2, -2],
        [0, 0, 1, 0.5, -1],
        [0, 0, 0, -0.25, -2],
    ),
    "maximum": (
        lambda x: wnp.maximum(wnp.where(x > 0, 1 / x, -1.0), 0.0),
        [0, -1, 2],
        [0, 0, -0.25],
        [0, 0, 0.25],
    ),
    "clip": (lambda x: wnp.clip(wnp.log(x), -1.0, 1.0), [0, 1], [0, 1], [0, -1]),
    "infinite literal": (lambda x: wnp.where(x > 0, x, x * np.inf), [1, 2], [1, 1], [0, 0]),
    "checkpoint": (
        lambda x: wnp.where(x > 0, wg.checkpoint(wnp.sqrt)(x), 0.0),
        [0, 4],
        [0, 0.25],
        [0, -1 / 32],
    ),
    "jit": (
        lambda x: wnp.where(x > 0, wg.jit(wnp.sqrt)(x), 0.0),
        [0, 4],
        [0, 0.25],
        [0, -1 / 32],
    ),
    "vmap": (
        lambda x: wnp.where(x > 0, wg.vmap(wnp.sqrt)(x[None])[0], 0.0),
        [0, 4],
        [0, 0.25],
        [0, -1 / 32],
    ),
}


def pushed(f):
    return lambda x: wg.jvp(f, (x,), (wnp.ones_like(x),))[1]


@pytest.mark.parametrize("name", SELECTIONS)
def test_untaken_sides_do_not_poison(name):
    f, points, first, second = SELECTIONS[name]
    points = np.array(points, np.float32)
    for derivative in (wg.grad(f), wg.grad(wg.jit(f)), wg.jit(wg.grad(f)), pushed(f)):
        np.testing.assert_allclose([derivative(x) for x in points], first, rtol=1e-5)
        np.testing.assert_allclose(wg.vmap(derivative)(points), first, rtol=1e-5)
    for outer in (wg.grad, pushed):
        for inner in (wg.grad, pushed):
            np.testing.assert_allclose(
                [outer(inner(f))(x) for x in points], second, rtol=1e-4, atol=1e-6
            )
    total = lambda v: wnp.sum(wg.vmap(f)(v))
    np.testing.assert_allclose(wg.grad(total)(points), first, rtol=1e-5)
    np.testing.assert_allclose(wg.jacrev(wg.vmap(f))(points), np.diag(first), rtol=1e-5)
    np.testing.assert_allclose(wg.hessian(total)(points), np.diag(second), rtol=1e-4, atol=1e-6)


def test_selection_before_an_infinite_slope():
    for f in (
        lambda x: wnp.sqrt(wnp.clip(x, 0.0, 1.0)),
        lambda x: wnp.sqrt(wnp.maximum(x, 0.0)),
    ):
        assert wg.grad(f)(-1.0) == 0.0
        assert wg.grad(wg.grad(f))(-1.0) == 0.0


# -- memory -----------------------------------------------------------------------------------


def peak(f):
    """Bytes that a call allocates at most, after a first call."""
    f()
    gc.collect()
    tracemalloc.start()
    f()
    out = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return out


@pytest.mark.parametrize("wrap", [lambda f: f, wg.jit], ids=["eager", "jit"])
def test_memory_is_that_of_the_residuals(wrap):
    x = np.ones(1 << 16, np.float32)

    def f(x):
        for _ in range(20):
            x = wnp.sin(x)
        return wnp.sum(x)

    assert peak(lambda: wg.grad(wrap(f))(x)) < 25 * x.nbytes
    assert peak(lambda: wg.vmap(wrap(lambda x: wnp.sin(wnp.sin(wnp.sin(wnp.sin(x))))))(x)) < (
        4 * x.nbytes
    )
