"""Einstein summation: `einsum` and `einsum_path`.

From subscripts and shapes a plan is made, once for each: which diagonals to take, which
dimensions to sum, in which order to contract pairs of operands (from opt_einsum when there are
more than two), how to permute the result. Carrying it out takes `dot_general`,
`reduce_sum`, `transpose` and `slice` alone, so that derivatives and batching follow.

A label is one character; the dimensions that an ellipsis stands for get labels of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.core.lazy import lazy_module
from wengert.numpy.arrays import check_out
from wengert.numpy.contract import operands
from wengert.numpy.diagonals import diagonal
from wengert.numpy.promotion import Value, promote, to_dtype
from wengert.primitives.basis import reduce_sum, reshape, transpose
from wengert.primitives.contract import dot_general

_opt_einsum = lazy_module("opt_einsum")

#: Labels for the dimensions of an ellipsis, last dimension first: no keyboard has them.
_HIDDEN = 0xE000


class _Step(NamedTuple):
    """Contraction of two operands, taken out of the list; the result is appended to it.

    Attributes:
      first, second: their places in the list.
      sums: dimensions of each that nothing else needs, summed beforehand.
      numbers: of the contraction.
    """

    first: int
    second: int
    sums: tuple[Shape, Shape]
    numbers: Any


class _Plan(NamedTuple):
    """How an einsum is carried out.

    Attributes:
      diagonals: for each operand, pairs of dimensions to replace by their diagonal, one by one.
      shapes: for each operand then, the shape to give it (broadcast dimensions left out).
      steps: contractions of pairs.
      sums: dimensions of the last operand to sum.
      permutation: of what remains.
    """

    diagonals: tuple[tuple[tuple[int, int], ...], ...]
    shapes: tuple[Shape, ...]
    steps: tuple[_Step, ...]
    sums: Shape
    permutation: Shape


def _fail(subscripts: str, shapes: Sequence[Shape], why: str) -> errors.ShapeError:
    visible = "".join("." if ord(c) >= _HIDDEN else c for c in subscripts)
    return errors.ShapeError(
        f"einsum {visible!r} of shapes {', '.join(map(str, shapes))}: {why}"
    )


def _letters(sublist: Sequence[Any]) -> str:
    """A term of subscripts from a list of integers."""
    return "".join(
        "..." if i is Ellipsis else chr(ord("A") + i + 6 * (i >= 26)) for i in sublist
    )


def _split(arguments: Sequence[Any]) -> tuple[str, list[Any]]:
    """Subscripts and operands from the arguments of `einsum`, in either of its two forms."""
    first, *rest = arguments
    if isinstance(first, str):
        return first.replace(" ", ""), rest
    terms = [_letters(labels) for labels in arguments[1::2]]
    values = list(arguments[0 : 2 * len(terms) : 2])
    if len(arguments) % 2:
        return f"{','.join(terms)}->{_letters(arguments[-1])}", values
    return ",".join(terms), values


def _expand(term: str, rank: int) -> str:
    """The term with its ellipsis replaced by labels, as many as the rank asks for."""
    if "..." not in term:
        return term
    before, _, after = term.partition("...")
    count = max(rank - len(before) - len(after), 0)
    return before + "".join(chr(_HIDDEN + i) for i in reversed(range(count))) + after


def _terms(subscripts: str, shapes: tuple[Shape, ...]) -> tuple[list[str], str]:
    """One string of labels for each operand, and that of the result."""
    left, arrow, result = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        why = f"there are {len(terms)} terms for {len(shapes)} operands."
        raise _fail(subscripts, shapes, why)
    terms = [_expand(term, len(shape)) for term, shape in zip(terms, shapes, strict=True)]
    labels = "".join(terms)
    hidden = max((ord(c) - _HIDDEN + 1 for c in labels), default=0)
    if not arrow:
        once = sorted(c for c in set(labels) if labels.count(c) == 1 and ord(c) < _HIDDEN)
        result = _expand("...", max(hidden, 0)) + "".join(once)
    else:
        result = _expand(result, max(hidden, 0) + len(result.replace("...", "")))
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape):
            why = f"the term {term!r} has {len(term)} labels for {len(shape)} dimensions."
            raise _fail(subscripts, shapes, why)
    if len(set(result)) != len(result) or not set(result) <= set(labels):
        why = "each label of the result must occur there once, and in some operand."
        raise _fail(subscripts, shapes, why)
    if not all(c.isalpha() or ord(c) >= _HIDDEN for c in labels + result):
        raise _fail(subscripts, shapes, "labels are letters; '...' and '->' occur once a term.")
    return terms, result


def _label_sizes(
    subscripts: str, terms: list[str], shapes: tuple[Shape, ...]
) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, n in zip(term, shape, strict=True):
            known = sizes.get(label, 1)
            if known != n and 1 not in (known, n):
                why = f"dimensions with one label have sizes {known} and {n}."
                raise _fail(subscripts, shapes, why)
            sizes[label] = n if known == 1 else known
    return sizes


def _diagonals(term: str, shape: Shape) -> tuple[list[tuple[int, int]], str, Shape]:
    """Pairs of dimensions with one label; term and shape once their diagonals are taken."""
    pairs = []
    while len(set(term)) < len(term):
        label = next(c for c in term if term.count(c) > 1)
        i = term.index(label)
        j = term.index(label, i + 1)
        pairs.append((i, j))
        n = shape[i]
        if n != shape[j]:
            raise errors.ShapeError(
                f"einsum takes the diagonal of dimensions of sizes {n} and {shape[j]}: a label "
                "that is repeated within a term needs equal sizes."
            )
        term, shape = (
            term[:i] + term[i + 1 : j] + term[j + 1 :] + label,
            (*shape[:i], *shape[i + 1 : j], *shape[j + 1 :], n),
        )
    return pairs, term, shape


def _step(first: int, second: int, terms: list[str], result: str) -> _Step:
    """The contraction of two operands, whose terms it replaces by that of the product."""
    x, y = terms[first], terms[second]
    others = "".join(t for i, t in enumerate(terms) if i not in (first, second)) + result
    sums = tuple(
        tuple(i for i, c in enumerate(own) if c not in other + others)
        for own, other in ((x, y), (y, x))
    )
    x, y = (
        "".join(c for i, c in enumerate(t) if i not in s)
        for t, s in zip((x, y), sums, strict=True)
    )
    batch = [c for c in x if c in y and c in others]
    inner = [c for c in x if c in y and c not in others]
    numbers = (
        (tuple(map(x.index, inner)), tuple(map(y.index, inner))),
        (tuple(map(x.index, batch)), tuple(map(y.index, batch))),
    )
    for i in sorted((first, second), reverse=True):
        del terms[i]
    shared = set(batch) | set(inner)
    terms.append("".join(batch) + "".join(c for c in x + y if c not in shared))
    return _Step(first, second, (sums[0], sums[1]), numbers)


@lru_cache(maxsize=1024)
def _plan(subscripts: str, shapes: tuple[Shape, ...], optimize: Any) -> _Plan:
    terms, result = _terms(subscripts, shapes)
    sizes = _label_sizes(subscripts, terms, shapes)
    diagonals, kept_shapes = [], []
    for i, shape in enumerate(shapes):
        pairs, term, reduced = _diagonals(terms[i], shape)
        diagonals.append(tuple(pairs))
        kept = [k for k, c in enumerate(term) if reduced[k] == sizes[c]]
        terms[i] = "".join(term[k] for k in kept)
        kept_shapes.append(tuple(reduced[k] for k in kept))
    if len(terms) <= 2:
        path = [tuple(range(len(terms)))]
    else:
        path = _opt_einsum.contract_path(
            f"{','.join(terms)}->{result}", *kept_shapes, shapes=True, optimize=optimize
        )[0]
    steps = []
    for places in path:
        remaining = list(places)
        while len(remaining) > 1:  # a path may contract several operands at once
            first, second = remaining[:2]
            steps.append(_step(first, second, terms, result))
            moved = [i - sum(i > j for j in (first, second)) for i in remaining[2:]]
            remaining = [*moved, len(terms) - 1]
    (last,) = terms
    sums = tuple(i for i, c in enumerate(last) if c not in result)
    left = "".join(c for c in last if c in result)
    return _Plan(
        tuple(diagonals), tuple(kept_shapes), tuple(steps), sums, tuple(map(left.index, result))
    )


def _summed(x: Value, axes: Shape) -> Value:
    return reduce_sum(x, axes=axes) if axes else x


def _carry_out(plan: _Plan, values: Sequence[Value]) -> Value:
    """The einsum of operands of one dtype."""
    arrays = []
    for x, pairs, shape in zip(values, plan.diagonals, plan.shapes, strict=True):
        for i, j in pairs:
            x = diagonal(x, 0, i, j)
        arrays.append(x if x.shape == shape else reshape(x, shape=shape))
    for step in plan.steps:
        x, y = (
            _summed(arrays[step.first], step.sums[0]),
            _summed(arrays[step.second], step.sums[1]),
        )
        for i in sorted((step.first, step.second), reverse=True):
            del arrays[i]
        arrays.append(dot_general(x, y, dimension_numbers=step.numbers))
    out = _summed(arrays[0], plan.sums)
    if plan.permutation != tuple(range(len(plan.permutation))):
        out = transpose(out, permutation=plan.permutation)
    return out


def _path_option(optimize: Any) -> Any:
    return tuple(map(tuple, optimize)) if isinstance(optimize, list) else optimize


def einsum(
    subscripts: Any,
    /,
    *arguments: Any,
    out: None = None,
    optimize: Any = "auto",
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """Sums of products, in Einstein's notation.

    Args:
      subscripts: terms for the operands and, after `->`, for the result: "ij,jk->ik". Without
        `->` the result has the labels that occur once, sorted. `...` stands for any dimensions.
      *arguments: the operands. Or no subscripts at all, but operands and lists of integer
        labels in turn: `einsum(x, [0, 1], y, [1, 2], [0, 2])`.
      out: not supported.
      optimize: how to choose the order of contraction of more than two operands: as in
        opt_einsum ("auto", "optimal", "greedy", a path, or False for the given order).
      precision: changes nothing: products are always taken in full precision.
      preferred_element_type: dtype in which to accumulate and return the result.

    Raises:
      ShapeError: when terms and shapes do not fit.

    >>> import wengert.numpy as wnp
    >>> x = wnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> wnp.einsum("ij,kj->ik", x, x)
    Array([[ 5., 11.],
           [11., 25.]], dtype=float32)
    """
    check_out("einsum", out)
    text, values = _split((subscripts, *arguments))
    if len(values) == 2:
        values = [*operands(*values)]
    elif values:
        values = promote(*values)
    dtype = None if preferred_element_type is None else dtypes.as_dtype(preferred_element_type)
    if dtype is not None:
        wide = np.promote_types(values[0].dtype, dtype)
        values = [to_dtype(x, wide) for x in values]
    plan = _plan(text, tuple(x.shape for x in values), _path_option(optimize))
    result = _carry_out(plan, values)
    return result if dtype is None else to_dtype(result, dtype)


def einsum_path(
    subscripts: Any, /, *arguments: Any, optimize: Any = "auto"
) -> tuple[list[tuple[int, ...]], Any]:
    """The order in which `einsum` contracts its operands, without doing so.

    Returns:
      the path (places of the operands of each contraction, whose result goes to the end), and a
      description that prints its cost.

    >>> import wengert.numpy as wnp
    >>> x, y = wnp.ones((2, 3)), wnp.ones((3, 4))
    >>> wnp.einsum_path("ij,jk->ik", x, y)[0]
    [(0, 1)]
    """
    text, values = _split((subscripts, *arguments))
    shapes = [as_array(x).shape for x in values]
    path, description = _opt_einsum.contract_path(text, *shapes, shapes=True, optimize=optimize)
    return path, description
