"""Memory of programs: places, lifetimes, updates in place, and what callers keep."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.core.array import Array
from wengert.core.primitive import Primitive
from wengert.core.program import Literal, Program, Variable
from wengert.core.tracing import trace
from wengert.engines.native.compile import compile_program
from wengert.engines.native.context import Arena
from wengert.engines.native.runtime import callable as native
from wengert.testing.fuzzing import Case, check, check_function
from wengert.testing.fuzzing import primitive as p

X = np.arange(1000.0)
ENGINES = ("native", "checked")


def compiled(function, *values):
    types = [Array(v).type for v in values]
    return compile_program(trace(lambda given: list(function(*given)), types))


# -- the arena -------------------------------------------------------------------------------


def test_blocks_that_are_alive_do_not_overlap():
    rng = np.random.default_rng(0)
    arena, alive = Arena(64), {}
    for _ in range(2000):
        if alive and rng.random() < 0.5:
            offset = list(alive)[int(rng.integers(len(alive)))]
            arena.give(offset, alive.pop(offset))
        else:
            nbytes = int(rng.integers(0, 1000))
            offset = arena.take(nbytes)
            assert offset % 64 == 0
            for other, size in alive.items():
                assert offset >= other + size or other >= offset + nbytes
            alive[offset] = max(nbytes, 1)
    for offset, nbytes in alive.items():
        arena.give(offset, nbytes)
    assert arena.take(arena.size - 64) == 64


def test_equal_programs_have_equal_code():
    """Object code and memory found on disk must fit what is compiled later."""

    def sorted_sums(*xs):
        parts = [wnp.sort(x) for x in xs]
        total = parts[0] * parts[1] - parts[2] * parts[3] + parts[4]
        return [wnp.sort(total)]

    large = wg.ShapeDtypeStruct((10**6,), np.float32)  # for threads
    texts = {wg.show(sorted_sums, *[large] * 5, stage="llvm") for _ in range(4)}
    assert len(texts) == 1


def test_memory_is_used_again():
    def chain(x):
        for _ in range(20):
            x = wnp.sort(x) + 1.0
        return [x]

    few = compiled(lambda x: [wnp.sort(wnp.sort(x) + 1.0)], X).arena_bytes
    assert compiled(chain, X).arena_bytes <= few + X.nbytes


def test_small_values_need_no_arena():
    assert compiled(lambda x: [wnp.cumsum(x + 1) * 2], np.ones(5)).arena_bytes == 0


# -- results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("x", [X, np.float32(2), np.zeros((0, 3)), np.ones((2, 1), np.int8)])
def test_results_that_are_something_else(engine, x):
    functions = [
        lambda x: [x],
        lambda x: [x, x],
        lambda x: [x + 1, x, x + 1],
        lambda x: [wnp.reshape(x, (-1,)), x],
        lambda x: [Array(np.float32(0.5)), x * 2],
        lambda x: [wnp.zeros(3), wnp.ones((2, 2), np.int32), x],
        lambda x: [y := wnp.reshape(x * 2, (-1,)), wnp.reshape(y, x.shape), y],
        lambda x: [wnp.arange(5), Array(np.arange(3)), Array(np.arange(3))],
    ]
    for function in functions:
        check_function(function, [x], engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_programs_that_compute_nothing(engine):
    a, b = Variable(Array(X).type), Variable(Array(np.int8(1)).type)
    for outputs in ([a], [b, a, a], [], [Literal(Array(np.complex64(1j))), b]):
        check(Case(Program([a, b], [], [], [], outputs), [X, np.int8(1)]), engine=engine)


def test_results_are_new_memory():
    f = wg.jit(lambda x: (x, x * 1, x))
    value = wnp.asarray(X)
    for _ in range(3):
        one, two, three = (np.asarray(o) for o in f(value))
        arrays = [np.asarray(value), two]
        assert not any(np.shares_memory(one, other) for other in arrays if other is not one)
        np.testing.assert_array_equal(three, X)
        native.wait_for_machine_code()


# -- inputs ----------------------------------------------------------------------------------

UPDATES = {
    "set": lambda x: x.at[3].set(0.0),
    "add": lambda x: x.at[wnp.array([1, 1, 5])].add(2.0),
    "slice": lambda x: x.at[10:20].set(x[:10]),
    "shift": lambda x: x.at[1:].set(x[:-1]),
    "reverse": lambda x: x[::-1].at[0].set(1.0),
    "twice": lambda x: x.at[0].set(1.0) + x.at[1].set(2.0),
    "both": lambda x: x.at[0].set(5.0) * x,
    "loop": lambda x: wg.lax.fori_loop(0, 50, lambda i, y: y.at[i].set(y[i] * 2 + i), x),
    "inner": lambda x: wg.lax.fori_loop(
        0, 5, lambda i, y: wg.lax.fori_loop(0, 5, lambda j, z: z.at[i + j].add(1.0), y), x
    ),
    "neighbours": lambda x: wg.lax.fori_loop(1, 99, lambda i, y: y.at[i].set(y[i - 1] + 1), x),
    "stencil": lambda x: wg.lax.fori_loop(0, 3, lambda i, y: y.at[1:-1].set(y[:-2] + y[2:]), x),
    "scan": lambda x: wg.lax.scan(lambda c, i: (c.at[i].set(0.0), c.sum()), x, wnp.arange(9))[
        1
    ],
    "old": lambda x: wg.lax.fori_loop(
        0, 4, lambda i, c: (c[0].at[i].set(c[1][i + 1]), c[0]), (x, x + 1)
    )[1],
    "swap": lambda x: wg.lax.fori_loop(0, 3, lambda i, c: (c[1], c[0]), (x, x * 2))[0],
    "rotate": lambda x: wg.lax.fori_loop(
        0, 5, lambda i, c: (c[1] + 1, c[2], c[0]), (x, x * 2, x * 3)
    )[2],
    "captured": lambda x: wg.lax.fori_loop(0, 4, lambda i, y: y.at[i].set(x[i] + y[0]), x),
    "cond": lambda x: wg.lax.cond(x[0] < 1, lambda y: y.at[0].set(9.0), lambda y: y, x) + x,
    "while": lambda x: wg.lax.while_loop(
        lambda c: c[0] < 7, lambda c: (c[0] + 1, c[1].at[c[0]].set(c[1][c[0] + 1])), (0, x)
    )[1],
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", UPDATES)
def test_updates_keep_the_meaning_of_values(name, engine):
    for x in (X, X[:100], X.reshape(100, 10)):
        before = x.copy()
        try:
            check_function(lambda x: [UPDATES[name](x)], [x], engine=engine)
        except (TypeError, wg.errors.WengertError):
            assert x.ndim > 1  # the function is one of vectors
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", UPDATES)
def test_inputs_of_jitted_functions_are_not_written(name):
    f, x = wg.jit(UPDATES[name]), X.copy()
    wrapped = wnp.asarray(x)
    first = np.asarray(f(wrapped))
    native.wait_for_machine_code()
    for given in (wrapped, x, wrapped):
        np.testing.assert_array_equal(np.asarray(f(given)), first)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(np.asarray(wrapped), X)


def test_loops_update_in_place():
    """The carry of a loop is one array, however often it is updated."""
    x = np.zeros(100_000)
    f = compiled(
        lambda x: [wg.lax.fori_loop(0, 1000, lambda i, y: y.at[i].set(y[i] + 1), x)], x
    )
    assert f.arena_bytes <= x.nbytes + 4096


def test_constants_are_not_written():
    table = wnp.asarray(X.copy())
    f = compiled(lambda i: [table.at[i].set(-1.0)], np.int32(3))
    assert f([np.int32(3)])[0][3] == -1
    assert f([np.int32(4)])[0][3] == 3


# -- failures --------------------------------------------------------------------------------


def test_errors_name_the_users_line():
    f = wg.jit(lambda x, i: wnp.sin(x)[i] * 2)
    for _ in range(2):
        assert f(X, 2).shape == ()
        with pytest.raises(IndexError, match=r"index 1000 is out of bounds") as caught:
            f(X, 1000)
        assert "wnp.sin(x)[i] * 2" in str(caught.value)
        native.wait_for_machine_code()


def test_errors_in_loops():
    f = wg.jit(lambda x, n: wg.lax.fori_loop(0, n, lambda i, y: y.at[i].set(1.0), x))
    for _ in range(2):
        assert float(f(X[:10], 10)[9]) == 1
        with pytest.raises(IndexError):
            f(X[:10], 11)
        native.wait_for_machine_code()


class Picky(Primitive):
    """Something that has no machine code and sometimes raises."""

    calls = 0

    @staticmethod
    def compute(x):
        Picky.calls += 1
        if x.flat[0] < 0:
            raise ValueError("it is negative")
        return x * 2

    def type_rule(self, x):
        return x


@pytest.fixture
def picky(clean_registry):
    return Picky()


def test_exceptions_in_callbacks(picky):
    f = compiled(lambda x: [wnp.sort(x), picky(x) + 1, wnp.cumsum(x)], X)
    for _ in range(3):
        np.testing.assert_array_equal(f([X])[1], X * 2 + 1)
        with pytest.raises(ValueError, match="it is negative"):
            f([X - 1])


def test_exceptions_leave_nothing_behind(picky):
    f = wg.jit(lambda x: (picky(wnp.sort(x)), x.at[0].set(1.0)))
    good, bad = wnp.asarray(X), wnp.asarray(X - 1)
    f(good)
    native.wait_for_machine_code()

    def grown():
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(300):
            with pytest.raises(ValueError, match="negative"):
                f(bad)
        gc.collect()
        return sys.getallocatedblocks() - before > 200

    assert not all(grown() for _ in range(3))
    np.testing.assert_array_equal(np.asarray(f(good)[0]), X * 2)


def test_a_callback_may_call_compiled_code(clean_registry):
    inner = wg.jit(lambda x: x * 3)

    class Calls(Primitive):
        """It calls a compiled function in its turn."""

        @staticmethod
        def compute(x):
            return np.asarray(inner(wnp.asarray(x))) + 1

        def type_rule(self, x):
            return x

    calls = Calls()
    f = wg.jit(lambda x: calls(x) + calls(x * 2))
    for _ in range(3):
        np.testing.assert_array_equal(np.asarray(f(wnp.asarray(X))), X * 9 + 2)
        native.wait_for_machine_code()


def test_callbacks_see_operands_that_live_in_registers():
    function = lambda x: [p("zeta")(x[0] + 2.0, x[1] * 1.0), wnp.sum(x)]
    check_function(function, [np.array([0.5, 1.5])])
