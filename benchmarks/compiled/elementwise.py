"""Rows that are bound by arithmetic per element, by memory, or by the call itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.compiled.row import DIVIDE, EXP, LOG, SIN, SQRT, TANH, Row, normal

MILLION = 10**6


def scalar(s: Any) -> Callable[..., Any]:
    """A gradient so small that only the call counts."""
    return s.grad(lambda x: s.np.tanh(x) * x**2)


def waves(s: Any) -> Callable[..., Any]:
    """A loss of one pass over a vector, with four transcendental functions."""

    def loss(x: Any) -> Any:
        np_ = s.np
        return np_.sum(np_.tanh(x) * np_.exp(-x * x) + np_.log1p(x * x) * np_.sin(x))

    return s.grad(loss)


def rosenbrock_loss(s: Any) -> Callable[..., Any]:
    """The chained Rosenbrock function."""

    def loss(x: Any) -> Any:
        return s.np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return loss


def rosenbrock(s: Any) -> Callable[..., Any]:
    """Its gradient."""
    return s.grad(rosenbrock_loss(s))


def rosenbrock_hvp(s: Any) -> Callable[..., Any]:
    """Its Hessian times a vector, forward over reverse."""
    gradient = s.grad(rosenbrock_loss(s))
    return lambda x, v: s.jvp(gradient, (x,), (v,))[1]


def rosenbrock_hvp_torch(s: Any) -> Callable[..., Any]:
    """The same, reverse over reverse."""
    loss, derive = rosenbrock_loss(s), s.torch.autograd.grad

    def product(x: Any, v: Any) -> Any:
        leaf = x.detach().requires_grad_()
        (gradient,) = derive(loss(leaf), leaf, create_graph=True)
        return derive(gradient, leaf, v)[0]

    return product


def bodies(s: Any) -> Callable[..., Any]:
    """Gravitational energy of all pairs of bodies, softened; its gradient is the force."""

    def energy(position: Any, mass: Any) -> Any:
        apart = position[:, None, :] - position[None, :, :]
        distance = s.np.sqrt(s.np.sum(apart * apart, -1) + 1e-3)
        return -0.5 * s.np.sum(mass[:, None] * mass[None, :] / distance)

    return s.grad(energy)


def kernel_matrix(s: Any) -> Callable[..., Any]:
    """exp(-‖x - y‖²/2) of all pairs of points."""

    def matrix(points: Any) -> Any:
        apart = points[:, None, :] - points[None, :, :]
        return s.np.exp(-0.5 * s.np.sum(apart * apart, -1))

    return matrix


RATE, FIRST, SECOND, SMALL = 1e-3, 0.9, 0.999, 1e-8


def adam(s: Any) -> Callable[..., Any]:
    """One step of Adam (Kingma and Ba, 2015)."""

    def step(p: Any, m: Any, v: Any, count: Any, gradient: Any) -> Any:
        count = count + 1
        m = FIRST * m + (1 - FIRST) * gradient
        v = SECOND * v + (1 - SECOND) * gradient * gradient
        scale = s.np.sqrt(v / (1 - SECOND**count)) + SMALL
        return p - RATE * (m / (1 - FIRST**count)) / scale, m, v, count

    return step


def adam_torch(s: Any) -> Callable[..., Any]:
    """Torch's own fused step, in place."""
    optimizers: dict[int, Any] = {}

    def step(p: Any, m: Any, v: Any, count: Any, gradient: Any) -> Any:
        if id(p) not in optimizers:
            optimizers[id(p)] = s.torch.optim.Adam([p], lr=RATE, eps=SMALL, fused=True)
        p.grad = gradient
        optimizers[id(p)].step()
        kept = optimizers[id(p)].state[p]
        return p, kept["exp_avg"], kept["exp_avg_sq"], kept["step"]

    return step


def _adam_inputs() -> tuple[Any, ...]:
    n = 10 * MILLION
    zeros = np.zeros(n, np.float32)
    return normal(n), zeros, zeros, np.zeros((), np.float32), normal(n, seed=1)


def _waves(power: int, label: str, target: float) -> Row:
    n = 10**power
    per_element = TANH + EXP + LOG + 2 * SIN + 2 * DIVIDE + 16
    return Row(
        f"waves-1e{power}",
        f"sum(tanh(x)exp(-x²)+log1p(x²)sin(x)), {label}",
        waves,
        lambda: (normal(n),),
        target=target,
        anchor=True,
        flops=n * per_element,
    )


ROWS = [
    Row(
        "scalar",
        "scalar grad (dispatch)",
        scalar,
        lambda: (np.full((), 0.7, np.float32),),
        target=0.15,
        anchor=True,
    ),
    _waves(3, "10³", 0.35),
    _waves(5, "10⁵", 0.25),
    _waves(6, "10⁶", 0.25),
    _waves(7, "10⁷", 0.25),
    Row(
        "rosenbrock",
        "Rosenbrock 10⁶",
        rosenbrock,
        lambda: (normal(MILLION),),
        target=0.8,
        anchor=True,
        flops=20 * MILLION,
    ),
    Row(
        "rosenbrock-hvp",
        "Rosenbrock 10⁶, HVP",
        rosenbrock_hvp,
        lambda: (normal(MILLION), normal(MILLION, seed=1)),
        target=0.8,
        anchor=True,
        flops=30 * MILLION,
        peers=("jax",),
        own={"torch": rosenbrock_hvp_torch},
    ),
    Row(
        "bodies",
        "n-body energy, 1000 bodies, all pairs",
        bodies,
        lambda: (normal(1000, 3), np.abs(normal(1000, seed=1)) / 1000),
        target=0.3,
        anchor=True,
        flops=MILLION * (20 + SQRT + DIVIDE),
    ),
    Row(
        "kernel-matrix",
        "pairwise distances: exp(-‖x-y‖²/2), 1000 points of 16, value",
        kernel_matrix,
        lambda: (normal(1000, 16, scale=0.3),),
        flops=MILLION * (3 * 16 + EXP),
    ),
    Row(
        "adam",
        "Adam step, 10⁷ parameters, donated",
        adam,
        _adam_inputs,
        flops=10 * MILLION * (12 + SQRT + DIVIDE),
        own={"torch": adam_torch},
        state=4,
    ),
]
