"""Which states of a loop machine code keeps: the table of online checkpointing.

The same rule as that of the eager engine (`transforms/control/checkpoints.py`, where the
sources are named), as routines over one table for each loop that runs. A table is a block of
the allocator: a head, and entries of a step, its level, and the memory that keeps the state.
That memory is taken when it is first needed and changes hands when a state goes, so there is
never more of it than for the most states that were kept at once.

    place = null;  begin(&place, limit, nbytes) -> memory for the first state
    forwards:      offer(&place) -> memory for the state after one more step
    backwards:     nearest(&place, step) -> the last state that is not after a step
                   ahead(&place, step) -> 2 * steps to go from there, + 1 if the state that they
                   lead to is to be kept: keep(&place, steps) -> memory for it
    release(place)

Where there is no memory, the address is null. The limit 0 stands for as many states as the
number of steps has binary digits.
"""

from __future__ import annotations

import ctypes
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native import machine
from wengert.engines.native.runtime import memory
from wengert.engines.native.runtime.routine import Routine, build, once

ir = lazy_module("llvmlite.ir")

#: Where the words of the head are; entries come after it.
_LIMIT, _STEPS, _COUNT, _CAPACITY, _BYTES, _ENTRIES = 0, 8, 16, 24, 32, 64
#: Where the words of an entry are, and its size.
_STEP, _LEVEL, _STATE, _ENTRY = 0, 8, 16, 24
#: Entries of a new table.
_FEW = 8

_EXPORTS = ("begin", "offer", "steps", "nearest", "ahead", "keep", "release", "stride")


def _entry(r: Routine, table: Any, position: Any) -> Any:
    offset = r.builder.mul(position, r.number(_ENTRY))
    return r.at(r.at(table, _ENTRIES), offset)


def _last(r: Routine, table: Any) -> Any:
    """The entry of the last state."""
    return _entry(r, table, r.builder.sub(r.load(table, _COUNT), r.number(1)))


def _write_room(module: Any) -> None:
    """room(table): how many states may be kept besides the first."""
    r = Routine(module, "room", ir.IntType(64), [ir.PointerType()], internal=True)
    (table,) = r.args
    limit = r.load(table, _LIMIT)
    r.return_if(r.compare("!=", limit, 0), limit)
    some = r.builder.or_(r.load(table, _STEPS), r.number(1))
    zeros = r.builder.ctlz(some, ir.Constant(ir.IntType(1), 0))
    r.give(r.builder.sub(r.number(64), zeros))


def _write_grow(module: Any) -> None:
    """grow(place): the table, moved, with room for twice as many entries."""
    r = Routine(module, "grow", ir.PointerType(), [ir.PointerType()], internal=True)
    (place,) = r.args
    table = r.load(place, type=r.pointer)
    capacity = r.load(table, _CAPACITY)
    used = r.builder.mul(capacity, r.number(_ENTRY))
    head = r.number(_ENTRIES)
    size = r.builder.add(r.builder.add(used, used), head)
    larger = r.call("memory.allocate", r.pointer, size)
    r.return_if(r.is_null(larger), r.null)
    r.call("memcpy", r.pointer, larger, table, r.builder.add(used, head))
    rest = r.at(r.at(larger, _ENTRIES), used)
    r.call("memset", r.pointer, rest, r.number(0, 32), used)
    r.store(r.builder.add(capacity, capacity), larger, _CAPACITY)
    r.call("memory.release", ir.VoidType(), table)
    r.store(larger, place)
    r.give(larger)


def _write_push(module: Any) -> None:
    """push(place, step, level): memory for a state that comes after all others."""
    word = ir.IntType(64)
    r = Routine(module, "push", ir.PointerType(), [ir.PointerType(), word, word], internal=True)
    place, step, level = r.args
    table = r.load(place, type=r.pointer)
    full = r.compare("==", r.load(table, _COUNT), r.load(table, _CAPACITY))
    with r.builder.if_then(full):
        r.return_if(r.is_null(r.call("grow", r.pointer, place)), r.null)
    table = r.load(place, type=r.pointer)
    count = r.load(table, _COUNT)
    entry = _entry(r, table, count)
    with r.builder.if_then(r.is_null(r.load(entry, _STATE, r.pointer))):
        fresh = r.call("memory.allocate", r.pointer, r.load(table, _BYTES))
        r.return_if(r.is_null(fresh), r.null)
        r.store(fresh, entry, _STATE)
    r.store(step, entry, _STEP)
    r.store(level, entry, _LEVEL)
    r.store(r.builder.add(count, r.number(1)), table, _COUNT)
    r.give(r.load(entry, _STATE, r.pointer))


