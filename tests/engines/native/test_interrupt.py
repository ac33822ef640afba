"""Ctrl-C while machine code runs."""

import _thread
import ctypes
import os
import signal
import threading
import time

import pytest

import wengert as wg
from wengert import lax
from wengert.core.gate import gate
from wengert.engines.native.machine import Target, function_address, load, optimise_and_emit
from wengert.engines.native.runtime import interrupt

#: A loop of so many steps that asks for interrupts; returns how many steps it did.
LOOP = """
declare i64 @check()
define i64 @loop(i64 %steps) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %next = add i64 %i, 1
  %stop = call i64 @check()
  %stopped = icmp ne i64 %stop, 0
  %last = icmp uge i64 %next, %steps
  %end = or i1 %stopped, %last
  br i1 %end, label %done, label %body
done:
  ret i64 %next
}
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
define i64 @released(i64 %steps) {
  %state = call ptr @PyEval_SaveThread()
  %done = call i64 @loop(i64 %steps)
  call void @PyEval_RestoreThread(ptr %state)
  ret i64 %done
}
"""
FOREVER = 1 << 62


@pytest.fixture(scope="module")
def code():
    symbols = {"check": interrupt.address("check")}
    for name in ("PyEval_SaveThread", "PyEval_RestoreThread"):
        symbols[name] = function_address(getattr(ctypes.pythonapi, name))
    return load(optimise_and_emit(LOOP, Target.host()), symbols, ["loop", "released"])


@pytest.fixture(params=["loop", "released"])
def loop(request, code):
    """The loop with the interpreter lock kept, and released."""
    return code.function(request.param, ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64))


def test_without_signal(loop):
    assert loop(1_000_000) == 1_000_000


def test_interrupt_ends_the_loop_and_is_raised(loop):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop(FOREVER)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_handlers_that_raise_nothing_let_the_loop_go_on(code):
    loop = code.function("released", ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64))
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *args: seen.append(time.perf_counter()))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        start = time.perf_counter()
        while not seen and time.perf_counter() < start + 30:
            assert loop(100_000) == 100_000
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(seen) == 1


def test_other_threads_are_not_interrupted(loop):
    results = []
    thread = threading.Thread(target=lambda: results.append(loop(3_000_000)))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _thread.interrupt_main()
        time.sleep(10)
    thread.join()
    assert results == [3_000_000]


def test_the_child_of_a_fork_is_interrupted(code):
    loop = code.function("released", ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64))
    status = []

    def fork():
        child = os.fork()
        if child == 0:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                loop(FOREVER)
            except BaseException:
                os._exit(7)
            os._exit(8)
        status.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        fork()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert status == [7]


class _Late(Exception):
    pass


@pytest.mark.parametrize("closed", [False, True])
def test_a_jitted_function_raises_what_the_handler_raises(closed):
    """Whether machine code answers the call or Python does."""

    def late(*args):
        raise _Late from KeyError("why")

    count = wg.jit(lambda n: lax.while_loop(lambda i: i < n, lambda i: i + 1, 0 * n))
    large = wg.numpy.int64(FOREVER)
    count(wg.numpy.int64(3))
    gate.add(int(closed))
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(_Late) as caught:
            count(large)
    finally:
        signal.signal(signal.SIGALRM, before)
        gate.add(-int(closed))
    assert type(caught.value.__cause__) is KeyError
