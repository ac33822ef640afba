"""Collective operations: against what they mean on the whole array, in all compositions.

They have no samples for the generated tests, because they mean something only inside a `vmap`
with a name for its axis.
"""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import errors, lax
from wengert.testing import check_grads

X = np.random.default_rng(0).normal(size=(3, 3, 2))

#: name -> (the operation on one example, its meaning on all of them)
CASES = {
    "psum": (lambda x: lax.psum(x, "i"), lambda x: np.broadcast_to(x.sum(0), x.shape)),
    "pmean": (lambda x: lax.pmean(x, "i"), lambda x: np.broadcast_to(x.mean(0), x.shape)),
    "pmax": (lambda x: lax.pmax(x, "i"), lambda x: np.broadcast_to(x.max(0), x.shape)),
    "pmin": (lambda x: lax.pmin(x, "i"), lambda x: np.broadcast_to(x.min(0), x.shape)),
    "all_gather": (lambda x: lax.all_gather(x, "i"), lambda x: np.stack([x] * 3)),
    "all_gather inside": (
        lambda x: lax.all_gather(x, "i", axis=1),
        lambda x: np.stack([x.swapaxes(0, 1)] * 3),
    ),
    "psum_scatter": (lambda x: lax.psum_scatter(x, "i"), lambda x: x.sum(0)),
    "all_to_all": (lambda x: lax.all_to_all(x, "i", 0, 0), lambda x: x.swapaxes(0, 1)),
    "all_to_all moved": (
        lambda x: lax.all_to_all(x, "i", 0, 1),
        lambda x: x.transpose(1, 2, 0),
    ),
    "ppermute": (
        lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2)]),
        lambda x: np.stack([0 * x[0], x[0], x[1]]),
    ),
    "axis_index": (
        lambda x: lax.axis_index("i") * x,
        lambda x: np.arange(3.0)[:, None, None] * x,
    ),
    "difference from the mean": (
        lambda x: (x - lax.pmean(x, "i")) ** 2,
        lambda x: (x - x.mean(0)) ** 2,
    ),
}


def whole(name):
    return wg.vmap(CASES[name][0], axis_name="i")


def same(got, expected):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-13)


@pytest.mark.parametrize("name", CASES)
class TestCollective:
    def test_value(self, name):
        meaning = CASES[name][1]
        same(whole(name)(X), meaning(X))
        same(wg.jit(whole(name))(X), meaning(X))
        same(wg.vmap(wg.jit(CASES[name][0]), axis_name="i")(X), meaning(X))

    def test_derivatives(self, name):
        check_grads(whole(name), (X,), 2)
        check_grads(wg.jit(whole(name)), (X,), 1)

    def test_under_another_vmap(self, name):
        meaning = CASES[name][1]
        batch = np.stack([X, X * 2 + 1], 1)
        expected = np.stack([meaning(X), meaning(X * 2 + 1)])
        same(wg.vmap(whole(name), in_axes=1)(batch), expected)

    def test_around_another_vmap(self, name):
        """The named axis outside, an unnamed one inside."""
        meaning = CASES[name][1]
        inner = wg.vmap(CASES[name][0], in_axes=-1, out_axes=-1)
        batch = np.stack([X, X * 2 + 1], -1)
        expected = np.stack([meaning(X), meaning(X * 2 + 1)], -1)
        same(wg.vmap(inner, axis_name="i")(batch), expected)

    def test_program_is_valid(self, name):
        program = wg.make_program(whole(name))(X)
        program.check()

    def test_needs_its_axis(self, name):
        with pytest.raises(errors.UnboundAxisError, match="'i'"):
            CASES[name][0](X[0])
        with pytest.raises(errors.UnboundAxisError, match="'i'"):
            wg.vmap(CASES[name][0], axis_name="other")(X)


def test_two_axes_at_once():
    x = np.arange(6.0).reshape(2, 3)
    f = wg.vmap(wg.vmap(lambda y: lax.psum(y, ("a", "b")), axis_name="b"), axis_name="a")
    same(f(x), np.full((2, 3), 15.0))
    g = wg.vmap(wg.vmap(lambda y: lax.psum(y, "a"), axis_name="b"), axis_name="a")
    same(g(x), np.broadcast_to(x.sum(0), (2, 3)))


def test_derivative_inside_the_named_axis():
    """The cotangent of an example gathers what it contributes to all examples."""
    x = np.array([1.0, 2.0, 3.0])
    gradient = wg.vmap(wg.grad(lambda y: lax.psum(y * y, "i")), axis_name="i")(x)
    same(gradient, 3 * 2 * x)
