"""Running sums, products, extrema and log-sum-exps, and first-order linear recurrences.

An array is seen as (outer, steps, inner): the loop over the steps carries vectors of
neighbouring `inner` elements, or where there are none, single elements of several rows side by
side. A lone row of numbers is summed by vectors: sums within a vector in `log2(lanes)` steps,
then the sum of all before it. Where an intermediate sum of these would overflow, that vector is
summed element by element, as the eager engine does.

16-bit floats are accumulated in float32, and recurrences of floats in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.common import (
    FLOAT64,
    cast,
    full_lanes,
    in_pieces,
    load,
    power_below,
    repeat,
    shuffle_mask,
    spread_rows,
    store,
)
from wengert.engines.native.math import FUNCTIONS

ir = lazy_module("llvmlite.ir")

#: `step(code, lanes, carried, *values)`: the next carried value.
Step = Callable[..., Any]

#: Chains of dependent operations that run side by side.
_CHAINS = 4
_ROWS = 8
#: Bytes of neighbouring elements that are worth a loop of their own.
_WIDE = 512
#: Elements that are worth splitting over threads.
_MANY = 1 << 16


# -- steps -----------------------------------------------------------------------------------


def _kind_of(value: Any) -> str:
    element = getattr(value.type, "element", value.type)
    if not isinstance(element, ir.IntType):
        return "f"
    return "b" if element.width == 1 else "i"


def _add(code: Code, lanes: int, total: Any, x: Any) -> Any:
    del lanes
    kind, builder = _kind_of(x), code.builder
    if kind == "f":
        return builder.fadd(total, x)
    return builder.or_(total, x) if kind == "b" else builder.add(total, x)


def _multiply(code: Code, lanes: int, total: Any, x: Any) -> Any:
    del lanes
    kind, builder = _kind_of(x), code.builder
    if kind == "f":
        return builder.fmul(total, x)
    return builder.and_(total, x) if kind == "b" else builder.mul(total, x)


def _extremum(symbol: str, signed: bool, code: Code, lanes: int, best: Any, x: Any) -> Any:
    builder = code.builder
    if _kind_of(x) == "f":
        keep = builder.fcmp_ordered(symbol, best, x)
        keep = builder.or_(keep, code.vectors(lanes).is_nan(best))
    else:
        compare = builder.icmp_signed if signed else builder.icmp_unsigned
        keep = compare(symbol, best, x)
    return builder.select(keep, best, x)


def _logaddexp(code: Code, lanes: int, total: Any, x: Any) -> Any:
    return FUNCTIONS["logaddexp"](code.vectors(lanes), total, x)


def _recurrence(code: Code, lanes: int, y: Any, a: Any, b: Any) -> Any:
    return _add(code, lanes, _multiply(code, lanes, a, y), b)


# -- loops -----------------------------------------------------------------------------------


class _Running:
    """A running operation along one axis."""

    def __init__(self, equation: Equation, step: Step, work: DType) -> None:
        shape, axis = equation.outputs[0].type.shape, equation.params["axis"]
        self.dtype: DType = equation.outputs[0].type.dtype
        self.work, self.step = work, step
        self.outer, self.steps = math.prod(shape[:axis]), shape[axis]
        self.inner = math.prod(shape[axis + 1 :])
        if dtypes.is_complex(self.dtype):  # parts, which are added apart
            self.dtype, self.inner = dtypes.real_dtype(self.dtype), 2 * self.inner
        self.reverse = bool(equation.params.get("reverse", False))
        self.size = self.dtype.itemsize

    def emit(self, code: Code, pointers: Sequence[Any], alone: Step | None = None) -> None:
        """Append the loops; `pointers` are the operands and the result.

        Args:
          alone: `alone(code, pointers)` for a lone row.
        """
        if self.outer * self.steps * self.inner == 0:
            return
        if self.inner * self.size >= _WIDE and self.work == self.dtype:
            self._streamed(code, pointers)
        elif self.inner > 1:
            self._columns(code, pointers)
        elif alone is not None and self.outer < _ROWS:
            row = self.steps * self.size
            spread_rows(
                code,
                "running",
                self.outer,
                pointers,
                lambda code, given, i: alone(code, [code.offset(p, i, row) for p in given]),
                self.outer * self.steps >= _MANY,
            )
        else:
            self._rows(code, pointers)

    def _columns(self, code: Code, pointers: Sequence[Any]) -> None:
        lanes = min(full_lanes(code, self.work), power_below(self.inner))
        width = lanes * min(_CHAINS, self.inner // lanes)
        groups = [(start, width) for start in range(0, self.inner - width + 1, width)]
        left = self.inner - len(groups) * width
        block = self.steps * self.inner * self.size

        def columns(code: Code, given: Sequence[Any], i: Any) -> None:
            given = [code.offset(p, i, block) for p in given]
            with code.loop(len(groups) * width, step=width) as start:
                inside = [code.offset(p, start, self.size) for p in given]
                self._run(code, inside, list(range(0, width, lanes)), lanes)
            if left:
                offsets = list(range(0, left - left % lanes, lanes))
                if left % lanes:
                    offsets.append(left - lanes)
                inside = [code.offset(p, len(groups) * width, self.size) for p in given]
                self._run(code, inside, offsets, lanes)

        many = self.outer * self.steps * self.inner >= _MANY
        spread_rows(code, "running", self.outer, pointers, columns, many)

    def _streamed(self, code: Code, pointers: Sequence[Any]) -> None:
        """Row after row of neighbouring elements, from the row before it."""
        row = self.inner * self.size

        def place(code: Code, i: Any) -> Any:
            return code.builder.sub(code.int64(self.steps - 1), i) if self.reverse else i

        def block(code: Code, given: Sequence[Any], number: Any) -> None:
            *operands, out = [code.offset(p, number, self.steps * row) for p in given]

            def rows(i: Any, first: bool) -> None:
                inside = [code.offset(p, place(code, i), row) for p in (*operands, out)]
                before = None
                if not first:
                    earlier = place(code, code.builder.sub(i, code.int64(1)))
                    before = code.offset(out, earlier, row)
                in_pieces(
                    code,
                    self.inner,
                    full_lanes(code, self.work),
                    partial(piece, inside, before),
                )

            def piece(inside: list[Any], before: Any, start: Any, lanes: int) -> None:
                *sources, target = [code.offset(p, start, self.size) for p in inside]
                values = [self.read(code, p, lanes) for p in sources]
                value = values[-1]
                if before is not None:
                    earlier = self.read(code, code.offset(before, start, self.size), lanes)
                    value = self.step(code, lanes, earlier, *values)
                self.write(code, value, target, lanes)

            rows(code.int64(0), True)
            with code.loop(self.steps, 1) as i:
                rows(i, False)

        many = self.outer * self.steps * self.inner >= _MANY
        spread_rows(code, "running", self.outer, pointers, block, many)

    def _rows(self, code: Code, pointers: Sequence[Any]) -> None:
        block = self.steps * self.size

        def rows(code: Code, given: Sequence[Any], start: Any, count: int) -> None:
            inside = [code.offset(p, start, block) for p in given]
            self._run(code, inside, [r * self.steps for r in range(count)], 1)

        whole = self.outer // _ROWS
        spread_rows(
            code,
            "running",
            whole,
            pointers,
            lambda code, given, i: rows(
                code, given, code.builder.mul(i, code.int64(_ROWS)), _ROWS
            ),
            self.outer * self.steps >= _MANY,
        )
        left = self.outer - whole * _ROWS
        if left:
            rows(code, pointers, code.int64(whole * _ROWS), left)

    def _run(
        self, code: Code, pointers: Sequence[Any], offsets: Sequence[int], lanes: int
    ) -> None:
        """All steps of some chains; `offsets` say where these are, in elements."""
        *operands, out = pointers
        stride = self.inner * self.size

        def at(pointer: Any, i: Any, offset: int) -> Any:
            if self.reverse:
                i = code.builder.sub(code.int64(self.steps - 1), i)
            return code.offset(code.offset(pointer, i, stride), offset, self.size)

        def values(i: Any, offset: int) -> list[Any]:
            return [self.read(code, at(p, i, offset), lanes) for p in operands]

        def keep(i: Any, carried: Sequence[Any]) -> None:
            for value, offset in zip(carried, offsets, strict=True):
                self.write(code, value, at(out, i, offset), lanes)

        def body(i: Any, *carried: Any) -> list[Any]:
            following = [
                self.step(code, lanes, value, *values(i, offset))
                for value, offset in zip(carried, offsets, strict=True)
            ]
            keep(i, following)
            return following

        zero = code.int64(0)
        first = [values(zero, offset)[-1] for offset in offsets]
        keep(zero, first)
        repeat(code, self.steps, first, body, start=1)

    def read(self, code: Code, pointer: Any, lanes: int) -> Any:
        """Elements in the dtype of the work."""
        value = load(code, pointer, self.dtype, lanes)
        return cast(code, value, code.vectors(lanes).type(self.work), True)

    def write(self, code: Code, value: Any, pointer: Any, lanes: int) -> None:
        """Elements in their own dtype."""
        value = cast(code, value, code.vectors(lanes).type(self.dtype), True)
        store(code, value, pointer, self.dtype)

    # -- a lone row --------------------------------------------------------------------------

    def sum_row(self, code: Code, pointers: Sequence[Any]) -> None:
        """The running sums of one row, by vectors."""
        source, out = pointers
        lanes = full_lanes(code, self.work)
        whole = self.steps // lanes * lanes
        zero = code.vectors(1).constant(0, code.vectors(1).type(self.work))
        if self.reverse:
            # from the end; the elements in front that fill no vector come last
            first = self.steps - lanes
        else:
            first = 0

        def body(i: Any, carried: Any) -> list[Any]:
            place = code.builder.sub(code.int64(first), i) if self.reverse else i
            start = code.offset(source, place, self.size)
            end = code.offset(out, place, self.size)
            x = self.read(code, start, lanes)
            return [self._sum_vector(code, x, start, end, carried, lanes)]

        carried = repeat(code, whole, [zero], body, step=lanes)[0]

        def single(i: Any, carried: Any) -> list[Any]:
            place = code.builder.sub(code.int64(self.steps - 1), i) if self.reverse else i
            x = self.read(code, code.offset(source, place, self.size), 1)
            total = _add(code, 1, carried, x)
            self.write(code, total, code.offset(out, place, self.size), 1)
            return [total]

        repeat(code, self.steps, [carried], single, start=whole)

    def _sum_vector(
        self, code: Code, x: Any, source: Any, out: Any, carried: Any, lanes: int
    ) -> Any:
        """Store the running sums of one vector, and return the last of them."""
        builder, v = code.builder, code.vectors(lanes)
        zero = v.constant(0, x)
        total, step = x, 1
        while step < lanes:
            places = [
                self._before(i, step, lanes) for i in range(lanes)
            ]  # lanes of (total, zero)
            total = _add(
                code, lanes, total, builder.shuffle_vector(total, zero, shuffle_mask(places))
            )
            step *= 2
        total = _add(code, lanes, total, v.splat(carried))
        last = 0 if self.reverse else lanes - 1
        if _kind_of(x) != "f":
            self.write(code, total, out, lanes)
            return builder.extract_element(total, code.int32(last))
        bad = builder.fcmp_unordered("uno", builder.fsub(total, total), zero)
        any_bad = _any(code, bad)
        with builder.if_else(any_bad, likely=False) as (then, otherwise):
            with then:
                slow = self._one_by_one(code, source, out, carried, lanes)
                slow_block = builder.block
            with otherwise:
                self.write(code, total, out, lanes)
                fast = builder.extract_element(total, code.int32(last))
                fast_block = builder.block
        result = builder.phi(fast.type)
        result.add_incoming(slow, slow_block)
        result.add_incoming(fast, fast_block)
        return result

    def _before(self, lane: int, step: int, lanes: int) -> int:
        """The lane `step` places before one in the order of summing, or one of zeros."""
        other = lane + step if self.reverse else lane - step
        return other if 0 <= other < lanes else lanes

    def _one_by_one(self, code: Code, source: Any, out: Any, carried: Any, lanes: int) -> Any:
        def body(i: Any, total: Any) -> list[Any]:
            if self.reverse:
                i = code.builder.sub(code.int64(lanes - 1), i)
            x = self.read(code, code.offset(source, i, self.size), 1)
            total = _add(code, 1, total, x)
            self.write(code, total, code.offset(out, i, self.size), 1)
            return [total]

        return repeat(code, lanes, [carried], body)[0]


def _any(code: Code, mask: Any) -> Any:
    """Whether any lane of a mask is set."""
    builder = code.builder
    if not isinstance(mask.type, ir.VectorType):
        return mask
    bits = ir.IntType(mask.type.count)
    return builder.icmp_unsigned("!=", builder.bitcast(mask, bits), ir.Constant(bits, 0))


# -- operations ------------------------------------------------------------------------------


def _emit(
    step: Step, code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    dtype = results[0].type.dtype
    running = _Running(equation, step, dtypes.real_dtype(dtype))
    alone = None
    sums = step is _add and dtypes.kind(dtype) != "b" and dtype.itemsize >= 4
    if sums and full_lanes(code, dtype) > 1:
        alone = running.sum_row
    running.emit(code, [operands[0].pointer, results[0].pointer], alone)


def _emit_extremum(
    symbol: str,
    code: Code,
    equation: Equation,
    operands: list[Buffer],
    results: list[Buffer],
) -> None:
    signed = dtypes.kind(results[0].type.dtype) == "i"
    step = partial(_extremum, symbol, signed)
    pointers = [operands[0].pointer, results[0].pointer]
    _Running(equation, step, results[0].type.dtype).emit(code, pointers)


def emit_recurrence(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append `y[i] = a[i] * y[i-1] + b[i]`."""
    dtype = results[0].type.dtype
    work = FLOAT64 if dtypes.is_floating(dtype) else dtype
    pointers = [*(operand.pointer for operand in operands), results[0].pointer]
    _Running(equation, _recurrence, work).emit(code, pointers)


def _is_real(equation: Equation) -> bool:
    return not dtypes.is_complex(equation.outputs[0].type.dtype)


OPERATIONS = {
    "cumsum": partial(_emit, _add),
    "cumprod": partial(_emit, _multiply),
    "cummax": partial(_emit_extremum, ">="),
    "cummin": partial(_emit_extremum, "<="),
    "cumlogsumexp": partial(_emit, _logaddexp),
    "linear_recurrence": emit_recurrence,
}
SUPPORTS = dict.fromkeys(("cumprod", "cummax", "cummin", "linear_recurrence"), _is_real)
