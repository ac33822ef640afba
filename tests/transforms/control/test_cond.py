"""`cond` and `switch`: all transformations, and batches with a choice per example."""

from __future__ import annotations

import numpy as np
import pytest
from ways import BATCHED, WAYS, batch, check, check_batched, check_mixed, same

import wengert as wg
import wengert.numpy as wnp
from wengert import lax

X = np.array([0.5, -1.5, 2.0])


def python_cond(pred, true_fun, false_fun, *operands):
    return true_fun(*operands) if pred else false_fun(*operands)


def python_switch(index, branches, *operands):
    return branches[int(np.clip(index, 0, len(branches) - 1))](*operands)


def operands(cond, switch):
    def f(x, y):
        taken = cond(y > 0, lambda x, y: wnp.sin(x) * y, lambda x, y: x**3 / y, x, y)
        return wnp.sum(taken)

    return f


def closures(cond, switch):
    def f(x, w):
        return cond(wnp.sum(x) > 0, lambda: wnp.sum(x * w), lambda: wnp.sum(x) / w)

    return f


def three(cond, switch):
    def f(x):
        branches = [
            lambda x: wnp.sum(wnp.sin(x)),
            lambda x: wnp.sum(wnp.exp(x)) * x[0],
            lambda x: wnp.sum(x * x),
        ]
        return switch((x[0] > 0.5) + wnp.int32(x[1] > -1.5), branches, x)

    return f


def trees(cond, switch):
    def f(x):
        out = cond(
            x[0] > 0.5,
            lambda p: {"a": p["x"], "b": (p["x"][0], 1)},
            lambda p: {"a": p["x"] ** 2, "b": (p["x"][1], 2)},
            {"x": x},
        )
        return wnp.sum(out["a"]) * out["b"][0] * out["b"][1]

    return f


def one_side_constant(cond, switch):
    def f(x):
        y = cond(x[0] > 0.5, lambda x: wnp.sum(x * x), lambda x: np.float64(3.0), x)
        return y * wnp.sum(x)

    return f


def nested(cond, switch):
    def f(x):
        def inner(y):
            return cond(x[1] < -1.5, lambda: y * wnp.sin(x[2]), lambda: y / x[2])

        return cond(x[0] > 0.5, lambda: inner(x[0]), lambda: inner(x[1]) ** 2)

    return f


PROGRAMS = {
    operands: (X, np.float64(0.7)),
    closures: (X, np.float64(-0.4)),
    three: (X,),
    trees: (X,),
    one_side_constant: (X,),
    nested: (X,),
}
programs = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


@programs
@pytest.mark.parametrize("way", WAYS)
def test_equals_python(make, way):
    concrete = way in ("value", "jvp", "grad", "linearize", "forward over reverse")
    unrolled = make(python_cond, python_switch) if concrete else _eager(make)
    check(way, make(lax.cond, lax.switch), unrolled, PROGRAMS[make])


def _eager(make):
    """The branch that is taken at the program's arguments, without any choice."""
    args = PROGRAMS[make]
    chosen = []

    def cond(pred, true_fun, false_fun, *operands):
        chosen.append(bool(pred))
        return python_cond(chosen[-1], true_fun, false_fun, *operands)

    def switch(index, branches, *operands):
        chosen.append(int(index))
        return python_switch(chosen[-1], branches, *operands)

    make(cond, switch)(*args)

    def run(*args):
        choices = iter(chosen)
        replay = lambda _, t, f, *operands: python_cond(next(choices), t, f, *operands)
        pick = lambda _, b, *operands: python_switch(next(choices), b, *operands)
        return make(replay, pick)(*args)

    return run


@programs
@pytest.mark.parametrize("way", BATCHED)
def test_batches(make, way):
    args = PROGRAMS[make]
    check_batched(way, make(lax.cond, lax.switch), make(python_cond, python_switch), args)


@programs
def test_mixed_batches(make):
    check_mixed(make(lax.cond, lax.switch), make(python_cond, python_switch), PROGRAMS[make])


@programs
def test_programs_are_valid(make):
    f = make(lax.cond, lax.switch)
    for way in (f, wg.grad(f), wg.hessian(f)):
        program = wg.make_program(way)(*PROGRAMS[make])
        program.check()
        assert [e for e in program.equations if e.primitive.name == "cond"]
    wg.make_program(wg.vmap(wg.grad(f)))(*batch(PROGRAMS[make])).check()


def test_only_the_branch_that_is_taken_runs():
    """In programs too: the other branch would not end, or would fail."""

    def endless(x):
        return lax.while_loop(lambda y: wnp.isfinite(y), lambda y: y, x)

    def fails(x):
        return x + wnp.arange(3.0)[wnp.int32(x) + 100]

    for other in (endless, fails):
        f = lambda x: lax.cond(x > 0, lambda x: x * x, other, x)
        for wrap in (lambda g: g, wg.jit):
            same(wrap(f)(3.0), np.float32(9), 1e-6)
            same(wrap(wg.grad(f))(3.0), np.float32(6), 1e-6)


