"""`scan`: all transformations against the unrolled loop; what its reverse mode keeps."""

from __future__ import annotations

import numpy as np
import pytest
from ways import BATCHED, WAYS, check, check_batched, check_mixed, same

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax

X = np.array([0.5, -1.5, 2.0])
M = np.linspace(-1, 1, 9).reshape(3, 3)


def unrolled_scan(f, init, xs=None, length=None, reverse=False):
    """The same loop in Python."""
    flat = wg.tree_util.tree_leaves(xs)
    count = length if length is not None else flat[0].shape[0]
    carry, ys = init, [None] * count
    for i in reversed(range(count)) if reverse else range(count):
        carry, ys[i] = f(carry, wg.tree_util.tree_map(lambda x: x[i], xs))
    return carry, wg.tree_util.tree_map(lambda *rows: wnp.stack(rows), *ys)


def recurrent(scan):
    def f(w, h, xs):
        def step(h, x):
            h = wnp.tanh(w @ h + x)
            return h, wnp.sum(h * h)

        h, ys = scan(step, h, xs)
        return 2 * wnp.sum(h) + wnp.sum(ys * ys)

    return f


def backwards(scan):
    def f(c, xs):
        c, ys = scan(lambda c, x: (c * x + 1.0, c - x), c, xs, reverse=True)
        return c * wnp.sum(ys**2)

    return f


def tree_carry(scan):
    def f(p, xs):
        def step(c, x):
            return {"a": c["a"] * x["u"], "n": c["n"] + 1}, (c["a"], x["v"] * c["n"])

        c, ys = scan(step, {"a": p, "n": 0}, {"u": xs, "v": xs * 2})
        return c["a"] + c["n"] * wnp.sum(ys[0]) + wnp.sum(ys[1])

    return f


def becomes_active(scan):
    """Tangents reach a carry that starts without, and only after two iterations the last."""

    def f(a, xs):
        def step(c, x):
            u, v, w = c
            return (u * x, v + u, w + v * v), w

        c, ys = scan(step, (a, np.float64(0.5), np.float64(0)), xs)
        return c[2] + wnp.sum(ys) * c[1]

    return f


def invariants(scan):
    def f(w, x):
        return wnp.sum(scan(lambda c, _: (wnp.sin(wnp.exp(w) * c), None), x, length=4)[0])

    return f


def selections(scan):
    def f(c, xs):
        def step(c, x):
            return wnp.where(x > 0, wnp.sqrt(wnp.where(x > 0, c * c + x, 1.0)), c * x), c

        c, ys = scan(step, c, xs)
        return c + wnp.sum(ys)

    return f


def nested(scan):
    def f(x, xs):
        def outer(c, x):
            c2, ys = scan(lambda c, y: (c * wnp.cos(y * x), c * y), c, xs)
            return c2, wnp.sum(ys)

        c, ys = scan(outer, x, xs)
        return c + wnp.sum(ys**2)

    return f


def checkpointed(scan):
    """The body is recomputed on the way back."""

    def f(c, xs):
        step = wg.checkpoint(lambda c, x: (wnp.sin(c * x) + c, c * c))
        c, ys = scan(step, c, xs)
        return c * wnp.sum(ys)

    return f


def custom(scan):
    """The body holds a function with a rule of its own."""

    @wg.custom_jvp
    def g(x, y):
        return x * wnp.sin(y)

    g.defjvp(lambda p, t: (g(*p), t[0] * wnp.sin(p[1]) + p[0] * wnp.cos(p[1]) * t[1]))

    def f(c, xs):
        c, ys = scan(lambda c, x: (g(c, x) + x, g(x, c)), c, xs)
        return c * wnp.sum(ys)

    return f


PROGRAMS = {
    recurrent: (M, X, np.linspace(-1, 1, 6).reshape(2, 3)),
    backwards: (np.float64(0.3), X),
    tree_carry: (np.float64(0.7), X),
    becomes_active: (np.float64(0.7), X),
    invariants: (X, 0.5 * X),
    selections: (np.float64(0.3), X),
    nested: (np.float64(0.9), X),
    checkpointed: (np.float64(0.9), X),
    custom: (np.float64(0.9), X),
}
programs = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


@programs
@pytest.mark.parametrize("way", WAYS)
def test_equals_unrolled(make, way):
    check(way, make(lax.scan), make(unrolled_scan), PROGRAMS[make])


@programs
def test_values_and_tangents_are_the_same_bits(make):
    args = PROGRAMS[make]
    for way in ("value", "jvp"):
        got, expected = (WAYS[way](make(scan), args) for scan in (lax.scan, unrolled_scan))
        same(got, expected, rtol=0, atol=0)


@programs
@pytest.mark.parametrize("way", BATCHED)
def test_batches(make, way):
    check_batched(way, make(lax.scan), make(unrolled_scan), PROGRAMS[make])


@programs
def test_mixed_batches(make):
    check_mixed(make(lax.scan), make(unrolled_scan), PROGRAMS[make])


@programs
@pytest.mark.parametrize("checkpoint", [True, 1, 2, 5])
def test_checkpoints_do_not_change_derivatives(make, checkpoint):
    def scan(*args, **kwargs):
        return lax.scan(*args, **kwargs, checkpoint=checkpoint)

    for way in ("value", "grad", "jit of grad", "jvp of grad", "linearize"):
        check(way, make(scan), make(unrolled_scan), PROGRAMS[make])


