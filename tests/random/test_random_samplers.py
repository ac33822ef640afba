"""The samplers: their distributions, their behaviour under vmap and jit, and their errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import wengert
import wengert.numpy as wnp
from wengert import errors, random
from wengert.primitives.threefry import LAYOUTS

COV = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)

#: Every sampler, as a function of a key.
SAMPLERS = {
    "bits": lambda k: random.bits(k, (3,)),
    "bits of 8": lambda k: random.bits(k, (5,), "uint8"),
    "bits of 64": lambda k: random.bits(k, (3,), "uint64"),
    "uniform": lambda k: random.uniform(k, (3, 2), minval=-1.0, maxval=2.0),
    "uniform between arrays": lambda k: random.uniform(k, (2, 3), minval=wnp.zeros((2, 1))),
    "normal": lambda k: random.normal(k, (5,)),
    "normal, single": random.normal,
    "normal, complex": lambda k: random.normal(k, (5,), "complex64"),
    "normal in float64": lambda k: random.normal(k, (5,), "float64"),
    "normal in bfloat16": lambda k: random.normal(k, (5,), "bfloat16"),
    "truncated_normal": lambda k: random.truncated_normal(k, -1.0, 2.0, (5,)),
    "randint": lambda k: random.randint(k, (5,), -3, 100),
    "randint between arrays": lambda k: random.randint(k, (3,), wnp.arange(3), 10),
    "randint of 8 bits": lambda k: random.randint(k, (5,), 0, 256, "uint8"),
    "bernoulli": lambda k: random.bernoulli(k, 0.3, (9,)),
    "bernoulli, high": lambda k: random.bernoulli(k, 0.3, (9,), mode="high"),
    "rademacher": lambda k: random.rademacher(k, (9,)),
    "permutation": lambda k: random.permutation(k, 7),
    "permutation of rows": lambda k: random.permutation(k, wnp.arange(6.0).reshape(3, 2)),
    "permutation, independent": lambda k: random.permutation(
        k, wnp.arange(6.0).reshape(3, 2), 1, independent=True
    ),
    "choice": lambda k: random.choice(k, 9, (4,)),
    "choice of rows": lambda k: random.choice(k, wnp.arange(6.0).reshape(3, 2), (2, 2)),
    "choice, p": lambda k: random.choice(k, 3, (4,), p=wnp.array([0.2, 0.3, 0.5])),
    "choice, different": lambda k: random.choice(k, 9, (4,), replace=False),
    "choice, different, p": lambda k: random.choice(
        k, 3, (2,), replace=False, p=wnp.array([0.2, 0.3, 0.5])
    ),
    "categorical": lambda k: random.categorical(k, wnp.array([[0.1, 2.0], [1.0, 0.0]])),
    "categorical, different": lambda k: random.categorical(
        k, wnp.array([0.1, 2.0, 0.4]), shape=(2,), replace=False
    ),
    "gumbel": lambda k: random.gumbel(k, (5,)),
    "gumbel, high": lambda k: random.gumbel(k, (5,), mode="high"),
    "exponential": lambda k: random.exponential(k, (5,)),
    "laplace": lambda k: random.laplace(k, (5,)),
    "logistic": lambda k: random.logistic(k, (5,)),
    "cauchy": lambda k: random.cauchy(k, (5,)),
    "maxwell": lambda k: random.maxwell(k, (5,)),
    "double_sided_maxwell": lambda k: random.double_sided_maxwell(k, 1.0, 2.0, (5,)),
    "rayleigh": lambda k: random.rayleigh(k, 2.0, (5,)),
    "pareto": lambda k: random.pareto(k, 2.0, (5,)),
    "weibull_min": lambda k: random.weibull_min(k, 2.0, 1.5, (5,)),
    "lognormal": lambda k: random.lognormal(k, 0.5, (5,)),
    "triangular": lambda k: random.triangular(k, -1.0, 0.5, 2.0, (5,)),
    "wald": lambda k: random.wald(k, 2.0, (5,)),
    "gamma": lambda k: random.gamma(k, wnp.array([0.3, 4.0])),
    "loggamma": lambda k: random.loggamma(k, wnp.array([0.3, 4.0]), (3, 2)),
    "beta": lambda k: random.beta(k, 0.5, 2.0, (3,)),
    "dirichlet": lambda k: random.dirichlet(k, wnp.array([0.3, 1.0, 4.0])),
    "chisquare": lambda k: random.chisquare(k, 3.0, (3,)),
    "f": lambda k: random.f(k, 3.0, 5.0, (3,)),
    "t": lambda k: random.t(k, 3.0, (3,)),
    "generalized_normal": lambda k: random.generalized_normal(k, 1.5, (3,)),
    "ball": lambda k: random.ball(k, 3, shape=(2,)),
    "poisson": lambda k: random.poisson(k, wnp.array([0.5, 4.0, 30.0])),
    "binomial": lambda k: random.binomial(k, wnp.array([5, 100]), 0.4),
    "multinomial": lambda k: random.multinomial(k, 20, wnp.array([0.2, 0.3, 0.5])),
    "geometric": lambda k: random.geometric(k, 0.2, (5,)),
    "multivariate_normal": lambda k: random.multivariate_normal(k, wnp.ones(2), COV, (3,)),
    "orthogonal": lambda k: random.orthogonal(k, 3),
}
SAMPLER = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())


def equal(a, b):
    """Equality to the last bits but two: matrix products of stacks may be summed otherwise."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    if a.dtype.kind in "fc":
        np.testing.assert_allclose(a, b, rtol=5e-7, atol=1e-7)
    else:
        np.testing.assert_array_equal(a, b)


