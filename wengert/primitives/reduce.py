"""Reductions over dimensions other than the sum (which is in `basis`).

Maxima and minima propagate NaN; equal extrema share the derivative equally. Products have
the right derivatives, of every order, with any number of zeros. `argmax` and `argmin` give the
first of equal extrema, or the first NaN. Reducing nothing is an error where no neutral element
exists. Means, variances, norms and log-sum-exps are composed by `wengert.numpy`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives.basis import (
    broadcast_in_dim,
    masked_mul,
    mul,
    reduce_sum,
    reshape,
    transpose,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq
from wengert.primitives.cumulative import check_axis, cumprod, previous, widened
from wengert.primitives.elementwise import div
from wengert.primitives.shape import shifted

Axes = tuple[int, ...]


def reduced_shape(name: str, x: ArrayType, axes: Axes) -> Shape:
    """The shape without the axes, which must be distinct dimensions of `x`."""
    if len(set(axes)) != len(axes) or any(not 0 <= a < x.ndim for a in axes):
        raise errors.ShapeError(f"{name} of {x} cannot reduce over axes {tuple(axes)}.")
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def _empty(name: str, x: Any) -> errors.ShapeError:
    return errors.ShapeError(
        f"{name} of shape {x.shape} has no elements to take the {name.removeprefix('reduce_')} "
        "of. Give an initial value (initial=...), or check the size first."
    )


class Reduction(Primitive):
    """Reductions of `axes` by a ufunc; the result has the dtype of the operand."""

    ufunc: Any

    def compute(self, x: Any, axes: Axes) -> Any:
        return self.ufunc.reduce(x, axis=axes)

    def type_rule(self, x: Any, axes: Axes) -> Any:
        return ArrayType(reduced_shape(self.name, x, axes), x.dtype, x.weak_type)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        (x,), (d,) = args, dims
        axes = shifted(params["axes"], d)
        return self(x, **{**params, "axes": axes}), _after(axes, d)

    def samples(self) -> Iterator[Sample]:
        x = np.random.default_rng(0).permutation(np.linspace(-2.0, 2.5, 24)).reshape(2, 3, 4)
        for axes in ((1,), (0, 2), (2, 1, 0), ()):
            yield Sample(x, axes=axes)
        yield Sample(np.float64(2.0), axes=())
        yield Sample(np.zeros((0, 2)), axes=(1,))
        for dtype in (np.float32, np.float16, dtypes.bfloat16):
            yield Sample(x.astype(dtype), axes=(0, 1), differentiable=False)
        yield Sample((x * 5).astype(np.int16), axes=(1,))


def _after(axes: Sequence[int], batch_dim: Any) -> int:
    """Where the batch dimension is after a reduction over other axes."""
    return batch_dim - sum(a < batch_dim for a in axes)


# -- extrema ----------------------------------------------------------------------------------


class Extremum(Reduction):
    """The greatest or least elements."""

    def type_rule(self, x: Any, axes: Axes) -> Any:
        out = super().type_rule(x, axes)
        if out.size and not x.size:
            raise _empty(self.name, x)
        return out

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (dx,) = primals, tangents
        axes = params["axes"]
        out = self(x, axes=axes)
        kept = tuple(i for i in range(len(x.shape)) if i not in axes)
        spread = broadcast_in_dim(out, shape=x.shape, broadcast_dimensions=kept)
        chosen = convert(eq(x, spread), dtype=x.dtype)
        kept_shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        count = reshape(reduce_sum(chosen, axes=axes), shape=kept_shape)
        shares = div(chosen, count)  # 0/0 where the extremum is NaN
        return out, reduce_sum(masked_mul(shares, dx), axes=axes)


class ReduceMax(Extremum):
    """The greatest elements."""

    ufunc = np.maximum


class ReduceMin(Extremum):
    """The least elements."""

    ufunc = np.minimum


class ArgExtremum(Primitive):
    """The position of the first extremum along an axis, or of the first NaN."""

    nondifferentiable = True
    keeps_weak = False
    function: Any

    def compute(self, x: Any, axis: int, index_dtype: Any = dtypes.INT32) -> Any:
        if not x.shape[axis]:
            raise _empty(self.name, x)
        return self.function(x, axis).astype(index_dtype)

    def type_rule(self, x: Any, axis: int, index_dtype: Any = dtypes.INT32) -> Any:
        check_axis(self.name, x, axis)
        if not x.shape[axis]:
            raise _empty(self.name, x)
        return ArrayType((*x.shape[:axis], *x.shape[axis + 1 :]), index_dtype)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        (x,), (d,) = args, dims
        axes = shifted((params["axis"],), d)
        return self(x, **{**params, "axis": axes[0]}), _after(axes, d)

    def samples(self) -> Iterator[Sample]:
        x = np.array([[3.0, 5.0, 5.0, 2.0], [1.0, np.nan, -1.0, np.nan]])
        for axis in (0, 1):
            yield Sample(x, axis=axis, index_dtype=dtypes.INT32)
        yield Sample(np.zeros((0, 2), np.int8), axis=1, index_dtype=np.dtype(np.int64))
        yield Sample(x.astype(dtypes.bfloat16), axis=1, index_dtype=dtypes.INT32)


class Argmax(ArgExtremum):
    """The position of the first greatest element along an axis, or of the first NaN."""

    function = staticmethod(np.argmax)


class Argmin(ArgExtremum):
    """The position of the first least element along an axis, or of the first NaN."""

    function = staticmethod(np.argmin)


# -- products and bits ------------------------------------------------------------------------


class ReduceProd(Reduction):
    """Products."""

    ufunc = np.multiply

    def compute(self, x: Any, axes: Axes) -> Any:
        wide = widened(x)
        return np.multiply.reduce(wide, axis=axes, dtype=wide.dtype).astype(x.dtype, copy=False)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (dx,) = primals, tangents
        axes = params["axes"]
        others = _product_of_others(x, axes)
        return self(x, axes=axes), reduce_sum(mul(others, dx), axes=axes)

    def samples(self) -> Iterator[Sample]:
        yield from super().samples()
        yield Sample(np.array([[2.0, 0.0, 3.0], [0.0, 1.5, 0.0]]), axes=(1,))
        yield Sample(np.array([1 + 2j, 0, 3 - 1j]), axes=(0,))
        yield Sample(np.zeros((0, 2)), axes=(0,))


def _product_of_others(x: Value, axes: Axes) -> Value:
    """For each element the product of all others that it is reduced with, without division."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axes)
    order = (*kept, *axes)
    moved = transpose(x, permutation=order)
    length = math.prod(x.shape[a] for a in axes)
    rows = reshape(moved, shape=(*(x.shape[i] for i in kept), length))
    last = len(kept)
    before = previous(cumprod(rows, axis=last, reverse=False), last, False, 1)
    after = previous(cumprod(rows, axis=last, reverse=True), last, True, 1)
    others = reshape(mul(before, after), shape=moved.shape)
    inverse = tuple(sorted(range(len(order)), key=order.__getitem__))
    return transpose(others, permutation=inverse)


