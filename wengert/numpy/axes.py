"""Axes and sizes as users write them, made canonical: negative ones counted, bounds checked.

Every function of the NumPy interface that takes `axis=` or `shape=` reads it through here, so
that a wrong one gives the same message everywhere. Traced values are refused by their own
`__index__`, which says that a concrete number is needed.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core.array import Array, Shape


def axis_of(axis: Any, ndim: int) -> int:
    """An axis of an array with `ndim` dimensions as a number from 0 to ndim - 1.

    Raises:
      ShapeError: when the array has no such axis.

    >>> axis_of(-1, 3)
    2
    """
    number = axis if type(axis) is int else operator.index(axis)
    if not -ndim <= number < ndim:
        raise errors.ShapeError(
            f"axis {number} is out of bounds for an array of dimension {ndim}: "
            + (f"axes are {-ndim} to {ndim - 1}." if ndim else "it has no axes.")
        )
    return number + ndim if number < 0 else number


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """One axis or several as a tuple of distinct numbers from 0 to ndim - 1; None means all.

    Raises:
      ShapeError: when the array has no such axis, or one is named twice.

    >>> axes_of((0, -1), 3)
    (0, 2)
    """
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis_of(a, ndim) for a in integers(axis))
    if len(set(axes)) != len(axes):
        raise errors.ShapeError(f"an axis is named twice in axis={axis!r}.")
    return axes


def integers(values: Any) -> tuple[int, ...]:
    """One integer or a sequence of them, Python's or NumPy's, as a tuple of Python integers.

    >>> integers(3), integers([np.int64(1), 2])
    ((3,), (1, 2))
    """
    if type(values) is int:
        return (values,)
    if type(values) is Array:
        values = np.asarray(values)
    if isinstance(values, np.ndarray):
        values = values.tolist() if values.dtype.kind in "iu" else list(values)
    if isinstance(values, Sequence):
        return tuple(v if type(v) is int else operator.index(v) for v in values)
    return (operator.index(values),)


def shape_of(shape: Any) -> Shape:
    """A shape as users write it, an integer or a sequence of them, as a tuple.

    Raises:
      ShapeError: when a size is negative.
    """
    sizes = integers(shape)
    if any(n < 0 for n in sizes):
        raise errors.ShapeError(f"a shape holds sizes of 0 or more, got {sizes}.")
    return sizes