@SAMPLER
def test_vmap_over_keys_is_the_loop(sampler):
    for impl in LAYOUTS:
        keys = random.split(random.key(11, impl=impl), 3)
        batched = wengert.vmap(sampler)(keys)
        for i in range(3):
            equal(batched[i], sampler(keys[i]))


@SAMPLER
def test_nested_vmap_over_keys_is_the_loop(sampler):
    keys = random.split(random.key(12), (2, 2))
    batched = wengert.vmap(wengert.vmap(sampler))(keys)
    for i in range(2):
        for j in range(2):
            equal(batched[i, j], sampler(keys[i, j]))


@SAMPLER
def test_jit_is_eager(sampler):
    for key in (random.key(13), random.PRNGKey(13), random.key(13, impl=LAYOUTS[1])):
        equal(wengert.jit(sampler)(key), sampler(key))


@SAMPLER
def test_the_type_is_known_before(sampler):
    key = random.key(0)
    out, known = sampler(key), wengert.eval_shape(sampler, key)
    assert (out.shape, out.dtype) == (known.shape, known.dtype)
    assert not out.weak_type


def test_vmap_over_parameters_with_one_key():
    key = random.key(3)
    a = wnp.array([0.5, 2.0, 40.0])
    for f in (
        lambda a: random.gamma(key, a),
        lambda a: random.poisson(key, a, (2,)),
        lambda a: random.binomial(key, 50.0, a / 50.0),
        lambda a: random.uniform(key, (2,), maxval=a),
        lambda a: random.beta(key, a, 1.0),
    ):
        batched = wengert.vmap(f)(a)
        for i in range(3):
            equal(batched[i], f(a[i]))


# -- distributions ---------------------------------------------------------------------------

N = 20_000

