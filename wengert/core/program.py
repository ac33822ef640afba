"""The program: a typed, single-assignment list of equations.

A program has inputs, constants (values captured while tracing), equations in an order in which
each variable is defined before it is used, and outputs. Every equation remembers the user's
line. `check` verifies the rules of the representation; `str` prints stable text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import Params, state
from wengert.core.primitive import Primitive
from wengert.core.source import Location


class Variable:
    """A name for a value of a known type; identity is the object's."""

    __slots__ = ("type",)

    def __init__(self, type: ArrayType) -> None:
        self.type = type


class Literal:
    """A scalar written into an equation: a 0-d array, or a Python scalar."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    @property
    def type(self) -> Any:
        """The type of a 0-d array; a Python scalar stands for itself."""
        return self.value.type if type(self.value) is Array else self.value


Atom = Variable | Literal


class Equation:
    """One application of a primitive to atoms."""

    __slots__ = ("inputs", "location", "outputs", "params", "primitive")

    def __init__(
        self,
        primitive: Primitive,
        inputs: Sequence[Atom],
        outputs: Sequence[Variable],
        params: Params,
        location: Location | None = None,
    ) -> None:
        self.primitive = primitive
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.params = params
        self.location = location


class Program:
    """A typed, single-assignment list of equations.

    Attributes:
      inputs: the parameters.
      constants: variables for captured values.
      constant_values: these values: arrays, or tracers of an enclosing transformation.
      equations: in order of definition.
      outputs: the results.
      compiled: what an engine made of it, kept with it.
      derived: what else was made of it, by what it was made for: transformed programs, and
        executables for donated inputs.
    """

    __slots__ = (
        "_last_uses",
        "compiled",
        "constant_values",
        "constants",
        "derived",
        "equations",
        "executable",
        "inputs",
        "outputs",
    )

    def __init__(
        self,
        inputs: Sequence[Variable],
        constants: Sequence[Variable],
        constant_values: Sequence[Any],
        equations: Sequence[Equation],
        outputs: Sequence[Atom],
    ) -> None:
        self.inputs = tuple(inputs)
        self.constants = tuple(constants)
        self.constant_values = tuple(constant_values)
        self.equations = tuple(equations)
        self.outputs = tuple(outputs)
        self.compiled: Any = None
        self.executable: Any = None
        self.derived: dict[Any, Any] = {}
        self._last_uses: list[set[Variable]] | None = None

    @property
    def in_types(self) -> list[ArrayType]:
        """Types of the inputs."""
        return [v.type for v in self.inputs]

    @property
    def out_types(self) -> list[ArrayType]:
        """Types of the results."""
        return [atom.type for atom in self.outputs]

    def evaluate(self, *args: Any) -> list[Any]:
        """The results for these arguments, under the current interpreter."""
        environment: dict[Variable, Any] = dict(zip(self.inputs, args, strict=True))
        environment.update(zip(self.constants, self.constant_values, strict=True))

        def read(atom: Atom) -> Any:
            return atom.value if type(atom) is Literal else environment[atom]  # type: ignore[index]

        before = state.location
        try:
            for equation, unused in zip(self.equations, self.last_uses(), strict=True):
                state.location = equation.location
                out = equation.primitive(*map(read, equation.inputs), **equation.params)
                if equation.primitive.multiple_results:
                    environment.update(zip(equation.outputs, out, strict=True))
                else:
                    environment[equation.outputs[0]] = out
                for variable in unused:
                    del environment[variable]
        finally:
            state.location = before
        return [read(atom) for atom in self.outputs]

    def last_uses(self) -> list[set[Variable]]:
        """For each equation, the variables that nothing reads after it."""
        if self._last_uses is None:
            needed = {atom for atom in self.outputs if isinstance(atom, Variable)}
            last: list[set[Variable]] = []
            for equation in reversed(self.equations):
                used = {a for a in equation.inputs if isinstance(a, Variable)}
                last.append({*used, *equation.outputs} - needed)
                needed |= last[-1]
            self._last_uses = last[::-1]
        return self._last_uses

    def rebuilt(self, equations: Sequence[Equation], outputs: Sequence[Atom]) -> Program:
        """A program of the same inputs and constants, with other equations and outputs."""
        return Program(self.inputs, self.constants, self.constant_values, equations, outputs)

    def closed(self) -> Program:
        """The same program with its constants as leading inputs."""
        return Program((*self.constants, *self.inputs), (), (), self.equations, self.outputs)

    def check(self) -> None:
        """Verify the rules of the representation.

        Raises:
          ProgramError: for a variable used before its definition or defined twice, or a type
            that differs from what the primitive's type rule gives.
        """
        defined = {*self.inputs, *self.constants}
        for equation in self.equations:
            self._check_defined(equation.inputs, defined, equation.primitive.name)
            types = equation.primitive.type_rule(
                *(atom.type for atom in equation.inputs), **equation.params
            )
            expected = types if equation.primitive.multiple_results else [types]
            for variable, type_ in zip(equation.outputs, expected, strict=True):
                if variable in defined:
                    raise errors.ProgramError(f"{equation.primitive} defines a variable again")
                if variable.type != type_:
                    raise errors.ProgramError(
                        f"{equation.primitive} gives {type_}, its variable says {variable.type}"
                    )
                defined.add(variable)
        self._check_defined(self.outputs, defined, "the result")

    @staticmethod
    def _check_defined(atoms: Sequence[Atom], defined: set[Variable], where: str) -> None:
        for atom in atoms:
            if isinstance(atom, Variable) and atom not in defined:
                raise errors.ProgramError(f"{where} uses a variable before its definition")

    def __str__(self) -> str:
        return "\n".join(_lines(self, _names()))

    def __repr__(self) -> str:
        return str(self)


def _names() -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    yield from letters
    for prefix in _names():
        for letter in letters:
            yield prefix + letter


def _lines(program: Program, fresh: Iterator[str]) -> list[str]:
    names: dict[Variable, str] = {}

    def name(atom: Atom) -> str:
        if isinstance(atom, Literal):
            value = atom.value
            return repr(value) if type(value) is not Array else f"{value}:{value.type}"
        return names.setdefault(atom, "") or names.update({atom: next(fresh)}) or names[atom]

    def typed(variable: Variable) -> str:
        return f"{name(variable)}: {variable.type}"

    heads = [*map(typed, program.inputs)]
    lines = [f"program({', '.join(heads)}) {{"]
    if program.constants:
        lines += [f"  constant {typed(variable)}" for variable in program.constants]
    for equation in program.equations:
        inner = [p for value in equation.params.values() for p in _programs(value)]
        params = [
            f"{key}={_short(value)}"
            for key, value in equation.params.items()
            if not _programs(value)
        ]
        operands = ", ".join([*map(name, equation.inputs), *params])
        left = ", ".join(map(typed, equation.outputs))
        lines.append(f"  {left} = {equation.primitive}({operands})")
        for block in inner:
            lines += [f"    {line}" for line in _lines(block, _names())]
    lines.append(f"  return {', '.join(map(name, program.outputs))}")
    lines.append("}")
    return lines


def _programs(value: Any) -> list[Program]:
    """The programs that a parameter is, or that it is a tuple of."""
    values = value if isinstance(value, tuple) else (value,)
    return [v for v in values if isinstance(v, Program)]


def _short(value: Any) -> str:
    if isinstance(value, np.dtype):
        return value.name
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return repr(value)
