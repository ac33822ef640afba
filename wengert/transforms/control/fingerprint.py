"""What tracing a function depends on, as a key: a body is traced once, not at each call.

A loop that is called eagerly gets its body as a new function object each time, usually a
lambda. Two functions with the same code, and the same values in all places from which the code
can read, have the same program. A `Fingerprint` looks at these places: cells, defaults,
attributes of functions, global variables, and what they hold. It goes by identity for what
cannot change, by value for small things, and looks into containers and other functions.
Anything else (large NumPy arrays, objects, modules of the user) has no fingerprint; such
functions are traced anew.

Traced values are placeholders: they become operands of the program, whichever they are.
"""

from __future__ import annotations

import functools
import opcode
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core import tree
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import Tracer
from wengert.transforms.jit import JitFunction

#: Modules whose functions and constants are taken for fixed.
_FIXED_MODULES = frozenset(
    {
        "wengert",
        "numpy",
        "math",
        "cmath",
        "operator",
        "functools",
        "itertools",
        "builtins",
        "ml_dtypes",
    }
)
#: Built-in functions that read what is not to be seen in the code.
_READERS = frozenset({"eval", "exec", "globals", "locals", "vars", "open", "input"})
#: Immutable values that are compared by type and value.
_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None)),
    *(np.generic, np.dtype, ArrayType, tree.TreeDef),
)
#: NumPy arrays up to this size are compared by value.
_SMALL = 64
#: Arrays that a key keeps alive may take so many bytes.
_HELD_BYTES = 1 << 20


class Unknown(Exception):
    """The value has no fingerprint."""


class _Same:
    """An object that is equal to itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return type(other) is _Same and other.value is self.value


class Fingerprint:
    """The key of a function, and the placeholders found on the way.

    Attributes:
      key: equal for functions that are traced to the same program.
      tracers: the traced values it refers to, in an order that equal keys share.
    """

    __slots__ = ("_bytes", "_open", "key", "tracers")

    def __init__(self, fun: Callable[..., Any]) -> None:
        """Look at a function.

        Raises:
          Unknown: when it refers to something that has no fingerprint.
        """
        self.tracers: list[Tracer] = []
        self._bytes = 0
        self._open: list[Any] = []
        self.key = self._of(fun)

    def _of(self, value: Any) -> Any:
        kind = type(value)
        if kind is types.FunctionType:
            return self._function(value)
        if isinstance(value, _PLAIN):
            if isinstance(value, float | complex | np.inexact):  # NaN and -0.0 by their text
                return kind, repr(value)
            return kind, value
        if isinstance(value, Tracer):
            return self._tracer(value)
        if kind is Array:
            return self._array(value)
        if kind is np.ndarray:
            return self._numpy(value)
        if isinstance(value, tuple | list):
            return kind, *map(self._of, value)
        if kind is dict:
            return kind, *((self._of(k), self._of(v)) for k, v in value.items())
        if kind is JitFunction:
            return _Same(value), self._of(value.__wrapped__)
        if kind is functools.partial:
            return kind, self._of(value.func), self._of(value.args), self._of(value.keywords)
        return self._fixed(value)

    def _tracer(self, value: Tracer) -> Any:
        known = next((i for i, t in enumerate(self.tracers) if t is value), None)
        if known is not None:
            return "again", known
        self.tracers.append(value)
        return "tracer", value.type

    def _array(self, value: Array) -> Any:
        data = value._value
        if isinstance(data, np.generic):
            return "scalar", data.dtype, data.tobytes(), value.weak_type
        if data.base is not None:
            return *self._numpy(data), value.weak_type
        self._bytes += data.nbytes
        if self._bytes > _HELD_BYTES:
            raise Unknown
        return _Same(value)

    @staticmethod
    def _numpy(value: np.ndarray[Any, Any]) -> Any:
        if value.size > _SMALL or value.dtype.hasobject:
            raise Unknown
        return "numpy", value.shape, value.dtype, value.tobytes()

    def _fixed(self, value: Any) -> Any:
        """Modules, classes, built-in functions and ufuncs of fixed modules."""
        module = value.__name__ if type(value) is types.ModuleType else None
        if module is not None and module.startswith("numpy.random"):
            raise Unknown  # it gives other numbers each time
        if isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
            module = getattr(value, "__module__", None) or "numpy"
            if not isinstance(getattr(value, "__self__", None), types.ModuleType | None):
                raise Unknown  # a method of some object
        if module is None or module.partition(".")[0].lstrip("_") not in _FIXED_MODULES:
            raise Unknown
        return _Same(value)

    def _function(self, fun: types.FunctionType) -> Any:
        if any(fun is f for f in self._open):
            return "recursive", next(i for i, f in enumerate(self._open) if f is fun)
        self._open.append(fun)
        cells = tuple(self._cell(cell) for cell in fun.__closure__ or ())
        given = self._of(fun.__defaults__), self._of(fun.__kwdefaults__)
        scope = fun.__globals__
        ours = scope.get("__name__", "").partition(".")[0] == "wengert"
        names = () if ours else _names(fun.__code__)
        read = tuple((name, self._of(scope[name])) for name in names if name in scope)
        if "random" in names and any(scope.get(name) is np for name in names):
            raise Unknown
        if not ours and _reads_anything(fun.__code__):
            raise Unknown
        kept = () if ours or not fun.__dict__ else self._of(fun.__dict__)
        return _Same(fun.__code__), cells, given, read, kept

    def _cell(self, cell: types.CellType) -> Any:
        try:
            return self._of(cell.cell_contents)
        except ValueError:  # a name that is assigned later
            return "empty"


def fingerprint(fun: Callable[..., Any]) -> Fingerprint | None:
    """The fingerprint of a function; None when it refers to something that has none."""
    try:
        return Fingerprint(fun)
    except Unknown:
        return None


@functools.lru_cache(maxsize=1024)
def _reads_anything(code: types.CodeType) -> bool:
    """Whether code, or code inside it, imports or uses what reads anything at all."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    imports = opcode.opmap["IMPORT_NAME"] in code.co_code[::2]
    return imports or not _READERS.isdisjoint(code.co_names) or any(map(_reads_anything, inner))


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names that code, and code inside it, may look up in global variables."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    found = {*code.co_names, *(name for c in inner for name in _names(c))}
    return tuple(sorted(found))
