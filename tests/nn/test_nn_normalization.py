"""Softmax and its kin, standardization, attention: values, masks, extremes, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import wengert
import wengert.numpy as wnp
from wengert import errors, nn

RNG = np.random.default_rng(0)
A = 3 * RNG.normal(size=(3, 4))
B = RNG.normal(size=(3, 4))
SEEN = RNG.random((3, 4)) > 0.4
SEEN[:, 0] = True


def masked(reference, x, axis, fill):
    """The reference on the selected elements, `fill` elsewhere."""
    return np.where(SEEN, reference(np.where(SEEN, x, -np.inf), axis), fill)


REFERENCES = {
    "softmax": scipy.special.softmax,
    "log_softmax": scipy.special.log_softmax,
    "logsumexp": scipy.special.logsumexp,
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("axis", [-1, 0, (0, 1), None])
class TestSoftmaxFamily:
    def test_value(self, name, axis):
        out = getattr(nn, name)(A, axis=axis)
        np.testing.assert_allclose(out, REFERENCES[name](A, axis), atol=1e-12)
        single = getattr(nn, name)(A.astype(np.float32), axis=axis)
        assert single.dtype == np.float32

    def test_large_arguments(self, name, axis):
        out = getattr(nn, name)(A * 1e4, axis=axis)
        np.testing.assert_allclose(out, REFERENCES[name](A * 1e4, axis), atol=1e-9)
        grad = wengert.grad(lambda x: wnp.sum(wnp.sin(getattr(nn, name)(x, axis=axis))))
        assert np.isfinite(grad(A * 1e4)).all()

    def test_grads(self, name, axis):
        wengert.testing.check_grads(lambda x: getattr(nn, name)(x, axis=axis), (A,), 2)

    def test_masked_elements_take_no_part(self, name, axis):
        function = getattr(nn, name)
        junk = np.where(SEEN, A, np.nan)
        out = function(junk, axis=axis, where=SEEN)
        if name == "logsumexp":
            expected = REFERENCES[name](np.where(SEEN, A, -np.inf), axis)
        else:
            fill = 0 if name == "softmax" else -np.inf
            expected = masked(REFERENCES[name], A, axis, fill)
        np.testing.assert_allclose(out, expected, atol=1e-12)

        def loss(x):
            out = function(x, axis=axis, where=SEEN)
            return wnp.sum(wnp.sin(wnp.where(wnp.isfinite(out), out, 0)))

        grad = wengert.grad(loss)(junk)
        np.testing.assert_array_equal(np.asarray(grad)[~SEEN], 0)
        np.testing.assert_allclose(grad, wengert.grad(loss)(np.where(SEEN, A, 0)), atol=1e-12)

    def test_jit_and_vmap(self, name, axis):
        def f(x):
            return getattr(nn, name)(x, axis=axis)

        np.testing.assert_allclose(wengert.jit(f)(A), f(A))
        batch = np.stack([A, B])
        np.testing.assert_allclose(wengert.vmap(f)(batch)[1], f(B))


def test_minus_infinity_is_a_probability_of_zero():
    x = np.array([0.0, -np.inf, 1.0])
    np.testing.assert_allclose(nn.softmax(x), scipy.special.softmax(x))
    np.testing.assert_allclose(nn.logsumexp(x), scipy.special.logsumexp(x))
    grad = wengert.grad(lambda x: nn.softmax(x)[0])(x)
    np.testing.assert_allclose(
        grad, wengert.grad(lambda x: nn.softmax(x)[0])(np.array([0.0, -800.0, 1.0]))
    )
    assert float(nn.logsumexp(np.full(3, -np.inf))) == -np.inf
    assert float(nn.logsumexp(np.array([np.inf, 0.0]))) == np.inf


def test_rows_without_selected_elements():
    nothing = np.zeros((3, 4), bool)
    np.testing.assert_array_equal(nn.softmax(A, where=nothing), np.zeros((3, 4)))
    np.testing.assert_array_equal(nn.logsumexp(A, 1, where=nothing), [-np.inf] * 3)
    grad = wengert.grad(lambda x: wnp.sum(nn.softmax(x, where=nothing) ** 2))
    np.testing.assert_array_equal(grad(A), np.zeros((3, 4)))


def test_logsumexp_with_factors():
    value, sign = nn.logsumexp(A, axis=1, b=B, return_sign=True)
    expected, expected_sign = scipy.special.logsumexp(A, axis=1, b=B, return_sign=True)
    np.testing.assert_allclose(value, expected)
    np.testing.assert_array_equal(sign, expected_sign)
    assert np.isnan(nn.logsumexp(A, b=-1.0))
    assert nn.logsumexp(A, axis=0, keepdims=True).shape == (1, 4)
    zeros = np.where(SEEN, 1.0, 0.0)
    overflow = np.where(SEEN, A, 1e5)
    expected = scipy.special.logsumexp(np.where(SEEN, A, -np.inf), 1)
    np.testing.assert_allclose(nn.logsumexp(overflow, 1, b=zeros), expected)
    wengert.testing.check_grads(lambda a, b: nn.logsumexp(a, 1, b=b * b), (A, B), 2)
    complex_sum = nn.logsumexp(A + 1j * B, axis=1)
    np.testing.assert_allclose(complex_sum, np.log(np.exp(A + 1j * B).sum(1)))


def test_logsumexp_of_nothing():
    np.testing.assert_array_equal(nn.logsumexp(np.zeros((2, 0)), axis=1), [-np.inf] * 2)


def test_logmeanexp():
    np.testing.assert_allclose(nn.logmeanexp(A, 1), np.log(np.exp(A).mean(1)))
    expected = [np.log(np.exp(row[seen]).mean()) for row, seen in zip(A, SEEN, strict=True)]
    np.testing.assert_allclose(nn.logmeanexp(A, 1, where=SEEN), expected)


def test_standardize():
    centered = A - A.mean(1, keepdims=True)
    expected = centered / np.sqrt(A.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(nn.standardize(A), expected)
    np.testing.assert_allclose(
        nn.standardize(A, mean=1.0, variance=4.0, epsilon=0.0), (A - 1) / 2
    )
    far = (A + 1e6).astype(np.float64)
    np.testing.assert_allclose(nn.standardize(far), expected, rtol=1e-6)
    out = nn.standardize(A, axis=(0, 1), where=SEEN)
    mean, variance = A[SEEN].mean(), A[SEEN].var()
    np.testing.assert_allclose(out, (A - mean) / np.sqrt(variance + 1e-5))
    wengert.testing.check_grads(nn.standardize, (A,), 2)
    with pytest.raises(ValueError, match="algorithm"):
        nn.standardize(A, algorithm="slow")


# -- attention -------------------------------------------------------------------------------

Q = RNG.normal(size=(2, 5, 4, 8))
K = RNG.normal(size=(2, 6, 2, 8))
V = RNG.normal(size=(2, 6, 2, 8))
BIAS = RNG.normal(size=(2, 4, 5, 6))
ROWS, COLUMNS = np.arange(5)[:, None], np.arange(6)[None, :]


def attention(q, k, v, bias=0.0, seen=True, scale=8**-0.5):
    k, v = np.repeat(k, 2, 2), np.repeat(v, 2, 2)
    scores = np.einsum("btnh,bsnh->bnts", q, k) * scale + bias
    weights = scipy.special.softmax(np.where(seen, scores, -np.inf), -1)
    return np.einsum("bnts,bsnh->btnh", weights, v)


LENGTHS = np.array([4, 6])
ATTENTIONS = {
    "plain": ({}, {}),
    "scale": ({"scale": 0.3}, {"scale": 0.3}),
    "bias": ({"bias": BIAS}, {"bias": BIAS}),
    "mask": ({"mask": BIAS > -1}, {"seen": BIAS > -1}),
    "causal": ({"is_causal": True}, {"seen": COLUMNS <= ROWS}),
    "window": (
        {"local_window_size": (2, 1)},
        {"seen": (ROWS - COLUMNS <= 2) & (COLUMNS - ROWS <= 1)},
    ),
    "lengths": (
        {"key_value_seq_lengths": LENGTHS},
        {"seen": np.arange(6) < LENGTHS[:, None, None, None]},
    ),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention(name):
    ours, reference = ATTENTIONS[name]
    expected = attention(Q, K, V, **reference)
    out = nn.dot_product_attention(Q, K, V, **ours)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    wengert.testing.check_grads(
        lambda q, k, v: nn.dot_product_attention(q, k, v, **ours), (Q, K, V), 1
    )


def test_attention_shapes():
    single = nn.dot_product_attention(Q[0], K[0], V[0])
    np.testing.assert_allclose(single, attention(Q, K, V)[0])
    out = nn.dot_product_attention(Q, K, V, query_seq_lengths=np.array([3, 5]))
    np.testing.assert_array_equal(out[0, 3:], np.zeros((2, 4, 8)))
    np.testing.assert_allclose(out[1], attention(Q, K, V)[1])
    half = nn.dot_product_attention(*(x.astype(np.float16) for x in (Q, K, V)))
    assert half.dtype == np.float16
    with pytest.raises(errors.ShapeError):
        nn.dot_product_attention(Q, K, V[:, :5])
    with pytest.raises(errors.ShapeError):
        nn.dot_product_attention(Q[:, :, :3], K, V)
    with pytest.raises(ValueError, match="implementation"):
        nn.dot_product_attention(Q, K, V, implementation="cudnn")
