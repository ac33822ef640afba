"""Conversion between dtypes, and functions that leave values as they are.

`convert_element_type` converts numbers, `bitcast_convert_type` reads their bits anew,
`complex`, `real` and `imag` go between complex and real numbers, and `stop_gradient` hides a
value from all derivatives. Python scalars given here become arrays of their default dtype.
"""

from __future__ import annotations

from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import as_array
from wengert.core.dtypes import DType, DTypeLike
from wengert.core.primitive import Value
from wengert.lax.operands import check_shapes, same, unary
from wengert.primitives import cast, precision


def convert_element_type(operand: Any, new_dtype: DTypeLike) -> Value:
    """The same numbers in another dtype.

    Floating numbers become integers by rounding towards zero, complex ones real by
    dropping the imaginary part.

    >>> convert_element_type(2.75, "int32")
    Array(2, dtype=int32)
    """
    if new_dtype is None:
        raise ValueError("convert_element_type needs a dtype, got None.")
    return cast.convert(as_array(operand), dtype=dtypes.as_dtype(new_dtype))


def bitcast_convert_type(operand: Any, new_dtype: DTypeLike) -> Value:
    """The same bits read as another dtype.

    To a narrower dtype a dimension is appended that holds the parts; from it, it is removed.

    >>> bitcast_convert_type(1.0, "int32")
    Array(1065353216, dtype=int32)
    """
    return cast.bitcast_convert(as_array(operand), dtype=dtypes.as_dtype(new_dtype))


def reduce_precision(operand: Any, exponent_bits: int, mantissa_bits: int) -> Value:
    """The nearest number of a format with fewer bits, in the operand's own dtype.

    Args:
      operand: floating numbers.
      exponent_bits: of the format, at least 1: 8 for float32 and bfloat16, 5 for float16.
      mantissa_bits: of the format, not counting the implicit one: 7 for bfloat16.

    >>> reduce_precision(1.2345, exponent_bits=8, mantissa_bits=7)
    Array(1.234375, dtype=float32, weak_type=True)
    """
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ValueError(
            "reduce_precision needs at least one bit of exponent and none of mantissa, got "
            f"exponent_bits={exponent_bits}, mantissa_bits={mantissa_bits}."
        )
    operand = as_array(operand)
    if not dtypes.is_floating(operand.dtype):
        raise errors.DTypeError(
            f"lax.reduce_precision takes floating numbers, got {operand.dtype}."
        )
    bits = {"exponent_bits": int(exponent_bits), "mantissa_bits": int(mantissa_bits)}
    return precision.reduce_precision(operand, **bits)


def dtype(x: Any) -> DType:
    """The dtype of a value, also of a Python scalar.

    >>> dtype(1.0)
    dtype('float32')
    """
    return dtypes.dtype_of(x)[0]


def complex(x: Any, y: Any) -> Value:
    """The complex number with real part `x` and imaginary part `y`.

    >>> complex(1.0, 2.0)
    Array(1.+2.j, dtype=complex64, weak_type=True)
    """
    operands = same("complex", x, y)
    check_shapes("complex", operands)
    if not dtypes.is_floating(operands[0].dtype):
        raise errors.DTypeError(f"lax.complex takes real numbers, got {operands[0].dtype}.")
    return cast.make_complex(*operands)


def real(x: Any) -> Value:
    """The real part of a complex number.

    >>> real(1 + 2j)
    Array(1., dtype=float32, weak_type=True)
    """
    return cast.real(_complex("real", x))


def imag(x: Any) -> Value:
    """The imaginary part of a complex number.

    >>> imag(1 + 2j)
    Array(2., dtype=float32, weak_type=True)
    """
    return cast.imag(_complex("imag", x))


def conj(x: Any) -> Value:
    """The complex conjugate; real numbers are taken as complex ones.

    >>> conj(1 + 2j)
    Array(1.-2.j, dtype=complex64, weak_type=True)
    """
    x = as_array(x)
    if dtypes.is_floating(x.dtype):
        return cast.make_complex(x, 0)
    return cast.conj(_complex("conj", x))


def _complex(name: str, x: Any) -> Value:
    x = as_array(x)
    if not dtypes.is_complex(x.dtype):
        raise errors.DTypeError(
            f"lax.{name} takes complex numbers, got {x.dtype}. wengert.numpy.{name} takes "
            "others too."
        )
    return x


def stop_gradient(x: Any) -> Any:
    """The same values, constants for every derivative.

    Args:
      x: an array, or a tree of arrays.

    >>> import wengert
    >>> wengert.grad(lambda x: x * stop_gradient(x))(3.0)
    Array(3., dtype=float32, weak_type=True)
    """
    return tree.map(_stopped, x)


def _stopped(x: Any) -> Value:
    x = as_array(x)
    return unary(cast.stop_gradient, x) if dtypes.is_inexact(x.dtype) else x


def optimization_barrier(operand: Any, /) -> Any:
    """The same values, which no optimisation takes for those of the operand.

    What is computed from them is computed again, even where the same has been computed from
    the operand before.

    Args:
      operand: an array, or a tree of arrays.

    >>> optimization_barrier((1.0, 2.0))[1]
    Array(2., dtype=float32, weak_type=True)
    """
    return tree.map(lambda x: cast.optimization_barrier(as_array(x)), operand)
