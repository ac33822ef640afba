"""The families, and the primitives that their default rules are written with.

Linear maps between arrays need surprisingly little: add, negate, multiply, sum, reshape,
permute, broadcast and fill. With these the families give every elementwise and every linear
primitive its tangents, cotangents and batches, so that a new primitive states only what
is its own.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape
from wengert.core.array import broadcast_shape as broadcast_shape
from wengert.core.interpreter import EAGER, Params, quiet
from wengert.core.primitive import Batched, Dims, Primitive, Sample, Value, Zero, type_of

Factor = Callable[..., Value]


def unit(*_: Any, **__: Any) -> int:
    """The partial derivative that is one everywhere (as in a sum)."""
    return 1


def minus_unit(*_: Any, **__: Any) -> int:
    """The partial derivative that is minus one everywhere."""
    return -1


class Linear(Primitive):
    """Primitives that are linear in the operands at the positions `linear`.

    With `multilinear` the map is linear in each of them separately, as a product is; without,
    in all together, as a sum or a concatenation is.
    """

    linear: ClassVar[tuple[int, ...]] = (0,)

    def linear_positions(self, count: int) -> tuple[int, ...]:
        """The positions of the linear operands among `count` operands."""
        return self.linear

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        out = self(*primals, **params)
        active = [(i, i) for i, t in enumerate(tangents) if type(t) is not Zero]
        if not {i for i, _ in active} <= set(self.linear_positions(len(primals))):
            raise errors.MissingRuleError(self.name, "derivative")
        if not active:
            return out, Zero(out.type)
        return out, self.push(self.terms(primals, active), params, tangents)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        primals = interpreter.primals(args)
        active = [i for i, (a, p) in enumerate(zip(args, primals, strict=True)) if a is not p]
        if not set(active) <= set(self.linear_positions(len(args))):
            return interpreter.linearize_by_jvp(self, args, params)
        out = interpreter.parent.apply(self, primals, params)
        return interpreter.dual(out, self.linear_entry(args, primals, active, params))

    def linear_entry(
        self, args: Sequence[Value], primals: Sequence[Any], active: list[int], params: Params
    ) -> Any:
        return self, self.terms(primals, [(i, args[i].index) for i in active]), params

    def terms(self, primals: Sequence[Any], active: Sequence[tuple[int, int]]) -> list[Any]:
        """For each active (position, variable) a term: these, and what transposing needs.

        Of the linear operands only the types are kept, so that their values can be freed.
        """
        if self.multilinear:
            return [
                (i, index, [*primals[:i], type_of(primals[i]), *primals[i + 1 :]])
                for i, index in active
            ]
        linear = self.linear_positions(len(primals))
        operands = [type_of(p) if i in linear else p for i, p in enumerate(primals)]
        return [(i, index, operands) for i, index in active]

    @staticmethod
    def term_inputs(terms: Any) -> list[int]:
        """The tape variables that an entry reads."""
        return [index for _, index, _ in terms]

    def push(self, terms: Any, params: Params, tangents: Sequence[Value]) -> Value:
        """The tangent of the result, from the tangents of all variables."""
        active = [term for term in terms if type(tangents[term[1]]) is not Zero]
        if self.multilinear:
            total: Value = None
            for i, index, operands in active:
                term = self(*operands[:i], tangents[index], *operands[i + 1 :], **params)
                total = term if total is None else add(total, term)
            return total
        operands = list(terms[0][2])
        for i in self.linear_positions(len(operands)):
            operands[i] = zeros_like(operands[i]) if type(operands[i]) is ArrayType else 0
        for i, index, _ in active:
            operands[i] = tangents[index]
        return self(*operands, **params)

    def pull(
        self, terms: Any, params: Params, cotangent: Value, sink: Any, masked: bool
    ) -> None:
        """Send the cotangent of a tape entry to its inputs."""
        masked = masked or self.masks
        for i, index, operands in terms:
            sink.accumulate(index, self.transpose(cotangent, operands, i, **params), masked)


class Elementwise(Primitive):
    """Primitives that act on each element alone; operands broadcast by NumPy's rule.

    `partials` holds one function per operand, `partial(out, *operands, **params)`, which gives
    the local derivative factor, or None where there is no derivative. Operands have one
    dtype; Python scalars take the dtype of the others.
    """

    partials: ClassVar[tuple[Factor | None, ...]] = ()

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        if len(args) == 2 and not params:  # the commonest case, without the general loop
            x, y = args
            if type(x) is Array:
                try:
                    if type(y) is Array:
                        out = quiet().run(self.compute, x._value, y._value)
                        return Array(out, x._weak and y._weak and self.keeps_weak)
                    if type(y) is float and x._value.dtype.kind == "f":
                        out = quiet().run(self.compute, x._value, y)
                        return Array(out, x._weak and self.keeps_weak)
                except (ValueError, TypeError, ArithmeticError):
                    pass  # the general way explains the error
        return super().evaluate(args, params)

    def type_rule(self, *types: Any, **params: Any) -> Any:
        arrays = [t for t in types if type(t) is ArrayType]
        shape = broadcast_shape([t.shape for t in arrays], self.name)
        weak = self.keeps_weak and all(t.weak_type for t in arrays)
        return ArrayType(shape, self.result_dtype(*[t.dtype for t in arrays], **params), weak)

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        """The dtype of the result, from those of the array operands."""
        for dtype in operands:
            if dtype != operands[0]:
                names = ", ".join(d.name for d in operands)
                raise errors.DTypeError(
                    f"{self.name} needs operands of one dtype, got {names}. The functions of "
                    "wengert.numpy promote; primitives do not: convert with x.astype(dtype)."
                )
        return operands[0]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value], **params: Any) -> Any:
        out = self(*primals, **params)
        total: Value = None
        for tangent, partial in zip(tangents, self.partials, strict=False):
            if type(tangent) is Zero or partial is None:
                continue
            term = self._scaled(tangent, partial(out, *primals, **params))
            total = term if total is None else add(total, term)
        if total is None:
            return out, Zero(out.type)
        return out, total if total.shape == out.shape else broadcast_to(total, out.shape)

    def linearize(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        primals = interpreter.primals(args)
        parent = interpreter.parent  # for the eager one what its `apply` does, without the call
        out = (
            self.evaluate(primals, params)
            if parent is EAGER
            else parent.apply(self, primals, params)
        )
        terms = []
        for arg, primal, partial in zip(args, primals, self.partials, strict=False):
            if arg is not primal and partial is not None:
                factor = partial(out, *primals, **params)
                terms.append((arg.index, factor, primal.shape))
        return interpreter.dual(out, (self, terms, out.shape)) if terms else out

    def linear_entry(
        self,
        args: Sequence[Value],
        operands: Sequence[Value],
        active: list[int],
        params: Params,
    ) -> Any:
        """What a tape keeps of an application to tangents: (input, factor, shape) terms."""
        terms = []
        for i in active:
            partial = self.partials[i] if i < len(self.partials) else None
            if partial is not None:
                factor = partial(None, *operands, **params)
                if factor is None:  # it depends on the tangent, which has no value
                    raise errors.MissingRuleError(self.name, "linear")
                terms.append((args[i].index, factor, args[i].shape))
        return self, terms, self.type_rule(*map(type_of, args), **params).shape

    @staticmethod
    def term_inputs(terms: Any) -> list[int]:
        """The tape variables that an entry reads."""
        return [index for index, _, _ in terms]

    def push(self, terms: Any, shape: Shape, tangents: Sequence[Value]) -> Value:
        """Evaluate a tape entry on the tangents of its inputs."""
        total: Value = None
        for index, factor, _ in terms:
            tangent = tangents[index]
            if type(tangent) is not Zero:
                term = self._scaled(tangent, factor)
                total = term if total is None else add(total, term)
        return total if total.shape == shape else broadcast_to(total, shape)

    def _scaled(self, tangent: Value, factor: Any) -> Value:
        """A tangent times a factor; what a selection does not take may be infinite or NaN."""
        if self.masks and type(factor) is not int:
            return masked_mul(factor, tangent)
        return scale(tangent, factor)

    def pull(self, terms: Any, shape: Shape, cotangent: Value, sink: Any, masked: bool) -> None:
        """Send the cotangent of a tape entry to its inputs."""
        values = sink.values
        masks = self.masks
        for index, factor, operand_shape in terms:
            if type(factor) is int:
                term = scale(cotangent, factor)
            elif masks:
                term = masked_mul(factor, cotangent)
            else:
                term = masked_mul(cotangent, factor) if masked else mul(cotangent, factor)
            if operand_shape != shape:
                term = unbroadcast(term, operand_shape)
            before = values[index]
            values[index] = term if before is None else add(before, term)
            if masked or masks:
                sink.masked.add(index)

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        return self(*aligned(args, dims), **params), 0

    def apply_batched(self, interpreter: Any, args: Sequence[Value], params: Params) -> Any:
        # as by `batch`, but straight in the parent: jacobians spend their time here
        operands = aligned(*interpreter.split(args))
        return interpreter.tracer(interpreter.parent.apply(self, operands, params), 0)

    def samples(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        count = (
            self.compute.nin if isinstance(self.compute, np.ufunc) else len(self.partials) or 1
        )
        for shape in ((), (3,), (2, 1, 3), (0, 2)):
            yield Sample(*(rng.uniform(0.3, 0.9, shape) for _ in range(count)))


def aligned(args: Sequence[Value], dims: Sequence[int | None]) -> list[Value]:
    """Operands that broadcast against each other, with their batch dimensions in front."""
    ranks = [
        len(a.shape) - (d is not None) if type(a) not in dtypes.SCALAR_TYPES else 0
        for a, d in zip(args, dims, strict=True)
    ]
    rank = max(ranks)
    return [
        a if d is None or (d == 0 and r == rank) else _lead(a, d, rank - r)
        for a, d, r in zip(args, dims, ranks, strict=True)
    ]


def _lead(value: Value, dim: int, padding: int) -> Value:
    """Move the batch dimension to the front; `padding` dimensions of size 1 follow it."""
    value = move_axis(value, dim, 0)
    if padding:
        value = reshape(value, shape=(value.shape[0], *(1,) * padding, *value.shape[1:]))
    return value


# -- arithmetic --------------------------------------------------------------------------------


class Add(Elementwise):
    """Sum."""

    compute = staticmethod(operator.add)
    partials = (unit, unit)


class Neg(Elementwise):
    """Negation."""

    compute = staticmethod(operator.neg)
    partials = (minus_unit,)


class Mul(Elementwise):
    """Product."""

    compute = staticmethod(operator.mul)
    partials = (lambda out, x, y: y, lambda out, x, y: x)


class MaskedMul(Linear):
    """Product in which an exact zero on the left wins over anything on the right.

    Below a selection, reverse mode multiplies cotangents by derivative factors of branches that
    were not taken. Those cotangents are exactly zero; the factors may be infinite or NaN, and
    mean nothing.
    """

    linear = (0, 1)
    multilinear = True
    masks = True

    @staticmethod
    def compute(x: Any, y: Any) -> Any:
        product = x * y
        if not np.isnan(product).any():  # as zero times infinity would be
            return product
        return np.where((x == 0) & np.isnan(product), product.dtype.type(0), product)[()]

    def type_rule(self, x: Any, y: Any) -> Any:
        return mul.type_rule(x, y)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        x, y = operands
        product = masked_mul(cotangent, y) if position == 0 else masked_mul(x, cotangent)
        return unbroadcast(product, operands[position].shape)

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        return masked_mul(*aligned(args, dims)), 0

    def samples(self) -> Iterator[Sample]:
        yield Sample(np.array([1.0, 2.0, -3.0]), np.array([0.5, -0.25, 2.0]))
        yield Sample(np.array([[1.5], [2.0]]), np.array([0.5, -0.25, 2.0]))
        yield Sample(np.array([[0.0], [2.0]]), np.array([np.inf, 1.0]), differentiable=False)


# -- structure ---------------------------------------------------------------------------------


class Reshape(Linear):
    """The same elements, in row-major order, in another shape."""

    @staticmethod
    def compute(x: Any, shape: Shape) -> Any:
        return x.reshape(shape)

    def type_rule(self, x: Any, shape: Shape) -> Any:
        if math.prod(shape) != x.size:
            raise errors.ShapeError(
                f"cannot reshape an array of shape {x.shape} and size {x.size} into {shape}, "
                f"which has size {math.prod(shape)}."
            )
        return ArrayType(tuple(shape), x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        return reshape(cotangent, shape=operands[0].shape)

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        x = move_axis(args[0], dims[0], 0)
        return reshape(x, shape=(size, *params["shape"])), 0

    def samples(self) -> Iterator[Sample]:
        yield Sample(np.arange(6.0).reshape(2, 3), shape=(3, 1, 2))
        yield Sample(np.float64(2.0), shape=(1, 1))
        yield Sample(np.zeros((0, 3)), shape=(3, 0, 2))


class Transpose(Linear):
    """A permutation of the dimensions."""

    @staticmethod
    def compute(x: Any, permutation: tuple[int, ...]) -> Any:
        return x.transpose(permutation)

    def type_rule(self, x: Any, permutation: tuple[int, ...]) -> Any:
        if sorted(permutation) != list(range(x.ndim)):
            raise errors.ShapeError(
                f"{permutation} is not a permutation of the {x.ndim} dimensions of {x}."
            )
        return ArrayType(tuple(x.shape[i] for i in permutation), x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        inverse = sorted(
            range(len(params["permutation"])), key=params["permutation"].__getitem__
        )
        return transpose(cotangent, permutation=tuple(inverse))

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        (x,), (d,) = args, dims
        rest = [i for i in range(len(x.shape)) if i != d]
        return transpose(x, permutation=(d, *(rest[i] for i in params["permutation"]))), 0

    def samples(self) -> Iterator[Sample]:
        yield Sample(np.arange(24.0).reshape(2, 3, 4), permutation=(2, 0, 1))
        yield Sample(np.float64(2.0), permutation=())
        yield Sample(np.zeros((0, 2)), permutation=(1, 0))


class BroadcastInDim(Linear):
    """Repetition along new dimensions and along dimensions of size 1.

    Operand dimension `i` becomes dimension `broadcast_dimensions[i]` of the result.
    """

    @staticmethod
    def compute(x: Any, shape: Shape, broadcast_dimensions: Shape) -> Any:
        sizes = [1] * len(shape)
        for i, d in enumerate(broadcast_dimensions):
            sizes[d] = x.shape[i]
        x = x.reshape(sizes)
        if math.prod(shape) > _SMALL:
            return np.broadcast_to(x, shape)
        out = np.empty(shape, x.dtype)  # for small arrays a copy is much cheaper than a view
        out[...] = x
        return out

    def type_rule(self, x: Any, shape: Shape, broadcast_dimensions: Shape) -> Any:
        dims = broadcast_dimensions
        bad = [i for i, d in enumerate(dims) if x.shape[i] not in (1, shape[d])]
        if bad or len(dims) != x.ndim or list(dims) != sorted(set(dims)):
            raise errors.ShapeError(
                f"cannot broadcast shape {x.shape} into {shape} along dimensions {dims}."
            )
        return ArrayType(tuple(shape), x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        shape, dims = operands[0].shape, params["broadcast_dimensions"]
        kept = {d for i, d in enumerate(dims) if shape[i] == params["shape"][d]}
        axes = tuple(d for d in range(len(params["shape"])) if d not in kept)
        out = reduce_sum(cotangent, axes=axes) if axes else cotangent
        return out if out.shape == shape else reshape(out, shape=shape)

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        x = move_axis(args[0], dims[0], 0)
        inner = (0, *(d + 1 for d in params["broadcast_dimensions"]))
        return broadcast_in_dim(
            x, shape=(size, *params["shape"]), broadcast_dimensions=inner
        ), 0

    def samples(self) -> Iterator[Sample]:
        yield Sample(np.float64(1.5), shape=(2, 3), broadcast_dimensions=())
        yield Sample(np.arange(3.0).reshape(3, 1), shape=(2, 3, 4), broadcast_dimensions=(1, 2))
        yield Sample(np.arange(2.0), shape=(2, 0), broadcast_dimensions=(0,))


_SMALL = 4096


class ReduceSum(Linear):
    """Sum over some dimensions."""

    @staticmethod
    def compute(x: Any, axes: tuple[int, ...]) -> Any:
        if x.dtype.itemsize == 2 and dtypes.is_floating(x.dtype):  # accumulate with precision
            return np.add.reduce(x.astype(np.float32), axis=axes).astype(x.dtype)
        if x.dtype == bool:
            return np.logical_or.reduce(x, axis=axes)
        return np.add.reduce(x, axis=axes, dtype=x.dtype)

    def type_rule(self, x: Any, axes: tuple[int, ...]) -> Any:
        shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
        return ArrayType(shape, x.dtype, x.weak_type)

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        shape, axes = operands[0].shape, params["axes"]
        kept = tuple(i for i in range(len(shape)) if i not in axes)
        return broadcast_in_dim(cotangent, shape=shape, broadcast_dimensions=kept)

    def batch(self, size: int, args: Sequence[Value], dims: Dims, **params: Any) -> Batched:
        (x,), (d,) = args, dims
        axes = tuple(a + (a >= d) for a in params["axes"])
        return reduce_sum(x, axes=axes), d - sum(a < d for a in axes)

    def samples(self) -> Iterator[Sample]:
        x = np.arange(24.0).reshape(2, 3, 4)
        yield Sample(x, axes=(1,))
        yield Sample(x, axes=(0, 1, 2))
        yield Sample(x, axes=())
        yield Sample(np.zeros((0, 3)), axes=(0,))


class Full(Primitive):
    """An array of one value."""

    nondifferentiable = True

    @staticmethod
    def compute(shape: Shape, value: Any, dtype: Any, weak: bool = False) -> Any:
        if shape and type(value) is int and value == 0:
            return np.zeros(shape, dtype)  # np.full takes four times as long
        return np.full(shape, value, dtype) if shape else dtype.type(value)

    def evaluate(self, args: Sequence[Value], params: Params) -> Any:
        return Array(quiet().run(self.compute, **params), params.get("weak", False))

    def type_rule(self, shape: Shape, value: Any, dtype: Any, weak: bool = False) -> Any:
        return ArrayType(tuple(shape), dtype, weak)

    def samples(self) -> Iterator[Sample]:
        yield Sample(shape=(2, 3), value=1.5, dtype=np.dtype(np.float64))
        yield Sample(shape=(), value=2, dtype=np.dtype(np.int32))


add = Add()
neg = Neg()
mul = Mul()
masked_mul = MaskedMul()
reshape = Reshape()
transpose = Transpose()
broadcast_in_dim = BroadcastInDim()
reduce_sum = ReduceSum()
full = Full()


def scale(tangent: Value, factor: Any) -> Value:
    """A tangent times a derivative factor, where the integers 1 and -1 cost nothing."""
    if type(factor) is int:
        if factor == 1:
            return tangent
        if factor == -1:
            return neg(tangent)
    return mul(tangent, factor)


def move_axis(x: Value, source: int | None, destination: int) -> Value:
    """The array with one dimension moved to another place."""
    if source is None or source == destination:
        return x
    order = [i for i in range(len(x.shape)) if i != source]
    order.insert(destination, source)
    return transpose(x, permutation=tuple(order))


def broadcast_to(x: Value, shape: Shape) -> Value:
    """The array broadcast to a shape by NumPy's rule."""
    if x.shape == shape:
        return x
    offset = len(shape) - len(x.shape)
    return broadcast_in_dim(
        x, shape=shape, broadcast_dimensions=tuple(range(offset, len(shape)))
    )


