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
from wengert.engines.native.context import RAISED
from wengert.engines.native.kernels import group

if TYPE_CHECKING:
    from wengert.engines.native.blocks import BlockWriter

ir = lazy_module("llvmlite.ir")

#: Turns of a loop between two looks at whether the user wants to interrupt it.
_PATIENCE = 1 << 16


def _bytes(type_: ArrayType) -> int:
    return type_.size * type_.dtype.itemsize


def _memory(writer: BlockWriter, types: Sequence[ArrayType]) -> list[Any]:
    """Memory for values of these types, until the current step ends."""
    return [writer.memory(_bytes(t)) for t in types]


def _run(
    writer: BlockWriter, program: Program, inputs: Sequence[Any], outputs: Sequence[Any]
) -> None:
    """Write a program's steps, reading and writing at the pointers."""
    type(writer)(writer.context, writer.code, group(program), inputs, outputs).write()


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
    for block, branch in zip(blocks, branches, strict=True):
        builder.position_at_end(block)
        _run(writer, branch, inputs, outputs)
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
    carry = _memory(writer, types)
    following = _memory(writer, types)
    _copy_all(writer, carry, first, types)
    ys = [b.pointer for b in results[count:]]
    with code.loop(length, name="scan") as i:
        at = code.builder.sub(code.int64(length - 1), i) if params["reverse"] else i
        elements = [code.offset(p, at, _bytes(t)) for p, t in zip(xs, x_types, strict=True)]
        places = [code.offset(p, at, _bytes(t)) for p, t in zip(ys, y_types, strict=True)]
        _run(writer, body, [*held, *carry, *elements], [*following, *places])
        _copy_all(writer, carry, following, types)
        _listen(writer, i)
    _copy_all(writer, [b.pointer for b in results[:count]], carry, types)


def _write_while(
    writer: BlockWriter, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    params, code = equation.params, writer.code
    builder = code.builder
    cond_count, body_count = params["cond_count"], params["body_count"]
    pointers = [b.pointer for b in operands]
    cond_held = pointers[:cond_count]
    body_held = pointers[cond_count : cond_count + body_count]
    cond, body = params["cond"], params["body"]
    types = [b.type for b in results]
    carry = [b.pointer for b in results]
    following = _memory(writer, types)
    _copy_all(writer, carry, pointers[cond_count + body_count :], types)
    truth = writer.memory(1)
    turn = code.stack(code.i64, code.int64(0))
    head = builder.append_basic_block("while.head")
    inside = builder.append_basic_block("while.body")
    after = builder.append_basic_block("while.end")
    builder.store(code.int64(0), turn)
    builder.branch(head)
    builder.position_at_end(head)
    _run(writer, cond, [*cond_held, *carry], [truth])
    byte = ir.IntType(8)
    holds = builder.icmp_unsigned("!=", builder.load(truth, typ=byte), ir.Constant(byte, 0))
    builder.cbranch(holds, inside, after)
    builder.position_at_end(inside)
    _run(writer, body, [*body_held, *carry], following)
    _copy_all(writer, carry, following, types)
    count = builder.add(builder.load(turn, typ=code.i64), code.int64(1))
    builder.store(count, turn)
    _listen(writer, count)
    builder.branch(head)
    builder.position_at_end(after)


def _copy_all(
    writer: BlockWriter, targets: Sequence[Any], sources: Sequence[Any], types: Any
) -> None:
    for target, source, type_ in zip(targets, sources, types, strict=True):
        writer.code.move(target, source, _bytes(type_))


def _listen(writer: BlockWriter, turn: Any) -> None:
    """Look now and then whether the user wants to interrupt the loop."""
    code, builder = writer.code, writer.code.builder
    low = builder.and_(turn, code.int64(_PATIENCE - 1))
    now = builder.icmp_signed("==", low, code.int64(_PATIENCE - 1))
    with builder.if_then(now, likely=False):
        status = code.call("interrupt.check", code.i64, [])
        wanted = builder.icmp_signed("!=", status, code.int64(0))
        writer.context.leave_if(code, wanted, RAISED)


CONTROL: dict[str, Callable[..., None]] = {
    "cond": _write_cond,
    "scan": _write_scan,
    "while": _write_while,
}
