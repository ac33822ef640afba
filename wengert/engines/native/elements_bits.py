"""Elements that look at how numbers are represented: neighbours, exponents, bits, whole powers.

Floating numbers are taken apart and put together again in integers; so what is denormal needs
no care of its own, and nothing is rounded but where the result has no room. 16-bit floats,
which are held as float32, are looked at in their own 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.lazy import lazy_module
from wengert.engines.native.elements_division import any_lane
from wengert.engines.native.elements_memory import from_memory, memory_type, to_memory
from wengert.engines.native.expressions import Apply
from wengert.engines.native.vectors import Vectors
from wengert.primitives.precision import FORMATS

ir = lazy_module("llvmlite.ir")

Emit = Callable[..., Any]


def own_bits(v: Vectors, x: Any, dtype: Any) -> Any:
    """The bits of numbers of a real dtype, as integers of its own size."""
    stored = to_memory(v, x, dtype)
    return v.builder.bitcast(stored, v.vector_of(ir.IntType(8 * dtype.itemsize)))


def of_own_bits(v: Vectors, bits: Any, dtype: Any) -> Any:
    """The numbers with these bits."""
    return from_memory(v, v.builder.bitcast(bits, memory_type(v, dtype)), dtype)


def _sign_mask(v: Vectors, bits: Any) -> Any:
    return v.constant(1 << (v.bits(bits) - 1), bits)


# -- neighbours -----------------------------------------------


def _towards(v: Vectors, bits: Any, up: Any) -> Any:
    """The bits of the next number, above where `up` and below elsewhere; NaN is not asked."""
    builder = v.builder
    sign = builder.and_(bits, _sign_mask(v, bits))
    size = builder.xor(bits, sign)
    zero, one = v.constant(0, bits), v.constant(1, bits)
    negative = v.compare("ne", sign, zero)
    away = builder.xor(up, negative)
    moved = v.select(away, builder.add(bits, one), builder.sub(bits, one))
    least = v.select(up, one, builder.or_(_sign_mask(v, bits), one))
    return v.select(v.compare("eq", size, zero), least, moved)


def _nextafter(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    bits = own_bits(v, x, node.dtype)
    moved = of_own_bits(v, _towards(v, bits, v.compare("gt", y, x)), node.dtype)
    same = x if node.dtype == np.float16 else y  # of zeros of both signs
    out = v.select(v.compare("eq", x, y), same, moved)
    unordered = v.builder.fcmp_unordered("uno", x, y)
    return v.select(unordered, v.constant(math.nan, x), out)


def _spacing(v: Vectors, node: Apply, x: Any) -> Any:
    bits = own_bits(v, x, node.dtype)
    zero = v.constant(0.0, x)
    if node.dtype == np.float16:  # upwards here, away from zero elsewhere
        up = v.constant(1, v.mask_type)
    elif node.dtype == dtypes.bfloat16:  # also from -0.0
        up = v.compare("ge", bits, v.constant(0, bits))
    else:
        up = v.compare("ge", x, zero)
    following = of_own_bits(v, _towards(v, bits, up), node.dtype)
    infinite = v.compare("eq", v.fabs(x), v.constant(math.inf, zero))
    return v.select(infinite, v.constant(math.nan, x), v.sub(following, x))


# -- exponents -----------------------------------------------


def _format(v: Vectors, x: Any) -> tuple[int, int]:
    """Bits of mantissa, and bias of exponents, of lanes."""
    return (52, 1023) if v.is_double(x) else (23, 127)


def _normal(v: Vectors, x: Any) -> tuple[Any, Any]:
    """The bits of |x|, those of denormals times a power of two; and that power's exponent."""
    digits, bias = _format(v, x)
    size = v.fabs(x)
    small = v.compare("lt", size, v.constant(2.0 ** (1 - bias), x))
    bits = v.as_bits(v.select(small, v.mul(size, v.constant(2.0**digits, x)), size))
    return bits, v.select(small, v.constant(digits, bits), v.constant(0, bits))


def _is_ordinary(v: Vectors, x: Any) -> Any:
    """Whether numbers are neither zero nor infinite nor NaN."""
    size = v.fabs(x)
    nonzero = v.compare("gt", size, v.constant(0.0, x))
    return v.builder.and_(nonzero, v.compare("lt", size, v.constant(math.inf, x)))


