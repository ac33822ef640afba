"""Reading and writing at computed positions: scatters, and slices that are put into arrays.

A position is computed and checked for every row of updates; the dimensions that are not
indexed are loops of vectors behind it. Updates are applied in row-major order, as the eager
engine does, so sums come out the same. 16-bit floats are combined in float32 and rounded once
at the end.

An emitter that is given one pointer for the first operand and the result leaves the copy out.
It checks all positions before it writes then: a program that fails has not changed the operand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.accumulate import Updates, emit_updates
from wengert.engines.native.library.common import (
    FLOAT32,
    INT64,
    cast,
    convert,
    dense_strides,
    full_lanes,
    in_pieces,
    is_narrow,
    load,
    store,
)
from wengert.engines.native.library.layout import merged
from wengert.engines.native.library.transposed import copy_between
from wengert.primitives.index import default_fill, joint_shape

ir = lazy_module("llvmlite.ir")

_CHECKED = ("error", "promise_in_bounds")
#: The mode for positions that have been checked.
_VALID = "valid"


# -- positions -------------------------------------------------------------------------------


def as_index(code: Code, value: Any, dtype: DType) -> Any:
    """An integer in a register as a 64-bit index."""
    return cast(code, value, ir.IntType(64), dtypes.kind(dtype) == "i")


def placed(
    code: Code, index: Any, size: int, mode: str, fail: Callable[[Any], None]
) -> tuple[Any, Any]:
    """An index with the bounds applied, and an `i1`: whether it is valid; None for always."""
    builder = code.builder
    n, zero = code.int64(size), code.int64(0)
    if mode == "wrap" and size:
        rest = builder.srem(index, n)
        below = builder.icmp_signed("<", rest, zero)
        return builder.select(below, builder.add(rest, n), rest), None
    below = builder.icmp_signed("<", index, zero)
    index = builder.select(below, builder.add(index, n), index)
    if mode == _VALID:
        return index, None
    outside = builder.icmp_unsigned(">=", index, n)
    if mode in ("fill", "drop"):
        return index, builder.not_(outside)
    if size == 0 or mode in _CHECKED:
        fail(outside)
        return index, None
    low = builder.icmp_signed("<", index, zero)
    nearest = builder.select(low, zero, code.int64(size - 1))
    return builder.select(outside, nearest, index), None


class Positions:
    """The places that index arrays name in an array.

    Attributes:
      shape: that of the updates' leading dimensions.
    """

    def __init__(
        self, x: Buffer | Any, indices: Sequence[Buffer], axes: Sequence[int], mode: str
    ) -> None:
        self.indices, self.mode = indices, mode
        self.shape = joint_shape([i.type for i in indices])
        strides = dense_strides(x.type.shape)
        self.sizes = [x.type.shape[a] for a in axes]
        self.steps = [strides[a] for a in axes]
        rank = len(self.shape)
        self.index_steps = []
        for index in indices:
            own = (1,) * (rank - index.type.ndim) + tuple(index.type.shape)
            steps = dense_strides(own)
            self.index_steps.append(
                [0 if n == 1 else s for n, s in zip(own, steps, strict=True)]
            )

    def each(self, code: Code, body: Callable[[Any, Any], None]) -> None:
        """`body(number, place)` for each position in order; places that are dropped are not."""
        if 0 in self.shape:
            return
        self._loop(code, 0, code.int64(0), [i.pointer for i in self.indices], body)

    def _loop(
        self, code: Code, axis: int, number: Any, pointers: list[Any], body: Callable[..., None]
    ) -> None:
        if axis == len(self.shape):
            self._place(code, number, pointers, body)
            return
        size = self.shape[axis]
        with code.loop(size) as i:
            following = code.builder.add(code.builder.mul(number, code.int64(size)), i)
            inside = [
                code.offset(p, i, index.type.dtype.itemsize * steps[axis])
                for p, index, steps in zip(
                    pointers, self.indices, self.index_steps, strict=True
                )
            ]
            self._loop(code, axis + 1, following, inside, body)

    def _place(
        self, code: Code, number: Any, pointers: list[Any], body: Callable[..., None]
    ) -> None:
        builder = code.builder
        total, valid = code.int64(0), None
        for pointer, index, size, step in zip(
            pointers, self.indices, self.sizes, self.steps, strict=True
        ):
            dtype = index.type.dtype
            value = as_index(code, load(code, pointer, dtype), dtype)
            place, inside = placed(
                code, value, size, self.mode, lambda bad: code.fail_if(bad, _out_of_bounds)
            )
            total = builder.add(total, builder.mul(place, code.int64(step)))
            if inside is not None:
                valid = inside if valid is None else builder.and_(valid, inside)
        if valid is None:
            body(number, total)
        else:
            with builder.if_then(valid):
                body(number, total)


def _out_of_bounds() -> Exception:
    return IndexError("an index is out of bounds")


# -- scatters --------------------------------------------------------------------------------


def _replace(code: Code, old: Any, new: Any, dtype: DType) -> Any:
    del code, old, dtype
    return new


def _add(code: Code, old: Any, new: Any, dtype: DType) -> Any:
    builder, kind = code.builder, dtypes.kind(dtype)
    if kind in "fc":
        return builder.fadd(old, new)
    return builder.or_(old, new) if kind == "b" else builder.add(old, new)


def _multiply(code: Code, old: Any, new: Any, dtype: DType) -> Any:
    builder, kind = code.builder, dtypes.kind(dtype)
    if kind == "f":
        return builder.fmul(old, new)
    return builder.and_(old, new) if kind == "b" else builder.mul(old, new)


def _extremum(symbol: str) -> Callable[..., Any]:
    """The lesser or greater number; NaN where one is."""

    def choose(code: Code, old: Any, new: Any, dtype: DType) -> Any:
        builder, kind = code.builder, dtypes.kind(dtype)
        if kind == "f":
            keep = builder.fcmp_ordered(symbol, old, new)
            keep = builder.or_(keep, builder.fcmp_unordered("uno", old, old))
        elif kind == "i":
            keep = builder.icmp_signed(symbol, old, new)
        else:
            keep = builder.icmp_unsigned(symbol, old, new)
        return builder.select(keep, old, new)

    return choose


#: How an update changes an element, by the scatter's name: `combine(code, old, new, dtype)`.
COMBINE: dict[str, Callable[..., Any]] = {
    "scatter": _replace,
    "scatter_add": _add,
    "scatter_mul": _multiply,
    "scatter_min": _extremum("<"),
    "scatter_max": _extremum(">"),
}


def _parts(dtype: DType) -> tuple[DType, int]:
    """What an element is moved as: a real dtype, and how many of them."""
    return (dtypes.real_dtype(dtype), 2) if dtypes.is_complex(dtype) else (dtype, 1)


def emit_scatter(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a scatter of any kind."""
    x, updates, *indices = operands
    (result,) = results
    dtype, size = x.type.dtype, x.type.size
    params, combine = equation.params, COMBINE[equation.primitive.name]
    axes, mode = params["axes"], params.get("mode", "error")
    if is_narrow(dtype) and combine is not _replace:
        work = code.scratch(size * 4)
        convert(code, x.pointer, dtype, work, FLOAT32, size)
        _write(code, work, FLOAT32, combine, x, updates, indices, axes, mode)
        convert(code, work, FLOAT32, result.pointer, dtype, size)
        return
    if result.pointer is not x.pointer:
        code.copy(result.pointer, x.pointer, x.type.nbytes)
    elif mode in _CHECKED:
        Positions(x, indices, axes, mode).each(code, lambda number, place: None)
        mode = _VALID
    _write(code, result.pointer, dtype, combine, x, updates, indices, axes, mode)


