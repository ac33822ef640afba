"""Kernels over rows: what a few kernels hand each other through memory stays in registers.

The state of a point in space, or of one of many simulations, is a short row of an array: rates
are computed from its elements, stacked again, and so on. Element by element that takes a
kernel for every such stage. Here kernels whose domains begin with the same dimensions, and
which read of each other's results only their own row, become one kernel over the rows. It
computes all elements of a row at once, and stores those that others need.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wengert.core.array import Shape
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.engines.native.elements import cost_of
from wengert.engines.native.steps import LoopKernel, Step

#: Elements of a row, and rows, that this is done for.
LONGEST = 4
_LENGTHS = range(1, LONGEST + 1)
_LEAST_ROWS = 16
#: Vector operations of a kernel for a vector of rows.
_MOST_WORK = 800
#: How far ahead kernels are looked for.
_AHEAD = 48


class Grouped(Protocol):
    """What is known of a program whose equations are grouped (`kernels.Grouping`)."""

    program: Program
    kinds: dict[Equation, str]
    producers: dict[Variable, Equation]
    aliases: dict[Variable, Atom]
    stored: set[Variable]
    steps: list[Step]

    def memory(self, variable: Variable) -> Variable | None:
        """The variable whose memory a variable names."""


def merge_rows(grouped: Grouped) -> None:
    """Merge kernels over rows, and store no longer what only they need."""
    _Merging(grouped).run()


class _Merging:
    """Goes over the steps once; each kernel may take in some of those that come soon.

    Attributes:
      read: what each step reads from memory.
      readers: the steps that read a variable.
      kept: variables that are in memory whoever reads them: results, and those that have
        other names.
      made, before: what all steps store, and what those before the current one do.
    """

    def __init__(self, grouped: Grouped) -> None:
        self.grouped = grouped
        self.read: dict[Step, set[Variable]] = {}
        self.readers: dict[Variable, list[Step]] = defaultdict(list)
        self.kept: set[Variable] = set()
        self.made = {v for step in grouped.steps for v in step.outputs}
        self.before: set[Variable] = set()
        aliases = grouped.aliases
        for atom in (*grouped.program.outputs, *aliases, *aliases.values()):
            if isinstance(atom, Variable):
                self.kept.update({atom, grouped.memory(atom) or atom})

    def run(self) -> None:
        """Merge what can be merged."""
        steps = self.grouped.steps
        shapes = _shared(steps)
        if not shapes:
            return
        for step in steps:
            self.read[step] = self._read(step)
            for variable in self.read[step]:
                self.readers[variable].append(step)
        number = 0
        while number < len(steps):
            for shape in filter(shapes.__contains__, _leading(steps[number])):
                members = self._members(number, shape)
                if len({member.domain for member in members}) > 1:
                    self._merge(number, members, shape)
                    break
            self.before.update(steps[number].outputs)
            number += 1

    def _read(self, step: Step) -> set[Variable]:
        """The variables that a step reads from memory."""
        reads = _Reads(self.grouped, ())
        if isinstance(step, LoopKernel):
            for variable in step.stores:
                reads.follow(self.grouped.producers[variable], variable)
            for equation in step.reductions:
                reads.atom(equation.inputs[0])
        else:
            for atom in step.equation.inputs:
                reads.atom(atom)
        return reads.rows | reads.elsewhere

    def _members(self, first: int, shape: Shape) -> list[LoopKernel]:
        """The kernels that can become one in the place of the first."""
        members: list[LoopKernel] = []
        inside: set[Variable] = set()
        work = 0
        for step in self.grouped.steps[first : first + _AHEAD]:
            if not isinstance(step, LoopKernel) or shape not in _leading(step):
                continue
            reads = _Reads(self.grouped, shape)
            for variable in step.stores:
                reads.follow(self.grouped.producers[variable], variable)
            own = reads.work * math.prod(step.domain[len(shape) :])
            unknown = [*reads.elsewhere, *reads.rows.difference(inside, step.stores)]
            if work + own > _MOST_WORK or any(map(self._comes_later, unknown)):
                continue
            members.append(step)
            inside.update(step.stores)
            work += own
        return members

    def _comes_later(self, variable: Variable) -> bool:
        return variable in self.made and variable not in self.before

    def _merge(self, number: int, members: list[LoopKernel], shape: Shape) -> None:
        steps = self.grouped.steps
        stores = [v for member in members for v in member.stores]
        needed = {
            v
            for v in stores
            if v in self.kept or any(reader not in members for reader in self.readers[v])
        }
        self.grouped.stored.difference_update(v for v in stores if v not in needed)
        merged = LoopKernel(shape, [v for v in stores if v in needed])
        for member in members[1:]:
            steps.remove(member)
        steps[number] = merged
        self.read[merged] = set().union(*(self.read[member] for member in members))
        for variable in self.read[merged]:
            others = [reader for reader in self.readers[variable] if reader not in members]
            self.readers[variable] = [*others, merged]


def _shared(steps: Sequence[Step]) -> set[Shape]:
    """The shapes of rows that kernels over different domains may have."""
    domains: dict[Shape, set[Shape]] = defaultdict(set)
    for step in steps:
        if isinstance(step, LoopKernel):
            for shape in _leading(step):
                domains[shape].add(step.domain)
    return {shape for shape, found in domains.items() if len(found) > 1}


def _leading(step: Step) -> list[Shape]:
    """Shapes of rows that a kernel may have, if they are short and there are enough of them."""
    if not isinstance(step, LoopKernel) or step.reductions or not step.stores:
        return []
    shapes = (step.domain[:n] for n in range(len(step.domain), 0, -1))
    return [
        shape
        for shape in shapes
        if math.prod(step.domain[len(shape) :]) in _LENGTHS
        and math.prod(shape) >= _LEAST_ROWS
        and 1 not in shape
    ]


class _Reads:
    """What is read from memory for rows of some variables.

    Attributes:
      rows: variables of which a row reads its own row.
      elsewhere: variables that are read in any other way.
      work: vector operations that are not done when they are read.
    """

    def __init__(self, grouped: Grouped, shape: Shape) -> None:
        self.grouped, self.shape = grouped, shape
        self.rows: set[Variable] = set()
        self.elsewhere: set[Variable] = set()
        self.work = 0
        self._seen: set[tuple[Variable, bool]] = set()

    def follow(self, equation: Equation, out: Variable, own: bool = True) -> None:
        """Note what is read to compute a result of an equation; `own`: for its own row."""
        keeps = own and self._keeps(equation, out)
        if self.grouped.kinds[equation] == "element":
            self.work += cost_of(equation.primitive.name)
        for atom in equation.inputs:
            self.atom(atom, keeps and self._has_rows(atom))

    def atom(self, atom: Atom, own: bool = False) -> None:
        """Note what is read for an operand."""
        if not isinstance(atom, Variable) or (atom, own) in self._seen:
            return
        self._seen.add((atom, own))
        grouped = self.grouped
        if atom in grouped.stored or atom not in grouped.producers:
            root = grouped.memory(atom)
            if root is not None:
                (self.rows if own and root is atom else self.elsewhere).add(root)
            return
        self.follow(grouped.producers[atom], atom, own)

    def _has_rows(self, atom: Atom) -> bool:
        shape = getattr(atom.type, "shape", ())
        return bool(shape[: len(self.shape)] == self.shape)

    def _keeps(self, equation: Equation, out: Variable) -> bool:
        """Whether a row of the result needs no other row of those operands that have rows."""
        rank = len(self.shape)
        if not self._has_rows(out):
            return False
        if self.grouped.kinds[equation] == "element":
            # an operand of lower rank is aligned at the other end
            ranks = {len(a.type.shape) for a in equation.inputs if isinstance(a, Variable)}
            return all(n == len(out.type.shape) or n == 0 for n in ranks)
        rule = _KEEPS.get(equation.primitive.name)
        return rule is not None and rule(equation.params, rank, equation)


Rule = Callable[[Any, int, Equation], bool]


def _slices(params: Any, rank: int, equation: Equation) -> bool:
    (atom,) = equation.inputs
    strides = params.get("strides") or (1,) * rank
    whole = tuple(params["limit_indices"][:rank]) == tuple(atom.type.shape[:rank])
    return whole and not any(params["start_indices"][:rank]) and set(strides[:rank]) == {1}


def _pads(params: Any, rank: int, equation: Equation) -> bool:
    return all(tuple(config) == (0, 0, 0) for config in params["padding_config"][:rank])


def _reduces(params: Any, rank: int, equation: Equation) -> bool:
    return all(axis >= rank for axis in params["axes"])


def _same(params: Any, rank: int, equation: Equation) -> bool:
    return True


#: Whether views and reductions keep to rows: their leading dimensions stay what they are.
_KEEPS: dict[str, Rule] = {
    **dict.fromkeys(
        ("reshape", "stop_gradient", "checkpoint_name", "optimization_barrier"), _same
    ),
    "broadcast_in_dim": lambda params, rank, _: (
        tuple(params["broadcast_dimensions"][:rank]) == tuple(range(rank))
    ),
    "transpose": lambda params, rank, _: (
        tuple(params["permutation"][:rank]) == tuple(range(rank))
    ),
    "rev": lambda params, rank, _: all(d >= rank for d in params["dimensions"]),
    "concatenate": lambda params, rank, _: params["dimension"] >= rank,
    "slice": _slices,
    "pad": _pads,
    **dict.fromkeys(
        "reduce_sum reduce_prod reduce_max reduce_min reduce_and reduce_or reduce_xor".split(),
        _reduces,
    ),
}
