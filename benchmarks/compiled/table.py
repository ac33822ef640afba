"""The table of compiled work, printed row by row as it is measured, in Markdown.

`python -m benchmarks compiled [group or row ...] [--quick] [--busy] [--peers jax,torch]`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import machine
from benchmarks.compiled.measure import QUICK, Effort, Outcome, measure
from benchmarks.compiled.rows import chosen
from benchmarks.compiled.systems import NAMES, installed
from benchmarks.harness import brief, seconds

FIRST_TARGET, MEAN_TARGET = 0.33, 0.35
HEAD = (
    "work (gradient unless said)",
    *NAMES,
    "ours/JAX",
    "target",
    "first call: ours",
    "JAX",
    "ratio",
    "limit, by",
    "of limit",
)


def verdict(value: float | None, target: float) -> str:
    """A ratio held against its target."""
    if value is None:
        return f"≤ {target} ?"
    return f"≤ {target} {'met' if value <= target else 'MISSED'}"


def cells(outcome: Outcome) -> list[str]:
    """The line of one row."""
    row, steady = outcome.row, outcome.steady
    first = [brief(outcome.first[n]) if n in outcome.first else "" for n in ("wengert", "jax")]
    bound, fraction = "", ""
    if outcome.limit:
        bound = f"{brief(outcome.limit.seconds)}, {outcome.limit.by}"
        if "wengert" in steady:
            fraction = f"{100 * outcome.limit.seconds / steady['wengert'][1]:.0f} %"
    return [
        row.title,
        *(_contender(outcome, name) for name in NAMES),
        _number(outcome.ratio),
        verdict(outcome.ratio, row.target),
        *first,
        _number(outcome.first_ratio),
        bound,
        fraction,
    ]


def _contender(outcome: Outcome, name: str) -> str:
    if name in outcome.errors:
        return "WRONG" if outcome.errors[name].startswith("WRONG") else "error"
    return seconds(outcome.steady[name]) if name in outcome.steady else "–"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers; NaN of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def summary(outcomes: list[Outcome]) -> list[str]:
    """The means over the rows, the misses and the errors."""
    lines = []
    for title, among in (
        ("rows with targets of their own", [o for o in outcomes if o.row.anchor]),
        ("all rows", outcomes),
    ):
        ratios = [o.ratio for o in among if o.ratio is not None]
        firsts = [o.first_ratio for o in among if o.first_ratio is not None]
        if ratios:
            mean, late = geometric_mean(ratios), geometric_mean(firsts)
            lines.append(
                f"{title} ({len(ratios)} of {len(among)} measured): geometric mean of ours/JAX "
                f"{mean:.2f}, target {verdict(mean, MEAN_TARGET)}; worst {max(ratios):.2f}; "
                f"first calls {late:.2f}, worst {max(firsts):.2f}, each "
                f"{verdict(max(firsts), FIRST_TARGET)}"
            )
    missed = [o for o in outcomes if o.ratio is not None and o.ratio > o.row.target]
    lines += [f"MISSED: {o.row.name}: {o.ratio:.2f} > {o.row.target}" for o in missed]
    lines += [
        f"{o.row.name}, {name}: {text}" for o in outcomes for name, text in o.errors.items()
    ]
    return lines


def main(
    names: Sequence[str] = (),
    quick: bool = False,
    peers: Sequence[str] | None = None,
    busy: bool = False,
) -> None:
    """Measure and print rows."""
    rows = chosen(names)
    kept = {"wengert", *(peers if peers is not None else NAMES)}
    if quick and peers is None:
        kept.discard("torch.compile")
    systems = installed(kept)
    effort = QUICK if quick else Effort()
    if busy:
        effort = replace(effort, clock=time.process_time)
    print("\n## Compiled\n\n(minimum / median per call; ratios are of medians)\n")
    if busy:
        print("Times are those that all threads of the process ran, not wall times.\n")
    peaks = machine.measured()
    if peaks:
        print(peaks.describe() + "\n")
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|", flush=True)
    outcomes = []
    for row in rows:
        outcomes.append(measure(row, systems, effort))
        print("| " + " | ".join(cells(outcomes[-1])) + " |", flush=True)
    print("\n" + "\n\n".join(summary(outcomes)))
