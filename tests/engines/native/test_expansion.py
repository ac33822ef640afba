"""Expressions of kernels, evaluated by NumPy at all points of their domains.

A kernel's graph of nodes is an interface of its own: what it means is defined here without
machine code. Loads must lie inside their arrays wherever choices do not hide them, and values
must be those of the eager engine, bit by bit.
"""

from __future__ import annotations

import numpy as np
import pytest

import wengert.numpy as wnp
from wengert.core import dtypes
from wengert.core.array import Array
from wengert.core.interpreter import quiet
from wengert.core.primitive import typed_literals
from wengert.core.tracing import trace
from wengert.engines.native import expansion
from wengert.engines.native.blocks import expanded
from wengert.engines.native.expressions import (
    Apply,
    Checked,
    Choose,
    Constant,
    Coordinate,
    Kept,
    Load,
    matching_groups,
    only_splits,
)
from wengert.engines.native.kernels import group
from wengert.passes.pipeline import optimise
from wengert.testing.fuzzing import primitive, random_case
from wengert.testing.fuzzing.noise import noisy
from wengert.testing.fuzzing.shrink import evaluated


class OutOfBounds(Exception):
    """A position that a kernel checks is out of bounds."""


class Points:
    """Evaluates nodes at all points of a domain at once."""

    def __init__(self, domain, memory):
        self.shape = domain
        self.grid = np.indices(domain, sparse=True) if domain else ()
        self.memory = memory
        self.known = {}

    def affine(self, form):
        total = np.int64(form[-1])
        for coefficient, at in zip(form[:-1], self.grid, strict=True):
            total = total + coefficient * at
        return np.broadcast_to(total, self.shape)

    def value(self, node, mask):
        """Values, right where the mask holds."""
        key = id(node), id(mask)
        if key not in self.known:
            self.known[key] = np.broadcast_to(self._value(node, mask), self.shape), mask
        return self.known[key][0]

    def _value(self, node, mask):
        if isinstance(node, Constant):
            return np.asarray(node.value)
        if isinstance(node, Coordinate):
            return self.affine(node.affine).astype(node.dtype)
        if isinstance(node, Load):
            return self._load(node, mask)
        if isinstance(node, Choose):
            return self._choose(node, mask)
        if isinstance(node, Kept):
            for check in node.checks:
                self.value(check, mask)
            return self.value(node.node, mask)
        if isinstance(node, Checked):
            index = self.value(node.index, mask)
            index = np.where(index < 0, index + node.size, index)
            bad = (index < 0) | (index >= node.limit)
            if np.any(bad & mask):
                raise OutOfBounds
            return np.where(bad, 0, index)
        assert isinstance(node, Apply)
        return self._apply(node, [self.value(a, mask) for a in node.args])

    def _load(self, node, mask):
        at = self.affine(node.offset)
        for term, stride in node.terms:
            at = at + self.value(term, mask) * stride
        flat = np.asarray(self.memory[node.variable]).reshape(-1)
        inside = (at >= 0) & (at < flat.size)
        assert np.all(inside | ~mask), f"{node.variable.type} is read outside"
        return flat[np.where(inside, at, 0)] if flat.size else np.zeros(self.shape, flat.dtype)

    def _choose(self, node, mask):
        truth = np.ones(self.shape, bool)
        for form, low, high in node.conditions:
            at = self.affine(form)
            truth &= (at >= low) & (at < high)
        inside = self.value(node.inside, mask & truth)
        return np.where(truth, inside, self.value(node.outside, mask & ~truth))

    def _apply(self, node, args):
        params = dict(node.params)
        if node.name in ("convert", "bitcast_convert"):
            params["dtype"] = node.dtype
        values = [np.asarray(a) for a in args]
        return quiet().run(primitive(node.name).compute, *typed_literals(values), **params)


def same(x, y):
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype and x.shape == y.shape
    missing = np.isnan(x) & np.isnan(y) if x.dtype.kind in "fV" else False
    return bool(np.all((x == y) | missing))