@programs
def test_programs_are_valid(make):
    args = PROGRAMS[make]
    for f in (make(lax.scan), wg.grad(make(lax.scan)), wg.hessian(make(lax.scan))):
        program = wg.make_program(f)(*args)
        program.check()
        assert [e for e in program.equations if e.primitive.name == "scan"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 9])
def test_lengths(length, reverse):
    xs = np.linspace(0.2, 1.1, length)

    def f(scan, **kwargs):
        def g(c, xs):
            c, ys = scan(lambda c, x: (c * x + 1, c - x), c, xs, reverse=reverse, **kwargs)
            return c + wnp.sum(ys * wnp.arange(length))

        return g

    expected = wg.value_and_grad(f(unrolled_scan), (0, 1))(0.7, xs) if length else None
    for kwargs in ({}, {"checkpoint": True}, {"checkpoint": 2}, {"unroll": 3}):
        for wrap in (lambda g: g, wg.jit):
            got = wrap(wg.value_and_grad(f(lax.scan, **kwargs), (0, 1)))(0.7, xs)
            if length:
                same(got, expected, rtol=1e-5)
            else:
                same(got, (np.float32(0.7), (np.float32(1), np.zeros(0))))


# -- what is kept ------------------------------------------------------------------------------


def scans(program):
    return [e for e in program.equations if e.primitive.name == "scan"]


def stacked_bytes(program):
    """Bytes of what the scans of a program stack."""
    return sum(
        v.type.size * v.type.dtype.itemsize
        for e in scans(program)
        for v in e.outputs[e.params["carry"] :]
    )


def test_invariant_residuals_are_not_stacked():
    def f(w, x):
        return wnp.sum(lax.scan(lambda c, _: (wnp.exp(w) * c, None), x, length=100)[0])

    forward, backward = scans(wg.make_program(wg.grad(f, 1))(X, X))[-2:]
    assert len(forward.outputs) == 1  # the carry alone: exp(w) is found once
    assert len(backward.inputs) == 2


def test_slices_that_are_residuals_are_not_copied():
    def f(c, xs):
        return lax.scan(lambda c, x: (c * x, None), c, xs)[0]

    forward, backward = scans(wg.make_program(wg.grad(f))(1.0, X))[-2:]
    assert len(forward.outputs) == 1
    assert backward.params["reverse"]
    assert len(backward.inputs) == 2


def test_carries_without_tangent_stay_as_they_are():
    def f(c, xs):
        return lax.scan(lambda s, x: ((s[0] * x, s[1] + x), None), (c, X), xs)[0][0]

    program = wg.make_program(lambda c: wg.jvp(lambda c: f(c, X), (c,), (1.0,)))(1.0)
    (jvp,) = scans(program)
    assert jvp.params["carry"] == 3


def test_checkpoints_save_memory():
    def f(checkpoint):
        def g(c):
            step = lambda c, _: (wnp.sin(wnp.sin(wnp.sin(c))), None)
            return wnp.sum(lax.scan(step, c, length=100, checkpoint=checkpoint)[0])

        return wg.make_program(wg.grad(g))(np.ones(50))

    plain, segments, few = (stacked_bytes(f(c)) for c in (None, True, 4))
    assert plain == 3 * 100 * 50 * 8
    assert segments == 10 * 50 * 8
    assert few == 4 * 50 * 8


# -- under derivative rules --------------------------------------------------------------------


def test_applied_to_tangents():
    """Derivative rules may scan over tangents: alone, or together with what they depend on."""

    @wg.custom_jvp
    def power(x):
        return x**4

    def rule(primals, tangents):
        (x,), (t,) = primals, tangents

        def step(c, _):
            y, dy = c
            return (y * x, dy * x + y * t), dy

        (_, dy), _ = lax.scan(step, (wnp.ones_like(x), wnp.zeros_like(x) * t), length=4)
        return power(x), dy

    power.defjvp(rule)
    for way in ("jvp", "grad", "linearize", "jit of grad", "forward over reverse"):
        check(way, power, lambda x: x**4, (np.float64(1.3),))
    check_batched("vmap of grad", power, lambda x: x**4, (np.float64(1.3),))


def test_linear_transpose():
    def f(x):
        return lax.scan(lambda c, x: (2 * c + x, 3 * c), np.float64(0), x)

    out = (np.float64(0.5), X)
    (got,) = wg.linear_transpose(f, X)(out)
    matrix = wg.jacfwd(f)(X)
    same(got, out[0] * np.asarray(matrix[0]) + X @ np.asarray(matrix[1]))


def test_a_rule_that_is_not_linear_is_found():
    @wg.custom_jvp
    def f(x):
        return x

    f.defjvp(lambda p, t: (f(*p), lax.scan(lambda c, _: (c * c, None), t[0], length=2)[0]))
    with pytest.raises(errors.NonlinearRuleError):
        wg.grad(f)(1.0)


def test_collectives():
    def f(x):
        return lax.scan(lambda c, _: (c * lax.psum(c, "i"), None), x, length=2)[0]

    def plain(x):
        for _ in range(2):
            x = x * wnp.sum(x)
        return x

    same(wg.vmap(f, axis_name="i")(X), plain(X))
    got = wg.grad(lambda x: wnp.sum(wg.vmap(f, axis_name="i")(x) ** 2))(X)
    same(got, wg.grad(lambda x: wnp.sum(plain(x) ** 2))(X))
