"""Discrete Fourier transforms, with the meaning and the names of `numpy.fft`.

Signals are cropped or padded with zeros to the lengths asked for and handed to the primitive
`fft`; precision is kept: float32 gives complex64. What is linear has exact derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy.arrays import check_device
from wengert.numpy.axes import axes_of, integers
from wengert.numpy.layout import roll
from wengert.numpy.promotion import Value, promote_inexact_unary, to_dtype
from wengert.primitives import fft as primitives
from wengert.primitives.basis import filled, mul, transpose
from wengert.primitives.cast import conj
from wengert.primitives.elementwise import div
from wengert.primitives.shape import pad

Sizes = Sequence[int] | None
Norm = str | None


def _operand(kind: str, a: Any) -> Value:
    """The signal in the dtype that a kind of transform takes."""
    a = promote_inexact_unary(a)
    dtype: Any = a.dtype if a.dtype.itemsize > 2 else dtypes.FLOAT32
    if kind == "rfft":
        if dtypes.is_complex(dtype):
            raise errors.DTypeError(
                f"{kind} takes real signals, got {a.type}. Use fft, or take a.real first."
            )
        return to_dtype(a, dtype)
    return to_dtype(a, dtypes.complex_dtype(dtype))


@lru_cache(maxsize=1024)
def _order(rank: int, axes: Shape) -> tuple[Shape | None, Shape | None]:
    """The permutation that brings axes to the end, in their order, and its inverse."""
    order = (*(i for i in range(rank) if i not in axes), *axes)
    if order == tuple(range(rank)):
        return None, None
    return order, tuple(order.index(i) for i in range(rank))


def _sized(a: Value, sizes: Sequence[int]) -> Value:
    """The last dimensions cropped or padded with zeros to sizes."""
    lead = len(a.shape) - len(sizes)
    if a.shape[lead:] == tuple(sizes):
        return a
    changes = ((0, n - old, 0) for n, old in zip(sizes, a.shape[lead:], strict=True))
    zero = filled(ArrayType((), a.dtype), 0)
    return pad(a, zero, padding_config=(*((0, 0, 0),) * lead, *changes))


def _scale(norm: Norm, inverse: bool, size: int) -> float:
    """The factor that a normalisation adds to the transform, whose inverse divides by size."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f"norm must be 'backward', 'ortho' or 'forward', got {norm!r}.")
    if norm in (None, "backward"):
        return 1.0
    exponent = 0.5 if norm == "ortho" else 1.0
    return math.pow(size, exponent if inverse else -exponent)


