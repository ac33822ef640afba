"""Fourier transforms of the native library: in double precision equal to eager bit by bit."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.primitives.fft import fft


def check(x, **params):
    # NumPy computes some single precision transforms in double precision
    near = 1e-6 if x.dtype in (np.float32, np.complex64) else 0
    assert_same(run(fft, x, **params), expected(fft, x, **params), near)


def test_samples():
    for sample in fft.samples():
        check(*sample.args, **sample.params)


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("kind", ["fft", "ifft", "rfft", "irfft"])
def test_shapes(kind, single):
    rng = np.random.default_rng(14)
    real, both = (np.float32, np.complex64) if single else (np.float64, np.complex128)
    for shape, rank in itertools.product(
        ((1,), (6,), (7,), (5, 8), (3, 4, 9), (0, 4)), (1, 2, 3)
    ):
        if rank > len(shape):
            continue
        lengths = shape[len(shape) - rank :]
        if 0 in lengths:
            continue
        if kind == "irfft":
            lengths = (*lengths[:-1], max(2 * lengths[-1] - 2, 1))
        x = rng.normal(size=shape).astype(real)
        if kind != "rfft":
            x = (x + 1j * rng.normal(size=shape)).astype(both)
        check(x, fft_type=kind, fft_lengths=lengths)


def test_many_rows():
    x = np.random.default_rng(15).normal(size=(300, 128))
    check(x, fft_type="rfft", fft_lengths=(128,))
    check(x + 0j, fft_type="fft", fft_lengths=(300, 128))


def test_no_dimensions():
    check(np.arange(3.0) + 0j, fft_type="fft", fft_lengths=())
