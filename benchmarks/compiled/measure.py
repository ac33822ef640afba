"""Measuring one row: results compared first, then first calls, then steady times.

A contender that raises, or whose result is far from the others', is not timed: the outcome
says so by name. First calls compile a new function each time, in turns, with our cache on disk
set aside; the smallest of them counts, since everything else that runs only adds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optree

from benchmarks import machine
from benchmarks.compiled.row import Row
from benchmarks.harness import Case
from wengert.engines.native import tiers
from wengert.engines.native.runtime.callable import wait_for_machine_code

#: Whose first calls are compared.
COMPILERS = ("wengert", "jax")
#: Seconds before a turn: idle threads of OpenBLAS spin for 2**26 ticks, some 30 ms, and for
#: longer where they get no processor.
REST = 0.1
#: Names our cache's directory; empty: no cache.
CACHE = "WENGERT_CACHE_DIR"


@dataclass(frozen=True)
class Effort:
    """How long to measure, and by which clock.

    Attributes:
      rounds, seconds, first_calls: turns, time of a turn, new functions.
      peaks: whether to measure the machine's peaks again for every row.
      clock: of wall time, or of the time that all threads of the process were running.
    """

    rounds: int = 15
    seconds: float = 0.02
    first_calls: int = 3
    peaks: bool = True
    clock: Callable[[], float] = time.perf_counter


QUICK = Effort(rounds=5, seconds=0.003, first_calls=1, peaks=False)


@dataclass
class Outcome:
    """What was measured of a row.

    Attributes:
      steady: (minimum, median) in seconds by contender.
      first: seconds of a first call, by compiler.
      errors: what went wrong, by contender.
    """

    row: Row
    limit: machine.Limit | None = None
    steady: dict[str, tuple[float, float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Our median over JAX's."""
        if not {"wengert", "jax"} <= self.steady.keys():
            return None
        return self.steady["wengert"][1] / self.steady["jax"][1]

    @property
    def first_ratio(self) -> float | None:
        """Our first call over JAX's."""
        if not {"wengert", "jax"} <= self.first.keys():
            return None
        return self.first["wengert"] / self.first["jax"]


class Contender:
    """A system with a row's function, compiled, and its arguments."""

    def __init__(self, row: Row, system: Any, inputs: tuple[Any, ...]) -> None:
        self.row, self.system, self.inputs = row, system, inputs
        self.args = list(system.asarray(inputs))
        self.fun = self.fresh()
        self.result = plain(self.advance())
        if system.name == "wengert":
            self._settle()

    def _settle(self) -> None:
        """Call until what is compiled in the background is in use: what is timed is steady."""
        for _ in range(3):
            self.advance()
            wait_for_machine_code()
            tiers.wait()

    def fresh(self) -> Callable[..., Any]:
        """The row's function, new and not compiled yet."""
        donated = tuple(range(self.row.state))
        return self.system.jit(self.row.function(self.system), donate=donated)

    def advance(self) -> Any:
        """Call the function and wait; results take the place of donated arguments."""
        out = self.system.wait(self.fun(*self.args))
        if self.row.state:
            self.args[: self.row.state] = out
        return out

    def runner(self) -> Callable[[], Any]:
        """What is timed: as little as possible around the call."""
        if self.row.state:
            return self.advance
        fun, args, wait = self.fun, self.args, self.system.wait
        if self.system.name == "jax":
            if hasattr(fun(*args), "block_until_ready"):  # quicker than the one for trees
                return lambda: fun(*args).block_until_ready()
            return lambda: wait(fun(*args))
        if len(args) == 1:
            (arg,) = args
            return lambda: fun(arg)
        return lambda: fun(*args)

    def first_call(self, clock: Callable[[], float]) -> float:
        """Seconds to trace, compile and run a new function."""
        args = self.system.asarray(self.inputs)
        fun = self.fresh()
        start = clock()
        self.system.wait(fun(*args))
        return clock() - start


def plain(tree: Any) -> list[np.ndarray[Any, Any]]:
    """The leaves as NumPy arrays of their own."""
    return [np.array(leaf) for leaf in optree.tree_leaves(tree)]


def distance(got: list[Any], expected: list[Any]) -> float:
    """The largest difference, relative to the largest element of each array."""
    if [g.shape for g in got] != [e.shape for e in expected]:
        return np.inf
    if not all(np.isfinite(g).all() for g in got):
        return np.inf
    return max(
        float(np.max(np.abs(g.astype(np.float64) - e)) / max(np.max(np.abs(e)), 1e-30))
        for g, e in zip(got, expected, strict=True)
    )


def contenders(
    row: Row, systems: dict[str, Any], outcome: Outcome, again: bool
) -> dict[str, Contender]:
    """All that run the row and agree; why the others do not goes to `outcome.errors`.

    JAX's result is the one that others are compared with, where JAX is there.
    """
    inputs, ready = row.inputs(), {}
    for name, system in systems.items():
        if name in row.contenders():
            try:
                ready[name] = Contender(row, system, inputs)
            except Exception as error:  # whatever a contender cannot do is reported by name
                outcome.errors[name] = _sentence(error)
    if not ready:
        return ready
    reference = ready.get("jax") or next(iter(ready.values()))
    for name in list(ready):
        apart = distance(ready[name].result, reference.result)
        if apart > row.tolerance:
            outcome.errors[name] = f"WRONG: results are {apart:.2g} (relative) from JAX's"
            del ready[name]
    outcome.limit = limit(row, inputs, reference.result, again)
    return ready


def _sentence(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
    return f"{type(error).__name__}: {lines[0].strip()[:160]}"


def limit(row: Row, inputs: Any, outputs: Any, again: bool) -> machine.Limit | None:
    """The least time the row can take here: each input read, each output written, once."""
    peaks = machine.measured(again)
    if peaks is None:
        return None
    read = sum(x.nbytes for x in optree.tree_leaves(inputs))
    written = sum(x.nbytes for x in outputs)
    return peaks.limit(read + written, row.flops, row.steps, writes=written * 8 > read)


@contextmanager
def _no_disk_cache() -> Iterator[None]:
    """First calls of ours are to compile, not to find what an earlier run has left."""
    before = os.environ.get(CACHE)
    os.environ[CACHE] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE]
        else:
            os.environ[CACHE] = before


def measure(row: Row, systems: dict[str, Any], effort: Effort) -> Outcome:
    """Everything about one row."""
    outcome = Outcome(row)
    with _no_disk_cache():
        ready = contenders(row, systems, outcome, effort.peaks)
        compilers = [ready[name] for name in COMPILERS if name in ready]
        for _ in range(effort.first_calls if compilers else 0):
            for contender in compilers:
                name, seconds = contender.system.name, contender.first_call(effort.clock)
                outcome.first[name] = min(seconds, outcome.first.get(name, np.inf))
    if ready:
        runs = {name: contender.runner() for name, contender in ready.items()}
        case = Case(
            row.title,
            runs,
            rounds=effort.rounds,
            seconds=effort.seconds,
            rest=REST,
            clock=effort.clock,
        )
        case.measure()
        outcome.steady = case.results
    return outcome
