"""From equations to expressions: what a kernel computes at one point of its domain.

`Expansion` follows a kernel's roots back through the equations that are fused into it. A view
changes the index with which its operand is read (its rule is in the table `_VIEWS`); an
element applies an operation; a small reduction becomes a chain of operations; what is in
memory becomes a load.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.program import Atom, Equation, Literal, Variable
from wengert.engines.native.elements_random import WORDS
from wengert.engines.native.expansion_random import (
    random_bits,
    random_fold_in,
    random_split,
    word,
)
from wengert.engines.native.expressions import (
    BOOL,
    INDEX,
    Affine,
    Apply,
    Checked,
    Choose,
    Constant,
    Coordinate,
    Index,
    Interner,
    Kept,
    Node,
    fixed,
    identity,
    load,
    matching_groups,
    plus,
    row_major,
    scaled,
)
from wengert.engines.native.kernels import literal_dtype
from wengert.engines.native.steps import Block, LoopKernel
from wengert.primitives.index import default_fill

#: Primitives that combine two elements as a reduction does.
COMBINE = {
    "reduce_sum": "add",
    "reduce_prod": "mul",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_and": "bitwise_and",
    "reduce_or": "bitwise_or",
    "reduce_xor": "bitwise_xor",
}


class Root(NamedTuple):
    """What is stored: a node, and where in a variable's array, in elements."""

    variable: Variable
    node: Node
    offset: Affine


