"""Random words as expressions: which counters the element at an index hashes.

The rules here are those of `primitives.threefry`, seen from one element: its word's number
gives the counter block and which of the two words of the hash it is. All is computed where
the element is needed, so random bits are part of the kernels that use them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core.program import Atom, Equation
from wengert.engines.native.elements_random import WORDS
from wengert.engines.native.expressions import (
    BOOL,
    Apply,
    Coordinate,
    Index,
    Node,
    fixed,
    row_major,
)
from wengert.primitives.threefry import ORIGINAL

if TYPE_CHECKING:
    from wengert.engines.native.expansion import Expansion

UINT32 = np.dtype(np.uint32)
UINT64 = np.dtype(np.uint64)

#: Draws of so many elements; beyond it a hash per element costs more than memory does, where
#: each hash has two elements.
_FEW_WORDS = 1 << 12
_MOST_WORDS = 1 << 31


def is_fused(equation: Equation) -> bool:
    """Whether an equation that draws random words becomes part of kernels."""
    params = equation.params
    if equation.primitive.name == "random_fold_in":
        return True
    size = math.prod(params["shape"])
    if params.get("width", 32) < 64 and params["layout"] == ORIGINAL:
        return size <= _FEW_WORDS
    return 2 * size < _MOST_WORDS


def word(intern: Callable[[Node], Any], words: Node, number: int) -> Node:
    """The first or the second word of a hash."""
    name = "second_word" if number else "first_word"
    node: Node = intern(Apply(name, (words,), UINT32, {}))
    return node


class _Draw:
    """Builds nodes of one draw; `keys` at an index of its batch dimensions."""

    def __init__(self, e: Expansion, keys: Atom, batch: Sequence[Index]) -> None:
        self.e = e
        self.keys = [e.atom(keys, (*batch, fixed(e.rank, i))) for i in (0, 1)]

    def number(self, value: int) -> Node:
        return self.e.constant(value, UINT32)

    def apply(self, name: str, *args: Node, dtype: Any = UINT32) -> Node:
        node: Node = self.e.intern(Apply(name, args, dtype, {}))
        return node

    def hash(self, first: Node, second: Node) -> Node:
        return self.apply("threefry2x32", *self.keys, first, second, dtype=WORDS)

    def word(self, words: Node, number: int) -> Node:
        return word(self.e.intern, words, number)

    def position(self, index: Index) -> Node:
        """A position as a counter."""
        if type(index) is tuple:
            node: Node = self.e.intern(Coordinate(index, UINT32))
            return node
        return self.apply("convert", index)

    def original(self, place: Node, count: int) -> Node:
        """A word of the original layout: blocks have one in each half of the draw."""
        half = (count + 1) // 2
        if count == 1:
            zero = self.number(0)
            return self.word(self.hash(zero, zero), 0)
        upper = self.apply("ge", place, self.number(half), dtype=BOOL)
        moved = self.apply("sub", place, self.number(half))
        first = self.apply("select", upper, moved, place)
        second = self.apply("add", first, self.number(half))
        if count % 2:  # the last block has no second counter
            inside = self.apply("lt", second, self.number(count), dtype=BOOL)
            second = self.apply("select", inside, second, self.number(0))
        words = self.hash(first, second)
        return self.apply("select", upper, self.word(words, 1), self.word(words, 0))

    def either(self, words: Node, index: Index) -> Node:
        """The word at a position 0 or 1."""
        first, second = self.word(words, 0), self.word(words, 1)
        if index == fixed(self.e.rank):
            return first
        if index == fixed(self.e.rank, 1):
            return second
        is_second = self.apply(
            "ne",
            self.e.as_node(index),
            self.e.constant(0, self.e.as_node(index).dtype),
            dtype=BOOL,
        )
        return self.apply("select", is_second, second, first)


def _linear(e: Expansion, shape: Sequence[int], index: Sequence[Index]) -> Index:
    """The number of an element in a dense array."""
    total: Index = fixed(e.rank)
    for i, stride in zip(index, row_major(tuple(shape)), strict=True):
        total = e.sum_of(total, e.shifted(i, stride, 0))
    return total


def random_bits(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    """A random unsigned integer."""
    (keys,), params = equation.inputs, equation.params
    batch = len(keys.type.shape) - 1
    draw = _Draw(e, keys, index[:batch])
    shape, width = params["shape"], params["width"]
    size = math.prod(shape)
    place = draw.position(_linear(e, shape, index[batch:]))
    out = equation.outputs[0].type.dtype
    if params["layout"] != ORIGINAL:
        words = draw.hash(draw.number(0), place)
        if width == 64:
            return draw.apply("joined_words", words, dtype=UINT64)
        mixed = draw.apply("bitwise_xor", draw.word(words, 0), draw.word(words, 1))
        return mixed if width == 32 else draw.apply("convert", mixed, dtype=out)
    if width == 64:
        second = draw.apply("add", place, draw.number(size))
        return draw.apply("joined_words", draw.hash(place, second), dtype=UINT64)
    count = -(-width * size // 32)
    if width == 32:
        return draw.original(place, count)
    pieces = 32 // width  # elements of a word
    distance = draw.number(pieces.bit_length() - 1)
    whole = draw.original(draw.apply("shift_right_logical", place, distance), count)
    piece = draw.apply("bitwise_and", place, draw.number(pieces - 1))
    shift = draw.apply("mul", piece, draw.number(width))
    return draw.apply("convert", draw.apply("shift_right_logical", whole, shift), dtype=out)


def random_split(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    """A word of a new key."""
    (keys,), params = equation.inputs, equation.params
    batch = len(keys.type.shape) - 1
    draw = _Draw(e, keys, index[:batch])
    count = math.prod(params["shape"])
    if params["layout"] == ORIGINAL:
        place = draw.position(_linear(e, (*params["shape"], 2), index[batch:]))
        return draw.original(place, 2 * count)
    place = draw.position(_linear(e, params["shape"], index[batch:-1]))
    return draw.either(draw.hash(draw.number(0), place), index[-1])


def random_fold_in(e: Expansion, equation: Equation, index: Sequence[Index]) -> Node:
    """A word of a key that a number was folded into."""
    keys, data = equation.inputs
    joint = index[:-1]

    def own(shape: Sequence[int]) -> list[Index]:
        offset = len(joint) - len(shape)
        return [fixed(e.rank) if n == 1 else joint[offset + d] for d, n in enumerate(shape)]

    draw = _Draw(e, keys, own(keys.type.shape[:-1]))
    words = draw.hash(draw.number(0), e.atom(data, own(data.type.shape), UINT32))
    return draw.either(words, index[-1])
