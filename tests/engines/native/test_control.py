"""Loops and conditionals in machine code: carries in registers and in memory, turns, errors."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import lax
from wengert.core.array import Array
from wengert.core.tracing import trace
from wengert.engines.native.compile import compile_program
from wengert.engines.native.runtime import callable as native
from wengert.primitives.basis import Elementwise
from wengert.testing.fuzzing import check_function

ENGINES = ("native", "baseline", "checked")
#: Carries of so few bytes are copied through registers, larger ones lie in memory.
SIZES = (0, 1, 3, 63, 64, 65, 300)


def values(n, dtype=np.float64):
    return (np.arange(n) % 7 - 2).astype(dtype)


# -- scan ------------------------------------------------------------------------------------

BODIES = {
    "sum": lambda c, x: (c + x, c),
    "unchanged": lambda c, x: (c, x),
    "replaced": lambda c, x: (x, c),
    "stack": lambda c, x: (c * 0.5, (c, x[::-1], wnp.sum(x))),
    "nothing": lambda c, x: (c + 1, None),
    "literal": lambda c, x: (wnp.zeros_like(c), 2.5),
    "twice": lambda c, x: (c - x, (c, c)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("reverse", [False, True])
def test_scan(name, reverse, engine):
    for n, length in itertools.product((1, 3, 65), (0, 1, 2, 9)):
        xs = np.arange(1.0 * n * length).reshape(length, n)
        function = lambda c, xs: wg.tree_util.tree_leaves(
            lax.scan(BODIES[name], c, xs, reverse=reverse)
        )
        check_function(function, [values(n), xs], engine=engine)


@pytest.mark.parametrize("unroll", [1, 2, 3, 20])
def test_unrolled_scan(unroll):
    function = lambda c, xs: list(lax.scan(lambda c, x: (c * x + 1, c), c, xs, unroll=unroll))
    for length in (0, 1, 2, 7, 8):
        check_function(function, [np.float32(0.5), np.ones(length, np.float32)])


def test_scan_without_slices():
    function = lambda c: list(lax.scan(lambda c, _: (c * 2, c + 1), c, None, length=11))
    check_function(function, [np.arange(3)])


@pytest.mark.parametrize("engine", ENGINES)
def test_nested_scans(engine):
    def outer(c, row):
        return lax.scan(lambda c, x: (c + x * row[0], c), c, row)

    function = lambda c, xs: list(lax.scan(outer, c, xs))
    check_function(function, [np.float64(1), np.arange(12.0).reshape(3, 4)], engine=engine)


# -- loops -----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.complex64, np.bool_])
def test_carries_of_all_sizes(dtype, engine):
    for n in SIZES:
        function = lambda x, n: [
            lax.fori_loop(0, n, lambda i, c: (c[1], c[0] * c[1], c[2]), (x, x[::-1], x))
        ]
        flat = lambda x, n: wg.tree_util.tree_leaves(function(x, n))
        for turns in (0, 1, 5):
            check_function(flat, [values(n, dtype), np.int32(turns)], engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_carries_that_change_places(engine):
    for n in SIZES:
        x = values(n)
        function = lambda x: list(
            lax.fori_loop(0, 7, lambda i, c: (c[2], c[0] + i, c[1]), (x, x + 10, x * 2))
        )
        check_function(function, [x], engine=engine)


def climb(c):
    return c[0] + 1, c[1]


def test_conditions_of_arrays():
    function = lambda x: [
        lax.while_loop(lambda c: wnp.sum(c) < 100, lambda c: c * 2 + 1, x),
        lax.while_loop(lambda c: wnp.all(c[0] < c[1]), climb, (x, x + 3))[0],
    ]
    check_function(function, [values(40) + 3])


def test_many_turns():
    function = lambda n: [lax.fori_loop(0, n, lambda i, c: c * 3 + i, wnp.int32(0))]
    check_function(function, [np.int32(200_000)])


@pytest.mark.parametrize("engine", ENGINES)
def test_reverse_mode_through_loops(engine):
    def loss(x):
        out = lax.while_loop(
            lambda c: wnp.sum(c[0]) < 40, lambda c: (c[0] * c[1] + 1, c[1]), (x, x + 1.5)
        )
        return wnp.sum(out[0] ** 2)

    for n in (1, 3, 40):
        check_function(lambda x: [wg.grad(loss)(x)], [np.full(n, 0.3)], engine=engine)


# -- cond ------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", SIZES)
def test_branches(n, engine):
    branches = [
        lambda x, y: (x + y, y),
        lambda x, y: (x, x),
        lambda x, y: (wnp.zeros_like(x), y[::-1]),
    ]
    function = lambda i, x, y: list(lax.switch(i, branches, x, y))
    for i in (-3, 0, 1, 2, 9):
        check_function(function, [np.int32(i), values(n), values(n) * 2], engine=engine)


def test_only_one_branch_runs():
    """The other one would never end."""
    forever = lambda x: lax.while_loop(lambda c: c[0] == c[0], lambda c: c * 1.0, x)
    function = lambda t, x: [lax.cond(t, lambda x: x + 1, forever, x)]
    check_function(function, [np.bool_(True), values(3)])


def test_nested_conditionals_in_loops():
    def body(i, c):
        inner = lambda c: lax.cond(wnp.sum(c) > 10, lambda c: c * 0, lambda c: c + i, c)
        return lax.cond(i % 3 == 0, lambda c: c * 2, inner, c)

    for n in (1, 70):
        check_function(lambda x: [lax.fori_loop(0, 20, body, x)], [values(n)])


def test_eager_loops_whose_body_calls_back(clean_registry):
    """The body is compiled while the loop runs in the eager engine, to which it calls back."""

    class Slow(Elementwise):
        """Something without machine code."""

        compute = staticmethod(lambda x: x + 2)

    slow = Slow()
    function = lambda x, n: lax.fori_loop(0, n, lambda i, c: slow(c) - 1, x)
    assert float(function(np.float64(2), 300)) == 302


# -- errors and interrupts -------------------------------------------------------------------


def test_an_error_in_a_branch_that_does_not_run_is_none():
    function = lambda t, x, i: [lax.cond(t, lambda x: x[i], lambda x: x[0], x)]
    check_function(function, [np.bool_(False), values(3), np.int32(7)])
    check_function(function, [np.bool_(True), values(3), np.int32(7)])


def test_an_error_in_a_late_turn():
    function = lambda x, n: [lax.fori_loop(0, n, lambda i, c: c + x[i], 0.0)]
    for n in (10, 11, 50):
        check_function(function, [values(10), np.int32(n)])


def test_tapes_of_failing_loops_are_freed():
    def loss(x, n):
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * x[c[0]]), (0, x))[
            1
        ].sum()

    types = [Array(np.ones(1000)).type, Array(np.int32(1)).type]
    compiled = compile_program(trace(lambda g: [wg.grad(loss)(*g)], types))
    x = np.ones(1000)
    for _ in range(20):
        with pytest.raises(IndexError):
            compiled([x, np.int32(1001)])
    np.testing.assert_array_equal(compiled([x, np.int32(1)])[0][1:], np.ones(999))


INTERRUPTED = """
import sys, time, threading, os, signal
import numpy as np
import wengert as wg
from wengert import lax
from wengert.engines.native.runtime import callable as native
grow = lambda x, n: lax.while_loop(
    lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 0.999 + 1), (0 * n, x))
{kind}
f(X, 3)
native.wait_for_machine_code()
f(X, 3)
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.time()
try:
    f(X, 2_000_000_000)
