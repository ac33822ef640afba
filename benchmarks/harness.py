"""Timing contenders side by side.

Contenders of one case take turns in short rounds, so that a drift of the machine meets all of
them alike. Printed are the minimum and the median over the rounds, and the ratio of our median
to each peer's. A peer that is not installed is skipped by name.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Run = Callable[[], Any]


@dataclass
class Case:
    """One line of a table.

    Attributes:
      name: what is done.
      contenders: by name; ours is called "wengert". Each does the whole work once, and waits
        for its result.
      budget: seconds after which a slow contender takes no more turns, once it has had three.
      rest: seconds of sleep before a turn: idle threads of the one before spin for a while.
      clock: what tells the time; `time.process_time` counts the work of all threads.
      target: `(peer, ratio)`: our time over the peer's is to be at most the ratio.
    """

    name: str
    contenders: dict[str, Run]
    target: tuple[str, float] | None = None
    rounds: int = 15
    seconds: float = 0.02
    budget: float = 2.0
    rest: float = 0.0
    clock: Callable[[], float] = time.perf_counter
    results: dict[str, tuple[float, float]] = field(default_factory=dict)

    def measure(self) -> None:
        """Time all contenders, in turns."""
        counts = {
            name: _repetitions(run, self.seconds) for name, run in self.contenders.items()
        }
        times: dict[str, list[float]] = {name: [] for name in self.contenders}
        for _ in range(self.rounds):
            for name, run in self.contenders.items():
                if len(times[name]) >= 3 and sum(times[name]) * counts[name] > self.budget:
                    continue
                time.sleep(self.rest)
                run()
                start = self.clock()
                for _ in range(counts[name]):
                    run()
                times[name].append((self.clock() - start) / counts[name])
        self.results = {name: (min(t), statistics.median(t)) for name, t in times.items()}

    def row(self) -> list[str]:
        """The line of the table, as text."""
        ours = self.results["wengert"][1]
        cells = [self.name, seconds(self.results["wengert"])]
        for name, figures in self.results.items():
            if name != "wengert":
                cells.append(f"{name} {seconds(figures)} (×{ours / figures[1]:.2f})")
        if self.target and self.target[0] in self.results:
            peer, ratio = self.target
            reached = ours / self.results[peer][1]
            verdict = "met" if reached <= ratio else "MISSED"
            cells.append(f"target ≤ {ratio} × {peer}: {reached:.2f} {verdict}")
        elif self.target:
            cells.append(f"target needs {self.target[0]}, which is not installed")
        return cells


def _repetitions(run: Run, seconds_: float) -> int:
    run()
    start = time.perf_counter()
    run()
    once = max(time.perf_counter() - start, 1e-7)
    return max(1, int(seconds_ / once))


def seconds(figures: tuple[float, float]) -> str:
    """Minimum and median in a unit that fits."""
    unit, scale = _unit(figures[1])
    return f"{figures[0] * scale:.3g} / {figures[1] * scale:.3g} {unit}"


def brief(figure: float) -> str:
    """One time in a unit that fits."""
    unit, scale = _unit(figure)
    return f"{figure * scale:.3g} {unit}"


def _unit(figure: float) -> tuple[str, float]:
    units = (("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1.0))
    return next((u, s) for u, s in units if figure * s < 1000 or u == "s")


def optional(name: str) -> Any:
    """A peer's module, or None with a word about it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"({name} is not installed: skipped)")
        return None


def report(title: str, cases: list[Case]) -> None:
    """Measure and print a table."""
    print(f"\n## {title}\n\n(min / median per call; ratios are of medians, ours over theirs)\n")
    for case in cases:
        case.measure()
        print("| " + " | ".join(case.row()) + " |", flush=True)
