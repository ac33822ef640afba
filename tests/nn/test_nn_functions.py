"""Activations: values by their formulas, derivatives, kinks, and large arguments."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import wengert
import wengert.numpy as wnp
from wengert import errors, nn

X = np.array([-4.7, -2.2, -0.7, -0.3, 0.4, 0.8, 1.7, 6.5])
LARGE = np.array([-1e4, -100.0, 100.0, 1e4])
HUGE = np.array([-1e38, -1e20, 1e20, 1e38], np.float32)


def softplus(x):
    return np.logaddexp(x, 0)


FORMULAS = {
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "identity": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "log_sigmoid": lambda x: -softplus(-x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "sigmoid": scipy.special.expit,
    "silu": lambda x: x * scipy.special.expit(x),
    "soft_sign": lambda x: x / (1 + np.abs(x)),
    "softplus": softplus,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda x: np.clip(x + 1, 0, 2) / 2,
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "swish": lambda x: x * scipy.special.expit(x),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("name", FORMULAS)
class TestActivation:
    def test_value(self, name):
        function = getattr(nn, name)
        for x in (X, X[0], X.reshape(2, 4), np.zeros((0, 3)), X.astype(np.float32)):
            out = function(x)
            assert out.dtype == x.dtype
            np.testing.assert_allclose(out, FORMULAS[name](x), rtol=1e-5, atol=1e-7)

    def test_large_arguments(self, name):
        with np.errstate(all="ignore"):
            expected = FORMULAS[name](LARGE)
        np.testing.assert_allclose(getattr(nn, name)(LARGE), expected)

    def test_derivatives(self, name):
        wengert.testing.check_grads(getattr(nn, name), (X,), 2, atol=1e-5)

    def test_derivatives_of_huge_arguments_are_finite(self, name):
        function = getattr(nn, name)
        first = wengert.vmap(wengert.grad(function))
        assert np.isfinite(first(HUGE)).all() or name == "relu_squared"
        assert np.isfinite(first(LARGE)).all()
        assert np.isfinite(wengert.vmap(wengert.grad(wengert.grad(function)))(LARGE)).all()

    def test_nan_passes(self, name):
        assert np.isnan(getattr(nn, name)(np.float32(np.nan)))

    def test_jit_and_vmap(self, name):
        function = getattr(nn, name)
        np.testing.assert_allclose(wengert.jit(function)(X), function(X))
        np.testing.assert_allclose(wengert.vmap(function)(X), function(X))

    def test_integers(self, name):
        out = getattr(nn, name)(np.array([-2, 0, 3], np.int32))
        np.testing.assert_allclose(out, FORMULAS[name](np.array([-2.0, 0.0, 3.0])), rtol=1e-5)

    def test_weak_scalars_stay_weak(self, name):
        out = getattr(nn, name)(0.5)
        assert out.weak_type
        assert out.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "kink", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("relu6", 0.0, 0.0),
        ("relu6", 6.0, 0.0),
        ("leaky_relu", 0.0, 1.0),
        ("elu", 0.0, 1.0),
        ("celu", 0.0, 1.0),
        ("hard_tanh", 1.0, 1.0),
        ("hard_sigmoid", -3.0, 0.0),
        ("hard_silu", 3.0, 1.0),
        ("soft_sign", 0.0, 1.0),
        ("sparse_plus", 1.0, 1.0),
    ],
)
def test_slopes_at_kinks(name, kink, slope):
    assert float(wengert.grad(getattr(nn, name))(kink)) == pytest.approx(slope)


def test_parameters():
    np.testing.assert_allclose(nn.elu(X, 0.7), np.where(X > 0, X, 0.7 * np.expm1(X)))
    np.testing.assert_allclose(nn.celu(X, 2.0), np.where(X > 0, X, 2 * np.expm1(X / 2)))
    np.testing.assert_allclose(nn.leaky_relu(X, 0.3), np.where(X > 0, X, 0.3 * X))
    np.testing.assert_allclose(nn.squareplus(X, 1), (X + np.sqrt(X**2 + 1)) / 2)
    wengert.testing.check_grads(nn.squareplus, (X, np.float64(3.0)), 1)
    wengert.testing.check_grads(nn.celu, (X, np.float64(0.7)), 1)
    exact = X * scipy.special.ndtr(X)
    np.testing.assert_allclose(nn.gelu(X, approximate=False), exact)
    wengert.testing.check_grads(lambda x: nn.gelu(x, approximate=False), (X,), 2)


def test_gelu_far_out_is_accurate():
    x = np.array([-12.0, -9.0, 9.0, 12.0])
    np.testing.assert_allclose(nn.gelu(x), FORMULAS["gelu"](x))
    exact = nn.gelu(x, approximate=False)
    np.testing.assert_allclose(exact, x * scipy.special.ndtr(x), rtol=1e-10)


def test_log1mexp():
    x = np.array([1e-12, 1e-3, 0.5, np.log(2), 1.0, 30.0, 700.0])
    np.testing.assert_allclose(nn.log1mexp(x), scipy.special.log1p(-np.exp(-x)), rtol=1e-4)
    np.testing.assert_allclose(nn.log1mexp(np.float64(1e-12)), np.log(1e-12), rtol=1e-12)
    np.testing.assert_allclose(wengert.grad(nn.log1mexp)(np.float64(1e-12)), 1e12, rtol=1e-9)
    wengert.testing.check_grads(nn.log1mexp, (np.array([0.3, 0.9, 2.0]),), 2)


def test_glu():
    x = np.random.default_rng(0).normal(size=(4, 6))
    np.testing.assert_allclose(nn.glu(x), x[:, :3] * scipy.special.expit(x[:, 3:]))
    np.testing.assert_allclose(nn.glu(x, axis=0), x[:2] * scipy.special.expit(x[2:]))
    wengert.testing.check_grads(nn.glu, (x,), 1)
    with pytest.raises(errors.ShapeError, match="even"):
        nn.glu(x[:, :5])


def test_one_hot():
    x = np.array([[0, 2], [5, -1]])
    expected = x[..., None] == np.arange(3)
    out = nn.one_hot(x, 3)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(nn.one_hot(x, 3, axis=0), np.moveaxis(expected, -1, 0))
    np.testing.assert_array_equal(nn.one_hot(x, 3, axis=-2), np.moveaxis(expected, -1, 1))
    assert nn.one_hot(x, 3, dtype=bool).dtype == np.bool_
    assert nn.one_hot(np.zeros((0,), int), 4).shape == (0, 4)
    with pytest.raises(errors.ShapeError):
        nn.one_hot(x, 3, axis=3)


def test_one_hot_along_a_named_axis():
    def f(v):
        return v * nn.one_hot(2, 4, axis="class")

    out = wengert.vmap(f, axis_name="class")(np.arange(1, 5, dtype=np.float32))
    np.testing.assert_array_equal(out, [0, 0, 3, 0])


def test_activations_compose_with_half_precision():
    x = X.astype(np.float16)
    for name in FORMULAS:
        assert getattr(nn, name)(x).dtype == np.float16
    loss = wengert.grad(lambda x: wnp.sum(nn.silu(x) + nn.gelu(x) + nn.softplus(x)))
    assert loss(x).dtype == np.float16
