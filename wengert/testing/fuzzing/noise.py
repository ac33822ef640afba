"""How far results may differ: programs with the rounding errors that their operations have.

Engines agree bit by bit on operations that IEEE 754 defines, and on integers. Others round
differently: functions by units in the last place, sums by the order of their terms. What such
differences make of the results depends on the program. So it is tried (Monte Carlo arithmetic,
D. S. Parker 1997): `noisy` inserts operations that move values at random by the errors that
are allowed there; how far the results of a few runs spread is how far engines may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.engines.native.math import FUNCTIONS

#: Units in the last place by which results differ.
_RESULT = dict.fromkeys(FUNCTIONS, 4.0) | {
    "integer_pow": 2.0,
    "logaddexp": 8.0,
    "sinc": 8.0,
    "random_gamma_grad": 16.0,
}
#: Sums of terms or products in another order: units in the last place of every operand.
_OPERANDS = {
    "reduce_sum": 2.0,
    "reduce_prod": 2.0,
    "cumsum": 2.0,
    "cumprod": 2.0,
    "linear_recurrence": 4.0,
    "scatter_add": 2.0,
    "scatter_mul": 2.0,
    "reduce_window_sum": 4.0,
    "overlap_add": 4.0,
    "cumlogsumexp": 8.0,
}
#: The same where terms are mixed first: units of the greatest element of every operand.
_NORMWISE = {
    "dot_general": 2.0,
    "conv_general_dilated": 16.0,
    "fft": 16.0,
    **dict.fromkeys(
        (
            "cholesky lu qr svd eigh eig solve triangular_solve factored_solve inv det slogdet "
            "pinv expm expm_tangent sqrtm sylvester cofactor cofactor_tangent"
        ).split(),
        64.0,
    ),
}
#: Terms up to which sums have an error that does not grow.
_FEW_TERMS = 64


class Noise(Primitive):
    """Values moved at random by some units in the last place; not among `all_primitives()`."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def compute(self, x: Any, units: float, norm: bool) -> Any:
        wide = np.asarray(x, np.complex128 if x.dtype.kind == "c" else np.float64)
        size = np.abs(wide)
        size = np.where(np.isfinite(size), size, 0.0)
        if norm:
            size = np.full_like(size, size.max(initial=0.0))
        precision, least = spacing(x.dtype)
        step = units * np.where(size > 0, np.maximum(size * precision, least), 0.0)
        moved = wide + step * self.rng.uniform(-1, 1, wide.shape)
        if wide.dtype.kind == "c":
            moved = moved + 1j * step * self.rng.uniform(-1, 1, wide.shape)
        kept = np.where(np.isfinite(wide) & (step > 0), moved, wide)
        return kept.astype(x.dtype)[()]

    def type_rule(self, x: Any, units: float, norm: bool) -> Any:
        return x


noise = Noise()


def spacing(dtype: Any) -> tuple[float, float]:
    """The relative spacing of a dtype's numbers, and its least number above zero."""
    part = dtypes.real_dtype(dtype)
    if part == dtypes.bfloat16:
        return 2.0**-7, 2.0**-133
    return {2: (2.0**-10, 2.0**-24), 4: (2.0**-23, 2.0**-149), 8: (2.0**-52, 5e-324)}[
        part.itemsize
    ]


def is_exact(program: Program) -> bool:
    """Whether engines must agree bit by bit."""
    return noisy(program) is program


def noisy(program: Program) -> Program:
    """The program with noise after and before what rounds differently, in blocks too."""
    writer = _Writer(program)
    for equation in program.equations:
        writer.write(equation)
    if not writer.changed:
        return program
    return Program(
        program.inputs,
        program.constants,
        program.constant_values,
        writer.equations,
        program.outputs,
    )


class _Writer:
    def __init__(self, program: Program) -> None:
        self.equations: list[Equation] = []
        self.changed = False

    def write(self, equation: Equation) -> None:
        name = equation.primitive.name
        params = {key: self._inside(value) for key, value in equation.params.items()}
        terms = max(
            (a.type.size for a in equation.inputs if isinstance(a, Variable)), default=1
        )
        growth = max(1.0, (terms / _FEW_TERMS) ** 0.5)
        inputs = equation.inputs
        if name in _OPERANDS:
            inputs = self._moved(inputs, _OPERANDS[name] * growth, False)
        elif name in _NORMWISE:
            inputs = self._moved(inputs, _NORMWISE[name] * growth, True)
        units = _RESULT.get(name, 4.0 if inputs is not equation.inputs else 0.0)
        targets = [
            Variable(v.type) if units and dtypes.is_inexact(v.type.dtype) else v
            for v in equation.outputs
        ]
        self.equations.append(
            Equation(equation.primitive, inputs, targets, params, equation.location)
        )
        for target, variable in zip(targets, equation.outputs, strict=True):
            if target is not variable:
                self._add(target, variable, units, False)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, tuple):
            parts = tuple(map(self._inside, value))
            return parts if any(p is not v for p, v in zip(parts, value, strict=True)) else value
        if not isinstance(value, Program):
            return value
        inner = noisy(value)
        self.changed = self.changed or inner is not value
        return inner

    def _moved(self, atoms: Sequence[Atom], units: float, norm: bool) -> tuple[Atom, ...]:
        moved: list[Atom] = []
        for atom in atoms:
            if isinstance(atom, Variable) and dtypes.is_inexact(atom.type.dtype):
                target = Variable(ArrayType(atom.type.shape, atom.type.dtype))
                self._add(atom, target, units, norm)
                moved.append(target)
            else:
                moved.append(atom)
        same = all(a is b for a, b in zip(atoms, moved, strict=True))
        return tuple(atoms) if same else tuple(moved)

    def _add(self, source: Atom, target: Variable, units: float, norm: bool) -> None:
        self.changed = True
        params = {"units": units, "norm": norm}
        self.equations.append(Equation(noise, [source], [target], params))
