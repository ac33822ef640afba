"""Linear algebra: systems, factorisations, spectra, norms, on stacks of matrices.

Operands are promoted to a common floating or complex dtype. Where a matrix is singular or not
positive definite, `numpy.linalg.LinAlgError` is raised, eagerly and in compiled programs
alike. Derivatives are those of the primitives (see `wengert.primitives.linalg`, `spectral` and
`matrix_functions`); what is not determined by the matrix, such as the sign of a singular
vector, has none that means anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, Shape, as_array
from wengert.core.dtypes import DTypeLike
from wengert.numpy import contract
from wengert.numpy.axes import axes_of
from wengert.numpy.contract import matmul as matmul
from wengert.numpy.contract import tensordot as tensordot
from wengert.numpy.contract import vecdot as vecdot
from wengert.numpy.diagonals import diagonal as _diagonal
from wengert.numpy.dtypes import finfo
from wengert.numpy.einstein import einsum
from wengert.numpy.layout import matrix_transpose as matrix_transpose
from wengert.numpy.norms import cond as cond
from wengert.numpy.norms import matrix_norm as matrix_norm
from wengert.numpy.norms import matrix_rank as matrix_rank
from wengert.numpy.norms import norm as norm
from wengert.numpy.norms import vector_norm as vector_norm
from wengert.numpy.promotion import (
    Value,
    promote_inexact,
    promote_inexact_unary,
    to_dtype,
)
from wengert.primitives import linalg as primitives
from wengert.primitives import matrix_functions, spectral
from wengert.primitives.basis import (
    broadcast_to,
    mul,
    reduce_sum,
    reshape,
    transpose,
)
from wengert.primitives.compare import gt
from wengert.primitives.elementwise import sub
from wengert.primitives.matrices import adjoint, hermitian_part, same_stack


class EigResult(NamedTuple):
    """Eigenvalues, and eigenvectors as columns."""

    eigenvalues: Value
    eigenvectors: Value


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: Value
    eigenvectors: Value


class QRResult(NamedTuple):
    """Orthonormal columns, and the upper triangular factor."""

    Q: Value
    R: Value


class SlogdetResult(NamedTuple):
    """Sign (or phase), and logarithm of the absolute value of the determinant."""

    sign: Value
    logabsdet: Value


class SVDResult(NamedTuple):
    """Left singular vectors as columns, singular values, right ones as conjugated rows."""

    U: Value
    S: Value
    Vh: Value


def _matrices(name: str, a: Any, square: bool = False) -> Value:
    """An operand that is a matrix or a stack of matrices, of floating or complex dtype."""
    a = promote_inexact_unary(a)
    if len(a.shape) < 2 or (square and a.shape[-1] != a.shape[-2]):
        kind = "square matrices" if square else "a matrix or a stack of matrices"
        raise errors.ShapeError(f"{name} needs {kind}, got an array of shape {a.shape}.")
    return a


# -- determinant, inverse, systems ----------------------------------------------------------


def det(a: Any) -> Value:
    """The determinant, with a right derivative at singular matrices too.

    >>> import wengert, wengert.numpy as wnp
    >>> wnp.linalg.det(wnp.array([[1.0, 2.0], [3.0, 5.0]]))
    Array(-1., dtype=float32)
    >>> wengert.grad(wnp.linalg.det)(wnp.array([[1.0, 0.0], [0.0, 0.0]]))
    Array([[0., 0.],
           [0., 1.]], dtype=float32)
    """
    return matrix_functions.det(_matrices("det", a, square=True))


def slogdet(a: Any, *, method: str | None = None) -> SlogdetResult:
    """Sign (or phase) and logarithm of the absolute value of the determinant.

    Args:
      a: a square matrix or a stack of such.
      method: "lu", "qr" or None; changes nothing, it is always LU.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.slogdet(wnp.array([[0.0, 1.0], [1.0, 0.0]])).sign
    Array(-1., dtype=float32)
    """
    if method not in (None, "lu", "qr"):
        raise ValueError(f"method of slogdet must be 'lu', 'qr' or None, got {method!r}.")
    return SlogdetResult(*matrix_functions.slogdet(_matrices("slogdet", a, square=True)))


def inv(a: Any) -> Value:
    """The inverse.

    Raises:
      LinAlgError: when a matrix is singular.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.inv(wnp.array([[2.0, 0.0], [0.0, 4.0]]))
    Array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """
    return matrix_functions.inv(_matrices("inv", a, square=True))


def solve(a: Any, b: Any) -> Value:
    """The solution x of `a @ x = b`.

    Args:
      a: a square matrix or a stack of such.
      b: a vector, or matrices of right-hand sides as columns; stacks broadcast.

    Raises:
      LinAlgError: when a matrix is singular.
      ShapeError: when the shapes do not fit.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.solve(wnp.array([[2.0, 0.0], [0.0, 4.0]]), wnp.array([2.0, 2.0]))
    Array([1. , 0.5], dtype=float32)
    """
    a, b = promote_inexact(a, b)
    a = _matrices("solve", a, square=True)
    n = a.shape[-1]
    if not b.shape or b.shape[max(len(b.shape) - 2, 0)] != n:
        raise errors.ShapeError(
            f"solve needs a right-hand side with {n} rows for a matrix of shape {a.shape}, got "
            f"shape {b.shape}. For a stack of vectors: solve(a, b[..., None])[..., 0]."
        )
    if len(b.shape) == 1:
        out = _solve_stacks(a, reshape(b, shape=(n, 1)))
        return reshape(out, shape=out.shape[:-1])
    return _solve_stacks(a, b)


def _solve_stacks(a: Value, b: Value) -> Value:
    if len(a.shape) == 2 and len(b.shape) > 2:
        # one matrix for a stack of right-hand sides: they become columns, a is factored once
        rank, n = len(b.shape), a.shape[-1]
        order = (rank - 2, *range(rank - 2), rank - 1)
        rows = transpose(b, permutation=order)
        out = primitives.solve(a, reshape(rows, shape=(n, math.prod(rows.shape[1:]))))
        back = (*range(1, rank - 1), 0, rank - 1)
        return transpose(reshape(out, shape=rows.shape), permutation=back)
    a, b = same_stack("solve", a, b)
    return primitives.solve(a, b)


def pinv(a: Any, rtol: Any = None, hermitian: bool = False, *, rcond: Any = None) -> Value:
    """The pseudo-inverse of Moore and Penrose.

    Args:
      a: a matrix or a stack of matrices.
      rtol: singular values up to `rtol` times the largest one count as zero; by default ten
        times the larger dimension times the precision of the dtype.
      hermitian: promises a Hermitian matrix; only its Hermitian part is used then.
      rcond: another name of `rtol`.

    Its derivative is right where the rank is constant.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.pinv(wnp.array([[2.0, 0.0], [0.0, 0.0]]))
    Array([[0.5, 0. ],
           [0. , 0. ]], dtype=float32)
    """
    if rtol is not None and rcond is not None:
        raise ValueError("pinv takes only one of rtol and rcond, which mean the same.")
    a = _matrices("pinv", a, square=hermitian)
    if hermitian:
        a = hermitian_part(a)
    bound = rtol if rcond is None else rcond
    if bound is None:
        bound = 10 * max(a.shape[-2:]) * float(finfo(a.dtype).eps)
    bound = to_dtype(as_array(bound), dtypes.real_dtype(a.dtype))
    return spectral.pinv(a, broadcast_to(bound, a.shape[:-2]))


def lstsq(
    a: Any, b: Any, rcond: float | None = None, *, numpy_resid: bool = False
) -> tuple[Value, Value, Value, Value]:
    """The least-squares solution of `a @ x = b`, of least norm where there are several.

    Args:
      a: a matrix with m rows and n columns.
      b: a vector with m elements, or a matrix with m rows.
      rcond: singular values up to `rcond` times the largest one count as zero; by default the
        larger dimension times the precision of the dtype.
      numpy_resid: return no residuals, as NumPy does, where the rank is below n or m <= n.

    Returns:
      the solution, the sums of squares of the residuals, the rank, the singular values.

    >>> import wengert.numpy as wnp
    >>> a = wnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> wnp.linalg.lstsq(a, wnp.array([1.0, 4.0, 3.0]))[0]
    Array([1., 2.], dtype=float32)
    """
    a, b = promote_inexact(a, b)
    if len(a.shape) != 2 or len(b.shape) not in (1, 2) or a.shape[0] != b.shape[0]:
        raise errors.ShapeError(
            f"lstsq needs a matrix and a right-hand side with as many rows, got {a.shape} and "
            f"{b.shape}."
        )
    m, n = a.shape
    if rcond is None:
        rcond = max(m, n) * float(finfo(a.dtype).eps)
    elif rcond < 0:
        rcond = float(finfo(a.dtype).eps)
    x = contract.matmul(pinv(a, rcond), b)
    (s,) = spectral.svd(a, full_matrices=False, compute_uv=False)
    bound = mul(norm(s, math.inf), rcond)
    rank = reduce_sum(to_dtype(gt(s, bound), dtypes.INT32), axes=(0,))
    if numpy_resid and (m <= n or rank < n):
        residuals = Array(np.zeros(0, s.dtype))
    else:
        difference = sub(b, contract.matmul(a, x))
        columns = reshape(difference, shape=(m, math.prod(b.shape[1:])))
        size = norm(columns, axis=0)
        residuals = mul(size, size)
    return x, residuals, rank, s


# -- factorisations ------------------------------------------------------------------------


def cholesky(a: Any, *, upper: bool = False, symmetrize_input: bool = True) -> Value:
    """The Cholesky factor L of a positive definite matrix: `L @ L.conj().T == a`.

    Args:
      a: a Hermitian positive definite matrix or a stack of such.
      upper: return the upper factor, the conjugate transpose of L.
      symmetrize_input: take the Hermitian part of `a` first, which makes gradients symmetric;
        else only the lower triangle is read.

    Raises:
      LinAlgError: when a matrix is not positive definite.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.cholesky(wnp.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float32)
    """
    a = _matrices("cholesky", a, square=True)
    if symmetrize_input:
        a = hermitian_part(a)
    elif upper:
        a = adjoint(a)
    factor = primitives.cholesky(a)
    return adjoint(factor) if upper else factor


def qr(a: Any, mode: str = "reduced") -> Any:
    """The QR factorisation.

    Args:
      a: a matrix or a stack of matrices.
      mode: "reduced"; "complete" for a square Q; "r" for R alone.

    >>> import wengert.numpy as wnp
    >>> q, r = wnp.linalg.qr(wnp.array([[3.0], [4.0]]))
    >>> wnp.abs(r)
    Array([[5.]], dtype=float32)
    """
    if mode not in ("reduced", "complete", "full", "r"):
        raise ValueError(f"mode of qr must be 'reduced', 'complete' or 'r', got {mode!r}.")
    a = _matrices("qr", a)
    q, r = primitives.qr(a, full_matrices=mode in ("complete", "full"))
    return r if mode == "r" else QRResult(q, r)


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: None = None,
) -> Any:
    """The singular value decomposition `a == (U * S) @ Vh`.

    Args:
      a: a matrix or a stack of matrices.
      full_matrices: whether U and Vh are square. There is a derivative then for square `a`
        only: the additional vectors are arbitrary.
      compute_uv: whether to return U and Vh; else the singular values alone.
      hermitian: promises a Hermitian matrix; changes nothing.
      subset_by_index: not supported.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.svd(wnp.array([[3.0, 0.0], [0.0, 4.0]])).S
    Array([4., 3.], dtype=float32)
    """
    if subset_by_index is not None:
        raise ValueError("svd computes all singular values: subset_by_index must be None.")
    a = _matrices("svd", a)
    if not compute_uv:
        return spectral.svd(a, full_matrices=False, compute_uv=False)[0]
    return SVDResult(*spectral.svd(a, full_matrices=bool(full_matrices), compute_uv=True))


def svdvals(x: Any, /) -> Value:
    """The singular values, in descending order.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.svdvals(wnp.array([[3.0, 0.0], [0.0, 4.0]]))
    Array([4., 3.], dtype=float32)
    """
    return svd(x, compute_uv=False)


def _hermitian(name: str, a: Any, UPLO: str | None, symmetrize_input: bool) -> Any:
    """A Hermitian operand, and whether its lower triangle is to be read."""
    if UPLO not in (None, "L", "U"):
        raise ValueError(f"UPLO must be None, 'L' or 'U', got {UPLO!r}.")
    a = _matrices(name, a, square=True)
    return hermitian_part(a) if symmetrize_input else a, UPLO != "U"


def eigh(a: Any, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices.

    Args:
      a: a Hermitian matrix or a stack of such.
      UPLO: "L" or "U": which triangle to read without `symmetrize_input`; "L" by default.
      symmetrize_input: take the Hermitian part of `a` first, which makes gradients symmetric.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.eigh(wnp.array([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    Array([1., 2.], dtype=float32)
    """
    a, lower = _hermitian("eigh", a, UPLO, symmetrize_input)
    return EighResult(*spectral.eigh(a, lower=lower, vectors=True))


