"""`checkpoint`: keep the inputs of a function instead of its residuals, and run it again.

A checkpointed call is one equation with its program. Where it is linearized, the program's
linearization is split (`residuals`): the forward pass computes results and what the policy
saves, the backward pass computes the rest again. Both are checkpointed calls themselves, so
that derivatives of derivatives keep as little. What is derived from a program is kept with it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from wengert import config
from wengert.core import dtypes, tree
from wengert.core.array import Array
from wengert.core.interpreter import Params, Tracer, escaped, quiet, state
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.program import Equation, Program, Variable
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.passes.blocks import with_params
from wengert.transforms.checkpoint_policies import Policy, save_from_both_policies
from wengert.transforms.jit import JitFunction
from wengert.transforms.jvp import jvp_flat
from wengert.transforms.linearize import Linearization
from wengert.transforms.residuals import (
    Cut,
    Reference,
    Split,
    SplitInterpreter,
    cut,
    has_rules,
    keeps_any,
    split,
    surrounding_policy,
)
from wengert.transforms.tape import Block
from wengert.transforms.vmap import batch_flat


class Checkpoint(Primitive):
    """A call of a program whose linearization is made anew in the backward pass.

    Its parameters are the program, the policy (None: nothing is saved), and `prevent_cse`:
    whether passes keep the second run apart from the first.
    """

    multiple_results = True
    inlines_tangents = True

    @staticmethod
    def compute(*values: Any, program: Program, **_: Any) -> list[Any]:
        return run_program(program, values)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        program: Program = params["program"]
        for arg in args:
            if isinstance(arg, Tracer):
                raise escaped(arg)
        if config.debug_nans.value:
            return program.evaluate(*args)  # equation by equation, each one checked
        out = quiet().run(run_program, program, [getattr(a, "_value", a) for a in args])
        return [Array(o, t.weak_type) for o, t in zip(out, program.out_types, strict=True)]

    def inline(self, args: Sequence[Value], params: Params) -> Any:
        return params["program"].evaluate(*args)

    def type_rule(self, *types: Any, program: Program, **_: Any) -> Any:
        return program.out_types

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        followed = tuple(i for i, t in enumerate(tangents) if type(t) is not Zero)
        pushed = _pushed(params["program"], followed)
        operands = [*pushed.constants, *primals, *[tangents[i] for i in followed]]
        results = self(*operands, **{**params, "program": pushed.program})
        out = results[: len(pushed.present)]
        given = iter(results[len(out) :])
        return out, [
            next(given) if present else Zero(o.type)
            for o, present in zip(out, pushed.present, strict=True)
        ]

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        primals = interpreter.primals(args)
        followed = tuple(
            i for i, (a, p) in enumerate(zip(args, primals, strict=True)) if a is not p
        )
        residuals = Residuals.of(_with_surrounding(params), followed)
        out, kept = residuals.run_forward(interpreter.parent, primals)
        terms = [(i, args[i].index) for i in followed]
        return interpreter.block(checkpoint_block, out, terms, (residuals, kept))

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        batched = _batched(params["program"], interpreter, [v.type for v in values], dims)
        operands = [*batched.constants, *values]
        out = interpreter.parent.apply(self, operands, {**params, "program": batched.program})
        return [interpreter.tracer(o, d) for o, d in zip(out, batched.present, strict=True)]


checkpoint_call = Checkpoint()


# -- programs derived from a program -----------------------------------------------------------


class Derived(NamedTuple):
    """A program made from another, for values of `constants` and then its operands.

    Attributes:
      constants: values for its leading inputs.
      present: what is known of each of its results.
    """

    program: Program
    constants: tuple[Any, ...]
    present: tuple[Any, ...]


def _kept(program: Program, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` derives from a program: made once, if it holds no traced value."""
    key = (key, state.interpreter.axis_environment())
    known = program.derived.get(key)
    if known is None:
        known = make()
        if not any(isinstance(c, Tracer) for c in known.constants):
            program.derived[key] = known
    return known


def _runner(program: Program) -> Callable[[list[Any]], list[Any]]:
    return lambda leaves: program.evaluate(*leaves)


def _pushed(program: Program, followed: tuple[int, ...]) -> Derived:
    """The program of results and tangents; `present` says which results have a tangent."""

    def make() -> Derived:
        types = program.in_types
        present: list[bool] = []

        def call(leaves: list[Any]) -> list[Any]:
            tangents: list[Any] = [Zero(t) for t in types]
            for i, tangent in zip(followed, leaves[len(types) :], strict=True):
                tangents[i] = tangent
            out, out_tangents, _ = jvp_flat(_runner(program), leaves[: len(types)], tangents)
            present[:] = [type(t) is not Zero for t in out_tangents]
            return [*out, *(t for t in out_tangents if type(t) is not Zero)]

        traced = trace(call, [*types, *[types[i] for i in followed]])
        return Derived(traced.closed(), traced.constant_values, tuple(present))

    return _kept(program, ("jvp", followed), make)


