"""Random keys and bits of the native library: the same bits as the eager engine's."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.engines.native.machine import Target
from wengert.primitives.random_bits import (
    random_bits,
    random_fold_in,
    random_seed,
    random_split,
)
from wengert.primitives.threefry import LAYOUTS

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
PRIMITIVES = [random_bits, random_fold_in, random_seed, random_split]


def words(*shape):
    return np.random.default_rng(3).integers(0, 2**32, shape, dtype=np.uint32)


def check(primitive, *operands, target="host", **params):
    out = run(primitive, *operands, target=TARGETS[target], **params)
    assert_same(out, expected(primitive, *operands, **params))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("drawing", PRIMITIVES, ids=str)
def test_samples(drawing, target):
    for sample in drawing.samples():
        check(drawing, *sample.args, target=target, **sample.params)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_sizes_of_draws(width, layout):
    for keys, size in itertools.product((words(2), words(3, 2)), (1, 2, 5, 16, 33, 1001)):
        check(random_bits, keys, width=width, shape=(size,), layout=layout)
    check(random_bits, words(2), width=width, shape=(300, 301), layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits(layout):
    for keys, count in itertools.product((words(2), words(5, 2)), (1, 2, 3, 17, 40)):
        check(random_split, keys, shape=(count,), layout=layout)
    check(random_split, words(2), shape=(30000,), layout=layout)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_seeds(dtype):
    info = np.iinfo(dtype)
    check(random_seed, np.array([info.min, info.max, 0, 5], dtype))
