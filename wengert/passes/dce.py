"""Dead code: what no result depends on is dropped.

One walk backwards keeps the equations whose results are needed. Control flow that is kept is
trimmed first: results, carries, operands and slices that nobody reads go, from the equation
and from its blocks. A carry that only feeds itself is dead, however often it goes round.
Equations with effects stay.

An operation that would have raised an error (an index out of bounds) and whose result nobody
uses is dropped like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wengert.core.program import Atom, Equation, Program
from wengert.passes.blocks import Blocks, has_effects, programs
from wengert.passes.control import Block, Carry, Cond, Loop, Scan, take_apart


def eliminate(program: Program) -> Program:
    """The program without equations, constants and parts of loops that no result needs.

    >>> import wengert, wengert.numpy as wnp
    >>> program = wengert.make_program(lambda x: [wnp.sin(x), wnp.cos(x)][0])(1.0)
    >>> print(eliminate(program))
    program(a: f32*[]) {
      b: f32*[] = sin(a)
      return b
    }
    """
    blocks = Blocks(eliminate)
    needed: set[Any] = set(program.outputs)
    kept = []
    changed = False
    for equation in reversed(program.equations):
        primitive = equation.primitive
        if needed.isdisjoint(equation.outputs) and not has_effects(equation):
            changed = True
            continue
        if primitive.multiple_results:
            new = blocks(_trimmed(equation, needed))
            changed = changed or new is not equation
            equation = new
        needed.update(equation.inputs)
        kept.append(equation)
    dead_constants = not needed.issuperset(program.constants)
    if not changed and not dead_constants:
        return program
    pairs = [
        (c, v)
        for c, v in zip(program.constants, program.constant_values, strict=True)
        if c in needed
    ]
    return Program(
        program.inputs,
        [c for c, _ in pairs],
        [v for _, v in pairs],
        kept[::-1],
        program.outputs,
    )


def _trimmed(equation: Equation, needed: set[Any]) -> Equation:
    """Control flow without the results, operands and carries that nobody reads."""
    parts = take_apart(equation)
    if parts is None:
        return equation
    if isinstance(parts, Cond):
        _trim_cond(parts, needed)
    elif isinstance(parts, Scan):
        _trim_scan(parts, needed)
    else:
        _trim_loop(parts, needed)
    new = parts.equation()
    return equation if _same_signature(equation, new) else new


def _same_signature(old: Equation, new: Equation) -> bool:
    """Whether nothing was trimmed: as many operands, results, and results of each block."""
    pairs = zip(programs(old.params), programs(new.params), strict=True)
    return (len(old.inputs), len(old.outputs)) == (len(new.inputs), len(new.outputs)) and all(
        len(a.outputs) == len(b.outputs) for a, b in pairs
    )


def read_by(equations: Sequence[Equation], atoms: Iterable[Atom]) -> set[Any]:
    """The variables on which atoms depend, where these equations define them."""
    needed = set(atoms)
    for equation in reversed(equations):
        if not needed.isdisjoint(equation.outputs) or has_effects(equation):
            needed.update(equation.inputs)
    return needed


def _trim_cond(parts: Cond, needed: set[Any]) -> None:
    parts.results = [r for r in parts.results if r.variable in needed]
    read: set[Any] = set()
    for i, branch in enumerate(parts.branches):
        read |= read_by(branch.equations, [r.atoms[i] for r in parts.results])
    parts.values = [v for v in parts.values if not read.isdisjoint(v.variables)]


def _trim_scan(parts: Scan, needed: set[Any]) -> None:
    parts.ys = [y for y in parts.ys if y.variable in needed]
    live = [c for c in parts.carries if c.result in needed]
    roots = [y.atoms[0] for y in parts.ys]
    parts.carries, read = _live_carries(parts.body, parts.carries, live, roots)
    parts.consts = [v for v in parts.consts if v.variables[0] in read]
    parts.xs = [v for v in parts.xs if v.variables[0] in read]


def _trim_loop(parts: Loop, needed: set[Any]) -> None:
    """Trim the last phase first: what it does not read of earlier ones is no record."""
    tested = read_by(parts.test.equations, [parts.predicate])
    parts.cond_consts = [v for v in parts.cond_consts if v.variables[0] in tested]
    wanted: set[int] = set()
    reads: list[set[Any]] = [set() for _ in parts.phases]
    for k, phase in reversed([*enumerate(parts.phases)]):
        live = [c for c in phase.carries if c.result in needed or c.tested in tested]
        phase.records = [r for r in phase.records if id(r) in wanted]
        roots = [r.atom for r in phase.records]
        # a loop keeps its phases, and a phase something to do
        live = live or phase.carries
        phase.carries, reads[k] = _live_carries(phase, phase.carries, live, roots)
        for i, earlier in enumerate(parts.phases[:k]):
            wanted.update(id(r) for r in earlier.records if r.variables[k - i - 1] in reads[k])
    parts.consts = [
        value
        for value in parts.consts
        if any(v in read for v, read in zip(value.variables, reads, strict=True))
    ]


def _live_carries(
    block: Block, carries: list[Carry], live: list[Carry], roots: Sequence[Atom]
) -> tuple[list[Carry], set[Any]]:
    """The carries that live ones depend on, over any number of iterations; what is read."""
    makers = {v: e for e in block.equations for v in e.outputs}
    owners = {c.variable: c for c in carries}
    alive = set(map(id, live))
    read: set[Any] = set()
    pending: list[Any] = [*roots, *(c.final for c in live)]
    pending += [a for e in block.equations if has_effects(e) for a in e.inputs]
    while pending:
        atom = pending.pop()
        if atom in read:
            continue
        read.add(atom)
        if atom in makers:
            pending += makers[atom].inputs
        elif atom in owners and id(owners[atom]) not in alive:
            alive.add(id(owners[atom]))
            pending.append(owners[atom].final)
    return [c for c in carries if id(c) in alive], read
