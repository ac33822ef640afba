"""The worker pool of `pool`, in LLVM.

One job at a time: a function, its context, and a number of blocks. Each participant begins
with a share of the blocks of its own, so that the same data meets the same processor again,
and takes blocks of the others' shares when it is done. A worker enters a job by counting itself
as *active* and then looking whether the job is open; the caller ends a job by closing it and
then waiting until nobody is active: whichever comes first, no worker touches a job that has
ended. Waiting is spinning for some microseconds, then a futex (H. Franke, R. Russell and
M. Kirkwood, "Fuss, futexes and furwocks", 2002).

Where the system has no futex, all blocks run in the calling thread.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime.routine import Routine, shared
from wengert.engines.native.runtime.routine import build as build_routines

ir = lazy_module("llvmlite.ir")

LIBC = "pthread_create pthread_detach pthread_sigmask syscall clock_gettime".split()
EXPORTS = "parallel_for set_threads forget_workers started_workers".split()
#: The most threads that can take part.
MOST_THREADS = 256

#: The number of the system call, by processor; Linux only.
_FUTEX = {"x86_64": 202, "aarch64": 98}
_WAIT, _WAKE, _EVERYONE = 128, 129, (1 << 31) - 1  # private to the process
_MONOTONIC = 1
#: All signals but those that a fault of the code raises (ILL, BUS, FPE, SEGV).
_SIGNALS = ~(1 << 3 | 1 << 6 | 1 << 7 | 1 << 10)
_SET_MASK = 2
#: How long a worker spins in hope of the next job, in nanoseconds: at most, at least.
_SPIN, _SPIN_LEAST = 50_000, 4_000
#: A job that comes so soon after a worker went to sleep makes it spin longer next time.
_SOON = 200_000
_PAUSES = 16  # between looks at the clock
_LINE = 64


def supported() -> bool:
    """Whether this system has what workers need."""
    return sys.platform == "linux" and platform.machine() in _FUTEX


def build(symbols: Mapping[str, int]) -> machine.LoadedCode:
    """The pool, in memory, without workers yet."""
    return build_routines("pool", _write, symbols, EXPORTS)


def _write(module: Any) -> None:
    word, half, pointer = ir.IntType(64), ir.IntType(32), ir.PointerType()
    for name in ("busy", "open", "threads", "started", "parts"):
        shared(module, name, word, _LINE if name in {"busy", "open"} else 8)
    for name in ("generation", "active", "sleepers", "caller_sleeps"):
        shared(module, name, half)
    for name in ("job", "context"):
        shared(module, name, pointer, 8)
    # A share's next block and its end; each on a line of its own.
    shared(module, "shares", ir.ArrayType(word, MOST_THREADS * _LINE // 8))
    writers: list[Callable[[Any], None]] = [_inline]
    if supported():
        writers += [_futex_wait, _futex_wake, _work, _sleep, _await_job, _worker]
        writers += [_start_workers, _open_job, _close_job]
    for write in (*writers, _parallel_for, _set_threads, _forget_workers, _started):
        write(module)


def _variable(routine: Routine, name: str) -> Any:
    return routine.module.globals[name]


def _run_block(r: Routine, function: Any, context: Any, block: Any) -> None:
    type_ = ir.FunctionType(ir.VoidType(), [r.pointer, r.word])
    typed = r.load(r.variable(function), type=type_.as_pointer())
    r.builder.call(typed, [context, block])


def _inline(module: Any) -> None:
    """`void inline(function, context, blocks)`: all blocks, one after the other, here."""
    pointer, word = ir.PointerType(), ir.IntType(64)
    r = Routine(module, "inline", ir.VoidType(), [pointer, pointer, word], internal=True)
    function, context, blocks = r.args
    block = r.variable(r.number(0))
    with r.loop() as end:
        index = r.load(block)
        r.leave_if(r.builder.icmp_signed(">=", index, blocks), end)
        _run_block(r, function, context, index)
        r.add_to(block, 1)
    r.give()


# -- sleeping and waking -----------------------------------------------------------------------


def _futex(r: Routine, address: Any, operation: int, value: Any) -> None:
    number = r.number(_FUTEX[platform.machine()])
    word = r.builder.zext(value, r.word)
    r.call("syscall", r.word, number, address, operation, word, r.null, variadic=1)


def _futex_wait(module: Any) -> None:
    """`void wait(address, value)`: sleep, unless something else lies there; may end early."""
    params = [ir.PointerType(), ir.IntType(32)]
    r = Routine(module, "wait", ir.VoidType(), params, internal=True)
    _futex(r, r.args[0], _WAIT, r.args[1])
    r.give()


def _futex_wake(module: Any) -> None:
    """`void wake(address, count)`: end the sleep of so many threads."""
    params = [ir.PointerType(), ir.IntType(32)]
    r = Routine(module, "wake", ir.VoidType(), params, internal=True)
    _futex(r, r.args[0], _WAKE, r.args[1])
    r.give()


# -- a job -------------------------------------------------------------------------------------


def _share(r: Routine, number: Any) -> Any:
    return r.at(_variable(r, "shares"), r.builder.mul(number, r.number(_LINE)))


def _work(module: Any) -> None:
    """`void work(share)`: take blocks of this share, then of the following ones."""
    r = Routine(module, "work", ir.VoidType(), [ir.IntType(64)], internal=True)
    function = r.load(_variable(r, "job"), type=r.pointer)
    context = r.load(_variable(r, "context"), type=r.pointer)
    parts = r.load(_variable(r, "parts"))
    number, left = r.variable(r.args[0]), r.variable(parts)
    with r.loop() as done:
        r.leave_if(r.compare("==", r.load(left), 0), done)
        share = _share(r, r.load(number))
        last = r.load(share, 8)
        with r.loop() as empty:
            # Looking is cheaper than taking, where nothing is left.
            r.leave_if(r.compare(">=", r.acquire(share), last), empty)
            block = r.fetch_add(share, 1)
            r.leave_if(r.compare(">=", block, last), empty)
            _run_block(r, function, context, block)
        following = r.builder.add(r.load(number), r.number(1))
        around = r.compare(">=", following, parts)
        r.store(r.builder.select(around, r.number(0), following), number)
        r.add_to(left, -1)
    r.give()


def _open_job(module: Any) -> None:
    """`void open_job(function, context, blocks, parts)`: let workers begin."""
    pointer, word = ir.PointerType(), ir.IntType(64)
    params = [pointer, pointer, word, word]
    r = Routine(module, "open_job", ir.VoidType(), params, internal=True)
    function, context, blocks, parts = r.args
    for name, value in (("job", function), ("context", context), ("parts", parts)):
        r.store(value, _variable(r, name))
    each, rest = r.builder.udiv(blocks, parts), r.builder.urem(blocks, parts)
    number, block = r.variable(r.number(0)), r.variable(r.number(0))
    with r.loop() as end:
        index, first = r.load(number), r.load(block)
        r.leave_if(r.compare(">=", index, parts), end)
        share = _share(r, index)
        longer = r.builder.zext(r.compare("<", index, rest), r.word)
        last = r.builder.add(r.builder.add(first, each), longer)
        r.store(first, share)
        r.store(last, share, 8)
        r.store(last, block)
        r.add_to(number, 1)
    r.release(1, _variable(r, "open"))
    r.fetch_add(_variable(r, "generation"), 1, bits=32)
    with r.builder.if_then(r.compare("!=", r.acquire(_variable(r, "sleepers"), bits=32), 0)):
        # Sleepers have no order: where not all may take part, all must look.
        everyone = r.builder.add(r.load(_variable(r, "started")), r.number(1))
        some = r.compare("<", r.load(_variable(r, "threads")), everyone)
        needed = r.builder.sub(parts, r.number(1))
        count = r.builder.select(some, r.number(_EVERYONE), needed)
        count = r.builder.trunc(count, ir.IntType(32))
        r.call("wake", ir.VoidType(), _variable(r, "generation"), count)
    r.give()


def _close_job(module: Any) -> None:
    """`void close_job()`: let no worker begin, and wait for those that have."""
    r = Routine(module, "close_job", ir.VoidType(), [], internal=True)
    active, sleeps = _variable(r, "active"), _variable(r, "caller_sleeps")
    r.release(0, _variable(r, "open"))
    r.return_if(r.compare("==", r.acquire(active, bits=32), 0))
    start = r.clock(_MONOTONIC)
    with r.loop() as spun:
        for _ in range(_PAUSES):
            r.return_if(r.compare("==", r.acquire(active, bits=32), 0))
            r.pause()
        spent = r.builder.sub(r.clock(_MONOTONIC), start)
        r.leave_if(r.compare(">", spent, _SPIN), spun)
    r.release(1, sleeps, bits=32)
    with r.loop() as end:
        count = r.acquire(active, bits=32)
        r.leave_if(r.compare("==", count, 0), end)
        r.call("wait", ir.VoidType(), active, count)
    r.release(0, sleeps, bits=32)
    r.give()


def _parallel_for(module: Any) -> None:
    """`void parallel_for(function, context, blocks)`: `function(context, block)` for all."""
    pointer, word = ir.PointerType(), ir.IntType(64)
    r = Routine(module, "parallel_for", ir.VoidType(), [pointer, pointer, word])
    function, context, blocks = r.args
    inline = r.builder.append_basic_block("inline")
    if supported():
        limit = r.load(_variable(r, "threads"))
        alone = r.builder.icmp_signed("<=", blocks, r.number(1))
        alone = r.builder.or_(alone, r.compare("<=", limit, 1))
        # Nested in a block of another job, or while another thread has one: no waiting.
        r.leave_if(alone, inline)
        r.leave_if(r.builder.not_(r.exchange(_variable(r, "busy"), 0, 1)), inline)
        with r.builder.if_then(
            r.compare("<", r.load(_variable(r, "started")), r.builder.sub(limit, r.number(1)))
        ):
            r.call("start_workers", ir.VoidType())
        parts = r.builder.add(r.load(_variable(r, "started")), r.number(1))
        for most in (limit, blocks):
            parts = r.builder.select(r.compare("<", parts, most), parts, most)
        r.call("open_job", ir.VoidType(), function, context, blocks, parts)
        r.call("work", ir.VoidType(), 0)
        r.call("close_job", ir.VoidType())
        r.release(0, _variable(r, "busy"))
        r.give()
    else:
        r.builder.branch(inline)
    r.builder.position_at_end(inline)
    r.call("inline", ir.VoidType(), function, context, blocks)
    r.give()


# -- workers -----------------------------------------------------------------------------------


def _sleep(module: Any) -> None:
    """`void sleep(seen)`: until the next job, if `seen` is the generation of the last."""
    r = Routine(module, "sleep", ir.VoidType(), [ir.IntType(32)], internal=True)
    r.fetch_add(_variable(r, "sleepers"), 1, bits=32)
    r.call("wait", ir.VoidType(), _variable(r, "generation"), r.args[0])
    r.fetch_add(_variable(r, "sleepers"), -1, bits=32)
    r.give()


def _await_job(module: Any) -> None:
    """`i32 await_job(seen, spin)`: the generation of a job after `seen`.

    `spin` points to how long to spin. Spinning that was in vain is halved; it grows to the
    most again when a job came in time, or just after.
    """
    half = ir.IntType(32)
    r = Routine(module, "await_job", half, [half, ir.PointerType()], internal=True)
    seen, spin = r.args
    generation = _variable(r, "generation")
    start = r.clock(_MONOTONIC)
    with r.loop() as spun:
        for _ in range(_PAUSES):
            now = r.acquire(generation, bits=32)
            with r.builder.if_then(r.compare("!=", now, seen)):
                r.store(_SPIN, spin)
                r.give(now)
            r.pause()
        spent = r.builder.sub(r.clock(_MONOTONIC), start)
        r.leave_if(r.compare(">", spent, r.load(spin)), spun)
    asleep = r.clock(_MONOTONIC)
    with r.loop() as woken:
        r.leave_if(r.compare("!=", r.acquire(generation, bits=32), seen), woken)
        r.call("sleep", ir.VoidType(), seen)
    soon = r.compare("<", r.builder.sub(r.clock(_MONOTONIC), asleep), _SOON)
    halved = r.builder.lshr(r.load(spin), r.number(1))
    least = r.compare("<", halved, _SPIN_LEAST)
    halved = r.builder.select(least, r.number(_SPIN_LEAST), halved)
    r.store(r.builder.select(soon, r.number(_SPIN), halved), spin)
    r.give(r.acquire(generation, bits=32))


def _worker(module: Any) -> None:
    """`ptr worker(number)`: what a thread of the pool does for ever."""
    r = Routine(module, "worker", ir.PointerType(), [ir.PointerType()], internal=True)
    number = r.builder.ptrtoint(r.args[0], r.word)
    active = _variable(r, "active")
    seen, spin = r.variable(r.number(0, 32)), r.variable(r.number(_SPIN))
    with r.loop():
        half = ir.IntType(32)
        r.store(r.call("await_job", half, r.load(seen, type=half), spin), seen)
        with r.builder.if_then(r.compare("<", number, r.load(_variable(r, "threads")))):
            r.fetch_add(active, 1, bits=32)
            with r.builder.if_then(r.compare("!=", r.acquire(_variable(r, "open")), 0)):
                parts = r.load(_variable(r, "parts"))
                r.call("work", ir.VoidType(), r.builder.urem(number, parts))
            before = r.fetch_add(active, -1, bits=32)
            sleeps = r.acquire(_variable(r, "caller_sleeps"), bits=32)
            last = r.builder.and_(r.compare("==", before, 1), r.compare("!=", sleeps, 0))
            with r.builder.if_then(last):
                r.call("wake", ir.VoidType(), active, r.number(1, 32))
    r.builder.unreachable()


def _start_workers(module: Any) -> None:
    """`void start_workers()`: as many as may take part; fewer, if the system refuses."""
    r = Routine(module, "start_workers", ir.VoidType(), [], internal=True)
    half = ir.IntType(32)
    started = _variable(r, "started")
    # Workers take no signals: these are for threads that know the interpreter.
    masks = ir.ArrayType(r.word, 16)
    blocked = r.variable(ir.Constant(masks, [_SIGNALS, *[-1] * 15]))
    before = r.variable(ir.Constant(masks, None))
    thread = r.variable(r.number(0))
    r.call("pthread_sigmask", half, r.number(_SET_MASK, 32), blocked, before)
    with r.loop() as end:
        number = r.builder.add(r.load(started), r.number(1))
        r.leave_if(r.compare(">=", number, r.load(_variable(r, "threads"))), end)
        argument = r.builder.inttoptr(number, r.pointer)
        worker = _variable(r, "worker")
        failed = r.call("pthread_create", half, thread, r.null, worker, argument)
        r.leave_if(r.compare("!=", failed, 0), end)
        r.call("pthread_detach", half, r.load(thread))
        r.store(number, started)
    r.call("pthread_sigmask", half, r.number(_SET_MASK, 32), before, r.null)
    r.give()


# -- what Python calls -------------------------------------------------------------------------


def _set_threads(module: Any) -> None:
    """`void set_threads(count)`: how many threads may take part from the next job on."""
    r = Routine(module, "set_threads", ir.VoidType(), [ir.IntType(64)])
    r.release(r.args[0], _variable(r, "threads"))
    r.give()


def _forget_workers(module: Any) -> None:
    """`void forget_workers()`: a forked process has no workers, and no job."""
    r = Routine(module, "forget_workers", ir.VoidType(), [])
    for name in ("busy", "open", "started"):
        r.release(0, _variable(r, name))
    for name in ("active", "sleepers", "caller_sleeps"):
        r.release(0, _variable(r, name), bits=32)
    r.give()


def _started(module: Any) -> None:
    """`i64 started()`: how many workers there are."""
    r = Routine(module, "started_workers", ir.IntType(64), [])
    r.give(r.load(_variable(r, "started")))
