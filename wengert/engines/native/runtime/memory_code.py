"""The allocator of `memory`, in LLVM.

A block is 64 bytes of header and the bytes that the caller sees. Its size is rounded up to a
*class*: four to every power of two. A block that waits is in two doubly linked lists: that of
its class, newest first, where requests look; and that of all, by age, where blocks are taken
to be dropped. Everything is behind one spin lock, held for some nanoseconds; system calls are
made outside it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime.routine import Routine, shared
from wengert.engines.native.runtime.routine import build as build_routines

ir = lazy_module("llvmlite.ir")

LIBC = (
    "posix_memalign",
    "free",
    "mmap",
    "munmap",
    "madvise",
    "memcpy",
    "memset",
    "sched_yield",
)
PYTHON = "Py_IncRef PyCapsule_GetPointer PyCapsule_GetName".split()
EXPORTS = (
    "allocate release new_array capsule_release statistics set_limit drop_waiting set_capsule "
    "after_fork handler"
).split()

_HEADER = 64
#: Fields of a header. `mapped` is the length of the mapping that `origin` begins, or 0.
_CAPACITY, _CLASS, _NEXT, _PREVIOUS, _OLDER, _NEWER, _ORIGIN, _MAPPED = range(0, 64, 8)
#: The least block, 2**12 bytes, is class 0; four classes for every power of two after it.
_LEAST, _LEAST_LOG, _CLASSES, _LARGEST = 1 << 12, 12, 160, 1 << 46
#: Blocks from here on are mapped alone, and from here on ask for huge pages.
_MAPPED_FROM, _HUGE_FROM, _HUGE = 1 << 20, 1 << 22, 1 << 21
#: Arrays below are NumPy's own.
_ARRAY_FROM = 1 << 12
_COUNTERS = ("live_blocks", "live_bytes", "waiting", "fresh_blocks", "reused", "dropped")
#: Linux's numbers.
_READ_WRITE, _PRIVATE_ANONYMOUS, _ADVISE_HUGE = 3, 0x22, 14
#: `elsize` in `PyArray_Descr`; `flags` and `mem_handler` in `PyArrayObject` (NumPy 2).
_ELSIZE, _FLAGS, _HANDLER = 40, 64, 88
_CARRAY, _OWNDATA = 0x0501, 0x0004
_SPINS = 64


def build(symbols: Mapping[str, int]) -> machine.LoadedCode:
    """The allocator, in memory."""
    return build_routines("memory", _write, symbols, EXPORTS)


def _write(module: Any) -> None:
    word, pointer = ir.IntType(64), ir.PointerType()
    for name in ("lock", "limit", *_COUNTERS):
        shared(module, name, word, align=64 if name == "lock" else 8)
    for name in ("oldest", "newest", "capsule"):
        shared(module, name, pointer, align=8)
    shared(module, "heads", ir.ArrayType(pointer, _CLASSES))
    for write in (
        *(_hold, _let_go, _after_fork, _unlink, _push, _take_oldest, _map, _fresh, _give_back),
        *(_give_back_all, _drop_waiting, _allocate, _release, _set_limit, _statistics),
        *(_handler_routines, _handler, _set_capsule, _capsule_release, _new_array),
    ):
        write(module)


def _variable(routine: Routine, name: str) -> Any:
    return routine.module.globals[name]


# -- the lock ----------------------------------------------------------------------------------
def _hold(module: Any) -> None:
    """`void hold()`: wait until the lock is free, and take it."""
    r = Routine(module, "hold", ir.VoidType(), [], internal=True)
    lock, spins = _variable(r, "lock"), r.variable(r.number(0))
    with r.loop() as end:
        r.leave_if(r.exchange(lock, 0, 1), end)
        r.pause()
        r.add_to(spins, 1)
        # Its holder may have lost the processor to this thread.
        with r.builder.if_then(r.compare(">", r.load(spins), _SPINS)):
            r.call("sched_yield", ir.IntType(32))
    r.give()


def _let_go(module: Any) -> None:
    """`void let_go()`: free the lock."""
    r = Routine(module, "let_go", ir.VoidType(), [], internal=True)
    r.release(0, _variable(r, "lock"))
    r.give()


def _after_fork(module: Any) -> None:
    """`void after_fork()`: what a forked process does.

    The thread that held the lock does not exist here, and may have been amid a change of the
    lists: they are forgotten, with the blocks on them. Taking the lock before the fork
    instead would stop threads that hold the interpreter lock, without which no fork ends.
    """
    r = Routine(module, "after_fork", ir.VoidType(), [])
    lock = _variable(r, "lock")
    r.return_if(r.compare("==", r.acquire(lock), 0))
    heads = _variable(r, "heads")
    r.call("memset", r.pointer, heads, r.number(0, 32), r.number(8 * _CLASSES))
    for name in ("oldest", "newest"):
        r.store(r.null, _variable(r, name))
    r.store(0, _variable(r, "waiting"))
    r.release(0, lock)
    r.give()


# -- lists of waiting blocks; the lock is held -------------------------------------------------
def _head(r: Routine, class_: Any) -> Any:
    return r.at(_variable(r, "heads"), r.builder.shl(class_, r.number(3)))


def _unlink(module: Any) -> None:
    """`void unlink(block)`: take a block out of both lists."""
    r = Routine(module, "unlink", ir.VoidType(), [ir.PointerType()], internal=True)
    block = r.args[0]
    head = _head(r, r.load(block, _CLASS))
    for following, previous, first, last in (
        (_NEXT, _PREVIOUS, head, None),
        (_OLDER, _NEWER, _variable(r, "newest"), _variable(r, "oldest")),
    ):
        after = r.load(block, following, r.pointer)
        before = r.load(block, previous, r.pointer)
        with r.builder.if_else(r.is_null(before)) as (at_first, inside):
            with at_first:
                r.store(after, first)
            with inside:
                r.store(after, before, following)
        with r.builder.if_else(r.is_null(after)) as (at_last, inside):
            with at_last:
                if last is not None:
                    r.store(before, last)
            with inside:
                r.store(before, after, previous)
    capacity = r.load(block, _CAPACITY)
    r.add_to(_variable(r, "waiting"), r.builder.neg(capacity))
    r.give()


def _push(module: Any) -> None:
    """`void push(block)`: put a block first into both lists."""
    r = Routine(module, "push", ir.VoidType(), [ir.PointerType()], internal=True)
    block = r.args[0]
    head = _head(r, r.load(block, _CLASS))
    for following, previous, first in (
        (_NEXT, _PREVIOUS, head),
        (_OLDER, _NEWER, _variable(r, "newest")),
    ):
        after = r.load(first, type=r.pointer)
        r.store(after, block, following)
        r.store(r.null, block, previous)
        with r.builder.if_then(r.is_not_null(after)):
            r.store(block, after, previous)
        r.store(block, first)
    oldest = _variable(r, "oldest")
    with r.builder.if_then(r.is_null(r.load(oldest, type=r.pointer))):
        r.store(block, oldest)
    r.add_to(_variable(r, "waiting"), r.load(block, _CAPACITY))
    r.give()


def _take_oldest(module: Any) -> None:
    """`ptr take_oldest(bytes)`: the oldest blocks, until so many bytes wait; chained."""
    r = Routine(module, "take_oldest", ir.PointerType(), [ir.IntType(64)], internal=True)
    chain = r.variable(r.null)
    with r.loop() as end:
        r.leave_if(r.compare("<=", r.load(_variable(r, "waiting")), r.args[0]), end)
        block = r.load(_variable(r, "oldest"), type=r.pointer)
        r.call("unlink", ir.VoidType(), block)
        r.store(r.load(chain, type=r.pointer), block, _NEXT)
        r.store(block, chain)
        r.add_to(_variable(r, "dropped"), 1)
    r.give(r.load(chain, type=r.pointer))


# -- the system; the lock is not held ----------------------------------------------------------
def _map(module: Any) -> None:
    """`ptr map(bytes)`: a block of whole pages, whose header says so; null if there is none."""
    r = Routine(module, "map", ir.PointerType(), [ir.IntType(64)], internal=True)
    capacity, builder = r.args[0], r.builder
    huge = r.compare(">=", capacity, _HUGE_FROM)
    # Room to begin at a huge page.
    length = builder.add(capacity, builder.select(huge, r.number(_HUGE + 4096), r.number(4096)))
    protection, flags = r.number(_READ_WRITE, 32), r.number(_PRIVATE_ANONYMOUS, 32)
    origin = r.call(
        "mmap", r.word, r.null, length, protection, flags, r.number(-1, 32), r.number(0)
    )
    r.return_if(r.compare("==", origin, -1), r.null)
    up = builder.and_(builder.add(origin, r.number(_HUGE - 1)), r.number(-_HUGE))
    start = builder.inttoptr(builder.select(huge, up, origin), r.pointer)
    with builder.if_then(huge):
        pages = builder.and_(capacity, r.number(-_HUGE))
        r.call("madvise", ir.IntType(32), start, pages, r.number(_ADVISE_HUGE, 32))
    r.store(origin, start, _ORIGIN)
    r.store(length, start, _MAPPED)
    r.give(start)


def _fresh(module: Any) -> None:
    """`ptr fresh(capacity, class)`: a block from the system; null if there is none."""
    word = ir.IntType(64)
    r = Routine(module, "fresh", ir.PointerType(), [word, word], internal=True)
    capacity, class_ = r.args
    slot = r.variable(r.null)
    large = r.compare(">=", capacity, _MAPPED_FROM if sys.platform == "linux" else -1)
    with r.builder.if_else(large) as (mapped, small):
        with mapped:
            r.store(r.call("map", r.pointer, capacity), slot)
        with small:
            length = r.builder.add(capacity, r.number(_HEADER))
            failed = r.call("posix_memalign", ir.IntType(32), slot, _HEADER, length)
            r.return_if(r.compare("!=", failed, 0), r.null)
            block = r.load(slot, type=r.pointer)
            r.store(block, block, _ORIGIN)
            r.store(0, block, _MAPPED)
    block = r.load(slot, type=r.pointer)
    r.return_if(r.is_null(block), r.null)
    r.store(capacity, block, _CAPACITY)
    r.store(class_, block, _CLASS)
    r.give(block)


def _give_back(module: Any) -> None:
    """`void give_back(block)`: a block to the system."""
    r = Routine(module, "give_back", ir.VoidType(), [ir.PointerType()], internal=True)
    origin = r.load(r.args[0], _ORIGIN, r.pointer)
    length = r.load(r.args[0], _MAPPED)
    with r.builder.if_else(r.compare("==", length, 0)) as (small, mapped):
        with small:
            r.call("free", ir.VoidType(), origin)
        with mapped:
            r.call("munmap", ir.IntType(32), origin, length)
    r.give()


def _give_back_all(module: Any) -> None:
    """`void give_back_all(chain)`: a chain of blocks to the system."""
    r = Routine(module, "give_back_all", ir.VoidType(), [ir.PointerType()], internal=True)
    chain = r.variable(r.args[0])
    with r.loop() as end:
        block = r.load(chain, type=r.pointer)
        r.leave_if(r.is_null(block), end)
        r.store(r.load(block, _NEXT, r.pointer), chain)
        r.call("give_back", ir.VoidType(), block)
    r.give()


# -- what others call --------------------------------------------------------------------------
def _drop(r: Routine, limit: Any) -> None:
    """Give the oldest blocks back until at most so many bytes wait."""
    r.call("hold", ir.VoidType())
    chain = r.call("take_oldest", r.pointer, limit)
    r.call("let_go", ir.VoidType())
    r.call("give_back_all", ir.VoidType(), chain)


def _drop_waiting(module: Any) -> None:
    """`void drop_waiting()`: all waiting blocks to the system."""
    r = Routine(module, "drop_waiting", ir.VoidType(), [])
    _drop(r, r.number(0))
    r.give()


def _set_limit(module: Any) -> None:
    """`void set_limit(bytes)`: how many bytes may wait."""
    r = Routine(module, "set_limit", ir.VoidType(), [ir.IntType(64)])
    r.store(r.args[0], _variable(r, "limit"))
    _drop(r, r.args[0])
    r.give()


def _class(r: Routine, nbytes: Any) -> tuple[Any, Any]:
    """The class of a size and its capacity, for sizes above the least."""
    builder = r.builder
    last = builder.sub(nbytes, r.number(1))
    log = builder.sub(r.number(63), builder.ctlz(last, r.number(0, 1)))
    shift = builder.sub(log, r.number(2))
    quarter = builder.lshr(last, shift)  # 4 to 7
    capacity = builder.shl(builder.add(quarter, r.number(1)), shift)
    # 1 + 4 * (log - least) + (quarter - 4)
    octave = builder.shl(builder.sub(log, r.number(_LEAST_LOG)), r.number(2))
    return builder.sub(builder.add(octave, quarter), r.number(3)), capacity


def _allocate(module: Any) -> None:
    """`ptr allocate(bytes)`: a block's bytes; null if there is no memory."""
    r = Routine(module, "allocate", ir.PointerType(), [ir.IntType(64)])
    r.return_if(r.compare(">", r.args[0], _LARGEST), r.null)
    small = r.compare("<=", r.args[0], _LEAST)
    nbytes = r.builder.select(small, r.number(_LEAST + 1), r.args[0])
    class_, capacity = _class(r, nbytes)
    class_ = r.builder.select(small, r.number(0), class_)
    capacity = r.builder.select(small, r.number(_LEAST), capacity)
    r.call("hold", ir.VoidType())
    slot = r.variable(r.load(_head(r, class_), type=r.pointer))
    found = r.is_not_null(r.load(slot, type=r.pointer))
    with r.builder.if_else(found) as (waits, none):
        with waits:
            r.call("unlink", ir.VoidType(), r.load(slot, type=r.pointer))
            r.add_to(_variable(r, "reused"), 1)
        with none:
            r.call("let_go", ir.VoidType())
            r.store(r.call("fresh", r.pointer, capacity, class_), slot)
            with r.builder.if_then(r.is_null(r.load(slot, type=r.pointer))):
                r.call("drop_waiting", ir.VoidType())
                r.store(r.call("fresh", r.pointer, capacity, class_), slot)
            r.return_if(r.is_null(r.load(slot, type=r.pointer)), r.null)
            r.call("hold", ir.VoidType())
            r.add_to(_variable(r, "fresh_blocks"), 1)
    r.add_to(_variable(r, "live_blocks"), 1)
    r.add_to(_variable(r, "live_bytes"), capacity)
    r.call("let_go", ir.VoidType())
    r.give(r.at(r.load(slot, type=r.pointer), _HEADER))


