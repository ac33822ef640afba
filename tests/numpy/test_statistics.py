"""Statistics, histograms, sampled functions and polynomials, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 5))
W = rng.uniform(0.1, 1, size=(3, 5))
METHODS = (
    "linear lower higher midpoint nearest inverted_cdf averaged_inverted_cdf "
    "closest_observation interpolated_inverted_cdf hazen weibull median_unbiased "
    "normal_unbiased"
).split()


def same(got, expected, tolerance=1e-10):
    """Shapes and values equal."""
    got = np.asarray(got)
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def all_same(got, expected, tolerance=1e-10):
    """As many results as expected, and the same."""
    for one, other in zip(got, expected, strict=True):
        same(one, other, tolerance)


class TestQuantiles:
    @pytest.mark.parametrize("method", METHODS)
    def test_methods(self, method):
        for n in (1, 2, 5, 8):
            x = rng.permutation(np.arange(n) ** 1.5)
            q = np.linspace(0, 1, 21)
            same(wnp.quantile(x, q, method=method), np.quantile(x, q, method=method))

    @pytest.mark.parametrize("name", ["quantile", "nanquantile"])
    def test_axes(self, name):
        for kw in ({}, {"axis": 0}, {"axis": (0, 1)}, {"axis": -1, "keepdims": True}):
            for q in (0.3, np.array([0.1, 0.9]), np.array([[0.5], [0.25]])):
                same(getattr(wnp, name)(X, q, **kw), getattr(np, name)(X, q, **kw))

    def test_percentile_and_median(self):
        same(wnp.percentile(X, 30, axis=1), np.percentile(X, 30, axis=1))
        same(wnp.percentile(X, [25, 75]), np.percentile(X, [25, 75]))
        same(wnp.median(X, axis=1), np.median(X, axis=1))
        same(wnp.median(X[:, :4], axis=1, keepdims=True), np.median(X[:, :4], 1, keepdims=True))
        assert wnp.median(np.arange(3)).dtype == np.float64
        assert wnp.median(np.arange(3, dtype=np.int32)).dtype == np.float32

    @pytest.mark.filterwarnings("ignore")
    def test_nan(self):
        x = X.copy()
        x[1, 2] = np.nan
        x[2] = np.nan
        same(wnp.quantile(x, 0.3, axis=1), np.quantile(x, 0.3, axis=1))
        for q in (0.3, np.array([0.2, 0.7])):
            for axis in (0, 1, None):
                same(wnp.nanquantile(x, q, axis=axis), np.nanquantile(x, q, axis=axis))
        same(wnp.nanpercentile(x, 30), np.nanpercentile(x, 30))
        for method in METHODS:
            got = wnp.nanquantile(x, 0.4, axis=1, method=method)
            same(got, np.nanquantile(x, 0.4, axis=1, method=method))

    def test_infinities(self):
        assert wnp.quantile(np.array([1.0, np.inf, np.inf]), 0.75) == np.inf
        assert wnp.median(np.array([-np.inf, -np.inf])) == -np.inf
        assert wnp.quantile(np.array([0.0, 1.0, np.inf]), 0.5) == 1

    def test_weights(self):
        kw = {"method": "inverted_cdf", "weights": W, "axis": 1}
        for q in (0.0, 0.3, np.array([0.1, 1.0])):
            same(wnp.quantile(X, q, **kw), np.quantile(X, q, **kw))
        same(wnp.nanquantile(X, 0.3, **kw), np.nanquantile(X, 0.3, **kw))
        with pytest.raises(ValueError, match="inverted_cdf"):
            wnp.quantile(X, 0.5, weights=W)
        with pytest.raises(errors.ShapeError, match="weights"):
            wnp.quantile(X, 0.5, **{**kw, "weights": W[:, :2]})

    def test_derivatives(self):
        for method in ("linear", "hazen", "lower"):
            f = lambda x, method=method: wnp.quantile(x, 0.37, axis=1, method=method)
            wengert.check_grads(f, (X,), order=2)
        wengert.check_grads(lambda q: wnp.quantile(X, q, axis=1), (0.37,), order=1)
        wengert.check_grads(lambda x: wnp.nanmedian(x, axis=0), (X,), order=1)

    def test_errors(self):
        with pytest.raises(ValueError, match="between 0 and 1"):
            wnp.quantile(X, 1.5)
        with pytest.raises(ValueError, match="method"):
            wnp.quantile(X, 0.5, method="best")
        with pytest.raises(ValueError, match="real"):
            wnp.median(1j)
        assert np.isnan(wnp.median(np.zeros(0)))


class TestMoments:
    @pytest.mark.parametrize(
        "kw",
        [
            {},
            {"axis": 0},
            {"axis": 1, "weights": W[0]},
            {"weights": W},
            {"axis": (1, 0), "weights": W.T},
            {"axis": 1, "weights": W, "returned": True, "keepdims": True},
            {"returned": True},
        ],
    )
    def test_average(self, kw):
        got, expected = wnp.average(X, **kw), np.average(X, **kw)
        if kw.get("returned"):
            all_same(got, expected)
        else:
            same(got, expected)

    def test_average_errors(self):
        with pytest.raises(errors.ShapeError, match="weights"):
            wnp.average(X, weights=W[0])

    @pytest.mark.parametrize(
        "kw",
        [
            {},
            {"y": X[::-1]},
            {"rowvar": False},
            {"bias": True},
            {"ddof": 2},
            {"fweights": np.array([1, 2, 1, 0, 3])},
            {"aweights": W[0]},
            {"aweights": W[0], "fweights": np.array([1, 2, 1, 0, 3])},
            {"aweights": W[0], "ddof": 0},
        ],
    )
    def test_cov(self, kw):
        same(wnp.cov(X, **kw), np.cov(X, **kw))

    def test_correlations(self):
        z = X + 1j * X[:, ::-1]
        for x in (X, X[0], z):
            same(wnp.cov(x), np.cov(x))
            same(wnp.corrcoef(x), np.corrcoef(x))
        same(wnp.corrcoef(X, X[::-1] ** 2), np.corrcoef(X, X[::-1] ** 2))
        wengert.check_grads(wnp.cov, (X,), order=2)
        wengert.check_grads(wnp.corrcoef, (X[:2],), order=1)
        with pytest.raises(TypeError, match="integers"):
            wnp.cov(X, fweights=W[0])
        with pytest.raises(errors.ShapeError):
            wnp.cov(X, aweights=W)


class TestCounts:
    n = np.array([0, 1, 1, 3, 2, 1])

    def test_bincount(self):
        same(wnp.bincount(self.n), np.bincount(self.n))
        same(wnp.bincount(self.n, minlength=7), np.bincount(self.n, minlength=7))
        w = W.ravel()[:6]
        same(wnp.bincount(self.n, w), np.bincount(self.n, w))
        same(wnp.bincount(self.n, length=2), [1, 3])
        assert wnp.bincount(np.zeros(0, np.int32)).shape == (0,)
        same(wengert.jit(lambda n: wnp.bincount(n, length=5))(self.n), [1, 3, 1, 1, 0])
        wengert.check_grads(lambda w: wnp.bincount(self.n, w), (w,), order=1)

    def test_bincount_errors(self):
        with pytest.raises(ValueError, match="negative"):
            wnp.bincount(np.array([1, -1]))
        with pytest.raises(TypeError, match="integers"):
            wnp.bincount(np.ones(2))
        with pytest.raises(errors.ConcretizationError, match="length"):
            wengert.jit(wnp.bincount)(self.n)

    @pytest.mark.parametrize("right", [False, True])
    def test_digitize(self, right):
        edges = np.array([-1.0, 0.0, 0.5, 1.0])
        values = np.concatenate([X.ravel(), edges])
        for bins in (edges, edges[::-1], edges[:1]):
            same(wnp.digitize(values, bins, right), np.digitize(values, bins, right))
        assert wnp.digitize(values, edges).dtype == np.int32

    @pytest.mark.parametrize("bins", [10, 3, np.array([-1.0, 0.0, 0.5, 1.0]), "sturges"])
    def test_histogram(self, bins):
        for kw in ({}, {"range": (-1, 1)}, {"density": True}, {"weights": W}):
            if isinstance(bins, str) and "weights" in kw:
                continue
            all_same(wnp.histogram(X, bins, **kw), np.histogram(X, bins, **kw))
        same(wnp.histogram_bin_edges(X, bins), np.histogram_bin_edges(X, bins))

    def test_histogram_corners(self):
        all_same(wnp.histogram(np.ones(4)), np.histogram(np.ones(4)))
        all_same(wnp.histogram(np.zeros(0)), np.histogram(np.zeros(0)))
        same(wnp.histogram(np.array([np.nan, 1, 2]), 3, range=(0, 2))[0], [0, 1, 1])
        same(
            wengert.grad(lambda w: wnp.histogram(X, 3, weights=w)[0][1])(W) != 0,
            np.histogram(X, 3)[0][1] > 0
            and wnp.digitize(X, np.histogram_bin_edges(X, 3)[1:3]) == 1,
        )

    def test_many_dimensions(self):
        points = X.T.copy()
        for bins in (2, [2, 3, 4], [np.array([-3.0, 0.0, 3.0]), 2, 3]):
            for kw in ({}, {"density": True}, {"weights": W[0]}):
                got, edges = wnp.histogramdd(points, bins, **kw)
                expected, expected_edges = np.histogramdd(points, bins, **kw)
                same(got, expected)
                all_same(edges, expected_edges)
        for bins in (3, [2, 4], np.array([-1.0, 0.0, 1.0])):
            all_same(wnp.histogram2d(X[0], X[1], bins), np.histogram2d(X[0], X[1], bins))


class TestSampledFunctions:
    @pytest.mark.parametrize("mode", ["full", "same", "valid"])
    @pytest.mark.parametrize("name", ["convolve", "correlate"])
    def test_convolution(self, name, mode):
        for sizes in ((5, 3), (3, 5), (4, 4), (6, 4), (1, 3)):
            a, v = (rng.normal(size=n) for n in sizes)
            same(getattr(wnp, name)(a, v, mode), getattr(np, name)(a, v, mode))
            z, u = a + 1j, v * 1j + 2
            same(getattr(wnp, name)(z, u, mode), getattr(np, name)(z, u, mode))
        n = np.arange(1, 5)
        assert getattr(wnp, name)(n, n[:2], mode).dtype == np.int64
        wengert.check_grads(lambda a, v: getattr(wnp, name)(a, v, mode), (a, v), order=2)

    def test_convolution_errors(self):
        with pytest.raises(errors.ShapeError):
            wnp.convolve(X, X)
        with pytest.raises(ValueError, match="mode"):
            wnp.convolve(X[0], X[1], "wide")

    xp = np.array([0.0, 1.0, 2.5, 4.0])
    fp = np.array([1.0, 3.0, 2.0, 5.0])
    x = np.array([[-1.0, 0.0, 0.3], [1.0, 4.0, 5.5]])

    def test_interp(self):
        same(wnp.interp(self.x, self.xp, self.fp), np.interp(self.x, self.xp, self.fp))
        for kw in ({"left": -9.0, "right": 7.0}, {"period": 3.2}):
            got = wnp.interp(self.x, self.xp, self.fp, **kw)
            same(got, np.interp(self.x, self.xp, self.fp, **kw))
        z = self.fp * (1 + 2j)
        same(wnp.interp(self.x, self.xp, z), np.interp(self.x, self.xp, z))
        same(wnp.interp(self.x, self.xp[:1], self.fp[:1]), np.ones((2, 3)))
        got = wnp.interp(np.array([-1.0, 5.0]), self.xp, self.fp, "extrapolate", "extrapolate")
        same(got, [-1, 7])

    def test_interp_derivatives(self):
        at = np.array([0.3, 1.7, 3.9])
        wengert.check_grads(wnp.interp, (at, self.xp, self.fp), order=2)
        outside = wengert.grad(lambda v: wnp.interp(v, self.xp, self.fp))(-1.0)
        assert outside == 0

    def test_interp_errors(self):
        with pytest.raises(errors.ShapeError):
            wnp.interp(1.0, self.xp, self.fp[:2])
        with pytest.raises(ValueError, match="extrapolate"):
            wnp.interp(1.0, self.xp, self.fp, left="nearest")
        with pytest.raises(ValueError, match="period"):
            wnp.interp(1.0, self.xp, self.fp, period=0.0)

    @pytest.mark.parametrize("kw", [{}, {"axis": 0}, {"discont": 4.0}, {"period": 2.0}])
    def test_unwrap(self, kw):
        p = np.cumsum(rng.uniform(-1, 4, (2, 9)), 1)
        same(wnp.unwrap(p, **kw), np.unwrap(p, **kw))

    def test_unwrap_integers(self):
        p = np.array([0, 1, 2, -1, 0, 5])
        for period in (4, 5):
            got = wnp.unwrap(p, period=period)
            assert got.dtype == np.int64
            same(got, np.unwrap(p, period=period))


class TestPolynomials:
    p = np.array([1.0, -2.0, 3.0])
    q = np.array([2.0, 0.0, -1.0, 4.0])

    def test_evaluation(self):
        same(wnp.polyval(self.q, X), np.polyval(self.q, X))
        assert wnp.polyval(np.array([1, 2]), 3) == 5
        wengert.check_grads(wnp.polyval, (self.q, X[0]), order=2)

    @pytest.mark.parametrize("name", ["polyadd", "polysub", "polymul"])
    def test_arithmetic(self, name):
        for pair in ((self.p, self.q), (self.q, self.p), (self.p, self.p)):
            got = getattr(wnp, name)(*pair)
            expected = np.atleast_1d(getattr(np, name)(*pair))
            same(got[got.shape[0] - expected.size :], expected)

    def test_division(self):
        quotient, rest = wnp.polydiv(self.q, self.p)
        expected = np.polydiv(self.q, self.p)
        same(quotient, expected[0])
        same(rest, np.pad(expected[1], (rest.size - expected[1].size, 0)))
        all_same(wnp.polydiv(self.p, self.q, trim_leading_zeros=True), ([0.0], self.p))
        wengert.check_grads(lambda u, v: wnp.polydiv(u, v), (self.q, self.p), order=1)

    def test_calculus(self):
        for m in (0, 1, 2):
            same(wnp.polyder(self.q, m), np.polyder(self.q, m))
            same(wnp.polyint(self.q, m), np.polyint(self.q, m))
        same(wnp.polyint(self.p, 2, k=np.array([3.0, 4.0])), np.polyint(self.p, 2, k=[3, 4]))
        same(wnp.polyint(self.p, 1, k=3.0), np.polyint(self.p, 1, k=3))
        assert wnp.polyder(self.p, 5).shape == (0,)
        with pytest.raises(errors.ShapeError, match="constants"):
            wnp.polyint(self.p, 3, k=np.ones(2))

    def test_roots(self):
        for p in ([1.0, -6, 11, -6], [0.0, 0, 1, -3, 2, 0, 0], [1.0, 0, 1], [5.0], [1.0, 2]):
            got = np.sort_complex(wnp.roots(np.array(p)))
            same(got, np.sort_complex(np.roots(p)), 1e-8)
        same(wnp.poly(self.p), np.poly(self.p))
        matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
        same(wnp.poly(matrix), np.poly(matrix))
        traced = wengert.jit(lambda p: wnp.roots(p, strip_zeros=False))(np.array([1.0, 0, -4]))
        same(np.sort_complex(traced), [-2, 2])
        with pytest.raises(errors.ConcretizationError, match="leading zeros"):
            wengert.jit(wnp.roots)(self.p)

    def test_fit(self):
        x = rng.uniform(0, 1, 12)
        y = np.stack([x**2 + 0.1 * rng.normal(size=12), np.sin(x)], 1)
        for kw in ({}, {"w": x + 1}, {"rcond": 1e-8}):
            same(wnp.polyfit(x, y[:, 0], 3, **kw), np.polyfit(x, y[:, 0], 3, **kw), 1e-7)
            same(wnp.polyfit(x, y, 2, **kw), np.polyfit(x, y, 2, **kw), 1e-7)
        for cov in (True, "unscaled"):
            all_same(wnp.polyfit(x, y, 2, cov=cov), np.polyfit(x, y, 2, cov=cov), 1e-7)
            got, expected = (m.polyfit(x, y[:, 0], 2, cov=cov) for m in (wnp, np))
            all_same(got, expected, 1e-7)
        got, expected = (m.polyfit(x, y[:, 0], 2, full=True) for m in (wnp, np))
        all_same(got, expected, 1e-7)
        fit = lambda x, y: wnp.polyfit(x, y, 2)
        wengert.check_grads(fit, (x, y[:, 0]), order=1, atol=1e-4, rtol=1e-4)
        with pytest.raises(errors.ShapeError, match="shapes"):
            wnp.polyfit(x, y[:3], 2)
