"""All rows, by group, in the order they are printed."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.compiled import algebra, elementwise, loops, networks
from benchmarks.compiled.row import Row

GROUPS = {
    "elementwise": elementwise.ROWS,
    "networks": networks.ROWS,
    "loops": loops.ROWS,
    "algebra": algebra.ROWS,
}


def chosen(names: Iterable[str]) -> list[Row]:
    """Rows by their names or those of groups; all of them without names.

    Raises:
      SystemExit: for a name that is neither.
    """
    every = [row for rows in GROUPS.values() for row in rows]
    wanted = set(names)
    known = {*GROUPS, *(row.name for row in every)}
    if wanted - known:
        raise SystemExit(f"no row {sorted(wanted - known)}; there are {sorted(known)}")
    in_groups = {row.name for name in wanted & GROUPS.keys() for row in GROUPS[name]}
    return [row for row in every if not wanted or row.name in wanted | in_groups]