def _release(module: Any) -> None:
    """`void release(bytes)`: a block that `allocate` gave waits for the next request."""
    r = Routine(module, "release", ir.VoidType(), [ir.PointerType()])
    r.return_if(r.is_null(r.args[0]))
    block = r.at(r.args[0], -_HEADER)
    capacity, limit = r.load(block, _CAPACITY), r.load(_variable(r, "limit"))
    too_large = r.compare(">", capacity, limit)
    chain = r.variable(r.null)
    r.call("hold", ir.VoidType())
    r.add_to(_variable(r, "live_blocks"), -1)
    r.add_to(_variable(r, "live_bytes"), r.builder.neg(capacity))
    with r.builder.if_else(too_large) as (drop, keep):
        with drop:
            # It would push out all others before itself.
            r.store(r.null, block, _NEXT)
            r.store(block, chain)
            r.add_to(_variable(r, "dropped"), 1)
        with keep:
            r.call("push", ir.VoidType(), block)
            r.store(r.call("take_oldest", r.pointer, limit), chain)
    r.call("let_go", ir.VoidType())
    r.call("give_back_all", ir.VoidType(), r.load(chain, type=r.pointer))
    r.give()


def _statistics(module: Any) -> None:
    """`void statistics(words)`: the counters, in the order of `memory.Statistics`."""
    r = Routine(module, "statistics", ir.VoidType(), [ir.PointerType()])
    r.call("hold", ir.VoidType())
    for position, name in enumerate(_COUNTERS):
        r.store(r.load(_variable(r, name)), r.args[0], 8 * position)
    r.call("let_go", ir.VoidType())
    r.give()