def _write(
    code: Code,
    target: Any,
    target_dtype: DType,
    combine: Callable[..., Any],
    x: Buffer,
    updates: Buffer,
    indices: Sequence[Buffer],
    axes: Sequence[int],
    mode: str,
) -> None:
    """Combine the updates into `target`, which has the shape of `x`."""
    if combine is _add and not dtypes.is_complex(target_dtype):
        many = Updates.of(x, updates, indices, axes, mode)
        if many is not None:
            emit_updates(code, many, target, target_dtype, combine)
            return
    own, count = _parts(updates.type.dtype)
    held = dtypes.real_dtype(target_dtype)
    rest = rest_dims(x.type.shape, axes)
    row = math.prod(d[0] for d in rest)

    def combine_run(
        code: Code, pointer: Any, source: Any, run: int, step: int, from_step: int
    ) -> None:
        def piece(start: Any, lanes: int) -> None:
            to = code.offset(pointer, start, held.itemsize * (step if lanes == 1 else 1))
            at = code.offset(source, start, own.itemsize * (from_step if lanes == 1 else 1))
            new = load(code, at, own, lanes)
            old = load(code, to, held, lanes) if combine is not _replace else None
            store(code, combine(code, old, new, held), to, held)

        if step == from_step == 1:
            each_once(code, run, full_lanes(code, held), piece)
        else:
            with code.loop(run) as i:
                piece(i, 1)

    def at(number: Any, place: Any) -> None:
        to = code.offset(target, place, target_dtype.itemsize)
        source = code.offset(updates.pointer, number, row * updates.type.dtype.itemsize)
        loop_rest(code, rest, (to, held.itemsize), (source, own.itemsize), count, combine_run)

    Positions(x, indices, axes, mode).each(code, at)