#: Samples of N numbers, and the distribution they should have.
CONTINUOUS = {
    "uniform": (lambda k: random.uniform(k, N, minval=-1, maxval=3), stats.uniform(-1, 4)),
    "normal": (lambda k: random.normal(k, (N,)), stats.norm),
    "normal in float64": (lambda k: random.normal(k, (N,), "float64"), stats.norm),
    "truncated_normal": (
        lambda k: random.truncated_normal(k, -0.5, 2.0, (N,)),
        stats.truncnorm(-0.5, 2.0),
    ),
    "exponential": (lambda k: random.exponential(k, (N,)), stats.expon),
    "gumbel": (lambda k: random.gumbel(k, (N,)), stats.gumbel_r),
    "gumbel, high": (lambda k: random.gumbel(k, (N,), mode="high"), stats.gumbel_r),
    "laplace": (lambda k: random.laplace(k, (N,)), stats.laplace),
    "logistic": (lambda k: random.logistic(k, (N,)), stats.logistic),
    "cauchy": (lambda k: random.cauchy(k, (N,)), stats.cauchy),
    "maxwell": (lambda k: random.maxwell(k, (N,)), stats.maxwell),
    "rayleigh": (lambda k: random.rayleigh(k, 2.0, (N,)), stats.rayleigh(scale=2)),
    "pareto": (lambda k: random.pareto(k, 3.0, (N,)), stats.pareto(3)),
    "weibull_min": (
        lambda k: random.weibull_min(k, 2.0, 1.5, (N,)),
        stats.weibull_min(1.5, scale=2),
    ),
    "lognormal": (lambda k: random.lognormal(k, 0.5, (N,)), stats.lognorm(0.5)),
    "triangular": (
        lambda k: random.triangular(k, -1.0, 0.0, 3.0, (N,)),
        stats.triang(0.25, -1, 4),
    ),
    "wald": (lambda k: random.wald(k, 2.0, (N,)), stats.invgauss(2.0)),
    "gamma, small": (lambda k: random.gamma(k, 0.3, (N,)), stats.gamma(0.3)),
    "gamma, large": (lambda k: random.gamma(k, 20.0, (N,)), stats.gamma(20)),
    "loggamma": (lambda k: random.loggamma(k, 0.3, (N,)), stats.loggamma(0.3)),
    "beta": (lambda k: random.beta(k, 0.5, 2.0, (N,)), stats.beta(0.5, 2)),
    "dirichlet": (
        lambda k: random.dirichlet(k, wnp.array([1.0, 2.0, 3.0]), (N,))[:, 1],
        stats.beta(2, 4),
    ),
    "chisquare": (lambda k: random.chisquare(k, 3.0, (N,)), stats.chi2(3)),
    "f": (lambda k: random.f(k, 3.0, 5.0, (N,)), stats.f(3, 5)),
    "t": (lambda k: random.t(k, 3.0, (N,)), stats.t(3)),
    "generalized_normal": (
        lambda k: random.generalized_normal(k, 1.5, (N,)),
        stats.gennorm(1.5),
    ),
    "ball": (
        lambda k: wnp.linalg.norm(random.ball(k, 3, shape=(N,)), axis=-1),
        stats.powerlaw(3),
    ),
    "multivariate_normal": (
        lambda k: (
            random.multivariate_normal(k, wnp.zeros(2), COV, (N,)) @ wnp.array([1.0, 1.0])
        ),
        stats.norm(scale=2),
    ),
    "double_sided_maxwell": (
        lambda k: wnp.abs(random.double_sided_maxwell(k, 0.0, 2.0, (N,))),
        stats.maxwell(scale=2),
    ),
}
DISCRETE = {
    "randint": (lambda k: random.randint(k, (N,), -3, 9), stats.randint(-3, 9)),
    "randint of 8 bits": (lambda k: random.randint(k, (N,), 0, 5, "int8"), stats.randint(0, 5)),
    "bernoulli": (lambda k: random.bernoulli(k, 0.3, (N,)), stats.bernoulli(0.3)),
    "bernoulli, high": (
        lambda k: random.bernoulli(k, 0.3, (N,), mode="high"),
        stats.bernoulli(0.3),
    ),
    "rademacher": (lambda k: (random.rademacher(k, (N,)) + 1) // 2, stats.bernoulli(0.5)),
    "geometric": (lambda k: random.geometric(k, 0.3, (N,)), stats.geom(0.3)),
    "poisson, small": (lambda k: random.poisson(k, 3.5, (N,)), stats.poisson(3.5)),
    "poisson, large": (lambda k: random.poisson(k, 15.0, (N,)), stats.poisson(15)),
    "binomial, small": (lambda k: random.binomial(k, 8, 0.7, (N,)), stats.binom(8, 0.7)),
    "binomial, large": (lambda k: random.binomial(k, 60, 0.4, (N,)), stats.binom(60, 0.4)),
    "multinomial": (
        lambda k: random.multinomial(k, 12, wnp.array([0.2, 0.3, 0.5]), shape=(N, 3))[:, 1],
        stats.binom(12, 0.3),
    ),
    "categorical": (
        lambda k: random.categorical(k, wnp.log(wnp.array([0.2, 0.7, 0.1])), shape=(N,)),
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.7, 0.1])),
    ),
    "choice": (lambda k: random.choice(k, 6, (N,)), stats.randint(0, 6)),
    "choice, p": (
        lambda k: random.choice(k, 3, (N,), p=wnp.array([0.2, 0.7, 0.1])),
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.7, 0.1])),
    ),
}


@pytest.mark.parametrize(("sample", "law"), CONTINUOUS.values(), ids=CONTINUOUS.keys())
def test_continuous_distributions(sample, law):
    x = np.asarray(sample(random.key(2024)), np.float64)
    assert x.shape == (N,)
    assert stats.kstest(x, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("sample", "law"), DISCRETE.values(), ids=DISCRETE.keys())
