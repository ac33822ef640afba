"""`custom_root` and `custom_linear_solve`: derivatives of solutions, not of solvers."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
S = A @ A.T
B = RNG.normal(size=4)


# -- solvers -----------------------------------------------------------------------------------


def direct(matvec, b):
    """Solves with the matrix of `matvec`."""
    return wnp.linalg.solve(wg.jacobian(matvec)(b), b)


def conjugate_gradients(matvec, b):
    """Hestenes and Stiefel's method, with a number of steps that is known."""
    x, r, p = wnp.zeros_like(b), b, b
    for _ in range(len(b) + 4):
        q = matvec(p)
        rr = wnp.vdot(r, r)
        alpha = rr / wnp.maximum(wnp.vdot(p, q), 1e-300)
        x, r_next = x + alpha * p, r - alpha * q
        p = r_next + wnp.vdot(r_next, r_next) / wnp.maximum(rr, 1e-300) * p
        r = r_next
    return x


def looping(matvec, b):
    """The same, until the residual is small: a loop that Python decides about."""
    x, r, p = wnp.zeros_like(b), b, b
    while float(wnp.vdot(r, r)) > 1e-28 * float(wnp.vdot(b, b)):
        q = matvec(p)
        rr = wnp.vdot(r, r)
        alpha = rr / wnp.vdot(p, q)
        x, r = x + alpha * p, r - alpha * q
        p = r + wnp.vdot(r, r) / rr * p
    return x


def solved(a, b):
    return lax.custom_linear_solve(lambda x: a @ x, b, direct, direct)


def solved_symmetric(a, b, solve=conjugate_gradients):
    a = (a + a.T) / 2
    return lax.custom_linear_solve(lambda x: a @ x, b, solve, symmetric=True)


SYSTEMS = {
    "direct": (solved, A, lambda a, b: wnp.linalg.solve(a, b)),
    "symmetric": (
        solved_symmetric,
        S,
        lambda a, b: wnp.linalg.solve((a + a.T) / 2, b),
    ),
}

#: transformations of a function of a matrix and a vector, as functions of both
WAYS = {
    "value": lambda f: f,
    "jit": wg.jit,
    "grad": lambda f: wg.grad(lambda a, b: wnp.sum(f(a, b) ** 2), (0, 1)),
    "jit grad": lambda f: wg.jit(wg.grad(lambda a, b: wnp.sum(f(a, b) ** 2), (0, 1))),
    "grad jit": lambda f: wg.grad(wg.jit(lambda a, b: wnp.sum(f(a, b) ** 2)), (0, 1)),
    "jvp": lambda f: lambda a, b: wg.jvp(f, (a, b), (wnp.sin(a), wnp.cos(b)))[1],
    "jvp of b": lambda f: lambda a, b: wg.jvp(lambda b: f(a, b), (b,), (wnp.cos(b),))[1],
    "jacfwd": lambda f: wg.jacfwd(f, (0, 1)),
    "jacrev": lambda f: wg.jacrev(f, (0, 1)),
    "hessian": lambda f: wg.hessian(lambda a, b: wnp.sum(f(a, b) ** 2), (0, 1)),
    "grad grad": lambda f: wg.grad(
        lambda a, b: wnp.sum(wg.grad(lambda a: wnp.sum(f(a, b) ** 2))(a) ** 2), (0, 1)
    ),
    "jvp jvp": lambda f: (
        lambda a, b: wg.jvp(
            lambda a: wg.jvp(lambda a: f(a, b), (a,), (wnp.sin(a),))[1], (a,), (wnp.cos(a),)
        )[1]
    ),
    "vmap": lambda f: lambda a, b: wg.vmap(f)(wnp.stack([a, 2 * a]), wnp.stack([b, b * b])),
    "vmap b": lambda f: lambda a, b: wg.vmap(f, (None, 0))(a, wnp.stack([b, b * b])),
    "vmap a": lambda f: lambda a, b: wg.vmap(f, (2, None))(wnp.stack([a, 2 * a], -1), b),
    "vmap grad": lambda f: (
        lambda a, b: wg.vmap(wg.grad(lambda a, b: wnp.sum(f(a, b) ** 2), (0, 1)), (0, None))(
            wnp.stack([a, 2 * a]), b
        )
    ),
    "grad vmap": lambda f: wg.grad(
        lambda a, b: wnp.sum(wg.vmap(f, (0, None))(wnp.stack([a, 2 * a]), b) ** 3), (0, 1)
    ),
    "grad checkpoint": lambda f: wg.grad(
        lambda a, b: wnp.sum(wg.checkpoint(f)(a, b) ** 2), (0, 1)
    ),
    "linearize": lambda f: lambda a, b: wg.linearize(f, a, b)[1](a, b),
    "vjp": lambda f: lambda a, b: wg.vjp(f, a, b)[1](b),
    "linear transpose": lambda f: lambda a, b: wg.linear_transpose(lambda b: f(a, b), b)(b),
}


