"""Donated arguments: what is computed in place, and what is copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from transforms.donations import N, address, compiled, copies, vector

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax
from wengert.core import tree
from wengert.core.array import Array
from wengert.engines import selection
from wengert.engines.native.compile import CompiledProgram, make_object
from wengert.engines.native.machine import Target
from wengert.engines.native.runtime import callable as native
from wengert.engines.native.runtime import memory
from wengert.engines.native.tiers import wait as wait_for_better_code
from wengert.passes.pipeline import optimise
from wengert.testing.fuzzing import random_case


@pytest.fixture(params=["python", "native"])
def ready(request):
    """A function that lets machine code answer calls, or leaves that to Python."""
    if request.param == "python":
        return lambda f, *args: None
    if not (native.SUPPORTED and selection.has_llvm()):
        pytest.skip("jit is eager here")

    def warm(f, *args):
        f(*args)
        native.wait_for_machine_code()

    return warm


# -- what is computed in place -----------------------------------------------


def adam(state, grads, rate=1e-2):
    """A step of Adam over a tree of parameters."""
    params, first, second, count = state
    count = count + 1
    first = tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)

    def move(p, m, v):
        return p - rate * (m / (1 - 0.9**count)) / (wnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

    return tree.map(move, params, first, second), first, second, count


def adam_state():
    params = {"layers": [{"w": wnp.ones((40, 50)), "b": vector(0, 50)} for _ in range(3)]}
    zeros = [tree.map(lambda p: p * 0, params) for _ in range(2)]
    return params, *zeros, wnp.asarray(0.0)


@compiled
def test_adam_over_a_tree():
    step, plain = wg.jit(adam, donate_argnums=0), wg.jit(adam)
    state, expected = adam_state(), adam_state()
    grads = tree.map(lambda p: wnp.cos(p), state[0])
    for turn in range(6):
        before = [address(x) for x in tree.leaves(state) if x.ndim]
        old = state
        state = step(state, grads)
        expected = plain(expected, grads)
        assert [address(x) for x in tree.leaves(state) if x.ndim] == before
        assert all(x.is_deleted() for x in tree.leaves(old))
        if turn == 2:
            native.wait_for_machine_code()
    assert step.native_hits > 0
    assert not any(x.is_deleted() for x in tree.leaves(grads))
    for got, wanted in zip(tree.leaves(state), tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(wanted))


@compiled
def test_peak_memory():
    count = 1 << 18

    def step(x, y):
        return x * 2 + y, y * x

    blocks, peaks = [], []
    for donate in (None, (0, 1)):
        f = wg.jit(step, donate_argnums=donate)
        x, y = f(vector(0, count), vector(1, count))
        native.wait_for_machine_code()
        memory.drop_waiting()
        fresh = memory.stats().fresh
        tracemalloc.start()
        for _ in range(3):
            x, y = f(x, y)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        blocks.append(memory.stats().fresh - fresh)
    assert blocks[0] >= 2
    assert blocks[1] == 0
    assert peaks[1] < 4 * count  # nor did NumPy make an array


@compiled
@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x: x + 1, ()),
        (lambda x: wnp.sin(x) * wnp.sum(x), ()),
        (lambda x, i: x.at[i].set(5.0), (3,)),
        (lambda x, i: x.at[i].add(wnp.ones(4)), (np.array([3, 5, 5, -1]),)),
        (lambda x, i: x.at[i].set(5.0, mode="drop"), (np.array([3, 2 * N]),)),
        (lambda x, i: lax.dynamic_update_slice(x, wnp.ones(3), (i,)), (7,)),
        (lambda x: lax.fori_loop(0, 5, lambda i, v: wnp.sin(v) + i, x), ()),
        (lambda x, n: lax.fori_loop(0, n, lambda i, v: v * 2, x), (3,)),
        (lambda x: lax.scan(lambda c, _: (c + 1, wnp.sum(c)), x, None, length=4), ()),
        (lambda x: (x.reshape(40, 100) * 2).reshape(N), ()),
    ],
    ids=range(10),
)
def test_in_place(fun, args, ready):
    f = wg.jit(fun, donate_argnums=0)
    ready(f, vector(), *args)
    x = vector()
    expected = copies(fun(x, *args))
    here = address(x)
    out = f(x, *args)
    assert x.is_deleted()
    first = tree.leaves(out)[0]
    assert address(first) == here
    for got, wanted in zip(tree.leaves(out), tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=2e-6)


@compiled
@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x: x[::-1] + x, ()),
        (lambda x: x - wnp.roll(x, 1), ()),
        (lambda x: wnp.cumsum(x), ()),
        (lambda x: wnp.sort(-x), ()),
        (lambda x: wnp.sum(x), ()),
        (lambda x: x, ()),
        (lambda x: (x, x), ()),
        (lambda x: (x + 1, x), ()),
        (lambda x: x[x.astype("int32")], ()),
        (lambda x: x.at[wnp.argsort(x)].set(x[::-1]), ()),
        (lambda x: lax.scan(lambda c, e: (c + e, c * x[0]), x[0], x), ()),
        (lambda x: lax.fori_loop(0, 3, lambda i, v: v + x[i], x), ()),
        (lambda x: x.reshape(40, 100).T, ()),
        (lambda x: x.astype("float64"), ()),
        (lambda x, i: wnp.where(i > 0, x[i], x), (2,)),
        (lambda x, i: (x.at[i].set(1.0), x.at[i].set(2.0)), (2,)),
    ],
    ids=range(16),
)
def test_never_wrong(fun, args, ready):
    """Programs that read elements after results are written, or share results."""
    f = wg.jit(fun, donate_argnums=0)
    ready(f, vector(), *args)
    x = vector()
    expected = copies(wg.jit(fun)(x, *args))
    out = f(x, *args)
    assert x.is_deleted()
    for got, wanted in zip(tree.leaves(out), tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(got), wanted)


@compiled
@pytest.mark.parametrize("start", range(0, 60, 15))
def test_random_programs(start):
    """Results have the same bits, errors leave inputs whole, others are not written to."""
    used = 0
    for seed in range(start, start + 15):
        case = random_case(seed)
        program, target = optimise(case.program), Target.host()
        donated = range(len(program.inputs))
        plain = CompiledProgram(program, make_object(program, target))
        over = CompiledProgram(program, make_object(program, target, donated=donated))
        values = [np.array(v, order="C") for v in case.values]
        finished = [np.zeros(1, np.bool_)] if over.in_place else []
        try:
            expected = plain(case.values)
        except Exception as error:
            with pytest.raises(type(error)):
                over([*values, *finished])
            changed = set()
        else:
            got = over([*values, *finished])
            assert [np.asarray(x).tobytes() for x in got] == [
                np.asarray(x).tobytes() for x in expected
            ]
            changed = {i for i, _ in over.in_place}
        for i in {*donated} - changed:
            assert values[i].tobytes() == np.asarray(case.values[i]).tobytes()
        used += len(changed)
    assert used


@compiled
def test_swapped(ready):
    f = wg.jit(lambda x, y: (y + 1, x - 1), donate_argnums=(0, 1))
    ready(f, vector(), vector())
    a, b = f(vector(), vector(10))
    np.testing.assert_array_equal(np.asarray(a), np.arange(N) + 11)
    np.testing.assert_array_equal(np.asarray(b), np.arange(N) - 1)


@compiled
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float16", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (7,), (3, 5, 2), (65, 33)])
def test_types_and_shapes(dtype, shape, ready):
    def fun(x):
        return x ^ True if dtype == "bool" else x * x + x

    value = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    f = wg.jit(fun, donate_argnums=0)
    ready(f, wnp.array(value))
    x = wnp.array(value)
    expected = np.array(fun(x))
    got = f(x)
    assert got.type == wg.eval_shape(fun, value)
    np.testing.assert_array_equal(np.asarray(got), expected)
    assert x.is_deleted()


@compiled
def test_better_code_computes_in_place_too():
    def fun(x):
        return lax.scan(lambda c, _: (wnp.sin(c) + 1, None), x, None, length=3)[0]

    f = wg.jit(fun, donate_argnums=0)
    x = vector()
    here = address(x)
    for _ in range(4):
        x = f(x)
        wait_for_better_code()
    assert address(x) == here
    expected = vector()
    for _ in range(4):
        expected = wg.jit(fun)(expected)
    np.testing.assert_array_equal(np.asarray(x), np.asarray(expected))


@compiled
def test_results_that_have_no_donor(ready):
    f = wg.jit(lambda x, y: (wnp.sum(x), x * 2, y + x, x - y), donate_argnums=0)
    ready(f, vector(), vector())
    x, y = vector(), vector(5)
    wanted = copies((wnp.sum(x), x * 2, y + x, x - y))
    for got, expected in zip(f(x, y), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-6)
    assert not y.is_deleted()


@compiled
def test_peak_bytes():
    def peak(fun, *args, **options):
        return wg.jit(fun, **options).lower(*args).cost_analysis()["peak bytes"]

    x = vector()
    for fun in (lambda x, i: x * i, lambda x, i: x.at[i].set(1.0)):
        assert peak(fun, x, 1) - peak(fun, x, 1, donate_argnums=0) == 4 * N
    assert peak(lambda x: x[::-1], x) == peak(lambda x: x[::-1], x, donate_argnums=0)


# -- what others can see is copied -----------------------------------------------


def _view(x):
    return np.asarray(x)


def _slice(x):
    return x[2:5]


def _reshaped(x):
    return x.reshape(40, 100)


def _same_value(x):
    return Array(x._value)


def _captured(x):
    f = wg.jit(lambda: x * 1)
    f()
    return f()


@pytest.mark.parametrize("other", [_view, _slice, _reshaped, _same_value, _captured])
def test_others_keep_their_values(other, ready):
    f = wg.jit(lambda x: x * 2 + 1, donate_argnums=0)
    ready(f, vector())
    x = vector()
    held = other(x)
    expected = np.array(held)
    y = f(x)
    assert x.is_deleted()
    np.testing.assert_array_equal(np.asarray(held), expected)
    np.testing.assert_array_equal(np.asarray(y), np.arange(N) * 2 + 1)


def test_numpy_arrays_are_never_overwritten(ready):
    f = wg.jit(lambda x: x * 2 + 1, donate_argnums=0)
    numbers = np.arange(N, dtype=np.float32)
    ready(f, numbers)
    for given in (numbers, wnp.asarray(numbers), numbers.astype(">f4"), numbers.reshape(N, 1)):
        y = f(given)
        np.testing.assert_array_equal(np.asarray(y).ravel(), np.arange(N) * 2 + 1)
        np.testing.assert_array_equal(numbers, np.arange(N))


def test_read_only_and_strided_memory(ready):
    f = wg.jit(lambda x: x * 2, donate_argnums=0)
    ready(f, vector())
    fixed = np.arange(N, dtype=np.float32)
    fixed.flags.writeable = False
    strided = np.arange(2 * N, dtype=np.float32)[::2]
    for value in (fixed, strided):
        x = Array(value)
        np.testing.assert_array_equal(np.asarray(f(x)), value * 2)
        assert x.is_deleted()
    np.testing.assert_array_equal(fixed, np.arange(N))
    np.testing.assert_array_equal(strided, 2 * np.arange(N))


@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_the_same_array_twice(argnums, ready):
    f = wg.jit(lambda x, y: (x + 1, y * 2), donate_argnums=argnums)
    ready(f, vector(), vector())
    x = vector()
    a, b = f(x, x)
    np.testing.assert_array_equal(np.asarray(a), np.arange(N) + 1)
    np.testing.assert_array_equal(np.asarray(b), np.arange(N) * 2)
    assert x.is_deleted()


def test_a_captured_constant(ready):
    x = vector()
    f = wg.jit(lambda y: y * 2 + x, donate_argnums=0)
    ready(f, vector())
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(f(vector())), np.arange(N) * 3)
    np.testing.assert_array_equal(np.asarray(f(x)), np.arange(N) * 3)
    assert x.is_deleted()


def test_a_copy_is_another_array(ready):
    f = wg.jit(lambda x: x + 1, donate_argnums=0)
    for x in (vector(), wnp.asarray(1.0)):
        ready(f, x.copy())
        y = f(x.copy())
        assert not x.is_deleted()
        np.testing.assert_array_equal(np.asarray(y), np.asarray(x) + 1)


def test_residuals_of_a_pullback(ready):
    f = wg.jit(lambda x: x * 3, donate_argnums=0)
    ready(f, vector())
    x = vector()
    _, pull = wg.vjp(lambda v: wnp.sum(v * v), x)
    f(x)
    with pytest.raises(errors.DeletedArrayError):
        pull(1.0)


# -- errors ----------------------------------------------------------------------------------


def test_the_error_names_the_call():
    def step_here(x):
        return x + 1

    step = wg.jit(step_here, donate_argnums=0)
    x = vector()
    step(x)  # the call that is named
    with pytest.raises(errors.DeletedArrayError) as caught:
        x + 1
    text = str(caught.value)
    assert "it was donated to step_here.\n" in text
    assert "# the call that is named" in text


def test_the_error_names_no_other_call():
    """Machine code does not look where it is called from, and the error says so."""
    if not (native.SUPPORTED and selection.has_llvm()):
        pytest.skip("jit is eager here")
    step = wg.jit(lambda x: x + 1, donate_argnums=0)
    for _ in range(3):
        step(vector())  # the first one
        native.wait_for_machine_code()
    x, before = vector(), step.native_hits
    step(x)
    assert step.native_hits == before + 1
    message = "in a later call than the one at this line"
    with pytest.raises(errors.DeletedArrayError, match=message) as caught:
        x + 1
    assert "# the first one" in str(caught.value)


def test_debugging_finds_the_call(ready):
    step = wg.jit(lambda x: x + 1, donate_argnums=0)
    ready(step, vector())
    x = vector()
    with wg.config.debug_nans(True):
        step(x)  # debugged
    with pytest.raises(errors.DeletedArrayError, match="# debugged") as caught:
        x + 1
    assert "later call" not in str(caught.value)
