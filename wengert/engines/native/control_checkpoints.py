"""Loops that keep some states only, in machine code.

Forwards, every state is offered to the table of kept states (`runtime/checkpoints.py`), which
says where to put it. Backwards, the state before each step is computed again from the nearest
one that is kept, and more of them are kept on the way where there is room. What a step leaves
behind is never stored: the program that makes the records and the one that reads them become
one, in whose kernels records are registers.

    forwards:   while cond(state): state = step(state); offer(state)
    backwards:  for every step, the last one first:
                  state = nearest(step)
                  do: advance; keep the state  (until the state before the step is there)
                  cotangents = visit(state, cotangents)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.engines.native.code import Buffer
from wengert.engines.native.context import FAILED
from wengert.engines.native.kernels import group
from wengert.engines.native.steps import Block
from wengert.engines.native.turns import Carry, listen, while_true
from wengert.passes.dce import eliminate

if TYPE_CHECKING:
    from wengert.engines.native.blocks import BlockWriter

ir = lazy_module("llvmlite.ir")


def write_checkpointed(
    writer: BlockWriter, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """A loop of two phases whose records are made again from states that are kept."""
    params = equation.params
    alone, consts = params["cond_count"], params["consts"]
    count, later = params["states"]
    record, back = params["phases"]
    pointers = [b.pointer for b in operands]
    own, held = pointers[:alone], pointers[alone : alone + consts]
    initial = pointers[alone + consts :]
    places = [b.pointer for b in results]

    plain = group(_without_records(record, count))
    state = Carry(writer, plain, record.out_types[:count], record.inputs[-count:])
    state.begin(initial[:count])
    kept = _Kept(writer, params["checkpoint"], state)
    with while_true(writer, params["cond"], [*own, *state.current]):
        _advance(writer, plain, held, state, "step")
        kept.offer()
    state.end(places[:count])

    joined = _joined(record, back, consts, count)
    visit = group(joined)
    pulled = Carry(writer, visit, back.out_types[:later], joined.inputs[-later:])
    pulled.begin(initial[count:])
    with writer.code.loop(kept.steps(), name="visit") as turn:
        kept.find(turn, lambda: _advance(writer, plain, held, state, "again"))
        inputs = [*held, *state.current, *pulled.current]
        writer.nested(visit, inputs, pulled.following, pulled.in_place, "back").write()
        pulled.advance()
        listen(writer, visit)
    pulled.end(places[count:])
    kept.free()


def _advance(
    writer: BlockWriter, block: Block, held: Sequence[Any], state: Carry, label: str
) -> None:
    inputs = [*held, *state.current]
    writer.nested(block, inputs, state.following, state.in_place, label).write()
    state.advance()
    listen(writer, block)


def _without_records(phase: Program, count: int) -> Program:
    """A phase that gives its next state only."""
    states = phase.outputs[:count]
    return eliminate(Program(phase.inputs, (), (), phase.equations, states))


def _joined(record: Program, back: Program, consts: int, count: int) -> Program:
    """Constants, a state, cotangents -> cotangents: one phase reads the other's records."""
    records = record.outputs[count:]
    given = back.inputs[consts + len(records) :]
    known: Sequence[Atom] = (*record.inputs[:consts], *records)
    names: dict[Any, Atom] = dict(zip(back.inputs, known, strict=False))
    equations = list(record.equations)
    for equation in back.equations:
        inputs = [names.get(a, a) for a in equation.inputs]
        outputs = [Variable(v.type) for v in equation.outputs]
        names.update(zip(equation.outputs, outputs, strict=True))
        equations.append(
            Equation(equation.primitive, inputs, outputs, equation.params, equation.location)
        )
    results = [names.get(a, a) for a in back.outputs]
    return eliminate(Program((*record.inputs, *given), (), (), equations, results))


class _Kept:
    """The states of a loop that are kept; `state` is the one that the loop is at."""

    def __init__(self, writer: BlockWriter, limit: int | str, state: Carry) -> None:
        self.writer = writer
        self.code = writer.code
        self.state = state
        self.offsets: list[int] = []
        size = 0
        for type_ in state.types:
            self.offsets.append(size)
            size += -(-type_.nbytes // 16) * 16
        self.size = max(size, 16)
        self._table = writer.context.owned(writer.code, "checkpoints.release")
        number = limit if isinstance(limit, int) else 0
        args = [self._table, self.code.int64(number), self.code.int64(self.size)]
        self._put(self.code.call("checkpoints.begin", self.code.pointer_type, args))

    def offer(self) -> None:
        """Take note of the state after one more step."""
        self._put(self.code.call("checkpoints.offer", self.code.pointer_type, [self._table]))

    def steps(self) -> Any:
        """The number of steps that were offered."""
        return self.code.call("checkpoints.steps", self.code.i64, [self._table])

    def find(self, turn: Any, advance: Any) -> None:
        """Bring the state to the one before a step, the last step being that of turn 0.

        Args:
          turn: number of the turn.
          advance: writes one step of the loop.
        """
        code, builder = self.code, self.code.builder
        last = builder.sub(self.steps(), code.int64(1))
        step = builder.sub(last, turn)
        args = [self._table, step]
        self._take(code.call("checkpoints.nearest", code.pointer_type, args))
        further = builder.append_basic_block("further")
        there = builder.append_basic_block("there")
        builder.branch(further)
        builder.position_at_end(further)
        plan = code.call("checkpoints.ahead", code.i64, args)
        count = builder.lshr(plan, code.int64(1))
        with code.loop(count, name="again"):
            advance()
        keeps = builder.trunc(plan, ir.IntType(1))
        with builder.if_then(keeps):
            self._put(code.call("checkpoints.keep", code.pointer_type, [self._table, count]))
            builder.branch(further)
            builder.position_at_end(builder.append_basic_block("unreached"))
        builder.branch(there)
        builder.position_at_end(there)

    def _memory(self, pointer: Any) -> list[tuple[Any, Any, ArrayType]]:
        """Where the values of the state are, in the loop and in memory of the table."""
        pointer = self.writer.context.span(self.code, pointer, self.size, "a kept state")
        return [
            (current, self.code.offset(pointer, offset), type_)
            for current, offset, type_ in zip(
                self.state.current, self.offsets, self.state.types, strict=True
            )
        ]

    def _put(self, pointer: Any) -> None:
        """Keep the state in memory of the table, if there was any."""
        builder = self.code.builder
        missing = builder.icmp_unsigned(
            "==", builder.ptrtoint(pointer, self.code.i64), self.code.int64(0)
        )
        self.writer.context.leave_if(self.code, missing, FAILED)
        for current, place, type_ in self._memory(pointer):
            self.code.move(place, current, type_.nbytes)

    def _take(self, pointer: Any) -> None:
        """Go on from a state in memory of the table."""
        for current, place, type_ in self._memory(pointer):
            self.code.move(current, place, type_.nbytes)

    def free(self) -> None:
        """Give the memory back."""
        self.writer.context.free_owned(self.code, self._table)
