"""Calls answered by machine code: guards, results, trees, static arguments."""

from __future__ import annotations

import collections

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
    copying,
    identity,
    load,
    raises,
    sample,
    specialised,
)

import wengert as wg
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array
from wengert.engines.native.runtime import callable as native

pytestmark = pytest.mark.skipif(not native.SUPPORTED, reason="calls stay in Python here")


@pytest.fixture(scope="module")
def total():
    return load(SUM)


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
