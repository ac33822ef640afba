"""Wengert from scratch: the whole idea in miniature, on scalars and vectors.

This file builds the system once more, small enough to be read in one sitting, with the words
and the shape of the real one (`wengert/core`, `wengert/transforms`). It is executed by the
tests. Run it: `python docs/from_scratch.py`. It prints nothing when all of its assertions hold.

Left out: dtypes and promotion, trees, weak types, errors that teach, residuals that are freed
early, everything that makes it fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# ==== 1. Interpreters =========================================================================
# A program is a sequence of applications of primitives. What an application *means* is decided
# by the current interpreter. There is one; each new one knows its parent, and passes on to it
# whatever does not concern it. The outermost computes with NumPy.


class Interpreter:
    """What gives meaning to the application of a primitive."""

    parent: Interpreter

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        raise NotImplementedError


class Eager(Interpreter):
    """Computes at once."""

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        return primitive.compute(*args, **params)


current: Interpreter = Eager()


@contextmanager
def interpreting(interpreter: Interpreter) -> Any:
    """Make an interpreter current inside a block."""
    global current  # noqa: PLW0603  (the real one is thread-local)
    previous, current = current, interpreter
    try:
        yield interpreter
    finally:
        current = previous


class Tracer:
    """A stand-in for a value; it belongs to one interpreter, and behaves like a number."""

    interpreter: Interpreter

    def __add__(self, other: Any) -> Any:
        return add(self, other)

    def __mul__(self, other: Any) -> Any:
        return mul(self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return mul(self, -1.0)


# ==== 2. Primitives ===========================================================================
# One class per operation, with everything about it. A derivative is declared once, in the form
# that says most. Elementwise operations declare `partials`, the local derivative factors;
# linear operations declare `transpose`. Pushforward and pullback follow from either.


class Primitive:
    """An operation the system knows."""

    compute: Callable[..., Any]

    def __call__(self, *args: Any, **params: Any) -> Any:
        return current.apply(self, args, params)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        """Result and tangent; a tangent may be None, a symbolic zero."""
        raise NotImplementedError

    def linearize(
        self, tape: Tape, primals: Sequence[Any], inputs: Sequence[int | None], params: Any
    ) -> tuple[Any, int]:
        """Result, and the tape index of its tangent."""
        raise NotImplementedError

    def batch(self, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> Any:
        """The result for operands that may have a batch dimension in front."""
        raise NotImplementedError


class Elementwise(Primitive):
    """Acts on each element alone. `partials`: one function of (out, *operands) per operand."""

    partials: tuple[Callable[..., Any], ...]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = self(*primals)
        terms = [
            mul(tangent, partial(out, *primals))
            for tangent, partial in zip(tangents, self.partials, strict=True)
            if tangent is not None
        ]
        return out, sum(terms[1:], terms[0])

    def linearize(
        self, tape: Tape, primals: Sequence[Any], inputs: Sequence[int | None], params: Any
    ) -> tuple[Any, int]:
        out = self(*primals)
        terms = [
            (index, partial(out, *primals))
            for index, partial in zip(inputs, self.partials, strict=True)
            if index is not None
        ]
        return out, tape.append(Scaled(terms))

    def batch(self, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> Any:
        rank = max(np.ndim(a) - b for a, b in zip(args, batched, strict=True))
        return self(
            *(expand(a, rank=rank) if b else a for a, b in zip(args, batched, strict=True))
        )


class Linear(Primitive):
    """Linear in its one operand; `transpose` maps a cotangent back."""

    def transpose(self, cotangent: Any, shape: tuple[int, ...], **params: Any) -> Any:
        raise NotImplementedError

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        return self(*primals, **params), self(*tangents, **params)

    def linearize(
        self, tape: Tape, primals: Sequence[Any], inputs: Sequence[int | None], params: Any
    ) -> tuple[Any, int]:
        entry = Mapped(self, inputs[0], shape_of(primals[0]), params)
        return self(*primals, **params), tape.append(entry)


class Add(Elementwise):
    compute = staticmethod(np.add)
    partials = (lambda out, x, y: 1.0, lambda out, x, y: 1.0)


class Mul(Elementwise):
    compute = staticmethod(np.multiply)
    partials = (lambda out, x, y: y, lambda out, x, y: x)


class Sin(Elementwise):
    compute = staticmethod(np.sin)
    partials = (lambda out, x: cos(x),)


class Cos(Elementwise):
    compute = staticmethod(np.cos)
    partials = (lambda out, x: mul(sin(x), -1.0),)


class Sum(Linear):
    """Sum over all dimensions but the first `keep`."""

    @staticmethod
    def compute(x: Any, keep: int) -> Any:
        return np.sum(x, axis=tuple(range(keep, np.ndim(x))))

    def transpose(self, cotangent: Any, shape: tuple[int, ...], **params: Any) -> Any:
        return spread(cotangent, shape=shape)

    def batch(self, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> Any:
        return self(args[0], keep=params["keep"] + 1)


class Spread(Linear):
    """Repetition along new trailing dimensions."""

    @staticmethod
    def compute(x: Any, shape: tuple[int, ...]) -> Any:
        return np.broadcast_to(
            np.reshape(x, np.shape(x) + (1,) * (len(shape) - np.ndim(x))), shape
        )

    def transpose(self, cotangent: Any, shape: tuple[int, ...], **params: Any) -> Any:
        return total(cotangent, keep=len(shape))

    def batch(self, args: Sequence[Any], batched: Sequence[bool], **params: Any) -> Any:
        return self(args[0], shape=(shape_of(args[0])[0], *params["shape"]))


class Expand(Linear):
    """Dimensions of size 1 after the first, up to `rank` of them besides it."""

    @staticmethod
    def compute(x: Any, rank: int) -> Any:
        first, *rest = np.shape(x)
        return np.reshape(x, (first, *(1,) * (rank - len(rest)), *rest))

    def transpose(self, cotangent: Any, shape: tuple[int, ...], **params: Any) -> Any:
        return cotangent if shape_of(cotangent) == shape else total(cotangent, keep=len(shape))


add, mul, sin, cos = Add(), Mul(), Sin(), Cos()
total, spread, expand = Sum(), Spread(), Expand()


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a number, an array or a tracer."""
    return value.shape if isinstance(value, Tracer) else np.shape(value)


