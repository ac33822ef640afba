"""Random keys and bits as primitives: keys in, keys or bits out.

Key data are uint32 arrays `(*batch, 2)`; every primitive works on all keys of a batch at once,
so batching adds a leading dimension and nothing else. What a key means (its *layout*) is a
static parameter. `unit_interval` turns bits into floats and `normal_quantile` turns uniform
floats into normal ones: both with the very formulas that give JAX's values. The distributions
over these are in `wengert.random`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives import threefry
from wengert.primitives.basis import Elementwise, move_axis, mul, reshape
from wengert.primitives.families import Real, same_dtype, scalar
from wengert.primitives.transcendental import exp

special = lazy_module("scipy.special")

UINT32 = np.dtype(np.uint32)


def check_keys(keys: Any, name: str) -> Shape:
    """The batch shape of key data of this type, or an error."""
    if keys.dtype != UINT32 or keys.shape[-1:] != (2,):
        raise errors.DTypeError(
            f"{name} needs key data of type u32[..., 2], got {keys}. Make keys with "
            "wengert.random.key(seed) or PRNGKey(seed)."
        )
    return keys.shape[:-1]


class KeyPrimitive(Primitive):
    """Primitives from keys alone; the batch dimensions of the keys lead."""

    nondifferentiable = True
    keeps_weak = False

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(move_axis(args[0], dims[0], 0), **params), 0


def _align(
    args: Sequence[Value], dims: Sequence[int | None], ranks: Sequence[int]
) -> list[Value]:
    """Batched operands with the batch dimension in front, padded to one rank of examples."""
    out = []
    for arg, dim, rank in zip(args, dims, ranks, strict=True):
        if dim is None:
            out.append(arg)
            continue
        value = move_axis(arg, dim, 0)
        padding = (1,) * (max(ranks) - rank)
        out.append(reshape(value, shape=(value.shape[0], *padding, *value.shape[1:])))
    return out


class Threefry2x32(Elementwise):
    """The Threefry-2x32 hash of counter blocks `(x1, x2)` under keys `(k1, k2)`."""

    name = "threefry2x32"
    multiple_results = True
    nondifferentiable = True
    keeps_weak = False

    compute = staticmethod(threefry.hash_blocks)

    def type_rule(self, *types: Any) -> Any:
        if same_dtype(self.name, types) != UINT32:
            raise errors.DTypeError(f"threefry2x32 takes uint32 words, got {types[0]}.")
        shape = super().type_rule(*types).shape
        return [ArrayType(shape, UINT32), ArrayType(shape, UINT32)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        return Primitive.jvp(self, primals, tangents)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return super().batch(size, args, dims)[0], [0, 0]

    apply_batched = Primitive.apply_batched  # the family's is for a single result

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for shapes in (
            ((),) * 4,
            ((), (), (3,), (3,)),
            ((2, 1), (1,), (1, 3), ()),
            ((0,),) * 4,
        ):
            words = (rng.integers(0, 2**32, s, dtype=np.uint32) for s in shapes)
            yield Sample(*map(np.uint32, words), differentiable=False)


class RandomSeed(Primitive):
    """Key data from integer seeds: the upper and the lower 32 bits of each."""

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(seed: Any) -> Any:
        low = seed.astype(np.uint32)
        high = (
            (seed >> 32).astype(np.uint32) if seed.dtype.itemsize == 8 else np.zeros_like(low)
        )
        return np.stack([high, low], axis=-1)

    def type_rule(self, seed: Any) -> Any:
        if not dtypes.is_integer(seed.dtype):
            raise errors.DTypeError(f"the seed of a key must be an integer, got {seed}.")
        return ArrayType((*seed.shape, 2), UINT32)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(args[0]), dims[0]

    def samples(self) -> Iterator[Sample]:
        for seed in (np.int32(-1), np.array([2**40 + 3, -5, 7]), np.zeros((0, 2), np.uint32)):
            yield Sample(seed, differentiable=False)


class RandomSplit(KeyPrimitive):
    """New keys from keys: `shape` of them from each."""

    @staticmethod
    def compute(keys: Any, shape: Shape, layout: str) -> Any:
        new = threefry.split_keys(keys.reshape(-1, 2), math.prod(shape), layout)
        return new.reshape(*keys.shape[:-1], *shape, 2)

    def type_rule(self, keys: Any, shape: Shape, layout: str) -> Any:
        return ArrayType((*check_keys(keys, "split"), *shape, 2), UINT32)

    def samples(self) -> Iterator[Sample]:
        for keys in _sample_keys():
            for layout in threefry.LAYOUTS:
                yield Sample(keys, shape=(3,), layout=layout, differentiable=False)
                yield Sample(keys, shape=(2, 2), layout=layout, differentiable=False)
                yield Sample(keys, shape=(0,), layout=layout, differentiable=False)


class RandomFoldIn(Primitive):
    """New keys from keys and 32-bit words; batch dimensions broadcast."""

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(keys: Any, data: Any) -> Any:
        return threefry.fold_words(keys, data)

    def type_rule(self, keys: Any, data: Any) -> Any:
        if data.dtype != UINT32:
            raise errors.DTypeError(f"fold_in takes data of dtype uint32, got {data}.")
        shape = np.broadcast_shapes(check_keys(keys, "fold_in"), data.shape)
        return ArrayType((*shape, 2), UINT32)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        (keys, data), (d_keys, d_data) = args, dims
        ranks = (
            len(keys.shape) - 1 - (d_keys is not None),
            len(data.shape) - (d_data is not None),
        )
        return self(*_align(args, dims, ranks)), 0

    def samples(self) -> Iterator[Sample]:
        one, many, *_ = _sample_keys()
        yield Sample(one, np.uint32(7), differentiable=False)
        yield Sample(many, np.uint32(7), differentiable=False)
        yield Sample(one, np.array([3, 2**32 - 1], np.uint32), differentiable=False)
        yield Sample(many, np.arange(6, dtype=np.uint32).reshape(2, 3), differentiable=False)


class RandomBits(KeyPrimitive):
    """Unsigned integers of `width` random bits: `shape` of them from each key."""

    @staticmethod
    def compute(keys: Any, width: int, shape: Shape, layout: str) -> Any:
        bits = threefry.draw_bits(keys.reshape(-1, 2), width, shape, layout)
        return scalar(bits.reshape((*keys.shape[:-1], *shape)))

    def type_rule(self, keys: Any, width: int, shape: Shape, layout: str) -> Any:
        return ArrayType((*check_keys(keys, "bits"), *shape), np.dtype(f"u{width // 8}"))

    def samples(self) -> Iterator[Sample]:
        for keys in _sample_keys():
            for layout in threefry.LAYOUTS:
                for width in (8, 16, 32, 64):
                    params = {"width": width, "layout": layout, "differentiable": False}
                    yield Sample(keys, shape=(3,), **params)
                    yield Sample(keys, shape=(), **params)
                yield Sample(keys, shape=(0, 2), **params)


def _sample_keys() -> list[Any]:
    rng = np.random.default_rng(0)
    shapes: tuple[Shape, ...] = ((2,), (2, 3, 2), (0, 2))
    return [rng.integers(0, 2**32, shape, dtype=np.uint32) for shape in shapes]


# -- floats from bits ------------------------------------------------------------------------


_MANTISSAS = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}


@cache
def bits_for(dtype: Any) -> int:
    """How many random bits a float takes: as many as it has, 8 if its mantissa is shorter."""
    return 8 if _MANTISSAS[dtype.name] < 8 else 8 * int(dtype.itemsize)


@cache
def _float_format(dtype: Any) -> tuple[Any, Any, Any]:
    """The unsigned dtype of the same size, how far to shift random bits, and the bits of 1."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    shift = np.dtype(f"u{bits_for(dtype) // 8}").type(bits_for(dtype) - _MANTISSAS[dtype.name])
    return unsigned, shift, np.array(1, dtype).view(unsigned)[()]


def unit_floats(bits: Any, dtype: Any) -> Any:
    """Floats in [0, 1): the upper bits as the mantissa of a float in [1, 2), minus 1."""
    unsigned, shift, one = _float_format(dtype)
    mantissa = np.right_shift(bits, shift).astype(unsigned, copy=False)
    if dtype.itemsize == 2:
        return ((mantissa | one).view(dtype).astype(np.float32) - np.float32(1)).astype(dtype)
    if not mantissa.ndim:
        return (mantissa | one).view(dtype) - dtype.type(1)
    floats = np.bitwise_or(mantissa, one, out=mantissa).view(dtype)
    return np.subtract(floats, dtype.type(1), out=floats)


class UnitInterval(Elementwise):
    """Floats in [0, 1) from random bits."""

    nondifferentiable = True
    keeps_weak = False
    compute = staticmethod(unit_floats)

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        return params["dtype"]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        return Primitive.jvp(self, primals, tangents, **params)

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for name in _MANTISSAS:
            dtype = dtypes.as_dtype(name)
            bits = rng.integers(
                0, 2 ** bits_for(dtype), (2, 3), dtype=f"u{bits_for(dtype) // 8}"
            )
            for value in (bits, bits[0, 0], bits[:0]):
                yield Sample(value, dtype=dtype, differentiable=False)


#: Coefficients of Giles's single-precision approximation, highest power first: of the middle
#: of the interval, and of its ends.
CENTRAL, TAIL = (
    [np.float64(np.float32(c)) for c in coefficients]
    for coefficients in (
        (
            *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
            *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
        ),
        (
            *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
            *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
        ),
    )
)
_SQRT2 = math.sqrt(2.0)
_SQRT_HALF_PI = math.sqrt(math.pi / 2.0)


def normal_from_uniform(u: Any) -> Any:
    """The numbers whose normal distribution function is (1 + u) / 2: sqrt(2) erfinv(u).

    In float32 by the polynomials that JAX uses too, so that its normal numbers come out to the
    last digits, far from zero as well, where these polynomials are less accurate (1e-5
    relative) than the exact function.

    M. Giles, "Approximating the erfinv function", GPU Computing Gems (2010).
    """
    if u.dtype == np.float64:
        return special.erfinv(u) * _SQRT2
    if u.dtype.itemsize == 2:
        half = normal_from_uniform(u.astype(np.float32)) * np.float32(1 / _SQRT2)
        return half.astype(u.dtype) * u.dtype.type(_SQRT2)
    flat = np.asarray(u).reshape(-1)
    out = np.empty_like(flat)
    for start in range(0, flat.size, _CHUNK):
        _giles(flat[start : start + _CHUNK], out[start : start + _CHUNK])
    np.multiply(out, np.float32(_SQRT2), out=out)
    return scalar(out.reshape(u.shape))


_CHUNK = 1 << 13
_FAR = np.float32(-5)


def _giles(u: Any, out: Any) -> None:
    minus_w = np.log1p(np.multiply(u, -u))
    (tail,) = np.nonzero(minus_w <= _FAR)
    np.subtract(np.float32(-2.5), minus_w, out=out)
    np.multiply(_polynomial(CENTRAL, out), u, out=out)
    if tail.size:
        ends = u[tail]
        far = _polynomial(TAIL, np.sqrt(-minus_w[tail]) - np.float32(3))
        out[tail] = np.where(np.abs(ends) == 1, np.float32(np.inf), far) * ends


def _polynomial(coefficients: Any, x: Any) -> Any:
    """Horner's scheme with fused multiply-add, as processors do it: only sums are rounded."""
    wide = x.astype(np.float64)
    exact = np.multiply(wide, coefficients[0])
    rounded = np.empty_like(x)
    for c in coefficients[1:-1]:
        np.add(exact, c, out=exact)
        rounded[...] = exact
        exact[...] = rounded
        np.multiply(exact, wide, out=exact)
    return np.add(exact, coefficients[-1], out=exact).astype(np.float32)


class NormalQuantile(Real):
    """Normal numbers from uniform numbers in (-1, 1): sqrt(2) erfinv(u)."""

    domains = ((-0.9, 0.9),)
    compute = staticmethod(normal_from_uniform)
    partials = (lambda out, u: mul(exp(mul(mul(out, out), 0.5)), _SQRT_HALF_PI),)


threefry2x32 = Threefry2x32()
random_seed = RandomSeed()
random_split = RandomSplit()
random_fold_in = RandomFoldIn()
random_bits = RandomBits()
unit_interval = UnitInterval()
normal_quantile = NormalQuantile()
