"""From a program to machine code: the stages, in order.

    program -> passes -> kernels -> buffers and loops -> LLVM -> machine code -> entry point

The entry point is a C function `i64 entry(ptr inputs, ptr outputs, ptr arena)`: arrays of
pointers to dense arrays, constants before inputs, and scratch memory. It returns `DONE`,
`FAILED` (run the program on the eager engine: it raises the error, with the user's line), or
`RAISED` (a callback or an interrupt left an exception).
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.engines.eager import compile_program as compile_eager
from wengert.engines.native import callbacks
from wengert.engines.native.blocks import BlockWriter, nbytes
from wengert.engines.native.code import Code
from wengert.engines.native.context import DONE, FAILED, Context
from wengert.engines.native.kernels import Block, group
from wengert.engines.native.machine import LoadedCode, Target, load, optimise_and_emit
from wengert.engines.native.symbols import address
from wengert.passes.pipeline import optimise

ir = lazy_module("llvmlite.ir")

_signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class CompiledProgram:
    """Machine code of a program.

    Attributes:
      program: what was compiled, after the passes.
      entry: the address of the entry point.
      arena_bytes: the scratch memory that a call needs.
      constants: arrays whose addresses go before those of the inputs.
      long: whether a call may take long enough to let other threads run meanwhile.
    """

    def __init__(self, program: Program, code: LoadedCode, context: Context) -> None:
        self.program = program
        self.entry = code.address("entry")
        self.arena_bytes = context.arena_bytes
        self.constants = [
            np.require(v._value, requirements=["C", "A"]) for v in program.constant_values
        ]
        self.long = True
        self._code = code
        self._function = _signature(self.entry)
        self._eager: Any = None
        if context.callbacks:
            weakref.finalize(self, callbacks.release, context.callbacks)

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
            self._eager(values)
        except Exception as raised:
            return raised
        return RuntimeError(
            f"machine code failed with status {status}, the eager engine did not"
        )


def _pointers(arrays: Sequence[Any]) -> Any:
    return (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))


def write_module(block: Block, target: Target) -> tuple[Any, Context]:
    """The LLVM module of a block, with its entry point."""
    module = ir.Module("wengert")
    context = Context(module, target)
    pointer = ir.PointerType()
    signature = ir.FunctionType(ir.IntType(64), [pointer, pointer, pointer])
    function = ir.Function(module, signature, "entry")
    code = Code(ir.IRBuilder(function.append_basic_block("entry")), target, context)
    inputs, outputs, context.arena = function.args
    program = block.program
    given = _loaded(code, inputs, len(program.constants) + len(program.inputs))
    wanted = _loaded(code, outputs, len(program.outputs))
    BlockWriter(context, code, block, given, wanted).write()
    code.builder.ret(code.int64(DONE))
    return module, context


def _loaded(code: Code, table: Any, count: int) -> list[Any]:
    """The pointers in a table."""
    return [
        code.builder.load(code.offset(table, 8 * i), typ=code.pointer_type)
        for i in range(count)
    ]


def compile_program(program: Program, target: Target | None = None) -> CompiledProgram:
    """Machine code of a program.

    Args:
      program: what to compile; its constants must be arrays.
      target: the machine; by default this one.
    """
    target = target or Target.host()
    program = optimise(program)
    module, context = write_module(group(program), target)
    object_code = optimise_and_emit(module, target)
    symbols = {symbol: address(symbol) for symbol in context.symbols}
    return CompiledProgram(program, load(object_code, symbols), context)
