"""Native functions by themselves, compiled and called from Python: for tests and measurements.

`Standalone` is a function of arrays. `Comparison` runs a float32 function against the float64
one over ranges of all bit patterns, in machine code from end to end, so that all 2**32
arguments take seconds.

>>> exp = Standalone("exp", np.float32, Target.host())
>>> exp(np.float32([0.0, 1.0]))
array([1.       , 2.7182817], dtype=float32)
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.engines.native.machine import Target, assembly, load, optimise_and_emit
from wengert.engines.native.math import FUNCTIONS, huge
from wengert.engines.native.vectors import Vectors, element_type

ir = lazy_module("llvmlite.ir")


def _loop_module(
    name: str, pointers: int, lanes: int, target: Target, body: Callable[..., None]
) -> Any:
    """A module with `void loop(pointers..., i64 start, i64 end)`.

    `body(v, pointers, index)` is written for every `lanes`-th index.
    """
    module = ir.Module(name)
    pointer, size = ir.PointerType(), ir.IntType(64)
    type_ = ir.FunctionType(ir.VoidType(), [pointer] * pointers + [size, size])
    function = ir.Function(module, type_, "loop")
    entry, inside = function.append_basic_block(), function.append_basic_block()
    builder = ir.IRBuilder(entry)
    builder.branch(inside)
    builder.position_at_end(inside)
    *places, start, end = function.args
    index = builder.phi(size)
    index.add_incoming(start, entry)
    v = Vectors(builder, lanes, target.has_fma, target.vector_bytes == 64)
    body(v, places, index)
    following = builder.add(index, ir.Constant(size, lanes))
    index.add_incoming(following, builder.block)
    after = function.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
    builder.position_at_end(after)
    builder.ret_void()
    return module


def _loaded(module: Any, pointers: int, target: Target) -> Any:
    symbols = {f"math.{name}": huge.address(name) for name in ("reduce32", "reduce64")}
    code = load(optimise_and_emit(module, target), symbols, ["loop"])
    arguments = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * 2
    return code.function("loop", ctypes.CFUNCTYPE(None, *arguments))


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

        def body(v: Vectors, places: list[Any], index: Any) -> None:
            element = element_type(self.dtype)
            at = [v.builder.gep(p, [index], source_etype=element) for p in places]
            operands = [v.builder.load(p, typ=v.vector_of(element)) for p in at[:-1]]
            for operand in operands:
                operand.align = self.dtype.itemsize
            v.builder.store(FUNCTIONS[name](v, *operands), at[-1]).align = self.dtype.itemsize

        self.module = _loop_module(name, self.arity + 1, self.lanes, target, body)
        self._loop = _loaded(self.module, self.arity + 1, target)

    def run(self, operands: list[Any], out: Any) -> None:
        """Fill `out` from dense arrays whose length is a multiple of `lanes`, above 0."""
        self._loop(*(a.ctypes.data for a in (*operands, out)), 0, out.size)

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
        """Machine instructions in the loop."""
        lines = assembly(self.module, self.target).partition("\nloop:")[2].splitlines()
        labels = [i for i, line in enumerate(lines) if line.startswith(".LBB0_")]
        ends = [i for i, line in enumerate(lines) if line.startswith("\tj")]
        body = lines[labels[0] : ends[-1] + 1] if labels else lines
        return sum(line.startswith("\t") and not line.startswith("\t.") for line in body)


class Comparison:
    """The largest error of a float32 function, with its float64 version as the truth.

    Args:
      name: of a function of one operand in `FUNCTIONS`.
      target: the machine.
    """

    lanes = 16

    def __init__(self, name: str, target: Target) -> None:
        def body(v: Vectors, places: list[Any], index: Any) -> None:
            (worst, where, step) = places
            int32 = v.vector_of(ir.IntType(32))
            stride = v.builder.load(step, typ=ir.IntType(32))
            first = v.builder.mul(v.builder.trunc(index, ir.IntType(32)), stride)
            offsets = v.builder.mul(v.integers(range(v.lanes), 32), v.splat(stride))
            bits = v.builder.add(v.splat(first), offsets)
            error = _error(v, FUNCTIONS[name], v.as_float(bits))
            old = v.builder.load(worst, typ=error.type)
            places_of_old = v.builder.load(where, typ=int32)
            larger = v.compare("gt", error, old)
            v.builder.store(v.select(larger, error, old), worst)
            v.builder.store(v.select(larger, bits, places_of_old), where)

        module = _loop_module(name, 3, self.lanes, target, body)
        self._loop = _loaded(module, 3, target)

    def __call__(self, start: int, end: int, stride: int = 1) -> tuple[float, float]:
        """The largest error in ulp, and its argument, over multiples of `stride` as bits.

        Args:
          start, end: of the factors of the stride; multiples of 16.
        """
        memory = np.zeros(512 + 64, np.uint8)
        memory = memory[-memory.ctypes.data % 64 :]
        worst, where = memory[:128].view(np.float64), memory[128:192].view(np.float32)
        memory[192:196].view(np.uint32)[:] = stride
        base = memory.ctypes.data
        self._loop(base, base + 128, base + 192, start, end)
        place = int(worst.argmax())
        return float(worst[place]), float(where[place])


def _error(v: Vectors, function: Callable[..., Any], x: Any) -> Any:
    """How far a float32 function is from the float64 one, in float32 ulps of the result.

    Infinitely, where only one is NaN or their signs differ.
    """
    got, want = v.widen(function(v, x)), function(v, v.widen(x))
    exponent = v.constant(0x7FF << 52, v.as_bits(want))
    power = v.as_float(v.builder.and_(v.as_bits(want), exponent))
    power = v.fmin(v.constant(2.0**127, got), v.fmax(power, v.constant(2.0**-126, got)))
    inverse = v.as_float(
        v.builder.sub(v.constant((2 * 1023 + 23) << 52, exponent), v.as_bits(power))
    )

    def bounded(y: Any) -> Any:
        # infinity is as far as the number that would come after the largest one
        edge = v.constant(2.0**128, y)
        return v.select(v.compare("gt", v.fabs(y), edge), v.copysign(edge, y), y)

    error = v.mul(v.fabs(v.sub(bounded(got), bounded(want))), inverse)
    zero, infinite = v.constant(0.0, got), v.constant(np.inf, got)
    signs = v.builder.xor(v.as_bits(got), v.as_bits(want))
    wrong = v.compare("lt", signs, v.constant(0, signs))  # also of zeros
    wrong = v.builder.or_(wrong, v.is_nan(error))
    both_nan = v.builder.and_(v.is_nan(got), v.is_nan(want))
    return v.select(both_nan, zero, v.select(wrong, infinite, error))
