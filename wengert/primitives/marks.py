"""Marks: identities that say something to transformations and passes, and nothing in values.

`checkpoint_name` gives a value a name, which the policies of `checkpoint` go by. It costs
nothing: an engine takes the result for the operand. Transformations hand it on, so that names
survive `vmap` and derivatives of derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from wengert.core.primitive import Sample
from wengert.primitives.basis import Elementwise, unit


class CheckpointName(Elementwise):
    """The same values, under a name that policies of `checkpoint` know them by."""

    partials = (unit,)

    @staticmethod
    def compute(x: Any, *, name: str) -> Any:
        return x

    def type_rule(self, *types: Any, **params: Any) -> Any:
        return types[0]

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        return operands[0]

    def samples(self) -> Iterator[Sample]:
        for shape in ((), (1,), (2, 3), (0, 2)):
            yield Sample(np.full(shape, 0.5)[()], name="a")
        yield Sample(np.arange(3), name="a", differentiable=False)


checkpoint_name = CheckpointName()
