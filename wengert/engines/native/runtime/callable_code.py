"""The machine code of native callables: one function that serves every one of them.

`build_module` writes an LLVM module with the function `call`, of the type of CPython's
`vectorcallfunc`. It finds the specialisation that fits the arguments, allocates the results,
runs the program's entry, and returns the results as `Array`s in their tree. It interprets the
records of `callable_layout`, so it is compiled once, holds no addresses, and its object code
serves every process. Whatever it does not know it hands to the Python method `__call__`.

While arguments are checked no Python code can run: only exact types are accepted, and only
strings are compared. So what is borrowed from lists and dictionaries stays alive; before the
entry runs (it may call Python or release the interpreter lock) references are taken: to the
values of arrays, since an array may be deleted meanwhile.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.engines.native.runtime import callable_results as results
from wengert.engines.native.runtime import python_api as api
from wengert.engines.native.runtime.callable_layout import (
    API,
    DONOR,
    GUARD,
    LEAF,
    SPECIALISATION,
    STACK_BYTES,
    TABLE,
    Check,
    Scalar,
)
from wengert.engines.native.runtime.callable_results import part
from wengert.engines.native.runtime.callable_writer import WORD, Function

ir = lazy_module("llvmlite.ir")

#: Arguments of a call that falls back to Python: copied on the stack up to this number.
_FEW = 32


#: What the module calls in Python: names of symbols. It also calls `memory.allocate` and
#: `memory.release`.
PYTHON_SYMBOLS = tuple(
    f"python.{name}"
    for name in (
        "_Py_Dealloc Py_IncRef Py_DecRef PyUnicode_Compare PyLong_AsLongLongAndOverflow "
        "PyLong_FromLongLong PyDict_Size PyDict_Next PyDict_New PyDict_SetItem PyTuple_New "
        "PyList_New PyMem_RawMalloc PyMem_RawFree PyEval_SaveThread PyEval_RestoreThread "
        "PyErr_NoMemory PyErr_Occurred PyObject_CallObject PyObject_VectorcallMethod"
    ).split()
)


#: The functions of the module, in an order in which each comes after those it calls: what
#: writes it, its parameters (p: pointer, n: number), its result (t: truth).
def _parts() -> list[tuple[Callable[[Function], None], str, str]]:
    return [
        (_take, "p", ""),
        (_drop, "p", ""),
        (_drop_all, "pn", ""),
        (_same_string, "ppp", "t"),
        (_keywords, "ppp", "t"),
        (_numpy_data, "ppp", "p"),
        (_python_data, "pppp", "p"),
        (_leaf_data, "pppp", "p"),
        (_dictionary, "pppp", "t"),
        (_integer, "pnp", "t"),
        (_guard, "ppp", "t"),
        (_put_value, "ppp", ""),
        (_donate, "ppp", "t"),
        (_restore, "ppp", ""),
        (results.allocate, "ppp", "t"),
        (results.execute, "pp", "n"),
        (results.wrap, "ppp", "t"),
        (results.make_tuple, "pn", "p"),
        (results.make_list, "pn", "p"),
        (results.make_dict, "ppn", "p"),
        (results.apply, "ppn", "p"),
        (results.build, "ppp", "p"),
        (_fail, "ppppn", "p"),
        (_run, "pppp", "p"),
        (_attempt, "ppppp", "p"),
        (_fall_back, "pppnp", "p"),
        (_call, "ppnp", "p"),
    ]


def build_module() -> Any:
    """The LLVM module with the function `call`."""
    module = ir.Module("callable")
    for write, parameters, result in _parts():
        write(Function(module, write.__name__.lstrip("_"), parameters, result))
    module.globals["call"].linkage = "external"
    return module


# -- references --------------------------------------------------------------------------------


def _take(f: Function) -> None:
    """Take a reference. From 3.12 on some objects are immortal: their count stays."""
    (object_,) = f.args
    f.function.attributes.add("alwaysinline")
    if sys.version_info >= (3, 14):
        f.python("Py_IncRef", ir.VoidType(), object_)
    elif sys.version_info >= (3, 12):
        count = f.builder.add(f.load(object_, 0, f.i32), f.number(1, 32))
        with f.when(f.differ(count, f.number(0, 32))):
            f.store(count, object_)
    else:
        f.store(f.builder.add(f.load(object_), f.number(1)), object_)
    f.builder.ret_void()


def _drop(f: Function) -> None:
    """Give a reference back."""
    (object_,) = f.args
    f.function.attributes.add("alwaysinline")
    if sys.version_info >= (3, 14):
        f.python("Py_DecRef", ir.VoidType(), object_)
        f.builder.ret_void()
        return
    if sys.version_info >= (3, 12):
        low = f.load(object_, 0, f.i32)
        with f.when(f.builder.icmp_signed("<", low, f.number(0, 32))):
            f.builder.ret_void()
    count = f.builder.sub(f.load(object_), f.number(1))
    f.store(count, object_)
    with f.when(f.equal(count, f.number(0))):
        f.python("_Py_Dealloc", ir.VoidType(), object_)
    f.builder.ret_void()


def _drop_all(f: Function) -> None:
    """Give back what is held in an array of objects, some of them null."""
    objects, count = f.args
    with f.each(count) as i:
        object_ = f.load_pointer(f.element(objects, i))
        with f.when(f.differ(object_, f.null)):
            f.call("drop", object_)
    f.builder.ret_void()


# -- guards ------------------------------------------------------------------------------------


def _same_string(f: Function) -> None:
    """Whether a name is an exact string and equal to the expected one, which is."""
    process, name, expected = f.args
    true, false = f.number(1, 1), f.number(0, 1)
    f.give_if(f.equal(name, expected), true)
    type_ = f.load_pointer(name, api.TYPE)
    f.give_if(f.differ(type_, f.link(API, process, "string")), false)
    order = f.python("PyUnicode_Compare", f.i32, name, expected)
    f.give(f.equal(order, f.number(0, 32)))


def _keywords(f: Function) -> None:
    """Whether the names of keyword arguments (a tuple, or null) are the expected ones."""
    process, specialisation, names = f.args
    expected = f.field(SPECIALISATION, specialisation, "keyword_count")
    f.give_if(f.is_null(names), f.equal(expected, f.number(0)))
    count = f.load(names, api.SIZE)
    f.give_if(f.differ(count, expected), f.number(0, 1))
    keywords = f.link(SPECIALISATION, specialisation, "keywords")
    with f.each(count) as i:
        name = f.load_pointer(f.element(names, i), api.FIRST_ITEM)
        same = f.call("same_string", process, name, f.load_pointer(f.element(keywords, i)))
        f.give_if(f.builder.not_(same), f.number(0, 1))
    f.give(f.number(1, 1))


def _numpy_data(f: Function) -> None:
    """Where the elements of a NumPy value lie; null if it is not as the leaf says."""
    process, leaf, value = f.args
    type_ = f.load_pointer(value, api.TYPE)
    fits = f.equal(type_, f.link(LEAF, leaf, "scalar_type"))
    f.give_if(fits, f.at(value, api.NUMBER))
    f.give_if(f.differ(type_, f.link(API, process, "ndarray")), f.null)
    dtype = f.load_pointer(value, api.ARRAY_DTYPE)
    with f.when(f.differ(dtype, f.link(LEAF, leaf, "dtype"))):  # another object, perhaps equal
        number = f.builder.sext(f.load(dtype, api.DTYPE_NUMBER, f.i32), f.i64)
        f.give_if(f.differ(number, f.field(LEAF, leaf, "number")), f.null)
        order = f.load(dtype, api.DTYPE_BYTE_ORDER, ir.IntType(8))
        native = f.builder.or_(
            f.equal(order, f.number(ord("="), 8)), f.equal(order, f.number(ord("|"), 8))
        )
        f.give_if(f.builder.not_(native), f.null)
    ndim = f.builder.zext(f.load(value, api.ARRAY_NDIM, f.i32), f.i64)
    f.give_if(f.differ(ndim, f.field(LEAF, leaf, "ndim")), f.null)
    wanted = f.number(api.DENSE_AND_ALIGNED, 32)
    flags = f.builder.and_(f.load(value, api.ARRAY_FLAGS, f.i32), wanted)
    f.give_if(f.differ(flags, wanted), f.null)
    dimensions, expected = (
        f.load_pointer(value, api.ARRAY_DIMENSIONS),
        f.link(LEAF, leaf, "dimensions"),
    )
    with f.each(ndim) as i:
        differ = f.differ(f.load(f.element(dimensions, i)), f.load(f.element(expected, i)))
        f.give_if(differ, f.null)
    f.give(f.load_pointer(value, api.ARRAY_DATA))


def _python_data(f: Function) -> None:
    """Convert a Python scalar into `slot`, and return that; null if it does not fit."""
    process, leaf, object_, slot = f.args
    single, double = ir.FloatType(), ir.DoubleType()

    def rounded(offset: int, infinite: bool) -> Any:
        value = f.load(object_, offset, double)
        largest = ir.Constant(double, float(np.finfo(np.float32).max))
        magnitude = f.builder.call(_absolute(f.module), [value])
        fits = f.builder.fcmp_unordered("<=", magnitude, largest)  # or not a number
        if infinite:
            infinity = ir.Constant(double, float("inf"))
            fits = f.builder.or_(fits, f.builder.fcmp_ordered("==", magnitude, infinity))
        f.give_if(f.builder.not_(fits), f.null)
        return f.builder.fptrunc(value, single)

    def from_float() -> None:
        f.store(rounded(api.NUMBER, True), slot)

    def from_complex() -> None:
        f.store(rounded(api.NUMBER, False), slot)
        f.store(rounded(api.NUMBER + WORD, False), slot, 4)

    def from_integer() -> None:
        overflow = f.variable(f.number(0, 32))
        value = f.python("PyLong_AsLongLongAndOverflow", f.i64, object_, overflow)
        short = f.builder.trunc(value, f.i32)
        f.give_if(f.differ(f.builder.sext(short, f.i64), value), f.null)
        beyond = f.differ(f.builder.load(overflow, typ=f.i32), f.number(0, 32))
        f.give_if(beyond, f.null)
        f.store(short, slot)

    def from_bool() -> None:
        true = f.equal(object_, f.link(API, process, "true"))
        f.store(f.builder.zext(true, ir.IntType(8)), slot)

    cases: dict[int, Callable[[], None]] = {
        Scalar.FLOAT: from_float,
        Scalar.INTEGER: from_integer,
        Scalar.BOOL: from_bool,
        Scalar.COMPLEX: from_complex,
    }
    f.choose(f.field(LEAF, leaf, "python_kind"), cases)
    f.give(slot)


def _absolute(module: Any) -> Any:
    double = ir.DoubleType()
    known = module.globals.get("llvm.fabs.f64")
    return known or ir.Function(module, ir.FunctionType(double, [double]), "llvm.fabs.f64")


def _leaf_data(f: Function) -> None:
    """Where the elements of an argument lie; null if it is not as the leaf says."""
    process, leaf, object_, slot = f.args
    type_ = f.load_pointer(object_, api.TYPE)
    weak = f.link(LEAF, leaf, "weak")
    with f.when(f.equal(type_, f.link(API, process, "array"))):
        value = f.load_pointer(object_, f.field(API, process, "value_at"))
        f.give_if(f.is_null(value), f.null)
        flag = f.load_pointer(object_, f.field(API, process, "weak_at"))
        other = f.builder.and_(f.differ(flag, weak), f.differ(weak, f.null))
        f.give_if(other, f.null)
        f.give(f.call("numpy_data", process, leaf, value))
    with f.when(f.equal(type_, f.link(LEAF, leaf, "python_type"))):
        f.give(f.call("python_data", process, leaf, object_, slot))
    f.give_if(f.equal(weak, f.link(API, process, "true")), f.null)  # NumPy values are strong
    f.give(f.call("numpy_data", process, leaf, object_))


def _owner(f: Function, process: Any, object_: Any) -> Any:
    """What the elements of a leaf belong to: the value of an array, or the leaf itself."""
    place = f.variable(object_)
    with f.when(f.equal(f.load_pointer(object_, api.TYPE), f.link(API, process, "array"))):
        value_at = f.field(API, process, "value_at")
        f.store(f.load_pointer(object_, value_at), place)
    return f.load_pointer(place)


def _dictionary(f: Function) -> None:
    """Whether a dictionary has exactly the expected keys in their order; stores its values."""
    process, guard, dictionary, values = f.args
    count = f.field(GUARD, guard, "count")
    size = f.python("PyDict_Size", f.i64, dictionary)
    f.give_if(f.differ(size, count), f.number(0, 1))
    keys = f.link(GUARD, guard, "detail")
    position = f.variable(f.number(0))
    key, value = f.variable(f.null), f.variable(f.null)
    with f.each(count) as i:
        f.python("PyDict_Next", f.i32, dictionary, position, key, value)
        expected = f.load_pointer(f.element(keys, i))
        same = f.call("same_string", process, f.load_pointer(key), expected)
        f.give_if(f.builder.not_(same), f.number(0, 1))
        f.store(f.load_pointer(value), f.element(values, i))
    f.give(f.number(1, 1))


def _integer(f: Function) -> None:
    """Whether an object is an exact integer, and the expected one."""
    object_, expected, type_ = f.args
    f.give_if(f.differ(f.load_pointer(object_, api.TYPE), type_), f.number(0, 1))
    overflow = f.variable(f.number(0, 32))
    value = f.python("PyLong_AsLongLongAndOverflow", f.i64, object_, overflow)
    within = f.equal(f.builder.load(overflow, typ=f.i32), f.number(0, 32))
    f.give(f.builder.and_(f.equal(value, expected), within))


def _guard(f: Function) -> None:
    """Whether the arguments fit; collects addresses of data, and the objects that own it."""
    process, specialisation, scratch = f.args
    vectors, values, scalars, inputs, leaves, held = (
        part(f, specialisation, scratch, f"{name}_at")
        for name in ("vectors", "values", "scalars", "inputs", "leaves", "held")
    )
    guards = f.link(SPECIALISATION, specialisation, "guards")
    with f.each(f.field(SPECIALISATION, specialisation, "guard_count")) as i:
        guard = f.element(guards, i, GUARD.size)
        vector = f.load_pointer(f.element(vectors, f.field(GUARD, guard, "source")))
        object_ = f.load_pointer(f.element(vector, f.field(GUARD, guard, "index")))
        detail = f.link(GUARD, guard, "detail")
        target = f.field(GUARD, guard, "target")
        count = f.field(GUARD, guard, "count")

        def require(condition: Any) -> None:
            f.give_if(f.builder.not_(condition), f.number(0, 1))

        def leaf(object_: Any, detail: Any, target: Any) -> None:
            slot = f.element(scalars, target, 16)
            data = f.call("leaf_data", process, detail, object_, slot)
            require(f.differ(data, f.null))
            f.store(data, f.element(inputs, target))
            f.store(object_, f.element(leaves, target))
            f.store(_owner(f, process, object_), f.element(held, target))

        def sequence(object_: Any, expected: Any, read: Any, place: Any) -> None:
            require(f.equal(f.load_pointer(object_, api.TYPE), expected))
            require(f.equal(f.load(object_, api.SIZE), count))
            f.store(read(object_, api.FIRST_ITEM), place)

        def dictionary(object_: Any, guard: Any, target: Any) -> None:
            type_ = f.load_pointer(object_, api.TYPE)
            require(f.equal(type_, f.link(API, process, "dict")))
            found = f.element(values, f.field(GUARD, guard, "values"))
            require(f.call("dictionary", process, guard, object_, found))
            f.store(found, f.element(vectors, target))

        list_type = f.link(API, process, "list")
        place = f.element(vectors, target)
        cases: dict[int, Callable[[], None]] = {
            Check.LEAF: functools.partial(leaf, object_, detail, target),
            Check.TUPLE: functools.partial(sequence, object_, detail, f.at, place),
            Check.LIST: functools.partial(sequence, object_, list_type, f.load_pointer, place),
            Check.DICT: functools.partial(dictionary, object_, guard, target),
            Check.SAME: lambda: require(f.equal(object_, detail)),
            Check.INTEGER: lambda: require(f.call("integer", object_, count, detail)),
            Check.STRING: lambda: require(f.call("same_string", process, object_, detail)),
        }
        f.choose(f.field(GUARD, guard, "kind"), cases)
    f.give(f.number(1, 1))


# -- donated arguments -------------------------------------------------------------------------


def _put_value(f: Function) -> None:
    """Let an array hold another value."""
    process, array, value = f.args
    place = f.at(array, f.field(API, process, "value_at"))
    before = f.load_pointer(place)
    f.call("take", value)
    f.store(value, place)
    f.call("drop", before)
    f.builder.ret_void()


@contextmanager
def _each_donor(f: Function, specialisation: Any, scratch: Any) -> Iterator[Any]:
    """The block runs for each donated leaf: its record, the leaf, what holds its elements."""
    leaves, held = (part(f, specialisation, scratch, name) for name in ("leaves_at", "held_at"))
    donors = f.link(SPECIALISATION, specialisation, "donors")
    with f.each(f.field(SPECIALISATION, specialisation, "donor_count")) as i:
        donor = f.element(donors, i, DONOR.size)
        at = f.field(DONOR, donor, "input")
        leaf, value = f.load_pointer(f.element(leaves, at)), f.load_pointer(f.element(held, at))
        yield donor, leaf, value


def _donate(f: Function) -> None:
    """Delete donated arrays; or no, where memory to be overwritten has other owners.

    An array that is held here, and by one `Array`, has two references.
    """
    process, specialisation, scratch = f.args
    array = f.link(API, process, "array")
    wanted = f.number(api.OWNED_AND_WRITABLE, 32)
    with (
        _each_donor(f, specialisation, scratch) as (donor, leaf, value),
        f.when(f.differ(f.field(DONOR, donor, "over"), f.number(0))),
    ):
        f.give_if(f.differ(f.load_pointer(leaf, api.TYPE), array), f.number(0, 1))
        count = f.load(value, api.REFERENCES, f.i32)
        f.give_if(f.differ(count, f.number(2, 32)), f.number(0, 1))
        flags = f.builder.and_(f.load(value, api.ARRAY_FLAGS, f.i32), wanted)
        f.give_if(f.differ(flags, wanted), f.number(0, 1))
    with _each_donor(f, specialisation, scratch) as (donor, leaf, _):
        f.call("take", leaf)
        with f.when(f.equal(f.load_pointer(leaf, api.TYPE), array)):
            f.call("put_value", process, leaf, f.link(DONOR, donor, "deleted"))
    f.give(f.number(1, 1))


def _restore(f: Function) -> None:
    """Give donated arrays their values back: the program ended before it changed them."""
    process, specialisation, scratch = f.args
    array = f.link(API, process, "array")
    with (
        _each_donor(f, specialisation, scratch) as (_, leaf, value),
        f.when(f.equal(f.load_pointer(leaf, api.TYPE), array)),
    ):
        f.call("put_value", process, leaf, value)
    f.builder.ret_void()


# -- calls -------------------------------------------------------------------------------------


def _fail(f: Function) -> None:
    """What the Python method for failures returns, or null for what it raises.

    It is given the specialisation, the status, and the arguments' leaves.
    """
    process, specialisation, instance, scratch, status = f.args
    count = f.field(SPECIALISATION, specialisation, "input_count")
    held = part(f, specialisation, scratch, "held_at")
    values = f.python("PyTuple_New", f.pointer, count)
    f.give_if(f.is_null(values), f.null)
    with f.each(count) as i:
        value = f.load_pointer(f.element(held, i))
        f.call("take", value)
        f.store(value, f.element(values, i), api.FIRST_ITEM)
    number = f.python("PyLong_FromLongLong", f.pointer, status)
    with f.when(f.is_null(number)):
        f.call("drop", values)
        f.give(f.null)
    arguments = f.local(4 * WORD)
    subject = f.link(SPECIALISATION, specialisation, "subject")
    for place, value in enumerate((instance, subject, number, values)):
        f.store(value, arguments, place * WORD)
    name = f.link(API, process, "failed_name")
    result = f.python(
        "PyObject_VectorcallMethod", f.pointer, name, arguments, f.number(4), f.null
    )
    f.call("drop", number)
    f.call("drop", values)
    f.give(result)


def _run(f: Function) -> None:
    """The result of a specialisation whose guards hold; null with an exception set."""
    process, specialisation, instance, scratch = f.args
    owned = part(f, specialisation, scratch, "owned_at")
    count = f.field(SPECIALISATION, specialisation, "owned_count")
    with f.each(count) as i:
        f.store(f.null, f.element(owned, i))

    def unless(done: Any) -> Any:
        return f.when(f.builder.not_(done))

    with unless(f.call("allocate", process, specialisation, scratch)):
        f.call("restore", process, specialisation, scratch)
        f.call("drop_all", owned, count)
        f.give(f.null)
    status = f.call("execute", specialisation, scratch)
    with f.when(f.differ(status, f.number(0))):
        f.call("restore", process, specialisation, scratch)
        f.call("drop_all", owned, count)
        # A signal handler may have raised an exception while the entry looked for interrupts.
        f.give_if(f.differ(f.python("PyErr_Occurred", f.pointer), f.null), f.null)
        f.give(f.call("fail", process, specialisation, instance, scratch, status))
    with unless(f.call("wrap", process, specialisation, scratch)):
        f.call("drop_all", owned, count)
        f.give(f.null)
    result = f.call("build", process, specialisation, scratch)
    with f.when(f.is_null(result)):
        f.call("drop_all", owned, count)
    f.give(result)


def _attempt(f: Function) -> None:
    """The result of a specialisation for these arguments, `miss` if it is not for them."""
    process, table, specialisation, instance, arguments = f.args
    scratch, block = f.variable(f.local(STACK_BYTES, 64)), f.variable(f.null)
    size = f.field(SPECIALISATION, specialisation, "scratch_bytes")
    with f.when(f.builder.icmp_unsigned(">", size, f.number(STACK_BYTES))):
        made = f.python("PyMem_RawMalloc", f.pointer, size)
        with f.when(f.is_null(made)):
            f.give(f.python("PyErr_NoMemory", f.pointer))
        f.store(made, scratch)
        f.store(made, block)
    memory, heap = f.load_pointer(scratch), f.load_pointer(block)
    f.store(arguments, part(f, specialisation, memory, "vectors_at"))
    fits = f.call("guard", process, specialisation, memory)
    with f.when(f.builder.not_(fits)):
        f.python("PyMem_RawFree", ir.VoidType(), heap)
        f.give(f.miss)
    owner = f.link(TABLE, table, "owner")
    f.call("take", owner)
    held = part(f, specialisation, memory, "held_at")
    count = f.field(SPECIALISATION, specialisation, "input_count")
    with f.each(count) as i:
        f.call("take", f.load_pointer(f.element(held, i)))
    result = f.variable(f.miss)
    with f.when(f.call("donate", process, specialisation, memory)):
        hits = f.builder.add(f.field(SPECIALISATION, specialisation, "hits"), f.number(1))
        f.store(hits, specialisation, SPECIALISATION.offset("hits"))
        f.store(f.call("run", process, specialisation, instance, memory), result)
        with _each_donor(f, specialisation, memory) as (_, leaf, _):
            f.call("drop", leaf)
    with f.each(count) as i:
        f.call("drop", f.load_pointer(f.element(held, i)))
    f.call("drop", owner)
    f.python("PyMem_RawFree", ir.VoidType(), heap)
    f.give(f.load_pointer(result))


def _fall_back(f: Function) -> None:
    """Call the Python method with the same arguments, the instance in front."""
    process, instance, arguments, positional, names = f.args
    total = f.variable(positional)
    with f.when(f.differ(names, f.null)):
        f.store(f.builder.add(positional, f.load(names, api.SIZE)), total)
    count = f.builder.load(total, typ=f.i64)
    copy, block = f.variable(f.local((_FEW + 1) * WORD)), f.variable(f.null)
    with f.when(f.builder.icmp_unsigned(">", count, f.number(_FEW))):
        room = f.builder.mul(f.builder.add(count, f.number(1)), f.number(WORD))
        made = f.python("PyMem_RawMalloc", f.pointer, room)
        with f.when(f.is_null(made)):
            f.give(f.python("PyErr_NoMemory", f.pointer))
        f.store(made, copy)
        f.store(made, block)
    target = f.load_pointer(copy)
    f.store(instance, target)
    with f.each(count) as i:
        f.store(f.load_pointer(f.element(arguments, i)), f.at(f.element(target, i), WORD))
    result = f.python(
        "PyObject_VectorcallMethod", f.pointer, f.link(API, process, "call_name"), target,
        f.builder.add(positional, f.number(1)), names,
    )  # fmt: skip
    f.python("PyMem_RawFree", ir.VoidType(), f.load_pointer(block))
    f.give(result)


def _call(f: Function) -> None:
    """The `vectorcallfunc`: (instance, arguments, their number with a flag, names)."""
    instance, arguments, flagged, names = f.args
    positional = f.builder.and_(flagged, f.number((1 << 63) - 1))
    table = f.load_pointer(instance, api.TABLE_POINTER)
    process = f.link(TABLE, table, "api")
    specialisation = f.variable(f.link(TABLE, table, "first"))
    gate = f.load(f.link(API, process, "gate"))
    with f.when(f.differ(gate, f.number(0))):
        f.store(f.null, specialisation)
    builder = f.builder
    head, body = builder.append_basic_block("next"), builder.append_basic_block("body")
    after = builder.append_basic_block("none")
    builder.branch(head)
    builder.position_at_end(head)
    current = f.load_pointer(specialisation)
    builder.cbranch(f.is_null(current), after, body)
    builder.position_at_end(body)
    f.store(f.link(SPECIALISATION, current, "next"), specialisation)
    expected = f.field(SPECIALISATION, current, "positional")
    with (
        f.when(f.equal(positional, expected)),
        f.when(f.call("keywords", process, current, names)),
    ):
        result = f.call("attempt", process, table, current, instance, arguments)
        f.give_if(f.differ(result, f.miss), result)
    builder.branch(head)
    builder.position_at_end(after)
    f.give(f.call("fall_back", process, instance, arguments, positional, names))