# -- one choice per example --------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda g: g, wg.jit], ids=["eager", "jit"])
class TestPerExample:
    def test_no_endless_loop(self, wrap):
        """Halving ends for positive numbers alone."""
        halve = lambda x: lax.while_loop(lambda y: wnp.abs(y - 1) > 2, lambda y: y / 2 + 0.1, x)
        endless = lambda x: lax.while_loop(lambda y: y < 0, lambda y: y * 1.5, x)
        f = lambda x: lax.cond(x >= 0, lambda x: endless(x) * 2, halve, x)
        x = np.array([3.0, -5.0, 0.5, -40.0])
        with_python = [float(f(v)) for v in x]
        same(wrap(wg.vmap(f))(x), np.array(with_python))
        same(wrap(wg.vmap(wg.grad(f)))(x), np.array([float(wg.grad(f)(v)) for v in x]))

    def test_no_nan(self, wrap):
        f = lambda x: lax.cond(x > 0, wnp.log, lambda x: wnp.sqrt(-x), x)
        x = np.array([2.0, -4.0, 0.25, -9.0])
        with wg.config.debug_nans(wrap is not wg.jit):
            same(wrap(wg.vmap(f))(x), np.array([np.log(2), 2, np.log(0.25), 3]))
            expected = np.array([0.5, -0.25, 4, -1 / 6])
            same(wrap(wg.vmap(wg.grad(f)))(x), expected)
            same(wrap(wg.grad(lambda x: wg.vmap(f)(x).sum()))(x), expected)
            same(wrap(lambda x: wg.jvp(wg.vmap(f), (x,), (0 * x + 1,)))(x)[1], expected)
            second = np.array([-0.25, -1 / 32, -16, -1 / 108])
            same(wrap(wg.vmap(wg.grad(wg.grad(f))))(x), second)

    def test_no_nan_where_masks_do_not_reach(self, wrap):
        """A matrix that is singular for examples of the other branch."""

        def f(a):
            solve = lambda a: wnp.sum(wnp.linalg.solve(a, np.ones(2)))
            return lax.cond(wnp.sum(a) > 0, solve, lambda a: wnp.sum(a * a), a)

        a = np.stack([np.eye(2), np.zeros((2, 2)), 2 * np.eye(2)])
        got = wrap(wg.vmap(wg.grad(f)))(a)
        same(got, np.stack([wg.grad(f)(x) for x in a]))
        assert np.isfinite(np.asarray(got)).all()

    def test_no_error(self, wrap):
        table = wnp.array([1.0, 2.0, 4.0])
        f = lambda i: lax.cond(i < 3, lambda i: table[i], lambda i: wnp.float32(-1), i)
        same(wrap(wg.vmap(f))(np.array([2, 7, 0, 100])), np.float32([4, -1, 1, -1]))

    def test_unbatched_operands(self, wrap):
        f = lambda p, x: lax.cond(p, wnp.sin, wnp.cos, x)
        p = np.array([True, False, True])
        same(wrap(wg.vmap(f, (0, None)))(p, 0.5), np.where(p, np.sin(0.5), np.cos(0.5)), 1e-6)
        got = wrap(wg.grad(lambda x: wg.vmap(f, (0, None))(p, x).sum()))(0.5)
        same(got, np.float32(2 * np.cos(0.5) - np.sin(0.5)), 1e-6)

    def test_all_or_none_take_a_branch(self, wrap):
        f = lambda x: lax.switch(wnp.int32(x), [wnp.sin, wnp.cos, wnp.exp], x)
        for x in (np.zeros(3), np.full(2, 2.0), np.array([1.0]), np.zeros(0)):
            same(wrap(wg.vmap(f))(x), np.array([float(f(v)) for v in x]))

    def test_nested_vmap(self, wrap):
        f = lambda p, x: lax.cond(p, lambda x: x * x, wnp.sqrt, x)
        p = np.array([[True, False], [False, False], [True, True]])
        x = np.arange(1.0, 7.0).reshape(3, 2)
        expected = np.where(p, x * x, np.sqrt(x))
        same(wrap(wg.vmap(wg.vmap(f)))(p, x), expected)
        same(wrap(wg.vmap(wg.vmap(f, (0, None)), (0, 0)))(p, x[:, 0]),
             np.where(p, (x * x)[:, :1], np.sqrt(x)[:, :1]))  # fmt: skip
        got = wrap(wg.grad(lambda x: wg.vmap(wg.vmap(f))(p, x).sum()))(x)
        same(got, np.where(p, 2 * x, 0.5 / np.sqrt(x)))

    def test_a_branch_runs_once_for_all_its_examples(self, wrap):
        program = wg.make_program(
            wg.vmap(lambda x: lax.cond(x > 0, wnp.sin, lambda x: x * x, x))
        )(X)
        conds = [e for e in program.equations if e.primitive.name == "cond"]
        assert len(conds) == 2
        for equation in conds:
            idle, _ = equation.params["branches"]
            assert not {e.primitive.name for e in idle.equations} & {"sin", "mul"}


def test_applied_to_tangents():
    @wg.custom_jvp
    def f(x, flag):
        return wnp.where(flag, x * x, x)

    def rule(primals, tangents):
        (x, flag), (t, _) = primals, tangents
        return f(x, flag), lax.cond(flag, lambda t: 2 * x * t, lambda t: t, t)

    f.defjvp(rule)
    for flag in (True, False):
        for wrap in (lambda g: g, wg.jit):
            got = wrap(wg.grad(f))(np.float64(3), np.bool_(flag))
            same(got, np.float64(6 if flag else 1))
    same(wg.vmap(wg.grad(f))(X, X > 0), np.where(X > 0, 2 * X, 1.0))
