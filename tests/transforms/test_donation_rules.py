"""Donated arguments: which they are, deleted arrays, errors, threads."""

from __future__ import annotations

import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from transforms.donations import N, address, compiled, copies, vector

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax
from wengert.core import tree
from wengert.core.array import Array
from wengert.engines import selection
from wengert.engines.native.execute import NativeProgram
from wengert.engines.native.runtime import callable as native
from wengert.engines.native.runtime import memory


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


# -- which arguments -----------------------------------------------


@pytest.mark.parametrize(
    ("options", "deleted"),
    [
        ({"donate_argnums": 0}, [True, False, False]),
        ({"donate_argnums": -1}, [False, False, True]),
        ({"donate_argnums": (0, 2)}, [True, False, True]),
        ({"donate_argnames": "b"}, [False, True, False]),
        ({"donate_argnames": ("a", "c")}, [True, False, True]),
        ({"donate_argnums": 1, "donate_argnames": ["c"]}, [False, True, True]),
        ({"donate_argnums": (), "donate_argnames": ()}, [False, False, False]),
        ({}, [False, False, False]),
    ],
)
@pytest.mark.parametrize("engine", ["native", "eager"])
def test_which_are_deleted(options, deleted, engine):
    def fun(a, b, c):
        return a + b[0] * c["k"][1]

    f = wg.jit(fun, engine=engine, **options)
    for by_name in (False, False, True):
        args = vector(0), (vector(1), vector(2)), {"k": [vector(3), vector(4)]}
        expected = copies(fun(*args))
        got = f(args[0], c=args[2], b=args[1]) if by_name else f(*args)
        np.testing.assert_array_equal(np.asarray(got), expected)
        assert [all(x.is_deleted() for x in tree.leaves(a)) for a in args] == deleted
        assert [any(x.is_deleted() for x in tree.leaves(a)) for a in args] == deleted
        native.wait_for_machine_code()


def test_static_arguments_beside_donated_ones():
    f = wg.jit(lambda n, x: x * n, static_argnums=0, donate_argnums=1)
    for n in (2, 3, 2):
        x = vector()
        np.testing.assert_array_equal(np.asarray(f(n, x)), np.arange(N) * n)
        assert x.is_deleted()


def test_wrong_arguments():
    with pytest.raises(errors.ArgnumsError, match="static and donated"):
        wg.jit(lambda n, x: x, static_argnums=0, donate_argnums=0)
    with pytest.raises(errors.ArgnumsError, match="static and donated"):
        wg.jit(lambda n, x: x, static_argnums=0, donate_argnames="n")
    with pytest.raises(errors.ArgnumsError, match="donate_argnums=5"):
        wg.jit(lambda x: x, donate_argnums=5)
    with pytest.raises(errors.ArgnumsError, match="donate_argnames='y'"):
        wg.jit(lambda x: x, donate_argnames="y")


def test_decorator_and_method():
    class Counter:
        @wg.jit
        def plain(self, x):
            return x

    @wg.jit(donate_argnums=0)
    def step(x):
        return x + 1

    x = vector()
    step(x)
    assert x.is_deleted()
    assert Counter is not None


def test_python_scalars_and_scalars(ready):
    f = wg.jit(lambda x, y: x + y, donate_argnums=(0, 1))
    ready(f, 1.0, wnp.asarray(2.0))
    y = wnp.asarray(2.0)
    assert f(1.0, y).item() == 3.0
    assert y.is_deleted()
    assert f(np.float32(1), 2.0).item() == 3.0


@compiled
def test_compiled_ahead():
    f = wg.jit(lambda x: x * 2, donate_argnums=0).lower(vector()).compile()
    for _ in range(3):
        x = vector()
        here = address(x)
        y = f(x)
        assert x.is_deleted() and address(y) == here
        native.wait_for_machine_code()


@compiled
def test_tiered():
    f = wg.jit(lambda x: x * 2, donate_argnums=0, tiered=True)
    for turn in range(4):
        x = vector()
        np.testing.assert_array_equal(np.asarray(f(x)), np.arange(N) * 2)
        assert x.is_deleted()
        (traced,) = f._cache.values()
        if turn == 1 and type(traced.executable) is selection.TieredProgram:
            traced.executable.wait()
    assert type(traced.executable) is NativeProgram


# -- deleted arrays -----------------------------------------------

