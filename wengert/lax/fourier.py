"""The discrete Fourier transform over the last dimensions, without padding or scaling choices.

`wengert.numpy.fft` has NumPy's interface to it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.numpy.axes import shape_of
from wengert.primitives import fft as primitives


class FftType(enum.Enum):
    """Which transform: complex forward and back, real to half spectrum, and back to real."""

    FFT = "fft"
    IFFT = "ifft"
    RFFT = "rfft"
    IRFFT = "irfft"


def fft(x: Any, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Value:
    """The discrete Fourier transform over the last `len(fft_lengths)` dimensions.

    Args:
      x: an array.
      fft_type: an `FftType`, or its name.
      fft_lengths: the lengths of the signal (not of a half spectrum).

    >>> import numpy as np
    >>> fft(np.ones(4), "rfft", (4,))
    Array([4.+0.j, 0.+0.j, 0.+0.j], dtype=complex128)
    """
    kind = fft_type if isinstance(fft_type, FftType) else FftType[str(fft_type).upper()]
    lengths = shape_of(tuple(fft_lengths))
    return primitives.fft(as_array(x), fft_type=kind.value, fft_lengths=lengths)
