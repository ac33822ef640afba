"""The rule of all elementwise primitives: they broadcast, so nothing is broadcast for them.

Operands that hold one value become literals; operands that were broadcast are taken as they
were before. Where all operands were, and the operation gives an element the same bits wherever
it stands, the result is computed small and broadcast afterwards. An operation on literals is
computed now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape, broadcast_shape
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Literal
from wengert.passes.rewriting import Rewriter, shape_of
from wengert.primitives import basis, cast, compare, elementwise
from wengert.primitives.families import ElementwiseLinear

#: Primitives whose results on scalars and on arrays have the same bits in NumPy.
EXACT = frozenset(
    {
        *(basis.add, basis.neg, basis.mul, basis.masked_mul),
        *(elementwise.sub, elementwise.div, elementwise.reciprocal, elementwise.square),
        *(elementwise.abs, elementwise.sign, elementwise.copysign, elementwise.share),
        *(elementwise.maximum, elementwise.minimum, elementwise.clamp, elementwise.sqrt),
        *(compare.select, compare.bitwise_and, compare.bitwise_or, compare.bitwise_xor),
        *(compare.bitwise_not, compare.eq, compare.ne, compare.lt, compare.le, compare.gt),
        *(compare.ge, compare.is_finite, compare.isnan, compare.isinf, compare.signbit),
        *(compare.floor, compare.ceil, compare.trunc, compare.round),
        *(cast.convert, cast.conj, cast.real, cast.imag, cast.make_complex),
    }
)
_UNARY_MAPS = frozenset({cast.convert, cast.conj, cast.real, cast.imag, cast.make_complex})
#: Operations whose complex results NumPy may round differently for scalars and for arrays.
_ROUNDED = frozenset(
    {basis.mul, basis.masked_mul, elementwise.div, elementwise.reciprocal, elementwise.square}
)


def broadcasts(primitive: Primitive) -> bool:
    """Whether operands of a primitive broadcast by NumPy's rule, elementwise."""
    if primitive.multiple_results:
        return False
    return (
        isinstance(primitive, basis.Elementwise | ElementwiseLinear)
        or primitive is basis.masked_mul
        or primitive in _UNARY_MAPS
    )


def narrowed(
    primitive: Primitive,
    walk: Rewriter,
    inputs: Sequence[Any],
    params: Params,
    type_: ArrayType,
) -> Atom | None:
    """Splats as literals, broadcast operands as they were before."""
    splats, spread = walk.splats, walk.spread
    for atom in inputs:
        if atom in splats or atom in spread:
            break
    else:
        if type(inputs[0]) is Literal and all(type(a) is Literal for a in inputs):
            out = walk.folded(primitive, [a.value for a in inputs], params)
            return None if out is None else Literal(out)
        return None
    narrow: list[Any] | None = [walk.narrow(a) for a in inputs]
    if _shape(narrow) != type_.shape and not is_exact(primitive, type_):
        narrow = _wide_enough(inputs, narrow, type_.shape)
    return (
        None if narrow is None else walk.fitted(walk.apply(primitive, *narrow, **params), type_)
    )


def _shape(atoms: Any) -> Shape:
    return broadcast_shape([shape_of(a) for a in atoms], "narrowed")


def _wide_enough(inputs: Sequence[Any], narrow: Any, shape: Shape) -> list[Any] | None:
    """Narrow operands, but for one that keeps the shape of the result; None if none is left."""
    for i, (old, new) in enumerate(zip(inputs, narrow, strict=True)):
        if new is not old and shape_of(old) == shape:
            kept = [*narrow[:i], old, *narrow[i + 1 :]]
            return kept if any(a is not b for a, b in zip(kept, inputs, strict=True)) else None
    return None


def is_exact(primitive: Primitive, type_: ArrayType) -> bool:
    """Whether results have the same bits wherever in an array they are computed."""
    if primitive not in EXACT:
        return False
    return primitive not in _ROUNDED or not dtypes.is_complex(type_.dtype)
