"""Indexing against NumPy: random indices, updates, modes, traced positions, errors."""

from __future__ import annotations

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

CASES = 60


# -- random indices --------------------------------------------------------------------------


def random_slice(rng, n):
    def bound():
        return None if rng.random() < 0.4 else int(rng.integers(-n - 2, n + 3))

    step = None if rng.random() < 0.4 else int(rng.choice([-3, -2, -1, 1, 2, 3]))
    return slice(bound(), bound(), step)


def random_positions(rng, n, joint):
    """Positions whose shape broadcasts to `joint`."""
    shape = joint[rng.integers(0, len(joint) + 1) :]
    return rng.integers(-n, n, tuple(1 if rng.random() < 0.2 else k for k in shape))


def random_index(rng, shape):
    """An index of every kind that NumPy has: None, ellipsis, slices, numbers, masks, arrays."""
    parts, axis, dots = [], 0, False
    joint = tuple(rng.integers(1, 4, rng.integers(0, 3)))
    while axis < len(shape):
        n, kind = shape[axis], rng.integers(0, 9)
        if kind == 0:
            parts.append(None)
            continue
        if kind == 1 and rng.random() < 0.3:
            parts.append(bool(rng.integers(0, 2)))
            continue
        if kind == 2 and not dots:
            parts.append(...)
            dots = True
            axis += int(rng.integers(0, len(shape) - axis + 1))
            continue
        if kind == 3 and axis + 1 < len(shape):
            parts.append(rng.random(shape[axis : axis + 2]) < 0.4)
            axis += 2
            continue
        if kind == 4:
            parts.append(rng.random(n) < 0.4)
        elif kind == 5 and n:
            parts.append(int(rng.integers(-n, n)))
        elif kind in (6, 7) and n:
            parts.append(random_positions(rng, n, joint))
        else:
            parts.append(random_slice(rng, n))
        axis += 1
        if rng.random() < 0.1:
            break
    return parts[0] if len(parts) == 1 and rng.random() < 0.5 else tuple(parts)


def random_case(rng):
    """An array and an index that NumPy takes for it."""
    while True:
        sizes = rng.choice(
            [0, 1, 2, 3, 4], p=[0.05, 0.15, 0.25, 0.3, 0.25], size=rng.integers(0, 5)
        )
        x = rng.normal(size=tuple(int(n) for n in sizes))
        index = random_index(rng, x.shape)
        try:
            return x, index, np.array(x[index])
        except IndexError:
            continue


def is_positions(part):
    return isinstance(part, np.ndarray) and part.dtype != bool


def positions(index):
    """The arrays of positions in an index, and the index with others in their place."""
    parts = index if isinstance(index, tuple) else (index,)

    def rebuilt(arrays):
        rest = iter(arrays)
        out = tuple(next(rest) if is_positions(p) else p for p in parts)
        return out if isinstance(index, tuple) else out[0]

    return [p for p in parts if is_positions(p)], rebuilt


def shuffled(rng, arrays, count):
    """For each array, `count` arrays with its elements in other orders."""
    return [
        np.stack([rng.permutation(a.ravel()).reshape(a.shape) for _ in range(count)])
        for a in arrays
    ]


def equal(got, want, rtol=1e-10):
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(np.asarray(got), want, rtol=rtol, atol=1e-10)


@pytest.mark.parametrize("seed", range(CASES))
def test_random_reading(seed):
    rng = np.random.default_rng(seed)
    x, index, want = random_case(rng)
    array = wnp.asarray(x)
    arrays, rebuilt = positions(index)
    equal(array[index], want)
    equal(array.at[index].get(mode="clip"), want)
    equal(wengert.jit(lambda a, i: a[rebuilt(i)])(array, arrays), want)
    cotangent = rng.normal(size=want.shape)
    gradient = np.zeros(x.shape)
    np.add.at(gradient, index, cotangent)
    equal(wengert.vjp(lambda a: a[index], array)[1](wnp.asarray(cotangent))[0], gradient)
    equal(wengert.jvp(lambda a: a[index], (array,), (array,))[1], want)


