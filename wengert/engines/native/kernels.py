"""Which equations are computed together: a program becomes a list of steps.

Every equation is one of these:

| kind | examples | what becomes of it |
|---|---|---|
| element | add, tanh, select | part of the kernels that need it |
| view | slice, transpose, pad, gather | a change of index where it is read |
| reduction | reduce_sum, reduce_max | a root of a kernel over its operand's shape |
| library | dot_general, cholesky, sort | a step of its own |
| control | cond, while, scan | a step of its own, with blocks of steps |
| callback | what the engine has no code for | a step that calls the eager engine |

A *kernel* is one loop nest over a domain, with *roots*: variables it stores, and reductions. A
variable is stored when a program, a library or a later kernel needs it in memory, or when
computing it again wherever it is read would cost more than memory traffic. Everything else
lives in registers. Roots join the earliest kernel over their domain that comes after all they
read; so producers, consumers and siblings fuse, and the list stays in a valid order. At the end
kernels over the same rows are merged (`rows`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Shape
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.engines.native.elements import cost_of, is_element
from wengert.engines.native.expansion_random import is_fused
from wengert.engines.native.expressions import only_splits
from wengert.engines.native.library import find_operation
from wengert.engines.native.rows import merge_rows
from wengert.engines.native.steps import Block, LoopKernel, OpaqueStep, Step

#: Changes of index; their rules are in `expansion`.
VIEWS = frozenset(
    "broadcast_in_dim transpose reshape slice rev pad concatenate iota full gather "
    "dynamic_slice dot_general random_bits random_split random_fold_in".split()
)
RANDOM = frozenset(["random_bits", "random_split", "random_fold_in"])
#: What gives an array another name: where it is in memory, nothing is copied.
NAMES = frozenset("reshape checkpoint_name optimization_barrier stop_gradient".split())
REDUCTIONS = frozenset(
    "reduce_sum reduce_prod reduce_max reduce_min reduce_and reduce_or reduce_xor".split()
)
CONTROL = frozenset(["cond", "while", "scan", "sweeps"])

#: Reductions over so few elements become part of the expression that reads them.
_FEW = 8
#: Longest chain of operations in one expression: longer ones are stored half-way.
_DEPTH = 96
#: Roots of one kernel.
_ROOTS = 48
#: Arrays of at most so many elements live in registers or the first cache.
_TINY = 64
_CACHED_BYTES = 256 * 1024


def classify(equation: Equation) -> str:
    """The kind of an equation (see the module)."""
    name = equation.primitive.name
    if not equation.primitive.own:
        return "callback"
    if name in CONTROL:
        return "control"
    if all(dtypes.kind(t.dtype) in "biufc" for t in _types(equation)):
        if name in VIEWS and _is_view(equation):
            return "view"
        if name in REDUCTIONS:
            return "reduction"
        if is_element(equation):
            return "element"
    return "library" if find_operation(equation) else "callback"


def _types(equation: Equation) -> list[Any]:
    return [a.type for a in (*equation.inputs, *equation.outputs) if hasattr(a.type, "dtype")]


def _is_view(equation: Equation) -> bool:
    name, params = equation.primitive.name, equation.params
    if name in RANDOM:
        return is_fused(equation)
    if name == "gather" and _leaves_axis_empty(equation):
        return False
    if name in ("gather", "dynamic_slice") and not equation.outputs[0].type.size:
        return params.get("mode") not in ("error", "promise_in_bounds")  # no point checks them
    if name == "dot_general":
        return _is_outer_product(equation)
    return name != "concatenate" or len(equation.inputs) <= 16


def _is_outer_product(equation: Equation) -> bool:
    """Whether nothing is summed: each element of the result is one product."""
    (contracting, _), _ = equation.params["dimension_numbers"]
    lhs, out = equation.inputs[0].type, equation.outputs[0].type
    return lhs.dtype == out.dtype and all(lhs.shape[d] == 1 for d in contracting)


def _leaves_axis_empty(equation: Equation) -> bool:
    shape = equation.inputs[0].type.shape
    return any(shape[a] == 0 for a in equation.params["axes"])


class Grouping:
    """Makes the block of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.kinds = {e: classify(e) for e in program.equations}
        self.producers: dict[Variable, Equation] = {}
        self.aliases: dict[Variable, Atom] = {}
        self.stored: set[Variable] = {*program.inputs, *program.constants}
        self.consumers: dict[Variable, list[Equation]] = defaultdict(list)
        for equation in program.equations:
            for atom in equation.inputs:
                if type(atom) is Variable:
                    self.consumers[atom].append(equation)
        self.cost: dict[Variable, int] = {}
        self.depth: dict[Variable, int] = {}
        self.level: dict[Variable, int] = {}
        self.steps: list[Step] = []
        self.place: dict[Variable, int] = {}
        self._reads: dict[Variable, dict[Variable, bool]] = {}

    def block(self) -> Block:
        """The steps, with what is stored between them."""
        for equation in self.program.equations:
            self._measure(equation)
        self._store_required()
        self._store_shared()
        for equation in self.program.equations:
            self._schedule(equation)
        merge_rows(self)
        return Block(self.program, self.steps, self.producers, self.stored, self.aliases)

    # -- what is fused -----------------------------------------------

    def _measure(self, equation: Equation) -> None:
        """Estimate cost and depth of computing a variable from memory, in vector operations."""
        kind = self.kinds[equation]
        inputs = [a for a in equation.inputs if type(a) is Variable]
        level = max((self.level.get(a, 0) for a in inputs), default=0)
        fusible = kind in ("element", "view") or self._is_small_reduction(equation)
        for out in equation.outputs:
            self.level[out] = level if fusible else level + 1
            if not fusible:
                continue
            self.producers[out] = equation
            name = equation.primitive.name
            own = cost_of(name) if kind == "element" or name in RANDOM else 0
            own += name == "dot_general"
            factor = 1
            if kind == "reduction":
                factor = equation.inputs[0].type.size // max(out.type.size, 1)
                own = factor
            total = sum(self.cost.get(a, 1) for a in inputs) * factor + own
            self.cost[out] = min(total, 10**6)
            self.depth[out] = max((self.depth.get(a, 0) for a in inputs), default=0) + 1
            if self.depth[out] >= _DEPTH and kind == "element":
                self._store(out)

    def _is_small_reduction(self, equation: Equation) -> bool:
        if self.kinds[equation] != "reduction":
            return False
        out, operand = equation.outputs[0].type, equation.inputs[0].type
        count = operand.size // max(out.size, 1)
        return 1 <= count <= _FEW and out.size >= 1 and operand.dtype.itemsize > 2

    def _store(self, variable: Variable) -> None:
        if variable in self.producers:
            self.stored.add(variable)
            self.cost[variable], self.depth[variable] = 1, 0

    def _store_required(self) -> None:
        """Store what has to be in memory: results, and operands of what is not fused."""
        for atom in self.program.outputs:
            if type(atom) is Variable:
                self._store(atom)
        for equation in self.program.equations:
            kind = self.kinds[equation]
            if kind in ("library", "control", "callback"):
                for atom in equation.inputs:
                    if type(atom) is Variable:
                        self._store(atom)
                self.stored.update(equation.outputs)
            elif kind == "reduction" and not self._is_small_reduction(equation):
                self.stored.update(equation.outputs)
            elif equation.primitive.name == "reshape":
                self._store_reshaped(equation)

    def _store_reshaped(self, equation: Equation) -> None:
        """Where a reshape merges dimensions, its operand must be in memory."""
        (atom,), (out,) = equation.inputs, equation.outputs
        if only_splits(atom.type.shape, out.type.shape):
            return
        if type(atom) is Variable:
            self._store(self._root(atom))

    def _root(self, variable: Variable) -> Variable:
        """The variable whose memory a chain of reshapes names."""
        producer = self.producers.get(variable)
        while producer is not None and producer.primitive.name == "reshape":
            (atom,) = producer.inputs
            if variable in self.stored or type(atom) is not Variable:
                break
            variable = atom
            producer = self.producers.get(variable)
        return variable

    def _store_shared(self) -> None:
        """Store what would be computed again too often, looking from the end."""
        contexts: dict[Variable, dict[Any, float]] = {}
        for equation in reversed(self.program.equations):
            for out in equation.outputs:
                if out not in self.producers:
                    continue
                found = self._contexts(out, contexts)
                if out not in self.stored and self._should_store(out, found):
                    self._store(out)
                contexts[out] = found

    def _contexts(
        self, variable: Variable, known: dict[Variable, dict[Any, float]]
    ) -> dict[Any, float]:
        """Where a variable is read: key of a kernel and way of reading -> times per element."""
        found: dict[Any, float] = {}
        size = max(variable.type.size, 1)
        if variable in self.stored:
            found[variable.type.shape, self.level[variable], None] = 1.0
        for consumer in self.consumers[variable]:
            kind = self.kinds[consumer]
            if kind == "reduction" and not self._is_small_reduction(consumer):
                found[variable.type.shape, self.level[variable], None] = 1.0
                continue
            for out in consumer.outputs:
                if out not in self.producers:
                    continue
                same = kind == "element" and out.type.shape == variable.type.shape
                if out in self.stored and same:
                    found[out.type.shape, self.level[out], None] = 1.0
                    continue
                inner = known.get(out, {})
                if out in self.stored:
                    inner = {(out.type.shape, self.level[out], None): 1.0}
                for (domain, level, way), times in inner.items():
                    key = (domain, level, way if same else (id(out), way))
                    ratio = times if same else times * max(out.type.size, 1) / size
                    found[key] = max(found.get(key, 0.0), ratio)
        return found

    def _should_store(self, variable: Variable, contexts: dict[Any, float]) -> bool:
        """Whether memory traffic is cheaper than computing a variable where it is read."""
        producer = self.producers[variable]
        if self.kinds[producer] == "view" and producer.primitive.name not in RANDOM:
            return False
        times = sum(contexts.values())
        cost, size = self.cost[variable], variable.type.size
        if times <= 1.0 or not size:
            return False
        if size <= _TINY:
            return len(contexts) > 1 or times > 1.5
        if any(math.prod(domain) > 2 * size for domain, _, _ in contexts):
            return cost > 3  # it is small beside what is computed from it
        large = size * variable.type.dtype.itemsize > _CACHED_BYTES
        return (times - 1) * cost > (24 if large else 6) * times

    # -- in which order -----------------------------------------------

    def _schedule(self, equation: Equation) -> None:
        kind = self.kinds[equation]
        if kind in ("library", "control", "callback"):
            self.steps.append(OpaqueStep(equation, kind))
            for out in equation.outputs:
                self.place[out] = len(self.steps) - 1
        elif kind == "reduction" and not self._is_small_reduction(equation):
            (atom,) = equation.inputs
            reads = self._reads_of_atom(atom, identity=True)
            self._join(equation.inputs[0].type.shape, reads, equation)
        else:
            for out in equation.outputs:
                if out in self.stored:
                    self._schedule_store(equation, out)

    def _schedule_store(self, equation: Equation, out: Variable) -> None:
        if equation.primitive.name in NAMES and self._is_alias(equation):
            self.aliases[out] = equation.inputs[0]
            atom = equation.inputs[0]
            self.place[out] = self.place.get(atom, -1) if type(atom) is Variable else -1
            return
        self._join(out.type.shape, self._reads_of(equation), out)

    def _is_alias(self, equation: Equation) -> bool:
        (atom,), (out,) = equation.inputs, equation.outputs
        if type(atom) is not Variable or atom not in self.stored:
            return False
        return out not in set(self.program.outputs)

    def _join(self, domain: Shape, reads: dict[Variable, bool], root: Any) -> None:
        """Add a root to the first kernel over its domain that may have it, or to a new one."""
        ready = 0
        for variable, in_place in reads.items():
            place = self.place.get(variable, -1)
            if place < 0:
                continue
            step = self.steps[place]
            same = (
                in_place
                and isinstance(step, LoopKernel)
                and step.domain == domain
                and variable in step.stores
            )
            ready = max(ready, place if same else place + 1)
        place = next(
            (
                p
                for p in range(ready, len(self.steps))
                if isinstance(self.steps[p], LoopKernel)
                and self.steps[p].domain == domain  # type: ignore[union-attr]
                and len(self.steps[p].outputs) < _ROOTS
            ),
            len(self.steps),
        )
        if place == len(self.steps):
            self.steps.append(LoopKernel(domain))
        kernel = self.steps[place]
        assert isinstance(kernel, LoopKernel)
        if isinstance(root, Variable):
            kernel.stores.append(root)
            self.place[root] = place
        else:
            kernel.reductions.append(root)
            self.place[root.outputs[0]] = place

    def _reads_of_atom(self, atom: Atom, identity: bool) -> dict[Variable, bool]:
        """The stored variables that an operand is computed from; True where read in place."""
        if type(atom) is not Variable:
            return {}
        if atom in self.stored or atom not in self.producers:
            root = self.memory(atom)
            return {} if root is None else {root: identity and root is atom}
        known = self._reads.get(atom)
        if known is None:
            known = self._reads[atom] = self._reads_of(self.producers[atom])
        return known if identity else dict.fromkeys(known, False)

    def memory(self, variable: Variable) -> Variable | None:
        """The variable whose memory a variable names; None for the name of a number."""
        while variable in self.aliases:
            atom = self.aliases[variable]
            if type(atom) is not Variable:
                return None
            variable = atom
        return variable

    def _reads_of(self, equation: Equation) -> dict[Variable, bool]:
        kind = self.kinds[equation]
        out = equation.outputs[0].type
        reads: dict[Variable, bool] = {}
        for atom in equation.inputs:
            identity = kind == "element" and getattr(atom.type, "shape", None) == out.shape
            for variable, in_place in self._reads_of_atom(atom, identity).items():
                reads[variable] = reads.get(variable, True) and in_place
        return reads


def group(program: Program) -> Block:
    """The steps of a program (see the module)."""
    return Grouping(program).block()


def literal_dtype(equation: Equation, position: int) -> np.dtype[Any]:
    """The dtype that a Python scalar at a position of an elementwise equation takes."""
    if equation.primitive.name == "select":
        return equation.outputs[0].type.dtype
    arrays = [a.type.dtype for a in equation.inputs if hasattr(a.type, "dtype")]
    return arrays[0]
