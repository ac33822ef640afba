"""Linear algebra with the names of `scipy.linalg`, differentiable, on arrays and tracers.

Stacks of matrices are taken everywhere. `overwrite_a`, `overwrite_b` and `check_finite` are
accepted, as in JAX, and change nothing: arrays are immutable, and LAPACK's refusals are errors.
Unlike in `wengert.numpy.linalg`, a Hermitian matrix is read from one triangle, `lower` or
upper; the derivative with respect to the other triangle is zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, as_array
from wengert.numpy import linalg
from wengert.numpy.contract import matmul
from wengert.numpy.promotion import (
    Value,
    promote,
    promote_inexact,
    promote_inexact_unary,
    to_dtype,
)
from wengert.numpy.sorting import argsort
from wengert.primitives import linalg as primitives
from wengert.primitives import matrix_functions, spectral
from wengert.primitives.basis import add, broadcast_to, filled, reshape
from wengert.primitives.compare import eq
from wengert.primitives.matrices import (
    adjoint,
    hermitian,
    hermitian_part,
    lower_part,
    same_stack,
    upper_part,
)
from wengert.primitives.shape import concatenate, iota, pad, slice_


def _matrices(name: str, a: Any, square: bool = False) -> Value:
    a = promote_inexact_unary(a)
    if len(a.shape) < 2 or (square and a.shape[-1] != a.shape[-2]):
        kind = "square matrices" if square else "a matrix or a stack of matrices"
        raise errors.ShapeError(f"{name} needs {kind}, got an array of shape {a.shape}.")
    return a


def _right_hand_side(name: str, a: Value, b: Value) -> tuple[Value, Value, bool]:
    """A matrix and right-hand sides in one stack, and whether they were one vector."""
    vector = len(b.shape) == 1
    if vector:
        b = reshape(b, shape=(*b.shape, 1))
    if len(b.shape) < 2 or b.shape[-2] != a.shape[-1]:
        raise errors.ShapeError(
            f"{name} needs a right-hand side with {a.shape[-1]} rows for a matrix of shape "
            f"{a.shape}, got shape {b.shape}. For a stack of vectors write b[..., None]."
        )
    return *same_stack(name, a, b), vector


def _solution(x: Value, vector: bool) -> Value:
    return reshape(x, shape=x.shape[:-1]) if vector else x


# -- systems ---------------------------------------------------------------------------------


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Value:
    """The determinant.

    >>> det(np.array([[1.0, 2.0], [3.0, 5.0]])).dtype
    dtype('float64')
    """
    return linalg.det(a)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Value:
    """The inverse.

    >>> inv(np.array([[2.0, 0.0], [0.0, 4.0]]))
    Array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float64)
    """
    return linalg.inv(a)


def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    debug: bool = False,
    check_finite: bool = True,
    assume_a: str = "gen",
) -> Value:
    """The solution x of `a @ x = b`.

    Args:
      a: a square matrix or a stack of such.
      b: a vector, or right-hand sides as columns; stacks broadcast.
      lower: with `assume_a="pos"`, which triangle of `a` is read.
      overwrite_a, overwrite_b, debug, check_finite: change nothing.
      assume_a: "pos" promises a positive definite matrix, which is then solved by Cholesky
        factors; "gen", "sym" and "her" are solved by LU factors.

    >>> solve(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0]))
    Array([1. , 0.5], dtype=float64)
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ValueError(f"assume_a must be 'gen', 'sym', 'her' or 'pos', got {assume_a!r}.")
    if assume_a != "pos":
        return linalg.solve(a, b)
    return cho_solve(cho_factor(a, lower), b)


def _transposition(trans: int | str) -> tuple[bool, bool]:
    """Whether to transpose, whether to conjugate."""
    options = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}
    if trans not in options:
        raise ValueError(f"trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}.")
    return options[trans] > 0, options[trans] == 2


