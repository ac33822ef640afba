"""From a program to machine code: the stages, in order.

    program -> passes -> kernels -> buffers and loops -> LLVM -> machine code -> entry point

The entry point is a C function `i64 entry(ptr inputs, ptr outputs, ptr arena)`: arrays of
pointers to dense arrays, constants before inputs, and scratch memory. It returns `DONE`,
`FAILED` (run the program on the eager engine: it raises the error, with the user's line), or
`RAISED` (a callback or an interrupt left an exception).

Results may be computed in the memory of *donated* inputs; their places among the outputs are
not looked at then, and a flag comes after the inputs, which is set where the program has come
to its end. A program that ends early has not changed its inputs.
"""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.core.array import ArrayType
from wengert.core.interpreter import quiet
from wengert.core.lazy import lazy_module
from wengert.core.program import Atom, Program, Variable
from wengert.engines.eager import compile_program as compile_eager
from wengert.engines.native import cache, callbacks, tiers
from wengert.engines.native.blocks import BlockWriter, donations
from wengert.engines.native.code import Code
from wengert.engines.native.context import DONE, Context
from wengert.engines.native.cost import Cost, cost_of_block, cost_of_step
from wengert.engines.native.fingerprint import fingerprint
from wengert.engines.native.kernels import group
from wengert.engines.native.library import is_routine
from wengert.engines.native.machine import LoadedCode, Target, load, optimise_and_emit
from wengert.engines.native.profiling import Section
from wengert.engines.native.runtime.callable_layout import NO_MEMORY
from wengert.engines.native.steps import Block, OpaqueStep
from wengert.engines.native.symbols import address
from wengert.passes.pipeline import optimise

ir = lazy_module("llvmlite.ir")

_signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


#: Operations and bytes above which other threads may run Python during a call.
_LONG = 200_000
#: Operations and bytes of loops up to which quick code will do for the first call.
_SOON = 10_000_000


#: Pairs of an input and a result, by their numbers.
Pairs = tuple[tuple[int, int], ...]
_FINISHED = ArrayType((1,), np.bool_)


@dataclass(frozen=True)
class ObjectCode:
    """Object code with what is needed to run it.

    Attributes:
      content: relocatable object code with an entry point.
      arena_bytes: scratch memory that a call needs.
      symbols: what it calls in the process.
      callbacks: numbers of the equations it calls back for.
      long: whether a call may take long.
      quick: whether it counts its calls, and asks for better code (see `tiers`).
      in_place: pairs of an input and the result that is computed in its memory.
    """

    content: bytes
    arena_bytes: int
    symbols: list[str]
    callbacks: list[int]
    long: bool
    quick: bool = False
    in_place: Pairs = ()

    def to_bytes(self) -> bytes:
        """All of it, for a file."""
        fields = [self.arena_bytes, self.symbols, self.long, self.quick, self.in_place]
        head = json.dumps(fields).encode()
        return len(head).to_bytes(8, "little") + head + self.content

    @staticmethod
    def from_bytes(data: bytes) -> ObjectCode:
        """What `to_bytes` has written."""
        end = 8 + int.from_bytes(data[:8], "little")
        arena_bytes, symbols, long, quick, in_place = json.loads(data[8:end])
        pairs = tuple((i, o) for i, o in in_place)
        return ObjectCode(data[end:], arena_bytes, symbols, [], long, quick, pairs)


def is_long(block: Block) -> bool:
    """Whether a program may run for longer than it takes to let other threads in."""
    loops = any(isinstance(s, OpaqueStep) and s.kind != "library" for s in block.steps)
    cost = cost_of_block(block)
    return loops or cost.flops + cost.bytes > _LONG


