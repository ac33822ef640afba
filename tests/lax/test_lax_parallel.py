"""Collective operations: values by definition, derivatives of all examples, nesting."""

from __future__ import annotations

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors, lax

RNG = np.random.default_rng(0)
#: Four examples of shape (2, 4), so that every exchange has as many parts as examples.
X = RNG.normal(size=(4, 2, 4))
LONG = RNG.normal(size=(4, 2, 8))


def named(f, **keywords):
    return wengert.vmap(f, axis_name="i", **keywords)


def repeated(x):
    return np.broadcast_to(x, (4, *x.shape))


CASES = {
    "psum": (lambda x: lax.psum(x, "i"), X, repeated(X.sum(0))),
    "pmean": (lambda x: lax.pmean(x, "i"), X, repeated(X.mean(0))),
    "pmax": (lambda x: lax.pmax(x, "i"), X, repeated(X.max(0))),
    "pmin": (lambda x: lax.pmin(x, "i"), X, repeated(X.min(0))),
    "all_gather": (lambda x: lax.all_gather(x, "i"), X, repeated(X)),
    "all_gather_last": (
        lambda x: lax.all_gather(x, "i", axis=-1),
        X,
        repeated(np.moveaxis(X, 0, -1)),
    ),
    "all_gather_tiled": (
        lambda x: lax.all_gather(x, "i", axis=1, tiled=True),
        X,
        repeated(np.concatenate(X, 1)),
    ),
    "psum_scatter": (
        lambda x: lax.psum_scatter(x, "i", scatter_dimension=1),
        X,
        X.sum(0).T,
    ),
    "psum_scatter_tiled": (
        lambda x: lax.psum_scatter(x, "i", scatter_dimension=1, tiled=True),
        LONG,
        np.stack(np.split(LONG.sum(0), 4, 1)),
    ),
    "all_to_all": (lambda x: lax.all_to_all(x, "i", 1, 0), X, X.transpose(2, 0, 1)),
    "all_to_all_tiled": (
        lambda x: lax.all_to_all(x, "i", 1, 0, tiled=True),
        LONG,
        np.stack([np.concatenate([np.split(x, 4, 1)[i] for x in LONG]) for i in range(4)]),
    ),
    "pswapaxes": (lambda x: lax.pswapaxes(x, "i", 1), X, X.transpose(2, 1, 0)),
    "ppermute": (
        lambda x: lax.ppermute(x, "i", [(0, 2), (1, 0), (2, 1), (3, 3)]),
        X,
        X[[1, 2, 0, 3]],
    ),
    "ppermute_partial": (
        lambda x: lax.ppermute(x, "i", [(0, 1), (3, 2)]),
        X,
        np.stack([0 * X[0], X[0], X[3], 0 * X[0]]),
    ),
    "pshuffle": (lambda x: lax.pshuffle(x, "i", [2, 0, 3, 1]), X, X[[2, 0, 3, 1]]),
    "pbroadcast": (lambda x: lax.pbroadcast(x, "i", 2), X, repeated(X[2])),
    "axis_index": (lambda x: x * lax.axis_index("i"), X, X * np.arange(4)[:, None, None]),
    "axis_size": (lambda x: x * lax.axis_size("i"), X, 4 * X),
    "softmax": (
        lambda x: lax.exp(x) / lax.psum(lax.exp(x), "i"),
        X,
        np.exp(X) / np.exp(X).sum(0),
    ),
}


@pytest.mark.parametrize("name", CASES)
class TestCase:
    def test_value(self, name):
        f, x, expected = CASES[name]
        np.testing.assert_allclose(named(f)(x), expected)
        np.testing.assert_allclose(wengert.jit(named(f))(x), expected)

    def test_jit_inside(self, name):
        f, x, expected = CASES[name]
        np.testing.assert_allclose(named(wengert.jit(f))(x), expected)

    def test_other_axes_pass_by(self, name):
        """A vmap without this name, inside or outside of the one with it, changes nothing."""
        f, x, expected = CASES[name]
        outside = wengert.vmap(named(f))(np.stack([x, 2 * x]))
        np.testing.assert_allclose(outside[0], expected)
        inside = named(wengert.vmap(f, in_axes=2), in_axes=0)(np.stack([2 * x, x], -1))
        np.testing.assert_allclose(inside[:, 1], expected)

    def test_grads_of_all_examples(self, name):
        f, x, _ = CASES[name]
        wengert.testing.check_grads(named(f), (x,), 1)

    def test_grads_inside(self, name):
        """The pullback of an example gathers what it contributes to all examples."""
        f, x, expected = CASES[name]
        cotangents = RNG.normal(size=expected.shape)
        together = wengert.vjp(named(f), x)[1](cotangents)[0]
        inside = named(lambda x, ct: wengert.vjp(f, x)[1](ct)[0])(x, cotangents)
        np.testing.assert_allclose(inside, together, atol=1e-12)

    def test_tangents_inside(self, name):
        f, x, _ = CASES[name]
        direction = RNG.normal(size=x.shape)
        together = wengert.jvp(named(f), (x,), (direction,))[1]
        inside = named(lambda x, t: wengert.jvp(f, (x,), (t,))[1])(x, direction)
        np.testing.assert_allclose(inside, together, atol=1e-12)


def test_equal_extrema_share():
    f = named(wengert.grad(lambda x: lax.pmax(x, "i")))
    np.testing.assert_allclose(f(np.array([1.0, 3.0, 3.0, 2.0])), [0, 2, 2, 0])


