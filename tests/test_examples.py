"""The examples on real input, made small: they learn, and both engines agree.

How far two correct engines may be apart is measured, not guessed: by how far a run strays whose
parameters were moved by one unit of rounding. Each engine rounds differently at every step, so
a few of these are granted.
"""

from __future__ import annotations

import digits
import numpy as np
import oscillator
import pictures
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import random

TIMES = oscillator.TIMES[:20]


@pytest.fixture(scope="module")
def images():
    return digits.load()


@pytest.fixture(scope="module")
def trained(images):
    return digits.train(digits.initial(random.key(0)), *images[0], epochs=4)


def test_digits_are_recognised(images, trained):
    params, losses, _ = trained
    assert losses[-20:].mean() < losses[:5].mean() / 10
    assert digits.accuracy(params, *images[1]) >= 0.97


def test_both_engines_train_the_same_network(images, trained):
    params, (x, y) = digits.initial(random.key(0)), images[0]
    losses = {
        name: digits.train(start, x[:384], y[:384], epochs=1, engine=engine)[1]
        for name, start, engine in (
            ("native", params, "native"),
            ("eager", params, "eager"),
            ("moved", digits.rounded_once(params), "native"),
        )
    }
    assert losses["native"].dtype == np.float32
    unit = max(abs(losses["moved"] - losses["native"]).max(), np.spacing(losses["native"][0]))
    assert unit < 1e-5
    assert abs(losses["eager"] - losses["native"]).max() <= 4 * unit


def exact_positions(params, times):
    """The solution in closed form."""
    zeta, omega, start = params
    damped = omega * wnp.sqrt(1 - zeta**2)
    wave = wnp.cos(damped * times) + zeta * omega / damped * wnp.sin(damped * times)
    return start * wnp.exp(-zeta * omega * times) * wave


def test_the_solver_and_its_derivatives_are_those_of_the_closed_form():
    params, data = oscillator.GUESS, oscillator.measured(TIMES)

    def exact_loss(params):
        return wnp.mean((exact_positions(params, TIMES) - data) ** 2)

    value, gradient = wg.jit(wg.value_and_grad(oscillator.loss))(params, TIMES, data)
    np.testing.assert_allclose(value, exact_loss(params), rtol=1e-5)
    np.testing.assert_allclose(gradient, wg.grad(exact_loss)(params), rtol=1e-5)
    np.testing.assert_allclose(
        wg.jit(oscillator.deviations)(params, TIMES),
        oscillator.NOISE * np.sqrt(np.diag(np.linalg.inv(_gram(params)))),
        rtol=1e-5,
    )


def _gram(params):
    jacobian = np.asarray(wg.jacobian(exact_positions)(params, TIMES))
    return jacobian.T @ jacobian


def test_the_fit_recovers_the_parameters():
    times, truth = oscillator.TIMES, oscillator.TRUTH
    params, losses = wg.jit(oscillator.fit)(oscillator.GUESS, times, oscillator.measured(times))
    losses = losses[~np.isnan(losses)]
    assert losses[-1] < losses[0] / 100
    assert (wnp.diff(losses) <= 0).all()
    assert (abs(params - truth) <= 3 * oscillator.deviations(params, times)).all()


def test_both_engines_fit_the_same_oscillator():
    data = oscillator.measured(TIMES)
    losses, params = [], []
    for engine in "native", "eager":
        fit = wg.jit(oscillator.fit, engine=engine, static_argnames="most")
        out = fit(oscillator.GUESS, TIMES, data, most=4)
        params.append(np.asarray(out[0]))
        losses.append(np.asarray(out[1]))
    assert losses[0].dtype == np.float64 and not np.isnan(losses[0]).any()
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    np.testing.assert_allclose(params[0], params[1], rtol=1e-12)


def test_pictures_are_written(images, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pictures, "BUILD", tmp_path / "build")
    losses = np.array([1.0, 0.1])
    pictures.digits(images[1][0], images[1][1], losses, losses)
    curves = (oscillator.GUESS, oscillator.TRUTH, oscillator.TRUTH)
    data = oscillator.measured(TIMES)
    pictures.oscillator(TIMES, data, oscillator.positions, curves, losses, losses)
    assert "build/digits.png" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "build").iterdir()} == {"digits.png", "oscillator.png"}