@pytest.mark.parametrize("seed", range(CASES))
def test_random_reading_of_batches(seed):
    rng = np.random.default_rng(seed)
    x, index, _ = random_case(rng)
    axis = int(rng.integers(0, x.ndim + 1))
    xs = rng.normal(size=(3, *x.shape))
    batch = wnp.asarray(np.moveaxis(xs, 0, axis))
    got = wengert.vmap(lambda a: a[index], in_axes=axis)(batch)
    equal(got, np.stack([a[index] for a in xs]))
    arrays, rebuilt = positions(index)
    if arrays:
        batches = shuffled(rng, arrays, 3)
        got = wengert.vmap(lambda a, i: a[rebuilt(i)], in_axes=(axis, 0))(batch, batches)
        want = [xs[k][rebuilt([b[k] for b in batches])] for k in range(3)]
        equal(got, np.stack(want))
        got = wengert.vmap(lambda i: wnp.asarray(x)[rebuilt(i)])(batches)
        equal(got, np.stack([x[rebuilt([b[k] for b in batches])] for k in range(3)]))


UFUNCS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}


def update(name, x, index, values):
    out = np.array(x)
    if name == "set":
        out[index] = values
    else:
        UFUNCS[name].at(out, index, values)
    return out


def random_values(rng, shape):
    """Values that broadcast to a shape."""
    tail = shape[rng.integers(0, len(shape) + 1) :]
    return rng.normal(size=tuple(1 if rng.random() < 0.2 else n for n in tail))


