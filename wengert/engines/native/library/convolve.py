"""Convolutions as contractions of strided memory.

The input is padded and spread (dilated) into a copy where that is needed; after that every
window is a set of strides, and the convolution is a `Contraction` of the input with the kernel:
no matrix of windows is laid out. `contraction.choose` finds what becomes the vector. For images
stored by channels these are neighbouring positions, or neighbouring taps where there are more
taps than positions (in derivatives with respect to kernels); there windows are laid out, a few
at a time, where sums are long (`columns`). Where nothing adjacent is long enough, the kernel is
copied so that its output features are, and the result is copied back.
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
from wengert.engines.native.library.columns import emit_rounds, rounds_of
from wengert.engines.native.library.common import (
    FLOAT32,
    convert,
    dense_strides,
    full_lanes,
    is_narrow,
)
from wengert.engines.native.library.contraction import Choice, Contraction, Dim, choose
from wengert.engines.native.library.layout import Loop, Matrices
from wengert.engines.native.library.tiles import Pointers, emit_contraction
from wengert.engines.native.library.transposed import (
    copy_between,
    copy_strided,
    spread_copy,
)

#: Blocks that the padded copy is made in.
_BLOCKS = 8
#: Images that are worth padding one by one.
_IMAGES = 4
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
    frame = Frame.of(equation, padded)
    contraction = contraction_of(equation, padded)
    choice = _by_images(code, frame, contraction, work)
    if choice is not None:
        if choice.kind == "left":
            contraction, k = _by_features(code, contraction, k, work)
        _emit_images(code, frame, contraction, choice, Pointers(x, k, out), work)
    else:
        if frame.needed:
            x = _padded(code, frame, x, work)
        _emit(code, contraction, Pointers(x, k, out), work)
    if dtype != work:
        convert(code, out, work, result.pointer, dtype, size)


def _by_features(
    code: Code, contraction: Contraction, kernel: Any, dtype: DType
) -> tuple[Contraction, Any]:
    """The kernel with all that is summed for an output feature side by side."""
    right, summed = contraction.right, contraction.summed
    own = dense_strides([d.size for d in (*right, *summed)])
    first, last = own[: len(right)], own[len(right) :]
    if [d.right for d in (*right, *summed)] == [*own]:
        return contraction, kernel
    copy = code.scratch(math.prod(d.size for d in (*right, *summed)) * dtype.itemsize)
    order = [(d.size, d.right) for d in (*right, *summed)]
    copy_strided(code, kernel, copy, order, dtype)
    return contraction._replace(
        right=tuple(d._replace(right=s) for d, s in zip(right, first, strict=True)),
        summed=tuple(d._replace(right=s) for d, s in zip(summed, last, strict=True)),
    ), copy


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
    choice = _as_it_lies(code, contraction, dtype)
    if choice is not None:
        rounds = rounds_of(contraction, dtype) if choice.kind == "summed" else None
        if rounds is not None:
            emit_rounds(code, contraction, rounds, pointers, dtype)
        else:
            emit_contraction(code, contraction, choice, pointers, dtype)
        return
    packed, packed_size = _packed(contraction)
    other = choose(packed, full_lanes(code, dtype))
    assert other is not None  # outputs are adjacent, in kernel and result
    kernel = code.scratch(packed_size * dtype.itemsize)
    order = (*contraction.shared, *contraction.summed, *contraction.right)
    copy_strided(code, pointers.right, kernel, [(d.size, d.right) for d in order], dtype)
    out = code.scratch(contraction.outputs * dtype.itemsize)
    emit_contraction(code, packed, other, Pointers(pointers.left, kernel, out), dtype)
    back = zip(_all(contraction), _all(packed), strict=True)
    dims = sorted(((own.size, there.out, own.out) for own, there in back), key=lambda d: -d[2])
    spread_copy(code, out, pointers.out, dims, dtype)


def _as_it_lies(code: Code, contraction: Contraction, dtype: DType) -> Choice | None:
    """What becomes the vector where that is better than copying the kernel."""
    lanes = full_lanes(code, dtype)
    choice = choose(contraction, lanes)
    packed, packed_size = _packed(contraction)
    other = choose(packed, lanes)
    copies = (packed_size + contraction.outputs) / 4
    if choice is None or (other is not None and choice.cost > other.cost + copies):
        return None
    return choice


def _by_images(
    code: Code, frame: Frame, contraction: Contraction, dtype: DType
) -> Choice | None:
    """The choice for a convolution whose images are padded one by one, or None.

    What is padded is then still in the cache when it is read.
    """
    if not frame.needed or frame.examples < _IMAGES or contraction.shared:
        return None
    left, rows = contraction.left, math.prod(frame.padded[1:])
    if not left or left[0].size != frame.examples or left[0].left != rows:
        return None
    choice = _as_it_lies(code, contraction, dtype)
    if choice is None or choice.kind == "summed" or (choice.kind, choice.dim) == ("left", 0):
        return None
    if contraction.products < _SMALL or as_matrices(contraction) is not None:
        return None
    return choice._replace(dim=choice.dim - (choice.kind == "left"))


def _emit_images(
    code: Code,
    frame: Frame,
    contraction: Contraction,
    choice: Choice,
    pointers: Pointers,
    dtype: DType,
) -> None:
    """Pad and convolve image by image, blocks of them on all threads."""
    nbytes, images = dtype.itemsize, contraction.left[0]
    inside = contraction._replace(left=contraction.left[1:])
    size = math.prod(frame.padded[1:]) * nbytes
    memory = -(-size // 64) * 64
    chunk = -(-images.size // min(images.size, 2 * _BLOCKS))
    blocks = -(-images.size // chunk)

    def body(code: Code, block: Any, given: Sequence[Any]) -> None:
        builder = code.builder
        own = code.offset(given[3], block, memory)
        code.fill_zero(own, size)
        first, end = builder.mul(block, code.int64(chunk)), code.int64(images.size)
        last = builder.add(first, code.int64(chunk))
        last = builder.select(builder.icmp_signed("<", last, end), last, end)
        with code.loop(last, first) as i:
            source = code.offset(given[0], i, math.prod(frame.shape[1:]) * nbytes)
            frame.copy_image(code, source, own, dtype)
            out = code.offset(given[2], i, images.out * nbytes)
            emit_contraction(code, inside, choice, Pointers(own, given[1], out), dtype, False)

    code.parallel("images", blocks, [*pointers, code.scratch(memory * blocks)], body)


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


class Frame:
    """Where an array lies in its copy with space dilated and padded by zeros.

    Attributes:
      shape, padded: of the array and of the copy.
      dims: (size, stride in the array, stride in the copy) of what is not cut off.
      skipped, moved: elements before that, in the array and in the copy.
      needed: whether the copy differs from the array.
    """

    def __init__(self, shape: Shape, padded: Shape) -> None:
        self.shape, self.padded = shape, padded
        strides = zip(shape, dense_strides(shape), dense_strides(padded), strict=True)
        self.dims: list[tuple[int, int, int]] = list(strides)
        self.skipped = self.moved = 0
        self.needed = padded != shape

    @staticmethod
    def of(equation: Equation, padded: Shape) -> Frame:
        """The frame of a convolution's input."""
        params = equation.params
        frame = Frame(equation.inputs[0].type.shape, padded)
        space = params["dimension_numbers"].lhs_spec[2:]
        for axis, d, (low, _) in zip(
            space, params["lhs_dilation"], params["padding"], strict=True
        ):
            size, source, target = frame.dims[axis]
            first = -(low // d) if low < 0 else 0  # the first element that is not cut off
            last = min(size, (padded[axis] - 1 - low) // d + 1)
            frame.dims[axis] = (max(last - first, 0), source, target * d)
            frame.skipped += first * source
            frame.moved += (low + first * d) * target
            frame.needed |= low != 0
        return frame

    @property
    def examples(self) -> int:
        """The size of the leading dimension, or 0 where it is padded itself."""
        return self.shape[0] if self.dims[0][0] == self.padded[0] == self.shape[0] else 0

    def copy(
        self,
        code: Code,
        source: Any,
        target: Any,
        dims: list[tuple[int, int, int]],
        dtype: DType,
    ) -> None:
        """Copy what is not cut off; `dims` are those of a part of the array."""
        source = code.offset(source, self.skipped, dtype.itemsize)
        target = code.offset(target, self.moved, dtype.itemsize)
        copy_between(code, source, target, dims, dtype)

    def copy_image(self, code: Code, source: Any, target: Any, dtype: DType) -> None:
        """Copy one element of the leading dimension."""
        self.copy(code, source, target, self.dims[1:], dtype)


def _padded(code: Code, frame: Frame, x: Any, dtype: DType) -> Any:
    """A copy with zeros around and among its elements; in blocks of the first dimension."""
    total, nbytes = math.prod(frame.padded), dtype.itemsize
    out = code.scratch(total * nbytes)
    blocks = math.gcd(frame.examples, _BLOCKS) if total >= _LARGE else 1
    if blocks <= 1:
        code.fill_zero(out, total * nbytes)
        frame.copy(code, x, out, frame.dims, dtype)
        return out
    (size, stride, step), *rest = frame.dims
    part = (size // blocks, stride, step)

    def body(code: Code, block: Any, given: Sequence[Any]) -> None:
        source = code.offset(given[0], block, part[0] * stride * nbytes)
        target = code.offset(given[1], block, total // blocks * nbytes)
        code.fill_zero(target, total // blocks * nbytes)
        frame.copy(code, source, target, [part, *rest], dtype)

    code.parallel("padded", blocks, [x, out], body)
    return out


OPERATIONS = {"conv_general_dilated": emit_convolution}
SUPPORTS = {"conv_general_dilated": _supports}