def same(got, expected, **tolerance):
    got, expected = wg.tree.leaves(got), wg.tree.leaves(expected)
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, **tolerance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_linear_solve(system, way):
    f, a, reference = SYSTEMS[system]
    same(WAYS[way](f)(a, B), WAYS[way](reference)(a, B), rtol=1e-7, atol=1e-9)


def test_steps_of_a_solver_are_not_differentiated():
    """A Python loop with a traced condition would fail under every derivative."""
    f = lambda a, b: wnp.sum(solved_symmetric(a, b, looping) ** 2)
    g = lambda a, b: wnp.sum(wnp.linalg.solve((a + a.T) / 2, b) ** 2)
    same(wg.grad(f, (0, 1))(S, B), wg.grad(g, (0, 1))(S, B), rtol=1e-8)
    same(wg.jvp(f, (S, B), (A, B)), wg.jvp(g, (S, B), (A, B)), rtol=1e-8)


def test_transpose_solve_solves_the_transposed_system():
    calls = []

    def backward(vecmat, b):
        calls.append(np.asarray(vecmat(wnp.eye(4)[0])))
        return direct(vecmat, b)

    f = lambda b: wnp.sum(lax.custom_linear_solve(lambda x: A @ x, b, direct, backward))
    np.testing.assert_allclose(wg.grad(f)(B), np.linalg.solve(A.T, np.ones(4)))
    np.testing.assert_allclose(calls[0], A[0])


def test_trees_of_unknowns():
    def matvec(x):
        return {"u": 2.0 * x["u"] + x["v"].sum(), "v": wnp.exp(THETA) * x["v"] - x["u"]}

    def solve(matvec, b):
        flat, unravel = flattened(b)
        return unravel(direct(lambda y: flattened(matvec(unravel(y)))[0], flat))

    def flattened(x):
        return wnp.concatenate([x["u"][None], x["v"]]), lambda y: {"u": y[0], "v": y[1:]}

    THETA = 0.3
    b = {"u": np.float64(1.0), "v": np.array([2.0, -1.0])}
    x = lax.custom_linear_solve(matvec, b, solve, solve)
    same(matvec(x), b, rtol=1e-6)

    def f(theta, b):
        nonlocal THETA
        THETA = theta
        x = lax.custom_linear_solve(matvec, b, solve, solve)
        return x["u"] * x["v"].sum()

    wg.check_grads(f, (np.float64(0.3), b), order=2)


def test_auxiliary_results():
    def solve(matvec, b):
        return direct(matvec, b), {"steps": 3, "norm": wnp.sum(b)}

    f = lambda a, b: lax.custom_linear_solve(lambda x: a @ x, b, solve, solve, has_aux=True)
    for wrap in (lambda f: f, wg.jit):
        x, aux = wrap(f)(A, B)
        np.testing.assert_allclose(x, np.linalg.solve(A, B))
        assert aux["steps"] == 3
        np.testing.assert_allclose(aux["norm"], B.sum())
        got, aux = wrap(wg.grad(lambda a, b: (f(a, b)[0].sum(), f(a, b)[1]), has_aux=True))(
            A, B
        )
        same(got, wg.grad(lambda a: wnp.linalg.solve(a, B).sum())(A), rtol=1e-8)
        assert aux["steps"] == 3
    dot = wg.jvp(f, (A, B), (A, B))[1]
    assert float(dot[1]["norm"]) == 0.0  # no derivative of auxiliary results
    x, aux = wg.vmap(f, (None, 0))(A, np.stack([B, 2 * B]))
    assert aux["steps"].shape == (2,)


def test_without_a_solver_for_the_transposed_system():
    f = lambda b: lax.custom_linear_solve(lambda x: A @ x, b, direct).sum()
    np.testing.assert_allclose(wg.jvp(f, (B,), (B,))[1], np.linalg.solve(A, B).sum())
    with pytest.raises(TypeError, match="transpose_solve"):
        wg.grad(f)(B)


def test_complex_systems():
    a, b = A + 1j * A.T, B + 2j
    f = lambda b: lax.custom_linear_solve(lambda x: a @ x, b, direct_complex, direct_complex)
    np.testing.assert_allclose(f(b), np.linalg.solve(a, b))
    (got,) = wg.vjp(f, b)[1](wnp.asarray(b))
    (expected,) = wg.vjp(lambda b: wnp.linalg.solve(a, b), b)[1](wnp.asarray(b))
    np.testing.assert_allclose(got, expected)


