"""Fit a damped oscillator to noisy data by the gradient through an adaptive ODE solver.

The solver is a `while_loop` whose error control chooses every step, so nobody knows before the
run how many there will be. JAX refuses reverse mode through such a loop; here it works, eagerly
and in machine code. The optimizer is a `while_loop` too: the whole fit is one native call.
Run it with `python examples/oscillator.py`; the plot goes to `build/oscillator.png`.
"""

import time

import numpy as np
import pictures

import wengert as wg
import wengert.numpy as wnp
from wengert import lax

TRUTH = np.array([0.08, 2.0, 1.5])  # zeta, omega, start; float64 stays float64
GUESS = np.array([0.3, 1.6, 1.0])
NOISE = 0.05
TIMES = np.linspace(0.25, 12.0, 48)

# The pair of Dormand and Prince (1980): the rows of its stages, and the weights of its error.
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def advance(slope, y, t, size, end, tolerance=1e-7):
    """The solution of `y' = slope(y)` at `end`, from `y` at `t`, and the next step's size."""

    def step(state):
        t, y, size = state
        last = size >= end - t
        h = wnp.where(last, end - t, size)
        slopes = [slope(y)]
        for row in STAGES:
            new = y + h * (np.array(row) @ wnp.stack(slopes))
            slopes.append(slope(new))
        allowed = tolerance * (1 + wnp.maximum(abs(y), abs(new)))
        error = h * (np.array(ERROR) @ wnp.stack(slopes)) / allowed
        error = lax.stop_gradient(wnp.sqrt(wnp.mean(error**2)))  # the model knows no steps
        good = error <= 1
        better = h * wnp.clip(0.9 * error**-0.2, 0.2, 5.0)
        size = wnp.where(good & last, size, better)  # a step cut short teaches nothing
        t = wnp.where(good, wnp.where(last, end, t + h), t)
        return t, wnp.where(good, new, y), size

    def unfinished(state):
        return (state[0] < end) & (state[2] > 1e-9)  # also ends where all is NaN

    return lax.while_loop(unfinished, step, (t, y, size))[1:]


def positions(params, times):
    """x(t) of x'' + 2 zeta omega x' + omega**2 x = 0, released at rest from x(0) = start."""
    zeta, omega, start = params

    def slope(y):
        return wnp.stack([y[1], -2 * zeta * omega * y[1] - omega**2 * y[0]])

    def to_next(state, end):
        y, size = advance(slope, *state, end)
        return (y, end, size), y[0]

    return lax.scan(to_next, (wnp.stack([start, 0 * start]), 0.0, 0.1), times)[1]


def loss(params, times, data):
    """Mean squared error."""
    return wnp.mean((positions(params, times) - data) ** 2)


def fit(params, times, data, most=40):
    """BFGS with backtracking: the parameters, and the losses on the way, NaN after the last."""
    gradient_of = wg.value_and_grad(loss)

    def step(state):
        x, (value, gradient), inverse, losses, i = state
        direction = -inverse @ gradient
        decrease = 1e-4 * (gradient @ direction)

        def too_far(rate):
            reached = loss(x + rate * direction, times, data)
            return ~(reached <= value + rate * decrease)  # true for NaN, too

        rate = lax.while_loop(too_far, lambda rate: rate / 2, 1.0)
        move, after = rate * direction, gradient_of(x + rate * direction, times, data)
        change = after[1] - gradient
        curvature = move @ change
        left = np.eye(len(x)) - wnp.outer(move, change) / curvature
        updated = left @ inverse @ left.T + wnp.outer(move, move) / curvature
        inverse = wnp.where(curvature > 0, updated, inverse)
        return x + move, after, inverse, losses.at[i].set(value), i + 1

    def unfinished(state):
        return (state[4] < most) & (wnp.max(abs(state[1][1])) > 1e-7)

    first = gradient_of(params, times, data)
    inverse = 0.1 * np.eye(len(params)) / wnp.linalg.norm(first[1])
    state = params, first, inverse, np.full(most, np.nan), 0
    state = lax.while_loop(unfinished, step, state)
    return state[0], state[3]


def deviations(params, times):
    """Standard deviations of fitted parameters, by forward mode through the same loop."""
    jacobian = wg.jacfwd(positions)(params, times)
    return NOISE * wnp.sqrt(wnp.diag(wnp.linalg.inv(jacobian.T @ jacobian)))


def measured(times):
    """What the oscillator with the true parameters does, with noise."""
    return positions(TRUTH, times) + np.random.default_rng(0).normal(0, NOISE, len(times))


def fit_with(engine, data, calls):
    """What `fit` returns on an engine, and the seconds of the fastest call."""
    run, seconds = wg.jit(fit, engine=engine), []
    for _ in range(calls):
        start = time.perf_counter()
        params, losses = run(GUESS, TIMES, data)
        seconds.append(time.perf_counter() - start)
    return params, np.asarray(losses[~np.isnan(losses)]), min(seconds)


def main():
    """Fit with both engines, compare, report and plot; whether all is as it should be."""
    data = measured(TIMES)
    params, native, seconds = fit_with("native", data, calls=10)
    _, eager, slow = fit_with("eager", data, calls=1)
    errors, gap = wg.jit(deviations)(params, TIMES), abs(native - eager).max()
    print("oscillator: step   native loss        eager loss")
    for i, losses in enumerate(zip(native, eager, strict=True)):
        print(f"{i:16} {losses[0]:18.15f} {losses[1]:18.15f}")
    print(f"largest difference {gap:.1e}; seconds: native {seconds:.4f}, eager {slow:.2f}")
    for row in zip(("zeta", "omega", "start"), params, errors, TRUTH, strict=True):
        print("{:5} = {:.4f} ± {:.4f}, in truth {}".format(*row))
    pictures.oscillator(TIMES, data, positions, (GUESS, TRUTH, params), native, eager)
    return bool((abs(params - TRUTH) <= 3 * errors).all() and gap <= 1e-12)


if __name__ == "__main__":
    raise SystemExit(not main())
