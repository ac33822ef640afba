"""`check_primitive`: is everything right that a primitive says about itself?

A primitive's samples are run through its rules, each compared with an independent route: the
type rule with computed values, derivatives with finite differences, pullbacks with
pushforwards, batches with loops, programs with eager evaluation, transposes with the pairing.

One function per check, in the order of `CHECKS`; each takes a `Case` and raises
GradientMismatchError or RuleError with the primitive, the sample and what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array
from wengert.core.primitive import Primitive, Sample, Zero, type_of
from wengert.primitives.basis import Linear
from wengert.testing import numeric
from wengert.testing.grads import Comparison, Point, check_grads
from wengert.transforms.jit import jit, make_program
from wengert.transforms.jvp import jvp
from wengert.transforms.linearize import linearize
from wengert.transforms.vjp import vjp
from wengert.transforms.vmap import vmap

#: Agreement of two ways to compute the same number, by bytes of its real dtype.
_ROUNDING = {8: 1e-9, 4: 2e-4, 2: 5e-2}
_NARROW = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


class Case:
    """One sample of a primitive.

    Attributes:
      arrays: the operands that are arrays; Python scalars stay fixed.
      active: positions among `arrays` in which the primitive has a derivative.
    """

    def __init__(self, primitive: Primitive, sample: Sample) -> None:
        self.primitive = primitive
        self.sample = sample
        self.places = [i for i, a in enumerate(sample.args) if hasattr(a, "dtype")]
        self.arrays = [_read_only(sample.args[i]) for i in self.places]
        self.active: list[int] = []
        if sample.differentiable and not primitive.nondifferentiable:
            self.active = [
                i
                for i, a in enumerate(self.arrays)
                if dtypes.is_inexact(a.dtype) and self.has_derivative(i)
            ]

    @property
    def name(self) -> str:
        """For messages: primitive and sample."""
        return f"{self.primitive.name}{self.sample}"

    def operands(self, arrays: Sequence[Any]) -> list[Any]:
        """All operands, of which the arrays are given."""
        out = list(self.sample.args)
        for place, array in zip(self.places, arrays, strict=True):
            out[place] = as_operand(array) if isinstance(array, np.ndarray) else array
        return out

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """The results, for arrays or tracers in place of the sample's arrays."""
        out = self.primitive(*self.operands(arrays), **self.sample.params)
        return tuple(out) if self.primitive.multiple_results else (out,)

    def of_active(self, *active: Any) -> list[Any]:
        """The floating results, as a function of the active operands."""
        arrays: list[Any] = list(self.arrays)
        for position, value in zip(self.active, active, strict=True):
            arrays[position] = value
        return [out for out in self(*arrays) if dtypes.is_inexact(out.dtype)]

    def has_derivative(self, position: int) -> bool:
        """Whether there is a derivative in this operand: False where its rule is missing."""
        return _differentiates(lambda x: self(*_put(self.arrays, position, x)), self, position)

    def point(self) -> Point:
        """The floating results at the active operands."""
        return Point(
            self.of_active, [as_operand(self.arrays[i]) for i in self.active], self.active
        )

    def require(self, fact: bool, what: str) -> None:
        """Raise unless `fact` holds."""
        if not fact:
            raise errors.RuleError(f"{self.name}: {what}")

    def require_same(
        self, got: Iterable[Any], expected: Iterable[Any], what: str, floor: float = 0.0
    ) -> None:
        """Raise unless shapes, dtypes and values agree; `floor` as for `numeric.same`."""
        got, expected = _flat(got), _flat(expected)
        types = [(v.shape, v.dtype) for v in got], [(v.shape, v.dtype) for v in expected]
        self.require(types[0] == types[1], f"{what}: types {types[0]} instead of {types[1]}")
        tolerance = _ROUNDING[numeric.real_bytes([*got, *expected])]
        if not numeric.same(got, expected, tolerance, floor):
            self.require(False, f"{what}:\n{got}\n instead of\n{expected}")


def _read_only(value: Any) -> Any:
    view = np.asarray(value).view()
    view.flags.writeable = False
    return view


def _put(values: Sequence[Any], position: int, value: Any) -> list[Any]:
    out = list(values)
    out[position] = value
    return out


def _differentiates(f: Callable[..., Any], case: Case, position: int) -> bool:
    primal = as_operand(case.arrays[position])
    try:
        jvp(f, (primal,), (primal,))
    except errors.MissingRuleError:
        return False
    return True


