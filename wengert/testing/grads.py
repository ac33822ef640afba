"""`check_grads` and `check_rules`: are the derivatives of a function right?

Both evaluate a function around a point and compare finite differences with its derivative, in
double precision even where the arguments are float32: functions of this package do not
fix a dtype. What differs is named: argument, entry, the two numbers.

`check_grads` asks about the derivative of any function, to any order. `check_rules` asks about
a custom rule: the types of what it returns at the dtypes given, then its values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, as_array
from wengert.testing import numeric
from wengert.transforms.custom_jvp import custom_jvp
from wengert.transforms.custom_vjp import custom_vjp
from wengert.transforms.jvp import jvp
from wengert.transforms.linearize import check_tangents, float0_zeros
from wengert.transforms.vjp import vjp

#: Entries of arguments, and of results, that are looked at one by one to find the worst.
_MOST_ENTRIES = 64


class Point:
    """A function of trees at a point, as a function of flat NumPy values.

    Attributes:
      values: the leaves of the arguments, NumPy arrays.
      names: where each leaf is: `argument 0['w']`.
      precision: bytes of the least precise floating dtype met so far.
    """

    def __init__(
        self, fun: Callable[..., Any], args: Sequence[Any], numbers: Sequence[int] | None = None
    ) -> None:
        leaves, self.in_tree = tree.flatten(tuple(args))
        self.fun = fun
        self.values = [np.asarray(as_array(leaf)) for leaf in leaves]
        numbers = range(len(args)) if numbers is None else numbers
        self.names = [
            f"argument {number}{path}"
            for number, arg in zip(numbers, args, strict=True)
            for path in tree.leaf_paths(arg)
        ]
        self.out_tree: Any = None
        self.precision = numeric.real_bytes(self.values)

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments, of arrays that are not weakly typed."""
        return self.unflatten(self.values)

    def unflatten(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Arguments with these leaves."""
        arrays = [v if v.dtype == dtypes.float0 else Array(v[()]) for v in values]
        return tree.unflatten(self.in_tree, arrays)

    def call(self, values: Sequence[Any]) -> list[Any]:
        """The leaves of the result."""
        out, self.out_tree = tree.flatten(self.fun(*self.unflatten(values)))
        return [np.asarray(as_array(leaf)) for leaf in out]

    def tangents(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Tangents with these leaves, of which those for integers do not matter."""
        return self.unflatten(
            [
                t if dtypes.is_inexact(v.dtype) else float0_zeros(v.shape)
                for t, v in zip(values, self.values, strict=True)
            ]
        )

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """Tangents of the result leaves, by forward mode."""
        return _arrays(jvp(self.fun, self.args, self.tangents(tangents))[1])

    def pullback(self) -> Callable[[Sequence[Any]], list[Any]]:
        """From cotangents of the result leaves to those of the arguments, by reverse mode."""
        out, f_vjp = vjp(self.fun, *self.args)
        _, out_tree = tree.flatten(out)
        return lambda cts: _arrays(f_vjp(tree.unflatten(out_tree, [Array(c[()]) for c in cts])))

    def promoted(self) -> Point:
        """The same in double precision, or itself where the function refuses that."""
        point = Point(self.fun, self.unflatten([numeric.wide(v) for v in self.values]))
        point.names = self.names
        try:
            point.call(point.values)
        except (errors.WengertError, TypeError, ValueError):
            return self
        return point


def _arrays(out: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in tree.leaves(out)]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One real direction of a list of arrays: an entry, or the imaginary part of one."""

    leaf: int
    index: tuple[int, ...]
    imaginary: bool

    def basis(self, values: Sequence[Any], dual: bool = False) -> list[Any]:
        """The basis vector (or, with `dual`, the cotangent that reads this coordinate)."""
        out = [np.zeros(v.shape, v.dtype) for v in values]
        out[self.leaf][self.index] = (-1j if dual else 1j) if self.imaginary else 1
        return out

    def __str__(self) -> str:
        index = ", ".join(map(str, self.index)) + ("," if len(self.index) == 1 else "")
        part = "imaginary part of " if self.imaginary else ""
        return f"{part}entry ({index})" if self.index else f"{part}the scalar"


def _entries(values: Sequence[Any]) -> list[Entry]:
    return [
        Entry(leaf, index, imaginary)
        for leaf, value in enumerate(values)
        if dtypes.is_inexact(value.dtype)
        for index in np.ndindex(value.shape)
        for imaginary in ((False, True) if dtypes.is_complex(value.dtype) else (False,))
    ]


def _only(entries: Sequence[Entry], vector: Sequence[Any]) -> list[Any]:
    """The vector, with zeros in place of all other entries."""
    out = [np.zeros(v.shape, v.dtype) for v in vector]
    for entry in entries:
        out[entry.leaf][entry.index] = vector[entry.leaf][entry.index]
    return out


def _halved(entries: list[Entry], badness: Callable[[list[Entry]], float]) -> list[Entry]:
    """At most `_MOST_ENTRIES` entries: again and again the worse half."""
    while len(entries) > _MOST_ENTRIES:
        middle = len(entries) // 2
        entries = max(entries[:middle], entries[middle:], key=badness)
    return entries


class Comparison:
    """A derivative against finite differences, at one point.

    Args:
      point: the function and where.
      what: what is being checked, for messages: "the derivative (reverse mode) of f".
      atol, rtol, eps: tolerances and step, or None for those that fit the dtypes.
    """

    def __init__(self, point: Point, what: str, atol: Any, rtol: Any, eps: Any) -> None:
        self.point = point
        self.what = what
        self.rng = np.random.default_rng(0)
        self.out = point.call(point.values)
        self.given: list[Any] | None = None
        self.precision = min(point.precision, numeric.real_bytes(self.out))
        self.rtol = numeric.TOLERANCES[self.precision] if rtol is None else rtol
        self.atol = numeric.TOLERANCES[self.precision] if atol is None else atol
        self.steps = numeric.STEPS[self.precision] if eps is None else (eps,)

    def directions(self) -> list[Any]:
        """A random tangent of the arguments."""
        return [numeric.random_like(self.rng, v) for v in self.point.values]

    def weights(self) -> list[Any]:
        """A cotangent of the results: the given one, or a random one."""
        if self.given is not None:
            return [g.astype(o.dtype) for g, o in zip(self.given, self.out, strict=True)]
        return [numeric.random_like(self.rng, o) for o in self.out]

    def forward(self, push: Callable[[Sequence[Any]], list[Any]]) -> None:
        """Check a pushforward along a random direction."""
        direction = self.directions()
        got = push(direction)
        for step in self.steps:
            expected = self.difference(direction, step)
            if numeric.close(got, expected, self.atol, self.rtol):
                return
        self.fail(push=push)

    def reverse(self, pull: Callable[[Sequence[Any]], list[Any]]) -> None:
        """Check a pullback of a random cotangent against differences in a random direction."""
        direction, weights = self.directions(), self.weights()
        pulled = pull(weights)
        got = numeric.pairing(pulled, direction)
        scale = numeric.pairing_scale(pulled, direction)
        for step in self.steps:
            pushed = self.difference(direction, step)
            expected = numeric.pairing(weights, pushed)
            bound = max(scale, numeric.pairing_scale(weights, pushed))
            if abs(got - expected) <= self.atol + self.rtol * bound:
                return
        self.fail(pull=pull)

    def difference(self, direction: Sequence[Any], step: float) -> list[Any]:
        """The directional derivative by finite differences."""
        return numeric.difference(self.point.call, self.point.values, direction, step)

    def fail(self, push: Any = None, pull: Any = None) -> NoReturn:
        """Raise the error that names the worst entry."""
        columns, rows = self._suspects(push, pull)
        got = np.zeros((len(rows), len(columns)))
        expected = np.zeros_like(got)
        for j, column in enumerate(columns):
            vector = column.basis(self.point.values)
            differences = self.difference(vector, self.steps[0])
            expected[:, j] = [self._read(r, differences) for r in rows]
            if push is not None:
                pushed = push(vector)
                got[:, j] = [self._read(r, pushed) for r in rows]
        if pull is not None:
            for i, row in enumerate(rows):
                pulled = pull(row.basis(self.out, dual=True))
                got[i] = [numeric.pairing(pulled, c.basis(self.point.values)) for c in columns]
        off = numeric.deviation(got, expected, self.atol, self.rtol)
        if not np.any(off > 1):
            raise errors.GradientMismatchError(
                f"{self.what} is wrong along a random direction, though right entry by entry: "
                "it is not linear."
            )
        i, j = map(int, np.unravel_index(int(np.argmax(off)), off.shape))
        raise errors.GradientMismatchError(
            self._message(rows[i], columns[j], got[i, j], expected[i, j])
        )

    def _suspects(self, push: Any, pull: Any) -> tuple[list[Entry], list[Entry]]:
        """Entries of arguments and results among which the worst are, found by halving."""
        columns, rows = _entries(self.point.values), _entries(self.out)
        direction, weights = self.directions(), self.weights()

        def gap(along: Sequence[Any], of: Sequence[Any]) -> float:
            expected = numeric.pairing(of, self.difference(along, self.steps[0]))
            if push is not None:
                return abs(numeric.pairing(of, push(along)) - expected)
            return abs(numeric.pairing(pull(of), along) - expected)

        columns = _halved(columns, lambda half: gap(_only(half, direction), weights))
        along = _only(columns, direction)
        return columns, _halved(rows, lambda half: gap(along, _only(half, weights)))

    def _read(self, row: Entry, values: Sequence[Any]) -> float:
        return numeric.pairing(row.basis(self.out, dual=True), values)

    def _message(self, row: Entry, column: Entry, got: float, expected: float) -> str:
        where = f"{self.point.names[column.leaf]}, {column}"
        result = ""
        if len(self.out) > 1 or row.index or row.imaginary:
            leaf = f"result {row.leaf}" if len(self.out) > 1 else "the result"
            result = f" for {row} of {leaf}" if row.index or row.imaginary else f" for {leaf}"
        note = ""
        if not np.isfinite(expected):
            note = "\nThe differences are not finite: the function is not smooth at this point."
        return (
            f"{self.what} is wrong. Worst at {where}{result}: rule gives {got:.6g}, finite "
            f"differences {expected:.6g}.{note}"
        )


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: str | Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compare derivatives of a function with finite differences, up to some order.

    Derivatives of order two are checked as derivatives of the derivative, in every combination
    of modes; and so on. Floating arguments are promoted to float64 for the comparison.

    Args:
      f: a function of arrays, or trees of arrays.
      args: a tuple: the point, where `f` is smooth.
      order: the highest order to check, at least 1.
      modes: which of forward ("fwd") and reverse ("rev") mode.
      atol, rtol: tolerances; by default 1e-6 for results in double precision.
      eps: the step of the finite differences.

    Raises:
      GradientMismatchError: naming the worst entry of the arguments.

    >>> import wengert, wengert.numpy as wnp
    >>> wengert.check_grads(lambda x: wnp.sin(x) * x, (wnp.array([0.5, 2.0]),), order=2)
    """
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or not set(modes) <= {"fwd", "rev"}:
        raise ValueError(f'modes are "fwd" and "rev", got {modes!r}.')
    if order < 1:
        raise ValueError(f"order counts derivatives and starts at 1, got {order}.")
    if not isinstance(args, tuple | list):
        raise TypeError("check_grads takes a tuple of arguments: check_grads(f, (x,), 1).")
    point = Point(f, args).promoted()
    _check_order(point, order, modes, (), (atol, rtol, eps))


def _check_order(
    point: Point, order: int, modes: Sequence[str], path: tuple[str, ...], accuracy: Any
) -> None:
    name = _name(point.fun)
    for mode in modes:
        taken = "-".join((*path, mode))
        what = f"the derivative ({taken}, order {len(path) + 1}) of {name}"
        comparison = Comparison(point, what, *accuracy)
        if mode == "fwd":
            comparison.forward(point.push)
        else:
            comparison.reverse(point.pullback())
        if order > 1:
            derivative = _derivative(point, comparison, mode)
            derivative.__name__ = name
            inner = Point(derivative, point.args)
            inner.names = point.names
            inner.precision = comparison.precision
            _check_order(inner, order - 1, modes, (*path, mode), accuracy)


def _derivative(point: Point, comparison: Comparison, mode: str) -> Callable[..., Any]:
    """Tangent along, or pullback of, fixed random values, as a function of the point."""
    if mode == "fwd":
        tangents = point.tangents(comparison.directions())
        return lambda *args: _inexact(jvp(point.fun, args, tangents)[1])
    leaves = [Array(w[()]) for w in comparison.weights()]
    weights = tree.unflatten(point.out_tree, leaves)
    return lambda *args: _inexact(vjp(point.fun, *args)[1](weights))


def _inexact(out: Any) -> list[Any]:
    """The leaves that carry derivatives."""
    return [leaf for leaf in tree.leaves(out) if leaf.dtype != dtypes.float0]


def check_rules(
    f: Callable[..., Any],
    *args: Any,
    vjp: Callable[..., Any] | None = None,
    cotangent: Any = None,
    atol: float | None = None,
    rtol: float | None = None,
) -> None:
    """Compare a custom derivative rule with the derivative of the function it is for.

    At the dtypes given, the types of everything a rule returns are checked; then, in double
    precision, its values: against finite differences of the function, for linearity, and
    (`custom_jvp`) the derived reverse mode against the rule.

    Args:
      f: a `custom_jvp` or `custom_vjp` function, or any function that calls some.
      *args: the point, where `f` is smooth.
      vjp: a hand-made rule for a plain `f`, to be checked in place of its own:
        `vjp(*args)` gives the pullback, from a cotangent to a tuple of cotangents.
      cotangent: the cotangent of the result to try the rule on, instead of a random one.
      atol, rtol: tolerances; by default 1e-6 for results in double precision.

    Raises:
      CotangentError: when `cotangent` does not have the type of the result.
      CustomRuleError: when a rule returns a wrong structure, shape or dtype.
      GradientMismatchError: when its values are wrong, naming the worst entry.

    >>> import wengert, wengert.numpy as wnp
    >>> def dot_vjp(x, w):
    ...     return lambda u: (w * u, x + u)
    >>> x, w = wnp.array([1.0, 2.0]), wnp.array([3.0, 5.0])
    >>> wengert.check_rules(wnp.dot, x, w, vjp=dot_vjp)
    Traceback (most recent call last):
        ...
    wengert.errors.GradientMismatchError: ... argument 1, entry (...): rule gives ...
    >>> wengert.check_rules(wnp.dot, x, w, vjp=lambda x, w: lambda u: (w * u, x * u))
    """
    name = _name(f)
    f, args, numbers = _differentiable_part(f, args)
    given = Point(f, args, numbers)
    out = given.call(given.values)
    if cotangent is not None:
        _check_cotangent(given, out, cotangent)
    _check_results(given, out, vjp, name)
    point = given.promoted()
    kind = "vjp" if vjp is not None else _kind(f)
    comparison = Comparison(point, f"the {kind} rule of {name}", atol, rtol, None)
    if kind in ("jvp", "derivative"):
        comparison.forward(point.push)
    pull = point.pullback() if vjp is None else _hand_made(vjp, point, name)
    if cotangent is not None:
        comparison.given = [np.asarray(as_array(c)) for c in tree.leaves(cotangent)]
    comparison.reverse(pull)
    _check_linearity(comparison, pull)


def _differentiable_part(
    f: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...], list[int]]:
    """The function of its differentiable arguments alone, these, and their positions."""
    if not isinstance(f, custom_jvp | custom_vjp):
        return f, args, list(range(len(args)))
    signature = f.signature
    args = signature.positional(args, {})
    fixed, free = signature.split(args)
    numbers = signature.split(tuple(range(len(args))))[1]
    if not fixed:
        return f, tuple(free), numbers

    def of_free(*rest: Any) -> Any:
        return f(*signature.merge(fixed, rest))

    of_free.kind = _kind(f)  # type: ignore[attr-defined]
    return of_free, tuple(free), numbers


