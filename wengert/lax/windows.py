"""Reductions over windows: pooling, and every other function of the windows of an array.

Windows have a size, a stride, padding and dilations in every dimension. Sums, maxima and minima
are recognized in the function, as in `reduce`; for others the windows are laid out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Primitive, Value
from wengert.lax.operands import same
from wengert.lax.reductions import is_neutral, recognized
from wengert.numpy.axes import integers, shape_of
from wengert.primitives import basis, elementwise, window
from wengert.primitives.basis import reshape
from wengert.transforms.vmap import vmap

Padding = str | Sequence[tuple[int, int]]

_REDUCTIONS: dict[Primitive, Primitive] = {
    basis.add: window.reduce_window_sum,
    elementwise.maximum: window.reduce_window_max,
    elementwise.minimum: window.reduce_window_min,
}


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable[[Any, Any], Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Value:
    """Reduce every window of an array by an associative, commutative function.

    Args:
      operand: the array.
      init_value: a scalar of its dtype: what a reduction starts with, and what padding holds.
      computation: a function of two scalars.
      window_dimensions: size of a window in each dimension.
      window_strides: distances between windows; 1 by default.
      padding: "VALID", "SAME", "SAME_LOWER", or pairs (low, high), which may be negative.
      base_dilation: distances between the elements of the operand, with padding in between.
      window_dilation: distances between the elements of a window.

    >>> import numpy as np
    >>> from wengert import lax
    >>> reduce_window(np.array([1.0, 5.0, 2.0, 4.0]), -np.inf, lax.max, (2,), (2,))
    Array([5., 4.], dtype=float64)
    >>> reduce_window(np.array([1.0, 5.0, 2.0, 4.0]), 0.0, lax.add, (2,), padding="SAME")
    Array([6., 7., 6., 4.], dtype=float64)
    """
    operand, init = same("reduce_window", operand, init_value)
    if init.shape:
        raise errors.ShapeError(
            f"lax.reduce_window needs a scalar to start with, got shape {init.shape}."
        )
    params = _params(
        operand.shape,
        window_dimensions,
        window_strides,
        padding,
        base_dilation,
        window_dilation,
    )
    primitive = recognized(computation, operand.dtype)
    if primitive in _REDUCTIONS and is_neutral(primitive, init):
        return _REDUCTIONS[primitive](operand, **params)

    def elementwise_computation(x: Value, y: Value) -> Value:
        if primitive is not None:
            return primitive(x, y)
        flat = [reshape(v, shape=(v.size,)) for v in (x, y)]
        return reshape(vmap(computation)(*flat), shape=x.shape) if x.size else x

    return window.reduce_window(operand, init, elementwise_computation, **params)


def _params(
    shape: Shape,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None,
    padding: Padding,
    base_dilation: Sequence[int] | None,
    window_dilation: Sequence[int] | None,
) -> dict[str, Any]:
    sizes = {
        "window_dimensions": window_dimensions,
        "window_strides": window_strides,
        "base_dilation": base_dilation,
        "window_dilation": window_dilation,
        "padding": None if isinstance(padding, str) else padding,
    }
    for name, given in sizes.items():
        if given is not None and len(tuple(given)) != len(shape):
            raise errors.ShapeError(
                f"lax.reduce_window of shape {shape} needs one entry per dimension in {name}, "
                f"got {given}."
            )
    return window.window_params(
        shape,
        shape_of(tuple(window_dimensions)),
        None if window_strides is None else integers(window_strides),
        padding,
        base_dilation=None if base_dilation is None else integers(base_dilation),
        window_dilation=None if window_dilation is None else integers(window_dilation),
    )


def reduce_window_shape_tuple(
    operand_shape: Sequence[int],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Padding,
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Shape:
    """The shape of the result of `reduce_window`.

    >>> reduce_window_shape_tuple((8, 8), (2, 2), (2, 2), "VALID")
    (4, 4)
    """
    shape = shape_of(tuple(operand_shape))
    params = _params(
        shape, window_dimensions, window_strides, padding, base_dilation, window_dilation
    )
    out: ArrayType = window.reduce_window_sum.type_rule(ArrayType(shape, "float32"), **params)
    return out.shape
