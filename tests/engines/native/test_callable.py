"""Calls answered by machine code: guards, results, trees, references, threads, failures.

The programs here are written in LLVM by hand, so that the tests are about calls alone.
"""

from __future__ import annotations

import collections
import ctypes
import gc
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import wengert as wg
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array
from wengert.core.gate import gate
from wengert.engines.native import machine
from wengert.engines.native.runtime import callable as native
from wengert.engines.native.runtime import python_api
from wengert.engines.native.runtime.callable_encode import Specialisation

pytestmark = pytest.mark.skipif(not native.SUPPORTED, reason="calls stay in Python here")

F32 = ArrayType((), np.float32)
WEAK = ArrayType((), np.float32, True)
Pair = collections.namedtuple("Pair", "first second")


def load(body):
    """The address of an entry with this body, and what keeps it."""
    text = f"""
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    define i64 @entry(ptr %in, ptr %out, ptr %arena) {{
    {body}
    }}"""
    code = machine.load(machine.optimise_and_emit(text, machine.Target.host(), 1))
    return code.address("entry"), code


def item(name, array, index, kind="ptr"):
    return (
        f"%{name}.at = getelementptr {kind}, ptr {array}, i64 {index}\n"
        f"%{name} = load {kind}, ptr %{name}.at\n"
    )


def copying(types, start=0):
    """An entry that copies each input to the output of the same number."""
    lines = []
    for i, t in enumerate(types):
        lines.append(item(f"from{i}", "%in", i + start) + item(f"to{i}", "%out", i))
        size = t.size * t.dtype.itemsize
        lines.append(
            f"call void @llvm.memcpy.p0.p0.i64(ptr %to{i}, ptr %from{i}, i64 {size}, i1 0)"
        )
    return load("\n".join([*lines, "ret i64 0"]))


SUM = (
    item("a", "%in", 0)
    + item("b", "%in", 1)
    + item("o", "%out", 0)
    + "%x = load float, ptr %a\n%y = load float, ptr %b\n%z = fadd float %x, %y\n"
    + "store float %z, ptr %o\nret i64 0"
)


class Recorder(native.NativeCallable, native=True):
    """Notes the calls that come to Python."""

    def __init__(self):
        self.slow = []

    def __call__(self, *args, **kwargs):
        self.slow.append((args, kwargs))
        return "slow"


def specialised(code, args, kwargs=None, outs=None, out=0.0, cls=Recorder, **options):
    """An instance that answers calls like this one; results are those of the inputs' types."""
    kwargs = kwargs or {}
    entry, keep = code
    f = cls()
    add(f, entry, keep, args, kwargs, outs, out, **options)
    return f


def add(f, entry, keep, args, kwargs, outs=None, out=0.0, static=frozenset(), **options):
    dynamic = tuple(None if i in static else a for i, a in enumerate(args))
    named = {k: v for k, v in kwargs.items() if k not in static}
    leaves, in_tree = tree.flatten((dynamic, named))
    in_types = [as_array(x).type for x in leaves]
    outs = in_types if outs is None else outs
    out_tree = tree.structure(out)
    done = f.add_specialisation(
        Specialisation(
            entry=entry, arguments=(args, kwargs), in_tree=in_tree, in_types=in_types,
            out_types=outs, out_tree=out_tree, static=frozenset(static), keep=keep, **options,
        )
    )  # fmt: skip
    native.wait_for_machine_code()
    return done


def identity(x):
    return specialised(copying([as_array(x).type]), (x,))


@pytest.fixture(scope="module")
def total():
    return load(SUM)


def sample(dtype, shape):
    count = int(np.prod(shape))
    values = (np.arange(count) % 2 + 1).astype(dtype).reshape(shape)
    return values if shape else values[()]


# -- leaves ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 3), (2, 0, 4), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=str)
def test_every_dtype(dtype, shape):
    x = sample(dtype, shape)
    f = identity(x)
    for given in (x, Array(x)):
        out = f(given)
        assert type(out) is Array
        assert type(out._value) is type(x)
        assert (out.dtype, out.shape, out.weak_type) == (dtype, shape, False)
        assert out._value.tobytes() == x.tobytes()
    assert f.native_hits == 2
    assert f(Array(x, True)) == "slow"