def _name(f: Any) -> str:
    if isinstance(f, custom_jvp | custom_vjp):
        return f.signature.name
    return str(getattr(f, "__name__", type(f).__name__))


def _kind(f: Any) -> str:
    if isinstance(f, custom_jvp):
        return "jvp"
    if isinstance(f, custom_vjp):
        return "vjp"
    return str(getattr(f, "kind", "derivative"))


def _check_cotangent(point: Point, out: Sequence[Any], cotangent: Any) -> None:
    leaves, structure = tree.flatten(cotangent)
    if structure != point.out_tree:
        raise errors.TreeError("the cotangent", structure, "the result", point.out_tree)
    values = [Array(o) for o in out]
    result = tree.unflatten(point.out_tree, values)
    check_tangents("cotangent", leaves, values, lambda: tree.leaf_paths(result))


def _check_results(point: Point, out: Sequence[Any], maker: Any, name: str) -> None:
    """Run the rule at the dtypes given; what it returns must fit the function."""
    rng = np.random.default_rng(1)
    weights = [numeric.random_like(rng, o) for o in out]
    if maker is not None:
        _hand_made(maker, point, name)(weights)
        return
    if _kind(point.fun) != "vjp":
        tangents = [numeric.random_like(rng, v) for v in point.values]
        value, tangent = jvp(point.fun, point.args, point.tangents(tangents))
        _same_results(f"the jvp rule of {name} returns a result", _arrays(value), out)
        _same_types(f"the jvp rule of {name} returns a tangent", _arrays(tangent), out)
    value, pull = vjp(point.fun, *point.args)
    _same_results(f"the forward rule of {name} returns a result", _arrays(value), out)
    pull(tree.unflatten(point.out_tree, [Array(w[()]) for w in weights]))


