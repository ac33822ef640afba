"""`while_loop` and `fori_loop`: all transformations against Python's own loops."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from ways import BATCHED, WAYS, batch, check, check_batched, check_mixed, same

import wengert as wg
import wengert.numpy as wnp
from wengert import lax

X = np.array([0.5, -1.5, 2.0])


def python_while(cond, body, init, **_):
    while cond(init):
        init = body(init)
    return init


def python_fori(lower, upper, body, init, **_):
    for i in range(int(lower), int(upper)):
        init = body(i, init)
    return init


def newton(while_loop, fori_loop):
    """A condition on what derivatives are taken of; a closure."""

    def f(a):
        step = lambda x: (x + a / x) / 2
        return while_loop(lambda x: wnp.abs(x * x - a) > 1e-12, step, a + 1.0)

    return f


def counted(while_loop, fori_loop):
    def f(x, w):
        body = lambda s: (wnp.sin(s[0] * w), s[1] + 1)
        return wnp.sum(while_loop(lambda s: s[1] < 4, body, (x, 0))[0])

    return f


def dynamic_fori(while_loop, fori_loop):
    def f(x):
        body = lambda i, c: {"y": c["y"] * x + wnp.cos(c["y"]) * i, "n": c["n"] + 1}
        out = fori_loop(0, wnp.int32(x[2] + 1.9), body, {"y": x, "n": 0})
        return wnp.sum(out["y"]) * out["n"]

    return f


def no_iteration(while_loop, fori_loop):
    def f(x):
        return wnp.sum(while_loop(lambda s: wnp.sum(s) < -100, lambda s: s * 2, x * x))

    return f


def becomes_active(while_loop, fori_loop):
    """Tangents reach one carry after the other."""

    def f(a):
        body = lambda s: (s[0] * 1.1, s[1] + s[0], s[2] + s[1] * s[1], s[3] + 1)
        init = (a, np.float64(0.5), np.float64(0), 0)
        return while_loop(lambda s: s[3] < 4, body, init)[2]

    return f


def nested(while_loop, fori_loop):
    def f(x):
        inner = lambda y: while_loop(lambda s: s < 2, lambda s: s * 1.3 + 0.01 * y, y)
        body = lambda s: (s[0] + 1, wnp.sin(inner(s[1])) + 1.1 * x)
        return while_loop(lambda s: s[0] < 3, body, (0, x))[1]

    return f


def selections(while_loop, fori_loop):
    def f(x):
        body = lambda s: (s[0] + 1, wnp.where(s[1] > 1, wnp.sqrt(s[1]), s[1] * s[1] + 0.8))
        return while_loop(lambda s: s[0] < 4, body, (0, x))[1]

    return f


def linear_algebra(while_loop, fori_loop):
    def f(a):
        m = a[:, None] * a + 3 * np.eye(3)

        def body(s):
            return s[0] + 1, wnp.linalg.solve(m, s[1]) * wnp.sum(s[1])

        return wnp.sum(while_loop(lambda s: s[0] < 2, body, (0, a))[1])

    return f


PROGRAMS = {
    newton: (np.float64(3.7),),
    counted: (X, np.float64(1.2)),
    dynamic_fori: (X,),
    no_iteration: (X,),
    becomes_active: (np.float64(0.7),),
    nested: (np.float64(0.9),),
    selections: (np.float64(0.9),),
    linear_algebra: (X,),
}
programs = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


def loops(**kwargs):
    """`while_loop` and `fori_loop` with keywords, as arguments of a program."""
    return (
        lambda cond, body, init: lax.while_loop(cond, body, init, **kwargs),
        lambda lower, upper, body, init: lax.fori_loop(lower, upper, body, init, **kwargs),
    )


def unrolled(make):
    """The program with as many iterations as it takes at its arguments, and no conditions."""
    counts = []

    def count_while(cond, body, init):
        counts.append(0)
        place = len(counts) - 1
        while cond(init):
            counts[place] += 1
            init = body(init)
        return init

    def count_fori(lower, upper, body, init):
        counts.append(int(upper) - int(lower))
        return python_fori(lower, upper, body, init)

    make(count_while, count_fori)(*PROGRAMS[make])

    def run(*args):
        given = iter(counts)

        def again(_, body, init):
            for _ in range(next(given)):
                init = body(init)
            return init

        def again_fori(lower, upper, body, init):
            return python_fori(0, next(given), body, init)

        return make(again, again_fori)(*args)

    return run


@programs
@pytest.mark.parametrize("way", WAYS)
def test_equals_unrolled(make, way):
    check(way, make(*loops()), unrolled(make), PROGRAMS[make])


@programs
@pytest.mark.parametrize("way", BATCHED)
def test_batches(make, way):
    """Each example takes as many iterations as it needs."""
    check_batched(way, make(*loops()), make(python_while, python_fori), PROGRAMS[make])


@programs
def test_mixed_batches(make):
    check_mixed(make(*loops()), make(python_while, python_fori), PROGRAMS[make])


@programs
@pytest.mark.parametrize("checkpoint", [1, 2, 5, True])
def test_checkpoints_do_not_change_derivatives(make, checkpoint):
    f = make(*loops(checkpoint=checkpoint))
    ways = ("value", "grad", "jit of grad", "forward over reverse", "reverse over reverse")
    for way in ways:
        check(way, f, unrolled(make), PROGRAMS[make])
    python = make(python_while, python_fori)
    check_batched("jit of vmap of grad", f, python, PROGRAMS[make])


@programs
def test_programs_are_valid(make):
    f = make(*loops())
    for way in (f, wg.grad(f), wg.hessian(f), wg.jacrev(wg.grad(f))):
        program = wg.make_program(way)(*PROGRAMS[make])
        program.check()
    wg.make_program(wg.vmap(wg.grad(f)))(*batch(PROGRAMS[make])).check()


def test_the_trip_count_is_found_at_run_time():
    """One program serves every number of iterations."""
    power = lambda x, n: lax.fori_loop(0, n, lambda i, y: y * x, 1.0)
    gradient = wg.jit(wg.grad(power))
    for n in (0, 1, 2, 7, 30):
        same(gradient(1.1, n), np.float32(n * 1.1 ** (n - 1)), 1e-5)
    assert gradient.cache_info().misses == 1


def test_a_vjp_function_is_used_again():
    f = lambda x: lax.while_loop(lambda s: s < 100, lambda s: s * s, x)
    for checkpoint in (None, 1, 2):
        f = lambda x: lax.while_loop(
            lambda s: s < 1e6, lambda s: s * s, x, checkpoint=checkpoint
        )
        _, pull = wg.vjp(f, np.float64(1.5))
        for cotangent in (1.0, 2.0, 1.0):
            same(pull(np.float64(cotangent))[0], cotangent * wg.jvp(f, (np.float64(1.5),),
                 (np.float64(1),))[1])  # fmt: skip
        same(wg.vmap(lambda c: pull(c)[0])(X), X * float(pull(np.float64(1))[0]))


# -- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda g: g, wg.jit], ids=["eager", "jit"])
class TestPerExample:
    def test_finished_examples_do_nothing(self, wrap):
        """Another iteration would divide by zero, or leave the table."""

        def f(n):
            body = lambda s: (s[0] - 1, s[1] / s[0])
            return lax.while_loop(lambda s: s[0] > 0, body, (n, np.float64(1)))[1]

        n = np.array([3.0, 0.0, 1.0, 5.0])
        with wg.config.debug_nans(wrap is not wg.jit):
            same(wrap(wg.vmap(f))(n), np.array([1 / 6, 1, 1, 1 / 120]))
            got = wrap(wg.vmap(wg.grad(f)))(n)
        same(got, np.array([float(wg.grad(f)(v)) for v in n]))

    def test_finished_examples_cause_no_error(self, wrap):
        table = wnp.array([2.0, 3.0, 5.0])

        def f(i):
            body = lambda s: (s[0] + 1, s[1] * table[s[0]])
            return lax.while_loop(lambda s: s[0] < 3, body, (i, wnp.float32(1)))[1]

        same(wrap(wg.vmap(f))(np.array([0, 2, 3, 50])), np.float32([30, 5, 1, 1]))

    def test_no_nan_where_masks_do_not_reach(self, wrap):
        """At the carry with which an example ends, the matrix is singular."""

        def f(a):
            body = lambda s: (s[0] - 1, s[1] + wnp.sum(wnp.linalg.inv(s[0] * a)))
            n = wnp.sum(a) * 0 + wnp.round(a[0, 0])
            return lax.while_loop(lambda s: s[0] > 0, body, (n, np.float64(0)))[1]

        a = np.stack([np.eye(2), 3 * np.eye(2), 2 * np.eye(2)])
        got = np.asarray(wrap(wg.vmap(wg.grad(f)))(a))
        same(got, np.stack([wg.grad(f)(x) for x in a]))
        assert np.isfinite(got).all()

    def test_sizes(self, wrap):
        f = lambda x: lax.while_loop(lambda s: s < 100, lambda s: s * s, x)
        for x in (np.zeros(0), np.array([3.0]), np.array([2.0, 1000.0])):
            same(wrap(wg.vmap(f))(x), np.array([float(f(v)) for v in x]))
            same(wrap(wg.vmap(wg.grad(f)))(x), np.array([float(wg.grad(f)(v)) for v in x]))

    def test_nested_vmap(self, wrap):
        f = lambda x, w: lax.while_loop(lambda s: s < w, lambda s: s * x + 1, x)
        x, w = np.linspace(1.1, 2, 3), np.array([3.0, 40.0])
        both = lambda f: wg.vmap(wg.vmap(f, (None, 0)), (0, None))
        expected = np.array([[float(f(a, b)) for b in w] for a in x])
        same(wrap(both(f))(x, w), expected)
        expected = np.array([[float(wg.grad(f)(a, b)) for b in w] for a in x])
        same(wrap(both(wg.grad(f)))(x, w), expected)


# -- memory ------------------------------------------------------------------------------------


def peak(run):
    run()
    tracemalloc.start()
    run()
    out = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return out


def test_checkpoints_save_memory():
    size, steps = 10_000, 200
    x = np.full(size, 0.5)

    def gradient(**kwargs):
        body = lambda s: (s[0] + 1, wnp.sin(s[1]))
        f = lambda x: wnp.sum(lax.while_loop(lambda s: s[0] < steps, body, (0, x), **kwargs)[1])
        return wg.grad(f)

    tape, kept, log, budget = (
        peak(lambda: gradient(**kwargs)(x)) / x.nbytes
        for kwargs in (
            {},
            {"checkpoint": 5},
            {"checkpoint": True},
            {"checkpoint_bytes": 5 * (x.nbytes + 4)},
        )
    )
    assert tape > steps
    assert kept < 14
    assert log < 8 + 9
    assert budget < 14


def test_records_are_residuals_that_change():
    def f(w, x):
        body = lambda s: (s[0] + 1, wnp.exp(w) * s[1])
        return wnp.sum(lax.while_loop(lambda s: s[0] < 5, body, (0, x))[1])

    def sweeps(*numbers):
        program = wg.make_program(wg.grad(f, numbers))(X, X)
        (equation,) = [e for e in program.equations if e.primitive.name == "sweeps"]
        forward, _ = equation.params["phases"]
        return len(forward.outputs) - equation.params["states"][0]

    assert sweeps(1) == 0  # the map is the same in all iterations
    assert sweeps(0, 1) == 1


# -- derivative rules --------------------------------------------------------------------------


def test_applied_to_tangents():
    """A rule may loop over tangents, for a number of times found at run time."""

    @wg.custom_jvp
    def power(x, n):
        return x**n

    def rule(primals, tangents):
        (x, n), (t, _) = primals, tangents
        body = lambda i, s: (s[0] * x, s[1] * x + s[0] * t)
        dy = lax.fori_loop(0, n, body, (wnp.ones_like(x), wnp.zeros_like(x)))[1]
        return power(x, n), dy

    power.defjvp(rule)
    for n in (0, 1, 4):
        expected = np.float64(n * 1.3 ** (n - 1)) if n else np.float64(0)
        for wrap in (lambda g: g, wg.jit):
            same(wrap(wg.grad(power))(np.float64(1.3), n), expected)
            second = wrap(wg.grad(wg.grad(power)))(np.float64(1.3), n)
            same(second, np.float64(n * (n - 1) * 1.3 ** (n - 2) if n > 1 else 0))
            _, f_jvp = wg.linearize(lambda x: power(x, n), np.float64(1.3))
            same(wrap(f_jvp)(np.float64(2)), 2 * expected)
