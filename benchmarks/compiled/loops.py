"""Rows whose work is a loop with steps that need the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.compiled.row import DIVIDE, LOG, SIN, SQRT, TANH, Row, normal

STEPS = 10_000
#: Dependent multiply-adds: of one Runge-Kutta step on the Lorenz equations, of tanh, of a
#: product of a 32×32 matrix and a vector in registers.
RK4_CHAIN, TANH_CHAIN, PRODUCT_CHAIN = 13, 12, 10
PATHS, EULER_STEPS = 10_000, 100
NEWTON_STEPS, NEWTON_SIZE = 64, 1000
#: Integer operations of one word of Threefry bits, as multiply-adds.
BITS = 150


def recurrent(s: Any) -> Callable[..., Any]:
    """A recurrent network; gradient of its weights."""

    def loss(w: Any, xs: Any) -> Any:
        h, _ = s.lax.scan(lambda h, x: (s.np.tanh(w @ h + x), None), s.np.zeros(32), xs)
        return s.np.sum(h * h)

    return s.grad(loss)


def runge_kutta(derivative: Callable[[Any], Any], dt: float) -> Callable[[Any], Any]:
    """One step of the classical method of fourth order."""

    def step(y: Any) -> Any:
        k1 = derivative(y)
        k2 = derivative(y + dt / 2 * k1)
        k3 = derivative(y + dt / 2 * k2)
        k4 = derivative(y + dt * k3)
        return y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return step


def lorenz(s: Any) -> Callable[..., Any]:
    """The state of the Lorenz equations at the end."""

    def derivative(y: Any) -> Any:
        rates = [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]
        return s.np.stack(rates)

    advance = runge_kutta(derivative, 5e-4)

    def final(start: Any) -> Any:
        return s.lax.scan(lambda y, _: (advance(y), None), start, None, length=STEPS)[0]

    return final


def lorenz_gradient(s: Any) -> Callable[..., Any]:
    """The gradient of its squared length with respect to the start."""
    final = lorenz(s)
    return s.grad(lambda start: s.np.sum(final(start) ** 2))


def lorenz_jacobian(s: Any) -> Callable[..., Any]:
    """Its Jacobian, in forward mode."""
    return s.jacfwd(lorenz(s))


def _lorenz_loss(s: Any, parameters: Any, start: Any) -> Any:
    """Squared length of the final state, each coordinate read once per derivative.

    XLA compiles this form of the loop far better than the one above, unless the parameters
    vary.
    """
    a, b, c = parameters

    def derivative(y: Any) -> Any:
        u, v, w = y[0], y[1], y[2]
        return s.np.stack([a * (v - u), u * (b - w) - v, u * v - c * w])

    advance = runge_kutta(derivative, 5e-4)
    y, _ = s.lax.scan(lambda y, _: (advance(y), None), start, None, length=STEPS)
    return s.np.sum(y * y)


def lorenz_unpacked(s: Any) -> Callable[..., Any]:
    """The gradient with respect to the start, in the form that suits XLA."""
    return s.grad(lambda start: _lorenz_loss(s, (10.0, 28.0, 8 / 3), start))


def lorenz_parameters(s: Any) -> Callable[..., Any]:
    """The gradient with respect to the three parameters: what a fit of a model needs."""
    return s.grad(lambda p, start: _lorenz_loss(s, (p[0], p[1], p[2]), start))


def _start() -> tuple[Any, ...]:
    return (np.array([1.0, 1.5, 20.0], np.float32),)


def newton(s: Any) -> Callable[..., Any]:
    """Roots of x³ + x = a by a loop that ends by a condition; gradient with respect to a.

    JAX has no reverse mode through `while_loop`: it gets a loop of known length.
    """

    def loss(a: Any) -> Any:
        def improve(x: Any) -> Any:
            return x - (x * x * x + x - a) / (3 * x * x + 1)

        start = s.np.ones(NEWTON_SIZE)
        if s.name == "wengert":
            state = s.lax.while_loop(
                lambda state: state[0] < NEWTON_STEPS,
                lambda state: (state[0] + 1, improve(state[1])),
                (0, start),
            )
            return s.np.sum(state[1])
        x, _ = s.lax.scan(lambda x, _: (improve(x), None), start, None, length=NEWTON_STEPS)
        return s.np.sum(x)

    return s.grad(loss)


def euler_maruyama(s: Any) -> Callable[..., Any]:
    """An option's price by simulated paths, random bits drawn at every step.

    The gradient is with respect to drift and volatility.
    """
    key = s.key(7)

    def price(theta: Any) -> Any:
        drift, spread = theta[0] * 0.01, theta[1] * 0.1

        def step(x: Any, n: Any) -> Any:
            z = s.random.normal(s.random.fold_in(key, n), (PATHS,))
            return x + x * (drift + spread * z), None

        x, _ = s.lax.scan(step, s.np.ones(PATHS), s.np.arange(EULER_STEPS))
        return s.np.mean(s.np.maximum(x - 1, 0))

    return s.grad(price)


def pendulums(s: Any) -> Callable[..., Any]:
    """A damped pendulum's state after 100 steps, for many starts by `vmap`."""

    def derivative(y: Any) -> Any:
        return s.np.stack([y[1], -s.np.sin(y[0]) - 0.1 * y[1]])

    advance = runge_kutta(derivative, 0.01)

    def final(start: Any) -> Any:
        return s.lax.scan(lambda y, _: (advance(y), None), start, None, length=100)[0]

    return s.vmap(final)


