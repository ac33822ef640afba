"""Products, einsum, linear algebra and Fourier transforms against NumPy; gradients."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import wengert
import wengert.numpy as wnp
from wengert import errors

LINALG = wnp.linalg


def random(seed, *shape, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 3
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.normal(size=shape)
    return x.astype(dtype)


def regular(seed, *shape, dtype=np.float64):
    return (random(seed, *shape, dtype=dtype) + 9 * np.eye(*shape[-2:])).astype(dtype)


def agree(got, expected, tolerance=1e-9):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=tolerance, atol=tolerance)


# -- products ---------------------------------------------------------------------------------

SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((2, 1, 4, 3), (5, 3, 2)),
    ((2, 1, 4, 3), (1, 5, 3, 2)),
    ((1, 1, 2, 3), (1, 3, 2)),
    ((3,), (5, 3, 2)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128, np.int32])
@pytest.mark.parametrize("shapes", SHAPES)
def test_products_equal_numpys(shapes, dtype):
    a, b = (random(i, *s, dtype=dtype) for i, s in enumerate(shapes))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    agree(wnp.matmul(a, b), np.matmul(a, b), tolerance)
    agree(wnp.dot(a, b), np.dot(a, b), tolerance)
    agree(wnp.outer(a, b), np.outer(a, b), tolerance)
    agree(wnp.kron(a, b), np.kron(a, b), tolerance)
    agree(wnp.asarray(a) @ b, a @ b, tolerance)


@pytest.mark.parametrize("shapes", SHAPES[:10])
def test_matmul_has_the_right_gradient(shapes):
    wengert.check_grads(wnp.matmul, tuple(random(i, *s) for i, s in enumerate(shapes)), order=1)


def test_inner_products_conjugate_as_numpys():
    a, b = random(0, 4, 3, dtype=np.complex128), random(1, 4, 3, dtype=np.complex128)
    agree(wnp.vdot(a, b), np.vdot(a, b))
    agree(wnp.inner(a, b), np.inner(a, b))
    agree(wnp.vecdot(a, b), np.vecdot(a, b))
    agree(wnp.vecdot(a, b, axis=0), np.vecdot(a, b, axis=0))
    agree(wnp.matvec(a, b), np.matvec(a, b))
    agree(wnp.vecmat(a[:, 0], b), np.vecmat(a[:, 0], b))


@pytest.mark.parametrize(
    "axes", [0, 1, 2, ((0,), (1,)), ((0, 1), (1, 0)), (0, 1), ((-1,), (0,))]
)
def test_tensordot(axes):
    a, b = random(0, 3, 3), random(1, 3, 3)
    agree(wnp.tensordot(a, b, axes), np.tensordot(a, b, axes))


def test_products_promote():
    assert wnp.dot(np.ones(2, np.float32), np.ones(2, np.int32)).dtype == np.float32
    assert wnp.matmul(np.ones((2, 2), np.float16), np.ones((2, 2))).dtype == np.float64
    assert wnp.dot(2, 3.0).weak_type
    half = np.ones((2, 2), ml_dtypes.bfloat16)
    assert wnp.matmul(half, half, preferred_element_type="float32").dtype == np.float32


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((5, 1, 3), (4, 3)), ((5, 3), (3,))])
def test_cross(shapes):
    a, b = (random(i, *s) for i, s in enumerate(shapes))
    agree(wnp.cross(a, b), np.cross(a, b))
    wengert.check_grads(wnp.cross, (a, b), order=1)


def test_cross_along_other_axes_and_in_the_plane():
    a, b = random(0, 3, 5), random(1, 5, 3)
    agree(wnp.cross(a, b, axisa=0, axisc=0), np.cross(a, b, axisa=0, axisc=0))
    agree(wnp.cross(a, a[::-1], axis=0), np.cross(a, a[::-1], axis=0))
    flat = wnp.cross(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert float(flat) == -2
    agree(wnp.cross(np.array([1.0, 2.0]), b), np.cross(np.array([1.0, 2.0, 0.0]), b))


@pytest.mark.parametrize("offset", [-4, -1, 0, 2, 5])
def test_trace(offset):
    x = random(0, 2, 3, 4)
    agree(wnp.trace(x, offset, 1, 2), np.trace(x, offset, 1, 2))
    agree(wnp.trace(x, offset, -1, 0), np.trace(x, offset, -1, 0))
    assert wnp.trace(np.eye(2, dtype=np.int8)).dtype == np.int32


@pytest.mark.parametrize(
    "call",
    [
        lambda: wnp.matmul(2.0, np.ones(3)),
        lambda: wnp.matmul(np.ones((2, 3)), np.ones((2, 3))),
        lambda: wnp.matmul(np.ones((2, 2, 3)), np.ones((3, 3, 2))),
        lambda: wnp.dot(np.ones(3), np.ones(4)),
        lambda: wnp.tensordot(np.ones((2, 2)), np.ones((2, 2)), 3),
        lambda: wnp.tensordot(np.ones((2, 2)), np.ones((2, 2)), ((0, 1), (0,))),
        lambda: wnp.cross(np.ones(4), np.ones(4)),
        lambda: wnp.matvec(np.ones(3), np.ones(3)),
        lambda: LINALG.outer(np.ones((2, 2)), np.ones(2)),
        lambda: LINALG.cross(np.ones(2), np.ones(2)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call):
    with pytest.raises(errors.ShapeError):
        call()


def test_lists_and_out_are_refused():
    with pytest.raises(TypeError, match="Convert it first"):
        wnp.dot([1.0], [2.0])
    with pytest.raises(TypeError, match="out"):
        wnp.outer(np.ones(2), np.ones(2), out=np.ones((2, 2)))


# -- einsum -----------------------------------------------------------------------------------

EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij , jk -> ki", (2, 3), (3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iii->i", (3, 3, 3)),
    ("ijij->ij", (2, 3, 2, 3)),
    ("iij,jk->ik", (2, 2, 3), (3, 4)),
    ("ij->ji", (2, 3)),
    ("ba", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->i", (2, 3)),
    ("i,j->ij", (2,), (3,)),
    (",", (), ()),
    ("i,->i", (3,), ()),
    ("...", (2, 3)),
    ("...i->...", (2, 3)),
    ("i...->...i", (2, 3, 4)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("...ij,...jk->...ik", (4, 1, 2, 3), (5, 3, 4)),
    ("...ij,...jk", (5, 2, 3), (1, 3, 4)),
    ("ij,ij->ij", (2, 1), (2, 3)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bij,bjk,bkl->bil", (2, 3, 4), (2, 4, 5), (2, 5, 6)),
    ("a,a,a,a->a", (3,), (3,), (3,), (3,)),
    ("ijk,ilm,njm,nlk,abc->", (2, 3, 4), (2, 5, 6), (7, 3, 6), (7, 5, 4), (1, 2, 3)),
    ("ij,kl->", (2, 3), (4, 5)),
]


@pytest.mark.parametrize("case", EINSUMS, ids=lambda c: c[0])
@pytest.mark.parametrize("optimize", ["auto", False])
def test_einsum(case, optimize):
    subscripts, *shapes = case
    operands = [random(i, *s) for i, s in enumerate(shapes)]
    got = wnp.einsum(subscripts, *operands, optimize=optimize)
    agree(got, np.einsum(subscripts, *operands), 1e-8)


@pytest.mark.parametrize("case", EINSUMS[::3], ids=lambda c: c[0])
def test_einsum_has_the_right_gradient(case):
    subscripts, *shapes = case
    operands = tuple(random(i, *s) / 3 for i, s in enumerate(shapes))
    wengert.check_grads(lambda *xs: wnp.einsum(subscripts, *xs), operands, order=1)


def test_einsum_of_lists_of_labels():
    x, y = random(0, 2, 3), random(1, 3, 4)
    agree(wnp.einsum(x, [0, 1], y, [1, 2], [0, 2]), x @ y)
    agree(wnp.einsum(x, [0, 1], y, [1, 2]), x @ y)
    agree(wnp.einsum(x, [..., 30], y, [30, 2], [..., 2]), x @ y)


def test_einsum_under_transformations():
    x, y = random(0, 5, 2, 3), random(1, 3, 4)

    def f(x, y):
        return wnp.einsum("ij,jk->ik", x, y)

    agree(wengert.vmap(f, in_axes=(0, None))(x, y), x @ y)
    agree(wengert.jit(f)(x[0], y), x[0] @ y)
    assert wnp.einsum("i,i", np.ones(2, np.int32), np.ones(2, np.float32)).dtype == np.float32
    half = np.ones(2, np.float16)
    assert wnp.einsum("i,i", half, half, preferred_element_type=np.float32).dtype == np.float32


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk", [(2, 3), (4, 5)]),
        ("ij", [(2, 3), (3, 4)]),
        ("ijk", [(2, 3)]),
        ("ii", [(2, 3)]),
        ("ij->ik", [(2, 3)]),
        ("ij->ii", [(2, 3)]),
        ("i1", [(2, 3)]),
    ],
)
def test_einsum_refuses_what_does_not_fit(subscripts, shapes):
    with pytest.raises(errors.ShapeError, match="einsum"):
        wnp.einsum(subscripts, *map(np.ones, shapes))


def test_einsum_path_is_that_of_least_cost():
    operands = [np.ones(s) for s in ((2, 50), (50, 50), (50, 3))]
    path, description = wnp.einsum_path("ij,jk,kl->il", *operands)
    assert path[0] in ((0, 1), (1, 2))
    assert "Naive" in str(description)


# -- systems and determinants -----------------------------------------------------------------

DTYPES = [np.float32, np.float64, np.complex128]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 1), (0, 0)])
def test_square_matrices(shape, dtype):
    a = regular(0, *shape, dtype=dtype)
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    agree(LINALG.inv(a), np.linalg.inv(a), tolerance)
    agree(LINALG.det(a) / 700, np.linalg.det(a) / dtype(700), tolerance)
    for got, expected in zip(LINALG.slogdet(a), np.linalg.slogdet(a), strict=True):
        agree(got, expected, tolerance)
    for n in (0, 1, 3):
        agree(
            LINALG.matrix_power(a, n) / 1000,
            np.linalg.matrix_power(a, n) / dtype(1000),
            tolerance,
        )
    agree(LINALG.matrix_power(a, -2), np.linalg.matrix_power(a, -2), tolerance)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (3, 2)),
        ((2, 3, 3), (2, 3, 2)),
        ((3, 3), (4, 5, 3, 2)),
        ((4, 1, 3, 3), (5, 3, 2)),
        ((40, 40), (40,)),
    ],
)
def test_solve(a, b):
    a, b = regular(0, *a), random(1, *b)
    if a.shape[-1] == 40:
        a += 40 * np.eye(40)
    agree(LINALG.solve(a, b), np.linalg.solve(a, b))
    if a.shape[-1] < 40:
        wengert.check_grads(LINALG.solve, (a, b), order=1)


def test_solve_refuses_what_numpy_would_read_as_a_stack_of_vectors():
    with pytest.raises(errors.ShapeError, match="stack of vectors"):
        LINALG.solve(regular(0, 2, 3, 3), np.ones((2, 3)))


def test_solve_is_batched_over_right_hand_sides_without_copying_the_matrix():
    a, b = regular(0, 3, 3), random(1, 5, 3)
    program = wengert.make_program(wengert.vmap(LINALG.solve, in_axes=(None, 0)))(a, b)
    solves = [e for e in program.equations if e.primitive.name == "solve"]
    assert [e.inputs[0].type.shape for e in solves] == [(3, 3)]
    expected = np.linalg.solve(a, b.T).T
    agree(wengert.vmap(LINALG.solve, in_axes=(None, 0))(a, b), expected)


def test_determinant_has_the_right_gradient_at_singular_matrices():
    a = np.outer([1.0, 2.0, 3.0], [1.0, 0.5, -1.0]) + np.diag([1.0, 0.0, 0.0])
    wengert.check_grads(LINALG.det, (a,), order=2)
    gradient = wengert.grad(LINALG.det)(np.zeros((2, 2)))
    np.testing.assert_array_equal(gradient, 0)


def test_integers_are_computed_in_floating_point():
    a = np.array([[1, 2], [3, 5]], np.int32)
    assert LINALG.inv(a).dtype == np.float32
    assert LINALG.det(a.astype(np.int64)).dtype == np.float64
    assert LINALG.norm(a).dtype == np.float32
    assert LINALG.matrix_power(a, 2).dtype == np.int32
    assert LINALG.inv(np.eye(2, dtype=np.float16)).dtype == np.float16


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3)])
@pytest.mark.parametrize("columns", [(), (2,)])
def test_least_squares(shape, columns):
    a, b = random(0, *shape), random(1, shape[0], *columns)
    x, residuals, rank, s = LINALG.lstsq(a, b, numpy_resid=True)
    expected = np.linalg.lstsq(a, b, rcond=None)
    agree(x, expected[0])
    agree(residuals.reshape(expected[1].shape), expected[1])
    assert int(rank) == expected[2]
    agree(s, expected[3])
    wengert.check_grads(lambda a, b: LINALG.lstsq(a, b)[0], (a, b), order=1)


def test_least_squares_of_a_singular_matrix_has_the_least_norm():
    a, b = random(0, 4, 2) @ random(1, 2, 3), random(2, 4)
    x, _, rank, _ = LINALG.lstsq(a, b)
    assert int(rank) == 2
    agree(x, np.linalg.lstsq(a, b, rcond=None)[0])


# -- factorisations ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 4, 3)])
def test_factors_multiply_to_the_matrix(shape, dtype):
    a = random(0, *shape, dtype=dtype)
    for mode in ("reduced", "complete"):
        q, r = LINALG.qr(a, mode=mode)
        agree(q @ r, a)
    agree(LINALG.qr(a, mode="r"), np.linalg.qr(a, mode="r"))
    u, s, vh = LINALG.svd(a, full_matrices=False)
    agree((u * s[..., None, :]) @ vh, a)
    assert [x.shape for x in LINALG.svd(a)] == [x.shape for x in np.linalg.svd(a)]
    agree(LINALG.svdvals(a), np.linalg.svd(a, compute_uv=False))
    agree(LINALG.pinv(a), np.linalg.pinv(a))


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_spectra(dtype):
    a = random(0, 4, 4, dtype=dtype)
    w, v = LINALG.eig(a)
    assert w.dtype == v.dtype == np.complex128
    agree(a @ v, np.asarray(v * w))
    np.testing.assert_allclose(
        np.sort_complex(LINALG.eigvals(a)), np.sort_complex(w), atol=1e-9
    )
    h = a + a.conj().T
    w, v = LINALG.eigh(h)
    agree(h @ v, np.asarray(v * w))
    agree(LINALG.eigvalsh(a, symmetrize_input=False), np.linalg.eigvalsh(a))
    agree(LINALG.eigvalsh(a, "U", symmetrize_input=False), np.linalg.eigvalsh(a, "U"))
    agree(LINALG.eigvalsh(a), np.linalg.eigvalsh(h / 2))


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("symmetrize", [False, True])
def test_cholesky(upper, symmetrize):
    a = random(0, 3, 3, dtype=np.complex128)
    a = a @ a.conj().T + np.eye(3)
    got = LINALG.cholesky(a, upper=upper, symmetrize_input=symmetrize)
    agree(got, np.linalg.cholesky(a, upper=upper))


def test_gradients_are_symmetric_where_the_input_is_symmetrized():
    a = regular(0, 3, 3)
    a = a + a.T
    for f in (lambda a: LINALG.cholesky(a).sum(), lambda a: LINALG.eigvalsh(a)[0]):
        gradient = np.asarray(wengert.grad(f)(a))
        np.testing.assert_allclose(gradient, gradient.T, atol=1e-12)


def test_results_have_names():
    a = regular(0, 2, 2)
    a = a @ a.T
    assert LINALG.eigh(a)._fields == LINALG.eig(a)._fields == ("eigenvalues", "eigenvectors")
    assert LINALG.qr(a)._fields == ("Q", "R")
    assert LINALG.svd(a)._fields == ("U", "S", "Vh")
    assert LINALG.slogdet(a)._fields == ("sign", "logabsdet")


def test_pinv_of_one_tolerance_each_and_of_hermitian_matrices():
    a = np.stack([np.diag([1.0, 0.1]), np.diag([1.0, 0.1])])
    got = LINALG.pinv(a, rtol=np.array([0.5, 0.01]))
    agree(got, np.stack([np.diag([1.0, 0.0]), np.diag([1.0, 10.0])]))
    h = a[0] + 0.01
    agree(LINALG.pinv(h, hermitian=True), np.linalg.pinv(h, hermitian=True))
    with pytest.raises(ValueError, match="rcond"):
        LINALG.pinv(h, 0.1, rcond=0.1)


# -- norms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("order", [None, 0, 1, 2, 3, 0.5, -1, -2.5, np.inf, -np.inf])
def test_norms_of_vectors(order, dtype):
    x = random(0, 3, 4, dtype=dtype)
    for axis in (0, -1):
        for keepdims in (False, True):
            got = LINALG.norm(x, order, axis, keepdims)
            agree(got, np.linalg.norm(x, order, axis, keepdims))
    if order is not None:
        agree(LINALG.vector_norm(x, ord=order), np.linalg.vector_norm(x, ord=order))
    if order != 0:
        wengert.check_grads(lambda x: LINALG.norm(x, order, 0), (x,), order=1)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_matrices(order, dtype):
    x = random(0, 2, 3, 4, dtype=dtype)
    for axes in ((-2, -1), (0, 2), (2, 1)):
        for keepdims in (False, True):
            got = LINALG.norm(x, order, axes, keepdims)
            agree(got, np.linalg.norm(x, order, axes, keepdims))
    wengert.check_grads(lambda x: LINALG.norm(x, order, (1, 2)), (x,), order=1)
    if order is not None:
        agree(LINALG.matrix_norm(x, ord=order), np.linalg.matrix_norm(x, ord=order))


@pytest.mark.parametrize("order", [None, 1, 2, 3, np.inf])
def test_norms_of_nothing_have_gradient_zero(order):
    gradient = wengert.grad(lambda x: LINALG.norm(x, order))(np.zeros(3))
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("order", [None, "nuc", 1, 2, np.inf])
def test_norms_of_zero_matrices_have_gradient_zero(order):
    gradient = wengert.grad(lambda x: LINALG.norm(x, order))(np.zeros((2, 3)))
    np.testing.assert_array_equal(gradient, 0)


def test_equal_maxima_share_the_gradient():
    gradient = wengert.grad(lambda x: LINALG.norm(x, np.inf))(np.array([2.0, -2.0, 1.0]))
    np.testing.assert_array_equal(gradient, [0.5, -0.5, 0.0])


def test_norms_of_empty_arrays_and_of_any_rank():
    assert float(LINALG.norm(np.zeros((0, 3)))) == 0
    assert float(LINALG.norm(np.zeros(0), np.inf)) == 0
    agree(LINALG.norm(np.ones((2, 3, 4))), np.linalg.norm(np.ones((2, 3, 4))))
    assert LINALG.norm(np.ones((2, 3, 4)), keepdims=True).shape == (1, 1, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: LINALG.norm(np.ones((2, 3, 4)), 2),
        lambda: LINALG.norm(np.ones(3), "fro"),
        lambda: LINALG.norm(np.ones((3, 3)), 3),
        lambda: LINALG.eigh(np.eye(2), "X"),
        lambda: LINALG.qr(np.eye(2), "raw"),
        lambda: LINALG.svd(np.eye(2), subset_by_index=(0, 1)),
        lambda: LINALG.slogdet(np.eye(2), method="svd"),
        lambda: LINALG.inv(np.ones((2, 3))),
        lambda: LINALG.tensorinv(np.ones((2, 3, 4))),
    ],
)
def test_arguments_that_mean_nothing_are_refused(call):
    with pytest.raises(ValueError, match=r".{20}"):
        call()


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc"])
def test_condition_numbers(p):
    a = regular(0, 2, 3, 3)
    agree(LINALG.cond(a, p), np.linalg.cond(a, p))
    if p in (None, 2):
        assert float(LINALG.cond(np.zeros((2, 2)), p)) == np.inf


def test_rank_by_relative_and_absolute_tolerance():
    a = np.diag([10.0, 1.0, 0.1])
    assert int(LINALG.matrix_rank(a)) == 3
    assert int(LINALG.matrix_rank(a, rtol=0.05)) == 2
    assert int(LINALG.matrix_rank(a, tol=0.5)) == 2
    assert int(LINALG.matrix_rank(np.zeros(3))) == 0
    both = np.stack([a, a])
    np.testing.assert_array_equal(LINALG.matrix_rank(both, rtol=np.array([0.05, 0.5])), [2, 1])


# -- products of many and of tensors ----------------------------------------------------------


@pytest.mark.parametrize(
    "shapes", [[(2, 3), (3, 4), (4, 2)], [(3,), (3, 4), (4,)], [(3,), (3,)], [(2, 3), (3,)]]
)
def test_multi_dot(shapes):
    arrays = [random(i, *s) for i, s in enumerate(shapes)]
    agree(LINALG.multi_dot(arrays), np.linalg.multi_dot(arrays))
    with pytest.raises(errors.ShapeError):
        LINALG.multi_dot(arrays[:1])


def test_tensor_equations():
    a, b = random(0, 2, 3, 6), random(1, 2, 3)
    agree(LINALG.tensorsolve(a, b), np.linalg.tensorsolve(a, b))
    agree(LINALG.tensorinv(a), np.linalg.tensorinv(a))
    moved = np.moveaxis(a, 1, 2)
    agree(
        LINALG.tensorsolve(moved, b.T.reshape(2, 3), axes=(1,)),
        _tensorsolve(moved, b.T.reshape(2, 3)),
    )


def _tensorsolve(a, b):
    return np.linalg.tensorsolve(np.moveaxis(a, 1, 2), b)


# -- Fourier transforms -----------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_transforms_along_one_axis(name, norm):
    complex_input = name not in ("rfft", "ihfft")
    x = random(0, 3, 5, dtype=np.complex128 if complex_input else np.float64)
    for n in (None, 3, 8):
        for axis in (0, -1):
            got = getattr(wnp.fft, name)(x, n, axis, norm)
            agree(got, getattr(np.fft, name)(x, n, axis, norm))
    wengert.check_grads(lambda x: getattr(wnp.fft, name)(x, 4, 0, norm), (x,), order=1)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_transforms_along_several_axes(name):
    x = random(0, 2, 3, 4, dtype=np.float64 if name == "rfft" else np.complex128)
    several, two = f"{name}n", f"{name}2"
    agree(getattr(wnp.fft, several)(x), getattr(np.fft, several)(x))
    agree(getattr(wnp.fft, two)(x), getattr(np.fft, two)(x))
    options = {"s": (5, 2), "axes": (2, 0), "norm": "ortho"}
    agree(getattr(wnp.fft, several)(x, **options), getattr(np.fft, several)(x, **options))


def test_transforms_keep_precision_and_refuse_complex_signals_where_real_ones_are_meant():
    assert wnp.fft.fft(np.ones(4, np.float32)).dtype == np.complex64
    assert wnp.fft.irfft(np.ones(4, np.complex64)).dtype == np.float32
    assert wnp.fft.rfft(np.ones(4, np.int32)).dtype == np.complex64
    with pytest.raises(errors.DTypeError, match="real"):
        wnp.fft.rfft(np.ones(4, np.complex64))
    with pytest.raises(ValueError, match="norm"):
        wnp.fft.fft(np.ones(4), norm="both")
    with pytest.raises(ValueError, match="data point"):
        wnp.fft.fft(np.ones(4), 0)


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies_and_shifts(n):
    np.testing.assert_allclose(wnp.fft.fftfreq(n, 0.3), np.fft.fftfreq(n, 0.3), rtol=1e-6)
    np.testing.assert_allclose(wnp.fft.rfftfreq(n, 0.3), np.fft.rfftfreq(n, 0.3), rtol=1e-6)
    x = random(0, n, 3)
    agree(wnp.fft.fftshift(x), np.fft.fftshift(x))
    agree(wnp.fft.ifftshift(wnp.fft.fftshift(x, axes=0), axes=0), x)
