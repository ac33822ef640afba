"""Values at a point, or at a vector of points: expressions become instructions.

A `Frame` knows where it is: the position along every axis (numbers while code is unrolled, LLVM
values inside loops), how many lanes it has, and which of them count. It builds each node once
and remembers it. What does not depend on the vector axis is built as a scalar, by the frame
around the vector axis if it was built there, and then repeated in all lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.lazy import lazy_module
from wengert.core.program import Variable
from wengert.engines.native.code import Code
from wengert.engines.native.complexes import Pair, each, part_dtype
from wengert.engines.native.elements import converted, emit_element
from wengert.engines.native.elements_memory import from_memory, memory_type, to_memory
from wengert.engines.native.expressions import (
    INDEX,
    Affine,
    Apply,
    Checked,
    Choose,
    Constant,
    Coordinate,
    Kept,
    Load,
    Node,
    scaled,
)
from wengert.engines.native.math import FUNCTIONS

ir = lazy_module("llvmlite.ir")

#: Strides up to which whole vectors are read and shuffled instead of gathering elements.
MOST_STEPS = 4

Position = Any
#: A number or an LLVM value.


class Frame:
    """Where code is being built, and what has been built there.

    Attributes:
      lanes: points side by side along the vector axis.
      axis: the position of the vector axis among dimensions, None in a scalar frame.
      mask: which lanes count; None for all.
      unrolled: positions along the unrolled inner axes.
      partial: what accumulators keep while inner axes are unrolled.
    """

    def __init__(
        self,
        code: Code,
        pointers: dict[Variable, Any],
        flag: Any,
        depends: dict[Node, frozenset[int]],
        ranges: dict[int, tuple[int, int]],
    ) -> None:
        self.code = code
        self.pointers = pointers
        self.flag = flag
        self.depends = depends
        self.ranges = ranges
        self.positions: dict[int, Position] = {}
        self.lanes = 1
        self.axis: int | None = None
        self.mask: Any = None
        self.guarded = False
        self.unrolled: dict[int, int] = {}
        self.partial: dict[Any, Any] = {}
        self._memo: dict[Any, Any] = {}
        self._base: Frame | None = None
        self._around: Frame | None = None
        self._companion: Frame | None = None

    def _derived(self) -> Frame:
        frame = Frame(self.code, self.pointers, self.flag, self.depends, self.ranges)
        frame.positions = self.positions
        frame.lanes, frame.axis, frame.mask = self.lanes, self.axis, self.mask
        frame.guarded, frame.unrolled = self.guarded, self.unrolled
        frame._base, frame._around = self, self._around
        return frame

    def at(self, position: int, value: Position) -> Frame:
        """The frame inside a loop over an outer axis."""
        frame = self._derived()
        frame.positions = {**self.positions, position: value}
        frame.ranges = self._narrowed(position, value, 1)
        return frame

    def vector(
        self, lanes: int, axis: int | None, start: Position, turn: int, mask: Any = None
    ) -> Frame:
        """The frame of `lanes` points from `start` along the vector axis."""
        frame = self._derived()
        frame.lanes, frame.axis, frame.mask = lanes, axis, mask
        if axis is not None:
            frame.positions = {**self.positions, axis: start}
            frame.ranges = self._narrowed(axis, start, lanes)
        if lanes > 1:
            frame._base, frame._around = None, self
        return frame

    def _narrowed(self, position: int, value: Position, count: int) -> dict[int, Any]:
        if isinstance(value, int):
            return {**self.ranges, position: (value, value + count)}
        return self.ranges

    def _guarded(self, mask: Any) -> Frame:
        """The same frame where only some lanes count, for what choices hide."""
        frame = self._derived()
        frame.mask, frame.guarded = mask, True
        frame.partial = self.partial
        return frame

    @property
    def vectors(self) -> Any:
        """Operations on this frame's values."""
        return self.code.vectors(self.lanes)

    # -- values -----------------------------------------------

    def scalar(self, node: Node) -> None:
        """Build a node here, for the frames inside."""
        self.value(node)

    def value(self, node: Node) -> Any:
        """The value of a node, built at its first use."""
        depends = self.depends[node]
        key = (node, *(i for p, i in self.unrolled.items() if p in depends))
        frame: Frame | None = self
        while frame is not None:
            found = frame._memo.get(key)
            if found is not None:
                return found
            frame = frame._base
        if self.lanes > 1 and self.axis not in depends:
            found = each(self.vectors.splat, self._uniform().value(node))
        else:
            found = self._build(node)
        self._memo[key] = found
        return found

    def _uniform(self) -> Frame:
        """The scalar frame beside this one, for what is the same in all lanes."""
        if self._companion is None:
            assert self._around is not None
            frame = self._around._derived()
            frame.guarded = self.guarded
            if self._base is not None and self.guarded:
                frame._base = self._base._uniform()
            self._companion = frame
        self._companion.unrolled = self.unrolled
        return self._companion

    def _build(self, node: Node) -> Any:
        if isinstance(node, Apply):
            return self._applied(node, [self.value(a) for a in node.args])
        if isinstance(node, Load):
            return self._load(node)
        if isinstance(node, Constant):
            return self._constant(node)
        if isinstance(node, Coordinate):
            return self._coordinate(node)
        if isinstance(node, Choose):
            return self._choose(node)
        if isinstance(node, Kept):
            for check in node.checks:
                self.value(check)
            return self.value(node.node)
        assert isinstance(node, Checked)
        return self._checked(node)

    def _applied(self, node: Apply, args: list[Any]) -> Any:
        """An operation: its code, or where a program has much of that, a call of it."""
        v, context = self.vectors, self.code.context
        plain = node.name in FUNCTIONS and not any(isinstance(a, Pair) for a in args)
        if not plain or not context.outlines(node.name):
            return emit_element(v, node, args)
        name = f"{node.name}.{self.lanes}.{node.dtype.name}"
        function = self.code.module.globals.get(name)
        if function is None:
            types = [a.type for a in args]
            type_ = ir.FunctionType(v.type(node.dtype), types)
            function = ir.Function(self.code.module, type_, name)
            function.linkage = "internal"
            builder = ir.IRBuilder(function.append_basic_block("entry"))
            inner = Code(builder, self.code.target, context).vectors(self.lanes)
            inner.builder.ret(emit_element(inner, node, list(function.args)))
        return self.code.builder.call(function, args)

    def _constant(self, node: Constant) -> Any:
        v = self.vectors
        value = node.value
        if dtypes.is_complex(node.dtype):
            type_ = v.type(part_dtype(node.dtype))
            parts = v.constant(value.real, type_), v.constant(value.imag, type_)
            return Pair(*parts)
        return v.constant(
            float(value) if dtypes.is_floating(node.dtype) else int(value), v.type(node.dtype)
        )

    def _coordinate(self, node: Coordinate) -> Any:
        v = self.vectors
        low, high = self.range_of(node.affine)
        narrow = low >= -(1 << 31) and high < 1 << 31
        lanes = self._lane_positions(node.affine, 32 if narrow else 64)
        if node.dtype == INDEX and not narrow:
            return lanes
        source = dtypes.as_dtype("int32" if narrow else "int64")
        return converted(v, lanes, source, node.dtype)

    def _checked(self, node: Checked) -> Any:
        v, builder = self.vectors, self.code.builder
        index = self.value(node.index)
        negative = v.compare("lt", index, v.constant(0, index))
        moved = builder.add(index, v.constant(node.size, index))
        index = v.select(negative, moved, index)
        bad = v.compare("ge", index, v.constant(node.limit, index), signed=False)
        self._report(bad)
        return v.select(bad, v.constant(0, index), index)

    def _report(self, bad: Any) -> None:
        """Raise the kernel's flag where a lane that counts is bad."""
        v, builder = self.vectors, self.code.builder
        if self.mask is not None:
            bad = builder.and_(bad, self.mask)
        if self.lanes > 1:
            name = f"llvm.vector.reduce.or.v{self.lanes}i1"
            function = v.module.globals.get(name) or ir.Function(
                v.module, ir.FunctionType(ir.IntType(1), [bad.type]), name
            )
            bad = builder.call(function, [bad])
        byte = ir.IntType(8)
        before = builder.load(self.flag, typ=byte)
        builder.store(builder.or_(before, builder.zext(bad, byte)), self.flag)

    # -- choices -----------------------------------------------

    def range_of(self, affine: Affine) -> tuple[int, int]:
        """The least and greatest number that an affine form can be here."""
        low = high = affine[-1]
        for position in self.ranges:
            coefficient = affine[position]
            if coefficient:
                first, last = self._extent(position)
                ends = coefficient * first, coefficient * last
                low, high = low + min(ends), high + max(ends)
        return low, high

    def _extent(self, position: int) -> tuple[int, int]:
        if position in self.unrolled:
            return self.unrolled[position], self.unrolled[position]
        first, stop = self.ranges[position]
        return first, stop - 1

    def _choose(self, node: Choose) -> Any:
        v, builder = self.vectors, self.code.builder
        truth = None
        for affine, low, high in node.conditions:
            least, greatest = self.range_of(affine)
            if least >= low and greatest < high:
                continue
            if greatest < low or least >= high:
                return self.value(node.outside)
            for op, bound, known in (("ge", low, least >= low), ("lt", high, greatest < high)):
                if not known:
                    at = self._lane_positions(affine, 64)
                    term = v.compare(op, at, v.constant(bound, at))
                    truth = term if truth is None else builder.and_(truth, term)
        if truth is None:
            return self.value(node.inside)
        other = builder.xor(truth, v.constant(-1, truth))
        inside = self._guarded(self._both(truth)).value(node.inside)
        outside = self._guarded(self._both(other)).value(node.outside)
        return each(lambda x, y: v.select(truth, x, y), inside, outside)

    def _both(self, truth: Any) -> Any:
        return truth if self.mask is None else self.code.builder.and_(self.mask, truth)

    # -- positions -----------------------------------------------

    def _scalar_part(self, affine: Affine) -> tuple[Any, int]:
        """A position at the first lane: an LLVM value or None, plus a number."""
        key = ("position", affine[:-1], *self.unrolled.values())
        frame: Frame | None = self
        while frame is not None:
            if key in frame._memo:
                value, constant = frame._memo[key]
                return value, constant + affine[-1]
            frame = frame._base
        value, constant = None, 0
        builder = self.code.builder
        for position in self.ranges:
            coefficient = affine[position]
            if not coefficient:
                continue
            at = self.unrolled.get(position)
            at = self.positions[position] if at is None else at
            if isinstance(at, int):
                constant += coefficient * at
                continue
            term = at
            if coefficient != 1:
                term = builder.mul(at, self.code.int64(coefficient), flags=("nsw",))
            value = term if value is None else builder.add(value, term, flags=("nsw",))
        self._memo[key] = value, constant
        return value, constant + affine[-1]

    def _first(self, affine: Affine) -> Any:
        """A position at the first lane, as an LLVM value."""
        value, constant = self._scalar_part(affine)
        if value is None:
            return self.code.int64(constant)
        if not constant:
            return value
        return self.code.builder.add(value, self.code.int64(constant), flags=("nsw",))

    def _lane_positions(self, affine: Affine, width: int) -> Any:
        """Positions in all lanes, as integers of 32 or 64 bits."""
        v, builder = self.vectors, self.code.builder
        first = self._first(affine)
        if width == 32:
            first = builder.trunc(first, ir.IntType(32))
        if self.lanes == 1:
            return first
        step = affine[self.axis] if self.axis is not None else 0
        lanes = v.splat(first)
        if step:
            steps = v.integers([step * i for i in range(self.lanes)], width)
            lanes = builder.add(lanes, steps)
        return lanes

    # -- memory -----------------------------------------------

    def _load(self, node: Load) -> Any:
        terms = [(self.value(t), stride) for t, stride in node.terms]
        size = node.variable.type.size
        return self.load(
            self.pointers[node.variable], node.offset, node.dtype, terms, size=size
        )

    def _step(self, offset: Affine) -> int:
        return offset[self.axis] if self.axis is not None else 0

    def load(
        self,
        pointer: Any,
        offset: Affine,
        dtype: Any,
        terms: Sequence[tuple[Any, int]] = (),
        size: int = 0,
    ) -> Any:
        """Elements of memory, as operations take them."""
        if dtypes.is_complex(dtype):  # parts alternate: real numbers, twice as far apart
            part, terms = part_dtype(dtype), [(value, 2 * n) for value, n in terms]
            offsets = scaled(offset, 2), scaled(offset, 2, 1)
            return Pair(*(self.load(pointer, o, part, terms, 2 * size) for o in offsets))
        v, builder = self.vectors, self.code.builder
        type_ = memory_type(v, dtype)
        step = self._step(offset)
        if self.lanes > 1 and not terms and 1 < step <= MOST_STEPS and self.mask is None:
            part = self._deinterleaved(pointer, offset, dtype, size)
            if part is not None:
                return from_memory(v, part, dtype)
        if terms or (self.lanes > 1 and step not in (1, -1)):
            return from_memory(v, self._gather(pointer, offset, dtype, terms, size), dtype)
        if self.lanes == 1:
            at = self._safe(self._first(offset), size) if self.guarded else None
            place = self._place(pointer, offset, dtype, at)
            return from_memory(v, builder.load(place, typ=type_, align=dtype.itemsize), dtype)
        if step == -1:
            offset = (*offset[:-1], offset[-1] - self.lanes + 1)
        place = self._place(pointer, offset, dtype)
        mask = self.mask if step == 1 or self.mask is None else self._reversed(self.mask)
        raw = self._masked_load(place, type_, mask, dtype.itemsize)
        return from_memory(v, raw if step == 1 else self._reversed(raw), dtype)

    def _reversed(self, x: Any) -> Any:
        order = ir.Constant(
            ir.VectorType(ir.IntType(32), self.lanes), list(range(self.lanes))[::-1]
        )
        return self.code.builder.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), order)

    def _safe(self, at: Any, size: int) -> Any:
        """A position moved into the array, where a choice hides what is outside."""
        builder = self.code.builder
        zero, last = self.code.int64(0), self.code.int64(max(size - 1, 0))
        at = builder.select(builder.icmp_signed("<", at, zero), zero, at)
        return builder.select(builder.icmp_signed(">", at, last), last, at)

    def _place(self, pointer: Any, offset: Affine, dtype: Any, at: Any = None) -> Any:
        """The address of the first lane."""
        if at is not None:
            return self.code.offset(pointer, at, dtype.itemsize)
        value, constant = self._scalar_part(offset)
        if value is not None:
            pointer = self.code.offset(pointer, value, dtype.itemsize)
        return self.code.offset(pointer, constant, dtype.itemsize)

    def _deinterleaved(self, pointer: Any, offset: Affine, dtype: Any, size: int) -> Any:
        """Every `step`-th element, from whole vectors that are read once for all of them.

        None where these vectors could reach beyond the array.
        """
        step = self._step(offset)
        part = (offset[-1] + sum(offset[p] * at for p, at in self.unrolled.items())) % step
        first = (*offset[:-1], offset[-1] - part)
        least, greatest = self.range_of(first)
        if least < 0 or greatest + step > size:
            return None
        key = "whole", pointer, first, *self.unrolled.values()
        if key not in self._memo:
            place = self._place(pointer, first, dtype)
            type_ = memory_type(self.vectors, dtype)
            self._memo[key] = [
                self.code.builder.load(
                    self.code.offset(place, i * self.lanes, dtype.itemsize),
                    typ=type_,
                    align=dtype.itemsize,
                )
                for i in range(step)
            ]
        return self._picked(self._memo[key], [part + step * i for i in range(self.lanes)])

    def _picked(self, vectors: Sequence[Any], places: Sequence[int]) -> Any:
        """Elements at places of several vectors that follow each other."""
        lanes, builder = self.lanes, self.code.builder
        width = ir.VectorType(ir.IntType(32), lanes)
        out = vectors[0]
        for i, vector in enumerate(vectors[1:], start=1):
            order = []
            for lane, place in enumerate(places):
                if i == 1:
                    order.append(place if place < 2 * lanes else 0)
                else:
                    inside = i * lanes <= place < (i + 1) * lanes
                    order.append(lanes + place - i * lanes if inside else lane)
            out = builder.shuffle_vector(out, vector, ir.Constant(width, order))
        return out

    def _masked_load(self, place: Any, type_: Any, mask: Any, align: int) -> Any:
        builder = self.code.builder
        if mask is None:
            return builder.load(place, typ=type_, align=align)
        name = f"llvm.masked.load.v{type_.count}{_letter(type_.element)}.p0"
        args = [
            place,
            ir.Constant(ir.IntType(32), align),
            mask,
            ir.Constant(type_, None),
        ]
        return builder.call(self._declared(name, type_, args), args)

    def _declared(self, name: str, result: Any, args: Sequence[Any]) -> Any:
        module = self.code.module
        return module.globals.get(name) or ir.Function(
            module, ir.FunctionType(result, [a.type for a in args]), name
        )

    def _addresses(
        self,
        pointer: Any,
        offset: Affine,
        itemsize: int,
        terms: Sequence[tuple[Any, int]],
        size: int,
    ) -> Any:
        """The addresses of all lanes."""
        v, builder = self.vectors, self.code.builder
        narrow = not terms and size * itemsize < 1 << 31
        lanes = self._lane_positions(offset, 32 if narrow else 64)
        for value, stride in terms:
            term = value
            if stride != 1:
                term = builder.mul(term, v.constant(stride, term))
            lanes = builder.add(lanes, term)
        element = ir.IntType(8 * itemsize)
        addresses = builder.gep(pointer, [lanes], source_etype=element)
        addresses.type = v.vector_of(ir.PointerType())  # llvmlite takes it for a scalar
        return addresses

    def _gather(self, pointer: Any, offset: Affine, dtype: Any, terms: Any, size: int) -> Any:
        v, builder = self.vectors, self.code.builder
        type_ = memory_type(v, dtype)
        if self.lanes == 1:
            at = self._first(offset)
            for value, stride in terms:
                at = builder.add(at, builder.mul(value, self.code.int64(stride)))
            if self.guarded:
                at = self._safe(at, size)
            place = self._place(pointer, offset, dtype, at)
            return builder.load(place, typ=type_, align=dtype.itemsize)
        pointers = self._addresses(pointer, offset, dtype.itemsize, terms, size)
        name = f"llvm.masked.gather.v{self.lanes}{_letter(type_.element)}.v{self.lanes}p0"
        args = [
            pointers,
            ir.Constant(ir.IntType(32), dtype.itemsize),
            self._all_lanes(),
            ir.Constant(type_, None),
        ]
        return builder.call(self._declared(name, type_, args), args)

    def _all_lanes(self) -> Any:
        v = self.vectors
        return v.constant(1, v.mask_type) if self.mask is None else self.mask

    def fixed_offset(self, offset: Affine) -> Affine:
        """An offset at the positions of the unrolled axes."""
        at = self.unrolled
        shift = sum(offset[p] * i for p, i in at.items())
        return (*(0 if p in at else c for p, c in enumerate(offset[:-1])), offset[-1] + shift)

    def store_row(self, variable: Variable, values: dict[Affine, Any]) -> None:
        """Store values at offsets in a variable's array; whole rows as whole vectors."""
        pointer, dtype = self.pointers[variable], variable.type.dtype
        offsets = sorted(values)
        step, first = self._step(offsets[0]), offsets[0]
        whole = [(*first[:-1], first[-1] + i) for i in range(step)]
        plain = self.lanes > 1 and self.mask is None and not dtypes.is_complex(dtype)
        if plain and 1 < step <= MOST_STEPS and offsets == whole:
            raw = [to_memory(self.vectors, values[offset], dtype) for offset in offsets]
            for i in range(step):
                places = [divmod(i * self.lanes + lane, step) for lane in range(self.lanes)]
                order = [part * self.lanes + lane for lane, part in places]
                place = self._place(pointer, (*first[:-1], first[-1] + i * self.lanes), dtype)
                vector = self._picked(raw, order)
                self.code.builder.store(vector, place, align=dtype.itemsize)
            return
        for offset, value in values.items():
            self.store_at(pointer, offset, value, dtype)

    def store_at(self, pointer: Any, offset: Affine, value: Any, dtype: Any) -> None:
        """Store a value into memory, at the lanes that count."""
        if isinstance(value, Pair):
            self._store_pair(pointer, offset, value, part_dtype(dtype))
            return
        v, builder = self.vectors, self.code.builder
        raw = to_memory(v, value, dtype)
        if self.lanes == 1:
            place = self._place(pointer, offset, dtype)
            builder.store(raw, place, align=dtype.itemsize)
            return
        align = ir.Constant(ir.IntType(32), dtype.itemsize)
        letter = _letter(raw.type.element)
        if self._step(offset) == 1:
            place = self._place(pointer, offset, dtype)
            if self.mask is None:
                builder.store(raw, place, align=dtype.itemsize)
                return
            name = f"llvm.masked.store.v{self.lanes}{letter}.p0"
            args = [raw, place, align, self.mask]
        else:
            pointers = self._addresses(pointer, offset, dtype.itemsize, (), 1 << 40)
            name = f"llvm.masked.scatter.v{self.lanes}{letter}.v{self.lanes}p0"
            args = [raw, pointers, align, self._all_lanes()]
        builder.call(self._declared(name, ir.VoidType(), args), args)

    def _store_pair(self, pointer: Any, offset: Affine, value: Pair, dtype: Any) -> None:
        """Store complex numbers: by whole vectors of alternating parts where they adjoin."""
        if self.lanes == 1 or self.mask is not None or self._step(offset) != 1:
            for shift, part in enumerate(value):
                self.store_at(pointer, scaled(offset, 2, shift), part, dtype)
            return
        builder, lanes = self.code.builder, self.lanes
        order = ir.VectorType(ir.IntType(32), lanes)
        for half in range(2):
            first = half * lanes // 2
            places = [first + i // 2 + (i % 2) * lanes for i in range(lanes)]
            mixed = builder.shuffle_vector(*value, ir.Constant(order, places))
            place = self._place(pointer, scaled(offset, 2, half * lanes), dtype)
            builder.store(mixed, place, align=dtype.itemsize)


def _letter(element: Any) -> str:
    """An element type as it stands in the names of intrinsics."""
    if isinstance(element, ir.IntType):
        return f"i{element.width}"
    if isinstance(element, ir.HalfType):
        return "f16"
    return "f64" if isinstance(element, ir.DoubleType) else "f32"
