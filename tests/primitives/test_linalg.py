"""Contraction, convolution and linear algebra: what generated samples cannot say.

References written out in loops, matrices that are singular or not read, decompositions that
are determined up to a phase, refusals, dtypes, large operands.
"""

from __future__ import annotations

import itertools
import math

import ml_dtypes
import numpy as np
import pytest

import wengert
from wengert import errors
from wengert.primitives import convolve, linalg, matrix_functions, spectral
from wengert.primitives.cast import conj
from wengert.primitives.contract import dot_general, matrix_product, matrix_transpose
from wengert.primitives.convolve import ConvDimensionNumbers, conv_general_dilated, padding_of

PLAIN = (((1,), (0,)), ((), ()))


def array(value, dtype=None):
    return wengert.Array(np.asarray(value, dtype))


def values(x):
    return np.asarray(x)


def random(seed, *shape, complex=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex else x


def difference(f, x, direction, step=1e-6):
    """The central difference of a function of NumPy arrays."""
    above, below = (values(f(array(x + s * step * direction))) for s in (1, -1))
    return (above - below) / (2 * step)


def singular(n, rank, seed=0, complex=False):
    return random(seed, n, rank, complex=complex) @ random(seed + 1, rank, n, complex=complex)


# -- contraction ------------------------------------------------------------------------------


def einsum_reference(lhs, rhs, numbers):
    (lc, rc), (lb, rb) = numbers
    left, right = list(range(lhs.ndim)), [100 + i for i in range(rhs.ndim)]
    for i, j in zip((*lc, *lb), (*rc, *rb), strict=True):
        right[j] = left[i]
    free = [left[i] for i in range(lhs.ndim) if i not in (*lc, *lb)]
    free += [right[j] for j in range(rhs.ndim) if j not in (*rc, *rb)]
    letters = {k: chr(97 + n) for n, k in enumerate(dict.fromkeys(left + right))}
    terms = [
        "".join(letters[k] for k in t) for t in (left, right, [left[i] for i in lb] + free)
    ]
    return np.einsum(f"{terms[0]},{terms[1]}->{terms[2]}", lhs, rhs)


@pytest.mark.parametrize("seed", range(40))
def test_dot_general_with_random_dimension_numbers(seed):
    rng = np.random.default_rng(seed)
    pairs, left, right = rng.integers(0, 3, 2), *rng.integers(0, 3, 2)
    sizes = rng.integers(1, 4, pairs.sum() + left + right)
    lhs_order, rhs_order = (rng.permutation(pairs.sum() + n) for n in (left, right))
    shared = list(sizes[: pairs.sum()])
    lhs_sizes = shared + list(sizes[pairs.sum() : pairs.sum() + left])
    rhs_sizes = shared + list(sizes[pairs.sum() + left :])
    lhs = rng.normal(size=[lhs_sizes[i] for i in lhs_order])
    rhs = rng.normal(size=[rhs_sizes[i] for i in rhs_order])
    place = [
        tuple(int(np.flatnonzero(order == i)[0]) for i in range(pairs.sum()))
        for order in (lhs_order, rhs_order)
    ]
    c = pairs[0]
    numbers = ((place[0][:c], place[1][:c]), (place[0][c:], place[1][c:]))
    out = dot_general(array(lhs), array(rhs), dimension_numbers=numbers)
    reference = einsum_reference(lhs, rhs, numbers)
    assert out.shape == reference.shape
    np.testing.assert_allclose(out, reference, atol=1e-12)
    cotangent = rng.normal(size=out.shape)
    _, pullback = wengert.vjp(
        lambda x, y: dot_general(x, y, dimension_numbers=numbers), array(lhs), array(rhs)
    )
    for operand, gradient in zip((lhs, rhs), pullback(array(cotangent)), strict=True):
        assert gradient.shape == operand.shape
    pairing = [
        np.sum(values(g) * x)
        for g, x in zip(pullback(array(cotangent)), (lhs, rhs), strict=True)
    ]
    np.testing.assert_allclose(pairing, np.sum(cotangent * reference), atol=1e-10)


@pytest.mark.parametrize(
    ("lhs", "rhs", "numbers"),
    [
        ((2, 3), (2, 3), PLAIN),
        ((1, 2, 3), (4, 3, 2), (((2,), (1,)), ((0,), (0,)))),  # nothing is broadcast
        ((2, 3), (3, 2), (((0, 1), (0, 1)), ((), ()))),  # equal products are not enough
        ((1, 3), (2, 3), (((), ()), ((0,), (0,)))),
    ],
)
def test_sizes_that_differ_are_refused(lhs, rhs, numbers):
    operands = array(np.ones(lhs)), array(np.ones(rhs))
    with pytest.raises(errors.ShapeError):
        dot_general(*operands, dimension_numbers=numbers)
    with pytest.raises(errors.ShapeError):
        wengert.eval_shape(lambda x, y: dot_general(x, y, dimension_numbers=numbers), *operands)


@pytest.mark.parametrize("numbers", [(((2,), (0,)), ((), ())), (((0,), (0, 1)), ((), ()))])
def test_dimension_numbers_that_do_not_fit_are_refused(numbers):
    with pytest.raises(errors.ShapeError, match="dimension_numbers"):
        dot_general(array(np.ones((2, 2))), array(np.ones((2, 2))), dimension_numbers=numbers)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_accumulates_in_float32(dtype):
    x = array(np.full(4096, 1.0), dtype)
    out = dot_general(x, x, dimension_numbers=(((0,), (0,)), ((), ())))
    assert out.dtype == dtype
    assert float(values(out)) == 4096


def test_integers_wrap_and_bools_are_or_of_and():
    x = array([[100, 100]], np.int8)
    numbers = (((1,), (1,)), ((), ()))
    assert values(dot_general(x, x, dimension_numbers=numbers)) == np.int8(20000 - 78 * 256)
    bits = array([[True, True]])
    out = dot_general(bits, bits, dimension_numbers=numbers)
    assert out.dtype == bool
    assert values(out)


def test_preferred_element_type_widens_the_result_and_not_the_cotangents():
    x, y = array([1.5, 2.0], np.float16), array([4.0, 0.5], np.float16)

    def f(x, y):
        return dot_general(
            x,
            y,
            dimension_numbers=(((0,), (0,)), ((), ())),
            preferred_element_type=np.dtype(np.float32),
        )

    out, pullback = wengert.vjp(f, x, y)
    assert out.dtype == np.float32
    gradients = pullback(array(2.0, np.float32))
    assert [g.dtype for g in gradients] == [np.float16] * 2
    np.testing.assert_array_equal(gradients[0], [8.0, 1.0])


# -- convolution ------------------------------------------------------------------------------


def conv_reference(x, k, strides, padding, lhs_dilation, rhs_dilation, groups, batch_groups):
    """(n, c, *space) with (o, i, *taps), element by element."""
    space = [
        (n - 1) * d + 1 + low + high
        for n, d, (low, high) in zip(x.shape[2:], lhs_dilation, padding, strict=True)
    ]
    taps = [(n - 1) * d + 1 for n, d in zip(k.shape[2:], rhs_dilation, strict=True)]
    out_space = [max((n - t) // s + 1, 0) for n, t, s in zip(space, taps, strides, strict=True)]
    examples, outputs = x.shape[0] // batch_groups, k.shape[0]
    out = np.zeros((examples, outputs, *out_space))
    for n, o, *position in itertools.product(*map(range, out.shape)):
        group = o // (outputs // (groups * batch_groups))
        for i, *tap in itertools.product(*map(range, k.shape[1:])):
            source = [
                p * s + t * d - low
                for p, s, t, d, (low, _) in zip(
                    position, strides, tap, rhs_dilation, padding, strict=True
                )
            ]
            if any(q % d for q, d in zip(source, lhs_dilation, strict=True)):
                continue
            place = [q // d for q, d in zip(source, lhs_dilation, strict=True)]
            if any(not 0 <= q < size for q, size in zip(place, x.shape[2:], strict=True)):
                continue
            feature = i + (group * k.shape[1] if groups > 1 else 0)
            example = n + (group * examples if batch_groups > 1 else 0)
            out[(n, o, *position)] += x[(example, feature, *place)] * k[(o, i, *tap)]
    return out


def random_convolution(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 3))
    groups, batch_groups = ((1, 1), (2, 1), (3, 1), (1, 2))[rng.integers(4)]
    x = rng.normal(
        size=(
            batch_groups * rng.integers(1, 3),
            groups * rng.integers(1, 3),
            *rng.integers(2, 6, rank),
        )
    )
    outputs = groups * batch_groups * int(rng.integers(1, 3))
    k = rng.normal(size=(outputs, x.shape[1] // groups, *rng.integers(1, 4, rank)))
    geometry = {
        "window_strides": tuple(map(int, rng.integers(1, 4, rank))),
        "padding": tuple((int(a), int(b)) for a, b in rng.integers(-1, 3, (rank, 2))),
        "lhs_dilation": tuple(map(int, rng.integers(1, 3, rank))),
        "rhs_dilation": tuple(map(int, rng.integers(1, 3, rank))),
        "feature_group_count": groups,
        "batch_group_count": batch_groups,
    }
    return x, k, geometry, [tuple(map(int, rng.permutation(rank + 2))) for _ in range(3)]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("block", [1 << 24, 8])
def test_convolution_equals_its_definition(seed, block, monkeypatch):
    monkeypatch.setattr(convolve, "_BLOCK", block)
    x, k, geometry, specs = random_convolution(seed)
    reference = conv_reference(x, k, *geometry.values())
    lhs, rhs = (
        array(v.transpose(np.argsort(spec))) for v, spec in zip((x, k), specs[:2], strict=True)
    )

    def f(lhs, rhs):
        numbers = ConvDimensionNumbers(*specs)
        return conv_general_dilated(lhs, rhs, dimension_numbers=numbers, **geometry)

    out, pullback = wengert.vjp(f, lhs, rhs)
    np.testing.assert_allclose(values(out).transpose(specs[2]), reference, atol=1e-12)
    cotangent = random(seed, *out.shape)
    for gradient, operand in zip(pullback(array(cotangent)), (lhs, rhs), strict=True):
        assert gradient.shape == operand.shape
        np.testing.assert_allclose(
            np.sum(values(gradient) * values(operand)),
            np.sum(cotangent * values(out)),
            atol=1e-9,
        )


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("window", range(1, 5))
@pytest.mark.parametrize("stride", range(1, 4))
def test_same_padding_keeps_the_size(size, window, stride):
    for kind, larger in (("SAME", 1), ("same_lower", 0)):
        ((low, high),) = padding_of(kind, (size,), (window,), (stride,))
        assert abs(high - low) <= 1
        assert (low, high)[larger] == max(low, high)
        assert (size + low + high - window) // stride + 1 == math.ceil(size / stride)
    assert padding_of("VALID", (size,), (window,), (stride,)) == ((0, 0),)
    with pytest.raises(ValueError, match="not known"):
        padding_of("FULL", (size,), (window,), (stride,))


@pytest.mark.parametrize(
    "change",
    [
        {"feature_group_count": 2},
        {"batch_group_count": 2},
        {"feature_group_count": 3, "batch_group_count": 2},
        {"window_strides": (0,)},
        {"window_strides": (1, 1)},
    ],
)
def test_convolutions_that_do_not_fit_are_refused(change):
    ones = (1,)
    params = {
        "window_strides": ones,
        "padding": ((0, 0),),
        "lhs_dilation": ones,
        "rhs_dilation": ones,
        "dimension_numbers": ConvDimensionNumbers((0, 1, 2), (0, 1, 2), (0, 1, 2)),
        **change,
    }
    with pytest.raises(errors.ShapeError):
        conv_general_dilated(array(np.ones((1, 3, 5))), array(np.ones((3, 3, 2))), **params)


# -- what is read -----------------------------------------------------------------------------


def test_the_other_triangle_is_neither_read_nor_has_a_derivative():
    full = random(0, 4, 4)
    full = full @ full.T + 4 * np.eye(4)
    spoiled = np.where(np.tri(4, dtype=bool), full, np.nan)
    cases = {
        "cholesky": lambda a: linalg.cholesky(a),
        "eigh": lambda a: spectral.eigh(a, lower=True, vectors=False)[0],
        "triangular_solve": lambda a: linalg.triangular_solve(
            a, array(full), left_side=True, lower=True
        ),
    }
    for f in cases.values():
        np.testing.assert_array_equal(
            f(array(spoiled)), f(array(np.tril(full) + np.triu(full, 1)))
        )
        out, pullback = wengert.vjp(f, array(full))
        (gradient,) = pullback(array(np.ones(out.shape)))
        np.testing.assert_array_equal(np.triu(gradient, 1), 0)
        assert np.any(np.tril(gradient) != 0)


def test_unit_diagonal_is_not_read():
    a = np.tril(random(1, 3, 3), -1) + np.diag([np.nan] * 3)
    b = array(random(2, 3, 2))
    x = linalg.triangular_solve(array(a), b, left_side=True, lower=True, unit_diagonal=True)
    np.testing.assert_allclose((np.tril(a, -1) + np.eye(3)) @ values(x), b, atol=1e-12)


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda: matrix_functions.inv(array(np.ones((2, 2)))), "pinv"),
        (lambda: linalg.solve(array(np.zeros((2, 2))), array(np.ones((2, 1)))), "lstsq"),
        (lambda: linalg.cholesky(array(-np.eye(2))), "positive definite"),
        (
            lambda: linalg.triangular_solve(array(np.zeros((2, 2))), array(np.eye(2))),
            "diagonal",
        ),
    ],
)
def test_a_refused_matrix_is_an_error_that_says_what_to_do(f, message):
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        f()
    assert "f64[2,2]" in str(caught.value)


def test_factors_with_more_vectors_than_the_matrix_determines_have_no_derivative():
    tall = array(random(3, 4, 2))
    with pytest.raises(ValueError, match="reduced"):
        wengert.jvp(lambda a: linalg.qr(a, full_matrices=True), (tall,), (tall,))
    with pytest.raises(ValueError, match="full_matrices=False"):
        wengert.jvp(lambda a: spectral.svd(a, full_matrices=True), (tall,), (tall,))
    _, (s,) = wengert.jvp(
        lambda a: spectral.svd(a, full_matrices=True, compute_uv=False), (tall,), (tall,)
    )
    np.testing.assert_allclose(s, np.linalg.svd(values(tall), compute_uv=False))


# -- factorisations ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 3, 4), (1, 1)])
@pytest.mark.parametrize("complex", [False, True])
def test_lu_reproduces_the_matrix(shape, complex):
    a = random(4, *shape, complex=complex)
    factors, pivots, permutation = map(values, linalg.lu(array(a)))
    m, n = shape[-2:]
    k = min(m, n)
    lower = np.tril(factors[..., :k], -1) + np.eye(m, k)
    upper = np.triu(factors[..., :k, :])
    moved = np.take_along_axis(a, permutation[..., None], -2)
    np.testing.assert_allclose(lower @ upper, moved, atol=1e-12)
    order = linalg.pivots_to_permutation(array(pivots), permutation_size=m)
    np.testing.assert_array_equal(order, permutation)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_functions_of_singular_vectors_that_do_not_see_the_phase(shape, complex):
    weights = array(np.arange(1.0, 1 + min(shape)).astype(np.complex128 if complex else float))

    def f(a):
        u, _, vh = spectral.svd(a, full_matrices=False, compute_uv=True)
        return matrix_product(u * weights, vh)

    a, direction = random(5, *shape, complex=complex), random(6, *shape, complex=complex)
    _, tangent = wengert.jvp(f, (array(a),), (array(direction),))
    np.testing.assert_allclose(tangent, difference(f, a, direction), atol=1e-7)


def test_functions_of_hermitian_eigenvectors_that_do_not_see_the_phase():
    weights = array(np.arange(3.0).astype(complex))

    def f(a):
        _, v = spectral.eigh(a, lower=True, vectors=True)
        return matrix_product(v * weights, matrix_transpose(conj(v)))

    a, direction = random(7, 3, 3, complex=True), random(8, 3, 3, complex=True)
    _, tangent = wengert.jvp(f, (array(a),), (array(direction),))
    np.testing.assert_allclose(tangent, difference(f, a, direction), atol=1e-7)


def test_eigenvalues_of_a_multiple_of_the_identity_have_finite_derivatives():
    direction = random(9, 3, 3)
    (w,), (dw,) = wengert.jvp(
        lambda a: spectral.eigh(a, lower=True, vectors=False),
        (array(2 * np.eye(3)),),
        (array(direction),),
    )
    np.testing.assert_array_equal(w, [2, 2, 2])
    np.testing.assert_allclose(np.sum(dw), np.trace(direction))


def test_a_large_solve_factors_once_for_value_and_gradient():
    n = 40
    a, b = array(random(10, n, n) + n * np.eye(n)), array(random(11, n, 1))
    program = str(
        wengert.make_program(lambda a, b: wengert.vjp(linalg.solve, a, b)[1](b))(a, b)
    )
    assert program.count(" lu") == 1
    assert "factored_solve" in program
    assert " solve" not in program.replace("factored_solve", "")


def test_pseudo_inverse_along_matrices_of_equal_rank():
    left, right = random(12, 5, 2), random(13, 2, 4)
    d_left, d_right = random(14, 5, 2), random(15, 2, 4)

    def f(a):
        return spectral.pinv(a, array(1e-10))

    _, tangent = wengert.jvp(
        f, (array(left @ right),), (array(d_left @ right + left @ d_right),)
    )
    step = 1e-6
    above, below = (
        np.linalg.pinv((left + s * d_left) @ (right + s * d_right), rcond=1e-10)
        for s in (step, -step)
    )
    np.testing.assert_allclose(tangent, (above - below) / (2 * step), atol=1e-6)


# -- determinants -----------------------------------------------------------------------------


def minors(a):
    """The cofactors by their definition."""
    n = len(a)
    out = np.empty_like(a)
    for i, j in itertools.product(range(n), repeat=2):
        rest = np.delete(np.delete(a, i, 0), j, 1)
        out[i, j] = (-1) ** (i + j) * (np.linalg.det(rest) if n > 1 else 1)
    return out


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("defect", [0, 1, 2, 3])
@pytest.mark.parametrize("complex", [False, True])
def test_cofactors_and_their_derivative_at_matrices_of_any_rank(n, defect, complex):
    a = singular(n, n - defect, complex=complex) if defect <= n else np.zeros((n, n))
    b = random(16, n, n, complex=complex)
    got = matrix_functions.cofactor(array(a))
    np.testing.assert_allclose(got, minors(a), atol=1e-9 * max(1, np.abs(minors(a)).max()))
    tangent = values(matrix_functions.cofactor_tangent(array(a), array(b)))
    step = 1e-5
    expected = (minors(a + step * b) - minors(a - step * b)) / (2 * step)
    np.testing.assert_allclose(tangent, expected, atol=1e-6 * max(1, np.abs(expected).max()))


def test_the_second_derivative_of_the_determinant_of_zero():
    hessian = wengert.hessian(matrix_functions.det)(array(np.zeros((2, 2))))
    expected = np.zeros((2, 2, 2, 2))
    expected[0, 0, 1, 1] = expected[1, 1, 0, 0] = 1
    expected[0, 1, 1, 0] = expected[1, 0, 0, 1] = -1
    np.testing.assert_allclose(hessian, expected, atol=1e-12)


def test_the_third_derivative_of_the_determinant():
    a, d = array(random(17, 4, 4)), array(random(18, 4, 4))

    def along(f):
        return lambda x: wengert.jvp(f, (x,), (d,))[1]

    third = along(along(along(matrix_functions.det)))(a)
    step = 1e-4
    second = along(along(matrix_functions.det))
    above, below = (values(second(array(values(a) + s * step * values(d)))) for s in (1, -1))
    np.testing.assert_allclose(third, (above - below) / (2 * step), rtol=1e-6)


# -- functions of matrices --------------------------------------------------------------------


def test_exponential_of_a_nilpotent_matrix_and_its_derivatives():
    a = np.array([[0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(matrix_functions.expm(array(a)), [[1, 1], [0, 1]])
    d = array(random(19, 2, 2))

    def along(f):
        return lambda x: wengert.jvp(f, (x,), (d,))[1]

    second = along(along(matrix_functions.expm))
    np.testing.assert_allclose(
        second(array(a)), difference(along(matrix_functions.expm), a, values(d)), atol=1e-8
    )


def test_square_root_squares_to_the_matrix():
    a = singular(3, 3, complex=True) + 4 * np.eye(3)
    root = values(matrix_functions.sqrtm(array(a)))
    np.testing.assert_allclose(root @ root, a, atol=1e-10)
