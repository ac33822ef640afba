"""What must agree: the eager engine with machine code, also of transformed programs.

`check` computes a program by the eager engine and by machine code, and so do all the *ways*:
the program of its pullback, of its pushforward, of a batch of it. Results must have the same
bits, or where the program rounds, differ by no more than the noise of its operations explains.
Errors must be of the same class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array
from wengert.core.interpreter import quiet
from wengert.core.program import Program
from wengert.core.tracing import trace
from wengert.engines.eager import run_program
from wengert.engines.native.checked import compile_checked
from wengert.engines.native.compile import CompiledProgram, make_object
from wengert.engines.native.machine import Target
from wengert.passes.dce import eliminate
from wengert.passes.pipeline import optimise
from wengert.testing.fuzzing.cases import Case
from wengert.testing.fuzzing.noise import noisy, spacing
from wengert.transforms.jvp import jvp
from wengert.transforms.vjp import vjp
from wengert.transforms.vmap import vmap

#: Runs with noise: a few first, and many before a difference counts as one.
_RUNS = (6, 40)
#: How much further than what was seen results may spread.
_MARGIN = (4.0, 6.0)

#: Runs a program on NumPy values.
Engine = Callable[[Program, Sequence[Any]], Sequence[Any]]


class Disagreement(AssertionError):
    """Engines differ."""


def eager(program: Program, values: Sequence[Any]) -> list[Any]:
    """The results of the eager engine."""
    return quiet().run(run_program, program, values)


def native(program: Program, values: Sequence[Any], target: Target | None = None) -> list[Any]:
    """The results of machine code, which is made anew and not kept."""
    optimised = optimise(program)
    made = make_object(optimised, target or Target.host())
    return CompiledProgram(optimised, made)(values)


def quick(program: Program, values: Sequence[Any]) -> list[Any]:
    """The results of machine code as it is made for first calls, with little optimisation."""
    optimised = optimise(program)
    made = make_object(optimised, Target.host(), quick=True)
    return CompiledProgram(optimised, made)(values)


def baseline(program: Program, values: Sequence[Any]) -> list[Any]:
    """The results of machine code without vector extensions."""
    return native(program, values, Target.baseline())


def checked(program: Program, values: Sequence[Any]) -> list[Any]:
    """The results of machine code that checks every access to memory."""
    return compile_checked(program)(values)


#: What a program can be run by;
ENGINES: dict[str, Engine] = {
    "native": native,
    "quick": quick,
    "baseline": baseline,
    "checked": checked,
}


def outcome(run: Callable[[], Sequence[Any]]) -> Sequence[Any] | Exception:
    """Results or the exception."""
    try:
        return run()
    except Exception as error:
        return error


def check(case: Case, way: str = "plain", engine: str = "native") -> None:
    """Raise unless an engine agrees with the eager one on a program, taken by one of `WAYS`.

    >>> from wengert.testing.fuzzing import check, random_case
    >>> check(random_case(5))
    """
    try:
        made = WAYS[way](case)
    except (errors.MissingRuleError, ValueError) as error:
        if "derivative" not in str(error):
            raise
        return  # it has none, which it says
    if made is None:
        return
    program, values = made
    expected = outcome(lambda: eager(program, values))
    if isinstance(expected, Exception):  # perhaps of a result that nobody needs
        program = eliminate(program)
        expected = outcome(lambda: eager(program, values))
    got = outcome(lambda: ENGINES[engine](program, values))
    compare(program, values, expected, got)


def compare(
    program: Program,
    values: Sequence[Any],
    expected: Sequence[Any] | Exception,
    got: Sequence[Any] | Exception,
) -> None:
    """Raise unless results (or exceptions) are those of the eager engine, up to noise."""
    if isinstance(expected, Exception) or isinstance(got, Exception):
        if type(expected) is not type(got):
            raise Disagreement(f"{got!r}\n instead of\n{expected!r}")
        return
    pairs = list(zip(expected, got, strict=True))
    for i, (x, y) in enumerate(pairs):
        if (np.shape(x), x.dtype) != (np.shape(y), y.dtype):
            raise Disagreement(f"result {i} is {_typed(y)} instead of {_typed(x)}")
    wrong = [_differences(x, y) for x, y in pairs]
    if not any(w.any() for w in wrong):
        return
    disturbed = noisy(program)
    if disturbed is program:
        _report(pairs, wrong)
    for count, margin in zip(_RUNS, _MARGIN, strict=True):
        runs = [run for run in _runs(disturbed, values, count) if run is not None]
        if not runs:
            return  # whether positions are in bounds depends on rounding
        left = [
            w & ~_explained(x, y, [run[i] for run in runs], margin)
            for i, (w, (x, y)) in enumerate(zip(wrong, pairs, strict=True))
        ]
        if not any(w.any() for w in left):
            return
    _report(pairs, left)


def _runs(program: Program, values: Sequence[Any], count: int) -> Iterator[Any]:
    """Results of several runs, None where an index was out of bounds."""
    for _ in range(count):
        try:
            yield eager(program, values)
        except IndexError:
            yield None


def _typed(x: Any) -> str:
    return f"{x.dtype}{list(np.shape(x))}"


def _report(pairs: Sequence[tuple[Any, Any]], wrong: Sequence[Any]) -> None:
    for i, ((x, y), bad) in enumerate(zip(pairs, wrong, strict=True)):
        if bad.any():
            at = tuple(int(n) for n in np.argwhere(bad)[0])
            raise Disagreement(
                f"result {i}, {_typed(np.asarray(x))}: {int(bad.sum())} elements differ; "
                f"at {at} {np.asarray(y)[at]!r} instead of {np.asarray(x)[at]!r}"
            )


def _differences(x: Any, y: Any) -> Any:
    """Where two arrays of one type have other bits, NaNs of all kinds being equal."""
    x, y = np.asarray(x), np.asarray(y)
    if not dtypes.is_inexact(x.dtype):
        return np.asarray(x != y) if x.dtype.itemsize else np.zeros(x.shape, bool)
    if x.dtype.kind == "c":
        return _differences(x.real, y.real) | _differences(x.imag, y.imag)
    both = np.isnan(x) & np.isnan(y)
    same = (x == y) & (np.signbit(x) == np.signbit(y))
    return ~(same | both)


def _explained(x: Any, y: Any, runs: Sequence[Any], margin: float) -> Any:
    """Where runs with noise differ from `x` so much that `y` may be right."""
    x, y = np.asarray(x), np.asarray(y)
    others = np.stack([np.asarray(r) for r in runs]) if runs else x[None]
    if not dtypes.is_inexact(x.dtype):
        return np.any(others != x, axis=0)
    if x.dtype.kind == "c":  # infinite numbers have parts of any kind
        infinite = ~np.isfinite(x) & ~np.isfinite(y)
        x, y, others = (np.stack([a.real, a.imag], -1) for a in (x, y, others))
        return infinite | np.all(_near(x, y, others, margin), axis=-1)
    return _near(x, y, others, margin)


def _near(x: Any, y: Any, others: Any, margin: float) -> Any:
    with np.errstate(all="ignore"):
        wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
        wide = others.astype(np.float64)
        differs = ~((wide == wide_x) | (np.isnan(wide) & np.isnan(wide_x)))
        finite = np.isfinite(wide) & np.isfinite(wide_x)
        unstable = np.any(differs & ~finite, axis=0)
        distance = np.where(differs & finite, np.abs(wide - wide_x), 0.0)
        spread = np.max(distance, axis=0, initial=0.0)
        same = (wide_x == wide_y) | (np.isnan(wide_x) & np.isnan(wide_y))
        signs = np.any(np.signbit(others) != np.signbit(x), axis=0)
        signs |= np.signbit(x) == np.signbit(y)
        least = 4 * spacing(x.dtype)[0] * np.abs(wide_x) * np.any(spread > 0)
        near = np.abs(wide_x - wide_y) <= margin * spread + least
    return unstable | (same & (signs | (spread > 0))) | (near & ~same)


# -- ways -----------------------------------------------

#: A program and arguments; None where a case has no such.
Made = tuple[Program, list[Any]] | None


def _plain(case: Case) -> Made:
    return case.program, case.values


def _active(case: Case) -> list[int]:
    return [i for i, t in enumerate(case.program.in_types) if dtypes.is_inexact(t.dtype)]


def _function(case: Case, active: Sequence[int]) -> Callable[..., list[Any]]:
    """The program as a function of its differentiable inputs, with differentiable results."""

    def function(others: Sequence[Any], *args: Any) -> list[Any]:
        given = list(others)
        for i, arg in zip(active, args, strict=True):
            given[i] = arg
        out = case.program.evaluate(*given)
        return [o for o in out if dtypes.is_inexact(o.dtype)]

    return function


def _traced(
    case: Case, extra: Sequence[Any], transformed: Callable[[list[Any], list[Any]], Any]
) -> Made:
    """The program of a function of the inputs and of more values."""
    count = len(case.values)
    values = [*case.values, *extra]
    types = [*case.program.in_types, *(Array(v).type for v in extra)]

    def call(given: list[Any]) -> list[Any]:
        return list(tree.leaves(transformed(given[:count], given[count:])))

    return trace(call, types), values


def _like(case: Case, types: Sequence[Any], seed: int = 0) -> list[Any]:
    """Small whole numbers of some types, as directions."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-2, 3, t.shape).astype(t.dtype)[()] for t in types]