def _write_begin(module: Any) -> None:
    word = ir.IntType(64)
    r = Routine(module, "begin", ir.PointerType(), [ir.PointerType(), word, word])
    place, limit, nbytes = r.args
    size = r.number(_ENTRIES + _FEW * _ENTRY)
    table = r.call("memory.allocate", r.pointer, size)
    r.return_if(r.is_null(table), r.null)
    r.call("memset", r.pointer, table, r.number(0, 32), size)
    r.store(limit, table, _LIMIT)
    r.store(nbytes, table, _BYTES)
    r.store(_FEW, table, _CAPACITY)
    r.store(table, place)
    r.give(r.call("push", r.pointer, place, 0, 0))


def _write_dispensable(module: Any) -> None:
    """dispensable(table): the last state that one of a higher level follows; 0 if none."""
    r = Routine(module, "dispensable", ir.IntType(64), [ir.PointerType()], internal=True)
    (table,) = r.args
    position = r.variable(r.load(table, _COUNT))
    highest = r.variable(r.number(0))
    with r.loop() as end:
        r.add_to(position, -1)
        at = r.load(position)
        r.leave_if(r.compare("==", at, 0), end)
        level = r.load(_entry(r, table, at), _LEVEL)
        r.return_if(r.compare("<", level, r.load(highest)), at)
        r.store(level, highest)
    r.give(0)


def _write_remove(module: Any) -> None:
    """remove(table, position): forget a state; its memory is for the next one."""
    r = Routine(
        module, "remove", ir.VoidType(), [ir.PointerType(), ir.IntType(64)], internal=True
    )
    table, position = r.args
    entry = _entry(r, table, position)
    state = r.load(entry, _STATE, r.pointer)
    left = r.builder.sub(r.load(table, _COUNT), r.number(1))
    after = r.builder.mul(r.builder.sub(left, position), r.number(_ENTRY))
    r.call("memmove", r.pointer, entry, r.at(entry, _ENTRY), after)
    r.store(state, _entry(r, table, left), _STATE)
    r.store(left, table, _COUNT)
    r.give()


def _write_offer(module: Any) -> None:
    r = Routine(module, "offer", ir.PointerType(), [ir.PointerType()])
    (place,) = r.args
    table = r.load(place, type=r.pointer)
    steps = r.builder.add(r.load(table, _STEPS), r.number(1))
    r.store(steps, table, _STEPS)
    level = r.variable(r.number(0))
    room = r.call("room", r.word, table)
    with r.builder.if_then(r.compare(">", r.load(table, _COUNT), room)):
        position = r.variable(r.call("dispensable", r.word, table))
        with r.builder.if_then(r.compare("==", r.load(position), 0)):
            r.store(r.builder.sub(r.load(table, _COUNT), r.number(1)), position)
            before = r.load(_last(r, table), _LEVEL)
            r.store(r.builder.add(before, r.number(1)), level)
        r.call("remove", ir.VoidType(), table, r.load(position))
    r.give(r.call("push", r.pointer, place, steps, r.load(level)))


def _write_steps(module: Any) -> None:
    r = Routine(module, "steps", ir.IntType(64), [ir.PointerType()])
    r.give(r.load(r.load(r.args[0], type=r.pointer), _STEPS))


def _write_nearest(module: Any) -> None:
    r = Routine(module, "nearest", ir.PointerType(), [ir.PointerType(), ir.IntType(64)])
    place, step = r.args
    table = r.load(place, type=r.pointer)
    with r.loop() as end:
        r.leave_if(r.compare("<=", r.load(_last(r, table), _STEP), step), end)
        r.add_to(r.at(table, _COUNT), -1)
    r.give(r.load(_last(r, table), _STATE, r.pointer))


