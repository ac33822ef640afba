"""Contractions of strided arrays: the common form of matrix products and convolutions.

A `Contraction` says that every element of the result is a sum of products over the `summed`
dimensions; `left` dimensions belong to the first operand and the result, `right` ones to the
second and the result, `shared` ones to all three. Any strides are allowed, so the windows of a
convolution need no copies: a position and a tap step through the same memory.

`choose` finds the dimension that becomes the vector: one of the left or right operand, whose
elements are multiplied with single ones of the other, or a summed one (dot products).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Dim(NamedTuple):
    """A dimension: its size, and its stride (in elements) in each array; 0 where it is not."""

    size: int
    left: int
    right: int
    out: int


class Contraction(NamedTuple):
    """Dimensions by role, outermost first; those of size 1 may be left out."""

    shared: tuple[Dim, ...]
    left: tuple[Dim, ...]
    right: tuple[Dim, ...]
    summed: tuple[Dim, ...]

    def swapped(self) -> Contraction:
        """The same with the operands exchanged."""

        def swap(dims: Sequence[Dim]) -> tuple[Dim, ...]:
            return tuple(Dim(d.size, d.right, d.left, d.out) for d in dims)

        return Contraction(*map(swap, (self.shared, self.right, self.left, self.summed)))

    def simplified(self) -> Contraction:
        """Without dimensions of size 1, and with neighbours merged where all strides allow."""
        return Contraction(*map(_merged, self))

    @property
    def products(self) -> int:
        """How many multiplications there are."""
        return math.prod(d.size for dims in self for d in dims)

    @property
    def outputs(self) -> int:
        """How many elements the result has."""
        return math.prod(d.size for d in (*self.shared, *self.left, *self.right))


def _merged(dims: Sequence[Dim]) -> tuple[Dim, ...]:
    out: list[Dim] = []
    for dim in dims:
        if dim.size == 1:
            continue
        if out and all(s == dim.size * t for s, t in zip(out[-1][1:], dim[1:], strict=True)):
            out[-1] = Dim(out[-1].size * dim.size, *dim[1:])
        else:
            out.append(dim)
    return tuple(out)


class Choice(NamedTuple):
    """How to compute a contraction.

    Attributes:
      kind: "left" or "right", whose dimension becomes the vector, or "summed" (dot products).
      dim: the place of that dimension among those of its role.
      cost: an estimate, in vector operations.
    """

    kind: str
    dim: int
    cost: float


def choose(contraction: Contraction, lanes: int) -> Choice | None:
    """The best dimension to be the vector, or None where no stride is 1."""
    options = []
    for kind in ("left", "right"):
        for place, dim in enumerate(getattr(contraction, kind)):
            if getattr(dim, kind) == 1 and dim.out == 1:
                options.append(Choice(kind, place, contraction.products / _filled(dim, lanes)))
    for place, dim in enumerate(contraction.summed):
        if dim.left == dim.right == 1:
            cost = contraction.products / _filled(dim, lanes) + _ADDING * contraction.outputs
            options.append(Choice("summed", place, cost))
    return min(options, key=lambda option: option.cost, default=None)


#: What it costs to add up the lanes of a vector, per result.
_ADDING = 6.0


def _filled(dim: Dim, lanes: int) -> float:
    """How many elements of a dimension a vector operation computes, on the average."""
    width = min(lanes, 1 << (dim.size.bit_length() - 1))
    return dim.size / -(-dim.size // width)
