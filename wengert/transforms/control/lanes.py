"""Examples of a batch that take part in an operation, and those that do not.

An operation that acts on some examples of a batch still runs on all of them at once. Those that
do not take part are given the values of the first that does, so that they do nothing that it
does not do: no other branch, no further iteration, no other error. What they compute is not
selected; as no tangent or cotangent reaches it, and its derivative factors are those of a
example that does, it leaves no trace in derivatives either.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.core.array import Array, ArrayType
from wengert.core.dtypes import INT32
from wengert.core.primitive import Value
from wengert.primitives.basis import reshape
from wengert.primitives.cast import stop_gradient
from wengert.primitives.compare import select
from wengert.primitives.dynamic import dynamic_slice
from wengert.primitives.reduce import argmax
from wengert.transforms.control.programs import Flags


def along(active: Value, rank: int) -> Value:
    """The flags of the examples, broadcasting against batches of this rank."""
    return reshape(active, shape=(*active.shape, *(1,) * (rank - 1))) if rank > 1 else active


def shielded(active: Value, values: Sequence[Value], flags: Flags) -> list[Value]:
    """Batched values with those of the first active example in the place of inactive ones."""
    if not any(flags) or not active.shape[0]:
        return [*values]
    first = argmax(active, axis=0)
    return [_shielded(active, first, v) if f else v for v, f in zip(values, flags, strict=True)]


def _shielded(active: Value, first: Value, value: Value) -> Value:
    rest = value.shape[1:]
    zeros = [Array(INT32.type(0))] * len(rest)
    example = dynamic_slice(
        stop_gradient(value), first, *zeros, slice_sizes=(1, *rest), mode="clip"
    )
    return select(along(active, len(value.shape)), value, example)


def kept_where(active: Value, new: Sequence[Value], old: Sequence[Value]) -> list[Value]:
    """New values for active examples, old ones for the others."""
    return [select(along(active, len(n.shape)), n, o) for n, o in zip(new, old, strict=True)]


def flag_type(size: int) -> ArrayType:
    """The type of the flags of a batch."""
    return ArrayType((size,), "bool")
