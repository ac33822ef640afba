"""Loop nests: the expressions of a kernel become loops over vectors.

First the *axes* are chosen: neighbouring dimensions that every access runs through as if they
were one are merged; one axis becomes the vector axis (the one along which most accesses are
contiguous); small axes inside it are unrolled. Along axes where padding or concatenation makes
a choice by position, the range is cut into segments in which the choice is known.

Then the nest is written from the outside in. An expression is built at the level of the
innermost axis it depends on, as a scalar outside the vector axis. Large nests are cut into
blocks along their first axis, which threads share; the blocks depend on sizes only, so that
results do not depend on the number of threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.core.program import Variable
from wengert.engines.native.code import Code
from wengert.engines.native.elements import cost_of
from wengert.engines.native.expansion import Expansion
from wengert.engines.native.expressions import (
    Affine,
    Apply,
    Choose,
    Load,
    Node,
    reduced_offset,
    row_major,
)
from wengert.engines.native.points import MOST_STEPS, Frame
from wengert.engines.native.reductions import Accumulator

ir = lazy_module("llvmlite.ir")

#: Nests of so few vectors (times their cost) are written without loops.
_UNROLLED_POINTS = 16
_UNROLLED_COST = 600
#: Unrolled inner axes have at most so many points.
_INNER_POINTS = 16
#: Vector operations that one block of a large nest does, about.
_BLOCK_WORK = 12_000
_MOST_BLOCKS = 64
_SEGMENT_COST = 1500


@dataclass(eq=False)
class Axis:
    """A loop: its coefficient in affine forms is that of dimension `position`."""

    size: int
    position: int


@dataclass(eq=False)
class Nest:
    """The axes of a kernel, and what it needs to know of its expressions.

    Attributes:
      outer: loops around the vector axis.
      vector: the vector axis; None for a domain of one point.
      inner: unrolled axes inside it.
      lanes: elements of a vector.
      cost: vector operations per point (or vector).
    """

    expansion: Expansion
    outer: list[Axis] = field(default_factory=list)
    vector: Axis | None = None
    inner: list[Axis] = field(default_factory=list)
    lanes: int = 1
    cost: int = 1

    @property
    def loops(self) -> list[Axis]:
        """The axes that become loops, from the outside in."""
        return [*self.outer, *([self.vector] if self.vector else [])]


# -- choosing the axes -----------------------------------------------


def reachable(roots: Sequence[Node]) -> list[Node]:
    """All nodes that roots are computed from, each after its inputs."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((i, False) for i in node.inputs if i not in seen)
    return order


def read_in_place(expansion: Expansion) -> set[Variable]:
    """The variables of which each point reads only what it would store in their place."""
    strides = row_major(expansion.domain)
    points = math.prod(expansion.domain)
    found: dict[Variable, bool] = {}
    for node in reachable(expansion.heads):
        if isinstance(node, Load):
            row = node.variable.type.size // max(points, 1)
            own = tuple(
                row * stride if n != 1 else 0
                for n, stride in zip(expansion.domain, strides, strict=True)
            )
            inside = node.offset[:-1] == own and 0 <= node.offset[-1] < row and not node.terms
            found[node.variable] = found.get(node.variable, True) and inside
    return {variable for variable, inside in found.items() if inside}


def plan(expansion: Expansion, vector_bytes: int) -> Nest:
    """Choose the axes of a kernel."""
    nodes = reachable(expansion.heads)
    affines = {a for node in nodes for a in node.affines}
    affines.update(root.offset for root in expansion.roots)
    masks = [frozenset(e.params["axes"]) for e, _ in expansion.reductions]
    for mask in masks:
        affines.add(reduced_offset(expansion.domain, mask))
    axes = _merge(expansion.domain, affines, masks)
    nest = Nest(expansion)
    nest.cost = sum(
        cost_of(n.name) if isinstance(n, Apply) else 1 for n in nodes if n.inputs or n.affines
    )
    nest.cost = max(nest.cost, 1)
    if not axes or 0 in expansion.domain:
        return nest
    most = _lanes(expansion, nodes, vector_bytes)
    nest.vector = min(axes, key=lambda axis: (_time(axis, nodes, nest, most), -axis.position))
    if vector_bytes < 64:  # without masks a vector must not be longer than its axis
        most = min(most, 1 << (nest.vector.size.bit_length() - 1))
    at = axes.index(nest.vector)
    inner = axes[at + 1 :]
    if math.prod(axis.size for axis in inner) <= _INNER_POINTS:
        nest.inner, axes = inner, axes[: at + 1]
    nest.outer = [axis for axis in axes if axis is not nest.vector]
    nest.lanes = most
    return nest


