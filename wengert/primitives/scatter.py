"""Scatters that combine updates with what is there: multiply, minimum, maximum.

Operands and modes are those of `index`. Several updates may meet at one element. The
derivative of a product of all of them takes, for each, the product of the others, without
division; equal extrema share the derivative equally.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Primitive, Sample, Value, Zero
from wengert.primitives.basis import (
    add_tangents,
    aligned,
    broadcast_in_dim,
    filled,
    masked_mul,
    mul,
    reshape,
    zeros_like,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq
from wengert.primitives.cumulative import linear_recurrence, previous
from wengert.primitives.elementwise import div, sub
from wengert.primitives.index import (
    ScatterFamily,
    flat_positions,
    gather,
    joint_shape,
    read_mode,
    resolve,
    scatter_add,
)

_POSITIONS = np.dtype(np.int64)


class ScatterOrder(Primitive):
    """Which updates of a scatter meet: their order by place, its inverse, where places begin.

    The updates are counted in row-major order; `batch_dims` leading dimensions of the indices
    are apart from each other.
    """

    multiple_results = True
    nondifferentiable = True

    @staticmethod
    def compute(*indices: Any, sizes: Shape, mode: str, batch_dims: int) -> Any:
        placed, valid = resolve(indices, tuple(range(len(sizes))), sizes, mode)
        flat = flat_positions(placed, sizes)
        if valid is not None:
            flat = np.where(valid, flat, math.prod(sizes))
        flat = np.asarray(flat)
        flat = flat.reshape(*flat.shape[:batch_dims], math.prod(flat.shape[batch_dims:]))
        order = np.argsort(flat, axis=-1, kind="stable")
        places = np.take_along_axis(flat, order, -1)
        begins = np.ones(flat.shape, np.bool_)
        begins[..., 1:] = places[..., 1:] != places[..., :-1]
        return [order, np.argsort(order, axis=-1), begins]

    def type_rule(self, *indices: Any, sizes: Shape, mode: str, batch_dims: int) -> Any:
        joint = joint_shape(indices)
        shape = (*joint[:batch_dims], math.prod(joint[batch_dims:]))
        return [ArrayType(shape, dtype) for dtype in (_POSITIONS, _POSITIONS, dtypes.BOOL)]

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        batch_dims = params["batch_dims"] + 1
        out = scatter_order(*aligned(args, dims), **{**params, "batch_dims": batch_dims})
        return out, [0, 0, 0]

    def samples(self) -> Iterator[Sample]:
        i, j = np.array([2, 0, 2, -1]), np.array([[1], [0]])
        yield Sample(i, sizes=(3,), mode="error", batch_dims=0)
        yield Sample(i, j, sizes=(3, 2), mode="error", batch_dims=0)
        yield Sample(i, j, sizes=(3, 2), mode="error", batch_dims=1)
        yield Sample(np.array([5, 0, 0]), sizes=(2,), mode="drop", batch_dims=0)
        yield Sample(np.int32(1), sizes=(2,), mode="error", batch_dims=0)


class ScatterMul(ScatterFamily):
    """The array with its elements multiplied by updates, as often as they occur."""

    @staticmethod
    def write(target: Any, indices: tuple[Any, ...], updates: Any) -> None:
        np.multiply.at(target, indices, updates)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        x, updates, *indices = primals
        dx, du, *_ = tangents
        axes, mode = params["axes"], params.get("mode", "error")
        total = Zero(x.type)
        if type(dx) is not Zero:
            total = mul(self(filled(x.type, 1), updates, *indices, **params), dx)
        if type(du) is not Zero:
            sizes = tuple(x.shape[a] for a in axes)
            others = _product_of_others(updates, indices, sizes, mode)
            read = gather(x, *indices, axes=axes, **read_mode(mode))
            change = mul(mul(others, read), du)
            change = scatter_add(zeros_like(x), change, *indices, axes=axes, mode=mode)
            total = add_tangents(total, change)
        return self(*primals, **params), total


def _product_of_others(
    updates: Value, indices: Sequence[Value], sizes: Shape, mode: str
) -> Value:
    """For each update the product of all others at its place, without division."""
    joint = joint_shape(indices)
    rows = reshape(updates, shape=(math.prod(joint), *updates.shape[len(joint) :]))
    order, inverse, begins = scatter_order(*indices, sizes=sizes, mode=mode, batch_dims=0)
    factors = gather(rows, order, axes=(0,))
    first = convert(begins, dtype=updates.dtype)
    first = broadcast_in_dim(first, shape=rows.shape, broadcast_dimensions=(0,))
    product: Value = None
    for reverse, ends in ((False, first), (True, previous(first, 0, True, 1))):
        # a running product that starts with one at the end of every place
        steps = mul(sub(1, ends), previous(factors, 0, reverse, 1))
        side = linear_recurrence(steps, ends, axis=0, reverse=reverse)
        product = side if product is None else mul(product, side)
    return reshape(gather(product, inverse, axes=(0,)), shape=updates.shape)


class ScatterExtremum(ScatterFamily):
    """Scatters that keep the greatest or the least of an element and the updates to it."""

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        x, updates, *indices = primals
        dx, du, *_ = tangents
        axes, mode = params["axes"], params.get("mode", "error")
        out = self(*primals, **params)
        read = gather(out, *indices, axes=axes, **read_mode(mode))
        stays = convert(eq(x, out), dtype=x.dtype)
        wins = convert(eq(updates, read), dtype=x.dtype)
        count = scatter_add(stays, wins, *indices, axes=axes, mode=mode)
        total = Zero(x.type)
        if type(dx) is not Zero:
            total = masked_mul(div(stays, count), dx)
        if type(du) is not Zero:
            met = gather(count, *indices, axes=axes, **read_mode(mode, 1))
            change = masked_mul(div(wins, met), du)
            change = scatter_add(zeros_like(x), change, *indices, axes=axes, mode=mode)
            total = add_tangents(total, change)
        return out, total


class ScatterMin(ScatterExtremum):
    """The array with the least of each element and the updates to it."""

    @staticmethod
    def write(target: Any, indices: tuple[Any, ...], updates: Any) -> None:
        np.minimum.at(target, indices, updates)


class ScatterMax(ScatterExtremum):
    """The array with the greatest of each element and the updates to it."""

    @staticmethod
    def write(target: Any, indices: tuple[Any, ...], updates: Any) -> None:
        np.maximum.at(target, indices, updates)


scatter_order = ScatterOrder()
scatter_mul = ScatterMul()
scatter_min = ScatterMin()
scatter_max = ScatterMax()
