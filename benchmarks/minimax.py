"""Fits the polynomials and quotients of `engines/native/math/coefficients.py`.

    python -m benchmarks.minimax            writes the table anew
    python -m benchmarks.minimax log erf    fits only these anew

Each fit makes the largest weighted error on an interval as small as it can be, by Remez's
exchange (E. Remez, 1934), in multiple precision on a grid of points; the denominators of
quotients are found before by weighted least squares, to nearly that. Coefficients are rounded
to their format, the first ones before the others are fitted once more. What is fitted is in
`benchmarks.minimax_fits`.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpmath import mp, mpf

Function = Callable[[Any], Any]
mp.dps = 60


@dataclass(frozen=True)
class Fit:
    """A function to approximate by a polynomial, or by a quotient of two.

    Attributes:
      function: of one mpmath number; or two, for float32 and float64.
      low, high: the ends of the interval.
      degrees: of the polynomial, for float32 and float64; `(numerator, denominator)` of
        quotients. Denominators begin with 1.
      weight: the error is multiplied by it; by default the relative error counts.
      fixed: values of the first coefficients that must be just these.
      crowding: above 1, points crowd at the lower end, like powers of evenly spread ones.
    """

    function: Function | tuple[Function, Function]
    low: Any
    high: Any
    degrees: tuple[Any, Any]
    weight: Function | None = None
    fixed: tuple[float, ...] = ()
    crowding: int = 1

    def solve(self, double: bool) -> tuple[tuple[float, ...], ...]:
        """The coefficients, lowest power first: of the polynomial, or of both."""
        degree = self.degrees[double]
        if isinstance(degree, int):
            return (_polynomial(*self.points(degree, double), degree, self.fixed, double),)
        samples = self.points(sum(degree), double)
        below = _denominator(*samples, degree)
        return _quotient(*samples, degree[0], below, self.fixed, double)

    def points(self, degree: int, double: bool) -> tuple[list[Any], list[Any], list[Any]]:
        """Points of a grid over the interval, values and weights."""
        count = _POINTS * (degree + 2)
        low, high = mpf(self.low), mpf(self.high)
        angles = [mp.pi * (2 * i + 1) / (2 * count) for i in range(count)]
        unit = [((1 - mp.cos(a)) / 2) ** self.crowding for a in angles]
        points = [low + (high - low) * u for u in unit]
        function = self.function[double] if isinstance(self.function, tuple) else self.function
        values = [mpf(function(t)) for t in points]
        if self.weight is None:
            return points, values, [1 / abs(g) for g in values]
        return points, values, [mpf(self.weight(t)) for t in points]


_POINTS = 16


def _rounded(number: Any, double: bool) -> float:
    return float(number) if double else float(np.float32(float(number)))


def _horner(coefficients: Sequence[Any], t: Any) -> Any:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * t + c
    return total


def _polynomial(
    points: list[Any],
    values: list[Any],
    weights: list[Any],
    degree: int,
    fixed: Sequence[float],
    double: bool,
) -> tuple[float, ...]:
    """A polynomial with coefficients of the format."""
    known = list(map(float, fixed))
    candidates = []
    for _ in range(min(3, degree + 1 - len(known))):
        first = len(known)
        # Divided by a power of t, so that alternation characterizes the best one.
        rest = [(g - _horner(known, t)) / t**first for t, g in zip(points, values, strict=True)]
        scaled = [w * abs(t) ** first for t, w in zip(points, weights, strict=True)]
        free = _exchange(points, rest, scaled, degree + 1 - first)
        candidates.append((*known, *(_rounded(c, double) for c in free)))
        known.append(candidates[-1][first])
    return min(candidates, key=lambda c: _largest(points, values, weights, [c]))


def _largest(points: Any, values: Any, weights: Any, coefficients: Any) -> Any:
    """The largest weighted error of a polynomial or quotient."""

    def error(t: Any, g: Any, w: Any) -> Any:
        terms = [_horner(c, t) for c in coefficients]
        return abs((terms[0] / (terms[1] if len(terms) > 1 else 1) - g) * w)

    return max(map(error, points, values, weights))


def _spread(count: int, total: int) -> list[int]:
    return [round(i * (total - 1) / (count - 1)) for i in range(count)]


def _exchange(points: Any, values: Any, weights: Any, size: int) -> list[Any]:
    """The `size` coefficients with the least largest weighted error."""
    chosen = _spread(size + 1, len(points))
    table = [[t**power for power in range(size)] for t in points]
    for _ in range(30):
        matrix, right = mp.zeros(size + 1, size + 1), mp.zeros(size + 1, 1)
        for row, i in enumerate(chosen):
            for column in range(size):
                matrix[row, column] = table[i][column]
            matrix[row, size] = (-1) ** row / weights[i]
            right[row] = values[i]
        solution = list(mp.lu_solve(matrix, right))
        found, level = solution[:size], abs(solution[size])
        errors = [
            (mp.fdot(found, row) - g) * w
            for row, g, w in zip(table, values, weights, strict=True)
        ]
        if max(map(abs, errors)) <= level * mpf("1.005"):
            break
        chosen = _extrema(errors, size + 1) or chosen
    return found


def _extrema(errors: list[Any], count: int) -> list[int]:
    """Indices of the largest errors of alternating signs; none if they are too few."""
    runs: list[int] = []
    for i, error in enumerate(errors):
        if runs and (error > 0) == (errors[runs[-1]] > 0):
            runs[-1] = max(runs[-1], i, key=lambda j: abs(errors[j]))
        else:
            runs.append(i)
    while len(runs) > count:
        drop = 0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1
        del runs[drop]
    return runs if len(runs) == count else []


def _denominator(points: Any, values: Any, weights: Any, degrees: tuple[int, int]) -> list[Any]:
    """The denominator of a quotient whose largest error is near to the least.

    Linear least squares, weighted by the last denominator (C. Sanathanan and J. Koerner, 1963)
    and by the errors of the last quotient (C. Lawson, 1961).
    """
    top, bottom = degrees
    below, focus = [mpf(1)] + [mpf(0)] * bottom, [mpf(1)] * len(points)
    best, least = below, mp.inf
    for _ in range(_ROUNDS):
        scale = [
            w / _horner(below, t) * mp.sqrt(f)
            for t, w, f in zip(points, weights, focus, strict=True)
        ]
        rows = [
            [s * t**k for k in range(top + 1)] + [-s * g * t**k for k in range(1, bottom + 1)]
            for t, g, s in zip(points, values, scale, strict=True)
        ]
        right = [s * g for g, s in zip(values, scale, strict=True)]
        solution = _least_squares(rows, right)
        above, below = solution[: top + 1], [mpf(1), *solution[top + 1 :]]
        errors = [
            abs((_horner(above, t) / _horner(below, t) - g) * w)
            for t, g, w in zip(points, values, weights, strict=True)
        ]
        if max(errors) < least:
            best, least = below, max(errors)
        focus = [f * e for f, e in zip(focus, errors, strict=True)]
        total = sum(focus)
        focus = [f / total for f in focus]
    return best


_ROUNDS = 24


def _least_squares(rows: list[list[Any]], right: list[Any]) -> list[Any]:
    """By the normal equations: digits are plentiful here."""
    columns = list(zip(*rows, strict=True))
    matrix = mp.zeros(len(columns), len(columns))
    for i, a in enumerate(columns):
        for j, b in enumerate(columns[: i + 1]):
            matrix[i, j] = matrix[j, i] = mp.fdot(a, b)
    return list(mp.lu_solve(matrix, mp.matrix([mp.fdot(a, right) for a in columns])))


def _quotient(
    points: Any,
    values: Any,
    weights: Any,
    top: int,
    below: list[Any],
    fixed: Sequence[float],
    double: bool,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Numerator and denominator with coefficients of the format."""
    denominator = [_rounded(c, double) for c in below]
    divisors = [_horner(denominator, t) for t in points]
    scaled = [g * q for g, q in zip(values, divisors, strict=True)]
    reweighted = [w / abs(q) for w, q in zip(weights, divisors, strict=True)]
    return _polynomial(points, scaled, reweighted, top, fixed, double), tuple(denominator)


