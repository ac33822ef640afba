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
from wengert.core.primitive import Value, Zero
from wengert.primitives.basis import add_tangents, move_axis, reduce_sum
from wengert.transforms.closures import check_level, check_nesting, closed_over, closing
from wengert.transforms.custom import (
    CustomCall,
    Signature,
    SymbolicZero,
    accepted,
    check_results,
    flat_function,
    is_zero,
    run_batched,
)
from wengert.transforms.jvp import jvp_flat
from wengert.transforms.linearize import tangent_result, transpose_flat
from wengert.transforms.tape import Block


class CustomVJPCall(CustomCall):
    """A call of a function that brings its own pullback.

    Its rules are `forward(held, args, perturbed) -> (out, residuals)`, where `perturbed` says
    which arguments derivatives are taken of, and `backward(held, residuals, cotangents) ->
    cotangents of the arguments`; cotangents, given and returned, may be `Zero`.
    """

    name = "custom_vjp_call"
    rules = ("forward", "backward")

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        closed = params["closed"]
        held, args = primals[:closed], primals[closed:]
        perturbed = [type(t) is not Zero for t in tangents[closed:]]
        if any(perturbed):
            out, residuals = _forward(params, held, args, perturbed)
            backward = functools.partial(params["backward"], held)
            out_tangents = pushed(backward, residuals, [o.type for o in out], tangents[closed:])
        else:
            out = self(*primals, **params)
            out_tangents = [Zero(o.type) for o in out]
        if any(type(t) is not Zero for t in tangents[:closed]):
            _, more, _ = jvp_flat(lambda h: params["fun"](h, args), held, tangents[:closed])
            out_tangents = [*map(add_tangents, more, out_tangents)]
        return out, out_tangents

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        closed = params["closed"]
        primals = interpreter.primals(args)
        perturbed = [a is not p for a, p in zip(args, primals, strict=True)]
        if any(perturbed[closed:]):
            out = self._linearize_by_rules(interpreter, args, primals, params)
        else:
            out = self(*primals, **params)
        if any(perturbed[:closed]):
            followed = params["fun"](args[:closed], primals[closed:])
            more = [interpreter.tangent_of(f) for f in followed]
            out = [interpreter.joined(o, t) for o, t in zip(out, more, strict=True)]
        return out

    @staticmethod
    def _linearize_by_rules(
        interpreter: Any, args: Sequence[Value], primals: Sequence[Value], params: Params
    ) -> list[Value]:
        closed = params["closed"]
        held, values = primals[:closed], primals[closed:]
        terms = [
            (i, arg.index)
            for i, (arg, value) in enumerate(zip(args[closed:], values, strict=True))
            if arg is not value
        ]
        perturbed = [a is not v for a, v in zip(args[closed:], values, strict=True)]
        out, residuals = _forward(params, held, values, perturbed)
        check_level([*out, *residuals], interpreter)
        backward = functools.partial(params["backward"], held)
        types = [value.type for value in values]
        extra = (backward, interpreter.primals(residuals), types, [o.type for o in out])
        blocked: list[Value] = interpreter.block(custom_vjp_block, out, terms, extra)
        return blocked

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        closed, fun, backward = params["closed"], params["fun"], params["backward"]
        held_dims, arg_dims = dims[:closed], dims[closed:]

        def batched_fun(held: Sequence[Value], args: Sequence[Value]) -> list[Any]:
            (out,) = run_batched(
                interpreter, lambda *parts: [fun(*parts)], (held, args), (held_dims, arg_dims)
            )
            return out

        def batched_forward(
            held: Sequence[Value], args: Sequence[Value], perturbed: Sequence[bool]
        ) -> Any:
            run = functools.partial(_with_last, params["forward"], perturbed)
            return tuple(run_batched(interpreter, run, (held, args), (held_dims, arg_dims)))

        def batched_backward(
            held: Sequence[Value], residuals: Sequence[Value], cotangents: Sequence[Value]
        ) -> list[Any]:
            parts = (held, residuals, cotangents)
            part_dims = (held_dims, [0] * len(residuals), [0] * len(cotangents))
            (pulled,) = run_batched(
                interpreter, lambda *parts: [backward(*parts)], parts, part_dims
            )
            return [_placed(c, d) for c, d in zip(pulled, arg_dims, strict=True)]

        batched = {
            "fun": batched_fun,
            "forward": batched_forward,
            "backward": batched_backward,
            "closed": closed,
        }
        out = interpreter.parent.apply(self, values, batched)
        return [interpreter.tracer(o, 0) for o in out]


def _forward(
    params: Params, held: Sequence[Value], args: Sequence[Value], perturbed: Sequence[bool]
) -> tuple[list[Any], list[Any]]:
    """Results and residuals by the forward rule."""
    out, residuals = params["forward"](held, args, perturbed)
    check_results(out, params["fun"])
    return out, residuals


def _with_last(function: Callable[..., Any], last: Any, *args: Any) -> Any:
    """Call a function with one more argument."""
    return function(*args, last)


