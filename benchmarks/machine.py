"""What the machine can do: the limits that rows of compiled work are held against.

Hand-written vector loops, compiled with llvmlite: independent multiply-adds for the peak of
arithmetic, dependent ones for the latency of a step that needs the one before, a sum for the
rate of reading and a copy for that of reading and writing, at sizes from the first cache to
memory. All use as many threads as the process may use cores, by `ctypes`, which releases the
GIL. They are measured again before every row, and the best figures count: the machine may be
used by others. Without llvmlite there are no limits to print.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import optional

#: Bytes touched per round, from the first cache to memory.
SIZES = tuple(1 << n for n in (15, 17, 19, 21, 23, 25, 27))
LANES = 16
VECTOR = f"<{LANES} x float>"
#: Independent multiply-adds: more than their latency times their rate.
STREAMS = 10
LOOPS = ("peak", "chain", "read", "copy", "stream")
#: Vectors a turn of the loops over memory.
UNROLL = 8
CORES = (
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
)


@dataclass(frozen=True)
class Limit:
    """The least time a piece of work can take, and what it is bound by."""

    seconds: float
    by: str


@dataclass(frozen=True)
class Machine:
    """Measured peaks of this machine, all cores together.

    Attributes:
      flops: float32 operations per second, a multiply-add being two.
      latency: seconds from a multiply-add to one that needs its result.
      call: seconds that a call of a C function from Python takes.
      rates: bytes touched -> (bytes per second reading, the same copying).
    """

    flops: float
    latency: float
    call: float
    rates: dict[int, tuple[float, float]]

    def rate(self, touched: float, writes: bool) -> float:
        """Bytes per second of a loop over `touched` bytes, interpolated between sizes."""
        sizes = np.log(list(self.rates))
        values = [pair[int(writes)] for pair in self.rates.values()]
        return float(np.interp(np.log(max(touched, 1.0)), sizes, values))

    def limit(self, moved: float, flops: float, steps: float, writes: bool = True) -> Limit:
        """The limit of work that moves bytes, computes, and has a chain of dependent steps."""
        bounds = {
            "memory": moved / self.rate(moved, writes),
            "arithmetic": flops / self.flops,
            "latency": steps * self.latency,
            "call": self.call,
        }
        by = max(bounds, key=lambda name: bounds[name])
        return Limit(bounds[by], by)

    def describe(self) -> str:
        """The peaks, in words."""
        rates = ", ".join(
            f"{size // 1024} KiB {read / 1e9:.0f}/{copy / 1e9:.0f}"
            for size, (read, copy) in self.rates.items()
        )
        return (
            f"{CORES} cores: {self.flops / 1e9:.0f} GFLOP/s (float32), a dependent "
            f"multiply-add {self.latency * 1e9:.2f} ns, a call from Python "
            f"{self.call * 1e9:.0f} ns; GB/s reading/copying by bytes touched: {rates}"
        )


def _loop(name: str, lines: list[str], carried: int) -> str:
    """A function that runs `lines` for every `i < count`, `passes` times over.

    `carried` vectors `%a0`, `%a1` ... go from one turn to the next as `%b0`, `%b1` ...
    """
    kept = range(carried)
    outer = "\n".join(
        f"  %c{n} = phi {VECTOR} [ zeroinitializer, %entry ], [ %b{n}, %round ]" for n in kept
    )
    inner = "\n".join(
        f"  %a{n} = phi {VECTOR} [ %c{n}, %turn ], [ %b{n}, %body ]" for n in kept
    )
    stores = "\n".join(f"  store volatile {VECTOR} %b{n}, ptr %target, align 64" for n in kept)
    body = "\n".join(f"  {line}" for line in lines)
    return f"""
define void @{name}(ptr noalias %source, ptr noalias %target, i64 %count, i64 %passes) #0 {{
entry:
  br label %turn
turn:
  %p = phi i64 [ 0, %entry ], [ %q, %round ]
{outer}
  br label %body
body:
  %i = phi i64 [ 0, %turn ], [ %j, %body ]
{inner}
{body}
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %count
  br i1 %more, label %body, label %round
round:
  %q = add i64 %p, 1
  %again = icmp slt i64 %q, %passes
  br i1 %again, label %turn, label %exit
