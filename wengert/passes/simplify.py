"""Simplification: what can be said more shortly, without changing a bit of any result.

Rules for arithmetic, logic, structure and reductions are in `rules`, a file per family; the
walk that applies them is in `rewriting`. Everything here is exact in floating point, for NaN,
infinities and signed zeros too: `x * 1` is `x`, but `x * 0` is not 0, and `x + 0.0` is not `x`.
Which bits a NaN has is not part of a value.
"""

from __future__ import annotations

import functools

from wengert.core.primitive import Primitive
from wengert.core.program import Program
from wengert.passes.blocks import Blocks
from wengert.passes.rewriting import Rewriter, Rule
from wengert.passes.rules import (
    arithmetic,
    contraction,
    elementwise,
    logic,
    reductions,
    structure,
)


def simplify(program: Program) -> Program:
    """The program with simpler equations.

    >>> import wengert, wengert.numpy as wnp
    >>> program = wengert.make_program(lambda x: wnp.reshape(-(-x) * 1, (2, 3)).T.T)(
    ...     wnp.ones(6)
    ... )
    >>> print(simplify(program))
    program(a: f32[6]) {
      b: f32[6] = neg(a)
      c: f32[2,3] = reshape(a, shape=(2, 3))
      d: f32[3,2] = transpose(c, permutation=(1, 0))
      return c
    }
    """
    return Rewriter(program, _RULES, Blocks(simplify)).run()


_FAMILIES = (
    arithmetic.RULES,
    logic.RULES,
    structure.RULES,
    reductions.RULES,
    contraction.RULES,
)


class _Rules(dict[Primitive, tuple[Rule, ...]]):
    """The rules of each primitive; found when one is met first, for users add primitives."""

    def __missing__(self, primitive: Primitive) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        for family in _FAMILIES:
            rules += family.get(primitive, ())
        if elementwise.broadcasts(primitive):
            rules.append(functools.partial(elementwise.narrowed, primitive))
        self[primitive] = tuple(rules)
        return self[primitive]


_RULES = _Rules()
