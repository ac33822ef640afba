"""Reductions, windows, running reductions and sorting of lax, against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors, lax

X = np.random.default_rng(0).normal(size=(2, 3, 4))

REDUCTIONS = {
    "reduce_sum": np.sum,
    "reduce_prod": np.prod,
    "reduce_max": np.max,
    "reduce_min": np.min,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axes", [(), (0,), (1, -1), (0, 1, 2)])
def test_named_reductions(name, axes):
    function = getattr(lax, name)
    np.testing.assert_allclose(function(X, axes), REDUCTIONS[name](X, axis=axes), atol=1e-12)
    assert function(X.astype(np.int8), axes).dtype == np.int8
    wengert.testing.check_grads(lambda x: function(x, axes), (X,), 1)


def test_reductions_of_bits():
    bits = np.array([[6, 3], [5, 12]], np.int32)
    np.testing.assert_array_equal(lax.reduce_and(bits, (0,)), np.bitwise_and.reduce(bits))
    np.testing.assert_array_equal(lax.reduce_or(bits, (0,)), np.bitwise_or.reduce(bits))
    np.testing.assert_array_equal(lax.reduce_xor(bits, (0,)), np.bitwise_xor.reduce(bits))
    assert lax.reduce_or(X > 9, (0, 1, 2)).dtype == np.bool_


def test_extrema_of_nothing_are_neutral():
    nothing = np.zeros((0, 3))
    np.testing.assert_array_equal(lax.reduce_max(nothing, (0,)), [-np.inf] * 3)
    np.testing.assert_array_equal(lax.reduce_min(nothing, (0,)), [np.inf] * 3)
    least = lax.reduce_max(nothing.astype(np.int8), (0,))
    np.testing.assert_array_equal(least, [-128] * 3)


def test_positions_of_extrema():
    np.testing.assert_array_equal(lax.argmax(X, 1, np.int32), np.argmax(X, 1))
    assert lax.argmin(X, -1, np.int64).dtype == np.int64
    np.testing.assert_array_equal(lax.argmin(X, -1, np.int64), np.argmin(X, -1))


COMPUTATIONS = {
    "add": (lax.add, 0.0, np.sum),
    "add_from_2": (lax.add, 2.0, lambda x, axis: 2 + np.sum(x, axis)),
    "lambda_mul": (lambda x, y: y * x, 1.0, np.prod),
    "numpy_maximum": (wnp.maximum, -np.inf, np.max),
    "max_from_0": (lax.max, 0.0, lambda x, axis: np.maximum(np.max(x, axis), 0)),
    "min": (lax.min, np.inf, np.min),
    "logsumexp": (wnp.logaddexp, -np.inf, lambda x, axis: np.log(np.sum(np.exp(x), axis))),
    "composed": (lambda x, y: x + y + x * y, 0.0, lambda x, axis: np.prod(1 + x, axis) - 1),
}


@pytest.mark.parametrize("name", COMPUTATIONS)
class TestReduce:
    @pytest.mark.parametrize("axes", [(), (1,), (0, 2), (0, 1, 2)])
    def test_value(self, name, axes):
        computation, init, reference = COMPUTATIONS[name]
        out = lax.reduce(X, init, computation, axes)
        assert out.dtype == X.dtype
        expected = reference(X, axes) if axes else X
        if not axes and "from" in name:
            expected = reference(X[None], 0)
        np.testing.assert_allclose(out, expected, atol=1e-12)

    def test_grads(self, name):
        computation, init, _ = COMPUTATIONS[name]
        wengert.testing.check_grads(lambda x: lax.reduce(x, init, computation, (1,)), (X,), 1)

    def test_transformed(self, name):
        computation, init, reference = COMPUTATIONS[name]

        def f(x):
            return lax.reduce(x, init, computation, (0,))

        np.testing.assert_allclose(wengert.jit(f)(X), reference(X, 0), atol=1e-12)
        np.testing.assert_allclose(wengert.vmap(f)(X), reference(X, 1), atol=1e-12)


def test_named_computations_become_named_reductions():
    program = str(wengert.make_program(lambda x: lax.reduce(x, 0.0, lax.add, (0,)))(X))
    assert "reduce_sum" in program
    assert "slice" not in program


def test_reduce_of_several_operands():
    """The greatest element and its position, as a reduction of pairs."""

    def later(a, b):
        first = a[0] >= b[0]
        return wnp.where(first, a[0], b[0]), wnp.where(first, a[1], b[1])

    places = np.broadcast_to(np.arange(3, dtype=np.int32)[:, None], (2, 3, 4))
    values, where = lax.reduce((X, places), (-np.inf, np.int32(-1)), later, (1,))
    np.testing.assert_array_equal(values, X.max(1))
    np.testing.assert_array_equal(where, X.argmax(1))


def test_reduce_keeps_the_order():
    """Composition of affine maps x -> a x + b is associative and does not commute."""
    a, b = X[0, 0], X[0, 1]

    def then(f, g):
        return f[0] * g[0], f[1] * g[0] + g[1]

    out = lax.reduce((a, b), (1.0, 0.0), then, (0,))
    value = 0.0
    for factor, shift in zip(a, b, strict=True):
        value = factor * value + shift
    np.testing.assert_allclose(out[1], value)


def test_reduce_of_nothing_gives_the_start():
    np.testing.assert_array_equal(lax.reduce(np.zeros((0, 2)), 3.0, lax.add, (0,)), [3, 3])
    composed = COMPUTATIONS["composed"][0]
    np.testing.assert_array_equal(lax.reduce(np.zeros((0, 2)), 3.0, composed, (0,)), [3, 3])


def test_reduce_refuses():
    with pytest.raises(errors.DTypeError):
        lax.reduce(X, np.float32(0), lax.add, (0,))
    with pytest.raises(errors.ShapeError):
        lax.reduce(X, np.zeros(2), lax.add, (0,))
    with pytest.raises(errors.TreeError):
        lax.reduce((X, X), 0.0, lax.add, (0,))


# -- windows ---------------------------------------------------------------------------------


def windowed(x, init, combine, size, stride, padding, base, inner):
    """Reduction over windows by its definition."""
    spread = np.full(
        [max((n - 1) * b + 1, 0) for n, b in zip(x.shape, base, strict=True)], init
    )
    spread[tuple(slice(None, None, b) for b in base)] = x
    spread = np.pad(spread, padding, constant_values=init)
    extents = [(k - 1) * d + 1 for k, d in zip(size, inner, strict=True)]
    counts = [(n - e) // s + 1 for n, e, s in zip(spread.shape, extents, stride, strict=True)]
    out = np.full(counts, init)
    for place in itertools.product(*map(range, counts)):
        corner = [p * s for p, s in zip(place, stride, strict=True)]
        window = spread[
            tuple(slice(c, c + e, d) for c, e, d in zip(corner, extents, inner, strict=True))
        ]
        out[place] = combine.reduce(window.ravel(), initial=init)
    return out


WINDOWS = {
    "add": (lax.add, 0.0, np.add),
    "max": (lax.max, -np.inf, np.maximum),
    "min": (lax.min, np.inf, np.minimum),
    "mul": (lax.mul, 1.0, np.multiply),
    "add_from_1": (lax.add, 0.5, np.add),
    "logaddexp": (wnp.logaddexp, -np.inf, np.logaddexp),
}
GEOMETRIES = {
    "plain": ((1, 2, 2), (1, 1, 1), [(0, 0)] * 3, (1, 1, 1), (1, 1, 1)),
    "strides": ((2, 1, 3), (1, 2, 2), [(0, 0)] * 3, (1, 1, 1), (1, 1, 1)),
    "padding": ((1, 2, 2), (1, 1, 2), [(0, 0), (2, 1), (0, 3)], (1, 1, 1), (1, 1, 1)),
    "dilations": ((1, 2, 2), (1, 1, 1), [(0, 0), (0, 1), (0, 0)], (1, 2, 1), (1, 1, 3)),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_reduce_window(name, geometry):
    computation, init, combine = WINDOWS[name]
    size, stride, padding, base, inner = GEOMETRIES[geometry]

    def f(x):
        return lax.reduce_window(x, init, computation, size, stride, padding, base, inner)

    expected = windowed(X, init, combine, *GEOMETRIES[geometry])
    np.testing.assert_allclose(f(X), expected, atol=1e-12)
    np.testing.assert_allclose(wengert.jit(f)(X), expected, atol=1e-12)
    batch = wengert.vmap(f)(np.stack([X, X]))
    np.testing.assert_allclose(batch[1], expected, atol=1e-12)


@pytest.mark.parametrize("name", ["add", "max", "mul"])
def test_derivatives_of_windows(name):
    computation, init, _ = WINDOWS[name]
    wengert.testing.check_grads(
        lambda x: lax.reduce_window(x, init, computation, (1, 2, 2), (1, 1, 2)), (X,), 1
    )


def test_windows_with_named_padding():
    x = np.arange(5.0)
    out = lax.reduce_window(x, 0.0, lax.add, (2,), (2,), "SAME")
    np.testing.assert_array_equal(out, [1, 5, 4])
    np.testing.assert_array_equal(lax.reduce_window(x, 0.0, lax.add, (2,)), [1, 3, 5, 7])
    assert lax.reduce_window_shape_tuple((8, 9), (2, 3), (2, 3), "SAME") == (4, 3)


def test_windows_that_do_not_fit():
    with pytest.raises(errors.ShapeError, match="window_dimensions"):
        lax.reduce_window(X, 0.0, lax.add, (2, 2))
    with pytest.raises(errors.ShapeError, match="scalar"):
        lax.reduce_window(X, np.zeros(3), lax.add, (1, 2, 2))
    with pytest.raises(ValueError, match="padding"):
        lax.reduce_window(X, 0.0, lax.add, (1, 2, 2), padding="NONE")


# -- running reductions and sorting ----------------------------------------------------------

RUNNING = {
    "cumsum": np.cumsum,
    "cumprod": np.cumprod,
    "cummax": np.maximum.accumulate,
    "cummin": np.minimum.accumulate,
    "cumlogsumexp": np.logaddexp.accumulate,
}


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_running_reductions(name, axis):
    function, reference = getattr(lax, name), RUNNING[name]
    np.testing.assert_allclose(function(X, axis), reference(X, axis))
    backwards = np.flip(reference(np.flip(X, axis), axis), axis)
    np.testing.assert_allclose(function(X, axis, reverse=True), backwards)
    wengert.testing.check_grads(lambda x: function(x, axis), (X,), 1)


def test_sort():
    np.testing.assert_array_equal(lax.sort(X), np.sort(X))
    np.testing.assert_array_equal(lax.sort(X, 1), np.sort(X, 1))
    assert isinstance(lax.sort([X]), tuple)
    keys = np.array([[2, 1, 2, 1]])
    first, second = lax.sort((keys, np.array([[4, 3, 2, 1]])), num_keys=2)
    np.testing.assert_array_equal(first, [[1, 1, 2, 2]])
    np.testing.assert_array_equal(second, [[1, 3, 2, 4]])
    _, values = lax.sort_key_val(keys, np.array([[4, 3, 2, 1]]))
    np.testing.assert_array_equal(values, [[3, 1, 4, 2]])
    wengert.testing.check_grads(lambda x: lax.sort_key_val(-x, x, 1)[1], (X,), 1)
    for wrong in (lambda: lax.sort((X, X[0])), lambda: lax.sort((X, X), num_keys=3)):
        with pytest.raises(errors.ShapeError):
            wrong()
