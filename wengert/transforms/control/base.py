"""What all control flow has in common: evaluation, and linear maps on the tape.

A loop or conditional under a linearization leaves one entry on the tape, a `LinearMap`: it
knows how to push tangents of all operands and pull cotangents of all results. The same holds
where a derivative rule applies control flow to tangents; then there are no values for the
operands that are tangents, nor for the results that depend on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import config, errors
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import Params, Tracer, escaped, location, quiet
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.program import Program
from wengert.engines import selection
from wengert.engines.eager import run_program
from wengert.transforms.control.programs import Flags
from wengert.transforms.linearize import LinearTracer
from wengert.transforms.tape import PICK, Block


class ControlFlow(Primitive):
    """Operations that run programs."""

    multiple_results = True
    takes_tangents = True

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        values = [_concrete(arg) for arg in args]
        if config.debug_nans.value:  # equations check themselves, in a context of their own
            out = self.compute(*values, **params)
        else:
            out = quiet().run(self.compute, *values, **params)
        types = self.type_rule(*[Array(v).type for v in values], **params)
        return [Array(o, t.weak_type) for o, t in zip(out, types, strict=True)]

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        primals = interpreter.primals(args)
        active = tuple(a is not p for a, p in zip(args, primals, strict=True))
        return self.linear_map(interpreter, args, primals, active, params, False)

    def linearize_tangents(
        self, interpreter: Any, args: Sequence[Value], params: Params
    ) -> Any:
        operands = interpreter.primals(args)
        active = tuple(type(a) is LinearTracer and a.tag is interpreter.tag for a in args)
        return self.linear_map(interpreter, args, operands, active, params, True)

    def linear_map(
        self,
        interpreter: Any,
        args: Sequence[Value],
        primals: Sequence[Value],
        active: Flags,
        params: Params,
        tangents: bool,
    ) -> list[Value]:
        """Results in which the linear map is recorded; `active` operands have tangents."""
        raise errors.MissingRuleError(self.name, "linear_map")


def _concrete(value: Value) -> Any:
    if isinstance(value, Tracer):
        raise escaped(value)
    return value._value if type(value) is Array else value


#: Runs of a program in one loop after which machine code is made of it.
_HOT = 256


def executable(program: Program) -> Callable[[Sequence[Any]], list[Any]]:
    """A program as a function of NumPy values, for a loop that calls it again and again.

    It runs on the eager engine, which needs no warm-up, and as machine code when it has run so
    often that making that pays. Under `debug_nans` each equation is checked.
    """
    if config.debug_nans.value:
        return lambda values: [o._value for o in program.evaluate(*map(Array, values))]
    runs = itertools.count()

    def run(values: Sequence[Any]) -> list[Any]:
        if program.executable is None and next(runs) < _HOT:
            return run_program(program, values)
        return list(selection.executable(program).run(values))

    return run


def check_operands(name: str, given: Sequence[ArrayType], program: Program) -> None:
    """Raise unless operands have the types of a program's inputs, up to weak flags.

    Raises:
      DTypeError, ShapeError: when they have not.
    """
    expected = program.in_types
    if len(given) != len(expected):
        raise errors.ShapeError(
            f"{name} has a program of {len(expected)} inputs and got {len(given)} operands."
        )
    for got, wanted in zip(given, expected, strict=True):
        if got.dtype != wanted.dtype:
            raise errors.DTypeError(f"{name}: its program takes {wanted}, it got {got}.")
        if got.shape != wanted.shape:
            raise errors.ShapeError(f"{name}: its program takes {wanted}, it got {got}.")


class LinearMap:
    """The linear map of one application, from all its operands to all its results.

    Attributes:
      masks: whether cotangents of operands may be exact zeros that a selection made.
    """

    masks = False

    def push(self, tangents: Sequence[Value]) -> list[Value]:
        """Tangents of the results; those given and returned may be `Zero`."""
        raise NotImplementedError(type(self).__name__)

    def pull(self, cotangents: Sequence[Value], masked: bool) -> Sequence[Value]:
        """Cotangents of the operands; those given and returned may be `Zero`."""
        raise NotImplementedError(type(self).__name__)


class LinearMapBlock(Block):
    """Tape entries whose extra is (a linear map, the types of its operands)."""

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        linear, types = extra
        given: list[Any] = [*map(Zero, types)]
        for position, index in terms:
            given[position] = tangents[index]
        return linear.push(given)

    def pull_block(
        self, terms: Any, extra: Any, cotangents: Sequence[Value], masked: bool
    ) -> list[Value]:
        linear, _ = extra
        pulled = linear.pull(cotangents, masked)
        return [pulled[position] for position, _ in terms]

    def pull(self, terms: Any, extra: Any, cotangent: Any, sink: Any, masked: bool) -> None:
        (linear, _), _ = extra
        super().pull(terms, extra, cotangent, sink, masked)
        if linear.masks:
            sink.masked.update(index for _, index in terms)


linear_map_block = LinearMapBlock()


def attached(
    interpreter: Any,
    linear: LinearMap,
    args: Sequence[Value],
    out: Sequence[Value | None],
    types: Sequence[ArrayType],
    active: Flags,
) -> list[Value]:
    """Results, the active ones followed, with the linear map as an entry of the tape.

    Results without a value (None) are tangents.
    """
    followed = [
        (i, a.index)
        for i, a in enumerate(args)
        if isinstance(a, Tracer) and a.tag is interpreter.tag
    ]
    operands = [a.type for a in args]
    if not any(active):
        return [*out]
    entry = (linear_map_block, followed, ((linear, operands), types))
    variable = interpreter.tape.append(entry)
    results: list[Any] = []
    for i, (value, type_, flag) in enumerate(zip(out, types, active, strict=True)):
        if not flag:
            results.append(value)
            continue
        tangent = LinearTracer(
            interpreter.tag, type_, interpreter.tape.append((PICK, variable, i))
        )
        results.append(tangent if value is None else interpreter.joined(value, tangent))
    return results


def nonlinear(name: str) -> errors.NonlinearRuleError:
    """The error for control flow that is not linear in the tangents it is applied to."""
    return errors.NonlinearRuleError(name, location())
