"""Choosing between values by conditions: where, select, piecewise.

All branches are computed, and the derivative of the one that is not taken contributes an exact
zero, whatever infinities or NaN it contains. Sorting and searching are in `sorting`; their
names are repeated here because arrays have them as methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.array import ArrayLike, as_array
from wengert.numpy.arrays import asarray
from wengert.numpy.indexing import as_mask, positions
from wengert.numpy.joining import unstack
from wengert.numpy.layout import broadcast_to
from wengert.numpy.promotion import promote, promote_pair, to_dtype
from wengert.numpy.sorting import argpartition as argpartition
from wengert.numpy.sorting import argsort as argsort
from wengert.numpy.sorting import lexsort as lexsort
from wengert.numpy.sorting import partition as partition
from wengert.numpy.sorting import searchsorted as searchsorted
from wengert.numpy.sorting import sort as sort
from wengert.numpy.sorting import sort_complex as sort_complex
from wengert.primitives import compare

Value = Any


def where(
    condition: Any,
    x: Any = None,
    y: Any = None,
    /,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """Elements of `x` where the condition holds, of `y` elsewhere.

    The derivative of the side that is not taken is exactly zero, even where that side is
    infinite or NaN. With the condition alone, `where` is `nonzero`.

    Args:
      condition: bools (other numbers count as true unless zero).
      x: an array; all three broadcast.
      y: an array.
      size: with the condition alone: the number of positions to give.
      fill_value: with the condition alone: what fills them up.

    >>> import wengert, wengert.numpy as wnp
    >>> wnp.where(wnp.array([True, False]), 1.0, 2.0)
    Array([1., 2.], dtype=float32, weak_type=True)
    >>> wengert.grad(lambda x: wnp.where(x > 0, wnp.sqrt(x), 0.0))(0.0)
    Array(0., dtype=float32, weak_type=True)
    """
    if x is None and y is None:
        return positions(as_mask(condition), "where with one argument", size, fill_value)
    if x is None or y is None:
        raise TypeError("where takes a condition and both x and y, or a condition alone.")
    if size is not None or fill_value is not None:
        raise TypeError("where takes size= and fill_value= only with the condition alone.")
    mask = as_mask(condition)
    x, y = promote_pair(x, y)
    if not isinstance(x, ArrayLike) and not isinstance(y, ArrayLike):
        x, y = promote(x, y)
    return compare.select(mask, x, y)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Value:
    """For each place the element of the choice whose condition is the first to hold.

    Args:
      condlist: bool arrays.
      choicelist: one array for each condition.
      default: what stands where no condition holds.

    >>> import wengert.numpy as wnp
    >>> x = wnp.arange(4)
    >>> wnp.select([x < 1, x > 2], [x - 10, x + 10])
    Array([-10,   0,   0,  13], dtype=int32)
    """
    if len(condlist) != len(choicelist):
        raise ValueError(
            f"select needs as many conditions as choices, got {len(condlist)} and "
            f"{len(choicelist)}."
        )
    if len(condlist) == 0:
        raise ValueError("select needs at least one condition.")
    *choices, out = promote(*choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        out = compare.select(as_mask(condition), choice, out)
    return out


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Value:
    """A function given by pieces: of the conditions that hold the last one decides.

    Every function is applied to all of `x`, and must be elementwise. The dtype of the result is
    the promotion of what the functions return (NumPy forces that of `x`).

    Args:
      x: an array.
      condlist: bool arrays of its shape, or one such array.
      funclist: for each condition a function or a constant; one more stands for all else,
        which otherwise is 0.
      *args: further arguments for the functions.
      **kw: further keyword arguments for the functions.

    >>> import wengert.numpy as wnp
    >>> x = wnp.array([-2.0, 0.0, 3.0])
    >>> wnp.piecewise(x, [x < 0, x > 0], [lambda v: -v, lambda v: v ** 2])
    Array([2., 0., 9.], dtype=float32)
    """
    x = as_array(x)
    masks = [as_mask(c) for c in _conditions(x, condlist)]
    functions = list(funclist)
    if len(functions) == len(masks) + 1:
        default = functions.pop()
    elif len(functions) == len(masks):
        default = 0
    else:
        raise ValueError(
            f"with {len(masks)} conditions piecewise needs {len(masks)} functions, or one "
            f"more; got {len(functions)}."
        )
    values = [
        as_array(function(x, *args, **kw)) if callable(function) else asarray(function)
        for function in (default, *functions)
    ]
    *pieces, _ = promote(*values, x)
    out = pieces[0]
    for mask, piece in zip(masks, pieces[1:], strict=True):
        out = compare.select(mask, piece, out)
    return to_dtype(broadcast_to(out, x.shape), out.dtype, out.weak_type and x.weak_type)


def _conditions(x: Value, condlist: Any) -> Sequence[Any]:
    """The conditions as a sequence; an array of the shape of `x` is a single one."""
    if isinstance(condlist, ArrayLike | np.ndarray):
        return [condlist] if condlist.shape == x.shape else unstack(condlist)
    if isinstance(condlist, list | tuple):
        plain = all(isinstance(c, bool | np.bool_) for c in condlist)
        return [asarray(condlist)] if plain and len(x.shape) else condlist
    return [condlist]