def worst(fit: Fit, coefficients: Sequence[Sequence[float]], double: bool) -> float:
    """The largest weighted error, as a power of two."""
    points, values, weights = fit.points(
        sum(map(len, coefficients)) - len(coefficients), double
    )
    biggest = _largest(points, values, weights, coefficients)
    return float(mp.log(biggest, 2))


# -- the table -------------------------------------------------------------------------------


def split(number: Any, bits: Sequence[int]) -> tuple[float, ...]:
    """Floats of so many bits each that add up to a positive number, all of them positive.

    With one sign, x - n * part - ... keeps the sign of a zero x.
    """
    parts = []
    for count in bits:
        scale = count - mp.frexp(number)[1]
        part = mp.ldexp(mp.floor(mp.ldexp(number, scale)), -scale)
        parts.append(float(part))
        number = number - part
    return tuple(parts)


def _solve(fit: Fit) -> tuple[tuple[Any, ...], str]:
    """The entries for float32 and float64, and a note of their errors."""
    both: list[Any] = []
    notes = []
    for double in (False, True):
        if fit.degrees[double] is None:
            both.append(())
            continue
        found = fit.solve(double)
        notes.append(f"2**{worst(fit, found, double):.1f}")
        both.append(found[0] if len(found) == 1 else found)
    return tuple(both), ", ".join(notes)


