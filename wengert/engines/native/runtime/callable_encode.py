"""From a specialisation, as Python knows it, to the records that machine code reads.

In flow an example of the arguments, their types, and the types and tree of the results; out
flows a `Descriptor`: a SPECIALISATION record in memory with all that it points to.
`Unsupported` is raised for arguments that machine code cannot take apart (instances of
registered classes, dictionaries with keys other than strings, static arguments that may change
while they stay the same object).
"""

from __future__ import annotations

import ctypes
import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from wengert.core import tree
from wengert.core.array import ArrayType
from wengert.engines.native.runtime.callable_layout import (
    DONOR,
    GUARD,
    LEAF,
    OUTPUT,
    SPECIALISATION,
    STACK_BYTES,
    STEP,
    Allocation,
    Check,
    Put,
    Scalar,
    in_memory,
)
from wengert.engines.native.runtime.python_api import (
    WORD,
    Unsupported,
    allocation_function,
    scalar_type,
    word_at,
)

_PYTHON_SCALARS: dict[tuple[str, bool], tuple[type, Scalar]] = {
    ("float32", True): (float, Scalar.FLOAT),
    ("int32", True): (int, Scalar.INTEGER),
    ("bool", False): (bool, Scalar.BOOL),
    ("complex64", True): (complex, Scalar.COMPLEX),
}
_Kind = optree.PyTreeKind


@dataclass(frozen=True)
class Specialisation:
    """One way in which a native callable may be called, and what answers it.

    Attributes:
      entry: address of `i64 entry(inputs, outputs, arena)`.
      arguments: `(args, kwargs)` of a call that it is for.
      in_tree: the structure of these without static arguments, which are None in it.
      in_types: the types of its leaves.
      out_types: the types of the results.
      out_tree: their structure.
      static: positions and names of static arguments.
      constants: addresses of arrays that are passed before the inputs.
      arena_bytes: scratch memory that the entry needs.
      long: whether the interpreter lock is released while it runs.
      raw: whether arguments and results are NumPy values instead of arrays.
      failure: the exception that a status other than 0 stands for, given that and the inputs.
      keep: objects that must live as long as the entry may run.
      cell: where the address of the entry is found at each call, if it may change.
      donated: for each donated input what its array holds from then on.
      in_place: pairs of an input and the result that is computed in its memory.
    """

    entry: int
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    in_tree: tree.TreeDef
    in_types: Sequence[ArrayType]
    out_types: Sequence[ArrayType]
    out_tree: tree.TreeDef
    static: frozenset[int | str] = frozenset()
    constants: Sequence[int] = ()
    arena_bytes: int = 0
    long: bool = False
    raw: bool = False
    failure: Callable[[int, list[Any]], BaseException] | None = None
    keep: Any = None
    cell: int = 0
    donated: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    in_place: Sequence[tuple[int, int]] = ()


class Descriptor:
    """A SPECIALISATION record in memory, and all that it points to.

    Attributes:
      address: where it lies.
    """

    def __init__(self, specialisation: Specialisation, following: int) -> None:
        # without the example, which would keep the caller's arrays alive
        subject = dataclasses.replace(specialisation, arguments=((), {}))
        self._kept: list[Any] = [subject]
        guards = _Guards(specialisation, self.memory, self.object)
        sources = {o: i for i, o in specialisation.in_place}
        outputs = [
            self._output(t, sources.get(o)) for o, t in enumerate(specialisation.out_types)
        ]
        donors = [
            DONOR.words(input=i, over=int(i in sources.values()), deleted=self.object(deleted))
            for i, deleted in specialisation.donated.items()
        ]
        steps = _steps(specialisation, self.memory, self.object)
        scratch = _scratch(specialisation, guards, len(steps))
        self._words = in_memory(
            SPECIALISATION.words(
                next=following,
                subject=id(subject),
                hits=0,
                positional=len(specialisation.arguments[0]),
                keyword_count=len(specialisation.arguments[1]),
                keywords=self.memory([self.object(k) for k in specialisation.arguments[1]]),
                guard_count=len(guards.records),
                guards=self.records(guards.records),
                entry=specialisation.cell or self.memory([specialisation.entry]),
                releases_lock=int(specialisation.long),
                constant_count=len(specialisation.constants),
                constants=self.memory(list(specialisation.constants)),
                input_count=len(specialisation.in_types),
                donor_count=len(donors),
                donors=self.records(donors),
                output_count=len(outputs),
                outputs=self.records(outputs),
                raw=int(specialisation.raw),
                step_count=len(steps),
                steps=self.records(steps),
                **scratch,
            )
        )
        self.address = ctypes.addressof(self._words)

    @property
    def hits(self) -> int:
        """How many calls it has answered."""
        return word_at(self.address + SPECIALISATION.offset("hits"))

    def memory(self, words: list[int]) -> int:
        """The address of a copy of these words."""
        copy = in_memory(words)
        self._kept.append(copy)
        return ctypes.addressof(copy)

    def records(self, records: list[list[int]]) -> int:
        """The address of an array of records."""
        return self.memory([word for record in records for word in record])

    def object(self, value: Any) -> int:
        """The address of an object, which is kept alive."""
        self._kept.append(value)
        return id(value)

    def _output(self, type_: ArrayType, source: int | None) -> list[int]:
        dtype, cls = type_.dtype, scalar_type(type_.dtype)
        kind = Allocation.ARRAY
        if not type_.shape:
            kind = Allocation.TRUTH if dtype == np.bool_ else Allocation.SCALAR
        elif source is not None:
            kind = Allocation.DONATED
        return OUTPUT.words(
            kind=kind,
            type=self.object(dtype if type_.shape else cls),
            alloc=allocation_function(cls),
            ndim=type_.ndim,
            dimensions=self.memory(list(type_.shape)),
            weak=id(type_.weak_type),
            source=source or 0,
        )