def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    debug: Any = None,
    check_finite: bool = True,
) -> Value:
    """The solution x of `a @ x = b` for a triangular matrix.

    Args:
      a: a triangular matrix or a stack of such; the other triangle is not read.
      b: a vector, or right-hand sides as columns; stacks broadcast.
      trans: 1 or "T": the system of the transposed matrix; 2 or "C": of the adjoint.
      lower: whether `a` is lower triangular.
      unit_diagonal: take the diagonal for ones, without reading it.
      overwrite_b, debug, check_finite: change nothing.

    >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([2.0, 5.0]), lower=True)
    Array([1., 1.], dtype=float64)
    """
    transposed, conjugated = _transposition(trans)
    a, b = promote_inexact(a, b)
    a, b, vector = _right_hand_side(
        "solve_triangular", _matrices("solve_triangular", a, True), b
    )
    out = primitives.triangular_solve(
        a,
        b,
        left_side=True,
        lower=bool(lower),
        transpose_a=transposed,
        conjugate_a=conjugated,
        unit_diagonal=bool(unit_diagonal),
    )
    return _solution(out, vector)


# -- Cholesky ----------------------------------------------------------------------------------


def cholesky(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Value:
    """The Cholesky factor of a positive definite matrix: upper by default, else lower.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 1.],
           [0., 2.]], dtype=float64)
    """
    a = _matrices("cholesky", a, square=True)
    factor = primitives.cholesky(a if lower else adjoint(a))
    return factor if lower else adjoint(factor)


def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Value, bool]:
    """The Cholesky factor in the form that `cho_solve` takes: the factor, and `lower`.

    >>> cho_factor(np.array([[4.0]]))
    (Array([[2.]], dtype=float64), False)
    """
    return cholesky(a, lower), bool(lower)


