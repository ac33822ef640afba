"""Errors of the native functions of one float32 operand, over all 2**32 arguments.

    python -m benchmarks.accuracy                all functions
    python -m benchmarks.accuracy exp sin        these
    python -m benchmarks.accuracy --every 4096   all, at every 4096th argument

The truth is the float64 function, which the tests compare with mpmath. The limit is 2 ulp.
Functions that are float64 ones, rounded, show 0.5 at the most. All processors take part; one of
them needs about half a minute per function, so that sixteen need a minute or two for all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from wengert.engines.native.machine import Target
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.math.standalone import Comparison

LIMIT = 2.0
_CHUNK = 1 << 24

#: In float32 this is a given approximation, not the exact function.
NOT_EXACT = frozenset({"normal_quantile"})


def unary() -> list[str]:
    """The functions that are compared."""
    return [
        name
        for name, function in FUNCTIONS.items()
        if function.__code__.co_argcount == 2 and name not in NOT_EXACT
    ]


def worst(name: str, pool: ThreadPoolExecutor, every: int = 1) -> tuple[float, float]:
    """The largest error of a function in ulp, and its argument.

    Args:
      name: of the function.
      pool: threads that take chunks of the arguments.
      every: only every so many-th argument is compared; a power of two.
    """
    compare = Comparison(name, Target.host())
    count = (1 << 32) // every
    chunk = min(_CHUNK, count)
    chunks = [pool.submit(compare, s, s + chunk, every) for s in range(0, count, chunk)]
    found, shown = (0.0, 0.0), time.monotonic()
    for done, future in enumerate(as_completed(chunks), 1):
        found = max(found, future.result())
        if sys.stderr.isatty() and time.monotonic() - shown > 0.2:
            shown = time.monotonic()
            print(f"\r{name:12} {done / len(chunks):4.0%}", end="\r", file=sys.stderr)
    return found


def main(names: Sequence[str] = (), threads: int = 0, every: int = 1) -> int:
    """Print a line per function; returns how many are beyond the limit."""
    names = names or unary()
    threads = threads or len(os.sched_getaffinity(0))
    print(f"{len(names)} functions, {(1 << 32) // every} arguments, {threads} threads")
    print(f"{'function':12} {'max ulp':>8}  {'at':>15} {'seconds':>8}  {'total':>6}")
    beyond, start = 0, time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for name in names:
            begin = time.perf_counter()
            error, place = worst(name, pool, every)
            now = time.perf_counter()
            mark = "" if error <= LIMIT else "  beyond the limit"
            line = (
                f"{name:12} {error:8.3f}  {place:15.8g} {now - begin:8.1f}  {now - start:6.1f}"
            )
            print(line + mark, flush=True)
            beyond += error > LIMIT
    return beyond


def command(arguments: Sequence[str] | None = None) -> int:
    """Read options and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("names", nargs="*", metavar="function")
    parser.add_argument("--threads", type=int, default=0, help="default: all processors")
    parser.add_argument(
        "--every", type=int, default=1, help="compare every so many-th argument"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(unary()):
        parser.error(f"{', '.join(sorted(unknown))}: not of {', '.join(unary())}")
    return main(options.names, options.threads, options.every)


if __name__ == "__main__":
    sys.exit(command())
