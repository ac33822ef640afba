"""Kernels over rows: what a few kernels hand each other through memory stays in registers.

The state of a point in space, or of one of many simulations, is a short row of an array: rates
are computed from its elements, stacked again, and so on. Element by element that takes a
kernel for every such stage. Here kernels whose domains begin with the same dimensions, and
which read of each other's results only their own row, become one kernel over the rows. It
computes all elements of a row at once, and stores those that others need.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from wengert.core.array import Shape
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.engines.native.elements import cost_of
from wengert.engines.native.steps import LoopKernel, OpaqueStep, Step

#: Elements of a row, and rows, that this is done for.
LONGEST = 4
_LEAST_ROWS = 16
#: Vector operations of a kernel for a vector of rows.
_MOST_COST = 800


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
    first = 0
    while first < len(grouped.steps):
        step = grouped.steps[first]
        for shape in _leading(step):
            members = _members(grouped, first, shape)
            if len({grouped.steps[m].domain for m in members}) > 1:  # type: ignore[union-attr]
                _merge(grouped, members, shape)
                break
        first += 1


def _leading(step: Step) -> list[Shape]:
    """Shapes of rows that a kernel may have."""
    if not isinstance(step, LoopKernel) or step.reductions or not step.stores:
        return []
    domain = step.domain
    return [domain[:n] for n in range(len(domain), 0, -1) if _is_long(domain, domain[:n])]


def _is_long(domain: Shape, shape: Shape) -> bool:
    """Whether a domain is one of short rows, and there are enough of them."""
    rows = math.prod(shape)
    short = domain[: len(shape)] == shape and math.prod(domain[len(shape) :]) in _LENGTHS
    return short and rows >= _LEAST_ROWS and 1 not in shape


_LENGTHS = range(1, LONGEST + 1)


def _members(grouped: Grouped, first: int, shape: Shape) -> list[int]:
    """The kernels that can become one in the place of the first."""
    steps = grouped.steps
    start = steps[first]
    assert isinstance(start, LoopKernel)
    members, inside = [first], set(start.outputs)
    cost = _cost(_reads_of(grouped, start, shape), start)
    later = {v for step in steps[first:] for v in step.outputs}
    for number in range(first + 1, len(steps)):
        step = steps[number]
        if not isinstance(step, LoopKernel) or step.reductions or not step.stores:
            continue
        if not _is_long(step.domain, shape):
            continue
        reads = _reads_of(grouped, step, shape)
        own = _cost(reads, step)
        if cost + own > _MOST_COST or reads.elsewhere & later or (reads.rows & later) - inside:
            continue
        members.append(number)
        inside.update(step.stores)
        cost += own
    return members


def _reads_of(grouped: Grouped, step: LoopKernel, shape: Shape) -> _Reads:
    reads = _Reads(grouped, shape)
    for variable in step.stores:
        reads.follow(grouped.producers[variable], variable)
    return reads


def _cost(reads: _Reads, step: LoopKernel) -> int:
    """Vector operations for a vector of rows, about."""
    return reads.work * math.prod(step.domain[len(reads.shape) :])


def _merge(grouped: Grouped, members: list[int], shape: Shape) -> None:
    steps = grouped.steps
    kernels = [step for m in members if isinstance(step := steps[m], LoopKernel)]
    others = [step for number, step in enumerate(steps) if number not in members]
    needed = _needed(grouped, others)
    stores = [v for kernel in kernels for v in kernel.stores]
    for variable in stores:
        if variable not in needed:
            grouped.stored.discard(variable)
    merged = LoopKernel(shape, [v for v in stores if v in needed])
    steps[members[0]] = merged
    for number in reversed(members[1:]):
        del steps[number]


def _needed(grouped: Grouped, steps: list[Step]) -> set[Variable]:
    """The variables that must be in memory for these steps, for results and for other names."""
    atoms: list[Any] = [*grouped.program.outputs, *grouped.aliases, *grouped.aliases.values()]
    needed: set[Variable] = set()
    for step in steps:
        if isinstance(step, OpaqueStep):
            atoms += step.equation.inputs
            continue
        reads = _reads_of(grouped, step, ())
        for equation in step.reductions:
            reads.atom(equation.inputs[0], False)
        needed |= reads.elsewhere | reads.rows
    for atom in atoms:
        if isinstance(atom, Variable):
            root = grouped.memory(atom)
            needed |= {atom} if root is None else {atom, root}
    return needed


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

    def atom(self, atom: Atom, own: bool) -> None:
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