def cho_solve(
    c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Value:
    """The solution x of `a @ x = b`, from what `cho_factor(a)` returned.

    >>> cho_solve(cho_factor(np.array([[4.0]])), np.array([8.0]))
    Array([2.], dtype=float64)
    """
    factor, lower = c_and_lower
    first, second = (0, 2) if lower else (2, 0)
    half = solve_triangular(factor, b, trans=first, lower=lower)
    return solve_triangular(factor, half, trans=second, lower=lower)


# -- LU ----------------------------------------------------------------------------------------


def lu_factor(
    a: Any, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Value, Value]:
    """Packed LU factors and LAPACK's row exchanges, in the form that `lu_solve` takes.

    >>> lu_factor(np.array([[1.0, 2.0], [2.0, 2.0]]))[1]
    Array([1, 1], dtype=int32)
    """
    factors, pivots, _ = primitives.lu(_matrices("lu_factor", a))
    return factors, pivots


def lu_solve(
    lu_and_piv: tuple[Any, Any],
    b: Any,
    trans: int = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Value:
    """The solution x of `a @ x = b`, from what `lu_factor(a)` returned.

    Args:
      lu_and_piv: packed factors and row exchanges.
      b: a vector, or right-hand sides as columns; stacks broadcast.
      trans: 1 for the system of the transposed matrix, 2 for that of the adjoint.
      overwrite_b, check_finite: change nothing.

    >>> lu_solve(lu_factor(np.array([[0.0, 2.0], [4.0, 0.0]])), np.array([2.0, 4.0]))
    Array([1., 1.], dtype=float64)
    """
    factors, pivots = lu_and_piv
    factors, b = promote_inexact(factors, b)
    factors, b, vector = _right_hand_side(
        "lu_solve", _matrices("lu_solve", factors, square=True), b
    )
    n = factors.shape[-1]
    order = primitives.pivots_to_permutation(as_array(pivots), permutation_size=n)
    order = broadcast_to(order, (*factors.shape[:-2], n))
    transposed, _ = _transposition(trans)
    lower: dict[str, Any] = {"lower": True, "unit_diagonal": True, "trans": trans}
    if transposed:
        half = solve_triangular(factors, b, trans=trans)
        out = solve_triangular(factors, half, **lower)
        out = primitives.permute_rows(out, argsort(order, axis=-1))
    else:
        half = solve_triangular(factors, primitives.permute_rows(b, order), **lower)
        out = solve_triangular(factors, half)
    return _solution(out, vector)


def lu(
    a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Value, ...]:
    """The LU factorisation `a == P @ L @ U`.

    Args:
      a: a matrix or a stack of matrices.
      permute_l: return (P @ L, U) instead of (P, L, U).
      overwrite_a, check_finite: change nothing.

    >>> p, l, u = lu(np.array([[1.0, 2.0], [2.0, 2.0]]))
    >>> u
    Array([[2., 2.],
           [0., 1.]], dtype=float64)
    """
    a = _matrices("lu", a)
    factors, _, order = primitives.lu(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    starts = (0,) * len(a.shape)
    left = slice_(factors, start_indices=starts, limit_indices=(*a.shape[:-1], k))
    right = slice_(factors, start_indices=starts, limit_indices=(*a.shape[:-2], k, n))
    lower = add(lower_part(left, 0.0), Array(np.eye(m, k, dtype=a.dtype)))
    upper = upper_part(right)
    rows = iota(dtype=dtypes.INT32, shape=(*a.shape[:-2], m, 1), dimension=len(a.shape) - 2)
    moved = eq(rows, reshape(order, shape=(*order.shape[:-1], 1, m)))
    permutation = to_dtype(moved, dtypes.real_dtype(a.dtype))
    if permute_l:
        return matmul(to_dtype(permutation, a.dtype), lower), upper
    return permutation, lower, upper


# -- QR, singular values, eigenvalues ----------------------------------------------------------


def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Value, ...]:
    """The QR factorisation.

    Args:
      a: a matrix or a stack of matrices.
      overwrite_a, lwork, check_finite: change nothing.
      mode: "full" (square Q), "economic", or "r" for R alone, in a tuple.
      pivoting: not supported.

    >>> [x.shape for x in qr(np.ones((3, 2)), mode="economic")]
    [(3, 2), (2, 2)]
    """
    if pivoting:
        raise ValueError("qr has no pivoting here: call it with pivoting=False.")
    if mode not in ("full", "economic", "r"):
        raise ValueError(f"mode of qr must be 'full', 'economic' or 'r', got {mode!r}.")
    q, r = primitives.qr(_matrices("qr", a), full_matrices=mode != "economic")
    return (r,) if mode == "r" else (q, r)


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """The singular value decomposition (U, s, Vh), or s alone without `compute_uv`.

    Args:
      a: a matrix or a stack of matrices.
      full_matrices: whether U and Vh are square.
      compute_uv: whether to return U and Vh.
      overwrite_a, check_finite, lapack_driver: change nothing.

    >>> svd(np.array([[3.0, 0.0], [0.0, 4.0]]), compute_uv=False)
    Array([4., 3.], dtype=float64)
    """
    out = linalg.svd(a, full_matrices, compute_uv)
    return tuple(out) if compute_uv else out


def eigh(
    a: Any,
    b: Any = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,
    check_finite: bool = True,
) -> Any:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices.

    Args:
      a: a Hermitian matrix or a stack of such, read from one triangle.
      b: a positive definite matrix: the problem is then `a @ v == w * b @ v`.
      lower: which triangle of `a` and `b` is read.
      eigvals_only: return the eigenvalues alone.
      overwrite_a, overwrite_b, turbo, check_finite: change nothing.
      eigvals: not supported.
      type: 1, the only kind of generalised problem here.

    >>> eigh(np.array([[2.0, 0.0], [0.0, 1.0]]), eigvals_only=True)
    Array([1., 2.], dtype=float64)
    """
    if eigvals is not None or type != 1:
        raise ValueError("eigh computes all eigenvalues of problems of type 1.")
    if b is None:
        out = spectral.eigh(
            _matrices("eigh", a, square=True), lower=bool(lower), vectors=not eigvals_only
        )
        return out[0] if eigvals_only else tuple(out)
    a, b = promote_inexact(a, b)
    factor = cholesky(b, lower=lower)  # b = L Lᴴ; eigenvalues are those of inv(L) a inv(Lᴴ)
    factor = factor if lower else adjoint(factor)
    half = solve_triangular(factor, hermitian(a, bool(lower)), lower=True)
    reduced = solve_triangular(factor, adjoint(half), lower=True)
    out = spectral.eigh(hermitian_part(reduced), lower=True, vectors=not eigvals_only)
    if eigvals_only:
        return out[0]
    return out[0], solve_triangular(factor, out[1], trans="C", lower=True)


# -- functions of matrices ---------------------------------------------------------------------


def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Value:
    """The exponential of a square matrix or a stack of such.

    Args:
      A: the matrix.
      upper_triangular: promises a triangular matrix; changes nothing.
      max_squarings: changes nothing: as many are taken as the matrix needs.

    >>> expm(np.zeros((2, 2)))
    Array([[1., 0.],
           [0., 1.]], dtype=float64)
    """
    return matrix_functions.expm(_matrices("expm", A, square=True))


def expm_frechet(
    A: Any, E: Any, *, method: str | None = None, compute_expm: bool = True
) -> Any:
    """The exponential of a matrix, and its derivative along another.

    Args:
      A: where.
      E: the direction.
      method: changes nothing.
      compute_expm: return `(expm(A), derivative)` rather than the derivative alone.

    >>> expm_frechet(np.zeros((1, 1)), np.ones((1, 1)))
    (Array([[1.]], dtype=float64), Array([[1.]], dtype=float64))
    """
    a, e = promote_inexact(A, E)
    a, e = same_stack(
        "expm_frechet", _matrices("expm_frechet", a, True), _matrices("expm_frechet", e, True)
    )
    derivative = matrix_functions.expm_tangent(a, e)
    return (matrix_functions.expm(a), derivative) if compute_expm else derivative


def sqrtm(A: Any, blocksize: int = 1) -> Value:
    """The principal square root of a square matrix or a stack of such, complex.

    Args:
      A: the matrix; its derivative needs eigenvalues of the root that do not sum to zero.
      blocksize: changes nothing.

    >>> sqrtm(np.array([[4.0, 0.0], [0.0, 9.0]]))
    Array([[2.+0.j, 0.+0.j],
           [0.+0.j, 3.+0.j]], dtype=complex128)
    """
    a = _matrices("sqrtm", A, square=True)
    return matrix_functions.sqrtm(to_dtype(a, dtypes.complex_dtype(a.dtype)))


def solve_sylvester(
    A: Any, B: Any, C: Any, *, method: str = "schur", tol: float = 1e-8
) -> Value:
    """The solution X of Sylvester's equation `A @ X + X @ B == C`.

    Args:
      A, B: square matrices, whose eigenvalues must not cancel each other.
      C: the right-hand side.
      method, tol: change nothing.

    >>> solve_sylvester(np.array([[1.0]]), np.array([[3.0]]), np.array([[8.0]]))
    Array([[2.]], dtype=float64)
    """
    a, b, c = (_matrices("solve_sylvester", x) for x in promote_inexact(A, B, C))
    return matrix_functions.sylvester(a, b, c)


def block_diag(*arrs: Any) -> Value:
    """The matrix with the given ones along its diagonal and zeros elsewhere.

    >>> block_diag(np.ones((1, 2)), np.array([[2.0]]))
    Array([[1., 1., 0.],
           [0., 0., 2.]], dtype=float64)
    """
    blocks = promote(*arrs) if arrs else [as_array(np.zeros((1, 0), np.float32))]
    if any(len(x.shape) > 2 for x in blocks):
        raise errors.ShapeError(
            f"block_diag takes matrices, got shapes {[x.shape for x in blocks]}."
        )
    blocks = [reshape(x, shape=(1,) * (2 - len(x.shape)) + x.shape) for x in blocks]
    zero = filled(ArrayType((), blocks[0].dtype), 0)
    total = sum(x.shape[1] for x in blocks)
    rows, start = [], 0
    for x in blocks:
        after = total - start - x.shape[1]
        rows.append(pad(x, zero, padding_config=((0, 0, 0), (start, after, 0))))
        start += x.shape[1]
    return concatenate(*rows, dimension=0)
