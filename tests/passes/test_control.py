"""Passes over conditionals and loops."""

from __future__ import annotations

import numpy as np
import pytest
from passes.checks import all_names, array, check_all, names, traced

import wengert as wg
import wengert.numpy as wnp
from wengert import lax
from wengert.core.program import Literal
from wengert.passes.dce import eliminate
from wengert.passes.forward import forward
from wengert.passes.hoist import hoist
from wengert.passes.pipeline import optimise

X = np.linspace(-1, 1, 4, dtype=np.float32)
XS = np.arange(12, dtype=np.float32).reshape(3, 4)
M = np.arange(16, dtype=np.float32).reshape(4, 4) / 16


def only(program, name):
    """The one equation of a primitive."""
    [equation] = [e for e in program.equations if e.primitive.name == name]
    return equation


def body(program, name="scan"):
    return only(program, name).params["body"]


# -- scan ------------------------------------------------------------------------------------


def test_results_nobody_reads_are_not_stacked():
    program = check_all(
        lambda xs: lax.scan(lambda c, x: (c + x, (x * 2, wnp.sin(x))), X, xs)[1][0], XS
    )
    scan = only(program, "scan")
    assert scan.params["carry"] == 0
    assert names(scan.params["body"]) == ["mul"]


def test_a_carry_that_only_feeds_itself_is_dead():
    def step(c, x):
        used, count, other = c
        return (used * x, count + 1, other + count), None

    program = check_all(
        lambda xs: lax.scan(step, (X, wnp.zeros(()), wnp.ones(())), xs)[0][0], XS
    )
    assert only(program, "scan").params["carry"] == 1


def test_a_carry_that_another_needs_stays():
    def step(c, x):
        used, count = c
        return (used * x + count, count + 1), None

    program = check_all(lambda xs: lax.scan(step, (X, wnp.zeros(())), xs)[0][0], XS)
    assert only(program, "scan").params["carry"] == 2


def test_unread_operands_go():
    program = check_all(
        lambda xs, ys, m: lax.scan(lambda c, s: (c + s[0] + 0 * m[0, 0], None), X, (xs, ys))[0],
        XS, XS, M,
    )  # fmt: skip
    assert len(only(program, "scan").inputs) == 3


def test_a_carry_that_never_changes_is_a_constant():
    program = check_all(
        lambda xs, m: lax.scan(lambda c, x: ((m_dot(c, x), c[1]), None), (X, m), xs)[0], XS, M
    )
    scan = only(program, "scan")
    assert scan.params["carry"] == 1
    assert program.outputs[1] is program.inputs[1]


def m_dot(c, x):
    return c[1] @ c[0] + x


def test_equal_carries_and_equal_stacks_are_one():
    def step(c, x):
        new = wnp.sin(c[0]) * x
        return (new, new), (new + 1, new + 1)

    program = check_all(lambda xs: lax.scan(step, (wnp.ones(4), wnp.ones(4)), xs), XS)
    scan = only(program, "scan")
    assert len(scan.outputs) == 2
    assert program.outputs[0] is program.outputs[1]
    assert program.outputs[2] is program.outputs[3]


def test_stacked_slices_are_the_operand():
    program = check_all(lambda xs: lax.scan(lambda c, x: (c * x, x), X, xs)[1], XS)
    assert program.equations == ()
    assert program.outputs == program.inputs


def test_stacked_constants_are_broadcast():
    program = check_all(lambda xs, m: lax.scan(lambda c, x: (c * x, (m, 2.0)), X, xs)[1], XS, M)
    assert names(program) == ["broadcast_in_dim", "full"]


@pytest.mark.parametrize("reverse", [False, True])
def test_residuals_that_are_slices_are_not_stacked_again(reverse):
    def loss(m, xs):
        out = lax.scan(lambda c, x: (wnp.tanh(m @ c) * x, None), X, xs, reverse=reverse)[0]
        return wnp.sum(out)

    program = check_all(wg.grad(loss, (0, 1)), M, XS)
    forwards = next(e for e in program.equations if e.primitive.name == "scan")
    assert all(v.type.shape != (3, 4, 4) for v in forwards.outputs)


def test_literals_are_written_into_the_body():
    program = check_all(
        lambda xs: lax.scan(lambda c, x: (c * wnp.full((), 3.0) + x, None), X, xs)[0], XS
    )
    assert only(program, "scan").params["consts"] == 0


