"""Functions of square matrices: inverse, determinants, exponential, square root.

The determinant is a polynomial and has derivatives everywhere, at singular matrices too: its
gradient is the matrix of cofactors, computed from the singular value decomposition where the
inverse is not to be trusted (I. C. F. Ipsen and R. Rehman, "Perturbation bounds for
determinants and characteristic polynomials", 2008, have the formulas). The exponential is that
of A. H. Al-Mohy and N. J. Higham (2009), as SciPy has it; its derivative is read off the
exponential of a block matrix (N. J. Higham, "Functions of Matrices", 2008, theorem 3.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Sample, Value, Zero
from wengert.primitives.basis import Linear, add, add_tangents, mul, neg, reduce_sum, zeros_like
from wengert.primitives.cast import convert, real
from wengert.primitives.contract import matrix_product, matrix_transpose
from wengert.primitives.elementwise import sub
from wengert.primitives.linalg import complex_matrices, sample_matrices, solve
from wengert.primitives.matrices import (
    Stacked,
    as_scalar,
    diagonal,
    each_matrix,
    matrix_sizes,
    refused,
    through_single,
)
from wengert.primitives.shape import concatenate, slice_

_linalg = lazy_module("scipy.linalg")


def trace(x: Value) -> Value:
    """The sums of the diagonals."""
    return reduce_sum(diagonal(x), axes=(len(x.shape) - 2,))


class Inv(Stacked):
    """The inverse."""

    compute = staticmethod(
        through_single(
            refused("It has no inverse; wengert.numpy.linalg.pinv gives the pseudo-inverse.")(
                np.linalg.inv
            )
        )
    )

    def type_rule(self, a: Any) -> Any:
        matrix_sizes(self.name, a, square=True)
        return a

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        inverse = inv(*primals)
        return inverse, neg(matrix_product(matrix_product(inverse, tangents[0]), inverse))

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            yield Sample(sample_matrices(*shape))
        yield Sample(complex_matrices(3, 3))
        yield Sample(sample_matrices(3, 3).astype(np.float32))
        yield Sample(sample_matrices(2, 2).astype(np.float16), differentiable=False)


# -- determinants -----------------------------------------------------------------------------


class _Spectrum:
    """What the cofactors of a stack of matrices are computed from.

    Attributes:
      inverse: the inverse, or None where a matrix is too close to a singular one.
      determinant: with it, as a factor for matrices.
      u, s, vh: else, the singular value decomposition, its vectors conjugated.
      phase: of the determinant, the product of those of the vectors' determinants.
    """

    def __init__(self, a: Any) -> None:
        self.determinant = np.linalg.det(a)[..., None, None]
        self.inverse = _safe_inverse(a)
        if self.inverse is None:
            u, self.s, vh = np.linalg.svd(a)
            phase = np.linalg.det(u) * np.linalg.det(vh)
            self.phase = (phase / np.abs(phase))[..., None, None]
            self.u, self.vh = u.conj(), vh.conj()

    def products(self) -> Any:
        """For each singular value the product of all others."""
        s = self.s
        one = np.ones((*s.shape[:-1], 1), s.dtype)
        before = np.concatenate([one, s[..., :-1]], -1).cumprod(-1)
        after = np.concatenate([s[..., 1:], one], -1)[..., ::-1].cumprod(-1)[..., ::-1]
        return before * after

    def pair_products(self) -> Any:
        """For each pair of singular values the product of all others, 0 on the diagonal.

        The values descend: a product without the smaller one is divided by the larger one.
        """
        s, n = self.s, self.s.shape[-1]
        single = self.products()
        row, column = s[..., None, :], s[..., :, None]
        larger = np.maximum(row, column)
        right = np.arange(n) > np.arange(n)[:, None]
        smaller = np.where(right, single[..., None, :], single[..., :, None])
        out = np.divide(smaller, larger, out=np.zeros_like(larger), where=larger > 0)
        if n > 1:  # both zero: the others matter only where there are no more zeros
            last = s[..., :-2].prod(-1)
            both = np.where(s[..., -2] == 0, last, out[..., -2, -1])
            out[..., -2, -1] = out[..., -1, -2] = both
        return out * ~np.eye(n, dtype=bool)


def _safe_inverse(a: Any) -> Any:
    """The inverse, where it is accurate enough to make cofactors of; else None."""
    try:
        inverse = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return None
    norms = [np.abs(x).sum(-1).max(-1, initial=0) for x in (a, inverse)]
    limit = np.finfo(a.dtype).eps ** -0.25
    return inverse if (norms[0] * norms[1] < limit).all() else None


class Cofactor(Stacked):
    """The matrix of cofactors: the gradient of the determinant, also of singular matrices."""

    @staticmethod
    @through_single
    def compute(a: Any) -> Any:
        spectrum = _Spectrum(a)
        if spectrum.inverse is not None:
            return spectrum.determinant * spectrum.inverse.swapaxes(-1, -2)
        return spectrum.phase * (spectrum.u * spectrum.products()[..., None, :]) @ spectrum.vh

    def type_rule(self, a: Any) -> Any:
        matrix_sizes(self.name, a, square=True)
        return a

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        return cofactor(*primals), cofactor_tangent(*primals, *tangents)

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            yield Sample(sample_matrices(*shape))
        yield Sample(complex_matrices(3, 3))
        yield Sample(np.diag([2.0, 1e-9, -3.0]) + 1e-3)
        yield Sample(np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 3.0]), differentiable=False)
        yield Sample(sample_matrices(3, 3).astype(np.float32))


class CofactorTangent(Stacked, Linear):
    """The derivative of the matrix of cofactors of A along B, also at singular matrices."""

    linear = (1,)

    @staticmethod
    @through_single
    def compute(a: Any, b: Any) -> Any:
        spectrum = _Spectrum(a)
        if spectrum.inverse is not None:
            inverse = spectrum.inverse
            step = inverse @ b
            size = np.trace(step, axis1=-2, axis2=-1)[..., None, None]
            return (spectrum.determinant * (size * inverse - step @ inverse)).swapaxes(-1, -2)
        u, vh, pairs = spectrum.u, spectrum.vh, spectrum.pair_products()
        inner = u.swapaxes(-1, -2) @ b @ vh.swapaxes(-1, -2)
        own = pairs @ np.diagonal(inner, axis1=-2, axis2=-1)[..., None]
        turned = own * np.eye(a.shape[-1], dtype=a.dtype) - pairs * inner.swapaxes(-1, -2)
        return spectrum.phase * (u @ turned @ vh)

    def type_rule(self, a: Any, b: Any) -> Any:
        matrix_sizes(self.name, a, square=True)
        return ArrayType(a.shape, a.dtype, a.weak_type and b.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        a, b = primals
        da, db = tangents
        out = self(a, b)
        total = Zero(out.type) if type(db) is Zero else self(a, db)
        if type(da) is not Zero:  # here, at last, by the inverse: A must not be singular
            step = solve(a, b)
            turn = neg(solve(a, matrix_product(da, step)))
            adjugate, change = (matrix_transpose(x) for x in (cofactor(a), self(a, da)))
            term = add(_traceless(turn, adjugate), _traceless(step, change))
            total = add_tangents(total, matrix_transpose(term))
        return out, total

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return self(operands[0], cotangent)  # the second derivative of det is symmetric

    def samples(self) -> Iterator[Sample]:
        for sample in cofactor.samples():
            (a,) = sample.args
            yield Sample(a, a[..., ::-1, :] - 0.5, differentiable=sample.differentiable)
        double = np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 3.0])
        yield Sample(double, sample_matrices(3, 3), differentiable=False)


def _traceless(step: Value, x: Value) -> Value:
    """(tr(step) - step) x."""
    return sub(mul(as_scalar(trace(step)), x), matrix_product(step, x))


class Det(Stacked):
    """The determinant."""

    @staticmethod
    @through_single
    def compute(a: Any) -> Any:
        return np.linalg.det(a)

    def type_rule(self, a: Any) -> Any:
        lead, _, _ = matrix_sizes(self.name, a, square=True)
        return ArrayType(lead, a.dtype, a.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        terms = mul(cofactor(*primals), tangents[0])
        rank = len(terms.shape)
        return det(*primals), reduce_sum(terms, axes=(rank - 2, rank - 1))

    def samples(self) -> Iterator[Sample]:
        yield from inv.samples()
        yield Sample(np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 3.0]), differentiable=False)
        yield Sample(np.zeros((2, 2)))


class Slogdet(Stacked):
    """Sign (or phase) and logarithm of the absolute value of the determinant: [sign, log]."""

    multiple_results = True

    @staticmethod
    @through_single
    def compute(a: Any) -> list[Any]:
        return [*np.linalg.slogdet(a)]

    def type_rule(self, a: Any) -> Any:
        lead, _, _ = matrix_sizes(self.name, a, square=True)
        return [ArrayType(lead, a.dtype), ArrayType(lead, dtypes.real_dtype(a.dtype))]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        sign, log = slogdet(*primals)
        terms = mul(matrix_transpose(inv(*primals)), tangents[0])
        rank = len(terms.shape)
        change = reduce_sum(terms, axes=(rank - 2, rank - 1))
        if not dtypes.is_complex(sign.dtype):
            return [sign, log], [Zero(sign.type), change]
        size = real(change)
        turn = mul(sign, sub(change, convert(size, dtype=sign.dtype)))
        return [sign, log], [turn, size]

    def samples(self) -> Iterator[Sample]:
        yield from inv.samples()
        yield Sample(np.zeros((2, 2)), differentiable=False)


# -- the exponential ------------------------------------------------------------------------


class Expm(Stacked):
    """The exponential."""

    @staticmethod
    @through_single
    def compute(a: Any) -> Any:
        if 0 in a.shape:
            return a.copy()
        return _linalg.expm(a).astype(a.dtype, copy=False)

    def type_rule(self, a: Any) -> Any:
        matrix_sizes(self.name, a, square=True)
        return a

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        return expm(*primals), expm_tangent(*primals, *tangents)

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            yield Sample(0.3 * sample_matrices(*shape))
        yield Sample(0.3 * complex_matrices(3, 3))
        yield Sample(0.3 * sample_matrices(3, 3).astype(np.float32))


class ExpmTangent(Stacked, Linear):
    """The derivative of the exponential of A along B."""

    linear = (1,)

    @staticmethod
    @through_single
    def compute(a: Any, b: Any) -> Any:
        if 0 in a.shape:
            return b.copy()
        n = a.shape[-1]
        lower = np.concatenate([np.zeros_like(a), a], -1)
        block = np.concatenate([np.concatenate([a, b], -1), lower], -2)
        return _linalg.expm(block)[..., :n, n:].astype(a.dtype)

    def type_rule(self, a: Any, b: Any) -> Any:
        matrix_sizes(self.name, a, square=True)
        return ArrayType(a.shape, a.dtype, a.weak_type and b.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        a, b = primals
        da, db = tangents
        out = self(a, b)
        total = Zero(out.type) if type(db) is Zero else self(a, db)
        if type(da) is not Zero:  # the same block matrix, and its derivative along da
            zeros, n, rank = zeros_like(a), a.shape[-1], len(a.shape)
            blocks = [[a, b], [zeros, a]], [[da, zeros], [zeros, da]]
            point, direction = (
                concatenate(
                    *(concatenate(*row, dimension=rank - 1) for row in rows), dimension=rank - 2
                )
                for rows in blocks
            )
            starts = (*(0,) * (rank - 1), n)
            limits = (*a.shape[:-1], 2 * n)
            change = self(point, direction)
            total = add_tangents(
                total, slice_(change, start_indices=starts, limit_indices=limits)
            )
        return out, total

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return self(matrix_transpose(operands[0]), cotangent)

    def samples(self) -> Iterator[Sample]:
        for sample in expm.samples():
            (a,) = sample.args
            yield Sample(a, a[..., ::-1, :] - a.dtype.type(0.5))


# -- Sylvester's equation and the square root ----------------------------------------------


class Sylvester(Stacked, Linear):
    """X with A X + X B = C."""

    linear = (2,)

    @staticmethod
    @through_single
    def compute(a: Any, b: Any, c: Any) -> Any:
        if 0 in c.shape:
            return c.copy()
        return each_matrix(_linalg.solve_sylvester, a, b, c)

    def type_rule(self, a: Any, b: Any, c: Any) -> Any:
        lead, m, n = matrix_sizes(self.name, c)
        if (
            a.shape != (*lead, m, m)
            or b.shape != (*lead, n, n)
            or len({a.dtype, b.dtype, c.dtype}) > 1
        ):
            raise errors.ShapeError(
                f"{self.name} needs square matrices that fit the right-hand side {c} from the "
                f"left and from the right, of one dtype, got {a} and {b}."
            )
        return ArrayType(c.shape, c.dtype, a.weak_type and b.weak_type and c.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        a, b, _ = primals
        da, db, rest = tangents
        x = self(*primals)
        if type(da) is not Zero:
            rest = add_tangents(rest, neg(matrix_product(da, x)))
        if type(db) is not Zero:
            rest = add_tangents(rest, neg(matrix_product(x, db)))
        return x, self(a, b, rest)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        a, b, _ = operands
        return self(matrix_transpose(a), matrix_transpose(b), cotangent)

    def samples(self) -> Iterator[Sample]:
        a = sample_matrices(3, 3)
        yield Sample(a, sample_matrices(2, 2), a[:, :2])
        yield Sample(*(sample_matrices(2, 2, 2) for _ in range(3)))
        yield Sample(complex_matrices(2, 2), complex_matrices(2, 2), complex_matrices(2, 2))
        yield Sample(np.zeros((0, 0)), sample_matrices(2, 2), np.zeros((0, 2)))
        yield Sample(*(sample_matrices(2, 2).astype(np.float32) for _ in range(3)))


class Sqrtm(Stacked):
    """The principal square root of complex matrices; its derivative solves X dX + dX X = dA."""

    @staticmethod
    def compute(a: Any) -> Any:
        if 0 in a.shape:
            return a.copy()
        return _linalg.sqrtm(a).astype(a.dtype, copy=False)

    def type_rule(self, a: Any) -> Any:
        matrix_sizes(self.name, a, square=True)
        if not dtypes.is_complex(a.dtype):
            raise errors.DTypeError(f"{self.name} takes complex matrices, got {a}.")
        return a

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        root = sqrtm(*primals)
        return root, sylvester(root, root, *tangents)

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            yield Sample(complex_matrices(*shape))


inv = Inv()
cofactor = Cofactor()
cofactor_tangent = CofactorTangent()
det = Det()
slogdet = Slogdet()
expm = Expm()
expm_tangent = ExpmTangent()
sylvester = Sylvester()
sqrtm = Sqrtm()
