"""Dtypes, questions about them, and constants, under their NumPy names.

`float32` and the others name a dtype wherever one is asked for, compare equal to NumPy's, and
convert when called. Promotion is JAX's; see `wengert.core.dtypes`.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType, DTypeLike
from wengert.numpy.arrays import asarray
from wengert.numpy.promotion import result_type as result_type

pi = math.pi
e = math.e
inf = math.inf
nan = math.nan
euler_gamma = float(np.euler_gamma)
newaxis = None


class ScalarType:
    """A dtype that converts to itself when called: `float32(x)`.

    Attributes:
      dtype: the NumPy dtype.

    >>> float32(1)
    Array(1., dtype=float32)
    >>> np.zeros(2, np.float32).dtype == float32
    True
    """

    __slots__ = ("__name__", "dtype")

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype: DType = dtypes.as_dtype(dtype)
        self.__name__ = self.dtype.name

    def __call__(self, x: Any = 0) -> Any:
        return asarray(x, self.dtype)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ScalarType):
            return self.dtype == other.dtype
        try:
            return bool(self.dtype == other)
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.dtype.type)

    def __repr__(self) -> str:
        return f"wengert.numpy.{self.__name__}"

    def __reduce__(self) -> Any:
        return ScalarType, (self.dtype,)


bool_ = ScalarType(np.bool_)
int8 = ScalarType(np.int8)
int16 = ScalarType(np.int16)
int32 = ScalarType(np.int32)
int64 = ScalarType(np.int64)
uint8 = ScalarType(np.uint8)
uint16 = ScalarType(np.uint16)
uint32 = ScalarType(np.uint32)
uint64 = ScalarType(np.uint64)
float16 = ScalarType(np.float16)
bfloat16 = ScalarType(ml_dtypes.bfloat16)
float32 = ScalarType(np.float32)
float64 = ScalarType(np.float64)
complex64 = ScalarType(np.complex64)
complex128 = ScalarType(np.complex128)

half = float16
single = float32
double = float64
csingle = complex64
cdouble = complex128
#: The dtypes of Python's numbers.
int_ = int32
uint = uint32
float_ = float32
complex_ = complex64

dtype = np.dtype
generic = np.generic
number = np.number
integer = np.integer
signedinteger = np.signedinteger
unsignedinteger = np.unsignedinteger
inexact = np.inexact
floating = np.floating
complexfloating = np.complexfloating
flexible = np.flexible
character = np.character
object_ = np.object_


def finfo(dtype: DTypeLike) -> Any:
    """Limits of a floating dtype: `eps`, `max`, `min`, `tiny`, `bits` ...

    >>> float(finfo(float32).eps)
    1.1920928955078125e-07
    >>> float(finfo(bfloat16).max)
    3.3895313892515355e+38
    """
    found = dtypes.dtype_of(dtype)[0]
    if found == dtypes.bfloat16:
        return ml_dtypes.finfo(found)  # type: ignore[no-untyped-call]
    return np.finfo(found)


def iinfo(dtype: DTypeLike) -> Any:
    """Limits of an integer dtype: `min`, `max`, `bits`.

    >>> iinfo(int8).max
    127
    """
    return np.iinfo(dtypes.dtype_of(dtype)[0])


_ABSTRACT = (np.generic, np.number, np.inexact, np.floating)


def issubdtype(arg1: DTypeLike, arg2: DTypeLike) -> bool:
    """Whether a dtype is another one, or belongs to an abstract type such as `floating`.

    >>> issubdtype(bfloat16, floating)
    True
    >>> issubdtype(float32, integer)
    False
    """
    first, second = _scalar_class(arg1), _scalar_class(arg2)
    if first is ml_dtypes.bfloat16:
        return second is first or second in _ABSTRACT
    return bool(np.issubdtype(first, second))


def _scalar_class(dtype: DTypeLike) -> Any:
    """The NumPy class of a dtype; abstract classes are returned as they are."""
    if isinstance(dtype, type) and issubclass(dtype, np.generic):
        return dtype
    return np.dtype(dtype).type


_KIND_LETTERS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: DTypeLike, kind: Any) -> bool:
    """Whether a dtype is of a kind, in the words of the array API standard.

    Args:
      dtype: a dtype.
      kind: a dtype, one of "bool", "signed integer", "unsigned integer", "integral",
        "real floating", "complex floating", "numeric", or a tuple of these.

    >>> isdtype(float32, "real floating")
    True
    >>> isdtype(int8, ("bool", "unsigned integer"))
    False
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    found = dtypes.as_dtype(dtype)
    if isinstance(kind, str) and kind in _KIND_LETTERS:
        return dtypes.kind(found) in _KIND_LETTERS[kind]
    try:
        return found == dtypes.as_dtype(kind)
    except TypeError:
        names = ", ".join(map(repr, _KIND_LETTERS))
        raise ValueError(f"kind must be a dtype or one of {names}; got {kind!r}.") from None


def promote_types(a: DTypeLike, b: DTypeLike) -> DType:
    """The dtype that two dtypes promote to; Python's scalar types yield to dtypes.

    >>> promote_types(int32, float16)
    dtype('float16')
    >>> promote_types("int8", int)
    dtype('int8')
    """
    pairs = tuple(
        (dtypes.as_dtype(x), x in (int, float, complex) if isinstance(x, type) else False)
        for x in (a, b)
    )
    return dtypes.lattice_join(pairs)[0]


def can_cast(from_: Any, to: DTypeLike, casting: Any = "safe") -> bool:
    """Whether NumPy's casting rule allows a conversion between dtypes.

    Args:
      from_: a dtype or an array.
      to: a dtype.
      casting: "no", "equiv", "safe", "same_kind" or "unsafe".

    >>> can_cast(int32, float64)
    True
    >>> can_cast(float64, float32)
    False
    """
    return bool(np.can_cast(dtypes.dtype_of(from_)[0], np.dtype(to), casting))
