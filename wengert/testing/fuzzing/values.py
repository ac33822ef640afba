"""Random dtypes, shapes and numbers, with the awkward ones among them.

Sizes lie around the widths of vectors; shapes may be empty or without dimensions. Numbers are
small integers, ordinary floats, or special: NaN, infinities, signed zeros, denormals, the ends
of ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Shape

Rng = np.random.Generator

#: Sizes of dimensions; the first are likelier.
SIZES = (3, 2, 1, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 0, 63, 64, 65, 100)
LONG = (257, 1000, 1023, 4099, 20_000, 70_001)
#: Dtypes by how often they are drawn.
DTYPES: tuple[tuple[str, int], ...] = (
    ("float32", 24),
    ("float64", 16),
    ("int32", 10),
    ("int64", 6),
    ("bool", 7),
    ("float16", 5),
    ("bfloat16", 5),
    ("complex64", 4),
    ("complex128", 4),
    ("uint8", 4),
    ("uint32", 4),
    ("int8", 3),
    ("int16", 2),
    ("uint16", 2),
    ("uint64", 3),
)


def random_dtype(rng: Rng, kinds: str = "biufc") -> Any:
    """A dtype of one of the kinds."""
    named = [(dtypes.as_dtype(n if n != "bfloat16" else dtypes.bfloat16), w) for n, w in DTYPES]
    fitting = [(d, w) for d, w in named if dtypes.kind(d) in kinds]
    weights = np.array([w for _, w in fitting], float)
    return fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))][0]


def random_sizes(rng: Rng) -> list[int]:
    """The few sizes that the dimensions of one program have."""
    weights = 1.0 / np.arange(2, len(SIZES) + 2)
    picked = rng.choice(SIZES, size=int(rng.integers(2, 5)), p=weights / weights.sum())
    return [int(n) for n in picked]


def random_shape(rng: Rng, sizes: Sequence[int], most: int, rank: int | None = None) -> Shape:
    """A shape of so many elements at most, its dimensions among some sizes and 1."""
    if rank is None:
        rank = int(rng.choice(5, p=(0.15, 0.3, 0.3, 0.18, 0.07)))
    shape: list[int] = []
    for _ in range(rank):
        n = int(rng.choice(sizes)) if rng.random() < 0.85 else 1
        shape.append(n if np.prod(shape, initial=1) * n <= most else 1)
    return tuple(shape)


def random_value(rng: Rng, shape: Shape, dtype: Any) -> Any:
    """Numbers of a dtype: an array, or a NumPy scalar for the shape ()."""
    kind = dtypes.kind(dtype)
    if kind == "b":
        return np.asarray(rng.random(shape) < 0.5)[()]
    if kind in "iu":
        return np.asarray(_integers(rng, shape, dtype))[()]
    if kind == "c":
        part = dtypes.real_dtype(dtype)
        out = np.empty(shape, dtype)
        out.real, out.imag = _floats(rng, shape, part), _floats(rng, shape, part)
        return out[()]
    return np.asarray(_floats(rng, shape, dtype))[()]


def _integers(rng: Rng, shape: Shape, dtype: Any) -> Any:
    info = np.iinfo(dtype)
    style = rng.random()
    if style < 0.6:
        return rng.integers(max(info.min, -4), 9, shape).astype(dtype)
    if style < 0.85:
        return rng.integers(max(info.min, -100), 101, shape).astype(dtype)
    whole = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    ends = rng.choice(np.array([info.min, info.max, 0, 1], dtype), shape)
    return np.where(rng.random(shape) < 0.3, ends, whole)


def _floats(rng: Rng, shape: Shape, dtype: Any) -> Any:
    style = rng.random()
    if style < 0.25:
        return rng.integers(-4, 5, shape).astype(dtype)
    values = rng.normal(size=shape) * rng.choice((1.0, 1.0, 0.01, 30.0))
    if style < 0.3:
        values = values * 10.0 ** rng.uniform(-30, 30, shape)
    with np.errstate(all="ignore"):
        out = np.asarray(values).astype(dtype)
    if style > 0.75:
        return np.where(rng.random(shape) < 0.25, rng.choice(special(dtype), shape), out)
    return out


def special(dtype: Any) -> Any:
    """The floating numbers that code forgets."""
    tiny = 2.0 ** {2: -24, 4: -149, 8: -1074}[dtype.itemsize]
    if dtype == dtypes.bfloat16:
        tiny = 2.0**-133
    huge = 6e4 if dtype == np.float16 else 3e38 if dtype.itemsize < 8 else 1.7e308
    numbers = [np.nan, np.inf, -np.inf, -0.0, 0.0, tiny, -3 * tiny, huge, -huge, 1.0, -1.0]
    with np.errstate(all="ignore"):
        return np.array(numbers).astype(dtype)
