"""Inlining, common subexpressions and dead code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from passes.checks import all_names, array, check_all, check_pass, names, traced

import wengert as wg
import wengert.numpy as wnp
from wengert import lax
from wengert.core.array import ArrayType
from wengert.core.primitive import Primitive
from wengert.passes.cse import share
from wengert.passes.dce import eliminate
from wengert.passes.inline import inline
from wengert.passes.pipeline import optimise
from wengert.primitives import basis, cast

X = np.linspace(-1, 1, 4, dtype=np.float32)
CALLS = {"call", "custom_jvp_call", "custom_vjp_call", "checkpoint"}


class Report(Primitive):
    """The operand, which somebody is told of."""

    effects = True

    @staticmethod
    def compute(x: Any) -> Any:
        return x

    def type_rule(self, x: Any) -> Any:
        return ArrayType(x.shape, x.dtype, x.weak_type)


@pytest.fixture
def report():
    return Report()


@wg.custom_jvp
def square(x):
    return x * x


square.defjvp(lambda primals, tangents: (square(primals[0]), 2 * primals[0] * tangents[0]))


@wg.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (cube(x), x), lambda x, ct: (3 * x * x * ct,))


# -- inlining --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        wg.jit(wnp.sin),
        square,
        cube,
        wg.checkpoint(lambda x: wnp.sin(wnp.cos(x))),
        wg.jit(lambda x: wg.jit(square)(x) + wg.jit(wg.checkpoint(cube))(x)),
    ],
    ids=["jit", "custom_jvp", "custom_vjp", "checkpoint", "nested"],
)
def test_calls_are_inlined(f):
    program = check_all(lambda x: f(f(x)), X)
    assert not CALLS & all_names(program)
    check_all(lambda x: wg.vjp(f, x)[1](x), X)


def test_each_call_gets_variables_of_its_own():
    f = wg.jit(lambda x: wnp.sin(x) * 2)
    program = inline(traced(lambda x: f(x) + f(x + 1), X))
    program.check()
    assert names(program) == ["sin", "mul", "add", "sin", "mul", "add"]


def test_captured_arrays_become_constants_once():
    table = wnp.arange(4.0)
    f = wg.jit(lambda x: x * table)
    program = inline(traced(lambda x: f(f(x)) + table, X))
    assert len(program.constants) == 1
    program.check()


def test_captured_arrays_are_led_into_blocks():
    table = array(np.arange(4, dtype=np.float32))
    other = array(np.arange(4, dtype=np.float32) * 3)
    f = wg.jit(lambda x: x * table)
    g = wg.jit(lambda x: x + other)

    def loops(x):
        y, _ = lax.scan(lambda c, _: (g(f(c)), None), x, length=3)
        z = lax.while_loop(lambda c: wnp.sum(g(c)) < 100, lambda c: f(c) + 7, y)
        return lax.cond(z[0] > 0, f, lambda c: g(f(c)), z)

    program = check_pass(inline, traced(loops, X), [X])
    assert "call" not in all_names(program)
    assert len(program.constants) == 2
    check_all(loops, X)
    check_all(lambda x: wg.vjp(loops, x)[1](x), X)


def test_lines_are_those_of_the_function_called():
    def f(x):
        return wnp.sin(x)

    [equation] = inline(traced(wg.jit(f), X)).equations
    assert "return wnp.sin(x)" in str(equation.location)


def test_weak_flags_of_operands_may_differ():
    program = traced(wg.jit(lambda x: x * 2), 1.5)
    [call] = program.equations
    strong = wg.core.program.Variable(ArrayType((), np.float32))
    call.inputs = (strong,)
    mixed = wg.core.program.Program([strong], (), (), [call], program.outputs)
    inline(mixed).check()


# -- checkpoints -----------------------------------------------------------------------------


def count(program, name):
    return names(program).count(name)


def test_the_second_run_of_a_checkpoint_is_not_shared_with_the_first():
    f = wg.checkpoint(lambda x: wnp.sum(wnp.sin(wnp.exp(x))))
    g = wg.checkpoint(lambda x: wnp.sum(wnp.sin(wnp.exp(x))), prevent_cse=False)
    apart = optimise(traced(wg.value_and_grad(f), X))
    shared = optimise(traced(wg.value_and_grad(g), X))
    assert count(apart, "exp") == 2
    assert count(shared, "exp") == 1
    check_all(wg.value_and_grad(f), X)


def test_barriers_stay():
    program = optimise(traced(lambda x: wnp.sin(x) + wnp.sin(lax.optimization_barrier(x)), X))
    assert names(program) == ["sin", "optimization_barrier", "sin", "add"]


def test_known_numbers_need_no_barrier():
    program = optimise(traced(lambda x: x * lax.optimization_barrier(wnp.ones(4)), X))
    assert program.equations == ()


# -- common subexpressions -------------------------------------------------------------------


def shared(f, *args):
    return check_pass(share, traced(f, *args), [array(a)._value for a in args])


def test_equal_applications_are_shared():
    assert names(shared(lambda x: wnp.sin(x) * wnp.sin(x), X)) == ["sin", "mul"]


def test_sums_and_products_in_either_order():
    program = shared(lambda x, y: [x * y, y * x, x + y, y + x, x - y, y - x], X, X[::-1].copy())
    assert names(program) == ["mul", "add", "sub", "sub"]


def test_products_of_complex_numbers_keep_their_order():
    z = X.astype(np.complex64)
    assert names(shared(lambda x, y: x * y + y * x, z, z[::-1].copy())) == ["mul", "mul", "add"]


def test_numbers_that_compare_equal_and_differ():
    program = shared(lambda x: [x + 0.0, x + -0.0, x * 1, x * 1.0, x * True, x * 1], X)
    assert len(program.equations) == 4


def test_parameters_in_any_order():
    def f(x):
        one = basis.broadcast_in_dim(x, shape=(2, 4), broadcast_dimensions=(1,))
        two = basis.broadcast_in_dim(x, broadcast_dimensions=(1,), shape=(2, 4))
        return one + two

    assert names(shared(f, X)) == ["broadcast_in_dim", "add"]


def test_filled_arrays_of_different_zeros():
    double = np.dtype(np.float64)
    program = shared(
        lambda: [
            basis.full(shape=(2,), value=v, dtype=double)
            for v in (0.0, -0.0, 0.0, np.nan, np.nan)
        ]
    )
    assert len(program.equations) == 3


def test_conversions_with_and_without_the_default():
    program = shared(
        lambda x: [cast.convert(x, dtype=np.dtype(t)) for t in ("f2", "f8", "f2")], X
    )
    assert len(program.equations) == 2


def test_blocks_are_compared_by_structure():
    def f(x):
        a = lax.scan(lambda c, _: (wnp.sin(c) * 2, None), x, length=3)[0]
        b = lax.scan(lambda c, _: (wnp.sin(c) * 2, None), x, length=3)[0]
        c = lax.scan(lambda c, _: (wnp.sin(c) * 3, None), x, length=3)[0]
        return a + b + c

    assert names(optimise(traced(f, X))).count("scan") == 2
    check_all(f, X)


def test_random_bits_of_one_key_are_shared():
    key = wg.random.key(0)
    f = lambda k: wg.random.uniform(k, (3,)) + wg.random.uniform(k, (3,))
    program = optimise(traced(f, wg.random.key_data(key)))
    assert names(program).count("random_bits") == 1


def test_effects_are_kept_each_in_its_place(report):
    program = optimise(traced(lambda x: [report(x), report(x), report(x + 1)][0], X))
    assert names(program) == ["report", "report", "add", "report"]


# -- dead code -------------------------------------------------------------------------------


def test_unused_equations_go():
    program = traced(lambda x: [wnp.cos(wnp.sin(x)), wnp.exp(x)][1], X)
    assert names(check_pass(eliminate, program, [X])) == ["exp"]


def test_unused_constants_go_and_inputs_stay():
    table = array(np.arange(4, dtype=np.float32))
    program = traced(lambda x, y: [y * table, x][1], X, X)
    new = check_pass(eliminate, program, [X, X])
    assert new.constants == ()
    assert len(new.inputs) == 2


def test_effects_in_blocks_are_kept(report):
    def f(x):
        lax.scan(lambda c, _: (report(c) * 2, None), x, length=3)
        return x

    assert names(optimise(traced(f, X))) == ["scan"]
