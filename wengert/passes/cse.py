"""Common subexpressions: equal applications to equal operands are computed once.

In one walk every equation gets a key: its primitive, its operands, its parameters. An equation
whose key is known is left out, and the results of the first one stand for its own. Numbers that
compare equal and differ (1 and 1.0, 0.0 and -0.0) have different keys; programs among the
parameters are compared by structure. Sums and products of real numbers have the same key in
either order.

Applications with effects are never shared, nor is what lies behind an `optimization_barrier`
with what lies before it: that is what barriers are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.interpreter import Params
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.passes.blocks import Blocks, has_effects
from wengert.passes.literals import literal_key
from wengert.primitives.basis import add, mul
from wengert.primitives.cast import optimization_barrier
from wengert.primitives.compare import bitwise_and, bitwise_or, bitwise_xor, eq, ne

_COMMUTATIVE = frozenset({add, mul, bitwise_and, bitwise_or, bitwise_xor, eq, ne})
_PLAIN = frozenset({int, str, bool, type(None), type, *map(type, dtypes.SUPPORTED)})


def share(program: Program) -> Program:
    """The program in which nothing is computed twice.

    >>> import wengert, wengert.numpy as wnp
    >>> program = wengert.make_program(lambda x: wnp.sin(x) * wnp.sin(x))(1.0)
    >>> print(share(program))
    program(a: f32*[]) {
      b: f32*[] = sin(a)
      c: f32*[] = mul(b, b)
      return c
    }
    """
    blocks = Blocks(share)
    keys = Keys()
    known: dict[Any, Equation] = {}
    replaced: dict[Any, Atom] = {}
    equations = []
    changed = False
    for equation in program.equations:
        if replaced and not replaced.keys().isdisjoint(equation.inputs):
            inputs = [replaced.get(a, a) for a in equation.inputs]
            equation = Equation(
                equation.primitive,
                inputs,
                equation.outputs,
                equation.params,
                equation.location,
            )
            changed = True
        if equation.primitive.multiple_results:
            new = blocks(equation)
            changed = changed or new is not equation
            equation = new
        key = keys.of_equation(equation)
        first = known.setdefault(key, equation)
        if first is equation:
            equations.append(equation)
        else:
            replaced.update(zip(equation.outputs, first.outputs, strict=True))
    if not changed and not replaced:
        return program
    return program.rebuilt(equations, [replaced.get(a, a) for a in program.outputs])


class Keys:
    """Makes keys: hashable values that are equal for equal applications only."""

    __slots__ = ("_kept", "_programs")

    def __init__(self) -> None:
        self._programs: dict[int, Any] = {}
        #: Objects whose ids are in keys.
        self._kept: list[Any] = []

    def of_equation(self, equation: Equation) -> Any:
        """The key of an equation; one with effects equals no other."""
        primitive = equation.primitive
        if primitive is optimization_barrier or (
            (primitive.effects or primitive.multiple_results) and has_effects(equation)
        ):
            return equation
        inputs: Any = tuple(
            [a if type(a) is Variable else literal_key(a) for a in equation.inputs]
        )
        if primitive in _COMMUTATIVE and _is_real(equation):
            inputs = frozenset(inputs)  # a set of one if both are the same
        params = equation.params
        if not params:
            return primitive, inputs
        return primitive, inputs, self.of_params(params)

    def of_params(self, params: Params) -> Any:
        """The key of parameters, which come in any order."""
        if len(params) == 1:
            [(name, value)] = params.items()
            return name, self.of_value(value)
        return frozenset([(name, self.of_value(value)) for name, value in params.items()])

    def of_value(self, value: Any) -> Any:
        """The key of a parameter."""
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        if kind is tuple or kind is list:
            return kind, tuple([v if type(v) is int else self.of_value(v) for v in value])
        if kind is float or kind is complex or isinstance(value, np.generic):
            return kind, repr(value)
        if kind is Program:
            return self.of_program(value)
        self._kept.append(value)
        return kind, id(value)

    def of_program(self, program: Program) -> Any:
        """The key of a program: of its equations, with numbers for variables."""
        known = self._programs.get(id(program))
        if known is not None:
            return known[1]
        numbers: dict[Any, int] = {}
        for variable in (*program.inputs, *program.constants):
            numbers[variable] = len(numbers)

        def key_of(atom: Atom) -> Any:
            return numbers[atom] if type(atom) is Variable else literal_key(atom)

        lines = []
        for equation in program.equations:
            inputs = tuple(map(key_of, equation.inputs))
            if has_effects(equation):
                return id(program)
            lines.append((equation.primitive, inputs, self.of_params(equation.params)))
            for variable in equation.outputs:
                numbers[variable] = len(numbers)
        key = (
            tuple(program.in_types),
            tuple(map(id, program.constant_values)),
            tuple(lines),
            tuple(map(key_of, program.outputs)),
        )
        self._programs[id(program)] = program, key
        return key


def _is_real(equation: Equation) -> bool:
    """Whether the operands, which have one dtype, are not complex."""
    x, y = equation.inputs
    variable = x if type(x) is Variable else y
    return not dtypes.is_complex(variable.type.dtype)
