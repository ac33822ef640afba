"""Linearization: the primal result now, and a linear program for later.

While the user's function runs, every application to a followed value leaves one entry on a
*tape*: which inputs it had, and the factors or operands (residuals) its linear map needs. Run
forwards the tape is the pushforward, run backwards the pullback. Both are ordinary applications
of primitives under whatever interpreter is then current, so they can be differentiated, batched
and traced like everything else.

Reverse mode by transposing a linearization: Radul, Paszke, Frostig, Johnson and Maclaurin, "You
only linearize once" (2022); with symbolic zeros and no intermediate program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array
from wengert.core.interpreter import Interpreter, Params, Tag, Tracer, location, state
from wengert.core.primitive import Primitive, Value, Zero, type_of
from wengert.primitives.basis import Linear, add, minus_unit, unit, zeros_like
from wengert.primitives.cast import convert
from wengert.transforms.tape import PICK, Block, Tape


class DualTracer(Tracer):
    """A primal value, and the tape index of its tangent."""

    __slots__ = ("index", "primal")
    transformation = "a derivative (grad, vjp, linearize)"

    def __init__(self, tag: Tag, primal: Value, index: int) -> None:
        self.tag = tag
        self.primal = primal
        self.index = index

    @property
    def type(self) -> ArrayType:
        return self.primal.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.primal.shape

    @property
    def dtype(self) -> Any:
        return self.primal.dtype

    @property
    def weak_type(self) -> bool:
        return self.primal.weak_type

    def concrete(self, what: str) -> Any:
        # bool() and int() are piecewise constant: their derivative is zero, none is lost
        state.concretized += 1
        return self.primal.concrete(what) if isinstance(self.primal, Tracer) else self.primal

    def __repr__(self) -> str:
        return f"Traced<{self.primal!r} by {self.transformation}>"


class LinearTracer(Tracer):
    """A tangent inside a derivative rule: no value yet, only a type and a tape index."""

    __slots__ = ("_type", "index")
    transformation = "a derivative rule (it stands for a tangent)"

    def __init__(self, tag: Tag, type: ArrayType, index: int) -> None:
        self.tag = tag
        self._type = type
        self.index = index

    @property
    def type(self) -> ArrayType:
        return self._type


class LinearizeInterpreter(Interpreter):
    """Computes primals in its parent and records their linear maps on a tape."""

    __slots__ = ("tape",)
    name = "linearize"

    def __init__(self, parent: Interpreter, tape: Tape, tag: Tag | None = None) -> None:
        super().__init__(tag or Tag(), parent)
        self.tape = tape

    def apply(self, primitive: Primitive, args: Sequence[Any], params: Params) -> Any:
        tag = self.tag
        followed = False
        for arg in args:
            kind = type(arg)
            if kind is DualTracer:
                followed = followed or arg.tag is tag
            elif kind is LinearTracer and arg.tag is tag:
                return self._apply_to_tangents(primitive, args, params)
        if followed:
            return primitive.linearize(self, args, params)
        return self.parent.apply(primitive, args, params)

    # -- what the families use ---------------------------------------------------------------

    def primals(self, args: Sequence[Any]) -> list[Any]:
        """The operands with this interpreter's tracers replaced by their primals."""
        tag = self.tag
        return [a.primal if type(a) is DualTracer and a.tag is tag else a for a in args]

    def dual(self, out: Value, entry: Any) -> DualTracer:
        """A followed result, whose tangent the entry computes."""
        tape = self.tape
        if tape.locations is None:
            entries = tape.entries
            entries.append(entry)
            return DualTracer(self.tag, out, len(entries) - 1)
        return DualTracer(self.tag, out, tape.append(entry))

    def linearize_by_jvp(
        self, primitive: Primitive, args: Sequence[Any], params: Params
    ) -> Any:
        """Linearize by running the primitive's `jvp` with tracers for the tangents."""
        primals = self.primals(args)
        tangents = [self.tangent_of(a) for a in args]
        out, tangent = primitive.jvp(primals, tangents, **params)
        if primitive.multiple_results:
            return [self.joined(o, t) for o, t in zip(out, tangent, strict=True)]
        return self.joined(out, tangent)

    def block(self, block: Block, out: Sequence[Value], terms: Any, extra: Any) -> list[Value]:
        """Followed results of a linear map; `terms` are (position, input) pairs."""
        types = [o.type for o in out]
        variable = self.tape.append((block, terms, (extra, types)))
        joined = []
        for i, (primal, type_) in enumerate(zip(out, types, strict=True)):
            if dtypes.is_inexact(type_.dtype):
                index = self.tape.append((PICK, variable, i))
                joined.append(self.joined(primal, LinearTracer(self.tag, type_, index)))
            else:
                joined.append(primal)
        return joined

    def tangent_of(self, arg: Any) -> Value:
        """The tangent of an operand as a tracer, or a symbolic zero."""
        if type(arg) is DualTracer and arg.tag is self.tag:
            return LinearTracer(self.tag, arg.type, arg.index)
        return Zero(type_of(arg))

    def joined(self, primal: Value, tangent: Value) -> Value:
        """Primal and tangent, as a rule returned them, as one value.

        The primal may itself depend on followed values that the rule closed over.
        """
        own_tangent = type(tangent) is LinearTracer and tangent.tag is self.tag
        if type(primal) is DualTracer and primal.tag is self.tag:
            if not own_tangent:
                return primal
            closed_over = LinearTracer(self.tag, primal.type, primal.index)
            tangent, primal = add(closed_over, tangent), primal.primal
        elif not own_tangent:
            return primal
        return DualTracer(self.tag, primal, tangent.index)

    def _apply_to_tangents(
        self, primitive: Primitive, args: Sequence[Any], params: Params
    ) -> Any:
        if primitive.inlines or primitive.inlines_tangents:
            return primitive.inline(args, params)
        if primitive.takes_tangents:
            return primitive.linearize_tangents(self, args, params)
        operands = self.primals(args)
        active = [
            i for i, a in enumerate(args) if type(a) is LinearTracer and a.tag is self.tag
        ]
        if primitive.nondifferentiable or (primitive.multilinear and len(active) > 1):
            raise errors.NonlinearRuleError(primitive.name, location())
        if any(i not in active and is_nonzero(operands[i]) for i in summands(primitive, args)):
            raise errors.NonlinearRuleError(primitive.name, location())
        out_type = primitive.type_rule(*map(type_of, args), **params)
        hidden = [None if i in active else o for i, o in enumerate(operands)]
        if getattr(primitive, "linear", ()):
            hidden = [a.type if o is None else o for a, o in zip(args, hidden, strict=True)]
        try:
            entry = primitive.linear_entry(args, hidden, active, params)
        except (errors.MissingRuleError, TypeError, AttributeError) as error:
            raise errors.NonlinearRuleError(primitive.name, location()) from error
        return LinearTracer(self.tag, out_type, self.tape.append(entry))