def _placed(cotangent: Value, dim: int | None) -> Value:
    """A batched cotangent for an operand with this batch dimension (summed if it has none)."""
    if type(cotangent) is Zero:
        return cotangent
    return reduce_sum(cotangent, axes=(0,)) if dim is None else move_axis(cotangent, 0, dim)


custom_vjp_call = CustomVJPCall()


def pushed(
    backward: Callable[..., Any],
    residuals: Sequence[Value],
    out_types: Sequence[ArrayType],
    tangents: Sequence[Value],
) -> list[Value]:
    """Tangents of the results, by transposing the pullback."""
    inexact = [i for i, t in enumerate(out_types) if dtypes.is_inexact(t.dtype)]

    def pullback(given: list[Any]) -> list[Any]:
        cotangents: list[Any] = [Zero(t) for t in out_types]
        for i, cotangent in zip(inexact, given, strict=True):
            cotangents[i] = cotangent
        pulled = backward(residuals, cotangents)
        return [0 if type(c) is Zero else c for c in pulled]

    transposed = transpose_flat(pullback, [out_types[i] for i in inexact], lambda _: tangents)
    out: list[Any] = [Zero(t) for t in out_types]
    for i, value in zip(inexact, transposed, strict=True):
        out[i] = out[i] if value is None else value
    return out


class CustomVJPBlock(Block):
    """The linear map of a custom_vjp call: its pullback is given, its pushforward derived."""

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        backward, residuals, in_types, out_types = extra
        given: list[Any] = [Zero(t) for t in in_types]
        for position, index in terms:
            given[position] = tangents[index]
        return pushed(backward, residuals, out_types, given)

    def pull_block(
        self, terms: Any, extra: Any, cotangents: Sequence[Value], masked: bool
    ) -> list[Value]:
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
        self.symbolic_zeros = False

    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Set the forward rule (result and residuals) and the backward rule (the pullback).

        With `symbolic_zeros` the leaves of the arguments come to `fwd` as `CustomVJPPrimal`,
        which knows whether derivatives are taken of it, and cotangents that are known to vanish
        come to `bwd` as `SymbolicZero`. `optimize_remat` is accepted; results do not change.
        """
        del optimize_remat
        self.fwd, self.bwd = fwd, bwd
        self.symbolic_zeros = symbolic_zeros

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
        rules = _FlatRules(self, nondiff, in_tree, rest)

        def body(*free: Any) -> Any:
            return self.fun(*self.signature.merge(nondiff, free))

        held = closed_over(self.fun, self.fwd, self.bwd, nondiff)
        out = custom_vjp_call(
            *held,
            *values,
            fun=closing(held, flat_function(body, in_tree, rules.keep)),
            forward=closing(held, rules.forward),
            backward=closing(held, rules.backward),
            closed=len(held),
        )
        check_nesting(out)
        return tree.unflatten(rules.out_tree, out)


class CustomVJPPrimal:
    """An argument as a forward rule with `symbolic_zeros` gets it.

    Attributes:
      value: the array.
      perturbed: whether derivatives with respect to it are being taken.
    """

    __slots__ = ("perturbed", "value")

    def __init__(self, value: Value, perturbed: bool) -> None:
        self.value = value
        self.perturbed = perturbed


class _FlatRules:
    """The user's rules on flat values, checked."""

    def __init__(self, owner: custom_vjp, nondiff: list[Any], in_tree: Any, rest: Any) -> None:
        self.fwd: Any = owner.fwd
        self.bwd: Any = owner.bwd
        self.signature = owner.signature
        self.symbolic_zeros = owner.symbolic_zeros
        self.nondiff = nondiff
        self.in_tree = in_tree
        self.arguments = tree.map(lambda _: 0, rest)  # their structure; they themselves may go
        self.out_tree: Any = None
        self.residual_tree: Any = None
        self.in_types = [as_array(x).type for x in tree.leaves(rest)]

    def keep(self, out_tree: Any) -> None:
        """Remember the structure of the result."""
        self.out_tree = out_tree

    def forward(
        self, args: Sequence[Value], perturbed: Sequence[bool]
    ) -> tuple[list[Any], list[Any]]:
        """Results and residuals."""
        leaves = map(CustomVJPPrimal, args, perturbed) if self.symbolic_zeros else args
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
        given = tree.unflatten(self.out_tree, map(self._given, cotangents))
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

    def _given(self, cotangent: Value) -> Any:
        """A cotangent as the rule gets it: an array, of dtype float0 for an integer result."""
        if type(cotangent) is not Zero:
            return cotangent
        if self.symbolic_zeros:
            return SymbolicZero(cotangent.type)
        return tangent_result(cotangent, cotangent.type)

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
            if value is None or is_zero(value) or not dtypes.is_inexact(type_.dtype):
                out.append(Zero(type_))
                continue
            value = as_array(value)
            fitting = accepted(value, type_)
            if fitting is None:
                path = tree.leaf_paths(argument)[i]
                raise errors.CustomRuleError(
                    f"the backward rule of {self.signature.name} returned for argument {number}"
                    f"{path} a cotangent of type {value.type}; the argument has type {type_}. "
                    "A "
                    "cotangent has the shape and dtype of its argument."
                )
            out.append(fitting)
        return out
