"""What `custom_jvp` and `custom_vjp` share: arguments, flattening, batching of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import tree
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.core.program import Program
from wengert.primitives.basis import batched_first
from wengert.transforms.vmap import BatchInterpreter, batch_flat


class ProgramFunction:
    """A program as a function of flat values, under whatever interpreter is current."""

    __slots__ = ("program",)
    __name__ = "program"

    def __init__(self, program: Program) -> None:
        self.program = program

    def __call__(self, *args: Any) -> list[Any]:
        return self.program.evaluate(*args)


class Signature:
    """Positions of the arguments of a custom function, and which carry no derivative.

    Keyword arguments are put in their positions; `nondiff` ones are handed to rules first.
    """

    def __init__(self, fun: Callable[..., Any], argnums: Any, argnames: Any) -> None:
        self.name = getattr(fun, "__name__", repr(fun))
        try:
            self.signature: inspect.Signature | None = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if names:
            parameters = list(self.signature.parameters) if self.signature else []
            for name in names:
                if name not in parameters:
                    raise errors.ArgnumsError(
                        f"nondiff_argnames={name!r} is not a parameter of {self.name}."
                    )
            numbers += tuple(parameters.index(name) for name in names)
        self.nondiff = tuple(sorted(set(numbers)))

    def positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, defaults filled in.

        Raises:
          TypeError: for keyword-only parameters and calls that do not fit the signature.
        """
        if self.signature is None:
            if kwargs:
                raise TypeError(f"{self.name} takes no keyword arguments here")
            return args
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"the custom derivative function {self.name} has keyword-only arguments "
                f"({', '.join(bound.kwargs)}); its rules take arguments by position. Remove "
                "the "
                "'*' from its signature."
            )
        return bound.args

    def split(self, args: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        """Nondifferentiable and differentiable arguments."""
        nondiff = {n % len(args) for n in self.nondiff} if args else set()
        return (
            [a for i, a in enumerate(args) if i in nondiff],
            [a for i, a in enumerate(args) if i not in nondiff],
        )

    def merge(self, nondiff: Sequence[Any], rest: Sequence[Any]) -> list[Any]:
        """All arguments in their positions again."""
        count = len(nondiff) + len(rest)
        places = {n % count for n in self.nondiff}
        fixed, free = iter(nondiff), iter(rest)
        return [next(fixed) if i in places else next(free) for i in range(count)]


def flat_function(
    fun: Callable[..., Any], in_tree: tree.TreeDef, keep: Callable[[Any], None]
) -> Callable[..., list[Any]]:
    """`fun`, taking a list of trees, as a function of flat values; `keep` gets the out tree."""

    def flat(*leaves: Any) -> list[Any]:
        out_leaves, out_tree = tree.flatten(fun(*tree.unflatten(in_tree, leaves)))
        keep(out_tree)
        return [as_array(leaf) for leaf in out_leaves]

    return flat


def batched_function(
    interpreter: BatchInterpreter, fun: Callable[..., list[Any]], dims: Sequence[int | None]
) -> Callable[..., list[Any]]:
    """A flat function of single examples as one of batches, all results batched in front."""

    def batched(*values: Value) -> list[Any]:
        out, out_dims = batch_flat(
            lambda tracers: fun(*tracers),
            interpreter.size,
            values,
            dims,
            interpreter.axis_name,
            interpreter.tag,
        )
        return [
            batched_first(o, d, interpreter.size) for o, d in zip(out, out_dims, strict=True)
        ]

    return batched
