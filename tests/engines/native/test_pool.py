"""Blocks of a job over threads."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from wengert import config
from wengert.engines.native.machine import Target, function_address, load, optimise_and_emit
from wengert.engines.native.runtime import pool, pool_code
from wengert.engines.native.runtime.routine import once

threaded = pytest.mark.skipif(not pool_code.supported(), reason="no workers on this system")

#: Functions to run in blocks, and callers that start many jobs from machine code.
TEXT = """
declare void @parallel_for(ptr, ptr, i64)

; context: { ptr counts, ptr inputs, i64 length }; out[block] += sum of the block's inputs
define void @sum(ptr %context, i64 %block) {
entry:
  %counts = load ptr, ptr %context
  %p1 = getelementptr i64, ptr %context, i64 1
  %inputs = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %context, i64 2
  %length = load i64, ptr %p2
  %first = mul i64 %block, %length
  %slot = getelementptr i64, ptr %counts, i64 %block
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %total = phi i64 [ 0, %entry ], [ %more, %body ]
  %at = add i64 %first, %i
  %pointer = getelementptr i64, ptr %inputs, i64 %at
  %value = load i64, ptr %pointer
  %more = add i64 %total, %value
  %next = add i64 %i, 1
  %last = icmp uge i64 %next, %length
  br i1 %last, label %done, label %body
done:
  %before = load i64, ptr %slot
  %after = add i64 %before, %more
  store i64 %after, ptr %slot
  ret void
}

define void @launches(ptr %context, i64 %blocks, i64 %count) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  call void @parallel_for(ptr @sum, ptr %context, i64 %blocks)
  %next = add i64 %i, 1
  %last = icmp uge i64 %next, %count
  br i1 %last, label %done, label %body
done:
  ret void
}

; each block starts a job of its own; context: { ptr inner context, i64 inner blocks }
define void @outer(ptr %contexts, i64 %block) {
  %slot = getelementptr ptr, ptr %contexts, i64 %block
  %context = load ptr, ptr %slot
  call void @parallel_for(ptr @sum, ptr %context, i64 8)
  ret void
}