def _pulled(case: Case) -> Made:
    active = _active(case)
    function = _function(case, active)
    wanted = [t for t in case.program.out_types if dtypes.is_inexact(t.dtype)]
    if not active or not wanted:
        return None

    def transformed(given: list[Any], cotangents: list[Any]) -> Any:
        out, pull = vjp(lambda *xs: function(given, *xs), *(given[i] for i in active))
        return out, pull(cotangents)

    return _traced(case, _like(case, wanted), transformed)


def _pushed(case: Case) -> Made:
    active = _active(case)
    function = _function(case, active)
    if not active:
        return None

    def transformed(given: list[Any], tangents: list[Any]) -> Any:
        primals = tuple(given[i] for i in active)
        return jvp(lambda *xs: function(given, *xs), primals, tuple(tangents))

    types = [case.program.in_types[i] for i in active]
    return _traced(case, _like(case, types), transformed)


def _batched(case: Case) -> Made:
    """All inputs but every third along a new axis."""
    if not case.values:
        return None
    axes = [None if i % 3 == 2 else 0 for i in range(len(case.values))]
    stacked = [
        np.asarray(v) if axis is None else np.stack([v, np.roll(v, 1), v])
        for v, axis in zip(case.values, axes, strict=True)
    ]
    types = [Array(v[()]).type for v in stacked]

    def call(given: list[Any]) -> list[Any]:
        out = vmap(lambda *xs: case.program.evaluate(*xs), in_axes=tuple(axes))(*given)
        return list(out)

    return trace(call, types), [v[()] for v in stacked]


WAYS: dict[str, Callable[[Case], Made]] = {
    "plain": _plain,
    "pulled": _pulled,
    "pushed": _pushed,
    "batched": _batched,
}