def check_kernels(program, values):
    """Evaluate all kernels of a program; the operands are those of the eager engine."""
    block = group(program)
    memory = evaluated(program, values)
    for step, kernel in expanded(block).items():
        if any(v not in memory for v in step.outputs):
            return  # behind an error
        points = Points(step.domain, memory)
        everywhere = np.ones(step.domain, bool)
        for variable, node, _ in kernel.roots:
            got = np.asarray(points.value(node, everywhere)).astype(variable.type.dtype)
            assert same(got.reshape(variable.type.shape), memory[variable]), step
        for equation, node in kernel.reductions:
            operand = points.value(node, everywhere)
            if node.dtype.kind not in "biu":
                continue  # sums round in another order
            params = dict(equation.params)
            got = quiet().run(equation.primitive.compute, operand, **params)
            assert same(got, memory[equation.outputs[0]]), step


@pytest.mark.parametrize("start", range(0, 160, 20))
def test_random_programs(start):
    for seed in range(start, start + 20):
        case = random_case(seed)
        program = optimise(case.program)
        if noisy(program) is not program or too_large(program):
            continue
        names = {e.primitive.name for e in program.equations}
        if names & {"threefry2x32", "random_bits"} or has_complex(program):
            continue
        try:
            check_kernels(program, case.values)
        except OutOfBounds:
            with pytest.raises(IndexError):
                case.program.evaluate(*map(Array, case.values))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{program}") from error


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[::-1, 1:5] + x[1:7:2, ::2].sum(),
        lambda x: wnp.pad(x, ((1, 2), (0, 3)))[2:] * 2,
        lambda x: wnp.concatenate([x, x[:2], x[:0], x * 2])[1:9],
        lambda x: x.reshape(3, 2, 6)[:, ::-1].reshape(36)[5:],
        lambda x: x.T.reshape(4, 9).T,
        lambda x: x[wnp.array([0, -1, 3])] + x[:3],
        lambda x: wnp.where(x > 3, x, -x).max(axis=0),
        lambda x: wnp.broadcast_to(x[:, None], (6, 2, 6))[..., ::2],
    ],
)
def test_functions(function):
    x = np.arange(36).reshape(6, 6)
    program = optimise(trace(lambda given: [function(*given)], [Array(x).type]))
    check_kernels(program, [x])


def test_a_wrong_expression_is_noticed(monkeypatch):
    monkeypatch.setattr(expansion.Expansion, "shifted", lambda self, index, *_: index)
    with pytest.raises(AssertionError):
        test_functions(lambda x: x[::-1] * 2)


def kernels_of(function, *values):
    types = [Array(v).type for v in values]
    block = group(optimise(trace(lambda given: [function(*given)], types)))
    return list(expanded(block).values())


def test_equal_expressions_are_one():
    (kernel,) = kernels_of(lambda x: (x + 1.0) * (x[:] + 1.0), np.ones(5))
    ((_, node, _),) = kernel.roots
    assert node.args[0] is node.args[1]


def test_views_are_loads():
    (kernel,) = kernels_of(lambda x: -x.T[::-1, 1::2], np.ones((6, 4)))
    ((_, node, _),) = kernel.roots
    (load,) = node.args
    assert isinstance(load, Load)
    assert load.offset == (-1, 8, 7)  # at (i, j): element (1 + 2 j, 3 - i)


def test_padding_is_a_choice():
    (kernel,) = kernels_of(lambda x: wnp.pad(x, 2), np.ones(5))
    ((_, node, _),) = kernel.roots
    assert isinstance(node, Choose)
    assert node.conditions == (((1, -2), 0, 5),)
    assert isinstance(node.inside, Load)
    assert isinstance(node.outside, Constant)


@pytest.mark.parametrize(
    ("source", "target", "splits"),
    [
        ((6, 4), (2, 3, 4), True),
        ((6, 4), (24,), False),
        ((6, 4), (3, 8), False),
        ((1, 6, 1), (6,), True),
        ((), (1, 1), True),
        ((4, 1, 3), (2, 2, 3, 1), True),
    ],
)
def test_reshapes_that_split(source, target, splits):
    assert only_splits(source, target) is splits
    groups = matching_groups(source, target)
    for left, right in groups:
        assert np.prod([source[i] for i in left]) == np.prod([target[j] for j in right])


def too_large(program):
    return any(v.type.size > 5000 for e in program.equations for v in e.outputs)


def has_complex(program):
    types = [v.type for e in program.equations for v in e.outputs]
    return any(dtypes.is_complex(t.dtype) for t in (*types, *program.in_types))
