"""Batching: a function of single examples becomes a function of many, without a loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import tree
from wengert.core.array import ArrayType, as_array, is_operand
from wengert.core.interpreter import Interpreter, Params, Tag, Tracer, state
from wengert.core.primitive import Primitive, Value
from wengert.core.program import Program
from wengert.primitives.basis import batched_first, move_axis


class BatchTracer(Tracer):
    """One example of many: a value with one dimension, `dim`, that runs over the examples."""

    __slots__ = ("dim", "value")
    transformation = "vmap"

    def __init__(self, tag: Tag, value: Value, dim: int) -> None:
        self.tag = tag
        self.value = value
        self.dim = dim

    @property
    def type(self) -> ArrayType:
        full = self.value.type
        shape = full.shape[: self.dim] + full.shape[self.dim + 1 :]
        return ArrayType(shape, full.dtype, full.weak_type)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.value.shape
        return shape[: self.dim] + shape[self.dim + 1 :]

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def weak_type(self) -> bool:
        return self.value.weak_type


class BatchInterpreter(Interpreter):
    """Applies primitives to all examples at once, by their `batch` rules."""

    __slots__ = ("axis_name", "size")
    name = "vmap"

    def __init__(
        self, parent: Interpreter, size: int, axis_name: Any = None, tag: Tag | None = None
    ) -> None:
        super().__init__(tag or Tag(), parent)
        self.size = size
        self.axis_name = axis_name

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        tag = self.tag
        for arg in args:
            if type(arg) is BatchTracer and arg.tag is tag:
                break
        else:
            if self.axis_name is None or not _is_over(self.axis_name, params):
                return self.parent.apply(primitive, args, params)
        if primitive.inlines:
            return primitive.inline(args, params)
        return primitive.apply_batched(self, args, params)

    def split(self, args: Sequence[Any]) -> tuple[list[Any], list[int | None]]:
        """The operands' values and batch dimensions (None for those that are not batched)."""
        tag = self.tag
        values: list[Any] = []
        dims: list[int | None] = []
        for arg in args:
            if type(arg) is BatchTracer and arg.tag is tag:
                values.append(arg.value)
                dims.append(arg.dim)
            else:
                values.append(arg)
                dims.append(None)
        return values, dims

    def tracer(self, value: Value, dim: int | None) -> Value:
        """A result with its batch dimension; without one it is the same for all examples."""
        return value if dim is None else BatchTracer(self.tag, value, dim)

    def axis_size(self, axis_name: Any) -> int:
        if axis_name is not None and axis_name == self.axis_name:
            return self.size
        return self.parent.axis_size(axis_name)

    def axis_environment(self) -> tuple[tuple[Any, int], ...]:
        outer = self.parent.axis_environment()
        return outer if self.axis_name is None else ((self.axis_name, self.size), *outer)


_NO_AXIS = object()


def _is_over(axis_name: Any, params: Params) -> bool:
    """Whether an application, or one in a program among its parameters, is over this axis."""
    if params.get("axis_name", _NO_AXIS) == axis_name:
        return True
    inner = [  # functions made of programs too, and tuples of programs
        getattr(item, "program", item)
        for value in params.values()
        for item in (value if isinstance(value, tuple) else (value,))
    ]
    programs = [p for p in inner if isinstance(p, Program)]
    return any(_is_over(axis_name, e.params) for program in programs for e in program.equations)


