"""Runs the emitter of one library operation on NumPy operands, outside of any program.

`run(primitive, *operands, **params)` writes a module with one function that calls the emitter,
compiles it in the plainest way, and returns the results and a failure, if there was one.
"""

from __future__ import annotations

import ctypes
import importlib
import itertools
from typing import Any

import numpy as np
from llvmlite import ir

from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.program import Equation, Literal, Variable
from wengert.engines.native import machine, symbols
from wengert.engines.native.code import Buffer, Code

MODULES = (
    "bits",
    "blas",
    "convolve",
    "cumulative",
    "extremum",
    "fourier",
    "lapack",
    "random_bits",
    "scatter",
    "sort",
    "spectral",
    "windows",
)


def operations() -> tuple[dict[str, Any], dict[str, Any]]:
    """All emitters and all conditions of the library, by primitive name."""
    emitters: dict[str, Any] = {}
    supports: dict[str, Any] = {}
    for name in MODULES:
        try:
            module = importlib.import_module(f"wengert.engines.native.library.{name}")
        except ModuleNotFoundError:
            continue
        emitters.update(module.OPERATIONS)
        supports.update(getattr(module, "SUPPORTS", {}))
    return emitters, supports


class Context:
    """What emitters ask of a program: scratch memory, symbols, failures, blocks of work."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.used = 0
        self.symbols: set[str] = set()
        self.failures: list[Any] = []
        self.arena: Any = None
        self.counter = itertools.count()
        self.quick = self.loops = False

    def scratch(self, code: Code, nbytes: int) -> Any:
        offset = self.used
        self.used += -(-nbytes // 64) * 64
        return code.offset(self.arena, offset)

    def use_symbol(self, symbol: str) -> None:
        self.symbols.add(symbol)

    def fail_if(self, code: Code, condition: Any, failure: Any) -> None:
        self.failures.append(failure)
        with code.builder.if_then(condition, likely=False):
            code.builder.ret(code.int64(len(self.failures)))
            # what follows a return is never reached, but must be a block of its own
            code.builder.position_at_end(code.builder.append_basic_block("unreached"))

    def parallel(
        self, code: Code, name: str, blocks: int, captured: Any, body: Any, key: Any = None
    ) -> None:
        del key  # every body is written anew
        types = [ir.IntType(64), *(value.type for value in captured)]
        signature = ir.FunctionType(ir.VoidType(), types)
        function = ir.Function(code.module, signature, f"{name}.{next(self.counter)}")
        set_attributes(function, self.target)
        inner = Code(ir.IRBuilder(function.append_basic_block("entry")), self.target, self)
        body(inner, function.args[0], list(function.args[1:]))
        inner.builder.ret_void()
        with code.loop(blocks) as block:
            code.builder.call(function, [block, *captured])


def set_attributes(function: Any, target: Any) -> None:
    # llvmlite knows no attributes with values
    set.add(function.attributes, '"prefer-vector-width"="512"')


def build(emit: Any, equation: Equation, target: Any) -> tuple[Any, Context, Any]:
    """The module of one equation, its context, and the arena size."""
    module = ir.Module("operation")
    pointer = ir.PointerType()
    signature = ir.FunctionType(ir.IntType(64), [pointer] * 3)
    entry = ir.Function(module, signature, "entry")
    set_attributes(entry, target)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    context = Context(target)
    code = Code(builder, target, context)
    context.arena = entry.args[2]

    def buffers(base: Any, types: list[ArrayType]) -> list[Buffer]:
        out = []
        for i, type_ in enumerate(types):
            address = builder.load(code.offset(base, i, 8), typ=pointer)
            out.append(Buffer(address, type_))
        return out

    operands = buffers(entry.args[0], [atom.type for atom in equation.inputs])
    results = buffers(entry.args[1], [variable.type for variable in equation.outputs])
    emit(code, equation, operands, results)
    code.builder.ret(code.int64(0))
    return module, context, entry


def compile_module(module: Any, context: Context, target: Any) -> Any:
    """The code with `entry` in memory."""
    addresses = {symbol: symbols.address(symbol) for symbol in context.symbols}
    return machine.load(machine.optimise_and_emit(module, target), addresses)


def aligned(nbytes: int) -> Any:
    """Memory that starts at a multiple of 64."""
    raw = np.full(nbytes + 64, 0xA5, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


class Operation:
    """A compiled equation."""

    def __init__(self, primitive: Any, types: list[Any], params: Any, target: Any) -> None:
        inputs = [
            Variable(t) if isinstance(t, ArrayType) else Literal(Array(np.asarray(t)[()]))
            for t in types
        ]
        out = primitive.type_rule(*(atom.type for atom in inputs), **params)
        self.out_types = out if primitive.multiple_results else [out]
        outputs = [Variable(t) for t in self.out_types]
        self.equation = Equation(primitive, inputs, outputs, params)
        emitters, supports = operations()
        condition = supports.get(primitive.name)
        self.supported = primitive.name in emitters and (
            condition is None or condition(self.equation)
        )
        if self.supported:
            emit = emitters[primitive.name]
            self.module, self.context, _ = build(emit, self.equation, target)
            signature = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3)
            code = compile_module(self.module, self.context, target)
            self.function = code.function("entry", signature)
            self.arena = aligned(max(self.context.used, 64))

    def prepare(self, operands: list[Any]) -> tuple[Any, list[Any]]:
        """A call without arguments that computes into the given results."""
        arrays = [np.ascontiguousarray(x).reshape(np.shape(x)) for x in operands]
        results = []
        for t in self.out_types:
            memory = aligned(max(t.size * t.dtype.itemsize, 1))
            flat = memory[: t.size * t.dtype.itemsize].view(t.dtype)
            results.append(flat.reshape(t.shape))
        pointers = [
            (ctypes.c_void_p * max(len(xs), 1))(*(x.ctypes.data for x in xs))
            for xs in (arrays, results)
        ]
        arguments = (*map(ctypes.addressof, pointers), self.arena.ctypes.data)
        keep = (arrays, pointers)
        return lambda keep=keep: self.function(*arguments), results

    def __call__(self, *operands: Any) -> list[Any]:
        call, results = self.prepare(list(operands))
        code = call()
        if code:
            raise self.context.failures[code - 1]()
        return results


def operation(primitive: Any, *operands: Any, target: Any = None, **params: Any) -> Operation:
    types = [ArrayType(np.shape(x), np.asarray(x).dtype) for x in operands]
    return Operation(primitive, types, params, target or machine.Target.host())


def run(primitive: Any, *operands: Any, target: Any = None, **params: Any) -> Any:
    """The results of the native operation, or None where the library leaves it to others."""
    arrays = [np.asarray(x) for x in operands]
    compiled = operation(primitive, *arrays, target=target, **params)
    return compiled(*arrays) if compiled.supported else None


def expected(primitive: Any, *operands: Any, **params: Any) -> list[Any]:
    """What the eager engine gives."""
    out = primitive.evaluate([Array(np.asarray(x)[()]) for x in operands], params)
    return [np.asarray(o._value) for o in (out if primitive.multiple_results else [out])]


def assert_same(actual: Any, wanted: Any, tolerance: float = 0.0) -> None:
    """Equal bits where the tolerance is zero; else close, relative to the largest element."""
    assert len(actual) == len(wanted)
    for a, w in zip(actual, wanted, strict=True):
        assert a.shape == w.shape and a.dtype == w.dtype, (a.dtype, w.dtype, a.shape, w.shape)
        if tolerance == 0 or not dtypes.is_inexact(w.dtype):
            np.testing.assert_array_equal(a.view(_bits(a)), w.view(_bits(w)))
            continue
        wide = np.complex128 if dtypes.is_complex(w.dtype) else np.float64
        a, w = a.astype(wide), w.astype(wide)
        finite = np.abs(w[np.isfinite(w)])
        scale = finite.max() if finite.size else 1.0
        np.testing.assert_allclose(a, w, rtol=tolerance, atol=tolerance * scale)


def _bits(array: Any) -> Any:
    size = array.dtype.itemsize
    if size == 16 or array.ndim == 0:
        return array.dtype
    return np.dtype(f"u{size}")