def _write_ahead(module: Any) -> None:
    r = Routine(module, "ahead", ir.IntType(64), [ir.PointerType(), ir.IntType(64)])
    place, step = r.args
    table = r.load(place, type=r.pointer)
    missing = r.builder.sub(step, r.load(_last(r, table), _STEP))
    room = r.call("room", r.word, table)
    kept = r.builder.sub(r.load(table, _COUNT), r.number(1))
    none_free = r.compare("<=", room, kept)
    straight = r.builder.or_(r.compare("==", missing, 0), none_free)
    r.return_if(straight, r.builder.add(missing, missing))
    free = r.builder.sub(room, kept)
    steps = r.call("stride", r.word, r.builder.add(missing, r.number(1)), free)
    r.give(r.builder.add(r.builder.add(steps, steps), r.number(1)))


def _write_keep(module: Any) -> None:
    r = Routine(module, "keep", ir.PointerType(), [ir.PointerType(), ir.IntType(64)])
    place, steps = r.args
    at = r.load(_last(r, r.load(place, type=r.pointer)), _STEP)
    r.give(r.call("push", r.pointer, place, r.builder.add(at, steps), 0))


def _write_stride(module: Any) -> None:
    """stride(steps, room): how far ahead to keep the next state; steps > 1, room > 0.

    Of C(c + r, c) states for c places, `more` and `less` are those for room + 1 and for room
    places. More room than steps changes nothing, and keeps the products in a word.
    """
    word = ir.IntType(64)
    r = Routine(module, "stride", word, [word, word])
    builder, one = r.builder, r.number(1)
    steps = r.args[0]
    room = _least(r, r.args[1], steps)
    repetitions, more, less = (r.variable(one) for _ in range(3))
    with r.loop() as end:
        times = r.load(repetitions)
        product = builder.mul(r.load(more), builder.add(builder.add(room, one), times))
        following = builder.udiv(product, times)
        r.leave_if(r.compare(">=", following, steps), end)
        product = builder.mul(r.load(less), builder.add(room, times))
        r.store(builder.udiv(product, times), less)
        r.store(following, more)
        r.add_to(repetitions, 1)
    most = _least(r, r.load(more), builder.sub(steps, r.load(less)))
    most = _least(r, most, builder.sub(steps, one))
    r.give(builder.select(r.compare("<", most, 1), one, most))


def _least(r: Routine, left: Any, right: Any) -> Any:
    return r.builder.select(r.builder.icmp_signed("<", left, right), left, right)


def _write_release(module: Any) -> None:
    r = Routine(module, "release", ir.VoidType(), [ir.PointerType()])
    (table,) = r.args
    r.return_if(r.is_null(table))
    left = r.variable(r.load(table, _CAPACITY))
    with r.loop() as end:
        r.leave_if(r.compare("==", r.load(left), 0), end)
        r.add_to(left, -1)
        state = r.load(_entry(r, table, r.load(left)), _STATE, r.pointer)
        r.call("memory.release", ir.VoidType(), state)
    r.call("memory.release", ir.VoidType(), table)
    r.give()


def _write(module: Any) -> None:
    _write_room(module)
    _write_grow(module)
    _write_push(module)
    _write_begin(module)
    _write_dispensable(module)
    _write_remove(module)
    _write_offer(module)
    _write_steps(module)
    _write_nearest(module)
    _write_stride(module)
    _write_ahead(module)
    _write_keep(module)
    _write_release(module)


@once
def _code() -> machine.LoadedCode:
    symbols = {f"memory.{name}": memory.address(name) for name in ("allocate", "release")}
    libc = ctypes.CDLL(None)
    for name in ("memcpy", "memmove", "memset"):
        symbols[name] = machine.function_address(getattr(libc, name))
    return build("checkpoints", _write, symbols, _EXPORTS)


def address(name: str) -> int:
    """Where machine code finds a routine (see the module).

    >>> stride = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    >>> stride(address("stride"))(10, 3)
    5
    """
    return _code().address(name)
