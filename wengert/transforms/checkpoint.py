"""`checkpoint`: keep the inputs of a function instead of its residuals, and run it again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert.core import tree
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Value, Zero
from wengert.core.program import Program
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.transforms.custom import run_batched
from wengert.transforms.jit import JitFunction
from wengert.transforms.jvp import jvp_flat
from wengert.transforms.linearize import Linearization
from wengert.transforms.tape import Block


class Checkpoint(Primitive):
    """A call of a program whose linearization is made anew in the backward pass."""

    multiple_results = True
    inlines_tangents = True

    @staticmethod
    def compute(*values: Any, program: Program) -> list[Any]:
        return run_program(program, values)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        return params["program"].evaluate(*args)

    inline = evaluate

    def type_rule(self, *types: Any, program: Program) -> Any:
        return program.out_types

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        out, out_tangents, _ = jvp_flat(_runner(params["program"]), primals, tangents)
        return out, out_tangents

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        primals = interpreter.primals(args)
        out = interpreter.parent.apply(self, primals, params)
        terms = [
            (i, arg.index)
            for i, (arg, primal) in enumerate(zip(args, primals, strict=True))
            if arg is not primal
        ]
        return interpreter.block(checkpoint_block, out, terms, (params["program"], primals))

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        run = _runner(params["program"])
        program = trace(
            lambda leaves: run_batched(interpreter, lambda a: [run(a)], [leaves], [dims])[0],
            [v.type for v in values],
        )
        operands = [*program.constant_values, *values]
        out = interpreter.parent.apply(self, operands, {"program": program.closed()})
        return [interpreter.tracer(o, 0) for o in out]


checkpoint_call = Checkpoint()


def _runner(program: Program) -> Callable[[list[Any]], list[Any]]:
    return lambda leaves: program.evaluate(*leaves)


class CheckpointBlock(Block):
    """The linear map of a checkpointed call, found again at each use."""

    def push_block(self, terms: Any, extra: Any, tangents: Sequence[Value]) -> list[Value]:
        program, primals = extra
        given: list[Any] = [Zero(p.type) for p in primals]
        for position, index in terms:
            given[position] = tangents[index]
        return jvp_flat(_runner(program), primals, given)[1]

    def pull_block(
        self, terms: Any, extra: Any, cotangents: Sequence[Value], masked: bool
    ) -> list[Value]:
        program, primals = extra
        pulled = Linearization(_runner(program), primals).pull(cotangents, True, masked)
        return [
            Zero(primals[position].type) if pulled[position] is None else pulled[position]
            for position, _ in terms
        ]


checkpoint_block = CheckpointBlock()


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | Sequence[int] = (),
) -> Any:
    """`fun`, whose residuals are not kept: the backward pass runs it again.

    Args:
      fun: a function of arrays, or trees of arrays; it is traced, so Python control flow cannot
        depend on values. Without it, `checkpoint(static_argnums=...)` is a decorator.
      prevent_cse: accepted; nothing here undoes a checkpoint.
      policy: accepted; all residuals are computed again, whichever it would keep. Results do
        not depend on it.
      static_argnums: positions of arguments that are compile-time constants.

    Returns:
      a function with the same results and derivatives, and less memory in between.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.grad(wengert.checkpoint(lambda x: wnp.sin(wnp.sin(x))))(0.0)
    Array(1., dtype=float32, weak_type=True)
    """
    del prevent_cse, policy
    if fun is None:
        return functools.partial(checkpoint, static_argnums=static_argnums)
    traceable = JitFunction(fun, static_argnums, None)

    @functools.wraps(fun, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        traced, values = traceable.specialize(args, kwargs)
        captured = traced.program.constant_values
        program = traced.program.closed() if captured else traced.program
        out = checkpoint_call(*traced.constants, *captured, *values, program=program)
        return tree.unflatten(traced.out_tree, out)

    return checkpointed
