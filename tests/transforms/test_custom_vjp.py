"""`custom_vjp`: arguments, residuals, what rules get and may return."""

from __future__ import annotations

import functools
import gc
import tracemalloc

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors
from wengert.custom_derivatives import CustomVJPPrimal, SymbolicZero

X = np.array([0.5, -1.5, 2.0], np.float32)


@wg.custom_vjp
def f(x, y):
    return wnp.sin(x) * y


f.defvjp(
    lambda x, y: (f(x, y), (x, y)),
    lambda saved, u: (2 * wnp.cos(saved[0]) * u * saved[1], 3 * wnp.sin(saved[0]) * u),
)


def with_rules(bwd, fwd=lambda x: (x * x, x), fun=lambda x: x * x):
    g = wg.custom_vjp(fun)
    g.defvjp(fwd, bwd)
    return g


# -- the rules are used -----------------------------------------------------------------------

DX, DY = 2 * np.cos(X) * 2.0, 3 * np.sin(X)


@pytest.mark.parametrize(
    "gradient",
    [
        wg.vmap(wg.grad(f, (0, 1)), (0, None)),
        wg.vmap(wg.jit(wg.grad(f, (0, 1))), (0, None)),
        wg.jit(wg.vmap(wg.grad(wg.jit(f), (0, 1)), (0, None))),
        wg.vmap(wg.grad(wg.checkpoint(f), (0, 1)), (0, None)),
        wg.vmap(lambda x, y: wg.vjp(f, x, y)[1](1.0), (0, None)),
        # forward mode is derived from the pullback
        lambda x, y: (
            wg.vmap(lambda x: wg.jvp(f, (x, y), (1.0, 0.0))[1])(x),
            wg.vmap(lambda x: wg.linearize(f, x, y)[1](0.0, 1.0))(x),
        ),
        wg.vmap(wg.jacfwd(f, (0, 1)), (0, None)),
    ],
)
def test_under_transformations(gradient):
    dx, dy = gradient(X, 2.0)
    np.testing.assert_allclose(dx, DX, rtol=1e-6)
    np.testing.assert_allclose(dy, DY, rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda g: g, wg.jit])
def test_cotangents_of_unbatched_arguments_are_summed(wrap):
    total = lambda x, y: wrap(wg.vmap(f, (0, None)))(x, y).sum()
    dx, dy = wg.grad(total, (0, 1))(X, 2.0)
    np.testing.assert_allclose(dx, DX, rtol=1e-6)
    np.testing.assert_allclose(dy, DY.sum(), rtol=1e-6)
    nested = lambda x, y: wg.vmap(wg.vmap(f, (None, 0)), (0, None))(x, y).sum()
    np.testing.assert_allclose(wg.grad(nested)(X, X), 2 * np.cos(X) * X.sum(), rtol=1e-6)


def test_hessians_are_those_of_the_rules():
    expected = -4 * np.sin(1.0)
    for second in (
        wg.grad(wg.grad(f)),
        wg.hessian(f),
        wg.jacfwd(wg.grad(f)),
        wg.jit(wg.hessian(f)),
    ):
        np.testing.assert_allclose(second(1.0, 2.0), expected, rtol=1e-6)
    np.testing.assert_allclose(
        wg.hvp(lambda x: f(x, 2.0), (1.0,), (3.0,)), 3 * expected, rtol=1e-6
    )


def test_nonlinear_pullback_has_no_pushforward():
    g = with_rules(lambda x, u: (wnp.clip(u, -1.0, 1.0),))
    assert wg.grad(lambda x: 5 * g(x))(2.0) == 1.0
    with pytest.raises(errors.NonlinearRuleError):
        wg.jvp(g, (2.0,), (1.0,))


def test_keywords_and_defaults():
    g = wg.custom_vjp(lambda x, y=3.0: x * y)
    g.defvjp(lambda x, y: (x * y, (x, y)), lambda r, u: (10 * u * r[1], 10 * u * r[0]))
    assert wg.grad(lambda x: g(x))(2.0) == 30.0
    assert wg.grad(lambda x: g(y=x, x=5.0))(2.0) == 50.0
    with pytest.raises(TypeError):
        g(1.0, 2.0, 3.0)
    with pytest.raises(TypeError, match="keyword-only"):
        keyword = wg.custom_vjp(lambda x, *, k=1: x)
        keyword.defvjp(lambda x, k: (x, None), lambda r, u: (u,))
        keyword(1.0, k=2)


@pytest.mark.parametrize(
    "options", [{"nondiff_argnums": (0, 2)}, {"nondiff_argnames": ("fun", "n")}]
)
def test_nondifferentiable_arguments(options):
    @functools.partial(wg.custom_vjp, **options)
    def apply(fun, x, n, y):
        return fun(x) ** n * y

    apply.defvjp(
        lambda fun, x, n, y: (apply(fun, x, n, y), (x, y)),
        lambda fun, n, saved, u: (n * saved[0] * u, fun(saved[1]) * u),
    )
    for call in (
        lambda x, y: apply(wnp.sin, x, 3, y),
        lambda x, y: apply(n=3, y=y, x=x, fun=wnp.sin),
    ):
        for wrap in (lambda g: g, wg.jit):
            dx, dy = wrap(wg.grad(wrap(call), (0, 1)))(2.0, 0.5)
            assert dx == 6.0
            np.testing.assert_allclose(dy, np.sin(0.5), rtol=1e-6)
    with pytest.raises(errors.ArgnumsError):
        wg.custom_vjp(lambda x: x, nondiff_argnames="q")