def unbroadcast(x: Value, shape: Shape) -> Value:
    """The transpose of `broadcast_to`: sum `x` down to the shape it was broadcast from."""
    if x.shape == shape:
        return x
    offset = len(x.shape) - len(shape)
    axes = tuple(
        i for i in range(len(x.shape)) if i < offset or shape[i - offset] != x.shape[i]
    )
    out = reduce_sum(x, axes=axes) if axes else x
    return out if out.shape == shape else reshape(out, shape=shape)


def batched_first(x: Value, dim: int | None, size: int) -> Value:
    """The operand with its batch dimension in front, repeated if it has none."""
    if dim is not None:
        return move_axis(x, dim, 0)
    rest = tuple(range(1, len(x.shape) + 1))
    return broadcast_in_dim(x, shape=(size, *x.shape), broadcast_dimensions=rest)


def filled(type: ArrayType, value: Any) -> Value:
    """An array of one value, of the given type."""
    if type.weak_type:
        return full(shape=type.shape, value=value, dtype=type.dtype, weak=True)
    return full(shape=type.shape, value=value, dtype=type.dtype)


def zeros_like(value: Any) -> Value:
    """Zeros of the type of a value (or of a type)."""
    return filled(value if type(value) is ArrayType else value.type, 0)


def instantiate(tangent: Value) -> Value:
    """A tangent as an array: a symbolic zero becomes an array of zeros."""
    return zeros_like(tangent.type) if type(tangent) is Zero else tangent


def add_tangents(a: Value, b: Value) -> Value:
    """The sum of two tangents or cotangents, either of which may be `Zero`."""
    if type(a) is Zero:
        return b
    return a if type(b) is Zero else add(a, b)
