"""`jacfwd`, `jacrev`, `jacobian`, `hessian`, `hvp`: trees, modes, chunks, complex numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import config, errors, tree_util

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)
M = np.arange(6, dtype=np.float32).reshape(2, 3) / 3
MODES = [wg.jacfwd, wg.jacrev, wg.jacobian]

mode = pytest.mark.parametrize("jac", MODES, ids=lambda f: f.__name__)


def assert_trees_close(got, expected):
    assert tree_util.tree_structure(got) == tree_util.tree_structure(expected)
    for a, b in zip(tree_util.tree_leaves(got), tree_util.tree_leaves(expected), strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@mode
def test_arguments(jac):
    dx = np.einsum("ik,j->ijk", np.eye(3), Y)
    dy = np.einsum("jk,i->ijk", np.eye(3), X)
    assert_trees_close(jac(wnp.outer)(X, Y), dx)
    assert_trees_close(jac(wnp.outer, -1)(X, Y), dy)
    assert_trees_close(jac(wnp.outer, [1, 0])(X, Y), (dy, dx))
    assert_trees_close(jac(lambda x, y: x * y)(X, y=2.0), 2 * np.eye(3))
    with pytest.raises(errors.ArgnumsError):
        jac(wnp.outer, 2)(X, Y)


@mode
def test_trees(jac):
    f = lambda p: {"o": (p["a"] * p["b"], None), "s": wnp.sum(p["a"])}
    expected = {
        "o": ({"a": 2 * np.eye(3), "b": X}, None),
        "s": {"a": np.ones(3), "b": np.zeros(())},
    }
    assert_trees_close(jac(f)({"a": X, "b": 2.0}), expected)


@mode
def test_has_aux(jac):
    got, aux = jac(lambda x: (x**2, {"x": x, "s": "t"}), has_aux=True)(X)
    np.testing.assert_allclose(got, np.diag(2 * X))
    assert type(aux["x"]) is type(got)
    assert aux["s"] == "t"


@mode
def test_shapes(jac):
    assert jac(lambda x: x[:0])(X).shape == (0, 3)
    assert jac(lambda x: wnp.sum(x))(np.zeros((0, 2))).shape == (0, 2)
    assert jac(lambda x: x)(np.zeros((0,))).shape == (0, 0)
    assert jac(lambda x: M.T @ x)(M).shape == (3, 3, 2, 3)
    assert jac(wnp.sin)(M).shape == (2, 3, 2, 3)
    assert jac(lambda x: 3.0)(M).shape == (2, 3)
    assert jac(lambda x: x * 2)(2.0) == 2.0
    assert jac(lambda x: 3.0)({}) == {}


@mode
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, "auto"])
def test_chunks(jac, chunk):
    vector = lambda x: wnp.stack([wnp.sum(x**2), wnp.prod(x), x[0] * x[1], x[2]])
    tree = lambda p: {"o": p["a"] * p["b"].sum(), "q": p["b"]}
    for budget in (8, 1 << 20):
        with config.memory_budget(budget):
            assert_trees_close(jac(vector, chunk_size=chunk)(X), jac(vector)(X))
            p = {"a": X, "b": M}
            assert_trees_close(jac(tree, chunk_size=chunk)(p), jac(tree)(p))
    chunked = jac(vector, chunk_size=chunk)
    np.testing.assert_allclose(wg.jit(chunked)(X), jac(vector)(X), rtol=1e-6)
    np.testing.assert_allclose(wg.vmap(chunked)(X[None])[0], jac(vector)(X), rtol=1e-6)


@mode
@pytest.mark.parametrize("chunk", [0, -1, 1.5, True, "all"])
def test_wrong_chunks(jac, chunk):
    with pytest.raises(ValueError, match="chunk_size"):
        jac(wnp.sin, chunk_size=chunk)


@mode
def test_integers(jac):
    with pytest.raises(errors.IntegerGradientError):
        jac(lambda n: n * 2.0)(np.arange(3))
    got = jac(lambda x: (x * 2, x > 0))(X)
    np.testing.assert_array_equal(got[0], 2 * np.eye(3))
    assert got[1].dtype == wg.float0


def test_allow_int():
    got = wg.jacrev(lambda n, x: n * x, (0, 1), allow_int=True)(3, X)
    assert got[0].dtype == wg.float0
    np.testing.assert_array_equal(got[1], 3 * np.eye(3))


@mode
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_dtypes(jac, dtype):
    got = jac(lambda x: wnp.stack([x[0] * x[1], x[1] ** 2]))(X[:2].astype(dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(np.asarray(got).astype(np.float32), [[-1.5, 0.5], [0, -3]])


@mode
def test_weakness(jac):
    assert jac(lambda x: x * x)(3.0).weak_type
    assert not jac(lambda x: x * x)(np.float32(3)).weak_type


# -- complex numbers --------------------------------------------------------------------------

Z = np.array([1 + 1j, 2 - 0.5j], np.complex64)


@mode
def test_holomorphic(jac):
    np.testing.assert_allclose(
        jac(lambda z: z**2, holomorphic=True)(Z), np.diag(2 * Z), rtol=1e-6
    )
    with pytest.raises(errors.HolomorphicError):
        jac(lambda z: z, holomorphic=True)(X)
    with pytest.raises(errors.HolomorphicError):
        jac(wnp.real, holomorphic=True)(Z)


def test_real_functions_of_complex_numbers():
    """In reverse mode as `grad` has it; also where forward mode would be as cheap."""
    square = lambda z: wnp.real(z * z)
    pair = lambda z: wnp.stack([wnp.real(z).sum(), wnp.imag(z[0] * z[1])])
    for jac in (wg.jacrev, wg.jacobian):
        np.testing.assert_allclose(jac(square)(Z), np.diag(2 * Z), rtol=1e-6)
        rows = [wg.grad(lambda z: pair(z)[i])(Z) for i in range(2)]
        np.testing.assert_allclose(jac(pair)(Z), rows, rtol=1e-6)
        with pytest.raises(errors.ComplexDerivativeError):
            jac(lambda z: z * z)(Z)
    with pytest.raises(errors.ComplexDerivativeError):
        wg.jacfwd(square)(Z)


def test_complex_functions_of_real_numbers():
    np.testing.assert_allclose(wg.jacfwd(lambda x: x * x * 1j)(X), np.diag(2j * X), rtol=1e-6)


# -- second derivatives -----------------------------------------------------------------------


def test_hessian():
    assert_trees_close(wg.hessian(lambda x: wnp.sum(x**3))(X), np.diag(6 * X))
    f = lambda x, y: wnp.sum(x**2 * y)
    expected = ((np.diag(2 * Y), np.diag(2 * X)), (np.diag(2 * X), np.zeros((3, 3))))
    assert_trees_close(wg.hessian(f, (0, 1))(X, Y), expected)
    got = wg.hessian(lambda p: wnp.sum(p["a"] ** 3) * p["b"])({"a": X, "b": 2.0})
    assert_trees_close(got["a"], {"a": np.diag(12 * X), "b": 3 * X**2})
    assert_trees_close(got["b"], {"a": 3 * X**2, "b": np.zeros(())})
    assert wg.hessian(lambda x: x**3)(X).shape == (3, 3, 3)
    hess, aux = wg.hessian(lambda x: (wnp.sum(x**3), x), has_aux=True, chunk_size=2)(X)
    assert_trees_close(hess, np.diag(6 * X))
    assert type(aux) is type(hess)
    assert wg.hessian(lambda z: z**3, holomorphic=True)(1 + 2j) == 6 * (1 + 2j)


def test_hvp():
    cube = lambda x: wnp.sum(x**3)
    np.testing.assert_allclose(wg.hvp(cube, (X,), (Y,)), 6 * X * Y, rtol=1e-6)
    dx, dy = wg.hvp(lambda x, y: wnp.sum(x**2 * y), (X, Y), (Y, X))
    np.testing.assert_allclose(dx, 2 * Y * Y + 2 * X * X, rtol=1e-6)
    np.testing.assert_allclose(dy, 2 * X * Y, rtol=1e-6)
    tree = wg.hvp(lambda p: cube(p["a"]), ({"a": X},), ({"a": Y},))
    np.testing.assert_allclose(tree["a"], 6 * X * Y, rtol=1e-6)
    rows = wg.vmap(lambda v: wg.hvp(cube, [X], [v]))(np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(rows, np.diag(6 * X), rtol=1e-6)
    with pytest.raises(TypeError):
        wg.hvp(cube, X, Y)


@mode
def test_derivatives_of_jacobians(jac):
    f = lambda x: wnp.sum(jac(lambda y: wnp.sin(y) * x)(x) ** 2)
    expected = -2 * np.cos(X) * np.sin(X) * X**2 + 2 * np.cos(X) ** 2 * X
    np.testing.assert_allclose(wg.grad(f)(X), expected, rtol=1e-5)
