"""Convolution, correlation and detrending of signals, in any number of dimensions.

Names and meaning are those of `scipy.signal`. Direct convolution goes through the convolution
of `wengert.lax`; `fftconvolve`, or `method="fft"`, multiplies spectra, which is faster for long
kernels and rounds differently. Integers are computed as floating numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import wengert.numpy as wnp
from wengert import errors
from wengert.core.array import Array
from wengert.core.primitive import Value
from wengert.lax.convolution import conv_general_dilated
from wengert.numpy.axes import axes_of, axis_of
from wengert.numpy.promotion import promote_inexact, promote_inexact_unary

_MODES = ("full", "same", "valid")


def _operands(name: str, in1: Any, in2: Any, mode: str, rank: int | None = None) -> list[Value]:
    """Signal and kernel in one floating dtype; in "valid" mode the larger one first."""
    if mode not in _MODES:
        raise ValueError(f"{name} has the modes {', '.join(_MODES)}, not {mode!r}.")
    x, kernel = promote_inexact(in1, in2)
    if len(x.shape) != len(kernel.shape) or rank not in (None, len(x.shape)):
        raise errors.ShapeError(
            f"{name} needs two arrays with {rank or 'equally many'} dimensions, got shapes "
            f"{x.shape} and {kernel.shape}."
        )
    if 0 in (*x.shape, *kernel.shape):
        raise errors.ShapeError(f"{name} of nothing: shapes {x.shape} and {kernel.shape}.")
    pairs = list(zip(x.shape, kernel.shape, strict=True))
    if mode == "valid" and not all(n >= k for n, k in pairs):
        if not all(n <= k for n, k in pairs):
            raise errors.ShapeError(
                f"{name} in mode 'valid' needs one array that is as large as the other in "
                f"every dimension, got shapes {x.shape} and {kernel.shape}."
            )
        return [kernel, x]
    return [x, kernel]


def _convolve(operands: Sequence[Value], mode: str, late: bool = False) -> Value:
    """The direct convolution; of an even kernel, "same" starts early or late."""
    x, kernel = operands
    if not x.shape:
        return wnp.multiply(x, kernel)
    before = [(k - late) // 2 for k in kernel.shape]
    padding = {
        "full": [(k - 1, k - 1) for k in kernel.shape],
        "same": [(b, k - 1 - b) for b, k in zip(before, kernel.shape, strict=True)],
        "valid": [(0, 0)] * len(kernel.shape),
    }
    flipped = wnp.flip(kernel)
    strides = (1,) * len(x.shape)
    out = conv_general_dilated(x[None, None], flipped[None, None], strides, padding[mode])
    return out[0, 0]


def convolve(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None
) -> Value:
    """The convolution of two arrays.

    Args:
      in1: an array.
      in2: an array with equally many dimensions.
      mode: "full", "same" (the shape of `in1`, from the middle) or "valid" (without padding).
      method: "direct" (also "auto"), or "fft".
      precision: accepted and without effect.

    >>> import numpy as np
    >>> convolve(np.float32([1, 2, 3]), np.float32([1, 1]))
    Array([1., 3., 5., 3.], dtype=float32)
    """
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f"convolve has the methods auto, direct and fft, not {method!r}.")
    if method == "fft":
        return fftconvolve(in1, in2, mode)
    return _convolve(_operands("convolve", in1, in2, mode), mode)


def correlate(
    in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None
) -> Value:
    """The cross-correlation of two arrays: the convolution with the reversed conjugate.

    Args:
      in1: an array.
      in2: an array with equally many dimensions.
      mode: as in `convolve`.
      method: as in `convolve`.
      precision: accepted and without effect.

    >>> import numpy as np
    >>> correlate(np.float32([1, 2, 3]), np.float32([0, 1]))
    Array([1., 2., 3., 0.], dtype=float32)
    """
    in1, in2 = promote_inexact(in1, in2)
    return convolve(in1, wnp.conj(wnp.flip(in2)), mode, method, precision)


def convolve2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    precision: Any = None,
) -> Value:
    """The convolution of two images (see `convolve`).

    >>> import numpy as np
    >>> convolve2d(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), mode="valid")
    Array([[4.]], dtype=float32)
    """
    _check_boundary("convolve2d", boundary, fillvalue)
    return _convolve(_operands("convolve2d", in1, in2, mode, 2), mode)


def correlate2d(
    in1: Any,
    in2: Any,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: Any = 0,
    precision: Any = None,
) -> Value:
    """The cross-correlation of two images (see `correlate`).

    >>> import numpy as np
    >>> correlate2d(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), mode="valid")
    Array([[4.]], dtype=float32)
    """
    _check_boundary("correlate2d", boundary, fillvalue)
    in1, in2 = promote_inexact(in1, in2)
    in2 = wnp.conj(wnp.flip(in2))
    return _convolve(_operands("correlate2d", in1, in2, mode, 2), mode, late=True)


def _check_boundary(name: str, boundary: str, fillvalue: Any) -> None:
    if boundary != "fill" or not isinstance(fillvalue, int | float) or fillvalue != 0:
        raise ValueError(
            f"{name} pads with zeros: boundary must be 'fill' and fillvalue 0. Pad with "
            "wengert.numpy.pad for others."
        )


def fftconvolve(
    in1: Any, in2: Any, mode: str = "full", axes: int | Sequence[int] | None = None
) -> Value:
    """The convolution of two arrays by the product of their spectra.

    Args:
      in1: an array.
      in2: an array with equally many dimensions; along other axes than `axes` of equal size, or
        of size 1 in one of the two.
      mode: as in `convolve`.
      axes: the axes to convolve over; all by default.

    >>> import numpy as np
    >>> fftconvolve(np.float32([1, 2, 3]), np.float32([1, 1]), mode="same").shape
    (3,)
    """
    original = promote_inexact(in1, in2)[0].shape
    places = axes_of(axes, len(original))
    if axes is None:
        x, kernel = _operands("fftconvolve", in1, in2, mode)
    else:
        x, kernel = promote_inexact(in1, in2)
    lengths = [x.shape[a] + kernel.shape[a] - 1 for a in places]
    real = x.dtype.kind != "c"
    forward, back = (wnp.fft.rfftn, wnp.fft.irfftn) if real else (wnp.fft.fftn, wnp.fft.ifftn)
    spectra = (forward(v, lengths, places) for v in (x, kernel))
    out = back(wnp.multiply(*spectra), lengths, places).astype(x.dtype)
    if mode == "full":
        return out
    for a, n in zip(places, lengths, strict=True):
        size = original[a] if mode == "same" else x.shape[a] - kernel.shape[a] + 1
        if size < 1:
            raise errors.ShapeError("fftconvolve in mode 'valid' needs the larger array first.")
        start = (n - size) // 2
        out = out[(slice(None),) * a + (slice(start, start + size),)]
    return out


def detrend(
    data: Any,
    axis: int = -1,
    type: str = "linear",
    bp: int | Sequence[int] = 0,
    overwrite_data: Any = None,
) -> Value:
    """The data without their mean, or without the straight line that fits them best.

    Args:
      data: an array.
      axis: the axis along which the trend runs.
      type: "linear" or "constant".
      bp: where a new line starts (for "linear").
      overwrite_data: accepted; arrays are immutable.

    >>> import numpy as np
    >>> abs(float(detrend(np.arange(5.0)).sum())) < 1e-12
    True
    """
    if type not in ("linear", "constant", "l", "c"):
        raise ValueError(f"detrend has the types linear and constant, not {type!r}.")
    data = promote_inexact_unary(data)
    place = axis_of(axis, len(data.shape))
    if type in ("constant", "c"):
        return wnp.subtract(data, wnp.mean(data, axis=place, keepdims=True))
    n = data.shape[place]
    ends = sorted({0, n, *(int(b) for b in np.atleast_1d(bp))})
    if ends[0] < 0 or ends[-1] > n:
        raise ValueError(f"the break points {bp} of detrend must lie within 0 and {n}.")
    moved = wnp.moveaxis(data, place, 0)
    parts = [_without_line(moved[start:stop]) for start, stop in itertools.pairwise(ends)]
    return wnp.moveaxis(wnp.concatenate(parts, axis=0), 0, place)


def _without_line(x: Value) -> Value:
    """What remains of x after its projection onto straight lines along the first axis."""
    n = x.shape[0]
    basis, _ = np.linalg.qr(np.stack([np.ones(n), np.arange(n)], 1))
    directions = Array(basis.astype(x.dtype))
    coefficients = wnp.tensordot(directions, x, (0, 0))
    return wnp.subtract(x, wnp.tensordot(directions, coefficients, 1))
