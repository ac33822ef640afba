"""From a case that fails to a small one that still fails.

Steps are tried until none succeeds: fewer results; equations replaced by inputs with the values
they had; programs cut off at their beginning or end; smaller dimensions; simpler numbers. Every
candidate is checked and computed before it is tried, so that only programs that mean something
are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import quiet
from wengert.core.primitive import typed_literals
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.testing.fuzzing.cases import Case

Fails = Callable[[Case], bool]


def shrink(case: Case, fails: Fails, seconds: float = 60.0) -> Case:
    """A smaller case for which `fails` holds as it does for this one.

    >>> from wengert.testing.fuzzing import random_case, shrink
    >>> def adds(case):
    ...     return any(e.primitive.name == "reshape" for e in case.program.equations)
    >>> big = next(c for c in map(random_case, range(99)) if adds(c))
    >>> [e.primitive.name for e in shrink(big, adds).program.equations]
    ['reshape']
    """
    stop = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for candidate in _smaller(case):
            if time.monotonic() > stop:
                return case
            if candidate is not None and fails(candidate):
                case, progress = candidate, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case | None]:
    for step in (_fewer_results, _fewer_equations, _smaller_dimensions, _simpler_numbers):
        yield from step(case)


# -- fewer equations -----------------------------------------------


def remade(
    program: Program, values: Sequence[Any], equations: Sequence[Equation], outputs: Any
) -> Case | None:
    """A case of some equations of a program; what the others made becomes inputs."""
    known = evaluated(program, values)
    needed = {a for a in outputs if isinstance(a, Variable)}
    kept: list[Equation] = []
    for equation in reversed(equations):
        if needed.intersection(equation.outputs):
            kept.append(equation)
            needed.update(a for a in equation.inputs if isinstance(a, Variable))
    made = {v for e in kept for v in e.outputs}
    constants = [v for v in program.constants if v in needed]
    others = [v for v in needed if v not in made and v not in program.constants]
    order = {v: i for i, v in enumerate(known)}
    if any(v not in known for v in others):
        return None
    inputs = sorted(others, key=lambda v: order[v])
    held = dict(zip(program.constants, program.constant_values, strict=True))
    smaller = Program(inputs, constants, [held[v] for v in constants], kept[::-1], outputs)
    return Case(smaller, [known[v] for v in inputs])


def evaluated(program: Program, values: Sequence[Any]) -> dict[Variable, Any]:
    """The values of all variables, up to an equation that raises."""
    known: dict[Variable, Any] = dict(zip(program.inputs, values, strict=True))
    for variable, value in zip(program.constants, program.constant_values, strict=True):
        known[variable] = value._value

    def read(atom: Atom) -> Any:
        if isinstance(atom, Literal):
            return getattr(atom.value, "_value", atom.value)
        return known[atom]

    for equation in program.equations:
        given = typed_literals([read(a) for a in equation.inputs])
        try:
            out = quiet().run(equation.primitive.compute, *given, **equation.params)
        except Exception:
            break
        out = out if equation.primitive.multiple_results else [out]
        for variable, value in zip(equation.outputs, out, strict=True):
            known[variable] = np.asarray(value)[()]
    return known


def _fewer_results(case: Case) -> Iterator[Case | None]:
    program, outputs = case.program, case.program.outputs
    if len(outputs) < 2:
        return
    for i in range(len(outputs)):
        yield remade(program, case.values, program.equations, outputs[i : i + 1])
    for i in range(len(outputs)):
        kept = (*outputs[:i], *outputs[i + 1 :])
        yield remade(program, case.values, program.equations, kept)


def _fewer_equations(case: Case) -> Iterator[Case | None]:
    program = case.program
    count = len(program.equations)
    if count > 2:  # cut off the beginning, by halves and quarters
        for start in sorted({count // 2, count // 4, 3 * count // 4} - {0}):
            yield remade(program, case.values, program.equations[start:], program.outputs)
    for i in range(count):
        kept = program.equations[:i] + program.equations[i + 1 :]
        yield remade(program, case.values, kept, program.outputs)
    for equation in reversed(program.equations[:-1]):  # cut off the end
        yield remade(program, case.values, program.equations, equation.outputs)


# -- smaller dimensions -----------------------------------------------


def _smaller_dimensions(case: Case) -> Iterator[Case | None]:
    sizes = {n for t in case.program.in_types for n in t.shape if n > 1}
    for n in sorted(sizes, reverse=True):
        for m in (1, 2, n // 2, n - 1):
            if 0 < m < n:
                yield resized(case, n, m)


#: Parameters that hold sizes; the others name dimensions.
_SIZES = frozenset(
    "shape start_indices limit_indices slice_sizes length sizes window_dimensions".split()
)


def resized(case: Case, old: int, new: int) -> Case | None:
    """The case with another size in the place of one, wherever it stands; None if it fails."""
    program = case.program
    renamed: dict[Variable, Variable] = {}

    def cut(value: Any) -> Any:
        array = np.asarray(value)
        keep = tuple(slice(new) if n == old else slice(None) for n in array.shape)
        return np.ascontiguousarray(array[keep]).reshape(array[keep].shape)[()]

    def atom(a: Atom) -> Atom:
        return renamed[a] if isinstance(a, Variable) else a

    def changed(value: Any) -> Any:
        if type(value) is tuple:
            return tuple(map(changed, value))
        return new if type(value) is int and value == old else value

    values = [cut(v) for v in case.values]
    constants = [Array(cut(v._value)) for v in program.constant_values]
    given = (*program.inputs, *program.constants)
    for variable, value in zip(given, [*values, *constants], strict=True):
        renamed[variable] = Variable(
            ArrayType(np.shape(value), variable.type.dtype, variable.type.weak_type)
        )
    equations = []
    try:
        for e in program.equations:
            params = {k: changed(v) if k in _SIZES else v for k, v in e.params.items()}
            inputs = [atom(a) for a in e.inputs]
            types = e.primitive.type_rule(*(a.type for a in inputs), **params)
            types = types if e.primitive.multiple_results else [types]
            outputs = [Variable(t) for t in types]
            renamed.update(zip(e.outputs, outputs, strict=True))
            equations.append(Equation(e.primitive, inputs, outputs, params))
    except Exception:
        return None
    return Case(
        Program(
            [renamed[v] for v in program.inputs],
            [renamed[v] for v in program.constants],
            constants,
            equations,
            [atom(a) for a in program.outputs],
        ),
        values,
    )


# -- simpler numbers -----------------------------------------------


def _simpler_numbers(case: Case) -> Iterator[Case | None]:
    for i, value in enumerate(case.values):
        array = np.asarray(value)
        if not array.size:
            continue
        for simple in _simple(array):
            if simple.tobytes() != array.tobytes():
                values = [*case.values]
                values[i] = simple[()]
                yield Case(case.program, values)


def _simple(array: Any) -> Iterator[Any]:
    """Zeros, ones and counted elements, in order of simplicity, up to what an array is now."""
    zeros, ones = np.zeros_like(array), np.ones_like(array)
    counted = np.arange(array.size).reshape(array.shape)
    for simple in (zeros, ones):
        yield simple
        if simple.tobytes() == array.tobytes():
            return
    if dtypes.kind(array.dtype) != "b":
        simple = counted.astype(array.dtype)
        yield simple
        if simple.tobytes() == array.tobytes():
            return
    if array.size <= 16 and np.any(array != 0):
        for at in np.argwhere(array != 0):
            simple = array.copy()
            simple[tuple(at)] = 0
            yield simple
