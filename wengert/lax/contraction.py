"""Products of arrays, summed over dimensions: dot, dot_general, batch_matmul.

`precision` chooses in JAX among faster and more exact products on accelerators. It is accepted
everywhere here and changes nothing: products are exact to the precision of their dtype, and
16-bit dtypes accumulate in float32.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.dtypes import DTypeLike
from wengert.core.primitive import Value
from wengert.numpy.axes import axes_of
from wengert.numpy.promotion import promote
from wengert.primitives import contract

DotDimensionNumbers = tuple[
    tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]
]


class Precision(enum.Enum):
    """How exact products are; here always HIGHEST."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: DotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
    *,
    out_sharding: Any = None,
) -> Value:
    """The product of two arrays, summed over pairs of dimensions.

    Args:
      lhs: an array.
      rhs: an array.
      dimension_numbers: `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`.
      precision: accepted; see the module.
      preferred_element_type: dtype of the result, and of sums where it is wider.
      out_sharding: accepted and without effect: there is one device.

    Returns:
      an array with the batch dimensions first, then those of `lhs`, then those of `rhs`.

    >>> import numpy as np
    >>> x, y = np.ones((2, 3, 4)), np.ones((2, 4, 5))
    >>> dot_general(x, y, (((2,), (1,)), ((0,), (0,)))).shape
    (2, 3, 5)
    """
    lhs, rhs = promote(lhs, rhs)
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    left, right = len(lhs.shape), len(rhs.shape)
    numbers = (
        (axes_of(tuple(lhs_contract), left), axes_of(tuple(rhs_contract), right)),
        (axes_of(tuple(lhs_batch), left), axes_of(tuple(rhs_batch), right)),
    )
    if preferred_element_type is None:
        return contract.dot_general(lhs, rhs, dimension_numbers=numbers)
    wanted = dtypes.as_dtype(preferred_element_type)
    return contract.dot_general(
        lhs, rhs, dimension_numbers=numbers, preferred_element_type=wanted
    )


def dot(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: DotDimensionNumbers | None = None,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
    out_sharding: Any = None,
) -> Value:
    """The product of vectors and matrices; with dimension numbers, `dot_general`.

    >>> import numpy as np
    >>> dot(np.ones((2, 3)), np.ones(3))
    Array([3., 3.], dtype=float64)
    """
    lhs, rhs = as_array(lhs), as_array(rhs)
    if dimension_numbers is None:
        ranks = len(lhs.shape), len(rhs.shape)
        if not all(1 <= rank <= 2 for rank in ranks):
            raise errors.ShapeError(
                f"lax.dot takes vectors and matrices, got shapes {lhs.shape} and {rhs.shape}. "
                "Say dimension_numbers=, or use wengert.numpy.matmul."
            )
        dimension_numbers = (((ranks[0] - 1,), (0,)), ((), ()))
    return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)


def batch_matmul(lhs: Any, rhs: Any, precision: Any = None) -> Value:
    """The products of two stacks of matrices; all leading dimensions are equal.

    >>> import numpy as np
    >>> batch_matmul(np.ones((5, 2, 3)), np.ones((5, 3, 4))).shape
    (5, 2, 4)
    """
    lhs, rhs = as_array(lhs), as_array(rhs)
    rank = len(lhs.shape)
    if rank < 2 or len(rhs.shape) != rank:
        raise errors.ShapeError(
            f"batch_matmul takes two stacks of matrices of one rank, got shapes {lhs.shape} "
            f"and {rhs.shape}."
        )
    stack = tuple(range(rank - 2))
    return dot_general(lhs, rhs, (((rank - 1,), (rank - 2,)), (stack, stack)), precision)
