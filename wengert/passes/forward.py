"""Forwarding: control flow does not carry what its surroundings know.

- A carry that every iteration hands on unchanged is a constant of the loop.
- Constants that are literals are written into the blocks; the same value given twice, or two
  carries that go through the same values, are one.
- Stacked results of a `scan` that are slices of its operands are these operands; those that are
  the same in every iteration are broadcast; equal ones are stacked once.
- A `cond` whose branch is known, or whose branches are equal, is that branch; results that are
  the same operand in every branch are that operand.

What becomes unused is left for dead code elimination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.passes.control import (
    Carry,
    Cond,
    Replaced,
    Result,
    Scan,
    Surroundings,
    Value,
    While,
    edit_control,
)
from wengert.passes.cse import Keys
from wengert.passes.literals import atom_key, equal_atoms, number, typed_literal
from wengert.primitives.basis import broadcast_in_dim


def forward(program: Program) -> Program:
    """The program whose control flow computes, carries and stacks only what differs.

    >>> import wengert, wengert.numpy as wnp
    >>> from wengert import lax
    >>> program = wengert.make_program(lambda x: lax.fori_loop(0, 3, lambda i, x: x, x))(1.0)
    >>> wengert.passes.dce.eliminate(forward(program)).equations
    ()
    """
    return edit_control(program, forward, _edit)


def _edit(parts: Any, outside: Surroundings) -> bool:
    if isinstance(parts, Cond):
        return _edit_cond(parts, outside)
    before = _sizes(parts)
    _fix_carries(parts, outside)
    _merge_carries(parts, outside)
    constants = [parts.consts] if isinstance(parts, Scan) else [parts.consts, parts.cond_consts]
    for values in constants:
        values[:] = _merged(values, parts.replaced)
    if isinstance(parts, Scan):
        parts.xs = _merged(parts.xs, parts.replaced)
        _forward_stacks(parts, outside)
    if _sizes(parts) == before and not parts.replaced:
        return False
    outside.equations.append(parts.equation())
    return True


def _sizes(parts: Any) -> tuple[int, ...]:
    others = (parts.xs, parts.ys) if isinstance(parts, Scan) else (parts.cond_consts,)
    return tuple(map(len, (parts.consts, parts.carries, *others)))


# -- operands --------------------------------------------------------------------------------


def _merged(values: Sequence[Value], replaced: Replaced) -> list[Value]:
    """Values without literals and repetitions, which are written into the blocks."""
    kept: list[Value] = []
    known: dict[Any, Value] = {}
    for value in values:
        operand: Any = value.operand
        types = [v.type for v in value.variables]
        if type(operand) is Literal:
            for variable, type_ in zip(value.variables, types, strict=True):
                replaced[variable] = typed_literal(
                    number(operand), type_.dtype, type_.weak_type
                )
            continue
        first = known.setdefault(operand, value)
        if first is value or [v.type for v in first.variables] != types:
            kept.append(value)
        else:
            replaced.update(zip(value.variables, first.variables, strict=True))
    return kept


# -- carries ---------------------------------------------------------------------------------


def _fix_carries(parts: Scan | While, outside: Surroundings) -> None:
    """Carries that never change become constants."""
    origins: dict[Any, Atom] = {v.variables[0]: v.operand for v in parts.consts}
    moving = []
    for carry in parts.carries:
        final = origins.get(carry.final, carry.final)
        if carry.final is not carry.variables[0] and not equal_atoms([final, carry.initial]):
            moving.append(carry)
            continue
        parts.consts.append(Value(carry.initial, carry.variables[0]))
        if isinstance(parts, While):
            parts.cond_consts.append(Value(carry.initial, carry.variables[1]))
        outside.replaced[carry.result] = outside.like(
            carry.initial, carry.result.type, parts.source
        )
    parts.carries = moving


def _merge_carries(parts: Scan | While, outside: Surroundings) -> None:
    """Carries that start equal and are computed equally are one."""
    kept: list[Carry] = []
    known: dict[Any, Carry] = {}
    for carry in parts.carries:
        key = (*map(atom_key, (carry.initial, carry.final)), *(v.type for v in carry.variables))
        first = known.setdefault(key, carry)
        if first is carry:
            kept.append(carry)
        else:
            parts.replaced.update(zip(carry.variables, first.variables, strict=True))
            outside.replaced[carry.result] = first.result
    parts.carries = kept


# -- stacked results -------------------------------------------------------------------------


def _forward_stacks(parts: Scan, outside: Surroundings) -> None:
    stacks: dict[Any, Atom] = {v.variables[0]: v.operand for v in parts.xs}
    held: dict[Any, Atom] = {v.variables[0]: v.operand for v in parts.consts}
    kept: list[Result] = []
    known: dict[Any, Result] = {}
    for y in parts.ys:
        atom: Any = parts.replaced.get(y.atoms[0], y.atoms[0])
        first = known.setdefault((atom_key(atom), y.variable.type), y)
        if first is not y:
            outside.replaced[y.variable] = outside.replaced.get(first.variable, first.variable)
        elif atom in stacks:
            outside.replaced[y.variable] = outside.like(
                stacks[atom], y.variable.type, parts.source
            )
        elif type(atom) is Literal or atom in held:
            operand = held.get(atom, atom)
            outside.replaced[y.variable] = _repeated(operand, y, outside, parts.source)
        else:
            kept.append(y)
    parts.ys = kept


def _repeated(atom: Atom, y: Result, outside: Surroundings, source: Equation) -> Atom:
    """A value that is the same in every iteration, stacked."""
    shape = y.variable.type.shape
    params = {"shape": shape, "broadcast_dimensions": tuple(range(1, len(shape)))}
    stacked = outside.put(broadcast_in_dim, [atom], params, source)
    return outside.like(stacked, y.variable.type, source)


# -- conditionals ----------------------------------------------------------------------------


def _edit_cond(parts: Cond, outside: Surroundings) -> bool:
    source = parts.source
    chosen = _known_branch(source)
    if chosen is not None:
        atoms = outside.splice(chosen, source.inputs[1:], source)
        for variable, atom in zip(source.outputs, atoms, strict=True):
            outside.replaced[variable] = outside.like(atom, variable.type, source)
        return True
    count = len(parts.values)
    parts.values = _merged(parts.values, parts.replaced)
    origins: list[Replaced] = [
        {v.variables[i]: v.operand for v in parts.values} for i in range(len(parts.equations))
    ]
    kept: list[Result] = []
    known: dict[Any, Variable] = {}
    for result in parts.results:
        atoms = [parts.replaced.get(a, a) for a in result.atoms]
        outer = [o.get(a, a) for o, a in zip(origins, atoms, strict=True)]
        outside_all = all(
            type(a) is Literal or a in o for o, a in zip(origins, atoms, strict=True)
        )
        first = known.setdefault((*map(atom_key, atoms), result.variable.type), result.variable)
        if first is not result.variable:
            outside.replaced[result.variable] = outside.replaced.get(first, first)
        elif outside_all and equal_atoms(outer):
            outside.replaced[result.variable] = outside.like(
                outer[0], result.variable.type, source
            )
        else:
            kept.append(result)
    if len(kept) == len(parts.results) and len(parts.values) == count:
        return False
    parts.results = kept
    outside.equations.append(parts.equation())
    return True


def _known_branch(equation: Equation) -> Program | None:
    """The branch that is always taken, or that is as good as any."""
    index: Any = equation.inputs[0]
    branches: Sequence[Program] = equation.params["branches"]
    if type(index) is Literal:
        return branches[int(number(index))]
    if len(branches) == 1:
        return branches[0]
    keys = Keys()
    first = keys.of_program(branches[0])
    return branches[0] if all(keys.of_program(b) == first for b in branches[1:]) else None
