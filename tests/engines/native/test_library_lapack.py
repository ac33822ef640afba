"""Factorisations, systems and spectra of the native library against the eager engine."""

import numpy as np
import pytest
from engines.native.harness import assert_same, expected, run

from wengert.primitives.linalg import (
    cholesky,
    complex_matrices,
    factored_solve,
    lu,
    pivots_to_permutation,
    positive_matrices,
    qr,
    sample_matrices,
    solve,
    triangular_solve,
)
from wengert.primitives.matrix_functions import det, inv, slogdet
from wengert.primitives.spectral import eig, eigh, svd

PRIMITIVES = [cholesky, triangular_solve, lu, factored_solve, solve, qr, det, slogdet, inv]
PRIMITIVES += [svd, eigh, eig, pivots_to_permutation]
DTYPES = ["float32", "float64", "complex64", "complex128"]


def check(primitive, *operands, **params):
    out = run(primitive, *operands, **params)
    if out is None:
        assert operands[0].dtype.itemsize == 2 or np.iscomplexobj(operands[0])
        return
    single = operands[0].dtype in (np.float32, np.complex64)
    assert_same(out, expected(primitive, *operands, **params), 2e-4 if single else 1e-11)


@pytest.mark.parametrize("primitive", PRIMITIVES, ids=str)
def test_samples(primitive):
    for sample in primitive.samples():
        check(primitive, *sample.args, **sample.params)


def matrices(dtype, *shape):
    made = complex_matrices(*shape) if dtype.startswith("c") else sample_matrices(*shape)
    return made.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (40, 40), (70, 6, 6), (1, 2, 2)])
def test_square(dtype, shape):
    x = matrices(dtype, *shape)
    n = shape[-1]
    positive = x @ x.swapaxes(-1, -2).conj() + np.eye(n, dtype=dtype)
    right = matrices(dtype, *shape[:-1], 3)
    check(cholesky, positive)
    for lower in (True, False):
        check(eigh, positive, lower=lower, vectors=False)
    check(solve, x, right)
    check(inv, x)
    factors = expected(lu, x)[:2]
    for transposed in (False, True):
        check(factored_solve, x, *factors, right, transpose_a=transposed)
    if not dtype.startswith("c"):
        check(det, x)
        check(slogdet, x)
    # of general matrices, eigenvalues come in no order
    (values,), (wanted,) = run(eig, x, vectors=False), expected(eig, x, vectors=False)
    near = 1e-3 if x.dtype in (np.float32, np.complex64) else 1e-9
    gaps = np.abs(values[..., :, None] - wanted[..., None, :])
    assert gaps.min(-1).max() < near * np.abs(wanted).max() > gaps.min(-2).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (6, 2, 3), (3, 0), (0, 3), (33, 20)])
def test_rectangular(dtype, shape):
    x = matrices(dtype, *shape)
    check(lu, x)
    for full in (False, True):
        check(qr, x, full_matrices=full)
        check(svd, x, full_matrices=full, compute_uv=False)
    if 0 in shape:
        return
    # vectors are determined up to phases: compare what they make up
    u, s, vh = run(svd, x, full_matrices=False, compute_uv=True)
    tolerance = 1e-4 if x.dtype in (np.float32, np.complex64) else 1e-11
    np.testing.assert_allclose((u * s[..., None, :]) @ vh, x, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_triangular(dtype):
    for shape in ((4, 4), (3, 5, 5)):
        a = matrices(dtype, *shape)
        b = matrices(dtype, *shape[:-1], 2)
        for number in range(32):
            left, lower, transposed, conjugate, unit = (bool(number >> i & 1) for i in range(5))
            right = b if left else np.ascontiguousarray(b.swapaxes(-1, -2))
            check(
                triangular_solve,
                a,
                right,
                left_side=left,
                lower=lower,
                transpose_a=transposed,
                conjugate_a=conjugate,
                unit_diagonal=unit,
            )


def test_eigenvectors_of_real_matrices_with_complex_values():
    x = np.random.default_rng(13).normal(size=(5, 7, 7))
    w, v = run(eig, x, vectors=True)
    np.testing.assert_allclose(x @ v, v * w[:, None], atol=1e-10)
    values, vectors = run(eigh, x + x.swapaxes(-1, -2), lower=True, vectors=True)
    np.testing.assert_allclose(
        (vectors * values[:, None]) @ vectors.swapaxes(-1, -2),
        x + x.swapaxes(-1, -2),
        atol=1e-10,
    )


def test_refused_matrices_fail():
    singular = np.ones((3, 2, 2))
    for primitive, args in (
        (cholesky, (-positive_matrices(2, 3, 3),)),
        (inv, (singular,)),
        (solve, (singular, singular)),
        (triangular_solve, (np.zeros((2, 2)), np.ones((2, 2)))),
        (svd, (np.full((3, 3), np.nan),)),
    ):
        with pytest.raises(np.linalg.LinAlgError):
            run(primitive, *args)
    with pytest.raises(np.linalg.LinAlgError):
        factors, pivots, _ = expected(lu, singular)
        run(factored_solve, singular, factors, pivots, singular)