# ==== 3. Forward mode =========================================================================
# A tracer is a pair of primal and tangent. The interpreter hands both to the primitive.


@dataclass(eq=False)
class TangentTracer(Tracer):
    interpreter: Interpreter
    primal: Any
    tangent: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.primal)


@dataclass
class TangentInterpreter(Interpreter):
    parent: Interpreter

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        own = [isinstance(a, TangentTracer) and a.interpreter is self for a in args]
        if not any(own):
            return self.parent.apply(primitive, args, params)
        primals = [a.primal if mine else a for a, mine in zip(args, own, strict=True)]
        tangents = [a.tangent if mine else None for a, mine in zip(args, own, strict=True)]
        out, tangent = primitive.jvp(primals, tangents, **params)
        return TangentTracer(self, out, tangent)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Result and directional derivative."""
    with interpreting(TangentInterpreter(current)) as interpreter:
        out = f(*(TangentTracer(interpreter, *p) for p in zip(primals, tangents, strict=True)))
    if isinstance(out, TangentTracer) and out.interpreter is interpreter:
        return out.primal, out.tangent
    return out, out * 0.0


# Perturbation confusion cannot happen: a tracer belongs to exactly one interpreter.
assert jvp(lambda x: x * jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,)) == (1.0, 1.0)


# ==== 4. Reverse mode: linearize, then transpose ==============================================
# Primals are computed at once; of each application only its linear map is kept, as one entry on
# a tape. Forwards the tape is the pushforward; backwards, entry by entry, the pullback.


@dataclass
class Scaled:
    """An elementwise linear map: a sum of inputs times factors."""

    terms: list[tuple[int, Any]]

    def pull(self, cotangent: Any, send: Callable[[int, Any], None]) -> None:
        for index, factor in self.terms:
            send(index, mul(cotangent, factor))


@dataclass
class Mapped:
    """A linear primitive."""

    primitive: Linear
    index: int | None
    shape: tuple[int, ...]
    params: dict[str, Any]

    def pull(self, cotangent: Any, send: Callable[[int, Any], None]) -> None:
        assert self.index is not None
        send(self.index, self.primitive.transpose(cotangent, self.shape, **self.params))


@dataclass
class Tape:
    """A linear program with its residuals."""

    entries: list[Any] = field(default_factory=list)

    def append(self, entry: Any) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def pull(self, output: int, seed: Any) -> dict[int, Any]:
        cotangents: dict[int, Any] = {output: seed}

        def send(index: int, value: Any) -> None:
            cotangents[index] = cotangents[index] + value if index in cotangents else value

        for i in reversed(range(len(self.entries))):
            if self.entries[i] is not None and i in cotangents:
                self.entries[i].pull(cotangents[i], send)
        return cotangents


@dataclass(eq=False)
class DualTracer(Tracer):
    interpreter: Interpreter
    primal: Any
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.primal)


@dataclass
class LinearizeInterpreter(Interpreter):
    parent: Interpreter
    tape: Tape

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        own = [isinstance(a, DualTracer) and a.interpreter is self for a in args]
        if not any(own):
            return self.parent.apply(primitive, args, params)
        primals = [a.primal if mine else a for a, mine in zip(args, own, strict=True)]
        inputs = [a.index if mine else None for a, mine in zip(args, own, strict=True)]
        out, index = primitive.linearize(self.tape, primals, inputs, params)
        return DualTracer(self, out, index)


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], list[Any]]]:
    """Result and pullback."""
    tape = Tape([None] * len(primals))
    with interpreting(LinearizeInterpreter(current, tape)) as interpreter:
        out = f(*(DualTracer(interpreter, p, i) for i, p in enumerate(primals)))

    def pullback(cotangent: Any) -> list[Any]:
        cotangents = tape.pull(out.index, cotangent)
        return [cotangents.get(i, 0.0) for i in range(len(primals))]

    return out.primal, pullback


def grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of a scalar function, with respect to its first argument."""
    return lambda *args: vjp(f, *args)[1](1.0)[0]