def _transform(kind: str, a: Any, sizes: Any, axes: Any, norm: Norm) -> Value:
    a = _operand(kind, a)
    rank = len(a.shape)
    if axes is None:
        count = rank if sizes is None else len(integers(sizes))
        axes = range(rank - count, rank)
    places = axes_of(tuple(axes), rank)
    if sizes is None:
        lengths = [a.shape[i] for i in places]
        if kind == "irfft" and lengths:
            lengths[-1] = 2 * (lengths[-1] - 1)
    else:
        lengths = list(integers(sizes))
    if len(lengths) != len(places):
        raise errors.ShapeError(f"{kind} got {len(lengths)} lengths for {len(places)} axes.")
    if any(n < 1 for n in lengths):
        raise ValueError(
            f"{kind} needs at least one data point along each axis, got {lengths}."
        )
    order, back = _order(rank, places)
    if order is not None:
        a = transpose(a, permutation=order)
    stored = [*lengths[:-1], lengths[-1] // 2 + 1] if kind == "irfft" else lengths
    out = primitives.fft(_sized(a, stored), fft_type=kind, fft_lengths=tuple(lengths))
    factor = _scale(norm, kind in ("ifft", "irfft"), math.prod(lengths))
    if factor != 1.0:
        out = mul(out, factor)
    return out if back is None else transpose(out, permutation=back)


def _single(kind: str, a: Any, n: int | None, axis: int, norm: Norm) -> Value:
    return _transform(kind, a, None if n is None else (n,), (axis,), norm)


# -- complex signals --------------------------------------------------------------------------


def fft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Value:
    """The Fourier transform along one axis.

    Args:
      a: the signal, real or complex.
      n: its length: it is cropped, or padded with zeros, to that.
      axis: along which to transform.
      norm: where the factor 1/n is: "backward" (in the inverse, the default), "forward", or
        "ortho" (1/sqrt(n) in both).

    Returns:
      complex amplitudes, beginning with that of frequency 0.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.fft(wnp.array([1.0, 0.0, -1.0, 0.0]))
    Array([0.+0.j, 2.+0.j, 0.+0.j, 2.+0.j], dtype=complex64)
    """
    return _single("fft", a, n, axis, norm)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Value:
    """The inverse of `fft`, with the same arguments.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.ifft(wnp.array([0.0, 2.0, 0.0, 2.0]))
    Array([ 1.+0.j,  0.+0.j, -1.+0.j,  0.+0.j], dtype=complex64)
    """
    return _single("ifft", a, n, axis, norm)


def fft2(a: Any, s: Sizes = None, axes: Sequence[int] = (-2, -1), norm: Norm = None) -> Value:
    """The Fourier transform along two axes; arguments as in `fftn`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.fft2(wnp.ones((2, 2)))
    Array([[4.+0.j, 0.+0.j],
           [0.+0.j, 0.+0.j]], dtype=complex64)
    """
    return _transform("fft", a, s, axes, norm)


def ifft2(a: Any, s: Sizes = None, axes: Sequence[int] = (-2, -1), norm: Norm = None) -> Value:
    """The inverse of `fft2`, with the same arguments.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.ifft2(wnp.fft.fft2(wnp.ones((2, 3)))).shape
    (2, 3)
    """
    return _transform("ifft", a, s, axes, norm)


def fftn(
    a: Any, s: Sizes = None, axes: Sequence[int] | None = None, norm: Norm = None
) -> Value:
    """The Fourier transform along several axes.

    Args:
      a: the signal, real or complex.
      s: its lengths along the axes, to which it is cropped or padded with zeros.
      axes: along which to transform; all of them, or the last `len(s)`, by default.
      norm: as in `fft`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.fftn(wnp.ones((2, 2, 2)))[0, 0, 0]
    Array(8.+0.j, dtype=complex64)
    """
    return _transform("fft", a, s, axes, norm)


def ifftn(
    a: Any, s: Sizes = None, axes: Sequence[int] | None = None, norm: Norm = None
) -> Value:
    """The inverse of `fftn`, with the same arguments.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.ifftn(wnp.ones((2, 3))).dtype
    dtype('complex64')
    """
    return _transform("ifft", a, s, axes, norm)


# -- real signals -----------------------------------------------------------------------------


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Value:
    """The Fourier transform of a real signal: the amplitudes of frequencies from 0 to n // 2.

    Arguments are those of `fft`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.rfft(wnp.array([1.0, 0.0, -1.0, 0.0]))
    Array([0.+0.j, 2.+0.j, 0.+0.j], dtype=complex64)
    """
    return _single("rfft", a, n, axis, norm)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Value:
    """The inverse of `rfft`: a real signal.

    Args:
      a: amplitudes of frequencies from 0 on.
      n: the length of the signal; `2 * (m - 1)` for m amplitudes by default.
      axis: along which to transform.
      norm: as in `fft`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.irfft(wnp.array([0.0, 2.0, 0.0]))
    Array([ 1.,  0., -1.,  0.], dtype=float32)
    """
    return _single("irfft", a, n, axis, norm)


def rfft2(a: Any, s: Sizes = None, axes: Sequence[int] = (-2, -1), norm: Norm = None) -> Value:
    """The Fourier transform of a real signal along two axes; arguments as in `fftn`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.rfft2(wnp.ones((2, 4))).shape
    (2, 3)
    """
    return _transform("rfft", a, s, axes, norm)


def irfft2(a: Any, s: Sizes = None, axes: Sequence[int] = (-2, -1), norm: Norm = None) -> Value:
    """The inverse of `rfft2`; `s` gives the lengths of the signal.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.irfft2(wnp.ones((2, 3))).shape
    (2, 4)
    """
    return _transform("irfft", a, s, axes, norm)


def rfftn(
    a: Any, s: Sizes = None, axes: Sequence[int] | None = None, norm: Norm = None
) -> Value:
    """The Fourier transform of a real signal along several axes; arguments as in `fftn`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.rfftn(wnp.ones((2, 2, 4))).shape
    (2, 2, 3)
    """
    return _transform("rfft", a, s, axes, norm)


def irfftn(
    a: Any, s: Sizes = None, axes: Sequence[int] | None = None, norm: Norm = None
) -> Value:
    """The inverse of `rfftn`; `s` gives the lengths of the signal.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.irfftn(wnp.ones((2, 3)), s=(2, 5)).shape
    (2, 5)
    """
    return _transform("irfft", a, s, axes, norm)


_MIRRORED: dict[Norm, Norm] = {
    None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"
}  # fmt: skip


def _mirrored(norm: Norm) -> Norm:
    """The normalisation of the transform in the other direction."""
    _scale(norm, False, 1)
    return _MIRRORED[norm]


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Value:
    """The transform of a signal that is its own mirrored conjugate: real amplitudes.

    Args:
      a: the first half of the signal.
      n: how many amplitudes; `2 * (m - 1)` for m elements by default.
      axis: along which to transform.
      norm: as in `fft`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.hfft(wnp.array([1.0, 2.0, 1.0]))
    Array([ 6.,  0., -2.,  0.], dtype=float32)
    """
    return irfft(conj(_operand("fft", a)), n, axis, _mirrored(norm))


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: Norm = None) -> Value:
    """The inverse of `hfft`: the first half of the signal.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.ihfft(wnp.array([6.0, 0.0, -2.0, 0.0])).shape
    (3,)
    """
    return conj(rfft(a, n, axis, _mirrored(norm)))


