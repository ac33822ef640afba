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
from wengert.engines.native.complexes import Pair, each, part_dtype
from wengert.engines.native.elements import TABLE
from wengert.engines.native.elements_complex import TABLE as COMPLEX
from wengert.engines.native.elements_memory import memory_type, to_memory
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
        if vector is None or self.in_registers or not self.combines:
            return None
        if self.offset[vector.position] == 1:
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
        if isinstance(x, Pair):
            return COMPLEX[self._operation.name](v, self._operation, x, y)
        return TABLE[self._operation.name](v, self._operation, x, y)

    def neutral(self, v: Vectors) -> Any:
        """The value to start from, in all lanes."""
        if dtypes.is_complex(self.dtype):
            type_ = v.type(part_dtype(self.dtype))
            part = neutral(self.name, ArrayType((), part_dtype(self.dtype)))
            imag = 0.0 if self.name == "reduce_prod" else part
            return Pair(v.constant(part, type_), v.constant(imag, type_))
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
            slot = self._register(code, v)
            first = code.offset(self.target, i, self._itemsize)
            each(code.builder.store, _read(code, v, first, self.dtype), slot)
            if blocks > 1:
                with code.loop(blocks, 1) as block:
                    at = code.offset(first, block, size * self._itemsize)
                    more = _read(code, v, at, self.dtype)
                    total = self.combine(v, self._held(code, v, slot), more)
                    each(code.builder.store, total, slot)
            at = self._result_offset(code, i)
            place = code.offset(self.result, at, self.type.dtype.itemsize)
            _store(code, v, place, self._held(code, v, slot), self.type.dtype)

    def fill(self, code: Code) -> None:
        """Make the result that of reducing nothing."""
        self._fill(code, self.result, self.type.dtype)

    def _fill(self, code: Code, pointer: Any, dtype: Any) -> None:
        v = code.vectors(1)
        value = self.neutral(v)
        with code.loop(self.type.size) as i:
            place = code.offset(pointer, i, dtype.itemsize)
            _store(code, v, place, value, dtype)

    # -- registers -----------------------------------------------

    def open(self, code: Code, frame: Frame) -> None:
        """Set up registers, at the level of the nest where they start."""
        self._slots = {}
        zero = code.int64(0)
        self._anchor = code.builder.add(zero, zero)  # where the first values are stored

    def _register(self, code: Code, v: Vectors) -> Any:
        """A place that LLVM turns into registers, one for each part of complex numbers."""
        if dtypes.is_complex(self.dtype):
            type_ = v.type(part_dtype(self.dtype))
            return Pair(code.stack(type_), code.stack(type_))
        return code.stack(v.type(self.dtype))

    def _held(self, code: Code, v: Vectors, slot: Any) -> Any:
        """What such a place holds."""
        complex_ = dtypes.is_complex(self.dtype)
        type_ = v.type(part_dtype(self.dtype) if complex_ else self.dtype)
        return each(lambda place: code.builder.load(place, typ=type_), slot)

    def _slot(self, code: Code, v: Vectors, key: Any) -> Any:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._register(code, v)
            block = code.builder.block
            code.builder.position_before(self._anchor)
            each(code.builder.store, self.neutral(v), slot)
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
                mask = frame.mask
                value = each(lambda x, y: v.select(mask, x, y), value, self.neutral(v))
            slot = self._slot(code, v, (frame.lanes, turn, self._kept_inner(frame)))
            total = self.combine(v, self._held(code, v, slot), value)
            each(code.builder.store, total, slot)
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
                value = self._held(code, v, slot)
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
        while width > 1:
            width //= 2
            low = each(lambda x, w=width: _part(code, x, 0, w), value)
            high = each(lambda x, w=width: _part(code, x, w, w), value)
            value = self.combine(code.vectors(width), low, high)
        return value


def _part(code: Code, value: Any, start: int, width: int) -> Any:
    """Some lanes of a vector."""
    if width == 1:
        return code.builder.extract_element(value, ir.Constant(ir.IntType(32), start))
    lanes = list(range(start, start + width))
    order = ir.Constant(ir.VectorType(ir.IntType(32), width), lanes)
    return code.builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), order)


def _places(code: Code, place: Any, dtype: Any) -> tuple[Any, Any]:
    """Where an element is in memory, or the parts of a complex one; and the dtype of these."""
    if not dtypes.is_complex(dtype):
        return place, dtype
    part = part_dtype(dtype)
    return Pair(place, code.offset(place, part.itemsize)), part


def _read(code: Code, v: Vectors, place: Any, dtype: Any) -> Any:
    places, part = _places(code, place, dtype)
    type_ = memory_type(v, part)
    raw = each(lambda p: code.builder.load(p, typ=type_, align=part.itemsize), places)
    return v.compare("ne", raw, v.constant(0, raw)) if dtype.kind == "b" else raw


def _store(code: Code, v: Vectors, place: Any, value: Any, dtype: Any) -> None:
    places, part = _places(code, place, dtype)
    raw = each(lambda x: to_memory(v, x, part), value)
    each(lambda x, p: code.builder.store(x, p, align=part.itemsize), raw, places)
