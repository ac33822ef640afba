"""Errors of the native functions of one float32 operand, over all 2**32 arguments.

    python -m benchmarks.accuracy           all functions
    python -m benchmarks.accuracy exp sin   these

The truth is the float64 function, which the tests compare with mpmath. The limit is 2 ulp.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from wengert.engines.native.machine import Target
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.math.standalone import Comparison

LIMIT = 2.0
THREADS = 2
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


def main(names: Sequence[str]) -> int:
    """Print a line per function; returns how many are beyond the limit."""
    print(f"{'function':12} {'max ulp':>8}  {'at':>15} {'seconds':>8}")
    beyond = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for name in names or unary():
            begin = time.perf_counter()
            compare = Comparison(name, Target.host())
            starts = range(0, 1 << 32, _CHUNK)
            found = pool.map(lambda s, c=compare: c(s, s + _CHUNK), starts)
            error, place = max(found)
            seconds = time.perf_counter() - begin
            mark = "" if error <= LIMIT else "  beyond the limit"
            print(f"{name:12} {error:8.3f}  {place:15.8g} {seconds:8.1f}{mark}", flush=True)
            beyond += error > LIMIT
    return beyond


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
