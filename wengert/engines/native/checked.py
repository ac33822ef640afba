"""The debug build: machine code that checks every load and store before it touches memory.

`compile_checked(program)` makes the same code as `compile_program`, from a `CheckedContext`,
which notes the buffer that every pointer belongs to. Then `instrument` goes over the finished
LLVM module and puts a check before each access: plain, masked, gathered, scattered, and copies
of memory. An access outside its buffer goes to a dummy instead, and the call raises an
`AccessError` with buffer, offset and instruction.

What the code calls (BLAS, LAPACK) is not instrumented. So no memory is used for two things,
and between any two there is a guard zone with a pattern that is looked at afterwards. Every
call runs twice, with memory that is filled differently: results that depend on it were not
written.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.engines.native.code import Code
from wengert.engines.native.compile import CompiledProgram, ObjectCode, write_module
from wengert.engines.native.context import ALIGNMENT, DONE, Arena, Context, aligned
from wengert.engines.native.kernels import group
from wengert.engines.native.machine import Target, optimise_and_emit
from wengert.passes.pipeline import optimise

ir = lazy_module("llvmlite.ir")

#: Bytes between any two things in memory.
_GUARD = 4 * ALIGNMENT
#: What memory is filled with before a call; guard zones keep it.
_PATTERNS = (0xA5, 0x5A)
#: Room for an access that was sent elsewhere.
_DUMMY = 1 << 12


class AccessError(AssertionError):
    """Machine code has touched memory that is not its own, or left some unwritten.

    >>> raise AccessError("4 bytes at 12 of f32[3]")
    Traceback (most recent call last):
    wengert.engines.native.checked.AccessError: 4 bytes at 12 of f32[3]
    """


class GuardedArena(Arena):
    """An arena in which nothing is used again, with guard zones."""

    def take(self, nbytes: int) -> int:
        """The offset of new memory."""
        offset, self.size = self.size, self.size + aligned(max(nbytes, 1)) + _GUARD
        return offset

    def give(self, offset: int, nbytes: int) -> None:
        """Take nothing back."""


class CheckedContext(Context):
    """A context that knows to which buffer every pointer belongs.

    Attributes:
      spans: pointer -> (bytes from there on, what it is).
      origins: pointer in the function of a block -> beginnings of buffers there.
      held: slot on the stack -> pointers that are kept there.
      slots: what is loaded -> where from.
    """

    def __init__(self, module: Any, target: Any) -> None:
        self._base = 0
        super().__init__(module, target)
        self.spans: dict[Any, tuple[Any, Any]] = {}
        self.origins: dict[Any, list[Any]] = {}
        self.held: dict[Any, list[Any]] = {}
        self.slots: dict[Any, Any] = {}

    @property
    def base(self) -> int:
        """Where scratch memory may begin: it only grows, so that nothing is used twice."""
        return self._base

    @base.setter
    def base(self, value: int) -> None:
        self._base = max(self._base, value)

    def new_arena(self) -> Arena:
        """An arena with guard zones."""
        return GuardedArena(self.base)

    def scratch(self, code: Code, nbytes: int) -> Any:
        """Memory with a guard zone behind it."""
        pointer = super().scratch(code, nbytes)
        self.base += _GUARD
        self.arena_bytes = max(self.arena_bytes, self.base)
        return pointer

    def span(self, code: Code, pointer: Any, nbytes: Any, what: Any) -> Any:
        """A pointer of its own, which is known to be the beginning of so many bytes."""
        byte = ir.IntType(8)
        pointer = code.builder.gep(pointer, [code.int64(0)], inbounds=True, source_etype=byte)
        self.spans[pointer] = nbytes, what
        return pointer

    def shared(self, function: Any) -> Any:
        """The function itself: each has its own buffers to check against."""
        return function

    def operation(
        self,
        code: Code,
        key: Hashable,
        pointers: Sequence[Any],
        body: Callable[[Code, Sequence[Any]], None],
    ) -> None:
        """The operation's code: each has its own buffers to check against."""
        del key
        body(code, pointers)

    def parallel(
        self,
        code: Code,
        name: str,
        blocks: int,
        captured: Sequence[Any],
        body: Callable[..., None],
        key: Hashable = None,
    ) -> None:
        """Hand the beginnings of the buffers of captured pointers over, too."""
        roots = {v: self.roots(v) for v in captured if isinstance(v.type, ir.PointerType)}
        bases = list(dict.fromkeys(r for found in roots.values() for r in found))

        def known(inner: Code, block: Any, given: list[Any]) -> None:
            own, there = given[: len(captured)], given[len(captured) :]
            beginnings = dict(zip(bases, there, strict=True))
            if inner is not code:
                for base, pointer in beginnings.items():
                    self.spans[pointer] = self.size_of(base)
                self._know_table(given)
                for value, pointer in zip(captured, own, strict=True):
                    if value in roots and pointer not in self.spans:
                        self.origins[pointer] = [beginnings[r] for r in roots[value]]
            body(inner, block, own)

        del key  # buffers differ
        super().parallel(code, name, blocks, [*captured, *bases], known)

    def _know_table(self, given: Sequence[Any]) -> None:
        """The table that captured values are read from, in the function of a block."""
        for value in given:
            table = value.operands[0]
            while isinstance(table, ir.GEPInstr):
                table = table.operands[0]
            self.spans[table] = 8 * len(given), "captured values"

    def roots(self, pointer: Any) -> list[Any]:
        """The beginnings of the buffers that a pointer may belong to; none if unknown."""
        seen: set[Any] = set()
        found: dict[Any, None] = {}
        stack = [pointer]
        while stack:
            value = stack.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in self.spans or isinstance(value, ir.AllocaInstr):
                found[value] = None
            elif value in self.origins:
                stack.extend(self.origins[value])
            elif isinstance(value, ir.GEPInstr | ir.CastInstr):
                stack.append(value.operands[0])
            elif isinstance(value, ir.PhiInstr):
                stack.extend(v for v, _ in value.incomings)
            elif isinstance(value, ir.SelectInstr):
                stack.extend(value.operands[1:])
            elif self.slots.get(value) in self.held:
                stack.extend(self.held[self.slots[value]])
            else:
                return []
        return list(found)

    def hold(self, module: Any) -> None:
        """Note which pointers are kept in slots on the stack, before checks are put in."""
        for function in module.functions:
            for block in function.blocks:
                for instruction in block.instructions:
                    if isinstance(instruction, ir.LoadInstr):
                        self.slots[instruction] = instruction.operands[0]
                    elif isinstance(instruction, ir.StoreInstr):
                        value, slot = instruction.operands
                        if isinstance(slot, ir.AllocaInstr) and _is_pointer(value):
                            self.held.setdefault(slot, []).append(value)

    def size_of(self, root: Any) -> tuple[Any, Any]:
        """Bytes from the beginning of a buffer on, and what it is."""
        return self.spans.get(root) or _allocated(root)


