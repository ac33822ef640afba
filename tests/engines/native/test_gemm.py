"""Our matrix products: any sizes and strides, nothing written beside the result."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from llvmlite import ir

import wengert as wg
from wengert.engines.native import machine
from wengert.engines.native.context import Context
from wengert.engines.native.library import blas, gemm
from wengert.engines.native.library.gemm_code import ARGUMENTS, Layout, Writer
from wengert.engines.native.runtime import pool

SIGNATURE = ctypes.CFUNCTYPE(
    None,
    *[ctypes.c_void_p if a in "a b c packed".split() else ctypes.c_int64 for a in ARGUMENTS],
)
TOLERANCE = {"float32": 2e-6, "float64": 4e-15}


def routines(target, dtype):
    """The routines for a machine: the two of a dtype."""
    module = ir.Module("gemm")
    Writer(Context(module, target), np.dtype(dtype), "x")
    code = machine.optimise_and_emit(module, target, level=1)
    symbols = {"pool.parallel_for": pool.address("parallel_for")}
    return machine.load(code, symbols, ["x", "x_threads"])


@pytest.fixture(scope="module", params=["host", "baseline"])
def made(request):
    target = getattr(machine.Target, request.param)()
    return target, {dtype: routines(target, dtype) for dtype in TOLERANCE}


def product(made, a, b, c, threads, adds=0):
    target, codes = made
    (m, k), n = a.shape, b.shape[1]
    packed = np.empty(Layout(target, a.dtype).packed_bytes(n, k) + 64, np.uint8)
    start = -(-packed.ctypes.data // 64) * 64
    run = codes[a.dtype.name].function("x_threads" if threads else "x", SIGNATURE)
    pointers = [x.ctypes.data for x in (a, b, c)]
    run(*pointers, start, m, n, k, *a.strides, *b.strides, c.strides[0], adds)


def matrix(rng, rows, columns, dtype, order):
    x = rng.standard_normal((rows, columns)).astype(dtype)
    if order == "F":
        return np.asfortranarray(x)
    return np.repeat(np.repeat(x, 2, 1), 2, 0)[::2, ::2] if order == "strided" else x


SIZES = [
    *((1, 1, 1), (6, 64, 8), (7, 65, 9), (5, 16, 512), (13, 63, 513), (31, 40, 100)),
    *((32, 128, 1), (97, 100, 300), (200, 130, 1100), (96, 64, 512), (192, 20, 40)),
]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("orders", ["CC", "FC", "CF", "FF", "strided"])
def test_products(made, sizes, orders, dtype):
    rng = np.random.default_rng(0)
    m, n, k = sizes
    left, right = (orders, orders) if orders == "strided" else orders
    a, b = matrix(rng, m, k, dtype, left), matrix(rng, k, n, dtype, right)
    frame = np.full((m + 2, n + 5), 7, dtype)
    c = frame[1:-1, 2:-3]
    expected = a.astype(np.longdouble) @ b.astype(np.longdouble)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    results = []
    for threads in (False, True):
        c[...] = np.nan
        product(made, a, b, c, threads)
        assert np.all(np.abs(c - expected) <= TOLERANCE[dtype] * size)
        frame[1:-1, 2:-3], inside = 7, c.copy()
        assert np.all(frame == 7)
        results.append(inside)
        frame[1:-1, 2:-3] = inside
        product(made, a, b, c, threads, adds=1)
        assert np.all(np.abs(c - 2 * expected) <= 3 * TOLERANCE[dtype] * size)
    np.testing.assert_array_equal(*results)


def test_special_values(made):
    a = np.full((7, 3), 1.0, np.float32)
    a[0, 0], a[1, 1], a[6, 2] = np.inf, np.nan, -np.inf
    b = np.full((3, 65), 2.0, np.float32)
    b[0, 64] = -1.0
    c = np.empty((7, 65), np.float32)
    product(made, a, b, c, threads=True)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c, a @ b)


def test_what_suits_these_routines():
    from_shape = gemm.Matrices(8, 16, 4, 4, 1, 16, 1, 16)
    assert gemm.suits(from_shape, np.dtype("float32"))
    assert not gemm.suits(from_shape, np.dtype("complex64"))
    assert not gemm.suits(from_shape._replace(n=1), np.dtype("float64"))


@pytest.mark.parametrize("order", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("m, n, k", [(2, 2, 9000), (40, 1, 700), (1, 40, 700), (5, 50, 300)])
def test_what_blas_cannot_count_is_multiplied_here(monkeypatch, m, n, k, order):
    monkeypatch.setattr(gemm, "_LARGE", 40)
    called = []
    monkeypatch.setattr(blas, "emit_blas", lambda *args: called.append(args))
    monkeypatch.setattr(blas, "emit_divided", lambda *args: called.append(args))
    a, b = (np.arange(m * k) % 7 - 3.0).reshape(m, k), (np.arange(k * n) % 5).reshape(k, n)
    left, right = a if order[0] == "C" else a.T.copy(), b if order[1] == "C" else b.T.copy()

    def f(x, y):
        return (x if order[0] == "C" else x.T) @ (y if order[1] == "C" else y.T)

    np.testing.assert_array_equal(wg.jit(f)(left, right * 1.0), a @ b)
    assert not called


def test_complex_products_that_blas_cannot_count_are_not_compiled(monkeypatch):
    x = np.ones((2, 50), np.complex64)
    monkeypatch.setattr(gemm, "_LARGE", 40)
    monkeypatch.setattr(blas, "emit_blas", None)
    np.testing.assert_array_equal(wg.jit(lambda x: x @ x.T + 1)(x), x @ x.T + 1)


def test_sizes_that_blas_cannot_count():
    shape = gemm.Matrices(2, 2, 1 << 31, 1 << 31, 1, 1, 1 << 31, 2)
    assert not gemm.fits_blas(shape)
    assert gemm.suits(shape, np.dtype("float32"))
    assert gemm.fits_blas(shape._replace(k=8, a_row=8, b_column=8))
