"""Whole derivative matrices: `jacfwd`, `jacrev`, `jacobian`, `hessian`, and `hvp`.

The function is linearized once; then its linear program is run on all basis vectors at once,
forwards (one per input element) or backwards (one per output element), in chunks if asked.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from wengert import config, errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array
from wengert.core.primitive import Value, Zero
from wengert.core.source import user_location
from wengert.core.tracing import is_tracing
from wengert.primitives.basis import (
    Elementwise,
    batched_first,
    filled,
    move_axis,
    reshape,
    zeros_like,
)
from wengert.primitives.compare import select
from wengert.primitives.shape import concatenate, slice_
from wengert.transforms.grad import checked_argnums, grad, replaced_args, selected_args
from wengert.transforms.jvp import jvp, jvp_flat
from wengert.transforms.linearize import (
    Linearization,
    float0_zeros,
    like,
    primal,
    split_aux,
)
from wengert.transforms.tape import Block
from wengert.transforms.vmap import batch_flat

ChunkSize = int | Literal["auto"] | None
#: Tangents of inputs to tangents of results.
Push = Callable[[Sequence[Value]], Sequence[Value]]
Mode = Literal["forward", "reverse", "cheapest"]


def jacfwd(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    chunk_size: ChunkSize = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, column by column in forward mode.

    Args:
      fun: a function of arrays, or trees of arrays.
      argnums: which positional arguments to differentiate (int or sequence).
      has_aux: `fun` returns `(result, aux)`; the Jacobian comes as `(jacobian, aux)`.
      holomorphic: promise that `fun` is holomorphic; inputs are then complex.
      chunk_size: at most so many columns at a time; "auto" chooses by the setting
        `memory_budget`; None takes all at once.

    Returns:
      a function whose result has, for each result leaf of shape `s` and each input leaf of
      shape `t`, an array of shape `s + t`.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.jacfwd(lambda x: x ** 2)(wnp.array([1.0, 2.0]))
    Array([[2., 0.],
           [0., 4.]], dtype=float32)
    """
    return _jacobian(fun, argnums, has_aux, holomorphic, False, chunk_size, "forward")


def jacrev(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    chunk_size: ChunkSize = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, row by row in reverse mode.

    Arguments and result are those of `jacfwd`; `allow_int` lets integer inputs through (their
    derivative is a float0 array), and `chunk_size` counts rows.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.jacrev(lambda x: wnp.sum(x) * wnp.array([1.0, 2.0]))(wnp.ones(3))
    Array([[1., 1., 1.],
           [2., 2., 2.]], dtype=float32)
    """
    return _jacobian(fun, argnums, has_aux, holomorphic, allow_int, chunk_size, "reverse")


def jacobian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    chunk_size: ChunkSize = None,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, in the cheaper of the two modes.

    The function runs once; when its input and output sizes are known, the linear program is
    run forwards if there are fewer input than output elements, backwards otherwise.
    Arguments and result are those of `jacrev`.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.jacobian(wnp.sin)(wnp.zeros(2))
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return _jacobian(fun, argnums, has_aux, holomorphic, allow_int, chunk_size, "cheapest")


def hessian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    chunk_size: ChunkSize = None,
) -> Callable[..., Any]:
    """A function that returns the Hessian of `fun`: forward over reverse mode.

    Arguments are those of `jacfwd`. For an input leaf of shape `t` and a scalar result, the
    block with the leaf of shape `u` has shape `t + u`.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.hessian(lambda x: x[0] * x[1] ** 2)(wnp.array([3.0, 2.0]))
    Array([[0., 4.],
           [4., 6.]], dtype=float32)
    """
    first = jacrev(fun, argnums, has_aux, holomorphic, chunk_size=chunk_size)
    return jacfwd(first, argnums, has_aux, holomorphic, chunk_size)


def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The product of the Hessian of a scalar function with a vector, without the Hessian.

    Args:
      fun: returns a real scalar.
      primals: a tuple: the point.
      tangents: a tuple of the same structure: the vector.

    Returns:
      the product, structured as one argument, or as a tuple for several.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.hvp(lambda x: wnp.sum(x ** 3), (wnp.array([1.0, 2.0]),), (wnp.ones(2),))
    Array([ 6., 12.], dtype=float32)
    """
    argnums: Any = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(fun, argnums), tuple(primals), tuple(tangents))[1]


