"""Cumulative operations: running sums, products, maxima, minima, log-sum-exps.

What their derivatives have in common is the first-order linear recurrence
`y[i] = a[i] * y[i-1] + b[i]`. It is a primitive of its own, whose derivatives are again such
recurrences; with it the derivative of a product needs no division and is right at zeros,
and that of a log-sum-exp cannot overflow. All take `axis`, and `reverse` to run from the end.
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
from wengert.primitives.basis import (
    Linear,
    add_tangents,
    batched_first,
    filled,
    masked_mul,
    mul,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import bitwise_or, eq, gt, lt, select
from wengert.primitives.elementwise import div, sub
from wengert.primitives.shape import iota, pad
from wengert.primitives.transcendental import exp


def previous(x: Value, axis: int, reverse: bool, first: Any) -> Value:
    """Each element's predecessor along an axis; `first` for the one that has none."""
    config = [(0, 0, 0)] * len(x.shape)
    config[axis] = (-1, 1, 0) if reverse else (1, -1, 0)
    return pad(x, filled(ArrayType((), x.dtype), first), padding_config=tuple(config))


def is_first(x: Value, axis: int, reverse: bool) -> Value:
    """Where a running operation along an axis starts: a bool array of the shape of `x`."""
    position = iota(dtype=dtypes.INT32, shape=x.shape, dimension=axis)
    return eq(position, x.shape[axis] - 1 if reverse else 0)


def check_axis(name: str, x: ArrayType, axis: int) -> None:
    """Raise unless `axis` is one of the dimensions of `x`."""
    if not 0 <= axis < x.ndim:
        raise errors.ShapeError(f"{name} of {x} has no axis {axis}.")


def widened(x: Any) -> Any:
    """16-bit floating values as float32, in which they are accumulated; others as they are."""
    small = x.dtype.itemsize == 2 and dtypes.is_floating(x.dtype)
    return x.astype(np.float32) if small else x


# -- the recurrence ---------------------------------------------------------------------------


_SHORT = 64


