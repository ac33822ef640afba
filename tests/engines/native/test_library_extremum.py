"""Positions of extrema of the native library: the eager engine's, exactly."""

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.machine import Target
from wengert.primitives.reduce import argmax, argmin

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
REAL = [d for d in dtypes.SUPPORTED if not dtypes.is_complex(d)]


def check(primitive, x, target="host", **params):
    out = run(primitive, x, target=TARGETS[target], **params)
    assert_same(out, expected(primitive, x, **params))


@pytest.mark.parametrize("primitive", [argmax, argmin], ids=str)
def test_samples(primitive):
    for sample in primitive.samples():
        check(primitive, *sample.args, **sample.params)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
@pytest.mark.parametrize("primitive", [argmax, argmin], ids=str)
def test_dtypes_and_axes(primitive, dtype, target):
    rng = np.random.default_rng(22)
    for shape, axis in (((1,), 0), ((3,), 0), ((37,), 0), ((4, 29), 1), ((19, 21), 0)):
        x = rng.integers(0, 9, shape).astype(dtype)
        if dtype.kind == "i":
            x = (x - 4).astype(dtype)
        check(primitive, x, target=target, axis=axis)
        if dtypes.is_floating(dtype):
            x = x - x.dtype.type(4)
            x[rng.random(shape) < 0.3] = -0.0
            check(primitive, x, target=target, axis=axis)
            x[rng.random(shape) < 0.1] = np.nan
            x[rng.random(shape) < 0.1] = -np.nan
            check(primitive, x, axis=axis, target=target, index_dtype=np.dtype(np.int64))


def test_large():
    x = np.random.default_rng(23).normal(size=(70, 1000)).astype(np.float32)
    for axis in (0, 1):
        check(argmax, x, axis=axis)
        check(argmin, x.reshape(7, 10, 1000), axis=axis)
