"""Control flow taken apart: which operand, variable and result belong together.

A `cond`, `while` or `scan` equation and its blocks refer to the same values by position. Passes
that move, merge or drop values would have to keep many positions in step; here each value is
one record. A pass takes an equation apart (`take_apart`), edits the records, and puts the
equation together again (`equation`). Blocks are closed: what they use of outside are operands.

The layouts, with `*` before lists:

- `cond`: operands `index, *values`; each of `branches` takes `*values`;
- `while`: operands `*cond_consts, *body_consts, *carry`; `cond` takes the first and the
  carry, `body` the second and the carry; `cond_count` and `body_count` say how many;
- `scan`: operands `*consts, *carry, *xs`; `body` maps `*consts, *carry, *slices of xs` to
  `*carry, *slices of ys`; `consts` and `carry` say how many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.passes.blocks import Blocks, Pass
from wengert.passes.literals import number, typed_literal, weak_params
from wengert.primitives.cast import convert

#: What stands for a variable that was replaced.
Replaced = dict[Any, Atom]


class Value:
    """A value of the outside that blocks use: its atom there, its variable in each block."""

    __slots__ = ("operand", "variables")

    def __init__(self, operand: Atom, *variables: Variable) -> None:
        self.operand = operand
        self.variables = variables


class Carry:
    """What a loop hands from one iteration to the next.

    Attributes:
      initial: the operand it starts with.
      variables: what the body (and, in a `while`, then the condition) calls it.
      final: what the body computes for the next iteration.
      result: the variable of the equation for its last value.
    """

    __slots__ = ("final", "initial", "result", "variables")

    def __init__(
        self, initial: Atom, variables: tuple[Variable, ...], final: Atom, result: Variable
    ) -> None:
        self.initial = initial
        self.variables = variables
        self.final = final
        self.result = result


class Result:
    """A result: what each block computes for it, and the equation's variable."""

    __slots__ = ("atoms", "variable")

    def __init__(self, variable: Variable, *atoms: Atom) -> None:
        self.variable = variable
        self.atoms = atoms


def replace_inputs(equations: Sequence[Equation], replaced: Mapping[Any, Atom]) -> list[Any]:
    """Equations with atoms instead of some variables."""
    if not replaced:
        return list(equations)
    return [
        e
        if replaced.keys().isdisjoint(e.inputs)
        else Equation(
            e.primitive,
            [replaced.get(a, a) for a in e.inputs],
            e.outputs,
            e.params,
            e.location,
        )
        for e in equations
    ]


class Scan:
    """A `scan` taken apart."""

    def __init__(self, equation: Equation) -> None:
        self.source = equation
        params = equation.params
        body: Program = params["body"]
        consts, carried = params["consts"], params["consts"] + params["carry"]
        count = params["carry"]
        operands, variables, outputs = equation.inputs, body.inputs, equation.outputs
        self.length: int = params["length"]
        self.equations = list(body.equations)
        self.consts = [
            Value(o, v) for o, v in zip(operands[:consts], variables[:consts], strict=True)
        ]
        self.carries = [
            Carry(o, (v,), final, result)
            for o, v, final, result in zip(
                operands[consts:carried],
                variables[consts:carried],
                body.outputs[:count],
                outputs[:count],
                strict=True,
            )
        ]
        self.xs = [
            Value(o, v) for o, v in zip(operands[carried:], variables[carried:], strict=True)
        ]
        self.ys = [
            Result(v, atom)
            for v, atom in zip(outputs[count:], body.outputs[count:], strict=True)
        ]
        #: Atoms that stand for variables of the body.
        self.replaced: Replaced = {}

    def equation(self) -> Equation:
        """The records as an equation."""
        put = self.replaced
        finals = [*(c.final for c in self.carries), *(y.atoms[0] for y in self.ys)]
        variables = [
            *(v.variables[0] for v in self.consts),
            *(c.variables[0] for c in self.carries),
            *(v.variables[0] for v in self.xs),
        ]
        equations = replace_inputs(self.equations, put)
        body = Program(variables, (), (), equations, [put.get(a, a) for a in finals])
        params = {
            **self.source.params,
            "body": body,
            "consts": len(self.consts),
            "carry": len(self.carries),
        }
        operands = [
            *(v.operand for v in self.consts),
            *(c.initial for c in self.carries),
            *(v.operand for v in self.xs),
        ]
        results = [*(c.result for c in self.carries), *(y.variable for y in self.ys)]
        return Equation(self.source.primitive, operands, results, params, self.source.location)


