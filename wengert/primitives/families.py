"""What the elementwise primitives share beyond `basis`: kinds, domains, half precision.

`Numeric` is an `Elementwise` primitive that says which kinds of dtype it takes and from which
intervals its sample operands are drawn. `ElementwiseLinear` is for elementwise maps that are
linear in some operands. `through_float32` gives functions without 16-bit loops such loops.

No primitive is defined here, and nothing knows a particular function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from wengert import errors
from wengert.core import dtypes
from wengert.core.array import Array, ArrayType, Shape
from wengert.core.interpreter import Params
from wengert.core.primitive import Sample, Value, Zero
from wengert.primitives.basis import (
    Elementwise,
    Linear,
    broadcast_shape,
    broadcast_to,
    unbroadcast,
)

FLOAT64 = np.dtype(np.float64)
_WORDS = {"b": "bool", "i": "signed integer", "u": "unsigned integer", "f": "floating"}

Domain = tuple[float, float]


def array_dtype(*operands: Any) -> Any:
    """The dtype of the first operand that is not a Python scalar."""
    for operand in operands:
        dtype = getattr(operand, "dtype", None)
        if dtype is not None:
            return dtype
    raise TypeError("an elementwise primitive needs at least one array among its operands")


def through_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, computed in float32 and rounded once for 16-bit floating operands.

    Python scalars get the dtype of the others, which they take by themselves only in NumPy's
    own functions.
    """

    def compute(*operands: Any, **params: Any) -> Any:
        dtype = array_dtype(*operands)
        if dtype.itemsize == 2 and dtypes.is_floating(dtype):
            wide = [np.asarray(o, np.float32)[()] for o in operands]
            return function(*wide, **params).astype(dtype)
        typed = [o if hasattr(o, "dtype") else dtype.type(o) for o in operands]
        return function(*typed, **params)

    return compute


class Numeric(Elementwise):
    """Elementwise primitives with stated kinds of dtype and domains of their operands."""

    #: Letters of the kinds of dtype (see `dtypes.kind`) that it takes.
    kinds: ClassVar[str] = "fc"
    #: For each operand the interval from which samples are drawn; smooth inside.
    domains: ClassVar[tuple[Domain, ...]] = ((0.3, 0.9),)

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        dtype = super().result_dtype(*operands, **params)
        if dtypes.kind(dtype) not in self.kinds:
            words = ", ".join(_WORDS.get(k, "complex") for k in self.kinds)
            raise errors.DTypeError(
                f"{self.name} takes operands of these kinds: {words}; it got {dtype.name}. "
                "The functions of wengert.numpy promote; primitives do not: convert with "
                "x.astype(dtype)."
            )
        return dtype

    def samples(self) -> Iterator[Sample]:
        yield from samples_of(self.kinds, self.domains, not self.nondifferentiable)


class Real(Numeric):
    """Elementwise primitives on real floating operands."""

    kinds = "f"


class Integral(Numeric):
    """Elementwise primitives on integers (and bools, where `kinds` says so)."""

    kinds = "iu"
    nondifferentiable = True


class Predicate(Numeric):
    """Elementwise primitives whose result is bool."""

    kinds = "biufc"
    keeps_weak = False
    nondifferentiable = True

    def result_dtype(self, *operands: Any, **params: Any) -> Any:
        super().result_dtype(*operands, **params)
        return dtypes.BOOL


