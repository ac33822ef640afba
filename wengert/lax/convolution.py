"""Convolutions of neural networks, and their dimension numbers and paddings.

As in all such software these are cross-correlations: kernels are not flipped. Layouts are
given by `ConvDimensionNumbers`, or by three strings such as `("NHWC", "HWIO", "NHWC")`: N is
the batch, C the features, O and I the features of the result and of the input in a kernel; all
other letters are spatial. Without them dimensions are in the order (batch, features, *space)
and (out, in, *space).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.core.primitive import Value
from wengert.lax.contraction import dot_general
from wengert.lax.operands import same
from wengert.numpy.axes import integers
from wengert.primitives import convolve
from wengert.primitives.basis import transpose
from wengert.primitives.convolve import ConvDimensionNumbers, dilated, padding_of
from wengert.primitives.shape import rev

Padding = str | Sequence[tuple[int, int]]
#: `ConvDimensionNumbers`, three strings, three sequences of integers, or None.
ConvGeneralDilatedDimensionNumbers = Any


# -- dimension numbers and padding -------------------------------------------------------------


def conv_general_permutations(dimension_numbers: tuple[str, str, str]) -> tuple[Shape, ...]:
    """Where three layout strings have (batch, feature, *space) and (out, in, *space).

    >>> conv_general_permutations(("NHWC", "HWIO", "NHWC"))
    ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    """
    space = [c for c in dimension_numbers[1] if c not in "OI"]
    found = []
    for text, leading in zip(
        dimension_numbers, (["N", "C"], ["O", "I"], ["N", "C"]), strict=True
    ):
        letters = [*leading, *space]
        if len(set(letters)) != len(letters) or sorted(text) != sorted(letters):
            raise errors.ShapeError(
                f"the layouts {dimension_numbers} need N and C in the first and last, O and I "
                "in the second, and the same spatial letters in all three, each once."
            )
        found.append(tuple(text.index(letter) for letter in letters))
    return tuple(found)


def conv_dimension_numbers(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    dimension_numbers: ConvGeneralDilatedDimensionNumbers,
) -> ConvDimensionNumbers:
    """Dimension numbers from layout strings, or the default ones.

    >>> conv_dimension_numbers((1, 8, 8, 3), (3, 3, 3, 4), ("NHWC", "HWIO", "NHWC"))
    ConvDimensionNumbers(lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2))
    """
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    if len(lhs_shape) != len(rhs_shape) or len(lhs_shape) < 2:
        raise errors.ShapeError(
            "a convolution needs input and kernel with equally many dimensions, at least 2; "
            f"got shapes {tuple(lhs_shape)} and {tuple(rhs_shape)}."
        )
    if dimension_numbers is None:
        order = tuple(range(len(lhs_shape)))
        return ConvDimensionNumbers(order, order, order)
    if all(isinstance(text, str) for text in dimension_numbers):
        if any(len(text) != len(lhs_shape) for text in dimension_numbers):
            raise errors.ShapeError(
                f"the layouts {dimension_numbers} do not fit arrays with {len(lhs_shape)} "
                "dimensions."
            )
        return ConvDimensionNumbers(*conv_general_permutations(dimension_numbers))
    return ConvDimensionNumbers(*(integers(spec) for spec in dimension_numbers))


def padtype_to_pads(
    in_shape: Sequence[int],
    window_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str,
) -> list[tuple[int, int]]:
    """The pairs of integers that a padding by name stands for.

    >>> padtype_to_pads((5,), (2,), (1,), "SAME")
    [(0, 1)]
    """
    if not isinstance(padding, str):
        raise TypeError(f"padding by name is a string, got {padding!r}.")
    sizes = integers(in_shape), integers(window_shape), integers(window_strides)
    return list(padding_of(padding, *sizes))


def _ones(rank: int, given: Sequence[int] | None) -> Shape:
    return (1,) * rank if given is None else integers(given)


def _space(shape: Sequence[int], spec: Shape, dilation: Shape) -> Shape:
    """The spatial extents of an array whose elements are spread by a dilation."""
    return tuple(dilated(shape[d], step) for d, step in zip(spec[2:], dilation, strict=True))


def _named_padding(
    lhs: Value,
    rhs: Value,
    padding: str,
    strides: Shape,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
    numbers: ConvDimensionNumbers,
) -> Sequence[tuple[int, int]]:
    if any(step != 1 for step in lhs_dilation):
        raise ValueError(
            f"padding {padding!r} means nothing definite for a dilated input: give pairs of "
            "integers, or use conv_transpose."
        )
    sizes = _space(lhs.shape, numbers.lhs_spec, lhs_dilation)
    return padding_of(
        padding, sizes, _space(rhs.shape, numbers.rhs_spec, rhs_dilation), strides
    )


# -- convolutions ------------------------------------------------------------------------------


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
    out_sharding: Any = None,
) -> Value:
    """Windows of an input times a kernel, in any number of spatial dimensions.

    Args:
      lhs: the input.
      rhs: the kernel, of the same dtype.
      window_strides: distances between windows.
      padding: "VALID", "SAME", "SAME_LOWER", or pairs (low, high), which may be negative.
      lhs_dilation, rhs_dilation: distances between the elements of the input and the kernel.
      dimension_numbers: the layouts (see the module).
      feature_group_count: into how many groups features are divided that do not mix.
      batch_group_count: the same for examples, each group with its own kernel.
      precision: accepted and without effect; so is `out_sharding`.
      preferred_element_type: dtype of the result, and of sums where it is wider.

    Raises:
      ShapeError: when shapes, layouts and groups do not fit together.

    >>> import numpy as np
    >>> x, kernel = np.ones((1, 5, 5, 3)), np.ones((3, 3, 3, 4))
    >>> layouts = ("NHWC", "HWIO", "NHWC")
    >>> conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layouts).shape
    (1, 5, 5, 4)
    """
    lhs, rhs = same("conv_general_dilated", lhs, rhs)
    numbers = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    rank = len(numbers.lhs_spec) - 2
    strides, left, right = (
        _ones(rank, given) for given in (window_strides, lhs_dilation, rhs_dilation)
    )
    if isinstance(padding, str):
        padding = _named_padding(lhs, rhs, padding, strides, left, right, numbers)
    wanted = preferred_element_type
    return convolve.conv_general_dilated(
        lhs,
        rhs,
        window_strides=strides,
        padding=tuple(tuple(integers(pair)) for pair in padding),
        lhs_dilation=left,
        rhs_dilation=right,
        dimension_numbers=numbers,
        feature_group_count=int(feature_group_count),
        batch_group_count=int(batch_group_count),
        preferred_element_type=None if wanted is None else dtypes.as_dtype(wanted),
    )


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """A convolution in the default layout (batch, features, *space).

    >>> import numpy as np
    >>> conv(np.ones((1, 3, 5)), np.ones((4, 3, 2)), (1,), "VALID").shape
    (1, 4, 4)
    """
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """A convolution in the default layout, with padding and dilations.

    >>> import numpy as np
    >>> x, kernel = np.ones((1, 3, 5)), np.ones((4, 3, 2))
    >>> conv_with_general_padding(x, kernel, (1,), [(1, 0)], None, None).shape
    (1, 4, 5)
    """
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _transposed_padding(size: int, stride: int, padding: str) -> tuple[int, int]:
    """Padding of the dilated input with which a convolution undoes one of this padding.

    The strided convolution that is to be undone takes n * stride elements to n with "SAME",
    and (n - 1) * stride + size elements (but at least n * stride) with "VALID".
    """
    if padding == "SAME":
        total = size + stride - 2
        low = size - 1 if stride > size - 1 else -(-total // 2)
    elif padding == "VALID":
        total = size + stride - 2 + max(size - stride, 0)
        low = size - 1
    else:
        raise ValueError(f"conv_transpose knows the paddings SAME and VALID, not {padding!r}.")
    return low, total - low


def _transposed_paddings(
    padding: Padding, sizes: Shape, strides: Shape, consistent: bool
) -> list[tuple[int, int]]:
    """Padding of the dilated input, from what the user gave."""
    if isinstance(padding, str):
        name = padding.upper()
        return [_transposed_padding(k, s, name) for k, s in zip(sizes, strides, strict=True)]
    pairs = [(int(low), int(high)) for low, high in padding]
    if not consistent:
        return pairs
    return [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(sizes, pairs, strict=True)]


def _transpose_layouts(rank: int) -> tuple[str, str, str]:
    """The default layouts of `conv_transpose`, with the features last."""
    if not 2 <= rank <= 5:
        raise errors.ShapeError(
            f"conv_transpose of arrays with {rank} dimensions needs dimension_numbers."
        )
    space = "HWD"[: rank - 2]
    return f"N{space}C", f"{space}IO", f"N{space}C"


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: Padding,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
    use_consistent_padding: bool = False,
) -> Value:
    """The transpose of a strided convolution, as a layer: the input is spread by the strides.

    Args:
      lhs: the input.
      rhs: the kernel.
      strides: by how much sizes grow.
      padding: "SAME", "VALID", or pairs (low, high) that pad the spread input.
      rhs_dilation: distances between the elements of the kernel.
      dimension_numbers: the layouts; by default those with features last, `("NHWC", "HWIO",
        "NHWC")` in two spatial dimensions.
      transpose_kernel: whether the kernel is that of the convolution to be transposed: its
        features are exchanged and its space reversed.
      precision: accepted and without effect.
      preferred_element_type: dtype of the result.
      use_consistent_padding: whether pairs are those of the convolution to be transposed.

    >>> import numpy as np
    >>> conv_transpose(np.ones((1, 4, 3)), np.ones((2, 3, 5)), (2,), "SAME").shape
    (1, 8, 5)
    """
    lhs, rhs = same("conv_transpose", lhs, rhs)
    if dimension_numbers is None:
        dimension_numbers = _transpose_layouts(len(lhs.shape))
    numbers = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    dilation = _ones(len(numbers.lhs_spec) - 2, rhs_dilation)
    steps = integers(strides)
    sizes = _space(rhs.shape, numbers.rhs_spec, dilation)
    pairs = _transposed_paddings(padding, sizes, steps, use_consistent_padding)
    if transpose_kernel:
        rhs = rev(rhs, dimensions=numbers.rhs_spec[2:])
        out, inner, *space = numbers.rhs_spec
        numbers = numbers._replace(rhs_spec=(inner, out, *space))
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * len(steps),
        pairs,
        steps,
        dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


# -- patches -----------------------------------------------------------------------------------


def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: Any = None,
    preferred_element_type: DTypeLike = None,
) -> Value:
    """The windows that a convolution would see, their elements as features.

    Args:
      lhs: the input.
      filter_shape: spatial sizes of the windows.
      window_strides: and all that follows: as in `conv_general_dilated`.
      padding: see there.
      lhs_dilation: see there.
      rhs_dilation: see there.
      dimension_numbers: see there.
      precision: see there.
      preferred_element_type: see there.

    Returns:
      an array with `features * prod(filter_shape)` features: those of the first input feature
      come first.

    >>> import numpy as np
    >>> conv_general_dilated_patches(np.arange(4.0).reshape(1, 1, 4), (2,), (1,), "VALID")
    Array([[[0., 1., 2.],
            [1., 2., 3.]]], dtype=float64)
    """
    lhs = as_array(lhs)
    taps = integers(filter_shape)
    rank = len(lhs.shape)
    numbers = conv_dimension_numbers(lhs.shape, (1,) * rank, dimension_numbers)
    features, size = lhs.shape[numbers.lhs_spec[1]], math.prod(taps)
    # for every feature the unit kernels, one for each element of a window
    unit = np.eye(size).astype(lhs.dtype).reshape(size, 1, *taps)
    kernel = np.tile(unit, (features, *(1,) * (rank - 1)))
    order = sorted(range(rank), key=numbers.rhs_spec.__getitem__)
    return conv_general_dilated(
        lhs,
        Array(kernel.transpose(order)),
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        numbers,
        feature_group_count=features,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Padding,
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: Any = None,
) -> Value:
    """A convolution with a kernel of its own at every position of the result.

    Args:
      lhs: the input.
      rhs: the kernels: as a kernel of spatial size 1 with `features * prod(filter_shape)` input
        features, but with the spatial shape of the result.
      window_strides: as in `conv_general_dilated`.
      padding: see there.
      filter_shape: spatial sizes of the windows.
      lhs_dilation: see there.
      rhs_dilation: see there.
      dimension_numbers: see there.
      precision: see there.

    >>> import numpy as np
    >>> x, kernels = np.ones((1, 1, 4)), np.ones((5, 2, 3))
    >>> conv_general_dilated_local(x, kernels, (1,), "VALID", (2,)).shape
    (1, 5, 3)
    """
    lhs, rhs = same("conv_general_dilated_local", lhs, rhs)
    numbers = conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    patches = conv_general_dilated_patches(
        lhs,
        filter_shape,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        numbers,
        precision,
    )
    patches = transpose(patches, permutation=numbers.out_spec)
    kernels = transpose(rhs, permutation=numbers.rhs_spec)
    space = tuple(range(2, len(patches.shape)))
    out = dot_general(patches, kernels, (((1,), (1,)), (space, space)), precision)
    # (*space, batch, feature) -> (batch, feature, *space) -> the layout of the result
    count = len(space)
    out = transpose(out, permutation=(count, count + 1, *range(count)))
    order = sorted(range(count + 2), key=numbers.out_spec.__getitem__)
    return transpose(out, permutation=tuple(order))
