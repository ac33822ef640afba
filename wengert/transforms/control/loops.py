"""`while`, and `sweeps`: loops whose number of iterations is known only when they run.

A `while` has a condition and a body; `sweeps` is what its derivatives become: a loop that goes
back and forth over what it recorded (see `phases`). A `while` is a loop with one phase and no
records; the rules are written once, for any number of phases.

Where the primal loop runs eagerly under a linearization, its records are kept, and the pullback
starts from them. In a program the pullback runs the loop again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import config
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import EAGER, Params, quiet
from wengert.core.primitive import Sample, Value, Zero
from wengert.core.program import Program
from wengert.passes.dce import eliminate
from wengert.primitives.basis import (
    add,
    add_tangents,
    batched_first,
    instantiate,
    move_axis,
    mul,
    zeros_like,
)
from wengert.primitives.compare import lt
from wengert.transforms.control.base import (
    ControlFlow,
    LinearMap,
    attached,
    check_operands,
    executable,
    nonlinear,
)
from wengert.transforms.control.checkpoints import Checkpoints
from wengert.transforms.control.phases import Loop, batch_of, pushed
from wengert.transforms.control.programs import (
    Flags,
    all_typed,
    chosen,
    closed_trace,
    derived,
    groups,
    rearranged,
    spread,
    typed,
)
from wengert.transforms.control.reverse import Reversal, reversal

Values = list[Any]


class LoopPrimitive(ControlFlow):
    """Loops of phases: the rules for any number of them."""

    @staticmethod
    def loop(params: Params) -> Loop:
        """The loop that parameters describe."""
        return Loop(**params)

    def type_rule(self, *types: Any, **params: Any) -> Any:
        loop = self.loop(params)
        alone, held, states = loop.parts(types)
        check_operands(self.name, [*alone, *states[0]], loop.cond)
        records: list[ArrayType] = []
        for phase, initial in zip(loop.phases, states, strict=True):
            check_operands(self.name, [*held, *records, *initial], phase)
            records += phase.out_types[len(initial) :]
        return loop.out_types

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        loop = self.loop(params)
        alone, held, states = loop.parts(primals)
        _, held_dots, state_dots = loop.parts(tangents)
        held_flags, *state_flags = (
            tuple(type(t) is not Zero for t in dots) for dots in (held_dots, *state_dots)
        )
        with_dots, active = pushed(loop.phases[0], loop, held_flags, tuple(state_flags))
        operands = [*alone, *held, *chosen(held_dots, held_flags)]
        for initial, dots, flags in zip(states, state_dots, active, strict=True):
            operands += [*initial, *map(instantiate, chosen(dots, flags))]
        out: Values = []
        out_dots: Values = []
        results = with_dots.results(apply_loop(with_dots, operands))
        for result, initial, flags in zip(results, states, active, strict=True):
            values, dots = groups(result, (len(initial),))
            out += values
            out_dots += spread(dots, flags, [Zero(v.type) for v in values])
        return out, out_dots

    def linear_map(
        self,
        interpreter: Any,
        args: Sequence[Value],
        primals: Sequence[Value],
        active: Flags,
        params: Params,
        tangents: bool,
    ) -> Values:
        loop = self.loop(params)
        alone, consts, states = loop.parts(active)
        if tangents and any(alone):
            raise nonlinear(self.name)
        key = (loop, tuple(consts), tuple(map(tuple, states)), tangents)
        linear = LoopMap(loop, key, primals, [a.type for a in args])
        plan = linear.plan
        if tangents:
            known_operands = linear.known_operands()
            out = apply_loop(plan.known, known_operands, interpreter.parent.apply)
        elif interpreter.parent is EAGER and any(map(any, plan.states)):
            out = linear.record()
        else:
            out = interpreter.parent.apply(self, primals, params)
        known = [f for flags in plan.known_states for f in flags]
        values = spread(out, known, [None] * len(known))
        flags = tuple(f for flags in plan.states for f in flags)
        return attached(interpreter, linear, args, values, loop.out_types, flags)

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        loop, size = self.loop(params), interpreter.size
        values, dims = interpreter.split(args)
        alone, consts, initial = loop.parts([d is not None for d in dims])
        key = (size, interpreter.axis_name, tuple(alone), tuple(consts))
        placed = [move_axis(v, d, 0) for v, d in zip(values, dims, strict=True)]
        own, held, states = loop.parts(placed)
        plan = batch_of(loop.phases[0], loop, *key, tuple(map(tuple, initial)))
        states = [
            [_batch(v, f, size) if g else v for v, f, g in zip(s, i, flags, strict=True)]
            for s, i, flags in zip(states, initial, plan.states, strict=True)
        ]
        if plan.test is not None:
            states[0] = [*plan.test.evaluate(*own, *states[0]), *states[0]]
        operands = [*own, *held, *(v for s in states for v in s)]
        out = apply_loop(plan.loop, operands)[plan.test is not None :]
        flags = [f for s in plan.states for f in s]
        return [
            interpreter.tracer(o, 0 if f else None) for o, f in zip(out, flags, strict=True)
        ]


def _batch(value: Value, is_batch: bool, size: int) -> Value:
    return batched_first(value, 0 if is_batch else None, size)


class While(LoopPrimitive):
    """A body program run as long as a condition holds."""

    @staticmethod
    def compute(*values: Any, **params: Any) -> Values:
        loop = While.loop(params)
        alone, held, (initial,) = loop.parts(values)
        return forwards(loop, alone, held, initial, lambda _: None)

    @staticmethod
    def loop(params: Params) -> Loop:
        body, consts = params["body"], params["body_count"]
        count = len(body.outputs)
        limit = params["checkpoint"]
        return Loop(params["cond"], (body,), params["cond_count"], consts, (count,), limit)

    def samples(self) -> Iterator[Sample]:
        for shape in ((2,), (1, 3), (), (0,)):
            for checkpoint in (None, 2):
                yield Sample(
                    np.int32(5),
                    np.float64(0.9),
                    np.full(shape, 0.3)[()],
                    np.int32(0),
                    **sample_params(shape),
                    checkpoint=checkpoint,
                )


class Sweeps(LoopPrimitive):
    """A loop of phases that go back and forth over what earlier ones recorded."""

    @staticmethod
    def compute(*values: Any, **params: Any) -> Values:
        loop = Loop(**params)
        alone, held, states = loop.parts(values)
        if loop.checkpoint is not None and len(loop.phases) == 2:
            kept = Checkpoints(loop.checkpoint, states[0])
            first = states_alone(loop.phases[0], loop.states[0])
            plain = loop._replace(phases=(first,))
            states[0] = forwards(plain, alone, held, states[0], kept.offer)
            states[1] = backwards(loop, held, states[1], kept)
        else:
            records: list[Values] = []
            count = loop.states[0]
            states[0] = forwards(
                loop, alone, held, states[0], lambda out: records.append(out[count:])
            )
            for number in range(1, len(states)):
                states[number] = sweep(loop, number, held, states[number], records)
        return [v for final in states for v in final]

    def samples(self) -> Iterator[Sample]:
        for shape in ((2,), ()):
            for checkpoint in (None, 2):
                params = {**sample_params(shape), "checkpoint": checkpoint}
                plan = reversal(params["body"], While.loop(params), (True,), ((True, False),))
                held = [np.float64(0.9), *(np.float64(1) for _ in plan.hoisted[0].outputs)]
                yield Sample(
                    np.int32(5), *held, np.full(shape, 0.3)[()], np.int32(0),
                    np.full(shape, 0.7)[()], np.float64(0.1), **plan.loop._asdict(),
                )  # fmt: skip


while_ = While()
sweeps = Sweeps()


def sample_params(shape: tuple[int, ...]) -> Params:
    """A loop over an array and a counter, with a limit and a number; for tests."""
    double, integer = np.dtype(np.float64), np.dtype(np.int32)
    state = [ArrayType(shape, double), ArrayType((), integer)]
    cond = closed_trace(lambda v: [lt(v[2], v[0])], [ArrayType((), integer), *state])

    def call(values: list[Any]) -> list[Any]:
        held, x, count = values
        return [mul(x, add(held, mul(x, 0.1))), add(count, 1)]

    body = closed_trace(call, [ArrayType((), double), *state])
    return {"cond": cond, "body": body, "cond_count": 1, "body_count": 1}


def apply_loop(
    loop: Loop, operands: Sequence[Value], apply: Callable[..., Any] | None = None
) -> Values:
    """The results of a loop; `apply` applies a primitive, by default as it is called."""
    primitive: LoopPrimitive = while_ if len(loop.phases) == 1 else sweeps
    params = loop_params(loop)
    if apply is not None:
        return apply(primitive, operands, params)
    return primitive(*operands, **params)


def loop_params(loop: Loop) -> Params:
    """The parameters of a loop: those of `while` if it has one phase, else of `sweeps`."""
    if len(loop.phases) > 1:
        return loop._asdict()
    return {
        "cond": loop.cond,
        "body": states_alone(loop.phases[0], loop.states[0]),
        "cond_count": loop.cond_count,
        "body_count": loop.consts,
        "checkpoint": loop.checkpoint,
    }


# -- running phases on NumPy values ------------------------------------------------------------


def forwards(
    loop: Loop, alone: Values, held: Values, initial: Values, note: Callable[[Values], None]
) -> Values:
    """The final state of the first phase; `note` gets the results of each iteration."""
    test, step = executable(loop.cond), executable(loop.phases[0])
    count = len(initial)
    current = initial
    while test([*alone, *current])[0]:
        out = step([*held, *current])
        note(out)
        current = out[:count]
    return current


def sweep(
    loop: Loop, number: int, held: Values, initial: Values, records: list[Values]
) -> Values:
    """The final state of a later phase; its records are added to those of each iteration."""
    step = executable(loop.phases[number])
    count = len(initial)
    current = initial
    last = number == len(loop.phases) - 1
    for record in reversed(records) if number % 2 else records:
        out = step([*held, *record, *current])
        current = out[:count]
        if not last:
            record += out[count:]
    return current


def backwards(loop: Loop, held: Values, initial: Values, kept: Checkpoints) -> Values:
    """The final state of the second phase; records are made again from the states kept."""
    count = loop.states[0]
    record, back = executable(loop.phases[0]), executable(loop.phases[1])
    step = executable(states_alone(loop.phases[0], count))
    current = initial

    def advance(at: Values, steps: int) -> Values:
        for _ in range(steps):
            at = step([*held, *at])
        return at

    def visit(at: Values) -> None:
        nonlocal current
        current = back([*held, *record([*held, *at])[count:], *current])

    kept.reverse(advance, visit)
    return current


@derived
def states_alone(phase: Program, count: int) -> Program:
    """A phase without its records."""
    if len(phase.outputs) == count:
        return phase
    return eliminate(rearranged(phase, phase.inputs, phase.outputs[:count]))


# -- the linear map ----------------------------------------------------------------------------


class LoopMap(LinearMap):
    """The linear map of a loop.

    Attributes:
      tape: what a primal run has recorded, on NumPy values: a list of records for each
        iteration, or the states that are kept.
    """

    def __init__(
        self,
        loop: Loop,
        key: tuple[Any, ...],
        primals: Sequence[Value],
        types: Sequence[ArrayType],
    ) -> None:
        self.loop = loop
        self.key = key
        self.plan: Reversal = reversal(loop.phases[0], *key)
        self.types = types
        self.masks = self.plan.masks
        self.tape: list[Values] | Checkpoints | None = None
        alone, held, states = loop.parts(primals)
        self.alone = alone
        self.held = chosen(held, self.plan.known_consts)
        self.states = [
            chosen(s, k) for s, k in zip(states, self.plan.known_states, strict=True)
        ]
        self.shared: Values | None = None

    @property
    def tangents(self) -> bool:
        """Whether the operands that are active are tangents, without values."""
        return bool(self.key[-1])

    def known_operands(self) -> Values:
        """The operands that have values."""
        return [*self.alone, *self.held, *(v for s in self.states for v in s)]

    def _constants(self) -> Values:
        """Constants of the pullback: known ones, and residuals that iterations share."""
        if self.shared is None:
            hoisted = self.plan.hoisted
            self.shared = [v for program in hoisted for v in program.evaluate(*self.held)]
        return [*self.held, *self.shared]

    def record(self) -> Values:
        """The results, computed eagerly; what the pullback needs is kept."""
        parts = ([v._value for v in p] for p in (self.alone, self._constants(), *self.states))
        finals = quiet().run(self._record, *parts)
        values = (v for final in finals for v in final)
        return [Array(v, t.weak_type) for v, t in zip(values, self.loop.out_types, strict=True)]

    def _record(self, alone: Values, held: Values, *initial: Values) -> list[Values]:
        loop = self.plan.loop
        first, *later = initial
        count = len(first)
        if loop.checkpoint is not None and not later:
            kept = self.tape = Checkpoints(loop.checkpoint, first)
            plain = loop._replace(phases=(states_alone(loop.phases[0], count),))
            return [forwards(plain, alone, held, first, kept.offer)]
        records: list[Values] = []
        self.tape = records
        finals = [forwards(loop, alone, held, first, lambda out: records.append(out[count:]))]
        for number, start in enumerate(later, 1):
            finals.append(sweep(loop, number, held, start, records))
        return finals

    def push(self, tangents: Sequence[Value]) -> Values:
        loop, plan = self.loop, self.plan
        flags = [f for state_flags in plan.states for f in state_flags]
        if self.tangents:
            _, dots, state_dots = loop.parts(tangents)
            _, types, state_types = loop.parts(self.types)
            held = _filled(self.held, dots, plan.known_consts, types)
            states = map(_filled, self.states, state_dots, plan.known_states, state_types)
            out = apply_loop(loop, [*self.alone, *held, *(v for s in states for v in s)])
            zeros = map(Zero, loop.out_types)
            return [o if f else z for o, z, f in zip(out, zeros, flags, strict=True)]
        primitive: LoopPrimitive = while_ if len(loop.phases) == 1 else sweeps
        params = loop_params(loop)
        return primitive.jvp(self.known_operands(), tangents, **params)[1]

    def pull(self, cotangents: Sequence[Value], masked: bool) -> Values:
        loop = self.loop
        plan = reversal(loop.phases[0], *self.key, True) if masked else self.plan
        _, const_types, state_types = loop.parts(self.types)
        sum_types = chosen(const_types, plan.consts)
        initial = []
        for types, arrived, flags in zip(
            state_types, loop.results(cotangents), plan.states, strict=True
        ):
            given = all_typed(chosen(arrived, flags), chosen(types, flags))
            initial.append([*given, *map(zeros_like, sum_types)])
        finals = self._sweep_back(plan, initial[::-1])[::-1]
        sums: list[Any] = [Zero(t) for t in sum_types]
        pulled = []
        for final, types, flags in zip(finals, state_types, plan.states, strict=True):
            state_cts, totals = groups(final, (sum(flags),))
            sums = [*map(add_tangents, sums, totals)]
            pulled += spread(state_cts, flags, map(Zero, types))
        held = spread(sums, plan.consts, map(Zero, const_types))
        return [*(Zero(v.type) for v in self.alone), *held, *pulled]

    def _sweep_back(self, plan: Reversal, initial: list[Values]) -> list[Values]:
        """Final states of the phases that pull cotangents."""
        flat = [v for s in initial for v in s]
        constants = self._constants()
        concrete = all(type(v) is Array for v in (*flat, *constants))
        if self.tape is not None and concrete and not config.debug_nans.value:
            held = [v._value for v in constants]
            out = quiet().run(
                self._recorded, plan, held, [[v._value for v in s] for s in initial]
            )
            types = plan.loop.out_types[sum(plan.loop.states[: len(initial)]) :]
            arrays = [
                Array(v, t.weak_type)
                for v, t in zip((v for s in out for v in s), types, strict=True)
            ]
            return groups(arrays, [len(s) for s in initial])[:-1]
        known = (v for s in self.states for v in s)
        results = apply_loop(plan.loop, [*self.alone, *constants, *known, *flat])
        return plan.loop.results(results)[len(initial) :]

    def _recorded(self, plan: Reversal, held: Values, initial: list[Values]) -> list[Values]:
        tape, count = self.tape, len(initial)
        if isinstance(tape, Checkpoints):
            self.tape = None  # it is used up; another pull runs the loop again
            return [backwards(plan.loop, held, initial[0], tape)]
        assert tape is not None
        records = [[*record] for record in tape] if count > 1 else tape
        return [sweep(plan.loop, count + i, held, s, records) for i, s in enumerate(initial)]


def _filled(known: Values, dots: Values, flags: Flags, types: Sequence[ArrayType]) -> Values:
    """Values, and tangents where there are none."""
    return spread(known, flags, (typed(d, t) for d, t in zip(dots, types, strict=True)))
