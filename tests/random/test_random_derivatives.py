"""Derivatives of samples with respect to the parameters of their distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import wengert
import wengert.numpy as wnp
from wengert import random

KEY = random.key(5)
F64 = "float64"


def doubles(*values):
    return [wnp.array(v, F64) for v in values]


#: Samples that are smooth functions of their parameters, for a fixed key.
SMOOTH = {
    "uniform": (lambda a, b: random.uniform(KEY, (4,), F64, a, b), doubles(-1.0, 2.0)),
    "truncated_normal": (
        lambda a, b: random.truncated_normal(KEY, a, b, (4,), F64),
        doubles(-1.0, 0.7),
    ),
    "lognormal": (lambda s: random.lognormal(KEY, s, (4,), F64), doubles(0.7)),
    "pareto": (lambda b: random.pareto(KEY, b, (4,), F64), doubles(2.5)),
    "rayleigh": (lambda s: random.rayleigh(KEY, s, (4,), F64), doubles(1.5)),
    "weibull_min": (
        lambda s, c: random.weibull_min(KEY, s, c, (4,), F64),
        doubles(1.5, 2.0),
    ),
    "triangular": (
        lambda a, m, b: random.triangular(KEY, a, m, b, (4,), F64),
        doubles(-1.0, 0.2, 2.0),
    ),
    "wald": (lambda m: random.wald(KEY, m, (4,), F64), doubles(1.5)),
    "double_sided_maxwell": (
        lambda m, s: random.double_sided_maxwell(KEY, m, s, (4,), F64),
        doubles(0.3, 1.5),
    ),
    "location and scale": (
        lambda m, s: m + s * random.normal(KEY, (4,), F64),
        doubles(0.3, 1.5),
    ),
    "multivariate_normal": (
        lambda m, c: random.multivariate_normal(KEY, m, c, (3,)),
        doubles([0.3, 1.0], [[2.0, 0.5], [0.5, 1.0]]),
    ),
    "permutation": (lambda x: random.permutation(KEY, x), doubles([1.0, 2.0, 3.0, 4.0])),
    "choice": (lambda x: random.choice(KEY, x, (3,)), doubles([1.0, 2.0, 3.0, 4.0])),
}


@pytest.mark.parametrize(("sample", "parameters"), SMOOTH.values(), ids=SMOOTH.keys())
def test_smooth_samples(sample, parameters):
    wengert.check_grads(sample, parameters, order=1, modes=("fwd", "rev"))


A = np.array([0.02, 0.4, 1.0, 2.5, 30.0, 400.0])


def moved(a, x, h):
    """The gamma number of a + h at which the distribution function has the same value."""
    return special.gammaincinv(a + h, special.gammainc(a, x))


def test_gamma_samples_move_with_the_distribution_function():
    x, slope = wengert.jvp(
        lambda a: random.gamma(KEY, a, dtype=F64), (wnp.array(A),), (wnp.ones(6, F64),)
    )
    x, h = np.asarray(x), 1e-6 * A
    numeric = (moved(A, x, h) - moved(A, x, -h)) / (2 * h)
    np.testing.assert_allclose(slope, numeric, rtol=1e-5)


def test_logarithms_of_gamma_samples():
    sample = lambda a: random.loggamma(KEY, a, dtype=F64)
    logs, slope = wengert.jvp(sample, (wnp.array(A),), (wnp.ones(6, F64),))
    _, plain = wengert.jvp(
        lambda a: random.gamma(KEY, a, dtype=F64), (wnp.array(A),), (wnp.ones(6, F64),)
    )
    np.testing.assert_allclose(slope, plain / wnp.exp(logs), rtol=1e-9)


def test_logarithms_where_the_samples_underflow():
    """There the distribution function is x**a / gamma(a + 1)."""
    a = np.array([1e-4, 3e-4, 1e-3])
    logs, slope = wengert.jvp(
        lambda a: random.loggamma(KEY, a), (wnp.array(a, "float32"),), (wnp.ones(3),)
    )
    logs = np.asarray(logs, np.float64)
    assert (logs < -100).any()
    expected = (special.digamma(a + 1) - logs) / a
    np.testing.assert_allclose(np.asarray(slope)[logs < -60], expected[logs < -60], rtol=1e-5)


def test_second_derivative_of_gamma_samples():
    a = 2.5
    sample = lambda a: random.gamma(KEY, a, dtype=F64)
    x = float(sample(a))
    second = wengert.grad(wengert.grad(sample))(wnp.array(a, F64))
    h = 1e-3
    numeric = (moved(a, x, h) - 2 * x + moved(a, x, -h)) / h**2
    np.testing.assert_allclose(float(second), numeric, rtol=1e-4)


@pytest.mark.parametrize(
    ("mean", "derivative"),
    [
        (lambda a: wnp.mean(random.gamma(KEY, a, (40_000,))), lambda a: 1.0),
        (lambda a: wnp.mean(random.loggamma(KEY, a, (40_000,))), special.polygamma(1, 2.0)),
        (lambda a: wnp.mean(random.beta(KEY, a, 3.0, (40_000,))), 3 / 25),
        (lambda a: wnp.mean(random.chisquare(KEY, a, (40_000,))), 1.0),
        (
            lambda a: wnp.mean(random.dirichlet(KEY, wnp.stack([a, a, 1.0]), (40_000,))[:, 2]),
            -2 / 25,
        ),
    ],
    ids=["gamma", "loggamma", "beta", "chisquare", "dirichlet"],
)
def test_derivatives_of_means(mean, derivative):
    """The mean derivative of samples is the derivative of the mean."""
    expected = derivative(2.0) if callable(derivative) else derivative
    got = wengert.grad(mean)(2.0)
    np.testing.assert_allclose(float(got), expected, rtol=0.02)


def test_t_samples():
    """Student's t: the derivative of the second moment df / (df - 2) is -2 / (df - 2)**2."""
    moment = lambda df: wnp.mean(random.t(KEY, df, (100_000,)) ** 2)
    np.testing.assert_allclose(float(wengert.grad(moment)(12.0)), -0.02, rtol=0.1)


def test_gradients_under_vmap_and_jit():
    keys = random.split(KEY, 3)
    slope = wengert.grad(lambda a, k: random.gamma(k, a) + random.beta(k, a, 2.0))
    looped = np.array([slope(1.5, k) for k in keys])
    np.testing.assert_allclose(
        wengert.vmap(slope, in_axes=(None, 0))(1.5, keys), looped, rtol=1e-6
    )
    np.testing.assert_allclose(wengert.jit(slope)(1.5, keys[0]), looped[0], rtol=1e-6)


def test_samples_without_derivative():
    for sample in (
        lambda x: random.poisson(KEY, x, (3,)) * 1.0,
        lambda x: random.binomial(KEY, 10, x, (3,)),
        lambda x: random.bernoulli(KEY, x, (3,)) * 1.0,
        lambda x: random.categorical(KEY, wnp.stack([x, x])) * x * 0.0,
    ):
        assert wengert.grad(lambda x, f=sample: wnp.sum(f(x)))(0.3) == 0