_HEADER = '''"""Coefficients of native functions, for float32 and float64, written by machine.

`python -m benchmarks.minimax` fits them anew and writes this file; what they approximate is in
`benchmarks/minimax_fits.py`. `TABLES[name][double]` holds coefficients, lowest power first: of
a polynomial, or of numerator and denominator. `PARTS[name][double]` holds floats that add up to
a number, the first ones with few bits, so that products of them with small whole numbers are
exact. `ERRORS[name]` tells the largest weighted error of each approximation.
"""

from __future__ import annotations

from typing import Any

# fmt: off
'''


def _filled(entry: str) -> str:
    entry = entry.replace("'", '"')
    return textwrap.fill(
        entry, 96, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False
    )


def _write(tables: dict[str, Any], errors: dict[str, str]) -> None:
    fits = importlib.import_module("benchmarks.minimax_fits")
    parts = {
        name: (split(number, single), split(number, double))
        for name, (number, single, double) in fits.SPLITS.items()
    }
    lines = [_HEADER]
    for title, kind, entries in (
        ("TABLES", "dict[str, tuple[Any, Any]]", tables),
        ("PARTS", "dict[str, tuple[tuple[float, ...], tuple[float, ...]]]", parts),
        ("ERRORS", "dict[str, str]", errors),
    ):
        lines.append(f"{title}: {kind} = {{")
        lines += [_filled(f"{name!r}: {value!r},") for name, value in sorted(entries.items())]
        lines.append("}\n")
    path = Path(__file__).parents[1] / "wengert/engines/native/math/coefficients.py"
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def main(names: Sequence[str]) -> None:
    """Fit, print errors, and write the table: the fits of these names anew, or all."""
    fits = importlib.import_module("benchmarks.minimax_fits").FITS
    tables, errors = {}, {}
    if names:
        old = importlib.import_module("wengert.engines.native.math.coefficients")
        tables = {n: t for n, t in old.TABLES.items() if n in fits}
        errors = {n: e for n, e in old.ERRORS.items() if n in fits}
    wanted = [(n, f) for n, f in fits.items() if not names or n in names]
    for name, fit in wanted:
        tables[name], errors[name] = _solve(fit)
        print(f"{name:20} {errors[name]}", flush=True)
    _write(tables, errors)


if __name__ == "__main__":
    main(sys.argv[1:])
