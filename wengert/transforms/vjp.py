"""Pullbacks: `vjp`, and the transpose of a linear function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import ArrayType, as_array
from wengert.primitives.basis import zeros_like
from wengert.transforms.linearize import (
    check_tangents,
    like,
    linearize_flat,
    result_or_zero,
    transpose_flat,
)


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Result of a function, and its pullback: from cotangents of the result to the inputs'.

    Args:
      fun: a function of arrays, or trees of arrays. NumPy arrays that it closes over are
        shared: change them only after the last use of the pullback.
      *primals: the point. NumPy arrays are copied.
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

    Raises:
      NonlinearRuleError: by that function, when `fun` is not linear.

    >>> import wengert, wengert.numpy as wnp
    >>> transposed = wengert.linear_transpose(lambda x: 3.0 * x, wnp.zeros(2))
    >>> transposed(wnp.array([1.0, 2.0]))
    (Array([3., 6.], dtype=float32),)
    """
    leaves, in_tree = tree.flatten(tuple(primals))
    types = [x if type(x) is ArrayType else as_array(x).type for x in leaves]
    for type_ in types:
        if not dtypes.is_inexact(type_.dtype):
            raise errors.DTypeError(
                f"linear_transpose needs floating or complex inputs, got {type_}. Convert it "
                "with x.astype(dtype), or close over it."
            )

    def transposed(cotangent: Any) -> Any:
        out: Any = None

        def call(tracers: list[Any]) -> list[Any]:
            nonlocal out
            out = tree.map(as_array, fun(*tree.unflatten(in_tree, tracers)))
            return tree.leaves(out)

        def given(results: Sequence[Any]) -> list[Any]:
            got, got_tree = tree.flatten(cotangent)
            if got_tree != tree.structure(out):
                raise errors.TreeError(
                    "the cotangent", got_tree, "the result", tree.structure(out)
                )
            return check_tangents("cotangent", got, results, lambda: tree.leaf_paths(out))

        pulled = transpose_flat(call, types, given)
        return tree.unflatten(
            in_tree,
            [
                zeros_like(t) if v is None else like(v, t)
                for v, t in zip(pulled, types, strict=True)
            ],
        )

    return transposed