USES = {
    "add": lambda x: x + 1,
    "radd": lambda x: 1 + x,
    "add array": lambda x: wnp.ones(N) + x,
    "add numpy": lambda x: np.ones(N) + x,
    "compare": lambda x: x == wnp.ones(N),
    "negate": lambda x: -x,
    "index": lambda x: x[0],
    "at": lambda x: x.at[0].set(1.0),
    "iterate": lambda x: list(x),
    "length": len,
    "truth": lambda x: bool(x),
    "float": lambda x: float(x),
    "format": lambda x: f"{x:.2f}",
    "numpy": np.asarray,
    "numpy function": np.sin,
    "dlpack": np.from_dlpack,
    "function": wnp.sin,
    "method": lambda x: x.sum(),
    "list": lambda x: x.tolist(),
    "bytes": lambda x: x.tobytes(),
    "copy": lambda x: x.copy(),
    "pickle": pickle.dumps,
    "dtype": lambda x: x.astype("int32"),
    "stack": lambda x: wnp.stack([x, x]),
    "matmul": lambda x: x @ x,
    "jit": lambda x: wg.jit(wnp.sin)(x),
    "donate again": lambda x: wg.jit(wnp.sin, donate_argnums=0)(x),
    "grad": lambda x: wg.grad(lambda v: wnp.sum(v * v))(x),
    "vmap": lambda x: wg.vmap(wnp.sin)(x),
    "loop": lambda x: lax.fori_loop(0, 3, lambda i, v: v + 1, x),
    "captured": lambda x: wg.jit(lambda: x + 1)(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_use_of_a_deleted_array(use):
    x = vector()
    x.delete()
    with pytest.raises(errors.DeletedArrayError, match=r"f32\[4000\] are gone"):
        use(x)


def test_the_error_teaches():
    def train(x):
        return wg.jit(lambda v: v + 1, donate_argnums=0)(x)  # the call

    x = vector()
    train(x)
    with pytest.raises(RuntimeError) as caught:
        x + 1
    text = str(caught.value)
    for part in ("donated to <lambda>", "test_donation_rules.py", "# the call", "x = step(x)"):
        assert part in text


@compiled
def test_the_error_of_later_calls():
    f = wg.jit(lambda v: v + 1, donate_argnums=0)
    for _ in range(3):
        x = vector()
        f(x)  # every time
        native.wait_for_machine_code()
    assert f.native_hits
    with pytest.raises(errors.DeletedArrayError, match="to <lambda>, in a later call") as it:
        x + 1
    assert "# every time" in str(it.value)


def test_what_is_left_of_a_deleted_array():
    x = wnp.asarray(np.ones((2, 3), np.int8))
    assert not x.is_deleted()
    x.delete()
    x.delete()
    assert x.is_deleted()
    assert (x.shape, x.dtype, x.ndim, x.size) == ((2, 3), np.int8, 2, 6)
    assert repr(x) == "Array(deleted, shape=(2, 3), dtype=int8)"
    assert wg.eval_shape(wnp.sin, x).shape == (2, 3)


@compiled
def test_memory_is_given_back():
    x = wg.jit(lambda x: x * 2)(vector())
    live = memory.stats().live_blocks
    x.delete()
    assert memory.stats().live_blocks == live - 1


# -- transformations -----------------------------------------------


def test_traced_values_are_not_donated():
    inner = wg.jit(lambda x: wnp.sin(x) * 2, donate_argnums=0)
    x = vector(0, 5)
    expected = 2 * np.cos(np.arange(5.0))
    got = wg.vmap(wg.grad(inner))(x)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5)
    outer = wg.jit(lambda x: inner(x) + x)
    np.testing.assert_allclose(
        np.asarray(outer(x)), 2 * np.sin(np.arange(5)) + np.arange(5), rtol=1e-5
    )
    wg.jvp(inner, (x,), (x,))
    wg.linearize(inner, x)
    with wg.config.debug_nans(True):
        outer(x)
    assert not x.is_deleted()


def test_debug_nans():
    f = wg.jit(lambda x: wnp.log(x + 1), donate_argnums=0)
    with wg.config.debug_nans(True):
        x = vector()
        f(x)
        assert x.is_deleted()
        x = vector(-5.0)
        with pytest.raises(errors.NanError):
            f(x)
        assert not x.is_deleted()


def test_profile():
    f = wg.jit(lambda x: x * 2, donate_argnums=0)
    x = vector()
    with wg.profile(report=False):
        y = f(x)
    assert x.is_deleted()
    np.testing.assert_array_equal(np.asarray(y), np.arange(N) * 2)


# -- exceptions -----------------------------------------------


@pytest.mark.parametrize(
    ("fun", "argument"),
    [
        (lambda x, i: x.at[i].set(1.0), 2 * N),
        (lambda x, i: x.at[i].add(1.0), np.array([0, 1, 2, N])),
        (lambda x, i: x * x[i], N),
        (lambda x, i: (x * 2)[i] + x, N),
        (lambda x, i: lax.dynamic_update_slice(x, wnp.ones(3), (i,)), N),
        (lambda x, i: x.at[::2].set(1.0) * wnp.arange(3)[i], 3),
        (lambda x, i: lax.fori_loop(0, 9, lambda k, v: v.at[k + i].set(1.0), x), N - 5),
        (lambda x, i: lax.scan(lambda v, k: (v + 1, v[k]), x, wnp.arange(9) + i), N - 5),
    ],
    ids=range(8),
)
def test_an_error_leaves_arguments_whole(fun, argument, ready):
    f = wg.jit(fun, donate_argnums=0)
    ready(f, vector(), np.zeros_like(argument))
    x = vector()
    with pytest.raises(IndexError):
        f(x, argument)
    assert not x.is_deleted()
    np.testing.assert_array_equal(np.asarray(x), np.arange(N))
    expected = copies(wg.jit(fun)(x, np.zeros_like(argument)))
    out = f(x, np.zeros_like(argument))
    assert x.is_deleted()
    for got, wanted in zip(tree.leaves(out), tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(got), wanted)


def test_an_error_while_tracing():
    f = wg.jit(lambda x: x if x[0] > 0 else -x, donate_argnums=0)
    x = vector()
    with pytest.raises(errors.ConcretizationError):
        f(x)
    assert not x.is_deleted()


@compiled
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals differ")
def test_interrupted_loops_leave_arguments_whole(ready):
    def fun(x, n):
        return lax.while_loop(lambda c: c[0] < n, lambda c: c * 0.999 + 1, x)

    class Alarm(Exception):
        pass

    def handler(number, frame):
        raise Alarm

    f = wg.jit(fun, donate_argnums=0)
    ready(f, vector(0, 64), 1.0)
    x = vector(0, 64)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Alarm):
            f(x, 2000.0)  # it never gets that far
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not x.is_deleted()
    np.testing.assert_array_equal(np.asarray(x), np.arange(64))


