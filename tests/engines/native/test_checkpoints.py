"""The table of kept states in machine code decides as the eager engine does."""

from __future__ import annotations

import ctypes

import pytest

from wengert.engines.native.runtime import checkpoints, memory
from wengert.transforms.control.checkpoints import Checkpoints, stride

WORD, POINTER = ctypes.c_int64, ctypes.c_void_p


def routine(name, result, *params):
    return ctypes.CFUNCTYPE(result, *params)(checkpoints.address(name))


begin = routine("begin", POINTER, POINTER, WORD, WORD)
offer = routine("offer", POINTER, POINTER)
steps_of = routine("steps", WORD, POINTER)
nearest = routine("nearest", POINTER, POINTER, WORD)
ahead = routine("ahead", WORD, POINTER, WORD)
keep = routine("keep", POINTER, POINTER, WORD)
release = routine("release", None, POINTER)
native_stride = routine("stride", WORD, WORD, WORD)


class Table:
    """States that are numbers, in the table of machine code; the interface of `Checkpoints`."""

    def __init__(self, limit, first):
        self.place = ctypes.c_void_p(None)
        self.at = ctypes.addressof(self.place)
        self._put(begin(self.at, 0 if limit == "log" else limit, 8), first)

    @staticmethod
    def _put(address, state):
        WORD.from_address(address).value = state

    def offer(self, state):
        self._put(offer(self.at), state)

    @property
    def kept(self):
        """Steps and states, in order."""
        count = WORD.from_address(self.place.value + 16).value
        entries = (WORD * (3 * count)).from_address(self.place.value + 64)
        return [
            (entries[i], WORD.from_address(entries[i + 2]).value)
            for i in range(0, 3 * count, 3)
        ]

    def reverse(self, advance, visit):
        for step in range(steps_of(self.at) - 1, -1, -1):
            state = WORD.from_address(nearest(self.at, step)).value
            while True:
                plan = ahead(self.at, step)
                state = advance(state, plan >> 1)
                if not plan & 1:
                    break
                self._put(keep(self.at, plan >> 1), state)
            visit(state)

    def free(self):
        release(self.place)


def history(kept, steps):
    """What a table of states keeps at each step, and what it does on the way back."""
    done = []
    for step in range(1, steps + 1):
        kept.offer(step)
        done.append([(entry[0], entry[-1]) for entry in kept.kept])

    def advance(state, count):
        if count:
            done.append(("advance", state, count))
        return state + count

    kept.reverse(advance, lambda state: done.append(("visit", state)))
    return done


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 10, 1000, "log"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 9, 17, 64, 100, 257])
def test_same_states_are_kept_and_same_steps_are_taken(steps, limit):
    table = Table(limit, 0)
    try:
        assert history(table, steps) == history(Checkpoints(limit, 0), steps)
    finally:
        table.free()


@pytest.mark.parametrize("room", [1, 2, 3, 7, 100])
def test_strides(room):
    for steps in [*range(2, 200), 1000, 10**6, 10**9, 10**12]:
        assert native_stride(steps, room) == stride(steps, room)
    assert native_stride(10**12, 10**15) == stride(10**12, 10**15) == 1


@pytest.mark.parametrize("limit", [1, 5, 100, "log"])
def test_memory_is_that_of_the_most_states_and_is_given_back(limit):
    before = memory.stats().live_blocks
    table = Table(limit, 0)
    for step in range(1, 51):
        table.offer(step)
    peak = Checkpoints(limit, 0)
    for step in range(1, 51):
        peak.offer(step)
    assert memory.stats().live_blocks - before == 1 + 1 + peak.peak  # the table, and the first
    table.reverse(lambda state, count: state + count, lambda state: None)
    assert memory.stats().live_blocks - before == 1 + 1 + peak.peak
    table.free()
    assert memory.stats().live_blocks == before


def test_nothing_to_release():
    release(None)
