"""Cases as Python code that runs: what is printed where engines disagree.

The code builds the same program through its primitives and calls `check_function` on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Array
from wengert.core.program import Atom, Literal, Program, Variable
from wengert.core.tracing import trace
from wengert.testing.fuzzing.cases import Case
from wengert.testing.fuzzing.oracle import check

_HEAD = """import numpy as np
from numpy import inf, nan
from ml_dtypes import bfloat16
from wengert.core.array import Array, ArrayType
from wengert.core.tracing import trace
from wengert.primitives.convolve import ConvDimensionNumbers
from wengert.testing.fuzzing import check_function, primitive as p
"""
#: Elements up to which an array is printed number by number.
_MOST_NUMBERS = 200


def check_function(
    function: Callable[..., Sequence[Any]],
    values: Sequence[Any],
    way: str = "plain",
    engine: str = "native",
) -> None:
    """Check a function of arrays, written with primitives, as `check` checks a program.

    >>> import numpy as np
    >>> from wengert.testing.fuzzing import check_function, primitive as p
    >>> check_function(lambda x: [p("neg")(x)], [np.ones(3)])
    """
    given = [Array(np.asarray(v)[()]) for v in values]
    program = trace(lambda args: list(function(*args)), [v.type for v in given])
    check(Case(program, [v._value for v in given]), way, engine)


def as_code(case: Case, way: str = "plain", engine: str = "native") -> str:
    """Python code that checks a case.

    >>> from wengert.testing.fuzzing import random_case
    >>> exec(as_code(random_case(5)), {})
    """
    lines = [_HEAD]
    lines += _definition(case.program, "f", 0)
    values = [f"    {number(v)}," for v in case.values]
    call = f"check_function(f, values, {way!r}, {engine!r})"
    lines += ["", "values = [", *values, "]", call]
    return "\n".join(lines) + "\n"


def number(value: Any) -> str:
    """Code for a NumPy value."""
    array = np.asarray(value)
    name = "bfloat16" if array.dtype == dtypes.bfloat16 else f"np.{array.dtype.name}"
    name = "np.bool_" if array.dtype.kind == "b" else name
    if array.dtype == dtypes.bfloat16:
        listed = array.astype(np.float32).tolist()
    else:
        listed = array.tolist()
    if array.size > _MOST_NUMBERS:
        data = array.tobytes()
        return f"np.frombuffer({data!r}, {name}).reshape({array.shape})"
    return f"np.array({listed!r}, {name}).reshape({array.shape})"


def _definition(program: Program, name: str, depth: int) -> list[str]:
    """A function definition; the programs among its parameters are defined inside it."""
    names: dict[Variable, str] = {}

    def named(variable: Variable) -> str:
        return names.setdefault(variable, f"{'vwxyz'[depth % 5]}{len(names)}")

    def read(atom: Atom) -> str:
        if isinstance(atom, Variable):
            return named(atom)
        assert isinstance(atom, Literal)
        if type(atom.value) is Array:
            return f"Array({number(atom.value._value)}[()])"
        return repr(atom.value)

    lines = [f"def {name}({', '.join(map(named, program.inputs))}):"]
    for variable, value in zip(program.constants, program.constant_values, strict=True):
        lines.append(f"    {named(variable)} = Array({number(value._value)})")
    for i, equation in enumerate(program.equations):
        params = []
        for key, value in equation.params.items():
            text, before = _param(value, f"{name}_{i}_{key}", depth + 1)
            lines += [f"    {line}" for line in before]
            params.append(f"{key}={text}")
        operands = ", ".join([*map(read, equation.inputs), *params])
        left = ", ".join(map(named, equation.outputs))
        comma = "," if equation.primitive.multiple_results else ""
        call = f"p({equation.primitive.name!r})({operands})"
        lines.append(f"    {left}{comma} = {call}" if left else f"    {call}")
    lines.append(f"    return [{', '.join(map(read, program.outputs))}]")
    return lines


def _param(value: Any, name: str, depth: int) -> tuple[str, list[str]]:
    """Code for a parameter, and what must be defined before it."""
    if isinstance(value, Program):
        lines = _definition(value, name, depth)
        types = ", ".join(_type(t) for t in value.in_types)
        return f"trace(lambda given: {name}(*given), [{types}])", lines
    if type(value) is tuple and any(isinstance(v, Program) for v in value):
        parts = [_param(v, f"{name}_{i}", depth) for i, v in enumerate(value)]
        texts = "".join(f"{text}, " for text, _ in parts)
        return f"({texts})", [line for _, before in parts for line in before]
    if isinstance(value, np.dtype):
        return _dtype(value), []
    return repr(value), []


def _dtype(dtype: Any) -> str:
    if dtype == dtypes.bfloat16:
        return "np.dtype(bfloat16)"
    return f"np.dtype({dtype.name!r})"


def _type(type_: Any) -> str:
    return f"ArrayType({type_.shape}, {_dtype(type_.dtype)}, {type_.weak_type})"
