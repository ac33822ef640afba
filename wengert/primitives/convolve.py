"""Convolution: windows of an array times a kernel, in any number of spatial dimensions.

`conv_general_dilated` is the operation of neural networks (a cross-correlation), with strides,
explicit padding, dilation of the input (a transposed convolution) and of the kernel, and groups
of features or of examples. It is linear in both operands, and both its transposes are again
such convolutions, with the roles of batch, features and space exchanged; no other
primitive is needed.

Eagerly the windows are laid out as the columns of a matrix, one block at a time, and multiplied
with the kernel by BLAS. Padding by name ("SAME") is resolved by `padding_of`; the primitive
takes pairs of integers, which may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType, Shape
from wengert.core.primitive import Sample, Value
from wengert.primitives.basis import Linear, batched_first, move_axis, reshape
from wengert.primitives.cast import convert
from wengert.primitives.contract import for_blas
from wengert.primitives.shape import rev

Pairs = tuple[tuple[int, int], ...]
#: Elements of the window matrix that are laid out at a time (times 4 bytes: 64 MiB).
_BLOCK = 1 << 24
#: Runs of memory shorter than this are slow to copy.
_SHORT = 8


class ConvDimensionNumbers(NamedTuple):
    """Where the dimensions of a convolution's arrays are.

    Attributes:
      lhs_spec: of the input: (batch, feature, *spatial).
      rhs_spec: of the kernel: (output feature, input feature, *spatial).
      out_spec: of the result: (batch, feature, *spatial).
    """

    lhs_spec: Shape
    rhs_spec: Shape
    out_spec: Shape


def padding_of(
    kind: str, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]
) -> Pairs:
    """The pairs that the padding "VALID", "SAME" or "SAME_LOWER" stands for.

    Args:
      kind: "SAME" pads so that the result has `ceil(size / stride)` elements, an odd element of
        padding at the end ("SAME_LOWER": at the beginning); "VALID" does not pad.
      sizes: of the spatial dimensions of the (dilated) input.
      kernel: of those of the (dilated) kernel.
      strides: of the windows.

    >>> padding_of("SAME", (5,), (2,), (1,))
    ((0, 1),)
    """
    kind = kind.upper()
    if kind == "VALID":
        return ((0, 0),) * len(sizes)
    if kind not in ("SAME", "SAME_LOWER"):
        raise ValueError(
            f"padding {kind!r} is not known: give 'VALID', 'SAME', 'SAME_LOWER', or pairs of "
            "integers."
        )
    pairs = []
    for size, window, stride in zip(sizes, kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        half = total // 2
        pairs.append((half, total - half) if kind == "SAME" else (total - half, half))
    return tuple(pairs)


def dilated(size: int, dilation: int) -> int:
    """The extent of `size` elements that are `dilation` apart."""
    return (size - 1) * dilation + 1 if size else 0


def output_sizes(
    lhs: Sequence[int],
    rhs: Sequence[int],
    strides: Sequence[int],
    padding: Pairs,
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
) -> Shape:
    """The spatial sizes of the result."""
    sizes = []
    for n, k, stride, (low, high), left, right in zip(
        lhs, rhs, strides, padding, lhs_dilation, rhs_dilation, strict=True
    ):
        room = max(dilated(n, left) + low + high, 0) - dilated(k, right)
        sizes.append(max(room // stride + 1, 0))
    return tuple(sizes)


def _sizes(shape: Shape, spec: Shape) -> Shape:
    return tuple(shape[i] for i in spec[2:])


@lru_cache(maxsize=1024)
def _result_shape(
    lhs: Shape,
    rhs: Shape,
    strides: Shape,
    padding: Pairs,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
    numbers: ConvDimensionNumbers,
    feature_groups: int,
    batch_groups: int,
) -> Shape:
    """The shape of the result, once everything has been found to fit."""
    lhs_spec, rhs_spec, out_spec = numbers
    rank = len(lhs)
    bad = next(
        (spec for spec in numbers if sorted(spec) != list(range(rank)) or len(rhs) != rank),
        None,
    )
    lengths = {len(x) for x in (strides, padding, lhs_dilation, rhs_dilation)}
    if bad is not None or lengths != {rank - 2}:
        raise errors.ShapeError(
            f"conv_general_dilated of shapes {lhs} and {rhs} needs {rank} dimensions in both "
            f"and in each spec, and {rank - 2} strides, paddings and dilations; got "
            f"dimension_numbers={tuple(numbers)}, window_strides={strides}, padding={padding}, "
            f"lhs_dilation={lhs_dilation}, rhs_dilation={rhs_dilation}."
        )
    if any(n < 1 for n in (*strides, *lhs_dilation, *rhs_dilation)):
        raise errors.ShapeError("strides and dilations of a convolution must be positive.")
    _check_groups(lhs, rhs, numbers, feature_groups, batch_groups)
    spatial = output_sizes(
        _sizes(lhs, lhs_spec),
        _sizes(rhs, rhs_spec),
        strides,
        padding,
        lhs_dilation,
        rhs_dilation,
    )
    shape = [0] * rank
    sizes = (lhs[lhs_spec[0]] // batch_groups, rhs[rhs_spec[0]], *spatial)
    for place, size in zip(out_spec, sizes, strict=True):
        shape[place] = size
    return tuple(shape)


def _check_groups(
    lhs: Shape,
    rhs: Shape,
    numbers: ConvDimensionNumbers,
    feature_groups: int,
    batch_groups: int,
) -> None:
    examples, features = (lhs[i] for i in numbers.lhs_spec[:2])
    outputs, inputs = (rhs[i] for i in numbers.rhs_spec[:2])
    if feature_groups < 1 or batch_groups < 1 or (feature_groups > 1 and batch_groups > 1):
        raise errors.ShapeError(
            "feature_group_count and batch_group_count must be positive, and at most one of "
            f"them greater than 1; got {feature_groups} and {batch_groups}."
        )
    if inputs * feature_groups != features:
        raise errors.ShapeError(
            f"the input has {features} features, but the kernel takes {inputs} in each of "
            f"{feature_groups} groups: shapes {lhs} and {rhs}, whose dimensions are (batch, "
            f"feature, *space) {numbers.lhs_spec} and (output feature, input feature, *space) "
            f"{numbers.rhs_spec}. Say another layout with dimension_numbers, as ('NHWC', "
            "'HWIO', 'NHWC')."
        )
    if outputs % feature_groups or outputs % batch_groups or examples % batch_groups:
        raise errors.ShapeError(
            f"{outputs} output features and {examples} examples do not divide into "
            f"feature_group_count={feature_groups} and batch_group_count={batch_groups} groups."
        )


# -- eager computation --------------------------------------------------------------------


def _padded(x: Any, padding: Pairs, dilation: Shape) -> Any:
    """An array (groups, examples, features, *space) with its space dilated and padded."""
    spatial = x.shape[3:]
    plain = all(low == high == 0 for low, high in padding)
    if plain and all(d == 1 for d in dilation):
        return x
    extents = [dilated(n, d) for n, d in zip(spatial, dilation, strict=True)]
    sizes = [max(n + low + high, 0) for n, (low, high) in zip(extents, padding, strict=True)]
    out = np.zeros((*x.shape[:3], *sizes), x.dtype)
    targets: list[Any] = [...]
    sources: list[Any] = [...]
    for n, size, d, (low, _) in zip(spatial, sizes, dilation, padding, strict=True):
        first = max(-(low // d), 0) if low < 0 else 0  # the first element that is not cut off
        last = min(n, (size - 1 - low) // d + 1)
        sources.append(slice(first, max(last, first)))
        start = low + first * d
        targets.append(slice(start, start + max(last - first, 0) * d, d))
    out[tuple(targets)] = x[tuple(sources)]
    return out


def _windows(x: Any, kernel: Shape, strides: Shape, dilation: Shape) -> Any:
    """The view (groups, examples, features, *positions, *kernel) of all windows."""
    rank = len(kernel)
    extents = tuple(dilated(k, d) for k, d in zip(kernel, dilation, strict=True))
    view = sliding_window_view(x, extents, axis=tuple(range(3, 3 + rank)))
    steps = tuple(slice(None, None, s) for s in strides)
    return view[(slice(None),) * 3 + steps + tuple(slice(None, None, d) for d in dilation)]


def _innermost(windows: Any, rank: int) -> int:
    """The axis of the windows to copy in runs: dense, and not short."""
    axes = [i for i in (1, 2, 2 + rank, 2 + 2 * rank) if windows.shape[i] >= _SHORT]
    if not axes:
        return max((1, 2, 2 + rank, 2 + 2 * rank), key=windows.shape.__getitem__)
    return min(axes, key=lambda i: (abs(windows.strides[i]), -windows.shape[i]))


def _product(windows: Any, kernel: Any, rank: int) -> Any:
    """Windows times kernel: (groups, examples, outputs, *positions).

    The windows become a matrix of (examples and positions) by (features and taps) or its
    transpose, with the axis last that is dense in memory: copying them is most of the work.
    """
    groups, examples = windows.shape[:2]
    outputs, positions = kernel.shape[1], windows.shape[3 : 3 + rank]
    space, taps = tuple(range(3, 3 + rank)), tuple(range(3 + rank, 3 + 2 * rank))
    inner = _innermost(windows, rank)
    if inner == 2 or inner == taps[-1]:
        features_last = inner == 2
        order = (*taps, 2) if features_last else (2, *taps)
        kernel_order = (*space, 2) if features_last else (2, *space)
        matrix = kernel.transpose((0, *kernel_order, 1)).reshape((groups, -1, outputs))
        columns = windows.transpose((0, 1, *space, *order))
        columns = columns.reshape((groups, -1, matrix.shape[1]))
        out = np.matmul(for_blas(columns), for_blas(matrix))
        return np.moveaxis(out.reshape((groups, examples, *positions, outputs)), -1, 2)
    matrix = kernel.reshape((groups, outputs, -1))
    order = (*space, 1) if inner == 1 else (1, *space)
    columns = windows.transpose((0, 2, *taps, *order))
    columns = columns.reshape((groups, matrix.shape[2], -1))
    out = np.matmul(for_blas(matrix), for_blas(columns))
    if inner == 1:
        return np.moveaxis(out.reshape((groups, outputs, *positions, examples)), -1, 1)
    return out.reshape((groups, outputs, examples, *positions)).swapaxes(1, 2)


def _blocked(windows: Any, kernel: Any, rank: int) -> Any:
    """The result, from as many windows at a time as may be laid out."""
    axis = next((a for a in (1, *range(3, 3 + rank)) if windows.shape[a] > 1), None)
    if windows.size <= _BLOCK or axis is None:
        return _product(windows, kernel, rank)
    pieces = min(-(-windows.size // _BLOCK), windows.shape[axis])
    parts = [_blocked(part, kernel, rank) for part in np.array_split(windows, pieces, axis)]
    return np.concatenate(parts, axis)


def _convolve(
    x: Any,
    kernel: Any,
    strides: Shape,
    padding: Pairs,
    dilations: tuple[Shape, Shape],
) -> Any:
    """Of (groups, examples, features, *space) with (groups, outputs, features, *taps)."""
    rank = len(strides)
    taps = kernel.shape[3:]
    positions = output_sizes(x.shape[3:], taps, strides, padding, *dilations)
    shape = (x.shape[0], x.shape[1], kernel.shape[1], *positions)
    if 0 in shape or 0 in kernel.shape:
        return np.zeros(shape, x.dtype)
    x = _padded(x, padding, dilations[0])
    if (
        shape[:3] == (1, 1, 1)
        and kernel.shape[2] == rank == 1
        and strides == dilations[1] == (1,)
    ):
        # one long signal: no layout of windows, which would take taps times its memory
        out = np.correlate(x[0, 0, 0], np.conj(kernel[0, 0, 0]), "valid")
        return out.reshape(shape)
    windows = _windows(x, taps, strides, dilations[1])
    return _blocked(windows, kernel, rank)


# -- splitting and merging of dimensions, on arrays and tracers -------------------------------


def _split_shape(shape: Shape, dim: int, groups: int) -> Shape:
    return (*shape[:dim], groups, shape[dim] // groups, *shape[dim + 1 :])


def _merged_shape(shape: Shape, dim: int) -> Shape:
    return (*shape[:dim], shape[dim] * shape[dim + 1], *shape[dim + 2 :])


def _split(x: Value, dim: int, groups: int) -> Value:
    """Dimension `dim` of size `groups * n` as two dimensions (groups, n)."""
    return reshape(x, shape=_split_shape(x.shape, dim, groups))


def _merge(x: Value, dim: int) -> Value:
    """Dimensions `dim` and `dim + 1` as one."""
    return reshape(x, shape=_merged_shape(x.shape, dim))


def _regroup(x: Value, source: int, destination: int, groups: int) -> Value:
    """Move the leading factor `groups` of one dimension in front of another dimension."""
    x = _split(x, source, groups)
    kept = destination + (destination > source)
    target = kept - (kept > source)
    return _merge(move_axis(x, source, target), target)


def _insert(x: Value, dim: int, groups: int) -> Value:
    """Merge the leading (batch) dimension into `dim`, behind its leading factor `groups`."""
    if groups == 1:
        return _merge(move_axis(x, 0, dim), dim)
    x = _split(x, dim + 1, groups)
    x = move_axis(x, 0, dim + 1)
    return _merge(_merge(x, dim + 1), dim)


def _extract(x: Value, dim: int, groups: int, size: int) -> tuple[Value, int]:
    """Undo `_insert` in a result: split the batch dimension out of `dim`."""
    if groups == 1:
        return _split(x, dim, size), dim
    shape = (*x.shape[:dim], groups, size, -1, *x.shape[dim + 1 :])
    last = x.shape[dim] // (groups * size)
    x = reshape(x, shape=tuple(last if n == -1 else n for n in shape))
    return _merge(move_axis(x, dim + 1, 0), dim + 1), 0


class ConvGeneralDilated(Linear):
    """Windows of the left operand times the right operand, the kernel."""

    linear = (0, 1)
    multilinear = True

    @staticmethod
    def compute(
        lhs: Any,
        rhs: Any,
        window_strides: Shape,
        padding: Pairs,
        lhs_dilation: Shape,
        rhs_dilation: Shape,
        dimension_numbers: ConvDimensionNumbers,
        feature_group_count: int = 1,
        batch_group_count: int = 1,
        preferred_element_type: Any = None,
    ) -> Any:
        lhs_spec, rhs_spec, out_spec = dimension_numbers
        dilations = lhs_dilation, rhs_dilation
        groups = feature_group_count, batch_group_count
        _result_shape(
            lhs.shape,
            rhs.shape,
            window_strides,
            padding,
            *dilations,
            dimension_numbers,
            *groups,
        )
        wanted = lhs.dtype if preferred_element_type is None else preferred_element_type
        work = np.promote_types(lhs.dtype, wanted)
        if work.itemsize == 2 and dtypes.is_floating(work):
            work = np.dtype(np.float32)
        lhs = lhs.astype(work, copy=False).transpose(lhs_spec)
        rhs = rhs.astype(work, copy=False).transpose(rhs_spec)
        if batch_group_count > 1:
            lhs = lhs.reshape(_split_shape(lhs.shape, 0, batch_group_count))
        else:
            lhs = lhs.reshape(_split_shape(lhs.shape, 1, feature_group_count)).swapaxes(0, 1)
        rhs = rhs.reshape(_split_shape(rhs.shape, 0, math.prod(groups)))
        out = _convolve(lhs, rhs, window_strides, padding, dilations)
        out = out.swapaxes(0, 1).reshape(_merged_shape(out.swapaxes(0, 1).shape, 1))
        order = sorted(range(out.ndim), key=out_spec.__getitem__)
        return out.transpose(order).astype(wanted, copy=False)

    def type_rule(self, lhs: Any, rhs: Any, **params: Any) -> Any:
        if lhs.dtype != rhs.dtype:
            raise errors.DTypeError(
                f"conv_general_dilated needs operands of one dtype, got {lhs.dtype} and "
                f"{rhs.dtype}. Convert with x.astype(dtype)."
            )
        shape = _result_shape(lhs.shape, rhs.shape, *_geometry(params))
        dtype = params.get("preferred_element_type") or lhs.dtype
        return ArrayType(shape, dtype, lhs.weak_type and rhs.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        lhs, rhs = operands
        dtype = operands[position].dtype
        if cotangent.dtype != dtype:  # a preferred element type
            cotangent = convert(cotangent, dtype=dtype)
        if position == 0:
            return _input_cotangent(cotangent, lhs, rhs, _Geometry(*_geometry(params)))
        return _kernel_cotangent(cotangent, lhs, rhs, _Geometry(*_geometry(params)))

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        lhs, rhs = (
            batched_first(x, d, size) if d else x for x, d in zip(args, dims, strict=True)
        )
        lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
        features = params.get("feature_group_count", 1)
        batches = params.get("batch_group_count", 1)
        if dims[1] is None:
            out = conv_general_dilated(_insert(lhs, lhs_spec[0], batches), rhs, **params)
            return _split(out, out_spec[0], size), out_spec[0]
        if dims[0] is None:
            out = conv_general_dilated(
                lhs, _insert(rhs, rhs_spec[0], features * batches), **params
            )
            return _extract(out, out_spec[1], features * batches, size)
        if batches > 1:
            lhs, params["batch_group_count"] = _insert(lhs, lhs_spec[0], 1), batches * size
        else:
            lhs, params["feature_group_count"] = _insert(lhs, lhs_spec[1], 1), features * size
        out = conv_general_dilated(lhs, _insert(rhs, rhs_spec[0], 1), **params)
        return _split(out, out_spec[1], size), out_spec[1]

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        plain = {
            "window_strides": (1,), "padding": ((0, 0),), "lhs_dilation": (1,),
            "rhs_dilation": (1,), "dimension_numbers": _numbers("ncx", "oix", "ncx"),
        }  # fmt: skip
        flat: list[tuple[Shape, Shape, dict[str, Any]]] = [
            ((1, 1, 6), (1, 1, 3), {}),
            ((2, 3, 7), (4, 3, 2), {"window_strides": (2,), "padding": ((1, 2),)}),
            ((2, 2, 5), (3, 2, 3), {"lhs_dilation": (2,), "padding": ((-1, 3),)}),
            ((1, 2, 9), (2, 2, 3), {"rhs_dilation": (3,), "padding": ((2, -1),)}),
            ((2, 4, 5), (6, 2, 2), {"feature_group_count": 2}),
            ((4, 3, 5), (2, 3, 2), {"batch_group_count": 2}),
            ((0, 2, 5), (3, 2, 2), {}),
            ((1, 1, 2), (1, 1, 3), {}),
        ]
        for lhs, rhs, changed in flat:
            yield Sample(rng.normal(size=lhs), rng.normal(size=rhs), **{**plain, **changed})
        x, y = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 2, 3, 2))
        image: dict[str, Any] = {
            "window_strides": (1, 2), "padding": ((1, 1), (0, 1)), "lhs_dilation": (1, 2),
            "rhs_dilation": (1, 1), "dimension_numbers": _numbers("nxyc", "xyio", "nxyc"),
        }  # fmt: skip
        yield Sample(x, y, **image)
        yield Sample(x.astype(np.float32), y.astype(np.float32), **image)
        yield Sample(x + 1j * x[::-1], y - 2j * y, **image)
        ones = ("window_strides", "lhs_dilation", "rhs_dilation")
        volume: dict[str, Any] = dict.fromkeys(ones, (1, 1, 1))
        yield Sample(
            rng.normal(size=(1, 2, 3, 2, 3)),
            rng.normal(size=(2, 2, 2, 1, 2)),
            padding=((0, 0), (0, 0), (1, 0)),
            dimension_numbers=_numbers("ncxyz", "oixyz", "ncxyz"),
            **volume,
        )


conv_general_dilated = ConvGeneralDilated()


# -- the transposes, again convolutions --------------------------------------------------------


class _Geometry(NamedTuple):
    """The parameters of a convolution, all but the element type."""

    strides: Shape
    padding: Pairs
    lhs_dilation: Shape
    rhs_dilation: Shape
    numbers: ConvDimensionNumbers
    feature_groups: int
    batch_groups: int

    def extents(
        self, lhs: Shape, rhs: Shape, out: Shape
    ) -> Iterator[tuple[int, int, int, int]]:
        """Per spatial dimension: low padding, dilated sizes of input, kernel and result."""
        spatial = (
            _sizes(s, spec) for s, spec in zip((lhs, rhs, out), self.numbers, strict=True)
        )
        for (low, _), n, k, m, left, right, stride in zip(
            self.padding,
            *spatial,
            self.lhs_dilation,
            self.rhs_dilation,
            self.strides,
            strict=True,
        ):
            yield low, dilated(n, left), dilated(k, right), dilated(m, stride)


def _geometry(params: dict[str, Any]) -> tuple[Any, ...]:
    return (
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        params["dimension_numbers"],
        params.get("feature_group_count", 1),
        params.get("batch_group_count", 1),
    )


def _numbers(lhs: str, rhs: str, out: str) -> ConvDimensionNumbers:
    """Dimension numbers from letters: n, c and o, i in front of the spatial x, y, z."""
    space = sorted(set("xyz") & set(lhs))
    return ConvDimensionNumbers(
        *(
            tuple(map(spec.index, (*first, *space)))
            for spec, first in ((lhs, "nc"), (rhs, "oi"), (out, "nc"))
        )
    )


def _exchanged(spec: Shape) -> Shape:
    return (spec[1], spec[0], *spec[2:])


def _input_cotangent(cotangent: Value, lhs: Any, rhs: Value, geometry: _Geometry) -> Value:
    """The cotangent with the reversed kernel, strides and input dilation exchanged."""
    lhs_spec, rhs_spec, out_spec = geometry.numbers
    groups = geometry.feature_groups * geometry.batch_groups
    if groups > 1:
        rhs = _regroup(rhs, rhs_spec[0], rhs_spec[1], groups)
    out = conv_general_dilated(
        cotangent,
        rev(rhs, dimensions=rhs_spec[2:]),
        window_strides=geometry.lhs_dilation,
        padding=tuple(
            (k - 1 - low, n + low - m)
            for low, n, k, m in geometry.extents(lhs.shape, rhs.shape, cotangent.shape)
        ),
        lhs_dilation=geometry.strides,
        rhs_dilation=geometry.rhs_dilation,
        dimension_numbers=ConvDimensionNumbers(out_spec, _exchanged(rhs_spec), lhs_spec),
        feature_group_count=groups,
        batch_group_count=1,
    )
    if geometry.batch_groups > 1:
        out = _regroup(out, lhs_spec[1], lhs_spec[0], geometry.batch_groups)
    return out


def _kernel_cotangent(cotangent: Value, lhs: Value, rhs: Any, geometry: _Geometry) -> Value:
    """The input convolved with the cotangent, strides and kernel dilation exchanged."""
    lhs_spec, rhs_spec, out_spec = geometry.numbers
    return conv_general_dilated(
        lhs,
        cotangent,
        window_strides=geometry.rhs_dilation,
        padding=tuple(
            (low, k - 1 + m - n - low)
            for low, n, k, m in geometry.extents(lhs.shape, rhs.shape, cotangent.shape)
        ),
        lhs_dilation=geometry.lhs_dilation,
        rhs_dilation=geometry.strides,
        dimension_numbers=ConvDimensionNumbers(
            *map(_exchanged, (lhs_spec, out_spec, rhs_spec))
        ),
        feature_group_count=geometry.batch_groups,
        batch_group_count=geometry.feature_groups,
    )