# -- arrays ------------------------------------------------------------------------------------
def _handler_routines(module: Any) -> None:
    """NumPy's four allocation functions; each begins with a context, which is unused."""
    word, pointer = ir.IntType(64), ir.PointerType()
    r = Routine(module, "handler.malloc", pointer, [pointer, word], internal=True)
    r.give(r.call("allocate", pointer, r.args[1]))
    r = Routine(module, "handler.calloc", pointer, [pointer, word, word], internal=True)
    both = r.builder.umul_with_overflow(r.args[1], r.args[2])
    r.return_if(r.builder.extract_value(both, 1), r.null)
    nbytes = r.builder.extract_value(both, 0)
    block = r.call("allocate", pointer, nbytes)
    r.return_if(r.is_null(block), r.null)
    r.give(r.call("memset", pointer, block, r.number(0, 32), nbytes))
    r = Routine(module, "handler.free", ir.VoidType(), [pointer, pointer, word], internal=True)
    r.call("release", ir.VoidType(), r.args[1])
    r.give()
    r = Routine(module, "handler.realloc", pointer, [pointer, pointer, word], internal=True)
    before, nbytes = r.args[1], r.args[2]
    with r.builder.if_then(r.is_null(before)):
        r.give(r.call("allocate", pointer, nbytes))
    capacity = r.load(before, _CAPACITY - _HEADER)
    r.return_if(r.compare("<=", nbytes, capacity), before)
    after = r.call("allocate", pointer, nbytes)
    r.return_if(r.is_null(after), r.null)
    r.call("memcpy", pointer, after, before, capacity)
    r.call("release", ir.VoidType(), before)
    r.give(after)