# -- trees, integers, zeros -------------------------------------------------------------------


def test_trees_integers_and_none():
    def fun(p, n):
        return {"o": p["a"] * n, "q": (p["b"], n)}

    g = wg.custom_vjp(fun)

    def bwd(saved, u):
        n, nothing = saved["n"]
        assert nothing is None
        assert u["q"][1].dtype == wg.float0
        return {"a": u["o"] * n * 10, "b": None}, None

    g.defvjp(lambda p, n: (fun(p, n), {"n": (n, None)}), bwd)
    counts = np.arange(3, dtype=np.int32)
    first = lambda a, b, n: g({"a": a, "b": b}, n)["o"]
    for h in (
        wg.vmap(wg.grad(first, (0, 1))),
        wg.jit(wg.vmap(wg.grad(first, (0, 1)))),
        wg.grad(lambda *args: wg.vmap(first)(*args).sum(), (0, 1)),
        wg.grad(lambda *args: wg.jit(wg.vmap(first))(*args).sum(), (0, 1)),
    ):
        da, db = h(X, X, counts)
        np.testing.assert_array_equal(da, 10 * counts)
        np.testing.assert_array_equal(db, np.zeros(3))
    tangent = wg.jvp(lambda a: first(a, 1.0, 3), (2.0,), (1.0,))[1]
    assert tangent == 30.0


def test_float0_cotangent_of_an_integer_argument():
    g = wg.custom_vjp(lambda x, n: x * n)
    g.defvjp(lambda x, n: (x * n, n), lambda n, u: (u * n, np.zeros(np.shape(n), wg.float0)))
    assert wg.grad(g)(2.0, 3) == 3.0


@pytest.mark.parametrize("wrap", [lambda g: g, wg.jit, lambda g: lambda *a: wg.vmap(g)(*a)])
def test_symbolic_zeros(wrap):
    seen = []
    g = wg.custom_vjp(lambda x, y: (x * y, x))

    def fwd(x, y):
        assert isinstance(x, CustomVJPPrimal)
        seen.append((x.perturbed, y.perturbed))
        return (x.value * y.value, x.value), y.value

    def bwd(y, cotangents):
        product, copy = cotangents
        assert type(copy) is SymbolicZero or copy.shape == y.shape
        return (
            product * y if type(copy) is SymbolicZero else copy,
            SymbolicZero(y.aval) if hasattr(y, "aval") else None,
        )

    g.defvjp(fwd, bwd, symbolic_zeros=True)
    np.testing.assert_array_equal(wg.grad(lambda x: wnp.sum(wrap(g)(x, X)[0]))(X), X)
    assert seen[-1] == (True, False)


# -- what rules return ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bwd",
    [
        lambda x, u: None,
        lambda x, u: u,
        lambda x, u: (u, u),
        lambda x, u: ((u,),),
        lambda x, u: (wnp.ones(2),),
        lambda x, u: (u.astype("float16"),),
        lambda x, u: (u * 1j,),
    ],
)
def test_wrong_cotangents(bwd):
    for h in (wg.grad(with_rules(bwd)), wg.jit(wg.grad(with_rules(bwd)))):
        with pytest.raises(errors.CustomRuleError):
            h(np.float32(2))
    with pytest.raises(errors.CustomRuleError):
        wg.jvp(with_rules(bwd), (np.float32(2),), (np.float32(1),))


def test_numbers_are_taken_for_cotangents():
    for zero in (0, 0.0, None):
        assert wg.grad(with_rules(lambda x, u: [zero]))(2.0) == 0.0


def test_wrong_forward_rules():
    with pytest.raises(errors.CustomRuleError, match="pair"):
        wg.grad(with_rules(lambda x, u: (u,), fwd=lambda x: x))(2.0)
    jitted = wg.jit(with_rules(lambda x, u: (u,), fwd=lambda x: (wnp.ones(2), x)))
    with pytest.raises(errors.CustomRuleError, match=r"f32\[2\]"):
        wg.grad(lambda x: wnp.sum(jitted(x)))(2.0)
    with pytest.raises(errors.CustomRuleError, match="defvjp"):
        wg.custom_vjp(lambda x: x)(1.0)


def test_the_arguments_are_not_kept():
    g = with_rules(lambda _, u: (u * 0.5,), lambda x: (g(x), None), lambda x: wnp.sin(x) * 0.5)
    x = np.ones(1 << 16, np.float32)

    def chain(x):
        for _ in range(20):
            x = g(x)
        return wnp.sum(x)

    wg.grad(chain)(x)
    gc.collect()
    tracemalloc.start()
    wg.grad(chain)(x)
    assert tracemalloc.get_traced_memory()[1] < 5 * x.nbytes
    tracemalloc.stop()