class CompiledProgram:
    """Machine code of a program.

    Attributes:
      program: what was compiled, after the passes.
      in_types: the types of what the entry point is given after constants.
      in_place: pairs of an input and the result that is computed in its memory.
      entry: the address of the entry point.
      cell_address: where the address of the best entry point so far is kept.
      arena_bytes: the scratch memory that a call needs.
      constants: arrays whose addresses go before those of the inputs.
      long: whether a call may take long enough to let other threads run meanwhile.
    """

    def __init__(self, program: Program, made: ObjectCode, key: str | None = None) -> None:
        self.program = program
        self.in_place = made.in_place
        self.in_types = [*program.in_types, *([_FINISHED] if made.in_place else [])]
        self.arena_bytes = made.arena_bytes
        self.constants = [
            np.require(v._value, requirements=["C", "A"]) for v in program.constant_values
        ]
        self.long = made.long
        self._key = key
        self._cell = ctypes.c_int64()
        self.cell_address = ctypes.addressof(self._cell)
        self._codes: list[LoadedCode] = []
        self._eager: Any = None
        self._use(made)

    def _use(self, made: ObjectCode) -> None:
        """Let calls run this code from now on; those that run older code end as they began."""
        exports = ("entry", tiers.COUNTER) if made.quick else ("entry",)
        code = load(made.content, {s: address(s) for s in made.symbols}, exports)
        self._codes.append(code)
        self.entry = code.address("entry")
        self._function = _signature(self.entry)
        self._cell.value = self.entry
        if made.quick:
            tiers.watch(code.address(tiers.COUNTER), self)
        if made.callbacks:
            weakref.finalize(self, callbacks.release, made.callbacks)

    def improve(self) -> None:
        """Compile the program as well as can be.

        Callers have been told how much memory to bring, and what is overwritten; code that
        wants it otherwise is for the next process.
        """
        made = make_object(self.program, Target.host(), donated=[i for i, _ in self.in_place])
        if made.in_place == self.in_place and made.arena_bytes <= self.arena_bytes:
            self._use(made)
        else:
            callbacks.release(made.callbacks)
        _keep(self._key, made)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The results for NumPy values of `in_types`."""
        arrays = [dense(v, t) for v, t in zip(values, self.in_types, strict=True)]
        given = {o: arrays[i] for i, o in self.in_place}
        outputs = [
            given[o] if o in given else np.empty(t.shape, t.dtype)
            for o, t in enumerate(self.program.out_types)
        ]
        inputs = _pointers([*self.constants, *arrays])
        arena = np.empty(self.arena_bytes + 64, np.uint8)
        start = -(-arena.ctypes.data // 64) * 64
        status = self._run(inputs, _pointers(outputs), start)
        if status != DONE:
            raise self.failure(status, values)
        return [out if out.ndim else out[()] for out in outputs]

    def _run(self, inputs: Any, outputs: Any, arena: int) -> int:
        """The status of the entry point; raises what a signal handler raised meanwhile."""
        try:
            status: int = self._function(inputs, outputs, arena)
            return status
        except SystemError as error:  # that exception comes to us as its cause
            raised = error.__cause__ or error
        raise raised

    def failure(self, status: int, values: Sequence[Any]) -> BaseException:
        """The exception that a call ended with."""
        if status == NO_MEMORY:
            return MemoryError(f"a run of this program needs {self.arena_bytes:,} bytes")
        if self._eager is None:
            self._eager = compile_eager(self.program)
        try:
            quiet().run(self._eager, values[: len(self.program.inputs)])
        except Exception as raised:
            return raised
        return RuntimeError(
            f"machine code failed with status {status}, the eager engine did not"
        )


def dense(value: Any, type_: ArrayType) -> Any:
    """The value itself if machine code takes it as it is, else a copy that it takes."""
    if type(value) is np.ndarray and value.dtype == type_.dtype:
        flags = value.flags
        if flags.c_contiguous and flags.aligned:
            return value
    return np.require(value, type_.dtype, ["C", "A"])


def _pointers(arrays: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))


def write_module(
    block: Block,
    target: Target,
    clock: Any = None,
    make: type[Context] = Context,
    counted: bool = False,
    in_place: Pairs = (),
) -> tuple[Any, Context]:
    """The LLVM module of a block, with its entry point.

    Args:
      block: the steps.
      target: the machine.
      clock: where the times of the steps go (`profiling.Section`).
      make: of what kind the context is.
      counted: whether the entry point counts its calls.
      in_place: pairs of an input and the result that is computed in its memory.
    """
    module = ir.Module("wengert")
    context = make(module, target)
    context.quick = counted
    pointer = ir.PointerType()
    signature = ir.FunctionType(ir.IntType(64), [pointer, pointer, pointer])
    function = ir.Function(module, signature, "entry")
    code = Code(ir.IRBuilder(function.append_basic_block("entry")), target, context)
    inputs, outputs, context.arena = function.args
    if counted:
        tiers.count_calls(code)
    program = block.program
    replaced = {o: i + len(program.constants) for i, o in in_place}
    flags = [Variable(_FINISHED)] if in_place else []
    given = _loaded(code, inputs, [*program.constants, *program.inputs, *flags])
    finished = given.pop() if in_place else None
    wanted = _loaded(code, outputs, program.outputs)
    for o, i in replaced.items():
        wanted[o] = given[i]
    roots = [block.root(program.outputs[o]) for o in replaced]
    over = [r for r in roots if isinstance(r, Variable)]
    writer = BlockWriter(context, code, block, given, wanted, over, clock)
    writer.write()
    context.last_exit = writer.last_exit
    if finished is not None:
        code.builder.store(ir.Constant(ir.IntType(8), 1), finished)
    context.finish(code)
    return module, context


def _loaded(code: Code, table: Any, atoms: Sequence[Atom]) -> list[Any]:
    """The pointers in a table, one for each variable."""
    table = code.context.span(code, table, 8 * len(atoms), "a table of pointers")
    pointers = []
    for i, atom in enumerate(atoms):
        pointer = code.builder.load(code.offset(table, 8 * i), typ=code.pointer_type)
        pointers.append(code.context.span(code, pointer, atom.type.nbytes, atom))
    return pointers


def write_in_place(
    block: Block, target: Target, donated: Sequence[int], counted: bool = False
) -> tuple[Any, Context, Pairs]:
    """The LLVM module of a block that has donated inputs, and in which results are computed."""
    pairs = donations(block, donated)
    module, context = write_module(block, target, counted=counted, in_place=pairs)
    late = donations(block, donated, context.last_exit)
    if late != pairs:  # only the code itself shows where it may end early
        callbacks.release(context.callbacks)
        module, context = write_module(block, target, counted=counted, in_place=late)
    return module, context, late


def make_object(
    program: Program, target: Target, quick: bool = False, donated: Sequence[int] = ()
) -> ObjectCode:
    """Object code of a program that has been through the passes.

    Kernels are vector code already, and expressions are shared: LLVM does not make them faster
    by more than putting memory into registers. Code without loops gains nothing at all.
    """
    block = group(program)
    quick = quick and _runs_shortly(block)
    module, context, pairs = write_in_place(block, target, donated, quick)
    level = 1 if context.loops and not quick else 0
    content = optimise_and_emit(module, target, level)
    symbols = sorted(context.symbols)
    return ObjectCode(
        content, context.arena_bytes, symbols, context.callbacks, is_long(block), quick, pairs
    )


def _runs_shortly(block: Block) -> bool:
    """Whether the first call is over soon, even in code that is not the best.

    Kernels pass over memory once; loops of programs and of library operations may take long,
    except where they are in routines that are compiled already.
    """
    opaque = [s for s in block.steps if isinstance(s, OpaqueStep)]
    if any(s.equation.primitive.name in ("while", "sweeps") for s in opaque):
        return False
    opaque = [s for s in opaque if s.kind != "library" or not is_routine(s.equation)]
    cost = sum((cost_of_step(block, s) for s in opaque), Cost())
    return cost.flops + cost.bytes < _SOON


def _keep(key: str | None, made: ObjectCode) -> None:
    if key and not made.callbacks:  # callbacks have numbers of this process
        cache.store(key, made.to_bytes())


def compile_program(
    program: Program, target: Target | None = None, donated: Sequence[int] = ()
) -> CompiledProgram:
    """Machine code of a program, made now or found on disk.

    Args:
      program: what to compile; its constants must be arrays.
      target: the machine; by default this one, and then quick code may be made first.
      donated: numbers of inputs in whose memory results may be computed.
    """
    quick = target is None
    target = target or Target.host()
    program = optimise(program)
    text = fingerprint(program)
    key = cache.key("program", text, target, *donated) if text else None
    found = cache.lookup(key) if key else None
    made = (
        ObjectCode.from_bytes(found) if found else make_object(program, target, quick, donated)
    )
    if not found:
        _keep(key, made)
    return CompiledProgram(program, made, key)


def compile_profiled(program: Program) -> tuple[CompiledProgram, Section]:
    """Machine code of a program that reads a clock around every step."""
    target = Target.host()
    program = optimise(program)
    block = group(program)
    clock = Section(block)
    module, context = write_module(block, target, clock)
    content = optimise_and_emit(module, target)
    made = ObjectCode(
        content, context.arena_bytes, sorted(context.symbols), context.callbacks, True
    )
    return CompiledProgram(program, made), clock