def test_discrete_distributions(sample, law):
    x = np.asarray(sample(random.key(2025))).astype(np.int64)
    values = np.arange(x.min(), x.max() + 1)
    expected = law.pmf(values) * N
    usual = expected > 5
    observed = np.array([(x == v).sum() for v in values[usual]])
    rest = N - expected[usual].sum()
    observed, expected = [*observed, N - observed.sum()], [*expected[usual], rest]
    if rest < 5:  # what is left over counts with the rarest value
        observed[-2:], expected[-2:] = [sum(observed[-2:])], [sum(expected[-2:])]
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_permutations_are_uniform():
    keys = random.split(random.key(7), 12_000)
    orders = np.asarray(wengert.vmap(lambda k: random.permutation(k, 3))(keys))
    counts = np.unique(orders @ np.array([9, 3, 1]), return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_permutations_of_arrays():
    x = np.arange(24).reshape(4, 3, 2)
    for axis in (0, 1, -1):
        rows = np.asarray(random.permutation(random.key(1), x, axis))
        assert sorted(np.moveaxis(rows, axis, 0).reshape(x.shape[axis], -1).tolist()) == sorted(
            np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).tolist()
        )
        mixed = np.asarray(random.permutation(random.key(1), x, axis, independent=True))
        np.testing.assert_array_equal(np.sort(mixed, axis), x)
    assert random.permutation(random.key(0), 0).shape == (0,)


def test_orthogonal_matrices():
    for shape, n, m, dtype in (((), 3, None, None), ((2,), 3, 2, "float64"), ((), 2, 4, None)):
        q = np.asarray(random.orthogonal(random.key(0), n, shape, dtype, m))
        assert q.shape == (*shape, n, m or n)
        tall = q if q.shape[-2] >= q.shape[-1] else q.swapaxes(-1, -2)
        product = tall.swapaxes(-1, -2) @ tall
        np.testing.assert_allclose(
            product, np.broadcast_to(np.eye(min(n, m or n)), product.shape), atol=1e-6
        )
    u = np.asarray(random.orthogonal(random.key(0), 3, dtype="complex64"))
    np.testing.assert_allclose(u.conj().T @ u, np.eye(3), atol=1e-6)


def test_complex_normal_numbers():
    z = np.asarray(random.normal(random.key(0), (N,), "complex64"))
    assert abs(np.mean(np.abs(z) ** 2) - 1) < 0.03
    assert abs(np.mean(z * z)) < 0.03


def test_ways_to_write_a_shape():
    expected = random.uniform(random.key(0), (3,))
    for shape in (3, [3], np.int64(3), np.array([3]), wnp.array([3])):
        equal(random.uniform(random.key(0), shape), expected)


def test_ends_of_intervals():
    u = np.asarray(random.uniform(random.key(0), (100_000,), "float16"))
    assert u.min() == 0
    assert u.max() < 1
    x = np.asarray(random.truncated_normal(random.key(0), 1.0, 1.001, (1000,)))
    assert x.min() > 1
    assert x.max() < np.float32(1.001)
    tail = np.asarray(random.truncated_normal(random.key(0), 7.0, np.inf, (100,)))
    assert np.isfinite(tail).all()
    whole = np.asarray(random.truncated_normal(random.key(0), -np.inf, np.inf, (9,)))
    np.testing.assert_allclose(whole, random.normal(random.key(0), (9,)), rtol=1e-6)


def test_full_ranges_of_integers():
    for dtype in ("int32", "uint32", "int64", "uint64"):
        info = np.iinfo(dtype)
        low, high = int(info.min), int(info.max) + 1
        x = np.asarray(random.randint(random.key(0), (2000,), low, high, dtype))
        assert x.dtype == dtype
        assert x.min() < low + (high - low) // 100
        assert x.max() > high - (high - low) // 100
    full = random.randint(random.key(0), (50,), -(2**31), 2**31)
    arrays = random.randint(
        random.key(0), (50,), wnp.full(50, -(2**31), "int64"), wnp.full(50, 2**31, "int64")
    )
    np.testing.assert_array_equal(full, arrays)


def test_impossible_parameters_of_counts():
    lam = wnp.array([-1.0, wnp.nan, wnp.inf, 0.0])
    assert random.poisson(random.key(0), lam).tolist() == [-1, -1, -1, 0]
    n, p = wnp.array([-1.0, 5.0, 5.0, wnp.inf, 5.0]), wnp.array([0.5, wnp.nan, 1.5, 0.5, 1.0])
    out = np.asarray(random.binomial(random.key(0), n, p))
    np.testing.assert_array_equal(out, [np.nan, np.nan, np.nan, np.inf, 5.0])


