"""Entries written in LLVM by hand, and callables that they answer: for tests of calls alone."""

from __future__ import annotations

import collections
import gc
import sys
import tracemalloc

import numpy as np

from wengert.core import tree
from wengert.core.array import ArrayType, as_array
from wengert.engines.native import machine
from wengert.engines.native.runtime import callable as native
from wengert.engines.native.runtime.callable_encode import Specialisation

F32 = ArrayType((), np.float32)
WEAK = ArrayType((), np.float32, True)
Pair = collections.namedtuple("Pair", "first second")


def load(body):
    """The address of an entry with this body, and what keeps it."""
    text = f"""
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
    define i64 @entry(ptr %in, ptr %out, ptr %arena) {{
    {body}
    }}"""
    code = machine.load(machine.optimise_and_emit(text, machine.Target.host(), 1))
    return code.address("entry"), code


def item(name, array, index, kind="ptr"):
    return (
        f"%{name}.at = getelementptr {kind}, ptr {array}, i64 {index}\n"
        f"%{name} = load {kind}, ptr %{name}.at\n"
    )


def copying(types, start=0):
    """An entry that copies each input to the output of the same number."""
    lines = []
    for i, t in enumerate(types):
        lines.append(item(f"from{i}", "%in", i + start) + item(f"to{i}", "%out", i))
        size = t.size * t.dtype.itemsize
        lines.append(
            f"call void @llvm.memcpy.p0.p0.i64(ptr %to{i}, ptr %from{i}, i64 {size}, i1 0)"
        )
    return load("\n".join([*lines, "ret i64 0"]))


SUM = (
    item("a", "%in", 0)
    + item("b", "%in", 1)
    + item("o", "%out", 0)
    + "%x = load float, ptr %a\n%y = load float, ptr %b\n%z = fadd float %x, %y\n"
    + "store float %z, ptr %o\nret i64 0"
)


class Recorder(native.NativeCallable, native=True):
    """Notes the calls that come to Python."""

    def __init__(self):
        self.slow = []

    def __call__(self, *args, **kwargs):
        self.slow.append((args, kwargs))
        return "slow"


def specialised(code, args, kwargs=None, outs=None, out=0.0, cls=Recorder, **options):
    """An instance that answers calls like this one; results are those of the inputs' types."""
    kwargs = kwargs or {}
    entry, keep = code
    f = cls()
    add(f, entry, keep, args, kwargs, outs, out, **options)
    return f


def add(f, entry, keep, args, kwargs, outs=None, out=0.0, static=frozenset(), **options):
    dynamic = tuple(None if i in static else a for i, a in enumerate(args))
    named = {k: v for k, v in kwargs.items() if k not in static}
    leaves, in_tree = tree.flatten((dynamic, named))
    in_types = [as_array(x).type for x in leaves]
    outs = in_types if outs is None else outs
    out_tree = tree.structure(out)
    done = f.add_specialisation(
        Specialisation(
            entry=entry, arguments=(args, kwargs), in_tree=in_tree, in_types=in_types,
            out_types=outs, out_tree=out_tree, static=frozenset(static), keep=keep, **options,
        )
    )  # fmt: skip
    native.wait_for_machine_code()
    return done


def identity(x):
    return specialised(copying([as_array(x).type]), (x,))


def sample(dtype, shape):
    count = int(np.prod(shape))
    values = (np.arange(count) % 2 + 1).astype(dtype).reshape(shape)
    return values if shape else values[()]


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def raises(error, f, *args):
    try:
        f(*args)
    except error:
        return
    raise AssertionError("no error")


def blocks_lost(run, times=20000):
    """Whether blocks stay allocated after many runs, each time that is tried."""
    run()

    def grown():
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(times):
            run()
        gc.collect()
        return sys.getallocatedblocks() - before > times // 100

    return all(grown() for _ in range(3))  # caches elsewhere may grow once


def bytes_lost(run, times=3000):
    run()
    tracemalloc.start()
    for _ in range(100):
        run()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(times):
        run()
    gc.collect()
    lost = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return lost > 8 * times