class LinearRecurrence(Linear):
    """The solution of `y[i] = a[i] * y[i-1] + b[i]` along an axis, with `y[0] = b[0]`.

    Long axes are cut into blocks that run side by side and are joined in the end; for that,
    the products of the `a` within a block must not overflow.
    """

    linear = (1,)

    @staticmethod
    def compute(a: Any, b: Any, axis: int, reverse: bool = False) -> Any:
        dtype = b.dtype
        work = np.promote_types(dtype, np.float64) if dtypes.is_inexact(dtype) else dtype
        step = -1 if reverse else 1
        a, b = (np.moveaxis(v, axis, 0)[::step].astype(work) for v in (a, b))
        y = _sequential(a, b) if len(b) <= _SHORT else _in_blocks(a, b)
        return np.moveaxis(y[::step].astype(dtype), 0, axis)

    def type_rule(self, a: Any, b: Any, axis: int, reverse: bool = False) -> Any:
        if a.shape != b.shape or a.dtype != b.dtype:
            raise errors.ShapeError(
                f"linear_recurrence needs coefficients and terms of one type, got {a} and {b}."
            )
        check_axis(self.name, b, axis)
        return ArrayType(b.shape, b.dtype, a.weak_type and b.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        a, b = primals
        da, db = tangents
        y = self(a, b, **params)
        if type(da) is not Zero:
            before = previous(y, params["axis"], params.get("reverse", False), 0)
            db = add_tangents(mul(da, before), db)
        return y, self(a, db, **params)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        axis, back = params["axis"], not params.get("reverse", False)
        following = previous(operands[0], axis, back, 0)
        return linear_recurrence(following, cotangent, axis=axis, reverse=back)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        a, b = (batched_first(x, d, size) for x, d in zip(args, dims, strict=True))
        return self(a, b, **{**params, "axis": params["axis"] + 1}), 0

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for shape, axis in (((3,), 0), ((2, 3), 1), ((70, 2), 0), ((0, 2), 0), ((1,), 0)):
            for reverse in (False, True):
                a, b = rng.uniform(-1, 1, (2, *shape))
                yield Sample(a, b, axis=axis, reverse=reverse)


def _sequential(a: Any, b: Any) -> Any:
    y = b.copy()
    for i in range(1, len(y)):
        y[i] += a[i] * y[i - 1]
    return y


def _in_blocks(a: Any, b: Any) -> Any:
    """The recurrence along the first axis in about 2 sqrt(n) steps."""
    n, rest = len(b), b.shape[1:]
    length = math.isqrt(n)
    count = -(-n // length)
    factors, y = (np.zeros((count * length, *rest), b.dtype) for _ in range(2))
    factors[:n], y[:n] = a, b
    factors, y = (v.reshape(count, length, *rest) for v in (factors, y))
    for i in range(1, length):  # every block as if zero came before it
        y[:, i] += factors[:, i] * y[:, i - 1]
        factors[:, i] *= factors[:, i - 1]
    for j in range(1, count):
        carry = y[j - 1, -1]
        y[j] += np.where(carry == 0, 0, factors[j] * carry)
    return y.reshape(-1, *rest)[:n]


# -- cumulative operations --------------------------------------------------------------------


class Cumulative(Primitive):
    """Operations whose i-th result combines the elements up to the i-th along an axis."""

    ufunc: Any

    def compute(self, x: Any, axis: int, reverse: bool = False) -> Any:
        wide = widened(x)
        if reverse:
            wide = np.flip(wide, axis)
        out = self.ufunc.accumulate(wide, axis, dtype=wide.dtype)
        return (np.flip(out, axis) if reverse else out).astype(x.dtype, copy=False)

    def type_rule(self, x: Any, axis: int, reverse: bool = False) -> Any:
        check_axis(self.name, x, axis)
        return x

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        axis, d = params["axis"], dims[0]
        return self(args[0], **{**params, "axis": axis + (axis >= d)}), d

    def samples(self) -> Iterator[Sample]:
        x = np.random.default_rng(0).permutation(np.linspace(-2.0, 2.5, 12)).reshape(3, 4)
        for axis in (0, 1):
            for reverse in (False, True):
                yield Sample(x, axis=axis, reverse=reverse)
        for other in (np.zeros((0, 2)), np.array([1.5])):
            yield Sample(other, axis=0, reverse=False)
        for dtype in (np.float32, np.float16, dtypes.bfloat16):
            yield Sample(x.astype(dtype), axis=1, reverse=False, differentiable=False)


class Cumsum(Cumulative, Linear):
    """Running sums."""

    ufunc = np.add

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        back = not params.get("reverse", False)
        return cumsum(cotangent, axis=params["axis"], reverse=back)

    def samples(self) -> Iterator[Sample]:
        yield from super().samples()
        yield Sample(np.array([1 + 2j, 3 - 1j]), axis=0, reverse=True)
        yield Sample(np.array([[3, -1, 2]], np.int8), axis=1, reverse=False)


class Cumprod(Cumulative):
    """Running products."""

    ufunc = np.multiply

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (dx,) = primals, tangents
        axis, reverse = params["axis"], params.get("reverse", False)
        out = self(x, **params)
        before = previous(out, axis, reverse, 1)
        return out, linear_recurrence(x, mul(before, dx), axis=axis, reverse=reverse)

    def samples(self) -> Iterator[Sample]:
        yield from super().samples()
        yield Sample(np.array([2.0, 0.0, 3.0, 0.0, -1.0]), axis=0, reverse=False)
        yield Sample(np.array([1 + 2j, 0, 3 - 1j]), axis=0, reverse=True)
        yield Sample(np.array([[3, -1, 2]], np.int8), axis=1, reverse=False)


class RunningExtremum(Cumulative):
    """Running maxima and minima; equal extrema so far share the tangent equally."""

    beats: Primitive

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (dx,) = primals, tangents
        axis, reverse = params["axis"], params.get("reverse", False)
        out = self(x, **params)
        new = self.beats(x, previous(out, axis, reverse, 0))
        new = convert(bitwise_or(new, is_first(x, axis, reverse)), dtype=x.dtype)
        equal = convert(eq(x, out), dtype=x.dtype)
        # the tangent is a running mean over the equal extrema, which a new one starts afresh
        count = linear_recurrence(sub(1, new), equal, axis=axis, reverse=reverse)
        weight = div(equal, count)
        share = masked_mul(weight, dx)
        return out, linear_recurrence(sub(1, weight), share, axis=axis, reverse=reverse)

    def samples(self) -> Iterator[Sample]:
        yield from super().samples()
        x = np.array([[3, 5, 5, 2, 7], [1, 1, 0, 4, -4]])
        yield Sample(x, axis=1, reverse=False)
        yield Sample(x.astype(np.float64), axis=1, reverse=True, differentiable=False)


class Cummax(RunningExtremum):
    """Running maxima."""

    ufunc = np.maximum
    beats = gt


class Cummin(RunningExtremum):
    """Running minima."""

    ufunc = np.minimum
    beats = lt


class Cumlogsumexp(Cumulative):
    """Running logarithms of sums of exponentials."""

    ufunc = np.logaddexp

    def type_rule(self, x: Any, axis: int, reverse: bool = False) -> Any:
        if not dtypes.is_floating(x.dtype):
            raise errors.DTypeError(f"cumlogsumexp needs a real floating operand, got {x}.")
        return super().type_rule(x, axis, reverse)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (dx,) = primals, tangents
        axis, reverse = params["axis"], params.get("reverse", False)
        out = self(x, **params)
        finite = select(eq(out, -np.inf), 0.0, out)  # where all was -inf the shares are zero
        kept = exp(sub(previous(out, axis, reverse, -np.inf), finite))
        own = exp(sub(x, finite))
        return out, linear_recurrence(kept, mul(own, dx), axis=axis, reverse=reverse)


linear_recurrence = LinearRecurrence()
cumsum = Cumsum()
cumprod = Cumprod()
cummax = Cummax()
cummin = Cummin()
cumlogsumexp = Cumlogsumexp()
