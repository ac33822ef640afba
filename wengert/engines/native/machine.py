"""The machine: what it is, LLVM text into object code, object code into addresses.

In flow a `Target` and the text of an LLVM module; out flow object code (`optimise_and_emit`:
relocatable bytes, fit for a cache on disk) and, from object code and the addresses of what it
calls, functions in memory (`load`). Names of BLAS, libc or runtime functions that a module
only declares are given to `load` as `{name: address}`: object code never holds an address.

The passes are few, because the code that comes here is explicit vector code already: no
vectoriser, no unroller, no fast-math flag and no contraction of a product and a sum anywhere.
This module knows nothing of programs or arrays.

>>> text = "define i64 @twice(i64 %x) { %y = add i64 %x, %x  ret i64 %y }"
>>> code = load(optimise_and_emit(text, Target.host()), exports=["twice"])
>>> ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code.address("twice"))(21)
42
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native import cache, linker

llvm = lazy_module("llvmlite.binding")

#: One lock for all of LLVM: its objects here are shared, and a fork waits until it is free.
_lock = threading.RLock()


def _after_fork() -> None:
    with suppress(RuntimeError):  # a fork that began before this module was imported
        _lock.release()


os.register_at_fork(
    before=_lock.acquire, after_in_parent=_after_fork, after_in_child=_after_fork
)


@functools.cache
def _initialise() -> None:
    """Make LLVM know this process's kind of machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@dataclass(frozen=True)
class Target:
    """A machine that code is made for; hashable, and a key of caches with `str(target)`.

    Attributes:
      triple: LLVM's name of architecture and system.
      cpu: LLVM's name of the processor.
      features: LLVM's list of what the processor has (`+avx2,-avx512f,...`).
      vector_bytes: the width of a vector register.
      has_fma: whether a fused multiply-add is one instruction.

    >>> Target.host().vector_bytes in (16, 32, 64)
    True
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    has_fma: bool

    @staticmethod
    @functools.cache
    def host() -> Target:
        """This machine, with all it has.

        What LLVM says of it is kept on disk: asking takes LLVM's import.
        """
        processor = _processor()
        if processor is None:
            return _ask_llvm()
        key = cache.key("host", processor)
        kept = cache.lookup(key)
        if kept is not None:
            triple, cpu, features, width, fused = kept.decode().split("\n")
            return Target(triple, cpu, features, int(width), fused == "True")
        target = _ask_llvm()
        fields = (
            target.triple,
            target.cpu,
            target.features,
            target.vector_bytes,
            target.has_fma,
        )
        cache.store(key, "\n".join(map(str, fields)).encode())
        return target

    @staticmethod
    @functools.cache
    def baseline() -> Target:
        """The least machine of this architecture (x86-64: SSE2; AArch64: NEON)."""
        with _lock:
            _initialise()
            triple = llvm.get_process_triple()
        if is_arm(triple):
            return Target(triple, "generic", "+neon", 16, True)
        cpu = "x86-64" if triple.startswith("x86_64") else "generic"
        return Target(triple, cpu, "", 16, False)

    def __str__(self) -> str:
        return f"{self.triple} {self.cpu} {self.features}"


#: Lines of /proc/cpuinfo that do not change from moment to moment: x86-64 and AArch64.
_CONSTANT = (
    *("vendor", "cpu family", "model", "stepping", "flags"),
    *("Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part"),
)


def _processor() -> str | None:
    """What the system says of the first processor, if it does so at once (Linux)."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            first = file.read(1 << 14).decode(errors="replace").split("\n\n")[0]
    except OSError:
        return None
    lines = [line for line in first.splitlines() if line.startswith(_CONSTANT)]
    return "\n".join([platform.machine(), *lines])


def _ask_llvm() -> Target:
    """This machine, as LLVM sees it."""
    with _lock:
        _initialise()
        features = llvm.get_host_cpu_features()
        triple = llvm.get_process_triple()
        cpu = llvm.get_host_cpu_name()
    listed = features.flatten()
    if features.get("avx512f"):
        # LLVM takes half of the register's width on many of these processors otherwise.
        listed += ",-prefer-256-bit"
    fused = bool(features.get("fma")) or is_arm(triple)
    return Target(triple, cpu, listed, _vector_bytes(features), fused)


def is_arm(triple: str) -> bool:
    """Whether a triple names 64-bit ARM."""
    return triple.startswith(("aarch64", "arm64"))