def test_trees_and_dtypes():
    def f(x):
        return lax.psum({"a": x, "b": (x > 0, 1, 2.5)}, "i"), lax.pmean(x > 0, "i")

    (out, mean) = named(f)(np.array([1.0, -1.0, 2.0]))
    np.testing.assert_array_equal(out["a"], [2, 2, 2])
    assert out["b"][0].dtype == np.int32
    np.testing.assert_array_equal(out["b"][0], [2, 2, 2])
    np.testing.assert_array_equal(out["b"][1], [3, 3, 3])
    np.testing.assert_array_equal(out["b"][2], [7.5, 7.5, 7.5])
    assert mean.dtype == np.float32


def test_sum_of_a_python_number_is_one():
    sizes = []

    def f(x):
        sizes.append(lax.psum(1, "i"))
        return x

    named(f)(X)
    assert sizes == [4]
    assert type(sizes[0]) is int


def test_several_names():
    x = RNG.normal(size=(2, 3))

    def nested(f):
        return wengert.vmap(wengert.vmap(f, axis_name="i"), axis_name="j")(x)

    np.testing.assert_allclose(
        nested(lambda x: lax.psum(x, ("i", "j"))), np.full((2, 3), x.sum())
    )
    np.testing.assert_allclose(
        nested(lambda x: lax.psum(x, "j")), np.broadcast_to(x.sum(0), (2, 3))
    )
    np.testing.assert_array_equal(
        nested(lambda x: lax.axis_index(("j", "i"))), np.arange(6).reshape(2, 3)
    )
    assert nested(lambda x: lax.axis_size(("i", "j")))[0, 0] == 6
    gathered = nested(lambda x: lax.all_gather(x, ("j", "i")))
    np.testing.assert_array_equal(gathered[1, 2], x.ravel())
    np.testing.assert_array_equal(nested(lambda x: lax.psum(x, ())), x)


def test_shadowed_name():
    """The innermost axis of a name is the one that is meant."""
    f = named(named(lambda x: lax.psum(x, "i")))
    np.testing.assert_allclose(f(X[:, 0]), np.broadcast_to(X[:, 0].sum(1)[:, None], (4, 4)))


def test_values_that_are_the_same_for_all_examples():
    def f(x):
        same = wnp.float32(2.0)
        return (
            x + lax.psum(same, "i") + lax.pmax(same, "i") + wnp.sum(lax.all_gather(same, "i"))
        )

    np.testing.assert_allclose(named(f)(np.zeros(3)), [14, 14, 14])


def test_jitted_functions_of_unmapped_values():
    number = wengert.jit(lambda: lax.axis_index("i"))
    total = wengert.jit(wengert.jit(lambda y: lax.psum(y, "i")))

    def f(x):
        return x + number() + total(1.0)

    np.testing.assert_array_equal(named(f)(np.zeros(3)), [3, 4, 5])
    again = wengert.jit(wengert.checkpoint(lambda y: lax.psum(y, "i")))
    np.testing.assert_array_equal(
        wengert.jit(named(lambda x: x + again(1.0)))(np.zeros(3)), [3] * 3
    )


def test_checkpoint_under_a_named_axis():
    f = named(wengert.grad(wengert.checkpoint(lambda x: lax.psum(lax.sin(x), "i"))))
    x = np.array([0.1, 0.2])
    np.testing.assert_allclose(f(x), 2 * np.cos(x))


def test_one_program_per_axis_size():
    f = wengert.jit(lambda x: lax.psum(x, "i"))
    assert named(f)(np.ones(3))[0] == 3
    assert named(f)(np.ones(5))[0] == 5


UNBOUND = {
    "psum": lambda: lax.psum(X, "i"),
    "axis_index": lambda: lax.axis_index("i"),
    "axis_size": lambda: lax.axis_size("i"),
    "all_gather": lambda: lax.all_gather(X, "i"),
    "other_name": lambda: wengert.vmap(lambda x: lax.psum(x, "i"), axis_name="j")(X),
    "jit": lambda: wengert.jit(lambda x: lax.psum(x, "i"))(X),
    "no_name": lambda: wengert.vmap(lambda x: lax.psum(x, "i"))(X),
}


@pytest.mark.parametrize("name", UNBOUND)
def test_unbound_names(name):
    with pytest.raises(NameError, match="axis_name='i'"):
        UNBOUND[name]()


def test_primitives_outside_of_their_vmap():
    """A pullback that is called after the vmap has ended has no examples to look at."""
    pullbacks = []

    def f(x):
        out, pullback = wengert.vjp(lambda x: lax.psum(x, "i"), x)
        pullbacks.append(pullback)
        return out

    named(f)(X)
    with pytest.raises(errors.UnboundAxisError):
        pullbacks[0](np.ones((2, 4)))


REFUSED = {
    "groups": lambda x: lax.psum(x, "i", axis_index_groups=[[0, 1], [2, 3]]),
    "ppermute_twice": lambda x: lax.ppermute(x, "i", [(0, 1), (0, 2)]),
    "ppermute_range": lambda x: lax.ppermute(x, "i", [(0, 4)]),
    "pshuffle": lambda x: lax.pshuffle(x, "i", [0, 0, 1, 2]),
    "psum_scatter": lambda x: lax.psum_scatter(x, "i"),
    "psum_scatter_tiled": lambda x: lax.psum_scatter(x, "i", tiled=True),
    "all_to_all": lambda x: lax.all_to_all(x, "i", 0, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    with pytest.raises(ValueError, match=r"examples|parts|groups|permutation|distinct"):
        named(REFUSED[name])(X)
