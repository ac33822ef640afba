"""Tracing: from a Python function to a program.

While the function runs on tracers that know only shapes and dtypes, every application of a
primitive becomes an equation. Values from outside (arrays, or tracers of an enclosing
transformation) become constants of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, detached
from wengert.core.gate import gate
from wengert.core.interpreter import (
    EagerInterpreter,
    Interpreter,
    Params,
    Tag,
    Tracer,
    escaped,
    location,
    state,
)
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Literal, Program, Variable


class ProgramTracer(Tracer):
    """A variable of the program that is being traced."""

    __slots__ = ("variable",)
    transformation = "jit, make_program, or a loop or branch of lax"

    def __init__(self, tag: Tag, variable: Variable) -> None:
        self.tag = tag
        self.variable = variable

    @property
    def type(self) -> ArrayType:
        return self.variable.type


class TraceInterpreter(Interpreter):
    """Records applications as equations."""

    __slots__ = ("captured", "equations")
    name = "trace"

    def __init__(self, parent: Interpreter) -> None:
        super().__init__(Tag(), parent)
        self.equations: list[Equation] = []
        #: id -> (variable, value for the program, value itself, kept so that ids stay true)
        self.captured: dict[int, tuple[Variable, Any, Any]] = {}

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        return primitive.apply_traced(self, args, params)

    def record(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        """Append an equation; returns tracers for its results."""
        atoms = [self.atom(arg) for arg in args]
        types = primitive.type_rule(*(atom.type for atom in atoms), **params)
        outputs = [Variable(t) for t in (types if primitive.multiple_results else [types])]
        self.equations.append(Equation(primitive, atoms, outputs, params, location()))
        tracers = [ProgramTracer(self.tag, v) for v in outputs]
        return tracers if primitive.multiple_results else tracers[0]

    def atom(self, value: Any) -> Atom:
        """The atom that stands for a value: its variable, a literal, or a captured constant."""
        if type(value) is ProgramTracer and value.tag is self.tag:
            return value.variable
        if type(value) in dtypes.SCALAR_TYPES:
            return Literal(value)
        if type(value) is Array and value.ndim == 0:
            return Literal(value)
        known = self.captured.get(id(value))
        if known is None:
            known = Variable(value.type), self._constant(value), value
            self.captured[id(value)] = known
        return known[0]

    def _constant(self, value: Any) -> Any:
        """A captured value as the program keeps it."""
        if type(value) is Array:
            return detached(value)  # the program must not change with memory that others own
        if isinstance(value, Tracer) and not (value.tag.alive or self.parent.stands_for(value)):
            raise escaped(value)
        return value


def is_tracing() -> bool:
    """Whether a program is being written, by the current interpreter or one around it."""
    interpreter = state.interpreter
    while not isinstance(interpreter, EagerInterpreter):
        if isinstance(interpreter, TraceInterpreter):
            return True
        interpreter = interpreter.parent
    return False


def trace(call: Callable[[list[Any]], list[Any]], types: Sequence[ArrayType]) -> Program:
    """The program of a function of flat arrays, for arguments of these types."""
    interpreter = TraceInterpreter(state.interpreter)
    inputs = [Variable(t) for t in types]
    try:
        with gate, interpreter:  # compiled calls are to become equations
            outputs = call([ProgramTracer(interpreter.tag, v) for v in inputs])
            atoms = [interpreter.atom(out) for out in outputs]
    finally:
        interpreter.tag.alive = False
    captured = interpreter.captured.values()
    return Program(
        inputs,
        [variable for variable, _, _ in captured],
        [constant for _, constant, _ in captured],
        interpreter.equations,
        atoms,
    )
