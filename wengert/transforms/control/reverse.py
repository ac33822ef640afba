"""The pullback of a loop of phases, as a loop with twice as many.

The first half of the phases are those of the loop; besides what they recorded before, they
record residuals. The second half goes through them from the last to the first, in the opposite
directions, and pulls cotangents: of the state, from iteration to iteration; of the constants,
summed up; of records, recorded for the phase that is their origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from wengert.core.array import ArrayType
from wengert.core.program import Program, Variable
from wengert.passes.dce import eliminate
from wengert.primitives.basis import add, zeros_like
from wengert.transforms.control.base import nonlinear
from wengert.transforms.control.phases import Loop, Parts, settled, state_flags
from wengert.transforms.control.programs import (
    Cut,
    Flags,
    all_typed,
    chosen,
    closed_trace,
    cut,
    derived,
    fresh,
    groups,
    invariant,
    rearranged,
)

#: ("record", phase, i): a record of the loop; ("residual", phase, i): one of its linearization;
#: ("cotangent", by phase, of phase, i): of a record.
Key = tuple[Any, ...]


class Reversal(NamedTuple):
    """The pullback of a loop.

    Attributes:
      known: the loop on operands that have values.
      loop: its phases with residuals, and those that pull cotangents.
      hoisted: known constants -> residuals that all iterations share, for each phase.
      consts: which constants have tangents.
      states: which values of the states have.
      known_consts, known_states: which have values.
      masks: whether cotangents of operands may be exact zeros that a selection made.
    """

    known: Loop
    loop: Loop
    hoisted: tuple[Program, ...]
    consts: Flags
    states: tuple[Flags, ...]
    known_consts: Flags
    known_states: tuple[Flags, ...]
    masks: bool


@derived
def reversal(
    _: Program,
    loop: Loop,
    consts: Flags,
    states: tuple[Flags, ...],
    tangents: bool = False,
    masked: bool = False,
) -> Reversal:
    """The pullback with respect to these constants and initial states.

    With `tangents` they have no values, and the loop is linear in them.
    """
    parts = settled(loop, consts, states, lambda p, i, w: cut(p, i, w, tangents).active)
    cuts = [
        cut(phase, part.inputs, part.wanted, tangents, masked)
        for phase, part in zip(loop.phases, parts, strict=True)
    ]
    flags = state_flags(loop, parts)
    known_states = tuple(tuple(not (f and tangents) for f in flag) for flag in flags)
    known_consts = tuple(not (c and tangents) for c in consts)
    counts = tuple(map(sum, known_states))
    cond = _known_cond(loop, known_states[0])
    builder = _Builder(loop, parts, cuts, sum(known_consts), counts)
    phases = [builder.forward(k) for k in range(len(cuts))]
    phases += [builder.backward(k) for k in reversed(range(len(cuts)))]
    sizes = [sum(f) + sum(consts) for f in reversed(flags)]
    held = len(builder.const_types)
    return Reversal(
        Loop(
            cond,
            tuple(_without_residuals(c) for c in cuts),
            loop.cond_count,
            sum(known_consts),
            counts,
            loop.checkpoint,
        ),
        Loop(cond, tuple(phases), loop.cond_count, held, (*counts, *sizes), loop.checkpoint),
        tuple(builder.hoisted),
        consts,
        flags,
        known_consts,
        known_states,
        any(c.masks for c in cuts),
    )


def _known_cond(loop: Loop, known: Flags) -> Program:
    """The condition on the part of the state that has values."""
    cond = loop.cond
    inputs = [*cond.inputs[: loop.cond_count], *chosen(cond.inputs[loop.cond_count :], known)]
    dropped = set(cond.inputs) - set(inputs)
    read = {a for e in cond.equations for a in e.inputs} | set(cond.outputs)
    if dropped & read:
        raise nonlinear("while")
    return rearranged(cond, inputs, cond.outputs)


def _without_residuals(plain: Cut) -> Program:
    forward = plain.forward
    results = forward.outputs[: sum(plain.known)]
    return eliminate(rearranged(forward, forward.inputs, results))


class _Builder:
    """Builds the phases of a pullback one after the other.

    Attributes:
      const_types: of the constants: known ones, then residuals that iterations share.
      hoisted: for each phase, the program that computes those.
      records: the records so far, with their types.
      sources: for each phase, where its residuals are: ("const", position), or a record.
    """

    def __init__(
        self,
        loop: Loop,
        parts: Sequence[Parts],
        cuts: Sequence[Cut],
        consts: int,
        counts: tuple[int, ...],
    ) -> None:
        self.loop = loop
        self.parts = parts
        self.cuts = cuts
        self.consts = consts
        self.counts = counts
        self.const_types: list[ArrayType] = cuts[0].forward.in_types[:consts]
        self.hoisted: list[Program] = []
        self.records: dict[Key, ArrayType] = {}
        self.sources: list[list[Key]] = []
        for plain in cuts:
            self._hoist(plain)

    def _hoist(self, plain: Cut) -> None:
        """Take the residuals of a phase that depend on constants alone out of it."""
        forward = plain.forward
        shared = invariant(forward, self.consts)
        held = forward.inputs[: self.consts]
        moved = [a for a in plain.residuals if a in shared and a not in held]
        base = len(self.const_types)
        place: dict[Any, Key] = {v: ("const", i) for i, v in enumerate(held)}
        place.update({v: ("const", base + i) for i, v in enumerate(moved)})
        number = len(self.sources)
        self.sources.append(
            [place.get(a, ("residual", number, i)) for i, a in enumerate(plain.residuals)]
        )
        self.const_types = [*self.const_types, *(a.type for a in moved)]
        self.hoisted.append(eliminate(rearranged(forward, held, moved)))

    def forward(self, number: int) -> Program:
        """A phase that also records its residuals."""
        plain = self.cuts[number]
        program = plain.forward
        count = self.counts[number]
        held, rest = groups(program.inputs, (self.consts,))
        recorded, state = rest[: len(rest) - count], rest[len(rest) - count :]
        known = [key for key in self.records if key[0] == "record"]
        by_key: dict[Key, Variable] = dict(zip(known, recorded, strict=True))
        origin: dict[Any, Key] = {v: key for key, v in by_key.items()}
        inputs = [
            *held,
            *fresh(self.const_types[self.consts :]),
            *(by_key.get(key) or Variable(type) for key, type in self.records.items()),
            *state,
        ]
        sources = self.sources[number]
        outputs = list(program.outputs[: sum(plain.known)])
        results = [i for i, k in enumerate(plain.known) if k]
        states = self.loop.states[number]
        for i, atom in zip(results[count:], outputs[count:], strict=True):
            self.records["record", number, i - states] = atom.type
        for i, atom in enumerate(plain.residuals):
            if sources[i][0] != "const":
                sources[i] = origin.get(atom, sources[i])
            if sources[i] == ("residual", number, i):
                self.records[sources[i]] = atom.type
                outputs.append(atom)
        return eliminate(rearranged(program, inputs, outputs))

    def backward(self, number: int) -> Program:
        """A phase that pulls cotangents through one of the loop."""
        plain, part = self.cuts[number], self.parts[number]
        pullback = plain.pullback
        count = len(plain.residuals)
        states = self.loop.states[number]
        state_count = sum(part.outputs[:states])
        state_types = pullback.in_types[count : count + state_count]
        record_types = pullback.in_types[count + state_count :]
        mine = [i for i, f in enumerate(part.outputs[states:]) if f]
        keys = list(self.records)
        consts = sum(part.inputs[: self.loop.consts])
        read = self._records_before(number)
        flags = part.inputs[self.loop.consts : len(part.inputs) - states]
        given = [key for key, f in zip(read, flags, strict=True) if f]
        sums = pullback.out_types[:consts]

        def call(values: list[Any]) -> list[Any]:
            lengths = (len(self.const_types), len(keys), state_count)
            held, recorded, state, totals = groups(values, lengths)
            at = dict(zip(keys, recorded, strict=True))
            residuals = [held[s[1]] if s[0] == "const" else at[s] for s in self.sources[number]]
            arrived = [
                _total(at, number, i, t) for i, t in zip(mine, record_types, strict=True)
            ]
            pulled = pullback.evaluate(*residuals, *state, *arrived)
            held_cts, record_cts, state_cts = groups(pulled, (consts, len(given)))
            totals = all_typed([*map(add, totals, held_cts)], sums)
            return [*all_typed(state_cts, state_types), *totals, *record_cts]

        types = [*self.const_types, *self.records.values(), *state_types, *sums]
        program = closed_trace(call, types)
        record_outputs = program.out_types[state_count + consts :]
        for (_, phase, i), type_ in zip(given, record_outputs, strict=True):
            self.records["cotangent", number, phase, i] = type_
        return program

    def _records_before(self, number: int) -> list[Key]:
        """The keys of what the loop's phases record before one of them."""
        counts = self.loop.record_counts()[:number]
        return [("record", phase, i) for phase, n in enumerate(counts) for i in range(n)]


def _total(at: dict[Key, Any], phase: int, i: int, type: ArrayType) -> Any:
    """The sum of the cotangents of a record that have been recorded."""
    found = [v for key, v in at.items() if key[0] == "cotangent" and key[2:] == (phase, i)]
    if not found:
        return zeros_like(type)
    total = found[0]
    for value in found[1:]:
        total = add(total, value)
    return total
