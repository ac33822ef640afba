"""Sums and extrema over windows, windows laid out, and windows added up again.

A window of several dimensions is reduced along one after the other, as the eager engine does:
so sums come out the same, and the work is the sum of the window's sizes, not the product.
Elements are first padded (with what changes nothing) into a copy where that is needed. 16-bit
floats are combined in float32 and rounded at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.array import Shape
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import (
    FLOAT32,
    convert,
    dense_strides,
    full_lanes,
    in_pieces,
    is_narrow,
    load,
    repeat,
    spread_rows,
    store,
)
from wengert.engines.native.library.scatter import COMBINE
from wengert.engines.native.library.transposed import copy_between, copy_strided

ir = lazy_module("llvmlite.ir")

_REDUCTIONS = {
    "reduce_window_sum": "scatter_add",
    "reduce_window_max": "scatter_max",
    "reduce_window_min": "scatter_min",
}
#: Elements that are worth splitting over threads.
_MANY = 1 << 16


def fill(code: Code, pointer: Any, value: Any, dtype: DType, size: int) -> None:
    """Set dense elements of a real dtype to one number."""

    def piece(start: Any, lanes: int) -> None:
        v = code.vectors(lanes)
        constant = v.constant(value, v.type(dtype))
        store(code, constant, code.offset(pointer, start, dtype.itemsize), dtype)

    in_pieces(code, size, full_lanes(code, dtype), piece)


# -- reductions ------------------------------------------------------------------------------


def emit_reduce_window(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a reduction over windows."""
    (x,), (result,) = operands, results
    if result.type.size == 0:
        return
    dtype, params = x.type.dtype, equation.params
    work = FLOAT32 if is_narrow(dtype) else dtype
    primitive: Any = equation.primitive
    here = x.pointer
    if work != dtype:
        here = code.scratch(x.type.size * 4)
        convert(code, x.pointer, dtype, here, FLOAT32, x.type.size)
    here, shape = _padded(code, here, x.type.shape, params, work, primitive.neutral(work))
    steps = [
        (axis, size, stride, dilation)
        for axis, (size, stride, dilation) in enumerate(
            zip(
                params["window_dimensions"],
                params["window_strides"],
                params["window_dilation"],
                strict=True,
            )
        )
        if size > 1 or stride > 1
    ]
    direct = work == dtype
    for number, (axis, size, stride, dilation) in enumerate(steps):
        after = (*shape[:axis], result.type.shape[axis], *shape[axis + 1 :])
        if direct and number == len(steps) - 1:
            out = result.pointer
        else:
            out = code.scratch(math.prod(after) * work.itemsize)
        name = _REDUCTIONS[equation.primitive.name]
        reduction = _Reduction(code, name, (here, out), (shape, after), work)
        reduction.emit(axis, size, stride, dilation)
        here, shape = out, after
    if not direct:
        convert(code, here, FLOAT32, result.pointer, dtype, result.type.size)
    elif here is not result.pointer:
        code.copy(result.pointer, here, result.type.nbytes)