def each_once(code: Code, size: int, lanes: int, piece: Callable[[Any, int], None]) -> None:
    """`piece(start, lanes)` for every element exactly once: vectors, then single elements."""
    whole = size - size % lanes if lanes > 1 else 0
    if whole:
        with code.loop(whole, step=lanes) as start:
            piece(start, lanes)
    if whole < size:
        with code.loop(size, whole) as start:
            piece(start, 1)


def rest_dims(shape: Sequence[int], axes: Sequence[int]) -> list[tuple[int, int, int]]:
    """(size, stride in the array, stride in a row of updates) of what is not indexed."""
    strides = dense_strides(shape)
    kept = [i for i in range(len(shape)) if i not in axes]
    dims = merged([(shape[i], strides[i]) for i in kept]) or [(1, 1)]
    if any(shape[i] == 0 for i in kept):
        dims = [(0, 1)]
    rows = dense_strides([size for size, _ in dims])
    return [(size, stride, row) for (size, stride), row in zip(dims, rows, strict=True)]


def loop_rest(
    code: Code,
    dims: Sequence[tuple[int, int, int]],
    array: tuple[Any, int],
    row: tuple[Any, int],
    count: int,
    run: Callable[..., None],
) -> None:
    """`run(code, array, row, size, step, row step)` along the last of the dimensions.

    Args:
      array, row: pointers, and bytes of a part of an element.
      count: the parts of an element, which are beside each other.
    """
    (pointer, nbytes), (other, other_bytes) = array, row
    size, step, row_step = dims[0]
    if len(dims) == 1 and (count == 1 or step == row_step == 1):
        run(code, pointer, other, size * count, step, row_step)
        return
    with code.loop(size) as i:
        inside = code.offset(pointer, i, step * count * nbytes), nbytes
        beside = code.offset(other, i, row_step * count * other_bytes), other_bytes
        loop_rest(code, dims[1:] or [(1, 1, 1)], inside, beside, count, run)


