"""What equations a random program consists of: a table of rules, each for a family.

A rule takes a draft and appends an equation with valid parameters, or nothing. Elementwise
primitives take operands of any shapes that broadcast, in every dtype they accept; structural
ones get parameters that fit their operand. All other primitives are drawn by their samples,
with operands of the program in the place of the sample's where the types agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Primitive, all_primitives
from wengert.core.program import Atom, Literal, Variable
from wengert.primitives.basis import Elementwise
from wengert.primitives.families import ElementwiseLinear
from wengert.testing.fuzzing.draft import Draft, primitive
from wengert.testing.fuzzing.values import random_dtype, random_value

Rule = Callable[[Draft], None]

INTEGERS = "iu"
MODES = ("error", "clip", "wrap", "fill", "drop")
#: Primitives that run other programs, or belong to a transformation; `blocks` makes loops.
HIGHER_ORDER = frozenset(
    "call checkpoint custom_jvp_call custom_vjp_call linear_solve cond while scan "
    "sweeps".split()
)


def _kinds(operation: Primitive) -> str:
    return getattr(operation, "kinds", "biufc")


@cache
def elementwise() -> list[Primitive]:
    """The elementwise primitives."""
    families = (Elementwise, ElementwiseLinear)
    return [
        p
        for p in all_primitives()
        if isinstance(p, families) and p.name not in _SLOW | _PARTICULAR and any(p.samples())
    ]


@cache
def sampled() -> list[Primitive]:
    """All primitives that can be drawn by their samples."""
    return [p for p in all_primitives() if p.name not in HIGHER_ORDER and any(p.samples())]


@cache
def samples(operation: Primitive) -> list[Any]:
    """The samples of a primitive."""
    return list(operation.samples())


#: Iterations that take long at arguments that nobody has: drawn with their samples only.
_SLOW = frozenset(
    "betainc betainc_grad igamma igammac igamma_grad_a random_gamma_grad random_gamma zeta "
    "polygamma".split()
)
#: Elementwise, with parameters or operands that have to fit each other, or zeros that SciPy
#: misses.
_PARTICULAR = frozenset("ldexp unit_interval threefry2x32 complex sinc".split())
#: Cheap and exact operations, of which most programs mainly consist.
_COMMON = (
    "add mul sub div neg abs maximum minimum select eq lt ge square sqrt sign floor "
    "bitwise_and bitwise_or bitwise_not clamp exp tanh log1p sin integer_pow convert copy"
).split()


# -- elements -----------------------------------------------


def _elementwise(draft: Draft) -> None:
    operation = (
        primitive(draft.choice(_COMMON)) if draft.chance(0.6) else draft.choice(elementwise())
    )
    if operation.name in ("convert", "copy"):
        _convert(draft)
        return
    sample = draft.choice(samples(operation))
    pattern = [getattr(a, "dtype", None) for a in sample.args]
    arrays = [d for d in pattern if d is not None]
    first = draft.some(_kinds(operation))
    shape, dtype = first.type.shape, first.type.dtype
    if len(set(arrays)) > 1:  # operands of different dtypes, such as those of select
        own = _exchanged(arrays, dtype) if operation.name == "select" else arrays
        given = iter(own)
        pattern = [None if d is None else next(given) for d in pattern]
    else:
        pattern = [dtype for _ in pattern]
    takes_scalars = operation.name in _COMMON
    atoms: list[Atom] = []
    for position, wanted in enumerate(pattern):
        if position == 0 and wanted == dtype:
            atoms.append(first)
        elif takes_scalars and _typed_by(atoms, wanted or dtype) and draft.chance(0.2):
            atoms.append(draft.number(wanted or dtype))
        else:
            atoms.append(draft.operand(_narrower(draft, shape), wanted or dtype))
    draft.apply(operation, atoms, **sample.params)


def _is_of(shape: Shape, dtype: Any) -> Callable[[ArrayType], bool]:
    """Whether a type is that of a shape and a dtype."""
    return lambda t: t.shape == shape and t.dtype == dtype


def _typed_by(atoms: Sequence[Atom], dtype: Any) -> bool:
    """Whether a Python scalar beside these operands takes a dtype."""
    return any(isinstance(a, Variable) and a.type.dtype == dtype for a in atoms)


def _exchanged(arrays: Sequence[Any], dtype: Any) -> list[Any]:
    """The dtypes of a selection with another dtype of what is selected."""
    return [d if dtypes.kind(d) == "b" else dtype for d in arrays]


def _narrower(draft: Draft, shape: Shape) -> Shape:
    """A shape that broadcasts to another: itself, or with ones, or with fewer dimensions."""
    if draft.chance(0.6):
        return shape
    kept = shape[draft.integer(0, len(shape) + 1) :]
    return tuple(1 if draft.chance(0.3) else n for n in kept)


def _convert(draft: Draft) -> None:
    x = draft.some()
    draft.apply(primitive("convert"), [x], dtype=random_dtype(draft.rng))


# -- structure -----------------------------------------------


def _broadcast(draft: Draft) -> None:
    x = draft.some()
    shape = list(x.type.shape)
    dims = list(range(len(shape)))
    for _ in range(draft.integer(0, 3)):
        at = draft.integer(0, len(shape) + 1)
        shape.insert(at, draft.choice([*draft.sizes, 1]))
        dims = [d + (d >= at) for d in dims]
    for d, n in zip(dims, x.type.shape, strict=True):
        if n == 1 and draft.chance(0.6):
            shape[d] = draft.choice(draft.sizes)
    draft.apply(
        primitive("broadcast_in_dim"),
        [x],
        shape=tuple(shape),
        broadcast_dimensions=tuple(dims),
    )


def _transpose(draft: Draft) -> None:
    x = draft.some(rank=2)
    order = tuple(int(i) for i in draft.rng.permutation(x.type.ndim))
    draft.apply(primitive("transpose"), [x], permutation=order)


def _reshape(draft: Draft) -> None:
    x = draft.some()
    draft.apply(primitive("reshape"), [x], shape=_factored(draft, x.type.size))


def _factored(draft: Draft, size: int) -> Shape:
    """A shape of so many elements."""
    shape: list[int] = []
    left = size
    for _ in range(draft.integer(0, 4)):
        if left == 0:
            shape.append(draft.choice(draft.sizes))
            continue
        divisors = [d for d in range(1, min(left, 200) + 1) if left % d == 0]
        shape.append(draft.choice(divisors))
        left //= shape[-1]
    if left != 1 or draft.chance(0.2):
        shape.insert(draft.integer(0, len(shape) + 1), left)
    return tuple(shape)


def _slice(draft: Draft) -> None:
    x = draft.some(rank=1)
    starts, limits, strides = [], [], []
    for n in x.type.shape:
        start = draft.integer(0, n + 1) if draft.chance(0.5) else 0
        starts.append(start)
        limits.append(draft.integer(start, n + 1) if draft.chance(0.5) else n)
        strides.append(draft.choice([1, 1, 1, 2, 3, 5]))
    steps = None if all(s == 1 for s in strides) and draft.chance(0.5) else tuple(strides)
    draft.apply(
        primitive("slice"),
        [x],
        start_indices=tuple(starts),
        limit_indices=tuple(limits),
        strides=steps,
    )


def _pad(draft: Draft) -> None:
    x = draft.some()
    config = []
    for n in x.type.shape:
        low = draft.choice([0, 0, 1, 2, 5, -1, -min(n, 3)])
        high = draft.choice([0, 0, 1, 3, 16, -1, -min(n, 2)])
        config.append((low, high, draft.choice([0, 0, 0, 0, 1, 2])))
    value = draft.scalar(x.type.dtype)
    draft.apply(primitive("pad"), [x, value], padding_config=tuple(config))


def _concatenate(draft: Draft) -> None:
    x = draft.some(rank=1)
    dimension = draft.integer(0, x.type.ndim)
    atoms = [x]
    for _ in range(draft.choice([0, 1, 1, 2, 3, 17])):
        shape = list(x.type.shape)
        if draft.chance(0.5):
            shape[dimension] = draft.choice([*draft.sizes, 1])
        if math.prod(shape) <= draft.most:
            atoms.append(draft.operand(tuple(shape), x.type.dtype))
    order = draft.rng.permutation(len(atoms))
    draft.apply(primitive("concatenate"), [atoms[i] for i in order], dimension=dimension)


def _rev(draft: Draft) -> None:
    x = draft.some(rank=1)
    dims = tuple(d for d in range(x.type.ndim) if draft.chance(0.6))
    draft.apply(primitive("rev"), [x], dimensions=dims)


def _iota(draft: Draft) -> None:
    shape = draft.shape(draft.choice([1, 1, 2, 3]))
    dtype = random_dtype(draft.rng, "iuf")
    if dtypes.is_integer(dtype) and max(shape) > np.iinfo(dtype).max:
        return
    dimension = draft.integer(0, len(shape))
    draft.apply(primitive("iota"), [], dtype=dtype, shape=shape, dimension=dimension)


def _full(draft: Draft) -> None:
    dtype = random_dtype(draft.rng)
    value = draft.number(dtype).value
    draft.apply(primitive("full"), [], shape=draft.shape(), value=value, dtype=dtype)


# -- positions -----------------------------------------------


def _indices(draft: Draft, size: int, shape: Shape, mode: str) -> Atom:
    """Positions along a dimension: mostly in bounds where they must be."""
    dtype = random_dtype(draft.rng, INTEGERS)
    if draft.chance(0.2):
        return draft.operand(shape, dtype)
    low, high = (-size, size) if mode == "error" else (-2 * size - 2, 2 * size + 3)
    if mode == "error" and (draft.chance(0.03) or not size):
        high += 1
    if dtypes.kind(dtype) == "u":
        low = 0
    info = np.iinfo(dtype)
    low, high = max(low, info.min), min(max(high, low + 1), info.max)
    return draft.fresh(draft.rng.integers(low, high, shape).astype(dtype)[()])


def _places(draft: Draft, shape: Shape) -> tuple[tuple[int, ...], str, list[Atom]]:
    """Axes, a mode, and an index for each axis."""
    count = min(len(shape), draft.choice([1, 1, 1, 2, 3]))
    axes = tuple(int(a) for a in draft.rng.permutation(len(shape))[:count])
    mode = draft.choice(MODES)
    joint = draft.shape(draft.choice([0, 1, 1, 2]))
    return axes, mode, [_indices(draft, shape[a], _narrower(draft, joint), mode) for a in axes]


def _gather(draft: Draft) -> None:
    x = draft.some(rank=1)
    axes, mode, indices = _places(draft, x.type.shape)
    params: dict[str, Any] = {"axes": axes, "mode": mode}
    if mode == "fill":
        value = draft.number(x.type.dtype).value
        params["fill_value"] = value if draft.chance(0.5) else None
    draft.apply(primitive("gather"), [x, *indices], **params)


def _scatter(draft: Draft) -> None:
    names = ["scatter", "scatter_add", "scatter_mul", "scatter_max", "scatter_min"]
    operation = primitive(draft.choice(names))
    x = draft.some(rank=1)
    axes, mode, indices = _places(draft, x.type.shape)
    joint = np.broadcast_shapes(*(i.type.shape for i in indices))
    rest = tuple(n for a, n in enumerate(x.type.shape) if a not in axes)
    if math.prod((*joint, *rest)) > draft.most:
        return
    updates = draft.operand((*joint, *rest), x.type.dtype)
    draft.apply(operation, [x, updates, *indices], axes=axes, mode=mode)


def _starts(draft: Draft, shape: Shape, sizes: Shape, mode: str) -> list[Atom]:
    """Where a slice begins, one scalar a dimension."""
    starts: list[Atom] = []
    dtype = random_dtype(draft.rng, INTEGERS)
    for n, size in zip(shape, sizes, strict=True):
        room = n - size
        start = draft.integer(0, room + 1)
        if draft.chance(0.2):
            start = start - n if start < n else start
        if (mode == "clip" and draft.chance(0.4)) or draft.chance(0.01):
            start = draft.integer(-2 * n - 1, 2 * n + 2)
        if dtypes.kind(dtype) == "u":
            start = abs(start)
        info = np.iinfo(dtype)
        starts.append(draft.scalar(dtype, min(max(start, info.min), info.max)))
    return starts


def _dynamic_slice(draft: Draft) -> None:
    x = draft.some(rank=1)
    sizes = tuple(draft.integer(0, n + 1) if draft.chance(0.7) else n for n in x.type.shape)
    mode = draft.choice(["error", "clip"])
    starts = _starts(draft, x.type.shape, sizes, mode)
    draft.apply(primitive("dynamic_slice"), [x, *starts], slice_sizes=sizes, mode=mode)


def _dynamic_update_slice(draft: Draft) -> None:
    x = draft.some(rank=1)
    sizes = tuple(draft.integer(0, n + 1) if draft.chance(0.7) else n for n in x.type.shape)
    mode = draft.choice(["error", "clip"])
    update = draft.operand(sizes, x.type.dtype)
    starts = _starts(draft, x.type.shape, sizes, mode)
    draft.apply(primitive("dynamic_update_slice"), [x, update, *starts], mode=mode)


# -- reductions and products -----------------------------------------------


def _reduction(draft: Draft) -> None:
    name = draft.choice(["sum", "sum", "max", "min", "prod", "and", "or", "xor"])
    x = draft.some("biu" if name in ("and", "or", "xor") else "biufc")
    rank = x.type.ndim
    axes = tuple(a for a in range(rank) if draft.chance(0.6))
    draft.apply(primitive(f"reduce_{name}"), [x], axes=axes)


def _arg_extremum(draft: Draft) -> None:
    x = draft.some(rank=1)
    params = {"axis": draft.integer(0, x.type.ndim), "index_dtype": np.dtype(np.int32)}
    draft.apply(primitive(draft.choice(["argmax", "argmin"])), [x], **params)


def _cumulative(draft: Draft) -> None:
    names = ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "linear_recurrence"]
    operation = primitive(draft.choice(names))
    x = draft.some("f" if operation.name == "cumlogsumexp" else "iufc", rank=1)
    atoms: list[Atom] = [x]
    if operation.name == "linear_recurrence":
        atoms.append(draft.operand(x.type.shape, x.type.dtype))
    params = {"axis": draft.integer(0, x.type.ndim), "reverse": draft.chance(0.4)}
    draft.apply(operation, atoms, **params)


def _dot(draft: Draft) -> None:
    x = draft.some()
    shape = x.type.shape
    axes = [int(a) for a in draft.rng.permutation(len(shape))]
    contracted = axes[: draft.choice([0, 1, 1, 1, 2])]
    batched = axes[len(contracted) :][: draft.choice([0, 0, 1, 2])]
    free = [draft.choice([*draft.sizes, 1]) for _ in range(draft.choice([0, 1, 1, 2]))]
    other = [("c", a) for a in contracted] + [("b", a) for a in batched]
    other += [("f", n) for n in free]
    other = [other[i] for i in draft.rng.permutation(len(other))]
    sizes = tuple(n if kind == "f" else shape[n] for kind, n in other)
    if math.prod(sizes) > draft.most:
        return
    y = draft.operand(sizes, x.type.dtype)
    where = {entry: i for i, entry in enumerate(other)}
    numbers = (
        (tuple(contracted), tuple(where["c", a] for a in contracted)),
        (tuple(batched), tuple(where["b", a] for a in batched)),
    )
    draft.apply(primitive("dot_general"), [x, y], dimension_numbers=numbers)


def _sort(draft: Draft) -> None:
    x = draft.some("biuf", rank=1)
    dimension = draft.integer(0, x.type.ndim)
    atoms: list[Atom] = [x]
    for _ in range(draft.choice([0, 0, 1, 2])):
        atoms.append(draft.operand(x.type.shape, random_dtype(draft.rng, "iuf")))
    keys = draft.integer(1, len(atoms) + 1)
    draft.apply(primitive("sort"), atoms, dimension=dimension, num_keys=keys, is_stable=True)


def _windows(draft: Draft) -> None:
    name = draft.choice(["sum", "max", "min"])
    x = draft.some("f" if name == "sum" else "iuf", rank=1)
    rank = x.type.ndim

    def drawn(*options: int) -> Shape:
        return tuple(int(draft.choice(options)) for _ in range(rank))

    low, high = drawn(0, 0, 1, 2), drawn(0, 0, 1)
    draft.apply(
        primitive(f"reduce_window_{name}"),
        [x],
        window_dimensions=drawn(1, 2, 3, 5),
        window_strides=drawn(1, 1, 2, 3),
        padding=tuple(zip(low, high, strict=True)),
        base_dilation=drawn(1, 1, 1, 2),
        window_dilation=drawn(1, 1, 1, 2),
    )


# -- everything else -----------------------------------------------


def _sampled(draft: Draft) -> None:
    operation = draft.choice(sampled())
    sample = draft.choice(samples(operation))
    atoms: list[Atom] = []
    for arg in sample.args:
        dtype = getattr(arg, "dtype", None)
        if dtype is None:
            atoms.append(Literal(arg))
            continue
        found = None
        if draft.chance(0.3) and operation.name not in _SLOW:
            found = draft.pick(_is_of(np.shape(arg), dtype))
        if found is None and draft.chance(0.15) and operation in elementwise():
            found = draft.fresh(random_value(draft.rng, np.shape(arg), dtype))
        atoms.append(draft.fresh(np.asarray(arg)[()]) if found is None else found)
    draft.apply(operation, atoms, **sample.params)


#: Rules and how often they are drawn.
RULES: tuple[tuple[Rule, int], ...] = (
    (_elementwise, 40),
    (_convert, 4),
    (_broadcast, 6),
    (_transpose, 5),
    (_reshape, 6),
    (_slice, 6),
    (_pad, 5),
    (_concatenate, 5),
    (_rev, 3),
    (_iota, 2),
    (_full, 2),
    (_gather, 6),
    (_scatter, 4),
    (_dynamic_slice, 3),
    (_dynamic_update_slice, 3),
    (_reduction, 12),
    (_arg_extremum, 2),
    (_cumulative, 3),
    (_dot, 4),
    (_sort, 2),
    (_windows, 2),
    (_sampled, 8),
)
