"""Sampled functions: convolution, correlation, interpolation, phase unwrapping, windows.

Signals have one dimension; `unwrap` works along an axis. Everything but the windows is
differentiable in the samples, `interp` also in the positions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.arrays import as_operand, in_dtype
from wengert.numpy.axes import axis_of
from wengert.numpy.comparison import less
from wengert.numpy.promotion import (
    Value,
    promote,
    promote_inexact,
    promote_inexact_unary,
    to_dtype,
)
from wengert.numpy.reductions import operand
from wengert.numpy.running import part
from wengert.primitives import special
from wengert.primitives.basis import add, mul, neg, reshape
from wengert.primitives.cast import conj
from wengert.primitives.compare import bitwise_and, eq, gt, lt, select
from wengert.primitives.convolve import ConvDimensionNumbers, conv_general_dilated
from wengert.primitives.cumulative import cumsum
from wengert.primitives.elementwise import abs as size_of
from wengert.primitives.elementwise import clamp, div, floor_divide, mod, sub
from wengert.primitives.index import gather
from wengert.primitives.shape import concatenate, rev
from wengert.primitives.sort import searchsorted, sort

_PLAIN = ConvDimensionNumbers((0, 1, 2), (0, 1, 2), (0, 1, 2))


# -- convolution and correlation --------------------------------------------------------------


def convolve(
    a: Any,
    v: Any,
    mode: str = "full",
    *,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """The convolution of two vectors: the coefficients of a product of polynomials.

    Args:
      a: a vector.
      v: another.
      mode: "full" for wherever they overlap, "valid" for where one covers the other, "same" for
        the middle part as long as the longer one.
      precision: accepted for JAX's sake; products are always exact to the dtype.
      preferred_element_type: dtype to accumulate in and return.

    >>> import wengert.numpy as wnp
    >>> wnp.convolve(wnp.array([1, 2, 3]), wnp.array([1, 1]))
    Array([1, 3, 5, 3], dtype=int32)
    """
    del precision
    a, v = _signals("convolve", a, v)
    if a.size < v.size:
        a, v = v, a
    return _sliding(a, rev(v, dimensions=(0,)), mode, preferred_element_type)


def correlate(
    a: Any,
    v: Any,
    mode: str = "valid",
    *,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """The sums of products of one vector and the shifted conjugate of another.

    Args:
      a: a vector.
      v: another.
      mode: "valid", "same" or "full"; see `convolve`.
      precision: accepted for JAX's sake; products are always exact to the dtype.
      preferred_element_type: dtype to accumulate in and return.

    >>> import wengert.numpy as wnp
    >>> wnp.correlate(wnp.array([1, 2, 3]), wnp.array([0, 1]))
    Array([2, 3], dtype=int32)
    """
    del precision
    a, v = _signals("correlate", a, v)
    v = conj(v) if dtypes.is_complex(v.dtype) else v
    if a.size < v.size:
        return rev(_sliding(v, a, mode, preferred_element_type), dimensions=(0,))
    return _sliding(a, v, mode, preferred_element_type)


def _signals(name: str, a: Any, v: Any) -> list[Value]:
    signals = promote(as_operand(a), as_operand(v))
    if any(len(x.shape) != 1 or not x.size for x in signals):
        shapes = " and ".join(str(x.shape) for x in signals)
        raise errors.ShapeError(f"{name} needs two vectors that are not empty, got {shapes}.")
    return [operand(x) for x in signals]


def _sliding(x: Value, kernel: Value, mode: str, preferred: DTypeLike) -> Value:
    """The products of a kernel with the windows of a vector that is not shorter."""
    length = kernel.size
    paddings = {
        "valid": (0, 0),
        "same": (length // 2, length - length // 2 - 1),
        "full": (length - 1, length - 1),
    }
    if mode not in paddings:
        raise ValueError(f"mode must be 'full', 'same' or 'valid', got {mode!r}.")
    out = conv_general_dilated(
        reshape(x, shape=(1, 1, x.size)),
        reshape(kernel, shape=(1, 1, length)),
        window_strides=(1,),
        padding=(paddings[mode],),
        lhs_dilation=(1,),
        rhs_dilation=(1,),
        dimension_numbers=_PLAIN,
        preferred_element_type=None if preferred is None else dtypes.as_dtype(preferred),
    )
    return reshape(out, shape=(out.size,))


# -- interpolation ----------------------------------------------------------------------------


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Value:
    """The values at `x` of the function that is linear between given points.

    Args:
      x: where to evaluate, of any shape.
      xp: rising coordinates of the points, a vector.
      fp: values at the points.
      left: value below the first point, by default its value; "extrapolate" goes on linearly.
      right: value beyond the last point, by default its value; "extrapolate" goes on linearly.
      period: period of the function; `xp` need not be rising then, and `left` and `right` have
        no meaning.

    >>> import wengert.numpy as wnp
    >>> wnp.interp(2.5, wnp.array([1.0, 2.0, 3.0]), wnp.array([3.0, 2.0, 0.0]))
    Array(1., dtype=float32)
    """
    x, xp = promote_inexact(as_operand(x), as_operand(xp))
    (fp,) = promote_inexact(as_operand(fp))
    if len(xp.shape) != 1 or xp.shape != fp.shape or not xp.size:
        raise errors.ShapeError(
            f"interp needs points as two equal vectors, got shapes {xp.shape} and {fp.shape}."
        )
    if dtypes.is_complex(x.dtype):
        raise ValueError("interp needs real coordinates.")
    if period is not None:
        x, xp, fp = _unrolled(x, xp, fp, period)
    out = _between(x, xp, fp)
    if period is not None:
        return out
    out = _outside(out, lt(x, _end(xp, 0)), left, _end(fp, 0))
    return _outside(out, gt(x, _end(xp, -1)), right, _end(fp, -1))


def _unrolled(x: Value, xp: Value, fp: Value, period: Any) -> tuple[Value, Value, Value]:
    """Positions within one period, and the points of a little more than one."""
    period = in_dtype(period, x.dtype)
    if type(period) is Array and not period._value:
        raise ValueError("interp needs a period other than 0.")
    period = size_of(period)
    xp, fp = sort(mod(xp, period), fp, dimension=0, num_keys=1)
    ends = [sub(part(xp, 0, -1, 0), period), add(part(xp, 0, 0, 1), period)]
    xp = concatenate(ends[0], xp, ends[1], dimension=0)
    fp = concatenate(part(fp, 0, -1, 0), fp, part(fp, 0, 0, 1), dimension=0)
    return mod(x, period), xp, fp


def _between(x: Value, xp: Value, fp: Value) -> Value:
    """Linear interpolation, and extrapolation beyond the points."""
    if xp.size == 1:
        return add(mul(to_dtype(x, fp.dtype), 0), _end(fp, 0))
    above = clamp(1, searchsorted(xp, x, side="right"), xp.size - 1)
    below = sub(above, 1)
    x0, x1, f0, f1 = (
        gather(v, i, axes=(0,), mode="clip") for v in (xp, fp) for i in (below, above)
    )
    width = sub(x1, x0)
    none = eq(width, 0)
    share = select(none, 0, div(sub(x, x0), select(none, 1, width)))
    return add(f0, mul(to_dtype(share, fp.dtype), sub(f1, f0)))


def _end(vector: Value, index: int) -> Value:
    return reshape(part(vector, 0, index, index + 1), shape=())


def _outside(out: Value, beyond: Value, given: Any, value: Value) -> Value:
    if isinstance(given, str):
        if given != "extrapolate":
            raise ValueError(f"left and right are numbers or 'extrapolate', got {given!r}.")
        return out
    if given is not None:
        value = in_dtype(given, out.dtype)
    return select(beyond, value, out)


def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 2 * math.pi) -> Value:
    """Angles without jumps: multiples of the period are added where neighbours differ too much.

    Args:
      p: angles.
      discont: the least difference that counts as a jump; half a period by default.
      axis: along which axis.
      period: what a jump is a multiple of.

    >>> import wengert.numpy as wnp
    >>> wnp.unwrap(wnp.array([0, 1, 2, -1, 0]), period=4)
    Array([0, 1, 2, 3, 4], dtype=int32)
    """
    p, period = promote(as_operand(p), period)
    if dtypes.is_complex(p.dtype):
        raise ValueError("unwrap needs real angles.")
    p = operand(p)
    axis = axis_of(axis, len(p.shape))
    if p.shape[axis] < 2:
        return p
    whole = dtypes.is_integer(p.dtype)
    half = floor_divide(period, 2) if whole else mul(period, 0.5)
    jump = half if discont is None else discont
    steps = sub(part(p, axis, 1, 0), part(p, axis, 0, -1))
    wrapped = sub(mod(add(steps, half), period), half)
    tie = bitwise_and(eq(wrapped, neg(half)), gt(steps, 0))
    if whole:  # only for an even period are both ends of the interval multiples of half
        tie = bitwise_and(tie, eq(mod(period, 2), 0))
    wrapped = select(tie, half, wrapped)
    small = less(size_of(steps), jump)
    corrections = cumsum(select(small, 0, sub(wrapped, steps)), axis=axis)
    rest = add(part(p, axis, 1, 0), corrections)
    return concatenate(part(p, axis, 0, 1), rest, dimension=axis)


# -- windows ----------------------------------------------------------------------------------


def _window(values: Any) -> Value:
    return Array(np.asarray(values).astype(np.float32))


def bartlett(M: int) -> Value:
    """The triangular window of M points, 0 at both ends.

    >>> bartlett(5)
    Array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)
    """
    return _window(np.bartlett(M))


def blackman(M: int) -> Value:
    """The Blackman window of M points, a sum of three cosines.

    >>> blackman(3).shape
    (3,)
    """
    return _window(np.blackman(M))


def hamming(M: int) -> Value:
    """The Hamming window of M points, a raised cosine.

    >>> hamming(3)
    Array([0.08, 1.  , 0.08], dtype=float32)
    """
    return _window(np.hamming(M))


def hanning(M: int) -> Value:
    """The Hann window of M points, a cosine raised to begin at 0.

    >>> hanning(5)
    Array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)
    """
    return _window(np.hanning(M))


def kaiser(M: int, beta: Any) -> Value:
    """The Kaiser window of M points, a Bessel function; differentiable in `beta`.

    Args:
      M: number of points.
      beta: shape parameter; 0 gives a rectangle.

    >>> kaiser(3, 0.0)
    Array([1., 1., 1.], dtype=float32)
    """
    beta = promote_inexact_unary(beta)
    beta = operand(beta)
    if M == 1:
        return add(mul(reshape(beta, shape=(1,)), 0), 1)
    half = (M - 1) / 2
    arcs = np.sqrt(np.clip(1 - ((np.arange(M) - half) / half) ** 2, 0, 1))
    inside = mul(Array(arcs.astype(beta.dtype)), beta)
    return div(special.bessel_i(inside, order=0), special.bessel_i(beta, order=0))
