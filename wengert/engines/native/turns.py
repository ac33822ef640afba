"""What loops of programs are made of: carries in memory, turns, and an ear for interrupts.

`Carry` is the state of a loop: where it lies, and where a turn leaves the next one.
`while_true` is a loop whose number of turns a program decides. `listen` looks now and then
whether the user wants to interrupt; how often depends on the work of the turns, added up over
all loops of a program, so that loops inside loops are heard too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.program import Program, Variable
from wengert.engines.native.context import RAISED
from wengert.engines.native.kernels import group
from wengert.engines.native.steps import Block, LoopKernel, Step

if TYPE_CHECKING:
    from wengert.engines.native.blocks import BlockWriter

ir = lazy_module("llvmlite.ir")

#: Carries of so few bytes are copied: LLVM turns the copies into registers.
_REGISTERS = 512
#: The work between two looks at whether the user wants to interrupt: turns, or more where one
#: passes over many elements.
_PATIENCE = 1 << 16
_ELEMENTS = 64


class Carry:
    """The carry of a loop in memory, and where a turn of the loop leaves the next one.

    Large values that a turn may update in place are; the others are computed beside the carry
    and then copied over it.
    """

    def __init__(
        self, writer: BlockWriter, block: Block, types: Sequence[ArrayType], inputs: Any
    ) -> None:
        self.writer = writer
        self.types = types
        self.current = [writer.memory(t.nbytes) for t in types]
        results = block.program.outputs[: len(types)]
        self.replaced = [
            t.nbytes > _REGISTERS and writer.may_update(block, v, out)
            for t, v, out in zip(types, inputs, results, strict=True)
        ]
        self.following = [
            current if replaced else writer.memory(t.nbytes)
            for current, replaced, t in zip(self.current, self.replaced, types, strict=True)
        ]
        roots = [block.root(a) for a in results]
        self.in_place = [
            r
            for r, yes in zip(roots, self.replaced, strict=True)
            if yes and isinstance(r, Variable)
        ]

    def begin(self, pointers: Sequence[Any]) -> None:
        """Start from values in memory."""
        _copy_all(self.writer, self.current, pointers, self.types)

    def advance(self) -> None:
        """Take over what a turn has computed."""
        moved = [i for i, replaced in enumerate(self.replaced) if not replaced]
        for i in moved:
            self.writer.code.move(self.current[i], self.following[i], self.types[i].nbytes)

    def end(self, pointers: Sequence[Any]) -> None:
        """Leave the last values in memory."""
        _copy_all(self.writer, pointers, self.current, self.types)


def _copy_all(
    writer: BlockWriter, targets: Sequence[Any], sources: Sequence[Any], types: Any
) -> None:
    for target, source, type_ in zip(targets, sources, types, strict=True):
        writer.code.move(target, source, type_.nbytes)


@contextmanager
def while_true(writer: BlockWriter, cond: Program, inputs: Sequence[Any]) -> Iterator[None]:
    """The code inside runs as long as a program of the inputs gives true."""
    builder = writer.code.builder
    writer.context.loops = True
    truth = writer.memory(1)
    head = builder.append_basic_block("while.head")
    inside = builder.append_basic_block("while.body")
    after = builder.append_basic_block("while.end")
    builder.branch(head)
    builder.position_at_end(head)
    writer.nested(group(cond), inputs, [truth], label="test").write()
    byte = ir.IntType(8)
    holds = builder.icmp_unsigned("!=", builder.load(truth, typ=byte), ir.Constant(byte, 0))
    builder.cbranch(holds, inside, after)
    builder.position_at_end(inside)
    yield
    builder.branch(head)
    builder.position_at_end(after)


def listen(writer: BlockWriter, block: Block) -> None:
    """Look now and then whether the user wants to interrupt a loop with this body."""
    code, builder, context = writer.code, writer.code.builder, writer.context
    turns = context.turns(code)
    spent = builder.add(builder.load(turns, typ=code.i64), code.int64(_work(block)))
    builder.store(spent, turns)
    now = builder.icmp_signed(">=", spent, code.int64(_PATIENCE))
    with builder.if_then(now, likely=False):
        builder.store(code.int64(0), turns)
        status = code.call("interrupt.check", code.i64, [])
        wanted = builder.icmp_signed("!=", status, code.int64(0))
        context.leave_if(code, wanted, RAISED)


def _work(block: Block) -> int:
    """What a turn counts for; loops inside it count for themselves."""
    return 1 + sum(map(_elements, block.steps)) // _ELEMENTS


def _elements(step: Step) -> int:
    if isinstance(step, LoopKernel):
        return math.prod(step.domain)
    if step.kind == "control":
        return 0
    atoms = (*step.equation.inputs, *step.equation.outputs)
    return sum(a.type.size for a in atoms if isinstance(a, Variable))
