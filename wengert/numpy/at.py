"""Updates of immutable arrays: `x.at[index].set(values)` and its relatives.

An index is parsed as for reading (`subscripts`); the axes that it covers only in part become
arrays of positions too, so that one scatter writes everything: into full axes and positions.
Concrete updates through integers and slices are made by NumPy, in a copy.

Indices out of bounds raise, unless `mode` says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayLike, Shape
from wengert.core.dtypes import DType
from wengert.core.interpreter import EAGER, quiet, state
from wengert.core.primitive import Primitive
from wengert.numpy import elementwise
from wengert.numpy.arrays import asarray
from wengert.numpy.layout import broadcast_to
from wengert.numpy.promotion import to_dtype
from wengert.numpy.subscripts import (
    Subscript,
    as_weak,
    axes_before,
    is_basic,
    parse,
    plain_index,
    read,
)
from wengert.primitives import basis
from wengert.primitives.compare import lt, select
from wengert.primitives.elementwise import maximum, minimum
from wengert.primitives.index import scatter, scatter_add
from wengert.primitives.scatter import scatter_max, scatter_min, scatter_mul

Value = Any

_MODES = {
    None: "error",
    "error": "error",
    "raise": "error",
    "promise_in_bounds": "promise_in_bounds",
    "clip": "clip",
    "wrap": "wrap",
    "fill": "fill",
    "drop": "drop",
}


def index_mode(mode: str | None) -> str:
    """The primitives' name for a mode as users write it.

    Raises:
      ValueError: for a name that is no mode.
    """
    try:
        return _MODES[mode]
    except (KeyError, TypeError):
        names = ", ".join(repr(m) for m in _MODES if m)
        raise ValueError(f"mode must be one of {names}; got {mode!r}.") from None


class _Operation(NamedTuple):
    """How updates combine with elements: in NumPy (None replaces), for arrays, as scatter."""

    ufunc: Any
    arrays: Callable[[Any, Any], Any]
    scatter: Primitive


_SET = _Operation(None, lambda old, new: new, scatter)
_ADD = _Operation(np.add, basis.add, scatter_add)
_MULTIPLY = _Operation(np.multiply, basis.mul, scatter_mul)
_MIN = _Operation(np.minimum, minimum, scatter_min)
_MAX = _Operation(np.maximum, maximum, scatter_max)


class AtProperty:
    """What `x.at` is: `x.at[index]` names the elements to update.

    >>> import wengert.numpy as wnp
    >>> AtProperty(wnp.arange(3))[1].set(7)
    Array([0, 7, 2], dtype=int32)
    """

    __slots__ = ("array",)

    def __init__(self, array: Value) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Update:
        return Update(self.array, index)

    def __repr__(self) -> str:
        return f"{self.array!r}.at"


class Update:
    """An array and an index: `x.at[index]`. Each method returns an updated copy of the array.

    All methods take `mode`, which says what happens to indices out of bounds: None raises
    IndexError, "drop" (or "fill") skips them, "clip" moves them to the nearest element, "wrap"
    counts on from the other end. `indices_are_sorted` and `unique_indices` are promises of the
    caller that `apply` makes use of.

    An index may be a traced boolean mask, if one update serves all elements it selects.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Value, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return f"{self.array!r}.at[{self.index!r}]"

    def set(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with `x[index] = values`; of updates to one element the last one stays."""
        return _updated(self, values, mode, _SET)

    def add(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with `x[index] += values`, as often as an element is indexed."""
        return _updated(self, values, mode, _ADD)

    def subtract(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with `x[index] -= values`, as often as an element is indexed."""
        values = _values(self.array, values)
        return _updated(self, elementwise.negative(values), mode, _ADD)

    def multiply(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with `x[index] *= values`, as often as an element is indexed."""
        return _updated(self, values, mode, _MULTIPLY)

    mul = multiply

    def divide(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with `x[index] /= values`; integer arrays become floating ones."""
        divisors = Update(_ones(self.array), self.index).multiply(values, mode=mode)
        return elementwise.divide(self.array, divisors)

    def power(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with `x[index] **= values`."""
        exponents = Update(_ones(self.array), self.index).multiply(values, mode=mode)
        return elementwise.power(self.array, exponents)

    def min(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with the least of `x[index]` and `values` at the indexed elements."""
        return _updated(self, values, mode, _MIN)

    def max(
        self,
        values: Any,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with the greatest of `x[index]` and `values` at the indexed elements."""
        return _updated(self, values, mode, _MAX)

    def apply(
        self,
        func: Callable[[Any], Any],
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
    ) -> Value:
        """The array with an elementwise function applied to the indexed elements.

        To an element that is indexed several times it is applied as often. Where the indices
        are traced, that takes as many applications as there are indices, unless the caller
        promises `unique_indices`.
        """
        x = self.array
        mask = _traced_mask(self.index)
        if mask is not None:
            return _where(mask, to_dtype(asarray(func(x)), x.dtype, x.weak_type), x)
        ones = basis.full(shape=x.shape, value=0, dtype=dtypes.INT32)
        counts = Update(ones, self.index).add(1, mode=mode)
        if unique_indices:
            rounds = 1
        elif type(counts) is Array:
            rounds = int(np.max(counts._value, initial=0))
        else:
            subscript = parse(x.shape, self.index, index_mode(mode))
            rounds = math.prod(subscript.joint)
        for applied in range(rounds):
            new = to_dtype(asarray(func(x)), x.dtype, x.weak_type)
            x = select(lt(applied, counts), new, x)
        return x

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | None = None,
        fill_value: Any = None,
    ) -> Value:
        """`x[index]`, with a mode; `fill_value` stands for missing elements in mode "fill".

        Its default is NaN, or the least integer (the greatest of unsigned ones).
        """
        chosen = index_mode(mode)
        if chosen == "drop":
            chosen = "fill"
        return read(self.array, self.index, chosen, fill_value)


def _ones(x: Value) -> Value:
    return basis.full(shape=x.shape, value=1, dtype=x.dtype)


# -- values ----------------------------------------------------------------------------------

#: Kinds of dtype; a conversion to one further left loses something, except from "i" to "u".
_RANKS = "buifc"
_SCALARS = (bool, int, float)


def _values(x: Value, values: Any) -> Value:
    """Values in the dtype of the array, if that keeps what they mean.

    Raises:
      DTypeError: when a fraction or an imaginary part would be dropped.
      OverflowError: when an integer does not fit.
    """
    if type(values) in _SCALARS and _holds(x.dtype, values):
        whole = dtypes.is_integer(x.dtype)  # NumPy wraps floats around, but not integers
        return Array(x.dtype.type(int(values) if whole else values), x.weak_type)
    out = asarray(values)
    if out.dtype == x.dtype:
        return out
    if _loses(out.dtype, x.dtype):
        raise errors.DTypeError(
            f"values of dtype {out.dtype} do not fit into an array of dtype {x.dtype}. Convert "
            f"one of them: x.astype('{out.dtype}').at[...], or values.astype('{x.dtype}')."
        )
    whole = dtypes.is_integer(out.dtype) and dtypes.is_integer(x.dtype)
    if whole and type(out) is Array and not (out._value == out._value.astype(x.dtype)).all():
        raise OverflowError(f"some of the {out.dtype} values do not fit into dtype {x.dtype}.")
    return to_dtype(out, x.dtype, x.weak_type)


def _holds(dtype: DType, value: bool | int | float) -> bool:
    """Whether a dtype has room for what a Python number says."""
    kind = dtypes.kind(dtype)
    return kind in "fc" or (value in (0, 1) if kind == "b" else float(value).is_integer())


def _loses(source: DType, target: DType) -> bool:
    """Whether a conversion drops a fraction, an imaginary part, or all but the zeroness."""
    given, wanted = (_RANKS.index(dtypes.kind(d)) for d in (source, target))
    return given > wanted and {given, wanted} != {1, 2}


# -- writing ---------------------------------------------------------------------------------


def _updated(
    update: Update,
    values: Any,
    mode: str | None,
    operation: _Operation,
) -> Value:
    """An array with updates: by NumPy where that is possible, else by a scatter."""
    x, index = update.array, update.index
    chosen = index_mode(mode)
    values = _values(x, values)
    if type(x) is Array and type(values) is Array and state.interpreter is EAGER:
        plain = plain_index(index)
        if plain is not None and chosen == "error" and x._value.dtype.itemsize > 2:
            out = quiet().run(_written, x._value, plain, values._value, operation.ufunc)
            if out is not None:
                return Array(out, x._weak)
    mask = _traced_mask(index)
    if mask is not None:
        return _where(mask, operation.arrays(x, _for_all(values, x.shape, mask.shape)), x)
    return _scattered(x, index, values, chosen, operation.scatter)


def _written(x: Any, index: Any, values: Any, ufunc: Any) -> Any:
    """A copy with updates; None where that fails, and the general way shall explain why."""
    out = np.array(x)
    try:
        if values.ndim and values.ndim > out[index].ndim:
            return None
        if ufunc is None:
            out[index] = values
        elif is_basic(index) or getattr(index, "dtype", None) == dtypes.BOOL:
            out[index] = ufunc(out[index], values)  # no element is named twice
        else:
            ufunc.at(out, index, values)
    except (IndexError, ValueError, TypeError):
        return None
    return out if out.ndim else out[()]


def _traced_mask(index: Any) -> Value:
    """The index, if it is a traced boolean mask and nothing else."""
    if type(index) is tuple and len(index) == 1:
        (index,) = index
    if isinstance(index, ArrayLike) and type(index) is not Array and index.dtype == dtypes.BOOL:
        return index
    return None


def _for_all(values: Value, shape: Shape, mask_shape: Shape) -> Value:
    """Updates that are the same for all elements that a mask selects, in the array's shape."""
    rest = shape[len(mask_shape) :]
    if mask_shape != shape[: len(mask_shape)]:
        raise errors.ArrayIndexError(
            f"a boolean mask of shape {mask_shape} does not fit an array of shape {shape}."
        )
    if len(values.shape) > len(rest) and values.shape[0] == 1:
        values = basis.reshape(values, shape=values.shape[1:])
    if len(values.shape) > len(rest):
        raise errors.ShapeError(
            f"with a traced mask the number of updates is unknown: values must broadcast to "
            f"{rest}, got shape {values.shape}. Choose elementwise: where(mask, values, x)."
        )
    return broadcast_to(values, shape)


def _where(mask: Value, new: Value, old: Value) -> Value:
    missing = len(old.shape) - len(mask.shape)
    return select(basis.reshape(mask, shape=mask.shape + (1,) * missing), new, old)


def _scattered(x: Value, index: Any, values: Value, mode: str, primitive: Primitive) -> Value:
    """The array updated by a scatter; see the module for the form that it takes."""
    subscript = parse(x.shape, index, mode)
    values = broadcast_to(values, subscript.result_shape)
    indices, axes, updates = _normal_form(subscript, values)
    operand = x
    if subscript.shape != x.shape:
        operand = basis.reshape(x, shape=subscript.shape)
    indices = as_weak(indices, x.weak_type)
    if values.weak_type != x.weak_type:
        updates = to_dtype(updates, x.dtype, x.weak_type)
    out = primitive(operand, updates, *indices, axes=axes, mode=mode)
    return out if out.shape == x.shape else basis.reshape(out, shape=x.shape)


def _normal_form(
    subscript: Subscript, values: Value
) -> tuple[list[Value], tuple[int, ...], Value]:
    """Positions for every axis that is not covered as a whole, and updates to match.

    The updates' dimensions: those of the index's own arrays, of the ranges, of the full axes.
    """
    entries = [e for e in subscript.entries if e.axis >= 0]
    fixed = [e for e in entries if type(e.positions) is int]
    stay = [e for e in entries if type(e.positions) is range]
    full = [e for e in stay if e.positions == range(subscript.shape[e.axis])]
    ranges = [e for e in stay if e not in full]
    indices = [
        basis.reshape(e.positions, shape=(*e.positions.shape, *(1,) * len(ranges)))
        if ranges
        else e.positions
        for e in subscript.arrays
    ]
    for i, entry in enumerate(ranges):
        places = np.arange(entry.positions.start, entry.positions.stop, entry.positions.step)
        indices.append(Array(places.reshape(-1, *(1,) * (len(ranges) - 1 - i))))
    indices += [Array(np.int64(entry.positions)) for entry in fixed]
    axes = tuple(e.axis for e in (*subscript.arrays, *ranges, *fixed))
    return indices, axes, _updates(subscript, values, stay, [*ranges, *full])


def _updates(subscript: Subscript, values: Value, stay: list[Any], order: list[Any]) -> Value:
    """Values in the shape of the result without its new axes, transposed to the normal form."""
    before, rank = axes_before(subscript), len(subscript.joint)
    sizes = [len(e.positions) for e in stay]
    shape = (*sizes[:before], *subscript.joint, *sizes[before:])
    if values.shape != shape:
        values = basis.reshape(values, shape=shape)
    place = {e.axis: i + rank * (i >= before) for i, e in enumerate(stay)}
    permutation = (*range(before, before + rank), *(place[e.axis] for e in order))
    if permutation == tuple(range(len(shape))):
        return values
    return basis.transpose(values, permutation=permutation)
