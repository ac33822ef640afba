"""The concrete array and its type.

`Array` is an immutable view on a NumPy value. A 0-d result is kept as the NumPy scalar that
NumPy itself returns: scalar arithmetic is ten times cheaper than 0-d array arithmetic.

The operators and methods of arrays (`x + y`, `x.sum()`, `x[i]`) belong to the NumPy interface
and are installed on `ArrayLike` by `wengert.numpy.methods`; tracers share them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.dtypes import DType, DTypeLike
from wengert.core.source import user_location

Shape = tuple[int, ...]


def broadcast_shape(shapes: Sequence[Shape], name: str) -> Shape:
    """The shape that operands of these shapes broadcast to, by NumPy's rule."""
    first = shapes[0]
    for shape in shapes:
        if shape != first:
            break
    else:
        return first
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise errors.ShapeError(
            f"{name} got operands of shapes {' and '.join(map(str, shapes))}, which do not "
            "broadcast: read from the right, sizes must be equal or 1.",
        ) from None


class ArrayType:
    """Shape, dtype and weak flag of a value: all that tracing knows of it.

    Args:
      shape: the dimensions.
      dtype: any supported dtype.
      weak_type: whether the dtype came from a Python scalar and yields in promotions.

    >>> ArrayType((3,), "float32")
    ShapeDtypeStruct(shape=(3,), dtype=float32)
    """

    __slots__ = ("dtype", "shape", "weak_type")

    def __init__(self, shape: Shape, dtype: DTypeLike, weak_type: bool = False) -> None:
        self.shape = shape if type(shape) is tuple else tuple(shape)
        self.dtype: DType = dtype if type(dtype) is DType else dtypes.as_dtype(dtype)
        self.weak_type = weak_type

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * self.dtype.itemsize

    def update(self, shape: Shape | None = None, dtype: DTypeLike = None) -> ArrayType:
        """A copy with another shape or dtype (a new dtype is not weak)."""
        return ArrayType(
            self.shape if shape is None else shape,
            self.dtype if dtype is None else dtype,
            self.weak_type if dtype is None else False,
        )

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is ArrayType
            and self.shape == other.shape
            and self.dtype == other.dtype
            and self.weak_type == other.weak_type
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.weak_type))

    def __str__(self) -> str:
        """The compact form used in printed programs: `f32[3,4]`, `f32*[]` if weak."""
        weak = "*" if self.weak_type else ""
        dims = ",".join(str(n) for n in self.shape)
        return f"{dtypes.short_name(self.dtype)}{weak}[{dims}]"

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name}{weak})"


class ArrayLike:
    """What concrete arrays and tracers have in common: the NumPy operators and methods.

    The members are installed by `wengert.numpy.methods`; see the module docstring.
    """

    __slots__ = ()
    __array_priority__ = 1000

    if TYPE_CHECKING:

        @property
        def shape(self) -> Shape: ...
        @property
        def dtype(self) -> DType: ...
        @property
        def weak_type(self) -> bool: ...
        @property
        def type(self) -> ArrayType: ...
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...