exit:
{stores}
  ret void
}}
"""


def _multiply_adds(streams: int) -> list[str]:
    """Multiply-adds of which `streams` are independent."""
    one = f"{VECTOR} %v"
    fma = f"call {VECTOR} @llvm.fma.v{LANES}f32({VECTOR}"
    return [
        f"%v = load {VECTOR}, ptr %source, align 64",
        *(f"%b{n} = {fma} %a{n}, {one}, {one})" for n in range(streams)),
    ]


def _address(name: str, base: str, n: int) -> str:
    """The address of vector `n` of block `i`."""
    return f"%{name}{n} = getelementptr [{UNROLL} x {VECTOR}], ptr %{base}, i64 %i, i32 {n}"


def _reads() -> list[str]:
    """Loads, added up."""
    lines = []
    for n in range(UNROLL):
        lines += [_address("s", "source", n), f"%x{n} = load {VECTOR}, ptr %s{n}, align 64"]
        lines.append(f"%b{n} = fadd {VECTOR} %a{n}, %x{n}")
    return lines


def _copies(hint: str) -> list[str]:
    """Loads and stores."""
    lines = []
    for n in range(UNROLL):
        lines += [_address("s", "source", n), f"%x{n} = load {VECTOR}, ptr %s{n}, align 64"]
        lines.append(_address("t", "target", n))
        lines.append(f"store {VECTOR} %x{n}, ptr %t{n}, align 64{hint}")
    return lines


def _source() -> str:
    """The loops, as LLVM IR."""
    return "\n".join(
        (
            f"declare {VECTOR} @llvm.fma.v{LANES}f32({VECTOR}, {VECTOR}, {VECTOR})",
            _loop("peak", _multiply_adds(STREAMS), STREAMS),
            _loop("chain", _multiply_adds(1), 1),
            _loop("read", _reads(), UNROLL),
            _loop("copy", _copies(""), 0),
            _loop("stream", _copies(", !nontemporal !0"), 0),
            'attributes #0 = { "prefer-vector-width"="512" }',
            "!0 = !{ i32 1 }",
        )
    )


def _compile(llvm: Any) -> tuple[Any, dict[str, Callable[..., None]]]:
    """The loops as callables; the first item keeps their code alive."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_source()), target)
    engine.finalize_object()
    number = ctypes.c_int64
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, number, number)
    return engine, {name: kind(engine.get_function_address(name)) for name in LOOPS}


def _buffer(size: int) -> tuple[Any, int]:
    """Memory of `size` bytes and its address, on a cache line."""
    raw = np.ones(size + 64, np.uint8)  # written to, so that every page exists
    return raw, -(-raw.ctypes.data // 64) * 64


class _Meter:
    """Runs a loop on all cores and takes the best of several rounds."""

    def __init__(self, loops: dict[str, Callable[..., None]], pool: ThreadPoolExecutor) -> None:
        self.loops, self.pool = loops, pool

    def best(self, name: str, size: int, count: int, passes: int, rounds: int = 9) -> float:
        """Seconds for one pass over `size` bytes a core, `count` turns of the loop."""
        loop = self.loops[name]
        memory = [(_buffer(size), _buffer(size)) for _ in range(CORES)]

        def work(pair: Any) -> float:
            (_, source), (_, target) = pair
            start = time.perf_counter()
            loop(source, target, count, passes)
            return time.perf_counter() - start

        times = [max(self.pool.map(work, memory)) for _ in range(rounds)]
        return min(times) / passes

    def rates(self, touched: int) -> tuple[float, float]:
        """Bytes per second reading and copying, `touched` bytes over all cores."""
        block = LANES * 4 * UNROLL
        turns = touched // CORES // block
        passes = max(1, (1 << 26) // touched)
        reading = self.best("read", turns * block, turns, passes)
        half = max(turns // 2, 1)
        copying = min(
            self.best(name, half * block, half, passes) for name in ("copy", "stream")
        )
        return CORES * turns * block / reading, CORES * 2 * half * block / copying


@functools.cache
def _meters() -> tuple[Any, _Meter] | None:
    """The loops, compiled, and what times them; None without llvmlite."""
    llvm = optional("llvmlite.binding")
    if llvm is None:
        return None
    keep, loops = _compile(llvm)
    return keep, _Meter(loops, ThreadPoolExecutor(CORES))


def _once(meter: _Meter) -> Machine:
    steps = 1 << 20
    seconds = meter.best("peak", 64, steps, 1, rounds=30)
    return Machine(
        flops=CORES * steps * STREAMS * LANES * 2 / seconds,
        latency=meter.best("chain", 64, steps, 1, rounds=30) / steps,
        call=_call(),
        rates={size: meter.rates(size) for size in SIZES},
    )


def _best(a: Machine, b: Machine) -> Machine:
    """The better of each figure: whatever else runs here only takes away."""
    rates = {
        size: (max(a.rates[size][0], b.rates[size][0]), max(a.rates[size][1], b.rates[size][1]))
        for size in SIZES
    }
    return Machine(max(a.flops, b.flops), min(a.latency, b.latency), min(a.call, b.call), rates)


_known: list[Machine] = []


def measured(again: bool = True) -> Machine | None:
    """The best figures seen so far, after measuring once more if `again`."""
    meters = _meters()
    if meters is None:
        return None
    if again or not _known:
        _known.append(_once(meters[1]))
        _known[:] = [functools.reduce(_best, _known)]
    return _known[0]


def _call() -> float:
    """Seconds a call of a C function of one argument takes."""
    value, count = 1.5, 10_000

    def once() -> float:
        start = time.perf_counter()
        for _ in range(count):
            abs(value)
        return (time.perf_counter() - start) / count

    return min(once() for _ in range(9))
