"""Elements that are functions of the process: inner loops of ufuncs, called on lanes.

For special functions, and functions of complex numbers, kernels call the C loops that SciPy and
NumPy themselves run (see `ufuncs`): lanes are put on the stack, the loop computes them, and
they are read again. So results are those of the eager engine to the last bit, no Python runs,
and threads share the work like that of any other kernel.

`CALLS` has functions of real, `COMPLEX_CALLS` of complex lanes; their form is that of the
tables in `elements`. 16-bit floats are held as float32, and computed in it as the eager engine
does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from wengert.core.lazy import lazy_module
from wengert.engines.native.complexes import Pair
from wengert.engines.native.expressions import Apply, Constant
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors, reserve

ir = lazy_module("llvmlite.ir")
special = lazy_module("scipy.special")

Emit = Callable[..., Any]

#: Stack slots by function: calls follow each other, and use the same ones.
_slots: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


# -- calling -----------------------------------------------


def call(v: Vectors, ufunc: str, characters: str, *operands: Any) -> Any:
    """The result of a ufunc's loop on lanes.

    Args:
      ufunc: its module and name, `special.gammaln`.
      characters: the dtype characters of operands and result, `dd`.
      operands: lanes of these dtypes, `Pair` for complex ones.
    """
    builder = v.builder
    pointers = [_stored(v, i, x) for i, x in enumerate(operands)]
    out = _slot(v, f"result.{characters[-1]}", _memory_type(v, characters[-1]))
    pointers.append(out)
    table = _slot(v, "pointers", ir.ArrayType(ir.PointerType(), 8))
    for i, pointer in enumerate(pointers):
        builder.store(pointer, _at(v, table, 8 * i))  # loops move the pointers
    sizes = [np.dtype(c).itemsize for c in characters]
    data = _symbol(v, f"ufunc.{ufunc}.{characters}.data", _loop_type())
    args = [table, _numbers(v, [v.lanes]), _numbers(v, sizes), data]
    builder.call(_symbol(v, f"ufunc.{ufunc}.{characters}", _loop_type()), args)
    value = builder.load(out, typ=_memory_type(v, characters[-1]), align=8)
    return _parts(v, value) if characters[-1] in "FD" else value


def _loop_type() -> Any:
    return ir.FunctionType(ir.VoidType(), [ir.PointerType()] * 4)


def _symbol(v: Vectors, name: str, type_: Any) -> Any:
    v.use_symbol(name)
    return v.module.globals.get(name) or ir.Function(v.module, type_, name)


def _memory_type(v: Vectors, character: str) -> Any:
    element = {"f": ir.FloatType, "F": ir.FloatType, "l": lambda: ir.IntType(64)}
    count = 2 * v.lanes if character in "FD" else v.lanes
    type_ = element.get(character, ir.DoubleType)()
    return type_ if count == 1 else ir.VectorType(type_, count)


def _slot(v: Vectors, name: str, type_: Any) -> Any:
    """The place of this name on the stack of the function that is being written."""
    slots = _slots.setdefault(v.builder.function, {})
    key = f"{name}.{type_}"
    if key not in slots:
        slots[key] = reserve(v.builder, type_, 64)
    return slots[key]


def _at(v: Vectors, pointer: Any, nbytes: int) -> Any:
    if not nbytes:
        return pointer
    offset = ir.Constant(ir.IntType(64), nbytes)
    return v.builder.gep(pointer, [offset], inbounds=True, source_etype=ir.IntType(8))


def _stored(v: Vectors, position: int, x: Any) -> Any:
    if isinstance(x, Pair):
        x = _interleaved(v, x)
    slot = _slot(v, f"operand.{position}", x.type)
    v.builder.store(x, slot, align=8)
    return slot


def _interleaved(v: Vectors, x: Pair) -> Any:
    """Both parts of complex lanes as they alternate in memory."""
    if v.lanes == 1:
        pair = ir.Constant(ir.VectorType(x.real.type, 2), ir.Undefined)
        for i, part in enumerate(x):
            pair = v.builder.insert_element(pair, part, ir.Constant(ir.IntType(32), i))
        return pair
    places = [i // 2 + (i % 2) * v.lanes for i in range(2 * v.lanes)]
    return v._shuffled(x.real, x.imag, places)


def _parts(v: Vectors, x: Any) -> Pair:
    if v.lanes == 1:
        return Pair(
            *(v.builder.extract_element(x, ir.Constant(ir.IntType(32), i)) for i in (0, 1))
        )
    lanes = range(v.lanes)
    return Pair(*(v._shuffled(x, x, [2 * i + part for i in lanes]) for part in (0, 1)))


def _numbers(v: Vectors, numbers: Sequence[int]) -> Any:
    """A constant array of integers."""
    name = "wengert.numbers." + ".".join(map(str, numbers))
    known = v.module.globals.get(name)
    if known is None:
        type_ = ir.ArrayType(ir.IntType(64), len(numbers))
        known = ir.GlobalVariable(v.module, type_, name)
        known.linkage, known.global_constant = "internal", True
        known.initializer = ir.Constant(type_, list(numbers))
        known.type = ir.PointerType()
    return known


# -- real functions -----------------------------------------------


def _letter(v: Vectors, x: Any) -> str:
    return "d" if v.is_double(x) else "f"


def _plain(ufunc: str) -> Emit:
    """A function of operands of one dtype."""

    def emit(v: Vectors, node: Apply, *operands: Any) -> Any:
        return call(v, ufunc, _letter(v, operands[0]) * (len(operands) + 1), *operands)

    return emit


def _polygamma(v: Vectors, node: Apply, n: Any, x: Any) -> Any:
    letter = _letter(v, x)
    order = node.args[0]
    if isinstance(order, Constant):
        if order.value == 0:
            return call(v, "special.digamma", letter * 2, x)
        high = np.dtype(letter).type(order.value) + 1.0
        with np.errstate(all="ignore"):
            factor = v.constant((-1.0) ** high * special.gamma(high), x)
        return v.mul(factor, call(v, "special.zeta", letter * 3, v.constant(high, x), x))
    high = v.add(n, v.constant(1.0, n))
    sign = FUNCTIONS["pow"](v, v.constant(-1.0, x), high)
    factor = v.mul(sign, call(v, "special.gamma", letter * 2, high))
    out = v.mul(factor, call(v, "special.zeta", letter * 3, high, x))
    digamma = call(v, "special.digamma", letter * 2, x)
    return v.select(v.compare("eq", n, v.constant(0.0, n)), digamma, out)


def _bessel(low: Sequence[str], high: str) -> Emit:
    def emit(v: Vectors, node: Apply, x: Any) -> Any:
        order, letter = node.params.get("order", 0), _letter(v, x)
        if order < 2:
            return call(v, low[order], letter * 2, x)
        return call(v, high, letter * 3, v.constant(order, x), x)

    return emit


def _expn(v: Vectors, node: Apply, x: Any) -> Any:
    wide = x if v.is_double(x) else v.widen(x)
    n = v.constant(node.params.get("n", 1), v.vector_of(ir.IntType(64)))
    out = call(v, "special.expn", "ldd", n, wide)
    return out if v.is_double(x) else v.narrow(out)


CALLS: dict[str, Emit] = {
    **{
        name: _plain(f"special.{ufunc}")
        for name, ufunc in {"igamma": "gammainc", "igammac": "gammaincc"}.items()
    },
    **{
        name: _plain(f"special.{name}")
        for name in "erfcx gamma gammasgn betaln betainc exp1 expi spence entr".split()
    },
    "rel_entr": _plain("special.rel_entr"),
    "kl_div": _plain("special.kl_div"),
    "zeta": _plain("special.zeta"),
    "polygamma": _polygamma,
    "bessel_i": _bessel(("special.i0", "special.i1"), "special.iv"),
    "bessel_ie": _bessel(("special.i0e", "special.i1e"), "special.ive"),
    "expn": _expn,
}


# -- complex functions -----------------------------------------------


def _complex_letter(v: Vectors, x: Pair) -> str:
    return "D" if v.is_double(x.real) else "F"


def _plain_complex(ufunc: str) -> Emit:
    def emit(v: Vectors, node: Apply, *operands: Pair) -> Pair:
        letter = _complex_letter(v, operands[0])
        out: Pair = call(v, ufunc, letter * (len(operands) + 1), *operands)
        return out

    return emit


COMPLEX_CALLS: dict[str, Emit] = {
    **{
        name: _plain_complex(f"numpy.{ufunc}")
        for name, ufunc in {
            **{n: n for n in "exp exp2 log log2 log10 sqrt sin cos tan sinh cosh tanh".split()},
            **{f"a{n}": f"arc{n}" for n in "sin cos tan sinh cosh tanh".split()},
            "pow": "power",
        }.items()
    },
    **{name: _plain_complex(f"special.{name}") for name in "expm1 log1p erf erfc".split()},
}