def _same_types(what: str, got: Sequence[Any], expected: Sequence[Any]) -> None:
    if len(got) != len(expected):
        raise errors.CustomRuleError(
            f"{what} with {len(got)} leaves; the function returns {len(expected)}."
        )
    for g, e in zip(got, expected, strict=True):
        if g.shape != e.shape or g.dtype not in (e.dtype, dtypes.float0):
            raise errors.CustomRuleError(
                f"{what} of shape {g.shape} and dtype {g.dtype}; the function returns shape "
                f"{e.shape} and dtype {e.dtype}."
            )


def _same_results(what: str, got: Sequence[Any], expected: Sequence[Any]) -> None:
    _same_types(what, got, expected)
    if not numeric.same(got, expected, numeric.TOLERANCES[numeric.real_bytes(expected)]):
        raise errors.GradientMismatchError(
            f"{what} that differs from the function's:\n{got}\n instead of\n{expected}"
        )


def _hand_made(
    maker: Callable[..., Any], point: Point, name: str
) -> Callable[[Sequence[Any]], list[Any]]:
    """A hand-made pullback on flat values, its results checked."""
    pull = maker(*point.args)

    def checked(cotangents: Sequence[Any]) -> list[Any]:
        given = tree.unflatten(point.out_tree, [Array(c[()]) for c in cotangents])
        pulled, structure = tree.flatten(tuple(pull(given)))
        if structure != point.in_tree:
            raise errors.CustomRuleError(
                f"the vjp rule of {name} must return a tuple with one cotangent per argument: "
                f"{point.in_tree}; it returned {structure}."
            )
        arrays = [np.asarray(as_array(p)) for p in pulled]
        for array, value, where in zip(arrays, point.values, point.names, strict=True):
            if array.shape != value.shape or array.dtype != value.dtype:
                raise errors.CustomRuleError(
                    f"the vjp rule of {name} returned for {where} a cotangent of shape "
                    f"{array.shape} and dtype {array.dtype}; the argument has shape "
                    f"{value.shape} and dtype {value.dtype}."
                )
        return arrays

    return checked


def _check_linearity(
    comparison: Comparison, pull: Callable[[Sequence[Any]], list[Any]]
) -> None:
    """The pullback of a sum is the sum of the pullbacks."""
    one = comparison.weights()
    two = [1000 * numeric.random_like(comparison.rng, o) for o in comparison.out]
    total = [(a + b).astype(a.dtype) for a, b in zip(one, two, strict=True)]
    pulled = [[g for g in pull(w) if g.dtype != dtypes.float0] for w in (one, two, total)]
    expected = [a + b for a, b in zip(*pulled[:2], strict=True)]
    if not numeric.same(pulled[2], expected, comparison.rtol):
        raise errors.GradientMismatchError(
            f"{comparison.what} is not linear: its cotangents for a sum are not the sum of "
            "its cotangents. A pullback uses the cotangent in products with residuals and in "
            "sums only."
        )