def _jacobian(
    fun: Callable[..., Any],
    argnums: Any,
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    chunk_size: ChunkSize,
    mode: Mode,
) -> Callable[..., Any]:
    argnums = checked_argnums(argnums)
    _check_chunk_size(chunk_size)

    @functools.wraps(fun, updated=())
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = tree.flatten(selected_args(fun, args, argnums))
        inputs = [_checked_input(as_array(x), holomorphic, allow_int, mode) for x in leaves]
        out_tree: Any = None
        aux: Any = None

        def call(tracers: list[Any]) -> list[Any]:
            nonlocal out_tree, aux
            chosen = tree.unflatten(in_tree, tracers)
            out = fun(*replaced_args(args, argnums, chosen), **kwargs)
            if has_aux:
                out, aux = split_aux(out)
            out_leaves, out_tree = tree.flatten(out)
            return [_checked_output(as_array(x), holomorphic, mode) for x in out_leaves]

        linearized = Linearization(call, inputs)
        push = _pushforward(linearized, call, inputs)
        blocks = jacobian_blocks(linearized, inputs, chunk_size, mode, push)
        jac = tree.unflatten(out_tree, [tree.unflatten(in_tree, row) for row in blocks])
        return (jac, tree.map(primal, aux)) if has_aux else jac

    return jacobian_fun


def _pushforward(
    linearized: Linearization, call: Callable[[list[Any]], list[Any]], inputs: Sequence[Value]
) -> Push:
    """How to push tangents: through the linearization, or along with the primal values.

    In a program with loops, tangents in the same loop cost less than a loop of their own over
    the residuals of all iterations. The linearization is dead code then.
    """
    entries = linearized.tape.entries[linearized.tape.inputs :]
    if not is_tracing() or not any(isinstance(primitive, Block) for primitive, _, _ in entries):
        return linearized.push
    return lambda tangents: jvp_flat(call, inputs, tangents)[1]


def jacobian_blocks(
    linearized: Linearization,
    inputs: Sequence[Value],
    chunk_size: ChunkSize,
    mode: Mode,
    push: Push,
) -> list[list[Value]]:
    """The Jacobian of a linearization: a block per result leaf (rows) and input leaf.

    Args:
      linearized: the linearization.
      inputs: where it is.
      chunk_size, mode: as for `jacobian`.
      push: what pushes tangents of the inputs.
    """
    outputs = linearized.primals
    # a real function of complex numbers has its derivative in the pullback alone
    mixed = any(dtypes.is_complex(x.dtype) for x in inputs) and not all(
        dtypes.is_complex(x.dtype) for x in outputs
    )
    if not mixed and _is_diagonal(linearized, inputs):
        return _diagonal_blocks(linearized, inputs, mode)
    columns = sum(x.size for x in inputs if dtypes.is_inexact(x.dtype))
    rows = sum(x.size for x in outputs if dtypes.is_inexact(x.dtype))
    if mode == "forward" or (mode == "cheapest" and columns <= rows and not mixed):
        pushed = _through(push, inputs, outputs, columns, chunk_size, linearized.tape)
        by_input = [_split(p, inputs, leading=True) for p in pushed]
        return [
            [_block(o, i, piece, o) for i, piece in zip(inputs, pieces, strict=True)]
            for o, pieces in zip(outputs, by_input, strict=True)
        ]
    pulled = _through(linearized.pull, outputs, inputs, rows, chunk_size, linearized.tape)
    by_output = [_split(p, outputs, leading=False) for p in pulled]
    return [
        [_block(o, i, by_output[b][a], i) for b, i in enumerate(inputs)]
        for a, o in enumerate(outputs)
    ]


