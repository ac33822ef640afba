"""Pullbacks: `vjp`, and the transpose of a linear function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert import errors
from wengert.core import tree
from wengert.core.array import ArrayType, as_array
from wengert.primitives.basis import zeros_like
from wengert.transforms.linearize import (
    check_tangents,
    linearize_flat,
    result_or_zero,
)


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Result of a function, and its pullback: from cotangents of the result to the inputs'.

    Args:
      fun: a function of arrays, or trees of arrays.
      *primals: the point.
      has_aux: whether `fun` returns `(result, aux)`; aux is handed through.

    Returns:
      `(out, f_vjp)`, or `(out, f_vjp, aux)`; `f_vjp(cotangent)` is a tuple with one tree per
      primal input.

    Raises:
      CotangentError: by `f_vjp`, for a cotangent of the wrong shape or dtype.

    >>> import wengert, wengert.numpy as wnp
    >>> y, f_vjp = wengert.vjp(lambda x, w: x * w, wnp.array(3.0), wnp.array(5.0))
    >>> f_vjp(wnp.array(1.0))[0]
    Array(5., dtype=float32, weak_type=True)
    """
    linearized, in_tree, out_tree, inputs, aux = linearize_flat(fun, primals, has_aux)
    out = tree.unflatten(out_tree, linearized.primals)

    def f_vjp(cotangent: Any) -> Any:
        got, got_tree = tree.flatten(cotangent)
        if got_tree != out_tree:
            raise errors.TreeError("the cotangent", got_tree, "the result", out_tree)
        checked = check_tangents(
            "cotangent", got, linearized.primals, lambda: tree.leaf_paths(out)
        )
        pulled = linearized.pull(checked)
        return tree.unflatten(in_tree, map(result_or_zero, pulled, inputs))

    return (out, f_vjp, aux) if has_aux else (out, f_vjp)


def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], Any]:
    """The transpose of a linear function.

    Args:
      fun: a linear function.
      *primals: examples of its inputs: arrays, or their types (`ShapeDtypeStruct`).

    Returns:
      a function from a cotangent of the result to a tuple of cotangents of the inputs.

    >>> import wengert, wengert.numpy as wnp
    >>> transposed = wengert.linear_transpose(lambda x: 3.0 * x, wnp.zeros(2))
    >>> transposed(wnp.array([1.0, 2.0]))
    (Array([3., 6.], dtype=float32),)
    """
    zeros = tree.map(lambda x: zeros_like(_as_type(x)), tuple(primals))

    def transposed(cotangent: Any) -> Any:
        return vjp(fun, *zeros)[1](cotangent)

    return transposed


def _as_type(value: Any) -> ArrayType:
    if type(value) is ArrayType:
        return value
    return as_array(value).type  # type: ignore[no-any-return]
