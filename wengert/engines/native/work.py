"""How much work a program is, roughly: whether a call should let other threads run meanwhile.

Giving the interpreter lock up and taking it again costs as much as a small program, and another
thread that wants it may keep it for milliseconds. So only programs that take some tens of
microseconds give it up. The count is of elements read and written, of multiplications in
products, and of everything in loop bodies as often as they run; where that is known only at run
time, it is taken to be large.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.core.array import ArrayType
from wengert.core.program import Equation, Program

#: Work from which on a call gives the interpreter lock up: 10 to 50 microseconds.
LONG = 50_000

_FACTORISATIONS = frozenset(
    "cholesky cofactor cofactor_tangent det eig eigh expm expm_tangent factored_solve inv lu "
    "pinv qr slogdet solve sqrtm svd sylvester triangular_solve linear_solve".split()
)


def work(program: Program) -> float:
    """About how many elements or multiplications a run of a program takes.

    >>> import wengert, wengert.numpy as wnp
    >>> work(wengert.make_program(lambda x: x + x)(wnp.ones(100)))
    300.0
    """
    return sum(map(_equation_work, program.equations), 0.0)


def is_long(program: Program) -> bool:
    """Whether a run takes long enough for other threads to run meanwhile."""
    return work(program) > LONG


def _equation_work(equation: Equation) -> float:
    name, params = equation.primitive.name, equation.params
    sizes = [_size(atom.type) for atom in (*equation.inputs, *equation.outputs)]
    if name == "while":
        return math.inf
    if name == "scan":
        return params["length"] * (work(params["body"]) + 1) + sum(sizes)
    if name in ("dot_general", "conv_general_dilated"):
        return math.sqrt(math.prod(sizes)) + sum(sizes)  # exact for a product of matrices
    if name in _FACTORISATIONS:
        return sum(_size(a.type) * max(a.type.shape, default=1) for a in equation.inputs)
    return sum(sizes) + sum(map(work, _inner(params)))


def _inner(params: dict[str, Any]) -> list[Program]:
    """The programs among the parameters of an equation."""
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, Program):
                found.append(item)
    return found


def _size(type_: Any) -> int:
    return type_.size if isinstance(type_, ArrayType) else 1
