"""Slices of static sizes at computed positions: dynamic_slice and dynamic_update_slice.

The start indices are integer scalars, one per dimension; negative ones count from the end. A
slice that does not fit raises IndexError; with `mode="clip"` it is moved to where it fits.
Batches of start indices become gathers and scatters.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives.basis import (
    Linear,
    batched_first,
    filled,
    move_axis,
    reshape,
)
from wengert.primitives.families import all_weak, with_weak
from wengert.primitives.index import gather, scatter

_POSITIONS = np.dtype(np.int64)


def _misplaced(start: Any, size: int, limit: int, axis: int) -> IndexError:
    return IndexError(
        f"a slice of size {size} from index {start} is out of bounds for axis {axis} with size "
        f'{limit}. mode="clip" moves it to where it fits.'
    )


def _window(shape: Shape, starts: Sequence[Any], sizes: Shape, mode: str) -> tuple[slice, ...]:
    """The Python slices of a dynamic slice, checked or moved by the mode."""
    window = []
    for axis, (start, size, n) in enumerate(zip(starts, sizes, shape, strict=True)):
        first = given = operator.index(start)
        if first < 0:
            first += n
        if mode == "clip" and size <= n:
            first = min(max(first, 0), n - size)
        elif not 0 <= first <= n - size:
            raise _misplaced(given, size, n, axis)
        window.append(slice(first, first + size))
    return tuple(window)


def _check(name: str, x: Any, sizes: Shape, starts: Sequence[Any], mode: str) -> None:
    """Raise unless the types of operand and start indices, sizes and mode fit together."""
    if len(sizes) != x.ndim or any(
        not 0 <= k <= n for k, n in zip(sizes, x.shape, strict=True)
    ):
        raise errors.ShapeError(f"{name}: {x} has no slice of shape {tuple(sizes)}.")
    given = ", ".join(map(str, starts)) or "none"
    if len(starts) != x.ndim or any(s.shape for s in starts):
        raise errors.ShapeError(
            f"{name} of {x} needs {x.ndim} start indices without dimensions, got {given}."
        )
    if not all(dtypes.is_integer(s.dtype) for s in starts):
        raise errors.DTypeError(f"{name} needs integer start indices, got {given}.")
    if mode not in ("error", "clip"):
        raise ValueError(f"{name} has the modes 'error' and 'clip', not {mode!r}.")


class SlicePositions(Primitive):
    """The positions of a slice of `length` elements from each start index along an axis."""

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(start: Any, length: int, limit: int, axis: int, mode: str) -> Any:
        given = start.astype(_POSITIONS)
        first = np.where(given < 0, given + limit, given)
        if mode == "clip":
            first = np.clip(first, 0, limit - length)
        bad = (first < 0) | (first > limit - length)
        if bad.any():
            raise _misplaced(np.atleast_1d(given)[np.atleast_1d(bad)][0], length, limit, axis)
        return first[..., None] + np.arange(length)

    def type_rule(self, start: Any, length: int, limit: int, axis: int, mode: str) -> Any:
        return ArrayType((*start.shape, length), _POSITIONS)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return slice_positions(args[0], **params), dims[0]

    def samples(self) -> Iterator[Sample]:
        start = np.array([0, 2, -1])
        yield Sample(start, length=1, limit=3, axis=0, mode="error")
        yield Sample(start * 4, length=2, limit=3, axis=0, mode="clip")
        yield Sample(np.int32(1), length=0, limit=3, axis=0, mode="error")


def _places(
    starts: Sequence[Value], sizes: Shape, shape: Shape, mode: str
) -> tuple[list[Value], list[int | None]]:
    """Indices, and their batch dimensions, of the elements of slices at batched starts."""
    places: list[Value] = []
    dims: list[int | None] = []
    rank = len(sizes)
    for axis, (start, k, n) in enumerate(zip(starts, sizes, shape, strict=True)):
        positions = slice_positions(start, length=k, limit=n, axis=axis, mode=mode)
        aligned = [1] * rank
        aligned[axis] = k
        places.append(reshape(positions, shape=(*start.shape, *aligned)))
        dims.append(0 if start.shape else None)
    return places, dims


class DynamicSlice(Linear):
    """A slice of static sizes at computed start indices (see the module)."""

    @staticmethod
    def compute(x: Any, *starts: Any, slice_sizes: Shape, mode: str = "error") -> Any:
        return x[_window(x.shape, starts, slice_sizes, mode)]

    def type_rule(self, x: Any, *starts: Any, slice_sizes: Shape, mode: str = "error") -> Any:
        _check(self.name, x, slice_sizes, starts, mode)
        return ArrayType(tuple(slice_sizes), x.dtype, x.weak_type)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        out = super().evaluate(args, params)  # the starts have no say in the weak flag
        return with_weak(out, True) if getattr(args[0], "weak_type", False) else out

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        x, *starts = operands
        zeros = filled(ArrayType(x.shape, cotangent.dtype), 0)
        mode = params.get("mode", "error")
        return dynamic_update_slice(zeros, cotangent, *starts, mode=mode)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x, *starts = args
        sizes, mode = params["slice_sizes"], params.get("mode", "error")
        if all(d is None for d in dims[1:]):
            x = move_axis(x, dims[0], 0)
            zero = Array(np.int32(0))
            return dynamic_slice(x, zero, *starts, slice_sizes=(size, *sizes), mode=mode), 0
        places, place_dims = _places(starts, sizes, _shape(x, dims[0]), mode)
        axes = tuple(range(len(sizes)))
        return gather.batch(size, [x, *places], [dims[0], *place_dims], axes=axes)

    def samples(self) -> Iterator[Sample]:
        x = np.arange(12.0).reshape(3, 4)
        yield Sample(x, np.int32(1), np.int32(2), slice_sizes=(2, 2), mode="error")
        yield Sample(x, np.int32(-1), np.int64(3), slice_sizes=(1, 3), mode="clip")
        yield Sample(x, np.int32(0), np.uint8(4), slice_sizes=(3, 0), mode="error")
        yield Sample(np.arange(5), np.int32(3), slice_sizes=(2,), mode="error")
        yield Sample(np.float64(2.0), slice_sizes=(), mode="error")


class DynamicUpdateSlice(Linear):
    """The array with a slice replaced that lies at computed start indices (see the module)."""

    linear = (0, 1)

    @staticmethod
    def compute(x: Any, update: Any, *starts: Any, mode: str = "error") -> Any:
        if update.dtype != x.dtype:
            raise _unequal_dtypes(x, update)
        out = np.array(x, order="C")
        out[_window(x.shape, starts, update.shape, mode)] = update
        return out

    def type_rule(self, x: Any, update: Any, *starts: Any, mode: str = "error") -> Any:
        _check(self.name, x, update.shape, starts, mode)
        if update.dtype != x.dtype:
            raise _unequal_dtypes(x, update)
        return ArrayType(x.shape, x.dtype, x.weak_type and update.weak_type)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        out = super().evaluate(args, params)  # the starts have no say in the weak flag
        return with_weak(out, True) if all_weak(args[:2]) else out

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        _, update, *starts = operands
        mode = params.get("mode", "error")
        if position == 1:
            return dynamic_slice(cotangent, *starts, slice_sizes=update.shape, mode=mode)
        zeros = filled(ArrayType(update.shape, cotangent.dtype), 0)
        return dynamic_update_slice(cotangent, zeros, *starts, mode=mode)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x, update, *starts = args
        mode = params.get("mode", "error")
        if all(d is None for d in dims[2:]):
            x = batched_first(x, dims[0], size)
            update = batched_first(update, dims[1], size)
            return dynamic_update_slice(x, update, Array(np.int32(0)), *starts, mode=mode), 0
        sizes = _shape(update, dims[1])
        places, place_dims = _places(starts, sizes, _shape(x, dims[0]), mode)
        operands, operand_dims = [x, update, *places], [dims[0], dims[1], *place_dims]
        return scatter.batch(size, operands, operand_dims, axes=tuple(range(len(sizes))))

    def samples(self) -> Iterator[Sample]:
        x, update = np.arange(12.0).reshape(3, 4), np.array([[0.5], [-2.0]])
        yield Sample(x, update, np.int32(1), np.int32(2), mode="error")
        yield Sample(x, update, np.int32(-1), np.int64(1), mode="clip")
        yield Sample(x, np.zeros((3, 0)), np.int32(0), np.int32(4), mode="error")
        yield Sample(np.arange(5), np.array([9, 8]), np.int32(3), mode="error")
        yield Sample(np.float64(2.0), np.float64(3.0), mode="error")


def _shape(x: Value, dim: int | None) -> Shape:
    """The shape of one example."""
    shape: Shape = x.shape
    return shape if dim is None else shape[:dim] + shape[dim + 1 :]


def _unequal_dtypes(x: Any, update: Any) -> errors.DTypeError:
    return errors.DTypeError(
        f"dynamic_update_slice needs an update of the operand's dtype {x.dtype}, got "
        f"{update.dtype}. Convert with update.astype(dtype)."
    )


slice_positions = SlicePositions()
dynamic_slice = DynamicSlice()
dynamic_update_slice = DynamicUpdateSlice()
