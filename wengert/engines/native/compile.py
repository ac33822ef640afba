"""From a program to machine code: the stages, in order.

    program -> passes -> kernels -> buffers and loops -> LLVM -> machine code -> entry point

The entry point is a C function `i64 entry(ptr inputs, ptr outputs, ptr arena)`: arrays of
pointers to dense arrays, constants before inputs, and scratch memory. It returns `DONE`,
`FAILED` (run the program on the eager engine: it raises the error, with the user's line), or
`RAISED` (a callback or an interrupt left an exception).
"""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.core.interpreter import state
from wengert.core.lazy import lazy_module
from wengert.core.program import Atom, Program
from wengert.engines.eager import compile_program as compile_eager
from wengert.engines.native import cache, callbacks, tiers
from wengert.engines.native.blocks import BlockWriter
from wengert.engines.native.code import Code
from wengert.engines.native.context import DONE, FAILED, Context
from wengert.engines.native.cost import Cost, cost_of_block, cost_of_step
from wengert.engines.native.fingerprint import fingerprint
from wengert.engines.native.kernels import Block, OpaqueStep, group
from wengert.engines.native.machine import LoadedCode, Target, load, optimise_and_emit
from wengert.engines.native.profiling import Clock
from wengert.engines.native.symbols import address
from wengert.passes.pipeline import optimise

ir = lazy_module("llvmlite.ir")

_signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


#: Operations and bytes above which other threads may run Python during a call.
_LONG = 200_000
#: Operations and bytes of loops up to which quick code will do for the first call.
_SOON = 10_000_000


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
    """

    content: bytes
    arena_bytes: int
    symbols: list[str]
    callbacks: list[int]
    long: bool
    quick: bool = False

    def to_bytes(self) -> bytes:
        """All of it, for a file."""
        head = json.dumps([self.arena_bytes, self.symbols, self.long, self.quick]).encode()
        return len(head).to_bytes(8, "little") + head + self.content

    @staticmethod
    def from_bytes(data: bytes) -> ObjectCode:
        """What `to_bytes` has written."""
        end = 8 + int.from_bytes(data[:8], "little")
        arena_bytes, symbols, long, quick = json.loads(data[8:end])
        return ObjectCode(data[end:], arena_bytes, symbols, [], long, quick)


def is_long(block: Block) -> bool:
    """Whether a program may run for longer than it takes to let other threads in."""
    loops = any(isinstance(s, OpaqueStep) and s.kind != "library" for s in block.steps)
    cost = cost_of_block(block)
    return loops or cost.flops + cost.bytes > _LONG


class CompiledProgram:
    """Machine code of a program.

    Attributes:
      program: what was compiled, after the passes.
      entry: the address of the entry point.
      cell_address: where the address of the best entry point so far is kept.
      arena_bytes: the scratch memory that a call needs.
      constants: arrays whose addresses go before those of the inputs.
      long: whether a call may take long enough to let other threads run meanwhile.
    """

    def __init__(self, program: Program, made: ObjectCode, key: str | None = None) -> None:
        self.program = program
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
        """Compile the program as well as can be."""
        made = make_object(self.program, Target.host())
        self._use(made)
        _keep(self._key, made)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The results for NumPy values of the program's types."""
        arrays = [
            np.require(value, type_.dtype, ["C", "A"])
            for value, type_ in zip(values, self.program.in_types, strict=True)
        ]
        outputs = [np.empty(t.shape, t.dtype) for t in self.program.out_types]
        inputs = _pointers([*self.constants, *arrays])
        arena = np.empty(self.arena_bytes + 64, np.uint8)
        start = -(-arena.ctypes.data // 64) * 64
        status = self._function(inputs, _pointers(outputs), start)
        if status != DONE:
            raise self.failure(status, values)
        return [out if out.ndim else out[()] for out in outputs]

    def failure(self, status: int, values: Sequence[Any]) -> BaseException:
        """The exception that a call ended with."""
        error = callbacks.take_error() if status != FAILED else None
        if error is not None:
            return error
        if self._eager is None:
            self._eager = compile_eager(self.program)
        try:
            state.run(self._eager, values)
        except Exception as raised:
            return raised
        return RuntimeError(
            f"machine code failed with status {status}, the eager engine did not"
        )


def _pointers(arrays: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))


