"""Distributions against SciPy: densities, tails, quantiles, supports, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as reference

import wengert
import wengert.numpy as wnp
from wengert import errors
from wengert.scipy import stats

LINE = np.array([-3.1, -0.4, 0.2, 0.9, 2.3])
HALF = np.array([0.05, 0.4, 1.3, 4.2])
UNIT = np.array([0.03, 0.4, 0.92])
Q = np.array([1e-6, 0.2, 0.7, 1 - 1e-6])

#: Distribution: (points, shapes).
CONTINUOUS = {
    "beta": (UNIT, (1.7, 0.6)),
    "cauchy": (LINE, ()),
    "chi2": (HALF, (2.6,)),
    "expon": (HALF, ()),
    "gamma": (HALF, (1.7,)),
    "gennorm": (LINE, (1.3,)),
    "gumbel_l": (LINE, ()),
    "gumbel_r": (LINE, ()),
    "laplace": (LINE, ()),
    "logistic": (LINE, ()),
    "norm": (LINE, ()),
    "pareto": (HALF + 1, (1.7,)),
    "t": (LINE, (2.6,)),
    "truncnorm": (UNIT, (-0.5, 1.5)),
    "uniform": (UNIT, ()),
    "vonmises": (LINE, (0.8,)),
    "wrapcauchy": (HALF, (0.6,)),
}
TAILS = [n for n in CONTINUOUS if n not in ("vonmises", "wrapcauchy")]
QUANTILES = [n for n in TAILS if hasattr(getattr(stats, n), "ppf")]


@pytest.mark.parametrize("name", CONTINUOUS)
class TestDensity:
    def test_value(self, name):
        y, shapes = CONTINUOUS[name]
        ours, theirs = getattr(stats, name), getattr(reference, name)
        np.testing.assert_allclose(ours.logpdf(y, *shapes), theirs.logpdf(y, *shapes))
        np.testing.assert_allclose(ours.pdf(y, *shapes), theirs.pdf(y, *shapes))
        x = 0.7 + 1.9 * y
        np.testing.assert_allclose(
            ours.logpdf(x, *shapes, 0.7, 1.9), theirs.logpdf(x, *shapes, 0.7, 1.9)
        )
        named = ours.logpdf(x, *shapes, scale=1.9, loc=0.7)
        np.testing.assert_array_equal(named, ours.logpdf(x, *shapes, 0.7, 1.9))

    def test_grads(self, name):
        y, shapes = CONTINUOUS[name]
        args = (0.7 + 1.9 * y, *map(np.float64, (*shapes, 0.7, 1.9)))
        wengert.testing.check_grads(getattr(stats, name).logpdf, args, 1, rtol=1e-5)

    def test_outside_of_the_support(self, name):
        shapes = CONTINUOUS[name][1]
        ours, theirs = getattr(stats, name), getattr(reference, name)
        lower, upper = theirs.support(*shapes)
        if name == "vonmises":  # SciPy's support is one turn; the density repeats
            return
        for x in (lower - 0.5, upper + 0.5):
            if np.isfinite(x):
                assert float(ours.logpdf(x, *shapes)) == -np.inf
                assert float(wengert.grad(lambda x: ours.logpdf(x, *shapes))(x)) == 0
        assert np.isnan(ours.logpdf(np.nan, *shapes))

    def test_jit_and_vmap(self, name):
        y, shapes = CONTINUOUS[name]

        def f(y):
            return getattr(stats, name).logpdf(y, *shapes)

        np.testing.assert_allclose(wengert.jit(f)(y), f(y))
        np.testing.assert_allclose(wengert.vmap(f)(y), f(y))


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("kind", ["cdf", "sf", "logcdf", "logsf"])
def test_tails(name, kind):
    y, shapes = CONTINUOUS[name]
    ours, theirs = getattr(stats, name), getattr(reference, name)
    x = 0.7 + 1.9 * y
    out = getattr(ours, kind)(x, *shapes, 0.7, 1.9)
    np.testing.assert_allclose(out, getattr(theirs, kind)(x, *shapes, 0.7, 1.9), rtol=1e-9)
    lower, upper = (np.float64(end) for end in theirs.support(*shapes))
    for x in (lower - 0.5, lower, upper, upper + 0.5):
        if np.isfinite(x):
            expected = getattr(theirs, kind)(x, *shapes)
            np.testing.assert_allclose(getattr(ours, kind)(x, *shapes), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["norm", "logistic", "laplace", "cauchy", "expon", "gumbel_r"])
def test_far_tails_are_accurate(name):
    x = np.array([30.0, 100.0])
    ours, theirs = getattr(stats, name), getattr(reference, name)
    np.testing.assert_allclose(ours.sf(x), theirs.sf(x), rtol=1e-9)
    if name != "laplace":
        np.testing.assert_allclose(ours.logsf(x), theirs.logsf(x), rtol=1e-9)


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles(name):
    _, shapes = CONTINUOUS[name]
    ours, theirs = getattr(stats, name), getattr(reference, name)
    args = (*shapes, 0.7, 1.9)
    np.testing.assert_allclose(ours.ppf(Q, *args), theirs.ppf(Q, *args), rtol=1e-9)
    np.testing.assert_allclose(ours.isf(Q, *args), theirs.isf(Q, *args), rtol=1e-9)
    assert np.isnan(ours.ppf(1.5, *args))
    wengert.testing.check_grads(lambda q: ours.ppf(q, *args), (Q[1:3],), 1)


DISCRETE = {
    "bernoulli": (0.3,),
    "betabinom": (5.0, 1.3, 0.7),
    "binom": (5.0, 0.3),
    "geom": (0.3,),
    "nbinom": (2.5, 0.3),
    "poisson": (1.7,),
}


@pytest.mark.parametrize("name", DISCRETE)
class TestDiscrete:
    def test_value(self, name):
        k, shapes = np.arange(-1, 8), DISCRETE[name]
        ours, theirs = getattr(stats, name), getattr(reference, name)
        np.testing.assert_allclose(
            ours.pmf(k, *map(np.float64, shapes)), theirs.pmf(k, *shapes), atol=1e-14
        )
        shifted = ours.logpmf(k + 2, *map(np.float64, shapes), loc=2)
        np.testing.assert_allclose(shifted, theirs.logpmf(k, *shapes), atol=1e-12)
        assert float(ours.pmf(1.5, *shapes)) == 0

    def test_grads(self, name):
        shapes = tuple(map(np.float64, DISCRETE[name]))
        fixed = shapes[:1] if name in ("binom", "betabinom") else ()
        free = shapes[len(fixed) :]
        wengert.testing.check_grads(
            lambda *s: getattr(stats, name).logpmf(1, *fixed, *s), free, 1, rtol=1e-5
        )


def test_discrete_distribution_functions():
    k = np.array([-1.0, 0.0, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(stats.poisson.cdf(k, 1.7), reference.poisson.cdf(k, 1.7))
    p = np.float64(0.3)
    np.testing.assert_allclose(stats.bernoulli.cdf(k, p), reference.bernoulli.cdf(k, 0.3))
    np.testing.assert_allclose(stats.bernoulli.ppf(Q, p), reference.bernoulli.ppf(Q, 0.3))


def test_gradients_at_zero_counts():
    grad = wengert.grad(stats.poisson.logpmf, argnums=1)(0, 1.5)
    np.testing.assert_allclose(grad, -1)
    grad = wengert.grad(stats.bernoulli.logpmf, argnums=1)(1, 0.25)
    np.testing.assert_allclose(grad, 4)


# -- vectors ---------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=3)
ROOT = RNG.normal(size=(3, 3))
COV = ROOT @ ROOT.T + np.eye(3)
X = RNG.normal(size=(5, 3))


def test_multivariate_normal():
    ours, theirs = stats.multivariate_normal, reference.multivariate_normal
    np.testing.assert_allclose(ours.logpdf(X, MEAN, COV), theirs.logpdf(X, MEAN, COV))
    np.testing.assert_allclose(ours.pdf(X[0], MEAN, COV), theirs.pdf(X[0], MEAN, COV))
    many = ours.logpdf(X, np.zeros((5, 3)), np.stack([COV] * 5))
    np.testing.assert_allclose(many, theirs.logpdf(X, np.zeros(3), COV))
    np.testing.assert_allclose(
        ours.logpdf(X, MEAN, np.float64(2.0)), theirs.logpdf(X, MEAN, 2 * np.eye(3))
    )
    np.testing.assert_allclose(ours.logpdf(X[0], 0.5, 4.0), reference.norm.logpdf(X[0], 0.5, 2))
    symmetric = lambda x, m, c: ours.logpdf(x, m, (c + c.T) / 2)
    wengert.testing.check_grads(symmetric, (X, MEAN, COV), 1)
    mapped = wengert.vmap(ours.logpdf, in_axes=(0, None, None))(X, MEAN, COV)
    np.testing.assert_allclose(mapped, theirs.logpdf(X, MEAN, COV))
    with pytest.raises(errors.ShapeError):
        ours.logpdf(X, MEAN[:2], COV)
    with pytest.raises(ValueError, match="positive definite"):
        ours.logpdf(X, MEAN, COV, allow_singular=True)
    with pytest.raises(np.linalg.LinAlgError):
        ours.logpdf(X, MEAN, -COV)


def test_dirichlet():
    alpha, x = np.array([0.7, 1.9, 3.1]), np.array([[0.2, 0.5], [0.3, 0.1], [0.5, 0.4]])
    expected = [reference.dirichlet.logpdf(column, alpha) for column in x.T]
    np.testing.assert_allclose(stats.dirichlet.logpdf(x, alpha), expected)
    np.testing.assert_allclose(stats.dirichlet.logpdf(x[:-1], alpha), expected)
    np.testing.assert_allclose(stats.dirichlet.pdf(x, alpha), np.exp(expected))
    assert float(stats.dirichlet.pdf(np.array([0.5, 0.5, 0.5]), alpha)) == 0
    wengert.testing.check_grads(lambda a: stats.dirichlet.logpdf(x, a), (alpha,), 1)
    with pytest.raises(errors.ShapeError):
        stats.dirichlet.logpdf(x[:1], alpha)


def test_multinomial():
    p, x = np.array([0.2, 0.3, 0.5]), np.array([[1, 0, 3], [0, 4, 0], [1, 1, 1]])
    expected = reference.multinomial.logpmf(x, 4, p)
    np.testing.assert_allclose(stats.multinomial.logpmf(x, 4, p), expected)
    np.testing.assert_allclose(stats.multinomial.pmf(x, 4, p), np.exp(expected))
    grad = wengert.grad(lambda p: wnp.sum(stats.multinomial.logpmf(x[:2], 4, p)))(p)
    np.testing.assert_allclose(grad, x[:2].sum(0) / p)


def test_parameters():
    with pytest.raises(TypeError, match="parameters a, loc, scale"):
        stats.gamma.logpdf(1.0)
    with pytest.raises(TypeError, match="mean"):
        stats.norm.logpdf(1.0, mean=2.0)
    with pytest.raises(TypeError, match="each once"):
        stats.norm.logpdf(1.0, 2.0, loc=2.0)
    with pytest.raises(TypeError, match="got 3 by position"):
        stats.norm.logpdf(1.0, 0.0, 1.0, 2.0)
    assert repr(stats.norm) == "<distribution norm>"


def test_dtypes():
    assert stats.norm.logpdf(np.float32(1)).dtype == np.float32
    assert stats.norm.logpdf(np.int32(1)).dtype == np.float32
    assert stats.poisson.logpmf(1, np.float64(1.5)).dtype == np.float64
