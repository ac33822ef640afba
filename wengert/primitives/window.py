"""Windows: sums, maxima and minima over the windows of an array, as pooling needs them.

All take a size, stride, padding pair (negative padding removes elements), and dilations for
every dimension. The sum is linear, and its transpose is again a sum over windows. Of equal
maxima in a window each gets an equal share of the derivative, as in `reduce_max` (JAX gives all
of it to the first). `windows` lays the windows out as dimensions of their own, for
reductions by any function.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Primitive, Sample, Value
from wengert.primitives.basis import (
    Linear,
    broadcast_in_dim,
    broadcast_to,
    filled,
    masked_mul,
    move_axis,
    reduce_sum,
    reshape,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq
from wengert.primitives.convolve import dilated, padding_of
from wengert.primitives.cumulative import widened
from wengert.primitives.elementwise import div
from wengert.primitives.shape import pad, slice_

Pairs = tuple[tuple[int, int], ...]


def window_counts(shape: Shape, sizes: Shape, strides: Shape, dilation: Shape) -> Shape:
    """How many windows fit into each dimension."""
    return tuple(
        max((n - dilated(k, d)) // s + 1, 0)
        for n, k, s, d in zip(shape, sizes, strides, dilation, strict=True)
    )


# -- windows as dimensions --------------------------------------------------------------------


class Windows(Linear):
    """The windows of the last dimensions: (..., *places, *elements of a window)."""

    @staticmethod
    def compute(
        x: Any, window_dimensions: Shape, window_strides: Shape, window_dilation: Shape
    ) -> Any:
        rank = len(window_dimensions)
        lead, inner = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
        counts = window_counts(inner, window_dimensions, window_strides, window_dilation)
        if not rank:
            return x
        if 0 in counts:
            return np.zeros((*lead, *counts, *window_dimensions), x.dtype)
        sizes = [dilated(k, d) for k, d in zip(window_dimensions, window_dilation, strict=True)]
        view = sliding_window_view(x, sizes, axis=tuple(range(x.ndim - rank, x.ndim)))
        steps: Any = (slice(None, None, s) for s in (*window_strides, *window_dilation))
        return view[(..., *steps)]

    def type_rule(
        self, x: Any, window_dimensions: Shape, window_strides: Shape, window_dilation: Shape
    ) -> Any:
        rank = len(window_dimensions)
        lead, inner = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
        counts = window_counts(inner, window_dimensions, window_strides, window_dilation)
        return ArrayType((*lead, *counts, *window_dimensions), x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        rank = len(params["window_dimensions"])
        shape = operands[0].shape[len(operands[0].shape) - rank :]
        strides, dilation = params["window_strides"], params["window_dilation"]
        return overlap_add(
            cotangent, shape=shape, window_strides=strides, window_dilation=dilation
        )

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return windows(move_axis(args[0], dims[0], 0), **params), 0

    def samples(self) -> Iterator[Sample]:
        x = np.arange(60.0).reshape(3, 4, 5)
        for strides, dilation in (((1, 1), (1, 1)), ((2, 1), (1, 2)), ((1, 3), (3, 1))):
            yield Sample(
                x, window_dimensions=(2, 2), window_strides=strides, window_dilation=dilation
            )
        row = {"window_dimensions": (2,), "window_strides": (3,), "window_dilation": (1,)}
        yield Sample(x[0, 0], **row)
        yield Sample(x[:, :0], **row)
        none: Shape = ()
        yield Sample(x, window_dimensions=none, window_strides=none, window_dilation=none)
        yield Sample(x, window_dimensions=(6,), window_strides=(1,), window_dilation=(1,))


class OverlapAdd(Linear):
    """The transpose of `windows`: windows put back into their places and added up."""

    @staticmethod
    def compute(x: Any, shape: Shape, window_strides: Shape, window_dilation: Shape) -> Any:
        rank = len(shape)
        lead, sizes = x.shape[: x.ndim - 2 * rank], x.shape[x.ndim - rank :]
        counts = x.shape[x.ndim - 2 * rank : x.ndim - rank]
        out = np.zeros((*lead, *shape), widened(x).dtype)
        for offset in np.ndindex(*sizes):
            places = tuple(
                slice(o * d, o * d + (c - 1) * s + 1, s) if c else slice(0, 0)
                for o, d, c, s in zip(
                    offset, window_dilation, counts, window_strides, strict=True
                )
            )
            out[(..., *places)] += x[(..., *offset)]
        return out.astype(x.dtype, copy=False)

    def type_rule(
        self, x: Any, shape: Shape, window_strides: Shape, window_dilation: Shape
    ) -> Any:
        rank = len(shape)
        lead, counts = x.shape[: x.ndim - 2 * rank], x.shape[x.ndim - 2 * rank : x.ndim - rank]
        sizes = x.shape[x.ndim - rank :]
        if counts != window_counts(shape, sizes, window_strides, window_dilation):
            raise errors.ShapeError(
                f"overlap_add cannot put {counts} windows of shape {sizes} into shape {shape} "
                f"with strides {window_strides} and dilation {window_dilation}."
            )
        return ArrayType((*lead, *shape), x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        full = operands[0].shape
        return windows(
            cotangent,
            window_dimensions=full[len(full) - len(params["shape"]) :],
            window_strides=params["window_strides"],
            window_dilation=params["window_dilation"],
        )

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return overlap_add(move_axis(args[0], dims[0], 0), **params), 0

    def samples(self) -> Iterator[Sample]:
        x = np.random.default_rng(0).uniform(-1, 1, (3, 2, 2, 2, 2))
        yield Sample(x, shape=(4, 4), window_strides=(2, 1), window_dilation=(1, 2))
        yield Sample(x[0], shape=(3, 3), window_strides=(1, 1), window_dilation=(1, 1))
        yield Sample(x, shape=(), window_strides=(), window_dilation=())


# -- reductions -------------------------------------------------------------------------------


class WindowReduction(Primitive):
    """Reductions over windows by a ufunc, one dimension after the other."""

    ufunc: Any

    def neutral(self, dtype: Any) -> Any:
        """What the padding consists of."""
        return 0

    def compute(self, x: Any, **params: Any) -> Any:
        _check(self.name, x, params)
        config = _padding_config(params)
        wide = widened(x)
        out = pad.compute(wide, wide.dtype.type(self.neutral(wide.dtype)), config)
        for axis, (size, stride, dilation) in enumerate(_per_dimension(params)):
            (count,) = window_counts((out.shape[axis],), (size,), (stride,), (dilation,))
            starts = [slice(None)] * out.ndim
            parts = []
            for i in range(size if count else 0):
                begin = i * dilation
                starts[axis] = slice(begin, begin + (count - 1) * stride + 1, stride)
                parts.append(out[tuple(starts)])
            shape = (*out.shape[:axis], count, *out.shape[axis + 1 :])
            out = functools.reduce(self.ufunc, parts) if parts else np.empty(shape, out.dtype)
        return out.astype(x.dtype, copy=False)

    def type_rule(self, x: Any, **params: Any) -> Any:
        _check(self.name, x, params)
        padded = pad.type_rule(x, ArrayType((), x.dtype), _padding_config(params))
        shape = window_counts(
            padded.shape,
            params["window_dimensions"],
            params["window_strides"],
            params["window_dilation"],
        )
        return ArrayType(shape, x.dtype, x.weak_type)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        padding = ((0, 0), *params["padding"])
        inner = {k: (1, *v) for k, v in params.items() if k != "padding"}
        return self(move_axis(args[0], dims[0], 0), **inner, padding=padding), 0

    def samples(self) -> Iterator[Sample]:
        x = np.random.default_rng(0).permutation(np.linspace(-2.0, 2.5, 20)).reshape(4, 5)
        plain: dict[str, Any] = {"base_dilation": (1, 1), "window_dilation": (1, 1)}
        valid: dict[str, Any] = {"padding": ((0, 0), (0, 0)), **plain}
        yield Sample(x, window_dimensions=(2, 3), window_strides=(1, 2), **valid)
        yield Sample(x, window_dimensions=(5, 2), window_strides=(1, 1), **valid)
        mixed: dict[str, Any] = {"window_dimensions": (2, 2), "window_strides": (1, 3)}
        yield Sample(x, **mixed, padding=((1, 1), (1, -1)), **plain)
        yield Sample(x[:1, :2], **mixed, padding=((1, 0), (0, 0)), **plain)
        yield Sample(x[:0], **mixed, padding=((2, 2), (0, 0)), **plain, differentiable=False)
        dilations: dict[str, Any] = {"base_dilation": (2, 1), "window_dilation": (1, 2)}
        yield Sample(x, **mixed, padding=((0, 1), (1, 0)), **dilations)
        half = x.astype(np.float16)
        yield Sample(half, **mixed, **valid, differentiable=False)
        yield Sample(x.astype(np.int32), **mixed, **valid)


def _padding_config(params: dict[str, Any]) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (low, high, dilation - 1)
        for (low, high), dilation in zip(
            params["padding"], params["base_dilation"], strict=True
        )
    )


def _per_dimension(params: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    names = ("window_dimensions", "window_strides", "window_dilation")
    return zip(*(params[name] for name in names), strict=True)


def _check(name: str, x: Any, params: dict[str, Any]) -> None:
    """Raise unless there is a valid entry for every dimension of `x` (a value or a type)."""
    rank = len(x.shape)
    for key, value in params.items():
        pairs = key == "padding"
        if len(value) != rank or not (pairs or all(v >= 1 for v in value)):
            entries = "pairs" if pairs else "positive integers"
            raise errors.ShapeError(
                f"{name} of shape {x.shape} needs {rank} {entries} as {key}, got {value}."
            )


class ReduceWindowSum(WindowReduction, Linear):
    """Sums over windows."""

    ufunc = np.add

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        """Strides become base dilation and the other way round; the padding turns over."""
        padding = []
        for n, out, (low, _), (size, stride, dilation), base in zip(
            operands[0].shape,
            cotangent.shape,
            params["padding"],
            _per_dimension(params),
            params["base_dilation"],
            strict=True,
        ):
            extent = dilated(size, dilation)
            before = extent - 1 - low
            # so much that the windows, `base` apart, are exactly as many as the elements
            after = dilated(n, base) + extent - 1 - before - dilated(out, stride)
            padding.append((before, after))
        return reduce_window_sum(
            cotangent,
            window_dimensions=params["window_dimensions"],
            window_strides=params["base_dilation"],
            padding=tuple(padding),
            base_dilation=params["window_strides"],
            window_dilation=params["window_dilation"],
        )


class WindowExtremum(WindowReduction):
    """Greatest or least elements of windows."""

    #: The floating value that every other one beats.
    worst: float

    def neutral(self, dtype: Any) -> Any:
        kind = dtypes.kind(dtype)
        if kind == "c":
            raise errors.DTypeError(f"{self.name} needs an ordered dtype, got {dtype}.")
        if kind == "f":
            return self.worst
        if kind == "b":
            return self.worst > 0
        return np.iinfo(dtype).max if self.worst > 0 else np.iinfo(dtype).min

    def type_rule(self, x: Any, **params: Any) -> Any:
        self.neutral(x.dtype)
        return super().type_rule(x, **params)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (dx,) = primals, tangents
        out = self(x, **params)
        rank = len(x.shape)
        values = _laid_out(x, self.neutral(x.dtype), params)
        spread = broadcast_in_dim(
            out, shape=values.shape, broadcast_dimensions=tuple(range(rank))
        )
        chosen = convert(eq(values, spread), dtype=x.dtype)
        inner = tuple(range(rank, 2 * rank))
        count = reshape(reduce_sum(chosen, axes=inner), shape=(*out.shape, *(1,) * rank))
        shares = div(chosen, count)  # 0/0 where the extremum is NaN
        return out, reduce_sum(masked_mul(shares, _laid_out(dx, 0, params)), axes=inner)


def _laid_out(x: Value, fill: Any, params: dict[str, Any]) -> Value:
    """The windows as dimensions of their own, after padding with `fill`."""
    config = _padding_config(params)
    if any(entry != (0, 0, 0) for entry in config):
        x = pad(x, filled(ArrayType((), x.dtype), fill), padding_config=config)
    return windows(
        x,
        window_dimensions=params["window_dimensions"],
        window_strides=params["window_strides"],
        window_dilation=params["window_dilation"],
    )


class ReduceWindowMax(WindowExtremum):
    """Maxima over windows."""

    ufunc = np.maximum
    worst = -math.inf


class ReduceWindowMin(WindowExtremum):
    """Minima over windows."""

    ufunc = np.minimum
    worst = math.inf


windows = Windows()
overlap_add = OverlapAdd()
reduce_window_sum = ReduceWindowSum()
reduce_window_max = ReduceWindowMax()
reduce_window_min = ReduceWindowMin()


# -- any function -----------------------------------------------------------------------------


def window_params(
    shape: Shape,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None,
    padding: str | Sequence[tuple[int, int]],
    *,
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The parameters of a reduction over windows, with defaults and named padding resolved.

    >>> window_params((5,), (2,), None, "SAME")["padding"]
    ((0, 1),)
    """
    ones = (1,) * len(shape)
    sizes = tuple(window_dimensions)
    strides = tuple(window_strides or ones)
    base, inner = tuple(base_dilation or ones), tuple(window_dilation or ones)
    if isinstance(padding, str):
        extents = [dilated(n, d) for n, d in zip(shape, base, strict=True)]
        kernel = [dilated(k, d) for k, d in zip(sizes, inner, strict=True)]
        padding = padding_of(padding, extents, kernel, strides)
    return {
        "window_dimensions": sizes,
        "window_strides": strides,
        "padding": tuple((int(low), int(high)) for low, high in padding),
        "base_dilation": base,
        "window_dilation": inner,
    }


