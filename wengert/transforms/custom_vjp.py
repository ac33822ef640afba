"""Custom reverse-mode rules: `custom_vjp`.

Forward mode through such a function, and so Hessians, are derived: the pushforward of a linear
map is the transpose of its pullback, and the pullback is given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import ArrayType, as_array
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.primitives.basis import instantiate, move_axis, reduce_sum, zeros_like
from wengert.transforms.custom import (
    ProgramFunction,
    Signature,
    batched_function,
    flat_function,
)
from wengert.transforms.linearize import Linearization
from wengert.transforms.tape import Block


class CustomVJPCall(Primitive):
    """A call of a function that brings its own pullback.

    Parameters, all on flat values: `fun(*args) -> out`, `forward(*args) -> (out, residuals)`,
    `backward(residuals, cotangents) -> cotangents` (which may be `Zero`). The first `closed`
    operands are values that the function closed over when it was traced.
    """

    name = "custom_vjp_call"
    multiple_results = True

    @staticmethod
    def compute(*values: Any, fun: Any, **_: Any) -> list[Any]:
        return run_program(fun.program, values)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        return params["fun"](*args)

    def type_rule(self, *types: Any, **params: Any) -> Any:
        return params["fun"].program.out_types

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        closed = params["closed"]
        if any(type(t) is not Zero for t in tangents[:closed]):
            raise errors.CustomRuleError(
                "forward mode with respect to a value that a custom_vjp function closed over "
                "under jit is not defined by its rule. Pass the value as an argument."
            )
        out, residuals = params["forward"](*primals[closed:])
        types = [o.type for o in out]
        return out, pushed(params["backward"], residuals, types, tangents[closed:])

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        closed = params["closed"]
        primals = interpreter.primals(args)
        out, residuals = params["forward"](*primals[closed:])
        if closed and any(a is not p for a, p in zip(args[:closed], primals, strict=False)):
            out = params["fun"](*args[:closed], *primals[closed:])
        residuals = interpreter.primals(residuals)
        terms = [
            (i, arg.index)
            for i, (arg, primal) in enumerate(zip(args[closed:], primals[closed:], strict=True))
            if arg is not primal
        ]
        types = [o.type for o in out]
        extra = (params["backward"], residuals, [p.type for p in primals[closed:]], types)
        return interpreter.block(custom_vjp_block, out, terms, extra)

    def apply_traced(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        program = trace(lambda leaves: params["fun"](*leaves), [a.type for a in args])
        captured = program.constant_values
        params = {
            **params,
            "fun": ProgramFunction(program.closed()),
            "closed": params["closed"] + len(captured),
        }
        return interpreter.record(self, [*captured, *args], params)

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        closed, forward, backward = params["closed"], params["forward"], params["backward"]
        outputs: list[int] = []

        def flat_forward(*primals: Value) -> list[Any]:
            out, residuals = forward(*primals)
            outputs[:] = [len(out)]
            return [*out, *residuals]

        def batched_forward(*primals: Value) -> Any:
            run = batched_function(interpreter, flat_forward, dims[closed:])
            both = run(*primals)
            return both[: outputs[0]], both[outputs[0] :]

        def batched_backward(residuals: Sequence[Value], cotangents: Sequence[Value]) -> Any:
            count = len(residuals)
            absent: list[bool] = []

            def flat_backward(*both: Value) -> list[Any]:
                pulled = backward(both[:count], both[count:])
                absent[:] = [type(c) is Zero for c in pulled]
                return [c for c in pulled if type(c) is not Zero]

            given = [*residuals, *(instantiate(c) for c in cotangents)]
            run = batched_function(interpreter, flat_backward, [0] * len(given))
            present = iter(run(*given))
            return [
                Zero(v.type) if nothing else _placed(next(present), d)
                for v, d, nothing in zip(values[closed:], dims[closed:], absent, strict=True)
            ]

        batched = {
            "fun": batched_function(interpreter, params["fun"], dims),
            "forward": batched_forward,
            "backward": batched_backward,
            "closed": closed,
        }
        out = interpreter.parent.apply(self, values, batched)
        return [interpreter.tracer(o, 0) for o in out]


def _placed(cotangent: Value, dim: int | None) -> Value:
    """A batched cotangent for an operand with this batch dimension (summed if it has none)."""
    return reduce_sum(cotangent, axes=(0,)) if dim is None else move_axis(cotangent, 0, dim)


custom_vjp_call = CustomVJPCall()


def pushed(
    backward: Callable[..., Any],
    residuals: Sequence[Value],
    out_types: Sequence[ArrayType],
    tangents: Sequence[Value],
) -> list[Value]:
    """Tangents of the results, by transposing the pullback."""
    zeros = [zeros_like(t) for t in out_types]

    def pullback(cotangents: list[Any]) -> list[Any]:
        return [instantiate(c) for c in backward(residuals, cotangents)]

    transposed = Linearization(pullback, zeros).pull(tangents)
    return [Zero(t) if v is None else v for v, t in zip(transposed, out_types, strict=True)]


class CustomVJPBlock(Block):
    """The linear map of a custom_vjp call: its pullback is given, its pushforward derived."""

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        backward, residuals, in_types, out_types = extra
        given: list[Any] = [Zero(t) for t in in_types]
        for position, index in terms:
            given[position] = tangents[index]
        return pushed(backward, residuals, out_types, given)

    def pull_block(self, terms: Any, extra: Any, cotangents: Sequence[Value]) -> list[Value]:
        backward, residuals, _, _ = extra
        pulled = backward(residuals, cotangents)
        return [pulled[position] for position, _ in terms]


custom_vjp_block = CustomVJPBlock()


class custom_vjp:
    """A function with a pullback of its own.

    Args:
      fun: a function of arrays, or trees of arrays.
      nondiff_argnums: positions of arguments without derivative; they may be any objects, and
      are
        handed to the backward rule first.
      nondiff_argnames: the same by name.

    The rules are given with `defvjp(fwd, bwd)`: `fwd(*args) -> (out, residuals)` and
    `bwd(*nondiff, residuals, cotangent) -> tuple of cotangents`, one per differentiable
    argument, None for zero. Shapes and dtypes of what `bwd` returns are checked at each use.

    >>> import wengert, wengert.numpy as wnp
    >>> @wengert.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, g: (wnp.clip(g, -1, 1),))
    >>> wengert.grad(lambda x: 5 * clip_gradient(x))(2.0)
    Array(1., dtype=float32, weak_type=True)
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: int | Sequence[int] = (),
        nondiff_argnames: str | Sequence[str] = (),
    ) -> None:
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.signature = Signature(fun, nondiff_argnums, nondiff_argnames)
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Set the forward rule (result and residuals) and the backward rule (the pullback)."""
        self.fwd, self.bwd = fwd, bwd

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.signature.name
        if self.fwd is None or self.bwd is None:
            raise errors.CustomRuleError(
                f"the custom_vjp function {name} has no rules yet. Give it some: "
                f"{name}.defvjp(fwd, bwd)"
            )
        nondiff, rest = self.signature.split(self.signature.positional(args, kwargs))
        leaves, in_tree = tree.flatten(rest)
        values = [as_array(leaf) for leaf in leaves]
        rules = _FlatRules(self.fwd, self.bwd, nondiff, in_tree, rest, self.signature)

        def body(*free: Any) -> Any:
            return self.fun(*self.signature.merge(nondiff, free))

        out = custom_vjp_call(
            *values,
            fun=flat_function(body, in_tree, rules.keep),
            forward=rules.forward,
            backward=rules.backward,
            closed=0,
        )
        return tree.unflatten(rules.out_tree, out)


class _FlatRules:
    """The user's rules on flat values, checked."""

    def __init__(
        self,
        fwd: Any,
        bwd: Any,
        nondiff: list[Any],
        in_tree: Any,
        rest: Any,
        signature: Signature,
    ) -> None:
        self.fwd = fwd
        self.bwd = bwd
        self.nondiff = nondiff
        self.in_tree = in_tree
        self.arguments = rest
        self.signature = signature
        self.out_tree: Any = None
        self.residual_tree: Any = None
        self.in_types = [as_array(x).type for x in tree.leaves(rest)]

    def keep(self, out_tree: Any) -> None:
        """Remember the structure of the result."""
        self.out_tree = out_tree

    def forward(self, *leaves: Value) -> tuple[list[Any], list[Any]]:
        """Results and residuals."""
        free = tree.unflatten(self.in_tree, leaves)
        pair = self.fwd(*self.signature.merge(self.nondiff, free))
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise errors.CustomRuleError(
                f"the forward rule of {self.signature.name} must return a pair (out, "
                "residuals); "
                f"it returned {type(pair).__name__}."
            )
        out, self.out_tree = tree.flatten(pair[0])
        residuals, self.residual_tree = tree.flatten(pair[1])
        return [as_array(o) for o in out], [as_array(r) for r in residuals]

    def backward(self, residuals: Sequence[Value], cotangents: Sequence[Value]) -> list[Any]:
        """Cotangents of the arguments."""
        given = tree.unflatten(self.out_tree, [instantiate(c) for c in cotangents])
        saved = tree.unflatten(self.residual_tree, residuals)
        pulled = self.bwd(*self.nondiff, saved, given)
        count = len(self.arguments)
        if not isinstance(pulled, tuple | list) or len(pulled) != count:
            what = (
                f"{len(pulled)}" if isinstance(pulled, tuple | list) else type(pulled).__name__
            )
            raise errors.CustomRuleError(
                f"the backward rule of {self.signature.name} must return a tuple with one "
                f"cotangent for each of the {count} differentiable arguments; it returned "
                f"{what}." + (" Write `return (cotangent,)`." if count == 1 else "")
            )
        out: list[Any] = []
        types = iter(self.in_types)
        for number, (argument, cotangent) in enumerate(
            zip(self.arguments, pulled, strict=True)
        ):
            out.extend(self._checked(number, argument, cotangent, types))
        return out

    def _checked(self, number: int, argument: Any, cotangent: Any, types: Any) -> list[Any]:
        leaves, expected = tree.flatten(argument)
        if cotangent is None:
            return [Zero(next(types)) for _ in leaves]
        got, structure = tree.flatten(cotangent, is_leaf=lambda x: x is None)
        if len(got) != len(leaves) or (
            structure != expected and not any(g is None for g in got)
        ):
            raise errors.CustomRuleError(
                f"the backward rule of {self.signature.name} returned for argument {number} a "
                f"cotangent of structure {structure}; the argument has {expected}."
            )
        out = []
        for i, value in enumerate(got):
            type_ = next(types)
            if value is None or type(value) is Zero or not dtypes.is_inexact(type_.dtype):
                out.append(Zero(type_))
                continue
            value = as_array(value)
            weak = value.weak_type and dtypes.kind(value.dtype) <= dtypes.kind(type_.dtype)
            if value.shape != type_.shape or not (value.dtype == type_.dtype or weak):
                path = tree.leaf_paths(argument)[i]
                raise errors.CustomRuleError(
                    f"the backward rule of {self.signature.name} returned for argument {number}"
                    f"{path} a cotangent of type {value.type}; the argument has type {type_}. "
                    "A "
                    "cotangent has the shape and dtype of its argument."
                )
            out.append(value if value.dtype == type_.dtype else value.astype(type_.dtype))
        return out
