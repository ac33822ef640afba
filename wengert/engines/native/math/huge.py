"""Arguments of trigonometric functions that are too large for parts of pi.

`reduce_huge` branches where a lane is that large. There those bits of 1/pi that decide the
quotient's last whole bit and its fraction are multiplied with the argument's, in integers (M.
Payne and R. Hanek, Radian reduction for trigonometric functions, 1983). That is done by
routines of the process, compiled once for all programs, which find their operands in memory.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.engines.native.machine import LoadedCode, Target
from wengert.engines.native.math.parts import fast_two_sum, two_product
from wengert.engines.native.runtime.routine import build
from wengert.engines.native.vectors import Vectors, reserve

ir = lazy_module("llvmlite.ir")

_LEAD = 64  # zeros before the bits of 1/pi, for arguments that are not so large
_WORDS = 21
_PI = (3.141592653589793, 1.2246467991473532e-16)


def reduce_huge(
    v: Vectors, x: Any, reduced: tuple[Any, ...], limit: float, doubled: int, half: int
) -> tuple[Any, Any, Any]:
    """r, its rest, and bits that end in n, with x = (n + half/2) pi / (1 + doubled) + r + rest.

    Args:
      x: arguments.
      reduced: r, rest and bits that are right for arguments below the limit.
      limit: lanes from here on are replaced.
      doubled: 1 to count quarters of a turn, 0 to count halves.
      half: 1 for the points between.
    """
    builder = v.builder
    huge = v.compare("ge", v.fabs(x), v.constant(limit, x))
    if v.lanes > 1:
        packed = builder.bitcast(huge, ir.IntType(v.lanes))
        some = builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0))
    else:
        some = huge
    before = builder.block
    slow, after = builder.append_basic_block("huge"), builder.append_basic_block("reduced")
    builder.cbranch(some, slow, after)
    builder.position_at_end(slow)
    replaced = _replaced(v, x, huge, reduced, (doubled, half))
    builder.branch(after)
    builder.position_at_end(after)
    joined = []
    for old, new in zip(reduced, replaced, strict=True):
        phi = builder.phi(old.type)
        phi.add_incoming(old, before)
        phi.add_incoming(new, slow)
        joined.append(phi)
    return joined[0], joined[1], joined[2]


def _replaced(
    v: Vectors, x: Any, huge: Any, reduced: tuple[Any, ...], flags: tuple[int, int]
) -> list[Any]:
    """r, its rest and bits, with the huge lanes replaced: through memory, by a routine."""
    builder, i64 = v.builder, ir.IntType(64)
    values = [x, builder.zext(huge, v.vector_of(ir.IntType(8))), *reduced]
    slots = [reserve(builder, value.type) for value in values]
    for slot, value in zip(slots, values, strict=True):
        builder.store(value, slot)
    name = f"math.reduce{v.bits(x)}"
    v.use_symbol(name)
    function = v.module.globals.get(name)
    if function is None:
        types = [ir.PointerType()] * 5 + [i64] * 3
        function = ir.Function(v.module, ir.FunctionType(ir.VoidType(), types), name)
    counts = [ir.Constant(i64, number) for number in (v.lanes, *flags)]
    builder.call(function, [*slots, *counts])
    return [
        builder.load(slot, typ=value.type)
        for slot, value in zip(slots[2:], reduced, strict=True)
    ]


# -- the routines ------------------------------------------------------------------------------


def address(name: str) -> int:
    """Where the routine `reduce32` or `reduce64` is in memory."""
    return _routines().address(name)


@cache
def _routines() -> LoadedCode:
    return build("reduce", _write_routines, {}, ["reduce32", "reduce64"])


def _write_routines(module: Any) -> None:
    for element, width in ((ir.FloatType(), 32), (ir.DoubleType(), 64)):
        _write_routine(module, f"reduce{width}", element, ir.IntType(width))


def _write_routine(module: Any, name: str, element: Any, bits_type: Any) -> None:
    """void(x, huge, r, rest, bits, i64 count, i64 doubled, i64 half): pointers first."""
    one = _one_function(module, Target.host().has_fma)
    byte, i64 = ir.IntType(8), ir.IntType(64)
    types = [ir.PointerType()] * 5 + [i64] * 3
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
    x, huge, *results, count, doubled, half = function.args
    entry, loop, replace, following, after = (
        function.append_basic_block(n) for n in ("entry", "loop", "replace", "next", "end")
    )
    builder = ir.IRBuilder(entry)
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(i64)
    i.add_incoming(ir.Constant(i64, 0), entry)
    flag = builder.load(builder.gep(huge, [i], source_etype=byte), typ=byte)
    builder.cbranch(builder.icmp_unsigned("!=", flag, byte(0)), replace, following)
    builder.position_at_end(replace)
    v = Vectors(builder, 1, Target.host().has_fma)
    value = builder.load(builder.gep(x, [i], source_etype=element), typ=element)
    parts = _reduce_one(v, one, value, (doubled, half))
    for part, place in zip(parts, results, strict=True):
        builder.store(part, builder.gep(place, [i], source_etype=part.type))
    builder.branch(following)
    builder.position_at_end(following)
    n = builder.add(i, ir.Constant(i64, 1))
    i.add_incoming(n, following)
    builder.cbranch(builder.icmp_signed("<", n, count), loop, after)
    builder.position_at_end(after)
    builder.ret_void()


def _return(builder: Any, type_: Any, values: list[Any]) -> None:
    out = ir.Constant(type_, ir.Undefined)
    for i, value in enumerate(values):
        out = builder.insert_value(out, value, i)
    builder.ret(out)


def _reduce_one(v: Vectors, one: Any, x: Any, flags: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """r, its rest and bits of a scalar argument, in its format."""
    builder, single = v.builder, ir.FloatType()
    double = isinstance(x.type, ir.DoubleType)
    found = builder.call(one, [x if double else builder.fpext(x, ir.DoubleType()), *flags])
    r, rest, bits = (builder.extract_value(found, i) for i in range(3))
    if double:
        return r, rest, bits
    short = builder.fptrunc(r, single)
    rest = builder.fptrunc(builder.fsub(r, builder.fpext(short, ir.DoubleType())), single)
    return short, rest, builder.trunc(bits, ir.IntType(32))


def _one_function(module: Any, has_fma: bool) -> Any:
    """double x, i64 doubled, i64 half -> r, its rest, and whether n is odd."""
    if "wengert.reduce" in module.globals:
        return module.globals["wengert.reduce"]
    i64, double = ir.IntType(64), ir.DoubleType()
    result = ir.LiteralStructType([double, double, i64])
    function = ir.Function(
        module, ir.FunctionType(result, [double, i64, i64]), "wengert.reduce"
    )
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    v = Vectors(builder, 1, has_fma)
    x, doubled, half = function.args
    fraction, odd = _signed_fraction(v, _quotient_bits(v, x, doubled), half)
    r, rest = _times_pi(v, fraction, doubled)
    # cos is even: it is reduced as if the argument were positive
    even = builder.icmp_signed("!=", half, ir.Constant(i64, 0))
    negative = builder.and_(v.compare("lt", x, v.constant(0.0, x)), builder.not_(even))
    r = v.add(v.select(negative, v.neg(r), r), v.sub(x, x))  # NaN for infinity
    _return(builder, result, [r, v.select(negative, v.neg(rest), rest), odd])
    return function


def _quotient_bits(v: Vectors, x: Any, doubled: Any) -> Any:
    """|x| / pi, or twice that, modulo 2: 128 bits, of which the first is the whole part."""
    builder = v.builder
    i64, i128 = ir.IntType(64), ir.IntType(128)

    def whole(number: int, type_: Any = i64) -> Any:
        return ir.Constant(type_, number)

    bits = builder.bitcast(v.fabs(x), i64)
    mantissa = builder.and_(bits, whole((1 << 52) - 1))
    mantissa = builder.or_(mantissa, whole(1 << 52))
    exponent = builder.sub(builder.lshr(bits, whole(52)), whole(1075))
    exponent = v.select(builder.icmp_signed("<", exponent, whole(-50)), whole(-50), exponent)
    position = builder.add(builder.add(exponent, doubled), whole(_LEAD - 1))
    word, shift = builder.lshr(position, whole(6)), builder.and_(position, whole(63))
    table = _bits_of_inverse_pi(v.module)
    loaded = []
    for i in range(4):
        place = builder.add(word, whole(i))
        address = builder.gep(table, [place], inbounds=True, source_etype=i64)
        loaded.append(builder.load(address, typ=i64))
    first, second, third = (
        v.intrinsic("llvm.fshl", i64, loaded[i], loaded[i + 1], shift) for i in range(3)
    )
    factor = builder.zext(mantissa, i128)
    low = builder.mul(factor, builder.zext(third, i128))
    carry = builder.lshr(low, whole(64, i128))
    middle = builder.add(builder.mul(factor, builder.zext(second, i128)), carry)
    high = builder.shl(builder.zext(builder.mul(mantissa, first), i128), whole(64, i128))
    return builder.add(high, middle)


def _signed_fraction(v: Vectors, quotient: Any, half: Any) -> tuple[Any, Any]:
    """The quotient less the nearest whole (or half) n, as a signed fraction; and n's oddity."""
    builder, i128 = v.builder, quotient.type
    one_half = builder.shl(builder.zext(half, i128), ir.Constant(i128, 126))
    quotient = builder.sub(quotient, one_half)
    rounded = builder.add(quotient, ir.Constant(i128, 1 << 126))
    odd = builder.trunc(builder.lshr(rounded, ir.Constant(i128, 127)), ir.IntType(64))
    return builder.shl(quotient, ir.Constant(i128, 1)), odd