def _is_pointer(value: Any) -> bool:
    return isinstance(value.type, ir.PointerType) and not isinstance(value, ir.Constant)


def _allocated(slot: Any) -> tuple[int, Any]:
    return _bytes(slot.allocated_type), "a slot on the stack"


def _bytes(type_: Any) -> int:
    if isinstance(type_, ir.ArrayType | ir.VectorType):
        return type_.count * _bytes(type_.element)
    if isinstance(type_, ir.IntType):
        return max(type_.width // 8, 1)
    if isinstance(type_, ir.HalfType):
        return 2
    return 4 if isinstance(type_, ir.FloatType) else 8


# -- instrumenting -----------------------------------------------


class Instrumenter:
    """Puts checks into the functions of a module.

    Attributes:
      sites: for each check what it is about, as text.
      unknown: accesses to memory of unknown extent, as text.
    """

    def __init__(self, context: CheckedContext, report: int, dummy: int) -> None:
        self.context = context
        self.module = context.module
        self.report, self.dummy = report, dummy
        self.sites: list[str] = []
        self.unknown: list[str] = []
        self._builder: Any = None
        self._i64, self._pointer = ir.IntType(64), ir.PointerType()
        self._inside = self._inside_function()
        self._redirected = self._redirect_function()

    def run(self) -> None:
        """Check every access of every function."""
        self.context.hold(self.module)
        for function in list(self.module.functions):
            if function.is_declaration or function in (self._inside, self._redirected):
                continue
            for block in function.blocks:
                for instruction in list(block.instructions):
                    self._builder = ir.IRBuilder(block)
                    self._builder.position_before(instruction)
                    self._instruction(instruction)

    def _instruction(self, instruction: Any) -> None:
        if isinstance(instruction, ir.LoadInstr):
            self._whole(instruction, instruction.operands[0], _bytes(instruction.type))
        elif isinstance(instruction, ir.StoreInstr):
            value, pointer = instruction.operands
            self._whole(instruction, pointer, _bytes(value.type))
        elif isinstance(instruction, ir.CallInstr):
            name = getattr(instruction.callee, "name", "")
            args = instruction.args
            if name.startswith("llvm.masked.load"):
                self._masked(instruction, args[0], args[2], instruction.type)
            elif name.startswith("llvm.masked.store"):
                self._masked(instruction, args[1], args[3], args[0].type)
            elif name.startswith("llvm.masked.gather"):
                self._lanes(instruction, args[0], args[2], instruction.type)
            elif name.startswith("llvm.masked.scatter"):
                self._lanes(instruction, args[1], args[3], args[0].type)
            elif name in ("libc.memcpy", "libc.memmove"):
                self._copied(instruction, args[:2], args[2])
            elif name == "libc.memset":
                self._copied(instruction, args[:1], args[2])

    def _whole(self, instruction: Any, pointer: Any, nbytes: int) -> None:
        self._redirect(instruction, pointer, pointer, self._number(nbytes))

    def _masked(self, instruction: Any, pointer: Any, mask: Any, type_: Any) -> None:
        """From the first lane that counts to the last."""
        builder, size = self._builder, _bytes(type_.element)
        bits = builder.zext(builder.bitcast(mask, ir.IntType(type_.count)), self._i64)
        first = builder.cttz(bits, ir.Constant(ir.IntType(1), 0))
        zeros = builder.ctlz(bits, ir.Constant(ir.IntType(1), 0))
        stop = builder.sub(self._number(64), zeros)
        count = builder.mul(builder.sub(stop, first), self._number(size))
        none = builder.icmp_unsigned("==", bits, self._number(0))
        count = builder.select(none, self._number(0), count)
        start = builder.select(none, self._number(0), builder.mul(first, self._number(size)))
        byte = ir.IntType(8)
        at = builder.gep(pointer, [start], source_etype=byte)
        self._redirect(instruction, pointer, at, count, start)

    def _lanes(self, instruction: Any, pointers: Any, mask: Any, type_: Any) -> None:
        """Each lane that counts for itself."""
        builder, size = self._builder, _bytes(type_.element)
        roots = self._roots(instruction, pointers)
        if not roots:
            return
        moved = pointers
        for lane in range(type_.count):
            at = ir.Constant(ir.IntType(32), lane)
            counts = builder.extract_element(mask, at)
            pointer = builder.extract_element(pointers, at)
            pointer.type = self._pointer
            count = builder.select(counts, self._number(size), self._number(0))
            pointer = self._checked(instruction, roots, pointer, count)
            kind = moved.type
            moved = builder.insert_element(moved, pointer, at)
            moved.type = kind
        instruction.replace_usage(pointers, moved)

    def _copied(self, instruction: Any, pointers: Sequence[Any], nbytes: Any) -> None:
        """Copies that would leave their buffers copy nothing."""
        builder = self._builder
        count = nbytes
        for pointer in pointers:
            roots = self._roots(instruction, pointer)
            if not roots:
                continue
            checked = self._checked(instruction, roots, pointer, nbytes)
            same = builder.icmp_unsigned(
                "==", builder.ptrtoint(checked, self._i64), builder.ptrtoint(pointer, self._i64)
            )
            count = builder.select(same, count, self._number(0))
        operands = list(instruction.operands)
        operands[2] = count
        instruction.operands = operands

    def _redirect(
        self, instruction: Any, pointer: Any, at: Any, count: Any, back: Any = None
    ) -> None:
        """Let an access go where the check says; `back` is how far `at` is ahead of it."""
        roots = self._roots(instruction, pointer)
        if not roots:
            return
        checked = self._checked(instruction, roots, at, count)
        if back is not None:
            builder = self._builder
            minus = builder.sub(self._number(0), back)
            checked = builder.gep(checked, [minus], source_etype=ir.IntType(8))
        instruction.replace_usage(pointer, checked)

    def _roots(self, instruction: Any, pointer: Any) -> list[Any]:
        roots = self.context.roots(pointer)
        if not roots:
            self.unknown.append(str(instruction).strip())
        return roots

    def _checked(self, instruction: Any, roots: list[Any], pointer: Any, count: Any) -> Any:
        """The pointer, if an access there is inside one of the buffers."""
        builder, inside, labels = self._builder, None, []
        for root in roots:
            size, what = self.context.size_of(root)
            labels.append(f"{getattr(what, 'type', what)} ({size} bytes)")
            size = self._number(size) if isinstance(size, int) else size
            one = builder.call(self._inside, [root, size, pointer, count])
            inside = one if inside is None else builder.or_(inside, one)
        self.sites.append(f"{' or '.join(labels)}: {str(instruction).strip()}")
        site = self._number(len(self.sites) - 1)
        return builder.call(self._redirected, [inside, roots[0], pointer, count, site])

    def _number(self, n: int) -> Any:
        return ir.Constant(self._i64, n)

    def _function(self, name: str, result: Any, types: Sequence[Any]) -> Any:
        function = ir.Function(self.module, ir.FunctionType(result, types), name)
        function.linkage = "internal"
        return function, ir.IRBuilder(function.append_basic_block("entry"))

    def _inside_function(self) -> Any:
        """`i1 inside(base, size, pointer, count)`."""
        types = [self._pointer, self._i64, self._pointer, self._i64]
        function, builder = self._function("inside", ir.IntType(1), types)
        base, size, pointer, count = function.args
        offset = self._offset(builder, base, pointer)
        after = builder.icmp_signed(">=", offset, self._number(0))
        before = builder.icmp_signed("<=", builder.add(offset, count), size)
        none = builder.icmp_signed("==", count, self._number(0))
        builder.ret(builder.or_(none, builder.and_(after, before)))
        return function

    def _offset(self, builder: Any, base: Any, pointer: Any) -> Any:
        first = builder.ptrtoint(base, self._i64)
        return builder.sub(builder.ptrtoint(pointer, self._i64), first)

    def _redirect_function(self) -> Any:
        """`pointer redirect(inside, base, pointer, count, site)`: the pointer, or a dummy."""
        types = [ir.IntType(1), self._pointer, self._pointer, self._i64, self._i64]
        function, builder = self._function("redirect", self._pointer, types)
        inside, base, pointer, count, site = function.args
        with builder.if_then(builder.not_(inside), likely=False):
            offset = self._offset(builder, base, pointer)
            place = builder.inttoptr(self._number(self.report), self._pointer)
            for i, value in enumerate((self._number(1), site, offset, count)):
                at = builder.gep(place, [self._number(i)], source_etype=self._i64)
                builder.store(value, at)
            builder.ret(builder.inttoptr(self._number(self.dummy), self._pointer))
        builder.ret(pointer)
        return function


# -- running -----------------------------------------------


class CheckedProgram(CompiledProgram):
    """Machine code of a program that checks every access.

    Attributes:
      unknown: accesses that could not be checked, as text.
    """

    def __init__(self, program: Program, target: Target) -> None:
        block = group(program)
        _, context = write_module(block, target, make=CheckedContext)
        assert isinstance(context, CheckedContext)
        self._report = np.zeros(4, np.int64)
        self._dummy = np.zeros(2 * _DUMMY, np.uint8)
        middle = self._dummy.ctypes.data + _DUMMY
        instrumenter = Instrumenter(context, self._report.ctypes.data, middle)
        instrumenter.run()
        self.unknown = instrumenter.unknown
        self._sites = instrumenter.sites
        content = optimise_and_emit(context.module, target)
        made = ObjectCode(
            content, context.arena_bytes, sorted(context.symbols), context.callbacks, True
        )
        super().__init__(program, made)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The results; raises `AccessError` where memory was not treated as it should be."""
        first, second = (self._guarded(values, pattern) for pattern in _PATTERNS)
        for i, (x, y) in enumerate(zip(first, second, strict=True)):
            if np.asarray(x).tobytes() != np.asarray(y).tobytes():
                raise AccessError(f"result {i} depends on memory that nothing was written to")
        return first

    def _guarded(self, values: Sequence[Any], pattern: int) -> list[Any]:
        given = [
            Guarded(t.shape, t.dtype, pattern, v)
            for v, t in zip(values, self.program.in_types, strict=True)
        ]
        wanted = [Guarded(t.shape, t.dtype, pattern) for t in self.program.out_types]
        arena = Guarded((self.arena_bytes,), np.dtype(np.uint8), pattern)
        self._report[:] = 0
        constants = [c.ctypes.data for c in self.constants]
        inputs = _table([*constants, *(g.address for g in given)])
        status = self._function(inputs, _table([w.address for w in wanted]), arena.address)
        if self._report[0]:
            _, site, offset, count = map(int, self._report)
            raise AccessError(f"{count} bytes at offset {offset} of {self._sites[site]}")
        for what in (*given, *wanted, arena):
            what.look()
        for value, held in zip(values, given, strict=True):
            if held.array.tobytes() != np.asarray(value, held.array.dtype).tobytes():
                raise AccessError(f"an input of type {held.array.dtype} was written to")
        if status != DONE:
            raise self.failure(status, values)
        return [w.array if w.array.ndim else w.array[()] for w in wanted]


def _table(addresses: Sequence[int]) -> Any:
    return (ctypes.c_void_p * max(len(addresses), 1))(*addresses)


class Guarded:
    """An array between guard zones; 64-byte aligned.

    >>> guarded = Guarded((3,), np.dtype(np.float32), 0xA5)
    >>> guarded.look()
    >>> guarded.address % 64
    0
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, pattern: int, value: Any = None):
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._memory = np.full(nbytes + 2 * _GUARD + ALIGNMENT, pattern, np.uint8)
        start = -(-self._memory.ctypes.data // ALIGNMENT) * ALIGNMENT - self._memory.ctypes.data
        self._zones = self._memory[: start + _GUARD], self._memory[start + _GUARD + nbytes :]
        inside = self._memory[start + _GUARD : start + _GUARD + nbytes]
        self._pattern = pattern
        self.array = inside.view(dtype).reshape(shape) if nbytes else np.empty(shape, dtype)
        self.address = int(self._memory.ctypes.data + start + _GUARD)
        if value is not None:
            self.array[...] = value

    def look(self) -> None:
        """Raise if a guard zone was written to."""
        for where, zone in zip(("before", "behind"), self._zones, strict=True):
            if np.any(zone != self._pattern):
                dtype, shape = self.array.dtype, self.array.shape
                raise AccessError(f"written {where} an array of {dtype} of shape {shape}")


def compile_checked(program: Program, target: Target | None = None) -> CheckedProgram:
    """Machine code of a program that checks every access to memory.

    >>> import numpy as np, wengert
    >>> checked = compile_checked(wengert.make_program(lambda x: x + 1)(np.zeros(3)))
    >>> checked([np.arange(3.0)])
    [array([1., 2., 3.])]
    """
    return CheckedProgram(optimise(program), target or Target.host())
