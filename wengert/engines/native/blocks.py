"""Writing the steps of a block into a function.

`BlockWriter` gives every stored variable its place (an input's memory, an output's, a slot on
the stack where it is small, else a range of the arena that is free from the step that makes
it to the last that reads it) and then writes the steps in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.program import Atom, Equation, Literal, Variable
from wengert.engines.native import callbacks
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.context import ALIGNMENT, RAISED, Context
from wengert.engines.native.control import CONTROL, carry_operands
from wengert.engines.native.expansion import Expansion
from wengert.engines.native.expressions import Load
from wengert.engines.native.fingerprint import operation_text
from wengert.engines.native.library import find_operation
from wengert.engines.native.nests import NestWriter, reachable, read_in_place
from wengert.engines.native.steps import Block, LoopKernel, OpaqueStep, Step

ir = lazy_module("llvmlite.ir")

#: Arrays of at most so many bytes lie on the stack, where LLVM turns them into registers.
_STACK_BYTES = 512


#: Operations that may write their result over their first operand.
_UPDATES = frozenset(
    "dynamic_update_slice scatter scatter_add scatter_mul scatter_max scatter_min".split()
)


def expanded(block: Block) -> dict[LoopKernel, Expansion]:
    """The expressions of all kernels of a block."""
    if block.expansions is None:
        block.expansions = {
            step: Expansion(block, step) for step in block.steps if isinstance(step, LoopKernel)
        }
    return block.expansions


def reads(block: Block, step: Step) -> set[Variable]:
    """The variables that a step reads from memory."""
    if isinstance(step, LoopKernel):
        expansion = expanded(block)[step]
        nodes = reachable(expansion.heads)
        return {n.variable for n in nodes if isinstance(n, Load)}
    roots = (block.root(a) for a in step.equation.inputs)
    return {r for r in roots if isinstance(r, Variable)}


@dataclass
class Lifetimes:
    """When the variables of a block are in use.

    Attributes:
      reads: what each step reads from memory.
      made: the step that makes a variable.
      last: the last step that makes or reads it.
      results: how many of the block's outputs it is.
    """

    reads: list[set[Variable]]
    made: dict[Variable, int]
    last: dict[Variable, int]
    results: Counter[Atom]


def lifetimes(block: Block) -> Lifetimes:
    """When the variables of a block are in use; found once."""
    if block.lifetimes is None:
        read = [reads(block, step) for step in block.steps]
        made = {v: i for i, step in enumerate(block.steps) for v in step.outputs}
        last = {v: i for i, step in enumerate(block.steps) for v in (*read[i], *step.outputs)}
        results = Counter(block.root(a) for a in block.program.outputs)
        block.lifetimes = Lifetimes(read, made, last, results)
    found: Lifetimes = block.lifetimes
    return found


def replaceable(block: Block, step: Step) -> set[Variable]:
    """The variables whose memory a step may overwrite with a result of the same size."""
    if isinstance(step, LoopKernel):
        return read_in_place(expanded(block)[step])
    at, count = _first_read(step)
    roots = [block.root(a) for a in step.equation.inputs]
    others = roots[:at] + roots[at + count :]
    return {r for r in roots[at : at + count] if type(r) is Variable and r not in others}


def _first_read(step: OpaqueStep) -> tuple[int, int]:
    """Position and number of the operands that a step takes over before it writes results."""
    equation = step.equation
    if step.kind == "library" and equation.primitive.name in _UPDATES:
        return 0, 1
    if step.kind == "control" and equation.primitive.name in ("scan", "while"):
        return carry_operands(equation)
    return 0, 0


def updated_in_place(block: Block, before: Variable, after: Atom) -> bool:
    """Whether a result of a block may be computed in the memory of an input it replaces."""
    found, root = lifetimes(block), block.root(after)
    if type(root) is not Variable or before in found.results or found.results[root] > 1:
        return False
    made = found.made.get(root)
    if made is None or _memory(root.type) != _memory(before.type):
        return False
    if found.last.get(before, made) > made:
        return False
    step = block.steps[made]
    return before not in found.reads[made] or (
        before in replaceable(block, step)
        and (not isinstance(step, LoopKernel) or root in step.stores)
    )


def _memory(type_: ArrayType) -> tuple[Any, int]:
    return type_.dtype, type_.size


def donations(
    block: Block, donated: Iterable[int], last_exit: int = -1
) -> tuple[tuple[int, int], ...]:
    """Which results are computed in the memory of which donated inputs.

    Args:
      block: a whole program.
      donated: numbers of inputs.
      last_exit: the last step that may end the program early. Inputs are changed after it.
    """
    program = block.program
    results: dict[Any, list[int]] = {}
    for number, atom in enumerate(program.outputs):
        if atom.type.shape:  # others are scalars, which Python shares
            results.setdefault((atom.type.shape, atom.type.dtype), []).append(number)
    pairs = []
    for number in donated:
        before = program.inputs[number]
        left = results.get((before.type.shape, before.type.dtype), [])
        for result in left:
            after = program.outputs[result]
            if updated_in_place(block, before, after) and _is_late(block, after, last_exit):
                pairs.append((number, result))
                left.remove(result)
                break
    return tuple(pairs)


def _is_late(block: Block, after: Atom, last_exit: int) -> bool:
    """Whether a result is written when the program can no longer end early."""
    root = block.root(after)
    assert type(root) is Variable
    made = lifetimes(block).made[root]
    if made != last_exit:
        return made > last_exit
    step = block.steps[made]
    return type(step) is OpaqueStep and root in step.outputs[: _first_read(step)[1]]


class BlockWriter:
    """Writes one block.

    Args:
      context: of the program.
      code: the function that runs the block.
      block: its steps.
      inputs: pointers to the inputs (constants first).
      outputs: pointers to memory for the results.
      in_place: results whose memory is that of an input which they replace.
      clock: where the times of its steps go (`profiling.Section`), if they are taken.
    """

    def __init__(
        self,
        context: Context,
        code: Code,
        block: Block,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        in_place: Iterable[Variable] = (),
        clock: Any = None,
    ) -> None:
        self.context = context
        self.code = code
        self.block = block
        program = block.program
        self.places: dict[Variable, Any] = dict(
            zip((*program.constants, *program.inputs), inputs, strict=True)
        )
        self.outputs = list(outputs)
        self.expansions = expanded(block)
        self._replaceable: dict[Step, set[Variable]] = {}
        self.copied: list[tuple[Atom, Any]] = []
        #: Variables that take the place of one that their step reads.
        self.in_place = set(in_place)
        self.clock = clock
        self._step = 0
        #: The last step that may end the program early.
        self.last_exit = -1

    # -- places -----------------------------------------------

    def pointer(self, variable: Variable) -> Any:
        """Where a variable is in memory."""
        root = self.block.root(variable)
        assert isinstance(root, Variable)
        return self.places[root]

    def _claim_outputs(self) -> None:
        """Let results be computed where they are wanted; the others are copied at the end."""
        for atom, pointer in zip(self.block.program.outputs, self.outputs, strict=True):
            root = self.block.root(atom)
            if isinstance(root, Variable) and root not in self.places:
                self.places[root] = pointer
            else:
                self.copied.append((root, pointer))

    def _place_all(self) -> None:
        """Give every variable that steps store its memory."""
        steps = self.block.steps
        last = dict(lifetimes(self.block).last)
        for atom, _ in self.copied:
            if isinstance(atom, Variable):
                last[atom] = len(steps)
        arena = self.context.new_arena()
        taken: dict[Variable, tuple[int, int]] = {}
        for i, step in enumerate(steps):
            for variable in step.outputs:
                if variable in self.places:
                    continue
                size = variable.type.nbytes
                if size <= _STACK_BYTES:
                    self.places[variable] = self._slot(size)
                    continue
                before = self._replaced(step, i, size, last, taken)
                if before is not None:
                    self.in_place.add(variable)
                    taken[variable] = taken.pop(before)
                    self.places[variable] = self.places[before]
                    continue
                taken[variable] = arena.take(size), size
                place = self.code.offset(self.context.arena, taken[variable][0])
                self.places[variable] = self.context.span(self.code, place, size, variable)
            for variable in [v for v in taken if last[v] == i]:
                arena.give(*taken.pop(variable))
        self.context.base = arena.size
        self.context.arena_bytes = max(self.context.arena_bytes, arena.size)

    def _replaced(
        self, step: Step, at: int, size: int, last: dict[Variable, int], taken: Any
    ) -> Variable | None:
        """A variable in the arena whose place a result may take: its last reader is here."""
        candidates = self._replaceable.get(step)
        if candidates is None:
            candidates = self._replaceable[step] = replaceable(self.block, step)
        for variable, (_, room) in taken.items():  # whose order is that of the program
            if variable in candidates and last[variable] == at and room == size:
                return variable
        return None

    def _slot(self, size: int) -> Any:
        return self.code.reserve(ir.ArrayType(ir.IntType(8), max(size, 1)), ALIGNMENT)

    def memory(self, size: int) -> Any:
        """Memory for the current step: on the stack if small, else scratch."""
        if size <= _STACK_BYTES:
            return self._slot(size)
        return self.context.scratch(self.code, size)

    # -- nested blocks -----

    def nested(
        self,
        block: Block,
        inputs: Any,
        outputs: Any,
        in_place: Iterable[Variable] = (),
        label: str = "",
    ) -> BlockWriter:
        """A writer for a block inside the current step, such as the body of a loop.

        Args:
          label: what a profile calls the block, if the step has others.
        """
        clock = self.clock and self.clock.inside(self._step, block, label)
        return BlockWriter(self.context, self.code, block, inputs, outputs, in_place, clock)

    def may_update(self, block: Block, before: Variable, after: Atom) -> bool:
        """Whether a turn of a loop may compute a carry in the memory of the one before."""
        return updated_in_place(block, before, after)

    # -- steps -----------------------------------------------

    def write(self) -> None:
        """Append the steps, and copies of results that are also something else."""
        before, clock = self.context.base, self.clock
        if clock:
            clock.enter(self.code)
        self._claim_outputs()
        self._place_all()
        above = self.context.base
        for number, step in enumerate(self.block.steps):
            self.context.base = above
            self._step = number
            begin = clock.start(self.code) if clock else None
            exits = self.context.exits
            self._write_step(step)
            if self.context.exits > exits:
                self.last_exit = number
            if clock:
                clock.stop(self.code, begin, number)
        for atom, pointer in self.copied:
            self._copy(atom, pointer)
        self.context.base = before

    def _write_step(self, step: Step) -> None:
        if isinstance(step, LoopKernel):
            in_place = not self.in_place.isdisjoint(step.stores)
            NestWriter(self.code, self.expansions[step], self.pointer, in_place).write()
        else:
            self._write_opaque(step)

    def _copy(self, atom: Atom, pointer: Any) -> None:
        if isinstance(atom, Literal):
            self._store_literal(atom, pointer)
        else:
            self.code.copy(pointer, self.places[atom], atom.type.nbytes)

    def _store_literal(self, literal: Literal, pointer: Any, dtype: Any = None) -> None:
        value = np.asarray(getattr(literal.value, "_value", literal.value), dtype)
        bits = int.from_bytes(value.tobytes(), "little")
        if not value.dtype.itemsize:
            return  # float0 has no bytes
        type_ = ir.IntType(8 * value.dtype.itemsize)
        self.code.builder.store(ir.Constant(type_, bits), pointer, align=1)

    def buffer(self, atom: Atom, dtype: Any = None) -> Buffer:
        """An operand in memory; a literal is put there."""
        if isinstance(atom, Variable):
            return Buffer(self.pointer(atom), atom.type)
        value = np.asarray(getattr(atom.value, "_value", atom.value), dtype)
        slot = self._slot(value.dtype.itemsize)
        self._store_literal(atom, slot, dtype)
        return Buffer(slot, ArrayType((), value.dtype))

    def _write_opaque(self, step: OpaqueStep) -> None:
        equation = step.equation
        if step.kind == "callback":
            self._write_callback(equation)
            return
        arrays = [a.type.dtype for a in equation.inputs if hasattr(a.type, "dtype")]
        operands = [
            self.buffer(a, None if hasattr(a.type, "dtype") else arrays[0])
            for a in equation.inputs
        ]
        results = [Buffer(self.places[v], v.type) for v in equation.outputs]
        if step.kind == "control":
            CONTROL[equation.primitive.name](self, equation, operands, results)
            return
        self._write_operation(equation, operands, results)

    def _write_operation(
        self, equation: Equation, operands: list[Buffer], results: list[Buffer]
    ) -> None:
        """Append a library operation, which may be in a function of the program already."""
        emit = find_operation(equation)
        assert emit is not None
        buffers = [*operands, *results]
        text = operation_text(equation, [buffer.type for buffer in buffers])
        if text is None:
            emit(self.code, equation, operands, results)
            return

        def body(code: Code, pointers: Sequence[Any]) -> None:
            there = [
                Buffer(pointer, buffer.type, buffer.aligned)
                for pointer, buffer in zip(pointers, buffers, strict=True)
            ]
            emit(code, equation, there[: len(operands)], there[len(operands) :])

        self.context.operation(self.code, text, [b.pointer for b in buffers], body)

    def _write_callback(self, equation: Equation) -> None:
        code, builder = self.code, self.code.builder
        variables = [a for a in equation.inputs if isinstance(a, Variable)]
        pointers = [self.pointer(v) for v in variables]
        pointers += [self.places[v] for v in equation.outputs]
        table = code.stack(ir.ArrayType(ir.PointerType(), max(len(pointers), 1)))
        for i, pointer in enumerate(pointers):
            builder.store(pointer, code.offset(table, 8 * i))
        number = callbacks.register(equation)
        self.context.callbacks.append(number)
        given = [code.int64(number), builder.ptrtoint(table, code.i64)]
        status = code.call("callback.dispatch", code.i64, given)
        failed = builder.icmp_signed("!=", status, code.int64(0))
        self.context.leave_if(code, failed, RAISED)
