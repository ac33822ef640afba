"""What all functions of one native program share while they are written.

The memory of a program is one *arena*: `Arena` lays variables out in it by their lifetimes.
`Context` hands out scratch memory above them, collects the symbols that the code names,
splits work into functions for threads, and makes the ways out of a program that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from wengert.core.lazy import lazy_module
from wengert.engines.native.code import Code

ir = lazy_module("llvmlite.ir")

#: What a program returns: all is well; the eager engine knows the error; Python raised one.
DONE, FAILED, RAISED = 0, 1, 2
ALIGNMENT = 64
#: So often the code of a function is written where it is used, in one program.
_MOST_COPIES = 8
#: So many basic blocks the copies of an operation may have. Short ones gain from being where
#: they are used: what they read may be in registers there.
_MOST_BLOCKS = 64


def aligned(nbytes: int) -> int:
    """A number of bytes rounded up to whole cache lines."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


class Arena:
    """Offsets for blocks of memory whose lifetimes are known; first fit.

    >>> arena = Arena(0)
    >>> first, second = arena.take(100), arena.take(10)
    >>> arena.give(first, 100)
    >>> arena.take(64), second, arena.size
    (0, 128, 192)
    """

    def __init__(self, start: int) -> None:
        self.size = start
        self._free: list[tuple[int, int]] = []  # (offset, bytes), in order

    def take(self, nbytes: int) -> int:
        """The offset of a free block."""
        nbytes = aligned(max(nbytes, 1))
        for i, (offset, room) in enumerate(self._free):
            if room >= nbytes:
                self._free[i : i + 1] = (
                    [(offset + nbytes, room - nbytes)] if room > nbytes else []
                )
                return offset
        offset, self.size = self.size, self.size + nbytes
        return offset

    def give(self, offset: int, nbytes: int) -> None:
        """Take a block back."""
        self._free.append((offset, aligned(max(nbytes, 1))))
        self._free.sort()
        merged: list[tuple[int, int]] = []
        for start, room in self._free:
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = merged[-1][0], merged[-1][1] + room
            else:
                merged.append((start, room))
        self._free = merged


class _Routine(NamedTuple):
    """A function for an operation, the scratch memory it needs, and how it may end early."""

    function: Any
    nbytes: int
    statuses: tuple[int, ...]


