"""`scan` with checkpoints: a scan over segments, each of which is run again on the way back.

The outer loop keeps the carry at the beginning of each segment, and of the segment that is
being pulled back all residuals. With segments of the square root of the length, both take as
much memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.primitive import Value
from wengert.core.program import Program
from wengert.primitives.basis import reshape
from wengert.primitives.shape import concatenate, slice_
from wengert.transforms.checkpoint import checkpoint as recomputed
from wengert.transforms.control.programs import closed_trace, groups
from wengert.transforms.control.scan import scan


def segment_length(checkpoint: int | bool | None, length: int) -> int | None:
    """The length of the segments at whose ends the carry is kept; None without checkpoints."""
    if checkpoint is None or checkpoint is False or length == 0:
        return None
    if checkpoint is True:
        return math.isqrt(length - 1) + 1
    if not hasattr(checkpoint, "__index__") or checkpoint < 1:
        raise ValueError(
            f"checkpoint={checkpoint!r}: give the number of carries to keep (at least 1), or "
            "True for the square root of the length."
        )
    return -(-length // operator.index(checkpoint))


def in_segments(operands: Sequence[Value], params: dict[str, Any], segment: int) -> list[Value]:
    """A scan over segments, each a scan that reverse mode runs again, and one over the rest."""
    consts, carry = params["consts"], params["carry"]
    length, reverse = params["length"], params["reverse"]
    held, state, xs = groups(operands, (consts, carry))
    count = length // segment
    rest = length - count * segment
    whole = (rest, length) if reverse else (0, count * segment)
    blocks = [
        reshape(x, shape=(count, segment, *x.shape[1:])) for x in (rows(x, *whole) for x in xs)
    ]
    inner = {**params, "length": segment}
    body = _recomputed_body(inner, [v.type for v in held + state], [b.type for b in blocks])
    out = scan(*held, *state, *blocks, **{**params, "body": body, "length": count})
    state, ys = (
        out[:carry],
        [reshape(y, shape=(count * segment, *y.shape[2:])) for y in out[carry:]],
    )
    if not rest:
        return [*state, *ys]
    part = (0, rest) if reverse else (count * segment, length)
    tail = [rows(x, *part) for x in xs]
    last = _recomputed_scan({**params, "length": rest})
    out = last(*held, *state, *tail)
    pairs = zip(out[carry:], ys, strict=True) if reverse else zip(ys, out[carry:], strict=True)
    return [*out[:carry], *(concatenate(*pair, dimension=0) for pair in pairs)]


def rows(x: Value, start: int, stop: int) -> Value:
    """Some of the rows of an array."""
    if start == 0 and stop == x.shape[0]:
        return x
    rest = x.shape[1:]
    starts, stops = (start, *(0,) * len(rest)), (stop, *rest)
    return slice_(x, start_indices=starts, limit_indices=stops)


def _recomputed_scan(params: dict[str, Any]) -> Callable[..., list[Value]]:
    """A scan that keeps nothing for reverse mode but its operands."""
    run: Callable[..., list[Value]] = recomputed(lambda *values: scan(*values, **params))
    return run


def _recomputed_body(
    params: dict[str, Any], fixed: Sequence[ArrayType], blocks: Sequence[ArrayType]
) -> Program:
    """Such a scan as the body of another."""
    run = _recomputed_scan(params)
    slices = [t.update(shape=t.shape[1:]) for t in blocks]
    return closed_trace(lambda values: run(*values), [*fixed, *slices])
