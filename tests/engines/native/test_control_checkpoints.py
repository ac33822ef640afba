"""Loops that keep some states only, in machine code: same steps, same values, no leak."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import lax
from wengert.core.array import Array
from wengert.core.tracing import trace
from wengert.engines.native.compile import compile_program
from wengert.engines.native.kernels import group
from wengert.engines.native.runtime import memory
from wengert.passes.pipeline import optimise
from wengert.primitives.basis import Elementwise
from wengert.testing.fuzzing import check_function

LIMITS = (1, 2, 5, 1000, True)
STEPS = (0, 1, 2, 7, 40)


def repeated(body, limit):
    """A body applied a number of times that is known when it runs."""
    return lambda x, n: lax.while_loop(
        lambda c: c[0] < n, lambda c: (c[0] + 1, body(c[1])), (0 * n, x), checkpoint=limit
    )[1]


def gradient(body, limit):
    f = repeated(body, limit)
    return lambda x, n: [wg.grad(lambda x: wnp.sum(f(x, n)))(x)]


def compiled(function, *arrays):
    return compile_program(
        trace(lambda given: function(*given), [Array(a).type for a in arrays])
    )


@pytest.mark.parametrize("engine", ["native", "baseline", "checked"])
@pytest.mark.parametrize("limit", LIMITS)
def test_gradients(limit, engine):
    function = gradient(lambda y: wnp.sin(y) * 1.1 + y[::-1] * 0.1, limit)
    for steps, size in itertools.product(STEPS, (1, 5, 100)):
        check_function(function, [np.linspace(0.1, 1, size), np.int32(steps)], engine=engine)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_bodies_give_the_same_bits(limit, dtype):
    """Small integers in floats: no operation rounds."""
    f = gradient(lambda y: y * y - 2 * y, limit)
    x = np.arange(3, dtype=dtype)
    for steps in (0, 1, 2, 5):
        n = np.int32(steps)
        (got,) = compiled(f, x, n)([x, n])
        np.testing.assert_array_equal(got, np.asarray(f(x, n)[0]))
        (tape,) = compiled(gradient(lambda y: y * y - 2 * y, None), x, n)([x, n])
        np.testing.assert_array_equal(got, tape)


def test_states_of_several_types_and_sizes():
    def f(x, n):
        body = lambda c: (c[0] + 1, c[1] * c[2][0], wnp.sin(c[2]), ~c[3], c[4] * (1 + 1j))
        start = (0 * n, x[0], x, n > 3, x.astype(np.complex128))
        out = lax.while_loop(lambda c: c[0] < n, body, start, checkpoint=2)
        return wnp.sum(wnp.where(out[3], out[1], out[2])) + wnp.sum(wnp.abs(out[4]))

    for size in (1, 3, 200):
        x = np.linspace(0.3, 0.9, size)
        check_function(lambda x, n: [wg.grad(f)(x, n)], [x, np.int32(6)])


def test_empty_states():
    check_function(gradient(lambda y: y * 2, 2), [np.zeros(0), np.int32(3)], engine="checked")


@pytest.mark.parametrize("order", ["twice", "forward over reverse", "batch"])
def test_under_other_transformations(order):
    f = repeated(lambda y: wnp.sin(y) * 1.2, 2)
    total = lambda x, n: wnp.sum(f(x, n))
    x = np.array([0.3, 0.8])
    first = lambda x, n: wnp.sum(wg.grad(total)(x, n) ** 2)
    function = {
        "twice": lambda x, n: [wg.grad(first)(x, n)],
        "forward over reverse": lambda x, n: [wg.hessian(total)(x, n)],
        "batch": lambda x, n: [wg.vmap(wg.grad(total), (0, 0))(x, n + wnp.arange(2))],
    }[order]
    check_function(function, [x, np.int32(5)])


def test_nested_loops():
    inner = repeated(lambda y: wnp.sin(y) + 0.1, 2)
    outer = repeated(lambda y: inner(y, wnp.int32(4)) * 1.1, 1)
    check_function(
        lambda x, n: [wg.grad(lambda x: wnp.sum(outer(x, n)))(x)],
        [np.linspace(0.1, 1, 4), np.int32(5)],
    )


def test_nothing_calls_back():
    f = gradient(lambda y: wnp.sin(y), 3)
    x = np.ones(3)
    program = trace(lambda g: f(*g), [Array(x).type, Array(np.int32(1)).type])
    assert not any(
        step.kind == "callback"
        for step in group(optimise(program)).steps
        if hasattr(step, "kind")
    )
    assert "sweeps" in str(wg.show(f, x, np.int32(1), stage="kernels"))
    assert "eager engine" not in str(wg.show(f, x, np.int32(1), stage="kernels"))


# -- which steps are taken -------------------------------------------------------------------


@pytest.fixture
def seen(clean_registry):
    """A primitive without machine code that notes its operands, and the notes."""
    notes = []

    class Seen(Elementwise):
        """Its operand."""

        partials = (lambda out, x: 1.0,)

        @staticmethod
        def compute(x):
            notes.append(float(x))
            return x * 1

    return Seen(), notes


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10, 33, 100])
def test_the_same_steps_are_taken_as_in_the_eager_engine(seen, limit, steps):
    """Every evaluation of the body, in order: forwards, again, and on the way back."""
    look, notes = seen
    f = gradient(lambda y: wnp.sin(look(y)) + 1, limit)
    x, n = np.float64(0.7), np.int32(steps)
    run = compiled(f, x, n)
    (got,) = run([x, n])
    native, notes[:] = notes[:], []
    (expected,) = f(x, n)
    assert len(native) >= 2 * steps
    np.testing.assert_allclose(native, notes, rtol=1e-14)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


# -- memory and errors -----------------------------------------------------------------------


def test_few_states_take_little_memory():
    def most(limit):
        """The most bytes that are alive while a gradient is computed."""
        x, n = np.ones(100_000), np.int32(200)
        levels = []

        class Watch(Elementwise):
            """Its operand; notes how much memory is alive."""

            name = f"watch_{limit}"
            partials = (lambda out, x: 1.0,)

            @staticmethod
            def compute(x):
                levels.append(memory.stats().live_bytes)
                return x

        watch = Watch()
        f = gradient(lambda y: wnp.sin(y) + 0 * watch(y[0]), limit)
        run = compiled(f, x, n)
        before = memory.stats().live_bytes
        run([x, n])
        assert memory.stats().live_bytes == before
        return (max(levels) - before) / x.nbytes

    assert most(None) > 200
    assert most(5) < 7.5  # the allocator rounds up
    assert most(True) < 11


def failing(limit):
    def loss(x, n):
        body = lambda c: (c[0] + 1, c[1] * x[c[0]])
        return lax.while_loop(lambda c: c[0] < n, body, (0 * n, x), checkpoint=limit)[1].sum()

    return loss


@pytest.mark.parametrize("limit", LIMITS)
def test_errors_inside_free_everything(limit):
    x = np.ones(1000)
    run = compiled(lambda x, n: [wg.grad(failing(limit))(x, n)], x, np.int32(1))
    before = memory.stats().live_blocks
    for _ in range(5):
        with pytest.raises(IndexError):
            run([x, np.int32(1001)])
        assert memory.stats().live_blocks == before
    np.testing.assert_array_equal(run([x, np.int32(1)])[0][1:], np.ones(999))
    assert memory.stats().live_blocks == before


def test_errors_name_the_line_of_the_body():
    f = wg.jit(wg.grad(failing(3)))
    with pytest.raises(IndexError, match=r"c\[1\] \* x\[c\[0\]\]"):
        f(np.ones(10), np.int32(11))
