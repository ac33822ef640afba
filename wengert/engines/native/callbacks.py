"""Calls from machine code back into the eager engine, for what has no machine code.

A program's callbacks are numbered; the code passes the number and an array of pointers, first
those of the operands, then those of the results. An exception is kept until the program has
returned.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core.array import ArrayType
from wengert.core.primitive import typed_literals
from wengert.core.program import Equation, Literal
from wengert.engines.native.symbols import provide

_numbers = itertools.count()
_registered: dict[int, Equation] = {}


class _Pending(threading.local):
    """The exception that a callback of this thread raised, until the program returns."""

    error: BaseException | None = None


_pending = _Pending()


def register(equation: Equation) -> int:
    """The number by which code calls an equation."""
    number = next(_numbers)
    _registered[number] = equation
    return number


def release(numbers: Sequence[int]) -> None:
    """Forget equations whose program is gone."""
    for number in numbers:
        _registered.pop(number, None)


def take_error() -> BaseException | None:
    """The exception of the callback that ended the last program of this thread."""
    error, _pending.error = _pending.error, None
    return error


def view(address: int, type_: ArrayType) -> Any:
    """The array of some type at an address."""
    if not type_.nbytes:
        return np.empty(type_.shape, type_.dtype)
    memory = (ctypes.c_char * type_.nbytes).from_address(address)
    flat = np.frombuffer(memoryview(memory), type_.dtype, type_.size)
    return flat.reshape(type_.shape)


def evaluate(equation: Equation, addresses: Sequence[int]) -> None:
    """Compute an equation on arrays in memory."""
    given = iter(addresses)
    operands = []
    for atom in equation.inputs:
        if type(atom) is Literal:
            value = atom.value
            operands.append(value._value if hasattr(value, "_value") else value)
        else:
            array = view(next(given), atom.type)
            operands.append(array if array.ndim else array[()])
    with np.errstate(all="ignore"):  # `state.run` may be what runs the program
        out = equation.primitive.compute(*typed_literals(operands), **equation.params)
    results = out if equation.primitive.multiple_results else [out]
    for variable, value in zip(equation.outputs, results, strict=True):
        view(next(given), variable.type)[...] = value


def _dispatch(number: int, pointers: int) -> int:
    equation = _registered[number]
    count = len(equation.outputs) + sum(type(a) is not Literal for a in equation.inputs)
    addresses = list((ctypes.c_int64 * count).from_address(pointers))
    try:
        evaluate(equation, addresses)
    except errors.WengertError as error:
        _pending.error = error
        return 1
    except Exception as error:
        _pending.error = errors.with_operation(
            error, equation.primitive.name, equation.inputs, equation.location
        )
        return 1
    except BaseException as error:  # an interrupt, say
        _pending.error = error
        return 1
    return 0


_signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_entry = _signature(_dispatch)
provide("callback", lambda name: int(ctypes.cast(_entry, ctypes.c_void_p).value or 0))
