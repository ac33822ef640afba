"""Special functions against SciPy, their derivatives, promotion, and values at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as reference

import wengert
import wengert.numpy as wnp
from wengert import errors
from wengert.scipy import special

P = np.array([0.1, 0.35, 0.8])
POSITIVE = np.array([0.4, 1.3, 3.7])
OTHER = np.array([2.2, 0.7, 1.9])
SIGNED = np.array([-1.4, 0.3, 2.2])

UNARY = {
    "digamma": POSITIVE,
    "entr": P,
    "erf": SIGNED,
    "erfc": SIGNED,
    "erfcx": SIGNED,
    "erfinv": P,
    "exp1": POSITIVE,
    "expi": POSITIVE,
    "expit": SIGNED,
    "factorial": POSITIVE,
    "gamma": SIGNED,
    "gammaln": SIGNED,
    "gammasgn": SIGNED,
    "i0": SIGNED,
    "i0e": SIGNED,
    "i1": SIGNED,
    "i1e": SIGNED,
    "log_ndtr": np.array([-40.0, -1.4, 0.3, 8.0]),
    "logit": P,
    "ndtr": SIGNED,
    "ndtri": P,
    "spence": POSITIVE,
    "zeta": POSITIVE + 1.1,
}
BINARY = {
    "beta": (POSITIVE, OTHER),
    "betaln": (POSITIVE, OTHER),
    "boxcox": (POSITIVE, OTHER),
    "boxcox1p": (POSITIVE, OTHER),
    "comb": (POSITIVE + 3, OTHER),
    "gammainc": (POSITIVE, OTHER),
    "gammaincc": (POSITIVE, OTHER),
    "kl_div": (POSITIVE, OTHER),
    "poch": (POSITIVE, OTHER),
    "rel_entr": (POSITIVE, OTHER),
    "xlog1py": (POSITIVE, OTHER),
    "xlogy": (POSITIVE, OTHER),
}


@pytest.mark.parametrize("name", UNARY)
class TestUnary:
    def test_value(self, name):
        x = UNARY[name]
        function, expected = getattr(special, name), getattr(reference, name)
        for value in (x, x[1], x[:0], x.reshape(-1, 1)):
            np.testing.assert_allclose(function(value), expected(value), rtol=1e-10)
        single = function(x.astype(np.float32))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected(x), rtol=2e-5)

    def test_grads(self, name):
        wengert.testing.check_grads(getattr(special, name), (UNARY[name],), 1, rtol=1e-5)

    def test_jit_and_vmap(self, name):
        function, x = getattr(special, name), UNARY[name]
        np.testing.assert_allclose(wengert.jit(function)(x), function(x))
        np.testing.assert_allclose(wengert.vmap(function)(x), function(x))

    def test_python_numbers_and_integers(self, name):
        function = getattr(special, name)
        assert function(0.5).dtype == np.float32
        assert function(0.5).weak_type
        assert function(np.int32(1)).dtype == np.float32
        assert function(np.int64(1)).dtype == np.float64


@pytest.mark.parametrize("name", BINARY)
class TestBinary:
    def test_value(self, name):
        x, y = BINARY[name]
        function, expected = getattr(special, name), getattr(reference, name)
        np.testing.assert_allclose(function(x, y), expected(x, y), rtol=1e-9)
        outer = function(x[:, None], y)
        np.testing.assert_allclose(outer, expected(x[:, None], y), rtol=1e-9)

    def test_promotion(self, name):
        x, y = BINARY[name]
        function = getattr(special, name)
        assert function(x, y.astype(np.float32)).dtype == np.float64
        assert function(x.astype(np.float32), 1).dtype == np.float32
        np.testing.assert_allclose(
            function(x, 1.1), getattr(reference, name)(x, 1.1), rtol=1e-9
        )

    def test_grads(self, name):
        wengert.testing.check_grads(getattr(special, name), BINARY[name], 1, rtol=1e-5)


def test_orders():
    np.testing.assert_allclose(special.polygamma(2, POSITIVE), reference.polygamma(2, POSITIVE))
    np.testing.assert_allclose(special.expn(3, POSITIVE), reference.expn(3, POSITIVE))
    np.testing.assert_allclose(special.zeta(2.5, POSITIVE), reference.zeta(2.5, POSITIVE))
    wengert.testing.check_grads(lambda x: special.polygamma(1, x), (POSITIVE,), 2)
    wengert.testing.check_grads(lambda x: special.expn(3, x), (POSITIVE,), 2)
    wengert.testing.check_grads(lambda q: special.zeta(2.5, q), (POSITIVE,), 2)
    wengert.testing.check_grads(special.zeta, (POSITIVE + 1.1, POSITIVE), 1, rtol=1e-5)
    with pytest.raises(errors.WengertError, match="order"):
        wengert.grad(special.polygamma)(2.0, 1.5)
    with pytest.raises(ValueError, match="order"):
        special.expn(-1, POSITIVE)
    with pytest.raises(TypeError):
        special.expn(1.5, POSITIVE)


def test_incomplete_beta():
    args = (POSITIVE, OTHER, P)
    np.testing.assert_allclose(special.betainc(*args), reference.betainc(*args))
    wengert.testing.check_grads(special.betainc, args, 1, rtol=1e-5)


def test_multigammaln():
    for d in (1, 2, 4):
        value = special.multigammaln(POSITIVE + 2, d)
        np.testing.assert_allclose(value, reference.multigammaln(POSITIVE + 2, d))
    wengert.testing.check_grads(lambda a: special.multigammaln(a, 3), (POSITIVE + 2,), 1)


def test_factorials_and_combinations():
    n = np.array([-2.0, -0.5, 0.0, 1.0, 5.0])
    np.testing.assert_allclose(special.factorial(n), reference.factorial(n))
    assert int(special.factorial(5)) == 120
    with pytest.raises(ValueError, match="exact"):
        special.factorial(5, exact=True)
    sizes, chosen = np.array([5, 10, 4, 4]), np.array([2, 3, 7, -1])
    np.testing.assert_array_equal(special.comb(sizes, chosen), [10, 120, 0, 0])
    for n, k in ((5, 2), (4, 7), (0, 0), (0, 2)):
        expected = reference.comb(n, k, repetition=True)
        assert float(special.comb(n, k, repetition=True)) == pytest.approx(float(expected))
    np.testing.assert_allclose(special.poch(POSITIVE, 0.0), np.ones(3))


EDGES = [
    ("xlogy", (0.0, 0.0), 0.0),
    ("xlog1py", (0.0, -1.0), 0.0),
    ("entr", (0.0,), 0.0),
    ("entr", (-1.0,), -np.inf),
    ("rel_entr", (0.0, 1.0), 0.0),
    ("rel_entr", (1.0, 0.0), np.inf),
    ("kl_div", (0.0, 2.0), 2.0),
    ("logit", (0.0,), -np.inf),
    ("logit", (1.0,), np.inf),
    ("ndtri", (0.0,), -np.inf),
    ("erfinv", (1.0,), np.inf),
    ("gammaln", (0.0,), np.inf),
    ("gammainc", (1.0, np.inf), 1.0),
    ("boxcox", (2.0, 0.0), np.log(2)),
    ("boxcox1p", (2.0, 0.0), np.log(3)),
]


@pytest.mark.parametrize(("name", "args", "expected"), EDGES)
def test_edges(name, args, expected):
    out = getattr(special, name)(*(np.float64(a) for a in args))
    np.testing.assert_allclose(out, expected)


SLOPES = [
    (special.expit, -800.0, 0.0),
    (special.log_ndtr, -1e3, 1000.001),
    (special.xlogy, (0.0, 2.0), (np.log(2), 0.0)),
    (lambda x: special.xlogy(x, x), 1.0, 1.0),
    (special.boxcox, (2.0, 1e-9), (0.5, np.log(2) ** 2 / 2)),
    (special.i0, 0.0, 0.0),
]


@pytest.mark.parametrize(("function", "args", "slope"), SLOPES)
def test_slopes_at_the_edges(function, args, slope):
    args = args if isinstance(args, tuple) else (args,)
    grad = wengert.grad(function, tuple(range(len(args))))(*(np.float64(a) for a in args))
    expected = slope if isinstance(slope, tuple) else (slope,)
    np.testing.assert_allclose(np.array(grad, float), expected, rtol=1e-5, atol=1e-12)


def test_softmax_family():
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(special.softmax(x), reference.softmax(x))
    np.testing.assert_allclose(special.softmax(x, axis=0), reference.softmax(x, axis=0))
    np.testing.assert_allclose(special.log_softmax(x, axis=1), reference.log_softmax(x, axis=1))
    np.testing.assert_allclose(special.logsumexp(x, 0), reference.logsumexp(x, 0))


def test_complex_operands():
    z = P + 1j * SIGNED
    np.testing.assert_allclose(special.erf(z), reference.erf(z))
    np.testing.assert_allclose(special.erfc(z), reference.erfc(z))
    np.testing.assert_allclose(special.expit(z), 1 / (1 + np.exp(-z)))


def test_no_overflow():
    assert np.isfinite(special.i0e(np.float64(1e4)))
    assert np.isfinite(special.erfcx(np.float64(1e4)))
    assert float(special.expit(np.float32(-200.0))) >= 0
    total = wengert.grad(lambda x: wnp.sum(special.log_ndtr(x)))
    assert np.isfinite(total(np.array([-1e10, 1e10]))).all()
