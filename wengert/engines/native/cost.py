"""What a compiled program costs: operations, memory traffic, steps and memory.

The figures follow from shapes and from what is fused, not from a run. Floating-point operations
count an addition as one, a fused function such as `exp` as one; bytes are those that steps read
from and write to memory, each array once per step. The body of a `while` counts once, because
nobody knows how often it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wengert.core import dtypes
from wengert.core.program import Equation, Program, Variable
from wengert.engines.native.blocks import expanded, reads
from wengert.engines.native.expressions import Apply
from wengert.engines.native.kernels import group
from wengert.engines.native.nests import reachable
from wengert.engines.native.steps import Block, LoopKernel, OpaqueStep, Step


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of a step or of a program.

    Attributes:
      flops: floating-point operations.
      bytes: read from and written to memory.
      steps: kernels and library calls that run, those inside loops as often as they run.
    """

    flops: int = 0
    bytes: int = 0
    steps: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops, self.bytes + other.bytes, self.steps + other.steps
        )

    def times(self, count: int) -> Cost:
        """The cost of so many runs."""
        return Cost(self.flops * count, self.bytes * count, self.steps * count)


def traffic(block: Block, step: Step) -> int:
    """Bytes that a step reads and writes."""
    touched = {*reads(block, step), *step.outputs}
    return sum(v.type.nbytes for v in touched)


def _kernel(block: Block, kernel: LoopKernel) -> Cost:
    expansion = expanded(block)[kernel]
    nodes = reachable(expansion.heads)
    per_point = sum(isinstance(n, Apply) and dtypes.is_floating(n.dtype) for n in nodes)
    per_point += len(kernel.reductions)
    return Cost(per_point * math.prod(kernel.domain), traffic(block, kernel), 1)


def _dot(equation: Equation) -> int:
    (contracting, _), _ = equation.params["dimension_numbers"]
    shape = equation.inputs[0].type.shape
    return 2 * equation.outputs[0].type.size * math.prod(shape[d] for d in contracting)


def _convolution(equation: Equation) -> int:
    kernel, out = equation.inputs[1].type, equation.outputs[0].type
    numbers = equation.params["dimension_numbers"]
    channels = kernel.shape[numbers.rhs_spec[0]]
    return 2 * out.size * kernel.size // max(channels, 1)


def _cubic(numerator: int, denominator: int) -> Callable[[Equation], int]:
    def flops(equation: Equation) -> int:
        *batch, _, n = equation.inputs[0].type.shape
        return int(math.prod(batch)) * int(n) ** 3 * numerator // denominator

    return flops


#: Operations of library steps by the name of the primitive; others count their results.
_FLOPS: dict[str, Callable[[Equation], int]] = {
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "cholesky": _cubic(1, 3),
    "lu": _cubic(2, 3),
    "qr": _cubic(4, 3),
    "solve": _cubic(2, 3),
    "inv": _cubic(2, 1),
    "eigh": _cubic(9, 1),
    "svd": _cubic(12, 1),
}


def _opaque(block: Block, step: OpaqueStep) -> Cost:
    equation, params = step.equation, step.equation.params
    name = equation.primitive.name if equation.primitive.own else ""
    if name == "scan":
        return cost_of_block(group(params["body"])).times(params["length"])
    if name == "while":
        return cost_of_block(group(params["cond"])) + cost_of_block(group(params["body"]))
    if name == "sweeps":
        return sum((cost_of_block(group(p)) for p in params["phases"]), Cost())
    if name == "cond":
        costs = [cost_of_block(group(branch)) for branch in params["branches"]]
        return max(costs, key=lambda cost: (cost.flops, cost.bytes))
    try:
        flops = _FLOPS[name](equation)
    except (KeyError, ValueError):
        flops = sum(v.type.size for v in equation.outputs)
    return Cost(flops, traffic(block, step), 1)


def cost_of_step(block: Block, step: Step) -> Cost:
    """The cost of a step."""
    if isinstance(step, LoopKernel):
        return _kernel(block, step)
    return _opaque(block, step)


def cost_of_block(block: Block) -> Cost:
    """The cost of all steps of a block."""
    return sum((cost_of_step(block, step) for step in block.steps), Cost())


def boundary_bytes(program: Program) -> int:
    """Bytes of the inputs and the results of a program."""
    variables: Sequence[Variable] = (*program.constants, *program.inputs)
    return sum(v.type.nbytes for v in variables) + sum(t.nbytes for t in program.out_types)