except KeyboardInterrupt:
    print("interrupted", time.time() - begin < 30, float(np.asarray(f(X, 3)).sum()) > 0)
"""

KINDS = {
    "scalars": "X = 1.0; f = wg.jit(lambda x, n: grow(x, n)[1])",
    "arrays": "X = np.ones(500); f = wg.jit(lambda x, n: grow(x, n)[1])",
    "scan": "X = 1.0; f = wg.jit(lambda x, n: lax.scan("
    "lambda c, _: (grow(c, n)[1], None), x, None, length=3)[0])",
    # loops of few turns, in loops of few turns: none of them takes long
    "short": "deep = lambda f, k: f if not k else deep(lambda x, n: lax.scan("
    "lambda c, _: (f(c, n), None), x, None, length=3000)[0], k - 1)\n"
    "X = 1.0; f = wg.jit(lambda x, n: lax.cond(n > 3, deep(lambda c, n: wg.numpy.sin(c), 3), "
    "lambda x, n: x, x, n))",
    # each turn on the way back is one of few, and goes through thousands of steps
    "checkpoints": "X = 1.0; g = wg.jit(wg.grad(lambda x, n: lax.while_loop("
    "lambda c: c[0] < n, lambda c: (c[0] + 1, wg.numpy.sin(c[1])), (0 * n, x), "
    "checkpoint=1)[1])); f = lambda x, n: g(x, min(n, 200_000))",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="signals")
def test_interrupts(kind):
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(kind=KINDS[kind])],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert run.stdout.split() == ["interrupted", "True", "True"], run.stderr


def test_loops_of_several_threads_at_once():
    """A compiled loop has no state of its own."""
    import threading

    f = wg.jit(lambda x: lax.fori_loop(0, 2000, lambda i, c: c * 0.5 + i, x))
    expected = np.asarray(f(1.0))
    native.wait_for_machine_code()
    wrong = []

    def run():
        for _ in range(200):
            if np.asarray(f(1.0)) != expected:
                wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
