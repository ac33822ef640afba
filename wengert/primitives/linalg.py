"""Factorisations and linear systems: Cholesky, LU, QR, triangular and general solves.

All on stacks of matrices, real and complex, by LAPACK; a matrix that LAPACK refuses (singular,
not positive definite) raises `numpy.linalg.LinAlgError`. Solves are linear in the right-hand
side and transpose to solves; the derivatives with respect to the matrix are those of M. B.
Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), and for LU and QR of S. F. Walter and L. Lehmann,
"Algorithmic differentiation of linear algebra functions" (2010). They hold for the function
that is computed: where only one triangle of the operand is read, the other has derivative zero.

Spectral decompositions are in `spectral`, inverse, determinants and functions of matrices in
`matrix_functions`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.lazy import lazy_module
from wengert.core.primitive import Primitive, Sample, Value, Zero
from wengert.primitives.basis import (
    Linear,
    add,
    add_tangents,
    filled,
    move_axis,
    mul,
    neg,
    reshape,
)
from wengert.primitives.cast import conj, convert, real, stop_gradient
from wengert.primitives.contract import matrix_product, matrix_transpose
from wengert.primitives.elementwise import sub
from wengert.primitives.index import gather
from wengert.primitives.matrices import (
    Stacked,
    adjoint,
    each_matrix,
    hermitian,
    identity,
    lower_part,
    matrix_sizes,
    refused,
    through_single,
    upper_part,
)
from wengert.primitives.shape import concatenate, iota, pad, slice_

_blas = lazy_module("scipy.linalg.blas")
_lapack = lazy_module("scipy.linalg.lapack")

#: From this size on a derivative keeps the LU factors of the matrix instead of factoring again.
_KEEP_FACTORS = 32


def sample_matrices(*shape: int) -> Any:
    """A stack of well-conditioned matrices."""
    rng = np.random.default_rng(len(shape) + sum(shape))
    return rng.normal(size=shape) + 3 * np.eye(shape[-2], shape[-1])


def positive_matrices(*shape: int) -> Any:
    """A stack of symmetric positive definite matrices."""
    x = sample_matrices(*shape)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


def complex_matrices(*shape: int) -> Any:
    """The same with imaginary parts."""
    return sample_matrices(*shape) + 0.3j * sample_matrices(*shape)[..., ::-1, :]


class Cholesky(Stacked):
    """The lower triangular L with L Lᴴ = A; only the lower triangle of A is read."""

    compute = staticmethod(
        through_single(
            refused("Only positive definite matrices have a Cholesky factor.")(
                np.linalg.cholesky
            )
        )
    )

    def type_rule(self, x: Any) -> Any:
        matrix_sizes(self.name, x, square=True)
        return x

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        factor = cholesky(*primals)
        inner = hermitian(tangents[0], lower=True)
        inner = triangular_solve(factor, inner, left_side=True, lower=True)
        inner = triangular_solve(factor, inner, lower=True, transpose_a=True, conjugate_a=True)
        return factor, matrix_product(factor, lower_part(inner, 0.5))

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 0), (0, 2, 2)):
            yield Sample(positive_matrices(*shape))
        z = complex_matrices(3, 3)
        yield Sample(z @ z.conj().T + np.eye(3))
        yield Sample(positive_matrices(3, 3).astype(np.float32))
        yield Sample(positive_matrices(2, 2).astype(np.float16), differentiable=False)


# -- triangular systems ---------------------------------------------------------------------


def routine(library: Any, name: str, dtype: Any) -> Any:
    """The BLAS or LAPACK routine of this name for a dtype."""
    return getattr(library, {"f": "s", "d": "d", "F": "c", "D": "z"}[dtype.char] + name)


def _refuse_zero_diagonal(a: Any) -> None:
    if (np.diagonal(a, axis1=-2, axis2=-1) == 0).any():
        raise np.linalg.LinAlgError(
            "Singular matrix: a diagonal element is zero. The system has no unique solution; "
            "wengert.numpy.linalg.lstsq gives one of least squares."
        )


class TriangularSolve(Stacked, Linear):
    """X with op(A) X = B, or X op(A) = B, for triangular A; its other triangle is not read."""

    linear = (1,)

    @staticmethod
    @through_single
    def compute(
        a: Any,
        b: Any,
        left_side: bool = False,
        lower: bool = False,
        transpose_a: bool = False,
        conjugate_a: bool = False,
        unit_diagonal: bool = False,
    ) -> Any:
        if not unit_diagonal:
            _refuse_zero_diagonal(a)
        if 0 in b.shape:
            return np.zeros(b.shape, b.dtype)
        # BLAS counts columns first: it sees the transposes of our matrices. What it solves is
        # the transposed system, with the matrix on the other side.
        options = {
            "side": int(left_side), "lower": int(not lower), "trans_a": int(transpose_a),
            "diag": int(unit_diagonal),
        }  # fmt: skip
        trsm = routine(_blas, "trsm", b.dtype)
        if conjugate_a:
            a = a.conj()
        return each_matrix(lambda x, y: trsm(1, x.T, y.T, **options).T, a, b)

    def type_rule(self, a: Any, b: Any, **params: Any) -> Any:
        lead, n, _ = matrix_sizes(self.name, a, square=True)
        other, rows, columns = matrix_sizes(self.name, b)
        if a.dtype != b.dtype or other != lead:
            raise errors.ShapeError(f"{self.name} needs one dtype and one stack, got {a}, {b}.")
        if n != (rows if params.get("left_side", False) else columns):
            raise errors.ShapeError(
                f"{self.name} got a right-hand side of shape {b.shape} for a matrix of shape "
                f"{a.shape}: the sizes must agree on the side where the matrix stands."
            )
        return ArrayType(b.shape, b.dtype, a.weak_type and b.weak_type)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        a, _ = primals
        da, rest = tangents
        x = self(*primals, **params)
        if type(da) is not Zero:
            unit = params.get("unit_diagonal", False)
            part = lower_part if params.get("lower", False) else upper_part
            da = part(da, 0.0 if unit else 1.0)
            if params.get("transpose_a", False):
                da = matrix_transpose(da)
            if params.get("conjugate_a", False) and dtypes.is_complex(a.dtype):
                da = conj(da)
            pair = (da, x) if params.get("left_side", False) else (x, da)
            rest = add_tangents(rest, neg(matrix_product(*pair)))
        return x, self(a, rest, **params)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        flipped = {**params, "transpose_a": not params.get("transpose_a", False)}
        return self(operands[0], cotangent, **flipped)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        if dims[0] is not None:
            return super().batch(size, args, dims, **params)
        # one matrix, many right-hand sides: they become columns (or rows) of one
        a, b = args
        side = len(b.shape) - 2 if params.get("left_side", False) else len(b.shape) - 3
        b = move_axis(b, dims[1], side)
        merged = (*b.shape[:side], size * b.shape[side + 1], *b.shape[side + 2 :])
        out = self(a, reshape(b, shape=merged), **params)
        return reshape(out, shape=b.shape), side

    def samples(self) -> Iterator[Sample]:
        a, b = sample_matrices(3, 3), sample_matrices(3, 2)
        yield Sample(a, b, left_side=True, lower=True)
        yield Sample(a, b.T, left_side=False, lower=False, unit_diagonal=True)
        yield Sample(a, b, left_side=True, lower=False, transpose_a=True)
        yield Sample(a, b.T, left_side=False, lower=True, transpose_a=True)
        yield Sample(sample_matrices(2, 2, 2), sample_matrices(2, 2, 1), left_side=True)
        z, w = complex_matrices(2, 2), complex_matrices(2, 2)
        yield Sample(z, w, left_side=True, lower=True, transpose_a=True, conjugate_a=True)
        yield Sample(z, w, left_side=False, lower=True, conjugate_a=True)
        yield Sample(np.zeros((0, 0)), np.zeros((0, 2)), left_side=True)
        yield Sample(a.astype(np.float32), b.astype(np.float32), left_side=True)


# -- LU and general systems -----------------------------------------------------------------


def _permutation(pivots: Any, n: int) -> Any:
    """The order of the rows after LAPACK's exchanges."""
    order = np.arange(n, dtype=np.int32)
    for i, j in enumerate(pivots.tolist()):
        order[i], order[j] = order[j], order[i]
    return order


