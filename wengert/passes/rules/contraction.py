"""Products of transposed arrays: the dimensions of the product are named in the other order.

A permutation of an operand is free where the product's result keeps its dimensions: an engine
reads the operand as it lies in memory. So is a permutation of the result where the operands
can change places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.program import Atom
from wengert.passes.rewriting import Rewriter, Rules
from wengert.primitives.basis import transpose
from wengert.primitives.contract import dot_general, free_axes

Axes = tuple[int, ...]


def _untransposed(
    walk: Rewriter, operand: Atom, contracting: Axes, batch: Axes
) -> tuple[Atom, Axes, Axes] | None:
    """The operand before a permutation, with its dimensions named anew."""
    made = walk.made(operand, transpose)
    if made is None:
        return None
    permutation = made.params["permutation"]
    free = [permutation[d] for d in free_axes(len(permutation), batch, contracting)]
    if free != sorted(free):  # the result would have other dimensions
        return None
    (source,) = made.inputs
    named = [tuple(permutation[d] for d in axes) for axes in (contracting, batch)]
    return source, named[0], named[1]


def _of_transposed(
    walk: Rewriter, inputs: Sequence[Any], params: Params, type_: ArrayType
) -> Atom | None:
    lhs, rhs = inputs
    (lc, rc), (lb, rb) = params["dimension_numbers"]
    left, right = _untransposed(walk, lhs, lc, lb), _untransposed(walk, rhs, rc, rb)
    if left is None and right is None:
        return None
    lhs, lc, lb = left or (lhs, lc, lb)
    rhs, rc, rb = right or (rhs, rc, rb)
    numbers = ((lc, rc), (lb, rb))
    product: Atom = walk.apply(
        dot_general, lhs, rhs, **{**params, "dimension_numbers": numbers}
    )
    return product


def _transposed_product(
    walk: Rewriter, inputs: Sequence[Any], params: Params, type_: ArrayType
) -> Atom | None:
    """A permutation that exchanges the free dimensions of both operands."""
    made = walk.made(inputs[0], dot_general)
    if made is None or walk.uses(inputs[0]) > 1:  # twice the work, to save a copy
        return None
    lhs, rhs = made.inputs
    (lc, rc), (lb, rb) = made.params["dimension_numbers"]
    left = len(lhs.type.shape) - len(lc)
    count = len(made.outputs[0].type.shape)
    exchanged = (*range(len(lb)), *range(left, count), *range(len(lb), left))
    if tuple(params["permutation"]) != exchanged:
        return None
    numbers = ((rc, lc), (rb, lb))
    product: Atom = walk.apply(
        dot_general, rhs, lhs, **{**made.params, "dimension_numbers": numbers}
    )
    return product


RULES: Rules = {
    dot_general: (_of_transposed,),
    transpose: (_transposed_product,),
}
