"""Quotients and remainders as elements: of integers, and exact ones of floating numbers.

Integers never trap: where the divisor is 0, and for the least number over -1, the result is
what the primitives say. A floating remainder is a long division: in every round the divisor,
times a power of two, is taken out of the rest as often as it fits, with nothing rounded. One
round does unless the quotient has more digits than the format, so later ones are in a function
apart that is entered where some lane needs it. Quotients rounded down follow NumPy's `divmod`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from wengert.core import dtypes
from wengert.core.lazy import lazy_module
from wengert.engines.native.expressions import Apply
from wengert.engines.native.vectors import Vectors

ir = lazy_module("llvmlite.ir")

Emit = Callable[..., Any]


def _kind(node: Apply) -> str:
    return dtypes.kind(node.args[0].dtype)


# -- integers -----------------------------------------------


def _safe_divisor(v: Vectors, x: Any, y: Any, zero: Any, signed: bool) -> Any:
    """The divisor, with 1 where the processor would trap: zeros, and least number over -1."""
    unsafe = zero
    if signed:
        least = v.compare("eq", x, v.constant(1 << (v.bits(x) - 1), x))
        minus_one = v.compare("eq", y, v.constant(-1, y))
        unsafe = v.builder.or_(unsafe, v.builder.and_(least, minus_one))
    return v.select(unsafe, v.constant(1, y), y)


def _whole_quotient(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    signed = _kind(node) == "i"
    zero = v.compare("eq", y, v.constant(0, y))
    safe = _safe_divisor(v, x, y, zero, signed)
    build = v.builder.sdiv if signed else v.builder.udiv
    return v.select(zero, v.constant(-1, x), build(x, safe))


def _whole_rem(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
    signed = _kind(node) == "i"
    zero = v.compare("eq", y, v.constant(0, y))
    safe = _safe_divisor(v, x, y, zero, signed)
    out = v.builder.srem(x, safe) if signed else v.builder.urem(x, safe)
    return v.select(zero, x, out)


def _floor_parts(v: Vectors, node: Apply, x: Any, y: Any) -> tuple[Any, Any]:
    """Quotient rounded down and remainder of integers; both 0 where the divisor is."""
    signed = _kind(node) == "i"
    zero = v.compare("eq", y, v.constant(0, y))
    safe = _safe_divisor(v, x, y, zero, signed)
    nothing = v.constant(0, x)
    if not signed:
        quotient, remainder = v.builder.udiv(x, safe), v.builder.urem(x, safe)
    else:
        quotient, remainder = v.builder.sdiv(x, safe), v.builder.srem(x, safe)
        below = v.compare("lt", v.builder.xor(x, safe), nothing)
        inexact = v.compare("ne", remainder, nothing)
        down = v.builder.and_(below, inexact)
        one = v.constant(1, x)
        quotient = v.select(down, v.builder.sub(quotient, one), quotient)
        remainder = v.select(down, v.builder.add(remainder, safe), remainder)
    return v.select(zero, nothing, quotient), v.select(zero, nothing, remainder)


# -- floating numbers -----------------------------------------------


def fmod(v: Vectors, x: Any, y: Any) -> Any:
    """What is left of x after all whole multiples of y, with the sign of x; exact."""
    infinity = v.constant(math.inf, x)
    size, divisor = v.fabs(x), v.fabs(y)
    valid = v.builder.and_(
        v.compare("lt", size, infinity), v.compare("gt", divisor, v.constant(0.0, x))
    )
    whole = v.builder.and_(valid, v.compare("lt", divisor, infinity))
    one = v.constant(1.0, x)
    rest, step = v.select(whole, size, one), v.select(whole, divisor, one)
    rest = _all_rounds(v, _round(v, rest, step), step)
    rest = v.select(whole, rest, size)
    return v.select(valid, v.copysign(rest, x), v.constant(math.nan, x))


def _digits(v: Vectors, x: Any) -> int:
    return 52 if v.is_double(x) else 23


def _exponent(v: Vectors, x: Any) -> Any:
    """The exponent of positive numbers as it stands in their bits, below 0 for denormals."""
    digits = _digits(v, x)
    small = v.compare("lt", x, v.constant(2.0 ** (-1022 if digits == 52 else -126), x))
    normal = v.select(small, v.mul(x, v.constant(2.0**digits, x)), x)
    bits = v.as_bits(normal)
    exponent = v.builder.lshr(bits, v.constant(digits, bits))
    shift = v.select(small, v.constant(digits, bits), v.constant(0, bits))
    return v.builder.sub(exponent, shift)


def _power(v: Vectors, exponent: Any, like: Any) -> Any:
    """Two to the power of integers, within the range of normal numbers."""
    digits = _digits(v, like)
    bias = v.constant(1023 if digits == 52 else 127, exponent)
    shifted = v.builder.shl(v.builder.add(exponent, bias), v.constant(digits, exponent))
    return v.as_float(shifted)


def _round(v: Vectors, rest: Any, step: Any) -> Any:
    """The rest of positive finite numbers less a multiple of the step; with fewer digits.

    The quotient has at most as many bits as the format, and may be one too large where the
    division was rounded up. Rest and multiple are multiples of the last digit of the step's
    multiple, and their difference is no larger than it: so the difference has no rounding.
    """
    builder, digits = v.builder, _digits(v, rest)
    zero = v.constant(0.0, rest)
    ahead = builder.sub(_exponent(v, rest), _exponent(v, step))
    excess = builder.sub(ahead, v.constant(digits - 1, ahead))
    nothing = v.constant(0, ahead)
    excess = v.select(v.compare("gt", excess, nothing), excess, nothing)
    half = builder.ashr(excess, v.constant(1, excess))
    other = builder.sub(excess, half)
    multiple = v.mul(v.mul(step, _power(v, half, step)), _power(v, other, step))
    quotient = v.trunc(v.div(rest, multiple))
    left = v.exact_fma(v.neg(quotient), multiple, rest)
    return v.select(v.compare("lt", left, zero), v.add(left, multiple), left)


def any_lane(v: Vectors, truth: Any) -> Any:
    """Whether some lane is true."""
    if v.lanes == 1:
        return truth
    packed = v.builder.bitcast(truth, ir.IntType(v.lanes))
    return v.builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0))


def _all_rounds(v: Vectors, rest: Any, step: Any) -> Any:
    """The rest after as many rounds as are needed; none in most cases."""
    builder = v.builder
    more = any_lane(v, v.compare("ge", rest, step))
    before = builder.block
    slow, after = builder.append_basic_block("rounds"), builder.append_basic_block("rest")
    builder.cbranch(more, slow, after)
    builder.position_at_end(slow)
    left = builder.call(_rounds_function(v, rest), [rest, step])
    builder.branch(after)
    builder.position_at_end(after)
    out = builder.phi(rest.type)
    out.add_incoming(rest, before)
    out.add_incoming(left, slow)
    return out


def _rounds_function(v: Vectors, like: Any) -> Any:
    name = f"wengert.remainder.{v.lanes}x{v.bits(like)}"
    if name in v.module.globals:
        return v.module.globals[name]
    type_ = like.type
    function = ir.Function(v.module, ir.FunctionType(type_, [type_, type_]), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("cold")
    entry, loop = (function.append_basic_block(n) for n in ("entry", "round"))
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    w = Vectors(builder, v.lanes, v.has_fma, v.has_avx512)
    rest = builder.phi(type_)
    left = _round(w, rest, function.args[1])
    more = any_lane(w, w.compare("ge", left, function.args[1]))
    end = function.append_basic_block("end")
    builder.cbranch(more, loop, end)
    rest.add_incoming(function.args[0], entry)
    rest.add_incoming(left, builder.block)
    builder.position_at_end(end)
    builder.ret(left)
    return function


def _divmod(v: Vectors, x: Any, y: Any) -> tuple[Any, Any]:
    """The quotient rounded down, and the remainder with the divisor's sign."""
    zero, one = v.constant(0.0, x), v.constant(1.0, x)
    left = fmod(v, x, y)
    quotient = v.div(v.sub(x, left), y)
    inexact = v.compare("ne", left, zero)
    other_sign = v.builder.xor(v.compare("lt", y, zero), v.compare("lt", left, zero))
    down = v.builder.and_(inexact, other_sign)
    remainder = v.select(down, v.add(left, y), left)
    remainder = v.select(inexact, remainder, v.copysign(zero, y))
    quotient = v.select(down, v.sub(quotient, one), quotient)
    floor = v.floor(quotient)
    low = v.compare("gt", v.sub(quotient, floor), v.constant(0.5, x))
    floor = v.select(low, v.add(floor, one), floor)
    whole = v.div(x, y)
    floor = v.select(v.compare("ne", quotient, zero), floor, v.copysign(zero, whole))
    by_zero = v.compare("eq", y, zero)
    return v.select(by_zero, whole, floor), v.select(by_zero, left, remainder)


# -- the table -----------------------------------------------


def _by_kind(whole: Emit, floating: Emit) -> Emit:
    def emit(v: Vectors, node: Apply, x: Any, y: Any) -> Any:
        if dtypes.is_floating(node.args[0].dtype):
            return floating(v, x, y)
        return whole(v, node, x, y)

    return emit


def _part(number: int) -> Emit:
    """Of quotient and remainder."""
    return _by_kind(
        lambda v, node, x, y: _floor_parts(v, node, x, y)[number],
        lambda v, x, y: _divmod(v, x, y)[number],
    )


TABLE: dict[str, Emit] = {
    "div": _by_kind(_whole_quotient, lambda v, x, y: v.div(x, y)),
    "rem": _by_kind(_whole_rem, fmod),
    "floor_divide": _part(0),
    "mod": _part(1),
}
