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
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.engines.native.math import FUNCTIONS

#: Units in the last place by which results differ.
_RESULT = dict.fromkeys(FUNCTIONS, 4.0) | {
    "integer_pow": 2.0,
    "complex_abs": 2.0,
}
#: Differences of functions of the argument and of its mirror image.
_REFLECTED = dict.fromkeys(("lgamma", "digamma"), 4.0)
#: The same, in units of the operands where these are greater: sums inside may cancel.
_CANCELLING = {"sinc": 4.0, "logaddexp": 8.0, "logaddexp2": 8.0, **_REFLECTED}
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
    "sinc": 1.0,
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
_PRODUCTS = frozenset("reduce_prod cumprod scatter_mul linear_recurrence".split())
#: Functions of SciPy are stable in the mixed sense: nearly exact for a nearby argument. Numbers
#: below the normal ones they mostly confuse.
_SPECIAL = dict.fromkeys(
    (
        "lgamma gamma digamma betaln zeta polygamma ndtr log_ndtr ndtri normal_quantile "
        "erf erfc erf_inv erfcx expi exp1 expn spence bessel_i bessel_ie igamma igammac betainc"
    ).split(),
    2.0,
)
#: Derivatives of these in a parameter are sums of many terms.
_SPECIAL |= dict.fromkeys("igamma_grad_a betainc_grad random_gamma_grad".split(), 16.0)
#: Of two zeros either one may be the greater.
_EITHER_ZERO = frozenset(
    "maximum minimum fmax fmin clamp reduce_max reduce_min cummax cummin scatter_max "
    "scatter_min reduce_window_max reduce_window_min".split()
)
#: They see the sign of NaN, which no other operation defines.
_SEES_NAN = frozenset("signbit copysign bitcast_convert".split())
#: Complex functions: units of the absolute value. Sums and copies are exact.
_COMPLEX = 4.0
_EXACT_COMPLEX = frozenset(
    "add sub neg conj real imag convert copy select complex eq ne stop_gradient reshape "
    "transpose broadcast_in_dim slice pad concatenate rev gather scatter full iota "
    "dynamic_slice dynamic_update_slice checkpoint_name optimization_barrier".split()
)
#: Terms up to which sums have an error that does not grow.
_FEW_TERMS = 64


class Noise(Primitive):
    """Values moved at random by some units in the last place; not among `all_primitives()`.

    Units are those of the greatest of a value and its `others`, or with `norm` of the greatest
    of all values. Beyond `limit` sums may overflow, or not where products are fused: such
    values may be infinite or zero. So may all where a product along axes overflows or
    underflows. With `subnormal` numbers below the normal ones are confused; with `floor`
    results may be off by such; with `zeros` they have any sign; `unsure` ones that are not
    finite may be anything.
    """

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def compute(
        self,
        x: Any,
        *others: Any,
        units: float,
        norm: bool = False,
        limit: float = np.inf,
        product: tuple[int, ...] | None = None,
        subnormal: bool = False,
        floor: bool = False,
        zeros: bool = False,
        unsure: bool = False,
    ) -> Any:
        wide = np.asarray(x, np.complex128 if x.dtype.kind == "c" else np.float64)
        size = _finite_size(wide)
        for other in others:  # 16-bit functions compute in float32
            inside = 2.0**-13 if x.dtype.itemsize == 2 else 1.0
            size = np.maximum(size, _finite_size(np.asarray(other)) * inside)
        if norm:
            size = np.full_like(size, np.max(size, initial=0.0, where=size <= limit))
        precision, least = spacing(x.dtype)
        tiny = float(np.finfo(np.float64 if x.dtype.itemsize == 8 else np.float32).tiny)
        step = units * np.where(size > 0, np.maximum(size * precision, least), 0.0)
        if floor or norm:  # a zero in a product may hide what is not finite
            step = np.maximum(step, tiny)
        moved = wide + step * self.rng.uniform(-1, 1, wide.shape)
        if wide.dtype.kind == "c":
            moved = moved + 1j * step * self.rng.uniform(-1, 1, wide.shape)
        kept = np.where(np.isfinite(wide) & (step > 0), moved, wide)
        chosen = self.rng.random(wide.shape) < 0.5
        if product:
            overflows = self.rng.random() < 0.5
            factors = _beyond(wide, product, x.dtype, overflows)
            kept = np.where(chosen | (not overflows), kept * factors, kept)
        over = np.abs(wide) > limit
        kept = np.where(over & chosen, wide * np.inf, kept)
        gone = self.rng.random(wide.shape) < self.rng.choice((0.1, 0.5, 1.0))
        kept = np.where(over & gone, 0.0, kept)
        if subnormal:
            small = (wide != 0) & (np.abs(wide) < tiny)
            kept = np.where(small, tiny * self.rng.uniform(-1, 1, wide.shape), kept)
        if zeros:
            kept = np.where((kept == 0) & chosen, -kept, kept)
        if unsure:
            kept = np.where(~np.isfinite(kept) & chosen, 0.0, kept)
        return kept.astype(x.dtype)[()]

    def type_rule(self, x: Any, *others: Any, **params: Any) -> Any:
        return x