def _handler(module: Any) -> None:
    """NumPy's record `PyDataMem_Handler`."""
    byte, pointer = ir.IntType(8), ir.PointerType()
    name = bytearray(b"wengert".ljust(127, b"\0"))
    names = ir.Constant(ir.ArrayType(byte, 127), name)
    routines = [
        module.globals[f"handler.{each}"] for each in ("malloc", "calloc", "realloc", "free")
    ]
    fields = [names, ir.Constant(byte, 1), ir.Constant(pointer, None), *routines]
    record = ir.Constant.literal_struct(fields)
    ir.GlobalVariable(module, record.type, "handler").initializer = record


def _set_capsule(module: Any) -> None:
    """`void set_capsule(capsule)`: what arrays refer to the handler by."""
    r = Routine(module, "set_capsule", ir.VoidType(), [ir.PointerType()])
    r.store(r.args[0], _variable(r, "capsule"))
    r.give()


def _capsule_release(module: Any) -> None:
    """`void capsule_release(capsule)`: a capsule's destructor, which gives its block back."""
    r = Routine(module, "capsule_release", ir.VoidType(), [ir.PointerType()])
    name = r.call("PyCapsule_GetName", r.pointer, r.args[0])
    r.call("release", ir.VoidType(), r.call("PyCapsule_GetPointer", r.pointer, r.args[0], name))
    r.give()


