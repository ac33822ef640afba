"""Running operations of the native library against the eager engine."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.machine import Target
from wengert.primitives.cumulative import (
    cumlogsumexp,
    cummax,
    cummin,
    cumprod,
    cumsum,
    linear_recurrence,
)

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
RUNNING = [cumsum, cumprod, cummax, cummin, cumlogsumexp]
SHAPES = [((5,), 0), ((0,), 0), ((3, 0), 0), ((7, 9), 1), ((19, 70), 1), ((9, 35), 0)]
SHAPES += [((2, 6, 100), 1), ((1, 1000), 1), ((33,), 0), ((4, 3, 1), 1)]


def tolerance(primitive, dtype, sequential=False):
    """Sums of rows are grouped otherwise; logarithms differ in the last digits."""
    if not dtypes.is_inexact(dtype) or primitive in (cummax, cummin, cumprod) or sequential:
        return 0
    return {2: 1e-2, 4: 5e-6, 8: 1e-13}[dtypes.real_dtype(dtype).itemsize]


def check(primitive, *operands, target="host", exact=0.0, **params):
    out = run(primitive, *operands, target=TARGETS[target], **params)
    assert_same(out, expected(primitive, *operands, **params), exact)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("primitive", [*RUNNING, linear_recurrence], ids=str)
def test_samples(primitive, target):
    for sample in primitive.samples():
        if run(primitive, *sample.args, **sample.params) is not None:
            near = 1e-3 if sample.args[0].dtype.itemsize == 2 else 1e-6
            check(primitive, *sample.args, target=target, exact=near, **sample.params)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("primitive", RUNNING, ids=str)
def test_shapes(primitive, target):
    rng = np.random.default_rng(7)
    for (shape, axis), reverse in itertools.product(SHAPES, (False, True)):
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            x = rng.uniform(-1.5, 1.5, shape).astype(dtype)
            near = tolerance(primitive, dtype)
            check(primitive, x, target=target, exact=near, axis=axis, reverse=reverse)


@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=lambda d: d.name)
@pytest.mark.parametrize("primitive", [cumsum, cumprod, cummax, cummin], ids=str)
def test_dtypes(primitive, dtype):
    if dtypes.is_complex(dtype) and primitive is not cumsum:
        return
    x = np.random.default_rng(8).integers(-3, 4, (3, 40)).astype(dtype)
    for axis in (0, 1):
        check(primitive, x, axis=axis, exact=0, reverse=axis == 0)


@pytest.mark.parametrize("primitive", RUNNING, ids=str)
def test_special_values(primitive):
    x = np.array([1.0, np.inf, 2.0, -np.inf, 3.0, np.nan, 1.0] * 5, np.float32)
    for row in (x, x[:4], np.abs(x[:5]), np.zeros(40, np.float32)):
        check(primitive, row, axis=0, exact=1e-6, reverse=False)
        check(primitive, np.stack([row, -row], 1), axis=0, exact=1e-6, reverse=True)


def test_sums_near_the_largest_number():
    x = np.array([-3e38, 3e38, 3e38, -3e38] * 10, np.float32)
    for reverse in (False, True):
        check(cumsum, x, axis=0, reverse=reverse)
        check(cumsum, x[:20], axis=0, reverse=reverse)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_recurrences(dtype):
    rng = np.random.default_rng(9)
    for (shape, axis), reverse in itertools.product(SHAPES, (False, True)):
        a, b = rng.uniform(-1, 1, (2, *shape)).astype(dtype)
        near = {"float32": 1e-6, "float64": 1e-13, "float16": 1e-3}.get(dtype, 0)
        check(linear_recurrence, a, b, exact=near, axis=axis, reverse=reverse)
