"""What operations on stacks of matrices share: calls of LAPACK, memory, loops over the stack.

LAPACK counts columns first; `to_columns` and `to_rows` are transposed copies. An operation
works on one matrix at a time in memory of its own, so that small matrices of a stack are shared
among threads. Each leaves LAPACK's `info` behind; where one says that a matrix was refused, the
program fails after the loop, and the eager engine raises the error.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lazy import lazy_module
from wengert.core.program import Equation
from wengert.engines.native import symbols
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.blas_calls import Arguments, single_threaded
from wengert.engines.native.library.common import INT32, load, spread_rows, store
from wengert.engines.native.library.transposed import copy_matrix, copy_small_matrix

ir = lazy_module("llvmlite.ir")

LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}

#: Sizes of matrices up to which LAPACK keeps to one thread, and work that is worth splitting.
_SMALL = 64
#: Sizes of matrices up to which LAPACK gains less by threads than it waits for them.
_ALONE = 512
#: Elements of matrices that are copied one by one.
_FEW = 1 << 10
_MANY = 1 << 16
_BLOCKS = 8


class Lapack:
    """Calls of BLAS and LAPACK routines for one dtype."""

    def __init__(self, code: Code, dtype: DType) -> None:
        self.code, self.dtype = code, dtype
        self.by = Arguments(code, dtype)

    def __call__(self, routine: str, *args: Any, info: Any = None) -> None:
        """Call `family.routine`; letters and integers are passed by reference.

        Args:
          routine: `lapack.getrf`: the letter of the dtype is put before the name.
          args: strings, ints, pointers.
          info: where LAPACK's last argument goes, if it has one.
        """
        family, _, name = routine.partition(".")
        given = [self._argument(a) for a in args]
        if info is not None:
            given.append(info)
        largest = max((a for a in args if isinstance(a, int)), default=0)
        with single_threaded(self.code, needed=largest <= _ALONE):
            self.code.call(f"{family}.{LETTERS[self.dtype.name]}{name}", ir.VoidType(), given)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.by.letter(value)
        return self.by.integer(value) if isinstance(value, int) else value

    def number(self, number: float) -> Any:
        """A pointer to a number of the dtype."""
        return self.by.number(number)


@lru_cache(maxsize=4096)
def work_size(routine: str, dtype: DType, args: tuple[Any, ...], count: int = 1) -> list[int]:
    """The best sizes of LAPACK's work arrays, as it says itself.

    Args:
      args: those before the work arrays; None for arrays.
      count: the work arrays with sizes: real or complex; then integers, or real and integers.
    """
    name = f"lapack.{LETTERS[dtype.name]}{routine}"
    kinds = [dtype, INT32] if count == 2 else [dtype, dtypes.real_dtype(dtype), INT32]
    works = [np.zeros(2, kind) for kind in (kinds if count > 1 else [dtype])]
    query, info = ctypes.c_int(-1), ctypes.c_int(0)
    spare = np.zeros(64)
    keep: list[Any] = []

    def reference(value: Any) -> int:
        if value is None:
            return int(spare.ctypes.data)
        kept = ctypes.c_char(value.encode()) if isinstance(value, str) else ctypes.c_int(value)
        keep.append(kept)
        return ctypes.addressof(kept)

    pointers = [reference(a) for a in args]
    for work in works:
        pointers += [int(work.ctypes.data), ctypes.addressof(query)]
    if routine == "gesdd":  # its other work arrays have no sizes
        pointers += [int(spare.ctypes.data)] * (2 if dtypes.is_complex(dtype) else 1)
    elif routine == "geev" and dtypes.is_complex(dtype):
        pointers.append(int(spare.ctypes.data))
    pointers.append(ctypes.addressof(info))
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(pointers))
    function(symbols.address(name))(*pointers)
    return [max(int(work[0].real), 1) for work in works]


# -- memory ----------------------------------------------------------------------------------


def to_columns(
    code: Code, source: Any, target: Any, rows: int, columns: int, dtype: DType
) -> None:
    """A row-major matrix as a column-major one."""
    _transposed(code, source, target, (columns, rows), dtype)


def to_rows(
    code: Code, source: Any, target: Any, rows: int, columns: int, dtype: DType
) -> None:
    """A column-major matrix as a row-major one."""
    _transposed(code, source, target, (rows, columns), dtype)


def _transposed(
    code: Code, source: Any, target: Any, shape: tuple[int, int], dtype: DType
) -> None:
    small = shape[0] * shape[1] <= _FEW
    copy = copy_small_matrix if small else copy_matrix
    copy(code, source, target, shape, (1, shape[0]), dtype)


def parts(code: Code, memory: Any, sizes: Sequence[int]) -> list[Any]:
    """Pointers to pieces of so many bytes."""
    out, offset = [], 0
    for size in sizes:
        out.append(code.offset(memory, offset))
        offset += _rounded(size)
    return out


def _rounded(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


#: `body(code, operands, results, memory, info)` on the pointers of one matrix of each buffer.
Body = Callable[[Code, list[Any], list[Any], list[Any], Any], None]


def each_matrix(
    code: Code,
    operands: Sequence[Buffer],
    results: Sequence[Buffer],
    rank: int,
    sizes: Sequence[int],
    body: Body,
) -> None:
    """Append an operation on every matrix of a stack.

    Args:
      rank: of the stack's shape: leading dimensions of all buffers.
      sizes: bytes of the pieces of memory that the operation needs.
    """
    lead = operands[0].type.shape[:rank]
    count = int(np.prod(lead, dtype=np.int64))
    if count == 0:
        return
    size = operands[0].type.shape[-1]
    nbytes = sum(map(_rounded, sizes))
    many = count * size**3 >= _MANY and size <= _SMALL
    blocks = min(count, _BLOCKS) if many else 1
    memory, infos = code.scratch(nbytes * blocks), code.scratch(4 * count)
    chunk = -(-count // blocks)
    buffers = [*operands, *results]
    steps = [b.type.size // count * b.type.dtype.itemsize for b in buffers]

    def block(code: Code, given: Sequence[Any], number: Any) -> None:
        pieces = parts(code, code.offset(given[-1], number, nbytes), sizes)
        first = code.builder.mul(number, code.int64(chunk))
        last, end = code.builder.add(first, code.int64(chunk)), code.int64(count)
        last = code.builder.select(code.builder.icmp_signed("<", last, end), last, end)
        with code.loop(last, first) as i:
            pointers = [
                code.offset(p, i, step) for p, step in zip(given[:-2], steps, strict=True)
            ]
            info = code.offset(given[-2], i, 4)
            store(code, ir.Constant(ir.IntType(32), 0), info, INT32)
            ins, outs = pointers[: len(operands)], pointers[len(operands) :]
            body(code, ins, outs, pieces, info)

    captured = [*(b.pointer for b in buffers), infos, memory]
    spread_rows(code, "matrices", -(-count // chunk), captured, block, blocks > 1)
    _fail_where_refused(code, infos, count)


def _fail_where_refused(code: Code, infos: Any, count: int) -> None:
    with code.loop(count) as i:
        info = load(code, code.offset(infos, i, 4), INT32)
        refused = code.builder.icmp_signed("!=", info, ir.Constant(ir.IntType(32), 0))
        code.fail_if(refused, lambda: np.linalg.LinAlgError("LAPACK refused a matrix"))


def refuse(code: Code, info: Any) -> None:
    """Mark a matrix as refused."""
    store(code, ir.Constant(ir.IntType(32), 1), info, INT32)


def accept(code: Code, info: Any) -> None:
    """Let a matrix pass, whatever LAPACK said."""
    store(code, ir.Constant(ir.IntType(32), 0), info, INT32)


def set_triangle(
    code: Code, matrix: Any, rows: int, columns: int, upper: bool, dtype: DType
) -> None:
    """Set a row-major matrix to 0 strictly above (or strictly below) the diagonal."""
    builder, nbytes = code.builder, dtype.itemsize
    with code.loop(rows) as i:
        row = code.offset(matrix, i, columns * nbytes)
        width = code.int64(columns)
        inside = builder.select(builder.icmp_signed("<", i, width), i, width)
        if upper:
            first = builder.add(i, code.int64(1))
            first = builder.select(builder.icmp_signed("<", first, width), first, width)
            count = builder.sub(width, first)
            start = code.offset(row, first, nbytes)
        else:
            count, start = inside, row
        size = builder.mul(count, code.int64(nbytes))
        args = [start, code.int32(0), size]
        code.call("libc.memset", code.pointer_type, args)


def has_routines(equation: Equation) -> bool:
    """Whether LAPACK has the dtype of the first operand."""
    return equation.inputs[0].type.dtype.name in LETTERS


def is_real(equation: Equation) -> bool:
    """Whether LAPACK has the dtype, and it is real."""
    return has_routines(equation) and not dtypes.is_complex(equation.inputs[0].type.dtype)