def _factor_one(a: Any) -> list[Any]:
    m = a.shape[0]
    if 0 in a.shape:
        return [a.copy(), np.zeros(0, np.int32), np.arange(m, dtype=np.int32)]
    factors, pivots, _ = routine(_lapack, "getrf", a.dtype)(a)
    return [factors, pivots.astype(np.int32), _permutation(pivots, m)]


def permute_rows(x: Value, permutation: Value) -> Value:
    """The rows of matrices in another order; one permutation for each matrix of the stack."""
    lead = x.shape[:-2]
    counters = [
        iota(dtype=np.dtype(np.int32), shape=permutation.shape, dimension=i)
        for i in range(len(lead))
    ]
    return gather(x, *counters, permutation, axes=tuple(range(len(lead) + 1)), mode="error")


def square_lower(factors: Value) -> Value:
    """The square unit lower triangular factor L in packed LU factors, of any shape."""
    m, n = factors.shape[-2:]
    k = min(m, n)
    left = factors
    if n > m:
        starts = (0,) * len(factors.shape)
        left = slice_(factors, start_indices=starts, limit_indices=(*factors.shape[:-1], k))
    elif m > n:
        left = _padded(left, columns=m - n)
    return add(lower_part(left, 0.0), identity(m, factors.dtype))


