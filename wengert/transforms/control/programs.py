"""Closed programs, and what transformations of control flow make of them.

The blocks of a loop or a conditional are closed programs: what they use is among their inputs.
Each function here turns one such program into another: its pushforward, its linearization (cut
into what runs forwards and what runs backwards), its batched version. They are traced once and
kept with the program.

Which inputs and results take part (have tangents, are batched) is said by flags. `wanted`
flags ask for a part even where it would vanish: a carry has the same form at both ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.interpreter import state
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.core.tracing import trace
from wengert.passes.dce import eliminate
from wengert.primitives.basis import Elementwise, Linear, batched_first, zeros_like
from wengert.primitives.cast import convert
from wengert.transforms.jit import call as jit_call
from wengert.transforms.jvp import jvp_flat
from wengert.transforms.linearize import (
    DualTracer,
    LinearizeInterpreter,
    LinearTracer,
    transpose_flat,
)
from wengert.transforms.tape import Tape
from wengert.transforms.vmap import batch_flat

Flags = tuple[bool, ...]


def groups(values: Iterable[Any], counts: Sequence[int]) -> list[list[Any]]:
    """The values as consecutive lists of these lengths; the last list has what remains."""
    given = iter(values)
    return [*([*islice(given, n)] for n in counts), [*given]]


def chosen(values: Iterable[Any], flags: Sequence[bool]) -> list[Any]:
    """The values whose flags are set."""
    return [v for v, flag in zip(values, flags, strict=True) if flag]


def spread(values: Iterable[Any], flags: Sequence[bool], others: Iterable[Any]) -> list[Any]:
    """One value per flag: the next of `values` where it is set, else that of `others`."""
    given = iter(values)
    return [next(given) if f else o for f, o in zip(flags, others, strict=True)]


def typed(value: Value | None, type: ArrayType) -> Value:
    """A value with exactly this type: zeros for one that vanishes, the weak flag adjusted."""
    if value is None or isinstance(value, Zero):
        return zeros_like(type)
    if value.dtype == type.dtype and value.weak_type == type.weak_type:
        return value
    return convert(value, dtype=type.dtype, weak=type.weak_type)


def all_typed(values: Sequence[Value | None], types: Sequence[ArrayType]) -> list[Value]:
    """Values with exactly these types."""
    return [typed(v, t) for v, t in zip(values, types, strict=True)]


def derived(make: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a function makes of a program (and hashable arguments) with the program."""

    @functools.wraps(make)
    def kept(program: Program, *args: Any) -> Any:
        key = (make, *args)
        if key not in program.derived:
            program.derived[key] = make(program, *args)
        return program.derived[key]

    return kept


def closed_trace(call: Callable[[list[Any]], list[Any]], types: Sequence[ArrayType]) -> Program:
    """The program of a function of flat arrays that uses nothing else; dead code dropped.

    Arrays that derivative rules make are constants of what is traced. As blocks of control flow
    hold none, each becomes the result of an equation: the call of a program that holds it.
    """
    program = eliminate(trace(call, types))
    if not program.constants:
        return program
    heads = []
    for variable, value in zip(program.constants, program.constant_values, strict=True):
        inner = Variable(variable.type)
        holder = Program((), (inner,), (value,), (), (inner,))
        params = {"program": holder, "name": "constant"}
        heads.append(Equation(jit_call, (), (variable,), params))
    return Program(program.inputs, (), (), (*heads, *program.equations), program.outputs)


def rearranged(
    program: Program, inputs: Sequence[Variable], outputs: Sequence[Atom]
) -> Program:
    """The same equations with inputs in another order, and other results."""
    return Program(inputs, (), (), program.equations, outputs)


def fresh(types: Iterable[ArrayType]) -> list[Variable]:
    """Inputs that nothing reads."""
    return [Variable(t) for t in types]


# -- pushforward -------------------------------------------------------------------------------


@derived
def pushforward(program: Program, active: Flags, wanted: Flags) -> tuple[Program, Flags]:
    """Inputs and tangents of the active ones -> results and tangents of some of them.

    Returns:
      the program, and which results have tangents.
    """
    count = len(program.inputs)
    flags = wanted

    def call(values: list[Any]) -> list[Any]:
        nonlocal flags
        tangents = spread(values[count:], active, map(Zero, program.in_types))
        out, dots, _ = jvp_flat(lambda args: program.evaluate(*args), values[:count], tangents)
        flags = tuple(w or type(d) is not Zero for w, d in zip(wanted, dots, strict=True))
        types = program.out_types
        return [
            *all_typed(out, types),
            *all_typed(chosen(dots, flags), chosen(types, flags)),
        ]

    pushed = closed_trace(call, [*program.in_types, *chosen(program.in_types, active)])
    return pushed, flags


# -- linearization -----------------------------------------------------------------------------


class Cut(NamedTuple):
    """A program, cut into what its linear map needs and that map transposed.

    Attributes:
      forward: known inputs -> known results, then residuals.
      known: which results have a value.
      active: which results have tangents.
      pullback: residuals, cotangents of active results -> cotangents of active inputs.
      masks: whether cotangents that left it may be exact zeros: it selects.
    """

    forward: Program
    known: Flags
    active: Flags
    pullback: Program
    masks: bool

    @property
    def residuals(self) -> tuple[Atom, ...]:
        """What the forward program computes for the pullback."""
        return self.forward.outputs[sum(self.known) :]


