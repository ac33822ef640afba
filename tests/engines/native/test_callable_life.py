"""Calls answered by machine code: memory, failures, threads, the gate, the type."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from engines.native.callables import (
    F32,
    SUM,
    WEAK,
    Pair,
    Recorder,
    X,
    add,
    blocks_lost,
    bytes_lost,
    copying,
    identity,
    item,
    load,
    raises,
    specialised,
)

import wengert as wg
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array
from wengert.core.gate import gate
from wengert.engines.native import machine
from wengert.engines.native.runtime import callable as native
from wengert.engines.native.runtime import python_api

pytestmark = pytest.mark.skipif(not native.SUPPORTED, reason="calls stay in Python here")


@pytest.fixture(scope="module")
def total():
    return load(SUM)


# -- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [1.0, True, 1 + 2j, np.float64(1), X, (1.0, [X]), {"a": X, "b": Pair(1.0, None)}],
    ids=lambda x: type(x).__name__,
)
def test_nothing_is_lost(value):
    leaves = tree.leaves(value)
    f = specialised(copying([as_array(x).type for x in leaves]), (value,), out=value)
    counts = [sys.getrefcount(x) for x in (*leaves, value, None, True, False, np.True_, f)]
    for _ in range(100):
        f(value)
    after = [sys.getrefcount(x) for x in (*leaves, value, None, True, False, np.True_, f)]
    assert all(abs(x - y) < 20 for x, y in zip(counts, after, strict=True))
    assert not blocks_lost(lambda: f(value))
    assert not bytes_lost(lambda: f(value))
    assert f(value) != "slow"


def test_nothing_is_lost_by_misses():
    f = specialised(copying([as_array(X).type]), (X,), cls=Plain)
    miss = [X.T, (X,)]
    assert not blocks_lost(lambda: f(miss))
    assert not blocks_lost(lambda: f(X, 1, 2, k=3))


class Plain(native.NativeCallable, native=True):
    def __call__(self, *args, **kwargs):
        return None


def test_example_arguments_are_not_kept():
    x = np.ones(3, np.float32)
    gone = weakref.ref(x)
    f = specialised(copying([as_array(x).type]), (x,))
    del x
    gc.collect()
    assert gone() is None
    assert f(np.ones(3, np.float32)).shape == (3,)


def test_results_own_their_memory():
    f = identity(X)
    out = f(X)
    assert out._value.flags.owndata
    assert not np.shares_memory(out._value, X)
    big = np.arange(100_000, dtype=np.float64)
    g = identity(big)
    first, second = g(big), g(big)
    assert first._value.ctypes.data % 64 == 0
    assert not np.shares_memory(first._value, second._value)
    np.testing.assert_array_equal(first._value, big)


def test_instances_die():
    f = identity(X)
    f.itself = f
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("arena", [64, 1024, 5000, 1 << 20])
def test_arena(arena):
    body = item("x", "%in", 0) + item("o", "%out", 0)
    body += f"""
    %end = getelementptr i8, ptr %arena, i64 {arena - 4}
    %v = load float, ptr %x
    store float %v, ptr %arena
    store float %v, ptr %end
    %a = load float, ptr %arena
    %b = load float, ptr %end
    %z = fadd float %a, %b
    %address = ptrtoint ptr %arena to i64
    %low = and i64 %address, 63
    %bad = uitofp i64 %low to float
    %r = fadd float %z, %bad
    store float %r, ptr %o
    ret i64 0"""
    f = specialised(load(body), (1.0,), outs=[WEAK], arena_bytes=arena)
    assert f(1.5).item() == 3.0
    assert not blocks_lost(lambda: f(1.0))


# -- failures ----------------------------------------------------------------------------------


def test_failure():
    asked = []

    def failure(status, values):
        asked.append((status, values))
        return IndexError(f"number {status}")

    types = [as_array(X).type]
    f = specialised(load("ret i64 7"), (X,), outs=types, failure=failure)
    with pytest.raises(IndexError, match="number 7"):
        f(X)
    ((status, values),) = asked
    assert status == 7
    assert values[0].tobytes() == X.tobytes()
    assert not f.slow
    assert not blocks_lost(lambda: (raises(IndexError, f, X), asked.clear()), 3000)
    g = specialised(load("ret i64 7"), (X,), outs=types)
    with pytest.raises(RuntimeError, match="status 7"):
        g(X)


def test_failure_after_results_were_written():
    body = item("o", "%out", 0) + "store i8 1, ptr %o\nret i64 3"
    types = [ArrayType((), np.bool_), F32, as_array(X).type]
    f = specialised(load(body), (1.0,), outs=types, out=(0, 0, 0))
    for _ in range(100):
        with pytest.raises(RuntimeError, match="status 3"):
            f(1.0)


def test_exception_left_by_the_entry():
    """As a signal handler leaves one: the status then says only that there is one."""
    raised = ctypes.pythonapi.PyErr_SetNone
    name = machine.function_address(raised)
    text = f"""
    %f = inttoptr i64 {name} to ptr
    %e = inttoptr i64 {id(KeyboardInterrupt)} to ptr
    call void %f(ptr %e)
    ret i64 1"""
    f = specialised(load(text), (X,), outs=[as_array(X).type])
    for _ in range(100):
        with pytest.raises(KeyboardInterrupt):
            f(X)
    assert not blocks_lost(lambda: raises(KeyboardInterrupt, f, X), 3000)


def random_tree(rng, depth=0):
    """A tree of everything that machine code takes apart."""
    kind = rng.integers(0, 5 if depth < 3 else 1)
    if kind == 0:
        leaves = [
            1.5,
            -3,
            True,
            2j,
            None,
            X,
            np.float16(2),
            np.arange(3),
            np.zeros((0, 2)),
            "weak",
        ]
        leaf = leaves[rng.integers(len(leaves))]
        return Array(np.float32(4), True) if isinstance(leaf, str) else leaf
    children = [random_tree(rng, depth + 1) for _ in range(rng.integers(0, 4))]
    if kind == 1:
        return tuple(children)
    if kind == 2:
        return children
    if kind == 3:
        return Pair(children, random_tree(rng, depth + 1))
    names = rng.permutation(["a", "b", "c", "d"])
    return {str(name): child for name, child in zip(names, children, strict=False)}


@pytest.mark.parametrize("seed", range(40))
def test_random_trees(seed):
    rng = np.random.default_rng(seed)
    args = tuple(random_tree(rng) for _ in range(rng.integers(0, 4)))
    kwargs = {name: random_tree(rng) for name in ["y", "x"][: rng.integers(0, 3)]}
    values = [as_array(x) for x in tree.leaves((args, kwargs))]
    structure = tree.structure((args, kwargs))
    result = tree.unflatten(structure, values)
    f = specialised(copying([v.type for v in values]), args, kwargs, out=result)
    out = f(*args, **kwargs)
    assert f.native_hits == 1
    assert tree.structure(out) == structure
    assert repr(out) == repr(result)
    for a, b in zip(tree.leaves(out), values, strict=True):
        assert a.type == b.type
        assert a._value.tobytes() == b._value.tobytes()


def calling(python, types):
    """An entry that calls a Python function, then copies."""
    callback = ctypes.CFUNCTYPE(ctypes.c_int64)(python)
    address = machine.function_address(callback)
    entry, keep = load(
        f"%f = inttoptr i64 {address} to ptr\n%status = call i64 %f()\n"
        + "%bad = icmp ne i64 %status, 0\nbr i1 %bad, label %leave, label %go\n"
        + "leave: ret i64 %status\ngo:\n"
        + "".join(
            item(f"from{i}", "%in", i)
            + item(f"to{i}", "%out", i)
            + f"call void @llvm.memcpy.p0.p0.i64(ptr %to{i}, ptr %from{i}, "
            + f"i64 {t.size * t.dtype.itemsize}, i1 0)\n"
            for i, t in enumerate(types)
        )
        + "ret i64 0"
    )
    return entry, (keep, callback)


@pytest.mark.parametrize("long", [False, True])
def test_forgetting_and_changing_arguments_while_it_runs(long):
    values = [np.full(1000, 7.0, np.float32)]
    types = [as_array(values[0]).type]

    def meddle():
        f.forget_specialisations()
        values.clear()
        gc.collect()
        np.full(1000, 9.0, np.float32)  # would take the place of the argument
        return 0

    f = specialised(calling(meddle, types), (values,), long=long)
    out = f(values)
    np.testing.assert_array_equal(out._value, np.full(1000, 7.0))
    assert f([np.zeros(1000, np.float32)]) == "slow"


def test_calling_itself_while_it_runs():
    depth, seen = 0, []

    def again():
        nonlocal depth
        depth += 1
        if depth < 20:
            seen.append(f(float(depth)).item())
        return 0

    f = specialised(calling(again, [WEAK]), (1.0,), arena_bytes=100_000)
    assert f(-1.0).item() == -1.0
    assert sorted(seen) == [float(i) for i in range(1, 20)]


def test_threads():
    barrier = threading.Barrier(4, timeout=60)

    def meet():
        barrier.wait()  # all four are inside at once: none holds the interpreter lock
        return 0

    types = [as_array(X).type]
    f = specialised(calling(meet, types), (X,), long=True, arena_bytes=10_000)
    results = [None] * 4

    def run(i):
        results[i] = [f(X + i)._value for _ in range(50)]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, values in enumerate(results):
        for value in values:
            np.testing.assert_array_equal(value, X + i)


def test_adding_and_forgetting_in_other_threads():
    f = identity(X)
    code = copying([as_array(X).type])
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            add(f, *code, (X,), {})
            f.forget_specialisations()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5_000):
            out = f(X)
            assert out == "slow" or out.shape == (2, 3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)


# -- the gate ----------------------------------------------------------------------------------


def test_gate(total):
    f = specialised(total, (1.0, 2.0), outs=[WEAK])
    assert f(1.0, 2.0).item() == 3.0
    with gate:
        assert gate.closed
        assert f(1.0, 2.0) == "slow"
    assert not gate.closed
    assert f(1.0, 2.0).item() == 3.0


@pytest.mark.parametrize("name", ["debug_nans", "debug_key_reuse"])
def test_debug_settings_close_the_gate(name):
    setting = getattr(wg.config, name)
    with setting(True):
        assert gate.closed
        with setting(False):
            pass
        assert gate.closed
    assert not gate.closed
    thread = threading.Thread(target=setting.set, args=(True,))
    thread.start()
    thread.join()
    assert gate.closed
    setting.set(False)
    assert not gate.closed


def test_tracing_closes_the_gate():
    seen = []
    wg.make_program(lambda x: seen.append(gate.closed) or x)(1.0)
    assert seen == [True]
    with pytest.raises(ZeroDivisionError):
        wg.make_program(lambda x: 1 // 0)(1.0)
    assert not gate.closed


# -- the type ----------------------------------------------------------------------------------


class Child(Recorder):
    pass


class Override(Recorder):
    def __call__(self, *args):
        return "override"


def test_subclasses(total):
    child = specialised(total, (1.0, 2.0), outs=[WEAK], cls=Child)
    assert child(1.0, 2.0).item() == 3.0
    assert child(1.0) == "slow"
    other = specialised(total, (1.0, 2.0), outs=[WEAK], cls=Override)
    assert other(1.0, 2.0) == "override"


def test_without_specialisation():
    f = Recorder()
    assert f(1, a=2) == "slow"
    assert f.slow == [((1,), {"a": 2})]
    f.extra = 1
    assert weakref.ref(f)() is f
    assert f.native_hits == 0


def test_called_in_every_way(total):
    f = specialised(total, (1.0, 2.0), outs=[WEAK])
    assert f.__call__(1.0, 2.0) == "slow"
    assert next(map(f, [1.0], [2.0])).item() == 3.0
    assert f(*[1.0, 2.0]).item() == 3.0


def test_exception_in_python_is_passed_on(total):
    class Raising(native.NativeCallable, native=True):
        def __call__(self, *args):
            raise KeyError("here")

    f = specialised(total, (1.0, 2.0), outs=[WEAK], cls=Raising)
    with pytest.raises(KeyError, match="here"):
        f(1.0)
    assert f(1.0, 2.0).item() == 3.0


def test_results_must_fit_their_tree(total):
    with pytest.raises(ValueError, match="1 result"):
        specialised(total, (1.0, 2.0), outs=[WEAK], out=(0, 0))


def test_layouts_are_checked():
    python_api.check_layouts()
    for dtype in dtypes.SUPPORTED:
        assert python_api.scalar_type(dtype) is dtype.type