class _Guards:
    """The GUARD records of a specialisation.

    Attributes:
      records: in the order in which they are checked.
      vectors: how many vectors of objects there are.
      values: how many values of dictionaries are stored.
    """

    def __init__(
        self,
        specialisation: Specialisation,
        memory: Callable[[list[int]], int],
        keep: Callable[[Any], int],
    ) -> None:
        self.records: list[list[int]] = []
        self.vectors, self.values = 1, 0
        self._raw = specialisation.raw
        self._types = list(specialisation.in_types)
        self._found = 0
        self._memory, self._keep = memory, keep
        args, kwargs = specialisation.arguments
        args_tree, kwargs_tree = specialisation.in_tree.children()
        for index, (value, spec) in enumerate(zip(args, args_tree.children(), strict=True)):
            self._argument(value, spec, index, index in specialisation.static)
        places = {name: len(args) + i for i, name in enumerate(kwargs)}
        dynamic = dict(zip(kwargs_tree.entries(), kwargs_tree.children(), strict=True))
        for name, spec in dynamic.items():
            self._argument(kwargs[name], spec, places[name], False)
        for name in kwargs.keys() & specialisation.static:
            self._argument(kwargs[name], None, places[name], True)

    def _argument(self, value: Any, spec: Any, index: int, static: bool) -> None:
        if static:
            self._static(value, index)
        else:
            self._node(value, spec, 0, index)

    def _add(self, kind: Check, source: int, index: int, **fields: int) -> None:
        rest = {"detail": 0, "count": 0, "target": 0, "values": 0, **fields}
        self.records.append(GUARD.words(kind=kind, source=source, index=index, **rest))

    def _static(self, value: Any, index: int) -> None:
        if type(value) is int and -(2**63) <= value < 2**63:
            self._add(Check.INTEGER, 0, index, detail=id(int), count=value)
        elif type(value) is str:
            self._add(Check.STRING, 0, index, detail=self._keep(value))
        elif _is_constant(value):
            self._add(Check.SAME, 0, index, detail=self._keep(value))
        else:
            raise Unsupported(f"a static argument of type {type(value).__name__}")

    def _node(self, value: Any, spec: tree.TreeDef, source: int, index: int) -> None:
        kind = spec.kind
        if kind == _Kind.LEAF:
            type_ = self._types[self._found]
            leaf = self._memory(self._leaf(type_))
            self._add(Check.LEAF, source, index, detail=leaf, target=self._found)
            self._found += 1
        elif kind == _Kind.NONE:
            self._add(Check.SAME, source, index, detail=id(None))
        elif kind in (_Kind.TUPLE, _Kind.NAMEDTUPLE, _Kind.LIST):
            check = Check.LIST if kind == _Kind.LIST else Check.TUPLE
            vector = self._vector(check, source, index, self._keep(type(value)), len(value))
            for i, (item, child) in enumerate(zip(value, spec.children(), strict=True)):
                self._node(item, child, vector, i)
        elif kind == _Kind.DICT:
            self._dictionary(value, spec, source, index)
        else:
            raise Unsupported(f"a container of type {type(value).__name__}")

    def _vector(self, check: Check, source: int, index: int, detail: int, count: int) -> int:
        vector = self.vectors
        self.vectors += 1
        self._add(
            check, source, index, detail=detail, count=count, target=vector, values=self.values
        )
        return vector

    def _dictionary(
        self, value: dict[Any, Any], spec: tree.TreeDef, source: int, index: int
    ) -> None:
        keys = _string_keys(value, self._keep)
        vector = self._vector(Check.DICT, source, index, self._memory(keys), len(value))
        self.values += len(value)
        places = {key: i for i, key in enumerate(value)}
        for key, child in zip(spec.entries(), spec.children(), strict=True):
            self._node(value[key], child, vector, places[key])

    def _leaf(self, type_: ArrayType) -> list[int]:
        name = type_.dtype.name, type_.weak_type
        python_type, kind = (0, 0)
        if not type_.shape and not self._raw and name in _PYTHON_SCALARS:
            cls, kind = _PYTHON_SCALARS[name]
            python_type = id(cls)
        return LEAF.words(
            dtype=self._keep(type_.dtype),
            number=type_.dtype.num,
            ndim=type_.ndim,
            dimensions=self._memory(list(type_.shape)),
            scalar_type=0 if type_.shape else id(scalar_type(type_.dtype)),
            weak=0 if self._raw else id(type_.weak_type),
            python_type=python_type,
            python_kind=kind,
        )


