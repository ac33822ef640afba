"""The second half of a native callable's machine code: from a program's results to objects.

The functions here allocate what the entry writes into, wrap that into arrays, and put the
arrays into their tree. References that are owned meanwhile lie in one region of the scratch
memory (`owned`: the results, then the stack of the tree), so that on any error all of them are
given back by one loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native.runtime import python_api as api
from wengert.engines.native.runtime.callable_layout import (
    API,
    NO_MEMORY,
    OUTPUT,
    SPECIALISATION,
    STEP,
    Allocation,
    Put,
)
from wengert.engines.native.runtime.callable_writer import WORD, Function

ir = lazy_module("llvmlite.ir")


def part(f: Function, specialisation: Any, scratch: Any, name: str) -> Any:
    """A part of the scratch memory."""
    return f.at(scratch, f.field(SPECIALISATION, specialisation, name))


def allocate(f: Function) -> None:
    """Make the objects for the results, and tell where their elements go."""
    process, specialisation, scratch = f.args
    owned = part(f, specialisation, scratch, "owned_at")
    places = part(f, specialisation, scratch, "outputs_at")
    truths = part(f, specialisation, scratch, "truths_at")
    held = part(f, specialisation, scratch, "held_at")
    outputs = f.link(SPECIALISATION, specialisation, "outputs")
    with f.each(f.field(SPECIALISATION, specialisation, "output_count")) as i:
        output = f.element(outputs, i, OUTPUT.size)
        owner, place = f.element(owned, i), f.element(places, i)
        cases: dict[int, Callable[[], None]] = {
            Allocation.SCALAR: partial(_allocate_scalar, f, output, owner, place),
            # the byte goes to a place of its own, until it is known which object it is
            Allocation.TRUTH: partial(f.store, f.element(truths, i), place),
            Allocation.ARRAY: partial(_allocate_array, f, process, output, owner, place),
            Allocation.DONATED: partial(_take_donated, f, output, owner, held),
        }
        f.choose(f.field(OUTPUT, output, "kind"), cases)
    f.give(f.number(1, 1))


def _allocate_scalar(f: Function, output: Any, owner: Any, place: Any) -> None:
    type_ = f.link(OUTPUT, output, "type")
    made = f.through(OUTPUT, output, "alloc", f.pointer, type_, f.number(0))
    f.give_if(f.is_null(made), f.number(0, 1))
    f.store(made, owner)
    f.store(f.at(made, api.NUMBER), place)


def _allocate_array(f: Function, process: Any, output: Any, owner: Any, place: Any) -> None:
    dtype = f.link(OUTPUT, output, "type")
    f.call("take", dtype)  # the function below takes the reference over
    made = f.through(
        API, process, "new_array", f.pointer,
        f.link(API, process, "ndarray"), dtype,
        f.builder.trunc(f.field(OUTPUT, output, "ndim"), f.i32),
        f.link(OUTPUT, output, "dimensions"),
        f.null, f.null, f.number(0, 32), f.null,
    )  # fmt: skip
    f.give_if(f.is_null(made), f.number(0, 1))
    f.store(made, owner)
    f.store(f.load_pointer(made, api.ARRAY_DATA), place)


def _take_donated(f: Function, output: Any, owner: Any, held: Any) -> None:
    array = f.load_pointer(f.element(held, f.field(OUTPUT, output, "source")))
    f.call("take", array)
    f.store(array, owner)


def execute(f: Function) -> None:
    """Run the entry, with an arena; its status, or that there is no memory for an arena."""
    specialisation, scratch = f.args
    constants = f.field(SPECIALISATION, specialisation, "constant_count")
    inputs = part(f, specialisation, scratch, "pointers_at")
    sources = f.link(SPECIALISATION, specialisation, "constants")
    with f.each(constants) as i:
        f.store(f.load(f.element(sources, i)), f.element(inputs, i))
    finished = part(f, specialisation, scratch, "finished_at")
    f.store(f.at(finished, WORD), finished)
    arena, block = f.variable(scratch), f.variable(f.null)
    size = f.field(SPECIALISATION, specialisation, "arena_bytes")
    with f.when(f.differ(size, f.number(0))):
        made = f.extern("memory.allocate", f.pointer, size)
        f.give_if(f.is_null(made), f.number(NO_MEMORY))
        f.store(made, block)
        f.store(made, arena)
    outputs = part(f, specialisation, scratch, "outputs_at")
    thread = f.variable(f.null)
    releases = f.field(SPECIALISATION, specialisation, "releases_lock")
    with f.when(f.differ(releases, f.number(0))):
        f.store(f.python("PyEval_SaveThread", f.pointer), thread)
    place = f.load_pointer(arena)
    cell = f.link(SPECIALISATION, specialisation, "entry")  # better code may come into it
    status = f.builder.call(
        f.load(cell, 0, f.function_pointer(f.i64, inputs, outputs, place)),
        [inputs, outputs, place],
    )
    saved = f.load_pointer(thread)
    with f.when(f.differ(saved, f.null)):
        f.python("PyEval_RestoreThread", ir.VoidType(), saved)
    f.extern("memory.release", ir.VoidType(), f.load_pointer(block))
    f.give(status)


def wrap(f: Function) -> None:
    """Make arrays of the results (or leave them NumPy values, where `raw` says so)."""
    process, specialisation, scratch = f.args
    owned = part(f, specialisation, scratch, "owned_at")
    truths = part(f, specialisation, scratch, "truths_at")
    outputs = f.link(SPECIALISATION, specialisation, "outputs")
    raw = f.field(SPECIALISATION, specialisation, "raw")
    with f.each(f.field(SPECIALISATION, specialisation, "output_count")) as i:
        output = f.element(outputs, i, OUTPUT.size)
        place = f.element(owned, i)
        with f.when(f.equal(f.field(OUTPUT, output, "kind"), f.number(Allocation.TRUTH))):
            byte = f.load(f.element(truths, i), 0, ir.IntType(8))
            true = f.differ(byte, f.number(0, 8))
            truth = f.builder.select(
                true, f.link(API, process, "numpy_true"), f.link(API, process, "numpy_false")
            )
            f.call("take", truth)
            f.store(truth, place)
        with f.when(f.equal(raw, f.number(0))):
            array_type = f.link(API, process, "array")
            made = f.through(API, process, "array_alloc", f.pointer, array_type, f.number(0))
            f.give_if(f.is_null(made), f.number(0, 1))
            f.store(f.load_pointer(place), made, f.field(API, process, "value_at"))
            weak = f.link(OUTPUT, output, "weak")
            f.call("take", weak)
            f.store(weak, made, f.field(API, process, "weak_at"))
            f.store(made, place)
    f.give(f.number(1, 1))


def move(f: Function, items: Any, count: Any, target: Any) -> None:
    """Hand references over from one array to another."""
    with f.each(count) as i:
        place = f.element(items, i)
        f.store(f.load_pointer(place), f.element(target, i))
        f.store(f.null, place)


def make_tuple(f: Function) -> None:
    """A tuple that takes over an array of references; null if there is no memory."""
    items, count = f.args
    made = f.python("PyTuple_New", f.pointer, count)
    f.give_if(f.is_null(made), f.null)
    move(f, items, count, f.at(made, api.FIRST_ITEM))
    f.give(made)


def make_list(f: Function) -> None:
    """A list that takes over an array of references."""
    items, count = f.args
    made = f.python("PyList_New", f.pointer, count)
    f.give_if(f.is_null(made), f.null)
    move(f, items, count, f.load_pointer(made, api.FIRST_ITEM))
    f.give(made)


def make_dict(f: Function) -> None:
    """A dictionary that takes over an array of references."""
    items, keys, count = f.args
    made = f.python("PyDict_New", f.pointer)
    f.give_if(f.is_null(made), f.null)
    with f.each(count) as i:
        place = f.element(items, i)
        value = f.load_pointer(place)
        key = f.load_pointer(f.element(keys, i))
        status = f.python("PyDict_SetItem", f.i32, made, key, value)
        with f.when(f.differ(status, f.number(0, 32))):
            f.call("drop", made)
            f.give(f.null)
        f.store(f.null, place)
        f.call("drop", value)
    f.give(made)


def apply(f: Function) -> None:
    """What a callable returns for an array of references, which it takes over."""
    items, callable_, count = f.args
    arguments = f.call("make_tuple", items, count)
    f.give_if(f.is_null(arguments), f.null)
    result = f.python("PyObject_CallObject", f.pointer, callable_, arguments)
    f.call("drop", arguments)
    f.give(result)


def build(f: Function) -> None:
    """The results in their tree; null where that raised an exception."""
    process, specialisation, scratch = f.args
    owned = part(f, specialisation, scratch, "owned_at")
    stack = part(f, specialisation, scratch, "stack_at")
    steps = f.link(SPECIALISATION, specialisation, "steps")
    top = f.variable(f.number(0))
    with f.each(f.field(SPECIALISATION, specialisation, "step_count")) as i:
        step = f.element(steps, i, STEP.size)
        count, detail = f.field(STEP, step, "count"), f.link(STEP, step, "detail")
        height = f.builder.load(top, typ=f.i64)
        base = f.builder.sub(height, count)
        items = f.element(stack, base)
        put = partial(_put, f, stack, top)
        cases: dict[int, Callable[[], None]] = {
            Put.TAKE: partial(put, height, partial(_taken, f, f.element(owned, count))),
            Put.NONE: partial(put, height, partial(_none, f, process)),
            Put.TUPLE: partial(put, base, partial(f.call, "make_tuple", items, count)),
            Put.LIST: partial(put, base, partial(f.call, "make_list", items, count)),
            Put.DICT: partial(put, base, partial(f.call, "make_dict", items, detail, count)),
            Put.APPLY: partial(put, base, partial(f.call, "apply", items, detail, count)),
        }
        f.choose(f.field(STEP, step, "kind"), cases)
    result = f.load_pointer(stack)
    f.store(f.null, stack)
    f.give(result)


def _put(f: Function, stack: Any, top: Any, place: Any, make: Callable[[], Any]) -> None:
    """Make an object and put it on the stack, which ends there."""
    value = make()
    f.give_if(f.is_null(value), f.null)
    f.store(value, f.element(stack, place))
    f.store(f.builder.add(place, f.number(1)), top)


def _taken(f: Function, place: Any) -> Any:
    value = f.load_pointer(place)
    f.store(f.null, place)
    return value


def _none(f: Function, process: Any) -> Any:
    none = f.link(API, process, "none")
    f.call("take", none)
    return none
