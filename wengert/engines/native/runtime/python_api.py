"""What machine code must know of the running Python and NumPy.

Machine code reads a few C structures by itself: the head of objects, tuples, lists, floats,
NumPy arrays and scalars, and our own `Array`. Their layouts are those of the stable parts of
CPython 3.11 to 3.13 and of NumPy 2; every one of them is checked here against a live object
before it is relied on. `Unsupported` is raised where one differs (another interpreter, a debug
or free-threaded build): calls then stay in Python, and everything works as before.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from functools import cache
from typing import Any

import numpy as np

from wengert.core.array import Array
from wengert.core.dtypes import SUPPORTED, DType

WORD = ctypes.sizeof(ctypes.c_void_p)

#: Offsets in bytes. Of objects:
REFERENCES, TYPE, SIZE, FIRST_ITEM = 0, 8, 16, 24
#: where the value of a float, of a complex number and of a NumPy scalar begins;
NUMBER = 16
#: of a NumPy array;
ARRAY_DATA, ARRAY_NDIM, ARRAY_DIMENSIONS, ARRAY_DTYPE, ARRAY_FLAGS = 16, 24, 32, 56, 64
#: of a NumPy dtype;
DTYPE_BYTE_ORDER, DTYPE_NUMBER = 26, 28
#: of a type.
TYPE_BASIC_SIZE, TYPE_VECTORCALL_OFFSET, TYPE_FLAGS = 32, 56, 168

#: Bits of a NumPy array's flags: dense in row-major order, and aligned; the memory is its own,
#: and may be written to.
DENSE_AND_ALIGNED = 0x0001 | 0x0100
OWNED_AND_WRITABLE = 0x0004 | 0x0400
#: Bit of a type's flags.
HAS_VECTORCALL = 1 << 11
#: Numbers of type slots.
_SLOT_ALLOC = 47
_SLOT_MEMBERS = 72


class Unsupported(Exception):
    """This Python, NumPy or argument is not for machine code; Python code serves it."""


def word_at(address: int) -> int:
    """The machine word at an address."""
    return ctypes.c_uint64.from_address(address).value


def put_word(address: int, value: int) -> None:
    """Write a machine word to an address."""
    ctypes.c_uint64.from_address(address).value = value


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise Unsupported(f"unknown layout of {what}")


@cache
def check_layouts() -> None:
    """Compare the offsets above with live objects.

    Raises:
      Unsupported: where one of them differs.
    """
    usual = (
        sys.implementation.name == "cpython"
        and WORD == 8
        and not hasattr(sys, "gettotalrefcount")
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )
    _require(usual, "this Python")
    marks = (object(), object())
    _require(word_at(id(marks[0]) + TYPE) == id(object), "objects")
    _require(word_at(id(marks) + FIRST_ITEM + WORD) == id(marks[1]), "tuples")
    listed = list(marks)
    _require(word_at(id(listed) + SIZE) == 2, "lists")
    _require(word_at(word_at(id(listed) + FIRST_ITEM) + WORD) == id(marks[1]), "lists")
    real, imaginary = 2.5, 2.5j
    _require(word_at(id(real) + NUMBER) == 0x4004000000000000, "floats")
    _require(word_at(id(imaginary) + NUMBER + WORD) == 0x4004000000000000, "complex numbers")
    for cls in (Array, int, np.ndarray, np.float32):
        _require(word_at(id(cls) + TYPE_BASIC_SIZE) == cls.__basicsize__, "types")
        _require(word_at(id(cls) + TYPE_FLAGS) == cls.__flags__, "types")
    _check_arrays()


def _check_arrays() -> None:
    array = np.zeros((2, 3), np.float64)
    address = id(array)
    dimensions = word_at(address + ARRAY_DIMENSIONS)
    flags = ctypes.c_int32.from_address(address + ARRAY_FLAGS).value
    found = (
        word_at(address + ARRAY_DATA),
        ctypes.c_int32.from_address(address + ARRAY_NDIM).value,
        (word_at(dimensions), word_at(dimensions + WORD)),
        word_at(address + ARRAY_DTYPE),
        flags & DENSE_AND_ALIGNED,
    )
    expected = (array.ctypes.data, 2, (2, 3), id(array.dtype), DENSE_AND_ALIGNED)
    _require(found == expected, "NumPy arrays")
    other = array.T  # named, so that it is still there when it is read
    _require(not ctypes.c_int32.from_address(id(other) + ARRAY_FLAGS).value & 1, "flags")
    _require(flags & OWNED_AND_WRITABLE == OWNED_AND_WRITABLE, "flags")
    other.flags.writeable = False
    flags = ctypes.c_int32.from_address(id(other) + ARRAY_FLAGS).value
    _require(not flags & OWNED_AND_WRITABLE, "flags")
    dtype = id(array.dtype)
    number = ctypes.c_int32.from_address(dtype + DTYPE_NUMBER).value
    order = ctypes.c_char.from_address(dtype + DTYPE_BYTE_ORDER).value
    _require((number, order) == (array.dtype.num, b"="), "NumPy dtypes")


@cache
def scalar_type(dtype: DType) -> type:
    """The type of a dtype's NumPy scalars, whose values machine code can read and write.

    Raises:
      Unsupported: where the value does not begin where it usually does.
    """
    if dtype not in SUPPORTED:
        raise Unsupported(f"dtype {dtype}")
    cls = dtype.type
    probe = np.frombuffer(bytes(range(1, dtype.itemsize + 1)), dtype)[0]
    if dtype == np.bool_:
        return cls
    _require(type(probe) is cls and dtype.isnative and dtype.itemsize <= 16, f"{dtype} scalars")
    stored = ctypes.string_at(id(probe) + NUMBER, dtype.itemsize)
    _require(stored == bytes(range(1, dtype.itemsize + 1)), f"{dtype} scalars")
    return cls


@cache
def array_slots() -> tuple[int, int]:
    """Where an `Array` holds its value and its weak flag."""
    value = object()
    offsets = {}
    probe = Array(value, True)
    for offset in range(NUMBER, Array.__basicsize__, WORD):
        offsets[word_at(id(probe) + offset)] = offset
    _require({id(value), id(True)} <= offsets.keys(), "Array")
    return offsets[id(value)], offsets[id(True)]


_get_slot = ctypes.pythonapi.PyType_GetSlot
_get_slot.restype, _get_slot.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_int]


def allocation_function(cls: type) -> int:
    """The address of a type's `tp_alloc`."""
    return int(_get_slot(cls, _SLOT_ALLOC) or 0)


