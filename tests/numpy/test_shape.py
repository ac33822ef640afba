"""Shape functions: values and dtypes against NumPy, under jit and vmap, and derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


def whole(*shape):
    return RNG.integers(-9, 9, shape)


CASES = {
    "reshape": (lambda xp, a: xp.reshape(a, (4, -1)), normal(2, 3, 4)),
    "reshape_int": (lambda xp, a: xp.reshape(a, -1), normal(2, 3)),
    "reshape_fortran": (lambda xp, a: xp.reshape(a, (4, 6), order="F"), normal(2, 3, 4)),
    "reshape_empty": (lambda xp, a: xp.reshape(a, (3, 0)), normal(0, 2)),
    "ravel": (lambda xp, a: xp.ravel(a), normal(2, 3)),
    "ravel_fortran": (lambda xp, a: xp.ravel(a, order="F"), normal(2, 3)),
    "expand_dims": (lambda xp, a: xp.expand_dims(a, (0, -1)), normal(2, 3)),
    "squeeze": (lambda xp, a: xp.squeeze(a), normal(1, 3, 1)),
    "squeeze_axis": (lambda xp, a: xp.squeeze(a, (0, -1)), normal(1, 3, 1)),
    "transpose": (lambda xp, a: xp.transpose(a), normal(2, 3, 4)),
    "transpose_axes": (lambda xp, a: xp.transpose(a, (1, 0, -1)), normal(2, 3, 4)),
    "permute_dims": (lambda xp, a: xp.permute_dims(a, (2, 0, 1)), normal(2, 3, 4)),
    "matrix_transpose": (lambda xp, a: xp.matrix_transpose(a), normal(2, 3, 4)),
    "moveaxis": (lambda xp, a: xp.moveaxis(a, (0, -1), (1, 0)), normal(2, 3, 4)),
    "swapaxes": (lambda xp, a: xp.swapaxes(a, 0, -1), normal(2, 3, 4)),
    "rollaxis": (lambda xp, a: xp.rollaxis(a, 1, 3), normal(2, 3, 4)),
    "rollaxis_negative": (lambda xp, a: xp.rollaxis(a, -1, -2), normal(2, 3, 4)),
    "broadcast_to": (lambda xp, a: xp.broadcast_to(a, (2, 3, 4)), normal(3, 1)),
    "broadcast_scalar": (lambda xp, a: xp.broadcast_to(a, 3), normal()),
    "tile": (lambda xp, a: xp.tile(a, (2, 1, 3)), normal(2, 3)),
    "tile_int": (lambda xp, a: xp.tile(a, 2), normal(2, 3)),
    "tile_nothing": (lambda xp, a: xp.tile(a, 0), normal(2)),
    "repeat": (lambda xp, a: xp.repeat(a, 2), normal(2, 3)),
    "repeat_axis": (lambda xp, a: xp.repeat(a, 2, axis=0), normal(2, 3)),
    "repeat_each": (lambda xp, a: xp.repeat(a, np.array([1, 0, 2]), axis=1), normal(2, 3)),
    "flip": (lambda xp, a: xp.flip(a), normal(2, 3)),
    "flip_axis": (lambda xp, a: xp.flip(a, (0, -1)), normal(2, 3, 4)),
    "fliplr": (lambda xp, a: xp.fliplr(a), normal(2, 3)),
    "flipud": (lambda xp, a: xp.flipud(a), normal(2, 3)),
    **{
        f"rot90_{k}": (lambda xp, a, k=k: xp.rot90(a, k, axes=(2, 0)), normal(2, 3, 4))
        for k in range(-1, 5)
    },
    "roll": (lambda xp, a: xp.roll(a, 5), normal(2, 3)),
    "roll_axis": (lambda xp, a: xp.roll(a, -1, axis=1), normal(2, 3)),
    "roll_axes": (lambda xp, a: xp.roll(a, (1, -2), axis=(0, 1)), normal(2, 3)),
    "roll_twice": (lambda xp, a: xp.roll(a, (1, 1), axis=1), normal(2, 3)),
    "roll_empty": (lambda xp, a: xp.roll(a, 1), normal(0)),
    "atleast_1d": (lambda xp, a: xp.atleast_1d(a), normal()),
    "atleast_2d": (lambda xp, a: xp.atleast_2d(a), normal(3)),
    "atleast_3d_0": (lambda xp, a: xp.atleast_3d(a), normal()),
    "atleast_3d_1": (lambda xp, a: xp.atleast_3d(a), normal(3)),
    "atleast_3d_2": (lambda xp, a: xp.atleast_3d(a), normal(2, 3)),
    "resize": (lambda xp, a: xp.resize(a, (2, 5)), normal(2, 3)),
    "resize_smaller": (lambda xp, a: xp.resize(a, (2, 2)), normal(2, 3)),
    "concatenate": (
        lambda xp, a, b: xp.concatenate([a, b], axis=1),
        normal(2, 3),
        normal(2, 1),
    ),
    "concatenate_flat": (
        lambda xp, a, b: xp.concatenate([a, b], axis=None),
        normal(2),
        normal(1, 3),
    ),
    "concatenate_mixed": (lambda xp, a, b: xp.concatenate([a, b]), normal(2), whole(3)),
    "concatenate_rows": (lambda xp, a: xp.concatenate(a), normal(2, 3)),
    "concat": (lambda xp, a, b: xp.concat([a, b], axis=-1), normal(2), normal(1)),
    "append": (lambda xp, a, b: xp.append(a, b), normal(2), normal(2, 2)),
    "append_axis": (lambda xp, a, b: xp.append(a, b, axis=0), normal(1, 2), normal(2, 2)),
    "stack": (lambda xp, a, b: xp.stack([a, b], axis=-1), normal(2, 3), normal(2, 3)),
    "stack_scalars": (lambda xp, a, b: xp.stack([a, b]), normal(), normal()),
    "unstack": (lambda xp, a: xp.unstack(a, axis=1)[2], normal(2, 3, 4)),
    "hstack": (lambda xp, a, b: xp.hstack([a, b]), normal(2, 2), normal(2, 1)),
    "hstack_vectors": (lambda xp, a, b: xp.hstack([a, b]), normal(), normal(3)),
    "vstack": (lambda xp, a, b: xp.vstack([a, b]), normal(3), normal(2, 3)),
    "dstack": (lambda xp, a, b: xp.dstack([a, b]), normal(3), normal(1, 3)),
    "column_stack": (lambda xp, a, b: xp.column_stack([a, b]), normal(3), normal(3, 2)),
    "block": (lambda xp, a, b: xp.block([[a, b], [b, a]]), normal(2, 2), normal(2, 2)),
    "block_ranks": (lambda xp, a, b: xp.block([[a], [b]]), normal(2), normal(2, 2)),
    "block_single": (lambda xp, a: xp.block(a), normal(2)),
    **{
        f"array_split_{k}": (lambda xp, a, k=k: xp.array_split(a, 3)[k], normal(5))
        for k in range(3)
    },
    **{
        f"split_at_{k}": (lambda xp, a, k=k: xp.split(a, [1, 3], axis=-1)[k], normal(2, 4))
        for k in range(3)
    },
    "split_backwards": (lambda xp, a: xp.split(a, [3, 1])[1], normal(5)),
    "hsplit": (lambda xp, a: xp.hsplit(a, 2)[1], normal(3, 4)),
    "hsplit_vector": (lambda xp, a: xp.hsplit(a, 2)[1], normal(4)),
    "vsplit": (lambda xp, a: xp.vsplit(a, [1])[1], normal(3, 4)),
    "dsplit": (lambda xp, a: xp.dsplit(a, 2)[0], normal(1, 3, 4)),
    "insert": (lambda xp, a: xp.insert(a, 1, 5.0), normal(2, 3)),
    "insert_slice": (lambda xp, a, b: xp.insert(a, 1, b, axis=1), normal(2, 3), normal(2)),
    "insert_block": (lambda xp, a, b: xp.insert(a, 1, b, axis=1), normal(2, 3), normal(4, 2)),
    "insert_many": (
        lambda xp, a, b: xp.insert(a, np.array([1, 0, 3]), b, axis=1),
        normal(2, 3),
        normal(3),
    ),
    "insert_end": (lambda xp, a: xp.insert(a, -1, 4.0, axis=0), normal(2, 3)),
    "insert_range": (lambda xp, a: xp.insert(a, slice(0, 2), 9.0, axis=0), normal(2, 3)),
    "insert_one_sequence": (
        lambda xp, a, b: xp.insert(a, np.array([1]), b, axis=1),
        normal(3, 3),
        normal(3, 2),
    ),
    "delete": (lambda xp, a: xp.delete(a, 1, axis=1), normal(2, 3)),
    "delete_many": (lambda xp, a: xp.delete(a, np.array([1, -1, 1]), axis=0), normal(3, 2)),
    "delete_range": (lambda xp, a: xp.delete(a, slice(None, None, 2)), normal(2, 3)),
    "delete_mask": (lambda xp, a: xp.delete(a, np.array([True, False]), axis=0), normal(2, 3)),
}


def equal(got, want):
    want = np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_against_numpy(name):
    f, *args = CASES[name]
    arrays = [wnp.asarray(a) for a in args]
    equal(f(wnp, *arrays), f(np, *args))
    equal(wengert.jit(lambda *xs: f(wnp, *xs))(*arrays), f(np, *args))
    flipped = [np.flip(a) for a in args]
    batch = [
        wnp.stack([wnp.asarray(a), wnp.asarray(b)]) for a, b in zip(args, flipped, strict=True)
    ]
    got = wengert.vmap(lambda *xs: f(wnp, *xs))(*batch)
    equal(got, np.stack([f(np, *args), f(np, *flipped)]))


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    f, *args = CASES[name]
    arrays = [wnp.asarray(a) for a in args if a.dtype == np.float64]
    if len(arrays) == len(args) and f(wnp, *arrays).size:
        wengert.check_grads(lambda *xs: f(wnp, *xs), arrays, order=1)


# -- pad -------------------------------------------------------------------------------------

PAD_MODES = [
    ("constant", {}),
    ("constant", {"constant_values": 3}),
    ("constant", {"constant_values": (1, 2)}),
    ("constant", {"constant_values": ((1, 2), (3, 4))}),
    ("edge", {}),
    ("linear_ramp", {}),
    ("linear_ramp", {"end_values": ((1, 2), (3, -4))}),
    ("maximum", {}),
    ("maximum", {"stat_length": 2}),
    ("mean", {}),
    ("mean", {"stat_length": ((1, 2), (2, 9))}),
    ("median", {}),
    ("median", {"stat_length": (2, 1)}),
    ("minimum", {"stat_length": ((1,), (2,))}),
    ("reflect", {}),
    ("reflect", {"reflect_type": "odd"}),
    ("symmetric", {}),
    ("symmetric", {"reflect_type": "odd"}),
    ("wrap", {}),
]
WIDTHS = [1, (2, 0), ((2, 1), (0, 3)), ((5, 7), (9, 4)), {-1: (1, 2)}]


@pytest.mark.parametrize("mode, kwargs", PAD_MODES)
def test_pad(mode, kwargs):
    for array in (normal(3, 4), whole(3, 4), normal(1, 2), whole(2, 1)):
        for width in WIDTHS:
            want = np.pad(array, width, mode=mode, **kwargs)
            x = wnp.asarray(array)
            equal(wnp.pad(x, width, mode=mode, **kwargs), want)
            jitted = wengert.jit(lambda a, w=width: wnp.pad(a, w, mode=mode, **kwargs))
            equal(jitted(x), want)


@pytest.mark.parametrize("mode, kwargs", PAD_MODES)
def test_pad_gradients(mode, kwargs):
    x = wnp.asarray(normal(3, 4))
    wengert.check_grads(lambda a: wnp.pad(a, ((2, 1), (4, 5)), mode, **kwargs), (x,), order=2)


def test_pad_empty_mode_and_functions():
    x = wnp.asarray(normal(2, 3))
    assert wnp.pad(x, 1, mode="empty").shape == (4, 5)

    def border(vector, widths, axis, kwargs):
        before, after = widths
        vector = vector.at[:before].set(kwargs["value"])
        return vector.at[vector.shape[0] - after :].set(axis)

    def border_in_place(vector, widths, axis, kwargs):
        vector[: widths[0]] = kwargs["value"]
        vector[vector.shape[0] - widths[1] :] = axis

    want = np.pad(np.asarray(x), ((2, 1), (0, 1)), border_in_place, value=7.0)
    equal(wnp.pad(x, ((2, 1), (0, 1)), border, value=7.0), want)


def test_pad_traced_values():
    x = wnp.ones(2)
    gradient = wengert.grad(lambda c: wnp.sum(wnp.pad(x, (1, 2), constant_values=c)))(2.0)
    assert gradient == 3.0
    pair = wnp.array([2.0, 5.0])
    padded = wengert.jit(lambda c: wnp.pad(x, 1, constant_values=c))(pair)
    equal(padded, np.array([2, 1, 1, 5], np.float32))


def test_pad_errors():
    x = wnp.ones((2, 0))
    with pytest.raises(ValueError, match="modes constant, edge"):
        wnp.pad(x, 1, mode="mirror")
    with pytest.raises(TypeError, match="takes stat_length; got end_values"):
        wnp.pad(x, 1, mode="mean", end_values=3)
    with pytest.raises(errors.ShapeError, match="axis 1, which is empty"):
        wnp.pad(x, 1, mode="edge")
    with pytest.raises(ValueError, match="not negative"):
        wnp.pad(x, -1)
    with pytest.raises(errors.ShapeError, match="pair for each of 2 axes"):
        wnp.pad(x, ((1, 1), (1, 1), (1, 1)))
    with pytest.raises(ValueError, match="'even' or 'odd'"):
        wnp.pad(wnp.ones(2), 1, mode="reflect", reflect_type="strange")


# -- traced positions ------------------------------------------------------------------------


def test_traced_repeats():
    x = normal(2, 3)
    for counts, length in (([1, 0, 3], 4), ([1, 0, 3], 6), ([2, 2, 2], 3), ([0, 0, 1], 2)):
        got = wengert.jit(
            lambda a, r, n=length: wnp.repeat(a, r, axis=1, total_repeat_length=n)
        )(x, np.array(counts))
        filled = np.repeat(x, counts, axis=1)[:, :length]
        missing = length - filled.shape[1]
        equal(got, np.concatenate([filled, np.repeat(x[:, -1:], missing, axis=1)], axis=1))
        static = wnp.repeat(
            wnp.asarray(x), np.array(counts), axis=1, total_repeat_length=length
        )
        equal(static, np.asarray(got))
    with pytest.raises(errors.ConcretizationError, match="total_repeat_length"):
        wengert.jit(wnp.repeat)(x, np.array([1]))


def test_traced_shifts():
    x = normal(3, 4)
    roll = wengert.jit(lambda a, s, axis: wnp.roll(a, s, axis), static_argnums=2)
    equal(roll(x, -5, 1), np.roll(x, -5, 1))
    equal(roll(x, np.int8(3), None), np.roll(x, 3))
    equal(roll(x, np.array([1, 2]), (0, 1)), np.roll(x, (1, 2), (0, 1)))
    batch = wengert.vmap(lambda s: wnp.roll(wnp.asarray(x), s, 0))(wnp.arange(3))
    equal(batch, np.stack([np.roll(x, s, 0) for s in range(3)]))


def test_traced_insertion_and_deletion():
    x = normal(2, 3)
    inserted = wengert.jit(lambda a, i: wnp.insert(a, i, wnp.array([5.0, 6.0, 7.0]), axis=1))
    equal(
        inserted(x, np.array([2, 0, -1])), np.insert(x, np.array([2, 0, -1]), [5, 6, 7], axis=1)
    )
    equal(wengert.jit(lambda a, i: wnp.delete(a, i, axis=1))(x, -2), np.delete(x, -2, axis=1))
    many = wengert.jit(lambda a, i: wnp.delete(a, i, axis=1, assume_unique_indices=True))
    equal(many(x, np.array([2, 0])), np.delete(x, [2, 0], axis=1))
    with pytest.raises(errors.ConcretizationError, match="assume_unique_indices=True"):
        wengert.jit(lambda a, i: wnp.delete(a, i))(x, np.array([2, 0]))


def test_trim_zeros():
    x = np.array([0, 0, 1, 0, 2, 0])
    for trim in ("fb", "f", "b", "F"):
        equal(wnp.trim_zeros(wnp.asarray(x), trim), np.trim_zeros(x, trim))
    m = np.zeros((4, 5))
    m[1, 2] = m[2, 2] = 1
    equal(wnp.trim_zeros(wnp.asarray(m)), m[1:3, 2:3])
    equal(wnp.trim_zeros(wnp.asarray(m), axis=1), m[:, 2:3])
    equal(wnp.trim_zeros(wnp.zeros(3)), np.zeros(0, np.float32))


# -- what is not an array --------------------------------------------------------------------


def test_shapes_and_sizes():
    x = wnp.ones((2, 3))
    assert wnp.shape(x) == (2, 3)
    assert wnp.ndim(x) == 2
    assert wnp.size(x) == 6
    assert wnp.size(x, 1) == 3
    assert wnp.size(x, (0, -1)) == 6
    assert wnp.shape(3.0) == ()
    assert wnp.broadcast_shapes((3, 1), (4,), 1) == (3, 4)
    assert wnp.broadcast_shapes() == ()
    a, b = wnp.broadcast_arrays(x, wnp.arange(3))
    assert a.shape == b.shape == (2, 3)
    assert b.dtype == np.int32
    assert [v.shape for v in wnp.atleast_2d(1.0, x)] == [(1, 1), (2, 3)]
    assert len(wnp.unstack(x)) == 2


def test_dtypes_of_joins():
    ints, floats = wnp.arange(2), wnp.ones(2)
    assert wnp.concatenate([ints, floats]).dtype == np.float32
    assert wnp.concatenate([ints, floats], dtype="int8").dtype == np.int8
    assert wnp.stack([1, 2.5]).weak_type
    assert wnp.stack([wnp.float64(1), 2.5]).dtype == np.float64
    assert wnp.hstack([ints, ints], dtype="float16").dtype == np.float16
    assert wnp.column_stack([ints, floats]).shape == (2, 2)


MISTAKES = [
    (lambda x: wnp.reshape(x, (4, -1)), errors.ShapeError, "size 6 into shape"),
    (lambda x: wnp.reshape(x, (-1, -1)), errors.ShapeError, "one -1"),
    (lambda x: wnp.reshape(x, 6, order="A"), ValueError, "'C' or 'F'"),
    (lambda x: wnp.squeeze(x, 0), errors.ShapeError, "axis 0 of shape"),
    (lambda x: wnp.moveaxis(x, 3, 0), errors.ShapeError, "axis 3 is out of bounds"),
    (lambda x: wnp.moveaxis(x, (0, 1), 0), errors.ShapeError, "as many destinations"),
    (lambda x: wnp.transpose(x, (0, 0)), errors.ShapeError, "twice"),
    (lambda x: wnp.transpose(x, (0,)), errors.ShapeError, "every axis"),
    (lambda x: wnp.matrix_transpose(x[0]), errors.ShapeError, "at least 2 axes"),
    (lambda x: wnp.broadcast_to(x, (3, 2)), errors.ShapeError, "cannot broadcast shape"),
    (lambda x: wnp.broadcast_to(x, (3,)), errors.ShapeError, "cannot broadcast shape"),
    (lambda x: wnp.broadcast_to(x, (-1, 3)), errors.ShapeError, "0 or more"),
    (lambda x: wnp.concatenate([x, x[0]]), errors.ShapeError, "equal in all other dimensions"),
    (lambda x: wnp.concatenate([x[0, 0]]), errors.ShapeError, "use stack"),
    (lambda x: wnp.concatenate([]), ValueError, "at least one array"),
    (lambda x: wnp.concatenate(iter([x])), TypeError, "sequence of arrays"),
    (lambda x: wnp.concatenate([[1.0], x]), TypeError, "array"),
    (lambda x: wnp.stack([x, x[0]]), errors.ShapeError, "one shape"),
    (lambda x: wnp.stack([x], out=x), TypeError, "out"),
    (lambda x: wnp.split(x, 2, axis=1), errors.ShapeError, "array_split"),
    (lambda x: wnp.split(x, 0), ValueError, "1 part or more"),
    (lambda x: wnp.block([[x], x]), ValueError, "one depth"),
    (lambda x: wnp.block((x, x)), TypeError, "nested lists"),
    (lambda x: wnp.block([]), ValueError, "empty list"),
    (lambda x: wnp.repeat(x, -1), ValueError, "0 or more"),
    (lambda x: wnp.repeat(x, 1.5), TypeError, "integers"),
    (lambda x: wnp.repeat(x, np.array([1, 2, 3]), axis=0), errors.ShapeError, "2 of them"),
    (lambda x: wnp.roll(x, (1, 2, 3), axis=(0, 1)), errors.ShapeError, "3 shifts"),
    (lambda x: wnp.rot90(x, axes=(0, 1, 0)), errors.ShapeError, "twice"),
    (lambda x: wnp.insert(x, 9, 1.0), errors.ArrayIndexError, "index 9"),
    (lambda x: wnp.delete(x, -7), errors.ArrayIndexError, "index -7"),
    (lambda x: wnp.trim_zeros(x, "x"), ValueError, "'f', 'b'"),
    (lambda x: wnp.flip([1, 2]), TypeError, "Convert it first"),
    (lambda x: wnp.reshape(x, 6, device="cpu"), TypeError, "unexpected keyword"),
]


@pytest.mark.parametrize("f, kind, message", MISTAKES)
def test_mistakes(f, kind, message):
    with pytest.raises(kind, match=message):
        f(wnp.ones((2, 3)))


def test_traced_shapes_are_refused():
    with pytest.raises(errors.ConcretizationError):
        wengert.jit(lambda x, n: wnp.reshape(x, (n, 2)))(wnp.ones(4), 2)
