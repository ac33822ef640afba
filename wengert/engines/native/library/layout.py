"""How a contraction of dense arrays becomes matrix products: which strides, loops and copies.

In come the shapes and dimension numbers of `dot_general`; out comes a `Product`: a matrix
product `c[m, n] = sum over k of a[m, k] * b[k, n]` with strides, inside loops over the
dimensions that could not be merged into `m` or `n` (batch dimensions among them). An operand is
copied into another order only where its strides fit no matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from wengert.engines.native.library.common import dense_strides

Axes = tuple[int, ...]
DimensionNumbers = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]
#: (size, stride) of a dimension; strides count elements.
Dimension = tuple[int, int]

#: Free dimensions that cannot be merged become loops if the products inside are at least this.
_WORTHWHILE = 32


class Loop(NamedTuple):
    """A loop around the matrix product, and how far each array moves in a round."""

    size: int
    a: int
    b: int
    c: int


class Matrices(NamedTuple):
    """Sizes and strides of one matrix product; the columns of the result are adjacent.

    Attributes:
      m, n, k: rows, columns, and the contracted size.
      a_row, a_column: strides of the left matrix along m and k.
      b_row, b_column: strides of the right matrix along k and n.
      c_row: stride of the result along m.
    """

    m: int
    n: int
    k: int
    a_row: int
    a_column: int
    b_row: int
    b_column: int
    c_row: int


class Product(NamedTuple):
    """A contraction as matrix products.

    Attributes:
      loops: outermost first.
      matrices: the product inside.
      a_order, b_order: the order of dimensions that an operand must be copied to first.
    """

    loops: tuple[Loop, ...]
    matrices: Matrices
    a_order: Axes | None
    b_order: Axes | None


def merged(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Neighbouring dimensions as one wherever their strides allow; those of size 1 left out."""
    out: list[Dimension] = []
    for size, stride in dimensions:
        if size == 1:
            continue
        if out and out[-1][1] == size * stride:
            out[-1] = (out[-1][0] * size, stride)
        else:
            out.append((size, stride))
    return out


class _Operand:
    """An operand's dimensions by role, in the strides that it has or will be copied to."""

    def __init__(self, shape: Sequence[int], batch: Axes, free: Axes, contracted: Axes) -> None:
        self.shape = shape
        self.roles = (batch, free, contracted)
        strides = dense_strides(shape)
        self.batch, self.free, self.contracted = (
            [(shape[i], strides[i]) for i in axes] for axes in self.roles
        )
        self.order: Axes | None = None

    def copy(self, contracted_last: bool) -> None:
        """Lay the operand out anew: batch, then free and contracted, each as one dimension."""
        batch, free, contracted = self.roles
        tail = (*free, *contracted) if contracted_last else (*contracted, *free)
        self.order = (*batch, *tail)
        strides = dense_strides([self.shape[i] for i in self.order])
        places = dict(zip(self.order, strides, strict=True))
        self.batch, self.free, self.contracted = (
            [(self.shape[i], places[i]) for i in axes] for axes in self.roles
        )

    def is_matrix(self) -> bool:
        """Whether the inner free dimension and the contracted one make a matrix for BLAS."""
        free, contracted = merged(self.free), merged(self.contracted)
        if len(contracted) > 1:
            return False
        if len(free) > 1 and free[-1][0] < _WORTHWHILE:
            return False
        rows, row = free[-1] if free else (1, 0)
        columns, column = contracted[0] if contracted else (1, 0)
        if rows == 1 or columns == 1:
            return True
        return (column == 1 and row >= columns) or (row == 1 and column >= rows)


def _paired_order(lc: Axes, rc: Axes, by_right: bool) -> tuple[Axes, Axes]:
    pairs = sorted(zip(lc, rc, strict=True), key=lambda pair: pair[1 if by_right else 0])
    return tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)


def plan(
    lhs: Sequence[int], rhs: Sequence[int], numbers: DimensionNumbers, copy_right: bool = False
) -> Product:
    """The matrix products that make up a contraction of operands of these shapes.

    With `copy_right`, the right operand is copied in any case, its columns side by side.
    """
    (lc, rc), (lb, rb) = numbers
    options = []
    for by_right in (False, True):
        left_c, right_c = _paired_order(lc, rc, by_right)
        a = _Operand(lhs, lb, _free(len(lhs), lb, lc), left_c)
        b = _Operand(rhs, rb, _free(len(rhs), rb, rc), right_c)
        copied = 0
        for operand, contracted_last in ((a, True), (b, False)):
            if not operand.is_matrix() or (copy_right and operand is b):
                operand.copy(contracted_last)
                copied += math.prod(operand.shape)
        options.append((copied, a, b))
        if copied == 0 or len(lc) <= 1:
            break
    _, a, b = min(options, key=lambda option: option[0])
    return _product(a, b)


def _free(rank: int, *taken: Axes) -> Axes:
    used = set().union(*taken)
    return tuple(i for i in range(rank) if i not in used)


def _product(a: _Operand, b: _Operand) -> Product:
    a_free, b_free = merged(a.free), merged(b.free)
    shape = [size for size, _ in (*a.batch, *a_free, *b_free)]
    strides = dense_strides(shape)
    batch, rows = len(a.batch), len(a_free)
    loops = [
        Loop(size, sa, sb, sc)
        for (size, sa), (_, sb), sc in zip(a.batch, b.batch, strides[:batch], strict=True)
    ]
    loops += [
        Loop(size, sa, 0, sc)
        for (size, sa), sc in zip(a_free[:-1], strides[batch:], strict=False)
    ]
    loops += [
        Loop(size, 0, sb, sc)
        for (size, sb), sc in zip(b_free[:-1], strides[batch + rows :], strict=False)
    ]
    (m, a_row), (n, b_column) = (d[-1] if d else (1, 0) for d in (a_free, b_free))
    ((k, a_column),) = merged(a.contracted) or [(1, 0)]
    ((_, b_row),) = merged(b.contracted) or [(1, 0)]
    c_row = strides[batch + rows - 1] if a_free else n
    matrices = Matrices(m, n, k, a_row, a_column, b_row, b_column, c_row)
    return Product(_merged_loops(loops), matrices, a.order, b.order)


def _merged_loops(loops: Sequence[Loop]) -> tuple[Loop, ...]:
    """Loops that step through all three arrays evenly as one; those of one round left out."""
    out: list[Loop] = []
    for loop in loops:
        if loop.size == 1:
            continue
        if out and all(s == loop.size * t for s, t in zip(out[-1][1:], loop[1:], strict=True)):
            out[-1] = Loop(out[-1].size * loop.size, *loop[1:])
        else:
            out.append(loop)
    return tuple(out)
