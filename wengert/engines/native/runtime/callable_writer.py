"""What the machine code of native callables is written with: words, pointers, early returns.

A `Function` wraps an LLVM builder with the few things such code does: read fields of records
and of C structures, compare, loop, leave early, call Python's C interface. There are two types
of value, 64-bit numbers and pointers; anything narrower is said where it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native.runtime.callable_layout import Record

ir = lazy_module("llvmlite.ir")

WORD = 8


class Function:
    """A function being written: words in memory, calls, loops, early returns.

    Values are 64-bit integers or pointers; `MISS` is the pointer that says "not this one".
    """

    def __init__(self, module: Any, name: str, parameters: str, result: str) -> None:
        self.pointer, self.i64, self.i32 = ir.PointerType(), ir.IntType(64), ir.IntType(32)
        types = {"p": self.pointer, "n": self.i64, "t": ir.IntType(1), "": ir.VoidType()}
        type_ = ir.FunctionType(types[result], [types[letter] for letter in parameters])
        self.function = ir.Function(module, type_, name)
        self.function.linkage = "internal"
        self.args = self.function.args
        self.builder = ir.IRBuilder(self.function.append_basic_block("start"))
        self.module = module
        self.null = ir.Constant(self.pointer, None)

    # -- values --------------------------------------------------------------------------------

    def number(self, value: int, width: int = 64) -> Any:
        """A constant."""
        return ir.Constant(ir.IntType(width), value)

    def at(self, pointer: Any, offset: Any) -> Any:
        """The pointer so many bytes further (an int or a value)."""
        if isinstance(offset, int):
            if offset == 0:
                return pointer
            offset = self.number(offset)
        return self.builder.gep(pointer, [offset], inbounds=True, source_etype=ir.IntType(8))

    def element(self, pointer: Any, index: Any, size: int = WORD) -> Any:
        """Where element `index` of an array lies."""
        return self.at(pointer, self.builder.mul(index, self.number(size)))

    def load(self, pointer: Any, offset: Any = 0, type_: Any = None) -> Any:
        """The word (or a value of another type) at `pointer + offset`."""
        return self.builder.load(self.at(pointer, offset), typ=type_ or self.i64)

    def load_pointer(self, pointer: Any, offset: Any = 0) -> Any:
        """The pointer at `pointer + offset`."""
        return self.load(pointer, offset, self.pointer)

    def field(self, record: Record, pointer: Any, name: str) -> Any:
        """A field of a record, as a number."""
        return self.load(pointer, record.offset(name))

    def link(self, record: Record, pointer: Any, name: str) -> Any:
        """A field of a record, as a pointer."""
        return self.load_pointer(pointer, record.offset(name))

    def store(self, value: Any, pointer: Any, offset: Any = 0) -> None:
        """Write a value to `pointer + offset`."""
        self.builder.store(value, self.at(pointer, offset))

    def variable(self, value: Any) -> Any:
        """A pointer to a variable with this initial value."""
        with self.builder.goto_entry_block():
            slot = self.builder.alloca(value.type)
        self.builder.store(value, slot)
        return slot

    def local(self, nbytes: int, align: int = 16) -> Any:
        """A pointer to so many bytes on the stack."""
        slot = self.builder.alloca(ir.ArrayType(ir.IntType(8), nbytes))
        slot.align = align
        slot.type = self.pointer  # opaque, like all pointers here
        return slot

    def equal(self, x: Any, y: Any) -> Any:
        """x == y, of pointers or numbers."""
        return self.builder.icmp_unsigned("==", x, y)

    def differ(self, x: Any, y: Any) -> Any:
        """x != y, of pointers or numbers."""
        return self.builder.icmp_unsigned("!=", x, y)

    def is_null(self, pointer: Any) -> Any:
        """Whether a pointer is null."""
        return self.equal(pointer, self.null)

    @property
    def miss(self) -> Any:
        """The pointer that says: these arguments are not for this specialisation."""
        return ir.Constant(self.i64, 1).inttoptr(self.pointer)

    # -- control -------------------------------------------------------------------------------

    def when(self, condition: Any) -> Any:
        """The block runs where an `i1` holds."""
        return self.builder.if_then(condition)

    def give(self, value: Any) -> None:
        """Return a value."""
        self.builder.ret(value)

    def give_if(self, condition: Any, value: Any) -> None:
        """Return a value where a condition holds."""
        with self.builder.if_then(condition):
            self.builder.ret(value)

    @contextmanager
    def each(self, count: Any) -> Iterator[Any]:
        """The block runs for 0 <= i < count."""
        builder = self.builder
        index = self.variable(self.number(0))
        head = builder.append_basic_block("loop")
        body = builder.append_basic_block("body")
        after = builder.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.load(index, typ=self.i64)
        builder.cbranch(builder.icmp_unsigned("<", i, count), body, after)
        builder.position_at_end(body)
        yield i
        builder.store(builder.add(i, self.number(1)), index)
        builder.branch(head)
        builder.position_at_end(after)

    def choose(self, value: Any, cases: dict[int, Callable[[], None]]) -> None:
        """Run the case of a number; none of them for any other number."""
        builder = self.builder
        after = builder.append_basic_block("end")
        switch = builder.switch(value, after)
        for number, write in cases.items():
            block = builder.append_basic_block("case")
            switch.add_case(self.number(number), block)
            builder.position_at_end(block)
            write()
            if not builder.block.is_terminated:
                builder.branch(after)
        builder.position_at_end(after)

    # -- calls ---------------------------------------------------------------------------------

    def python(self, name: str, result: Any, *args: Any) -> Any:
        """Call a function of Python's C interface."""
        return self.extern(f"python.{name}", result, *args)

    def extern(self, symbol: str, result: Any, *args: Any) -> Any:
        """Call a function outside by its symbol, `family.name`."""
        function = self.module.globals.get(symbol)
        if function is None:
            type_ = ir.FunctionType(result, [a.type for a in args])
            function = ir.Function(self.module, type_, symbol)
        return self.builder.call(function, args)

    @staticmethod
    def function_pointer(result: Any, *args: Any) -> Any:
        """The type of a pointer to a function of values like these."""
        return ir.PointerType(ir.FunctionType(result, [a.type for a in args]))

    def through(self, record: Record, pointer: Any, name: str, result: Any, *args: Any) -> Any:
        """Call the function whose address a record holds."""
        type_ = self.function_pointer(result, *args)
        address = self.load(pointer, record.offset(name), type_)
        return self.builder.call(address, args)

    def call(self, name: str, *args: Any) -> Any:
        """Call another function of this module."""
        return self.builder.call(self.module.globals[name], args)
