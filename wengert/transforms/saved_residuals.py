"""`saved_residuals`: the values that a derivative keeps for the backward pass.

The function's linearization is traced with its pullback, and the values are listed that the
pullback needs and the forward pass knows. Nothing is computed. Checkpointed calls inside the
function appear as they run: with their inputs, and with what their policies save.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert.core import dtypes, tree
from wengert.core.array import ArrayType
from wengert.core.source import Location
from wengert.transforms.checkpoint import Use, split_program
from wengert.transforms.jit import JitFunction
from wengert.transforms.residuals import Residual, residuals_of


class SavedResidual(NamedTuple):
    """A value that is kept for the backward pass: its type, and where it comes from."""

    type: ArrayType
    source: str

    def __str__(self) -> str:
        return f"{self.type} {self.source}"


def saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> list[SavedResidual]:
    """The values that reverse mode keeps for the backward pass of `f`, in order.

    Args:
      f: a function of arrays, or trees of arrays.
      *args: arguments to show it for: arrays, or their types. Derivatives are taken with
        respect to all floating ones.
      **kwargs: the same by name.

    Returns:
      a list of pairs: type, and a text that says where the value comes from.

    >>> import wengert, wengert.numpy as wnp
    >>> f = lambda x: wnp.sum(wnp.sin(wnp.exp(x)))
    >>> [str(type_) for type_, source in saved_residuals(f, wnp.ones(3))]
    ['f32[3]', 'f32[3]']
    >>> print(saved_residuals(wengert.checkpoint(f), wnp.ones(3))[0])
    f32[3] from the argument x
    """
    traced = JitFunction(f, None, None).trace(*args, **kwargs)
    program, captured = traced.program.closed(), traced.program.constant_values
    names = _argument_names(f, args, kwargs)
    followed = tuple(
        i
        for i, v in enumerate(program.inputs)
        if i >= len(captured) and dtypes.is_inexact(v.type.dtype)
    )
    inexact = (i for i, t in enumerate(program.out_types) if dtypes.is_inexact(t.dtype))
    parts = split_program(program, followed, Use(False, tuple(inexact)), None)
    constants = len(parts.inputs) - len(names)
    sources = [*[None] * constants, *names]
    return [SavedResidual(r.variable.type, _source(r, sources)) for r in residuals_of(parts)]


def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Print what `saved_residuals` lists, one value a line.

    >>> import wengert.numpy as wnp
    >>> print_saved_residuals(lambda x, y: x * y, 2.0, wnp.ones(3))
    f32*[] from the argument x
    f32[3] from the argument y
    """
    for residual in saved_residuals(f, *args, **kwargs):
        print(residual)


def _source(residual: Residual, sources: Sequence[str | None]) -> str:
    """Where a residual comes from, in words."""
    equation = residual.equation
    if equation is None:
        name = None if residual.position is None else sources[residual.position]
        where = f"from the argument {name}" if name else "from a constant"
    else:
        where = f"output of {equation.primitive.name}{_at(equation.location)}"
    named = ", ".join(f"'{name}'" for name in residual.names)
    return f"named {named}, {where}" if named else where


def _at(location: Location | None) -> str:
    if location is None:
        return ""
    return f" from {location.code.co_filename}:{location.line} ({location.code.co_name})"


def _argument_names(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str]:
    """How the user would write each leaf of the arguments: `params['w']`."""
    names = _parameter_names(f, args, kwargs)
    values = [*args, *(kwargs[key] for key in sorted(kwargs))]
    return [
        f"{name}{path}"
        for name, value in zip([*names, *sorted(kwargs)], values, strict=True)
        for path in tree.leaf_paths(value)
    ]


def _parameter_names(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str]:
    """The names of the parameters that positional arguments are for."""
    try:
        bound = inspect.signature(f).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return [f"args[{i}]" for i in range(len(args))]
    names: list[str] = []
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            more = range(len(args) - len(names))
            names += [f"{parameter.name}[{i}]" for i in more]
        elif len(names) < len(args):
            names.append(parameter.name)
    return names
