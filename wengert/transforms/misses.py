"""Why a jitted function was compiled again: `explain_misses`.

The signature of a call that fitted none of the known ones is compared with the nearest of
them. Each difference is a cause: an argument (or a part of it) and a field. A cause is told
once for a function, as a `CompiledAgainWarning`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from wengert import errors
from wengert.core import tree


class Signature(NamedTuple):
    """What a program is kept under: structure, static values, mapped axes, leaves' types."""

    in_tree: tree.TreeDef
    static: Any
    environment: tuple[tuple[Any, int], ...]
    leaves: tuple[tuple[Any, ...], ...]


class Difference(NamedTuple):
    """One way in which two signatures differ."""

    where: str
    field: str
    new: Any
    old: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.field} {self.new} instead of {self.old}"


def explain(
    name: str,
    fun: Callable[..., Any],
    new: Signature,
    known: Sequence[Signature],
    told: set[tuple[str, str]],
) -> None:
    """Warn of the causes of a miss that have not been told yet."""
    nearest = min(
        (list(differences(fun, new, old)) for old in reversed(known)), key=len, default=[]
    )
    fresh = [d for d in nearest if (d.where, d.field) not in told]
    told.update((d.where, d.field) for d in fresh)
    if fresh:
        causes = "; ".join(map(str, fresh))
        message = f"{name} is traced and compiled again, because of {causes}"
        warnings.warn(message, errors.CompiledAgainWarning, stacklevel=5)


def differences(
    fun: Callable[..., Any], new: Signature, old: Signature
) -> Iterator[Difference]:
    """All differences between two signatures; that of structure hides those of leaves."""
    if new.environment != old.environment:
        yield Difference("mapped axes", "environment", new.environment, old.environment)
    yield from _static_differences(fun, new.static, old.static)
    if new.in_tree != old.in_tree:
        yield from _tree_differences(fun, new.in_tree, old.in_tree)
        return
    paths = leaf_names(fun, new.in_tree)
    for path, now, before in zip(paths, new.leaves, old.leaves, strict=True):
        for field, x, y in zip(("shape", "dtype", "weak type"), now, before, strict=True):
            if x != y:
                yield Difference(f"argument {path}", field, x, y)


def _static_differences(fun: Callable[..., Any], new: Any, old: Any) -> Iterator[Difference]:
    if new is None or old is None:
        return
    names = _positional(fun)
    now = {k: box for part in new for k, box in part}
    before = {k: box for part in old for k, box in part}
    for key in {**now, **before}:
        where = f"argument {_name(names, key) if isinstance(key, int) else key}"
        if key not in now or key not in before:
            yield Difference(
                where, "static value", *("given", "absent")[:: 1 if key in now else -1]
            )
        elif now[key] != before[key]:
            yield Difference(
                where, "static value", repr(now[key].value), repr(before[key].value)
            )


def _tree_differences(
    fun: Callable[..., Any], new: tree.TreeDef, old: tree.TreeDef
) -> Iterator[Difference]:
    (args, kwargs), (old_args, old_kwargs) = new.children(), old.children()
    if args.num_children != old_args.num_children:
        yield Difference(
            "arguments", "positional number", args.num_children, old_args.num_children
        )
    if sorted(kwargs.entries()) != sorted(old_kwargs.entries()):
        yield Difference(
            "arguments", "keywords", sorted(kwargs.entries()), sorted(old_kwargs.entries())
        )
    names = _positional(fun)
    for i, (now, before) in enumerate(zip(args.children(), old_args.children(), strict=False)):
        if now != before:
            yield Difference(f"argument {_name(names, i)}", "tree", _text(now), _text(before))
    known = dict(zip(old_kwargs.entries(), old_kwargs.children(), strict=True))
    for key, now in zip(kwargs.entries(), kwargs.children(), strict=True):
        if key in known and now != known[key]:
            yield Difference(f"argument {key}", "tree", _text(now), _text(known[key]))


def leaf_names(fun: Callable[..., Any], in_tree: tree.TreeDef) -> list[str]:
    """What the user would call each leaf: `x`, `params['w'][0]`."""
    names = _positional(fun)
    found = []
    for accessor in in_tree.accessors():
        group, first = accessor[0].entry, accessor[1].entry
        root = _name(names, first) if group == 0 else str(first)
        found.append(accessor[2:].codify(root))
    return found


def _positional(fun: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        return []
    return [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"number {index}"


def _text(spec: tree.TreeDef) -> str:
    return str(spec).removeprefix("PyTreeSpec(").removesuffix(")").split(", namespace=")[0]
