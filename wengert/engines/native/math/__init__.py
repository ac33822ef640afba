"""Functions of vectors, inlined into kernels: within 2 ulp, for every argument.

`FUNCTIONS[name](v, *operands)` builds the primitive of that name on values of the builder `v`
(`engines.native.vectors.Vectors`), float32 or float64, of any number of lanes. The code has no
branch and no call, but for arguments of trigonometric functions that are so large that they
need the integer arithmetic of a function apart; a lane that is not of interest costs nothing
but its place. A caller must go on at `v.builder.block`, which may be a new one.

Where a result is the small difference of two terms, units are those of the terms: of
`logaddexp` and `logaddexp2` near their zeros, and in float64 of `lgamma` and `digamma` of
negative numbers. `make accuracy` compares float32 functions over all arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.engines.native.math import (
    error,
    exponential,
    gamma,
    inverse,
    logarithm,
    power,
    trigonometric,
)

Function = Callable[..., Any]

_MODULES = {
    exponential: "exp exp2 expm1 logistic sinh cosh tanh",
    logarithm: (
        "log log2 log10 log1p asinh acosh atanh logaddexp logaddexp2 xlogy xlog1py entr"
    ),
    power: "pow cbrt rsqrt hypot",
    trigonometric: "sin cos tan sinc",
    inverse: "asin acos atan atan2",
    error: "erf erfc erfcx ndtr log_ndtr erf_inv ndtri normal_quantile",
    gamma: "lgamma digamma",
}

#: By name of the primitive.
FUNCTIONS: dict[str, Function] = {
    name: getattr(module, name) for module, names in _MODULES.items() for name in names.split()
}
