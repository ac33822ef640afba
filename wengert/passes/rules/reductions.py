"""Reductions over nothing, over dimensions of size 1, and of one value repeated.

A sum over nothing is not its operand: NumPy adds to 0.0, which turns -0.0 into 0.0. Sums of
floats are computed beforehand only where every partial sum is a whole number that the dtype
holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.program import Atom
from wengert.passes.rewriting import Rewriter, Rules
from wengert.primitives.basis import reduce_sum, reshape
from wengert.primitives.reduce import (
    reduce_and,
    reduce_max,
    reduce_min,
    reduce_or,
    reduce_prod,
    reduce_xor,
)

Inputs = Sequence[Any]
_DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def _of_single(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    """Each result is one element."""
    (x,) = inputs
    if all(x.type.shape[a] == 1 for a in params["axes"]):
        return walk.apply(reshape, x, shape=type_.shape)
    return None


def _sum_of_single(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    if dtypes.kind(type_.dtype) in "iu":
        return _of_single(walk, inputs, params, type_)
    return None


def _product_of_single(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    if dtypes.is_complex(type_.dtype):  # the product with 1 would show beside infinities
        return None
    return _of_single(walk, inputs, params, type_)


def _count(x: Any, axes: Sequence[int]) -> int:
    return math.prod(x.type.shape[a] for a in axes)


def _sum_of_splat(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    (x,) = inputs
    value = walk.number(x)
    if value is None or dtypes.kind(type_.dtype) not in "iuf" or not np.isfinite(value):
        return None
    number = value.item()
    count = _count(x, params["axes"])
    total = number * count
    if dtypes.is_integer(type_.dtype):
        info = np.iinfo(type_.dtype)
        fits = info.min <= total <= info.max
    else:
        digits = _DIGITS[type_.dtype.name]
        fits = number == int(number) and abs(total) <= 2**digits
        total = total or 0.0
    return walk.filled(total, type_) if fits else None


def _extremum_of_splat(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    (x,) = inputs
    value = walk.number(x)
    if value is None or not _count(x, params["axes"]):
        return None
    return walk.filled(value, type_)


RULES: Rules = {
    reduce_sum: (_sum_of_splat, _sum_of_single),
    reduce_max: (_of_single, _extremum_of_splat),
    reduce_min: (_of_single, _extremum_of_splat),
    reduce_and: (_of_single, _extremum_of_splat),
    reduce_or: (_of_single, _extremum_of_splat),
    reduce_xor: (_of_single,),
    reduce_prod: (_product_of_single,),
}