def _string_keys(dictionary: dict[Any, Any], keep: Callable[[Any], int]) -> list[int]:
    if not all(type(key) is str for key in dictionary):
        raise Unsupported("a dictionary with keys that are not strings")
    return [keep(key) for key in dictionary]


_CONSTANT_TYPES = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    types.FunctionType,
    types.BuiltinFunctionType,
    np.dtype,
)


def _is_constant(value: Any) -> bool:
    """Whether an object is equal to itself for ever, so that identity is enough of a guard."""
    if type(value) in (tuple, frozenset):
        return all(map(_is_constant, value))
    return (
        type(value) in _CONSTANT_TYPES
        or isinstance(value, np.dtype | type)
        or getattr(type(value), "__hash__", None) is object.__hash__
    )


def _steps(
    specialisation: Specialisation,
    memory: Callable[[list[int]], int],
    keep: Callable[[Any], int],
) -> list[list[int]]:
    """The STEP records that build the returned tree; none where that is a single array."""
    spec = specialisation.out_tree
    if spec.num_leaves != len(specialisation.out_types):
        raise ValueError(f"{len(specialisation.out_types)} results for a tree {spec}")
    if spec.kind == _Kind.LEAF:
        return []
    steps: list[list[int]] = []
    example = tree.unflatten(spec, range(spec.num_leaves))
    try:
        _put(example, spec, steps, memory, keep)
    except Unsupported:
        steps = [STEP.words(kind=Put.TAKE, count=i, detail=0) for i in range(spec.num_leaves)]
        joined = keep(lambda *leaves: tree.unflatten(spec, leaves))
        steps.append(STEP.words(kind=Put.APPLY, count=spec.num_leaves, detail=joined))
    return steps


def _put(
    value: Any,
    spec: tree.TreeDef,
    steps: list[list[int]],
    memory: Callable[[list[int]], int],
    keep: Callable[[Any], int],
) -> None:
    kind, children = spec.kind, spec.children()
    if kind == _Kind.LEAF:
        steps.append(STEP.words(kind=Put.TAKE, count=value, detail=0))
        return
    if kind == _Kind.NONE:
        steps.append(STEP.words(kind=Put.NONE, count=0, detail=0))
        return
    detail = 0
    if kind == _Kind.DICT:
        by_key = dict(zip(spec.entries(), children, strict=True))
        detail = memory(_string_keys(value, keep))
        value, children = [*value.values()], [by_key[key] for key in value]
    elif kind == _Kind.NAMEDTUPLE:
        detail = keep(type(value))
    puts = {
        _Kind.DICT: Put.DICT,
        _Kind.NAMEDTUPLE: Put.APPLY,
        _Kind.TUPLE: Put.TUPLE,
        _Kind.LIST: Put.LIST,
    }
    put = next((p for k, p in puts.items() if k == kind), None)
    if put is None:
        raise Unsupported("a container that only its registration knows how to make")
    for item, child in zip(value, children, strict=True):
        _put(item, child, steps, memory, keep)
    steps.append(STEP.words(kind=put, count=len(children), detail=detail))


def _scratch(specialisation: Specialisation, guards: _Guards, steps: int) -> dict[str, int]:
    """Where the parts of a call's scratch memory lie."""
    constants, inputs = len(specialisation.constants), len(specialisation.in_types)
    outputs = len(specialisation.out_types)
    parts = {
        "scalars_at": 2 * inputs,  # first, since these need 16-byte alignment
        "pointers_at": constants,
        "inputs_at": inputs,
        "finished_at": 2,  # behind the inputs: a pointer, and the byte that it points to
        "leaves_at": inputs,
        "held_at": inputs,
        "outputs_at": outputs,
        "truths_at": outputs,
        "owned_at": outputs,
        "stack_at": steps,
        "vectors_at": guards.vectors,
        "values_at": guards.values,
    }
    places, offset = {}, 0
    for name, words in parts.items():
        places[name] = offset
        offset += WORD * words
    if not steps:  # the one result is returned as it is
        places["stack_at"] = places["owned_at"]
    rest = {"owned_count": outputs + steps}
    arena = -specialisation.arena_bytes // 64 * -64
    if offset + arena <= STACK_BYTES:  # it lies in front of the rest
        places = {name: place + arena for name, place in places.items()}
        return {**places, **rest, "scratch_bytes": offset + arena, "arena_bytes": 0}
    return {**places, **rest, "scratch_bytes": offset, "arena_bytes": arena}