def _frexp_mantissa(v: Vectors, node: Apply, x: Any) -> Any:
    digits, bias = _format(v, x)
    bits, _ = _normal(v, x)
    fraction = v.builder.and_(bits, v.constant((1 << digits) - 1, bits))
    half = v.builder.or_(fraction, v.constant((bias - 1) << digits, bits))
    return v.select(_is_ordinary(v, x), v.copysign(v.as_float(half), x), x)


def _frexp_exponent(v: Vectors, node: Apply, x: Any) -> Any:
    digits, bias = _format(v, x)
    bits, shift = _normal(v, x)
    exponent = v.builder.lshr(bits, v.constant(digits, bits))
    exponent = v.builder.sub(exponent, v.builder.add(shift, v.constant(bias - 1, bits)))
    exponent = v.select(_is_ordinary(v, x), exponent, v.constant(0, bits))
    type_ = v.vector_of(ir.IntType(32))
    return exponent if exponent.type == type_ else v.builder.trunc(exponent, type_)


def _ldexp(v: Vectors, node: Apply, x: Any, n: Any) -> Any:
    digits, bias = _format(v, x)
    builder = v.builder
    bits, shift = _normal(v, x)
    n = _clamped(v, n, 4 * bias, dtypes.kind(node.args[1].dtype) == "i", bits.type)
    exponent = builder.sub(builder.lshr(bits, v.constant(digits, bits)), shift)
    exponent = builder.add(exponent, n)
    fraction = builder.and_(bits, v.constant((1 << digits) - 1, bits))
    zero, one = v.constant(0, bits), v.constant(1, bits)
    small = v.compare("lt", exponent, one)
    # a denormal result is rounded once, by a last product; below half of the least it is 0
    lack = v.select(small, builder.sub(one, exponent), zero)
    most = v.constant(digits + 2, bits)
    lack = v.select(v.compare("gt", lack, most), most, lack)
    kept = v.select(small, one, exponent)
    size = v.as_float(builder.or_(fraction, builder.shl(kept, v.constant(digits, bits))))
    down = builder.shl(builder.sub(v.constant(bias, bits), lack), v.constant(digits, bits))
    size = v.mul(size, v.as_float(down))
    large = v.compare("gt", exponent, v.constant(2 * bias, bits))
    size = v.select(large, v.constant(math.inf, x), size)
    return v.select(_is_ordinary(v, x), v.copysign(size, x), x)


def _clamped(v: Vectors, n: Any, most: int, signed: bool, type_: Any) -> Any:
    """Integers between -most and most, or the ends of their own range, in another type."""
    if signed:
        low = v.constant(max(-most, -(1 << (v.bits(n) - 1))), n)
        n = v.select(v.compare("lt", n, low), low, n)
    width = v.bits(n) - signed
    high = v.constant(min(most, (1 << width) - 1), n)
    n = v.select(v.compare("gt", n, high, signed), high, n)
    target = v.bits(ir.Constant(type_, None))
    if v.bits(n) == target:
        return n
    if v.bits(n) > target:
        return v.builder.trunc(n, type_)
    return v.builder.sext(n, type_) if signed else v.builder.zext(n, type_)


# -- bits -----------------------------------------------


def _bitcast_convert(v: Vectors, node: Apply, x: Any) -> Any:
    return of_own_bits(v, own_bits(v, x, node.args[0].dtype), node.dtype)


def _reduce_precision(v: Vectors, node: Apply, x: Any) -> Any:
    _, exponent, mantissa = FORMATS[node.dtype.name]
    kept_exponent, kept = node.params["exponent_bits"], node.params["mantissa_bits"]
    bits = own_bits(v, x, node.dtype)
    if kept < mantissa:
        bits = _rounded(v, bits, mantissa - kept)
    if kept_exponent < exponent:
        bits = _limited(v, bits, exponent, mantissa, kept_exponent)
    return v.select(v.is_nan(x), x, of_own_bits(v, bits, node.dtype))


def _rounded(v: Vectors, bits: Any, dropped: int) -> Any:
    builder, distance = v.builder, v.constant(dropped, bits)
    odd = builder.and_(builder.lshr(bits, distance), v.constant(1, bits))
    half = v.constant((1 << (dropped - 1)) - 1, bits)
    rounded = builder.add(builder.add(bits, half), odd)
    return builder.shl(builder.lshr(rounded, distance), distance)