def direct_complex(matvec, b):
    columns = [matvec(wnp.eye(len(b), dtype=b.dtype)[i]) for i in range(len(b))]
    return wnp.linalg.solve(wnp.stack(columns, 1), b)


def test_float32_and_empty():
    f = lambda b: lax.custom_linear_solve(
        lambda x: 2.0 * x, b, lambda m, b: b / 2, symmetric=True
    )
    for b in (np.float32(3.0), np.ones((2, 3), np.float32), np.ones((0,), np.float32)):
        out = f(b)
        assert out.dtype == np.float32
        assert out.shape == np.shape(b)
        np.testing.assert_allclose(wg.grad(lambda b: f(b).sum())(b), np.full(np.shape(b), 0.5))


def test_errors_of_systems():
    with pytest.raises(errors.ShapeError, match="matvec returned"):
        lax.custom_linear_solve(lambda x: x[:2], B, direct)
    with pytest.raises(errors.TreeError, match="result of matvec"):
        lax.custom_linear_solve(lambda x: (x, x), B, direct)
    with pytest.raises(errors.ShapeError, match="solve returned"):
        lax.custom_linear_solve(lambda x: x, B, lambda matvec, b: b[:1])
    with pytest.raises(TypeError, match="pair"):
        lax.custom_linear_solve(lambda x: x, B, lambda matvec, b: b, has_aux=True)
    with pytest.raises(errors.NonlinearRuleError):
        wg.grad(lambda b: solved_nonlinear(b).sum())(B)


def solved_nonlinear(b):
    return lax.custom_linear_solve(lambda x: x * x, b, lambda m, b: b, lambda m, b: m(b))


# -- roots -------------------------------------------------------------------------------------


def newton(f, x):
    for _ in range(30):
        x = x - f(x) / wg.grad(f)(x)
    return x


def bisection(f, x):
    """Until the interval is a point: Python decides."""
    low, high = x - 8.0, x + 8.0
    while float(high - low) > 1e-13:
        middle = (low + high) / 2
        low, high = (middle, high) if float(f(middle)) < 0 else (low, middle)
    return (low + high) / 2


def scalar(g, y):
    return y / g(wnp.ones_like(y))


def cube_root(a, solve=newton):
    return lax.custom_root(lambda x: x**3 - a, np.float64(1.5), solve, scalar)


SCALAR_WAYS = {
    "grad": wg.grad,
    "grad grad": lambda f: wg.grad(wg.grad(f)),
    "grad grad grad": lambda f: wg.grad(wg.grad(wg.grad(f))),
    "jvp": lambda f: lambda a: wg.jvp(f, (a,), (2.0 * a,)),
    "jvp grad": lambda f: lambda a: wg.jvp(wg.grad(f), (a,), (a,)),
    "grad jvp": lambda f: wg.grad(lambda a: wg.jvp(f, (a,), (a,))[1]),
    "jit": wg.jit,
    "jit grad": lambda f: wg.jit(wg.grad(f)),
    "grad jit": lambda f: wg.grad(wg.jit(f)),
    "jit hessian": lambda f: wg.jit(wg.hessian(f)),
    "vmap": lambda f: lambda a: wg.vmap(f)(wnp.stack([a, 2 * a])),
    "vmap grad": lambda f: lambda a: wg.vmap(wg.grad(f))(wnp.stack([a, 2 * a])),
    "grad vmap": lambda f: wg.grad(lambda a: wg.vmap(f)(wnp.stack([a, 2 * a])).sum()),
    "linearize": lambda f: lambda a: wg.linearize(f, a)[1](a),
    "grad checkpoint": lambda f: wg.grad(wg.checkpoint(f)),
}


@pytest.mark.parametrize("way", SCALAR_WAYS)
def test_root(way):
    a = np.float64(5.0)
    expected = SCALAR_WAYS[way](lambda a: a ** (1.0 / 3.0))(a)
    same(SCALAR_WAYS[way](cube_root)(a), expected, rtol=1e-9)


@pytest.mark.parametrize("way", ["grad", "grad grad", "jvp", "jvp grad", "linearize"])
def test_root_by_a_loop_of_python(way):
    a = np.float64(5.0)
    expected = SCALAR_WAYS[way](lambda a: a ** (1.0 / 3.0))(a)
    same(SCALAR_WAYS[way](lambda a: cube_root(a, bisection))(a), expected, rtol=1e-9)


def fixed_point(a, b):
    """`x = tanh(a x + b)`, by iteration; its derivative by a linear system."""

    def solve(f, x):
        for _ in range(200):
            x = x + f(x)
        return x

    f = lambda x: wnp.tanh(a @ x + b) - x
    return lax.custom_root(f, wnp.zeros_like(b), solve, direct)