def _batched(program: Program, interpreter: Any, types: Sequence[Any], dims: Any) -> Derived:
    """The program for a batch; `present` are the batch dimensions of its results."""

    def make() -> Derived:
        out_dims: list[int | None] = []

        def call(leaves: list[Any]) -> list[Any]:
            out, out_dims[:] = batch_flat(
                _runner(program),
                interpreter.size,
                leaves,
                dims,
                interpreter.axis_name,
                interpreter.tag,
            )
            return out

        traced = trace(call, types)
        return Derived(traced.closed(), traced.constant_values, tuple(out_dims))

    return _kept(program, ("vmap", interpreter.size, interpreter.axis_name, tuple(dims)), make)


# -- linearization -----------------------------------------------------------------------------


def _with_surrounding(params: Params) -> Params:
    """The parameters of a call; inside another it saves what that one would save, too."""
    own, outer = params["policy"], surrounding_policy()
    if outer is None or outer is own:
        return params
    return {**params, "policy": save_from_both_policies(own, outer) if own else outer}


class Use(NamedTuple):
    """One use of the linear map of a call.

    Attributes:
      forwards: tangents are pushed; otherwise cotangents are pulled.
      active: positions of the tangents or cotangents that do not vanish.
      masked: whether cotangents passed a selection.
    """

    forwards: bool
    active: tuple[int, ...]
    masked: bool = False


class Residuals:
    """How a call is run forward and backward, for given followed operands.

    Attributes:
      params: of the call.
      followed: positions of the operands that derivatives are taken of.
      pull: the cut for cotangents of all results; it decides what is saved.
      needed: positions of the operands that any use needs.
    """

    __slots__ = ("constants", "followed", "needed", "params", "pull")

    def __init__(self, params: Params, followed: tuple[int, ...]) -> None:
        self.params = params
        self.followed = followed
        types = params["program"].out_types
        inexact = tuple(i for i, t in enumerate(types) if dtypes.is_inexact(t.dtype))
        self.pull = self.cut(Use(False, inexact), None)
        self.constants = self.pull.constants
        count = len(params["program"].inputs)
        self.needed = self.pull.operands
        if len(self.needed) < count:  # a pushforward may need what no pullback does
            self.needed |= self.cut(Use(True, followed), self.pull.saved).operands

    @classmethod
    def of(cls, params: Params, followed: tuple[int, ...]) -> Residuals:
        """Those of a call, found again if they have been made before."""
        key = ("residuals", followed, params["policy"], params["prevent_cse"])
        return _kept(params["program"], key, lambda: cls(params, followed))

    def run_forward(
        self, parent: Any, primals: Sequence[Value]
    ) -> tuple[list[Value], list[Any]]:
        """The results; and what is kept for uses of the linear map: operands, saved values."""
        operands = [p if i in self.needed else None for i, p in enumerate(primals)]
        if self.pull.forward is None:
            return parent.apply(checkpoint_call, primals, self.params), operands
        params = {**self.params, "program": self.pull.forward}
        out = parent.apply(checkpoint_call, [*self.constants, *primals], params)
        count = len(self.params["program"].outputs)
        return out[:count], [*operands, *out[count:]]

    def run(self, use: Use, kept: Sequence[Any], linear: Sequence[Value]) -> list[Value | None]:
        """The linear map; None where its results vanish."""
        parts = self.cut(use, self.pull.saved)
        operands = [*parts.constants, *kept]
        taken = [operands[i] for i in (*parts.needed, *parts.used)]
        params = {**self.params, "program": parts.backward}
        results = iter(checkpoint_call(*taken, *linear, **params))
        return [next(results) if present else None for present in parts.present]

    def cut(self, use: Use, saved: Sequence[Reference] | None) -> Cut:
        """The cut for one use; the first one decides what is saved."""
        program, policy = self.params["program"], self.params["policy"]

        def make() -> Cut:
            parts = split_program(program, self.followed, use, policy)
            # derivatives of results are those of what forward rules do, as without checkpoint
            return cut(parts, policy, saved, has_rules(program))

        return _kept(program, (use, self.followed, policy), make)