define void @nested(ptr %contexts, i64 %blocks) {
  call void @parallel_for(ptr @outer, ptr %contexts, i64 %blocks)
  ret void
}
"""


@pytest.fixture(scope="module")
def code():
    symbols = {"parallel_for": pool.address("parallel_for")}
    return load(optimise_and_emit(TEXT, Target.host()), symbols, ["launches", "nested"])


@pytest.fixture(scope="module")
def launches(code):
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return code.function("launches", signature)


@pytest.fixture(autouse=True)
def all_threads():
    yield
    config.threads.set(0)


@pytest.fixture(params=[1, 2, 3, 7])
def threads(request):
    config.threads.set(request.param)
    return request.param


class Sum:
    """Inputs, and a context for the function `sum`."""

    def __init__(self, blocks, length=1, seed=0):
        rng = np.random.default_rng(seed)
        self.inputs = rng.integers(0, 100, blocks * length)
        self.counts = np.zeros(blocks, np.int64)
        fields = self.counts.ctypes.data, self.inputs.ctypes.data, length
        self.context = (ctypes.c_int64 * 3)(*fields)
        self.expected = self.inputs.reshape(blocks, length).sum(1)


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 5, 64, 1000])
@pytest.mark.parametrize("length", [1, 100])
def test_every_block_runs_once(launches, threads, blocks, length):
    if blocks == 0:
        launches(None, 0, 10)
        return
    job = Sum(blocks, length)
    for count in (1, 99):
        launches(job.context, blocks, count)
    np.testing.assert_array_equal(job.counts, 100 * job.expected)


@pytest.mark.parametrize("blocks", [2, 16])
def test_many_launches(launches, threads, blocks):
    job = Sum(blocks, 50)
    launches(job.context, blocks, 100_000 if threads == 2 else 2_000)
    total = 100_000 if threads == 2 else 2_000
    np.testing.assert_array_equal(job.counts, total * job.expected)


def test_launches_with_pauses_between(launches):
    job = Sum(8, 50)
    rng = np.random.default_rng(0)
    for _ in range(300):
        launches(job.context, 8, 1)
        time.sleep(rng.choice([0, 1e-5, 1e-4, 1e-3]))
    np.testing.assert_array_equal(job.counts, 300 * job.expected)


def test_from_several_python_threads(launches, threads):
    jobs = [Sum(6, 40, seed) for seed in range(6)]

    def work(job):
        for _ in range(50):
            launches(job.context, 6, 40)

    users = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for user in users:
        user.start()
    for user in users:
        user.join()
    for job in jobs:
        np.testing.assert_array_equal(job.counts, 2000 * job.expected)


def test_a_job_within_a_block(code, threads):
    nested = code.function("nested", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64))
    jobs = [Sum(8, 10, seed) for seed in range(9)]
    contexts = (ctypes.c_void_p * 9)(*[ctypes.addressof(job.context) for job in jobs])
    for _ in range(200):
        nested(contexts, 9)
    for job in jobs:
        np.testing.assert_array_equal(job.counts, 200 * job.expected)


def test_python_blocks_and_a_block_that_fails(threads):
    errors, done = [], []

    def block(number):
        try:
            done.append(number)
            if number == 3:
                raise ValueError("block 3")
        except ValueError as error:
            errors.append(error)

    for _ in range(20):
        pool.run(block, 6)
    assert sorted(done) == sorted(list(range(6)) * 20)
    assert len(errors) == 20


@threaded
def test_workers_take_part():
    config.threads.set(2)
    seen = set()
    for _ in range(100):
        pool.run(lambda number: (seen.add(threading.get_ident()), time.sleep(0.001)), 4)
        if len(seen) == 2:
            break
    assert len(seen) == 2
    assert pool.workers() >= 1


@threaded
def test_one_thread_means_no_worker():
    config.threads.set(1)
    seen = set()
    pool.run(lambda number: (seen.add(threading.get_ident()), time.sleep(0.001)), 10)
    assert seen == {threading.get_ident()}


def processor_time():
    moment = os.times()
    return moment.user + moment.system


@threaded
def test_idle_workers_sleep(launches):
    config.threads.set(7)
    job = Sum(8, 50)
    launches(job.context, 8, 1000)
    time.sleep(0.05)
    before = processor_time()
    time.sleep(0.5)
    assert processor_time() - before < 0.1


@threaded
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_has_workers_of_its_own(launches):
    config.threads.set(3)
    job = Sum(8, 50)
    launches(job.context, 8, 10)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            before = pool.workers()
            mine = Sum(8, 50, 1)
            launches(mine.context, 8, 100)
            right = (mine.counts == 100 * mine.expected).all()
            os._exit(0 if before == 0 and pool.workers() == 2 and right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    launches(job.context, 8, 10)
    np.testing.assert_array_equal(job.counts, 20 * job.expected)


@threaded
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork_during_a_job_of_another_thread(launches):
    config.threads.set(3)
    stop = threading.Event()
    other = Sum(8, 50)

    def work():
        while not stop.is_set():
            launches(other.context, 8, 20)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                mine = Sum(8, 50, 1)
                launches(mine.context, 8, 100)
                os._exit(0 if (mine.counts == 100 * mine.expected).all() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


LEAVES = """
import threading, time
from wengert import config
from wengert.engines.native.runtime import pool
config.threads.set(4)
pool.run(lambda number: None, 100)
threading.Thread(target=lambda: [pool.run(lambda n: time.sleep(0.01), 8) for _ in range(500)],
                 daemon=True).start()
time.sleep(0.05)
print("left", flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_the_interpreter_ends_while_workers_run(attempt):
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")


@threaded
def test_workers_take_no_signals():
    config.threads.set(3)
    pool.run(lambda number: None, 10)
    time.sleep(0.01)
    interrupts = 1 << 1
    masks = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        masks.append(int(fields["SigBlk"], 16) & interrupts)
    assert sum(mask != 0 for mask in masks) >= pool.workers()


@threaded
def test_the_setting_holds_inside_its_block():
    seen = set()
    with config.threads(1):
        pool.run(lambda number: (seen.add(threading.get_ident()), time.sleep(0.001)), 10)
    assert seen == {threading.get_ident()}
    config.threads.set(2)
    for _ in range(100):
        pool.run(lambda number: (seen.add(threading.get_ident()), time.sleep(0.001)), 4)
    assert len(seen) == 2


def test_available_processors(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(pool, "_QUOTA", tmp_path / "absent")
    assert pool.available() == 8
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(pool, "_QUOTA", quota)
    for text, expected in (
        ("max 100000", 8),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("?", 8),
    ):
        quota.write_text(text)
        assert pool.available() == expected
    for text, expected in {"3": 3, "5,2": 5, "0": 8, "many": 8, "": 8, "100": 8}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert pool.available() == expected


def test_address_is_stable():
    assert pool.address("parallel_for") == pool.address("parallel_for")
    assert function_address(ctypes.c_void_p(5)) == 5


def test_threads_that_come_at_once_get_one_pool():
    made = []

    def make():
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    get, found = once(make), []
    threads = [threading.Thread(target=lambda: found.append(get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == made * 4
