"""Programs in machine code as functions of NumPy values.

A `NativeProgram` is itself a native callable: for dense values of the program's types its calls
do not run Python. It also says how a jitted function of the same program can be answered
without Python, `specialisation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core import tree
from wengert.core.gate import gate
from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.engines.native.runtime.callable import NativeCallable

if TYPE_CHECKING:
    from wengert.engines.native import compile as native
    from wengert.engines.native import cost, kernels, machine
    from wengert.engines.native.runtime import callable_encode
    from wengert.passes import pipeline
else:  # importing the package does not import the compiler
    native = lazy_module("wengert.engines.native.compile")
    cost = lazy_module("wengert.engines.native.cost")
    kernels = lazy_module("wengert.engines.native.kernels")
    machine = lazy_module("wengert.engines.native.machine")
    pipeline = lazy_module("wengert.passes.pipeline")
    callable_encode = lazy_module("wengert.engines.native.runtime.callable_encode")


class NativeProgram(NativeCallable, native=True):
    """A program in machine code: called with NumPy values, it returns a tuple of such.

    Args:
      program: what to compile.
      donated: numbers of inputs in whose memory `run` may compute results.

    Attributes:
      compiled: the machine code with its constants.
      in_types: types of the inputs; a flag follows if any of them are overwritten.
      overwrites: the inputs whose memory becomes that of results.
    """

    def __init__(self, program: Program, donated: Sequence[int] = ()) -> None:
        self.compiled = native.compile_program(program, donated=donated)
        self.in_types = self.compiled.in_types
        self.overwrites = tuple(i for i, _ in self.compiled.in_place)
        inputs: tuple[Any, ...] = (None,) * len(self.in_types)
        in_tree = tree.structure(((0,) * len(inputs), {}))
        out_tree = tree.structure((0,) * len(program.outputs))
        self.add_specialisation(self.specialisation(inputs, {}, in_tree, out_tree, raw=True))

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        dense = [
            v if isinstance(v, np.generic) else native.dense(v, t)
            for v, t in zip(values, self.in_types, strict=True)
        ]
        if not gate.closed and any(x is not y for x, y in zip(values, dense, strict=True)):
            return self(*dense)
        return tuple(self.compiled(dense))

    def run(self, values: Sequence[Any]) -> Sequence[Any]:
        """The results for flat NumPy values."""
        return self(*values)

    def specialisation(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        in_tree: tree.TreeDef,
        out_tree: tree.TreeDef,
        static: frozenset[int | str] = frozenset(),
        raw: bool = False,
        donated: Mapping[int, Any] | None = None,
    ) -> callable_encode.Specialisation:
        """How calls with arguments like these are answered by this program.

        Args:
          args, kwargs: the arguments.
          in_tree: their structure, without static ones.
          out_tree: that of the result.
          static: positions and names of static arguments.
          raw: whether arguments and results are NumPy values.
          donated: what arrays hold from then on that are donated, by the input's number.
        """
        compiled = self.compiled
        return callable_encode.Specialisation(
            entry=compiled.entry,
            arguments=(args, kwargs),
            in_tree=in_tree,
            in_types=self.in_types if raw else compiled.program.in_types,
            out_types=compiled.program.out_types,
            out_tree=out_tree,
            static=static,
            constants=[c.ctypes.data for c in compiled.constants],
            arena_bytes=compiled.arena_bytes,
            long=compiled.long,
            raw=raw,
            failure=compiled.failure,
            keep=compiled,
            cell=compiled.cell_address,
            donated=donated or {},
            in_place=compiled.in_place,
        )


def cost_analysis(program: Program, donated: Sequence[int] = ()) -> dict[str, int]:
    """What a run of a program costs, from its shapes and from what is fused.

    Returns:
      `flops` (an addition or a fused function counts one; a `while` body once),
      `bytes accessed` (each array once per kernel), `kernels` (and library calls, those in
      loops as often as they run) and `peak bytes` (arguments, results and scratch memory;
      results in the memory of donated arguments count once).
    """
    program = pipeline.optimise(program)
    block = kernels.group(program)
    total = cost.cost_of_block(block)
    _, context, pairs = native.write_in_place(block, machine.Target.host(), donated)
    twice = sum(program.in_types[i].nbytes for i, _ in pairs)
    peak = cost.boundary_bytes(program) + context.arena_bytes - twice
    return {
        "flops": total.flops,
        "bytes accessed": total.bytes,
        "kernels": total.steps,
        "peak bytes": peak,
    }
