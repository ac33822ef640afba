"""Structure that is known beforehand: slices, padding, concatenation, reversal, counting.

All are linear in their array operands, so each states its transpose. Positions are static
parameters and checked against the shape: nothing is clamped in silence. Reshaping,
transposition and broadcasting are in `basis`, slices at computed positions in `dynamic`;
tiling, rolling, splitting and the like are composed of these by the NumPy interface.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives.basis import (
    Linear,
    batched_first,
    broadcast_in_dim,
    filled,
    masked_mul,
    move_axis,
    reduce_sum,
)
from wengert.primitives.compare import select

Padding = tuple[tuple[int, int, int], ...]


# -- static slices -----------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _slices(
    shape: Shape, starts: Shape, limits: Shape, strides: Shape | None
) -> tuple[slice, ...]:
    """The Python slices of a static slice, once they are known to lie within the shape."""
    steps = strides or (1,) * len(shape)
    fits = len(starts) == len(limits) == len(steps) == len(shape) and all(
        0 <= start <= limit <= n and step > 0
        for start, limit, step, n in zip(starts, limits, steps, shape, strict=True)
    )
    if not fits:
        raise errors.ShapeError(
            f"slice with start_indices={tuple(starts)}, limit_indices={tuple(limits)} and "
            f"strides={tuple(steps)} does not lie within shape {shape}: in each dimension "
            "0 <= start <= limit <= size must hold, and strides must be positive."
        )
    return tuple(slice(*bounds) for bounds in zip(starts, limits, steps, strict=True))


class Slice(Linear):
    """The elements from `start_indices` up to `limit_indices`, `strides` apart."""

    @staticmethod
    def compute(
        x: Any, start_indices: Shape, limit_indices: Shape, strides: Shape | None = None
    ) -> Any:
        return x[_slices(x.shape, start_indices, limit_indices, strides)]

    def type_rule(
        self, x: Any, start_indices: Shape, limit_indices: Shape, strides: Shape | None = None
    ) -> Any:
        slices = _slices(x.shape, start_indices, limit_indices, strides)
        shape = tuple(len(range(s.start, s.stop, s.step)) for s in slices)
        return ArrayType(shape, x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        steps = params.get("strides") or (1,) * len(cotangent.shape)
        config = []
        for start, step, size, n in zip(
            params["start_indices"], steps, cotangent.shape, operands[0].shape, strict=True
        ):
            covered = start + (size - 1) * step + 1 if size else start
            config.append((start, n - covered, step - 1))
        zero = filled(ArrayType((), cotangent.dtype), 0)
        return pad(cotangent, zero, padding_config=tuple(config))

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x = move_axis(args[0], dims[0], 0)
        strides = params.get("strides")
        return slice_(
            x,
            start_indices=(0, *params["start_indices"]),
            limit_indices=(size, *params["limit_indices"]),
            strides=None if strides is None else (1, *strides),
        ), 0

    def samples(self) -> Iterator[Sample]:
        x = np.arange(24.0).reshape(4, 6)
        yield Sample(x, start_indices=(1, 0), limit_indices=(3, 6), strides=None)
        yield Sample(x, start_indices=(0, 1), limit_indices=(4, 6), strides=(3, 2))
        yield Sample(x, start_indices=(2, 3), limit_indices=(2, 4), strides=None)
        yield Sample(np.float64(2.0), start_indices=(), limit_indices=(), strides=None)
        yield Sample(np.arange(5), start_indices=(4,), limit_indices=(5,), strides=(2,))


# -- padding -----------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _padding(
    shape: Shape, config: Padding
) -> tuple[Shape, tuple[slice, ...], tuple[slice, ...]]:
    """Shape of a padded array; where its kept elements go to, and which elements are kept."""
    if len(config) != len(shape) or any(interior < 0 for _, _, interior in config):
        raise errors.ShapeError(
            f"pad of shape {shape} needs one (low, high, interior) per dimension with "
            f"interior >= 0, got {config}."
        )
    sizes, targets, sources = [], [], []
    for n, (low, high, interior) in zip(shape, config, strict=True):
        step = interior + 1
        size = low + high + (n + (n - 1) * interior if n else 0)
        if size < 0:
            raise errors.ShapeError(
                f"pad with padding_config={config} removes more than shape {shape} has."
            )
        first = max(0, -(low // step))  # the first element whose place is not negative
        last = min(n, (size - low + step - 1) // step)
        last = max(first, last)
        begin = low + first * step
        sizes.append(size)
        sources.append(slice(first, last))
        targets.append(
            slice(begin, begin + (last - first - 1) * step + 1, step)
            if last > first
            else slice(0, 0)
        )
    return tuple(sizes), tuple(targets), tuple(sources)


class Pad(Linear):
    """The array with a value around it and between its elements.

    `padding_config` has a triple (low, high, interior) per dimension: elements added before,
    after, and between neighbours. Negative low and high remove elements.
    """

    linear = (0, 1)

    @staticmethod
    def compute(x: Any, value: Any, padding_config: Padding) -> Any:
        shape, targets, sources = _padding(x.shape, padding_config)
        out = np.empty(shape, x.dtype)
        out[...] = value
        out[targets] = x[sources]
        return out

    def type_rule(self, x: Any, value: Any, padding_config: Padding) -> Any:
        if value.shape or value.dtype != x.dtype:
            raise errors.ShapeError(
                f"pad of {x} needs a scalar of its dtype as padding value, got {value}."
            )
        shape, _, _ = _padding(x.shape, padding_config)
        return ArrayType(shape, x.dtype, x.weak_type and value.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        x, _ = operands
        config = params["padding_config"]
        if position == 1:
            zeros = filled(ArrayType(x.shape, cotangent.dtype), 0)
            one = filled(ArrayType((), cotangent.dtype), 1)
            padded = pad(zeros, one, padding_config=config)
            return reduce_sum(
                masked_mul(padded, cotangent), axes=tuple(range(len(cotangent.shape)))
            )
        zero = filled(ArrayType((), cotangent.dtype), 0)
        back = tuple((-low, -high, 0) for low, high, _ in config)
        dense = pad(cotangent, zero, padding_config=back)
        if all(interior == 0 for _, _, interior in config):
            return dense
        return slice_(
            dense,
            start_indices=(0,) * len(config),
            limit_indices=dense.shape,
            strides=tuple(interior + 1 for _, _, interior in config),
        )

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x = batched_first(args[0], dims[0], size)
        config = ((0, 0, 0), *params["padding_config"])
        if dims[1] is None:
            return pad(x, args[1], padding_config=config), 0
        shape, _, _ = _padding(x.shape, config)
        # a value for each row
        bits = (
            filled(ArrayType(t, dtypes.BOOL), bit) for t, bit in ((x.shape, False), ((), True))
        )
        zero = filled(ArrayType((), x.dtype), 0)
        values = broadcast_in_dim(args[1], shape=shape, broadcast_dimensions=(0,))
        return select(
            pad(*bits, padding_config=config), values, pad(x, zero, padding_config=config)
        ), 0

    def samples(self) -> Iterator[Sample]:
        x = np.arange(1.0, 7.0).reshape(2, 3)
        yield Sample(x, np.float64(0.5), padding_config=((1, 2, 0), (0, 1, 2)))
        yield Sample(x, np.float64(-1.0), padding_config=((0, -1, 1), (-2, 3, 1)))
        yield Sample(np.zeros((0, 2)), np.float64(3.0), padding_config=((2, 1, 0), (0, 0, 1)))
        yield Sample(np.float64(2.0), np.float64(3.0), padding_config=())
        yield Sample(np.arange(3), np.int64(7), padding_config=((-1, 1, 0),))


# -- concatenation, reversal, counting ---------------------------------------------------------


class Concatenate(Linear):
    """Arrays one after the other along a dimension."""

    def linear_positions(self, count: int) -> tuple[int, ...]:
        return tuple(range(count))

    @staticmethod
    def compute(*xs: Any, dimension: int) -> Any:
        return np.concatenate(xs, axis=dimension)

    def type_rule(self, *xs: Any, dimension: int) -> Any:
        first = xs[0]
        rest = {x.shape[:dimension] + x.shape[dimension + 1 :] for x in xs}
        if not 0 <= dimension < first.ndim or len(rest) > 1:
            raise errors.ShapeError(
                f"concatenate along dimension {dimension} needs shapes that are equal in all "
                f"other dimensions, got {', '.join(str(x.shape) for x in xs)}."
            )
        if any(x.dtype != first.dtype for x in xs):
            raise errors.DTypeError(
                "concatenate needs operands of one dtype, got "
                f"{', '.join(x.dtype.name for x in xs)}. Convert with x.astype(dtype)."
            )
        size = sum(x.shape[dimension] for x in xs)
        shape = (*first.shape[:dimension], size, *first.shape[dimension + 1 :])
        return ArrayType(shape, first.dtype, all(x.weak_type for x in xs))

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        dimension = params["dimension"]
        start = sum(x.shape[dimension] for x in operands[:position])
        starts, limits = [0] * len(cotangent.shape), list(cotangent.shape)
        starts[dimension] = start
        limits[dimension] = start + operands[position].shape[dimension]
        return slice_(
            cotangent, start_indices=tuple(starts), limit_indices=tuple(limits), strides=None
        )

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        xs = [batched_first(x, d, size) for x, d in zip(args, dims, strict=True)]
        return concatenate(*xs, dimension=params["dimension"] + 1), 0

    def samples(self) -> Iterator[Sample]:
        x = np.arange(6.0).reshape(2, 3)
        yield Sample(x, x[:, :1], np.zeros((2, 0)), dimension=1)
        yield Sample(x, dimension=0)
        yield Sample(np.arange(2), np.arange(3), dimension=0)


class Rev(Linear):
    """The array read backwards along some dimensions."""

    @staticmethod
    def compute(x: Any, dimensions: tuple[int, ...]) -> Any:
        return x[_reversed(len(x.shape), dimensions)]

    def type_rule(self, x: Any, dimensions: tuple[int, ...]) -> Any:
        _reversed(x.ndim, dimensions)
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return rev(cotangent, **params)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        (x,), (d,) = args, dims
        return rev(x, dimensions=shifted(params["dimensions"], d)), d

    def samples(self) -> Iterator[Sample]:
        x = np.arange(24.0).reshape(2, 3, 4)
        yield Sample(x, dimensions=(0, 2))
        yield Sample(x, dimensions=())
        yield Sample(np.zeros((0, 2)), dimensions=(0,))


@lru_cache(maxsize=1024)
def _reversed(ndim: int, dimensions: tuple[int, ...]) -> tuple[slice, ...]:
    if any(not 0 <= d < ndim for d in dimensions) or len(set(dimensions)) != len(dimensions):
        raise errors.ShapeError(f"{dimensions} are not distinct dimensions of {ndim}.")
    return tuple(slice(None, None, -1 if d in dimensions else None) for d in range(ndim))


def shifted(axes: Sequence[int], batch_dim: Any) -> tuple[int, ...]:
    """Axes of an operand as axes of the operand that has a batch dimension in addition."""
    return tuple(a + (a >= batch_dim) for a in axes)


class Iota(Primitive):
    """The position along one dimension: 0, 1, 2, ..."""

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(dtype: Any, shape: Shape, dimension: int) -> Any:
        numbers = np.arange(shape[dimension])
        numbers = numbers.astype(dtype)
        if len(shape) == 1:
            return numbers
        sizes = [1] * len(shape)
        sizes[dimension] = shape[dimension]
        numbers = numbers.reshape(sizes)
        return numbers if numbers.shape == tuple(shape) else np.broadcast_to(numbers, shape)

    def type_rule(self, dtype: Any, shape: Shape, dimension: int) -> Any:
        if not 0 <= dimension < len(shape):
            raise errors.ShapeError(f"iota of shape {shape} has no dimension {dimension}.")
        return ArrayType(tuple(shape), dtype)

    def samples(self) -> Iterator[Sample]:
        yield Sample(dtype=np.dtype(np.int32), shape=(4,), dimension=0)
        yield Sample(dtype=np.dtype(np.float64), shape=(2, 3), dimension=1)
        yield Sample(dtype=np.dtype(np.int64), shape=(0, 3), dimension=0)
        yield Sample(dtype=dtypes.bfloat16, shape=(3,), dimension=0)


slice_ = Slice()
pad = Pad()
concatenate = Concatenate()
rev = Rev()
iota = Iota()
