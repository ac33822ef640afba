"""Custom forward-mode rules: `custom_jvp`. Reverse mode follows from the rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import as_array
from wengert.core.interpreter import Params
from wengert.core.primitive import Value, Zero
from wengert.primitives.basis import add_tangents
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
from wengert.transforms.linearize import tangent_result


class CustomJVPCall(CustomCall):
    """A call of a function that brings its own pushforward.

    Its rule is `rule(held, primals, tangents) -> (out, out_tangents)`; tangents may be `Zero`.
    """

    name = "custom_jvp_call"
    rules = ("rule",)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        closed = params["closed"]
        held, args = primals[:closed], primals[closed:]
        out, out_tangents = self._by_rule(primals, tangents[closed:], params)
        if any(type(t) is not Zero for t in tangents[:closed]):
            _, more, _ = jvp_flat(lambda h: params["fun"](h, args), held, tangents[:closed])
            out_tangents = [*map(add_tangents, more, out_tangents)]
        return out, out_tangents

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        closed = params["closed"]
        primals = interpreter.primals(args)
        tangents = [interpreter.tangent_of(a) for a in args]
        out, out_tangents = self._by_rule(primals, tangents[closed:], params)
        check_level([*out, *out_tangents], interpreter)
        if any(type(t) is not Zero for t in tangents[:closed]):
            followed = params["fun"](args[:closed], primals[closed:])
            out_tangents = [
                add_tangents(interpreter.tangent_of(f), t)
                for f, t in zip(followed, out_tangents, strict=True)
            ]
        return [interpreter.joined(o, t) for o, t in zip(out, out_tangents, strict=True)]

    def _by_rule(
        self, primals: Sequence[Value], tangents: Sequence[Value], params: Params
    ) -> tuple[list[Value], list[Value]]:
        """Results, and their tangents as far as they come from the arguments."""
        if all(type(t) is Zero for t in tangents):
            out = self(*primals, **params)
            return out, [Zero(o.type) for o in out]
        closed = params["closed"]
        out, out_tangents = params["rule"](primals[:closed], primals[closed:], tangents)
        check_results(out, params["fun"])
        return out, out_tangents

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        closed, fun, rule = params["closed"], params["fun"], params["rule"]
        held_dims, arg_dims = dims[:closed], dims[closed:]

        def batched_fun(held: Sequence[Value], args: Sequence[Value]) -> list[Any]:
            (out,) = run_batched(
                interpreter, lambda *parts: [fun(*parts)], (held, args), (held_dims, arg_dims)
            )
            return out

        def batched_rule(*parts: Sequence[Value]) -> Any:
            return tuple(run_batched(interpreter, rule, parts, (held_dims, arg_dims, arg_dims)))

        batched = {"fun": batched_fun, "rule": batched_rule, "closed": closed}
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
        self.symbolic_zeros = False

    def defjvp(
        self, jvp: Callable[..., Any], symbolic_zeros: bool = False
    ) -> Callable[..., Any]:
        """Set the rule; returns it, so that this is a decorator too.

        With `symbolic_zeros` the rule gets `SymbolicZero` for tangents that are known to
        vanish, instead of arrays of zeros, and may return them.
        """
        self.jvp = jvp
        self.symbolic_zeros = symbolic_zeros
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
        rule = _FlatRule(self, nondiff, in_tree, out_trees.append)
        held = closed_over(self.fun, self.jvp, nondiff)
        out = custom_jvp_call(
            *held, *values, fun=closing(held, flat), rule=closing(held, rule), closed=len(held)
        )
        check_nesting(out)
        return tree.unflatten(out_trees[0], out)


class _FlatRule:
    """The user's rule on flat values, checked."""

    def __init__(
        self, owner: custom_jvp, nondiff: list[Any], in_tree: Any, keep: Callable[[Any], None]
    ) -> None:
        self.rule: Any = owner.jvp
        self.name = owner.signature.name
        self.symbolic_zeros = owner.symbolic_zeros
        self.nondiff = nondiff
        self.in_tree = in_tree
        self.keep = keep

    def __call__(self, primals: Sequence[Value], tangents: Sequence[Value]) -> Any:
        given = [self._given(t, p) for t, p in zip(tangents, primals, strict=True)]
        pair = self.rule(
            *self.nondiff,
            tuple(tree.unflatten(self.in_tree, primals)),
            tuple(tree.unflatten(self.in_tree, given)),
        )
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise errors.CustomRuleError(
                f"the jvp rule of {self.name} must return a pair (out, tangent_out); it "
                f"returned {type(pair).__name__}."
            )
        out, out_tree = tree.flatten(pair[0])
        tangent, tangent_tree = tree.flatten(pair[1])
        self.keep(out_tree)
        if out_tree != tangent_tree:
            raise errors.CustomRuleError(
                f"the jvp rule of {self.name} must return results and tangents of one "
                f"structure; it returned {out_tree} and {tangent_tree}."
            )
        out = [as_array(o) for o in out]
        return out, [self._checked(t, o) for t, o in zip(tangent, out, strict=True)]

    def _given(self, tangent: Value, primal: Value) -> Any:
        """A tangent as the rule gets it: an array, of dtype float0 for an integer primal."""
        if type(tangent) is not Zero:
            return tangent
        if self.symbolic_zeros:
            return SymbolicZero(primal.type)
        return tangent_result(tangent, primal)

    def _checked(self, tangent: Any, out: Value) -> Any:
        if is_zero(tangent) or not dtypes.is_inexact(out.dtype):
            return Zero(out.type)
        tangent = as_array(tangent)
        fitting = accepted(tangent, out.type)
        if fitting is None:
            raise errors.CustomRuleError(
                f"the jvp rule of {self.name} returned a tangent of type {tangent.type} for a "
                f"result of type {out.type}; shape and dtype must agree."
            )
        return fitting
