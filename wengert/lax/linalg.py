"""Matrix factorisations and triangular systems, on stacks of matrices, by LAPACK.

The order of results is that of `jax.lax.linalg` (`eigh` gives the vectors first), in contrast
to `wengert.numpy.linalg`, which follows NumPy. Operands are floating or complex.
"""

from __future__ import annotations

from typing import Any

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import as_array
from wengert.core.primitive import Value
from wengert.lax.operands import same
from wengert.primitives import linalg, spectral
from wengert.primitives.basis import add, mul
from wengert.primitives.matrices import adjoint


def _matrices(name: str, x: Any, square: bool = False) -> Value:
    x = as_array(x)
    if not dtypes.is_inexact(x.dtype):
        raise errors.DTypeError(f"lax.linalg.{name} takes floating matrices, got {x.dtype}.")
    if len(x.shape) < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise errors.ShapeError(f"lax.linalg.{name} takes {kind}, got shape {x.shape}.")
    return x


def symmetrize(x: Any) -> Value:
    """The mean of matrices and their conjugate transposes.

    >>> import numpy as np
    >>> symmetrize(np.array([[1.0, 4.0], [2.0, 3.0]]))
    Array([[1., 3.],
           [3., 3.]], dtype=float64)
    """
    x = _matrices("symmetrize", x, square=True)
    return mul(add(x, adjoint(x)), 0.5)


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Value:
    """The lower triangular L with L Lᴴ = x.

    Args:
      x: positive definite matrices.
      symmetrize_input: take the mean of `x` and its conjugate transpose, so that derivatives
        are symmetric; otherwise only the lower triangle is read.

    Raises:
      numpy.linalg.LinAlgError: when a matrix is not positive definite.

    >>> import numpy as np
    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float64)
    """
    x = _matrices("cholesky", x, square=True)
    return linalg.cholesky(symmetrize(x) if symmetrize_input else x)


def eigh(
    x: Any,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
) -> tuple[Value, Value]:
    """Eigenvectors (as columns) and eigenvalues of Hermitian matrices, ascending.

    Args:
      x: Hermitian matrices.
      lower: which triangle is read.
      symmetrize_input: take the mean of `x` and its conjugate transpose first.
      sort_eigenvalues: accepted; they are always sorted.

    >>> import numpy as np
    >>> eigh(np.array([[2.0, 0.0], [0.0, 1.0]]))[1]
    Array([1., 2.], dtype=float64)
    """
    x = _matrices("eigh", x, square=True)
    x = symmetrize(x) if symmetrize_input else x
    values, vectors = spectral.eigh(x, lower=bool(lower), vectors=True)
    return vectors, values


def eig(
    x: Any,
    *,
    compute_left_eigenvectors: bool = True,
    compute_right_eigenvectors: bool = True,
) -> list[Value]:
    """Eigenvalues, and left and right eigenvectors, of general matrices.

    Args:
      x: square matrices.
      compute_left_eigenvectors: whether the result has them; column i is conjugate to a row.
      compute_right_eigenvectors: whether the result has them, as columns.

    Returns:
      the list of eigenvalues, left and right eigenvectors, as far as they are asked for.

    >>> import numpy as np
    >>> values, _ = eig(np.array([[0.0, 1.0], [1.0, 0.0]]), compute_left_eigenvectors=False)
    >>> np.sort(np.asarray(values).real)
    array([-1.,  1.])
    """
    x = _matrices("eig", x, square=True)
    if compute_left_eigenvectors:
        raise ValueError(
            "lax.linalg.eig computes right eigenvectors: say compute_left_eigenvectors=False, "
            "and take those of the conjugate transpose for left ones."
        )
    return [*spectral.eig(x, vectors=bool(compute_right_eigenvectors))]


def lu(x: Any) -> tuple[Value, Value, Value]:
    """The LU factorisation with row exchanges: packed factors, pivots, permutation of the rows.

    >>> import numpy as np
    >>> lu(np.array([[1.0, 2.0], [4.0, 4.0]]))[0]
    Array([[4.  , 4.  ],
           [0.25, 1.  ]], dtype=float64)
    """
    factors, pivots, permutation = linalg.lu(_matrices("lu", x))
    return factors, pivots, permutation


def qr(x: Any, *, full_matrices: bool = True) -> tuple[Value, Value]:
    """The QR factorisation: orthonormal columns times an upper triangle.

    Args:
      x: matrices.
      full_matrices: whether Q is square. Then tall matrices have no derivative.

    >>> import numpy as np
    >>> q, r = qr(np.array([[3.0], [4.0]]), full_matrices=False)
    >>> np.abs(np.asarray(r))
    array([[5.]])
    """
    q, r = linalg.qr(_matrices("qr", x), full_matrices=bool(full_matrices))
    return q, r


def svd(x: Any, *, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """The singular value decomposition (U, s, Vᴴ), or the singular values alone.

    Args:
      x: matrices.
      full_matrices: whether U and Vᴴ are square. Then only square matrices have a derivative.
      compute_uv: whether the vectors are computed.

    >>> import numpy as np
    >>> svd(np.array([[3.0, 0.0], [0.0, 4.0]]), compute_uv=False)
    Array([4., 3.], dtype=float64)
    """
    x = _matrices("svd", x)
    out = spectral.svd(x, full_matrices=bool(full_matrices), compute_uv=bool(compute_uv))
    return tuple(out) if compute_uv else out[0]


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Value:
    """X with op(a) X = b or X op(a) = b, for triangular matrices.

    Args:
      a: square matrices; the other triangle is not read.
      b: matrices with the same leading dimensions and dtype.
      left_side: whether `a` stands on the left of X.
      lower: which triangle is read.
      transpose_a: whether op transposes.
      conjugate_a: whether op conjugates.
      unit_diagonal: take the diagonal for ones.

    Raises:
      numpy.linalg.LinAlgError: when a diagonal element is zero.

    >>> import numpy as np
    >>> a, b = np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[4.0], [3.0]])
    >>> triangular_solve(a, b, left_side=True, lower=True)
    Array([[2.],
           [1.]], dtype=float64)
    """
    a, b = same("linalg.triangular_solve", a, b)
    a, b = _matrices("triangular_solve", a, square=True), _matrices("triangular_solve", b)
    side = b.shape[-2] if left_side else b.shape[-1]
    if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != side:
        raise errors.ShapeError(
            f"triangular_solve of matrices of shape {a.shape} with right-hand sides of shape "
            f"{b.shape}: the leading dimensions must be equal, and the sizes on the side where "
            "the matrix stands."
        )
    return linalg.triangular_solve(
        a,
        b,
        left_side=bool(left_side),
        lower=bool(lower),
        transpose_a=bool(transpose_a),
        conjugate_a=bool(conjugate_a),
        unit_diagonal=bool(unit_diagonal),
    )
