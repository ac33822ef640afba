"""Operations on windows of the native library against the eager engine, bit by bit."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.machine import Target
from wengert.primitives.window import (
    overlap_add,
    reduce_window_max,
    reduce_window_min,
    reduce_window_sum,
    windows,
)

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
REDUCTIONS = [reduce_window_sum, reduce_window_max, reduce_window_min]


def check(primitive, x, target="host", **params):
    out = run(primitive, x, target=TARGETS[target], **params)
    assert out is not None
    assert_same(out, expected(primitive, x, **params))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("primitive", [*REDUCTIONS, windows, overlap_add], ids=str)
def test_samples(primitive, target):
    for sample in primitive.samples():
        check(primitive, *sample.args, target=target, **sample.params)


def reduction(rank, sizes, strides=None, padding=None, base=None, dilation=None):
    ones = (1,) * rank
    return {
        "window_dimensions": sizes,
        "window_strides": strides or ones,
        "padding": padding or ((0, 0),) * rank,
        "base_dilation": base or ones,
        "window_dilation": dilation or ones,
    }


@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=lambda d: d.name)
@pytest.mark.parametrize("primitive", REDUCTIONS, ids=str)
def test_dtypes(primitive, dtype):
    if dtypes.is_complex(dtype):
        return
    x = np.random.default_rng(16).integers(-9, 9, (2, 21, 22)).astype(dtype)
    check(primitive, x, **reduction(3, (1, 3, 2), (1, 2, 2)))
    check(primitive, x, **reduction(3, (1, 3, 3), None, ((0, 0), (1, 1), (1, 1))))


@pytest.mark.parametrize("primitive", REDUCTIONS, ids=str)
def test_geometries(primitive):
    x = np.random.default_rng(17).normal(size=(3, 18, 20)).astype(np.float32)
    for stride, base, dilation, low in itertools.product((1, 3), (1, 2), (1, 2), (-1, 0, 2)):
        params = reduction(
            3,
            (2, 3, 4),
            (1, stride, stride),
            ((1, 0), (low, 1), (0, low)),
            (1, base, base),
            (1, dilation, dilation),
        )
        check(primitive, x, **params)
    check(primitive, x, **reduction(3, (1, 1, 20)))
    check(primitive, x, **reduction(3, (3, 18, 20)))


def test_large():
    x = np.random.default_rng(18).normal(size=(4, 60, 300)).astype(np.float32)
    check(reduce_window_max, x, **reduction(3, (1, 2, 2), (1, 2, 2)))
    check(reduce_window_sum, x, **reduction(3, (1, 11, 11)))


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8", "float16", "bool"])
def test_windows_and_back(dtype):
    x = np.random.default_rng(19).integers(0, 9, (2, 9, 10)).astype(dtype)
    for strides, dilation in (((1, 1), (1, 1)), ((2, 3), (1, 2))):
        params = {"window_strides": strides, "window_dilation": dilation}
        check(windows, x, window_dimensions=(3, 2), **params)
        (laid_out,) = expected(windows, x, window_dimensions=(3, 2), **params)
        check(overlap_add, np.ascontiguousarray(laid_out), shape=(9, 10), **params)
