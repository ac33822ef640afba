"""Imports and first calls, each in a process of its own, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.harness import optional

IMPORTS = {
    "numpy": "import numpy",
    "wengert": "import wengert",
    "autograd": "import autograd.numpy",
    "torch": "import torch",
    "jax": "import jax",
}
FIRST_CALLS = {
    "wengert": "import wengert as m",
    "jax": "import jax as m",
}
_TIMED = """
import time
{setup}
def simplefun(x, w):
    return (x + w) * x**2
start = time.perf_counter()
{work}
print(time.perf_counter() - start)
"""


def _run(setup: str, work: str) -> float:
    source = _TIMED.format(setup=setup, work=work)
    # as installed packages are: with their bytecode cached
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", source],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return float(done.stdout)


def main(rounds: int = 7) -> None:
    """Print import times and first-call times."""
    installed = [name for name in IMPORTS if optional(name)]
    times: dict[str, list[float]] = {name: [] for name in installed}
    first: dict[str, list[float]] = {n: [] for n in FIRST_CALLS if n in installed}
    for _ in range(rounds):
        for name in installed:
            times[name].append(_run("", IMPORTS[name]))
        for name, samples in first.items():
            samples.append(_run(FIRST_CALLS[name], "m.grad(simplefun)(3.0, 1.0)"))
    base = statistics.median(times["numpy"])
    print("\n## Import, and first call (median of processes)\n")
    for name, samples in times.items():
        middle = statistics.median(samples)
        print(
            f"| import {name} | {middle * 1e3:.0f} ms | over numpy "
            f"{1e3 * (middle - base):+.0f} ms |"
        )
    for name, samples in first.items():
        print(
            f"| first grad(simplefun)(3., 1.), {name} | "
            f"{statistics.median(samples) * 1e3:.2f} ms |"
        )
    over = 1e3 * (statistics.median(times["wengert"]) - base)
    print(
        f"target: import ≤ 60 ms over numpy: {over:.0f} ms {'met' if over <= 60 else 'MISSED'}"
    )
