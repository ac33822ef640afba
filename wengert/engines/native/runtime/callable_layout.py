"""The records that a native callable's machine code reads: names of their words.

Python writes them (`callable_encode`), machine code reads them (`callable_code`), both by the
names below; so there is one place where a field gets its offset. Every field is a machine word:
a number, or an address of an object, a function, or another record.

    instance -> TABLE -> newest SPECIALISATION -> next ... -> 0
                  |            |-> GUARD, GUARD, ...   what each argument must be
                  |            |-> DONOR, ...          which arguments are deleted
                  |            |-> OUTPUT, ...         what to allocate
                  |            `-> STEP, ...           how results become the returned tree
                  `-> API                              objects of this process
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Any

_WORD = 8

#: What is said instead of an entry's status where there is no memory for its arena.
NO_MEMORY = -1


class Record:
    """Names for the words of a record.

    >>> Record("first second").offset("second")
    8
    """

    def __init__(self, fields: str) -> None:
        self._fields = fields.split()
        self.size = _WORD * len(self._fields)

    def offset(self, field: str) -> int:
        """Where a field lies, in bytes."""
        return _WORD * self._fields.index(field)

    def words(self, **values: int) -> list[int]:
        """The words of a record with these values; all fields must be given."""
        if values.keys() != set(self._fields):
            raise TypeError(f"{sorted(values.keys() ^ set(self._fields))}: missing or unknown")
        return [values[field] for field in self._fields]


def in_memory(words: list[int]) -> Any:
    """A ctypes array of words, whose address is stable as long as it lives."""
    return (ctypes.c_int64 * max(len(words), 1))(*map(_signed, words))


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


#: Objects of the process. `gate` is where a count lies: 0 while calls may skip Python.
API = Record(
    "gate array array_alloc value_at weak_at ndarray new_array tuple list dict string none "
    "true false numpy_true numpy_false call_name failed_name"
)

#: What an instance points to. `owner` is the Python object that keeps all of it alive.
TABLE = Record("api owner first")

#: Scratch memory of a call that is taken from the stack; more comes from the heap.
STACK_BYTES = 3072

#: One way in which the function may be called. `*_at` are offsets in the scratch memory of a
#: call; `arena_bytes` is 0 where the arena lies in front of that. `leaves` are the arguments'
#: leaves, `held` what their elements belong to. `finished` is the entry's last input.
SPECIALISATION = Record(
    "next subject hits positional keyword_count keywords guard_count guards "
    "entry releases_lock arena_bytes constant_count constants input_count "
    "donor_count donors output_count outputs raw step_count steps "
    "scratch_bytes pointers_at inputs_at finished_at leaves_at held_at outputs_at truths_at "
    "owned_at owned_count stack_at vectors_at values_at scalars_at"
)

#: One check. It looks at the object `vectors[source][index]`, a *vector* being an array of
#: objects; vector 0 holds the arguments. `detail` is a LEAF, the type of a tuple, an address of
#: keys, or an object to be identical to; `count` is a length; `target` the vector or input
#: that is found; `values` is the first place for the values of a dictionary.
GUARD = Record("kind source index detail count target values")


class Check(IntEnum):
    """Kinds of GUARD."""

    LEAF = 0
    TUPLE = 1
    LIST = 2
    DICT = 3
    SAME = 4
    INTEGER = 5
    STRING = 6


#: What a leaf must be. `weak` is the address of True or False, or 0 where the values are bare
#: NumPy values; `scalar_type` is 0 where there are dimensions; `python_type` is the type of
#: Python scalars that stand for such a leaf, or 0.
LEAF = Record("dtype number ndim dimensions scalar_type weak python_type python_kind")


class Scalar(IntEnum):
    """Kinds of Python scalars (`python_kind` of LEAF)."""

    FLOAT = 0
    INTEGER = 1
    BOOL = 2
    COMPLEX = 3


#: An input that is donated: where it is an array, that holds the object `deleted` afterwards.
#: `over` says whether its memory is overwritten.
DONOR = Record("input over deleted")

#: What is allocated for a result. `kind` is an Allocation, `source` an input.
OUTPUT = Record("kind type alloc ndim dimensions weak source")


class Allocation(IntEnum):
    """Kinds of OUTPUT."""

    SCALAR = 0  #: a NumPy scalar; `type` is its type, `alloc` its allocation function
    TRUTH = 1  #: one of NumPy's two bools
    ARRAY = 2  #: a NumPy array; `type` is its dtype
    DONATED = 3  #: the array that input `source` was


#: A step of putting results together, on a stack of objects.
STEP = Record("kind count detail")


class Put(IntEnum):
    """Kinds of STEP."""

    TAKE = 0  #: push result number `count`
    NONE = 1  #: push None
    TUPLE = 2  #: a tuple of the last `count`
    LIST = 3  #: a list of the last `count`
    DICT = 4  #: a dictionary of the last `count` under the keys at `detail`
    APPLY = 5  #: what the callable `detail` returns for the last `count`
