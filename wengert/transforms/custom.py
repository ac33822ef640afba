"""What `custom_jvp` and `custom_vjp` share: arguments, flattening, batching of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import ArrayType, as_array
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.program import Program
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.primitives.basis import batched_first
from wengert.transforms.closures import closing_more
from wengert.transforms.vmap import BatchInterpreter, batch_flat


class ProgramFunction:
    """A program as the function of a custom call: of values it closes over, and arguments."""

    __slots__ = ("program",)
    __name__ = "program"

    def __init__(self, program: Program) -> None:
        self.program = program

    def __call__(self, held: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        return self.program.evaluate(*held, *args)


class CustomCall(Primitive):
    """A call of a function that brings its own derivative rule.

    All functions among the parameters take flat values. `fun(held, args)` is the function;
    `held` are the first `closed` operands, values that it closes over. The rules do not know
    those as arguments: derivatives with respect to them are those of the function. `rules`
    names the parameters that are rules; they take `held` first, too.
    """

    multiple_results = True
    inlines_tangents = True
    rules: ClassVar[tuple[str, ...]]

    @staticmethod
    def compute(*values: Any, fun: Any, **_: Any) -> list[Any]:
        return run_program(fun.program, values)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        closed = params["closed"]
        return params["fun"](args[:closed], args[closed:])

    inline = evaluate

    def type_rule(self, *types: Any, **params: Any) -> Any:
        return params["fun"].program.out_types

    def apply_traced(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        closed = params["closed"]
        program = trace(
            lambda leaves: params["fun"](leaves[:closed], leaves[closed:]),
            [a.type for a in args],
        )
        captured = program.constant_values
        more = {name: closing_more(captured, params[name]) for name in self.rules}
        traced = {
            **params,
            **more,
            "fun": ProgramFunction(program.closed()),
            "closed": closed + len(captured),
        }
        return interpreter.record(self, [*captured, *args], traced)


def check_results(out: Sequence[Value], fun: Any) -> None:
    """Check the results of a rule against those of the function, where these are known.

    Raises:
      CustomRuleError: when number, shapes or dtypes differ.
    """
    if not isinstance(fun, ProgramFunction):
        return
    got, expected = [o.type for o in out], fun.program.out_types
    if [(t.shape, t.dtype) for t in got] != [(t.shape, t.dtype) for t in expected]:
        raise errors.CustomRuleError(
            f"a custom rule returned results of types ({', '.join(map(str, got))}); its "
            f"function returns ({', '.join(map(str, expected))})."
        )


class Signature:
    """Positions of the arguments of a custom function, and which carry no derivative.

    Keyword arguments are put in their positions; `nondiff` ones are handed to rules first.
    """

    def __init__(self, fun: Callable[..., Any], argnums: Any, argnames: Any) -> None:
        self.name = getattr(fun, "__name__", repr(fun))
        try:
            self.signature: inspect.Signature | None = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if names:
            parameters = list(self.signature.parameters) if self.signature else []
            for name in names:
                if name not in parameters:
                    raise errors.ArgnumsError(
                        f"nondiff_argnames={name!r} is not a parameter of {self.name}."
                    )
            numbers += tuple(parameters.index(name) for name in names)
        self.nondiff = tuple(sorted(set(numbers)))

    def positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, defaults filled in.

        Raises:
          TypeError: for keyword-only parameters and calls that do not fit the signature.
        """
        if self.signature is None:
            if kwargs:
                raise TypeError(f"{self.name} takes no keyword arguments here")
            return args
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"the custom derivative function {self.name} has keyword-only arguments "
                f"({', '.join(bound.kwargs)}); its rules take arguments by position. Remove "
                "the "
                "'*' from its signature."
            )
        return bound.args

    def split(self, args: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        """Nondifferentiable and differentiable arguments."""
        nondiff = {n % len(args) for n in self.nondiff} if args else set()
        return (
            [a for i, a in enumerate(args) if i in nondiff],
            [a for i, a in enumerate(args) if i not in nondiff],
        )

    def merge(self, nondiff: Sequence[Any], rest: Sequence[Any]) -> list[Any]:
        """All arguments in their positions again."""
        count = len(nondiff) + len(rest)
        places = {n % count for n in self.nondiff}
        fixed, free = iter(nondiff), iter(rest)
        return [next(fixed) if i in places else next(free) for i in range(count)]


def flat_function(
    fun: Callable[..., Any], in_tree: tree.TreeDef, keep: Callable[[Any], None]
) -> Callable[[Sequence[Any]], list[Any]]:
    """`fun`, taking a list of trees, as a function of flat values; `keep` gets the out tree."""

    def flat(leaves: Sequence[Any]) -> list[Any]:
        out_leaves, out_tree = tree.flatten(fun(*tree.unflatten(in_tree, leaves)))
        keep(out_tree)
        return [as_array(leaf) for leaf in out_leaves]

    return flat


def run_batched(
    interpreter: BatchInterpreter,
    function: Callable[..., Any],
    values: Sequence[Sequence[Value]],
    dims: Sequence[Sequence[int | None]],
) -> list[list[Any]]:
    """Call a function of lists of single examples on batches; all results batched in front.

    Symbolic zeros stay what they are, for one example; the function returns lists of values.
    """
    all_dims = [*chain.from_iterable(dims)]
    flat = [_one(v, d) for v, d in zip(chain.from_iterable(values), all_dims, strict=True)]
    present = [type(v) is not Zero for v in flat]
    lengths: list[int] = []
    zeros: list[Value] = []

    def call(tracers: list[Any]) -> list[Any]:
        given = iter(tracers)
        filled = iter([next(given) if p else v for p, v in zip(present, flat, strict=True)])
        out = function(*([*islice(filled, len(part))] for part in values))
        lengths[:] = map(len, out)
        zeros[:] = [v if type(v) is Zero else None for v in chain.from_iterable(out)]
        return [v for v in chain.from_iterable(out) if type(v) is not Zero]

    out, out_dims = batch_flat(
        call,
        interpreter.size,
        [v for v, p in zip(flat, present, strict=True) if p],
        [d for d, p in zip(all_dims, present, strict=True) if p],
        interpreter.axis_name,
        interpreter.tag,
    )
    placed = (batched_first(o, d, interpreter.size) for o, d in zip(out, out_dims, strict=True))
    merged = iter([next(placed) if z is None else z for z in zeros])
    return [[*islice(merged, n)] for n in lengths]


def _one(value: Value, dim: int | None) -> Value:
    """A symbolic zero for one example of a batch; other values as they are."""
    if type(value) is not Zero or dim is None:
        return value
    shape = value.type.shape
    return Zero(value.type.update(shape=shape[:dim] + shape[dim + 1 :]))


class SymbolicZero:
    """A tangent or cotangent that is known to vanish, as rules with `symbolic_zeros` get it.

    Attributes:
      type: of the value that it belongs to (`aval` for JAX's sake).
    """

    __slots__ = ("type",)

    def __init__(self, type: ArrayType) -> None:
        self.type = type

    @property
    def aval(self) -> ArrayType:
        """Shape and dtype."""
        return self.type

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return self.type.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype."""
        return self.type.dtype

    def __repr__(self) -> str:
        return f"SymbolicZero({self.type})"


def is_zero(value: Any) -> bool:
    """Whether what a rule returned is a symbolic zero."""
    return type(value) in (Zero, SymbolicZero)


def accepted(value: Value, type_: ArrayType) -> Value | None:
    """A derivative from a rule, in the dtype of its value; None where it does not fit."""
    weak = value.weak_type and dtypes.absorbs(type_.dtype, value.dtype)
    if value.shape != type_.shape or not (value.dtype == type_.dtype or weak):
        return None
    return value if value.dtype == type_.dtype else value.astype(type_.dtype)