class EitherSign(Primitive):
    """Zeros or NaNs get a sign at random; not among `all_primitives()`."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def compute(self, x: Any, zeros: bool) -> Any:
        signs = np.where(self.rng.random(np.shape(x)) < 0.5, -1, 1).astype(x.dtype)
        return np.where(x == 0 if zeros else np.isnan(x), np.copysign(x, signs), x)[()]

    def type_rule(self, x: Any, zeros: bool) -> Any:
        return x


noise = Noise()
either_sign = EitherSign()


def _beyond(x: Any, axes: tuple[int, ...], dtype: Any, overflows: bool) -> Any:
    """Factors for elements of a product that overflows or underflows along the way, else 1.

    They let it, or take the elements out: whether it does depends on their order.
    """
    size = np.abs(x)
    digits = np.log10(np.where(np.isfinite(size) & (size > 0), size, 1.0))
    most = 308.0 if dtypes.real_dtype(dtype).itemsize == 8 else 38.0
    over = np.sum(np.maximum(digits, 0.0), axis=axes, keepdims=True) > most
    under = np.sum(np.minimum(digits, 0.0), axis=axes, keepdims=True) < -most
    moderate = 10.0**-digits
    factors = np.where(over & (size > 1), np.inf if overflows else moderate, 1.0)
    return np.where(under & (size < 1), 0.0 if overflows else moderate, factors)


def _finite_size(x: Any) -> Any:
    size = np.abs(x.astype(np.complex128))
    return np.where(np.isfinite(size), size, 0.0)


def spacing(dtype: Any) -> tuple[float, float]:
    """The relative spacing of a dtype's numbers, and its least number above zero."""
    part = dtypes.real_dtype(dtype)
    if part == dtypes.bfloat16:
        return 2.0**-7, 2.0**-133
    return {2: (2.0**-10, 2.0**-24), 4: (2.0**-23, 2.0**-149), 8: (2.0**-52, 5e-324)}[
        part.itemsize
    ]


