"""Random programs: small functions of arrays for properties that hold for all functions.

A program is a list of steps, each an operation of `wengert.numpy` on earlier values. Operations
are drawn, tried on the arguments, and kept while values stay finite, moderate and small; so
every program runs, and prints as Python code. The same seed gives the same program.

Nothing is compared here. What holds for every program (jit equals eager, a pullback is the
transpose of the pushforward, vmap is a loop) is for the tests to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import wengert.numpy as wnp
from wengert.core import dtypes
from wengert.core.array import Array

_MOST_ELEMENTS = 48
_LARGEST = 1e3
_SHAPES = ((), (3,), (2, 3), (3, 2), (1, 3), (2, 1), (4,), (3, 3), (1,))


class Step(NamedTuple):
    """One operation: `text` with a place for each operand, its meaning, operand numbers."""

    text: str
    function: Callable[..., Any]
    operands: tuple[int, ...]


class RandomProgram:
    """A random function of arrays.

    Attributes:
      args: arguments on which it was made (NumPy arrays): one point of its domain.
      steps: its operations.
      results: numbers of the values that no later step uses; what it returns, as a list.
    """

    def __init__(self, args: Sequence[Any], steps: Sequence[Step]) -> None:
        self.args = tuple(args)
        self.steps = list(steps)
        used = {i for step in steps for i in step.operands}
        self.results = [i for i in range(len(args), len(args) + len(steps)) if i not in used]

    def __call__(self, *args: Any) -> list[Any]:
        values = list(args)
        for step in self.steps:
            values.append(step.function(*(values[i] for i in step.operands)))
        return [values[i] for i in self.results]

    def __str__(self) -> str:
        names = [f"x{i}" for i in range(len(self.args))]
        lines = [f"def f({', '.join(names)}):"]
        for i, arg in enumerate(self.args):
            lines[0] += f"  # x{i}: {arg.dtype}{list(arg.shape)}" if i == 0 else ""
            lines[0] += f", x{i}: {arg.dtype}{list(arg.shape)}" if i else ""
        for step in self.steps:
            names.append(f"v{len(names)}")
            operands = [names[i] for i in step.operands]
            lines.append(f"    {names[-1]} = {step.text.format(*operands)}")
        lines.append(f"    return [{', '.join(names[i] for i in self.results)}]")
        return "\n".join(lines)


#: Draws an operation that fits the values, or None: (generator, values) -> step.
Draw = Callable[[np.random.Generator, Sequence[Any]], Step | None]


def _anything(*values: Any) -> bool:
    return True


def _pick(
    rng: np.random.Generator,
    values: Sequence[Any],
    fits: Callable[[Any], bool] = _anything,
) -> int | None:
    """The number of a value that fits; recent ones are likelier, so that programs are deep."""
    fitting = [i for i, v in enumerate(values) if fits(v)]
    if not fitting:
        return None
    weights = np.arange(1.0, len(fitting) + 1)
    return int(rng.choice(fitting, p=weights / weights.sum()))


def _unary(
    text: str, function: Callable[[Any], Any], fits: Callable[[Any], bool] = _anything
) -> Draw:
    def draw(rng: np.random.Generator, values: Sequence[Any]) -> Step | None:
        i = _pick(rng, values, fits)
        return None if i is None else Step(text, function, (i,))

    return draw


def _binary(
    text: str,
    function: Callable[[Any, Any], Any],
    fits: Callable[[Any, Any], bool] = _anything,
) -> Draw:
    """Operands are drawn until their shapes agree, a few times."""

    def draw(rng: np.random.Generator, values: Sequence[Any]) -> Step | None:
        for _ in range(8):
            i, j = _pick(rng, values), _pick(rng, values)
            if i is not None and j is not None and fits(values[i], values[j]):
                return Step(text, function, (i, j))
        return None

    return draw


def _along(name: str, smallest: int = 1) -> Draw:
    """A function with an axis argument, on an axis of at least some size."""
    function = getattr(wnp, name)

    def draw(rng: np.random.Generator, values: Sequence[Any]) -> Step | None:
        i = _pick(rng, values, lambda v: v.ndim > 0 and min(v.shape) >= smallest)
        if i is None:
            return None
        axis = int(rng.integers(values[i].ndim))
        return Step(f"np.{name}({{}}, axis={axis})", lambda x: function(x, axis=axis), (i,))

    return draw


def _indexing(rng: np.random.Generator, values: Sequence[Any]) -> Step | None:
    """A basic or advanced index, read or written."""
    i = _pick(rng, values, lambda v: v.ndim > 0)
    if i is None:
        return None
    size = values[i].shape[0]
    last = int(rng.integers(size))
    rows = [int(r) for r in rng.integers(-size, size, 3)]
    picked = np.array(rows)
    choices: list[tuple[str, Callable[[Any], Any]]] = [
        (f"{{}}[{last}]", lambda x: x[last]),
        ("{}[::-1]", lambda x: x[::-1]),
        (f"{{}}[{last}:]", lambda x: x[last:]),
        ("{}[..., None]", lambda x: x[..., None]),
        (f"{{}}[np.array({rows})]", lambda x: x[picked]),
        (f"{{0}}.at[{last}].multiply({{0}}[0])", lambda x: x.at[last].multiply(x[0])),
    ]
    if _floating(values[i]):
        choices += [
            (f"{{}}.at[{last}].set(0.5)", lambda x: x.at[last].set(0.5)),
            (f"{{}}.at[np.array({rows})].add(0.25)", lambda x: x.at[picked].add(0.25)),
        ]
    text, function = choices[int(rng.integers(len(choices)))]
    return Step(text, function, (i,))


def _real(value: Any) -> bool:
    return not dtypes.is_complex(value.dtype)


def _floating(value: Any) -> bool:
    return dtypes.is_inexact(value.dtype)


def _same_shape(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape)


def _broadcasts(a: Any, b: Any) -> bool:
    return all(
        m in (1, n) or n == 1 for m, n in zip(a.shape[::-1], b.shape[::-1], strict=False)
    )


def _multiplies(a: Any, b: Any) -> bool:
    return bool(a.ndim and b.ndim and a.shape[-1] == b.shape[max(b.ndim - 2, 0)])


def _joins(a: Any, b: Any) -> bool:
    return bool(a.ndim and a.ndim == b.ndim and a.shape[1:] == b.shape[1:])


def _sortable(value: Any) -> bool:
    return value.ndim > 0 and _real(value)


def _sorted(x: Any) -> Any:
    return wnp.take_along_axis(x, wnp.argsort(x, axis=0), axis=0)


def _inner_product(x: Any) -> Any:
    return wnp.einsum("i...,i...->...", x, x)


def _orders(a: Any, b: Any) -> bool:
    return _broadcasts(a, b) and _real(a) and _real(b)


#: Operations for all dtypes, complex included.
_ANY: tuple[Draw, ...] = (
    _unary("np.sin({})", lambda x: wnp.sin(x)),
    _unary("np.tanh({} / 4)", lambda x: wnp.tanh(x / 4)),
    _unary("np.exp({} / 8)", lambda x: wnp.exp(x / 8)),
    _unary("-{}", lambda x: -x, _floating),
    _unary("{} ** 2", lambda x: x**2),
    _unary("{} * 0.5 + 1", lambda x: x * 0.5 + 1),
    _unary("np.conj({})", lambda x: wnp.conj(x)),
    _unary("np.sum({})", lambda x: wnp.sum(x)),
    _unary("np.mean({})", lambda x: wnp.mean(x), lambda v: v.size > 0),
    _unary("np.ravel({})", lambda x: wnp.ravel(x)),
    _unary("{}.T", lambda x: x.T),
    _unary("np.triu({})", lambda x: wnp.triu(x), lambda v: v.ndim > 1),
    _unary("np.roll({}, 1)", lambda x: wnp.roll(x, 1)),
    _unary("np.outer({0}, {0})", lambda x: wnp.outer(x, x)),
    _unary("np.squeeze({})", lambda x: wnp.squeeze(x)),
    _unary("np.repeat({}, 2)", lambda x: wnp.repeat(x, 2)),
    _unary("np.pad({}, 1)", lambda x: wnp.pad(x, 1)),
    _unary(
        "np.broadcast_to({0}, (2, *{0}.shape))", lambda x: wnp.broadcast_to(x, (2, *x.shape))
    ),
    _unary("np.einsum('i...,i...->...', {0}, {0})", _inner_product, lambda v: v.ndim > 0),
    _binary("{} + {}", lambda x, y: x + y, _broadcasts),
    _binary("{} - {}", lambda x, y: x - y, lambda a, b: _broadcasts(a, b) and _floating(a)),
    _binary("{} * {}", lambda x, y: x * y, _broadcasts),
    _binary("{0} / (4 + {1} ** 2)", lambda x, y: x / (4 + y**2), _broadcasts),
    _binary("{} @ {}", lambda x, y: x @ y, _multiplies),
    _binary("np.concatenate([{}, {}])", lambda x, y: wnp.concatenate([x, y]), _joins),
    _binary("np.stack([{}, {}])", lambda x, y: wnp.stack([x, y]), _same_shape),
    _along("sum"),
    _along("cumsum"),
    _along("prod"),
    _along("cumprod"),
    _along("flip"),
    _along("diff", smallest=2),
    _along("expand_dims"),
    _indexing,
)
#: Operations for real dtypes.
_REAL: tuple[Draw, ...] = (
    _unary("np.abs({})", lambda x: wnp.abs(x), _real),
    _unary("np.sqrt(1 + {} ** 2)", lambda x: wnp.sqrt(1 + x**2), _real),
    _unary("np.log1p(np.abs({}))", lambda x: wnp.log1p(wnp.abs(x)), _real),
    _unary("np.arctan({})", lambda x: wnp.arctan(x), _real),
    _unary("np.clip({}, -0.75, 0.75)", lambda x: wnp.clip(x, -0.75, 0.75), _real),
    _unary("np.where({0} > 0, {0}, 0.1)", lambda x: wnp.where(x > 0, x, 0.1), _real),
    _unary("np.max({})", lambda x: wnp.max(x), _real),
    _binary("np.maximum({}, {})", lambda x, y: wnp.maximum(x, y), _orders),
    _binary("np.minimum({}, {})", lambda x, y: wnp.minimum(x, y), _orders),
    _binary("np.arctan2({}, 2 + {} ** 2)", lambda x, y: wnp.arctan2(x, 2 + y**2), _orders),
    _binary("np.logaddexp({}, {})", lambda x, y: wnp.logaddexp(x, y), _orders),
    _binary(
        "np.where({0} > {1}, {1}, {0} * {1})", lambda x, y: wnp.where(x > y, y, x * y), _orders
    ),
    _unary("np.take_along_axis({0}, np.argsort({0}, axis=0), axis=0)", _sorted, _sortable),
    _along("max"),
    _along("sort"),
    _along("var"),
)


def random_program(
    seed: int, length: int = 12, inputs: int = 2, dtypes: Sequence[str] = ("float64",)
) -> RandomProgram:
    """A random function of arrays.

    Args:
      seed: the same seed gives the same program.
      length: the number of operations.
      inputs: the number of arguments.
      dtypes: of the arguments, drawn for each.

    >>> from wengert.testing import random_program
    >>> program = random_program(seed=0, length=3)
    >>> len(program.steps), len(program(*program.args)) == len(program.results)
    (3, True)
    """
    rng = np.random.default_rng(seed)
    args = [_argument(rng, dtypes[int(rng.integers(len(dtypes)))]) for _ in range(inputs)]
    values: list[Any] = [Array(a[()]) for a in args]
    draws = _ANY if any(a.dtype.kind == "c" for a in args) else _ANY + _REAL
    steps: list[Step] = []
    while len(steps) < length:
        step = draws[int(rng.integers(len(draws)))](rng, values)
        if step is None:
            continue
        out = step.function(*(values[i] for i in step.operands))
        if _acceptable(out):
            steps.append(step)
            values.append(out)
    return RandomProgram(args, steps)


def random_programs(count: int, seed: int = 0, **options: Any) -> Iterator[RandomProgram]:
    """`count` random programs, from consecutive seeds; options are those of `random_program`.

    >>> from wengert.testing import random_programs
    >>> [len(p.steps) for p in random_programs(2, length=4)]
    [4, 4]
    """
    return (random_program(s, **options) for s in range(seed, seed + count))


def _argument(rng: np.random.Generator, dtype: str) -> Any:
    shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if kind in "iu":
        return rng.integers(1, 5, shape).astype(dtype)
    value: Any = rng.normal(size=shape)
    if kind == "c":
        value = value + 1j * rng.normal(size=shape)
    return np.asarray(value).astype(dtype)


def _acceptable(value: Any) -> bool:
    """Whether a value is small, moderate, and still worth computing with."""
    array = np.asarray(value)
    if array.size > _MOST_ELEMENTS or array.size == 0 or array.ndim > 3:
        return False
    magnitude = np.abs(array.astype(np.complex128))
    return bool(np.all(np.isfinite(magnitude)) and np.max(magnitude) < _LARGEST)
