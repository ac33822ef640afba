"""The library's own threads while machine code calls it."""

import ctypes
import os

import pytest

from wengert.engines.native.runtime import blas_threads

pytestmark = pytest.mark.skipif(not blas_threads.available(), reason="not OpenBLAS")


@pytest.fixture
def routines():
    """`enter`, `leave`, and how many threads the library has; two of them at first."""
    read, write = blas_threads._library()
    number = ctypes.CFUNCTYPE(ctypes.c_int)(read)
    put = ctypes.CFUNCTYPE(None, ctypes.c_int)(write)
    enter, leave = (ctypes.CFUNCTYPE(None)(blas_threads.address(n)) for n in ("enter", "leave"))
    before = number()
    put(2)
    if number() != 2:
        pytest.skip("the library has one thread")
    yield enter, leave, number
    put(before)


def test_one_thread_while_any_program_calls(routines):
    enter, leave, number = routines
    counts = []
    for step in (enter, enter, leave, leave):
        step()
        counts.append(number())
    assert counts == [1, 1, 1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_process_does_not_wait_for_calls_of_its_parent(routines):
    enter, leave, number = routines
    enter()
    child = os.fork()
    if child == 0:
        at_once = number()
        enter()
        inside = number()
        leave()
        os._exit(0 if (at_once, inside, number()) == (2, 1, 2) else 1)
    leave()
    assert os.waitpid(child, 0)[1] == 0
    assert number() == 2
