"""Printing, saving and loading arrays, with NumPy's formats and print options.

Arrays print by NumPy's print options, which are global: `set_printoptions` here is NumPy's.
Files are NumPy's `.npy` and `.npz`; arrays lose their weak flag on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.array import as_array
from wengert.numpy.promotion import Value

set_printoptions = np.set_printoptions
get_printoptions = np.get_printoptions
printoptions = np.printoptions
#: Index expressions as objects: `s_[1:, ::2]`.
s_ = np.s_
index_exp = np.index_exp
iterable = np.iterable
ComplexWarning = np.exceptions.ComplexWarning


def array_repr(
    arr: Any,
    max_line_width: int | None = None,
    precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:
    """What the interpreter prints for an array.

    Args:
      arr: an array.
      max_line_width: where to break lines.
      precision: digits after the point.
      suppress_small: whether numbers near 0 print as 0.

    >>> array_repr(np.array([1 / 3]), precision=2)
    'Array([0.33], dtype=float64)'
    """
    with np.printoptions(**_options(max_line_width, precision, suppress_small)):
        return repr(as_array(arr))


def array_str(
    a: Any,
    max_line_width: int | None = None,
    precision: int | None = None,
    suppress_small: bool | None = None,
) -> str:
    """The elements of an array as text, without its dtype; arguments as for `array_repr`.

    >>> array_str(np.array([1 / 3]), precision=2)
    '[0.33]'
    """
    with np.printoptions(**_options(max_line_width, precision, suppress_small)):
        return str(as_array(a))


def _options(width: int | None, precision: int | None, suppress: bool | None) -> dict[str, Any]:
    options = {"linewidth": width, "precision": precision, "suppress": suppress}
    return {name: option for name, option in options.items() if option is not None}


def save(file: Any, arr: Any, allow_pickle: bool = False) -> None:
    """Save an array to a file in NumPy's format `.npy`.

    Args:
      file: a path, or an open binary file.
      arr: an array.
      allow_pickle: accepted for NumPy's sake; numbers are never pickled.

    >>> import io
    >>> file = io.BytesIO()
    >>> save(file, np.arange(3))
    >>> _ = file.seek(0)
    >>> load(file)
    Array([0, 1, 2], dtype=int64)
    """
    del allow_pickle
    np.save(file, np.asarray(as_array(arr)), allow_pickle=False)


def savez(file: Any, *args: Any, allow_pickle: bool = False, **kwds: Any) -> None:
    """Save several arrays to one file in NumPy's format `.npz`.

    Args:
      file: a path, or an open binary file.
      *args: arrays, called "arr_0", "arr_1" ... in the file.
      allow_pickle: accepted for NumPy's sake; numbers are never pickled.
      **kwds: arrays by name.

    >>> import io
    >>> file = io.BytesIO()
    >>> savez(file, x=np.arange(3))
    >>> _ = file.seek(0)
    >>> load(file)["x"]
    array([0, 1, 2])
    """
    del allow_pickle
    named = {name: np.asarray(as_array(arr)) for name, arr in kwds.items()}
    np.savez(file, *(np.asarray(as_array(arr)) for arr in args), **named)  # type: ignore[arg-type]


def load(file: Any, **kwargs: Any) -> Value:
    """The array in a `.npy` file, or the NumPy arrays by name in an `.npz` file.

    Args:
      file: a path, or an open binary file.
      **kwargs: handed to NumPy's `load`.

    >>> import io
    >>> file = io.BytesIO()
    >>> save(file, 1.5)
    >>> _ = file.seek(0)
    >>> load(file)
    Array(1.5, dtype=float32)
    """
    out = np.load(file, **kwargs)
    return as_array(out[()]) if isinstance(out, np.ndarray) else out