# -- frequencies ------------------------------------------------------------------------------


def _frequencies(numbers: Any, n: int, d: Any, dtype: DTypeLike) -> Value:
    wanted = dtypes.FLOAT32 if dtype is None else dtypes.as_dtype(dtype)
    return div(Array(numbers.astype(wanted)), mul(to_dtype(as_array(d), wanted), n))


def _count(n: Any) -> int:
    count: int = n.__index__()
    if count < 1:
        raise ValueError(f"the number of frequencies must be positive, got {count}.")
    return count


def fftfreq(n: int, d: Any = 1.0, *, dtype: DTypeLike = None, device: Any = None) -> Value:
    """The frequencies that belong to the results of `fft`.

    Args:
      n: length of the signal.
      d: time between two samples.
      dtype: float32 by default.
      device: None or "cpu".

    >>> import wengert.numpy as wnp
    >>> wnp.fft.fftfreq(4, 0.5)
    Array([ 0. ,  0.5, -1. , -0.5], dtype=float32)
    """
    check_device(device)
    n = _count(n)
    numbers = np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)])
    return _frequencies(numbers, n, d, dtype)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: DTypeLike = None, device: Any = None) -> Value:
    """The frequencies that belong to the results of `rfft`; arguments as in `fftfreq`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.rfftfreq(4, 0.5)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    check_device(device)
    n = _count(n)
    return _frequencies(np.arange(n // 2 + 1), n, d, dtype)


def _shift(x: Any, axes: Any, sign: int) -> Value:
    x = as_array(x)
    places = axes_of(axes, len(x.shape))
    steps = [sign * (x.shape[i] // 2) for i in places]
    return roll(x, steps, places) if places else x


def fftshift(x: Any, axes: Any = None) -> Value:
    """The spectrum with frequency 0 in the middle, along some axes or all.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.fftshift(wnp.fft.fftfreq(4))
    Array([-0.5 , -0.25,  0.  ,  0.25], dtype=float32)
    """
    return _shift(x, axes, 1)


def ifftshift(x: Any, axes: Any = None) -> Value:
    """The inverse of `fftshift`.

    >>> import wengert.numpy as wnp
    >>> wnp.fft.ifftshift(wnp.array([-1, 0, 1]))
    Array([ 0,  1, -1], dtype=int32)
    """
    return _shift(x, axes, -1)
