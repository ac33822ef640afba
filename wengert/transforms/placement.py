"""Moving values to and from devices. There is one device, the CPU, and results are ready."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import tree
from wengert.core.array import Array, as_array


def device_put(x: Any, device: Any = None) -> Any:
    """The tree with its leaves as arrays.

    Args:
      x: a tree of arrays, NumPy arrays or numbers.
      device: must be None: there is only the CPU.

    >>> import numpy as np
    >>> device_put({"a": np.ones(2)})
    {'a': Array([1., 1.], dtype=float64)}
    """
    if device is not None:
        raise ValueError(f"there is only the CPU; device must be None, got {device!r}.")
    return tree.map(as_array, x)


def device_get(x: Any) -> Any:
    """The tree with its arrays as NumPy arrays.

    >>> import wengert.numpy as wnp
    >>> device_get(wnp.ones(2))
    array([1., 1.], dtype=float32)
    """
    return tree.map(lambda leaf: np.asarray(leaf) if type(leaf) is Array else leaf, x)


def block_until_ready(x: Any) -> Any:
    """The tree itself: results are ready when a call returns.

    >>> block_until_ready(1.0)
    1.0
    """
    return x