def split_program(
    program: Program, followed: tuple[int, ...], use: Use, policy: Policy | None
) -> Split:
    """A program's linearization, with one use of its linear map."""

    types, out_types = program.in_types, program.out_types
    program = program if policy is None else reaching(program, policy)

    def call(leaves: list[Any]) -> Any:
        def run(given: list[Any]) -> list[Any]:
            values = list(leaves)
            for i, value in zip(followed, given, strict=True):
                values[i] = value
            return program.evaluate(*values)

        linearized = Linearization(run, [leaves[i] for i in followed])

        def push(tangents: list[Any]) -> list[Any]:
            active = dict(zip(use.active, tangents, strict=True))
            pushed = linearized.push([active.get(i, Zero(types[i])) for i in followed])
            return [None if type(t) is Zero else t for t in pushed]

        def pull(cotangents: list[Any]) -> list[Any]:
            active = dict(zip(use.active, cotangents, strict=True))
            given = [active.get(i, Zero(t)) for i, t in enumerate(out_types)]
            return linearized.pull(given, True, use.masked)

        return linearized.primals, push if use.forwards else pull

    linear = types if use.forwards else out_types
    interpreter = SplitInterpreter(state.interpreter, policy, (checkpoint_call,))
    return split(interpreter, call, types, [linear[i] for i in use.active])


def reaching(program: Program, policy: Policy) -> Program:
    """The program, in which loops and conditionals keep for each run what the policy keeps.

    Their blocks become checkpointed calls, where the policy has anything to keep in them.
    """
    equations = []
    for equation in program.equations:
        params = equation.params
        if equation.primitive is not checkpoint_call:
            params = {key: _reached(equation, v, policy) for key, v in params.items()}
        equations.append(with_params(equation, params))
    return program.rebuilt(equations, program.outputs)


def _reached(equation: Equation, value: Any, policy: Policy) -> Any:
    """A parameter of an equation, as `reaching` makes it."""
    if type(value) is tuple and any(type(item) is Program for item in value):
        return tuple(_reached(equation, item, policy) for item in value)
    if type(value) is not Program or not keeps_any(policy, value):
        return value
    if equation.primitive.inlines:
        return reaching(value, policy)
    inputs = [Variable(t) for t in value.in_types]
    outputs = [Variable(t) for t in value.out_types]
    params = {"program": value, "policy": policy, "prevent_cse": False}
    block = Equation(checkpoint_call, inputs, outputs, params, equation.location)
    return Program(inputs, (), (), [block], outputs)


class CheckpointBlock(Block):
    """The linear map of a checkpointed call, found again at each use."""

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        residuals, kept = extra
        given = [tangents[index] for _, index in terms]
        types = residuals.params["program"].out_types
        active = [i for i, t in enumerate(given) if type(t) is not Zero]
        positions = tuple(terms[i][0] for i in active)
        pushed = residuals.run(Use(True, positions), kept, [given[i] for i in active])
        return [Zero(t) if p is None else p for p, t in zip(pushed, types, strict=True)]

    def pull_block(
        self, terms: Any, extra: Any, cotangents: Sequence[Value], masked: bool
    ) -> list[Value]:
        residuals, kept = extra
        active = tuple(i for i, c in enumerate(cotangents) if type(c) is not Zero)
        given = [cotangents[i] for i in active]
        pulled = residuals.run(Use(False, active, masked), kept, given)
        types = residuals.params["program"].in_types
        return [
            Zero(types[position]) if value is None else value
            for (position, _), value in zip(terms, pulled, strict=True)
        ]


checkpoint_block = CheckpointBlock()


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Iterable[str] = (),
) -> Any:
    """`fun`, whose residuals are not kept: the backward pass runs it again.

    Args:
      fun: a function of arrays, or trees of arrays; it is traced, so Python control flow cannot
        depend on values. Without it, `checkpoint(policy=...)` is a decorator.
      prevent_cse: under `jit`, keep the second run apart from the first, so that no pass undoes
        the checkpoint. It is not needed, and costs a little, in the body of a `scan`.
      policy: which values are kept after all, a function of `checkpoint_policies` or one like
        these. Results do not depend on it.
      static_argnums: positions of arguments that are compile-time constants.
      static_argnames: the same by name.

    Returns:
      a function with the same results and derivatives, and less memory in between.

    Raises:
      TypeError: when the policy is not a function, or does not answer with True or False.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.grad(wengert.checkpoint(lambda x: wnp.sin(wnp.sin(x))))(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    if policy is not None and not callable(policy):
        raise TypeError(f"policy must be a function, got {policy!r}.")
    if fun is None:
        return functools.partial(
            checkpoint,
            prevent_cse=prevent_cse,
            policy=policy,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
        )
    traceable = JitFunction(fun, static_argnums, static_argnames)
    if policy is not None and not isinstance(policy, Hashable):
        policy = functools.partial(policy)  # which is compared by identity

    @functools.wraps(fun, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        traced, values = traceable.specialize(args, kwargs)
        captured = traced.program.constant_values
        program = traced.program.closed() if captured else traced.program
        out = checkpoint_call(
            *traced.constants,
            *captured,
            *values,
            program=program,
            policy=policy,
            prevent_cse=prevent_cse,
        )
        return tree.unflatten(traced.out_tree, out)

    return checkpointed
