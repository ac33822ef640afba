"""Jitted functions as native callables: which calls skip Python, tiers, why compiled again."""

from __future__ import annotations

import collections
import gc
import os
import pickle
import subprocess
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors
from wengert.core import tree
from wengert.core.array import Array
from wengert.engines import selection
from wengert.engines.native.execute import NativeProgram
from wengert.engines.native.runtime import callable as native

pytestmark = pytest.mark.skipif(
    not (native.SUPPORTED and selection.has_llvm()), reason="jit is eager here"
)

X = np.array([0.5, -1.5, 2.0], np.float32)
Point = collections.namedtuple("Point", "x y")


def warmed(fun, *args, **options):
    """A jitted function that has answered such a call once and is native now."""
    kwargs = options.pop("kwargs", {})
    f = wg.jit(fun, **options)
    f(*args, **kwargs)
    native.wait_for_machine_code()
    return f


def hits(f, *args, **kwargs):
    """How many calls machine code answered during one call."""
    before = f.native_hits
    f(*args, **kwargs)
    return f.native_hits - before


def same(x, y):
    """Equal in structure, types and bits."""
    assert tree.structure(x) == tree.structure(y)
    for a, b in zip(tree.leaves(x), tree.leaves(y), strict=True):
        assert a.type == b.type
        assert a._value.tobytes() == b._value.tobytes()


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x: x + 1, (1.0,)),
        (lambda x: x + 1, (1,)),
        (lambda x: wnp.logical_not(x), (True,)),
        (lambda x: x + x, (X,)),
        (lambda x: x * 2, (X.astype(np.float64),)),
        (lambda x, y: x + y, (X, 2.0)),
        (lambda p: {"a": p["b"] * 2, "c": (p["a"], None)}, ({"b": X, "a": 1.0},)),
        (lambda p: Point(-p.y, [p.x * 2]), (Point(X, 2.0),)),
        (lambda x: x[0], (X,)),
        (lambda x: x > 0, (X,)),
        (lambda x: x.sum() > 0, (X,)),
        (lambda: wnp.arange(3), ()),
        (lambda x: (x, x, x + 1, x + 1), (X,)),
        (lambda x: wnp.zeros((0, 3)) * x, (X,)),
    ],
)
def test_native_calls_equal_eager_ones(fun, args):
    f = warmed(fun, *args)
    assert hits(f, *args) == 1
    assert all(isinstance(x._value, np.generic) == (x.ndim == 0) for x in tree.leaves(f(*args)))
    same(f(*args), wg.jit(fun, engine="eager")(*args))
    same(f(*args), f.__call__(*args))


@pytest.mark.parametrize("fun", [lambda x: (), lambda x: [x, x], lambda x: {"a": None}])
def test_functions_that_compute_nothing_are_not_compiled(fun):
    f = warmed(fun, X)
    same(f(X), fun(wnp.array(X)))
    assert f.native_hits == 0


def test_methods_and_decorators():
    class Model:
        """Has a jitted method."""

        @wg.jit
        def scale(self, x):
            """Doc."""
            return 2 * x

        def __init__(self):
            self.bias = 1.0

    assert Model.scale.__doc__ == "Doc."
    assert Model.scale.__name__ == "scale"
    assert Model.scale.__wrapped__(None, 3.0) == 6.0
    wg.tree_util.register_pytree_node(Model, lambda m: ((), ()), lambda aux, _: Model())
    assert Model().scale(2.0).item() == 4.0


@wg.jit
def module_level(x):
    return x + 1


def test_pickled_by_reference():
    module_level.__module__ = __name__
    sys.modules.setdefault(__name__, sys.modules.get(__name__, _own_module()))
    assert pickle.loads(pickle.dumps(module_level)) is module_level


def _own_module():
    import types

    module = types.ModuleType(__name__)
    module.module_level = module_level
    return module


def test_counts():
    f = warmed(lambda x: x * 2, 1.0)
    for _ in range(10):
        f(2.0)
    assert f.cache_info() == (10, 1, 1)
    f.clear_cache()
    assert f.cache_info() == (10, 1, 0)
    assert f.native_hits == 10
    f(2.0)
    assert f.cache_info() == (10, 2, 1)
    assert hits(f, 2.0) == 1