class Context:
    """Shared by all functions of one program.

    Attributes:
      module: the LLVM module.
      target: the machine.
      symbols: what the code names.
      arena_bytes: how much memory the program needs.
      base: where scratch memory may begin at the current step.
    """

    def __init__(self, module: Any, target: Any) -> None:
        self.module = module
        self.target = target
        self.symbols: set[str] = set()
        #: Whether the code is to be made quickly, not well.
        self.quick = False
        #: Whether any code runs more than once.
        self.loops = False
        self.arena_bytes = 0
        self.base = 0
        self.arena: Any = None
        #: Numbers of the equations that the code calls back for.
        self.callbacks: list[int] = []
        self._functions = 0
        #: How many ways out of the program there are before its end; the last step with one.
        self.exits, self.last_exit = 0, -1
        self._exits: dict[int, Any] = {}
        #: Places of pointers to memory, and the functions that give it back.
        self._owned: dict[Any, str] = {}
        self._turns: Any = None
        self._uses: dict[str, int] = {}
        #: Functions of blocks by their code, and by what they do.
        self._written: dict[Hashable, Any] = {}
        self._routines: dict[Hashable, _Routine] = {}
        #: How many basic blocks the copies of an operation have.
        self._blocks: dict[Hashable, int] = {}

    # -- memory -----------------------------------------------

    def scratch(self, code: Code, nbytes: int) -> Any:
        """A pointer to memory above everything that is alive; only in the entry function."""
        offset = self.base
        self.base += aligned(nbytes)
        self.arena_bytes = max(self.arena_bytes, self.base)
        return self.span(code, code.offset(self.arena, offset), nbytes, "scratch")

    def new_arena(self) -> Arena:
        """The arena above what is in use, for the variables of a block."""
        return Arena(self.base)

    def span(self, code: Code, pointer: Any, nbytes: Any, what: Any) -> Any:
        """The pointer; where accesses are checked, so many bytes belong to it."""
        del code, nbytes, what
        return pointer

    def use_symbol(self, symbol: str) -> None:
        """Note a function of the process that the code calls."""
        self.symbols.add(symbol)

    # -- failing -----------------------------------------------

    def fail_if(self, code: Code, condition: Any, failure: Any = None) -> None:
        """Leave the program where a condition holds; the eager engine then raises the error."""
        del failure
        self.leave_if(code, condition, FAILED)

    def leave_if(self, code: Code, condition: Any, status: int) -> None:
        """Return a status from the entry function where a condition holds."""
        builder = code.builder
        self.exits += 1
        if status not in self._exits:
            self._exits[status] = builder.function.append_basic_block("leave")
        after = builder.append_basic_block("go")
        builder.cbranch(condition, self._exits[status], after)
        builder.position_at_end(after)

    def turns(self, code: Code) -> Any:
        """The place that counts what loops have done since they looked for interrupts."""
        if self._turns is None:
            self._turns = self._place(code, code.int64(0))
        return self._turns

    @staticmethod
    def _place(code: Code, value: Any) -> Any:
        """A place on the stack that has a value when the function begins."""
        place = code.reserve(value.type)
        entry = code.builder.function.entry_basic_block
        with code.builder.goto_block(entry):
            code.builder.position_after(entry.instructions[0])
            code.builder.store(value, place)
        return place

    def owned(self, code: Code, release: str = "memory.release") -> Any:
        """A place for a pointer to memory, which no way out of the program leaves behind.

        Args:
          code: the entry function.
          release: what gives the memory back, and does nothing for null.
        """
        place = self._place(code, ir.Constant(code.pointer_type, None))
        self._owned[place] = release
        return place

    def free_owned(self, code: Code, place: Any) -> None:
        """Free the memory of such a place."""
        pointer = code.builder.load(place, typ=code.pointer_type)
        code.call(self._owned[place], ir.VoidType(), [pointer])
        code.builder.store(ir.Constant(code.pointer_type, None), place)

    def finish(self, code: Code) -> None:
        """Return from the entry function, and write the other ways out."""
        code.builder.ret(code.int64(DONE))
        for status, block in self._exits.items():
            code.builder.position_at_end(block)
            for place in self._owned:
                self.free_owned(code, place)
            code.builder.ret(code.int64(status))

    # -- functions -----------------------------------------------

    def function(self, name: str, type_: Any) -> Any:
        """A new internal function."""
        self._functions += 1
        function = ir.Function(self.module, type_, f"{name}.{self._functions}")
        function.linkage = "internal"
        return function

    def outlines(self, name: str) -> bool:
        """Whether one more use of a function had better be a call than a copy of its code."""
        self._uses[name] = self._uses.get(name, 0) + 1
        return self._uses[name] > _MOST_COPIES

    def operation(
        self,
        code: Code,
        key: Hashable,
        pointers: Sequence[Any],
        body: Callable[[Code, Sequence[Any]], None],
    ) -> None:
        """Append `body(code, pointers)`, or a call of that where the program has it often.

        Args:
          code: the entry function.
          key: all that the body's code depends on.
          pointers: what it uses of this function. Equal ones are equal for the body, too.
        """
        distinct = list(dict.fromkeys(pointers))
        places = tuple(map(distinct.index, pointers))
        key = key, places
        written = self._blocks.get(key, 0)
        if written < _MOST_BLOCKS:
            before = len(code.builder.function.blocks)
            body(code, pointers)
            self._blocks[key] = written + 1 + len(code.builder.function.blocks) - before
            return
        if key not in self._routines:
            self._routines[key] = self._routine(len(distinct), places, body)
        function, nbytes, statuses = self._routines[key]
        self.arena_bytes = max(self.arena_bytes, self.base + nbytes)
        scratch = code.offset(self.arena, self.base)
        ended = code.builder.call(function, [*distinct, scratch])
        for status in statuses:
            equal = code.builder.icmp_signed("==", ended, code.int64(status))
            self.leave_if(code, equal, status)

    def _routine(
        self, count: int, places: Sequence[int], body: Callable[..., None]
    ) -> _Routine:
        """A function of so many pointers, and scratch memory, that returns a status."""
        types = [ir.PointerType()] * (count + 1)
        function = self.function("operation", ir.FunctionType(ir.IntType(64), types))
        inner = Code(ir.IRBuilder(function.append_basic_block("entry")), self.target, self)
        outer = self.arena, self.base, self.arena_bytes, self._exits, self._owned
        self.arena, self.base, self.arena_bytes = function.args[-1], 0, 0
        self._exits, self._owned = {}, {}
        body(inner, [function.args[place] for place in places])
        self.finish(inner)
        made = _Routine(function, self.arena_bytes, tuple(self._exits))
        self.arena, self.base, self.arena_bytes, self._exits, self._owned = outer
        return made

    # -- threads -----------------------------------------------

    def shared(self, function: Any) -> Any:
        """This function, or one with the same code that was written before."""
        lines = [str(block) for block in function.blocks]
        first = self._written.setdefault("".join(lines), function)
        if first is not function:
            del self.module.globals[function.name]
        return first

    def parallel(
        self,
        code: Code,
        name: str,
        blocks: int,
        captured: Sequence[Any],
        body: Callable[..., None],
        key: Hashable = None,
    ) -> None:
        """Run a body for every block, on all threads; see `Code.parallel`."""
        if blocks <= 1:
            if blocks:
                body(code, code.int64(0), list(captured))
            return
        environment = code.stack(ir.ArrayType(code.i64, max(len(captured), 1)))
        for i, value in enumerate(captured):
            code.builder.store(value, code.offset(environment, 8 * i))
        function = self._written.get(key) if key else None
        if function is None:
            types = [value.type for value in captured]
            function = self.shared(self._function_of_block(name, types, body))
            if key:
                self._written[key] = function
        pointer = code.pointer_type
        args = [function, environment, code.int64(blocks)]
        code.call("pool.parallel_for", ir.VoidType(), args, [pointer, pointer, code.i64])

    def _function_of_block(
        self, name: str, types: Sequence[Any], body: Callable[..., None]
    ) -> Any:
        """A function that gets captured values of these types, and the number of a block."""
        signature = ir.FunctionType(ir.VoidType(), [ir.PointerType(), ir.IntType(64)])
        function = self.function(name, signature)
        inner = Code(ir.IRBuilder(function.append_basic_block("entry")), self.target, self)
        given = [
            inner.builder.load(inner.offset(function.args[0], 8 * i), typ=type_)
            for i, type_ in enumerate(types)
        ]
        body(inner, function.args[1], given)
        inner.builder.ret_void()
        return function