class ElementwiseLinear(Linear):
    """Elementwise primitives that are linear in the operands at `linear`, in all together.

    Operands broadcast. Where a linear operand has no tangent, the literal 0 stands for it.
    Subclasses give `pullback`, the transpose before broadcasting is undone.
    """

    def pullback(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        """The cotangent of operand `position`, in the shape of the result."""
        raise errors.MissingRuleError(self.name, "transpose")

    def transpose(
        self, cotangent: Value, operands: Sequence[Any], position: int, **params: Any
    ) -> Value:
        term = self.pullback(cotangent, operands, position, **params)
        return unbroadcast(term, operands[position].shape)

    def pushforward(
        self,
        primals: Sequence[Any],
        tangents: Sequence[Value],
        active: list[int],
        params: Params,
    ) -> Value:
        return self._tangent(primals, {i: tangents[i] for i in active}, params)

    def push(self, terms: Any, params: Params, tangents: Sequence[Value]) -> Value:
        active = {
            i: tangents[index] for i, index, _ in terms if type(tangents[index]) is not Zero
        }
        return self._tangent(terms[0][2], active, params)

    def _tangent(
        self, primals: Sequence[Any], tangents: dict[int, Value], params: Params
    ) -> Value:
        operands = [
            tangents.get(i, 0 if i in self.linear else p) for i, p in enumerate(primals)
        ]
        return broadcast_to(self(*operands, **params), operand_shape(self.name, primals))

    def batch(
        self, size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
    ) -> tuple[Any, Any]:
        return Elementwise.batch(self, size, args, dims, **params)  # type: ignore[arg-type]


def operand_shape(name: str, operands: Sequence[Any]) -> Shape:
    """The shape to which operands (values or types, Python scalars among them) broadcast."""
    return broadcast_shape([o.shape for o in operands if hasattr(o, "shape")], name)


def all_weak(operands: Sequence[Any]) -> bool:
    """Whether all operands (values or types) are weakly typed, as Python scalars are."""
    return all(getattr(o, "weak_type", True) for o in operands)


def with_weak(out: Array, weak: bool) -> Array:
    """The same array with another weak flag."""
    return Array(out._value, weak)


def same_dtype(name: str, types: Sequence[Any]) -> Any:
    """The one dtype of operand types, Python scalars among them excepted, or an error."""
    arrays = [t.dtype for t in types if type(t) is ArrayType]
    for dtype in arrays:
        if dtype != arrays[0]:
            raise errors.DTypeError(
                f"{name} needs operands of one dtype, got "
                f"{', '.join(d.name for d in arrays)}. Convert with x.astype(dtype)."
            )
    return arrays[0]


# -- samples --------------------------------------------------------------------------------


def sample_shapes(count: int) -> list[tuple[Shape, ...]]:
    """Shapes for `count` operands: 0-d, size 1, empty, asymmetric, broadcasting."""
    shapes: list[tuple[Shape, ...]] = [((),) * count, ((3,),) * count, ((2, 1, 3),) * count]
    if count == 1:
        return [*shapes, ((1,),), ((0, 2),)]
    mixed: tuple[tuple[Shape, ...], ...] = (
        ((2, 3), (3,), (1, 3)),
        ((), (2,), (1,)),
        ((2, 1), (1, 3), (2, 3)),
        ((0, 2), (2,), (1, 1)),
    )
    return [*shapes, *(m[:count] for m in mixed)]


def samples_of(kinds: str, domains: Sequence[Domain], differentiable: bool) -> Iterator[Sample]:
    """Samples for an elementwise primitive: every kind of dtype, every kind of shape."""
    rng = np.random.default_rng(0)
    if "f" in kinds:
        for shapes in sample_shapes(len(domains)):
            args = [rng.uniform(*d, s) for d, s in zip(domains, shapes, strict=True)]
            yield Sample(*map(scalar, args), differentiable=differentiable)
        args = [rng.uniform(*d, (2, 3)) for d in domains]
        for dtype in (np.dtype(np.float16), dtypes.bfloat16, dtypes.FLOAT32):
            yield Sample(*(a.astype(dtype) for a in args), differentiable=False)
    if "c" in kinds:
        for shape in ((), (3, 2)):
            real = [rng.uniform(*d, shape) for d in domains]
            args = [r + 1j * rng.uniform(0.2, 0.7, shape) for r in real]
            yield Sample(*map(scalar, args), differentiable=differentiable)
        yield Sample(*(np.asarray(a, np.complex64) for a in args), differentiable=False)
    for kind, dtype in (("i", dtypes.INT32), ("i", np.int64), ("u", np.uint8), ("b", np.bool_)):
        if kind in kinds:
            high = 2 if kind == "b" else 7
            whole = [rng.integers(0 if kind == "b" else 1, high, (2, 3)) for _ in domains]
            yield Sample(*(a.astype(dtype) for a in whole), differentiable=False)


def scalar(value: Any) -> Any:
    """A 0-d array as the NumPy scalar it holds; any other array as it is."""
    return value[()]