def _merge(domain: Any, affines: set[Affine], masks: Sequence[frozenset[int]]) -> list[Axis]:
    """The axes of a domain, with neighbours merged where all accesses allow it."""
    axes: list[Axis] = []
    for d, n in enumerate(domain):
        if n == 1:
            continue
        if axes:
            last = axes[-1]
            same = all(a[last.position] == a[d] * n for a in affines) and all(
                (last.position in mask) == (d in mask) for mask in masks
            )
            if same:
                axes[-1] = Axis(last.size * n, d)
                continue
        axes.append(Axis(n, d))
    return axes


def _lanes(expansion: Expansion, nodes: Sequence[Node], vector_bytes: int) -> int:
    """Elements of a vector: as many as fit of the widest dtype that is read or written."""
    dtypes = [n.dtype for n in nodes if isinstance(n, Load)]
    dtypes += [n.dtype for n in expansion.heads]
    registers = [_register_bytes(d) for d in dtypes]
    return vector_bytes // max(registers, default=4)


def _register_bytes(dtype: Any) -> int:
    """Bytes of one lane of a dtype in registers."""
    if dtype.kind == "c":
        return int(dtype.itemsize) // 2
    return 4 if dtype.kind != "b" and dtype.itemsize == 2 else int(dtype.itemsize)


def _time(axis: Axis, nodes: Sequence[Node], nest: Nest, lanes: int) -> float:
    """About how long a point takes with this axis as the vector axis, in vector operations."""
    expansion = nest.expansion
    steps = [n.offset[axis.position] for n in nodes if isinstance(n, Load)]
    time = float(nest.cost) + sum(_step_time(step, lanes) for step in steps)
    for root in expansion.roots:
        time += 1.5 * _step_time(root.offset[axis.position], lanes)
    return time * lanes / min(axis.size, lanes)


def _step_time(step: int, lanes: int) -> int:
    """What it costs to read elements so far apart, beside reading a vector."""
    if step in (-1, 0, 1):
        return 0
    return 3 if 1 < step <= MOST_STEPS else lanes


# -- writing -----------------------------------------------


