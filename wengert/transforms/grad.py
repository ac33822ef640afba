"""Gradients of scalar functions: `grad` and `value_and_grad`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, as_array
from wengert.core.primitive import Value
from wengert.core.source import user_location
from wengert.primitives.basis import filled
from wengert.transforms.linearize import (
    Linearization,
    primal,
    result_or_zero,
    split_aux,
)


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns the value of `fun` and its gradient.

    Args:
      fun: returns a scalar (or `(scalar, aux)` with `has_aux`); its arguments are arrays,
        Python numbers, or trees of them.
      argnums: which positional arguments to differentiate; negative ones count from the end.
        An int gives one gradient, a sequence a tuple of gradients.
      has_aux: `fun` returns `(scalar, aux)`; the result is then `((value, aux), gradient)`.
      holomorphic: promise that `fun` is holomorphic; inputs and output are then complex.
      allow_int: let integer arguments through; their gradient is an array of dtype float0.

    Returns:
      a function with the arguments of `fun` and result `(value, gradient)`.

    Raises:
      NonScalarError: by that function, when `fun` returns something that is not a scalar.
      IntegerGradientError: when an argument is integer and `allow_int` is not given.

    >>> import wengert
    >>> wengert.value_and_grad(lambda x: x ** 2)(3.0)
    (Array(9., dtype=float32, weak_type=True), Array(6., dtype=float32, weak_type=True))
    """
    argnums = checked_argnums(argnums)
    checks = _Checks(holomorphic, allow_int)

    @functools.wraps(fun, updated=())
    def value_and_grad_fun(*args: Any, **kwargs: Any) -> Any:
        value, gradient, aux = _evaluate(fun, argnums, has_aux, checks, args, kwargs)
        return ((value, aux), gradient) if has_aux else (value, gradient)

    return value_and_grad_fun


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns the gradient of `fun`.

    Arguments are those of `value_and_grad`. With `has_aux` the result is `(gradient, aux)`.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.grad(wnp.dot)(wnp.array([1.0, 2.0]), wnp.array([3.0, 4.0]))
    Array([3., 4.], dtype=float32)
    """
    argnums = checked_argnums(argnums)
    checks = _Checks(holomorphic, allow_int)

    @functools.wraps(fun, updated=())
    def grad_fun(*args: Any, **kwargs: Any) -> Any:
        _, gradient, aux = _evaluate(fun, argnums, has_aux, checks, args, kwargs)
        return (gradient, aux) if has_aux else gradient

    return grad_fun


class _Checks(NamedTuple):
    """What inputs and output may be."""

    holomorphic: bool
    allow_int: bool


def _evaluate(
    fun: Callable[..., Any],
    argnums: Any,
    has_aux: bool,
    checks: _Checks,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Value, Any, Any]:
    """Value, gradient and aux."""
    leaves, in_tree = tree.flatten(selected_args(fun, args, argnums))
    inputs = [_checked_input(x, checks) for x in leaves]
    aux: Any = None

    def call(tracers: list[Any]) -> list[Any]:
        nonlocal aux
        out = fun(*replaced_args(args, argnums, tree.unflatten(in_tree, tracers)), **kwargs)
        if has_aux:
            out, aux = split_aux(out)
        return [_checked_output(out, checks.holomorphic)]

    linearized = Linearization(call, inputs)
    value = linearized.primals[0]
    pulled = linearized.pull([_one(value)], consume=True)
    gradient = tree.unflatten(in_tree, [*map(result_or_zero, pulled, inputs)])
    return value, gradient, tree.map(primal, aux) if has_aux else None


def checked_argnums(argnums: Any) -> int | tuple[int, ...]:
    """`argnums` as an int or a tuple of ints.

    Raises:
      ArgnumsError: when it is something else.
    """
    numbers = argnums if isinstance(argnums, tuple | list) else (argnums,)
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in numbers):
        raise errors.ArgnumsError(
            f"argnums must be an int or a sequence of ints, got {argnums!r}. "
            "Write argnums=0 or argnums=(0, 1)."
        )
    return tuple(map(int, numbers)) if numbers is argnums else int(argnums)


def _position(fun: Callable[..., Any], number: int, count: int) -> int:
    if not -count <= number < count:
        name = getattr(fun, "__name__", repr(fun))
        raise errors.ArgnumsError(
            f"argnums={number} asks for the derivative of {name} with respect to a positional "
            f"argument that this call does not have: it has {count}. Arguments that are to be "
            "differentiated must be passed by position."
        )
    return number % count


def selected_args(fun: Callable[..., Any], args: tuple[Any, ...], argnums: Any) -> Any:
    """The argument (or tuple of arguments) that `argnums` chooses."""
    if type(argnums) is int:
        return args[_position(fun, argnums, len(args))]
    positions = [_position(fun, n, len(args)) for n in argnums]
    if len(set(positions)) < len(positions):
        raise errors.ArgnumsError(f"argnums={argnums} names one argument twice.")
    return tuple(args[n] for n in positions)


def replaced_args(args: tuple[Any, ...], argnums: Any, chosen: Any) -> list[Any]:
    """The arguments with those that `argnums` chooses replaced."""
    out = list(args)
    if type(argnums) is int:
        out[argnums] = chosen
    else:
        for number, value in zip(argnums, chosen, strict=True):
            out[number] = value
    return out


def _checked_input(x: Any, checks: _Checks) -> Any:
    if type(x) is Array and x._value.dtype.kind == "f" and not checks.holomorphic:
        return x
    x = as_array(x)
    if checks.holomorphic:
        if not dtypes.is_complex(x.dtype):
            raise errors.HolomorphicError("input", x.type)
    elif not dtypes.is_inexact(x.dtype) and not checks.allow_int:
        raise errors.IntegerGradientError(x.type, user_location())
    return x


def _checked_output(out: Any, holomorphic: bool) -> Any:
    if isinstance(out, tuple | list | dict) or out is None:
        raise errors.NonScalarError(f"a {type(out).__name__}", user_location())
    out = as_array(out)
    if out.shape != ():
        raise errors.NonScalarError(f"an array of shape {out.shape}", user_location())
    if holomorphic:
        if not dtypes.is_complex(out.dtype):
            raise errors.HolomorphicError("output", out.type)
    elif not dtypes.is_floating(out.dtype):
        raise errors.NonScalarError(f"a scalar of dtype {out.dtype}", user_location())
    return out


_ONES: dict[Any, Array] = {
    dtype: Array(dtype.type(1)) for dtype in dtypes.SUPPORTED if dtypes.is_inexact(dtype)
}


def _one(value: Any) -> Any:
    """The cotangent 1 of a scalar result."""
    if type(value) is Array:
        return Array(_ONES[value.dtype]._value, value._weak)
    return filled(value.type, 1)
