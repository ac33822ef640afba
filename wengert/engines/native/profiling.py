"""Time spent in the steps of compiled programs.

A profiled program is the same machine code with a clock read around every step, inside loops
and conditionals too. Blocks there whose steps are about as short as reading the clock are
counted, not timed; so a loop that lives in registers keeps its speed. The table sets the times
against the machine's peaks, which are measured once: copying large arrays for bytes per second,
a large matrix product for operations per second.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.core.source import Location
from wengert.engines.native.cost import Cost, cost_of_block, cost_of_step
from wengert.engines.native.describe import source_of, title_of
from wengert.engines.native.kernels import group
from wengert.engines.native.steps import Block, OpaqueStep
from wengert.passes.blocks import programs

ir = lazy_module("llvmlite.ir")

_MONOTONIC = getattr(time, "CLOCK_MONOTONIC", 1)


#: Blocks inside loops and conditionals with less work than this (operations and bytes of one
#: run) are not taken apart: reading the clock would take longer than their steps.
_SMALL = 4096


#: What may be small, besides kernels; anything else takes longer than its operands let expect.
_SHORT = frozenset(["cond", "scan", "dot_general"])


@dataclass
class Row:
    """One step: what it is, what it costs, and how long its runs took.

    Attributes:
      title: in a few words.
      cost: of one run.
      location: the user's line.
      calls: how many runs there were.
      seconds: how long they took, with the steps inside, if there are any.
      inner: the steps inside a loop or conditional.
      timed: whether the clock was read; else `seconds` is 0, and the step around has the time.
      depth: how many steps it is inside of.
    """

    title: str
    cost: Cost
    location: Location | None
    calls: int = 0
    seconds: float = 0.0
    inner: list[Row] = field(default_factory=list)
    timed: bool = True
    depth: int = 0

    @property
    def own(self) -> float:
        """Seconds without those of the steps inside that were timed."""
        return self.seconds - sum(row.seconds for row in self.inner)

    @property
    def total(self) -> Cost:
        """The cost of all runs, known from what is inside if anything is."""
        if self.inner:
            return sum((row.total for row in self.inner), Cost())
        return self.cost.times(self.calls)

    @property
    def gigabytes_per_second(self) -> float:
        """Memory traffic."""
        return self.total.bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gigaflops(self) -> float:
        """Floating-point operations per nanosecond."""
        return self.total.flops / self.seconds / 1e9 if self.seconds else 0.0

    def tree(self) -> Iterator[Row]:
        """The row, and those inside that ran, the slowest first."""
        yield self
        for row in _slowest_first(self.inner):
            yield from row.tree()


def _slowest_first(rows: Iterable[Row]) -> list[Row]:
    return sorted((row for row in rows if row.calls), key=lambda row: -row.seconds)


def _is_small(block: Block) -> bool:
    """Whether a run of a block is about as short as reading the clock."""
    cost = cost_of_block(block)
    opaque = [step.equation for step in block.steps if isinstance(step, OpaqueStep)]
    return cost.flops + cost.bytes < _SMALL and all(
        equation.primitive.name in _SHORT
        and all(_is_small(group(program)) for program in programs(equation.params))
        for equation in opaque
    )


class Section:
    """Counters of the steps of one block in memory, and the code that fills them.

    Args:
      block: the steps.
      label: what the block is to the step around it, if that has several.
      depth: how many steps it is inside of.

    Attributes:
      small: whether only the runs of the block are counted, and no step is timed.
    """

    def __init__(self, block: Block, label: str = "", depth: int = 0) -> None:
        self.block = block
        self.label = label
        self.depth = depth
        self.small = depth > 0 and _is_small(block)
        self.counters = np.zeros((len(block.steps) + 1, 2), np.int64)  # calls, nanoseconds
        self.sections: dict[int, list[Section]] = {}

    def inside(self, step: int, block: Block, label: str) -> Section | None:
        """The section of a block inside a step."""
        if self.small:
            return None
        section = Section(block, label, self.depth + 1)
        self.sections.setdefault(step, []).append(section)
        return section

    def enter(self, code: Any) -> None:
        """Count a run of a small block."""
        if self.small:
            self._add(code, -1, 0, code.int64(1))

    def start(self, code: Any) -> Any:
        """Read the clock; returns nanoseconds."""
        if self.small:
            return None
        slot = code.stack(ir.ArrayType(code.i64, 2))
        args = [code.int32(_MONOTONIC), slot]
        code.call("libc.clock_gettime", ir.IntType(32), args)
        builder = code.builder
        seconds = builder.load(slot, typ=code.i64)
        rest = builder.load(code.offset(slot, 8), typ=code.i64)
        return builder.add(builder.mul(seconds, code.int64(1_000_000_000)), rest)

    def stop(self, code: Any, begin: Any, step: int) -> None:
        """Add the time since `begin` to a step's counters."""
        if self.small:
            return
        passed = code.builder.sub(self.start(code), begin)
        self._add(code, step, 0, code.int64(1))
        self._add(code, step, 1, passed)

    def _add(self, code: Any, step: int, column: int, amount: Any) -> None:
        address = self.counters[step, column:].ctypes.data
        place = code.builder.inttoptr(code.int64(address), code.pointer_type)
        before = code.builder.load(place, typ=code.i64)
        code.builder.store(code.builder.add(before, amount), place)

    def rows(self) -> list[Row]:
        """What has been counted so far."""
        prefix = f"{self.label}: " if self.label else ""
        if self.small:
            count = len(self.block.steps)
            title = f"{prefix}{count} small step{'s' if count != 1 else ''}"
            runs = int(self.counters[-1, 0])
            cost = cost_of_block(self.block)
            return (
                [Row(title, cost, None, runs, timed=False, depth=self.depth)] if count else []
            )
        rows = []
        for number, step in enumerate(self.block.steps):
            calls, spent = self.counters[number]
            rows.append(
                Row(
                    f"{prefix}{title_of(step)}",
                    cost_of_step(self.block, step),
                    source_of(self.block, step),
                    int(calls),
                    float(spent) / 1e9,
                    [row for s in self.sections.get(number, ()) for row in s.rows()],
                    depth=self.depth,
                )
            )
        return rows


