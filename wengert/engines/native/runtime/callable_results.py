"""The second half of a native callable's machine code: from a program's results to objects.

The functions here allocate what the entry writes into, wrap that into arrays, and put the
arrays into their tree. References that are owned meanwhile lie in one region of the scratch
memory (`owned`: the results, then the stack of the tree), so that on any error all of them are
given back by one loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native.runtime import python_api as api
from wengert.engines.native.runtime.callable_layout import (
    API,
    OUTPUT,
    SPECIALISATION,
    STEP,
    Allocation,
    Put,
)
from wengert.engines.native.runtime.callable_writer import Function

ir = lazy_module("llvmlite.ir")


def part(f: Function, specialisation: Any, scratch: Any, name: str) -> Any:
    """A part of the scratch memory."""
    return f.at(scratch, f.field(SPECIALISATION, specialisation, name))


def allocate(f: Function) -> None:
    """Make the objects for the results, and tell where their elements go."""
    process, specialisation, scratch = f.args
    owned = part(f, specialisation, scratch, "owned_at")
    places = part(f, specialisation, scratch, "outputs_at")
    outputs = f.link(SPECIALISATION, specialisation, "outputs")
    with f.each(f.field(SPECIALISATION, specialisation, "output_count")) as i:
        output = f.element(outputs, i, OUTPUT.size)
        type_ = f.link(OUTPUT, output, "type")
        object_place, place = f.element(owned, i), f.element(places, i)

        def scalar(output=output, type_=type_, object_place=object_place, place=place):
            made = f.through(OUTPUT, output, "alloc", f.pointer, type_, f.number(0))
            f.give_if(f.is_null(made), f.number(0, 1))
            f.store(made, object_place)
            f.store(f.at(made, api.NUMBER), place)

        def truth(object_place=object_place, place=place):
            f.store(f.number(0), object_place)  # the byte goes here, until it is an object
            f.store(object_place, place)

        def array(output=output, type_=type_, object_place=object_place, place=place):
            f.call("take", type_)  # the function below takes the reference over
            made = f.through(
                API, process, "new_array", f.pointer,
                f.link(API, process, "ndarray"), type_,
                f.builder.trunc(f.field(OUTPUT, output, "ndim"), f.i32),
                f.link(OUTPUT, output, "dimensions"),
                f.null, f.null, f.number(0, 32), f.null,
            )  # fmt: skip
            f.give_if(f.is_null(made), f.number(0, 1))
            f.store(made, object_place)
            f.store(f.load_pointer(made, api.ARRAY_DATA), place)

        cases = {Allocation.SCALAR: scalar, Allocation.TRUTH: truth, Allocation.ARRAY: array}
        f.choose(f.field(OUTPUT, output, "kind"), {int(k): v for k, v in cases.items()})
    f.give(f.number(1, 1))


def execute(f: Function) -> None:
    """Run the entry, with an arena; its status, or -1 where there is no memory for that."""
    specialisation, scratch = f.args
    constants = f.field(SPECIALISATION, specialisation, "constant_count")
    inputs = part(f, specialisation, scratch, "pointers_at")
    sources = f.link(SPECIALISATION, specialisation, "constants")
    with f.each(constants) as i:
        f.store(f.load(f.element(sources, i)), f.element(inputs, i))
    arena, block = f.variable(scratch), f.variable(f.null)
    size = f.field(SPECIALISATION, specialisation, "arena_bytes")
    with f.when(f.differ(size, f.number(0))):
        made = f.extern("memory.allocate", f.pointer, size)
        f.give_if(f.is_null(made), f.number(-1))
        f.store(made, block)
        f.store(made, arena)
    outputs = part(f, specialisation, scratch, "outputs_at")
    thread = f.variable(f.null)
    releases = f.field(SPECIALISATION, specialisation, "releases_lock")
    with f.when(f.differ(releases, f.number(0))):
        f.store(f.python("PyEval_SaveThread", f.pointer), thread)
    place = f.load_pointer(arena)
    status = f.through(SPECIALISATION, specialisation, "entry", f.i64, inputs, outputs, place)
    saved = f.load_pointer(thread)
    with f.when(f.differ(saved, f.null)):
        f.python("PyEval_RestoreThread", ir.VoidType(), saved)
    f.extern("memory.release", ir.VoidType(), f.load_pointer(block))
    f.give(status)


def wrap(f: Function) -> None:
    """Make arrays of the results (or leave them NumPy values, where `raw` says so)."""
    process, specialisation, scratch = f.args
    owned = part(f, specialisation, scratch, "owned_at")
    outputs = f.link(SPECIALISATION, specialisation, "outputs")
    raw = f.field(SPECIALISATION, specialisation, "raw")
    with f.each(f.field(SPECIALISATION, specialisation, "output_count")) as i:
        output = f.element(outputs, i, OUTPUT.size)
        place = f.element(owned, i)
        with f.when(f.equal(f.field(OUTPUT, output, "kind"), f.number(Allocation.TRUTH))):
            true = f.differ(f.load(place, 0, ir.IntType(8)), f.number(0, 8))
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


def tuple(f: Function) -> None:
    """A tuple that takes over an array of references; null if there is no memory."""
    items, count = f.args
    made = f.python("PyTuple_New", f.pointer, count)
    f.give_if(f.is_null(made), f.null)
    move(f, items, count, f.at(made, api.FIRST_ITEM))
    f.give(made)


def list(f: Function) -> None:
    """A list that takes over an array of references."""
    items, count = f.args
    made = f.python("PyList_New", f.pointer, count)
    f.give_if(f.is_null(made), f.null)
    move(f, items, count, f.load_pointer(made, api.FIRST_ITEM))
    f.give(made)


def dict(f: Function) -> None:
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
    arguments = f.call("tuple", items, count)
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

        def push(value: Any, place: Any) -> None:
            f.give_if(f.is_null(value), f.null)
            f.store(value, f.element(stack, place))
            f.store(f.builder.add(place, f.number(1)), top)

        def taken(count=count, height=height):
            place = f.element(owned, count)
            value = f.load_pointer(place)
            f.store(f.null, place)
            push(value, height)

        def none(height=height):
            f.call("take", f.link(API, process, "none"))
            push(f.link(API, process, "none"), height)

        def made(name: str, *args: Any, base=base) -> Callable[[], None]:
            return lambda: push(f.call(name, *args), base)

        cases = {
            Put.TAKE: taken,
            Put.NONE: none,
            Put.TUPLE: made("tuple", items, count),
            Put.LIST: made("list", items, count),
            Put.DICT: made("dict", items, detail, count),
            Put.APPLY: made("apply", items, detail, count),
        }
        f.choose(f.field(STEP, step, "kind"), {int(k): v for k, v in cases.items()})
    result = f.load_pointer(stack)
    f.store(f.null, stack)
    f.give(result)
