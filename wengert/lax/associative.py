"""`associative_scan`: running combinations, in logarithmic depth.

Neighbours are combined in pairs, the half as long sequence of pairs is scanned in the same way,
and every other result is one combination away. That is about two combinations per element, on
whole arrays at a time, whatever the associative operation is.

Guy E. Blelloch, "Prefix sums and their applications" (1990).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import tree
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.lax.slicing import slice_in_dim
from wengert.lax.structure import concatenate, reshape, rev

Combine = Callable[[list[Any], list[Any]], list[Any]]


def associative_scan(
    fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """All running combinations of the elements along an axis, by an associative function.

    Args:
      fn: `fn(a, b)` combines trees like `elems`, slice by slice along the axis; `a` comes
        before `b`. It must be associative; it need not be commutative.
      elems: a tree of arrays, of one size along the axis.
      reverse: start at the end: result `i` combines the last element down to element `i`.
      axis: along which the elements are.

    Returns:
      a tree like `elems`: result `i` combines the elements `0 ... i`.

    Raises:
      TypeError: when `fn` is not callable.
      ShapeError: when sizes along the axis differ, or `fn` changes shapes or dtypes.

    >>> import wengert.numpy as wnp
    >>> associative_scan(wnp.add, wnp.arange(5))
    Array([ 0,  1,  3,  6, 10], dtype=int32)
    >>> associative_scan(wnp.matmul, wnp.stack([wnp.eye(2) * 2.0] * 3))[-1]
    Array([[8., 0.],
           [0., 8.]], dtype=float32)
    """
    if not callable(fn):
        raise TypeError(f"associative_scan needs a function, got {fn!r}.")
    leaves, structure = tree.flatten(elems)
    values = [as_array(leaf) for leaf in leaves]
    axes = [_axis(v, axis) for v in values]
    sizes = {v.shape[a] for v, a in zip(values, axes, strict=True)}
    if len(sizes) > 1:
        raise errors.ShapeError(
            f"associative_scan needs arrays of one size along axis {axis}, got shapes "
            f"{', '.join(str(v.shape) for v in values)}."
        )

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        out, got = tree.flatten(fn(tree.unflatten(structure, a), tree.unflatten(structure, b)))
        if got != structure:
            raise errors.TreeError("the result of fn", got, "the elements", structure)
        combined = [as_array(o) for o in out]
        _check_types(combined, a)
        return combined

    if reverse:
        values = [rev(v, (a,)) for v, a in zip(values, axes, strict=True)]
    if values and sizes.pop() > 1:
        values = _scanned(combine, values, axes)
    if reverse:
        values = [rev(v, (a,)) for v, a in zip(values, axes, strict=True)]
    return tree.unflatten(structure, values)


def _axis(value: Value, axis: int) -> int:
    rank = len(value.shape)
    if not -rank <= axis < rank:
        raise errors.AxesError(
            f"associative_scan along axis {axis} of an array of shape {value.shape}, which has "
            f"{rank} dimensions."
        )
    return axis % rank


def _check_types(got: Sequence[Value], expected: Sequence[Value]) -> None:
    if [(g.shape, g.dtype) for g in got] != [(e.shape, e.dtype) for e in expected]:
        raise errors.ShapeError(
            "the function of associative_scan must return arrays like those it is given: it "
            f"took ({', '.join(str(e.type) for e in expected)}) and returned "
            f"({', '.join(str(g.type) for g in got)})."
        )


def _scanned(combine: Combine, values: list[Any], axes: Sequence[int]) -> list[Any]:
    """The scan of at least two elements."""
    size = values[0].shape[axes[0]]

    def part(arrays: list[Any], start: int, stop: int, step: int = 1) -> list[Any]:
        return [
            slice_in_dim(v, start, stop, step, a) for v, a in zip(arrays, axes, strict=True)
        ]

    odd = combine(part(values, 0, size - 1, 2), part(values, 1, size, 2))
    half = size // 2
    if half > 1:
        odd = _scanned(combine, odd, axes)
    even = part(values, 0, 1)
    if size > 2:
        before = part(odd, 0, (size - 1) // 2)
        rest = combine(before, part(values, 2, size, 2))
        even = [concatenate(pair, a) for *pair, a in zip(even, rest, axes, strict=True)]
    return [_interleaved(e, o, a) for e, o, a in zip(even, odd, axes, strict=True)]


def _interleaved(even: Value, odd: Value, axis: int) -> Value:
    """The elements of two arrays in turn; the first may have one more."""
    size = odd.shape[axis]
    before, after = odd.shape[:axis], odd.shape[axis + 1 :]
    first = slice_in_dim(even, 0, size, 1, axis)
    pairs = [reshape(x, (*before, size, 1, *after)) for x in (first, odd)]
    merged = reshape(concatenate(pairs, axis + 1), (*before, 2 * size, *after))
    if even.shape[axis] == size:
        return merged
    return concatenate([merged, slice_in_dim(even, size, size + 1, 1, axis)], axis)