def reduce_window(
    x: Value, init_value: Value, computation: Callable[[Any, Any], Any], **params: Any
) -> Value:
    """Reduce every window by any associative function of two arrays.

    Args:
      x: the array.
      init_value: a scalar of its dtype: the padding, and what each reduction starts with.
      computation: an associative function, applied to whole arrays.
      **params: as `window_params` returns them.

    Returns:
      the array of the reductions.
    """
    config = _padding_config(params)
    padded = pad(x, init_value, padding_config=config)
    inner = {k: params[k] for k in params if k.startswith("window")}
    laid_out = windows(padded, **inner)
    places = laid_out.shape[: len(x.shape)]
    count = math.prod(params["window_dimensions"])
    rows = reshape(laid_out, shape=(*places, count))
    result = broadcast_to(init_value, places)
    while count:
        half = max(count // 2, 1)
        if count % 2:
            last = _columns(rows, count - 1, count)
            result = computation(result, reshape(last, shape=places))
        if count == 1:
            break
        rows = computation(_columns(rows, 0, half), _columns(rows, half, 2 * half))
        count = half
    return result


def _columns(rows: Value, start: int, limit: int) -> Value:
    starts, limits = [0] * len(rows.shape), list(rows.shape)
    starts[-1], limits[-1] = start, limit
    return slice_(rows, start_indices=tuple(starts), limit_indices=tuple(limits))
