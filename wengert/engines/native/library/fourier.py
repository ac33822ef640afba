"""Fourier transforms by the loops inside NumPy: the eager engine's code, without Python.

NumPy's transforms are ufuncs; the loop of a ufunc is a C function with a published signature,
`loop(pointers, dimensions, steps, data)`, and its address stands in the ufunc object (NumPy's
manual, "PyUFuncObject"). Plans are NumPy's own, kept between calls; double precision results
are equal bit by bit. Single precision stays in single precision, where NumPy's forward
transforms compute in double. SciPy's transforms have no C interface. Several dimensions are
transformed in NumPy's order; what is large is split over threads.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native import symbols
from wengert.engines.native.code import Buffer, Code

ir = lazy_module("llvmlite.ir")
_umath = lazy_module("numpy.fft._pocketfft_umath")

#: Where a `PyUFuncObject` has its loops: behind the header, four integers.
_FUNCTIONS = object.__basicsize__ + 16
_TYPES = {"complex64": "F", "complex128": "D", "float32": "f", "float64": "d"}

#: Elements that are worth splitting over threads, and into how many blocks.
_MANY = 1 << 15
_BLOCKS = 8


def _loop_address(name: str) -> int:
    """The address of a loop, named like `fft_D`: ufunc and type of its input."""
    ufunc_name, _, letter = name.rpartition("_")
    ufunc = getattr(_umath, ufunc_name)
    number = next(i for i, types in enumerate(ufunc.types) if types.startswith(letter))
    functions = ctypes.c_void_p.from_address(id(ufunc) + _FUNCTIONS).value or 0
    return int(ctypes.c_void_p.from_address(functions + 8 * number).value or 0)


symbols.provide("pocketfft", _loop_address)


def _transform(
    code: Code,
    kind: str,
    source: tuple[Any, DType],
    target: tuple[Any, DType],
    sizes: tuple[int, int, int, int],
    length: int,
) -> None:
    """Transform along the middle one of three dimensions.

    Args:
      sizes: outer, elements along the dimension before and after, inner.
      length: of the signal.
    """
    outer, before, after, inner = sizes
    name = kind
    if kind == "rfft":
        name = "rfft_n_odd" if length % 2 else "rfft_n_even"
    symbol = f"pocketfft.{name}_{_TYPES[source[1].name]}"
    wide = source[1].itemsize, target[1].itemsize
    # what one call does: rows side by side where there are any inside, else all outer ones
    rows = inner if inner > 1 else outer
    calls = outer if inner > 1 else 1
    steps = [before * inner * wide[0], after * inner * wide[1]]
    if inner > 1:
        row_steps = list(wide)
    else:
        row_steps = steps
    pieces = min(rows, _BLOCKS) if outer * inner * max(before, after) >= _MANY else 1
    chunk = -(-rows // pieces)

    def body(code: Code, block: Any, given: Sequence[Any]) -> None:
        first = code.builder.mul(block, code.int64(chunk))
        left = code.builder.sub(code.int64(rows), first)
        full = code.int64(chunk)
        count = code.builder.select(code.builder.icmp_signed("<", left, full), left, full)
        with code.loop(calls) as i:
            pointers = [
                code.offset(code.offset(p, i, step), first, row)
                for p, step, row in zip(given, steps, row_steps, strict=True)
            ]
            arguments = (
                pointers,
                count,
                row_steps,
                (before, after),
                (
                    inner * wide[0],
                    inner * wide[1],
                ),
            )
            _call(code, symbol, kind, dtypes.real_dtype(source[1]), length, *arguments)

    code.parallel("transforms", -(-rows // chunk), [source[0], target[0]], body)


def _call(
    code: Code,
    symbol: str,
    kind: str,
    real: DType,
    length: int,
    pointers: Sequence[Any],
    count: Any,
    row_steps: Sequence[int],
    sizes: tuple[int, int],
    element_steps: tuple[int, int],
) -> None:
    """Call a loop of NumPy's: input, factor, output; sizes of the loop and of the core."""
    i64 = ir.IntType(64)
    inverse = kind in ("ifft", "irfft")
    v = code.vectors(1)
    number = np.reciprocal(length, dtype=real) if inverse else 1
    factor = code.stack(v.type(real), v.constant(number, v.type(real)))
    byte = ir.IntType(8)
    forward = code.stack(byte, ir.Constant(byte, int(not inverse)))
    arrays = [pointers[0], factor, pointers[1]]
    arguments = _array(code, arrays, code.pointer_type)
    dimensions = _array(code, [count, *map(code.int64, sizes)], i64)
    steps = [row_steps[0], 0, row_steps[1], *element_steps]
    distances = _array(code, [code.int64(s) for s in steps], i64)
    code.call(symbol, ir.VoidType(), [arguments, dimensions, distances, forward])


def _array(code: Code, values: Sequence[Any], type_: Any) -> Any:
    """Values in an array on the stack."""
    array = code.stack(ir.ArrayType(type_, len(values)))
    for i, value in enumerate(values):
        code.builder.store(value, code.offset(array, 8 * i))
    return array


def emit_fft(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a Fourier transform over the last dimensions."""
    (x,), (result,) = operands, results
    kind, lengths = equation.params["fft_type"], equation.params["fft_lengths"]
    if result.type.size == 0:
        return
    if not lengths:
        code.copy(result.pointer, x.pointer, x.type.nbytes)
        return
    shape, rank = x.type.shape, len(lengths)
    first = len(shape) - rank
    last = len(shape) - 1
    if kind == "irfft":
        # all but the last dimension in complex numbers first, in NumPy's order
        order = [*range(first, last), last]
    else:
        order = [last, *range(last - 1, first - 1, -1)]
    here, dtype = x.pointer, x.type.dtype
    complex_dtype = dtypes.complex_dtype(dtype)
    spare: Any = None
    for axis in order:
        step = _step_kind(kind, axis == last)
        length = lengths[axis - first]
        after = result.type.shape[axis]
        sizes = math.prod(shape[:axis]), shape[axis], after, math.prod(shape[axis + 1 :])
        if step == "irfft":
            target, to_dtype = result.pointer, result.type.dtype
        elif kind == "irfft":
            if spare is None:
                spare = code.scratch(x.type.nbytes)
            target, to_dtype = spare, dtype
        else:
            target, to_dtype = result.pointer, complex_dtype
        _transform(code, step, (here, dtype), (target, to_dtype), sizes, length)
        here, dtype = target, to_dtype
        shape = (*shape[:axis], after, *shape[axis + 1 :])


def _step_kind(kind: str, is_last: bool) -> str:
    """The transform along one dimension."""
    if is_last:
        return kind
    return {"rfft": "fft", "irfft": "ifft"}.get(kind, kind)


def _is_served(equation: Equation) -> bool:
    """Whether there is something to transform, and NumPy is laid out as expected."""
    return all(n > 0 for n in equation.params["fft_lengths"])


OPERATIONS = {"fft": emit_fft}
SUPPORTS = {"fft": _is_served}
ROUTINES = SUPPORTS
