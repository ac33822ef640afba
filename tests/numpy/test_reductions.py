"""Reductions and what runs along an axis, against NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3, 4))
MASK = np.array([True, False, True, True])
SUMS = ("sum", "prod", "mean", "var", "std")
EXTREMA = ("max", "min", "amax", "amin", "ptp")
POSITIONS = ("argmax", "argmin")


def same(got, expected, tolerance=1e-12):
    """Shapes and values equal."""
    got = np.asarray(got)
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def with_nan():
    """Random numbers, some of them NaN, with a slice of NaN only."""
    x = X.copy()
    x[0, 1, 2] = np.nan
    x[1, 0] = np.nan
    return x


class TestValues:
    @pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 1)])
    @pytest.mark.parametrize("keepdims", [False, True])
    @pytest.mark.parametrize("name", (*SUMS, *EXTREMA, "any", "all"))
    def test_axes(self, name, axis, keepdims):
        got = getattr(wnp, name)(X, axis=axis, keepdims=keepdims)
        same(got, getattr(np, name)(X, axis=axis, keepdims=keepdims))

    @pytest.mark.parametrize("name", SUMS)
    def test_no_axes(self, name):
        same(getattr(wnp, name)(X, axis=()), getattr(np, name)(X, axis=()))

    @pytest.mark.parametrize("axis", [None, 0, -1])
    @pytest.mark.parametrize("name", POSITIONS)
    def test_positions(self, name, axis):
        for keepdims in (False, True):
            got = getattr(wnp, name)(X, axis=axis, keepdims=keepdims)
            assert got.dtype == np.int32
            same(got, getattr(np, name)(X, axis=axis, keepdims=keepdims))
        assert getattr(wnp, name)(np.array([1.0, np.nan, 3.0])) == 1

    @pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "any", "all"])
    def test_masks(self, name):
        for kw in ({"axis": 2}, {}, {"axis": 0, "keepdims": True}):
            got = getattr(wnp, name)(X, where=MASK, **kw)
            wide = np.broadcast_to(MASK, X.shape)
            with np.errstate(invalid="ignore", divide="ignore"):
                if kw.get("axis") == 0 and name in ("mean", "var", "std"):
                    continue  # NumPy warns about the empty slices
                same(got, getattr(np, name)(X, where=wide, **kw))

    @pytest.mark.parametrize("name", ["max", "min"])
    def test_masked_extrema(self, name):
        kw = {"axis": 2, "where": MASK, "initial": 0.5}
        same(getattr(wnp, name)(X, **kw), getattr(np, name)(X, **kw))
        with pytest.raises(ValueError, match="initial"):
            getattr(wnp, name)(X, where=MASK)

    def test_initial(self):
        same(wnp.sum(X, axis=1, initial=0.1), np.sum(X, axis=1, initial=0.1))
        same(wnp.prod(X, axis=1, initial=0.1), np.prod(X, axis=1, initial=0.1))
        same(wnp.max(X, axis=1, initial=1.0), np.max(X, axis=1, initial=1.0))
        same(wnp.max(np.zeros((0, 2)), axis=0, initial=3), [3, 3])
        with pytest.raises(errors.ShapeError, match="initial"):
            wnp.sum(X, initial=np.ones(2))

    def test_degrees_of_freedom(self):
        for name in ("var", "std"):
            same(getattr(wnp, name)(X, axis=0, ddof=1), getattr(np, name)(X, axis=0, ddof=1))
            same(getattr(wnp, name)(X, correction=1), getattr(np, name)(X, ddof=1))
            assert np.isnan(getattr(wnp, name)(np.ones(1), ddof=1))
            assert np.isnan(getattr(wnp, name)(np.ones(1), ddof=2))
        with pytest.raises(ValueError, match="correction"):
            wnp.var(X, ddof=1, correction=1)
        same(wnp.var(X, axis=1, mean=X.mean(1, keepdims=True)), X.var(1))

    def test_complex(self):
        z = X[0] + 1j * X[1]
        for name in ("sum", "prod", "mean", "var", "std"):
            got = getattr(wnp, name)(z, axis=0)
            same(got, getattr(np, name)(z, axis=0))
        assert wnp.var(z).dtype == np.float64

    def test_counts(self):
        x = np.array([[0, 1, 2], [0, 0, 3]])
        got = wnp.count_nonzero(x, axis=1, keepdims=True)
        assert got.dtype == np.int32
        same(got, np.count_nonzero(x, axis=1, keepdims=True))


class TestDtypes:
    @pytest.mark.parametrize(
        ("dtype", "summed", "averaged"),
        [
            ("bool", "int32", "float32"),
            ("int8", "int32", "float32"),
            ("uint8", "uint32", "float32"),
            ("int32", "int32", "float32"),
            ("int64", "int64", "float64"),
            ("float16", "float16", "float16"),
            ("float32", "float32", "float32"),
            ("complex64", "complex64", "complex64"),
        ],
    )
    def test_results(self, dtype, summed, averaged):
        x = np.ones(3, dtype)
        for name in ("sum", "prod", "nansum"):
            assert getattr(wnp, name)(x).dtype == summed
        for name in ("mean", "nanmean"):
            assert getattr(wnp, name)(x).dtype == averaged
        assert wnp.max(x).dtype == dtype
        running = "int32" if dtype == "bool" else dtype
        assert wnp.cumsum(x).dtype == running
        assert wnp.cumulative_sum(x).dtype == summed

    def test_requested(self):
        assert wnp.sum(np.ones(3, np.int8), dtype="float32").dtype == np.float32
        assert wnp.sum(np.ones(3, np.int8), promote_integers=False).dtype == np.int8
        assert wnp.mean(np.arange(4), dtype="int32") == 1
        assert wnp.cumsum(np.ones(3, np.int8), dtype=float).dtype == np.float32

    def test_not_weak(self):
        for name in ("sum", "mean", "max", "std", "cumsum"):
            assert not getattr(wnp, name)(wnp.array(1.0)).weak_type

    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
    def test_half_precision_accumulates_in_float32(self, dtype):
        x = np.full(4000, 0.1, dtype)
        expected = x.astype(np.float64)
        for name in ("sum", "mean", "std"):
            got = getattr(wnp, name)(x)
            assert got.dtype == dtype
            assert abs(float(got) - getattr(np, name)(expected)) <= 0.005 * 4000 * 0.1
        assert wnp.mean(np.full(70000, 3.0, np.float16)) == 3


class TestWithoutNan:
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("axis", [None, 1, (0, 2)])
    @pytest.mark.parametrize(
        "name", "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanmedian".split()
    )
    def test_values(self, name, axis):
        x = with_nan()
        same(getattr(wnp, name)(x, axis=axis), getattr(np, name)(x, axis=axis))
        got = getattr(wnp, name)(x, axis=2, keepdims=True)
        same(got, getattr(np, name)(x, axis=2, keepdims=True))

    @pytest.mark.parametrize("name", ["nanargmax", "nanargmin"])
    def test_positions(self, name):
        x = with_nan()
        same(getattr(wnp, name)(x), getattr(np, name)(x))
        same(getattr(wnp, name)(x, axis=1), getattr(np, name)(x, axis=1))
        assert getattr(wnp, name)(np.array([np.nan, np.nan])) == -1

    @pytest.mark.parametrize("name", ["nancumsum", "nancumprod"])
    def test_running(self, name):
        x = with_nan()
        for axis in (None, 1):
            same(getattr(wnp, name)(x, axis=axis), getattr(np, name)(x, axis=axis))

    def test_integers_and_options(self):
        x = np.arange(6).reshape(2, 3)
        for name in ("nansum", "nanmax", "nanargmax", "nanmean"):
            same(getattr(wnp, name)(x), getattr(np, name)(x))
        assert wnp.nanmax(np.array([np.nan]), initial=0.1) == 0.1
        same(wnp.nanvar(X, ddof=1, where=X > 0), np.var(X[X > 0], ddof=1))

    def test_derivatives_of_what_is_left_out(self):
        x = np.array([1.0, np.nan, 3.0])
        for name in ("nansum", "nanmean", "nanvar", "nanmax", "nanmedian", "nanprod"):
            grad = np.asarray(wengert.grad(getattr(wnp, name))(x))
            assert grad[1] == 0 and np.isfinite(grad).all()


class TestRunning:
    @pytest.mark.parametrize("name", ["cumsum", "cumprod"])
    def test_axes(self, name):
        for axis in (None, 0, -1):
            same(getattr(wnp, name)(X, axis=axis), getattr(np, name)(X, axis=axis))

    @pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
    def test_cumulative(self, name):
        for kw in ({"axis": 1}, {"axis": -1, "include_initial": True}):
            same(getattr(wnp, name)(X, **kw), getattr(np, name)(X, **kw))
        same(getattr(wnp, name)(X[0, 0]), getattr(np, name)(X[0, 0]))
        with pytest.raises(errors.ShapeError, match="axis"):
            getattr(wnp, name)(X)

    @pytest.mark.parametrize(
        "kw",
        [
            {},
            {"n": 2},
            {"n": 0},
            {"n": 6},
            {"axis": 0},
            {"prepend": 0.1},
            {"append": np.ones((2, 3, 2)), "n": 3},
        ],
    )
    def test_diff(self, kw):
        same(wnp.diff(X, **kw), np.diff(X, **kw))

    def test_diff_of_bools_and_errors(self):
        b = np.array([True, False, False])
        np.testing.assert_array_equal(wnp.diff(b), np.diff(b))
        for bad in ({"a": 1.0}, {"a": X, "n": -1}):
            with pytest.raises(ValueError):
                wnp.diff(**bad)

    def test_ediff1d(self):
        same(wnp.ediff1d(X), np.ediff1d(X))
        kw = {"to_begin": 1.0, "to_end": np.array([2.0, 3.0])}
        same(wnp.ediff1d(X, **kw), np.ediff1d(X, **kw))
        same(wnp.ediff1d(np.ones(1)), np.ediff1d(np.ones(1)))

    def test_trapezoid(self):
        x = np.array([0.0, 1.0, 1.5, 4.0])
        same(wnp.trapezoid(X), np.trapezoid(X))
        same(wnp.trapezoid(X, dx=0.1, axis=0), np.trapezoid(X, dx=0.1, axis=0))
        same(wnp.trapezoid(X, x), np.trapezoid(X, x))
        same(wnp.trapezoid(X, X**2, axis=1), np.trapezoid(X, X**2, axis=1))

    @pytest.mark.parametrize("edge_order", [1, 2])
    def test_gradient(self, edge_order):
        kw = {"edge_order": edge_order}
        for got, expected in zip(
            wnp.gradient(X[0], **kw), np.gradient(X[0], **kw), strict=True
        ):
            same(got, expected)
        same(wnp.gradient(X, 0.1, axis=2, **kw), np.gradient(X, 0.1, axis=2, **kw))
        at = np.array([0.0, 1.0, 1.5, 4.0])
        same(wnp.gradient(X, at, axis=-1, **kw), np.gradient(X, at, axis=-1, **kw))
        got = wnp.gradient(X[0], 2.0, at, **kw)
        for one, expected in zip(got, np.gradient(X[0], 2.0, at, **kw), strict=True):
            same(one, expected)

    def test_gradient_errors(self):
        with pytest.raises(errors.ShapeError, match="samples"):
            wnp.gradient(np.ones(1))
        with pytest.raises(errors.ShapeError, match="coordinates"):
            wnp.gradient(np.ones(3), np.ones(2))
        with pytest.raises(TypeError, match="spacings"):
            wnp.gradient(X, 1.0, 2.0)
        with pytest.raises(ValueError, match="edge_order"):
            wnp.gradient(X, edge_order=3)


class TestDerivatives:
    @pytest.mark.parametrize(
        "name",
        "sum prod mean var std max min ptp cumsum cumprod median diff trapezoid".split(),
    )
    def test_orders(self, name):
        f = getattr(wnp, name)
        wengert.check_grads(lambda x: f(x, axis=1), (X[0],), order=2)

    def test_products_with_zeros(self):
        x = np.array([2.0, 0.0, 3.0])
        same(wengert.grad(wnp.prod)(x), [0, 6, 0])
        same(wengert.hessian(wnp.prod)(x), [[0, 3, 0], [3, 0, 2], [0, 2, 0]])

    def test_ties_share(self):
        same(wengert.grad(wnp.max)(np.array([1.0, 3.0, 3.0])), [0, 0.5, 0.5])

    def test_masked_variance_of_nothing(self):
        grad = wengert.grad(lambda x: wnp.nansum(wnp.var(x, axis=0, where=MASK)))(X[0])
        np.testing.assert_array_equal(np.asarray(grad)[:, 1], 0)

    def test_coordinates(self):
        y, x = X[0, 0], np.array([0.0, 1.0, 1.5, 4.0])
        wengert.check_grads(wnp.trapezoid, (y, x), order=2)
        wengert.check_grads(lambda y, x: wnp.gradient(y, x, edge_order=2), (y, x), order=1)


class TestErrors:
    def test_axes(self):
        with pytest.raises(errors.ShapeError, match="axis 3"):
            wnp.sum(X, axis=3)
        with pytest.raises(errors.ShapeError, match="twice"):
            wnp.sum(X, axis=(0, -3))

    def test_out(self):
        for name in (*SUMS, *EXTREMA, *POSITIONS, "any", "all", "cumsum", "nanmax", "median"):
            with pytest.raises(TypeError, match="immutable"):
                getattr(wnp, name)(X, out=np.zeros(()))

    def test_nothing_to_reduce(self):
        for name in ("max", "min", "argmax"):
            with pytest.raises(ValueError, match="no elements"):
                getattr(wnp, name)(np.zeros((0, 2)), axis=0)
        assert np.isnan(wnp.mean(np.zeros(0))) and wnp.sum(np.zeros(0)) == 0

    def test_lists(self):
        with pytest.raises(TypeError, match="array"):
            wnp.sum([1, 2])


def test_traced_and_batched():
    def f(x):
        return wnp.sum(x, axis=0) + wnp.max(x) * wnp.std(x, axis=0) - wnp.cumsum(x, axis=1)[0]

    expected = f(X[0])
    same(wengert.jit(f)(X[0]), expected)
    same(wengert.vmap(f)(X)[0], expected)


def test_methods():
    x = wnp.array(X)
    for name in (*SUMS, "max", "min", "ptp", "any", "all", "argmax", "cumsum"):
        same(getattr(x, name)(axis=1), getattr(np, name)(X, axis=1))
