"""`wengert.scipy.linalg` against SciPy, and its gradients against those of other ways."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as reference

import wengert
import wengert.numpy as wnp
from wengert.scipy import linalg

KINDS = pytest.mark.parametrize("kind", [float, complex])


def random(seed, *shape, kind=float):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if kind is complex else x


def regular(seed, *shape, kind=float):
    return random(seed, *shape, kind=kind) + 3 * np.eye(shape[-1])


def positive(seed, n, kind=float):
    a = random(seed, n, n, kind=kind)
    return a @ a.conj().T + np.eye(n)


def close(got, expected, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=tolerance, atol=tolerance)


def same_gradients(f, g, *args):
    """Two functions with equal values and cotangents."""
    (out, pull), (other, other_pull) = wengert.vjp(f, *args), wengert.vjp(g, *args)
    close(out, np.asarray(other))
    cotangent = random(9, *out.shape).astype(out.dtype)
    for one, two in zip(pull(cotangent), other_pull(cotangent), strict=True):
        close(one, np.asarray(two), 1e-8)


@KINDS
@pytest.mark.parametrize("trans", [0, 1, 2, "N", "T", "C"])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular(kind, trans, lower, unit):
    a, b = regular(0, 3, 3, kind=kind), random(1, 3, 2, kind=kind)
    options = {"trans": trans, "lower": lower, "unit_diagonal": unit}
    close(linalg.solve_triangular(a, b, **options), reference.solve_triangular(a, b, **options))
    stack = linalg.solve_triangular(np.stack([a, a]), b[:, 0], **options)
    close(stack[1], reference.solve_triangular(a, b[:, 0], **options))


@KINDS
@pytest.mark.parametrize("lower", [False, True])
def test_cholesky_and_its_solves(kind, lower):
    a, b = positive(0, 3, kind), random(1, 3, 2, kind=kind)
    close(linalg.cholesky(a, lower), reference.cholesky(a, lower))
    close(linalg.cho_solve(linalg.cho_factor(a, lower), b), np.linalg.solve(a, b))
    close(linalg.solve(a, b, lower=lower, assume_a="pos"), np.linalg.solve(a, b))

    def hermitian(a):
        return a + wnp.conj(a.mT)

    same_gradients(
        lambda a, b: linalg.solve(hermitian(a), b, lower=lower, assume_a="pos"),
        lambda a, b: wnp.linalg.solve(hermitian(a), b),
        a,
        b,
    )


@KINDS
@pytest.mark.parametrize("trans", [0, 1, 2])
def test_lu_solve(kind, trans):
    a, b = regular(0, 3, 3, kind=kind), random(1, 3, kind=kind)
    close(
        linalg.lu_solve(linalg.lu_factor(a), b, trans),
        reference.lu_solve(reference.lu_factor(a), b, trans),
    )
    stack = linalg.lu_solve(linalg.lu_factor(np.stack([a, a[::-1]])), b[:, None], trans)
    close(stack[1][:, 0], reference.lu_solve(reference.lu_factor(a[::-1]), b, trans))
    transposed = [lambda a: a, lambda a: a.mT, lambda a: wnp.conj(a.mT)][trans]
    same_gradients(
        lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b, trans),
        lambda a, b: wnp.linalg.solve(transposed(a), b),
        a,
        b,
    )


@KINDS
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_factorisations(kind, shape):
    a = random(0, *shape, kind=kind)
    for permute in (False, True):
        for got, expected in zip(linalg.lu(a, permute), reference.lu(a, permute), strict=True):
            close(got, expected)
    for mode in ("full", "economic", "r"):
        for got, expected in zip(
            linalg.qr(a, mode=mode), reference.qr(a, mode=mode), strict=True
        ):
            close(got, expected)
    u, s, vh = linalg.svd(a, full_matrices=False)
    close((u * s) @ vh, a)
    close(linalg.svd(a, compute_uv=False), reference.svdvals(a))


@KINDS
@pytest.mark.parametrize("lower", [False, True])
def test_hermitian_problems_read_one_triangle(kind, lower):
    a, b = random(0, 3, 3, kind=kind), positive(1, 3, kind)
    values, vectors = linalg.eigh(a, lower=lower)
    expected = reference.eigh(a, lower=lower)
    close(values, expected[0])
    close(np.abs(vectors), np.abs(expected[1]))
    values, vectors = linalg.eigh(a, b, lower=lower)
    expected = reference.eigh(a, b, lower=lower)
    close(values, expected[0])
    close(np.abs(vectors), np.abs(expected[1]))
    close(linalg.eigh(a, b, lower=lower, eigvals_only=True), expected[0])


@KINDS
def test_functions_of_matrices(kind):
    a, e = regular(0, 3, 3, kind=kind), random(1, 3, 3, kind=kind)
    close(linalg.expm(a), reference.expm(a))
    for got, expected in zip(
        linalg.expm_frechet(a, e), reference.expm_frechet(a, e), strict=True
    ):
        close(got, expected, 1e-8)
    _, tangent = wengert.jvp(linalg.expm, (a,), (e,))
    close(tangent, np.asarray(linalg.expm_frechet(a, e, compute_expm=False)))
    close(linalg.sqrtm(a), reference.sqrtm(a))
    close(linalg.solve_sylvester(a, e, a), reference.solve_sylvester(a, e, a))
    close(linalg.det(a), reference.det(a))
    close(linalg.inv(a), reference.inv(a))


def test_block_diag():
    blocks = np.ones((2, 1)), 3.0, np.ones(2)
    np.testing.assert_array_equal(linalg.block_diag(*blocks), reference.block_diag(*blocks))
    assert linalg.block_diag().shape == (1, 0)
    assert linalg.block_diag(np.ones((1, 1), np.int32), 2).dtype == np.int32
    with pytest.raises(ValueError, match="matrices"):
        linalg.block_diag(np.ones((1, 1, 1)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: linalg.qr(np.eye(2), pivoting=True),
        lambda: linalg.qr(np.eye(2), mode="raw"),
        lambda: linalg.eigh(np.eye(2), type=2),
        lambda: linalg.solve(np.eye(2), np.ones(2), assume_a="banded"),
        lambda: linalg.solve_triangular(np.eye(2), np.ones(2), trans="X"),
        lambda: linalg.solve_triangular(np.eye(2), np.ones(3)),
        lambda: linalg.cholesky(np.ones((2, 3))),
    ],
)
def test_arguments_that_mean_nothing_are_refused(call):
    with pytest.raises(ValueError, match=r".{20}"):
        call()
