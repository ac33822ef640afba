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
from wengert.passes.control import Block, Carry, Cond, Loop, Replaced, Result, Scan, Value
from wengert.passes.cse import Keys
from wengert.passes.literals import atom_key, equal_atoms, number, typed_literal
from wengert.passes.surroundings import Surroundings, edit_control
from wengert.primitives.basis import broadcast_in_dim


def forward(program: Program) -> Program:
    """The program whose control flow computes, carries and stacks only what differs.

    >>> import wengert, wengert.numpy as wnp
    >>> from wengert import lax
    >>> f = lambda x: lax.fori_loop(0, 3, lambda i, x: x, x)
    >>> program = forward(wengert.make_program(f)(1.0))
    >>> program.outputs == program.inputs
    True
    """
    return edit_control(program, forward, _edit)


def _edit(parts: Any, outside: Surroundings) -> bool:
    if isinstance(parts, Cond):
        return _edit_cond(parts, outside)
    before = _sizes(parts)
    if isinstance(parts, Scan):
        _forward_scan(parts, outside)
    else:
        _forward_loop(parts, outside)
    if _sizes(parts) == before:
        return False
    outside.equations.append(parts.equation())
    return True


def _sizes(parts: Any) -> Any:
    if isinstance(parts, Scan):
        return len(parts.consts), len(parts.carries), len(parts.xs), len(parts.ys)
    carries = [len(phase.carries) for phase in parts.phases]
    return len(parts.cond_consts), len(parts.consts), carries


def _forward_scan(parts: Scan, outside: Surroundings) -> None:
    source, body = parts.source, parts.body
    origins: Replaced = {v.variables[0]: v.operand for v in parts.consts}
    parts.carries, fixed = _fixed_carries(parts.carries, origins, outside, source)
    parts.consts += [Value(c.initial, c.variable) for c in fixed]
    parts.carries = _merged_carries(parts.carries, body, None, outside)
    parts.consts = _merged(parts.consts, [body])
    parts.xs = _merged(parts.xs, [body])
    _forward_stacks(parts, outside)


def _forward_loop(parts: Loop, outside: Surroundings) -> None:
    for k, phase in enumerate(parts.phases):
        origins: Replaced = {v.variables[k]: v.operand for v in parts.consts}
        phase.carries, fixed = _fixed_carries(phase.carries, origins, outside, parts.source)
        for carry in fixed:
            parts.add_const(carry.initial, carry.variable, k)
            if carry.tested is not None:
                parts.cond_consts.append(Value(carry.initial, carry.tested))
        test = None if k else parts.test
        phase.carries = _merged_carries(phase.carries, phase, test, outside)
    parts.consts = _merged(parts.consts, parts.phases)
    parts.cond_consts = _merged(parts.cond_consts, [parts.test])


# -- operands --------------------------------------------------------------------------------


def _merged(values: Sequence[Value], blocks: Sequence[Block]) -> list[Value]:
    """Values without literals and repetitions, which are written into the blocks."""
    kept: list[Value] = []
    known: dict[Any, Value] = {}
    for value in values:
        operand: Any = value.operand
        types = [v.type for v in value.variables]
        if type(operand) is Literal:
            for block, variable, type_ in zip(blocks, value.variables, types, strict=True):
                block.replaced[variable] = typed_literal(
                    number(operand), type_.dtype, type_.weak_type
                )
            continue
        first = known.setdefault(operand, value)
        if first is value or [v.type for v in first.variables] != types:
            kept.append(value)
            continue
        for block, variable, other in zip(
            blocks, value.variables, first.variables, strict=True
        ):
            block.replaced[variable] = other
    return kept


# -- carries ---------------------------------------------------------------------------------


def _fixed_carries(
    carries: Sequence[Carry], origins: Replaced, outside: Surroundings, source: Equation
) -> tuple[list[Carry], list[Carry]]:
    """Carries that change, and those that never do: their results are what they start with."""
    moving, fixed = [], []
    for carry in carries:
        final = origins.get(carry.final, carry.final)
        if carry.final is not carry.variable and not equal_atoms([final, carry.initial]):
            moving.append(carry)
            continue
        fixed.append(carry)
        outside.replaced[carry.result] = outside.like(carry.initial, carry.result.type, source)
    return moving, fixed


def _merged_carries(
    carries: Sequence[Carry], body: Block, test: Block | None, outside: Surroundings
) -> list[Carry]:
    """Carries in which those that start equal and are computed equally are one."""
    kept: list[Carry] = []
    known: dict[Any, Carry] = {}
    for carry in carries:
        variables = (carry.variable, carry.tested or carry.variable)
        types = (*(v.type for v in variables), carry.result.type)
        first = known.setdefault((atom_key(carry.initial), atom_key(carry.final), types), carry)
        if first is carry:
            kept.append(carry)
            continue
        outside.replaced[carry.result] = first.result
        body.replaced[carry.variable] = first.variable
        if test is not None and carry.tested is not None and first.tested is not None:
            test.replaced[carry.tested] = first.tested
    return kept


# -- stacked results -------------------------------------------------------------------------


def _forward_stacks(parts: Scan, outside: Surroundings) -> None:
    stacks: Replaced = {v.variables[0]: v.operand for v in parts.xs}
    held: Replaced = {v.variables[0]: v.operand for v in parts.consts}
    kept: list[Result] = []
    known: dict[Any, Result] = {}
    for y in parts.ys:
        variable = y.variable
        atom: Any = parts.body.replaced.get(y.atoms[0], y.atoms[0])
        first = known.setdefault((atom_key(atom), variable.type), y)
        if first is not y:
            outside.replaced[variable] = outside.replaced.get(first.variable, first.variable)
        elif atom in stacks:
            outside.replaced[variable] = outside.like(stacks[atom], variable.type, parts.source)
        elif type(atom) is Literal or atom in held:
            operand = held.get(atom, atom)
            outside.replaced[variable] = _repeated(operand, y, outside, parts.source)
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
    before = len(parts.values), len(parts.results)
    parts.values = _merged(parts.values, parts.branches)
    parts.results = _forward_results(parts, outside)
    if before == (len(parts.values), len(parts.results)):
        return False
    outside.equations.append(parts.equation())
    return True


def _forward_results(parts: Cond, outside: Surroundings) -> list[Result]:
    """The results that branches compute, each once."""
    count = range(len(parts.branches))
    origins: list[Replaced] = [{v.variables[i]: v.operand for v in parts.values} for i in count]
    kept: list[Result] = []
    known: dict[Any, Variable] = {}
    for result in parts.results:
        variable = result.variable
        inner = [parts.branches[i].replaced.get(a, a) for i, a in enumerate(result.atoms)]
        outer = [
            atom if type(atom) is Literal else origin.get(atom)
            for origin, atom in zip(origins, inner, strict=True)
        ]
        first = known.setdefault((*map(atom_key, inner), variable.type), variable)
        if first is not variable:
            outside.replaced[variable] = outside.replaced.get(first, first)
        elif outer[0] is not None and equal_atoms(outer):
            outside.replaced[variable] = outside.like(outer[0], variable.type, parts.source)
        else:
            kept.append(result)
    return kept


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
