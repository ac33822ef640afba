"""The walk that simplification is: one pass over the equations, with rules for primitives.

A rule looks at one application, `rule(walk, inputs, params, type)`, and returns an atom that
has the same value, or None where it has nothing to say. It may apply other primitives through
the walk (`walk.apply`), which simplifies those in turn; what turns out to be unused is left for
dead code elimination. Operands have been simplified before, and `walk.made` tells how they were
made. So one walk is enough, and its cost is linear in the number of equations.

A *splat* is an array of one value. Elementwise primitives broadcast, so they get a splat as a
literal, and what was broadcast to them as it was before.

Types stay, but for weak flags on the way to the outputs: those follow the operands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert import errors
from wengert.core.array import Array, ArrayType, Shape
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive
from wengert.core.program import Atom, Equation, Literal, Program, Variable
from wengert.core.source import Location
from wengert.passes.blocks import Blocks
from wengert.passes.literals import number, typed_literal, weak_params
from wengert.primitives.basis import broadcast_in_dim, full, reshape
from wengert.primitives.cast import convert

#: (walk, operands, parameters, type of the result) -> an atom of that shape and dtype, or None.
Rule = Callable[["Rewriter", Sequence[Any], Params, ArrayType], "Atom | None"]
Rules = Mapping[Primitive, tuple[Rule, ...]]

#: The largest constants that are computed beforehand, in elements.
SMALL = 4096


class Rewriter:
    """One walk over a program.

    Attributes:
      equations: what has been written so far.
      splats: literals for variables that hold one value everywhere.
      spread: variables made by broadcasting, and their equations.
      constants: the values of captured arrays, and of what was computed from them.
      location: the user's line of the equation that is being simplified.
    """

    def __init__(self, program: Program, rules: Rules, blocks: Blocks) -> None:
        self.program = program
        self.rules = rules
        self.blocks = blocks
        self.equations: list[Equation] = []
        self.splats: dict[Any, Literal] = {}
        self.spread: dict[Any, Equation] = {}
        self.constants: dict[Any, Array] = {}
        self.location: Location | None = None
        self._makers: dict[Any, Equation] = {}
        self._replaced: dict[Any, Atom] = {}
        #: variables whose stand-ins have another weak flag
        self._reweighed: set[Any] = set()
        #: variables whose weak flag matters, once they have been looked for
        self._weighed: set[Any] = set()
        #: how often variables are read, once that has been counted
        self._uses: Counter[Any] | None = None
        self._new_constants: dict[Variable, Array] = {}
        self._changed = False

    # -- the walk ----------------------------------------------------------------------------

    def run(self) -> Program:
        """The rewritten program."""
        program = self.program
        for variable, value in zip(program.constants, program.constant_values, strict=True):
            if type(value) is Array:
                self._add_constant(variable, value)
        for equation in program.equations:
            self._visit(equation)
        outputs = self._outputs()
        if not self._changed:
            return program
        constants = [*program.constants, *self._new_constants]
        values = [*program.constant_values, *self._new_constants.values()]
        return Program(program.inputs, constants, values, self.equations, outputs)

    def _visit(self, equation: Equation) -> None:
        replaced = self._replaced
        if replaced and not replaced.keys().isdisjoint(equation.inputs):
            old, equation = equation, self._with_replaced(equation)
            if old.outputs is not equation.outputs:  # of another weak flag
                self._visit(equation)
                renamed = equation.outputs[0]
                self._replace(old.outputs[0], replaced.get(renamed, renamed))
                return
        primitive = equation.primitive
        if primitive.multiple_results:
            new = self.blocks(equation)
            self._changed = self._changed or new is not equation
            self._write(new)
            return
        if primitive is convert and self._only_weighs(equation):
            self._write(equation)
            return
        if self.rules[primitive] or self.constants:
            self.location = equation.location
            out = equation.outputs[0]
            atom = self._simplified(primitive, equation.inputs, equation.params, out.type)
            if atom is not None:
                self._changed = True
                self._replace(out, atom)
                return
        self._write(equation)

    def _only_weighs(self, equation: Equation) -> bool:
        """Whether a conversion gives a result, or an operand of a block, its weak flag."""
        old, new = equation.inputs[0].type, equation.outputs[0].type
        if old.dtype != new.dtype or old.weak_type == new.weak_type:
            return False
        if not self._weighed:
            users = [e for e in self.program.equations if e.primitive.multiple_results]
            self._weighed = {*self.program.outputs, *(a for e in users for a in e.inputs)}
        return equation.outputs[0] in self._weighed

    def _with_replaced(self, equation: Equation) -> Equation:
        """The equation with its new operands, and the types that follow from them."""
        self._changed = True
        replaced = self._replaced
        inputs = [replaced.get(a, a) for a in equation.inputs]
        outputs: Sequence[Variable] = equation.outputs
        primitive, params = equation.primitive, equation.params
        if self._reweighed and not self._reweighed.isdisjoint(equation.inputs):
            self.location = equation.location
            if primitive.multiple_results:
                pairs = zip(inputs, equation.inputs, strict=True)
                inputs = [self.weighed(new, old.type) for new, old in pairs]
            else:
                type_ = primitive.type_rule(*(a.type for a in inputs), **params)
                if type_ != outputs[0].type:
                    outputs = (Variable(type_),)
        return Equation(primitive, inputs, outputs, params, equation.location)

    def _replace(self, variable: Variable, atom: Atom) -> None:
        self._replaced[variable] = atom
        if self._uses is not None:
            self._uses[atom] += self._uses[variable]
        if atom.type.weak_type != variable.type.weak_type:
            self._reweighed.add(variable)

    def _write(self, equation: Equation) -> None:
        self.equations.append(equation)
        makers = self._makers
        for variable in equation.outputs:
            makers[variable] = equation
        if equation.primitive is broadcast_in_dim:
            self.spread[equation.outputs[0]] = equation
        elif equation.primitive is full:
            params = equation.params
            self.splats[equation.outputs[0]] = typed_literal(
                params["value"], params["dtype"], params.get("weak", False)
            )

    def _outputs(self) -> list[Atom]:
        outputs = []
        for atom in self.program.outputs:
            new = self._replaced.get(atom, atom)
            if atom in self._reweighed:
                self.location = None
                new = self.weighed(new, atom.type)
            self._changed = self._changed or new is not atom
            outputs.append(new)
        return outputs

    def _simplified(
        self, primitive: Primitive, inputs: Sequence[Atom], params: Params, type_: ArrayType
    ) -> Atom | None:
        for rule in self.rules[primitive]:
            atom = rule(self, inputs, params, type_)
            if atom is not None:
                return atom
        if self.constants and inputs and type_.size <= SMALL:
            return self._folded_constants(primitive, inputs, params)
        return None

    # -- what rules use ----------------------------------------------------------------------

    def apply(self, primitive: Primitive, *inputs: Atom, **params: Any) -> Any:
        """The simplified result of an application."""
        type_ = primitive.type_rule(*(a.type for a in inputs), **params)
        atom = self._simplified(primitive, inputs, params, type_)
        if atom is not None:
            return atom
        variable = Variable(type_)
        self._write(Equation(primitive, inputs, [variable], params, self.location))
        return variable

    def made(self, atom: Atom, primitive: Primitive) -> Equation | None:
        """The equation that made a variable, if it applies the primitive."""
        equation = self._makers.get(atom)
        return equation if equation is not None and equation.primitive is primitive else None

    def uses(self, atom: Atom) -> int:
        """How often the program reads a value: once, if only the present equation does."""
        if self._uses is None:
            self._uses = Counter(self.program.outputs)
            for equation in self.program.equations:
                self._uses.update(equation.inputs)
            for variable, new in self._replaced.items():
                self._uses[new] += self._uses[variable]
        return self._uses[atom]

    def literal(self, atom: Atom) -> Literal | None:
        """A literal for an atom that holds one value everywhere."""
        return atom if type(atom) is Literal else self.splats.get(atom)

    def number(self, atom: Atom) -> Any:
        """The value that an atom holds everywhere, as a scalar; None where it is not known."""
        literal = atom if type(atom) is Literal else self.splats.get(atom)
        return None if literal is None else number(literal)

    def filled(self, value: Any, type_: ArrayType) -> Any:
        """An array of one value, of the given type."""
        if not type_.shape:
            return typed_literal(value, type_.dtype, type_.weak_type)
        if hasattr(value, "item"):
            value = value.item()
        weak = {"weak": True} if type_.weak_type else {}
        return self.apply(full, shape=type_.shape, value=value, dtype=type_.dtype, **weak)

    def fitted(self, atom: Atom, type_: ArrayType) -> Any:
        """An operand of an elementwise primitive, broadcast to the type of the result."""
        got = atom.type
        if type(got) is not ArrayType:
            return self.filled(got, type_)
        shape = type_.shape
        if got.shape == shape:
            return atom
        offset = len(shape) - len(got.shape)
        dims = tuple(range(offset, len(shape)))
        return self.apply(broadcast_in_dim, atom, shape=shape, broadcast_dimensions=dims)

    def weighed(self, atom: Atom, type_: ArrayType) -> Any:
        """The atom with the weak flag of a type."""
        if atom.type.weak_type == type_.weak_type:
            return atom
        if type(atom) is Literal:
            return typed_literal(number(atom), type_.dtype, type_.weak_type)
        variable = Variable(type_)
        self._write(Equation(convert, [atom], [variable], weak_params(type_), self.location))
        return variable

    def narrow(self, atom: Any) -> Any:
        """What elementwise primitives may take for a splat or a broadcast array."""
        literal = self.splats.get(atom)
        if literal is not None:
            return literal
        equation = self.spread.get(atom)
        if equation is None:
            return atom
        (source,), dims = equation.inputs, equation.params["broadcast_dimensions"]
        rank = len(atom.type.shape)
        if not dims or dims == tuple(range(rank - len(dims), rank)):
            return source
        sizes = [1] * (rank - dims[0])
        for size, d in zip(source.type.shape, dims, strict=True):
            sizes[d - dims[0]] = size
        return self.apply(reshape, source, shape=tuple(sizes))

    def folded(
        self, primitive: Primitive, inputs: Sequence[Any], params: Params
    ) -> Array | None:
        """The result on concrete operands; None where it is an error, which is left to run."""
        try:
            return primitive.evaluate(inputs, params)
        except (errors.WengertError, ValueError, TypeError, IndexError, ArithmeticError):
            return None

    # -- captured arrays ---------------------------------------------------------------------

    def _add_constant(self, variable: Variable, value: Array) -> None:
        self.constants[variable] = value
        if 0 < value.size <= SMALL:
            bits = value.tobytes()
            first = bits[: value.dtype.itemsize]
            if bits == first * value.size:
                scalar = value._value.reshape(-1)[0]
                self.splats[variable] = Literal(Array(scalar, value._weak))

    def _folded_constants(
        self, primitive: Primitive, inputs: Sequence[Atom], params: Params
    ) -> Atom | None:
        values: list[Any] = []
        for atom in inputs:
            value = atom.value if type(atom) is Literal else self.constants.get(atom)
            if value is None:
                return None
            values.append(value)
        out = self.folded(primitive, values, params)
        if out is None or not out.shape:
            return None if out is None else Literal(out)
        variable = Variable(out.type)
        self._new_constants[variable] = out
        self._add_constant(variable, out)
        return variable


def shape_of(atom: Atom) -> Shape:
    """The shape of an operand; Python scalars have none."""
    kind = atom.type
    return kind.shape if type(kind) is ArrayType else ()
