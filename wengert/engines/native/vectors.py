"""Typed operations on lanes: what kernels and math functions are written with.

A *value* is an LLVM value: a vector of `lanes` elements of one dtype, or with `lanes == 1` a
scalar. `Vectors` builds operations on such values; the same code that builds a loop body of
512-bit vectors builds its scalar remainder. Bools are vectors of `i1` in registers, one byte
in memory. 16-bit floats are held as float32 in registers, rounded to 16 bits after every
operation (as NumPy does), and converted on the way to and from memory.

Nothing here contracts or reorders floating-point arithmetic: `a * b + c` rounds twice, and only
`fma` rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module

ir = lazy_module("llvmlite.ir")

Lanes = Any
#: An LLVM value.

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def element_type(dtype: DType) -> Any:
    """The LLVM type of one element of a (real) dtype in registers."""
    kind, size = dtypes.kind(dtype), dtype.itemsize
    if kind == "f":
        return ir.DoubleType() if size == 8 else ir.FloatType()
    return ir.IntType(1 if kind == "b" else 8 * size)


def reserve(builder: Any, type_: Any, align: int = 0) -> Any:
    """A place on the stack, set aside when the function begins."""
    here = builder.block
    builder.position_at_start(builder.function.entry_basic_block)
    slot = builder.alloca(type_)
    builder.position_at_end(here)
    if align:
        slot.align = align
    slot.type = ir.PointerType()  # llvmlite still remembers what it points to
    return slot


class Vectors:
    """Builds operations on values of `lanes` elements.

    Args:
      builder: where instructions are appended; its module receives declarations.
      lanes: the length of vectors; 1 for scalars.
      has_fma: whether the machine multiplies and adds in one rounding.
      has_avx512: whether it has AVX-512 (F, VL, DQ, BW).
      use_symbol: is told what code calls in the process (see `symbols`).
    """

    def __init__(
        self,
        builder: Any,
        lanes: int,
        has_fma: bool = True,
        has_avx512: bool = False,
        use_symbol: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.builder = builder
        self.module = builder.module
        self.lanes = lanes
        self.has_fma = has_fma
        self.has_avx512 = has_avx512
        self.use_symbol = use_symbol

    # -- types and constants -----------------------------------------------

    def vector_of(self, element: Any) -> Any:
        """The type of a value with these elements."""
        return element if self.lanes == 1 else ir.VectorType(element, self.lanes)

    def type(self, dtype: DType) -> Any:
        """The type of a value of a dtype, in registers."""
        return self.vector_of(element_type(dtype))

    @property
    def mask_type(self) -> Any:
        """The type of a value of truths."""
        return self.vector_of(ir.IntType(1))

    def constant(self, number: Any, like: Any) -> Any:
        """The same number in all lanes; `like` is a value or a type."""
        type_ = getattr(like, "type", like)
        element = type_.element if isinstance(type_, ir.VectorType) else type_
        if isinstance(element, ir.IntType):
            number = int(number) & ((1 << element.width) - 1)
            if element.width > 1 and number >> (element.width - 1):
                number -= 1 << element.width
        elif isinstance(element, ir.FloatType):
            number = float(np.float32(number))
        else:
            number = float(number)
        return _repeated(type_, ir.Constant(element, number))

    def integers(self, numbers: Sequence[int], width: int) -> Any:
        """A constant with an integer per lane."""
        element = ir.IntType(width)
        if self.lanes == 1:
            return ir.Constant(element, numbers[0])
        return ir.Constant(
            ir.VectorType(element, self.lanes), [ir.Constant(element, n) for n in numbers]
        )

    def splat(self, scalar: Any) -> Any:
        """A scalar in all lanes."""
        if self.lanes == 1:
            return scalar
        if isinstance(scalar, ir.Constant):
            return _repeated(ir.VectorType(scalar.type, self.lanes), scalar)
        vector_type = ir.VectorType(scalar.type, self.lanes)
        first = self.builder.insert_element(
            ir.Constant(vector_type, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None)
        return self.builder.shuffle_vector(first, ir.Constant(vector_type, ir.Undefined), zeros)

    @staticmethod
    def element(value: Any) -> Any:
        """The LLVM type of one lane of a value."""
        return value.type.element if isinstance(value.type, ir.VectorType) else value.type

    def bits(self, value: Any) -> int:
        """The width of one lane."""
        element = self.element(value)
        if isinstance(element, ir.IntType):
            return int(element.width)
        return 64 if isinstance(element, ir.DoubleType) else 32

    def is_double(self, value: Any) -> bool:
        """Whether the lanes are float64."""
        return isinstance(self.element(value), ir.DoubleType)

    def intrinsic(self, name: str, result: Any, *args: Any) -> Any:
        """A call of the LLVM intrinsic whose name ends in `result`'s type (`llvm.fma` ...)."""
        function = self.module.globals.get(_mangled(name, result))
        if function is None:
            type_ = ir.FunctionType(result, [a.type for a in args])
            function = ir.Function(self.module, type_, _mangled(name, result))
        return self.builder.call(function, args)

    # -- floating arithmetic -----------------------------------------------

    def add(self, x: Any, y: Any) -> Any:
        """x + y."""
        return self.builder.fadd(x, y)

    def sub(self, x: Any, y: Any) -> Any:
        """x - y."""
        return self.builder.fsub(x, y)

    def mul(self, x: Any, y: Any) -> Any:
        """x * y."""
        return self.builder.fmul(x, y)

    def div(self, x: Any, y: Any) -> Any:
        """x / y."""
        return self.builder.fdiv(x, y)

    def neg(self, x: Any) -> Any:
        """-x: the sign bit flipped, of NaN too."""
        return self.builder.fneg(x)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z, rounded once where the machine can; twice elsewhere."""
        if self.has_fma:
            return self.intrinsic("llvm.fma", x.type, x, y, z)
        return self.add(self.mul(x, y), z)

    def exact_fma(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z, rounded once on every machine (slow where it has no instruction)."""
        return self.intrinsic("llvm.fma", x.type, x, y, z)

    def sqrt(self, x: Any) -> Any:
        """The square root, correctly rounded."""
        return self.intrinsic("llvm.sqrt", x.type, x)

    def fabs(self, x: Any) -> Any:
        """x without its sign bit."""
        return self.intrinsic("llvm.fabs", x.type, x)

    def copysign(self, x: Any, sign: Any) -> Any:
        """The size of `x` with the sign bit of `sign`."""
        return self.intrinsic("llvm.copysign", x.type, x, sign)

    def floor(self, x: Any) -> Any:
        """The largest whole number that is not greater."""
        return self.intrinsic("llvm.floor", x.type, x)

    def ceil(self, x: Any) -> Any:
        """The smallest whole number that is not less."""
        return self.intrinsic("llvm.ceil", x.type, x)

    def trunc(self, x: Any) -> Any:
        """The whole part."""
        return self.intrinsic("llvm.trunc", x.type, x)

    def rint(self, x: Any) -> Any:
        """The nearest whole number, halves to even."""
        return self.intrinsic("llvm.rint", x.type, x)

    # -- comparison and selection -----------------------------------------------

    def compare(self, op: str, x: Any, y: Any, signed: bool = True) -> Any:
        """Truths of `x op y` for op in eq, ne, lt, le, gt, ge; ordered, except ne."""
        symbol = _COMPARE[op]
        if not isinstance(self.element(x), ir.IntType):
            build = self.builder.fcmp_unordered if op == "ne" else self.builder.fcmp_ordered
            return build(symbol, x, y)
        build = self.builder.icmp_signed if signed else self.builder.icmp_unsigned
        return build(symbol, x, y)

    def is_nan(self, x: Any) -> Any:
        """Whether lanes are NaN."""
        return self.builder.fcmp_unordered("uno", x, x)

    def select(self, truth: Any, x: Any, y: Any) -> Any:
        """Lanes of `x` where `truth`, of `y` elsewhere."""
        return self.builder.select(truth, x, y)

    def fmin(self, x: Any, y: Any) -> Any:
        """The lesser number, by one comparison: `y` where either is NaN."""
        return self.select(self.compare("lt", x, y), x, y)

    def fmax(self, x: Any, y: Any) -> Any:
        """The greater number, by one comparison: `y` where either is NaN."""
        return self.select(self.compare("gt", x, y), x, y)

    # -- bits and conversions -----------------------------------------------

    def as_bits(self, x: Any) -> Any:
        """The bits of floating lanes as integers of the same width."""
        return self.builder.bitcast(x, self.vector_of(ir.IntType(self.bits(x))))

    def as_float(self, x: Any) -> Any:
        """Integer lanes (32 or 64 bits) read as floating numbers."""
        double = self.bits(x) == 64
        return self.builder.bitcast(
            x, self.vector_of(ir.DoubleType() if double else ir.FloatType())
        )

    def widen(self, x: Any) -> Any:
        """float32 lanes as float64."""
        return self.builder.fpext(x, self.vector_of(ir.DoubleType()))

    def narrow(self, x: Any) -> Any:
        """float64 lanes as float32, to the nearest."""
        return self.builder.fptrunc(x, self.vector_of(ir.FloatType()))

    # -- instructions of AVX-512 ---------------------------------------------------------------

    def in_registers(self, x: Any) -> bool:
        """Whether the instructions below take such lanes: whole registers of AVX-512."""
        bits = self.bits(x) * self.lanes
        return self.has_avx512 and (bits in (128, 256) or bits % 512 == 0)

    def scale(self, x: Any, power: Any) -> Any:
        """x times two to the power of a whole number, rounded once; for `in_registers`."""
        return self._by_register("scalef", [x, power], [])

    def exponent(self, x: Any) -> Any:
        """The exponent of |x| as a float, -inf for 0; for `in_registers`."""
        return self._by_register("getexp", [x], [])

    def mantissa(self, x: Any) -> Any:
        """x over a power of two, in [3/4, 3/2), NaN for negative x; for `in_registers`."""
        return self._by_register("getmant", [x], [0b1111])

    def _by_register(self, name: str, operands: list[Any], immediates: list[int]) -> Any:
        """A masked AVX-512 instruction on each register of the operands."""
        width = min(512, self.bits(operands[0]) * self.lanes)
        lanes = width // self.bits(operands[0])
        pieces = [
            self._masked(name, [self._part(x, i, lanes) for x in operands], immediates, width)
            for i in range(0, self.lanes, lanes)
        ]
        while len(pieces) > 1:
            pairs = zip(pieces[::2], pieces[1::2], strict=True)
            pieces = [self._joined(low, high) for low, high in pairs]
        return pieces[0]

    def _masked(self, name: str, operands: list[Any], immediates: list[int], width: int) -> Any:
        type_ = operands[0].type
        mask = ir.IntType(max(8, type_.count))
        args = [*operands, *(ir.Constant(ir.IntType(32), i) for i in immediates)]
        args += [ir.Constant(type_, None), ir.Constant(mask, -1)]
        if width == 512:
            args.append(ir.Constant(ir.IntType(32), 4))  # the rounding of the environment
        suffix = "pd" if isinstance(type_.element, ir.DoubleType) else "ps"
        symbol = f"llvm.x86.avx512.mask.{name}.{suffix}.{width}"
        function = self.module.globals.get(symbol)
        if function is None:
            signature = ir.FunctionType(type_, [a.type for a in args])
            function = ir.Function(self.module, signature, symbol)
        return self.builder.call(function, args)

    def _part(self, x: Any, start: int, lanes: int) -> Any:
        return x if lanes == self.lanes else self._shuffled(x, x, range(start, start + lanes))

    def _joined(self, low: Any, high: Any) -> Any:
        return self._shuffled(low, high, range(2 * low.type.count))

    def _shuffled(self, x: Any, y: Any, places: Sequence[int]) -> Any:
        index = ir.VectorType(ir.IntType(32), len(places))
        return self.builder.shuffle_vector(x, y, ir.Constant(index, list(places)))


def _repeated(type_: Any, scalar: Any) -> Any:
    """A constant in all lanes; written shortly, which LLVM reads faster than a list."""
    if not isinstance(type_, ir.VectorType):
        return scalar
    return _splat_class()(type_, scalar)


@cache
def _splat_class() -> Any:
    """A vector constant with the same element in all lanes, as LLVM writes it."""

    class Splat(ir.Constant):  # type: ignore[misc, name-defined]
        def __init__(self, type_: Any, element: Any) -> None:
            self.type = type_
            self.constant = (element,) * type_.count
            self._element = element

        def _get_reference(self) -> str:
            return f"splat ({self._element})"

    return Splat


def _mangled(name: str, type_: Any) -> str:
    """An intrinsic's name with its overloaded type: `llvm.fma.v16f32`."""
    if isinstance(type_, ir.VectorType):
        return f"{name}.v{type_.count}{_suffix(type_.element)}"
    return f"{name}.{_suffix(type_)}"


def _suffix(element: Any) -> str:
    if isinstance(element, ir.IntType):
        return f"i{element.width}"
    return "f64" if isinstance(element, ir.DoubleType) else "f32"
