"""Structure, indexing, reductions, order, windows: what samples cannot say.

Out-of-bounds errors and modes, duplicates, ties, NaN, empty arrays, long axes, wrong operands.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from wengert import errors
from wengert.core.array import Array, ArrayType
from wengert.core.tracing import trace
from wengert.primitives import cumulative, dynamic, index, reduce, scatter, shape, sort, window
from wengert.primitives.basis import mul
from wengert.transforms.jvp import jvp
from wengert.transforms.vjp import vjp
from wengert.transforms.vmap import vmap

INT32 = np.dtype(np.int32)
ROWS = np.arange(12.0).reshape(3, 4)


def array(value, dtype=None):
    return Array(np.asarray(value, dtype)[()])


def values(x):
    return np.asarray(x)


def gradient(f, *args, ct=None):
    """Cotangents of the arguments for a cotangent of ones (or `ct`)."""
    out, pullback = vjp(f, *map(array, args))
    ct = np.ones(out.shape, out.dtype) if ct is None else ct
    return [values(g) for g in pullback(array(ct, out.dtype))]


def hessian(f, x):
    """The matrix of second derivatives of the sum of a function, by forward over reverse."""
    x = np.asarray(x)
    columns = []
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = 1
        _, t = jvp(
            lambda v: vjp(f, v)[1](array(1.0, np.float64))[0],
            (array(x),),
            (array(e.reshape(x.shape)),),
        )
        columns.append(values(t).ravel())
    return np.stack(columns, -1)


# -- static structure -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "limit", "strides"),
    [((0, 0), (4, 4), None), ((2, 0), (1, 4), None), ((-1, 0), (3, 4), None),
     ((0, 0), (3, 4), (0, 1)), ((0,), (3,), None)],
)  # fmt: skip
def test_slice_outside_the_shape_is_an_error(start, limit, strides):
    params = {"start_indices": start, "limit_indices": limit, "strides": strides}
    with pytest.raises(errors.ShapeError, match=r"does not lie within shape \(3, 4\)"):
        shape.slice_(array(ROWS), **params)
    with pytest.raises(errors.ShapeError, match="does not lie within"):
        shape.slice_.type_rule(ArrayType((3, 4), np.float64), **params)


def test_pad_refuses_wrong_configurations():
    with pytest.raises(errors.ShapeError, match="removes more"):
        shape.pad(array(ROWS), array(0.0), padding_config=((-2, -2, 0), (0, 0, 0)))
    with pytest.raises(errors.ShapeError, match="one \\(low, high, interior\\) per dimension"):
        shape.pad(array(ROWS), array(0.0), padding_config=((0, 0, 0),))


def test_concatenate_names_the_shapes():
    types = [ArrayType((2, 3), np.float64), ArrayType((3, 2), np.float64)]
    with pytest.raises(errors.ShapeError, match=r"\(2, 3\), \(3, 2\)"):
        shape.concatenate.type_rule(*types, dimension=0)


# -- gather -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [4, -5])
@pytest.mark.parametrize("as_array", [False, True])
def test_gather_out_of_bounds_names_axis_and_size(bad, as_array):
    i = array([0, bad] if as_array else bad)
    with pytest.raises(
        IndexError, match=f"index {bad} is out of bounds for axis 1 with size 4"
    ):
        index.gather(array(ROWS), i, axes=(1,))
    other = array(0)
    with pytest.raises(
        IndexError, match=f"index {bad} is out of bounds for axis 1 with size 4"
    ):
        index.gather(array(ROWS), i, other, axes=(1, 0))


def test_gather_out_of_bounds_under_vmap_is_an_error():
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        vmap(lambda i: index.gather(array(ROWS), i, axes=(0,)))(array([0, 3]))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("clip", [0, 0, 3, 3, 2]), ("wrap", [0, 3, 0, 3, 2])],
)
def test_gather_modes(mode, expected):
    x = array(np.arange(4))
    out = index.gather(x, array([0, -5, 4, 3, -2]), axes=(0,), mode=mode)
    assert values(out).tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "missing"),
    [("float32", np.nan), ("int8", -128), ("uint8", 255), ("bool", True),
     (ml_dtypes.bfloat16, np.nan), ("complex64", np.nan)],
)  # fmt: skip
def test_gather_fill_defaults(dtype, missing):
    x = array([0, 0], dtype)
    out = values(index.gather(x, array([1, 2, -3]), axes=(0,), mode="fill"))
    assert out.dtype == x.dtype
    assert out[0] == 0
    np.testing.assert_array_equal(out[1:].real.astype(float), float(missing))


def test_gather_fill_has_zero_derivative_for_missing_elements():
    def f(x):
        return index.gather(x, array([1, 7, 1]), axes=(0,), mode="fill")

    out, tangent = jvp(f, (array([2.0, 3.0]),), (array([1.0, 1.0]),))
    np.testing.assert_array_equal(values(out), [3.0, np.nan, 3.0])
    np.testing.assert_array_equal(values(tangent), [1.0, 0.0, 1.0])
    np.testing.assert_array_equal(gradient(f, [2.0, 3.0])[0], [0.0, 2.0])


def test_gather_from_an_empty_axis():
    empty = array(np.zeros((0, 2)))
    one = array([0])
    for mode in ("error", "clip", "wrap"):
        with pytest.raises(IndexError, match="axis 0 with size 0"):
            index.gather(empty, one, axes=(0,), mode=mode)
    out = index.gather(empty, one, axes=(0,), mode="fill", fill_value=7)
    np.testing.assert_array_equal(values(out), [[7.0, 7.0]])
    none = index.gather(empty, array(np.zeros(0, np.int32)), axes=(0,), mode="clip")
    assert none.shape == (0, 2)


def test_indices_of_narrow_dtypes_count_from_the_end_of_long_axes():
    x = array(np.arange(300))
    for dtype in (np.int8, np.int16, np.int64):
        for mode in ("error", "clip", "wrap", "fill"):
            out = index.gather(x, array([-1, 5], dtype), axes=(0,), mode=mode)
            assert values(out).tolist() == [299, 5]
    assert int(index.gather(x, array(255, np.uint8), axes=(0,))) == 255


@pytest.mark.parametrize("bad", [[True, False, True], [0.0, 1.0]])
def test_indices_must_be_integers(bad):
    with pytest.raises(errors.DTypeError, match="integer indices"):
        index.gather(array(ROWS), array(bad), axes=(0,))
    with pytest.raises(errors.DTypeError, match="integer indices"):
        trace(lambda xs: [index.gather(*xs, axes=(0,))],
              [ArrayType((3,), np.float64), array(bad).type])  # fmt: skip


def test_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="got 'clamp'"):
        index.gather(array(ROWS), array(0), axes=(0,), mode="clamp")


def test_weak_flag_is_that_of_the_operand():
    weak, strong = Array(np.ones(3, np.float32), True), array([0, 1])
    assert index.gather(weak, strong, axes=(0,)).weak_type
    assert not index.gather(array(ROWS), Array(np.int32(0), True), axes=(0,)).weak_type


# -- scatter ----------------------------------------------------------------------------------


def test_scatter_keeps_the_last_of_several_updates_and_differentiates_it():
    i = array([1, 0, 1])

    def f(x, u):
        return index.scatter(x, u, i, axes=(0,))

    x, u = [1.0, 2.0, 3.0], [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(values(f(array(x), array(u))), [20.0, 30.0, 3.0])
    dx, du = gradient(f, x, u, ct=[1.0, 2.0, 4.0])
    np.testing.assert_array_equal(dx, [0.0, 0.0, 4.0])
    np.testing.assert_array_equal(du, [0.0, 1.0, 2.0])


def test_scatter_of_duplicates_under_vmap_equals_the_loop():
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(3, 4)), rng.normal(size=(3, 5))
    i = rng.integers(0, 4, (3, 5))
    for op in (index.scatter, index.scatter_add, scatter.scatter_mul, scatter.scatter_max):

        def f(x, u, i, op=op):
            return vjp(lambda x, u: op(x, u, i, axes=(0,)), x, u)[1](array(np.arange(4.0)))

        batched = vmap(f)(array(x), array(u), array(i))
        for row in range(3):
            single = f(array(x[row]), array(u[row]), array(i[row]))
            for b, s in zip(batched, single, strict=True):
                np.testing.assert_allclose(values(b)[row], values(s), rtol=1e-12)


def test_scatter_out_of_bounds_raises_and_drop_drops():
    x, u, i = array(np.zeros((2, 3))), array(np.ones((2, 2))), array([0, 3])
    for op in (index.scatter, index.scatter_add, scatter.scatter_mul, scatter.scatter_min):
        with pytest.raises(IndexError, match="index 3 is out of bounds for axis 1 with size 3"):
            op(x, u, i, axes=(1,))
    out = index.scatter_add(x, u, i, axes=(1,), mode="drop")
    np.testing.assert_array_equal(values(out), [[1.0, 0.0, 0.0]] * 2)


def test_scatter_refuses_updates_that_do_not_fit():
    x, i = array(ROWS), array([0, 1])
    with pytest.raises(errors.ShapeError, match=r"updates of shape \(2, 4\), got \(4,\)"):
        index.scatter(x, array(np.zeros(4)), i, axes=(0,))
    with pytest.raises(errors.DTypeError, match="dtype float64, got int64"):
        index.scatter_add(x, array(np.zeros((2, 4), np.int64)), i, axes=(0,))


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_add_of_many_updates(unique, axis):
    rng = np.random.default_rng(0)
    n = 200
    i = rng.permutation(n)[:150] if unique else rng.integers(-n, n, 150)
    x = rng.normal(size=(n, 3) if axis == 0 else (3, n))
    u = rng.normal(size=(150, 3))
    expected = (x if axis == 0 else x.T).copy()
    np.add.at(expected, i, u)
    out = index.scatter_add(array(x), array(u), array(i), axes=(axis,))
    np.testing.assert_allclose(values(out) if axis == 0 else values(out).T, expected)


def test_scatter_add_accumulates_half_precision_in_float32():
    ones = array(np.ones(5000), np.float16)
    out = index.scatter_add(
        array([0.0], np.float16), ones, array(np.zeros(5000, int)), axes=(0,)
    )
    assert float(out.item(0)) == 5000.0


def test_scatter_mul_with_duplicates_and_zeros():
    i = array([1, 1, 0, 1])

    def f(u):
        out = scatter.scatter_mul(array([2.0, 3.0]), u, i, axes=(0,))
        return index.gather(out, array(1), axes=(0,))

    u = [0.0, 5.0, 9.0, 7.0]
    np.testing.assert_allclose(gradient(f, u)[0], [105.0, 0.0, 0.0, 0.0])
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = 21.0
    expected[0, 3] = expected[3, 0] = 15.0
    np.testing.assert_allclose(hessian(f, u), expected)


def test_scatter_max_shares_ties_with_the_operand():
    def f(x, u):
        return scatter.scatter_max(x, u, array([0, 0, 1]), axes=(0,))

    dx, du = gradient(f, [2.0, 1.0, 4.0], [2.0, 2.0, 0.5])
    np.testing.assert_allclose(dx, [1 / 3, 1.0, 1.0])
    np.testing.assert_allclose(du, [1 / 3, 1 / 3, 0.0])


# -- dynamic slices ---------------------------------------------------------------------------


@pytest.mark.parametrize("start", [3, 2, -2, -5])
def test_dynamic_slice_that_does_not_fit(start):
    x, update = array(np.arange(4.0)), array(np.zeros(3))
    i = array(start, np.int32)
    message = f"size 3 from index {start} is out of bounds for axis 0 with size 4"
    with pytest.raises(IndexError, match=message):
        dynamic.dynamic_slice(x, i, slice_sizes=(3,))
    with pytest.raises(IndexError, match=message):
        dynamic.dynamic_update_slice(x, update, i)
    with pytest.raises(IndexError, match=message):
        vmap(lambda i: dynamic.dynamic_slice(x, i, slice_sizes=(3,)))(array([0, start]))


def test_dynamic_slice_clipped_and_from_the_end():
    x = array(np.arange(4))

    def f(i):
        return dynamic.dynamic_slice(x, i, slice_sizes=(3,), mode="clip")

    starts = array([0, 9, -1, -9])
    expected = [[0, 1, 2], [1, 2, 3], [1, 2, 3], [0, 1, 2]]
    assert values(vmap(f)(starts)).tolist() == expected
    assert [values(f(array(i))).tolist() for i in (0, 9, -1, -9)] == expected
    last = dynamic.dynamic_slice(x, array(-2), slice_sizes=(2,))
    assert values(last).tolist() == [2, 3]


def test_dynamic_slice_refuses_floating_starts_and_too_large_sizes():
    with pytest.raises(TypeError):
        dynamic.dynamic_slice(array(ROWS[0]), array(1.0), slice_sizes=(1,))
    for mode in ("error", "clip"):
        with pytest.raises(IndexError):
            dynamic.dynamic_slice(array(ROWS[0]), array(0), slice_sizes=(5,), mode=mode)


# -- reductions -------------------------------------------------------------------------------


def test_equal_extrema_share_and_nan_is_not_hidden():
    def f(x):
        return reduce.reduce_max(x, axes=(1,))

    x = [[1.0, 3.0, 3.0], [np.nan, 1.0, 2.0], [-np.inf, -np.inf, -np.inf]]
    (g,) = gradient(f, x)
    np.testing.assert_allclose(g[0], [0.0, 0.5, 0.5])
    assert np.isnan(g[1]).all()
    np.testing.assert_allclose(g[2], 1 / 3)


@pytest.mark.parametrize("op", [reduce.reduce_max, reduce.reduce_min])
def test_extremum_of_nothing(op):
    for call in (op, op.type_rule):
        argument = array(np.zeros((0, 2))) if call is op else ArrayType((0, 2), np.float64)
        with pytest.raises(errors.ShapeError):
            call(argument, axes=(0,))
        assert call(argument, axes=(1,)).shape == (0,)
    with pytest.raises(errors.ShapeError, match="no elements"):
        reduce.argmax(array(np.zeros((0, 2))), axis=0)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_product_with_zeros_has_right_first_and_second_derivatives(zeros):
    x = np.array([2.0, 3.0, 5.0, 7.0])
    x[:zeros] = 0.0
    n = x.size
    first = [np.prod(np.delete(x, i)) for i in range(n)]
    second = [
        [0.0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(n)] for i in range(n)
    ]
    for f in (
        lambda x: reduce.reduce_prod(x, axes=(0,)),
        lambda x: index.gather(cumulative.cumprod(x, axis=0), array(-1), axes=(0,)),
    ):
        np.testing.assert_allclose(gradient(f, x)[0], first)
        np.testing.assert_allclose(hessian(f, x), second)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_first_extremum_and_nan_positions(dtype):
    x = array([[1, 5, 5, 0, 0], [3, np.nan, 7, np.nan, -9]], dtype)
    assert values(reduce.argmax(x, axis=1)).tolist() == [1, 1]
    assert values(reduce.argmin(x, axis=1)).tolist() == [3, 1]


def test_reduce_and_of_floats_is_an_error():
    with pytest.raises(errors.DTypeError, match="integers or bools"):
        reduce.reduce_and.type_rule(ArrayType((2,), np.float32), axes=(0,))


# -- cumulative operations --------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 63, 65, 100, 1000])
@pytest.mark.parametrize("reverse", [False, True])
def test_linear_recurrence_equals_the_loop(n, reverse):
    rng = np.random.default_rng(n)
    a, b = rng.uniform(-1.2, 1.2, (2, n, 2))
    a[n // 3] = 0
    expected = b.copy()
    order = range(n - 2, -1, -1) if reverse else range(1, n)
    for i in order:
        expected[i] += a[i] * expected[i + 1 if reverse else i - 1]
    y = cumulative.linear_recurrence(array(a), array(b), axis=0, reverse=reverse)
    np.testing.assert_allclose(values(y), expected, rtol=1e-9, atol=1e-12)


def test_running_maximum_shares_ties_among_the_elements_so_far():
    x = array([1.0, 3.0, 3.0, 2.0, 3.0, 4.0])
    rows = np.eye(6)
    tangents = [
        values(jvp(lambda x: cumulative.cummax(x, axis=0), (x,), (array(e),))[1]) for e in rows
    ]
    expected = np.array([
        [1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 1 / 2, 1 / 2, 0, 0, 0],
        [0, 1 / 2, 1 / 2, 0, 0, 0], [0, 1 / 3, 1 / 3, 0, 1 / 3, 0], [0, 0, 0, 0, 0, 1],
    ])  # fmt: skip
    np.testing.assert_allclose(np.stack(tangents, -1), expected, atol=1e-15)


def test_running_log_sum_exp_at_the_ends_of_the_range():
    x = [-np.inf, -np.inf, 1000.0, -1000.0, 1000.0]

    def f(x):
        return cumulative.cumlogsumexp(x, axis=0)

    out = values(f(array(x)))
    np.testing.assert_allclose(out, [-np.inf, -np.inf, 1000, 1000, 1000 + np.log(2)])
    np.testing.assert_allclose(gradient(f, x)[0], [0, 0, 2.5, 0, 0.5])
    with pytest.raises(errors.DTypeError, match="real floating"):
        cumulative.cumlogsumexp.type_rule(ArrayType((2,), np.complex64), axis=0)


def test_cumulative_sums_keep_the_dtype_and_half_precision_is_accumulated_in_float32():
    small = cumulative.cumsum(array([100, 100], np.int8), axis=0)
    assert values(small).tolist() == [100, -56]
    assert small.dtype == np.int8
    half = cumulative.cumsum(array(np.full(4096, 1.0), ml_dtypes.bfloat16), axis=0)
    assert float(values(half)[-1]) == 4096.0


# -- order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_sort_puts_nan_last_and_top_k_first(dtype):
    x = array([np.nan, 2, -np.inf, np.nan, 1], dtype)
    (out,) = sort.sort(x, dimension=0)
    np.testing.assert_array_equal(values(out).astype(float), [-np.inf, 1, 2, np.nan, np.nan])
    top, order = sort.top_k(x, k=3)
    np.testing.assert_array_equal(values(top).astype(float), [np.nan, np.nan, 2])
    assert values(order).tolist() == [0, 3, 1]


def test_sort_is_stable_and_lexicographic():
    first, second = array([1, 0, 1, 0]), array([3.0, 4.0, 2.0, 4.0])
    places = array([0, 1, 2, 3])
    *_, order = sort.sort(first, second, places, dimension=0, num_keys=2)
    assert values(order).tolist() == [1, 3, 2, 0]
    *_, order = sort.sort(first, second, places, dimension=0, num_keys=1)
    assert values(order).tolist() == [1, 3, 0, 2]


def test_sort_refuses_wrong_operands():
    types = [ArrayType((3,), np.float64), ArrayType((2,), np.float64)]
    with pytest.raises(errors.ShapeError, match="one shape"):
        sort.sort.type_rule(*types, dimension=0)
    with pytest.raises(ValueError, match="cannot have 2 keys"):
        sort.sort.type_rule(types[0], dimension=0, num_keys=2)
    with pytest.raises(errors.ShapeError, match="cannot take 4 elements"):
        sort.top_k(array([1.0, 2.0, 3.0]), k=4)


def test_top_k_of_unsigned_and_smallest_integers_takes_the_first_of_equals():
    out, order = sort.top_k(array([0, 200, 7, 200], np.uint8), k=3)
    assert values(out).tolist() == [200, 200, 7]
    assert values(order).tolist() == [1, 3, 2]
    out, _ = sort.top_k(array([-128, 127], np.int8), k=2)
    assert values(out).tolist() == [127, -128]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [0, 1, 5, 8])
def test_searchsorted_in_many_rows_equals_numpy(side, n):
    rng = np.random.default_rng(n)
    rows = np.sort(rng.integers(0, 4, (6, n)).astype(float), axis=1)
    rows[:2, n - n // 3 :] = np.nan
    query = rng.integers(-1, 5, (6, 4, 2)).astype(float)
    query[:, 0, 0] = np.nan
    out = vmap(lambda r, q: sort.searchsorted(r, q, side=side))(array(rows), array(query))
    expected = [np.searchsorted(r, q, side) for r, q in zip(rows, query, strict=True)]
    np.testing.assert_array_equal(values(out), expected)


# -- windows ----------------------------------------------------------------------------------


def test_equal_maxima_of_a_window_share():
    params = window.window_params((4,), (2,), (1,), "VALID")
    (g,) = gradient(lambda x: window.reduce_window_max(x, **params), [1.0, 1.0, 0.0, 2.0])
    np.testing.assert_allclose(g, [0.5, 1.5, 0.0, 1.0])


def test_extrema_of_windows_pad_with_the_neutral_element():
    params = window.window_params((2,), (2,), (1,), ((1, 1),))
    for dtype in (np.int8, np.uint8, np.float32, ml_dtypes.bfloat16):
        x = array([3, 5], dtype)
        assert values(window.reduce_window_max(x, **params)).astype(int).tolist() == [3, 5, 5]
        assert values(window.reduce_window_min(x, **params)).astype(int).tolist() == [3, 3, 5]
    with pytest.raises(errors.DTypeError, match="ordered"):
        window.reduce_window_max(array([1j]), **window.window_params((1,), (1,), None, "VALID"))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_windows_reduced_by_any_function(size):
    x = np.array([2.0, -1.0, 3.0, 0.5, 4.0])
    params = window.window_params((5,), (size,), None, "VALID")
    out = window.reduce_window(array(x), array(1.0), mul, **params)
    expected = [np.prod(x[i : i + size]) for i in range(6 - size)]
    np.testing.assert_allclose(values(out), expected)


def test_windows_that_do_not_fit_are_none():
    params = window.window_params((2, 3), (3, 1), None, "VALID")
    for op in (window.reduce_window_sum, window.reduce_window_max):
        assert op(array(np.ones((2, 3))), **params).shape == (0, 3)


def test_window_parameters_must_match_the_rank():
    params = window.window_params((2, 3), (2, 1), None, "VALID")
    with pytest.raises(errors.ShapeError, match="needs 1 positive integers"):
        window.reduce_window_sum(array(np.ones(3)), **params)
    params["window_strides"] = (0, 1)
    with pytest.raises(errors.ShapeError, match="window_strides"):
        window.reduce_window_sum(array(np.ones((2, 3))), **params)
