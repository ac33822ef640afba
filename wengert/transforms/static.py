"""Static arguments: which they are, and how their values are compared.

A static argument is a compile-time constant: its value is part of a program's signature. Values
are compared by type and equality, so that 1, 1.0 and True differ.

`named_arguments` finds arguments that are named by position or by name, static or donated ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from wengert import errors


class StaticValue:
    """A static argument: compared by type and value, so that 1, 1.0 and True differ."""

    __slots__ = ("value", "where")

    def __init__(self, value: Any, where: int | str) -> None:
        self.value = value
        self.where = where

    def __hash__(self) -> int:
        try:
            return hash((type(self.value), self.value))
        except TypeError:
            raise errors.StaticArgumentError(
                f"static argument {self.where!r} of a jitted function is not hashable: "
                f"{type(self.value).__name__}. Pass a tuple instead of a list, or do not make "
                "it static."
            ) from None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, StaticValue)
            and type(self.value) is type(other.value)
            and bool(self.value == other.value)
        )


def _tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, int | str):
        return (value,)
    return tuple(value)


def named_arguments(
    fun: Callable[..., Any], argnums: Any, argnames: Any, kind: str
) -> tuple[tuple[int, ...], frozenset[str]]:
    """Positions and names of some arguments, each completed from the other by signature.

    Args:
      fun: whose arguments they are.
      argnums: positions.
      argnames: names.
      kind: "static" or "donate", for error messages.
    """
    numbers, names = _tuple(argnums), _tuple(argnames)
    if not numbers and not names:
        return (), frozenset()
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return numbers, frozenset(names)
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for n in numbers:
        if not variadic and not -len(positional) <= n < len(positional):
            raise errors.ArgnumsError(
                f"{kind}_argnums={n}, but {getattr(fun, '__name__', fun)} has "
                f"{len(positional)} positional parameters."
            )
    if not variadic:
        numbers = tuple(n % len(positional) for n in numbers)
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = {p.name for p in parameters}
    for name in names:
        if name not in known and not accepts_any:
            raise errors.ArgnumsError(
                f"{kind}_argnames={name!r} is not a parameter of "
                f"{getattr(fun, '__name__', fun)}; "
                f"it has {', '.join(known)}."
            )
    named = {positional[n] for n in numbers if -len(positional) <= n < len(positional)}
    placed = {positional.index(name) for name in names if name in positional}
    return tuple(sorted({*numbers, *placed})), frozenset({*names, *named})