def _vector_bytes(features: Mapping[str, bool]) -> int:
    wide = ("avx512f", "avx512vl", "avx512bw", "avx512dq")
    if all(features.get(name) for name in wide):
        return 64
    return 32 if features.get("avx") else 16


# -- object code -----------------------------------------------


@functools.cache
def _target_machine(target: Target, care: int = 2) -> Any:
    """LLVM's object for a target; kept, since one costs half a millisecond."""
    _initialise()
    # Position-independent: constants are read relative to the instruction, and what lies
    # further away than two gigabytes is reached through tables that the linker makes.
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=care, reloc="pic", codemodel="small"
    )


#: level -> passes over each function, in order; level 3 is LLVM's own list instead.
_PASSES = {
    0: ("sroa", "simplify_cfg"),
    1: ("sroa", "simplify_cfg"),
    2: ("sroa", "instruction_combine", "simplify_cfg", "dead_store_elimination"),
}


def _passes(level: int, machine: Any) -> tuple[Any, Any]:
    """A manager of function passes and its builder."""
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = False
    tuning.loop_unrolling = tuning.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, tuning)
    if level == 3:
        return builder.getFunctionPassManager(), builder
    manager = llvm.create_new_function_pass_manager()
    for name in _PASSES[level]:
        getattr(manager, f"add_{name}_pass")()
    return manager, builder


def _inline(module: Any, builder: Any) -> None:
    """Put functions that are marked `alwaysinline` into their callers, and drop them."""
    manager = llvm.create_new_module_pass_manager()
    manager.add_always_inliner_pass()
    manager.add_global_dead_code_eliminate_pass()
    manager.run(module, builder)


def _optimise(text: str, target: Target, level: int) -> Any:
    """The module, parsed, verified and optimised."""
    # A context of its own, or the types and constants of every program would stay for ever.
    module = llvm.parse_assembly(text, llvm.create_context())
    machine = _target_machine(target)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    manager, builder = _passes(level, machine)
    if "alwaysinline" in text:
        _inline(module, builder)
    for function in module.functions:
        function.add_function_attribute("nounwind")  # so that no unwind table is made
        if not function.is_declaration:
            manager.run(function, builder)
    return module


def optimise_and_emit(module: Any, target: Target, level: int = 2) -> bytes:
    """Object code of a module.

    Args:
      module: an `llvmlite.ir.Module` or its text. Functions it defines and that are not
        `internal` can be exported by `load`; those it declares are symbols for `load`.
      target: the machine.
      level: 1 (stack slots into registers, control flow), 2 (and combined instructions, dead
        stores) or 3 (and LLVM's global value numbering and loop-invariant code motion, about
        twice the time of 2). Machine code is made with the same care at each of them: 1 ms,
        0.5 ms more for every function, and 25 to 50 µs for every vector instruction. Level 0
        makes scalar code quickly: 0.1 ms for a function, and not a good one.

    Returns:
      Relocatable object code: the same bytes serve any process on such a machine.

    >>> optimise_and_emit("define void @f() { ret void }", Target.host())[1:4]
    b'ELF'
    """
    with _lock:
        machine = _target_machine(target, 0 if level == 0 else 2)
        return bytes(machine.emit_object(_optimise(str(module), target, level)))


def assembly(module: Any, target: Target, level: int = 2) -> str:
    """The machine code of a module, as text.

    >>> "ret" in assembly("define void @f() { ret void }", Target.host())
    True
    """
    with _lock:
        machine = _target_machine(target, 0 if level == 0 else 2)
        return str(machine.emit_assembly(_optimise(str(module), target, level)))


def optimised(module: Any, target: Target, level: int = 2) -> str:
    """The text of a module after LLVM's passes.

    >>> "ret i64 3" in optimised(
    ...     "define i64 @f() { %x = add i64 1, 2  ret i64 %x }", Target.host())
    True
    """
    with _lock:
        return str(_optimise(str(module), target, level))


# -- loading -----------------------------------------------

#: What LLVM itself calls: memory, remainders, roundings without an instruction, 16-bit floats.
_IMPLICIT = (
    "memcpy memset memmove bcmp fmod fmodf floor floorf ceil ceilf trunc truncf rint rintf "
    "nearbyint nearbyintf round roundf roundeven roundevenf fma fmaf sqrt sqrtf ldexp ldexpf "
    "__extendhfsf2 __truncsfhf2 __truncdfhf2 __truncsfbf2 __truncdfbf2 "
    "__udivti3 __umodti3 __divti3 __modti3 __multi3 "
    "sin sinf cos cosf exp expf log logf pow powf"
).split()


