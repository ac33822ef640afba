"""Functions of small arrays applied along axes of large ones, by `vmap`.

The function is run once, on traced values; it must therefore be written with functions of
`wengert.numpy`, as under `vmap`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from wengert import errors
from wengert.core import tree
from wengert.core.array import Shape, as_array
from wengert.numpy.arrays import asarray
from wengert.numpy.axes import axis_of, integers
from wengert.numpy.layout import broadcast_shapes, expand_dims, moveaxis, reshape, squeeze
from wengert.transforms.vmap import vmap

Value = Any


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Any:
    """A function of vectors applied to every vector along an axis.

    Args:
      func1d: takes a vector; returns an array of any shape, which replaces the axis.
      axis: the axis.
      arr: an array.
      *args: further arguments of the function.
      **kwargs: further keyword arguments of the function.

    >>> import wengert.numpy as wnp
    >>> wnp.apply_along_axis(lambda v: v[0] + v[-1], 1, wnp.array([[1, 2, 3], [4, 5, 6]]))
    Array([ 4, 10], dtype=int32)
    """
    a = as_array(arr)
    axis = axis_of(axis, len(a.shape))
    others = a.shape[:axis] + a.shape[axis + 1 :]
    vectors = reshape(moveaxis(a, axis, -1), (-1 if a.size else _count(others), a.shape[axis]))
    out = vmap(lambda v: func1d(v, *args, **kwargs))(vectors)

    def arranged(values: Value) -> Value:
        new = len(values.shape) - 1
        spread = reshape(values, others + values.shape[1:])
        sources = range(len(others), len(others) + new)
        return moveaxis(spread, tuple(sources), tuple(range(axis, axis + new)))

    return tree.map(arranged, out)


def _count(sizes: Shape) -> int:
    return functools.reduce(lambda a, b: a * b, sizes, 1)


def apply_over_axes(
    func: Callable[[Any, int], Any], a: Any, axes: int | Sequence[int]
) -> Value:
    """A function of an array and an axis, applied for one axis after the other.

    Args:
      func: returns an array with as many axes as its argument, or one less.
      a: an array.
      axes: the axes.

    >>> import wengert.numpy as wnp
    >>> wnp.apply_over_axes(wnp.sum, wnp.ones((2, 3, 4)), (0, 2))
    Array([[[8.],
            [8.],
            [8.]]], dtype=float32)
    """
    out = as_array(a)
    rank = len(out.shape)
    for axis in integers(axes):
        place = axis_of(axis, rank)
        result = as_array(func(out, place))
        if len(result.shape) == rank - 1:
            result = expand_dims(result, place)
        if len(result.shape) != rank:
            raise errors.ShapeError(
                "apply_over_axes needs a function that keeps the number of axes or removes "
                f"one; it made shape {result.shape} of {out.shape}."
            )
        out = result
    return out


# -- vectorize -------------------------------------------------------------------------------

_NAME = r"\w+|\d+"
_ARGUMENT = rf"\((?:{_NAME})?(?:,(?:{_NAME}))*\)"
_SIGNATURE = re.compile(rf"^{_ARGUMENT}(?:,{_ARGUMENT})*->{_ARGUMENT}(?:,{_ARGUMENT})*$")

CoreDims = list[tuple[str, ...]]


def _parsed(signature: str) -> tuple[CoreDims, CoreDims]:
    """The core dimensions of arguments and results, from a signature like `(n,m),(m)->(n)`."""
    text = re.sub(r"\s+", "", signature)
    if not _SIGNATURE.match(text):
        raise ValueError(
            f"{signature!r} is no signature. It names the core dimensions of arguments and "
            "results, as in '(n,m),(m)->(n)'."
        )
    sides = [
        [tuple(filter(None, dims.split(","))) for dims in re.findall(r"\(([^)]*)\)", side)]
        for side in text.split("->")
    ]
    return sides[0], sides[1]


def vectorize(
    pyfunc: Callable[..., Any],
    *,
    excluded: Collection[int | str] = frozenset(),
    signature: str | None = None,
) -> Callable[..., Any]:
    """A function of small arrays as a function that broadcasts over leading dimensions.

    Args:
      pyfunc: a function of scalars, or of arrays with the core dimensions of `signature`.
      excluded: positions and names of arguments that are passed on as they are.
      signature: core dimensions, as in "(n,m),(m)->(n)"; scalars by default.

    Returns:
      a function whose arguments have any dimensions, broadcast, before the core dimensions.

    >>> import wengert.numpy as wnp
    >>> dot = wnp.vectorize(wnp.dot, signature="(n),(n)->()")
    >>> dot(wnp.ones((3, 1, 2)), wnp.ones((4, 2))).shape
    (3, 4)
    """
    if any(not isinstance(e, int | str) for e in excluded):
        raise TypeError(f"excluded holds positions and names, got {excluded!r}.")
    if any(isinstance(e, int) and e < 0 for e in excluded):
        raise ValueError(f"excluded positions are counted from 0, got {excluded!r}.")
    cores = None if signature is None else _parsed(signature)

    @functools.wraps(pyfunc, updated=())
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        fixed = {i: a for i, a in enumerate(args) if i in excluded}
        named = {k: v for k, v in kwargs.items() if k in excluded}
        free = [k for k in kwargs if k not in excluded]
        mapped = [a for i, a in enumerate(args) if i not in fixed] + [kwargs[k] for k in free]
        count = len(mapped) - len(free)

        def call(*values: Any) -> Any:
            positional = iter(values[:count])
            full = [fixed[i] if i in fixed else next(positional) for i in range(len(args))]
            return pyfunc(*full, **named, **dict(zip(free, values[count:], strict=True)))

        return _broadcast_call(call, [asarray(a) for a in mapped], cores)

    return vectorized


def _broadcast_call(
    call: Callable[..., Any], arrays: list[Value], cores: tuple[CoreDims, CoreDims] | None
) -> Any:
    """`call` mapped over the leading dimensions of its arguments."""
    inputs = [()] * len(arrays) if cores is None else cores[0]
    if len(inputs) != len(arrays):
        raise TypeError(
            f"the signature has {len(inputs)} arguments, but {len(arrays)} were given."
        )
    sizes: dict[str, int] = {}
    for a, names in zip(arrays, inputs, strict=True):
        _match(a.shape, names, sizes, "argument")
    leads = [a.shape[: len(a.shape) - len(n)] for a, n in zip(arrays, inputs, strict=True)]
    lead = broadcast_shapes(*leads)
    function = call if cores is None else _checking(call, cores[1], sizes)
    rank = len(lead)
    padded = [(1,) * (rank - len(own)) + own for own in leads]
    # an axis of size 1 that is broadcast is not mapped: it is removed, innermost first
    for axis in reversed(range(rank)):
        axes = tuple(0 if own[axis] == lead[axis] else None for own in padded)
        function = vmap(function, in_axes=axes, axis_size=lead[axis])
    return function(
        *(
            squeeze(
                reshape(a, own + a.shape[len(a.shape) - len(names) :]),
                tuple(i for i in range(rank) if own[i] != lead[i]),
            )
            for a, own, names in zip(arrays, padded, inputs, strict=True)
        )
    )


def _match(shape: Shape, names: tuple[str, ...], sizes: dict[str, int], what: str) -> None:
    """Compare core dimensions with their names, learning the sizes of new ones."""
    if len(shape) < len(names):
        raise errors.ShapeError(
            f"an {what} of shape {shape} has fewer than its core dimensions {names}."
        )
    for name, n in zip(names, shape[len(shape) - len(names) :], strict=True):
        if sizes.setdefault(name, int(name) if name.isdigit() else n) != n:
            raise errors.ShapeError(
                f"the core dimension {name!r} has size {sizes[name]}, but an {what} of shape "
                f"{shape} has {n} there."
            )


def _checking(
    call: Callable[..., Any], outputs: CoreDims, sizes: dict[str, int]
) -> Callable[..., Any]:
    """`call`, whose results are checked against the signature."""

    def checked(*values: Any) -> Any:
        out = call(*values)
        results = out if isinstance(out, tuple) else (out,)
        if len(results) != len(outputs):
            raise TypeError(
                f"the signature has {len(outputs)} results, but the function returned "
                f"{len(results)}."
            )
        known = dict(sizes)
        for result, names in zip(results, outputs, strict=True):
            shape = as_array(result).shape
            if len(shape) != len(names):
                raise errors.ShapeError(
                    f"a result of shape {shape} does not have the core dimensions {names}."
                )
            _match(shape, names, known, "output")
        return out

    return checked
