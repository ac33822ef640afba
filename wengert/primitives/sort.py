"""Order: sorting by one or several keys, the k greatest elements, positions in a sorted array.

NaN comes after everything else, as in NumPy (`top_k` therefore finds it first). What is sorted
is differentiable: tangents are permuted as the values are. Argsort, ranks, medians and unique
elements are composed of these by `wengert.numpy`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import ArrayType
from wengert.core.primitive import Primitive, Sample, Value, Zero
from wengert.primitives.basis import batched_first
from wengert.primitives.cumulative import check_axis, widened
from wengert.primitives.index import gather_along
from wengert.primitives.shape import iota


class Sort(Primitive):
    """Operands of one shape, sorted together along a dimension by the first `num_keys` of them.

    Later keys decide where earlier ones are equal. Without `is_stable`, equal elements may
    come in any order.
    """

    multiple_results = True

    @staticmethod
    def compute(
        *operands: Any, dimension: int, num_keys: int = 1, is_stable: bool = True
    ) -> list[Any]:
        kind: Any = "stable" if is_stable else None
        keys = [widened(x) for x in operands[:num_keys]]
        if len(operands) == 1:
            return [np.sort(keys[0], axis=dimension, kind=kind).astype(operands[0].dtype)]
        if num_keys == 1:
            order = np.argsort(keys[0], axis=dimension, kind=kind)
        else:
            order = np.lexsort(keys[::-1], axis=dimension)
        return [np.take_along_axis(x, order, dimension) for x in operands]

    def type_rule(
        self, *operands: Any, dimension: int, num_keys: int = 1, is_stable: bool = True
    ) -> Any:
        if any(x.shape != operands[0].shape for x in operands):
            raise errors.ShapeError(
                f"sort needs operands of one shape, got {', '.join(map(str, operands))}."
            )
        check_axis(self.name, operands[0], dimension)
        if not 1 <= num_keys <= len(operands):
            raise ValueError(f"sort of {len(operands)} operands cannot have {num_keys} keys.")
        return [ArrayType(x.shape, x.dtype) for x in operands]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        axis = params["dimension"]
        places = iota(dtype=np.dtype(np.int64), shape=primals[0].shape, dimension=axis)
        *out, order = self(*primals, places, **params)
        moved = [
            Zero(o.type) if type(t) is Zero else gather_along(t, order, axis)
            for o, t in zip(out, tangents, strict=True)
        ]
        return out, moved

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        operands = [batched_first(x, d, size) for x, d in zip(args, dims, strict=True)]
        out = self(*operands, **{**params, "dimension": params["dimension"] + 1})
        return out, [0] * len(out)

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        x = rng.permutation(np.linspace(-2.0, 2.5, 12)).reshape(3, 4)
        keys = rng.integers(0, 2, (3, 4))
        for axis in (0, 1):
            yield Sample(x, dimension=axis, num_keys=1, is_stable=True)
            yield Sample(keys, x, dimension=axis, num_keys=1, is_stable=True)
            yield Sample(keys, x, -x, dimension=axis, num_keys=2, is_stable=False)
        yield Sample(np.zeros((0, 2)), dimension=0, num_keys=1, is_stable=True)
        yield Sample(np.array([1.5]), dimension=0, num_keys=1, is_stable=False)
        nan = np.array([np.nan, 2.0, -np.inf, np.nan, 1.0])
        for value in (nan, nan.astype(np.float32), nan.astype(dtypes.bfloat16)):
            yield Sample(value, dimension=0, differentiable=False)
            yield Sample(value, keys.ravel()[:5], dimension=0, differentiable=False)


class TopK(Primitive):
    """The k greatest elements along the last dimension, in falling order, and their positions.

    Of equal elements the one that comes first is taken first.
    """

    multiple_results = True

    @staticmethod
    def compute(x: Any, k: int) -> list[Any]:
        if not 0 <= k <= x.shape[-1]:
            raise _too_many(x, k)
        last = x.shape[-1] - 1
        rising = np.argsort(widened(x)[..., ::-1], axis=-1, kind="stable")
        order = last - rising[..., ::-1][..., :k]
        return [np.take_along_axis(x, order, -1), order.astype(dtypes.INT32)]

    def type_rule(self, x: Any, k: int) -> Any:
        check_axis(self.name, x, x.ndim - 1)
        if not 0 <= k <= x.shape[-1]:
            raise _too_many(x, k)
        shape = (*x.shape[:-1], k)
        return [ArrayType(shape, x.dtype), ArrayType(shape, dtypes.INT32)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        values, order = self(*primals, **params)
        moved = gather_along(tangents[0], order, len(values.shape) - 1)
        return [values, order], [moved, Zero(order.type)]

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(batched_first(args[0], dims[0], size), **params), [0, 0]

    def samples(self) -> Iterator[Sample]:
        x = np.random.default_rng(0).permutation(np.linspace(-2.0, 2.5, 12)).reshape(3, 4)
        for k in (0, 1, 3):
            yield Sample(x, k=k)
        yield Sample(np.zeros((0, 2)), k=1)
        yield Sample(np.array([3, 1, 3, 200], np.uint8), k=3)
        ties = np.array([1.0, np.nan, 3.0, 3.0, -np.inf])
        yield Sample(ties, k=4, differentiable=False)
        yield Sample(ties.astype(dtypes.bfloat16), k=4, differentiable=False)


def _too_many(x: Any, k: int) -> errors.ShapeError:
    return errors.ShapeError(
        f"top_k cannot take {k} elements from a last dimension of {x.shape[-1]} (shape "
        f"{x.shape})."
    )


# -- positions in sorted arrays ---------------------------------------------------------------


class Searchsorted(Primitive):
    """Where elements would have to be inserted into a sorted array to keep it sorted.

    The sorted array is the last dimension of the first operand; dimensions before that are
    common to both operands. `side` says on which side of equal elements.
    """

    nondifferentiable = True
    keeps_weak = False

    @staticmethod
    def compute(ordered: Any, query: Any, side: Any = "left") -> Any:
        ordered, query = widened(ordered), widened(query)
        if ordered.ndim == 1:
            return np.searchsorted(ordered, query, side).astype(dtypes.INT32)
        return _bisect(ordered, query, side)

    def type_rule(self, ordered: Any, query: Any, side: str = "left") -> Any:
        check_axis(self.name, ordered, ordered.ndim - 1)
        common = ordered.ndim - 1
        if ordered.shape[:-1] != query.shape[:common]:
            raise errors.ShapeError(
                f"searchsorted of {query} in {ordered}: the dimensions before the sorted one "
                "must be common to both."
            )
        if ordered.dtype != query.dtype:
            raise errors.DTypeError(
                f"searchsorted needs operands of one dtype, got {ordered} and {query}."
            )
        if side not in ("left", "right"):
            raise ValueError(f"searchsorted has the sides 'left' and 'right', not {side!r}.")
        return ArrayType(query.shape, dtypes.INT32)

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        ordered, query = args
        if dims[0] is None and len(ordered.shape) == 1:
            return self(ordered, query, **params), dims[1]
        operands = [batched_first(x, d, size) for x, d in zip(args, dims, strict=True)]
        return self(*operands, **params), 0

    def samples(self) -> Iterator[Sample]:
        ordered = np.array([-1.0, 0.5, 0.5, 2.0])
        query = np.array([[0.5, -3.0, np.nan], [2.0, 2.5, 0.0]])
        for side in ("left", "right"):
            yield Sample(ordered, query, side=side)
            yield Sample(np.stack([ordered, ordered * 2]), query, side=side)
        yield Sample(ordered, np.float64(0.75), side="left")
        yield Sample(np.zeros(0), query, side="left")
        yield Sample(np.array([1, 4], np.uint8), np.array([4, 0], np.uint8), side="right")


def _bisect(ordered: Any, query: Any, side: str) -> Any:
    """Binary search in many sorted rows at once."""
    common, n = ordered.shape[:-1], ordered.shape[-1]
    rows = query.reshape(*common, math.prod(query.shape[len(common) :]))
    low = np.zeros(rows.shape, np.intp)
    high = np.full(rows.shape, n, np.intp)
    for _ in range(n.bit_length()):
        middle = (low + high) // 2
        pivot = np.take_along_axis(ordered, np.minimum(middle, n - 1), -1)
        if side == "left":
            beyond = (pivot < rows) | (np.isnan(rows) & ~np.isnan(pivot))
        else:
            beyond = ~((rows < pivot) | (np.isnan(pivot) & ~np.isnan(rows)))
        open_ = low < high
        low = np.where(open_ & beyond, middle + 1, low)
        high = np.where(open_ & ~beyond, middle, high)
    return low.reshape(query.shape).astype(dtypes.INT32)


sort = Sort()
top_k = TopK()
searchsorted = Searchsorted()
