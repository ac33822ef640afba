"""Writing the runtime's own routines: functions on words in memory, in LLVM.

The allocator, the worker pool and the interrupt check are small programs over machine words and
atomic operations. `Routine` is an LLVM builder with what they need: loops, early returns,
calls by name, and the word `pause` for waiting. `build` turns a module of such routines into
addresses; it asks the cache on disk first. Code of the runtime stays in memory for the life
of the process, since worker threads and array finalisers may run it until the very end.
Its variables exist once, however many threads ask for them first (`once`).
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from wengert.core.lazy import lazy_module
from wengert.engines.native import cache, machine

ir = lazy_module("llvmlite.ir")

T = TypeVar("T")


class Routine:
    """A function being written.

    Attributes:
      builder: LLVM's instruction builder.
      args: the arguments.
      function: the LLVM function.
    """

    def __init__(
        self, module: Any, name: str, result: Any, params: Iterable[Any], internal: bool = False
    ) -> None:
        function = ir.Function(module, ir.FunctionType(result, list(params)), name)
        if internal:
            function.linkage = "internal"
        self.module = module
        self.function = function
        self.args = function.args
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))

    # -- values and memory ---------------------------------------------------------------------

    @property
    def word(self) -> Any:
        """The type of sizes, counts and flags."""
        return ir.IntType(64)

    @property
    def pointer(self) -> Any:
        """The (opaque) type of addresses."""
        return ir.PointerType()

    @property
    def null(self) -> Any:
        """The address that is none."""
        return ir.Constant(self.pointer, None)

    def number(self, value: int, bits: int = 64) -> Any:
        """A constant integer."""
        return ir.Constant(ir.IntType(bits), value)

    def at(self, pointer: Any, offset: Any) -> Any:
        """The address so many bytes further."""
        if isinstance(offset, int):
            if offset == 0:
                return pointer
            offset = self.number(offset)
        return self.builder.gep(pointer, [offset], source_etype=ir.IntType(8))

    def load(self, pointer: Any, offset: Any = 0, type: Any = None) -> Any:
        """What lies there: a word, if no type is said."""
        return self.builder.load(self.at(pointer, offset), typ=type or self.word)

    def store(self, value: Any, pointer: Any, offset: Any = 0) -> None:
        """Put a value (or a constant word) there."""
        if isinstance(value, int):
            value = self.number(value)
        self.builder.store(value, self.at(pointer, offset))

    def add_to(self, pointer: Any, value: Any) -> None:
        """Add to the word there; no other thread may do so at the same time."""
        if isinstance(value, int):
            value = self.number(value)
        self.store(self.builder.add(self.load(pointer), value), pointer)

    def variable(self, value: Any) -> Any:
        """Memory for a value that changes, on the stack."""
        with self.builder.goto_entry_block():
            slot = self.builder.alloca(value.type)
        slot.type = self.pointer  # opaque
        self.builder.store(value, slot)
        return slot

    def acquire(self, pointer: Any, bits: int = 64) -> Any:
        """What lies there, as other threads wrote it, in one order for all threads."""
        return self.builder.load_atomic(pointer, "seq_cst", bits // 8, typ=ir.IntType(bits))

    def release(self, value: Any, pointer: Any, bits: int = 64) -> None:
        """Put a value there, for other threads to see after all that was written before."""
        if isinstance(value, int):
            value = self.number(value, bits)
        self.builder.atomic_rmw("xchg", pointer, value, "seq_cst")

    def fetch_add(self, pointer: Any, value: int, bits: int = 64) -> Any:
        """Add to what lies there, at once for all threads; the value before."""
        return self.builder.atomic_rmw("add", pointer, self.number(value, bits), "seq_cst")

    def exchange(self, pointer: Any, before: int, after: int, bits: int = 64) -> Any:
        """Put `after` there if `before` is there, at once for all threads; whether it was."""
        expected, wanted = self.number(before, bits), self.number(after, bits)
        both = self.builder.cmpxchg(pointer, expected, wanted, "seq_cst", "seq_cst")
        return self.builder.extract_value(both, 1)

    # -- comparisons ---------------------------------------------------------------------------

    def compare(self, how: str, left: Any, right: Any) -> Any:
        """An `i1`; integers are compared without sign, and a right `int` is a constant."""
        if isinstance(right, int):
            right = ir.Constant(left.type, right)
        return self.builder.icmp_unsigned(how, left, right)

    def is_null(self, pointer: Any) -> Any:
        """Whether an address is none."""
        return self.builder.icmp_unsigned("==", pointer, self.null)

    def is_not_null(self, pointer: Any) -> Any:
        """Whether an address is one."""
        return self.builder.icmp_unsigned("!=", pointer, self.null)

    # -- control -------------------------------------------------------------------------------

    @contextmanager
    def loop(self) -> Iterator[Any]:
        """The block runs again and again. Yields its end, for `leave_if`."""
        body = self.builder.append_basic_block("body")
        end = self.builder.append_basic_block("end")
        self.builder.branch(body)
        self.builder.position_at_end(body)
        yield end
        if not self.builder.block.is_terminated:
            self.builder.branch(body)
        self.builder.position_at_end(end)

    def leave_if(self, condition: Any, end: Any) -> None:
        """Go to the end of a loop if a condition holds."""
        further = self.builder.append_basic_block("further")
        self.builder.cbranch(condition, end, further)
        self.builder.position_at_end(further)

    def return_if(self, condition: Any, value: Any = None) -> None:
        """Return from the routine if a condition holds."""
        with self.builder.if_then(condition):
            self.give(value)

    def give(self, value: Any = None) -> None:
        """Return from the routine."""
        if value is None:
            self.builder.ret_void()
        else:
            self.builder.ret(self.number(value) if isinstance(value, int) else value)

    def call(self, name: str, result: Any, *args: Any, variadic: int | None = None) -> Any:
        """Call a function by its name.

        Args:
          name: of a routine of this module, or a symbol of `build`.
          result: the type of what it returns.
          args: LLVM values; an `int` stands for a word.
          variadic: how many of the arguments are named, if the C function takes more.
        """
        values = [self.number(each) if isinstance(each, int) else each for each in args]
        function = self.module.globals.get(name)
        if function is None:
            types = [value.type for value in values[:variadic]]
            type_ = ir.FunctionType(result, types, var_arg=variadic is not None)
            function = ir.Function(self.module, type_, name)
        return self.builder.call(function, values)

    def clock(self, which: int) -> Any:
        """Nanoseconds on the system's clock of this number (`clock_gettime`)."""
        moment = self.variable(ir.Constant(ir.ArrayType(self.word, 2), None))
        self.call("clock_gettime", ir.IntType(32), self.number(which, 32), moment)
        seconds = self.builder.mul(self.load(moment), self.number(1_000_000_000))
        return self.builder.add(seconds, self.load(moment, 8))

    def pause(self) -> None:
        """Tell the processor that this thread waits for another."""
        if machine.is_arm(machine.Target.host().triple):
            self.call("llvm.aarch64.hint", ir.VoidType(), self.number(1, 32))
        else:
            self.call("llvm.x86.sse2.pause", ir.VoidType())