class Expansion:
    """The expressions of one kernel.

    Attributes:
      rank: of the domain.
      roots: what is stored; of a kernel over rows, every element of a row.
      reductions: (equation, node) pairs.
    """

    def __init__(self, block: Block, kernel: LoopKernel) -> None:
        self.block = block
        self.domain = kernel.domain
        self.rank = len(kernel.domain)
        self.intern = Interner()
        self._identity = identity(kernel.domain)
        self._known: dict[Any, Node] = {}
        self._heads = set(kernel.stores)
        self.roots = [root for v in kernel.stores for root in self._row(v)]
        self.reductions = [
            (e, self.atom(e.inputs[0], self._identity)) for e in kernel.reductions
        ]

    @property
    def heads(self) -> list[Node]:
        """The nodes that are stored or reduced."""
        return [*(root.node for root in self.roots), *(node for _, node in self.reductions)]

    def _row(self, variable: Variable) -> Iterator[Root]:
        """What is stored of a variable at one point of the domain."""
        shape = variable.type.shape
        for place in itertools.product(*(range(n) for n in shape[self.rank :])):
            index = (*self._identity, *(fixed(self.rank, i) for i in place))
            offset = fixed(self.rank)
            for i, stride in zip(index, row_major(shape), strict=True):
                offset = plus(offset, scaled(i, stride))
            yield Root(variable, self._computed(variable, index), offset)

    # -- reading -----------------------------------------------

    def atom(self, atom: Atom, index: Sequence[Index], dtype: Any = None) -> Node:
        """An operand at an index; a Python scalar takes the dtype that is given."""
        if type(atom) is Literal:
            value = atom.value
            scalar = value._value if hasattr(value, "_value") else value
            return self.constant(scalar, getattr(value, "dtype", dtype))
        assert isinstance(atom, Variable)
        return self.variable(atom, tuple(index))

    def constant(self, value: Any, dtype: Any) -> Node:
        """A number."""
        return self.intern(Constant(value, dtype))

    def variable(self, variable: Variable, index: tuple[Index, ...]) -> Node:
        """A variable at an index: computed here, or loaded."""
        if variable in self.block.aliases:
            return self._aliased(variable, index, variable.type.shape)
        if variable in self._heads and self._is_row(index):
            return self._computed(variable, index)
        if variable in self.block.stored or variable not in self.block.producers:
            return load(self.intern, self.rank, variable, index, variable.type.shape)
        return self._computed(variable, index)

    def _is_row(self, index: tuple[Index, ...]) -> bool:
        """Whether an index is in the row that is computed, at a place that is known."""
        places = index[self.rank :]
        known = all(type(i) is tuple and not any(i[:-1]) for i in places)
        return known and index[: self.rank] == self._identity

    def _aliased(self, variable: Variable, index: Sequence[Index], shape: Shape) -> Node:
        """An element of memory by another shape than that of the variable that owns it."""
        atom: Atom = variable
        while isinstance(atom, Variable) and atom in self.block.aliases:
            atom = self.block.aliases[atom]
        if isinstance(atom, Literal):
            return self.atom(atom, ())
        return load(self.intern, self.rank, atom, index, shape)

    def _computed(self, variable: Variable, index: tuple[Index, ...]) -> Node:
        key = variable, tuple(i if type(i) is tuple else id(i) for i in index)
        node = self._known.get(key)
        if node is None:
            equation = self.block.producers[variable]
            view = _VIEWS.get(equation.primitive.name)
            if view is not None:
                node = view(self, equation, index)
            elif equation.primitive.name in COMBINE:
                node = self._small_reduction(equation, index)
            elif equation.primitive.name == "threefry2x32":
                words = self._element(equation, index, WORDS)
                node = word(self.intern, words, equation.outputs.index(variable))
            else:
                node = self._element(equation, index, equation.outputs[0].type.dtype)
            self._known[key] = node
        return node

    def _element(self, equation: Equation, index: Sequence[Index], dtype: Any) -> Node:
        rank = len(index)
        args = []
        for position, atom in enumerate(equation.inputs):
            if type(atom) is Literal:
                args.append(self.atom(atom, (), literal_dtype(equation, position)))
                continue
            shape = atom.type.shape
            offset = rank - len(shape)
            args.append(
                self.atom(
                    atom,
                    [
                        self._zero() if n == 1 else index[offset + d]
                        for d, n in enumerate(shape)
                    ],
                )
            )
        if equation.primitive.name == "pow" and dtypes.kind(dtype) == "i":
            args[1] = self._not_negative(args[1], dtype)
        params = {k: v for k, v in equation.params.items() if k not in ("dtype", "weak")}
        return self.intern(Apply(equation.primitive.name, args, dtype, params))

    def _not_negative(self, exponent: Node, dtype: Any) -> Node:
        """The exponent of an integer, which no power of it exists for if it is negative."""
        if isinstance(exponent, Constant) and exponent.value >= 0:
            return exponent
        wide = self.intern(Apply("convert", (exponent,), INDEX, {}))
        checked = self.intern(Checked(wide, 0, np.iinfo(np.int64).max))
        return self.intern(Apply("convert", (checked,), dtype, {}))

    def _small_reduction(self, equation: Equation, index: Sequence[Index]) -> Node:
        (atom,), axes = equation.inputs, equation.params["axes"]
        shape = atom.type.shape
        combine, dtype = COMBINE[equation.primitive.name], atom.type.dtype
        total: Node | None = None
        for steps in itertools.product(*(range(shape[a]) for a in axes)):
            given = iter(index)
            inner = dict(zip(axes, steps, strict=True))
            place = [
                fixed(self.rank, inner[d]) if d in inner else next(given)
                for d in range(len(shape))
            ]
            term = self.atom(atom, place)
            total = (
                term if total is None else self.intern(Apply(combine, (total, term), dtype, {}))
            )
        assert total is not None
        return total

    def _zero(self) -> Affine:
        return fixed(self.rank)

    # -- arithmetic on indices -----------------------------------------------

    def as_node(self, index: Index) -> Node:
        """An index as a number."""
        return self.intern(Coordinate(index, INDEX)) if type(index) is tuple else index

    def shifted(self, index: Index, factor: int, shift: int) -> Index:
        """`index * factor + shift`."""
        if type(index) is tuple:
            return scaled(index, factor, shift)
        node = index
        if factor != 1:
            node = self.integer("mul", node, self.constant(factor, INDEX))
        return self.integer("add", node, self.constant(shift, INDEX)) if shift else node

    def integer(self, name: str, *args: Node) -> Node:
        """An operation on positions."""
        return self.intern(Apply(name, args, INDEX, {}))

    def sum_of(self, a: Index, b: Index) -> Index:
        """The sum of two indices."""
        if type(a) is tuple and type(b) is tuple:
            return plus(a, b)
        return self.integer("add", self.as_node(a), self.as_node(b))

    def where(
        self, conditions: Sequence[tuple[Index, int, int]], inside: Any, outside: Any
    ) -> Node:
        """A choice by positions; `inside` and `outside` make the nodes."""
        known = [c for c in conditions if type(c[0]) is tuple and not any(c[0][:-1])]
        if not all(low <= index[-1] < high for index, low, high in known):
            return outside()
        conditions = [c for c in conditions if c not in known]
        affine = [c for c in conditions if type(c[0]) is tuple]
        node: Node = inside()
        for index, low, high in conditions:
            if type(index) is tuple:
                continue
            truth = self.between(index, low, high)
            node = self.intern(Apply("select", (truth, node, outside()), node.dtype, {}))
        return self.intern(Choose(affine, node, outside())) if affine else node

    def inside(self, index: Index, size: int) -> Index:
        """A position moved into an array, where it is computed on both sides of a choice."""
        if type(index) is tuple:
            return index
        return self.integer(
            "clamp", self.constant(0, INDEX), index, self.constant(size - 1, INDEX)
        )

    def between(self, index: Node, low: int, high: int) -> Node:
        """Whether `low <= index < high`."""
        first = self.intern(Apply("ge", (index, self.constant(low, INDEX)), BOOL, {}))
        second = self.intern(Apply("lt", (index, self.constant(high, INDEX)), BOOL, {}))
        return self.intern(Apply("bitwise_and", (first, second), BOOL, {}))


