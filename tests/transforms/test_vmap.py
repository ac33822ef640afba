"""`vmap`: axes as trees, sizes, names, collective operations, what is not mapped."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert import errors, lax

X = np.array([0.5, -1.5, 2.0], np.float32)
Y = np.array([1.0, 2.0, 3.0], np.float32)
M = np.arange(6, dtype=np.float32).reshape(2, 3)
T = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def same(x):
    return x


# -- axes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_axis", range(-3, 3))
@pytest.mark.parametrize("out_axis", range(-3, 3))
def test_axes_are_moved(in_axis, out_axis):
    got = wg.vmap(same, in_axes=in_axis, out_axes=out_axis)(T)
    np.testing.assert_array_equal(got, np.moveaxis(T, in_axis, out_axis))


def test_axes_per_argument():
    np.testing.assert_allclose(wg.vmap(wnp.dot, in_axes=(0, None))(M, X), M @ X, rtol=1e-6)
    np.testing.assert_allclose(
        wg.vmap(wnp.dot, in_axes=[1, None])(M, Y[:2]), Y[:2] @ M, rtol=1e-6
    )


def test_trees_of_axes():
    tree = {"a": M, "b": (2.0, None, [Y])}
    axes = ({"a": -1, "b": (None, None, 0)},)
    f = lambda t: {"p": t["a"] * t["b"][0], "q": [t["b"][2][0], t["b"][0]]}
    got = wg.vmap(f, in_axes=axes, out_axes={"p": 1, "q": [0, None]})(tree)
    np.testing.assert_array_equal(got["p"], 2 * M)
    np.testing.assert_array_equal(got["q"][0], Y)
    assert got["q"][1] == 2.0
    prefix = wg.vmap(f, in_axes=({"a": 1, "b": None},), out_axes={"p": 0, "q": None})
    np.testing.assert_array_equal(prefix(tree)["p"], 2 * M.T)


def test_keyword_arguments_are_mapped_over_axis_0():
    np.testing.assert_array_equal(wg.vmap(lambda x, *, k: x * k)(X, k=Y), X * Y)
    np.testing.assert_array_equal(wg.vmap(lambda x, k: x * k, in_axes=None)(2.0, k=Y), 2 * Y)


def test_results_that_do_not_depend_on_the_example():
    np.testing.assert_array_equal(wg.vmap(lambda x: 2.0)(X), [2, 2, 2])
    assert wg.vmap(lambda x: (x, 2.0), out_axes=(0, None))(X)[1] == 2.0
    np.testing.assert_array_equal(wg.vmap(lambda x: Y, out_axes=1)(M), np.stack([Y, Y], 1))


def test_size_alone():
    np.testing.assert_array_equal(wg.vmap(lambda: 1.0, axis_size=3)(), [1, 1, 1])
    np.testing.assert_array_equal(wg.vmap(same, in_axes=None, axis_size=2)(Y), [Y, Y])
    assert wg.vmap(lambda x: wnp.sum(x))(np.zeros((0, 3))).shape == (0,)


def test_unmapped_arguments_may_be_any_object():
    got = wg.vmap(lambda x, name, f: f(x) if name == "s" else x, in_axes=(0, None, None))(
        X, "s", abs
    )
    np.testing.assert_array_equal(got, np.abs(X))
    with pytest.raises(TypeError):
        wg.vmap(lambda x, name: x)(X, "s")


@pytest.mark.parametrize(
    ("f", "arguments"),
    [
        (wg.vmap(same, in_axes=3), (T,)),
        (wg.vmap(same, in_axes=-4), (T,)),
        (wg.vmap(same), (1.0,)),
        (wg.vmap(same), ({},)),
        (wg.vmap(same, in_axes=None), (X,)),
        (wg.vmap(same, axis_size=4), (X,)),
        (wg.vmap(lambda x, y: x), (X, M)),
        (wg.vmap(same, in_axes=(0, 0)), (X,)),
        (wg.vmap(same, in_axes=({"a": 0},)), (X,)),
        (wg.vmap(same, in_axes=(True,)), (M,)),
        (wg.vmap(same, in_axes=(0.5,)), (M,)),
        (wg.vmap(same, out_axes=1), (X,)),
        (wg.vmap(same, out_axes=-2), (X,)),
        (wg.vmap(same, out_axes=None), (X,)),
        (wg.vmap(lambda x: (x, x), out_axes=(0,)), (X,)),
    ],
)
def test_wrong_axes(f, arguments):
    with pytest.raises(errors.AxesError):
        f(*arguments)


@pytest.mark.parametrize("axes", ["a", 0.5, {0}])
def test_in_axes_of_a_wrong_type(axes):
    with pytest.raises(errors.AxesError):
        wg.vmap(same, in_axes=axes)


# -- nesting ----------------------------------------------------------------------------------


def test_nested():
    outer = wg.vmap(wg.vmap(lambda x, y: x * y, (None, 0)), (0, None))(X, Y)
    np.testing.assert_array_equal(outer, np.outer(X, Y))
    sums = wg.vmap(wg.vmap(wnp.sum, in_axes=1), in_axes=2)(T)
    np.testing.assert_array_equal(sums, T.sum(0).T)


def test_derivatives_inside_and_outside():
    f = lambda x, w: wnp.sum(wnp.sin(x) * w)
    inside = wg.vmap(wg.grad(f, (0, 1)), (0, None))(M, X)
    np.testing.assert_allclose(inside[0], np.cos(M) * X, rtol=1e-6)
    np.testing.assert_allclose(inside[1], np.sin(M), rtol=1e-6)
    outside = wg.grad(lambda m, w: wg.vmap(f, (0, None))(m, w).sum(), (0, 1))(M, X)
    np.testing.assert_allclose(outside[0], np.cos(M) * X, rtol=1e-6)
    np.testing.assert_allclose(outside[1], np.sin(M).sum(0), rtol=1e-6)


def test_no_single_value():
    for f in (lambda x: x if x > 0 else -x, float, np.sin, lambda x: M[x > 0]):
        with pytest.raises(errors.ConcretizationError):
            wg.vmap(f)(X)


# -- named axes -------------------------------------------------------------------------------

#: operation on one example, and what it gives for all of them
COLLECTIVES = {
    "psum": (lambda x: lax.psum(x, "i"), lambda x: np.full_like(x, x.sum())),
    "pmean": (lambda x: x - lax.pmean(x, "i"), lambda x: x - x.mean()),
    "pmax": (
        lambda x: lax.pmax(x, "i") - lax.pmin(x, "i"),
        lambda x: np.full_like(x, np.ptp(x)),
    ),
    "all_gather": (lambda x: lax.all_gather(x, "i"), lambda x: np.stack([x] * len(x))),
    "axis_index": (lambda x: lax.axis_index("i"), lambda x: np.arange(len(x))),
    "constant": (lambda x: x + lax.psum(2.0, "i"), lambda x: x + 2 * len(x)),
    "tree": (lambda x: lax.psum({"a": (x, 1)}, "i")["a"][1], lambda x: np.full_like(x, len(x))),
}


@pytest.mark.parametrize("name", COLLECTIVES)
@pytest.mark.parametrize(
    "wrap", [same, wg.jit, wg.checkpoint], ids=["plain", "jit", "checkpoint"]
)
def test_collectives(name, wrap):
    f, expected = COLLECTIVES[name]
    np.testing.assert_allclose(wg.vmap(wrap(f), axis_name="i")(X), expected(X), rtol=1e-6)
    np.testing.assert_allclose(
        wg.jit(wg.vmap(wrap(f), axis_name="i"))(X), expected(X), rtol=1e-6
    )


@wg.custom_jvp
def numbered(x):
    return x * lax.axis_index("i")


numbered.defjvp(lambda p, t: (numbered(*p), t[0] * lax.axis_index("i") * 10))


@pytest.mark.parametrize(
    "f",
    [
        wg.jit(lambda y: y * lax.axis_index("i")),
        wg.jit(wg.jit(lambda y: y * lax.axis_index("i"))),
        wg.checkpoint(lambda y: y * lax.axis_index("i")),
        lambda y: wg.grad(wg.jit(lambda z: z * z * lax.axis_index("i") / 2))(y),
        lambda y: wg.vmap(lambda z: wg.jit(lambda: lax.axis_index("i") * 2.0)() + z)(
            np.zeros(1)
        )[0],
        numbered,
        wg.jit(numbered),
    ],
)
def test_collectives_without_mapped_operands(f):
    np.testing.assert_array_equal(
        wg.vmap(lambda x: 0 * x + f(2.0), axis_name="i")(X), [0, 2, 4]
    )


def test_derivatives_of_collectives():
    f = lambda x: wg.vmap(lambda v: lax.psum(v, "i") * v, axis_name="i")(x).sum()
    np.testing.assert_allclose(wg.grad(f)(X), 2 * X.sum() * np.ones(3), rtol=1e-6)
    np.testing.assert_allclose(wg.hessian(f)(X), 2 * np.ones((3, 3)), rtol=1e-6)
    inside = wg.vmap(wg.grad(lambda v: lax.psum(v, "i") * v), axis_name="i")(X)
    np.testing.assert_allclose(inside, 2 * X.sum() * np.ones(3), rtol=1e-6)


def test_two_names():
    f = lambda x, y: (
        lax.psum(x * y, ("i", "j")) + lax.axis_index("i") * 10 + lax.axis_index("j")
    )
    inner = wg.vmap(f, (None, 0), axis_name="j")
    got = wg.vmap(inner, (0, None), axis_name="i")(X, Y)
    expected = X.sum() * Y.sum() + 10 * np.arange(3)[:, None] + np.arange(3)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_unbound_name():
    for f in (
        lambda: lax.psum(1.0, "i"),
        lambda: wg.vmap(lambda x: lax.psum(x, "j"), axis_name="i")(X),
    ):
        with pytest.raises(errors.UnboundAxisError):
            f()