def square_upper(factors: Value) -> Value:
    """The square upper triangular factor U in packed LU factors; below it, the identity."""
    m, n = factors.shape[-2:]
    if m >= n:
        starts = (0,) * len(factors.shape)
        limits = (*factors.shape[:-2], n, n)
        return upper_part(slice_(factors, start_indices=starts, limit_indices=limits))
    below = np.eye(n, dtype=factors.dtype)
    below[:m] = 0
    return add(_padded(upper_part(factors), rows=n - m), Array(below))


def _padded(x: Value, rows: int = 0, columns: int = 0) -> Value:
    """Matrices with rows and columns of zeros appended."""
    config = ((0, 0, 0),) * (len(x.shape) - 2) + ((0, rows, 0), (0, columns, 0))
    return pad(x, filled(ArrayType((), x.dtype), 0), padding_config=config)


class Lu(Stacked):
    """P A = L U with row exchanges: [packed factors, LAPACK's pivots, the permutation]."""

    multiple_results = True

    @staticmethod
    @through_single
    def compute(a: Any) -> list[Any]:
        factored: list[Any] = each_matrix(_factor_one, a)
        return factored

    def type_rule(self, a: Any) -> Any:
        lead, m, n = matrix_sizes(self.name, a)
        integers = [ArrayType((*lead, size), dtypes.INT32) for size in (min(m, n), m)]
        return [ArrayType(a.shape, a.dtype), *integers]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        factors, pivots, permutation = self(*primals)
        lower, upper = square_lower(factors), square_upper(factors)
        inner = permute_rows(tangents[0], permutation)
        inner = triangular_solve(lower, inner, left_side=True, lower=True, unit_diagonal=True)
        inner = triangular_solve(upper, inner)
        tangent = add(
            matrix_product(lower, lower_part(inner, 0.0)),
            matrix_product(upper_part(inner), upper),
        )
        exact = [Zero(pivots.type), Zero(permutation.type)]
        return [factors, pivots, permutation], [tangent, *exact]

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (2, 2, 2), (4, 2), (2, 4), (1, 1), (0, 2), (0, 2, 2)):
            yield Sample(sample_matrices(*shape))
        yield Sample(complex_matrices(3, 3))
        yield Sample(sample_matrices(3, 3).astype(np.float32))


class PivotsToPermutation(Primitive):
    """The order in which LAPACK's row exchanges leave the rows."""

    nondifferentiable = True

    @staticmethod
    def compute(pivots: Any, permutation_size: int) -> Any:
        rows = pivots.reshape((math.prod(pivots.shape[:-1]), pivots.shape[-1]))
        orders = np.empty((len(rows), permutation_size), np.int32)
        for order, row in zip(orders, rows, strict=True):
            order[:] = _permutation(row, permutation_size)
        return orders.reshape((*pivots.shape[:-1], permutation_size))

    def type_rule(self, pivots: Any, permutation_size: int) -> Any:
        count = pivots.shape[-1] if pivots.shape else permutation_size + 1
        if count > permutation_size or not dtypes.is_integer(pivots.dtype):
            raise errors.ShapeError(
                f"{self.name} needs up to {permutation_size} integers, got {pivots}."
            )
        shape = (*pivots.shape[:-1], permutation_size)
        return ArrayType(shape, dtypes.INT32, pivots.weak_type)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(move_axis(args[0], dims[0], 0), **params), 0

    def samples(self) -> Iterator[Sample]:
        for pivots in ([2, 2, 2], [[1, 1], [0, 1]], []):
            yield Sample(np.array(pivots, np.int32), permutation_size=3, differentiable=False)