def shared(module: Any, name: str, type: Any, align: int = 64) -> Any:
    """A variable of the module, zero at first, on a cache line of its own."""
    variable = ir.GlobalVariable(module, type, name)
    variable.linkage = "internal"
    variable.initializer = ir.Constant(type, None)
    variable.align = align
    variable.type = ir.PointerType()  # opaque
    return variable


def build(
    name: str,
    write: Callable[[Any], None],
    symbols: Mapping[str, int],
    exports: Iterable[str],
) -> machine.LoadedCode:
    """The routines that `write` writes into a module, in memory for good.

    Args:
      name: of the module.
      write: adds the routines to an empty LLVM module.
      symbols: addresses of what they call.
      exports: names of the routines that are called from outside.
    """
    target = machine.Target.host()
    key = cache.key("runtime", name, target)  # which stands for the sources of `write` too
    code = cache.lookup(key)
    if code is None:
        module = ir.Module(name)
        write(module)
        code = machine.optimise_and_emit(module, target, level=0)
        cache.store(key, code)
    loaded = machine.load(code, symbols, exports)
    loaded.keep_for_ever()
    return loaded


class _Making:
    """The lock of all functions that run once."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def after_fork(self) -> None:
        """A thread that held it does not exist in a child process."""
        self.lock = threading.RLock()


_making = _Making()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_making.after_fork)


def once(make: Callable[[], T]) -> Callable[[], T]:
    """What `make` returned when it was called first.

    Other than with `functools.cache`, threads that call it meanwhile wait for that.

    >>> made = once(list)
    >>> made() is made()
    True
    """
    made = functools.cache(make)

    @functools.wraps(make)
    def get() -> T:
        with _making.lock:
            return made()

    return get
