"""Which equations are computed together: laws for all programs, and choices for some."""

from __future__ import annotations

import math

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.core.array import Array
from wengert.core.program import Variable
from wengert.core.tracing import trace
from wengert.engines.native import rows
from wengert.engines.native.blocks import expanded, reads
from wengert.engines.native.kernels import classify, group
from wengert.engines.native.steps import LoopKernel, OpaqueStep
from wengert.passes.pipeline import optimise
from wengert.testing.fuzzing import primitive, random_case

X = np.ones((8, 16), np.float32)


def block_of(function, *values):
    types = [Array(v).type for v in values]
    return group(optimise(trace(lambda given: list(function(*given)), types)))


def titles(function, *values):
    """Steps in short: the domains of kernels, the names of other operations."""
    return [
        step.domain if isinstance(step, LoopKernel) else step.equation.primitive.name
        for step in block_of(function, *values).steps
    ]


# -- laws ------------------------------------------------------------------------------------


def check_order(block):
    """Steps read what is in memory already, and all results are in memory at the end."""
    program = block.program
    known = {*program.inputs, *program.constants}
    for step in block.steps:
        own = set(step.outputs)
        read = reads(block, step)
        missing = read - known - own
        assert not isinstance(step, LoopKernel) or not read & own
        assert not missing, step
        assert not own & known, "something is computed twice"
        known |= own
    for atom in program.outputs:
        root = block.root(atom)
        assert not isinstance(root, Variable) or root in known


def check_shapes(block):
    for step in block.steps:
        if isinstance(step, LoopKernel):
            rank = len(step.domain)
            assert all(v.type.shape[:rank] == step.domain for v in step.stores)
            assert all(math.prod(v.type.shape[rank:]) <= rows.LONGEST for v in step.stores)
            assert all(e.inputs[0].type.shape == step.domain for e in step.reductions)


def check_kinds(block):
    """Every equation that is needed is in a step, or in the expressions of kernels."""
    opaque = [s.equation for s in block.steps if isinstance(s, OpaqueStep)]
    for equation in block.program.equations:
        kind = classify(equation)
        assert (equation in opaque) == (kind in ("library", "control", "callback"))
        if equation.primitive.name in ("cond", "scan", "while"):
            for program in _programs(equation):
                check_order(group(program))


def _programs(equation):
    for value in equation.params.values():
        for part in value if isinstance(value, tuple) else (value,):
            if hasattr(part, "equations"):
                yield part


@pytest.mark.parametrize("start", range(0, 300, 60))
def test_laws(start):
    for seed in range(start, start + 60):
        for program in (random_case(seed).program, optimise(random_case(seed).program)):
            try:
                block = group(program)
                expanded(block)
                check_order(block)
                check_shapes(block)
                check_kinds(block)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}\n{program}") from error


def test_grouping_is_repeatable():
    for seed in range(30):
        program = optimise(random_case(seed).program)
        one, two = group(program), group(program)
        assert [s.outputs for s in one.steps] == [s.outputs for s in two.steps]


# -- choices ---------------------------------------------------------------------------------


def test_elements_fuse():
    assert titles(lambda x: [wnp.sin(x) * 2 + x], X) == [(8, 16)]


def test_siblings_share_a_kernel():
    (step,) = block_of(lambda x: [x + 1, x * 2, wnp.sum(x), wnp.max(x, axis=1)], X).steps
    assert len(step.stores) == 2
    assert len(step.reductions) == 2


def test_producers_fuse_into_reductions():
    (step,) = block_of(lambda x: [wnp.sum(wnp.exp(x), axis=1)], X).steps
    assert not step.stores


def test_what_depends_on_a_reduction_comes_after_it():
    function = lambda x: [x - wnp.max(x, axis=1, keepdims=True)]
    assert titles(function, X) == [(8, 16), (8, 16)]


def test_views_are_read_where_they_are():
    function = lambda x: [wnp.pad(x.T[::-1], 1)[2:, :4] + 1.0]
    assert titles(function, X) == [(16, 4)]


def test_libraries_and_callbacks_are_steps():
    function = lambda x: [wnp.sort(x @ x.T) * 2, wg.scipy.linalg.expm(x[:, :8] + 1)]
    assert {"dot_general", "sort", "expm"} <= set(titles(function, X))


def test_small_results_are_stored_where_many_read_them():
    function = lambda x, y: [wnp.exp(x)[:, None] * y]
    assert titles(function, np.ones(8), np.ones((8, 10_000))) == [(8,), (8, 10_000)]


def test_costly_values_are_not_computed_again_and_again():
    y = np.ones((300, 300))
    steps = block_of(lambda y: [_chain(y) + _chain(y).T], y).steps
    assert len(steps) == 2


def _chain(y):
    for _ in range(4):
        y = wnp.tanh(wnp.exp(-y * y))
    return y


def test_long_chains_are_cut():
    def chain(x):
        for i in range(1000):
            x = x * 1.5 + i
        return [x]

    (step,) = block_of(chain, X).steps
    assert 1 < len(step.stores) < 50


def test_reshapes_name_memory():
    block = block_of(lambda x: [wnp.sort((x + 1).reshape(4, 32))], X)
    assert len(block.steps) == 2
    assert len(block.aliases) == 1


def test_half_precision_sums_are_not_unrolled():
    half = np.ones((64, 3), np.float16)
    (step,) = block_of(lambda x: [wnp.sum(x, axis=1)], half).steps
    assert len(step.reductions) == 1
    assert titles(lambda x: [wnp.sum(x, axis=1)], half.astype(np.float32)) == [(64,)]


@pytest.mark.parametrize(
    ("name", "args", "params", "kind"),
    [
        ("add", (X, X), {}, "element"),
        ("transpose", (X,), {"permutation": (1, 0)}, "view"),
        ("reduce_sum", (X,), {"axes": (0,)}, "reduction"),
        ("cumsum", (X,), {"axis": 0, "reverse": False}, "library"),
        ("expm", (X[:, :8],), {}, "callback"),
    ],
)
def test_kinds(name, args, params, kind):
    types = [Array(a).type for a in args]
    program = trace(lambda given: [primitive(name)(*given, **params)], types)
    assert classify(program.equations[0]) == kind
