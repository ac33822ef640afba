"""Custom rules that close over traced values, under stacks of transformations.

`explicit(a, y)` is sin(a) y² whose derivative with respect to `a` is ten times too large, so
that a lost rule shows. Other functions close over `y` (or hand it over without derivative), in
the function and in its rules; the derivative with respect to `y` is then that of the function.
Under each stack of transformations all must give the same.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors

FACTOR = 10.0


@wg.custom_jvp
def explicit(a, y):
    return wnp.sin(a) * y * y


@explicit.defjvp
def _explicit_rule(primals, tangents):
    (a, y), (da, dy) = primals, tangents
    return explicit(a, y), FACTOR * wnp.cos(a) * y * y * da + 2 * wnp.sin(a) * y * dy


def forward(a, y):
    """The rule of a custom_jvp function closes over y."""

    @wg.custom_jvp
    def g(a):
        return wnp.sin(a) * y * y

    g.defjvp(lambda p, t: (g(*p), FACTOR * wnp.cos(p[0]) * y * y * t[0]))
    return g(a)


def backward(a, y):
    """The backward rule closes over y."""

    @wg.custom_vjp
    def g(a):
        return wnp.sin(a) * y * y

    g.defvjp(lambda a: (g(a), a), lambda a, u: (FACTOR * wnp.cos(a) * y * y * u,))
    return g(a)


def residual(a, y):
    """The forward rule makes a residual of y."""

    @wg.custom_vjp
    def g(a):
        return wnp.sin(a) * y * y

    g.defvjp(lambda a: (g(a), (a, y)), lambda r, u: (FACTOR * wnp.cos(r[0]) * r[1] * r[1] * u,))
    return g(a)


def nondifferentiable(a, y):
    """y is an argument without derivative, given by keyword."""

    @functools.partial(wg.custom_vjp, nondiff_argnames="y")
    def g(y, a):
        return wnp.sin(a) * y * y

    g.defvjp(lambda y, a: (g(y, a), a), lambda y, a, u: (FACTOR * wnp.cos(a) * y * y * u,))
    return g(a=a, y=y)


class Module:
    """y is held by an object."""

    def __init__(self, y):
        self.weights = {"y": [y]}

    def __call__(self, a):
        @wg.custom_vjp
        def g(a):
            return wnp.sin(a) * self.weights["y"][0] ** 2

        def bwd(a, u):
            return (FACTOR * wnp.cos(a) * self.weights["y"][0] ** 2 * u,)

        g.defvjp(lambda a: (g(a), a), bwd)
        return g(a)


CLOSURES = {
    "custom_jvp": forward,
    "custom_vjp": backward,
    "residual": residual,
    "nondiff": nondifferentiable,
    "object": lambda a, y: Module(y)(a),
}

V = np.array([1.0, 2.0, 0.5], np.float32)
A, Y = np.float32(0.7), np.float32(1.3)
ONE = np.float32(1)

#: Transformations of functions of (a, y); those with a dash close over the other argument.
LAYERS = {
    "grad a": lambda h: wg.grad(h, 0),
    "grad y": lambda h: wg.grad(h, 1),
    "grad a'": lambda h: lambda a, y: wg.grad(lambda a: h(a, y))(a),
    "grad y'": lambda h: lambda a, y: wg.grad(lambda y: h(a, y))(y),
    "jvp a'": lambda h: lambda a, y: wg.jvp(lambda a: h(a, y), (a,), (ONE,))[1],
    "jvp y'": lambda h: lambda a, y: wg.jvp(lambda y: h(a, y), (y,), (ONE,))[1],
    "jvp": lambda h: lambda a, y: wg.jvp(h, (a, y), (ONE, 2 * ONE))[1],
    "jit": wg.jit,
    "jit a'": lambda h: lambda a, y: wg.jit(lambda a: h(a, y))(a),
    "jit y'": lambda h: lambda a, y: wg.jit(lambda y: h(a, y))(y),
    "vmap a": lambda h: lambda a, y: wg.vmap(h, (0, None))(a * V, y).sum(),
    "vmap y": lambda h: lambda a, y: wg.vmap(h, (None, 0))(a, y * V).sum(),
    "vmap": lambda h: lambda a, y: wg.vmap(h)(a * V, y * V).sum(),
    "vmap a'": lambda h: lambda a, y: wg.vmap(lambda a: h(a, y))(a * V).sum(),
    "vmap y'": lambda h: lambda a, y: wg.vmap(lambda y: h(a, y))(y * V).sum(),
    "checkpoint": wg.checkpoint,
    "checkpoint y'": lambda h: lambda a, y: wg.checkpoint(lambda y: h(a, y))(y),
}
TRIPLES = np.random.default_rng(0).choice(list(LAYERS), (60, 3)).tolist()


def stacked(names, h):
    for name in names:
        h = LAYERS[name](h)
    return h


@pytest.mark.parametrize(
    "names",
    [*([n] for n in LAYERS), *itertools.product(LAYERS, LAYERS), *TRIPLES],
    ids="|".join,
)
def test_stack(names):
    expected = stacked(names, explicit)(A, Y)
    for kind, h in CLOSURES.items():
        np.testing.assert_allclose(
            stacked(names, h)(A, Y), expected, rtol=2e-4, atol=1e-4, err_msg=kind
        )


def test_arrays_with_batch_dimensions_in_other_places():
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3) / 5

    def f(row, weights):
        @wg.custom_vjp
        def g(row):
            return wnp.sum(row * weights, axis=-1)

        g.defvjp(lambda r: (g(r), None), lambda _, u: (10 * weights * u[..., None],))
        return g(row)

    batched = lambda m, w: wg.vmap(f, in_axes=(1, -1))(m.T, w).sum()
    got = wg.jit(wg.grad(batched, (0, 1)))(matrix, matrix.T[:, :2])
    np.testing.assert_allclose(got[0], 10 * matrix, rtol=1e-6)
    np.testing.assert_allclose(got[1], matrix.T, rtol=1e-6)


def test_results_that_are_closed_over():
    def f(a, y):
        @wg.custom_vjp
        def g(a):
            return a, y

        g.defvjp(lambda a: ((a, y), None), lambda _, u: (u[0],))
        return g(a)

    assert wg.jit(wg.grad(lambda a, y: f(a, y)[0] * f(a, y)[1], (0, 1)))(2.0, 3.0) == (3.0, 2.0)


def test_jitted_function_is_used_again():
    f = wg.jit(wg.grad(CLOSURES["custom_vjp"]))
    for y in (1.0, 2.0):
        np.testing.assert_allclose(f(0.5, y), 10 * np.cos(0.5) * y * y, rtol=1e-6)


class Slotted:
    """Keeps a value in a slot."""

    __slots__ = ("y",)

    def __init__(self, y):
        self.y = y


class Hidden:
    """Keeps a value where it is not looked for: in the class."""


def product_with(holder):
    @wg.custom_jvp
    def g(a):
        return a * holder.y

    g.defjvp(lambda p, t: (g(*p), holder.y * t[0]))
    return g


def test_values_in_slots():
    f = lambda a, y: product_with(Slotted(y))(a)
    np.testing.assert_array_equal(wg.vmap(lambda a: wg.grad(lambda y: f(a, y))(3.0))(V), V)


def test_hidden_values_are_an_error_rather_than_a_wrong_derivative():
    def f(a, y):
        Hidden.y = y
        return product_with(Hidden)(a)

    # where nothing is lost they work
    assert wg.grad(f, (0, 1))(2.0, 3.0) == (3.0, 2.0)
    pushed = lambda h: lambda x: wg.jvp(h, (x,), (1.0,))[1]
    for outer in (wg.grad, pushed, lambda h: lambda a: wg.vmap(h)(a * V)):
        for inner in (wg.grad, pushed):
            with pytest.raises(errors.CustomRuleError, match="as an argument"):
                outer(lambda a: inner(lambda y: f(a, y))(3.0))(2.0)
