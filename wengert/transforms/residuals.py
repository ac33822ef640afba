"""Residuals: a linearized program, cut into what runs forward and what runs backward.

`split` traces the linearization of a program together with the use of its linear map (the
pullback, or the pushforward). Equations that depend on cotangents or tangents are *linear*, all
others are *known*: they need the inputs only. `cut` decides which results of known equations
are saved, by a policy, and gives two programs: the forward one computes results and saved
values, the backward one computes again, from inputs and saved values, what its linear
equations need and nothing else.

That is partial evaluation of a derivative with respect to what is known when: Frostig, Johnson,
Maclaurin, Paszke and Radul, "Decomposing reverse-mode automatic differentiation" (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wengert.core.array import ArrayType, as_array
from wengert.core.interpreter import EagerInterpreter, Interpreter, Params, state
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Program, Variable
from wengert.core.tracing import ProgramTracer, TraceInterpreter
from wengert.passes.blocks import programs
from wengert.passes.dce import eliminate
from wengert.primitives import marks
from wengert.transforms.checkpoint_policies import Policy, decision
from wengert.transforms.custom import CustomCall

#: A result of a known equation: the number of the equation, and of the result.
Reference = tuple[int, int]


class SplitInterpreter(TraceInterpreter):
    """Records known and linear equations apart.

    Attributes:
      linear_equations: equations that depend on linear inputs.
      linear: the linear inputs, and all variables that depend on them.
      policy: of the function that is being split; calls inside it save what it would save, too.
      opened: the primitives whose programs are gone into where all operands are known.
    """

    __slots__ = ("linear", "linear_equations", "opened", "policy")
    name = "split"

    def __init__(
        self, parent: Interpreter, policy: Policy | None, opened: Sequence[Primitive]
    ) -> None:
        super().__init__(parent)
        self.linear_equations: list[Equation] = []
        self.linear: set[Variable] = set()
        self.policy = policy
        self.opened = opened

    def record(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        if primitive.inlines:
            return primitive.inline(args, params)
        known = not any(getattr(arg, "variable", None) in self.linear for arg in args)
        if known and primitive in self.opened:
            return params["program"].evaluate(*args)
        out = super().record(primitive, args, params)
        if not known:
            equation = self.equations.pop()
            self.linear_equations.append(equation)
            self.linear.update(equation.outputs)
        return out


def surrounding_policy() -> Policy | None:
    """The policy of the checkpointed function whose linearization is being traced, if any."""
    interpreter = state.interpreter
    while not isinstance(interpreter, EagerInterpreter):
        if isinstance(interpreter, SplitInterpreter):
            return interpreter.policy
        interpreter = interpreter.parent
    return None


class Split(NamedTuple):
    """A traced linearization, and one use of its linear map.

    Attributes:
      inputs: the primal inputs; captured constants come first.
      constants: the values of these constants.
      linear_inputs: the tangents or cotangents.
      known: known equations; the first `primal` are those of the linearization itself.
      equations: linear equations.
      outputs: the primal results.
      results: those of the linear map; None where they vanish.
    """

    inputs: tuple[Variable, ...]
    constants: tuple[Any, ...]
    linear_inputs: tuple[Variable, ...]
    known: tuple[Equation, ...]
    primal: int
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    results: tuple[Atom | None, ...]


def split(
    interpreter: SplitInterpreter,
    call: Callable[[list[Any]], tuple[list[Any], Callable[[list[Any]], list[Any]]]],
    types: Sequence[ArrayType],
    linear_types: Sequence[ArrayType],
) -> Split:
    """Trace `call(inputs)`, which gives results and a linear map, and then that map."""
    inputs = [Variable(t) for t in types]
    linear_inputs = [Variable(t) for t in linear_types]
    interpreter.linear.update(linear_inputs)
    tag = interpreter.tag
    try:
        with interpreter:
            out, use = call([ProgramTracer(tag, v) for v in inputs])
            outputs = [interpreter.atom(as_array(o)) for o in out]
            count = len(interpreter.equations)
            pulled = use([ProgramTracer(tag, v) for v in linear_inputs])
            results = [None if p is None else interpreter.atom(as_array(p)) for p in pulled]
    finally:
        tag.alive = False
    captured = interpreter.captured.values()
    return Split(
        (*[variable for variable, _, _ in captured], *inputs),
        tuple(constant for _, constant, _ in captured),
        tuple(linear_inputs),
        tuple(interpreter.equations),
        count,
        tuple(interpreter.linear_equations),
        tuple(outputs),
        tuple(results),
    )


class Cut(NamedTuple):
    """Two programs for a split, and what the second one takes from the first.

    Attributes:
      forward: inputs -> results and saved values; None where the program itself will do.
      backward: needed inputs, used saved values, linear inputs -> results that do not vanish.
      saved: which values the forward program saves.
      constants: values of the leading inputs of the split.
      needed: positions of the inputs that the backward program takes.
      used: positions of the saved values that it takes, counted from the first input.
      present: for each result of the linear map whether it is one of the backward program.
    """

    forward: Program | None
    backward: Program
    saved: tuple[Reference, ...]
    constants: tuple[Any, ...]
    needed: tuple[int, ...]
    used: tuple[int, ...]
    present: tuple[bool, ...]

    @property
    def operands(self) -> set[int]:
        """Positions of the operands, those after the constants, that the second one takes."""
        count = len(self.constants)
        return {i - count for i in self.needed if i >= count}


def variables(atoms: Sequence[Atom | None]) -> set[Variable]:
    """The variables among atoms."""
    return {a for a in atoms if isinstance(a, Variable)}


def live(
    equations: Sequence[Equation], roots: set[Variable], given: set[Variable]
) -> tuple[list[Equation], set[Variable]]:
    """The equations that `roots` need when `given` are known, and all variables they read."""
    needed = set(roots)
    kept = []
    for equation in reversed(equations):
        if any(o in needed and o not in given for o in equation.outputs):
            kept.append(equation)
            needed |= variables(equation.inputs)
    return kept[::-1], needed


class Names:
    """What the named values of a program are: `checkpoint_name` changes nothing in a value.

    Attributes:
      original: named variable -> the variable that it is a name for.
      naming: that variable -> the equations that name it.
    """

    __slots__ = ("naming", "original")

    def __init__(self, equations: Sequence[Equation]) -> None:
        self.original: dict[Variable, Variable] = {}
        self.naming: dict[Variable, list[Equation]] = {}
        for equation in equations:
            operand = equation.inputs[0] if equation.inputs else None
            if equation.primitive is marks.checkpoint_name and isinstance(operand, Variable):
                self.original[equation.outputs[0]] = self.of(operand)
                self.naming.setdefault(self.of(operand), []).append(equation)

    def of(self, variable: Variable) -> Variable:
        """The variable that a name stands for; any other as it is."""
        return self.original.get(variable, variable)

    def renamed(self, equation: Equation) -> Equation:
        """The same equation, reading what names stand for."""
        inputs = [
            self.original.get(a, a) if type(a) is Variable else a for a in equation.inputs
        ]
        return Equation(
            equation.primitive, inputs, equation.outputs, equation.params, equation.location
        )


def saveable(policy: Policy, equation: Equation, number: int) -> bool:
    """Whether a policy keeps a result of an equation; for control flow, of the one inside."""
    if decision(policy, equation.primitive, _types(equation), equation.params):
        return True
    return any(
        saveable(policy, inner, place)
        for program in _inner_programs(equation)
        for inner, place in _sources(program, program.outputs[number])
    )


def _sources(program: Program, atom: Atom) -> list[tuple[Equation, int]]:
    """The equation that gives an atom, with its place there; and those that name it."""
    return [
        (e, list(e.outputs).index(atom) if atom in e.outputs else 0)
        for e in program.equations
        if atom in e.outputs or (e.primitive is marks.checkpoint_name and atom in e.inputs)
    ]


def _types(equation: Equation) -> list[Any]:
    return [atom.type for atom in equation.inputs]


def _inner_programs(equation: Equation) -> list[Program]:
    """The programs among the parameters whose results are those of the equation."""
    count = len(equation.outputs)
    return [p for p in programs(equation.params) if len(p.outputs) == count]


def has_rules(program: Program) -> bool:
    """Whether there are custom rules in a program, or in one inside it."""
    return any(
        isinstance(e.primitive, CustomCall) or any(map(has_rules, programs(e.params)))
        for e in program.equations
    )


def keeps_any(policy: Policy, program: Program) -> bool:
    """Whether a policy keeps a result of a program, or of one inside it."""
    return any(
        decision(policy, e.primitive, _types(e), e.params)
        or any(keeps_any(policy, inner) for inner in programs(e.params))
        for e in program.equations
    )


def _chosen(policy: Policy, names: Names, equations: Sequence[Equation]) -> set[Variable]:
    """The variables that a policy keeps."""
    excluded: frozenset[str] = getattr(policy, "excluded", frozenset())
    chosen: set[Variable] = set()
    for equation in equations:
        if not variables(equation.inputs) or equation.primitive is marks.checkpoint_name:
            continue  # constants are cheaper to make than to keep
        if any(programs(equation.params)):
            # what a loop gives is worth keeping only if the loop need not run again
            if any(saveable(policy, equation, i) for i in range(len(equation.outputs))):
                chosen.update(equation.outputs)
            continue
        for number, variable in enumerate(equation.outputs):
            naming = names.naming.get(variable, ())
            if any(e.params["name"] in excluded for e in naming):
                continue
            named = any(saveable(policy, e, 0) for e in naming)
            if named or saveable(policy, equation, number):
                chosen.add(variable)
    return chosen


def cut(
    split: Split,
    policy: Policy | None,
    saved: Sequence[Reference] | None = None,
    forward: bool = False,
) -> Cut:
    """Cut a split into a forward and a backward program.

    Args:
      split: the linearization with one use of its linear map.
      policy: decides what is saved; without it, nothing is.
      saved: what has been saved, where a cut for another use has decided that.
      forward: give the forward program even where nothing is saved.
    """
    linear, roots = live(split.equations, variables(split.results), set())
    names = Names(split.known)
    linear = [names.renamed(e) for e in linear]
    roots = {names.of(v) for v in roots} - set(split.linear_inputs)
    references = {
        variable: (i, j)
        for i, equation in enumerate(split.known[: split.primal])
        for j, variable in enumerate(equation.outputs)
    }
    if saved is not None:
        given = {split.known[i].outputs[j] for i, j in saved}
    else:
        given = _chosen(policy, names, split.known[: split.primal]) if policy else set()
    again, needed = live([names.renamed(e) for e in split.known], roots, given)
    kept = [v for v in references if v in given and (saved is not None or v in needed)]
    return Cut(
        _forward(split, kept) if saved is None and (kept or forward) else None,
        _backward(split, names, [*again, *linear], needed, kept),
        tuple(references[v] for v in kept),
        split.constants,
        tuple(i for i, v in enumerate(split.inputs) if v in needed),
        tuple(len(split.inputs) + i for i, v in enumerate(kept) if v in needed),
        tuple(atom is not None for atom in split.results),
    )


def _forward(split: Split, kept: Sequence[Variable]) -> Program:
    """The program of the results and the saved values."""
    equations, _ = live(split.known, {*variables(split.outputs), *kept}, set())
    return eliminate(Program(split.inputs, (), (), equations, (*split.outputs, *kept)))


def _backward(
    split: Split,
    names: Names,
    equations: Sequence[Equation],
    needed: set[Variable],
    kept: Sequence[Variable],
) -> Program:
    """The program of the linear map, from inputs and saved values."""
    given = [v for v in (*split.inputs, *kept) if v in needed]
    taken = set(given)
    body = [_without(e, taken) for e in equations]
    outputs = [
        names.of(atom) if isinstance(atom, Variable) else atom
        for atom in split.results
        if atom is not None
    ]
    return eliminate(Program((*given, *split.linear_inputs), (), (), body, outputs))


def _without(equation: Equation, taken: set[Variable]) -> Equation:
    """The same equation, where it does not define variables that are inputs already."""
    if not taken.intersection(equation.outputs):
        return equation
    outputs = [Variable(o.type) if o in taken else o for o in equation.outputs]
    return Equation(
        equation.primitive, equation.inputs, outputs, equation.params, equation.location
    )


class Residual(NamedTuple):
    """A known value that the linear map of a split needs.

    Attributes:
      variable: it.
      position: among the inputs, or None.
      equation: that it is a result of, or None.
      names: that `checkpoint_name` gave it.
    """

    variable: Variable
    position: int | None
    equation: Equation | None
    names: tuple[str, ...]


def residuals_of(split: Split) -> list[Residual]:
    """The known values that the linear map needs, in the order of their computation."""
    linear, roots = live(split.equations, variables(split.results), set())
    del linear
    names = Names(split.known)
    known = [names.renamed(e) for e in split.known]
    first = known[: split.primal]
    defined = {v for e in first for v in e.outputs}
    _, needed = live(known[split.primal :], {names.of(v) for v in roots}, defined)
    found = [Residual(v, i, None, _names(names, v)) for i, v in enumerate(split.inputs)]
    found += [Residual(v, None, e, _names(names, v)) for e in first for v in e.outputs]
    return [r for r in found if r.variable in needed]


def _names(names: Names, variable: Variable) -> tuple[str, ...]:
    return tuple(e.params["name"] for e in names.naming.get(variable, ()))