def as_operand(value: Any) -> Array:
    """A NumPy value as eager results hold it: 0-d ones as NumPy scalars."""
    return Array(value[()])


def _flat(values: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in tree.leaves(list(values))]


# -- the checks -----------------------------------------------------------------------------


def check_value(case: Case) -> None:
    """Results have the declared types, and do not depend on memory layout or weak flags."""
    results = case(*case.arrays)
    for weak in (False, True):
        operands = [
            Array(a._value, weak) if type(a) is Array else a for a in case.operands(case.arrays)
        ]
        declared = case.primitive.type_rule(*map(type_of, operands), **case.sample.params)
        declared = list(declared) if case.primitive.multiple_results else [declared]
        out = case.primitive(*operands, **case.sample.params)
        got = [o.type for o in (out if case.primitive.multiple_results else [out])]
        case.require(got == declared, f"results {got}, type rule says {declared}")
    odd = [_strided(a) for a in case.arrays]
    case.require_same(case(*odd), results, "on strided operands")
    raw = list(case.sample.args)
    for place, array in zip(case.places, case.arrays, strict=True):
        raw[place] = array
    with np.errstate(all="ignore"):
        direct = case.primitive.compute(*raw, **case.sample.params)
    direct = direct if case.primitive.multiple_results else [direct]
    case.require_same(direct, results, "compute on 0-d arrays")
    _check_narrow(case, results)


def _strided(array: Any) -> Any:
    """The same values, non-contiguous and read-only."""
    wider = np.zeros((*array.shape, 2), array.dtype)
    wider[..., 0] = array
    return _read_only(wider[..., 0])


def _check_narrow(case: Case, results: Sequence[Any]) -> None:
    """In lower precision: the declared type, and values near those in double precision."""
    smooth = case.sample.differentiable and not case.primitive.nondifferentiable
    if not case.arrays or any(a.dtype != np.float64 for a in case.arrays):
        return
    for dtype in _NARROW:
        arrays = [a.astype(dtype) for a in case.arrays]
        operands = case.operands(arrays)
        try:
            declared = case.primitive.type_rule(*map(type_of, operands), **case.sample.params)
        except errors.DTypeError:
            continue
        out = case(*arrays)
        types = list(declared) if case.primitive.multiple_results else [declared]
        got = [o.type for o in out]
        case.require(got == types, f"as {dtype}: results {got}, type rule says {types}")
        expected = [np.asarray(r) for r in case(*(a.astype(np.float64) for a in arrays))]
        pairs = [
            (np.asarray(o), e.astype(o.dtype))
            for o, e in zip(out, expected, strict=True)
            if smooth and o.dtype == dtype and e.dtype == np.float64
        ]
        tolerance = {4: 1e-3, 2: 0.1}[dtype.itemsize]
        case.require(
            numeric.same([g for g, _ in pairs], [e for _, e in pairs], tolerance),
            f"as {dtype}: {out}, in double precision {results}",
        )


def check_jvp(case: Case) -> None:
    """The pushforward agrees with finite differences, and has the types of the results."""
    if not case.active:
        return
    point = case.point()
    xs = point.args
    tangents = [as_operand(a) for a in _directions(case, 1)]
    out, pushed = jvp(case.of_active, xs, tuple(tangents))
    case.require(
        [(o.shape, o.dtype) for o in out] == [(t.shape, t.dtype) for t in pushed],
        f"jvp: results {out} have tangents {pushed}",
    )
    _, push = linearize(case.of_active, *xs)
    case.require_same(push(*tangents), pushed, "linearize and jvp differ")
    point = point.promoted()
    Comparison(point, f"{case.name}: jvp", None, None, None).forward(point.push)


def check_vjp(case: Case) -> None:
    """The pullback is the transpose of the pushforward, and has the types of the operands."""
    if not case.active:
        return
    point = case.point()
    out, pull = vjp(case.of_active, *point.args)
    rng = np.random.default_rng(2)
    cotangents = [as_operand(numeric.random_like(rng, o)) for o in out]
    pulled = pull(cotangents)
    got = [(p.shape, p.dtype) for p in pulled]
    expected = [(x.shape, x.dtype) for x in point.args]
    case.require(got == expected, f"vjp: cotangents {got} for operands {expected}")
    tangents = _directions(case, 3)
    pushed = _flat(jvp(case.of_active, point.args, tuple(map(as_operand, tangents)))[1])
    _require_transposed(case, _flat(cotangents), pushed, _flat(pulled), tangents)