def test_zero_dimensional_array_inside():
    f = identity(np.float32(2))
    assert f(Array(np.array(3, np.float32)))._value == 3
    assert f(np.array(4, np.float32))._value == 4
    assert not f.slow


@pytest.mark.parametrize(
    ("value", "fits", "misses"),
    [
        (1.0, [0.0, -0.0, 3.4e38, -3.4e38, 1e-320, np.inf, -np.inf, np.nan], [1e39, -1e39, 1]),
        (1, [0, -1, 2**31 - 1, -(2**31)], [2**31, -(2**31) - 1, 10**30, -(10**30), True, 1.0]),
        (True, [True, False, np.True_, np.False_], [1, 0, 1.0]),
        (1j, [0j, 1 - 2j, complex("nan")], [1e39j, complex(1e39), complex("inf"), 1.0]),
    ],
)
def test_python_scalars(value, fits, misses):
    f = identity(value)
    for x in fits:
        out = f(x)
        expected = as_array(x)
        assert out.type == expected.type
        assert type(out._value) is type(expected._value)
        assert out._value.tobytes() == expected._value.tobytes()
    assert f.native_hits == len(fits)
    for x in misses:
        assert f(x) == "slow"


def test_rounding_of_floats():
    f = identity(1.0)
    for x in np.random.default_rng(0).standard_normal(100) * 10.0 ** np.arange(-50, 50):
        if abs(x) < 3e38:
            assert f(float(x))._value.tobytes() == np.float32(x).tobytes()


class Floaty(float):
    pass


class Sub(np.ndarray):
    pass