# -- a type whose instances carry a pointer to machine code -----------------------------------


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("value", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    ]


_SIZE_MEMBER, _READ_ONLY = 19, 1
_DEFAULT_FLAGS, _SUBCLASSABLE = 0, 1 << 10

#: Where instances hold the function that answers a call, and the table that it reads.
CALL_POINTER, TABLE_POINTER = 16, 24


def make_callable_type(name: str) -> type:
    """A type, to be subclassed, with the two pointers above in each instance, both null.

    A null call pointer makes the interpreter use the subclass's `__call__`. Subclasses must be
    given the flag by `enable_vectorcall`.

    Raises:
      Unsupported: in a Python without these layouts.
    """
    check_layouts()
    offset = _Member(b"__vectorcalloffset__", _SIZE_MEMBER, CALL_POINTER, _READ_ONLY, None)
    members = (_Member * 2)(offset, _Member())
    slots = (_Slot * 2)(
        _Slot(_SLOT_MEMBERS, ctypes.cast(members, ctypes.c_void_p).value), _Slot(0, None)
    )
    flags = _DEFAULT_FLAGS | _SUBCLASSABLE
    spec = _Spec(name.encode(), TABLE_POINTER + WORD, 0, flags, slots)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_Spec))(
        ("PyType_FromSpec", ctypes.pythonapi)
    )
    cls: Any = make(ctypes.byref(spec))
    _KEPT.append((offset, members, slots, spec))
    _require(word_at(id(cls) + TYPE_VECTORCALL_OFFSET) == CALL_POINTER, "types")
    return cls


#: What older Pythons go on reading after `PyType_FromSpec` has returned.
_KEPT: list[Any] = []


def enable_vectorcall(cls: type) -> None:
    """Let calls of a class's instances go through their call pointer where it is not null."""
    put_word(id(cls) + TYPE_VECTORCALL_OFFSET, CALL_POINTER)
    put_word(id(cls) + TYPE_FLAGS, word_at(id(cls) + TYPE_FLAGS) | HAS_VECTORCALL)
