"""Conversion: between dtypes, between real and complex, of bits; copies; stopped gradients.

All of these are linear where they have a derivative at all. Converting to integers or bools
has none. Cotangents pair with tangents as Re(cotangent * tangent), without conjugation: so the
cotangent of a real part is the cotangent itself made complex, of an imaginary part it is -i
times that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Sample, Value, Zero
from wengert.primitives.basis import Elementwise, Linear, move_axis, neg
from wengert.primitives.families import (
    ElementwiseLinear,
    all_weak,
    array_dtype,
    operand_shape,
    same_dtype,
    sample_shapes,
    scalar,
    with_weak,
)


class Unary(Linear):
    """Linear maps of each element alone."""

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(args[0], **params), dims[0]


# -- dtypes ---------------------------------------------------------------------------------


class Convert(Unary):
    """The same numbers in another dtype, or with another weak flag.

    Complex to real takes the real part. Floating to integer rounds towards zero; values outside
    the range give its ends, and NaN gives 0.
    """

    keeps_weak = False

    @staticmethod
    def compute(x: Any, dtype: Any, weak: bool = False) -> Any:
        if x.dtype == dtype:
            return x
        if x.dtype.kind == "c" and dtype.kind != "c":
            x = (x != 0) if dtype.kind == "b" else x.real
        if dtype.kind in "iu" and dtypes.is_floating(x.dtype):
            return _to_integer(x, dtype)
        return x.astype(dtype)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        out = super().evaluate(args, params)
        return with_weak(out, True) if params.get("weak") else out

    def type_rule(self, x: Any, dtype: Any, weak: bool = False) -> Any:
        return ArrayType(x.shape, dtype, weak)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        if dtypes.is_inexact(params["dtype"]) and type(tangents[0]) is not Zero:
            return super().jvp(primals, tangents, **params)
        out = self(*primals, **params)
        return out, Zero(out.type)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        if dtypes.is_inexact(params["dtype"]):
            return super().linearize(interpreter, args, params)
        return interpreter.parent.apply(self, interpreter.primals(args), params)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        (x,) = operands
        return convert(cotangent, dtype=x.dtype, weak=x.weak_type)

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        x = rng.uniform(-2, 2, (2, 3))
        z = x + 1j * rng.uniform(-2, 2, (2, 3))
        empty, single = np.zeros((0, 2)), np.complex128(1 + 2j)
        for value in (x, np.float64(0.5), empty, x[:1, :1], z, single):
            for name in ("float64", "complex128"):
                yield Sample(value, dtype=np.dtype(name))
        yield Sample(x, dtype=np.dtype(np.float64), weak=True)
        for dtype in dtypes.SUPPORTED:
            for value in (x, z, np.array([3, -1]), np.array([True, False])):
                if dtype.kind != "u" or value.dtype.kind == "b":
                    yield Sample(value, dtype=dtype, differentiable=False)


def _to_integer(x: Any, dtype: Any) -> Any:
    """Towards zero, with the ends of the range for what lies outside, as XLA has it.

    NumPy leaves those cases to the processor. The upper end is compared as a power of two,
    which every floating dtype that reaches it holds exactly.
    """
    out = x.astype(dtype)
    info = np.iinfo(dtype)
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    below, above = wide < info.min, wide >= float(info.max + 1)
    odd = below | above | np.isnan(wide)
    if not odd.any():
        return out
    ends = np.where(below, dtype.type(info.min), np.where(above, dtype.type(info.max), 0))
    return scalar(np.where(odd, ends.astype(dtype), out))


class BitcastConvert(Primitive):
    """The same bits read as another dtype.

    To a dtype of half the size a dimension of 2 is appended, and so on; from it, it is removed.
    """

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(x: Any, dtype: Any) -> Any:
        if x.dtype.itemsize == dtype.itemsize:
            return x.view(dtype)
        x = np.asarray(x, order="C")
        if x.dtype.itemsize > dtype.itemsize:
            return x.reshape(*x.shape, 1).view(dtype)
        return scalar(x.view(dtype).reshape(x.shape[:-1]))

    def type_rule(self, x: Any, dtype: Any) -> Any:
        old, new = x.dtype.itemsize, dtype.itemsize
        if old == new:
            return ArrayType(x.shape, dtype)
        if old > new:
            return ArrayType((*x.shape, old // new), dtype)
        if not x.shape or x.shape[-1] != new // old:
            raise errors.ShapeError(
                f"bitcast_convert from {x} to the wider {dtype.name} needs a last dimension of "
                f"size {new // old}, whose elements make up one number."
            )
        return ArrayType(x.shape[:-1], dtype)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(move_axis(args[0], dims[0], 0), **params), 0

    def samples(self) -> Iterator[Sample]:
        x = np.array([[1.0, -2.0, 0.5]], np.float32)
        for dtype in (np.int32, np.uint32, np.uint8, np.float16):
            yield Sample(x, dtype=np.dtype(dtype), differentiable=False)
        yield Sample(np.float32(1.0), dtype=np.dtype(np.int32), differentiable=False)
        yield Sample(
            np.zeros((0, 2), np.uint32), dtype=np.dtype(np.uint64), differentiable=False
        )
        yield Sample(np.ones(4, np.uint8), dtype=np.dtype(np.float32), differentiable=False)
        yield Sample(x[0], dtype=dtypes.bfloat16, differentiable=False)


# -- identities -----------------------------------------------------------------------------


class Copy(Unary):
    """The same numbers in memory of their own."""

    @staticmethod
    def compute(x: Any) -> Any:
        return x.copy()

    def type_rule(self, x: Any) -> Any:
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return cotangent

    def samples(self) -> Iterator[Sample]:
        for shape in ((), (1,), (2, 3), (0, 2)):
            yield Sample(scalar(np.full(shape, 0.5)))
        yield Sample(np.array([1 + 2j]))
        yield Sample(np.arange(3), differentiable=False)


class StopGradient(Elementwise):
    """The same numbers, taken for constants by every derivative."""

    nondifferentiable = True

    @staticmethod
    def compute(x: Any) -> Any:
        return x

    def samples(self) -> Iterator[Sample]:
        for sample in copy.samples():
            yield Sample(*sample.args, differentiable=False)


class OptimizationBarrier(Unary):
    """The same numbers, which no optimisation takes for those of the operand.

    What is computed from them is computed again, even where the same has been computed from
    the operand before. That is what `checkpoint` wants of its second run.
    """

    @staticmethod
    def compute(x: Any) -> Any:
        return x

    def type_rule(self, x: Any) -> Any:
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return optimization_barrier(cotangent)

    def samples(self) -> Iterator[Sample]:
        return copy.samples()


# -- complex numbers ------------------------------------------------------------------------


class Part(Unary):
    """The real or the imaginary part of complex numbers."""

    def type_rule(self, x: Any) -> Any:
        if not dtypes.is_complex(x.dtype):
            raise errors.DTypeError(
                f"the primitive {self.name} takes complex operands, got {x}. "
                f"wengert.numpy.{self.name} takes real ones too."
            )
        return ArrayType(x.shape, dtypes.real_dtype(x.dtype), x.weak_type)

    def samples(self) -> Iterator[Sample]:
        for shape in ((), (1,), (2, 3), (0, 2)):
            yield Sample(scalar(np.full(shape, 0.5 - 2j)))
        yield Sample(np.array([1 + 2j], np.complex64), differentiable=False)


class Real(Part):
    """The real part."""

    @staticmethod
    def compute(x: Any) -> Any:
        return x.real

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return make_complex(cotangent, 0)


class Imag(Part):
    """The imaginary part."""

    @staticmethod
    def compute(x: Any) -> Any:
        return x.imag

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return make_complex(0, neg(cotangent))


class Conj(Unary):
    """The complex conjugate; of real numbers the numbers themselves."""

    @staticmethod
    def compute(x: Any) -> Any:
        return x.conjugate() if x.dtype.kind == "c" else x

    def type_rule(self, x: Any) -> Any:
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return conj(cotangent)

    def samples(self) -> Iterator[Sample]:
        yield from real.samples()
        yield from copy.samples()


class MakeComplex(ElementwiseLinear):
    """The complex numbers with given real and imaginary parts."""

    name = "complex"
    linear = (0, 1)

    @staticmethod
    def compute(x: Any, y: Any) -> Any:
        dtype = dtypes.complex_dtype(array_dtype(x, y))
        out = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), dtype)
        out.real = x
        out.imag = y
        return scalar(out)

    def type_rule(self, *types: Any) -> Any:
        dtype = same_dtype(self.name, types)
        if dtype not in (np.float32, np.float64):
            raise errors.DTypeError(
                f"complex numbers have float32 or float64 parts, got {dtype.name}."
            )
        shape = operand_shape(self.name, types)
        return ArrayType(shape, dtypes.complex_dtype(dtype), all_weak(types))

    def pullback(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return real(cotangent) if position == 0 else neg(imag(cotangent))

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for shapes in sample_shapes(2):
            yield Sample(*(scalar(rng.uniform(-1, 1, shape)) for shape in shapes))
        part = np.array([1.0, -0.5], np.float32)
        yield Sample(part, part[::-1], differentiable=False)


convert = Convert()
bitcast_convert = BitcastConvert()
copy = Copy()
stop_gradient = StopGradient()
optimization_barrier = OptimizationBarrier()
real = Real()
imag = Imag()
conj = Conj()
make_complex = MakeComplex()
