"""Control flow taken apart: which operand, variable and result belong together.

A `cond`, a loop and its blocks refer to the same values by position. Passes that move, merge or
drop values would have to keep many positions in step; here each value is one record. A pass
takes an equation apart (`take_apart`), edits the records, and puts the equation together again
(`equation`). Blocks are closed: what they use of outside are operands.

The layouts, with `*` before lists:

- `cond`: operands `index, *values`; each of `branches` takes `*values`;
- `scan`: operands `*consts, *carry, *xs`; `body` maps `*consts, *carry, *slices of xs` to
  `*carry, *slices of ys`; `consts` and `carry` say how many;
- `while`: operands `*cond_consts, *consts, *carry`; `cond` takes the first and the carry,
  `body` the second and the carry; `cond_count` and `body_count` say how many;
- `sweeps`: the same with several `phases` instead of one body, each with `states[k]` carries;
  a phase takes `*consts`, the records of all earlier phases, and its carries, and gives these
  and its own records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

from wengert.core.interpreter import Params
from wengert.core.program import Atom, Equation, Program, Variable

#: What stands for a variable that was replaced.
Replaced = dict[Any, Atom]


class Block:
    """The inside of a program.

    Attributes:
      equations: its equations.
      replaced: atoms that stand for its variables when it is put together.
    """

    def __init__(self, program: Program) -> None:
        self.equations = list(program.equations)
        self.replaced: Replaced = {}

    def program(self, inputs: Iterable[Variable], outputs: Iterable[Atom]) -> Program:
        """The block as a program."""
        put = self.replaced
        equations = replace_inputs(self.equations, put)
        return Program([*inputs], (), (), equations, [put.get(a, a) for a in outputs])


def replace_inputs(equations: Sequence[Equation], replaced: Replaced) -> list[Equation]:
    """Equations with atoms instead of some variables."""
    if not replaced:
        return list(equations)
    keys = replaced.keys()
    return [
        e
        if keys.isdisjoint(e.inputs)
        else with_inputs(e, [replaced.get(a, a) for a in e.inputs])
        for e in equations
    ]


def with_inputs(equation: Equation, inputs: Sequence[Atom]) -> Equation:
    """The same equation with other operands."""
    return Equation(
        equation.primitive, inputs, equation.outputs, equation.params, equation.location
    )


class Value:
    """A value of outside that blocks use: its atom there, its variable in each block."""

    __slots__ = ("operand", "variables")

    def __init__(self, operand: Atom, *variables: Variable) -> None:
        self.operand = operand
        self.variables = variables


class Carry:
    """What a loop hands from one iteration to the next.

    Attributes:
      initial: the operand it starts with.
      variable: what the body calls it.
      tested: what the condition of a `while` calls it.
      final: what the body computes for the next iteration.
      result: the variable of the equation for its last value.
    """

    __slots__ = ("final", "initial", "result", "tested", "variable")

    def __init__(
        self,
        initial: Atom,
        variable: Variable,
        final: Atom,
        result: Variable,
        tested: Variable | None = None,
    ) -> None:
        self.initial = initial
        self.variable = variable
        self.final = final
        self.result = result
        self.tested = tested


class Result:
    """A result: what each block computes for it, and the equation's variable."""

    __slots__ = ("atoms", "variable")

    def __init__(self, variable: Variable, *atoms: Atom) -> None:
        self.variable = variable
        self.atoms = atoms


class Record:
    """What a phase of a loop leaves for later phases, and what these call it."""

    __slots__ = ("atom", "variables")

    def __init__(self, atom: Atom) -> None:
        self.atom = atom
        self.variables: list[Variable] = []


class Parts:
    """Control flow taken apart; `source` is the equation it was."""

    def __init__(self, equation: Equation) -> None:
        self.source = equation

    def equation(self) -> Equation:
        """The records as an equation."""
        raise NotImplementedError(type(self).__name__)

    def rebuilt(
        self, operands: Iterable[Atom], results: Iterable[Variable], params: Params
    ) -> Equation:
        """The equation with other operands, results and some other parameters."""
        source = self.source
        return Equation(
            source.primitive,
            [*operands],
            [*results],
            {**source.params, **params},
            source.location,
        )


class Scan(Parts):
    """A `scan` taken apart."""

    def __init__(self, equation: Equation) -> None:
        super().__init__(equation)
        params = equation.params
        body: Program = params["body"]
        self.body = Block(body)
        self.length: int = params["length"]
        operands, variables = iter(equation.inputs), iter(body.inputs)
        finals, results = iter(body.outputs), iter(equation.outputs)
        self.consts = [Value(next(operands), next(variables)) for _ in range(params["consts"])]
        self.carries = [
            Carry(next(operands), next(variables), next(finals), next(results))
            for _ in range(params["carry"])
        ]
        self.xs = [Value(o, v) for o, v in zip(operands, variables, strict=True)]
        self.ys = [Result(v, atom) for v, atom in zip(results, finals, strict=True)]

    def equation(self) -> Equation:
        variables = [
            *(v.variables[0] for v in self.consts),
            *(c.variable for c in self.carries),
            *(v.variables[0] for v in self.xs),
        ]
        finals = [*(c.final for c in self.carries), *(y.atoms[0] for y in self.ys)]
        return self.rebuilt(
            [
                *(v.operand for v in self.consts),
                *(c.initial for c in self.carries),
                *(v.operand for v in self.xs),
            ],
            [*(c.result for c in self.carries), *(y.variable for y in self.ys)],
            {
                "body": self.body.program(variables, finals),
                "consts": len(self.consts),
                "carry": len(self.carries),
            },
        )


