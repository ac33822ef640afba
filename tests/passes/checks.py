"""What the tests of passes share: tracing, an evaluator, and the comparison of bits."""

from __future__ import annotations

import numpy as np

from wengert.core import dtypes, tree
from wengert.core.array import Array, as_array
from wengert.core.interpreter import quiet
from wengert.core.primitive import typed_literals
from wengert.core.program import Variable
from wengert.core.tracing import trace
from wengert.passes.cse import share
from wengert.passes.dce import eliminate
from wengert.passes.forward import forward
from wengert.passes.hoist import hoist
from wengert.passes.inline import inline
from wengert.passes.pipeline import optimise
from wengert.passes.simplify import simplify

PASSES = (inline, simplify, share, eliminate, forward, hoist)
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, 1e-310, 2.0, -3.5, 1e300]


def array(value):
    """A value as an operand; NumPy scalars for 0-d."""
    return as_array(value) if isinstance(value, float | int) else Array(np.asarray(value)[()])


def traced(f, *args):
    """The program of a function of trees, for arguments like these."""
    leaves, structure = tree.flatten(args)

    def call(tracers):
        return [as_array(x) for x in tree.leaves(f(*tree.unflatten(structure, tracers)))]

    return trace(call, [array(x).type for x in leaves])


def names(program):
    """The primitives of a program, in order."""
    return [e.primitive.name for e in program.equations]


def all_names(program):
    """The primitives of a program and of the programs inside it."""
    found = set()
    for equation in program.equations:
        found.add(equation.primitive.name)
        for value in equation.params.values():
            for item in value if isinstance(value, tuple) else (value,):
                if hasattr(item, "equations"):
                    found |= all_names(item)
    return found


def evaluate(program, values):
    """The results on NumPy values, by the meaning of each primitive.

    Every array is in row-major order, for NumPy's sums depend on the order in memory; but
    permuted arrays are views, which BLAS reads where they lie.
    """
    return quiet().run(_evaluate, program, values)


def _evaluate(program, values):
    environment = dict(zip(program.inputs, map(_ordered, values), strict=True))
    for variable, constant in zip(program.constants, program.constant_values, strict=True):
        environment[variable] = _ordered(constant._value)

    def read(atom):
        if isinstance(atom, Variable):
            return environment[atom]
        return atom.value._value if type(atom.value) is Array else atom.value

    for equation in program.equations:
        operands = typed_literals([read(atom) for atom in equation.inputs])
        if "program" in equation.params:
            out = _evaluate(equation.params["program"], operands)
        else:
            out = equation.primitive.compute(*operands, **equation.params)
        results = out if equation.primitive.multiple_results else [out]
        view = equation.primitive.name == "transpose"
        for variable, result in zip(equation.outputs, results, strict=True):
            environment[variable] = result if view else _ordered(result)
    return [read(atom) for atom in program.outputs]


def _ordered(value):
    return np.ascontiguousarray(value) if np.ndim(value) else value


def same_bits(a, b, zeros=True):
    """Whether two values are equal, signs of zeros (on request not) included, but for NaNs."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype == dtypes.bfloat16:
        a, b = a.astype(np.float32), b.astype(np.float32)
    if a.dtype.kind == "c":
        return same_bits(a.real, b.real, zeros) and same_bits(a.imag, b.imag, zeros)
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    nan = np.isnan(a)
    signs = not zeros or np.array_equal(np.signbit(a[~nan]), np.signbit(b[~nan]))
    return np.array_equal(nan, np.isnan(b)) and np.array_equal(a[~nan], b[~nan]) and signs


def special_like(rng, value):
    """An array of the same type, of the values that arithmetic goes wrong with."""
    value = np.asarray(value)
    if not dtypes.is_inexact(value.dtype):
        return value[()]
    with np.errstate(all="ignore"):
        return rng.choice(SPECIAL, size=value.shape).astype(value.dtype)[()]


def check_pass(transform, program, values, idempotent=True, special=True):
    """Check what every pass keeps: rules, types, bits; and that once is enough."""
    before = str(program)
    new = transform(program)
    new.check()
    assert str(program) == before, "a pass changed its input"
    assert list(map(str, new.in_types)) == list(map(str, program.in_types))
    assert list(map(str, new.out_types)) == list(map(str, program.out_types))
    if idempotent:
        assert transform(new) is new, f"{transform.__name__} is not idempotent:\n{new}"
    rng = np.random.default_rng(0)
    masked = "masked_mul" in all_names(program)  # whose zeros have either sign beside NaN
    wild = [[special_like(rng, v) for v in values] for _ in range(2 * special)]
    for args in (values, *wild):
        got, expected = evaluate(new, args), evaluate(program, args)
        for a, b in zip(got, expected, strict=True):
            assert same_bits(a, b, not masked), (
                f"{transform.__name__}: {a} for {b}\n{program}\n{new}"
            )
    return new


def check_all(f, *args):
    """Check all passes and the pipeline on a function; returns the optimised program."""
    program = traced(f, *args)
    values = [array(x)._value for x in tree.leaves(args)]
    for transform in PASSES:
        check_pass(transform, program, values)
    return check_pass(optimise, program, values, idempotent=False)
