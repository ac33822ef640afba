"""The passes, in their order: what an engine makes of a traced program before it compiles it.

Every pass is a pure function from programs to programs of the same type, in a file of its own;
each works inside control flow too, and returns the same object where there is nothing to do.
None changes a result by a single bit; only the order in which a library sums products
of matrices is its own affair.
"""

from __future__ import annotations

from wengert.core.program import Program
from wengert.passes.cse import share
from wengert.passes.dce import eliminate
from wengert.passes.forward import forward
from wengert.passes.hoist import hoist
from wengert.passes.inline import inline
from wengert.passes.simplify import simplify


def optimise(program: Program) -> Program:
    """The program as engines want it: without calls, repetition and dead code.

    >>> import wengert, wengert.numpy as wnp
    >>> grad = wengert.grad(lambda x: wnp.sum(wnp.sin(x) ** 2))
    >>> program = wengert.make_program(grad)(wnp.ones(3))
    >>> len(program.equations), len(optimise(program).equations)
    (9, 4)
    """
    program = inline(program)
    program = eliminate(program)
    program = simplify(program)
    program = share(program)
    program = eliminate(program)
    return loops(program)


def loops(program: Program) -> Program:
    """Passes over control flow, and what they make possible."""
    before = program
    program = forward(program)
    program = hoist(program)
    program = forward(program)
    if program is before:
        return program
    program = simplify(program)
    program = share(program)
    return eliminate(program)
