"""`checkpoint`: the same results and derivatives, with less memory in between."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors

X = np.array([0.5, -1.5, 2.0], np.float32)
M = np.arange(6, dtype=np.float32).reshape(2, 3)


def f(x, w=1.0):
    return wnp.sum(wnp.sin(x * w) ** 2)


#: transformation of a function of one array -> transformed function
WAYS = {
    "grad": wg.grad,
    "jit grad": lambda g: wg.jit(wg.grad(g)),
    "grad jit": lambda g: wg.grad(wg.jit(g)),
    "hessian": wg.hessian,
    "grad grad": lambda g: wg.grad(lambda x: wnp.sum(wg.grad(g)(x) ** 2)),
    "jvp": lambda g: lambda x: wg.jvp(g, (x,), (x,))[1],
    "linearize": lambda g: lambda x: wg.linearize(g, x)[1](x),
    "grad vmap": lambda g: wg.grad(lambda x: wg.vmap(g)(x[:, None] * X).sum()),
    "vmap grad": lambda g: lambda x: wg.vmap(wg.grad(g))(x[:, None] * X),
    "jacfwd vmap": lambda g: wg.jacfwd(lambda x: wg.vmap(g)(x[:, None] * X)),
    "twice": lambda g: wg.grad(wg.checkpoint(g)),
}


@pytest.mark.parametrize("way", WAYS)
def test_derivatives(way):
    np.testing.assert_allclose(WAYS[way](wg.checkpoint(f))(X), WAYS[way](f)(X), rtol=1e-5)


def test_closed_over_values():
    for wrap in (lambda g: g, wg.jit):
        closing = lambda x, w: wrap(wg.checkpoint(lambda x: f(x, w)))(x)
        got = wg.grad(closing, (0, 1))(X, 2.0)
        expected = wg.grad(f, (0, 1))(X, 2.0)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    inner = lambda w: wg.vmap(lambda row: wg.checkpoint(lambda x: f(x, w))(row))(M).sum()
    plain = lambda w: wg.vmap(lambda row: f(row, w))(M).sum()
    np.testing.assert_allclose(wg.grad(inner)(2.0), wg.grad(plain)(2.0), rtol=1e-5)


def test_arguments():
    power = lambda x, n, *, k=1.0: wnp.sum(x**n) * k
    np.testing.assert_allclose(
        wg.grad(wg.checkpoint(power, static_argnums=(1,)))(X, 3, k=2.0), 6 * X**2
    )
    decorated = wg.checkpoint(static_argnums=1, prevent_cse=False, policy=lambda *_: True)(
        power
    )
    np.testing.assert_allclose(wg.grad(decorated)(X, 3), 3 * X**2)
    tree = wg.checkpoint(lambda p: (p["x"] * p["n"], p["n"], None))
    got = wg.grad(lambda p: tree(p)[0], allow_int=True)({"x": 2.0, "n": 3})
    assert got["x"] == 3.0


def test_in_a_derivative_rule():
    @wg.custom_jvp
    def g(x):
        return x * x

    g.defjvp(lambda p, t: (g(*p), wg.checkpoint(lambda a, b: 3 * a * b)(p[0], t[0])))
    assert wg.grad(g)(2.0) == 6.0
    with pytest.raises(errors.ConcretizationError):
        wg.grad(wg.checkpoint(lambda x: x if x > 0 else -x))(1.0)


def peak(run):
    run()
    gc.collect()
    tracemalloc.start()
    run()
    out = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return out


@pytest.mark.parametrize(
    "wrap",
    [lambda g: g, wg.jit, lambda g: lambda x: wg.vmap(g)(x[None])[0]],
    ids=["plain", "jit", "vmap"],
)
def test_memory(wrap):
    x = np.ones(1 << 16, np.float32)
    four = lambda x: wnp.sin(wnp.sin(wnp.sin(wnp.sin(x))))

    def chain(block):
        def g(x):
            for _ in range(8):
                x = block(x)
            return wnp.sum(x)

        return g

    plain = peak(lambda: wg.grad(chain(wrap(four)))(x))
    saved = peak(lambda: wg.grad(chain(wrap(wg.checkpoint(four))))(x))
    assert saved < 0.5 * plain
