"""Loop-invariant code: what every iteration would compute alike is computed before the loop.

From a `scan` that runs at least once everything may go that depends on constants of the loop
alone. From a `while`, whose body may never run, only what is cheap and cannot raise an error.
What takes more memory than its operands stays (a broadcast, an outer sum): it is cheaper to
compute it again in the kernel that uses it than to read it from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.passes.blocks import has_effects
from wengert.passes.control import Block, Loop, Replaced, Scan, Value
from wengert.passes.rules.elementwise import broadcasts
from wengert.passes.surroundings import Surroundings, edit_control
from wengert.primitives import basis, shape
from wengert.primitives.transcendental import pow

_STRUCTURAL = frozenset(
    {
        *(basis.reshape, basis.transpose, basis.broadcast_in_dim, basis.full),
        *(shape.slice_, shape.pad, shape.concatenate, shape.rev, shape.iota),
    }
)


def hoist(program: Program) -> Program:
    """The program whose loops do not repeat what is the same in every iteration.

    >>> import wengert, wengert.numpy as wnp
    >>> from wengert import lax
    >>> def f(x, a):
    ...     return lax.scan(lambda x, _: (x * wnp.sin(a), None), x, length=3)[0]
    >>> [e.primitive.name for e in hoist(wengert.make_program(f)(1.0, 2.0)).equations]
    ['sin', 'scan']
    """
    return edit_control(program, hoist, _edit)


def _edit(parts: Any, outside: Surroundings) -> bool:
    if isinstance(parts, Scan):
        if not parts.length:
            return False
        more = _moved(parts.body, parts.consts, 0, True, outside, parts.source)
        parts.consts += [Value(operand, v) for operand, v in more]
        changed = bool(more)
    elif isinstance(parts, Loop):
        more = _moved(parts.test, parts.cond_consts, 0, False, outside, parts.source)
        parts.cond_consts += [Value(operand, v) for operand, v in more]
        changed = bool(more)
        for k, phase in enumerate(parts.phases):
            more = _moved(phase, parts.consts, k, False, outside, parts.source)
            for operand, variable in more:
                parts.add_const(operand, variable, k)
            changed = changed or bool(more)
    else:
        return False
    if changed:
        outside.equations.append(parts.equation())
    return changed


def _moved(
    block: Block,
    consts: Sequence[Value],
    number: int,
    everything: bool,
    outside: Surroundings,
    source: Equation,
) -> list[tuple[Atom, Variable]]:
    """Move equations out of a block; gives what was moved: its name outside, and inside."""
    invariant = _invariant(block.equations, {v.variables[number] for v in consts}, everything)
    moved = [e for e in invariant if _is_small(e)]
    if not moved:
        return []
    names: Replaced = {
        v.variables[number]: outside.like(v.operand, v.variables[number].type, source)
        for v in consts
    }
    for equation in _with_dependencies(moved, invariant):
        _write_outside(equation, names, outside)
    gone = set(map(id, moved))
    block.equations = [e for e in block.equations if id(e) not in gone]
    return [(names[v], v) for e in moved for v in e.outputs]


def _invariant(
    equations: Sequence[Equation], fixed: set[Any], everything: bool
) -> list[Equation]:
    """Equations that depend on fixed variables alone, and may be moved."""
    found = []
    for equation in equations:
        inputs = equation.inputs
        if all(type(a) is Literal or a in fixed for a in inputs) and (
            not has_effects(equation) if everything else _is_safe(equation)
        ):
            fixed.update(equation.outputs)
            found.append(equation)
    return found


def _is_safe(equation: Equation) -> bool:
    """Whether an operation is cheap and cannot raise an error."""
    primitive = equation.primitive
    if primitive in _STRUCTURAL:
        return True
    return broadcasts(primitive) and (
        primitive is not pow or dtypes.is_inexact(equation.outputs[0].type.dtype)
    )


def _is_small(equation: Equation) -> bool:
    """Whether results need no more memory than operands."""
    sizes = [_size(a) for a in equation.inputs if type(a) is not Literal]
    return bool(sizes) and sum(v.type.size for v in equation.outputs) <= max(sizes)


def _size(atom: Atom) -> int:
    return atom.type.size


def _with_dependencies(
    moved: Sequence[Equation], invariant: Sequence[Equation]
) -> list[Equation]:
    """The equations, and those among the invariant ones that they need."""
    chosen = set(map(id, moved))
    needed: set[Any] = set()
    kept = []
    for equation in reversed(invariant):
        if id(equation) in chosen or not needed.isdisjoint(equation.outputs):
            needed.update(equation.inputs)
            kept.append(equation)
    return kept[::-1]


def _write_outside(equation: Equation, names: Replaced, outside: Surroundings) -> None:
    inputs = [names.get(a, a) for a in equation.inputs]
    outputs = [Variable(v.type) for v in equation.outputs]
    names.update(zip(equation.outputs, outputs, strict=True))
    outside.equations.append(
        Equation(equation.primitive, inputs, outputs, equation.params, equation.location)
    )
