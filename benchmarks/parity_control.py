"""Control flow against JAX: values, derivatives and batches of small programs.

Each program is written once, for a NumPy interface `xp` and a `lax`. JAX has no reverse mode
through `while_loop`; there our reverse mode is compared with its forward mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import wengert
import wengert.numpy as wnp
from wengert import lax as our_lax

X = np.array([0.5, -1.5, 2.0])
M = np.linspace(-1, 1, 9).reshape(3, 3)
ROWS = np.linspace(-1, 1, 15).reshape(5, 3)

#: Loops over which JAX has no reverse mode.
FORWARD_ONLY = frozenset(
    "while_newton while_pair while_zero_trip fori_dynamic while_in_scan while_in_while "
    "cond_in_while while_matrix_power while_many_carries scan_in_while".split()
)
Make = Callable[[Any, Any], tuple[Callable[..., Any], tuple[Any, ...]]]
PROGRAMS: list[Make] = []


def program(make: Make) -> Make:
    """Add a program to the list: from interface and `lax` to a function and its arguments."""
    PROGRAMS.append(make)
    return make


@program
def scan_rnn(xp, lax):
    def f(W, h, xs):
        def step(h, x):
            h = xp.tanh(W @ h + x)
            return h, (h * h).sum()

        h, ys = lax.scan(step, h, xs)
        return h.sum() * 2 + (ys * ys).sum()

    return f, (M, X, ROWS)


@program
def scan_rev(xp, lax):
    def f(c, xs):
        c, ys = lax.scan(lambda c, x: (c * x + 1.0, c - x), c, xs, reverse=True)
        return c * (ys**2).sum()

    return f, (np.float64(0.3), X)


@program
def scan_tree(xp, lax):
    def f(p, xs):
        def step(c, x):
            return {"a": c["a"] * x["u"], "n": c["n"] + 1}, (c["a"], x["v"] * c["n"])

        c, ys = lax.scan(step, {"a": p, "n": 0}, {"u": xs, "v": xs * 2})
        return c["a"] + c["n"] * ys[0].sum() + ys[1].sum()

    return f, (np.float64(0.7), X)


@program
def scan_const_invariant(xp, lax):
    def f(w, x):
        return lax.scan(lambda c, _: (xp.sin(xp.exp(w) * c), None), x, None, length=6)[0].sum()

    return f, (X, X * 0.5)


@program
def scan_none_carry(xp, lax):
    def f(xs):
        return (lax.scan(lambda c, x: (c, xp.sin(x) * x), None, xs)[1] ** 2).sum()

    return f, (X,)


@program
def scan_unrelated_carry(xp, lax):
    def f(a, b, xs):
        def step(c, x):
            u, v, w = c
            return (v, u * x, w * w), u + x

        (u, v, w), ys = lax.scan(step, (a, b, xp.ones(2, np.float64)), xs)
        return u * 3 + v + w.sum() + ys.sum()

    return f, (np.float64(1.2), np.float64(0.3), X)


@program
def scan_in_scan(xp, lax):
    def f(x, xs):
        def outer(c, x):
            c2, ys = lax.scan(lambda c, y: (c * xp.cos(y * x), c * y), c, xs)
            return c2, ys.sum()

        c, ys = lax.scan(outer, x, xs)
        return c + (ys**2).sum()

    return f, (np.float64(0.9), X)


@program
def cond_simple(xp, lax):
    def f(x):
        return lax.cond(x.sum() > 0, lambda x: xp.sin(x).sum(), lambda x: (x**3).sum(), x)

    return f, (X,)


@program
def cond_closure(xp, lax):
    def f(x, w):
        return lax.cond(w > 0, lambda: (x * w).sum(), lambda: (x / w).sum())

    return f, (X, np.float64(-0.4))


@program
def switch3(xp, lax):
    def f(x):
        i = (x[0] > 0).astype(np.int32) + (x[1] > 0).astype(np.int32)
        return lax.switch(
            i,
            [lambda x: xp.sin(x).sum(), lambda x: xp.exp(x).sum(), lambda x: (x * x).sum()],
            x,
        )

    return f, (X,)


@program
def cond_in_scan(xp, lax):
    def f(c, xs):
        def step(c, x):
            return lax.cond(x > 0, lambda c, x: c * x, lambda c, x: xp.sin(c) + x * x, c, x), c

        c, ys = lax.scan(step, c, xs)
        return c + (ys**2).sum()

    return f, (np.float64(0.3), X)


@program
def scan_in_cond(xp, lax):
    def f(c, xs):
        return lax.cond(
            c > 0,
            lambda c, xs: lax.scan(lambda c, x: (c * x, None), c, xs)[0],
            lambda c, xs: c * xs.sum(),
            c,
            xs,
        )

    return f, (np.float64(0.3), X)


@program
def fori_static(xp, lax):
    def f(x):
        return lax.fori_loop(0, 4, lambda i, c: xp.sin(c) * (i + 1.0), x).sum()

    return f, (X,)


@program
def fori_index(xp, lax):
    def f(x):
        return lax.fori_loop(0, 3, lambda i, c: c.at[i].set(c[i] * c.sum()), x).sum()

    return f, (X,)


@program
def map_(xp, lax):
    def f(x, w):
        return (lax.map(lambda r: xp.tanh(r * w).sum(), x) ** 2).sum()

    return f, (M, np.float64(0.7))


@program
def map_batch(xp, lax):
    def f(x, w):
        return (lax.map(lambda r: xp.tanh(r * w).sum(), x, batch_size=2) ** 2).sum()

    return f, (M, np.float64(0.7))


@program
def scan_matrix_solve(xp, lax):
    def f(A, b):
        def step(x, _):
            return x - 0.1 * (A.T @ (A @ x - b)), ((A @ x - b) ** 2).sum()

        x, ys = lax.scan(step, xp.zeros(3, np.float64), None, length=7)
        return ys.sum() + x.sum()

    return f, (M + np.eye(3), X)


@program
def scan_int_xs(xp, lax):
    def f(x):
        return lax.scan(
            lambda c, i: (c * xp.asarray(x)[i], c), xp.ones((), np.float64), xp.arange(3)
        )[1].sum()

    return f, (X,)


@program
def scan_where(xp, lax):
    def f(c, xs):
        def step(c, x):
            return xp.where(x > 0, xp.sqrt(xp.abs(c) + 1), c * x), c

        c, ys = lax.scan(step, c, xs)
        return c + ys.sum()

    return f, (np.float64(0.3), X)


@program
def scan_bool_int_carry(xp, lax):
    def f(c, xs):
        def step(s, x):
            c, b, n = s
            return (xp.where(b, c * x, c + x), ~b, n + 1), c * n

        (c, _b, n), ys = lax.scan(step, (c, True, xp.int32(0)), xs)
        return c * n + ys.sum()

    return f, (np.float64(0.3), X)


@program
def scan_complex(xp, lax):
    def f(c, xs):
        c, ys = lax.scan(lambda c, x: (c * xp.exp(1j * x), xp.real(c)), c + 0j, xs)
        return xp.abs(c) + ys.sum()

    return f, (np.float64(0.3), X)


@program
def cond_trees(xp, lax):
    def f(x):
        r = lax.cond(
            x[0] > 0,
            lambda x: {"a": x, "b": (x[0], 1)},
            lambda x: {"a": x * x, "b": (x[1], 2)},
            x,
        )
        return r["a"].sum() * r["b"][0] * r["b"][1]

    return f, (X,)


# while: JAX values/jvp only (reverse via unrolled)
def while_newton(xp, lax):
    def f(a):
        return lax.while_loop(
            lambda x: xp.abs(x * x - xp.abs(a)) > 1e-9,
            lambda x: (x + xp.abs(a) / x) / 2,
            xp.abs(a) + 1.0,
        )

    return f, (np.float64(3.7),)


@program
def while_pair(xp, lax):
    def f(x, w):
        return lax.while_loop(
            lambda s: s[1] < 5, lambda s: (xp.sin(s[0] * w), s[1] + 1), (x, 0)
        )[0].sum()

    return f, (X, np.float64(1.2))


@program
def while_zero_trip(xp, lax):
    def f(x):
        return lax.while_loop(lambda s: s.sum() < -100, lambda s: s * 2, x * x).sum()

    return f, (X,)


@program
def fori_dynamic(xp, lax):
    def f(x, n):
        return lax.fori_loop(0, n.astype(np.int32), lambda i, c: c * x + xp.cos(c) * i, x).sum()

    return f, (X, np.float64(3.2))


@program
def while_in_scan(xp, lax):
    def f(x, xs):
        def step(c, x):
            r = lax.while_loop(
                lambda s: s[0] < 1.5,
                lambda s: (s[0] * 1.5 + 0.1, s[1] * xp.cos(x)),
                (xp.abs(x) + 0.1, c),
            )
            return r[1], r[0]

        c, ys = lax.scan(step, x, xs)
        return c + ys.sum()

    return f, (np.float64(0.9), X)


@program
def while_in_while(xp, lax):
    def f(x):
        inner = lambda y: lax.while_loop(lambda s: s < 2.0, lambda s: s * 1.3 + 0.01 * y, y)
        return lax.while_loop(
            lambda s: s[0] < 3, lambda s: (s[0] + 1, xp.sin(inner(s[1])) + 1.1), (0, x)
        )[1]

    return f, (np.float64(0.9),)


@program
def cond_in_while(xp, lax):
    def f(x):
        def body(s):
            n, c = s
            return n + 1, lax.cond(c > 1, lambda c: c / 2, lambda c: c * c + 1.2, c)

        return lax.while_loop(lambda s: s[0] < 4, body, (0, x))[1]

    return f, (np.float64(0.9),)


@program
def assoc_like(xp, lax):
    def f(xs):
        return lax.scan(lambda c, x: (xp.logaddexp(c, x), c), xs[0], xs)[1].sum()

    return f, (X,)


@program
def scan_gather(xp, lax):
    def f(t, c):
        def step(c, i):
            return c + xp.take(t, i) * c, xp.take(t, 2 - i)

        c, ys = lax.scan(step, c, np.arange(3))
        return c * ys.sum()

    return f, (X, np.float64(0.4))


@program
def scan_update(xp, lax):
    def f(x):
        def step(buf, i):
            return buf.at[i].add(xp.sin(buf).sum()), None

        return (lax.scan(step, x, np.arange(3))[0] ** 2).sum()

    return f, (X,)


@program
def scan_cumulative(xp, lax):
    def f(M, x):
        return lax.scan(lambda c, r: (xp.maximum(c, r * x), xp.cumsum(c)), x, M)[1].sum()

    return f, (M, X)


@program
def scan_einsum(xp, lax):
    def f(W, x):
        return lax.scan(
            lambda c, w: (xp.einsum("ij,j->i", w, xp.tanh(c)), c.sum()),
            x,
            xp.stack([W, W.T, W @ W]),
        )[1].sum()

    return f, (M + np.eye(3), X)


@program
def scan_ode(xp, lax):
    def f(p, y0):
        rhs = lambda y: xp.stack([y[1], -p * y[0] - 0.1 * y[1], y[0] * y[2]])

        def step(y, _):
            k1 = rhs(y)
            k2 = rhs(y + 0.05 * k1)
            k3 = rhs(y + 0.05 * k2)
            k4 = rhs(y + 0.1 * k3)
            y = y + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return y, y

        return (lax.scan(step, y0, None, length=8)[1] ** 2).sum()

    return f, (np.float64(1.3), X)


@program
def cond_reuse(xp, lax):
    def f(x, y):
        a = lax.cond(x[0] > y, lambda a, b: a * b, lambda a, b: a + b * b, x, y)
        b = lax.cond(a.sum() > 0, lambda: a * y, lambda: xp.sin(a) * x)
        return (a * b).sum()

    return f, (X, np.float64(0.2))


@program
def switch_index_op(xp, lax):
    def f(x, y):
        return lax.switch(
            (xp.abs(y) * 3).astype(np.int32),
            [
                lambda a: a.sum(),
                lambda a: (a * a).sum(),
                lambda a: (a**3).sum(),
                lambda a: xp.cos(a).sum(),
            ],
            x * y,
        )

    return f, (X, np.float64(0.8))


@program
def map_nested(xp, lax):
    def f(M, w):
        return lax.map(lambda r: lax.map(lambda a: xp.sin(a * w), r).sum(), M).sum()

    return f, (M, np.float64(0.7))


@program
def while_matrix_power(xp, lax):
    def f(A):
        return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] @ A * 0.5), (0, A))[
            1
        ].sum()

    return f, (M + np.eye(3),)


@program
def while_many_carries(xp, lax):
    def f(x, w):
        body = lambda s: {
            "i": s["i"] + 1,
            "a": xp.sin(s["b"]) * w,
            "b": s["a"] + x,
            "flag": ~s["flag"],
        }
        o = lax.while_loop(
            lambda s: s["i"] < 4, body, {"i": 0, "a": x, "b": x * x, "flag": True}
        )
        return (o["a"] * o["b"]).sum()

    return f, (X, np.float64(0.6))


@program
def scan_in_while(xp, lax):
    def f(c, xs):
        body = lambda s: (
            s[0] + 1,
            lax.scan(lambda c, x: (xp.tanh(c * x) + 1.0, c), s[1], xs)[1].sum(),
        )
        return lax.while_loop(lambda s: s[0] < 2, body, (0, c))[1]

    return f, (np.float64(0.4), X)


def ways(system: Any, reverse: Callable[..., Any], n: tuple[int, ...]) -> dict[str, Any]:
    """What is done to a function: transformations of a system, with a gradient of its own."""
    ones = lambda a: tuple(np.full_like(x, 0.3) for x in a)
    return {
        "value": lambda f, a, b: f(*a),
        "jvp": lambda f, a, b: system.jvp(f, a, ones(a)),
        "jacfwd": lambda f, a, b: system.jacfwd(f, n)(*a),
        "vmap": lambda f, a, b: system.vmap(f)(*b),
        "grad": lambda f, a, b: reverse(f, n)(*a),
        "jit of grad": lambda f, a, b: system.jit(reverse(f, n))(*a),
        "vmap of grad": lambda f, a, b: system.vmap(reverse(f, n))(*b),
        "hessian": lambda f, a, b: system.jacfwd(reverse(f, n), n)(*a),
        "vmap of hessian": lambda f, a, b: system.vmap(system.jacfwd(reverse(f, n), n))(*b),
    }


def compared() -> Iterator[tuple[str, bool]]:
    """What was compared, and whether it is the same."""
    for make in PROGRAMS:
        (ours, args), (theirs, _) = make(wnp, our_lax), make(jnp, jax.lax)
        forward = make.__name__ in FORWARD_ONLY
        batch = tuple(np.stack([a, 0.9 * a, 1.1 * a if forward else -a]) for a in args)
        numbers = tuple(range(len(args)))
        our_ways = ways(wengert, wengert.grad, numbers)
        their_ways = ways(jax, jax.jacfwd if forward else jax.grad, numbers)
        for way in our_ways:
            expected = jax.tree.leaves(their_ways[way](theirs, args, batch))
            got = wengert.tree_util.tree_leaves(our_ways[way](ours, args, batch))
            yield f"{way} of {make.__name__}", _same(got, expected)


def _same(got: list[Any], expected: list[Any]) -> bool:
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(got, expected, strict=True)]
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-8, atol=1e-10, equal_nan=True)
        for a, b in pairs
    )


def control_flow() -> tuple[int, list[str]]:
    """How many comparisons were made, and which of them failed."""
    with jax.enable_x64(True):
        results = [*compared()]
    return len(results), [name for name, same in results if not same]
