"""Native callables: Python objects whose calls are answered by machine code.

A subclass of `NativeCallable` defines `__call__` in Python. To an instance, *specialisations*
are added: for arguments of certain types, an entry in machine code. A call that fits one of
them never sees Python. Every other call goes to `__call__`, which may add a specialisation.

    class Jitted(NativeCallable, native=True):
        def __call__(self, *args, **kwargs): ...  # may call self.add_specialisation

The machine code is the same for all instances (`callable_code`). It is made in the background
when the first specialisation is added; until it is there, and for ever where it cannot be made,
`__call__` answers.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core.array import Array, as_array
from wengert.core.gate import gate
from wengert.core.lazy import lazy_module
from wengert.engines.native.runtime import python_api
from wengert.engines.native.runtime.python_api import Unsupported, put_word

if TYPE_CHECKING:
    from wengert.engines.native import cache, machine, symbols
    from wengert.engines.native.runtime import (
        callable_code,
        callable_encode,
        callable_layout,
        memory,
    )
else:  # importing the package makes the type only
    cache = lazy_module("wengert.engines.native.cache")
    machine = lazy_module("wengert.engines.native.machine")
    symbols = lazy_module("wengert.engines.native.symbols")
    memory = lazy_module("wengert.engines.native.runtime.memory")
    callable_code = lazy_module("wengert.engines.native.runtime.callable_code")
    callable_encode = lazy_module("wengert.engines.native.runtime.callable_encode")
    callable_layout = lazy_module("wengert.engines.native.runtime.callable_layout")


def _base_type() -> tuple[type, bool]:
    """What instances are at the level of C, and whether that can hold machine code."""
    try:
        return python_api.make_callable_type(f"{__name__}.CallableBase"), True
    except Unsupported:
        return object, False


_base, SUPPORTED = _base_type()


class NativeCallable(_base):  # type: ignore[misc,valid-type]
    """An object whose calls machine code answers where a specialisation fits.

    Args of subclassing:
      native: the class's `__call__` is what answers where none fits. A subclass that defines
        `__call__` without saying so is called through that alone.
    """

    __slots__ = ("__weakref__", "_earlier_hits", "_table")
    _earlier_hits: int
    _table: _Table

    def __init_subclass__(cls, native: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if SUPPORTED and (native or cls.__call__ in _ANSWERING):
            _ANSWERING.add(cls.__call__)
            python_api.enable_vectorcall(cls)

    def add_specialisation(self, specialisation: callable_encode.Specialisation) -> bool:
        """Let machine code answer calls like the one that is described.

        Returns:
          Whether it will: some arguments only Python can take apart.
        """
        if not SUPPORTED:
            return False
        with _machine_code.lock:
            known = self._known()
            if len(known) >= MOST_SPECIALISATIONS:
                return False
            try:
                new = callable_encode.Descriptor(
                    specialisation, known[-1].address if known else 0
                )
            except Unsupported:
                return False
            if not known:
                self._table = _Table()
                put_word(id(self) + python_api.TABLE_POINTER, self._table.address)
            self._table.add(new)
            _machine_code.activate(self)
        return True

    def forget_specialisations(self) -> None:
        """Let Python answer all calls. Calls that run in other threads end as they began."""
        with _machine_code.lock:
            if not self._known():
                return
            put_word(id(self) + python_api.CALL_POINTER, 0)  # nobody looks at the table then
            self._earlier_hits = self.native_hits
            del self._table

    @property
    def native_hits(self) -> int:
        """How many calls machine code has answered."""
        return getattr(self, "_earlier_hits", 0) + sum(
            descriptor.hits for descriptor in self._known()
        )

    def _known(self) -> list[callable_encode.Descriptor]:
        table: _Table | None = getattr(self, "_table", None)
        return table.descriptors if table else []

    def _failed(
        self,
        specialisation: callable_encode.Specialisation,
        status: int,
        leaves: tuple[Any, ...],
    ) -> Any:
        """Raise what an entry's status stands for; machine code calls it."""
        if specialisation.failure is None:
            raise RuntimeError(f"machine code ended with status {status}")
        raise specialisation.failure(status, [as_array(leaf)._value for leaf in leaves])


#: More than this many are not searched one by one; Python's dictionary is faster then.
MOST_SPECIALISATIONS = 64