def test_one_operand_given_twice_is_given_once():
    program = check_all(
        lambda xs: lax.scan(lambda c, s: (c + s[0] * s[1], None), X, (xs, xs))[0], XS
    )
    assert len(only(program, "scan").inputs) == 2


def test_invariants_are_computed_before_the_loop():
    def f(xs, m):
        return lax.scan(lambda c, x: (c @ wnp.sin(m @ m).T + x, None), X, xs)[0]

    program = check_all(f, XS, M)
    assert names(program)[:2] == ["dot_general", "sin"]
    assert "sin" not in all_names(body(program))


def test_what_grows_is_computed_in_the_loop():
    def f(xs, x):
        return lax.scan(
            lambda c, y: (c + wnp.sum((x[:, None] - x) * y[:, None]), None), 0.0, xs
        )[0]

    assert "sub" in names(body(check_all(f, XS, X)))


def test_a_small_result_of_large_ones_is_computed_before():
    def f(xs, x):
        pairs = lambda: wnp.sum(wnp.sin(x[:, None] - x), 1)
        return lax.scan(lambda c, y: (c + y * pairs(), None), X, xs)[0]

    assert "sin" not in names(body(check_all(f, XS, X)))


def test_nothing_leaves_a_scan_that_never_runs():
    def f(xs, m):
        return lax.scan(lambda c, x: (c + wnp.sin(m)[0] * x, None), X, xs)[0]

    program = traced(f, XS[:0], M)
    assert hoist(program) is program
    check_all(f, XS[:0], M)


# -- while -----------------------------------------------------------------------------------


def test_while_loses_dead_carries_and_gains_constants():
    def f(x, m):
        return lax.while_loop(
            lambda c: c[1] < 5,
            lambda c: (c[0] * 2 + c[3][0], c[1] + 1, c[2] + 1, c[3]),
            (x, 0, 0, m),
        )[0]

    loop = only(check_all(f, X, M), "while")
    assert len(loop.outputs) == 2


def test_a_carry_that_only_the_condition_reads_stays():
    loop = only(
        check_all(
            lambda x: lax.while_loop(
                lambda c: c[1] < 5, lambda c: (c[0] * 2, c[1] + 1), (x, 0)
            )[0],
            X,
        ),
        "while",
    )
    assert len(loop.outputs) == 2


def test_cheap_invariants_leave_a_while_and_its_condition():
    def f(x, m):
        return lax.while_loop(
            lambda c: wnp.sum(c) < wnp.sqrt(m[0, 1]), lambda c: c + wnp.sin(m[0]) + 1, x
        )

    program = check_all(f, X, M)
    loop = only(program, "while")
    assert {"sin", "sqrt"} <= set(names(program))
    assert "sin" not in all_names(loop.params["body"])
    assert "sqrt" not in all_names(loop.params["cond"])


def test_errors_do_not_leave_a_body_that_may_never_run():
    def f(x, table, index):
        return lax.while_loop(lambda c: wnp.sum(c) < 0, lambda c: c + table[index], x)

    program = traced(f, wnp.ones(()), X, wnp.array(7))
    assert "dynamic_slice" not in names(optimise(program))
    assert "gather" not in names(optimise(program))


def test_products_of_matrices_stay_in_a_while():
    def f(x, m):
        return lax.while_loop(lambda c: wnp.sum(c) < 0, lambda c: c + (m @ m)[0], x)

    assert "dot_general" not in names(optimise(traced(f, X, M)))


def test_reverse_mode_through_while():
    def f(a):
        return lax.while_loop(
            lambda s: wnp.abs(s * s - a) > 1e-6 * a, lambda s: 0.5 * (s + a / s), a
        )

    program = optimise(traced(wg.jit(wg.grad(f)), 2.0))
    program.check()
    value = program.evaluate(array(2.0))[0]
    assert float(value) == float(wg.grad(f)(2.0))
    loop = only(program, "sweeps")
    assert "mul" in names(program)
    assert names(loop.params["cond"]).count("mul") == 1


