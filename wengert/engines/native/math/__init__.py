"""Functions of vectors, inlined into kernels: within 2 ulp, for every argument.

`FUNCTIONS[name](v, *operands)` builds the primitive of that name on values of the builder `v`
(`engines.native.vectors.Vectors`), float32 or float64, of any number of lanes. The code has no
branch and no call, but for arguments of trigonometric functions that are so large that they
need the integer arithmetic of a function apart; a lane that is not of interest costs nothing
but its place. A caller must go on at `v.builder.block`, which may be a new one.

`make accuracy` compares float32 functions over all arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.engines.native.math import exponential, logarithm, trigonometric

Function = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {
    function.__name__: function
    for function in (
        exponential.exp,
        exponential.exp2,
        exponential.expm1,
        exponential.logistic,
        exponential.tanh,
        logarithm.log,
        logarithm.log2,
        logarithm.log10,
        logarithm.log1p,
        trigonometric.sin,
        trigonometric.cos,
    )
}
