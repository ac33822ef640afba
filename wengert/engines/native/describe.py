"""A compiled program as text: its steps, what each reads, computes and stores."""

from __future__ import annotations

from collections.abc import Iterator

from wengert.core.program import Atom, Program, Variable
from wengert.core.source import Location
from wengert.engines.native.blocks import expanded, reads
from wengert.engines.native.cost import cost_of_step
from wengert.engines.native.expressions import Apply
from wengert.engines.native.kernels import group
from wengert.engines.native.machine import Target
from wengert.engines.native.nests import Nest, plan, reachable
from wengert.engines.native.steps import Block, LoopKernel, OpaqueStep, Step


def _number(amount: float) -> str:
    """A number with a unit of thousands: `1.2M`."""
    for unit in ("", "k", "M", "G", "T"):
        if amount < 1000 or unit == "T":
            return f"{amount:.3g}{unit}"
        amount /= 1000
    return ""


def title_of(step: Step) -> str:
    """A step in a few words."""
    if isinstance(step, LoopKernel):
        domain = "×".join(map(str, step.domain)) or "scalar"
        kind = "reduce" if step.reductions else "map"
        return f"{kind} {domain}"
    name = step.equation.primitive.name
    return name if step.kind != "callback" else f"{name} (eager engine)"


def source_of(block: Block, step: Step) -> Location | None:
    """The user's line that a step comes from: the last of the lines that it fuses."""
    if isinstance(step, OpaqueStep):
        return step.equation.location
    equations = [block.producers[v] for v in step.stores] + step.reductions
    return equations[-1].location if equations else None


class _Names:
    """Short names for variables, in order of appearance."""

    def __init__(self) -> None:
        self._names: dict[Variable, str] = {}

    def of(self, atom: Atom) -> str:
        """The name of a variable with its type, or the text of a literal."""
        if not isinstance(atom, Variable):
            return str(atom.value)
        name = self._names.setdefault(atom, f"v{len(self._names)}")
        return f"{name}: {atom.type}"


def _axes(nest: Nest, target: Target) -> str:
    parts = [f"loop {axis.size}" for axis in nest.outer]
    if nest.vector is not None:
        parts.append(f"vectors of {nest.lanes} along {nest.vector.size}")
    parts += [f"unrolled {axis.size}" for axis in nest.inner]
    return ", ".join(parts) or "straight-line"


def _kernel_lines(block: Block, step: LoopKernel, names: _Names) -> Iterator[str]:
    expansion = expanded(block)[step]
    nodes = reachable(expansion.heads)
    operations = [n.name for n in nodes if isinstance(n, Apply)]
    target = Target.host()
    yield f"  {_axes(plan(expansion, target.vector_bytes), target)}"
    given = sorted(names.of(v) for v in reads(block, step))
    yield f"  read {', '.join(given) or 'nothing'}"
    yield f"  do {' '.join(operations) or 'copy'}"
    for variable in step.stores:
        yield f"  store {names.of(variable)}"
    for equation in step.reductions:
        axes = equation.params["axes"]
        yield f"  {equation.primitive.name} over {axes} into {names.of(equation.outputs[0])}"


def _opaque_lines(step: OpaqueStep, names: _Names) -> Iterator[str]:
    equation = step.equation
    yield f"  read {', '.join(names.of(a) for a in equation.inputs) or 'nothing'}"
    yield f"  store {', '.join(names.of(v) for v in equation.outputs)}"
    for key, value in equation.params.items():
        programs = value if isinstance(value, tuple) else (value,)
        for program in programs:
            if isinstance(program, Program):
                yield f"  {key}:"
                yield from (f"    {line}" for line in steps_of(group(program)))


def steps_of(block: Block) -> Iterator[str]:
    """The lines that describe a block."""
    names = _Names()
    for number, step in enumerate(block.steps):
        cost = cost_of_step(block, step)
        kind = "kernel" if isinstance(step, LoopKernel) else step.kind
        figures = f"{_number(cost.flops)} flops, {_number(cost.bytes)}B"
        yield f"{number}: {kind} {title_of(step)}  ({figures})"
        if isinstance(step, LoopKernel):
            yield from _kernel_lines(block, step, names)
        else:
            yield from _opaque_lines(step, names)
