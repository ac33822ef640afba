"""Custom forward-mode rules: `custom_jvp`. Reverse mode follows from the rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import as_array
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.primitives.basis import instantiate
from wengert.transforms.custom import (
    ProgramFunction,
    Signature,
    batched_function,
    flat_function,
)
from wengert.transforms.linearize import float0_zeros


class CustomJVPCall(Primitive):
    """A call of a function that brings its own pushforward.

    Parameters: `fun(*flat) -> flat`, `rule(flat primals, flat tangents) -> (flat, flat)`. The
    first `closed` operands are values that the function closed over when it was traced; the
    rule does not know them, and derivatives with respect to them are those of the function.
    """

    name = "custom_jvp_call"
    multiple_results = True

    @staticmethod
    def compute(*values: Any, fun: Any, rule: Any, closed: int) -> list[Any]:
        return run_program(fun.program, values)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        return params["fun"](*args)

    def type_rule(self, *types: Any, **params: Any) -> Any:
        return params["fun"].program.out_types

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        closed = params["closed"]
        out, out_tangents = params["rule"](primals[closed:], tangents[closed:])
        if any(type(t) is not Zero for t in tangents[:closed]):
            raise errors.CustomRuleError(
                "forward mode with respect to a value that a custom_jvp function closed over "
                "under jit is not defined by its rule. Pass the value as an argument."
            )
        return out, out_tangents

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        closed = params["closed"]
        followed = interpreter.primals(args[:closed])
        if any(a is not p for a, p in zip(args[:closed], followed, strict=True)):
            out = params["fun"](*args[:closed], *interpreter.primals(args[closed:]))
            primals = interpreter.primals(args)[closed:]
            tangents = [interpreter.tangent_of(a) for a in args[closed:]]
            _, out_tangents = params["rule"](primals, tangents)
            return [interpreter.joined(o, t) for o, t in zip(out, out_tangents, strict=True)]
        return interpreter.linearize_by_jvp(self, args, params)

    def apply_traced(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        program = trace(lambda leaves: params["fun"](*leaves), [a.type for a in args])
        captured = program.constant_values
        params = {
            "fun": ProgramFunction(program.closed()),
            "rule": params["rule"],
            "closed": params["closed"] + len(captured),
        }
        return interpreter.record(self, [*captured, *args], params)

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        closed, rule = params["closed"], params["rule"]
        count = len(args) - closed
        cell: list[int] = []

        def flat_rule(*both: Value) -> list[Any]:
            out, tangents = rule(both[:count], both[count:])
            cell[:] = [len(out)]
            return [*out, *(instantiate(t) for t in tangents)]

        def batched_rule(primals: Sequence[Value], tangents: Sequence[Value]) -> Any:
            run = batched_function(interpreter, flat_rule, [*dims[closed:], *dims[closed:]])
            out = run(*primals, *(instantiate(t) for t in tangents))
            return out[: cell[0]], out[cell[0] :]

        batched = {
            "fun": batched_function(interpreter, params["fun"], dims),
            "rule": batched_rule,
            "closed": closed,
        }
        out = interpreter.parent.apply(self, values, batched)
        return [interpreter.tracer(o, 0) for o in out]


custom_jvp_call = CustomJVPCall()


class custom_jvp:
    """A function with a derivative rule of its own.

    Args:
      fun: a function of arrays, or trees of arrays.
      nondiff_argnums: positions of arguments without derivative; they may be any objects, and
      are
        handed to the rule first.
      nondiff_argnames: the same by name.

    The rule is given with `defjvp`, as `rule(*nondiff, primals, tangents) -> (out, tangent)`;
    it must be linear in the tangents. Reverse mode is derived from it.

    >>> import wengert, wengert.numpy as wnp
    >>> @wengert.custom_jvp
    ... def log1pexp(x):
    ...     return wnp.log(1.0 + wnp.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (x_dot,) = primals, tangents
    ...     return log1pexp(x), (1 - 1 / (1 + wnp.exp(x))) * x_dot
    >>> wengert.grad(log1pexp)(100.0)
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
        self.jvp: Callable[..., Any] | None = None

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule; returns it, so that this is a decorator too."""
        self.jvp = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Set a rule per argument, `rule(tangent, out, *primals)`; None: no derivative."""

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            out = self(*primals)
            terms = [
                rule(t, out, *primals)
                for rule, t in zip(jvps, tangents, strict=True)
                if rule is not None
            ]
            total = (
                functools.reduce(lambda a, b: tree.map(lambda x, y: x + y, a, b), terms)
                if terms
                else None
            )
            return out, tree.map(lambda x: x * 0, out) if total is None else total

        self.jvp = jvp

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.jvp is None:
            raise errors.CustomRuleError(
                f"the custom_jvp function {self.signature.name} has no rule yet. Give it one: "
                f"{self.signature.name}.defjvp(lambda primals, tangents: (out, tangent_out))"
            )
        nondiff, rest = self.signature.split(self.signature.positional(args, kwargs))
        leaves, in_tree = tree.flatten(rest)
        values = [as_array(leaf) for leaf in leaves]
        out_trees: list[Any] = []

        def body(*free: Any) -> Any:
            return self.fun(*self.signature.merge(nondiff, free))

        flat = flat_function(body, in_tree, out_trees.append)
        rule = _FlatRule(self.jvp, nondiff, in_tree, out_trees.append, self.signature.name)
        out = custom_jvp_call(*values, fun=flat, rule=rule, closed=0)
        return tree.unflatten(out_trees[0], out)


class _FlatRule:
    """The user's rule on flat values, checked."""

    def __init__(
        self,
        rule: Any,
        nondiff: list[Any],
        in_tree: Any,
        keep: Callable[[Any], None],
        name: str,
    ) -> None:
        self.rule = rule
        self.nondiff = nondiff
        self.in_tree = in_tree
        self.keep = keep
        self.__name__ = name

    def __call__(self, primals: Sequence[Value], tangents: Sequence[Value]) -> Any:
        filled = [instantiate_tangent(t, p) for t, p in zip(tangents, primals, strict=True)]
        pair = self.rule(
            *self.nondiff,
            tuple(tree.unflatten(self.in_tree, primals)),
            tuple(tree.unflatten(self.in_tree, filled)),
        )
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise errors.CustomRuleError(
                f"the jvp rule of {self.__name__} must return a pair (out, tangent_out); it "
                f"returned {type(pair).__name__}."
            )
        out, out_tree = tree.flatten(pair[0])
        tangent, tangent_tree = tree.flatten(pair[1])
        self.keep(out_tree)
        if out_tree != tangent_tree:
            raise errors.CustomRuleError(
                f"the jvp rule of {self.__name__} must return results and tangents of one "
                f"structure; it returned {out_tree} and {tangent_tree}."
            )
        out = [as_array(o) for o in out]
        return out, [self._checked(t, o) for t, o in zip(tangent, out, strict=True)]

    def _checked(self, tangent: Any, out: Value) -> Any:
        if type(tangent) is Zero or not dtypes.is_inexact(out.dtype):
            return Zero(out.type)
        tangent = as_array(tangent)
        weak = tangent.weak_type and dtypes.kind(tangent.dtype) <= dtypes.kind(out.dtype)
        if tangent.shape != out.shape or not (tangent.dtype == out.dtype or weak):
            raise errors.CustomRuleError(
                f"the jvp rule of {self.__name__} returned a tangent of type {tangent.type} "
                "for a "
                f"result of type {out.type}; shape and dtype must agree."
            )
        return tangent if tangent.dtype == out.dtype else tangent.astype(out.dtype)


def instantiate_tangent(tangent: Value, primal: Value) -> Any:
    """A tangent as rules get it: an array, of dtype float0 for an integer primal."""
    if type(tangent) is Zero and not dtypes.is_inexact(primal.dtype):
        return float0_zeros(primal.shape)
    return instantiate(tangent)