@pytest.mark.parametrize(
    ("options", "args", "kwargs"),
    [
        ({"static_argnums": 1}, (1.0, "double"), {}),
        ({"static_argnames": "mode"}, (1.0,), {"mode": "double"}),
        ({"static_argnums": -1}, (1.0, "double"), {}),
    ],
)
def test_static_arguments(options, args, kwargs):
    def fun(x, mode):
        return 2 * x if mode == "double" else x

    f = warmed(fun, *args, kwargs=kwargs, **options)
    assert hits(f, *args, **kwargs) == 1
    assert f(*args, **kwargs).item() == 2.0
    other = "".join(["sin", "gle"])
    changed = (*args[:1], *([other] if len(args) > 1 else []))
    named = dict.fromkeys(kwargs, other)
    assert f(*changed, **named).item() == 1.0
    assert f(*args, **kwargs).item() == 2.0
    assert f.cache_info().misses == 2


def test_orders_of_keys():
    f = warmed(
        lambda p, **k: p["a"] - p["b"] + k["c"] - k["d"],
        {"a": 1.0, "b": 2.0},
        kwargs={"c": 3.0, "d": 4.0},
    )
    for order in ({"b": 2.0, "a": 1.0}, {"a": 1.0, "b": 2.0}):
        for named in ({"d": 4.0, "c": 3.0}, {"c": 3.0, "d": 4.0}):
            assert f(order, **named).item() == -2.0
            assert hits(f, order, **named) == 1
    assert f.cache_info().misses == 1


def test_arguments_that_need_a_copy():
    f = warmed(lambda x: x * 2, np.ones((2, 3), np.float32))
    x = np.arange(6, dtype=np.float32).reshape(3, 2).T
    for value in (
        x,
        Array(x),
        np.ascontiguousarray(x).astype(">f4"),
        np.repeat(x, 2, 1)[:, ::2],
    ):
        assert hits(f, value) == 0
        np.testing.assert_array_equal(f(value), x * 2)
    assert f.cache_info().misses == 1
    assert hits(f, np.ascontiguousarray(x)) == 1


def test_containers_for_python_only():
    value = collections.OrderedDict(a=X, b=1.0)
    f = warmed(lambda d: {"s": d["a"] * d["b"]}, value)
    assert hits(f, value) == 0
    np.testing.assert_array_equal(f(value)["s"], X)


def test_errors_of_arguments_are_as_before():
    f = warmed(lambda x: x * 2, 1.0)
    with pytest.raises(OverflowError, match="too large"):
        f(1e300)
    with pytest.raises(TypeError, match="expected an array"):
        f("x")
    with pytest.raises(TypeError):
        f()
    assert hits(f, 2.0) == 1


def test_under_transformations():
    f = warmed(lambda x: wnp.sin(x) * x, 0.5)
    count = f.native_hits
    assert wg.grad(f)(0.5).item() == pytest.approx(np.sin(0.5) + 0.5 * np.cos(0.5), 1e-6)
    assert wg.vmap(f)(X).shape == (3,)
    assert wg.jvp(f, (0.5,), (1.0,))[0].item() == f.__call__(0.5).item()
    assert wg.jit(lambda x: f(x) + f(0.5))(1.0).shape == ()
    assert f.native_hits == count
    wg.grad(lambda x: x * f(0.5))(1.0)  # not a traced argument: a value like any other
    assert f.native_hits == count + 1


def test_calls_are_recorded_while_tracing():
    f = warmed(lambda x: x + 1, 1.0)
    program = wg.make_program(lambda x: x * f(1.0))(2.0)
    assert "call" in str(program)


def test_captured_tracers_are_not_kept():
    def outer(a):
        f = wg.jit(lambda x: a * x)
        return f(2.0) + f(3.0)

    assert wg.grad(outer)(1.0).item() == 5.0
    assert wg.jvp(outer, (1.0,), (1.0,))[1].item() == 5.0


def test_mapped_axes_are_part_of_the_signature():
    f = wg.jit(lambda x: wg.lax.psum(x, "i"))
    out = wg.vmap(lambda x: x + f(1.0), axis_name="i")(X)
    np.testing.assert_array_equal(out, X + 3)
    with pytest.raises(errors.UnboundAxisError):
        f(1.0)


def test_debug_nans_sees_native_functions():
    f = warmed(lambda x: wnp.log(x), 1.0)
    assert np.isnan(f(-1.0).item())
    with wg.config.debug_nans(True), pytest.raises(errors.NanError, match="log"):
        f(-1.0)
    assert hits(f, -1.0) == 1


def test_index_error_in_native_code():
    f = warmed(lambda x, i: x[i] * 2, X, 1)
    assert hits(f, X, 2) == 1
    for _ in range(3):
        with pytest.raises(IndexError):
            f(X, 7)
    assert f(X, 2).item() == 4.0


def test_recursive_functions_and_reentrance():
    depth = []

    @wg.jit
    def f(x):
        depth.append(len(depth))
        return f(x[1:]) + x[0] if x.shape[0] > 1 else x[0]

    assert f(wnp.arange(5.0)).item() == 10.0
    native.wait_for_machine_code()
    assert f(wnp.arange(5.0)).item() == 10.0
    assert hits(f, wnp.arange(5.0)) == 1