# -- views -----------------------------------------------

View = Callable[[Expansion, Equation, Sequence[Index]], Node]


def _broadcast_in_dim(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    (atom,), dims = equation.inputs, equation.params["broadcast_dimensions"]
    shape = getattr(atom.type, "shape", ())
    place = [fixed(e.rank) if n == 1 else index[d] for n, d in zip(shape, dims, strict=True)]
    return e.atom(atom, place, equation.outputs[0].type.dtype)


def _transpose(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    permutation = equation.params["permutation"]
    place: list[Index] = [None] * len(permutation)
    for i, d in zip(index, permutation, strict=True):
        place[d] = i
    return e.atom(equation.inputs[0], place)


def _slice(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    params = equation.params
    starts = params["start_indices"]
    strides = params.get("strides") or (1,) * len(starts)
    place = [
        e.shifted(i, stride, start)
        for i, start, stride in zip(index, starts, strides, strict=True)
    ]
    return e.atom(equation.inputs[0], place)


def _rev(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    (atom,), dims = equation.inputs, equation.params["dimensions"]
    place = [
        e.shifted(i, -1, n - 1) if d in dims else i
        for d, (i, n) in enumerate(zip(index, atom.type.shape, strict=True))
    ]
    return e.atom(atom, place)


def _reshape(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    (atom,), (out,) = equation.inputs, equation.outputs
    if type(atom) is Literal:
        return e.atom(atom, (), out.type.dtype)
    place = _merged(e, atom.type.shape, out.type.shape, index)
    if place is not None:
        return e.atom(atom, place)
    assert isinstance(atom, Variable)
    return _renamed(e, atom, index, out.type.shape)


def _renamed(e: Expansion, root: Variable, index: Sequence[Index], shape: Shape) -> Node:
    """An element of dense memory, whatever the dimensions by which its owner is named."""
    while root not in e.block.stored and root in e.block.producers:
        producer = e.block.producers[root]
        (source,) = producer.inputs[:1]
        if producer.primitive.name != "reshape" or not isinstance(source, Variable):
            break
        root = source
    if root in e.block.aliases:
        return e._aliased(root, index, shape)
    return load(e.intern, e.rank, root, index, shape)


def _merged(
    e: Expansion, source: Shape, target: Shape, index: Sequence[Index]
) -> list[Index] | None:
    """The index before a reshape that splits dimensions only, or None."""
    groups = matching_groups(source, target)
    if groups is None:
        return None
    place: list[Index] = [fixed(e.rank)] * len(source)
    for left, right in groups:
        kept = [i for i in left if source[i] != 1]
        if len(kept) > 1:
            return None
        total: Index = fixed(e.rank)
        for j in right:
            total = e.sum_of(e.shifted(total, target[j], 0), index[j])
        if kept:
            place[kept[0]] = total
    return place


def _pad(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    atom, value = equation.inputs
    out = equation.outputs[0].type
    if not atom.type.size:
        return e.atom(value, (), out.dtype)
    place: list[Index] = []
    conditions: list[tuple[Index, int, int]] = []
    for i, n, (low, high, interior) in zip(
        index, atom.type.shape, equation.params["padding_config"], strict=True
    ):
        moved = e.shifted(i, 1, -low)
        if interior and n > 1:
            moved = _between_gaps(e, moved, n, interior + 1, conditions)
        elif low > 0 or high > 0:
            conditions.append((moved, 0, n))
            moved = e.inside(moved, n)
        place.append(moved)
    return e.where(
        conditions,
        lambda: e.atom(atom, place),
        lambda: e.atom(value, (), out.dtype),
    )


def _between_gaps(
    e: Expansion, index: Index, n: int, step: int, conditions: list[tuple[Index, int, int]]
) -> Index:
    """The position among `n` elements that are `step` apart; appends where there is one."""
    node = e.as_node(index)
    if step & (step - 1) == 0:
        rest = e.integer("bitwise_and", node, e.constant(step - 1, INDEX))
        distance = e.constant(step.bit_length() - 1, INDEX)
        place = e.integer("shift_right_arithmetic", node, distance)
    else:
        rest = e.integer("mod", node, e.constant(step, INDEX))
        place = e.integer("floor_divide", node, e.constant(step, INDEX))
    conditions.append((rest, 0, 1))
    conditions.append((place, 0, n))
    return e.inside(place, n)


def _concatenate(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    dimension = equation.params["dimension"]
    start = 0
    parts = []
    for atom in equation.inputs:
        n = atom.type.shape[dimension]
        if n:
            parts.append((atom, start, n))
        start += n
    if not parts:  # there is no point at which it could be read
        return e.constant(0, equation.outputs[0].type.dtype)
    return _part(e, parts, list(index), dimension)


def _part(
    e: Expansion, parts: Sequence[tuple[Atom, int, int]], index: list[Index], dimension: int
) -> Node:
    atom, start, n = parts[-1]
    place = [*index]
    moved = e.shifted(index[dimension], 1, -start)
    place[dimension] = e.inside(moved, n)
    if len(parts) == 1:
        return e.atom(atom, place)
    return e.where(
        [(moved, 0, n)],
        lambda: e.atom(atom, place),
        lambda: _part(e, parts[:-1], index, dimension),
    )


def _iota(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    position, dtype = index[equation.params["dimension"]], equation.outputs[0].type.dtype
    if type(position) is tuple:
        return e.intern(Coordinate(position, dtype))
    return e.intern(Apply("convert", (position,), dtype, {}))


def _full(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    return e.constant(equation.params["value"], equation.outputs[0].type.dtype)


def _gather(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    x, *indices = equation.inputs
    axes, mode = equation.params["axes"], equation.params.get("mode", "error")
    shape: Shape = x.type.shape
    joint = len(index) - (len(shape) - len(axes))
    leading, rest = list(index[:joint]), iter(index[joint:])
    place: list[Index] = [None] * len(shape)
    valid: list[Node] = []
    for atom, axis in zip(indices, axes, strict=True):
        own = atom.type.shape
        offset = joint - len(own)
        at = [fixed(e.rank) if n == 1 else leading[offset + d] for d, n in enumerate(own)]
        node = e.intern(Apply("convert", (e.atom(atom, at),), INDEX, {}))
        place[axis] = _resolved(e, node, shape[axis], mode, valid)
    for d in range(len(shape)):
        if d not in axes:
            place[d] = next(rest)
    taken = _with_checks(e, e.atom(x, place), place)
    if not valid:
        return taken
    fill = equation.params.get("fill_value")
    dtype = x.type.dtype
    missing = e.constant(default_fill(dtype) if fill is None else fill, dtype)
    truth = valid[0]
    for other in valid[1:]:
        truth = e.intern(Apply("bitwise_and", (truth, other), BOOL, {}))
    return e.intern(Apply("select", (truth, taken, missing), dtype, {}))


def _resolved(e: Expansion, node: Node, size: int, mode: str, valid: list[Node]) -> Node:
    """A computed position with the bounds applied by the mode; appends what must hold."""
    n, zero = e.constant(size, INDEX), e.constant(0, INDEX)
    if mode == "wrap":
        return e.integer("mod", node, n)
    if mode in ("error", "promise_in_bounds"):
        return e.intern(Checked(node, size, size))
    negative = e.intern(Apply("lt", (node, zero), BOOL, {}))
    node = e.integer("select", negative, e.integer("add", node, n), node)
    if mode in ("fill", "drop"):
        inside = e.between(node, 0, size)
        valid.append(inside)
        return e.integer("select", inside, node, zero)
    return e.integer("clamp", zero, node, e.constant(size - 1, INDEX))


def _dynamic_slice(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    x, *starts = equation.inputs
    sizes, mode = equation.outputs[0].type.shape, equation.params.get("mode", "error")
    place: list[Index] = []
    checks: list[Node] = []
    for axis, (start, i) in enumerate(zip(starts, index, strict=True)):
        n, size = x.type.shape[axis], sizes[axis]
        node = e.intern(Apply("convert", (e.atom(start, ()),), INDEX, {}))
        room = n - size
        if mode == "clip":
            negative = e.intern(Apply("lt", (node, e.constant(0, INDEX)), BOOL, {}))
            moved = e.integer("add", node, e.constant(n, INDEX))
            node = e.integer("select", negative, moved, node)
            node = e.integer("clamp", e.constant(0, INDEX), node, e.constant(room, INDEX))
        else:
            node = e.intern(Checked(node, n, room + 1))
            checks.append(node)
        place.append(e.sum_of(node, i) if i != fixed(e.rank) else node)
    return _with_checks(e, e.atom(x, place), checks)


def _with_checks(e: Expansion, node: Node, places: Sequence[Index]) -> Node:
    """The node and the checks among the places, where it is the same at all positions."""
    checks = [p for p in places if isinstance(p, Checked)]
    lost = set(checks)
    stack, seen = [node], {node}
    while stack and lost:
        found = stack.pop()
        lost.discard(found)
        new = [i for i in found.inputs if i not in seen]
        seen.update(new)
        stack += new
    return e.intern(Kept(node, [c for c in checks if c in lost])) if lost else node


def _outer_product(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    (lc, rc), (lb, rb) = equation.params["dimension_numbers"]
    lhs, rhs = equation.inputs
    batch, free = list(index[: len(lb)]), iter(index[len(lb) :])
    factors = []
    for atom, contracting, own in ((lhs, lc, lb), (rhs, rc, rb)):
        place: list[Index] = [None] * len(atom.type.shape)
        for d, i in zip(own, batch, strict=True):
            place[d] = i
        for d in range(len(place)):
            if d in contracting:
                place[d] = fixed(e.rank)
            elif d not in own:
                place[d] = next(free)
        factors.append(e.atom(atom, place))
    return e.intern(Apply("mul", factors, equation.outputs[0].type.dtype, {}))


_VIEWS: dict[str, View] = {
    "dot_general": _outer_product,
    "broadcast_in_dim": _broadcast_in_dim,
    "transpose": _transpose,
    "slice": _slice,
    "rev": _rev,
    "reshape": _reshape,
    "pad": _pad,
    "concatenate": _concatenate,
    "iota": _iota,
    "full": _full,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "random_bits": random_bits,
    "random_split": random_split,
    "random_fold_in": random_fold_in,
}


def neutral(name: str, type_: ArrayType) -> Any:
    """The number that a reduction starts from."""
    kind, dtype = dtypes.kind(type_.dtype), type_.dtype
    if name in ("reduce_sum", "reduce_or", "reduce_xor"):
        return 0
    if name == "reduce_prod":
        return 1
    if name == "reduce_and":
        return True if kind == "b" else -1 if kind == "i" else np.iinfo(dtype).max
    if kind == "f":
        return -np.inf if name == "reduce_max" else np.inf
    if kind == "b":
        return name == "reduce_min"
    info = np.iinfo(dtype)
    return info.min if name == "reduce_max" else info.max
