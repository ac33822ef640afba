"""Loop nests: axes, segments, sizes around vector widths, and threads."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from ml_dtypes import bfloat16

import wengert as wg
import wengert.numpy as wnp
from wengert.core.array import Array
from wengert.core.tracing import trace
from wengert.engines.native.blocks import expanded
from wengert.engines.native.compile import compile_program
from wengert.engines.native.kernels import group
from wengert.engines.native.machine import Target
from wengert.engines.native.nests import plan
from wengert.passes.pipeline import optimise
from wengert.testing.fuzzing import check_function, random_case
from wengert.testing.fuzzing import primitive as p

SIZES = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)
ENGINES = ("native", "baseline", "checked")
DTYPES = ("bool", "int8", "uint16", "int32", "float16", bfloat16, "float32", "float64")


def nests_of(function, *values, bits=512):
    types = [Array(v).type for v in values]
    block = group(optimise(trace(lambda given: list(function(*given)), types)))
    return [plan(e, bits // 8) for e in expanded(block).values()]


# -- axes ------------------------------------------------------------------------------------


def test_dimensions_that_are_run_through_as_one_are_merged():
    (nest,) = nests_of(lambda x: [x + 1], np.ones((4, 5, 6)))
    assert nest.vector.size == 120
    assert not nest.outer
    assert not nest.inner


def test_broadcasting_keeps_dimensions_apart():
    (nest,) = nests_of(lambda x, y: [x + y], np.ones((4, 5, 60)), np.ones((5, 1)))
    assert [a.size for a in nest.outer] == [4, 5]
    assert nest.vector.size == 60


def test_vectors_run_along_memory():
    (nest,) = nests_of(lambda x: [x.T + 1.0], np.ones((100, 200), np.float32))
    assert nest.vector.size in (100, 200)
    (nest,) = nests_of(lambda x: [wnp.sum(x * 2, axis=0)], np.ones((100, 200), np.float32))
    assert nest.vector.size == 200


def test_lanes_follow_the_widest_dtype():
    x = np.ones(100, np.float32)
    assert nests_of(lambda x: [x + 1], x)[0].lanes == 16
    assert nests_of(lambda x: [x + 1], x, bits=128)[0].lanes == 4
    assert nests_of(lambda x: [x.astype(np.float64)], x)[0].lanes == 8


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_axes_cover_the_domain(bits):
    for seed in range(150):
        block = group(optimise(random_case(seed).program))
        for step, expansion in expanded(block).items():
            nest = plan(expansion, bits // 8)
            if 0 in step.domain:
                continue
            sizes = [a.size for a in (*nest.loops, *nest.inner)]
            assert math.prod(sizes) == math.prod(step.domain), f"seed {seed}"
            assert nest.lanes <= bits // 8


# -- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_of_every_length(engine, dtype):
    for n in SIZES:
        x = (np.arange(n) % 5).astype(dtype)
        y = (np.arange(n)[::-1] % 3).astype(dtype)
        function = lambda x, y: [
            wnp.maximum(x, y),
            x[::-1],
            x[::2] == y[::2],
            wnp.max(x),
            wnp.sum(wnp.where(x > y, x, y)),
        ]
        check_function(function, [x, y], engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_reductions_along_all_axes(engine, axes):
    shapes = [(2, 3, 17), (33, 2, 3), (3, 65, 2), (1, 16, 16), (9, 1, 4)]
    for shape, dtype in itertools.product(shapes, (np.int32, np.float32)):
        x = (np.arange(math.prod(shape)) % 7).reshape(shape).astype(dtype)
        function = lambda x: [
            wnp.sum(x, axis=axes),
            wnp.max(x.T, axis=axes),
            wnp.min(x * 2 - 3, axis=axes),
        ]
        check_function(function, [x], engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_segments(engine):
    """Padding and concatenation cut axes where a choice changes."""
    for n, low, high in itertools.product((1, 15, 16, 17, 40), (0, 1, 16, 33), (0, 2, 31)):
        x = np.arange(2.0 * n).reshape(2, n).astype(np.float32)
        function = lambda x, low=low, high=high: [
            wnp.pad(x, ((1, 0), (low, high))) * 2,
            wnp.concatenate([x[:, :low], x, x[:, ::-1][:, :high]], axis=1),
            wnp.pad(x[::-1], ((0, 2), (high, low)), constant_values=7),
            p("pad")(x, 1.5 * x[0, 0], padding_config=((0, -1, 0), (-1, high, 0))),
        ]
        check_function(function, [x], engine=engine)


# -- threads ---------------------------------------------------------------------------------

LARGE = {
    "map": lambda x: [wnp.exp(-x) * wnp.sin(x)],
    "sum": lambda x: [wnp.sum(x * x), wnp.max(x)],
    "rows": lambda x: [wnp.sum(x.reshape(300, -1), axis=1)],
    "columns": lambda x: [wnp.sum(x.reshape(-1, 300), axis=0)],
    "transposed": lambda x: [x.reshape(300, -1).T * 2],
    "padded": lambda x: [wnp.pad(x, 1001) + 1],
    "gathered": lambda x: [x[(wnp.arange(200_000) * 7) % 90_000]],
    "sorted": lambda x: [wnp.sort(x.reshape(-1, 30), axis=0)],
    "running": lambda x: [wnp.cumsum(x.reshape(300, -1), axis=1)],
    "products": lambda x: [x.reshape(300, 300) @ x.reshape(300, 300).T],
    "updates": lambda x: [x.at[(wnp.arange(50_000) * 13) % 90_000].add(1.0)],
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_do_not_depend_on_threads(name, dtype):
    x = np.sin(np.arange(90_000.0)).astype(dtype)
    program = trace(lambda given: LARGE[name](*given), [Array(x).type])
    compiled = compile_program(program)
    results = []
    for threads in (1, 2, 3, 8):
        with wg.config.threads(threads):
            results.append([np.asarray(out).tobytes() for out in compiled([x])])
    assert all(r == results[0] for r in results)
    check_function(LARGE[name], [x])


def test_other_widths_agree():
    x = np.linspace(0.0, 9.0, 100_001)
    for function in LARGE.values():
        program = trace(lambda given, f=function: f(*given), [Array(x[:90_000]).type])
        wide = compile_program(program)([x[:90_000]])
        narrow = compile_program(program, Target.baseline())([x[:90_000]])
        for a, b in zip(wide, narrow, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-9)
