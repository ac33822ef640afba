"""A native function by itself, compiled and called from Python: for tests and measurements.

>>> exp = Standalone("exp", np.float32, Target.host())
>>> exp(np.float32([0.0, 1.0]))
array([1.       , 2.7182817], dtype=float32)
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.engines.native.machine import Target, assembly, load, optimise_and_emit
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors, element_type

ir = lazy_module("llvmlite.ir")


class Standalone:
    """`out[i] = function(x[i], ...)` in a loop over vectors.

    Args:
      name: of a function in `FUNCTIONS`.
      dtype: float32 or float64.
      target: the machine.
      lanes: elements per step; by default a full vector.
    """

    def __init__(self, name: str, dtype: Any, target: Target, lanes: int = 0) -> None:
        self.dtype = np.dtype(dtype)
        self.lanes = lanes or target.vector_bytes // self.dtype.itemsize
        self.target = target
        self.arity = FUNCTIONS[name].__code__.co_argcount - 1
        self.module = self._build(name)
        code = load(optimise_and_emit(self.module, target), exports=["loop"])
        arguments = [ctypes.c_void_p] * (self.arity + 1) + [ctypes.c_int64]
        self._loop = code.function("loop", ctypes.CFUNCTYPE(None, *arguments))

    def _build(self, name: str) -> Any:
        module = ir.Module(name)
        pointer, size = ir.PointerType(), ir.IntType(64)
        type_ = ir.FunctionType(ir.VoidType(), [pointer] * (self.arity + 1) + [size])
        function = ir.Function(module, type_, "loop")
        entry, body = function.append_basic_block(), function.append_basic_block()
        builder = ir.IRBuilder(entry)
        builder.branch(body)
        builder.position_at_end(body)
        target = self.target
        v = Vectors(builder, self.lanes, target.has_fma, target.vector_bytes == 64)
        index = builder.phi(size)
        index.add_incoming(ir.Constant(size, 0), entry)
        element = element_type(self.dtype)
        places = [builder.gep(p, [index], source_etype=element) for p in function.args[:-1]]
        operands = [builder.load(p, typ=v.vector_of(element)) for p in places[:-1]]
        for operand in operands:
            operand.align = self.dtype.itemsize
        out = builder.store(FUNCTIONS[name](v, *operands), places[-1])
        out.align = self.dtype.itemsize
        following = builder.add(index, ir.Constant(size, self.lanes))
        index.add_incoming(following, builder.block)
        end = function.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", following, function.args[-1]), body, end)
        builder.position_at_end(end)
        builder.ret_void()
        return module

    def run(self, operands: list[Any], out: Any) -> None:
        """Fill `out` from dense arrays whose length is a multiple of `lanes`, above 0."""
        self._loop(*(a.ctypes.data for a in (*operands, out)), out.size)

    def __call__(self, *operands: Any) -> Any:
        size = np.broadcast_shapes(*(np.shape(x) for x in operands))[0]
        padding = -size % self.lanes
        padded = [
            np.pad(np.broadcast_to(np.asarray(x, self.dtype), size), (0, padding))
            for x in operands
        ]
        out = np.empty(size + padding, self.dtype)
        if out.size:
            self.run(padded, out)
        return out[:size]

    def instructions(self) -> int:
        """Machine instructions of the loop."""
        lines = assembly(self.module, self.target).splitlines()
        return sum(line.startswith("\t") and not line.startswith("\t.") for line in lines)
