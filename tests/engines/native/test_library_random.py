"""Random keys and bits of the native library: the same bits as the eager engine's."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.engines.native.machine import Target
from wengert.primitives.random_bits import (
    normal_quantile,
    random_bits,
    random_fold_in,
    random_seed,
    random_split,
    threefry2x32,
    unit_interval,
)
from wengert.primitives.threefry import LAYOUTS

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
PRIMITIVES = [random_bits, random_fold_in, random_seed, random_split, threefry2x32]
PRIMITIVES += [unit_interval]


def words(*shape):
    return np.random.default_rng(3).integers(0, 2**32, shape, dtype=np.uint32)


def check(primitive, *operands, target="host", **params):
    out = run(primitive, *operands, target=TARGETS[target], **params)
    assert_same(out, expected(primitive, *operands, **params))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("primitive", PRIMITIVES, ids=str)
def test_samples(primitive, target):
    for sample in primitive.samples():
        check(primitive, *sample.args, target=target, **sample.params)


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


def test_broadcast_hashes():
    for shapes in (((), (), (40,), (40,)), ((3, 1), (3, 1), (1, 20), (20,))):
        check(threefry2x32, *(words(*shape) for shape in shapes))
    check(threefry2x32, words(3, 1, 4), words(2, 1), words(4), words(1))
    check(threefry2x32, words(1), words(1), words(30000), words(30000))


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_seeds(dtype):
    info = np.iinfo(dtype)
    check(random_seed, np.array([info.min, info.max, 0, 5], dtype))


@pytest.mark.parametrize("target", TARGETS)
def test_normal_numbers(target):
    inside = np.linspace(-1, 1, 30001, dtype=np.float32)
    near = 1 - np.float32(2) ** -np.arange(1, 25, dtype=np.float32)
    u = np.concatenate([inside, near, -near, np.float32([0.0, -0.0, 1.5, np.nan])])
    (out,) = run(normal_quantile, u, target=TARGETS[target])
    np.testing.assert_allclose(out, expected(normal_quantile, u)[0], rtol=3e-7)


def test_unit_floats_of_all_bits():
    for width, dtype in ((16, np.float16), (32, np.float32), (64, np.float64)):
        bits = np.random.default_rng(20).integers(0, 2**width, 5001, dtype=f"u{width // 8}")
        check(unit_interval, bits, dtype=np.dtype(dtype))
