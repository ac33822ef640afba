"""Programs inside equations: what control flow and calls have among their parameters.

Every pass works on such programs too. `Blocks` applies a pass to all programs in an equation
that keep their signature under it; a program that occurs in several equations is transformed
once, and one that does not change stays the same object.

Nothing here knows a particular primitive: a parameter that is a program, or a tuple of
programs, is a block. How operands and results of control flow belong to blocks is in `control`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from wengert.core.interpreter import Params
from wengert.core.program import Equation, Program

Pass = Callable[[Program], Program]


def programs(params: Params) -> Iterator[Program]:
    """The programs among the parameters of an equation."""
    for value in params.values():
        if type(value) is Program:
            yield value
        elif type(value) is tuple:
            for item in value:
                if type(item) is Program:
                    yield item


def has_effects(equation: Equation) -> bool:
    """Whether an equation, or one inside it, does more than compute its results."""
    primitive = equation.primitive
    if primitive.effects:
        return True
    return primitive.multiple_results and any(
        has_effects(inner)
        for program in programs(equation.params)
        for inner in program.equations
    )


class Blocks:
    """Applies a pass to the programs inside equations, to each of them once."""

    __slots__ = ("_done", "_transform")

    def __init__(self, transform: Pass) -> None:
        self._transform = transform
        #: id -> (the program, kept so that its id stays true, and what it became)
        self._done: dict[int, tuple[Program, Program]] = {}

    def __call__(self, equation: Equation) -> Equation:
        """The equation with its blocks transformed, itself where none changes."""
        if not equation.primitive.multiple_results:
            return equation
        params = equation.params
        changed = {}
        for key, value in params.items():
            new = self._value(value)
            if new is not value:
                changed[key] = new
        if not changed:
            return equation
        return with_params(equation, {**params, **changed})

    def _value(self, value: Any) -> Any:
        if type(value) is Program:
            return self.transformed(value)
        if type(value) is tuple and any(type(item) is Program for item in value):
            new = tuple(map(self._value, value))
            return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
        return value

    def transformed(self, program: Program) -> Program:
        """What the pass makes of a program."""
        known = self._done.get(id(program))
        if known is None:
            known = self._done[id(program)] = program, self._transform(program)
        return known[1]


def with_params(equation: Equation, params: Params) -> Equation:
    """The same equation with other parameters."""
    return Equation(
        equation.primitive, equation.inputs, equation.outputs, params, equation.location
    )
