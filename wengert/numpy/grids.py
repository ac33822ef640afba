"""Grids: coordinates of all points of a product of axes, as arrays that cover or broadcast.

Everything is made of reshapes and broadcasts, and is differentiable in the coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.axes import integers
from wengert.numpy.creation import arange, linspace
from wengert.numpy.promotion import Value, promote
from wengert.primitives.basis import broadcast_to, reshape
from wengert.primitives.shape import concatenate


def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> list[Value]:
    """The coordinates of all points of a grid, one array for each axis.

    Args:
      *xi: the coordinates along each axis, vectors or numbers.
      copy: accepted for NumPy's sake; arrays are immutable.
      sparse: whether the arrays only broadcast to the grid.
      indexing: "xy" for rows along the second axis, "ij" for rows along the first.

    >>> x, y = meshgrid(arange(3), arange(2))
    >>> x
    Array([[0, 1, 2],
           [0, 1, 2]], dtype=int32)
    >>> y
    Array([[0, 0, 0],
           [1, 1, 1]], dtype=int32)
    """
    del copy
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', got {indexing!r}.")
    axes = [as_array(x) for x in xi]
    if any(len(x.shape) > 1 for x in axes):
        raise errors.ShapeError(
            f"meshgrid needs vectors, got shapes {', '.join(str(x.shape) for x in axes)}."
        )
    order = list(range(len(axes)))
    if indexing == "xy" and len(order) > 1:
        order[0], order[1] = 1, 0
    sizes = [1] * len(axes)
    for x, position in zip(axes, order, strict=True):
        sizes[position] = x.size
    grids = [
        reshape(x, shape=tuple(x.size if i == p else 1 for i in range(len(axes))))
        for x, p in zip(axes, order, strict=True)
    ]
    return grids if sparse else [broadcast_to(x, tuple(sizes)) for x in grids]


def indices(
    dimensions: Sequence[int], dtype: DTypeLike = None, sparse: bool = False
) -> Value | tuple[Value, ...]:
    """For each dimension of a shape the indices along it, at every point.

    Args:
      dimensions: the shape.
      dtype: int32 by default.
      sparse: whether to return a tuple of arrays that only broadcast to the shape.

    >>> indices((2, 2))
    Array([[[0, 0],
            [1, 1]],
    <BLANKLINE>
           [[0, 1],
            [0, 1]]], dtype=int32)
    """
    sizes = integers(dimensions)
    wanted = dtypes.INT32 if dtype is None else dtypes.as_dtype(dtype)
    axes = [arange(n, dtype=wanted) for n in sizes]
    if sparse:
        return tuple(meshgrid(*axes, indexing="ij", sparse=True))
    if not axes:
        return arange(0, dtype=wanted)
    return _stacked(meshgrid(*axes, indexing="ij"))


def _stacked(arrays: Sequence[Value]) -> Value:
    rows = [reshape(x, shape=(1, *x.shape)) for x in promote(*arrays)]
    return concatenate(*rows, dimension=0)


def _axis(part: Any) -> Value:
    """The coordinates that a slice of `mgrid` means; an imaginary step counts points."""
    if not isinstance(part, slice):
        raise TypeError(f"mgrid and ogrid are indexed by slices, got {part!r}.")
    start = 0 if part.start is None else part.start
    if part.stop is None:
        raise ValueError("a slice of mgrid or ogrid needs an end: mgrid[0:5].")
    if isinstance(part.step, complex):
        return linspace(start, part.stop, int(abs(part.step)))
    return arange(start, part.stop, part.step)


class _Grid:
    """What `mgrid` and `ogrid` are: slices in, coordinates out."""

    def __init__(self, sparse: bool) -> None:
        self._sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple):
            return _axis(key)
        axes = promote(*(_axis(part) for part in key))
        grid = meshgrid(*axes, indexing="ij", sparse=self._sparse)
        return grid if self._sparse else _stacked(grid)

    def __repr__(self) -> str:
        return "ogrid" if self._sparse else "mgrid"


#: Coordinates of a full grid, `mgrid[0:2, 0:1:5j]`: stacked along a new first dimension.
mgrid = _Grid(sparse=False)
#: Coordinates that broadcast to a grid, `ogrid[0:2, 0:1:5j]`: a list of arrays.
ogrid = _Grid(sparse=True)