def pendulums_torch(s: Any) -> Callable[..., Any]:
    """The same on all starts at once."""

    def derivative(y: Any) -> Any:
        return s.np.stack([y[1], -s.np.sin(y[0]) - 0.1 * y[1]])

    advance = runge_kutta(derivative, 0.01)

    def final(starts: Any) -> Any:
        y = starts.T.contiguous()
        for _ in range(100):
            y = advance(y)
        return y.T

    return final


ROWS = [
    Row(
        "rnn",
        "tanh RNN, T=1000, h=32, scan",
        recurrent,
        lambda: (normal(32, 32, scale=32**-0.5), normal(1000, 32, seed=1)),
        target=0.4,
        anchor=True,
        flops=1000 * (3 * 2 * 32 * 32 + 32 * TANH),
        steps=1000 * (2 * PRODUCT_CHAIN + TANH_CHAIN + 4),
        peers=("jax", "torch"),
    ),
    Row(
        "lorenz",
        "Lorenz RK4 10⁴ steps, scan: value",
        lorenz,
        _start,
        anchor=True,
        steps=STEPS * RK4_CHAIN,
        peers=("jax",),
        tolerance=1e-2,
    ),
    Row(
        "lorenz-grad",
        "... gradient",
        lorenz_gradient,
        _start,
        target=0.1,
        anchor=True,
        steps=2 * STEPS * RK4_CHAIN,
        peers=("jax",),
        tolerance=1e-2,
    ),
    Row(
        "lorenz-jacfwd",
        "... jacfwd",
        lorenz_jacobian,
        _start,
        target=0.8,
        anchor=True,
        steps=STEPS * (RK4_CHAIN + 3),
        peers=("jax",),
        tolerance=1e-2,
    ),
    Row(
        "lorenz-unpacked",
        "... gradient, coordinates unpacked once",
        lorenz_unpacked,
        _start,
        steps=2 * STEPS * RK4_CHAIN,
        peers=("jax",),
        tolerance=1e-2,
    ),
    Row(
        "lorenz-parameters",
        "... gradient with respect to parameters",
        lorenz_parameters,
        lambda: (np.array([10.0, 28.0, 8 / 3], np.float32), *_start()),
        steps=2 * STEPS * RK4_CHAIN,
        peers=("jax",),
        tolerance=1e-2,
    ),
    Row(
        "newton",
        "64 Newton steps in while_loop, 1000 roots (JAX: scan)",
        newton,
        lambda: (normal(NEWTON_SIZE),),
        flops=NEWTON_STEPS * NEWTON_SIZE * (30 + 2 * DIVIDE),
        peers=("jax", "torch"),
    ),
    Row(
        "euler-maruyama",
        "Euler-Maruyama 10⁴ paths × 100 steps, random bits in scan",
        euler_maruyama,
        lambda: (np.array([0.05, 0.2], np.float32),),
        flops=PATHS * EULER_STEPS * (BITS + LOG + SQRT + 30),
        peers=("jax",),
        tolerance=1e-3,
    ),
    Row(
        "pendulums",
        "vmap of 100 RK4 steps over 10⁴ starts, value",
        pendulums,
        lambda: (normal(10_000, 2),),
        flops=10_000 * 100 * (4 * (SIN + 8) + 16),
        peers=("jax",),
        own={"torch": pendulums_torch},
    ),
]