class NestWriter:
    """Writes the machine code of one kernel.

    Args:
      code: the function that runs the kernel.
      expansion: its expressions.
      pointer_of: for a variable in memory, an LLVM pointer to its first element.
      in_place: whether something is stored where it was read from; no point may then be
        computed twice.
    """

    def __init__(
        self,
        code: Code,
        expansion: Expansion,
        pointer_of: Callable[[Variable], Any],
        in_place: bool = False,
    ) -> None:
        self.code = code
        self.in_place = in_place
        self.expansion = expansion
        self.nest = plan(expansion, code.target.vector_bytes)
        self.roots = expansion.heads
        nodes = reachable(self.roots)
        self.nodes = nodes
        self.checks = any(type(n).__name__ == "Checked" for n in nodes)
        self._free = _unconditional(self.roots)
        read = dict.fromkeys(n.variable for n in nodes if isinstance(n, Load))
        self.variables = [*read, *dict.fromkeys(r.variable for r in expansion.roots)]
        self.pointers = {v: pointer_of(v) for v in self.variables}
        self.accumulators = [
            Accumulator(self.nest, equation, node, pointer_of(equation.outputs[0]))
            for equation, node in expansion.reductions
        ]
        self.flag: Any = None
        axes = {a.position for a in (*self.nest.loops, *self.nest.inner)}
        self.depends = _dependences(nodes, axes)

    def write(self) -> None:
        """Append the kernel to the function."""
        if 0 in self.expansion.domain:
            for accumulator in self.accumulators:
                accumulator.fill(self.code)
            return
        if self.checks:
            self.flag = self.code.stack(ir.IntType(8), ir.Constant(ir.IntType(8), 0))
        for ranges in self._segments():
            self._write_segment(ranges)
        if self.checks:
            flag = self.code.builder.load(self.flag, typ=ir.IntType(8))
            bad = self.code.builder.icmp_unsigned("!=", flag, ir.Constant(ir.IntType(8), 0))
            self.code.context.fail_if(self.code, bad)

    # -- segments -----------------------------------------------

    def _segments(self) -> Iterator[dict[int, tuple[int, int]]]:
        """Ranges (low, high) of the axes, by position, that together cover the domain."""
        axes = [*self.nest.loops, *self.nest.inner]
        cuts = {axis.position: self._cuts(axis) for axis in axes}
        if self.accumulators:
            cuts = {p: [0, c[-1]] for p, c in cuts.items()}
        for axis in self.nest.outer[::1]:
            pieces = math.prod(len(c) - 1 for c in cuts.values())
            if pieces * self.nest.cost > _SEGMENT_COST or pieces > 9:
                cuts[axis.position] = [0, axis.size]
        pieces = math.prod(len(c) - 1 for c in cuts.values())
        if pieces > 9 or (pieces > 1 and pieces * self.nest.cost > _SEGMENT_COST):
            cuts = {axis.position: [0, axis.size] for axis in axes}
        ranges = [
            [(p, low, high) for low, high in itertools.pairwise(c)] for p, c in cuts.items()
        ]
        for choice in itertools.product(*ranges):
            yield {p: (low, high) for p, low, high in choice}

    def _cuts(self, axis: Axis) -> list[int]:
        """Where choices by position change along an axis, its ends included."""
        cuts = {0, axis.size}
        if any(axis is a for a in self.nest.inner):
            return sorted(cuts)
        for node in self.nodes:
            if not isinstance(node, Choose):
                continue
            for affine, low, high in node.conditions:
                others = [c for i, c in enumerate(affine[:-1]) if c and i != axis.position]
                coefficient = affine[axis.position]
                if others or coefficient not in (1, -1):
                    continue
                for bound in (low, high):
                    at = (bound - affine[-1]) * coefficient + (coefficient < 0)
                    if 0 < at < axis.size:
                        cuts.add(at)
        return sorted(cuts)

    # -- blocks -----------------------------------------------

    def _write_segment(self, ranges: dict[int, tuple[int, int]]) -> None:
        nest = self.nest
        chunks = 1
        for axis in nest.loops:
            low, high = ranges[axis.position]
            count = high - low
            whole = axis is nest.vector and count >= nest.lanes
            chunks *= -(-count // nest.lanes) if whole else count
        inner = math.prod(axis.size for axis in nest.inner)
        points = chunks * inner
        small = points <= _UNROLLED_POINTS and points * nest.cost <= _UNROLLED_COST
        blocks = self._blocks(ranges, points)
        if blocks == 1:
            for accumulator in self.accumulators:
                accumulator.begin(self.code, 1)
            body = Body(self, self.code, self.pointers, self.flag, ranges, None)
            body.write(small)
            for accumulator in self.accumulators:
                accumulator.end(self.code, 1)
            return
        self._write_blocks(ranges, blocks)

    def _blocks(self, ranges: dict[int, tuple[int, int]], points: int) -> int:
        if not self.nest.loops:
            return 1
        low, high = ranges[self.nest.loops[0].position]
        blocks = min(points * self.nest.cost // _BLOCK_WORK, high - low, _MOST_BLOCKS)
        for accumulator in self.accumulators:
            blocks = min(blocks, accumulator.most_blocks(points * self.nest.lanes))
        if self.nest.loops[0] is self.nest.vector:
            blocks = min(blocks, (high - low) // (4 * self.nest.lanes))
        return max(blocks, 1)

    def _write_blocks(self, ranges: dict[int, tuple[int, int]], blocks: int) -> None:
        first = self.nest.loops[0]
        low, high = ranges[first.position]
        step = -(-(high - low) // blocks)
        if first is self.nest.vector:
            whole = 4 * self.nest.lanes
            step = -(-step // whole) * whole
        blocks = -(-(high - low) // step)
        for accumulator in self.accumulators:
            accumulator.begin(self.code, blocks)
        captured = [*self.pointers.values()]
        if self.flag is not None:
            captured.append(self.flag)
        captured += [a.target for a in self.accumulators]

        def body(code: Code, block: Any, given: Sequence[Any]) -> None:
            values = iter(given)
            pointers = {v: next(values) for v in self.pointers}
            flag = None if self.flag is None else next(values)
            for accumulator in self.accumulators:
                accumulator.enter(code, next(values), block)
            start = code.builder.add(code.builder.mul(block, code.int64(step)), code.int64(low))
            stop = code.builder.add(start, code.int64(step))
            end = code.int64(high)
            inside = code.builder.icmp_signed("<", stop, end)
            stop = code.builder.select(inside, stop, end)
            Body(self, code, pointers, flag, ranges, (start, stop)).write(False)

        self.code.parallel("kernel", blocks, captured, body)
        for accumulator in self.accumulators:
            accumulator.end(self.code, blocks)


def _unconditional(roots: Sequence[Node]) -> set[Node]:
    """The nodes that are needed at every point, whatever choices say."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if not isinstance(node, Choose):
                stack.extend(node.inputs)
    return seen


def _dependences(nodes: Sequence[Node], axes: set[int]) -> dict[Node, frozenset[int]]:
    """The positions of the axes that each node depends on."""
    known: dict[Node, frozenset[int]] = {}
    for node in nodes:
        own = {p for a in node.affines for p in axes if a[p]}
        known[node] = frozenset(own.union(*(known[i] for i in node.inputs)))
    return known


class Body:
    """Writes the loops of one segment, or of one block of it, into a function."""

    def __init__(
        self,
        writer: NestWriter,
        code: Code,
        pointers: dict[Variable, Any],
        flag: Any,
        ranges: dict[int, tuple[int, int]],
        block: tuple[Any, Any] | None,
    ) -> None:
        self.writer = writer
        self.code = code
        self.nest = writer.nest
        self.ranges = ranges
        self.block = block
        self.top = Frame(code, pointers, flag, writer.depends, ranges)
        self.static = False

    def write(self, static: bool) -> None:
        """Append the loops, or with `static` everything in a row."""
        self.static = static
        self._level(0, self.top)

    def _level(self, depth: int, frame: Frame) -> None:
        """Write the loops from `depth` inwards."""
        self._hoist(depth, frame)
        opened = [a for a in self.writer.accumulators if a.depth == depth]
        for accumulator in opened:
            accumulator.open(self.code, frame)
        if depth == len(self.nest.outer):
            self._vectors(frame)
        else:
            self._outer(depth, frame)
        for accumulator in opened:
            accumulator.close(self.code, frame)

    def _hoist(self, depth: int, frame: Frame) -> None:
        """Build now, as scalars, what the axes outside this level determine."""
        if self.nest.vector is None:
            return
        known = {axis.position for axis in self.nest.outer[:depth]}
        last = {self.nest.outer[depth - 1].position} if depth else set()
        for node in self.writer.nodes:
            depends = self.writer.depends[node]
            if node in self.writer._free and depends <= known and last <= depends:
                frame.scalar(node)

    def _bounds(self, axis: Axis) -> tuple[Any, Any]:
        if self.block is not None and axis is self.nest.loops[0]:
            return self.block
        return self.ranges[axis.position]

    def _outer(self, depth: int, frame: Frame) -> None:
        axis = self.nest.outer[depth]
        low, high = self._bounds(axis)
        if self.static:
            for i in range(low, high):
                self._level(depth + 1, frame.at(axis.position, i))
            return
        with self.code.loop(high, low) as i:
            self._level(depth + 1, frame.at(axis.position, i))

    def _vectors(self, frame: Frame) -> None:
        axis = self.nest.vector
        if axis is None:
            self._points(frame.vector(1, None, None, 0), 0)
            return
        low, high = self._bounds(axis)
        if self.static:
            self._static_vectors(frame, axis, low, high)
            return
        lanes = self.nest.lanes
        if isinstance(low, int) and high - low < lanes:
            self._tail(frame, axis, low, high, lanes)
            return
        if not self.writer.accumulators and not self.writer.in_place:
            self._overlapping_loop(frame, axis, low, high)
            return
        unroll = self._unroll(low, high)
        start = self._main_loop(frame, axis, low, high, lanes * unroll)
        self._tail(frame, axis, start, high, lanes)

    def _overlapping_loop(self, frame: Frame, axis: Axis, low: Any, high: Any) -> None:
        """Whole vectors only: the last one begins early, and computes some elements again."""
        code, lanes = self.code, self.nest.lanes
        end = code.int64(high) if isinstance(high, int) else high
        last = code.builder.sub(end, code.int64(lanes))
        whole = isinstance(low, int) and (high - low) % lanes == 0
        with code.loop(end, low, lanes) as i:
            at = i
            if not whole:
                at = code.builder.select(code.builder.icmp_signed("<", i, last), i, last)
            self._points(frame.vector(lanes, axis.position, at, 0), 0)

    def _unroll(self, low: Any, high: Any) -> int:
        """Vectors per turn: several where sums would wait for each other."""
        inside = [a for a in self.writer.accumulators if a.in_registers]
        if not inside or self.nest.cost > 40 or self.nest.inner:
            return 1
        if isinstance(low, int) and high - low < 4 * self.nest.lanes:
            return 1
        return 4

    def _main_loop(self, frame: Frame, axis: Axis, low: Any, high: Any, step: int) -> Any:
        code = self.code
        if isinstance(low, int):
            stop: Any = low + (high - low) // step * step
            if stop == low:
                return low
        else:
            count = code.builder.sub(high, low)
            left = (
                code.builder.and_(count, code.int64(-step)) if step & (step - 1) == 0 else None
            )
            stop = code.builder.add(low, left)
        with code.loop(stop, low, step) as i:
            for u in range(step // self.nest.lanes):
                base = code.builder.add(i, code.int64(u * self.nest.lanes)) if u else i
                self._points(frame.vector(self.nest.lanes, axis.position, base, 0), u)
        return stop

    def _tail(self, frame: Frame, axis: Axis, start: Any, high: Any, lanes: int) -> None:
        if isinstance(start, int) and start == high:
            return
        code = self.code
        if code.target.vector_bytes < 64:
            with code.loop(high, start) as i:
                self._points(frame.vector(1, axis.position, i, 0), 0)
            return
        # of a masked store of one lane that was truncated, LLVM stores the wide element
        single = isinstance(start, int) and (high - start) % lanes == 1
        if single:
            high -= 1
        self._masked(frame, axis, start, high, lanes)
        if single:
            self._points(frame.vector(1, axis.position, high, 0), 0)

    def _masked(self, frame: Frame, axis: Axis, start: Any, high: Any, lanes: int) -> None:
        """Vectors of which the last may count in part."""
        if isinstance(start, int) and start == high:
            return
        code = self.code
        with code.loop(high, start, lanes) as i:
            end = code.int64(high) if isinstance(high, int) else high
            left = code.builder.sub(end, i)
            v = code.vectors(lanes)
            width = 32
            short = code.builder.trunc(left, ir.IntType(width))
            count = code.builder.select(
                code.builder.icmp_signed("<", left, code.int64(lanes)),
                short,
                ir.Constant(ir.IntType(width), lanes),
            )
            ids = v.integers(range(lanes), width)
            mask = v.compare("lt", ids, v.splat(count))
            self._points(frame.vector(lanes, axis.position, i, 0, mask), 0)

    def _static_vectors(self, frame: Frame, axis: Axis, low: int, high: int) -> None:
        """A few vectors in a row: whole ones, then halves and quarters, then scalars.

        What is shorter than a vector is done by scalars: these LLVM keeps in registers
        whatever parts of it the next kernel reads.
        """
        lanes = self.nest.lanes if high - low >= self.nest.lanes else 1
        at = low
        while at < high:
            while lanes > high - at:
                lanes //= 2
            width = lanes if lanes > 2 or lanes == self.nest.lanes else 1
            self._points(frame.vector(width, axis.position, at, 0), 0)
            at += width

    def _points(self, frame: Frame, turn: int) -> None:
        """Everything that happens at one point (or vector), over the unrolled axes."""
        inner = self.nest.inner
        written: dict[Variable, dict[Affine, Any]] = {}
        for steps in itertools.product(*(range(axis.size) for axis in inner)):
            frame.unrolled = {a.position: s for a, s in zip(inner, steps, strict=True)}
            for node in self.writer.roots:  # all is read before anything is written
                frame.value(node)
            for root in self.writer.expansion.roots:
                place = frame.fixed_offset(root.offset)
                written.setdefault(root.variable, {})[place] = frame.value(root.node)
            for accumulator in self.writer.accumulators:
                accumulator.add(self.code, frame, turn)
        frame.unrolled = {}
        for variable, values in written.items():
            frame.store_row(variable, values)
