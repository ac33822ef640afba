"""`lax.associative_scan` against loops, for sizes of every parity."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax

RNG = np.random.default_rng(0)
MATRICES = RNG.normal(size=(9, 3, 3)) / 2


def loop(fn, elems, reverse=False):
    """Running combinations along axis 0, one after the other."""
    ordered = elems[::-1] if reverse else elems
    out = []
    for x in ordered:
        out.append(x if not out else fn(out[-1], x))
    return np.stack(out[::-1] if reverse else out)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_matrix_products(size, reverse):
    got = lax.associative_scan(wnp.matmul, MATRICES[:size], reverse=reverse)
    np.testing.assert_allclose(got, loop(np.matmul, MATRICES[:size], reverse), rtol=1e-12)


@pytest.mark.parametrize("size", [0, 1, 2, 17, 31, 64, 100])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.bool_])
def test_running_reductions(size, axis, dtype):
    shape = [2, 2, 2]
    shape[axis] = size
    x = (RNG.normal(size=shape) * 3).astype(dtype)
    fn, ufunc = (
        (wnp.logical_or, np.logical_or) if dtype is np.bool_ else (wnp.maximum, np.maximum)
    )
    got = lax.associative_scan(fn, x, axis=axis)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, ufunc.accumulate(x, axis))
    got = lax.associative_scan(fn, x, reverse=True, axis=axis)
    expected = np.flip(ufunc.accumulate(np.flip(x, axis), axis), axis)
    np.testing.assert_array_equal(got, expected)


def affine(a, b):
    """Composition of the maps `x -> m x + s`, the first one first."""
    return {"m": b["m"] * a["m"], "s": b["m"] * a["s"] + b["s"]}


def test_trees():
    """A linear recurrence, as the composition of its steps."""
    m, s = RNG.normal(size=(2, 13))
    got = lax.associative_scan(affine, {"m": m, "s": s})["s"]
    x, expected = 0.0, []
    for a, b in zip(m, s, strict=True):
        x = a * x + b
        expected.append(x)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert lax.associative_scan(affine, {"m": None, "s": None}) == {"m": None, "s": None}


def test_special_values_stay():
    x = np.array([-0.0, np.nan, -0.0, np.inf, -0.0])
    got = np.asarray(lax.associative_scan(lambda a, b: b, x))
    np.testing.assert_array_equal(got, x)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(x))


def test_combinations_are_few():
    """About two per element, not one per pair of elements."""
    done = []

    def add(a, b):
        done.append(a.size)
        return a + b

    lax.associative_scan(add, np.ones(1024))
    assert sum(done) < 2 * 1024
    assert len(done) < 2 * 11


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_transformations(size):
    x = MATRICES[:size]
    scan = functools.partial(lax.associative_scan, wnp.matmul)
    total = lambda x: wnp.sum(wnp.sin(scan(x)))

    def unrolled(x):
        products = [x[0]]
        for i in range(1, size):
            products.append(products[-1] @ x[i])
        return wnp.sum(wnp.sin(wnp.stack(products)))

    for way in (
        wg.grad,
        lambda f: wg.jit(wg.grad(f)),
        lambda f: lambda x: wg.grad(wg.jit(f))(x),
        lambda f: lambda x: wg.jvp(f, (x,), (x,))[1],
        lambda f: lambda x: wg.jvp(wg.grad(f), (x,), (x,))[1],
        lambda f: lambda x: wg.vmap(wg.grad(f))(wnp.stack([x, -x])),
        lambda f: wg.grad(wg.checkpoint(f)),
    ):
        np.testing.assert_allclose(way(total)(x), way(unrolled)(x), rtol=1e-9, atol=1e-12)
    wg.check_grads(total, (x,), order=2)


def test_scan_along_any_axis_is_batched():
    x = RNG.normal(size=(4, 3, 6))
    got = wg.vmap(lambda y: lax.associative_scan(wnp.add, y, axis=1), in_axes=1)(x)
    np.testing.assert_allclose(got, np.cumsum(x, 2).swapaxes(0, 1), rtol=1e-12)


def test_errors():
    with pytest.raises(TypeError, match="needs a function"):
        lax.associative_scan(1, MATRICES)
    with pytest.raises(errors.ShapeError, match="one size"):
        lax.associative_scan(affine, {"m": np.ones(3), "s": np.ones(4)})
    with pytest.raises(errors.ShapeError, match="like those it is given"):
        lax.associative_scan(lambda a, b: (a + b)[:1], np.ones(5))
    with pytest.raises(errors.TreeError):
        lax.associative_scan(lambda a, b: (a, b), np.ones(5))
    with pytest.raises(errors.AxesError, match="2 dimensions"):
        lax.associative_scan(wnp.add, np.ones((2, 2)), axis=2)
