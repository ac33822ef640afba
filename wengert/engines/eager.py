"""The eager engine for programs: NumPy, one equation after the other. The reference.

A program becomes a list of steps over numbered slots; a slot is emptied after its last use, so
that memory is freed as early as in hand-written NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core.array import Array, ArrayType
from wengert.core.primitive import typed_literals
from wengert.core.program import Atom, Equation, Literal, Program, Variable

#: From NumPy values to NumPy values; floating-point warnings are the caller's business.
Executable = Callable[[Sequence[Any]], list[Any]]


def compile_program(program: Program) -> Executable:
    """A function that evaluates the program on flat NumPy values, and returns NumPy values."""
    slots: dict[Variable, int] = {}
    initial: list[Any] = []

    def slot_of(atom: Atom) -> int:
        if isinstance(atom, Literal):
            return slot_with(atom.value._value if type(atom.value) is Array else atom.value)
        if atom not in slots:
            slots[atom] = slot_with(None)
        return slots[atom]

    def slot_with(value: Any) -> int:
        initial.append(value)
        return len(initial) - 1

    input_slots = [slot_of(v) for v in program.inputs]
    for variable, value in zip(program.constants, program.constant_values, strict=True):
        initial[slot_of(variable)] = value._value
    steps = []
    for equation in program.equations:
        # a Python scalar is its own type; the types of other operands say what it becomes
        typed = typed_literals([atom.type for atom in equation.inputs])
        sources = tuple(
            slot_of(atom) if type(t) is ArrayType else slot_with(t)
            for atom, t in zip(equation.inputs, typed, strict=True)
        )
        targets = tuple(slot_of(v) for v in equation.outputs)
        many = equation.primitive.multiple_results
        steps.append((equation.primitive.compute, sources, targets, many, equation.params))
    output_slots = [slot_of(atom) for atom in program.outputs]
    freed = _last_uses(steps, {*output_slots, *slots_of_constants(program, slots)})
    plan = [(*step, free) for step, free in zip(steps, freed, strict=True)]

    def execute(args: Sequence[Any]) -> list[Any]:
        values = initial.copy()
        for slot, arg in zip(input_slots, args, strict=True):
            values[slot] = arg
        done = 0
        try:
            for compute, sources, targets, many, params, free in plan:
                out = compute(*[values[s] for s in sources], **params)
                if many:
                    for slot, value in zip(targets, out, strict=True):
                        values[slot] = value
                else:
                    values[targets[0]] = out
                for slot in free:
                    values[slot] = None
                done += 1
        except errors.WengertError:
            raise
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            raise _explained(error, program.equations[done]) from error
        return [values[s] for s in output_slots]

    return execute


def _explained(error: Exception, equation: Equation) -> Exception:
    """A NumPy error retold: in which equation, from which of the user's lines."""
    return errors.with_operation(
        error, equation.primitive.name, equation.inputs, equation.location
    )


def slots_of_constants(program: Program, slots: dict[Variable, int]) -> list[int]:
    """Slots that stay filled over all calls."""
    return [slots[v] for v in program.constants]


def _last_uses(steps: Sequence[Any], kept: set[int]) -> list[tuple[int, ...]]:
    """For each step, the slots that nothing reads after it."""
    freed: list[tuple[int, ...]] = []
    seen = set(kept)
    for _, sources, targets, *_ in reversed(steps):
        last = {s for s in (*sources, *targets) if s not in seen}
        seen |= last
        freed.append(tuple(last))
    return freed[::-1]


def run_program(program: Program, values: Sequence[Any]) -> list[Any]:
    """Evaluate a program on NumPy values; it is compiled at the first call."""
    if program.compiled is None:
        program.compiled = compile_program(program)
    return program.compiled(values)