class BitReduction(Reduction):
    """Reductions of bits; logical ones for bools."""

    nondifferentiable = True

    def type_rule(self, x: Any, axes: Axes) -> Any:
        if dtypes.kind(x.dtype) not in "biu":
            raise errors.DTypeError(f"{self.name} needs integers or bools, got {x}.")
        return super().type_rule(x, axes)

    def samples(self) -> Iterator[Sample]:
        x = np.random.default_rng(0).integers(0, 16, (2, 3, 4))
        for axes in ((1,), (0, 2), ()):
            yield Sample(x > 7, axes=axes)
            yield Sample(x.astype(np.uint8), axes=axes)
        yield Sample(np.zeros((0, 2), np.int32), axes=(0,))


class ReduceAnd(BitReduction):
    """And of all elements, bit by bit."""

    ufunc = np.bitwise_and


class ReduceOr(BitReduction):
    """Or of all elements, bit by bit."""

    ufunc = np.bitwise_or


class ReduceXor(BitReduction):
    """Exclusive or of all elements, bit by bit."""

    ufunc = np.bitwise_xor


reduce_max = ReduceMax()
reduce_min = ReduceMin()
reduce_prod = ReduceProd()
reduce_and = ReduceAnd()
reduce_or = ReduceOr()
reduce_xor = ReduceXor()
argmax = Argmax()
argmin = Argmin()