def emit_gather(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a gather that no kernel took: one of complex numbers."""
    x, *indices = operands
    (result,) = results
    params, dtype = equation.params, x.type.dtype
    axes, mode = params["axes"], params.get("mode", "error")
    part, count = _parts(dtype)
    rest = rest_dims(x.type.shape, axes)
    row = math.prod(d[0] for d in rest)
    if mode in ("fill", "drop"):
        _fill(code, result, params.get("fill_value"))

    def move(code: Code, source: Any, to: Any, run: int, step: int, to_step: int) -> None:
        with code.loop(run) as i:
            value = load(code, code.offset(source, i, step * part.itemsize), part)
            store(code, value, code.offset(to, i, to_step * part.itemsize), part)

    def at(number: Any, place: Any) -> None:
        source = code.offset(x.pointer, place, dtype.itemsize), part.itemsize
        to = code.offset(result.pointer, number, row * dtype.itemsize), part.itemsize
        loop_rest(code, rest, source, to, count, move)

    Positions(x, indices, axes, mode).each(code, at)


def _fill(code: Code, result: Buffer, value: Any) -> None:
    """Set all elements to what stands for missing ones."""
    dtype = result.type.dtype
    part, count = _parts(dtype)
    number = dtype.type(default_fill(dtype) if value is None else value)
    v = code.vectors(1)
    parts = [number.real, number.imag][:count] if count > 1 else [number]
    values = [v.constant(p, v.type(part)) for p in parts]
    with code.loop(result.type.size) as i:
        pointer = code.offset(result.pointer, i, dtype.itemsize)
        for place, constant in enumerate(values):
            store(code, constant, code.offset(pointer, place, part.itemsize), part)


# -- slices ----------------------------------------------------------------------------------


def _window_start(
    code: Code, starts: Sequence[Buffer], sizes: Sequence[int], shape: Sequence[int], mode: str
) -> Any:
    """The place of a window's first element, checked or moved by the mode."""
    builder = code.builder
    total, zero = code.int64(0), code.int64(0)
    for start, size, n, step in zip(starts, sizes, shape, dense_strides(shape), strict=True):
        dtype, room = start.type.dtype, code.int64(n - size)
        first = as_index(code, load(code, start.pointer, dtype), dtype)
        below = builder.icmp_signed("<", first, zero)
        first = builder.select(below, builder.add(first, code.int64(n)), first)
        below = builder.icmp_signed("<", first, zero)
        above = builder.icmp_signed(">", first, room)
        if mode == "clip":
            first = builder.select(below, zero, builder.select(above, room, first))
        else:
            code.fail_if(builder.or_(below, above), _out_of_bounds)
        total = builder.add(total, builder.mul(first, code.int64(step)))
    return total


def emit_dynamic_slice(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a slice at computed start indices."""
    x, *starts = operands
    dtype, sizes = x.type.dtype, results[0].type.shape
    mode = equation.params.get("mode", "error")
    place = _window_start(code, starts, sizes, x.type.shape, mode)
    source = code.offset(x.pointer, place, dtype.itemsize)
    dims = _window_dims(sizes, dense_strides(x.type.shape), dense_strides(sizes))
    copy_between(code, source, results[0].pointer, dims, dtype)


def emit_dynamic_update_slice(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append an array with a slice replaced at computed start indices."""
    x, update, *starts = operands
    (result,) = results
    dtype, shape, sizes = x.type.dtype, x.type.shape, update.type.shape
    place = _window_start(code, starts, sizes, shape, equation.params.get("mode", "error"))
    if result.pointer is not x.pointer:
        code.copy(result.pointer, x.pointer, x.type.nbytes)
    target = code.offset(result.pointer, place, dtype.itemsize)
    dims = _window_dims(sizes, dense_strides(sizes), dense_strides(shape))
    copy_between(code, update.pointer, target, dims, dtype)


def _window_dims(
    sizes: Sequence[int], source: Sequence[int], target: Sequence[int]
) -> list[tuple[int, int, int]]:
    """The dimensions of a window, neighbours merged where both arrays allow."""
    dims: list[tuple[int, int, int]] = []
    for size, s, t in zip(sizes, source, target, strict=True):
        if size == 1:
            continue
        if dims and dims[-1][1] == size * s and dims[-1][2] == size * t:
            dims[-1] = (dims[-1][0] * size, s, t)
        else:
            dims.append((size, s, t))
    return dims or [(1, 1, 1)]


def emit_slice_positions(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append the positions of slices from each start index."""
    (start,), (result,) = operands, results
    params, builder = equation.params, code.builder
    length, limit = params["length"], params["limit"]
    zero, room = code.int64(0), code.int64(limit - length)
    with code.loop(start.type.size) as i:
        dtype = start.type.dtype
        value = load(code, code.offset(start.pointer, i, dtype.itemsize), dtype)
        first = as_index(code, value, dtype)
        below = builder.icmp_signed("<", first, zero)
        first = builder.select(below, builder.add(first, code.int64(limit)), first)
        below = builder.icmp_signed("<", first, zero)
        above = builder.icmp_signed(">", first, room)
        if params["mode"] == "clip":
            # like np.clip, which takes the upper bound where the bounds are the wrong way round
            first = builder.select(below, zero, first)
            above = builder.icmp_signed(">", first, room)
            first = builder.select(above, room, first)
            below = builder.icmp_signed("<", first, zero)
            above = builder.icmp_signed(">", first, room)
        code.fail_if(builder.or_(below, above), _out_of_bounds)
        row = code.offset(result.pointer, i, 8 * length)

        def piece(j: Any, lanes: int) -> None:
            v = code.vectors(lanes)
            place = v.splat(builder.add(first, j))
            if lanes > 1:
                place = builder.add(place, v.integers(range(lanes), 64))
            store(code, place, code.offset(row, j, 8), INT64)

        in_pieces(code, length, full_lanes(code, INT64), piece)


def emit_winners(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append which updates of a scatter stay: the last one at every place."""
    sizes, mode = equation.params["sizes"], equation.params["mode"]
    (result,) = results
    dtype = result.type.dtype
    owners = code.scratch(8 * math.prod(sizes))
    array = Buffer(owners, result.type.update(shape=tuple(sizes)))
    positions = Positions(array, operands, range(len(sizes)), mode)
    code.fill_zero(result.pointer, result.type.nbytes)
    if result.type.size == 0:
        return

    def claim(number: Any, place: Any) -> None:
        store(code, number, code.offset(owners, place, 8), INT64)

    def mark(number: Any, place: Any) -> None:
        owner = load(code, code.offset(owners, place, 8), INT64)
        with code.builder.if_then(code.builder.icmp_signed("==", owner, number)):
            v, real = code.vectors(1), dtypes.real_dtype(dtype)
            one = v.constant(1, v.type(real))
            store(code, one, code.offset(result.pointer, number, dtype.itemsize), real)

    positions.each(code, claim)
    positions.each(code, mark)


def _has_positions(equation: Equation) -> bool:
    """Whether every index is read; NumPy checks also those that broadcast to nothing."""
    moved = 1 if equation.primitive.name == "gather" else 2
    types = [a.type for a in equation.inputs[moved:]]
    return 0 not in joint_shape(types) or not any(t.size for t in types)


def _real_or_moved(equation: Equation) -> bool:
    name = equation.primitive.name
    kind = dtypes.kind(equation.outputs[0].type.dtype)
    real = kind != "c" or name in ("scatter", "scatter_add")
    return real and _has_positions(equation)


OPERATIONS = {
    **dict.fromkeys(COMBINE, emit_scatter),
    "gather": emit_gather,
    "dynamic_slice": emit_dynamic_slice,
    "dynamic_update_slice": emit_dynamic_update_slice,
    "slice_positions": emit_slice_positions,
    "scatter_winners": emit_winners,
}
SUPPORTS = {**dict.fromkeys(COMBINE, _real_or_moved), "gather": _has_positions}
