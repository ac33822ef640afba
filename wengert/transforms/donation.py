"""Donated arguments of jitted functions: their memory becomes that of results.

A call takes the values out of the donated arrays, which are deleted from then on, and lets the
program overwrite those that it can use. It may overwrite only what nobody else can see: the
reference that was taken out must be the only one, and the array must own its memory. Anything
else (a NumPy array of the user, an array with views, one that is passed twice or that is a
constant of a program) is copied first.

A call that raises leaves its arguments as they were: programs overwrite nothing before the last
place at which they may fail. Only where an exception comes after that, as a signal handler may
raise one, donated arrays stay deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import config
from wengert.core import tree
from wengert.core.array import Array, Deleted
from wengert.core.interpreter import location
from wengert.core.lazy import lazy_module
from wengert.core.program import Program
from wengert.engines.native.execute import NativeProgram
from wengert.engines.selection import executable

memory = lazy_module("wengert.engines.native.runtime.memory")


def donated_leaves(
    in_tree: tree.TreeDef, argnums: Sequence[int], argnames: frozenset[str]
) -> tuple[int, ...]:
    """The numbers of the leaves of donated arguments."""
    if not argnums and not argnames:
        return ()
    args, kwargs = in_tree.children()
    count = args.num_children
    chosen = {n % count for n in argnums if -count <= n < count}
    wanted = [i in chosen for i in range(count)]
    wanted += [name in argnames for name in kwargs.entries()]
    donated: list[int] = []
    start = 0
    for spec, yes in zip([*args.children(), *kwargs.children()], wanted, strict=True):
        donated += range(start, start + spec.num_leaves) if yes else ()
        start += spec.num_leaves
    return tuple(donated)


def deleted(type_: Any, name: str, here: Any, later: bool = False) -> Deleted:
    """What an array holds that has been donated to a function.

    Args:
      type_: its type.
      name: of the function.
      here: the line of the call.
      later: whether it was not this call, but one after it that machine code answered, which
        does not look where it is called from.
    """
    how = f"was donated to {name}"
    if later:
        how += (
            ", in a later call than the one at this line, the first with arguments like these "
            "(under wengert.config.debug_nans(True) the line of every call is noted)"
        )
    return Deleted(type_, how, here)


def call_donating(
    program: Program, donated: tuple[int, ...], values: Sequence[Array], name: str
) -> list[Array]:
    """The results of a program; donated arrays are deleted.

    Args:
      program: what to run.
      donated: numbers of values.
      values: the arguments.
      name: of the jitted function.
    """
    here = location()
    raw = [v._value for v in values]
    gone = [r for r in raw if type(r) is Deleted]
    if gone:
        raise gone[0].error()
    finished = np.zeros(1, np.bool_)
    try:
        for i in donated:
            values[i]._value = deleted(raw[i], name, here)
        if config.debug_nans.value or not program.equations:
            fresh = [Array(r, v._weak) for r, v in zip(raw, values, strict=True)]
            return list(program.evaluate(*fresh))
        made = executable(program, donated=donated)
        given = raw
        if type(made) is NativeProgram and made.overwrites:
            given = [*_given_away(raw, made.overwrites), finished]
        out = made.run(given)
        return [Array(o, t.weak_type) for o, t in zip(out, program.out_types, strict=True)]
    except BaseException:
        if not finished[0]:
            for i in donated:
                values[i]._value = raw[i]
        raise


def _given_away(values: Sequence[Any], which: Sequence[int]) -> list[Any]:
    """The values, with copies of those that may not be overwritten."""
    shared = [i for i in which if not _is_free(values, i)]
    given = list(values)
    for i in shared:
        given[i] = memory.empty(values[i].shape, values[i].dtype)
        given[i][...] = values[i]
    return given


def _is_free(values: Sequence[Any], i: int) -> bool:
    """Whether the list holds the only reference to a dense array that owns its memory."""
    if sys.getrefcount(values[i]) != _FREE:
        return False
    flags = values[i].flags
    return bool(flags.owndata and flags.carray)  # dense, aligned and writable


def _references_from_a_list() -> int:
    values = [np.zeros(1)]
    return sys.getrefcount(values[0])


#: What `getrefcount` says of an array that only a list holds.
_FREE = _references_from_a_list()
