"""Convolutions as contractions of strided memory.

The input is padded and spread (dilated) into a copy where that is needed; after that every
window is a set of strides, and the convolution is a `Contraction` of the input with the kernel:
no matrix of windows is laid out. `contraction.choose` finds what becomes the vector. For images
stored by channels these are neighbouring positions, or neighbouring taps where there are more
taps than positions (in derivatives with respect to kernels). Where nothing adjacent is long
enough, the kernel is copied so that its output features are, and the result is copied back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.core import dtypes
from wengert.core.array import Shape
from wengert.core.dtypes import DType
from wengert.core.program import Equation
from wengert.engines.native.code import Buffer, Code
from wengert.engines.native.library.blas import emit_products
from wengert.engines.native.library.common import (
    FLOAT32,
    convert,
    dense_strides,
    full_lanes,
    is_narrow,
)
from wengert.engines.native.library.contraction import Contraction, Dim, choose
from wengert.engines.native.library.layout import Loop, Matrices
from wengert.engines.native.library.tiles import Pointers, emit_contraction
from wengert.engines.native.library.transposed import copy_between, copy_strided

#: Blocks that the padded copy is made in.
_BLOCKS = 8
#: Elements from which it is made on several threads.
_LARGE = 1 << 16
#: Products below which BLAS is not called, and the least sizes of matrices for it.
_SMALL = 1 << 18
_WORTHWHILE = 16
#: Bytes after which addresses compete for the same places in a cache.
_CACHE_PERIOD = 4096


class Layout(NamedTuple):
    """Strides of an array by role: of its two first dimensions, and of the spatial ones."""

    first: int
    second: int
    space: tuple[int, ...]


def _layout(shape: Sequence[int], spec: Sequence[int]) -> Layout:
    strides = dense_strides(shape)
    first, second, *space = (strides[i] for i in spec)
    return Layout(first, second, tuple(space))


def _work_dtype(equation: Equation) -> DType:
    dtype: DType = equation.inputs[0].type.dtype
    work = np.promote_types(dtype, equation.outputs[0].type.dtype)
    return FLOAT32 if is_narrow(work) else work


def _supports(equation: Equation) -> bool:
    result = equation.outputs[0].type.dtype
    work = _work_dtype(equation)
    if dtypes.is_complex(work) or dtypes.kind(work) == "b":
        return False
    return dtypes.is_inexact(result) or not dtypes.is_inexact(work)


def padded_shape(equation: Equation) -> Shape:
    """The shape of the input once its space is dilated and padded."""
    params, shape = equation.params, list(equation.inputs[0].type.shape)
    for axis, d, (low, high) in zip(
        params["dimension_numbers"].lhs_spec[2:],
        params["lhs_dilation"],
        params["padding"],
        strict=True,
    ):
        extent = (shape[axis] - 1) * d + 1 if shape[axis] else 0
        shape[axis] = max(extent + low + high, 0)
    if any(n > 1 for n in params["window_strides"]) or 0 in shape:
        return tuple(shape)
    return _staggered(tuple(shape), equation)


def _staggered(shape: Shape, equation: Equation) -> Shape:
    """The shape with longer rows, where channels would lie at the same places of a cache."""
    lhs_spec, rhs_spec, _ = equation.params["dimension_numbers"]
    feature, last = lhs_spec[1], len(shape) - 1
    kernel = equation.inputs[1].type.shape
    if last not in lhs_spec[2:] or feature > min(lhs_spec[2:]) or shape[feature] < _WORTHWHILE:
        return shape
    if all(kernel[axis] == 1 for axis in rhs_spec[2:]):
        return shape
    nbytes = equation.inputs[0].type.dtype.itemsize
    longer = list(shape)
    while (math.prod(longer[feature + 1 :]) * nbytes + 128) % _CACHE_PERIOD < 256:
        longer[last] += 4
    return tuple(longer)


def contraction_of(equation: Equation, padded: Shape) -> Contraction:
    """The contraction of the padded input (left) and the kernel (right)."""
    params = equation.params
    _, rhs_spec, out_spec = params["dimension_numbers"]
    kernel, out = equation.inputs[1].type.shape, equation.outputs[0].type.shape
    x, k, y = (
        _layout(shape, spec)
        for shape, spec in zip((padded, kernel, out), params["dimension_numbers"], strict=True)
    )
    groups = params.get("feature_group_count", 1)
    batches = params.get("batch_group_count", 1)
    outputs = kernel[rhs_spec[0]] // (groups * batches)
    inputs, examples = kernel[rhs_spec[1]], out[out_spec[0]]
    step = inputs * x.second if groups > 1 else examples * x.first
    group = Dim(groups * batches, step, outputs * k.first, outputs * y.second)
    positions = [
        Dim(out[axis], stride * step, 0, to)
        for axis, stride, step, to in zip(
            out_spec[2:], x.space, params["window_strides"], y.space, strict=True
        )
    ]
    taps = [
        Dim(kernel[axis], stride * step, own, 0)
        for axis, stride, step, own in zip(
            rhs_spec[2:], x.space, params["rhs_dilation"], k.space, strict=True
        )
    ]
    return Contraction(
        (group,),
        (Dim(examples, x.first, 0, y.first), *positions),
        (Dim(outputs, 0, k.first, y.second),),
        (Dim(inputs, x.second, k.second, 0), *taps),
    ).simplified()


def emit_convolution(
    code: Code, equation: Equation, operands: list[Buffer], results: list[Buffer]
) -> None:
    """Append a convolution."""
    (result,) = results
    size, dtype = result.type.size, result.type.dtype
    padded = padded_shape(equation)
    if size == 0:
        return
    if 0 in padded or operands[1].type.size == 0:
        code.fill_zero(result.pointer, size * dtype.itemsize)
        return
    work = _work_dtype(equation)
    x, k = (_converted(code, operand, work) for operand in operands)
    out = result.pointer if dtype == work else code.scratch(size * work.itemsize)
    x = _padded(code, equation, x, padded, work)
    _emit(code, contraction_of(equation, padded), Pointers(x, k, out), work)
    if dtype != work:
        convert(code, out, work, result.pointer, dtype, size)


def _converted(code: Code, operand: Buffer, work: DType) -> Any:
    if operand.type.dtype == work:
        return operand.pointer
    target = code.scratch(operand.type.size * work.itemsize)
    convert(code, operand.pointer, operand.type.dtype, target, work, operand.type.size)
    return target


def _emit(code: Code, contraction: Contraction, pointers: Pointers, dtype: DType) -> None:
    matrices = as_matrices(contraction)
    if matrices is not None and dtypes.is_inexact(dtype) and contraction.products >= _SMALL:
        loops = [
            Loop(d.size, d.right, d.left, d.out)
            for d in (*contraction.shared, *contraction.left[:-1])
        ]
        operands = pointers.right, pointers.left, pointers.out
        emit_products(code, loops, matrices, operands, dtype)
        return
    lanes = full_lanes(code, dtype)
    choice = choose(contraction, lanes)
    packed, packed_size = _packed(contraction)
    other = choose(packed, lanes)
    copies = packed_size + contraction.outputs
    if other is None or (choice is not None and choice.cost <= other.cost + copies / 4):
        assert choice is not None
        emit_contraction(code, contraction, choice, pointers, dtype)
        return
    kernel = code.scratch(packed_size * dtype.itemsize)
    order = (*contraction.shared, *contraction.summed, *contraction.right)
    copy_strided(code, pointers.right, kernel, [(d.size, d.right) for d in order], dtype)
    out = code.scratch(contraction.outputs * dtype.itemsize)
    emit_contraction(code, packed, other, Pointers(pointers.left, kernel, out), dtype)
    back = zip(_all(contraction), _all(packed), strict=True)
    dims = sorted(((own.size, there.out, own.out) for own, there in back), key=lambda d: -d[2])
    copy_between(code, out, pointers.out, dims, dtype)


def as_matrices(contraction: Contraction) -> Matrices | None:
    """The product of kernel and input, where windows of one element make it one of matrices."""
    right, summed = contraction.right, contraction.summed
    if not (contraction.left and len(right) == len(summed) == 1):
        return None
    columns, rows, inner = contraction.left[-1], right[0], summed[0]
    fits = columns.left == columns.out == inner.right == 1
    if not fits or min(columns.size, rows.size, inner.size) < _WORTHWHILE:
        return None
    return Matrices(rows.size, columns.size, inner.size, rows.right, 1, inner.left, 1, rows.out)


def _all(contraction: Contraction) -> tuple[Dim, ...]:
    return (*contraction.shared, *contraction.left, *contraction.right)


def _packed(contraction: Contraction) -> tuple[Contraction, int]:
    """The contraction with the kernel's outputs innermost, in kernel and result.

    Returns also the size of such a kernel.
    """
    shared, left, right, summed = contraction
    sizes = [d.size for d in (*shared, *summed, *right)]
    own = dense_strides(sizes)
    out = dense_strides([d.size for d in (*shared, *left, *right)])
    first, last = len(shared), len(shared) + len(summed)
    rows = len(shared) + len(left)
    return (
        Contraction(
            _with(shared, own[:first], out[:first]),
            tuple(d._replace(out=s) for d, s in zip(left, out[first:rows], strict=True)),
            _with(right, own[last:], out[rows:]),
            tuple(d._replace(right=s) for d, s in zip(summed, own[first:last], strict=True)),
        ),
        math.prod(sizes),
    )


def _with(dims: Sequence[Dim], right: Sequence[int], out: Sequence[int]) -> tuple[Dim, ...]:
    return tuple(d._replace(right=r, out=o) for d, r, o in zip(dims, right, out, strict=True))


def _padded(code: Code, equation: Equation, x: Any, padded: Shape, dtype: DType) -> Any:
    """The input with its space dilated and padded by zeros: itself, or a copy."""
    params, shape = equation.params, equation.inputs[0].type.shape
    space = params["dimension_numbers"].lhs_spec[2:]
    if padded == shape and all(low == 0 for low, _ in params["padding"]):
        return x
    dims = [
        (size, source, target)
        for size, source, target in zip(
            shape, dense_strides(shape), dense_strides(padded), strict=True
        )
    ]
    skipped = moved = 0
    for axis, d, (low, _) in zip(space, params["lhs_dilation"], params["padding"], strict=True):
        size, source, target = dims[axis]
        first = -(low // d) if low < 0 else 0  # the first element that is not cut off
        last = min(size, (padded[axis] - 1 - low) // d + 1)
        dims[axis] = (max(last - first, 0), source, target * d)
        skipped += first * source
        moved += (low + first * d) * target
    out = code.scratch(math.prod(padded) * dtype.itemsize)
    _copy_padded(code, (x, skipped), (out, moved), dims, padded, dtype)
    return out


def _copy_padded(
    code: Code,
    source: tuple[Any, int],
    target: tuple[Any, int],
    dims: list[tuple[int, int, int]],
    padded: Shape,
    dtype: DType,
) -> None:
    """Zeros, and the input among them; in blocks along the first dimension."""
    nbytes, total = dtype.itemsize, math.prod(padded)
    blocks = math.gcd(dims[0][0], _BLOCKS) if dims[0][0] == padded[0] else 1
    part = total // blocks
    dims = [(dims[0][0] // blocks, *dims[0][1:]), *dims[1:]]

    def copy(code: Code, x: Any, out: Any) -> None:
        code.fill_zero(out, part * nbytes)
        copy_between(
            code,
            code.offset(x, source[1], nbytes),
            code.offset(out, target[1], nbytes),
            dims,
            dtype,
        )

    def body(code: Code, block: Any, captured: Sequence[Any]) -> None:
        x, out = captured
        step = dims[0][0] * dims[0][1]
        copy(code, code.offset(x, block, step * nbytes), code.offset(out, block, part * nbytes))

    if blocks > 1 and total >= _LARGE:
        code.parallel("padded", blocks, [source[0], target[0]], body)
    else:
        dims[0] = (dims[0][0] * blocks, *dims[0][1:])
        part = total
        copy(code, source[0], target[0])


OPERATIONS = {"conv_general_dilated": emit_convolution}
SUPPORTS = {"conv_general_dilated": _supports}