class While:
    """A `while` taken apart."""

    def __init__(self, equation: Equation) -> None:
        self.source = equation
        params = equation.params
        cond, body = params["cond"], params["body"]
        m, n = params["cond_count"], params["body_count"]
        operands = equation.inputs
        self.cond_equations = list(cond.equations)
        self.equations = list(body.equations)
        self.predicate: Atom = cond.outputs[0]
        self.cond_consts = [
            Value(o, v) for o, v in zip(operands[:m], cond.inputs[:m], strict=True)
        ]
        self.consts = [
            Value(o, v) for o, v in zip(operands[m : m + n], body.inputs[:n], strict=True)
        ]
        self.carries = [
            Carry(o, (inner, tested), final, result)
            for o, inner, tested, final, result in zip(
                operands[m + n :],
                body.inputs[n:],
                cond.inputs[m:],
                body.outputs,
                equation.outputs,
                strict=True,
            )
        ]
        #: Atoms that stand for variables of the body and of the condition.
        self.replaced: Replaced = {}

    def equation(self) -> Equation:
        """The records as an equation."""
        put = self.replaced
        cond = Program(
            [
                *(v.variables[0] for v in self.cond_consts),
                *(c.variables[1] for c in self.carries),
            ],
            (),
            (),
            replace_inputs(self.cond_equations, put),
            [put.get(self.predicate, self.predicate)],
        )
        body = Program(
            [*(v.variables[0] for v in self.consts), *(c.variables[0] for c in self.carries)],
            (),
            (),
            replace_inputs(self.equations, put),
            [put.get(c.final, c.final) for c in self.carries],
        )
        params = {
            **self.source.params,
            "cond": cond,
            "body": body,
            "cond_count": len(self.cond_consts),
            "body_count": len(self.consts),
        }
        operands = [
            *(v.operand for v in (*self.cond_consts, *self.consts)),
            *(c.initial for c in self.carries),
        ]
        results = [c.result for c in self.carries]
        return Equation(self.source.primitive, operands, results, params, self.source.location)


class Cond:
    """A `cond` taken apart."""

    def __init__(self, equation: Equation) -> None:
        self.source = equation
        branches: tuple[Program, ...] = equation.params["branches"]
        self.index, *operands = equation.inputs
        self.equations = [list(b.equations) for b in branches]
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
        #: Atoms that stand for variables of the branches.
        self.replaced: Replaced = {}

    def equation(self) -> Equation:
        """The records as an equation."""
        put = self.replaced
        branches = tuple(
            Program(
                [v.variables[i] for v in self.values],
                (),
                (),
                replace_inputs(equations, put),
                [put.get(r.atoms[i], r.atoms[i]) for r in self.results],
            )
            for i, equations in enumerate(self.equations)
        )
        return Equation(
            self.source.primitive,
            [self.index, *(v.operand for v in self.values)],
            [r.variable for r in self.results],
            {**self.source.params, "branches": branches},
            self.source.location,
        )


Parts = Scan | While | Cond
_KINDS: dict[str, type[Scan] | type[While] | type[Cond]] = {
    "scan": Scan,
    "while": While,
    "cond": Cond,
}


def take_apart(equation: Equation) -> Any:
    """The records of a control-flow equation, None for any other equation."""
    kind = _KINDS.get(equation.primitive.name)
    return None if kind is None else kind(equation)


# -- the program around ----------------------------------------------------------------------


class Surroundings:
    """The program around control flow, while a pass writes it anew.

    Attributes:
      equations: what has been written so far.
      replaced: atoms that stand for variables.
    """

    __slots__ = ("equations", "replaced")

    def __init__(self) -> None:
        self.equations: list[Equation] = []
        self.replaced: Replaced = {}

    def put(
        self, primitive: Primitive, inputs: Sequence[Atom], params: Params, like: Equation
    ) -> Variable:
        """Write an application, at the user's line of another equation; gives its result."""
        type_: ArrayType = primitive.type_rule(*(a.type for a in inputs), **params)
        variable = Variable(type_)
        self.equations.append(Equation(primitive, inputs, [variable], params, like.location))
        return variable

    def like(self, atom: Any, type_: ArrayType, source: Equation) -> Atom:
        """The atom, or it with the weak flag of a type."""
        if atom.type.weak_type == type_.weak_type:
            return atom
        if type(atom) is Literal:
            return typed_literal(number(atom), type_.dtype, type_.weak_type)
        return self.put(convert, [atom], weak_params(type_), source)

    def splice(
        self, program: Program, operands: Sequence[Atom], source: Equation
    ) -> list[Atom]:
        """Write the equations of a closed program; gives the atoms of its results."""
        names: Replaced = {
            v: self.like(a, v.type, source)
            for v, a in zip(program.inputs, operands, strict=True)
        }
        for e in program.equations:
            outputs = [Variable(v.type) for v in e.outputs]
            inputs = [names.get(a, a) for a in e.inputs]
            names.update(zip(e.outputs, outputs, strict=True))
            self.equations.append(Equation(e.primitive, inputs, outputs, e.params, e.location))
        return [names.get(a, a) for a in program.outputs]


#: Edits the parts of an equation and writes what comes of them; false where all stays.
Edit = Callable[[Any, Surroundings], bool]


def edit_control(program: Program, whole: Pass, edit: Edit) -> Program:
    """The program with its control flow edited, inside other control flow first.

    Args:
      whole: the pass itself, for the programs inside.
      edit: what it does to one equation.
    """
    if not any(e.primitive.multiple_results for e in program.equations):
        return program
    blocks = Blocks(whole)
    outside = Surroundings()
    changed = False
    for equation in program.equations:
        new = equation
        if not outside.replaced.keys().isdisjoint(equation.inputs):
            [new] = replace_inputs([equation], outside.replaced)
        if equation.primitive.multiple_results:
            new = blocks(new)
            parts = take_apart(new)
            if parts is not None and edit(parts, outside):
                changed = True
                continue
        changed = changed or new is not equation
        outside.equations.append(new)
    if not changed:
        return program
    outputs = [outside.replaced.get(a, a) for a in program.outputs]
    return program.rebuilt(outside.equations, outputs)
