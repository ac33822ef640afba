"""What the native functions are made of: polynomials, powers of two, exact sums and products.

Every function takes the builder `v` (see `engines.native.vectors`) and values of one floating
dtype, and gives values of that dtype, by straight-line code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wengert.engines.native.math.coefficients import PARTS, TABLES
from wengert.engines.native.vectors import Vectors


@dataclass(frozen=True)
class Format:
    """A floating format: what the bits mean.

    Attributes:
      mantissa: bits after the point.
      bias: the exponent's bits of 1.
      least: the smallest normal number.
      largest: the largest number.
    """

    mantissa: int
    bias: int
    least: float
    largest: float

    @property
    def width(self) -> int:
        """Bits of a number."""
        return 32 if self.mantissa == 23 else 64

    @property
    def magic(self) -> float:
        """Added to a small number it leaves the nearest whole one in the lowest bits."""
        return 1.5 * 2.0**self.mantissa


_SINGLE = Format(23, 127, 2.0**-126, (2 - 2.0**-23) * 2.0**127)
_DOUBLE = Format(52, 1023, 2.0**-1022, (2 - 2.0**-52) * 2.0**1023)


def format_of(v: Vectors, x: Any) -> Format:
    """The format of a value."""
    return _DOUBLE if v.is_double(x) else _SINGLE


def table(v: Vectors, x: Any, name: str) -> Any:
    """The coefficients of a fit in the format of `x`."""
    return TABLES[name][v.is_double(x)]


def parts(v: Vectors, x: Any, name: str) -> tuple[float, ...]:
    """Floats that add up to a number, in the format of `x`."""
    return PARTS[name][v.is_double(x)]


def polynomial(v: Vectors, x: Any, coefficients: Sequence[float]) -> Any:
    """The sum of coefficients times powers of x, lowest first.

    Long ones are split into even and odd powers: half the latency for one product more.
    """
    if len(coefficients) < 8:
        return horner(v, x, coefficients)
    square = v.mul(x, x)
    first, *rest = coefficients
    even = horner(v, square, rest[::2])
    total = v.fma(horner(v, square, rest[1::2]), x, even)
    return v.fma(total, x, v.constant(first, x))  # one rounding at the size of the result


def horner(v: Vectors, x: Any, coefficients: Sequence[float]) -> Any:
    """The sum of coefficients times powers of x, lowest first, one after the other."""
    total = v.constant(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        total = v.fma(total, x, v.constant(c, x))
    return total


def quotient(v: Vectors, x: Any, fits: Sequence[Sequence[float]]) -> tuple[Any, Any]:
    """The numerator and the denominator of a fit by a quotient."""
    return polynomial(v, x, fits[0]), polynomial(v, x, fits[1])


def scaled(v: Vectors, x: Any, number: float) -> Any:
    """x times a number."""
    return v.mul(x, v.constant(number, x))


def shifted(v: Vectors, x: Any, number: float) -> Any:
    """x plus a number."""
    return v.add(x, v.constant(number, x))


def clamped(v: Vectors, x: Any, low: float, high: float) -> Any:
    """x within the bounds; NaN stays."""
    return v.fmax(v.constant(low, x), v.fmin(v.constant(high, x), x))


def where(v: Vectors, op: str, x: Any, number: float, yes: Any, no: Any) -> Any:
    """`yes` where `x op number`, else `no`; each a value or a number."""
    yes = v.constant(yes, x) if isinstance(yes, float) else yes
    no = v.constant(no, x) if isinstance(no, float) else no
    return v.select(v.compare(op, x, v.constant(number, x)), yes, no)


def tiny_as_is(v: Vectors, x: Any, y: Any) -> Any:
    """`x` where it is so small that a function `y` with y(0) = 0, y'(0) = 1 is x; -0.0 too."""
    eps = 2.0 ** -(format_of(v, x).mantissa + 2)
    return v.select(v.compare("lt", v.fabs(x), v.constant(eps, x)), x, y)


# -- whole numbers and powers of two ---------------------------------------------------------


def nearest(v: Vectors, x: Any, factor: float | None, offset: float = 0.0) -> tuple[Any, Any]:
    """The whole number nearest to x times a factor, and bits that end in it plus an offset."""
    magic = v.constant(format_of(v, x).magic + offset, x)
    raised = v.add(x, magic) if factor is None else v.fma(x, v.constant(factor, x), magic)
    return v.sub(raised, magic), v.as_bits(raised)


