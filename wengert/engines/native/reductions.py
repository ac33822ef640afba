"""Accumulators: how kernels reduce.

Along the axes inside the last one that is kept, an accumulator lives in registers: a vector
for every turn of the unrolled loop, combined at the end by halves. If axes further out are
reduced too, it is then combined with what is in memory. Where threads share the reduced axis,
every block has its own result, and these are combined in order: the result depends on sizes,
never on the number of threads.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native.code import Code
from wengert.engines.native.elements import TABLE, memory_type, to_memory
from wengert.engines.native.expansion import COMBINE, neutral
from wengert.engines.native.expressions import Apply, Constant, Node, reduced_offset, row_major
from wengert.engines.native.points import Frame
from wengert.engines.native.vectors import Vectors

if TYPE_CHECKING:
    from wengert.engines.native.nests import Nest

ir = lazy_module("llvmlite.ir")

FLOAT32 = np.dtype(np.float32)


class Accumulator:
    """One reduction of a kernel.

    Attributes:
      depth: the level of the nest at which registers are set up; inside the vector axis if -1.
      in_registers: whether the vector axis is reduced.
      target: where blocks write: the result, or memory for the partial results.
    """

    def __init__(self, nest: Nest, equation: Equation, node: Node, result: Any) -> None:
        self.nest = nest
        self.node = node
        self.name = equation.primitive.name
        self.type: ArrayType = equation.outputs[0].type
        half = dtypes.is_floating(self.type.dtype) and self.type.dtype.itemsize == 2
        self.dtype = FLOAT32 if half else self.type.dtype
        self.reduced = frozenset(equation.params["axes"])
        self.offset = reduced_offset(nest.expansion.domain, self.reduced)
        loops = nest.loops
        kept = [i for i, axis in enumerate(loops) if axis.position not in self.reduced]
        last = kept[-1] if kept else -1
        self.in_registers = nest.vector is None or nest.vector.position in self.reduced
        self.depth = last + 1 if self.in_registers else -1
        self.combines = any(loops[i].position in self.reduced for i in range(last))
        self.first_reduced = bool(loops) and loops[0].position in self.reduced
        self.layout = self._planes()
        self.result = result
        self.target = result
        self.base = result
        self._slots: dict[Any, Any] = {}
        self._anchor: Any = None
        zero = Constant(0, self.dtype)
        self._operation = Apply(COMBINE[self.name], (zero, zero), self.dtype, {})

    def _planes(self) -> list[tuple[int, int]] | None:
        """The kept axes, (size, stride in the result), in an order that suits the vector axis.

        None where the result itself does. Results that are combined in memory again and again
        had better be contiguous along the vector axis; the others are written only once.
        """
        vector, nest = self.nest.vector, self.nest
        if self.in_registers or not self.combines or self.offset[vector.position] == 1:
            return None
        axes = [*nest.outer, *nest.inner, vector]
        kept = [a for a in axes if a.position not in self.reduced]
        layout = [(a.size, self.offset[a.position]) for a in kept]
        offset = [0] * len(self.offset)
        for axis, stride in zip(kept, row_major(tuple(a.size for a in kept)), strict=True):
            offset[axis.position] = stride
        self.offset = tuple(offset)
        return layout

    # -- lanes -----------------------------------------------

    def combine(self, v: Vectors, x: Any, y: Any) -> Any:
        """Two partial results as one."""
        return TABLE[self._operation.name](v, self._operation, x, y)

    def neutral(self, v: Vectors) -> Any:
        """The value to start from, in all lanes."""
        return v.constant(neutral(self.name, ArrayType((), self.dtype)), v.type(self.dtype))

    # -- blocks -----------------------------------------------

    def most_blocks(self, points: int) -> int:
        """How many partial results are worth their memory."""
        return max(1, points // (8 * max(self.type.size, 1))) if self.first_reduced else points

    @property
    def _itemsize(self) -> int:
        return self.dtype.itemsize

    def begin(self, code: Code, blocks: int) -> None:
        """Set up memory, before the loops."""
        self.target = self.result
        self._partial = (
            (blocks > 1 and self.first_reduced)
            or (self.combines and self.dtype != self.type.dtype)
            or self.layout is not None
        )
        if self._partial:
            self.target = code.scratch(max(blocks, 1) * self.type.size * self._itemsize)
        self.base = self.target
        if self.combines and not (blocks > 1 and self.first_reduced):
            self._fill(code, self.target, self.memory_dtype)

    def _result_offset(self, code: Code, index: Any) -> Any:
        """Where an element of partial results belongs in the result."""
        if self.layout is None:
            return index
        builder = code.builder
        place: Any = code.int64(0)
        for size, stride in reversed(self.layout):
            step = builder.urem(index, code.int64(size))
            index = builder.udiv(index, code.int64(size))
            place = builder.add(place, builder.mul(step, code.int64(stride)))
        return place

    @property
    def memory_dtype(self) -> Any:
        """The dtype of what `target` points to."""
        return self.dtype if self._partial else self.type.dtype

    def enter(self, code: Code, target: Any, block: Any) -> None:
        """Take the pointer that the function of a block was given."""
        self.base = target
        if self._partial and self.first_reduced:
            size = self.type.size * self._itemsize
            self.base = code.offset(target, block, size)
            if self.combines:
                self._fill(code, self.base, self.dtype)

    def end(self, code: Code, blocks: int) -> None:
        """Combine the partial results of all blocks, in order."""
        if not self._partial:
            return
        if not self.first_reduced:
            blocks = 1
        v = code.vectors(1)
        size = self.type.size
        with code.loop(size) as i:
            slot = code.stack(v.type(self.dtype))
            first = code.offset(self.target, i, self._itemsize)
            code.builder.store(self._read(code, v, first), slot)
            if blocks > 1:
                with code.loop(blocks, 1) as block:
                    at = code.offset(first, block, size * self._itemsize)
                    before = code.builder.load(slot, typ=v.type(self.dtype))
                    total = self.combine(v, before, self._read(code, v, at))
                    code.builder.store(total, slot)
            total = code.builder.load(slot, typ=v.type(self.dtype))
            at = self._result_offset(code, i)
            place = code.offset(self.result, at, self.type.dtype.itemsize)
            raw = to_memory(v, total, self.type.dtype)
            code.builder.store(raw, place, align=self.type.dtype.itemsize)

    def _read(self, code: Code, v: Vectors, place: Any) -> Any:
        raw = code.builder.load(place, typ=memory_type(v, self.dtype), align=self._itemsize)
        return v.compare("ne", raw, v.constant(0, raw)) if self.dtype.kind == "b" else raw

    def fill(self, code: Code) -> None:
        """Make the result that of reducing nothing."""
        self._fill(code, self.result, self.type.dtype)

    def _fill(self, code: Code, pointer: Any, dtype: Any) -> None:
        v = code.vectors(1)
        value = v.constant(neutral(self.name, ArrayType((), dtype)), v.type(dtype))
        raw = to_memory(v, value, dtype)
        with code.loop(self.type.size) as i:
            place = code.offset(pointer, i, dtype.itemsize)
            code.builder.store(raw, place, align=dtype.itemsize)

    # -- registers -----------------------------------------------

    def open(self, code: Code, frame: Frame) -> None:
        """Set up registers, at the level of the nest where they start."""
        self._slots = {}
        zero = code.int64(0)
        self._anchor = code.builder.add(zero, zero)  # where the first values are stored

    def _slot(self, code: Code, v: Vectors, key: Any) -> Any:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = code.stack(v.type(self.dtype))
            block = code.builder.block
            code.builder.position_before(self._anchor)
            code.builder.store(self.neutral(v), slot)
            code.builder.position_at_end(block)
        return slot

    def _kept_inner(self, frame: Frame) -> tuple[tuple[int, int], ...]:
        return tuple((p, i) for p, i in frame.unrolled.items() if p not in self.reduced)

    def add(self, code: Code, frame: Frame, turn: int) -> None:
        """Take in the value at the current point."""
        v = frame.vectors
        value = frame.value(self.node)
        if self.in_registers:
            if frame.mask is not None:
                value = v.select(frame.mask, value, self.neutral(v))
            slot = self._slot(code, v, (frame.lanes, turn, self._kept_inner(frame)))
            before = code.builder.load(slot, typ=v.type(self.dtype))
            code.builder.store(self.combine(v, before, value), slot)
            return
        key = self, self._kept_inner(frame)
        before = frame.partial.get(key)
        frame.partial[key] = value if before is None else self.combine(v, before, value)
        if all(
            frame.unrolled[a.position] == a.size - 1
            for a in self.nest.inner
            if a.position in self.reduced
        ):
            self._write(frame, frame.partial.pop(key))

    def _write(self, frame: Frame, value: Any) -> None:
        """Store a result, or combine it with what is in memory."""
        dtype = self.memory_dtype
        if self.combines:
            before = frame.load(self.base, self.offset, dtype)
            value = self.combine(frame.vectors, before, value)
        frame.store_at(self.base, self.offset, value, dtype)

    def close(self, code: Code, frame: Frame) -> None:
        """Combine the registers and write the results."""
        totals: dict[Any, Any] = {}
        by_width = sorted(self._slots.items(), key=lambda item: (-item[0][0], item[0][1]))
        for width, group in itertools.groupby(by_width, key=lambda item: item[0][0]):
            vectors: dict[Any, Any] = {}
            v = code.vectors(width)
            for (_, _, kept), slot in group:
                value = code.builder.load(slot, typ=v.type(self.dtype))
                vectors[kept] = (
                    self.combine(v, vectors[kept], value) if kept in vectors else value
                )
            scalar = code.vectors(1)
            for kept, value in vectors.items():
                single = self._across(code, value, width)
                totals[kept] = (
                    self.combine(scalar, totals[kept], single) if kept in totals else single
                )
        before = frame.unrolled
        for kept, value in totals.items():
            frame.unrolled = dict(kept)
            self._write(frame, value)
        frame.unrolled = before

    def _across(self, code: Code, value: Any, width: int) -> Any:
        """All lanes combined: the upper half with the lower half, until one is left."""
        builder = code.builder
        while width > 1:
            width //= 2
            halves = []
            for start in (0, width):
                lanes = [start + i for i in range(width)]
                if width == 1:
                    halves.append(
                        builder.extract_element(value, ir.Constant(ir.IntType(32), start))
                    )
                    continue
                order = ir.Constant(ir.VectorType(ir.IntType(32), width), lanes)
                undefined = ir.Constant(value.type, ir.Undefined)
                halves.append(builder.shuffle_vector(value, undefined, order))
            value = self.combine(code.vectors(width), *halves)
        return value
