"""Collective operations: examples of a `vmap` with a name for its axis look at each other.

Each has the parameters `axis_name` and `axis_size`, the latter looked up when it is applied, so
that the type of the result is known while tracing. The `vmap` of that name carries the
operation out, as an ordinary operation along its batch dimension (`along`); every other `vmap`
only adds its own dimension to the operands (`batch`). Outside of a `vmap` of that name there is
nothing to compute: an error.

Derivatives are those of the examples taken together: the cotangent of an example gathers what
its value contributes to all of them. Blocks that are joined or split ("tiled"), trees of
values and several axis names are dealt with by `wengert.lax`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType
from wengert.core.interpreter import Params
from wengert.core.primitive import Primitive, Value, Zero
from wengert.primitives.basis import (
    Linear,
    batched_first,
    mul,
    reduce_sum,
    transpose,
)
from wengert.primitives.cast import convert
from wengert.primitives.compare import eq
from wengert.primitives.elementwise import div
from wengert.primitives.index import gather
from wengert.primitives.reduce import reduce_max, reduce_min
from wengert.primitives.shape import iota

Pairs = tuple[tuple[int, int], ...]


class Collective(Primitive):
    """Operations over a named axis: what they have in common."""

    def evaluate(self, args: Sequence[Value], params: Params) -> NoReturn:
        raise errors.UnboundAxisError(params["axis_name"])

    @staticmethod
    def compute(*values: Any, axis_name: Any, **params: Any) -> NoReturn:
        raise errors.UnboundAxisError(axis_name)

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        values, dims = interpreter.split(args)
        own = interpreter.axis_name is not None and interpreter.axis_name == params["axis_name"]
        rule = self.along if own else self.batch
        return interpreter.tracer(*rule(interpreter.size, values, dims, **params))

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        """Result and batch dimension of the operation along the batch dimension itself."""
        raise errors.MissingRuleError(self.name, "along")

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return self(args[0], **params), dims[0]


class LinearCollective(Collective, Linear):
    """Linear operations over a named axis."""


# -- reductions --------------------------------------------------------------------------------


class Psum(LinearCollective):
    """The sum over all examples."""

    def type_rule(self, x: Any, axis_name: Any, axis_size: int) -> Any:
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return psum(cotangent, **params)

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        (x,), (d,) = args, dims
        return (mul(x, size) if d is None else reduce_sum(x, axes=(d,))), None


class CollectiveExtremum(Collective):
    """The largest or smallest value among all examples; those that are equal share tangents."""

    reduction: Primitive

    def type_rule(self, x: Any, axis_name: Any, axis_size: int) -> Any:
        return x

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        (x,), (tangent,) = primals, tangents
        out = self(x, **params)
        if type(tangent) is Zero:
            return out, Zero(out.type)
        chosen = convert(eq(x, out), dtype=x.dtype)
        share = div(chosen, psum(chosen, **params))
        return out, psum(mul(tangent, share), **params)

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        (x,), (d,) = args, dims
        return (x if d is None else self.reduction(x, axes=(d,))), None


class Pmax(CollectiveExtremum):
    """The largest value among all examples."""

    reduction = reduce_max


class Pmin(CollectiveExtremum):
    """The smallest value among all examples."""

    reduction = reduce_min


# -- exchange ----------------------------------------------------------------------------------


class AllGather(LinearCollective):
    """The values of all examples, stacked along a new dimension `axis`."""

    def type_rule(self, x: Any, axis_name: Any, axis_size: int, axis: int) -> Any:
        return x.update(shape=(*x.shape[:axis], axis_size, *x.shape[axis:]))

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        dimension = params.pop("axis")
        return psum_scatter(cotangent, **params, scatter_dimension=dimension)

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        x = batched_first(args[0], dims[0], size)
        return _move_first(x, params["axis"]), None

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x = batched_first(args[0], dims[0], size)
        return all_gather(x, **{**params, "axis": params["axis"] + 1}), 0


class PsumScatter(LinearCollective):
    """The sum over all examples, whose `i`-th part along a dimension goes to example `i`."""

    def type_rule(self, x: Any, axis_name: Any, axis_size: int, scatter_dimension: int) -> Any:
        _check_size("psum_scatter", x, scatter_dimension, axis_name, axis_size)
        return x.update(shape=_without(x.shape, scatter_dimension))

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        axis = params.pop("scatter_dimension")
        return all_gather(cotangent, **params, axis=axis)

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        total, _ = psum.along(size, args, dims)
        return total, params["scatter_dimension"]

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x = batched_first(args[0], dims[0], size)
        dimension = params["scatter_dimension"] + 1
        return psum_scatter(x, **{**params, "scatter_dimension": dimension}), 0


class AllToAll(LinearCollective):
    """Part `i` along `split_axis` goes to example `i`, stacked there along `concat_axis`."""

    def type_rule(
        self, x: Any, axis_name: Any, axis_size: int, split_axis: int, concat_axis: int
    ) -> Any:
        _check_size("all_to_all", x, split_axis, axis_name, axis_size)
        rest = _without(x.shape, split_axis)
        return x.update(shape=(*rest[:concat_axis], axis_size, *rest[concat_axis:]))

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        split, concat = params["split_axis"], params["concat_axis"]
        return all_to_all(cotangent, **{**params, "split_axis": concat, "concat_axis": split})

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        x = batched_first(args[0], dims[0], size)
        split = params["split_axis"] + 1
        order = [i for i in range(1, len(x.shape)) if i != split]
        order.insert(params["concat_axis"], 0)
        return transpose(x, permutation=(split, *order)), 0

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        x = batched_first(args[0], dims[0], size)
        inner = {k: params[k] + 1 for k in ("split_axis", "concat_axis")}
        return all_to_all(x, **{**params, **inner}), 0


class Ppermute(LinearCollective):
    """The values sent from example to example; who receives none gets zeros."""

    def type_rule(self, x: Any, axis_name: Any, axis_size: int, perm: Pairs) -> Any:
        return x

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        inverse = tuple((target, source) for source, target in params["perm"])
        return ppermute(cotangent, **{**params, "perm": inverse})

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        x = batched_first(args[0], dims[0], size)
        sources = np.full(size, size, np.int32)  # out of bounds: nothing is received
        for source, target in params["perm"]:
            sources[target] = source
        return gather(x, Array(sources), axes=(0,), mode="fill", fill_value=0), 0


class AxisIndex(Collective):
    """The number of the example: its position along the named axis."""

    nondifferentiable = True
    keeps_weak = False

    def type_rule(self, axis_name: Any, axis_size: int) -> Any:
        return ArrayType((), dtypes.INT32)

    def along(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Value, int | None]:
        return iota(dtype=dtypes.INT32, shape=(size,), dimension=0), 0


def _without(shape: tuple[int, ...], dimension: int) -> tuple[int, ...]:
    return shape[:dimension] + shape[dimension + 1 :]


def _move_first(x: Value, destination: int) -> Value:
    order = list(range(1, len(x.shape)))
    order.insert(destination, 0)
    return transpose(x, permutation=tuple(order)) if destination else x


def _check_size(name: str, x: Any, dimension: int, axis_name: Any, axis_size: int) -> None:
    if not 0 <= dimension < x.ndim or x.shape[dimension] != axis_size:
        raise errors.ShapeError(
            f"{name} over the axis {axis_name!r} of size {axis_size} needs that size in "
            f"dimension {dimension}, got {x}."
        )


psum = Psum()
pmax = Pmax()
pmin = Pmin()
all_gather = AllGather()
psum_scatter = PsumScatter()
all_to_all = AllToAll()
ppermute = Ppermute()
axis_index = AxisIndex()