def summands(primitive: Primitive, args: Sequence[Any]) -> Sequence[int]:
    """Positions of the operands whose sum the result is: all are tangents, or they are zero."""
    if isinstance(primitive, Linear):
        return () if primitive.multilinear else primitive.linear_positions(len(args))
    partials = getattr(primitive, "partials", ())
    return [i for i, p in enumerate(partials) if len(args) > 1 and p in (unit, minus_unit)]


def is_nonzero(value: Value) -> bool:
    """Whether a value is known not to be zero; NaN is taken for a zero times infinity."""
    if type(value) is Array:
        value = value._value
    elif type(value) not in dtypes.SCALAR_TYPES:
        return False
    return bool(np.any((value != 0) & ~np.isnan(value)))


class Linearization:
    """A function linearized at a point.

    Attributes:
      primals: the results, flat.
      indices: the tape variable of each result, or None where it has no tangent.
      tape: the linear program.
      followed: for each input, its tape variable, or None for integers.
    """

    __slots__ = ("followed", "indices", "primals", "tape")

    def __init__(self, call: Callable[[list[Any]], list[Any]], inputs: Sequence[Value]) -> None:
        """Run `call` on tracers for the floating inputs; it returns the flat results."""
        self.followed: list[int | None] = []
        count = 0
        for value in inputs:
            inexact = dtypes.is_inexact(value.dtype)
            self.followed.append(count if inexact else None)
            count += inexact
        self.tape = Tape(count)
        interpreter = LinearizeInterpreter(state.interpreter, self.tape)
        tag = interpreter.tag
        tracers = [
            value if index is None else DualTracer(tag, value, index)
            for value, index in zip(inputs, self.followed, strict=True)
        ]
        try:
            with interpreter:
                outputs = call(tracers)
        finally:
            tag.alive = False
        self.primals: list[Any] = []
        self.indices: list[int | None] = []
        for out in outputs:
            if type(out) is DualTracer and out.tag is tag:
                self.primals.append(out.primal)
                self.indices.append(out.index)
            else:
                self.primals.append(out)
                self.indices.append(None)

    def push(self, tangents: Sequence[Value]) -> list[Value]:
        """Tangents of the results (symbolic zeros allowed, in and out)."""
        followed = [t for t, i in zip(tangents, self.followed, strict=True) if i is not None]
        values = self.tape.push(followed)
        return [
            Zero(p.type) if i is None or type(values[i]) is Zero else values[i]
            for p, i in zip(self.primals, self.indices, strict=True)
        ]

    def pull(
        self, cotangents: Sequence[Value], consume: bool = False, masked: bool = False
    ) -> list[Value | None]:
        """Cotangents of the inputs, None where they vanish; arguments as for the tape."""
        outputs = [
            (index, cotangent)
            for index, cotangent in zip(self.indices, cotangents, strict=True)
            if index is not None and type(cotangent) is not Zero
        ]
        pulled = self.tape.pull(outputs, consume, masked)
        return [None if i is None else pulled[i] for i in self.followed]


