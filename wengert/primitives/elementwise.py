"""Arithmetic and algebra, element by element.

Sums and products live in `basis`; here are the other ring and field operations, whole powers
and roots, extrema, and what IEEE 754 has to say about single numbers (`pow` with any exponent
is in `transcendental`, because its derivative is). Operands have one dtype (`ldexp` excepted)
and broadcast; a Python scalar takes the dtype of the others.

Conventions at kinks: `abs` has derivative 0 at 0, ties of `maximum` and `minimum` share
equally, `hypot` has derivative 0 at the origin, `sqrt` has infinity at 0. Integer division by
zero gives -1 (all bits set) in `div`, the dividend in `rem`, and 0 in `floor_divide` and `mod`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.interpreter import Params
from wengert.core.primitive import Sample, Value, Zero
from wengert.primitives.basis import minus_unit, mul, neg, unit
from wengert.primitives.cast import conj, convert, real
from wengert.primitives.compare import bitwise_and, eq, gt, lt, round, select
from wengert.primitives.families import (
    FLOAT64,
    ElementwiseLinear,
    Integral,
    Numeric,
    Real,
    array_dtype,
    operand_shape,
    sample_shapes,
    samples_of,
    scalar,
)

_UNIT = (0.3, 0.9)
_SIGNED = (-0.9, 0.9)
_HIGH = (1.1, 1.9)


# -- field operations -----------------------------------------------------------------------


class Sub(Numeric):
    """Difference."""

    kinds = "iufc"
    domains = (_UNIT, _UNIT)
    compute = staticmethod(operator.sub)
    partials = (unit, minus_unit)


def _inverse(out: Value, x: Value, y: Value) -> Value:
    if type(y) in dtypes.SCALAR_TYPES:
        return 1 / y if y else math.copysign(math.inf, y.real)
    return reciprocal(y)


class Div(Numeric):
    """Quotient; of integers the quotient rounded towards zero."""

    kinds = "iufc"
    domains = (_UNIT, _UNIT)
    partials = (_inverse, lambda out, x, y: neg(div(out, y)))

    @staticmethod
    def compute(x: Any, y: Any) -> Any:
        out = x / y
        if type(out) is np.float32:
            return out
        # NumPy divides integers in float64: only then is it worth looking at the operands
        if out.dtype == FLOAT64 and dtypes.is_integer(array_dtype(x, y)):
            return _truncated_quotient(x, y)
        return out


def _truncated_quotient(x: Any, y: Any) -> Any:
    down = np.floor_divide(x, y)
    out = down + ((np.remainder(x, y) != 0) & (np.less(x, 0) != np.less(y, 0)))
    return scalar(np.where(np.equal(y, 0), ~down.dtype.type(0), out))


class FloorDivide(Numeric):
    """Quotient, rounded down."""

    kinds = "iuf"
    domains = (_HIGH, _UNIT)
    nondifferentiable = True
    compute = staticmethod(operator.floordiv)


def _minus_whole_quotient(out: Value, x: Value, y: Value) -> Value:
    # `out = x - n y` for a whole n, which rounding finds exactly; trunc(x / y) may miss it
    return neg(round(div(sub(x, out), y)))


class Rem(Numeric):
    """Remainder with the sign of the dividend, as in C."""

    kinds = "iuf"
    domains = (_HIGH, (0.6, 1.0))
    partials = (unit, _minus_whole_quotient)

    @staticmethod
    def compute(x: Any, y: Any) -> Any:
        out = np.fmod(x, y)
        if out.dtype.kind in "iu":
            return scalar(np.where(np.equal(y, 0), x, out))
        return out

    def samples(self) -> Iterator[Sample]:
        yield from _remainder_samples(self.kinds)


class Mod(Numeric):
    """Remainder with the sign of the divisor, as in Python."""

    kinds = "iuf"
    domains = (_HIGH, (0.6, 1.0))
    partials = (unit, _minus_whole_quotient)
    compute = staticmethod(operator.mod)

    def samples(self) -> Iterator[Sample]:
        yield from _remainder_samples(self.kinds)


def _remainder_samples(kinds: str) -> Iterator[Sample]:
    """Quotients with a fraction of about a half: away from the jumps."""
    for sample in samples_of(kinds, ((0.4, 0.6), (0.9, 1.1)), differentiable=True):
        x, y = sample.args
        if dtypes.is_integer(x.dtype):
            yield sample
            continue
        for whole in (-2, 0, 3):
            shifted = (x + whole * y).astype(x.dtype)
            if shifted.shape == x.shape:
                yield Sample(shifted, y, differentiable=sample.differentiable)


class Reciprocal(Numeric):
    """One over x."""

    partials = (lambda out, x: neg(square(out)),)

    @staticmethod
    def compute(x: Any) -> Any:
        return 1 / x


# -- whole powers and roots -----------------------------------------------------------------


class Square(Numeric):
    """x times x."""

    kinds = "iufc"
    domains = (_SIGNED,)
    partials = (lambda out, x: mul(x, 2),)

    @staticmethod
    def compute(x: Any) -> Any:
        return x * x


def negative_power() -> errors.DTypeError:
    """The error for an integer to a negative power."""
    return errors.DTypeError(
        "an integer to a negative power is not an integer. Convert the base first: "
        "x.astype('float32') ** -1."
    )


def _integer_pow_partial(out: Value, x: Value, y: int) -> Value:
    if y in (0, 1):
        return y
    return mul(x if y == 2 else integer_pow(x, y=y - 1), y)


class IntegerPow(Numeric):
    """x to the power of a fixed whole number."""

    kinds = "iufc"
    partials = (_integer_pow_partial,)

    @staticmethod
    def compute(x: Any, y: int) -> Any:
        if y == 2:
            return x * x
        if y == 3:
            return x * x * x
        if y == -1 and x.dtype.kind not in "iu":
            return 1 / x
        if y < 0 and x.dtype.kind in "iu":
            raise negative_power()
        return x**y

    def samples(self) -> Iterator[Sample]:
        for y in (-3, -1, 0, 1, 2, 3, 5):
            for sample in super().samples():
                if y >= 0 or not dtypes.is_integer(sample.args[0].dtype):
                    differentiable = sample.differentiable
                    yield Sample(*sample.args, differentiable=differentiable, y=y)


class Sqrt(Numeric):
    """Square root; the derivative at 0 is infinite."""

    compute = staticmethod(np.sqrt)
    partials = (lambda out, x: div(0.5, out),)


class Rsqrt(Numeric):
    """One over the square root."""

    partials = (lambda out, x: mul(div(out, x), -0.5),)

    @staticmethod
    def compute(x: Any) -> Any:
        return 1 / np.sqrt(x)


class Cbrt(Real):
    """Cube root, of negative numbers too; the derivative at 0 is infinite."""

    compute = staticmethod(np.cbrt)
    partials = (lambda out, x: div(1 / 3, square(out)),)


class Hypot(Real):
    """Length of a vector of two components; the derivative at the origin is 0."""

    domains = (_SIGNED, _UNIT)
    compute = staticmethod(np.hypot)
    partials = (
        lambda out, x, y: _direction(x, out),
        lambda out, x, y: _direction(y, out),
    )


def _direction(component: Value, length: Value) -> Value:
    return div(component, select(eq(length, 0), 1, length))


# -- size and sign --------------------------------------------------------------------------


class Abs(Numeric):
    """Size of a real number; see `complex_abs` for complex ones."""

    kinds = "iuf"
    compute = staticmethod(operator.abs)

    @staticmethod
    def _partial(out: Value, x: Value) -> Value:
        if dtypes.is_complex(x.dtype):
            raise errors.DTypeError(
                "abs takes real operands; use complex_abs for complex ones."
            )
        return sign(x)

    partials = (_partial,)


class ComplexJvp(Numeric):
    """Elementwise primitives that are not holomorphic where their operand is complex."""

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        if dtypes.is_complex(args[0].dtype):
            return interpreter.linearize_by_jvp(self, args, params)
        return super().linearize(interpreter, args, params)


class ComplexAbs(ComplexJvp):
    """Size of a complex number; the derivative at 0 is 0."""

    kinds = "c"
    compute = staticmethod(operator.abs)

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        return dtypes.real_dtype(super().result_dtype(*operands, **params))

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (z,), (tangent,) = primals, tangents
        out = self(z)
        if type(tangent) is Zero:
            return out, Zero(out.type)
        return out, real(mul(tangent, conj(sign(z))))


class Sign(ComplexJvp):
    """-1, 0 or 1; of complex numbers the number on the unit circle in their direction, or 0."""

    kinds = "iufc"
    compute = staticmethod(np.sign)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (z,), (tangent,) = primals, tangents
        out = self(z)
        if type(tangent) is Zero or not dtypes.is_complex(out.dtype):
            return out, Zero(out.type)
        # what is left of the tangent without its part along z, over the distance from 0
        length = complex_abs(z)
        inverse = reciprocal(select(eq(length, 0), 1, length))
        turn = mul(convert(real(mul(tangent, conj(out))), dtype=out.dtype), out)
        return out, mul(sub(tangent, turn), convert(inverse, dtype=out.dtype))


def _sign_bit(x: Value) -> Value:
    """1 or -1, by the sign of an array, or of a Python scalar."""
    return math.copysign(1.0, x) if type(x) in dtypes.SCALAR_TYPES else copysign(1.0, x)


class Copysign(Real):
    """The size of the first with the sign of the second operand."""

    domains = (_UNIT, _SIGNED)
    compute = staticmethod(np.copysign)
    partials = (lambda out, x, y: mul(_sign_bit(x), _sign_bit(y)), None)


class Heaviside(Real):
    """0 for negative, 1 for positive numbers, the second operand for zeros."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(np.heaviside)
    partials = (None, lambda out, x, y: convert(eq(x, 0), dtype=out.dtype))


