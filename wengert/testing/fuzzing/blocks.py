"""Control flow in random programs: cond, scan and while with random bodies.

A body is a closed draft: its inputs are operands of the whole, and new values in it are made of
constants. Its results are brought to the types that the loop or the other branches ask for.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.program import Atom, Literal, Program, Variable
from wengert.testing.fuzzing.draft import Draft, primitive
from wengert.testing.fuzzing.rules import RULES, Rule

INT32 = np.dtype(np.int32)
_BODY_EQUATIONS = 5


def extend(draft: Draft, count: int, rules: Sequence[tuple[Rule, int]]) -> None:
    """Append about so many equations."""
    weights = np.array([w for _, w in rules], float)
    weights /= weights.sum()
    for _ in range(4 * count):
        if len(draft.equations) >= count or draft.failed:
            return
        rules[int(draft.rng.choice(len(rules), p=weights))][0](draft)


def _body(draft: Draft, types: Sequence[ArrayType], given: Sequence[Any]) -> Draft:
    """A closed draft with inputs of some types that have some values."""
    body = Draft(draft.rng, draft.sizes, draft.most, closed=True)
    for type_, value in zip(types, given, strict=True):
        variable = Variable(ArrayType(type_.shape, type_.dtype))
        body.inputs.append(variable)
        body.values[variable] = np.asarray(value)[()]
    nested = RULES if draft.closed or draft.chance(0.7) else (*RULES, *BLOCKS)
    extend(body, draft.integer(1, _BODY_EQUATIONS), nested)
    return body


def _is_like(wanted: ArrayType, type_: ArrayType) -> bool:
    return type_.shape == wanted.shape and type_.dtype == wanted.dtype


def _is_as_large(wanted: ArrayType, type_: ArrayType) -> bool:
    return type_.size == wanted.size


def _results(body: Draft, types: Sequence[ArrayType]) -> list[Atom]:
    """Results of these types, of the body's latest variables where that is possible."""
    out: list[Atom] = []
    for type_ in types:
        found = body.pick(functools.partial(_is_like, type_))
        if found is None or (body.chance(0.2) and body.values):
            source = body.pick(functools.partial(_is_as_large, type_))
            source = source or body.pick(lambda t: t.size > 0)
            found = (
                body.coerced(source, type_)
                if source is not None
                else body.fresh(np.zeros(type_.shape, type_.dtype)[()])
            )
        out.append(found)
    return out


def _operands(draft: Draft, count: int) -> list[Variable]:
    return [draft.some() for _ in range(count)]


def _plain(variables: Sequence[Variable]) -> list[ArrayType]:
    return [ArrayType(v.type.shape, v.type.dtype) for v in variables]


def _cond(draft: Draft) -> None:
    operands = _operands(draft, draft.integer(1, 4))
    types, given = _plain(operands), [draft.values[v] for v in operands]
    count = draft.choice([1, 2, 2, 3])
    first = _body(draft, types, given)
    made = [v for e in first.equations for v in e.outputs]
    wanted = [ArrayType(v.type.shape, v.type.dtype) for v in made[-draft.integer(1, 4) :]]
    wanted = wanted or types[:1]
    bodies = [first, *(_body(draft, types, given) for _ in range(count - 1))]
    branches = tuple(b.program(_results(b, wanted)) for b in bodies)
    index = draft.scalar(INT32, draft.integer(0, count))
    draft.apply(primitive("cond"), [index, *operands], branches=branches)


def _scan(draft: Draft) -> None:
    consts = _operands(draft, draft.integer(0, 3))
    carry = _operands(draft, draft.integer(0, 3))
    xs = [draft.some(rank=1)] if draft.chance(0.8) else []
    length = xs[0].type.shape[0] if xs else draft.integer(0, 6)
    if length > 40:
        return
    if xs and draft.chance(0.3):
        other = draft.pick(lambda t: t.ndim > 0 and t.shape[0] == length)
        xs += [other] if other is not None else []
    slices = [t.update(shape=t.shape[1:]) for t in _plain(xs)]
    types = [*_plain(consts), *_plain(carry), *slices]
    held = [draft.values[v] for v in (*consts, *carry)]
    elements = [
        draft.values[v][0] if length else np.zeros(t.shape, t.dtype)
        for v, t in zip(xs, slices, strict=True)
    ]
    body = _body(draft, types, [*held, *elements])
    made = [v for e in body.equations for v in e.outputs]
    ys: list[Atom] = list(made[-draft.integer(1, 3) :]) if draft.chance(0.7) else []
    outputs = [*_results(body, _plain(carry)), *ys]
    draft.apply(
        primitive("scan"),
        [*consts, *carry, *xs],
        body=body.program(outputs),
        consts=len(consts),
        carry=len(carry),
        length=length,
        reverse=draft.chance(0.3),
        unroll=draft.choice([1, 1, 1, 2, 4]),
    )


def _while(draft: Draft) -> None:
    held = _operands(draft, draft.integer(0, 2))
    carry = _operands(draft, draft.integer(0, 3))
    counter = draft.fresh(np.int32(0))
    types = [*_plain(held), INT32_SCALAR, *_plain(carry)]
    given = [draft.values[v] for v in (*held, counter, *carry)]
    body = _body(draft, types, given)
    turn = body.inputs[len(held)]
    results = _results(body, _plain(carry))
    (following,) = body.required("add", [turn, Literal(1)])
    program = body.program([following, *results])
    cond = _turns(draft.integer(0, 6), [INT32_SCALAR, *_plain(carry)])
    draft.apply(
        primitive("while"),
        [*held, counter, *carry],
        cond=cond,
        cond_count=0,
        body=program,
        body_count=len(held),
        checkpoint=None,
    )


INT32_SCALAR = ArrayType((), INT32)


def _turns(count: int, types: Sequence[ArrayType]) -> Program:
    """The condition that the first value of a carry is less than a number."""
    inputs = [Variable(t) for t in types]
    truth = Variable(ArrayType((), dtypes.BOOL))
    draft = Draft(np.random.default_rng(0), (1,), 1, closed=True)
    draft.inputs = inputs
    draft.values[inputs[0]] = np.int32(0)
    (truth,) = draft.required("lt", [inputs[0], Literal(Array(np.int32(count)))])
    return draft.program([truth])


BLOCKS: tuple[tuple[Rule, int], ...] = ((_cond, 5), (_scan, 5), (_while, 4))