def _new_array(module: Any) -> None:
    """`PyArray_NewFromDescr`, but large arrays without given data get a block of ours."""
    pointer, integer = ir.PointerType(), ir.IntType(32)
    params = [pointer, pointer, integer, pointer, pointer, pointer, integer, pointer]
    r = Routine(module, "new_array", pointer, params)
    type_, descriptor, ndim, dimensions, strides, data, flags, parent = r.args
    nbytes = r.variable(r.load(descriptor, _ELSIZE))
    axis = r.variable(r.number(0))
    with r.loop() as end:
        index = r.load(axis)
        r.leave_if(r.compare(">=", index, r.builder.zext(ndim, r.word)), end)
        length = r.load(dimensions, r.builder.shl(index, r.number(3)))
        r.store(r.builder.mul(r.load(nbytes), length), nbytes)
        r.add_to(axis, 1)
    numpys = r.compare("<", r.load(nbytes), _ARRAY_FROM)
    numpys = r.builder.or_(numpys, r.is_not_null(data))
    arguments = [type_, descriptor, ndim, dimensions, strides, data, flags, parent]
    with r.builder.if_then(numpys):
        r.give(r.call("numpy.new_from_descr", pointer, *arguments))
    block = r.call("allocate", pointer, r.load(nbytes))
    with r.builder.if_then(r.is_null(block)):
        # NumPy knows how to say what there is no memory for.
        r.give(r.call("numpy.new_from_descr", pointer, *arguments))
    arguments[5:7] = [block, r.number(_CARRAY, 32)]
    array = r.call("numpy.new_from_descr", pointer, *arguments)
    with r.builder.if_then(r.is_null(array)):
        r.call("release", ir.VoidType(), block)
        r.give(r.null)
    own = r.builder.or_(r.load(array, _FLAGS, integer), r.number(_OWNDATA, 32))
    r.store(own, array, _FLAGS)
    capsule = r.load(_variable(r, "capsule"), type=pointer)
    r.call("Py_IncRef", ir.VoidType(), capsule)
    r.store(capsule, array, _HANDLER)
    r.give(array)