@pytest.mark.parametrize(
    "way", ["grad", "jit grad", "jvp", "jacfwd", "jacrev", "hessian", "vmap b"]
)
def test_systems_of_equations(way):
    def unrolled(a, b):
        x = wnp.zeros_like(b)
        for _ in range(200):
            x = wnp.tanh(a @ x + b)
        return x

    a = A / 12
    same(WAYS[way](fixed_point)(a, B), WAYS[way](unrolled)(a, B), rtol=1e-8, atol=1e-10)


def test_tangents_by_an_iterative_solve():
    """An implicit function whose derivative is itself solved iteratively, in both modes."""

    def tangent_solve(g, y):
        return lax.custom_linear_solve(g, y, conjugate_gradients, symmetric=True)

    def minimum(a, b):
        a = (a + a.T) / 2
        gradient = wg.grad(lambda x: wnp.sum(wnp.cosh(x)) + x @ a @ x / 2 - b @ x)

        def solve(f, x):
            for _ in range(20):
                x = x - wnp.linalg.solve(wg.jacobian(f)(x), f(x))
            return x

        return lax.custom_root(gradient, wnp.zeros_like(b), solve, tangent_solve)

    a = S / 10
    wg.check_grads(minimum, (a, B), order=2)
    same(
        wg.jacfwd(minimum, 1)(a, B),
        np.linalg.inv(a + np.diag(np.cosh(np.asarray(minimum(a, B))))),
        rtol=1e-8,
    )


def test_root_of_trees_with_aux():
    def solve(f, guess):
        return {"x": A_VALUE[0] + 0 * guess["x"], "y": A_VALUE[1] + 0 * guess["y"]}, 7

    A_VALUE = (2.0, -3.0)

    def f(a, b):
        residual = lambda z: {"x": z["x"] - a, "y": z["y"] - b * z["x"]}
        return lax.custom_root(
            residual,
            {"x": np.float64(0.0), "y": np.float64(0.0)},
            solve,
            lambda g, y: triangular(g, y),
            has_aux=True,
        )

    def triangular(g, y):
        zero = wnp.zeros_like(y["x"])
        slope = g({"x": wnp.ones_like(zero), "y": zero})["y"]
        return {"x": y["x"], "y": y["y"] - slope * y["x"]}

    (_, aux), dot = wg.jvp(f, (2.0, -1.5), (1.0, 0.0))
    assert aux == 7
    assert float(dot[0]["x"]) == 1.0
    assert float(dot[0]["y"]) == -1.5
    got = wg.grad(lambda a, b: f(a, b)[0]["y"], (0, 1))(2.0, -1.5)
    same(got, (-1.5, 2.0))
    assert wg.jit(f)(2.0, -1.5)[1] == 7


def test_the_guess_has_no_derivative():
    f = lambda guess: lax.custom_root(lambda x: x - 2.0, guess, lambda f, x: x - f(x), scalar)
    assert float(wg.grad(f)(5.0)) == 0.0
    assert float(wg.jvp(f, (5.0,), (1.0,))[1]) == 0.0


def test_solvers_close_over_traced_values():
    """A tolerance or preconditioner from an outer transformation takes no part."""

    def f(a, scale):
        solve = lambda matvec, b: scale * (b / matvec(scale))
        return lax.custom_linear_solve(lambda x: a * x, 3.0, solve, symmetric=True)

    a, b = wg.grad(f, (0, 1))(2.0, 1.0)
    assert float(a) == -0.75
    assert float(b) == 0.0
    assert float(wg.jit(wg.grad(f))(2.0, 1.0)) == -0.75
    np.testing.assert_allclose(wg.vmap(wg.grad(f), (None, 0))(2.0, wnp.ones(3)), -0.75)
    root = lambda a, s: lax.custom_root(
        lambda x: x * x - a, 1.0, lambda f, x: newton(f, x * s), lambda g, y: s * y / g(s)
    )
    for got, expected in zip(wg.grad(root, (0, 1))(4.0, 1.0), (0.25, 0.0), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_errors_of_roots():
    with pytest.raises(errors.TreeError, match="result of f"):
        lax.custom_root(lambda x: (x,), 1.0, newton, scalar)
    with pytest.raises(errors.ShapeError, match="f returned"):
        lax.custom_root(lambda x: wnp.stack([x, x]), 1.0, newton, scalar)
    with pytest.raises(errors.TreeError, match="result of solve"):
        lax.custom_root(lambda x: x, 1.0, lambda f, x: (x, x), scalar)
    with pytest.raises(errors.TreeError, match="result of tangent_solve"):
        wg.grad(lambda a: lax.custom_root(lambda x: x - a, 1.0, newton, lambda g, y: (y,)))(2.0)
