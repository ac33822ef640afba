"""Cases: a random program and arguments for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.array import Array
from wengert.core.program import Atom, Literal, Program, Variable
from wengert.testing.fuzzing.blocks import BLOCKS, extend
from wengert.testing.fuzzing.draft import Draft
from wengert.testing.fuzzing.rules import RULES
from wengert.testing.fuzzing.values import LONG, random_sizes

_MOST_ELEMENTS = 4_000
_MOST_ELEMENTS_LONG = 150_000


class Case:
    """A program with arguments.

    Attributes:
      program: of primitives.
      values: NumPy values of the types of its inputs.
      seed: what it was made from; None for one that was made smaller.
    """

    def __init__(
        self, program: Program, values: Sequence[Any], seed: int | None = None
    ) -> None:
        self.program = program
        self.values = list(values)
        self.seed = seed


def random_case(seed: int) -> Case:
    """A random program with arguments; the same seed gives the same case.

    >>> from wengert.testing.fuzzing import random_case
    >>> case = random_case(5)
    >>> case.program.check()
    >>> [v.dtype == t.dtype for v, t in zip(case.values, case.program.in_types)] == [
    ...     True
    ... ] * len(case.values)
    True
    """
    rng = np.random.default_rng(seed)
    sizes, most = random_sizes(rng), _MOST_ELEMENTS
    if rng.random() < 0.04:
        sizes, most = [*sizes, int(rng.choice(LONG))], _MOST_ELEMENTS_LONG
    draft = Draft(rng, sizes, most)
    length = int(rng.choice([1, 2, 3, 5, 8, 12, 20, 40], p=_LENGTHS))
    rules = (*RULES, *BLOCKS) if rng.random() < 0.35 else RULES
    extend(draft, length, rules)
    program = draft.program(_outputs(draft))
    return Case(program, [draft.values[v] for v in program.inputs], seed)


_LENGTHS = (0.05, 0.1, 0.15, 0.25, 0.2, 0.15, 0.07, 0.03)


def _outputs(draft: Draft) -> list[Atom]:
    """What nothing reads, and some of the rest: variables, inputs, duplicates, literals."""
    read = {a for e in draft.equations for a in e.inputs}
    made = [v for e in draft.equations for v in e.outputs]
    outputs: list[Atom] = [v for v in made if v not in read]
    if draft.failed:
        outputs += [v for v in draft.equations[-1].outputs if v in read]
    for variable in draft.values:
        if draft.chance(0.08):
            outputs.append(variable)
    if draft.chance(0.04):
        outputs.append(Literal(Array(np.float32(0.5))))
    if outputs and draft.chance(0.5):
        draft.rng.shuffle(outputs)
    first: list[Atom] = [v for v in draft.values if isinstance(v, Variable)]
    return outputs or first[:1]