# -- extrema --------------------------------------------------------------------------------


class Share(Numeric):
    """1 where the first wins over the second, 1/2 where both are equal, 0 elsewhere.

    This is the share that an operand of a maximum has in its derivative. The greater one wins,
    or with `lesser` the lesser one; with `ignore_nan` a number wins over NaN.
    """

    kinds = "iufc"
    domains = (_UNIT, _UNIT)
    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(x: Any, y: Any, lesser: bool = False, ignore_nan: bool = False) -> Any:
        kind = type(x)
        if kind is type(y) and (kind is np.float32 or kind is np.float64) and not ignore_nan:
            return kind(0.5 if x == y else (x < y if lesser else x > y))
        dtype = array_dtype(x, y)
        wins, ties = np.less(x, y) if lesser else np.greater(x, y), np.equal(x, y)
        out = wins + ties * np.float32(0.5)
        if ignore_nan:
            out = np.where(np.not_equal(y, y) & np.equal(x, x), np.float32(1), out)
        return scalar(out.astype(dtype))


class Maximum(Numeric):
    """The greater of two numbers; NaN if one is. Equal ones share the derivative."""

    kinds = "biufc"
    domains = (_UNIT, _UNIT)
    masks = True
    compute = staticmethod(np.maximum)
    partials = (lambda out, x, y: share(x, y), lambda out, x, y: share(y, x))


