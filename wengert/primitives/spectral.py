"""Spectral decompositions: singular values, Hermitian and general eigenvalue problems.

All on stacks of matrices, real and complex, by LAPACK. The derivatives are those of M. B.
Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008). Values have derivatives wherever they are distinct; vectors
are determined up to a phase only: the derivative of what depends on it means nothing. Where two
values coincide the derivative of their vectors does not exist and is infinite or NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.primitive import Sample, Value, Zero
from wengert.primitives.basis import add, mul, reduce_sum
from wengert.primitives.cast import conj, convert, imag, make_complex, real
from wengert.primitives.compare import eq, select
from wengert.primitives.contract import matrix_product
from wengert.primitives.elementwise import div, sub
from wengert.primitives.linalg import (
    complex_matrices,
    positive_matrices,
    sample_matrices,
    solve,
)
from wengert.primitives.matrices import (
    Stacked,
    adjoint,
    as_column,
    as_row,
    diagonal,
    hermitian,
    identity,
    matrix_sizes,
    real_part,
    refused,
    through_single,
)
from wengert.primitives.reduce import argmax
from wengert.primitives.shape import iota

_NOT_CONVERGED = "NaN or infinity among the elements is the usual reason."


def _reciprocal_differences(values: Value) -> Value:
    """The matrix of 1 / (value_j - value_i), with zeros on the diagonal."""
    n = values.shape[-1]
    differences = sub(as_row(values), as_column(values))
    on_diagonal = Array(np.eye(n, dtype=bool))
    return select(on_diagonal, 0, div(1, select(on_diagonal, 1, differences)))


class Svd(Stacked):
    """A = U diag(s) Vh: [U, s, Vh], or [s] alone without `compute_uv`.

    With `full_matrices` U and Vh are square. The additional columns of a matrix that is not
    square are not determined by it, so there is no derivative then.
    """

    multiple_results = True

    @staticmethod
    @through_single
    @refused(_NOT_CONVERGED)
    def compute(a: Any, full_matrices: bool = False, compute_uv: bool = True) -> list[Any]:
        if compute_uv:
            return [*np.linalg.svd(a, full_matrices)]
        return [np.linalg.svd(a, compute_uv=False)]

    def type_rule(self, a: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
        lead, m, n = matrix_sizes(self.name, a)
        k = min(m, n)
        values = ArrayType((*lead, k), dtypes.real_dtype(a.dtype))
        if not compute_uv:
            return [values]
        left, right = (m, n) if full_matrices else (k, k)
        return [
            ArrayType((*lead, m, left), a.dtype),
            values,
            ArrayType((*lead, right, n), a.dtype),
        ]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (a,), (da,) = primals, tangents
        m, n = a.shape[-2:]
        compute_uv = params.get("compute_uv", True)
        if params.get("full_matrices", False) and compute_uv and m != n:
            raise ValueError(
                f"the full singular value decomposition of a matrix that is not square, here "
                f"{a.type}, has no derivative: the additional vectors are arbitrary. Use "
                "full_matrices=False, or compute_uv=False (svdvals) for the values alone."
            )
        u, s, vh = svd(a, full_matrices=False, compute_uv=True)
        inner = matrix_product(matrix_product(adjoint(u), da), adjoint(vh))
        ds = real_part(diagonal(inner))
        if not compute_uv:
            return [s], [ds]
        du, dvh = _vector_tangents(u, s, vh, da, inner)
        return [u, s, vh], [du, ds, dvh]

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (0, 2, 2)):
            yield Sample(sample_matrices(*shape), full_matrices=False, compute_uv=True)
            yield Sample(sample_matrices(*shape), full_matrices=False, compute_uv=False)
        yield Sample(sample_matrices(2, 2), full_matrices=True, compute_uv=True)
        z = complex_matrices(3, 2)
        yield Sample(z, full_matrices=False, compute_uv=False)
        yield Sample(z, full_matrices=True, compute_uv=True, differentiable=False)
        yield Sample(z.real.astype(np.float32), full_matrices=False, compute_uv=True)


def _vector_tangents(u: Value, s: Value, vh: Value, da: Value, inner: Value) -> Any:
    """Tangents of the singular vectors; `inner` is Uᴴ dA V."""
    dtype = u.dtype
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    factors = convert(as_row(s), dtype=dtype)
    on_diagonal = Array(np.eye(k, dtype=bool))
    sums = select(on_diagonal, 1, add(as_row(s), as_column(s)))
    gaps = convert(div(_reciprocal_differences(s), sums), dtype=dtype)
    right, left = mul(inner, factors), mul(convert(as_column(s), dtype=dtype), inner)
    turn_u = mul(gaps, add(right, adjoint(right)))
    turn_v = mul(gaps, add(left, adjoint(left)))
    vanishing = eq(s, 0)
    inverse = select(vanishing, 0, div(1, select(vanishing, 1, s)))
    inverse = convert(as_row(inverse), dtype=dtype)
    if dtypes.is_complex(dtype):  # the phase, which is put on U
        phase = mul(sub(inner, adjoint(inner)), identity(k, dtype))
        turn_u = add(turn_u, mul(phase, mul(inverse, Array(dtype.type(0.5)))))
    v = adjoint(vh)
    du, dv = matrix_product(u, turn_u), matrix_product(v, turn_v)
    if m > k:  # what of the columns of dA V lies outside the space of U
        columns = matrix_product(da, v)
        outside = sub(columns, matrix_product(u, inner))
        du = add(du, mul(outside, inverse))
    if n > k:
        columns = matrix_product(adjoint(da), u)
        outside = sub(columns, matrix_product(v, adjoint(inner)))
        dv = add(dv, mul(outside, inverse))
    return du, adjoint(dv)


class Eigh(Stacked):
    """Eigenvalues, ascending, and eigenvectors of a Hermitian matrix: [w, V], or [w] alone.

    Only one triangle of the matrix is read, by `lower`.
    """

    multiple_results = True

    @staticmethod
    @through_single
    @refused(_NOT_CONVERGED)
    def compute(a: Any, lower: bool = True, vectors: bool = True) -> list[Any]:
        triangle: Any = "L" if lower else "U"
        if vectors:
            return [*np.linalg.eigh(a, triangle)]
        return [np.linalg.eigvalsh(a, triangle)]

    def type_rule(self, a: Any, lower: bool = True, vectors: bool = True) -> Any:
        matrix_sizes(self.name, a, square=True)
        values = ArrayType(a.shape[:-1], dtypes.real_dtype(a.dtype))
        return [values, ArrayType(a.shape, a.dtype)] if vectors else [values]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        lower, vectors = params.get("lower", True), params.get("vectors", True)
        w, v = eigh(*primals, lower=lower, vectors=True)
        da = hermitian(tangents[0], lower)
        inner = matrix_product(matrix_product(adjoint(v), da), v)
        dw = real_part(diagonal(inner))
        if not vectors:
            return [w], [dw]
        turn = mul(convert(_reciprocal_differences(w), dtype=v.dtype), inner)
        return [w, v], [dw, matrix_product(v, turn)]

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            for vectors in (True, False):
                yield Sample(positive_matrices(*shape), lower=True, vectors=vectors)
        yield Sample(sample_matrices(3, 3), lower=False, vectors=True)
        z = complex_matrices(3, 3)
        yield Sample(z + z.conj().T, lower=True, vectors=False)
        yield Sample(z + z.conj().T, lower=True, vectors=True, differentiable=False)
        yield Sample(positive_matrices(2, 2).astype(np.float32), lower=True, vectors=True)


class Eig(Stacked):
    """Eigenvalues and eigenvectors (columns of V) of a general matrix: [w, V], or [w] alone.

    Both are complex. Each vector has norm 1, and its largest component is real.
    """

    multiple_results = True

    @staticmethod
    @through_single
    @refused(_NOT_CONVERGED)
    def compute(a: Any, vectors: bool = True) -> list[Any]:
        dtype = dtypes.complex_dtype(a.dtype)
        out = [*np.linalg.eig(a)] if vectors else [np.linalg.eigvals(a)]
        return [x.astype(dtype, copy=False) for x in out]

    def type_rule(self, a: Any, vectors: bool = True) -> Any:
        matrix_sizes(self.name, a, square=True)
        dtype = dtypes.complex_dtype(a.dtype)
        values = ArrayType(a.shape[:-1], dtype)
        return [values, ArrayType(a.shape, dtype)] if vectors else [values]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        w, v = eig(*primals, vectors=True)
        da = convert(tangents[0], dtype=v.dtype)
        inner = solve(v, matrix_product(da, v))
        dw = diagonal(inner)
        if not params.get("vectors", True):
            return [w], [dw]
        turn = mul(_reciprocal_differences(w), inner)
        return [w, v], [dw, _normalised(v, matrix_product(v, turn))]

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            for vectors in (True, False):
                yield Sample(sample_matrices(*shape), vectors=vectors)
        rotation = np.array([[0.5, -2.0, 0.1], [2.0, 0.7, 0.3], [0.2, -0.1, 1.5]])
        yield Sample(rotation, vectors=True)
        yield Sample(complex_matrices(3, 3), vectors=True)
        yield Sample(sample_matrices(2, 2).astype(np.float32), vectors=True)


def _normalised(v: Value, dv: Value) -> Value:
    """Tangents of eigenvectors that keep their norm, and their largest components real."""
    if not v.shape[-1]:
        return dv
    rows = len(v.shape) - 2
    parallel = reduce_sum(mul(conj(v), dv), axes=(rows,))
    size = add(mul(real(v), real(v)), mul(imag(v), imag(v)))
    largest = argmax(size, axis=rows, index_dtype=dtypes.INT32)
    places = iota(dtype=dtypes.INT32, shape=v.shape, dimension=rows)
    chosen = select(eq(places, as_row(largest)), div(1, v), 0)
    turn = reduce_sum(mul(chosen, dv), axes=(rows,))
    # dv - Re(vᴴ dv) v keeps the norm; of the rest, the imaginary part at the largest place
    factor = make_complex(real(parallel), imag(turn))
    return sub(dv, mul(v, as_row(factor)))


class Pinv(Stacked):
    """The pseudo-inverse; singular values up to `rtol` times the largest count as zero.

    The derivative, for constant rank, is that of G. H. Golub and V. Pereyra, "The
    differentiation of pseudo-inverses and nonlinear least squares problems whose variables
    separate" (1973).
    """

    @staticmethod
    @through_single
    @refused(_NOT_CONVERGED)
    def compute(a: Any, rtol: Any) -> Any:
        if 0 in a.shape:
            return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        counted = s > np.asarray(rtol)[..., None] * s[..., :1]
        inverse = np.divide(1, s, out=np.zeros_like(s), where=counted)
        left = vh.conj().swapaxes(-1, -2) * inverse[..., None, :]
        return left @ u.conj().swapaxes(-1, -2)

    def type_rule(self, a: Any, rtol: Any) -> Any:
        lead, m, n = matrix_sizes(self.name, a)
        if rtol.shape != lead:
            raise errors.ShapeError(f"pinv needs one rtol for each matrix, got {a} and {rtol}.")
        return ArrayType((*lead, n, m), a.dtype, a.weak_type and rtol.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (a, rtol), (da, _) = primals, tangents
        p = pinv(a, rtol)
        if type(da) is Zero:
            return p, Zero(p.type)
        m, n = a.shape[-2:]
        turned = adjoint(da)
        left = matrix_product(matrix_product(p, adjoint(p)), turned)
        right = matrix_product(turned, matrix_product(adjoint(p), p))
        outside = sub(identity(m, a.dtype), matrix_product(a, p))
        inside = sub(identity(n, a.dtype), matrix_product(p, a))
        total = add(matrix_product(left, outside), matrix_product(inside, right))
        total = sub(total, matrix_product(matrix_product(p, da), p))
        return p, total

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (0, 2, 2), (0, 3)):
            yield Sample(sample_matrices(*shape), np.full(shape[:-2], 1e-10)[()])
        # of rank 2, and so is everything near it that the tolerance lets it be
        low = sample_matrices(4, 2) @ sample_matrices(2, 3)
        yield Sample(low, np.float64(1e-6), differentiable=False)
        yield Sample(complex_matrices(3, 2), np.float64(1e-10))
        yield Sample(sample_matrices(3, 2).astype(np.float32), np.float32(1e-4))


svd = Svd()
eigh = Eigh()
eig = Eig()
pinv = Pinv()