def simple(x: Any, w: Any) -> Any:
    return (x + w) * (x * x)


assert grad(simple)(3.0, 1.0) == 33.0  # the first user's notebook
assert grad(grad(simple))(3.0, 1.0) == 20.0
assert jvp(grad(simple), (3.0, 1.0), (1.0, 0.0)) == (33.0, 20.0)  # forward over reverse
assert np.allclose(
    grad(lambda v: total(sin(v) * v, keep=0))(np.array([0.0, 1.0])), [0, 1.38177329]
)


# ==== 5. Batching =============================================================================
# A batch tracer hides a leading dimension.


@dataclass(eq=False)
class BatchTracer(Tracer):
    interpreter: Interpreter
    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.value)[1:]


@dataclass
class BatchInterpreter(Interpreter):
    parent: Interpreter

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        own = [isinstance(a, BatchTracer) and a.interpreter is self for a in args]
        if not any(own):
            return self.parent.apply(primitive, args, params)
        values = [a.value if mine else a for a, mine in zip(args, own, strict=True)]
        return BatchTracer(self, primitive.batch(values, own, **params))


def vmap(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` on all examples along the leading dimension of its arguments."""

    def batched(*args: Any) -> Any:
        with interpreting(BatchInterpreter(current)) as interpreter:
            out = f(*(BatchTracer(interpreter, a) for a in args))
        return out.value

    return batched


points = np.array([1.0, 2.0, 3.0])
assert np.allclose(vmap(grad(simple))(points, points), [grad(simple)(p, p) for p in points])


def jacrev(f: Callable[..., Any]) -> Callable[..., Any]:
    """The Jacobian of a function of one vector: the pullback of all basis vectors at once."""

    def jacobian(x: Any) -> Any:
        out, pullback = vjp(f, x)
        return vmap(lambda row: pullback(row)[0])(np.eye(np.size(out)))

    return jacobian


assert np.allclose(
    jacrev(lambda x: sin(x) * x)(points), np.diag(np.sin(points) + points * np.cos(points))
)


# ==== 6. Tracing to a program =================================================================
# The same function, run on tracers that know nothing, writes itself down as a list of
# equations: the list that R. E. Wengert described in 1964.


@dataclass(eq=False)
class Variable(Tracer):
    interpreter: Interpreter
    name: str


@dataclass
class TraceInterpreter(Interpreter):
    parent: Interpreter
    equations: list[tuple[str, Primitive, list[Any], dict[str, Any]]] = field(
        default_factory=list
    )

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        out = Variable(self, f"v{len(self.equations)}")
        operands = [a.name if isinstance(a, Variable) else a for a in args]
        self.equations.append((out.name, primitive, operands, params))
        return out


def make_program(f: Callable[..., Any], *names: str) -> tuple[list[Any], str]:
    """The equations of a function, and the name of its result."""
    with interpreting(TraceInterpreter(current)) as interpreter:
        out = f(*(Variable(interpreter, name) for name in names))
    return interpreter.equations, out.name


def evaluate(program: tuple[list[Any], str], **values: Any) -> Any:
    """A program's result, under whatever interpreter is current."""
    equations, result = program
    for name, primitive, operands, params in equations:
        args = [values[a] if isinstance(a, str) else a for a in operands]
        values[name] = primitive(*args, **params)
    return values[result]


program = make_program(simple, "x", "w")
assert [type(primitive).__name__ for _, primitive, _, _ in program[0]] == ["Add", "Mul", "Mul"]
assert evaluate(program, x=3.0, w=1.0) == simple(3.0, 1.0)
assert grad(lambda x: evaluate(program, x=x, w=1.0))(3.0) == 33.0  # programs transform too
assert (
    evaluate(make_program(grad(simple), "x", "w"), x=3.0, w=1.0) == 33.0
)  # and are transformed
