"""`scan`: a program applied to the slices of arrays one after the other, with a carry.

Reverse mode runs the loop forwards once, which leaves the residuals of each iteration as
stacked results, and then a loop in the other direction that pulls cotangents through the body.
Residuals that do not change from one iteration to the next are computed once, ahead of the
loop; those that are slices of operands are read from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Sample, Value, Zero
from wengert.core.program import Program, Variable
from wengert.passes.dce import eliminate
from wengert.primitives.basis import add, batched_first, move_axis, zeros_like
from wengert.transforms.control.base import (
    ControlFlow,
    LinearMap,
    attached,
    check_operands,
    executable,
)
from wengert.transforms.control.programs import (
    Cut,
    Flags,
    all_typed,
    batched,
    chosen,
    closed_trace,
    cut,
    derived,
    groups,
    invariant,
    pushforward,
    rearranged,
    spread,
    transposed,
)


class Scan(ControlFlow):
    """A body program run over the slices of arrays, forwards or in reverse."""

    @staticmethod
    def compute(
        *values: Any,
        body: Program,
        consts: int,
        carry: int,
        length: int,
        reverse: bool,
        unroll: int,
    ) -> list[Any]:
        held, state, xs = groups(values, (consts, carry))
        execute = executable(body)
        ys = [np.empty((length, *t.shape), t.dtype) for t in body.out_types[carry:]]
        for i in range(length - 1, -1, -1) if reverse else range(length):
            out = execute([*held, *state, *[x[i] for x in xs]])
            state = out[:carry]
            for stacked, y in zip(ys, out[carry:], strict=True):
                stacked[i] = y
        return [*state, *ys]

    def type_rule(
        self,
        *types: Any,
        body: Program,
        consts: int,
        carry: int,
        length: int,
        reverse: bool,
        unroll: int,
    ) -> Any:
        fixed = consts + carry
        slices = [t.update(shape=t.shape[1:]) for t in types[fixed:]]
        check_operands(self.name, [*types[:fixed], *slices], body)
        return [*body.out_types[:carry], *stacked_types(body.out_types[carry:], length)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        consts, carry = params["consts"], params["carry"]
        parts, dots = (groups(v, (consts, carry)) for v in (primals, tangents))
        active = tuple(type(t) is not Zero for t in tangents)
        pushed, active, flags = _pushed(params["body"], consts, carry, active)
        kinds = groups(active, (consts, carry))
        dots = [
            [d if type(d) is not Zero else zeros_like(d.type) for d in chosen(dot, kind)]
            for dot, kind in zip(dots, kinds, strict=True)
        ]
        operands = [v for part, dot in zip(parts, dots, strict=True) for v in (*part, *dot)]
        counts = {"consts": consts + len(dots[0]), "carry": carry + len(dots[1])}
        results = self(*operands, **{**params, **counts, "body": pushed})
        count = len(flags) - carry
        state, state_dots, ys, y_dots = groups(results, (carry, len(dots[1]), count))
        out = [*state, *ys]
        return out, spread([*state_dots, *y_dots], flags, [Zero(o.type) for o in out])

    def linear_map(
        self,
        interpreter: Any,
        args: Sequence[Value],
        primals: Sequence[Value],
        active: Flags,
        params: Params,
        tangents: bool,
    ) -> list[Value]:
        plan = _plan(params["body"], params["consts"], params["carry"], active, tangents)
        known = chosen(primals, plan.known_inputs)
        held, state, xs = groups(known, plan.known_counts)
        out: list[Value] = []
        if plan.forward.outputs:
            shape = {"body": plan.forward, "consts": len(held), "carry": len(state)}
            out = interpreter.parent.apply(self, known, {**params, **shape})
        invariants = plan.hoisted.evaluate(*held)
        results = sum(plan.cut.known)
        residuals = Residuals(invariants, [*out[results:], *[xs[i] for i in plan.slices]])
        linear = ScanMap(plan, residuals, [a.type for a in args], params)
        values = spread(out[:results], plan.cut.known, [None] * len(plan.cut.known))
        types = self.type_rule(*[a.type for a in args], **params)
        return attached(interpreter, linear, args, values, types, plan.cut.active)

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        consts, carry = params["consts"], params["carry"]
        fixed = consts + carry
        flags = tuple(d is not None for d in dims)
        body, flags, out_flags = _batched(
            params["body"], consts, carry, interpreter.size, interpreter.axis_name, flags
        )
        operands = [
            move_axis(v, d, int(i >= fixed))
            for i, (v, d) in enumerate(zip(values, dims, strict=True))
        ]
        for i in range(consts, fixed):
            if flags[i]:
                operands[i] = batched_first(values[i], dims[i], interpreter.size)
        out = self(*operands, **{**params, "body": body})
        return [
            interpreter.tracer(o, int(i >= carry) if f else None)
            for i, (o, f) in enumerate(zip(out, out_flags, strict=True))
        ]

    def samples(self) -> Iterator[Sample]:
        xs = np.array([0.5, -1.5, 2.0])
        for shape, reverse in (((2,), False), ((1, 2), True), ((), False), ((0,), False)):
            yield Sample(
                np.float64(0.9),
                np.full(shape, 0.3)[()],
                np.int32(0),
                xs,
                body=sample_body(shape),
                consts=1,
                carry=2,
                length=3,
                reverse=reverse,
                unroll=1,
            )


scan = Scan()


def sample_body(shape: tuple[int, ...]) -> Program:
    """A number, a carry of an array and a counter, a slice that is a number; for tests."""
    double, integer = np.dtype(np.float64), np.dtype(np.int32)
    types = [
        ArrayType((), double),
        ArrayType(shape, double),
        ArrayType((), integer),
        ArrayType((), double),
    ]

    def call(values: list[Any]) -> list[Any]:
        held, state, count, x = values
        new = state * held + x * state * state * 0.1
        return [new, count + 1, new * x]

    return closed_trace(call, types)


def stacked_types(types: Sequence[ArrayType], length: int) -> list[ArrayType]:
    """Types of the slices of a loop, stacked."""
    return [t.update(shape=(length, *t.shape)) for t in types]


# -- pushforward -------------------------------------------------------------------------------


@derived
def _pushed(
    body: Program, consts: int, carry: int, active: Flags
) -> tuple[Program, Flags, Flags]:
    """The body with tangents; which operands have them, and which results."""
    fixed = consts + carry
    count = len(body.outputs)
    while True:
        wanted = (*active[consts:fixed], *(False,) * (count - carry))
        pushed, flags = pushforward(body, active, wanted)
        if flags[:carry] == active[consts:fixed]:
            break
        active = (*active[:consts], *flags[:carry], *active[fixed:])
    size = len(active)
    parts = groups(pushed.inputs[:size], (consts, carry))
    dots = groups(pushed.inputs[size:], (sum(active[:consts]), sum(active[consts:fixed])))
    state, ys, out_dots = groups(pushed.outputs, (carry, count - carry))
    state_dots, y_dots = groups(out_dots, (sum(flags[:carry]),))
    inputs = [v for part, dot in zip(parts, dots, strict=True) for v in (*part, *dot)]
    return rearranged(pushed, inputs, [*state, *state_dots, *ys, *y_dots]), active, flags


# -- linearization -----------------------------------------------------------------------------


class Plan(NamedTuple):
    """The linearization of a loop.

    Attributes:
      cut: of the body.
      masked: the same for cotangents that passed a selection.
      active: which operands have tangents.
      known_inputs: which have values.
      known_counts: how many of these are constants, and carries.
      forward: the body of the forward loop: its further results are residuals.
      hoisted: known constants -> residuals that all iterations share.
      slices: the known slices that are residuals, by position.
      order: where the residuals of the cut come from: the shared ones, those of the forward
        loop and the slices, counted in this order.
    """

    cut: Cut
    masked: Cut
    active: Flags
    known_inputs: Flags
    known_counts: tuple[int, int]
    forward: Program
    hoisted: Program
    slices: tuple[int, ...]
    order: tuple[int, ...]


@derived
def _plan(body: Program, consts: int, carry: int, active: Flags, tangents: bool) -> Plan:
    fixed = consts + carry
    while True:
        wanted = (*active[consts:fixed], *(False,) * (len(body.outputs) - carry))
        plain = cut(body, active, wanted, tangents)
        if plain.active[:carry] == active[consts:fixed]:
            break
        active = (*active[:consts], *plain.active[:carry], *active[fixed:])
    masked = cut(body, active, wanted, tangents, True)
    known_inputs = tuple(not (a and tangents) for a in active)
    counts = sum(known_inputs[:consts]), sum(known_inputs[consts:fixed])
    forward = plain.forward
    held, xs = forward.inputs[: counts[0]], forward.inputs[sum(counts) :]
    shared = invariant(forward, counts[0])
    invariants = [a for a in plain.residuals if a in shared or type(a) is not Variable]
    slices = [a for a in plain.residuals if a in xs]
    computed = [a for a in plain.residuals if a not in invariants and a not in slices]
    sources = [*invariants, *computed, *slices]
    results = forward.outputs[: sum(plain.known)]
    return Plan(
        plain,
        masked,
        active,
        known_inputs,
        counts,
        eliminate(rearranged(forward, forward.inputs, [*results, *computed])),
        eliminate(rearranged(forward, held, invariants)),
        tuple(xs.index(a) for a in slices),
        tuple(sources.index(a) for a in plain.residuals),
    )


class Residuals(NamedTuple):
    """What the pullback of a loop needs: once for all iterations, and stacked."""

    shared: list[Value]
    stacked: list[Value]


class ScanMap(LinearMap):
    """The linear map of a loop, with its residuals."""

    def __init__(
        self, plan: Plan, residuals: Residuals, types: Sequence[ArrayType], params: Params
    ) -> None:
        self.plan = plan
        self.residuals = residuals
        self.masks = plan.cut.masks
        #: Types of the operands.
        self.types = types
        self.params = params

    def push(self, tangents: Sequence[Value]) -> list[Value]:
        plan, params = self.plan, self.params
        given = all_typed(chosen(tangents, plan.active), chosen(self.types, plan.active))
        counts = self._counts(plan.active)
        held, state, xs = groups(given, counts)
        shared, stacked = self.residuals
        body = _push_body(params["body"], plan, len(shared), *counts)
        out = scan(
            *shared, *held, *state, *stacked, *xs,
            **{**params, "body": body, "consts": len(shared) + len(held), "carry": len(state)},
        )  # fmt: skip
        zeros = map(Zero, self._out_types)
        return spread(out, plan.cut.active, zeros)

    def pull(self, cotangents: Sequence[Value], masked: bool) -> Sequence[Value]:
        plan, params = self.plan, self.params
        active = plan.cut.active
        carry = params["carry"]
        out_types = chosen(self._out_types, active)
        arrived = chosen(cotangents, active)
        count = sum(active[:carry])
        present = tuple(type(c) is not Zero for c in arrived[count:])
        state = all_typed(arrived[:count], out_types[:count])
        ys = all_typed(chosen(arrived[count:], present), chosen(out_types[count:], present))
        counts = self._counts(plan.active)
        sums = [zeros_like(t) for t in chosen(self.types, plan.active)[: counts[0]]]
        shared, stacked = self.residuals
        body = _pull_body(params["body"], plan, masked, len(shared), *counts, present)
        shape = {"consts": len(shared), "carry": len(state) + len(sums)}
        direction = {"body": body, "reverse": not params["reverse"]}
        out = scan(*shared, *state, *sums, *stacked, *ys, **{**params, **shape, **direction})
        carried, held, xs = groups(out, (len(state), len(sums)))
        return spread([*held, *carried, *xs], plan.active, map(Zero, self.types))

    def _counts(self, flags: Flags) -> tuple[int, int]:
        consts, carry = self.params["consts"], self.params["carry"]
        return sum(flags[:consts]), sum(flags[consts : consts + carry])

    @property
    def _out_types(self) -> list[ArrayType]:
        return scan.type_rule(*self.types, **self.params)


def _by_source(plan: Plan, residuals: Sequence[Any]) -> list[Any]:
    """Residuals in the order of their sources."""
    placed = sorted(zip(plan.order, residuals, strict=True), key=lambda pair: pair[0])
    return [residual for _, residual in placed]


@derived
def _push_body(_: Program, plan: Plan, shared: int, consts: int, carry: int) -> Program:
    """The body that pushes tangents.

    It takes shared residuals, tangents of constants and of the carry, stacked residuals and
    tangents of slices.
    """
    count = len(plan.order)
    push = transposed(plan.cut.pullback, count)
    sources = _by_source(plan, push.inputs[:count])
    held, state, xs = groups(push.inputs[count:], (consts, carry))
    inputs = [*sources[:shared], *held, *state, *sources[shared:], *xs]
    return rearranged(push, inputs, push.outputs)


@derived
def _pull_body(
    _: Program, plan: Plan, masked: bool, shared: int, consts: int, carry: int, present: Flags
) -> Program:
    """The body that pulls cotangents, and sums up those of constants.

    It takes shared residuals, cotangents of the carry, the sums so far, stacked residuals and
    the cotangents of results that are `present`.
    """
    pullback = (plan.masked if masked else plan.cut).pullback
    count = len(plan.order)
    states = pullback.in_types[count : len(pullback.in_types) - len(present)]
    y_types = pullback.in_types[len(pullback.in_types) - len(present) :]
    sources = _by_source(plan, pullback.in_types[:count])
    sums = pullback.out_types[:consts]

    def call(values: list[Any]) -> list[Any]:
        lengths = (shared, len(states), consts, count - shared)
        common, state, totals, stacked, ys = groups(values, lengths)
        given = [*common, *stacked]
        ys = spread(ys, present, map(zeros_like, y_types))
        pulled = pullback.evaluate(*[given[i] for i in plan.order], *state, *ys)
        held, carried, xs = groups(pulled, (consts, carry))
        totals = all_typed([*map(add, totals, held)], sums)
        return [*all_typed(carried, states), *totals, *xs]

    types = [*sources[:shared], *states, *sums, *sources[shared:], *chosen(y_types, present)]
    return closed_trace(call, types)


# -- batches -----------------------------------------------------------------------------------


@derived
def _batched(
    body: Program, consts: int, carry: int, size: int, axis_name: Any, flags: Flags
) -> tuple[Program, Flags, Flags]:
    """The body on batches; which operands are batched, and which results."""
    fixed = consts + carry
    while True:
        wanted = (*flags[consts:fixed], *(False,) * (len(body.outputs) - carry))
        program, out_flags = batched(body, size, axis_name, flags, wanted)
        if out_flags[:carry] == flags[consts:fixed]:
            return program, flags, out_flags
        flags = (*flags[:consts], *out_flags[:carry], *flags[fixed:])