def batch_flat(
    call: Callable[[list[Any]], list[Any]],
    size: int,
    values: Sequence[Value],
    dims: Sequence[int | None],
    axis_name: Any = None,
    tag: Tag | None = None,
) -> tuple[list[Value], list[int | None]]:
    """Run a function of flat arrays on batched ones; returns results and their batch dims."""
    interpreter = BatchInterpreter(state.interpreter, size, axis_name, tag)
    own = interpreter.tag
    tracers = [
        v if d is None else BatchTracer(own, v, d) for v, d in zip(values, dims, strict=True)
    ]
    after = tag is not None and own.alive
    own.alive = True  # a rule may run when the vmap that it came from has ended
    try:
        with interpreter:
            outputs = call(tracers)
    finally:
        own.alive = after
    out, out_dims = [], []
    for o in outputs:
        mine = type(o) is BatchTracer and o.tag is own
        out.append(o.value if mine else o)
        out_dims.append(o.dim if mine else None)
    return out, out_dims


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies `fun` to every example along an axis of its arguments.

    Args:
      fun: a function of single examples.
      in_axes: the axis of the positional arguments that runs over the examples: an int, None
        (the same for all examples), or a tuple with one entry per argument: an int, None, or a
        tree of them. Keyword arguments are mapped over axis 0.
      out_axes: where the axis of the examples goes in the results: as `in_axes`.
      axis_name: a name for the mapped axis, for collective operations (`lax.psum`).
      axis_size: the number of examples, when no argument is mapped.

    Returns:
      the batched function.

    Raises:
      AxesError: by that function, when axes and arguments do not fit.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.vmap(wnp.dot, in_axes=(0, None))(wnp.eye(2), wnp.array([3.0, 4.0]))
    Array([3., 4.], dtype=float32)
    """
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not (in_axes is None or isinstance(in_axes, int | tuple | dict)):
        raise errors.AxesError(f"in_axes must be an int, None, or a tuple, got {in_axes!r}.")

    @functools.wraps(fun, updated=())
    def vmap_fun(*args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = tree.flatten((args, kwargs))
        axes = _flat_in_axes(in_axes, args, kwargs)
        values = [*map(_operand, leaves, axes)]
        dims = [_dimension(a, v, "in_axes") for a, v in zip(axes, values, strict=True)]
        size = _axis_size(values, dims, axis_size, fun)
        out_tree: Any = None

        def call(tracers: list[Any]) -> list[Any]:
            nonlocal out_tree
            call_args, call_kwargs = tree.unflatten(in_tree, tracers)
            out_leaves, out_tree = tree.flatten(fun(*call_args, **call_kwargs))
            return [as_array(leaf) for leaf in out_leaves]

        out, out_dims = batch_flat(call, size, values, dims, axis_name)
        result_axes = _flat_out_axes(out_axes, tree.unflatten(out_tree, out))
        placed = [
            _place(o, d, axis, size)
            for o, d, axis in zip(out, out_dims, result_axes, strict=True)
        ]
        return tree.unflatten(out_tree, placed)

    return vmap_fun


def _operand(leaf: Any, axis: Any) -> Any:
    """A leaf of the arguments; one that is not mapped may be any object."""
    return leaf if axis is None and not is_operand(leaf) else as_array(leaf)


def _is_none(x: Any) -> bool:
    return x is None


def _flat_in_axes(in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """One axis (or None) per leaf of the arguments."""
    if in_axes is None or isinstance(in_axes, int):
        mapped: list[Any] = [in_axes] * len(tree.leaves(args))
    else:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise errors.AxesError(
                f"in_axes has {len(in_axes)} entries for {len(args)} positional arguments: "
                f"in_axes={in_axes!r}. Give one entry per argument, or one int for all."
            )
        mapped = _spread(in_axes, args, "in_axes")
    return mapped + [0] * len(tree.leaves(kwargs))


def _flat_out_axes(out_axes: Any, out: Any) -> list[Any]:
    if out_axes is None or isinstance(out_axes, int):
        return [out_axes] * len(tree.leaves(out))
    return _spread(out_axes, out, "out_axes")


def _spread(prefix: Any, values: Any, name: str) -> list[Any]:
    """A prefix tree of axes spread over the leaves of `values`; None is an axis entry here."""
    out: list[Any] = []

    def visit(axis: Any, subtree: Any) -> None:
        out.extend([axis] * len(tree.leaves(subtree)))

    try:
        tree.map(visit, prefix, values, is_leaf=_is_none)
    except (ValueError, TypeError) as error:
        raise errors.AxesError(
            f"{name}={prefix!r} is not a prefix of the structure of the values it is for: "
            f"{error}"
        ) from None
    return out


def _dimension(axis: Any, value: Value, name: str) -> int | None:
    if axis is None:
        return None
    rank = len(value.shape)
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise errors.AxesError(f"{name} holds {axis!r}, which is neither an int nor None.")
    if not -rank <= axis < rank:
        raise errors.AxesError(
            f"{name} asks to map axis {axis} of an array of shape {value.shape}, which has "
            f"{rank} dimensions. Use None for an argument that is the same for all examples."
        )
    return axis % rank


def _axis_size(
    values: Sequence[Value], dims: Sequence[int | None], axis_size: int | None, fun: Any
) -> int:
    sizes = {v.shape[d] for v, d in zip(values, dims, strict=True) if d is not None}
    if axis_size is not None:
        sizes.add(axis_size)
    if len(sizes) == 1:
        return sizes.pop()
    name = getattr(fun, "__name__", repr(fun))
    if not sizes:
        raise errors.AxesError(
            f"vmap of {name} has no mapped argument, so the number of examples is unknown. "
            "Map one (in_axes=0) or say axis_size=n."
        )
    listed = ", ".join(
        f"axis {d} of {v.shape}" for v, d in zip(values, dims, strict=True) if d is not None
    )
    raise errors.AxesError(
        f"vmap got mapped axes of different sizes for {name}: {listed}"
        + (f", axis_size={axis_size}" if axis_size is not None else "")
        + ". All mapped axes must have one size; in_axes=None keeps an argument unmapped."
    )


def _place(value: Value, dim: int | None, axis: Any, size: int) -> Value:
    if axis is None:
        if dim is not None:
            raise errors.AxesError(
                "out_axes=None promises a result that is the same for all examples, but it "
                "depends on a mapped argument. Use out_axes=0."
            )
        return value
    rank = len(value.shape) + (dim is None)
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise errors.AxesError(f"out_axes={axis!r} does not fit a result of {rank} dimensions.")
    if dim is None:
        value, dim = batched_first(value, None, size), 0
    return move_axis(value, dim, axis % rank)
