"""Primitives: the operations the system knows, each a class with all its rules.

The closed list of rules:

| rule | meaning | when |
|---|---|---|
| `compute` | the meaning, on NumPy values | always |
| `type_rule` | shape and dtype of the result | always (families give it) |
| `partials` | local derivative factors, one per operand | elementwise |
| `linear`, `transpose` | where it is linear; its transpose in one operand | linear in some |
| `jvp` | tangent of the result, linear in the tangents | anything else |
| `batch` | the same on operands with an extra axis | always (families give it) |
| `samples` | inputs for the generated tests | always |

A derivative is declared once, in the form that says most. From `partials` and from `transpose`
follow the pushforward and the pullback; from `jvp` follows the pullback too, because the rule
is run with tracers for its tangents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from wengert import errors
from wengert.core.array import Array, ArrayType
from wengert.core.dtypes import SCALAR_TYPES, bfloat16
from wengert.core.interpreter import EAGER, Params, Tracer, escaped, location, quiet, state

#: An array, a tracer, or a Python scalar that takes its dtype from the other operands.
Value = Any
#: The batch dimension of each operand, None for those without.
Dims = Sequence[int | None]
#: Result and batch dimension, or lists of them.
Batched = tuple[Any, Any]


class Zero:
    """A symbolic zero: a tangent or cotangent that is known to vanish."""

    __slots__ = ("type",)

    def __init__(self, type: ArrayType) -> None:
        self.type = type

    def __repr__(self) -> str:
        return f"Zero({self.type})"


def typed_literals(values: list[Any]) -> list[Any]:
    """Operands in which Python scalars follow a bfloat16 operand.

    They follow NumPy's own dtypes by themselves; bfloat16 they would turn into float32.
    """
    for value in values:
        if type(value) not in SCALAR_TYPES and value.dtype == bfloat16:
            return [bfloat16.type(v) if type(v) in SCALAR_TYPES else v for v in values]
    return values


def type_of(value: Value) -> Any:
    """The array type of an operand; a Python scalar is returned as it is."""
    return value.type if hasattr(value, "type") else value


class Sample:
    """One input on which the generated tests run a primitive.

    Attributes:
      args: NumPy values or Python scalars.
      params: static parameters.
      differentiable: whether derivatives exist there and are tested.
    """

    def __init__(self, *args: Any, differentiable: Any = True, **params: Any) -> None:
        self.args = args
        self.params = params
        self.differentiable = differentiable

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{a.dtype}{list(a.shape)}" if hasattr(a, "dtype") else repr(a) for a in self.args
        )
        params = "".join(f", {k}={v}" for k, v in self.params.items())
        return f"({shapes}{params})"


class Primitive:
    """An operation that the system knows: meaning, type, derivative, batching, samples.

    Calling an instance applies it under the current interpreter. Operands are arrays or
    tracers (of equal dtype where the family asks for it), parameters are keywords.
    """

    #: Identifies it in printed programs and messages; by default the class name in snake case.
    name: ClassVar[str]
    #: Whether it is the system's own. Passes and engines know these by name, and no others.
    own: ClassVar[bool]
    #: Whether the result is a list.
    multiple_results: ClassVar[bool] = False
    #: Whether the result is weakly typed when all operands are.
    keeps_weak: ClassVar[bool] = True
    #: Positions of the operands in which it is linear.
    linear: ClassVar[tuple[int, ...]] = ()
    #: Linear in each of `linear` separately (a product) rather than in all at once (a sum).
    multilinear: ClassVar[bool] = False
    #: Whether it sets some cotangents exactly to zero, as a selection does.
    masks: ClassVar[bool] = False
    #: Whether its result has no tangent (comparisons, rounding, integers).
    nondifferentiable: ClassVar[bool] = False

    #: Whether applying it does more than compute a result: passes keep it, once, in its place.
    effects: ClassVar[bool] = False

    #: Whether transformations see through it, to the operations it consists of.
    inlines: ClassVar[bool] = False
    #: Whether they do so where it is applied to tangents inside a derivative rule.
    inlines_tangents: ClassVar[bool] = False
    #: Whether it takes tangents there itself, by `linearize_tangents`.
    takes_tangents: ClassVar[bool] = False

    compute: Callable[..., Any]

    def __init_subclass__(cls) -> None:
        cls.own = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self) -> None:
        _INSTANCES.append(self)

    def __call__(self, *args: Value, **params: Any) -> Any:
        interpreter = state.interpreter
        if interpreter is EAGER:  # what its apply does, without the call
            return self.evaluate(args, params)
        return interpreter.apply(self, args, params)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        return _lookup, (type(self),)

    # -- meaning -----------------------------------------------------------------------------

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        """The result on concrete operands, as arrays."""
        values = []
        weak = self.keeps_weak
        literals = False
        for arg in args:
            if type(arg) is Array:
                values.append(arg._value)
                weak = weak and arg._weak
            elif isinstance(arg, Tracer):
                raise escaped(arg)
            else:
                values.append(arg)
                literals = True
        if literals:
            values = typed_literals(values)
        try:
            out = quiet().run(self.compute, *values, **params)
        except errors.WengertError:
            raise
        except (ValueError, TypeError, IndexError, ArithmeticError) as error:
            raise self._explained(error, args, params) from error
        if self.multiple_results:
            return [Array(o) for o in out]
        return Array(out, weak and bool(args))

    def _explained(self, error: Exception, args: Sequence[Value], params: Params) -> Exception:
        """A NumPy error retold: by the type rule if it objects too, else with the operands."""
        try:
            self.type_rule(*map(type_of, args), **params)
        except errors.WengertError as explanation:
            if not isinstance(error, IndexError):
                return errors.at_location(explanation, location())
        return errors.with_operation(error, self.name, args, location())

    def type_rule(self, *types: Any, **params: Any) -> Any:
        """The type of the result (a list of types with `multiple_results`)."""
        raise errors.MissingRuleError(self.name, "type_rule")

    # -- derivative --------------------------------------------------------------------------

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        """Result and its tangent; tangents, given and returned, may be `Zero`."""
        if not self.nondifferentiable:
            raise errors.MissingRuleError(self.name, "derivative")
        out = self(*primals, **params)
        return out, [Zero(o.type) for o in out] if self.multiple_results else Zero(out.type)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        """Apply under a linearizing interpreter, to operands some of which it follows."""
        return interpreter.linearize_by_jvp(self, args, params)

    def linearize_tangents(
        self, interpreter: Any, args: Sequence[Value], params: Params
    ) -> Any:
        """Apply in a derivative rule that is being linearized, to tangents among others."""
        raise errors.MissingRuleError(self.name, "linearize_tangents")

    def linear_entry(
        self, args: Sequence[Value], primals: Sequence[Any], active: list[int], params: Params
    ) -> Any:
        """What a tape keeps of an application to tangents, at the positions `active`."""
        raise errors.MissingRuleError(self.name, "linear_entry")

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Any:
        """The cotangent of operand `position`; linear operands are given by their types."""
        raise errors.MissingRuleError(self.name, "transpose")

    def inline(self, args: Sequence[Value], params: Params) -> Any:
        """Apply the operations that it consists of, one by one."""
        raise errors.MissingRuleError(self.name, "inline")

    # -- tracing -----------------------------------------------------------------------------

    def apply_traced(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        """Apply under a tracing interpreter."""
        return interpreter.record(self, args, params)

    # -- batching ----------------------------------------------------------------------------

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        """Apply under a batching interpreter, to operands some of which it follows."""
        values, dims = interpreter.split(args)
        out, out_dim = self.batch(interpreter.size, values, dims, **params)
        if self.multiple_results:
            return [interpreter.tracer(o, d) for o, d in zip(out, out_dim, strict=True)]
        return interpreter.tracer(out, out_dim)

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        """Result and batch dimension (or lists), for operands batched along `dims`."""
        raise errors.MissingRuleError(self.name, "batch")

    # -- tests -------------------------------------------------------------------------------

    def samples(self) -> Iterator[Sample]:
        """Inputs for the generated tests."""
        return iter(())


def _lookup(cls: type[Primitive]) -> Primitive:
    return next(p for p in all_primitives() if type(p) is cls)


_INSTANCES: list[Primitive] = []


def all_primitives() -> list[Primitive]:
    """The instance of every primitive that the loaded modules define, by name."""
    return sorted(_INSTANCES, key=lambda p: p.name)