def _times_pi(v: Vectors, fraction: Any, doubled: Any) -> tuple[Any, Any]:
    """A signed 128-bit fraction (of 1, the sign bit weighs 1/2) times pi, or pi/2, in two."""
    builder, i128 = v.builder, fraction.type

    def whole(number: int) -> Any:
        return ir.Constant(i128, number)

    negative = builder.icmp_signed("<", fraction, whole(0))
    size = v.select(negative, builder.neg(fraction), fraction)
    zeros = v.intrinsic("llvm.ctlz", i128, size, ir.Constant(ir.IntType(1), 0))
    size = builder.shl(size, zeros)
    double, i64 = ir.DoubleType(), ir.IntType(64)
    high = builder.uitofp(builder.trunc(builder.lshr(size, whole(75)), i64), double)
    rest = builder.and_(builder.lshr(size, whole(22)), whole((1 << 53) - 1))
    low = builder.uitofp(builder.trunc(rest, i64), double)
    low = v.mul(low, v.constant(2.0**-53, low))
    product, error = two_product(v, high, v.constant(_PI[0], high))
    error = v.fma(high, v.constant(_PI[1], high), error)
    error = v.fma(low, v.constant(_PI[0], high), error)
    # 2**-53 2**-zeros, and half of it for quarters of a turn
    exponent = builder.sub(ir.Constant(i64, 1023 - 53), builder.trunc(zeros, i64))
    exponent = builder.shl(builder.sub(exponent, doubled), ir.Constant(i64, 52))
    power = builder.bitcast(exponent, double)
    power = v.select(negative, v.neg(power), power)
    r, rest = fast_two_sum(v, product, error)
    return v.mul(r, power), v.mul(rest, power)


@cache
def _words() -> tuple[int, ...]:
    """The bits of 1/pi after the point, in words of 64, after as many zeros."""
    count = 64 * _WORDS
    number = (1 << (2 * count)) // _scaled_pi(count)
    shifts = (count + _LEAD - 64 * (i + 1) for i in range(_WORDS))
    return tuple((number >> shift) & (2**64 - 1) for shift in shifts)


def _scaled_pi(bits: int) -> int:
    """pi times a power of two, by J. Machin's formula (1706)."""
    extra = 32
    one = 1 << (bits + extra)

    def inverse_tangent(n: int) -> int:
        power = one // n
        total, k = 0, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power //= n * n
            k += 2
        return total

    return (16 * inverse_tangent(5) - 4 * inverse_tangent(239)) >> extra


def _bits_of_inverse_pi(module: Any) -> Any:
    name = "wengert.inverse_pi"
    if name in module.globals:
        return module.globals[name]
    type_ = ir.ArrayType(ir.IntType(64), _WORDS)
    variable = ir.GlobalVariable(module, type_, name)
    variable.initializer = ir.Constant(type_, list(_words()))
    variable.linkage, variable.global_constant = "internal", True
    return variable