class Phase(Block):
    """The body of a `while`, or one phase of `sweeps`."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.carries: list[Carry] = []
        self.records: list[Record] = []


class Loop(Parts):
    """A `while` or `sweeps` taken apart; constants have a variable in each phase."""

    def __init__(self, equation: Equation) -> None:
        super().__init__(equation)
        params = equation.params
        self.is_while = "body" in params
        programs: Sequence[Program] = (params["body"],) if self.is_while else params["phases"]
        cond: Program = params["cond"]
        count = params["body_count" if self.is_while else "consts"]
        states = (len(equation.outputs),) if self.is_while else params["states"]
        self.test = Block(cond)
        self.predicate: Atom = cond.outputs[0]
        operands, results = iter(equation.inputs), iter(equation.outputs)
        tested = iter(cond.inputs)
        self.cond_consts = [
            Value(next(operands), next(tested)) for _ in range(params["cond_count"])
        ]
        self.consts = [
            Value(next(operands), *(p.inputs[i] for p in programs)) for i in range(count)
        ]
        self.phases: list[Phase] = []
        for program, carried in zip(programs, states, strict=True):
            phase = Phase(program)
            variables = iter(program.inputs[count:])
            for record in chain.from_iterable(p.records for p in self.phases):
                record.variables.append(next(variables))
            finals = iter(program.outputs)
            phase.carries = [
                Carry(o, v, f, r, None if self.phases else next(tested))
                for o, v, f, r in islice(
                    zip(operands, variables, finals, results, strict=False), carried
                )
            ]
            phase.records = [Record(atom) for atom in finals]
            self.phases.append(phase)

    def equation(self) -> Equation:
        carries = [c for phase in self.phases for c in phase.carries]
        tested = [c.tested for c in self.phases[0].carries if c.tested is not None]
        own = [v.variables[0] for v in self.cond_consts]
        test = self.test.program([*own, *tested], [self.predicate])
        programs = tuple(self._program(i) for i in range(len(self.phases)))
        params: Params = {"cond": test, "cond_count": len(self.cond_consts)}
        if self.is_while:
            params |= {"body": programs[0], "body_count": len(self.consts)}
        else:
            states = tuple(len(phase.carries) for phase in self.phases)
            params |= {"phases": programs, "consts": len(self.consts), "states": states}
        return self.rebuilt(
            [
                *(v.operand for v in (*self.cond_consts, *self.consts)),
                *(c.initial for c in carries),
            ],
            [c.result for c in carries],
            params,
        )

    def _program(self, number: int) -> Program:
        phase = self.phases[number]
        received = [
            record.variables[number - i - 1]
            for i, earlier in enumerate(self.phases[:number])
            for record in earlier.records
        ]
        return phase.program(
            [
                *(v.variables[number] for v in self.consts),
                *received,
                *(c.variable for c in phase.carries),
            ],
            [*(c.final for c in phase.carries), *(r.atom for r in phase.records)],
        )

    def add_const(self, operand: Atom, variable: Variable, number: int) -> None:
        """Make a variable of one phase a constant of the loop."""
        variables = [Variable(variable.type) for _ in self.phases]
        variables[number] = variable
        self.consts.append(Value(operand, *variables))


class Cond(Parts):
    """A `cond` taken apart."""

    def __init__(self, equation: Equation) -> None:
        super().__init__(equation)
        branches: tuple[Program, ...] = equation.params["branches"]
        self.branches = [Block(b) for b in branches]
        self.index, *operands = equation.inputs
        self.values = [
            Value(o, *variables)
            for o, *variables in zip(operands, *(b.inputs for b in branches), strict=True)
        ]
        self.results = [
            Result(variable, *atoms)
            for variable, *atoms in zip(
                equation.outputs, *(b.outputs for b in branches), strict=True
            )
        ]

    def equation(self) -> Equation:
        branches = tuple(
            branch.program(
                [v.variables[i] for v in self.values], [r.atoms[i] for r in self.results]
            )
            for i, branch in enumerate(self.branches)
        )
        return self.rebuilt(
            [self.index, *(v.operand for v in self.values)],
            [r.variable for r in self.results],
            {"branches": branches},
        )


_KINDS: dict[str, type[Scan] | type[Loop] | type[Cond]] = {
    "scan": Scan,
    "while": Loop,
    "sweeps": Loop,
    "cond": Cond,
}


def take_apart(equation: Equation) -> Any:
    """The records of a control-flow equation, None for any other equation."""
    primitive = equation.primitive
    kind = _KINDS.get(primitive.name) if primitive.own else None
    return None if kind is None else kind(equation)
