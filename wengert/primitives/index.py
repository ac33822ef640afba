"""Reading and writing at computed positions: gather, scatter, scatter_add.

The normal form of advanced indexing: integer arrays that broadcast to one shape S index the
operand axes `axes`; the result of a gather has shape S followed by the remaining axes, and so
have the updates of a scatter. Negative positions down to -n count from the end. What happens
beyond the bounds is the `mode`:

| mode | gather | scatter |
|---|---|---|
| "error" (and "promise_in_bounds") | IndexError | IndexError |
| "clip", "wrap" | nearest position, position modulo n | the same |
| "fill", "drop" | `fill_value` | the update is dropped |

Scatters that combine (multiply, min, max) are in `scatter`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives.basis import (
    Linear,
    aligned,
    batched_first,
    broadcast_in_dim,
    broadcast_shape,
    filled,
    masked_mul,
    move_axis,
    reshape,
)
from wengert.primitives.families import all_weak, with_weak
from wengert.primitives.shape import iota, shifted

Axes = tuple[int, ...]

_CHECKED = ("error", "promise_in_bounds")
_MODES = (*_CHECKED, "clip", "wrap", "fill", "drop")
_FEW = 64


# -- positions, on NumPy values ----------------------------------------------------------------


@lru_cache(maxsize=1024)
def _order(ndim: int, axes: Axes) -> Axes:
    """The permutation that brings the indexed axes to the front."""
    return (*axes, *(i for i in range(ndim) if i not in axes))


def _inverse(permutation: Axes) -> Axes:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def check_indices(name: str, x: Any, indices: Sequence[Any], axes: Axes, mode: str) -> None:
    """Raise unless integer indices, one for each of the axes of `x`, and a mode are given."""
    for index in indices:
        if not dtypes.is_integer(index.dtype):
            raise errors.DTypeError(
                f"{name} needs integer indices, got {index.dtype}. A boolean mask selects a "
                "number of elements that depends on its values: use x[mask] outside jit, or "
                "wengert.numpy.where."
            )
    if len(axes) != len(indices) or len(set(axes)) != len(axes):
        raise errors.ShapeError(
            f"{name} needs one index per axis and distinct axes, got {len(indices)} indices "
            f"for axes {axes}."
        )
    if any(not 0 <= a < len(x.shape) for a in axes):
        raise errors.ShapeError(f"{name} of shape {x.shape} has no axes {axes}.")
    if mode not in _MODES:
        raise ValueError(f"{name} has the modes {', '.join(_MODES)}; got {mode!r}.")


def out_of_bounds(indices: Sequence[Any], axes: Axes, sizes: Shape) -> IndexError:
    """The error for the first index that is out of bounds."""
    for index, axis, n in zip(indices, axes, sizes, strict=True):
        values = np.asarray(index)
        bad = values[(values < -n) | (values >= n)]
        if bad.size:
            return IndexError(f"index {bad[0]} is out of bounds for axis {axis} with size {n}")
    return IndexError(f"an index is out of bounds for axes {axes} with sizes {sizes}")


def resolve(
    indices: Sequence[Any], axes: Axes, sizes: Shape, mode: str
) -> tuple[tuple[Any, ...], Any]:
    """Indices with the bounds applied, none of them negative, and which of them are valid.

    Returns:
      the indices, and None where all are valid, or a boolean array ("fill" and "drop").

    Raises:
      IndexError: in mode "error", and where an axis of size 0 has no position at all.
    """
    placed, valid = [], None
    for index, n in zip(indices, sizes, strict=True):
        i = index.astype(np.intp)
        if mode == "wrap" and n:
            placed.append(np.remainder(i, n))
            continue
        i = np.where(i < 0, i + n, i)
        inside = (i >= 0) & (i < n)
        if mode in ("fill", "drop"):
            valid = inside if valid is None else valid & inside
            i = np.where(inside, i, 0)
        elif not inside.all():
            if n == 0 or mode in _CHECKED:
                raise out_of_bounds(indices, axes, sizes)
            i = np.clip(i, 0, n - 1)
        placed.append(i)
    return tuple(placed), valid


def flat_positions(indices: Sequence[Any], sizes: Shape) -> Any:
    """The row-major positions of resolved indices in an array of shape `sizes`."""
    flat: Any = 0
    for i, n in zip(indices, sizes, strict=True):
        flat = flat * n + i
    return flat


def last_writers(flat: Any, count: int) -> Any:
    """Which of the writes to these flat positions are not overwritten by a later one."""
    writers = np.arange(flat.size).reshape(flat.shape)
    owner = np.empty(count, np.intp)
    owner[flat] = writers
    return owner[flat] == writers


# -- batching ----------------------------------------------------------------------------------


def batched_indices(
    indices: Sequence[Value], dims: Sequence[int | None], size: int
) -> tuple[Value, ...]:
    """Indices that broadcast along a leading batch axis; the first is the position along it."""
    rank = max(len(i.shape) - (d is not None) for i, d in zip(indices, dims, strict=True))
    rows = iota(dtype=np.dtype(np.int32), shape=(size,), dimension=0)
    return (reshape(rows, shape=(size, *(1,) * rank)), *aligned(indices, dims))


def joint_shape(indices: Sequence[Any]) -> Shape:
    """The shape to which index arrays (values or types) broadcast."""
    if len(indices) == 1:
        return indices[0].shape
    return broadcast_shape([i.shape for i in indices], "indexing") if indices else ()


def _rest(shape: Shape, axes: Axes) -> Shape:
    return tuple(n for a, n in enumerate(shape) if a not in axes)


# -- gather ------------------------------------------------------------------------------------


def default_fill(dtype: Any) -> Any:
    """For missing elements: NaN, least signed, greatest unsigned integer, True."""
    kind = dtypes.kind(dtype)
    if kind in "fc":
        return float("nan")
    if kind == "b":
        return True
    return np.iinfo(dtype).max if kind == "u" else np.iinfo(dtype).min


class Gather(Linear):
    """The elements at computed positions (see the module): advanced indexing."""

    @staticmethod
    def compute(
        x: Any, *indices: Any, axes: Axes, mode: str = "error", fill_value: Any = None
    ) -> Any:
        for index in indices:
            if index.dtype.kind not in "iu":
                check_indices("gather", x, indices, axes, mode)
        if mode == "error":
            return _take(x, indices, axes)
        check_indices("gather", x, indices, axes, mode)
        sizes = tuple(x.shape[a] for a in axes)
        placed, valid = resolve(indices, axes, sizes, mode)
        if valid is None:
            return _take(x, placed, axes)
        rest = _rest(x.shape, axes)
        fill = x.dtype.type(default_fill(x.dtype) if fill_value is None else fill_value)
        valid = np.broadcast_to(valid, joint_shape(placed))
        if 0 in sizes:
            return np.full(valid.shape + rest, fill, x.dtype)
        mask = valid.reshape(valid.shape + (1,) * len(rest))
        return np.where(mask, _take(x, placed, axes), fill)

    def type_rule(
        self, x: Any, *indices: Any, axes: Axes, mode: str = "error", fill_value: Any = None
    ) -> Any:
        check_indices(self.name, x, indices, axes, mode)
        return ArrayType(joint_shape(indices) + _rest(x.shape, axes), x.dtype, x.weak_type)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        out = super().evaluate(args, params)  # the indices have no say in the weak flag
        return with_weak(out, True) if getattr(args[0], "weak_type", False) else out

    def push(self, terms: Any, params: Params, tangents: Sequence[Value]) -> Value:
        if params.get("mode") == "fill":  # the tangents of missing elements are zero
            params = {**params, "fill_value": 0}
        return super().push(terms, params, tangents)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        x, *indices = operands
        zeros = filled(ArrayType(x.shape, cotangent.dtype), 0)
        mode = params.get("mode", "error")
        return scatter_add(zeros, cotangent, *indices, axes=params["axes"], mode=mode)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x, *indices = args
        d, *index_dims = dims
        if d is not None and all(i is None for i in index_dims):
            axes = shifted(params["axes"], d)
            out = gather(x, *indices, **{**params, "axes": axes})
            return out, len(joint_shape(indices)) + d - sum(a < d for a in axes)
        rows, *each = batched_indices(indices, index_dims, size)
        if d is None:
            return gather(x, *each, **params), 0
        axes = (0, *(a + 1 for a in params["axes"]))
        return gather(move_axis(x, d, 0), rows, *each, **{**params, "axes": axes}), 0

    def samples(self) -> Iterator[Sample]:
        x = np.arange(24.0).reshape(2, 3, 4)
        i, j = np.array([2, 0, 2, -1]), np.array([[1], [0]])
        yield Sample(x, i, axes=(1,), mode="error")
        yield Sample(x, np.int32(1), axes=(0,), mode="error")
        yield Sample(x, i, j, axes=(2, 0), mode="error")
        yield Sample(x, np.array([[5, -7], [1, 0]]), axes=(2,), mode="clip")
        yield Sample(x, np.array([5, -7]), axes=(2,), mode="wrap")
        yield Sample(x, np.array([1, 9], np.uint8), axes=(2,), mode="fill", fill_value=0.5)
        yield Sample(x, np.zeros((0,), np.int32), axes=(0,), mode="error")
        yield Sample(np.arange(3), i, axes=(0,), mode="fill", fill_value=None)


def _take(x: Any, indices: tuple[Any, ...], axes: Axes) -> Any:
    """Gather at positions that NumPy checks."""
    if axes == (0,):
        return x[indices[0]]
    if len(axes) == 1 and x.size:  # from nothing `take` takes without a check
        (axis,) = axes
        index = indices[0]
        out = x.take(index, axis)
        if index.ndim == 0:
            return out
        return out.transpose(_order(out.ndim, tuple(range(axis, axis + index.ndim))))
    if axes == tuple(range(len(axes))):
        return x[indices]
    try:
        return x.transpose(_order(x.ndim, axes))[indices]
    except IndexError:  # name the axis of the operand, not of its transpose
        raise out_of_bounds(indices, axes, tuple(x.shape[a] for a in axes)) from None


# -- scatter -----------------------------------------------------------------------------------


class ScatterFamily(Primitive):
    """Writes at computed positions (see the module): what the scatters have in common."""

    @staticmethod
    def write(target: Any, indices: tuple[Any, ...], updates: Any) -> None:
        """Combine updates, of dtype and shape of `target[indices]`, into `target`."""
        raise errors.MissingRuleError("scatter", "write")

    def compute(
        self, x: Any, updates: Any, *indices: Any, axes: Axes, mode: str = "error"
    ) -> Any:
        self.check(x, updates, indices, axes, mode)
        order = _order(x.ndim, axes)
        small = x.dtype.itemsize == 2 and dtypes.is_floating(x.dtype)
        work = np.float32 if small else x.dtype
        out = np.array(x.transpose(order), work, order="C")  # a copy to write to
        if mode != "error":
            indices, valid = resolve(indices, axes, out.shape[: len(axes)], mode)
            if valid is not None and not valid.all():
                shape = updates.shape[: updates.ndim - x.ndim + len(axes)]
                valid = np.broadcast_to(valid, shape)
                indices = tuple(np.broadcast_to(i, shape)[valid] for i in indices)
                updates = updates[valid]
        try:
            self.write(out, indices, updates.astype(work) if small else updates)
        except IndexError:
            raise out_of_bounds(indices, axes, out.shape[: len(axes)]) from None
        out = out.astype(x.dtype) if small else out
        return out if order == tuple(range(x.ndim)) else out.transpose(_inverse(order))

    def check(self, x: Any, updates: Any, indices: Any, axes: Axes, mode: str) -> None:
        """Raise unless the operands, NumPy values or types, fit together."""
        check_indices(self.name, x, indices, axes, mode)
        shape = joint_shape(indices) + _rest(x.shape, axes)
        if updates.shape != shape:
            raise errors.ShapeError(
                f"{self.name} into shape {x.shape} at axes {axes} with indices of shape "
                f"{joint_shape(indices)} needs updates of shape {shape}, got {updates.shape}."
            )
        if updates.dtype != x.dtype:
            raise errors.DTypeError(
                f"{self.name} needs updates of the operand's dtype {x.dtype}, got "
                f"{updates.dtype}. Convert with updates.astype(dtype)."
            )

    def type_rule(
        self, x: Any, updates: Any, *indices: Any, axes: Axes, mode: str = "error"
    ) -> Any:
        self.check(x, updates, indices, axes, mode)
        return ArrayType(x.shape, x.dtype, x.weak_type and updates.weak_type)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        out = super().evaluate(args, params)  # the indices have no say in the weak flag
        return with_weak(out, True) if all_weak(args[:2]) else out

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x, updates, *indices = args
        axes = tuple(a + 1 for a in params["axes"])
        x = batched_first(x, dims[0], size)
        updates = batched_first(updates, dims[1], size)
        if all(d is None for d in dims[2:]):  # one more axis that is not indexed
            updates = move_axis(updates, 0, len(joint_shape(indices)))
            return self(x, updates, *indices, **{**params, "axes": axes}), 0
        rows = batched_indices(indices, dims[2:], size)
        return self(x, updates, *rows, **{**params, "axes": (0, *axes)}), 0

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        x = rng.uniform(1.0, 2.0, (3, 4))

        def updates(*shape: int) -> Any:
            return rng.uniform(0.5, 2.5, shape)

        i = np.array([2, 0, 2, -1])
        yield Sample(x, updates(4, 4), i, axes=(0,), mode="error")
        yield Sample(x, updates(4, 3), i, axes=(1,), mode="error")
        yield Sample(x, updates(3), np.int32(1), axes=(1,), mode="error")
        yield Sample(
            x,
            updates(2, 4),
            np.array([[1], [3]]),
            np.array([0, 1, 1, 0]),
            axes=(1, 0),
            mode="error",
        )
        yield Sample(x, updates(3, 4), np.array([1, 7, -9]), axes=(0,), mode="drop")
        yield Sample(x, updates(3, 4), np.array([1, 7, -9]), axes=(0,), mode="clip")
        yield Sample(x, updates(3, 4), np.array([1, 7, -9]), axes=(0,), mode="wrap")
        yield Sample(x, updates(0, 4), np.zeros((0,), np.int32), axes=(0,), mode="error")
        yield Sample(np.arange(3), np.array([5, 7]), np.array([1, 1]), axes=(0,), mode="error")


def read_mode(mode: str, dropped: Any = 0) -> dict[str, Any]:
    """The gather mode that reads what a scatter wrote, and `dropped` for what it dropped."""
    if mode in ("drop", "fill"):
        return {"mode": "fill", "fill_value": dropped}
    return {"mode": mode}


class Scatter(ScatterFamily, Linear):
    """The array with elements replaced; of several updates to one element the last stays."""

    linear = (0, 1)

    @staticmethod
    def write(target: Any, indices: tuple[Any, ...], updates: Any) -> None:
        target[indices] = updates

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        x, updates, *indices = operands
        axes, mode = params["axes"], params.get("mode", "error")
        if position == 0:
            zeros = filled(ArrayType(updates.shape, cotangent.dtype), 0)
            return scatter(cotangent, zeros, *indices, axes=axes, mode=mode)
        read = gather(cotangent, *indices, axes=axes, **read_mode(mode))
        shape = joint_shape(indices)
        if not shape:
            return read
        sizes = tuple(x.shape[a] for a in axes)
        kept = scatter_winners(*indices, sizes=sizes, mode=mode, dtype=cotangent.dtype)
        dims = tuple(range(len(shape)))
        kept = broadcast_in_dim(kept, shape=read.shape, broadcast_dimensions=dims)
        return masked_mul(kept, read)


class ScatterAdd(ScatterFamily, Linear):
    """The array with updates added to its elements, as often as they occur."""

    linear = (0, 1)

    @staticmethod
    def write(target: Any, indices: tuple[Any, ...], updates: Any) -> None:
        rank = len(indices)
        if updates.ndim == target.ndim - rank:  # one position
            target[indices] += updates
            return
        if updates.size <= _FEW:
            np.add.at(target, indices, updates)
            return
        sizes = target.shape[:rank]
        shape = updates.shape[: updates.ndim - target.ndim + rank]
        placed, _ = resolve(indices, tuple(range(rank)), sizes, "error")
        flat = np.broadcast_to(flat_positions(placed, sizes), shape)
        if last_writers(flat, math.prod(sizes)).all():  # no position occurs twice
            target[indices] += updates
            return
        # np.add.at is fast for one index into one dimension only
        columns = math.prod(target.shape[rank:])
        flat = flat.reshape(-1, 1) * columns + np.arange(columns)
        np.add.at(target.reshape(-1), flat.reshape(-1), updates.reshape(-1))

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        if position == 0:
            return cotangent
        mode = read_mode(params.get("mode", "error"))
        return gather(cotangent, *operands[2:], axes=params["axes"], **mode)


class ScatterWinners(Primitive):
    """One where an update of a scatter stays, zero where a later one replaces it."""

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(*indices: Any, sizes: Shape, mode: str, dtype: Any) -> Any:
        placed, valid = resolve(indices, tuple(range(len(sizes))), sizes, mode)
        flat = flat_positions(placed, sizes)
        count = math.prod(sizes)
        if valid is None:
            return np.asarray(last_writers(flat, count)).astype(dtype)
        flat = np.where(valid, flat, count)
        return (last_writers(flat, count + 1) & valid).astype(dtype)

    def type_rule(self, *indices: Any, sizes: Shape, mode: str, dtype: Any) -> Any:
        return ArrayType(joint_shape(indices), dtype)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        rows = batched_indices(args, dims, size)
        return scatter_winners(*rows, **{**params, "sizes": (size, *params["sizes"])}), 0

    def samples(self) -> Iterator[Sample]:
        i, j = np.array([2, 0, 2, -1]), np.array([[1], [0]])
        f64 = np.dtype(np.float64)
        yield Sample(i, sizes=(3,), mode="error", dtype=f64)
        yield Sample(i, j, sizes=(3, 2), mode="error", dtype=f64)
        yield Sample(np.array([5, 0, 0]), sizes=(2,), mode="drop", dtype=f64)
        yield Sample(np.int32(1), sizes=(2,), mode="error", dtype=f64)


def gather_along(x: Value, indices: Value, axis: int, mode: str = "error") -> Value:
    """The elements whose position along one axis is given for every place of the result.

    Args:
      x: the array.
      indices: integers; its shape is that of `x` except along `axis` (there any size).
      axis: a dimension, not negative.
      mode: see the module.
    """
    rank = len(x.shape)
    places = []
    for i, n in enumerate(x.shape):
        rows = iota(dtype=np.dtype(np.int32), shape=(n,), dimension=0)
        places.append(reshape(rows, shape=(n, *(1,) * (rank - i - 1))))
    places[axis] = indices
    return gather(x, *places, axes=tuple(range(rank)), mode=mode)


gather = Gather()
scatter = Scatter()
scatter_add = ScatterAdd()
scatter_winners = ScatterWinners()
