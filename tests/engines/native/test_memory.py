"""Blocks of memory and the arrays that own them."""

import copy
import ctypes
import gc
import os
import pickle
import threading

import numpy as np
import pytest

from wengert.engines.native.runtime import memory

BIG = (1 << 20,)
SIZES = [0, 1, 63, 64, 4095, 4096, 4097, 5120, 5121, 10**5, 1 << 20, (1 << 20) + 1, 5 << 20]
linux = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")


@pytest.fixture(autouse=True)
def fresh_start():
    gc.collect()
    memory.drop_waiting()
    before = memory.stats()
    yield
    gc.collect()
    memory.set_limit(memory.default_limit())
    after = memory.stats()
    assert after.live_blocks == before.live_blocks
    assert after.live_bytes == before.live_bytes
    assert after.fresh - after.dropped - after.live_blocks >= 0


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("nbytes", SIZES)
def test_blocks_are_aligned_and_large_enough(nbytes):
    block = memory.allocate(nbytes)
    assert block and block % 64 == 0
    before = memory.stats()
    assert before.live_bytes >= nbytes
    ctypes.memset(block, 0xAB, nbytes)
    memory.release(block)
    assert memory.allocate(nbytes) == block
    memory.release(block)


def test_rounding_up_wastes_at_most_a_quarter():
    for nbytes in range(4097, 1 << 18, 997):
        before = memory.stats().live_bytes
        block = memory.allocate(nbytes)
        capacity = memory.stats().live_bytes - before
        assert nbytes <= capacity <= nbytes * 1.25
        memory.release(block)


def test_blocks_do_not_overlap():
    blocks = [(memory.allocate(n), n) for n in SIZES * 5]
    for mark, (block, nbytes) in enumerate(blocks):
        ctypes.memset(block, mark, nbytes)
    for mark, (block, nbytes) in enumerate(blocks):
        assert set(ctypes.string_at(block, nbytes)) <= {mark}
        memory.release(block)


@pytest.mark.parametrize("nbytes", [1 << 47, (1 << 64) - 1, (1 << 46)])
def test_too_much_is_null(nbytes):
    assert memory.allocate(nbytes) == 0


def test_releasing_nothing():
    memory.release(0)


def test_the_newest_block_of_a_size_is_used_again():
    blocks = [memory.allocate(10_000) for _ in range(10)]
    assert len(set(blocks)) == 10
    for block in blocks:
        memory.release(block)
    again = [memory.allocate(10_000) for _ in range(10)]
    assert again == blocks[::-1]
    for block in again:
        memory.release(block)


def test_waiting_bytes_are_bounded_and_the_oldest_go():
    memory.set_limit(1 << 20)
    blocks = [memory.allocate(1 << 17) for _ in range(20)]
    dropped = memory.stats().dropped
    for block in blocks:
        memory.release(block)
        assert memory.stats().waiting_bytes <= 1 << 20
    assert memory.stats().waiting_bytes == 1 << 20
    assert memory.stats().dropped == dropped + 12
    kept = {memory.allocate(1 << 17) for _ in range(8)}
    assert kept == set(blocks[-8:])
    for block in kept:
        memory.release(block)


def test_a_block_above_the_limit_pushes_no_other_out():
    memory.set_limit(1 << 20)
    small = memory.allocate(1 << 16)
    memory.release(small)
    memory.release(memory.allocate(1 << 21))
    assert memory.stats().waiting_bytes == 1 << 16


def test_drops_from_the_middle_of_lists():
    memory.set_limit(1 << 19)
    rng = np.random.default_rng(0)
    live = []
    for _ in range(20_000):
        if live and rng.random() < 0.5:
            block, nbytes, mark = live.pop(rng.integers(len(live)))
            assert ctypes.string_at(block, 1)[0] == mark
            assert ctypes.string_at(block + nbytes - 1, 1)[0] == mark
            memory.release(block)
        elif len(live) < 60:
            nbytes = int(np.exp(rng.uniform(0, 14))) + 1
            block, mark = memory.allocate(nbytes), int(rng.integers(256))
            ctypes.memset(block, mark, 1)
            ctypes.memset(block + nbytes - 1, mark, 1)
            live.append((block, nbytes, mark))
        assert memory.stats().waiting_bytes <= 1 << 19
    for block, _, _ in live:
        memory.release(block)
    memory.drop_waiting()
    assert memory.stats().waiting_bytes == 0


