"""Numbers for the checkers: finite differences, pairings, random directions, comparisons.

Everything here is NumPy on lists of arrays. Derivatives are compared through two independent
routes: `difference` knows only the function, `pairing` only that pushforward and pullback are
transposes of each other.

Nothing here calls a derivative; that is the business of `grads` and `primitives`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes

Values = Sequence[Any]
Call = Callable[[list[Any]], list[Any]]

#: Relative and absolute tolerance of a derivative, by bytes of the real dtype it has.
TOLERANCES = {8: 1e-6, 4: 5e-3, 2: 0.2}
#: Finite-difference steps, by bytes of the real dtype: the best one, then others to try.
STEPS = {
    8: (1e-4, 1e-3, 1e-5, 1e-2, 1e-6),
    4: (3e-2, 1e-2, 1e-1, 3e-3),
    2: (2.5e-1, 1e-1),
}


def real_bytes(values: Values) -> int:
    """Bytes per real number of the least precise floating or complex value (8 if none)."""
    return min(
        (dtypes.real_dtype(v.dtype).itemsize for v in values if dtypes.is_inexact(v.dtype)),
        default=8,
    )


def wide(value: Any) -> Any:
    """A floating or complex value in double precision; other values as they are."""
    value = np.asarray(value)
    if not dtypes.is_inexact(value.dtype):
        return value
    return value.astype(np.complex128 if dtypes.is_complex(value.dtype) else np.float64)


def random_like(rng: np.random.Generator, value: Any) -> Any:
    """A random normal direction of the type of a value; zeros for integers."""
    shape, dtype = np.shape(value), value.dtype
    if not dtypes.is_inexact(dtype):
        return np.zeros(shape, dtype)
    direction: Any = rng.normal(size=shape)
    if dtypes.is_complex(dtype):
        direction = direction + 1j * rng.normal(size=shape)
    return np.asarray(direction).astype(dtype)


def pairing(cotangents: Values, tangents: Values) -> float:
    """The real part of the sum of products, without conjugation: how cotangents act."""
    with np.errstate(all="ignore"):
        return sum(float(np.sum(ct * t).real) for ct, t in _pairs(cotangents, tangents))


def pairing_scale(cotangents: Values, tangents: Values) -> float:
    """The sum of absolute products: what rounding errors of `pairing` are relative to."""
    with np.errstate(all="ignore"):
        return sum(float(np.sum(np.abs(ct * t))) for ct, t in _pairs(cotangents, tangents))


def _pairs(cotangents: Values, tangents: Values) -> list[tuple[Any, Any]]:
    return [
        (wide(ct), wide(t))
        for ct, t in zip(cotangents, tangents, strict=True)
        if dtypes.is_inexact(np.asarray(t).dtype)
    ]


def difference(call: Call, primals: Values, tangents: Values, step: float) -> list[Any]:
    """The directional derivative by central differences, extrapolated once (Richardson, 1911).

    Its error is of fourth order in the step. Integer results have derivative zero.
    """

    def at(h: float) -> list[Any]:
        moved = [
            (p + h * t).astype(p.dtype) if dtypes.is_inexact(p.dtype) else p
            for p, t in zip(primals, tangents, strict=True)
        ]
        return [wide(out) for out in call(moved)]

    def central(h: float) -> list[Any]:
        return [
            (ahead - behind) / (2 * h)
            if dtypes.is_inexact(ahead.dtype)
            else np.zeros(ahead.shape)
            for ahead, behind in zip(at(h), at(-h), strict=True)
        ]

    with np.errstate(all="ignore"):
        coarse, fine = central(step), central(step / 2)
        return [(4 * f - c) / 3 for f, c in zip(fine, coarse, strict=True)]


def deviation(got: Any, expected: Any, atol: float, rtol: float) -> Any:
    """How far `got` is off, entry by entry, in units of the tolerance; inf where one is NaN."""
    got, expected = wide(got), wide(expected)
    with np.errstate(all="ignore"):
        off = np.abs(got - expected) / (atol + rtol * np.abs(expected))
    return np.where(np.isnan(off), np.where(got == expected, 0.0, np.inf), off)


def close(got: Values, expected: Values, atol: float, rtol: float) -> bool:
    """Whether lists of values agree, entry by entry."""
    return all(
        bool(np.all(deviation(g, e, atol, rtol) <= 1))
        for g, e in zip(got, expected, strict=True)
    )


def same(got: Values, expected: Values, tolerance: float, floor: float = 0.0) -> bool:
    """Whether lists of results agree: relative to the largest finite entry; NaN equals NaN.

    Where results come from numbers of size `floor` that cancel, they are relative to that.
    """
    for g, e in zip(got, expected, strict=True):
        g, e = wide(g), wide(e)
        if g.shape != e.shape:
            return False
        if not dtypes.is_inexact(e.dtype):
            if not np.array_equal(g, e):
                return False
            continue
        scale = float(np.max(np.abs(e), where=np.isfinite(e), initial=floor))
        if not np.allclose(g, e, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
            return False
    return True