def test_small_shapes_of_gamma():
    logs = np.asarray(random.loggamma(random.key(0), 1e-4, (1000,)))
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(
        np.exp(logs), random.gamma(random.key(0), 1e-4, (1000,)), rtol=1e-3, atol=1e-30
    )
    x = np.asarray(random.dirichlet(random.key(0), wnp.full(3, 1e-4), (50,)))
    np.testing.assert_allclose(x.sum(-1), 1, rtol=1e-6)
    assert not random.gamma(random.key(0), 1.0, (0, 3)).size


# -- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda k: random.normal(k, (-1,)), errors.ShapeError, "not negative"),
        (lambda k: random.normal(k, (2.5,)), errors.ShapeError, "tuple of ints"),
        (lambda k: random.normal(k, "x"), errors.ShapeError, "tuple of ints"),
        (lambda k: random.normal(k, (2,), "int32"), errors.DTypeError, "floating"),
        (lambda k: random.bits(k, (2,), "int32"), errors.DTypeError, "unsigned"),
        (lambda k: random.randint(k, (2,), 0, 5, "float32"), errors.DTypeError, "integer"),
        (lambda k: random.randint(k, (2,), 0, 2.5), errors.DTypeError, "integers"),
        (lambda k: random.randint(k, (2,), 5, 5), ValueError, "empty range"),
        (lambda k: random.randint(k, (2,), wnp.array([0, 7]), 5), ValueError, "empty range"),
        (lambda k: random.randint(k, (2,), 0, 257, "uint8"), ValueError, "uint8"),
        (lambda k: random.randint(k, (2,), -1, 5, "uint8"), ValueError, "cannot hold"),
        (lambda k: random.randint(k, (2,), wnp.arange(3), 5), errors.ShapeError, "broadcast"),
        (lambda k: random.uniform(k, (2,), minval=2.0), ValueError, "above maxval"),
        (
            lambda k: random.uniform(k, (2,), minval=wnp.zeros(3)),
            errors.ShapeError,
            "broadcast",
        ),
        (lambda k: random.uniform(k, (2,), minval=1j), errors.DTypeError, "real"),
        (lambda k: random.bernoulli(k, 1), errors.DTypeError, "1.0"),
        (lambda k: random.bernoulli(k, 0.5, mode="x"), ValueError, "'low' and 'high'"),
        (lambda k: random.bernoulli(k, wnp.ones(3), (2,)), errors.ShapeError, "(3,)"),
        (lambda k: random.gamma(k, wnp.ones(3), (2,)), errors.ShapeError, "(n, *(3,))"),
        (lambda k: random.beta(k, wnp.ones(3), wnp.ones(2)), errors.ShapeError, "broadcast"),
        (lambda k: random.dirichlet(k, 1.0), errors.ShapeError, "(..., n)"),
        (lambda k: random.gumbel(k, mode="middle"), ValueError, "'low' and 'high'"),
        (lambda k: random.rademacher(k, (), "uint8"), errors.DTypeError, "signed"),
        (lambda k: random.choice(k, 5, 3), TypeError, "tuple"),
        (lambda k: random.choice(k, 5, (6,), replace=False), ValueError, "6 different"),
        (lambda k: random.choice(k, 0, (1,)), ValueError, "nothing"),
        (lambda k: random.choice(k, 5, (2,), p=wnp.ones(4)), errors.ShapeError, "(5,)"),
        (lambda k: random.choice(k, wnp.ones(5), (2,), axis=1), errors.ShapeError, "axis 1"),
        (lambda k: random.permutation(k, 2.5), TypeError, "integer"),
        (lambda k: random.permutation(k, wnp.ones(3), axis=1), errors.ShapeError, "axis 1"),
        (lambda k: random.categorical(k, wnp.arange(3)), errors.DTypeError, "floating"),
        (lambda k: random.categorical(k, wnp.ones(3), axis=2), errors.ShapeError, "axis 2"),
        (
            lambda k: random.categorical(k, wnp.ones(3), shape=(4,), replace=False),
            ValueError,
            "4 distinct",
        ),
        (
            lambda k: random.multivariate_normal(k, wnp.ones(3), wnp.eye(2)),
            errors.ShapeError,
            "(..., n, n)",
        ),
        (
            lambda k: random.multivariate_normal(k, wnp.ones(2), wnp.eye(2), method="lu"),
            ValueError,
            "cholesky",
        ),
        (lambda k: random.multinomial(k, 3, 0.5), errors.ShapeError, "(..., k)"),
        (lambda k: wengert.jit(random.normal)(k, (2,)), errors.ConcretizationError, ""),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error) as caught:
        call(random.key(0))
    assert message in str(caught.value)
