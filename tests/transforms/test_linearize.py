"""`linearize`: run once, push often."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)


def test_the_function_runs_once():
    runs = []

    def f(x, y):
        runs.append(1)
        return {"a": x * y, "b": (wnp.sin(x), 3, x > 0)}

    out, push = wg.linearize(f, X, Y)
    for t in (X, Y):
        got = push(t, Y)
        np.testing.assert_allclose(got["a"], t * Y + X * Y, rtol=1e-6)
        np.testing.assert_allclose(got["b"][0], np.cos(X) * t, rtol=1e-6)
        assert got["b"][1].dtype == got["b"][2].dtype == wg.float0
    assert len(runs) == 1
    np.testing.assert_array_equal(out["a"], X * Y)


def test_push_under_transformations():
    _, push = wg.linearize(wnp.sin, X)
    np.testing.assert_allclose(wg.vmap(push)(np.eye(3, dtype=np.float32)), np.diag(np.cos(X)))
    np.testing.assert_allclose(wg.jit(push)(Y), np.cos(X) * Y, rtol=1e-6)
    np.testing.assert_allclose(wg.linear_transpose(push, X)(Y)[0], np.cos(X) * Y, rtol=1e-6)


def test_has_aux_and_integers():
    out, push, aux = wg.linearize(lambda n, x: (n * x, {"x": x}), 3, 2.0, has_aux=True)
    assert out == 6.0
    assert type(aux["x"]) is type(out)
    assert push(np.zeros((), wg.float0), 1.0) == 3.0
    with pytest.raises(errors.CotangentError):
        push(1, 1.0)


@pytest.mark.parametrize("tangents", [(X, X), ((X,),)])
def test_wrong_structure(tangents):
    with pytest.raises(errors.TreeError):
        wg.linearize(lambda x: x, X)[1](*tangents)


def test_wrong_types():
    push = wg.linearize(lambda x: x, X)[1]
    for tangent in (X[:2], X.astype(np.float64), X * 1j):
        with pytest.raises(errors.CotangentError):
            push(tangent)


def test_residuals_do_not_change_with_the_argument():
    x = X.copy()
    _, push = wg.linearize(lambda x: x * x, x)
    x[:] = 9
    np.testing.assert_array_equal(push(np.ones(3, np.float32)), 2 * X)


def test_derivative_through_linearize():
    f = lambda x: wg.linearize(lambda y: wnp.sin(y) * y, x)[1](1.0)
    np.testing.assert_allclose(wg.grad(f)(2.0), 2 * np.cos(2.0) - 2 * np.sin(2.0), rtol=1e-5)
    g = lambda x: wg.linearize(lambda y: x * y, 3.0)[1](x)
    assert wg.grad(g)(2.0) == 4.0