def test_jitted_functions_die():
    f = warmed(lambda x: x + 1, 1.0)
    f(1.0)
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_nothing_is_lost():
    f = warmed(lambda p: {"a": p["a"] + 1, "b": [p["b"].sum()]}, {"a": X, "b": np.ones((3, 4))})
    value = {"a": X, "b": np.ones((3, 4))}

    def grown():
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(20_000):
            f(value)
        gc.collect()
        return sys.getallocatedblocks() - before > 200

    assert not all(grown() for _ in range(3))  # caches elsewhere may grow once


def test_threads_share_a_function():
    f = wg.jit(lambda x: (x * 2).sum() + x.shape[0])
    wrong = []

    def run(n):
        x = np.full(n, 1.0, np.float32)
        for _ in range(300):
            if f(x).item() != 3 * n:
                wrong.append(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert f.cache_info().currsize == 4


def test_clearing_while_others_call():
    f = wg.jit(lambda x: x * 2)
    f(X)
    native.wait_for_machine_code()
    stop = threading.Event()
    wrong = []

    def run():
        while not stop.is_set():
            if f(X)._value[2] != 4:
                wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        f.clear_cache()
        f(X)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


FORK = """
import os
import wengert as wg
from wengert.engines.native.runtime import callable as native
f = wg.jit(lambda x: x + 1)
f(1.0)  # its machine code is being made just now
child = os.fork()
if child == 0:
    g = wg.jit(lambda x: x + 2)
    g(1.0)
    native.wait_for_machine_code()
    ok = f(1.0).item() == 2 and g(1.0).item() == 3 and g.native_hits == 1
    os._exit(0 if ok else 1)
native.wait_for_machine_code()
f(1.0)
print(os.waitpid(child, 0)[1], f.native_hits)
"""


INTERRUPT = """
import os, signal, sys, threading, time
import wengert as wg
from wengert.engines.native.runtime import callable as native
f = wg.jit(lambda n: wg.lax.while_loop(lambda c: c < n, lambda c: c * 0.999 + 1, 0.0 * n))
f(1.0)
native.wait_for_machine_code()
call = f if sys.argv[1] == "native" else f.__call__
hits = f.native_hits
timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
timer.start()
try:
    call(2000.0)  # it never gets that far
except KeyboardInterrupt:
    print("interrupted", f.native_hits - hits, f(1.0).item())
"""


@pytest.mark.parametrize(("way", "hits"), [("native", "1"), ("python", "0")])
@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_interrupt(way, hits):
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPT, way],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert run.stdout.split() == ["interrupted", hits, "1.0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_machine_code_is_made():
    run = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.split() == ["0", "1"]


# -- engines -----------------------------------------------------------------------------------


def test_eager_engine():
    f = warmed(lambda x: x + 1, 1.0, engine="eager")
    assert f(2.0).item() == 3.0
    assert f.native_hits == 0
    assert f.cache_info().hits == 1
    with pytest.raises(ValueError, match="'native' and 'eager'"):
        wg.jit(lambda x: x, engine="xla")


def test_tiered():
    f = wg.jit(lambda x: wnp.sin(x) + 1, tiered=True)
    first = f(X)
    (traced,) = f._cache.values()
    if type(traced.program.executable) is selection.TieredProgram:
        traced.program.executable.wait()
    assert type(traced.program.executable) is NativeProgram
    f(X)
    native.wait_for_machine_code()
    assert hits(f, X) == 1
    np.testing.assert_allclose(f(X), first, rtol=1e-6)


def test_tiered_answers_while_compiling(monkeypatch):
    go = threading.Event()

    class Slow(NativeProgram):
        def __init__(self, program, donated):
            go.wait(60)
            super().__init__(program, donated)

    monkeypatch.setattr(selection, "NativeProgram", Slow)
    f = wg.jit(lambda x: x * 3, tiered=True)
    assert [f(float(i)).item() for i in range(4)] == [0.0, 3.0, 6.0, 9.0]
    (traced,) = f._cache.values()
    tiered = traced.program.executable
    assert type(tiered) is selection.TieredProgram
    go.set()
    tiered.wait()
    assert type(traced.program.executable) is Slow
    assert f(5.0).item() == 15.0


def test_failure_of_the_compiler_is_raised(monkeypatch):
    def fail(program, donated):
        raise ArithmeticError("no code")

    monkeypatch.setattr(selection, "NativeProgram", fail)
    f = wg.jit(lambda x: x * 3, tiered=True)
    f(1.0)
    (traced,) = f._cache.values()
    traced.program.executable.wait()
    with pytest.raises(ArithmeticError, match="no code"):
        f(1.0)


def test_compiled_ahead():
    lowered = wg.jit(lambda x, y: (x + y, x)).lower(X, 1.0)
    compiled = lowered.compile()
    assert "add" in lowered.as_text()
    assert compiled.as_text() == lowered.as_text()
    assert type(lowered.traced.program.executable) is NativeProgram
    np.testing.assert_array_equal(compiled(X, 2.0)[0], X + 2)
    native.wait_for_machine_code()
    assert hits(compiled, X, 2.0) == 1
    with pytest.raises(errors.ShapeError, match="compiled for arguments"):
        compiled(X[:1], 2.0)


def test_cost_analysis():
    lowered = wg.jit(lambda x: (wnp.sin(x) * x).sum()).lower(np.zeros(1000, np.float32))
    cost = lowered.cost_analysis()
    assert cost == lowered.compile().cost_analysis()
    assert cost["kernels"] == 1
    assert 3000 <= cost["flops"] < 4000
    assert cost["bytes accessed"] == 4004
    assert cost["peak bytes"] >= 4004
    product = wg.jit(lambda x: x @ x).lower(np.zeros((64, 64)))
    assert product.cost_analysis()["flops"] == 2 * 64**3
    assert wg.jit(lambda x: x).lower(1.0).cost_analysis()["kernels"] == 0


# -- why compiled again ------------------------------------------------------------------------


def causes(f, *calls):
    """What is told about these calls, each a list of causes."""
    told = []
    with wg.config.explain_misses(True):
        for args, kwargs in calls:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                f(*args, **kwargs)
            told.append([str(w.message).partition("because of ")[2] for w in caught])
            assert all(w.category is errors.CompiledAgainWarning for w in caught)
            assert all(w.filename == __file__ for w in caught)
    return told


def call(*args, **kwargs):
    return args, kwargs


@pytest.mark.parametrize(
    ("options", "first", "second", "cause"),
    [
        ({}, call(X, 1.0), call(X[:2], 1.0), "argument x: shape (2,) instead of (3,)"),
        (
            {},
            call(X),
            call(X.astype(np.float64)),
            "argument x: dtype float64 instead of float32",
        ),
        ({}, call(1.0), call(np.float32(1)), "argument x: weak type False instead of True"),
        (
            {},
            call([X, {"w": X}]),
            call([X, {"w": X[:2]}]),
            "argument x[1]['w']: shape (2,) instead of (3,)",
        ),
        (
            {},
            call(X, y=1.0),
            call(X, y=X),
            "argument y: shape (3,) instead of (); argument y: weak type False instead of True",
        ),
        ({}, call(X), call([X]), "argument x: tree [*] instead of *"),
        ({}, call(X), call(X, 1.0), "arguments: positional number 2 instead of 1"),
        ({}, call(X), call(X, y=1.0), "arguments: keywords ['y'] instead of []"),
        (
            {"static_argnums": 1},
            call(X, 2),
            call(X, 3),
            "argument y: static value 3 instead of 2",
        ),
        (
            {"static_argnames": "z"},
            call(X, z=2),
            call(X, z="a"),
            "argument z: static value 'a' instead of 2",
        ),
        (
            {"static_argnames": "z"},
            call(X),
            call(X, z=1),
            "argument z: static value given instead of absent",
        ),
        (
            {},
            call(1.0, 2.0, 3.0),
            call(1.0, 2.0, 3),
            "argument z: dtype int32 instead of float32",
        ),
    ],
)
def test_causes(options, first, second, cause):
    f = wg.jit(lambda x, y=None, z=None: wnp.zeros(2), **options)
    assert causes(f, first, second) == [[], [cause]]


def test_each_cause_is_told_once():
    f = wg.jit(lambda x, y=0.0: 0)
    calls = [call(np.ones(n)) for n in range(4)]
    assert [len(told) for told in causes(f, *calls)] == [0, 1, 0, 0]
    assert len(causes(f, call(np.ones(4), 1.0))[0]) == 1
    assert wg.config.explain_misses.value is False
    f(np.ones(9), 2)


def test_nearest_signature_is_compared():
    f = wg.jit(lambda x, y: 0)
    told = causes(f, call(X, X), call([X], X), call([X[:1]], X))
    assert told[2] == ["argument x[0]: shape (1,) instead of (3,)"]


def test_arguments_without_names():
    f = wg.jit(lambda *xs: 0)
    assert causes(f, call(X, 1.0), call(X, 1))[1] == [
        "argument number 1: dtype int32 instead of float32"
    ]