def _is_diagonal(linearized: Linearization, inputs: Sequence[Value]) -> bool:
    """Whether every block is diagonal: only elementwise maps between arrays of one shape."""
    floating = [v for v in (*inputs, *linearized.primals) if dtypes.is_inexact(v.dtype)]
    shape = floating[0].shape if floating else None
    for value in floating:
        if value.shape != shape:
            return False
    for primitive, terms, extra in linearized.tape.entries[linearized.tape.inputs :]:
        if not isinstance(primitive, Elementwise) or extra != shape:
            return False
        for _, _, operand in terms:
            if operand != shape:
                return False
    return True


def _diagonal_blocks(
    linearized: Linearization, inputs: Sequence[Value], mode: Mode
) -> list[list[Value]]:
    """Diagonal blocks: the linear map of a vector of ones holds them all."""
    columns: list[list[Value]] = []
    for i, x in enumerate(inputs):
        tangents = [filled(v.type, 1) if i == k else Zero(v.type) for k, v in enumerate(inputs)]
        pushed = linearized.push(tangents) if dtypes.is_inexact(x.dtype) else []
        columns.append([None if type(t) is Zero else t for t in pushed])
    return [
        [
            _embedded(out, x, columns[b][a] if columns[b] else None, mode)
            for b, x in enumerate(inputs)
        ]
        for a, out in enumerate(linearized.primals)
    ]


def _embedded(out: Value, in_: Value, diagonal: Value, mode: Mode) -> Value:
    """The block with this diagonal (None: zero)."""
    if diagonal is None or not dtypes.is_inexact(out.dtype):
        zero = dtypes.is_inexact(in_.dtype) and dtypes.is_inexact(out.dtype)
        shape = (*out.shape, *in_.shape)
        return zeros_like(ArrayType(shape, out.dtype)) if zero else float0_zeros(shape)
    diagonal = like(diagonal, out if mode == "forward" else in_)
    if not in_.shape:
        return diagonal
    mask = _identity(in_.shape) if in_.size <= _SMALL else _identity.__wrapped__(in_.shape)
    return select(mask, diagonal, 0)


_SMALL = 64  # elements of an array whose identity mask is kept


@functools.lru_cache(maxsize=64)
def _identity(shape: tuple[int, ...]) -> Array:
    """True where an element of the result meets the same element of the input."""
    size = math.prod(shape)
    return Array(np.eye(size, dtype=bool).reshape(*shape, *shape))


def _through(
    linear: Callable[[list[Any]], Sequence[Any]],
    sources: Sequence[Value],
    results: Sequence[Value],
    count: int,
    chunk_size: ChunkSize,
    tape: Any,
) -> list[Any]:
    """All basis vectors of `sources` sent through a linear map; the basis runs along axis 0."""
    chunk = _chunk(chunk_size, count, sources, results, tape)
    gathered: list[list[Any]] = []
    for start in range(0, count, chunk):
        size = min(chunk, count - start)
        basis = [_basis(s.type, start, size, o) for s, o in _offsets(sources)]
        out, dims = batch_flat(
            lambda vectors: [
                zeros_like(r) if v is None or type(v) is Zero else v
                for v, r in zip(linear(vectors), results, strict=True)
            ],
            size,
            basis,
            [0 if type(b) is Array else None for b in basis],
        )
        gathered.append([batched_first(o, d, size) for o, d in zip(out, dims, strict=True)])
    if not gathered:
        return [zeros_like(ArrayType((0, *r.shape), r.dtype)) for r in results]
    if len(gathered) == 1:
        return gathered[0]
    return [concatenate(*pieces, dimension=0) for pieces in zip(*gathered, strict=True)]


