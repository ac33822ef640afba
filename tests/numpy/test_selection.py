"""Selection, sorting and sets against NumPy; sizes fixed under tracing; derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
CUBE = RNG.normal(size=(2, 3, 4))
TIES = RNG.integers(0, 3, (3, 5, 2))
ODD = np.array([1, np.nan, -np.inf, 3, np.nan, 0, -0.0, np.inf])


def equal(got, want, dtype=None):
    want = np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == (want.dtype if dtype is None else dtype)
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-13)


# -- where, select, piecewise ----------------------------------------------------------------


def test_where():
    mask = X > 0
    equal(wnp.where(mask, X, 2 * X), np.where(mask, X, 2 * X))
    equal(wnp.where(mask[:, :1], X, X[0]), np.where(mask[:, :1], X, X[0]))
    equal(wnp.where(wnp.array([0, 2]), 1.5, 2), np.array([2, 1.5], np.float32))
    assert wnp.where(wnp.array([0, 2]), 1.5, 2).weak_type
    equal(wnp.where(True, np.float16(1), 2), np.array(1, np.float16))
    assert wnp.where(mask, 1, np.int8(3)).dtype == np.int8
    equal(wengert.vmap(wnp.where)(mask, X, -X), np.abs(X))
    (found,) = wnp.where(wnp.array([0, 2, 0, 1]))
    equal(found, [1, 3], np.int32)
    with pytest.raises(TypeError, match="both x and y"):
        wnp.where(mask, X)
    with pytest.raises(TypeError, match="condition alone"):
        wnp.where(mask, X, X, size=3)
    with pytest.raises(errors.ShapeError, match="broadcast"):
        wnp.where(mask, X, X[:, :3])


def test_where_hides_the_other_side():
    root = wengert.grad(lambda x: wnp.where(x > 0, wnp.sqrt(x), 0.0))
    assert root(0.0) == 0
    assert root(4.0) == 0.25
    sinc = wengert.grad(lambda x: wnp.where(x != 0, wnp.sin(x) / x, 1.0))
    assert sinc(0.0) == 0
    logs = wengert.grad(lambda x: wnp.sum(wnp.where(x > 0, wnp.log(x), -1.0)))
    equal(logs(wnp.array([0.0, -1.0, 2.0])), np.array([0, 0, 0.5], np.float32))
    nested = wengert.grad(wengert.grad(lambda x: wnp.where(x > 0, x**2.5, 0.0)))
    assert nested(0.0) == 0
    assert np.isfinite(wengert.jacfwd(root)(0.0))
    wengert.check_grads(lambda a, b: wnp.where(X > 0, a, a * b), (X, X[0]), order=2)


def test_select():
    for default in (0, -1.5, X):
        want = np.select([X > 1, X > 0], [X, 2 * X], default)
        equal(wnp.select([X > 1, X > 0], [X, 2 * X], default), want)
    assert wnp.select([X > 1], [wnp.arange(4)], 1).dtype == np.int32
    wengert.check_grads(lambda a: wnp.select([X > 1, X > 0], [a, a**2]), (X,), order=2)
    with pytest.raises(ValueError, match="as many conditions"):
        wnp.select([X > 1], [X, X])
    with pytest.raises(ValueError, match="at least one"):
        wnp.select([], [])


def test_piecewise():
    def pieces(xp, x):
        return xp.piecewise(x, [x < 0, x > 1], [lambda v: -v, lambda v, k=3.0: k * v, 0.5])

    equal(pieces(wnp, wnp.asarray(X)), pieces(np, X))
    equal(wengert.jit(lambda x: pieces(wnp, x))(X), pieces(np, X))
    wengert.check_grads(lambda x: pieces(wnp, x), (X,), order=2)
    # the last condition that holds decides
    equal(wnp.piecewise(X, [X < 1, X > 0], [1, 2]), np.piecewise(X, [X < 1, X > 0], [1, 2]))
    equal(wnp.piecewise(X, X > 0, [wnp.sqrt]), np.where(X > 0, np.sqrt(np.abs(X)), 0))
    scaled = wnp.piecewise(X, [X > 0], [lambda v, k, s=1: v * k * s], 2.0, s=3)
    equal(scaled, np.where(X > 0, 6 * X, 0))
    equal(
        wnp.piecewise(wnp.array([1.0, 2.0]), [True, False], [5, 6]),
        np.array([5, 6], np.float32),
    )
    # unlike in NumPy, fractions are not cut off
    halves = wnp.piecewise(wnp.arange(3), [wnp.arange(3) > 1], [lambda v: v / 2, 0.5])
    equal(halves, np.array([0.5, 0.5, 1], np.float32))
    with pytest.raises(ValueError, match="2 functions, or one more"):
        wnp.piecewise(X, [X < 0, X > 1], [1])


# -- sorting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1, None])
@pytest.mark.parametrize("descending", [False, True])
def test_sort(axis, descending):
    def expected(a):
        out = np.sort(a, axis=axis)
        return np.flip(out, 0 if axis is None else axis) if descending else out

    def ranked(a):
        return np.argsort(-a if descending else a, axis=axis, kind="stable")

    def sort(a):
        return wnp.sort(a, axis=axis, descending=descending)

    def argsort(a):
        return wnp.argsort(a, axis=axis, descending=descending)

    for array in (CUBE, TIES):
        equal(sort(wnp.asarray(array)), expected(array))
        equal(argsort(wnp.asarray(array)), ranked(array), np.int32)
        equal(wengert.jit(argsort)(array), ranked(array), np.int32)
        batch = np.stack([array, array[::-1]])
        equal(wengert.vmap(sort)(batch), np.stack([expected(a) for a in batch]))
        equal(wengert.vmap(argsort)(batch), np.stack([ranked(a) for a in batch]), np.int32)
    wengert.check_grads(sort, (CUBE,), order=2)


def test_order_of_special_values():
    x = wnp.asarray(ODD)
    equal(wnp.sort(x), np.sort(ODD))
    equal(wnp.argsort(x), np.argsort(ODD, kind="stable"), np.int32)
    assert np.isnan(np.asarray(wnp.sort(x, descending=True))[:2]).all()
    z = np.array([1 + 2j, 1 - 1j, 0 + 5j, np.nan + 0j])
    equal(wnp.sort(wnp.asarray(z)), np.sort(z))
    for dtype in ("bool", "uint8", "int64", "float16", "bfloat16", "float32", "complex64"):
        values = wnp.array([3, 0, 2, 0, 1], "int32").astype(dtype)
        assert wnp.sort(values).dtype == values.dtype
        equal(wnp.argsort(values, dtype="int64"), np.argsort(np.asarray(values), kind="stable"))


def test_lexsort_partition_and_complex():
    keys = np.stack([RNG.integers(0, 3, 9) for _ in range(3)])
    equal(wnp.lexsort(keys), np.lexsort(keys), np.int32)
    equal(wnp.lexsort([keys[0], X.ravel()[:9]]), np.lexsort([keys[0], X.ravel()[:9]]), np.int32)
    equal(wnp.lexsort(TIES, axis=0), np.lexsort(TIES, axis=0), np.int32)
    for k in (0, 2, -1):
        partitioned = np.asarray(wnp.partition(CUBE, k, axis=1))
        at = partitioned.take([k], 1)
        equal(wnp.asarray(at), np.partition(CUBE, k, axis=1).take([k], 1))
        assert (partitioned[:, : k % 3] <= at).all()
        places = np.asarray(wnp.argpartition(CUBE, k, axis=1))
        np.testing.assert_array_equal(np.take_along_axis(CUBE, places, 1), partitioned)
    equal(wnp.sort_complex(X), np.sort_complex(X))


def test_searchsorted():
    ordered = np.sort(TIES.ravel()[:9].astype(float))
    queries = np.array([[0.5, 1, -1], [2, 7, np.nan]])
    for side in ("left", "right"):
        want = np.searchsorted(ordered, queries, side)
        equal(wnp.searchsorted(ordered, queries, side), want, np.int32)
        batched = wengert.vmap(lambda a: wnp.searchsorted(a, queries, side))(
            np.stack([ordered, ordered - 1])
        )
        equal(batched[1], np.searchsorted(ordered - 1, queries, side), np.int32)
    shuffled = RNG.permutation(ordered)
    order = np.argsort(shuffled, kind="stable")
    equal(
        wnp.searchsorted(shuffled, 1.0, sorter=order), np.searchsorted(ordered, 1.0), np.int32
    )
    assert wnp.searchsorted(wnp.arange(3), 1.5, method="sort") == 2


MISTAKES = [
    (lambda x: wnp.sort(x, kind="quicksort"), TypeError, "no kind="),
    (lambda x: wnp.argsort(x, order="a"), TypeError, "no order="),
    (lambda x: wnp.sort(x[0, 0]), errors.ShapeError, "out of bounds"),
    (lambda x: wnp.sort([2, 1]), TypeError, "Convert it first"),
    (lambda x: wnp.partition(x, 4), errors.ShapeError, "out of bounds"),
    (lambda x: wnp.lexsort([]), TypeError, "at least one key"),
    (lambda x: wnp.lexsort([x, x[0]]), errors.ShapeError, "one shape"),
    (lambda x: wnp.searchsorted(x, 1.0), errors.ShapeError, "sorted vector"),
    (lambda x: wnp.searchsorted(x[0], 1.0, side="middle"), ValueError, "'left' or 'right'"),
    (lambda x: wnp.searchsorted(x[0], 1.0, method="guess"), ValueError, "method must be"),
    (lambda x: wnp.isin(x, x, method="guess"), ValueError, "no method"),
    (lambda x: wnp.unique(x[:0], size=2), errors.ShapeError, "fill_value="),
    (lambda x: wnp.sort(x, out=x), TypeError, "unexpected keyword"),
]


@pytest.mark.parametrize("f, kind, message", MISTAKES)
def test_mistakes(f, kind, message):
    with pytest.raises(kind, match=message):
        f(wnp.asarray(X))


# -- sets ------------------------------------------------------------------------------------

SETS = {
    "ints": TIES[:, :, 0],
    "floats": np.round(CUBE[0], 0),
    "special": ODD,
    "empty": np.zeros(0),
    "bools": np.array([True, False, True]),
    "complex": np.array([1 + 1j, 1 - 1j, 1 + 1j]),
}


def filled(values, size, fill):
    if size <= len(values):
        return values[:size]
    rest = np.broadcast_to(fill, (size - len(values), *np.shape(values)[1:]))
    return np.concatenate([values, rest.astype(values.dtype)])


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("equal_nan", [True, False])
def test_unique(name, equal_nan):
    array = SETS[name]
    want = np.unique(array, True, True, True, equal_nan=equal_nan)
    got = wnp.unique(wnp.asarray(array), True, True, True, equal_nan=equal_nan)
    equal(wnp.unique(wnp.asarray(array), equal_nan=equal_nan), want[0])
    equal(got[0], want[0])
    for g, w in zip(got[1:], want[1:], strict=True):
        equal(g, w, np.int32)
    for size in (1, 3, 12):
        fills = [7] if array.size == 0 else [None, 7]
        for fill in fills:
            sized = wengert.jit(
                lambda a, n=size, f=fill: wnp.unique(
                    a, True, True, True, equal_nan=equal_nan, size=n, fill_value=f
                )
            )(array)
            equal(sized[0], filled(want[0], size, want[0][0] if fill is None else fill))
            if array.size:
                equal(sized[1], filled(want[1], size, want[1][0]), np.int32)
            equal(sized[2], want[2], np.int32)
            equal(sized[3], filled(want[3], size, 0), np.int32)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_unique_slices(axis):
    array = RNG.integers(0, 2, (5, 2, 3))
    want = np.unique(array, True, True, True, axis=axis)
    got = wnp.unique(wnp.asarray(array), True, True, True, axis=axis)
    equal(got[0], want[0])
    for g, w in zip(got[1:], want[1:], strict=True):
        equal(g, w.ravel(), np.int32)
    jitted = wengert.jit(lambda a: wnp.unique(a, axis=axis, size=2, fill_value=9))(array)
    moved = filled(np.moveaxis(want[0], axis, 0), 2, 9)
    equal(jitted, np.moveaxis(moved, 0, axis))
    assert wnp.unique(wnp.zeros((3, 0)), axis=0).shape == (1, 0)


def test_unique_results_by_name():
    x = np.array([3, 1, 3])
    every = wnp.unique_all(x)
    equal(every.values, [1, 3])
    equal(every.indices, [1, 0], np.int32)
    equal(every.inverse_indices, [1, 0, 1], np.int32)
    equal(every.counts, [1, 2], np.int32)
    equal(wnp.unique_counts(x).counts, [1, 2], np.int32)
    equal(wnp.unique_inverse(x).inverse_indices, [1, 0, 1], np.int32)
    equal(wnp.unique_values(x), [1, 3])
    gradient = wengert.grad(lambda a: wnp.sum(wnp.unique(a) ** 2))(wnp.array([3.0, 1.0, 3.0]))
    equal(gradient, np.array([6, 2, 0], np.float32))


A = RNG.integers(0, 6, 8)
B = RNG.integers(3, 9, 6)
OPERATIONS = ["union1d", "intersect1d", "setdiff1d", "setxor1d"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_set_operations(name):
    ours, theirs = getattr(wnp, name), getattr(np, name)
    for x, y in ((A, B), (A.reshape(2, 4), B * 1.5), (A, B[:0]), (A[:0], B), (A, A)):
        equal(ours(x, y), theirs(x, y))
    want = theirs(A, B)
    for size in (1, 12):
        got = wengert.jit(lambda x, y, n=size: ours(x, y, size=n, fill_value=-1))(A, B)
        equal(got, filled(want, size, -1))
    rest = 0 if name == "setdiff1d" else want[0]
    equal(ours(A, B, size=12), filled(want, 12, rest))
    batch = wengert.vmap(lambda x: ours(x, B, size=12, fill_value=-1))(
        np.stack([A, A[::-1] + 1])
    )
    equal(batch[1], filled(theirs(A + 1, B), 12, -1))
    with pytest.raises(errors.ConcretizationError, match="size="):
        wengert.jit(ours)(A, B)


def test_set_operations_with_indices_and_promises():
    for g, w in zip(
        wnp.intersect1d(A, B, return_indices=True),
        np.intersect1d(A, B, return_indices=True),
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(g), w)
    common = np.intersect1d(A, B)
    _, first, second = wnp.intersect1d(A, B, return_indices=True, size=12)
    assert (np.asarray(first)[len(common) :] == len(A)).all()
    assert (np.asarray(second)[len(common) :] == len(B)).all()
    distinct = np.array([4, 1, 3])
    equal(wnp.setdiff1d(distinct, np.array([3]), assume_unique=True), [4, 1])
    equal(wnp.setxor1d(distinct, np.array([3, 7]), assume_unique=True), [1, 4, 7])


def test_isin():
    for tests in (B, B[:0], B + 0.5):
        equal(wnp.isin(A.reshape(2, 4), tests), np.isin(A.reshape(2, 4), tests))
        equal(wnp.isin(A, tests, invert=True), np.isin(A, tests, invert=True))
    equal(wengert.jit(wnp.isin)(ODD, ODD[:3]), np.isin(ODD, ODD[:3]))
    batch = wengert.vmap(wnp.isin)(np.stack([A, A + 1]), np.stack([B, B]))
    equal(batch, np.stack([np.isin(A, B), np.isin(A + 1, B)]))