def times_power(v: Vectors, x: Any, n: Any, bits: Any) -> Any:
    """x times two to the power n, rounded once, for bits that end in `n + 2 * bias`.

    In two steps where there is no instruction, since the power may be no normal number.
    """
    if v.in_registers(x):
        return v.scale(x, n)
    form = format_of(v, x)
    shift = v.constant(form.mantissa, bits)
    half = v.builder.shl(v.builder.lshr(bits, v.constant(1, bits)), shift)
    rest = v.builder.sub(v.builder.shl(bits, shift), half)
    return v.mul(v.mul(x, v.as_float(rest)), v.as_float(half))


def power_of_two(v: Vectors, x: Any, bits: Any) -> Any:
    """Two to the power n as a normal number, for bits that end in `n + bias`."""
    return v.as_float(v.builder.shl(bits, v.constant(format_of(v, x).mantissa, bits)))


def decompose(v: Vectors, x: Any) -> tuple[Any, Any]:
    """m in [3/4, 3/2) and a whole e with x = m 2**e, for positive x, denormals too.

    See `decomposes_specials` for other x.
    """
    if v.in_registers(x):
        return decompose_normal(v, x)
    form = format_of(v, x)
    up = form.mantissa + 2
    small = v.compare("lt", x, v.constant(form.least, x))
    normal = v.select(small, scaled(v, x, 2.0**up), x)
    mantissa, exponent = decompose_normal(v, normal)
    return mantissa, v.sub(exponent, v.select(small, v.constant(up, x), v.constant(0.0, x)))


def decompose_normal(v: Vectors, x: Any) -> tuple[Any, Any]:
    """m in [3/4, 3/2) and a whole e with x = m 2**e, for positive normal x."""
    if v.in_registers(x):
        mantissa = v.mantissa(x)
        return mantissa, v.sub(v.exponent(x), v.exponent(mantissa))
    form = format_of(v, x)
    bits = v.as_bits(x)
    three_quarters = (form.bias << form.mantissa) - (1 << (form.mantissa - 1))
    offset = v.builder.sub(bits, v.constant(three_quarters, bits))
    exponent_bits = v.builder.and_(offset, v.constant(-1 << form.mantissa, bits))
    mantissa = v.as_float(v.builder.sub(bits, exponent_bits))
    biased = v.builder.add(offset, v.constant(form.bias << form.mantissa, bits))
    return mantissa, small_whole(
        v, v.builder.lshr(biased, v.constant(form.mantissa, bits)), form
    )


def decomposes_specials(v: Vectors, x: Any) -> bool:
    """Whether `decompose` gives e = -inf for 0, inf for inf, m = NaN for negative x and NaN.

    Sums with e then are what logarithms are there.
    """
    return v.in_registers(x)


def small_whole(v: Vectors, biased: Any, form: Format) -> Any:
    """Integer lanes in [0, 2**mantissa) as floats, less the bias.

    By the bits: few machines convert 64-bit integers in vectors.
    """
    base = (form.bias + form.mantissa) << form.mantissa
    number = v.as_float(v.builder.or_(biased, v.constant(base, biased)))
    return shifted(v, number, -(2.0**form.mantissa + form.bias))


# -- exact sums and products -------------------------------------------------------------------


def fast_two_sum(v: Vectors, x: Any, y: Any) -> tuple[Any, Any]:
    """The rounded sum and its error, where |x| >= |y| (T. Dekker, 1971)."""
    total = v.add(x, y)
    return total, v.sub(y, v.sub(total, x))


def two_sum(v: Vectors, x: Any, y: Any) -> tuple[Any, Any]:
    """The rounded sum and its error (D. Knuth, 1969)."""
    total = v.add(x, y)
    part = v.sub(total, x)
    return total, v.add(v.sub(x, v.sub(total, part)), v.sub(y, part))


def two_product(v: Vectors, x: Any, y: Any) -> tuple[Any, Any]:
    """The rounded product and its error (by Dekker's splitting where there is no fma)."""
    product = v.mul(x, y)
    if v.has_fma:
        return product, v.fma(x, y, v.neg(product))
    (a, b), (c, d) = _halves(v, x), _halves(v, y)
    error = v.sub(v.mul(a, c), product)
    error = v.add(v.add(error, v.mul(a, d)), v.mul(b, c))
    return product, v.add(error, v.mul(b, d))


def residual(v: Vectors, x: Any, y: Any, z: Any) -> Any:
    """z - x y, for a z that is nearly the product, on every machine."""
    if v.has_fma:
        return v.fma(v.neg(x), y, z)
    product, error = two_product(v, x, y)
    return v.sub(v.sub(z, product), error)


def _halves(v: Vectors, x: Any) -> tuple[Any, Any]:
    factor = v.constant(2.0 ** math.ceil((format_of(v, x).mantissa + 1) / 2) + 1, x)
    big = v.mul(x, factor)
    high = v.sub(big, v.sub(big, x))
    return high, v.sub(x, high)
