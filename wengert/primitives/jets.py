"""Truncated Taylor series in two parameters, on NumPy values.

A jet is an array whose entry `[i, j]` is the coefficient of s**i t**j, itself an array over the
elements; with one parameter the second dimension has size 1. Products, quotients and
exponentials of jets give all mixed derivatives of formulas up to the truncation. The kernels
for shape derivatives (`incomplete`) are written with them; nothing here knows primitives.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

_TINY = 1e-300


def linear(shape: tuple[int, int], value: Any, s: Any = 0.0, t: Any = 0.0) -> Any:
    """The jet of value + s S + t T, of the given numbers of coefficients."""
    value = np.asarray(value, np.float64)
    out = np.zeros((*shape, *value.shape))
    out[0, 0] = value
    if shape[0] > 1:
        out[1, 0] = s
    if shape[1] > 1:
        out[0, 1] = t
    return out


def _indices(jet: Any) -> Iterator[tuple[int, int]]:
    return product(range(jet.shape[0]), range(jet.shape[1]))


def times(u: Any, v: Any) -> Any:
    """The product of two jets."""
    out = np.zeros_like(u)
    for i, j in _indices(u):
        for p, q in product(range(i + 1), range(j + 1)):
            out[i, j] += u[p, q] * v[i - p, j - q]
    return out


def over(u: Any, v: Any) -> Any:
    """The quotient of two jets."""
    out = np.zeros_like(u)
    for i, j in _indices(u):
        rest = u[i, j].copy()
        for p, q in product(range(i + 1), range(j + 1)):
            if (p, q) != (i, j):
                rest -= out[p, q] * v[i - p, j - q]
        out[i, j] = rest / v[0, 0]
    return out


def exp(u: Any) -> Any:
    """The exponential of a jet, from w' = u' w in whichever parameter is raised."""
    out = np.zeros_like(u)
    out[0, 0] = np.exp(u[0, 0])
    for i, j in _indices(u):
        if i == j == 0:
            continue
        total = np.zeros_like(out[0, 0])
        for p, q in product(range(i + 1), range(j + 1)):
            weight = p if i else q
            if weight:
                total += weight * u[p, q] * out[i - p, j - q]
        out[i, j] = total / (i or j)
    return out


def continued_fraction(start: Any, levels: Iterator[tuple[Any, Any]]) -> Any:
    """The jet of start + a1/(b1 + a2/(b2 + ...)), from the jets (a, b) of each level.

    The modified method of Lentz, carried out on jets. It ends when only rounding moves it.
    """
    one = linear(start.shape[:2], np.ones_like(start[0, 0]))
    value = c = _nonzero(start)
    d = np.zeros_like(start)
    for a, b in levels:
        d = over(one, _nonzero(b + times(a, d)))
        c = _nonzero(b + over(a, c))
        before = value
        value = times(value, times(c, d))
        scale = np.max(np.abs(value), axis=(0, 1), keepdims=True)
        if not (np.abs(value - before) > 2e-15 * scale).any():
            break
    return value


def _nonzero(jet: Any) -> Any:
    jet = jet.copy()
    jet[0, 0] = np.where(jet[0, 0] == 0, _TINY, jet[0, 0])
    return jet
