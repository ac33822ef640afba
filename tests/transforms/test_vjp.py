"""`vjp` and `linear_transpose`: cotangents as trees, their types, memory, linearity."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)
M = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_trees():
    out, pull = wg.vjp(lambda p, n: {"a": p["x"] * n, "b": (p["y"], None)}, {"x": X, "y": Y}, 2)
    np.testing.assert_array_equal(out["a"], 2 * X)
    got, nothing = pull({"a": Y, "b": (X, None)})
    np.testing.assert_array_equal(got["x"], 2 * Y)
    np.testing.assert_array_equal(got["y"], X)
    assert nothing.dtype == wg.float0


def test_pullback_is_used_often_and_under_transformations():
    _, pull = wg.vjp(lambda x: M @ wnp.sin(x), X)
    expected = M * np.cos(X)
    for _ in range(2):
        np.testing.assert_allclose(
            wg.vmap(pull)(np.eye(2, dtype=np.float32))[0], expected, rtol=1e-6
        )
        np.testing.assert_allclose(
            wg.jit(pull)(np.ones(2, np.float32))[0], expected.sum(0), rtol=1e-6
        )


def test_has_aux():
    out, pull, aux = wg.vjp(lambda x: (x * x, {"x": x}), 3.0, has_aux=True)
    assert out == 9.0
    assert pull(1.0)[0] == 6.0
    assert type(aux["x"]) is type(out)


@pytest.mark.parametrize(
    ("f", "cotangent", "error"),
    [
        (lambda x: (x, x), X, errors.TreeError),
        (lambda x: (x, x), [X, X], errors.TreeError),
        (lambda x: x, M, errors.CotangentError),
        (lambda x: x, X.astype(np.float64), errors.CotangentError),
        (wnp.sum, 1j, errors.CotangentError),
    ],
)
def test_wrong_cotangents(f, cotangent, error):
    with pytest.raises(error):
        wg.vjp(f, X)[1](cotangent)


def test_wrong_cotangent_names_its_place():
    pull = wg.vjp(lambda x: {"a": x, "b": [x]}, X)[1]
    with pytest.raises(errors.CotangentError, match=r"\['b'\]\[0\]"):
        pull({"a": X, "b": [M]})


def test_integer_results_take_any_cotangent():
    pull = wg.vjp(lambda x: x.astype("int32"), X)[1]
    for cotangent in (np.ones(3, np.int32), np.zeros(3, wg.float0)):
        np.testing.assert_array_equal(pull(cotangent)[0], np.zeros(3))


def test_residuals_do_not_change_with_the_argument():
    x = X.copy()
    _, pull = wg.vjp(lambda x: x * x, x)
    x[:] = 9
    np.testing.assert_array_equal(pull(np.ones(3, np.float32))[0], 2 * X)


def test_derivative_of_a_pullback():
    f = lambda t: wnp.sum(wg.vjp(lambda x: x**3, t)[1](wnp.ones(3))[0])
    np.testing.assert_allclose(wg.grad(f)(X), 6 * X)


# -- linear_transpose -------------------------------------------------------------------------


def test_transposes():
    (got,) = wg.linear_transpose(lambda x: M @ x, wg.ShapeDtypeStruct((3,), np.float32))(Y[:2])
    np.testing.assert_array_equal(got, M.T @ Y[:2])
    a, b = wg.linear_transpose(lambda x, y: 3 * x - y[::-1] / 2, X, Y)(Y)
    np.testing.assert_array_equal(a, 3 * Y)
    np.testing.assert_array_equal(b, -Y[::-1] / 2)
    jitted = wg.jit(lambda d: wnp.cumsum(d["a"]))
    (tree,) = wg.linear_transpose(jitted, {"a": X, "b": Y})(Y)
    np.testing.assert_array_equal(tree["a"], np.cumsum(Y[::-1])[::-1])
    np.testing.assert_array_equal(tree["b"], np.zeros(3))
    assert wg.linear_transpose(lambda x: x * 1j, 2.0)(1.0 + 2j)[0] == -2.0


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x**2,
        lambda x: x * x,
        wnp.sin,
        lambda x: 1 / x,
        lambda x: x + 1,
        lambda x: wnp.where(x > 0, x, 0.0),
        lambda x: wnp.where(np.array([True, False, True]), x, 1.0),
        lambda x: np.float32(3.0) * np.ones(3, np.float32),
    ],
)
def test_only_linear_functions_have_a_transpose(f):
    with pytest.raises(errors.NonlinearRuleError):
        wg.linear_transpose(f, X)(Y)


def test_linear_transpose_of_integers():
    with pytest.raises(errors.DTypeError):
        wg.linear_transpose(lambda n: n * 2.0, 3)