@functools.cache
def _libraries() -> list[Any]:
    libraries = [ctypes.CDLL(None)]
    for file in ("libm.so.6", "libgcc_s.so.1", "libSystem.dylib"):
        with suppress(OSError):  # another system's name
            libraries.append(ctypes.CDLL(file))
    return libraries


@functools.cache
def _implicit(name: str) -> int:
    """The address of a function that LLVM may call by itself; 0 if the system has none."""
    if name in _IMPLICIT:
        for library in _libraries():
            if hasattr(library, name):
                return function_address(getattr(library, name))
    return 0


def function_address(function: Any) -> int:
    """Where a function that ctypes knows lies in memory."""
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


class LoadedCode:
    """Machine code in memory, which stays there as long as this object lives.

    Whoever keeps an address must keep this object.
    """

    __slots__ = ("_library",)

    def __init__(self, library: linker.Mapping | _LLVMLibrary) -> None:
        self._library = library

    def address(self, name: str) -> int:
        """Where an exported function or variable lies."""
        return self._library.addresses[name]

    def keep_for_ever(self) -> None:
        """Leave the code in memory even if this object goes."""
        self._library.keep_for_ever()

    def function(self, name: str, signature: Callable[[int], Any]) -> Any:
        """An exported function for Python; `signature` is a `ctypes.CFUNCTYPE(...)`."""
        function = signature(self.address(name))
        function.code = self  # keeps the code in memory
        return function


class _LLVMLibrary:
    """Code that LLVM has linked."""

    def __init__(self, library: Any, names: list[str]) -> None:
        self.addresses: dict[str, int] = {name: library[name] for name in names}
        self._library = library

    def keep_for_ever(self) -> None:
        """Leave the code in memory even if this object goes."""
        self._library._owned = True


@functools.cache
def _llvm_linker() -> Any:
    """The one linker of LLVM in this process, which is never taken down.

    Threads may still run code from it while the interpreter ends.
    """
    _initialise()
    machine = llvm.Target.from_triple(Target.host().triple).create_target_machine(
        reloc="pic", codemodel="small", jit=True
    )
    made = llvm.create_lljit_compiler(machine, use_jit_link=True, suppress_errors=True)
    made._owned = True
    return made


def _link_by_llvm(content: bytes, symbols: Mapping[str, int], names: list[str]) -> LoadedCode:
    """As `load`, wherever `linker` does not know how."""
    known = {name: _implicit(name) for name in _IMPLICIT if _implicit(name)}
    with _lock:
        builder = llvm.JITLibraryBuilder().add_object_img(content)
        for name, address in {**known, **symbols}.items():
            if name.encode() in content:
                builder.import_symbol(name, address)
        for name in names:
            builder.export_symbol(name)
        library = builder.link(_llvm_linker(), f"wengert.{next(_count)}")
        return LoadedCode(_LLVMLibrary(library, names))


_count = itertools.count()


def load(
    object_code: bytes,
    symbols: Mapping[str, int] | None = None,
    exports: Iterable[str] = ("entry",),
) -> LoadedCode:
    """Put object code into memory, linked to the functions and variables it names.

    Args:
      object_code: what `optimise_and_emit` made, now or in another process on such a machine.
      symbols: addresses of what the code declares; it may hold more than is needed. What
        LLVM calls by itself (`memcpy`, `fmod`, ...) is known.
      exports: names whose addresses will be asked for.

    Raises:
      RuntimeError: the object code is not valid, or a name has no address.

    >>> text = "declare i64 @other(i64)"
    >>> text += " define i64 @f() { %x = call i64 @other(i64 1)  ret i64 %x }"
    >>> other = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: x + 1)
    >>> code = load(optimise_and_emit(text, Target.host()),
    ...             {"other": function_address(other)}, ["f"])
    >>> code.function("f", ctypes.CFUNCTYPE(ctypes.c_int64))()
    2
    """
    names, known = list(exports), symbols or {}

    def find(name: str) -> int:
        address = known.get(name) or _implicit(name)
        if not address:
            raise RuntimeError(f"no address is known for {name!r}, which the code uses")
        return address

    if linker.supported():
        with suppress(linker.Unsupported):
            return LoadedCode(linker.link(object_code, find, names))
    return _link_by_llvm(object_code, known, names)
