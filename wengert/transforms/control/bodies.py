"""From users' functions to blocks: closed programs that fit together.

A function is traced for the types of its arguments. What it closes over (arrays, and tracers of
enclosing transformations) becomes leading operands of its program. The carry of a loop must
have the same type before and after; a weak initial value takes the type that the body gives it.
The results of branches must have the same structure and types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert import config, errors
from wengert.core import dtypes, tree
from wengert.core.array import ArrayType, as_array, is_operand
from wengert.core.interpreter import Tracer, location, state
from wengert.core.primitive import Value
from wengert.core.program import Program, Variable
from wengert.core.tracing import trace
from wengert.passes.dce import eliminate
from wengert.primitives.cast import convert
from wengert.transforms.control.fingerprint import fingerprint
from wengert.transforms.control.programs import all_typed, closed_trace, derived, rearranged


def operands(what: str, value: Any) -> list[Value]:
    """The leaves of a tree as operands.

    Raises:
      TypeError: when one is neither an array nor a number; it says which.
    """
    leaves = tree.leaves(value)
    try:
        return [as_array(leaf) for leaf in leaves]
    except TypeError as error:
        pairs = zip(tree.leaf_paths(value), leaves, strict=True)
        path = next((path for path, leaf in pairs if not is_operand(leaf)), None)
        if path is None:
            raise  # an array, of a dtype that is not known here
        place = f" at {path}" if path else ""
        raise TypeError(f"{what}{place}: {error}\n  at {location()}") from None


class Body(NamedTuple):
    """A traced function.

    Attributes:
      program: captured values, arguments -> results.
      captured: the values of its leading inputs.
      out_tree: the structure of the result.
    """

    program: Program
    captured: tuple[Any, ...]
    out_tree: Any

    @property
    def out_types(self) -> list[ArrayType]:
        """Types of the results."""
        return self.program.out_types

    def with_out_types(self, types: Sequence[ArrayType]) -> Body:
        """The same with other weak flags of the results."""
        if self.out_types == list(types):
            return self
        return self._replace(program=_retyped(self.program, tuple(types)))


@derived
def _retyped(program: Program, types: tuple[ArrayType, ...]) -> Program:
    return closed_trace(
        lambda values: all_typed(program.evaluate(*values), types), program.in_types
    )


#: What tracing depends on -> the body; its captured values are places among the tracers that
#: the function refers to, or values. The oldest go first.
_KNOWN: dict[Any, tuple[Body, list[int | None]]] = {}
_MOST = 256


def traced(fun: Callable[..., Any], in_tree: tree.TreeDef, types: Sequence[ArrayType]) -> Body:
    """Trace a function of the arguments in a tree, or find that this has been done."""
    found = fingerprint(fun)
    if found is None:
        return _trace(fun, in_tree, types)
    around = state.interpreter.axis_environment()
    key = (found.key, in_tree, tuple(types), around, config.debug_key_reuse.value)
    known = _KNOWN.get(key)  # in one step: another thread may drop it
    if known is not None:
        body, places = known
        captured = [
            value if place is None else found.tracers[place]
            for value, place in zip(body.captured, places, strict=True)
        ]
        return body._replace(captured=tuple(captured))
    before = state.concretized
    body = _trace(fun, in_tree, types)
    numbers = {id(t): i for i, t in enumerate(found.tracers)}
    places = [numbers.get(id(v)) for v in body.captured]
    hidden = any(
        place is None and isinstance(v, Tracer)
        for v, place in zip(body.captured, places, strict=True)
    )
    if not hidden and state.concretized == before:
        kept = [v if p is None else None for v, p in zip(body.captured, places, strict=True)]
        _KNOWN[key] = body._replace(captured=tuple(kept)), places
        if len(_KNOWN) > _MOST:
            for oldest in [*_KNOWN][:-_MOST]:
                _KNOWN.pop(oldest, None)
    return body


def _trace(fun: Callable[..., Any], in_tree: tree.TreeDef, types: Sequence[ArrayType]) -> Body:
    out_tree: Any = None

    def call(tracers: list[Any]) -> list[Any]:
        nonlocal out_tree
        out = fun(*tree.unflatten(in_tree, tracers))
        out_tree = tree.structure(out)
        return operands(f"the result of {getattr(fun, '__name__', 'a function')}", out)

    program = eliminate(trace(call, types))
    return Body(program.closed(), program.constant_values, out_tree)


# -- loops -------------------------------------------------------------------------------------


class Carried(NamedTuple):
    """The body of a loop, with initial values that fit."""

    body: Body
    initial: list[Value]


def settle(
    name: str,
    body_of: Callable[[list[ArrayType]], Body],
    initial: Sequence[Value],
    paths: Callable[[], list[str]],
) -> Carried:
    """Make the carry have the same type before and after an iteration.

    Args:
      name: of the loop, for messages.
      body_of: the body, for these types of the carry; the carry comes first in its results.
      initial: the initial values.
      paths: where they are in the user's tree.

    Raises:
      CarryTypeError: when the body changes the type of something that is not weak.
    """
    values = [*initial]
    while True:
        types = [v.type for v in values]
        body = body_of(types)
        out = body.out_types[: len(types)]
        joined = [_joined(before, after) for before, after in zip(types, out, strict=True)]
        if joined == types:
            return Carried(body.with_out_types([*types, *body.out_types[len(types) :]]), values)
        fitting = [j for j in joined if j is not None]
        if len(fitting) < len(joined):
            changes = [
                (path, before, after)
                for path, before, after, j in zip(paths(), types, out, joined, strict=True)
                if j is None
            ]
            raise errors.CarryTypeError(name, changes, location())
        values = [
            v if j == v.type else convert(v, dtype=j.dtype, weak=j.weak_type)
            for v, j in zip(values, fitting, strict=True)
        ]


def _joined(before: ArrayType, after: ArrayType) -> ArrayType | None:
    """The type a value of the carry should start with; None where there is none."""
    if before.shape != after.shape:
        return None
    if before.dtype == after.dtype:
        return ArrayType(before.shape, before.dtype, before.weak_type and after.weak_type)
    if not before.weak_type:
        return None
    dtype, weak = dtypes.lattice_join(((before.dtype, True), (after.dtype, after.weak_type)))
    if dtype == before.dtype:
        return None
    return ArrayType(before.shape, dtype, weak)


def check_structure(name: str, got: Any, expected: Any) -> None:
    """Raise unless the carry has the same structure after an iteration as before.

    Raises:
      TreeError: when it has not.
    """
    if got != expected:
        returned = f"the carry that the body of {name} returns"
        raise _tree_error(returned, got, "the initial carry", expected)


def _tree_error(what: str, got: Any, other: str, expected: Any) -> errors.TreeError:
    """The error for two structures that differ, which says where they do."""
    path, here, there = tree.difference(got, expected) or ("", got, expected)
    more = f"\n  at {path}" if path else "\n  they differ"
    more = f"{more}: {here}, and {there}"
    return errors.TreeError(what, got, other, expected, f"{more}\n  at {location()}")


# -- branches ----------------------------------------------------------------------------------


class Branches(NamedTuple):
    """Branches that take the same operands.

    Attributes:
      programs: captured values of all, operands -> results.
      captured: those values.
      out_tree: the structure of the result.
    """

    programs: tuple[Program, ...]
    captured: list[Any]
    out_tree: Any


def branches(
    name: str,
    functions: Sequence[Callable[..., Any]],
    names: Sequence[str],
    in_tree: tree.TreeDef,
    types: Sequence[ArrayType],
) -> Branches:
    """Trace the branches of a conditional.

    Raises:
      TreeError, BranchTypeError: when their results do not fit.
    """
    bodies = [traced(f, in_tree, types) for f in functions]
    first = bodies[0]
    for body, label in zip(bodies[1:], names[1:], strict=True):
        if body.out_tree != first.out_tree:
            what, other = f"the result of {label}", f"that of {names[0]}"
            raise _tree_error(what, body.out_tree, other, first.out_tree)
    out_types = _common_types(name, bodies, names)
    bodies = [body.with_out_types(out_types) for body in bodies]
    captured: dict[int, Any] = {id(v): v for body in bodies for v in body.captured}
    return Branches(
        tuple(_taking(body, list(captured.values())) for body in bodies),
        list(captured.values()),
        first.out_tree,
    )


def _common_types(name: str, bodies: Sequence[Body], names: Sequence[str]) -> list[ArrayType]:
    """The types of the results, weak where all are."""
    columns = [*zip(*(body.out_types for body in bodies), strict=True)]
    paths = tree.leaf_paths(tree.unflatten(bodies[0].out_tree, [0] * len(columns)))
    differences = [
        (path, [*zip(names, column, strict=True)])
        for path, column in zip(paths, columns, strict=True)
        if len({(t.shape, t.dtype) for t in column}) > 1
    ]
    if differences:
        raise errors.BranchTypeError(name, differences, location())
    return [
        ArrayType(column[0].shape, column[0].dtype, all(t.weak_type for t in column))
        for column in columns
    ]


def _taking(body: Body, captured: Sequence[Any]) -> Program:
    """The program of a branch, which takes what any of the branches has captured."""
    own = {id(v): i for i, v in enumerate(body.captured)}
    return _placed(body.program, len(own), tuple(own.get(id(v), v.type) for v in captured))


@derived
def _placed(program: Program, count: int, places: tuple[int | ArrayType, ...]) -> Program:
    """A program with its leading inputs at other places, and further ones between them."""
    inputs = [program.inputs[p] if isinstance(p, int) else Variable(p) for p in places]
    return rearranged(program, [*inputs, *program.inputs[count:]], program.outputs)
