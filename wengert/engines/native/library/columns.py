"""Contractions with long sums and small results as matrix products of windows.

In the derivative of a convolution with respect to its kernel, everything is summed over
examples and positions. Windows of a few examples, or of some rows of one, are laid out as a
matrix that fits the second cache and multiplied with the matching part of the other operand
(`gemm`). Blocks of such rounds have their own sums, which are added in order at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.engines.native.code import Code
from wengert.engines.native.library import gemm
from wengert.engines.native.library.common import (
    dense_strides,
    full_lanes,
    load,
    spread_pieces,
    store,
)
from wengert.engines.native.library.contraction import Contraction, Dim
from wengert.engines.native.library.layout import Matrices, merged
from wengert.engines.native.library.tiles import Pointers, moved
from wengert.engines.native.library.transposed import copy_strided, spread_copy

#: Products from which this pays.
_LEAST = 1 << 20
#: Contracted elements of a round: wanted, and the least that are worth it.
_WANTED, _SHORT = 512, 128
#: Elements of the matrix of windows.
_MATRIX = 1 << 19
#: Blocks of rounds, and elements of all their sums.
_BLOCKS = 8
_SUMS = 1 << 23
#: Elements of the result from which they are added on several threads.
_LARGE = 1 << 16


class Rounds(NamedTuple):
    """How the summed dimensions are taken apart.

    Attributes:
      outer: loops, each round of which is a matrix product.
      inner: the contracted dimensions of that.
      shape: of that; its operands are dense, or the right one lies as it is given.
      copied: whether the right operand is copied.
    """

    outer: tuple[Dim, ...]
    inner: tuple[Dim, ...]
    shape: Matrices
    copied: bool


def rounds_of(contraction: Contraction, dtype: DType) -> Rounds | None:
    """How to compute a contraction in this way, or None where another is better."""
    shared, left, right, summed = contraction
    m, n = (math.prod(d.size for d in dims) for dims in (left, right))
    if shared or not dtypes.is_floating(dtype) or contraction.products < _LEAST:
        return None
    outer, inner = _cut(summed, min(_WANTED, _MATRIX // m))
    k = math.prod(d.size for d in inner)
    if k < _SHORT or m * n * 2 > _SUMS:
        return None
    lying = merged([(d.size, d.right) for d in inner])
    copied = len(lying) > 1 or len(right) != 1
    strides = (1, k) if copied else (lying[0][1], right[0].right)
    shape = Matrices(m, n, k, k, 1, *strides, n)
    return Rounds(outer, inner, shape, copied) if gemm.suits(shape, dtype) else None


def _cut(dims: Sequence[Dim], most: int) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """Outer dimensions, and inner ones with no more elements than wanted."""
    inner: tuple[Dim, ...] = ()
    for place in range(len(dims) - 1, -1, -1):
        dim, size = dims[place], math.prod(d.size for d in inner)
        fits = [b for b in range(1, dim.size + 1) if dim.size % b == 0 and b * size <= most]
        part = fits[-1] if fits else 1
        if part < dim.size:
            around = Dim(dim.size // part, *(part * s for s in dim[1:]))
            block = (dim._replace(size=part),) if part > 1 else ()
            return (*dims[:place], around), (*block, *inner)
        inner = (dim, *inner)
    return (), inner


def emit_rounds(
    code: Code, contraction: Contraction, rounds: Rounds, pointers: Pointers, dtype: DType
) -> None:
    """Append the contraction."""
    outer, _, shape, copied = rounds
    total, size = math.prod(d.size for d in outer), dtype.itemsize
    blocks = max(1, min(_BLOCKS, total, _SUMS // (shape.m * shape.n)))
    chunk = -(-total // blocks)
    blocks = -(-total // chunk)
    needs = [shape.m * shape.k * size, shape.k * shape.n * size if copied else 0]
    needs = [*needs, gemm.packed_bytes(shape, dtype)]
    windows, other, packed = (-(-need // 64) * 64 for need in needs)
    memory, sums = windows + other + packed, shape.m * shape.n * size
    own, parts = code.scratch(memory * blocks), code.scratch(sums * blocks)

    def body(code: Code, block: Any, given: Sequence[Any]) -> None:
        builder = code.builder
        place = code.offset(given[3], block, memory)
        memories = place, code.offset(place, windows), code.offset(place, windows + other)
        out = code.offset(given[4], block, sums)
        first = builder.mul(block, code.int64(chunk))
        last = builder.add(first, code.int64(chunk))
        end = code.int64(total)
        last = builder.select(builder.icmp_signed("<", last, end), last, end)
        with code.loop(last, first) as i:
            here = _at(code, Pointers(given[0], given[1], out), outer, i, size)
            adds = builder.zext(builder.icmp_signed("!=", i, first), code.i64)
            _emit_round(code, contraction, rounds, here, memories, dtype, adds)

    key = "rounds", contraction, rounds, dtype
    code.parallel("rounds", blocks, [*pointers, own, parts], body, key)
    _add_up(code, contraction, parts, pointers.out, shape.m * shape.n, blocks, dtype)


def _at(
    code: Code, pointers: Pointers, dims: Sequence[Dim], index: Any, nbytes: int
) -> Pointers:
    """The pointers at one number of a round of several loops."""
    for dim in reversed(dims):
        size = code.int64(dim.size)
        pointers = moved(code, pointers, dim, code.builder.urem(index, size), nbytes)
        index = code.builder.udiv(index, size)
    return pointers


def _emit_round(
    code: Code,
    contraction: Contraction,
    rounds: Rounds,
    pointers: Pointers,
    memories: tuple[Any, Any, Any],
    dtype: DType,
    adds: Any,
) -> None:
    windows, other, packed = memories
    rows = [(d.size, d.left) for d in (*contraction.left, *rounds.inner)]
    copy_strided(code, pointers.left, windows, rows, dtype)
    right = pointers.right
    if rounds.copied:
        columns = [(d.size, d.right) for d in (*contraction.right, *rounds.inner)]
        copy_strided(code, right, other, columns, dtype)
        right = other
    gemm.emit_gemm(
        code, (windows, right, pointers.out), packed, rounds.shape, dtype, False, adds
    )


def _add_up(
    code: Code,
    contraction: Contraction,
    parts: Any,
    out: Any,
    size: int,
    blocks: int,
    dtype: DType,
) -> None:
    """The sums of all blocks, in order, into the first; then into the result's order."""
    nbytes = dtype.itemsize

    def piece(code: Code, given: Sequence[Any], start: Any, lanes: int) -> None:
        places = [
            code.offset(code.offset(given[0], block * size * nbytes), start, nbytes)
            for block in range(blocks)
        ]
        total = load(code, places[0], dtype, lanes)
        for place in places[1:]:
            total = code.builder.fadd(total, load(code, place, dtype, lanes))
        store(code, total, code.offset(given[1], start, nbytes), dtype)

    total = code.scratch(size * nbytes)
    lanes = full_lanes(code, dtype)
    spread_pieces(code, "sums", size, lanes, [parts, total], piece, _LARGE)
    dims = (*contraction.left, *contraction.right)
    own = dense_strides([d.size for d in dims])
    order = sorted(
        ((d.size, stride, d.out) for d, stride in zip(dims, own, strict=True)),
        key=lambda dim: -dim[2],
    )
    spread_copy(code, total, out, order, dtype)
