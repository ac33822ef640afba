"""Initializers: shapes, dtypes, moments, orthogonality, and JAX's draws for the same key."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import wengert
from wengert import errors, random
from wengert.nn import initializers

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "initializers.json").read_text())
KEY = random.PRNGKey(3)


def made(name, arguments):
    init = getattr(initializers, name)
    return init if arguments is None else init(*arguments)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"{c['name']}{c['shape']}")
def test_draws_of_jax(case):
    init = made(case["name"], case["arguments"])
    for dtype in ("float32", "float64"):
        out = init(KEY, tuple(case["shape"]), dtype)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, case[dtype], rtol=2e-5, atol=2e-6)


SCALED = {
    "glorot_uniform": 2 / (300 + 200),
    "glorot_normal": 2 / (300 + 200),
    "xavier_uniform": 2 / (300 + 200),
    "xavier_normal": 2 / (300 + 200),
    "he_uniform": 2 / 300,
    "he_normal": 2 / 300,
    "kaiming_uniform": 2 / 300,
    "kaiming_normal": 2 / 300,
    "lecun_uniform": 1 / 300,
    "lecun_normal": 1 / 300,
}


@pytest.mark.parametrize("name", SCALED)
def test_variances(name):
    out = np.asarray(getattr(initializers, name)()(KEY, (300, 200)))
    assert out.dtype == np.float32
    assert out.mean() == pytest.approx(0, abs=3e-3)
    assert out.var() == pytest.approx(SCALED[name], rel=0.03)


@pytest.mark.parametrize("distribution", ["normal", "truncated_normal", "uniform"])
@pytest.mark.parametrize(
    ("mode", "count"),
    [("fan_in", 60), ("fan_out", 240), ("fan_avg", 150), ("fan_geo_avg", 120)],
)
def test_fans_count_the_receptive_field(distribution, mode, count):
    init = initializers.variance_scaling(3.0, mode, distribution, in_axis=1, out_axis=0)
    out = np.asarray(init(KEY, (80, 20, 3)))
    assert out.var() == pytest.approx(3 / count, rel=0.06)


def test_batch_axes_do_not_count():
    assert initializers.fans((7, 3, 5), batch_axis=0) == (3, 5)
    assert initializers.fans((7, 3, 5)) == (21, 35)
    assert initializers.fans((2, 3, 4), in_axis=(0, 1), out_axis=2) == (6, 4)


def test_bounds():
    out = np.asarray(initializers.truncated_normal(0.5, lower=-1.0, upper=3.0)(KEY, (1000,)))
    assert -0.5 <= out.min() < out.max() <= 1.5
    out = np.asarray(initializers.uniform(0.5)(KEY, (1000,)))
    assert 0 <= out.min() < out.max() < 0.5


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 4), -1), ((6, 3), -1), ((3, 6), -1), ((2, 5, 3), 1)]
)
def test_orthogonal(shape, axis):
    out = np.asarray(initializers.orthogonal(2.0, column_axis=axis)(KEY, shape, np.float64))
    matrix = np.moveaxis(out, axis, -1).reshape(-1, shape[axis])
    small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_delta_orthogonal():
    out = np.asarray(initializers.delta_orthogonal()(KEY, (3, 5, 2, 4)))
    np.testing.assert_allclose(out[1, 2] @ out[1, 2].T, np.eye(2), atol=1e-6)
    assert np.count_nonzero(out) == 8
    with pytest.raises(errors.ShapeError):
        initializers.delta_orthogonal()(KEY, (3, 4, 2))


def test_constants():
    np.testing.assert_array_equal(initializers.zeros(KEY, (2,)), [0, 0])
    np.testing.assert_array_equal(initializers.ones(KEY, (2,), np.int32), [1, 1])
    filled = initializers.constant(np.arange(3.0))(KEY, (2, 3))
    np.testing.assert_array_equal(filled, [[0, 1, 2]] * 2)
    assert initializers.orthogonal()(KEY, (0, 3)).shape == (0, 3)


def test_refused():
    for init in (initializers.he_normal(), initializers.orthogonal()):
        with pytest.raises(errors.ShapeError, match="two dimensions"):
            init(KEY, (3,))
    with pytest.raises(ValueError, match="modes"):
        initializers.variance_scaling(1.0, "fan", "normal")(KEY, (2, 2))
    with pytest.raises(ValueError, match="distribution"):
        initializers.variance_scaling(1.0, "fan_in", "cauchy")(KEY, (2, 2))


def test_under_jit_and_vmap():
    init = initializers.glorot_normal()
    jitted = wengert.jit(lambda key: init(key, (3, 2)))
    np.testing.assert_allclose(jitted(KEY), init(KEY, (3, 2)), rtol=1e-6)
    keys = random.split(KEY, 4)
    many = wengert.vmap(lambda key: init(key, (3, 2)))(keys)
    np.testing.assert_allclose(many[1], init(keys[1], (3, 2)), rtol=1e-6)