def test_phases_lose_what_nobody_reads():
    def f(a, b):
        return lax.while_loop(
            lambda s: s[0] < 50.0, lambda s: (s[0] * a, s[1] + wnp.sin(s[0]) * b), (1.0, b)
        )[0]

    program = optimise(traced(wg.jit(wg.grad(f)), 2.0, 3.0))
    program.check()
    assert float(program.evaluate(array(2.0), array(3.0))[0]) == float(wg.grad(f)(2.0, 3.0))
    assert "sin" not in all_names(program)


# -- cond ------------------------------------------------------------------------------------


def test_a_known_branch_is_taken():
    program = check_all(
        lambda x: lax.switch(wnp.full((), 1, np.int32), [wnp.sin, wnp.cos, wnp.tan], x), X
    )
    assert names(program) == ["cos"]


def test_equal_branches_are_one():
    program = check_all(
        lambda p, x: lax.cond(p, lambda y: wnp.sin(y) * 2, lambda y: wnp.sin(y) * 2, x), True, X
    )
    assert names(program) == ["sin", "mul"]


def test_results_that_are_operands_are_forwarded():
    def f(p, x, y):
        return lax.cond(p, lambda: (x, wnp.sin(y), y), lambda: (x, y * 2, x))

    program = check_all(f, np.bool_(True), X, X[::-1].copy())
    assert program.outputs[0] is program.inputs[1]
    assert len(only(program, "cond").outputs) == 2


def test_unread_results_and_operands_of_branches_go():
    def f(p, x, m):
        return lax.cond(p, lambda: (x * 2, m @ x), lambda: (x + 1, m @ m @ x))[0]

    program = check_all(f, np.bool_(False), X, M)
    cond = only(program, "cond")
    assert len(cond.inputs) == 2
    assert "dot_general" not in all_names(program)


def test_branches_lose_literal_operands():
    def f(p, x):
        two = wnp.full((), 2.0)
        return lax.cond(p, lambda t: x * t, lambda t: x + t, two)

    program = check_all(f, np.bool_(False), X)
    cond = only(program, "cond")
    assert not any(isinstance(a, Literal) for a in cond.inputs)


def test_one_program_for_two_branches():
    f = lambda x: wnp.sin(x) + 1
    program = check_all(lambda p, x: lax.switch(p, [f, wnp.cos, f], x), np.int32(2), X)
    assert names(program)[-1] == "cond"


# -- all together ----------------------------------------------------------------------------


def rnn(params, xs):
    w, u, b = params

    def step(h, x):
        h = wnp.tanh(w @ h + u @ x + b)
        return h, h

    return wnp.sum(lax.scan(step, wnp.zeros(4), xs)[1] ** 2)


def newton(a):
    return lax.fori_loop(0, 5, lambda i, x: 0.5 * (x + a / x), a)


def branching(x):
    def step(c, y):
        return lax.cond(wnp.sum(y) > 10, lambda: c * y, lambda: wnp.sin(c)), c

    last, all_of_them = lax.scan(step, x, XS)
    return wnp.sum(last) + wnp.sum(all_of_them**2)


PARAMS = (M, M * 2, X)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (rnn, (PARAMS, XS)),
        (wg.grad(rnn), (PARAMS, XS)),
        (wg.vmap(wg.grad(rnn), in_axes=(None, 0)), (PARAMS, np.stack([XS, XS + 1]))),
        (wg.grad(newton), (np.float32(2),)),
        (wg.vmap(newton), (np.float32([2, 3]),)),
        (branching, (X,)),
        (wg.grad(branching), (X,)),
        (wg.vmap(branching), (np.stack([X, -X]),)),
        (wg.hessian(branching), (X,)),
        (wg.grad(wg.checkpoint(branching)), (X,)),
        (wg.grad(lambda x: wnp.sum(lax.map(lambda y: wg.jit(wnp.sin)(y) * x, XS))), (X,)),
    ],
)
def test_compositions(f, args):
    check_all(f, *args)


def test_loops_in_loops():
    def inner(c, x, m):
        return lax.scan(lambda d, y: (d + wnp.sin(m) @ x * y, d), c, x)[0]

    def outer(xs, m):
        return lax.scan(lambda c, x: (inner(c, x, m), None), X, xs)[0]

    program = check_all(outer, XS, M)
    assert "sin" in names(program)


def test_blocks_that_do_not_change_are_the_same_objects():
    program = optimise(traced(lambda xs: lax.scan(lambda c, x: (c * x, c), X, xs), XS))
    for transform in (forward, hoist, eliminate):
        assert transform(program) is program
