"""`jvp`: points and directions as trees, their types, aux, nesting."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)
NOTHING = np.zeros((), wg.float0)


def test_trees():
    def f(p):
        return {"product": p["a"] * p["b"][0], "none": None}

    out, tangent = wg.jvp(f, ({"a": X, "b": (Y,)},), ({"a": Y, "b": (X,)},))
    np.testing.assert_array_equal(out["product"], X * Y)
    np.testing.assert_array_equal(tangent["product"], X * X + Y * Y)
    assert tangent["none"] is None


def test_several_arguments():
    out, tangent = wg.jvp(lambda x, y: (x * y, y), (X, Y), (Y, X))
    np.testing.assert_array_equal(out[0], X * Y)
    np.testing.assert_array_equal(tangent[0], Y * Y + X * X)
    np.testing.assert_array_equal(tangent[1], X)


def test_has_aux():
    out, tangent, aux = wg.jvp(
        lambda x: (x * 2, {"x": x, "s": "t"}), (3.0,), (1.0,), has_aux=True
    )
    assert (out, tangent) == (6.0, 2.0)
    assert type(aux["x"]) is type(out)
    assert aux["s"] == "t"


def test_integers_have_no_tangent():
    out, tangent = wg.jvp(lambda n, x: (n * x, n, x > 0), (3, 2.0), (NOTHING, 1.0))
    assert out[0] == 6.0
    assert tangent[0] == 3.0
    assert tangent[1].dtype == tangent[2].dtype == wg.float0
    with pytest.raises(errors.CotangentError, match="float0"):
        wg.jvp(lambda n: n * 2.0, (3,), (1,))


@pytest.mark.parametrize(
    ("primals", "tangents", "error"),
    [
        (X, X, TypeError),
        ((X,), X, TypeError),
        ((X,), (X, X), errors.TreeError),
        (({"a": X},), ({"b": X},), errors.TreeError),
        ((X,), (X[:2],), errors.CotangentError),
        ((X,), (X.astype(np.float64),), errors.CotangentError),
        ((1.0,), (1j,), errors.CotangentError),
    ],
)
def test_wrong_tangents(primals, tangents, error):
    with pytest.raises(error):
        wg.jvp(lambda x: x, primals, tangents)


def test_weak_tangents_take_the_dtype_of_their_primal():
    for tangent in (1, 1.0):
        got = wg.jvp(lambda x: x * 2, (np.float16(3),), (tangent,))[1]
        assert got.dtype == np.float16
    assert wg.jvp(lambda z: z * z, (1 + 1j,), (1.0,))[1] == 2 + 2j


def test_tangents_are_as_weak_as_their_values():
    assert wg.jvp(lambda x: x * 2, (3.0,), (np.float32(1),))[1].weak_type
    assert not wg.jvp(lambda x: x + np.float32(2), (3.0,), (1.0,))[1].weak_type


def test_constant_result_has_zero_tangent():
    out, tangent = wg.jvp(lambda x: 2.0, (X,), (Y,))
    assert (out, tangent) == (2.0, 0.0)


def test_nested_and_mixed():
    f = lambda x: wnp.sin(x) * x
    push = lambda f: lambda x: wg.jvp(f, (x,), (1.0,))[1]
    second = 2 * np.cos(0.7) - 0.7 * np.sin(0.7)
    for outer in (push, wg.grad):
        for inner in (push, wg.grad):
            np.testing.assert_allclose(outer(inner(f))(0.7), second, rtol=1e-5)
            np.testing.assert_allclose(wg.jit(outer(wg.jit(inner(f))))(0.7), second, rtol=1e-5)


def test_under_vmap_and_jit():
    f = lambda x, t: wg.jvp(wnp.sin, (x,), (t,))[1]
    np.testing.assert_allclose(wg.vmap(f)(X, Y), np.cos(X) * Y, rtol=1e-6)
    np.testing.assert_allclose(wg.jit(wg.vmap(f, (0, None)))(X, 2.0), np.cos(X) * 2, rtol=1e-6)
