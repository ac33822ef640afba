"""Operations that are one step of their own: calls of BLAS and LAPACK, and loops of their own.

Every module here has a table `OPERATIONS` from names of primitives to emitters, and where
an emitter cannot do all dtypes and parameters, a table `SUPPORTS` of predicates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.core.program import Equation
from wengert.engines.native.library import (
    blas,
    convolve,
    cumulative,
    extremum,
    fourier,
    lapack,
    random_bits,
    scatter,
    sort,
    spectral,
    windows,
)

#: `emit(code, equation, operands, results)`, see `code.Buffer`.
Emit = Callable[..., None]

_MODULES: tuple[Any, ...] = (
    blas,
    convolve,
    cumulative,
    extremum,
    fourier,
    lapack,
    random_bits,
    scatter,
    sort,
    spectral,
    windows,
)

_OPERATIONS: dict[str, tuple[Emit, Callable[[Equation], bool] | None]] = {
    name: (emit, getattr(module, "SUPPORTS", {}).get(name))
    for module in _MODULES
    for name, emit in module.OPERATIONS.items()
}


def find_operation(equation: Equation) -> Emit | None:
    """The emitter for an equation, or None where the engine has none."""
    found = _OPERATIONS.get(equation.primitive.name)
    if found is None:
        return None
    emit, supports = found
    return emit if supports is None or supports(equation) else None