class FactoredSolve(Stacked, Linear):
    """X with op(A) X = B; the operands are A, its packed LU factors and pivots, and B.

    The factors are a function of A and have no derivative of their own here.
    """

    linear = (3,)

    @staticmethod
    @through_single
    def compute(a: Any, factors: Any, pivots: Any, b: Any, transpose_a: bool = False) -> Any:
        _refuse_zero_diagonal(factors)
        if 0 in b.shape:
            return np.zeros(b.shape, b.dtype)
        getrs = routine(_lapack, "getrs", b.dtype)
        lead = b.shape[:-2]
        if not lead:
            return getrs(factors, pivots, b, trans=int(transpose_a))[0]
        count = math.prod(lead)
        rows = (x.reshape((count, *x.shape[len(lead) :])) for x in (factors, pivots, b))
        solved = [
            getrs(f, p, y, trans=int(transpose_a))[0] for f, p, y in zip(*rows, strict=True)
        ]
        return np.stack(solved).reshape(b.shape)

    def type_rule(self, a: Any, factors: Any, pivots: Any, b: Any, **params: Any) -> Any:
        return solve.type_rule(a, b)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        *system, _ = primals
        da, _, _, rest = tangents
        x = self(*primals, **params)
        if type(da) is not Zero:
            da = matrix_transpose(da) if params.get("transpose_a", False) else da
            rest = add_tangents(rest, neg(matrix_product(da, x)))
        if type(rest) is Zero:
            return x, rest
        return x, self(*system, rest, **params)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        flipped = not params.get("transpose_a", False)
        return self(*operands[:3], cotangent, transpose_a=flipped)

    def samples(self) -> Iterator[Sample]:
        for a, b in (
            (sample_matrices(3, 3), sample_matrices(3, 2)),
            (sample_matrices(2, 2, 2), sample_matrices(2, 2, 1)),
            (complex_matrices(2, 2), complex_matrices(2, 2)),
            (np.zeros((0, 0)), np.zeros((0, 2))),
        ):
            for transposed in (False, True):
                # not differentiable as it stands: A and its factors would have to move together
                factors, pivots, _ = Lu.compute(a)
                yield Sample(
                    a, factors, pivots, b, transpose_a=transposed, differentiable=False
                )


class Solve(Stacked, Linear):
    """X with A X = B for a general square A."""

    linear = (1,)
    compute = staticmethod(
        through_single(
            refused(
                "The system has no unique solution; wengert.numpy.linalg.lstsq gives one of "
                "least squares."
            )(np.linalg.solve)
        )
    )

    def type_rule(self, a: Any, b: Any) -> Any:
        lead, n, _ = matrix_sizes(self.name, a, square=True)
        other, rows, _ = matrix_sizes(self.name, b)
        if other != lead or rows != n or a.dtype != b.dtype:
            raise errors.ShapeError(
                f"{self.name} needs matrices and right-hand sides of one dtype, one stack and "
                f"as many rows, got {a} and {b}."
            )
        return ArrayType(b.shape, b.dtype, a.weak_type and b.weak_type)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Any) -> Any:
        return interpreter.linearize_by_jvp(self, args, params)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        a, b = primals
        da, rest = tangents
        solver = partial(solve, a)
        if a.shape[-1] >= _KEEP_FACTORS:
            factors, pivots, _ = lu(stop_gradient(a))
            solver = partial(factored_solve, a, factors, pivots)
        x = solver(b)
        if type(da) is not Zero:
            rest = add_tangents(rest, neg(matrix_product(da, x)))
        return x, solver(rest)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return solve(matrix_transpose(operands[0]), cotangent)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        if dims[0] is not None:
            return super().batch(size, args, dims, **params)
        a, b = args  # one matrix, many right-hand sides: they become columns of one
        place = len(b.shape) - 2
        b = move_axis(b, dims[1], place)
        out = solve(a, reshape(b, shape=(*b.shape[:place], size * b.shape[-1])))
        return reshape(out, shape=b.shape), place

    def samples(self) -> Iterator[Sample]:
        yield Sample(sample_matrices(3, 3), sample_matrices(3, 2))
        yield Sample(sample_matrices(2, 2, 2), sample_matrices(2, 2, 1))
        yield Sample(complex_matrices(2, 2), complex_matrices(2, 2))
        yield Sample(np.zeros((0, 0)), np.zeros((0, 2)))
        large = 3 * sample_matrices(_KEEP_FACTORS, _KEEP_FACTORS) + 20 * np.eye(_KEEP_FACTORS)
        yield Sample(large, sample_matrices(_KEEP_FACTORS, 1))
        yield Sample(*(sample_matrices(2, 2).astype(np.float32) for _ in range(2)))


