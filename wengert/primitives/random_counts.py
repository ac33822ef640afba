"""Poisson and binomial numbers.

Small means are sampled by counting exponential or geometric steps, large ones by transformed
rejection. All elements of a draw share the keys of its rounds. The numbers are JAX's, so the
loops have its order of keys and its conditions to end.

W. Hörmann, "The transformed rejection method for generating Poisson random variables" (1993),
"The generation of binomial random variates" (1993); D. Knuth, "The Art of Computer
Programming", volume 2, 3.4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives.basis import batched_first
from wengert.primitives.families import scalar
from wengert.primitives.random_bits import bits_for, check_keys, unit_floats
from wengert.primitives.threefry import LAYOUTS, draw_bits, draw_some_bits, split_keys

special = lazy_module("scipy.special")


# -- loops -----------------------------------------------------------------------------------


class Rounds:
    """Uniform numbers for a loop over the elements that are not done yet.

    Attributes:
      pending: flat indices of these elements.
    """

    def __init__(self, keys: Any, elements: Any, size: int, dtype: Any, layout: str) -> None:
        """Start with keys `(B, 2)`, for draws of `size` elements each."""
        self.pending = elements
        self._keys = keys
        self._size = size
        self._dtype = dtype
        self._layout = layout

    def uniforms(self, own: int) -> Any:
        """A uniform number for each pending element.

        Args:
          own: which of the two keys from splitting is for these numbers; the other is for the
            next round.
        """
        width, pending, size = bits_for(self._dtype), self.pending, self._size
        fresh = split_keys(self._keys, 2, self._layout).transpose(1, 0, 2)
        keys, self._keys = fresh[own], np.ascontiguousarray(fresh[1 - own])
        if 2 * pending.size > keys.shape[0] * size:
            bits = draw_bits(keys, width, (size,), self._layout).reshape(-1)[pending]
        else:
            rows, index = pending // size, pending % size
            bits = draw_some_bits(keys[rows], index, size, width, self._layout)
        return unit_floats(bits, self._dtype)


def _by_rejection(
    keys: Any, operands: Sequence[Any], layout: str, propose: Callable[..., Any]
) -> Any:
    """Proposals that were accepted: keys `(B, 2)` and operands `(B, n)` to `(B, n)`.

    The rounds of a key go on until each of its elements was accepted once; an element keeps the
    latest proposal that was. So its value depends on how many rounds the others take, as it
    does in JAX.
    """
    dtype, (batch, size) = operands[0].dtype, operands[0].shape
    out = np.full((batch, size), -1, dtype)
    accepted = np.zeros((batch, size), bool)
    rows = np.arange(batch if size else 0)
    while rows.size:
        fresh = split_keys(keys, 3, layout)
        u, v = (
            unit_floats(draw_bits(fresh[:, i], bits_for(dtype), (size,), layout), dtype)
            for i in (1, 2)
        )
        k, fits = propose(*(x[rows] for x in operands), u - dtype.type(0.5), v)
        out[rows] = np.where(fits, k, out[rows])
        accepted[rows] |= fits
        unfinished = ~accepted[rows].all(axis=1)
        rows, keys = rows[unfinished], fresh[unfinished, 0]
    return out


# -- Poisson ---------------------------------------------------------------------------------


def poisson_samples(keys: Any, lam: Any, layout: str) -> Any:
    """Poisson numbers as floats: keys `(B, 2)` and float32 means `(B, n)` to `(B, n)`.

    Means that are negative, infinite or NaN give -1.
    """
    valid = (lam >= 0) & (lam < np.inf)
    small = ~(lam >= 10)
    out = _poisson_by_counting(keys, np.where(valid & small, lam, np.float32(0)), layout)
    large = valid & ~small
    if large.any():
        # elements that are not meant take part with some mean: they may cause more rounds
        means = np.where(large, lam, np.float32(1e5))
        out = np.where(large, _by_rejection(keys, [means], layout, _hormann_poisson), out)
    return np.where(valid, out, np.float32(-1))


def _poisson_by_counting(keys: Any, lam: Any, layout: str) -> Any:
    flat = lam.reshape(-1)
    log_product = np.zeros_like(flat)
    out = np.where(flat > 0, np.float32(-1), np.float32(0))
    rounds = Rounds(keys, np.nonzero(flat > 0)[0], lam.shape[1], flat.dtype, layout)
    while rounds.pending.size:
        pending = rounds.pending
        log_product[pending] += np.log(rounds.uniforms(own=1))
        out[pending] += 1
        rounds.pending = pending[log_product[pending] > -flat[pending]]
    return out.reshape(lam.shape)


def _hormann_poisson(lam: Any, u: Any, v: Any) -> tuple[Any, Any]:
    b = 0.931 + 2.53 * np.sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    us = 0.5 - np.abs(u)
    k = np.floor((2 * a / us + b) * u + lam + 0.43)
    s = np.log(v * inverse_alpha / (a / (us * us) + b))
    t = -lam + k * np.log(lam) - special.gammaln(k + 1)
    rejected = (k < 0) | ((us < 0.013) & (v > us))
    return k, ((us >= 0.07) & (v <= v_r)) | (~rejected & (s <= t))


# -- binomial --------------------------------------------------------------------------------


def binomial_samples(keys: Any, count: Any, prob: Any, layout: str) -> Any:
    """Binomial numbers as floats: keys `(B, 2)`, floating `(B, n)` operands to `(B, n)`.

    Counts that are negative or NaN and probabilities outside [0, 1] give NaN, infinite counts
    infinity.
    """
    n, one = np.floor(count), count.dtype.type(1)
    below_half = prob < 0.5
    q = np.where(below_half, prob, one - prob)
    invalid = ~(q >= 0) | ~(n >= 0)
    q = np.where(q >= 0, q, q.dtype.type(0.01))
    small = ~(n >= 0) | (count * q <= 10)
    out = _binomial_by_counting(keys, np.where(small & ~invalid, n, -one), q, layout)
    if not (small | invalid).all():
        operands = np.where(small, n.dtype.type(1e4), n), np.where(small, one / 2, q)
        out = np.where(small, out, _by_rejection(keys, operands, layout, _hormann_binomial))
    out = np.where(below_half, out, n - out)
    return np.where(invalid, np.nan, np.where(n == np.inf, n, out)).astype(n.dtype)


def _binomial_by_counting(keys: Any, n: Any, q: Any, layout: str) -> Any:
    flat, log_failure = n.reshape(-1), np.log1p(-q).reshape(-1)
    total, out = np.zeros_like(flat), np.full_like(flat, -1)
    rounds = Rounds(keys, np.nonzero(flat >= 0)[0], n.shape[1], flat.dtype, layout)
    while rounds.pending.size:
        pending = rounds.pending
        total[pending] += np.ceil(np.log(rounds.uniforms(own=0)) / log_failure[pending])
        out[pending] += 1
        rounds.pending = pending[total[pending] <= flat[pending]]
    return out.reshape(n.shape)


def _hormann_binomial(n: Any, q: Any, u: Any, v: Any) -> tuple[Any, Any]:
    deviation = np.sqrt(n * q * (1 - q))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * q
    v_r = 0.92 - 4.2 / b
    ratio = q / (1 - q)
    alpha = (2.83 + 5.1 / b) * deviation
    m = np.floor((n + 1) * q)
    us = 0.5 - np.abs(u)
    k = np.floor((2 * a / us + b) * u + (n * q + 0.5))
    rejected = (k < 0) | (k > n)
    bound = (
        (m + 0.5) * np.log((m + 1) / (ratio * (n - m + 1)))
        + (n + 1) * np.log((n - m + 1) / (n - k + 1))
        + (k + 0.5) * np.log(ratio * (n - k + 1) / (k + 1))
        + _stirling_tail(m)
        + _stirling_tail(n - m)
        - _stirling_tail(k)
        - _stirling_tail(n - k)
    )
    level = np.log(v * alpha / (a / (us * us) + b))
    return k, ((us >= 0.07) & (v <= v_r)) | (~rejected & (level <= bound))


def _stirling_tail(k: Any) -> Any:
    """log k! less Stirling's formula for it.

    Beyond 9 the value for 9 is kept, as JAX does: the numbers are to be JAX's. The four tails
    of the acceptance bound then nearly cancel, as they do when they are exact.
    """
    index = np.clip(np.nan_to_num(k), 0, 10).astype(np.int64)
    return _STIRLING_TAILS.astype(k.dtype)[index]


def _stirling_tails() -> Any:
    exact = [
        math.lgamma(k + 1)
        - ((k + 0.5) * math.log(k + 1) - (k + 1) + 0.5 * math.log(2 * math.pi))
        for k in range(10)
    ]
    beyond = (1 / 12 - (1 / 360 - 1 / 1260 / 100) / 100) / 10
    return np.array([*exact, beyond])


_STIRLING_TAILS = _stirling_tails()


# -- primitives ------------------------------------------------------------------------------


class CountPrimitive(Primitive):
    """Counts from keys `(*batch, 2)` and parameters `(*batch, *shape)` of one type."""

    nondifferentiable = True
    keeps_weak = False
    sampler: Callable[..., Any]

    def compute(self, keys: Any, *parameters: Any, layout: str, dtype: Any) -> Any:
        shape, batch = parameters[0].shape, math.prod(keys.shape[:-1])
        size = parameters[0].size // batch if batch else 0
        flat = (np.asarray(p).reshape(batch, size) for p in parameters)
        counts = self.sampler(keys.reshape(-1, 2), *flat, layout)
        return scalar(_as_counts(counts, dtype).reshape(shape))

    def type_rule(self, keys: Any, *parameters: Any, layout: str, dtype: Any) -> Any:
        batch, shape = check_keys(keys, self.name), parameters[0].shape
        if shape[: len(batch)] != batch or any(p.shape != shape for p in parameters):
            raise errors.ShapeError(
                f"{self.name} needs parameters of one shape (*{batch}, ...) for keys {keys}, "
                f"got {', '.join(map(str, parameters))}."
            )
        return ArrayType(shape, dtype)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        operands = [batched_first(x, d, size) for x, d in zip(args, dims, strict=True)]
        return self(*operands, **params), 0

    def samples_of(self, dtype: Any, *parameters: Any) -> Iterator[Sample]:
        """Samples with one key, with a batch of keys, and without elements."""
        rng = np.random.default_rng(0)
        keys = rng.integers(0, 2**32, (2, 2), dtype=np.uint32)
        shapes: tuple[tuple[Any, Shape], ...] = (
            *((keys[0], ()), (keys[0], (2, 3)), (keys, (2, 3)), (keys[1], (0, 2))),
        )
        for layout in LAYOUTS:
            for key, shape in shapes:
                values = [scalar(np.resize(p, shape)) for p in parameters]
                yield Sample(key, *values, layout=layout, dtype=dtype, differentiable=False)


def _as_counts(values: Any, dtype: Any) -> Any:
    """Floats as counts; what an integer dtype cannot hold becomes its greatest value."""
    if not dtypes.is_integer(dtype):
        return values.astype(dtype)
    top = np.iinfo(dtype).max
    return np.where(values >= top, dtype.type(top), values.astype(dtype))


class RandomPoisson(CountPrimitive):
    """Poisson numbers with float32 means."""

    sampler = staticmethod(poisson_samples)

    def samples(self) -> Iterator[Sample]:
        lam = np.array([0.5, 3.0, 0.0, 12.0, 250.0, -1.0], np.float32)
        yield from self.samples_of(dtypes.INT32, lam)


class RandomBinomial(CountPrimitive):
    """Binomial numbers of so many trials with such probabilities."""

    sampler = staticmethod(binomial_samples)

    def samples(self) -> Iterator[Sample]:
        count = np.array([5.0, 100.0, 1000.0, 0.0, 30.0, 7.0])
        prob = np.array([0.3, 0.6, 0.4, 0.5, 1.0, 0.0])
        yield from self.samples_of(np.dtype(np.float64), count, prob)
        narrow = (p.astype(np.float32) for p in (count, prob))
        yield from self.samples_of(dtypes.FLOAT32, *narrow)


random_poisson = RandomPoisson()
random_binomial = RandomBinomial()