class _AlsoTracers(type):
    """For users, a traced value is an array: `isinstance(x, Array)` holds for it too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, ArrayLike)


class Deleted:
    """What a deleted array holds in place of its values: shape and dtype are still known.

    Args:
      value: the values so far.
      how: what has deleted it, as a sentence about the array.
      location: where that was.
    """

    __slots__ = ("_how", "_location", "dtype", "shape")

    def __init__(self, value: Any, how: str, location: Any) -> None:
        self.shape, self.dtype = value.shape, value.dtype
        self._how, self._location = how, location

    def error(self) -> errors.DeletedArrayError:
        """What every use of the values raises."""
        type_ = ArrayType(self.shape, self.dtype)
        return errors.DeletedArrayError(type_, self._how, self._location)

    def __getattr__(self, name: str) -> Any:
        if name in ("ndim", "size"):
            return getattr(ArrayType(self.shape, self.dtype), name)
        raise self.error()

    def __repr__(self) -> str:
        return "deleted"


def _refuse(self: Deleted, *args: Any, **kwargs: Any) -> Any:
    raise self.error()


for _name in (
    "array bool int float complex index len iter getitem contains format reduce_ex neg pos abs "
    "invert eq ne lt le gt ge add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv "
    "mod rmod pow rpow matmul rmatmul and rand or ror xor rxor"
).split():
    setattr(Deleted, f"__{_name}__", _refuse)


class Array(ArrayLike, metaclass=_AlsoTracers):
    """An immutable array of numbers, on the CPU a view on a NumPy array.

    Arrays are made by `wengert.numpy.array` and friends, not by calling this class.
    `np.asarray(x)` gives the values back without a copy, read-only. Traced values are instances
    too, for `isinstance`; where only concrete arrays are meant, `type(x) is Array` says so.
    """

    __slots__ = ("_value", "_weak")

    def __init__(self, value: Any, weak: bool = False) -> None:
        self._value = value
        self._weak = weak

    @property
    def shape(self) -> Shape:
        """The dimensions."""
        return self._value.shape

    @property
    def dtype(self) -> DType:
        """The NumPy dtype."""
        return self._value.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._value.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._value.size

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take."""
        return self._value.nbytes

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._value.itemsize

    @property
    def weak_type(self) -> bool:
        """Whether the dtype came from a Python scalar and yields in promotions."""
        return self._weak

    @property
    def type(self) -> ArrayType:
        """Shape, dtype and weak flag."""
        return ArrayType(self._value.shape, self._value.dtype, self._weak)

    def item(self, *args: Any) -> Any:
        """The single element (or the one at the given position) as a Python scalar."""
        return self._value.item(*args)

    def tolist(self) -> Any:
        """The values as nested Python lists of Python scalars."""
        return self._value.tolist()

    def block_until_ready(self) -> Array:
        """The array itself: eager results are always ready."""
        return self

    def tobytes(self, order: Any = "C") -> bytes:
        """The raw bytes of the elements."""
        return self._value.tobytes(order)

    def is_deleted(self) -> bool:
        """Whether the array has been deleted, or donated to a jitted function.

        >>> import wengert.numpy as wnp
        >>> x = wnp.ones(3)
        >>> x.delete()
        >>> x.is_deleted(), x.shape
        (True, (3,))
        """
        return type(self._value) is Deleted

    def delete(self) -> None:
        """Give the memory back now; any use of the values is an error from then on."""
        if not self.is_deleted():
            self._value = Deleted(self._value, "was deleted by delete()", user_location())

    def __array__(
        self, dtype: DTypeLike = None, copy: bool | None = None
    ) -> np.ndarray[Any, Any]:
        value = np.asarray(self._value)
        if dtype is not None and value.dtype != dtype:
            if copy is False:
                raise ValueError(f"converting {value.dtype} to {np.dtype(dtype)} needs a copy")
            return value.astype(dtype)
        if copy:
            return value.copy()
        view = value.view()
        view.flags.writeable = False
        return view

    def __dlpack__(self, **kwargs: Any) -> Any:
        return np.asarray(self._value).__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return np.asarray(self._value).__dlpack_device__()

    def __bool__(self) -> bool:
        return bool(self._value)

    def __int__(self) -> int:
        return int(self._value)

    def __float__(self) -> float:
        return float(self._value)

    def __complex__(self) -> complex:
        return complex(self._value)

    def __index__(self) -> int:
        if self._value.ndim or dtypes.kind(self._value.dtype) not in "biu":
            raise TypeError("only integer scalar arrays can be converted to an index")
        return int(self._value)

    def __len__(self) -> int:
        if self._value.ndim == 0:
            raise TypeError("len() of an array without dimensions")
        return len(self._value)

    def __contains__(self, item: Any) -> bool:
        return bool((self._value == np.asarray(item)).any())

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self._weak else ""
        dtype = f"dtype={self._value.dtype.name}{weak})"
        if self.is_deleted():
            return f"Array(deleted, shape={self.shape}, {dtype}"
        value = np.asarray(self._value)
        body = np.array2string(value, separator=", ", prefix="Array(", suffix=",")
        if value.size == 0 and value.ndim > 0:
            return f"Array({body}, shape={value.shape}, {dtype}"
        if value.size > np.get_printoptions()["threshold"]:
            dtype = f"shape={value.shape}, {dtype}"
        separator = " "
        last = len(body) - body.rfind("\n") + 1
        if last + len(dtype) + 1 > np.get_printoptions()["linewidth"]:
            separator = "\n" + " " * len("Array(")
        return f"Array({body},{separator}{dtype}"

    def __str__(self) -> str:
        return str(self._value)

    def __format__(self, spec: str) -> str:
        return format(self._value[()] if self._value.ndim == 0 else self._value, spec)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Array, (self._value, self._weak)

    def __copy__(self) -> Array:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        return self


