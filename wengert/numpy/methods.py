"""The operators and methods of arrays, installed on `ArrayLike`.

The core cannot know the NumPy interface, so its functions become methods here, in one table.
Binary operators on two concrete arrays of one dtype take a short way straight to NumPy:
it is what makes eager arithmetic cost a microsecond.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.core.array import Array, ArrayLike
from wengert.core.interpreter import EAGER, Tracer, quiet, state
from wengert.core.primitive import Primitive
from wengert.numpy import (
    arrays,
    comparison,
    contract,
    diagonals,
    elementwise,
    indexing,
    reductions,
    running,
    sorting,
    subscripts,
)
from wengert.numpy.at import AtProperty
from wengert.numpy.layout import (
    matrix_transpose,
    ravel,
    repeat,
    reshape,
    squeeze,
    swapaxes,
    transpose,
)
from wengert.primitives import basis
from wengert.primitives import compare as compare_primitives
from wengert.primitives import elementwise as primitives

Method = Callable[..., Any]

#: Number dtypes on which NumPy's operator means the primitive.
_NUMBERS = frozenset(
    np.dtype(name)
    for name in [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ]
)
_FLOATS = frozenset(d for d in _NUMBERS if d.kind in "fc")
_REALS = frozenset(d for d in _NUMBERS if d.kind != "c")
_OPERANDS = (ArrayLike, np.ndarray, np.generic, int, float, complex)


def _binary(
    name: str,
    function: Method,
    operation: Method,
    primitive: Primitive,
    dtypes: frozenset[Any],
    keeps_weak: bool = True,
) -> tuple[Method, Method, Method]:
    """An operator: its methods for concrete arrays and for tracers, and the reflected one."""

    def concrete(self: Any, other: Any) -> Any:
        if state.interpreter is EAGER:
            x = self._value
            if type(other) is Array:
                y = other._value
                dtype = x.dtype
                if dtype is y.dtype and dtype in dtypes and self._weak is other._weak:
                    try:
                        return Array(quiet().run(operation, x, y), keeps_weak and self._weak)
                    except ValueError:
                        return function(self, other)  # which explains the error
            elif type(other) is float and x.dtype in _FLOATS:
                return Array(quiet().run(operation, x, other), keeps_weak and self._weak)
        if isinstance(other, _OPERANDS):
            return function(self, other)
        return NotImplemented

    def traced(self: Any, other: Any) -> Any:
        if isinstance(other, ArrayLike):
            dtype = self.dtype
            if dtype is other.dtype and dtype in dtypes:
                return primitive(self, other)
        if isinstance(other, _OPERANDS):
            return function(self, other)
        return NotImplemented

    def reflected(self: Any, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return function(other, self)
        return NotImplemented

    for method in (concrete, traced):
        method.__name__ = f"__{name}__"
    reflected.__name__ = f"__r{name}__"
    return concrete, traced, reflected


_ARITHMETIC: list[tuple[str, Method, Method, Primitive, frozenset[Any]]] = [
    ("add", elementwise.add, operator.add, basis.add, _NUMBERS),
    ("sub", elementwise.subtract, operator.sub, primitives.sub, _NUMBERS),
    ("mul", elementwise.multiply, operator.mul, basis.mul, _NUMBERS),
    ("truediv", elementwise.divide, operator.truediv, primitives.div, _FLOATS),
]
_COMPARISONS: list[tuple[str, Method, Method, Primitive]] = [
    ("eq", comparison.equal, operator.eq, compare_primitives.eq),
    ("ne", comparison.not_equal, operator.ne, compare_primitives.ne),
    ("lt", comparison.less, operator.lt, compare_primitives.lt),
    ("le", comparison.less_equal, operator.le, compare_primitives.le),
    ("gt", comparison.greater, operator.gt, compare_primitives.gt),
    ("ge", comparison.greater_equal, operator.ge, compare_primitives.ge),
]
#: Operators that go straight to their function, with the reflected one.
_GENERAL: dict[str, Method] = {
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "divmod": elementwise.divmod,
    "pow": elementwise.power,
    "matmul": contract.matmul,
    "and": comparison.bitwise_and,
    "or": comparison.bitwise_or,
    "xor": comparison.bitwise_xor,
    "lshift": comparison.left_shift,
    "rshift": comparison.right_shift,
}


def _general(name: str, function: Method) -> tuple[Method, Method]:
    def method(self: Any, other: Any) -> Any:
        return function(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    def reflected(self: Any, other: Any) -> Any:
        return function(other, self) if isinstance(other, _OPERANDS) else NotImplemented

    method.__name__, reflected.__name__ = f"__{name}__", f"__r{name}__"
    return method, reflected


def _neg(self: Any) -> Any:
    """Negation; concrete numbers go straight to NumPy."""
    if type(self) is Array and state.interpreter is EAGER and self._value.dtype in _NUMBERS:
        return Array(quiet().run(operator.neg, self._value), self._weak)
    return elementwise.negative(self)


def _iter(self: Any) -> Iterator[Any]:
    if not self.shape:
        raise TypeError("iteration over an array without dimensions")
    return (self[i] for i in range(self.shape[0]))


def _reshape(self: Any, *args: Any, order: str = "C") -> Any:
    new = args[0] if len(args) == 1 and not isinstance(args[0], int) else args
    return reshape(self, new, order=order)


def _transpose(self: Any, *axes: Any) -> Any:
    if not axes or axes == (None,):
        return transpose(self)
    first = axes[0]
    return transpose(self, axes if isinstance(first, int) else first)


def _round(self: Any, ndigits: int | None = None) -> Any:
    return elementwise.round(self, ndigits or 0)


def _flatten(self: Any, order: str = "C") -> Any:
    return ravel(self, order=order)


def _view(self: Any, dtype: Any = None) -> Any:
    return arrays.view(self, dtype)


def _setitem(self: Any, index: Any, value: Any) -> None:
    raise TypeError(
        f"arrays are immutable: x[{index!r}] = value is not possible. "
        f"Write x = x.at[{index!r}].set(value)."
    )


_METHODS: dict[str, Method] = {
    "__setitem__": _setitem,
    "__neg__": _neg,
    "__pos__": elementwise.positive,
    "__abs__": elementwise.absolute,
    "__invert__": comparison.invert,
    "__iter__": _iter,
    "__getitem__": subscripts.getitem,
    "__round__": _round,
    "reshape": _reshape,
    "transpose": _transpose,
    "flatten": _flatten,
    "view": _view,
    "astype": arrays.astype,
    "copy": arrays.copy,
    "conj": elementwise.conjugate,
    "conjugate": elementwise.conjugate,
    "round": elementwise.round,
    "clip": elementwise.clip,
    "dot": contract.dot,
    "trace": contract.trace,
    "diagonal": diagonals.diagonal,
    "take": indexing.take,
    "compress": lambda self, condition, axis=None: indexing.compress(
        condition, self, axis=axis
    ),
    "choose": indexing.choose,
    "nonzero": indexing.nonzero,
    "searchsorted": sorting.searchsorted,
    "sort": sorting.sort,
    "argsort": sorting.argsort,
    "partition": sorting.partition,
    "argpartition": sorting.argpartition,
    "ravel": ravel,
    "squeeze": squeeze,
    "swapaxes": swapaxes,
    "repeat": repeat,
    **{
        name: getattr(reductions, name)
        for name in [
            "sum",
            "prod",
            "mean",
            "var",
            "std",
            "min",
            "max",
            "ptp",
            "any",
            "all",
            "argmin",
            "argmax",
        ]
    },
    "cumsum": running.cumsum,
    "cumprod": running.cumprod,
}
_PROPERTIES: dict[str, Method] = {
    "T": transpose,
    "mT": matrix_transpose,
    "real": elementwise.real,
    "imag": elementwise.imag,
    "flat": ravel,
    "at": AtProperty,
}


def install() -> None:
    """Install operators, methods and properties on `ArrayLike`, `Array` and `Tracer`."""
    arithmetic = [(*row, True) for row in _ARITHMETIC]
    comparisons = [(*row, _REALS, False) for row in _COMPARISONS]
    for name, function, operation, primitive, dtypes, keeps_weak in [*arithmetic, *comparisons]:
        concrete, traced, reflected = _binary(
            name, function, operation, primitive, dtypes, keeps_weak
        )
        setattr(Array, f"__{name}__", concrete)
        setattr(Tracer, f"__{name}__", traced)
        if keeps_weak:
            setattr(ArrayLike, f"__r{name}__", reflected)
    for name, function in _GENERAL.items():
        method, reflected = _general(name, function)
        setattr(ArrayLike, f"__{name}__", method)
        setattr(ArrayLike, f"__r{name}__", reflected)
    for name, method in _METHODS.items():
        setattr(ArrayLike, name, method)
    for name, getter in _PROPERTIES.items():
        setattr(ArrayLike, name, property(getter, doc=f"As the function `{getter.__name__}`."))
    for kind in (Array, Tracer):
        kind.__hash__ = None  # type: ignore[assignment]
