"""Inlining: calls of programs are replaced by the equations of these programs.

In: a program as it was traced, in which a jitted function, a function with a custom rule or a
checkpointed function is one equation. Out: the same without such calls, inside `cond`, `while`
and `scan` too. It is for programs of which no derivative will be taken any more: custom rules
are forgotten here.

Equations keep the user's line they came from. Values that an inlined program captured become
constants of the whole program; blocks of control flow have none, and get them as operands.
What a checkpointed function computes is fenced off by `optimization_barrier`: shared with its
second run in the backward pass it would keep alive what the checkpoint is there to free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.passes.blocks import programs, with_params
from wengert.passes.control import Cond, Loop, Scan, Value, take_apart
from wengert.passes.literals import number, typed_literal, weak_params
from wengert.primitives.cast import convert, optimization_barrier

_CALLS: dict[str, Callable[[Any], Program]] = {
    "call": lambda params: params["program"],
    "checkpoint": lambda params: params["program"],
    "custom_jvp_call": lambda params: params["fun"].program,
    "custom_vjp_call": lambda params: params["fun"].program,
    "linear_solve": lambda params: params["fun"].program,
}


def inline(program: Program) -> Program:
    """The program with the equations of called programs in the place of the calls.

    >>> import wengert, wengert.numpy as wnp
    >>> f = wengert.jit(lambda x: wnp.sin(x) * 2)
    >>> program = wengert.make_program(lambda x: f(f(x)))(1.0)
    >>> [e.primitive.name for e in program.equations]
    ['call', 'call']
    >>> [e.primitive.name for e in inline(program).equations]
    ['sin', 'mul', 'sin', 'mul']
    """
    return _Inliner(program, {}).run()


def _called(equation: Equation) -> Callable[[Any], Program] | None:
    """What finds the program that an equation calls, if it is a call."""
    primitive = equation.primitive
    return _CALLS.get(primitive.name) if primitive.own else None


def _involved(equation: Equation) -> bool:
    return equation.primitive.multiple_results and (
        _called(equation) is not None or any(programs(equation.params))
    )


class _Inliner:
    """Writes one program; blocks inside it have inliners of their own."""

    def __init__(self, program: Program, done: dict[int, tuple[Program, Program]]) -> None:
        self.program = program
        self.done = done
        self.equations: list[Equation] = []
        self.constants = list(program.constants)
        self.values = list(program.constant_values)
        #: id of a captured value -> its variable here
        self.known: dict[int, Variable] = {}
        self.changed = False

    def run(self) -> Program:
        program = self.program
        if not any(map(_involved, program.equations)):
            return program
        self.known = {id(v): c for v, c in zip(self.values, self.constants, strict=True)}
        names: dict[Any, Atom] = {}
        outputs = self.copy(program, names, False)
        if not self.changed:
            return program
        return Program(program.inputs, self.constants, self.values, self.equations, outputs)

    def copy(self, program: Program, names: dict[Any, Atom], fresh: bool) -> list[Atom]:
        """Append the equations of a program; returns the atoms of its outputs.

        Args:
          names: what its variables are called here; those not in it keep their names.
          fresh: whether results get new variables.
        """
        for equation in program.equations:
            inputs = [names.get(a, a) for a in equation.inputs] if names else equation.inputs
            if _involved(equation):
                self.nested(equation, inputs, names, fresh)
                continue
            if not names:
                self.equations.append(equation)
                continue
            outputs = self.renamed(equation, names) if fresh else equation.outputs
            self.equations.append(
                Equation(
                    equation.primitive, inputs, outputs, equation.params, equation.location
                )
            )
        return [names.get(a, a) for a in program.outputs]

    def renamed(self, equation: Equation, names: dict[Any, Atom]) -> Sequence[Variable]:
        outputs = [Variable(v.type) for v in equation.outputs]
        names.update(zip(equation.outputs, outputs, strict=True))
        return outputs

    def nested(
        self, equation: Equation, inputs: Sequence[Atom], names: dict[Any, Atom], fresh: bool
    ) -> None:
        """Inline a call, or the calls inside the blocks of an equation."""
        called = _called(equation)
        if called is not None:
            program = called(equation.params)
            self.changed = True
            if equation.params.get("prevent_cse", False):
                inputs = [self.fenced(atom, equation) for atom in inputs]
            inner: dict[Any, Atom] = {
                v: self.like(a, v.type, equation)
                for v, a in zip(program.inputs, inputs, strict=True)
            }
            for variable, value in zip(program.constants, program.constant_values, strict=True):
                inner[variable] = self.constant(variable, value)
            results = self.copy(program, inner, True)
            names.update(zip(equation.outputs, results, strict=True))
            return
        new = self.with_inlined_blocks(equation)
        self.changed = self.changed or new is not equation
        if names:
            outputs = self.renamed(equation, names) if fresh else equation.outputs
            inputs = [names.get(a, a) for a in new.inputs]
            new = Equation(new.primitive, inputs, outputs, new.params, new.location)
        self.equations.append(new)

    def like(self, atom: Atom, type_: ArrayType, equation: Equation) -> Atom:
        """The atom with the weak flag of a type."""
        if atom.type.weak_type == type_.weak_type:
            return atom
        if isinstance(atom, Literal):
            return typed_literal(number(atom), type_.dtype, type_.weak_type)
        variable = Variable(type_)
        self.equations.append(
            Equation(convert, [atom], [variable], weak_params(type_), equation.location)
        )
        return variable

    def fenced(self, atom: Atom, equation: Equation) -> Atom:
        """The atom behind a barrier."""
        if isinstance(atom, Literal):
            return atom
        variable = Variable(atom.type)
        self.equations.append(
            Equation(optimization_barrier, [atom], [variable], {}, equation.location)
        )
        return variable

    def constant(self, variable: Variable, value: Any) -> Variable:
        """The variable of a captured value."""
        known = self.known.get(id(value))
        if known is None:
            known = self.known[id(value)] = Variable(variable.type)
            self.constants.append(known)
            self.values.append(value)
        return known

    # -- blocks ------------------------------------------------------------------------------

    def with_inlined_blocks(self, equation: Equation) -> Equation:
        parts = take_apart(equation)
        params = {key: self.inlined(value) for key, value in equation.params.items()}
        if all(value is equation.params[key] for key, value in params.items()):
            return equation
        new = with_params(equation, params)
        if not any(block.constants for block in programs(params)):
            return new
        if parts is None:  # its operands are its own business: calls stay calls
            return equation
        return self.closed(new)

    def inlined(self, value: Any) -> Any:
        """A parameter with the calls in its programs inlined."""
        if type(value) is tuple and any(type(item) is Program for item in value):
            new = tuple(map(self.inlined, value))
            return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
        if type(value) is not Program:
            return value
        known = self.done.get(id(value))
        if known is None:
            known = self.done[id(value)] = value, _Inliner(value, self.done).run()
        return known[1]

    def closed(self, equation: Equation) -> Equation:
        """Control flow whose blocks get the values that they captured as operands."""
        parts: Any = take_apart(equation)
        params = equation.params
        if isinstance(parts, Scan):
            parts.consts += self.led_in(params["body"])
        elif isinstance(parts, Loop):
            parts.cond_consts += self.led_in(params["cond"])
            phases = (params["body"],) if parts.is_while else params["phases"]
            for k, phase in enumerate(phases):
                for value in self.led_in(phase):
                    parts.add_const(value.operand, value.variables[0], k)
        elif isinstance(parts, Cond):
            branches: tuple[Program, ...] = params["branches"]
            for i, branch in enumerate(branches):
                for value in self.led_in(branch):
                    [variable] = value.variables
                    others = [Variable(variable.type) for _ in branches]
                    others[i] = variable
                    parts.values.append(Value(value.operand, *others))
        return parts.equation()

    def led_in(self, block: Program) -> list[Value]:
        """The captured values of a block as values of outside."""
        pairs = zip(block.constants, block.constant_values, strict=True)
        return [Value(self.constant(variable, value), variable) for variable, value in pairs]