@compiled
def test_exceptions_after_the_end(monkeypatch):
    """A signal handler may raise when the memory has been overwritten already."""
    f = wg.jit(lambda x: x * 2, donate_argnums=0)
    run = NativeProgram.run

    def interrupted(self, values):
        run(self, values)
        raise KeyboardInterrupt

    x = vector()
    monkeypatch.setattr(NativeProgram, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        f(x)
    assert x.is_deleted()


# -- threads and references -----------------------------------------------


def test_threads(ready):
    """Each array goes through many steps in its own thread, some are fought for."""
    f = wg.jit(lambda x, y: (x * 0.5 + y, wnp.sum(x)), donate_argnums=0)
    ready(f, vector(), vector())
    y, wrong = vector(1), []
    expected = vector()
    for _ in range(50):
        expected = expected * 0.5 + y

    def work():
        x = vector()
        for _ in range(50):
            x, _ = f(x, y)
        if not np.array_equal(np.asarray(x), np.asarray(expected)):
            wrong.append("own")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_threads_fight_for_one_array(ready):
    f = wg.jit(lambda x: wnp.sin(x) + x, donate_argnums=0)
    count = 1 << 17
    ready(f, vector(0, count))
    expected = np.asarray(wg.jit(lambda x: wnp.sin(x) + x)(vector(0, count)))
    for _ in range(10):
        x, got, lost = vector(0, count), [], []
        start = threading.Barrier(3)

        def work(x=x, got=got, lost=lost, start=start):
            start.wait()
            try:
                got.append(f(x))
            except errors.DeletedArrayError:
                lost.append(x)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(got) + len(lost) == 3 and got
        for y in got:
            np.testing.assert_array_equal(np.asarray(y), expected)


@compiled
def test_donated_while_another_call_reads_it():
    """A call without the interpreter lock holds the memory that it reads."""
    read = wg.jit(lambda x: lax.fori_loop(0, 60, lambda i, s: s + wnp.sum(wnp.sin(x + i)), 0.0))
    f = wg.jit(lambda x: x * 0, donate_argnums=0)
    count = 1 << 16
    ones = wnp.ones(count) * 1
    expected = read(ones).item()
    f(wnp.ones(count) * 1)
    native.wait_for_machine_code()
    read(ones), f(wnp.ones(count) * 1)
    for _ in range(5):
        x, got = wnp.ones(count) * 1, []
        thread = threading.Thread(target=lambda x=x, got=got: got.append(read(x).item()))
        thread.start()
        while not got and not x.is_deleted():
            f(x)
        thread.join()
        assert got == [expected]


@compiled
def test_references_are_balanced(ready):
    def fun(x, y, i):
        return x.at[i].set(1.0) + y, wnp.sum(y)

    f = wg.jit(fun, donate_argnums=(0, 1))
    ready(f, vector(), vector(), 0)

    def call(i):
        x, y = vector(), vector()
        values = [x._value, y._value] if i == 3 else []
        try:
            f(x, y, i)
        except IndexError:
            assert not x.is_deleted()
        del values

    for i in (0, 1, 2, 3, 3, N, N):
        call(i)
    live, counts = memory.stats().live_blocks, [sys.getrefcount(o) for o in (f, Array)]
    for i in (0, 1, 2, 3, 3, N, N) * 20:
        call(i)
    assert memory.stats().live_blocks == live
    for before, o in zip(counts, (f, Array), strict=True):
        assert abs(sys.getrefcount(o) - before) < 50