def _require_transposed(
    case: Case,
    cotangents: Sequence[Any],
    pushed: Sequence[Any],
    pulled: Sequence[Any],
    tangents: Sequence[Any],
) -> None:
    left = numeric.pairing(cotangents, pushed)
    right = numeric.pairing(pulled, tangents)
    scale = numeric.pairing_scale(cotangents, pushed) + numeric.pairing_scale(pulled, tangents)
    tolerance = _ROUNDING[numeric.real_bytes([*cotangents, *tangents])]
    case.require(
        abs(left - right) <= tolerance * max(scale, 1e-300),
        f"the pullback is not the transpose of the pushforward: {right} instead of {left}",
    )


def check_second(case: Case) -> None:
    """Derivatives of the derivatives agree with differences, in all mixtures of modes."""
    all_active = case.active
    case.active = [i for i in all_active if _has_second_derivative(case, i)]
    try:
        if case.active:
            check_grads(case.of_active, case.point().promoted().args, order=2)
    except errors.GradientMismatchError as error:
        raise errors.GradientMismatchError(f"{case.name}: {error}") from None
    finally:
        case.active = all_active


def _has_second_derivative(case: Case, position: int) -> bool:
    """False where the first derivative is by a primitive that has none itself."""

    def tangent(x: Any) -> Any:
        def alone(y: Any) -> Any:
            return [
                o for o in case(*_put(case.arrays, position, y)) if dtypes.is_inexact(o.dtype)
            ]

        return jvp(alone, (x,), (as_operand(np.ones(x.shape, x.dtype)),))[1]

    return _differentiates(tangent, case, position)


