"""What bodies of loops and branches may hold: transformations, custom rules, random keys."""

from __future__ import annotations

import numpy as np
import pytest
from ways import check, check_batched, same

import wengert as wg
import wengert.numpy as wnp
from wengert import lax, random

X = np.array([0.5, -1.5, 2.0])
ALL = ("value", "jvp", "grad", "jit of grad", "linearize", "forward over reverse",
       "reverse over reverse")  # fmt: skip


@wg.custom_vjp
def product(x, y):
    return x * wnp.sin(y)


product.defvjp(
    lambda x, y: (product(x, y), (x, y)),
    lambda kept, c: (c * wnp.sin(kept[1]), c * kept[0] * wnp.cos(kept[1])),
)


def custom_in_scan(c, xs):
    c, ys = lax.scan(lambda c, x: (product(c, x) + x, product(x, c)), c, xs)
    return c * wnp.sum(ys)


def custom_in_scan_unrolled(c, xs):
    ys = []
    for x in xs:
        ys.append(x * wnp.sin(c))
        c = c * wnp.sin(x) + x
    return c * sum(ys)


def custom_in_while(c, xs):
    body = lambda s: (s[0] + 1, product(s[1], xs[0]) + xs[1])
    return lax.while_loop(lambda s: s[0] < 3, body, (0, c))[1] ** 2


def custom_in_while_unrolled(c, xs):
    for _ in range(3):
        c = c * wnp.sin(xs[0]) + xs[1]
    return c * c


def custom_in_cond(c, xs):
    return lax.cond(wnp.sum(xs) > 0, product, lambda x, y: x * y, c, xs[2])


def custom_in_cond_unrolled(c, xs):
    return c * wnp.sin(xs[2])


def descent(c, xs):
    """A gradient in the body of a loop."""
    step = lambda i, z: z - 0.1 * wg.grad(lambda z: wnp.sum((z - xs) ** 4))(z)
    return wnp.sum(lax.fori_loop(0, wnp.int32(2 + 0 * c), step, c * xs))


def descent_unrolled(c, xs):
    z = c * xs
    for _ in range(2):
        z = z - 0.4 * (z - xs) ** 3
    return wnp.sum(z)


def mapped(c, xs):
    """A batch in the body of a loop, that loops itself."""
    inner = lambda a: lax.while_loop(lambda b: b < 3, lambda b: b * 1.5 + c, a)
    body = lambda s: (s[0] + 1, wnp.sin(wg.vmap(inner)(s[1])) + 1.1)
    return wnp.sum(lax.while_loop(lambda s: s[0] < 2, body, (0, xs * xs))[1])


def mapped_unrolled(c, xs):
    xs = xs * xs
    for _ in range(2):
        row = []
        for a in xs:
            while a < 3:
                a = a * 1.5 + c
            row.append(wnp.sin(a) + 1.1)
        xs = wnp.stack(row)
    return wnp.sum(xs)


def jitted(c, xs):
    step = wg.jit(lambda c, x: (wnp.tanh(c * x), c))
    c, ys = lax.scan(step, c, xs)
    return c + wnp.sum(ys)


def jitted_unrolled(c, xs):
    total = 0.0
    for x in xs:
        total, c = total + c, wnp.tanh(c * x)
    return c + total


PAIRS = [
    (custom_in_scan, custom_in_scan_unrolled),
    (custom_in_while, custom_in_while_unrolled),
    (custom_in_cond, custom_in_cond_unrolled),
    (descent, descent_unrolled),
    (jitted, jitted_unrolled),
]


@pytest.mark.parametrize("way", ALL)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_equals_unrolled(pair, way):
    check(way, *pair, (np.float64(0.7), X))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_batches(pair):
    for way in ("vmap", "vmap of grad", "grad of vmap"):
        check_batched(way, *pair, (np.float64(0.7), X))


def test_loops_in_a_batch_in_a_loop():
    for way in ("value", "jvp", "grad", "linearize", "forward over reverse"):
        check(way, mapped, mapped_unrolled, (np.float64(0.7), X))
    check_batched("vmap of grad", mapped, mapped_unrolled, (np.float64(0.7), X))


def test_random_keys():
    """Keys are carried, scanned over and closed over; draws are those of the unrolled loop."""
    key = random.key(0)

    def scanned(x):
        def step(key, _):
            key, own = random.split(key)
            return key, x * random.normal(own)

        return wnp.sum(lax.scan(step, key, length=3)[1])

    def plain(x):
        left, total = key, 0.0
        for _ in range(3):
            left, own = random.split(left)
            total = total + x * random.normal(own)
        return total

    for way in (lambda f: f, wg.grad, wg.jit, lambda f: wg.jit(wg.grad(f))):
        same(way(scanned)(1.0), way(plain)(1.0), rtol=1e-6)
    keys = random.split(key, 3)
    same(lax.map(random.normal, keys), wg.vmap(random.normal)(keys))
    walk = lambda k: lax.fori_loop(
        0, 2, lambda i, c: c + random.normal(random.fold_in(k, i)), 0.0
    )
    same(wg.vmap(walk)(keys), np.stack([walk(k) for k in keys]), rtol=1e-6)


def test_custom_rules_that_close_over_tracers():
    """A function with a rule, whose loops use a value of the enclosing derivative."""

    def f(w):
        @wg.custom_jvp
        def g(x):
            return lax.fori_loop(0, 3, lambda i, c: c * w + x, x)

        g.defjvp(
            lambda p, t: (g(*p), t[0] * lax.fori_loop(0, 3, lambda i, c: c * w + 1.0, 1.0))
        )
        return g(2.0) * w

    def plain(w):
        c = 2.0
        for _ in range(3):
            c = c * w + 2.0
        return c * w

    for way in (wg.grad, lambda f: wg.jit(wg.grad(f)), wg.hessian):
        same(way(f)(1.5), way(plain)(1.5), rtol=1e-6)
    same(wg.vmap(wg.grad(f))(X), wg.vmap(wg.grad(plain))(X))


def test_checkpoint_names_and_policies_inside():
    policy = wg.checkpoint_policies.save_only_these_names("kept")

    def step(c, x):
        y = wg.ad_checkpoint.checkpoint_name(wnp.sin(c * x), "kept")
        return wnp.cos(y) * c, y

    def f(wrap):
        def g(c, xs):
            c, ys = lax.scan(wrap(step), c, xs)
            return c * wnp.sum(ys)

        return g

    wrapped = f(lambda s: wg.checkpoint(s, policy=policy))
    for way in ("grad", "jit of grad", "forward over reverse"):
        check(way, wrapped, f(lambda s: s), (np.float64(0.7), X))