@pytest.mark.parametrize("name", ["set", *UFUNCS])
@pytest.mark.parametrize("seed", range(CASES // 3))
def test_random_updates(seed, name):
    rng = np.random.default_rng(seed)
    x, index, selected = random_case(rng)
    values = random_values(rng, selected.shape)
    arrays, rebuilt = positions(index)

    def f(a, v, i=index):
        return getattr(a.at[i], name)(v)

    want = update(name, x, index, values)
    equal(f(wnp.asarray(x), wnp.asarray(values)), want)
    equal(wengert.jit(lambda a, v, i: f(a, v, rebuilt(i)))(x, values, arrays), want)
    xs, vs = rng.normal(size=(2, *x.shape)), rng.normal(size=(2, *values.shape))
    pairs = list(zip(xs, vs, strict=True))
    equal(wengert.vmap(f)(xs, vs), np.stack([update(name, a, index, v) for a, v in pairs]))
    if arrays:
        batches = shuffled(rng, arrays, 2)
        got = wengert.vmap(lambda a, v, i: f(a, v, rebuilt(i)))(xs, vs, batches)
        wants = [
            update(name, a, rebuilt([b[k] for b in batches]), v)
            for k, (a, v) in enumerate(pairs)
        ]
        equal(got, np.stack(wants))
    primals, tangents = (x, values), (rng.normal(size=x.shape), rng.normal(size=values.shape))
    difference = (
        update(name, x + 1e-6 * tangents[0], index, values + 1e-6 * tangents[1])
        - update(name, x - 1e-6 * tangents[0], index, values - 1e-6 * tangents[1])
    ) / 2e-6
    pushed = wengert.jvp(f, primals, tangents)[1]
    np.testing.assert_allclose(np.asarray(pushed), difference, rtol=1e-3, atol=1e-4)
    cotangent = rng.normal(size=x.shape)
    pulled = wengert.vjp(f, *primals)[1](wnp.asarray(cotangent))
    paired = sum(np.sum(np.asarray(p) * t) for p, t in zip(pulled, tangents, strict=True))
    np.testing.assert_allclose(paired, np.sum(np.asarray(pushed) * cotangent))


# -- modes -----------------------------------------------------------------------------------

X = np.arange(12.0).reshape(3, 4)
FAR = np.array([[5, -9], [1, -1]])


def test_modes_of_reading():
    x = wnp.asarray(X)
    clipped = X[:, [[3, 0], [1, 3]]]
    equal(x.at[:, FAR].get(mode="clip"), clipped)
    equal(wnp.take(x, FAR, axis=1, mode="clip"), clipped)
    equal(x.at[:, FAR].get(mode="wrap"), X[:, FAR % 4])
    filled = np.where((FAR >= -4) & (FAR < 4), X[:, FAR % 4], np.nan)
    equal(x.at[:, FAR].get(mode="fill"), filled)
    equal(x.at[:, FAR].get(mode="drop", fill_value=7), np.nan_to_num(filled, nan=7))
    equal(wnp.take(x, FAR, axis=1, mode="fill", fill_value=7), np.nan_to_num(filled, nan=7))
    equal(wengert.jit(lambda a, i: a.at[:, i].get(mode="fill"))(x, FAR), filled)
    assert x.at[5, 0].get(mode="fill", fill_value=3) == 3
    assert x.at[5, 0].get(mode="clip") == X[2, 0]
    gradient = wengert.grad(lambda a: wnp.nansum(a.at[:, FAR].get(mode="fill")))(x)
    equal(gradient, np.tile([0.0, 1, 0, 1], (3, 1)))
    with pytest.raises(ValueError, match="'clip', 'wrap'"):
        wnp.take(x, 0, mode="nearest")


def test_modes_of_writing():
    x = wnp.asarray(X)
    dropped = X.copy()
    dropped[:, [1, 3]] = -1
    equal(x.at[:, FAR].set(-1, mode="drop"), dropped)
    equal(wengert.jit(lambda a, i: a.at[:, i].set(-1, mode="drop"))(x, FAR), dropped)
    clipped = X.copy()
    np.add.at(clipped, (slice(None), [3, 0, 1, 3]), 1.0)
    equal(x.at[:, FAR].add(1, mode="clip"), clipped)
    equal(x.at[7].multiply(5, mode="drop"), X)
    equal(x.at[-7].max(99, mode="clip"), np.maximum(X, [[99], [0], [0]]))
    both = x.at[wnp.array([0, 8]), 1].set(wnp.array([5.0, 6.0]), mode="drop")
    assert both[0, 1] == 5
    gradient = wengert.grad(lambda v: wnp.sum(x.at[wnp.array([0, 8])].set(v, mode="drop")))
    equal(gradient(wnp.ones((2, 4))), [[1] * 4, [0] * 4])


# -- updates ---------------------------------------------------------------------------------


def test_power_and_apply():
    x = wnp.array([1.0, 2.0, 3.0])
    twice = wnp.array([1, 1, 2])
    equal(x.at[1:].power(2.0), [1, 4, 9])
    equal(x.at[twice].power(2.0), [1, 16, 9])
    equal(x.at[twice].apply(lambda v: v + 10), [1, 22, 13])
    equal(wengert.jit(lambda a, i: a.at[i].apply(lambda v: v + 10))(x, twice), [1, 22, 13])
    equal(x.at[twice].apply(lambda v: v + 10, unique_indices=True), [1, 12, 13])
    equal(x.at[x > 1].apply(wnp.negative), [1, -2, -3])
    equal(x.at[:].apply(wnp.sqrt), np.sqrt([1.0, 2, 3]).astype(np.float32), rtol=1e-6)
    equal(x.at[wnp.array([5])].apply(wnp.negative, mode="drop"), [1, 2, 3])
    gradient = wengert.grad(lambda a: wnp.sum(a.at[0].apply(wnp.log)))
    equal(gradient(wnp.array([0.5, 0.0])), [2, 1])


def test_traced_masks_in_updates():
    x = wnp.asarray(X)
    mask = wnp.asarray(X > 4)
    for name in ("set", "add", "multiply", "min", "divide", "power"):
        masked = wengert.jit(lambda a, m, name=name: getattr(a.at[m], name)(2.0))
        equal(masked(x, mask), np.asarray(getattr(x.at[mask], name)(2.0)))
    rows = wnp.asarray(X[:, 0] > 3)
    update_rows = wengert.jit(lambda a, m, v: a.at[m].set(v))
    equal(update_rows(x, rows, X[:1]), np.where(X[:, :1] > 3, X[:1], X))
    halved = wengert.jit(lambda a, m: a.at[m].apply(lambda v: v / 2))
    equal(halved(x, mask), np.where(X > 4, X / 2, X))
    with pytest.raises(errors.ShapeError, match="number of updates is unknown"):
        update_rows(x, mask, X[0])
    with pytest.raises(errors.ArrayIndexError, match="does not fit"):
        update_rows(x, wnp.array([True]), 0.0)


def test_dtypes_of_updates():
    ints = wnp.arange(3)
    assert ints.at[0].set(2.0).dtype == np.int32
    assert ints.at[0].divide(2).dtype == np.float32
    assert wnp.ones(2).at[0].set(np.float64(3)).dtype == np.float32
    assert (ints > 0).at[0].set(1).dtype == np.bool_
    assert ints.at[0].set(wnp.array(True)).dtype == np.int32
    with pytest.raises(errors.DTypeError, match="float32 do not fit"):
        ints.at[0].set(1.5)
    with pytest.raises(errors.DTypeError, match="float32 do not fit"):
        wengert.jit(lambda a, v: a.at[0].add(v))(ints, 1.0)
    with pytest.raises(errors.DTypeError, match="complex64 do not fit"):
        wnp.ones(2).at[0].set(1j)
    with pytest.raises(OverflowError):
        ints.astype("int8").at[0].set(300)
    with pytest.raises(OverflowError):
        ints.astype("int8").at[0].set(wnp.array([300])[0])
    for dtype in ("float16", "bfloat16", "complex64", "uint8", "int64", "bool"):
        x = wnp.zeros(3, dtype)
        y = x.at[wnp.array([0, 2])].set(1).at[1].add(1)
        assert y.dtype == x.dtype
        assert bool((y == wnp.ones(3, dtype)).all())


def test_updates_keep_weakness():
    x = wnp.asarray(1.0)
    assert x.weak_type
    assert x.at[()].set(2).weak_type
    assert wnp.broadcast_to(x, (3,))[wnp.array([0, 1])].weak_type
    traced = wengert.eval_shape(
        lambda a: a.at[wnp.array([0])].add(1), wnp.broadcast_to(x, (3,))
    )
    assert traced.weak_type
    assert not wnp.ones(3).at[0].set(2.0).weak_type


# -- errors ----------------------------------------------------------------------------------

MISTAKES = [
    (lambda x: x[3], errors.ArrayIndexError, "index 3 is out of bounds for axis 0 with size 3"),
    (lambda x: x[0, -5], errors.ArrayIndexError, "index -5 .* axis 1 with size 4"),
    (
        lambda x: x[:, wnp.array([1, 9])],
        errors.ArrayIndexError,
        "index 9 .* axis 1 with size 4",
    ),
    (lambda x: x.at[3].set(0), errors.ArrayIndexError, "index 3 .* axis 0 with size 3"),
    (lambda x: x.at[0, wnp.array([4])].add(0), errors.ArrayIndexError, "index 4 .* axis 1"),
    (lambda x: wnp.take(x, 12), errors.ArrayIndexError, "index 12 .* size 12"),
    (lambda x: x[0, 0, 0], errors.ArrayIndexError, "too many indices"),
    (lambda x: x[..., ...], errors.ArrayIndexError, "one ellipsis"),
    (lambda x: x[np.array([True, False])], errors.ArrayIndexError, "mask of shape"),
    (lambda x: x[[0, 1]], TypeError, "a list is no index"),
    (lambda x: x.at[[0, 1]].set(0), TypeError, "a list is no index"),
    (lambda x: x[0.5], TypeError, "0.5 of type float is no index"),
    (lambda x: x["a"], TypeError, "of type str is no index"),
    (lambda x: x[wnp.array([1.0])], TypeError, "no index"),
    (lambda x: x[1:2.5], TypeError, "float"),
    (lambda x: x[wnp.array([0, 1]), wnp.array([0, 1, 2])], errors.ShapeError, "broadcast"),
    (lambda x: x.at[0].set(wnp.ones(3)), errors.ShapeError, "cannot broadcast"),
    (lambda x: x.at[0].set(wnp.ones((1, 4))), errors.ShapeError, "cannot broadcast"),
    (lambda x: x.at[0].set(1, mode="nearest"), ValueError, "mode must be one of"),
    (lambda x: x.at[0].set(1, out=x), TypeError, "unexpected keyword"),
]


@pytest.mark.parametrize("f, kind, message", MISTAKES)
def test_mistakes(f, kind, message):
    x = wnp.asarray(X)
    with pytest.raises(kind, match=message):
        f(x)
    with pytest.raises(kind, match=message):
        wengert.jit(f)(x)
    with pytest.raises(kind, match=message):
        wengert.grad(lambda a: wnp.sum(f(a)))(x)


def test_bounds_of_traced_positions():
    x = wnp.asarray(X)
    for f in (lambda a, i: a[i], lambda a, i: a.at[i].set(0.0), lambda a, i: wnp.take(a, i, 0)):
        assert wengert.jit(f)(x, -1).size
        with pytest.raises(IndexError, match="index 3 is out of bounds for axis 0 with size 3"):
            wengert.jit(f)(x, 3)
        with pytest.raises(IndexError, match="out of bounds"):
            wengert.vmap(f, in_axes=(None, 0))(x, wnp.array([0, -4]))


def test_what_must_be_concrete():
    x = wnp.asarray(X)
    with pytest.raises(errors.ConcretizationError, match="where"):
        wengert.jit(lambda a: a[a > 2])(x)
    with pytest.raises(errors.ConcretizationError, match="dynamic_slice"):
        wengert.jit(lambda a, i: a[i : i + 2])(x, 1)
    equal(wengert.grad(lambda a: wnp.sum(a[a > 2]))(x), X > 2)


def test_lists_and_numbers_inside_indices():
    x = wnp.asarray(X)
    equal(x[[0, 2], :], X[[0, 2], :])
    equal(x[:, []], X[:, []])
    equal(x[np.int64(1), wnp.array(2)], X[1, 2])
    equal(x[wnp.array(1) :], X[1:])
    equal(wengert.jit(lambda a, i: a[[i, 0], 1])(x, 2), X[[2, 0], 1])
    assert isinstance(x[0, 0]._value, np.generic)
    assert isinstance(x[..., 0, 0]._value, np.generic)


# -- functions -------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
V = RNG.normal(size=5)
I5 = np.array([4, 0, -2])
CUBE = RNG.normal(size=(2, 3, 4))
ALONG = RNG.integers(-3, 3, (2, 2, 4))
FUNCTIONS = {
    "take": (lambda xp, a: xp.take(a, I5), CUBE),
    "take_axis": (lambda xp, a: xp.take(a, np.array([[2, -1]]), axis=1), CUBE),
    "take_along_axis": (lambda xp, a: xp.take_along_axis(a, ALONG, axis=1), CUBE),
    "take_along_row": (lambda xp, a: xp.take_along_axis(a, ALONG[:1], axis=1), CUBE),
    "take_along_flat": (lambda xp, a: xp.take_along_axis(a, I5, axis=None), CUBE),
    "choose": (lambda xp, a: xp.choose(np.array([1, 0, 1, 0]), [a[0, 0], 2.0 * a[1, 1]]), CUBE),
    "choose_wrap": (
        lambda xp, a: xp.choose(np.array([5, -1, 0, 1]), [a[0, 0], a[1, 1]], mode="wrap"),
        CUBE,
    ),
    "compress": (lambda xp, a: xp.compress(np.array([True, False, True]), a, axis=1), CUBE),
    "compress_flat": (lambda xp, a: xp.compress(np.array([0, 1, 1]), a), CUBE),
    "extract": (lambda xp, a: xp.extract(CUBE > 0, a), CUBE),
    "apply_along_axis": (
        lambda xp, a: xp.apply_along_axis(lambda v: xp.stack([v[0], v[1] * v[2]]), 1, a),
        CUBE,
    ),
    "apply_along_scalar": (lambda xp, a: xp.apply_along_axis(lambda v: v[-1], 0, a), CUBE),
    "apply_over_axes": (lambda xp, a: xp.apply_over_axes(xp.sum, a, (0, -1)), CUBE),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_against_numpy(name):
    f, x = FUNCTIONS[name]
    equal(f(wnp, wnp.asarray(x)), f(np, x))
    equal(wengert.jit(lambda a: f(wnp, a))(x), f(np, x))
    batch = np.stack([x, -2 * x])
    equal(wengert.vmap(lambda a: f(wnp, a))(batch), np.stack([f(np, a) for a in batch]))
    wengert.check_grads(lambda a: f(wnp, a), (wnp.asarray(x),), order=1)


def in_place(function):
    def applied(x, *args):
        out = np.array(x)
        function(out, *args)
        return out

    return applied


WRITERS = {
    "put": (wnp.put, in_place(np.put), (np.array([0, 5, -7]), V[:2])),
    "put_along_axis": (
        lambda a, i, v, **kw: wnp.put_along_axis(a, i, v, 1, **kw),
        in_place(lambda a, i, v: np.put_along_axis(a, i, v, 1)),
        (np.array([[[0, 1, 2, 0]], [[1, 1, 2, 2]]]), V[0]),
    ),
    "put_along_flat": (
        lambda a, i, v, **kw: wnp.put_along_axis(a, i, v, None, **kw),
        in_place(lambda a, i, v: np.put_along_axis(a, i, v, None)),
        (np.array([3, 20]), V[:2]),
    ),
    "place": (wnp.place, in_place(np.place), (CUBE > 0, V[:3])),
}


@pytest.mark.parametrize("name", WRITERS)
def test_writers_against_numpy(name):
    ours, theirs, args = WRITERS[name]
    want = theirs(CUBE, *args)
    equal(ours(wnp.asarray(CUBE), *args, inplace=False), want)
    equal(wengert.jit(lambda a, i, v: ours(a, i, v, inplace=False))(CUBE, *args), want)
    wengert.check_grads(
        lambda a, v: ours(a, args[0], v, inplace=False), (CUBE, np.asarray(args[1])), order=1
    )
    with pytest.raises(ValueError, match="inplace=False"):
        ours(wnp.asarray(CUBE), *args)


@pytest.mark.parametrize(
    "shape, wrap", [((5, 2), False), ((5, 2), True), ((2, 5), False), ((3,) * 3, False)]
)
def test_fill_diagonal(shape, wrap):
    for values in (7.0, V[:2]):
        want = np.zeros(shape)
        np.fill_diagonal(want, values, wrap=wrap)
        equal(wnp.fill_diagonal(np.zeros(shape), values, wrap, inplace=False), want)
    with pytest.raises(errors.ShapeError):
        wnp.fill_diagonal(wnp.zeros(3), 1, inplace=False)
    with pytest.raises(errors.ShapeError):
        wnp.fill_diagonal(wnp.zeros((2, 3, 2)), 1, inplace=False)


def test_nonzero():
    m = RNG.integers(0, 3, (3, 4))
    x = wnp.asarray(m)
    for got, want in zip(wnp.nonzero(x), np.nonzero(m), strict=True):
        equal(got, want)
        assert got.dtype == np.int32
    equal(wnp.flatnonzero(x), np.flatnonzero(m))
    equal(wnp.argwhere(x), np.argwhere(m))
    assert wnp.argwhere(wnp.array(3.0)).shape == (1, 0)
    count = np.count_nonzero(m)
    for size in (2, count, 12):
        for fills in (None, -1, (-1, 7)):
            got = wengert.jit(lambda a, n=size, f=fills: wnp.nonzero(a, size=n, fill_value=f))(
                x
            )
            fill = fills if isinstance(fills, tuple) else (fills or 0,) * 2
            for g, w, f in zip(got, np.nonzero(m), fill, strict=True):
                equal(
                    g, np.concatenate([w, np.full(12, f)])[:size] if size > count else w[:size]
                )
    padded = wengert.vmap(lambda row: wnp.flatnonzero(row, size=4, fill_value=-1))(x)
    equal(
        padded,
        np.stack(
            [
                np.pad(np.flatnonzero(r), (0, 4 - np.count_nonzero(r)), constant_values=-1)
                for r in m
            ]
        ),
    )
    for f in (wnp.nonzero, wnp.flatnonzero, wnp.argwhere, wnp.where):
        with pytest.raises(errors.ConcretizationError, match="size="):
            wengert.jit(f)(x)
    with pytest.raises(errors.ShapeError, match="atleast_1d"):
        wnp.nonzero(wnp.array(1.0))


def test_sized_compress():
    x, mask = wnp.asarray(CUBE), wnp.array([True, False, True])
    got = wengert.jit(lambda m, a: wnp.compress(m, a, axis=1, size=3, fill_value=9))(mask, x)
    equal(got, np.concatenate([CUBE[:, ::2], np.full((2, 1, 4), 9.0)], axis=1))
    equal(wnp.extract(mask, x[0, :, 0], size=1), CUBE[0, :1, 0])
    with pytest.raises(errors.ArrayIndexError):
        wnp.compress(wnp.ones(4), x, axis=1)


def test_ix():
    rows, columns = wnp.ix_(np.array([0, 2]), np.array([True, False, True, True]))
    equal(wnp.asarray(X)[rows, columns], X[np.ix_([0, 2], [0, 2, 3])])


def test_unravel_and_ravel():
    flat = RNG.integers(-24, 24, (3, 2))
    want = np.unravel_index(flat % 24, (2, 3, 4))
    for f in (wnp.unravel_index, wengert.jit(wnp.unravel_index, static_argnums=1)):
        for got, w in zip(f(flat, (2, 3, 4)), want, strict=True):
            equal(got, w)
        with pytest.raises(IndexError, match="out of bounds"):
            f(np.array([0, 24]), (2, 3, 4))
    near = tuple(RNG.integers(0, n, 5) for n in (2, 3, 4))
    far = tuple(RNG.integers(-9, 9, 5) for _ in range(3))
    for order in "CF":
        equal(
            wnp.ravel_multi_index(near, (2, 3, 4), order=order),
            np.ravel_multi_index(near, (2, 3, 4), order=order),
        )
        for mode in ("clip", "wrap", ("wrap", "clip", "wrap")):
            equal(
                wnp.ravel_multi_index(far, (2, 3, 4), mode, order),
                np.ravel_multi_index(far, (2, 3, 4), mode, order),
            )
    for i in (2, -1):
        with pytest.raises(IndexError, match="out of bounds"):
            wengert.jit(lambda j: wnp.ravel_multi_index((j, 0), (2, 3)))(i)


def test_vectorize():
    a, b = wnp.asarray(CUBE), wnp.asarray(V[:4])
    equal(wnp.vectorize(lambda u, w: u * w)(a, b), CUBE * V[:4])
    dot = wnp.vectorize(wnp.dot, signature="(n, m), (m) -> (n)")
    equal(dot(a, a[:, 0][:, None]), np.einsum("inm,jm->jin", CUBE, CUBE[:, 0]))
    pair = wnp.vectorize(lambda k, u, *, s: (u * k * s, u + s), excluded={0, "s"})
    first, second = pair(2, a, s=3)
    equal(first, 6 * CUBE)
    equal(second, CUBE + 3)
    fixed = wnp.vectorize(lambda v: v[0] + v[1], signature="(2)->()")
    equal(fixed(wnp.ones((5, 2))), np.full(5, 2.0))
    wengert.check_grads(dot, (a, b), order=1)
    with pytest.raises(ValueError, match="no signature"):
        wnp.vectorize(wnp.dot, signature="(n,(n)->()")
    with pytest.raises(errors.ShapeError, match="core dimension 'm' has size 4"):
        dot(a, wnp.ones(3))
    with pytest.raises(errors.ShapeError, match="does not have the core dimensions"):
        wnp.vectorize(lambda v: v, signature="(n)->()")(wnp.ones(3))
    with pytest.raises(TypeError, match="2 arguments, but 1"):
        dot(a)
    with pytest.raises(errors.ShapeError, match="fewer than its core"):
        fixed(1.0)
