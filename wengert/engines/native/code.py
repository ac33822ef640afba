"""A function of machine code while it is being written.

`Code` is what kernels and library operations get: an LLVM builder with loops, scratch memory,
calls of named symbols, failures, and work split over threads. `Buffer` is an array in memory
as such code sees it: a pointer to dense, row-major elements, and a type.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.engines.native.vectors import Vectors, reserve

ir = lazy_module("llvmlite.ir")


class Buffer:
    """Dense row-major elements in memory.

    Attributes:
      pointer: an LLVM value: where the first element is.
      type: shape and dtype.
      aligned: the alignment of the pointer in bytes that code may count on.
    """

    __slots__ = ("aligned", "pointer", "type")

    def __init__(self, pointer: Any, type: ArrayType, aligned: int = 0) -> None:
        self.pointer = pointer
        self.type = type
        self.aligned = aligned or type.dtype.itemsize


class Code:
    """A function being written.

    Attributes:
      builder: appends instructions at the current place.
      module: the LLVM module.
      target: the machine (`machine.Target`).
      context: what is shared by all functions of one program (see `compile.Context`): arena
        layout, failures, symbols.
    """

    def __init__(self, builder: Any, target: Any, context: Any) -> None:
        self.builder = builder
        self.module = builder.module
        self.target = target
        self.context = context

    # -- values -----------------------------------------------

    @property
    def i64(self) -> Any:
        """The type of sizes and indices."""
        return ir.IntType(64)

    @property
    def pointer_type(self) -> Any:
        """The (opaque) type of pointers."""
        return ir.PointerType()

    def int64(self, number: int) -> Any:
        """A constant size or index."""
        return ir.Constant(self.i64, number)

    def int32(self, number: int) -> Any:
        """A constant 32-bit integer, as BLAS takes them."""
        return ir.Constant(ir.IntType(32), number)

    def vectors(self, lanes: int) -> Vectors:
        """Operations on values of so many lanes, at the current place."""
        target = self.target
        return Vectors(
            self.builder,
            lanes,
            target.has_fma,
            target.vector_bytes == 64,
            self.context.use_symbol,
        )

    def offset(self, pointer: Any, count: Any, itemsize: int = 1) -> Any:
        """The pointer `count` elements further; `count` is an LLVM value or an int."""
        if isinstance(count, int):
            if count == 0:
                return pointer
            count = self.int64(count * itemsize)
        elif itemsize != 1:
            count = self.builder.mul(count, self.int64(itemsize))
        byte = ir.IntType(8)
        return self.builder.gep(pointer, [count], inbounds=True, source_etype=byte)

    def stack(self, type_: Any, value: Any = None) -> Any:
        """A pointer to a variable on the stack (for arguments passed by reference)."""
        slot = self.reserve(type_)
        if value is not None:
            self.builder.store(value, slot)
        return slot

    def reserve(self, type_: Any, align: int = 0) -> Any:
        """A place on the stack, set aside when the function begins."""
        return reserve(self.builder, type_, align)

    def scratch(self, nbytes: int) -> Any:
        """A 64-byte aligned pointer to memory that is ours until this operation ends."""
        return self.context.scratch(self, nbytes)

    # -- control -----------------------------------------------

    @contextmanager
    def loop(self, count: Any, start: Any = 0, step: int = 1, name: str = "i") -> Iterator[Any]:
        """The block runs for `start <= i < count` (ints or LLVM values); yields `i`."""
        self.context.loops = True
        start = self.int64(start) if isinstance(start, int) else start
        count = self.int64(count) if isinstance(count, int) else count
        builder = self.builder
        before = builder.block
        body = builder.append_basic_block(f"{name}.body")
        after = builder.append_basic_block(f"{name}.end")
        builder.cbranch(builder.icmp_signed("<", start, count), body, after)
        builder.position_at_end(body)
        index = builder.phi(self.i64, name)
        index.add_incoming(start, before)
        yield index
        following = self.hidden(builder.add(index, self.int64(step), flags=("nsw",)))
        index.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)

    def hidden(self, value: Any) -> Any:
        """The same integer, of which LLVM cannot know how it came about.

        Where it sees what a loop's index does, it looks for the best way of keeping all
        addresses; that takes a third of its time, and the code does not become faster.
        """
        if self.context.quick:  # then it does not look, and takes longer over this
            return value
        type_ = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(type_, "", "=r,0", [value], False)

    def call(
        self, symbol: str, result: Any, args: Sequence[Any], types: Sequence[Any] = ()
    ) -> Any:
        """Call a function of the process by its symbol (`blas.sgemm`, `libc.memcpy`)."""
        function = self.module.globals.get(symbol)
        if function is None:
            type_ = ir.FunctionType(result, types or [a.type for a in args])
            function = ir.Function(self.module, type_, symbol)
            self.context.use_symbol(symbol)
        return self.builder.call(function, args)

    def copy(self, target: Any, source: Any, nbytes: int) -> None:
        """Copy bytes between memory that does not overlap."""
        if nbytes:
            args = [target, source, self.int64(nbytes)]
            self.call("libc.memcpy", self.pointer_type, args)

    def move(self, target: Any, source: Any, nbytes: int) -> None:
        """Copy bytes; few ones by loads and stores, so that they can stay in registers."""
        if nbytes > 512:
            self.copy(target, source, nbytes)
            return
        done = 0
        while done < nbytes:
            step = next(s for s in (8, 4, 2, 1) if s <= nbytes - done)
            type_ = ir.IntType(8 * step)
            value = self.builder.load(self.offset(source, done), typ=type_, align=step)
            self.builder.store(value, self.offset(target, done), align=step)
            done += step

    def fill_zero(self, target: Any, nbytes: int) -> None:
        """Set bytes to zero."""
        if nbytes:
            args = [target, self.int32(0), self.int64(nbytes)]
            self.call("libc.memset", self.pointer_type, args)

    def fail_if(self, condition: Any, failure: Callable[[], Exception]) -> None:
        """Leave the program with an exception where an `i1` condition holds.

        Args:
          condition: an LLVM truth.
          failure: makes the exception; it is called in Python, after the program has ended.
        """
        self.context.fail_if(self, condition, failure)

    def parallel(
        self,
        name: str,
        blocks: int,
        captured: Sequence[Any],
        body: Callable[..., None],
        key: Hashable = None,
    ) -> None:
        """Run `body(code, block, captured)` for every block number, on all threads.

        The body is written into a function of its own: values of this one it sees only through
        `captured`. Blocks must write to disjoint memory; their order is not defined.

        Args:
          key: all that the body's code depends on. It is not written again for an equal key.
        """
        self.context.parallel(self, name, blocks, captured, body, key)
