"""A fused kernel as a graph of scalar expressions over the points of its domain.

A kernel's domain is the set of points `(i0, i1, ...)` with `0 <= ik < nk`. What it computes at
one point is a graph of *nodes*; where a node reads an array, the position is *affine* in the
point: a tuple of one coefficient per axis, and a constant. Broadcasting, transposition,
slicing, reversal and splitting reshapes therefore vanish into the coefficients; padding and
concatenation become choices by position; gathers add computed terms to the position.

Nodes are hash-consed: equal expressions are one object, so common subexpressions are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.array import Shape
from wengert.core.dtypes import DType
from wengert.core.program import Variable

#: One coefficient per axis of the domain, and at the end the constant.
Affine = tuple[int, ...]
#: Where along one dimension: affine in the point, or computed (a node of dtype int64).
Index = Any

INDEX = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)


class Node:
    """A scalar at each point of the domain.

    Attributes:
      dtype: of the scalar.
      key: what makes two nodes equal.
    """

    __slots__ = ("dtype", "key")

    def __init__(self, dtype: DType, key: Any) -> None:
        self.dtype = dtype
        self.key = key

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that it is computed from."""
        return ()

    @property
    def affines(self) -> tuple[Affine, ...]:
        """The affine forms that it uses itself."""
        return ()


class Constant(Node):
    """The same number at all points."""

    __slots__ = ("value",)

    def __init__(self, value: Any, dtype: DType) -> None:
        scalar = np.asarray(value).astype(dtype)
        super().__init__(dtype, ("constant", dtype, scalar.tobytes()))
        self.value = scalar[()]


class Coordinate(Node):
    """A position, as a number."""

    __slots__ = ("affine",)

    def __init__(self, affine: Affine, dtype: DType) -> None:
        super().__init__(dtype, ("coordinate", affine, dtype))
        self.affine = affine

    @property
    def affines(self) -> tuple[Affine, ...]:
        return (self.affine,)


class Load(Node):
    """An element of an array in memory, at an affine offset plus computed terms.

    Attributes:
      variable: the array.
      offset: in elements.
      terms: (node, stride) pairs: computed positions and what they count for.
    """

    __slots__ = ("offset", "terms", "variable")

    def __init__(
        self, variable: Variable, offset: Affine, terms: Sequence[tuple[Node, int]] = ()
    ) -> None:
        terms = tuple(terms)
        key = ("load", variable, offset, tuple((id(node), n) for node, n in terms))
        super().__init__(variable.type.dtype, key)
        self.variable = variable
        self.offset = offset
        self.terms = terms

    @property
    def inputs(self) -> tuple[Node, ...]:
        return tuple(node for node, _ in self.terms)

    @property
    def affines(self) -> tuple[Affine, ...]:
        return (self.offset,)


class Apply(Node):
    """An elementwise operation, by its name in the table of `elements`."""

    __slots__ = ("args", "name", "params")

    def __init__(
        self, name: str, args: Sequence[Node], dtype: DType, params: dict[str, Any]
    ) -> None:
        self.args = tuple(args)
        frozen = tuple(sorted(params.items())) if params else ()
        super().__init__(dtype, (name, frozen, dtype, tuple(id(a) for a in self.args)))
        self.name = name
        self.params = params

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.args


class Choose(Node):
    """One node where `low <= affine < high` for all conditions, another elsewhere.

    The inner node is evaluated only where the conditions hold; loads in it would otherwise
    leave their arrays.
    """

    __slots__ = ("conditions", "inside", "outside")

    def __init__(
        self, conditions: Sequence[tuple[Affine, int, int]], inside: Node, outside: Node
    ) -> None:
        self.conditions = tuple(conditions)
        key = ("choose", self.conditions, id(inside), id(outside))
        super().__init__(inside.dtype, key)
        self.inside = inside
        self.outside = outside

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.inside, self.outside

    @property
    def affines(self) -> tuple[Affine, ...]:
        return tuple(affine for affine, _, _ in self.conditions)


