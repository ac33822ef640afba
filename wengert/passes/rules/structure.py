"""Structure: chains of reshapes, permutations, broadcasts, slices and paddings are merged.

Each rule either removes an operation or moves it to where less is to be done: a permutation or
a slice of a broadcast array is broadcast from a permuted or sliced one. What only inserts or
removes dimensions of size 1 is written as a reshape, whatever it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core.array import ArrayType, Shape
from wengert.core.interpreter import Params
from wengert.core.program import Atom
from wengert.passes.literals import equal_atoms, literal_key
from wengert.passes.rewriting import Rewriter, Rules
from wengert.primitives.basis import broadcast_in_dim, full, reshape, transpose
from wengert.primitives.dynamic import dynamic_slice
from wengert.primitives.shape import concatenate, iota, pad, rev, slice_

Inputs = Sequence[Any]


def unit_map(old: Shape, new: Shape) -> dict[int, int] | None:
    """Where dimensions go if only dimensions of size 1 come and go; None if more happens."""
    places = [i for i, n in enumerate(new) if n != 1]
    sources = [i for i, n in enumerate(old) if n != 1]
    if [old[i] for i in sources] != [new[i] for i in places]:
        return None
    return dict(zip(sources, places, strict=True))


def _splat(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    """One value everywhere stays that, in whatever shape."""
    value = walk.number(inputs[0])
    return None if value is None else walk.filled(value, type_)


# -- reshape ---------------------------------------------------------------------------------


def _reshape(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    shape = type_.shape
    if x.type.shape == shape:
        return x
    made = walk.made(x, reshape)
    if made is not None:
        return walk.apply(reshape, made.inputs[0], shape=shape)
    made = walk.made(x, broadcast_in_dim)
    if made is not None:
        return _reshape_of_broadcast(walk, made.inputs[0], made.params, shape)
    made = walk.made(x, iota)
    if made is not None:
        places = unit_map(x.type.shape, shape)
        dimension = made.params["dimension"]
        if places is not None and dimension in places:
            new = {**made.params, "shape": shape, "dimension": places[dimension]}
            return walk.apply(iota, **new)
    return None


def _reshape_of_broadcast(
    walk: Rewriter, source: Any, params: Params, shape: Shape
) -> Atom | None:
    if source.type.size == 1:
        scalar = walk.apply(reshape, source, shape=())
        return walk.apply(broadcast_in_dim, scalar, shape=shape, broadcast_dimensions=())
    places = unit_map(params["shape"], shape)
    if places is None:
        return None
    kept = [(i, d) for i, d in enumerate(params["broadcast_dimensions"]) if d in places]
    sizes = tuple(source.type.shape[i] for i, _ in kept)
    return walk.apply(
        broadcast_in_dim,
        walk.apply(reshape, source, shape=sizes),
        shape=shape,
        broadcast_dimensions=tuple(places[d] for _, d in kept),
    )


# -- permutation -----------------------------------------------------------------------------


def _transpose(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    permutation = tuple(params["permutation"])
    old = x.type.shape
    moved = [i for i in permutation if old[i] != 1]
    if moved == sorted(moved):
        return walk.apply(reshape, x, shape=type_.shape)
    made = walk.made(x, transpose)
    if made is not None:
        inner = made.params["permutation"]
        return walk.apply(
            transpose, made.inputs[0], permutation=tuple(inner[i] for i in permutation)
        )
    place = {i: new for new, i in enumerate(permutation)}
    made = walk.made(x, broadcast_in_dim)
    if made is not None:
        dims = [place[d] for d in made.params["broadcast_dimensions"]]
        order = sorted(range(len(dims)), key=dims.__getitem__)
        return walk.apply(
            broadcast_in_dim,
            walk.apply(transpose, made.inputs[0], permutation=tuple(order)),
            shape=type_.shape,
            broadcast_dimensions=tuple(sorted(dims)),
        )
    made = walk.made(x, iota)
    if made is not None:
        dimension = place[made.params["dimension"]]
        new = {**made.params, "shape": type_.shape, "dimension": dimension}
        return walk.apply(iota, **new)
    return None


# -- broadcast -------------------------------------------------------------------------------


def _broadcast(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    old, shape, dims = x.type.shape, type_.shape, params["broadcast_dimensions"]
    if old == shape:
        return x
    if unit_map(old, shape) is not None:
        return walk.apply(reshape, x, shape=shape)
    made = walk.made(x, broadcast_in_dim)
    if made is not None:
        inner = tuple(dims[d] for d in made.params["broadcast_dimensions"])
        return walk.apply(
            broadcast_in_dim, made.inputs[0], shape=shape, broadcast_dimensions=inner
        )
    made = walk.made(x, reshape)
    if made is not None:
        source = made.inputs[0]
        placed = _placed(source.type.shape, old, dims, len(shape))
        if placed is not None:
            return walk.apply(
                broadcast_in_dim, source, shape=shape, broadcast_dimensions=placed
            )
    return None


def _placed(source: Shape, old: Shape, dims: Shape, rank: int) -> Shape | None:
    """Dimensions for broadcasting what was reshaped before, if only by dimensions of size 1."""
    places = unit_map(source, old)
    if places is None:
        return None
    placed: list[int] = []
    following = rank
    for i in reversed(range(len(source))):
        d = dims[places[i]] if i in places else following - 1
        if not 0 <= d < following:
            return None
        placed.append(d)
        following = d
    return tuple(reversed(placed))


# -- slices ----------------------------------------------------------------------------------


def _slice(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    shape = x.type.shape
    if type_.shape == shape:
        return x
    starts = params["start_indices"]
    strides = params.get("strides") or (1,) * len(shape)
    for primitive, merge in _SLICED.items():
        made = walk.made(x, primitive)
        if made is not None:
            return merge(walk, made, starts, strides, type_.shape)
    return None


def _sliced(walk: Rewriter, x: Any, starts: Any, strides: Any, sizes: Shape) -> Any:
    """A slice by its first elements, steps and shape."""
    limits = tuple(
        start + (n - 1) * step + 1 if n else start
        for start, step, n in zip(starts, strides, sizes, strict=True)
    )
    steps = None if all(s == 1 for s in strides) else tuple(strides)
    return walk.apply(
        slice_, x, start_indices=tuple(starts), limit_indices=limits, strides=steps
    )


def _slice_of_slice(walk: Rewriter, made: Any, starts: Any, strides: Any, sizes: Shape) -> Any:
    first = made.params["start_indices"]
    steps = made.params.get("strides") or (1,) * len(first)
    begin = [a + s * b for a, s, b in zip(first, steps, starts, strict=True)]
    step = [a * b for a, b in zip(steps, strides, strict=True)]
    if 0 in sizes:
        return None
    return _sliced(walk, made.inputs[0], begin, step, sizes)


def _slice_of_broadcast(
    walk: Rewriter, made: Any, starts: Any, strides: Any, sizes: Shape
) -> Any:
    (source,), dims = made.inputs, made.params["broadcast_dimensions"]
    old = source.type.shape
    wide = [n != 1 for n in old]
    inner = _sliced(
        walk,
        source,
        [starts[d] if w else 0 for d, w in zip(dims, wide, strict=True)],
        [strides[d] if w else 1 for d, w in zip(dims, wide, strict=True)],
        tuple(sizes[d] if w else 1 for d, w in zip(dims, wide, strict=True)),
    )
    return walk.apply(broadcast_in_dim, inner, shape=sizes, broadcast_dimensions=dims)


def _slice_of_pad(walk: Rewriter, made: Any, starts: Any, strides: Any, sizes: Shape) -> Any:
    """A slice that takes nothing of the padding."""
    source = made.inputs[0]
    begin = []
    for (low, _, interior), start, step, n, size in zip(
        made.params["padding_config"], starts, strides, sizes, source.type.shape, strict=True
    ):
        last = start - low + (n - 1) * step
        if interior or not n or start < low or last >= size:
            return None
        begin.append(start - low)
    return _sliced(walk, source, begin, strides, sizes)


def _slice_of_concatenate(
    walk: Rewriter, made: Any, starts: Any, strides: Any, sizes: Shape
) -> Any:
    """A slice of one of the pieces."""
    dimension = made.params["dimension"]
    start, n = starts[dimension], sizes[dimension]
    offset = 0
    for piece in made.inputs:
        size = piece.type.shape[dimension]
        if offset <= start < offset + size:
            if not n or start - offset + (n - 1) * strides[dimension] >= size:
                return None
            begin = [s - offset * (i == dimension) for i, s in enumerate(starts)]
            return _sliced(walk, piece, begin, strides, sizes)
        offset += size
    return None


_SLICED = {
    slice_: _slice_of_slice,
    broadcast_in_dim: _slice_of_broadcast,
    pad: _slice_of_pad,
    concatenate: _slice_of_concatenate,
}


def _dynamic_slice(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    """A slice at known positions; one out of bounds is left, to raise its error."""
    x, *places = inputs
    numbers = [walk.number(p) for p in places]
    if None in numbers:
        return None
    starts = []
    for number, size, n in zip(numbers, type_.shape, x.type.shape, strict=True):
        start = int(number) + n * bool(number < 0)
        if params.get("mode") == "clip" and size <= n:
            start = min(max(start, 0), n - size)
        if not 0 <= start <= n - size:
            return None
        starts.append(start)
    return _sliced(walk, x, starts, (1,) * len(starts), type_.shape)


# -- padding, concatenation, reversal --------------------------------------------------------


def _pad(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    x, value = inputs
    config = params["padding_config"]
    shape = x.type.shape
    if all(
        low <= 0 and high <= 0 and (not k or n < 2)
        for (low, high, k), n in zip(config, shape, strict=True)
    ):
        starts = [-low for low, _, _ in config]
        return _sliced(walk, x, starts, (1,) * len(starts), type_.shape)
    literal, splat = walk.literal(value), walk.literal(x)
    if literal is None:
        return None
    if splat is not None and literal_key(splat) == literal_key(literal):
        return walk.filled(literal.value._value, type_)
    made = walk.made(x, pad)
    if made is not None and equal_atoms([made.inputs[1], literal]):
        inner = made.params["padding_config"]
        if all(
            min(*a, *b) >= 0 and not a[2] and not b[2]
            for a, b in zip(inner, config, strict=True)
        ):
            both = tuple(
                (a[0] + b[0], a[1] + b[1], 0) for a, b in zip(inner, config, strict=True)
            )
            return walk.apply(pad, made.inputs[0], literal, padding_config=both)
    return None


def _concatenate(
    walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType
) -> Atom | None:
    dimension = params["dimension"]
    pieces = [x for x in inputs if x.type.shape[dimension]]
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return inputs[0]
    literals: list[Any] = [walk.literal(x) for x in pieces]
    if all(x is not None for x in literals) and equal_atoms(literals):
        return walk.filled(literals[0].value._value, type_)
    merged = _joined_slices(walk, pieces, dimension)
    if len(merged) < len(inputs):
        return walk.apply(concatenate, *merged, dimension=dimension)
    return None


def _joined_slices(walk: Rewriter, pieces: Sequence[Any], dimension: int) -> list[Any]:
    """Pieces in which neighbouring slices of one array are one slice."""
    merged: list[Any] = []
    for piece in pieces:
        before: Any = walk.made(merged[-1], slice_) if merged else None
        after: Any = walk.made(piece, slice_)
        both = before and after and _union(before, after, dimension)
        if both:
            merged[-1] = _sliced(walk, after.inputs[0], *both)
        else:
            merged.append(piece)
    return merged


def _union(before: Any, after: Any, dimension: int) -> Any:
    """Start, strides and sizes of two slices that follow each other; None if they do not."""
    (a, b) = before.params, after.params
    if before.inputs[0] is not after.inputs[0] or a.get("strides") or b.get("strides"):
        return None
    for i, (first, last) in enumerate(zip(a["limit_indices"], b["start_indices"], strict=True)):
        if i == dimension:
            if first != last:
                return None
        elif (a["start_indices"][i], first) != (last, b["limit_indices"][i]):
            return None
    starts = a["start_indices"]
    sizes = list(before.outputs[0].type.shape)
    sizes[dimension] += after.outputs[0].type.shape[dimension]
    return starts, (1,) * len(starts), tuple(sizes)


def _rev(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    (x,) = inputs
    dimensions = params["dimensions"]
    wide = tuple(d for d in dimensions if x.type.shape[d] != 1)
    if not wide:
        return x
    made = walk.made(x, rev)
    if made is not None:
        both = tuple(sorted({*made.params["dimensions"]} ^ {*wide}))
        return walk.apply(rev, made.inputs[0], dimensions=both)
    return walk.apply(rev, x, dimensions=wide) if len(wide) < len(dimensions) else None


def _full(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    return None if type_.shape else walk.filled(params["value"], type_)


def _iota(walk: Rewriter, inputs: Inputs, params: Params, type_: ArrayType) -> Atom | None:
    if type_.shape[params["dimension"]] == 1:
        return walk.filled(0, type_)
    return None


RULES: Rules = {
    reshape: (_splat, _reshape),
    transpose: (_splat, _transpose),
    broadcast_in_dim: (_splat, _broadcast),
    slice_: (_splat, _slice),
    dynamic_slice: (_dynamic_slice,),
    pad: (_pad,),
    concatenate: (_concatenate,),
    rev: (_splat, _rev),
    full: (_full,),
    iota: (_iota,),
}
