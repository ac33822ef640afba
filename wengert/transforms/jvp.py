"""Forward mode: tangents pushed along with primals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import tree
from wengert.core.array import ArrayType, as_array
from wengert.core.interpreter import Interpreter, Params, Tag, Tracer, state
from wengert.core.primitive import Primitive, Value, Zero, type_of
from wengert.primitives.basis import add_tangents
from wengert.transforms.linearize import check_tangents, split_aux, tangent_result


class TangentTracer(Tracer):
    """A primal value with its tangent."""

    __slots__ = ("primal", "tangent")
    transformation = "forward-mode differentiation (jvp, jacfwd)"

    def __init__(self, tag: Tag, primal: Value, tangent: Value) -> None:
        self.tag = tag
        self.primal = primal
        self.tangent = tangent

    @property
    def type(self) -> ArrayType:
        return self.primal.type

    def concrete(self, what: str) -> Any:
        # bool() and int() are piecewise constant: their derivative is zero, none is lost
        state.concretized += 1
        return self.primal.concrete(what) if isinstance(self.primal, Tracer) else self.primal


class TangentInterpreter(Interpreter):
    """Pushes tangents forward by the primitives' `jvp`."""

    __slots__ = ()
    name = "jvp"

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        tag = self.tag
        if not any(type(a) is TangentTracer and a.tag is tag for a in args):
            return self.parent.apply(primitive, args, params)
        if primitive.inlines:
            return primitive.inline(args, params)
        own = [type(a) is TangentTracer and a.tag is tag for a in args]
        primals = [a.primal if mine else a for a, mine in zip(args, own, strict=True)]
        tangents = [
            a.tangent if mine else Zero(type_of(a)) for a, mine in zip(args, own, strict=True)
        ]
        out, tangent = primitive.jvp(primals, tangents, **params)
        if primitive.multiple_results:
            return [self.joined(o, t) for o, t in zip(out, tangent, strict=True)]
        return self.joined(out, tangent)

    def joined(self, primal: Value, tangent: Value) -> Value:
        """Primal and tangent, as a rule returned them, as one value.

        Both may themselves depend on followed values that the rule closed over; the tangent of
        a tangent does not matter.
        """
        if type(tangent) is TangentTracer and tangent.tag is self.tag:
            tangent = tangent.primal
        if type(primal) is TangentTracer and primal.tag is self.tag:
            tangent, primal = add_tangents(primal.tangent, tangent), primal.primal
        return primal if type(tangent) is Zero else TangentTracer(self.tag, primal, tangent)


def jvp_flat(
    call: Callable[[list[Any]], list[Any]], primals: Sequence[Value], tangents: Sequence[Value]
) -> tuple[list[Value], list[Value], Tag]:
    """Flat results and tangents (possibly `Zero`) of a function of flat arrays."""
    interpreter = TangentInterpreter(Tag(), state.interpreter)
    tag = interpreter.tag
    tracers = [
        p if type(t) is Zero else TangentTracer(tag, p, t)
        for p, t in zip(primals, tangents, strict=True)
    ]
    try:
        with interpreter:
            outputs = call(tracers)
    finally:
        tag.alive = False
    own = [type(o) is TangentTracer and o.tag is tag for o in outputs]
    out = [o.primal if mine else o for o, mine in zip(outputs, own, strict=True)]
    out_tangents = [
        o.tangent if mine else Zero(o.type) for o, mine in zip(outputs, own, strict=True)
    ]
    return out, out_tangents, tag


def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Result of a function, and its directional derivative.

    Args:
      fun: a function of arrays, or trees of arrays.
      primals: a tuple or list: the point.
      tangents: a tuple or list of the same structure, shapes and dtypes: the direction.
      has_aux: whether `fun` returns `(result, aux)`; aux is handed through.

    Returns:
      `(out, tangent_out)`, or `(out, tangent_out, aux)`.

    Raises:
      TypeError: when primals and tangents are not both tuples or lists.
      TreeError, CotangentError: when the tangents do not fit the primals.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.jvp(wnp.sin, (0.0,), (2.0,))[1]
    Array(2., dtype=float32, weak_type=True)
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError(
            "jvp takes tuples: jvp(f, (x,), (x_dot,)). It got primals of type "
            f"{type(primals).__name__} and tangents of type {type(tangents).__name__}."
        )
    leaves, in_tree = tree.flatten(tuple(primals))
    tangent_leaves, tangent_tree = tree.flatten(tuple(tangents))
    if in_tree != tangent_tree:
        raise errors.TreeError("the tangents", tangent_tree, "the primals", in_tree)
    inputs = [as_array(leaf) for leaf in leaves]
    checked = check_tangents(
        "tangent", tangent_leaves, inputs, lambda: tree.leaf_paths(tuple(primals))
    )
    out_tree: Any = None
    aux: Any = None

    def call(tracers: list[Any]) -> list[Any]:
        nonlocal out_tree, aux
        out = fun(*tree.unflatten(in_tree, tracers))
        if has_aux:
            out, aux = split_aux(out)
        out_leaves, out_tree = tree.flatten(out)
        return [as_array(leaf) for leaf in out_leaves]

    out, out_tangents, tag = jvp_flat(call, inputs, checked)
    result = tree.unflatten(out_tree, out)
    tangent = tree.unflatten(out_tree, map(tangent_result, out_tangents, out))
    if not has_aux:
        return result, tangent
    stripped = tree.map(
        lambda x: x.primal if type(x) is TangentTracer and x.tag is tag else x, aux
    )
    return result, tangent, stripped