class Minimum(Numeric):
    """The lesser of two numbers; NaN if one is. Equal ones share the derivative."""

    kinds = "biufc"
    domains = (_UNIT, _UNIT)
    masks = True
    compute = staticmethod(np.minimum)
    partials = (lambda out, x, y: share(y, x), lambda out, x, y: share(x, y))


class Fmax(Numeric):
    """The greater of two numbers; a number rather than NaN."""

    kinds = "biufc"
    domains = (_UNIT, _UNIT)
    masks = True
    compute = staticmethod(np.fmax)
    partials = (
        lambda out, x, y: share(x, y, ignore_nan=True),
        lambda out, x, y: share(y, x, ignore_nan=True),
    )


class Fmin(Numeric):
    """The lesser of two numbers; a number rather than NaN."""

    kinds = "biufc"
    domains = (_UNIT, _UNIT)
    masks = True
    compute = staticmethod(np.fmin)
    partials = (
        lambda out, x, y: share(x, y, lesser=True, ignore_nan=True),
        lambda out, x, y: share(y, x, lesser=True, ignore_nan=True),
    )


class Clamp(Numeric):
    """The second operand, kept between the first and the third.

    At the ends of the interval, where it is not smooth, all derivatives are 0.
    """

    kinds = "biuf"
    domains = ((-0.5, -0.2), (-0.9, 0.9), (0.2, 0.5))
    masks = True
    partials = (
        lambda out, low, x, high: convert(gt(low, x), dtype=out.dtype),
        lambda out, low, x, high: convert(
            bitwise_and(gt(x, low), lt(x, high)), dtype=out.dtype
        ),
        lambda out, low, x, high: convert(gt(x, high), dtype=out.dtype),
    )

    @staticmethod
    def compute(low: Any, x: Any, high: Any) -> Any:
        return np.minimum(np.maximum(x, low), high)