# -- QR ------------------------------------------------------------------------------------


class Qr(Stacked):
    """A = Q R with orthonormal columns in Q and R upper triangular: [Q, R].

    With `full_matrices` Q is square. The additional columns of a tall matrix are not determined
    by it, so there is no derivative then.
    """

    multiple_results = True

    @staticmethod
    @through_single
    def compute(a: Any, full_matrices: bool = False) -> list[Any]:
        return [*np.linalg.qr(a, mode="complete" if full_matrices else "reduced")]

    def type_rule(self, a: Any, full_matrices: bool = False) -> Any:
        lead, m, n = matrix_sizes(self.name, a)
        k = m if full_matrices else min(m, n)
        return [ArrayType((*lead, *size), a.dtype) for size in ((m, k), (k, n))]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (a,), (da,) = primals, tangents
        m, n = a.shape[-2:]
        if params.get("full_matrices", False) and m > n:
            raise ValueError(
                f"the full QR factorisation of a tall matrix, here {a.type}, has no "
                "derivative: the additional columns of Q are arbitrary. Use mode='reduced'."
            )
        q, r = self(a, **params)
        if m >= n:
            dq, dr = _qr_tangents(q, r, da)
            return [q, r], [dq, dr]
        # a wide matrix: Q comes from the first m columns alone, and R = Qᴴ A
        head = {"start_indices": (0,) * len(a.shape), "limit_indices": (*a.shape[:-1], m)}
        dq, first = _qr_tangents(q, slice_(r, **head), slice_(da, **head))
        tail = {
            "start_indices": (*(0,) * (len(a.shape) - 1), m),
            "limit_indices": a.shape,
        }
        rest = add(
            matrix_product(adjoint(dq), slice_(a, **tail)),
            matrix_product(adjoint(q), slice_(da, **tail)),
        )
        return [q, r], [dq, concatenate(first, rest, dimension=len(a.shape) - 1)]

    def samples(self) -> Iterator[Sample]:
        for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (0, 0), (0, 2, 2)):
            yield Sample(sample_matrices(*shape), full_matrices=False)
        yield Sample(sample_matrices(2, 4), full_matrices=True)
        yield Sample(sample_matrices(4, 2), full_matrices=True, differentiable=False)
        yield Sample(complex_matrices(3, 2), full_matrices=False)
        yield Sample(sample_matrices(3, 2).astype(np.float32), full_matrices=False)


def _qr_tangents(q: Value, r: Value, da: Value) -> tuple[Value, Value]:
    """Tangents of both factors of matrices with at least as many rows as columns."""
    scaled = triangular_solve(r, da)
    inner = matrix_product(adjoint(q), scaled)
    below = lower_part(inner, 0.0)
    rotation = sub(below, adjoint(below))
    if dtypes.is_complex(q.dtype):  # R has a real diagonal: its phases turn with Q
        eye = identity(q.shape[-1], q.dtype)
        rotation = add(rotation, mul(eye, sub(inner, convert(real(inner), dtype=q.dtype))))
    dq = add(matrix_product(q, sub(rotation, inner)), scaled)
    return dq, matrix_product(sub(inner, rotation), r)


cholesky = Cholesky()
triangular_solve = TriangularSolve()
lu = Lu()
pivots_to_permutation = PivotsToPermutation()
factored_solve = FactoredSolve()
solve = Solve()
qr = Qr()
