"""Values into arrays: from numbers, nested lists, NumPy arrays, buffers; and between dtypes.

Python floats become float32 and Python integers int32 (an integer that does not fit is an
error); NumPy arrays and scalars keep their dtype, also inside lists. `array` copies the memory
of a NumPy array, `asarray` shares it. Lists may hold arrays and traced values at any depth:
those are stacked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, as_array, weak_integer
from wengert.core.dtypes import DType, DTypeLike
from wengert.core.interpreter import Tracer, quiet
from wengert.numpy.promotion import promote, to_dtype
from wengert.primitives.basis import reshape
from wengert.primitives.cast import bitcast_convert, convert
from wengert.primitives.shape import concatenate

Value = Any

_SEQUENCES = (list, tuple, range)
_PYTHON_SCALARS = frozenset(dtypes.SCALAR_TYPES)


def array(
    object: Any,
    dtype: DTypeLike = None,
    copy: bool = True,
    order: str | None = "K",
    ndmin: int = 0,
    *,
    device: Any = None,
) -> Value:
    """An array of the given numbers, in memory of its own.

    Args:
      object: a number, a nested list or tuple of numbers and arrays, an array, or anything else
        that NumPy makes an array of numbers from.
      dtype: dtype of the result; by default the promotion of the elements' dtypes.
      copy: whether memory of a NumPy array is copied rather than shared.
      order: accepted for NumPy's sake; the order in memory is not part of an array.
      ndmin: dimensions of size 1 are put in front until there are that many.
      device: None or "cpu".

    Raises:
      OverflowError: when a Python integer does not fit the dtype.
      ShapeError: when nested lists are ragged.

    >>> array([[1, 2], [3, 4]])
    Array([[1, 2],
           [3, 4]], dtype=int32)
    >>> array([1, 2.5, np.float64(3)])
    Array([1. , 2.5, 3. ], dtype=float64)
    """
    check_device(device)
    check_order(order)
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(object, _SEQUENCES):
        out = _from_sequence(object, wanted)
    else:
        out = _from_value(object, wanted)
        if copy and type(out) is Array and (out is object or _may_share(out, object)):
            out = Array(out._value.copy(), out._weak)  # scalars, too: one may be deleted
    missing = ndmin - len(out.shape)
    return reshape(out, shape=(1,) * missing + out.shape) if missing > 0 else out


def asarray(
    a: Any,
    dtype: DTypeLike = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    device: Any = None,
) -> Value:
    """The given numbers as an array, sharing memory with a NumPy array.

    Args:
      a: as for `array`.
      dtype: dtype of the result; by default the promotion of the elements' dtypes.
      order: accepted for NumPy's sake.
      copy: True to copy, False to raise where a copy is needed, None to copy where needed.
      device: None or "cpu".

    >>> numbers = np.ones(2)
    >>> x = asarray(numbers)
    >>> numbers[0] = 5
    >>> x
    Array([5., 1.], dtype=float64)
    """
    out = array(a, dtype, copy is True, order, device=device)
    shared = out is a or (isinstance(a, np.ndarray) and np.may_share_memory(out._value, a))
    if copy is False and not shared:
        raise ValueError(
            f"asarray(copy=False) of a {type(a).__name__} needs a copy; drop copy=False."
        )
    return out


def as_operand(x: Any) -> Any:
    """An operand for promotion: lists become arrays, Python scalars stay what they are.

    A Python float must not become float32 before it is known to meet a float64.
    """
    return x if type(x) in _PYTHON_SCALARS else asarray(x)


def in_dtype(x: Any, dtype: DType) -> Value:
    """An argument in the dtype of others; Python scalars are rounded to it once."""
    return to_dtype(as_operand(x), dtype)


def _may_share(out: Array, source: Any) -> bool:
    """Whether an array may live in memory that others write to."""
    if isinstance(out._value, np.generic):
        return False
    return not isinstance(source, np.ndarray) or np.may_share_memory(out._value, source)


def _from_value(value: Any, dtype: DType | None) -> Value:
    if dtype is not None and type(value) in _PYTHON_SCALARS:
        return Array(dtype.type(value))
    out = as_array(value)
    if dtype is None or (out.dtype == dtype and not out.weak_type):
        return out
    if type(out) is Array:  # of a constant at once, also while tracing
        return Array(quiet().run(convert.compute, out._value, dtype=dtype))
    return convert(out, dtype=dtype)


def _from_sequence(items: Sequence[Any], dtype: DType | None) -> Value:
    types = _leaf_types(items)
    if not types <= _PYTHON_SCALARS:
        if any(issubclass(t, Tracer) for t in types):
            return _stack(items, dtype)
        items, dtype = _concrete(items, dtype)
    elif dtype is None:
        dtype = _common_dtype(types)
    try:
        return Array(np.array(items, dtype))
    except OverflowError as error:
        for leaf in _leaves(items):
            if dtype == dtypes.INT32 and type(leaf) is int:
                weak_integer(leaf)  # explains which dtype would do
        raise OverflowError(f"{error}: array(..., dtype={dtype})") from None
    except ValueError as error:
        raise errors.ShapeError(
            f"nested lists must have equal lengths at each depth to make an array: {error}"
        ) from None


def _leaf_types(items: Sequence[Any]) -> set[type]:
    types: set[type] = set(map(type, items))
    nested = [t for t in types if issubclass(t, _SEQUENCES)]
    if nested:
        types.difference_update(nested)
        for item in items:
            if isinstance(item, _SEQUENCES):
                types |= _leaf_types(item)
    return types


def _leaves(items: Sequence[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, _SEQUENCES):
            yield from _leaves(item)
        else:
            yield item


def _common_dtype(types: Iterable[type]) -> DType:
    if not types:
        return dtypes.FLOAT32
    return dtypes.join(types)[0]


def _concrete(items: Sequence[Any], dtype: DType | None) -> tuple[list[Any], DType]:
    """The same nested lists with NumPy values for arrays, and their common dtype."""
    leaves: list[Any] = []

    def value(item: Any) -> Any:
        if isinstance(item, _SEQUENCES):
            return [value(element) for element in item]
        if type(item) in _PYTHON_SCALARS:
            leaves.append(type(item))
            return item
        leaves.append(as_array(item))
        return leaves[-1]._value

    values = [value(item) for item in items]
    return values, dtypes.join(leaves)[0] if dtype is None else dtype


def _stack(items: Sequence[Any], dtype: DType | None) -> Value:
    """Nested lists with traced values among the leaves."""
    parts = [
        _from_sequence(item, dtype) if isinstance(item, _SEQUENCES) else as_array(item)
        for item in items
    ]
    if dtype is None:
        parts = promote(*parts)
        dtype = parts[0].dtype
    parts = [to_dtype(part, dtype) for part in parts]
    if any(part.shape != parts[0].shape for part in parts):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise errors.ShapeError(f"the elements of a list must have one shape, got {shapes}.")
    rows = [reshape(part, shape=(1, *part.shape)) for part in parts]
    return concatenate(*rows, dimension=0)


# -- of arrays ---------------------------------------------------------------------------------


def copy(a: Any, order: str | None = None) -> Value:
    """An array with the same elements in memory of its own.

    >>> copy(np.arange(3))
    Array([0, 1, 2], dtype=int64)
    """
    return array(a, copy=True, order=order)


def astype(x: Any, dtype: DTypeLike, /, *, copy: bool = False, device: Any = None) -> Value:
    """The same numbers in another dtype.

    Floating numbers are rounded towards zero to become integers; those out of range become the
    ends of the range, and NaN becomes 0. Complex numbers lose their imaginary part in a real
    dtype, with NumPy's `ComplexWarning`.

    Args:
      x: an array.
      dtype: the dtype to convert to; None means float32.
      copy: whether the result must have memory of its own.
      device: None or "cpu".

    >>> astype(array([1.7, -1.7]), "int32")
    Array([ 1, -1], dtype=int32)
    """
    check_device(device)
    x = asarray(x)
    wanted = dtypes.FLOAT32 if dtype is None else dtypes.as_dtype(dtype)
    if dtypes.is_complex(x.dtype) and dtypes.kind(wanted) in "iuf":
        warnings.warn(
            f"astype({wanted}) of a {x.dtype} array discards the imaginary part; take the real "
            "part with x.real, the imaginary part with x.imag, or the absolute value.",
            np.exceptions.ComplexWarning,
            stacklevel=2,
        )
    out = to_dtype(x, wanted)
    return array(out) if copy and out is x else out


def view(x: Any, dtype: DTypeLike = None) -> Value:
    """The same bits read as another dtype; the last dimension grows or shrinks with its size.

    >>> view(array([1.0, 2.0]), "int32")
    Array([1065353216, 1073741824], dtype=int32)
    >>> view(array([1.0, 2.0]), "uint8").shape
    (8,)
    """
    x = asarray(x)
    wanted = dtypes.FLOAT32 if dtype is None else dtypes.as_dtype(dtype)
    old, new = x.dtype.itemsize, wanted.itemsize
    if old == new:
        return bitcast_convert(x, dtype=wanted)
    if not x.shape:
        raise errors.ShapeError(
            f"view of a {x.dtype} array without dimensions as {wanted}, of another size: give "
            "it a dimension first, x.reshape(1)."
        )
    *lead, last = x.shape
    if old > new:
        return reshape(bitcast_convert(x, dtype=wanted), shape=(*lead, last * (old // new)))
    if last * old % new:
        raise errors.ShapeError(
            f"view as {wanted}: the last dimension of shape {x.shape} has {last * old} bytes, "
            f"no multiple of {new}."
        )
    groups = reshape(x, shape=(*lead, last * old // new, new // old))
    return bitcast_convert(groups, dtype=wanted)


# -- from buffers, iterators, text -------------------------------------------------------------


def frombuffer(
    buffer: Any, dtype: DTypeLike = float, count: int = -1, offset: int = 0
) -> Value:
    """A one-dimensional array that shares the memory of a buffer.

    Args:
      buffer: an object with the buffer interface, such as bytes.
      dtype: what the bytes mean; `float` is C's double, as in NumPy.
      count: number of elements; -1 takes all.
      offset: bytes to skip at the beginning.

    >>> frombuffer(b"abc", dtype="uint8")
    Array([97, 98, 99], dtype=uint8)
    """
    return as_array(np.frombuffer(buffer, np.dtype(dtype), count, offset))


def fromiter(iterable: Iterable[Any], dtype: DTypeLike, count: int = -1) -> Value:
    """A one-dimensional array of the numbers that an iterable yields.

    >>> fromiter((i * i for i in range(4)), dtype=int)
    Array([0, 1, 4, 9], dtype=int32)
    """
    return Array(np.fromiter(iterable, dtypes.as_dtype(dtype), count))


def fromstring(string: str, dtype: DTypeLike = float, count: int = -1, *, sep: str) -> Value:
    """A one-dimensional array of the numbers in a text.

    Args:
      string: the text.
      dtype: dtype of the result.
      count: how many numbers to read; -1 reads all.
      sep: what separates them.

    >>> fromstring("1 2 3", sep=" ")
    Array([1., 2., 3.], dtype=float32)
    """
    return Array(np.fromstring(string, dtypes.as_dtype(dtype), count, sep=sep))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Value:
    """An array that shares memory with an array of another library.

    Args:
      x: an object with `__dlpack__`, on the CPU.
      device: None or "cpu".
      copy: whether to copy; None copies where needed.

    >>> from_dlpack(np.arange(3.0))
    Array([0., 1., 2.], dtype=float64)
    """
    check_device(device)
    return as_array(np.from_dlpack(x, copy=copy))


# -- arguments ---------------------------------------------------------------------------------


def check_device(device: Any) -> None:
    """Raise unless a `device=` argument is None or the CPU."""
    if device is not None and str(device).lower() not in ("cpu", "cpu:0"):
        raise ValueError(f"arrays are made on the CPU; got device={device!r}.")


def check_order(order: str | None) -> None:
    """Raise unless an `order=` argument is one of NumPy's."""
    if order not in ("K", "A", "C", "F", None):
        raise ValueError(f"order must be 'K', 'A', 'C' or 'F', got {order!r}.")


def check_out(name: str, out: Any) -> None:
    """Raise when the caller gives `out=`: arrays are immutable."""
    if out is not None:
        raise TypeError(
            f"{name} takes no out= argument, because arrays are immutable. "
            f"Use what it returns: y = {name}(...)."
        )