def transpose_flat(
    call: Callable[[list[Any]], list[Any]],
    types: Sequence[ArrayType],
    cotangents: Callable[[list[Any]], Sequence[Value]],
) -> list[Value | None]:
    """Cotangents of the inputs of a linear function of flat arrays; None where they vanish.

    Args:
      call: the function; whatever it does to its inputs must be linear.
      types: of its inputs.
      cotangents: gives those of the results (possibly `Zero`), from the results.
    """
    tape = Tape(len(types))
    interpreter = LinearizeInterpreter(state.interpreter, tape)
    tag = interpreter.tag
    try:
        with interpreter:
            outputs = call([LinearTracer(tag, t, i) for i, t in enumerate(types)])
    finally:
        tag.alive = False
    pairs = []
    for out, cotangent in zip(outputs, cotangents(outputs), strict=True):
        if type(out) is LinearTracer and out.tag is tag:
            if type(cotangent) is not Zero:
                pairs.append((out.index, cotangent))
        elif is_nonzero(out):
            raise errors.NonlinearRuleError("a nonzero constant", location())
    return tape.pull(pairs, consume=True)


def primal(value: Any) -> Any:
    """An auxiliary result, with the tracers of ended linearizations replaced by primals."""
    while type(value) is DualTracer and not value.tag.alive:
        value = value.primal
    return value


def linearize_flat(
    fun: Callable[..., Any], primals: Sequence[Any], has_aux: bool = False
) -> tuple[Linearization, tree.TreeDef, tree.TreeDef, list[Value], Any]:
    """Linearize a function of trees; also gives the structures, the inputs and aux."""
    leaves, in_tree = tree.flatten(tuple(primals))
    # the linear map outlives this call: it must not change with memory that others own
    inputs = [as_array(np.array(x) if type(x) is np.ndarray else x) for x in leaves]
    out_tree: Any = None
    aux: Any = None

    def call(tracers: list[Any]) -> list[Any]:
        nonlocal out_tree, aux
        out = fun(*tree.unflatten(in_tree, tracers))
        if has_aux:
            out, aux = split_aux(out)
        out_leaves, out_tree = tree.flatten(out)
        return [as_array(leaf) for leaf in out_leaves]

    linearized = Linearization(call, inputs)
    return linearized, in_tree, out_tree, inputs, tree.map(primal, aux)


def split_aux(out: Any) -> tuple[Any, Any]:
    """The pair that a function with `has_aux=True` returned.

    Raises:
      TypeError: when it did not return a pair.
    """
    if not isinstance(out, tuple | list) or len(out) != 2:
        raise TypeError(
            "with has_aux=True the function must return a pair (result, aux); it returned "
            f"{type(out).__name__}. Write: return result, aux"
        )
    return out[0], out[1]