@linux
def test_no_leak_in_many_cycles():
    for _ in range(1000):
        memory.empty((5000,), float)
    before = resident()
    for _ in range(100_000):
        memory.empty((5000,), float)
    assert resident() - before < 1 << 20


@linux
def test_memory_goes_back_to_the_system():
    before = resident()
    blocks = [memory.allocate(8 << 20) for _ in range(8)]
    for block in blocks:
        ctypes.memset(block, 1, 8 << 20)
    assert resident() - before > 60 << 20
    for block in blocks:
        memory.release(block)
    memory.drop_waiting()
    assert resident() - before < 4 << 20


def test_threads():
    errors = []

    def work(seed):
        rng = np.random.default_rng(seed)
        live = []
        for _ in range(3000):
            if len(live) > 8:
                array = live.pop(rng.integers(len(live)))
                if not (array == seed).all():
                    errors.append(seed)
            array = memory.empty((int(rng.integers(1, 20_000)),), np.float64)
            array[:] = seed
            live.append(array)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# -- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float16, np.float32, np.complex128])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (1,), (7, 1, 300), (100, 101), BIG])
def test_arrays(shape, dtype):
    array = memory.empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable and array.flags.owndata
    assert array.base is None
    if array.nbytes >= 4096:
        assert array.ctypes.data % 64 == 0
    array[...] = 1
    assert array.sum(dtype=int if dtype != np.complex128 else complex) == array.size


def test_references_are_kept_right():
    import sys

    dtype = np.dtype([("unusual", np.float64)])
    before = sys.getrefcount(dtype)
    array = memory.empty((1000,), dtype)
    assert sys.getrefcount(dtype) > before
    del array
    assert sys.getrefcount(dtype) == before


def test_views_keep_the_block():
    array = memory.empty(BIG, np.float32)
    array[:] = 3
    live = memory.stats().live_blocks
    view = array[5:9]
    del array
    gc.collect()
    assert memory.stats().live_blocks == live
    assert view.tolist() == [3, 3, 3, 3]
    del view
    assert memory.stats().live_blocks == live - 1


def test_buffers_keep_the_block():
    array = memory.empty(BIG, np.float32)
    array[:] = 4
    view = memoryview(array)
    del array
    other = memory.empty(BIG, np.float32)
    other[:] = 5
    assert view[7] == 4.0
    del view


def test_copies_and_pickles():
    array = memory.empty((300, 50), np.float32)
    array[:] = np.arange(15_000).reshape(300, 50)
    expected = np.arange(15_000, dtype=np.float32).reshape(300, 50)
    for made in (
        array.copy(),
        copy.deepcopy(array),
        pickle.loads(pickle.dumps(array)),
        pickle.loads(pickle.dumps(array, protocol=5)),
        np.array(array),
        array.T.copy(),
    ):
        if made.shape == (50, 300):
            made = made.T
        np.testing.assert_array_equal(made, expected)
    array += 1
    np.testing.assert_array_equal(array, expected + 1)


@pytest.mark.parametrize("size", [1, 2000, 2001, 40_000, 0])
def test_resize(size):
    array = memory.empty((2000,), np.float64)
    array[:] = np.arange(2000)
    array.resize(size, refcheck=False)
    kept = min(size, 2000)
    np.testing.assert_array_equal(array[:kept], np.arange(kept))
    assert not array[kept:].any()


def test_arithmetic_on_temporaries():
    # NumPy takes over the memory of temporaries that own theirs.
    result = (memory.empty(BIG, np.float64) * 0 + 1) * 2 + 3
    assert result.shape == BIG


def test_no_memory_is_an_error():
    with pytest.raises(MemoryError, match="shape"):
        memory.empty((1 << 44,), np.float64)


def test_a_capsule_gives_its_block_back():
    block = memory.allocate(10_000)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    live = memory.stats().live_blocks
    capsule = new(block, None, memory.address("capsule_release"))
    del capsule
    assert memory.stats().live_blocks == live - 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("keeps_interpreter_lock", [True, False])
def test_fork_while_threads_allocate(keeps_interpreter_lock):
    stop = threading.Event()
    kind = ctypes.PYFUNCTYPE if keeps_interpreter_lock else ctypes.CFUNCTYPE
    allocate = kind(ctypes.c_void_p, ctypes.c_size_t)(memory.address("allocate"))
    release = kind(None, ctypes.c_void_p)(memory.address("release"))

    def work():
        while not stop.is_set():
            release(allocate(10_000))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                memory.empty((10_000,), float)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