def _directions(case: Case, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [numeric.random_like(rng, case.arrays[i]) for i in case.active]


def check_batch(case: Case) -> None:
    """`vmap` equals a loop, whichever operands are batched, along whichever dimension."""
    count = len(case.arrays)
    if not count:
        return
    examples = _variations(case)
    for dims in _batch_dims(case.arrays):
        _check_vmap(case, case, examples, dims)
    _check_vmap(case, case, examples[:1], [0] * count)
    nested = vmap(vmap(case))(
        *(_stack([_stack(e, 0)] * 2, 0) for e in zip(*examples, strict=True))
    )
    once = [_stack(_flat(o), 0) for o in zip(*(case(*e) for e in examples), strict=True)]
    case.require_same(
        nested, [np.stack([o, o]) for o in once], "nested vmap differs from a loop"
    )
    if case.active:
        _check_batched_derivatives(case, examples[:2])


def _batch_dims(arrays: Sequence[Any]) -> list[list[int | None]]:
    """Batch dimensions to try: all in front, mixed; one operand alone; all but one."""
    count = len(arrays)
    mixed = [(i + 1) % (a.ndim + 1) for i, a in enumerate(arrays)]
    alone = [[d if i == j else None for j, d in enumerate(mixed)] for i in range(count)]
    others = [[None if i == j else d for j, d in enumerate(mixed)] for i in (0, count - 1)]
    return [[0] * count, mixed, *(alone if count > 1 else []), *(others if count > 2 else [])]


def _stack(values: Sequence[Any], dim: int) -> Any:
    return np.stack([np.asarray(v) for v in values], dim)


def _variations(case: Case) -> list[list[Any]]:
    """Three sets of operands that differ where the primitive allows it."""

    def varied(array: Any, k: int) -> Any:
        if dtypes.is_inexact(array.dtype):
            return (array * (1 + 0.01 * k)).astype(array.dtype)
        return np.roll(array.reshape(-1), k).reshape(array.shape)

    examples = [[varied(a, k) for a in case.arrays] for k in range(3)]
    try:
        for example in examples:
            case(*example)
    except (ValueError, IndexError):
        return [case.arrays] * 3
    return examples


def _check_vmap(
    case: Case, f: Callable[..., Any], examples: Sequence[Any], dims: Sequence[int | None]
) -> None:
    """`vmap` of a function equals a loop; operands not batched are the first example's."""
    first = examples[0]
    rows = [
        [x if d is not None else x0 for x, x0, d in zip(row, first, dims, strict=True)]
        for row in examples
    ]
    batches = [
        as_operand(x0 if d is None else _stack([row[i] for row in rows], d))
        for i, (x0, d) in enumerate(zip(first, dims, strict=True))
    ]
    got = vmap(f, in_axes=tuple(dims))(*batches)
    loop = [_flat(f(*map(as_operand, row))) for row in rows]
    expected = [np.stack(outs) for outs in zip(*loop, strict=True)]
    case.require_same(got, expected, f"vmap(in_axes={tuple(dims)}) differs from a loop")


def _check_batched_derivatives(case: Case, examples: Sequence[Any]) -> None:
    """Derivatives of batches, and batches of derivatives, equal loops."""
    rng = np.random.default_rng(4)
    active = [[row[i] for i in case.active] for row in examples]
    out = _flat(case.of_active(*map(as_operand, active[0])))
    tangents = [[numeric.random_like(rng, x) for x in row] for row in active]
    cotangents = [[numeric.random_like(rng, o) for o in out] for _ in active]
    count = len(case.active)

    def push(*both: Any) -> Any:
        return jvp(case.of_active, both[:count], both[count:])[1]

    def pull(*both: Any) -> Any:
        return vjp(case.of_active, *both[:count])[1](list(both[count:]))

    forward = [[*x, *t] for x, t in zip(active, tangents, strict=True)]
    reverse = [[*x, *c] for x, c in zip(active, cotangents, strict=True)]
    saved, case.arrays = case.arrays, list(examples[0])
    for f, rows in ((push, forward), (pull, reverse)):
        extra = len(rows[0]) - count
        _check_vmap(case, f, rows, [0] * len(rows[0]))
        for i in range(count):
            _check_vmap(
                case, f, rows, [0 if i == j else None for j in range(count)] + [0] * extra
            )
    _check_derivative_of_vmap(case, active, tangents, cotangents)
    case.arrays = saved


def _check_derivative_of_vmap(case: Case, active: Any, tangents: Any, cotangents: Any) -> None:
    xs, ts, cts = (
        [as_operand(_stack(rows, 0)) for rows in zip(*table, strict=True)]
        for table in (active, tangents, cotangents)
    )
    batched = vmap(case.of_active)
    loop = [
        jvp(case.of_active, tuple(map(as_operand, x)), tuple(map(as_operand, t)))[1]
        for x, t in zip(active, tangents, strict=True)
    ]
    expected = [_stack(o, 0) for o in zip(*loop, strict=True)]
    case.require_same(jvp(batched, tuple(xs), tuple(ts))[1], expected, "jvp of vmap")
    loop = [
        vjp(case.of_active, *map(as_operand, x))[1]([as_operand(c) for c in ct])
        for x, ct in zip(active, cotangents, strict=True)
    ]
    expected = [_stack(o, 0) for o in zip(*loop, strict=True)]
    case.require_same(vjp(batched, *xs)[1](cts), expected, "vjp of vmap")


def check_trace(case: Case) -> None:
    """Programs of the primitive and of its derivatives are valid and compute the same."""
    results = case(*case.arrays)
    arrays = [as_operand(a) for a in case.arrays]
    _check_program(case, case, arrays, results)
    jitted = jit(case)(*arrays)
    case.require([o.type for o in jitted] == [o.type for o in results], "jit changes types")
    if not case.active:
        return
    xs = case.point().args
    count = len(xs)
    out, pull = vjp(case.of_active, *xs)
    rng = np.random.default_rng(5)
    cts = [as_operand(numeric.random_like(rng, o)) for o in out]
    ts = [as_operand(t) for t in _directions(case, 6)]
    pulled = pull(cts)
    pushed = jvp(case.of_active, xs, tuple(ts))[1]

    def backward(*both: Any) -> Any:
        return vjp(case.of_active, *both[:count])[1](list(both[count:]))

    def forward(*both: Any) -> Any:
        return jvp(case.of_active, both[:count], both[count:])[1]

    _check_program(case, backward, [*xs, *cts], pulled)
    _check_program(case, forward, [*xs, *ts], pushed)
    case.require_same(vjp(jit(case.of_active), *xs)[1](cts), pulled, "vjp of jit")
    case.require_same(jvp(jit(case.of_active), xs, tuple(ts))[1], pushed, "jvp of jit")


def _check_program(
    case: Case, f: Callable[..., Any], args: Sequence[Any], expected: Any
) -> None:
    """The program of a function is valid; evaluated and jitted it is the function."""
    program = make_program(f)(*args)
    program.check()
    case.require_same(program.evaluate(*args), expected, f"evaluating the program\n{program}")
    # machine code adds in another order: where one result cancels, the others tell the scale
    case.require_same(tree.leaves(jit(f)(*args)), expected, "jit", _largest(expected))


def _largest(values: Iterable[Any]) -> float:
    """The size of the largest finite number among floating results."""
    sizes = [np.abs(numeric.wide(v)) for v in _flat(values) if dtypes.is_inexact(v.dtype)]
    return max((float(s.max(where=np.isfinite(s), initial=0.0)) for s in sizes), default=0.0)


def check_linear(case: Case) -> None:
    """Where it claims to be linear it is, and the transpose satisfies <A x, y> = <x, A^T y>.

    A constant term (what a gather is to fill in) does not matter: it has no derivative.
    """
    primitive = case.primitive
    if not isinstance(primitive, Linear) or not case.sample.differentiable:
        return
    places = [
        p
        for p in primitive.linear_positions(len(case.sample.args))
        if p in case.places and dtypes.is_inexact(case.arrays[case.places.index(p)].dtype)
    ]
    for group in [(p,) for p in places] if primitive.multilinear else [tuple(places)]:
        if group:
            _check_linear_in(case, primitive, group)


def _check_linear_in(case: Case, primitive: Linear, group: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    operands = case.operands(case.arrays)
    xs, ys = ([numeric.random_like(rng, operands[p]) for p in group] for _ in range(2))

    def affine(values: Sequence[Any]) -> Any:
        given = list(operands)
        for place, value in zip(group, values, strict=True):
            given[place] = as_operand(value)
        return np.asarray(primitive(*given, **case.sample.params))

    origin = affine([np.zeros_like(x) for x in xs])

    def apply(values: Sequence[Any]) -> Any:
        return np.asarray(affine(values) - origin)

    total = [(2 * x + y).astype(x.dtype) for x, y in zip(xs, ys, strict=True)]
    image = apply(xs)
    case.require_same(
        [apply(total)], [(2 * image + apply(ys)).astype(image.dtype)], "not linear"
    )
    cotangent = numeric.random_like(rng, image)
    given = [o.type if i in group else o for i, o in enumerate(operands)]
    pulled = []
    for place, x in zip(group, xs, strict=True):
        ct = primitive.transpose(as_operand(cotangent), given, place, **case.sample.params)
        absent = type(ct) is Zero or ct is None
        pulled.append(np.zeros(x.shape, x.dtype) if absent else np.asarray(ct))
        case.require(pulled[-1].shape == x.shape, f"transpose gives {pulled[-1].shape}")
    _require_transposed(case, [cotangent], [image], pulled, xs)


CHECKS: dict[str, Callable[[Case], None]] = {
    "value": check_value,
    "jvp": check_jvp,
    "vjp": check_vjp,
    "second": check_second,
    "batch": check_batch,
    "trace": check_trace,
    "linear": check_linear,
}


def check_primitive(
    primitive: Primitive,
    checks: Sequence[str] = tuple(CHECKS),
    samples: Iterable[Sample] | None = None,
) -> None:
    """Check a primitive's rules on its samples.

    Args:
      primitive: the instance.
      checks: which ones, in this order: "value" (type rule and layout), "jvp" (finite
        differences), "vjp" (transpose of the jvp), "second" (derivatives of derivatives),
        "batch" (vmap against a loop), "trace" (programs and jit), "linear" (transposes).
      samples: other inputs than the primitive's own.

    Raises:
      RuleError: naming the sample and what two rules disagree about.
      GradientMismatchError: naming the operand, the entry, and the two numbers.

    >>> from wengert import testing
    >>> from wengert.extend import Elementwise
    >>> class Cube(Elementwise):
    ...     compute = staticmethod(lambda x: x * x * x)
    ...     partials = (lambda out, x: 2 * x * x,)
    >>> testing.check_primitive(Cube())
    Traceback (most recent call last):
        ...
    wengert.errors.GradientMismatchError: cube(float64[]): jvp is wrong...
    """
    for sample in primitive.samples() if samples is None else samples:
        case = Case(primitive, sample)
        for check in checks:
            CHECKS[check](case)
