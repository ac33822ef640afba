"""Loops of phases, as descriptions, and what transformations make of them.

A `while` has a condition and a body. Its derivative in reverse mode is a loop of two phases:
the first runs forwards as the loop did and records what each iteration leaves behind, the
second goes back over the records. The derivative of that has four phases, and so on. A `Loop`
has any number of phases, in alternating directions:

- the first phase runs while the condition holds; there are N iterations;
- phase k then runs N times, backwards or forwards; iteration i takes the records that all
  phases before it left at i, and its own state;
- each iteration gives the next state, and records for later phases.

So the types of operands, states and records are known however long the loop runs, and the
pushforward, the pullback and the batch of a loop of phases is one again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert.core.array import ArrayType
from wengert.core.program import Program
from wengert.primitives.compare import bitwise_and
from wengert.primitives.reduce import reduce_or
from wengert.transforms.control.checkpoints import Limit
from wengert.transforms.control.lanes import flag_type, kept_where, shielded
from wengert.transforms.control.programs import (
    Flags,
    all_typed,
    batched,
    batched_types,
    closed_trace,
    derived,
    fresh,
    groups,
    pushforward,
    rearranged,
)

Phases = tuple[Program, ...]


class Loop(NamedTuple):
    """What a loop of phases consists of; these are the parameters of `sweeps`.

    Operands are those of the condition alone, constants of all phases, and the initial states.

    Attributes:
      cond: its own operands, state of the first phase -> bool.
      phases: constants, records so far, state -> state, records.
      cond_count: number of operands of the condition alone.
      consts: number of constants.
      states: for each phase the number of values in its state.
      checkpoint: how many states are kept, with two phases, instead of all records.
    """

    cond: Program
    phases: Phases
    cond_count: int
    consts: int
    states: tuple[int, ...]
    checkpoint: Limit | None

    def parts(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any], list[list[Any]]]:
        """Operands of the condition, constants, and the states."""
        alone, held, *states, _ = groups(operands, (self.cond_count, self.consts, *self.states))
        return alone, held, states

    def results(self, values: Sequence[Any]) -> list[list[Any]]:
        """The final states."""
        return groups(values, self.states)[:-1]

    @property
    def out_types(self) -> list[ArrayType]:
        """Types of the results: of all states."""
        pairs = zip(self.phases, self.states, strict=True)
        return [t for phase, count in pairs for t in phase.out_types[:count]]

    def record_counts(self) -> list[int]:
        """How many values each phase records."""
        return [
            len(p.outputs) - count for p, count in zip(self.phases, self.states, strict=True)
        ]


class Parts(NamedTuple):
    """Which inputs of a phase take part in a transformation.

    Attributes:
      inputs: of all inputs.
      wanted: of the results, those that do in any case.
      outputs: of all results.
    """

    inputs: Flags
    wanted: Flags
    outputs: Flags


def settled(
    loop: Loop,
    consts: Flags,
    states: Sequence[Flags],
    outputs: Callable[[Program, Flags, Flags], Flags],
    records_wanted: bool = False,
) -> list[Parts]:
    """What takes part in each phase: a state that does after an iteration does from the start.

    Args:
      loop: the loop.
      consts: which constants take part.
      states: which values of the initial states do.
      outputs: from a phase, its inputs and the results that do in any case, all that do.
      records_wanted: whether all records do in any case.
    """
    records: Flags = ()
    found = []
    for phase, state in zip(loop.phases, states, strict=True):
        count = len(state)
        others = (records_wanted,) * (len(phase.outputs) - count)
        while True:
            inputs, wanted = (*consts, *records, *state), (*state, *others)
            out = outputs(phase, inputs, wanted)
            if out[:count] == state:
                break
            state = out[:count]
        found.append(Parts(inputs, wanted, out))
        records = (*records, *out[count:])
    return found


def state_flags(loop: Loop, parts: Sequence[Parts]) -> tuple[Flags, ...]:
    """Which values of the states take part."""
    return tuple(p.outputs[:n] for p, n in zip(parts, loop.states, strict=True))


# -- pushforward -------------------------------------------------------------------------------


@derived
def pushed(
    _: Program, loop: Loop, consts: Flags, states: tuple[Flags, ...]
) -> tuple[Loop, tuple[Flags, ...]]:
    """The loop with tangents of these constants and initial states.

    Tangents follow what they belong to: all constants, then their tangents; and so for the
    records of each phase and for its state.

    Returns:
      the loop, and which states have tangents.
    """
    parts = settled(loop, consts, states, lambda p, i, w: pushforward(p, i, w)[1])
    flags = state_flags(loop, parts)
    counts = [loop.consts]
    phases = []
    for phase, state, part, more in zip(
        loop.phases, loop.states, parts, loop.record_counts(), strict=True
    ):
        program, _ = pushforward(phase, part.inputs, part.wanted)
        size = len(phase.inputs)
        kinds = [sum(kind) for kind in groups(part.inputs, counts)]
        inputs = _followed(
            groups(program.inputs[:size], counts), groups(program.inputs[size:], kinds[:-1])
        )
        values = groups(program.outputs[: len(phase.outputs)], (state,))
        dots = groups(program.outputs[len(phase.outputs) :], (sum(part.outputs[:state]),))
        phases.append(rearranged(program, inputs, _followed(values, dots)))
        counts.append(more)
    sizes = tuple(n + sum(f) for n, f in zip(loop.states, flags, strict=True))
    extra = fresh(t for t, f in zip(_state_types(loop), flags[0], strict=True) if f)
    cond = rearranged(loop.cond, [*loop.cond.inputs, *extra], loop.cond.outputs)
    held = loop.consts + sum(consts)
    return Loop(cond, tuple(phases), loop.cond_count, held, sizes, loop.checkpoint), flags


def _followed(values: Sequence[Sequence[Any]], dots: Sequence[Sequence[Any]]) -> list[Any]:
    """Each group of values, and then its tangents."""
    return [v for value, dot in zip(values, dots, strict=True) for v in (*value, *dot)]


def _state_types(loop: Loop) -> list[ArrayType]:
    """Types of the state of the first phase."""
    return loop.phases[0].out_types[: loop.states[0]]


# -- batches -----------------------------------------------------------------------------------


class Batch(NamedTuple):
    """How a loop is batched.

    Attributes:
      loop: on batches. Where each example has a condition of its own, operands of the condition
        are constants, and the state of the first phase begins with the flags of the examples
        that still run.
      states: which values of the states are batched.
      test: where each example has a condition of its own, that condition.
    """

    loop: Loop
    states: tuple[Flags, ...]
    test: Program | None


@derived
def batch_of(
    _: Program,
    loop: Loop,
    size: int,
    axis_name: Any,
    alone: Flags,
    consts: Flags,
    states: tuple[Flags, ...],
) -> Batch:
    """The loop on batches of these operands."""

    def outputs(program: Program, inputs: Flags, wanted: Flags) -> Flags:
        return batched(program, size, axis_name, inputs, wanted)[1]

    parts = settled(loop, consts, states, outputs)
    flags = state_flags(loop, parts)
    cond, (own,) = batched(loop.cond, size, axis_name, (*alone, *flags[0]), (False,))
    if own:
        return _each(loop, size, axis_name, alone, consts)
    phases = tuple(
        batched(phase, size, axis_name, p.inputs, p.wanted)[0]
        for phase, p in zip(loop.phases, parts, strict=True)
    )
    return Batch(loop._replace(cond=cond, phases=phases), flags, None)


def _each(loop: Loop, size: int, axis_name: Any, alone: Flags, consts: Flags) -> Batch:
    """The loop on batches, run until the condition of no example holds."""
    states = tuple((True,) * n for n in loop.states)

    def outputs(program: Program, inputs: Flags, wanted: Flags) -> Flags:
        return batched(program, size, axis_name, inputs, wanted)[1]

    parts = settled(loop, consts, states, outputs, records_wanted=True)
    test, _ = batched(loop.cond, size, axis_name, (*alone, *states[0]), (True,))
    programs = [
        batched(phase, size, axis_name, p.inputs, p.wanted)[0]
        for phase, p in zip(loop.phases, parts, strict=True)
    ]
    alone_types = batched_types(loop.cond.in_types[: len(alone)], size, alone)
    held = [*alone_types, *programs[0].in_types[: len(consts)]]
    first = _first_phase(programs[0], test, held, consts, loop.states[0], size)
    phases = [first]
    for program, count in zip(programs[1:], loop.states[1:], strict=True):
        phases.append(_later_phase(program, alone_types, consts, count, size))
    state = [flag_type(size), *programs[0].out_types[: loop.states[0]]]
    cond = closed_trace(lambda v: [reduce_or(v[0], axes=(0,))], state)
    counts = (1 + loop.states[0], *loop.states[1:])
    return Batch(Loop(cond, tuple(phases), 0, len(held), counts, loop.checkpoint), states, test)


def _first_phase(
    program: Program,
    test: Program,
    held_types: Sequence[ArrayType],
    consts: Flags,
    count: int,
    size: int,
) -> Program:
    """The first phase for the examples that still run; it records which these are."""
    alone = len(held_types) - len(consts)
    types = program.out_types

    def call(values: list[Any]) -> list[Any]:
        own, held, (active,), state = groups(values, (alone, len(consts), 1))
        safe_held = shielded(active, held, consts)
        safe_state = shielded(active, state, (True,) * count)
        out = program.evaluate(*safe_held, *safe_state)
        new = kept_where(active, out[:count], state)
        (running,) = test.evaluate(*own, *new)
        rest = [active, *out[count:]] if len(out) > count else [active]
        typed = all_typed([*new, *rest[1:]], types)
        return [bitwise_and(active, running), *typed[:count], active, *typed[count:]]

    return closed_trace(call, [*held_types, flag_type(size), *types[:count]])


def _later_phase(
    program: Program,
    alone: Sequence[ArrayType],
    consts: Flags,
    count: int,
    size: int,
) -> Program:
    """A later phase for the examples that took part in an iteration."""
    held_types, rest = groups(program.in_types, (len(consts),))
    records, state_types = rest[: len(rest) - count], rest[len(rest) - count :]

    def call(values: list[Any]) -> list[Any]:
        lengths = (len(alone), len(consts), 1, len(records))
        _, held, (active,), recorded, state = groups(values, lengths)
        safe_held = shielded(active, held, consts)
        safe_state = shielded(active, state, (True,) * count)
        out = program.evaluate(*safe_held, *recorded, *safe_state)
        new = kept_where(active, out[:count], state)
        return all_typed([*new, *out[count:]], program.out_types)

    types = [*alone, *held_types, flag_type(size), *records, *state_types]
    return closed_trace(call, types)
