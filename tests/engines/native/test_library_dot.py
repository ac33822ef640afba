"""Matrix products of the native library against the eager engine."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.machine import Target
from wengert.primitives.contract import dot_general

MATRIX = (((1,), (0,)), ((), ()))
TARGETS = {"host": Target.host(), "baseline": Target.baseline()}


def numbers_of(rng, shape, dtype):
    dtype = np.dtype(dtype)
    if dtypes.kind(dtype) == "b":
        return rng.random(shape) < 0.4
    if dtypes.is_integer(dtype):
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    x = rng.normal(size=shape)
    if dtypes.is_complex(dtype):
        x = x + 1j * rng.normal(size=shape)
    return np.asarray(x).astype(dtype)


def tolerance(dtype):
    dtype = np.dtype(dtype)
    if not dtypes.is_inexact(dtype):
        return 0
    return {2: 1e-2, 4: 2e-6, 8: 1e-14}[dtypes.real_dtype(dtype).itemsize]


def check(lhs, rhs, numbers, dtype="float32", target="host", **params):
    rng = np.random.default_rng(1)
    x, y = (numbers_of(rng, shape, dtype) for shape in (lhs, rhs))
    params["dimension_numbers"] = numbers
    out = run(dot_general, x, y, target=TARGETS[target], **params)
    assert_same(out, expected(dot_general, x, y, **params), tolerance(out[0].dtype))


@pytest.mark.parametrize("target", TARGETS)
def test_samples(target):
    for sample in dot_general.samples():
        out = run(dot_general, *sample.args, target=TARGETS[target], **sample.params)
        assert_same(out, expected(dot_general, *sample.args, **sample.params), 1e-6)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes_and_orders(dtype, target):
    sizes = [(1, 1, 5), (1, 7, 3), (5, 1, 4), (2, 3, 1), (7, 9, 5), (3, 17, 33), (18, 35, 20)]
    sizes += [(40, 33, 50), (70, 70, 40), (1, 200, 150), (150, 1, 200), (1, 1, 300)]
    for m, n, k in sizes:
        for flip_a, flip_b in itertools.product((False, True), repeat=2):
            lhs, rhs = (k, m) if flip_a else (m, k), (n, k) if flip_b else (k, n)
            check(lhs, rhs, (((int(not flip_a),), (int(flip_b),)), ((), ())), dtype, target)


ORDERS = [
    ((3, 4, 5), (3, 5, 6), (((2,), (1,)), ((0,), (0,)))),
    ((2, 8, 3, 4), (2, 8, 3, 4), (((3,), (3,)), ((0, 2), (0, 2)))),  # attention
    ((2, 3, 8, 8), (2, 8, 3, 4), (((3,), (1,)), ((0, 1), (0, 2)))),
    ((4, 3, 5), (4, 6), (((0,), (0,)), ((), ()))),
    ((40, 3, 50), (3, 60), (((1,), (0,)), ((), ()))),
    ((4, 5), (40, 5, 50), (((1,), (1,)), ((), ()))),
    ((4, 5, 6), (6, 7, 5), (((1, 2), (2, 0)), ((), ()))),
    ((6, 4, 5, 2), (5, 7, 6, 2), (((0, 2), (2, 0)), ((3,), (3,)))),
    ((500, 3, 3), (500, 3, 3), (((2,), (1,)), ((0,), (0,)))),
    ((3, 3, 500), (500, 3, 3), (((1,), (2,)), ((2,), (0,)))),
    ((100, 40, 40), (100, 40), (((2,), (1,)), ((0,), (0,)))),
    ((30, 40, 40), (30, 40, 45), (((1,), (1,)), ((0,), (0,)))),
    ((1, 1, 1), (1, 1), (((2,), (0,)), ((), ()))),
    ((3, 4), (3, 4), (((), ()), ((0, 1), (0, 1)))),
    ((3, 4), (5,), (((), ()), ((), ()))),
    ((3, 1), (1, 5), (((), ()), ((), ()))),
    ((5, 0), (0, 3), (((1,), (0,)), ((), ()))),
    ((0, 3), (3, 2), (((1,), (0,)), ((), ()))),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128", "int32", "bool"])
@pytest.mark.parametrize("case", range(len(ORDERS)))
def test_dimension_numbers(case, dtype, target):
    check(*ORDERS[case], dtype, target)


@pytest.mark.parametrize("dtype", dtypes.SUPPORTED, ids=lambda d: d.name)
def test_dtypes(dtype):
    check((5, 19), (19, 21), MATRIX, dtype)
    check((40, 70), (70, 50), MATRIX, dtype)


@pytest.mark.parametrize(
    "given, preferred",
    [
        ("int8", "int32"),
        ("bfloat16", "float32"),
        ("float16", "float32"),
        ("float32", "float64"),
        ("float32", "bfloat16"),
        ("bool", "int32"),
        ("float64", "float32"),
    ],
)
def test_preferred_element_type(given, preferred):
    check(
        (5, 19),
        (19, 21),
        MATRIX,
        dtypes.as_dtype(dtypes.bfloat16 if given == "bfloat16" else given),
        preferred_element_type=dtypes.as_dtype(
            dtypes.bfloat16 if preferred == "bfloat16" else preferred
        ),
    )


def test_special_values():
    x = np.array([[np.nan, 1.0], [np.inf, 0.0], [-0.0, 2.0]])
    y = np.array([[1.0, -0.0, 2.0], [0.0, 3.0, -np.inf]])
    params = {"dimension_numbers": MATRIX}
    assert_same(run(dot_general, x, y, **params), expected(dot_general, x, y, **params), 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_narrow_products_in_blocks(dtype):
    """Many rows, a long contraction, and both, with few columns."""
    for m, n, k in [
        (3000, 1, 101),
        (101, 1, 3000),
        (9, 3, 9001),
        (1, 5, 40_000),
        (700, 7, 700),
    ]:
        for flip in (False, True):
            rng = np.random.default_rng(2)
            lhs, rhs = (k, m) if flip else (m, k), (k, n)
            x, y = numbers_of(rng, lhs, dtype), numbers_of(rng, rhs, dtype)
            numbers = (((int(not flip),), (0,)), ((), ()))
            (out,) = run(dot_general, x, y, dimension_numbers=numbers)
            wide = np.complex128 if dtype == "complex64" else np.float64
            left = (x.T if flip else x).astype(wide)
            size = np.abs(left) @ np.abs(y.astype(wide))
            assert np.all(np.abs(out - left @ y.astype(wide)) <= 2e-6 * size)
