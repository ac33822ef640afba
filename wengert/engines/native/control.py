"""Control flow in machine code: cond, while and scan become branches and loops of blocks.

Bodies are written into the same function as everything around them. Carries lie in memory of
their own (small ones on the stack, so that LLVM keeps them in registers); an element of a
scanned array is read where it is, and an element of a stacked result is written where it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation, Program
from wengert.engines.native.code import Buffer
from wengert.engines.native.context import FAILED
from wengert.engines.native.control_checkpoints import write_checkpointed
from wengert.engines.native.kernels import group
from wengert.engines.native.turns import Carry, listen, while_true

if TYPE_CHECKING:
    from wengert.engines.native.blocks import BlockWriter

ir = lazy_module("llvmlite.ir")


def carry_operands(equation: Equation) -> tuple[int, int]:
    """Where the first carry of a `scan` or `while` begins among its operands; how many."""
    params = equation.params
    if equation.primitive.name == "scan":
        return params["consts"], params["carry"]
    at = params["cond_count"] + params["body_count"]
    return at, len(equation.inputs) - at


def _write_cond(
    writer: BlockWriter, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    builder = writer.code.builder
    branches = equation.params["branches"]
    index = builder.load(operands[0].pointer, typ=ir.IntType(32))
    inputs = [b.pointer for b in operands[1:]]
    outputs = [b.pointer for b in results]
    after = builder.append_basic_block("cond.end")
    blocks = [builder.append_basic_block(f"branch.{i}") for i in range(len(branches))]
    switch = builder.switch(index, blocks[-1])
    for i, block in enumerate(blocks[:-1]):
        switch.add_case(ir.Constant(ir.IntType(32), i), block)
    for i, (block, branch) in enumerate(zip(blocks, branches, strict=True)):
        builder.position_at_end(block)
        writer.nested(group(branch), inputs, outputs, label=f"branch {i}").write()
        builder.branch(after)
    builder.position_at_end(after)


def _write_scan(
    writer: BlockWriter, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    params, code = equation.params, writer.code
    consts, count, length = params["consts"], params["carry"], params["length"]
    body: Program = params["body"]
    pointers = [b.pointer for b in operands]
    held, first, xs = (
        pointers[:consts],
        pointers[consts : consts + count],
        pointers[consts + count :],
    )
    types = body.in_types[consts : consts + count]
    x_types, y_types = body.in_types[consts + count :], body.out_types[count:]
    block = group(body)
    carry = Carry(writer, block, types, body.inputs[consts : consts + count])
    carry.begin(first)
    ys = [b.pointer for b in results[count:]]
    with code.loop(length, name="scan") as i:
        at = code.builder.sub(code.int64(length - 1), i) if params["reverse"] else i
        elements = [_element(writer, p, at, t) for p, t in zip(xs, x_types, strict=True)]
        places = [_element(writer, p, at, t) for p, t in zip(ys, y_types, strict=True)]
        inputs, outputs = [*held, *carry.current, *elements], [*carry.following, *places]
        writer.nested(block, inputs, outputs, carry.in_place).write()
        carry.advance()
        listen(writer, block)
    carry.end([b.pointer for b in results[:count]])


def _element(writer: BlockWriter, array: Any, at: Any, type_: ArrayType) -> Any:
    """Where an element of a stack of arrays is."""
    place = writer.code.offset(array, at, type_.nbytes)
    return writer.context.span(writer.code, place, type_.nbytes, type_)


def _write_while(
    writer: BlockWriter, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    params = equation.params
    cond_count, body_count = params["cond_count"], params["body_count"]
    pointers = [b.pointer for b in operands]
    cond_held = pointers[:cond_count]
    body_held = pointers[cond_count : cond_count + body_count]
    body: Program = params["body"]
    block = group(body)
    carry = Carry(writer, block, [b.type for b in results], body.inputs[body_count:])
    carry.begin(pointers[cond_count + body_count :])
    with while_true(writer, params["cond"], [*cond_held, *carry.current]):
        inputs = [*body_held, *carry.current]
        writer.nested(block, inputs, carry.following, carry.in_place).write()
        carry.advance()
        listen(writer, block)
    carry.end([b.pointer for b in results])


def _write_sweeps(
    writer: BlockWriter, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """A loop that records what each iteration leaves, and goes back and forth over it."""
    params, code = equation.params, writer.code
    if params["checkpoint"] is not None and len(params["phases"]) == 2:
        write_checkpointed(writer, equation, operands, results)
        return
    pointers = [b.pointer for b in operands]
    first = params["cond_count"] + params["consts"]
    alone, held = pointers[: params["cond_count"]], pointers[params["cond_count"] : first]
    tape = Tape(writer, params["phases"], params["states"])
    done = 0
    for number, (phase, count) in enumerate(
        zip(params["phases"], params["states"], strict=True)
    ):
        block = group(phase)
        types = phase.out_types[:count]
        begin = len(phase.inputs) - count
        carry, label = Carry(writer, block, types, phase.inputs[begin:]), f"phase {number}"
        carry.begin(pointers[first + done : first + done + count])
        if number == 0:
            with while_true(writer, params["cond"], [*alone, *carry.current]):
                inputs, outputs = [*held, *carry.current], [*carry.following, *tape.append()]
                writer.nested(block, inputs, outputs, carry.in_place, label).write()
                carry.advance()
                listen(writer, block)
        else:
            with code.loop(tape.length(), name="sweep") as i:
                before, own = tape.at(i, number)
                inputs = [*held, *before, *carry.current]
                outputs = [*carry.following, *own]
                writer.nested(block, inputs, outputs, carry.in_place, label).write()
                carry.advance()
                listen(writer, block)
        carry.end([b.pointer for b in results[done : done + count]])
        done += count
    tape.free()


#: Where in a slot of a tape a record is, and its type.
Place = tuple[int, ArrayType]


class Tape:
    """Records of all iterations of a loop, in memory that grows with it.

    Each iteration has one slot, with room for what every phase records.
    """

    def __init__(
        self, writer: BlockWriter, phases: Sequence[Program], states: Sequence[int]
    ) -> None:
        self.writer = writer
        self.code = writer.code
        self.places: list[list[Place]] = []
        self.slot = 0
        for phase, count in zip(phases, states, strict=True):
            own = []
            for type_ in phase.out_types[count:]:
                own.append((self.slot, type_))
                self.slot += -(-type_.nbytes // 16) * 16
            self.places.append(own)
        code = self.code
        self._memory = writer.context.owned(code)
        self._room = code.stack(code.i64, code.int64(0))
        self._count = code.stack(code.i64, code.int64(0))

    def length(self) -> Any:
        """The number of iterations so far."""
        return self.code.builder.load(self._count, typ=self.code.i64)

    def append(self) -> list[Any]:
        """Make room for one more iteration: where the first phase leaves its records."""
        code, builder = self.code, self.code.builder
        count = self.length()
        room = builder.load(self._room, typ=code.i64)
        if self.slot:
            with builder.if_then(builder.icmp_signed("==", count, room), likely=False):
                more = builder.add(builder.shl(room, code.int64(1)), code.int64(64))
                size = builder.mul(more, code.int64(self.slot))
                before = builder.load(self._memory, typ=code.pointer_type)
                memory = code.call("memory.allocate", code.pointer_type, [size])
                memory = code.context.span(code, memory, size, "a tape")
                missing = builder.icmp_unsigned(
                    "==", builder.ptrtoint(memory, code.i64), code.int64(0)
                )
                self.writer.context.leave_if(code, missing, FAILED)
                used = builder.mul(count, code.int64(self.slot))
                before = code.context.span(code, before, used, "a tape")
                code.call("libc.memcpy", code.pointer_type, [memory, before, used])
                code.call("memory.release", ir.VoidType(), [before])
                builder.store(memory, self._memory)
                builder.store(more, self._room)
        builder.store(builder.add(count, code.int64(1)), self._count)
        return self._places(count, self.places[0])

    def at(self, turn: Any, phase: int) -> tuple[list[Any], list[Any]]:
        """Where a turn of a later phase finds the records before it, and leaves its own."""
        builder = self.code.builder
        place = turn
        if phase % 2:
            last = builder.sub(self.length(), self.code.int64(1))
            place = builder.sub(last, turn)
        before = [place for own in self.places[:phase] for place in own]
        return self._places(place, before), self._places(place, self.places[phase])

    def _places(self, number: Any, places: Sequence[Place]) -> list[Any]:
        code = self.code
        memory = code.builder.load(self._memory, typ=code.pointer_type)
        base = code.offset(memory, number, self.slot or 1)
        return [
            code.context.span(code, code.offset(base, offset), type_.nbytes, type_)
            for offset, type_ in places
        ]

    def free(self) -> None:
        """Give the memory back."""
        self.writer.context.free_owned(self.code, self._memory)


CONTROL: dict[str, Callable[..., None]] = {
    "cond": _write_cond,
    "scan": _write_scan,
    "while": _write_while,
    "sweeps": _write_sweeps,
}