def noisy(program: Program) -> Program:
    """The program with noise after and before what rounds differently, in blocks too.

    A program that is exact is returned as it is.
    """
    writer = _Writer()
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
    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.changed = False

    def write(self, equation: Equation) -> None:
        """Append an equation with the noise around it."""
        name = equation.primitive.name
        params = {key: self._inside(value) for key, value in equation.params.items()}
        arrays = [a for a in equation.inputs if isinstance(a, Variable) and _rounds(a)]
        inputs = equation.inputs
        if name in _OPERANDS or name in _NORMWISE or name in _SPECIAL:
            inputs = self._moved(equation)
        elif name in _SEES_NAN and arrays:
            inputs = self._with_any_nan(equation)
        moved = inputs is not equation.inputs and name not in _SEES_NAN
        after = [_after(name, v, arrays, moved) for v in equation.outputs]
        targets = [
            v if a is None else Variable(v.type)
            for v, a in zip(equation.outputs, after, strict=True)
        ]
        self.equations.append(
            Equation(equation.primitive, inputs, targets, params, equation.location)
        )
        for target, variable, how in zip(targets, equation.outputs, after, strict=True):
            if how is not None:
                primitive, others, own = how
                self._add(primitive, [target, *others], variable, own)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, tuple):
            parts = tuple(map(self._inside, value))
            same = all(p is v for p, v in zip(parts, value, strict=True))
            return value if same else parts
        if not isinstance(value, Program):
            return value
        inner = noisy(value)
        self.changed = self.changed or inner is not value
        return inner

    def _moved(self, equation: Equation) -> tuple[Atom, ...]:
        """Operands with noise, as far as they round."""
        name = equation.primitive.name
        sizes = [a.type.size for a in equation.inputs if isinstance(a, Variable)]
        terms = max(1, *sizes)
        units = (_OPERANDS | _NORMWISE | _SPECIAL)[name]
        how: Params = {
            "units": units * max(1.0, (terms / _FEW_TERMS) ** 0.5),
            "norm": name in _NORMWISE,
            "subnormal": name in _SPECIAL,
        }
        moved: list[Atom] = []
        for atom in equation.inputs:
            moved.append(atom)
            if isinstance(atom, Variable) and _rounds(atom):
                target = Variable(ArrayType(atom.type.shape, atom.type.dtype))
                wide = dtypes.real_dtype(atom.type.dtype).itemsize == 8
                most = (1.7e308 if wide else 3.4e38) / terms
                how["product"] = _axes(equation, atom) if name in _PRODUCTS else None
                how["limit"] = most**0.5 if name in _NORMWISE else most
                self._add(noise, [atom], target, how)
                moved[-1] = target
        same = all(a is b for a, b in zip(equation.inputs, moved, strict=True))
        return equation.inputs if same else tuple(moved)

    def _with_any_nan(self, equation: Equation) -> tuple[Atom, ...]:
        """Operands in which NaNs have any sign."""
        changed: list[Atom] = []
        for atom in equation.inputs:
            changed.append(atom)
            if isinstance(atom, Variable) and dtypes.is_floating(atom.type.dtype):
                target = Variable(ArrayType(atom.type.shape, atom.type.dtype))
                self._add(either_sign, [atom], target, {"zeros": False})
                changed[-1] = target
        return tuple(changed)

    def _add(
        self, primitive: Primitive, sources: Sequence[Atom], target: Variable, params: Any
    ) -> None:
        self.changed = True
        self.equations.append(Equation(primitive, sources, [target], dict(params)))


def _axes(equation: Equation, operand: Variable) -> tuple[int, ...]:
    """The dimensions along which an equation multiplies the elements of an operand."""
    params = equation.params
    if "axis" in params:
        return (params["axis"],)
    reduces = equation.primitive.name == "reduce_prod"
    return params["axes"] if reduces else tuple(range(operand.type.ndim))


def _rounds(variable: Variable) -> bool:
    return dtypes.is_inexact(variable.type.dtype)


def _after(name: str, variable: Variable, arrays: list[Variable], moved: bool) -> Any:
    """What is applied to a result: a primitive, more operands, parameters; or None."""
    if not _rounds(variable):
        return None
    if name in _CANCELLING:
        return noise, arrays, {"units": _CANCELLING[name]}
    units = _RESULT.get(name, 4.0 if moved else 0.0)
    if dtypes.is_complex(variable.type.dtype) and name not in _EXACT_COMPLEX:
        units = max(units, _COMPLEX)
    if units:
        floor = name in _SPECIAL or name == "integer_pow"
        unsure = name == "linear_recurrence"  # in blocks, infinity is multiplied by zero
        return noise, [], {"units": units, "floor": floor, "zeros": moved, "unsure": unsure}
    return (either_sign, [], {"zeros": True}) if name in _EITHER_ZERO else None