#: `__call__` functions that answer where no specialisation fits.
_ANSWERING: set[Callable[..., Any]] = set()


class _Table:
    """A TABLE record, and the descriptors it leads to; it loses none of them."""

    def __init__(self) -> None:
        self.descriptors: list[callable_encode.Descriptor] = []
        api = ctypes.addressof(_machine_code.objects)
        words = callable_layout.TABLE.words(api=api, owner=id(self), first=0)
        self._words = callable_layout.in_memory(words)
        self.address = ctypes.addressof(self._words)

    def add(self, descriptor: callable_encode.Descriptor) -> None:
        """Let calls look at a descriptor before all others, to which it leads."""
        self.descriptors.append(descriptor)
        put_word(self.address + callable_layout.TABLE.offset("first"), descriptor.address)


# -- the machine code -------------------------------------------------------------------------


def object_code(target: machine.Target) -> bytes:
    """Object code of the function that answers calls, from the cache if it is there."""
    key = cache.key("callable", target)
    code = cache.lookup(key)
    if code is None:
        code = machine.optimise_and_emit(callable_code.build_module(), target, 1)
        cache.store(key, code)
    return code


_NAMES = ("__call__", "_failed")


def _objects() -> list[int]:
    """The words of the API record."""
    value_at, weak_at = python_api.array_slots()
    return callable_layout.API.words(
        gate=gate.address,
        array=id(Array),
        array_alloc=python_api.allocation_function(Array),
        value_at=value_at,
        weak_at=weak_at,
        ndarray=id(np.ndarray),
        new_array=memory.address("new_array"),
        tuple=id(tuple),
        list=id(list),
        dict=id(dict),
        string=id(str),
        none=id(None),
        true=id(True),
        false=id(False),
        numpy_true=id(np.True_),
        numpy_false=id(np.False_),
        call_name=id(_NAMES[0]),
        failed_name=id(_NAMES[1]),
    )


class _MachineCode:
    """The one function that answers calls, once it is there, and who waits for it.

    Attributes:
      objects: memory for the API record, filled in before the function can be called.
      lock: held where the pointers of an instance change. What interrupts its holder, such as
        a finaliser, may be such a change in turn.
    """

    def __init__(self) -> None:
        self.objects = (ctypes.c_int64 * 64)()
        self.lock = threading.RLock()
        self._code: machine.LoadedCode | None = None
        self._waiting: list[weakref.ref[NativeCallable]] = []
        self._maker: threading.Thread | None = None

    def activate(self, instance: NativeCallable) -> None:
        """Let the function answer an instance's calls, now or as soon as it is there.

        Whoever calls this holds the lock. The thread that makes the function is no daemon:
        LLVM must not be running when the process ends.
        """
        if self._code is not None:
            put_word(id(instance) + python_api.CALL_POINTER, self._code.address("call"))
            return
        self._waiting.append(weakref.ref(instance))
        if self._maker is None:
            self._start()

    def _start(self) -> None:
        # Imports come first: a fork in the middle of one would leave half a module behind.
        for module in (cache, machine, symbols, memory, callable_code):
            _ = module.__name__
        maker = threading.Thread(target=self._make, name="wengert callable")
        with suppress(RuntimeError):  # no new threads while the process ends
            maker.start()
            self._maker = maker

    def _make(self) -> None:
        for place, word in enumerate(_objects()):
            self.objects[place] = word
        addresses = {
            "memory.allocate": memory.address("allocate"),
            "memory.release": memory.address("release"),
            **{name: symbols.address(name) for name in callable_code.PYTHON_SYMBOLS},
        }
        code = machine.load(object_code(machine.Target.host()), addresses, ["call"])
        with self.lock:
            self._code = code
            for reference in self._waiting:
                instance = reference()
                if instance is not None and instance._known():
                    put_word(id(instance) + python_api.CALL_POINTER, code.address("call"))
            self._waiting.clear()

    def wait(self) -> None:
        """Return when the function is there, if it has been asked for."""
        if self._maker is not None:
            self._maker.join()

    def after_fork(self) -> None:
        """Begin anew in a child process: other threads do not exist there."""
        self.lock = threading.RLock()
        self._maker = None
        if self._waiting:
            self._start()


_machine_code = _MachineCode()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_machine_code.after_fork)


def wait_for_machine_code() -> None:
    """Return when instances with specialisations are answered by machine code."""
    _machine_code.wait()
