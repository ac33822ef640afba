"""Online checkpointing: right states in the right order, few of them, and few steps twice."""

from __future__ import annotations

import functools
import math

import pytest

from wengert.transforms.control.checkpoints import Checkpoints, stride


def run(steps, limit):
    """Number the states of a loop; returns what is visited, steps taken again, most kept."""
    kept = Checkpoints(limit, 0)
    for step in range(1, steps + 1):
        kept.offer(step)
    visited, again = [], 0

    def advance(state, count):
        nonlocal again
        again += count
        return state + count

    kept.reverse(advance, visited.append)
    return visited, again, kept.peak


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 10, "log"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 17, 64, 100])
def test_all_states_are_visited_in_reverse(steps, limit):
    visited, _, peak = run(steps, limit)
    assert visited == [*range(steps)][::-1]
    assert peak <= (max(1, steps.bit_length()) if limit == "log" else limit)


def offline(steps, room):
    """Fewest steps in all when their number is known (Griewank and Walther)."""
    if not steps:
        return 0
    repetitions = 0
    while math.comb(room + 1 + repetitions, room + 1) < steps:
        repetitions += 1
    return repetitions * steps - math.comb(room + 1 + repetitions, repetitions - 1)


@pytest.mark.parametrize("limit", [2, 3, 5, 10])
@pytest.mark.parametrize("steps", [10, 20, 50, 100, 300])
def test_few_steps_are_taken_again(steps, limit):
    """Not knowing the number of steps costs little more than knowing it."""
    _, again, _ = run(steps, limit)
    assert steps + again <= 1.5 * offline(steps, limit)


@pytest.mark.parametrize("steps", [10, 100, 1000, 3000])
def test_logarithmic_memory_costs_a_logarithmic_factor(steps):
    _, again, peak = run(steps, "log")
    assert peak <= steps.bit_length()
    assert again <= steps * steps.bit_length()


def test_enough_room_takes_no_step_again():
    assert run(10, 10)[1] == 0


@pytest.mark.parametrize("room", [1, 2, 4])
def test_strides_are_optimal(room):
    """With a known number of steps, going back takes no more steps than it must."""

    def cost(steps, free):
        """Steps to visit `steps` states of which the first is there."""
        if steps <= 1:
            return 0
        if not free:
            return steps * (steps - 1) // 2
        ahead = stride(steps, free)
        return ahead + cost(steps - ahead, free - 1) + cost(ahead, free)

    for steps in range(1, 40):
        assert cost(steps, room) == _best(steps, room)


@functools.cache
def _best(steps, free):
    if steps <= 1:
        return 0
    if not free:
        return steps * (steps - 1) // 2
    return min(
        ahead + _best(steps - ahead, free - 1) + _best(ahead, free) for ahead in range(1, steps)
    )
