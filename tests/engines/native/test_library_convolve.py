"""Convolutions of the native library against the eager engine."""

import itertools

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.core import dtypes
from wengert.engines.native.library.columns import rounds_of
from wengert.engines.native.library.contraction import Contraction, Dim
from wengert.engines.native.machine import Target
from wengert.primitives.convolve import ConvDimensionNumbers, conv_general_dilated

TARGETS = {"host": Target.host(), "baseline": Target.baseline()}
NCHW = ConvDimensionNumbers((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))
NHWC = ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
CHWN = ConvDimensionNumbers((3, 0, 1, 2), (3, 0, 1, 2), (3, 0, 1, 2))


def check(lhs, rhs, dtype="float32", target="host", tolerance=None, **changed):
    rng = np.random.default_rng(2)
    rank = len(lhs) - 2
    params = {
        "window_strides": (1,) * rank,
        "padding": ((0, 0),) * rank,
        "lhs_dilation": (1,) * rank,
        "rhs_dilation": (1,) * rank,
        "dimension_numbers": NCHW,
        **changed,
    }
    if dtypes.is_integer(np.dtype(dtype)):
        x, k = (rng.integers(-5, 6, s).astype(dtype) for s in (lhs, rhs))
    else:
        x, k = (rng.normal(size=s).astype(dtype) for s in (lhs, rhs))
    out = run(conv_general_dilated, x, k, target=TARGETS[target], **params)
    if tolerance is None:
        tolerance = {2: 1e-2, 4: 5e-6, 8: 1e-13}[np.dtype(dtype).itemsize % 16 or 8]
    assert_same(out, expected(conv_general_dilated, x, k, **params), tolerance)


@pytest.mark.parametrize("target", TARGETS)
def test_samples(target):
    for sample in conv_general_dilated.samples():
        out = run(conv_general_dilated, *sample.args, target=TARGETS[target], **sample.params)
        if out is not None:
            wanted = expected(conv_general_dilated, *sample.args, **sample.params)
            assert_same(out, wanted, 1e-6)


def image(numbers, n, c, o, size, kernel):
    lhs, rhs = [0] * 4, [0] * 4
    for place, value in zip(numbers.lhs_spec, (n, c, size, size + 1), strict=True):
        lhs[place] = value
    for place, value in zip(numbers.rhs_spec, (o, c, kernel, kernel), strict=True):
        rhs[place] = value
    return tuple(lhs), tuple(rhs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("numbers", [NCHW, NHWC, CHWN], ids=["nchw", "nhwc", "chwn"])
def test_geometries(numbers, target):
    for size, kernel, stride, pad, dilation in (
        (5, 1, 1, 0, (1, 1)),
        (19, 3, 1, 1, (1, 1)),
        (19, 3, 2, 1, (1, 1)),
        (9, 2, 1, 2, (2, 1)),
        (20, 3, 1, 0, (1, 2)),
        (7, 5, 3, -1, (1, 1)),
        (16, 14, 1, 1, (1, 1)),
    ):
        lhs, rhs = image(numbers, 3, 4, 5, size, kernel)
        check(
            lhs,
            rhs,
            target=target,
            dimension_numbers=numbers,
            window_strides=(stride, stride),
            padding=((pad, pad), (pad, max(pad - 1, 0))),
            lhs_dilation=(dilation[0],) * 2,
            rhs_dilation=(dilation[1],) * 2,
        )


@pytest.mark.parametrize("numbers", [NCHW, NHWC], ids=["nchw", "nhwc"])
def test_large_and_its_gradients(numbers):
    lhs, rhs = image(numbers, 8, 16, 24, 33, 3)
    pad = {"padding": ((1, 1), (1, 1)), "dimension_numbers": numbers}
    check(lhs, rhs, **pad)
    out, _ = image(numbers, 8, 24, 24, 33, 3)
    exchanged = ConvDimensionNumbers(*((s[1], s[0], *s[2:]) for s in numbers))
    check(
        lhs,
        out,
        dimension_numbers=ConvDimensionNumbers(
            exchanged.lhs_spec, (numbers.out_spec[1], numbers.out_spec[0], 2, 3)
            if numbers is NCHW else (3, 0, 1, 2), exchanged.rhs_spec
        ),
        padding=((1, 1), (1, 1)),
    )  # fmt: skip


@pytest.mark.parametrize("numbers", [NCHW, NHWC], ids=["nchw", "nhwc"])
def test_groups(numbers):
    for features, batches in ((2, 1), (1, 2), (4, 1)):
        lhs, rhs = image(numbers, 4, 4, 8, 18, 3)
        rhs = list(rhs)
        rhs[numbers.rhs_spec[1]] //= features
        check(
            lhs,
            tuple(rhs),
            dimension_numbers=numbers,
            feature_group_count=features,
            batch_group_count=batches,
        )


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int8", dtypes.bfloat16])
def test_dtypes(dtype):
    lhs, rhs = image(NCHW, 2, 3, 5, 17, 3)
    check(lhs, rhs, dtype, tolerance=1e-12 if dtype == "float64" else 2e-2)


def test_empty():
    for lhs, rhs in itertools.product(
        ((0, 2, 5, 5), (2, 0, 5, 5), (2, 2, 1, 5)), ((3, 2, 2, 2),)
    ):
        if lhs[1] == 0:
            rhs = (3, 0, 2, 2)
        check(lhs, rhs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", range(5))
def test_long_sums_by_rounds(case, dtype):
    """Small results of long sums: whole images, parts of one, odd sizes, one channel, steps."""
    lhs, rhs, changed = (
        ((10, 12, 20, 24), (20, 12, 18, 22), {}),
        ((7, 2, 70, 90), (17, 2, 68, 88), {}),
        ((13, 7, 17, 19), (19, 7, 17, 19), {"padding": ((1, 1), (1, 1))}),
        ((7, 1, 150, 160), (16, 1, 148, 158), {}),
        ((9, 6, 41, 41), (18, 6, 20, 20), {"rhs_dilation": (2, 2)}),
    )[case]
    check(lhs, rhs, dtype=dtype, tolerance=2e-5 if dtype == "float32" else 1e-12, **changed)


def test_what_is_computed_by_rounds():
    summed = (Dim(4, 400, 256, 0), Dim(16, 20, 16, 0), Dim(16, 1, 1, 0))
    contraction = Contraction((), (Dim(4, 3200, 0, 144), Dim(9, 1, 0, 16)), (), summed)
    contraction = contraction._replace(right=(Dim(16, 0, 2048, 1),))
    rounds = rounds_of(contraction, np.dtype("float32"))
    assert rounds is None  # too few products
    contraction = contraction._replace(summed=(Dim(80, 400, 256, 0), *summed[1:]))
    rounds = rounds_of(contraction, np.dtype("float32"))
    assert rounds is not None and not rounds.copied
    assert (rounds.shape.m, rounds.shape.n, rounds.shape.k) == (36, 16, 512)
    assert [d.size for d in rounds.outer] == [40]
    assert rounds_of(contraction, np.dtype("int32")) is None
