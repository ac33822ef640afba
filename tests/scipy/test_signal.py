"""Convolution, correlation and detrending against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal as reference

import wengert
from wengert import errors
from wengert.scipy import signal

RNG = np.random.default_rng(0)
SHAPES = [((7,), (3,)), ((3,), (6,)), ((5, 6), (2, 3)), ((4, 3, 5), (2, 2, 4)), ((1,), (1,))]


@pytest.mark.parametrize("name", ["convolve", "correlate", "fftconvolve"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_real_and_complex(name, shapes, mode):
    x, y = (RNG.normal(size=s) for s in shapes)
    ours, theirs = getattr(signal, name), getattr(reference, name)
    np.testing.assert_allclose(ours(x, y, mode), theirs(x, y, mode), atol=1e-12)
    z, w = x + 1j * x[::-1], y - 2j * y
    np.testing.assert_allclose(ours(z, w, mode), theirs(z, w, mode), atol=1e-12)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_images(name, mode):
    x, y = RNG.normal(size=(5, 6)), RNG.normal(size=(2, 3))
    ours, theirs = getattr(signal, name), getattr(reference, name)
    np.testing.assert_allclose(ours(x, y, mode), theirs(x, y, mode), atol=1e-12)
    with pytest.raises(ValueError, match="zeros"):
        ours(x, y, boundary="wrap")
    with pytest.raises(errors.ShapeError):
        ours(x[0], y[0])


def test_methods_and_dtypes():
    x, y = np.arange(5), np.arange(3)
    out = signal.convolve(x.astype(np.int32), y.astype(np.int32))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, np.convolve(x, y))
    by_spectra = signal.convolve(x.astype(float), y.astype(float), method="fft")
    np.testing.assert_allclose(by_spectra, np.convolve(x, y), atol=1e-12)
    some = signal.fftconvolve(np.ones((2, 5)), np.ones((2, 3)), axes=1)
    np.testing.assert_allclose(some, [[1, 2, 3, 3, 3, 2, 1]] * 2)


def test_derivatives():
    x, y = RNG.normal(size=(5, 6)), RNG.normal(size=(2, 3))
    for function in (signal.convolve, signal.correlate, signal.fftconvolve):
        wengert.testing.check_grads(lambda x, y, f=function: f(x, y, "same"), (x, y), 1)
    wengert.testing.check_grads(signal.detrend, (x,), 1)


@pytest.mark.parametrize("axis", [0, -1])
def test_detrend(axis):
    x = RNG.normal(size=(8, 9)) + np.arange(9)
    np.testing.assert_allclose(signal.detrend(x, axis), reference.detrend(x, axis), atol=1e-12)
    for kind in ("constant", "linear"):
        expected = reference.detrend(x, axis, kind)
        np.testing.assert_allclose(signal.detrend(x, axis, kind), expected, atol=1e-12)
    broken = signal.detrend(x, axis, bp=[3, 6])
    np.testing.assert_allclose(broken, reference.detrend(x, axis, bp=[3, 6]), atol=1e-12)


def test_refused():
    x, y = np.ones((5, 2)), np.ones((2, 5))
    for wrong in (
        lambda: signal.convolve(x, y, "valid"),
        lambda: signal.convolve(x, y[0]),
        lambda: signal.convolve(x, np.ones((0, 2))),
    ):
        with pytest.raises(errors.ShapeError):
            wrong()
    for wrong in (
        lambda: signal.convolve(x, y, "best"),
        lambda: signal.convolve(x, y, method="best"),
        lambda: signal.detrend(x, type="best"),
        lambda: signal.detrend(x, bp=99),
    ):
        with pytest.raises(ValueError):
            wrong()
