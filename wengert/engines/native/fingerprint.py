"""A text that determines the machine code of a program: what object code on disk is found by.

Two programs with equal texts are compiled to equal code. Values of constants do not occur,
since code takes them by address; literals and parameters do, exactly. A program with a
parameter of a kind that is not known here, such as a function, or with a primitive that is not
our own has no such text.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from wengert.core.array import Array, ArrayType
from wengert.core.program import Atom, Equation, Literal, Program, Variable


class Unknown(TypeError):
    """A parameter or a primitive that no text determines."""


def fingerprint(program: Program) -> str | None:
    """The text of a program, or None where it has none.

    >>> from wengert.core.tracing import trace
    >>> from wengert.core.array import ArrayType
    >>> program = trace(lambda xs: [xs[0] * 2.5], [ArrayType((3,), "float32")])
    >>> fingerprint(program)
    'inputs float32(3,)/constants /Mul 0,float:2.5>float32(3,)/outputs 1'
    """
    try:
        return "/".join(_parts(program))
    except Unknown:
        return None


def operation_text(equation: Equation, types: Iterable[ArrayType]) -> str | None:
    """A text that determines the code of an operation on memory, or None where it has none.

    Args:
      equation: the operation.
      types: those of its operands and results.
    """
    try:
        return f"{_operation(equation)}:{','.join(map(_type, types))}"
    except Unknown:
        return None


def _parts(program: Program) -> Iterator[str]:
    numbers: dict[Variable, int] = {}

    def define(variable: Variable) -> str:
        numbers[variable] = len(numbers)
        return _type(variable.type)

    def read(atom: Atom) -> str:
        if isinstance(atom, Variable):
            return str(numbers[atom])
        assert isinstance(atom, Literal)
        return _value(atom.value)

    yield f"inputs {','.join(map(define, program.inputs))}"
    yield f"constants {','.join(map(define, program.constants))}"
    for equation in program.equations:
        inputs = ",".join(map(read, equation.inputs))
        outputs = ",".join(map(define, equation.outputs))
        yield f"{_operation(equation)} {inputs}>{outputs}"
    yield f"outputs {','.join(map(read, program.outputs))}"


def _operation(equation: Equation) -> str:
    """A primitive with its parameters."""
    name = type(equation.primitive).__qualname__
    if not equation.primitive.own:
        raise Unknown(name)
    params = ",".join(f"{k}={_value(v)}" for k, v in sorted(equation.params.items()))
    return f"{name}({params})" if params else name


def _type(type_: ArrayType) -> str:
    return f"{type_.dtype.name}{type_.shape}{'*' if type_.weak_type else ''}"


def _value(value: Any) -> str:
    if value is None or isinstance(value, str | bool | int | float | complex | enum.Enum):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, np.dtype):
        return f"dtype:{value.name}"
    if isinstance(value, Array):
        return f"{_value(value._value)}{'*' if value.weak_type else ''}"
    if isinstance(value, np.generic):
        return f"{value.dtype.name}:{value.tobytes().hex()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name}{value.shape}:{value.tobytes().hex()}"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({','.join(map(_value, value))})"
    if isinstance(value, ArrayType):
        return _type(value)
    if isinstance(value, Program):
        return f"{{{'/'.join(_parts(value))}}}"
    raise Unknown(type(value).__name__)
