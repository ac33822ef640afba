"""First calls in a process that finds the cache on disk filled by another.

Each measurement starts two fresh processes, one after the other, with an empty directory for
the cache: the first compiles and leaves its code there, the second should only find it. JAX's
persistent cache gets the same chance. What is timed is the first call of the row's function, in
a process that has compiled one trivial function before.

`python -m benchmarks restart [row ...]`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.compiled.rows import chosen
from benchmarks.compiled.systems import one
from benchmarks.harness import brief, optional

ROWS = ("waves-1e5", "mlp", "rnn", "lorenz-grad")
TARGET = 0.1


def child(system_name: str, row_name: str) -> None:
    """Print the seconds of one first call."""
    system, (row,) = one(system_name), chosen([row_name])
    system.wait(system.jit(lambda x: x + 1)(system.np.zeros(3)))
    args = system.asarray(row.inputs())
    fun = system.jit(row.function(system), donate=tuple(range(row.state)))
    start = time.perf_counter()
    system.wait(fun(*args))
    print(time.perf_counter() - start)


def _environment(directory: str) -> dict[str, str]:
    """Caches of both systems in `directory`, with nothing too small to be kept."""
    return {
        **os.environ,
        "WENGERT_CACHE_DIR": directory,
        "JAX_COMPILATION_CACHE_DIR": directory,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _spawn(system: str, row: str, directory: str) -> float:
    command = [sys.executable, "-m", "benchmarks.compiled.restart", system, row]
    done = subprocess.run(
        command, capture_output=True, text=True, env=_environment(directory), check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return float(done.stdout.split()[-1])


def pair(system: str, row: str, rounds: int) -> tuple[float, float]:
    """Seconds of the first call with an empty cache, and with the one it has left."""
    times = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            times.append((_spawn(system, row, directory), _spawn(system, row, directory)))
    return min(t[0] for t in times), min(t[1] for t in times)


def line(row: str, rounds: int) -> str:
    """The line of one row."""
    names = [name for name in ("wengert", "jax") if optional(name)]
    try:
        figures = {name: pair(name, row, rounds) for name in names}
    except RuntimeError as error:
        return f"| {row} | {error} |"
    cells = [row, *(brief(t) for name in names for t in figures[name])]
    if "jax" in figures:
        ratio = figures["wengert"][1] / figures["jax"][0]
        cells += [f"{ratio:.2f}", f"≤ {TARGET} {'met' if ratio <= TARGET else 'MISSED'}"]
    return "| " + " | ".join(cells) + " |"


def main(names: Sequence[str] = (), rounds: int = 3) -> None:
    """Print the table."""
    rows = [row.name for row in chosen(names or ROWS)]
    print("\n## First call in a second process (smallest of several)\n")
    print(
        "| work | ours, empty cache | ours, filled cache | JAX, empty | JAX, filled | "
        "ours filled / JAX empty | target |\n" + "|---" * 7 + "|"
    )
    for row in rows:
        print(line(row, rounds), flush=True)


if __name__ == "__main__":
    child(*sys.argv[1:])
