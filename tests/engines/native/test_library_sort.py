"""Sorting of the native library: the eager engine's results, bit by bit."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.machine import Target
from wengert.primitives.sort import searchsorted, sort, top_k

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
REAL = [d for d in dtypes.SUPPORTED if not dtypes.is_complex(d)]


def check(primitive, *operands, target="host", **params):
    out = run(primitive, *operands, target=TARGETS[target], **params)
    assert_same(out, expected(primitive, *operands, **params))


def elements(dtype, shape, seed=10):
    rng = np.random.default_rng(seed)
    if dtypes.kind(dtype) == "b":
        return rng.random(shape) < 0.5
    if dtypes.is_integer(dtype):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    x = np.round(rng.normal(size=shape) * 20) / 4
    flat = x.reshape(-1)
    flat[::7] = rng.choice([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], flat[::7].size)
    return x.astype(dtype)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("primitive", [sort, top_k, searchsorted], ids=str)
def test_samples(primitive, target):
    for sample in primitive.samples():
        check(primitive, *sample.args, target=target, **sample.params)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_sort_with_positions(dtype):
    for shape, axis in (((3, 10), 1), ((500,), 0), ((40, 6), 0), ((1, 3), 0), ((2, 70, 3), 1)):
        x = elements(dtype, shape)
        places = np.arange(x.size, dtype=np.int32).reshape(shape)
        check(sort, x, places, dimension=axis)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_sort_values(dtype):
    x = elements(dtype, (2, 300))
    (out,) = run(sort, x, dimension=1)
    (wanted,) = expected(sort, x, dimension=1)
    np.testing.assert_array_equal(out.astype(np.float64), wanted.astype(np.float64))


@pytest.mark.parametrize("count", [2, 3])
def test_several_keys(count):
    rng = np.random.default_rng(11)
    for size in (7, 90):
        keys = [rng.integers(0, 3, (4, size)).astype(t) for t in ("int8", "float32", "uint16")]
        payload = rng.normal(size=(4, size)) + 1j * rng.normal(size=(4, size))
        check(sort, *keys[:count], payload, dimension=1, num_keys=count)
        check(sort, *keys[:count], payload.T.copy().T, dimension=0, num_keys=count)


def test_many_rows_and_a_long_row():
    check(sort, elements(np.dtype("int64"), (300, 80)), dimension=1)
    x = elements(np.dtype("float32"), (70000,))
    check(sort, x, np.arange(70000), dimension=0)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_top_k(dtype):
    x = elements(dtype, (3, 100))
    for k in (1, 2, 31, 33, 100):
        check(top_k, x, k=k)
    check(top_k, x[:, :9].copy(), k=9)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_searchsorted(dtype):
    ordered = expected(sort, elements(dtype, (5, 37)), dimension=1)[0]
    query = elements(dtype, (5, 4, 3), seed=12)
    for side, n in itertools.product(("left", "right"), (1, 2, 3, 8, 37)):
        check(searchsorted, ordered[:, -n:].copy(), query, side=side)
        check(searchsorted, ordered[0, -n:].copy(), query, side=side)


def test_empty():
    check(sort, np.zeros((3, 0)), dimension=1)
    check(sort, np.zeros((0, 3)), dimension=1)
    check(top_k, np.zeros((3, 4)), k=0)
    check(searchsorted, np.zeros((2, 0)), np.zeros((2, 3)), side="left")
    check(searchsorted, np.zeros((0, 2)), np.zeros((0, 3)), side="left")