def as_array(value: Any) -> Any:
    """`value` as an operand: arrays and tracers as they are, NumPy arrays and scalars wrapped.

    The memory of a NumPy array is shared: the result is a view on it (0-d arrays are copied).

    Raises:
      TypeError: for anything else, lists included (they must be converted explicitly).
    """
    if isinstance(value, ArrayLike):
        return value
    kind = type(value)
    if kind is float:
        return Array(weak_float(value), True)
    if kind is bool:
        return Array(np.bool_(value))
    if kind is int:
        return Array(weak_integer(value), True)
    if kind is complex:
        return Array(np.complex64(value), True)
    if isinstance(value, np.generic):
        dtype = dtypes.as_dtype(value.dtype)
        return Array(value if value.dtype == dtype else value.astype(dtype))
    if isinstance(value, np.ndarray):
        return _shared(value)
    if hasattr(value, "__array__"):
        return as_array(np.asarray(value))
    if isinstance(value, float | int | complex):  # subclasses: enums, numpy-like scalars
        return as_array(np.asarray(value).item())
    raise TypeError(
        f"expected an array or a number, got {value!r} of type {kind.__name__}.{_hint(value)}"
    )


def _hint(value: Any) -> str:
    """What to do with a value that is no array."""
    if isinstance(value, list | tuple):
        return " Convert it first: wengert.numpy.array(value)."
    if isinstance(value, str) or callable(value):
        return " Close over what is no number, or make it a static argument of jit."
    if dataclasses.is_dataclass(value):
        name = type(value).__name__
        return f" Make its class a container: wengert.tree_util.register_dataclass({name})."
    return ""


def is_operand(value: Any) -> bool:
    """Whether `as_array` may take a value: an array of some kind, or a number."""
    return isinstance(value, ArrayLike | np.generic | float | int | complex) or hasattr(
        value, "__array__"
    )


def _shared(value: Any) -> Array:
    """A view on a NumPy array; 0-d arrays, byte orders and dtypes of others are converted."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("a masked array would lose its mask: fill it first, x.filled(0.0).")
    # not of a subclass, whose operators may mean something else (those of np.matrix do)
    value = np.asarray(value, dtypes.as_dtype(value.dtype))
    return Array(value.view() if value.ndim else value[()])


def detached(array: Array) -> Array:
    """The array itself, or a copy where its memory may belong to somebody who writes to it."""
    value = array._value
    if isinstance(value, np.ndarray) and value.base is not None:
        return Array(value.copy(), array._weak)
    return array


def weak_float(value: float) -> Any:
    """A Python float as float32, the default floating dtype.

    Raises:
      OverflowError: where a finite value would become infinite.
    """
    if -_LARGEST <= value <= _LARGEST or not math.isfinite(value):
        return np.float32(value)
    raise OverflowError(
        f"Python float {value} is too large for the default floating dtype float32. Say which "
        f"dtype is meant: wengert.numpy.array({value}, dtype='float64')."
    )


_LARGEST = float(np.finfo(np.float32).max)


def weak_integer(value: int) -> Any:
    """A Python integer as int32, the default integer dtype.

    Raises:
      OverflowError: where the value does not fit; nothing is wrapped around in silence.
    """
    try:
        return np.int32(value)
    except OverflowError:
        raise OverflowError(
            f"Python integer {value} does not fit the default integer dtype int32. Say which "
            f"dtype is meant: wengert.numpy.array({value}, dtype='int64')."
        ) from None
