"""The discrete Fourier transform.

One primitive, `fft`, over the last dimensions: complex to complex in both directions, real to
half spectrum, half spectrum to real. It is linear, and its transposes are again Fourier
transforms: the matrix of the complex transform is symmetric, those of the real ones are parts
of it. Padding, cropping and normalisation belong to the NumPy interface.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape
from wengert.core.primitive import Sample, Value
from wengert.primitives.basis import Linear, filled, move_axis, mul
from wengert.primitives.cast import conj, real
from wengert.primitives.shape import pad

_REAL_INPUT = {"fft": False, "ifft": False, "rfft": True, "irfft": False}
_SINGLE: dict[str, Any] = {
    "fft": np.fft.fft,
    "ifft": np.fft.ifft,
    "rfft": np.fft.rfft,
    "irfft": np.fft.irfft,
}
_SEVERAL: dict[str, Any] = {
    "fft": np.fft.fftn, "ifft": np.fft.ifftn, "rfft": np.fft.rfftn, "irfft": np.fft.irfftn
}  # fmt: skip


class Fft(Linear):
    """Discrete Fourier transform over the last `len(fft_lengths)` dimensions.

    `fft_type` is "fft", "ifft", "rfft" or "irfft"; `fft_lengths` are the lengths of the real
    or complex signal. Of a half spectrum the last dimension has `length // 2 + 1` elements.
    """

    @staticmethod
    def compute(x: Any, fft_type: str, fft_lengths: Shape) -> Any:
        if len(fft_lengths) == 1:
            return _SINGLE[fft_type](x, fft_lengths[0])
        if not fft_lengths:
            return x
        axes = tuple(range(-len(fft_lengths), 0))
        return _SEVERAL[fft_type](x, fft_lengths, axes)

    def type_rule(self, x: Any, fft_type: str, fft_lengths: Shape) -> Any:
        if fft_type not in _REAL_INPUT:
            raise ValueError(f"fft_type must be one of {[*_REAL_INPUT]}, got {fft_type!r}.")
        rank = len(fft_lengths)
        half = (*fft_lengths[:-1], fft_lengths[-1] // 2 + 1) if rank else ()
        expected = half if fft_type == "irfft" else fft_lengths
        if rank > x.ndim or x.shape[x.ndim - rank :] != tuple(expected):
            raise errors.ShapeError(
                f"{fft_type} with fft_lengths={fft_lengths} needs an array whose last "
                f"dimensions are {tuple(expected)}, got shape {x.shape}."
            )
        good = (
            (np.float32, np.float64) if _REAL_INPUT[fft_type] else (np.complex64, np.complex128)
        )
        if x.dtype not in good:
            names = " or ".join(np.dtype(d).name for d in good)
            raise errors.DTypeError(f"{fft_type} takes {names}, got {x}.")
        result = half if fft_type == "rfft" else tuple(fft_lengths)
        dtype = {"rfft": dtypes.complex_dtype, "irfft": dtypes.real_dtype}.get(
            fft_type, lambda d: d
        )(x.dtype)
        return ArrayType((*x.shape[: x.ndim - rank], *result), dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        kind, lengths = params["fft_type"], params["fft_lengths"]
        if kind == "rfft":
            return _transposed_rfft(cotangent, lengths)
        if kind == "irfft":
            return _transposed_irfft(cotangent, lengths)
        return fft(cotangent, **params)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return fft(move_axis(args[0], dims[0], 0), **params), 0

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        x, z = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4, 2)).view(complex)[..., 0]
        for lengths in ((4,), (3, 4), (2, 3, 4)):
            yield Sample(z, fft_type="fft", fft_lengths=lengths)
            yield Sample(z, fft_type="ifft", fft_lengths=lengths)
            yield Sample(x, fft_type="rfft", fft_lengths=lengths)
        yield Sample(x[:, :, :3], fft_type="rfft", fft_lengths=(3,))
        yield Sample(z, fft_type="irfft", fft_lengths=(6,))
        yield Sample(z, fft_type="irfft", fft_lengths=(3, 7))
        yield Sample(z[..., :1], fft_type="irfft", fft_lengths=(1,))
        yield Sample(x[..., 0].astype(np.float32), fft_type="rfft", fft_lengths=(3,))
        yield Sample(z[..., 0].astype(np.complex64), fft_type="irfft", fft_lengths=(5,))
        yield Sample(np.zeros((0, 3), complex), fft_type="fft", fft_lengths=(3,))


fft = Fft()


def _transposed_rfft(cotangent: Value, lengths: Shape) -> Value:
    """The half spectrum is part of the full one: pad, transform, and take the real part."""
    missing = lengths[-1] - cotangent.shape[-1]
    config = ((0, 0, 0),) * (len(cotangent.shape) - 1) + ((0, missing, 0),)
    zero = filled(ArrayType((), cotangent.dtype), 0)
    full = pad(cotangent, zero, padding_config=config)
    return real(fft(full, fft_type="fft", fft_lengths=lengths))


def _transposed_irfft(cotangent: Value, lengths: Shape) -> Value:
    """Each element of the half spectrum stands for itself and its mirror image, if any."""
    n = lengths[-1]
    weights = np.full(n // 2 + 1, 2 / math.prod(lengths), cotangent.dtype)
    weights[0] /= 2
    if n % 2 == 0:
        weights[-1] /= 2
    spectrum = fft(cotangent, fft_type="rfft", fft_lengths=lengths)
    return mul(conj(spectrum), Array(weights.astype(spectrum.dtype)))
