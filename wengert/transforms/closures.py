"""Traced values that functions with custom rules close over.

A custom function and its rules may use values of enclosing transformations. Interpreters look
at operands only, so these values must become operands: `closed_over` finds them, and
`with_values` runs the functions with other values in their place. So the rules work after the
transformation that made a value has ended, and derivatives with respect to it are found.

What is found: cells, defaults, partial arguments, bound objects, and attributes and elements
of these. A value in a global variable or a class is not; `check_nesting` and `check_level`
notice where that would give wrong results.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Sequence, ValuesView
from itertools import islice
from typing import Any

import numpy as np

from wengert import errors
from wengert.core.array import Array
from wengert.core.interpreter import EagerInterpreter, Interpreter, Params, Tracer, state
from wengert.core.primitive import Primitive, Value

#: What is not looked into: most values, and the modules that functions use.
_OPAQUE = (Array, np.ndarray, np.generic, np.dtype, str, bytes, int, float, complex, type)
#: Objects that are looked at before the search is given up: closures are small.
_LIMIT = 1000


def closed_over(*roots: Any) -> list[Tracer]:
    """The tracers that functions (or trees) hold, directly or through what they close over."""
    if isinstance(state.interpreter, EagerInterpreter):
        return []
    found: dict[int, Tracer] = {}
    seen: set[int] = set()
    pending = deque(roots)
    while pending and len(seen) < _LIMIT:  # the nearest first
        item = pending.popleft()
        if isinstance(item, Tracer):
            found[id(item)] = item
        elif item is not None and id(item) not in seen and not isinstance(item, _OPAQUE):
            seen.add(id(item))
            pending.extend(_contents(item))
    return list(found.values())


def _contents(item: Any) -> list[Any]:
    """What an object refers to, as far as a function that uses it could mean."""
    if isinstance(item, types.FunctionType):
        cells = [cell.cell_contents for cell in item.__closure__ or () if _is_filled(cell)]
        return [*cells, *(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, functools.partial):
        return [item.func, *item.args, *item.keywords.values()]
    if isinstance(item, dict):
        item = item.values()
    if isinstance(item, list | tuple | set | frozenset | deque | ValuesView):
        return list(islice(item, _LIMIT))
    if isinstance(item, types.ModuleType):
        return []
    slots = [n for c in type(item).__mro__ for n in c.__dict__.get("__slots__", ())]
    attributes = [getattr(item, name, None) for name in slots]
    return [*attributes, *getattr(item, "__dict__", {}).values()]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is assigned later
        return False


class SubstitutingInterpreter(Interpreter):
    """Passes everything on, with some tracers replaced by other values."""

    __slots__ = ("values",)
    name = "closure"

    def __init__(
        self, parent: Interpreter, tracers: Sequence[Tracer], values: Sequence[Value]
    ) -> None:
        super().__init__(parent.tag, parent)
        #: id of a tracer (which is kept alive by the caller) -> what it stands for
        self.values = {id(t): v for t, v in zip(tracers, values, strict=True)}

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        return self.parent.apply(primitive, [self.replaced(a) for a in args], params)

    def replaced(self, value: Any) -> Any:
        """The value that a tracer stands for; anything else as it is."""
        return self.values.get(id(value), value)

    def stands_for(self, tracer: Tracer) -> bool:
        return id(tracer) in self.values or self.parent.stands_for(tracer)


def with_values(
    tracers: Sequence[Tracer], values: Sequence[Value], function: Callable[..., Any], *args: Any
) -> Any:
    """Call a function in which tracers that it closes over stand for the given values.

    Returns:
      its result: a list of values, or several such lists in a tuple.
    """
    before, state.location = state.location, None  # the user's own lines are on the stack
    try:
        if all(t is v for t, v in zip(tracers, values, strict=True)):
            return function(*args)
        interpreter = SubstitutingInterpreter(state.interpreter, tracers, values)
        with interpreter:
            out = function(*args)
    finally:
        state.location = before
    if isinstance(out, tuple):
        return tuple([interpreter.replaced(value) for value in part] for part in out)
    return [interpreter.replaced(value) for value in out]


def closing(tracers: Sequence[Tracer], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes a list of values for its tracers, and then its own arguments."""
    count = len(tracers)

    def closed(held: Sequence[Value], *args: Any) -> Any:
        return with_values(tracers, held[:count], function, *args)

    return closed


def closing_more(tracers: Sequence[Tracer], closed: Callable[..., Any]) -> Callable[..., Any]:
    """Such a function, with more tracers in front of those that it has."""
    count = len(tracers)

    def closed_more(held: Sequence[Value], *args: Any) -> Any:
        return with_values(tracers, held[:count], closed, held[count:], *args)

    return closed_more


def check_nesting(outputs: Sequence[Value]) -> None:
    """Check that results of a custom function do not hold tracers of inner transformations.

    They do when the function uses a traced value that `closed_over` did not find.

    Raises:
      CustomRuleError: when they do.
    """
    tags = _tags()
    for out in outputs if len(tags) > 1 else ():
        tag = getattr(out, "tag", None)
        if tag in tags and _holds(out, tags[: tags.index(tag)]):
            raise _hidden()


def check_level(values: Sequence[Value], interpreter: Interpreter) -> None:
    """Check that what a rule returned to an interpreter does not belong to an inner one.

    Raises:
      CustomRuleError: when it does.
    """
    tags = _tags()
    inner = tags[: tags.index(interpreter.tag)]
    if any(getattr(value, "tag", None) in inner for value in values):
        raise _hidden()


def _tags() -> list[Any]:
    """The tags of the current interpreters, innermost first."""
    tags = []
    interpreter = state.interpreter
    while not isinstance(interpreter, EagerInterpreter):
        tags.append(interpreter.tag)
        interpreter = interpreter.parent
    return tags


def _hidden() -> errors.CustomRuleError:
    return errors.CustomRuleError(
        "a function with a custom rule uses a value that an inner transformation traces, and "
        "that it neither takes as an argument nor closes over. Pass the value as an argument."
    )


def _holds(value: Any, tags: Sequence[Any]) -> bool:
    """Whether a tracer has a part that belongs to one of the tags."""
    if not isinstance(value, Tracer):
        return False
    parts = [getattr(value, name, None) for name in ("primal", "tangent", "value")]
    return value.tag in tags or any(_holds(part, tags) for part in parts)
