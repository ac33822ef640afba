"""Structure and slices of lax: values against NumPy, derivatives, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import wengert
from wengert import errors, lax

X = np.random.default_rng(0).normal(size=(2, 3, 4))

CASES = {
    "broadcast": (
        lambda x: lax.broadcast(x, (5, 1)),
        lambda x: np.broadcast_to(x, (5, 1, 2, 3, 4)),
    ),
    "broadcast_in_dim": (
        lambda x: lax.broadcast_in_dim(x, (2, 5, 3, 4), (0, 2, 3)),
        lambda x: np.broadcast_to(x[:, None], (2, 5, 3, 4)),
    ),
    "broadcast_to_rank": (lambda x: lax.broadcast_to_rank(x, 5), lambda x: x[None, None]),
    "broadcast_like": (
        lambda x: lax.broadcast_like(x[0, 0, 0], x),
        lambda x: np.full((2, 3, 4), x[0, 0, 0]),
    ),
    "collapse": (lambda x: lax.collapse(x, 0, 2), lambda x: x.reshape(6, 4)),
    "collapse_rest": (lambda x: lax.collapse(x, 1), lambda x: x.reshape(2, 12)),
    "collapse_negative": (lambda x: lax.collapse(x, -3, -1), lambda x: x.reshape(6, 4)),
    "concatenate": (
        lambda x: lax.concatenate([x, lax.neg(x)], -1),
        lambda x: np.concatenate([x, -x], -1),
    ),
    "expand_dims": (lambda x: lax.expand_dims(x, (0, -1)), lambda x: x[None, ..., None]),
    "full_like": (lambda x: lax.full_like(x, 2), lambda x: np.full_like(x, 2)),
    "full_traced": (lambda x: lax.full((3,), x[0, 0, 0]), lambda x: np.full(3, x[0, 0, 0])),
    "pad": (
        lambda x: lax.pad(x, 7.0, ((1, 0, 0), (0, 2, 0), (-1, 0, 1))),
        lambda x: np.pad(_spread(x, 7.0), ((1, 0), (0, 2), (0, 0)), constant_values=7.0),
    ),
    "reshape": (lambda x: lax.reshape(x, (4, 6)), lambda x: x.reshape(4, 6)),
    "reshape_permuted": (
        lambda x: lax.reshape(x, (4, 6), (2, 0, 1)),
        lambda x: x.transpose(2, 0, 1).reshape(4, 6),
    ),
    "rev": (lambda x: lax.rev(x, (0, -1)), lambda x: x[::-1, :, ::-1]),
    "split": (lambda x: lax.split(x, (1, 3), 2)[1], lambda x: x[:, :, 1:]),
    "squeeze": (lambda x: lax.squeeze(x[:1], (0,)), lambda x: x[0]),
    "stack": (lambda x: lax.stack([x, lax.neg(x)], 1), lambda x: np.stack([x, -x], 1)),
    "tile": (lambda x: lax.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
    "transpose": (lambda x: lax.transpose(x, (2, 0, 1)), lambda x: x.transpose(2, 0, 1)),
    "unstack": (lambda x: lax.unstack(x, 1)[2], lambda x: x[:, 2]),
    "slice": (
        lambda x: lax.slice(x, (0, 1, 0), (2, 3, 4), (1, 2, 3)),
        lambda x: x[:, 1:3:2, ::3],
    ),
    "slice_in_dim": (lambda x: lax.slice_in_dim(x, -3, -1, axis=2), lambda x: x[:, :, -3:-1]),
    "slice_in_dim_strided": (
        lambda x: lax.slice_in_dim(x, None, None, 2, axis=-1),
        lambda x: x[..., ::2],
    ),
    "index_in_dim": (lambda x: lax.index_in_dim(x, -1, 1), lambda x: x[:, -1:]),
    "index_in_dim_drop": (lambda x: lax.index_in_dim(x, 0, 2, False), lambda x: x[:, :, 0]),
    "dynamic_slice": (
        lambda x: lax.dynamic_slice(x, (1, 0, 2), (1, 2, 2)),
        lambda x: x[1:, :2, 2:],
    ),
    "dynamic_slice_array": (
        lambda x: lax.dynamic_slice(x, np.array([0, 1, -2]), (1, 2, 2)),
        lambda x: x[:1, 1:, 2:],
    ),
    "dynamic_slice_in_dim": (
        lambda x: lax.dynamic_slice_in_dim(x, 1, 2, 2),
        lambda x: x[:, :, 1:3],
    ),
    "dynamic_index_in_dim": (
        lambda x: lax.dynamic_index_in_dim(x, np.int64(-1), 1, False),
        lambda x: x[:, -1],
    ),
    "dynamic_update_slice": (
        lambda x: lax.dynamic_update_slice(x, lax.neg(x[:1, :2, :2]), (1, 0, 2)),
        lambda x: _updated(x, np.s_[1:, :2, 2:], -x[:1, :2, :2]),
    ),
    "dynamic_update_slice_in_dim": (
        lambda x: lax.dynamic_update_slice_in_dim(x, lax.neg(x[:, :, :2]), 1, 2),
        lambda x: _updated(x, np.s_[:, :, 1:3], -x[:, :, :2]),
    ),
    "dynamic_update_index_in_dim": (
        lambda x: lax.dynamic_update_index_in_dim(x, lax.neg(x[:, :, 0]), -1, 2),
        lambda x: _updated(x, np.s_[:, :, -1], -x[:, :, 0]),
    ),
    "index_take": (
        lambda x: lax.index_take(x, (np.array([1, 0, 1]), np.array([3, 3, 0])), (0, 2)),
        lambda x: x[[1, 0, 1], :, [3, 3, 0]],
    ),
}


def _spread(x, value):
    """The last dimension without its first element, `value` between the others."""
    out = np.full((*x.shape[:-1], 2 * x.shape[-1] - 2), value)
    out[..., 1::2] = x[..., 1:]
    return out


def _updated(x, place, update):
    out = x.copy()
    out[place] = update
    return out


@pytest.mark.parametrize("name", CASES)
class TestCase:
    def test_value(self, name):
        function, reference = CASES[name]
        out = function(wengert.numpy.asarray(X))
        assert out.dtype == X.dtype
        np.testing.assert_array_equal(out, reference(X))

    def test_jit_and_vmap(self, name):
        function, reference = CASES[name]
        np.testing.assert_array_equal(wengert.jit(function)(X), reference(X))
        batch = np.stack([X, 2 * X])
        expected = [reference(x) for x in batch]
        np.testing.assert_array_equal(wengert.vmap(function)(batch), expected)

    def test_grads(self, name):
        wengert.testing.check_grads(CASES[name][0], (X,), 1)


def test_new_arrays():
    np.testing.assert_array_equal(lax.iota("float32", 3), np.arange(3, dtype=np.float32))
    numbers = lax.broadcasted_iota(np.int64, (2, 3), 1)
    np.testing.assert_array_equal(numbers, [[0, 1, 2]] * 2)
    assert lax.full((2, 0), 1.5, np.float64).shape == (2, 0)
    assert lax.full((2,), 1).weak_type
    assert not lax.full((2,), np.float32(1)).weak_type
    assert lax.full((), 1, np.int8).dtype == np.int8
    assert lax.full_like(X, 1, np.int32, (4,)).shape == (4,)
    np.testing.assert_array_equal(lax.empty((2,), np.int16), [0, 0])
    assert lax.broadcast_shapes((2, 1), (3,), (1, 1)) == (2, 3)


def test_empty_parts():
    assert lax.split(np.zeros((3, 0)), (1, 2))[1].shape == (2, 0)
    assert lax.slice_in_dim(X, 2, 2, axis=1).shape == (2, 0, 4)
    assert lax.dynamic_slice(X, (0, 0, 4), (2, 3, 0)).shape == (2, 3, 0)


REFUSED = {
    "reshape": lambda: lax.reshape(X, (5, 5)),
    "reshape_unknown": lambda: lax.reshape(X, (4, -1)),
    "squeeze": lambda: lax.squeeze(X, (0,)),
    "transpose": lambda: lax.transpose(X, (0, 1)),
    "transpose_twice": lambda: lax.transpose(X, (0, 1, 1)),
    "rev": lambda: lax.rev(X, (3,)),
    "split": lambda: lax.split(X, (1, 1), 2),
    "concatenate": lambda: lax.concatenate([X, X[:, :2]], 0),
    "concatenate_rank": lambda: lax.concatenate([X, X[0]], 0),
    "broadcast_in_dim": lambda: lax.broadcast_in_dim(X, (2, 3, 5), (0, 1, 2)),
    "broadcast_order": lambda: lax.broadcast_in_dim(X[0], (4, 3), (1, 0)),
    "broadcast_to_rank": lambda: lax.broadcast_to_rank(X, 2),
    "tile": lambda: lax.tile(X, (2,)),
    "pad": lambda: lax.pad(X, X[0], [(0, 0, 0)] * 3),
    "slice": lambda: lax.slice(X, (0, 0, 0), (2, 3, 5)),
    "slice_in_dim": lambda: lax.slice_in_dim(X, 0, 7),
    "full": lambda: lax.full((2,), X),
    "dynamic_slice": lambda: lax.dynamic_slice(X, (0, 0, 0), (2, 3, 5)),
    "dynamic_starts": lambda: lax.dynamic_slice(X, (0, 0), (2, 3, 4)),
    "collapse": lambda: lax.collapse(X, 2, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_shapes_that_do_not_fit_are_refused(name):
    with pytest.raises(errors.ShapeError):
        REFUSED[name]()


def test_dtypes_that_do_not_fit_are_refused():
    single = X.astype(np.float32)
    with pytest.raises(errors.DTypeError):
        lax.concatenate([X, single], 0)
    with pytest.raises(errors.DTypeError):
        lax.pad(X, 0, [(1, 1, 0)] * 3)
    with pytest.raises(errors.DTypeError):
        lax.dynamic_update_slice(X, single, (0, 0, 0))
    with pytest.raises(errors.DTypeError):
        lax.dynamic_slice(X, (0.0, 0.0, 0.0), (1, 1, 1))


@pytest.mark.parametrize("start", [2, -4, 3])
def test_dynamic_slices_out_of_bounds(start):
    x, update = np.arange(3.0), np.zeros(2)
    for function in (
        lambda s: lax.dynamic_slice(x, (s,), (2,)),
        lambda s: lax.dynamic_update_slice(x, update, (s,)),
    ):
        with pytest.raises(IndexError, match="out of bounds for axis 0"):
            function(start)
        with pytest.raises(IndexError):
            wengert.jit(function)(start)
        with pytest.raises(IndexError):
            wengert.vmap(function)(np.array([0, start]))


def test_dynamic_slices_are_moved_on_request():
    x = np.arange(5.0)
    for start, first in ((4, 3), (9, 3), (-1, 3), (-9, 0), (1, 1)):
        out = lax.dynamic_slice(x, (start,), (2,), mode="clip")
        np.testing.assert_array_equal(out, x[first : first + 2])
        out = lax.dynamic_update_slice(x, np.full(2, 9.0), (start,), mode="clip")
        np.testing.assert_array_equal(out, _updated(x, np.s_[first : first + 2], 9.0))


def test_static_index_out_of_bounds():
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"index {index} is out of bounds"):
            lax.index_in_dim(X, index)


def test_top_k():
    x = np.array([[1.0, 5.0, 2.0, 5.0], [0.0, -1.0, 3.0, 2.0]])
    values, places = lax.top_k(x, 3)
    np.testing.assert_array_equal(values, [[5, 5, 2], [3, 2, 0]])
    np.testing.assert_array_equal(places, [[1, 3, 2], [2, 3, 0]])
    assert places.dtype == np.int32
    np.testing.assert_array_equal(lax.top_k(x, 1, axis=0)[0], [[1, 5, 3, 5]])
    least, _ = lax.approx_min_k(x, 2)
    np.testing.assert_array_equal(least, [[1, 2], [-1, 0]])
    np.testing.assert_array_equal(lax.approx_max_k(x, 1)[0], [[5], [3]])
    wengert.testing.check_grads(lambda x: lax.top_k(x, 2, axis=1)[0], (X,), 1)
    with pytest.raises(errors.ShapeError):
        lax.top_k(x, 5)