def _padded(
    code: Code, x: Any, shape: Shape, params: dict[str, Any], dtype: DType, neutral: Any
) -> tuple[Any, Shape]:
    """The operand with base dilation and padding, and its shape; itself where there is none."""
    dilation, padding = params["base_dilation"], params["padding"]
    if all(d == 1 for d in dilation) and all(pair == (0, 0) for pair in padding):
        return x, shape
    extents = [(n - 1) * d + 1 if n else 0 for n, d in zip(shape, dilation, strict=True)]
    sizes = tuple(
        max(n + low + high, 0) for n, (low, high) in zip(extents, padding, strict=True)
    )
    source, target = dense_strides(shape), dense_strides(sizes)
    out = code.scratch(math.prod(sizes) * dtype.itemsize)
    fill(code, out, neutral, dtype, math.prod(sizes))
    dims, skipped, moved = [], 0, 0
    for n, size, d, (low, _), s, t in zip(
        shape, sizes, dilation, padding, source, target, strict=True
    ):
        first = -(low // d) if low < 0 else 0  # the first element that is not cut off
        last = min(n, (size - 1 - low) // d + 1)
        dims.append((max(last - first, 0), s, t * d))
        skipped += first * s
        moved += (low + first * d) * t
    copy_between(
        code,
        code.offset(x, skipped, dtype.itemsize),
        code.offset(out, moved, dtype.itemsize),
        dims or [(1, 1, 1)],
        dtype,
    )
    return out, sizes


class _Reduction:
    """The reduction along one dimension of windows."""

    def __init__(
        self,
        code: Code,
        name: str,
        pointers: tuple[Any, Any],
        shapes: tuple[Shape, Shape],
        dtype: DType,
    ) -> None:
        self.code, self.combine, self.dtype = code, COMBINE[name], dtype
        self.pointers = pointers
        self.shape, self.after = shapes
        self.bytes = dtype.itemsize

    def emit(self, axis: int, size: int, stride: int, dilation: int) -> None:
        """Append it, for windows of these numbers along an axis."""
        outer, inner = math.prod(self.shape[:axis]), math.prod(self.shape[axis + 1 :])
        places, length = self.after[axis], self.shape[axis]
        rows = outer * places if inner > 1 or stride > 1 else outer
        many = math.prod(self.after) * size >= _MANY

        def row(code: Code, given: Sequence[Any], i: Any) -> None:
            source, target = given
            if inner > 1 or stride > 1:
                block = code.builder.udiv(i, code.int64(places))
                place = code.builder.urem(i, code.int64(places))
                source = code.offset(source, block, length * inner * self.bytes)
                source = code.offset(source, place, stride * inner * self.bytes)
                target = code.offset(target, i, inner * self.bytes)
                self._combine(code, source, target, inner, size, dilation * inner)
            else:
                source = code.offset(source, i, length * self.bytes)
                target = code.offset(target, i, places * self.bytes)
                self._combine(code, source, target, places, size, dilation)

        spread_rows(self.code, "windows", rows, self.pointers, row, many)

    def _combine(
        self, code: Code, source: Any, target: Any, count: int, size: int, step: int
    ) -> None:
        """Combine `size` runs of `count` elements that begin `step` elements apart."""
        dtype, nbytes = self.dtype, self.bytes

        def piece(start: Any, lanes: int) -> None:
            first = code.offset(source, start, nbytes)
            total = load(code, first, dtype, lanes)
            for i in range(1, min(size, _WRITTEN)):
                value = load(code, code.offset(first, i * step, nbytes), dtype, lanes)
                total = self.combine(code, total, value, dtype)
            if size > _WRITTEN:
                total = self._longer(code, first, total, size, step, lanes)
            store(code, total, code.offset(target, start, nbytes), dtype)

        in_pieces(code, count, full_lanes(code, dtype), piece)

    def _longer(
        self, code: Code, first: Any, total: Any, size: int, step: int, lanes: int
    ) -> Any:
        def body(i: Any, total: Any) -> list[Any]:
            place = code.offset(first, i, step * self.bytes)
            value = load(code, place, self.dtype, lanes)
            return [self.combine(code, total, value, self.dtype)]

        return repeat(code, size, [total], body, start=_WRITTEN)[0]


#: Elements of a window that are combined without a loop.
_WRITTEN = 8


# -- windows as dimensions -------------------------------------------------------------------


def _window_dims(
    equation: Equation, lead: Shape, space: Shape, windows: Shape
) -> tuple[list[int], list[int]]:
    """Sizes of (lead, places, elements), and their strides in the array of this space."""
    params, rank = equation.params, len(space)
    strides = dense_strides((*lead, *space))
    own = strides[len(lead) :]
    places = [s * n for s, n in zip(own, params["window_strides"], strict=True)]
    taps = [s * n for s, n in zip(own, params["window_dilation"], strict=True)]
    sizes = [*lead, *windows[len(lead) : len(lead) + 2 * rank]]
    return sizes, [*strides[: len(lead)], *places, *taps]


def emit_windows(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the windows as dimensions of their own."""
    (x,), (result,) = operands, results
    rank = len(equation.params["window_dimensions"])
    shape, dtype = x.type.shape, x.type.dtype
    split = len(shape) - rank
    if result.type.size == 0:
        return
    sizes, strides = _window_dims(equation, shape[:split], shape[split:], result.type.shape)
    dims = list(zip(sizes, strides, strict=True))
    copy_strided(code, x.pointer, result.pointer, dims, dtype)


def emit_overlap_add(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the sums of windows put back into their places."""
    (x,), (result,) = operands, results
    dtype = result.type.dtype
    space = tuple(equation.params["shape"])
    lead = result.type.shape[: result.type.ndim - len(space)]
    real = dtypes.real_dtype(dtype)
    work = FLOAT32 if is_narrow(dtype) else real
    parts = dtype.itemsize // real.itemsize
    size = result.type.size * parts
    out = result.pointer if work == real else code.scratch(size * work.itemsize)
    code.fill_zero(out, size * work.itemsize)
    if x.type.size:
        rank = len(space)
        sizes, strides = _window_dims(equation, lead, space, x.type.shape)
        # a tap after the other, as the eager engine adds them
        split = len(lead) + rank
        dense = dense_strides(sizes)
        triples = list(zip(sizes, strides, dense, strict=True))
        _add_taps(code, x.pointer, out, triples[split:], triples[:split], parts, (real, work))
    if work != real:
        convert(code, out, work, result.pointer, real, size)


def _add_taps(
    code: Code,
    source: Any,
    target: Any,
    taps: Sequence[tuple[int, int, int]],
    places: Sequence[tuple[int, int, int]],
    parts: int,
    kinds: tuple[DType, DType],
) -> None:
    """Loops over (size, stride in the result, stride in the windows)."""
    own, work = kinds
    if not taps and not places:
        for part in range(parts):
            to = code.offset(target, part, work.itemsize)
            value = load(code, code.offset(source, part, own.itemsize), own)
            total = COMBINE["scatter_add"](code, load(code, to, work), value, work)
            store(code, total, to, work)
        return
    (size, step, from_step), *rest = taps or places
    with code.loop(size) as i:
        inside = code.offset(source, i, from_step * parts * own.itemsize)
        to = code.offset(target, i, step * parts * work.itemsize)
        left = (rest, places) if taps else ([], rest)
        _add_taps(code, inside, to, *left, parts, kinds)


def _is_real(equation: Equation) -> bool:
    return not dtypes.is_complex(equation.outputs[0].type.dtype)


OPERATIONS = {
    **dict.fromkeys(_REDUCTIONS, emit_reduce_window),
    "windows": emit_windows,
    "overlap_add": emit_overlap_add,
}
SUPPORTS = dict.fromkeys(_REDUCTIONS, _is_real)
