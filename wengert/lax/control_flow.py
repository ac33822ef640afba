"""Control flow that is part of the program: conditionals and loops, as `jax.lax` names them.

Python's own `if` and `for` run while a function is traced; these functions put the choice and
the loop into the program, so that they may depend on traced values and are compiled once. All
transformations go through them, and reverse mode through loops whose number of iterations is
known only when they run, which `jax.lax` does not have.

The functions given are traced, once for the types of their arguments. They may close over any
values. Operands, carries and results are trees of arrays.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from typing import Any

from wengert import errors
from wengert.core import dtypes, tree
from wengert.core.array import Array, ArrayType, as_array, is_operand
from wengert.core.interpreter import EagerInterpreter, Tracer, state
from wengert.core.primitive import Value
from wengert.primitives.basis import reshape
from wengert.primitives.cast import convert
from wengert.primitives.compare import ne
from wengert.primitives.elementwise import maximum, minimum
from wengert.primitives.shape import concatenate
from wengert.transforms.control import bodies
from wengert.transforms.control.checkpoints import Limit
from wengert.transforms.control.cond import cond as cond_primitive
from wengert.transforms.control.loops import while_
from wengert.transforms.control.scan import scan as scan_primitive
from wengert.transforms.control.segments import in_segments, rows, segment_length
from wengert.transforms.vmap import vmap

_MISSING = object()

# -- conditionals ------------------------------------------------------------------------------


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = _MISSING,
) -> Any:
    """`true_fun(*operands)` where `pred` holds, else `false_fun(*operands)`.

    Only one of them runs. Under `vmap` with a predicate per example, each runs at most once,
    and only its own examples matter to it: the other ones cause no error, no NaN and no
    endless loop in it, in values or derivatives.

    Args:
      pred: a bool, or a number, which is compared with zero; without dimensions.
      true_fun: a function of the operands.
      false_fun: another; its results have the same structure, shapes and dtypes.
      *operands: trees of arrays.
      operand: the single operand, by keyword.

    Returns:
      what the chosen function returns.

    Raises:
      TreeError, BranchTypeError: when the results of the functions do not fit.

    >>> import wengert, wengert.numpy as wnp
    >>> f = lambda x: cond(x > 0, wnp.sqrt, lambda y: 0 * y, x)
    >>> f(4.0), wengert.grad(f)(-4.0)
    (Array(2., dtype=float32, weak_type=True), Array(0., dtype=float32, weak_type=True))
    """
    usage = "cond(pred, true_fun, false_fun, *operands)"
    instead = " To choose between two values write wengert.numpy.where(pred, x, y)."
    _check_functions(usage, instead, true_fun=true_fun, false_fun=false_fun)
    if operand is not _MISSING:
        if operands:
            raise TypeError("lax.cond takes operands by position or by keyword, not both.")
        operands = (operand,)
    index = _predicate(pred)
    return _choose("cond", index, (false_fun, true_fun), ("false_fun", "true_fun"), operands)


def _check_functions(usage: str, instead: str = "", **functions: Any) -> None:
    """Raise unless arguments are functions, also where two of them have changed places."""
    for name, fun in functions.items():
        if not callable(fun):
            raise TypeError(f"lax.{usage}: {name} must be a function, got {fun!r}.{instead}")


def _predicate(pred: Any) -> Value:
    """A predicate as an index: 0 or 1."""
    if not is_operand(pred):
        raise TypeError(f"the predicate of lax.cond must be a bool or a number, got {pred!r}.")
    value = as_array(pred)
    if value.shape:
        raise errors.ShapeError(
            f"the predicate of lax.cond must have no dimensions, got {value.type}. For a "
            "choice per element write wengert.numpy.where(pred, x, y); for one per example use "
            "vmap."
        )
    if type(value) is Array:  # known while tracing, too
        return Array(dtypes.INT32.type(bool(value)))
    if value.dtype != dtypes.BOOL:
        value = ne(value, 0)
    return convert(value, dtype=dtypes.INT32)


def switch(
    index: Any,
    branches: Sequence[Callable[..., Any]],
    *operands: Any,
    operand: Any = _MISSING,
) -> Any:
    """`branches[index](*operands)`, with the index moved into the range of the branches.

    Only that branch runs; under `vmap` as for `cond`.

    Args:
      index: an integer without dimensions; below 0 it means the first branch, beyond the end
        the last one.
      branches: functions of the operands, with results of the same structure and types.
      *operands: trees of arrays.
      operand: the single operand, by keyword.

    Returns:
      what the chosen function returns.

    Raises:
      TreeError, BranchTypeError: when the results of the functions do not fit.

    >>> import wengert.numpy as wnp
    >>> [float(switch(i, [wnp.sin, wnp.cos, wnp.exp], 0.0)) for i in (0, 1, 5)]
    [0.0, 1.0, 1.0]
    """
    if not branches or not all(callable(b) for b in branches):
        raise TypeError("lax.switch takes a sequence of at least one function: its branches.")
    if operand is not _MISSING:
        operands = (*operands, operand)
    value = as_array(index)
    if value.shape or not dtypes.is_integer(value.dtype):
        raise errors.DTypeError(
            f"the index of lax.switch must be an integer without dimensions, got {value.type}."
        )
    last = len(branches) - 1
    if type(value) is Array:
        clamped: Value = Array(
            dtypes.INT32.type(builtins.min(builtins.max(int(value), 0), last))
        )
    else:
        clamped = convert(minimum(maximum(value, 0), last), dtype=dtypes.INT32)
    names = [f"branches[{i}]" for i in range(last + 1)]
    return _choose("switch", clamped, branches, names, operands)


def _choose(
    name: str,
    index: Value,
    functions: Sequence[Callable[..., Any]],
    names: Sequence[str],
    operands: Any,
) -> Any:
    in_tree = tree.structure(tuple(operands))
    values = bodies.operands(f"the operands of {name}", tuple(operands))
    traced = bodies.branches(name, functions, names, in_tree, [v.type for v in values])
    programs = traced.programs
    if type(index) is Array and not isinstance(state.interpreter, EagerInterpreter):
        out = programs[int(index)].evaluate(*traced.captured, *values)
    else:
        out = cond_primitive(index, *traced.captured, *values, branches=programs)
    return tree.unflatten(traced.out_tree, out)


# -- loops -------------------------------------------------------------------------------------


def while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    checkpoint: int | bool | None = None,
    checkpoint_bytes: int | None = None,
) -> Any:
    """`body_fun` applied again and again, as long as `cond_fun` holds.

    Reverse mode goes back over what each iteration has left behind, which is kept. With
    `checkpoint` the loop keeps only some values of the carry, and computes again what it needs
    on the way back; derivatives are the same.

    Args:
      cond_fun: from the carry to a bool.
      body_fun: from the carry to the next one, of the same structure, shapes and dtypes.
      init_val: the first carry, a tree of arrays.
      checkpoint: how many values of the carry are kept for reverse mode. True: as many as
        the number of iterations has binary digits.
      checkpoint_bytes: how many bytes they may take together, in place of their number. Both
        hold for gradients, and forward mode over them; reverse over reverse mode keeps all.

    Returns:
      the first carry for which `cond_fun` does not hold.

    Raises:
      TreeError, CarryTypeError: when the carry changes its structure or types.

    >>> import wengert
    >>> def root(a):
    ...     step = lambda x: (x + a / x) / 2
    ...     return while_loop(lambda x: abs(x * x - a) > 1e-6 * a, step, a)
    >>> print(f"{root(9.0):.4f} {wengert.grad(root)(9.0):.4f}")
    3.0000 0.1667
    """
    usage = "while_loop(cond_fun, body_fun, init_val)"
    _check_functions(usage, cond_fun=cond_fun, body_fun=body_fun)
    limit = (checkpoint, checkpoint_bytes)
    return _run_while(_Names("while_loop", init_val), cond_fun, body_fun, init_val, limit)


class _Names:
    """What a user calls a loop and the values of its carry, for messages."""

    def __init__(self, loop: str, carry: Any, before: Sequence[str] = ()) -> None:
        self.loop = loop
        self.carry = carry
        self.before = before

    def paths(self) -> list[str]:
        """Where each value of the carry is."""
        return [*self.before, *tree.leaf_paths(self.carry)]


def _run_while(
    names: _Names,
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    checkpoints: tuple[int | bool | None, int | None],
) -> Any:
    in_tree = tree.structure((init_val,))
    carry_tree = tree.structure(init_val)

    def body_of(types: list[ArrayType]) -> bodies.Body:
        traced = bodies.traced(body_fun, in_tree, types)
        bodies.check_structure(names.loop, traced.out_tree, carry_tree)
        return traced

    values = bodies.operands(f"the initial carry of {names.loop}", init_val)
    body, initial = bodies.settle(names.loop, body_of, values, names.paths)
    test = bodies.traced(cond_fun, in_tree, [v.type for v in initial])
    if [(t.shape, t.dtype) for t in test.out_types] != [((), dtypes.BOOL)]:
        got = ", ".join(str(t) for t in test.out_types)
        raise errors.DTypeError(
            f"the condition of while_loop must return one bool without dimensions, got {got}. "
            "Compare, and reduce with .any() or .all() what has dimensions."
        )
    out = while_(
        *test.captured,
        *body.captured,
        *initial,
        cond=test.program,
        body=body.program,
        cond_count=len(test.captured),
        body_count=len(body.captured),
        checkpoint=_limit(*checkpoints, initial),
    )
    return tree.unflatten(carry_tree, out)


def _limit(
    checkpoint: int | bool | None, size: int | None, carry: Sequence[Value]
) -> Limit | None:
    """How many values of the carry are kept, None for all records."""
    if checkpoint is not None and size is not None:
        raise TypeError("give checkpoint= or checkpoint_bytes=, not both.")
    if size is not None:
        each = sum(v.size * v.dtype.itemsize for v in carry)
        return builtins.max(1, size // builtins.max(1, each))
    if checkpoint is None or checkpoint is False:
        return None
    if checkpoint is True:
        return "log"
    number = _integer(checkpoint)
    if number is None or number < 1:
        raise ValueError(
            f"checkpoint={checkpoint!r}: give the number of carries to keep (at least 1), or "
            "True for a number that grows with the logarithm of the number of iterations."
        )
    return number


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
    checkpoint: int | bool | None = None,
    checkpoint_bytes: int | None = None,
) -> Any:
    """`body_fun(i, carry)` for `i` from `lower` to `upper - 1`.

    Bounds that are known make it a `scan`, others a `while_loop`; both have all derivatives.

    Args:
      lower: an integer.
      upper: another; if it is not greater than `lower`, the result is `init_val`.
      body_fun: from index and carry to the next carry.
      init_val: the first carry, a tree of arrays.
      unroll: checked, and otherwise of no effect: turns of a compiled loop cost next to
        nothing.
      checkpoint, checkpoint_bytes: as for `while_loop`.

    Returns:
      the last carry.

    Raises:
      TreeError, CarryTypeError: when the carry changes its structure or types.

    >>> import wengert
    >>> power = lambda x, n: fori_loop(0, n, lambda i, y: y * x, 1.0)
    >>> wengert.jit(wengert.grad(power))(2.0, 3)
    Array(12., dtype=float32, weak_type=True)
    """
    _check_functions("fori_loop(lower, upper, body_fun, init_val)", body_fun=body_fun)
    first, last = _bounds(lower, upper)
    carry_tree = tree.structure(init_val)
    given = bodies.operands("the initial carry of fori_loop", init_val)
    init_val = tree.unflatten(carry_tree, given)
    names = _Names("fori_loop", init_val, ["[index]"])

    def step(pair: Any) -> Any:
        out = body_fun(*pair)
        bodies.check_structure("fori_loop", tree.structure(out), carry_tree)
        return pair[0] + 1, out

    known = type(first) is Array and type(last) is Array
    if known and checkpoint is None and checkpoint_bytes is None:
        length = builtins.max(0, int(last) - int(first))
        turns = {"length": length, "reverse": False, "unroll": _unroll(unroll or 1, length)}
        pair, _ = _run_scan(
            names, lambda pair, _: (step(pair), None), (first, init_val), None, turns, None
        )
    else:
        limit = (checkpoint, checkpoint_bytes)
        pair = _run_while(names, lambda pair: pair[0] < last, step, (first, init_val), limit)
    return pair[1]


def _bounds(lower: Any, upper: Any) -> list[Value]:
    """The bounds of a `fori_loop`, as integers of one dtype."""
    bounds = [as_array(lower), as_array(upper)]
    for bound in bounds:
        if bound.shape or not dtypes.is_integer(bound.dtype):
            raise errors.DTypeError(
                "the bounds of fori_loop must be integers without dimensions, got "
                f"{bound.type}."
            )
    dtype, weak = dtypes.lattice_join(tuple((b.dtype, b.weak_type) for b in bounds))
    return [convert(b, dtype=dtype, weak=weak) for b in bounds]


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    *,
    checkpoint: int | bool | None = None,
) -> Any:
    """`f(carry, x) -> (carry, y)` over the slices of arrays, with all `y` stacked.

    Args:
      f: from carry and slices to the next carry, of the same structure, shapes and dtypes, and
        a tree of results.
      init: the first carry, a tree of arrays.
      xs: a tree of arrays with one leading dimension, over which the loop runs.
      length: the size of that dimension; needed when `xs` has no arrays.
      reverse: run from the last slice to the first; results are stacked in place.
      unroll: checked, and otherwise of no effect: turns of a compiled loop cost next to
        nothing.
      _split_transpose: accepted; results do not change.
      checkpoint: keep only some carries for reverse mode, and run the iterations between them
        again on the way back: a number of carries, or True for the square root of the
        length. Derivatives are the same.

    Returns:
      `(carry, ys)`: the last carry, and the results stacked along a leading dimension.

    Raises:
      TreeError, CarryTypeError: when the carry changes its structure or types.
      ShapeError: when `xs` do not have one leading size.

    >>> import wengert.numpy as wnp
    >>> scan(lambda c, x: (c + x, c * x), 0.0, wnp.arange(4.0))
    (Array(6., dtype=float32), Array([0., 0., 2., 9.], dtype=float32))
    """
    del _split_transpose
    _check_functions("scan(f, init, xs)", f=f)
    size = _length(xs, length)
    turns = {"length": size, "reverse": bool(reverse), "unroll": _unroll(unroll, size)}
    segment = segment_length(checkpoint, size)
    return _run_scan(_Names("scan", init), f, init, xs, turns, segment)


def _run_scan(
    names: _Names,
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any,
    turns: dict[str, Any],
    segment: int | None,
) -> Any:
    arrays = [as_array(x) for x in tree.leaves(xs)]
    carry_tree = tree.structure(init)
    in_tree = tree.structure((init, xs))
    slices = [v.type.update(shape=v.shape[1:]) for v in arrays]

    def body_of(types: list[ArrayType]) -> bodies.Body:
        traced = bodies.traced(f, in_tree, [*types, *slices])
        _check_pair(names.loop, f, traced.out_tree, carry_tree)
        return traced

    values = bodies.operands(f"the initial carry of {names.loop}", init)
    body, initial = bodies.settle(names.loop, body_of, values, names.paths)
    operands = [*body.captured, *initial, *arrays]
    params = {
        "body": body.program,
        "consts": len(body.captured),
        "carry": len(initial),
        **turns,
    }
    if segment is None:
        out = scan_primitive(*operands, **params)
    else:
        out = in_segments(operands, params, segment)
    return tree.unflatten(body.out_tree, out)


def _length(xs: Any, length: int | None) -> int:
    """The number of iterations."""
    arrays = bodies.operands("the slices of scan", xs)
    paths = tree.leaf_paths(xs)
    for path, value in zip(paths, arrays, strict=True):
        if not value.shape:
            raise errors.ShapeError(
                f"scan runs over the leading dimension of xs, but xs{path} has none: "
                f"{value.type}. What is the same in all iterations, close over."
            )
    sizes = {v.shape[0] for v in arrays}
    if length is not None:
        sizes.add(_given_length(length))
    if len(sizes) > 1:
        listed = ", ".join(f"xs{p}: {v.type}" for p, v in zip(paths, arrays, strict=True))
        given = "" if length is None else f", length={length}"
        raise errors.ShapeError(f"scan got different leading sizes: {listed}{given}.")
    if not sizes:
        raise ValueError(
            "scan without arrays in xs needs to know its length: scan(..., length=n)."
        )
    return sizes.pop()


def _given_length(length: Any) -> int:
    if isinstance(length, Tracer):
        what = "the length of a scan (lax.fori_loop takes a traced number of iterations)"
        length = length.concrete(what)
    number = _integer(length)
    if number is None or number < 0:
        raise ValueError(f"scan: length={length}: give the number of iterations, at least 0.")
    return number


def _integer(value: Any) -> int | None:
    """An integer of any library as one of Python, None for what is none."""
    try:
        return operator.index(value)
    except TypeError:
        return None


def _check_pair(name: str, f: Any, out_tree: Any, carry_tree: Any) -> None:
    """Raise unless the body of a scan returns a pair whose first part is like the carry."""
    children = out_tree.children()
    if len(children) != 2 or (out_tree.type is not tuple and out_tree.type is not list):
        raise TypeError(
            f"the body of scan must return a pair (carry, y); {getattr(f, '__name__', f)} "
            f"returned {out_tree}. Without results to stack write: return carry, None"
        )
    bodies.check_structure(name, children[0], carry_tree)


def _unroll(unroll: int | bool, length: int) -> int:
    """How many iterations at once, as a number."""
    if unroll is True:
        return builtins.max(1, length)
    if unroll is False:
        return 1
    number = _integer(unroll)
    if number is None or number < 1:
        raise ValueError(
            f"unroll={unroll!r}: give a number of iterations, at least 1, or a bool."
        )
    return number


# -- map ---------------------------------------------------------------------------------------


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """`f` applied to the slices of arrays one after the other, with the results stacked.

    It needs the memory of one call of `f`, or of `batch_size` calls, where `vmap` takes that of
    all.

    Args:
      f: a function of slices.
      xs: a tree of arrays with one leading dimension.
      batch_size: how many slices are taken at once, by `vmap`.

    Returns:
      the results of `f`, stacked along a leading dimension.

    >>> import wengert.numpy as wnp
    >>> map(lambda x: x * x, wnp.arange(5.0), batch_size=2)
    Array([ 0.,  1.,  4.,  9., 16.], dtype=float32)
    """
    _check_functions("map(f, xs)", f=f)
    if batch_size is None:
        return scan(lambda _, x: (None, f(x)), None, xs)[1]
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give a number of slices, at least 1.")
    leaves, x_tree = tree.flatten(xs)
    arrays = [as_array(x) for x in leaves]
    size = _length(xs, None)
    count = size // batch_size
    whole = count * batch_size
    batched = vmap(lambda *slices: f(tree.unflatten(x_tree, slices)))
    if not count:
        return batched(*arrays)
    blocks = [
        reshape(rows(x, 0, whole), shape=(count, batch_size, *x.shape[1:])) for x in arrays
    ]
    out = scan(lambda _, block: (None, batched(*block)), None, tuple(blocks))[1]
    out = tree.map(lambda y: reshape(y, shape=(whole, *y.shape[2:])), out)
    if whole == size:
        return out
    tail = batched(*[rows(x, whole, size) for x in arrays])
    return tree.map(lambda a, b: concatenate(a, b, dimension=0), out, tail)
