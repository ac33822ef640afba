"""Arrays, and calls of functions that donate them: for tests of donation."""

from __future__ import annotations

import numpy as np
import pytest

import wengert.numpy as wnp
from wengert.core import tree
from wengert.engines import selection
from wengert.engines.native.runtime import callable as native

compiled = pytest.mark.skipif(
    not (native.SUPPORTED and selection.has_llvm()), reason="jit is eager here"
)
N = 4000


def vector(start=0.0, count=N):
    """An array that owns its memory."""
    return wnp.arange(count, dtype="float32") + start


def address(x):
    """Where the elements of an array lie."""
    return x._value.__array_interface__["data"][0]


def copies(values):
    """NumPy copies of a tree of arrays."""
    return tree.map(np.array, values)