class Checked(Node):
    """A computed position that must lie in `[0, limit)`; the kernel fails where it does not.

    Negative positions count from the end: `size` is added to them first.
    """

    __slots__ = ("index", "limit", "size")

    def __init__(self, index: Node, size: int, limit: int) -> None:
        super().__init__(INDEX, ("checked", id(index), size, limit))
        self.index = index
        self.size = size
        self.limit = limit

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.index,)


class Kept(Node):
    """A node together with checks of positions that its value does not depend on."""

    __slots__ = ("checks", "node")

    def __init__(self, node: Node, checks: Sequence[Node]) -> None:
        super().__init__(node.dtype, ("kept", id(node), tuple(map(id, checks))))
        self.node = node
        self.checks = tuple(checks)

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.node, *self.checks)


class Interner:
    """Makes equal nodes one object."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}

    def __call__(self, node: Node) -> Any:
        return self._known.setdefault(node.key, node)


# -- affine forms -----------------------------------------------


def axis_index(rank: int, axis: int) -> Affine:
    """The position along one axis of the domain."""
    return (*(int(i == axis) for i in range(rank)), 0)


def fixed(rank: int, position: int = 0) -> Affine:
    """The same position at all points."""
    return (*(0,) * rank, position)


def scaled(a: Affine, factor: int, shift: int = 0) -> Affine:
    """`a * factor + shift`."""
    if factor != 1:
        a = tuple(c * factor for c in a)
    return (*a[:-1], a[-1] + shift) if shift else a


def plus(a: Affine, b: Affine) -> Affine:
    """The sum of two affine forms."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def row_major(shape: Shape) -> tuple[int, ...]:
    """Strides, in elements, of a dense array."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)


def identity(shape: Shape) -> tuple[Affine, ...]:
    """The index of each point in an array of the domain's shape."""
    rank = len(shape)
    return tuple(axis_index(rank, i) if n != 1 else fixed(rank) for i, n in enumerate(shape))


def reduced_offset(domain: Shape, axes: frozenset[int]) -> Affine:
    """Where the element of each point is in an array without some of the dimensions."""
    kept = [d for d in range(len(domain)) if d not in axes]
    offset = [0] * (len(domain) + 1)
    for d, stride in zip(kept, row_major(tuple(domain[d] for d in kept)), strict=True):
        offset[d] = stride if domain[d] != 1 else 0
    return tuple(offset)


def load(
    intern: Interner, rank: int, variable: Variable, index: Sequence[Index], shape: Shape
) -> Node:
    """An element of a dense array that is indexed as if it had this shape."""
    offset = fixed(rank)
    terms = []
    for i, stride in zip(index, row_major(shape), strict=True):
        if type(i) is tuple:
            offset = plus(offset, scaled(i, stride))
        else:
            terms.append((i, stride))
    node: Node = intern(Load(variable, offset, terms))
    return node


def matching_groups(source: Shape, target: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Runs of dimensions of two shapes with equal products, in order.

    None where an array is empty: there is nothing to index then.

    >>> matching_groups((6, 4), (2, 3, 4))
    [([0], [0, 1]), ([1], [2])]
    """
    if 0 in source:
        return None
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(source) or j < len(target):
        left, right = [], []
        a = b = 1
        if i < len(source):
            left, a, i = [i], source[i], i + 1
        if j < len(target):
            right, b, j = [j], target[j], j + 1
        while a != b:
            if a < b:
                left.append(i)
                a, i = a * source[i], i + 1
            else:
                right.append(j)
                b, j = b * target[j], j + 1
        groups.append((left, right))
    return groups


def only_splits(source: Shape, target: Shape) -> bool:
    """Whether a reshape only splits dimensions, and adds and drops dimensions of size 1."""
    groups = matching_groups(source, target)
    return groups is not None and all(
        sum(source[i] != 1 for i in left) <= 1 for left, _ in groups
    )