@derived
def cut(
    program: Program, active: Flags, wanted: Flags, tangents: bool = False, masked: bool = False
) -> Cut:
    """Linearize a program in its active inputs.

    Args:
      program: a closed one.
      active: its inputs that have tangents.
      wanted: results whose cotangents the pullback takes in any case.
      tangents: the active inputs are themselves tangents: they have no values, and the program
        is linear in them.
      masked: whether the cotangents that come in passed a selection.
    """
    masks = masked or selects(program)
    known: Flags = ()
    flags: Flags = ()
    pullback: Any = None
    is_known = tuple(not (a and tangents) for a in active)
    in_types, out_types = program.in_types, program.out_types

    def call(values: list[Any]) -> list[Any]:
        nonlocal known, flags, pullback
        tape = Tape(sum(active))
        interpreter = LinearizeInterpreter(state.interpreter, tape)
        given = spread(values, is_known, in_types)
        primals, indices = _run(program, interpreter, given, active, tangents)
        known = tuple(
            p is not None and not (tangents and w) for p, w in zip(primals, wanted, strict=True)
        )
        flags = tuple(w or i is not None for w, i in zip(wanted, indices, strict=True))

        def pull(cotangents: list[Any]) -> list[Any]:
            pairs = [
                (index, c)
                for index, c in zip(chosen(indices, flags), cotangents, strict=True)
                if index is not None
            ]
            pulled = tape.pull(pairs, True, masks)
            return all_typed(pulled, chosen(in_types, active))

        pullback = eliminate(trace(pull, chosen(out_types, flags)))
        return [
            *all_typed(chosen(primals, known), chosen(out_types, known)),
            *pullback.constant_values,
        ]

    forward = closed_trace(call, chosen(in_types, is_known))
    return Cut(forward, known, flags, pullback.closed(), masks)


def _run(
    program: Program,
    interpreter: LinearizeInterpreter,
    given: Sequence[Any],
    active: Flags,
    tangents: bool,
) -> tuple[list[Any], list[int | None]]:
    """Results of a program under a linearization: their values, and their tape variables.

    A result that is a tangent has no value (None), one without tangent no variable.
    """
    tag = interpreter.tag
    numbers = iter(range(len(given)))
    tracers: list[Any] = [
        value
        if not a
        else LinearTracer(tag, value, next(numbers))
        if tangents
        else DualTracer(tag, value, next(numbers))
        for value, a in zip(given, active, strict=True)
    ]
    try:
        with interpreter:
            outputs = program.evaluate(*tracers)
    finally:
        tag.alive = False
    own = [o if getattr(o, "tag", None) is tag else None for o in outputs]
    primals = [
        o if mine is None else None if type(o) is LinearTracer else o.primal
        for o, mine in zip(outputs, own, strict=True)
    ]
    return primals, [None if mine is None else mine.index for mine in own]


@derived
def selects(program: Program) -> bool:
    """Whether a program holds a selection, which makes cotangents exactly zero."""
    return any(
        e.primitive.masks or any(map(selects, inner_programs(e))) for e in program.equations
    )


def inner_programs(equation: Equation) -> list[Program]:
    """The programs among the parameters of an equation."""
    found = []
    for value in equation.params.values():
        for item in value if type(value) is tuple else (value,):
            if type(item) is Program:
                found.append(item)
    return found


@derived
def transposed(pullback: Program, count: int) -> Program:
    """`count` residuals, tangents of the inputs -> tangents of the results."""
    held, types = pullback.in_types[:count], pullback.in_types[count:]

    def call(values: list[Any]) -> list[Any]:
        pushed = transpose_flat(
            lambda cotangents: pullback.evaluate(*values[:count], *cotangents),
            types,
            lambda _: values[count:],
        )
        return all_typed(pushed, types)

    return closed_trace(call, [*held, *pullback.out_types])


#: Primitives that check positions: moved before a loop, they would fail where it does not run.
_CHECKING = ("gather", "scatter", "dynamic", "slice_positions")


@derived
def invariant(program: Program, count: int) -> frozenset[Any]:
    """What depends on the first `count` inputs alone, and can be computed ahead of a loop."""
    found: set[Any] = set(program.inputs[:count])
    for equation in program.equations:
        if _is_hoisted(equation.primitive) and all(
            type(a) is not Variable or a in found for a in equation.inputs
        ):
            found.update(equation.outputs)
    return frozenset(found)


def _is_hoisted(primitive: Primitive) -> bool:
    plain = isinstance(primitive, Elementwise | Linear)
    return plain and not primitive.name.startswith(_CHECKING)


# -- batching ----------------------------------------------------------------------------------


@derived
def batched(
    program: Program, size: int, axis_name: Any, flags: Flags, wanted: Flags
) -> tuple[Program, Flags]:
    """A program on batches: flagged inputs, and some results, have the examples in front.

    Returns:
      the program, and which results are batched.
    """
    out_flags = wanted

    def call(values: list[Any]) -> list[Any]:
        nonlocal out_flags
        dims = [0 if f else None for f in flags]
        out, out_dims = batch_flat(
            lambda args: program.evaluate(*args), size, values, dims, axis_name
        )
        out_flags = tuple(w or d is not None for w, d in zip(wanted, out_dims, strict=True))
        placed = [
            batched_first(o, d, size) if f else o
            for o, d, f in zip(out, out_dims, out_flags, strict=True)
        ]
        return all_typed(placed, batched_types(program.out_types, size, out_flags))

    return closed_trace(call, batched_types(program.in_types, size, flags)), out_flags


def batched_types(types: Sequence[ArrayType], size: int, flags: Flags) -> list[ArrayType]:
    """Types of values, those flagged with an axis of examples in front."""
    return [
        t.update(shape=(size, *t.shape)) if f else t for t, f in zip(types, flags, strict=True)
    ]


def inexact(types: Iterable[ArrayType]) -> Flags:
    """Which values have tangents at all."""
    return tuple(dtypes.is_inexact(t.dtype) for t in types)