X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "other",
    [
        X.astype(np.float64),
        X.T.copy(),
        X.T.copy().T,
        X[:, :2],
        np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
        X.astype(">f4"),
        X.view(Sub),
        np.ma.masked_array(X),
        np.frombuffer(b"\0" * 25, np.float32, 6, 1).reshape(2, 3),
        X[None],
        X.ravel(),
        Array(X, True),
        Array(X.T),
        X.tolist(),
        None,
        1.0,
        "x",
        Floaty(1),
        object(),
        Array,
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_does_not_fit(other):
    f = identity(X)
    assert f(other) == "slow"
    assert f.slow[0][0][0] is other
    assert f.native_hits == 0


def test_equal_dtype_that_is_another_object():
    dtype = np.dtype(np.float32, metadata={"unit": "m"})
    x = X.astype(dtype)
    assert x.dtype is not X.dtype
    f = identity(X)
    np.testing.assert_array_equal(f(x)._value, X)
    assert not f.slow


def test_weak_and_strong(total):
    f = specialised(total, (1.0, 2.0), outs=[WEAK])
    assert f(1.0, Array(np.float32(2), True)).type == WEAK
    assert f(np.float32(1), 2.0) == "slow"
    assert f(1.0, Array(np.float32(2))) == "slow"
    broken = Array.__new__(Array)
    assert f(1.0, broken) == "slow"


def test_number_and_names_of_arguments(total):
    f = specialised(total, (1.0,), {"b": 2.0}, outs=[WEAK])
    name = "".join(["b"])  # equal to the name, maybe another object
    assert f(1.0, b=2.0).item() == f(1.0, **{name: 2.0}).item() == 3.0
    for args, kwargs in [
        ((1.0, 2.0), {}),
        ((1.0,), {}),
        ((), {"a": 1.0, "b": 2.0}),
        ((1.0,), {"c": 2.0}),
        ((1.0,), {"b": 2.0, "c": 1.0}),
        ((), {}),
    ]:
        assert f(*args, **kwargs) == "slow"
        assert f.slow[-1] == (args, kwargs)


def test_keywords_in_another_order():
    types = [WEAK, ArrayType((), np.int32, True)]
    f = specialised(copying(types), (), {"a": 1.0, "b": 2}, out=(0, 0))
    assert [x.item() for x in f(a=3.0, b=4)] == [3.0, 4]
    assert f(b=4, a=3.0) == "slow"
    add(f, *copying(types), (), {"b": 1, "a": 2.0}, out=(0, 0))
    assert [x.item() for x in f(b=4, a=3.0)] == [3.0, 4]
    assert [x.item() for x in f(a=3.0, b=4)] == [3.0, 4]
    assert len(f.slow) == 1


@pytest.mark.parametrize("count", [33, 300])
def test_many_arguments(count):
    args = tuple(float(i) for i in range(count))
    f = specialised(copying([WEAK] * count), args, out=[0.0] * count)
    assert [x.item() for x in f(*args)] == list(args)
    assert f.native_hits == 1
    names = {f"k{i}": 1 for i in range(40)}
    assert f(*args, 1, **names) == "slow"
    assert f.slow == [((*args, 1), names)]


def test_constants_come_first():
    constant = np.float32([5])
    entry, keep = load(SUM)
    f = Recorder()
    add(f, entry, (keep, constant), (1.0,), {}, [WEAK], constants=[constant.ctypes.data])
    assert f(2.0).item() == 7.0


def test_bare_values(total):
    f = specialised(total, (np.float32(1), 2.0), outs=[F32], out=(0,), raw=True)
    (out,) = f(np.float32(1), np.array(2, np.float32))
    assert type(out) is np.float32
    assert out == 3
    assert f(1.0, np.float32(2)) == "slow"


# -- trees -------------------------------------------------------------------------------------


TREES = [
    (1.0, 2.0),
    [1.0, [2.0], ()],
    {"b": 1.0, "a": {"c": 2.0, "b": None}},
    {"z": (1.0, [2.0, {"q": 3.0}]), "a": None, "m": {}},
    Pair(1.0, Pair([2.0], None)),
    None,
    (),
    [],
    {},
    ((((1.0,),),),),
]


@pytest.mark.parametrize("value", TREES, ids=str)
def test_trees_in_and_out(value):
    leaves, structure = tree.flatten(value)
    f = specialised(copying([WEAK] * len(leaves)), (value,), out=value)
    for _ in range(3):
        out = f(value)
        assert tree.structure(out) == structure
        assert [x.item() for x in tree.leaves(out)] == leaves
        assert type(out) is type(value)
    assert repr(out) == repr(tree.map(as_array, value))  # also the order of keys
    assert f.native_hits == 3
    for other in TREES:
        if tree.structure(other) != structure:
            assert f(other) == "slow"


def test_dictionaries():
    f = specialised(copying([WEAK, WEAK]), ({"a": 1.0, "b": 2.0},), out=[0, 0])
    key = "".join(["a"])
    assert [x.item() for x in f({key: 3.0, "b": 4.0})] == [3, 4]
    others = [
        {"b": 4.0, "a": 3.0},
        {"a": 3.0},
        {"a": 3.0, "b": 4.0, "c": 5.0},
        {"a": 3.0, "c": 4.0},
        {1: 3.0, "b": 4.0},
        collections.OrderedDict(a=1.0, b=2.0),
        collections.defaultdict(float, a=1.0, b=2.0),
    ]
    for other in others:
        assert f(other) == "slow"
    add(f, *copying([WEAK, WEAK]), ({"b": 4.0, "a": 3.0},), {}, out=[0, 0])
    assert [x.item() for x in f({"b": 4.0, "a": 3.0})] == [3, 4]


class Hostile(str):
    """A key that would run code while it is compared."""

    __slots__ = ()

    def __hash__(self):
        return hash("a")

    def __eq__(self, other):
        raise AssertionError("compared")


def test_hostile_keys_are_not_compared():
    f = specialised(copying([WEAK]), ({"a": 1.0},))
    assert f({Hostile("x"): 1.0}) == "slow"


@pytest.mark.parametrize(
    "value",
    [
        {1: 1.0},
        collections.OrderedDict(a=1.0),
        collections.deque([1.0]),
        wg.tree_util.Partial(max, 1.0),
    ],
    ids=lambda x: type(x).__name__,
)
def test_containers_for_python_only(value):
    f = Recorder()
    entry, keep = copying([WEAK])
    assert not add(f, entry, keep, (value,), {})
    assert f(value) == "slow"


def test_results_in_containers_for_python_only():
    value = [collections.OrderedDict(a=1.0), wg.tree_util.Partial(max, 2.0)]
    f = specialised(copying([WEAK, WEAK]), (1.0, 2.0), out=value)
    out = f(3.0, 4.0)
    assert tree.structure(out) == tree.structure(value)
    assert [x.item() for x in tree.leaves(out)] == [3.0, 4.0]
    assert f.native_hits == 1


class Picky(Pair):
    """A namedtuple that refuses what it is given."""

    __slots__ = ()

    def __new__(cls, first, second):
        if isinstance(second, Array) and second.item() < 0:
            raise ValueError("negative")
        return super().__new__(cls, first, second)


def test_exception_while_the_result_is_built():
    f = specialised(copying([WEAK] * 3), (0.0, 0.0, 0.0), out=[0.0, Picky(0.0, 0.0)])
    assert type(f(1.0, 2.0, 3.0)[1]) is Picky
    with pytest.raises(ValueError, match="negative"):
        f(1.0, 2.0, -3.0)
    assert not blocks_lost(lambda: raises(ValueError, f, 1.0, 2.0, -3.0))


# -- static arguments --------------------------------------------------------------------------


def twice(x):
    return 2 * x


class Frozen:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return hash(self.value)


@pytest.mark.parametrize(
    ("static", "same", "others"),
    [
        (3, [3], [4, True, 3.0, 2**70, "3"]),
        (10**9, [int("1000000000")], [10**9 + 1]),
        ("name", ["name", "".join(["na", "me"])], ["names", None, b"name"]),
        (None, [None], [0, False]),
        (True, [True], [1, False]),
        (twice, [twice], [max]),
        (np.dtype("f4"), [np.dtype("f4")], [np.dtype("f8"), np.float32]),
        (np.sin, [np.sin], [np.cos]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_static_arguments(static, same, others):
    f = specialised(copying([WEAK]), (static, 1.0), static={0})
    for x in same:
        assert f(x, 2.0).item() == 2.0
    for x in others:
        assert f(x, 2.0) == "slow"


def test_static_keyword():
    f = specialised(copying([WEAK]), (1.0,), {"mode": "clip"}, static={"mode"})
    assert f(2.0, mode="clip").item() == 2.0
    assert f(2.0, mode="wrap") == "slow"


def test_static_arguments_that_only_python_compares():
    entry, keep = copying([WEAK])
    assert not add(Recorder(), entry, keep, (Frozen(1), 1.0), {}, static={0})
    assert not add(Recorder(), entry, keep, ((1, Frozen(1)), 1.0), {}, static={0})
    assert add(Recorder(), entry, keep, ((1, "a"), 1.0), {}, static={0})


# -- several specialisations -------------------------------------------------------------------


def test_several():
    f = Recorder()
    values = [np.ones(n, np.float32) for n in range(10)]
    for x in values:
        assert add(f, *copying([as_array(x).type]), (x,), {})
    for x in values:
        assert f(x).shape == x.shape
    assert f.native_hits == 10
    f.forget_specialisations()
    f.forget_specialisations()
    assert f(values[0]) == "slow"
    assert f.native_hits == 10
    add(f, *copying([as_array(X).type]), (X,), {})
    f(X)
    assert f.native_hits == 11


def test_there_is_a_limit():
    f = Recorder()
    entry, keep = copying([])
    done = [add(f, entry, keep, (np.ones(n, np.float32),), {}, [], ()) for n in range(70)]
    assert done == [True] * native.MOST_SPECIALISATIONS + [False] * 6
    assert f(np.ones(0, np.float32)) == ()
    assert f(np.ones(69, np.float32)) == "slow"


# -- memory ------------------------------------------------------------------------------------


def raises(error, f, *args):
    try:
        f(*args)
    except error:
        return
    raise AssertionError("no error")


def blocks_lost(run, times=20000):
    """Whether blocks stay allocated after many runs, each time that is tried."""
    run()

    def grown():
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(times):
            run()
        gc.collect()
        return sys.getallocatedblocks() - before > times // 100

    return all(grown() for _ in range(3))  # caches elsewhere may grow once


def bytes_lost(run, times=3000):
    run()
    tracemalloc.start()
    for _ in range(100):
        run()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times):
        run()
    gc.collect()
    lost = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return lost > 8 * times


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
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20_000):
            out = f(X)
            assert out == "slow" or out.shape == (2, 3)
    finally:
        stop.set()
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
