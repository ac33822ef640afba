"""Which states of a loop to keep, when its number of steps is not known in advance.

To run a loop backwards its states are needed in reverse order. With room for a few of them
only, the others are computed again from the nearest one before. While the loop runs forwards,
`Checkpoints.offer` decides at every step which states to keep, so that they are well spread
whenever the loop may end. `Checkpoints.reverse` then goes back; there the number of steps to
the next kept state is known, and free places are used in the best way (binomial checkpointing).

Sources: P. Stumm and A. Walther, "New algorithms for optimal online checkpointing", SIAM J.
Sci. Comput. 32 (2010); Q. Wang, P. Moin and G. Iaccarino, "Minimal repetition dynamic
checkpointing algorithm for unsteady adjoint calculation", SIAM J. Sci. Comput. 31 (2009), whose
rule of levels is used here for any number of steps; A. Griewank and A. Walther, "Algorithm 799:
revolve", ACM Trans. Math. Softw. 26 (2000), for the way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

#: At most so many states, or "log": as many as the number of steps has binary digits.
Limit = int | str


class Checkpoints:
    """States of a loop at some of its steps; the first one is always there, and not counted.

    Attributes:
      kept: (step, level, state), in the order of steps. A state may go when one of a higher
        level follows it.
      peak: the most states that were kept at once.
    """

    __slots__ = ("kept", "limit", "peak", "steps")

    def __init__(self, limit: Limit, first: Any) -> None:
        self.limit = limit
        self.steps = 0
        self.kept: list[tuple[int, float, Any]] = [(0, math.inf, first)]
        self.peak = 0

    @property
    def room(self) -> int:
        """How many states may be kept besides the first."""
        return self.limit if isinstance(self.limit, int) else max(1, self.steps.bit_length())

    def offer(self, state: Any) -> None:
        """Take note of the state after one more step."""
        kept = self.kept
        self.steps += 1
        level: float = 0
        if len(kept) > self.room:
            position = self._dispensable()
            if position is None:
                position = len(kept) - 1
                level = kept[position][1] + 1
            del kept[position]
        kept.append((self.steps, level, state))
        self.peak = max(self.peak, len(kept) - 1)

    def _dispensable(self) -> int | None:
        """The last of the kept states that one of a higher level follows, if any."""
        highest = -1.0
        for position in range(len(self.kept) - 1, 0, -1):
            level = self.kept[position][1]
            if level < highest:
                return position
            highest = max(highest, level)
        return None

    def reverse(self, advance: Callable[[Any, int], Any], visit: Callable[[Any], None]) -> None:
        """Visit the states before all steps, the last one first; they are dropped on the way.

        Args:
          advance: the state some number of steps after a given one.
          visit: is called with each state.
        """
        stack = [(step, state) for step, _, state in self.kept]
        self.kept.clear()
        room = self.room
        for step in range(self.steps - 1, -1, -1):
            while stack[-1][0] > step:
                stack.pop()
            at, state = stack[-1]
            free = room - (len(stack) - 1)
            while at < step and free > 0:
                ahead = stride(step + 1 - at, free)
                state = advance(state, ahead)
                at += ahead
                free -= 1
                stack.append((at, state))
                self.peak = max(self.peak, len(stack) - 1)
            visit(advance(state, step - at))


def stride(steps: int, room: int) -> int:
    """How far ahead to keep the next state, to go back `steps` steps with `room` places free.

    With c states, the first among them, C(c + r, c) steps are reversed while none is taken more
    than r times. The states before the next one have c of them to use, those after it c - 1.

    >>> stride(10, 3)
    5
    """
    repetitions = 1
    while _reach(room + 1, repetitions) < steps:
        repetitions += 1
    most = min(
        _reach(room + 1, repetitions - 1), steps - _reach(room, repetitions - 1), steps - 1
    )
    return max(1, most)


def _reach(states: int, repetitions: int) -> int:
    return math.comb(states + repetitions, states)