def write_module(
    block: Block,
    target: Target,
    clock: Any = None,
    make: type[Context] = Context,
    counted: bool = False,
) -> tuple[Any, Context]:
    """The LLVM module of a block, with its entry point.

    Args:
      block: the steps.
      target: the machine.
      clock: is read around every step.
      make: of what kind the context is.
      counted: whether the entry point counts its calls.
    """
    module = ir.Module("wengert")
    context = make(module, target)
    pointer = ir.PointerType()
    signature = ir.FunctionType(ir.IntType(64), [pointer, pointer, pointer])
    function = ir.Function(module, signature, "entry")
    code = Code(ir.IRBuilder(function.append_basic_block("entry")), target, context)
    inputs, outputs, context.arena = function.args
    if counted:
        tiers.count_calls(code)
    program = block.program
    given = _loaded(code, inputs, [*program.constants, *program.inputs])
    wanted = _loaded(code, outputs, program.outputs)
    BlockWriter(context, code, block, given, wanted).write(clock)
    context.finish(code)
    return module, context


def _loaded(code: Code, table: Any, atoms: Sequence[Atom]) -> list[Any]:
    """The pointers in a table, one for each variable."""
    table = code.context.span(code, table, 8 * len(atoms), "a table of pointers")
    pointers = []
    for i, atom in enumerate(atoms):
        pointer = code.builder.load(code.offset(table, 8 * i), typ=code.pointer_type)
        nbytes = atom.type.size * atom.type.dtype.itemsize
        pointers.append(code.context.span(code, pointer, nbytes, atom))
    return pointers


def make_object(program: Program, target: Target, quick: bool = False) -> ObjectCode:
    """Object code of a program that has been through the passes.

    Kernels are vector code already, and expressions are shared: LLVM does not make them faster
    by more than putting memory into registers. Code without loops gains nothing at all.
    """
    block = group(program)
    quick = quick and _runs_shortly(block)
    module, context = write_module(block, target, counted=quick)
    level = 1 if context.loops and not quick else 0
    content = optimise_and_emit(module, target, level)
    symbols = sorted(context.symbols)
    return ObjectCode(
        content, context.arena_bytes, symbols, context.callbacks, is_long(block), quick
    )


def _runs_shortly(block: Block) -> bool:
    """Whether the first call is over soon, even in code that is not the best."""
    control = [s for s in block.steps if isinstance(s, OpaqueStep) and s.kind == "control"]
    if any(s.equation.primitive.name in ("while", "sweeps") for s in control):
        return False
    cost = sum((cost_of_step(block, s) for s in control), Cost())
    return cost.flops + cost.bytes < _SOON


def _keep(key: str | None, made: ObjectCode) -> None:
    if key and not made.callbacks:  # callbacks have numbers of this process
        cache.store(key, made.to_bytes())


def compile_program(program: Program, target: Target | None = None) -> CompiledProgram:
    """Machine code of a program, made now or found on disk.

    Args:
      program: what to compile; its constants must be arrays.
      target: the machine; by default this one, and then quick code may be made first.
    """
    quick = target is None
    target = target or Target.host()
    program = optimise(program)
    text = fingerprint(program)
    key = cache.key("program", text, target) if text else None
    found = cache.lookup(key) if key else None
    made = ObjectCode.from_bytes(found) if found else make_object(program, target, quick)
    if not found:
        _keep(key, made)
    return CompiledProgram(program, made, key)


def compile_profiled(program: Program) -> tuple[CompiledProgram, Clock]:
    """Machine code of a program that reads a clock around every step."""
    target = Target.host()
    program = optimise(program)
    block = group(program)
    clock = Clock(block)
    module, context = write_module(block, target, clock)
    content = optimise_and_emit(module, target)
    made = ObjectCode(
        content, context.arena_bytes, sorted(context.symbols), context.callbacks, True
    )
    return CompiledProgram(program, made), clock