def eigvalsh(a: Any, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Value:
    """The eigenvalues of Hermitian matrices, ascending; arguments as in `eigh`.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.eigvalsh(wnp.array([[2.0, 0.0], [0.0, 1.0]]))
    Array([1., 2.], dtype=float32)
    """
    a, lower = _hermitian("eigvalsh", a, UPLO, symmetrize_input)
    return spectral.eigh(a, lower=lower, vectors=False)[0]


def eig(a: Any) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices; both are complex.

    Each vector has norm 1, and its largest component is real. Both have derivatives where the
    eigenvalues are distinct.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.eig(wnp.array([[0.0, -1.0], [1.0, 0.0]])).eigenvalues
    Array([0.+1.j, 0.-1.j], dtype=complex64)
    """
    return EigResult(*spectral.eig(_matrices("eig", a, square=True), vectors=True))


def eigvals(a: Any) -> Value:
    """The eigenvalues of square matrices, complex.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.eigvals(wnp.array([[2.0, 1.0], [0.0, 3.0]]))
    Array([2.+0.j, 3.+0.j], dtype=complex64)
    """
    return spectral.eig(_matrices("eigvals", a, square=True), vectors=False)[0]


# -- products --------------------------------------------------------------------------------


def matrix_power(a: Any, n: int) -> Value:
    """A square matrix multiplied `n` times with itself; the inverse's power if `n` is negative.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.matrix_power(wnp.array([[1, 1], [0, 1]]), 5)
    Array([[1, 5],
           [0, 1]], dtype=int32)
    """
    a, n = as_array(a), n.__index__()
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise errors.ShapeError(f"matrix_power needs square matrices, got shape {a.shape}.")
    if n == 0:
        return broadcast_to(Array(np.eye(a.shape[-1], dtype=a.dtype)), a.shape)
    if n < 0:
        a, n = inv(a), -n
    power = None
    while n:  # by squaring
        if n & 1:
            power = a if power is None else contract.matmul(power, a)
        n >>= 1
        if n:
            a = contract.matmul(a, a)
    return power


def multi_dot(arrays: Sequence[Any], *, precision: Any = None) -> Value:
    """The product of several matrices, in the order that costs least.

    Args:
      arrays: at least two; matrices, and vectors as the first and the last one.
      precision: changes nothing: products are always taken in full precision.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.multi_dot([wnp.ones((10, 2)), wnp.ones((2, 10)), wnp.ones(10)]).shape
    (10,)
    """
    operands = [as_array(x) for x in arrays]
    ranks = [len(x.shape) for x in operands]
    if len(ranks) < 2 or not set(ranks[1:-1]) <= {2} or not {ranks[0], ranks[-1]} <= {1, 2}:
        raise errors.ShapeError(
            "multi_dot needs at least two arrays: matrices, and vectors as the first and the "
            f"last one; got shapes {[x.shape for x in operands]}."
        )
    terms = [[i, i + 1] for i in range(len(operands))]
    if ranks[0] == 1:
        del terms[0][0]
    if ranks[-1] == 1:
        del terms[-1][1]
    result = [i for i in (0, len(operands)) if sum(t.count(i) for t in terms) == 1]
    arguments = [part for pair in zip(operands, terms, strict=True) for part in pair]
    return einsum(*arguments, result)


def outer(x1: Any, x2: Any, /) -> Value:
    """All products of an element of one vector and an element of another.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.outer(wnp.array([1.0, 2.0]), wnp.array([3.0, 4.0])).shape
    (2, 2)
    """
    x1, x2 = as_array(x1), as_array(x2)
    if len(x1.shape) != 1 or len(x2.shape) != 1:
        raise errors.ShapeError(f"outer needs two vectors, got {x1.shape} and {x2.shape}.")
    return contract.outer(x1, x2)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Value:
    """The cross product of vectors with 3 components along an axis.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.cross(wnp.array([1.0, 0.0, 0.0]), wnp.array([0.0, 1.0, 0.0]))
    Array([0., 0., 1.], dtype=float32)
    """
    x1, x2 = as_array(x1), as_array(x2)
    for x in (x1, x2):
        (i,) = axes_of(axis, len(x.shape))
        if x.shape[i] != 3:
            raise errors.ShapeError(
                f"linalg.cross needs vectors with 3 components, got shapes {x1.shape} and "
                f"{x2.shape}, axis={axis}."
            )
    return contract.cross(x1, x2, axis=axis)


def trace(x: Any, /, *, offset: int = 0, dtype: DTypeLike = None) -> Value:
    """The sums along a diagonal of the matrices in the last two dimensions.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.trace(wnp.array([[1.0, 2.0], [3.0, 4.0]]))
    Array(5., dtype=float32)
    """
    return contract.trace(x, offset, -2, -1, dtype)


def diagonal(x: Any, /, *, offset: int = 0) -> Value:
    """The diagonals of the matrices in the last two dimensions.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.diagonal(wnp.array([[1.0, 2.0], [3.0, 4.0]]))
    Array([1., 4.], dtype=float32)
    """
    return _diagonal(x, offset, -2, -1)


# -- tensors ---------------------------------------------------------------------------------


def tensorinv(a: Any, ind: int = 2) -> Value:
    """The inverse of a tensor with respect to `tensordot(inverse, a, ind)`.

    Args:
      a: an array whose first `ind` dimensions have the same product as the others.
      ind: how many dimensions belong to the rows.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.tensorinv(wnp.eye(6).reshape(2, 3, 6)).shape
    (6, 2, 3)
    """
    a = promote_inexact_unary(a)
    if ind <= 0:
        raise ValueError(f"ind of tensorinv must be positive, got {ind}.")
    rows, columns = a.shape[:ind], a.shape[ind:]
    size = math.prod(rows)
    if size != math.prod(columns):
        raise errors.ShapeError(
            f"tensorinv needs as many rows as columns, but shape {a.shape} with ind={ind} has "
            f"{size} and {math.prod(columns)}."
        )
    return reshape(inv(reshape(a, shape=(size, size))), shape=(*columns, *rows))


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Value:
    """The solution x of `tensordot(a, x, x.ndim) = b`.

    Args:
      a: an array of the shape of `b` followed by that of x, which have one size.
      b: the right-hand side.
      axes: dimensions of `a` to move to its end first.

    >>> import wengert.numpy as wnp
    >>> wnp.linalg.tensorsolve(wnp.eye(6).reshape(2, 3, 6), wnp.ones((2, 3))).shape
    (6,)
    """
    a, b = promote_inexact(a, b)
    if axes is not None:
        moved = axes_of(axes, len(a.shape))
        kept = tuple(i for i in range(len(a.shape)) if i not in moved)
        a = transpose(a, permutation=(*kept, *moved))
    shape: Shape = a.shape[len(b.shape) :]
    size = math.prod(shape)
    if a.shape[: len(b.shape)] != b.shape or math.prod(b.shape) != size:
        raise errors.ShapeError(
            f"tensorsolve got shapes {a.shape} and {b.shape}: the first must begin with the "
            "second, and what follows must have the same size."
        )
    x = solve(reshape(a, shape=(size, size)), reshape(b, shape=(size,)))
    return reshape(x, shape=shape)
