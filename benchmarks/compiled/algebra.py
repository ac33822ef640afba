"""Rows of sorting, running and segmented sums, factorisations and transforms."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np

from benchmarks.compiled.row import Row, normal

MILLION, SEGMENTS, SIDE = 10**6, 10_000, 256
SIGNALS, SAMPLES = 64, 4096


def running(s: Any) -> Callable[..., Any]:
    """The sum of squares of a running sum."""
    return s.grad(lambda x: s.np.sum(s.np.cumsum(x) ** 2))


def running_numpy(s: Any) -> Callable[..., Any]:
    """Its gradient by hand."""
    return lambda x: 2 * np.cumsum(np.cumsum(x)[::-1])[::-1]


def ordered(s: Any) -> Callable[..., Any]:
    """Sorting."""
    return lambda x: s.np.sort(x)


def ordered_loss(s: Any) -> Callable[..., Any]:
    """A weighted sum of order statistics."""
    return s.grad(lambda x, w: s.np.sum(s.np.sort(x) * w))


def ordered_loss_numpy(s: Any) -> Callable[..., Any]:
    """Its gradient by hand."""

    def gradient(x: Any, w: Any) -> Any:
        out = np.empty_like(w)
        out[np.argsort(x)] = w
        return out

    return gradient


def _distinct() -> Any:
    """Numbers without ties, so that the order is the same for every algorithm."""
    return np.random.default_rng(0).permutation(MILLION).astype(np.float32) / 1000


def segments(s: Any) -> Callable[..., Any]:
    """The sum of squares of sums over segments: a scatter and a gather."""

    def loss(x: Any, labels: Any) -> Any:
        return s.np.sum(s.np.zeros(SEGMENTS).at[labels].add(x) ** 2)

    return s.grad(loss)


def segments_torch(s: Any) -> Callable[..., Any]:
    """The same with torch's scatter."""

    def loss(x: Any, labels: Any) -> Any:
        return s.np.sum(s.np.zeros(SEGMENTS).index_add(0, labels, x) ** 2)

    return s.grad(loss)


def segments_numpy(s: Any) -> Callable[..., Any]:
    """Its gradient by hand."""
    return lambda x, labels: (2 * np.bincount(labels, x, SEGMENTS)).astype(np.float32)[labels]


def _segments_inputs() -> tuple[Any, ...]:
    labels = np.random.default_rng(1).integers(0, SEGMENTS, MILLION).astype(np.int32)
    return normal(MILLION), labels


def cholesky(s: Any) -> Callable[..., Any]:
    """The logarithm of a determinant, through the Cholesky factor."""

    def loss(a: Any) -> Any:
        return 2 * s.np.sum(s.np.log(s.np.diagonal(s.np.linalg.cholesky(a))))

    return s.grad(loss)


def _positive() -> tuple[Any, ...]:
    root = normal(SIDE, SIDE).astype(np.float64)
    return ((root @ root.T / SIDE + np.eye(SIDE)).astype(np.float32),)


def fourier(s: Any) -> Callable[..., Any]:
    """Convolution by Fourier transforms; gradient of signals and filter."""

    def loss(x: Any, kernel: Any) -> Any:
        spectrum = s.np.fft.rfft(x) * s.np.fft.rfft(kernel)
        return s.np.mean(s.np.fft.irfft(spectrum, SAMPLES) ** 2)

    return s.grad(loss, (0, 1))


ROWS = [
    Row(
        "cumsum",
        "cumulative sum 10⁶: sum(cumsum(x)²)",
        running,
        lambda: (normal(MILLION),),
        flops=5 * MILLION,
        own={"numpy": running_numpy},
        tolerance=1e-3,
    ),
    Row(
        "sort",
        "sort 10⁶, value",
        ordered,
        lambda: (normal(MILLION),),
        flops=MILLION * log2(MILLION),
        own={"numpy": ordered},
    ),
    Row(
        "sort-grad",
        "sort 10⁶: sum(w·sort(x))",
        ordered_loss,
        lambda: (_distinct(), normal(MILLION, seed=1)),
        flops=MILLION * log2(MILLION),
        own={"numpy": ordered_loss_numpy},
    ),
    Row(
        "segment-sum",
        "segment sum 10⁶ into 10⁴: sum(s²)",
        segments,
        _segments_inputs,
        flops=2 * MILLION,
        own={
            "torch": segments_torch,
            "torch.compile": segments_torch,
            "numpy": segments_numpy,
        },
    ),
    Row(
        "cholesky",
        "Cholesky log-determinant 256",
        cholesky,
        _positive,
        flops=10 / 3 * SIDE**3,
        peers=("jax", "torch"),
    ),
    Row(
        "fft",
        "FFT convolution 64×4096",
        fourier,
        lambda: (normal(SIGNALS, SAMPLES), normal(SAMPLES, scale=0.02, seed=1)),
        flops=(4 * SIGNALS + 2) * 2.5 * SAMPLES * log2(SAMPLES),
        peers=("jax", "torch"),
    ),
]
