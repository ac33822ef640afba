"""Operations that are one step of their own: calls of BLAS and LAPACK, and loops of their own.

Every module here has a table `OPERATIONS` from names of primitives to emitters, and where
an emitter cannot do all dtypes and parameters, a table `SUPPORTS` of predicates; a table
`ROUTINES` says what is done by code that is compiled already. Modules are
imported when a program first has one of their primitives, by the list below (a test compares
it with the tables).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.core.lazy import lazy_module
from wengert.core.program import Equation

#: `emit(code, equation, operands, results)`, see `code.Buffer`.
Emit = Callable[..., None]

#: module -> the primitives that it can do.
MODULES: dict[str, str] = {
    "bits": "bitcast_convert",
    "blas": "dot_general",
    "convolve": "conv_general_dilated",
    "cumulative": "cumsum cumprod cummax cummin cumlogsumexp linear_recurrence",
    "extremum": "argmax argmin",
    "fourier": "fft",
    "lapack": "cholesky triangular_solve lu pivots_to_permutation factored_solve solve inv det "
    "slogdet qr",
    "random_bits": "random_seed random_split random_fold_in random_bits",
    "scatter": "scatter scatter_add scatter_mul scatter_max scatter_min gather dynamic_slice "
    "dynamic_update_slice slice_positions scatter_winners",
    "sort": "sort top_k searchsorted scatter_order",
    "spectral": "svd eigh eig",
    "windows": "reduce_window_max reduce_window_min reduce_window_sum windows overlap_add",
}

_MODULE_OF: dict[str, Any] = {
    primitive: lazy_module(f"{__name__}.{module}")
    for module, primitives in MODULES.items()
    for primitive in primitives.split()
}


def find_operation(equation: Equation) -> Emit | None:
    """The emitter for an equation, or None where the engine has none."""
    name = equation.primitive.name
    module = _MODULE_OF.get(name)
    if module is None:
        return None
    emit: Emit = module.OPERATIONS[name]
    supports: dict[str, Callable[[Equation], bool]] = getattr(module, "SUPPORTS", {})
    return emit if name not in supports or supports[name](equation) else None


def is_routine(equation: Equation) -> bool:
    """Whether most of the work is done by code that is compiled already: BLAS, LAPACK, ..."""
    name = equation.primitive.name
    routines: dict[str, Callable[[Equation], bool]]
    routines = getattr(_MODULE_OF.get(name), "ROUTINES", {})
    return name in routines and routines[name](equation)
