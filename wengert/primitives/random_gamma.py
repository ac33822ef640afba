"""Gamma numbers and their derivative with respect to the shape parameter.

A rejection sampler is one NumPy function here: all elements go through its loop together,
each with a key of its own, and those that were accepted drop out. The derivative is the
implicit one, of every order: a sample moves with the parameter `a` so that its distribution
function keeps its value.

G. Marsaglia, W. Tsang, "A simple method for generating gamma variables" (2000).
M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients" (2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.primitive import Primitive, Sample, Value, Zero
from wengert.primitives.basis import add, batched_first, mul
from wengert.primitives.compare import lt, select
from wengert.primitives.elementwise import div, maximum, sub
from wengert.primitives.families import scalar
from wengert.primitives.random_bits import (
    bits_for,
    check_keys,
    normal_from_uniform,
    unit_floats,
)
from wengert.primitives.special import digamma, random_gamma_grad
from wengert.primitives.threefry import LAYOUTS, draw_bits, split_keys
from wengert.primitives.transcendental import exp

# -- samples ---------------------------------------------------------------------------------


def uniforms(keys: Any, dtype: Any, layout: str) -> Any:
    """One uniform number in [0, 1) from each key."""
    return unit_floats(draw_bits(keys, bits_for(dtype), (), layout), dtype)


def normals(keys: Any, dtype: Any, layout: str) -> Any:
    """One normal number from each key."""
    low = np.nextafter(dtype.type(-1), dtype.type(0))
    u = uniforms(keys, dtype, layout) * (dtype.type(1) - low) + low
    return normal_from_uniform(u)


def gamma_samples(keys: Any, a: Any, log_space: bool, layout: str) -> Any:
    """Gamma numbers, or their logarithms: keys `(B, 2)` and parameters `(B, n)` to `(B, n)`.

    16-bit dtypes are sampled in float32 and rounded once.
    """
    dtype = a.dtype
    wide = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    own_keys = split_keys(keys, a.shape[1], layout).reshape(-1, 2)
    samples = _marsaglia_tsang(own_keys, a.astype(wide).reshape(-1), log_space, layout)
    return samples.reshape(a.shape).astype(dtype, copy=False)


def _marsaglia_tsang(keys: Any, a: Any, log_space: bool, layout: str) -> Any:
    """One number per key and parameter.

    For a < 1 a number for a + 1 is multiplied by U**(1/a), by way of logarithms in log space,
    where it would underflow.
    """
    one, third = a.dtype.type(1), a.dtype.type(1 / 3)
    small = ~(a >= one)
    d = np.where(small, a + one, a) - third
    pair = split_keys(keys, 2, layout)
    volume = _accepted_volumes(pair[:, 0], d, third / np.sqrt(d), layout)
    u = uniforms(pair[:, 1], a.dtype, layout)
    if log_space:
        boost = np.where(small & (u != 0), np.log1p(-u) * (one / a), a.dtype.type(0))
        return np.log(d) + np.log(volume) + boost
    return d * volume * np.where(small, (one - u) ** (one / a), one)


def _accepted_volumes(keys: Any, d: Any, c: Any, layout: str) -> Any:
    """The accepted v**3 of each element."""
    dtype = d.dtype
    keys, volume = keys.copy(), np.ones_like(d)
    half, squeeze, one = (dtype.type(x) for x in (0.5, 0.0331, 1))
    pending = np.arange(d.size)
    while pending.size:
        fresh = split_keys(keys[pending], 3, layout)
        keys[pending] = fresh[:, 0]
        x, v = _positive(fresh[:, 1], c[pending], layout)
        x2, v3 = x * x, v * v * v
        u = uniforms(fresh[:, 2], dtype, layout)
        volume[pending] = v3
        rejected = (u >= one - squeeze * (x2 * x2)) & (
            np.log(u) >= x2 * half + d[pending] * ((one - v3) + np.log(v3))
        )
        pending = pending[rejected]
    return volume


def _positive(keys: Any, c: Any, layout: str) -> tuple[Any, Any]:
    """Normal x and 1 + c x of each element, drawn until that is positive."""
    keys = np.ascontiguousarray(keys)
    x, v = np.empty_like(c), np.empty_like(c)
    pending = np.arange(c.size)
    while pending.size:
        fresh = split_keys(keys[pending], 2, layout)
        keys[pending] = fresh[:, 0]
        drawn = normals(fresh[:, 1], c.dtype, layout)
        x[pending] = drawn
        v[pending] = 1 + drawn * c[pending]
        pending = pending[v[pending] <= 0]
    return x, v


#: Below this logarithm of a number, its distribution function is x**a / gamma(a + 1).
_TINY = -40.0


def _slope_of_log(a: Value, log_x: Value) -> Value:
    """d log(x) / da, also where x itself underflows."""
    x = exp(maximum(log_x, _TINY))
    limit = div(sub(digamma(add(a, 1)), log_x), a)
    return select(lt(log_x, _TINY), limit, div(random_gamma_grad(a, x), x))


class RandomGamma(Primitive):
    """Gamma numbers with parameters `a`: keys `(*batch, 2)` and `a` `(*batch, *shape)`."""

    keeps_weak = False

    @staticmethod
    def compute(keys: Any, a: Any, log_space: bool, layout: str) -> Any:
        batch = math.prod(keys.shape[:-1])
        rows = a.reshape(batch, a.size // batch if batch else 0)
        samples = gamma_samples(keys.reshape(-1, 2), rows, log_space, layout)
        return scalar(samples.reshape(a.shape))

    def type_rule(self, keys: Any, a: Any, log_space: bool, layout: str) -> Any:
        batch = check_keys(keys, "gamma")
        if a.shape[: len(batch)] != batch or not dtypes.is_floating(a.dtype):
            raise errors.ShapeError(
                f"random_gamma needs floating parameters of shape (*{batch}, ...) for keys "
                f"{keys}, got {a}."
            )
        return ArrayType(a.shape, a.dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        out = self(*primals, **params)
        if type(tangents[1]) is Zero:
            return out, Zero(out.type)
        slope = _slope_of_log if params["log_space"] else random_gamma_grad
        return out, mul(tangents[1], slope(primals[1], out))

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        operands = [batched_first(x, d, size) for x, d in zip(args, dims, strict=True)]
        return self(*operands, **params), 0

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        keys = rng.integers(0, 2**32, (3, 2), dtype=np.uint32)
        for layout in LAYOUTS:
            for log_space in (False, True):
                params = {"log_space": log_space, "layout": layout}
                yield Sample(keys[0], np.float64(0.7), **params, differentiable=False)
                yield Sample(keys, rng.uniform(0.3, 3, (3, 2)), **params, differentiable=False)
                yield Sample(keys[1], np.zeros((0, 2)), **params, differentiable=False)
            yield Sample(
                keys[1], np.array([0.4, 2.5], np.float32), **params, differentiable=False
            )
            half = np.array([0.4, 2.5], dtypes.bfloat16)
            yield Sample(keys[2], half, **params, differentiable=False)


random_gamma = RandomGamma()
