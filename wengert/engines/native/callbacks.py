"""Calls from machine code back into the eager engine, for what has no machine code.

A program's callbacks are numbered; the code passes the number and an array of pointers, first
those of the operands, then those of the results. What they raise is the exception of the
thread from then on: the program ends with `RAISED`, and its caller returns to Python.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core.array import ArrayType
from wengert.core.interpreter import quiet
from wengert.core.primitive import typed_literals
from wengert.core.program import Equation, Literal
from wengert.engines.native.runtime.python_calls import entry
from wengert.engines.native.symbols import provide

_numbers = itertools.count()
_registered: dict[int, Equation] = {}


def register(equation: Equation) -> int:
    """The number by which code calls an equation."""
    number = next(_numbers)
    _registered[number] = equation
    return number


def release(numbers: Sequence[int]) -> None:
    """Forget equations whose program is gone."""
    for number in numbers:
        _registered.pop(number, None)


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
    out = equation.primitive.compute(*typed_literals(operands), **equation.params)
    results = out if equation.primitive.multiple_results else [out]
    for variable, value in zip(equation.outputs, results, strict=True):
        view(next(given), variable.type)[...] = value


def _dispatch(number: int, pointers: int) -> None:
    equation = _registered[number]
    count = len(equation.outputs) + sum(type(a) is not Literal for a in equation.inputs)
    addresses = list((ctypes.c_int64 * count).from_address(pointers))
    try:
        quiet().run(evaluate, equation, addresses)
    except errors.WengertError:
        raise
    except Exception as error:
        told = errors.with_operation(
            error, equation.primitive.name, equation.inputs, equation.location
        )
        if told is error:
            raise
        raise told from error


_entry = entry(_dispatch)
provide("callback", lambda name: _entry())