@dataclass
class Profile:
    """The steps that ran while a profile was taken.

    Attributes:
      rows: one per step, the slowest first.
    """

    clocks: dict[Program, Section] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """One row per step that ran, the slowest first, each followed by the steps inside."""
        outermost = [row for clock in self.clocks.values() for row in clock.rows()]
        return [row for outer in _slowest_first(outermost) for row in outer.tree()]

    def __str__(self) -> str:
        bandwidth, peak = machine_peaks()
        rows = self.rows
        total = sum(row.own for row in rows) or 1.0
        lines = [
            f"{'step':34} {'calls':>7} {'total':>8} {'own':>8} {'share':>5} {'GB/s':>6} "
            f"{'':>4} {'GFLOP/s':>7} {'':>4}  line"
        ]
        lines += [_line(row, total, bandwidth, peak) for row in rows]
        lines.append(f"peaks: {bandwidth:.1f} GB/s by copying, {peak:.0f} GFLOP/s by sgemm")
        if any(not row.timed for row in rows):
            lines.append("small steps are not timed: the clock would take longer than they do")
        return "\n".join(lines)


def _line(row: Row, total: float, bandwidth: float, peak: float) -> str:
    title = f"{'  ' * row.depth}{row.title}"
    head = f"{title[:34]:34} {row.calls:7}"
    if not row.timed:
        return head
    speed, rate = row.gigabytes_per_second, row.gigaflops
    where = f"{row.location.code.co_name}:{row.location.line}" if row.location else ""
    return (
        f"{head} {_time(row.seconds):>8} {_time(row.own):>8} {row.own / total:5.0%} "
        f"{speed:6.1f} {speed / bandwidth:4.0%} {rate:7.1f} {rate / peak:4.0%}  {where}"
    )


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


@cache
def machine_peaks() -> tuple[float, float]:
    """Gigabytes per second of copying large arrays, and GFLOP/s of a matrix product."""
    source = np.ones(1 << 24, np.float32)
    target = np.empty_like(source)
    matrix = np.ones((1024, 1024), np.float32)
    copy = _fastest(
        lambda: ctypes.memmove(target.ctypes.data, source.ctypes.data, source.nbytes)
    )
    product = _fastest(lambda: matrix @ matrix)
    return 2 * source.nbytes / copy / 1e9, 2 * 1024**3 / product / 1e9


def _fastest(run: Any) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)
