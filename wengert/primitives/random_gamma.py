"""Gamma numbers and their derivative with respect to the shape parameter.

A rejection sampler is one NumPy function here: all elements go through its loop together,
each with a key of its own, and those that were accepted drop out. The derivative is the implicit
one: a sample moves with the parameter `a` so that its distribution function keeps its value.

G. Marsaglia, W. Tsang, "A simple method for generating gamma variables" (2000).
M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients" (2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Primitive, Sample, Value, Zero
from wengert.primitives.basis import batched_first, mul
from wengert.primitives.families import Real, scalar
from wengert.primitives.random_bits import bits_for, check_keys, normal_from_uniform, unit_floats
from wengert.primitives.threefry import LAYOUTS, draw_bits, split_keys

special = lazy_module("scipy.special")


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


class RandomGamma(Primitive):
    """Gamma numbers with shape parameters `a`: keys `(*batch, 2)` and `a` `(*batch, *shape)`."""

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
        slope = random_gamma_grad(primals[1], out, log_space=params["log_space"])
        return out, mul(tangents[1], slope)

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
            yield Sample(keys[1], np.float32([0.4, 2.5]), **params, differentiable=False)
            half = np.array([0.4, 2.5], dtypes.bfloat16)
            yield Sample(keys[2], half, **params, differentiable=False)


# -- their derivative ------------------------------------------------------------------------
#
# With the density f and the distribution function P of the gamma distribution,
#   dx/da = -(dP/da) / f = -integral of (log t - digamma(a)) f(t) / f(x) over t < x,
# which is also the integral over t > x with the other sign. Each regime takes the side on
# which the integrand does not change its sign by much.


def gamma_slope(a: Any, log_x: Any) -> Any:
    """d log(x) / da of gamma numbers x, in float64; flat arrays."""
    x = np.exp(log_x)
    centre = special.digamma(a)
    out = np.full(a.shape, np.nan)
    valid = (a > 0) & (x < np.inf) & (log_x > -np.inf)
    large = valid & (a >= _LARGE)
    lower = valid & ~large & (x <= np.maximum(a, 1))
    upper = valid & ~large & ~lower
    for mask, slope in ((large, _by_window), (lower, _by_series), (upper, _by_laguerre)):
        if mask.any():
            out[mask] = slope(a[mask], x[mask], log_x[mask], centre[mask])
    return out


#: From this `a` on the density is near enough to a bell shape for a fixed quadrature.
_LARGE = 30.0
#: Elements at a time; each may take 64 points of a quadrature.
_CHUNK = 4096


def _by_series(a: Any, x: Any, log_x: Any, centre: Any) -> Any:
    """The power series of P, differentiated term by term.

    With the terms t_n = x^n / ((a+1) ... (a+n)), whose logarithms have the derivatives -h_n:
    d log(x) / da = -(sum of t_n (log x - digamma(a+1) - h_n)) / a.
    """
    slope = log_x - centre - 1 / a
    term, h = np.ones_like(a), np.zeros_like(a)
    total = slope.copy()
    for n in range(1, 400):
        term *= x / (a + n)
        h += 1 / (a + n)
        change = term * (slope - h)
        total += change
        if (np.abs(change) <= 1e-17 * np.abs(total)).all():
            break
    return -total / a


def _by_laguerre(a: Any, x: Any, log_x: Any, centre: Any) -> Any:
    """The integral over t = x + s by Gauss-Laguerre quadrature."""
    nodes, weights = _laguerre()
    ratio = np.log1p(nodes / x[:, None])
    values = np.exp((a[:, None] - 1) * ratio) * (ratio + (log_x - centre)[:, None])
    return values @ weights / x


def _by_window(a: Any, x: Any, log_x: Any, centre: Any) -> Any:
    """The integral over where f(t) / f(x) counts, by Gauss-Legendre quadrature.

    log(f(t) / f(x)) is at most -r s - c s^2 / 2 at the distance s on the left; on the right the
    square root tail is a little longer.
    """
    nodes, weights = _legendre()
    left = x <= a
    r = np.abs((a - 1) / x - 1)
    c = (a - 1) / (x * x)
    reach = 80.0 / (r + np.sqrt(r * r + 80.0 * c))
    reach = np.where(left, np.minimum(reach, x), 1.5 * reach)
    direction = np.where(left, -1.0, 1.0)
    step = (direction * reach / x)[:, None] * nodes
    ratio = np.log1p(step)
    density = np.exp((a[:, None] - 1) * ratio - step * x[:, None])
    values = density * (ratio + (log_x - centre)[:, None])
    return direction * (values @ weights) * reach / x


@lru_cache(maxsize=1)
def _laguerre() -> tuple[Any, Any]:
    return np.polynomial.laguerre.laggauss(64)  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _legendre() -> tuple[Any, Any]:
    """Nodes and weights on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return (nodes + 1) / 2, weights / 2


def _slope_of(a: Any, sample: Any, log_space: bool) -> Any:
    """The derivative of a sample (or of its logarithm) with respect to `a`."""
    a64, value = np.broadcast_arrays(a.astype(np.float64), sample.astype(np.float64))
    log_x = (value if log_space else np.log(value)).reshape(-1)
    flat, slope = a64.reshape(-1), np.empty(value.size)
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        slope[part] = gamma_slope(flat[part], log_x[part])
    slope = slope.reshape(value.shape)
    if not log_space:
        slope = np.where(value == 0, 0.0, slope * value)
    return scalar(slope.astype(sample.dtype))


def _missing(*_: Any, **__: Any) -> Any:
    raise errors.MissingRuleError("random_gamma_grad", "derivative")


class RandomGammaGrad(Real):
    """The derivative of gamma numbers, or of their logarithms, with respect to `a`.

    It has no derivative itself: second derivatives of gamma numbers are an error.
    """

    domains = ((0.3, 3.0), (0.3, 3.0))
    partials: tuple[Callable[..., Any] | None, ...] = (_missing, _missing)
    compute = staticmethod(_slope_of)

    def samples(self) -> Iterator[Sample]:
        for sample in super().samples():
            for log_space in (False, True):
                yield Sample(*sample.args, log_space=log_space, differentiable=False)


random_gamma = RandomGamma()
random_gamma_grad = RandomGammaGrad()
