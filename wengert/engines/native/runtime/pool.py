"""Threads for large loops: workers that are there within a microsecond or two.

Machine code calls `parallel_for(function, context, blocks)`, and `function(context, block)`
runs once for every block number, on the calling thread and on workers at the same time. Which
thread runs which block is not defined: results do not depend on it if blocks write to
disjoint memory. A call from within a block, or while another thread has a job, runs all its
blocks in place; so nothing waits for anything but its own work.

Workers are started at the first call. Between jobs they spin for at most 50 µs, less when that
was in vain, and then sleep. They know no interpreter: a block must not need the interpreter
lock. A forked process starts workers of its own.

How many threads: as `wengert.config.threads` says, or as many as there are processors for this
process: its affinity, in a container its quota, and `OMP_NUM_THREADS` where that is set, which
is how users tell all numerical libraries that they run many processes at once.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wengert import config
from wengert.engines.native import machine
from wengert.engines.native.runtime import pool_code
from wengert.engines.native.runtime.routine import once

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)


def available() -> int:
    """How many processors this process may use.

    >>> available() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    with suppress(ValueError):
        wanted = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
        count = min(count, wanted) if wanted > 0 else count
    return min(max(count, 1), pool_code.MOST_THREADS)


@once
def _code() -> machine.LoadedCode:
    libc = ctypes.CDLL(None)
    symbols = {
        name: machine.function_address(getattr(libc, name))
        for name in pool_code.LIBC
        if hasattr(libc, name)
    }
    code = pool_code.build(symbols)
    _set_threads(code, config.threads.value)
    config.threads.on_change(lambda: _set_threads(code, config.threads.value))
    forget = code.function("forget_workers", ctypes.PYFUNCTYPE(None))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)
    return code


def _set_threads(code: machine.LoadedCode, wanted: int) -> None:
    count = min(wanted, pool_code.MOST_THREADS) if wanted > 0 else available()
    code.function("set_threads", ctypes.PYFUNCTYPE(None, ctypes.c_int64))(count)


def address(name: str) -> int:
    """Where machine code finds a routine.

    Args:
      name: `parallel_for` (`void(ptr function, ptr context, i64 blocks)`, where the function
        is `void(ptr context, i64 block)`).
    """
    return _code().address(name)


def workers() -> int:
    """How many workers have been started, beside the threads that call."""
    return int(_code().function("started_workers", ctypes.PYFUNCTYPE(ctypes.c_int64))())


def run(function: Callable[[int], None], blocks: int) -> None:
    """Run a Python function for every block number, on all threads; for tests.

    >>> done = []
    >>> run(done.append, 4)
    >>> sorted(done)
    [0, 1, 2, 3]
    """
    block = _BLOCK(lambda context, number: function(number))
    signature = ctypes.CFUNCTYPE(None, _BLOCK, ctypes.c_void_p, ctypes.c_int64)
    _code().function("parallel_for", signature)(block, None, blocks)
