"""`custom_jvp`: arguments, what rules get and may return, linearity."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors
from wengert.custom_derivatives import SymbolicZero

X = np.array([0.5, -1.5, 2.0], np.float32)


@wg.custom_jvp
def f(x, y):
    return wnp.sin(x) * y


@f.defjvp
def f_rule(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    return f(x, y), 2 * wnp.cos(x) * dx * y + 3 * wnp.sin(x) * dy


def with_rule(rule, fun=lambda x: x * x):
    g = wg.custom_jvp(fun)
    g.defjvp(functools.partial(rule, g))
    return g


# -- the rule is used -------------------------------------------------------------------------

DX, DY = 2 * np.cos(X) * 2.0, 3 * np.sin(X)


@pytest.mark.parametrize(
    "gradient",
    [
        wg.vmap(wg.grad(f, (0, 1)), (0, None)),
        wg.vmap(wg.jit(wg.grad(f, (0, 1))), (0, None)),
        wg.jit(wg.vmap(wg.grad(wg.jit(f), (0, 1)), (0, None))),
        wg.vmap(wg.grad(wg.checkpoint(f), (0, 1)), (0, None)),
        lambda x, y: (
            wg.vmap(lambda x: wg.jvp(f, (x, y), (1.0, 0.0))[1])(x),
            wg.vmap(lambda x: wg.linearize(f, x, y)[1](0.0, 1.0))(x),
        ),
    ],
)
def test_under_transformations(gradient):
    dx, dy = gradient(X, 2.0)
    np.testing.assert_allclose(dx, DX, rtol=1e-6)
    np.testing.assert_allclose(dy, DY, rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda g: g, wg.jit])
def test_outside_of_vmap(wrap):
    total = lambda x, y: wrap(wg.vmap(f, (0, None)))(x, y).sum()
    dx, dy = wg.grad(total, (0, 1))(X, 2.0)
    np.testing.assert_allclose(dx, DX, rtol=1e-6)
    np.testing.assert_allclose(dy, DY.sum(), rtol=1e-6)


def test_second_derivatives_are_those_of_the_rule():
    np.testing.assert_allclose(wg.grad(wg.grad(f))(1.0, 2.0), -4 * np.sin(1.0), rtol=1e-6)
    # d/dx of 3 sin(x), which the rule gives for y
    np.testing.assert_allclose(wg.grad(wg.grad(f, 1))(1.0, 2.0), 3 * np.cos(1.0), rtol=1e-6)
    np.testing.assert_allclose(
        wg.hessian(lambda x: f(x, 2.0).sum())(X), np.diag(-4 * np.sin(X)), rtol=1e-5
    )


def test_keywords_and_defaults():
    g = wg.custom_jvp(lambda x, y=3.0: x * y)
    g.defjvp(lambda p, t: (g(*p), 10 * (t[0] * p[1] + p[0] * t[1])))
    assert wg.grad(lambda x: g(x))(2.0) == 30.0
    assert wg.grad(lambda x: g(y=x, x=5.0))(2.0) == 50.0
    with pytest.raises(TypeError):
        g(1.0, 2.0, 3.0)


@pytest.mark.parametrize("options", [{"nondiff_argnums": 0}, {"nondiff_argnames": ("fun",)}])
def test_nondifferentiable_arguments(options):
    @functools.partial(wg.custom_jvp, **options)
    def apply(fun, x):
        return fun(x)

    apply.defjvp(lambda fun, p, t: (apply(fun, p[0]), 5 * t[0]))
    assert wg.grad(lambda x: apply(wnp.sin, x))(2.0) == 5.0
    assert wg.jit(wg.grad(lambda x: apply(x=x, fun=wnp.sin)))(2.0) == 5.0
    np.testing.assert_array_equal(wg.vmap(wg.grad(lambda x: apply(wnp.sin, x)))(X), [5, 5, 5])


def test_one_rule_per_argument():
    g = wg.custom_jvp(lambda x, y: x * wnp.sin(y))
    g.defjvps(lambda t, out, x, y: 10 * t * wnp.sin(y), None)
    dx, dy = wg.grad(g, (0, 1))(2.0, 3.0)
    np.testing.assert_allclose(dx, 10 * np.sin(3.0), rtol=1e-6)
    assert dy == 0.0


def test_trees_and_integers():
    def rule(g, primals, tangents):
        (p, n), (dp, dn) = primals, tangents
        assert dn.dtype == wg.float0
        return g(p, n), {"a": dp["x"] * n * 10, "b": None}

    g = with_rule(rule, lambda p, n: {"a": p["x"] * n, "b": None})
    counts = np.arange(3, dtype=np.int32)
    assert wg.grad(lambda p: g(p, 3)["a"])({"x": 2.0})["x"] == 30.0
    for h in (
        wg.vmap(wg.grad(lambda x, n: g({"x": x}, n)["a"])),
        wg.jit(wg.vmap(wg.grad(lambda x, n: g({"x": x}, n)["a"]))),
        wg.grad(lambda x, n: wg.vmap(lambda x, n: g({"x": x}, n)["a"])(x, n).sum()),
    ):
        np.testing.assert_array_equal(h(X, counts), 10 * counts)


@pytest.mark.parametrize("wrap", [lambda g: g, wg.jit, lambda g: lambda *a: wg.vmap(g)(*a)])
def test_symbolic_zeros(wrap):
    g = wg.custom_jvp(lambda x, y: x * y)

    def rule(primals, tangents):
        dx, dy = tangents
        x, y = primals
        if type(dy) is SymbolicZero:
            assert (dy.shape, dy.dtype, dy.aval) == (y.shape, y.dtype, dy.type)
            return g(x, y), 2 * y * dx
        return g(x, y), SymbolicZero(dy.aval) if hasattr(dy, "aval") else dy

    g.defjvp(rule, symbolic_zeros=True)
    total = lambda x, y: wnp.sum(wrap(g)(x, y))
    np.testing.assert_array_equal(wg.grad(total)(X, X), 2 * X)
    np.testing.assert_array_equal(wg.grad(lambda x: total(x, x))(X), np.ones(3))


# -- what the rule does with tangents ---------------------------------------------------------


@pytest.mark.parametrize(
    "tangent",
    [
        lambda x, t: x * t,
        lambda x, t: wnp.where(x > 0, x * t, 0.0),
        lambda x, t: wnp.stack([t, 0 * t + x * t])[1],
        lambda x, t: wg.jit(lambda a, b: a * b)(x, t),
        lambda x, t: f(wnp.arcsin(x / 3), t) * 3,
        lambda x, t: wg.vmap(lambda q: q * t)(wnp.stack([x / 2, x / 2])).sum(),
        lambda x, t: wg.jvp(lambda x: x * x / 2, (x,), (t,))[1],
        lambda x, t: wnp.asarray([x, 1.0]) @ wnp.stack([t, 0 * t]),
        lambda x, t: t * x + np.float32(0),
    ],
)
def test_linear_rules(tangent):
    g = with_rule(lambda g, p, t: (g(*p), tangent(p[0], t[0])))
    for derivative in (wg.grad(g), wg.grad(wg.jit(g)), wg.jit(wg.grad(g))):
        np.testing.assert_allclose(derivative(2.0), 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    "tangent",
    [
        lambda x, t: t**2,
        lambda x, t: t * t,
        lambda x, t: wnp.exp(t),
        lambda x, t: 1 / t,
        lambda x, t: t + 1.0,
        lambda x, t: 2.0 - t,
        lambda x, t: wnp.where(x < 0, t, 5.0),
        lambda x, t: wnp.where(t > 0, t, 0.0),
        lambda x, t: wnp.maximum(t, 0.0),
        abs,
    ],
)
def test_nonlinear_rules(tangent):
    call = tangent if tangent is not abs else lambda x, t: abs(t)
    g = with_rule(lambda g, p, t: (g(*p), call(p[0], t[0])))
    with pytest.raises(errors.NonlinearRuleError):
        wg.grad(g)(2.0)


# -- what the rule returns --------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [
        lambda g, x, t: g(x),
        lambda g, x, t: (g(x), wnp.stack([t, t])),
        lambda g, x, t: (g(x), t.astype("float16")),
        lambda g, x, t: (g(x), t * 1j),
        lambda g, x, t: (g(x), None),
        lambda g, x, t: (g(x), (t,)),
        lambda g, x, t: (wnp.ones(2), t),
    ],
)
def test_wrong_results(result):
    g = with_rule(lambda g, p, t: result(g, p[0], t[0]))
    for run in (wg.grad(g), lambda x: wg.jvp(g, (x,), (1.0,)), wg.jit(wg.grad(g))):
        with pytest.raises(errors.CustomRuleError):
            run(np.float32(2))


def test_result_that_differs_from_the_function():
    g = with_rule(lambda g, p, t: (wnp.ones(2), t[0] * wnp.ones(2)))
    with pytest.raises(errors.CustomRuleError, match=r"f32\[2\]"):
        wg.grad(lambda x: wg.jit(g)(x).sum())(np.float32(2))


def test_numbers_are_taken_for_tangents():
    assert wg.grad(with_rule(lambda g, p, t: (g(*p), 0)))(2.0) == 0.0
    assert (
        wg.jvp(with_rule(lambda g, p, t: (g(*p), 1)), (np.float16(2),), (1.0,))[1].dtype
        == np.float16
    )


def test_without_a_rule():
    with pytest.raises(errors.CustomRuleError, match="defjvp"):
        wg.custom_jvp(lambda x: x)(1.0)
