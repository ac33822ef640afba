"""Rows that are mostly matrix products, convolutions and normalisations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.compiled.row import EXP, LOG, TANH, Row, normal

SIZES = (784, 512, 512, 10)


def logistic(s: Any) -> Callable[..., Any]:
    """Logistic regression."""

    def loss(w: Any, rows: Any, signs: Any) -> Any:
        return s.np.mean(s.np.log1p(s.np.exp(-signs * (rows @ w))))

    return s.grad(loss)


def _logistic_inputs() -> tuple[Any, ...]:
    return normal(100, scale=0.1), normal(10_000, 100, seed=1), np.sign(normal(10_000, seed=2))


def _picked(s: Any, logits: Any, labels: Any) -> Any:
    """Mean cross-entropy."""
    logs = s.nn.log_softmax(logits, -1)
    return -s.np.mean(logs[s.np.arange(labels.shape[0]), labels])


def perceptron(s: Any) -> Callable[..., Any]:
    """Two hidden layers of tanh and a softmax; gradient of all weights."""

    def loss(layers: Any, x: Any, labels: Any) -> Any:
        for w, b in layers[:-1]:
            x = s.np.tanh(x @ w + b)
        w, b = layers[-1]
        return _picked(s, x @ w + b, labels)

    return s.grad(loss)


def _perceptron_inputs() -> tuple[Any, ...]:
    layers = [
        (normal(m, n, scale=m**-0.5, seed=m), np.zeros(n, np.float32))
        for m, n in itertools.pairwise(SIZES)
    ]
    labels = np.random.default_rng(1).integers(0, 10, 256).astype(np.int32)
    return layers, normal(256, 784), labels


def _perceptron_flops() -> float:
    forward = sum(2 * 256 * m * n for m, n in itertools.pairwise(SIZES))
    return 3 * forward - 2 * 256 * SIZES[0] * SIZES[1] + 2 * 256 * 512 * TANH


def convolution(s: Any) -> Callable[..., Any]:
    """A convolution and squared rectifiers; gradient of images and kernels."""
    return s.grad(lambda x, k: s.np.sum(s.nn.relu(s.conv(x, k)) ** 2), (0, 1))


def attention(s: Any) -> Callable[..., Any]:
    """Softmax attention; gradient of queries, keys and values."""

    def loss(q: Any, k: Any, v: Any) -> Any:
        scores = s.np.matmul(q, s.np.swapaxes(k, -1, -2)) * q.shape[-1] ** -0.5
        return s.np.sum(s.np.matmul(s.nn.softmax(scores, -1), v) ** 2)

    return s.grad(loss, (0, 1, 2))


def layer_norm(s: Any) -> Callable[..., Any]:
    """Layer normalisation; gradient of input, gain and bias."""

    def loss(x: Any, gain: Any, bias: Any, weight: Any) -> Any:
        centred = x - s.np.mean(x, -1, keepdims=True)
        spread = s.np.sqrt(s.np.mean(centred * centred, -1, keepdims=True) + 1e-5)
        return s.np.sum(weight * (centred / spread * gain + bias))

    return s.grad(loss, (0, 1, 2))


def cross_entropy(s: Any) -> Callable[..., Any]:
    """Softmax cross-entropy over a large vocabulary."""
    return s.grad(lambda logits, labels: _picked(s, logits, labels))


def _cross_entropy_inputs() -> tuple[Any, ...]:
    labels = np.random.default_rng(1).integers(0, 32_768, 64).astype(np.int32)
    return normal(64, 32_768, scale=3.0), labels


def product(s: Any) -> Callable[..., Any]:
    """A matrix product."""
    return lambda a, b: a @ b


PAIRS = 8 * 256 * 256
ROWS = [
    Row(
        "logistic",
        "logistic loss 10⁴×100",
        logistic,
        _logistic_inputs,
        target=0.8,
        anchor=True,
        flops=10_000 * (4 * 100 + 2 * EXP + LOG),
    ),
    Row(
        "mlp",
        "MLP 784-512-512-10, batch 256",
        perceptron,
        _perceptron_inputs,
        anchor=True,
        flops=_perceptron_flops(),
    ),
    Row(
        "conv",
        "conv 16×32×32×32, 3×3×64, relu²",
        convolution,
        lambda: (normal(16, 32, 32, 32), normal(64, 32, 3, 3, scale=0.1)),
        target=0.35,
        anchor=True,
        flops=3 * 2 * 16 * 32 * 32 * 9 * 32 * 64,
    ),
    Row(
        "attention",
        "attention 2×4×256×64",
        attention,
        lambda: tuple(normal(2, 4, 256, 64, seed=n) for n in range(3)),
        target=0.7,
        anchor=True,
        flops=PAIRS * (6 * 2 * 64 + EXP + 10),
    ),
    Row(
        "matmul",
        "matmul 1024, value",
        product,
        lambda: (normal(1024, 1024), normal(1024, 1024, seed=1)),
        anchor=True,
        flops=2 * 1024**3,
        own={"numpy": product},
    ),
    Row(
        "layer-norm",
        "layer norm 2048×1024",
        layer_norm,
        lambda: (
            normal(2048, 1024),
            1 + normal(1024, scale=0.1, seed=1),
            normal(1024, seed=2),
            normal(2048, 1024, seed=3),
        ),
        flops=20 * 2048 * 1024,
    ),
    Row(
        "cross-entropy",
        "softmax cross-entropy 64×32768",
        cross_entropy,
        _cross_entropy_inputs,
        flops=64 * 32_768 * (EXP + 6),
    ),
]
