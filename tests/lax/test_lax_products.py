"""Contractions, convolutions, Fourier transforms and factorisations of lax."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert
from wengert import errors, lax

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


# -- contractions ----------------------------------------------------------------------------


def test_dot_general():
    x, y = normal(2, 3, 4), normal(4, 2, 5)
    out = lax.dot_general(x, y, (((2,), (0,)), ((0,), (1,))))
    np.testing.assert_allclose(out, np.einsum("bik,kbj->bij", x, y))
    np.testing.assert_allclose(
        lax.dot_general(x, y, (((-1,), (0,)), ((), ()))), np.tensordot(x, y, 1)
    )
    wide = lax.dot_general(
        x.astype(np.float32), y, (((2,), (0,)), ((0,), (1,))), preferred_element_type=np.float64
    )
    assert wide.dtype == np.float64
    with pytest.raises(errors.ShapeError):
        lax.dot_general(x, y, (((1,), (0,)), ((), ())))


def test_dot():
    a, b, v = normal(2, 3), normal(3, 4), normal(3)
    np.testing.assert_allclose(lax.dot(a, b), a @ b)
    np.testing.assert_allclose(lax.dot(a, v, precision=lax.Precision.HIGHEST), a @ v)
    np.testing.assert_allclose(lax.dot(v, b), v @ b)
    np.testing.assert_allclose(lax.dot(v, v), v @ v)
    with pytest.raises(errors.ShapeError, match="vectors and matrices"):
        lax.dot(normal(2, 2, 2), a)


def test_batch_matmul():
    x, y = normal(5, 2, 3), normal(5, 3, 4)
    np.testing.assert_allclose(lax.batch_matmul(x, y), x @ y)
    with pytest.raises(errors.ShapeError):
        lax.batch_matmul(x, y[0])


# -- convolutions ----------------------------------------------------------------------------


def convolved(x, kernel, strides, padding, left=(1, 1), right=(1, 1), groups=1):
    """A convolution in the default layout, by its definition."""
    spread = np.zeros(
        (*x.shape[:2], *((n - 1) * d + 1 for n, d in zip(x.shape[2:], left, strict=True)))
    )
    spread[(..., *(slice(None, None, d) for d in left))] = x
    padded = np.pad(spread, [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in padding)])
    cut = tuple(
        slice(max(-a, 0), n - max(-b, 0))
        for n, (a, b) in zip(padded.shape[2:], padding, strict=True)
    )
    padded = padded[(..., *cut)]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], right, strict=True)]
    counts = [
        (n - e) // s + 1 for n, e, s in zip(padded.shape[2:], extents, strides, strict=True)
    ]
    out = np.zeros((x.shape[0], kernel.shape[0], *counts))
    inputs, outputs = x.shape[1] // groups, kernel.shape[0] // groups
    for place in itertools.product(*map(range, counts)):
        corner = [p * s for p, s in zip(place, strides, strict=True)]
        window = padded[
            (..., *(slice(c, c + e, d) for c, e, d in zip(corner, extents, right, strict=True)))
        ]
        for g in range(groups):
            one = slice(g * outputs, (g + 1) * outputs)
            part = window[:, g * inputs : (g + 1) * inputs]
            out[(slice(None), one, *place)] = np.einsum("ncij,ocij->no", part, kernel[one])
    return out


LAYOUTS = [("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"), ("HWNC", "IOHW", "CNHW")]


def laid_out(x, layout, letters="NCHW"):
    return x.transpose([letters.index(c) for c in layout])


@pytest.mark.parametrize("layouts", LAYOUTS)
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 2), (0, 1)), ((-1, 2), (1, -1))])
def test_convolution(layouts, padding):
    x, kernel = normal(2, 4, 6, 5), normal(6, 2, 3, 2)
    lhs, rhs = laid_out(x, layouts[0]), laid_out(kernel, layouts[1], "OIHW")
    cases = [
        {"window_strides": (2, 1)},
        {"window_strides": (1, 2), "lhs_dilation": (2, 1), "rhs_dilation": (1, 2)},
    ]
    for case in cases:
        out = lax.conv_general_dilated(
            lhs, rhs, padding=padding, dimension_numbers=layouts, feature_group_count=2, **case
        )
        expected = convolved(
            x, kernel, case["window_strides"], padding, *list(case.values())[1:], groups=2
        )
        np.testing.assert_allclose(out, laid_out(expected, layouts[2]), atol=1e-12)


def test_derivatives_of_convolutions():
    x, kernel = normal(2, 4, 5), normal(6, 2, 3)
    wengert.testing.check_grads(
        lambda x, k: lax.conv_general_dilated(
            x, k, (2,), [(1, 2)], (2,), (1,), feature_group_count=2
        ),
        (x, kernel),
        1,
    )
    wengert.testing.check_grads(
        lambda x, k: lax.conv_transpose(x, k, (2,), "SAME"),
        (normal(1, 4, 3), normal(3, 3, 2)),
        1,
    )


def test_default_layouts_and_named_padding():
    x, kernel = normal(2, 3, 7, 6), normal(5, 3, 2, 3)
    np.testing.assert_allclose(
        lax.conv(x, kernel, (1, 1), "VALID"), convolved(x, kernel, (1, 1), [(0, 0)] * 2)
    )
    np.testing.assert_allclose(
        lax.conv(x, kernel, (1, 1), "SAME"), convolved(x, kernel, (1, 1), [(0, 1), (1, 1)])
    )
    general = lax.conv_with_general_padding(x, kernel, (1, 2), [(1, 0), (0, 1)], None, (1, 2))
    expected = convolved(x, kernel, (1, 2), [(1, 0), (0, 1)], (1, 1), (1, 2))
    np.testing.assert_allclose(general, expected)
    with pytest.raises(ValueError, match="dilated input"):
        lax.conv_general_dilated(x, kernel, (1, 1), "SAME", (2, 1))


def test_groups_of_examples():
    x, kernel = normal(4, 3, 6), normal(6, 3, 2)
    out = lax.conv_general_dilated(x, kernel, (1,), [(0, 0)], batch_group_count=2)
    for g in range(2):
        part = lax.conv(x[2 * g : 2 * g + 2], kernel[3 * g : 3 * g + 3], (1,), "VALID")
        np.testing.assert_allclose(out[:, 3 * g : 3 * g + 3], part)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (4, 2)])
def test_transposed_convolution(strides, padding):
    """With the kernel transposed it is the transpose of the strided convolution."""
    kernel = normal(3, 2, 4, 5)
    forward = normal(1, 4 * strides[0], 3 * strides[1], 4)
    layouts = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_transpose(
        normal(1, 4, 3, 5), kernel, strides, padding, transpose_kernel=True
    )
    plain = lax.conv_transpose(normal(1, 4, 3, 4), kernel, strides, padding)
    assert plain.shape[:3] == out.shape[:3]
    if padding == "SAME":
        cotangent = normal(1, 4, 3, 5)

        def convolve(x):
            return lax.conv_general_dilated(
                x, kernel, strides, "SAME", dimension_numbers=layouts
            )

        _, pullback = wengert.vjp(convolve, forward)
        transposed = lax.conv_transpose(
            cotangent, kernel, strides, "SAME", transpose_kernel=True
        )
        np.testing.assert_allclose(transposed, pullback(cotangent)[0], atol=1e-12)


def test_consistent_padding_of_transposed_convolution():
    x, kernel = normal(1, 9, 4), normal(3, 4, 5)
    layouts = ("NHC", "HIO", "NHC")

    def convolve(x):
        return lax.conv_general_dilated(x, kernel, (2,), [(1, 1)], dimension_numbers=layouts)

    out, pullback = wengert.vjp(convolve, x)
    transposed = lax.conv_transpose(
        np.asarray(out),
        kernel,
        (2,),
        [(1, 1)],
        transpose_kernel=True,
        use_consistent_padding=True,
    )
    np.testing.assert_allclose(transposed, pullback(out)[0], atol=1e-12)


def test_patches():
    x, kernel = normal(2, 3, 7, 6), normal(5, 3, 2, 3)
    patches = lax.conv_general_dilated_patches(x, (2, 3), (2, 1), "VALID")
    assert patches.shape == (2, 18, 3, 4)
    product = np.einsum("nfij,of->noij", patches, kernel.reshape(5, 18))
    np.testing.assert_allclose(product, lax.conv(x, kernel, (2, 1), "VALID"))
    kernels = np.broadcast_to(kernel.reshape(5, 18, 1, 1), (5, 18, 3, 4))
    local = lax.conv_general_dilated_local(x, kernels, (2, 1), "VALID", (2, 3))
    np.testing.assert_allclose(local, product)


def test_dimension_numbers():
    numbers = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, ("NHWC", "HWIO", "NHWC"))
    assert numbers == lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    assert lax.conv_dimension_numbers((1,) * 3, (1,) * 3, None).lhs_spec == (0, 1, 2)
    assert lax.padtype_to_pads((5, 5), (2, 3), (1, 2), "SAME") == [(0, 1), (1, 1)]
    for wrong in (("NHWC", "HWIO", "NHCC"), ("NHWC", "HWIO", "NHDC"), ("NHC", "HIO", "NHC")):
        with pytest.raises(errors.ShapeError):
            lax.conv_dimension_numbers((1,) * 4, (1,) * 4, wrong)


# -- Fourier transforms and factorisations ---------------------------------------------------


def test_fft():
    x = normal(2, 6)
    np.testing.assert_allclose(lax.fft(x, lax.FftType.RFFT, (6,)), np.fft.rfft(x))
    z = x + 1j * normal(2, 6)
    np.testing.assert_allclose(lax.fft(z, "FFT", (2, 6)), np.fft.fft2(z))
    np.testing.assert_allclose(lax.fft(z, "ifft", (6,)), np.fft.ifft(z))
    half = np.fft.rfft(x)
    np.testing.assert_allclose(lax.fft(half, lax.FftType.IRFFT, (6,)), x)


def positive(*shape):
    a = normal(*shape)
    return a @ a.swapaxes(-1, -2) + 3 * np.eye(shape[-1])


def test_cholesky():
    a = positive(2, 3, 3)
    np.testing.assert_allclose(lax.linalg.cholesky(a), np.linalg.cholesky(a))
    lower = lax.linalg.cholesky(np.tril(a), symmetrize_input=False)
    np.testing.assert_allclose(lower, np.linalg.cholesky(a))
    wengert.testing.check_grads(lax.linalg.cholesky, (a,), 1)


def test_eigenvalues():
    a = positive(3, 3)
    vectors, values = lax.linalg.eigh(a)
    np.testing.assert_allclose(np.asarray(vectors) * values @ np.asarray(vectors).T, a)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a))
    values, vectors = lax.linalg.eig(normal(3, 3), compute_left_eigenvectors=False)
    assert values.dtype == vectors.dtype == np.complex128
    with pytest.raises(ValueError, match="right"):
        lax.linalg.eig(a)


def test_factorisations():
    a = normal(4, 3)
    q, r = lax.linalg.qr(a, full_matrices=False)
    np.testing.assert_allclose(np.asarray(q) @ np.asarray(r), a, atol=1e-12)
    u, s, vh = lax.linalg.svd(a, full_matrices=False)
    np.testing.assert_allclose(np.asarray(u) * s @ np.asarray(vh), a, atol=1e-12)
    np.testing.assert_allclose(lax.linalg.svd(a, compute_uv=False), s)
    packed, _, permutation = lax.linalg.lu(a[:3])
    lower, upper = np.tril(packed, -1) + np.eye(3), np.triu(packed)
    np.testing.assert_allclose(lower @ upper, a[:3][np.asarray(permutation)], atol=1e-12)


def test_triangular_solve():
    a, b = np.tril(normal(2, 3, 3)) + 3 * np.eye(3), normal(2, 3, 2)
    out = lax.linalg.triangular_solve(a, b, left_side=True, lower=True)
    np.testing.assert_allclose(a @ np.asarray(out), b)
    out = lax.linalg.triangular_solve(a, b.swapaxes(1, 2), lower=True, transpose_a=True)
    np.testing.assert_allclose(np.asarray(out) @ a.swapaxes(1, 2), b.swapaxes(1, 2))
    with pytest.raises(errors.ShapeError):
        lax.linalg.triangular_solve(a, b)
    with pytest.raises(errors.DTypeError, match="floating"):
        lax.linalg.cholesky(np.eye(2, dtype=np.int32))
    with pytest.raises(errors.ShapeError, match="square"):
        lax.linalg.cholesky(b)