def check_tangents(
    kind: str, got: Sequence[Any], expected: Sequence[Any], paths: Any
) -> list[Any]:
    """Flat tangents or cotangents as arrays, checked against the values they belong to.

    Raises:
      CotangentError: on a wrong shape or dtype, naming the place.
    """
    out = []
    for i, (value, reference) in enumerate(zip(got, expected, strict=True)):
        if type(value) is Zero:
            out.append(value)
            continue
        if not dtypes.is_inexact(reference.dtype):
            if kind == "tangent" and getattr(value, "dtype", None) != dtypes.float0:
                expected = f"{reference.type}, whose tangents have dtype float0"
                raise errors.CotangentError(kind, paths()[i], as_array(value).type, expected)
            out.append(Zero(reference.type))
            continue
        value = as_array(value)
        same = value.dtype == reference.dtype or (
            value.weak_type and dtypes.absorbs(reference.dtype, value.dtype)
        )
        if value.shape != reference.shape or not same:
            raise errors.CotangentError(kind, paths()[i], value.type, reference.type)
        if value.dtype != reference.dtype or value.weak_type != reference.weak_type:
            value = convert(value, dtype=reference.dtype, weak=reference.weak_type)
        out.append(value)
    return out


def like(tangent: Value, value: Value) -> Value:
    """A tangent or cotangent with the weakness of the value it belongs to."""
    if tangent.weak_type == value.weak_type:
        return tangent
    if type(tangent) is Array:
        return Array(tangent._value, value.weak_type)
    return convert(tangent, dtype=tangent.dtype, weak=value.weak_type)


def tangent_result(tangent: Value, value: Value) -> Any:
    """A tangent as users get it: as an array, for integers of dtype float0."""
    if not dtypes.is_inexact(value.dtype):
        return float0_zeros(value.shape)
    return zeros_like(value) if type(tangent) is Zero else like(tangent, value)


def result_or_zero(value: Value | None, reference: Value) -> Any:
    """A cotangent as users get it: zeros where it vanishes, float0 zeros for integers."""
    if value is not None and type(value) is not Zero:
        return like(value, reference)
    if not dtypes.is_inexact(reference.dtype):
        return float0_zeros(reference.shape)
    return zeros_like(reference)


def float0_zeros(shape: tuple[int, ...]) -> Any:
    """What stands for the derivative with respect to integers: an array without information."""
    return np.zeros(shape, dtypes.float0)


def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Result of a function, and its derivative at that point as a linear function.

    The function runs once; the linear function can then be applied many times at the cost of
    its linear operations alone.

    Args:
      fun: a function of arrays, or trees of arrays. NumPy arrays that it closes over are
        shared: change them only after the last use of the linear function.
      *primals: where to linearize. NumPy arrays are copied.
      has_aux: whether `fun` returns `(result, aux)`; aux is handed through.

    Returns:
      `(out, f_jvp)`, or `(out, f_jvp, aux)`; `f_jvp(*tangents)` gives the tangents of `out`.

    >>> import wengert, wengert.numpy as wnp
    >>> y, f_jvp = wengert.linearize(lambda x: wnp.sin(x) * 2, wnp.array(0.0))
    >>> f_jvp(wnp.array(1.0))
    Array(2., dtype=float32, weak_type=True)
    """
    linearized, in_tree, out_tree, inputs, aux = linearize_flat(fun, primals, has_aux)

    def f_jvp(*tangents: Any) -> Any:
        got, got_tree = tree.flatten(tuple(tangents))
        if got_tree != in_tree:
            raise errors.TreeError("the tangents", got_tree, "the primal inputs", in_tree)
        checked = check_tangents(
            "tangent", got, inputs, lambda: tree.leaf_paths(tuple(primals))
        )
        pushed = linearized.push(checked)
        return tree.unflatten(out_tree, map(tangent_result, pushed, linearized.primals))

    out = tree.unflatten(out_tree, linearized.primals)
    return (out, f_jvp, aux) if has_aux else (out, f_jvp)
