"""Time spent in the steps of compiled programs.

A profiled program is the same machine code with a clock read around every step of its
outermost block. The table sets the times against the machine's peaks, which are measured once:
copying large arrays for bytes per second, a large matrix product for operations per second.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.core.source import Location
from wengert.engines.native.cost import Cost, cost_of_step
from wengert.engines.native.describe import source_of, title_of
from wengert.engines.native.kernels import Block

ir = lazy_module("llvmlite.ir")

_MONOTONIC = getattr(time, "CLOCK_MONOTONIC", 1)


@dataclass
class Row:
    """One step: what it is, what it costs, and how long its runs took."""

    title: str
    cost: Cost
    location: Location | None
    calls: int = 0
    seconds: float = 0.0

    @property
    def gigabytes_per_second(self) -> float:
        """Memory traffic."""
        return self.calls * self.cost.bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gigaflops(self) -> float:
        """Floating-point operations per nanosecond."""
        return self.calls * self.cost.flops / self.seconds / 1e9 if self.seconds else 0.0


class Clock:
    """Counters of one program in memory, and the code that fills them."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.counters = np.zeros((len(block.steps), 2), np.int64)  # calls, nanoseconds

    def start(self, code: Any) -> Any:
        """Read the clock; returns nanoseconds."""
        slot = code.stack(ir.ArrayType(code.i64, 2))
        args = [code.int32(_MONOTONIC), slot]
        code.call("libc.clock_gettime", ir.IntType(32), args)
        builder = code.builder
        seconds = builder.load(slot, typ=code.i64)
        rest = builder.load(code.offset(slot, 8), typ=code.i64)
        return builder.add(builder.mul(seconds, code.int64(1_000_000_000)), rest)

    def stop(self, code: Any, begin: Any, step: int) -> None:
        """Add the time since `begin` to a step's counters."""
        passed = code.builder.sub(self.start(code), begin)
        address = self.counters.ctypes.data + 16 * step
        for offset, amount in ((0, code.int64(1)), (8, passed)):
            place = code.builder.inttoptr(code.int64(address + offset), code.pointer_type)
            before = code.builder.load(place, typ=code.i64)
            code.builder.store(code.builder.add(before, amount), place)

    def rows(self) -> list[Row]:
        """What has been counted so far."""
        rows = []
        for step, (calls, spent) in zip(self.block.steps, self.counters, strict=True):
            row = Row(
                title_of(step), cost_of_step(self.block, step), source_of(self.block, step)
            )
            row.calls, row.seconds = int(calls), float(spent) / 1e9
            rows.append(row)
        return rows


@dataclass
class Profile:
    """The steps that ran while a profile was taken.

    Attributes:
      rows: one per step, the slowest first.
    """

    clocks: dict[Program, Clock] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """One row per step that ran, the slowest first."""
        rows = [row for clock in self.clocks.values() for row in clock.rows() if row.calls]
        return sorted(rows, key=lambda row: -row.seconds)

    def __str__(self) -> str:
        bandwidth, peak = machine_peaks()
        total = sum(row.seconds for row in self.rows) or 1.0
        lines = [
            f"{'step':30} {'calls':>7} {'total':>10} {'share':>6} {'GB/s':>7} {'':>5} "
            f"{'GFLOP/s':>8} {'':>5}  line"
        ]
        for row in self.rows:
            speed, rate = row.gigabytes_per_second, row.gigaflops
            where = f"{row.location.code.co_name}:{row.location.line}" if row.location else ""
            lines.append(
                f"{row.title[:30]:30} {row.calls:7} {_time(row.seconds):>10} "
                f"{row.seconds / total:6.0%} {speed:7.1f} {speed / bandwidth:5.0%} "
                f"{rate:8.1f} {rate / peak:5.0%}  {where}"
            )
        lines.append(f"peaks: {bandwidth:.1f} GB/s by copying, {peak:.0f} GFLOP/s by sgemm")
        return "\n".join(lines)


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
