"""Elementwise primitives on lanes: what a kernel's body is made of.

`TABLE` maps the name of a primitive to a function `(v, node, *values)` that builds it: `v` is a
`Vectors`, `node` the `Apply` with dtypes and parameters, the values are lanes. Transcendental
functions come from `math`. The meaning is that of the primitive's `compute`, bit by bit, except
in the last digits of transcendental functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native import (
    complexes,
    elements_bits,
    elements_calls,
    elements_complex,
    elements_division,
    elements_jets,
    elements_random,
)
from wengert.engines.native.complexes import Pair, part_dtype
from wengert.engines.native.elements_memory import narrowed, round_to_16_bits
from wengert.engines.native.expressions import Apply
from wengert.engines.native.math import FUNCTIONS
from wengert.engines.native.vectors import Vectors

ir = lazy_module("llvmlite.ir")

Emit = Callable[..., Any]


def _floating(node: Apply, position: int = 0) -> bool:
    return dtypes.is_floating(node.args[position].dtype)


def _kind(node: Apply, position: int = 0) -> str:
    return dtypes.kind(node.args[position].dtype)


# -- arithmetic -----------------------------------------------


def _add(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    if _floating(node):
        return v.add(x, y)
    return v.builder.or_(x, y) if _kind(node) == "b" else v.builder.add(x, y)


def _sub(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    return v.sub(x, y) if _floating(node) else v.builder.sub(x, y)


def _mul(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    if _floating(node):
        return v.mul(x, y)
    return v.builder.and_(x, y) if _kind(node) == "b" else v.builder.mul(x, y)


def _neg(v: Vectors, node: Apply, x: Any) -> Any:
    return v.neg(x) if _floating(node) else v.builder.sub(v.constant(0, x), x)


def _masked_mul(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    if not _floating(node):
        return v.builder.mul(x, y)
    product = v.mul(x, y)
    zero = v.constant(0.0, x)
    hidden = v.builder.and_(v.is_nan(product), v.compare("eq", x, zero))
    return v.select(hidden, zero, product)


def _reciprocal(v: Vectors, node: Apply, x: Any) -> Any:
    return v.div(v.constant(1.0, x), x)


def _square(v: Vectors, node: Apply, x: Any) -> Any:
    return _mul(v, node, x, x)


def _integer_pow(v: Vectors, node: Apply, x: Any) -> Any:
    power = node.params["y"]
    if power == -1:
        return _reciprocal(v, node, x)
    if power == 3:
        return _mul(v, node, _held(v, node, _mul(v, node, x, x)), x)
    if abs(power) > 8 and _floating(node):
        return FUNCTIONS["pow"](v, x, v.constant(power, x))
    out, base, left = None, x, abs(power)
    while left:  # by repeated squaring
        if left & 1:
            out = base if out is None else _mul(v, node, out, base)
        left >>= 1
        if left:
            base = _mul(v, node, base, base)
    if out is None:
        return v.constant(1, x)
    return _reciprocal(v, node, out) if power < 0 else out


def _pow(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    if _floating(node):
        return FUNCTIONS["pow"](v, x, y)
    return elements_bits.whole_power(v, x, y)


def _sqrt(v: Vectors, node: Apply, x: Any) -> Any:
    return v.sqrt(x)


def _rsqrt(v: Vectors, node: Apply, x: Any) -> Any:
    return v.div(v.constant(1.0, x), _held(v, node, v.sqrt(x)))


def _held(v: Vectors, node: Apply, x: Any) -> Any:
    """An intermediate result as the eager engine has it: of 16 bits where operands have 16."""
    narrow = _floating(node) and node.dtype.itemsize == 2
    return round_to_16_bits(v, x, node.dtype) if narrow else x


# -- size, sign, extrema -----------------------------------------------


def _abs(v: Vectors, node: Apply, x: Any) -> Any:
    if _floating(node):
        return v.fabs(x)
    if _kind(node) == "u":
        return x
    negative = v.compare("lt", x, v.constant(0, x))
    return v.select(negative, v.builder.sub(v.constant(0, x), x), x)


def _sign(v: Vectors, node: Apply, x: Any) -> Any:
    zero, one, minus = v.constant(0, x), v.constant(1, x), v.constant(-1, x)
    signed = _kind(node) != "u"
    out = v.select(v.compare("gt", x, zero, signed), one, zero)
    if signed:
        out = v.select(v.compare("lt", x, zero), minus, out)
    if node.dtype == dtypes.bfloat16:  # whose zeros keep their sign
        out = v.select(v.compare("eq", x, zero), x, out)
    return v.select(v.is_nan(x), x, out) if _floating(node) else out


def _copysign(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    return v.copysign(x, y)


def _heaviside(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    zero, one = v.constant(0.0, x), v.constant(1.0, x)
    out = v.select(v.compare("lt", x, zero), zero, one)
    out = v.select(v.compare("eq", x, zero), y, out)
    return v.select(v.is_nan(x), x, out)


def extremum(op: str, ignore_nan: bool = False) -> Emit:
    """Maximum (`op` is "gt") or minimum ("lt"); NaN wins, or with `ignore_nan` loses.

    Of zeros of both signs it is the second, but in float16 the first, as in NumPy.
    """

    def emit(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
        half = node.args[0].dtype == np.float16
        first = v.compare(op.replace("t", "e") if half else op, x, y, _kind(node) == "i")
        if _floating(node):
            first = v.builder.or_(first, v.is_nan(y if ignore_nan else x))
        return v.select(first, x, y)

    return emit


_maximum, _minimum = extremum("gt"), extremum("lt")


def _clamp(v: Vectors, node: Apply, low: Any, x: Any, high: Any) -> Any:
    return _minimum(v, node, _maximum(v, node, x, low), high)


def _share(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    like = v.type(node.dtype)
    zero, half, one = (v.constant(c, like) for c in (0.0, 0.5, 1.0))
    signed = _kind(node) == "i"
    wins = v.compare("lt" if node.params.get("lesser") else "gt", x, y, signed)
    tie = half if dtypes.is_floating(node.dtype) else zero
    out = v.select(v.compare("eq", x, y), tie, v.select(wins, one, zero))
    if node.params.get("ignore_nan") and _floating(node):
        alone = v.builder.and_(v.is_nan(y), v.compare("eq", x, x))
        out = v.select(alone, one, out)
    return out


# -- comparison and logic -----------------------------------------------


def _comparison(op: str) -> Emit:
    def emit(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
        return v.compare(op, x, y, _kind(node) == "i")

    return emit


def _truth(v: Vectors, value: bool) -> Any:
    return v.constant(int(value), v.mask_type)


def _is_finite(v: Vectors, node: Apply, x: Any) -> Any:
    if not _floating(node):
        return _truth(v, True)
    return v.compare("lt", v.fabs(x), v.constant(math.inf, x))


def _isnan(v: Vectors, node: Apply, x: Any) -> Any:
    return v.is_nan(x) if _floating(node) else _truth(v, False)


def _isinf(v: Vectors, node: Apply, x: Any) -> Any:
    if not _floating(node):
        return _truth(v, False)
    return v.compare("eq", v.fabs(x), v.constant(math.inf, x))


def _signbit(v: Vectors, node: Apply, x: Any) -> Any:
    if _kind(node) == "u":
        return _truth(v, False)
    bits = v.as_bits(x) if _floating(node) else x
    return v.compare("lt", bits, v.constant(0, bits))


def _bitwise(name: str) -> Emit:
    def emit(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
        return getattr(v.builder, name)(x, y)

    return emit


def _bitwise_not(v: Vectors, node: Apply, x: Any) -> Any:
    return v.builder.xor(x, v.constant(-1, x))


def _shift(build: str, beyond_is_sign: bool = False) -> Emit:
    def emit(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
        inside = v.compare("lt", y, v.constant(v.bits(x), y), signed=False)
        if beyond_is_sign and _kind(node) == "i":
            distance = v.select(inside, y, v.constant(v.bits(x) - 1, y))
            return v.builder.ashr(x, distance)
        zero = v.constant(0, x)
        return v.select(inside, getattr(v.builder, build)(x, v.select(inside, y, zero)), zero)

    return emit


def _clz(v: Vectors, node: Apply, x: Any) -> Any:
    name = f"llvm.ctlz.{_mangled(x)}"
    truth = ir.IntType(1)
    function = v.module.globals.get(name) or ir.Function(
        v.module, ir.FunctionType(x.type, [x.type, truth]), name
    )
    return v.builder.call(function, [x, ir.Constant(truth, 0)])


def _mangled(x: Any) -> str:
    if isinstance(x.type, ir.VectorType):
        return f"v{x.type.count}i{x.type.element.width}"
    return f"i{x.type.width}"


def _population_count(v: Vectors, node: Apply, x: Any) -> Any:
    return v.intrinsic("llvm.ctpop", x.type, x)


def _rounding(name: str) -> Emit:
    def emit(v: Vectors, node: Apply, x: Any) -> Any:
        return getattr(v, name)(x) if _floating(node) else x

    return emit


def _round(v: Vectors, node: Apply, x: Any) -> Any:
    if not _floating(node):
        return x
    if not node.params.get("away_from_zero"):
        return v.rint(x)
    whole = v.trunc(x)
    far = v.compare("ge", v.fabs(v.sub(x, whole)), v.constant(0.5, x))
    step = v.select(far, v.constant(1.0, x), v.constant(0.0, x))
    return v.add(whole, v.copysign(step, x))


def _select(v: Vectors, node: Apply, truth: Any, x: Any, y: Any) -> Any:
    return v.select(truth, x, y)


def _same(v: Vectors, node: Apply, x: Any) -> Any:
    return x


# -- conversion -----------------------------------------------


def _convert(v: Vectors, node: Apply, x: Any) -> Any:
    return converted(v, x, node.args[0].dtype, node.dtype)


def converted(v: Vectors, x: Any, source: Any, target: Any) -> Any:
    """Lanes of one dtype in another, with the meaning of the primitive `convert`."""
    if source == target:
        return x
    if dtypes.is_complex(target):
        part = part_dtype(target)
        if isinstance(x, Pair):
            given = part_dtype(source)
            return Pair(converted(v, x.real, given, part), converted(v, x.imag, given, part))
        return Pair(converted(v, x, source, part), v.constant(0.0, v.type(part)))
    if isinstance(x, Pair):
        if dtypes.kind(target) == "b":
            zero = v.constant(0.0, x.real)
            parts = v.compare("ne", x.real, zero), v.compare("ne", x.imag, zero)
            return v.builder.or_(*parts)
        return converted(v, x.real, part_dtype(source), target)
    before, after = dtypes.kind(source), dtypes.kind(target)
    type_ = v.type(target)
    if after == "b":
        zero = v.constant(0, x)
        return v.compare("ne", x, zero)
    if before == "f" and after == "f":
        if x.type == type_:
            return x
        return v.widen(x) if target.itemsize == 8 else narrowed(v, x, target)
    if before == "f":
        return _to_integer(v, x, target)
    if after == "f":
        build = v.builder.sitofp if before == "i" else v.builder.uitofp
        if target == np.float16 and source.itemsize >= 4:  # one rounding: float64 is exact here
            wide = build(x, v.vector_of(ir.DoubleType()))
            return narrowed(v, wide, target)
        return build(x, type_)
    return _integers(v, x, before, type_)


def _integers(v: Vectors, x: Any, before: str, type_: Any) -> Any:
    element = type_.element if isinstance(type_, ir.VectorType) else type_
    if element.width < v.bits(x):
        return v.builder.trunc(x, type_)
    if element.width == v.bits(x):
        return x
    return v.builder.sext(x, type_) if before == "i" else v.builder.zext(x, type_)


def _to_integer(v: Vectors, x: Any, target: Any) -> Any:
    """Towards zero, the ends of the range beyond it, and 0 for NaN."""
    info = np.iinfo(target)
    signed = dtypes.kind(target) == "i"
    type_ = v.type(target)
    low, high = v.constant(float(info.min), x), v.constant(float(info.max + 1), x)
    below = v.compare("lt", x, low) if signed else v.compare("le", x, v.constant(-1.0, x))
    above = v.compare("ge", x, high)
    outside = v.builder.or_(v.builder.or_(below, above), v.is_nan(x))
    safe = v.select(outside, v.constant(0.0, x), x)
    build = v.builder.fptosi if signed else v.builder.fptoui
    out = build(safe, type_)
    out = v.select(below, v.constant(int(info.min), type_), out)
    return v.select(above, v.constant(int(info.max), type_), out)


# -- the tables -----------------------------------------------

TABLE: dict[str, Emit] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "masked_mul": _masked_mul,
    "neg": _neg,
    "reciprocal": _reciprocal,
    "square": _square,
    "integer_pow": _integer_pow,
    "pow": _pow,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "abs": _abs,
    "sign": _sign,
    "copysign": _copysign,
    "heaviside": _heaviside,
    "maximum": _maximum,
    "minimum": _minimum,
    "fmax": extremum("gt", ignore_nan=True),
    "fmin": extremum("lt", ignore_nan=True),
    "clamp": _clamp,
    "share": _share,
    **{name: _comparison(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "is_finite": _is_finite,
    "isnan": _isnan,
    "isinf": _isinf,
    "signbit": _signbit,
    "bitwise_and": _bitwise("and_"),
    "bitwise_or": _bitwise("or_"),
    "bitwise_xor": _bitwise("xor"),
    "bitwise_not": _bitwise_not,
    "shift_left": _shift("shl"),
    "shift_right_arithmetic": _shift("lshr", beyond_is_sign=True),
    "shift_right_logical": _shift("lshr"),
    "clz": _clz,
    "population_count": _population_count,
    "floor": _rounding("floor"),
    "ceil": _rounding("ceil"),
    "trunc": _rounding("trunc"),
    "round": _round,
    "select": _select,
    "convert": _convert,
    "copy": _same,
    "stop_gradient": _same,
    "optimization_barrier": _same,
    "checkpoint_name": _same,
    "conj": _same,
    **elements_division.TABLE,
    **elements_bits.TABLE,
    **elements_random.TABLE,
    **elements_jets.TABLE,
}

#: Functions of floating numbers, from `math`; they take lanes of one dtype.
FLOATING_ONLY = frozenset(
    "reciprocal sqrt rsqrt copysign heaviside nextafter spacing frexp_mantissa frexp_exponent "
    "ldexp reduce_precision normal_quantile".split()
)


def is_element(equation: Equation) -> bool:
    """Whether an equation is elementwise and has code for its dtypes and parameters."""
    name = equation.primitive.name
    types = [a.type for a in (*equation.inputs, *equation.outputs) if hasattr(a.type, "dtype")]
    arrays = [a.type for a in equation.inputs if hasattr(a.type, "dtype")]
    if not arrays:
        return False
    condition = _CONDITIONS.get(name)
    if condition is not None and not condition(equation):
        return False
    if any(dtypes.is_complex(t.dtype) for t in types):
        return name in elements_complex.TABLE or name == "convert"
    if name in FUNCTIONS or name in elements_calls.CALLS or name in FLOATING_ONLY:
        return dtypes.is_floating(arrays[0].dtype) or name == "pow"
    return name in TABLE


def _keeps_size(equation: Equation) -> bool:
    (x,), (out,) = equation.inputs, equation.outputs
    sizes = {t.dtype.itemsize for t in (x.type, out.type)}
    return len(sizes) == 1 and not any(dtypes.is_complex(t.dtype) for t in (x.type, out.type))


#: What must hold of an equation beside its dtypes.
_CONDITIONS: dict[str, Callable[[Equation], bool]] = {
    "bitcast_convert": _keeps_size,
    "integer_pow": lambda e: e.params["y"] >= 0 or dtypes.is_inexact(e.outputs[0].type.dtype),
    "ldexp": lambda e: e.inputs[1].type.dtype != np.uint64,
    "sinc": lambda e: not e.params.get("order"),
}

#: Costs, in vector operations, of those that are not about one.
_COSTS = {
    "div": 5,
    "reciprocal": 5,
    "sqrt": 6,
    "rsqrt": 10,
    "pow": 60,
    "masked_mul": 4,
    "copy": 0,
    "stop_gradient": 0,
    "optimization_barrier": 0,
    "maximum": 3,
    "minimum": 3,
    "clamp": 6,
    "share": 4,
    "checkpoint_name": 0,
    "conj": 0,
    "mod": 40,
    "rem": 30,
    "floor_divide": 40,
    **dict.fromkeys(("gcd", "lcm"), 200),
    **dict.fromkeys(elements_jets.TABLE, 2000),
    "ldexp": 12,
    **dict.fromkeys(("threefry2x32", "random_bits", "random_split", "random_fold_in"), 75),
    "first_word": 0,
    "second_word": 0,
}


def cost_of(name: str) -> int:
    """What an operation costs, in vector operations."""
    if name in _COSTS:
        return _COSTS[name]
    return 25 if name in FUNCTIONS else 200 if name in elements_calls.CALLS else 1


def emit_element(v: Vectors, node: Apply, args: list[Any]) -> Any:
    """Build an elementwise operation on lanes; 16-bit results are rounded to 16 bits."""
    if complexes.is_complex(node) and node.name != "convert":
        return elements_complex.TABLE[node.name](v, node, *args)
    build = TABLE.get(node.name)
    if build is None and node.name in FUNCTIONS:
        out = FUNCTIONS[node.name](v, *args)
    else:
        build = build or elements_calls.CALLS[node.name]
        out = build(v, node, *args)
    if node.dtype.itemsize == 2 and dtypes.is_floating(node.dtype) and node.name not in _EXACT:
        return round_to_16_bits(v, out, node.dtype)
    return out


#: Operations whose result has no more digits than their operands.
_EXACT = frozenset(
    "neg abs select copy stop_gradient optimization_barrier checkpoint_name copysign sign "
    "unit_interval nextafter bitcast_convert reduce_precision frexp_mantissa".split()
)