# -- single numbers and their representation ------------------------------------------------


class Nextafter(Real):
    """The next representable number from the first towards the second operand."""

    domains = (_UNIT, _HIGH)
    compute = staticmethod(np.nextafter)
    partials = (unit, None)


class Spacing(Real):
    """The distance to the next representable number further from 0."""

    nondifferentiable = True
    compute = staticmethod(np.spacing)


class Ldexp(ElementwiseLinear):
    """The first operand times two to the power of the second, an integer."""

    @staticmethod
    def compute(x: Any, exponent: Any) -> Any:
        if x.dtype == dtypes.bfloat16:
            return np.ldexp(x.astype(np.float32), exponent).astype(x.dtype)
        return np.ldexp(x, exponent)

    def type_rule(self, x: Any, exponent: Any) -> Any:
        if not dtypes.is_floating(x.dtype) or not dtypes.is_integer(exponent.dtype):
            raise errors.DTypeError(
                f"ldexp takes a floating and an integer operand, got {x} and {exponent}."
            )
        return x.update(shape=operand_shape(self.name, (x, exponent)))

    def pullback(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return ldexp(cotangent, operands[1])

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for shapes in sample_shapes(2):
            x, exponent = rng.uniform(-1, 1, shapes[0]), rng.integers(-3, 4, shapes[1])
            yield Sample(scalar(x), scalar(np.asarray(exponent, np.int32)))
        for dtype in (np.float16, dtypes.bfloat16, np.float32):
            half = np.array([0.5, -1.5], dtype)
            yield Sample(half, np.array([3, -2], np.int32), differentiable=False)


class FrexpMantissa(Real):
    """The mantissa, of size in [1/2, 1), that times a power of two gives the operand."""

    domains = ((2.1, 3.9),)
    partials = (lambda out, x: ldexp(convert(eq(x, x), dtype=x.dtype), neg(frexp_exponent(x))),)

    @staticmethod
    def compute(x: Any) -> Any:
        return np.frexp(x)[0]


class FrexpExponent(Real):
    """The power of two by which the mantissa must be multiplied to give the operand."""

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(x: Any) -> Any:
        return np.frexp(x)[1]

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        super().result_dtype(*operands, **params)
        return dtypes.INT32


class Gcd(Integral):
    """Greatest common divisor."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(np.gcd)


class Lcm(Integral):
    """Least common multiple."""

    domains = (_UNIT, _UNIT)
    compute = staticmethod(np.lcm)


sub: Numeric = Sub()
div: Numeric = Div()
floor_divide: Numeric = FloorDivide()
rem: Numeric = Rem()
mod: Numeric = Mod()
reciprocal: Numeric = Reciprocal()
square: Numeric = Square()
integer_pow: Numeric = IntegerPow()
sqrt: Numeric = Sqrt()
rsqrt: Numeric = Rsqrt()
cbrt: Numeric = Cbrt()
hypot: Numeric = Hypot()
abs: Numeric = Abs()
complex_abs: Numeric = ComplexAbs()
sign: Numeric = Sign()
copysign: Numeric = Copysign()
heaviside: Numeric = Heaviside()
share: Numeric = Share()
maximum: Numeric = Maximum()
minimum: Numeric = Minimum()
fmax: Numeric = Fmax()
fmin: Numeric = Fmin()
clamp: Numeric = Clamp()
nextafter: Numeric = Nextafter()
spacing: Numeric = Spacing()
ldexp: ElementwiseLinear = Ldexp()
frexp_mantissa: Numeric = FrexpMantissa()
frexp_exponent: Numeric = FrexpExponent()
gcd: Numeric = Gcd()
lcm: Numeric = Lcm()