def _limited(v: Vectors, bits: Any, exponent: int, mantissa: int, kept: int) -> Any:
    bias, reduced = (1 << (exponent - 1)) - 1, (1 << (kept - 1)) - 1
    mask = v.constant(((1 << exponent) - 1) << mantissa, bits)
    sign = v.builder.and_(bits, _sign_mask(v, bits))
    size = v.builder.and_(bits, mask)
    most, least = (v.constant((bias + r) << mantissa, bits) for r in (reduced, -reduced))
    bits = v.select(v.compare("gt", size, most, False), v.builder.or_(sign, mask), bits)
    return v.select(v.compare("le", size, least, False), sign, bits)


# -- whole numbers -----------------------------------------------


def _size(v: Vectors, node: Apply, x: Any) -> Any:
    """The size of integers, as unsigned ones."""
    if dtypes.kind(node.dtype) != "i":
        return x
    zero = v.constant(0, x)
    return v.select(v.compare("lt", x, zero), v.builder.sub(zero, x), x)


def _gcd(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    return v.builder.call(_gcd_function(v, x), [_size(v, node, x), _size(v, node, y)])


def _lcm(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    a, b = _size(v, node, x), _size(v, node, y)
    divisor = v.builder.call(_gcd_function(v, a), [a, b])
    zero, one = v.constant(0, x), v.constant(1, x)
    none = v.compare("eq", divisor, zero)
    quotient = v.builder.udiv(a, v.select(none, one, divisor))
    return v.select(none, zero, v.builder.mul(quotient, b))


def _gcd_function(v: Vectors, like: Any) -> Any:
    """Euclid's algorithm on lanes, until all are done."""
    name = f"wengert.gcd.{v.lanes}x{v.bits(like)}"
    if name in v.module.globals:
        return v.module.globals[name]
    type_ = like.type
    function = ir.Function(v.module, ir.FunctionType(type_, [type_, type_]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    entry, loop, body, end = (
        function.append_basic_block(n) for n in ("entry", "loop", "step", "end")
    )
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    w = Vectors(builder, v.lanes)
    a, b = builder.phi(type_), builder.phi(type_)
    left = w.compare("ne", b, w.constant(0, b))
    builder.cbranch(any_lane(w, left), body, end)
    builder.position_at_end(body)
    rest = builder.urem(a, w.select(left, b, w.constant(1, b)))
    for phi, first, following in (
        (a, function.args[0], w.select(left, b, a)),
        (b, function.args[1], w.select(left, rest, b)),
    ):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, body)
    builder.branch(loop)
    builder.position_at_end(end)
    builder.ret(a)
    return function


def whole_power(v: Vectors, x: Any, y: Any) -> Any:
    """Powers of integers, whose exponent is not negative."""
    return v.builder.call(_power_function(v, x), [x, y])


def _power_function(v: Vectors, like: Any) -> Any:
    """Repeated squaring on lanes, until all exponents are used up."""
    name = f"wengert.power.{v.lanes}x{v.bits(like)}"
    if name in v.module.globals:
        return v.module.globals[name]
    type_ = like.type
    function = ir.Function(v.module, ir.FunctionType(type_, [type_, type_]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    entry, loop, body, end = (
        function.append_basic_block(n) for n in ("entry", "loop", "step", "end")
    )
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    w = Vectors(builder, v.lanes)
    out, base, left = (builder.phi(type_) for _ in range(3))
    one, zero = w.constant(1, like), w.constant(0, like)
    builder.cbranch(any_lane(w, w.compare("ne", left, zero)), body, end)
    builder.position_at_end(body)
    odd = w.compare("ne", builder.and_(left, one), zero)
    following = (
        w.select(odd, builder.mul(out, base), out),
        builder.mul(base, base),
        builder.lshr(left, one),
    )
    for phi, first, after in zip(
        (out, base, left), (one, *function.args), following, strict=True
    ):
        phi.add_incoming(first, entry)
        phi.add_incoming(after, body)
    builder.branch(loop)
    builder.position_at_end(end)
    builder.ret(out)
    return function


TABLE: dict[str, Emit] = {
    "nextafter": _nextafter,
    "spacing": _spacing,
    "frexp_mantissa": _frexp_mantissa,
    "frexp_exponent": _frexp_exponent,
    "ldexp": _ldexp,
    "bitcast_convert": _bitcast_convert,
    "reduce_precision": _reduce_precision,
    "gcd": _gcd,
    "lcm": _lcm,
}