def _offsets(sources: Sequence[Value]) -> list[tuple[Value, int]]:
    out, offset = [], 0
    for source in sources:
        out.append((source, offset))
        offset += source.size if dtypes.is_inexact(source.dtype) else 0
    return out


def _basis(type_: ArrayType, start: int, size: int, offset: int) -> Any:
    """Rows `start` to `start + size` of the identity, the part that belongs to one array."""
    if not dtypes.is_inexact(type_.dtype):
        return Zero(type_)
    eye = np.eye(size, type_.size, start - offset, dtype=type_.dtype)
    return Array(eye.reshape(size, *type_.shape))


def _split(stack: Value, parts: Sequence[Value], leading: bool) -> list[Value]:
    """The stack over all basis vectors, cut into one piece per array; basis axis placed."""
    pieces: list[Value] = []
    for part, offset in _offsets(parts):
        if not dtypes.is_inexact(part.dtype):
            pieces.append(None)
            continue
        piece = stack
        if part.size != stack.shape[0]:
            rest = stack.shape[1:]
            piece = slice_(
                stack,
                start_indices=(offset, *(0,) * len(rest)),
                limit_indices=(offset + part.size, *rest),
            )
        pieces.append(move_axis(piece, 0, len(piece.shape) - 1) if leading else piece)
    return pieces


def _block(out: Value, in_: Value, piece: Value, model: Value) -> Value:
    """The block of an output and an input, as weak as the model that its values belong to."""
    shape = (*out.shape, *in_.shape)
    if piece is None or not (dtypes.is_inexact(out.dtype) and dtypes.is_inexact(in_.dtype)):
        return float0_zeros(shape)
    return like(piece if piece.shape == shape else reshape(piece, shape=shape), model)


def _chunk(
    chunk_size: ChunkSize,
    count: int,
    sources: Sequence[Value],
    results: Sequence[Value],
    tape: Any,
) -> int:
    if chunk_size is None:
        return max(count, 1)
    if chunk_size != "auto":
        return chunk_size
    itemsize = max(v.dtype.itemsize for v in (*sources, *results))
    widest = max(
        [v.size for v in (*sources, *results)] + [_width(e) for e in tape.entries if e]
    )
    budget: int = config.memory_budget.value
    return max(1, budget // max(1, 3 * itemsize * widest))


def _width(entry: Any) -> int:
    """Elements of the largest array that a tape entry handles, for one vector."""
    _, terms, extra = entry
    if isinstance(extra, tuple) and all(isinstance(n, int) for n in extra):
        return math.prod(extra)
    if isinstance(terms, list) and terms and len(terms[0]) == 3:
        return max((o.size for o in terms[0][2] if isinstance(o, ArrayType)), default=0)
    return 0


def _check_chunk_size(chunk_size: Any) -> None:
    if chunk_size in (None, "auto"):
        return
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(
            f"chunk_size must be a positive int, 'auto' or None, got {chunk_size!r}."
        )


def _checked_input(x: Value, holomorphic: bool, allow_int: bool, mode: Mode) -> Value:
    if holomorphic and not dtypes.is_complex(x.dtype):
        raise errors.HolomorphicError("input", x.type)
    if not dtypes.is_inexact(x.dtype) and not allow_int:
        raise errors.IntegerGradientError(x.type, user_location())
    if mode == "forward" and not holomorphic and dtypes.is_complex(x.dtype):
        raise errors.ComplexDerivativeError("jacfwd", x.type)
    return x


def _checked_output(x: Value, holomorphic: bool, mode: Mode) -> Value:
    if holomorphic and not dtypes.is_complex(x.dtype):
        raise errors.HolomorphicError("output", x.type)
    if mode != "forward" and not holomorphic and dtypes.is_complex(x.dtype):
        raise errors.ComplexDerivativeError("jacrev", x.type)
    return x
