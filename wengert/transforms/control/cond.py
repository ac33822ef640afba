"""`cond`: one of several programs, chosen by an index.

Operands are the index and what all branches take; each branch gives results of the same
types. The derivative runs the derivative of the branch that was taken. Its residuals live in
slots that the branches share.

A batch whose examples take different branches runs each branch at most once, on all examples,
where those that do not take it are given the operands of one that does. So no branch sees
values that it was not meant for: nothing diverges, and no NaN or error comes from the other
side, in values or in derivatives. A branch that no example takes does not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Sample, Value, Zero
from wengert.core.program import Program
from wengert.primitives.basis import move_axis, zeros_like
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq
from wengert.primitives.reduce import reduce_or
from wengert.transforms.control.base import (
    ControlFlow,
    LinearMap,
    attached,
    check_operands,
    executable,
    nonlinear,
)
from wengert.transforms.control.lanes import flag_type, kept_where, shielded
from wengert.transforms.control.programs import (
    Cut,
    Flags,
    all_typed,
    batched,
    chosen,
    closed_trace,
    cut,
    derived,
    fresh,
    pushforward,
    rearranged,
    spread,
    transposed,
)

Branches = tuple[Program, ...]


class Cond(ControlFlow):
    """The results of one of several programs, by an index that is in range."""

    @staticmethod
    def compute(index: Any, *values: Any, branches: Branches) -> list[Any]:
        return executable(branches[int(index)])(values)

    def type_rule(self, *types: Any, branches: Branches) -> Any:
        index, *operands = types
        if index.shape or index.dtype != dtypes.INT32:
            raise errors.DTypeError(f"cond is indexed by an int32 without dimensions: {index}.")
        for branch in branches:
            check_operands(self.name, operands, branch)
        return branches[0].out_types

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        active = tuple(type(t) is not Zero for t in tangents[1:])
        pushed, flags = _pushed(params["branches"], active)
        out = self(*primals, *chosen(tangents[1:], active), branches=pushed)
        zeros = [Zero(o.type) for o in out[: len(flags)]]
        return out[: len(flags)], spread(out[len(flags) :], flags, zeros)

    def linear_map(
        self,
        interpreter: Any,
        args: Sequence[Value],
        primals: Sequence[Value],
        active: Flags,
        params: Params,
        tangents: bool,
    ) -> list[Value]:
        if active[0]:
            raise nonlinear(self.name)
        index, *operands = primals
        branches = params["branches"]
        if type(index) is Array:  # the choice is made: only that branch matters
            return branches[int(index._value)].evaluate(*args[1:])
        plan = _plan(branches[0], branches, active[1:], tangents)
        known = [o for o, a in zip(operands, active[1:], strict=True) if not (a and tangents)]
        out = interpreter.parent.apply(self, [index, *known], {"branches": plan.forward})
        count = sum(plan.known)
        linear = CondMap(plan, index, out[count:], [a.type for a in args[1:]])
        values = spread(out[:count], plan.known, [None] * len(plan.known))
        return attached(interpreter, linear, args, values, plan.out_types, plan.active)

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        values = [move_axis(v, d, 0) for v, d in zip(values, dims, strict=True)]
        flags = tuple(d is not None for d in dims)
        size, axis_name = interpreter.size, interpreter.axis_name
        if flags[0]:
            out = _chosen_each(params["branches"], values, flags, size, axis_name)
            out_flags: Flags = (True,) * len(out)
        else:
            branches, out_flags = _batched(params["branches"], flags[1:], size, axis_name)
            out = cond(*values, branches=branches)
        return [
            interpreter.tracer(o, 0 if f else None) for o, f in zip(out, out_flags, strict=True)
        ]

    def samples(self) -> Iterator[Sample]:
        x = np.array([0.5, -1.5, 2.0])
        yield Sample(np.int32(0), x, np.float64(0.7), branches=sample_branches((3,)))
        yield Sample(np.int32(1), x, np.float64(0.7), branches=sample_branches((3,)))
        yield Sample(
            np.int32(1), np.ones((2, 1)), np.float64(-0.3), branches=sample_branches((2, 1))
        )
        yield Sample(
            np.int32(0), np.zeros((0, 2)), np.float64(1), branches=sample_branches((0, 2))
        )


cond = Cond()


def sample_branches(shape: tuple[int, ...]) -> Branches:
    """Two branches of an array and a number, for the generated tests."""
    double = np.dtype(np.float64)
    types = [ArrayType(shape, double), ArrayType((), double)]
    return (
        closed_trace(lambda v: [v[0] * v[0] * v[1], v[1]], types),
        closed_trace(lambda v: [v[0] / (2.0 + v[1] * v[1]), v[1] * v[1]], types),
    )


# -- derivatives -------------------------------------------------------------------------------


def _pushed(branches: Branches, active: Flags) -> tuple[Branches, Flags]:
    """Pushforwards of the branches, with tangents for the same results."""
    wanted: Flags = (False,) * len(branches[0].outputs)
    for branch in branches:
        _, wanted = pushforward(branch, active, wanted)
    return tuple(pushforward(branch, active, wanted)[0] for branch in branches), wanted


class Plan(NamedTuple):
    """The linearization of a conditional.

    Attributes:
      cuts: of the branches.
      masked: the same for cotangents that passed a selection.
      followed: which operands have tangents.
      forward: known operands -> known results, and the slots for residuals.
      slots: their types.
      places: for each branch, the slot of each of its residuals.
      out_types: of all results.
    """

    cuts: tuple[Cut, ...]
    masked: tuple[Cut, ...]
    followed: Flags
    forward: Branches
    slots: list[ArrayType]
    places: list[tuple[int, ...]]
    out_types: list[ArrayType]

    @property
    def known(self) -> Flags:
        """Which results have values."""
        return self.cuts[0].known

    @property
    def active(self) -> Flags:
        """Which results have tangents."""
        return self.cuts[0].active


@derived
def _plan(first: Program, branches: Branches, followed: Flags, tangents: bool) -> Plan:
    wanted: Flags = (False,) * len(first.outputs)
    for branch in branches:
        wanted = cut(branch, followed, wanted, tangents).active
    cuts, masked = (
        tuple(cut(branch, followed, wanted, tangents, m) for branch in branches)
        for m in (False, True)
    )
    slots: list[ArrayType] = []
    places = [_placed(c, slots) for c in cuts]
    forward = tuple(_with_slots(c, slots, p) for c, p in zip(cuts, places, strict=True))
    return Plan(cuts, masked, followed, forward, slots, places, first.out_types)


def _placed(cut: Cut, slots: list[ArrayType]) -> tuple[int, ...]:
    """A slot of its own for each residual of a branch; slots are added where they lack."""
    places: list[int] = []
    for atom in cut.residuals:
        free = (i for i, t in enumerate(slots) if t == atom.type and i not in places)
        places.append(next(free, len(slots)))
        if places[-1] == len(slots):
            slots.append(atom.type)
    return tuple(places)


def _with_slots(cut: Cut, slots: Sequence[ArrayType], places: Sequence[int]) -> Program:
    """A forward program that fills all slots."""

    def call(values: list[Any]) -> list[Any]:
        out = cut.forward.evaluate(*values)
        count = sum(cut.known)
        filled: list[Any] = [*slots]
        for place, value in zip(places, out[count:], strict=True):
            filled[place] = value
        return [*out[:count], *(zeros_like(f) if type(f) is ArrayType else f for f in filled)]

    return closed_trace(call, cut.forward.in_types)


@derived
def _on_slots(
    program: Program, places: tuple[int, ...], slots: tuple[ArrayType, ...]
) -> Program:
    """A program of residuals and more, that takes all slots in the place of its residuals."""
    inputs = fresh(slots)
    for variable, place in zip(program.inputs, places, strict=False):
        inputs[place] = variable
    return rearranged(program, [*inputs, *program.inputs[len(places) :]], program.outputs)


class CondMap(LinearMap):
    """The linear map of a conditional, with the slots that its forward branch filled."""

    def __init__(
        self, plan: Plan, index: Value, slots: Sequence[Value], types: Sequence[ArrayType]
    ) -> None:
        self.plan = plan
        self.index = index
        self.slots = slots
        #: Types of the operands.
        self.types = types
        self.masks = any(c.masks for c in plan.cuts)

    def _apply(self, programs: Sequence[Program], values: Sequence[Value]) -> list[Value]:
        slots = tuple(self.plan.slots)
        branches = tuple(
            _on_slots(p, places, slots)
            for p, places in zip(programs, self.plan.places, strict=True)
        )
        out: list[Value] = cond(self.index, *self.slots, *values, branches=branches)
        return out

    def push(self, tangents: Sequence[Value]) -> list[Value]:
        flags = self.plan.followed
        given = all_typed(chosen(tangents[1:], flags), chosen(self.types, flags))
        programs = [transposed(c.pullback, len(c.residuals)) for c in self.plan.cuts]
        zeros = map(Zero, self.plan.out_types)
        return spread(self._apply(programs, given), self.plan.active, zeros)

    def pull(self, cotangents: Sequence[Value], masked: bool) -> Sequence[Value]:
        plan = self.plan
        types = chosen(plan.out_types, plan.active)
        given = all_typed(chosen(cotangents, plan.active), types)
        cuts = plan.masked if masked else plan.cuts
        pulled = self._apply([c.pullback for c in cuts], given)
        return [_NO_INDEX, *spread(pulled, plan.followed, map(Zero, self.types))]


_NO_INDEX = Zero(ArrayType((), dtypes.INT32))


# -- batches -----------------------------------------------------------------------------------


def _batched(
    branches: Branches, flags: Flags, size: int, axis_name: Any
) -> tuple[Branches, Flags]:
    """Batched branches, with a batch for the same results."""
    wanted: Flags = (False,) * len(branches[0].outputs)
    for branch in branches:
        _, wanted = batched(branch, size, axis_name, flags, wanted)
    return tuple(batched(b, size, axis_name, flags, wanted)[0] for b in branches), wanted


def _chosen_each(
    branches: Branches, values: Sequence[Value], flags: Flags, size: int, axis_name: Any
) -> list[Value]:
    """Results, all batched, where each example has an index of its own."""
    index, *operands = values
    wanted: Flags = (True,) * len(branches[0].outputs)
    out: list[Value] = []
    for number, branch in enumerate(branches):
        mine = eq(index, Array(dtypes.INT32.type(number)))
        program, _ = batched(branch, size, axis_name, flags[1:], wanted)
        taken = convert(reduce_or(mine, axes=(0,)), dtype=dtypes.INT32)
        pair = _where_taken(program, size, flags[1:])
        results = cond(taken, mine, *operands, branches=pair)
        out = kept_where(mine, results, out) if number else results
    return out


@derived
def _where_taken(program: Program, size: int, flags: Flags) -> Branches:
    """Nothing but zeros, and a batched branch that minds the examples that take it."""
    types = [flag_type(size), *program.in_types]
    zeros = closed_trace(lambda _: [*map(zeros_like, program.out_types)], types)

    def call(values: list[Any]) -> list[Any]:
        mine, *operands = values
        return all_typed(program.evaluate(*shielded(mine, operands, flags)), program.out_types)

    return zeros, closed_trace(call, types)
