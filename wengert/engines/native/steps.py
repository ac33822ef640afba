"""The steps that a program becomes: kernels, and what is a step of its own.

`kernels.group` makes a `Block` of them. A kernel's domain is the shape of what it stores, or
the first dimensions of it: then each point of the domain is a row, and the kernel stores all
elements of the row (see `rows`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wengert.core.array import Shape
from wengert.core.program import Atom, Equation, Program, Variable


@dataclass(eq=False)
class LoopKernel:
    """A loop nest: what it stores, and what it reduces."""

    domain: Shape
    stores: list[Variable] = field(default_factory=list)
    reductions: list[Equation] = field(default_factory=list)

    @property
    def outputs(self) -> list[Variable]:
        """The variables that are in memory after it."""
        return [*self.stores, *(e.outputs[0] for e in self.reductions)]


@dataclass(eq=False)
class OpaqueStep:
    """One equation that is not part of a kernel; `kind` is library, control or callback."""

    equation: Equation
    kind: str

    @property
    def outputs(self) -> list[Variable]:
        """The variables that are in memory after it."""
        return list(self.equation.outputs)


Step = LoopKernel | OpaqueStep


@dataclass(eq=False)
class Block:
    """A program as a list of steps.

    Attributes:
      program: where it comes from.
      steps: in order.
      producers: the equation of every variable that kernels compute in registers or store.
      stored: the variables that are in memory at some time.
      aliases: variables that are other names for the memory of a variable.
      expansions: the expressions of its kernels, once they have been made.
      lifetimes: when its variables are in use, once that is known.
    """

    program: Program
    steps: list[Step]
    producers: dict[Variable, Equation]
    stored: set[Variable]
    aliases: dict[Variable, Atom]
    expansions: Any = None
    lifetimes: Any = None

    def root(self, atom: Atom) -> Atom:
        """The variable whose memory an atom names, or a literal."""
        while type(atom) is Variable and atom in self.aliases:
            atom = self.aliases[atom]
        return atom
