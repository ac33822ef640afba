"""Reading and writing at computed positions against the eager engine, bit by bit."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.machine import Target
from wengert.primitives.dynamic import dynamic_slice, dynamic_update_slice, slice_positions
from wengert.primitives.index import gather, scatter, scatter_add, scatter_winners
from wengert.primitives.scatter import scatter_max, scatter_min, scatter_mul, scatter_order

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
SCATTERS = [scatter, scatter_add, scatter_mul, scatter_min, scatter_max]
OTHERS = [gather, dynamic_slice, dynamic_update_slice, slice_positions, scatter_winners]
OTHERS += [scatter_order]


def check(primitive, *operands, target="host", **params):
    out = run(primitive, *operands, target=TARGETS[target], **params)
    if out is None:
        assert any(np.iscomplexobj(x) for x in operands)
        return
    assert_same(out, expected(primitive, *operands, **params))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("primitive", [*SCATTERS, *OTHERS], ids=str)
def test_samples(primitive, target):
    for sample in primitive.samples():
        check(primitive, *sample.args, target=target, **sample.params)


@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=lambda d: d.name)
@pytest.mark.parametrize("primitive", SCATTERS, ids=str)
def test_dtypes(primitive, dtype):
    rng = np.random.default_rng(4)
    x, updates = (rng.integers(-9, 9, s).astype(dtype) for s in ((7, 20), (30, 20)))
    if dtypes.is_floating(dtype):
        updates[3, 2], x[1, 1], updates[4] = np.nan, np.nan, -0.0
    index = rng.integers(-7, 7, 30)
    check(primitive, x, updates, index, axes=(0,), mode="error")
    check(primitive, x.T.copy(), updates.T.copy().T, index, axes=(1,), mode="error")


@pytest.mark.parametrize("primitive", SCATTERS, ids=str)
def test_modes_and_index_dtypes(primitive):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4, 3, 5))
    for mode, dtype in itertools.product(
        ("clip", "wrap", "drop"), ("int8", "uint8", "int32", "int64", "uint32")
    ):
        low = 0 if dtype.startswith("u") else -12
        i, j = (rng.integers(low, 12, s).astype(dtype) for s in ((6, 1), (4,)))
        check(primitive, x, rng.normal(size=(6, 4, 3)), i, j, axes=(2, 0), mode=mode)


@pytest.mark.parametrize("primitive", SCATTERS, ids=str)
def test_out_of_bounds_is_an_error(primitive):
    x = np.zeros((4, 2))
    for bad in (4, -5):
        with pytest.raises(IndexError):
            run(primitive, x, np.ones((2, 2)), np.array([0, bad]), axes=(0,), mode="error")


def test_single_positions_and_whole_arrays():
    x = np.arange(6.0)
    for primitive in SCATTERS:
        check(primitive, x, np.float64(2.5), np.int64(-1), axes=(0,))
        check(primitive, x, x[::-1].copy(), np.arange(6), axes=(0,))
        check(primitive, np.zeros((2, 0)), np.zeros((3, 0)), np.array([0, 1, 1]), axes=(0,))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_gathers(dtype):
    rng = np.random.default_rng(6)
    x = (rng.normal(size=(4, 5, 6)) + 1j * rng.normal(size=(4, 5, 6))).astype(dtype)
    i, j = np.array([1, -1, 2]), np.array([[0], [4]])
    for mode in ("error", "clip", "wrap", "fill"):
        check(gather, x, i * 3 if mode == "fill" else i, axes=(1,), mode=mode)
        check(gather, x, i, j, axes=(2, 1), mode=mode)
    check(dynamic_slice, x, *map(np.int32, (1, -4, 2)), slice_sizes=(2, 3, 2), mode="error")


def test_windows_out_of_bounds():
    x = np.arange(12.0).reshape(3, 4)
    for starts in ((2, 0), (0, 3), (-4, 0)):
        starts = [np.int32(s) for s in starts]
        with pytest.raises(IndexError):
            run(dynamic_slice, x, *starts, slice_sizes=(2, 2), mode="error")
        with pytest.raises(IndexError):
            run(dynamic_update_slice, x, np.ones((2, 2)), *starts, mode="error")
        check(dynamic_slice, x, *starts, slice_sizes=(2, 2), mode="clip")
        check(dynamic_update_slice, x, np.ones((2, 2)), *starts, mode="clip")
    with pytest.raises(IndexError):
        run(slice_positions, np.array([0, 2]), length=2, limit=3, axis=0, mode="error")


@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=lambda d: d.name)
def test_winners_and_updates_of_all_dtypes(dtype):
    index = np.array([2, 0, 2, -1, 5, 1])
    check(scatter_winners, index, sizes=(6,), mode="error", dtype=dtype)
    check(scatter_winners, index, sizes=(3,), mode="drop", dtype=dtype)
    x = np.arange(40).reshape(5, 8).astype(dtype)
    start = np.int8(1), np.int64(2)
    check(dynamic_update_slice, x, x[:3, :5] + x[:3, :5], *start, mode="error")


def test_orders_of_many_updates():
    rng = np.random.default_rng(21)
    i, j = rng.integers(-5, 5, (2, 3, 40))
    for mode in ("error", "clip", "drop"):
        for batch_dims in (0, 1):
            params = {"sizes": (5, 6), "mode": mode, "batch_dims": batch_dims}
            check(scatter_order, i, j * (1 if mode == "error" else 2), **params)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "float16", "uint8"])
def test_many_updates(dtype):
    rng = np.random.default_rng(24)
    for size, row, count in ((7, (), 40001), (50, (300,), 200), (3, (7, 64), 200)):
        x, updates = (rng.integers(0, 3, (n, *row)).astype(dtype) for n in (size, count))
        for mode in ("error", "drop"):
            far = 0 if mode == "error" else 3
            index = rng.integers(-size - far, size + far, count).astype(np.int16)
            out = run(scatter_add, x, updates, index, axes=(0,), mode=mode)
            wanted = expected(scatter_add, x, updates, index, axes=(0,), mode=mode)
            assert_same(out, wanted)  # of small whole numbers, sums are exact in any order
    with pytest.raises(IndexError):
        index[-1] = size
        run(scatter_add, x, updates, index, axes=(0,), mode="error")
