"""A program in the making: variables with values, and equations that are kept if they work.

A `Draft` holds what has been computed so far. Rules ask it for operands of some type (existing
variables, likelier recent ones, or new inputs, constants and literals) and append equations.
Each equation is typed by its primitive's type rule and computed by its `compute` at once: what
these refuse is not kept. An IndexError is: there the program ends, and every engine has to
raise it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

import wengert.primitives
import wengert.transforms.control
from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape
from wengert.core.interpreter import quiet
from wengert.core.primitive import Primitive, all_primitives, typed_literals
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.testing.fuzzing import values as random_values

_REFUSALS = (
    errors.WengertError,
    ValueError,
    TypeError,
    ArithmeticError,
    np.linalg.LinAlgError,
    MemoryError,
)


for _package in (wengert.primitives, wengert.transforms.control):
    for _module in pkgutil.iter_modules(_package.__path__, f"{_package.__name__}."):
        importlib.import_module(_module.name)


@cache
def primitive(name: str) -> Any:
    """The primitive of some name.

    >>> primitive("add")
    add
    """
    return next(p for p in all_primitives() if p.name == name)


class Draft:
    """A program in the making.

    Attributes:
      rng: all choices are drawn from it.
      sizes: what dimensions are likely to have.
      most: elements that an array may have.
      closed: whether it is the body of control flow, which takes no new inputs.
      values: of all variables.
      failed: whether the last equation raises an IndexError.
    """

    def __init__(
        self, rng: random_values.Rng, sizes: Sequence[int], most: int, closed: bool = False
    ) -> None:
        self.rng = rng
        self.sizes = list(sizes)
        self.most = most
        self.closed = closed
        self.inputs: list[Variable] = []
        self.constants: list[Variable] = []
        self.equations: list[Equation] = []
        self.values: dict[Variable, Any] = {}
        self.failed = False

    # -- choices -----------------------------------------------

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of some things."""
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """An integer with `low <= n < high`."""
        return int(self.rng.integers(low, high))

    def shape(self, rank: int | None = None) -> Shape:
        """A shape."""
        return random_values.random_shape(self.rng, self.sizes, self.most, rank)

    # -- operands -----------------------------------------------

    def pick(self, fits: Callable[[ArrayType], bool]) -> Variable | None:
        """An existing variable that fits; recent ones are likelier."""
        fitting = [v for v in self.values if fits(v.type)]
        if not fitting:
            return None
        weights = np.arange(1.0, len(fitting) + 1)
        return fitting[int(self.rng.choice(len(fitting), p=weights / weights.sum()))]

    def some(self, kinds: str = "biufc", rank: int = 0) -> Variable:
        """A variable of such a kind of dtype with so many dimensions at least."""
        found = None
        if self.chance(0.85):
            found = self.pick(lambda t: dtypes.kind(t.dtype) in kinds and t.ndim >= rank)
        if found is None:
            shape = self.shape()
            while len(shape) < rank:
                shape = self.shape(int(self.rng.integers(rank, 4)))
            found = self.operand(shape, random_values.random_dtype(self.rng, kinds))
        return found

    def operand(self, shape: Shape, dtype: Any) -> Variable:
        """A variable of a type: one that exists, a converted one, or a new one."""
        if self.chance(0.75):
            found = self.pick(lambda t: t.shape == shape and t.dtype == dtype)
            if found is not None:
                return found
        if self.chance(0.5) or self.closed:
            found = self.pick(lambda t: t.shape == shape) or (
                self.pick(lambda t: t.size > 0) if self.closed else None
            )
            if found is not None:
                return self.coerced(found, ArrayType(shape, dtype))
        return self.fresh(random_values.random_value(self.rng, shape, dtype))

    def fresh(self, value: Any, weak: bool = False) -> Variable:
        """A new input or constant; in a closed draft an array of one number."""
        type_ = ArrayType(np.shape(value), value.dtype, weak)
        if self.closed:
            number = value.reshape(-1)[0].item() if value.size else 0
            params = {"shape": type_.shape, "value": number, "dtype": type_.dtype}
            (out,) = self.required("full", [], **params)
            return out
        variable = Variable(type_)
        held = type_.ndim > 0 and self.chance(0.1)
        (self.constants if held else self.inputs).append(variable)
        self.values[variable] = value
        return variable

    def coerced(self, variable: Variable, type_: ArrayType) -> Variable:
        """A variable of the wanted type that is computed from another one."""
        shape, dtype = type_.shape, type_.dtype
        if variable.type.size != type_.size:
            if not variable.type.size:
                return self.fresh(np.zeros(shape, dtype)[()])
            if variable.type.ndim:
                first = {
                    "start_indices": (0,) * variable.type.ndim,
                    "limit_indices": (1,) * variable.type.ndim,
                    "strides": None,
                }
                (variable,) = self.required("slice", [variable], **first)
                (variable,) = self.required("reshape", [variable], shape=())
            where = {"shape": shape, "broadcast_dimensions": ()}
            (variable,) = self.required("broadcast_in_dim", [variable], **where)
        elif variable.type.shape != shape:
            (variable,) = self.required("reshape", [variable], shape=shape)
        if variable.type.dtype != dtype:
            (variable,) = self.required("convert", [variable], dtype=dtype)
        return variable

    def number(self, dtype: Any) -> Literal:
        """A Python scalar for an operand of a dtype."""
        kind = dtypes.kind(dtype)
        if kind == "b":
            return Literal(self.chance(0.5))
        if kind == "u":
            return Literal(self.integer(0, 5))
        if kind == "i" or self.chance(0.3):
            return Literal(self.integer(-3, 5))
        if kind == "c" and self.chance(0.3):
            return Literal(0.5 - 2j)
        return Literal(self.choice([0.5, -0.0, 0.0, 2.0, 0.1, -1.5, 1e-3, 3.0, 1.0, np.inf]))

    def scalar(self, dtype: Any, value: Any = None) -> Atom:
        """A 0-d operand: a variable, or a literal array."""
        if value is None and self.chance(0.5):
            return self.operand((), dtype)
        if value is None:
            value = random_values.random_value(self.rng, (), dtype)
        value = np.asarray(value).astype(dtype)[()]
        if self.chance(0.5) and not self.closed:
            return self.fresh(value)
        return Literal(Array(value))

    # -- equations -----------------------------------------------

    def required(self, name: str, atoms: Sequence[Atom], **params: Any) -> list[Variable]:
        """The results of an equation that cannot be refused."""
        most, self.most = self.most, 1 << 40  # the size has been agreed to
        out = self.apply(primitive(name), atoms, **params)
        self.most = most
        assert out is not None, f"{name} refuses {[a.type for a in atoms]}, {params}"
        return out

    def apply(
        self, operation: Primitive, atoms: Sequence[Atom], **params: Any
    ) -> list[Variable] | None:
        """Append an equation; None if it is refused."""
        try:
            types = operation.type_rule(*(a.type for a in atoms), **params)
        except _REFUSALS:
            return None
        types = types if operation.multiple_results else [types]
        if sum(t.size for t in types) > 2 * self.most:
            return None
        variables = [Variable(t) for t in types]
        try:
            results = self._computed(operation, atoms, params)
        except IndexError:
            if self.closed:  # nobody might need the result
                return None
            self.failed = True
            results = [np.zeros(t.shape, t.dtype)[()] for t in types]
        except _REFUSALS:
            return None
        self.equations.append(Equation(operation, atoms, variables, params))
        for variable, result in zip(variables, results, strict=True):
            self.values[variable] = np.asarray(result)[()]
        return variables

    def _computed(
        self, operation: Primitive, atoms: Sequence[Atom], params: dict[str, Any]
    ) -> list[Any]:
        given = [self.value(a) for a in atoms]
        out = quiet().run(operation.compute, *typed_literals(given), **params)
        return list(out) if operation.multiple_results else [out]

    def value(self, atom: Atom) -> Any:
        """The NumPy value of an atom."""
        if type(atom) is Literal:
            return getattr(atom.value, "_value", atom.value)
        assert isinstance(atom, Variable)
        return self.values[atom]

    # -- the end -----------------------------------------------

    def program(self, outputs: Sequence[Atom]) -> Program:
        """What has been made, with some results."""
        program = Program(
            self.inputs,
            self.constants,
            [Array(self.values[v]) for v in self.constants],
            self.equations,
            outputs,
        )
        program.check()
        return program
