"""The walk of passes over control flow: blocks are edited where they stand in a program.

`edit_control` goes through a program, inside its blocks first, and lets a pass edit the parts
of each `cond` or loop. What the pass writes beside it, and which variables of the surrounding
program it replaces, is kept in `Surroundings`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.passes.blocks import Blocks, Pass
from wengert.passes.control import Replaced, replace_inputs, take_apart
from wengert.passes.literals import number, typed_literal, weak_params
from wengert.primitives.cast import convert


class Surroundings:
    """The program around control flow, while a pass writes it anew.

    Attributes:
      equations: what has been written so far.
      replaced: atoms that stand for variables.
    """

    __slots__ = ("equations", "replaced")

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.replaced: Replaced = {}

    def put(
        self, primitive: Primitive, inputs: Sequence[Atom], params: Params, source: Equation
    ) -> Variable:
        """Write an application, at the user's line of another equation; gives its result."""
        type_: ArrayType = primitive.type_rule(*(a.type for a in inputs), **params)
        variable = Variable(type_)
        self.equations.append(Equation(primitive, inputs, [variable], params, source.location))
        return variable

    def like(self, atom: Any, type_: ArrayType, source: Equation) -> Atom:
        """The atom, or it with the weak flag of a type."""
        if atom.type.weak_type == type_.weak_type:
            return atom
        if type(atom) is Literal:
            return typed_literal(number(atom), type_.dtype, type_.weak_type)
        return self.put(convert, [atom], weak_params(type_), source)

    def splice(
        self, program: Program, operands: Sequence[Atom], source: Equation
    ) -> list[Atom]:
        """Write the equations of a closed program; gives the atoms of its results."""
        names: Replaced = {
            v: self.like(a, v.type, source)
            for v, a in zip(program.inputs, operands, strict=True)
        }
        for e in program.equations:
            outputs = [Variable(v.type) for v in e.outputs]
            inputs = [names.get(a, a) for a in e.inputs]
            names.update(zip(e.outputs, outputs, strict=True))
            self.equations.append(Equation(e.primitive, inputs, outputs, e.params, e.location))
        return [names.get(a, a) for a in program.outputs]


#: Edits the parts of an equation and writes what comes of them; false where all stays.
Edit = Callable[[Any, Surroundings], bool]


def edit_control(program: Program, whole: Pass, edit: Edit) -> Program:
    """The program with its control flow edited, inside other control flow first.

    Args:
      whole: the pass itself, for the programs inside.
      edit: what it does to one equation.
    """
    if not any(e.primitive.multiple_results for e in program.equations):
        return program
    blocks = Blocks(whole)
    outside = Surroundings()
    changed = False
    for equation in program.equations:
        new = equation
        if not outside.replaced.keys().isdisjoint(equation.inputs):
            [new] = replace_inputs([equation], outside.replaced)
        if equation.primitive.multiple_results:
            new = blocks(new)
            parts = take_apart(new)
            if parts is not None and edit(parts, outside):
                changed = True
                continue
        changed = changed or new is not equation
        outside.equations.append(new)
    if not changed:
        return program
    outputs = [outside.replaced.get(a, a) for a in program.outputs]
    return program.rebuilt(outside.equations, outputs)
