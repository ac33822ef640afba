"""Shapes, dtypes and parameters as the samplers take them, checked.

What users pass becomes a tuple of sizes, a dtype, an array of that dtype, or an error that says
what was expected. Parameters are converted to the dtype of the samples, which is float32 unless
the caller says otherwise: the dtype of a parameter does not decide it. Nothing here draws
numbers or looks at keys.
"""

from __future__ import annotations

import operator
from typing import Any

import ml_dtypes
import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.dtypes import DType
from wengert.core.primitive import Value
from wengert.numpy.promotion import to_dtype


def shape_of(name: str, shape: Any) -> Shape:
    """A shape argument as a tuple; an int means one dimension.

    Raises:
      ShapeError: for anything else, and for negative sizes.
    """
    several = isinstance(shape, tuple | list) or getattr(shape, "ndim", 0) == 1
    sizes = shape if several else (shape,)
    try:
        out = tuple(operator.index(n) for n in sizes)
    except errors.WengertError:
        raise
    except TypeError:
        raise errors.ShapeError(
            f"{name} needs a shape: an int or a tuple of ints, got {shape!r}."
        ) from None
    if any(n < 0 for n in out):
        raise errors.ShapeError(f"{name} got the shape {out}; sizes are not negative.")
    return out


def common_shape(name: str, shape: Any, *parameter_shapes: Shape) -> Shape:
    """The shape of a result: as asked for, or that of the parameters where `shape` is None.

    Raises:
      ShapeError: when the parameters do not broadcast to the shape.
    """
    try:
        common = np.broadcast_shapes(*parameter_shapes)
    except ValueError:
        raise errors.ShapeError(
            f"{name} got parameters of shapes {' and '.join(map(str, parameter_shapes))}, "
            "which do not broadcast."
        ) from None
    if shape is None:
        return common
    wanted = shape_of(name, shape)
    padded = (1,) * (len(wanted) - len(common)) + common
    if len(padded) > len(wanted) or any(
        p not in (1, w) for p, w in zip(padded, wanted, strict=True)
    ):
        raise errors.ShapeError(
            f"{name} got shape={wanted}, but parameters of shape {common}, which do not "
            "broadcast to it. A shape for many samples of each ends in that of the "
            f"parameters: shape=(n, *{common})."
        )
    return wanted


def float_dtype(name: str, dtype: Any) -> DType:
    """The floating dtype asked for; None means float32.

    Raises:
      DTypeError: for a dtype that is not floating.
    """
    out = dtypes.FLOAT32 if dtype is None else dtypes.as_dtype(dtype)
    if not dtypes.is_floating(out):
        raise errors.DTypeError(f"{name} needs a floating dtype, got {out.name}.")
    return out


def integer_dtype(name: str, dtype: Any) -> DType:
    """The integer dtype asked for; None means int32.

    Raises:
      DTypeError: for a dtype that is not an integer dtype.
    """
    out = dtypes.INT32 if dtype is None else dtypes.as_dtype(dtype)
    if not dtypes.is_integer(out):
        raise errors.DTypeError(f"{name} needs an integer dtype, got {out.name}.")
    return out


def parameter(name: str, x: Any, dtype: DType) -> Value:
    """A real parameter of a distribution as an array of the dtype of the samples.

    Raises:
      DTypeError: when it is complex.
    """
    if type(x) in (int, float, bool):
        return Array(dtype.type(x))
    x = as_array(x)
    if dtypes.is_complex(x.dtype):
        raise errors.DTypeError(f"{name} takes real parameters, got {x.type}.")
    return to_dtype(x, dtype)


def floating_parameter(name: str, x: Any) -> Value:
    """A real parameter that decides the dtype of the computation: floating as it is."""
    x = as_array(x)
    return parameter(name, x, dtypes.inexact_dtype(x.dtype))


def float_info(dtype: DType) -> Any:
    """Limits of a floating dtype, bfloat16 included."""
    return ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
